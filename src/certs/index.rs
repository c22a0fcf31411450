//! The index of a source: where in which file the certificates of an address or a fingerprint stand. The certificates
//! themselves are not kept: a source may have 50,000 of them.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::copies::{grouped, Copies};
use super::file::{self, Extent, Limit};
use super::open::{self, Identity, Links, Opened};
use super::raw::{key_id, RawCert, Revocation};
use super::split::{self, Item};
use super::trouble::{Problem, Trouble};
use crate::deadline::Deadline;
use crate::log::printable;

/// The number of problems that are kept of a source.
const MAX_PROBLEMS: usize = 1000;
/// Most addresses and fingerprints in a source. Each takes some 50 bytes beside its own length.
const MAX_KEYS: usize = 500_000;
/// Most places that are read for one recipient.
const MAX_PLACES: usize = 64;

/// What a source holds, or may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount {
    /// Bytes in all files.
    pub bytes: u64,
    /// Files.
    pub files: usize,
    /// Certificates.
    pub certs: usize,
}

impl Amount {
    /// Nothing.
    pub const NONE: Self = Self { bytes: 0, files: 0, certs: 0 };

    /// Returns the sum of both.
    ///
    /// # Errors
    ///
    /// Fails if that exceeds `most`.
    pub fn plus(self, more: Self, most: &Self) -> Result<Self, Trouble> {
        let sum = Self {
            bytes: self.bytes.saturating_add(more.bytes),
            files: self.files + more.files,
            certs: self.certs + more.certs,
        };
        let what = if sum.bytes > most.bytes {
            format!("more than {} KiB", most.bytes >> 10)
        } else if sum.files > most.files {
            format!("more than {} files", most.files)
        } else if sum.certs > most.certs {
            format!("more than {} certificates", most.certs)
        } else {
            return Ok(sum);
        };
        Err(Trouble::too_much(&what))
    }
}

/// A search criterion.
#[derive(Clone, Copy, Debug)]
pub enum Query<'a> {
    /// Certificates that claim this address, which is normalised.
    Address(&'a str),
    /// The certificate with this fingerprint, in upper case hex.
    Fingerprint(&'a str),
    /// All certificates.
    All,
}

impl Query<'_> {
    /// Returns true if a certificate claims to match.
    pub fn matches(&self, copies: &Copies) -> bool {
        match self {
            Self::Address(address) => copies.claims(address),
            Self::Fingerprint(hex) => copies.fingerprint == *hex,
            Self::All => true,
        }
    }
}

/// A file, and what it was when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileNote {
    /// Where the name begins and ends in `Index::names`. It is empty for a source that is a file itself.
    pub name: (u32, u32),
    /// `None` if the file could not be read. It is tried again for the next message, which may have another group.
    pub identity: Option<Identity>,
    /// What is in it.
    pub amount: Amount,
}

/// Where something stands that is found by a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where the key begins and ends in `Index::keys`.
    pub key: (u32, u32),
    /// The same of the certificate's fingerprint; empty for a revocation.
    pub fingerprint: (u32, u32),
    /// The number of the file.
    pub file: u32,
    /// The place in it.
    pub extent: Extent,
}

/// The index of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// The files.
    pub files: Vec<FileNote>,
    /// Their names, one after the other.
    pub names: Vec<u8>,
    /// In the order of their keys.
    pub entries: Vec<Entry>,
    /// All addresses, fingerprints and revoked key IDs, one after the other.
    pub keys: String,
    /// What cannot be used, with the number of the file.
    pub problems: Vec<(u32, Problem)>,
}

/// The file has changed since it was read.
#[derive(Debug)]
pub struct Changed;

impl Index {
    /// Returns how much the source holds.
    pub fn amount(&self) -> Amount {
        let add = |sum: Amount, file: &FileNote| Amount {
            bytes: sum.bytes + file.amount.bytes,
            files: sum.files + file.amount.files,
            certs: sum.certs + file.amount.certs,
        };
        self.files.iter().fold(Amount::NONE, add)
    }

    /// Returns true if the files are the same, and so what is in them.
    pub fn is_of_the_same_files(&self, other: &Self) -> bool {
        self.files == other.files && self.names == other.names
    }

