//! What is asked of a certificate source, and what it answers.

use super::raw::{RawCert, Summary};

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub enum Query<'a> {
    /// Certificates that claim this address (normalised).
    Address(&'a str),
    /// The certificate with this fingerprint, in upper case hex.
    Fingerprint(&'a str),
    /// All of them.
    All,
}

impl Query<'_> {
    /// Whether a certificate claims to be what is looked for.
    pub fn matches(&self, summary: &Summary) -> bool {
        match self {
            Self::Address(address) => summary.addresses.iter().any(|a| a == address),
            Self::Fingerprint(hex) => summary.fingerprint == *hex,
            Self::All => true,
        }
    }
}

/// What a source has.
#[derive(Debug, Default)]
pub struct Answer {
    /// The certificates that match. Not checked in any way.
    pub certs: Vec<RawCert>,
    /// What the source holds altogether, for the log: "3 certificates; x.asc: its armor is damaged".
    pub holds: String,
    /// The first problems with single files.
    pub problems: Vec<String>,
    /// Whether the source need not be asked for other copies of `certs`.
    pub complete: bool,
}

/// So many certificates, in words.
pub fn plural(count: usize) -> String {
    match count {
        0 => "no certificate".to_owned(),
        1 => "1 certificate".to_owned(),
        n => format!("{n} certificates"),
    }
}
