//! Times, memory, rates.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::setup::{self, KEEP, SMALL};
use perot_testing::dovecot::{peak_memory, run, Dovecot, Lmtp};
use perot_testing::find;

/// How often a message of this size is delivered.
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

/// Delivers a message over a connection, and returns how many seconds that took.
pub fn deliver(session: &mut Lmtp, user: &str, message: &[u8]) -> f64 {
    let begin = Instant::now();
    let answer = session.deliver_ready(&[user], message).remove(0);
    assert!(answer.starts_with("250 "), "{user}: {answer}");
    begin.elapsed().as_secs_f64()
}

/// Removes a mailbox.
pub fn empty(dovecot: &Dovecot, user: &str) {
    fs::remove_dir_all(dovecot.home(user).join("Maildir")).unwrap();
}

/// One of the ways that are compared.
pub struct Way<'a> {
    pub dovecot: &'a Dovecot,
    pub user: &'a str,
    /// How often. Who has fewer than the others takes part in every so many rounds.
    pub rounds: usize,
}

impl Way<'_> {
    fn connect(&self) -> Lmtp {
        Lmtp::connect(&self.dovecot.path("run/lmtp"))
    }

    /// Waits until processes that are at their end have ended. Else that would count for the next.
    fn wait(&self) {
        while !self.dovecot.lmtp_processes().is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Delivers once, which compiles the script, and warms what is to be warm; and keeps a copy of the mailbox, empty.
    fn prepare(&self, session: Option<&mut Lmtp>) {
        let small = setup::message(SMALL);
        match session {
            Some(session) => deliver(session, self.user, &small),
            None => self.deliver_cold(&small),
        };
        self.dovecot.doveadm(&["expunge", "-u", self.user, "mailbox", "INBOX", "all"]);
        self.shell("rm -rf empty && cp -a Maildir empty");
    }

    /// Puts that copy in the mailbox's place. If only the message were removed, each delivery would take longer than the
    /// one before, whatever the script does: Dovecot's index and list of messages grow.
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

    /// Delivers to a new process.
    fn deliver_cold(&self, message: &[u8]) -> f64 {
        self.wait();
        let begin = Instant::now();
        deliver(&mut self.connect(), self.user, message);
        begin.elapsed().as_secs_f64()
    }

    /// Peaks of resident memory in MiB: of a new process that delivers one message, and of the largest program that
    /// it starts, as far as one sees it by looking often.
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

/// Median times of deliveries in seconds: one to each, in an order of chance, round by round. Cold is a new
/// connection and process for each, which counts; warm is one connection for all.
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
                assert!(find(&stored, b"-----BEGIN PGP MESSAGE-----").is_some(), "{}", way.dovecot.log());
            }
            way.reset();
        }
    }
    times.into_iter().map(median).collect()
}

/// The numbers below `count`. So nobody always comes after the one who leaves the machine's caches empty.
fn in_an_order_of_chance(count: usize) -> Vec<usize> {
    let mut chance = vec![0; count * 8];
    sequoia_openpgp::crypto::random(&mut chance).unwrap();
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_key(|n| &chance[n * 8..][..8]);
    order
}
