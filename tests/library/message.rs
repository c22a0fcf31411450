//! The form of an encrypted message, byte by byte.

use std::io;

use perot_encrypt::encrypt::Outcome;
use perot_encrypt::message::inspect::inspect;
use perot_encrypt::settings::Settings;
use perot_testing::{armored, ciphertext, decrypt, encrypt_to, find, key_for, settings, version6};
use sequoia_openpgp::Cert;

const ME: &str = "me@example.org";

struct Fixture {
    key: Cert,
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self::with(key_for(ME))
    }

    fn with(key: Cert) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("me.asc"), armored(&key)).unwrap();
        Self { key, folder }
    }

    /// Returns the encrypted message and its payload.
    fn encrypt(&self, message: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let (outcome, encrypted) =
            encrypt_to(&settings(&[self.folder.path()]), &[ME.as_bytes()], message).unwrap();
        let Outcome::Encrypted { bytes_in, bytes_out, recipients } = outcome else { panic!("left alone") };
        assert_eq!((bytes_in, bytes_out), (message.len() as u64, encrypted.len() as u64));
        assert_eq!(recipients, [self.key.fingerprint().to_hex()]);
        let payload = decrypt(&encrypted, &self.key);
        (encrypted, payload)
    }
}

/// Returns the outer header up to the fields that the product adds.
fn outer(encrypted: &[u8]) -> &[u8] {
    &encrypted[..find(encrypted, b"Encrypted-On-Delivery: pgp-mime; agent=").unwrap()]
}

