//! Tests that the mail plugin encrypts what deliveries store, whatever scripts do or do not do.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use perot_testing::dovecot::{era, run_with, Config, Dovecot, Era};
use perot_testing::{armored, decrypt, find, key_for, revoked, with_crlf};

use sequoia_openpgp::Cert;

use crate::{assert_nothing_stored, message, script, SECRET};

const ME: &str = "me@domain.com";
const YOU: &str = "you@domain.com";

/// Returns a configuration with Sieve and the mail plugin.
fn with_sieve() -> Config {
    Config { delivery_plugins: Some("sieve perot_encrypt"), ..Config::default() }
}

/// Returns a configuration with the mail plugin and without Sieve.
fn alone() -> Config {
    Config { delivery_plugins: Some("perot_encrypt"), ..Config::default() }
}

/// Returns true if a stored message is this one, as it came.
fn is_clear(stored: &[u8], message: &[u8]) -> bool {
    with_crlf(stored).ends_with(message)
}

fn deliveries(value: &str) -> Config {
    Config { plugin: vec![("deliveries", value.to_owned())], ..with_sieve() }
}

/// Starts a Dovecot in which `ME` has a certificate.
fn start(config: &Config) -> (Dovecot, Cert) {
    let dovecot = Dovecot::start(config);
    let key = key_for(ME);
    dovecot.give(ME, "k.asc", &armored(&key));
    (dovecot, key)
}

/// Delivers a message to `ME`. Panics unless it is stored in `folders`, encrypted, and nowhere in clear.
fn assert_stored_encrypted(what: &str, dovecot: &Dovecot, key: &Cert, folders: &[&str]) {
    let message = message(what.split_whitespace().next().unwrap());
    let answer = dovecot.deliver(ME, &message);
    assert!(answer.starts_with("250 "), "{what}: {answer}\n{}", dovecot.log());
    let mut stored = dovecot.stored(ME);
    stored.sort();
    let found: Vec<&str> = stored.iter().map(|(folder, _)| folder.as_str()).collect();
    assert_eq!(found, folders, "{what}\n{}", dovecot.log());
    for (folder, stored) in &stored {
        assert!(decrypt(stored, key).ends_with(&message), "{what}: in {folder}");
    }
    dovecot.assert_nowhere(SECRET);
}

/// Waits for the end of the connection, and panics unless the log has exactly `n` lines with this text.
fn assert_lines(dovecot: &Dovecot, text: &str, n: usize) {
    dovecot.log_line(&["Disconnect from local: Connection closed (state=READY)"]);
    let log = dovecot.log();
    assert_eq!(log.matches(text).count(), n, "'{text}'\n{log}");
}

#[test]
fn without_a_script_and_without_sieve() {
    for (what, config) in [("no script", with_sieve()), ("no Sieve", alone())] {
        let (dovecot, key) = start(&config);
        assert_stored_encrypted(what, &dovecot, &key, &[""]);
        let line = dovecot.log_line(&["encrypt: message encrypted: "]);
        assert!(line.contains(&key.fingerprint().to_hex()), "{line}");
        let stored = dovecot.only_message(ME);
        assert!(find(&stored, b"Encrypted-On-Delivery: pgp-mime; ").is_some());
    }
}

#[test]
fn whatever_the_script_does() {
    let fileinto4 =
        "fileinto :create \"a\"; fileinto :create \"b\"; fileinto :create \"c\"; fileinto :create \"d\";";
    let fileinto4 = format!("require [\"fileinto\", \"mailbox\"]; {fileinto4}");
    for (what, script, folders) in [
        ("keep", "keep;", &[""][..]),
        ("empty", "", &[""]),
        ("does not compile", "this is no script", &[""]),
        ("unknown extension", "require \"no-such-extension\"; keep;", &[""]),
        ("run-time error", "require \"ihave\"; error \"x\";", &[""]),
        ("no such mailbox", "require \"fileinto\"; fileinto \"nowhere\";", &[""]),
        ("one mailbox", "require [\"fileinto\", \"mailbox\"]; fileinto :create \"box\";", &[".box"]),
        ("four mailboxes", &fileinto4, &[".a", ".b", ".c", ".d"]),
        (
            "copy",
            "require [\"fileinto\", \"copy\", \"mailbox\"]; fileinto :copy :create \"box\";",
            &["", ".box"],
        ),
        ("flags", "require \"imap4flags\"; addflag [\"\\\\Draft\", \"\\\\Flagged\"]; keep;", &[""]),
    ] {
        let (dovecot, key) = start(&with_sieve());
        dovecot.script(ME, script);
        assert_stored_encrypted(what, &dovecot, &key, folders);
        assert_lines(&dovecot, "Info: encrypt: message encrypted: ", 1);
    }
}

