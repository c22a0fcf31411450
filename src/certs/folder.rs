//! A folder of certificate files. An index of addresses and fingerprints is kept from one message to the
//! next.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cache::{key, Cache, Key};
use super::open::{self, Identity, Links, Opened};
use super::query::{plural, Answer, Problem, Query, MAX_PROBLEMS};
use super::raw::{self, RawCert, Refusal, Summary};
use super::{cert_d, keyring};
use crate::log::printable;

/// The extensions of files that are read.
const SUFFIXES: [&str; 5] = ["asc", "pgp", "gpg", "pub", "key"];
/// The time between two looks at every file of a folder. A file that is changed in place, which leaves the
/// folder's own modification time as it was, is found after at most this time. Files that match are opened
/// for each message.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// The bytes that are cached of all folders, about 30,000 files. If they have more, they are read anew.
const MAX_REMEMBERED: usize = 32 << 20;

static FOLDERS: Cache<Key, Folder> = Cache::new(MAX_REMEMBERED);

/// The cached index of a folder.
#[derive(Clone, Debug, Default)]
pub struct Folder {
    identity: Option<Identity>,
    swept: Option<Instant>,
    files: HashMap<OsString, FileNote>,
    by_address: HashMap<String, Vec<OsString>>,
    by_fingerprint: HashMap<String, Vec<OsString>>,
    count: usize,
    pub problems: Vec<Problem>,
}

#[derive(Clone, Debug)]
struct FileNote {
    /// `None` if the file could not be read. It is tried again for the next message, which may have another
    /// group or more file descriptors.
    identity: Option<Identity>,
    certs: Vec<Arc<Summary>>,
    problem: Option<Refusal>,
}

impl FileNote {
    fn of(path: &Path, identity: Identity) -> Self {
        let opened = open::open(path, Links::Refuse).and_then(|file| file.ok_or("it is not there".into()));
        let data = match opened.and_then(|mut opened| open::read(&mut opened)) {
            Ok(data) => data,
            Err(why) => return Self { identity: None, certs: Vec::new(), problem: Some(why) },
        };
        let (certs, problem) = match raw::read(&data) {
            Ok(certs) => keyring::understood(certs),
            Err(why) => (Vec::new(), Some(why)),
        };
        let certs = certs.iter().filter_map(|cert| cert.summary().ok().cloned()).collect();
        Self { identity: Some(identity), certs, problem }
    }
}

