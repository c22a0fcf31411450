//! S/MIME messages: what they are made of, that the right people read them and nothing of them is lost, and that no more of
//! them is kept in memory than a few pieces.

use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use base64::prelude::{Engine, BASE64_STANDARD};
use perot_encrypt::base64_lines::Base64Lines;
use perot_encrypt::certs::x509::choose;
use perot_encrypt::envelope::{Envelope, Seal};
use perot_encrypt::error::{Error, Reason};
use perot_encrypt::openssl::cms::EnvelopedData;
use perot_encrypt::openssl::x509::X509;
use perot_encrypt::smime::Smime;
use perot_testing::smime::{described, Identity, KINDS};
use perot_testing::{base64_lines, encrypt_to, random_bytes, settings};

const ME: &str = "me@example.org";

/// One of each kind, every second one with a certificate of an authority.
static IDENTITIES: LazyLock<Vec<Identity>> = LazyLock::new(|| {
    let authority = Identity::authority();
    let identity = |(n, kind): (usize, &&str)| match n % 2 {
        0 => Identity::new(kind, ME),
        _ => Identity::with(kind, "basicConstraints = critical, CA:FALSE\n", Some(&authority)),
    };
    KINDS.iter().enumerate().map(identity).collect()
});

fn envelope<'a>(identities: impl IntoIterator<Item = &'a Identity>) -> Smime {
    Smime::new(identities.into_iter().map(Identity::recipient).collect())
}

/// Encrypts `payload`, which arrives in pieces of this size. Returns the message, with the fields that describe it.
fn sealed(envelope: &Smime, payload: &[u8], piece: usize) -> Vec<u8> {
    let begin = envelope.content_fields() + "\r\n";
    let mut seal = envelope.open(begin.into_bytes()).unwrap();
    payload.chunks(piece).for_each(|piece| seal.write_all(piece).unwrap());
    seal.finish().unwrap()
}

/// Takes a message out of base64.
fn container(envelope: &Smime, message: &[u8]) -> Vec<u8> {
    let body = message.strip_prefix((envelope.content_fields() + "\r\n").as_bytes()).unwrap();
    let lines: Vec<&str> = std::str::from_utf8(body).unwrap().split_terminator("\r\n").collect();
    let (last, full) = lines.split_last().unwrap();
    assert!(body.ends_with(b"\r\n") && full.iter().all(|line| line.len() == 76) && last.len() <= 76);
    BASE64_STANDARD.decode(lines.concat()).unwrap()
}

#[test]
fn every_byte_comes_back() {
    const BLOCK: usize = Base64Lines::<Vec<u8>, 76>::BLOCK;
    const PIECE: usize = 16 << 10;
    let sizes = [0, 1, 15, 16, 17, 4095, 4096, 4097, PIECE - 1, PIECE, PIECE + 1, BLOCK, 300_001];
    for identity in [&IDENTITIES[0], &IDENTITIES[3]] {
        let envelope = envelope([identity]);
        for size in sizes {
            let payload = random_bytes(size);
            for piece in [77, 64 << 10] {
                let message = sealed(&envelope, &payload, piece);
                assert!(identity.decrypt(&message) == payload, "{size} bytes in pieces of {piece}");
            }
        }
    }
    let payload = random_bytes(25 << 20);
    let message = sealed(&envelope([&IDENTITIES[0]]), &payload, 64 << 10);
    assert!(IDENTITIES[0].decrypt(&message) == payload);
    // Base64 takes 78 bytes for 57, and octet strings 4 for 4096.
    let ratio = message.len() as f64 / payload.len() as f64;
    assert!((1.36..1.371).contains(&ratio), "{ratio}");
}

#[test]
fn all_recipients_read_it() {
    let more: Vec<Identity> = (0..10).map(|n| Identity::new(["P-256", "rsa:2048"][n % 2], ME)).collect();
    let all: Vec<&Identity> = IDENTITIES.iter().chain(&more).collect();
    let payload = random_bytes(50_000);
    let alone = all[..KINDS.len()].iter().map(|one| vec![*one]);
    for identities in alone.chain([vec![all[0], all[1], all[4]], all.clone()]) {
        let message = sealed(&envelope(identities.iter().copied()), &payload, 100);
        for (n, identity) in identities.iter().enumerate() {
            assert!(identity.decrypt(&message) == payload, "{n} of {}", identities.len());
        }
    }
}

