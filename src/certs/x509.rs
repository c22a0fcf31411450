//! X.509 certificates: what they claim, and whether a message can be encrypted to them.
//!
//! No chain, revocation list or OCSP is looked at: whoever may write a source decides which certificate is in it, as with
//! OpenPGP.

use std::sync::Arc;
use std::time::SystemTime;

use sequoia_openpgp::types::HashAlgorithm;

use super::choose::Expired;
use super::trouble::{Refusal, PRIVATE_KEY};
use super::user_id;
use crate::error::{Error, Reason, Result};
use crate::log::printable;
use crate::openssl::x509::{PublicKey, X509};

/// The first byte of DER that is more than one value (ITU-T X.690, section 8.9). An OpenPGP packet begins with a bit that it
/// lacks.
pub const SEQUENCE: u8 = 0x30;

/// Most addresses of a certificate that are looked at.
const MAX_ADDRESSES: usize = 256;
/// The sizes of RSA keys that can be used, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// The curves that can be used, by OpenSSL's names: P-256, P-384, P-521.
const CURVES: [&str; 3] = ["prime256v1", "secp384r1", "secp521r1"];
/// The remedy where a certificate has a key or a purpose that does not serve.
const ANOTHER: &str =
    "Get a certificate for e-mail with an RSA key of 2048 to 8192 bits, or a key on the curve P-256, P-384 or P-521";

/// An X.509 certificate to which a message can be encrypted.
#[derive(Clone, Debug)]
pub struct Recipient {
    /// The certificate.
    pub cert: Arc<X509>,
    /// The SHA-256 of its DER, in upper case hex.
    pub fingerprint: String,
    /// What has expired, if it has. It is used all the same: its owner still has the private key.
    pub expired: Option<Expired>,
    /// The time at which it expires.
    pub expires: SystemTime,
    /// True if it has an RSA key.
    pub is_rsa: bool,
}

/// Returns true if these are the bytes of a DER object, and not of OpenPGP packets.
pub fn is_der(bytes: &[u8]) -> bool {
    bytes.first() == Some(&SEQUENCE)
}

/// Returns the size of the DER object that begins here, in bytes, with its header. `None` if that is not known yet.
///
/// # Errors
///
/// Fails if no certificate begins like this.
pub(super) fn size(bytes: &[u8]) -> std::result::Result<Option<usize>, ()> {
    match *bytes {
        [SEQUENCE, 0x81, a, ..] => Ok(Some(3 + usize::from(a))),
        [SEQUENCE, 0x82, a, b, ..] => Ok(Some(4 + usize::from(u16::from_be_bytes([a, b])))),
        [SEQUENCE, 0x83, a, b, c, ..] => {
            Ok(usize::try_from(u32::from_be_bytes([0, a, b, c])).ok().map(|size| 5 + size))
        }
        [] | [SEQUENCE] | [SEQUENCE, 0x81..=0x83, ..] => Ok(None),
        _ => Err(()),
    }
}

/// Reads a certificate.
///
/// # Errors
///
/// Fails if it is something else; the reason says what, if that is known.
pub fn read(der: &[u8]) -> std::result::Result<X509, Refusal> {
    // The first value in it tells certificates from private keys (RFC 5958, RFC 8017, RFC 5915), PKCS#12 (RFC 7292) and
    // PKCS#7 (RFC 5652).
    let header = match der.get(1) {
        Some(0x81) => 3,
        Some(0x82) => 4,
        Some(0x83) => 5,
        _ => 2,
    };
    let text = match der.get(header..).unwrap_or_default() {
        [2, 1, 3, ..] => {
            "it is a PKCS#12 file, which has the private key in it, and must not be on a server: put the certificate alone \
             there (openssl pkcs12 -in FILE -clcerts -nokeys)"
        }
        [2, ..] => PRIVATE_KEY,
        [6, ..] => "it is a PKCS#7 file: take the certificates out of it (openssl pkcs7 -print_certs -inform DER -in FILE)",
        _ => match X509::from_der(der) {
            Some(cert) => return Ok(cert),
            None => "it is not an X.509 certificate, or it is damaged",
        },
    };
    Err(text.to_owned())
}

