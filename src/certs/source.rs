//! One certificate source: a folder of certificate files, a keyring file, or an OpenPGP certificate
//! directory.

use std::path::Path;

use super::open::{self, Identity, Links};
use super::query::{Answer, Problem, Query};
use super::raw::Refusal;
use super::{cert_d, folder, keyring};

/// Searches one source; returns `None` if its path does not exist.
///
/// # Errors
///
/// Fails if the source cannot be read or must not be trusted.
pub fn ask(path: &Path, query: Query<'_>) -> Result<Option<Answer>, Refusal> {
    let Some(mut opened) = open::open(path, Links::Follow)? else { return Ok(None) };
    if opened.metadata.is_dir() {
        folder::ask(path, &opened, query).map(Some)
    } else {
        keyring::ask(path, &mut opened, query).map(Some)
    }
}

/// Lists everything in a source, for its administrator: all problems, and also the certificates of an OpenPGP
/// certificate directory. Returns `None` if the path does not exist.
///
/// # Errors
///
/// Fails if the source cannot be read or must not be trusted.
pub fn list(path: &Path) -> Result<Option<Answer>, Refusal> {
    let Some(mut opened) = open::open(path, Links::Follow)? else { return Ok(None) };
    if !opened.metadata.is_dir() {
        return keyring::ask(path, &mut opened, Query::All).map(Some);
    }
    let folder = folder::sweep(path, Identity::of(&opened.metadata))?;
    let mut answer = folder.answer(folder.read(path, Query::All));
    for name in cert_d::names(path)? {
        let certs = name.and_then(|hex| match cert_d::find(path, &hex) {
            Ok(Some(cert)) => Ok(cert),
            Ok(None) => {
                let why = "the file holds no certificate with this fingerprint".into();
                Err(Problem { file: Some(hex), why })
            }
            Err(why) => Err(Problem { file: Some(hex), why }),
        });
        match certs {
            Ok(cert) => answer.certs.push(cert),
            Err(why) => answer.problems.push(why),
        }
    }
    Ok(Some(answer))
}
