//! Runs each row of the tables in doc/admin/sieve-actions.md: the other actions and tests before and after
//! `encrypt`, and what they see, send and store. later.rs has failures, and scripts that follow each other.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sequoia_openpgp::Cert;

use crate::SECRET;
use perot_testing::dovecot::{Config, Dovecot, Era};
use perot_testing::pages;
use perot_testing::{armored, decrypt, encrypt_to, find, key_for, settings};

const ME: &str = "me@domain.com";
const PAGE: &str = "doc/admin/sieve-actions.md";
const ENCRYPT: &str = "encrypt \"me@domain.com\";";

/// A row of the page. `encrypt` is put before or after its script.
struct Row {
    /// The first column of the row.
    name: &'static str,
    requires: &'static str,
    script: &'static str,
    /// The end of the script, in both cases.
    tail: &'static str,
    encrypt: &'static str,
    is_test: bool,
    deliveries: usize,
    /// True if Dovecot 2.4 does not have it.
    only_23: bool,
}

const ROW: Row = Row {
    name: "",
    requires: "",
    script: "",
    tail: "",
    encrypt: ENCRYPT,
    is_test: false,
    deliveries: 1,
    only_23: false,
};

const fn action(name: &'static str, requires: &'static str, script: &'static str) -> Row {
    Row { name, requires, script, ..ROW }
}

/// Makes a row for a test: its script sets the variable `box` if the test is true.
const fn test(name: &'static str, requires: &'static str, script: &'static str) -> Row {
    Row { name, requires, script, tail: "fileinto :create \"${box}\";", is_test: true, ..ROW }
}

const FILE: &str = "fileinto :create \"box\";";

