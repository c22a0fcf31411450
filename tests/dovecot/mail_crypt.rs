//! Uses Dovecot's plugin mail_crypt and this one together, as doc/admin/mail_crypt.md shows.

use std::ffi::OsStr;
use std::fs;
use std::process::Command;

use sequoia_openpgp::Cert;

use crate::readers::gpg_decrypts;
use crate::{message, script, SECRET};
use perot_testing::dovecot::{run, Config, Dovecot, Era};
use perot_testing::pages::blocks;
use perot_testing::{armored, find, key_for};

const ME: &str = "me@domain.com";
const PAGE: &str = "doc/admin/mail_crypt.md";
const KEYS: &str = "/etc/dovecot/private";

/// Starts a Dovecot with mail_crypt configured as on the page, with keys made by its commands, and with an
/// owner's certificate.
fn with_mail_crypt(config: &Config) -> (Dovecot, Cert) {
    let mut dovecot = Dovecot::prepare(config);
    let shown = blocks(PAGE, "Configure");
    let file = dovecot.path("dovecot.conf");
    let rest = fs::read_to_string(&file).unwrap();
    // With 2.3 the page says where the lines go. With 2.4 the version has to stay the first line.
    let all = match dovecot.era {
        Era::V23 => shown[0].clone() + &rest,
        Era::V24 => rest + &shown[1],
    };
    fs::write(&file, all.replace(&format!("{KEYS}/"), dovecot.path("").to_str().unwrap())).unwrap();
    let folder = dovecot.path("");
    let commands = blocks(PAGE, "Keys").concat().replace(&format!("{KEYS}/"), folder.to_str().unwrap());
    let output = run(Command::new("sh").args(["-euc", &commands]));
    assert!(output.status.success(), "{commands}{}", String::from_utf8_lossy(&output.stderr));
    dovecot.launch();
    let key = key_for(ME);
    dovecot.give(ME, "me.asc", &armored(&key));
    (dovecot, key)
}

/// Returns the content of all message files. None of it may be readable.
fn closed_files(dovecot: &Dovecot) -> Vec<Vec<u8>> {
    let files: Vec<Vec<u8>> = dovecot.stored(ME).into_iter().map(|(_, content)| content).collect();
    for content in &files {
        assert!(content.starts_with(b"CRYPTED"), "{}", String::from_utf8_lossy(content));
        for text in ["Subject", "example.net", "PGP MESSAGE", SECRET] {
            assert!(find(content, text.as_bytes()).is_none(), "'{text}' is in the file");
        }
    }
    files
}

/// Checks that IMAP returns a PGP/MIME message, and that GnuPG decrypts it to the original.
fn assert_read_by_its_owner(dovecot: &Dovecot, key: &Cert, subject: &str) {
    let code = format!(
        "imap.select()\nnumber = good(imap.search(None, 'SUBJECT', '{subject}'))[0]\n\
         sys.stdout.buffer.write(good(imap.fetch(number, 'BODY.PEEK[]'))[0][1])"
    );
    let fetched = dovecot.imap(ME, &code);
    assert!(fetched.contains("\nContent-Type: multipart/encrypted;"), "{fetched}");
    let decrypted = gpg_decrypts(key, fetched.as_bytes());
    assert!(decrypted.ends_with(&message(subject)), "{}", String::from_utf8_lossy(&decrypted));
}

