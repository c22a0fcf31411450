//! The settings: from the text in the configuration to what they mean.

use crate::error::{Error, Place, Reason, Result, Setting, Words};
use crate::log::printable;
use crate::mailboxes::Mailboxes;
use crate::recipient::Recipient;

/// Where certificates are looked for unless `sieve_perot_encrypt_certs` says otherwise.
pub const DEFAULT_CERTS: &str = "~/pgp-certs /etc/dovecot/pgp-certs";

/// The only value of `sieve_perot_encrypt_alias`: the other name under which the Sieve extension can be offered.
const ALIAS: &str = "vnd.dovecot.pgp-encrypt";

/// The settings as the host gives them; `None` is a setting that is not set.
#[derive(Clone, Debug, Default)]
pub struct RawSettings<'a> {
    /// `sieve_perot_encrypt_certs`
    pub certs: Option<&'a [u8]>,
    /// `sieve_perot_encrypt_cert`
    pub cert: Option<&'a [u8]>,
    /// `sieve_perot_encrypt_on_error`
    pub on_error: Option<&'a [u8]>,
    /// `sieve_perot_encrypt_on_no_certificate`
    pub on_no_certificate: Option<&'a [u8]>,
    /// `sieve_perot_encrypt_hide_subject`
    pub hide_subject: Option<&'a [u8]>,
    /// `sieve_perot_encrypt_compress`
    pub compress: Option<&'a [u8]>,
    /// `sieve_perot_encrypt_subkeys`
    pub subkeys: Option<&'a [u8]>,
    /// `sieve_perot_encrypt_prefer`
    pub prefer: Option<&'a [u8]>,
    /// `sieve_perot_encrypt_alias`
    pub alias: Option<&'a [u8]>,
    /// `perot_encrypt_deliveries`
    pub deliveries: Option<&'a [u8]>,
    /// `perot_encrypt_saved`
    pub saved: Option<&'a [u8]>,
    /// `sieve_user_email`
    pub user_email: Option<&'a [u8]>,
}

/// The values of `sieve_perot_encrypt_on_error` and of `sieve_perot_encrypt_on_no_certificate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// The message is deferred: the sender's server keeps it and tries again.
    TempFail,
    /// The script goes on with the message as it was.
    Keep,
}

/// The values of `sieve_perot_encrypt_subkeys`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subkeys {
    /// All that can be used.
    All,
    /// Where a certificate has post-quantum subkeys, none but these.
    PostQuantum,
}

/// The values of `perot_encrypt_deliveries`: how the mail plugin treats a message that is about to be stored in a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deliveries {
    /// It is encrypted for its owner.
    Encrypt,
    /// It is deferred if no script has encrypted it.
    Refuse,
    /// It is stored as it is, with an error line if it is in clear.
    Warn,
    /// It is stored as it is.
    No,
}

/// Settings that were understood.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Certificate sources, in the order in which they are searched.
    pub sources: Vec<SourcePath>,
    /// The owner's certificate itself, armored or in base64.
    pub owner_cert: Option<Vec<u8>>,
    /// The address of the owner, if the administrator has set it.
    pub owner_address: Option<String>,
    /// The treatment of mail for an owner who has no certificate.
    pub on_no_certificate: OnError,
    /// Subjects are hidden where the script does not say so, too.
    pub hide_subject: bool,
    /// OpenPGP messages are compressed.
    pub compress: bool,
    /// The subkeys to which messages are encrypted.
    pub subkeys: Subkeys,
    /// The kind of certificate that is used where a recipient has both.
    pub prefer: Prefer,
    /// The front end's names for things.
    pub words: Words,
}

/// The values of `sieve_perot_encrypt_prefer`: the kind of certificate that is used where a recipient has both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefer {
    /// OpenPGP.
    OpenPgp,
    /// X.509, for S/MIME.
    Smime,
}

impl Prefer {
    /// Returns the other kind.
    pub fn other(self) -> Self {
        match self {
            Self::OpenPgp => Self::Smime,
            Self::Smime => Self::OpenPgp,
        }
    }
}

/// Where a source is, before the user's home is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourcePath {
    /// An absolute path.
    Absolute(String),
    /// A path below the user's home directory, without the leading `~/`.
    Home(String),
}

/// Parsed settings, or the error that every `encrypt` reports. A wrong setting does not keep the plugin from loading:
/// Pigeonhole would deliver in clear then.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The front end's names for things.
    pub words: Words,
    /// The consequence of a failure. `TempFail` where the setting itself is not understood.
    pub on_error: OnError,
    /// The treatment of deliveries; an error counts as [`Deliveries::Encrypt`].
    pub deliveries: Result<Deliveries>,
    /// Where to encrypt what mail programs save; an error counts as everywhere.
    pub saved: Result<Mailboxes>,
    /// True if the extension is to have another name, too. Any value counts, also one that is not understood: scripts that
    /// require that name fail then, where Pigeonhole would not compile them, and deliver in clear.
    pub alias: bool,
    /// The settings, or the reason why there are none.
    pub settings: Result<Settings>,
}

