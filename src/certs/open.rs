//! Opens the files and folders of a source with care, and tells if they have changed.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use super::trouble::Trouble;

/// Largest source file, in bytes.
pub const MAX_BYTES: u64 = 64 << 20;

/// Metadata that changes whenever the content of a file or folder does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    /// Returns device and inode, which all names of a file share.
    pub fn inode(&self) -> (u64, u64) {
        (self.device, self.inode)
    }

    /// Returns the size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns it as numbers.
    pub fn to_numbers(self) -> [u64; 7] {
        let times = [self.modified.0, self.modified.1, self.changed.0, self.changed.1];
        let [m0, m1, c0, c1] = times.map(|number| number as u64);
        [self.device, self.inode, self.size, m0, m1, c0, c1]
    }

    /// Makes it of its numbers.
    pub fn from_numbers([device, inode, size, m0, m1, c0, c1]: [u64; 7]) -> Self {
        let [m0, m1, c0, c1] = [m0, m1, c0, c1].map(|number| number as i64);
        Self { device, inode, size, modified: (m0, m1), changed: (c0, c1) }
    }

    /// Takes the identity from `metadata`.
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

/// An open file or folder whose permissions have been checked.
#[derive(Debug)]
pub struct Opened {
    /// The open file or folder.
    pub file: File,
    /// Its metadata, taken from the open descriptor.
    pub metadata: Metadata,
}

/// The treatment of a symbolic link that is the last part of a path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// It is followed: the administrator wrote this path.
    Follow,
    /// It is refused: the path lies in a folder, where somebody could make a link to a file of others.
    Refuse,
}

/// Opens a file or folder; returns `None` if the path does not exist. A FIFO or a device does not block the
/// process.
///
/// # Errors
///
/// Fails if it cannot be opened, or if everybody may write to it: then everybody could decide who reads the
/// mail.
pub fn open(path: &Path, links: Links) -> Result<Option<Opened>, Trouble> {
    let no_follow = if links == Links::Refuse { libc::O_NOFOLLOW } else { 0 };
    let opened =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | no_follow).open(path);
    let file = match opened {
        Ok(file) => file,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None)
        }
        // An address may be longer than the name of a file can be.
        Err(e) if e.raw_os_error() == Some(libc::ENAMETOOLONG) => return Ok(None),
        Err(e) if e.raw_os_error() == Some(libc::ELOOP) => {
            return Err(Trouble::refused(
                "it is a symbolic link, which is refused: put the file itself there",
            ))
        }
        // A socket.
        Err(e) if e.raw_os_error() == Some(libc::ENXIO) => return Err(not_a_file()),
        Err(e) => return Err(Trouble::reading(e)),
    };
    let metadata = file.metadata().map_err(Trouble::reading)?;
    if metadata.mode() & 0o002 != 0 {
        return Err(Trouble::refused("everybody may write it, so anybody could read the mail: chmod o-w"));
    }
    Ok(Some(Opened { file, metadata }))
}

impl Opened {
    /// Returns itself if it is a regular file of acceptable size.
    ///
    /// # Errors
    ///
    /// Fails if it is not.
    pub fn regular(self) -> Result<Self, Trouble> {
        if !self.metadata.is_file() {
            return Err(not_a_file());
        }
        if self.metadata.len() > MAX_BYTES {
            return Err(Trouble::Refused(format!(
                "it is larger than {} MiB: split it into several",
                MAX_BYTES >> 20
            )));
        }
        Ok(self)
    }
}

fn not_a_file() -> Trouble {
    Trouble::refused("it is not a regular file")
}
