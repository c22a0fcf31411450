//! Checks that large messages take no more memory than small ones.

use std::fs;

use crate::{assert_nothing_stored, message, script, slow_field, slow_tests, SECRET};
use perot_testing::dovecot::{Config, Dovecot, Lmtp};
use perot_testing::{armored, base64_lines, decrypt, key_for};

const ME: &str = "me@domain.com";
const MIB: usize = 1 << 20;
/// The bytes that a message of 100 MiB may take beyond one of 10 KiB: far less than its size, and room for
/// the buffers of Dovecot.
const MAX_MORE: usize = 32 * MIB;

/// Delivers a small message and then `big` with one process. Returns the answer, and the growth of its
/// memory.
fn growth(dovecot: &Dovecot, big: &[u8]) -> (String, usize) {
    let mut session = Lmtp::connect(&dovecot.path("run/lmtp"));
    let small = [message("small"), vec![b'x'; 10 << 10]].concat();
    assert!(session.deliver(&[ME], &small).remove(0).starts_with("250 "), "{}", dovecot.log());
    let before = dovecot.most_memory("VmHWM");
    fs::remove_dir_all(dovecot.home(ME).join("Maildir")).unwrap();
    let answer = session.deliver(&[ME], big).remove(0);
    (answer, dovecot.most_memory("VmHWM").saturating_sub(before))
}

fn lines(size: usize) -> Vec<u8> {
    b"A line of a large message, as long as lines are that base64 makes of things.\r\n".repeat(size / 78)
}

fn dovecot() -> (Dovecot, sequoia_openpgp::Cert) {
    with(&Config::default())
}

fn with(config: &Config) -> (Dovecot, sequoia_openpgp::Cert) {
    let dovecot = Dovecot::start(config);
    let key = key_for(ME);
    dovecot.give(ME, "k.asc", &armored(&key));
    dovecot.script(ME, &script("", "encrypt;"));
    (dovecot, key)
}

#[test]
fn a_hundred_mebibytes_take_no_more_memory() {
    let (dovecot, key) = dovecot();
    let big = [message("big"), lines(100 * MIB)].concat();
    let (answer, more) = growth(&dovecot, &big);
    assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
    assert!(decrypt(&dovecot.only_message(ME), &key).ends_with(&big));
    dovecot.assert_nowhere(SECRET);
    println!("{} KiB more", more >> 10);
    assert!(more <= MAX_MORE, "{} MiB more", more / MIB);
}

#[test]
fn nor_if_they_are_compressed() {
    let (dovecot, key) = with(&Config { plugin: vec![("compress", "yes".into())], ..Config::default() });
    let mut attachment = vec![0; 75 * MIB];
    sequoia_openpgp::crypto::random(&mut attachment).unwrap();
    let big = [message("big"), base64_lines(&attachment)].concat();
    let (answer, more) = growth(&dovecot, &big);
    assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
    let stored = dovecot.only_message(ME);
    assert!(decrypt(&stored, &key).ends_with(&big));
    assert!(stored.len() < big.len() / 100 * 106, "{} of {} bytes", stored.len(), big.len());
    println!("{} KiB more", more >> 10);
    assert!(more <= 2 * MIB, "{} KiB more", more >> 10);
}

/// Makes a message that looks encrypted up to its last line, or to its end.
fn claims_to_be_encrypted(end: &str) -> Vec<u8> {
    use base64::Engine;
    // A PKESK of one byte, then an SEIPD packet of 64 MiB.
    let size = 64 * MIB;
    let mut packets = vec![0xc1, 1, 3, 0xd2, 0xff];
    packets.extend(u32::try_from(size).unwrap().to_be_bytes());
    packets.push(1);
    packets.resize(packets.len() + size - 1, 7);
    let base64 = base64::engine::general_purpose::STANDARD.encode(packets);
    let mut text = b"From: a@example.net\r\nMIME-Version: 1.0\r\nContent-Type: multipart/encrypted; boundary=b;\r\n \
        protocol=\"application/pgp-encrypted\"\r\n\r\n--b\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n\
        --b\r\nContent-Type: application/octet-stream\r\n\r\n-----BEGIN PGP MESSAGE-----\r\n\r\n"
        .to_vec();
    for line in base64.as_bytes().chunks(64) {
        text.extend_from_slice(line);
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"-----END PGP MESSAGE-----\r\n--b--\r\n");
    text.extend_from_slice(end.as_bytes());
    text
}