/// Searches a folder for what matches `query`.
///
/// # Errors
///
/// Fails if the folder cannot be read.
pub fn ask(path: &Path, opened: &Opened, query: Query<'_>) -> Result<Answer, Refusal> {
    if let Query::Fingerprint(hex) = query {
        if let Some(cert) = cert_d::find(path, hex)? {
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

/// Searches the files whose names are the address, as in `me@example.org.asc`. If one of them holds a
/// certificate for it, the other files are not read: there may be thousands, and a new process has no index
/// of them.
fn named_after(path: &Path, address: &str) -> Option<Answer> {
    if address.contains('/') {
        return None;
    }
    let mut certs = Vec::new();
    let mut matches = false;
    for suffix in SUFFIXES {
        let file = path.join(format!("{address}.{suffix}"));
        // A file that cannot be read is reported by the search through the whole folder.
        let Ok(Some(mut opened)) = open::open(&file, Links::Refuse) else { continue };
        let Ok(answer) = keyring::ask(&file, &mut opened, Query::All) else { continue };
        let claims = |cert: &RawCert| cert.summary().is_ok_and(|s| Query::Address(address).matches(s));
        matches |= answer.certs.iter().any(claims);
        certs.extend(answer.certs);
    }
    let holds = format!("{} in the file named {}", plural(certs.len()), printable(address));
    matches.then(|| Answer { certs, holds, complete: true, ..Answer::default() })
}

/// Returns the name of a file that is named after the address, whatever is in it. It is looked for among the names of the
/// last search through the whole folder.
pub fn file_named_after(path: &Path, address: &str) -> Option<String> {
    let folder = FOLDERS.get(&key(path))?;
    let is_named = |name: &&OsString| {
        let stem = Path::new(name).file_stem().and_then(|stem| stem.to_str());
        stem.is_some_and(|stem| stem.eq_ignore_ascii_case(address))
    };
    folder.files.keys().find(is_named).map(|name| printable(name.as_bytes()))
}

/// Returns the name of a file or folder in a folder, unless it is hidden; `None` also if `path` is a file.
///
/// # Errors
///
/// Fails if the folder cannot be read.
pub fn any_file(path: &Path) -> Result<Option<String>, Refusal> {
    if !path.is_dir() {
        return Ok(None);
    }
    let mut names =
        std::fs::read_dir(path).map_err(open::unreadable)?.map(|entry| entry.map(|e| e.file_name()));
    let name = names.find(|name| !matches!(name, Ok(name) if name.as_bytes().starts_with(b".")));
    Ok(name.transpose().map_err(open::unreadable)?.map(|name| printable(name.as_bytes())))
}

/// Brings the index of a folder up to date: reads the files that are new or have changed.
///
/// # Errors
///
/// Fails if the folder cannot be read.
pub fn sweep(path: &Path, identity: Identity) -> Result<Arc<Folder>, Refusal> {
    let before = FOLDERS.get(&key(path)).unwrap_or_default();
    let mut folder = Folder { identity: Some(identity), swept: Some(Instant::now()), ..Folder::default() };
    let entries = std::fs::read_dir(path).map_err(open::unreadable)?;
    for entry in entries {
        let entry = entry.map_err(open::unreadable)?;
        let name = entry.file_name();
        let wanted =
            Path::new(&name).extension().is_some_and(|x| SUFFIXES.iter().any(|s| x.eq_ignore_ascii_case(s)));
        if !wanted {
            continue;
        }
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            // The file was removed after it was listed.
            Err(why) if why.kind() == ErrorKind::NotFound => continue,
            // The folder may be read, but not searched.
            Err(why) => return Err(open::unreadable(why)),
        };
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

impl Folder {
    fn add(&mut self, name: OsString, note: FileNote) {
        self.count += note.certs.len();
        if let Some(why) = &note.problem {
            let file = Some(printable(name.as_bytes()));
            self.problems.push(Problem { file, why: why.clone() });
        }
        for summary in &note.certs {
            for address in &summary.addresses {
                self.by_address.entry(address.clone()).or_default().push(name.clone());
            }
            self.by_fingerprint.entry(summary.fingerprint.clone()).or_default().push(name.clone());
        }
        self.files.insert(name, note);
    }

    /// Returns the certificates that match. Their files are opened anew, with the rights of the current user.
    pub fn read(&self, path: &Path, query: Query<'_>) -> Vec<RawCert> {
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
            let mut opened = open::open(&path, Links::Refuse).ok()??;
            keyring::ask(&path, &mut opened, query).ok()
        };
        names.into_iter().filter_map(answer).flat_map(|answer| answer.certs).collect()
    }

    /// Makes the answer that consists of `certs`.
    pub fn answer(&self, certs: Vec<RawCert>) -> Answer {
        let mut holds = plural(self.count);
        let (told, more) = self.problems.split_at(self.problems.len().min(MAX_PROBLEMS));
        for problem in told {
            holds = format!("{holds}; {problem}");
        }
        if !more.is_empty() {
            holds = format!("{holds}; and {} more that cannot be used", more.len());
        }
        Answer { certs, holds, count: self.count, problems: self.problems.clone(), complete: false }
    }
}

impl Folder {
    /// Returns roughly how many bytes of memory the index takes.
    fn weight(&self) -> usize {
        // Names, addresses and fingerprints are stored twice each; the rest of these numbers is for the hash
        // tables.
        let of_cert =
            |cert: &Arc<Summary>| 512 + cert.addresses.iter().map(|a| 256 + a.len() * 2).sum::<usize>();
        let of_file = |note: &FileNote| 512 + note.certs.iter().map(of_cert).sum::<usize>();
        1024 + self.files.values().map(of_file).sum::<usize>()
    }
}
