//! Tests the mail plugin beside other plugins, in every mailbox format.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use perot_testing::dovecot::{era, Config, Dovecot, Era, Format};
use perot_testing::messages::encrypted;
use perot_testing::{armored, decrypt, key_for, with_crlf};

use sequoia_openpgp::Cert;

use crate::{message, SECRET};

const ME: &str = "me@domain.com";
const FORMATS: [Format; 4] = [Format::Maildir, Format::Sdbox, Format::Mdbox, Format::Mbox];

fn give_key(dovecot: &Dovecot) -> Cert {
    let key = key_for(ME);
    dovecot.give(ME, "k.asc", &armored(&key));
    key
}

/// Returns a configuration with the plugins that are commonly loaded, all of which have something to do.
fn with_others(format: Format) -> Config {
    let plugins = match era() {
        Era::V23 => "sieve perot_encrypt quota trash notify mail_log acl lazy_expunge virtual zlib",
        Era::V24 => "sieve perot_encrypt quota trash notify mail_log acl lazy_expunge virtual mail_compress",
    };
    let inbox = |trash| format!("namespace inbox {{\n  inbox = yes\n  separator = /\n{trash}}}\n");
    let virtual_mailboxes = "namespace virtual {\n  prefix = virtual/\n  separator = /\n";
    Config {
        format,
        delivery_plugins: Some(plugins),
        imap_plugins: plugins.strip_prefix("sieve ").unwrap(),
        plugin: vec![("saved", "Sent".into())],
        // doveadm needs them to read the mail.
        extra_23: format!(
            "mail_plugins = zlib virtual\n{}{virtual_mailboxes}  location = virtual:{{dir}}/virtual\n}}\n",
            inbox("")
        ),
        plugin_23: "quota = count:User quota\nquota_vsizes = yes\nquota_rule = *:storage=1M\n\
                    zlib_save = gz\ntrash = {dir}/trash.conf\nacl = vfile\nlazy_expunge = Expunged\n\
                    mail_log_events = save copy\n"
            .into(),
        extra_24: format!(
            "mail_plugins {{\n  mail_compress = yes\n  virtual = yes\n}}\nmail_compress_write_method = gz\n\
             quota user {{\n  driver = count\n  storage_size = 1M\n}}\nacl_driver = vfile\n\
             lazy_expunge_mailbox = Expunged\nmail_log_events {{\n  save = yes\n  copy = yes\n}}\n\
             {}{virtual_mailboxes}  mail_driver = virtual\n  mail_path = {{dir}}/virtual\n}}\n",
            inbox("  mailbox Trash {\n    trash_priority = 1\n  }\n"),
        ),
        ..Config::default()
    }
}

/// Starts it, with a virtual mailbox that stores in INBOX.
fn start_with_others(format: Format) -> Dovecot {
    let mut dovecot = Dovecot::prepare(&with_others(format));
    fs::write(dovecot.path("trash.conf"), "1 Trash\n").unwrap();
    let folder = dovecot.path("virtual/all");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("dovecot-virtual"), "!INBOX\n  all\n").unwrap();
    for path in [dovecot.path("virtual"), folder.clone(), folder.join("dovecot-virtual")] {
        dovecot.own(&path);
    }
    dovecot.launch();
    dovecot
}

/// Returns flags and text of the messages in a mailbox, one by one, in the order in which they were stored.
fn fetch(dovecot: &Dovecot, mailbox: &str) -> Vec<String> {
    let text = dovecot.doveadm(&["fetch", "-u", ME, "flags text", "mailbox", mailbox, "all"]);
    text.split("flags: ").skip(1).map(str::to_owned).collect()
}

#[test]
fn deliveries() {
    for format in FORMATS {
        let alone = Config { format, delivery_plugins: Some("sieve perot_encrypt"), ..Config::default() };
        for (others, dovecot) in [(false, Dovecot::start(&alone)), (true, start_with_others(format))] {
            let key = give_key(&dovecot);
            let last = if others { "fileinto \"virtual/all\";" } else { "keep;" };
            let requires = "require [\"fileinto\", \"mailbox\", \"imap4flags\", \"copy\"];";
            let first = "fileinto :copy :create :flags [\"\\\\Flagged\", \"$Label\"] \"box\";";
            dovecot.script(ME, &format!("{requires}\n{first} {last}"));
            let what = format!("{format:?}, with others: {others}");
            let answer = dovecot.deliver(ME, &message("format"));
            assert!(answer.starts_with("250 "), "{what}: {answer}\n{}", dovecot.log());
            for mailbox in ["INBOX", "box"] {
                let [stored] = &fetch(&dovecot, mailbox)[..] else { panic!("{what}\n{}", dovecot.log()) };
                let flagged = stored.contains("\\Flagged") && stored.contains("$Label");
                assert_eq!(flagged, mailbox == "box", "{what}: {stored}");
                assert!(decrypt(stored.as_bytes(), &key).ends_with(&message("format")), "{what}: {mailbox}");
            }
            if others {
                let saved = match era() {
                    Era::V23 => "box=box",
                    Era::V24 => "Mailbox box: save",
                };
                dovecot.log_line(&[saved, "msgid=<format@example.net>"]);
            }
            dovecot.assert_nowhere(SECRET);
        }
    }
}

