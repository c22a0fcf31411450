//! Checks doc/admin/saved-mail.md with the configuration of conf.d-example: mail that a mail program saves
//! over IMAP (imapsieve), and stored mail that it has encrypted (FILTER=SIEVE).

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sequoia_openpgp::Cert;

use crate::documents::{active, start_with};
use crate::users::of_era;
use crate::{script, SECRET};
use perot_testing::dovecot::{era, wait_until, Config, Dovecot, Era, Format};
use perot_testing::pages::{self, blocks, read};
use perot_testing::{armored, decrypt, encrypt_to, find, key_for, settings};

const ME: &str = "me@domain.com";
const PAGE: &str = "doc/admin/saved-mail.md";

/// A message that a mail program saves.
const SENT: &str =
    "From: me@domain.com\r\nTo: a@example.net\r\nSubject: sent\r\nMessage-ID: <sent@domain.com>\r\n\
                    Content-Type: text/plain\r\n\r\nThe nightingale sings.\r\n";

/// Definitions for the sessions: a message, a date, and a function that shows a mailbox.
const SESSION: &str = r#"
MESSAGE = b"""From: me@domain.com
To: a@example.net
Subject: sent
Message-ID: <sent@domain.com>
Content-Type: text/plain

The nightingale sings.
""".replace(b"\n", b"\r\n")
DATE = '"02-Jan-2020 03:04:05 +0100"'

def show(mailbox):
    good(imap.select(mailbox))
    for item in good(imap.fetch("1:*", "(UID FLAGS INTERNALDATE)")):
        if item is not None:
            item = item.decode().replace("\\Recent ", "").replace(" \\Recent", "").replace("\\Recent", "")
            print(item.split(" ", 1)[1])
    good(imap.unselect())
"#;

/// The date of the messages, as IMAP returns it.
const DATE: &str = r#"INTERNALDATE "02-Jan-2020 02:04:05 +0000""#;

/// Returns the example configuration for the installed Dovecot.
fn example() -> String {
    read(match era() {
        Era::V23 => "conf.d-example/2.3/91-sent-mail.conf",
        Era::V24 => "conf.d-example/2.4/91-sent-mail.conf",
    })
}

/// Starts a Dovecot whose user has a certificate. Returns it with the key.
fn start(config: &Config) -> (Dovecot, Cert) {
    let dovecot = start_with(&example(), config);
    let key = key_for(ME);
    dovecot.give(ME, "me.asc", &armored(&key));
    (dovecot, key)
}

/// Runs a session. Returns its output.
fn session(dovecot: &Dovecot, code: &str) -> String {
    dovecot.imap(ME, &format!("{SESSION}\n{code}"))
}

/// Returns the messages in a Maildir folder of the user.
fn stored_in(dovecot: &Dovecot, folder: &str) -> Vec<Vec<u8>> {
    dovecot.stored(ME).into_iter().filter(|(name, _)| name == folder).map(|(_, message)| message).collect()
}

/// Waits until the folder has `count` messages and none in clear: originals go when the IMAP command is done,
/// which may be after its answer. Panics unless each message is `SENT`, encrypted.
fn assert_encrypted(dovecot: &Dovecot, folder: &str, count: usize, key: &Cert) {
    let is_clear = |message: &Vec<u8>| find(message, SECRET.as_bytes()).is_some();
    let is_so = || {
        let stored = stored_in(dovecot, folder);
        stored.len() == count && !stored.iter().any(is_clear)
    };
    wait_until(is_so, || format!("{folder} with {count} messages\n{}", dovecot.log()));
    for message in stored_in(dovecot, folder) {
        assert_eq!(String::from_utf8(decrypt(&message, key)).unwrap(), SENT);
    }
}

/// Returns true if a file below the folder has the secret.
fn holds_secret(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().flatten().any(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => holds_secret(&entry.path()),
        _ => fs::read(entry.path()).is_ok_and(|content| find(&content, SECRET.as_bytes()).is_some()),
    })
}

