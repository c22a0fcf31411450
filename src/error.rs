//! The reason why a message was not encrypted, and what to do about it.

use std::borrow::Cow;
use std::{fmt, io};

use crate::log::printable;

/// The kind of a failure.
///
/// The event `sieve_perot_encrypt_finished` and the answer to the delivering server have its word, so it
/// names no path, key or person. The log has the whole sentence of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A setting has a value that is not understood.
    BadSetting,
    /// The script uses the command where it cannot be carried out.
    BadScript,
    /// A recipient is neither an address, a fingerprint nor a certificate.
    BadRecipient,
    /// No source has a certificate for a recipient.
    NoCertificate,
    /// A certificate was found, but it cannot or must not be used.
    UnusableCertificate,
    /// A certificate source cannot be read, or must not be trusted.
    BadSource,
    /// The mail server cannot read the message.
    UnreadableMessage,
    /// The message or its header is too large.
    MessageTooLarge,
    /// The encrypted message cannot be written: most likely, the temporary space is full.
    WriteFailed,
    /// No script has encrypted it, as the administrator wants it.
    NotEncrypted,
    /// The crypto library failed.
    CryptoFailed,
    /// This software has a bug.
    Internal,
}

impl Reason {
    /// Returns the word for events and statistics.
    pub fn token(self) -> &'static str {
        match self {
            Self::BadSetting => "bad_setting",
            Self::BadScript => "bad_script",
            Self::BadRecipient => "bad_recipient",
            Self::NoCertificate => "no_certificate",
            Self::UnusableCertificate => "unusable_certificate",
            Self::BadSource => "bad_source",
            Self::UnreadableMessage => "unreadable_message",
            Self::MessageTooLarge => "message_too_large",
            Self::WriteFailed => "write_failed",
            Self::NotEncrypted => "not_encrypted",
            Self::CryptoFailed => "crypto_failed",
            Self::Internal => "internal",
        }
    }
}

/// The settings that errors can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// The certificate sources.
    Certs,
    /// The owner's certificate itself.
    Cert,
    /// The reaction to a failure.
    OnError,
    /// The reaction to an owner without a certificate.
    OnNoCertificate,
    /// The default for hiding subjects.
    HideSubject,
    /// Compression.
    Compress,
    /// Which subkeys are used.
    Subkeys,
    /// The kind of certificate that is used where a recipient has both.
    Prefer,
    /// Another name of the Sieve extension.
    Alias,
    /// The treatment of deliveries.
    Deliveries,
    /// Where saved mail is encrypted.
    Saved,
    /// The user's address, a setting of Sieve.
    UserEmail,
}

impl Setting {
    /// Its name, behind the prefix that a front end has for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Certs => "certs",
            Self::Cert => "cert",
            Self::OnError => "on_error",
            Self::OnNoCertificate => "on_no_certificate",
            Self::HideSubject => "hide_subject",
            Self::Compress => "compress",
            Self::Subkeys => "subkeys",
            Self::Prefer => "prefer",
            Self::Alias => "alias",
            Self::Deliveries => "deliveries",
            Self::Saved => "saved",
            Self::UserEmail => "user_email",
        }
    }

    /// Returns the prefix of settings of the mail plugin and of Sieve, which have the same name in all front ends.
    fn own_prefix(self) -> Option<&'static str> {
        match self {
            Self::Deliveries | Self::Saved => Some("perot_encrypt_"),
            Self::UserEmail => Some("sieve_"),
            _ => None,
        }
    }
}

/// The thing that an error is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nothing in particular: the text of the error is complete.
    None,
    /// A setting and its value, printable.
    Value(Setting, String),
    /// A setting of the user with this name, printable.
    SettingOf(Setting, String),
    /// A recipient in a script or on a command line.
    Recipient,
    /// A certificate in a script or on a command line.
    Literal,
    /// A certificate source, printable.
    Source(String),
    /// A place where certificates were found, printable.
    Found(String),
    /// A setting whose value is the certificate.
    FoundIn(Setting),
}

impl Place {
    /// Returns the name of a source or place; empty for everything else.
    pub fn name(&self) -> &str {
        match self {
            Self::Source(name) | Self::Found(name) => name,
            Self::Literal => "the certificate given",
            Self::None | Self::Value(..) | Self::SettingOf(..) | Self::Recipient | Self::FoundIn(_) => "",
        }
    }
}