/// Returns the SHA-256 of a certificate's DER, in upper case hex.
///
/// # Errors
///
/// Fails if the crypto library does.
pub fn fingerprint(der: &[u8]) -> std::result::Result<String, Refusal> {
    let failed = |why| format!("its fingerprint cannot be computed: {why}");
    let mut hash = HashAlgorithm::SHA256.context().map_err(failed)?.for_digest();
    hash.update(der);
    let digest = hash.into_digest().map_err(failed)?;
    Ok(digest.iter().map(|byte| format!("{byte:02X}")).collect())
}

/// Returns its addresses, normalised: those of subjectAltName, or else those of the subject. What is more than a mailbox (RFC
/// 5280, section 4.2.1.6) is none.
pub fn addresses(cert: &X509) -> Vec<String> {
    let is_mailbox = |name: &&Vec<u8>| {
        !name.iter().any(|byte| matches!(byte, b'<' | b'>' | b':' | b',') || byte.is_ascii_whitespace())
    };
    let names = cert.addresses(MAX_ADDRESSES);
    names.iter().filter(is_mailbox).flat_map(|name| user_id::addresses(name)).collect()
}

/// Checks that a certificate that was found by an address has it: an index may be damaged.
///
/// # Errors
///
/// Fails with `UnusableCertificate` if it does not.
pub fn carries(cert: &X509, fingerprint: &str, address: &str) -> Result<()> {
    if addresses(cert).iter().any(|found| found == address) {
        return Ok(());
    }
    let text = format!(
        "certificate {fingerprint} does not count for {}: it has other addresses",
        printable(address)
    );
    Err(Error::new(Reason::UnusableCertificate, text))
}

/// Decides whether a message can be encrypted to a certificate.
///
/// # Errors
///
/// Fails with `UnusableCertificate` if it cannot; the error names the reason.
pub fn choose(cert: &Arc<X509>, fingerprint: &str, now: SystemTime) -> Result<Recipient> {
    let unusable = |why: &str, remedy: &'static str| {
        let text = format!("certificate {fingerprint} {why}");
        Err(Error::new(Reason::UnusableCertificate, text).helps(remedy))
    };
    if cert.is_damaged() {
        return unusable("has an extension that cannot be read, or one that is there twice", ANOTHER);
    }
    if cert.is_ca() {
        let remedy = "Put the certificate of the person there. One that its owner has signed needs basicConstraints = CA:FALSE";
        return unusable("is for signing other certificates (CA:TRUE), and not a person's", remedy);
    }
    let key = cert.public_key();
    match &key {
        PublicKey::Rsa(bits) if RSA_BITS.contains(bits) => {}
        PublicKey::Rsa(bits) => return unusable(&format!("has an RSA key of {bits} bits"), ANOTHER),
        PublicKey::Ec(curve) if CURVES.contains(&&**curve) => {}
        PublicKey::Ec(curve) => {
            let curve = printable(curve);
            return unusable(
                &format!("has a key on the curve {curve}, which mail programs do not read"),
                ANOTHER,
            );
        }
        PublicKey::Other => {
            return unusable("has a key of an algorithm that mail programs do not read", ANOTHER)
        }
    }
    if !cert.is_for_mail() {
        return unusable("is not for e-mail (extendedKeyUsage without emailProtection)", ANOTHER);
    }
    if !cert.may_encipher(&key) {
        let is_rsa = matches!(key, PublicKey::Rsa(_));
        let missing = if is_rsa { "keyEncipherment" } else { "keyAgreement" };
        let remedy = "Put the certificate for encryption there: some issuers give out one for signing and one for encryption";
        return unusable(&format!("is not for encryption (keyUsage without {missing})"), remedy);
    }
    let Some((begins, expires)) = cert.validity() else {
        return unusable("has dates that cannot be read", ANOTHER);
    };
    if begins > now {
        return unusable("is not valid yet", "Is the clock of this server right?");
    }
    Ok(Recipient {
        cert: Arc::clone(cert),
        fingerprint: fingerprint.to_owned(),
        expired: (expires <= now).then_some(Expired::Certificate),
        expires,
        is_rsa: matches!(key, PublicKey::Rsa(_)),
    })
}
