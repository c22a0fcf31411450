//! One file of certificates: reads all of it, or one certificate in it.

use std::io::{Read, Seek};

use super::raw::{RawCert, Revocation};
use super::split::{Item, Splitter};
use super::text::{Encoding, Form, Position};
use super::trouble::{Problem, Trouble};
use crate::deadline::Deadline;

/// The number of problems that are kept of a file: enough to begin with.
const MAX_PROBLEMS: usize = 64;

/// Where the packets of a certificate or a revocation stand in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// How the file is written.
    pub encoding: Encoding,
    /// Where they begin.
    pub begins: Position,
    /// How many bytes they are.
    pub size: usize,
}

impl Extent {
    /// Reads the packets.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, or if it is shorter now.
    pub fn read(&self, file: impl Read + Seek) -> Result<Vec<u8>, Trouble> {
        self.encoding.read_at(file, self.begins, self.size)
    }
}

/// Takes an item of a file, and where it stands.
pub type Take<'a> = dyn FnMut(Item, Extent) -> Result<(), Trouble> + 'a;

/// Reads what is in a file, one item after the other. The ways in which it may be written are tried until one of them holds
/// a certificate. If none does, that is an item, too: a problem.
///
/// # Errors
///
/// Fails if the file cannot be read, if `take` fails, or if the deadline has passed.
pub fn scan(input: &mut (impl Read + Seek), deadline: &Deadline, take: &mut Take<'_>) -> Result<(), Trouble> {
    let mut nothing = None;
    for encoding in Encoding::candidates(input)? {
        let mut problems = Vec::new();
        let mut is_any = false;
        let mut sort = |item: Item, begins: Position, size: usize| {
            let extent = Extent { encoding, begins, size };
            if matches!(item, Item::Unusable(_)) {
                if problems.len() < MAX_PROBLEMS {
                    problems.push((item, extent));
                }
                return Ok(());
            }
            is_any = true;
            take(item, extent)
        };
        let mut splitter = Splitter::new(&mut sort);
        encoding.read(&mut *input, &mut |part| match deadline.has_passed() {
            true => Err(Trouble::too_slow()),
            false => splitter.part(part),
        })?;
        if is_any {
            return problems.into_iter().try_for_each(|(item, extent)| take(item, extent));
        }
        // What is neither packets nor armor is not damaged base64.
        let first = problems.into_iter().next().filter(|_| encoding.form != Form::Base64);
        let none = Problem { why: "it holds no OpenPGP certificate".into(), ..Problem::default() };
        let extent = Extent { encoding, begins: Position::default(), size: 0 };
        nothing = first.or(nothing).or(Some((Item::Unusable(none), extent)));
    }
    nothing.map_or(Ok(()), |(item, extent)| take(item, extent))
}

/// All that a file holds.
#[derive(Debug, Default)]
pub struct Contents {
    /// Its certificates.
    pub certs: Vec<RawCert>,
    /// The revocations in it that stand alone.
    pub revocations: Vec<Revocation>,
    /// What cannot be used.
    pub problems: Vec<Problem>,
}

impl Contents {
    /// Reads all of a file into memory.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, or if the deadline has passed.
    pub fn read(input: &mut (impl Read + Seek), deadline: &Deadline) -> Result<Self, Trouble> {
        let mut contents = Self::default();
        scan(input, deadline, &mut |item, _| {
            match item {
                Item::Certificate(cert) => contents.certs.push(cert),
                Item::Revocation(revocation) => contents.revocations.push(revocation),
                Item::Unusable(problem) => contents.problems.push(problem),
            }
            Ok(())
        })?;
        Ok(contents)
    }
}
