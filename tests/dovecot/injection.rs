//! Checks that untrusted text cannot forge log lines, events, or answers to mail servers and mail programs.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use base64::engine::general_purpose::STANDARD;
use base64::Engine;

use crate::isolation::{add, prepare};
use crate::{script, SECRET};
use perot_testing::dovecot::{Config, Dovecot, Lmtp};
use perot_testing::{armored, armored_secret, builder};

/// A line of its own, escape sequences of a terminal in one byte and in two, a character that reverses text,
/// and the syntax of formats and variables.
const EVIL: &str = "\r\nFeb 29 00:00:00 forged\u{7}\u{1b}[2J\u{9b}2J\u{202e}%s%n%{user}${x}";
const EVIL_SHOWN: &str = "??Feb 29 00:00:00 forged??[2J?2J?%s%n%{user}${x}";
/// The part of it that an address, or a path in a user database, may have.
const ADDRESS: &str = "%s%n%{user}\u{202e}@t.org";
const ADDRESS_SHOWN: &str = "%s%n%{user}?@t.org";
const PATH: &str = "/nonexistent/\u{1b}[2J\u{9b}2J\u{202e}";
const PATH_SHOWN: &str = "/nonexistent/?[2J?2J?";

const EXPORT_23: &str =
    "event_exporter log {\n  format = json\n  format_args = time-rfc3339\n  transport = log\n}\n";
const EXPORT_24: &str = "event_exporter log {\n  format = json\n  driver = log\n}\n";
const METRIC: &str =
    "metric perot {\n  exporter = log\n  filter = event=sieve_perot_encrypt_finished\n}\nauth_username_chars =\n";

/// Makes a message with such text in all of its fields. Those that scripts use are encoded, so that Sieve
/// gets the text unchanged.
fn hostile() -> Vec<u8> {
    let encoded = |text: &str| {
        let hex: String = text.bytes().map(|b| format!("={b:02X}")).collect();
        format!("=?utf-8?q?{hex}?=")
    };
    let armor =
        format!("-----BEGIN PGP PUBLIC KEY BLOCK-----\n{EVIL}\n\n{EVIL}\n-----END PGP PUBLIC KEY BLOCK-----");
    let raw = EVIL.trim_start();
    // Dovecot itself logs the Message-ID, and lets these two characters pass.
    let id = raw.replace(['\u{9b}', '\u{202e}'], "");
    format!(
        "Return-Path: <{raw}@t.org>\r\nFrom: {raw} <{raw}@t.org>\r\nTo: {raw}\r\nSubject: {raw}\r\n\
         Message-ID: <{id}@t.org>\r\nContent-Type: text/{raw}; charset=\"{raw}\"; boundary={raw}\r\n\
         Content-Transfer-Encoding: {raw}\r\n{raw}: {raw}\r\nX-Evil: {}\r\nX-Address: {}\r\nX-Armor: {}\r\n\r\n\
         The {SECRET} sings.\r\n",
        encoded(EVIL),
        encoded(ADDRESS),
        encoded(&armor)
    )
    .into_bytes()
}

/// Makes a script that encrypts to the text of a field.
fn for_field(field: &str) -> String {
    let body = format!("if header :matches \"{field}\" \"*\" {{ encrypt \"${{1}}\"; }}");
    script(", \"variables\"", &body)
}

fn for_constant() -> String {
    script("", &format!("encrypt \"{EVIL}@t.org\";"))
}

/// Panics unless the bytes are text without control characters.
fn assert_text(text: &[u8]) {
    let text =
        std::str::from_utf8(text).unwrap_or_else(|e| panic!("{e}: {:?}", String::from_utf8_lossy(text)));
    for line in text.split_inclusive('\n') {
        let line = line.strip_suffix('\n').map_or(line, |l| l.strip_suffix('\r').unwrap_or(l));
        assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line:?}");
        assert!(!line.starts_with("Feb 29 00:00:00 "), "{line:?}");
    }
}

/// Panics unless each line begins with a date and the name of a process.
fn assert_lines(log: &str) {
    assert_text(log.as_bytes());
    for line in log.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let dated = matches!(words[..], [_, day, time, _, ..]
            if day.parse::<u8>().is_ok() && time.bytes().filter(|&b| b == b':').count() == 2);
        let behind = line
            .get(16..)
            .unwrap_or_default()
            .trim_start_matches(|c: char| c.is_ascii_lowercase() || c == '-');
        assert!(dated && (behind.starts_with(": ") || behind.starts_with('(')), "{line:?}");
    }
}

