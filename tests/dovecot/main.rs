//! The plugin in a real Dovecot.

mod abi;
mod actions;
mod cluster;
mod corpus;
mod delivery;
mod doctor;
mod documents;
mod existing;
mod exports;
mod failing;
mod faults;
mod filter;
mod guides;
mod injection;
mod isolation;
mod later;
mod load;
mod mail_crypt;
mod managesieve;
mod memory;
mod metrics;
mod mta;
mod readers;
mod saved;
mod scripts;
mod sieve;
mod streaming;
mod subject;
mod users;

use perot_testing::dovecot::{Config, Dovecot};

/// Stands in the body of every message here, and must not be found in any file.
const SECRET: &str = "nightingale";

/// A message with a subject of its own.
fn message(subject: &str) -> Vec<u8> {
    format!(
        "From: a@example.net\r\nTo: me@domain.com\r\nSubject: {subject}\r\nMessage-ID: <{subject}@example.net>\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\nThe {SECRET} sings.\r\n"
    )
    .into_bytes()
}

/// A script that begins with the `require` of ours.
fn script(requires: &str, body: &str) -> String {
    format!("require [\"vnd.perot.encrypt\"{requires}];\n{body}\n")
}

/// An `encrypt` to a certificate that stands in the script.
fn literal(armored: &[u8]) -> String {
    format!("encrypt text:\n{}\n.\n;", String::from_utf8_lossy(armored).replace("\r\n", "\n"))
}

/// Panics unless nothing is stored for the user, and nothing lies anywhere in clear.
fn assert_nothing_stored(dovecot: &Dovecot, user: &str) {
    let stored = dovecot.stored(user);
    assert!(stored.is_empty(), "{user} has {} messages; the log:\n{}", stored.len(), dovecot.log());
    dovecot.assert_nowhere(SECRET);
}

/// A Dovecot with the defaults.
fn start() -> Dovecot {
    Dovecot::start(&Config::default())
}
