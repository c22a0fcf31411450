//! Certificate sources as they really are, and as somebody has filled them to keep the server busy. The lmtp processes have
//! 256 MiB of address space, which is the default of Dovecot 2.3.

use std::fs;
use std::path::Path;

use sequoia_openpgp::serialize::SerializeInto;
use sequoia_openpgp::Cert;

use crate::{assert_nothing_stored, message, script, SECRET};
use perot_testing::dovecot::{files, Config, Dovecot, Lmtp};
use perot_testing::{armored, decrypt, key_for, revoked, with_sha1};

const ME: &str = "me@domain.com";
const YOU: &str = "you@domain.com";
/// The first byte of a signature packet (RFC 9580, section 4.2).
const SIGNATURE: u8 = 0xc2;
/// The most that a source of the administrator may hold.
const MAX_CERTIFICATES: u32 = 50_000;
const MAX_BYTES: usize = 64 << 20;

/// Returns a Dovecot whose processes serve one connection each.
fn config() -> Config {
    let limit = "  vsz_limit = 256 M\n}\n";
    Config {
        extra_23: format!("service lmtp {{\n  service_count = 1\n{limit}"),
        extra_24: format!("service lmtp {{\n  restart_request_count = 1\n{limit}"),
        before: Some(script("", "encrypt;")),
        ..Config::default()
    }
}

fn connect(dovecot: &Dovecot) -> Lmtp {
    Lmtp::connect(&dovecot.path("run/lmtp"))
}

fn packets(cert: &Cert) -> Vec<Vec<u8>> {
    let public = cert.clone().strip_secret_key_material();
    public.into_packets().map(|packet| packet.to_vec().unwrap()).collect()
}

/// Fills the folder of a user.
type Fill = fn(&Path, &[Vec<u8>]);

const FULL_HOMES: [(&str, Fill, &str); 4] = [
    (
        "keyring",
        |home, cert| fs::write(home.join("k.pgp"), fill(cert, MAX_BYTES)).unwrap(),
        "more than 1024 KiB",
    ),
    (
        "links",
        |home, cert| {
            fs::write(home.join("k.pgp"), fill(cert, 4 << 20)).unwrap();
            (0..300).for_each(|n| fs::hard_link(home.join("k.pgp"), home.join(format!("{n}.pgp"))).unwrap());
        },
        "more than 1024 KiB",
    ),
    (
        "files",
        |home, cert| (0..300).for_each(|n| fs::write(home.join(format!("{n}.pgp")), cert.concat()).unwrap()),
        "more than 64 files",
    ),
    (
        "signatures",
        |home, cert| {
            // Signatures that do not belong to the primary key in front of them. They differ, but not by what is looked at first.
            let (primary, rest) = cert.split_first().unwrap();
            let first = cert.iter().find(|packet| packet[0] == SIGNATURE).unwrap();
            let mut all = primary.clone();
            for n in 0_u32.. {
                let mut signature = first.clone();
                let last = signature.len() - 4;
                signature[last..].copy_from_slice(&n.to_be_bytes());
                if all.len() + signature.len() + rest.concat().len() > 1 << 20 {
                    break;
                }
                all.extend(signature);
            }
            fs::write(home.join("k.pgp"), [all, rest.concat()].concat()).unwrap();
        },
        "more than 256 signatures of its own",
    ),
];

/// Repeats a certificate.
fn fill(cert: &[Vec<u8>], size: usize) -> Vec<u8> {
    let cert = cert.concat();
    cert.repeat(size / cert.len())
}

/// It is that user's mail that is deferred, in the same transaction and by the same process.
#[test]
fn a_user_who_fills_a_home_hurts_nobody_else() {
    let dovecot = Dovecot::start(&config());
    let key = key_for(YOU);
    dovecot.give(YOU, "k.asc", &armored(&key));
    for (name, fill, why) in FULL_HOMES {
        let user = format!("{name}@t.org");
        // This makes the folder.
        let first = dovecot.give(&user, "x.txt", b"");
        let home = first.parent().unwrap();
        fill(home, &packets(&key_for(&user)));
        files(home).iter().for_each(|file| dovecot.own(file));
        let mut session = connect(&dovecot);
        let before = dovecot.lmtp_processes();
        for recipients in [[&user, YOU], [YOU, &user]] {
            let answers = session.deliver(&recipients, &message(name));
            for (recipient, answer) in recipients.iter().zip(&answers) {
                let expected = if *recipient == YOU { "250 " } else { "451 " };
                assert!(answer.starts_with(expected), "{name}: {answers:?}\n{}", dovecot.log());
            }
            assert!(decrypt(&dovecot.only_message(YOU), &key).ends_with(&message(name)), "{name}");
            fs::remove_dir_all(dovecot.home(YOU).join("Maildir")).unwrap();
        }
        assert!(dovecot.lmtp_processes().iter().any(|process| before.contains(process)), "{name}");
        dovecot.log_line(&["Error: ", &user, "not encrypted, deferred: ", why]);
        assert_nothing_stored(&dovecot, &user);
    }
    assert!(!dovecot.log().contains("Fatal") && !dovecot.log().contains("Panic"), "{}", dovecot.log());
}

