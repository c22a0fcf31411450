//! Tests what the mail plugin keeps of a message that a mail program has not yet saved in full: little memory, and no file
//! in clear, whatever becomes of the connection.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use perot_testing::dovecot::{files, patience, peak_memory, wait_until, Config, Dovecot};
use perot_testing::{armored, decrypt, find, key_for};

use sequoia_openpgp::Cert;

use crate::{message, SECRET};

const ME: &str = "me@domain.com";
const MIB: usize = 1 << 20;
/// The bytes that a message of 100 MB may take beyond one of 1 MB.
const MAX_MORE: usize = 4 * MIB;

/// Starts a Dovecot in which one process serves one session after the other. A session begins when the process has
/// ended the one before.
fn start(extra: &str) -> (Dovecot, Cert) {
    let inbox = "namespace inbox {\n  inbox = yes\n  mailbox Sent {\n    auto = create\n  }\n}\n";
    let service = |unlimited: &str| {
        format!("{inbox}service imap {{\n  {unlimited}\n  process_limit = 1\n  client_limit = 1\n}}\n{extra}")
    };
    let dovecot = Dovecot::start(&Config {
        imap_plugins: "perot_encrypt",
        plugin: vec![("saved", "Sent".to_owned())],
        extra_23: service("service_count = 0"),
        extra_24: service("restart_request_count = unlimited"),
        ..Config::default()
    });
    let key = key_for(ME);
    dovecot.give(ME, "k.asc", &armored(&key));
    (dovecot, key)
}

/// An IMAP session that ends when it is dropped, in whatever command it is.
struct Session(BufReader<UnixStream>);

