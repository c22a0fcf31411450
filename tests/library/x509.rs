//! X.509 certificates: where they are found, which are used, and the reasons why others are not.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use base64::prelude::{Engine, BASE64_STANDARD};
use perot_encrypt::certs::advice::{self, Author};
use perot_encrypt::certs::finder::{Finder, Owner};
use perot_encrypt::certs::x509::fingerprint;
use perot_encrypt::deadline::Deadline;
use perot_encrypt::error::Words;
use perot_encrypt::log::Level;
use perot_encrypt::recipient::Recipient;
use perot_encrypt::settings::{Loaded, Prefer, RawSettings, Settings, SourcePath};
use perot_testing::smime::Identity;
use perot_testing::{armored, builder, key_for, settings};

use crate::real_certificates::Lines;

const ME: &str = "me@example.org";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

static RSA: LazyLock<Identity> = LazyLock::new(|| Identity::new("rsa:2048", ME));
static EC: LazyLock<Identity> = LazyLock::new(|| Identity::new("P-256", ME));

fn hex(identity: &Identity) -> String {
    fingerprint(&identity.der()).unwrap()
}

fn pem(identity: &Identity) -> Vec<u8> {
    fs::read(identity.path("cert")).unwrap()
}

fn key(identity: &Identity) -> Vec<u8> {
    fs::read(identity.path("key")).unwrap()
}

type Found = Result<(Vec<String>, Vec<String>), String>;

/// Searches a folder. Returns fingerprints and warnings, or the reason.
fn search(folder: &Path, recipient: &[u8], prefer: Prefer, now: SystemTime) -> Found {
    let settings = Settings { prefer, ..settings(&[folder]) };
    let log = Lines::default();
    let (owner, deadline) = (Owner::default(), Deadline::NONE);
    let finder = Finder { settings: &settings, owner, now, deadline, temp_dir: None, log: &log };
    let found = finder.find(&Recipient::parse(recipient).unwrap()).map_err(|why| why.to_string())?;
    let fingerprints = found.iter().map(|keys| keys.fingerprint().to_owned()).collect();
    Ok((fingerprints, log.0.into_inner().unwrap()))
}

/// Puts files into a folder, and searches it.
fn find(files: &[(&str, &[u8])], recipient: &[u8], prefer: Prefer) -> Found {
    let folder = tempfile::tempdir().unwrap();
    files.iter().for_each(|(name, content)| fs::write(folder.path().join(name), content).unwrap());
    search(folder.path(), recipient, prefer, SystemTime::now())
        .map_err(|why| why.replace(&folder.path().display().to_string(), "DIR"))
}

fn fingerprints(files: &[(&str, &[u8])], recipient: &[u8], prefer: Prefer) -> Vec<String> {
    find(files, recipient, prefer).unwrap().0
}

#[test]
fn in_files_of_every_form() {
    let wide: Vec<u8> =
        String::from_utf8(pem(&RSA)).unwrap().encode_utf16().flat_map(u16::to_le_bytes).collect();
    let quoted = String::from_utf8(pem(&RSA)).unwrap().replace('\n', "\r\n> ");
    let authority = Identity::authority();
    let forms: [(&str, Vec<u8>); 9] = [
        ("a.pem", pem(&RSA)),
        ("a.crt", RSA.der()),
        ("a.cer", [b"Bag Attributes\n    friendlyName: me\n".to_vec(), pem(&RSA)].concat()),
        ("me@example.org.pem", pem(&RSA)),
        ("wide.pem", [b"\xff\xfe".to_vec(), wide].concat()),
        ("quoted.asc", quoted.into_bytes()),
        ("base64.pem", BASE64_STANDARD.encode(RSA.der()).into_bytes()),
        ("chain.pem", [pem(&authority), pem(&RSA), pem(&authority)].concat()),
        ("both.asc", [armored(&key_for("you@example.org")), pem(&RSA)].concat()),
    ];
    for (name, content) in &forms {
        for recipient in [ME, "ME@EXAMPLE.ORG", "me+detail@example.org", &hex(&RSA)] {
            let found = find(&[(name, content)], recipient.as_bytes(), Prefer::OpenPgp);
            assert_eq!(found, Ok((vec![hex(&RSA)], Vec::new())), "{name}, {recipient}");
        }
    }
    assert_eq!(fingerprints(&[], &pem(&EC), Prefer::OpenPgp), [hex(&EC)]);
    assert_eq!(hex(&RSA).len(), 64);
}

