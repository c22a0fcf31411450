//! Certificate sources: which certificates are found, which are refused, and what is cached.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use perot_encrypt::certs::choose;
use perot_encrypt::certs::chosen::Chosen;
use perot_encrypt::certs::file::{Contents, Limit};
use perot_encrypt::certs::finder::{Finder, Owner};
use perot_encrypt::certs::rules::Sha1;
use perot_encrypt::certs::text::has_wrong_checksum;
use perot_encrypt::deadline::Deadline;

use perot_encrypt::encrypt::Outcome;
use perot_encrypt::recipient::Recipient;
use perot_encrypt::settings::{OnError, Settings, SourcePath, Subkeys};
use perot_testing::{
    armored, armored_secret, builder, encrypt_to, expired, key_for, revoked, revoked_user_id, settings,
};
use sequoia_openpgp::cert::CertBuilder;
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::serialize::SerializeInto;
use sequoia_openpgp::types::{KeyFlags, SignatureType};
use sequoia_openpgp::{Cert, Packet};

const ME: &str = "me@example.org";

/// Returns the fingerprints that a message for `recipient` is encrypted to, or the error.
fn found(settings: &Settings, recipient: &str) -> Result<Vec<String>, String> {
    match encrypt_to(settings, &[recipient.as_bytes()], b"Content-Type: x\r\n\r\n") {
        Ok((Outcome::Encrypted { recipients, .. }, _)) => Ok(recipients),
        Ok((left @ (Outcome::AlreadyEncrypted | Outcome::NoCertificate { .. }), _)) => panic!("{left:?}"),
        Err(why) => Err(why.to_string()),
    }
}

fn hex(key: &Cert) -> String {
    key.fingerprint().to_hex()
}

