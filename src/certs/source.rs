//! One certificate source: a folder of certificate files, a keyring file, or an OpenPGP certificate
//! directory. What is in it is remembered from one message to the next.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::files::{self, Identity, Links, Opened};
use super::memory::Memory;
use super::raw::{self, RawCert, Refusal, Summary};
use crate::ffi::effective_ids;
use crate::printable::printable;

/// File names in a folder that are taken for certificates.
const SUFFIXES: [&str; 5] = ["asc", "pgp", "gpg", "pub", "key"];
/// How long a folder is trusted not to hold files that were changed in place, without a look at each.
/// Files that are used are looked at each time, and a folder's list of names is, too.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// How much is remembered of all folders, and as much again of all keyrings, in bytes, roughly. When it is more, they are
/// read anew.
const MOST_REMEMBERED: usize = 32 << 20;
/// How many problems with files are told.
const MOST_PROBLEMS: usize = 3;

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub enum Query<'a> {
    /// Certificates that claim this address (normalised).
    Address(&'a str),
    /// The certificate with this fingerprint, in upper case hex.
    Fingerprint(&'a str),
    /// All of them.
    All,
}

impl Query<'_> {
    /// Whether a certificate claims to be what is looked for.
    pub fn matches(&self, summary: &Summary) -> bool {
        match self {
            Self::Address(address) => summary.addresses.iter().any(|a| a == address),
            Self::Fingerprint(hex) => summary.fingerprint == *hex,
            Self::All => true,
        }
    }
}

/// What a source has.
#[derive(Debug, Default)]
pub struct Answer {
    /// The certificates that match. Not checked in any way.
    pub certs: Vec<RawCert>,
    /// What the source holds altogether, for the log: "3 certificates; x.asc: its armor is damaged".
    pub holds: String,
    /// The first problems with single files.
    pub problems: Vec<String>,
    /// Whether the source need not be asked for other copies of `certs`.
    pub complete: bool,
}

/// Asks one source; `None` if there is nothing at its path.
///
/// # Errors
///
/// There is something, but it cannot be read or must not be trusted.
pub fn ask(path: &Path, query: Query<'_>) -> Result<Option<Answer>, Refusal> {
    let Some(mut opened) = files::open(path, Links::Follow)? else { return Ok(None) };
    if opened.metadata.is_dir() {
        ask_folder(path, &opened, query).map(Some)
    } else {
        ask_keyring(path, &mut opened, query).map(Some)
    }
}

// Folders ------------------------------------------------------------------------------------------

/// What is remembered of a folder: which file claims what.
#[derive(Clone, Debug, Default)]
struct Folder {
    identity: Option<Identity>,
    swept: Option<Instant>,
    files: HashMap<OsString, FileNote>,
    by_address: HashMap<String, Vec<OsString>>,
    by_fingerprint: HashMap<String, Vec<OsString>>,
    count: usize,
    problems: Vec<String>,
}

#[derive(Clone, Debug)]
struct FileNote {
    /// `None` if it could not be read: the next time it may be, for another group or with more descriptors.
    identity: Option<Identity>,
    certs: Vec<Arc<Summary>>,
    problem: Option<Refusal>,
}

impl FileNote {
    fn of(path: &Path, identity: Identity) -> Self {
        let opened = files::open(path, Links::Refuse).and_then(|file| file.ok_or("it is not there".into()));
        let data = match opened.and_then(|mut opened| files::read(&mut opened)) {
            Ok(data) => data,
            Err(why) => return Self { identity: None, certs: Vec::new(), problem: Some(why) },
        };
        let (certs, problem) = match raw::read(&data) {
            Ok(certs) => understood(certs),
            Err(why) => (Vec::new(), Some(why)),
        };
        let certs = certs.iter().filter_map(|cert| cert.summary().ok().cloned()).collect();
        Self { identity: Some(identity), certs, problem }
    }
}

