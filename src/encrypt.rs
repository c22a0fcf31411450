//! The whole of it: from settings, recipients and a message to the encrypted message.

use std::io::Write;
use std::time::SystemTime;

use crate::certs::keys::RecipientKeys;
use crate::certs::{Finder, Owner};
use crate::error::{Error, Reason, Result};
use crate::log::{Level, Log};
use crate::message::assemble::{self, unwritable};
use crate::message::inspect::{inspect, Inspection};
use crate::message::{protect, Source};
use crate::openpgp;
use crate::recipient::{Recipient, MOST_RECIPIENTS};
use crate::settings::Settings;

/// What is to be done with one message.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// The settings of the user.
    pub settings: &'a Settings,
    /// Whose mail it is.
    pub owner: Owner<'a>,
    /// For whom to encrypt; for the owner, if empty.
    pub recipients: &'a [&'a [u8]],
    /// Whether to encrypt what is encrypted already.
    pub force: bool,
    /// Whether to hide the subject, whatever the settings say.
    pub hide_subject: bool,
    /// The time at which certificates must be valid.
    pub now: SystemTime,
}

/// What became of the message.
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
    /// It was encrypted already, and nothing has been written.
    AlreadyEncrypted,
}

/// Encrypts the message in `source` into `out`.
///
/// # Errors
///
/// Anything that keeps it from being encrypted. What has been written by then is of no use.
pub fn encrypt(
    job: &Job<'_>,
    source: &mut dyn Source,
    out: &mut (dyn Write + Send + Sync),
    log: &dyn Log,
) -> Result<Outcome> {
    let inspection = inspect(source)?;
    if inspection.encrypted && !job.force {
        log.log(Level::Debug, "the message is encrypted already");
        return Ok(Outcome::AlreadyEncrypted);
    }
    let recipients = find_keys(job, log)?;
    let hide_subject = hides_subject(job, &inspection, log);
    let mut out = Counter { inner: out, bytes: 0 };
    let bytes_in = write_encrypted(source, &inspection, &recipients, hide_subject, &mut out)?;
    let recipients = recipients.into_iter().map(|r| r.fingerprint).collect();
    Ok(Outcome::Encrypted { recipients, bytes_in, bytes_out: out.bytes })
}

/// The keys of all recipients, each certificate once. One that has none fails the whole.
fn find_keys(job: &Job<'_>, log: &dyn Log) -> Result<Vec<RecipientKeys>> {
    let finder = Finder { settings: job.settings, owner: job.owner, now: job.now, log };
    if job.recipients.len() > MOST_RECIPIENTS {
        let text = format!("{} recipients: {MOST_RECIPIENTS} is the most", job.recipients.len());
        return Err(Error::new(Reason::BadRecipient, text));
    }
    let mut keys: Vec<RecipientKeys> = Vec::new();
    if job.recipients.is_empty() {
        keys = finder.owner()?;
    }
    for text in job.recipients {
        for found in finder.find(&Recipient::parse(text)?)? {
            if !keys.iter().any(|k| k.fingerprint == found.fingerprint) {
                keys.push(found);
            }
        }
    }
    for found in &keys {
        log.log(Level::Debug, &format!("certificate {} with {} key(s)", found.fingerprint, found.keys.len()));
    }
    Ok(keys)
}

/// Whether the subject is to be hidden. That takes another part around the message, and mail programs do not
/// verify a signature inside of that.
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

/// Writes the encrypted message; the size of the original in bytes.
fn write_encrypted(
    source: &mut dyn Source,
    inspection: &Inspection,
    recipients: &[RecipientKeys],
    hide_subject: bool,
    out: &mut Counter<'_>,
) -> Result<u64> {
    let boundary = openpgp::random_boundary()?;
    let missing_fields = assemble::missing_fields(source, inspection)?;
    assemble::write_header(source, out, recipients, &boundary, hide_subject)?;
    out.write_all(assemble::body_start(&boundary).as_bytes()).map_err(|e| unwritable(&e))?;
    let bytes_in = openpgp::write_message(recipients, out, |payload| {
        if hide_subject {
            protect::write_payload(source, &missing_fields, &openpgp::random_boundary()?, payload)
        } else {
            assemble::write_payload(source, &missing_fields, payload)
        }
    })?;
    out.write_all(assemble::body_end(&boundary).as_bytes()).map_err(|e| unwritable(&e))?;
    Ok(bytes_in)
}

/// Counts what is written.
struct Counter<'a> {
    inner: &'a mut (dyn Write + Send + Sync),
    bytes: u64,
}

impl Write for Counter<'_> {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(data)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}
