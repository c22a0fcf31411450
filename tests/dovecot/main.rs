//! Tests of the plugin in a real Dovecot.

mod abi;
mod actions;
mod alias;
mod apparmor;
mod back;
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
mod musl;
mod readers;
mod saved;
mod scripts;
mod shared;
mod sieve;
mod smime;
mod smime_readers;
mod sources;
mod store;
mod store_beside;
mod store_load;
mod store_plugins;
mod store_saved;
mod store_scripts;
mod store_waits;
mod streaming;
mod subject;
mod users;

use std::path::Path;
use std::process::Command;

use perot_testing::dovecot::{run, Config, Dovecot};

/// The body of every message has it, and no file may.
const SECRET: &str = "nightingale";

/// Makes a message with this subject.
fn message(subject: &str) -> Vec<u8> {
    format!(
        "From: a@example.net\r\nTo: me@domain.com\r\nSubject: {subject}\r\nMessage-ID: <{subject}@example.net>\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\nThe {SECRET} sings.\r\n"
    )
    .into_bytes()
}

/// Makes a script that requires the extension.
fn script(requires: &str, body: &str) -> String {
    format!("require [\"vnd.perot.encrypt\"{requires}];\n{body}\n")
}

/// Returns an `encrypt` to a certificate in the script.
fn literal(armored: &[u8]) -> String {
    format!("encrypt text:\n{}\n.\n;", String::from_utf8_lossy(armored).replace("\r\n", "\n"))
}

/// Panics unless nothing is stored for the user, and no file has plaintext.
fn assert_nothing_stored(dovecot: &Dovecot, user: &str) {
    let stored = dovecot.stored(user);
    assert!(stored.is_empty(), "{user} has {} messages; the log:\n{}", stored.len(), dovecot.log());
    dovecot.assert_nowhere(SECRET);
}

/// Compiles a file of this folder into a library that Dovecot's processes can preload.
fn compile_library(source: &str, library: &Path) {
    let mut compile = Command::new("cc");
    compile.args(["-g", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o"]).arg(library);
    let output = run(compile.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dovecot").join(source)));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Starts a Dovecot with the defaults.
fn start() -> Dovecot {
    Dovecot::start(&Config::default())
}

/// Returns a header field in which [`slow_tests`] search.
fn slow_field() -> String {
    format!("X-A: {}\r\n", "a".repeat(300_000))
}

/// Returns tests of a script that take long: Pigeonhole takes about as many steps to find a long text in a longer one as
/// the product of their lengths.
fn slow_tests(count: usize) -> String {
    let needle = "a".repeat(10_000) + "b";
    format!("if header :contains \"x-a\" \"{needle}\" {{ stop; }}\n").repeat(count)
}
