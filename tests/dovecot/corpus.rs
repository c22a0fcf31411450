//! Delivers real and hostile messages of other projects over LMTP.

use crate::{script, start};
use perot_testing::corpus::samples;
use perot_testing::dovecot::Lmtp;
use perot_testing::{armored, decrypt, find, key_for, with_crlf};

const ME: &str = "me@domain.com";

/// Changes a message as LMTP and Dovecot do: for instance, the last line gets a line end.
fn as_delivered(message: &[u8]) -> Vec<u8> {
    let mut message = with_crlf(message);
    if !message.ends_with(b"\n") {
        message.extend_from_slice(b"\r\n");
    }
    message
}

#[test]
#[ignore = "needs the messages in ../shared/corpus: make test runs it where they are"]
fn every_message_is_stored_as_it_should_be() {
    let dovecot = start();
    let key = key_for(ME);
    dovecot.give(ME, "k.asc", &armored(&key));
    dovecot.script(ME, &script("", "encrypt;"));
    let maildir = dovecot.home(ME).join("Maildir");
    let mut wrong = Vec::new();
    let samples = samples();
    for sample in &samples {
        let mut session = Lmtp::connect(&dovecot.path("run/lmtp"));
        let answer = session.deliver(&[ME], &sample.message).remove(0);
        if !answer.starts_with("250 ") {
            wrong.push(format!("{}: {answer}", sample.name));
            continue;
        }
        let stored = dovecot.only_message(ME);
        std::fs::remove_dir_all(&maildir).unwrap();
        let encrypted =
            find(&stored, b"\nEncrypted-On-Delivery: pgp-mime; agent=\"vnd.perot.encrypt/").is_some();
        let original = as_delivered(&sample.message);
        let content = if encrypted { decrypt(&stored, &key) } else { with_crlf(&stored) };
        // Dovecot puts fields before the header, which may have got an end.
        let ends: [&[u8]; 3] = [b"", b"\r\n", b"\r\n\r\n"];
        let complete =
            ends.iter().any(|end| content.strip_suffix(*end).is_some_and(|c| c.ends_with(&original)));
        let right = match sample.expect.as_str() {
            "encrypt" => encrypted,
            "leave" => !encrypted,
            _ => true,
        };
        if !(right && complete) {
            wrong.push(format!(
                "{}: {}, encrypted = {encrypted}, complete = {complete}",
                sample.name, sample.expect
            ));
        }
    }
    assert!(samples.len() >= 837, "{} samples", samples.len());
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
