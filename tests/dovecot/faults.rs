//! Faults of the machine during deliveries. Whatever happens, a message is stored encrypted or still with the
//! MTA. It is never stored in clear, and it is stored twice only where a `keep` is, too.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use sequoia_openpgp::Cert;

use crate::{compile_library, message, script, SECRET};
use perot_testing::dovecot::{files, run, wait_until, Config, Dovecot, Lmtp};
use perot_testing::{armored, decrypt, key_for, with_crlf};

const ME: &str = "me@domain.com";
const YOU: &str = "you@domain.com";
const KEEP: &str = "keep;";

/// The faults in the lmtp processes, which faults.c causes.
#[derive(Clone, Copy, Default)]
struct Plan {
    /// The kinds of system calls that are counted, as a sum of the constants below.
    kinds: i64,
    /// A part of the paths of these calls.
    path: &'static str,
    /// The number of the call that fails.
    at: i64,
    /// True if all later calls fail, too.
    stays: bool,
    /// The error number, or one of the actions below.
    action: i64,
    /// The seconds by which the clock is ahead.
    clock: i64,
}

const OPEN: i64 = 1;
const READ: i64 = 2;
const WRITE: i64 = 4;
const SYNC: i64 = 8;
const NAME: i64 = 16;
const STAT: i64 = 32;
const REMOVE: i64 = 64;

const KILL: i64 = -1;
const HANG: i64 = -2;

/// In `struct plan` of faults.c: the size of the path, and the position of the count.
const PATH_SIZE: usize = 64;
const COUNT_AT: u64 = 96;

impl Plan {
    fn bytes(&self) -> Vec<u8> {
        let mut path = self.path.as_bytes().to_vec();
        path.resize(PATH_SIZE, 0);
        let count = 0;
        let numbers = [self.at, self.stays.into(), self.action, count, self.clock].map(i64::to_ne_bytes);
        [&self.kinds.to_ne_bytes()[..], &path, numbers.as_flattened()].concat()
    }
}

/// A Dovecot whose lmtp processes follow a [`Plan`].
struct Faulty {
    dovecot: Dovecot,
    plan: File,
    key: Cert,
}

impl Faulty {
    fn start(user_script: &str) -> Self {
        let lmtp =
            "service lmtp {\n  executable = /usr/bin/env LD_PRELOAD={dir}/faults.so FAULTS={dir}/plan \
                    /usr/lib/dovecot/lmtp\n}\n";
        // Each connection gets a process of its own.
        let config = Config {
            extra_23: format!("{lmtp}service lmtp {{\n  service_count = 1\n}}\n"),
            extra_24: format!("{lmtp}service lmtp {{\n  restart_request_count = 1\n}}\n"),
            ..Config::default()
        };
        let mut dovecot = Dovecot::prepare(&config);
        compile_library("faults.c", &dovecot.path("faults.so"));
        let plan =
            File::options().read(true).write(true).create_new(true).open(dovecot.path("plan")).unwrap();
        plan.write_all_at(&Plan::default().bytes(), 0).unwrap();
        let key = key_for(ME);
        dovecot.give(ME, "k.asc", &armored(&key));
        dovecot.script(ME, user_script);
        dovecot.launch();
        Self { dovecot, plan, key }
    }

    /// Sets a plan, and starts counting again.
    fn set(&self, plan: Plan) {
        self.plan.write_all_at(&plan.bytes(), 0).unwrap();
    }

    fn count(&self) -> i64 {
        let mut count = [0; 8];
        self.plan.read_exact_at(&mut count, COUNT_AT).unwrap();
        i64::from_ne_bytes(count)
    }

    fn connect(&self) -> Lmtp {
        Lmtp::connect(&self.dovecot.path("run/lmtp"))
    }

    /// Delivers a message that must be accepted. If there is no answer, it is delivered again, as an MTA
    /// does: the master closes connections if a process is killed before the master has noticed that it
    /// started.
    fn accept(&self, session: &mut Lmtp, message: &[u8]) {
        let mut answer = String::new();
        let mut is_answered = || {
            answer = session.deliver(&[ME], message).remove(0);
            if answer.is_empty() {
                *session = self.connect();
            }
            !answer.is_empty()
        };
        wait_until(&mut is_answered, || self.dovecot.log());
        assert!(answer.starts_with("250 "), "{answer}\n{}", self.dovecot.log());
    }

