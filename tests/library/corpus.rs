//! Passes real and hostile messages of other projects through the library, and has the result parsed by others.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;
use std::process::Command;

use perot_encrypt::encrypt::Outcome;
use perot_encrypt::settings::Settings;
use perot_testing::pages::project;
use perot_testing::{armored, corpus, decrypt, encrypt_to, find, key_for, settings, with_crlf};
use sequoia_openpgp::Cert;

struct Fixture {
    key: Cert,
    settings: Settings,
    _folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let key = key_for("me@example.org");
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("me.asc"), armored(&key)).unwrap();
        Self { key, settings: settings(&[folder.path()]), _folder: folder }
    }

    /// Returns the encrypted message and its payload, or `None` if the message was encrypted already.
    fn encrypt(&self, message: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let (outcome, encrypted) = encrypt_to(&self.settings, &[b"me@example.org"], message).unwrap();
        (outcome != Outcome::AlreadyEncrypted).then(|| {
            let payload = decrypt(&encrypted, &self.key);
            (encrypted, payload)
        })
    }
}

fn forms(message: &[u8]) -> [(&'static str, Vec<u8>); 2] {
    [("as it is", message.to_vec()), ("CRLF", with_crlf(message))]
}

#[test]
#[ignore = "needs the messages in ../shared/corpus: make test runs it where they are"]
fn every_message_is_encrypted_or_left_as_it_should_be() {
    let fixture = Fixture::new();
    let samples = corpus::samples();
    let mut wrong = Vec::new();
    for sample in &samples {
        for (form, message) in forms(&sample.message) {
            let encrypted = fixture.encrypt(&message);
            let left = encrypted.is_none();
            let right = match sample.expect.as_str() {
                "encrypt" => !left,
                "leave" => left,
                _ => true,
            };
            if !right {
                wrong.push(format!("{} ({form}): expected {}, left = {left}", sample.name, sample.expect));
            }
            let unaltered = encrypted.is_none_or(|(_, payload)| contains_original(&payload, &message));
            assert!(unaltered, "{} ({form}) was altered", sample.name);
        }
    }
    assert!(samples.len() >= 837, "{} samples", samples.len());
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Returns the message as it is in the payload: with CR LF, and without a line of mbox in front.
fn original(message: &[u8]) -> Vec<u8> {
    let mut original = with_crlf(message);
    if original.starts_with(b"From ") {
        let end = original.iter().position(|&b| b == b'\n').map_or(original.len(), |n| n + 1);
        original.drain(..end);
    }
    original
}

/// Returns true if `payload` is the message, apart from the additions that are allowed.
fn contains_original(payload: &[u8], message: &[u8]) -> bool {
    let original = original(message);
    [&b""[..], b"\r\n", b"\r\n\r\n"].iter().any(|end_of_header| {
        let rest = payload.strip_suffix(*end_of_header).and_then(|p| p.strip_suffix(original.as_slice()));
        rest.is_some_and(|r| r.is_empty() || r.starts_with(b"Content-Type: text/plain; charset="))
    })
}

/// Python reads what is stored as `multipart/encrypted`, and in the payload the parts of the original.
#[test]
#[ignore = "needs the messages in ../shared/corpus: make test runs it where they are"]
fn python_reads_the_same() {
    let mut fixture = Fixture::new();
    let mut records = tempfile::tempfile().unwrap();
    let (mut count, mut same) = (0, 0);
    for sample in corpus::samples() {
        for hide_subject in [false, true] {
            fixture.settings.hide_subject = hide_subject;
            let mut written = None;
            for (form, message) in forms(&sample.message) {
                let Some((stored, payload)) = fixture.encrypt(&message) else { continue };
                // Where both forms become the same, Python would read the same twice.
                let written_before = written.replace(without_chance(&stored, &payload));
                if written_before.is_some() && written_before == written {
                    same += 1;
                    continue;
                }
                let hidden = find(&payload, b"multipart/mixed; protected-headers=\"v1\";").is_some();
                let name = format!("{}, {form}, {}", sample.name, if hidden { "hidden" } else { "whole" });
                for field in [name.as_bytes(), &original(&message), &stored, &payload] {
                    records.write_all(&(field.len() as u64).to_be_bytes()).unwrap();
                    records.write_all(field).unwrap();
                }
                count += 1;
            }
        }
    }
    records.rewind().unwrap();
    assert_eq!(parse(&project("tests/library/parse.py"), records), format!("{count} parsed\n"));
    assert!(count + same > 3000, "{count} messages, and {same} that are the same with CRLF");
}

/// Returns what is written, without the parts that are different each time: boundaries and ciphertext.
fn without_chance(stored: &[u8], payload: &[u8]) -> Vec<u8> {
    let outer = &stored[..find(stored, b"Encrypted-On-Delivery: pgp-mime").unwrap()];
    let begin: &[u8] = b"protected-headers=\"v1\";\r\n boundary=\"";
    let mut payload = payload.to_vec();
    if let Some(at) = find(&payload, begin) {
        let boundary = payload[at + begin.len()..][..32].to_vec();
        while let Some(at) = find(&payload, &boundary) {
            payload[at..at + 32].fill(b'x');
        }
    }
    [outer, &payload].concat()
}

/// Runs the parser, and returns what it says.
fn parse(program: &Path, records: File) -> String {
    let mut python = Command::new("python3");
    let output = python.arg(program).stdin(records).output().expect("apt install python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
