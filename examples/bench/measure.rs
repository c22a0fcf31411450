//! Measures times, memory and rates.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::setup::{self, KEEP, SMALL};
use perot_testing::dovecot::{peak_memory, run, Dovecot, Lmtp};
use perot_testing::find;

/// Returns how often a message of this size is delivered.
pub fn rounds(size: usize) -> usize {
    let small = std::env::var("ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(200);
    match size {
        0..=100_000 => small,
        100_001..=2_000_000 => (small / 4).max(3),
        2_000_001..=30_000_000 => (small / 10).max(3),
        _ => (small / 40).max(3),
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Delivers a message over a connection. Returns the seconds that it took.
pub fn deliver(session: &mut Lmtp, user: &str, message: &[u8]) -> f64 {
    let begin = Instant::now();
    let answer = session.deliver_ready(&[user], message).remove(0);
    assert!(answer.starts_with("250 "), "{user}: {answer}");
    begin.elapsed().as_secs_f64()
}

/// Removes the messages of a user.
pub fn empty(dovecot: &Dovecot, user: &str) {
    fs::remove_dir_all(dovecot.home(user).join("Maildir")).unwrap();
}

/// One of the ways of delivery that are compared.
pub struct Way<'a> {
    pub dovecot: &'a Dovecot,
    pub user: &'a str,
    /// The number of deliveries. A way that has fewer than others skips some of the rounds.
    pub rounds: usize,
}

impl Way<'_> {
    fn connect(&self) -> Lmtp {
        Lmtp::connect(&self.dovecot.path("run/lmtp"))
    }

    /// Waits until processes that are ending have ended, so that they do not slow down the next delivery.
    fn wait(&self) {
        while !self.dovecot.lmtp_processes().is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Delivers once, which compiles the script and fills the caches. Then keeps a copy of the empty mailbox.
    fn prepare(&self, session: Option<&mut Lmtp>) {
        let small = setup::message(SMALL);
        match session {
            Some(session) => deliver(session, self.user, &small),
            None => self.deliver_cold(&small),
        };
        self.dovecot.doveadm(&["expunge", "-u", self.user, "mailbox", "INBOX", "all"]);
        self.shell("rm -rf empty && cp -a Maildir empty");
    }

    /// Restores the copy of the mailbox. If only the message were removed, Dovecot's index would grow, and
    /// each delivery would take longer than the one before with any script.
    fn reset(&self) {
        self.shell("rm -r Maildir && cp -a empty Maildir");
    }

    /// Runs a command in the user's home.
    fn shell(&self, command: &str) {
        let home = self.dovecot.home(self.user);
        assert!(
            run(Command::new("sh").args(["-c", command]).current_dir(home)).status.success(),
            "{command}"
        );
    }

    /// Delivers a message to a new process. Returns the seconds.
    fn deliver_cold(&self, message: &[u8]) -> f64 {
        self.wait();
        let begin = Instant::now();
        deliver(&mut self.connect(), self.user, message);
        begin.elapsed().as_secs_f64()
    }

    /// Returns peaks of resident memory in MiB: of a new process that delivers one message, and of the
    /// largest program that it starts. The program is watched by polling, so that a short peak may be missed.
    pub fn peaks(&self, message: &[u8]) -> (f64, f64) {
        self.wait();
        let (process, program) = std::thread::scope(|scope| {
            let delivery = scope.spawn(|| {
                let mut session = self.connect();
                deliver(&mut session, self.user, message);
                session
            });
            let mut program = 0;
            while !delivery.is_finished() {
                let largest = self.dovecot.programs_of_lmtp().into_iter().filter_map(peak_memory).max();
                program = program.max(largest.unwrap_or_default());
                std::thread::sleep(Duration::from_millis(2));
            }
            let _open = delivery.join().unwrap();
            let process = self.dovecot.lmtp_processes().into_iter().find_map(peak_memory);
            (process.expect("an lmtp process"), program)
        });
        empty(self.dovecot, self.user);
        let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
        (mib(process), mib(program))
    }
}

/// Returns the median seconds of a delivery for each way. The ways take turns in random order, round by
/// round. A cold delivery includes a new connection and process; the warm ones share a connection.
pub fn interleaved(ways: &[Way<'_>], cold: bool, message: &[u8]) -> Vec<f64> {
    let mut sessions: Vec<Lmtp> = ways.iter().filter(|_| !cold).map(Way::connect).collect();
    for (n, way) in ways.iter().enumerate() {
        way.prepare(sessions.get_mut(n));
    }
    let mut times = vec![Vec::new(); ways.len()];
    let most = ways.iter().map(|way| way.rounds).max().unwrap_or_default();
    for round in 0..most {
        for n in in_an_order_of_chance(ways.len()) {
            let way = &ways[n];
            if (round + 1) * way.rounds / most == round * way.rounds / most {
                continue;
            }
            times[n].push(match sessions.get_mut(n) {
                Some(session) => deliver(session, way.user, message),
                None => way.deliver_cold(message),
            });
            if times[n].len() == 1 && way.user != KEEP {
                let stored = way.dovecot.only_message(way.user);
                let is_there = |sign: &[u8]| find(&stored, sign).is_some();
                let is_encrypted = is_there(b"-----BEGIN PGP MESSAGE-----") || is_there(b"\"smime.p7m\"");
                assert!(is_encrypted, "{}", way.dovecot.log());
            }
            way.reset();
        }
    }
    times.into_iter().map(median).collect()
}

/// Returns the numbers below `count` in random order. In a fixed order, a way would always follow the same
/// one, and find the caches as that leaves them.
fn in_an_order_of_chance(count: usize) -> Vec<usize> {
    let mut chance = vec![0; count * 8];
    sequoia_openpgp::crypto::random(&mut chance).unwrap();
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_key(|n| &chance[n * 8..][..8]);
    order
}
