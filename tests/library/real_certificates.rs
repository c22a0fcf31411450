//! Certificates as people really have them: what programs write into files, old signatures, odd User IDs. And files that
//! somebody has made to keep the server busy.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use perot_encrypt::certs::choose::{self, Expired};
use perot_encrypt::certs::finder::{Finder, Owner};
use perot_encrypt::certs::rules::Sha1;
use perot_encrypt::deadline::Deadline;
use perot_encrypt::log::{Level, Log};
use perot_encrypt::recipient::Recipient;
use perot_encrypt::settings::{Settings, SourcePath, Subkeys};
use perot_testing::{armored, builder, key_for, settings};

use base64::Engine;
use sequoia_openpgp as openpgp;

use openpgp::cert::CertBuilder;
use openpgp::crypto::mpi;
use openpgp::packet::key::{Key4, PublicParts, SubordinateRole};
use openpgp::packet::signature::SignatureBuilder;
use openpgp::packet::{Key, Signature};
use openpgp::serialize::SerializeInto;
use openpgp::types::{Curve, HashAlgorithm, KeyFlags, PublicKeyAlgorithm, SignatureType, SymmetricAlgorithm};
use openpgp::{Cert, Packet};

const ME: &str = "me@example.org";
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Keeps what is logged.
#[derive(Default)]
pub struct Lines(pub Mutex<Vec<String>>);

impl Log for Lines {
    fn log(&self, level: Level, text: &str) {
        self.0.lock().unwrap().push(format!("{level:?}: {text}"));
    }
}

/// Searches the sources. Returns the fingerprints and the warnings, or the reason.
fn search(
    settings: &Settings,
    home: Option<&Path>,
    recipient: &str,
) -> Result<(Vec<String>, Vec<String>), String> {
    let log = Lines::default();
    let owner = Owner { user: "", recipient: None, home: home.and_then(Path::to_str) };
    let finder = Finder {
        settings,
        owner,
        now: SystemTime::now(),
        deadline: Deadline::NONE,
        temp_dir: None,
        log: &log,
    };
    let found =
        finder.find(&Recipient::parse(recipient.as_bytes()).unwrap()).map_err(|why| why.to_string())?;
    let fingerprints = found.iter().map(|keys| keys.fingerprint().to_owned()).collect();
    Ok((fingerprints, log.0.into_inner().unwrap()))
}

fn in_file(content: &[u8], recipient: &str) -> Result<(Vec<String>, Vec<String>), String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ring.gpg");
    fs::write(&file, content).unwrap();
    let by_file = search(&settings(&[&file]), None, recipient);
    let by_folder = search(&settings(&[folder.path()]), None, recipient);
    assert_eq!(by_file.as_ref().ok(), by_folder.as_ref().ok());
    by_file.map_err(|why| why.replace(&file.display().to_string(), "FILE"))
}

fn fingerprints(content: &[u8], recipient: &str) -> Result<Vec<String>, String> {
    in_file(content, recipient).map(|(fingerprints, _)| fingerprints)
}

fn hex(cert: &Cert) -> String {
    cert.fingerprint().to_hex()
}

fn packets(cert: &Cert) -> Vec<Vec<u8>> {
    let public = cert.clone().strip_secret_key_material();
    public.into_packets().map(|packet| packet.to_vec().unwrap()).collect()
}

/// Puts `between` behind each packet.
fn with(cert: &Cert, between: &[u8]) -> Vec<u8> {
    packets(cert).into_iter().flat_map(|packet| [packet, between.to_vec()].concat()).collect()
}

/// GnuPG keeps trust packets in its keyrings (RFC 9580, section 5.10), and has a format of its own beside them.
#[test]
fn packets_between_do_not_matter() {
    let key = key_for(ME);
    for (what, between) in [
        ("trust", &[0xb0, 2, 0, 3][..]),
        ("marker", &[0xca, 3, b'P', b'G', b'P']),
        ("padding", &[0xd5, 2, 1, 2]),
        ("private use", &[0xfc, 2, 1, 2]),
        ("not critical", &[0xe8, 1, 1]),
    ] {
        assert_eq!(fingerprints(&with(&key, between), ME), Ok(vec![hex(&key)]), "{what}");
    }
    // A revocation counts behind such a packet, too.
    let (revoked, other) = two_user_ids("gone@example.org", ME);
    let trust = with(&revoked, &[0xb0, 2, 0, 3]);
    let why = fingerprints(&[trust.clone(), with(&other, &[])].concat(), "gone@example.org").unwrap_err();
    assert!(why.contains("its User ID with this address is revoked"), "{why}");
    assert_eq!(fingerprints(&trust, ME), Ok(vec![hex(&revoked)]));
}