#[test]
fn mail_is_encrypted_by_both() {
    let (dovecot, key) = with_mail_crypt(&Config::default());
    dovecot.script(ME, &script("", "encrypt;"));
    let answer = dovecot.deliver(ME, &message("both"));
    assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
    let [file] = &closed_files(&dovecot)[..] else { panic!("{}", dovecot.log()) };
    assert_read_by_its_owner(&dovecot, &key, "both");
    dovecot.assert_nowhere(SECRET);

    // The header can be searched, the body cannot. The size is that of the PGP/MIME message.
    let found = dovecot.imap(
        ME,
        &format!(
            "imap.select()\nprint(good(imap.search(None, 'SUBJECT', 'both')), \
             good(imap.search(None, 'BODY', '{SECRET}')), good(imap.fetch('1', 'RFC822.SIZE')), \
             len(good(imap.fetch('1', 'BODY.PEEK[]'))[0][1]))"
        ),
    );
    let size = found.split_whitespace().last().unwrap();
    assert_eq!(found.trim_end(), format!("[b'1'] [b''] [b'1 (RFC822.SIZE {size})'] {size}"));
    assert!(file.len() > size.parse().unwrap());

    // These are the page's commands.
    let checks = if dovecot.era == Era::V23 { 2..4 } else { 2..3 };
    for check in blocks(PAGE, "Configure")[checks].concat().lines() {
        let arguments: Vec<&OsStr> = check.split_whitespace().skip(1).map(OsStr::new).collect();
        let shown = dovecot.tool("doveconf", &arguments);
        assert!(find(&shown.stdout, b"mail_crypt").is_some(), "{check}: {shown:?}");
    }
    let fetch = blocks(PAGE, "Check that it works").concat();
    let shown = dovecot.doveadm(&fetch.split_whitespace().skip(1).collect::<Vec<_>>());
    assert!(shown.starts_with("text:\n") && shown.contains("\n-----BEGIN PGP MESSAGE-----"), "{shown}");
    let recovered = gpg_decrypts(&key, shown.split_once('\n').unwrap().1.as_bytes());
    assert!(recovered.ends_with(&message("both")));

    // The page warns that the cache has header fields in clear.
    let cache = fs::read(dovecot.home(ME).join("Maildir/dovecot.index.cache")).unwrap();
    assert!(find(&cache, b"both@example.net").is_some(), "the cache is closed: correct the page");
}

/// The mail plugin encrypts before mail_crypt does, with and without a script, and when a mail program saves a message.
#[test]
fn mail_is_encrypted_by_both_plugins() {
    let config = Config {
        delivery_plugins: Some("sieve perot_encrypt"),
        imap_plugins: "perot_encrypt",
        plugin: vec![("saved", "Sent".into())],
        ..Config::default()
    };
    let (dovecot, key) = with_mail_crypt(&config);
    for (stored, user_script) in
        ["", "require [\"fileinto\", \"mailbox\"]; fileinto :create \"box\"; keep;"].iter().enumerate()
    {
        dovecot.script(ME, user_script);
        let answer = dovecot.deliver(ME, &message(&format!("both{stored}")));
        assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
        assert_read_by_its_owner(&dovecot, &key, &format!("both{stored}"));
    }
    let saved = String::from_utf8(message("saved")).unwrap();
    dovecot.imap(
        ME,
        &format!(
            "good(imap.create('Sent')); good(imap.append('Sent', None, None, {saved:?}.encode()))\n\
             good(imap.select('Sent')); good(imap.uid('COPY', '1', 'INBOX'))"
        ),
    );
    assert_read_by_its_owner(&dovecot, &key, "saved");
    assert_eq!(closed_files(&dovecot).len(), 5, "{}", dovecot.log());
    dovecot.assert_nowhere(SECRET);
}

/// Runs `sieve-filter` on mail that only mail_crypt has encrypted, and on older mail in clear.
#[test]
fn existing_mail_is_encrypted_by_both() {
    let (dovecot, key) = with_mail_crypt(&Config::default());
    let source = dovecot.path("global/encrypt.sieve");
    fs::write(&source, script("", "encrypt;")).unwrap();
    let filter = blocks(PAGE, "Mail that is in the mailbox already").concat();
    let filter = filter.replace("/etc/dovecot/sieve/encrypt.sieve", source.to_str().unwrap());
    let arguments: Vec<&OsStr> = filter.split_whitespace().skip(1).map(OsStr::new).collect();
    dovecot.script(ME, "keep;");
    assert!(dovecot.deliver(ME, &message("later")).starts_with("250 "), "{}", dovecot.log());
    assert_eq!(closed_files(&dovecot).len(), 1);
    let older = dovecot.home(ME).join("Maildir/cur/1700000000.M1P1.host:2,S");
    fs::write(&older, message("older")).unwrap();
    dovecot.own(&older);

    let output = dovecot.tool("sieve-filter", &arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(closed_files(&dovecot).len(), 2, "{}", dovecot.log());
    assert_read_by_its_owner(&dovecot, &key, "later");
    assert_read_by_its_owner(&dovecot, &key, "older");
}
