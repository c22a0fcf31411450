//! Dovecot's own encryption of what it stores, together with ours: what doc/mail_crypt.md says and shows.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use crate::support::dovecot::{run, Config, Dovecot, Era};
use crate::support::pages::blocks;
use crate::support::{armored, armored_secret, decrypt, find, key_for};
use crate::{message, script, SECRET};

const ME: &str = "me@domain.com";
const PAGE: &str = "doc/mail_crypt.md";
/// Stands in the header, which `encrypt` leaves in clear.
const SUBJECT: &str = "skylark";

/// A Dovecot with what the page shows, and with `encrypt` for all if `encrypts`.
fn dovecot(encrypts: bool) -> Dovecot {
    let [v23, v24] = &blocks(PAGE, "Configuration")[..] else { panic!("one for each Dovecot") };
    let in_folder = |text: &str| text.replace("/etc/dovecot/mail-crypt", "{dir}/mail-crypt");
    let before = encrypts.then(|| script("", "encrypt;"));
    let config = Config { before, extra_24: in_folder(v24), ..Config::default() };
    let mut dovecot = Dovecot::prepare(&config);
    let in_place = |text: &str| in_folder(text).replace("{dir}", dovecot.path("").to_str().unwrap());
    if dovecot.era == Era::V23 {
        let file = dovecot.path("dovecot.conf");
        fs::write(&file, in_place(v23) + &fs::read_to_string(&file).unwrap()).unwrap();
    }
    succeeded(&run(Command::new("sh").args(["-euc", &in_place(&blocks(PAGE, "Keys").concat())])));
    dovecot.launch();
    dovecot
}

fn succeeded(output: &Output) -> Vec<u8> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout.clone()
}

/// What IMAP returns of the only message.
fn over_imap(dovecot: &Dovecot) -> Vec<u8> {
    let code =
        "imap.select('INBOX')\nprint(good(imap.fetch('1', '(ENVELOPE BODY.PEEK[])'))[0][1].decode(), end='')";
    dovecot.imap(ME, code).into_bytes()
}

/// Runs the commands of the page as the owner would, who has the secret key.
fn as_the_page_says(dovecot: &Dovecot, secret: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let [look, read] = &blocks(PAGE, "Check that it works")[..] else { panic!("two blocks") };
    let folder = tempfile::tempdir().unwrap();
    let gnupg = folder.path().join("gnupg");
    fs::create_dir(&gnupg).unwrap();
    fs::set_permissions(&gnupg, fs::Permissions::from_mode(0o700)).unwrap();
    let key = folder.path().join("secret.asc");
    fs::write(&key, secret).unwrap();
    let doveadm = folder.path().join("doveadm");
    let real = "#!/bin/sh\nPATH=${PATH#*:} exec doveadm -c \"$CONFIGURATION\" \"$@\"\n";
    fs::write(&doveadm, real).unwrap();
    fs::set_permissions(&doveadm, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let shell = |commands: &str| {
        let mut command = dovecot.command("sh");
        command.env("PATH", &path).env("HOME", dovecot.home(ME)).env("GNUPGHOME", &gnupg);
        command.env("CONFIGURATION", dovecot.path("dovecot.conf")).current_dir(folder.path());
        succeeded(&run(command.args(["-euc", commands])))
    };
    shell(&format!("gpg --batch --quiet --import {}", key.display()));
    let begin = shell(look);
    shell(read);
    shell("gpgconf --kill all");
    (begin, fs::read(folder.path().join("original.eml")).unwrap())
}

/// The names of the user's files that have the Subject in clear.
fn files_with_the_subject(dovecot: &Dovecot) -> String {
    let output = run(Command::new("grep").args(["-rlaF", SUBJECT]).arg(dovecot.home(ME)));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn both_encrypt_and_each_opens_its_own() {
    let dovecot = dovecot(true);
    let key = key_for(ME);
    dovecot.give(ME, "me.asc", &armored(&key));
    let answer = dovecot.deliver(ME, &message(SUBJECT));
    assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());

    let stored = dovecot.only_message(ME);
    for text in [SECRET, SUBJECT, "BEGIN PGP MESSAGE", "Encrypted-On-Delivery"] {
        assert!(find(&stored, text.as_bytes()).is_none(), "{text} is in the file");
    }
    let fetched = over_imap(&dovecot);
    assert!(find(&fetched, b"multipart/encrypted").is_some() && find(&fetched, SUBJECT.as_bytes()).is_some());
    assert!(decrypt(&fetched, &key).ends_with(&message(SUBJECT)));
    // The mail program has asked for the Subject: now it is in the index.
    let files = files_with_the_subject(&dovecot);
    assert!(!files.is_empty() && files.lines().all(|file| file.contains("/dovecot.index")), "{files}");
    dovecot.assert_nowhere(SECRET);
}

#[test]
fn the_owner_reads_a_message_as_the_page_says() {
    let dovecot = dovecot(true);
    let key = key_for(ME);
    dovecot.give(ME, "me.asc", &armored(&key));
    assert!(dovecot.deliver(ME, &message(SUBJECT)).starts_with("250 "), "{}", dovecot.log());
    let (begin, original) = as_the_page_says(&dovecot, &armored_secret(&key));
    assert_eq!(begin, b"CRYPTED");
    assert!(original.ends_with(&message(SUBJECT)));
    dovecot.assert_nowhere(SECRET);
}

/// What makes the difference: the server by itself reads the content.
#[test]
fn mail_crypt_alone_gives_out_the_content() {
    let dovecot = dovecot(false);
    assert!(dovecot.deliver(ME, &message(SUBJECT)).starts_with("250 "));
    dovecot.assert_nowhere(SECRET);
    assert!(find(&over_imap(&dovecot), SECRET.as_bytes()).is_some());
}
