//! Implements the core's traits for the callbacks that the host passes in.
//!
//! SAFETY.md has the promises that the `unsafe` blocks rely on, by number.

use std::io::{self, Read};

use super::contract::{
    perot_bytes, perot_input, perot_level, perot_log, PEROT_LEVEL_DEBUG, PEROT_LEVEL_ERROR, PEROT_LEVEL_INFO,
    PEROT_LEVEL_WARNING,
};
use crate::log::{Level, Log};
use crate::message::original::Original;

impl perot_bytes {
    /// Stands for something that does not exist, such as a setting that is not set.
    pub const NONE: Self = Self { data: std::ptr::null(), size: 0 };

    /// Lends `bytes` to the host.
    pub fn lend(bytes: &[u8]) -> Self {
        Self { data: bytes.as_ptr(), size: bytes.len() }
    }

    /// Returns the bytes that the host lends, or `None` if `data` is NULL.
    ///
    /// # Safety
    ///
    /// Promise 1, and nobody uses the result after the call in which the host lends the bytes.
    pub unsafe fn get(&self) -> Option<&[u8]> {
        if self.data.is_null() {
            return None;
        }
        // SAFETY: not NULL; promise 1.
        Some(unsafe { std::slice::from_raw_parts(self.data, self.size) })
    }

    /// Returns the bytes that the host lends, if they are UTF-8.
    ///
    /// # Safety
    ///
    /// The conditions of [`Self::get`].
    pub unsafe fn text(&self) -> Option<&str> {
        // SAFETY: the caller promises it.
        unsafe { self.get() }.and_then(|bytes| std::str::from_utf8(bytes).ok())
    }
}

/// Converts a level to that of the contract.
pub fn level(level: Level) -> perot_level {
    match level {
        Level::Debug => PEROT_LEVEL_DEBUG,
        Level::Info => PEROT_LEVEL_INFO,
        Level::Warning => PEROT_LEVEL_WARNING,
        Level::Error => PEROT_LEVEL_ERROR,
    }
}

/// The host's log. Lines are discarded if the host has none.
pub struct HostLog<'a>(Option<&'a perot_log>);

impl<'a> HostLog<'a> {
    /// # Safety
    ///
    /// Promise 2: the log's function may be called with its context for as long as `'a`.
    pub unsafe fn new(log: Option<&'a perot_log>) -> Self {
        Self(log)
    }
}

impl Log for HostLog<'_> {
    fn log(&self, at: Level, line: &str) {
        let Some((log, write)) = self.0.and_then(|log| Some((log, log.write?))) else { return };
        // SAFETY: promise 2, given at construction.
        unsafe { write(log.context, level(at), perot_bytes::lend(line.as_bytes())) }
    }
}

/// The message, which the host reads.
pub struct HostInput<'a>(&'a perot_input);

impl<'a> HostInput<'a> {
    /// # Safety
    ///
    /// Promise 2: the functions of the input may be called with its context for as long as `'a`.
    pub unsafe fn new(input: &'a perot_input) -> Self {
        Self(input)
    }
}

impl Read for HostInput<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read.ok_or(io::ErrorKind::Unsupported)?;
        // SAFETY: promise 2, given at construction; the host writes up to `size` bytes to the buffer (promise 3).
        let n = unsafe { read(self.0.context, buffer.as_mut_ptr(), buffer.len()) };
        match usize::try_from(n) {
            Ok(n) if n <= buffer.len() => Ok(n),
            _ => Err(io::Error::other("the mail server cannot read it")),
        }
    }
}

impl Original for HostInput<'_> {
    fn rewind(&mut self) -> io::Result<()> {
        let rewind = self.0.rewind.ok_or(io::ErrorKind::Unsupported)?;
        // SAFETY: promise 2, given at construction.
        match unsafe { rewind(self.0.context) } {
            0 => Ok(()),
            _ => Err(io::Error::other("the mail server cannot read it again")),
        }
    }
}

/// Returns the user CPU time of this process in milliseconds, or 0 if the system cannot tell.
pub fn cpu_milliseconds() -> u64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: getrusage() writes a whole `rusage` if it succeeds (POSIX).
    if unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) } < 0 {
        return 0;
    }
    // SAFETY: it has succeeded.
    let time = unsafe { usage.assume_init() }.ru_utime;
    u64::try_from(time.tv_sec).unwrap_or(0) * 1000 + u64::try_from(time.tv_usec).unwrap_or(0) / 1000
}
