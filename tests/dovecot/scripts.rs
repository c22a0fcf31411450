//! The language: what compiles, what does not, what the author is told, and how it runs.

use std::ffi::OsStr;
use std::fs;

use crate::support::dovecot::{Config, Dovecot};
use crate::support::{
    armored, armored_secret, builder, ciphertext, decrypt, encrypt_to, expired, key_for, revoked, settings,
    signing_only,
};
use crate::{literal, message, script, start, SECRET};

const ME: &str = "me@domain.com";

/// What sievec says of a script.
fn sievec(dovecot: &Dovecot, text: &str) -> (bool, String) {
    let source = dovecot.path("global/checked.sieve");
    fs::write(&source, text).unwrap();
    let compiled = dovecot.path("global/checked.svbin");
    let output = dovecot.tool("sievec", &[source.as_os_str(), compiled.as_os_str()]);
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn what_does_not_compile_and_why() {
    let dovecot = Dovecot::prepare(&Config::default());
    let many = (0..33).map(|i| format!("\"u{i}@t.org\"")).collect::<Vec<_>>().join(", ");
    for (body, error) in [
        (
            "encrypt 1;",
            "the encrypt command expects a string list as argument 1 (to), but a number was found",
        ),
        (
            "encrypt :force \"me@t.org\" \"you@t.org\";",
            "the encrypt command takes one argument, a string or a list of strings: the recipients",
        ),
        ("encrypt :strong;", "unknown tagged argument ':strong' for the encrypt command"),
        ("encrypt :force :force;", "encountered duplicate :force argument for the encrypt command"),
        (&format!("encrypt [{many}];"), "the encrypt command takes up to 32 recipients, and these are 33"),
        ("encrypted;", "attempted to use test 'encrypted' as command"),
        (
            "if encrypted \"x\" { keep; }",
            "the encrypted test requires 0 positional argument(s), but 1 is/are specified",
        ),
        ("encrypt \"me\";", "encrypt: 'me': a recipient in the script is not one: write an e-mail address"),
        (
            "encrypt \"DEADBEEFDEADBEEF\";",
            "encrypt: 'DEADBEEFDEADBEEF': a recipient in the script is a key ID",
        ),
        (
            &literal(b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nxxxx"),
            "its armor has no END line: it is cut off",
        ),
        (&literal(&armored_secret(&key_for(ME))), "it holds the secret key, which must never be on a server"),
        (&literal(&armored(&revoked(ME))), "is revoked: put the certificate of the new key in its place"),
        (&literal(&armored(&signing_only(ME))), "it has no encryption subkey"),
    ] {
        let (compiled, output) = sievec(&dovecot, &script("", body));
        assert!(!compiled, "{body} compiles");
        let output = output.replace('`', "'");
        assert!(output.contains(error), "{body}: '{error}' is not in\n{output}");
    }
}

#[test]
fn what_compiles_with_a_warning() {
    let dovecot = Dovecot::prepare(&Config::default());
    fs::write(dovecot.certs().join("late.asc"), armored(&expired("late@t.org"))).unwrap();
    let soon =
        builder("soon@t.org").set_validity_period(std::time::Duration::from_secs(5 * 24 * 3600 + 3600));
    fs::write(dovecot.certs().join("soon.asc"), armored(&soon.generate().unwrap().0)).unwrap();
    for (requires, body, warning) in [
        (
            "",
            "keep; encrypt;",
            "'keep' on line 2 comes before 'encrypt': it takes the message as it is, not encrypted",
        ),
        (
            ", \"fileinto\"",
            "fileinto \"x\";\nif true { encrypt; }",
            "'fileinto' on line 2 comes before 'encrypt'",
        ),
        ("", "redirect \"x@t.org\"; if encrypt { stop; }", "'redirect' on line 2 comes before 'encrypt'"),
        ("", "encrypt \"soon@t.org\";", "expires in 5 days: renew it, and export it anew"),
        ("", "encrypt \"late@t.org\";", "has expired: renew it, and export it anew"),
        ("", "encrypt \"nobody@t.org\";", "no certificate for nobody@t.org. Searched: "),
    ] {
        let (compiled, output) = sievec(&dovecot, &script(requires, body));
        assert!(compiled, "{body} does not compile:\n{output}");
        let output = output.replace('`', "'");
        assert!(
            output.contains("warning: ") && output.contains(warning),
            "{body}: '{warning}' is not in\n{output}"
        );
    }
    let (compiled, output) =
        sievec(&dovecot, &script("", "if header \"x\" \"y\" { encrypt :force :try; } keep;"));
    assert!(compiled && output.is_empty(), "{output}");
}

#[test]
fn the_binary_can_be_dumped() {
    let dovecot = Dovecot::prepare(&Config::default());
    let body =
        "encrypt; encrypt :force :try :hidesubject [\"a@t.org\", \"b@t.org\"]; if anyof (encrypted, encrypt) { stop; }";
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
        "\"b@t.org\"",
        "ENCRYPTED",
        "ENCRYPT (test)",
    ] {
        assert!(dump.contains(text), "{text} is not in\n{dump}");
    }
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

/// A script, and whether the message is encrypted by it to the certificate of `me@domain.com`.
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
        ("me", "", "encrypt;".to_owned()),
    ];
    for (user, requires, body) in rows {
        dovecot.script(user, &script(requires, &body));
        if user == "me" {
            dovecot.give("me", "k.asc", &armored(&key_for("other@t.org")));
            fs::write(dovecot.certs().join("bare.asc"), armored(&key_for("unused@t.org"))).unwrap();
            continue;
        }
        let answer = dovecot.deliver(user, &message("kinds"));
        assert!(answer.starts_with("250 "), "{body}: {answer}\n{}", dovecot.log());
        assert!(decrypt(&dovecot.only_message(user), &key).ends_with(&message("kinds")), "{body}");
    }
    dovecot.assert_nowhere(SECRET);
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
    assert!(crate::support::with_crlf(&left).ends_with(&encrypted));
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
    assert!(crate::support::find(&dovecot.only_message(ME), SECRET.as_bytes()).is_some());
}
