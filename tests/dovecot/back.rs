//! Runs doc/user/mailbox-in-clear.md: a mailbox in clear again, on the machine of its owner.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::UNIX_EPOCH;

use sequoia_openpgp::Cert;

use crate::{message, script, SECRET};
use perot_testing::dovecot::{files, run_with, Config, Dovecot};
use perot_testing::pages::{project, shown};
use perot_testing::smime::Identity;
use perot_testing::{armored, decrypt, encrypt_to, key_for, keyring, settings, with_crlf};

const ME: &str = "me@domain.com";
const PAGE: &str = "doc/user/mailbox-in-clear.md";

/// Connects its input and output with a socket, as a command that speaks IMAP does.
const CONNECT: &str = r#"import os, socket, sys, threading
imap = socket.socket(socket.AF_UNIX)
imap.connect(sys.argv[1])
def read():
    for data in iter(lambda: imap.recv(65536), b""):
        os.write(1, data)
threading.Thread(target=read, daemon=True).start()
for data in iter(lambda: os.read(0, 65536), b""):
    imap.sendall(data)
"#;

/// The machine of the owner.
struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("connect.py"), CONNECT).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs what the page shows, for another server.
    fn run(&self, dovecot: &Dovecot, shown: &str) -> Output {
        let connect = format!("--command \"python3 connect.py {}\"", dovecot.path("run/imap").display());
        let program = project("examples/mailbox-in-clear.py");
        let said = shown.replace("--host mail.domain.com", &connect);
        let said = said.replace("mailbox-in-clear.py", program.to_str().unwrap());
        let mut shell = Command::new("sh");
        shell.args(["-c", &said]).current_dir(self.folder.path()).env("HOME", self.folder.path());
        run_with(shell.env_remove("GNUPGHOME"), b"test\n")
    }
}

/// Returns what the program said.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// Delivers messages with these subjects, encrypted to the certificate in a file of this name.
fn deliver(dovecot: &Dovecot, command: &str, file: &str, certificate: &[u8], subjects: &[&str]) {
    let certificate = dovecot.give(ME, file, certificate);
    dovecot.script(ME, &script("", command));
    for subject in subjects {
        assert!(dovecot.deliver(ME, &message(subject)).starts_with("250 "), "{}", dovecot.log());
    }
    fs::remove_file(certificate).unwrap();
}

/// What a sender has encrypted is no whole message. The field says that the server has encrypted it.
fn from_a_sender(key: &Cert) -> Vec<u8> {
    let part = format!("Content-Type: text/plain\r\n\r\nThe {SECRET} sings.\r\n");
    let (_, mail) = encrypt_to(&settings(&[]), &[&armored(key)], part.as_bytes()).unwrap();
    [b"From: a@example.net\r\nSubject: sender\r\nMessage-ID: <sender@example.net>\r\n", &mail[..]].concat()
}

/// Returns what the copies of a folder should be: the originals, with the flags of IMAP and the time of arrival.
fn originals(dovecot: &Dovecot, folder: &str, open: &dyn Fn(&[u8]) -> Vec<u8>) -> BTreeSet<Copy> {
    let stored = dovecot.stored_files(ME).into_iter().filter(|(name, _)| name == folder);
    stored.map(|(_, file)| copy_in(&file, open)).collect()
}

/// Content, flags, seconds.
type Copy = (Vec<u8>, String, u64);

fn copy_in(file: &Path, open: &dyn Fn(&[u8]) -> Vec<u8>) -> Copy {
    let flags = file.to_str().unwrap().rsplit_once(":2,").map_or("", |(_, flags)| flags);
    // Small letters are keywords, which a Maildir has no standard for.
    let flags = flags.chars().filter(char::is_ascii_uppercase).collect();
    let received = fs::metadata(file).unwrap().modified().unwrap().duration_since(UNIX_EPOCH).unwrap();
    (with_crlf(&open(&fs::read(file).unwrap())), flags, received.as_secs())
}

