//! `make bench`: what encryption costs in a real Dovecot. Deliveries over LMTP, side by side in one run and
//! interleaved: a Sieve `keep`, our `encrypt`, and the old recipe, `filter "gpgit"`. Mail is stored in memory
//! (/dev/shm), so that no disk hides anything.
//!
//! It writes doc/benchmark.md and doc/benchmark.svg. The gpgit of `GPGIT=/path/to/gpgit` is used; without it, a
//! stand-in that runs `gpg --encrypt` on the whole message. `ROUNDS=n` sets how often each small message is
//! delivered (100).

#[path = "../tests/support/mod.rs"]
mod support;

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine;
use sequoia_openpgp::cert::CipherSuite;
use sequoia_openpgp::serialize::SerializeInto;

use support::dovecot::{plugin_file, run, Config, Dovecot, Format, Lmtp};
use support::pages::project;
use support::{armored, builder, find, key_for};

/// The users, named by what their script does.
const KEEP: &str = "keep@bench.test";
const ENCRYPT: &str = "encrypt@bench.test";
const GPGIT: &str = "gpgit@bench.test";
const RSA: &str = "rsa@bench.test";
const THREE: &str = "three@bench.test";
const USERS: [(&str, &str); 5] = [
    (KEEP, "keep;"),
    (ENCRYPT, "require \"vnd.perot.encrypt\"; encrypt;"),
    (GPGIT, "require \"vnd.dovecot.filter\"; filter \"gpgit\" \"encrypt@bench.test\";"),
    (RSA, "require \"vnd.perot.encrypt\"; encrypt;"),
    (
        THREE,
        "require \"vnd.perot.encrypt\"; encrypt [\"encrypt@bench.test\", \"rsa@bench.test\", \"three@bench.test\"];",
    ),
];
const SIZES: [(&str, usize); 5] =
    [("4 kB", 4 << 10), ("30 kB", 30 << 10), ("1 MB", 1 << 20), ("25 MB", 25 << 20), ("100 MB", 100 << 20)];

/// A message of about the given size: lines of base64, as of an attachment, which cannot be compressed.
fn message(size: usize) -> Vec<u8> {
    let mut message = b"From: a@example.org\r\nSubject: x\r\nContent-Type: application/octet-stream\r\n\
                        Content-Transfer-Encoding: base64\r\n\r\n"
        .to_vec();
    let mut random = vec![0; size.saturating_sub(message.len()) / 78 * 57];
    sequoia_openpgp::crypto::random(&mut random).unwrap();
    for line in random.chunks(57) {
        message.extend_from_slice(base64::engine::general_purpose::STANDARD.encode(line).as_bytes());
        message.extend_from_slice(b"\r\n");
    }
    message
}

/// A Dovecot whose lmtp processes serve one connection, or many.
fn start(one_connection: bool, gpgit: &Path) -> Dovecot {
    let count = u8::from(one_connection);
    let config = Config {
        plugin_23: "sieve_plugins = sieve_perot_encrypt sieve_extprograms\n  sieve_extensions = +vnd.dovecot.filter\n  \
                    sieve_filter_bin_dir = {dir}/bin\n  sieve_filter_exec_timeout = 600s"
            .into(),
        extra_23: format!("service lmtp {{\n  service_count = {count}\n}}\n"),
        extra_24: format!(
            "sieve_plugins {{\n  sieve_extprograms = yes\n}}\nsieve_extensions {{\n  vnd.dovecot.filter = yes\n}}\n\
             sieve_filter_bin_dir = {{dir}}/bin\nsieve_filter_exec_timeout = 600s\n\
             service lmtp {{\n  restart_request_count = {}\n}}\n",
            if one_connection { "1" } else { "unlimited" }
        ),
        ..Config::default()
    };
    let mut dovecot = Dovecot::prepare(&config);
    let bin = dovecot.path("bin");
    fs::create_dir(&bin).unwrap();
    fs::copy(gpgit, bin.join("gpgit")).unwrap();
    fs::set_permissions(bin.join("gpgit"), fs::Permissions::from_mode(0o755)).unwrap();
    let rsa = builder(RSA).set_cipher_suite(CipherSuite::RSA4k).generate().unwrap().0;
    for (name, key) in [("encrypt", key_for(ENCRYPT)), ("rsa", rsa), ("three", key_for(THREE))] {
        fs::write(dovecot.certs().join(name).with_extension("asc"), armored(&key)).unwrap();
        if name == "encrypt" {
            import(&dovecot, &key.strip_secret_key_material().armored().to_vec().unwrap());
        }
    }
    for (user, script) in USERS {
        dovecot.script(user, script);
    }
    dovecot.launch();
    dovecot
}