    /// Returns the names of the files.
    pub fn names(&self) -> impl Iterator<Item = &OsStr> {
        self.files.iter().map(|file| self.name(file))
    }

    fn name(&self, file: &FileNote) -> &OsStr {
        let name = self.names.get(file.name.0 as usize..file.name.1 as usize);
        OsStr::from_bytes(name.unwrap_or_default())
    }

    fn add_file(&mut self, name: &OsStr, identity: Option<Identity>, amount: Amount) {
        // A name has 255 bytes at most, and a folder not that many files that this could overflow.
        let begins = self.names.len() as u32;
        self.names.extend_from_slice(name.as_bytes());
        self.files.push(FileNote { name: (begins, self.names.len() as u32), identity, amount });
    }

    /// Returns what cannot be used.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems: Vec<Problem> = self.problems.iter().map(|(_, problem)| problem.clone()).collect();
        problems.sort();
        problems
    }

    /// Returns roughly how many bytes of memory the index takes.
    pub fn weight(&self) -> usize {
        let names = self.files.len() * size_of::<FileNote>() + self.names.len();
        let problem = |problem: &Problem| {
            128 + problem.why.len() + problem.claims.iter().map(String::len).sum::<usize>()
        };
        let problems = self.problems.iter().map(|(_, why)| problem(why)).sum::<usize>();
        1024 + names + self.keys.len() + self.entries.len() * size_of::<Entry>() + problems
    }

    fn key(&self, entry: &Entry) -> &str {
        self.keys.get(entry.key.0 as usize..entry.key.1 as usize).unwrap_or_default()
    }

    fn fingerprint(&self, entry: &Entry) -> &str {
        self.keys.get(entry.fingerprint.0 as usize..entry.fingerprint.1 as usize).unwrap_or_default()
    }

    fn find(&self, key: &str) -> &[Entry] {
        let begins = self.entries.partition_point(|entry| self.key(entry) < key);
        let count = self.entries[begins..].partition_point(|entry| self.key(entry) == key);
        &self.entries[begins..begins + count]
    }

    /// Reads the certificates that match, all copies of each. Their files, below `path` or `path` itself, are opened anew, with
    /// the rights of the current user.
    ///
    /// # Errors
    ///
    /// Fails if there are too many, or if a file cannot be read for want of something else than permission.
    pub fn read(&self, query: Query<'_>, path: &Path) -> Result<Result<Vec<Copies>, Changed>, Trouble> {
        let mut fingerprints: Vec<&str> = match query {
            Query::Fingerprint(hex) => vec![hex],
            Query::Address(address) => {
                few(self.find(address))?.iter().map(|entry| self.fingerprint(entry)).collect()
            }
            Query::All => self.entries.iter().map(|entry| self.fingerprint(entry)).collect(),
        };
        fingerprints.sort_unstable();
        fingerprints.dedup();
        fingerprints.retain(|hex| !hex.is_empty());
        let mut all = Vec::new();
        for hex in fingerprints {
            let (mut certs, mut revocations) = (Vec::new(), Vec::new());
            let revokes = self.find(&revokes(&key_id(hex)));
            for entry in few(self.find(hex))?.iter().chain(few(revokes)?) {
                match self.item(entry, path)? {
                    Ok(Some(Item::Certificate(cert))) => certs.push(cert),
                    Ok(Some(Item::Revocation(revocation))) => revocations.push(revocation),
                    Ok(_) => {}
                    Err(changed) => return Ok(Err(changed)),
                }
            }
            all.extend(grouped(certs, &revocations));
        }
        Ok(Ok(all))
    }

    /// Reads what an entry names. `None` if this user may not read it.
    fn item(&self, entry: &Entry, path: &Path) -> Result<Result<Option<Item>, Changed>, Trouble> {
        let Some(note) = self.files.get(entry.file as usize) else { return Ok(Ok(None)) };
        // A keyring is followed to where a link leads, as the administrator wrote its path.
        let name = self.name(note);
        let (file, links) = match name.is_empty() {
            true => (path.to_owned(), Links::Follow),
            false => (path.join(name), Links::Refuse),
        };
        let opened = match open::open(&file, links) {
            Ok(Some(opened)) => opened,
            Ok(None) => return Ok(Err(Changed)),
            Err(Trouble::Refused(_)) => return Ok(Ok(None)),
            Err(why) => return Err(why),
        };
        if Some(Identity::of(&opened.metadata)) != note.identity {
            return Ok(Err(Changed));
        }
        let bytes = match entry.extent.read(&opened.file) {
            Ok(bytes) => bytes,
            Err(Trouble::Refused(_)) => return Ok(Err(Changed)),
            Err(why) => return Err(why),
        };
        if self.key(entry).starts_with(REVOKES) {
            return Ok(Ok(split::revocation(&bytes).map(Item::Revocation)));
        }
        let mut cert = RawCert::new(bytes);
        // It was changed so soon that the file looks the same.
        if cert.summary().is_ok_and(|summary| summary.fingerprint != self.fingerprint(entry)) {
            return Ok(Err(Changed));
        }
        let is_in_it = |(number, problem): &(u32, Problem)| *number == entry.file && problem.is_private_key();
        cert.has_private_key = cert.is_x509() && self.problems.iter().any(is_in_it);
        cert.file = Some(printable(file.as_os_str().as_bytes()));
        Ok(Ok(Some(Item::Certificate(cert))))
    }
}

