//! Checks that a message is deferred whenever it cannot be encrypted.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::{assert_nothing_stored, message, script, start, SECRET};
use perot_testing::dovecot::{Config, Dovecot, Era, Lmtp};
use perot_testing::{
    armored, armored_secret, decrypt, expired, key_for, only_seipd2, revoked, revoked_user_id, signing_only,
};

const ME: &str = "me@domain.com";

/// One cause of failure: a user, the preparation, the script, and the text in the log.
struct Row {
    user: &'static str,
    prepare: fn(&Dovecot, &str),
    script: String,
    log: &'static str,
}

fn mode(path: &std::path::Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn rows() -> Vec<Row> {
    let plain = || script("", "encrypt;");
    let literal = |armored: Vec<u8>| {
        let text = String::from_utf8(armored).unwrap();
        script("", &format!("encrypt text:\n{text}\n.\n;"))
    };
    let mut damaged = String::from_utf8(armored(&key_for(ME))).unwrap();
    damaged.replace_range(200..204, "????");
    vec![
        Row {
            user: "missing@t.org",
            prepare: |_, _| {},
            script: plain(),
            log: "no certificate for missing@t.org. Searched: ",
        },
        Row {
            user: "damaged@t.org",
            prepare: |d, u| drop(d.give(u, "k.asc", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nxyz")),
            script: plain(),
            log: "no certificate; k.asc: its armor has no END line: it is cut off",
        },
        Row {
            user: "empty@t.org",
            prepare: |d, u| drop(d.give(u, "k.asc", b"")),
            script: plain(),
            log: "k.asc: it holds no certificate",
        },
        Row {
            user: "unreadable@t.org",
            prepare: |d, u| mode(&d.give(u, "k.asc", &armored(&key_for(u))), 0o000),
            script: plain(),
            log: "k.asc: it cannot be read: Permission denied",
        },
        Row {
            user: "locked@t.org",
            prepare: |d, u| mode(d.give(u, "k.asc", &armored(&key_for(u))).parent().unwrap(), 0o000),
            script: plain(),
            log: "pgp-certs: it cannot be read: Permission denied",
        },
        Row {
            user: "open@t.org",
            prepare: |d, u| mode(d.give(u, "k.asc", &armored(&key_for(u))).parent().unwrap(), 0o777),
            script: plain(),
            log: "pgp-certs: everybody may write it, so anybody could read the mail: chmod o-w",
        },
        Row {
            user: "openfile@t.org",
            prepare: |d, u| mode(&d.give(u, "k.asc", &armored(&key_for(u))), 0o666),
            script: plain(),
            log: "k.asc: everybody may write it, so anybody could read the mail: chmod o-w",
        },
        Row {
            user: "link@t.org",
            prepare: |d, u| {
                let real = d.give(u, "real.txt", &armored(&key_for(u)));
                std::os::unix::fs::symlink(&real, real.with_file_name("k.asc")).unwrap();
            },
            script: plain(),
            log: "k.asc: it is a symbolic link",
        },
        Row {
            user: "revoked@t.org",
            prepare: |d, u| drop(d.give(u, "k.asc", &armored(&revoked(u)))),
            script: plain(),
            log: "is revoked: put the certificate of the new key in its place",
        },
        Row {
            user: "retired@t.org",
            prepare: |d, u| drop(d.give(u, "k.asc", &armored(&revoked_user_id(u)))),
            script: plain(),
            log: "does not count for retired@t.org: its User ID with this address is revoked",
        },
        Row {
            user: "signer@t.org",
            prepare: |d, u| drop(d.give(u, "k.asc", &armored(&signing_only(u)))),
            script: plain(),
            log: "cannot be encrypted to: it has no encryption subkey",
        },
        Row {
            user: "several@t.org",
            prepare: |d, u| drop(d.give(u, "k.asc", &armored(&key_for(u)))),
            script: script("", "encrypt [\"several@t.org\", \"nobody@t.org\"];"),
            log: "no certificate for nobody@t.org",
        },
        Row {
            user: "mixed@t.org",
            prepare: |d, u| {
                d.give(u, "four.asc", &armored(&key_for("four@t.org")));
                d.give(u, "six.asc", &armored(&only_seipd2("six@t.org")));
            },
            script: script("", "encrypt [\"four@t.org\", \"six@t.org\"];"),
            log: "(version 6) reads only the new message format",
        },
        Row {
            user: "variable@t.org",
            prepare: |_, _| {},
            script: script(", \"variables\"", "set \"x\" \"non\\rsense\"; encrypt \"${x}\";"),
            log: "a recipient in the script is not one: write an e-mail address",
        },
        Row {
            user: "wrongtext@t.org",
            prepare: |_, _| {},
            script: script("", "encrypt \"me\";"),
            log: "a recipient in the script is not one",
        },
        Row {
            user: "literal@t.org",
            prepare: |_, _| {},
            script: literal(damaged.into_bytes()),
            log: "the certificate in the script cannot be used: ",
        },
        Row {
            user: "secret@t.org",
            prepare: |_, _| {},
            script: literal(armored_secret(&key_for(ME))),
            log: "it holds the secret key, which must never be on a server",
        },
        Row {
            user: "panic@t.org",
            prepare: |_, _| {},
            script: script("", "encrypt \"panic@test.invalid\";"),
            log: "a fault in perot-encrypt (src/ffi/mod.rs:",
        },
        Row {
            user: "fifo@t.org",
            prepare: |d, u| {
                let fifo = d.give(u, "x", b"").with_file_name("k.asc");
                assert!(std::process::Command::new("mkfifo").arg(fifo).status().unwrap().success());
            },
            script: plain(),
            log: "k.asc: ",
        },
    ]
}

#[test]
fn every_way_to_fail_defers_the_message() {
    let dovecot = start();
    let rows = rows();
    for row in &rows {
        (row.prepare)(&dovecot, row.user);
        dovecot.script(row.user, &row.script);
    }
    let mut session = Lmtp::connect(&dovecot.path("run/lmtp"));
    for row in &rows {
        let answer = session.deliver(&[row.user], &message("failing")).remove(0);
        assert!(answer.starts_with("451 "), "{}: {answer}\n{}", row.user, dovecot.log());
        assert!(answer.contains("could not be encrypted for its owner ("), "{}: {answer}", row.user);
        dovecot.log_line(&["Error: ", row.user, "not encrypted, deferred: ", row.log]);
        assert_nothing_stored(&dovecot, row.user);
    }
    // The same process serves the next message on the connection, and can do so once the cause is removed.
    let key = key_for("missing@t.org");
    dovecot.give("missing@t.org", "k.asc", &armored(&key));
    let answer = session.deliver(&["missing@t.org"], &message("works")).remove(0);
    assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
    assert!(decrypt(&dovecot.only_message("missing@t.org"), &key).ends_with(&message("works")));
    assert!(!dovecot.log().contains("Fatal") && !dovecot.log().contains("Panic"), "{}", dovecot.log());
}

#[test]
fn a_wrong_setting_defers_every_message() {
    for (name, value, log) in [
        (
            "on_error",
            "bounce",
            "sieve_perot_encrypt_on_error = bounce: not understood: write `tempfail` or `keep`",
        ),
        (
            "on_no_certificate",
            "yes",
            "sieve_perot_encrypt_on_no_certificate = yes: not understood: write `tempfail` or `keep`",
        ),
        ("compress", "zlib", "sieve_perot_encrypt_compress = zlib: not understood: write `yes` or `no`"),
        (
            "subkeys",
            "pqc",
            "sieve_perot_encrypt_subkeys = pqc: not understood: write `all` or `post-quantum`",
        ),
        ("prefer", "pgp", "sieve_perot_encrypt_prefer = pgp: not understood: write `openpgp` or `smime`"),
        (
            "certs",
            "certs/x",
            "sieve_perot_encrypt_certs = certs/x: not understood: write paths that begin with",
        ),
        ("cert", "rubbish", "sieve_perot_encrypt_cert of me@domain.com: "),
    ] {
        let dovecot = Dovecot::start(&Config { plugin: vec![(name, value.into())], ..Config::default() });
        dovecot.script(ME, &script("", "encrypt;"));
        let answer = dovecot.deliver(ME, &message("setting"));
        assert!(answer.starts_with("451 "), "{name}: {answer}\n{}", dovecot.log());
        dovecot.log_line(&["Error: ", log]);
        assert_nothing_stored(&dovecot, ME);
    }
}

/// Dovecot 2.4 returns settings only for its settings modules. 2.3 has no such modules.
#[test]
fn a_missing_settings_module_defers_every_message() {
    let config = Config { no_settings_module: true, default_certs: true, ..Config::default() };
    let dovecot = Dovecot::start(&config);
    dovecot.give(ME, "k.asc", &armored(&key_for(ME)));
    dovecot.script(ME, &script("", "encrypt;"));
    let answer = dovecot.deliver(ME, &message("module"));
    if dovecot.era == Era::V23 {
        assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
    } else {
        assert!(answer.starts_with("451 "), "{answer}\n{}", dovecot.log());
        dovecot.log_line(&[
            "the settings cannot be read: ",
            "Is libsieve_perot_encrypt_settings.so in Dovecot's folder",
        ]);
        assert_nothing_stored(&dovecot, ME);
    }
}

#[test]
fn the_administrator_can_ask_to_keep() {
    let dovecot = Dovecot::start(&Config { plugin: vec![("on_error", "keep".into())], ..Config::default() });
    dovecot.script(ME, &script("", "encrypt;"));
    assert!(dovecot.deliver(ME, &message("kept")).starts_with("250 "), "{}", dovecot.log());
    assert!(dovecot.only_message(ME).ends_with(b"sings.\n"));
    dovecot.log_line(&["Error: ", "the script goes on with it as it was: no certificate for me@domain.com"]);
}

#[test]
fn the_script_can_ask_to_try() {
    let dovecot = start();
    dovecot.script("try@t.org", &script("", "encrypt :try;"));
    assert!(dovecot.deliver("try@t.org", &message("tried")).starts_with("250 "));
    assert!(dovecot.only_message("try@t.org").ends_with(b"sings.\n"));
    dovecot.log_line(&["Error: ", "the script goes on with it as it was: no certificate for try@t.org"]);

    let test = "if not encrypt { fileinto :create \"failed\"; }";
    dovecot.script("test@t.org", &script(", \"fileinto\", \"mailbox\"", test));
    assert!(dovecot.deliver("test@t.org", &message("tested")).starts_with("250 "));
    assert_eq!(dovecot.stored("test@t.org")[0].0, ".failed", "{}", dovecot.log());
    dovecot.log_line(&["Error: ", "the test is false: no certificate for test@t.org"]);
}

#[test]
fn an_expired_certificate_is_used_with_a_warning() {
    let dovecot = start();
    let key = expired(ME);
    dovecot.give(ME, "k.asc", &armored(&key));
    dovecot.script(ME, &script("", "encrypt;"));
    assert!(dovecot.deliver(ME, &message("late")).starts_with("250 "), "{}", dovecot.log());
    let stored = dovecot.only_message(ME);
    assert!(decrypt(&stored, &key).ends_with(&message("late")));
    let marker = format!(" expired={}\n", key.fingerprint().to_hex());
    assert!(
        perot_testing::find(&stored, marker.as_bytes()).is_some(),
        "{}",
        String::from_utf8_lossy(&stored)
    );
    dovecot.log_line(&["Warning: ", "has expired; it is used all the same"]);
    dovecot.assert_nowhere(SECRET);
}

/// The message is small enough to be received in memory, and too large, once encrypted, to be kept there.
#[test]
fn full_temporary_space_defers_the_message() {
    let big = [message("big"), b"0123456789abcdef0123456789abcdef\r\n".repeat(3300)].concat();
    let no_room = Config { temp_size: Some("64k"), ..Config::default() };
    let no_folder = Config { temp_dir: Some("/nonexistent"), ..Config::default() };
    for (config, log) in [(no_room, "No space left on device"), (no_folder, "No such file or directory")] {
        let dovecot = Dovecot::start(&config);
        let key = key_for(ME);
        dovecot.give(ME, "k.asc", &armored(&key));
        dovecot.script(ME, &script("", "encrypt;"));
        let mut session = Lmtp::connect(&dovecot.path("run/lmtp"));
        let answer = session.deliver(&[ME], &big).remove(0);
        assert!(
            answer.starts_with("451 ") && answer.contains("(write_failed)"),
            "{answer}\n{}",
            dovecot.log()
        );
        dovecot.log_line(&["Error: ", "the encrypted message cannot be written: ", log]);
        assert_nothing_stored(&dovecot, ME);
        // Small messages do not need the space.
        assert!(session.deliver(&[ME], &message("small")).remove(0).starts_with("250 "), "{}", dovecot.log());
        assert!(decrypt(&dovecot.only_message(ME), &key).ends_with(&message("small")));
    }
}

/// A stored message that cannot be read stays where it is.
#[test]
fn an_unreadable_message_is_left_alone() {
    let dovecot = start();
    dovecot.give(ME, "k.asc", &armored(&key_for(ME)));
    let cur = dovecot.home(ME).join("Maildir/cur");
    fs::create_dir_all(&cur).unwrap();
    // The file name has both sizes. Otherwise sieve-filter would notice before the script runs.
    let size = message("locked").len();
    let mail = cur.join(format!("1700000000.M1P1.host,S={size},W={size}:2,S"));
    fs::write(&mail, message("locked")).unwrap();
    for path in [cur.parent().unwrap(), &cur, &mail] {
        dovecot.own(path);
    }
    mode(&mail, 0o000);
    let source = dovecot.path("global/filter.sieve");
    fs::write(&source, script("", "encrypt;")).unwrap();
    let arguments = ["-e", "-W", "-u", ME].map(std::ffi::OsStr::new);
    let inbox = std::ffi::OsStr::new("INBOX");
    let output = dovecot.tool("sieve-filter", &[&arguments[..], &[source.as_os_str(), inbox]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("not encrypted, left as it is: "), "{said}");
    mode(&mail, 0o600);
    assert_eq!(dovecot.only_message(ME), message("locked"));
}
