//! Tests that scripts do behind the mail plugin what they do without it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use perot_testing::dovecot::{wait_until, Config, Dovecot};
use perot_testing::{armored, decrypt, find, key_for};

use sequoia_openpgp::Cert;

use crate::SECRET;

/// The extensions that Pigeonhole does not allow by default.
const EXTENSIONS: [&str; 3] = ["editheader", "spamtest", "spamtestplus"];

/// A message with what scripts look at.
fn message(id: usize) -> Vec<u8> {
    format!(
        "Received: from mx.example.net by mail.domain.com; Tue, 02 Jan 2024 10:00:00 +0000\r\n\
         From: Ann <ann@example.net>\r\nTo: me+lists@domain.com\r\nCc: you@domain.com\r\n\
         Subject: [list] Report 42\r\n\
         Message-ID: <{id}@example.net>\r\nDate: Tue, 02 Jan 2024 10:00:00 +0000\r\nX-Spam-Score: 7\r\n\
         X-Priority: 1\r\nX-List: list.example.net\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\n\
         The {SECRET} sings.\r\n--x\r\nContent-Type: application/pdf; name=\"song.pdf\"\r\n\
         Content-Disposition: attachment; filename=\"song.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\n\
         JVBERi0xLjQK\r\n--x--\r\n"
    )
    .into_bytes()
}

/// What has become of a message.
#[derive(Debug, PartialEq)]
struct Done {
    /// The first digits of the answer.
    answer: String,
    /// The folders it is in, each with the flags and the number of messages.
    folders: BTreeMap<(String, String), usize>,
    /// What Pigeonhole says that it has done.
    actions: Vec<String>,
}

/// Delivers a message to each of the scripts, which belong to users of their own.
fn deliver(plugins: &'static str, scripts: &[(String, String)]) -> Vec<Done> {
    let enabled: String = EXTENSIONS.iter().map(|name| format!("  {name} = yes\n")).collect();
    let mut dovecot = Dovecot::prepare(&Config {
        delivery_plugins: Some(plugins),
        plugin_23: format!(
            "sieve_extensions = {}\nsieve_spamtest_status_type = score\n\
             sieve_spamtest_status_header = X-Spam-Score: ([0-9]+)\nsieve_spamtest_max_value = 10\n",
            EXTENSIONS.map(|name| format!("+{name}")).join(" ")
        ),
        extra_23: "recipient_delimiter = +\nsendmail_path = {dir}/sendmail\n".into(),
        extra_24: format!(
            "recipient_delimiter = +\nsendmail_path = {{dir}}/sendmail\nsieve_extensions {{\n{enabled}}}\n\
             sieve_spamtest_status_type = score\nsieve_spamtest_status_header = X-Spam-Score: ([0-9]+)\n\
             sieve_spamtest_score_max_value = 10\n"
        ),
        ..Config::default()
    });
    // Pigeonhole fails if the program ends before it has read the message.
    fs::write(dovecot.path("sendmail"), "#!/bin/sh\ncat > /dev/null\n").unwrap();
    fs::set_permissions(dovecot.path("sendmail"), fs::Permissions::from_mode(0o755)).unwrap();
    dovecot.launch();
    let encrypts = plugins.contains("perot_encrypt");
    let users: Vec<String> = (0..scripts.len()).map(|n| format!("user{n}@domain.com")).collect();
    let keys: Vec<Cert> = users.iter().map(|user| key_for(user)).collect();
    let mut answers = Vec::new();
    for (n, (user, (_, script))) in users.iter().zip(scripts).enumerate() {
        dovecot.give(user, "k.asc", &armored(&keys[n]));
        dovecot.script(user, script);
        // Without this folder, include does not compile.
        fs::create_dir(dovecot.home(user).join("sieve")).unwrap();
        dovecot.own(&dovecot.home(user).join("sieve"));
        let address = user.replace('@', "+lists@");
        answers.push(dovecot.deliver(&address, &message(n)));
    }
    let ended = || dovecot.log().matches("(state=READY)").count();
    wait_until(|| ended() == scripts.len(), || dovecot.log());
    let log = dovecot.log().replace(dovecot.path("").to_str().unwrap(), "");
    let done = |((user, key), answer): ((&String, &Cert), String)| {
        let mut folders = BTreeMap::new();
        for (folder, file) in dovecot.stored_files(user) {
            let text = fs::read(&file).unwrap();
            let text = if encrypts { decrypt(&text, key) } else { text };
            assert!(find(&text, SECRET.as_bytes()).is_some(), "{user}: {folder}\n{log}");
            let flags = file.to_string_lossy().rsplit_once(":2,").map_or("", |(_, flags)| flags).to_owned();
            *folders.entry((folder, flags)).or_insert(0) += 1;
        }
        let lines = log.lines().filter(|line| line.contains(&format!("lmtp({user})")));
        let actions =
            lines.filter_map(|line| line.split_once(": sieve: ")).map(|(_, action)| action.to_owned());
        Done { answer: answer.chars().take(3).collect(), folders, actions: actions.collect() }
    };
    let done = users.iter().zip(&keys).zip(answers).map(done).collect();
    if encrypts {
        dovecot.assert_nowhere(SECRET);
    }
    done
}

