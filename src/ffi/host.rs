//! What the host hands in, as Rust's traits see it.

use std::io::{self, Read, Write};

use super::contract::{
    perot_bytes, perot_input, perot_level, perot_log, perot_output, PEROT_LEVEL_DEBUG, PEROT_LEVEL_ERROR,
    PEROT_LEVEL_INFO, PEROT_LEVEL_WARNING, PEROT_READ_TOO_SLOW,
};
use crate::log::{Level, Log};
use crate::message::Source;

impl perot_bytes {
    /// Lends `bytes` to the host.
    pub fn lend(bytes: &[u8]) -> Self {
        Self { data: bytes.as_ptr(), size: bytes.len() }
    }

    /// What the host lends; `None` where it has nothing.
    ///
    /// # Safety
    ///
    /// The bytes are valid for `'a`, as the contract says for the duration of a call.
    pub unsafe fn get<'a>(self) -> Option<&'a [u8]> {
        if self.data.is_null() {
            return None;
        }
        // SAFETY: not null, and valid by the contract.
        Some(unsafe { std::slice::from_raw_parts(self.data, self.size) })
    }

    /// What the host lends, if it is UTF-8.
    ///
    /// # Safety
    ///
    /// As [`Self::get`].
    pub unsafe fn text<'a>(self) -> Option<&'a str> {
        // SAFETY: as promised by the caller.
        unsafe { self.get() }.and_then(|bytes| std::str::from_utf8(bytes).ok())
    }
}

/// The host's log.
pub struct HostLog<'a>(pub &'a perot_log);

impl Log for HostLog<'_> {
    fn log(&self, level: Level, line: &str) {
        let level: perot_level = match level {
            Level::Debug => PEROT_LEVEL_DEBUG,
            Level::Info => PEROT_LEVEL_INFO,
            Level::Warning => PEROT_LEVEL_WARNING,
            Level::Error => PEROT_LEVEL_ERROR,
        };
        if let Some(write) = self.0.write {
            // SAFETY: the host's function with the host's context, during the call that brought both.
            unsafe { write(self.0.context, level, perot_bytes::lend(line.as_bytes())) }
        }
    }
}

/// The message as the host has it.
pub struct HostInput<'a>(pub &'a perot_input);

impl Read for HostInput<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read.ok_or(io::ErrorKind::Unsupported)?;
        // SAFETY: the host writes up to `size` bytes to the buffer, during the call that brought it.
        let n = unsafe { read(self.0.context, buffer.as_mut_ptr(), buffer.len()) };
        match usize::try_from(n) {
            Ok(n) if n <= buffer.len() => Ok(n),
            _ if n == PEROT_READ_TOO_SLOW as isize => Err(io::ErrorKind::TimedOut.into()),
            _ => Err(io::Error::other("the mail server cannot read it")),
        }
    }
}

impl Source for HostInput<'_> {
    fn rewind(&mut self) -> io::Result<()> {
        let rewind = self.0.rewind.ok_or(io::ErrorKind::Unsupported)?;
        // SAFETY: the host's function with the host's context, during the call that brought both.
        match unsafe { rewind(self.0.context) } {
            0 => Ok(()),
            _ => Err(io::Error::other("the mail server cannot read it again")),
        }
    }
}

/// Where the encrypted message goes.
pub struct HostOutput<'a>(pub &'a perot_output);

// SAFETY: sequoia asks for these of every writer. The core starts no thread, and neither does what it
// uses of sequoia: the writer stays on the thread of the call that brought it.
unsafe impl Send for HostOutput<'_> {}
// SAFETY: as above.
unsafe impl Sync for HostOutput<'_> {}

impl Write for HostOutput<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let write = self.0.write.ok_or(io::ErrorKind::Unsupported)?;
        // SAFETY: the host reads the bytes during this call.
        match unsafe { write(self.0.context, perot_bytes::lend(data)) } {
            0 => Ok(data.len()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
