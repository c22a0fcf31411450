//! What the certificate sources hold, and whether it can be used.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::ArgMatches;
use sequoia_openpgp::cert::amalgamation::key::{ErasedKeyAmalgamation, PrimaryKey};
use sequoia_openpgp::cert::amalgamation::{UserIDAmalgamation, ValidAmalgamation, ValidateAmalgamation};
use sequoia_openpgp::crypto::mpi;
use sequoia_openpgp::packet::key;
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::types::RevocationStatus;
use serde_json::{json, Value};

use perot_encrypt::certs::choose::{self, RecipientKeys};
use perot_encrypt::certs::finder::{display, Finder, Found, Owner};
use perot_encrypt::error::{Error, Reason};
use perot_encrypt::log::printable;
use perot_encrypt::recipient::Recipient;

use crate::{home, settings, words, Done, StandardError};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// One certificate, and what the core says of it.
struct Checked {
    /// For whom it was looked up, printable; `None` if all certificates were asked for.
    recipient: Option<String>,
    found: Found,
    keys: Result<RecipientKeys, Error>,
}

/// Something that is wrong, and not with a certificate that is shown.
struct Problem {
    /// The recipient or the source.
    about: String,
    text: String,
    /// Whether the check itself has failed: nobody knows what else is wrong.
    fatal: bool,
}

#[derive(Default)]
struct Report {
    certificates: Vec<Checked>,
    problems: Vec<Problem>,
    /// Whether there is a recipient who cannot be encrypted to.
    unreachable: bool,
}

/// Shows certificates.
///
/// # Errors
///
/// A wrong option or recipient, or nothing can be written. What is wrong with sources and certificates is part
/// of what is shown.
pub fn run(matches: &mut ArgMatches) -> Done {
    let recipients: Vec<String> = matches.remove_many("recipient").into_iter().flatten().collect();
    let (json, days) = (matches.get_flag("json"), matches.remove_one::<u16>("days"));
    let settings = settings(matches)?;
    let (home, now) = (home(), SystemTime::now());
    let owner = Owner { user: "", recipient: None, home: home.as_deref() };
    let finder = Finder { settings: &settings, owner, now, log: &StandardError };

    let mut report = Report::default();
    for text in &recipients {
        report.look_up(&finder, &Recipient::parse(text.as_bytes())?);
    }
    if recipients.is_empty() {
        report.list(&finder);
    }
    let text = if json { report.json(now) } else { report.text(now) };
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(report.exit_code(days.map(|days| now + u32::from(days) * DAY)))
}

impl Report {
    fn look_up(&mut self, finder: &Finder<'_>, recipient: &Recipient) {
        let name = recipient.name(&words().literal);
        match finder.search(recipient) {
            Ok(found) => {
                let before = self.certificates.len();
                for found in found {
                    self.add(finder, Some(name.clone()), found);
                }
                self.unreachable |= self.certificates[before..].iter().all(|c| c.keys.is_err());
            }
            Err(why) => {
                let text = why.in_words(&words());
                let fatal = !matches!(why.reason(), Reason::NoCertificate | Reason::UnusableCertificate);
                self.unreachable = true;
                self.problems.push(Problem { about: name, text, fatal });
            }
        }
    }

    fn list(&mut self, finder: &Finder<'_>) {
        let mut searched = Vec::new();
        for source in &finder.settings.sources {
            match finder.list(source) {
                Ok(listing) => {
                    searched.push(listing.place.clone());
                    for found in listing.certs {
                        self.add(finder, None, found);
                    }
                    let problem = |text| Problem { about: listing.place.clone(), text, fatal: false };
                    self.problems.extend(listing.problems.into_iter().map(problem));
                }
                Err(why) => {
                    let about = display(source);
                    self.problems.push(Problem { about, text: why.in_words(&words()), fatal: true });
                }
            }
        }
        if self.certificates.is_empty() && self.problems.is_empty() {
            let text = "there is no certificate".to_owned();
            self.problems.push(Problem { about: searched.join(", "), text, fatal: false });
        }
    }

    fn add(&mut self, finder: &Finder<'_>, recipient: Option<String>, found: Found) {
        let keys = choose::choose(&found.cert, finder.now);
        self.certificates.push(Checked { recipient, found, keys });
    }

    /// `until` is the time that every certificate has to outlast.
    fn exit_code(&self, until: Option<SystemTime>) -> ExitCode {
        if self.problems.iter().any(|problem| problem.fatal) {
            return ExitCode::from(crate::TEMPORARY_FAILURE);
        }
        let alarm = until.is_some_and(|until| {
            !self.problems.is_empty() || self.certificates.iter().any(|c| !c.outlasts(until))
        });
        ExitCode::from(u8::from(alarm || self.unreachable))
    }

    fn json(&self, now: SystemTime) -> String {
        let problems = self.problems.iter().map(|p| json!({ "about": p.about, "problem": p.text }));
        let report = json!({
            "certificates": self.certificates.iter().map(|c| c.json(now)).collect::<Vec<_>>(),
            "problems": problems.collect::<Vec<_>>(),
        });
        format!("{report:#}\n")
    }

    fn text(&self, now: SystemTime) -> String {
        let mut text = String::new();
        for certificate in &self.certificates {
            certificate.write(&mut text, now);
        }
        for problem in &self.problems {
            line(&mut text, format_args!("problem: {}: {}", problem.about, problem.text));
        }
        text
    }
}

impl Checked {
    fn outlasts(&self, until: SystemTime) -> bool {
        let lives = |keys: &RecipientKeys| !keys.expired && keys.expires.is_none_or(|end| end > until);
        !self.found.has_secret && self.keys.as_ref().is_ok_and(lives)
    }

    /// Why it cannot be used.
    fn reason(&self) -> Option<String> {
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

    fn expires(&self) -> Option<SystemTime> {
        self.keys.as_ref().ok().and_then(|keys| keys.expires)
    }

    fn json(&self, now: SystemTime) -> Value {
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

    fn write(&self, text: &mut String, now: SystemTime) {
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

/// What is shown of a key.
struct KeyNote {
    fingerprint: String,
    primary: bool,
    algorithm: String,
    bits: Option<usize>,
    curve: Option<String>,
    created: SystemTime,
    expires: Option<SystemTime>,
    used: bool,
    /// Why it is not used, if it was meant to be.
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

/// The size of a key, for algorithms whose keys have sizes, or its curve.
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

fn until(expires: Option<SystemTime>) -> String {
    expires.map_or_else(|| "does not expire".to_owned(), |end| format!("expires {}", day(end)))
}

/// A point in time, to the second.
fn time(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// A point in time, to the day.
fn day(at: SystemTime) -> String {
    time(at).chars().take("2026-12-31".len()).collect()
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = writeln!(text, "{arguments}");
}