/// Compares what the scripts do behind the plugin with what they do without it. Returns what they do.
fn compare(scripts: &[(String, String)]) -> Vec<Done> {
    let (without, with) = (deliver("sieve", scripts), deliver("sieve perot_encrypt", scripts));
    for (((name, _), without), with) in scripts.iter().zip(&without).zip(&with) {
        assert_eq!(with, without, "{name}");
    }
    without
}

#[test]
fn scripts_of_all_kinds() {
    let rows = [
        (
            "vacation",
            "\"vacation\", \"variables\"",
            "set \"who\" \"me\";\n\
             vacation :days 1 :subject \"Away\" :addresses \"me+lists@domain.com\" \"${who} is away\";",
        ),
        (
            "relational and subaddress",
            "\"relational\", \"comparator-i;ascii-numeric\", \"subaddress\", \"envelope\", \
             \"fileinto\", \"mailbox\"",
            "if allof (header :value \"ge\" :comparator \"i;ascii-numeric\" \"X-Spam-Score\" \"5\",\n\
             envelope :detail \"to\" \"lists\", header :count \"eq\" \"Cc\" \"1\")\n\
             { fileinto :create \"scored\"; }",
        ),
        (
            "body and imap4flags",
            "\"body\", \"imap4flags\", \"fileinto\", \"mailbox\", \"copy\"",
            "if body :text :contains \"sings\"\n\
             { addflag \"\\\\Flagged\"; fileinto :copy :create \"sung\"; }\n\
             setflag [\"\\\\Seen\", \"\\\\Answered\"]; keep;",
        ),
        (
            "variables and regex",
            "\"variables\", \"regex\", \"fileinto\", \"mailbox\"",
            "if header :regex \"Subject\" \"Report ([0-9]+)\" { fileinto :create \"report-${1}\"; }",
        ),
        (
            "date",
            "\"date\", \"relational\", \"fileinto\", \"mailbox\", \"variables\"",
            "if date :matches \"Date\" \"year\" \"*\" { set \"y\" \"${1}\"; }\n\
             if currentdate :value \"ge\" \"year\" \"2024\" { fileinto :create \"archive-${y}\"; }",
        ),
        ("duplicate", "\"duplicate\"", "if duplicate :header \"X-List\" { discard; } else { keep; }"),
        (
            "mime parts",
            "\"mime\", \"foreverypart\", \"fileinto\", \"mailbox\"",
            "foreverypart {\n\
             if header :mime :param \"filename\" :matches \"Content-Disposition\" \"*.pdf\"\n\
             { fileinto :create \"attached\"; break; } }",
        ),
        (
            "extracttext",
            "\"extracttext\", \"foreverypart\", \"mime\", \"variables\", \"fileinto\", \"mailbox\"",
            "foreverypart {\n\
             if header :mime :type \"Content-Type\" \"text\" { extracttext :first 3 \"t\"; break; } }\n\
             fileinto :create \"${t}\";",
        ),
        (
            "spamtest",
            "\"spamtestplus\", \"relational\", \"comparator-i;ascii-numeric\", \"fileinto\", \"mailbox\", \
             \"imap4flags\"",
            "if spamtest :percent :value \"ge\" :comparator \"i;ascii-numeric\" \"60\" {\n\
             fileinto :create :flags \"\\\\Seen\" \"Junk\"; stop; }",
        ),
        (
            "editheader",
            "\"editheader\", \"fileinto\", \"mailbox\"",
            "addheader \"X-Filed\" \"yes\"; deleteheader \"X-Priority\";\n\
             if not exists \"X-Priority\" { fileinto :create \"edited\"; }",
        ),
        (
            "environment and ihave",
            "\"environment\", \"ihave\", \"fileinto\", \"mailbox\"",
            "if ihave \"no-such-extension\" { discard; }\n\
             elsif environment :is \"location\" \"MDA\" { fileinto :create \"mda\"; }",
        ),
        (
            "mailbox and include",
            "\"mailbox\", \"include\", \"reject\"",
            "if mailboxexists \"nowhere\" { reject \"no\"; }\n\
             else { include :personal :optional \"more\"; keep; }",
        ),
        (
            "redirect and reject",
            "\"copy\", \"reject\", \"fileinto\"",
            "redirect :copy \"other@example.net\"; if header \"Subject\" \"spam\" { reject \"no\"; }",
        ),
        ("reject", "\"reject\"", "reject \"not wanted\";"),
        ("discard", "\"fileinto\"", "if header :contains \"X-List\" \"list\" { discard; }"),
        ("size", "\"fileinto\", \"mailbox\"", "if size :under 1K { fileinto :create \"small\"; }"),
        ("run-time error", "\"fileinto\"", "fileinto \"nowhere\";"),
    ];
    let scripts =
        rows.map(|(name, requires, body)| (name.to_owned(), format!("require [{requires}];\n{body}\n")));
    for (done, (name, _)) in compare(&scripts).iter().zip(&scripts) {
        assert!(!done.actions.iter().any(|action| action.contains("Failed to compile")), "{name}: {done:?}");
    }
}
