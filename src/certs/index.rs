//! The index of a source: where in which file the certificates of an address or a fingerprint stand. The certificates
//! themselves are not kept: a source may have 50,000 of them.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::hash::{DefaultHasher, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::copies::{grouped, Copies};
use super::file::{self, Extent, Limit};
use super::open::{self, Identity, Links, Opened};
use super::raw::{key_id, RawCert, Revocation};
use super::records::{self, read_problems, Bytes, Entry, FileNote, Part, Parts, Range, Record, PARTS};
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

/// The index of a source.
#[derive(Debug)]
pub struct Index {
    bytes: Bytes,
    header: Header,
}

/// What an index begins with. The version says how it is written.
const MAGIC: &[u8] = concat!("perot-encrypt index ", env!("CARGO_PKG_VERSION"), " 2\n").as_bytes();
/// Where the parts begin.
const BEGIN: usize = MAGIC.len() + Header::SIZE;

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    /// The length of each part, in bytes.
    lengths: [u64; PARTS],
    /// Bytes and certificates in all files.
    bytes: u64,
    certs: u64,
    /// Of all parts. It counts where all are read. A search sees few of them, and looks at what it finds.
    checksum: u64,
}

impl Record<8> for Header {
    fn numbers(&self) -> [u64; 8] {
        let [a, b, c, d, e] = self.lengths;
        [a, b, c, d, e, self.bytes, self.certs, self.checksum]
    }

    fn of([lengths @ .., bytes, certs, checksum]: [u64; 8]) -> Option<Self> {
        Some(Self { lengths, bytes, certs, checksum })
    }
}

fn checksum(parts: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(parts);
    hasher.finish()
}

/// Why an index does not answer.
#[derive(Debug)]
pub enum NoAnswer {
    /// A file has changed since it was read, or the index is damaged.
    Changed,
    /// Files cannot be read.
    Trouble(Trouble),
}

impl From<Trouble> for NoAnswer {
    fn from(why: Trouble) -> Self {
        Self::Trouble(why)
    }
}

impl Index {
    /// Takes an index of `size` bytes; `None` if it is none.
    pub fn open(bytes: Bytes, size: u64) -> Option<Self> {
        let header = Header::read(bytes.get(0, BEGIN)?.strip_prefix(MAGIC)?)?;
        let end = header.lengths.iter().try_fold(BEGIN as u64, |sum, length| sum.checked_add(*length));
        (end == Some(size)).then_some(Self { bytes, header })
    }

    /// Makes an index of its parts, whose entries are in the order of their keys.
    pub fn new(parts: &Parts) -> Self {
        let mut bytes = [MAGIC, &[0; Header::SIZE]].concat();
        let size = |file: &FileNote| file.identity.map_or(0, |identity| identity.size());
        let header = Header {
            lengths: parts.write(&mut bytes),
            bytes: parts.files.iter().map(size).sum(),
            certs: parts.files.iter().map(|file| u64::from(file.certs)).sum(),
            checksum: checksum(&bytes[BEGIN..]),
        };
        bytes[MAGIC.len()..BEGIN].copy_from_slice(&header.write());
        Self { bytes: Bytes::Memory(bytes), header }
    }

