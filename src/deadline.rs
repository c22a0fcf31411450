//! How much CPU time one message may take.

use std::io::{self, Read};

use crate::message::original::Original;

/// The CPU time at which the core gives a message up.
///
/// Pigeonhole ends a script that takes more than `sieve_max_cpu_time`, and it is the sender who chooses how large
/// messages are. What Pigeonhole does about it in the end is to disable the script, and to deliver in clear: so a message
/// that takes most of what is allowed is deferred before.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    /// In milliseconds of the clock; none: no limit.
    at: Option<u64>,
    /// The CPU time of this process, in milliseconds.
    clock: fn() -> u64,
}

impl Deadline {
    /// No limit.
    pub const NONE: Self = Self { at: None, clock: || 0 };

    /// For a run of a script that may take `limit` milliseconds (0: any time), and began at `begin`. One for all commands
    /// of a run, since Pigeonhole counts them together. Two thirds of what is allowed, for the rest of the script needs
    /// some, too.
    pub fn new(limit: u64, begin: u64, clock: fn() -> u64) -> Self {
        let at = (limit > 0).then(|| begin.saturating_add(limit / 3 * 2));
        Self { at, clock }
    }

    /// Whether it is over.
    pub fn has_passed(&self) -> bool {
        self.at.is_some_and(|at| (self.clock)() > at)
    }
}

/// A message that can be read until the deadline.
pub struct Timed<M> {
    /// The message.
    pub message: M,
    /// When reading ends, with `TimedOut`.
    pub deadline: Deadline,
}

impl<M: Original> Read for Timed<M> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.deadline.has_passed() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.message.read(buffer)
    }
}

impl<M: Original> Original for Timed<M> {
    fn rewind(&mut self) -> io::Result<()> {
        self.message.rewind()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_thirds_of_what_is_allowed() {
        let deadline = |limit, begin| Deadline::new(limit, begin, || 5_000);
        assert!(!deadline(0, 0).has_passed() && !Deadline::NONE.has_passed());
        assert!(!deadline(3_000, 3_000).has_passed());
        assert!(deadline(3_000, 2_999).has_passed());
        let mut message = Timed { message: io::Cursor::new(b"x"), deadline: deadline(3, 0) };
        assert_eq!(message.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