/// Returns a certificate whose first User ID is revoked, and the same one before.
fn two_user_ids(gone: &str, stays: &str) -> (Cert, Cert) {
    let before = builder(gone).add_userid(format!("<{stays}>")).generate().unwrap().0;
    let mut signer = signer(&before);
    let user_id =
        before.userids().find(|u| u.userid().value() == format!("Test <{gone}>").as_bytes()).unwrap();
    let revocation = SignatureBuilder::new(SignatureType::CertificationRevocation)
        .sign_userid_binding(&mut signer, before.primary_key().key(), user_id.userid())
        .unwrap();
    let revoked = before.clone().insert_packets(vec![Packet::from(revocation)]).unwrap().0;
    (revoked, before)
}

fn signer(cert: &Cert) -> openpgp::crypto::KeyPair {
    cert.primary_key().key().clone().parts_into_secret().unwrap().into_keypair().unwrap()
}

#[test]
fn forms_of_text() {
    let key = key_for(ME);
    let lines = String::from_utf8(armored(&key)).unwrap().replace("\r\n", "\n");
    let utf16 = |bom: &[u8], bytes: fn(u16) -> [u8; 2]| {
        [bom.to_vec(), lines.encode_utf16().flat_map(bytes).collect()].concat()
    };
    let base64 = base64::engine::general_purpose::STANDARD.encode(packets(&key).concat());
    let end = base64.len() / 4 * 4 - 8;
    let wrapped =
        base64.as_bytes().chunks(60).map(|line| [line, b"\n"].concat()).collect::<Vec<_>>().concat();
    let no_empty_line = lines.replacen("\n\n", "\nVersion: GnuPG v2\n", 1);
    let quoted: String = lines.lines().map(|line| format!("> {line}\n")).collect();
    for (what, content) in [
        ("armored", lines.as_bytes().to_vec()),
        ("UTF-16, little endian", utf16(&[0xff, 0xfe], u16::to_le_bytes)),
        ("UTF-16, big endian", utf16(&[0xfe, 0xff], u16::to_be_bytes)),
        ("UTF-16, no byte order mark", utf16(&[], u16::to_le_bytes)),
        ("UTF-8 with byte order mark", [b"\xef\xbb\xbf", lines.as_bytes()].concat()),
        ("base64", base64.as_bytes().to_vec()),
        ("base64 on lines", wrapped),
        ("base64 with byte order mark", [b"\xef\xbb\xbf", base64.as_bytes()].concat()),
        (
            "base64 in UTF-16",
            [vec![0xff, 0xfe], base64.encode_utf16().flat_map(u16::to_le_bytes).collect()].concat(),
        ),
        ("no empty line", no_empty_line.into_bytes()),
        ("quoted", quoted.into_bytes()),
        ("text around, with an umlaut first", format!("Über:\n{lines}Grüße\n").into_bytes()),
        (
            "no checksum",
            lines
                .lines()
                .filter(|l| !l.starts_with('='))
                .map(|l| format!("{l}\n"))
                .collect::<String>()
                .into(),
        ),
        ("in HTML", format!("<pre>{lines}</pre>").into_bytes()),
    ] {
        assert_eq!(fingerprints(&content, ME), Ok(vec![hex(&key)]), "{what}");
    }
    let mut damaged = lines.clone();
    damaged.insert(lines.len() / 2, '!');
    for (what, content, why) in [
        ("a message", lines.replace("PUBLIC KEY BLOCK", "MESSAGE"), "it is armored, but not a certificate"),
        ("cut off", lines[..lines.len() / 2].to_owned(), "its armor has no END line: it is cut off"),
        ("damaged", damaged, "its armor is damaged"),
        ("text", "I have lost my key.\n".to_owned(), "it holds no certificate"),
        ("base64, cut off", base64[..end].to_owned(), "it is cut off: its packets do not fit together"),
        ("base64, cut within a digit", base64[..=end].to_owned(), "its base64 is damaged or cut off"),
        ("nothing", String::new(), "it holds no certificate"),
        (
            "a keybox",
            "\0\0\0\0\u{1}\u{1}\0\u{2}KBXf\0\0\0\0".to_owned(),
            "it is a keybox of GnuPG: export it (gpg --export > FILE)",
        ),
    ] {
        let said = fingerprints(content.as_bytes(), ME).unwrap_err();
        assert!(said.contains(why), "{what}: {said}");
    }
    // It keeps nobody else's certificate from being found.
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.gpg"), b"\0\0\0\0\x01\x01\0\x02KBXf\0\0\0\0").unwrap();
    fs::write(folder.path().join("me.asc"), armored(&key)).unwrap();
    let found = search(&settings(&[folder.path()]), None, ME);
    assert_eq!(found.map(|(found, _)| found), Ok(vec![hex(&key)]));
    // A folder of GnuPG.
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("pubring.kbx"), "").unwrap();
    let said = search(&settings(&[folder.path()]), None, ME).unwrap_err();
    assert!(said.contains("pubring.kbx: it is a keybox of GnuPG: export it"), "{said}");
}

