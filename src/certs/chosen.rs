//! What a message is encrypted to, of one certificate of either kind.

use std::time::SystemTime;

use super::choose::{Expired, RecipientKeys};
use super::x509;
use crate::settings::Prefer;

/// The keys of a certificate that have been chosen.
#[derive(Clone, Debug)]
pub enum Chosen {
    /// Keys of an OpenPGP certificate.
    OpenPgp(RecipientKeys),
    /// The key of an X.509 certificate.
    X509(x509::Recipient),
}

impl Chosen {
    /// Returns the certificate's fingerprint, in upper case hex.
    pub fn fingerprint(&self) -> &str {
        match self {
            Self::OpenPgp(keys) => &keys.fingerprint,
            Self::X509(recipient) => &recipient.fingerprint,
        }
    }

    /// Returns what has expired, if something has.
    pub fn expired(&self) -> Option<Expired> {
        match self {
            Self::OpenPgp(keys) => keys.expired,
            Self::X509(recipient) => recipient.expired,
        }
    }

    /// Returns the time at which it expires; `None` if it does not.
    pub fn expires(&self) -> Option<SystemTime> {
        match self {
            Self::OpenPgp(keys) => keys.expires,
            Self::X509(recipient) => Some(recipient.expires),
        }
    }

    /// Returns true if it counts only because self-signatures with SHA-1 are accepted.
    pub fn is_weak(&self) -> bool {
        matches!(self, Self::OpenPgp(keys) if keys.is_weak)
    }

    /// Returns true if it is of the kind that is preferred where an owner has both.
    pub fn is_preferred(&self, prefer: Prefer) -> bool {
        matches!((self, prefer), (Self::OpenPgp(_), Prefer::OpenPgp) | (Self::X509(_), Prefer::Smime))
    }

    /// Returns the keys, if they are of OpenPGP.
    pub fn openpgp(self) -> Option<RecipientKeys> {
        match self {
            Self::OpenPgp(keys) => Some(keys),
            Self::X509(_) => None,
        }
    }
}
