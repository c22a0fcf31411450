//! The four settings: from the text in Dovecot's configuration to what they mean.

use crate::error::{Error, Reason, Result};
use crate::printable::printable;

/// Where certificates are looked for unless `sieve_perot_encrypt_certs` says otherwise.
pub const DEFAULT_CERTS: &str = "~/pgp-certs /etc/dovecot/pgp-certs";

/// What Dovecot 2.3 makes of a userdb field that is empty.
const EMPTY_FIELD: &[u8] = b"yes";

/// The settings as the host gives them; `None` is a setting that is not set.
#[derive(Clone, Debug, Default)]
pub struct RawSettings<'a> {
    /// `sieve_perot_encrypt_certs`
    pub certs: Option<&'a [u8]>,
    /// `sieve_perot_encrypt_cert`
    pub cert: Option<&'a [u8]>,
    /// `sieve_perot_encrypt_on_error`
    pub on_error: Option<&'a [u8]>,
    /// `sieve_perot_encrypt_hide_subject`
    pub hide_subject: Option<&'a [u8]>,
}

/// What `sieve_perot_encrypt_on_error` can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// The message is deferred: the sender's server keeps it and tries again.
    TempFail,
    /// The script goes on with the message as it was.
    Keep,
}

/// Settings that were understood.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Certificate sources, in the order in which they are searched.
    pub sources: Vec<SourcePath>,
    /// The owner's certificate itself, armored or in base64.
    pub owner_cert: Option<Vec<u8>>,
    /// Whether subjects are hidden where the script does not say so.
    pub hide_subject: bool,
}

/// Where a source is, before the user's home is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourcePath {
    /// An absolute path.
    Absolute(String),
    /// A path below the user's home directory, without the leading `~/`.
    Home(String),
}

/// What came of reading the settings. A wrong setting does not keep the plugin from loading
/// (Pigeonhole would deliver in clear then): each `encrypt` fails with the reason instead.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What to do on failure. `TempFail` where the setting itself is not understood.
    pub on_error: OnError,
    /// The settings, or the reason why there are none.
    pub settings: Result<Settings>,
}

impl Loaded {
    /// Reads the settings of one user.
    pub fn new(raw: &RawSettings<'_>) -> Self {
        let on_error = on_error(raw.on_error);
        Self {
            on_error: on_error.as_ref().copied().unwrap_or(OnError::TempFail),
            settings: on_error.and_then(|_| settings(raw)),
        }
    }

    /// Settings that could not even be fetched from the host, with the host's words for it.
    pub fn unavailable(why: &[u8]) -> Self {
        let text = format!(
            "the settings cannot be read: {}. Is libsieve_perot_encrypt_settings.so in Dovecot's folder of settings \
             modules (make install)?",
            printable(why)
        );
        Self { on_error: OnError::TempFail, settings: Err(Error::new(Reason::BadSetting, text)) }
    }
}

fn on_error(value: Option<&[u8]>) -> Result<OnError> {
    match word(value).as_deref() {
        None | Some("" | "tempfail") => Ok(OnError::TempFail),
        Some("keep") => Ok(OnError::Keep),
        Some(other) => Err(unknown("on_error", other, "`tempfail` or `keep`")),
    }
}

fn settings(raw: &RawSettings<'_>) -> Result<Settings> {
    let hide_subject = match word(raw.hide_subject).as_deref() {
        None | Some("" | "no") => false,
        Some("yes") => true,
        Some(other) => return Err(unknown("hide_subject", other, "`yes` or `no`")),
    };
    let certs = match raw.certs {
        None => DEFAULT_CERTS,
        Some(bytes) => {
            std::str::from_utf8(bytes).map_err(|_| unknown("certs", &printable(bytes), "paths in UTF-8"))?
        }
    };
    Ok(Settings {
        sources: certs.split_whitespace().map(source_path).collect::<Result<_>>()?,
        owner_cert: raw.cert.filter(|c| !matches!(c.trim_ascii(), b"" | EMPTY_FIELD)).map(unescaped),
        hide_subject,
    })
}

