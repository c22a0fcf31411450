//! Measures memory, and the cost of loading the plugin.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::measure::{interleaved, median, rounds, Way};
use crate::page::{mebibytes, milliseconds, Page};
use crate::setup::{message, Servers, ENCRYPT, GPGIT, KEEP, SIZES, SMALL, STORED};
use perot_testing::dovecot::{modules_dir, plugin_file, run, Dovecot};
use perot_testing::pages::project;

/// Measures peaks of memory by size of the message.
pub fn memory(servers: &Servers, page: &mut Page) {
    page.section("Memory", "Peak of the resident memory of a new lmtp process that delivers one message.");
    if servers.has_gpgit() {
        page.text(
            "Dovecot limits the memory of a process and of the programs that it starts (`default_vsz_limit`, 256 MB with \
             Dovecot 2.3, 1 GB with 2.4). For this page the limit is 4 GB. Beyond it gpgit fails, and the message is stored \
             in clear.",
        );
    }
    let (mut stored, mut compressed, mut encrypt) = (Vec::new(), Vec::new(), Vec::new());
    let mut rows = Vec::new();
    for (name, size) in SIZES {
        eprintln!("memory: {name}");
        let message = message(size);
        let ways = [
            (&servers.cold, KEEP),
            (&servers.stores_cold, STORED),
            (&servers.compresses, STORED),
            (&servers.cold, ENCRYPT),
            (&servers.cold, GPGIT),
        ];
        let [keep, at_store, compress, ours, gpgit] =
            ways.map(|(dovecot, user)| Way { dovecot, user, rounds: 1 }.peaks(&message));
        stored.push(at_store.0);
        compressed.push(compress.0);
        encrypt.push(ours.0);
        rows.push([
            name.into(),
            mebibytes(keep.0),
            mebibytes(at_store.0),
            mebibytes(compress.0),
            mebibytes(ours.0),
            mebibytes(gpgit.0),
            mebibytes(gpgit.1),
        ]);
    }
    let old = servers.old;
    let program = format!("{old}: the largest program that is started");
    let columns = ["size", "`keep`", "mail plugin", "mail plugin, compressed", "`encrypt`", old, &program];
    page.table(columns, &rows);
    for (what, limit, peaks) in [
        ("mail plugin", 1.0, stored),
        ("mail plugin, compressed", 2.0, compressed),
        ("`encrypt`", 1.0, encrypt),
    ] {
        let grown = peaks[SIZES.len() - 1] - peaks[0];
        page.at_most(&format!("{what}: memory for 100 MB, more than for 4 kB"), limit, Some(grown), " MiB");
    }
}

/// Measures the cost of the plugin where it is loaded and not used.
pub fn footprint(servers: &Servers, page: &mut Page) {
    eprintln!("footprint");
    let [linked, all] = ["normal,no-proc-macro", "normal,build"].map(crates);
    let rows = [
        ("size, as installed", mebibytes(size(&plugin_file()))),
        ("size, without its symbol table (`strip`)", mebibytes(stripped_size(&servers.cold))),
        ("crates in it", linked.to_string()),
        ("crates that only run when it is compiled", (all - linked).to_string()),
        (
            "time of `dlopen` in a process that has Pigeonhole's library",
            milliseconds(load_time(&servers.cold)),
        ),
    ];
    page.section("Footprint", "The plugin by itself:");
    page.table(["", ""], &rows.map(|(name, value)| [name.to_owned(), value]));
    new_process(servers, page);
}

/// Compares a process that has the plugin with one that has not.
fn new_process(servers: &Servers, page: &mut Page) {
    let way = |dovecot, user| Way { dovecot, user, rounds: rounds(SMALL) };
    let ways = [
        way(&servers.without, KEEP),
        way(&servers.cold, KEEP),
        way(&servers.cold, ENCRYPT),
        way(&servers.stores_cold, ENCRYPT),
        way(&servers.stores_cold, STORED),
    ];
    let message = message(SMALL);
    let times = interleaved(&ways, true, &message);
    let mut peaks = vec![Vec::new(); ways.len()];
    for _ in 0..9 {
        for (peaks, way) in peaks.iter_mut().zip(&ways) {
            peaks.push(way.peaks(&message).0);
        }
    }
    let peaks: Vec<f64> = peaks.into_iter().map(median).collect();
    let names = [
        "`keep`, without the plugin",
        "`keep`, with the Sieve plugin loaded",
        "`encrypt`",
        "`encrypt`, with the mail plugin loaded as well",
        "no script: the mail plugin encrypts",
    ];
    let row = |(n, name): (usize, &str)| {
        let more = |values: &[f64], text: fn(f64) -> String| {
            if n == 0 {
                String::new()
            } else {
                text(values[n] - values[0])
            }
        };
        let (time, memory) = (more(&times, milliseconds), more(&peaks, mebibytes));
        [name.to_owned(), milliseconds(times[n]), time, mebibytes(peaks[n]), memory]
    };
    page.text("A new lmtp process that delivers 4 kB, and what it takes more than the first one:");
    let rows: Vec<[String; 5]> = names.into_iter().enumerate().map(row).collect();
    page.table(["", "time", "more", "peak of memory", "more"], &rows);
    let what = "memory that both plugins take, with `encrypt`";
    page.at_most(what, 8.0, Some(peaks[3] - peaks[0]), " MiB");
}

fn size(file: &Path) -> f64 {
    fs::metadata(file).unwrap().len() as f64 / f64::from(1 << 20)
}

fn stripped_size(dovecot: &Dovecot) -> f64 {
    let stripped = dovecot.path("stripped.so");
    assert!(run(Command::new("strip").arg("-o").arg(&stripped).arg(plugin_file())).status.success());
    size(&stripped)
}

/// Returns the number of crates that the plugin depends on, by kinds of dependencies.
fn crates(kinds: &str) -> usize {
    let arguments = ["tree", "--offline", "--locked", "--prefix=none", "--features=plugin", "--edges", kinds];
    let tree = run(Command::new(env!("CARGO")).current_dir(project("")).args(arguments));
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8_lossy(&tree.stdout);
    let crates: BTreeSet<&str> = tree.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    crates.len() - 1
}

/// Returns the seconds that `dlopen` takes in a new process that has loaded Pigeonhole's library.
fn load_time(dovecot: &Dovecot) -> f64 {
    let program = dovecot.path("load");
    let source = project("examples/bench/load.c");
    assert!(run(Command::new("cc").arg("-o").arg(&program).arg(source)).status.success());
    let library = modules_dir().with_file_name("libdovecot-sieve.so.0");
    let load = |_| {
        let output = run(Command::new(&program).arg(&library).arg(plugin_file()));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().parse::<f64>().unwrap() / 1e9
    };
    median((0..rounds(SMALL)).map(load).collect())
}
