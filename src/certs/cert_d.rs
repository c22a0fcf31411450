//! A shared OpenPGP certificate directory (draft-nwjw-openpgp-cert-d, section 3.1).

use std::path::Path;

use super::keyring::read_opened;
use super::open::{self, Links};
use super::query::Problem;
use super::raw::{RawCert, Refusal};

/// Looks up a certificate by its fingerprint, in upper case hex. The first two hex digits name a folder in
/// `path`, the others a file in it. Returns `None` if that file does not exist or holds another certificate.
///
/// # Errors
///
/// Fails if the folder or the file cannot be read.
pub fn find(path: &Path, hex: &str) -> Result<Option<RawCert>, Refusal> {
    let lower = hex.to_ascii_lowercase();
    let Some((first, rest)) = lower.split_at_checked(2) else { return Ok(None) };
    let folder = path.join(first);
    if open::open(&folder, Links::Refuse)?.is_none() {
        return Ok(None);
    }
    let file = folder.join(rest);
    let Some(mut opened) = open::open(&file, Links::Refuse)? else { return Ok(None) };
    let certs = read_opened(&file, &mut opened)?;
    Ok(certs.into_iter().find(|cert| cert.summary().is_ok_and(|s| s.fingerprint == hex)))
}

/// Lists the fingerprints that the file names spell, in upper case hex. A folder in it that cannot be read is
/// an error in the list.
///
/// # Errors
///
/// Fails if `path` itself cannot be read.
pub fn names(path: &Path) -> Result<Vec<Result<String, Problem>>, Refusal> {
    let names = |folder: &Path, digits: &[usize]| -> Result<Vec<String>, Refusal> {
        let entries = std::fs::read_dir(folder).map_err(open::unreadable)?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let hex = |name: &str| name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let mut names: Vec<String> = names.filter(|n| digits.contains(&n.len()) && hex(n)).collect();
        names.sort();
        Ok(names)
    };
    let mut found = Vec::new();
    for first in names(path, &[2])? {
        let folder = path.join(&first);
        match open::open(&folder, Links::Refuse).and_then(|_| names(&folder, &[38, 62])) {
            Ok(rest) => found.extend(rest.iter().map(|r| Ok(format!("{first}{r}").to_ascii_uppercase()))),
            Err(why) => found.push(Err(Problem { file: Some(first), why })),
        }
    }
    Ok(found)
}
