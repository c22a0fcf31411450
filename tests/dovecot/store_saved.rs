//! Tests the mail plugin in IMAP: what mail programs save in certain mailboxes is encrypted before anything is stored.

use perot_testing::dovecot::{Config, Dovecot, Format};
use perot_testing::{armored, decrypt, find, key_for};

use sequoia_openpgp::Cert;

use crate::SECRET;

const ME: &str = "me@domain.com";

/// Defines functions for an IMAP session in which `imap` has logged in.
const TOOLS: &str = r#"
import time
message = b'From: me@domain.com\r\nTo: a@example.net\r\nSubject: saved\r\n\r\nThe nightingale sings.\r\n'
def append(mailbox, flags='', body=message, date=None):
    return imap.append(mailbox, flags, date, body)
def fetch(mailbox):
    imap.select(mailbox, readonly=True)
    typ, data = imap.uid('FETCH', '1:*', '(FLAGS INTERNALDATE BODY.PEEK[])')
    imap.close()
    return [d for d in data if isinstance(d, tuple)]
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

#[test]
fn copied_and_moved_messages() {
    let (dovecot, key) = start(&config("Sent Archive"));
    let said = imap(
        &dovecot,
        "append('Clear', '(\\\\Seen)', date='\"01-Feb-2024 03:04:05 +0000\"'); append('Clear', '(\\\\Flagged)')\n\
         imap.select('Clear')\nprint(imap.uid('COPY', '1', 'Sent'), imap.response('COPYUID'))\nprint(imap.uid('MOVE', '1:2', 'Archive'))\nimap.close()\n\
         imap.select('Sent')\nprint(imap.uid('COPY', '1', 'Archive'))\nimap.close()\n\
         print([m[0] for m in fetch('Sent')])",
    );
    assert!(said.contains("('COPYUID', [b'") && said.contains("01-Feb-2024 03:04:05 +0000"), "{said}");
    assert_encrypted(&dovecot, ".Sent", &key, 1);
    assert_encrypted(&dovecot, ".Archive", &key, 3);
    assert!(stored(&dovecot, ".Clear").is_empty());
    dovecot.assert_nowhere(SECRET);
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
    let multi = "tag = imap._new_tag()\n\
        def literal(flags): return b' ' + flags + b'{%d+}\\r\\n' % len(message) + message\n\
        imap.send(tag + b' APPEND Sent' + literal(b'') + literal(b'(\\\\Draft) ') + literal(b'(\\\\Seen) ') + b'\\r\\n')\n\
        line = imap.readline()\n\
        while not line.startswith(tag): line = imap.readline()\n\
        print(line)";
    let (dovecot, key) = start(&config("Sent"));
    let said = imap(&dovecot, multi);
    assert!(said.contains("[APPENDUID ") && said.contains("1:3] Append completed"), "{said}");
    let stored_now = stored(&dovecot, ".Sent");
    let in_clear = stored_now.iter().filter(|m| find(m, SECRET.as_bytes()).is_some()).count();
    assert_eq!((stored_now.len(), in_clear), (3, 1), "the draft alone is in clear");
    for message in stored_now.iter().filter(|m| find(m, SECRET.as_bytes()).is_none()) {
        assert!(find(&decrypt(message, &key), SECRET.as_bytes()).is_some());
    }

    let dovecot = Dovecot::start(&config("Sent"));
    let said =
        dovecot.imap(ME, &format!("{TOOLS}\n{}", multi.replace("print(imap.readline())", "imap.readline()")));
    assert!(said.contains("NO [UNAVAILABLE]"), "{said}");
    assert!(stored(&dovecot, ".Sent").is_empty());
}

#[test]
fn a_large_message_in_pieces() {
    let (dovecot, key) = start(&config("Sent"));
    let said = imap(
        &dovecot,
        "line = b'The nightingale sings all night long, and sleeps the day.\\r\\n'\n\
         body = message + line * 350000\nprint(append('Sent', body=body))",
    );
    assert!(said.contains("[APPENDUID "), "{said}\n{}", dovecot.log());
    let stored = stored(&dovecot, ".Sent");
    let payload = decrypt(&stored[0], &key);
    assert!(payload.len() > 20_000_000 && payload.ends_with(b"and sleeps the day.\r\n"));
    dovecot.assert_nowhere(SECRET);
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

#[test]
fn doveadm_is_left_alone() {
    let (dovecot, _) = start(&Config { extra_23: "mail_plugins = perot_encrypt\n".into(), ..config("Sent") });
    imap(&dovecot, "append('Clear')");
    dovecot.doveadm(&["copy", "-u", ME, "Sent", "mailbox", "Clear", "all"]);
    assert!(find(&stored(&dovecot, ".Sent")[0], SECRET.as_bytes()).is_some());
}

/// The plugin encrypts what comes by CATENATE, and as a binary literal.
#[test]
fn pieces_of_other_messages_and_binary_ones() {
    let (dovecot, key) = start(&config("Sent"));
    let said = imap(
        &dovecot,
        "append('Clear')\n\
         def command(data):\n  tag = imap._new_tag()\n  imap.send(tag + b' ' + data + b'\\r\\n')\n  line = imap.readline()\n  \
         while not line.startswith(tag): line = imap.readline()\n  print(line)\n\
         part = b'Sung again.\\r\\n'\n\
         command(b'APPEND Sent CATENATE (URL \"/Clear/;UID=1\" TEXT {%d+}\\r\\n%s)' % (len(part), part))\n\
         command(b'APPEND Sent ~{%d+}\\r\\n%s' % (len(message), message))",
    );
    assert_eq!(said.matches("[APPENDUID ").count(), 2, "{said}\n{}", dovecot.log());
    assert_encrypted(&dovecot, ".Sent", &key, 2);
    let payloads: Vec<Vec<u8>> = stored(&dovecot, ".Sent").iter().map(|m| decrypt(m, &key)).collect();
    assert_eq!(payloads.iter().filter(|payload| payload.ends_with(b"sings.\r\nSung again.\r\n")).count(), 1);
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

#[test]
fn no_room_for_what_waits() {
    let dovecot = Dovecot::start(&Config { temp_size: Some("64k"), ..config("Sent") });
    let said = imap(
        &dovecot,
        "print(append('Sent', body=message + b'The nightingale sings.\\r\\n' * 50000))\nprint(append('Clear'))",
    );
    assert!(
        said.contains("('NO', [b'[UNAVAILABLE] Message could not be encrypted for its owner (write_failed)"),
        "{said}"
    );
    assert!(said.contains("APPENDUID") && stored(&dovecot, ".Sent").is_empty(), "{said}");
    dovecot.log_line(&[
        "not stored: the message cannot wait until it is complete: No space left on device. Is there room",
    ]);
}
