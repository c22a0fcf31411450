//! Checks the statistics that Dovecot makes from the event, with the configuration of doc/admin/metrics.md.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::{message, script};
use perot_testing::dovecot::{era, free_port, run_with, wait_until, Config, Dovecot, Era};
use perot_testing::pages::blocks;
use perot_testing::smime::Identity;
use perot_testing::{armored, key_for, revoked};

const ME: &str = "me@domain.com";
/// Has an X.509 certificate.
const SMIME: &str = "smime@t.org";
const PAGE: &str = "doc/admin/metrics.md";
const EVENTS: usize = 6;

fn start(port: u16) -> Dovecot {
    let shown =
        |section: &str| blocks(PAGE, section).concat().replace("port = 9900", &format!("port = {port}"));
    let config =
        Config { extra_23: shown("Dovecot 2.3"), extra_24: shown("Dovecot 2.4"), ..Config::default() };
    Dovecot::start(&config)
}

fn deliver(dovecot: &Dovecot, user: &str, script: &str, message: &[u8], expected: &str) {
    dovecot.script(user, script);
    let answer = dovecot.deliver(user, message);
    assert!(answer.starts_with(expected), "{user}: {answer}\n{}", dovecot.log());
}

/// Returns the body of the answer that Prometheus gets.
fn scraped(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    body.to_owned()
}

/// Returns count and sum of a field in the output of `doveadm stats dump`.
fn dumped(dump: &str, metric: &str, field: &str) -> (usize, u64) {
    let mut rows = dump.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let row = rows.find(|row| row[..2] == [metric, field]).unwrap_or_else(|| panic!("{metric}: {dump}"));
    (row[2].parse().unwrap(), row[3].parse().unwrap())
}

/// Returns the sizes that the log has.
fn logged_sizes(log: &str) -> (u64, u64) {
    let sizes = |line: &str| {
        let (before, after) =
            line.split_once("message encrypted: ")?.1.split_once(" bytes")?.0.split_once(" -> ")?;
        Some((before.parse::<u64>().unwrap(), after.parse::<u64>().unwrap()))
    };
    log.lines().filter_map(sizes).fold((0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1))
}

#[test]
fn statistics_count_each_outcome() {
    let port = free_port();
    let dovecot = start(port);
    dovecot.give(ME, "me.asc", &armored(&key_for(ME)));
    let identity = fs::read(Identity::new("rsa:2048", SMIME).path("cert")).unwrap();
    dovecot.give(SMIME, "me.pem", &identity);
    dovecot.give("revoked@t.org", "me.asc", &armored(&revoked("revoked@t.org")));
    let encrypt = script("", "encrypt;");
    deliver(&dovecot, ME, &encrypt, &message("encrypted"), "250 ");
    let encrypted = dovecot.only_message(ME);
    deliver(&dovecot, SMIME, &encrypt, &message("encrypted"), "250 ");
    deliver(&dovecot, ME, &encrypt, &encrypted, "250 ");
    deliver(&dovecot, "no@t.org", &encrypt, &message("deferred"), "451 ");
    deliver(&dovecot, "revoked@t.org", &encrypt, &message("deferred"), "451 ");
    deliver(&dovecot, "try@t.org", &script("", "encrypt :try;"), &message("clear"), "250 ");

    let dump = || dovecot.doveadm(&["-f", "tab", "stats", "dump"]);
    wait_until(|| dumped(&dump(), "perot_encrypt", "duration").0 == EVENTS, || dump() + &dovecot.log());
    let (dump, scraped) = (dump(), scraped(port));
    let shown = blocks(PAGE, "See the counts");
    for line in shown[0].lines() {
        assert!(scraped.lines().any(|l| l == line), "'{line}' is not in\n{scraped}");
    }

    let (bytes_in, bytes_out) = logged_sizes(&dovecot.log());
    assert_eq!(dumped(&dump, "perot_encrypt_encrypted", "bytes_in"), (2, bytes_in));
    assert_eq!(dumped(&dump, "perot_encrypt_encrypted", "bytes_out"), (2, bytes_out));
    // They are 0 for a message that is not encrypted.
    assert_eq!(dumped(&dump, "perot_encrypt", "bytes_out"), (EVENTS, bytes_out));
    let (name, _) = shown[1].split_once(' ').unwrap();
    let line = format!("{name} {bytes_in}");
    assert_eq!(scraped.lines().any(|l| l == line), era() == Era::V24, "{line} is for 2.4 only:\n{scraped}");
    assert_rules_use(&scraped);
}

/// It does not include the script before: all durations together are shorter than the delivery.
#[test]
fn the_duration_is_that_of_one_encrypt() {
    const TIMES: usize = 20;
    let dovecot = start(free_port());
    dovecot.give(ME, "me.asc", &armored(&key_for(ME)));
    let message = [message("long"), b"long\r\n".repeat(100_000)].concat();
    let again = |n| format!("encrypt :force :try \"nobody{n}@t.org\";");
    let body = format!("encrypt;{}", (1..TIMES).map(again).collect::<String>());
    let begin = Instant::now();
    deliver(&dovecot, ME, &script("", &body), &message, "250 ");
    let delivery = begin.elapsed();
    let counted = || {
        let dump = dovecot.doveadm(&["-f", "tab", "stats", "dump"]);
        dumped(&dump, "perot_encrypt", "duration")
    };
    wait_until(|| counted().0 == TIMES, || dovecot.log());
    let counted = Duration::from_micros(counted().1);
    assert!(counted < delivery, "{counted:?} counted, {delivery:?} for the delivery");
    let line = dovecot.log_line(&["message encrypted: "]);
    let logged = line.split(" bytes, ").nth(1).unwrap().split_once(" ms").unwrap().0;
    let logged = Duration::from_secs_f64(logged.parse::<f64>().unwrap() / 1000.0);
    assert!(counted >= logged, "{counted:?} counted, and one of them took {logged:?}");
}

/// Panics unless the rules of the page are YAML, and use metrics that were scraped.
fn assert_rules_use(scraped: &str) {
    let rules = blocks(PAGE, "Alert").concat();
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)"]);
    let output = run_with(&mut python, rules.as_bytes());
    assert!(output.status.success(), "apt install python3-yaml? {}", String::from_utf8_lossy(&output.stderr));
    let rules: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: BTreeSet<&str> = scraped.lines().filter_map(|line| line.split([' ', '{']).next()).collect();
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    assert!(!rules.is_empty());
    for rule in rules {
        assert!(rule["alert"].is_string(), "{rule}");
        let words = rule["expr"].as_str().unwrap().split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let used: BTreeSet<&str> = words.filter(|word| word.starts_with("dovecot_")).collect();
        assert!(!used.is_empty() && used.is_subset(&names), "{used:?} are not in\n{scraped}");
    }
}
