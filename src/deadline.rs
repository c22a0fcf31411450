//! Limits the CPU time that one message takes.

use std::io::{self, Read};

use crate::message::original::Original;

/// The CPU time after which the core gives up on a message.
///
/// Pigeonhole ends a script that takes more than `sieve_max_cpu_time`. In the end it disables the script, and stores mail
/// in clear. Senders choose the size of messages, so they could bring that about: the core defers a message before it takes
/// so long.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    /// In milliseconds of `clock`; `None` means no limit.
    at: Option<u64>,
    /// Returns the CPU time of this process in milliseconds.
    clock: fn() -> u64,
}

impl Deadline {
    /// No limit.
    pub const NONE: Self = Self { at: None, clock: || 0 };

    /// Sets the deadline of one run of a script: two thirds of `limit` milliseconds (0: no limit) after
    /// `begin`. The last third is left to the rest of the script. All commands of a run share the deadline,
    /// because Pigeonhole adds up their CPU time.
    pub fn new(limit: u64, begin: u64, clock: fn() -> u64) -> Self {
        let at = (limit > 0).then(|| begin.saturating_add(limit / 3 * 2));
        Self { at, clock }
    }

    /// Returns true if the deadline has passed.
    pub fn has_passed(&self) -> bool {
        self.at.is_some_and(|at| (self.clock)() > at)
    }
}

/// A message that can be read until the deadline.
pub struct Timed<M> {
    /// The message.
    pub message: M,
    /// After this, reading fails with `TimedOut`.
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