#[test]
fn bad_neighbours_take_nothing_away() {
    let (first, last) = (key_for(ME), key_for("you@example.org"));
    let ours = packets(&first).concat();
    let signature = "-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n";
    let blocks = [armored(&first), signature.into(), armored(&last)].concat();
    let mut of_another_kind = packets(&last);
    let version = if of_another_kind[0][1] < 192 { 2 } else { 3 };
    of_another_kind[0][version] = 99;
    let huge =
        [packets(&last).concat(), [vec![0xd1, 0xff, 0, 0x20, 0, 0], vec![0; 2 << 20]].concat()].concat();
    let cut = packets(&last).concat();
    for (what, content) in [
        ("a signature", blocks),
        ("cut off", [&ours[..], &cut[..cut.len() - 9]].concat()),
        ("another version", [of_another_kind.concat(), ours.clone()].concat()),
        ("too large", [huge, ours.clone()].concat()),
        ("a line end behind it", [&ours[..], b"\n"].concat()),
        ("a signature in front", [&packets(&first)[2][..], &ours].concat()),
    ] {
        assert_eq!(fingerprints(&content, ME), Ok(vec![hex(&first)]), "{what}");
    }
    // It is named.
    let why = fingerprints(&[&ours[..], &cut[..cut.len() - 9]].concat(), "you@example.org").unwrap_err();
    let named = format!("certificate {}: it is cut off: its packets do not fit together", hex(&last));
    assert!(why.contains(&named), "{why}");
}

#[test]
fn every_form_of_user_id_that_gnupg_finds() {
    for (user_id, found, not_found) in [
        ("Me <me@example.org> (work)", &[ME][..], "work@example.org"),
        ("A <a@example.org>, B <b@example.org>", &["a@example.org", "b@example.org"], "c@example.org"),
        ("mailto:me@example.org", &[ME], "mailto:me@example.org"),
        ("mi\u{212a}e <mi\u{212a}e@example.org>", &[], "mike@example.org"),
        ("me@exam\u{ad}ple.org", &[], ME),
    ] {
        let cert = builder("first@example.org").add_userid(user_id).generate().unwrap().0;
        for address in found {
            assert_eq!(fingerprints(&armored(&cert), address), Ok(vec![hex(&cert)]), "{user_id}");
        }
        assert!(fingerprints(&armored(&cert), not_found).is_err(), "{user_id}");
    }
}

