//! Keeps ciphertext until all of it has been written: in memory, or in a file without a name if it is large.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::PathBuf;

/// The bytes that are kept in memory. Most mail fits and needs no file, and a hundred deliveries at once take
/// no more than 12.5 MiB.
const MAX_MEMORY: usize = 128 << 10;

/// Keeps the bytes that are written to it. They must be ciphertext, because they may reach the disk.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    waiting: Waiting,
}

/// The bytes that have been written.
#[derive(Debug)]
pub enum Waiting {
    /// All of them, in memory.
    Memory(Vec<u8>),
    /// A file that has no name, or loses it at once.
    File(File),
}

impl Spool {
    /// Creates an empty spool. It creates its file in `folder` when it needs one.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), waiting: Waiting::Memory(Vec::new()) }
    }

    /// Returns what has been written. The file is at its beginning.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be rewound.
    pub fn finish(self) -> io::Result<Waiting> {
        match self.waiting {
            Waiting::File(mut file) => file.rewind().map(|()| Waiting::File(file)),
            memory @ Waiting::Memory(_) => Ok(memory),
        }
    }
}

impl Write for Spool {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let memory = match &mut self.waiting {
            Waiting::File(file) => return file.write(data),
            Waiting::Memory(memory) => memory,
        };
        if memory.len() + data.len() <= MAX_MEMORY {
            memory.extend_from_slice(data);
            return Ok(data.len());
        }
        let mut file = tempfile::tempfile_in(&self.folder)?;
        file.write_all(memory)?;
        let written = file.write(data);
        self.waiting = Waiting::File(file);
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn memory_then_a_file_without_a_name() {
        let folder = tempfile::tempdir().unwrap();
        for size in [0, 1, MAX_MEMORY, MAX_MEMORY + 1, 3 * MAX_MEMORY] {
            let data: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
            for chunk in [4096, size.max(1)] {
                let mut spool = Spool::new(folder.path());
                data.chunks(chunk).for_each(|c| spool.write_all(c).unwrap());
                let names = std::fs::read_dir(folder.path()).unwrap().count();
                assert_eq!(names, 0);
                let read = match spool.finish().unwrap() {
                    Waiting::Memory(memory) => memory,
                    Waiting::File(mut file) => {
                        assert!(size > MAX_MEMORY);
                        let mut all = Vec::new();
                        file.read_to_end(&mut all).unwrap();
                        all
                    }
                };
                assert!(read == data, "{size} in chunks of {chunk}");
            }
        }
    }

    #[test]
    fn no_folder_is_an_error() {
        let mut spool = Spool::new("/nonexistent");
        spool.write_all(&[0; MAX_MEMORY]).unwrap();
        assert!(spool.write_all(&[0]).is_err());
    }
}
