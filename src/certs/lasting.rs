//! An index that outlasts the process: Dovecot 2.4 starts a new one for each connection, which would have to read thousands of
//! files to find one.
//!
//! It lies in the folder for temporary files, and counts only if nobody but the user of this process could have written it.
//! It only says in which file to look: what is there is read and checked as always.

use std::fs::{self, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::cache;
use super::file::Extent;
use super::index::{Amount, Entry, FileNote, Index};
use super::open::Identity;
use super::text::{Position, ENCODINGS};
use super::trouble::Problem;

/// Smaller sources are read anew as quickly: files, and bytes.
const LEAST_FILES: usize = 200;
const LEAST_BYTES: u64 = 1 << 20;
/// Largest index that is written, in bytes, and most of them in the folder: users of the system have one each.
const MAX_BYTES: usize = 64 << 20;
const MAX_FILES: usize = 16;
const NAME: &str = "perot-encrypt-index";
/// What such a file begins with. The version says how it is written.
const MAGIC: &[u8] = concat!("perot-encrypt index ", env!("CARGO_PKG_VERSION"), " 1\n").as_bytes();

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
    let mut data = Vec::with_capacity(metadata.len() as usize);
    file.take(MAX_BYTES as u64).read_to_end(&mut data).ok()?;
    let (index, identity) = decode(&data, source)?;
    Some(Lasting { index, identity, age })
}