/// The certificate for gpg, in the home of the user of gpgit.
fn import(dovecot: &Dovecot, armored: &[u8]) {
    let home = dovecot.home(GPGIT).join(".gnupg");
    fs::create_dir(&home).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(home.join("key.asc"), armored).unwrap();
    let import = run(Command::new("gpg")
        .arg("--homedir")
        .arg(&home)
        .args(["--batch", "--import"])
        .arg(home.join("key.asc")));
    assert!(import.status.success(), "{}", String::from_utf8_lossy(&import.stderr));
    let _ = Command::new("gpgconf").arg("--homedir").arg(&home).args(["--kill", "all"]).status();
    run(Command::new("chown").args(["-R", "--reference"]).arg(dovecot.home(GPGIT)).arg(&home));
}

/// What runs as gpgit, and what it is called in the table.
fn gpgit(folder: &Path) -> (std::path::PathBuf, &'static str) {
    if let Some(path) = std::env::var_os("GPGIT") {
        return (path.into(), "gpgit");
    }
    let stand_in = folder.join("gpgit");
    let script =
        "#!/bin/sh\nHOME=${HOME:?} exec gpg --batch --quiet --no-options --trust-model always --armor \
                  --encrypt --recipient \"$1\"\n";
    fs::write(&stand_in, script).unwrap();
    (stand_in, "`gpg --encrypt`")
}

/// Delivers a message over a connection, and returns how long that took.
fn deliver(session: &mut Lmtp, user: &str, message: &[u8]) -> Duration {
    let begin = Instant::now();
    let answer = session.deliver(&[user], message).remove(0);
    assert!(answer.starts_with("250 "), "{user}: {answer}");
    begin.elapsed()
}

fn empty(dovecot: &Dovecot, user: &str) {
    for (_, file) in dovecot.stored_files(user) {
        fs::remove_file(file).unwrap();
    }
}

/// Median times of deliveries to each of `users`, one after the other, round by round.
fn interleaved(
    dovecot: &Dovecot,
    cold: bool,
    users: &[&str],
    message: &[u8],
    rounds: usize,
) -> Vec<Duration> {
    let socket = dovecot.path("run/lmtp");
    let mut warm: Vec<Lmtp> = users.iter().map(|_| Lmtp::connect(&socket)).collect();
    let mut times = vec![Vec::new(); users.len()];
    for round in 0..=rounds {
        for (n, user) in users.iter().enumerate() {
            let time = if cold {
                let begin = Instant::now();
                deliver(&mut Lmtp::connect(&socket), user, message);
                begin.elapsed()
            } else {
                deliver(&mut warm[n], user, message)
            };
            // The first one compiles the script and makes the mailbox.
            if round > 0 {
                times[n].push(time);
            } else if *user != KEEP {
                // A filter that fails has nothing done, and is fast.
                let stored = dovecot.only_message(user);
                assert!(find(&stored, b"-----BEGIN PGP MESSAGE-----").is_some(), "{user}: {}", dovecot.log());
            }
            empty(dovecot, user);
        }
    }
    times.into_iter().map(median).collect()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// The peak of resident memory of a new lmtp process that delivers one message, in KiB.
fn peak_memory(dovecot: &Dovecot, user: &str, message: &[u8]) -> u64 {
    let mut session = Lmtp::connect(&dovecot.path("run/lmtp"));
    deliver(&mut session, user, message);
    let peak = dovecot.lmtp_processes().into_iter().filter_map(|process| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    });
    let peak = peak.max().expect("an lmtp process");
    empty(dovecot, user);
    peak
}

