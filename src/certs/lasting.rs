//! An index that outlasts the process: Dovecot 2.4 starts a new one for each connection, which would have to read thousands of
//! files to find one.
//!
//! It lies in the folder for temporary files, and counts only if nobody but the user of this process could have written it.
//! It only says in which file to look: what is there is read and checked as always.

use std::fs::{self, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::cache;
use super::index::Index;
use super::open::Identity;
use super::records::{Bytes, Record};

/// Smaller sources are read anew as quickly: files, and bytes.
const LEAST_FILES: usize = 32;
const LEAST_BYTES: u64 = 1 << 20;
/// Largest index that is written, in bytes, and most of them in the folder: users of the system have one each.
const MAX_BYTES: usize = 64 << 20;
const MAX_FILES: usize = 16;
const NAME: &str = "perot-encrypt-index";

/// An index, what its source was then, and how long ago each file of it was looked at.
pub struct Lasting {
    /// The index.
    pub index: Index,
    /// What the folder or the keyring was.
    pub identity: Identity,
    /// The time since then.
    pub age: Duration,
}

/// Returns true if an index is worth keeping.
pub fn is_worth_it(index: &Index) -> bool {
    let amount = index.amount();
    amount.files >= LEAST_FILES || amount.bytes >= LEAST_BYTES
}

/// Reads the index of a source; `None` if there is none that can be trusted.
pub fn load(temp_dir: &Path, source: &Path) -> Option<Lasting> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_NOFOLLOW)
        .open(path(temp_dir, source))
        .ok()?;
    let metadata = file.metadata().ok()?;
    let is_ours = metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o077 == 0;
    if !is_ours || !metadata.is_file() || metadata.len() > MAX_BYTES as u64 {
        return None;
    }
    // A clock that was set back says nothing of the age.
    let age = SystemTime::now().duration_since(metadata.modified().ok()?).ok()?;
    let mut stamp = vec![0; <[u64; 7]>::SIZE + source.as_os_str().len()];
    let size = metadata.len().checked_sub(stamp.len() as u64)?;
    file.read_exact_at(&mut stamp, size).ok()?;
    let (identity, of) = stamp.split_at_checked(<[u64; 7]>::SIZE)?;
    let identity = Identity::from_numbers(Record::read(identity)?);
    let index = Index::open(Bytes::File(file), size).filter(|_| of == source.as_os_str().as_bytes())?;
    Some(Lasting { index, identity, age })
}

/// Writes the index of a source, for the processes that come after this one.
///
/// # Errors
///
/// Fails if it cannot be written, or if there are too many of them. Nothing depends on it.
pub fn save(temp_dir: &Path, source: &Path, index: &Index, identity: Identity) -> io::Result<()> {
    let index = index.bytes().ok_or(io::ErrorKind::InvalidData)?;
    let stamp = [&identity.to_numbers().write(), source.as_os_str().as_bytes()].concat();
    let path = path(temp_dir, source);
    if index.len() + stamp.len() > MAX_BYTES || (!path.exists() && is_full(temp_dir)?) {
        return Err(io::ErrorKind::StorageFull.into());
    }
    let new = path.with_extension(std::process::id().to_string());
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    let written =
        file.write_all(&index).and_then(|()| file.write_all(&stamp)).and_then(|()| fs::rename(&new, &path));
    written.inspect_err(|_| drop(fs::remove_file(&new)))
}

fn is_full(temp_dir: &Path) -> io::Result<bool> {
    let is_index = |entry: &fs::DirEntry| entry.file_name().as_bytes().starts_with(NAME.as_bytes());
    Ok(fs::read_dir(temp_dir)?.flatten().filter(is_index).count() >= MAX_FILES)
}

/// Returns the name of the file for a source: other users, who may read other things, have others.
fn path(temp_dir: &Path, source: &Path) -> PathBuf {
    let ((user, group), source) = cache::key(source);
    let mut hasher = DefaultHasher::new();
    source.hash(&mut hasher);
    temp_dir.join(format!("{NAME}-{user}-{group}-{:016x}", hasher.finish()))
}

#[cfg(test)]
mod tests {
    use super::super::records::Parts;
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_what_this_user_alone_could_write_counts() {
        let folder = tempfile::tempdir().unwrap();
        let source = Path::new("/etc/certs");
        let (index, identity) =
            (Index::new(&Parts::default()), Identity::from_numbers([1, 2, 3, 4, 5, 6, 7]));
        assert!(load(folder.path(), source).is_none());
        save(folder.path(), source, &index, identity).unwrap();
        let lasting = load(folder.path(), source).unwrap();
        assert!(lasting.identity == identity && lasting.age < Duration::from_secs(60));
        let file = path(folder.path(), source);
        // The name of the file is a hash, which another source could have, too.
        let other = Path::new("/etc/other");
        fs::copy(&file, path(folder.path(), other)).unwrap();
        assert!(load(folder.path(), other).is_none());
        fs::remove_file(path(folder.path(), other)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o620)).unwrap();
        assert!(load(folder.path(), source).is_none());
        let moved = folder.path().join("moved");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(&file, &moved).unwrap();
        std::os::unix::fs::symlink(&moved, &file).unwrap();
        assert!(load(folder.path(), source).is_none());
        // Whoever has many users does not get a folder full of them.
        for n in 0..MAX_FILES {
            let source = PathBuf::from(format!("/etc/{n}"));
            assert_eq!(save(folder.path(), &source, &index, identity).is_ok(), n + 1 < MAX_FILES, "{n}");
        }
    }

    #[test]
    fn a_file_that_is_cut_off_or_longer_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let source = Path::new("/etc/certs");
        let file = path(folder.path(), source);
        save(folder.path(), source, &Index::new(&Parts::default()), Identity::from_numbers([0; 7])).unwrap();
        let data = fs::read(&file).unwrap();
        for n in 0..data.len() {
            fs::write(&file, &data[..n]).unwrap();
            assert!(load(folder.path(), source).is_none(), "{n}");
        }
        fs::write(&file, [&data[..], &[0]].concat()).unwrap();
        assert!(load(folder.path(), source).is_none());
    }
}