fn rows() -> Vec<Row> {
    vec![
        action("nothing (the implicit keep)", "", ""),
        action("`keep`", "", "keep;"),
        action("`fileinto`", "", FILE),
        action("`fileinto :copy`", "copy", "fileinto :copy :create \"box\";"),
        Row { tail: FILE, ..action("`fileinto`, and once more behind both", "", FILE) },
        action("`fileinto :copy \"INBOX\"`", "copy", "fileinto :copy \"INBOX\";"),
        action("`redirect`", "", "redirect \"x@example.net\";"),
        action("`redirect :copy`", "copy", "redirect :copy \"x@example.net\";"),
        Row {
            tail: "redirect \"x@example.net\";",
            ..action(
                "`redirect :copy`, and `redirect` behind both",
                "copy",
                "redirect :copy \"x@example.net\";",
            )
        },
        action("`discard`", "", "discard;"),
        action("`reject`", "reject", "reject \"no\";"),
        action("`vacation`", "vacation", "vacation :addresses \"me@domain.com\" \"Away.\";"),
        action(
            "`vacation :mime`",
            "vacation",
            "vacation :mime :addresses \"me@domain.com\" \"Content-Type: text/plain\r\n\r\nAway.\";",
        ),
        Row {
            name: "`vacation :subject \"${subject}\"`",
            requires: "vacation",
            script: "if header :matches \"Subject\" \"*\" { set \"subject\" \"Re: ${1}\"; }",
            tail: "vacation :addresses \"me@domain.com\" :subject \"${subject}\" \"Away.\";",
            ..ROW
        },
        action("`notify` (`enotify`, by mail)", "enotify", "notify \"mailto:x@example.net\";"),
        Row {
            name: "`notify` with text that `extracttext` took",
            requires: "enotify mime foreverypart extracttext",
            script: "foreverypart { if header :mime :contenttype \"Content-Type\" \"text/plain\" \
                     { extracttext \"text\"; } }",
            tail: "notify :message \"${text}\" \"mailto:x@example.net\";",
            ..ROW
        },
        action("`setflag`, `addflag`", "imap4flags", "setflag \"\\\\Flagged\";"),
        action("`addheader`", "editheader", "addheader \"X-Mark\" \"1\";"),
        action("`deleteheader`", "editheader", "deleteheader \"X-Old\";"),
        action(
            "`deleteheader \"Encrypted-On-Delivery\"`",
            "editheader",
            "deleteheader \"Encrypted-On-Delivery\"; encrypt \"me@domain.com\";",
        ),
        action(
            "`deleteheader` and `addheader` of the Subject",
            "editheader",
            "deleteheader \"Subject\"; addheader \"Subject\" \"...\";",
        ),
        action("`addheader` and `redirect :copy`", "editheader copy", "addheader \"X-Mark\" \"1\"; redirect :copy \"x@example.net\";"),
        Row {
            name: "`include :personal` of a script that encrypts",
            requires: "include",
            encrypt: "include :personal \"encrypts\";",
            script: FILE,
            ..ROW
        },
        Row {
            name: "`include :global` of a script that encrypts",
            requires: "include",
            encrypt: "include :global \"encrypts\";",
            script: FILE,
            ..ROW
        },
        Row {
            name: "`include` of one that encrypts and says `stop`",
            requires: "include",
            encrypt: "include :personal \"stops\";",
            script: FILE,
            ..ROW
        },
        Row {
            name: "`include` of one that encrypts to a `global` variable",
            requires: "include",
            encrypt: "global \"to\"; set \"to\" \"me@domain.com\"; include :personal \"encrypts-to\";",
            script: FILE,
            ..ROW
        },
        action("`include` of a script that files", "include", "include :personal \"files\";"),
        action("`encrypt` in a `foreverypart` loop", "foreverypart", "foreverypart { encrypt; }"),
        action("`encrypt`, once more", "", "encrypt;"),
        action("`encrypt :force`, once more", "", "encrypt :force \"me@domain.com\";"),
        action("`vnd.dovecot.pipe`", "vnd.dovecot.pipe copy", "pipe :copy \"program\";"),
        action("`vnd.dovecot.execute`", "vnd.dovecot.execute", "execute :pipe \"program\";"),
        action("`vnd.dovecot.filter`", "vnd.dovecot.filter", "filter \"mark\";"),
        action(
            "`vnd.dovecot.report`",
            "vnd.dovecot.report",
            "report \"abuse\" \"Spam.\" \"x@example.net\";",
        ),
        Row {
            only_23: true,
            ..action(
                "`notify` (the old one) with `$text$`",
                "notify",
                "notify :message \"$text$\" :options \"x@example.net\";",
            )
        },
        test("`encrypted`", "", "if encrypted { set \"box\" \"true\"; }"),
        test("`body`", "body", "if body :contains \"sings\" { set \"box\" \"true\"; }"),
        test("`size`", "", "if size :over 5K { set \"box\" \"true\"; }"),
        test("`header`: a field of the sender", "", "if header \"Subject\" \"skylark\" { set \"box\" \"true\"; }"),
        test("`address`", "", "if address \"To\" \"me@domain.com\" { set \"box\" \"true\"; }"),
        test("`envelope`", "envelope", "if envelope \"from\" \"sender@example.net\" { set \"box\" \"true\"; }"),
        test("`exists \"DKIM-Signature\"`", "", "if exists \"DKIM-Signature\" { set \"box\" \"true\"; }"),
        test(
            "`header`: `Content-Type`",
            "",
            "if header :contains \"Content-Type\" \"multipart/mixed\" { set \"box\" \"true\"; }",
        ),
        test(
            "`header :mime :anychild`",
            "mime",
            "if header :mime :anychild :contenttype \"Content-Type\" \"text/csv\" { set \"box\" \"true\"; }",
        ),
        test(
            "`foreverypart`",
            "mime foreverypart",
            "foreverypart { if header :mime :param \"filename\" \"Content-Disposition\" \"eggs.csv\" { set \"box\" \"true\"; break; } }",
        ),
        test(
            "`extracttext`",
            "foreverypart extracttext",
            "foreverypart { extracttext \"text\"; if string :contains \"${text}\" \"sings\" { set \"box\" \"true\"; break; } }",
        ),
        test("`date`", "date", "if date \"Date\" \"year\" \"2026\" { set \"box\" \"true\"; }"),
        test(
            "`spamtest`",
            "spamtest relational comparator-i;ascii-numeric",
            "if spamtest :value \"ge\" :comparator \"i;ascii-numeric\" \"4\" { set \"box\" \"true\"; }",
        ),
        test(
            "`virustest`",
            "virustest relational comparator-i;ascii-numeric",
            "if virustest :value \"ge\" :comparator \"i;ascii-numeric\" \"4\" { set \"box\" \"true\"; }",
        ),
        test("`hasflag`", "imap4flags", "setflag \"\\\\Flagged\"; if hasflag \"\\\\Flagged\" { set \"box\" \"true\"; }"),
        Row {
            deliveries: 2,
            ..test("`duplicate`, for the second of two", "duplicate", "if duplicate { set \"box\" \"true\"; }")
        },
        Row {
            name: "a variable that was set from the header",
            script: "if header :matches \"X-Old\" \"*\" { set \"box\" \"${1}\"; }",
            tail: "fileinto :create \"${box}\";",
            ..ROW
        },
    ]
}

