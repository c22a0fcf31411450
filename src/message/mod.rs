//! Messages as bytes: header and body, is it encrypted already, and the encrypted form.

pub mod assemble;
pub mod charset;
pub mod crlf;
pub mod header;
pub mod inspect;
pub mod lines;
pub mod protect;

use std::io::{self, Read, Seek};

use crate::error::{Error, Reason};

/// Largest message, in bytes.
pub const MOST_BYTES: u64 = 4 << 30;
/// Largest header, in bytes. Dovecot looks no further either.
pub const MOST_HEADER_BYTES: u64 = 10 << 20;

/// A message that can be read more than once.
pub trait Source: Read {
    /// Goes back to the first byte.
    fn rewind(&mut self) -> io::Result<()>;
}

impl<T: Read + Seek> Source for T {
    fn rewind(&mut self) -> io::Result<()> {
        Seek::rewind(self)
    }
}

/// The error for a message that the host cannot give us, or that is too large.
pub fn unreadable(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::FileTooLarge => return too_large("the message", MOST_BYTES),
        io::ErrorKind::TimedOut => return too_slow(),
        _ => {}
    }
    let why = crate::printable::printable(error.to_string());
    Error::new(Reason::UnreadableMessage, format!("the message cannot be read: {why}"))
}

/// The error for something that is larger than `most` bytes.
pub fn too_large(what: &str, most: u64) -> Error {
    Error::new(
        Reason::MessageTooLarge,
        format!("{what} is larger than {} MiB, which is the most", most >> 20),
    )
}

fn too_slow() -> Error {
    let text =
        "the message takes more CPU time than a script may take: raise sieve_max_cpu_time, or lower the \
        largest size of a message in the mail server that hands it over";
    Error::new(Reason::MessageTooLarge, text)
}
