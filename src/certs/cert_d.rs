//! A shared OpenPGP certificate directory (draft-nwjw-openpgp-cert-d, section 3.1).

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::copies::{grouped, Copies};
use super::file::{Contents, Limit};
use super::open::{self, Links, Opened};
use super::raw;
use super::trouble::{Problem, Trouble};
use crate::deadline::Deadline;
use crate::log::printable;

/// Looks up a certificate by its fingerprint, in upper case hex. The first two hex digits name a folder in
/// `path`, the others a file in it. Returns `None` if that file does not exist or holds another certificate.
///
/// # Errors
///
/// Fails if the folder or the file cannot be read.
pub fn find(path: &Path, hex: &str, deadline: &Deadline) -> Result<Option<Copies>, Trouble> {
    let lower = hex.to_ascii_lowercase();
    let Some((first, rest)) = lower.split_at_checked(2) else { return Ok(None) };
    let folder = path.join(first);
    if open::open(&folder, Links::Refuse)?.is_none() {
        return Ok(None);
    }
    let file = folder.join(rest);
    let Some(mut opened) = open::open(&file, Links::Refuse)?.map(Opened::regular).transpose()? else {
        return Ok(None);
    };
    if opened.metadata.len() > raw::MAX_BYTES as u64 {
        return Err(Trouble::Refused(format!("{rest} is larger than {} KiB", raw::MAX_BYTES >> 10)));
    }
    let mut contents = Contents::read(&mut opened.file, &mut Limit::new(raw::MAX_AT_ONCE, deadline))?;
    for cert in &mut contents.certs {
        cert.file = Some(printable(file.as_os_str().as_bytes()));
    }
    let mut copies = grouped(contents.certs, &contents.revocations).into_iter();
    let found = copies.find(|copies| copies.fingerprint == hex);
    match (found, contents.problems.into_iter().next()) {
        (None, Some(problem)) => Err(Trouble::Refused(format!("{rest}: {}", problem.why))),
        (found, _) => Ok(found.map(|copies| Copies { is_shared: true, ..copies })),
    }
}

/// Returns true if a folder has the folders of such a directory.
pub fn is_one(path: &Path) -> bool {
    names(path, &[2]).is_ok_and(|names| !names.is_empty())
}

/// Lists all certificates, and what cannot be read.
///
/// # Errors
///
/// Fails if `path` itself cannot be read.
pub fn list(path: &Path, deadline: &Deadline) -> Result<(Vec<Copies>, Vec<Problem>), Trouble> {
    let (mut certs, mut problems) = (Vec::new(), Vec::new());
    for first in names(path, &[2])? {
        let folder = path.join(&first);
        let mut problem = |file: String, why: Trouble| {
            problems.push(Problem { file: Some(file), why: why.into_refusal(), claims: Vec::new() });
        };
        let rest = match open::open(&folder, Links::Refuse).and_then(|_| names(&folder, &[38, 62])) {
            Ok(rest) => rest,
            Err(why) => {
                problem(first, why);
                continue;
            }
        };
        for rest in rest {
            let hex = format!("{first}{rest}").to_ascii_uppercase();
            match find(path, &hex, deadline) {
                Ok(Some(copies)) => certs.push(copies),
                Ok(None) => {
                    problem(hex, Trouble::refused("the file holds no certificate with this fingerprint"))
                }
                Err(why) => problem(hex, why),
            }
        }
    }
    Ok((certs, problems))
}

/// Lists the names in a folder that are hex, and have one of these lengths.
fn names(folder: &Path, digits: &[usize]) -> Result<Vec<String>, Trouble> {
    let entries = fs::read_dir(folder).map_err(Trouble::reading)?;
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let hex = |name: &str| name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let mut names: Vec<String> = names.filter(|n| digits.contains(&n.len()) && hex(n)).collect();
    names.sort();
    Ok(names)
}
