//! S/MIME in a real Dovecot: every door through which mail comes, and each way in which it fails.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use base64::prelude::{Engine, BASE64_STANDARD};
use perot_encrypt::certs::x509::fingerprint;
use perot_testing::dovecot::{run_with, Config, Dovecot};
use perot_testing::smime::Identity;
use perot_testing::{armored, decrypt, find, key_for, with_crlf};

use crate::existing::filter;
use crate::{assert_nothing_stored, message, script, SECRET};

const ME: &str = "me@domain.com";
const YOU: &str = "you@domain.com";

static MINE: LazyLock<Identity> = LazyLock::new(|| Identity::new("rsa:2048", ME));
static YOURS: LazyLock<Identity> = LazyLock::new(|| Identity::new("P-256", YOU));

fn pem(identity: &Identity) -> Vec<u8> {
    fs::read(identity.path("cert")).unwrap()
}

fn hex(identity: &Identity) -> String {
    fingerprint(&identity.der()).unwrap()
}

/// Starts a Dovecot with the mail plugin in which `ME` has a certificate.
fn start(config: Config) -> Dovecot {
    let dovecot = Dovecot::start(&Config { delivery_plugins: Some("sieve perot_encrypt"), ..config });
    dovecot.give(ME, "me.pem", &pem(&MINE));
    dovecot
}

/// Panics unless a stored message is this one, encrypted to this certificate.
fn assert_is_encrypted(what: &str, stored: &[u8], identity: &Identity, message: &[u8]) {
    let stored = &with_crlf(stored)[..];
    let marker = format!(
        "Encrypted-On-Delivery: s-mime; agent=\"vnd.perot.encrypt/{}\";\r\n to=",
        env!("CARGO_PKG_VERSION")
    );
    let text = String::from_utf8_lossy(stored);
    assert!(find(stored, marker.as_bytes()).is_some() && text.contains(&hex(identity)), "{what}: {text}");
    assert!(
        find(stored, b"\r\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data;\r\n").is_some(),
        "{what}"
    );
    assert!(identity.decrypt(stored).ends_with(&with_crlf(message)), "{what}: another message");
}

/// Delivers a message, which must be stored encrypted to this certificate alone, and nowhere in clear.
fn assert_delivered(what: &str, dovecot: &Dovecot, identity: &Identity) {
    let message = message("smime");
    let answer = dovecot.deliver(ME, &message);
    assert!(answer.starts_with("250 "), "{what}: {answer}\n{}", dovecot.log());
    assert_is_encrypted(what, &dovecot.only_message(ME), identity, &message);
    dovecot.assert_nowhere(SECRET);
    fs::remove_dir_all(dovecot.home(ME).join("Maildir")).unwrap();
}

fn assert_deferred(what: &str, dovecot: &Dovecot, why: &str) {
    let answer = dovecot.deliver(ME, &message("smime"));
    assert!(answer.starts_with("451 "), "{what}: {answer}\n{}", dovecot.log());
    dovecot.log_line(&["Error: ", why]);
    assert_nothing_stored(dovecot, ME);
}

#[test]
fn deliveries_with_and_without_a_script() {
    let dovecot = start(Config::default());
    assert_delivered("no script", &dovecot, &MINE);
    let literal = |identity| format!("encrypt text:\n{}.\n;", String::from_utf8(pem(identity)).unwrap());
    let both = format!("encrypt [\"{ME}\", \"{}\"];", hex(&YOURS));
    dovecot.give(ME, "you.crt", &YOURS.der());
    for (what, commands, identity) in [
        ("the owner", "encrypt;".to_owned(), &MINE),
        ("an address", format!("encrypt \"{ME}\";"), &MINE),
        ("a fingerprint", format!("encrypt \"{}\";", hex(&YOURS)), &YOURS),
        ("a certificate in the script", literal(&YOURS), &YOURS),
        ("a test", "if not encrypt :hidesubject { stop; } if not encrypted { discard; }".to_owned(), &MINE),
    ] {
        dovecot.script(ME, &script("", &commands));
        assert_delivered(what, &dovecot, identity);
    }
    dovecot.script(ME, &script("", &both));
    assert!(dovecot.deliver(ME, &message("smime")).starts_with("250 "));
    let stored = dovecot.only_message(ME);
    for identity in [&*MINE, &YOURS] {
        assert_is_encrypted("two recipients", &stored, identity, &message("smime"));
    }
    dovecot.log_line(&["the subject stays in clear: no mail program shows a hidden one in S/MIME"]);
}

#[test]
fn who_has_both_kinds_gets_openpgp_unless_somebody_says_otherwise() {
    let key = key_for(ME);
    for (setting, commands, smime) in [
        (None, "encrypt;", false),
        (None, "encrypt :smime;", true),
        (Some("smime"), "encrypt;", true),
        (Some("smime"), "keep;", true),
        (Some("openpgp"), "keep;", false),
    ] {
        let plugin = setting.map(|kind| ("prefer", kind.to_owned())).into_iter().collect();
        let dovecot = start(Config { plugin, ..Config::default() });
        dovecot.give(ME, "k.asc", &armored(&key));
        dovecot.script(ME, &script("", commands));
        let what = format!("{setting:?}, {commands}");
        if smime {
            assert_delivered(&what, &dovecot, &MINE);
        } else {
            assert!(dovecot.deliver(ME, &message("smime")).starts_with("250 "), "{}", dovecot.log());
            assert!(decrypt(&dovecot.only_message(ME), &key).ends_with(&message("smime")), "{what}");
        }
    }
}

