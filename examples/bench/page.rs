//! Writes doc/dev/benchmark.md: sections, tables and targets.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use perot_testing::dovecot::run;

/// The text of the page so far.
#[derive(Default)]
pub struct Page {
    sections: String,
    targets: Vec<[String; 4]>,
}

impl Page {
    pub fn section(&mut self, heading: &str, text: &str) {
        let _ = write!(self.sections, "\n## {heading}\n\n{text}\n");
    }

    pub fn text(&mut self, text: &str) {
        let _ = write!(self.sections, "\n{text}\n");
    }

    pub fn table<const N: usize>(&mut self, columns: [&str; N], rows: &[[String; N]]) {
        table(&mut self.sections, columns, rows);
    }

    /// Adds a target for which less is better. `reached` is `None` if it could not be measured.
    pub fn at_most(&mut self, what: &str, limit: f64, reached: Option<f64>, unit: &str) {
        self.target(what, format!("at most {limit}{unit}"), reached, unit, |reached| reached <= limit);
    }

    /// Adds a target for which more is better.
    pub fn at_least(&mut self, what: &str, limit: f64, reached: Option<f64>, unit: &str) {
        self.target(what, format!("at least {limit}{unit}"), reached, unit, |reached| reached >= limit);
    }

    fn target(
        &mut self,
        what: &str,
        limit: String,
        reached: Option<f64>,
        unit: &str,
        is_met: impl Fn(f64) -> bool,
    ) {
        let digits = if reached.is_some_and(|reached| reached >= 100.0) { 0 } else { 2 };
        let value = reached.map_or("not measured".into(), |reached| format!("{reached:.digits$}{unit}"));
        let verdict = reached.map_or("", |reached| if is_met(reached) { "yes" } else { "**no**" });
        self.targets.push([what.into(), limit, value, verdict.into()]);
    }

    pub fn finish(&self) -> String {
        let mut page = heading();
        table(&mut page, ["target", "limit", "this run", "reached"], &self.targets);
        page + &self.sections
    }
}

fn table<const N: usize>(page: &mut String, columns: [&str; N], rows: &[[String; N]]) {
    let _ = write!(page, "\n| {} |\n|{}\n", columns.join(" | "), " --- |".repeat(N));
    for row in rows {
        let _ = writeln!(page, "| {} |", row.join(" | "));
    }
}

fn heading() -> String {
    let text = |command: &mut Command| String::from_utf8_lossy(&run(command).stdout).trim().to_owned();
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or("unknown");
    format!(
        "# What encryption costs\n\n\
         Made by `make bench` on {}: Dovecot {}, {} cores, {}. Each run writes this page anew.\n\n\
         A message is delivered over LMTP to an empty mailbox, in memory. `keep`, the mail plugin \
         (no script), `encrypt` and `filter \"gpgit\"` take turns; the Sieve plugin is loaded for all of them. Times are \
         medians. Trust the ratios more than the times. \"Warm\" is an lmtp process that has delivered before, \"cold\" a new process for each connection.\n\n\
         Where the time goes: [performance.md](performance.md). The core alone: `cargo bench`.\n\n\
         ![Time of a delivery](benchmark.svg)\n\n## Targets\n",
        text(Command::new("date").args(["-u", "+%Y-%m-%d"])),
        text(Command::new("dovecot").arg("--version")),
        std::thread::available_parallelism().map_or(1, usize::from),
        cpu.trim_start_matches(['\t', ' ', ':']),
    )
}

pub fn milliseconds(seconds: f64) -> String {
    format!("{:.2} ms", seconds * 1e3)
}

pub fn mebibytes(size: f64) -> String {
    format!("{size:.1} MiB")
}

pub fn ratio(ratio: f64) -> String {
    format!("{ratio:.2}")
}