#[test]
fn the_whole_of_it() {
    let fixture = Fixture::new();
    let (encrypted, payload) = fixture.encrypt(b"Subject: x\nContent-Type: text/plain\n\nbody\n");
    assert_eq!(payload, b"Subject: x\r\nContent-Type: text/plain\r\n\r\nbody\r\n");
    let text = String::from_utf8(encrypted.clone()).unwrap();
    let boundary = text.split("boundary=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(boundary.len(), 32);
    let expected = format!(
        "Subject: x\r\n\
         Encrypted-On-Delivery: pgp-mime; agent=\"vnd.perot.encrypt/{}\";\r\n to={}\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\";\r\n boundary=\"{boundary}\"\r\n\
         \r\n\
         --{boundary}\r\n\
         Content-Type: application/pgp-encrypted\r\n\
         Content-Description: PGP/MIME version identification\r\n\
         \r\n\
         Version: 1\r\n\
         \r\n\
         --{boundary}\r\n\
         Content-Type: application/octet-stream; name=\"encrypted.asc\"\r\n\
         Content-Description: OpenPGP encrypted message\r\n\
         Content-Disposition: inline; filename=\"encrypted.asc\"\r\n\
         \r\n\
         {}\r\n\
         \r\n\
         --{boundary}--\r\n",
        env!("CARGO_PKG_VERSION"),
        fixture.key.fingerprint().to_hex(),
        std::str::from_utf8(ciphertext(&encrypted)).unwrap(),
    );
    assert_eq!(text, expected);
    let (other, _) = fixture.encrypt(b"Subject: x\n\n");
    assert!(find(&other, boundary.as_bytes()).is_none(), "the boundary is random");
}

/// Each row: a message, the part of the outer header that is made from it, and the payload.
#[test]
fn header_and_payload() {
    let fixture = Fixture::new();
    let typed = "Content-Type: text/plain\r\n";
    let rows: Vec<(Vec<u8>, &str, Vec<u8>)> = vec![
        // Every field stays, in its order and folded as it is. Those about the original body go.
        (
            format!(
                "Received: a\r\n\tb\r\nDKIM-Signature: v=1;\r\n b=x\r\nSUBJECT: =?utf-8?q?x?=\r\nMime-Version: 1.0\r\n\
                 Content-Transfer-Encoding: 8bit\r\nContent-Language: de\r\nContent-Length: 7\r\nLines: 3\r\n\
                 DomainKey-Signature: x\r\nARC-Seal: x\r\nARC-Message-Signature: x\r\nARC-Authentication-Results: x\r\n\
                 Encrypted-On-Delivery: forged\r\n{typed}X-Last : y\r\n\r\nbody"
            )
            .into_bytes(),
            "Received: a\r\n\tb\r\nSUBJECT: =?utf-8?q?x?=\r\nX-Last: y\r\n",
            vec![],
        ),
        // No byte of the body changes, apart from bare line feeds.
        (b"Content-Type: x\r\n\r\na\0b\rc\n\nd\r\r\n\xff\xfe--x\r\n".to_vec(), "", b"Content-Type: x\r\n\r\na\0b\rc\r\n\r\nd\r\r\n\xff\xfe--x\r\n".to_vec()),
        // Duplicate and broken fields stay.
        (b"Content-Type: a/b\r\ncontent-type: c\r\n\r\nx".to_vec(), "", vec![]),
        // A `From ` line of mbox goes.
        (b"From x@y Mon Jan  1 00:00:00 2024\nA: b\nContent-Type: x\n\nFrom z\n".to_vec(), "A: b\r\n", b"A: b\r\nContent-Type: x\r\n\r\nFrom z\r\n".to_vec()),
        // Behind fields, it is left out of the outer header only.
        (b"R: a\nFrom x@y Mon Jan  1 00:00:00 2024\nA: b\nContent-Type: x\n\n".to_vec(), "R: a\r\nA: b\r\n", b"R: a\r\nFrom x@y Mon Jan  1 00:00:00 2024\r\nA: b\r\nContent-Type: x\r\n\r\n".to_vec()),
        // With a bare CR, it may be the whole message.
        (b"From x@y Mon Jan  1 00:00:00 2024\rA: b\r\rtext\r\n".to_vec(), "", b"Content-Type: text/plain; charset=us-ascii\r\nFrom x@y Mon Jan  1 00:00:00 2024\rA: b\r\rtext\r\n\r\n".to_vec()),
        // White space before the colon is allowed (RFC 5322, section 4.5), and some programs do not know it.
        (b"From : x@y\r\nA \t :b\r\n : c\r\nContent-Type: x\r\n\r\n".to_vec(), "From: x@y\r\nA:b\r\n : c\r\n", vec![]),
        // Without a Content-Type.
        (b"A: b\r\n\r\nplain\r\n".to_vec(), "A: b\r\n", b"Content-Type: text/plain; charset=us-ascii\r\nA: b\r\n\r\nplain\r\n".to_vec()),
        (
            "A: b\r\n\r\ngrüße\r\n".into(),
            "A: b\r\n",
            "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\nA: b\r\n\r\ngrüße\r\n".into(),
        ),
        (
            b"A: b\r\nContent-Transfer-Encoding: binary\r\n\r\ngr\xfc\xdfe\r\n".to_vec(),
            "A: b\r\n",
            b"Content-Type: text/plain; charset=windows-1252\r\nA: b\r\nContent-Transfer-Encoding: binary\r\n\r\ngr\xfc\xdfe\r\n".to_vec(),
        ),
        // Without an end of the header.
        (b"A: b\r\nContent-Type: x\r\n".to_vec(), "A: b\r\n", b"A: b\r\nContent-Type: x\r\n\r\n".to_vec()),
        (b"Content-Type: x\r\nA: b".to_vec(), "A: b\r\n", b"Content-Type: x\r\nA: b\r\n\r\n".to_vec()),
        (b"".to_vec(), "", b"Content-Type: text/plain; charset=us-ascii\r\n\r\n".to_vec()),
        (b"\r\nbody".to_vec(), "", b"Content-Type: text/plain; charset=us-ascii\r\n\r\nbody".to_vec()),
        // The outer header ends at a line that is not a field: for many programs, the body begins there.
        (
            b"A: b\r\nDear Alice,\r\n the secret is out\r\nC: d\r\nContent-Type: x\r\n\r\n".to_vec(),
            "A: b\r\n",
            vec![],
        ),
        (b"A: b\r\n>From x@y Mon Jan  1 00:00:00 2024\r\nC: d\r\nContent-Type: x\r\n\r\n".to_vec(), "A: b\r\n", vec![]),
        (b"A: b\r\nFrom here on it is secret\r\nC: d\r\nContent-Type: x\r\n\r\n".to_vec(), "A: b\r\n", vec![]),
        (b"A: b\r\n: c\r\nC: d\r\nContent-Type: x\r\n\r\n".to_vec(), "A: b\r\n", vec![]),
        (b" folded\r\nC: d\r\nContent-Type: x\r\n\r\n".to_vec(), "", vec![]),
        (
            "A: b\r\ngrüße\r\n\r\nx".into(),
            "A: b\r\n",
            "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\nA: b\r\ngrüße\r\n\r\nx".into(),
        ),
        // The rest after a bare CR is left out, too.
        (b"A: b\r\rsecret\rC: d\r\n e\r\nContent-Type: x\r\n\r\n".to_vec(), "A: b\r\n", vec![]),
        (b"A: b\r\nsecret\r: x\r\nC: d\r\nContent-Type: x\r\n\r\n".to_vec(), "A: b\r\n", vec![]),
        // Nothing can be added to the fields of the product.
        (b"Content-Type: x\r\n boundary=y\r\nMIME-Version: 1.0\r\n\r\n".to_vec(), "", vec![]),
    ];
    for (message, header, expected) in rows {
        let (encrypted, payload) = fixture.encrypt(&message);
        let shown = String::from_utf8_lossy(&message).into_owned();
        assert_eq!(String::from_utf8_lossy(outer(&encrypted)), header, "{shown}");
        let expected = if expected.is_empty() { message } else { expected };
        assert_eq!(String::from_utf8_lossy(&payload), String::from_utf8_lossy(&expected), "{shown}");
        assert_eq!(payload, expected, "{shown}");
        let bare =
            encrypted.iter().enumerate().any(|(i, &b)| b == b'\n' && (i == 0 || encrypted[i - 1] != b'\r'));
        assert!(!bare, "a line feed without CR: {shown}");
    }
}

#[test]
fn sizes_at_all_borders() {
    let fixture = Fixture::new();
    // Packets are written in pieces of 64 KiB. With the bytes before their content, both the inner and the
    // outer packet end near such a boundary at one of these lengths.
    let near_a_piece = 65_536 - 128..65_536 + 16;
    for size in
        [0, 1, 47, 48, 49, 4095, 4096, 131_072, 1 << 20, (4 << 20) + 1].into_iter().chain(near_a_piece)
    {
        let mut message = b"Content-Type: application/octet-stream\r\n\r\n".to_vec();
        message.extend((0..size).map(|i| (i % 251) as u8).map(|b| if b == b'\n' { b'x' } else { b }));
        let (_, payload) = fixture.encrypt(&message);
        assert!(payload == message, "{size}");
    }
}

#[test]
fn a_line_longer_than_any_buffer() {
    let fixture = Fixture::new();
    let mut message = b"A: b\r\nX: ".to_vec();
    message.extend(std::iter::repeat_n(b'y', 300_000));
    message.extend_from_slice(b"\r\nContent-Type: x\r\n\r\n");
    message.extend(std::iter::repeat_n(b'z', 300_000));
    let (encrypted, payload) = fixture.encrypt(&message);
    assert_eq!(payload, message);
    let end = find(&message, b"Content-Type").unwrap();
    assert!(outer(&encrypted) == &message[..end]);
}

/// Fuzzing found this: if a line of more than 64 KiB was split between CR and LF, the rest of the field was
/// lost, and an encrypted message was encrypted again.
#[test]
fn long_lines_in_any_cut() {
    use perot_testing::oracle;
    let long = "x".repeat(66_000);
    let folded = format!("A: {long}\r\n folded\r\nContent-Type: x\r\n\r\n");
    let encrypted = perot_testing::messages::encrypted_in_one_line(70_000);
    for cut in 0..=200 {
        oracle::header(folded.as_bytes(), cut);
        assert!(oracle::inspection(&encrypted, cut).encrypted);
    }
}

#[test]
fn what_is_encrypted_is_not_encrypted_again() {
    // Fuzzing found a NUL in the outer header, and a line that is not a field.
    for message in [&b"A: b\r\n\r\nx"[..], b"A: b\0c\r\n\r\nx", b"A\r: b\r\nC: d\re\r\n\r\nx"] {
        let (encrypted, _) = Fixture::new().encrypt(message);
        assert!(inspect(&mut io::Cursor::new(encrypted)).unwrap().encrypted);
    }
}

/// Returns the packets of a message: the tag, and the version of PKESK and SEIPD packets.
fn packets(encrypted: &[u8]) -> Vec<(u8, u8)> {
    use std::io::Read;
    let mode = sequoia_openpgp::armor::ReaderMode::Tolerant(None);
    let mut data = Vec::new();
    sequoia_openpgp::armor::Reader::from_bytes(ciphertext(encrypted), mode).read_to_end(&mut data).unwrap();
    let mut found = Vec::new();
    let mut rest = &data[..];
    while let Some(header) = perot_encrypt::openpgp::packet::Header::parse(rest).unwrap() {
        found.push((header.tag, rest[header.size]));
        match header.length {
            perot_encrypt::openpgp::packet::BodyLength::Full(n) => rest = &rest[header.size + n as usize..],
            _ => break,
        }
    }
    found
}

#[test]
fn version_4_certificates_get_what_all_software_reads() {
    use sequoia_openpgp::types::Features;
    // This certificate announces SEIPDv2, as GnuPG 2.4 writes it.
    let advertising =
        perot_testing::builder(ME).set_features(Features::sequoia()).unwrap().generate().unwrap().0;
    for key in [key_for(ME), advertising] {
        let (encrypted, _) = Fixture::with(key).encrypt(b"A: b\r\n\r\nx");
        assert_eq!(packets(&encrypted), [(1, 3), (18, 1)]);
    }
    let (encrypted, payload) = Fixture::with(version6(ME)).encrypt(b"Content-Type: x\r\n\r\nx");
    assert_eq!(packets(&encrypted), [(1, 6), (18, 2)]);
    assert_eq!(payload, b"Content-Type: x\r\n\r\nx");
}

#[test]
fn several_recipients_each_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let keys: Vec<Cert> = (0..32).map(|i| key_for(&format!("u{i}@t.org"))).collect();
    for (i, key) in keys.iter().enumerate() {
        std::fs::write(folder.path().join(format!("{i}.asc")), armored(key)).unwrap();
    }
    let addresses: Vec<String> = (0..32).map(|i| format!("u{i}@t.org")).collect();
    let recipients: Vec<&[u8]> = addresses.iter().map(|a| a.as_bytes()).collect();
    let (_, encrypted) =
        encrypt_to(&settings(&[folder.path()]), &recipients, b"Content-Type: x\r\n\r\nx").unwrap();
    for key in &keys {
        assert_eq!(decrypt(&encrypted, key), b"Content-Type: x\r\n\r\nx");
    }
    assert!(encrypted.split(|&b| b == b'\n').all(|line| line.len() <= 998));
    let too_many: Vec<&[u8]> = recipients.iter().copied().chain([b"u0@t.org".as_slice()]).collect();
    let error = encrypt_to(&settings(&[folder.path()]), &too_many, b"").unwrap_err();
    assert_eq!(error.to_string(), "33 recipients: 32 is the most");
}