/// The value of a userdb field. When it comes out of Dovecot's auth cache (`auth_cache_size`), control
/// characters are still escaped as for its protocols (`str_tabescape()`): 2.3.19 and 2.4.1 forget to undo that
/// in `auth_request_userdb_import()`. Neither armor nor base64 holds the byte that they begin with.
fn unescaped(value: &[u8]) -> Vec<u8> {
    let mut bytes = value.iter().copied();
    let mut plain = Vec::with_capacity(value.len());
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            1 => match bytes.next() {
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                _ => byte,
            },
            _ => byte,
        });
    }
    plain
}

fn source_path(text: &str) -> Result<SourcePath> {
    match (text.strip_prefix("~/"), text.starts_with('/')) {
        (Some(below), _) => Ok(SourcePath::Home(below.to_owned())),
        (None, true) => Ok(SourcePath::Absolute(text.to_owned())),
        (None, false) => {
            Err(unknown("certs", text, "paths that begin with `/` or `~/`, separated by spaces"))
        }
    }
}

fn word(value: Option<&[u8]>) -> Option<String> {
    value.map(|v| String::from_utf8_lossy(v.trim_ascii()).into_owned())
}

fn unknown(name: &str, value: &str, expected: &str) -> Error {
    let text = format!("sieve_perot_encrypt_{name} = {}: not understood; write {expected}", printable(value));
    Error::new(Reason::BadSetting, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults() {
        let loaded = Loaded::new(&RawSettings::default());
        assert_eq!(loaded.on_error, OnError::TempFail);
        let settings = loaded.settings.unwrap();
        assert_eq!(
            settings.sources,
            [SourcePath::Home("pgp-certs".into()), SourcePath::Absolute("/etc/dovecot/pgp-certs".into())]
        );
        assert!(settings.owner_cert.is_none());
        assert!(!settings.hide_subject);
    }

    #[test]
    fn wrong_values_are_told_with_what_is_expected() {
        let rows: [(RawSettings<'_>, &str); 4] = [
            (
                RawSettings { on_error: Some(b"bounce"), ..Default::default() },
                "sieve_perot_encrypt_on_error = bounce: not understood; write `tempfail` or `keep`",
            ),
            (
                RawSettings { hide_subject: Some(b"true"), ..Default::default() },
                "sieve_perot_encrypt_hide_subject = true: not understood; write `yes` or `no`",
            ),
            (
                RawSettings { certs: Some(b"/etc/certs keys"), ..Default::default() },
                "sieve_perot_encrypt_certs = keys: not understood; write paths that begin with `/` or `~/`, separated by spaces",
            ),
            (
                RawSettings { certs: Some(b"/\xff"), ..Default::default() },
                "sieve_perot_encrypt_certs = /\u{fffd}: not understood; write paths in UTF-8",
            ),
        ];
        for (raw, message) in rows {
            let loaded = Loaded::new(&raw);
            assert_eq!(loaded.on_error, OnError::TempFail);
            assert_eq!(loaded.settings.unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_certificate_from_the_auth_cache_is_as_it_was() {
        let raw = RawSettings { cert: Some(b"a\x01r\x01nb\x01tc\nd"), ..Default::default() };
        assert_eq!(Loaded::new(&raw).settings.unwrap().owner_cert.unwrap(), b"a\r\nb\tc\nd");
    }

    #[test]
    fn an_empty_field_is_none() {
        for cert in ["", " \n", "yes"] {
            let raw = RawSettings { cert: Some(cert.as_bytes()), ..Default::default() };
            assert!(Loaded::new(&raw).settings.unwrap().owner_cert.is_none(), "{cert:?}");
        }
    }

    #[test]
    fn an_administrator_who_asked_to_keep_keeps() {
        let raw = RawSettings { on_error: Some(b"keep"), hide_subject: Some(b"?"), ..Default::default() };
        let loaded = Loaded::new(&raw);
        assert_eq!(loaded.on_error, OnError::Keep);
        assert!(loaded.settings.is_err());
    }
}