/// Panics unless the plugin's fields of each event are single words. Dovecot's own fields may have text of
/// headers.
fn assert_events(events: &[&str]) {
    assert!(events.len() > 5, "{events:#?}");
    for event in events {
        let event = event.split_once("stats: Info: ").unwrap().1;
        let event: serde_json::Value = serde_json::from_str(event).unwrap_or_else(|e| panic!("{e}: {event}"));
        assert_eq!(event["event"], "sieve_perot_encrypt_finished");
        for name in ["outcome", "reason", "recipients"] {
            let value = event["fields"][name].as_str().unwrap_or_else(|| panic!("{name}: {event:#}"));
            assert!(value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{name}: {event:#}");
        }
    }
}

/// Returns every byte of the ManageSieve server's answer to the upload of a script.
fn upload(dovecot: &Dovecot, user: &str, script: &str) -> Vec<u8> {
    let mut stream = UnixStream::connect(dovecot.path("run/sieve")).unwrap();
    let login = STANDARD.encode(format!("\0{user}\0test"));
    let size = script.len();
    write!(
        stream,
        "AUTHENTICATE \"PLAIN\" \"{login}\"\r\nPUTSCRIPT \"x\" {{{size}+}}\r\n{script}\r\nLOGOUT\r\n"
    )
    .unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap();
    said
}

#[test]
fn text_of_others_shapes_neither_logs_nor_answers() {
    let config = Config {
        extra_23: EXPORT_23.to_owned() + METRIC,
        extra_24: EXPORT_24.to_owned() + METRIC,
        ..Config::default()
    };
    let mut dovecot = prepare(config);
    let secret = builder("secret@t.org").add_userid(EVIL).generate().unwrap().0;
    let name = format!("{EVIL}.asc");
    dovecot.give("file@t.org", &name, format!("-----BEGIN PGP PUBLIC KEY BLOCK-----\n{EVIL}").as_bytes());
    dovecot.give("secret@t.org", &name, &armored_secret(&secret));
    let with_user_id = builder("userid@t.org").add_userid(EVIL).generate().unwrap().0;
    dovecot.give("userid@t.org", "k.asc", &armored(&with_user_id));
    let certs = "certs=~/pgp-certs";
    let plain = || script("", "encrypt;");
    let rows = [
        (
            "address@t.org",
            certs,
            for_field("x-address"),
            Err(format!("no certificate for {ADDRESS_SHOWN}. ")),
        ),
        ("evil@t.org", certs, for_field("x-evil"), Err("a recipient in the script is not one".into())),
        (
            "armor@t.org",
            certs,
            for_field("x-armor"),
            Err("the certificate in the script cannot be used".into()),
        ),
        ("constant@t.org", certs, for_constant(), Err("a recipient in the script is not one".into())),
        (
            "file@t.org",
            certs,
            plain(),
            Err(format!("(no certificate; {EVIL_SHOWN}.asc: its armor is damaged")),
        ),
        ("secret@t.org", certs, plain(), Ok(format!("/{EVIL_SHOWN}.asc: it holds a secret key"))),
        ("userid@t.org", certs, plain(), Ok(with_user_id.fingerprint().to_hex())),
        ("%s%n@t.org", certs, plain(), Err("no certificate for %s%n@t.org. ".into())),
        ("path@t.org", &format!("certs={PATH}"), plain(), Err(format!("Searched: {PATH_SHOWN} (not there)"))),
        ("bad@t.org", &format!("on_error={PATH}"), plain(), Err(format!("on_error = {PATH_SHOWN}: not"))),
        ("cert@t.org", &format!("cert={PATH}"), plain(), Err("it holds no certificate".into())),
    ];
    for (user, setting, script, _) in &rows {
        add(&dovecot, user, None, setting);
        dovecot.script(user, script);
    }
    dovecot.launch();

    let mut session = Lmtp::connect(&dovecot.path("run/lmtp"));
    for (user, _, _, expected) in &rows {
        let answer = session.deliver(&[user], &hostile()).remove(0);
        let (code, text) = expected.as_ref().map_or_else(|e| ("451 ", e), |text| ("250 ", text));
        assert!(answer.starts_with(code), "{user}: {answer}\n{}", dovecot.log());
        assert!(answer.bytes().all(|b| b == b' ' || b.is_ascii_graphic()), "{answer:?}");
        dovecot.log_line(&[user, text]);
    }
    for (recipient, shown) in [
        (format!("{EVIL}@t.org"), format!("'{EVIL_SHOWN}@t.org': a recipient")),
        (ADDRESS.into(), format!("no certificate for {ADDRESS_SHOWN}")),
    ] {
        let script = script("", &format!("encrypt \"{recipient}\";"));
        let said = upload(&dovecot, "file@t.org", &script);
        assert_text(&said);
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains(&shown), "{said}\n{}", dovecot.log());
        let path = dovecot.path("global/x.sieve");
        fs::write(&path, script).unwrap();
        let output = dovecot.tool("sievec", &[path.as_os_str()]);
        assert_text(&output.stderr);
        assert!(String::from_utf8(output.stderr).unwrap().contains(&shown));
    }
    dovecot.log_line(&["stats: ", &with_user_id.fingerprint().to_hex()]);
    dovecot.stop();
    let log = fs::read_to_string(dovecot.path("log")).expect("the log is UTF-8");
    let (events, lines): (Vec<&str>, Vec<&str>) =
        log.split_inclusive('\n').partition(|line| line.contains("stats: Info: {"));
    assert_events(&events);
    assert_lines(&lines.concat());
    dovecot.assert_nowhere(SECRET);
}
