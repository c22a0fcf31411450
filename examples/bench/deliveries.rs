//! Measures deliveries of messages of several sizes and kinds, and the throughput.

use std::ffi::OsStr;
use std::fs;
use std::process::Command;
use std::time::Instant;

use crate::measure::{deliver, empty, interleaved, median, rounds, Way};
use crate::page::{milliseconds, ratio, Page};
use crate::setup::{
    message, numbered, Servers, CONNECTIONS, ENCRYPT, ENCRYPT_ONE, GPGIT, KEEP, RSA, SIZES, SMALL, SMIME,
    STORED, THREE,
};
use perot_encrypt::openpgp::crypto::{has_post_quantum, library_in_words};
use perot_testing::dovecot::{run, Config, Dovecot, Format, Lmtp};
use perot_testing::post_quantum::{Kind, KINDS};
use perot_testing::{armored, key_for, with_crlf};

/// A size, and the times with `keep`, the mail plugin, `encrypt` and gpgit.
pub type Bar = (&'static str, [f64; 4]);

/// Measures one message at a time. Returns the times of the warm process, for the plot.
pub fn one_message(servers: &Servers, page: &mut Page) -> Vec<Bar> {
    let [warm, cold] = [false, true].map(|is_cold| by_size(servers, is_cold));
    page.section("One message", "The time of a delivery, and how many times that of `keep` it is.");
    if !servers.has_gpgit() {
        page.text(&format!(
            "{} stands in for gpgit, which was not at hand: a `filter` that runs gpg, and nothing else, on the whole \
             message.",
            servers.old
        ));
    }
    page.text("Warm:");
    write_sizes(&warm, servers.old, page);
    page.text("Cold, with the time to connect:");
    write_sizes(&cold, servers.old, page);
    for (state, bars, small) in [("warm", &warm, [1.2, 1.45]), ("cold", &cold, [1.25, 1.35])] {
        for (size, [keep, stored, encrypt, _]) in bars {
            let limits = match *size {
                "4 kB" | "30 kB" => small,
                "25 MB" => [1.8, 2.1],
                _ => continue,
            };
            for (what, limit, time) in [("mail plugin", limits[0], stored), ("`encrypt`", limits[1], encrypt)]
            {
                page.at_most(&format!("{size}, {state}: {what} / `keep`"), limit, Some(time / keep), "");
            }
        }
    }
    let what = "4 kB, warm: what gpgit adds / what `encrypt` adds";
    page.at_least(what, 300.0, servers.has_gpgit().then(|| added(warm[0].1)), "");
    warm
}

fn by_size(servers: &Servers, is_cold: bool) -> Vec<Bar> {
    let (dovecot, stores, state) = match is_cold {
        true => (&servers.cold, &servers.stores_cold, "cold"),
        false => (&servers.warm, &servers.stores_warm, "warm"),
    };
    let measure = |(name, size)| {
        eprintln!("one message, {state}: {name}");
        let rounds = rounds(size);
        // gpgit takes hundreds of times as long as the others.
        let few = (rounds / 20).max(3);
        let ways = [
            Way { dovecot, user: KEEP, rounds },
            Way { dovecot: stores, user: STORED, rounds },
            Way { dovecot, user: ENCRYPT, rounds },
            Way { dovecot, user: GPGIT, rounds: few },
        ];
        let times = interleaved(&ways, is_cold, &message(size));
        (name, times.try_into().unwrap())
    };
    SIZES.into_iter().map(measure).collect()
}

/// Divides the time that gpgit adds to `keep` by the time that `encrypt` adds.
fn added([keep, _, encrypt, gpgit]: [f64; 4]) -> f64 {
    // By chance, `encrypt` may seem to add nothing.
    (gpgit - keep) / (encrypt - keep).max(1e-6)
}

fn write_sizes(bars: &[Bar], old: &str, page: &mut Page) {
    let row = |&(name, times): &Bar| {
        let [first, second, third, fourth] = times.map(milliseconds);
        let [_, stored, encrypt, gpgit] = times.map(|time| ratio(time / times[0]));
        let added = format!("{:.0}", added(times));
        [name.into(), first, second, third, fourth, stored, encrypt, gpgit, added]
    };
    let (times, adds) = (format!("{old} / `keep`"), format!("what {old} adds / what `encrypt` adds"));
    let columns = [
        "size",
        "`keep`",
        "mail plugin",
        "`encrypt`",
        old,
        "mail plugin / `keep`",
        "`encrypt` / `keep`",
        &times,
        &adds,
    ];
    page.table(columns, &bars.iter().map(row).collect::<Vec<_>>());
}

/// Measures other certificates, and a message that is encrypted already.
pub fn other_cases(servers: &Servers, page: &mut Page) {
    eprintln!("other cases");
    page.section("Other cases", "Warm. Messages of 4 kB, where nothing else is said.");
    let dovecot = &servers.warm;
    let message = message(SMALL);
    let mut rows = Vec::new();
    let mut add = |cases: &[(&str, &str)], message: &[u8]| {
        let ways: Vec<Way<'_>> =
            cases.iter().map(|&(_, user)| Way { dovecot, user, rounds: rounds(message.len()) }).collect();
        let times = interleaved(&ways, false, message);
        for ((name, _), time) in cases.iter().zip(&times) {
            rows.push([(*name).to_owned(), milliseconds(*time), ratio(time / times[0])]);
        }
    };
    let cases = [
        ("`keep`", KEEP),
        ("`encrypt`, Curve25519", ENCRYPT),
        ("`encrypt`, RSA-4096", RSA),
        ("`encrypt`, three recipients", THREE),
        ("`encrypt`, S/MIME with RSA-2048", SMIME),
    ];
    add(&cases, &message);
    let cases = [("`keep`, 25 MB", KEEP), ("`encrypt`, 25 MB", ENCRYPT), ("`encrypt`, S/MIME, 25 MB", SMIME)];
    add(&cases, &self::message(25 << 20));
    if has_post_quantum() {
        let kinds = KINDS.iter().filter(|kind| kind.version == 4);
        let users: Vec<_> = kinds.map(|kind| (case(kind), kind.address())).collect();
        let cases: Vec<_> = users.iter().map(|(name, user)| (name.as_str(), user.as_str())).collect();
        add(&[&[("`keep`", KEEP)], &cases[..]].concat(), &message);
    }
    deliver(&mut Lmtp::connect(&dovecot.path("run/lmtp")), ENCRYPT, &message);
    let encrypted = with_crlf(&dovecot.only_message(ENCRYPT));
    empty(dovecot, ENCRYPT);
    let cases = [("`keep`, encrypted already", KEEP), ("`encrypt`, encrypted already", ENCRYPT)];
    add(&cases, &encrypted);
    page.table(["case", "time", "/ `keep`"], &rows);
    if !has_post_quantum() {
        page.text(&format!("Not measured: post-quantum subkeys. Here is {}.", library_in_words()));
    }
}

/// Names the case of a certificate with post-quantum subkeys.
fn case(kind: &Kind) -> String {
    let algorithms: Vec<String> = kind.subkeys.iter().map(ToString::to_string).collect();
    format!("`encrypt`, {}", algorithms.join(" and "))
}

/// The turns of each way when rates are compared: the median of three disregards one that was disturbed.
const TURNS: usize = 3;

pub fn throughput(servers: &Servers, page: &mut Page) {
    let text = "Messages of 30 kB, each connection to a mailbox of its own, warm; messages per second.";
    page.section("Throughput", text);
    let message = message(30 << 10);
    let mut rows = Vec::new();
    for connections in [1, CONNECTIONS] {
        eprintln!("throughput: {connections} connection(s)");
        let each = rounds(message.len()) / connections + 1;
        let ways = [(&servers.warm, KEEP), (&servers.stores_warm, STORED), (&servers.warm, ENCRYPT)];
        let mut rates = [const { Vec::new() }; 3];
        for _ in 0..TURNS {
            for ((dovecot, user), rates) in ways.iter().zip(&mut rates) {
                rates.push(rate(dovecot, user, connections, each, &message));
            }
        }
        let [keep, stored, encrypt] = rates.map(median);
        let whole = |rate: f64| format!("{rate:.0}");
        rows.push([
            connections.to_string(),
            whole(keep),
            whole(stored),
            whole(encrypt),
            ratio(keep / stored),
            ratio(keep / encrypt),
        ]);
    }
    let columns =
        ["connections", "`keep`", "mail plugin", "`encrypt`", "`keep` / mail plugin", "`keep` / `encrypt`"];
    page.table(columns, &rows);
}

/// Returns the messages per second over several connections at once.
fn rate(dovecot: &Dovecot, user: &str, connections: usize, each: usize, message: &[u8]) -> f64 {
    let socket = dovecot.path("run/lmtp");
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for n in 0..connections {
            let (user, mut session) = (numbered(user, n), Lmtp::connect(&socket));
            scope.spawn(move || (0..each).for_each(|_| _ = deliver(&mut session, &user, message)));
        }
    });
    let rate = (connections * each) as f64 / begin.elapsed().as_secs_f64();
    (0..connections).for_each(|n| empty(dovecot, &numbered(user, n)));
    rate
}

