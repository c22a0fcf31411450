//! Encrypts the message on standard input, as a filter in a pipe does.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::ArgMatches;

use perot_encrypt::certs::finder::Owner;
use perot_encrypt::deadline::Deadline;
use perot_encrypt::encrypt::{encrypt, Job, Outcome};
use perot_encrypt::error::{Error as CoreError, Unwritable};
use perot_encrypt::message::original::MAX_BYTES;
use perot_encrypt::settings::Settings;
use perot_encrypt::spool::{Spool, Waiting};

use crate::{home, say, settings, Done, StandardError};

/// Encrypts standard input and writes the result to standard output.
///
/// # Errors
///
/// Fails if anything keeps the message from being encrypted. Nothing has been written then, unless it was
/// standard output that failed.
pub fn run(matches: &mut ArgMatches) -> Done {
    let force = matches.get_flag("force");
    let mut settings = settings(matches)?;
    settings.hide_subject = matches.get_flag("hide-subject");
    settings.compress = matches.get_flag("compress");
    filter(&settings, &recipients(matches), force)
}

/// Does the same with gpgit's arguments.
///
/// # Errors
///
/// The errors of [`run`].
pub fn gpgit(matches: &mut ArgMatches) -> Done {
    let mode = matches.remove_one::<String>("encrypt-mode").unwrap_or_default();
    if mode != "pgpmime" {
        say(&format!(
            "--encrypt-mode {mode}: PGP/MIME is written all the same, for inline PGP has no place for attachments, \
             other parts and character sets: they would be lost or stay readable"
        ));
    }
    if matches.get_flag("inline-flatten") {
        say("--inline-flatten: no part of the message is left out");
    }
    let mut settings = settings(matches)?;
    settings.compress = matches.get_flag("compress");
    filter(&settings, &recipients(matches), false)
}

fn recipients(matches: &mut ArgMatches) -> Vec<String> {
    matches.remove_many("recipient").into_iter().flatten().collect()
}

fn filter(settings: &Settings, recipients: &[String], force: bool) -> Done {
    let home = home();
    let recipients: Vec<&[u8]> = recipients.iter().map(String::as_bytes).collect();
    #[cfg(feature = "inject-panic")]
    assert!(!recipients.contains(&b"panic@test.invalid".as_slice()), "injected");
    let job = Job {
        settings,
        owner: Owner { user: "", recipient: None, home: home.as_deref() },
        recipients: &recipients,
        also: &[],
        force,
        hide_subject: false,
        smime: false,
        now: SystemTime::now(),
        deadline: Deadline::NONE,
        temp_dir: None,
    };
    let mut message = standard_input()?;
    // A failure must leave standard output empty, so the result waits until it is complete.
    let spool = Spool::new(std::env::temp_dir());
    let (outcome, spool) = encrypt(&job, &mut message, spool, &StandardError)?;
    match (outcome, spool.finish().map_err(Unwritable).map_err(CoreError::from)?) {
        (Outcome::AlreadyEncrypted | Outcome::NoCertificate { .. }, _) => {
            message.rewind()?;
            write_out(&mut message)
        }
        (Outcome::Encrypted { .. }, Waiting::File(mut file)) => write_out(&mut file),
        (Outcome::Encrypted { .. }, Waiting::Memory(memory)) => write_out(&mut memory.as_slice()),
    }?;
    Ok(ExitCode::SUCCESS)
}

trait Rewindable: Read + Seek {}

impl<T: Read + Seek> Rewindable for T {}

/// Opens standard input for reading it several times. If it is not a file, it is kept in memory: a temporary
/// file would have the message on the disk in clear.
fn standard_input() -> io::Result<Box<dyn Rewindable>> {
    let mut file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    // If somebody has read the beginning of the file, only the rest is the message.
    if file.metadata()?.is_file() && file.stream_position()? == 0 {
        return Ok(Box::new(file));
    }
    let mut message = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut message)?;
    Ok(Box::new(Cursor::new(message)))
}

fn write_out(message: &mut impl Read) -> io::Result<()> {
    let mut out = io::stdout().lock();
    io::copy(message, &mut out)?;
    out.flush()
}
