//! A message on its way from standard input to standard output.

use std::error::Error;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::ArgMatches;

use perot_encrypt::certs::Owner;
use perot_encrypt::encrypt::{encrypt, Job, Outcome};
use perot_encrypt::message::MOST_BYTES;
use perot_encrypt::settings::{Loaded, RawSettings};

use crate::StandardError;

/// Encrypts standard input to standard output.
///
/// # Errors
///
/// Anything that keeps the message from being encrypted. Nothing has been written then.
pub fn run(matches: &mut ArgMatches) -> Result<ExitCode, Box<dyn Error>> {
    let mut all = |name: &str| matches.remove_many::<String>(name).into_iter().flatten().collect::<Vec<_>>();
    let (certs, recipients) = (all("certs"), all("recipient"));
    let certs = (!certs.is_empty()).then(|| certs.join(" "));
    let raw = RawSettings { certs: certs.as_ref().map(String::as_bytes), ..RawSettings::default() };
    let settings = Loaded::new(&raw).settings?;
    let home = std::env::var("HOME").ok();
    let recipients: Vec<&[u8]> = recipients.iter().map(String::as_bytes).collect();
    let job = Job {
        settings: &settings,
        owner: Owner { user: "", recipient: None, home: home.as_deref() },
        recipients: &recipients,
        force: matches.get_flag("force"),
        hide_subject: matches.get_flag("hide-subject"),
        now: SystemTime::now(),
    };

    // Standard input is read twice, may be a pipe, and must not lie in a file in clear.
    let mut message = Vec::new();
    io::stdin().lock().take(MOST_BYTES + 1).read_to_end(&mut message)?;
    let mut message = Cursor::new(message);
    // Nothing may be written before all of it is right.
    let mut encrypted = tempfile::tempfile()?;
    let mut out = io::stdout().lock();
    match encrypt(&job, &mut message, &mut encrypted, &StandardError)? {
        Outcome::AlreadyEncrypted => out.write_all(message.get_ref())?,
        Outcome::Encrypted { .. } => {
            encrypted.seek(SeekFrom::Start(0))?;
            io::copy(&mut encrypted, &mut out)?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
