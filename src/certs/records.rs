//! What an index is made of: records of a fixed size, and texts to which they point. They are read where they stand, in memory
//! or in a file.

use std::borrow::Cow;
use std::fs::File;
use std::os::unix::fs::FileExt;

use super::file::Extent;
use super::open::{Identity, MAX_BYTES};
use super::text::{Position, ENCODINGS};
use super::trouble::Problem;

/// The bytes of an index.
#[derive(Debug)]
pub enum Bytes {
    /// All of them.
    Memory(Vec<u8>),
    /// A file that begins with them. What is needed is read when it is.
    File(File),
}

impl Bytes {
    /// Returns `length` of them; `None` if there are not so many, or if they cannot be read.
    pub fn get(&self, at: u64, length: usize) -> Option<Cow<'_, [u8]>> {
        match self {
            Self::Memory(all) => {
                let at = usize::try_from(at).ok()?;
                all.get(at..at.checked_add(length)?).map(Cow::Borrowed)
            }
            Self::File(file) => {
                let mut bytes = vec![0; length];
                file.read_exact_at(&mut bytes, at).ok()?;
                Some(Cow::Owned(bytes))
            }
        }
    }
}

/// Where a text begins and ends among others.
pub type Range = (u32, u32);

/// Something that is written as `N` numbers.
pub trait Record<const N: usize>: Sized {
    /// The bytes of one.
    const SIZE: usize = N * size_of::<u64>();

    /// Returns its numbers.
    fn numbers(&self) -> [u64; N];

    /// Makes it of its numbers; `None` if there is no such thing.
    fn of(numbers: [u64; N]) -> Option<Self>;

    /// Reads one.
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut numbers = [0; N];
        for (number, bytes) in numbers.iter_mut().zip(bytes.chunks(size_of::<u64>())) {
            *number = u64::from_le_bytes(bytes.try_into().ok()?);
        }
        (bytes.len() == Self::SIZE).then_some(numbers).and_then(Self::of)
    }

    /// Writes one.
    fn write(&self) -> Vec<u8> {
        self.numbers().into_iter().flat_map(u64::to_le_bytes).collect()
    }
}

impl<const N: usize> Record<N> for [u64; N] {
    fn numbers(&self) -> [u64; N] {
        *self
    }

    fn of(numbers: [u64; N]) -> Option<Self> {
        Some(numbers)
    }
}

/// A file, and what it was when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileNote {
    /// Where its name is. It is empty for a source that is a file itself.
    pub name: Range,
    /// `None` if the file could not be read. It is tried again for the next message, which may have another group.
    pub identity: Option<Identity>,
    /// The number of certificates in it.
    pub certs: u32,
}

impl Record<9> for FileNote {
    fn numbers(&self) -> [u64; 9] {
        let [a, b, c, d, e, f, g] = self.identity.map_or([0; 7], Identity::to_numbers);
        [pair(self.name), pair((self.identity.is_some().into(), self.certs)), a, b, c, d, e, f, g]
    }

    fn of([name, known, identity @ ..]: [u64; 9]) -> Option<Self> {
        let (is_known, certs) = unpair(known);
        let identity = (is_known == 1).then(|| Identity::from_numbers(identity));
        Some(Self { name: unpair(name), identity, certs })
    }
}

/// Where something stands that is found by a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where the key is.
    pub key: Range,
    /// Where the certificate's fingerprint is, which is a key, too; empty for a revocation.
    pub fingerprint: Range,
    /// The number of the file.
    pub file: u32,
    /// The place in it.
    pub extent: Extent,
}

impl Record<5> for Entry {
    fn numbers(&self) -> [u64; 5] {
        let Extent { encoding, begins, size } = self.extent;
        let encoding = ENCODINGS.iter().position(|other| *other == encoding).unwrap_or_default();
        let last = pair((begins.skip, size as u32));
        [pair(self.key), pair(self.fingerprint), pair((self.file, encoding as u32)), begins.at, last]
    }

    fn of([key, fingerprint, file, at, last]: [u64; 5]) -> Option<Self> {
        let ((file, encoding), (skip, size)) = (unpair(file), unpair(last));
        let encoding = *ENCODINGS.get(encoding as usize)?;
        let extent = Extent { encoding, begins: Position { at, skip }, size: size as usize };
        // No file is larger.
        (at <= MAX_BYTES).then_some(Self { key: unpair(key), fingerprint: unpair(fingerprint), file, extent })
    }
}

fn pair((a, b): (u32, u32)) -> u64 {
    u64::from(a) << 32 | u64::from(b)
}