/// Measures the encryption of stored mail. It is in an mdbox: in a Maildir, Pigeonhole reads the list of
/// messages anew for each one that it stores, so that the time grows with the square of their number with any
/// script.
pub fn existing(page: &mut Page) {
    eprintln!("existing mail");
    let count = 5000;
    let text = format!(
        "{count} messages of 4 kB in an mdbox mailbox through `sieve-filter -e -W`, messages per second."
    );
    page.section("Existing mail", &text);
    let dovecot = Dovecot::start(&Config { format: Format::Mdbox, ..Config::default() });
    fs::write(dovecot.certs().join("me.asc"), armored(&key_for(ENCRYPT))).unwrap();
    let message = message(SMALL);
    let (mut keep, mut encrypt) = (Vec::new(), Vec::new());
    for turn in 0..TURNS {
        let user = numbered(ENCRYPT, turn);
        import(&dovecot, &user, &message, count);
        keep.push(count as f64 / filter(&dovecot, &user, "keep;"));
        encrypt.push(count as f64 / filter(&dovecot, &user, ENCRYPT_ONE));
    }
    let (keep, encrypt) = (median(keep), median(encrypt));
    let row = [format!("{keep:.0}"), format!("{encrypt:.0}"), ratio(keep / encrypt)];
    page.table(["`keep`, which changes nothing", "`encrypt`", "`keep` / `encrypt`"], &[row]);
}

fn import(dovecot: &Dovecot, user: &str, message: &[u8], count: usize) {
    let maildir = dovecot.home(user).join("import");
    for folder in ["cur", "new", "tmp"] {
        fs::create_dir_all(maildir.join(folder)).unwrap();
    }
    for n in 0..count {
        fs::write(maildir.join(format!("cur/17000000{n:05}.M{n}P1.bench:2,S")), message).unwrap();
    }
    run(Command::new("chown").args(["-R", "--reference"]).arg(dovecot.home(user)).arg(&maildir));
    dovecot.doveadm(&["import", "-u", user, &format!("maildir:{}", maildir.display()), "", "all"]);
    fs::remove_dir_all(maildir).unwrap();
}

/// Returns the seconds that `sieve-filter` takes.
fn filter(dovecot: &Dovecot, user: &str, script: &str) -> f64 {
    let source = dovecot.path("global/filter.sieve");
    fs::write(&source, script).unwrap();
    let arguments = ["-e", "-W", "-u", user].map(OsStr::new);
    let arguments = [&arguments[..], &[source.as_os_str(), "INBOX".as_ref()]].concat();
    let begin = Instant::now();
    let output = dovecot.tool("sieve-filter", &arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    begin.elapsed().as_secs_f64()
}
