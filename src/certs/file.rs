//! One file of certificates: reads all of it, or one certificate in it.

use std::io::{Read, Seek};

use super::raw::{RawCert, Revocation};
use super::split::{Item, Splitter};
use super::text::{Encoding, Form, Position, ENCODINGS};
use super::trouble::{Problem, Trouble};
use crate::deadline::Deadline;

/// The number of problems that are kept of a file: enough to begin with.
const MAX_PROBLEMS: usize = 64;

/// So many bytes of X.509 are read for each certificate that may be read.
const X509_BYTES: usize = 1 << 10;

/// How long it may be read, and how many certificates.
#[derive(Clone, Copy)]
pub struct Limit {
    deadline: Deadline,
    /// All items so far, whether they can be used or not: to look at each takes time.
    items: usize,
    /// The bytes of X.509 so far: OpenSSL can take most of a second for a mebibyte.
    x509_bytes: usize,
    most: usize,
}

impl Limit {
    /// Lets `most` certificates be read until the deadline.
    pub fn new(most: usize, deadline: &Deadline) -> Self {
        Self { deadline: *deadline, items: 0, x509_bytes: 0, most }
    }

    fn count(&mut self, item: &Item, size: usize) -> Result<(), Trouble> {
        let is_openpgp = match item {
            Item::Certificate(cert) => !cert.is_x509(),
            Item::Revocation(_) => true,
            Item::Unusable(_) => false,
        };
        self.items += 1;
        self.x509_bytes += if is_openpgp { 0 } else { size };
        let most = self.most.saturating_mul(X509_BYTES);
        if self.x509_bytes > most {
            let most = most >> 10;
            return Err(Trouble::too_much(&format!("more than {most} KiB of X.509 certificates")));
        }
        match self.items > self.most {
            true => Err(Trouble::too_much(&format!("more than {} certificates", self.most))),
            false => Ok(()),
        }
    }
}

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
/// Fails if the file cannot be read, if `take` fails, or if the limit is exceeded.
pub fn scan(input: &mut (impl Read + Seek), limit: &mut Limit, take: &mut Take<'_>) -> Result<(), Trouble> {
    let deadline = limit.deadline;
    let nowhere = Extent { encoding: ENCODINGS[0], begins: Position::default(), size: 0 };
    let encodings = match Encoding::candidates(input) {
        Err(Trouble::Refused(why)) => return take(Item::unusable(&why), nowhere),
        encodings => encodings?,
    };
    let mut nothing = Vec::new();
    for encoding in encodings {
        let mut problems = Vec::new();
        let mut is_any = false;
        let mut sort = |item: Item, begins: Position, size: usize| {
            limit.count(&item, size)?;
            let extent = Extent { encoding, begins, size };
            if matches!(item, Item::Unusable(_)) {
                match problems.len() {
                    0..MAX_PROBLEMS => problems.push((item, extent)),
                    // Whose they are is not known.
                    MAX_PROBLEMS => {
                        problems.push((Item::unusable("it holds more that cannot be used"), extent))
                    }
                    _ => {}
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
        // What is neither packets nor armor is not damaged base64, unless a User ID can be read in it.
        let has_claims = |item: &Item| matches!(item, Item::Unusable(problem) if !problem.claims.is_empty());
        problems.retain(|(item, _)| encoding.form != Form::Base64 || has_claims(item));
        if !problems.is_empty() {
            nothing = problems;
        }
    }
    if nothing.is_empty() {
        return take(Item::unusable("it holds no certificate"), nowhere);
    }
    nothing.into_iter().try_for_each(|(item, extent)| take(item, extent))
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
    /// Fails if the file cannot be read, or if the limit is exceeded.
    pub fn read(input: &mut (impl Read + Seek), limit: &mut Limit) -> Result<Self, Trouble> {
        let mut contents = Self::default();
        scan(input, limit, &mut |item, _| {
            match item {
                Item::Certificate(cert) => contents.certs.push(cert),
                Item::Revocation(revocation) => contents.revocations.push(revocation),
                Item::Unusable(problem) => contents.problems.push(problem),
            }
            Ok(())
        })?;
        let has_private_key = contents.problems.iter().any(Problem::is_private_key);
        contents.certs.iter_mut().for_each(|cert| cert.has_private_key = has_private_key && cert.is_x509());
        Ok(contents)
    }

    /// Adds what another file has.
    pub fn append(&mut self, other: Self) {
        self.certs.extend(other.certs);
        self.revocations.extend(other.revocations);
        self.problems.extend(other.problems);
    }
}