/// Runs a command that the page shows.
fn shown(dovecot: &Dovecot, command: &str) -> String {
    let encrypt = dovecot.path("global/encrypt.sieve");
    let command = command.replace("/etc/dovecot/sieve/encrypt.sieve", encrypt.to_str().unwrap());
    let mut words = command.split_whitespace().map(|word| OsStr::new(word.trim_matches('"')));
    let program = words.next().unwrap().to_str().unwrap();
    let output = dovecot.tool(program, &words.collect::<Vec<_>>());
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_appended_message_is_encrypted_and_keeps_what_belongs_to_it() {
    let (dovecot, key) = start(&Config::default());
    // The session does not open Sent, because most mail programs do not open it to save a message.
    let said = session(
        &dovecot,
        r#"
good(imap.create("Sent"))
print(good(imap.append("Sent", r"(\Seen \Flagged \Answered $Work other)", DATE, MESSAGE)))
good(imap.noop())
"#,
    );
    assert!(said.contains("[APPENDUID ") && said.contains(" 1] Append completed"), "{said}");
    dovecot.assert_nowhere(SECRET);
    assert_encrypted(&dovecot, ".Sent", 1, &key);

    // The UID in the answer is that of the original.
    let said = session(&dovecot, "show('Sent')");
    assert_eq!(said, format!("(UID 2 FLAGS (\\Answered \\Flagged \\Seen $Work other) {DATE})\n"));
    assert!(!dovecot.log().contains("Warning: "), "{}", dovecot.log());
    let line = dovecot.log_line(&["message encrypted: "]);
    let text = line.split_once(": Info: ").unwrap().1.split_once("encrypted: ").unwrap().0;
    assert!(read(PAGE).contains(&format!("imap({ME})<...>: Info: {text}encrypted: ")), "{line}");
}

/// There is no envelope, so only the user name can lead to the owner's certificate.
#[test]
fn a_user_name_that_is_no_address_needs_a_certificate_at_home() {
    let dovecot = start_with(&example(), &Config::default());
    let key = key_for(ME);
    fs::write(dovecot.certs().join("me.asc"), armored(&key)).unwrap();
    let append = format!("{SESSION}\ngood(imap.append('Sent', None, DATE, MESSAGE))\ngood(imap.noop())");
    dovecot.imap("me", &format!("good(imap.create('Sent'))\n{append}"));
    dovecot.log_line(&["not encrypted, left as it is: the user name me is no address"]);

    dovecot.give("me", "me.asc", &armored(&key));
    dovecot.imap("me", &append);
    dovecot.log_line(&["message encrypted: "]);
    assert_eq!(dovecot.stored("me").iter().filter(|(_, m)| find(m, SECRET.as_bytes()).is_none()).count(), 1);
}

#[test]
fn copied_and_moved_messages_are_encrypted() {
    let (dovecot, key) = start(&Config::default());
    let said = session(
        &dovecot,
        r#"
good(imap.create("Sent"))
for keyword in "one", "two", "three", "four":
    good(imap.append("INBOX", r"(\Seen " + keyword + ")", DATE, MESSAGE))
good(imap.select("INBOX"))
good(imap.uid("COPY", "1:2", "Sent"))
good(imap.uid("MOVE", "3:4", "Sent"))
good(imap.noop())
good(imap.unselect())
show("Sent")
show("INBOX")
"#,
    );
    let line = |uid: u32, keyword: &str| format!("(UID {uid} FLAGS (\\Seen {keyword}) {DATE})\n");
    let sent = line(3, "one") + &line(4, "two") + &line(7, "three") + &line(8, "four");
    assert_eq!(said, sent + &line(1, "one") + &line(2, "two"), "{}", dovecot.log());
    assert_encrypted(&dovecot, ".Sent", 4, &key);
    assert!(!holds_secret(&dovecot.home(ME).join("Maildir/.Sent")));
}

/// A mail program may close the connection when it has its answer, or even before.
#[test]
fn the_original_is_removed_when_the_session_ends_at_once() {
    // Other plugins may finish with the user before the Sieve plugin does.
    let (dovecot, key) = start(&Config {
        extra_23: "mail_plugins = quota\n".into(),
        plugin_23: "quota = count:User\n  quota_rule = *:storage=100M\n  quota_vsizes = yes\n".into(),
        extra_24:
            "mail_plugins {\n  quota = yes\n}\nquota User {\n  driver = count\n  storage_size = 100M\n}\n"
                .into(),
        ..Config::default()
    });
    session(
        &dovecot,
        r#"
good(imap.create("Sent"))
append = b"a APPEND Sent {%d+}\r\n%s\r\n" % (len(MESSAGE), MESSAGE)
imap.send(append + append + b"b LOGOUT\r\n")
while imap.sock.recv(4096):
    pass
"#,
    );
    assert_encrypted(&dovecot, ".Sent", 2, &key);
    assert!(!holds_secret(&dovecot.home(ME)), "{}", dovecot.log());
    dovecot.log_line(&["Disconnected: Logged out"]);
    session(&dovecot, "show('Sent')");
    assert!(!dovecot.log().contains("Panic: "), "{}", dovecot.log());
}

#[test]
fn drafts_are_left_alone() {
    let (dovecot, key) = start(&Config::default());
    let said = session(
        &dovecot,
        r#"
good(imap.create("Sent"))
good(imap.append("Sent", r"(\Draft \Seen)", DATE, MESSAGE))
good(imap.select("Sent"))
good(imap.store("1", "-FLAGS", r"(\Draft)"))
good(imap.store("1", "+FLAGS", "(edited)"))
assert good(imap.fetch("1", "(BODY.PEEK[])"))[0][1] == MESSAGE
good(imap.unselect())
show("Sent")
"#,
    );
    assert_eq!(said, format!("(UID 1 FLAGS (\\Seen edited) {DATE})\n"), "{}", dovecot.log());
    let said = session(
        &dovecot,
        r#"
good(imap.select("Sent"))
good(imap.uid("MOVE", "1", "INBOX"))
good(imap.select("INBOX"))
good(imap.uid("MOVE", "1", "Sent"))
good(imap.unselect())
show("Sent")
"#,
    );
    assert_eq!(said, format!("(UID 3 FLAGS (\\Seen edited) {DATE})\n"), "{}", dovecot.log());
    assert_encrypted(&dovecot, ".Sent", 1, &key);
    dovecot.assert_nowhere(SECRET);
}

#[test]
fn an_encrypted_message_keeps_its_bytes_and_its_uid() {
    let (dovecot, _) = start(&Config::default());
    let certs = dovecot.home(ME).join("pgp-certs");
    let (_, encrypted) = encrypt_to(&settings(&[&certs]), &[ME.as_bytes()], SENT.as_bytes()).unwrap();
    let file = dovecot.path("encrypted");
    fs::write(&file, &encrypted).unwrap();
    let said = session(
        &dovecot,
        &format!(
            r#"
encrypted = open("{}", "rb").read()
good(imap.create("Sent"))
good(imap.append("Sent", r"(\Seen)", DATE, encrypted))
good(imap.select("Sent"))
assert good(imap.fetch("1", "(BODY.PEEK[])"))[0][1] == encrypted
good(imap.unselect())
show("Sent")
"#,
            file.display()
        ),
    );
    assert_eq!(said, format!("(UID 1 FLAGS (\\Seen) {DATE})\n"), "{}", dovecot.log());
    dovecot.log_line(&["message left as it is: it is encrypted already"]);
}

#[test]
fn without_the_setting_the_original_stays_and_the_log_warns() {
    let text: String = example()
        .lines()
        .filter(|l| !l.contains("imapsieve_expunge_discarded"))
        .map(|l| l.to_owned() + "\n")
        .collect();
    let dovecot = start_with(&text, &Config::default());
    dovecot.give(ME, "me.asc", &armored(&key_for(ME)));
    let said = session(
        &dovecot,
        r#"
good(imap.create("Sent"))
good(imap.append("Sent", r"(\Seen)", DATE, MESSAGE))
good(imap.append("Sent", None, DATE, MESSAGE))
good(imap.noop())
show("Sent")
"#,
    );
    let line = |uid: u32, flags: &str| format!("(UID {uid} FLAGS ({flags}) {DATE})\n");
    let expected = line(1, "\\Deleted \\Seen") + &line(2, "\\Seen") + &line(3, "\\Deleted") + &line(4, "");
    assert_eq!(said, expected, "{}", dovecot.log());
    assert!(holds_secret(&dovecot.home(ME)));
    let log = dovecot.log();
    let warnings: Vec<&str> = log.lines().filter_map(|l| Some(&l[l.find("Warning: ")?..])).collect();
    assert_eq!(warnings, [blocks(PAGE, "With a script")[2].trim()]);

    session(&dovecot, "good(imap.select('Sent'))\ngood(imap.expunge())");
    dovecot.assert_nowhere(SECRET);
}

#[test]
fn a_message_that_cannot_be_encrypted_stays_and_the_log_says_so() {
    let dovecot = start_with(&example(), &Config::default());
    let said = session(
        &dovecot,
        r#"
good(imap.create("Sent"))
good(imap.append("Sent", r"(\Seen $Work)", DATE, MESSAGE))
good(imap.append("Sent", r"(\Draft)", DATE, MESSAGE.replace(b"nightingale", b"draft")))
good(imap.noop())
show("Sent")
"#,
    );
    let original = format!("(UID 1 FLAGS (\\Seen $Work) {DATE})\n");
    let draft = format!("(UID 2 FLAGS (\\Draft) {DATE})\n");
    assert_eq!(said, original + &draft, "{}", dovecot.log());
    let failure = &blocks(PAGE, "When it fails");
    dovecot.log_line(&[failure[0].trim()]);
    let search = &blocks(PAGE, "Check that it works")[1];
    assert_eq!(shown(&dovecot, search).lines().count(), 1);

    let key = key_for(ME);
    dovecot.give(ME, "me.asc", &armored(&key));
    shown(&dovecot, &failure[1]);
    assert_eq!(session(&dovecot, "show('Sent')"), draft + &format!("(UID 3 FLAGS (\\Seen $Work) {DATE})\n"));
    assert_eq!(shown(&dovecot, search), "");
    dovecot.assert_nowhere(SECRET);
}

#[test]
fn a_message_that_fails_does_not_keep_others_from_being_encrypted() {
    let (dovecot, key) = start(&Config::default());
    session(
        &dovecot,
        r#"
good(imap.create("Sent"))
# A header of more than 10 MiB is not encrypted.
huge = (b"X-Filler: " + b"x" * 900 + b"\r\n") * 12000 + MESSAGE
for message in MESSAGE, huge, MESSAGE:
    good(imap.append("INBOX", None, DATE, message))
good(imap.select("INBOX"))
good(imap.copy("1:3", "Sent"))
good(imap.noop())
"#,
    );
    let mut sent = stored_in(&dovecot, ".Sent");
    sent.sort_by_key(Vec::len);
    assert_eq!(sent.len(), 3, "{}", dovecot.log());
    for message in &sent[..2] {
        assert_eq!(decrypt(message, &key), SENT.as_bytes(), "{}", dovecot.log());
    }
    assert!(find(&sent[2], SECRET.as_bytes()).is_some());
    dovecot.log_line(&["Error: ", "not encrypted, left as it is: "]);
}

#[test]
fn other_formats_of_mailboxes_keep_nothing_after_a_purge() {
    for format in [Format::Sdbox, Format::Mdbox] {
        let (dovecot, _) = start(&Config { format, ..Config::default() });
        let said = session(
            &dovecot,
            r#"
good(imap.create("Sent"))
good(imap.append("Sent", r"(\Seen $Work)", DATE, MESSAGE))
good(imap.noop())
show("Sent")
"#,
        );
        assert_eq!(said, format!("(UID 2 FLAGS (\\Seen $Work) {DATE})\n"), "{}", dovecot.log());
        if format == Format::Mdbox {
            assert!(holds_secret(&dovecot.home(ME)), "doc/admin/saved-mail.md says that it is still there");
            shown(&dovecot, &blocks(PAGE, "What remains")[0]);
        }
        dovecot.assert_nowhere(SECRET);
    }
}

#[test]
fn previews_are_not_kept() {
    let preview = r#"
good(imap.create("Sent"))
for _ in range(2):
    good(imap.append("Sent", None, DATE, MESSAGE))
    good(imap.select("Sent"))
    good(imap.fetch("1:*", "(PREVIEW)"))
    good(imap.unselect())
good(imap.noop())
"#;
    let (dovecot, key) = start(&Config::default());
    session(&dovecot, preview);
    assert_encrypted(&dovecot, ".Sent", 2, &key);
    dovecot.assert_nowhere(SECRET);

    let text = example().replace("mail_never_cache_fields", "#mail_never_cache_fields");
    let dovecot = start_with(&text, &Config::default());
    dovecot.give(ME, "me.asc", &armored(&key));
    session(&dovecot, preview);
    let cache = fs::read(dovecot.home(ME).join("Maildir/.Sent/dovecot.index.cache")).unwrap();
    assert!(find(&cache, SECRET.as_bytes()).is_some(), "doc/admin/saved-mail.md says that it is there");
}

#[test]
fn lazy_expunge_keeps_originals() {
    let config = Config {
        extra_23: "mail_plugins = lazy_expunge\n".into(),
        plugin_23: "lazy_expunge = Removed\n".into(),
        extra_24: "mail_plugins = lazy_expunge\nlazy_expunge_mailbox = Removed\n".into(),
        ..Config::default()
    };
    let (dovecot, key) = start(&config);
    session(
        &dovecot,
        "good(imap.create('Sent'))\ngood(imap.append('Sent', None, DATE, MESSAGE))\ngood(imap.noop())",
    );
    assert_encrypted(&dovecot, ".Sent", 1, &key);
    assert_eq!(stored_in(&dovecot, ".Removed").len(), 1, "{}", dovecot.log());
    assert!(holds_secret(&dovecot.home(ME).join("Maildir/.Removed")));
}

/// Counts the events with `outcome=failed`.
const FAILURES: &str =
    "metric failures {\n  filter = event=sieve_perot_encrypt_finished and outcome=failed\n}\n";

/// A reason for which the encrypted message is not stored.
struct Unstored {
    what: &'static str,
    config: Config,
    /// Commands behind `encrypt`.
    commands: &'static str,
    /// How often the body of the message is repeated.
    size: usize,
    /// What the log says.
    because: &'static str,
}

fn unstored() -> Vec<Unstored> {
    let quota = Config {
        extra_23: "mail_plugins = quota\n".into(),
        plugin_23: "quota = count:User\nquota_rule = *:storage=1K\nquota_vsizes = yes\n".into(),
        extra_24: "mail_plugins = quota\nquota User {\n  driver = count\n  storage_size = 1K\n  storage_grace = 0\n}\n".into(),
        ..Config::default()
    };
    let acl = Config {
        extra_23: "mail_plugins = acl\n".into(),
        plugin_23: "acl = vfile\n".into(),
        extra_24: "mail_plugins = acl\nacl_driver = vfile\n".into(),
        ..Config::default()
    };
    let disk = Config {
        temp_size: Some("192k"),
        extra_23: "mail_location = maildir:{dir}/tmp/%u\n".into(),
        extra_24: "mail_path = {dir}/tmp/%{user}\n".into(),
        ..Config::default()
    };
    let sendmail = Config {
        extra_23: "sendmail_path = /bin/false\n".into(),
        extra_24: "sendmail_path = /bin/false\n".into(),
        ..Config::default()
    };
    let row = |what, config, because| Unstored { what, config, commands: "", size: 1, because };
    vec![
        row("quota", quota, "the encrypted message cannot be stored: Quota exceeded"),
        row("rights", acl, "the encrypted message cannot be stored: "),
        Unstored { size: 4000, ..row("disk", disk, "the encrypted message cannot be stored: ") },
        Unstored {
            commands: "redirect \"x@example.net\";",
            ..row("redirect", sendmail, "the encrypted message is not stored: another action of the script")
        },
    ]
}

#[test]
fn what_cannot_be_stored_encrypted_stays_and_the_log_says_so() {
    for Unstored { what, mut config, commands, size, because } in unstored() {
        config.extra_23 += FAILURES;
        config.extra_24 += FAILURES;
        let (dovecot, _) = start(&config);
        fs::write(dovecot.path("global/encrypt.sieve"), script("", &format!("encrypt; {commands}"))).unwrap();
        session(&dovecot, "good(imap.create('Sent'))");
        if what == "rights" {
            // Who may not post may not store by a script.
            let rights = dovecot.home(ME).join("Maildir/.Sent/dovecot-acl");
            fs::write(&rights, "owner lrwstiekx\n").unwrap();
            dovecot.own(&rights);
        }
        let said = session(
            &dovecot,
            &format!(
                "body = b'The nightingale sings.\\r\\n'\nmessage = MESSAGE + body * {size}\n\
                 good(imap.append('Sent', r'(\\Seen)', DATE, message))\ngood(imap.noop())\nshow('Sent')\n\
                 good(imap.select('Sent'))\nassert good(imap.fetch('1', '(BODY.PEEK[])'))[0][1] == message"
            ),
        );
        assert_eq!(said, format!("(UID 1 FLAGS (\\Seen) {DATE})\n"), "{what}: {}", dovecot.log());
        let line = format!("Error: sieve: encrypt: message not encrypted, left as it is: {because}");
        dovecot.log_line(&[&line]);
        let failures = || dovecot.doveadm(&["-f", "tab", "stats", "dump"]);
        let is_counted = || failures().lines().any(|row| row.starts_with("failures\tduration\t1\t"));
        wait_until(is_counted, || format!("{what}: {}\n{}", failures(), dovecot.log()));
    }
}

/// The script removes both, as another session may do at any time. The file of the first is open then. Nothing is stored in
/// the same mailbox: then Dovecot would notice it before it runs the script for the second.
#[test]
fn messages_that_are_removed_meanwhile_are_no_errors() {
    let plugins = "sieve_plugins = sieve_perot_encrypt sieve_extprograms sieve_imapsieve\n\
                   sieve_execute_bin_dir = {dir}/bin\n";
    let auth = "service auth {\n  unix_listener auth-userdb {\n    mode = 0777\n  }\n}\n";
    let config = Config {
        extra_23: auth.into(),
        plugin_23: format!("{plugins}sieve_extensions = +vnd.dovecot.execute\n"),
        extra_24: format!("{auth}{plugins}sieve_extensions {{\n  vnd.dovecot.execute = yes\n}}\n"),
        ..Config::default()
    };
    for commands in [
        "encrypt; fileinto \"Other\";",
        "if encrypted { stop; } encrypt; fileinto \"Other\";",
        "if encrypt { fileinto \"Other\"; } else { fileinto \"Other\"; }",
    ] {
        let (dovecot, _) = start(&config);
        let program = dovecot.path("bin/remove");
        fs::create_dir(dovecot.path("bin")).unwrap();
        let command = format!(
            "#!/bin/sh\n/usr/bin/doveadm -c {} expunge -u {ME} mailbox Sent all\n",
            dovecot.path("dovecot.conf").display()
        );
        fs::write(&program, command).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let text =
            script(", \"vnd.dovecot.execute\", \"fileinto\"", &format!("execute \"remove\"; {commands}"));
        fs::write(dovecot.path("global/encrypt.sieve"), text).unwrap();
        session(
            &dovecot,
            "good(imap.create('Sent'))\ngood(imap.create('Other'))\n\
             good(imap.append('INBOX', None, DATE, MESSAGE))\n\
             good(imap.append('INBOX', None, DATE, MESSAGE))\n\
             good(imap.select('INBOX'))\ngood(imap.copy('1:2', 'Sent'))\ngood(imap.noop())",
        );
        dovecot.log_line(&["Info: sieve: encrypt", ": message is gone: another session has removed it"]);
        assert!(!dovecot.log().contains("Error: "), "{commands}: {}", dovecot.log());
        assert!(!holds_secret(&dovecot.home(ME).join("Maildir/.Other")), "{commands}: {}", dovecot.log());
    }
}

/// Lets users attach scripts to mailboxes.
fn with_users_scripts() -> Config {
    Config {
        extra_23: "imap_metadata = yes\nmail_attribute_dict = file:%h/attributes\n".into(),
        plugin_23: "imapsieve_url = sieve://localhost\n".into(),
        extra_24: "imapsieve_url = sieve://localhost\nprotocol imap {\n  imap_metadata = yes\n}\n\
                   mail_attribute {\n  dict file {\n    path = %{home}/attributes\n  }\n}\n"
            .into(),
        ..Config::default()
    }
}

/// Attaches the user's script to a mailbox.
fn attach(dovecot: &Dovecot, mailbox: &str, script: &str) {
    let folder = dovecot.home(ME).join("sieve");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("mine.sieve"), script).unwrap();
    let _ = fs::remove_file(folder.join("mine.svbin"));
    for path in [&folder, &folder.join("mine.sieve")] {
        dovecot.own(path);
    }
    session(
        dovecot,
        &format!(
            "imap.create('{mailbox}')\n\
             good(imap.xatom('SETMETADATA', '{mailbox}', '(/shared/imapsieve/script \"mine\")'))"
        ),
    );
}