#[test]
fn a_message_that_a_script_changes_in_between_is_two_messages() {
    let config = Config {
        plugin_23: "sieve_extensions = +editheader\n".into(),
        extra_24: "sieve_extensions {\n  editheader = yes\n}\n".into(),
        ..with_sieve()
    };
    let (dovecot, key) = start(&config);
    dovecot.script(
        ME,
        "require [\"fileinto\", \"mailbox\", \"editheader\"]; fileinto :create \"a\"; \
         addheader \"X-Changed\" \"yes\"; fileinto :create \"b\"; deleteheader \"X-Changed\"; \
         addheader \"X-Changed\" \"two\"; fileinto :create \"c\";",
    );
    let answer = dovecot.deliver(ME, &message("changed"));
    assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
    let changed = |text: &[u8]| {
        let header = decrypt(text, &key);
        let at = find(&header, b"X-Changed: ")?;
        Some(String::from_utf8_lossy(&header[at + 11..at + 14]).into_owned())
    };
    let mut stored: Vec<_> =
        dovecot.stored(ME).into_iter().map(|(folder, text)| (folder, changed(&text))).collect();
    stored.sort();
    let expected = [(".a", None), (".b", Some("yes")), (".c", Some("two"))];
    assert_eq!(stored, expected.map(|(folder, text)| (folder.to_owned(), text.map(str::to_owned))));
    dovecot.assert_nowhere(SECRET);
}

#[test]
fn scripts_see_the_message_in_clear() {
    let (dovecot, key) = start(&with_sieve());
    dovecot.script(
        ME,
        "require [\"body\", \"fileinto\", \"mailbox\"]; if body :contains \"sings\" { fileinto :create \"seen\"; }",
    );
    assert_stored_encrypted("body", &dovecot, &key, &[".seen"]);
}

/// The plugin stores what a script has encrypted as it is.
#[test]
fn what_a_script_encrypts_is_encrypted_once() {
    let (dovecot, _) = start(&with_sieve());
    let other = key_for(YOU);
    dovecot.give(ME, "other.asc", &armored(&other));
    dovecot.script(ME, &script("", &format!("encrypt \"{YOU}\";")));
    let answer = dovecot.deliver(ME, &message("other"));
    assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
    assert!(decrypt(&dovecot.only_message(ME), &other).ends_with(&message("other")));
}