#[test]
fn saved_mail() {
    for format in FORMATS {
        let dovecot = start_with_others(format);
        let key = give_key(&dovecot);
        let said = dovecot.imap(
            ME,
            "message = b'From: me@domain.com\\r\\nSubject: saved\\r\\n\\r\\nThe nightingale sings.\\r\\n'\n\
             for name in ['Sent', 'Clear']: good(imap.create(name))\n\
             print(good(imap.append('Sent', '(\\\\Seen $Label)', None, message)))\n\
             for flag in ['\\\\Flagged', '\\\\Answered']: good(imap.append('Clear', flag, None, message))\n\
             good(imap.select('Clear'))\n\
             for command in ['COPY', 'MOVE']:\n  \
             good(imap.uid(command, '1' if command == 'COPY' else '2', 'Sent'))\n  \
             print(imap.response('COPYUID'))\n\
             print(good(imap.select('Clear')))",
        );
        let what = format!("{format:?}: {said}\n{}", dovecot.log());
        assert_eq!(said.matches("COPYUID', [b'").count(), 2, "{what}");
        assert!(said.contains("[APPENDUID ") && said.ends_with("[b'1']\n"), "{what}");
        let stored = fetch(&dovecot, "Sent");
        let flags = [["\\Seen", "$Label"], ["\\Flagged", ""], ["\\Answered", ""]];
        assert_eq!(stored.len(), flags.len(), "{what}");
        for (stored, flags) in stored.iter().zip(flags) {
            assert!(flags.iter().all(|flag| stored.contains(flag)), "{what}: {stored}");
            let payload = decrypt(stored.as_bytes(), &key);
            assert!(payload.ends_with(b"The nightingale sings.\r\n"), "{what}: {stored}");
            assert!(!stored.contains(SECRET), "{what}: {stored}");
        }
    }
}

/// Dovecot can keep large parts of a message in files of their own.
#[test]
fn attachments() {
    let part = |kind: &str, body: &str| format!("--x\r\nContent-Type: {kind}\r\n\r\n{body}--x");
    let head =
        "From: a@example.net\r\nSubject: attached\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n";
    let attached = part("application/pdf", &format!("The {SECRET} sings.\r\n").repeat(10_000));
    let message = format!("{head}{attached}--\r\n").into_bytes();
    for format in [Format::Sdbox, Format::Mdbox] {
        let config = Config {
            format,
            delivery_plugins: Some("sieve perot_encrypt"),
            extra_23: "mail_attachment_dir = {dir}/home/attachments\n".into(),
            extra_24: "mail_ext_attachment_path = {dir}/home/attachments\n\
                       mail_ext_attachment {\n  fs posix {\n    fs_driver = posix\n  }\n}\n"
                .into(),
            ..Config::default()
        };
        let dovecot = Dovecot::start(&config);
        let key = give_key(&dovecot);
        let answer = dovecot.deliver(ME, &message);
        assert!(answer.starts_with("250 "), "{format:?}: {answer}\n{}", dovecot.log());
        assert!(dovecot.path("home/attachments").exists(), "{format:?}: the ciphertext is no attachment");
        let [stored] = &fetch(&dovecot, "INBOX")[..] else { panic!("{}", dovecot.log()) };
        assert!(decrypt(stored.as_bytes(), &key).ends_with(&message), "{format:?}");
        dovecot.assert_nowhere(SECRET);
    }
}

