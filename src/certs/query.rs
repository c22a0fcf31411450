//! Queries to a certificate source, and its answers.

use std::fmt;

use super::raw::{RawCert, Refusal, Summary};

/// The number of problems that the log tells of a source: enough to begin with, and lines stay readable.
pub const MAX_PROBLEMS: usize = 3;

/// A search criterion.
#[derive(Clone, Copy, Debug)]
pub enum Query<'a> {
    /// Certificates that claim this address, which is normalised.
    Address(&'a str),
    /// The certificate with this fingerprint, in upper case hex.
    Fingerprint(&'a str),
    /// All certificates.
    All,
}

impl Query<'_> {
    /// Returns true if the certificate claims to match. Its signatures have not been checked.
    pub fn matches(&self, summary: &Summary) -> bool {
        match self {
            Self::Address(address) => summary.addresses.iter().any(|a| a == address),
            Self::Fingerprint(hex) => summary.fingerprint == *hex,
            Self::All => true,
        }
    }
}

/// The answer of a source.
#[derive(Debug, Default)]
pub struct Answer {
    /// The certificates that match. Their signatures have not been checked.
    pub certs: Vec<RawCert>,
    /// Describes the content of the source for the log: "3 certificates; x.asc: its armor is damaged".
    pub holds: String,
    /// The number of certificates in the source, if all of it has been searched.
    pub count: usize,
    /// What cannot be used.
    pub problems: Vec<Problem>,
    /// True if `certs` includes every copy that counts, so that no search by fingerprint has to follow.
    pub complete: bool,
}

/// A file in a folder, or a certificate in a keyring, that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The name of the file in the folder, printable. `None` for a source that is a file itself.
    pub file: Option<String>,
    /// The reason, in words for the log.
    pub why: Refusal,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{file}: {}", self.why),
            None => f.write_str(&self.why),
        }
    }
}

/// Writes a number of certificates in words.
pub fn plural(count: usize) -> String {
    match count {
        0 => "no certificate".to_owned(),
        1 => "1 certificate".to_owned(),
        n => format!("{n} certificates"),
    }
}