/// All that a source has, for those who look after it: without a limit on the problems, and with what
/// an OpenPGP certificate directory holds. `None` if there is nothing at its path.
///
/// # Errors
///
/// There is something, but it cannot be read or must not be trusted.
pub fn list(path: &Path) -> Result<Option<Answer>, Refusal> {
    let Some(mut opened) = files::open(path, Links::Follow)? else { return Ok(None) };
    if !opened.metadata.is_dir() {
        return ask_keyring(path, &mut opened, Query::All).map(Some);
    }
    let folder = sweep(path, Identity::of(&opened.metadata))?;
    let mut answer = folder.answer(folder.read(path, Query::All));
    answer.problems = folder.problems.clone();
    for name in names_in_cert_d(path)? {
        let certs = name.and_then(|hex| match in_cert_d(path, &hex) {
            Ok(Some(cert)) => Ok(cert),
            Ok(None) => Err(format!("{hex}: the file holds no certificate with this fingerprint")),
            Err(why) => Err(format!("{hex}: {why}")),
        });
        match certs {
            Ok(cert) => answer.certs.push(cert),
            Err(why) => answer.problems.push(why),
        }
    }
    Ok(Some(answer))
}

fn ask_folder(path: &Path, opened: &Opened, query: Query<'_>) -> Result<Answer, Refusal> {
    if let Query::Fingerprint(hex) = query {
        if let Some(cert) = in_cert_d(path, hex)? {
            return Ok(Answer { certs: vec![cert], ..Answer::default() });
        }
    }
    if let Query::Address(address) = query {
        if let Some(answer) = named_after(path, address) {
            return Ok(answer);
        }
    }
    let identity = Identity::of(&opened.metadata);
    let remembered = FOLDERS.get(&key(path)).filter(|f| f.identity == Some(identity));
    if let Some(folder) = remembered.filter(|f| f.swept.is_some_and(|t| t.elapsed() < SWEEP_EVERY)) {
        let certs = folder.read(path, query);
        if !certs.is_empty() {
            return Ok(folder.answer(certs));
        }
    }
    let folder = sweep(path, identity)?;
    let certs = folder.read(path, query);
    Ok(folder.answer(certs))
}

/// Asks the files of a folder that are named after the address, as in `me@example.org.asc`. If the certificate is
/// there, they speak for the folder: a new process does not have to read thousands of others.
fn named_after(path: &Path, address: &str) -> Option<Answer> {
    if address.contains('/') {
        return None;
    }
    let mut certs = Vec::new();
    let mut matches = false;
    for suffix in SUFFIXES {
        let file = path.join(format!("{address}.{suffix}"));
        // What is wrong with the file is told when the folder is read.
        let Ok(Some(mut opened)) = files::open(&file, Links::Refuse) else { continue };
        let Ok(answer) = ask_keyring(&file, &mut opened, Query::All) else { continue };
        let claims = |cert: &RawCert| cert.summary().is_ok_and(|s| Query::Address(address).matches(s));
        matches |= answer.certs.iter().any(claims);
        certs.extend(answer.certs);
    }
    let holds = format!("{} in the file named {}", plural(certs.len()), printable(address));
    matches.then(|| Answer { certs, holds, complete: true, ..Answer::default() })
}

/// Looks at every file of a folder, and into those that are new or have changed.
fn sweep(path: &Path, identity: Identity) -> Result<Arc<Folder>, Refusal> {
    let before = FOLDERS.get(&key(path)).unwrap_or_default();
    let mut folder = Folder { identity: Some(identity), swept: Some(Instant::now()), ..Folder::default() };
    let entries =
        std::fs::read_dir(path).map_err(|e| format!("it cannot be read: {}", files::describe(&e)))?;
    for entry in entries {
        let entry = entry.map_err(|e| format!("it cannot be read: {}", files::describe(&e)))?;
        let name = entry.file_name();
        let wanted =
            Path::new(&name).extension().is_some_and(|x| SUFFIXES.iter().any(|s| x.eq_ignore_ascii_case(s)));
        if !wanted {
            continue;
        }
        // Gone since it was listed: not there.
        let Ok(metadata) = entry.metadata() else { continue };
        let identity = Identity::of(&metadata);
        let note = match before.files.get(&name) {
            Some(note) if note.identity == Some(identity) => note.clone(),
            _ => FileNote::of(&path.join(&name), identity),
        };
        folder.add(name, note);
    }
    folder.problems.sort();
    let weight = folder.weight();
    Ok(FOLDERS.put(key(path), folder, weight))
}