/// What stands in front of the ID of a revoked key: neither an address nor a fingerprint has a space.
const REVOKES: &str = "revokes ";

fn revokes(key_id: &str) -> String {
    format!("{REVOKES}{key_id}")
}

fn few(entries: &[Entry]) -> Result<&[Entry], Trouble> {
    match entries.len() {
        0..=MAX_PLACES => Ok(entries),
        n => Err(Trouble::Failed(format!("{n} certificates in it are for one recipient: remove old ones"))),
    }
}

/// Makes an index.
pub struct Builder {
    index: Index,
    /// What the source holds so far, and what it may hold.
    amount: Amount,
    most: Amount,
    limit: Limit,
}

impl Builder {
    /// Begins the index of a source that may hold `most`.
    pub fn new(most: Amount, deadline: &Deadline) -> Self {
        Self { index: Index::default(), amount: Amount::NONE, most, limit: Limit::new(most.certs, deadline) }
    }

    /// Adds what is in a file.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be read for want of something else than permission, if the source holds too much, or if the
    /// deadline has passed.
    pub fn read(&mut self, name: &OsStr, opened: Result<Opened, Trouble>) -> Result<(), Trouble> {
        let file = self.index.files.len() as u32;
        let mut opened = match opened {
            Ok(opened) => opened,
            Err(Trouble::Failed(why)) => return Err(Trouble::Failed(why)),
            Err(Trouble::Refused(why)) => {
                self.note(file, name, Problem { why, ..Problem::default() });
                let amount = Amount { files: 1, ..Amount::NONE };
                self.index.add_file(name, None, amount);
                return Ok(());
            }
        };
        let identity = Some(Identity::of(&opened.metadata));
        let begin = Amount { bytes: opened.metadata.len(), files: 1, certs: 0 };
        self.amount = self.amount.plus(begin, &self.most)?;
        let mut certs = 0;
        let mut limit = self.limit;
        file::scan(&mut opened.file, &mut limit, &mut |item, extent| {
            match item {
                Item::Certificate(cert) => {
                    certs += 1;
                    self.amount = self.amount.plus(Amount { certs: 1, ..Amount::NONE }, &self.most)?;
                    let Ok(summary) = cert.summary() else { return Ok(()) };
                    let fingerprint = self.index.add(&summary.fingerprint, None, file, extent)?;
                    for address in &summary.addresses {
                        self.index.add(address, Some(fingerprint), file, extent)?;
                    }
                }
                Item::Revocation(Revocation { revokes: ids, .. }) => {
                    for id in ids {
                        self.index.add(&revokes(&id), Some((0, 0)), file, extent)?;
                    }
                }
                Item::Unusable(problem) => self.note(file, name, problem),
            }
            Ok(())
        })?;
        self.limit = limit;
        let amount = Amount { certs, ..begin };
        self.index.add_file(name, identity, amount);
        Ok(())
    }

