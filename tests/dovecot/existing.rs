//! Encrypts stored mail with sieve-filter and with `perot-encrypt mailbox`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use crate::{message, script, SECRET};
use perot_testing::dovecot::{era, files, run, Config, Dovecot, Era, Format};
use perot_testing::pages::blocks;
use perot_testing::{armored, decrypt, find, key_for};

use sequoia_openpgp::Cert;

const ME: &str = "me@domain.com";
const FORMATS: [Format; 4] = [Format::Maildir, Format::Sdbox, Format::Mdbox, Format::Mbox];

/// The time at which the first message was received. Each later one is a second younger.
const RECEIVED: u64 = 1_600_000_000;

/// Starts a Dovecot that does not wait for the disk, and whose users can be listed.
fn start(format: Format) -> Dovecot {
    Dovecot::start(&config(format))
}

fn config(format: Format) -> Config {
    Config {
        format,
        extra_23: "mail_fsync = never\n".into(),
        extra_24: "mail_fsync = never\n".into(),
        ..Config::default()
    }
}

/// Makes message `i` for [`fill`]: smaller than a block of the file system, and larger than one when
/// encrypted.
fn numbered(i: usize) -> Vec<u8> {
    let mut message = message(&format!("m{i}"));
    message.resize(message.len() + 2900 + i * 7919 % 799, b'x');
    message.extend(b"\r\n");
    message
}

/// Puts messages into a mailbox by importing them from a Maildir.
fn fill(dovecot: &Dovecot, mailbox: &str, numbers: std::ops::Range<usize>) {
    let maildir = dovecot.path("fill");
    dovecot.home(ME);
    for name in ["", "cur", "new", "tmp"] {
        fs::create_dir_all(maildir.join(name)).unwrap();
        dovecot.own(&maildir.join(name));
    }
    for i in numbers {
        // The size in the name varies, as in real names: Dovecot's hash of names uses their end.
        let text = numbered(i);
        let path = maildir.join(format!("cur/{}.M{i}P1.host,S={}:2,S", RECEIVED, text.len()));
        fs::write(&path, text).unwrap();
        let received = UNIX_EPOCH + Duration::from_secs(RECEIVED + i as u64);
        fs::File::options().write(true).open(&path).unwrap().set_modified(received).unwrap();
        dovecot.own(&path);
    }
    if mailbox != "INBOX" {
        dovecot.doveadm(&["mailbox", "create", "-u", ME, "--", mailbox]);
    }
    let source = format!("maildir:{}", maildir.display());
    dovecot.doveadm(&["import", "-u", ME, &source, "", "all"]);
    if mailbox != "INBOX" {
        dovecot.doveadm(&["move", "-u", ME, "--", mailbox, "mailbox", "INBOX", "all"]);
    }
    fs::remove_dir_all(&maildir).unwrap();
}

/// Returns the rows of `doveadm fetch`.
fn fetch(dovecot: &Dovecot, mailbox: &str, fields: &str) -> Vec<Vec<String>> {
    let found = dovecot.doveadm(&["-f", "tab", "fetch", "-u", ME, "--", fields, "mailbox", mailbox, "all"]);
    found.lines().skip(1).map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

fn uids(dovecot: &Dovecot, mailbox: &str) -> Vec<String> {
    fetch(dovecot, mailbox, "uid").concat()
}

/// Counts the messages with each Message-ID.
fn message_ids(dovecot: &Dovecot, mailbox: &str) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for row in fetch(dovecot, mailbox, "hdr.message-id") {
        *found.entry(row.concat()).or_default() += 1;
    }
    found
}

/// Counts the messages that are encrypted, and those that are not.
fn content_types(dovecot: &Dovecot, mailbox: &str) -> (usize, usize) {
    let found = dovecot.doveadm(&["fetch", "-u", ME, "--", "hdr.content-type", "mailbox", mailbox, "all"]);
    (found.matches("multipart/encrypted;").count(), found.matches("text/plain;").count())
}

/// Returns the text of a message.
fn text(dovecot: &Dovecot, mailbox: &str, uid: &str) -> Vec<u8> {
    let found = dovecot.doveadm(&["fetch", "-u", ME, "--", "text", "mailbox", mailbox, "uid", uid]);
    found.split_once('\n').unwrap().1.as_bytes().to_vec()
}

fn filter_command(dovecot: &Dovecot, mailbox: &str, options: &[&str]) -> Command {
    let source = dovecot.path("global/encrypt.sieve");
    fs::write(&source, script("", "encrypt;")).unwrap();
    let mut command = dovecot.command("sieve-filter");
    command.arg("-c").arg(dovecot.path("dovecot.conf"));
    command.args(options).args(["-e", "-W", "-u", ME, "--"]).arg(source).arg(mailbox);
    command
}

pub fn filter(dovecot: &Dovecot, mailbox: &str) -> String {
    let output = run(&mut filter_command(dovecot, mailbox, &[]));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

/// Runs `perot-encrypt mailbox`.
fn tool(dovecot: &Dovecot, arguments: &[&str]) -> Output {
    let mut command = dovecot.command(env!("CARGO_BIN_EXE_perot-encrypt"));
    run(command.args(["mailbox", "-c"]).arg(dovecot.path("dovecot.conf")).args(arguments))
}

/// Runs `perot-encrypt mailbox`, which must succeed. Returns its last line.
fn tool_summary(dovecot: &Dovecot, arguments: &[&str]) -> String {
    let output = tool(dovecot, arguments);
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && errors.is_empty(), "{said}{errors}\n{}", dovecot.log());
    said.lines().last().unwrap().to_owned()
}

