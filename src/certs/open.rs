//! Opening what a source consists of, and telling whether it has changed.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use super::raw::Refusal;
use crate::log::printable;

/// Largest source file, in bytes.
pub const MAX_BYTES: u64 = 64 << 20;

/// What tells one state of a file or folder from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    /// The identity of what `metadata` is about.
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Something opened for reading that may be trusted to say who can read the mail.
#[derive(Debug)]
pub struct Opened {
    /// The file or folder.
    pub file: File,
    /// What it is.
    pub metadata: Metadata,
}

/// Whether the last part of a path may be a symbolic link.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// The administrator wrote this path.
    Follow,
    /// It lies in a folder, where a link could show other people's files.
    Refuse,
}

/// Opens a file or folder; `None` if there is none. Never waits, whatever it is (a FIFO, a device).
///
/// # Errors
///
/// It cannot be read, or everybody may write it: then everybody could decide who reads the mail.
pub fn open(path: &Path, links: Links) -> Result<Option<Opened>, Refusal> {
    let no_follow = if links == Links::Refuse { libc::O_NOFOLLOW } else { 0 };
    let opened =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | no_follow).open(path);
    let file = match opened {
        Ok(file) => file,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None)
        }
        Err(e) if e.raw_os_error() == Some(libc::ELOOP) => {
            return Err("it is a symbolic link, which is refused: put the file itself there".into())
        }
        Err(e) => return Err(format!("it cannot be read: {}", describe(&e))),
    };
    let metadata = file.metadata().map_err(|e| format!("it cannot be read: {}", describe(&e)))?;
    if metadata.mode() & 0o002 != 0 {
        return Err("everybody may write it, so anybody could read the mail: chmod o-w".into());
    }
    Ok(Some(Opened { file, metadata }))
}

/// Reads a whole regular file.
///
/// # Errors
///
/// It is not a regular file, cannot be read, or is larger than [`MAX_BYTES`].
pub fn read(opened: &mut Opened) -> Result<Vec<u8>, Refusal> {
    if !opened.metadata.is_file() {
        return Err("it is not a regular file".into());
    }
    let too_large = || format!("it is larger than {} MiB: split it into several", MAX_BYTES >> 20);
    if opened.metadata.len() > MAX_BYTES {
        return Err(too_large());
    }
    let mut data = Vec::new();
    let limited = &mut (&mut opened.file).take(MAX_BYTES + 1);
    limited.read_to_end(&mut data).map_err(|e| format!("it cannot be read: {}", describe(&e)))?;
    if data.len() as u64 > MAX_BYTES {
        return Err(too_large());
    }
    Ok(data)
}

/// An operating system's error in its own words.
pub fn describe(error: &io::Error) -> String {
    let why = printable(error.to_string());
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            format!("{why}: the user as whom mail is delivered must be able to read it")
        }
        _ => why,
    }
}