#[test]
fn the_administrators_script_encrypts_whatever_the_users_does() {
    let (dovecot, key) = start(&with_users_scripts());
    for (user_script, folder) in [
        ("keep;", ".Sent"),
        ("this does not compile", ".Sent"),
        ("require \"ihave\"; error \"x\";", ".Sent"),
        ("require \"fileinto\"; fileinto \"nowhere\";", ".Sent"),
        ("require \"vnd.perot.encrypt\"; encrypt :force \"nobody@domain.com\";", ".Sent"),
        ("require \"fileinto\"; fileinto \"Other\";", ".Other"),
        ("discard;", ""),
    ] {
        session(&dovecot, "good(imap.create('Other'))");
        attach(&dovecot, "Sent", user_script);
        session(&dovecot, "good(imap.append('Sent', r'(\\Seen)', DATE, MESSAGE))\ngood(imap.noop())");
        for each in [".Sent", ".Other"] {
            assert_encrypted(&dovecot, each, usize::from(each == folder), &key);
        }
        dovecot.assert_nowhere(SECRET);
        session(&dovecot, "good(imap.delete('Sent'))\ngood(imap.delete('Other'))");
    }
}

#[test]
fn a_users_own_script_encrypts_what_is_saved() {
    let (dovecot, key) = start(&with_users_scripts());
    let change_flags =
        "good(imap.select('Mine'))\nfor flag in 'one', 'two':\n    good(imap.store('1', '+FLAGS', flag))";
    let shown = blocks(PAGE, "Users' own scripts").remove(0);
    attach(&dovecot, "Mine", &shown);
    session(&dovecot, "good(imap.append('Mine', r'(\\Seen)', DATE, MESSAGE))\ngood(imap.noop())");
    assert_encrypted(&dovecot, ".Mine", 1, &key);
    dovecot.assert_nowhere(SECRET);

    session(
        &dovecot,
        "good(imap.select('Mine'))\nimap.store('1:*', '+FLAGS', r'(\\Deleted)')\ngood(imap.expunge())",
    );
    session(&dovecot, "good(imap.append('Mine', r'(\\Draft)', DATE, MESSAGE))");
    session(&dovecot, "good(imap.select('Mine'))\ngood(imap.store('1', '-FLAGS', r'(\\Draft)'))");
    session(&dovecot, change_flags);
    assert_eq!(stored_in(&dovecot, ".Mine"), [SENT.replace("\r\n", "\n").into_bytes()], "{}", dovecot.log());

    // Without the condition, each change makes a copy, as the page warns.
    attach(&dovecot, "Mine", &script("", "encrypt;"));
    session(&dovecot, &change_flags.replace("'one', 'two'", "'three', 'four'"));
    assert_eq!(stored_in(&dovecot, ".Mine").len(), 3, "{}", dovecot.log());
}