#[test]
fn addresses_are_those_that_the_certificate_spells() {
    let with = |names: &str| {
        let extensions = format!("basicConstraints = CA:FALSE\n{names}");
        Identity::with("P-256", &extensions, None)
    };
    let names =
        with("subjectAltName = email:One@Example.org, email:two@example.org, URI:mailto:three@example.org");
    let utf8 = with("subjectAltName = @names\n[names]\notherName = 1.3.6.1.5.5.7.8.9;FORMAT:UTF8,UTF8:j\u{f6}rg@example.org");
    let other = with("subjectAltName = otherName:1.3.6.1.4.1.311.20.2.3;UTF8:upn@example.org");
    for (identity, address, is_found) in [
        (&names, "one@example.org", true),
        (&names, "two@example.org", true),
        (&names, "three@example.org", false),
        (&utf8, "j\u{f6}rg@example.org", true),
        (&other, "upn@example.org", false),
    ] {
        let found = find(&[("a.pem", &pem(identity))], address.as_bytes(), Prefer::OpenPgp);
        assert_eq!(found.is_ok(), is_found, "{address}: {found:?}");
    }
}

#[test]
fn the_kind_that_is_preferred_and_rsa_before_elliptic_curves() {
    let openpgp = key_for(ME);
    let key = armored(&openpgp);
    let (rsa, ec) = (pem(&RSA), pem(&EC));
    let both: [(&str, &[u8]); 2] = [("a.asc", &key), ("b.pem", &rsa)];
    let named: [(&str, &[u8]); 2] = [("a.asc", &key), ("me@example.org.pem", &rsa)];
    let openpgp = vec![openpgp.fingerprint().to_hex()];
    for files in [&both, &named] {
        assert_eq!(fingerprints(files, ME.as_bytes(), Prefer::OpenPgp), openpgp);
        assert_eq!(fingerprints(files, ME.as_bytes(), Prefer::Smime), [hex(&RSA)]);
    }
    assert_eq!(fingerprints(&[("a.asc", &key)], ME.as_bytes(), Prefer::Smime), openpgp);
    assert_eq!(fingerprints(&[("a.pem", &ec), ("b.pem", &rsa)], ME.as_bytes(), Prefer::OpenPgp), [hex(&RSA)]);
    let more = Identity::new("rsa:2048", ME);
    let mut all = fingerprints(&[("a.pem", &pem(&more)), ("b.pem", &rsa)], ME.as_bytes(), Prefer::OpenPgp);
    all.sort();
    let mut wanted = vec![hex(&more), hex(&RSA)];
    wanted.sort();
    assert_eq!(all, wanted);
}

#[test]
fn an_expired_one_is_used_if_there_is_no_better_one() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.pem"), pem(&RSA)).unwrap();
    let later = SystemTime::now() + DAY * 4000;
    let (found, warnings) = search(folder.path(), ME.as_bytes(), Prefer::OpenPgp, later).unwrap();
    assert_eq!(found, [hex(&RSA)]);
    assert!(
        warnings.len() == 1 && warnings[0].contains("has expired; it is used all the same"),
        "{warnings:?}"
    );
    let before = SystemTime::now() - DAY;
    let why = search(folder.path(), ME.as_bytes(), Prefer::OpenPgp, before).unwrap_err();
    assert!(why.contains("is not valid yet. Is the clock of this server right?"), "{why}");
    // One of OpenPGP that has not expired is better, whatever is preferred.
    let openpgp = builder(ME).set_validity_period(None).generate().unwrap().0;
    fs::write(folder.path().join("b.asc"), armored(&openpgp)).unwrap();
    let (found, _) = search(folder.path(), ME.as_bytes(), Prefer::Smime, later).unwrap();
    assert_eq!(found, [openpgp.fingerprint().to_hex()]);
}

