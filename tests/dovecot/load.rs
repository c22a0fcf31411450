//! Delivers many messages over several connections to users with different certificates. `make soak N=...`
//! delivers more.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::time::Instant;

use sequoia_openpgp::cert::CipherSuite;
use sequoia_openpgp::parse::{PacketParser, PacketParserResult, Parse};
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::{Cert, KeyHandle, Packet};

use crate::{message, script, SECRET};
use perot_testing::dovecot::{files, memory, Config, Dovecot, Lmtp};
use perot_testing::{
    armored, builder, ciphertext, decrypt, encrypt_to, key_for, settings, version6, with_crlf,
};

/// Each user gets an empty mailbox again after so many messages.
const FORGOTTEN: usize = 20;
/// The number of messages, unless `SOAK` sets another.
const MESSAGES: usize = 400;
const CONNECTIONS: usize = 8;
/// Bytes by which a process may grow after the first fifth of the messages, for caches and fragments of the
/// heap. With 100,000 messages, a leak of about 200 bytes for each would exceed them.
const MAX_MORE: usize = 2 << 20;

/// A user: an address, and the keys that mail to it is encrypted to.
struct User {
    address: String,
    keys: Vec<Cert>,
}

/// A connection and its users. No other connection delivers to them, so that each message can be examined.
struct Client {
    number: usize,
    session: Lmtp,
    users: Vec<User>,
}

fn users(dovecot: &Dovecot, client: usize) -> Vec<User> {
    let address = |kind: &str| format!("{kind}{client}@t.org");
    let give = |key: &Cert, name: &str| {
        fs::write(dovecot.certs().join(name).with_extension("asc"), armored(key)).unwrap();
    };
    let (curve, six) = (key_for(&address("curve")), version6(&address("six")));
    let rsa = builder(&address("rsa")).set_cipher_suite(CipherSuite::RSA2k).generate().unwrap().0;
    let of_both = vec![curve.clone(), rsa.clone()];
    let mut users = Vec::new();
    for (kind, key) in [("curve", curve), ("rsa", rsa), ("six", six)] {
        give(&key, &address(kind));
        dovecot.script(&address(kind), &script("", "encrypt;"));
        users.push(User { address: address(kind), keys: vec![key] });
    }
    // The first user has a certificate at home, the mail of the second is for two keys.
    let home = User { address: address("home"), keys: vec![key_for(&address("home"))] };
    dovecot.give(&home.address, "k.asc", &armored(&home.keys[0]));
    dovecot.script(&home.address, &script("", "encrypt;"));
    let both = User { address: address("both"), keys: of_both };
    let recipients = format!("encrypt [\"{}\", \"{}\"];", address("curve"), address("rsa"));
    dovecot.script(&both.address, &script("", &recipients));
    users.extend([home, both]);
    users
}

/// Returns the keys for which a message has encrypted session keys.
fn recipients(ciphertext: &[u8]) -> Vec<KeyHandle> {
    let mut found = Vec::new();
    let mut next = PacketParser::from_bytes(ciphertext).unwrap();
    while let PacketParserResult::Some(parser) = next {
        let Packet::PKESK(pkesk) = &parser.packet else { break };
        found.push(pkesk.recipient().expect("no hidden recipient"));
        next = parser.next().unwrap().1;
    }
    found
}

fn encryption_keys(cert: &Cert) -> Vec<KeyHandle> {
    let policy = StandardPolicy::new();
    let valid = cert.with_policy(&policy, None).unwrap();
    let keys: Vec<_> = valid.keys().for_transport_encryption().for_storage_encryption().collect();
    keys.iter().map(|key| key.key().key_handle()).collect()
}

/// Makes message `n`. Sizes differ.
fn numbered(n: usize) -> Vec<u8> {
    let lines = match n / CONNECTIONS % 97 {
        0 => 20_000,
        1..=4 => 4_000,
        5..=25 => 400,
        _ => 4,
    };
    let line = format!("{n}: the {SECRET} sings, and nobody but the owner may hear it.\r\n");
    [message(&n.to_string()), line.repeat(lines).into_bytes()].concat()
}