/// GnuPG writes such a file when asked for it, and one that is disabled when it makes a key.
#[test]
fn a_bare_revocation_beside_the_certificate_counts() {
    let key = key_for(ME);
    let revocation =
        key.revoke(&mut signer(&key), openpgp::types::ReasonForRevocation::KeyRetired, b"").unwrap();
    let revocation = Packet::from(revocation).to_vec().unwrap();
    let mut bare = Vec::new();
    let mut writer = openpgp::armor::Writer::new(&mut bare, openpgp::armor::Kind::PublicKey).unwrap();
    std::io::Write::write_all(&mut writer, &revocation).unwrap();
    writer.finalize().unwrap();
    let disabled = [b":", &bare[..]].concat();
    let folder = tempfile::tempdir().unwrap();
    let sources = settings(&[folder.path()]);
    let write = |name: &str, content: &[u8]| fs::write(folder.path().join(name), content).unwrap();
    let ask = || search(&sources, None, ME).map(|(found, _)| found);
    // Beside a file of another name, of its own, and as GnuPG names it.
    let by_fingerprint = format!("{}.rev", hex(&key));
    let named = "me@example.org.asc";
    for (cert, beside) in [("key.asc", "old.asc"), (named, "me@example.org.rev"), (named, &by_fingerprint)] {
        write(cert, &armored(&key));
        write(beside, &disabled);
        assert_eq!(ask(), Ok(vec![hex(&key)]), "{beside} is disabled");
        // What is changed in place is seen some seconds later.
        fs::remove_file(folder.path().join(beside)).unwrap();
        write(beside, &bare);
        assert!(ask().unwrap_err().contains("is revoked"), "{beside}");
        fs::remove_file(folder.path().join(beside)).unwrap();
        write(beside, &revocation);
        assert!(ask().unwrap_err().contains("is revoked"), "{beside}, binary");
        // That of another key does not.
        fs::remove_file(folder.path().join(beside)).unwrap();
        let other = key_for(ME);
        write(cert, &armored(&other));
        write(beside, &bare);
        assert_eq!(ask(), Ok(vec![hex(&other)]), "{beside}");
        fs::remove_file(folder.path().join(beside)).unwrap();
        fs::remove_file(folder.path().join(cert)).unwrap();
    }
    assert!(fingerprints(&[armored(&key), bare].concat(), ME).unwrap_err().contains("is revoked"));
}

/// A certificate with one User ID and encryption subkeys, and the hash algorithm of each self-signature.
struct Signed {
    user_id: HashAlgorithm,
    /// Hash algorithm, and the years for which it is valid after ten years ago.
    subkeys: Vec<(HashAlgorithm, Option<u32>)>,
}

impl Signed {
    fn cert(&self) -> Cert {
        let then = SystemTime::now() - 10 * YEAR;
        let mut all = builder(ME).set_creation_time(then);
        for _ in &self.subkeys {
            all = all.add_subkey(KeyFlags::empty().set_transport_encryption(), None, None);
        }
        let all = all.generate().unwrap().0;
        let (mut signer, primary) = (signer(&all), all.primary_key().key().clone());
        let of = |kind, hash| {
            SignatureBuilder::new(kind).set_hash_algo(hash).set_signature_creation_time(then).unwrap()
        };
        let user_id = all.userids().next().unwrap().userid().clone();
        let flags = KeyFlags::empty().set_certification();
        let signature = of(SignatureType::PositiveCertification, self.user_id).set_key_flags(flags).unwrap();
        let signature = signature.sign_userid_binding(&mut signer, &primary, &user_id).unwrap();
        let mut packets: Vec<Packet> =
            vec![primary.clone().take_secret().0.into(), user_id.into(), signature.into()];
        let flags = KeyFlags::empty().set_transport_encryption();
        let keys = all.keys().subkeys().filter(|ka| ka.key().pk_algo().for_encryption()).skip(1);
        for (ka, (hash, years)) in keys.zip(&self.subkeys) {
            let subkey = ka.key().clone().take_secret().0;
            let signature = of(SignatureType::SubkeyBinding, *hash).set_key_flags(flags.clone()).unwrap();
            let signature = signature.set_key_validity_period(years.map(|n| YEAR * n)).unwrap();
            let signature = signature.sign_subkey_binding(&mut signer, &primary, &subkey).unwrap();
            packets.extend([Packet::from(subkey), signature.into()]);
        }
        Cert::from_packets(packets.into_iter()).unwrap()
    }
}