#[test]
fn a_mailbox_in_clear() {
    let dovecot = Dovecot::start(&Config::default());
    let (key, another) = (key_for(ME), key_for(ME));
    let identity = Identity::new("rsa:2048", ME);
    let certificate = fs::read(identity.path("cert")).unwrap();
    deliver(
        &dovecot,
        "encrypt;",
        "me.asc",
        &armored(&key),
        &["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"],
    );
    deliver(&dovecot, "encrypt :hidesubject;", "me.asc", &armored(&key), &["hidden"]);
    deliver(&dovecot, "encrypt;", "me.pem", &certificate, &["smime1", "smime2", "smime3"]);
    deliver(&dovecot, "encrypt;", "me.asc", &armored(&another), &["another1", "another2"]);
    deliver(&dovecot, "keep;", "me.asc", &armored(&key), &["in-clear"]);
    assert!(dovecot.deliver(ME, &from_a_sender(&key)).starts_with("250 "), "{}", dovecot.log());
    let move_to = |folder: &str, subject: &str| {
        dovecot.doveadm(&["mailbox", "create", "-u", ME, folder]);
        dovecot.doveadm(&["move", "-u", ME, folder, "mailbox", "INBOX", "header", "subject", subject]);
    };
    move_to("a \"b\" &c", "4");
    move_to("empty", "no such");
    dovecot.doveadm(&["flags", "add", "-u", ME, "\\Flagged \\Answered own", "mailbox", "a*", "all"]);
    dovecot.doveadm(&["flags", "add", "-u", ME, "\\Seen", "mailbox", "INBOX", "header", "subject", "smime1"]);
    let state = |mailbox: &str, fields: &str| {
        let fetched = dovecot.doveadm(&["-f", "tab", "fetch", "-u", ME, fields, "mailbox", mailbox, "all"]);
        let words =
            |line: &str| line.split_whitespace().filter(|w| *w != "\\Recent").collect::<Vec<_>>().join(" ");
        fetched.lines().skip(1).map(words).collect::<BTreeSet<_>>()
    };
    let before = state("*", "mailbox uid flags date.received");
    assert_eq!(before.len(), 18);

    let machine = Machine::new();
    keyring(&machine.path(""), &key);
    fs::write(machine.path("me.p12"), identity.pkcs12()).unwrap();
    let [to_maildir, _] = shown(PAGE, "One command");
    let [to_pem, smime] = shown(PAGE, "With S/MIME");
    let [into] = shown(PAGE, "Back on a server");
    machine.run(&dovecot, &to_pem.replace("-nodes", "-nodes -passin pass:password"));

    // What cannot be decrypted is named, is not copied, and can be copied later.
    let first = machine.run(&dovecot, &to_maildir);
    let text = said(&first);
    assert_eq!(first.status.code(), Some(1), "{text}");
    assert!(text.contains("INBOX: 10 decrypted, 5 NOT COPIED, 2 copied as they were\n"), "{text}");
    assert!(text.contains("a \"b\" &-c: 1 decrypted\n") && text.contains("empty: empty\n"), "{text}");
    assert!(text.contains("not copied: it is S/MIME, so --smime is needed (subject: smime1)\n"), "{text}");
    assert!(text.contains("secret key") && text.contains("(subject: another1)\n"), "{text}");
    let second = said(&machine.run(&dovecot, &smime));
    assert!(second.contains("INBOX: 12 there already, 3 decrypted, 2 NOT COPIED\n"), "{second}");
    fs::rename(machine.path(".gnupg"), machine.path("gnupg.old")).unwrap();
    keyring(&machine.path(""), &another);
    for expected in ["INBOX: 15 there already, 2 decrypted\n", "INBOX: 17 there already\n"] {
        let output = machine.run(&dovecot, &smime);
        assert!(output.status.success() && said(&output).contains(expected), "{}", said(&output));
    }

    let open = |mail: &[u8]| match &String::from_utf8_lossy(mail) {
        text if ["sender", "in-clear"].iter().any(|s| text.contains(&format!("Subject: {s}"))) => {
            mail.to_vec()
        }
        text if text.contains("Subject: smime") => identity.decrypt(mail),
        text if text.contains("Subject: another") => decrypt(mail, &another),
        _ => decrypt(mail, &key),
    };
    for (folder, copy) in [("", "mail-in-clear"), (".a \"b\" &-c", "mail-in-clear/.a \"b\" &-c")] {
        let copies = files(&machine.path(copy).join("cur"));
        let copies: BTreeSet<_> = copies.iter().map(|file| copy_in(file, &<[u8]>::to_vec)).collect();
        assert!(copies == originals(&dovecot, folder, &open), "{copy} is not as {folder}");
    }

    // The same on the server, where it is said twice and done once.
    fs::remove_dir_all(machine.path(".gnupg")).unwrap();
    fs::rename(machine.path("gnupg.old"), machine.path(".gnupg")).unwrap();
    let text = said(&machine.run(&dovecot, &into));
    assert!(text.contains("INBOX: 10 decrypted, 5 NOT COPIED, 2 copied as they were\n"), "{text}");
    let text = said(&machine.run(&dovecot, &into));
    assert!(text.contains("INBOX: 12 there already, 5 NOT COPIED\n"), "{text}");
    let fields = "hdr.message-id flags date.received";
    assert_eq!(state("In clear*b*", fields), state("a*", fields));
    let (copied, source) = (state("In clear*INBOX", fields), state("INBOX", fields));
    assert!(copied.len() == 12 && copied.is_subset(&source), "{copied:?} {source:?}");
    let after = state("*", "mailbox uid flags date.received");
    assert!(before.is_subset(&after), "the mailbox itself has changed: {after:?}");
}