#[test]
fn a_message_that_cannot_be_read_or_written_is_an_error() {
    use perot_encrypt::certs::finder::Owner;
    use perot_encrypt::deadline::Deadline;
    use perot_encrypt::encrypt::{encrypt, Job};
    use perot_encrypt::error::Reason;
    use std::io::{Read, Write};

    /// Reads or writes some bytes, then fails.
    #[derive(Debug)]
    struct Broken(u64);
    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::Error::other("disk on fire"));
            }
            self.0 -= 1;
            buffer.fill(b'x');
            Ok(buffer.len())
        }
    }
    impl perot_encrypt::message::original::Original for Broken {
        fn rewind(&mut self) -> io::Result<()> {
            self.0 = 2;
            Ok(())
        }
    }
    impl Write for Broken {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
            Ok(data.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let fixture = Fixture::new();
    for compress in [false, true] {
        let settings = Settings { compress, ..settings(&[fixture.folder.path()]) };
        let job = Job {
            settings: &settings,
            owner: Owner::default(),
            recipients: &[ME.as_bytes()],
            also: &[],
            force: false,
            hide_subject: false,
            smime: false,
            now: std::time::SystemTime::now(),
            deadline: Deadline::NONE,
            temp_dir: None,
        };
        let error = encrypt(&job, &mut Broken(0), &mut Vec::new(), &()).unwrap_err();
        assert_eq!(error.reason(), Reason::UnreadableMessage);
        assert_eq!(error.to_string(), "the message cannot be read: disk on fire");
        let mut message = b"A: b\r\n\r\n".to_vec();
        message.resize(1 << 20, 0);
        sequoia_openpgp::crypto::random(&mut message[8..]).unwrap();
        for writes in 0..8 {
            let mut source = io::Cursor::new(&message);
            let error = encrypt(&job, &mut source, &mut Broken(writes), &()).unwrap_err();
            assert_eq!(error.reason(), Reason::WriteFailed, "{writes}: {error}");
            assert!(error.to_string().contains("cannot be written: "), "{error}");
        }
    }
}