/// Writes the index of a source, for the processes that come after this one.
///
/// # Errors
///
/// Fails if it cannot be written, or if there are too many of them. Nothing depends on it.
pub fn save(temp_dir: &Path, source: &Path, index: &Index, identity: Identity) -> io::Result<()> {
    let data = encode(index, identity, source);
    let path = path(temp_dir, source);
    if data.len() > MAX_BYTES || (!path.exists() && is_full(temp_dir)?) {
        return Err(io::ErrorKind::StorageFull.into());
    }
    let new = path.with_extension(std::process::id().to_string());
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    let written = file.write_all(&data).and_then(|()| fs::rename(&new, &path));
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

fn encode(index: &Index, identity: Identity, source: &Path) -> Vec<u8> {
    let mut out = Writer(MAGIC.to_vec());
    out.bytes(source.as_os_str().as_bytes());
    out.identity(Some(identity));
    out.number(index.files.len() as u64);
    for file in &index.files {
        let amount = file.amount;
        let numbers =
            [file.name.0.into(), file.name.1.into(), amount.bytes, amount.files as u64, amount.certs as u64];
        numbers.into_iter().for_each(|number| out.number(number));
        out.identity(file.identity);
    }
    out.bytes(&index.names);
    out.number(index.entries.len() as u64);
    for Entry { key, fingerprint, file, extent } in &index.entries {
        let encoding = ENCODINGS.iter().position(|encoding| *encoding == extent.encoding).unwrap_or_default();
        let (skip, size) = (extent.begins.skip.into(), extent.size as u64);
        for (begins, ends) in [*key, *fingerprint] {
            out.number(begins.into());
            out.number(ends.into());
        }
        let numbers = [(*file).into(), encoding as u64, extent.begins.at, skip, size];
        numbers.into_iter().for_each(|number| out.number(number));
    }
    out.bytes(index.keys.as_bytes());
    out.number(index.problems.len() as u64);
    for (file, problem) in &index.problems {
        out.number((*file).into());
        out.bytes(problem.file.as_deref().unwrap_or_default().as_bytes());
        out.bytes(problem.why.as_bytes());
        out.bytes(problem.claims.join("\n").as_bytes());
    }
    out.0
}

fn decode(data: &[u8], source: &Path) -> Option<(Index, Identity)> {
    let mut input = Reader(data.strip_prefix(MAGIC)?);
    if input.bytes()? != source.as_os_str().as_bytes() {
        return None;
    }
    let identity = input.identity()??;
    let files = input.list(|input| {
        let name = (input.small()?, input.small()?);
        let (bytes, files, certs) = (input.number()?, input.number()? as usize, input.number()? as usize);
        Some(FileNote { name, amount: Amount { bytes, files, certs }, identity: input.identity()? })
    })?;
    let names = input.bytes()?.to_vec();
    let entries = input.list(|input| {
        let (key, fingerprint) = ((input.small()?, input.small()?), (input.small()?, input.small()?));
        let file = input.small()?;
        let encoding = *ENCODINGS.get(input.number()? as usize)?;
        let begins = Position { at: input.number()?, skip: input.small()? };
        Some(Entry {
            key,
            fingerprint,
            file,
            extent: Extent { encoding, begins, size: input.small()? as usize },
        })
    })?;
    let keys = input.text()?;
    let problems = input.list(|input| {
        let (number, file, why, claims) = (input.small()?, input.text()?, input.text()?, input.text()?);
        let file = (!file.is_empty()).then_some(file);
        Some((number, Problem { file, why, claims: claims.lines().map(str::to_owned).collect() }))
    })?;
    Some((Index { files, names, entries, keys, problems }, identity))
}

struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn identity(&mut self, identity: Option<Identity>) {
        self.number(identity.is_some().into());
        let numbers = identity.map_or([0; 7], Identity::to_numbers);
        numbers.into_iter().for_each(|number| self.number(number as u64));
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
    }

    fn small(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?.try_into().ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    fn identity(&mut self) -> Option<Option<Identity>> {
        let is_known = self.number()? == 1;
        let mut numbers = [0; 7];
        for number in &mut numbers {
            *number = self.number()? as i64;
        }
        Some(is_known.then(|| Identity::from_numbers(numbers)))
    }

    /// Reads a list. What is said of its length counts only as far as there are bytes.
    fn list<T>(&mut self, item: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = usize::try_from(self.number()?).ok()?;
        let mut list = Vec::with_capacity(count.min(self.0.len() / 8));
        for _ in 0..count {
            list.push(item(self)?);
        }
        Some(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn an_index() -> (Index, Identity) {
        let identity = Identity::from_numbers([1, -2, 3, 4, 5, 6, 7]);
        let amount = Amount { bytes: 9, files: 1, certs: 1 };
        let begins = Position { at: 7, skip: 2 };
        let entry = |encoding| Entry {
            key: (0, 5),
            fingerprint: (1, 2),
            file: 0,
            extent: Extent { encoding, begins, size: 3 },
        };
        let problem = Problem {
            file: Some("x.asc".into()),
            why: "it is".into(),
            claims: vec!["a@b".into(), "c@d".into()],
        };
        let index = Index {
            files: vec![
                FileNote { name: (0, 5), identity: Some(identity), amount },
                FileNote { name: (5, 5), identity: None, amount },
            ],
            names: b"x.asc".to_vec(),
            entries: ENCODINGS.map(entry).to_vec(),
            keys: "a@b.c".into(),
            problems: vec![(1, problem), (u32::MAX, Problem::default())],
        };
        (index, identity)
    }

    #[test]
    fn it_is_read_as_it_was_written_or_not_at_all() {
        let (index, identity) = an_index();
        let source = Path::new("/etc/certs");
        let data = encode(&index, identity, source);
        assert_eq!(decode(&data, source), Some((index, identity)));
        assert_eq!(decode(&data, Path::new("/etc/other")), None);
        for n in 0..data.len() {
            assert_eq!(decode(&data[..n], source), None, "{n}");
            let mut data = data.clone();
            data[n] ^= 0x80;
            let _ = decode(&data, source);
        }
    }

    #[test]
    fn only_what_this_user_alone_could_write_counts() {
        let folder = tempfile::tempdir().unwrap();
        let source = Path::new("/etc/certs");
        let (index, identity) = an_index();
        assert!(load(folder.path(), source).is_none());
        save(folder.path(), source, &index, identity).unwrap();
        let lasting = load(folder.path(), source).unwrap();
        assert!(
            lasting.index == index && lasting.identity == identity && lasting.age < Duration::from_secs(60)
        );
        let file = path(folder.path(), source);
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
}