#[test]
fn self_signatures_with_sha1() {
    use HashAlgorithm::{MD5, SHA1, SHA256};
    // Hash algorithms of User ID and subkeys; which subkeys are used, whether by way of SHA-1, whether expired.
    for (user_id, subkeys, expected) in [
        (SHA256, &[(SHA256, None)][..], Ok((&[0][..], false, false))),
        (SHA1, &[(SHA1, None)], Ok((&[0], true, false))),
        (SHA1, &[(SHA256, None)], Ok((&[0], true, false))),
        (SHA256, &[(SHA1, None)], Ok((&[0], true, false))),
        // Better ones are preferred, but not one that has expired.
        (SHA256, &[(SHA1, None), (SHA256, None)], Ok((&[1], false, false))),
        (SHA256, &[(SHA1, None), (SHA256, Some(3))], Ok((&[0], true, false))),
        (SHA256, &[(SHA1, Some(4)), (SHA256, Some(3))], Ok((&[1], false, true))),
        (
            MD5,
            &[(SHA256, None)],
            Err("it has a self-signature with MD5, which anybody can forge. Renew them with"),
        ),
        (
            SHA256,
            &[(MD5, None), (MD5, None)],
            Err(" has a self-signature with MD5, which anybody can forge. Renew"),
        ),
    ] {
        let cert = Signed { user_id, subkeys: subkeys.to_vec() }.cert();
        let chosen = choose::choose(&cert, SystemTime::now(), Sha1::Accepted, Subkeys::All);
        match (chosen, expected) {
            (Ok(keys), Ok((used, is_weak, is_expired))) => {
                let used: Vec<_> = used
                    .iter()
                    .map(|&n: &usize| cert.keys().subkeys().nth(n).unwrap().key().fingerprint())
                    .collect();
                let found: Vec<_> = keys.keys.iter().map(Key::fingerprint).collect();
                assert_eq!(found, used, "{user_id} {subkeys:?}");
                assert_eq!(keys.is_weak, is_weak, "{user_id} {subkeys:?}");
                assert_eq!(keys.expired, is_expired.then_some(Expired::Subkeys), "{user_id} {subkeys:?}");
            }
            (Err(why), Err(part)) => assert!(why.to_string().contains(part), "{why}"),
            (chosen, _) => panic!("{user_id} {subkeys:?}: {chosen:?}"),
        }
    }
    let weak = Signed { user_id: SHA1, subkeys: vec![(SHA1, None)] }.cert();
    let (_, warnings) = in_file(&armored(&weak), ME).unwrap();
    let fpr = hex(&weak);
    assert_eq!(
        warnings,
        [format!(
            "Warning: certificate {fpr} has self-signatures with SHA-1, and is used all the same. Renew them with current \
             software (gpg --quick-set-expire {fpr} 0 for the primary key, gpg --quick-set-expire {fpr} 0 '*' for the \
             subkeys), and export it anew"
        )]
    );
    // A User ID that counts only with SHA-1, beside one that does not need it.
    let user_id = with_second_user_id("old@example.org", SHA1);
    assert_eq!(in_file(&armored(&user_id), ME).unwrap().1, [""; 0]);
    assert!(in_file(&armored(&user_id), "old@example.org").unwrap().1[0]
        .contains("has self-signatures with SHA-1"));
    // Anybody may have put it into a shared certificate directory.
    let folder = tempfile::tempdir().unwrap();
    let name = fpr.to_lowercase();
    fs::create_dir(folder.path().join(&name[..2])).unwrap();
    fs::write(folder.path().join(&name[..2]).join(&name[2..]), armored(&weak)).unwrap();
    let sources = settings(&[folder.path()]);
    let why = search(&sources, None, &fpr).unwrap_err();
    assert!(
        why.contains("with SHA-1, which does not count in a place where anybody may have put it"),
        "{why}"
    );
    let why = search(&sources, None, ME).unwrap_err();
    assert!(why.contains("(a shared certificate directory, which answers to fingerprints only)"), "{why}");
    // A revocation with it counts.
    let (revoked, _) = two_user_ids("gone@example.org", ME);
    let revocation = SignatureBuilder::new(SignatureType::KeyRevocation)
        .set_hash_algo(SHA1)
        .sign_direct_key(&mut signer(&revoked), revoked.primary_key().key())
        .unwrap();
    let content = [packets(&revoked).concat(), Packet::from(revocation).to_vec().unwrap()].concat();
    assert!(fingerprints(&content, ME).unwrap_err().contains("is revoked"));
}

fn with_second_user_id(address: &str, hash: HashAlgorithm) -> Cert {
    let cert = key_for(ME);
    let user_id = openpgp::packet::UserID::from(format!("<{address}>"));
    let signature = SignatureBuilder::new(SignatureType::PositiveCertification).set_hash_algo(hash);
    let signature =
        signature.sign_userid_binding(&mut signer(&cert), cert.primary_key().key(), &user_id).unwrap();
    cert.insert_packets(vec![Packet::from(user_id), signature.into()]).unwrap().0
}