fn rounds(size: usize) -> usize {
    let small = std::env::var("ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(100);
    match size {
        0..=100_000 => small,
        100_001..=2_000_000 => (small / 4).max(3),
        2_000_001..=30_000_000 => (small / 12).max(3),
        _ => 3,
    }
}

/// Messages per second, over a number of connections at once.
fn throughput(dovecot: &Dovecot, user: &str, message: &[u8], connections: usize, each: usize) -> f64 {
    let socket = dovecot.path("run/lmtp");
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                let mut session = Lmtp::connect(&socket);
                for _ in 0..each {
                    deliver(&mut session, user, message);
                }
            });
        }
    });
    let rate = (connections * each) as f64 / begin.elapsed().as_secs_f64();
    empty(dovecot, user);
    rate
}

/// Messages per second of sieve-filter over an mdbox mailbox. (In a Maildir the time grows with the square of the
/// number of messages, whatever the script does: Pigeonhole reads the list anew for each that it stores.)
fn filtered(dovecot: &Dovecot, user: &str, script: &str, message: &[u8], count: usize) -> f64 {
    let maildir = dovecot.home(user).join("import");
    for folder in ["cur", "new", "tmp"] {
        fs::create_dir_all(maildir.join(folder)).unwrap();
    }
    for n in 0..count {
        fs::write(maildir.join(format!("cur/17000000{n:05}.M{n}P1.bench:2,S")), message).unwrap();
    }
    run(Command::new("chown").args(["-R", "--reference"]).arg(dovecot.home(user)).arg(&maildir));
    dovecot.doveadm(&["import", "-u", user, &format!("maildir:{}", maildir.display()), "", "all"]);
    let source = dovecot.path("global/filter.sieve");
    fs::write(&source, script).unwrap();
    let begin = Instant::now();
    let arguments = ["-e", "-W", "-u", user].map(OsStr::new);
    let output =
        dovecot.tool("sieve-filter", &[&arguments[..], &[source.as_os_str(), "INBOX".as_ref()]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    count as f64 / begin.elapsed().as_secs_f64()
}

fn main() {
    if Path::new("/dev/shm").is_dir() {
        std::env::set_var("TMPDIR", "/dev/shm");
    }
    let folder = tempfile::tempdir().unwrap();
    let (program, old) = gpgit(folder.path());
    let warm = start(false, &program);
    let cold = start(true, &program);
    let mut page = heading();
    if old != "gpgit" {
        let _ = writeln!(
            page,
            "{old} stands in for gpgit, which was not at hand: a `filter` that runs gpg, and nothing else, on the whole \
             message.\n"
        );
    }

    let _ = writeln!(
        page,
        "## One message\n\nMedian time of a delivery over LMTP, and how many times that of `keep` it is.\n"
    );
    let mut bars = Vec::new();
    for (dovecot, is_cold, what) in [
        (&warm, false, "a process that has delivered before"),
        (&cold, true, "a new process for each connection"),
    ] {
        let _ = writeln!(page, "With {what}:\n\n| size | `keep` | `encrypt` | {old} | `encrypt` / `keep` | {old} / `keep` | what {old} adds / what `encrypt` adds |");
        let _ = writeln!(page, "| --- | --- | --- | --- | --- | --- | --- |");
        for (name, size) in SIZES {
            let message = message(size);
            eprintln!("{what}: {name}");
            let times = interleaved(dovecot, is_cold, &[KEEP, ENCRYPT, GPGIT], &message, rounds(size));
            let seconds: Vec<f64> = times.iter().map(Duration::as_secs_f64).collect();
            let added = (seconds[2] - seconds[0]) / (seconds[1] - seconds[0]).max(1e-9);
            let _ = writeln!(
                page,
                "| {name} | {} | {} | {} | {:.2} | {:.1} | {added:.0} |",
                milliseconds(times[0]),
                milliseconds(times[1]),
                milliseconds(times[2]),
                seconds[1] / seconds[0],
                seconds[2] / seconds[0],
            );
            if !is_cold {
                bars.push((name, seconds));
            }
        }
        let _ = writeln!(page);
    }

    others(&mut page, &warm);
    existing(&mut page);
    memory(&mut page, &cold, old);
    footprint(&mut page, &cold);
    fs::write(project("doc/benchmark.md"), page).unwrap();
    fs::write(project("doc/benchmark.svg"), plot(&bars, old)).unwrap();
    println!("doc/benchmark.md and doc/benchmark.svg are written.");
}

fn heading() -> String {
    let text = |command: &mut Command| String::from_utf8_lossy(&run(command).stdout).trim().to_owned();
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .unwrap_or("unknown")
        .trim_start_matches(['\t', ' ', ':']);
    format!(
        "# What encryption costs\n\nMade by `make bench` on {}: Dovecot {}, {} cores, {cpu}. \
         Mail is stored in memory. Trust the ratios more than the times.\n\n![Time of a delivery](benchmark.svg)\n\n",
        text(Command::new("date").args(["-u", "+%Y-%m-%d"])),
        text(Command::new("dovecot").arg("--version")),
        std::thread::available_parallelism().map_or(1, usize::from),
    )
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// Other recipients, other messages, several connections, existing mail.
fn others(page: &mut String, dovecot: &Dovecot) {
    let message = message(4 << 10);
    let _ = writeln!(page, "## Other cases\n\nMessages of 4 kB, in a process that has delivered before.\n");
    let _ = writeln!(page, "| case | time | / `keep` |\n| --- | --- | --- |");
    eprintln!("other cases");
    let times = interleaved(dovecot, false, &[KEEP, ENCRYPT, RSA, THREE], &message, rounds(4096));
    let names = ["`keep`", "`encrypt`, Curve25519", "`encrypt`, RSA-4096", "`encrypt`, three recipients"];
    for (name, time) in names.iter().zip(&times) {
        let ratio = time.as_secs_f64() / times[0].as_secs_f64();
        let _ = writeln!(page, "| {name} | {} | {ratio:.2} |", milliseconds(*time));
    }
    deliver(&mut Lmtp::connect(&dovecot.path("run/lmtp")), ENCRYPT, &message);
    let encrypted = dovecot.only_message(ENCRYPT);
    empty(dovecot, ENCRYPT);
    let times = interleaved(dovecot, false, &[KEEP, ENCRYPT], &encrypted, rounds(4096));
    let ratio = times[1].as_secs_f64() / times[0].as_secs_f64();
    let _ = writeln!(
        page,
        "| `encrypt`, encrypted already (and its `keep`: {}) | {} | {ratio:.2} |",
        milliseconds(times[0]),
        milliseconds(times[1])
    );

    let _ = writeln!(page, "\n## Throughput\n\nMessages of 30 kB, messages per second.\n\n| connections | `keep` | `encrypt` | ratio |\n| --- | --- | --- | --- |");
    let message = self::message(30 << 10);
    for connections in [1, 4] {
        eprintln!("{connections} connection(s)");
        let each = rounds(4096) * 4 / connections;
        let keep = throughput(dovecot, KEEP, &message, connections, each);
        let encrypt = throughput(dovecot, ENCRYPT, &message, connections, each);
        let _ = writeln!(page, "| {connections} | {keep:.0} | {encrypt:.0} | {:.2} |", keep / encrypt);
    }
}

fn existing(page: &mut String) {
    eprintln!("existing mail");
    let dovecot = Dovecot::start(&Config { format: Format::Mdbox, ..Config::default() });
    fs::write(dovecot.certs().join("me.asc"), armored(&key_for(ENCRYPT))).unwrap();
    let message = message(4 << 10);
    let count = 5000;
    let keep = filtered(&dovecot, KEEP, "keep;", &message, count);
    let encrypt = filtered(&dovecot, ENCRYPT, "require \"vnd.perot.encrypt\"; encrypt;", &message, count);
    let _ = writeln!(
        page,
        "\n## Existing mail\n\n{count} messages of 4 kB in an mdbox mailbox through `sieve-filter -e -W`, messages per \
         second: `keep` {keep:.0} (which changes nothing), `encrypt` {encrypt:.0}.\n"
    );
}

fn memory(page: &mut String, dovecot: &Dovecot, old: &str) {
    let _ = writeln!(
        page,
        "## Memory\n\nPeak of the resident memory of a new lmtp process that delivers one message.\n"
    );
    let _ = writeln!(page, "| size | `keep` | `encrypt` | {old}, without the programs that it starts |\n| --- | --- | --- | --- |");
    for (name, size) in SIZES {
        eprintln!("memory: {name}");
        let message = message(size);
        let peaks = [KEEP, ENCRYPT, GPGIT].map(|user| peak_memory(dovecot, user, &message) as f64 / 1024.0);
        let _ =
            writeln!(page, "| {name} | {:.1} MiB | {:.1} MiB | {:.1} MiB |", peaks[0], peaks[1], peaks[2]);
    }
}

/// What it costs to have the plugin at all.
fn footprint(page: &mut String, dovecot: &Dovecot) {
    let stripped = dovecot.path("plugin.so");
    run(Command::new("strip").arg("-o").arg(&stripped).arg(plugin_file()));
    let size = fs::metadata(&stripped).map_or(0, |m| m.len()) as f64 / 1048576.0;
    let tree = run(Command::new(env!("CARGO")).current_dir(project("")).args([
        "tree",
        "--offline",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--features",
        "plugin",
    ]));
    let mut crates: Vec<String> =
        String::from_utf8_lossy(&tree.stdout).lines().map(|l| l.replace(" (*)", "")).collect();
    crates.sort();
    crates.dedup();
    let _ = writeln!(
        page,
        "\n## Footprint\n\nThe plugin: {size:.1} MiB, made of {} crates (with those that only run when it is compiled).\n",
        crates.len().saturating_sub(1)
    );
}

/// Bars on a logarithmic scale: sizes from left to right, three bars each.
fn plot(bars: &[(&str, Vec<f64>)], old: &str) -> String {
    const COLOURS: [&str; 3] = ["#9aa5b1", "#2f6f4f", "#b5532b"];
    let names = ["keep", "encrypt", old.trim_matches('`')];
    // From 0.1 ms to 100 s.
    let height = |seconds: f64| ((seconds.log10() + 4.0) / 6.0 * 260.0).clamp(1.0, 260.0);
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 720 360\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"720\" height=\"360\" fill=\"white\"/>\n",
    );
    for (power, label) in ["0.1 ms", "1 ms", "10 ms", "100 ms", "1 s", "10 s", "100 s"].iter().enumerate() {
        let y = 310.0 - power as f64 * 260.0 / 6.0;
        let _ = writeln!(svg, "<path d=\"M70 {y:.0}H700\" stroke=\"#ddd\"/><text x=\"62\" y=\"{:.0}\" text-anchor=\"end\">{label}</text>", y + 4.0);
    }
    for (n, (size, seconds)) in bars.iter().enumerate() {
        let left = 90 + n * 122;
        for (m, time) in seconds.iter().enumerate() {
            let height = height(*time);
            let _ = writeln!(
                svg,
                "<rect x=\"{}\" y=\"{:.0}\" width=\"28\" height=\"{height:.0}\" fill=\"{}\"/>",
                left + m * 32,
                310.0 - height,
                COLOURS[m]
            );
        }
        let _ = writeln!(svg, "<text x=\"{}\" y=\"330\" text-anchor=\"middle\">{size}</text>", left + 46);
    }
    for (n, name) in names.iter().enumerate() {
        let _ = writeln!(svg, "<rect x=\"{}\" y=\"14\" width=\"12\" height=\"12\" fill=\"{}\"/><text x=\"{}\" y=\"25\">{name}</text>", 90 + n * 120, COLOURS[n], 108 + n * 120);
    }
    svg + "</svg>\n"
}
