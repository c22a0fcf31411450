//! Shows a certificate to an administrator.

use std::fmt::Write as _;
use std::time::SystemTime;

use sequoia_openpgp::cert::amalgamation::key::{ErasedKeyAmalgamation, PrimaryKey};
use sequoia_openpgp::cert::amalgamation::ValidateAmalgamation;
use sequoia_openpgp::crypto::mpi;
use sequoia_openpgp::packet::key;
use serde_json::{json, Value};

use perot_encrypt::certs::choose;
use perot_encrypt::certs::chosen::Chosen;
use perot_encrypt::certs::copies::Certificate;
use perot_encrypt::certs::finder::{left_out, warnings, Found};
use perot_encrypt::certs::rules::{Rules, Sha1};
use perot_encrypt::certs::{explain, user_id, x509};
use perot_encrypt::log::printable;
use perot_encrypt::openssl::x509::{PublicKey, X509};
use perot_encrypt::settings::Subkeys;

use crate::words;

/// A certificate and the result of choosing its keys.
pub struct Checked {
    /// The recipient that it was found for, printable. `None` if all certificates are listed.
    pub recipient: Option<String>,
    pub found: Found,
    /// False if a better one was found for the recipient, or if it cannot be used.
    pub is_used: bool,
    /// The time from which its algorithms count as too weak.
    pub end_of_algorithms: Option<SystemTime>,
}

/// A User ID as it is listed.
struct UserIdNote {
    text: String,
    addresses: Vec<String>,
    /// The reason why it does not count.
    reason: Option<String>,
    /// True if it does not count without self-signatures with SHA-1.
    is_weak: bool,
}

impl Checked {
    /// Looks at a certificate that was found.
    pub fn new(recipient: Option<String>, found: Found, is_used: bool, now: SystemTime) -> Self {
        let end_of_algorithms = match &found.cert {
            Certificate::OpenPgp(cert) => choose::end_of_algorithms(cert, now, found.sha1, found.subkeys),
            Certificate::X509(_) => None,
        };
        Self { recipient, found, is_used, end_of_algorithms }
    }

    /// Returns true if the certificate can be used, and still can be at the time `until`.
    pub fn outlasts(&self, until: SystemTime) -> bool {
        let lives = |keys: &Chosen| keys.expired().is_none() && self.expires().is_none_or(|end| end > until);
        !self.found.has_secret && self.found.keys.as_ref().is_ok_and(lives)
    }

    /// Returns true if it counts only because self-signatures with SHA-1 are accepted.
    pub fn is_weak(&self) -> bool {
        self.found.keys.as_ref().is_ok_and(Chosen::is_weak)
    }

    /// Returns the reason why the certificate cannot be used.
    pub fn reason(&self) -> Option<String> {
        self.found.keys.as_ref().err().map(|why| why.in_words(&words()))
    }

    fn user_ids(&self, now: SystemTime) -> Vec<UserIdNote> {
        let cert = match &self.found.cert {
            Certificate::OpenPgp(cert) => cert,
            Certificate::X509(cert) => {
                return x509::addresses(cert).into_iter().map(UserIdNote::address).collect()
            }
        };
        let rules = Rules::at(now);
        let note = cert.userids().map(|id| UserIdNote {
            text: printable(id.userid().value()),
            addresses: user_id::addresses(id.userid().value()),
            reason: explain::user_id(&id, &rules, self.found.sha1),
            is_weak: explain::user_id(&id, &rules, Sha1::Refused).is_some(),
        });
        note.collect()
    }

    /// Returns the addresses in its User IDs that count, in the form in which they are compared.
    pub fn addresses(&self, now: SystemTime) -> Vec<String> {
        let counting = self.user_ids(now).into_iter().filter(|id| id.reason.is_none());
        counting.flat_map(|id| id.addresses).collect()
    }