    /// Removes the locks of killed processes, for which Dovecot would wait two minutes.
    fn remove_locks(&self) {
        let is_lock = |file: &&PathBuf| file.as_os_str().as_encoded_bytes().ends_with(b"lock");
        for lock in files(&self.dovecot.home(ME)).iter().filter(is_lock) {
            fs::remove_file(lock).unwrap();
        }
    }

    /// Checks all stored messages and removes them. Returns their number.
    fn take(&self, check: impl Fn(&[u8])) -> usize {
        let stored = self.dovecot.stored_files(ME);
        for (_, file) in &stored {
            check(&fs::read(file).unwrap());
            fs::remove_file(file).unwrap();
        }
        stored.len()
    }

    /// Panics unless exactly one message is stored, which is `message` encrypted to the key. Removes it.
    fn take_encrypted(&self, message: &[u8], key: &Cert) {
        let taken = self.take(|stored| assert!(decrypt(stored, key).ends_with(message)));
        assert_eq!(taken, 1, "{}", self.dovecot.log());
    }
}

/// Calls a function when it is first read.
struct Then<'a, A: FnMut()>(Option<A>, &'a [u8]);

impl<A: FnMut()> Read for Then<'_, A> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(mut act) = self.0.take() {
            act();
        }
        self.1.read(buffer)
    }
}

/// Delivers a message, and calls a function in its midst.
fn deliver(session: &mut Lmtp, message: &[u8], act: impl FnMut()) -> String {
    let (first, rest) = message.split_at(message.len() / 2);
    session.deliver_from(&[ME], &mut first.chain(Then(Some(act), rest))).remove(0)
}

/// Makes a message that is small enough to be received in memory, and too large, once encrypted, to be kept
/// there.
fn large() -> Vec<u8> {
    larger_by(1)
}

/// Makes a message that is so many times as large.
fn larger_by(times: usize) -> Vec<u8> {
    let line = format!("The {SECRET} sings, and nobody but the owner may hear it.\r\n");
    [message("large"), line.repeat(1900 * times).into_bytes()].concat()
}

// System calls -------------------------------------------------------------------------------------

/// The results of the deliveries of [`sweep`].
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    /// Deliveries that succeeded in spite of the fault.
    done: usize,
    /// Deliveries that failed, and succeeded when they were repeated.
    repeated: usize,
    /// Deliveries that seemed to fail although the message was stored, so that the repetition stored it
    /// twice.
    twice: usize,
}

/// Delivers a message with the fault at the first call, one with the fault at the second, and so on. A
/// message that is deferred, or not answered, is delivered again, as an MTA does.
fn sweep(user_script: &str, plan: Plan, message: &[u8], check: impl Fn(&Cert, &[u8])) -> Tally {
    let faulty = Faulty::start(user_script);
    // The process of this delivery ends well. If ten processes are killed within a second and none has ended
    // well, the master thinks that the service cannot start, and closes connections for some seconds.
    faulty.accept(&mut faulty.connect(), message);
    let mut session = faulty.connect();
    faulty.accept(&mut session, message);
    faulty.take(|_| {});
    let mut tally = Tally::default();
    for at in 1.. {
        let answer = deliver(&mut session, message, || faulty.set(Plan { at, ..plan }));
        let reached = faulty.count() >= at;
        faulty.set(Plan::default());
        faulty.remove_locks();
        let deferred = answer.is_empty() || answer.starts_with('4');
        if answer.is_empty() || plan.action == KILL {
            session = faulty.connect();
        }
        if deferred {
            faulty.accept(&mut session, message);
        }
        match faulty.take(|stored| check(&faulty.key, stored)) {
            1 if deferred => tally.repeated += 1,
            1 if answer.starts_with("250 ") => tally.done += 1,
            2 if deferred => tally.twice += 1,
            n => panic!("call {at}: {answer} {n} messages\n{}", faulty.dovecot.log()),
        }
        // A killed process may leave an empty temporary file.
        let left = files(&faulty.dovecot.path("tmp"));
        assert!(left.iter().all(|file| fs::metadata(file).unwrap().len() == 0), "call {at}: {left:?}");
        if !reached {
            break;
        }
    }
    if user_script != KEEP {
        faulty.dovecot.assert_nowhere(SECRET);
    }
    tally
}