/// The only form that all programs read.
#[test]
fn algorithms_and_structure() {
    const RSA: [&str; 3] = ["d.ktri:", "rsaEncryption (1.2.840.113549.1.1.1)", "parameter: NULL"];
    const EC: [&str; 3] =
        ["d.kari:", "dhSinglePass-stdDH-sha256kdf-scheme (1.3.132.1.11.1)", "d.originatorKey:"];
    const BOTH: [&str; 4] = [
        "contentType: pkcs7-envelopedData (1.2.840.113549.1.7.3)",
        "contentType: pkcs7-data (1.2.840.113549.1.7.1)",
        "algorithm: aes-256-cbc (2.16.840.1.101.3.4.1.42)",
        "d.issuerAndSerialNumber:",
    ];
    for (n, identity) in IDENTITIES.iter().enumerate() {
        let envelope = envelope([identity]);
        let ber = container(&envelope, &sealed(&envelope, b"Subject: x\r\n\r\n", 100));
        // SEQUENCE of indefinite length, envelopedData
        assert!(ber.starts_with(b"\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03\xa0\x80\x30\x80"));
        assert!(ber.ends_with(&[0; 10]));
        let words = described(&ber);
        let is_rsa = n < 3;
        let (wanted, unwanted, version) = if is_rsa { (RSA, EC, 0) } else { (EC, RSA, 2) };
        for text in wanted.iter().chain(&BOTH).copied().chain([format!("version: {version}\n").as_str()]) {
            assert!(words.contains(text), "{text} is not in {words}");
        }
        assert!(!words.contains(unwanted[0]) && !words.contains("subjectKeyIdentifier"), "{words}");
        // The key wrap is a parameter of the key derivation: id-aes256-wrap, in DER.
        let wrap = b"\x60\x86\x48\x01\x65\x03\x04\x01\x2d";
        assert_eq!(perot_testing::find(&ber, wrap).is_some(), !is_rsa);
    }
}

/// Accepts a number of writes, then fails. Counts the bytes.
#[derive(Clone)]
struct Disk {
    written: Arc<AtomicUsize>,
    writes: usize,
}

impl Disk {
    fn new(writes: usize) -> Self {
        Self { written: Arc::default(), writes }
    }
}

impl Write for Disk {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.writes = self.writes.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
        self.written.fetch_add(data.len(), Ordering::Relaxed);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn memory_does_not_grow() {
    let envelope = envelope([&IDENTITIES[0]]);
    let disk = Disk::new(usize::MAX);
    let mut seal = envelope.open(disk.clone()).unwrap();
    let piece = random_bytes(64 << 10);
    for n in 1..=(100 << 20) / piece.len() {
        seal.write_all(&piece).unwrap();
        let waiting = (n * piece.len()) as f64 * 1.36 - disk.written.load(Ordering::Relaxed) as f64;
        assert!(waiting < 70_000.0, "{waiting} bytes wait after {n} pieces");
    }
    seal.finish().unwrap();
}

#[test]
fn a_failure_is_never_overlooked() {
    let attempt = |writes| -> Result<Disk, Error> {
        let envelope = envelope([&IDENTITIES[3]]);
        let mut seal = envelope.open(Disk::new(writes))?;
        seal.write_all(&[b'x'; 100_000]).map_err(perot_encrypt::error::Unwritable)?;
        seal.finish()
    };
    let reasons = (0..).map(attempt).map_while(Result::err);
    let reasons: Vec<Reason> = reasons.map(|why| why.reason()).collect();
    assert!(reasons.len() > 2 && reasons.iter().all(|why| *why == Reason::WriteFailed), "{reasons:?}");
    let cannot_encrypt = Identity::with("ed25519", "basicConstraints = CA:FALSE\n", None);
    for recipients in [vec![], vec![&cannot_encrypt], vec![&IDENTITIES[0], &cannot_encrypt]] {
        let Err(why) = envelope(recipients).open(Vec::new()) else { panic!("nobody could read it") };
        assert_eq!(why.reason(), Reason::CryptoFailed, "{why}");
    }
}

/// Makes a value of ASN.1 in DER.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len();
    let length = match length {
        0..0x80 => vec![length as u8],
        0x80..0x10000 => [&[0x82], &(length as u16).to_be_bytes()[..]].concat(),
        _ => [&[0x84], &(length as u32).to_be_bytes()[..]].concat(),
    };
    [&[tag][..], &length, &content].concat()
}