/// The remedy for an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// None: the text of the error says enough.
    None,
    /// A text that is the same in all front ends. If it begins with a capital letter, it is a sentence of its
    /// own.
    Text(Cow<'static, str>),
    /// Make room for ciphertext that does not fit in memory.
    TemporaryRoom,
    /// Allow more CPU time, or smaller messages only.
    CpuTime,
    /// Put a certificate into one of the sources, or correct the sources.
    PutCertificate,
    /// Configure certificate sources: there are none.
    NameSources,
    /// Name the recipient: it cannot be guessed.
    NameRecipient,
    /// Let classical subkeys serve, too.
    AllSubkeys,
}

impl From<String> for Remedy {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<&'static str> for Remedy {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

/// The words of a front end for the things that errors name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// The prefix of setting names: `sieve_perot_encrypt_` or `--`.
    pub setting_prefix: Cow<'static, str>,
    /// The text between a setting and its value: ` = ` or a space.
    pub assigns: Cow<'static, str>,
    /// Where recipients stand: behind `a recipient`. `None` if nobody names any.
    pub of_recipients: Option<Cow<'static, str>>,
    /// A certificate that stands among them.
    pub literal: Cow<'static, str>,
    /// The place of waiting ciphertext, after `Is there room`.
    pub temporary_room: Cow<'static, str>,
    /// The limit of CPU time.
    pub cpu_limit: Cow<'static, str>,
}

/// Words of no front end in particular, for the tests of the library.
impl Default for Words {
    fn default() -> Self {
        Self {
            setting_prefix: "".into(),
            assigns: " = ".into(),
            of_recipients: Some("".into()),
            literal: "the certificate given".into(),
            temporary_room: "for temporary files".into(),
            cpu_limit: "the limit of CPU time".into(),
        }
    }
}

impl Words {
    /// Returns the front end's name for a setting.
    pub fn setting(&self, setting: Setting) -> String {
        let prefix = setting.own_prefix().unwrap_or(&self.setting_prefix);
        format!("{prefix}{}", setting.name())
    }

    /// Returns the beginning of an error's sentence, which names the place.
    pub fn place(&self, place: &Place) -> String {
        match place {
            Place::None => String::new(),
            Place::Value(setting, value) => format!("{}{}{value}: ", self.setting(*setting), self.assigns),
            Place::SettingOf(setting, user) => format!("{} of {user}: ", self.setting(*setting)),
            Place::Recipient => format!("a recipient{} ", self.of_recipients.as_deref().unwrap_or_default()),
            Place::Literal => format!("{} cannot be used: ", self.literal),
            Place::Source(name) => format!("certificate source {name}: "),
            Place::Found(name) => format!("{name}: "),
            Place::FoundIn(setting) => format!("{}: ", self.setting(*setting)),
        }
    }

    fn remedy(&self, remedy: &Remedy) -> Cow<'static, str> {
        match remedy {
            Remedy::None => "".into(),
            Remedy::Text(text) => text.clone(),
            Remedy::TemporaryRoom => format!("Is there room {}?", self.temporary_room).into(),
            Remedy::CpuTime => format!(
                "raise {}, or lower the largest size of a message in the mail server that hands it over",
                self.cpu_limit
            )
            .into(),
            Remedy::PutCertificate => {
                format!("Put one there, or correct {}", self.setting(Setting::Certs)).into()
            }
            Remedy::NameSources => {
                format!("{} is empty: name a source there", self.setting(Setting::Certs)).into()
            }
            Remedy::AllSubkeys => {
                let setting = self.setting(Setting::Subkeys);
                format!(
                    "With {setting}{}all, an encryption subkey of Curve25519 or RSA would do",
                    self.assigns
                )
                .into()
            }
            Remedy::NameRecipient => {
                let cert = self.setting(Setting::Cert);
                match &self.of_recipients {
                    Some(place) => format!("Name the recipient{place}, or set {cert}").into(),
                    None => format!("Set {cert}").into(),
                }
            }
        }
    }
}

