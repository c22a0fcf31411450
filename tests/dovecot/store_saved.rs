//! Tests the mail plugin in IMAP: what mail programs save in certain mailboxes is encrypted before anything is stored.

use std::ffi::OsStr;
use std::fs;

use perot_testing::dovecot::{era, free_port, Config, Dovecot, Era, Format};
use perot_testing::{armored, decrypt, find, key_for, with_crlf};

use sequoia_openpgp::Cert;

use crate::SECRET;

const ME: &str = "me@domain.com";
/// A user without a certificate.
const YOU: &str = "you@domain.com";

/// Defines functions for an IMAP session in which `imap` has logged in.
const TOOLS: &str = r#"
message = b'From: me@domain.com\r\nTo: a@example.net\r\nSubject: saved\r\n\r\nThe nightingale sings.\r\n'
DATE = '"01-Feb-2024 03:04:05 +0000"'
def append(mailbox, flags='', body=message, date=None):
    return imap.append(mailbox, flags, date, body)
def fetch(mailbox, items='(FLAGS INTERNALDATE BODY.PEEK[])'):
    good(imap.select(mailbox, readonly=True))
    data = good(imap.uid('FETCH', '1:*', items))
    imap.close()
    return [d for d in data if isinstance(d, tuple)]
def literal(body):
    return b'{%d+}\r\n' % len(body) + body
def command(data):
    tag = imap._new_tag()
    imap.send(tag + b' ' + data + b'\r\n')
    line = imap.readline()
    while not line.startswith(tag): line = imap.readline()
    return line
for name in ['Sent', 'Archive', 'Clear', 'Drafts']:
    imap.create(name)
"#;

fn config(saved: &str) -> Config {
    let special = |name: &str, uses: &str| format!("  mailbox {name} {{\n    special_use = {uses}\n  }}\n");
    let inbox = format!(
        "namespace inbox {{\n  inbox = yes\n  separator = /\n{}{}}}\n",
        special("Archive", "\\Archive"),
        special("Drafts", "\\Drafts")
    );
    Config {
        imap_plugins: "perot_encrypt",
        plugin: vec![("saved", saved.to_owned())],
        extra_23: inbox.clone(),
        extra_24: inbox,
        ..Config::default()
    }
}

fn start(config: &Config) -> (Dovecot, Cert) {
    let dovecot = Dovecot::start(config);
    let key = key_for(ME);
    dovecot.give(ME, "k.asc", &armored(&key));
    (dovecot, key)
}

fn imap(dovecot: &Dovecot, code: &str) -> String {
    dovecot.imap(ME, &format!("{TOOLS}\n{code}"))
}

/// Returns the messages in a folder of a Maildir.
fn stored(dovecot: &Dovecot, folder: &str) -> Vec<Vec<u8>> {
    dovecot.stored(ME).into_iter().filter(|(name, _)| name == folder).map(|(_, message)| message).collect()
}

fn assert_encrypted(dovecot: &Dovecot, folder: &str, key: &Cert, n: usize) {
    let stored = stored(dovecot, folder);
    assert_eq!(stored.len(), n, "{folder}\n{}", dovecot.log());
    for message in stored {
        assert!(find(&decrypt(&message, key), SECRET.as_bytes()).is_some(), "{folder}");
    }
}

#[test]
fn an_appended_message() {
    let (dovecot, key) = start(&config("Sent \\Archive"));
    let said = imap(
        &dovecot,
        "for name in ['Sent', 'Archive']:\n  print(append(name, '(\\\\Seen \\\\Flagged $Label)', date='\"01-Feb-2024 03:04:05 +0000\"'))\n\
         for name in ['Sent', 'Archive']: print(fetch(name)[0][0])",
    );
    assert_eq!(said.matches("[APPENDUID ").count(), 2, "{said}");
    assert_eq!(said.matches("01-Feb-2024 03:04:05 +0000").count(), 2, "{said}");
    assert_eq!(said.matches("\\\\Seen").count(), 2, "{said}");
    assert!(said.contains("$Label") && said.contains("\\\\Flagged"), "{said}");
    for folder in [".Sent", ".Archive"] {
        assert_encrypted(&dovecot, folder, &key, 1);
    }
    dovecot.assert_nowhere(SECRET);
    dovecot.log_line(&["imap(me@domain.com)", "Info: encrypt: message encrypted: "]);
}

