//! Keeps a message in clear until all of it is there: in memory, and enciphered in a file without a name once it is
//! too large for that. The key is in memory only and is gone with the spool, so nobody else can ever read the file.

use std::fs::File;
use std::io::{self, BufRead, Read, Seek, Write};
use std::path::PathBuf;

use sequoia_openpgp as openpgp;

use openpgp::crypto::SessionKey;
use openpgp::types::{AEADAlgorithm, SymmetricAlgorithm};

use crate::log::printable;

/// The spool keeps this many bytes in memory, and enciphers this many in one piece.
const CHUNK: usize = 128 << 10;
/// The size of an authentication tag, in bytes.
const TAG: usize = 16;

/// A message that is written once, and then read as often as needed.
#[derive(Debug)]
pub struct SealedSpool {
    folder: PathBuf,
    /// The file with all chunks but the last.
    file: Option<SealedFile>,
    /// The last chunk.
    tail: Vec<u8>,
    /// The chunk of the file that is being read.
    chunk: Vec<u8>,
    /// The number of chunks that the reader has begun.
    begun: u64,
    /// The number of bytes that have been read of the chunk that was begun last.
    consumed: usize,
}

impl SealedSpool {
    /// Makes an empty spool, which makes its file in `folder` if it needs one.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), file: None, tail: Vec::new(), chunk: Vec::new(), begun: 0, consumed: 0 }
    }

    /// Goes back to the first byte.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read from its beginning.
    pub fn rewind(&mut self) -> io::Result<()> {
        (self.begun, self.consumed) = (0, 0);
        self.file.as_mut().map_or(Ok(()), |file| file.inner.rewind())
    }

    /// Returns the number of chunks in the file.
    fn sealed(&self) -> u64 {
        self.file.as_ref().map_or(0, |file| file.chunks)
    }

    /// Returns the content of the chunk that was begun last.
    fn current(&self) -> &[u8] {
        match self.begun {
            0 => &[],
            n if n <= self.sealed() => &self.chunk[self.consumed..],
            _ => &self.tail[self.consumed..],
        }
    }
}

impl Write for SealedSpool {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.tail.len() == CHUNK {
            let file = match &mut self.file {
                Some(file) => file,
                none => none.insert(SealedFile::new(tempfile::tempfile_in(&self.folder)?)?),
            };
            file.append(&self.tail)?;
            self.tail.clear();
        }
        let n = data.len().min(CHUNK - self.tail.len());
        self.tail.extend_from_slice(&data[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BufRead for SealedSpool {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current().is_empty() && self.begun <= self.sealed() {
            if let Some(file) = self.file.as_mut().filter(|file| self.begun < file.chunks) {
                file.read(self.begun, &mut self.chunk)?;
            }
            (self.begun, self.consumed) = (self.begun + 1, 0);
        }
        Ok(self.current())
    }

    fn consume(&mut self, n: usize) {
        self.consumed += n;
    }
}

impl Read for SealedSpool {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buffer)?;
        self.consume(n);
        Ok(n)
    }
}

/// A file of chunks, each enciphered and authenticated (AES-256 in OCB mode).
#[derive(Debug)]
struct SealedFile {
    inner: File,
    key: SessionKey,
    chunks: u64,
    /// A buffer for one enciphered chunk.
    sealed: Vec<u8>,
}

impl SealedFile {
    fn new(inner: File) -> io::Result<Self> {
        let key = SessionKey::new(32).map_err(failed)?;
        Ok(Self { inner, key, chunks: 0, sealed: vec![0; CHUNK + TAG] })
    }

    fn append(&mut self, chunk: &[u8]) -> io::Result<()> {
        let nonce = nonce(self.chunks);
        let cipher = OCB.context(AES, &self.key, &[], &nonce);
        let sealed = cipher.and_then(|cipher| cipher.for_encryption()?.encrypt_seal(&mut self.sealed, chunk));
        sealed.map_err(failed)?;
        self.inner.write_all(&self.sealed)?;
        self.chunks += 1;
        Ok(())
    }

    /// Reads the chunk of this number, which must be the next one in the file.
    fn read(&mut self, number: u64, chunk: &mut Vec<u8>) -> io::Result<()> {
        self.inner.read_exact(&mut self.sealed)?;
        chunk.resize(CHUNK, 0);
        let nonce = nonce(number);
        let cipher = OCB.context(AES, &self.key, &[], &nonce);
        let opened = cipher.and_then(|cipher| cipher.for_decryption()?.decrypt_verify(chunk, &self.sealed));
        opened.map_err(failed)
    }
}

const AES: SymmetricAlgorithm = SymmetricAlgorithm::AES256;
const OCB: AEADAlgorithm = AEADAlgorithm::OCB;

/// Returns the nonce of a chunk. No two chunks of a file share one, and no two files share a key.
fn nonce(number: u64) -> [u8; 15] {
    let mut nonce = [0; 15];
    nonce[7..].copy_from_slice(&number.to_be_bytes());
    nonce
}

fn failed(why: openpgp::anyhow::Error) -> io::Error {
    io::Error::other(printable(why.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    fn filled(folder: &std::path::Path, data: &[u8], piece: usize) -> SealedSpool {
        let mut spool = SealedSpool::new(folder);
        data.chunks(piece).for_each(|piece| spool.write_all(piece).unwrap());
        spool
    }

    fn all(spool: &mut SealedSpool) -> Vec<u8> {
        let mut read = Vec::new();
        spool.rewind().unwrap();
        spool.read_to_end(&mut read).unwrap();
        read
    }

    #[test]
    fn what_is_written_is_read_again_and_again() {
        let folder = tempfile::tempdir().unwrap();
        for size in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 77] {
            let data: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
            for piece in [4096, 100_000, size.max(1)] {
                let mut spool = filled(folder.path(), &data, piece);
                assert_eq!(spool.file.is_some(), size > CHUNK, "{size}");
                assert!(all(&mut spool) == data, "{size} in pieces of {piece}");
                spool.rewind().unwrap();
                spool.read_exact(&mut vec![0; size / 2]).unwrap();
                assert!(all(&mut spool) == data, "{size} in pieces of {piece}, from the middle");
                assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
            }
        }
    }

    #[test]
    fn the_file_holds_nothing_in_clear_and_no_two_are_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let data = b"nightingale ".repeat(3 * CHUNK / 12 + 1);
        let content = || {
            let mut spool = filled(folder.path(), &data, 4096);
            let file = &mut spool.file.as_mut().unwrap().inner;
            let mut content = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut content).unwrap();
            content
        };
        let (one, other) = (content(), content());
        assert!(one.len() >= 3 * CHUNK && memchr::memmem::find(&one, b"ghtinga").is_none());
        assert!(one != other && one[..CHUNK] != one[CHUNK + TAG..][..CHUNK]);
    }

    #[test]
    fn a_file_that_was_changed_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        for at in [0, CHUNK as u64, 2 * CHUNK as u64] {
            let mut spool = filled(folder.path(), &vec![7; 3 * CHUNK], 4096);
            let file = &spool.file.as_ref().unwrap().inner;
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 1], at).unwrap();
            spool.rewind().unwrap();
            assert!(spool.read_to_end(&mut Vec::new()).is_err(), "{at}");
        }
    }

    #[test]
    fn no_folder_is_an_error() {
        let mut spool = SealedSpool::new("/nonexistent");
        spool.write_all(&[0; CHUNK]).unwrap();
        // The host's line is made of the number.
        assert_eq!(spool.write_all(&[0]).unwrap_err().raw_os_error(), Some(libc::ENOENT));
    }
}