#[test]
fn each_reason_why_one_is_not_used() {
    let leaf = |more: &str| format!("basicConstraints = CA:FALSE\nsubjectAltName = email:{ME}\n{more}");
    for (kind, extensions, why) in [
        ("rsa:1024", leaf(""), "has an RSA key of 1024 bits. Get a certificate"),
        ("secp256k1", leaf(""), "has a key on the curve secp256k1, which mail programs do not read"),
        ("ed25519", leaf(""), "has a key of an algorithm that mail programs do not read"),
        ("rsa-pss", leaf(""), "has a key of an algorithm that mail programs do not read"),
        ("P-256", leaf("extendedKeyUsage = serverAuth\n"), "is not for e-mail (extendedKeyUsage"),
        (
            "P-256",
            leaf("keyUsage = digitalSignature\n"),
            "is not for encryption (keyUsage without keyAgreement)",
        ),
        (
            "rsa:2048",
            leaf("keyUsage = keyAgreement\n"),
            "is not for encryption (keyUsage without keyEncipherment)",
        ),
        (
            "P-256",
            format!("basicConstraints = CA:TRUE\nsubjectAltName = email:{ME}\n"),
            "is for signing other certificates",
        ),
    ] {
        let identity = Identity::with(kind, &extensions, None);
        let found = find(&[("a.pem", &pem(&identity))], ME.as_bytes(), Prefer::OpenPgp).unwrap_err();
        assert!(found.starts_with(&format!("DIR: certificate {} {why}", hex(&identity))), "{kind}: {found}");
    }
    for more in ["extendedKeyUsage = anyExtendedKeyUsage\n", "keyUsage = keyAgreement, digitalSignature\n"] {
        let identity = Identity::with("P-256", &leaf(more), None);
        assert_eq!(
            fingerprints(&[("a.pem", &pem(&identity))], ME.as_bytes(), Prefer::OpenPgp),
            [hex(&identity)]
        );
    }
}

/// There is neither an address nor an envelope. The certificate of a friend is not the owner's because it is of the preferred
/// kind, or has an RSA key.
#[test]
fn the_only_one_below_the_home() {
    let (mine, friend) = (key_for(ME), key_for("friend@example.org"));
    let rsa_of_friend = Identity::new("rsa:2048", "friend@example.org");
    let chosen = |files: &[(&str, Vec<u8>)]| {
        let home = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, content)| fs::write(home.path().join(name), content).unwrap());
        let settings = Settings { sources: vec![SourcePath::Home(String::new())], ..settings(&[]) };
        let owner = Owner { user: "me", recipient: None, home: home.path().to_str() };
        let (now, deadline) = (SystemTime::now(), Deadline::NONE);
        let found = Finder { settings: &settings, owner, now, deadline, temp_dir: None, log: &() }.owner();
        found.map(|found| found.iter().map(|keys| keys.fingerprint().to_owned()).collect::<Vec<_>>())
    };
    let (ec, rsa) = (("a.pem", pem(&EC)), ("b.pem", pem(&RSA)));
    assert_eq!(chosen(std::slice::from_ref(&ec)).unwrap(), [hex(&EC)]);
    assert_eq!(chosen(&[ec.clone(), rsa]).unwrap(), [hex(&RSA)]);
    let of_openpgp = [mine.fingerprint().to_hex()];
    assert_eq!(chosen(&[ec.clone(), ("c.asc", armored(&mine))]).unwrap(), of_openpgp);
    for other in [("c.asc", armored(&friend)), ("c.pem", pem(&rsa_of_friend))] {
        let why = chosen(&[ec.clone(), other]).unwrap_err().to_string();
        assert!(why.contains("there is not one certificate but 2"), "{why}");
    }
}