fn the_message() -> Vec<u8> {
    let song = format!("The {SECRET} sings.\r\n").repeat(100);
    format!(
        "From: a@example.net\r\nTo: me@domain.com\r\nSubject: skylark\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\n\
         Message-ID: <1@example.net>\r\nX-Old: 1\r\nX-Spam-Score: 9\r\nDKIM-Signature: v=1\r\n\
         MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
         --b\r\nContent-Type: text/plain\r\n\r\n{song}\
         --b\r\nContent-Type: text/csv\r\nContent-Disposition: attachment; filename=\"eggs.csv\"\r\n\r\n1,2\r\n--b--\r\n"
    )
    .into_bytes()
}

/// A program that records its arguments and its input.
const RECORDER: &str = "#!/bin/sh\n\
    file=$(mktemp \"${0%/*}/../sent/${0##*/}.XXXXXX\") || exit 75\n\
    { echo \"$@\"; cat; } > \"$file\"\n";

const MARKER: &str = "#!/bin/sh\necho 'X-Mark: 1'\nexec cat\n";

/// The scripts for `include`: the user's, and those for all users.
const SCRIPTS: [(&str, &str); 4] = [
    ("encrypts", "require \"vnd.perot.encrypt\";\nencrypt \"me@domain.com\";\n"),
    (
        "encrypts-to",
        "require [\"vnd.perot.encrypt\", \"include\", \"variables\"];\nglobal \"to\";\n\
         encrypt \"${to}\";\nreturn;\n",
    ),
    ("stops", "require \"vnd.perot.encrypt\";\nencrypt \"me@domain.com\";\nstop;\n"),
    ("files", "require [\"fileinto\", \"mailbox\"];\nfileinto :create \"box\";\n"),
];

/// Enables all extensions, with a `sendmail` and programs that record.
fn config(before: Option<&str>) -> Config {
    let extensions = [
        "editheader",
        "spamtest",
        "virustest",
        "vnd.dovecot.report",
        "vnd.dovecot.pipe",
        "vnd.dovecot.execute",
        "vnd.dovecot.filter",
    ];
    let programs =
        ["pipe", "execute", "filter"].map(|what| format!("sieve_{what}_bin_dir = {{dir}}/bin\n")).concat();
    let scores = |max: &str| {
        let score = |what: &str| {
            format!(
                "sieve_{what}_status_type = score\nsieve_{what}_status_header = X-Spam-Score\n\
                 sieve_{what}_{max} = 10\n"
            )
        };
        score("spamtest") + &score("virustest")
    };
    let sendmail = "sendmail_path = {dir}/bin/sendmail\nsubmission_host =\n";
    let plugins = "sieve_plugins = sieve_perot_encrypt sieve_extprograms sieve_imapsieve\n";
    Config {
        before: before.map(str::to_owned),
        plugin_23: format!(
            "{plugins}sieve_extensions ={} +notify\nsieve_global = {{dir}}/global\n{programs}{}",
            extensions.map(|name| format!(" +{name}")).concat(),
            scores("max_value")
        ),
        extra_23: sendmail.into(),
        extra_24: format!(
            "{plugins}{sendmail}sieve_extensions {{\n{}}}\n\
             sieve_script globals {{\n  type = global\n  path = {{dir}}/global\n}}\n{programs}{}",
            extensions.map(|name| format!("  {name} = yes\n")).concat(),
            scores("score_max_value")
        ),
        ..Config::default()
    }
}

fn requires(names: &str) -> String {
    let names = format!("vnd.perot.encrypt fileinto mailbox variables {names}");
    let names: Vec<String> = names.split_whitespace().map(|name| format!("\"{name}\"")).collect();
    format!("require [{}];\n", names.join(", "))
}

/// A Dovecot, and the key that decrypts the mail it stores.
struct Rig {
    dovecot: Dovecot,
    key: Cert,
}

impl Rig {
    fn start(before: Option<&str>) -> Self {
        Self::with(&config(before))
    }