    fn keys(&self, now: SystemTime) -> Vec<KeyNote> {
        let cert = match &self.found.cert {
            Certificate::OpenPgp(cert) => cert,
            Certificate::X509(cert) => return vec![KeyNote::x509(cert, &self.found)],
        };
        let chosen = match &self.found.keys {
            Ok(Chosen::OpenPgp(keys)) => keys.keys.as_slice(),
            _ => &[],
        };
        let is_chosen = |key: &ErasedKeyAmalgamation<'_, key::PublicParts>| {
            chosen.iter().any(|chosen| chosen.fingerprint() == key.key().fingerprint())
        };
        let rules = Rules::at(now);
        let wanted = choose::wanted(cert, &rules, self.found.subkeys);
        let note = |key| KeyNote::new(is_chosen(&key), key, &rules, self.found.sha1, wanted);
        cert.keys().map(note).collect()
    }

    /// Returns when the certificate expires, or its algorithms count as too weak.
    pub fn expires(&self) -> Option<SystemTime> {
        let expires = self.found.keys.as_ref().ok().and_then(Chosen::expires);
        expires.into_iter().chain(self.end_of_algorithms).min()
    }

    /// Returns the certificate for `--json`.
    pub fn json(&self, now: SystemTime) -> Value {
        let (kind, version) = match &self.found.cert {
            Certificate::OpenPgp(cert) => ("OpenPGP", Some(cert.primary_key().key().version())),
            Certificate::X509(_) => ("X.509", None),
        };
        let all_keys = self.keys(now);
        let user_ids = self.user_ids(now).into_iter().map(|id| {
            let state = if id.reason.is_some() { "not accepted" } else { "valid" };
            let is_weak = id.reason.is_none() && id.is_weak;
            json!({ "user_id": id.text, "addresses": id.addresses, "state": state, "reason": id.reason, "weak": is_weak })
        });
        let keys = self.found.keys.as_ref();
        json!({
            "fingerprint": self.found.fingerprint,
            "kind": kind,
            "version": version,
            "recipient": self.recipient,
            "source": self.found.place.name(),
            "files": self.found.files,
            "secret_key": self.found.has_secret,
            "user_ids": user_ids.collect::<Vec<_>>(),
            "created": all_keys.first().and_then(|key| key.created).map(time),
            "expires": self.expires().map(time),
            "expired": keys.is_ok_and(|keys| keys.expired().is_some()),
            "algorithms_end": self.end_of_algorithms.map(time),
            "weak": self.is_weak(),
            "usable": keys.is_ok(),
            "used": self.is_used,
            "reason": self.reason(),
            "keys": all_keys.iter().map(KeyNote::json).collect::<Vec<_>>(),
        })
    }

    /// Writes the certificate as text.
    pub fn write(&self, text: &mut String, now: SystemTime) {
        let kind = if matches!(self.found.cert, Certificate::X509(_)) { " (X.509, for S/MIME)" } else { "" };
        line(text, format_args!("{}{kind}", self.found.fingerprint));
        if let Some(recipient) = &self.recipient {
            line(text, format_args!("  for      {recipient}"));
        }
        for file in &self.found.files {
            line(text, format_args!("  file     {file}"));
        }
        for user_id in self.user_ids(now) {
            let reason = match user_id.reason {
                Some(why) => format!(" (does not count: it {why})"),
                None if user_id.is_weak => " (counts only with SHA-1)".to_owned(),
                None => String::new(),
            };
            let name = if kind.is_empty() { "User ID" } else { "address" };
            line(text, format_args!("  {name}  {}{reason}", user_id.text));
        }
        for key in self.keys(now) {
            line(text, format_args!("  {key}"));
        }
        if self.found.has_secret {
            line(text, format_args!("  error    the SECRET KEY is in the file: it must not be on a server"));
        }
        if let Some(end) = self.end_of_algorithms {
            line(text, format_args!("  warning  its algorithms count as too weak from {} on", day(end)));
        }
        for warning in
            self.found.keys.iter().flat_map(|keys| warnings(keys).into_iter().chain(left_out(keys)))
        {
            line(text, format_args!("  warning  {warning}"));
        }
        match &self.found.keys {
            Ok(_) if !self.is_used => {
                line(text, format_args!("  usable   yes, but not used: there is a better one"))
            }
            Ok(keys) if keys.expired().is_some() => {
                line(text, format_args!("  usable   yes, though it has EXPIRED"))
            }
            Ok(_) => line(text, format_args!("  usable   yes, {}", until(self.expires()))),
            Err(why) => line(text, format_args!("  usable   NO: {}", why.in_words(&words()))),
        }
        text.push('\n');
    }
}

