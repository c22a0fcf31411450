//! The command-line tool: what the Sieve extension `vnd.perot.encrypt` does in Dovecot, for a message on
//! standard input, and what an administrator needs around it.

mod command;
mod filter;
mod mailbox;

use std::error::Error;
use std::process::ExitCode;

use perot_encrypt::log::{Level, Log};

/// EX_TEMPFAIL of sysexits.h: a mail server keeps the message and tries again.
const TEMPORARY_FAILURE: u8 = 75;

fn main() -> ExitCode {
    let mut matches = command::command().get_matches();
    let done: Result<ExitCode, Box<dyn Error>> = match matches.remove_subcommand() {
        Some((name, mut matches)) if name == "mailbox" => mailbox::run(&mut matches),
        Some((name, _)) => unreachable!("clap knows no subcommand {name}"),
        None => filter::run(&mut matches),
    };
    done.unwrap_or_else(|why| {
        eprintln!("perot-encrypt: {why}");
        ExitCode::from(TEMPORARY_FAILURE)
    })
}

/// The log of the tool: standard error.
struct StandardError;

impl Log for StandardError {
    fn log(&self, level: Level, line: &str) {
        if level != Level::Debug {
            eprintln!("perot-encrypt: {line}");
        }
    }
}
