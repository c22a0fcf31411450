//! The rules by which certificates count.

use std::time::SystemTime;

use sequoia_openpgp::policy::{HashAlgoSecurity, StandardPolicy};
use sequoia_openpgp::types::HashAlgorithm;
use sequoia_openpgp::Cert;

use crate::error::{Error, Reason};

/// Whether self-signatures with SHA-1 count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sha1 {
    /// They count, where nobody but the owner and the administrator can put a certificate.
    Accepted,
    /// They do not: anybody may have put it there.
    Refused,
}

/// The rules at a point in time.
pub struct Rules {
    /// sequoia's standard policy.
    pub strict: StandardPolicy<'static>,
    /// The same, with SHA-1 in self-signatures and revocations. Long or odd User IDs, for which collisions matter, are not
    /// accepted with it.
    pub with_sha1: StandardPolicy<'static>,
    /// The time at which certificates must be valid.
    pub now: SystemTime,
}

impl Rules {
    /// Returns the rules that hold at `now`.
    pub fn at(now: SystemTime) -> Self {
        let strict = StandardPolicy::at(now);
        let mut with_sha1 = strict.clone();
        with_sha1.accept_hash_property(HashAlgorithm::SHA1, HashAlgoSecurity::SecondPreImageResistance);
        Self { strict, with_sha1, now }
    }
}

/// The error for a certificate that cannot be used.
pub fn unusable(cert: &Cert, why: &str) -> Error {
    Error::new(Reason::UnusableCertificate, format!("certificate {} {why}", cert.fingerprint().to_hex()))
}