fn unpair(number: u64) -> (u32, u32) {
    ((number >> 32) as u32, number as u32)
}

/// All that an index holds, while another is made of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// The files.
    pub files: Vec<FileNote>,
    /// Their names, one after the other.
    pub names: Vec<u8>,
    /// In the order of their keys.
    pub entries: Vec<Entry>,
    /// All addresses, fingerprints and revoked key IDs, one after the other.
    pub keys: Vec<u8>,
    /// What cannot be used, with the number of the file.
    pub problems: Vec<(u32, Problem)>,
}

/// The parts, in the order in which they are written.
#[derive(Clone, Copy)]
pub enum Part {
    /// `Parts::files`
    Files,
    /// `Parts::names`
    Names,
    /// `Parts::entries`
    Entries,
    /// `Parts::keys`
    Keys,
    /// `Parts::problems`
    Problems,
}

/// The number of parts.
pub const PARTS: usize = Part::Problems as usize + 1;

impl Parts {
    /// Writes the parts, one after the other. Returns the length of each.
    pub fn write(&self, out: &mut Vec<u8>) -> [u64; PARTS] {
        let files = out.len();
        write_all(&self.files, out);
        let names = out.len();
        out.extend_from_slice(&self.names);
        let entries = out.len();
        write_all(&self.entries, out);
        let keys = out.len();
        out.extend_from_slice(&self.keys);
        let problems = out.len();
        write_problems(&self.problems, out);
        let lengths = [names - files, entries - names, keys - entries, problems - keys, out.len() - problems];
        lengths.map(|length| length as u64)
    }

    /// Reads the parts; `None` if they are damaged.
    pub fn read([files, names, entries, keys, problems]: [&[u8]; PARTS]) -> Option<Self> {
        let (files, entries) = (read_all(files)?, read_all(entries)?);
        let problems = read_problems(problems)?;
        Some(Self { files, names: names.to_vec(), entries, keys: keys.to_vec(), problems })
    }

    /// Returns the name of a file.
    pub fn name(&self, file: &FileNote) -> &[u8] {
        slice(&self.names, file.name)
    }

    /// Returns a key.
    pub fn key(&self, range: Range) -> &[u8] {
        slice(&self.keys, range)
    }
}

/// Adds a text. Returns where it is.
pub fn add(texts: &mut Vec<u8>, text: &[u8]) -> Range {
    // Names, addresses and fingerprints are short, and not that many that this could overflow.
    let begins = texts.len() as u32;
    texts.extend_from_slice(text);
    (begins, texts.len() as u32)
}

fn slice(texts: &[u8], (begins, ends): Range) -> &[u8] {
    texts.get(begins as usize..ends as usize).unwrap_or_default()
}

fn write_all<const N: usize, R: Record<N>>(list: &[R], out: &mut Vec<u8>) {
    out.reserve(list.len() * R::SIZE);
    out.extend(list.iter().flat_map(R::numbers).flat_map(u64::to_le_bytes));
}

fn read_all<const N: usize, R: Record<N>>(bytes: &[u8]) -> Option<Vec<R>> {
    bytes.chunks(R::SIZE).map(R::read).collect()
}

fn write_problems(problems: &[(u32, Problem)], out: &mut Vec<u8>) {
    for (file, problem) in problems {
        out.extend([u64::from(*file)].write());
        let name = problem.file.as_deref().unwrap_or_default();
        for text in [name, &problem.why, &problem.claims.join("\n")] {
            out.extend([text.len() as u64].write());
            out.extend_from_slice(text.as_bytes());
        }
    }
}

/// Reads what cannot be used; `None` if it is damaged.
pub fn read_problems(mut bytes: &[u8]) -> Option<Vec<(u32, Problem)>> {
    fn number(bytes: &mut &[u8]) -> Option<usize> {
        let (number, rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        u64::from_le_bytes(*number).try_into().ok()
    }
    fn text(bytes: &mut &[u8]) -> Option<String> {
        let length = number(bytes)?;
        let (text, rest) = bytes.split_at_checked(length)?;
        *bytes = rest;
        String::from_utf8(text.to_vec()).ok()
    }
    let mut problems = Vec::new();
    while !bytes.is_empty() {
        let number = number(&mut bytes)?.try_into().ok()?;
        let (file, why, claims) = (text(&mut bytes)?, text(&mut bytes)?, text(&mut bytes)?);
        let file = (!file.is_empty()).then_some(file);
        problems.push((number, Problem { file, why, claims: claims.lines().map(str::to_owned).collect() }));
    }
    Some(problems)
}