/// Makes a keyring of the largest size, in which these certificates are the last. The others have no valid signatures.
fn largest_keyring(last: &[&Cert]) -> Vec<u8> {
    // In front of the creation time there are a header of two bytes, and the version.
    const CREATED: usize = 3;
    let others = MAX_CERTIFICATES - last.len() as u32;
    let last: Vec<u8> = last.iter().flat_map(|cert| packets(cert).concat()).collect();
    let mut model = packets(&key_for("u00000@t.org")).concat();
    let address = perot_testing::find(&model, b"00000").unwrap();
    // A trust packet fills up the rest.
    let each = (MAX_BYTES - last.len()) / others as usize;
    let trust = u16::try_from(each - model.len() - 3).unwrap();
    model.push(0xb1);
    model.extend(trust.to_be_bytes());
    model.resize(each, 0);
    let mut ring = Vec::with_capacity(MAX_BYTES);
    for n in 0..others {
        let begin = ring.len();
        ring.extend_from_slice(&model);
        ring[begin + CREATED..][..4].copy_from_slice(&n.to_be_bytes());
        ring[begin + address..][..5].copy_from_slice(format!("{n:05}").as_bytes());
    }
    ring.extend(last);
    ring
}

/// Returns how many bytes the process with the most has read.
fn bytes_read(processes: &[u32]) -> usize {
    let read = |process: &u32| {
        let counts = fs::read_to_string(format!("/proc/{process}/io")).ok()?;
        counts.lines().find_map(|line| line.strip_prefix("rchar: "))?.parse().ok()
    };
    processes.iter().filter_map(read).max().expect("a process that may be looked at")
}

#[test]
fn the_largest_keyring_is_read_once() {
    /// What a process reads beside it: its configuration, scripts, the index.
    const MAX_BESIDE: usize = 32 << 20;
    let dovecot =
        Dovecot::start(&Config { plugin: vec![("certs", "{dir}/global/ring.pgp".into())], ..config() });
    let (mine, yours) = (key_for(ME), key_for(YOU));
    fs::write(dovecot.path("global/ring.pgp"), largest_keyring(&[&mine, &yours])).unwrap();
    let deliver = |session: &mut Lmtp, user: &str, key: &Cert| {
        let answer = session.deliver(&[user], &message("ring")).remove(0);
        assert!(answer.starts_with("250 "), "{user}: {answer}\n{}", dovecot.log());
        assert!(decrypt(&dovecot.only_message(user), key).ends_with(&message("ring")));
        fs::remove_dir_all(dovecot.home(user).join("Maildir")).unwrap();
    };
    let mut first = connect(&dovecot);
    deliver(&mut first, ME, &mine);
    let processes = dovecot.lmtp_processes();
    let read = bytes_read(&processes);
    assert!(read >= MAX_BYTES - (1 << 20), "{read}");
    deliver(&mut first, YOU, &yours);
    assert!(bytes_read(&processes) < read + MAX_BESIDE);
    // The process that comes after it has the index from a file.
    let mut second = connect(&dovecot);
    let mut others = dovecot.lmtp_processes();
    others.retain(|process| !processes.contains(process));
    deliver(&mut second, YOU, &yours);
    assert!(bytes_read(&others) < MAX_BESIDE, "{}", bytes_read(&others));
    assert!(!dovecot.log().contains("Fatal"), "{}", dovecot.log());
    dovecot.assert_nowhere(SECRET);
}

/// Which certificate is used, and what the log says besides.
#[test]
fn certificates_as_people_have_them() {
    let dovecot = Dovecot::start(&config());
    let utf16 = |text: &[u8]| {
        let text = String::from_utf8(text.to_vec()).unwrap();
        [vec![0xff, 0xfe], text.encode_utf16().flat_map(u16::to_le_bytes).collect()].concat()
    };
    let names = ["weak@t.org", "beside@t.org", "wide@t.org"];
    let keys = [with_sha1(names[0]), key_for(names[1]), key_for(names[2])];
    let [weak, beside, wide] = &keys;
    for (user, file, content) in [
        (names[0], "k.asc", armored(weak)),
        (names[1], "a.asc", armored(&revoked(names[1]))),
        (names[1], "b.asc", armored(beside)),
        (names[1], "beside@t.org.asc", armored(&revoked(names[1]))),
        (names[2], "k.asc", utf16(&armored(wide))),
    ] {
        dovecot.give(user, file, &content);
    }
    let mut session = connect(&dovecot);
    for (user, key) in names.iter().zip(&keys) {
        let answer = session.deliver(&[user], &message("real")).remove(0);
        assert!(answer.starts_with("250 "), "{user}: {answer}\n{}", dovecot.log());
        assert!(decrypt(&dovecot.only_message(user), key).ends_with(&message("real")), "{user}");
    }
    let fingerprint = weak.fingerprint().to_hex();
    let warning =
        format!("certificate {fingerprint} has self-signatures with SHA-1, and is used all the same");
    let remedy = format!("gpg --quick-set-expire {fingerprint} 0 for the primary key");
    dovecot.log_line(&["Warning: ", names[0], &warning, &remedy]);
    dovecot.log_line(&["Info: ", names[1], "message encrypted: ", &keys[1].fingerprint().to_hex()]);
    assert_eq!(dovecot.log().matches("Warning: ").count(), 1, "{}", dovecot.log());
    dovecot.assert_nowhere(SECRET);
}