/// Compares `encrypt` with `keep`, which must store as many messages twice. One or two more are by chance: a
/// process continues in another way depending on what it has in memory of a mailbox.
fn assert_safe(plan: Plan, message: &[u8]) {
    let encrypt = sweep(&script("", "encrypt;"), plan, message, |key, stored| {
        assert!(decrypt(stored, key).ends_with(message));
    });
    let keep = sweep(KEEP, plan, message, |_, stored| assert!(with_crlf(stored).ends_with(message)));
    assert!(encrypt.repeated > keep.repeated && keep.repeated > 0, "{encrypt:?} {keep:?}");
    // A Maildir has the message before Dovecot has finished, and LMTP cannot tell an MTA that did not get the
    // answer.
    assert!(encrypt.twice <= keep.twice + 2, "{encrypt:?} {keep:?}");
}

/// The message may come in through a file.
#[test]
fn a_delivery_that_is_killed() {
    let plan = Plan { kinds: WRITE | SYNC | NAME | REMOVE, action: KILL, ..Plan::default() };
    assert_safe(plan, &larger_by(2));
}

#[test]
fn no_more_descriptors() {
    let plan = Plan { kinds: OPEN, action: libc::EMFILE.into(), ..Plan::default() };
    assert_safe(plan, &large());
    assert_safe(Plan { stays: true, ..plan }, &large());
}

#[test]
fn a_full_disk() {
    let plan = Plan { kinds: WRITE | NAME, action: libc::ENOSPC.into(), ..Plan::default() };
    assert_safe(plan, &large());
    assert_safe(Plan { stays: true, ..plan }, &large());
}

#[test]
fn a_broken_disk() {
    let kinds = OPEN | READ | WRITE | SYNC | NAME | STAT;
    let plan = Plan { kinds, action: libc::EIO.into(), ..Plan::default() };
    assert_safe(plan, &large());
    assert_safe(Plan { stays: true, ..plan }, &large());
}

/// When Dovecot does not tell the size of the encrypted message, flags, keywords and date cannot be set. The script goes on
/// with that message all the same, and so does the log.
#[test]
fn what_belongs_to_the_message_and_cannot_be_set() {
    let faulty = Faulty::start(&script("", "encrypt;"));
    let message = large();
    let mut session = faulty.connect();
    faulty.accept(&mut session, &message);
    faulty.take_encrypted(&message, &faulty.key);
    for at in 1.. {
        let plan = Plan { kinds: STAT, at, action: libc::EIO.into(), ..Plan::default() };
        let answer = deliver(&mut session, &message, || faulty.set(plan));
        let reached = faulty.count() >= at;
        faulty.set(Plan::default());
        if answer.starts_with("250 ") {
            faulty.take_encrypted(&message, &faulty.key);
        } else {
            assert!(answer.starts_with("451 "), "{at}: {answer}\n{}", faulty.dovecot.log());
            assert_eq!(faulty.take(|_| {}), 0, "{at}: {answer}");
        }
        if !reached {
            break;
        }
    }
    let warning = "encrypt: flags, keywords and date are not those of the message as it was: ";
    let warned = faulty.dovecot.log_line(&["Warning: ", warning]);
    let log = faulty.dovecot.log();
    let next = log.lines().skip_while(|line| *line != warned).nth(1);
    assert!(next.is_some_and(|line| line.contains("encrypt: message encrypted: ")), "{log}");
    faulty.dovecot.assert_nowhere(SECRET);
}

// Memory -------------------------------------------------------------------------------------------

