//! Queries to a certificate source, and its answers.

use super::raw::{RawCert, Summary};

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
    /// Problems with single files.
    pub problems: Vec<String>,
    /// True if `certs` includes every copy that counts, so that no search by fingerprint has to follow.
    pub complete: bool,
}

/// Writes a number of certificates in words.
pub fn plural(count: usize) -> String {
    match count {
        0 => "no certificate".to_owned(),
        1 => "1 certificate".to_owned(),
        n => format!("{n} certificates"),
    }
}