/// Makes a certificate of these parts, in DER. Its signature is wrong.
fn certificate(subject: &[u8], key: &[u8], extensions: &[u8]) -> Vec<u8> {
    issued(b"", subject, key, extensions)
}

fn issued(issuer: &[u8], subject: &[u8], key: &[u8], extensions: &[u8]) -> Vec<u8> {
    let algorithm = der(0x30, &[b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00"]);
    let validity = der(0x30, &[b"\x17\x0d250101000000Z", b"\x17\x0d490101000000Z"]);
    let extensions = der(0xa3, &[&der(0x30, &[extensions])]);
    let (issuer, subject) = (der(0x30, &[issuer]), der(0x30, &[subject]));
    let signed = der(
        0x30,
        &[b"\xa0\x03\x02\x01\x02\x02\x01\x01", &algorithm, &issuer, &validity, &subject, key, &extensions],
    );
    der(0x30, &[&signed, &algorithm, b"\x03\x02\x00\x00"])
}

fn rsa_key(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let key = der(0x30, &[&der(2, &[&[0], modulus]), &der(2, &[&[0], exponent])]);
    let algorithm = der(0x30, &[b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00"]);
    der(0x30, &[&algorithm, &der(3, &[&[0], &key])])
}

/// Makes an extension whose type is in the arc of RFC 5280.
fn extension(last: u8, value: &[u8]) -> Vec<u8> {
    der(0x30, &[b"\x06\x03\x55\x1d", &[last], &der(4, &[value])])
}

/// Names, uses and extensions by the thousand, and numbers that are far too large.
fn hostile(size: usize) -> Vec<(&'static str, Vec<u8>)> {
    let size = size - 700;
    let many = |what: &[u8]| what.repeat(size / what.len());
    let names = |name: &[u8]| extension(17, &der(0x30, &[&many(name)]));
    let odd = |size: usize| [vec![0xff; size - 1], vec![0xfd]].concat();
    let good_key = rsa_key(&odd(256), &[1, 0, 1]);
    let email = der(0x30, &[b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01\x16\x03a@b"]);
    let with = |extensions: &[u8]| certificate(b"", &good_key, extensions);
    let with_key =
        |modulus: usize, exponent: usize| certificate(b"", &rsa_key(&odd(modulus), &odd(exponent)), b"");
    let other_name = |size: usize| {
        let long_type = [vec![0xff; size], vec![0x7f]].concat();
        der(0xa0, &[&der(6, &[b"\x2b", &long_type]), b"\xa0\x03\x0c\x01a"])
    };
    vec![
        ("empty names", with(&names(b"\x81\x00"))),
        ("addresses", with(&names(b"\x81\x03a@b"))),
        ("directory names", with(&names(b"\xa4\x02\x30\x00"))),
        ("long types of names", with(&names(&other_name(500)))),
        ("a huge type of a name", with(&extension(17, &der(0x30, &[&other_name(size)])))),
        ("uses", with(&extension(37, &der(0x30, &[&many(b"\x06\x01\x2a")])))),
        ("extensions", with(&many(&extension(1, b"")))),
        ("critical extensions", with(&many(&der(0x30, &[b"\x06\x03\x55\x1d\x01\x01\x01\xff\x04\x00"])))),
        ("the same extension", with(&many(&extension(17, b"\x30\x00")))),
        ("distribution points", with(&extension(31, &der(0x30, &[&many(b"\x30\x00")])))),
        ("name constraints", with(&extension(30, &der(0x30, &[&der(0xa0, &[&many(b"\x30\x02\x81\x00")])])))),
        ("addresses in the subject", certificate(&many(&der(0x31, &[&email])), &good_key, b"")),
        ("16384 bits", with_key(2048, 3)),
        ("as many bits as there is room for", with_key(size, 3)),
        ("3072 bits with a large exponent", with_key(384, 383)),
        ("a huge exponent", with_key(256, size)),
    ]
}

/// With an exponent of 0 or 1, OpenSSL would write the session key as it is; with an even number, nobody could read the message.
#[test]
fn rsa_keys_that_do_not_encrypt() {
    let modulus = |last: u8| [vec![0xff; 255], vec![last]].concat();
    for (last, exponent, is_used) in
        [(0xfd, 3, true), (0xfd, 0, false), (0xfd, 1, false), (0xfd, 4, false), (0xfe, 3, false)]
    {
        let cert = certificate(b"", &rsa_key(&modulus(last), &[exponent]), b"");
        let cert = Arc::new(X509::from_der(&cert).unwrap());
        let chosen = choose(&cert, "FINGERPRINT", SystemTime::now());
        assert_eq!(chosen.is_ok(), is_used, "{last} {exponent}: {chosen:?}");
    }
}

/// OpenSSL takes the first of them, whose key may be that of the other.
#[test]
fn two_certificates_of_one_name_are_not_used_together() {
    let pem = |last: u8| {
        let modulus = [vec![0xff; 255], vec![last]].concat();
        let cert = certificate(b"", &rsa_key(&modulus, &[3]), b"");
        let lines = String::from_utf8(base64_lines(&cert)).unwrap();
        format!("-----BEGIN CERTIFICATE-----\n{lines}-----END CERTIFICATE-----\n").into_bytes()
    };
    let (one, other) = (pem(0xfd), pem(0xfb));
    let settings = settings(&[]);
    for recipients in [&[&one[..], &one][..], &[&other]] {
        encrypt_to(&settings, recipients, b"Subject: x\n\nx\n").unwrap();
    }
    for recipients in [&[&one[..], &other][..], &[&[&one[..], &other].concat()]] {
        let why = encrypt_to(&settings, recipients, b"Subject: x\n\nx\n").unwrap_err().to_string();
        assert!(why.contains("have the same issuer and serial number"), "{why}");
    }
}

/// Reads all of a certificate, and encrypts to it. Returns the time it takes.
fn time_of(cert: &[u8]) -> Option<Duration> {
    let begin = Instant::now();
    let cert = X509::from_der(cert)?;
    let key = cert.public_key();
    let _ = (cert.is_damaged(), cert.is_ca(), cert.may_encipher(&key), cert.is_for_mail(), cert.validity());
    assert!(cert.addresses(16).len() <= 16);
    let _ = EnvelopedData::new(&[&cert]);
    drop(cert);
    Some(begin.elapsed())
}

#[test]
fn hostile_certificates_take_no_time() {
    for (what, cert) in hostile(X509::LONGEST) {
        let times = [(); 3].map(|()| time_of(&cert).expect(what));
        let least = times.into_iter().min().unwrap();
        println!("{what}, {} bytes: {least:?}", cert.len());
        assert!(cert.len() > X509::LONGEST * 3 / 4 || cert.len() < 3000, "{what}: {} bytes", cert.len());
        assert!(least < Duration::from_millis(100), "{what} takes {least:?}");
    }
    // OpenSSL would take seconds, and hundreds of megabytes.
    let part = der(0x30, &[b"\x06\x01\x2a\x0c\x00"]);
    let relative = der(0x30, &[&der(0xa0, &[&der(0xa1, &[&part])])]);
    let (issuer, points) = (der(0x31, &[&part.repeat(850)]), der(0x30, &[&relative.repeat(550)]));
    let cert = issued(&issuer, b"", &rsa_key(&[0xff; 256], &[3]), &extension(31, &points));
    assert!(cert.len() < X509::LONGEST && time_of(&cert).is_none(), "{} bytes", cert.len());
    for (what, cert) in hostile(X509::LONGEST * 2) {
        assert!(cert.len() < 3000 || time_of(&cert).is_none(), "{what}");
    }
}
