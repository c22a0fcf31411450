//! `make bench`: measures what encryption costs in a real Dovecot.
//!
//! Messages are delivered over LMTP in four ways: with `keep`, with the mail plugin, with `encrypt`, and with the old
//! recipe, `filter "gpgit"`. The ways take turns in one run. Mail is stored in memory (/dev/shm), because waiting for
//! a disk would hide the differences.
//!
//! The results are doc/dev/benchmark.md and doc/dev/benchmark.svg. `GPGIT=/path/to/gpgit.pl` names the gpgit
//! to use; without it, a stand-in runs `gpg --encrypt` on the whole message. `ROUNDS=n` sets how often each
//! small message is delivered (200).
//!
//! `setup` makes the servers, `kinds` mail of several kinds, `measure` takes times and memory, `page` and `plot` write the
//! results. Each of the other modules has the sections of one topic.

mod certificates;
mod deliveries;
mod footprint;
mod kinds;
mod measure;
mod page;
mod plot;
mod setup;
mod sizes;

use std::fs;
use std::path::Path;

use page::Page;
use perot_testing::pages::project;
use setup::Servers;

fn main() {
    if Path::new("/dev/shm").is_dir() {
        std::env::set_var("TMPDIR", "/dev/shm");
    }
    let servers = Servers::start();
    let mut page = Page::default();
    let bars = deliveries::one_message(&servers, &mut page);
    deliveries::other_cases(&servers, &mut page);
    deliveries::throughput(&servers, &mut page);
    deliveries::existing(&mut page);
    certificates::certificates(&servers, &mut page);
    sizes::sizes(&servers, &mut page);
    footprint::memory(&servers, &mut page);
    footprint::footprint(&servers, &mut page);
    fs::write(project("doc/dev/benchmark.md"), page.finish()).unwrap();
    fs::write(project("doc/dev/benchmark.svg"), plot::plot(&bars, servers.old)).unwrap();
    println!("doc/dev/benchmark.md and doc/dev/benchmark.svg are written.");
}
