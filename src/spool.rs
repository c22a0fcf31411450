//! Where ciphertext waits until all of it is right: in memory, and in a file without a name once it is too large for that.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::PathBuf;

/// How much is kept in memory, in bytes: small mail needs no file, and a hundred deliveries at once no more than 12 MiB.
const MAX_MEMORY: usize = 128 << 10;

/// Takes what is written to it. Only ciphertext may go there: it may get to the disk.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    waiting: Waiting,
}

/// What has been written.
#[derive(Debug)]
pub enum Waiting {
    /// All of it.
    Memory(Vec<u8>),
    /// A file that nobody else can open.
    File(File),
}

impl Spool {
    /// An empty one, which makes its file in `folder` if it needs one.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), waiting: Waiting::Memory(Vec::new()) }
    }

    /// What has been written, to be read from its beginning.
    ///
    /// # Errors
    ///
    /// The file cannot be read again.
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