#[test]
fn users_encrypt_existing_mail_over_imap() {
    let page = blocks(PAGE, "Existing mail over IMAP");
    let config = &page[usize::from(era() == Era::V24)];
    let dovecot = start_with(config, &Config::default());
    let typed: String = page[2].lines().map(|line| format!("typed({line:?})\n")).collect();
    let typed = format!(
        r#"
def typed(line):
    imap.send(line.encode() + b"\r\n")
    said = b""
    while not said.startswith(line[:2].encode()):
        said = imap.readline()
        print(said.decode().rstrip())
    assert said[2:].startswith(b"OK "), said
{typed}"#
    );
    session(
        &dovecot,
        r#"
for flags in r"(\Seen $Work)", r"(\Flagged)":
    good(imap.append("INBOX", flags, DATE, MESSAGE))
good(imap.append("INBOX", r"(\Draft)", DATE, MESSAGE.replace(b"nightingale", b"draft")))
"#,
    );
    // Without a certificate, the session gets an error.
    let said = session(&dovecot, &typed);
    assert!(said.contains(&page[3]), "{said}");
    assert_eq!(said.matches("(no_certificate)").count(), 2, "{said}");
    dovecot.log_line(&["Error: ", "not encrypted, left as it is: "]);
    assert!(holds_secret(&dovecot.home(ME)));

    let key = key_for(ME);
    dovecot.give(ME, "me.asc", &armored(&key));
    session(&dovecot, &typed);
    dovecot.assert_nowhere(SECRET);
    let expected = format!(
        "(UID 3 FLAGS (\\Draft) {DATE})\n(UID 4 FLAGS (\\Seen $Work) {DATE})\n(UID 5 FLAGS (\\Flagged) {DATE})\n"
    );
    assert_eq!(session(&dovecot, "show('INBOX')"), expected, "{}", dovecot.log());

    // The user's active script is run once more, for a new message.
    session(&dovecot, "good(imap.append('INBOX', None, DATE, MESSAGE))");
    dovecot.script(ME, &script("", "encrypt;"));
    let delivery = "good(imap.select('INBOX'))\ngood(imap.xatom('FILTER', 'SIEVE DELIVERY UNDELETED'))\ngood(imap.expunge())";
    session(&dovecot, delivery);
    dovecot.assert_nowhere(SECRET);
    let messages = stored_in(&dovecot, "");
    let (drafts, encrypted): (Vec<_>, Vec<_>) =
        messages.iter().partition(|message| find(message, b"The draft sings.").is_some());
    assert_eq!((drafts.len(), encrypted.len()), (1, 3), "{}", dovecot.log());
    assert!(encrypted.iter().all(|message| decrypt(message, &key) == SENT.as_bytes()));
}