/// A primary key that can encrypt does not make the subkey unnecessary: its secret key may be in a drawer.
#[test]
fn a_subkey_with_sha1_beside_a_primary_key_that_encrypts() {
    let then = SystemTime::now() - YEAR;
    let cert = Signed { user_id: HashAlgorithm::SHA256, subkeys: vec![(HashAlgorithm::SHA1, None)] };
    // An RSA key, since Ed25519 cannot encrypt.
    let all = CertBuilder::new()
        .add_userid(ME)
        .set_cipher_suite(openpgp::cert::CipherSuite::RSA2k)
        .set_primary_key_flags(KeyFlags::empty().set_certification().set_transport_encryption())
        .set_creation_time(then)
        .generate()
        .unwrap()
        .0;
    let subkey = cert.cert().keys().subkeys().next().unwrap().key().clone();
    let flags = KeyFlags::empty().set_transport_encryption();
    let signature = SignatureBuilder::new(SignatureType::SubkeyBinding)
        .set_hash_algo(HashAlgorithm::SHA1)
        .set_key_flags(flags)
        .unwrap()
        .sign_subkey_binding(&mut signer(&all), all.primary_key().key(), &subkey)
        .unwrap();
    let all = all.insert_packets(vec![Packet::from(subkey.clone()), signature.into()]).unwrap().0;
    let keys = choose::choose(&all, SystemTime::now(), Sha1::Accepted, Subkeys::All).unwrap();
    assert!(
        keys.is_weak && keys.keys.iter().any(|key| key.fingerprint() == subkey.fingerprint()),
        "{keys:?}"
    );
    let keys = choose::choose(&all, SystemTime::now(), Sha1::Refused, Subkeys::All).unwrap();
    assert!(!keys.is_weak && keys.keys.len() == 1);
}

/// Replaces the subkeys of a certificate by one of these numbers.
fn with_subkey(algorithm: PublicKeyAlgorithm, numbers: mpi::PublicKey, flags: Option<KeyFlags>) -> Cert {
    let key = key_for(ME);
    let subkey: Key<PublicParts, SubordinateRole> =
        Key4::new(SystemTime::now() - YEAR, algorithm, numbers).unwrap().into();
    let mut signature = SignatureBuilder::new(SignatureType::SubkeyBinding);
    if let Some(flags) = flags {
        signature = signature.set_key_flags(flags).unwrap();
    }
    let signature: Signature =
        signature.sign_subkey_binding(&mut signer(&key), key.primary_key().key(), &subkey).unwrap();
    let without = key.clone().strip_secret_key_material().into_packets();
    let mut packets: Vec<Packet> = without.take_while(|p| !matches!(p, Packet::PublicSubkey(_))).collect();
    packets.extend([Packet::from(subkey), signature.into()]);
    Cert::from_packets(packets.into_iter()).unwrap()
}