fn give_key(dovecot: &Dovecot) -> Cert {
    let key = key_for(ME);
    dovecot.give(ME, "k.asc", &armored(&key));
    key
}

#[test]
fn flags_keywords_and_dates_stay_and_a_second_run_changes_nothing() {
    for format in FORMATS {
        let dovecot = start(format);
        fill(&dovecot, "INBOX", 0..6);
        dovecot.doveadm(&[
            "flags",
            "add",
            "-u",
            ME,
            "\\Flagged \\Answered $Label1 own",
            "mailbox",
            "INBOX",
            "uid",
            "2",
        ]);
        dovecot.doveadm(&["flags", "replace", "-u", ME, "\\Draft", "mailbox", "INBOX", "uid", "3"]);
        dovecot.doveadm(&["flags", "remove", "-u", ME, "\\Seen", "mailbox", "INBOX", "uid", "4"]);
        let state = || {
            let mut rows = fetch(&dovecot, "INBOX", "hdr.message-id flags date.received.unixtime");
            for row in &mut rows {
                let mut flags: Vec<&str> = row[1].split(' ').filter(|flag| *flag != "\\Recent").collect();
                flags.sort_unstable();
                row[1] = flags.join(" ");
            }
            rows.sort();
            rows
        };
        let before = state();
        assert_eq!(before[1][1], "$Label1 \\Answered \\Flagged \\Seen own", "{format:?}");

        // Without a certificate, each message stays as it is.
        let said = filter(&dovecot, "INBOX");
        assert_eq!(said.matches("message not encrypted").count(), 5, "{said}");
        assert_eq!(uids(&dovecot, "INBOX"), ["1", "2", "3", "4", "5", "6"], "{format:?}");

        let key = give_key(&dovecot);
        let said = filter(&dovecot, "INBOX");
        assert_eq!(said.matches("encrypt: message encrypted").count(), 5, "{said}");
        assert_eq!(state(), before, "{format:?}");
        let uids_then = uids(&dovecot, "INBOX");
        assert_eq!(uids_then.len(), 6);
        for uid in &uids_then[1..] {
            let payload = decrypt(&text(&dovecot, "INBOX", uid), &key);
            assert!((0..6).any(|i| payload == numbered(i)), "{format:?}");
        }
        assert_eq!(content_types(&dovecot, "INBOX"), (5, 1), "{format:?}: the draft is as it was");

        filter(&dovecot, "INBOX");
        assert_eq!(uids(&dovecot, "INBOX"), uids_then, "{format:?}");
    }
}

/// There is no envelope. Pigeonhole makes one from the header, which the sender has written.
#[test]
fn who_owns_a_mailbox_is_not_a_matter_of_the_header() {
    for (home, encrypted) in [(true, 3), (false, 0)] {
        let dovecot = Dovecot::start(&Config::default());
        let key = key_for("me@t.org");
        if home {
            dovecot.give("me", "k.asc", &armored(&key));
        }
        fs::write(dovecot.certs().join("alice.asc"), armored(&key_for("alice@t.org"))).unwrap();
        let folder = dovecot.home("me").join("Maildir/cur");
        fs::create_dir_all(&folder).unwrap();
        for (n, field) in ["To", "Envelope-To", "Delivered-To"].iter().enumerate() {
            let mail = format!("{field}: alice@t.org\nSubject: x\n\n{SECRET}\n");
            fs::write(folder.join(format!("170000000{n}.M1P1.host:2,S")), mail).unwrap();
        }
        for path in
            std::iter::once(dovecot.home("me").join("Maildir")).chain([folder.clone()]).chain(files(&folder))
        {
            dovecot.own(&path);
        }
        let output = tool(&dovecot, &["--user", "me"]);
        assert_eq!(output.status.success(), home, "{}", String::from_utf8_lossy(&output.stderr));
        let stored = dovecot.stored("me");
        assert_eq!(stored.len(), 3);
        let is_encrypted = |message: &[u8]| find(message, SECRET.as_bytes()).is_none();
        assert_eq!(stored.iter().filter(|(_, message)| is_encrypted(message)).count(), encrypted);
        for (_, message) in stored.iter().filter(|(_, message)| is_encrypted(message)) {
            assert!(find(&decrypt(message, &key), SECRET.as_bytes()).is_some());
        }
    }
}