/// An index that lasts is not read as a whole, so that a flaw in it may lead to another certificate.
#[test]
fn a_damaged_index_leads_to_no_certificate_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let (source, temp_dir) = (folder.path().join("source"), folder.path().join("temp"));
    [&source, &temp_dir].iter().for_each(|path| fs::create_dir(path).unwrap());
    // So many that the index is kept.
    (0..32).for_each(|n| fs::write(source.join(format!("{n}.asc")), "nothing").unwrap());
    fs::write(source.join("a.pem"), pem(&RSA)).unwrap();
    let links = ["a", "b"].map(|name| folder.path().join(name));
    links.iter().for_each(|link| std::os::unix::fs::symlink(&source, link).unwrap());
    let found = |link: &Path, address: &str| {
        let settings = settings(&[link]);
        let (now, deadline, temp_dir) = (SystemTime::now(), Deadline::NONE, Some(&*temp_dir));
        let finder =
            Finder { settings: &settings, owner: Owner::default(), now, deadline, temp_dir, log: &() };
        finder.find(&Recipient::parse(address.as_bytes()).unwrap()).map(|found| found.len())
    };
    assert_eq!(found(&links[0], ME).unwrap(), 1);
    // The index is made one of the other link, which this process has not read.
    let entry = fs::read_dir(&temp_dir).unwrap().next().unwrap().unwrap();
    let name = entry.file_name().into_string().unwrap();
    let hash = |path: &Path| {
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    };
    let other = temp_dir.join(name.replace(&hash(&links[0]), &hash(&links[1])));
    assert_ne!(other, entry.path());
    fs::rename(entry.path(), &other).unwrap();
    let mut index = fs::read(&other).unwrap();
    *index.last_mut().unwrap() = b'b';
    let at = index.windows(ME.len()).position(|text| text == ME.as_bytes()).unwrap();
    index[at] ^= 2; // `m` becomes `o`
    fs::write(&other, index).unwrap();
    let why = found(&links[1], "oe@example.org").unwrap_err().to_string();
    assert!(why.contains("does not count for oe@example.org: it has other addresses"), "{why}");
}

#[test]
fn private_keys() {
    let (cert, key) = (pem(&RSA), key(&RSA));
    let told = "DIR/a.pem: it holds a private key, which must not be on a server: put the certificate alone there. Only it is used";
    for content in [[&cert[..], &key].concat(), [&key[..], &cert].concat()] {
        for name in ["a.pem", "me@example.org.pem"] {
            let (found, lines) = find(&[(name, &content)], ME.as_bytes(), Prefer::OpenPgp).unwrap();
            assert_eq!(found, [hex(&RSA)]);
            let lines: Vec<String> =
                lines.iter().map(|line| line.replace("me@example.org.pem", "a.pem")).collect();
            assert!(lines.len() == 1 && lines[0].ends_with(&told[3..]), "{lines:?}");
        }
        let why = find(&[], &content, Prefer::OpenPgp).unwrap_err();
        assert!(
            why.contains(
                "it holds the secret key, which must never be on a server: paste the certificate alone"
            ),
            "{why}"
        );
    }
    let pkcs12 = RSA.pkcs12();
    for (name, content, why) in [
        ("a.pem", &key, "a.pem: it holds a private key, which must not be on a server)"),
        (
            "a.crt",
            &pkcs12,
            "a.crt: it is a PKCS#12 file, which has the private key in it, and must not be on a server: put",
        ),
    ] {
        let found = find(&[(name, content)], ME.as_bytes(), Prefer::OpenPgp).unwrap_err();
        assert!(found.contains(why), "{found}");
    }
    let beside_openpgp = [armored(&key_for(ME)), key.clone()].concat();
    assert!(find(&[], &beside_openpgp, Prefer::OpenPgp).unwrap_err().contains("it holds a private key"));
    let why = find(&[], &key, Prefer::OpenPgp).unwrap_err();
    assert!(
        why.contains("it holds a private key, which must not be on a server. Paste all of the certificate"),
        "{why}"
    );
}

/// Neither takes anything away from the others.
#[test]
fn damaged_ones() {
    let good = pem(&RSA);
    let mut der = RSA.der();
    der.truncate(300);
    let cut = String::from_utf8(good.clone()).unwrap().replacen("\nMII", "\nMIA", 1);
    for (content, why) in [
        (der, "it is cut off"),
        (cut.into_bytes(), "it is"),
        (
            b"\x30\x82\x00\x05\x30\x03\x02\x01\x01".to_vec(),
            "it is not an X.509 certificate, or it is damaged",
        ),
        (b"\x30\x83\xff\xff\xff".to_vec(), "a certificate in it is larger than 16 KiB"),
        (b"\x30\x84\xff\xff\xff\xff".to_vec(), "it is damaged"),
    ] {
        let found = find(&[("a.crt", &content)], ME.as_bytes(), Prefer::OpenPgp).unwrap_err();
        assert!(found.contains(&format!("a.crt: {why}")), "{found}");
        assert_eq!(
            fingerprints(&[("a.crt", &content), ("b.pem", &good)], ME.as_bytes(), Prefer::OpenPgp),
            [hex(&RSA)]
        );
    }
}

