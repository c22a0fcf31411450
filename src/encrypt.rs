//! The use case: encrypts a message for its recipients, according to the settings. Read it from top to
//! bottom.

use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

use crate::certs::choose::RecipientKeys;
use crate::certs::chosen::Chosen;
use crate::certs::finder::{Finder, Owner};
use crate::deadline::Deadline;
use crate::envelope::{Envelope, Seal};
use crate::error::{Error, Reason, Result};
use crate::log::{Level, Log};
use crate::message::inspect::{inspect, Inspection};
use crate::message::missing_fields::missing_fields;
use crate::message::original::Original;
use crate::message::{hide_subject, wrap};
use crate::openpgp::crypto::random_hex;
use crate::openpgp::pgp_mime::PgpMime;
use crate::recipient::{Recipient, MAX_RECIPIENTS};
use crate::settings::{Prefer, Settings};
use crate::smime::{self, Smime};

/// The encryption of one message.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// The settings of the user.
    pub settings: &'a Settings,
    /// The owner of the mailbox.
    pub owner: Owner<'a>,
    /// The recipients, as the script writes them. Empty: the owner.
    pub recipients: &'a [&'a [u8]],
    /// Further recipients, besides those or the owner.
    pub also: &'a [&'a [u8]],
    /// True to encrypt a message that is encrypted already.
    pub force: bool,
    /// True to hide the subject even if the settings do not ask for it.
    pub hide_subject: bool,
    /// True to use S/MIME where a recipient has both kinds of certificate, whatever the settings say.
    pub smime: bool,
    /// The time at which certificates must be valid.
    pub now: SystemTime,
    /// When the search for certificates has to end. Reading the message has a deadline of its own.
    pub deadline: Deadline,
    /// Where the index of a large source may outlast the process, if it may.
    pub temp_dir: Option<&'a Path>,
}

/// The outcome of an encryption that did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The encrypted message has been written.
    Encrypted {
        /// The fingerprints of the certificates.
        recipients: Vec<String>,
        /// The size of the original, in bytes.
        bytes_in: u64,
        /// The size of the encrypted message, in bytes.
        bytes_out: u64,
    },
    /// The message was encrypted already, and nothing has been written.
    AlreadyEncrypted,
    /// The owner has no certificate, and the settings have such mail left as it is. Nothing has been written.
    NoCertificate {
        /// Says where the search went, in the front end's words.
        why: String,
    },
}

/// Encrypts `message` and writes the result to `out`. Returns the outcome, and `out`.
///
/// # Errors
///
/// Fails if anything keeps the message from being encrypted. `out` is lost then, with what has been written
/// to it.
pub fn encrypt<W: Write + Send>(
    job: &Job<'_>,
    message: &mut dyn Original,
    out: W,
    log: &dyn Log,
) -> Result<(Outcome, W)> {
    let inspection = inspect(message)?;
    if inspection.encrypted && !job.force {
        log.log(Level::Debug, "the message is encrypted already");
        return Ok((Outcome::AlreadyEncrypted, out));
    }
    let Job { settings, owner, now, deadline, temp_dir, .. } = *job;
    let asked_for = job.smime.then(|| Settings { prefer: Prefer::Smime, ..settings.clone() });
    let settings = asked_for.as_ref().unwrap_or(settings);
    let finder = Finder { settings, owner, now, deadline, temp_dir, log };
    let recipients = match find_recipients(job, &finder)? {
        Ok(recipients) => recipients,
        // Nothing is encrypted for further recipients alone: the owner could not read it.
        Err(why) => return Ok((Outcome::NoCertificate { why }, out)),
    };
    let fingerprints = recipients.iter().map(|r| r.fingerprint().to_owned()).collect();
    let out = Counter { inner: out, bytes: 0 };
    let (bytes_in, out) = match of_one_kind(recipients)? {
        OneKind::OpenPgp(recipients) => {
            let hide_subject = hides_subject(job, &inspection, log);
            let envelope = PgpMime::new(recipients, settings.compress)?;
            write(message, &inspection, &envelope, hide_subject, out)?
        }
        OneKind::X509(recipients) => {
            if job.hide_subject || settings.hide_subject {
                log.log(
                    Level::Info,
                    "the subject stays in clear: no mail program shows a hidden one in S/MIME",
                );
            }
            write(message, &inspection, &Smime::new(recipients), false, out)?
        }
    };
    Ok((Outcome::Encrypted { recipients: fingerprints, bytes_in, bytes_out: out.bytes }, out.inner))
}

/// The recipients of a message, which is in one format.
enum OneKind {
    OpenPgp(Vec<RecipientKeys>),
    X509(Vec<smime::Recipient>),
}

