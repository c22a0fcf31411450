//! A folder of certificate files.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::copies::{grouped, Copies};
use super::file::{Contents, Limit};
use super::index::{Amount, Builder, Index};
use super::open::{self, Identity, Links};
use super::raw;
use super::records::Parts;
use super::trouble::Trouble;
use crate::deadline::Deadline;
use crate::log::printable;

/// The extensions of files that are read. `rev` is what GnuPG gives to revocations.
const SUFFIXES: [&str; 9] = ["asc", "pgp", "gpg", "pub", "key", "rev", "pem", "crt", "cer"];
/// Extensions of other forms of X.509 and of what stands beside it. They are read so that it is said what is wrong with them.
const OTHER_FORMS: [&str; 5] = ["der", "p12", "pfx", "p7b", "p7c"];
/// Most names in a folder, of whatever files, beyond the files that are read. Listing them takes time, too.
const MAX_OTHER_NAMES: usize = 10_000;
/// The deadline is looked at once for so many files.
const FILES_AT_A_TIME: usize = 32;

/// Reads the files whose names are the address, as in `me@example.org.asc`, and the revocations of what is in them that have the
/// name that GnuPG gives them, the fingerprint. Returns the certificates in them if one claims
/// the address: the other files need not be read then. There may be thousands, and a new process has no index of them.
///
/// # Errors
///
/// Fails if a file cannot be read for want of something else than permission, if the files hold more than `most`, or if the
/// deadline has passed.
pub fn named_after(
    path: &Path,
    address: &str,
    most: Amount,
    deadline: &Deadline,
) -> Result<Vec<Copies>, Trouble> {
    if address.contains('/') {
        return Ok(Vec::new());
    }
    let (mut all, mut amount) = (Contents::default(), Amount::NONE);
    let mut limit = Limit::new(most.certs, deadline);
    let mut read = |name: String| {
        let file = path.join(name);
        let opened = open::open(&file, Links::Refuse).and_then(|o| o.map(open::Opened::regular).transpose());
        let mut opened = match opened {
            Ok(Some(opened)) if opened.metadata.len() <= raw::MAX_BYTES as u64 => opened,
            // The search through the whole folder reads it, or reports it.
            Ok(_) | Err(Trouble::Refused(_)) => return Ok(Contents::default()),
            Err(why) => return Err(why),
        };
        amount = amount.plus(Amount { bytes: opened.metadata.len(), files: 1, certs: 0 }, &most)?;
        let mut contents = Contents::read(&mut opened.file, &mut limit)?;
        for cert in &mut contents.certs {
            cert.file = Some(printable(file.as_os_str().as_bytes()));
        }
        Ok(contents)
    };
    for suffix in SUFFIXES {
        all.append(read(format!("{address}.{suffix}"))?);
    }
    let fingerprints = all.certs.iter().filter_map(|cert| Some(cert.summary().ok()?.fingerprint.clone()));
    for fingerprint in fingerprints.collect::<BTreeSet<_>>() {
        all.append(read(format!("{fingerprint}.rev"))?);
    }
    let mut copies = grouped(all.certs, &all.revocations);
    copies.retain(|copies| copies.claims(address));
    Ok(copies)
}

/// Returns the name of a file in an index that is named after the address, whatever is in it.
pub fn file_named_after(index: &Index, address: &str) -> Option<String> {
    let is_named = |name: &OsString| {
        let stem = Path::new(name).file_stem().and_then(|stem| stem.to_str());
        stem.is_some_and(|stem| stem.eq_ignore_ascii_case(address))
    };
    index.names().into_iter().find(is_named).map(|name| printable(name.as_bytes()))
}

/// Returns the name of a file or folder in a folder, unless it is hidden; `None` also if `path` is a file.
///
/// # Errors
///
/// Fails if the folder cannot be read.
pub fn any_file(path: &Path) -> Result<Option<String>, Trouble> {
    if !path.is_dir() {
        return Ok(None);
    }
    let mut names = fs::read_dir(path).map_err(Trouble::reading)?.map(|entry| entry.map(|e| e.file_name()));
    let name = names.find(|name| !matches!(name, Ok(name) if name.as_bytes().starts_with(b".")));
    Ok(name.transpose().map_err(Trouble::reading)?.map(|name| printable(name.as_bytes())))
}

/// Makes the index of a folder: reads the files that were not there `before`, or have changed since.
///
/// # Errors
///
/// Fails if the folder cannot be read, if it holds too much, or if the deadline has passed.
pub fn sweep(path: &Path, before: &Parts, most: Amount, deadline: &Deadline) -> Result<Index, Trouble> {
    let mut builder = Builder::new(most, deadline);
    let mut files = files(path, most.files, deadline, &mut builder)?;
    let kept = builder.keep(before, &files)?;
    files.retain(|(name, _)| !kept.contains(name));
    for (name, _) in files {
        let opened = match open::open(&path.join(&name), Links::Refuse) {
            // The file was removed after it was listed.
            Ok(None) => continue,
            Ok(Some(opened)) => opened.regular(),
            Err(why) => Err(why),
        };
        builder.read(&name, opened)?;
    }
    Ok(builder.finish())
}

/// Lists the certificate files of a folder in the order of their names, a file with several names once.
fn files(
    path: &Path,
    most: usize,
    deadline: &Deadline,
    builder: &mut Builder,
) -> Result<Vec<(OsString, Identity)>, Trouble> {
    let mut files = Vec::new();
    let mut inodes = HashSet::new();
    for (count, entry) in fs::read_dir(path).map_err(Trouble::reading)?.enumerate() {
        let entry = entry.map_err(Trouble::reading)?;
        if count % FILES_AT_A_TIME == 0 && deadline.has_passed() {
            return Err(Trouble::too_slow());
        }
        if count > most.saturating_add(MAX_OTHER_NAMES) {
            return Err(Trouble::Failed(format!("more than {count} files: remove what is not needed")));
        }
        let name = entry.file_name();
        if name == "pubring.kbx" {
            builder.problem(&name, "it is a keybox of GnuPG: export it (gpg --export > FILE)");
        }
        if !is_certificate_file(&name) {
            continue;
        }
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            // The file was removed after it was listed.
            Err(why) if why.kind() == ErrorKind::NotFound => continue,
            // The folder may be read, but not searched.
            Err(why) => return Err(Trouble::reading(why)),
        };
        files.push((name, Identity::of(&metadata)));
    }
    files.sort_by(|(a, _), (b, _)| a.cmp(b));
    files.retain(|(_, identity)| inodes.insert(identity.inode()));
    Ok(files)
}

fn is_certificate_file(name: &OsString) -> bool {
    let extension = Path::new(name).extension();
    extension.is_some_and(|extension| {
        SUFFIXES.iter().chain(&OTHER_FORMS).any(|suffix| extension.eq_ignore_ascii_case(suffix))
    })
}
