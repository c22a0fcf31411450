//! Tests that the mail plugin encrypts what deliveries store, whatever scripts do or do not do.

use std::fs;
use std::os::unix::fs::{chown, MetadataExt, PermissionsExt};
use std::process::Output;

use perot_encrypt::openpgp::crypto::has_post_quantum;
use perot_testing::dovecot::{era, is_root, run_with, Config, Dovecot, Era, Lmtp};
use perot_testing::messages::encrypted;
use perot_testing::post_quantum::KINDS;
use perot_testing::{armored, decrypt, decrypt_content, find, key_for, revoked, with_crlf};

use sequoia_openpgp::types::CompressionAlgorithm;
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

/// The plugin does not take the ciphertext with its hidden subject for another message.
#[test]
fn a_hidden_subject_stays_hidden() {
    let (dovecot, key) = start(&with_sieve());
    let folders = "fileinto :create \"box\"; keep;";
    dovecot.script(ME, &script(", \"fileinto\", \"mailbox\"", &format!("encrypt :hidesubject; {folders}")));
    let message =
        String::from_utf8(message("hidden")).unwrap().replace("Subject: hidden", "Subject: starling");
    let answer = dovecot.deliver(ME, message.as_bytes());
    assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
    let stored = dovecot.stored(ME);
    assert_eq!(stored.len(), 2, "{}", dovecot.log());
    for (_, stored) in stored {
        let payload = decrypt(&stored, &key);
        assert!(find(&payload, b"Subject: starling").is_some() && find(&payload, b"BEGIN PGP").is_none());
    }
    for secret in [SECRET, "starling"] {
        dovecot.assert_nowhere(secret);
    }
    assert_lines(&dovecot, "encrypt: message ", 1);
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

/// Compressed if the setting says so, by both plugins; a value that is not understood defers the mail.
#[test]
fn compression() {
    let compress = |value: &str| vec![("compress", value.to_owned())];
    for (what, config) in [("mail plugin", alone as fn() -> Config), ("script", Config::default)] {
        let (dovecot, key) = start(&Config { plugin: compress("yes"), ..config() });
        dovecot.script(ME, &script("", "encrypt;"));
        let answer = dovecot.deliver(ME, &message("compressed"));
        assert!(answer.starts_with("250 "), "{what}: {answer}\n{}", dovecot.log());
        let (compression, payload) = decrypt_content(&dovecot.only_message(ME), &key);
        assert_eq!(compression, Some(CompressionAlgorithm::Zlib), "{what}");
        assert!(payload.ends_with(&message("compressed")), "{what}");
    }
    let (dovecot, _) = start(&Config { plugin: compress("zlib"), ..alone() });
    assert!(dovecot.deliver(ME, &message("wrong")).starts_with("451 "), "{}", dovecot.log());
    dovecot
        .log_line(&["Error: ", "sieve_perot_encrypt_compress = zlib: not understood: write `yes` or `no`"]);
    assert_nothing_stored(&dovecot, ME);
}

/// None but post-quantum subkeys if the setting says so, by both plugins; never a classical one in their place.
#[test]
fn none_but_post_quantum_subkeys() {
    let only = vec![("subkeys", "post-quantum".to_owned())];
    for (what, config) in [("mail plugin", alone as fn() -> Config), ("script", Config::default)] {
        let (dovecot, key) = start(&Config { plugin: only.clone(), ..config() });
        let [both, ..] = KINDS;
        let user = &both.address();
        dovecot.give(user, "k.asc", &both.public());
        for user in [ME, user] {
            dovecot.script(user, &script("", "encrypt;"));
        }
        let mail = message("post-quantum");
        let answer = dovecot.deliver(ME, &mail);
        assert!(answer.starts_with("250 "), "{what}: {answer}\n{}", dovecot.log());
        assert!(decrypt(&dovecot.only_message(ME), &key).ends_with(&mail), "{what}");
        let answer = dovecot.deliver(user, &mail);
        if has_post_quantum() {
            assert!(answer.starts_with("250 "), "{what}: {answer}\n{}", dovecot.log());
            let stored = dovecot.only_message(user);
            assert!(decrypt(&stored, &both.cert()).ends_with(&mail), "{what}");
        } else {
            assert!(answer.starts_with("451 "), "{what}: {answer}\n{}", dovecot.log());
            dovecot.log_line(&["Error: ", "With sieve_perot_encrypt_subkeys = all, an encryption subkey of"]);
            assert_nothing_stored(&dovecot, user);
        }
    }
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

/// Each recipient is answered for itself. A fault defers the message for one, and the connection goes on.
#[test]
fn a_panic_for_one_of_several() {
    for config in [with_sieve(), alone()] {
        let dovecot = Dovecot::start(&config);
        let keys = [ME, YOU].map(|user| (user, key_for(user)));
        for (user, key) in &keys {
            dovecot.give(user, "k.asc", &armored(key));
        }
        let mut session = Lmtp::connect(&dovecot.path("run/lmtp"));
        for round in 1..=2 {
            let answers = session.deliver(&[ME, "panic@test.invalid", YOU], &message("panic"));
            let codes: Vec<&str> = answers.iter().map(|answer| &answer[..4]).collect();
            assert_eq!(codes, ["250 ", "451 ", "250 "], "{answers:?}\n{}", dovecot.log());
            for (user, key) in &keys {
                let stored = dovecot.stored(user);
                assert_eq!(stored.len(), round, "{user}");
                assert!(
                    stored.iter().all(|(_, text)| decrypt(text, key).ends_with(&message("panic"))),
                    "{user}"
                );
            }
        }
        assert_nothing_stored(&dovecot, "panic@test.invalid");
        assert!(!dovecot.log().contains("Fatal") && !dovecot.log().contains("Panic"), "{}", dovecot.log());
    }
}

/// A line of the user database: a user, the user's uid, and an extra field.
type Line<'a> = (&'a str, u32, &'a str);

/// Starts a Dovecot with these users. A uid of 0 stands for the user who owns all the other mailboxes.
fn with_users(config: &Config, lines: &[Line<'_>]) -> Dovecot {
    let users = match era() {
        Era::V23 => {
            "passdb {\n  driver = static\n  args = password=test\n}\nuserdb {\n  driver = passwd-file\n  \
             args = {dir}/users\n}\n"
        }
        Era::V24 => {
            "passdb static {\n  password = test\n}\nuserdb passwd-file {\n  passwd_file_path = {dir}/users\n}\n"
        }
    };
    let mut dovecot = Dovecot::prepare(&Config { users: Some(users.to_owned()), ..config.clone() });
    let line = |(user, uid, field): &Line<'_>| {
        let id = if *uid == 0 { String::new() } else { uid.to_string() };
        format!("{user}::{id}:{id}::{}::{field}\n", dovecot.home(user).display())
    };
    fs::write(dovecot.path("users"), lines.iter().map(line).collect::<String>()).unwrap();
    dovecot.launch();
    dovecot
}

/// A field of the user database decides for one user. Nobody gets the ciphertext of another.
#[test]
fn each_user_has_a_value_of_their_own() {
    let lines = [
        (ME, ""),
        ("tickets@domain.com", "no"),
        ("sales@domain.com", "no"),
        ("strict@domain.com", "refuse"),
        (YOU, "encrypt"),
        ("trial@domain.com", "warn"),
        ("odd@domain.com", "maybe"),
    ];
    let field = |value: &str| match value {
        "" => String::new(),
        value => format!("userdb_perot_encrypt_deliveries={value}"),
    };
    let fields = lines.map(|(_, value)| field(value));
    let users: Vec<Line<'_>> =
        lines.iter().zip(&fields).map(|((user, _), field)| (*user, 0, field.as_str())).collect();
    for config in [with_sieve(), alone()] {
        let dovecot = with_users(&config, &users);
        let keys = lines.map(|(user, _)| key_for(user));
        for ((user, _), key) in lines.iter().zip(&keys) {
            dovecot.give(user, "k.asc", &armored(key));
        }
        let mut order: Vec<usize> = (0..lines.len()).collect();
        for _ in &lines {
            let recipients: Vec<&str> = order.iter().map(|at| lines[*at].0).collect();
            let answers = dovecot.deliver_to(&recipients, &message("fields"));
            for (at, answer) in order.iter().zip(answers) {
                let (user, value) = lines[*at];
                let refused = ["refuse", "maybe"].contains(&value);
                let what = format!("{recipients:?}: {user}: {answer}\n{}", dovecot.log());
                assert!(answer.starts_with(if refused { "451 " } else { "250 " }), "{what}");
                if refused {
                    assert!(dovecot.stored(user).is_empty(), "{what}");
                    continue;
                }
                let stored = dovecot.only_message(user);
                if ["no", "warn"].contains(&value) {
                    assert!(is_clear(&stored, &message("fields")), "{what}");
                } else {
                    assert!(decrypt(&stored, &keys[*at]).ends_with(&message("fields")), "{what}");
                }
                fs::remove_dir_all(dovecot.home(user).join("Maildir")).unwrap();
            }
            order.rotate_left(1);
        }
        dovecot.log_line(&[
            "odd@domain.com",
            "Error: encrypt: perot_encrypt_deliveries = maybe: not understood",
        ]);
        dovecot.log_line(&["trial@domain.com", "Error: encrypt: message not encrypted, stored as it is: "]);
    }
}

/// Dovecot changes its effective uid between two recipients. A large message needs a file for its ciphertext.
#[test]
fn users_with_different_uids() {
    let other = "other@domain.com";
    let uid = if is_root() { 5009 } else { 0 };
    let dovecot = with_users(&with_sieve(), &[(ME, 0, ""), (other, uid, ""), (YOU, 0, "")]);
    let keys = [ME, other, YOU].map(|user| (user, key_for(user)));
    for (user, key) in &keys {
        dovecot.give(user, "k.asc", &armored(key));
    }
    if is_root() {
        let home = dovecot.home(other);
        for path in [home.clone(), home.join("pgp-certs"), home.join("pgp-certs/k.asc")] {
            chown(path, Some(uid), Some(uid)).unwrap();
        }
    }
    let large = [message("uids"), b"All day long.\r\n".repeat(30_000)].concat();
    for order in [[ME, other, YOU], [other, ME, YOU], [ME, YOU, other]] {
        let answers = dovecot.deliver_to(&order, &large);
        assert!(answers.iter().all(|answer| answer.starts_with("250 ")), "{answers:?}\n{}", dovecot.log());
        let [(_, file)] = &dovecot.stored_files(other)[..] else { panic!("{}", dovecot.log()) };
        assert!(uid == 0 || fs::metadata(file).unwrap().uid() == uid);
        for (user, key) in &keys {
            assert!(decrypt(&dovecot.only_message(user), key).ends_with(&large), "{order:?}: {user}");
            fs::remove_dir_all(dovecot.home(user).join("Maildir")).unwrap();
        }
    }
    dovecot.assert_nowhere(SECRET);
}

#[test]
fn settings_that_are_not_understood() {
    for (name, value) in [("on_error", "bounce"), ("certs", "certs/x"), ("cert", "rubbish")] {
        let (dovecot, _) = start(&Config { plugin: vec![(name, value.into())], ..with_sieve() });
        let answer = dovecot.deliver(ME, &message("settings"));
        assert!(answer.starts_with("451 "), "{name}: {answer}\n{}", dovecot.log());
        dovecot.log_line(&[
            "Error: encrypt: message not encrypted, deferred: ",
            &format!("perot_encrypt_{name}"),
        ]);
        assert_nothing_stored(&dovecot, ME);
    }
}

/// Dovecot 2.4 returns settings only for its settings modules. 2.3 has no such modules.
#[test]
fn settings_that_cannot_be_read() {
    let dovecot = Dovecot::start(&Config { no_settings_module: true, default_certs: true, ..with_sieve() });
    dovecot.give(ME, "k.asc", &armored(&key_for(ME)));
    let answer = dovecot.deliver(ME, &message("settings"));
    match era() {
        Era::V23 => assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log()),
        Era::V24 => {
            assert!(answer.starts_with("451 "), "{answer}\n{}", dovecot.log());
            dovecot.log_line(&[
                "Error: encrypt: message not encrypted, deferred: the settings cannot be read: ",
            ]);
            assert_nothing_stored(&dovecot, ME);
        }
    }
    dovecot.assert_nowhere(SECRET);
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
fn what_is_not_understood_defers() {
    let (dovecot, _) = start(&deliveries("maybe"));
    let answer = dovecot.deliver(ME, &message("maybe"));
    assert!(answer.starts_with("451 ") && answer.contains("(bad_setting)"), "{answer}\n{}", dovecot.log());
    assert_nothing_stored(&dovecot, ME);
    dovecot.log_line(&["message not encrypted, deferred: perot_encrypt_deliveries = maybe: not understood"]);
}

/// Runs dovecot-lda for `ME`.
fn lda(dovecot: &Dovecot, message: &[u8]) -> Output {
    let mut lda = dovecot.command("/usr/lib/dovecot/dovecot-lda");
    lda.arg("-c").arg(dovecot.path("dovecot.conf")).args(["-d", ME]);
    run_with(&mut lda, message)
}

/// dovecot-lda encrypts, too.
#[test]
fn the_lda() {
    for plugins in ["perot_encrypt", "sieve perot_encrypt"] {
        let (dovecot, key) = start(&Config { delivery_plugins: Some(plugins), ..Config::default() });
        let output = lda(&dovecot, &message("lda"));
        assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), dovecot.log());
        let payload = decrypt(&dovecot.only_message(ME), &key);
        assert!(find(&payload, SECRET.as_bytes()).is_some());
        dovecot.assert_nowhere(SECRET);
    }
}

