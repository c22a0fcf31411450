//! Messages that count as encrypted already, and messages that only look like it.

use perot_testing::{messages, oracle};

fn is_encrypted(message: &[u8]) -> bool {
    let whole = oracle::inspection(message, 0).encrypted;
    let crlf = perot_testing::with_crlf(message);
    assert_eq!(oracle::inspection(&crlf, 0).encrypted, whole, "LF and CRLF differ");
    whole
}

#[test]
fn encrypted() {
    for (name, message) in messages::encrypted() {
        assert!(is_encrypted(&message), "{name}:\n{}", String::from_utf8_lossy(&message));
    }
}

#[test]
fn not_encrypted() {
    for (name, message) in messages::not_encrypted() {
        assert!(!is_encrypted(&message), "{name}:\n{}", String::from_utf8_lossy(&message));
    }
}

#[test]
fn deep_nesting_is_not_followed() {
    let mut message = String::new();
    for depth in 0..2000 {
        message += &format!("Content-Type: multipart/mixed; boundary=b{depth}x\n\n--b{depth}x\n");
    }
    assert!(!is_encrypted(message.as_bytes()));
}