#[test]
fn other_mailboxes_and_drafts_are_left_alone() {
    let (dovecot, _) = start(&config("Sent"));
    imap(&dovecot, "append('Clear'); append('Sent', '(\\\\Draft)'); append('INBOX')");
    for folder in [".Clear", ".Sent", ""] {
        let stored = stored(&dovecot, folder);
        assert!(stored.len() == 1 && find(&stored[0], SECRET.as_bytes()).is_some(), "{folder}");
    }
}

/// A message that comes from an encrypted mailbox stays as it is.
#[test]
fn copied_and_moved_messages() {
    let (dovecot, key) = start(&config("Sent Archive"));
    let said = imap(
        &dovecot,
        r#"
good(append('Clear', r'(\Seen $Label)', date=DATE)); good(append('Clear', r'(\Flagged)'))
good(append('INBOX', r'(\Answered)'))
for mailbox, messages in [('Clear', '1:2'), ('INBOX', '1')]:
    imap.select(mailbox)
    good(imap.uid('COPY', messages, 'Sent'))
    print(imap.response('COPYUID'))
    good(imap.uid('MOVE', messages, 'Archive'))
    imap.close()
print([m[0] for m in fetch('Sent')], [m[0] for m in fetch('Archive')])"#,
    );
    let fetched: String = said.lines().skip(2).collect();
    for (text, n) in
        [("01-Feb-2024 03:04:05", 2), ("\\Seen", 2), ("$Label", 2), ("\\Flagged", 2), ("\\Answered", 2)]
    {
        assert_eq!(fetched.matches(text).count(), n, "{text}: {said}");
    }
    assert!(said.contains(" 1:2 1:2'") && said.contains(" 1 3'"), "{said}");
    for folder in [".Sent", ".Archive"] {
        assert_encrypted(&dovecot, folder, &key, 3);
    }
    assert!(stored(&dovecot, ".Clear").is_empty() && stored(&dovecot, "").is_empty());
    dovecot.assert_nowhere(SECRET);

    let sorted = |folder| {
        let mut messages = stored(&dovecot, folder);
        messages.sort();
        messages
    };
    let sent = sorted(".Sent");
    imap(
        &dovecot,
        "imap.select('Archive'); imap.uid('STORE', '1:*', '+FLAGS', r'(\\Deleted)'); good(imap.expunge()); imap.close()\n\
         imap.select('Sent'); good(imap.uid('COPY', '1:2', 'Archive')); good(imap.uid('MOVE', '3', 'Archive'))",
    );
    assert!(sorted(".Archive") == sent && sorted(".Sent").len() == 2, "{}", dovecot.log());
    dovecot.log_line(&["Info: encrypt: message left as it is: it is encrypted already"]);
}

/// Names that need quotes in IMAP, or are encoded there, and one below another.
#[test]
fn names_of_mailboxes() {
    let (dovecot, key) = start(&config("Sent*Items Entw\u{fc}rfe*2024 say*hi* Sent/2024"));
    imap(
        &dovecot,
        r#"
good(append('Clear')); imap.select('Clear')
for name in ['"Sent Items"', '"Entw&APw-rfe 2024"', r'"say \"hi\""', 'Sent/2024', '"Sent 2024"']:
    good(imap.create(name)); good(append(name)); good(imap.uid('COPY', '1', name))"#,
    );
    for folder in [".Sent Items", ".Entw&APw-rfe 2024", ".say \"hi\"", ".Sent.2024"] {
        assert_encrypted(&dovecot, folder, &key, 2);
    }
    assert!(stored(&dovecot, ".Sent 2024").iter().all(|m| find(m, SECRET.as_bytes()).is_some()));
}

/// Dovecot answers by itself if another session has removed a message.
#[test]
fn a_copy_of_what_is_gone() {
    let (dovecot, _) = start(&config("Sent"));
    let file = dovecot.home(ME).join("Maildir/.Clear/cur/*");
    let code =
        "append('Clear'); imap.select('Clear'); import glob, os; [os.remove(file) for file in glob.glob";
    let said = imap(&dovecot, &format!("{code}({file:?})]\nprint(imap.uid('COPY', '1', 'Sent'))"));
    assert!(!said.contains("UNAVAILABLE"), "{said}\n{}", dovecot.log());
    assert!(!dovecot.log().contains("encrypt: "), "{}", dovecot.log());
    assert!(stored(&dovecot, ".Sent").is_empty());
}

