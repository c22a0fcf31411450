//! Why a message was not encrypted, and what to do about it.

use std::fmt;

/// What kind of thing went wrong.
///
/// Its word goes into the event `sieve_perot_encrypt_finished`, for statistics, and into the answer to whoever
/// delivers the message: it names no path, key or person. The sentence for the log is in [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A setting has a value that is not understood.
    BadSetting,
    /// A recipient is neither an address, a fingerprint nor a certificate.
    BadRecipient,
    /// No source has a certificate for a recipient.
    NoCertificate,
    /// A certificate was found, and it must not or cannot be used.
    UnusableCertificate,
    /// A certificate source cannot be read, or must not be trusted.
    BadSource,
    /// The message cannot be read from the mail server.
    UnreadableMessage,
    /// The message, or its header, is larger than what is handled.
    MessageTooLarge,
    /// The encrypted message cannot be written: temporary space is full, most likely.
    WriteFailed,
    /// The crypto library failed.
    CryptoFailed,
    /// A fault of this software.
    Internal,
}

impl Reason {
    /// One word for events and statistics.
    pub fn token(self) -> &'static str {
        match self {
            Self::BadSetting => "bad_setting",
            Self::BadRecipient => "bad_recipient",
            Self::NoCertificate => "no_certificate",
            Self::UnusableCertificate => "unusable_certificate",
            Self::BadSource => "bad_source",
            Self::UnreadableMessage => "unreadable_message",
            Self::MessageTooLarge => "message_too_large",
            Self::WriteFailed => "write_failed",
            Self::CryptoFailed => "crypto_failed",
            Self::Internal => "internal",
        }
    }
}

/// A failure to encrypt: its kind, and a sentence for the log that says what happened and what
/// helps. Every one of them is temporary in the sense of RFC 5321, section 4.2.1: nothing was
/// stored, and the same message may succeed once the cause is removed.
#[derive(Clone, Debug)]
pub struct Error {
    reason: Reason,
    text: String,
}

impl Error {
    /// An error of the given kind. `text` goes to the log: untrusted parts of it must have gone
    /// through [`crate::printable::printable`], and it must hold no part of a message.
    pub fn new(reason: Reason, text: impl Into<String>) -> Self {
        Self { reason, text: text.into() }
    }

    /// What kind of failure this is.
    pub fn reason(&self) -> Reason {
        self.reason
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

/// The result of everything that can keep a message from being encrypted.
pub type Result<T> = std::result::Result<T, Error>;