impl Session {
    fn login(dovecot: &Dovecot) -> Self {
        // Dovecot may have started a moment ago, and listens here last.
        let mut stream = None;
        let mut connects = || {
            stream = UnixStream::connect(dovecot.path("run/imap")).ok();
            stream.is_some()
        };
        wait_until(&mut connects, || dovecot.log());
        let stream = stream.unwrap();
        stream.set_read_timeout(Some(patience())).unwrap();
        let mut session = Self(BufReader::new(stream));
        session.line();
        session.send(format!("a LOGIN {ME} test\r\n").as_bytes());
        assert!(session.answer().starts_with("a OK "), "{}", dovecot.log());
        session
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    /// Reads until the command has been answered.
    fn answer(&mut self) -> String {
        loop {
            let line = self.line();
            if line.is_empty() || line.starts_with("a ") {
                return line;
            }
        }
    }

    fn append(&mut self, message: &[u8]) -> String {
        self.send(&command(message));
        self.answer()
    }
}

/// Returns an APPEND of a message.
fn command(message: &[u8]) -> Vec<u8> {
    [format!("a APPEND Sent {{{}+}}\r\n", message.len()).as_bytes(), message, b"\r\n"].concat()
}

fn lines(size: usize) -> Vec<u8> {
    let line = format!("The {SECRET} sings all night long, and sleeps when the day has come, or so.\r\n");
    [message("waits"), line.repeat(size / line.len()).into_bytes()].concat()
}

/// Returns the process that serves the sessions, which the log names at each login.
fn imap_process(dovecot: &Dovecot) -> u32 {
    let log = dovecot.log();
    let number = |text: &str| text.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap();
    let mut processes: Vec<u32> = log.split(" mpid=").skip(1).map(number).collect();
    processes.dedup();
    assert_eq!(processes.len(), 1, "{log}");
    processes[0]
}

/// Returns the files without a name that the process has open. That they have none is the only thing to know them by:
/// what path proc(5) shows for them depends on mounts.
fn unlinked(process: u32) -> Vec<PathBuf> {
    let open = fs::read_dir(format!("/proc/{process}/fd")).unwrap().map(|entry| entry.unwrap().path());
    let has_no_name = |file: &PathBuf| fs::metadata(file).is_ok_and(|m| m.is_file() && m.nlink() == 0);
    open.filter(has_no_name).collect()
}

/// Panics if a file has plaintext, with a name or without.
fn assert_nothing_in_clear(dovecot: &Dovecot, process: u32) {
    dovecot.assert_nowhere(SECRET);
    for path in unlinked(process) {
        let mut content = Vec::new();
        fs::File::open(&path).unwrap().read_to_end(&mut content).unwrap();
        let target = fs::read_link(&path).unwrap();
        assert!(find(&content, SECRET.as_bytes()).is_none(), "plaintext in {}", target.display());
    }
}

#[test]
fn a_hundred_megabytes_take_no_more_memory_and_are_nowhere_in_clear() {
    let (dovecot, key) = start("");
    let mut session = Session::login(&dovecot);
    assert!(session.append(&lines(1_000_000)).contains("[APPENDUID "), "{}", dovecot.log());
    let process = imap_process(&dovecot);
    let before = peak_memory(process).unwrap();

    let big = lines(100_000_000);
    let command = command(&big);
    let half = command.len() / 2;
    session.send(&command[..half]);
    // What has been sent and not yet been read waits in the socket, which is far smaller.
    let sizes: Vec<u64> = unlinked(process).iter().map(|f| fs::metadata(f).unwrap().len()).collect();
    assert!(sizes.iter().any(|&size| size > 40_000_000), "{sizes:?} in {:?}", unlinked(process));
    assert_nothing_in_clear(&dovecot, process);
    session.send(&command[half..]);
    assert!(session.answer().contains("[APPENDUID "), "{}", dovecot.log());

    let more = peak_memory(process).unwrap() - before;
    println!("{} KiB more", more >> 10);
    assert!(more <= MAX_MORE, "{} KiB more", more >> 10);
    assert_nothing_in_clear(&dovecot, process);
    assert!(unlinked(process).is_empty());
    let stored = dovecot.stored(ME);
    assert!(stored
        .iter()
        .any(|(_, message)| message.len() > big.len() && decrypt(message, &key).ends_with(&big)));
}

#[test]
fn a_connection_that_ends_leaves_nothing() {
    const SIZE: usize = 400_000;
    const CHUNK: usize = 128 << 10;
    let (dovecot, key) = start("");
    Session::login(&dovecot);
    let process = imap_process(&dovecot);
    let (message, before) = (lines(SIZE), unlinked(process));
    let append = command(&message);
    let literal = append.len() - message.len() - 2;
    let two = [&append[..append.len() - 2], b" {300000+}\r\n".as_slice(), &message[..200_000]].concat();
    let rows = [5, literal - 2, literal]
        .into_iter()
        .chain([1, 100, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 1, message.len() - 1].map(|k| literal + k))
        .chain([append.len() - 2, append.len() - 1])
        .map(|end| &append[..end])
        .chain([two.as_slice()]);
    for row in rows {
        Session::login(&dovecot).send(row);
    }
    let mut session = Session::login(&dovecot);
    assert_eq!(dovecot.stored(ME).len(), 0, "{}", dovecot.log());
    assert!(files(&dovecot.path("tmp")).is_empty() && unlinked(process) == before);
    assert!(session.append(&message).contains("[APPENDUID "), "{}", dovecot.log());
    assert!(decrypt(&dovecot.only_message(ME), &key).ends_with(&message));
    assert_eq!(imap_process(&dovecot), process);
    dovecot.assert_nowhere(SECRET);
    for fault in ["Panic", "Fatal", "Error"] {
        assert!(!dovecot.log().contains(fault), "{}", dovecot.log());
    }
}

/// A session that waits for news is handed to another process, and goes on in a new one.
#[test]
fn a_session_that_has_slept() {
    let (dovecot, key) = start("imap_hibernate_timeout = 1s\n");
    let mut session = Session::login(&dovecot);
    session.send(b"a SELECT Sent\r\n");
    session.answer();
    session.send(b"a IDLE\r\n");
    let sleeps = || !dovecot.service_processes("imap-hibernate").is_empty();
    wait_until(sleeps, || dovecot.log());
    session.send(b"DONE\r\n");
    assert!(session.answer().starts_with("a OK "), "{}", dovecot.log());
    assert!(session.append(&lines(300_000)).contains("[APPENDUID "), "{}", dovecot.log());
    assert!(decrypt(&dovecot.only_message(ME), &key).ends_with(&lines(300_000)));
    dovecot.assert_nowhere(SECRET);
}
