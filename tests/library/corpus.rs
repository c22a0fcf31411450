//! Passes real and hostile messages of other projects through the library.

use perot_encrypt::encrypt::Outcome;
use perot_testing::{armored, corpus, decrypt, encrypt_to, key_for, settings, with_crlf};

#[test]
#[ignore = "needs the messages in ../shared/corpus: make test runs it where they are"]
fn every_message_is_encrypted_or_left_as_it_should_be() {
    let key = key_for("me@example.org");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("me.asc"), armored(&key)).unwrap();
    let settings = settings(&[folder.path()]);
    let samples = corpus::samples();
    let mut wrong = Vec::new();
    for sample in &samples {
        for (form, message) in [("as it is", sample.message.clone()), ("CRLF", with_crlf(&sample.message))] {
            let (outcome, encrypted) = encrypt_to(&settings, &[b"me@example.org"], &message).unwrap();
            let left = outcome == Outcome::AlreadyEncrypted;
            let right = match sample.expect.as_str() {
                "encrypt" => !left,
                "leave" => left,
                _ => true,
            };
            if !right {
                wrong.push(format!("{} ({form}): expected {}, left = {left}", sample.name, sample.expect));
            }
            if !left {
                let payload = decrypt(&encrypted, &key);
                assert!(contains_original(&payload, &message), "{} ({form}) was altered", sample.name);
            }
        }
    }
    assert!(samples.len() >= 837, "{} samples", samples.len());
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Returns true if `payload` is the message, apart from the additions that are allowed.
fn contains_original(payload: &[u8], message: &[u8]) -> bool {
    let mut original = with_crlf(message);
    if original.starts_with(b"From ") {
        let end = original.iter().position(|&b| b == b'\n').map_or(original.len(), |n| n + 1);
        original.drain(..end);
    }
    [&b""[..], b"\r\n", b"\r\n\r\n"].iter().any(|end_of_header| {
        let rest = payload.strip_suffix(*end_of_header).and_then(|p| p.strip_suffix(original.as_slice()));
        rest.is_some_and(|r| r.is_empty() || r.starts_with(b"Content-Type: text/plain; charset="))
    })
}