impl UserIdNote {
    /// An address of an X.509 certificate.
    fn address(address: String) -> Self {
        Self { text: printable(&address), addresses: vec![address], reason: None, is_weak: false }
    }
}

/// A key as it is listed.
struct KeyNote {
    fingerprint: String,
    /// "primary" or "subkey", or "key" for the only one of an X.509 certificate.
    role: &'static str,
    algorithm: String,
    bits: Option<usize>,
    curve: Option<String>,
    created: Option<SystemTime>,
    expires: Option<SystemTime>,
    used: bool,
    /// The reason why it is not used, if it is meant for encryption.
    reason: Option<String>,
}

impl KeyNote {
    fn new(
        used: bool,
        key: ErasedKeyAmalgamation<'_, key::PublicParts>,
        rules: &Rules,
        sha1: Sha1,
        wanted: Subkeys,
    ) -> Self {
        let (bits, curve) = size_of(key.key().mpis());
        Self {
            fingerprint: key.key().fingerprint().to_hex(),
            role: if key.primary() { "primary" } else { "subkey" },
            algorithm: key.key().pk_algo().to_string(),
            bits,
            curve,
            created: Some(key.key().creation_time()),
            expires: key
                .clone()
                .with_policy(&rules.with_sha1, rules.now)
                .ok()
                .and_then(|key| key.key_expiration_time()),
            used,
            reason: match used {
                true => None,
                false => {
                    explain::key(&key, rules, sha1).or_else(|| explain::is_passed_over(&key, rules, wanted))
                }
            },
        }
    }

    fn x509(cert: &X509, found: &Found) -> Self {
        let (algorithm, bits, curve) = match cert.public_key() {
            PublicKey::Rsa(bits) => ("RSA", Some(bits), None),
            PublicKey::Ec(curve) => ("EC", None, Some(printable(curve))),
            PublicKey::Other => ("unknown", None, None),
        };
        let validity = cert.validity();
        Self {
            fingerprint: found.fingerprint.clone(),
            role: "key",
            algorithm: algorithm.to_owned(),
            bits,
            curve,
            created: validity.map(|(begins, _)| begins),
            expires: validity.map(|(_, ends)| ends),
            used: found.keys.is_ok(),
            reason: None,
        }
    }

    fn json(&self) -> Value {
        json!({
            "fingerprint": self.fingerprint,
            "primary": self.role != "subkey",
            "algorithm": self.algorithm,
            "bits": self.bits,
            "curve": self.curve,
            "created": self.created.map(time),
            "expires": self.expires.map(time),
            "used": self.used,
            "reason": self.reason,
        })
    }
}

impl std::fmt::Display for KeyNote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:7}  {} {}", self.role, self.fingerprint, self.algorithm)?;
        match (&self.curve, self.bits) {
            (Some(curve), _) => write!(f, " {curve}")?,
            (None, Some(bits)) => write!(f, " {bits}")?,
            (None, None) => {}
        }
        if let Some(created) = self.created {
            write!(f, ", of {}", day(created))?;
        }
        write!(f, ", {}", until(self.expires))?;
        match (self.used, &self.reason) {
            (true, _) => write!(f, ", used"),
            (false, Some(reason)) => write!(f, ", not used: {reason}"),
            (false, None) => Ok(()),
        }
    }
}

/// Returns the size in bits or the curve of a key, depending on its algorithm.
fn size_of(key: &mpi::PublicKey) -> (Option<usize>, Option<String>) {
    match key {
        mpi::PublicKey::RSA { .. } | mpi::PublicKey::DSA { .. } | mpi::PublicKey::ElGamal { .. } => {
            (key.bits(), None)
        }
        mpi::PublicKey::EdDSA { curve, .. }
        | mpi::PublicKey::ECDSA { curve, .. }
        | mpi::PublicKey::ECDH { curve, .. } => (None, Some(curve.to_string())),
        _ => (None, None),
    }
}

/// Tells when something expires.
pub fn until(expires: Option<SystemTime>) -> String {
    expires.map_or_else(|| "does not expire".to_owned(), |end| format!("expires {}", day(end)))
}

/// Formats a time to the second.
pub fn time(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Formats a time to the day.
fn day(at: SystemTime) -> String {
    time(at).chars().take("2026-12-31".len()).collect()
}

/// Adds a line to a text.
pub fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = writeln!(text, "{arguments}");
}
