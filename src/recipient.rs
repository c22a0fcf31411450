//! Parses the recipients of `encrypt`.

use memchr::memmem;

use crate::error::{Error, Place, Reason, Result};
use crate::log::printable;

/// Most recipients of one `encrypt`. Each adds a session key to every message: 32 RSA-4096 keys make 17 kB.
pub const MAX_RECIPIENTS: usize = 32;

/// Longest address, in bytes: 64 for the local part, `@`, 255 for the domain (RFC 5321, section 4.5.3.1).
pub const LONGEST_ADDRESS: usize = 320;

/// A recipient as a script names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// An e-mail address, whose certificate has to be found.
    Address(String),
    /// The fingerprint of a certificate that has to be found, in upper case hex.
    Fingerprint(String),
    /// The certificate itself, armored or in PEM.
    Literal(Vec<u8>),
}

impl Recipient {
    /// Parses one recipient.
    ///
    /// # Errors
    ///
    /// Fails with `BadRecipient` if the text is none of the three.
    pub fn parse(text: &[u8]) -> Result<Self> {
        let trimmed = text.trim_ascii();
        // `openssl` writes lines in front of a certificate that it takes out of PKCS#12.
        if trimmed.starts_with(b"-----BEGIN ")
            || memmem::find(trimmed, b"\n-----BEGIN CERTIFICATE-----").is_some()
        {
            return Ok(Self::Literal(trimmed.to_vec()));
        }
        let as_text = std::str::from_utf8(trimmed).map_err(|_| not_a_recipient())?;
        match hex_digits(as_text) {
            Some(hex) if matches!(hex.len(), 40 | 64) => return Ok(Self::Fingerprint(hex)),
            Some(hex) if matches!(hex.len(), 8 | 16 | 32) => return Err(short_fingerprint()),
            _ => {}
        }
        if is_address(as_text) {
            return Ok(Self::Address(as_text.to_owned()));
        }
        Err(not_a_recipient())
    }

    /// Parses a recipient that has to be a certificate itself.
    ///
    /// # Errors
    ///
    /// Fails with `BadRecipient` if the text is anything else.
    pub fn parse_certificate(text: &[u8]) -> Result<Self> {
        match Self::parse(text) {
            Ok(Self::Literal(armored)) if armored.starts_with(b"-----BEGIN PGP ") => {
                Ok(Self::Literal(armored))
            }
            _ => Err(not_a_certificate()),
        }
    }
}

impl Recipient {
    /// Returns the recipient's name for the log. `literal` stands for a certificate.
    pub fn name(&self, literal: &str) -> String {
        match self {
            Self::Address(address) => printable(address),
            Self::Fingerprint(hex) => hex.clone(),
            Self::Literal(_) => literal.to_owned(),
        }
    }
}

/// Returns the hex digits of a fingerprint. `0x` at the beginning and white space are allowed.
fn hex_digits(text: &str) -> Option<String> {
    let text = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    let hex: String =
        text.chars().filter(|c| !c.is_ascii_whitespace()).map(|c| c.to_ascii_uppercase()).collect();
    (!hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit())).then_some(hex)
}

/// Returns true if `text` looks like an address (RFC 5322, addr-spec). Addresses are only compared, never
/// sent to: the check finds mistakes such as "Name <me@domain.com>" or two addresses in one string, and lets
/// odd mailboxes pass.
fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let clean = |part: &str| {
        !part.is_empty() && !part.chars().any(|c| c.is_control() || matches!(c, '<' | '>' | ','))
    };
    text.len() <= LONGEST_ADDRESS && clean(local) && clean(domain) && !domain.contains(char::is_whitespace)
}

// Neither error quotes the text: when a script runs, it can come from a variable, and so from the message.

fn not_a_recipient() -> Error {
    let remedy = "write an e-mail address (me@domain.com), a fingerprint of 40 or 64 hex digits, or a certificate itself \
        (-----BEGIN PGP PUBLIC KEY BLOCK----- or -----BEGIN CERTIFICATE-----)";
    Error::new(Reason::BadRecipient, "is not one").about(Place::Recipient).helps(remedy)
}

fn not_a_certificate() -> Error {
    let remedy = "paste it, from -----BEGIN PGP PUBLIC KEY BLOCK----- to its END line; \
        `encrypt` of vnd.perot.encrypt takes an e-mail address or a fingerprint, too";
    Error::new(Reason::BadRecipient, "is not an armored certificate").about(Place::Recipient).helps(remedy)
}

fn short_fingerprint() -> Error {
    let text = "is a key ID, and anybody can make a key with the same one";
    Error::new(Reason::BadRecipient, text).about(Place::Recipient).helps("write the whole fingerprint")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_kinds() {
        let fpr = "D2A1 5B36 4F3E 1B0C 0000  1111 2222 3333 4444 5555";
        let hex = "D2A15B364F3E1B0C000011112222333344445555".to_owned();
        assert_eq!(Recipient::parse(fpr.as_bytes()).unwrap(), Recipient::Fingerprint(hex.clone()));
        assert_eq!(
            Recipient::parse(format!("0x{}", hex.to_lowercase()).as_bytes()).unwrap(),
            Recipient::Fingerprint(hex)
        );
        assert_eq!(
            Recipient::parse(b" me+x@domain.com\n").unwrap(),
            Recipient::Address("me+x@domain.com".into())
        );
        assert!(matches!(
            Recipient::parse(b"\r\n-----BEGIN PGP PUBLIC KEY BLOCK-----\n"),
            Ok(Recipient::Literal(_))
        ));
    }

    #[test]
    fn only_certificates() {
        let certificate = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n";
        assert!(matches!(Recipient::parse_certificate(certificate), Ok(Recipient::Literal(_))));
        for text in ["", "me@domain.com", "D2A15B364F3E1B0C000011112222333344445555", "DEADBEEF", "me"] {
            let error = Recipient::parse_certificate(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("is not an armored certificate: paste it"), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_refused() {
        for text in [
            "",
            "me",
            "@domain.com",
            "me@",
            "Me <me@domain.com>",
            "a@b.c, d@e.f",
            "a\u{0}@b",
            "x@\nb",
            "\u{1b}@b",
        ] {
            let error = Recipient::parse(text.as_bytes()).unwrap_err();
            assert!(error.to_string().contains("is not one: write an e-mail address"), "{text:?}: {error}");
        }
        assert!(Recipient::parse(b"\xff@b").is_err());
        assert!(Recipient::parse(&[b'a'; 400].map(|_| b'@')).is_err());
        assert!(Recipient::parse(b"0xDEADBEEFDEADBEEF")
            .unwrap_err()
            .to_string()
            .contains("whole fingerprint"));
    }
}
