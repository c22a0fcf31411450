//! The command-line tool: encrypts a message on standard input as the Sieve extension `vnd.perot.encrypt`
//! does in Dovecot, and has subcommands for administrators.

mod certificate;
mod check;
mod command;
mod doctor;
mod dovecot;
mod filter;
mod mailbox;

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::LazyLock;

use clap::ArgMatches;

use perot_encrypt::error::{Error as CoreError, Words};
use perot_encrypt::guard::{guard, quiet_panics, Panicked};
use perot_encrypt::log::{Level, Log};
use perot_encrypt::openpgp::crypto::library_in_words;
use perot_encrypt::settings::{Loaded, RawSettings, Settings};

/// EX_TEMPFAIL of sysexits.h, on which a mail server keeps the message and tries again. Every failure ends
/// with it, even a wrong command line: on other numbers, mail servers return the message to its sender.
const TEMPORARY_FAILURE: u8 = 75;

/// What `--version` says.
static VERSION: LazyLock<String> =
    LazyLock::new(|| format!("{}\n{}", env!("CARGO_PKG_VERSION"), library_in_words()));

type Done = Result<ExitCode, Box<dyn Error>>;

fn main() -> ExitCode {
    quiet_panics();
    let done = guard(|| run(std::env::args_os().collect()));
    let done = done.unwrap_or_else(|Panicked(place)| Err(CoreError::panicked(&place).into()));
    done.unwrap_or_else(|why| {
        say(&in_words(&*why));
        ExitCode::from(TEMPORARY_FAILURE)
    })
}

fn run(arguments: Vec<OsString>) -> Done {
    let called_gpgit = arguments.first().is_some_and(|name| is_gpgit(Path::new(name)));
    let command = if called_gpgit { command::gpgit() } else { command::command() };
    let command = command.long_version(VERSION.as_str());
    let mut matches = match command.try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(asked) if asked.exit_code() == 0 => {
            io::stdout().write_all(asked.to_string().as_bytes())?;
            return Ok(ExitCode::SUCCESS);
        }
        Err(wrong) => return Err(wrong.to_string().trim_end().into()),
    };
    if called_gpgit {
        return filter::gpgit(&mut matches);
    }
    match matches.remove_subcommand() {
        Some((name, mut matches)) if name == "check" => check::run(&mut matches),
        Some((name, mut matches)) if name == "doctor" => doctor::run(&mut matches),
        Some((name, mut matches)) if name == "mailbox" => mailbox::run(&mut matches),
        Some((name, _)) => Err(format!("there is no subcommand {name}").into()),
        None => filter::run(&mut matches),
    }
}

/// Returns true if this program is called by the name of the one that it replaces: `gpgit`, `gpgit.pl`.
fn is_gpgit(program: &Path) -> bool {
    program.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"gpgit"))
}

/// The tool's words for the things that errors name.
fn words() -> Words {
    Words {
        setting_prefix: "--".into(),
        assigns: " ".into(),
        temporary_room: "for temporary files (TMPDIR)".into(),
        ..Words::default()
    }
}

/// Makes settings of the options and the environment.
fn settings(matches: &mut ArgMatches) -> Result<Settings, CoreError> {
    let sources: Vec<String> = matches.remove_many("certs").into_iter().flatten().collect();
    let certs = (!sources.is_empty()).then(|| sources.join(" "));
    // gpgit had nothing like it.
    let subkeys = matches.try_remove_one::<String>("subkeys").unwrap_or_default();
    let prefer = matches.try_remove_one::<String>("prefer").unwrap_or_default();
    let raw = RawSettings {
        certs: certs.as_ref().map(String::as_bytes),
        subkeys: subkeys.as_ref().map(String::as_bytes),
        prefer: prefer.as_ref().map(String::as_bytes),
        ..RawSettings::default()
    };
    Loaded::new(&raw, words()).settings
}

/// Returns the home directory for sources below `~`: `$HOME`, or else that of the user database.
#[allow(deprecated)] // deprecated before Rust 1.87, because of Windows
fn home() -> Option<String> {
    std::env::home_dir()?.into_os_string().into_string().ok()
}

/// Writes a line to standard error. If that fails, there is nowhere to report it.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "perot-encrypt: {line}");
}

fn in_words(why: &(dyn Error + 'static)) -> String {
    why.downcast_ref::<CoreError>().map_or_else(|| why.to_string(), |why| why.in_words(&words()))
}

/// The log of the tool, without debug lines.
struct StandardError;

impl Log for StandardError {
    fn log(&self, level: Level, line: &str) {
        if level != Level::Debug {
            say(line);
        }
    }
}
