//! Shows a certificate to an administrator.

use std::fmt::Write as _;
use std::time::SystemTime;

use sequoia_openpgp::cert::amalgamation::key::{ErasedKeyAmalgamation, PrimaryKey};
use sequoia_openpgp::cert::amalgamation::{UserIDAmalgamation, ValidAmalgamation, ValidateAmalgamation};
use sequoia_openpgp::crypto::mpi;
use sequoia_openpgp::packet::key;
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::types::RevocationStatus;
use serde_json::{json, Value};

use perot_encrypt::certs::choose::{self, RecipientKeys};
use perot_encrypt::certs::finder::Found;
use perot_encrypt::error::Error;
use perot_encrypt::log::printable;

use crate::words;

/// A certificate and the result of choosing its keys.
pub struct Checked {
    /// The recipient that it was found for, printable. `None` if all certificates are listed.
    pub recipient: Option<String>,
    pub found: Found,
    pub keys: Result<RecipientKeys, Error>,
}

impl Checked {
    /// Returns true if the certificate can be used, and still can be at the time `until`.
    pub fn outlasts(&self, until: SystemTime) -> bool {
        let lives = |keys: &RecipientKeys| !keys.expired && keys.expires.is_none_or(|end| end > until);
        !self.found.has_secret && self.keys.as_ref().is_ok_and(lives)
    }

    /// Returns the reason why the certificate cannot be used.
    pub fn reason(&self) -> Option<String> {
        self.keys.as_ref().err().map(|why| why.in_words(&words()))
    }

    fn user_ids(&self, now: SystemTime) -> Vec<(String, &'static str)> {
        let user_ids = self.found.cert.userids();
        user_ids.map(|user_id| (printable(user_id.userid().value()), state_of(&user_id, now))).collect()
    }

    fn keys(&self, now: SystemTime) -> Vec<KeyNote> {
        let chosen = self.keys.as_ref().map(|keys| keys.keys.as_slice()).unwrap_or_default();
        let is_chosen = |key: &ErasedKeyAmalgamation<'_, key::PublicParts>| {
            chosen.iter().any(|chosen| chosen.fingerprint() == key.key().fingerprint())
        };
        self.found.cert.keys().map(|key| KeyNote::new(is_chosen(&key), key, now)).collect()
    }

    /// Returns when the certificate expires.
    pub fn expires(&self) -> Option<SystemTime> {
        self.keys.as_ref().ok().and_then(|keys| keys.expires)
    }

    /// Returns the certificate for `--json`.
    pub fn json(&self, now: SystemTime) -> Value {
        let cert = &self.found.cert;
        let user_ids = self.user_ids(now).into_iter();
        json!({
            "fingerprint": cert.fingerprint().to_hex(),
            "version": cert.primary_key().key().version(),
            "recipient": self.recipient,
            "source": self.found.place.name(),
            "files": self.found.files,
            "secret_key": self.found.has_secret,
            "user_ids": user_ids.map(|(id, state)| json!({ "user_id": id, "state": state })).collect::<Vec<_>>(),
            "created": time(cert.primary_key().key().creation_time()),
            "expires": self.expires().map(time),
            "expired": self.keys.as_ref().is_ok_and(|keys| keys.expired),
            "usable": self.keys.is_ok(),
            "reason": self.reason(),
            "keys": self.keys(now).iter().map(KeyNote::json).collect::<Vec<_>>(),
        })
    }

    /// Writes the certificate as text.
    pub fn write(&self, text: &mut String, now: SystemTime) {
        line(text, format_args!("{}", self.found.cert.fingerprint().to_hex()));
        if let Some(recipient) = &self.recipient {
            line(text, format_args!("  for      {recipient}"));
        }
        for file in &self.found.files {
            line(text, format_args!("  file     {file}"));
        }
        for (user_id, state) in self.user_ids(now) {
            let state = if state == "valid" { String::new() } else { format!(" ({state})") };
            line(text, format_args!("  User ID  {user_id}{state}"));
        }
        for key in self.keys(now) {
            line(text, format_args!("  {key}"));
        }
        if self.found.has_secret {
            line(text, format_args!("  error    the SECRET KEY is in the file: it must not be on a server"));
        }
        match &self.keys {
            Ok(keys) if keys.expired => line(text, format_args!("  usable   yes, though it has EXPIRED")),
            Ok(_) => line(text, format_args!("  usable   yes, {}", until(self.expires()))),
            Err(why) => line(text, format_args!("  usable   NO: {}", why.in_words(&words()))),
        }
        text.push('\n');
    }
}

/// A key as it is listed.
struct KeyNote {
    fingerprint: String,
    primary: bool,
    algorithm: String,
    bits: Option<usize>,
    curve: Option<String>,
    created: SystemTime,
    expires: Option<SystemTime>,
    used: bool,
    /// The reason why it is not used, if it is meant for encryption.
    reason: Option<String>,
}

impl KeyNote {
    fn new(used: bool, key: ErasedKeyAmalgamation<'_, key::PublicParts>, now: SystemTime) -> Self {
        let policy = StandardPolicy::new();
        let (bits, curve) = size_of(key.key().mpis());
        Self {
            fingerprint: key.key().fingerprint().to_hex(),
            primary: key.primary(),
            algorithm: key.key().pk_algo().to_string(),
            bits,
            curve,
            created: key.key().creation_time(),
            expires: key.clone().with_policy(&policy, now).ok().and_then(|key| key.key_expiration_time()),
            used,
            reason: if used { None } else { choose::refusal(key, &policy, now) },
        }
    }

    fn json(&self) -> Value {
        json!({
            "fingerprint": self.fingerprint,
            "primary": self.primary,
            "algorithm": self.algorithm,
            "bits": self.bits,
            "curve": self.curve,
            "created": time(self.created),
            "expires": self.expires.map(time),
            "used": self.used,
            "reason": self.reason,
        })
    }
}

impl std::fmt::Display for KeyNote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.primary { "primary" } else { "subkey " };
        write!(f, "{kind}  {} {}", self.fingerprint, self.algorithm)?;
        match (&self.curve, self.bits) {
            (Some(curve), _) => write!(f, " {curve}")?,
            (None, Some(bits)) => write!(f, " {bits}")?,
            (None, None) => {}
        }
        write!(f, ", of {}, {}", day(self.created), until(self.expires))?;
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

fn state_of(user_id: &UserIDAmalgamation<'_>, now: SystemTime) -> &'static str {
    let policy = StandardPolicy::new();
    match user_id.clone().with_policy(&policy, now) {
        Err(_) => "not accepted",
        Ok(valid) if matches!(valid.revocation_status(), RevocationStatus::Revoked(_)) => "revoked",
        Ok(_) => "valid",
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
