//! Checks earlier and later actions, other scripts, and failures in them: the original is never stored.

use crate::{assert_nothing_stored, message, script, SECRET};
use perot_testing::dovecot::{Config, Dovecot};
use perot_testing::{armored, decrypt, find, key_for};

const ME: &str = "me@domain.com";

/// Delivers a message with the given scripts. Returns the answer and the stored messages.
fn deliver(config: &Config, user_script: &str) -> (Dovecot, String, Vec<(String, Vec<u8>)>) {
    let dovecot = Dovecot::start(config);
    let key = key_for(ME);
    dovecot.give(ME, "k.asc", &armored(&key));
    dovecot.script(ME, user_script);
    let answer = dovecot.deliver(ME, &message("later"));
    let stored = dovecot.stored(ME);
    for (folder, stored) in &stored {
        let payload = decrypt(stored, &key);
        assert!(payload.ends_with(&message("later")), "in {folder}");
    }
    dovecot.assert_nowhere(SECRET);
    (dovecot, answer, stored)
}

fn before(script: String) -> Config {
    Config { before: Some(script), ..Config::default() }
}

fn encrypt_before() -> Config {
    before(script("", "encrypt;"))
}

#[test]
fn a_later_failure_stores_the_encrypted_message() {
    for (what, requires, body) in [
        ("a folder that is not there", ", \"fileinto\"", "encrypt; fileinto \"nowhere\";"),
        ("a name that is none", ", \"fileinto\"", "encrypt; fileinto \"a//b/../c\";"),
        ("an error of the script", ", \"ihave\"", "encrypt; error \"stop here\";"),
    ] {
        let (dovecot, answer, stored) = deliver(&Config::default(), &script(requires, body));
        assert!(answer.starts_with("250 "), "{what}: {answer}\n{}", dovecot.log());
        assert_eq!(stored.len(), 1, "{what}\n{}", dovecot.log());
    }
}

#[test]
fn a_redirect_that_fails_stores_nothing_in_clear() {
    let config = Config {
        extra_23: "sendmail_path = /bin/false".into(),
        extra_24: "sendmail_path = /bin/false".into(),
        ..Config::default()
    };
    let (dovecot, answer, stored) = deliver(&config, &script("", "encrypt; redirect \"x@example.net\";"));
    assert!(
        answer.starts_with("451 ") && stored.is_empty() || stored.len() == 1,
        "{answer}\n{}",
        dovecot.log()
    );
}

#[test]
fn what_has_been_stored_before_a_failure_is_not_stored_again() {
    let config = Config {
        extra_23: "sendmail_path = /bin/false".into(),
        extra_24: "sendmail_path = /bin/false".into(),
        ..Config::default()
    };
    let user_script = script(", \"fileinto\"", "encrypt; fileinto \"INBOX\"; redirect \"x@example.net\";");
    let (dovecot, answer, stored) = deliver(&config, &user_script);
    assert!(answer.starts_with("250 ") && stored.len() == 1, "{answer} {}\n{}", stored.len(), dovecot.log());
    // The first fileinto is undone when the second fails, so the message is stored by the implicit keep.
    let user_script = script(", \"fileinto\"", "encrypt; fileinto \"INBOX\"; fileinto \"nowhere\";");
    let (dovecot, answer, stored) = deliver(&Config::default(), &user_script);
    assert!(answer.starts_with("250 ") && stored.len() == 1, "{answer} {}\n{}", stored.len(), dovecot.log());
}

/// An earlier script has stored the message, which must not be stored again.
#[test]
fn what_an_earlier_script_has_stored_is_not_stored_again() {
    let copies = before(script(", \"fileinto\", \"copy\"", "encrypt; fileinto :copy \"INBOX\";"));
    for user_script in ["require \"fileinto\"; fileinto \"nowhere\";", "require \"ihave\"; error \"x\";"] {
        let (dovecot, answer, stored) = deliver(&copies, user_script);
        assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
        assert_eq!(stored.len(), 1, "{user_script}\n{}", dovecot.log());
    }
}

