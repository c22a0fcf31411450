//! A file of one or many certificates, kept from one message to the next.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::cache::{key, Cache, Key};
use super::open::{self, Identity, Opened};
use super::query::{plural, Answer, Problem, Query};
use super::raw::{self, RawCert, Refusal};
use crate::log::printable;

/// The bytes that are cached of all keyrings, half of the largest file that is read: a larger keyring is read
/// anew for each message.
const MAX_REMEMBERED: usize = 32 << 20;

static KEYRINGS: Cache<Key, Keyring> = Cache::new(MAX_REMEMBERED);

/// The cached certificates of a file.
#[derive(Clone, Debug, Default)]
struct Keyring {
    identity: Option<Identity>,
    certs: Vec<RawCert>,
    problem: Option<Refusal>,
}

/// Searches a file for what matches `query`.
///
/// # Errors
///
/// Fails if the file cannot be read, or if it is damaged.
pub fn ask(path: &Path, opened: &mut Opened, query: Query<'_>) -> Result<Answer, Refusal> {
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
        count: keyring.certs.len(),
        problems: keyring.problem.iter().map(|why| Problem { file: None, why: why.clone() }).collect(),
        complete: false,
    })
}

fn read_keyring(path: &Path, opened: &mut Opened, identity: Identity) -> Result<Keyring, Refusal> {
    let (certs, problem) = understood(read_opened(path, opened)?);
    Ok(Keyring { identity: Some(identity), certs, problem })
}

/// Reads the certificates in a file, and notes its name in each.
///
/// # Errors
///
/// Fails if the file cannot be read, or if it is damaged.
pub fn read_opened(path: &Path, opened: &mut Opened) -> Result<Vec<RawCert>, Refusal> {
    let mut certs = raw::read(&open::read(opened)?)?;
    for cert in &mut certs {
        cert.file = Some(printable(path.as_os_str().as_bytes()));
    }
    Ok(certs)
}

/// Removes the certificates that cannot be understood, and says what is wrong with the first of them.
pub fn understood(mut certs: Vec<RawCert>) -> (Vec<RawCert>, Option<Refusal>) {
    let why = certs.iter().find_map(|cert| cert.summary().err());
    let problem = why.map(|why| format!("a certificate in it cannot be used: {why}"));
    certs.retain(|cert| cert.summary().is_ok());
    (certs, problem)
}

impl Keyring {
    /// Returns roughly how many bytes of memory the certificates take.
    fn weight(&self) -> usize {
        1024 + self.certs.iter().map(|cert| 256 + cert.bytes().len()).sum::<usize>()
    }
}
