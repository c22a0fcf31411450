//! Hides the subject by the script and by the setting, and checks what later rules see.

use crate::{message, script, SECRET};
use perot_testing::dovecot::{Config, Dovecot};
use perot_testing::{armored, decrypt, find, key_for};

const ME: &str = "me@domain.com";

/// Delivers a message with a secret subject, which must be stored in the folder `hidden`. Returns the
/// Dovecot, the payload of the stored message, and the original.
fn deliver(config: &Config, user_script: &str) -> (Dovecot, Vec<u8>, Vec<u8>) {
    let dovecot = Dovecot::start(config);
    let key = key_for(ME);
    dovecot.give(ME, "k.asc", &armored(&key));
    let filing = "if header :is \"subject\" \"[...]\" { fileinto :create \"hidden\"; }";
    dovecot.script(ME, &script(", \"fileinto\", \"mailbox\"", &format!("{user_script} {filing}")));
    let id = format!("Message-ID: <the-{SECRET}@");
    let original = String::from_utf8(message(&format!("the-{SECRET}"))).unwrap();
    let original = original.replace(&id, "Message-ID: <bird@").into_bytes();
    let answer = dovecot.deliver(ME, &original);
    assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
    let [(folder, stored)] = &dovecot.stored(ME)[..] else { panic!("{}", dovecot.log()) };
    assert_eq!(folder, ".hidden", "{}", dovecot.log());
    let payload = decrypt(stored, &key);
    (dovecot, payload, original)
}

#[test]
fn the_subject_is_nowhere_in_clear() {
    let by_setting = Config { plugin: vec![("hide_subject", "yes".into())], ..Config::default() };
    for (config, user_script) in
        [(Config::default(), "encrypt :hidesubject;"), (by_setting, "if not encrypt { stop; }")]
    {
        let (dovecot, payload, original) = deliver(&config, user_script);
        // The subject is neither in the message nor in the index, the log or any other file.
        dovecot.assert_nowhere(SECRET);
        let subject = format!("\r\nSubject: the-{SECRET}\r\n");
        let wrapper =
            find(&payload, b"\r\nContent-Type: multipart/mixed; protected-headers=\"v1\";").unwrap();
        assert!(find(&payload, subject.as_bytes()).unwrap() < wrapper);
        let part = find(&original, b"Content-Type").unwrap();
        assert!(
            find(&payload[wrapper..], &original[part..]).is_some(),
            "{}",
            String::from_utf8_lossy(&payload)
        );
    }
}