/// Each cause has its own sentence, with a remedy that helps.
#[test]
#[allow(deprecated)] // because of ElGamal
fn each_cause_has_its_own_sentence() {
    let number = |bytes: usize| mpi::MPI::new(&vec![0xff; bytes]);
    let elgamal = mpi::PublicKey::ElGamal { p: number(256), g: number(1), y: number(256) };
    let secp256k1 = mpi::PublicKey::ECDH {
        curve: Curve::Unknown(vec![0x2b, 0x81, 0x04, 0x00, 0x0a].into()),
        q: number(65),
        hash: HashAlgorithm::SHA256,
        sym: SymmetricAlgorithm::AES256,
    };
    let rsa = |bytes| mpi::PublicKey::RSA { e: mpi::MPI::new(&[1, 0, 1]), n: number(bytes) };
    let encryption = || Some(KeyFlags::empty().set_transport_encryption());
    let authenticates = KeyFlags::empty().set_authentication();
    let no_user_id: Vec<Packet> = key_for(ME)
        .strip_secret_key_material()
        .into_packets()
        .filter(|p| {
            !matches!(p, Packet::UserID(_))
                && !matches!(p, Packet::Signature(s) if s.typ() != SignatureType::SubkeyBinding)
        })
        .collect();
    let later = builder(ME).set_creation_time(SystemTime::now() + YEAR).generate().unwrap().0;
    for (cert, cause, remedy) in [
        (
            with_subkey(PublicKeyAlgorithm::ElGamalEncrypt, elgamal, encryption()),
            "is of the algorithm ElGamal, to which this build cannot encrypt",
            "Add an encryption subkey of Curve25519 or RSA, and export the certificate anew",
        ),
        (
            with_subkey(PublicKeyAlgorithm::ECDH, secp256k1, encryption()),
            "is on the curve secp256k1, to which this build cannot encrypt",
            "Add an encryption subkey of Curve25519 or RSA, and export the certificate anew",
        ),
        (
            with_subkey(PublicKeyAlgorithm::RSAEncryptSign, rsa(128), encryption()),
            "is too weak (RSA, 1024 bits)",
            "Make a new key, and export its certificate",
        ),
        (
            with_subkey(PublicKeyAlgorithm::RSAEncryptSign, rsa(256), None),
            "does not say what it is for (no key flags)",
            "Set its usage (gpg --edit-key, change-usage), and export the certificate anew",
        ),
        (
            with_subkey(PublicKeyAlgorithm::RSAEncryptSign, rsa(256), Some(KeyFlags::empty().set(10))),
            "is an additional decryption subkey (ADSK), which is not used",
            "Add an encryption subkey of Curve25519 or RSA, and export the certificate anew",
        ),
        (
            with_subkey(PublicKeyAlgorithm::RSAEncryptSign, rsa(256), Some(authenticates)),
            "it has no encryption subkey",
            "Add one, and export the certificate anew",
        ),
        (later, "is not valid yet", "Is the clock of this server right?"),
        (
            Cert::from_packets(no_user_id.into_iter()).unwrap(),
            "has no User ID and no self-signature on its primary key, as keys.openpgp.org",
            "Export it from the program that holds the secret key",
        ),
    ] {
        let why = fingerprints(&packets(&cert).concat(), &hex(&cert)).unwrap_err();
        assert!(why.contains(cause) && why.ends_with(remedy), "{cause}: {why}");
        assert!(why.starts_with(&format!("FILE: certificate {}", hex(&cert))), "{why}");
    }
}

