//! A folder of certificate files. Which file claims what is remembered from one message to the next.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cache::{key, Cache, Key};
use super::open::{self, Identity, Links, Opened};
use super::query::{plural, Answer, Query};
use super::raw::{self, RawCert, Refusal, Summary};
use super::{cert_d, keyring};
use crate::log::printable;

/// File names in a folder that are taken for certificates.
const SUFFIXES: [&str; 5] = ["asc", "pgp", "gpg", "pub", "key"];
/// How long a folder is trusted not to hold files that were changed in place, without a look at each.
/// Files that are used are looked at each time, and a folder's list of names is, too.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// How much is remembered of all folders, in bytes, roughly: of some 30 000 files. When it is more, they are read anew.
const MAX_REMEMBERED: usize = 32 << 20;
/// How many problems with files are told.
const MAX_PROBLEMS: usize = 3;

static FOLDERS: Cache<Key, Folder> = Cache::new(MAX_REMEMBERED);

/// What is remembered of a folder: which file claims what.
#[derive(Clone, Debug, Default)]
pub struct Folder {
    identity: Option<Identity>,
    swept: Option<Instant>,
    files: HashMap<OsString, FileNote>,
    by_address: HashMap<String, Vec<OsString>>,
    by_fingerprint: HashMap<String, Vec<OsString>>,
    count: usize,
    pub problems: Vec<String>,
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

/// Asks a folder.
///
/// # Errors
///
/// It cannot be read.
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
        let Ok(Some(mut opened)) = open::open(&file, Links::Refuse) else { continue };
        let Ok(answer) = keyring::ask(&file, &mut opened, Query::All) else { continue };
        let claims = |cert: &RawCert| cert.summary().is_ok_and(|s| Query::Address(address).matches(s));
        matches |= answer.certs.iter().any(claims);
        certs.extend(answer.certs);
    }
    let holds = format!("{} in the file named {}", plural(certs.len()), printable(address));
    matches.then(|| Answer { certs, holds, complete: true, ..Answer::default() })
}

/// Looks at every file of a folder, and into those that are new or have changed.
///
/// # Errors
///
/// It cannot be read.
pub fn sweep(path: &Path, identity: Identity) -> Result<Arc<Folder>, Refusal> {
    let before = FOLDERS.get(&key(path)).unwrap_or_default();
    let mut folder = Folder { identity: Some(identity), swept: Some(Instant::now()), ..Folder::default() };
    let entries =
        std::fs::read_dir(path).map_err(|e| format!("it cannot be read: {}", open::describe(&e)))?;
    for entry in entries {
        let entry = entry.map_err(|e| format!("it cannot be read: {}", open::describe(&e)))?;
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

    /// The answer with these certificates.
    pub fn answer(&self, certs: Vec<RawCert>) -> Answer {
        let mut holds = plural(self.count);
        let (told, more) = self.problems.split_at(self.problems.len().min(MAX_PROBLEMS));
        for problem in told {
            holds = format!("{holds}; {problem}");
        }
        if !more.is_empty() {
            holds = format!("{holds}; and {} more that cannot be used", more.len());
        }
        Answer { certs, holds, problems: told.to_vec(), complete: false }
    }
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