    /// Returns all of it as bytes; `None` if they cannot be read.
    pub fn bytes(&self) -> Option<Cow<'_, [u8]>> {
        let parts: u64 = self.header.lengths.iter().sum();
        self.bytes.get(0, BEGIN + usize::try_from(parts).ok()?)
    }

    /// Returns what is in it; `None` if it is damaged.
    pub fn parts(&self) -> Option<Parts> {
        let bytes = self.bytes()?;
        let mut rest = &bytes[BEGIN..];
        if checksum(rest) != self.header.checksum {
            return None;
        }
        Parts::read(self.header.lengths.map(|length| {
            let (part, more) = rest.split_at(length as usize);
            rest = more;
            part
        }))
    }

    /// Returns how much the source holds.
    pub fn amount(&self) -> Amount {
        let Header { lengths, bytes, certs, .. } = self.header;
        let files = lengths[Part::Files as usize] as usize / FileNote::SIZE;
        Amount { bytes, files, certs: certs as usize }
    }

    /// Returns true if the files are the same, and so what is in them.
    pub fn is_of_the_same_files(&self, other: &Self) -> bool {
        let is_same = |part| self.part(part).is_some_and(|bytes| Some(bytes) == other.part(part));
        is_same(Part::Files) && is_same(Part::Names)
    }

    /// Returns the names of the files.
    pub fn names(&self) -> Vec<OsString> {
        let parts = self.parts().unwrap_or_default();
        parts.files.iter().map(|file| OsStr::from_bytes(parts.name(file)).to_owned()).collect()
    }

    /// Returns what cannot be used, each with the number of its file.
    fn numbered_problems(&self) -> Vec<(u32, Problem)> {
        self.part(Part::Problems).and_then(|bytes| read_problems(&bytes)).unwrap_or_default()
    }

    /// Returns the numbers of the files in which there is a private key.
    fn files_with_private_keys(&self) -> HashSet<u32> {
        let problems = self.numbered_problems().into_iter();
        problems.filter(|(_, problem)| problem.is_private_key()).map(|(number, _)| number).collect()
    }

    /// Returns what cannot be used.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems: Vec<Problem> =
            self.numbered_problems().into_iter().map(|(_, problem)| problem).collect();
        problems.sort();
        problems
    }

    /// Returns roughly how many bytes of memory the index takes.
    pub fn weight(&self) -> usize {
        let bytes = match &self.bytes {
            Bytes::Memory(bytes) => bytes.len(),
            Bytes::File(_) => 0,
        };
        1024 + bytes
    }

    fn part(&self, part: Part) -> Option<Cow<'_, [u8]>> {
        self.get(part, 0, self.header.lengths[part as usize].try_into().ok()?)
    }

    /// Reads some bytes of a part.
    fn get(&self, part: Part, at: usize, length: usize) -> Option<Cow<'_, [u8]>> {
        let (before, rest) = self.header.lengths.split_at(part as usize);
        if at.checked_add(length)? as u64 > rest[0] {
            return None;
        }
        let begins = BEGIN as u64 + before.iter().sum::<u64>();
        self.bytes.get(begins + at as u64, length)
    }

    fn text(&self, part: Part, (begins, ends): Range) -> Option<Cow<'_, [u8]>> {
        self.get(part, begins as usize, ends.checked_sub(begins)? as usize)
    }

    fn record<const N: usize, R: Record<N>>(&self, part: Part, number: usize) -> Option<R> {
        R::read(&self.get(part, number.checked_mul(R::SIZE)?, R::SIZE)?)
    }

    fn key(&self, range: Range) -> Option<Cow<'_, [u8]>> {
        self.text(Part::Keys, range)
    }

    fn fingerprint(&self, entry: &Entry) -> Option<String> {
        String::from_utf8(self.key(entry.fingerprint)?.into_owned()).ok()
    }

    /// Returns an entry, and how its key compares with another.
    fn compared(&self, number: usize, key: &str) -> Result<(Entry, Ordering), NoAnswer> {
        let entry: Entry = self.record(Part::Entries, number).ok_or(NoAnswer::Changed)?;
        let order = self.key(entry.key).ok_or(NoAnswer::Changed)?.as_ref().cmp(key.as_bytes());
        Ok((entry, order))
    }

    /// Returns the entries with a key.
    fn find(&self, key: &str) -> Result<Vec<Entry>, NoAnswer> {
        let count = self.header.lengths[Part::Entries as usize] as usize / Entry::SIZE;
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.compared(middle, key)?.1 {
                Ordering::Less => low = middle + 1,
                _ => high = middle,
            }
        }
        let mut found = Vec::new();
        for number in low..count {
            match self.compared(number, key)? {
                (entry, Ordering::Equal) => found.push(entry),
                _ => break,
            }
            if found.len() > MAX_PLACES {
                let why = format!(
                    "more than {MAX_PLACES} certificates in it are for one recipient: remove old ones"
                );
                return Err(Trouble::Failed(why).into());
            }
        }
        Ok(found)
    }

    /// Reads the certificates that match, all copies of each. Their files, below `path` or `path` itself, are opened anew, with
    /// the rights of the current user.
    ///
    /// # Errors
    ///
    /// Fails if there are too many, or if a file has changed or cannot be read for want of something else than permission.
    pub fn read(&self, query: Query<'_>, path: &Path) -> Result<Vec<Copies>, NoAnswer> {
        let all_of = |entries: &[Entry]| entries.iter().map(|entry| self.fingerprint(entry)).collect();
        let fingerprints: Option<Vec<String>> = match query {
            Query::Fingerprint(hex) => Some(vec![hex.to_owned()]),
            Query::Address(address) => all_of(&self.find(address)?),
            Query::All => self.parts().and_then(|parts| all_of(&parts.entries)),
        };
        let mut fingerprints = fingerprints.ok_or(NoAnswer::Changed)?;
        fingerprints.sort_unstable();
        fingerprints.dedup();
        fingerprints.retain(|hex| !hex.is_empty());
        let private_keys = OnceCell::new();
        let mut all = Vec::new();
        for hex in fingerprints {
            let (mut certs, mut revocations) = (Vec::new(), Vec::new());
            for entry in self.find(&hex)?.iter().chain(&self.find(&revokes(&key_id(&hex)))?) {
                match self.item(entry, &hex, path)? {
                    Some(Item::Certificate(mut cert)) => {
                        let holds_one = || {
                            private_keys.get_or_init(|| self.files_with_private_keys()).contains(&entry.file)
                        };
                        cert.has_private_key = cert.is_x509() && holds_one();
                        certs.push(cert);
                    }
                    Some(Item::Revocation(revocation)) => revocations.push(revocation),
                    _ => {}
                }
            }
            all.extend(grouped(certs, &revocations));
        }
        Ok(all)
    }

    /// Reads what an entry names. `None` if this user may not read it.
    fn item(&self, entry: &Entry, fingerprint: &str, path: &Path) -> Result<Option<Item>, NoAnswer> {
        let note: Option<FileNote> = self.record(Part::Files, entry.file as usize);
        let name = note.and_then(|note| self.text(Part::Names, note.name));
        let (Some(note), Some(name)) = (note, name) else { return Err(NoAnswer::Changed) };
        // A keyring is followed to where a link leads, as the administrator wrote its path.
        let (file, links) = match name.is_empty() {
            true => (path.to_owned(), Links::Follow),
            false => (path.join(OsStr::from_bytes(&name)), Links::Refuse),
        };
        let opened = match open::open(&file, links) {
            Ok(Some(opened)) => opened,
            Ok(None) => return Err(NoAnswer::Changed),
            Err(Trouble::Refused(_)) => return Ok(None),
            Err(why) => return Err(why.into()),
        };
        if Some(Identity::of(&opened.metadata)) != note.identity {
            return Err(NoAnswer::Changed);
        }
        let bytes = match entry.extent.read(&opened.file) {
            Ok(bytes) => bytes,
            Err(Trouble::Refused(_)) => return Err(NoAnswer::Changed),
            Err(why) => return Err(why.into()),
        };
        if entry.fingerprint.0 == entry.fingerprint.1 {
            return Ok(split::revocation(&bytes).map(Item::Revocation));
        }
        let mut cert = RawCert::new(bytes);
        // It was changed so soon that the file looks the same.
        if cert.summary().is_ok_and(|summary| summary.fingerprint != fingerprint) {
            return Err(NoAnswer::Changed);
        }
        cert.file = Some(printable(file.as_os_str().as_bytes()));
        Ok(Some(Item::Certificate(cert)))
    }
}