#[test]
fn the_script_before_encrypts_whatever_the_users_script_does() {
    let duplicate_free = |user_script: &str, folders: &[&str]| {
        let (dovecot, answer, stored) = deliver(&encrypt_before(), user_script);
        assert!(answer.starts_with("250 "), "{user_script}: {answer}\n{}", dovecot.log());
        let found: Vec<&str> = stored.iter().map(|(folder, _)| folder.as_str()).collect();
        assert_eq!(found, folders, "{user_script}\n{}", dovecot.log());
    };
    duplicate_free("keep;", &[""]);
    duplicate_free("this does not compile", &[""]);
    duplicate_free("require \"no-such-extension\"; keep;", &[""]);
    duplicate_free("require \"ihave\"; error \"x\";", &[""]);
    duplicate_free("require [\"fileinto\", \"mailbox\"]; fileinto :create \"box\";", &[".box"]);
    duplicate_free("require \"fileinto\"; fileinto \"nowhere\";", &[""]);
    duplicate_free("discard;", &[]);
    duplicate_free("stop;", &[""]);
}

#[test]
fn a_keep_of_an_earlier_script_keeps_the_encrypted_message() {
    for (before_script, user_script) in [
        ("keep;", "encrypt;"),
        ("require \"imap4flags\"; addflag \"\\\\Flagged\"; keep;", "encrypt; stop;"),
        ("keep;", "encrypt; keep;"),
        ("keep;", "encrypt; encrypt :force;"),
    ] {
        let dovecot = Dovecot::start(&before(before_script.into()));
        let key = key_for(ME);
        dovecot.give(ME, "k.asc", &armored(&key));
        dovecot.script(ME, &script("", user_script));
        let answer = dovecot.deliver(ME, &message("later"));
        assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
        let mut payload = decrypt(&dovecot.only_message(ME), &key);
        if user_script.contains("force") {
            payload = decrypt(&payload, &key);
        }
        assert!(payload.ends_with(&message("later")), "{before_script} {user_script}");
        assert_eq!(dovecot.is_flagged(ME), before_script.contains("Flagged"), "{before_script}");
        dovecot.assert_nowhere(SECRET);
    }
}

#[test]
fn a_loop_over_the_parts_is_no_place_to_encrypt() {
    let loop_ = "foreverypart { if true { encrypt; } }";
    let (dovecot, answer, stored) = deliver(&Config::default(), &script(", \"foreverypart\"", loop_));
    assert!(answer.starts_with("451 ") && stored.is_empty(), "{answer}\n{}", dovecot.log());
    dovecot
        .log_line(&["encrypt cannot stand in a foreverypart loop: put it in front of the loop or behind it"]);
}

#[test]
fn an_earlier_copy_is_not_stored_when_encrypt_fails() {
    let copy =
        before("require [\"fileinto\", \"mailbox\", \"copy\"];\nfileinto :copy :create \"archive\";".into());
    let dovecot = Dovecot::start(&copy);
    dovecot.script(ME, &script("", "encrypt;"));
    let answer = dovecot.deliver(ME, &message("copied"));
    assert!(answer.starts_with("451 "), "{answer}\n{}", dovecot.log());
    assert_nothing_stored(&dovecot, ME);

    let keep = before("keep;".into());
    let dovecot = Dovecot::start(&keep);
    dovecot.script(ME, &script("", "encrypt;"));
    assert!(dovecot.deliver(ME, &message("kept")).starts_with("451 "), "{}", dovecot.log());
    assert_nothing_stored(&dovecot, ME);
}

#[test]
fn a_failing_encrypt_after_a_successful_one_defers() {
    let (dovecot, answer, stored) =
        deliver(&encrypt_before(), &script("", "encrypt :force \"nobody@domain.com\";"));
    assert!(answer.starts_with("451 ") && stored.is_empty(), "{answer}\n{}", dovecot.log());
}

