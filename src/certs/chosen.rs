//! What a message is encrypted to, of one certificate of either kind.

use std::time::SystemTime;

use super::choose::{Expired, RecipientKeys};
use super::x509;
use crate::error::{Error, Reason, Result};
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
}

/// The recipients of a message, which is in one format.
pub enum OneKind {
    /// OpenPGP certificates.
    OpenPgp(Vec<RecipientKeys>),
    /// X.509 certificates.
    X509(Vec<x509::Recipient>),
}

impl OneKind {
    /// Takes recipients.
    ///
    /// # Errors
    ///
    /// Fails if they are of both kinds, or if a mail program could not tell them apart.
    pub fn new(recipients: Vec<Chosen>) -> Result<Self> {
        let (mut openpgp, mut x509) = (Vec::new(), Vec::new());
        for recipient in recipients {
            match recipient {
                Chosen::OpenPgp(keys) => openpgp.push(keys),
                Chosen::X509(recipient) => x509.push(recipient),
            }
        }
        match (openpgp.first(), x509.first()) {
            (Some(one), Some(other)) => {
                let text = format!(
                    "certificate {} is one of OpenPGP and certificate {} one of S/MIME, and a message has one format",
                    one.fingerprint, other.fingerprint
                );
                let remedy = "name recipients that have certificates of the same kind";
                Err(Error::new(Reason::UnusableCertificate, text).helps(remedy))
            }
            (None, _) => told_apart(x509).map(Self::X509),
            (Some(_), None) => Ok(Self::OpenPgp(openpgp)),
        }
    }

    /// Returns the fingerprints of the certificates.
    pub fn fingerprints(&self) -> Vec<String> {
        match self {
            Self::OpenPgp(keys) => keys.iter().map(|keys| keys.fingerprint.clone()).collect(),
            Self::X509(recipients) => recipients.iter().map(|r| r.fingerprint.clone()).collect(),
        }
    }
}

/// Fails if a mail program could not tell which of the keys in the message is for it, and would take the wrong one.
fn told_apart(recipients: Vec<x509::Recipient>) -> Result<Vec<x509::Recipient>> {
    for (n, one) in recipients.iter().enumerate() {
        if let Some(other) = recipients[..n].iter().find(|other| one.cert.is_named_as(&other.cert)) {
            let text = format!(
                "certificates {} and {} have the same issuer and serial number, so that the message could not be read",
                other.fingerprint, one.fingerprint
            );
            return Err(Error::new(Reason::UnusableCertificate, text).helps("remove the older one"));
        }
    }
    Ok(recipients)
}