#[test]
fn what_the_author_of_a_script_is_told() {
    let authority = pem(&Identity::authority());
    let soon = SystemTime::now() + DAY * 3640;
    for (text, now, finding) in [
        (pem(&RSA), SystemTime::now(), None),
        ([&pem(&RSA)[..], &authority].concat(), SystemTime::now(), None),
        (pem(&RSA), soon, Some((Level::Warning, "expires in 9 days: renew it, and export it anew"))),
        (authority, SystemTime::now(), Some((Level::Error, "is for signing other certificates (CA:TRUE)"))),
        (key(&RSA), SystemTime::now(), Some((Level::Error, "it holds a private key, which must not be"))),
        (pem(&RSA)[..900].to_vec(), SystemTime::now(), Some((Level::Error, "its armor has no END line"))),
    ] {
        let loaded = Loaded::new(&RawSettings::default(), Words::default());
        let found = advice::recipient(&loaded, Owner::default(), &text, now, &());
        let told = found.for_author(Author::Uploads);
        let is_right = match (&told, &finding) {
            (Some((level, told)), Some((wanted, text))) => level == wanted && told.contains(text),
            (told, finding) => told.is_none() && finding.is_none(),
        };
        assert!(is_right, "{told:?} and not {finding:?}");
    }
}

/// A certificate of many names takes OpenSSL long.
#[test]
fn a_file_full_of_large_ones() {
    let names: Vec<String> = (0..900).map(|n| format!("email:{n}@example.org")).collect();
    let extensions = format!("basicConstraints = CA:FALSE\nsubjectAltName = {}\n", names.join(","));
    let large = Identity::with("P-256", &extensions, None).der();
    assert!((8 << 10..16 << 10).contains(&large.len()), "{}", large.len());
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("pgp-certs")).unwrap();
    fs::write(home.path().join("pgp-certs/a.pem"), pem(&RSA)).unwrap();
    fs::write(home.path().join("pgp-certs/b.crt"), large.repeat(30)).unwrap();
    let settings = Settings { sources: vec![SourcePath::Home("pgp-certs".into())], ..settings(&[]) };
    let owner = Owner { user: "", recipient: None, home: home.path().to_str() };
    let (now, deadline) = (SystemTime::now(), Deadline::NONE);
    let finder = Finder { settings: &settings, owner, now, deadline, temp_dir: None, log: &() };
    let why = finder.find(&Recipient::Address(ME.into())).unwrap_err().to_string();
    assert!(why.contains("more than 256 KiB of X.509 certificates, which is the most that is read"), "{why}");
}

/// A further User ID of somebody else's certificate in a later place would take the mail over.
#[test]
fn a_later_place_never_takes_mail_over() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(first.path().join("a.pem"), pem(&RSA)).unwrap();
    fs::write(second.path().join("b.asc"), armored(&key_for(ME))).unwrap();
    for (prefer, later) in [(Prefer::OpenPgp, false), (Prefer::Smime, false), (Prefer::OpenPgp, true)] {
        let now = SystemTime::now() + if later { DAY * 20_000 } else { Duration::ZERO };
        let settings = Settings { prefer, ..settings(&[first.path(), second.path()]) };
        let (owner, deadline) = (Owner::default(), Deadline::NONE);
        let finder = Finder { settings: &settings, owner, now, deadline, temp_dir: None, log: &() };
        let found = finder.find(&Recipient::Address(ME.into())).unwrap();
        assert!(found.len() == 1 && found[0].fingerprint() == hex(&RSA), "{prefer:?}, {later}");
    }
}

#[test]
fn a_name_is_a_mailbox_and_nothing_more() {
    for name in ["mallory@evil.org <me@example.org>", "mailto:me@example.org", " me@example.org"] {
        let extensions = format!("basicConstraints = CA:FALSE\nsubjectAltName = @names\n[names]\notherName = 1.3.6.1.5.5.7.8.9;UTF8:\"{name}\"\nemail = other@example.org\n");
        let identity = Identity::with("P-256", &extensions, None);
        let found = find(&[("a.pem", &pem(&identity))], ME.as_bytes(), Prefer::OpenPgp);
        assert!(found.is_err(), "{name}: {found:?}");
        assert!(find(&[("a.pem", &pem(&identity))], b"other@example.org", Prefer::OpenPgp).is_ok(), "{name}");
    }
}