/// The other values of the setting, in dovecot-lda and for a mailbox that the address names.
#[test]
fn the_lda_and_the_mailbox_of_a_detail_do_as_the_setting_says() {
    let detail = "recipient_delimiter = +\nlmtp_save_to_detail_mailbox = yes\nlda_mailbox_autocreate = yes\n";
    for value in ["refuse", "warn", "no"] {
        let config = Config { extra_23: detail.into(), extra_24: detail.into(), ..deliveries(value) };
        let (dovecot, _) = start(&config);
        let status = lda(&dovecot, &message("value")).status.code();
        let answer = dovecot.deliver("me+box@domain.com", &message("value"));
        let what = format!("{value}: {status:?}, {answer}\n{}", dovecot.log());
        if value == "refuse" {
            // EX_TEMPFAIL: the mail server tries again.
            assert!(status == Some(75) && answer.starts_with("451 "), "{what}");
            assert_nothing_stored(&dovecot, ME);
        } else {
            assert!(status == Some(0) && answer.starts_with("250 "), "{what}");
            let mut stored = dovecot.stored(ME);
            stored.sort();
            assert_eq!(
                stored.iter().map(|(folder, _)| folder.as_str()).collect::<Vec<_>>(),
                ["", ".box"],
                "{what}"
            );
            assert!(stored.iter().all(|(_, text)| is_clear(text, &message("value"))), "{what}");
        }
        assert_lines(&dovecot, "Error: encrypt: message not encrypted, ", if value == "no" { 0 } else { 2 });
    }
}

/// PGP/MIME, OpenPGP in text parts, and S/MIME, in all of their forms.
#[test]
fn what_comes_encrypted_is_left_as_it_is() {
    for mode in ["encrypt", "refuse"] {
        let (dovecot, _) = start(&deliveries(mode));
        let mut session = Lmtp::connect(&dovecot.path("run/lmtp"));
        let messages = encrypted();
        for (what, message) in &messages {
            let message = with_crlf(message);
            let answer = session.deliver(&[ME], &message).remove(0);
            assert!(answer.starts_with("250 "), "{what}: {answer}\n{}", dovecot.log());
            assert!(is_clear(&dovecot.only_message(ME), &message), "{mode}: {what}");
            fs::remove_dir_all(dovecot.home(ME).join("Maildir")).unwrap();
        }
        drop(session);
        assert_lines(
            &dovecot,
            "Info: encrypt: message left as it is: it is encrypted already",
            messages.len(),
        );
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
