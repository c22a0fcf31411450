//! Writes the man pages of the command-line tool into a folder. The Makefile runs it.

use std::fs;
use std::io;
use std::path::Path;

use clap::Command;
use clap_mangen::roff::{bold, roman, Roff};
use clap_mangen::Man;

#[path = "perot-encrypt/command.rs"]
mod command;

/// Sections of the main page that clap cannot generate from the command line, with their items.
const SECTIONS: [(&str, &[(&str, &str)]); 4] = [
    (
        "ENVIRONMENT",
        &[
            (
                "PEROT_ENCRYPT_CERTS",
                "Certificate sources, separated by spaces, as in the setting sieve_perot_encrypt_certs. The \
                 option --certs goes before it.",
            ),
            ("HOME", "What ~ in a source stands for. Without it: the home directory in the user database."),
            ("TMPDIR", "Where an encrypted message of more than 128 KiB is kept until it is complete. Without it: /tmp."),
        ],
    ),
    (
        "EXIT STATUS",
        &[
            ("0", "It is done."),
            ("1", "check: a recipient has no certificate that can be used, or --days has found something. doctor: \
              something would be stored in clear or deferred. mailbox: something has failed."),
            (
                "75",
                "Anything else (EX_TEMPFAIL), a wrong command line included. Nothing has been written to standard \
                 output, unless standard output itself has failed.",
            ),
        ],
    ),
    (
        "FILES",
        &[
            ("~/pgp-certs", "Certificates of the user."),
            ("/etc/dovecot/pgp-certs", "Certificates of all users."),
        ],
    ),
    (
        "EXAMPLES",
        &[
            ("perot-encrypt me@domain.com < message > encrypted", "Encrypts a message."),
            (
                "perot-encrypt check me@domain.com",
                "Shows to which certificate the mail of this address is encrypted.",
            ),
            (
                "perot-encrypt check --days 30",
                "Ends with 1 if there is a certificate that somebody should look at.",
            ),
        ],
    ),
];

#[allow(dead_code)] // tests include this file
fn main() -> io::Result<()> {
    let folder = std::env::args_os().nth(1).ok_or_else(|| io::Error::other("man FOLDER"))?;
    pages(Path::new(&folder))
}

/// Writes a page for the tool, and one for each subcommand.
pub fn pages(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut command = command::command();
    command.build();
    for subcommand in command.get_subcommands() {
        man(subcommand.clone()).generate_to(folder)?;
    }
    let man = man(command);
    let mut page = Vec::new();
    man.render(&mut page)?;
    page.extend(in_place_of_gpgit()?);
    sections().to_writer(&mut page)?;
    fs::write(folder.join(man.get_filename()), page)
}

fn man(command: Command) -> Man {
    let version = command.get_version().unwrap_or(env!("CARGO_PKG_VERSION")).to_owned();
    // Man pages have a date here. The version is written instead, so that each build gives the same page.
    Man::new(command).date(version).source("perot-encrypt").manual("User Commands")
}

/// Returns the section with gpgit's options.
fn in_place_of_gpgit() -> io::Result<Vec<u8>> {
    let mut options = Vec::new();
    Man::new(command::gpgit()).render_options_section(&mut options)?;
    let mut section = Roff::new();
    section.control("SH", ["IN PLACE OF GPGIT"]);
    section.text([roman(
        "Called by a name that begins with gpgit, through a symbolic link for instance, it takes these arguments:",
    )]);
    let options = String::from_utf8_lossy(&options).into_owned();
    let (_, items) = options.split_once(".SH OPTIONS\n").ok_or_else(|| io::Error::other("no options"))?;
    Ok([section.render().as_bytes(), items.as_bytes()].concat())
}

fn sections() -> Roff {
    let mut roff = Roff::new();
    for (heading, items) in SECTIONS {
        roff.control("SH", [heading]);
        for (term, text) in items {
            roff.control("TP", []);
            roff.text([bold(*term)]);
            roff.text([roman(*text)]);
        }
    }
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman("gpg(1), sievec(1), procmail(1), maildrop(1)")]);
    roff
}