impl Loaded {
    /// Reads the settings of one user.
    pub fn new(raw: &RawSettings<'_>, words: Words) -> Self {
        let on_error = on_error(Setting::OnError, raw.on_error);
        Self {
            on_error: on_error.as_ref().copied().unwrap_or(OnError::TempFail),
            deliveries: deliveries(raw.deliveries),
            saved: Mailboxes::new(raw.saved),
            alias: word(raw.alias).is_some_and(|name| !name.is_empty()),
            settings: on_error.and_then(|_| settings(raw, &words)),
            words,
        }
    }

    /// Settings that are not there, and why.
    pub fn unavailable(why: Error, words: Words) -> Self {
        Self {
            on_error: OnError::TempFail,
            deliveries: Ok(Deliveries::Encrypt),
            saved: Err(why.clone()),
            alias: false,
            settings: Err(why),
            words,
        }
    }

    /// Returns the errors in them.
    pub fn errors(&self) -> impl Iterator<Item = &Error> {
        // Where there are none, `saved` says the same.
        let saved = self.saved.as_ref().err().filter(|_| self.settings.is_ok());
        self.settings.as_ref().err().into_iter().chain(self.deliveries.as_ref().err()).chain(saved)
    }

    /// Returns true if mail that is saved in this mailbox is to be encrypted.
    pub fn saves(&self, mailbox: &str, special_use: &str) -> bool {
        self.saved.as_ref().map_or(true, |saved| saved.contain(mailbox, special_use))
    }
}

fn deliveries(value: Option<&[u8]>) -> Result<Deliveries> {
    match word(value).as_deref() {
        None | Some("" | "encrypt") => Ok(Deliveries::Encrypt),
        Some("refuse") => Ok(Deliveries::Refuse),
        Some("warn") => Ok(Deliveries::Warn),
        Some("no") => Ok(Deliveries::No),
        Some(other) => Err(unknown(Setting::Deliveries, other, "write `encrypt`, `refuse`, `warn` or `no`")),
    }
}

fn on_error(setting: Setting, value: Option<&[u8]>) -> Result<OnError> {
    match word(value).as_deref() {
        None | Some("" | "tempfail") => Ok(OnError::TempFail),
        Some("keep") => Ok(OnError::Keep),
        Some(other) => Err(unknown(setting, other, "write `tempfail` or `keep`")),
    }
}

fn yes(setting: Setting, value: Option<&[u8]>) -> Result<bool> {
    match word(value).as_deref() {
        None | Some("" | "no") => Ok(false),
        Some("yes") => Ok(true),
        Some(other) => Err(unknown(setting, other, "write `yes` or `no`")),
    }
}

fn prefer(value: Option<&[u8]>) -> Result<Prefer> {
    match word(value).as_deref() {
        None | Some("" | "openpgp") => Ok(Prefer::OpenPgp),
        Some("smime") => Ok(Prefer::Smime),
        Some(other) => Err(unknown(Setting::Prefer, other, "write `openpgp` or `smime`")),
    }
}

fn subkeys(value: Option<&[u8]>) -> Result<Subkeys> {
    match word(value).as_deref() {
        None | Some("" | "all") => Ok(Subkeys::All),
        Some("post-quantum") => Ok(Subkeys::PostQuantum),
        Some(other) => Err(unknown(Setting::Subkeys, other, "write `all` or `post-quantum`")),
    }
}

fn alias(value: Option<&[u8]>) -> Result<()> {
    match word(value).as_deref() {
        None | Some("" | ALIAS) => Ok(()),
        Some(other) => Err(unknown(Setting::Alias, other, "write `vnd.dovecot.pgp-encrypt`")),
    }
}

fn settings(raw: &RawSettings<'_>, words: &Words) -> Result<Settings> {
    alias(raw.alias)?;
    let certs = match raw.certs {
        None => DEFAULT_CERTS,
        Some(bytes) => std::str::from_utf8(bytes)
            .map_err(|_| unknown(Setting::Certs, &printable(bytes), "write paths in UTF-8"))?,
    };
    Ok(Settings {
        sources: certs.split_whitespace().map(source_path).collect::<Result<_>>()?,
        on_no_certificate: on_error(Setting::OnNoCertificate, raw.on_no_certificate)?,
        owner_address: user_email(raw.user_email)?,
        owner_cert: raw.cert.filter(|cert| !cert.trim_ascii().is_empty()).map(<[u8]>::to_vec),
        hide_subject: yes(Setting::HideSubject, raw.hide_subject)?,
        compress: yes(Setting::Compress, raw.compress)?,
        subkeys: subkeys(raw.subkeys)?,
        prefer: prefer(raw.prefer)?,
        words: words.clone(),
    })
}

/// Reads `sieve_user_email`. Sieve takes angle brackets around the address, too.
fn user_email(value: Option<&[u8]>) -> Result<Option<String>> {
    let Some(text) = word(value).filter(|text| !text.is_empty()) else { return Ok(None) };
    let address = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(&text);
    match Recipient::parse(address.as_bytes()) {
        Ok(Recipient::Address(address)) => Ok(Some(address)),
        _ => Err(unknown(Setting::UserEmail, &text, "write an e-mail address")),
    }
}