#[test]
fn a_failure_is_answered() {
    let dovecot = Dovecot::start(&config("Sent"));
    let said = imap(
        &dovecot,
        "print(append('Sent'))\nappend('Clear'); imap.select('Clear'); print(imap.uid('COPY', '1', 'Sent'), imap.response('COPYUID'))\n\
         print(imap.uid('MOVE', '1', 'Sent')); imap.uid('STORE', '1', '+FLAGS', '(\\\\Deleted)'); imap.expunge()",
    );
    assert_eq!(said.matches("('NO', [b'[UNAVAILABLE] Message could not be encrypted").count(), 3, "{said}");
    assert!(stored(&dovecot, ".Sent").is_empty());
    dovecot
        .log_line(&["Error: encrypt: message not encrypted, not stored: no certificate for me@domain.com"]);
}

/// Several messages in one command are all stored, or none.
#[test]
fn multiappend() {
    let (dovecot, key) = start(&Config { temp_size: Some("1M"), ..config("Sent") });
    let (ok, failed) = ("OK [APPENDUID ", "NO [UNAVAILABLE] Message could not be encrypted for its owner (");
    for (user, messages, answer, more) in [
        (ME, r"small, rb' (\Draft) ', small, rb' (\Seen) ', small", ok, 3),
        (YOU, "small, b' ', small", failed, 0),
        (YOU, r"rb'(\Draft) ', small, b' ', small", failed, 0),
        // There is no room in which the large one could wait.
        (ME, "small, b' ', large, b' ', small", failed, 0),
        (ME, "large", failed, 0),
        (ME, "small, b' ', literal(b'')", "NO", 0),
        (ME, "small, b' nonsense'", "BAD", 0),
        (ME, "small, b' ', small", ok, 2),
    ] {
        let before = dovecot.stored(user).len();
        let said = dovecot.imap(
            user,
            &format!(
                "{TOOLS}\nsmall, large = literal(message), literal(message + b'All night long.\\r\\n' * 200000)\n\
                 print(command(b'APPEND Sent ' + b''.join([{messages}])))"
            ),
        );
        assert!(said.contains(answer), "{messages}: {said}\n{}", dovecot.log());
        assert_eq!(dovecot.stored(user).len(), before + more, "{messages}");
    }
    let (in_clear, encrypted): (Vec<_>, Vec<_>) =
        stored(&dovecot, ".Sent").into_iter().partition(|m| find(m, SECRET.as_bytes()).is_some());
    assert_eq!((in_clear.len(), encrypted.len()), (1, 4), "the draft alone is in clear");
    assert!(encrypted.iter().all(|m| find(&decrypt(m, &key), SECRET.as_bytes()).is_some()));
    dovecot.log_line(&[
        "not stored: the message cannot wait until it is complete: No space left on device. Is there room",
    ]);
    assert!(!dovecot.log().contains("Panic"), "{}", dovecot.log());
}

#[test]
fn formats() {
    for format in [Format::Sdbox, Format::Mdbox] {
        let (dovecot, key) = start(&Config { format, ..config("Sent") });
        let said = imap(
            &dovecot,
            "print(append('Sent', '(\\\\Seen)')); append('Clear'); imap.select('Clear'); print(imap.uid('COPY', '1', 'Sent'), imap.response('COPYUID'))",
        );
        assert!(said.contains("APPENDUID") && said.contains("('COPYUID', [b'"), "{said}\n{}", dovecot.log());
        let text = dovecot.doveadm(&["fetch", "-u", ME, "text", "mailbox", "Sent", "uid", "1"]);
        assert!(find(&decrypt(text.as_bytes(), &key), SECRET.as_bytes()).is_some());
        // The copy is another message.
        let guids = |mailbox| dovecot.doveadm(&["fetch", "-u", ME, "guid", "mailbox", mailbox, "all"]);
        let (original, stored) = (guids("Clear"), guids("Sent"));
        assert!(!stored.contains(original.lines().next().unwrap()), "{original}\n{stored}");

        // The storage has to end a save that cannot be encrypted as well, and to go on with the next one.
        let dovecot = Dovecot::start(&Config { format, ..config("Sent") });
        let said = imap(
            &dovecot,
            "print(append('Sent')); append('Clear'); imap.select('Clear'); print(imap.uid('COPY', '1', 'Sent'), imap.response('COPYUID')); imap.close()\n\
             print(append('Clear'))",
        );
        assert!(
            said.matches("[UNAVAILABLE]").count() == 2 && said.contains("APPENDUID"),
            "{said}\n{}",
            dovecot.log()
        );
        assert!(!dovecot.log().contains("Panic"), "{}", dovecot.log());
    }
}