/// With the mail plugin, nothing is stored before it is encrypted. store_saved.rs has all that mail programs do.
#[test]
fn the_shown_mail_plugin_encrypts_what_is_saved() {
    let [shown_23, shown_24] = pages::shown(PAGE, "With the mail plugin");
    let mut dovecot =
        Dovecot::prepare(&Config { delivery_plugins: Some("sieve perot_encrypt"), ..Config::default() });
    let file = dovecot.path("dovecot.conf");
    fs::write(&file, fs::read_to_string(&file).unwrap() + &of_era(shown_23, shown_24)).unwrap();
    dovecot.launch();
    let key = key_for(ME);
    let save = "good(imap.create('Sent'))\ngood(imap.create('\"Sent Items\"'))\n\
                for name in ['Sent', '\"Sent Items\"']:\n    print(imap.append(name, None, DATE, MESSAGE)[0])";
    assert_eq!(session(&dovecot, save), "NO\nNO\n", "{}", dovecot.log());
    dovecot.assert_nowhere(SECRET);
    dovecot.give(ME, "me.asc", &armored(&key));
    let save = save.split_once("for ").unwrap().1;
    assert_eq!(session(&dovecot, &format!("for {save}")), "OK\nOK\n", "{}", dovecot.log());
    for folder in [".Sent", ".Sent Items"] {
        assert!(stored_in(&dovecot, folder).iter().all(|stored| decrypt(stored, &key) == SENT.as_bytes()));
        assert_eq!(stored_in(&dovecot, folder).len(), 1, "{folder}");
    }
    dovecot.assert_nowhere(SECRET);
}

#[test]
fn the_page_shows_what_is_active_in_the_examples() {
    for (name, shown) in ["2.3", "2.4"].iter().zip(blocks(PAGE, "With a script")) {
        assert_eq!(
            active(&read(&format!("conf.d-example/{name}/91-sent-mail.conf"))).join("\n"),
            shown.trim()
        );
    }
}
