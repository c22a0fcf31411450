//! A file of certificates, one or many. What is in it is remembered from one message to the next.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::cache::{key, Cache, Key};
use super::open::{self, Identity, Opened};
use super::query::{plural, Answer, Query};
use super::raw::{self, RawCert, Refusal};
use crate::log::printable;

/// How much is remembered of all keyrings, in bytes, roughly. When it is more, they are read anew.
const MAX_REMEMBERED: usize = 32 << 20;

static KEYRINGS: Cache<Key, Keyring> = Cache::new(MAX_REMEMBERED);

/// What is remembered of a keyring, or of a file in a folder: all of it.
#[derive(Clone, Debug, Default)]
struct Keyring {
    identity: Option<Identity>,
    certs: Vec<RawCert>,
    problem: Option<Refusal>,
}

/// Asks a file.
///
/// # Errors
///
/// It cannot be read.
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
        problems: keyring.problem.iter().cloned().collect(),
        complete: false,
    })
}

fn read_keyring(path: &Path, opened: &mut Opened, identity: Identity) -> Result<Keyring, Refusal> {
    let (certs, problem) = understood(read_opened(path, opened)?);
    Ok(Keyring { identity: Some(identity), certs, problem })
}

/// The certificates in a file, each with the name of the file.
///
/// # Errors
///
/// It cannot be read.
pub fn read_opened(path: &Path, opened: &mut Opened) -> Result<Vec<RawCert>, Refusal> {
    let mut certs = raw::read(&open::read(opened)?)?;
    for cert in &mut certs {
        cert.file = Some(printable(path.as_os_str().as_bytes()));
    }
    Ok(certs)
}

/// Those of the certificates in a file that are understood, and what is wrong with another one.
pub fn understood(mut certs: Vec<RawCert>) -> (Vec<RawCert>, Option<Refusal>) {
    let why = certs.iter().find_map(|cert| cert.summary().err());
    let problem = why.map(|why| format!("a certificate in it cannot be used: {why}"));
    certs.retain(|cert| cert.summary().is_ok());
    (certs, problem)
}

impl Keyring {
    /// About how many bytes of memory it takes.
    fn weight(&self) -> usize {
        1024 + self.certs.iter().map(|cert| 256 + cert.bytes().len()).sum::<usize>()
    }
}