/// Makes a Maildir folder with one message and an ACL.
fn folder_with_rights(dovecot: &Dovecot, folder: &Path, rights: &str) {
    fs::create_dir_all(folder.join("cur")).unwrap();
    fs::write(folder.join("cur/1700000000.M1P1.host:2,S"), message("moved")).unwrap();
    fs::write(folder.join("dovecot-acl"), format!("owner {rights}\nuser={ME} {rights}\n")).unwrap();
    let made = [folder.parent().unwrap(), folder, &folder.join("cur"), &folder.join("dovecot-acl")];
    made.iter().for_each(|path| dovecot.own(path));
}

/// Moves a message from one mailbox to another, of which the user has different rights. Returns the answers, each with
/// the number of messages in both mailboxes.
fn moves(plugins: &'static str, driver: &str) -> String {
    let namespaces = "namespace inbox {\n  inbox = yes\n  separator = /\n}\n\
                      namespace public {\n  type = public\n  prefix = Public/\n  separator = /\n";
    let dovecot = Dovecot::start(&Config {
        imap_plugins: plugins,
        plugin: vec![("saved", "Sent Shut".into())],
        extra_23: format!("{namespaces}  location = maildir:{{dir}}/home/public\n}}\n"),
        plugin_23: format!("acl = {driver}\n"),
        extra_24: format!("{namespaces}  mail_path = {{dir}}/home/public\n}}\nacl_driver = {driver}\n"),
        ..Config::default()
    });
    give_key(&dovecot);
    for root in [dovecot.home(ME).join("Maildir"), dovecot.path("home/public")] {
        for (name, rights) in [(".Free", "lrwstipek"), (".Kept", "lrwstip"), (".Shut", "lrs")] {
            folder_with_rights(&dovecot, &root.join(name), rights);
        }
    }
    dovecot.imap(
        ME,
        "good(imap.create('Sent'))\n\
         def count(mailbox): return int(good(imap.select(mailbox, readonly=True))[0])\n\
         for pair in [(a, 'Sent') for a in ['Kept', 'Public/Kept', 'Public/Shut']] + \
         [('Free', 'Shut'), ('Free', 'Sent'), ('Public/Free', 'Sent')]:\n  \
         good(imap.select(pair[0]))\n  \
         status, data = imap.uid('MOVE', '1', pair[1])\n  \
         imap.close()\n  \
         print(*pair, status, (data[0] or b'').split(b' (')[0], *map(count, pair))",
    )
}

/// The plugin does not change the answer of acl to a MOVE, and nothing is stored if acl refuses it.
#[test]
fn a_move_without_the_right_to_expunge() {
    let without = moves("acl", "vfile");
    assert_eq!(without.matches("NO b'[NOPERM]").count(), 4, "{without}");
    assert_eq!(without.matches(" OK ").count(), 2, "{without}");
    assert_eq!(moves("perot_encrypt acl", "vfile"), without);
    // It may be loaded and have nothing to do.
    let idle = moves("perot_encrypt acl", "");
    assert_eq!(idle.matches(" OK ").count(), 6, "{idle}");
}

/// Without Sieve, Dovecot makes hard links to the message of the first recipient for the others. It does so still with what
/// has come encrypted, and with nothing else.
#[test]
fn hard_links() {
    let setting = "maildir_copy_with_hardlinks = yes\n";
    let config = Config {
        delivery_plugins: Some("perot_encrypt"),
        extra_23: setting.into(),
        extra_24: setting.into(),
        ..Config::default()
    };
    let dovecot = Dovecot::start(&config);
    let users = [ME, "you@domain.com", "third@domain.com"];
    let keys = users.map(key_for);
    for (user, key) in users.iter().zip(&keys) {
        dovecot.give(user, "k.asc", &armored(key));
    }
    let (_, encrypted) = encrypted().into_iter().find(|(what, _)| *what == "S/MIME").unwrap();
    for (message, expected) in [(with_crlf(&encrypted), [3; 3]), (message("links"), [1; 3])] {
        let answers = dovecot.deliver_to(&users, &message);
        assert!(answers.iter().all(|answer| answer.starts_with("250 ")), "{answers:?}\n{}", dovecot.log());
        let links = users.map(|user| fs::metadata(&dovecot.stored_files(user)[0].1).unwrap().nlink());
        assert_eq!(links, expected, "{}", dovecot.log());
        for (user, key) in users.iter().zip(&keys) {
            let stored = with_crlf(&dovecot.only_message(user));
            let stored = if links == [1; 3] { decrypt(&stored, key) } else { stored };
            assert!(stored.ends_with(&message), "{user}");
            fs::remove_dir_all(dovecot.home(user).join("Maildir")).unwrap();
        }
    }
}