#[test]
fn a_failure_defers() {
    for (what, user, give) in [
        ("no certificate", ME, None),
        ("damaged certificate", ME, Some(&b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nnonsense\n"[..])),
        ("panic", "panic@test.invalid", None),
    ] {
        for (plugins, script) in
            [("perot_encrypt", ""), ("sieve perot_encrypt", "require \"fileinto\"; fileinto \"x\";")]
        {
            let dovecot = Dovecot::start(&Config { delivery_plugins: Some(plugins), ..Config::default() });
            if let Some(certificate) = give {
                dovecot.give(user, "k.asc", certificate);
            }
            dovecot.script(user, script);
            let answer = dovecot.deliver(user, &message("failure"));
            assert!(answer.starts_with("451 "), "{what}: {answer}\n{}", dovecot.log());
            assert!(answer.contains("Message could not be encrypted for its owner ("), "{what}: {answer}");
            assert_nothing_stored(&dovecot, user);
            assert_lines(&dovecot, "Error: encrypt: message not encrypted, deferred: ", 1);
        }
    }
}

#[test]
fn an_administrator_who_wrote_keep_gets_clear_mail() {
    let config = Config { plugin: vec![("on_error", "keep".into())], ..alone() };
    let dovecot = Dovecot::start(&config);
    let answer = dovecot.deliver(ME, &message("keep"));
    assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
    assert!(find(&dovecot.only_message(ME), SECRET.as_bytes()).is_some());
    dovecot.log_line(&["encrypt: message not encrypted, stored as it is: no certificate for"]);
}

/// `on_no_certificate = keep`: who brings a certificate gets ciphertext or nothing, and the others get what comes, from both
/// plugins.
#[test]
fn who_brings_no_certificate_is_left_alone() {
    let keep = vec![("on_no_certificate", "keep".to_owned())];
    let by_script = Config { plugin: keep.clone(), ..Config::default() };
    for (what, config) in [("mail plugin", Config { plugin: keep, ..alone() }), ("script", by_script)] {
        let (dovecot, key) = start(&config);
        let damaged = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nnonsense\n";
        dovecot.give("damaged@domain.com", "k.asc", damaged);
        dovecot.give("revoked@domain.com", "k.asc", &armored(&revoked("revoked@domain.com")));
        dovecot.give("other@domain.com", "k.asc", &armored(&key_for("alias@domain.com")));
        let unreadable =
            dovecot.give("unreadable@domain.com", "k.asc", &armored(&key_for("unreadable@domain.com")));
        fs::set_permissions(&unreadable, fs::Permissions::from_mode(0o000)).unwrap();
        for (user, expected) in [
            (ME, "250 "),
            ("none@domain.com", "250 "),
            ("damaged@domain.com", "451 "),
            ("revoked@domain.com", "451 "),
            ("other@domain.com", "451 "),
            ("unreadable@domain.com", "451 "),
            ("none@domain.com", "250 "),
        ] {
            dovecot.script(user, &script("", "encrypt;"));
            let answer = dovecot.deliver(user, &message("keep"));
            assert!(answer.starts_with(expected), "{what}: {user}: {answer}\n{}", dovecot.log());
        }
        assert!(decrypt(&dovecot.only_message(ME), &key).ends_with(&message("keep")), "{what}");
        let stored = dovecot.stored("none@domain.com");
        assert_eq!(stored.len(), 2, "{what}");
        assert!(stored.iter().all(|(_, stored)| is_clear(stored, &message("keep"))), "{what}");
        let line = "message left as it is: its owner has no certificate: no certificate for none@domain.com. Searched: ";
        dovecot.log_line(&["Info: ", line]);
        let log = dovecot.log();
        assert_eq!(log.matches(line).count(), 2, "{what}: {log}");
        assert_eq!(log.matches("message not encrypted, deferred: ").count(), 4, "{what}: {log}");
        for user in ["damaged", "revoked", "other", "unreadable"] {
            assert!(dovecot.stored(&format!("{user}@domain.com")).is_empty(), "{what}: {user}");
        }
    }
}

/// Each recipient gets what only they can read, whatever the order, and nobody gets a message for another.
#[test]
fn several_recipients_of_one_message() {
    for config in [with_sieve(), alone()] {
        for order in [["a", "b", "none"], ["none", "a", "b"], ["b", "none", "a"]] {
            let dovecot = Dovecot::start(&config);
            let users = order.map(|name| format!("{name}@domain.com"));
            let keys = users.each_ref().map(|user| key_for(user));
            for (user, key) in users.iter().zip(&keys).filter(|(user, _)| !user.starts_with("none")) {
                dovecot.give(user, "k.asc", &armored(key));
            }
            let answers = dovecot.deliver_to(&users.each_ref().map(String::as_str), &message("several"));
            for ((user, key), answer) in users.iter().zip(&keys).zip(answers) {
                if user.starts_with("none") {
                    assert!(answer.starts_with("451 "), "{order:?}: {user}: {answer}\n{}", dovecot.log());
                    assert!(dovecot.stored(user).is_empty(), "{order:?}: {user}");
                } else {
                    assert!(answer.starts_with("250 "), "{order:?}: {user}: {answer}\n{}", dovecot.log());
                    assert!(
                        decrypt(&dovecot.only_message(user), key).ends_with(&message("several")),
                        "{user}"
                    );
                }
            }
            dovecot.assert_nowhere(SECRET);
        }
    }
}

/// A field of the user database decides for one user.
#[test]
fn a_user_who_is_exempt_gets_the_message_and_nobodys_ciphertext() {
    let users = match era() {
        Era::V23 => {
            "passdb {\n  driver = static\n  args = password=test\n}\nuserdb {\n  driver = passwd-file\n  \
             args = {dir}/users\n}\n"
        }
        Era::V24 => {
            "passdb static {\n  password = test\n}\nuserdb passwd-file {\n  passwd_file_path = {dir}/users\n}\n"
        }
    };
    let config = Config { users: Some(users.to_owned()), ..alone() };
    for order in [[ME, "tickets@domain.com", YOU], ["tickets@domain.com", ME, YOU]] {
        let mut dovecot = Dovecot::prepare(&config);
        let home = dovecot.path("home");
        let line = |user: &str, extra: &str| format!("{user}:::::{}/{user}::{extra}\n", home.display());
        let exempt = line("tickets@domain.com", "userdb_perot_encrypt_deliveries=no");
        fs::write(dovecot.path("users"), line(ME, "") + &line(YOU, "") + &exempt).unwrap();
        dovecot.launch();
        let keys = [ME, YOU].map(|user| (user, key_for(user)));
        for (user, key) in &keys {
            dovecot.give(user, "k.asc", &armored(key));
        }
        let answers = dovecot.deliver_to(&order, &message("exempt"));
        assert!(answers.iter().all(|answer| answer.starts_with("250 ")), "{answers:?}\n{}", dovecot.log());
        for (user, key) in &keys {
            assert!(decrypt(&dovecot.only_message(user), key).ends_with(&message("exempt")), "{user}");
        }
        assert!(is_clear(&dovecot.only_message("tickets@domain.com"), &message("exempt")), "{order:?}");
    }
}

#[test]
fn refuse() {
    let (dovecot, key) = start(&deliveries("refuse"));
    let answer = dovecot.deliver(ME, &message("clear"));
    assert!(
        answer.starts_with("451 ") && answer.contains("Message is not encrypted: no script has encrypted it"),
        "{answer}"
    );
    assert_nothing_stored(&dovecot, ME);
    dovecot.log_line(&["perot_encrypt_deliveries = refuse: no script has encrypted it. Is there a script"]);
    dovecot.script(ME, &script("", "encrypt;"));
    assert_stored_encrypted("encrypts", &dovecot, &key, &[""]);
}

#[test]
fn warn_and_no() {
    for value in ["warn", "no"] {
        let (dovecot, _) = start(&deliveries(value));
        let answer = dovecot.deliver(ME, &message("clear"));
        assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
        assert!(is_clear(&dovecot.only_message(ME), &message("clear")));
        if value == "warn" {
            dovecot.log_line(&[
                "Error: encrypt: message not encrypted, stored as it is: perot_encrypt_deliveries = warn: ",
            ]);
        } else {
            dovecot.log_line(&["Disconnect from local: Connection closed (state=READY)"]);
            assert!(!dovecot.log().contains("encrypt: "), "{}", dovecot.log());
        }
    }
}

#[test]
fn what_is_not_understood_counts_as_encrypt() {
    let (dovecot, key) = start(&deliveries("maybe"));
    assert_stored_encrypted("maybe", &dovecot, &key, &[""]);
    dovecot.log_line(&["Error: encrypt: perot_encrypt_deliveries = maybe: not understood: write `encrypt`"]);
}

/// dovecot-lda encrypts, too.
#[test]
fn the_lda() {
    for plugins in ["perot_encrypt", "sieve perot_encrypt"] {
        let (dovecot, key) = start(&Config { delivery_plugins: Some(plugins), ..Config::default() });
        let mut lda = dovecot.command("/usr/lib/dovecot/dovecot-lda");
        lda.arg("-c").arg(dovecot.path("dovecot.conf")).args(["-d", ME]);
        let output = run_with(&mut lda, &message("lda"));
        assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), dovecot.log());
        let payload = decrypt(&dovecot.only_message(ME), &key);
        assert!(find(&payload, SECRET.as_bytes()).is_some());
        dovecot.assert_nowhere(SECRET);
    }
}

/// The plugin logs no second line about what a script has encrypted, and a line about what has come encrypted.
#[test]
fn one_line_for_each_message() {
    for mode in ["encrypt", "refuse"] {
        let (dovecot, key) = start(&deliveries(mode));
        dovecot.script(ME, &script("", "encrypt;"));
        assert_stored_encrypted("script", &dovecot, &key, &[""]);
        assert_lines(&dovecot, "encrypt: message ", 1);

        let stored = dovecot.only_message(ME);
        let (dovecot, _) = start(&deliveries(mode));
        let answer = dovecot.deliver(ME, &with_crlf(&stored));
        assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
        assert!(is_clear(&dovecot.only_message(ME), &with_crlf(&stored)));
        assert_lines(&dovecot, "Info: encrypt: message left as it is: it is encrypted already", 1);
    }
}