/// Dovecot can be in front of another IMAP server, which would copy a message by itself.
#[test]
fn mail_on_another_server() {
    let port = free_port();
    let listen = format!("service imap-login {{\n  inet_listener imap {{\n    port = {port}\n  }}\n}}\n");
    let server = Dovecot::start(&Config { extra_23: listen.clone(), extra_24: listen, ..Config::default() });
    let imapc = format!("imapc_host = 127.0.0.1\nimapc_port = {port}\nimapc_password = test\nimapc_user = ");
    let (dovecot, key) = start(&Config {
        extra_23: config("").extra_23 + &imapc + "%u\nmail_location = imapc:~/imapc\n",
        extra_24: config("").extra_24 + &imapc + "%{user}\nmail_driver = imapc\n",
        ..config("Sent")
    });
    let said = imap(
        &dovecot,
        "print(append('Sent'), append('Clear')); imap.select('Clear')\n\
         print(imap.uid('COPY', '1', 'Sent'), imap.response('COPYUID'), imap.uid('MOVE', '1', 'Sent'))",
    );
    assert_eq!(said.matches("'OK'").count(), 4, "{said}\n{}{}", dovecot.log(), server.log());
    assert!(said.contains("('COPYUID', [b'"), "{said}");
    assert_encrypted(&server, ".Sent", &key, 3);
    assert!(stored(&server, ".Clear").is_empty());
}

/// The plugin may be loaded everywhere.
#[test]
fn doveadm_is_left_alone() {
    let (dovecot, _) = start(&Config {
        extra_23: config("").extra_23 + "mail_plugins = perot_encrypt\n",
        extra_24: config("").extra_24 + "mail_plugins {\n  perot_encrypt = yes\n}\n",
        ..config("Sent")
    });
    imap(&dovecot, "append('Clear')");
    let (file, copy) = (dovecot.path("global/message"), dovecot.path("home/copy"));
    fs::write(&file, stored(&dovecot, ".Clear").remove(0)).unwrap();
    let (file, copy) = (file.display().to_string(), format!("maildir:{}", copy.display()));
    dovecot.doveadm(&["copy", "-u", ME, "Sent", "mailbox", "Clear", "all"]);
    dovecot.doveadm(&["save", "-u", ME, "-m", "Sent", &file]);
    dovecot.doveadm(&["backup", "-u", ME, &copy]);
    // Both have an INBOX already, so this is not one copy of the other: doveadm of 2.4 says so, and ends with 2.
    let _ = dovecot.tool("doveadm", &["sync", "-u", YOU, &copy].map(OsStr::new));
    for user in [ME, YOU] {
        let sent: Vec<_> = dovecot.stored(user).into_iter().filter(|(folder, _)| folder == ".Sent").collect();
        assert_eq!(sent.len(), 2, "{user}\n{}", dovecot.log());
        assert!(sent.iter().all(|(_, message)| find(message, SECRET.as_bytes()).is_some()), "{user}");
    }
    assert!(!dovecot.log().contains(": encrypt: "), "{}", dovecot.log());
}

/// The plugin encrypts what comes by CATENATE, and as a binary literal.
#[test]
fn pieces_of_other_messages_and_binary_ones() {
    let (dovecot, key) = start(&config("Sent"));
    let rows: [(&str, &[u8]); 3] = [
        (
            r#"CATENATE (URL "/Clear/;UID=1" TEXT ' + literal(b'Again.\r\n') + b')'"#,
            b"\r\n\r\nThe nightingale sings.\r\nAgain.\r\n",
        ),
        (
            r#"CATENATE (TEXT ' + literal(b'Subject: new\r\n\r\n') + b' URL "/Clear/;UID=1/;SECTION=TEXT" TEXT ' \
                + literal(b'1\r\n') + b' TEXT ' + literal(b'2\r\n') + b' URL "/Clear/;UID=1/;SECTION=TEXT")'"#,
            b"Subject: new\r\n\r\nThe nightingale sings.\r\n1\r\n2\r\nThe nightingale sings.\r\n",
        ),
        (r"~' + literal(message + b'\0\x01\xff\0\r\n')", b"The nightingale sings.\r\n\0\x01\xff\0\r\n"),
    ];
    for (n, (how, end)) in (1..).zip(rows) {
        let said =
            imap(&dovecot, &format!("if {n} == 1: append('Clear')\nprint(command(b'APPEND Sent {how}))"));
        assert!(said.contains("[APPENDUID "), "{how}: {said}\n{}", dovecot.log());
        assert_encrypted(&dovecot, ".Sent", &key, n);
        let ends = |message: &Vec<u8>| decrypt(message, &key).ends_with(end);
        assert_eq!(stored(&dovecot, ".Sent").iter().filter(|m| ends(m)).count(), 1, "{how}");
    }
}