/// What a user puts below the home is limited as a whole, and told with the numbers.
#[test]
fn what_a_home_may_hold() {
    let home = tempfile::tempdir().unwrap();
    let certs = home.path().join("pgp-certs");
    fs::create_dir(&certs).unwrap();
    let sources = |names: &[&str]| Settings {
        sources: names.iter().map(|name| SourcePath::Home((*name).into())).collect(),
        ..settings(&[])
    };
    let key = key_for(ME);
    let ask = |names: &[&str]| search(&sources(names), Some(home.path()), ME).map(|(found, _)| found);
    fs::write(certs.join("x.asc"), armored(&key)).unwrap();
    // One file under many names is one.
    for n in 0..300 {
        fs::hard_link(certs.join("x.asc"), certs.join(format!("x{n}.asc"))).unwrap();
    }
    assert_eq!(ask(&["pgp-certs"]), Ok(vec![hex(&key)]));
    for n in 0..64 {
        fs::write(certs.join(format!("y{n}.asc")), armored(&key)).unwrap();
    }
    let said = |why: &str| {
        let place = certs.display();
        Err(format!(
            "certificate source {place}: {why}, which is the most that is read: remove what is not needed"
        ))
    };
    assert_eq!(ask(&["pgp-certs"]), said("more than 64 files"));
    // A file that is named after the address is looked at first.
    fs::write(certs.join("me@example.org.asc"), armored(&key)).unwrap();
    assert_eq!(ask(&["pgp-certs"]), Ok(vec![hex(&key)]));
    for entry in fs::read_dir(&certs).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let many = (0..257).flat_map(|n| packets(&key_for(&format!("u{n}@t.org"))).concat()).collect::<Vec<_>>();
    fs::write(certs.join("many.pgp"), many).unwrap();
    assert_eq!(ask(&["pgp-certs"]), said("more than 256 certificates"));
    // So do those that cannot be used: each takes time. And so do those in a file that is named after the address.
    let unknown = [0xc6, 6, 99, 0, 0, 0, 0, 1].repeat(257);
    fs::write(certs.join("many.pgp"), &unknown).unwrap();
    assert_eq!(ask(&["pgp-certs"]), said("more than 256 certificates"));
    fs::write(certs.join("me@example.org.pgp"), &unknown).unwrap();
    assert_eq!(ask(&["pgp-certs"]), said("more than 256 certificates"));
    fs::remove_file(certs.join("me@example.org.pgp")).unwrap();
    fs::write(certs.join("many.pgp"), vec![b' '; (1 << 20) + 1]).unwrap();
    assert_eq!(ask(&["pgp-certs"]), said("more than 1024 KiB"));
    // The list for the administrator says the same.
    let settings_of_home = sources(&["pgp-certs"]);
    let finder = Finder {
        settings: &settings_of_home,
        owner: Owner { home: home.path().to_str(), ..Owner::default() },
        now: SystemTime::now(),
        deadline: Deadline::NONE,
        temp_dir: None,
        log: &(),
    };
    let listed = finder.list(&settings_of_home.sources[0]).map_err(|why| why.to_string());
    assert_eq!(listed.map(|_| ()), said("more than 1024 KiB").map(|_: Vec<String>| ()));
    // The sources count together.
    fs::write(certs.join("many.pgp"), vec![b' '; 600 << 10]).unwrap();
    fs::create_dir(home.path().join("second")).unwrap();
    fs::write(home.path().join("second/many.pgp"), vec![b' '; 600 << 10]).unwrap();
    assert!(ask(&["pgp-certs"]).unwrap_err().contains("no certificate for"));
    assert!(ask(&["second", "pgp-certs"]).unwrap_err().contains("pgp-certs: more than 1024 KiB"));
    // It is below the home by whatever name.
    let path = certs.to_str().unwrap();
    let by_variable = settings(&[Path::new(path)]);
    assert!(search(&by_variable, Some(home.path()), ME).is_err());
    fs::write(certs.join("many.pgp"), vec![b' '; 2 << 20]).unwrap();
    assert!(search(&by_variable, Some(home.path()), ME).unwrap_err().contains("more than 1024 KiB"));
    // Elsewhere the administrator decides.
    fs::write(certs.join("x.asc"), armored(&key)).unwrap();
    assert_eq!(search(&settings(&[Path::new(path)]), None, ME).map(|(found, _)| found), Ok(vec![hex(&key)]));
}

/// A new process does not read a large folder anew, and a folder without the recipient is not written down each time.
#[test]
fn the_index_of_a_large_folder_outlasts_the_process() {
    use std::os::unix::fs::MetadataExt;

    let folder = tempfile::tempdir().unwrap();
    let (certs, temp_dir) = (folder.path().join("certs"), folder.path().join("tmp"));
    fs::create_dir(&certs).unwrap();
    fs::create_dir(&temp_dir).unwrap();
    let key = armored(&key_for(ME));
    for n in 0..200 {
        fs::write(certs.join(format!("{n}.asc")), &key).unwrap();
    }
    let settings = settings(&[&certs]);
    let miss = || {
        let finder = Finder {
            settings: &settings,
            owner: Owner::default(),
            now: SystemTime::now(),
            deadline: Deadline::NONE,
            temp_dir: Some(&temp_dir),
            log: &(),
        };
        finder.find(&Recipient::Address("you@example.org".into())).unwrap_err();
        let files = fs::read_dir(&temp_dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap());
        let files: Vec<_> = files.map(|metadata| (metadata.ino(), metadata.mode() & 0o777)).collect();
        assert!(matches!(files[..], [(_, 0o600)]), "{files:?}");
        files[0].0
    };
    let first = miss();
    assert_eq!(miss(), first);
    fs::write(certs.join("another.asc"), &key).unwrap();
    assert_ne!(miss(), first);
}

/// The search counts towards the CPU time of the message.
#[test]
fn a_search_ends_at_the_deadline() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("x.asc"), armored(&key_for(ME))).unwrap();
    let settings = settings(&[folder.path()]);
    let deadline = Deadline::new(3, 0, || 100);
    let finder = Finder {
        settings: &settings,
        owner: Owner::default(),
        now: SystemTime::now(),
        deadline,
        temp_dir: None,
        log: &(),
    };
    let why = finder.find(&Recipient::Address(ME.into())).unwrap_err().to_string();
    assert!(why.contains("it takes more CPU time to read than a message may take"), "{why}");
}