/// A failure to encrypt: its kind, the place, what happened, and a remedy. All failures are temporary in the
/// sense of RFC 5321, section 4.2.1: nothing was stored, and the same message may succeed once the cause is
/// removed.
#[derive(Clone, Debug)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    reason: Reason,
    place: Place,
    what: String,
    remedy: Remedy,
}

impl Error {
    /// Creates an error. `what` goes to the log, so it must not quote the message, and untrusted text in it
    /// must have gone through [`printable`].
    pub fn new(reason: Reason, what: impl Into<String>) -> Self {
        Self(Box::new(Inner { reason, place: Place::None, what: what.into(), remedy: Remedy::None }))
    }

    /// Adds the place.
    #[must_use]
    pub fn about(mut self, place: Place) -> Self {
        self.0.place = place;
        self
    }

    /// Adds the remedy.
    #[must_use]
    pub fn helps(mut self, remedy: impl Into<Remedy>) -> Self {
        self.0.remedy = remedy.into();
        self
    }

    /// The error for a panic that was caught at `place` in the source.
    pub fn panicked(place: &str) -> Self {
        Self::new(Reason::Internal, format!("a fault in perot-encrypt ({place})")).helps("please report it")
    }

    /// Returns the kind of the failure.
    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    /// Returns the sentence for the log, in the words of a front end.
    pub fn in_words(&self, words: &Words) -> String {
        let Inner { place, what, remedy, .. } = &*self.0;
        let remedy = words.remedy(remedy);
        let joint = match remedy.chars().next() {
            None => "",
            Some(first) if first.is_uppercase() => ". ",
            Some(_) => ": ",
        };
        format!("{}{what}{joint}{remedy}", words.place(place))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.in_words(&Words::default()))
    }
}

impl std::error::Error for Error {}

/// The result of a step of the encryption.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure to read the message.
#[derive(Debug)]
pub enum Unreadable {
    /// The mail server could not read it.
    Failed(io::Error),
    /// The message, or this part of it, has more than so many bytes.
    TooLarge(&'static str, u64),
    /// The message has taken most of the CPU time that a script may take.
    TooSlow,
}

impl From<Unreadable> for Error {
    fn from(why: Unreadable) -> Self {
        match why {
            Unreadable::Failed(why) => {
                let text = format!("the message cannot be read: {}", printable(why.to_string()));
                Self::new(Reason::UnreadableMessage, text)
            }
            Unreadable::TooLarge(what, max) => {
                let text = format!("{what} is larger than {} MiB, which is the most", max >> 20);
                Self::new(Reason::MessageTooLarge, text)
            }
            Unreadable::TooSlow => {
                let text = "the message takes more CPU time than a script may take";
                Self::new(Reason::MessageTooLarge, text).helps(Remedy::CpuTime)
            }
        }
    }
}

/// A failure to write the encrypted message.
#[derive(Debug)]
pub struct Unwritable(pub io::Error);

impl From<Unwritable> for Error {
    fn from(Unwritable(why): Unwritable) -> Self {
        let text = format!("the encrypted message cannot be written: {}", printable(why.to_string()));
        Self::new(Reason::WriteFailed, text).helps(Remedy::TemporaryRoom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_front_end_has_its_own_words() {
        let tool = Words { setting_prefix: "--".into(), assigns: " ".into(), ..Words::default() };
        let plugin = Words {
            setting_prefix: "sieve_perot_encrypt_".into(),
            of_recipients: Some(" in the script".into()),
            ..Words::default()
        };
        let wrong = Error::new(Reason::BadSetting, "not understood")
            .about(Place::Value(Setting::Certs, "keys".into()))
            .helps("write paths");
        assert_eq!(wrong.in_words(&tool), "--certs keys: not understood: write paths");
        assert_eq!(wrong.in_words(&plugin), "sieve_perot_encrypt_certs = keys: not understood: write paths");
        let none = Error::new(Reason::NoCertificate, "no certificate for a@b").helps(Remedy::PutCertificate);
        assert_eq!(none.in_words(&tool), "no certificate for a@b. Put one there, or correct --certs");
        let recipient = Error::new(Reason::BadRecipient, "is not one").about(Place::Recipient);
        assert_eq!(recipient.in_words(&plugin), "a recipient in the script is not one");
        assert_eq!(recipient.to_string(), "a recipient is not one");
    }
}