/// The message that is replaced stays if the new one cannot be stored. Dovecot 2.3 does not have the command.
#[test]
fn replaced_messages() {
    let (dovecot, key) = start(&config("Sent"));
    for (user, answer, left) in [(ME, "OK Replace completed", 0), (YOU, "NO [UNAVAILABLE] ", 1)] {
        let said = dovecot.imap(
            user,
            &format!(
                "{TOOLS}\nappend('Drafts', r'(\\Draft)'); imap.select('Drafts')\n\
                 said = command(b'UID REPLACE 1 Sent ' + literal(message))\n\
                 print(said)\n\
                 if b'OK' in said: imap.noop()"
            ),
        );
        let folders: Vec<String> = dovecot.stored(user).into_iter().map(|(folder, _)| folder).collect();
        let count = |folder: &str| folders.iter().filter(|f| *f == folder).count();
        if era() == Era::V23 {
            assert!(said.contains("BAD") && folders == [".Drafts"], "{said}");
        } else {
            assert!(said.contains(answer), "{user}: {said}\n{}", dovecot.log());
            assert_eq!((count(".Drafts"), count(".Sent")), (left, 1 - left), "{user}\n{}", dovecot.log());
        }
    }
    if era() == Era::V24 {
        assert_encrypted(&dovecot, ".Sent", &key, 1);
    }
}

/// Quota counts the ciphertext, and counts it once.
#[test]
fn quota() {
    const LIMIT: usize = 16 << 10;
    let config = Config {
        imap_plugins: "quota perot_encrypt",
        plugin_23:
            "quota = count:User quota\nquota_vsizes = yes\nquota_rule = *:storage=16K\nquota_grace = 0\n\
                    quota_max_mail_size = 4K\n"
                .into(),
        extra_24: config("").extra_24
            + "quota user {\n  driver = count\n  storage_size = 16K\n  storage_grace = 0\n}\n\
               quota_mail_size = 4K\n",
        ..config("Sent")
    };
    let (dovecot, key) = start(&config);
    let said = imap(
        &dovecot,
        r#"
large = message + b'All night long.\r\n' * 180
print(append('Sent', body=large)[1], good(append('Clear', body=large)))
imap.select('Clear')
print(imap.uid('COPY', '1', 'Sent')[1])
imap.uid('STORE', '1', '+FLAGS', r'(\Deleted)'); good(imap.expunge()); good(append('Clear')); imap.close()
answer = ('OK', [])
while answer[0] == 'OK': answer = append('Sent')
imap.select('Clear')
print(answer, imap.uid('COPY', '2', 'Sent'), imap.uid('MOVE', '2', 'Sent'))"#,
    );
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].contains("[LIMIT]") && lines[1].contains("[LIMIT]"), "{said}");
    assert_eq!(lines[2].matches("('NO', [b'[OVERQUOTA] ").count(), 3, "{said}");
    let sizes = |folder| stored(&dovecot, folder).iter().map(|m| with_crlf(m).len()).collect::<Vec<_>>();
    let (in_clear, sizes) = (sizes(".Clear"), sizes(".Sent"));
    let (used, largest) = (in_clear[0] + sizes.iter().sum::<usize>(), sizes.iter().max().unwrap());
    assert!(used <= LIMIT && LIMIT < used + largest, "{in_clear:?} {sizes:?}");
    assert_encrypted(&dovecot, ".Sent", &key, sizes.len());
}

/// Mailboxes of others are left alone, and a line says so.
#[test]
fn a_public_mailbox() {
    let public = "namespace public {\n  type = public\n  prefix = Public/\n  separator = /\n";
    let config = Config {
        extra_23: config("").extra_23 + public + "  location = maildir:{dir}/home/public\n}\n",
        extra_24: config("").extra_24 + public + "  mail_path = {dir}/home/public\n}\n",
        ..config("*")
    };
    let (dovecot, key) = start(&config);
    let said = imap(
        &dovecot,
        "imap.create('Public/news')\nprint(append('Public/news'))\nprint(append('INBOX'))\n\
         imap.select('Public/news'); print(imap.uid('COPY', '1', 'INBOX'), imap.uid('COPY', '1', 'Public/news'))",
    );
    assert_eq!(said.matches("'OK'").count(), 4, "{said}\n{}", dovecot.log());
    assert_encrypted(&dovecot, "", &key, 2);
    let text = dovecot.doveadm(&["fetch", "-u", ME, "text", "mailbox", "Public/news", "all"]);
    assert_eq!(text.matches(SECRET).count(), 2, "{text}");
    dovecot.log_line(&["Info: encrypt: message left as it is: the mailbox is not the user's own"]);
}
