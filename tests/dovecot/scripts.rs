//! The language, in addition to tests/sieve: the compiled form, recipients, and deliveries.

use std::ffi::OsStr;
use std::fs;

use crate::{literal, message, script, start, SECRET};
use perot_testing::dovecot::{Config, Dovecot};
use perot_testing::{armored, ciphertext, decrypt, encrypt_to, find, key_for, settings};

const ME: &str = "me@domain.com";

/// Runs sievec on a script. Returns success and output.
fn sievec(dovecot: &Dovecot, text: &str) -> (bool, String) {
    let source = dovecot.path("global/checked.sieve");
    fs::write(&source, text).unwrap();
    let compiled = dovecot.path("global/checked.svbin");
    let output = dovecot.tool("sievec", &[source.as_os_str(), compiled.as_os_str()]);
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn the_binary_can_be_dumped() {
    let dovecot = Dovecot::prepare(&Config::default());
    let body =
        "encrypt; encrypt :force :try :hidesubject :also \"c@t.org\" [\"a@t.org\", \"b@t.org\"]; if anyof (encrypted, encrypt) { stop; }";
    let (compiled, output) = sievec(&dovecot, &script("", body));
    assert!(compiled, "{output}");
    let dump = dovecot.tool("sieve-dump", &[dovecot.path("global/checked.svbin").as_os_str()]);
    let dump = String::from_utf8_lossy(&dump.stdout);
    for text in [
        "ENCRYPT (command)",
        "(the owner)",
        "force",
        "try",
        "hidesubject",
        "also: STR[7] \"c@t.org\"",
        "\"b@t.org\"",
        "ENCRYPTED",
        "ENCRYPT (test)",
    ] {
        assert!(dump.contains(text), "{text} is not in\n{dump}");
    }
}

#[test]
fn a_damaged_binary_defers_the_message() {
    let dovecot = start();
    dovecot.give(ME, "k.asc", &armored(&key_for(ME)));
    dovecot.script(ME, &script("", "encrypt :try \"me@domain.com\";"));
    assert!(dovecot.deliver(ME, &message("compiles")).starts_with("250 "), "{}", dovecot.log());
    let binary = dovecot.home(ME).join(".dovecot.svbin");
    let mut bytes = fs::read(&binary).unwrap();
    let operand = find(&bytes, b"\x0dme@domain.com").unwrap() - 1;
    bytes[operand] = 0x7f;
    fs::write(&binary, bytes).unwrap();
    let answer = dovecot.deliver(ME, &message("damaged"));
    assert!(answer.starts_with("451 ") && answer.contains("(internal)"), "{answer}\n{}", dovecot.log());
    dovecot.log_line(&["Error: ", "deferred: the compiled script is damaged: remove its .svbin file"]);
    assert_eq!(dovecot.stored(ME).len(), 1);
    dovecot.assert_nowhere(SECRET);
}

#[test]
fn a_trace_shows_each_step() {
    // The tools find another home for the user than a delivery does.
    let dovecot =
        Dovecot::prepare(&Config { plugin: vec![("certs", "{dir}/certs".into())], ..Config::default() });
    fs::write(dovecot.certs().join("me.asc"), armored(&key_for(ME))).unwrap();
    let source = dovecot.path("global/traced.sieve");
    fs::write(&source, script("", "encrypt \"me@domain.com\"; if encrypted { keep; }")).unwrap();
    let mail = dovecot.path("mail.eml");
    fs::write(&mail, message("traced")).unwrap();
    let arguments = ["-t", "-", "-Tlevel=tests", "-e"].map(OsStr::new);
    let output =
        dovecot.tool("sieve-test", &[&arguments[..3], &[source.as_os_str(), mail.as_os_str()]].concat());
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    for expected in
        ["encrypt action", "certificate ", "with 1 key(s)", "all of the message is encrypted: yes"]
    {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
}

/// Each row: a user, and a script that encrypts to the certificate of `me@domain.com`.
#[test]
fn recipients_of_all_kinds() {
    let dovecot = start();
    let key = key_for(ME);
    fs::write(dovecot.certs().join("me.asc"), armored(&key)).unwrap();
    let hex = key.fingerprint().to_hex();
    let spaced = key.fingerprint().to_spaced_hex();
    let rows = [
        ("a@t.org", "", "encrypt \"me@domain.com\";".to_owned()),
        ("b@t.org", "", "encrypt \"ME@Domain.Com\";".to_owned()),
        ("c@t.org", "", "encrypt \"me+lists@domain.com\";".to_owned()),
        ("d@t.org", "", format!("encrypt \"{hex}\";")),
        ("e@t.org", "", format!("encrypt \"0x{}\";", hex.to_lowercase())),
        ("f@t.org", "", format!("encrypt \"{spaced}\";")),
        ("g@t.org", "", literal(&armored(&key))),
        ("h@t.org", "", format!("encrypt [\"me@domain.com\", \"{hex}\"];")),
        (
            "i@t.org",
            ", \"variables\"",
            "set \"u\" \"me\"; set \"d\" \"domain.com\"; encrypt \"${u}@${d}\";".to_owned(),
        ),
        (ME, "", "encrypt;".to_owned()),
    ];
    for (user, requires, body) in rows {
        dovecot.script(user, &script(requires, &body));
        let answer = dovecot.deliver(user, &message("kinds"));
        assert!(answer.starts_with("250 "), "{body}: {answer}\n{}", dovecot.log());
        assert!(decrypt(&dovecot.only_message(user), &key).ends_with(&message("kinds")), "{body}");
    }
    dovecot.assert_nowhere(SECRET);
}

/// Each row: a user, a script, the answer, and the keys to which the message is stored, if it is. No key: in clear.
#[test]
fn further_recipients() {
    let keep = vec![("on_no_certificate", "keep".to_owned())];
    let dovecot = Dovecot::start(&Config { plugin: keep, ..Config::default() });
    let (mine, second) = (key_for(ME), key_for("second@t.org"));
    dovecot.give(ME, "k.asc", &armored(&mine));
    fs::write(dovecot.certs().join("second.asc"), armored(&second)).unwrap();
    let hex = second.fingerprint().to_hex();
    let both = &[&mine, &second][..];
    let rows = [
        (ME, "encrypt :also \"second@t.org\";".to_owned(), "250 ", Some(both)),
        (ME, literal(&armored(&second)).replace("encrypt", "encrypt :also"), "250 ", Some(both)),
        (ME, format!("encrypt :also [\"{hex}\"] \"{ME}\";"), "250 ", Some(both)),
        (ME, format!("if encrypt :also \"{hex}\" {{ keep; }} else {{ discard; }}"), "250 ", Some(both)),
        (ME, "encrypt :also \"nobody@t.org\";".into(), "451 ", None),
        // Nothing is encrypted for the others alone.
        ("none@t.org", "encrypt :also \"second@t.org\";".into(), "250 ", Some(&[])),
        ("none@t.org", "encrypt :also \"second@t.org\" \"none@t.org\";".into(), "451 ", None),
    ];
    for (user, body, expected, keys) in rows {
        dovecot.script(user, &script("", &body));
        let answer = dovecot.deliver(user, &message("also"));
        assert!(answer.starts_with(expected), "{body}: {answer}\n{}", dovecot.log());
        let Some(keys) = keys else {
            assert!(dovecot.stored(user).is_empty(), "{body}");
            continue;
        };
        let stored = dovecot.only_message(user);
        for key in keys {
            assert!(decrypt(&stored, key).ends_with(&message("also")), "{body}");
        }
        assert_eq!(find(&stored, SECRET.as_bytes()).is_some(), keys.is_empty(), "{body}");
        fs::remove_dir_all(dovecot.home(user).join("Maildir")).unwrap();
    }
    dovecot.log_line(&["deferred: no certificate for nobody@t.org. Searched: "]);
    dovecot.log_line(&["left as it is: its owner has no certificate: no certificate for none@t.org. "]);
}

#[test]
fn what_is_encrypted_already_is_left_alone_unless_forced() {
    let dovecot = start();
    let key = key_for(ME);
    dovecot.give(ME, "k.asc", &armored(&key));
    let (_, encrypted) =
        encrypt_to(&settings(&[&dovecot.home(ME).join("pgp-certs")]), &[ME.as_bytes()], &message("twice"))
            .unwrap();
    let deliver = |requires: &str, body: &str| {
        dovecot.script(ME, &script(requires, body));
        assert!(dovecot.deliver(ME, &encrypted).starts_with("250 "), "{}", dovecot.log());
        let stored = dovecot.stored(ME);
        assert_eq!(stored.len(), 1, "{}", dovecot.log());
        fs::remove_dir_all(dovecot.home(ME).join("Maildir")).unwrap();
        stored.into_iter().next().unwrap()
    };
    let (_, left) = deliver("", "encrypt;");
    assert!(perot_testing::with_crlf(&left).ends_with(&encrypted));
    dovecot.log_line(&["message left as it is: it is encrypted already"]);

    let (folder, _) = deliver(", \"fileinto\", \"mailbox\"", "if encrypted { fileinto :create \"secret\"; }");
    assert_eq!(folder, ".secret");
    let (folder, _) = deliver(", \"fileinto\", \"mailbox\"", "if encrypt { fileinto :create \"secret\"; }");
    assert_eq!(folder, ".secret");

    let (_, forced) = deliver("", "encrypt :force;");
    assert!(ciphertext(&forced) != ciphertext(&left));
    assert!(decrypt(&decrypt(&forced, &key), &key).ends_with(&message("twice")));
}

#[test]
fn the_owner_may_bring_the_certificate_in_a_setting() {
    let key = key_for("somebody@else.org");
    let one_line = {
        use base64::Engine;
        use sequoia_openpgp::serialize::SerializeInto;
        let binary = key.clone().strip_secret_key_material().to_vec().unwrap();
        base64::engine::general_purpose::STANDARD.encode(binary)
    };
    let dovecot = Dovecot::start(&Config { plugin: vec![("cert", one_line)], ..Config::default() });
    for (user, body) in [(ME, "encrypt;"), ("two@t.org", "encrypt \"somebody@else.org\";")] {
        dovecot.script(user, &script("", body));
        let answer = dovecot.deliver(user, &message("setting"));
        assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
        assert!(decrypt(&dovecot.only_message(user), &key).ends_with(&message("setting")));
    }
}

#[test]
fn drafts_are_left_alone() {
    let dovecot = start();
    dovecot.give(ME, "k.asc", &armored(&key_for(ME)));
    let requires = ", \"imap4flags\", \"fileinto\", \"mailbox\"";
    let folder = dovecot.home(ME).join("Maildir/cur");
    fs::create_dir_all(&folder).unwrap();
    let mail = folder.join("1700000000.M1P1.host:2,DS");
    fs::write(&mail, String::from_utf8(message("draft")).unwrap().replace("\r\n", "\n")).unwrap();
    for path in ["Maildir", "Maildir/cur", "Maildir/cur/1700000000.M1P1.host:2,DS"] {
        dovecot.own(&dovecot.home(ME).join(path));
    }
    let source = dovecot.path("global/filter.sieve");
    fs::write(&source, script(requires, "encrypt;")).unwrap();
    let arguments = ["-e", "-W", "-u", ME].map(OsStr::new);
    let output =
        dovecot.tool("sieve-filter", &[&arguments[..], &[source.as_os_str(), OsStr::new("INBOX")]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(find(&dovecot.only_message(ME), SECRET.as_bytes()).is_some());
}