/// What stands in front of the ID of a revoked key: neither an address nor a fingerprint has a space.
const REVOKES: &str = "revokes ";

fn revokes(key_id: &str) -> String {
    format!("{REVOKES}{key_id}")
}

/// Makes an index.
pub struct Builder {
    parts: Parts,
    /// What the source holds so far, and what it may hold.
    amount: Amount,
    most: Amount,
    limit: Limit,
}

impl Builder {
    /// Begins the index of a source that may hold `most`.
    pub fn new(most: Amount, deadline: &Deadline) -> Self {
        Self { parts: Parts::default(), amount: Amount::NONE, most, limit: Limit::new(most.certs, deadline) }
    }

    /// Adds what is in a file.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be read for want of something else than permission, if the source holds too much, or if the
    /// deadline has passed.
    pub fn read(&mut self, name: &OsStr, opened: Result<Opened, Trouble>) -> Result<(), Trouble> {
        let file = self.parts.files.len() as u32;
        let mut opened = match opened {
            Ok(opened) => opened,
            Err(Trouble::Failed(why)) => return Err(Trouble::Failed(why)),
            Err(Trouble::Refused(why)) => {
                self.note(file, name, Problem { why, ..Problem::default() });
                self.add_file(name, None, 0);
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
                    let fingerprint = self.parts.add(summary.fingerprint.as_bytes(), None, file, extent)?;
                    for address in &summary.addresses {
                        self.parts.add(address.as_bytes(), Some(fingerprint), file, extent)?;
                    }
                }
                Item::Revocation(Revocation { revokes: ids, .. }) => {
                    for id in ids {
                        self.parts.add(revokes(&id).as_bytes(), Some((0, 0)), file, extent)?;
                    }
                }
                Item::Unusable(problem) => self.note(file, name, problem),
            }
            Ok(())
        })?;
        self.limit = limit;
        self.add_file(name, identity, certs);
        Ok(())
    }

    fn note(&mut self, file: u32, name: &OsStr, problem: Problem) {
        let name = (!name.is_empty()).then(|| printable(name.as_bytes()));
        match self.parts.problems.len() {
            0..MAX_PROBLEMS => self.parts.problems.push((file, Problem { file: name, ..problem })),
            // Whose they are is not known.
            MAX_PROBLEMS => {
                let more = "there are more files that cannot be used";
                self.parts.problems.push((file, Problem { why: more.into(), ..Problem::default() }));
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
        before: &Parts,
        now: &[(OsString, Identity)],
    ) -> Result<HashSet<OsString>, Trouble> {
        let now: HashMap<&OsStr, Identity> =
            now.iter().map(|(name, identity)| (&**name, *identity)).collect();
        let mut numbers = vec![None; before.files.len()];
        let mut kept = HashSet::new();
        for (number, file) in numbers.iter_mut().zip(&before.files) {
            let name = OsStr::from_bytes(before.name(file));
            let Some(identity) = file.identity.filter(|identity| now.get(name) == Some(identity)) else {
                continue;
            };
            *number = Some(self.parts.files.len() as u32);
            let amount = Amount { bytes: identity.size(), files: 1, certs: file.certs as usize };
            self.amount = self.amount.plus(amount, &self.most)?;
            self.add_file(name, file.identity, file.certs);
            kept.insert(name.to_owned());
        }
        let number = |file: u32| numbers.get(file as usize).copied().flatten();
        // The same certificate has the same key only once in the new index, wherever it is named.
        let mut fingerprints: HashMap<Range, Range> = HashMap::from([((0, 0), (0, 0))]);
        for entry in before.entries.iter().filter(|entry| entry.key == entry.fingerprint) {
            if let Some(file) = number(entry.file) {
                let key = self.parts.add(before.key(entry.key), None, file, entry.extent)?;
                fingerprints.insert(entry.key, key);
            }
        }
        for entry in before.entries.iter().filter(|entry| entry.key != entry.fingerprint) {
            if let (Some(file), Some(fingerprint)) =
                (number(entry.file), fingerprints.get(&entry.fingerprint))
            {
                self.parts.add(before.key(entry.key), Some(*fingerprint), file, entry.extent)?;
            }
        }
        let problems = before.problems.iter().filter_map(|(file, why)| Some((number(*file)?, why.clone())));
        self.parts.problems.extend(problems);
        Ok(kept)
    }

    /// Notes something that is no certificate file.
    pub fn problem(&mut self, name: &OsStr, why: &str) {
        self.note(u32::MAX, name, Problem { why: why.to_owned(), ..Problem::default() });
    }

    fn add_file(&mut self, name: &OsStr, identity: Option<Identity>, certs: u32) {
        let name = records::add(&mut self.parts.names, name.as_bytes());
        self.parts.files.push(FileNote { name, identity, certs });
    }

    /// Ends the index.
    pub fn finish(mut self) -> Index {
        let mut entries = std::mem::take(&mut self.parts.entries);
        entries.sort_by(|a, b| self.parts.key(a.key).cmp(self.parts.key(b.key)));
        entries.dedup_by(|a, b| {
            a.file == b.file && a.extent == b.extent && self.parts.key(a.key) == self.parts.key(b.key)
        });
        self.parts.entries = entries;
        Index::new(&self.parts)
    }
}

impl Parts {
    /// Adds an entry. `fingerprint` is `None` if the key itself is it. Returns where the key is.
    fn add(
        &mut self,
        key: &[u8],
        fingerprint: Option<Range>,
        file: u32,
        extent: Extent,
    ) -> Result<Range, Trouble> {
        if self.entries.len() >= MAX_KEYS {
            return Err(Trouble::Failed(format!(
                "more than {MAX_KEYS} addresses: remove what is not needed"
            )));
        }
        let key = records::add(&mut self.keys, key);
        self.entries.push(Entry { key, fingerprint: fingerprint.unwrap_or(key), file, extent });
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;

    use sequoia_openpgp::cert::CertBuilder;
    use sequoia_openpgp::serialize::SerializeInto;
    use sequoia_openpgp::Packet;

    const MINE: &str = "me@example.org";

    /// Makes a folder of two certificates, with a revocation of one beside it.
    fn folder() -> (tempfile::TempDir, [String; 2]) {
        let folder = tempfile::tempdir().unwrap();
        let fingerprints = [MINE, "you@example.org"].map(|address| {
            let (cert, revocation) = CertBuilder::general_purpose(Some(address)).generate().unwrap();
            let file = folder.path().join(format!("of-{address}.pgp"));
            fs::write(file, cert.to_vec().unwrap()).unwrap();
            if address != MINE {
                let revocation = Packet::from(revocation).to_vec().unwrap();
                fs::write(folder.path().join("revoked.rev"), revocation).unwrap();
            }
            cert.fingerprint().to_hex()
        });
        fs::write(folder.path().join("x.asc"), "nothing").unwrap();
        (folder, fingerprints)
    }

    fn swept(folder: &Path) -> Index {
        super::super::folder::sweep(folder, &Parts::default(), MOST, &Deadline::NONE).unwrap()
    }

    const MOST: Amount = Amount { bytes: u64::MAX, files: usize::MAX, certs: 100 };

    /// Opens an index of which only what is needed is read.
    fn in_file(bytes: &[u8]) -> Option<Index> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Index::open(Bytes::File(file), bytes.len() as u64)
    }

    #[test]
    fn a_file_answers_as_memory_does() {
        let (folder, [mine, yours]) = folder();
        let swept = swept(folder.path());
        let opened = in_file(&swept.bytes().unwrap()).unwrap();
        assert_eq!(swept.parts().unwrap(), opened.parts().unwrap());
        assert!(swept.is_of_the_same_files(&opened));
        for index in [swept, opened] {
            assert_eq!((index.amount().files, index.amount().certs, index.problems().len()), (4, 2, 1));
            let found = |query| {
                let found = index.read(query, folder.path()).unwrap().into_iter();
                found.map(|copies| (copies.fingerprint, copies.revocations.len())).collect::<Vec<_>>()
            };
            assert_eq!(found(Query::Address(MINE)), [(mine.clone(), 0)]);
            assert_eq!(found(Query::Fingerprint(&yours)), [(yours.clone(), 1)]);
            assert_eq!(found(Query::All).len(), 2);
            assert_eq!(found(Query::Address("m@example.org")), []);
            assert_eq!(found(Query::Address("zoe@example.org")), []);
        }
    }

    /// A certificate is looked at when it is read, and another index is only made of one that is as it was.
    #[test]
    fn a_damaged_index_leads_to_no_other_certificate() {
        let (folder, [mine, _]) = folder();
        let swept = swept(folder.path());
        let (whole, bytes) = (swept.parts().unwrap(), swept.bytes().unwrap());
        for n in 0..bytes.len() {
            assert!(in_file(&bytes[..n]).is_none(), "{n}");
            for flipped in [0x01, 0x80] {
                let mut bytes = bytes.to_vec();
                bytes[n] ^= flipped;
                let Some(index) = in_file(&bytes) else { continue };
                for copies in index.read(Query::Fingerprint(&mine), folder.path()).unwrap_or_default() {
                    assert_eq!(copies.certificate().unwrap().fingerprint().to_hex(), mine, "{n}");
                }
                for copies in index.read(Query::Address(MINE), folder.path()).unwrap_or_default() {
                    // Whoever asks looks at the address, too.
                    let found = copies.certificate().unwrap().fingerprint().to_hex();
                    assert!(found == mine || !copies.claims(MINE), "{n}");
                }
                assert!(index.parts().is_none_or(|parts| parts == whole), "{n}");
                index.problems();
            }
        }
    }
}