#[test]
fn nor_does_a_message_that_claims_to_be_encrypted() {
    let (dovecot, key) = dovecot();
    let big = claims_to_be_encrypted(&format!("{SECRET}\r\n"));
    let (answer, more) = growth(&dovecot, &big);
    assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
    assert!(decrypt(&dovecot.only_message(ME), &key).ends_with(&big));
    dovecot.assert_nowhere(SECRET);
    assert!(more <= MAX_MORE, "{} MiB more", more / MIB);
}

#[test]
fn nor_does_one_that_is() {
    let (dovecot, _) = dovecot();
    let (answer, more) = growth(&dovecot, &claims_to_be_encrypted(""));
    assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
    dovecot.log_line(&["it is encrypted already"]);
    assert!(more <= MAX_MORE, "{} MiB more", more / MIB);
}

/// After a script that has taken too much time, Pigeonhole delivers in clear.
#[test]
fn a_message_that_takes_too_much_time_is_deferred_by_us() {
    let dovecot = Dovecot::start(&Config {
        plugin_23: "sieve_max_cpu_time = 1s\n".into(),
        extra_24: "sieve_max_cpu_time = 1s\n".into(),
        ..Config::default()
    });
    let key = key_for(ME);
    dovecot.give(ME, "k.asc", &armored(&key));
    // Each layer is larger by a third: no machine is fast enough for all of them.
    dovecot.script(ME, &script("", "encrypt; encrypt :force; encrypt :force; encrypt :force;"));
    let big = [message("slow"), lines(150 * MIB)].concat();
    for _ in 0..2 {
        let answer = dovecot.deliver(ME, &big);
        assert!(answer.starts_with("451 "), "{answer}\n{}", dovecot.log());
        dovecot
            .log_line(&["the message takes more CPU time than a script may take: raise sieve_max_cpu_time"]);
        assert_nothing_stored(&dovecot, ME);
    }
    dovecot.script(ME, &script("", "encrypt;"));
    assert!(dovecot.deliver(ME, &message("small")).starts_with("250 "), "{}", dovecot.log());
    assert!(decrypt(&dovecot.only_message(ME), &key).ends_with(&message("small")));
}

/// Pigeonhole adds up the time of all runs of a script that take more than 1.5 seconds each.
#[test]
fn the_time_of_several_messages_is_not_added_up() {
    let dovecot = Dovecot::start(&Config {
        plugin_23: "sieve_max_cpu_time = 9s\n".into(),
        extra_24: "sieve_max_cpu_time = 9s\n".into(),
        ..Config::default()
    });
    let key = key_for(ME);
    dovecot.give(ME, "k.asc", &armored(&key));
    let big = [slow_field().as_bytes(), &message("slow"), &lines(10 * MIB)].concat();
    let mut session = Lmtp::connect(&dovecot.path("run/lmtp"));
    // The time is noted in the compiled script, which a new script removes.
    let write = |tests| dovecot.script(ME, &script("", &(slow_tests(tests) + "encrypt;")));
    let mut seconds = || {
        let before = dovecot.most_user_time();
        let answer = session.deliver(&[ME], &big).remove(0);
        assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
        dovecot.assert_nowhere(SECRET);
        for (_, file) in dovecot.stored_files(ME) {
            fs::remove_file(file).unwrap();
        }
        dovecot.most_user_time() - before
    };
    // Some of the time goes to receiving the message.
    (2..).find(|&tests| {
        write(tests);
        seconds() > 2.2
    });
    for _ in 0..5 {
        seconds();
    }
    assert!(dovecot.deliver(ME, &message("small")).starts_with("250 "), "{}", dovecot.log());
    dovecot.assert_nowhere(SECRET);
}

#[test]
fn an_endless_header_is_deferred() {
    let (dovecot, _) = dovecot();
    // An endless Subject would not do: Dovecot 2.3 reads that field itself, and its lmtp panics, with and
    // without this plugin.
    let folded = [b"X-Long: x".as_slice(), &b"\r\n nightingale and more of it".repeat(MIB / 2)].concat();
    let one_line = [b"X-Long: ".as_slice(), &b"nightingale".repeat(MIB), b"\r\n\r\nx\r\n"].concat();
    let many = [b"X-A: nightingale\r\n".repeat(MIB), b"\r\nx\r\n".to_vec()].concat();
    let mut session = Lmtp::connect(&dovecot.path("run/lmtp"));
    for message in [folded, one_line, many] {
        let answer = session.deliver(&[ME], &message).remove(0);
        assert!(answer.starts_with("451 "), "{answer}\n{}", dovecot.log());
        dovecot.log_line(&["the header of the message is larger than 10 MiB, which is the most"]);
        assert_nothing_stored(&dovecot, ME);
    }
}