fn read_opened(path: &Path, opened: &mut Opened) -> Result<Vec<RawCert>, Refusal> {
    let mut certs = raw::read(&files::read(opened)?)?;
    for cert in &mut certs {
        cert.file = Some(printable(path.as_os_str().as_bytes()));
    }
    Ok(certs)
}

/// Those of the certificates in a file that are understood, and what is wrong with another one.
fn understood(mut certs: Vec<RawCert>) -> (Vec<RawCert>, Option<Refusal>) {
    let why = certs.iter().find_map(|cert| cert.summary().err());
    let problem = why.map(|why| format!("a certificate in it cannot be used: {why}"));
    certs.retain(|cert| cert.summary().is_ok());
    (certs, problem)
}

impl Folder {
    fn add(&mut self, name: OsString, note: FileNote) {
        self.count += note.certs.len();
        if let Some(why) = &note.problem {
            self.problems.push(format!("{}: {why}", printable(name.as_bytes())));
        }
        for summary in &note.certs {
            for address in &summary.addresses {
                self.by_address.entry(address.clone()).or_default().push(name.clone());
            }
            self.by_fingerprint.entry(summary.fingerprint.clone()).or_default().push(name.clone());
        }
        self.files.insert(name, note);
    }

    /// The certificates that match, from their files as they are now and as this user may read them.
    fn read(&self, path: &Path, query: Query<'_>) -> Vec<RawCert> {
        let mut names: Vec<&OsString> = match query {
            Query::Address(address) => self.by_address.get(address).into_iter().flatten().collect(),
            Query::Fingerprint(hex) => self.by_fingerprint.get(hex).into_iter().flatten().collect(),
            Query::All => {
                self.files.iter().filter(|(_, n)| !n.certs.is_empty()).map(|(name, _)| name).collect()
            }
        };
        names.sort();
        names.dedup();
        let answer = |name: &OsString| {
            let path = path.join(name);
            let mut opened = files::open(&path, Links::Refuse).ok()??;
            ask_keyring(&path, &mut opened, query).ok()
        };
        names.into_iter().filter_map(answer).flat_map(|answer| answer.certs).collect()
    }

    fn answer(&self, certs: Vec<RawCert>) -> Answer {
        let mut holds = plural(self.count);
        let (told, more) = self.problems.split_at(self.problems.len().min(MOST_PROBLEMS));
        for problem in told {
            holds = format!("{holds}; {problem}");
        }
        if !more.is_empty() {
            holds = format!("{holds}; and {} more that cannot be used", more.len());
        }
        Answer { certs, holds, problems: told.to_vec(), complete: false }
    }
}

fn plural(count: usize) -> String {
    match count {
        0 => "no certificate".to_owned(),
        1 => "1 certificate".to_owned(),
        n => format!("{n} certificates"),
    }
}

/// Looks into a shared OpenPGP certificate directory (draft-nwjw-openpgp-cert-d, section 3.1): the
/// first two hex digits of the fingerprint name a folder, the rest a file in it.
fn in_cert_d(path: &Path, hex: &str) -> Result<Option<RawCert>, Refusal> {
    let lower = hex.to_ascii_lowercase();
    let Some((first, rest)) = lower.split_at_checked(2) else { return Ok(None) };
    let folder = path.join(first);
    if files::open(&folder, Links::Refuse)?.is_none() {
        return Ok(None);
    }
    let file = folder.join(rest);
    let Some(mut opened) = files::open(&file, Links::Refuse)? else { return Ok(None) };
    let certs = read_opened(&file, &mut opened)?;
    Ok(certs.into_iter().find(|cert| cert.summary().is_ok_and(|s| s.fingerprint == hex)))
}