fn binary(key: &Cert) -> Vec<u8> {
    key.clone().strip_secret_key_material().to_vec().unwrap()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn files_of_all_forms() {
    let keys: Vec<Cert> = (0..8).map(|i| key_for(&format!("u{i}@t.org"))).collect();
    let folder = folder();
    let write = |name: &str, content: &[u8]| fs::write(folder.path().join(name), content).unwrap();
    write("armored.asc", &armored(&keys[0]));
    write("binary.pgp", &binary(&keys[1]));
    write("several.gpg", &[binary(&keys[2]), binary(&keys[3])].concat());
    write(
        "blocks.pub",
        &[b"Two of them:\n".to_vec(), armored(&keys[4]), b"\nand\n".to_vec(), armored(&keys[5])].concat(),
    );
    write("crlf.KEY", &perot_testing::with_crlf(&armored(&keys[6])));
    write("other.txt", &armored(&keys[7]));
    let settings = settings(&[folder.path()]);
    for (i, key) in keys.iter().enumerate().take(7) {
        assert_eq!(found(&settings, &format!("u{i}@t.org")), Ok(vec![hex(key)]), "u{i}");
        assert_eq!(found(&settings, &hex(key)), Ok(vec![hex(key)]), "u{i} by fingerprint");
    }
    let error = found(&settings, "u7@t.org").unwrap_err();
    let place = folder.path().display();
    assert_eq!(
        error,
        format!("no certificate for u7@t.org. Searched: {place} (7 certificates). Put one there, or correct certs")
    );
    // The same files as keyrings.
    for (name, key) in [("armored.asc", &keys[0]), ("several.gpg", &keys[3]), ("blocks.pub", &keys[5])] {
        let keyring = perot_testing::settings(&[&folder.path().join(name)]);
        assert_eq!(found(&keyring, &hex(key)), Ok(vec![hex(key)]), "{name}");
    }
}

#[test]
fn addresses() {
    let folder = folder();
    let key = builder("Me@Example.org").add_userid("Bücher <info@bücher.example>").generate().unwrap().0;
    let second = key_for(ME);
    let detail = key_for("me+work@example.org");
    for (name, key) in [("a.asc", &key), ("b.asc", &second), ("c.asc", &detail)] {
        fs::write(folder.path().join(name), armored(key)).unwrap();
    }
    let settings = settings(&[folder.path()]);
    let mut both = vec![hex(&key), hex(&second)];
    both.sort();
    let both = Ok(both);
    assert_eq!(found(&settings, "ME@EXAMPLE.ORG"), both);
    assert_eq!(found(&settings, "me+lists@example.org"), both);
    assert_eq!(found(&settings, "me+work@example.org"), Ok(vec![hex(&detail)]));
    assert_eq!(found(&settings, "info@xn--bcher-kva.example"), Ok(vec![hex(&key)]));
    for other in ["me@example.com", "+x@example.org", "e@example.org", "\"a@b\"@example.org"] {
        assert!(found(&settings, other).unwrap_err().contains("no certificate for"), "{other}");
    }
}

#[test]
fn the_first_source_wins() {
    let (first, second) = (folder(), folder());
    let (one, two) = (key_for(ME), key_for(ME));
    fs::write(second.path().join("me.asc"), armored(&two)).unwrap();
    let missing = Path::new("/nonexistent/certs");
    let both = settings(&[missing, first.path(), second.path()]);
    assert_eq!(found(&both, ME), Ok(vec![hex(&two)]));
    fs::write(first.path().join("me.asc"), armored(&one)).unwrap();
    assert_eq!(found(&both, ME), Ok(vec![hex(&one)]));
    // One that has expired or cannot be used does not hide a better one, in another source or in the same.
    for worse in [armored(&revoked(ME)), armored(&expired(ME)), armored(&revoked_user_id(ME))] {
        fs::write(first.path().join("me.asc"), &worse).unwrap();
        assert_eq!(found(&both, ME), Ok(vec![hex(&two)]));
        fs::write(first.path().join("other.asc"), armored(&one)).unwrap();
        assert_eq!(found(&both, ME), Ok(vec![hex(&one)]));
        fs::rename(first.path().join("me.asc"), first.path().join("me@example.org.asc")).unwrap();
        assert_eq!(found(&both, ME), Ok(vec![hex(&one)]));
        fs::remove_file(first.path().join("me@example.org.asc")).unwrap();
        fs::remove_file(first.path().join("other.asc")).unwrap();
    }
    // What has expired is better than what cannot be used, wherever it lies, and the first one is taken.
    let late = expired(ME);
    fs::write(first.path().join("me.asc"), armored(&revoked(ME))).unwrap();
    fs::write(second.path().join("me.asc"), armored(&late)).unwrap();
    assert_eq!(found(&both, ME), Ok(vec![hex(&late)]));
    assert_eq!(found(&both, "me+lists@example.org"), Ok(vec![hex(&late)]));
    // All reasons are told.
    fs::write(second.path().join("me.asc"), armored(&revoked_user_id(ME))).unwrap();
    let why = found(&both, ME).unwrap_err();
    assert!(
        why.contains(" is revoked. Put the certificate of")
            || why.contains(" is revoked: put the certificate of"),
        "{why}"
    );
    assert!(
        why.contains("does not count for me@example.org: its User ID with this address is revoked"),
        "{why}"
    );
    // A source that cannot be trusted must not be skipped.
    fs::set_permissions(first.path(), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(found(&both, ME).unwrap_err().contains("everybody may write it"));
}

/// A new process must not have to read thousands of files to find one.
#[test]
fn a_file_named_after_the_address_speaks_for_the_folder() {
    let folder = folder();
    let write = |name: &str, content: &[u8]| fs::write(folder.path().join(name), content).unwrap();
    let settings = settings(&[folder.path()]);
    let (named, second, other) = (key_for(ME), key_for(ME), key_for(ME));
    write("other.asc", &armored(&other));
    // If it does not hold the certificate, its name means nothing.
    write("me@example.org.asc", &armored(&key_for("you@example.org")));
    assert_eq!(found(&settings, ME), Ok(vec![hex(&other)]));
    write("me@example.org.asc", &armored(&named));
    assert_eq!(found(&settings, "Me@Example.ORG"), Ok(vec![hex(&named)]));
    assert_eq!(found(&settings, "me+lists@example.org"), Ok(vec![hex(&named)]));
    // There may be several files of that name, and several certificates in one.
    write("me@example.org.pgp", &binary(&second));
    let mut both = vec![hex(&named), hex(&second)];
    both.sort();
    assert_eq!(found(&settings, ME), Ok(both));
    fs::remove_file(folder.path().join("me@example.org.pgp")).unwrap();
    // The name counts only in searches for the address.
    assert_eq!(found(&settings, &hex(&other)), Ok(vec![hex(&other)]));
    // All copies of the certificate in it count, even those without a User ID.
    let key = revoked(ME);
    let (user_ids, revocations): (Vec<Packet>, Vec<Packet>) = key.clone().into_packets().partition(
        |p| !matches!(p, Packet::Signature(s) if key.primary_key().self_revocations().any(|r| r == s)),
    );
    let revoked = [binary(&Cert::from_packets(user_ids.into_iter()).unwrap()), {
        let primary = Packet::from(key.primary_key().key().clone());
        [primary].iter().chain(&revocations).flat_map(|p| p.to_vec().unwrap()).collect()
    }];
    write("me@example.org.asc", &revoked.concat());
    assert_eq!(found(&settings, ME), Ok(vec![hex(&other)]));
    fs::remove_file(folder.path().join("other.asc")).unwrap();
    assert!(found(&settings, ME).unwrap_err().contains("is revoked"));
    write("other.asc", &armored(&other));
    // A file that cannot be trusted is not read.
    fs::remove_file(folder.path().join("me@example.org.asc")).unwrap();
    std::os::unix::fs::symlink("other.asc", folder.path().join("me@example.org.asc")).unwrap();
    assert_eq!(found(&settings, ME), Ok(vec![hex(&other)]));
    // An address may be longer than the name of a file can be.
    assert_eq!(found(&settings, &format!("me+{}@example.org", "x".repeat(250))), Ok(vec![hex(&other)]));
    // An address cannot lead out of the folder.
    let below = folder.path().join("below");
    fs::create_dir(&below).unwrap();
    let odd = key_for("a/../../other@example.org");
    fs::create_dir(below.join("a")).unwrap();
    write("other@example.org.asc", &armored(&odd));
    assert!(found(&perot_testing::settings(&[&below]), "a/../../other@example.org").is_err());
}

/// The address comes from a script, and with a variable from a message.
#[test]
fn what_is_said_of_a_file_named_after_the_address_is_printable() {
    let folder = folder();
    let address = "a\u{202e}%s@t.org";
    // Nobody has signed this User ID, so the certificate is not used.
    let user_id = Packet::from(sequoia_openpgp::packet::UserID::from(format!("<{address}>")));
    let claiming = [binary(&key_for("b@t.org")), user_id.to_vec().unwrap()].concat();
    fs::write(folder.path().join(format!("{address}.pgp")), claiming).unwrap();
    let error = found(&settings(&[folder.path()]), address).unwrap_err();
    assert!(
        error.contains("does not count for a?%s@t.org: its User ID with this address has no self-sig"),
        "{error}"
    );
}

#[test]
fn changes_are_seen_at_once() {
    let folder = folder();
    let file = folder.path().join("me.asc");
    let settings = settings(&[folder.path()]);
    let keyring = folder.path().join("ring.x");
    let ring = perot_testing::settings(&[&keyring]);
    assert!(found(&settings, ME).is_err() && found(&ring, ME).is_err());
    for _ in 0..3 {
        let key = key_for(ME);
        fs::write(&file, armored(&key)).unwrap();
        fs::write(&keyring, armored(&key)).unwrap();
        assert_eq!(found(&settings, ME), Ok(vec![hex(&key)]));
        assert_eq!(found(&ring, ME), Ok(vec![hex(&key)]));
    }
    // The file is changed in place, and has another address now.
    let other = key_for("other@example.org");
    fs::write(&file, armored(&other)).unwrap();
    assert_eq!(found(&settings, "other@example.org"), Ok(vec![hex(&other)]));
    assert!(found(&settings, ME).is_err());
    fs::remove_file(&file).unwrap();
    assert!(found(&settings, "other@example.org").is_err());
}

#[test]
fn a_shared_certificate_directory_answers_to_fingerprints_only() {
    let folder = folder();
    let key = key_for(ME);
    let name = hex(&key).to_lowercase();
    fs::create_dir(folder.path().join(&name[..2])).unwrap();
    fs::write(folder.path().join(&name[..2]).join(&name[2..]), binary(&key)).unwrap();
    let settings = settings(&[folder.path()]);
    assert_eq!(found(&settings, &hex(&key)), Ok(vec![hex(&key)]));
    assert!(found(&settings, ME).is_err());
    // A file that is named after another certificate does not become that certificate.
    fs::write(folder.path().join(&name[..2]).join(&name[2..]), binary(&key_for(ME))).unwrap();
    assert!(found(&settings, &hex(&key)).is_err());
}

#[test]
fn a_revocation_holds_wherever_it_stands() {
    let key = revoked(ME);
    let revocation = key.primary_key().self_revocations().next().unwrap().clone();
    let without = Cert::from_packets(
        key.clone().into_packets().filter(|p| !matches!(p, Packet::Signature(s) if *s == revocation)),
    )
    .unwrap();
    let folder = folder();
    let settings = settings(&[folder.path()]);
    fs::write(folder.path().join("old.asc"), armored(&without)).unwrap();
    assert_eq!(found(&settings, ME), Ok(vec![hex(&key)]));
    // The revocation is in a second copy of the certificate.
    fs::write(folder.path().join("revoked.asc"), armored(&key)).unwrap();
    assert!(found(&settings, ME).unwrap_err().contains("is revoked"));
    fs::remove_file(folder.path().join("revoked.asc")).unwrap();
    // The revocation is in a copy from which a key server has removed the User IDs.
    let stripped =
        Cert::from_packets(key.clone().into_packets().filter(|p| !matches!(p, Packet::UserID(_)))).unwrap();
    fs::write(folder.path().join("stripped.asc"), armored(&stripped)).unwrap();
    assert!(found(&settings, ME).unwrap_err().contains("is revoked"));
    fs::remove_file(folder.path().join("stripped.asc")).unwrap();
    assert_eq!(found(&settings, ME), Ok(vec![hex(&key)]));
    // A revocation of the User ID is first in a wrong place, then in the right one.
    let packets: Vec<Packet> = revoked_user_id(ME).strip_secret_key_material().into_packets().collect();
    let is_one = |packet: &&Packet| matches!(packet, Packet::Signature(s) if s.typ() == SignatureType::CertificationRevocation);
    let (primary, rest) = packets.split_first().unwrap();
    let misplaced = rest.iter().find(is_one).unwrap();
    let twice: Vec<u8> =
        [primary, misplaced].into_iter().chain(rest).flat_map(|packet| packet.to_vec().unwrap()).collect();
    let ring = folder.path().join("twice.x");
    fs::write(&ring, twice).unwrap();
    let why = found(&perot_testing::settings(&[&ring]), ME).unwrap_err();
    assert!(why.contains("its User ID with this address is revoked"), "{why}");
    // The revocation is appended to the file.
    let appended = [binary(&without), Packet::from(revocation).to_vec().unwrap()].concat();
    fs::remove_file(folder.path().join("old.asc")).unwrap();
    fs::write(folder.path().join("old.pgp"), appended).unwrap();
    assert!(found(&settings, ME).unwrap_err().contains("is revoked"));
}

/// The columns: the years for which a certificate and each of its encryption subkeys are valid, the subkeys
/// that are used, whether it has expired, and the year in which it ends. It is 6.5 years old.
#[test]
fn subkeys_that_are_alive_are_used_or_the_last_that_were() {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    let now = SystemTime::now();
    let created = now - YEAR * 13 / 2;
    for (primary, subkeys, used, expired, ends) in [
        (None, &[Some(7), None, Some(1)][..], &[0, 1][..], false, None),
        (None, &[Some(7), Some(9)], &[0, 1], false, Some(9)),
        (Some(8), &[Some(7), None], &[0, 1], false, Some(8)),
        (None, &[Some(3), Some(5), Some(5)], &[1, 2], true, Some(5)),
        // The certificate as a whole has expired.
        (Some(2), &[Some(1), Some(9)], &[1], true, Some(2)),
        (Some(2), &[Some(7), Some(1), Some(9)], &[0, 2], true, Some(2)),
        (Some(2), &[Some(1)], &[0], true, Some(1)),
    ] {
        let years = |n: Option<u32>| n.map(|n| YEAR * n);
        let mut builder = CertBuilder::new().add_userid(ME).set_creation_time(created);
        builder = builder.set_validity_period(years(primary));
        for &valid in subkeys {
            // CertBuilder gives a subkey without a period of its own that of the certificate. 99 years stand
            // for none.
            let valid = years(valid.or(primary.map(|_| 99)));
            builder = builder.add_subkey(KeyFlags::empty().set_transport_encryption(), valid, None);
        }
        let cert = builder.generate().unwrap().0;
        let keys = choose::choose(&cert, now, Sha1::Accepted, Subkeys::All).unwrap();
        // Their order is not known, so they are told apart by their end.
        let years = |end: SystemTime| {
            ((end.duration_since(created).unwrap() + YEAR / 2).as_secs() / YEAR.as_secs()) as u32
        };
        let end_of = |key: &choose::EncryptionKey| {
            let policy = StandardPolicy::new();
            let mut all = cert.keys().subkeys().with_policy(&policy, now);
            let found = all.find(|k| k.key().fingerprint() == key.fingerprint()).unwrap();
            found.key_expiration_time().map(years)
        };
        let mut chosen: Vec<Option<u32>> = keys.keys.iter().map(end_of).collect();
        let mut expected: Vec<Option<u32>> =
            used.iter().map(|&n: &usize| subkeys[n].or(primary.map(|_| 99))).collect();
        chosen.sort_unstable();
        expected.sort_unstable();
        assert_eq!(chosen, expected, "{primary:?} {subkeys:?}");
        assert_eq!(keys.expired.is_some(), expired, "{primary:?} {subkeys:?}");
        assert_eq!(keys.expires.map(years), ends, "{primary:?} {subkeys:?}");
    }
}

#[test]
fn expired_and_secret_ones_are_used() {
    let folder = folder();
    let settings = settings(&[folder.path()]);
    let late = expired(ME);
    fs::write(folder.path().join("me.asc"), armored(&late)).unwrap();
    assert_eq!(found(&settings, ME), Ok(vec![hex(&late)]));
    let secret = key_for("secret@example.org");
    fs::write(folder.path().join("secret.asc"), armored_secret(&secret)).unwrap();
    assert_eq!(found(&settings, "secret@example.org"), Ok(vec![hex(&secret)]));
}

/// Hostile files are refused or read in a time that nobody notices.
#[test]
fn hostile_files() {
    let key = key_for(ME);
    let packets: Vec<Packet> = key.clone().strip_secret_key_material().into_packets().collect();
    let (primary, rest) = packets.split_first().unwrap();
    let signature = packets.iter().find(|p| matches!(p, Packet::Signature(_))).unwrap();
    let bytes = |packets: &[&Packet]| packets.iter().flat_map(|p| p.to_vec().unwrap()).collect::<Vec<u8>>();
    let flood = |count: usize| {
        let mut data = bytes(&[primary]);
        for n in 0..count as u32 {
            // Signatures that differ, but not by what is checked first.
            let mut signature = signature.to_vec().unwrap();
            let last = signature.len() - 4;
            signature[last..].copy_from_slice(&n.to_be_bytes());
            data.extend(signature);
        }
        rest.iter().for_each(|p| data.extend(p.to_vec().unwrap()));
        data
    };
    let user_ids: Vec<u8> = (0..2000)
        .flat_map(|i| {
            Packet::from(sequoia_openpgp::packet::UserID::from(format!("u{i}@t.org"))).to_vec().unwrap()
        })
        .collect();
    // Each of the addresses was compared with all others: it took a minute.
    let addresses: String = (0..100_000).map(|n| format!("<{n:05}@e>")).collect();
    let user_id = Packet::from(sequoia_openpgp::packet::UserID::from(addresses)).to_vec().unwrap();
    let folder = folder();
    let settings = settings(&[folder.path()]);
    for (what, data, refused) in [
        ("misplaced signatures", flood(1500), "more than 256 signatures of its own"),
        ("a certificate of more than 1 MiB", flood(20_000), "is larger than 1024 KiB: export it anew"),
        (
            "User IDs without end",
            [bytes(&packets.iter().collect::<Vec<_>>()), user_ids].concat(),
            "more than 256 User IDs",
        ),
        ("a User ID with addresses without end", [bytes(&[primary]), user_id].concat(), "no certificate for"),
        (
            "random packets",
            (0..100_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8 | 0x80).collect(),
            "x.pgp: it ",
        ),
        ("no key", bytes(&[signature]), "it holds no certificate"),
        ("a message", [0xd2, 3, 1, 2, 3].to_vec(), "it holds no certificate"),
        ("a half", binary(&key)[..200].to_vec(), "its packets do not fit together"),
    ] {
        fs::write(folder.path().join("x.pgp"), &data).unwrap();
        let begin = Instant::now();
        let result = found(&settings, ME);
        // The limit is generous: such files used to take minutes, not seconds.
        assert!(begin.elapsed() < Duration::from_secs(20), "{what} took {:?}", begin.elapsed());
        let why = result.expect_err(what);
        assert!(why.contains(refused), "{what}: {why}");
    }
    fs::remove_file(folder.path().join("x.pgp")).unwrap();
    for (what, name) in [("a folder", "d.asc"), ("a device", "l.asc")] {
        match what {
            "a folder" => fs::create_dir(folder.path().join(name)).unwrap(),
            _ => std::os::unix::fs::symlink("/dev/zero", folder.path().join(name)).unwrap(),
        }
        assert!(found(&settings, ME).unwrap_err().contains("no certificate for me@example.org"), "{what}");
    }
    assert!(found(&perot_testing::settings(&[Path::new("/dev/zero")]), ME)
        .unwrap_err()
        .contains("/dev/zero: "));
}

/// RFC 9580 has readers ignore a wrong checksum, which happens at delivery. The author of a script is told.
#[test]
fn a_wrong_checksum_is_noticed_and_overlooked() {
    let key = key_for(ME);
    let good = String::from_utf8(armored(&key)).unwrap().replace("\r\n", "\n");
    let at = good.rfind("\n=").expect("a checksum") + 1;
    let end = good.find("-----END").unwrap();
    let wrong = [&good[..at], "=AAAA\n", &good[end..]].concat();
    let without = [&good[..at], &good[end..]].concat();
    for (what, text, is_wrong) in [
        ("as exported", good.clone(), false),
        ("with CR LF", good.replace('\n', "\r\n"), false),
        ("another checksum", wrong.clone(), true),
        ("behind one that fits", [good.as_str(), &wrong].concat(), true),
        ("no checksum", without, false),
    ] {
        assert_eq!(has_wrong_checksum(text.as_bytes()), is_wrong, "{what}");
        assert_eq!(found(&settings(&[]), &text), Ok(vec![hex(&key)]), "{what}");
    }
}

#[test]
fn a_quoted_local_part_in_a_certificate_spoils_nothing() {
    let folder = folder();
    let odd = builder("x@t.org").add_userid("Odd <\"a@b\"@t.org>").generate().unwrap().0;
    fs::write(folder.path().join("odd.asc"), armored(&odd)).unwrap();
    let key = key_for(ME);
    fs::write(folder.path().join("me.asc"), armored(&key)).unwrap();
    assert_eq!(found(&settings(&[folder.path()]), ME), Ok(vec![hex(&key)]));
}

/// It does not keep the certificates beside it from being found.
#[test]
fn a_file_with_a_key_of_another_kind_is_told() {
    let (good, mut other) = (key_for("good@t.org"), binary(&key_for("other@t.org")));
    // This is the version of the primary key, after the packet header (RFC 9580, section 4.2.1).
    let at = if other[1] < 192 { 2 } else { 3 };
    assert_eq!(other[at], 4);
    other[at] = 99;
    let home = folder();
    fs::create_dir(home.path().join("pgp-certs")).unwrap();
    fs::write(home.path().join("pgp-certs/both.pgp"), [binary(&good), other].concat()).unwrap();
    let settings = Settings { sources: vec![SourcePath::Home("pgp-certs".into())], ..settings(&[]) };
    let owner = Owner { user: "good", recipient: None, home: home.path().to_str() };
    let finder = Finder {
        settings: &settings,
        owner,
        now: SystemTime::now(),
        deadline: Deadline::NONE,
        temp_dir: None,
        log: &(),
    };
    let problem = "both.pgp: it has a primary key of a version or algorithm that is not supported";
    let fingerprints =
        |found: Vec<Chosen>| found.iter().map(|k| k.fingerprint().to_owned()).collect::<Vec<_>>();
    assert_eq!(fingerprints(finder.owner().unwrap()), [hex(&good)]);
    let address = |address: &str| finder.find(&Recipient::Address(address.into()));
    assert_eq!(fingerprints(address("good@t.org").unwrap()), [hex(&good)]);
    assert!(address("other@t.org").unwrap_err().to_string().contains(problem));
    let listing = finder.list(&settings.sources[0]).unwrap();
    assert_eq!(listing.certs.len(), 1);
    assert_eq!(listing.problems, [problem]);
}

/// 500 signatures of such a key took seconds to check.
#[test]
#[allow(deprecated)] // because of DSA
fn a_key_of_huge_numbers_is_refused() {
    use sequoia_openpgp::crypto::mpi::{PublicKey, MPI};
    use sequoia_openpgp::packet::key::{Key4, PrimaryRole, PublicParts};
    use sequoia_openpgp::types::PublicKeyAlgorithm;

    let number = |bytes: usize| MPI::new(&vec![0xff; bytes]);
    let dsa = |size| PublicKey::DSA { p: number(size), q: number(32), g: number(size), y: number(size) };
    for (what, algorithm, numbers, refused) in [
        ("RSA", PublicKeyAlgorithm::RSAEncryptSign, PublicKey::RSA { e: number(4), n: number(384) }, false),
        (
            "RSA exponent",
            PublicKeyAlgorithm::RSAEncryptSign,
            PublicKey::RSA { e: number(5), n: number(384) },
            true,
        ),
        ("DSA", PublicKeyAlgorithm::DSA, dsa(384), false),
        ("large DSA", PublicKeyAlgorithm::DSA, dsa(385), true),
    ] {
        let key: Key4<PublicParts, PrimaryRole> = Key4::new(SystemTime::now(), algorithm, numbers).unwrap();
        let data = Packet::PublicKey(key.into()).to_vec().unwrap();
        let mut limit = Limit::new(9, &Deadline::NONE);
        let contents = Contents::read(&mut std::io::Cursor::new(data), &mut limit).unwrap();
        let why = contents.problems.first().map(|problem| problem.why.clone());
        let expected = "it has a primary key made of larger numbers than any in use: make a new key";
        assert_eq!(why, refused.then(|| expected.to_owned()), "{what}");
    }
}

#[test]
fn a_literal_stands_for_16_certificates_at_most() {
    let literal = |count| (0..count).flat_map(|_| armored(&key_for(ME))).collect::<Vec<u8>>();
    let settings = settings(&[]);
    let text = |count| String::from_utf8(literal(count)).unwrap();
    assert_eq!(found(&settings, &text(16)).unwrap().len(), 16);
    assert_eq!(
        found(&settings, &text(17)).unwrap_err(),
        "the certificate given cannot be used: 17 certificates for one recipient, and 16 is the most: remove old ones"
    );
}

/// There is neither an address nor a home: `sieve-filter` for a system user, or a userdb without homes.
#[test]
fn what_is_said_when_it_is_not_known_who_the_owner_is() {
    let home = folder();
    fs::create_dir(home.path().join("pgp-certs")).unwrap();
    let sources = vec![SourcePath::Home("pgp-certs".into()), SourcePath::Home("none".into())];
    let settings = Settings { sources, ..settings(&[]) };
    let said = |home: Option<&str>, recipient: Option<&str>| {
        let owner = Owner { user: "me", recipient, home };
        Finder {
            settings: &settings,
            owner,
            now: SystemTime::now(),
            deadline: Deadline::NONE,
            temp_dir: None,
            log: &(),
        }
        .owner()
        .unwrap_err()
        .to_string()
    };
    let path = home.path().display();
    assert_eq!(
        said(home.path().to_str(), None),
        format!(
            "the user name me is no address, there is no envelope, and below the home directory there is not one certificate \
             but 0: {path}/pgp-certs (no certificate), {path}/none (not there). Name the recipient, or set cert"
        )
    );
    assert!(said(home.path().to_str(), Some("me")).starts_with(
        "the user name me is no address, nor is the recipient me of the envelope, and below the home directory"
    ));
    assert_eq!(
        said(None, Some(ME)),
        "no certificate for me@example.org. Searched: ~/pgp-certs (the user has no home directory), ~/none (the user has no \
         home directory). Put one there, or correct certs"
    );
}

/// Mail is not left in clear for one of them. Of very many, it is not known any more whose they are.
#[test]
fn an_owner_whose_certificate_is_one_of_many_that_cannot_be_used() {
    let folder = folder();
    let unknown = |address: &str| {
        let mut cert = binary(&key_for(address));
        // This is the version of the primary key, as above.
        let at = if cert[1] < 192 { 2 } else { 3 };
        cert[at] = 99;
        cert
    };
    let settings = Settings { on_no_certificate: OnError::Keep, ..settings(&[folder.path()]) };
    let finder = Finder {
        settings: &settings,
        owner: Owner { user: ME, ..Owner::default() },
        now: SystemTime::now(),
        deadline: Deadline::NONE,
        temp_dir: None,
        log: &(),
    };
    for (others, mine, is_kept) in [(64, false, true), (64, true, false), (1, true, false), (0, true, false)]
    {
        let mut ring: Vec<u8> = (0..others).flat_map(|n| unknown(&format!("u{n}@t.org"))).collect();
        if mine {
            ring.extend(unknown(ME));
        }
        fs::write(folder.path().join("ring.pgp"), ring).unwrap();
        let left = finder.left_without(finder.owner().unwrap_err());
        assert_eq!(left.is_ok(), is_kept, "{others} {mine}: {left:?}");
    }
}

/// With `on_no_certificate = keep`, mail is left in clear only for an owner who has brought nothing. Whatever may be the
/// owner's certificate keeps it from that.
#[test]
fn an_owner_without_a_certificate() {
    let me = |user: &str| {
        let key = key_for(user);
        armored(&key)
    };
    let damaged = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nnonsense\n".to_vec();
    let claimed = armored(&revoked_user_id(ME));
    let other = "you@example.org";
    // The name of a file, its content, and what is said of it. The folder is the owner's if it is below the home.
    for (name, content, doubt) in [
        ("shared/you.asc", me(other), None),
        ("shared/you@example.org.asc", damaged.clone(), None),
        ("shared/me@example.org.txt", damaged.clone(), None),
        ("home/pgp-certs/.hidden", b"put your certificate here".to_vec(), None),
        ("home/pgp-certs/key.txt", b"put your certificate here".to_vec(), Some("the file key.txt")),
        ("shared/ME@example.org.pub", me(other), Some("the file ME@example.org.pub")),
        ("shared/unnamed.asc", damaged.clone(), Some("what cannot be used (unnamed.asc: ")),
        ("shared/me@example.org.asc", me(other), Some("the file me@example.org.asc")),
        ("shared/Me@Example.ORG.pgp", damaged.clone(), Some("Me@Example.ORG.pgp")),
        (
            "shared/claim.asc",
            claimed,
            Some("does not count for me@example.org: its User ID with this address is revoked"),
        ),
        ("home/pgp-certs/k.asc", me(other), Some("1 certificate, for no address of the owner")),
        ("home/pgp-certs/you@example.org.asc", damaged, Some("what cannot be used (you@example.org.asc: ")),
    ] {
        let folder = folder();
        let home = folder.path().join("home");
        let shared = folder.path().join("shared");
        fs::create_dir_all(home.join("pgp-certs")).unwrap();
        fs::create_dir(&shared).unwrap();
        fs::write(folder.path().join(name), content).unwrap();
        let sources =
            vec![SourcePath::Home("pgp-certs".into()), SourcePath::Absolute(shared.to_str().unwrap().into())];
        let mut settings = Settings { sources, on_no_certificate: OnError::Keep, ..settings(&[]) };
        let search = |settings: &Settings, user: &str| {
            let owner = Owner { user, recipient: None, home: home.to_str() };
            let finder = Finder {
                settings,
                owner,
                now: SystemTime::now(),
                deadline: Deadline::NONE,
                temp_dir: None,
                log: &(),
            };
            let why = finder.owner().unwrap_err();
            finder.left_without(why).map_err(|why| why.to_string())
        };
        for user in [ME, "Me+detail@example.org"] {
            match (search(&settings, user), doubt) {
                (Ok(why), None) => assert!(why.starts_with("no certificate for "), "{name}: {why}"),
                (Err(why), Some(doubt)) => {
                    let because = ". The message is not left as it is, because in ";
                    let is_found = name == "shared/claim.asc";
                    assert!((is_found || why.contains(because)) && why.contains(doubt), "{name}: {why}");
                }
                (said, _) => panic!("{name}: {said:?}"),
            }
        }
        settings.on_no_certificate = OnError::TempFail;
        assert!(search(&settings, ME).is_err(), "{name}");
        settings.on_no_certificate = OnError::Keep;
        let with_home = |home: &str| {
            let owner = Owner { user: ME, recipient: None, home: Some(home) };
            let finder = Finder {
                settings: &settings,
                owner,
                now: SystemTime::now(),
                deadline: Deadline::NONE,
                temp_dir: None,
                log: &(),
            };
            finder.left_without(finder.owner().unwrap_err()).map_err(|why| why.to_string())
        };
        if doubt.is_none() {
            assert!(with_home("").unwrap_err().contains("a home directory that cannot be used"), "{name}");
            std::os::unix::fs::symlink("nowhere", folder.path().join("pgp-certs")).unwrap();
            let home = folder.path().to_str().unwrap();
            assert!(with_home(home).unwrap_err().contains("a link that leads nowhere"), "{name}");
            fs::remove_file(folder.path().join("pgp-certs")).unwrap();
        }
        if name == "shared/you.asc" {
            let owner = Owner { user: "me", recipient: Some(ME), home: home.to_str() };
            let finder = Finder {
                settings: &settings,
                owner,
                now: SystemTime::now(),
                deadline: Deadline::NONE,
                temp_dir: None,
                log: &(),
            };
            let why = finder.left_without(finder.owner().unwrap_err()).unwrap_err();
            assert!(why.to_string().contains("1 certificate, and the user name me is no address"), "{why}");
        }
        // Nobody is known who has no certificate.
        if !name.contains("k.asc") {
            assert!(
                search(&settings, "me").unwrap_err().contains("no address of the owner is known"),
                "{name}"
            );
        }
        // A source that cannot be read may hold it. (Root reads everything, but not a loop.)
        std::os::unix::fs::symlink("loop", folder.path().join("loop")).unwrap();
        settings.sources.push(SourcePath::Absolute(folder.path().join("loop").to_str().unwrap().into()));
        assert!(search(&settings, ME).is_err(), "{name}");
    }
}