/// Dovecot answers with another date the first time that it is asked for the size.
#[test]
fn the_received_date_stays_where_a_script_asks_for_the_size() {
    let dovecot = start(Format::Maildir);
    give_key(&dovecot);
    fill(&dovecot, "INBOX", 0..2);
    let dates = || fetch(&dovecot, "INBOX", "date.received.unixtime");
    let before = dates();
    let source = dovecot.path("global/size.sieve");
    fs::write(&source, script("", "encrypt; if size :over 1G { stop; }")).unwrap();
    let mut command = dovecot.command("sieve-filter");
    command.arg("-c").arg(dovecot.path("dovecot.conf")).args(["-e", "-W", "-u", ME]).arg(source);
    let output = run(command.arg("INBOX"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(content_types(&dovecot, "INBOX"), (2, 0));
    assert_eq!(dates(), before);
}

/// The script has as many actions as are allowed, and one more: in front of that and behind it, the limit is the same.
#[test]
fn encrypt_does_not_count_towards_sieve_max_actions() {
    let limit = "sieve_max_actions = 2\n";
    let dovecot =
        Dovecot::start(&Config { plugin_23: limit.into(), extra_24: limit.into(), ..Config::default() });
    give_key(&dovecot);
    fill(&dovecot, "INBOX", 0..4);
    let [two, three] = [&["a", "b"][..], &["a", "b", "c"]].map(|mailboxes| {
        mailboxes.iter().fold(String::new(), |text, mailbox| {
            dovecot.doveadm(&["mailbox", "create", "-u", ME, "-s", &format!("{mailbox}{}", mailboxes.len())]);
            text + &format!("fileinto \"{mailbox}{}\";", mailboxes.len())
        })
    });
    let number = |n: usize| format!("header :contains \"message-id\" \"m{n}\"");
    let text = format!(
        "if {} {{ {three} }} elsif {} {{ encrypt; {two} }} elsif {} {{ {three} }} else {{ encrypt; {three} }}",
        number(0),
        number(1),
        number(2)
    );
    let source = dovecot.path("global/actions.sieve");
    fs::write(&source, script(", \"fileinto\"", &text)).unwrap();
    let mut command = dovecot.command("sieve-filter");
    command.arg("-c").arg(dovecot.path("dovecot.conf")).args(["-e", "-W", "-u", ME]).arg(source);
    let said = String::from_utf8(run(command.arg("INBOX")).stderr).unwrap();
    assert_eq!(said.matches("exceeds policy limit").count(), 3, "{said}");
    for (mailbox, encrypted, clear) in [("a2", 1, 0), ("b2", 1, 0), ("a3", 0, 0), ("INBOX", 0, 3)] {
        assert_eq!(content_types(&dovecot, mailbox), (encrypted, clear), "{mailbox}: {said}");
    }
}

#[test]
fn nothing_is_left_in_clear() {
    for format in FORMATS {
        let dovecot = start(format);
        give_key(&dovecot);
        fill(&dovecot, "INBOX", 0..5);
        // Mail programs that show the first words put these into the cache of the index.
        dovecot.doveadm(&["fetch", "-u", ME, "body.snippet imap.bodystructure", "mailbox", "INBOX", "all"]);
        assert!(std::panic::catch_unwind(|| dovecot.assert_nowhere(SECRET)).is_err(), "it is there before");
        let summary = tool_summary(&dovecot, &["--user", ME]);
        assert!(summary.contains("messages: 5; encrypted now: 5, encrypted already: 0"), "{summary}");
        dovecot.assert_nowhere(SECRET);
    }
}

#[test]
fn a_run_that_was_interrupted_at_its_end_is_cleaned_up() {
    for format in FORMATS {
        let dovecot = start(format);
        give_key(&dovecot);
        fill(&dovecot, "INBOX", 0..5);
        dovecot.doveadm(&["fetch", "-u", ME, "body.snippet imap.bodystructure", "mailbox", "INBOX", "all"]);
        filter(&dovecot, "INBOX");
        // 2.4 has removed it by itself from a cache of so few messages.
        let is_there = std::panic::catch_unwind(|| dovecot.assert_nowhere(SECRET)).is_err();
        assert!(is_there || era() == Era::V24, "{format:?}: it is there before");
        let summary = tool_summary(&dovecot, &["--user", ME]);
        assert!(summary.contains("messages: 5; encrypted now: 0, encrypted already: 5"), "{summary}");
        dovecot.assert_nowhere(SECRET);
    }
}

#[test]
fn a_run_that_is_killed_loses_nothing() {
    for format in FORMATS {
        let dovecot = start(format);
        give_key(&dovecot);
        fill(&dovecot, "INBOX", 0..120);
        let mut found = BTreeMap::new();
        for (killed, stored) in [1, 2, 5].into_iter().enumerate() {
            // sieve-filter says so much that it waits for its reader, and is not done before it is killed.
            let mut command = filter_command(&dovecot, "INBOX", &["-D"]);
            let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
            let lines = BufReader::with_capacity(256, child.stderr.take().unwrap()).lines();
            lines
                .map_while(Result::ok)
                .filter(|line| line.contains("stored mail into"))
                .nth(stored - 1)
                .unwrap();
            child.kill().unwrap();
            child.wait().unwrap();
            found = message_ids(&dovecot, "INBOX");
            assert_eq!(found.len(), 120, "{format:?}: nothing is lost");
            // One message for each kill may be there twice: as it was, and encrypted.
            assert!(found.values().all(|count| *count <= 2), "{format:?} {found:?}");
            assert!(found.values().sum::<usize>() <= 120 + killed + 1, "{format:?} {found:?}");
            let (encrypted, clear) = content_types(&dovecot, "INBOX");
            assert!(encrypted >= stored && clear > 0, "{format:?}: {encrypted} {clear}");
        }
        tool_summary(&dovecot, &["--user", ME]);
        let then = message_ids(&dovecot, "INBOX");
        assert!(
            then.len() == 120 && then.iter().all(|(id, count)| *count <= found[id]),
            "{format:?} {then:?}"
        );
        assert_eq!(content_types(&dovecot, "INBOX"), (then.values().sum(), 0), "{format:?}");
        dovecot.assert_nowhere(SECRET);
    }
}

#[test]
fn two_runs_at_once_leave_each_message_once() {
    // With mbox, each of them may wait for the other's lock: Dovecot ends one of them, and the page says so.
    for format in FORMATS.into_iter().filter(|format| *format != Format::Mbox) {
        let dovecot = start(format);
        give_key(&dovecot);
        fill(&dovecot, "INBOX", 0..60);
        // sieve-filter waits for its reader after the first message.
        let mut command = filter_command(&dovecot, "INBOX", &["-D"]);
        let mut first = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::with_capacity(256, first.stderr.take().unwrap()).lines();
        lines.find(|line| line.as_ref().unwrap().contains("stored mail into")).unwrap().unwrap();

        let second = filter(&dovecot, "INBOX");
        assert!(
            second.contains("another sieve-filter is encrypting this mailbox: wait"),
            "{format:?} {second}"
        );
        assert!(!second.contains("message encrypted"), "{format:?} {second}");

        lines.for_each(drop);
        assert!(first.wait().unwrap().success());
        let found = message_ids(&dovecot, "INBOX");
        assert!(found.len() == 60 && found.values().all(|count| *count == 1), "{format:?} {found:?}");
        assert_eq!(content_types(&dovecot, "INBOX"), (60, 0), "{format:?}");
    }
}

#[test]
fn a_full_disk_leaves_each_message_once() {
    for format in FORMATS {
        let dovecot = Dovecot::start(&Config { temp_size: Some("1m"), ..config(format) });
        give_key(&dovecot);
        fill(&dovecot, "INBOX", 0..60);
        let name = if format == Format::Maildir { "Maildir" } else { "mail" };
        let there = dovecot.home(ME).join(name);
        let small = dovecot.path("tmp").join(name);
        let location = |path: &Path| match dovecot.era {
            Era::V23 => format!("mail_location={}:{}", format.driver(), path.display()),
            Era::V24 => format!("mail_path={}", path.display()),
        };
        // The small file system exists only while this command runs.
        let source = dovecot.path("global/encrypt.sieve");
        fs::write(&source, script("", "encrypt;")).unwrap();
        let steps = "set -e; rest=${2%/*}/rest; cp -a \"$1\" \"$2\"; cat /dev/zero >\"$rest\" 2>/dev/null || true
            truncate -s -40960 \"$rest\"; sieve-filter -c \"$3\" -o \"$4\" -e -W -u \"$5\" \"$6\" INBOX || true
            rm \"$rest\"; rm -r \"$1\"; cp -a \"$2\" \"$1\"";
        let mut command = dovecot.command("sh");
        command.args(["-c", steps, "sh"]).args([&there, &small, &dovecot.path("dovecot.conf")]);
        let output = run(command.arg(location(&small)).arg(ME).arg(&source));
        let said = String::from_utf8_lossy(&output.stderr);
        let (encrypted, clear) = content_types(&dovecot, "INBOX");
        assert!(said.contains("No space left on device"), "{format:?} {said}");
        assert!(encrypted > 0 && clear > 0, "{format:?} {encrypted} {clear} {said}");
        let found = message_ids(&dovecot, "INBOX");
        assert!(found.len() == 60 && found.values().all(|count| *count == 1), "{format:?} {found:?} {said}");
        tool_summary(&dovecot, &["--user", ME]);
        let found = message_ids(&dovecot, "INBOX");
        assert!(found.len() == 60 && found.values().all(|count| *count == 1), "{format:?} {found:?}");
        assert_eq!(content_types(&dovecot, "INBOX"), (60, 0), "{format:?}");
    }
}

#[test]
fn five_thousand_messages() {
    let dovecot = start(Format::Mdbox);
    let key = give_key(&dovecot);
    fill(&dovecot, "INBOX", 0..5000);
    let output = tool(&dovecot, &["--user", ME]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{said}");
    for line in [
        "me@domain.com INBOX: 1000 of 5000",
        "me@domain.com INBOX: 5000 of 5000",
        "users: 1 done, 0 failed; messages: 5000; encrypted now: 5000, encrypted already: 0, left: drafts 0, marked \
         as deleted 0; failed: 0",
    ] {
        assert!(said.lines().any(|l| l == line), "{line}: {said}");
    }
    assert_eq!(content_types(&dovecot, "INBOX"), (5000, 0));
    let rows = fetch(&dovecot, "INBOX", "uid hdr.message-id date.received.unixtime");
    assert_eq!(rows.len(), 5000);
    for (i, row) in rows.iter().enumerate() {
        assert_eq!(row[1], format!("<m{i}@example.net>"));
        assert_eq!(row[2], (RECEIVED + i as u64).to_string());
    }
    for i in [0, 1, 777, 2500, 4999] {
        assert_eq!(decrypt(&text(&dovecot, "INBOX", &rows[i][0]), &key), numbered(i));
    }
    let summary = tool_summary(&dovecot, &["--user", ME]);
    assert!(summary.contains("messages: 5000; encrypted now: 0, encrypted already: 5000,"), "{summary}");
    assert_eq!(uids(&dovecot, "INBOX"), rows.iter().map(|row| row[0].clone()).collect::<Vec<_>>());
}

#[test]
fn a_dry_run_counts_and_changes_nothing() {
    let dovecot = start(Format::Maildir);
    fill(&dovecot, "INBOX", 0..4);
    dovecot.doveadm(&["flags", "add", "-u", ME, "\\Draft", "mailbox", "INBOX", "uid", "1"]);
    dovecot.doveadm(&["flags", "add", "-u", ME, "\\Deleted", "mailbox", "INBOX", "uid", "2"]);
    let output = tool(&dovecot, &["--dry-run", "--user", ME]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let counts = "messages: 4; would be encrypted now: 0, encrypted already: 0, left: drafts 1, marked as deleted 1; failed: 2";
    assert!(said.contains(counts), "{said}");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(errors.matches("no certificate for me@domain.com").count(), 1, "{errors}");

    give_key(&dovecot);
    let before = fetch(&dovecot, "INBOX", "uid guid flags text");
    let summary = tool_summary(&dovecot, &["--dry-run", "--user", ME]);
    assert!(summary.contains("would be encrypted now: 2,") && summary.ends_with("failed: 0"), "{summary}");
    assert_eq!(fetch(&dovecot, "INBOX", "uid guid flags text"), before);
}

#[test]
fn mail_of_an_owner_without_a_certificate_is_counted() {
    let plugin = vec![("on_no_certificate", "keep".to_owned())];
    let dovecot = Dovecot::start(&Config { plugin, ..Config::default() });
    fill(&dovecot, "INBOX", 0..2);
    for arguments in [&["--dry-run", "--user", ME][..], &["--user", ME]] {
        let summary = tool_summary(&dovecot, arguments);
        let left = "left: drafts 0, marked as deleted 0, without certificate 2; failed: 0";
        assert!(summary.ends_with(left), "{summary}");
    }
}

/// Stores a message that begins with these fields.
fn save(dovecot: &Dovecot, mailbox: &str, fields: &str) {
    let file = dovecot.path("saved");
    fs::write(&file, [fields.as_bytes(), &message("saved")].concat()).unwrap();
    dovecot.own(&file);
    dovecot.doveadm(&["save", "-u", ME, "-m", mailbox, file.to_str().unwrap()]);
}

#[test]
fn what_is_no_mail_or_not_sent_yet_is_left() {
    let namespace = "namespace inbox {\n  inbox = yes\n  separator = /\n  mailbox Unfertig {\n    special_use = \\Drafts\n  \
                     }\n}\n";
    let dovecot = Dovecot::start(&Config {
        extra_23: namespace.into(),
        extra_24: namespace.into(),
        ..Config::default()
    });
    give_key(&dovecot);
    for (i, mailbox) in
        ["Unfertig", "My/Templates", "OUTBOX", "Templates of mine", "Out/Boxes"].iter().enumerate()
    {
        fill(&dovecot, mailbox, i..i + 1);
    }
    for (i, field) in
        ["X-Uniform-Type-Identifier: com.apple.mail-note", "x-kolab-TYPE: x", "X-Kolab-Mime-Version: 3.0"]
            .into_iter()
            .enumerate()
    {
        dovecot.doveadm(&["mailbox", "create", "-u", ME, &format!("Notes{i}")]);
        save(&dovecot, &format!("Notes{i}"), &format!("{field}\r\n"));
    }
    save(&dovecot, "Notes0", "X-Kolab: x\r\n");
    let expected = |now, already| {
        format!(
            "users: 1 done, 0 failed; messages: 9; {now}, encrypted already: {already}, left: drafts 3, marked as deleted 0, \
             no mail 3; failed: 0"
        )
    };
    let dry = tool_summary(&dovecot, &["--dry-run", "--user", ME]);
    assert_eq!(dry, expected("would be encrypted now: 3", 0));
    assert_eq!(tool_summary(&dovecot, &["--user", ME]), expected("encrypted now: 3", 0));
    assert_eq!(tool_summary(&dovecot, &["--user", ME]), expected("encrypted now: 0", 3));
    for (mailbox, encrypted, clear) in [("Unfertig", 0, 1), ("Templates of mine", 1, 0), ("Notes0", 1, 1)] {
        assert_eq!(content_types(&dovecot, mailbox), (encrypted, clear), "{mailbox}");
    }
    // What is delivered is encrypted, whatever fields it has.
    dovecot.script(ME, &script("", "encrypt;"));
    let delivered = [b"X-Kolab-Type: x\r\n", message("delivered").as_slice()].concat();
    assert!(dovecot.deliver(ME, &delivered).starts_with("250 "));
    assert_eq!(content_types(&dovecot, "INBOX"), (1, 0));
}

#[test]
fn mailboxes_can_be_left_out() {
    let dovecot = start(Format::Maildir);
    give_key(&dovecot);
    for (i, mailbox) in ["Robot", "a b", "INBOX"].into_iter().enumerate() {
        fill(&dovecot, mailbox, i..i + 1);
    }
    let output = tool(&dovecot, &["--user", ME, "--except", "Robots"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("there is no mailbox Robots to be left out"), "{errors}");
    let summary = tool_summary(&dovecot, &["--user", ME, "--except", "Robot", "--except", "a b"]);
    assert!(summary.contains("messages: 1; encrypted now: 1,"), "{summary}");
    assert_eq!(content_types(&dovecot, "Robot"), (0, 1));
}

fn with_quota(kilobytes: usize) -> Config {
    let limit = format!("storage={kilobytes}K");
    Config {
        extra_23: "mail_plugins = quota\n".into(),
        plugin_23: format!("quota = count:User\nquota_vsizes = yes\nquota_rule = *:{limit}\n"),
        extra_24: format!(
            "mail_plugins {{\n  quota = yes\n}}\nquota User {{\n  driver = count\n  storage_size = {kilobytes}K\n}}\n"
        ),
        ..Config::default()
    }
}

#[test]
fn what_would_not_fit_is_not_begun() {
    let dovecot = Dovecot::start(&with_quota(20));
    give_key(&dovecot);
    fill(&dovecot, "INBOX", 0..4);
    for dry_run in [true, false] {
        let output =
            tool(&dovecot, &[if dry_run { &["--dry-run"][..] } else { &[] }, &["--user", ME]].concat());
        let (said, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(1), "{said}{errors}");
        assert!(errors.contains("raise the quota first, else the mailboxes are full"), "{errors}");
        let told = "me@domain.com: quota User: 14 kB of 20 kB are used, 2";
        assert!(if dry_run { &said } else { &errors }.contains(told), "{said}{errors}");
        assert_eq!(content_types(&dovecot, "INBOX"), (0, 4), "{said}{errors}");
    }
}

#[test]
fn what_is_said_of_the_quota_comes_true() {
    // With the smaller quota, there is room for what it is, and not for what it could be.
    for limit in [30, 1000] {
        let dovecot = Dovecot::start(&with_quota(limit));
        give_key(&dovecot);
        fill(&dovecot, "INBOX", 0..4);
        let said = String::from_utf8(tool(&dovecot, &["--dry-run", "--user", ME]).stdout).unwrap();
        let told = said.lines().find_map(|line| line.split_once(" are used, ")).unwrap().1;
        let output = tool(&dovecot, &["--user", ME]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(content_types(&dovecot, "INBOX"), (4, 0));
        let quota = dovecot.doveadm(&["-f", "tab", "quota", "get", "-u", ME]);
        let row = quota.lines().find(|line| line.contains("STORAGE")).unwrap();
        let used: u64 = row.split('\t').nth(2).unwrap().parse().unwrap();
        let expected: u64 = told.strip_suffix(" kB afterwards").unwrap().parse().unwrap();
        assert!(used.abs_diff(expected) <= 1, "{said}{quota}");
    }
}

#[test]
fn a_user_without_a_quota() {
    let dovecot = Dovecot::start(&Config {
        extra_23: "mail_plugins = quota\n".into(),
        extra_24: "mail_plugins {\n  quota = yes\n}\n".into(),
        ..Config::default()
    });
    give_key(&dovecot);
    fill(&dovecot, "INBOX", 0..1);
    for arguments in [&["--dry-run", "--user", ME][..], &["--user", ME]] {
        let output = tool(&dovecot, arguments);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        assert!(!said.contains("quota"), "{said}");
    }
    assert_eq!(content_types(&dovecot, "INBOX"), (1, 0));
}

/// What sieve-filter stores in this virtual mailbox goes to the INBOX.
#[test]
fn a_virtual_mailbox_is_left_alone() {
    let namespace =
        "namespace inbox {\n  inbox = yes\n  separator = /\n}\nnamespace virtual {\n  prefix = virtual/\n  \
                     separator = /\n";
    let dovecot = Dovecot::start(&Config {
        extra_23: format!("mail_plugins = virtual\n{namespace}  location = virtual:{{dir}}/virtual\n}}\n"),
        extra_24: format!(
            "mail_plugins {{\n  virtual = yes\n}}\n{namespace}  mail_driver = virtual\n  mail_path = {{dir}}/virtual\n}}\n"
        ),
        ..Config::default()
    });
    give_key(&dovecot);
    fill(&dovecot, "Work", 0..2);
    let folder = dovecot.path("virtual/all");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("dovecot-virtual"), "!INBOX\nWork\n  all\n").unwrap();
    for path in [dovecot.path("virtual"), folder.clone(), folder.join("dovecot-virtual")] {
        dovecot.own(&path);
    }
    let said = filter(&dovecot, "virtual/all");
    assert_eq!(said.matches("a virtual mailbox would have it stored elsewhere").count(), 2, "{said}");
    assert_eq!(
        (content_types(&dovecot, "Work"), content_types(&dovecot, "INBOX")),
        ((0, 2), (0, 0)),
        "{said}"
    );
}

#[test]
fn names_of_mailboxes_are_names() {
    let dovecot = start(Format::Maildir);
    give_key(&dovecot);
    let names = ["-e", "a b", "(", "q\"uote", "back\\slash", "Entwürfe", "$(id)", "Trash"];
    for (i, name) in names.into_iter().enumerate() {
        fill(&dovecot, name, i..i + 1);
    }
    let summary = tool_summary(&dovecot, &["--user", ME]);
    assert!(summary.contains("messages: 8; encrypted now: 8,"), "{summary}");
    let summary = tool_summary(&dovecot, &["--user", ME, "--", "-e", "("]);
    assert!(summary.contains("messages: 2; encrypted now: 0, encrypted already: 2,"), "{summary}");

    // doveadm would take the first name for a pattern. The others are done nevertheless.
    fill(&dovecot, "*", 8..9);
    fill(&dovecot, "zzz", 9..10);
    let output = tool(&dovecot, &["--user", ME, "*", "nowhere", "zzz"]);
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{said}{errors}");
    assert!(errors.contains("me@domain.com *: doveadm would take this name for a pattern"), "{errors}");
    assert!(errors.contains("me@domain.com nowhere: there is no such mailbox"), "{errors}");
    assert!(said.contains("users: 0 done, 1 failed; messages: 1; encrypted now: 1,"), "{said}");
    assert_eq!(content_types(&dovecot, "zzz"), (1, 0));
}

#[test]
fn what_only_holds_other_mailboxes_is_passed_over() {
    for format in FORMATS {
        let dovecot = start(format);
        give_key(&dovecot);
        let below = if format == Format::Maildir { "a.b" } else { "a/b" };
        fill(&dovecot, below, 0..1);
        let listed = dovecot.doveadm(&["mailbox", "list", "-u", ME]);
        assert!(listed.lines().any(|mailbox| mailbox == "a"), "{format:?} {listed}");
        let summary = tool_summary(&dovecot, &["--user", ME]);
        assert!(summary.contains("messages: 1; encrypted now: 1,"), "{format:?} {summary}");
    }
}

#[test]
fn a_script_may_choose_messages() {
    let dovecot = start(Format::Maildir);
    give_key(&dovecot);
    fill(&dovecot, "INBOX", 0..5);
    let source = dovecot.path("global/choose.sieve");
    let choose = "if header :contains \"message-id\" \"m3\" { encrypt; }";
    fs::write(&source, script("", choose)).unwrap();
    let compile = || {
        let mut command = dovecot.command("sievec");
        let compiled = run(command.arg("-c").arg(dovecot.path("dovecot.conf")).arg(&source));
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    };
    compile();
    let arguments = ["--user", ME, "--script", source.to_str().unwrap()];
    let summary = tool_summary(&dovecot, &[&["--dry-run"], &arguments[..]].concat());
    assert!(summary.contains("messages: 5; would be encrypted now: 1,") && summary.ends_with("failed: 0"));
    let summary = tool_summary(&dovecot, &arguments);
    assert!(
        summary.contains("messages: 5; encrypted now: 1,") && summary.ends_with("failed: 0"),
        "{summary}"
    );
    assert_eq!(content_types(&dovecot, "INBOX"), (1, 4));
    let summary = tool_summary(&dovecot, &arguments);
    assert!(summary.contains("encrypted already: 1,") && summary.ends_with("failed: 0"), "{summary}");

    // A failure counts even if nothing was to be encrypted.
    fs::write(&source, script(", \"fileinto\"", "fileinto \"nowhere\";")).unwrap();
    compile();
    let output = tool(&dovecot, &arguments);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn if_nobody_reads_it_stops_between_mailboxes() {
    let dovecot = start(Format::Mdbox);
    give_key(&dovecot);
    fill(&dovecot, "other", 20..21);
    fill(&dovecot, "INBOX", 0..20);
    let mut command = dovecot.command(env!("CARGO_BIN_EXE_perot-encrypt"));
    command.args(["mailbox", "-c"]).arg(dovecot.path("dovecot.conf")).args(["--user", ME, "INBOX", "other"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(75) && errors.contains("Broken pipe"), "{errors}");
    assert_eq!(content_types(&dovecot, "INBOX"), (20, 0));
    assert_eq!(content_types(&dovecot, "other"), (0, 1));
}

#[test]
fn a_folder_for_root_alone_is_no_place_for_the_script() {
    let dovecot = start(Format::Maildir);
    let closed = dovecot.path("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    let mut command = dovecot.command(env!("CARGO_BIN_EXE_perot-encrypt"));
    command.args(["mailbox", "-c"]).arg(dovecot.path("dovecot.conf")).args(["--user", ME]);
    let output = run(command.env("TMPDIR", &closed));
    let errors = String::from_utf8_lossy(&output.stderr);
    // The processes of an ordinary user can read it.
    let by_root = fs::metadata(&closed).unwrap().uid() == 0;
    assert_eq!(output.status.code(), Some(if by_root { 75 } else { 0 }), "{errors}");
    assert_eq!(errors.contains("set TMPDIR to another folder"), by_root, "{errors}");
}

#[test]
fn mailboxes_of_others_are_left_alone() {
    let inbox = "namespace inbox {\n  inbox = yes\n  separator = /\n}\n";
    let public = "namespace public {\n  type = public\n  prefix = Public/\n  separator = /\n";
    let dovecot = Dovecot::start(&Config {
        extra_23: format!("{inbox}{public}  location = maildir:{{dir}}/home/public\n}}\n"),
        extra_24: format!("{inbox}{public}  mail_path = {{dir}}/home/public\n}}\n"),
        ..Config::default()
    });
    give_key(&dovecot);
    fill(&dovecot, "Public/news", 0..1);
    fill(&dovecot, "Publications", 1..2);
    let summary = tool_summary(&dovecot, &["--user", ME]);
    assert!(summary.contains("messages: 1; encrypted now: 1,"), "{summary}");
    let output = tool(&dovecot, &["--user", ME, "Public/news"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && errors.contains("it is not the user's own"), "{errors}");
    assert_eq!(content_types(&dovecot, "Public/news"), (0, 1));
}

#[test]
fn a_missing_program_is_named_with_its_package() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_perot-encrypt"));
    let output = run(command.args(["mailbox", "--user", ME]).env("PATH", "/nonexistent"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success()
            && said.contains("sievec: ")
            && said.contains("it is in the package dovecot-sieve"),
        "{said}"
    );
}

/// Has two users who can be listed, in a file.
fn two_users() -> Config {
    let users = match era() {
        Era::V23 => "passdb {\n  driver = static\n  args = password=test\n}\nuserdb {\n  driver = passwd-file\n  \
                     args = {dir}/users\n}\n"
            .into(),
        Era::V24 => "passdb static {\n  password = test\n}\nuserdb passwd-file {\n  passwd_file_path = {dir}/users\n}\n".into(),
    };
    Config { users: Some(users), ..config(Format::Maildir) }
}

#[test]
fn names_of_users_are_names() {
    let mut dovecot = Dovecot::prepare(&two_users());
    fs::write(dovecot.path("users"), format!("*@domain.com:::::\nm?@domain.com:::::\n{ME}:::::\n")).unwrap();
    dovecot.launch();
    give_key(&dovecot);
    fill(&dovecot, "INBOX", 0..1);
    for pattern in ["*@domain.com", "m?@domain.com"] {
        let output = tool(&dovecot, &["--user", pattern, "INBOX"]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(errors.contains("doveadm would take this name for a pattern"), "{errors}");
        assert_eq!(content_types(&dovecot, "INBOX"), (0, 1));
    }
    let said = String::from_utf8(tool(&dovecot, &["--all"]).stdout).unwrap();
    assert!(said.contains("users: 1 done, 2 failed; messages: 1; encrypted now: 1,"), "{said}");
}

/// Runs a block of the page, with the paths and programs of `dovecot`.
fn run_page(dovecot: &Dovecot, heading: &str, block: usize) -> Output {
    let block = &blocks("doc/admin/existing-mail.md", heading)[block];
    let config = dovecot.path("dovecot.conf");
    let with_config = |program: &str| format!("{program} -c {}", config.display());
    let tool = format!("{} mailbox", env!("CARGO_BIN_EXE_perot-encrypt"));
    let block = block
        .replace("perot-encrypt mailbox", &with_config(&tool))
        .replace("doveadm ", &(with_config("doveadm") + " "))
        .replace("sieve-filter ", &(with_config("sieve-filter") + " "))
        .replace("/etc/dovecot/sieve", dovecot.path("global").to_str().unwrap())
        .replace("/var/backups/me", dovecot.path("home/backup").to_str().unwrap());
    run(dovecot.command("sh").args(["-e", "-c", &block]))
}

#[test]
fn the_page_shows_what_works() {
    let mut dovecot = Dovecot::prepare(&two_users());
    fs::write(dovecot.path("users"), format!("{ME}:::::\nother@domain.com:::::\n")).unwrap();
    dovecot.launch();
    let key = give_key(&dovecot);
    fill(&dovecot, "INBOX", 0..3);
    let good = |heading: &str, block: usize| {
        let output = run_page(&dovecot, heading, block);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{heading}: {said}{errors}\n{}", dovecot.log());
        said
    };
    good("Before you start", 0);
    let said = good("One user", 0);
    assert_eq!(said, blocks("doc/admin/existing-mail.md", "One user")[1]);

    // Nobody has a certificate for the other user. The run fails for that one, and encrypts the mail of the
    // first.
    assert!(dovecot.deliver("other@domain.com", &message("other")).starts_with("250 "));
    let output = run_page(&dovecot, "All users", 0);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    dovecot.give("other@domain.com", "k.asc", &armored(&key_for("other@domain.com")));
    let said = good("All users", 0);
    assert!(said.contains("users: 2 done, 0 failed; messages: 4; would be encrypted now: 4,"), "{said}");
    assert!(said.contains("users: 2 done, 0 failed; messages: 4; encrypted now: 4,"), "{said}");
    good("One user", 2);

    // The steps for going back to the backup, and those by hand.
    let backup = format!("maildir:{}", dovecot.path("home/backup").display());
    dovecot.doveadm(&["expunge", "-u", ME, "mailbox", "INBOX", "all"]);
    dovecot.doveadm(&["import", "-u", ME, &backup, "", "all"]);
    assert_eq!(content_types(&dovecot, "INBOX"), (0, 3));
    fs::copy(
        perot_testing::pages::project("conf.d-example/encrypt.sieve"),
        dovecot.path("global/encrypt.sieve"),
    )
    .unwrap();
    good("By hand", 0);
    assert_eq!(content_types(&dovecot, "INBOX"), (3, 0));
    assert_eq!(decrypt(&text(&dovecot, "INBOX", &uids(&dovecot, "INBOX")[2]), &key), numbered(2));
    fs::remove_dir_all(dovecot.path("home/backup")).unwrap();
    dovecot.assert_nowhere(SECRET);
}

/// Returns all files and folders below a folder.
fn everything(folder: &Path) -> BTreeSet<PathBuf> {
    let below = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    below.flat_map(|path| everything(&path).into_iter().chain([path]).collect::<Vec<_>>()).collect()
}

/// Among the users of the system there are accounts of services, without mail and some without a home. doveadm makes an
/// INBOX for whomever it looks at, and the mailboxes that the configuration wants.
#[test]
fn no_mailboxes_are_made() {
    let sent =
        "namespace inbox {\n  inbox = yes\n  separator = /\n  mailbox Sent {\n    auto = create\n  }\n}\n";
    for format in FORMATS {
        let mut config = Config { format, ..two_users() };
        config.extra_23 += sent;
        config.extra_24 += sent;
        let mut dovecot = Dovecot::prepare(&config);
        fs::write(dovecot.path("users"), format!("{ME}:::::\nservice:::::\nhomeless:::::\n")).unwrap();
        dovecot.launch();
        give_key(&dovecot);
        fill(&dovecot, "INBOX", 0..1);
        dovecot.home("service");
        let before = everything(&dovecot.path("home"));
        for mailboxes in [&[][..], &["INBOX"]] {
            let summary = tool_summary(&dovecot, &[&["--dry-run", "--all"], mailboxes].concat());
            assert!(
                summary.starts_with("users: 3 done, 0 failed; messages: 1; would be encrypted now: 1,"),
                "{summary}"
            );
        }
        for (user, mailbox) in [(ME, "Sent"), ("service", "INBOX")] {
            let output = tool(&dovecot, &["--dry-run", "--user", user, mailbox]);
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(errors.contains(&format!("{user} {mailbox}: there is no such mailbox")), "{errors}");
        }
        let after = everything(&dovecot.path("home"));
        assert!(after == before, "{format:?}: {:?}", after.difference(&before));

        // What is not in the INBOX is seen, too.
        if format == Format::Mbox {
            fill(&dovecot, "Work", 1..2);
            fs::remove_file(dovecot.home(ME).join("mail/inbox")).unwrap();
            let summary = tool_summary(&dovecot, &["--dry-run", "--all"]);
            assert!(summary.contains("messages: 2; would be encrypted now: 2,"), "{summary}");
            assert!(!dovecot.home(ME).join("mail/inbox").exists());
        }
    }
}
