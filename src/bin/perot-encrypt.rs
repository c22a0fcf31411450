//! Encrypts a message on its way from standard input to standard output, as the Sieve extension
//! `vnd.perot.encrypt` does it in Dovecot.

use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Arg, ArgAction, Command};

use perot_encrypt::certs::Owner;
use perot_encrypt::encrypt::{encrypt, Job, Outcome};
use perot_encrypt::log::{Level, Log};
use perot_encrypt::message::MOST_BYTES;
use perot_encrypt::settings::{Loaded, RawSettings};

/// EX_TEMPFAIL of sysexits.h: a mail server keeps the message and tries again.
const TEMPORARY_FAILURE: u8 = 75;

const ABOUT: &str = "Encrypts the message on standard input, and writes it to standard output.\n\n\
    A message that is encrypted already is written as it is. On failure nothing is written, and the exit \
    status is 75 (EX_TEMPFAIL).";

struct Arguments {
    certs: Vec<String>,
    force: bool,
    recipients: Vec<String>,
}

fn command() -> Command {
    Command::new("perot-encrypt")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .arg(Arg::new("certs").long("certs").value_name("SOURCE").action(ArgAction::Append).help(
            "A certificate source: a folder, a keyring file or an OpenPGP certificate directory. May be given \
             several times. Without it: ~/pgp-certs and /etc/dovecot/pgp-certs",
        ))
        .arg(
            Arg::new("force")
                .long("force")
                .action(ArgAction::SetTrue)
                .help("Encrypt a message that is encrypted already, too"),
        )
        .arg(
            Arg::new("recipient")
                .value_name("RECIPIENT")
                .action(ArgAction::Append)
                .required(true)
                .help("For whom: an e-mail address, a fingerprint, or an armored certificate"),
        )
}

impl Arguments {
    fn parse() -> Self {
        let mut matches = command().get_matches();
        let mut all = |name: &str| matches.remove_many(name).into_iter().flatten().collect();
        Self { certs: all("certs"), recipients: all("recipient"), force: matches.get_flag("force") }
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("perot-encrypt: {why}");
            ExitCode::from(TEMPORARY_FAILURE)
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let certs = (!arguments.certs.is_empty()).then(|| arguments.certs.join(" "));
    let raw = RawSettings { certs: certs.as_ref().map(String::as_bytes), ..RawSettings::default() };
    let settings = Loaded::new(&raw).settings?;
    let home = std::env::var("HOME").ok();
    let recipients: Vec<&[u8]> = arguments.recipients.iter().map(String::as_bytes).collect();
    let job = Job {
        settings: &settings,
        owner: Owner { user: "", recipient: None, home: home.as_deref() },
        recipients: &recipients,
        force: arguments.force,
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
    Ok(())
}

struct StandardError;

impl Log for StandardError {
    fn log(&self, level: Level, line: &str) {
        if level != Level::Debug {
            eprintln!("perot-encrypt: {line}");
        }
    }
}