fn source_path(text: &str) -> Result<SourcePath> {
    match (text.strip_prefix("~/"), text.starts_with('/')) {
        (Some(below), _) => Ok(SourcePath::Home(below.to_owned())),
        (None, true) => Ok(SourcePath::Absolute(text.to_owned())),
        (None, false) => {
            let remedy = "write paths that begin with `/` or `~/`, separated by spaces";
            Err(unknown(Setting::Certs, text, remedy))
        }
    }
}

fn word(value: Option<&[u8]>) -> Option<String> {
    value.map(|v| String::from_utf8_lossy(v.trim_ascii()).into_owned())
}

fn unknown(setting: Setting, value: &str, remedy: &'static str) -> Error {
    let place = Place::Value(setting, printable(value));
    Error::new(Reason::BadSetting, "not understood").about(place).helps(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(raw: &RawSettings<'_>) -> Loaded {
        Loaded::new(raw, Words::default())
    }

    #[test]
    fn defaults() {
        let loaded = load(&RawSettings::default());
        assert_eq!(loaded.on_error, OnError::TempFail);
        let settings = loaded.settings.unwrap();
        assert_eq!(
            settings.sources,
            [SourcePath::Home("pgp-certs".into()), SourcePath::Absolute("/etc/dovecot/pgp-certs".into())]
        );
        assert!(settings.owner_cert.is_none());
        assert!(!settings.hide_subject && !settings.compress);
        assert_eq!(settings.subkeys, Subkeys::All);
        assert_eq!(settings.on_no_certificate, OnError::TempFail);
    }

    #[test]
    fn wrong_values_are_told_with_what_is_expected() {
        let rows: [(RawSettings<'_>, &str); 9] = [
            (
                RawSettings { alias: Some(b"yes"), ..Default::default() },
                "alias = yes: not understood: write `vnd.dovecot.pgp-encrypt`",
            ),
            (
                RawSettings { on_error: Some(b"bounce"), ..Default::default() },
                "on_error = bounce: not understood: write `tempfail` or `keep`",
            ),
            (
                RawSettings { on_no_certificate: Some(b"no"), ..Default::default() },
                "on_no_certificate = no: not understood: write `tempfail` or `keep`",
            ),
            (
                RawSettings { hide_subject: Some(b"true"), ..Default::default() },
                "hide_subject = true: not understood: write `yes` or `no`",
            ),
            (
                RawSettings { compress: Some(b"zlib"), ..Default::default() },
                "compress = zlib: not understood: write `yes` or `no`",
            ),
            (
                RawSettings { subkeys: Some(b"pqc"), ..Default::default() },
                "subkeys = pqc: not understood: write `all` or `post-quantum`",
            ),
            (
                RawSettings { certs: Some(b"/etc/certs keys"), ..Default::default() },
                "certs = keys: not understood: write paths that begin with `/` or `~/`, separated by spaces",
            ),
            (
                RawSettings { certs: Some(b"/\xff"), ..Default::default() },
                "certs = /\u{fffd}: not understood: write paths in UTF-8",
            ),
            (
                RawSettings { user_email: Some(b"me"), ..Default::default() },
                "sieve_user_email = me: not understood: write an e-mail address",
            ),
        ];
        for (raw, message) in rows {
            let loaded = load(&raw);
            assert_eq!(loaded.on_error, OnError::TempFail);
            assert_eq!(loaded.settings.unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn the_owners_address() {
        for (value, address) in
            [("", None), ("me@domain.com", Some("me@domain.com")), ("<me@domain.com>", Some("me@domain.com"))]
        {
            let raw = RawSettings { user_email: Some(value.as_bytes()), ..Default::default() };
            assert_eq!(load(&raw).settings.unwrap().owner_address.as_deref(), address);
        }
    }

    #[test]
    fn another_name() {
        for (value, alias, understood) in [
            ("", false, true),
            (" ", false, true),
            (ALIAS, true, true),
            ("vnd.dovecot.pgp_encrypt", true, false),
        ] {
            let loaded = load(&RawSettings { alias: Some(value.as_bytes()), ..Default::default() });
            assert_eq!((loaded.alias, loaded.settings.is_ok()), (alias, understood), "{value}");
        }
        assert!(!load(&RawSettings::default()).alias);
    }

    #[test]
    fn an_empty_certificate_is_none() {
        for cert in ["", " \n"] {
            let raw = RawSettings { cert: Some(cert.as_bytes()), ..Default::default() };
            assert!(load(&raw).settings.unwrap().owner_cert.is_none(), "{cert:?}");
        }
    }

    #[test]
    fn an_administrator_who_asked_to_keep_keeps() {
        let raw = RawSettings { on_error: Some(b"keep"), hide_subject: Some(b"?"), ..Default::default() };
        let loaded = load(&raw);
        assert_eq!(loaded.on_error, OnError::Keep);
        assert!(loaded.settings.is_err());
    }
}