/// The limit goes from one with which an lmtp process just starts (without the plugin) to one that is enough.
#[test]
fn too_little_memory() {
    const STEP: usize = 128;
    // It limits memory as `vsz_limit` does, without starting a Dovecot for each value.
    let lmtp = "service lmtp {\n  executable = {dir}/limited\n}\n";
    let config = Config {
        extra_23: format!("{lmtp}service lmtp {{\n  service_count = 1\n}}\n"),
        extra_24: format!("{lmtp}service lmtp {{\n  restart_request_count = 1\n}}\n"),
        ..Config::default()
    };
    let mut dovecot = Dovecot::prepare(&config);
    let limited = dovecot.path("limited");
    let limit = dovecot.path("limit");
    let text = format!("#!/bin/sh\nulimit -v \"$(cat {})\"\nexec /usr/lib/dovecot/lmtp\n", limit.display());
    fs::write(&limited, text).unwrap();
    fs::set_permissions(&limited, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(&limit, "200000").unwrap();
    let key = key_for(ME);
    dovecot.give(ME, "k.asc", &armored(&key));
    dovecot.script(ME, &script("", "encrypt;"));
    dovecot.launch();

    let messages = [message("small"), large()];
    let connect = || Lmtp::connect(&dovecot.path("run/lmtp"));
    // The peak of the process that serves the session.
    let size = || dovecot.most_memory("VmPeak") >> 10;
    let mut session = connect();
    let least = size();
    for message in &messages {
        assert!(session.deliver(&[ME], message).remove(0).starts_with("250 "), "{}", dovecot.log());
    }
    let most = size();
    drop(session);
    assert!(most > least + 1024);
    let (mut taken, mut refused) = (0, 0);
    for kib in (least + 64..most + 2 * STEP).step_by(STEP) {
        fs::write(&limit, kib.to_string()).unwrap();
        let mut session = connect();
        for message in &messages {
            for (_, file) in dovecot.stored_files(ME) {
                fs::remove_file(file).unwrap();
            }
            let answer = session.deliver(&[ME], message).remove(0);
            let stored = dovecot.stored(ME);
            if answer.starts_with("250 ") {
                assert!(decrypt(&dovecot.only_message(ME), &key).ends_with(message));
                taken += 1;
            } else {
                assert!(answer.is_empty() || answer.starts_with('4'), "{kib} KiB: {answer}");
                assert!(stored.is_empty(), "{kib} KiB: {answer}\n{}", dovecot.log());
                refused += 1;
            }
            dovecot.assert_nowhere(SECRET);
            if answer.is_empty() {
                break;
            }
        }
    }
    assert!(taken > 0 && refused > 0, "{least} to {most}: {taken} {refused}\n{}", dovecot.log());
}

// The certificate file -----------------------------------------------------------------------------

/// A change to the certificate file, and its name.
type Change = (&'static str, fn(&Path));

const CHANGES: [Change; 6] = [
    ("removed", |file| fs::remove_file(file).unwrap()),
    ("emptied", |file| fs::write(file, "").unwrap()),
    ("truncated", |file| {
        let size = fs::metadata(file).unwrap().len();
        File::options().write(true).open(file).unwrap().set_len(size / 2).unwrap();
    }),
    ("locked", |file| fs::set_permissions(file, fs::Permissions::from_mode(0o000)).unwrap()),
    ("a folder", |file| {
        fs::remove_file(file).unwrap();
        fs::create_dir(file).unwrap();
    }),
    ("a FIFO", |file| {
        fs::remove_file(file).unwrap();
        assert!(run(Command::new("mkfifo").arg(file)).status.success());
    }),
];

#[test]
fn a_certificate_file_that_changes_during_the_delivery() {
    let faulty = Faulty::start(&script("", "encrypt;"));
    let dovecot = &faulty.dovecot;
    let file = dovecot.home(ME).join("pgp-certs/k.asc");
    let message = message("changing");
    let other = key_for(ME);
    // This process has the file in its cache.
    let mut session = faulty.connect();
    for (name, change) in CHANGES {
        // The file changes while the message comes in.
        faulty.accept(&mut session, &message);
        faulty.take_encrypted(&message, &faulty.key);
        let answer = deliver(&mut session, &message, || change(&file));
        assert!(answer.starts_with("451 "), "{name}: {answer}\n{}", dovecot.log());
        assert_eq!(faulty.take(|_| {}), 0, "{name}");
        restore(&faulty, &file);
        // The file changes just before each opening of the folder or the file.
        for at in 1..=3 {
            faulty.accept(&mut session, &message);
            faulty.take_encrypted(&message, &faulty.key);
            let answer = change_at(&faulty, &mut session, at, &message, || change(&file));
            if answer.starts_with("250 ") {
                faulty.take_encrypted(&message, &faulty.key);
            } else {
                assert!(answer.starts_with("451 "), "{name}: {answer}\n{}", dovecot.log());
                assert_eq!(faulty.take(|_| {}), 0, "{name}");
            }
            restore(&faulty, &file);
        }
    }
    // Another certificate is used from the moment at which it is there.
    let replace = || {
        let new = dovecot.give(ME, "new", &armored(&other));
        fs::rename(new, &file).unwrap();
    };
    faulty.accept(&mut session, &message);
    faulty.take_encrypted(&message, &faulty.key);
    assert!(deliver(&mut session, &message, replace).starts_with("250 "), "{}", dovecot.log());
    faulty.take_encrypted(&message, &other);
    dovecot.assert_nowhere(SECRET);
}

fn restore(faulty: &Faulty, file: &Path) {
    let _ = fs::remove_dir(file).or_else(|_| fs::remove_file(file));
    faulty.dovecot.give(ME, "k.asc", &armored(&faulty.key));
}

/// Delivers a message, and calls a function when a file or folder in the user's source is opened for the nth
/// time.
fn change_at(faulty: &Faulty, session: &mut Lmtp, at: i64, message: &[u8], change: impl Fn()) -> String {
    let plan = Plan { kinds: OPEN, path: "/pgp-certs", at, action: HANG, ..Plan::default() };
    faulty.set(plan);
    std::thread::scope(|scope| {
        let delivery = scope.spawn(|| session.deliver(&[ME], message).remove(0));
        wait_until(|| faulty.count() >= at || delivery.is_finished(), || format!("opening {at}"));
        change();
        faulty.set(Plan::default());
        delivery.join().unwrap()
    })
}

/// What could not be looked at may be what is looked for.
#[test]
fn a_shortage_is_no_reason_to_go_on_with_the_next_source() {
    let faulty = Faulty::start(&script("", "encrypt;"));
    let dovecot = &faulty.dovecot;
    let file = dovecot.certs().join("other.asc");
    fs::write(&file, armored(&key_for(ME))).unwrap();
    let message = message("short");
    for action in [libc::EMFILE, libc::ENOMEM, libc::EIO] {
        let mut deferred = 0;
        for at in 1.. {
            // Each connection has a process of its own, which knows nothing of the folder.
            let mut session = faulty.connect();
            faulty.set(Plan {
                kinds: OPEN,
                path: "/pgp-certs",
                at,
                action: action.into(),
                ..Plan::default()
            });
            let answer = session.deliver(&[ME], &message).remove(0);
            let reached = faulty.count() >= at;
            faulty.set(Plan::default());
            if answer.starts_with("250 ") {
                faulty.take_encrypted(&message, &faulty.key);
            } else {
                assert!(answer.starts_with("451 "), "{action} {at}: {answer}\n{}", dovecot.log());
                assert_eq!(faulty.take(|_| {}), 0, "{action} {at}: {answer}");
                deferred += 1;
            }
            if !reached {
                break;
            }
        }
        assert!(deferred > 1, "{action}: {deferred}");
    }
    // Were it not for the fault, the other certificate would serve when this one is gone.
    fs::remove_file(dovecot.home(ME).join("pgp-certs/k.asc")).unwrap();
    faulty.accept(&mut faulty.connect(), &message);
    dovecot.assert_nowhere(SECRET);
}

// Other faults -------------------------------------------------------------------------------------

#[test]
fn a_folder_that_hangs_keeps_its_user_waiting_and_nobody_else() {
    let faulty = Faulty::start(&script("", "encrypt;"));
    let dovecot = &faulty.dovecot;
    let yours = key_for(YOU);
    dovecot.give(YOU, "k.asc", &armored(&yours));
    dovecot.script(YOU, &script("", "encrypt;"));
    let message = message("hanging");
    let hang = Plan {
        kinds: OPEN,
        path: "me@domain.com/pgp-certs",
        at: 1,
        stays: true,
        action: HANG,
        ..Plan::default()
    };

    for ends in [true, false] {
        faulty.set(hang);
        let answer = std::thread::scope(|scope| {
            let delivery = scope.spawn(|| faulty.connect().deliver(&[ME], &message).remove(0));
            wait_until(|| faulty.count() > 0, || "for the delivery".into());
            let processes = dovecot.lmtp_processes();
            let answer = dovecot.deliver(YOU, &message);
            assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
            assert!(decrypt(&dovecot.only_message(YOU), &yours).ends_with(&message));
            fs::remove_dir_all(dovecot.home(YOU).join("Maildir")).unwrap();
            assert!(!delivery.is_finished());
            if ends {
                faulty.set(Plan::default());
            } else {
                for process in processes {
                    run(Command::new("kill").arg("-9").arg(process.to_string()));
                }
            }
            delivery.join().unwrap()
        });
        faulty.set(Plan::default());
        // It is stored late, or the MTA still has it.
        if ends {
            assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
        } else {
            assert!(answer.is_empty(), "{answer}\n{}", dovecot.log());
            assert_eq!(faulty.take(|_| {}), 0);
            faulty.accept(&mut faulty.connect(), &message);
        }
        faulty.take_encrypted(&message, &faulty.key);
        dovecot.assert_nowhere(SECRET);
    }
}

#[test]
fn a_wrong_clock() {
    const YEAR: i64 = 31_556_952;
    let faulty = Faulty::start(&script("", "encrypt;"));
    let message = message("clock");
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    for (name, then) in [("1970", 86_400), ("2100", 130 * YEAR)] {
        for warm in [false, true] {
            let wrong = || faulty.set(Plan { clock: then - now, ..Plan::default() });
            let mut session;
            if warm {
                session = faulty.connect();
                faulty.accept(&mut session, &message);
                faulty.take_encrypted(&message, &faulty.key);
            } else {
                wrong();
                session = faulty.connect();
            }
            let answer = deliver(&mut session, &message, wrong);
            if answer.starts_with("250 ") {
                faulty.take_encrypted(&message, &faulty.key);
            } else {
                assert!(
                    answer.is_empty() || answer.starts_with("451 "),
                    "{name}: {answer}\n{}",
                    faulty.dovecot.log()
                );
                assert_eq!(faulty.take(|_| {}), 0, "{name}");
            }
            faulty.set(Plan::default());
            faulty.accept(&mut faulty.connect(), &message);
            faulty.take_encrypted(&message, &faulty.key);
        }
    }
    faulty.dovecot.assert_nowhere(SECRET);
}

/// If a file is named after the address, the others are not read. If none is, all are read, and they do not
/// fit in the cache: each message takes seconds (doc/dev/robustness.md), and no more memory than this.
#[test]
fn a_folder_of_a_hundred_thousand_files() {
    const FILES: usize = 100_000;
    const MAX_NAMED: usize = 4 << 20;
    const MAX_ANOTHER: usize = 128 << 20;
    let config = Config { before: Some(script("", "encrypt;")), ..Config::default() };
    let dovecot = Dovecot::start(&config);
    let warm = key_for("warm@t.org");
    dovecot.give("warm@t.org", "k.asc", &armored(&warm));
    // File systems limit the number of links to a file.
    for part in 0..4 {
        let first = dovecot.certs().join(format!("{part}.asc"));
        fs::write(&first, armored(&key_for(&format!("{part}@t.org")))).unwrap();
        for n in 1..FILES / 4 {
            fs::hard_link(&first, dovecot.certs().join(format!("{part}-{n}.asc"))).unwrap();
        }
    }
    let (mine, yours) = (key_for(ME), key_for(YOU));
    fs::write(dovecot.certs().join(format!("{ME}.asc")), armored(&mine)).unwrap();
    fs::write(dovecot.certs().join("another name.asc"), armored(&yours)).unwrap();

    let message = message("crowded");
    let mut session = Lmtp::connect(&dovecot.path("run/lmtp"));
    let mut deliver = |user: &str, key: &Cert| {
        let answer = session.deliver(&[user], &message).remove(0);
        assert!(answer.starts_with("250 "), "{user}: {answer}\n{}", dovecot.log());
        assert!(decrypt(&dovecot.only_message(user), key).ends_with(&message));
        dovecot.most_memory("VmHWM")
    };
    let before = deliver("warm@t.org", &warm);
    let named = deliver(ME, &mine);
    assert!(named <= before + MAX_NAMED, "{named} bytes, and {before} before");
    let another = deliver(YOU, &yours);
    assert!(another <= before + MAX_ANOTHER, "{another} bytes, and {before} before");
    assert_eq!(dovecot.log().matches("encrypt: message encrypted").count(), 3);
    dovecot.assert_nowhere(SECRET);
}