/// Fails if the recipients are of both kinds.
fn of_one_kind(recipients: Vec<Chosen>) -> Result<OneKind> {
    let (mut openpgp, mut x509) = (Vec::new(), Vec::new());
    for recipient in recipients {
        match recipient {
            Chosen::OpenPgp(keys) => openpgp.push(keys),
            Chosen::X509(recipient) => x509.push(smime::Recipient {
                expired: recipient.expired.is_some(),
                cert: recipient.cert,
                fingerprint: recipient.fingerprint,
            }),
        }
    }
    match (openpgp.first(), x509.first()) {
        (Some(one), Some(other)) => {
            let text = format!(
                "certificate {} is one of OpenPGP and certificate {} one of S/MIME, and a message has one format",
                one.fingerprint, other.fingerprint
            );
            let remedy = "name recipients that have certificates of the same kind";
            Err(Error::new(Reason::UnusableCertificate, text).helps(remedy))
        }
        (None, _) => told_apart(x509).map(OneKind::X509),
        (Some(_), None) => Ok(OneKind::OpenPgp(openpgp)),
    }
}

/// Fails if a mail program could not tell which of the keys in the message is for it, and would take the wrong one.
fn told_apart(recipients: Vec<smime::Recipient>) -> Result<Vec<smime::Recipient>> {
    for (n, one) in recipients.iter().enumerate() {
        if let Some(other) = recipients[..n].iter().find(|other| one.cert.is_named_as(&other.cert)) {
            let text = format!(
                "certificates {} and {} have the same issuer and serial number, so that the message could not be read",
                other.fingerprint, one.fingerprint
            );
            return Err(Error::new(Reason::UnusableCertificate, text).helps("remove the older one"));
        }
    }
    Ok(recipients)
}

/// Writes the encrypted message. Returns the size of the original in bytes, and `out`.
fn write<W: Write + Send>(
    message: &mut dyn Original,
    inspection: &Inspection,
    envelope: &impl Envelope,
    hide_subject: bool,
    mut out: W,
) -> Result<(u64, W)> {
    let missing_fields = missing_fields(message, inspection)?;
    wrap::write_header(message, envelope, hide_subject, &mut out)?;
    let mut payload = envelope.open(out)?;
    let bytes_in = if hide_subject {
        hide_subject::write_payload(message, inspection, &missing_fields, &random_hex()?, &mut payload)?
    } else {
        wrap::write_payload(message, &missing_fields, &mut payload)?
    };
    Ok((bytes_in, payload.finish()?))
}

/// Finds the keys of all recipients, each certificate once. Fails if one recipient has none. For an owner whose mail is left
/// as it is then, it returns where the search went.
fn find_recipients(job: &Job<'_>, finder: &Finder<'_>) -> Result<std::result::Result<Vec<Chosen>, String>> {
    let count = job.recipients.len() + job.also.len();
    if count > MAX_RECIPIENTS {
        let text = format!("{count} recipients: {MAX_RECIPIENTS} is the most");
        return Err(Error::new(Reason::BadRecipient, text));
    }
    let mut keys: Vec<Chosen> = Vec::new();
    if job.recipients.is_empty() {
        match finder.owner() {
            Ok(found) => keys = found,
            Err(why) => return Ok(Err(finder.left_without(why)?)),
        }
    }
    for text in job.recipients.iter().chain(job.also) {
        for found in finder.find(&Recipient::parse(text)?)? {
            if !keys.iter().any(|k| k.fingerprint() == found.fingerprint()) {
                keys.push(found);
            }
        }
    }
    for found in &keys {
        let kind = match found {
            Chosen::OpenPgp(keys) => format!("{} key(s)", keys.keys.len()),
            Chosen::X509(_) => "a key for S/MIME".to_owned(),
        };
        finder.log.log(Level::Debug, &format!("certificate {} with {kind}", found.fingerprint()));
    }
    Ok(Ok(keys))
}

/// Returns true if the subject is to be hidden. Hiding puts another part around the message, in which mail
/// programs would not verify the sender's signature.
fn hides_subject(job: &Job<'_>, inspection: &Inspection, log: &dyn Log) -> bool {
    let asked = job.hide_subject || job.settings.hide_subject;
    if asked && inspection.must_be_outermost {
        log.log(
            Level::Info,
            "the subject stays in clear: the message is signed or encrypted by its sender, and mail programs could \
             not verify or open it inside of another part",
        );
    }
    asked && !inspection.must_be_outermost
}

/// Counts the bytes that are written.
struct Counter<W> {
    inner: W,
    bytes: u64,
}

impl<W: Write> Write for Counter<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(data)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