#[test]
fn a_mailbox_that_does_not_take_the_message_does_not_get_the_original() {
    // Dovecot falls back to the INBOX if the mailbox of the address detail cannot be used.
    let config = Config {
        extra_23: "recipient_delimiter = +\nlmtp_save_to_detail_mailbox = yes\nlda_mailbox_autocreate = no"
            .into(),
        extra_24: "recipient_delimiter = +\nlmtp_save_to_detail_mailbox = yes\nlda_mailbox_autocreate = no"
            .into(),
        ..encrypt_before()
    };
    for user_script in ["keep;", "require \"ihave\"; error \"x\";"] {
        let dovecot = Dovecot::start(&config);
        let key = key_for(ME);
        dovecot.give(ME, "k.asc", &armored(&key));
        dovecot.script(ME, user_script);
        let answer = dovecot.deliver("me+nowhere@domain.com", &message("detail"));
        dovecot.assert_nowhere(SECRET);
        let stored = dovecot.stored(ME);
        assert!(
            answer.ends_with("> Encrypted message could not be stored") && stored.is_empty()
                || stored.len() == 1,
            "{answer}\n{}",
            dovecot.log()
        );
        assert!(stored.iter().all(|(_, m)| decrypt(m, &key).ends_with(&message("detail"))));
    }
}

#[test]
fn a_full_mailbox_stores_nothing_in_clear() {
    let config = Config {
        extra_23: "protocol lmtp {\n  mail_plugins = sieve quota\n}\n".into(),
        plugin_23: "quota = maildir:User quota\nquota_rule = *:storage=1B\nquota_grace = 0\n".into(),
        extra_24: "protocol lmtp {\n  mail_plugins {\n    quota = yes\n  }\n}\nquota user {\n  driver = count\n  storage_size = 1B\n  storage_grace = 0\n}\n".into(),
        ..encrypt_before()
    };
    let dovecot = Dovecot::start(&config);
    dovecot.give(ME, "k.asc", &armored(&key_for(ME)));
    let answer = dovecot.deliver(ME, &message("full"));
    assert!(answer.starts_with("552 ") || answer.starts_with("452 "), "{answer}\n{}", dovecot.log());
    assert_nothing_stored(&dovecot, ME);
}

#[test]
fn what_was_filed_before_is_as_it_was() {
    let dovecot = Dovecot::start(&Config::default());
    let key = key_for(ME);
    dovecot.give(ME, "k.asc", &armored(&key));
    let requires = ", \"fileinto\", \"mailbox\", \"copy\"";
    dovecot.script(
        ME,
        &script(requires, "fileinto :copy :create \"clear\"; encrypt; fileinto :create \"box\";"),
    );
    assert!(dovecot.deliver(ME, &message("both")).starts_with("250 "), "{}", dovecot.log());
    let mut stored = dovecot.stored(ME);
    stored.sort();
    let [(box_, encrypted), (clear, plain)] = &stored[..] else { panic!("{}", dovecot.log()) };
    assert_eq!((box_.as_str(), clear.as_str()), (".box", ".clear"));
    assert!(find(plain, SECRET.as_bytes()).is_some());
    assert!(decrypt(encrypted, &key).ends_with(&message("both")));
}

#[test]
fn a_script_that_takes_too_much_time_after_encrypt_stores_nothing_in_clear() {
    let config = Config {
        plugin_23: "sieve_max_cpu_time = 1s\n".into(),
        extra_24: "sieve_max_cpu_time = 1s\n".into(),
        ..Config::default()
    };
    let dovecot = Dovecot::start(&config);
    dovecot.give(ME, "k.asc", &armored(&key_for(ME)));
    // Pigeonhole takes about as many steps to find a long text in a longer one as the product of their
    // lengths.
    let needle = "a".repeat(10_000) + "b";
    let slow = format!("if header :contains \"x-a\" \"{needle}\" {{ stop; }}\n").repeat(40);
    dovecot.script(ME, &script("", &format!("encrypt;\n{slow}")));
    let header = format!("X-A: {}\r\n", "a".repeat(300_000));
    let answer = dovecot.deliver(ME, &[header.as_bytes(), &message("slow")].concat());
    assert!(answer.starts_with("451 "), "{answer}\n{}", dovecot.log());
    dovecot.log_line(&["excessive resource usage"]);
    assert_nothing_stored(&dovecot, ME);
}
