//! A certificate as a file holds it: OpenPGP packets, or X.509 in DER. Nothing of it has been checked.

use std::sync::Arc;

use sequoia_openpgp::crypto::mpi;
use sequoia_openpgp::packet::{key, Key, Packet};
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::{Fingerprint, KeyID};

use super::trouble::Refusal;
use super::{post_quantum, user_id, x509};
use crate::openpgp::packet::{packets, tag, Header};

/// Largest certificate, in bytes. The largest in use are a few hundred kilobytes, most of it signatures by
/// others.
pub const MAX_BYTES: usize = 1 << 20;
/// Most certificates that are looked at where one is expected: in a script, a setting, or a file for it.
pub const MAX_AT_ONCE: usize = 256;
/// Most User IDs of a certificate that are looked at.
pub const MAX_USER_IDS: usize = 256;
/// Largest RSA exponent, in bits. Nearly all keys have 65537, which takes 17 bits.
const MAX_RSA_EXPONENT_BITS: usize = 32;
/// Largest RSA modulus, in bits: the largest that GnuPG makes or lets others make.
const MAX_RSA_BITS: usize = 16_384;
/// Largest DSA modulus that the standard defines, in bits (FIPS 186-4, section 4.2).
const MAX_DSA_BITS: usize = 3072;

/// The bytes of one certificate. No signature has been checked.
#[derive(Clone, Debug)]
pub struct RawCert {
    /// All packets, in the order of the file; or the DER.
    bytes: Arc<[u8]>,
    summary: Result<Summary, Refusal>,
    /// True if a private key stands beside it in the file (X.509; OpenPGP has it in the packets).
    pub has_private_key: bool,
    /// The file that it was read from, printable, if it is from a file.
    pub file: Option<String>,
}

/// Claims of a certificate that can be read without checking a signature.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The fingerprint, in upper case hex.
    pub fingerprint: String,
    /// The addresses in its User IDs, normalised, valid or not; or those of the X.509 certificate.
    pub addresses: Vec<String>,
}

/// A revocation of a primary key without the certificate (RFC 9580, section 5.2.1.11), as `gpg --gen-revoke` makes it.
#[derive(Clone, Debug)]
pub struct Revocation {
    /// The IDs of the key that it may be for, in upper case hex.
    pub revokes: Vec<String>,
    /// The signature packet.
    pub bytes: Vec<u8>,
}

impl RawCert {
    /// Takes the packets or the DER of a certificate.
    pub fn new(bytes: Vec<u8>) -> Self {
        let summary = match x509::is_der(&bytes) {
            true => x509::read(&bytes).and_then(|cert| {
                Ok(Summary { fingerprint: x509::fingerprint(&bytes)?, addresses: x509::addresses(&cert) })
            }),
            false => {
                fingerprint(&bytes).map(|fingerprint| Summary { fingerprint, addresses: claims(&bytes) })
            }
        };
        Self { bytes: bytes.into(), summary, has_private_key: false, file: None }
    }

    /// Returns true if it is an X.509 certificate.
    pub fn is_x509(&self) -> bool {
        x509::is_der(&self.bytes)
    }

    /// Returns its bytes. They identify the certificate in the cache.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns true if it includes secret key material, or stands beside it.
    pub fn has_secret(&self) -> bool {
        self.has_private_key
            || packets(&self.bytes)
                .flatten()
                .any(|(tag, _)| matches!(tag, tag::SECRET_KEY | tag::SECRET_SUBKEY))
    }

    /// Returns the certificate's claims about itself.
    ///
    /// # Errors
    ///
    /// Fails if the version or algorithm of the primary key is not supported.
    pub fn summary(&self) -> Result<&Summary, &Refusal> {
        self.summary.as_ref()
    }

    /// Returns the addresses in its User IDs, even if the primary key is not supported.
    pub fn claims(&self) -> Vec<String> {
        claims(&self.bytes)
    }
}

/// Returns the ID of the key with a fingerprint, both in upper case hex.
pub fn key_id(fingerprint: &str) -> String {
    fingerprint.parse::<Fingerprint>().map_or_else(|_| String::new(), |fpr| KeyID::from(fpr).to_hex())
}

fn fingerprint(cert: &[u8]) -> Result<String, Refusal> {
    match packets(cert).flatten().next() {
        Some((tag::PUBLIC_KEY | tag::SECRET_KEY, bytes)) => Ok(primary_key(bytes)?.fingerprint().to_hex()),
        _ => Err("it has no primary key".into()),
    }
}

fn claims(cert: &[u8]) -> Vec<String> {
    let user_ids = packets(cert).flatten().filter(|(tag, _)| *tag == tag::USER_ID).take(MAX_USER_IDS);
    user_ids.filter_map(|(_, bytes)| body(bytes)).flat_map(user_id::addresses).collect()
}

/// Returns the body of a packet. sequoia's parser would take two microseconds, and a large keyring has half a
/// million packets.
fn body(packet: &[u8]) -> Option<&[u8]> {
    packet.get(Header::parse(packet).ok()??.size..)
}

/// Parses a primary key. Secret key material is dropped.
///
/// # Errors
///
/// Fails if its version or algorithm is not supported, or if it is made of too large numbers.
pub fn primary_key(bytes: &[u8]) -> Result<Key<key::PublicParts, key::PrimaryRole>, Refusal> {
    let key = match Packet::from_bytes(bytes) {
        Ok(Packet::PublicKey(key)) => key,
        Ok(Packet::SecretKey(key)) => key.take_secret().0,
        Ok(Packet::Unknown(key)) if post_quantum::is_librepgp(key.body()) => {
            let text = "it has a primary key in GnuPG's own format (LibrePGP, version 5), which this build does not read: make a \
                key of version 4 or 6";
            return Err(text.into());
        }
        _ => return Err("it has a primary key of a version or algorithm that is not supported".into()),
    };
    if !is_quick(key.mpis()) {
        return Err("it has a primary key made of larger numbers than any in use: make a new key".into());
    }
    Ok(key)
}

/// Returns false for keys with such large numbers that a signature takes a hundred times longer to check than
/// with usual keys. OpenSSL accepts them.
fn is_quick(key: &mpi::PublicKey) -> bool {
    match key {
        mpi::PublicKey::RSA { e, n } => e.bits() <= MAX_RSA_EXPONENT_BITS && n.bits() <= MAX_RSA_BITS,
        mpi::PublicKey::DSA { p, .. } => p.bits() <= MAX_DSA_BITS,
        _ => true,
    }
}