impl Client {
    /// Delivers message `n`, and checks what is stored. Some messages come encrypted, and must stay as they
    /// are.
    fn deliver(&mut self, dovecot: &Dovecot, n: usize, encrypted: &[u8]) {
        let round = n / CONNECTIONS;
        let user = &self.users[round % self.users.len()];
        let is_encrypted = round % 7 == 6;
        let sent = if is_encrypted {
            [format!("X-Number: {n}\r\n").as_bytes(), encrypted].concat()
        } else {
            numbered(n)
        };
        let answer = self.session.deliver(&[&user.address], &sent).remove(0);
        assert!(answer.starts_with("250 "), "{n} to {}: {answer}\n{}", user.address, dovecot.log());
        let files = dovecot.stored_files(&user.address);
        assert_eq!(files.len(), 1, "{n} to {}: {files:?}", user.address);
        let stored = fs::read(&files[0].1).unwrap();
        fs::remove_file(&files[0].1).unwrap();
        // Dovecot goes on counting a message whose file is gone: its lists would grow with each one, and its work with them.
        if round / self.users.len() % FORGOTTEN == FORGOTTEN - 1 {
            fs::remove_dir_all(dovecot.home(&user.address).join("Maildir")).unwrap();
        }
        if is_encrypted {
            assert!(with_crlf(&stored).ends_with(&sent), "{n} to {}", user.address);
            return;
        }
        let found = recipients(ciphertext(&stored));
        let wanted: Vec<KeyHandle> = user.keys.iter().flat_map(encryption_keys).collect();
        assert!(
            found.len() == wanted.len() && wanted.iter().all(|key| found.iter().any(|f| f.aliases(key))),
            "{n} to {}: {found:?}, not {wanted:?}",
            user.address
        );
        let key = &user.keys[n % user.keys.len()];
        assert!(decrypt(&stored, key).ends_with(&sent), "{n} to {}", user.address);
    }
}

/// Delivers the messages with these numbers. Each client takes its share.
fn deliver(dovecot: &Dovecot, clients: &mut [Client], numbers: &Range<usize>, encrypted: &[u8]) {
    std::thread::scope(|scope| {
        for client in clients {
            let first = numbers.start.next_multiple_of(CONNECTIONS) + client.number;
            let mine = (first..numbers.end).step_by(CONNECTIONS);
            scope.spawn(move || mine.for_each(|n| client.deliver(dovecot, n, encrypted)));
        }
    });
}

/// Returns resident memory in bytes and the number of descriptors for each process.
fn resources(dovecot: &Dovecot) -> BTreeMap<u32, (usize, usize)> {
    let of = |process| {
        let descriptors = fs::read_dir(format!("/proc/{process}/fd")).ok()?.count();
        Some((process, (memory(process, "VmRSS")?, descriptors)))
    };
    dovecot.lmtp_processes().into_iter().filter_map(of).collect()
}

#[test]
fn each_message_is_stored_once_and_for_its_owner_only() {
    let messages = std::env::var("SOAK").map_or(MESSAGES, |n| n.parse().expect("SOAK is a number"));
    // The processes serve more than one connection.
    let config = Config {
        extra_24: "service lmtp {\n  restart_request_count = unlimited\n}\n".into(),
        ..Config::default()
    };
    let dovecot = Dovecot::start(&config);
    let mut clients: Vec<Client> = (0..CONNECTIONS)
        .map(|number| {
            let users = users(&dovecot, number);
            Client { number, session: Lmtp::connect(&dovecot.path("run/lmtp")), users }
        })
        .collect();
    let other = armored(&key_for("other@t.org"));
    let encrypted = encrypt_to(&settings(&[]), &[&other], &message("encrypted")).unwrap().1;

    let begin = Instant::now();
    let warm = (messages / 5).next_multiple_of(CONNECTIONS);
    deliver(&dovecot, &mut clients, &(0..warm), &encrypted);
    let before = resources(&dovecot);
    deliver(&dovecot, &mut clients, &(warm..messages), &encrypted);
    let after = resources(&dovecot);
    let seconds = begin.elapsed().as_secs_f64();

    println!("{messages} messages in {seconds:.0} s over {CONNECTIONS} connections.");
    println!(
        "Memory of each process in bytes, and its descriptors, after {warm} messages: {:?}",
        before.values()
    );
    println!("After all of them: {:?}", after.values());
    // A new process may have served only the check that Dovecot is up.
    let both = after.iter().filter_map(|(process, now)| Some((*now, *before.get(process)?)));
    assert!(both.clone().count() >= CONNECTIONS);
    for ((memory, descriptors), (memory_before, descriptors_before)) in both {
        assert!(memory <= memory_before + MAX_MORE, "{memory} bytes, and {memory_before} before");
        assert!(
            descriptors <= descriptors_before,
            "{descriptors} descriptors, and {descriptors_before} before"
        );
    }
    assert!(files(&dovecot.path("tmp")).is_empty());
    dovecot.assert_nowhere(SECRET);
}