    fn note(&mut self, file: u32, name: &OsStr, problem: Problem) {
        let name = (!name.is_empty()).then(|| printable(name.as_bytes()));
        match self.index.problems.len() {
            0..MAX_PROBLEMS => self.index.problems.push((file, Problem { file: name, ..problem })),
            // Whose they are is not known.
            MAX_PROBLEMS => {
                let more = "there are more files that cannot be used";
                self.index.problems.push((file, Problem { why: more.into(), ..Problem::default() }));
            }
            _ => {}
        }
    }

    /// Adds those files of an earlier index that are still the same. `now` says what each file is now.
    ///
    /// # Errors
    ///
    /// Fails if the source holds too much.
    pub fn keep(
        &mut self,
        before: &Index,
        now: &[(OsString, Identity)],
    ) -> Result<HashSet<OsString>, Trouble> {
        let now: HashMap<&OsStr, Identity> =
            now.iter().map(|(name, identity)| (&**name, *identity)).collect();
        let mut numbers = vec![None; before.files.len()];
        let mut kept = HashSet::new();
        for (number, file) in numbers.iter_mut().zip(&before.files) {
            let name = before.name(file);
            if file.identity.is_some() && now.get(name).copied() == file.identity {
                *number = Some(self.index.files.len() as u32);
                self.amount = self.amount.plus(file.amount, &self.most)?;
                self.index.add_file(name, file.identity, file.amount);
                kept.insert(name.to_owned());
            }
        }
        let number = |file: u32| numbers.get(file as usize).copied().flatten();
        // The same certificate has the same key only once in the new index, wherever it is named.
        let mut fingerprints: HashMap<(u32, u32), (u32, u32)> = HashMap::from([((0, 0), (0, 0))]);
        for entry in before.entries.iter().filter(|entry| entry.key == entry.fingerprint) {
            if let Some(file) = number(entry.file) {
                let key = self.index.add(before.key(entry), None, file, entry.extent)?;
                fingerprints.insert(entry.key, key);
            }
        }
        for entry in before.entries.iter().filter(|entry| entry.key != entry.fingerprint) {
            if let (Some(file), Some(fingerprint)) =
                (number(entry.file), fingerprints.get(&entry.fingerprint))
            {
                self.index.add(before.key(entry), Some(*fingerprint), file, entry.extent)?;
            }
        }
        let problems = before.problems.iter().filter_map(|(file, why)| Some((number(*file)?, why.clone())));
        self.index.problems.extend(problems);
        Ok(kept)
    }

    /// Notes something that is no certificate file.
    pub fn problem(&mut self, name: &OsStr, why: &str) {
        self.note(u32::MAX, name, Problem { why: why.to_owned(), ..Problem::default() });
    }

    /// Ends the index.
    pub fn finish(mut self) -> Index {
        let mut entries = std::mem::take(&mut self.index.entries);
        entries.sort_by(|a, b| self.index.key(a).cmp(self.index.key(b)));
        entries.dedup_by(|a, b| {
            a.file == b.file && a.extent == b.extent && self.index.key(a) == self.index.key(b)
        });
        entries.shrink_to_fit();
        self.index.entries = entries;
        self.index
    }
}

impl Index {
    /// Adds an entry. `fingerprint` is `None` if the key itself is it. Returns where the key is.
    fn add(
        &mut self,
        key: &str,
        fingerprint: Option<(u32, u32)>,
        file: u32,
        extent: Extent,
    ) -> Result<(u32, u32), Trouble> {
        if self.entries.len() >= MAX_KEYS {
            return Err(Trouble::Failed(format!(
                "more than {MAX_KEYS} addresses: remove what is not needed"
            )));
        }
        // Addresses and fingerprints are short: that many of them fit.
        let begins = self.keys.len() as u32;
        self.keys.push_str(key);
        let key = (begins, self.keys.len() as u32);
        self.entries.push(Entry { key, fingerprint: fingerprint.unwrap_or(key), file, extent });
        Ok(key)
    }
}