/// The fingerprints that file names in an OpenPGP certificate directory say, in upper case hex. A folder in
/// it that cannot be read is told in its place.
fn names_in_cert_d(path: &Path) -> Result<Vec<Result<String, Refusal>>, Refusal> {
    let names = |folder: &Path, digits: &[usize]| -> Result<Vec<String>, Refusal> {
        let entries =
            std::fs::read_dir(folder).map_err(|e| format!("it cannot be read: {}", files::describe(&e)))?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let hex = |name: &str| name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let mut names: Vec<String> = names.filter(|n| digits.contains(&n.len()) && hex(n)).collect();
        names.sort();
        Ok(names)
    };
    let mut found = Vec::new();
    for first in names(path, &[2])? {
        let folder = path.join(&first);
        let opened = files::open(&folder, Links::Refuse).map_err(|why| format!("{first}: {why}"));
        match opened.and_then(|_| names(&folder, &[38, 62]).map_err(|why| format!("{first}: {why}"))) {
            Ok(rest) => found.extend(rest.iter().map(|r| Ok(format!("{first}{r}").to_ascii_uppercase()))),
            Err(why) => found.push(Err(why)),
        }
    }
    Ok(found)
}

// Keyrings -----------------------------------------------------------------------------------------

/// What is remembered of a keyring, or of a file in a folder: all of it.
#[derive(Clone, Debug, Default)]
struct Keyring {
    identity: Option<Identity>,
    certs: Vec<RawCert>,
    problem: Option<Refusal>,
}

fn ask_keyring(path: &Path, opened: &mut Opened, query: Query<'_>) -> Result<Answer, Refusal> {
    let identity = Identity::of(&opened.metadata);
    let keyring = match KEYRINGS.get(&key(path)).filter(|k| k.identity == Some(identity)) {
        Some(keyring) => keyring,
        None => {
            let keyring = read_keyring(path, opened, identity)?;
            let weight = keyring.weight();
            KEYRINGS.put(key(path), keyring, weight)
        }
    };
    let matching = keyring.certs.iter().filter(|cert| cert.summary().is_ok_and(|s| query.matches(s)));
    Ok(Answer {
        certs: matching.cloned().collect(),
        holds: plural(keyring.certs.len()),
        problems: keyring.problem.iter().cloned().collect(),
        complete: false,
    })
}

fn read_keyring(path: &Path, opened: &mut Opened, identity: Identity) -> Result<Keyring, Refusal> {
    let (certs, problem) = understood(read_opened(path, opened)?);
    Ok(Keyring { identity: Some(identity), certs, problem })
}

// What is remembered -------------------------------------------------------------------------------

static FOLDERS: Memory<Key, Folder> = Memory::new(MOST_REMEMBERED);
static KEYRINGS: Memory<Key, Keyring> = Memory::new(MOST_REMEMBERED);

/// The identity of the process, and a path: what was read as one user is not known to another, even if both are
/// served by the same process.
type Key = ((u32, u32), PathBuf);

fn key(path: &Path) -> Key {
    (effective_ids(), path.to_owned())
}

impl Folder {
    /// About how many bytes of memory it takes.
    fn weight(&self) -> usize {
        // Names, addresses and fingerprints, each in two places, and the tables around them.
        let of_cert =
            |cert: &Arc<Summary>| 512 + cert.addresses.iter().map(|a| 256 + a.len() * 2).sum::<usize>();
        let of_file = |note: &FileNote| 512 + note.certs.iter().map(of_cert).sum::<usize>();
        1024 + self.files.values().map(of_file).sum::<usize>()
    }
}

impl Keyring {
    /// About how many bytes of memory it takes.
    fn weight(&self) -> usize {
        1024 + self.certs.iter().map(|cert| 256 + cert.bytes().len()).sum::<usize>()
    }
}