#[test]
fn a_certificate_in_the_user_database() {
    let plugin = vec![("cert", BASE64_STANDARD.encode(YOURS.der()))];
    let dovecot = start(Config { plugin, ..Config::default() });
    assert_delivered("a setting", &dovecot, &YOURS);
}

#[test]
fn what_defers_the_mail() {
    let authority =
        Identity::with("P-256", &format!("basicConstraints = CA:TRUE\nsubjectAltName = email:{YOU}\n"), None);
    let dovecot = start(Config::default());
    dovecot.give(ME, "k.asc", &armored(&key_for("pgp@domain.com")));
    dovecot.give(ME, "authority.pem", &pem(&authority));
    let key = dovecot.give(ME, "rubbish@domain.com.pem", &fs::read(MINE.path("key")).unwrap());
    for (recipients, why) in [
        (format!("[\"{ME}\", \"pgp@domain.com\"]"), "one of S/MIME, and a message has one format"),
        (format!("\"{YOU}\""), "is for signing other certificates (CA:TRUE)"),
        ("\"rubbish@domain.com\"".to_owned(), "it holds a private key, which must not be on a server"),
    ] {
        dovecot.script(ME, &script("", &format!("encrypt {recipients};")));
        assert_deferred(&recipients, &dovecot, why);
    }
    // Whoever has both kinds goes together with each.
    dovecot.give(ME, "pgp.pem", &pem(&Identity::new("rsa:2048", "pgp@domain.com")));
    dovecot.script(ME, &script("", "encrypt :also \"pgp@domain.com\";"));
    assert_delivered("one has both", &dovecot, &MINE);
    // The certificate beside a private key is used, and the log says so.
    let both = [fs::read(&key).unwrap(), pem(&MINE)].concat();
    fs::write(&key, both).unwrap();
    fs::remove_file(key.with_file_name("me.pem")).unwrap();
    dovecot.script(ME, &script("", "encrypt;"));
    assert_delivered("a private key beside it", &dovecot, &MINE);
    dovecot.log_line(&[
        "Error: ",
        "it holds a private key, which must not be on a server: put the certificate alone there",
    ]);
    let plugin = vec![("prefer", "pgp".to_owned())];
    let dovecot = start(Config { plugin, ..Config::default() });
    assert_deferred("a wrong setting", &dovecot, "prefer = pgp: not understood: write `openpgp` or `smime`");
}

#[test]
fn what_is_encrypted_already_and_what_is_in_the_mailbox() {
    let config = Config { plugin: vec![("deliveries", "no".to_owned())], ..Config::default() };
    let dovecot = start(config);
    let clear = message("smime");
    assert!(dovecot.deliver(ME, &clear).starts_with("250 "));
    for _ in 0..2 {
        filter(&dovecot, "INBOX");
        // The second time it is left as it is.
        assert_is_encrypted("sieve-filter", &dovecot.only_message(ME), &MINE, &clear);
    }
}

#[test]
fn what_a_mail_program_saves() {
    let plugin = vec![("saved", "Sent".to_owned())];
    let dovecot = start(Config { plugin, imap_plugins: "perot_encrypt", ..Config::default() });
    let saved = message("saved");
    let code = format!("imap.create('Sent'); good(imap.append('Sent', '', None, bytes({:?})))", &saved[..]);
    dovecot.imap(ME, &code);
    let stored = dovecot.stored(ME);
    assert!(stored.len() == 1 && stored[0].0.ends_with("Sent"), "{}", dovecot.log());
    assert_is_encrypted("APPEND", &stored[0].1, &MINE, &saved);
    dovecot.assert_nowhere(SECRET);
}

#[test]
fn the_tool() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("me.pem"), pem(&MINE)).unwrap();
    let clear = with_crlf(&message("smime"));
    let tool = env!("CARGO_BIN_EXE_perot-encrypt");
    let gpgit = folder.path().join("gpgit");
    symlink(tool, &gpgit).unwrap();
    for program in [Path::new(tool), &gpgit] {
        let mut command = Command::new(program);
        command.arg("--certs").arg(folder.path()).arg(ME);
        let output = run_with(&mut command, &clear);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_is_encrypted("the tool", &output.stdout, &MINE, &clear);
    }
    let mut check = Command::new(tool);
    check.args(["check", "--json", "--certs"]).arg(folder.path());
    let output = run_with(&mut check, b"");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let certificate = &report["certificates"][0];
    for (field, value) in
        [("fingerprint", serde_json::json!(hex(&MINE))), ("kind", "X.509".into()), ("usable", true.into())]
    {
        assert_eq!(certificate[field], value, "{certificate:#}");
    }
    assert_eq!(certificate["keys"][0]["bits"], 2048);
    assert_eq!(certificate["user_ids"][0]["addresses"][0], ME);
}