    fn with(config: &Config) -> Self {
        let mut dovecot = Dovecot::prepare(config);
        let key = key_for(ME);
        fs::write(dovecot.certs().join("me.asc"), armored(&key)).unwrap();
        for name in ["bin", "sent"] {
            fs::create_dir(dovecot.path(name)).unwrap();
        }
        fs::set_permissions(dovecot.path("sent"), fs::Permissions::from_mode(0o777)).unwrap();
        for (name, text) in [("sendmail", RECORDER), ("program", RECORDER), ("mark", MARKER)] {
            let file = dovecot.path("bin").join(name);
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        for (name, text) in SCRIPTS {
            fs::write(dovecot.path("global").join(format!("{name}.sieve")), text).unwrap();
        }
        dovecot.launch();
        Self { dovecot, key }
    }

    /// Delivers a message to a user who has only scripts. Returns a description of what was sent and stored.
    fn deliver(&self, row: &Row, script: &str, message: &[u8]) -> String {
        let home = self.dovecot.home(ME);
        let _ = fs::remove_dir_all(&home);
        let personal = self.dovecot.home(ME).join("sieve");
        fs::create_dir(&personal).unwrap();
        self.dovecot.own(&personal);
        for (name, text) in SCRIPTS {
            fs::write(personal.join(format!("{name}.sieve")), text).unwrap();
        }
        let script = format!("{}set \"box\" \"false\";\n{script}\n", requires(row.requires));
        self.dovecot.script(ME, &script);
        let mut answer = String::new();
        for _ in 0..row.deliveries {
            answer = self.dovecot.deliver(ME, message);
        }
        let compiled = home.join(".dovecot.svbin").exists();
        assert!(compiled, "{script}does not compile\n{}", self.dovecot.log());
        let outcome = self.outcome(&answer, row);
        if !outcome.contains("in clear") {
            self.dovecot.assert_nowhere(SECRET);
        }
        outcome
    }

    /// Describes what has been sent and stored.
    fn outcome(&self, answer: &str, row: &Row) -> String {
        let mut parts: Vec<String> = Vec::new();
        match answer.get(..3) {
            Some("250") => {}
            Some("451") => parts.push("deferred".into()),
            _ => panic!("{answer:?}: {}", self.dovecot.log()),
        }
        for entry in fs::read_dir(self.dovecot.path("sent")).unwrap() {
            let file = entry.unwrap().path();
            let who = if name_of(&file).starts_with("sendmail") { "sent" } else { "to the program" };
            parts.push(format!("{who}: {}", self.describe(&fs::read(&file).unwrap())));
            fs::remove_file(file).unwrap();
        }
        let mut stored = self.dovecot.stored(ME);
        stored.sort();
        if row.is_test {
            // The name under which it was filed last.
            assert!(stored.iter().all(|(_, message)| self.describe(message) == "encrypted"), "{}", row.name);
            return stored.last().unwrap().0.trim_start_matches('.').to_owned();
        }
        for (folder, message) in &stored {
            let folder = if folder.is_empty() { "INBOX" } else { folder.trim_start_matches('.') };
            let flagged = if self.dovecot.is_flagged(ME) { ", flagged" } else { "" };
            parts.push(format!("{folder}: {}{flagged}", self.describe(message)));
        }
        if parts.is_empty() {
            parts.push("nothing stored, nothing sent".into());
        }
        parts.join("; ")
    }

    /// Describes how much of the original a message has.
    fn describe(&self, message: &[u8]) -> String {
        let has = |text: &str| find(message, text.as_bytes()).is_some();
        if has(SECRET) {
            return format!("in clear{}", if has("X-Mark: ") { ", changed" } else { "" });
        }
        if let Some(header_ends) = find(message, b"-----BEGIN PGP MESSAGE-----") {
            let marker = if has("\nEncrypted-On-Delivery: ") { "" } else { ", without its marker" };
            let (mut payload, mut times) = (decrypt(message, &self.key), "");
            let changed = match (is_changed(&message[..header_ends]), is_changed(&payload)) {
                (true, true) => ", changed outside and inside",
                (true, false) => ", changed outside",
                (false, true) => ", changed inside",
                (false, false) => "",
            };
            if find(&payload, b"-----BEGIN PGP MESSAGE-----").is_some() {
                (payload, times) = (decrypt(&payload, &self.key), " twice");
            }
            assert!(find(&payload, SECRET.as_bytes()).is_some());
            return format!("encrypted{times}{changed}{marker}");
        }
        let what = if has("DKIM-Signature: ") {
            "the header"
        } else if has("skylark") {
            "the Subject"
        } else {
            "nothing of it"
        };
        what.to_owned()
    }
}

/// Returns true if the header differs from that of the original.
fn is_changed(message: &[u8]) -> bool {
    let has = |field: &str| {
        message.starts_with(field.as_bytes()) || find(message, format!("\n{field}").as_bytes()).is_some()
    };
    has("X-Mark: ") || !has("X-Old: ") || !has("Subject: skylark")
}

fn name_of(file: &Path) -> String {
    file.file_name().unwrap().to_string_lossy().into_owned()
}

/// Runs all rows with the scripts that `script` makes of them, and compares the results with a column of the
/// page.
fn check(rig: &Rig, column: usize, script: fn(&Row) -> String) {
    let page = pages::rows(PAGE);
    let mut wrong = String::new();
    for row in rows().into_iter().filter(|row| !row.only_23 || rig.dovecot.era == Era::V23) {
        let said =
            page.iter().find(|(_, cells)| cells[0] == row.name).map(|(_, cells)| cells[column].as_str());
        let outcome = rig.deliver(&row, &script(&row), &the_message());
        if said != Some(outcome.as_str()) {
            wrong += &format!("{}: '{outcome}', and the page says {said:?}\n", row.name);
        }
    }
    assert!(wrong.is_empty(), "{wrong}{}", rig.dovecot.log());
}

#[test]
fn each_row_in_front_of_encrypt() {
    check(&Rig::start(None), 1, |row| format!("{}\n{}\n{}", row.script, row.encrypt, row.tail));
}

#[test]
fn each_row_behind_encrypt() {
    check(&Rig::start(None), 2, |row| format!("{}\n{}\n{}", row.encrypt, row.script, row.tail));
}

/// A script that runs before the user's has the same effect as an `encrypt` in front.
#[test]
fn each_row_in_a_script_behind_that_which_encrypts() {
    check(&Rig::start(Some(SCRIPTS[0].1)), 2, |row| {
        let include = if row.encrypt == ENCRYPT { "" } else { row.encrypt };
        format!("{include}\n{}\n{}", row.script, row.tail)
    });
}

#[test]
fn the_page_has_each_row_and_no_other() {
    let mut said: Vec<String> = pages::rows(PAGE).into_iter().map(|(_, cells)| cells[0].clone()).collect();
    let mut run: Vec<String> = rows().iter().map(|row| row.name.to_owned()).collect();
    said.sort();
    run.sort();
    assert_eq!(said, run);
}

/// The actions are in the same script or in an earlier one. Pigeonhole ends the process by itself after a
/// `pipe`.
#[test]
fn nothing_is_sent_or_stored_when_encrypt_fails() {
    let row = action("", "enotify vacation copy vnd.dovecot.pipe vnd.dovecot.report", "");
    let actions = "keep;\nfileinto :copy :create \"box\";\nredirect :copy \"x@example.net\";\n\
         pipe :copy \"program\";\nnotify \"mailto:x@example.net\";\n\
         report \"abuse\" \"Spam.\" \"y@example.net\";\n\
         vacation :addresses \"me@domain.com\" \"Away.\";\n";
    let fails = "encrypt \"nobody@domain.com\";";
    let rig = Rig::start(None);
    let outcome = rig.deliver(&row, &format!("{actions}{fails}"), &the_message());
    assert_eq!(outcome, "deferred", "{}", rig.dovecot.log());
    // The actions do something when `encrypt` does not fail.
    let outcome = rig.deliver(&row, &format!("{actions}{ENCRYPT}"), &the_message());
    let parts = ["sent: ", "to the program: ", "box: ", "INBOX: "].map(|part| outcome.matches(part).count());
    assert_eq!(parts, [4, 1, 1, 1], "{outcome}");

    let rig = Rig::start(Some(&(requires(row.requires) + actions)));
    let outcome = rig.deliver(&row, fails, &the_message());
    assert_eq!(outcome, "deferred", "{}", rig.dovecot.log());
}

/// `encrypt` leaves the message alone, and the later actions get one of several edited messages.
#[test]
fn what_came_encrypted_and_was_edited_is_reported_and_stored() {
    let rig = Rig::start(None);
    let (_, message) =
        encrypt_to(&settings(&[&rig.dovecot.certs()]), &[ME.as_bytes()], &the_message()).unwrap();
    let row = action("", "editheader vnd.dovecot.report copy", "");
    let script = format!(
        "addheader \"X-Mark\" \"1\";\n{ENCRYPT}\naddheader \"X-More\" \"1\";\n\
         redirect :copy \"x@example.net\";\naddheader \"X-More\" \"2\";\n\
         encrypt :force \"me@domain.com\";\nreport \"abuse\" \"Spam.\" \"y@example.net\";"
    );
    let outcome = rig.deliver(&row, &script, &message);
    let changed = "encrypted twice, changed outside and inside";
    for part in
        [format!("INBOX: {changed}"), format!("sent: {changed}"), "sent: encrypted, changed outside".into()]
    {
        assert!(
            outcome.split("; ").any(|said| said == part),
            "'{part}' is not in {outcome}\n{}",
            rig.dovecot.log()
        );
    }
}

/// An included script has an environment of its own, from which the actions that report and quote take the
/// message.
#[test]
fn what_an_included_script_has_encrypted_is_sent_by_the_one_around_it() {
    let rig = Rig::start(None);
    let report = "report \"abuse\" \"Spam.\" \"x@example.net\";";
    let row = action("", "include vnd.dovecot.report", "");
    let outcome = rig.deliver(&row, &format!("include :personal \"encrypts\";\n{report}"), &the_message());
    assert_eq!(outcome, "sent: encrypted; INBOX: encrypted", "{}", rig.dovecot.log());
    if rig.dovecot.era == Era::V23 {
        let row = action("", "include notify", "");
        let notify = "notify :message \"$text$\" :options \"x@example.net\";";
        let outcome =
            rig.deliver(&row, &format!("include :personal \"encrypts\";\n{notify}"), &the_message());
        assert!(!outcome.contains("in clear"), "{outcome}");
    }
}

#[test]
fn a_pipe_in_front_draws_a_warning() {
    let rig = Rig::start(None);
    let (source, compiled) = (rig.dovecot.path("global/pipe.sieve"), rig.dovecot.path("global/pipe.svbin"));
    let text = requires("vnd.dovecot.pipe copy") + "pipe :copy \"program\";\n" + ENCRYPT;
    fs::write(&source, text).unwrap();
    let output = rig.dovecot.tool("sievec", &[source.as_os_str(), compiled.as_os_str()]);
    let said = String::from_utf8_lossy(&output.stderr).replace('`', "'");
    assert!(output.status.success() && said.contains("'pipe' on line 2 comes before 'encrypt'"), "{said}");
}

/// With Pigeonhole 0.5.19 and 2.4.1, a failure after a `pipe` ends the process, with or without `encrypt`.
/// The MTA keeps the message then.
#[test]
fn a_failure_behind_pipe_stores_nothing_in_clear() {
    let rig = Rig::start(None);
    let script =
        requires("vnd.dovecot.pipe copy ihave") + ENCRYPT + "pipe :copy \"program\"; error \"no\";\n";
    rig.dovecot.script(ME, &script);
    let answer = rig.dovecot.deliver(ME, &the_message());
    rig.dovecot.assert_nowhere(SECRET);
    assert_eq!(answer.starts_with("250 "), rig.dovecot.stored(ME).len() == 1, "{answer}");
}

/// With IMAPSieve the message is in the mailbox already, and `report` sends that one.
#[test]
fn imapsieve_reports_what_was_appended() {
    let mut config = config(None);
    config.extra_23 += "protocol imap {\n  mail_plugins = imap_sieve\n}\n";
    config.plugin_23 += "imapsieve_mailbox1_name = INBOX\nimapsieve_mailbox1_causes = APPEND\n\
         imapsieve_mailbox1_before = file:{dir}/global/imap.sieve\nimapsieve_expunge_discarded = yes\n";
    config.extra_24 += "protocol imap {\n  mail_plugins {\n    imap_sieve = yes\n  }\n}\n\
         mailbox INBOX {\n  sieve_script imap {\n    type = before\n    cause = append\n    \
         path = {dir}/global/imap.sieve\n  }\n}\nimapsieve_expunge_discarded = yes\n";
    let rig = Rig::with(&config);
    let script = requires("vnd.dovecot.report") + ENCRYPT + "report \"abuse\" \"Spam.\" \"x@example.net\";";
    fs::write(rig.dovecot.path("global/imap.sieve"), script).unwrap();
    let message = rig.dovecot.path("message");
    fs::write(&message, the_message()).unwrap();
    let append = format!("good(imap.append('INBOX', '', None, open('{}', 'rb').read()))", message.display());
    rig.dovecot.imap(ME, &append);
    let outcome = rig.outcome("250", &action("", "", ""));
    assert!(outcome.starts_with("sent: in clear; "), "{outcome}\n{}", rig.dovecot.log());
}
