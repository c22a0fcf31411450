//! Delivers mail over LMTP, which is stored encrypted.

use std::fs;

use perot_testing::dovecot::{Config, Dovecot};
use perot_testing::{armored, decrypt, key_for};

const MESSAGE: &[u8] = b"From: a@example.net\r\nTo: me@domain.com\r\nSubject: hello\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\r\nthe quick brown secret\r\n";

#[test]
fn a_message_is_stored_encrypted() {
    let key = key_for("me@domain.com");
    let dovecot = Dovecot::start(&Config::default());
    fs::write(dovecot.certs().join("me.asc"), armored(&key)).unwrap();
    dovecot.script("me@domain.com", "require \"vnd.perot.encrypt\"; encrypt \"me@domain.com\";");
    let answer = dovecot.deliver("me@domain.com", MESSAGE);
    assert!(answer.starts_with("250"), "{answer}\n{}", dovecot.log());
    let stored = dovecot.only_message("me@domain.com");
    println!("{}", String::from_utf8_lossy(&stored));
    println!(
        "{}",
        fs::read_to_string(dovecot.home("me@domain.com").join(".dovecot.sieve.log")).unwrap_or_default()
    );
    assert!(decrypt(&stored, &key).ends_with(MESSAGE));
    dovecot.assert_nowhere("brown secret");
}
