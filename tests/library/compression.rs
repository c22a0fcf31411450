//! Compressed messages: what they are made of, that nothing of them is lost, and how large they are.

use std::io::{Cursor, Write};
use std::time::SystemTime;

use perot_encrypt::certs::choose::choose;
use perot_encrypt::certs::rules::Sha1;
use perot_encrypt::encrypt::Outcome;
use perot_encrypt::envelope::{Envelope, Seal};
use perot_encrypt::message::inspect::inspect;
use perot_encrypt::openpgp::pgp_mime::PgpMime;
use perot_encrypt::settings::{Settings, Subkeys};
use perot_testing::{
    armored, base64_lines, decrypt_content, encrypt_to, key_for, random_bytes, settings, version6,
};
use sequoia_openpgp::types::CompressionAlgorithm;
use sequoia_openpgp::Cert;

const ME: &str = "me@example.org";
const MIB: usize = 1 << 20;

fn keys() -> [Cert; 2] {
    [key_for(ME), version6(ME)]
}

/// Encrypts `payload`. Returns the body of the message.
fn sealed(key: &Cert, payload: &[u8], compress: bool) -> Vec<u8> {
    let envelope =
        PgpMime::new(vec![choose(key, SystemTime::now(), Sha1::Accepted, Subkeys::All).unwrap()], compress)
            .unwrap();
    let mut seal = envelope.open(Vec::new()).unwrap();
    seal.write_all(payload).unwrap();
    seal.finish().unwrap()
}

/// Makes text with many words, so that it is compressed as text is.
fn text(size: usize) -> Vec<u8> {
    let words = include_str!("../../README.md").split_ascii_whitespace().collect::<Vec<_>>();
    let picks = random_bytes(size / 2 + 1).into_iter().scan(0, |at, step| {
        *at = (*at + usize::from(step)) % words.len();
        Some(words[*at])
    });
    let mut text = picks.collect::<Vec<_>>().join(" ").into_bytes();
    text.truncate(size);
    assert_eq!(text.len(), size);
    text
}

/// Both packets are written in pieces of 64 KiB, and the smallest piece that may be one is 512 bytes.
#[test]
fn every_byte_comes_back() {
    let sizes = [0, 1, 511, 512, (64 << 10) - 1, 64 << 10, (64 << 10) + 1, 5 * MIB];
    for key in keys() {
        for size in sizes {
            for payload in [random_bytes(size), text(size)] {
                let (compression, content) = decrypt_content(&sealed(&key, &payload, true), &key);
                assert_eq!(compression, Some(CompressionAlgorithm::Zlib));
                assert!(content == payload, "{size}");
            }
        }
        assert_eq!(decrypt_content(&sealed(&key, b"x", false), &key), (None, b"x".to_vec()));
    }
}

#[test]
fn by_the_setting_and_left_alone_when_it_comes_again() {
    for key in keys() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("me.asc"), armored(&key)).unwrap();
        let settings = Settings { compress: true, ..settings(&[folder.path()]) };
        let message = [b"Content-Type: text/plain\r\n\r\n".to_vec(), text(100_000)].concat();
        let (_, stored) = encrypt_to(&settings, &[ME.as_bytes()], &message).unwrap();
        assert_eq!(decrypt_content(&stored, &key), (Some(CompressionAlgorithm::Zlib), message));
        assert!(inspect(&mut Cursor::new(&stored)).unwrap().encrypted);
        let (again, _) = encrypt_to(&settings, &[ME.as_bytes()], &stored).unwrap();
        assert_eq!(again, Outcome::AlreadyEncrypted);
    }
}

/// The sizes that the documentation promises. With fixed Huffman codes, an attachment would stay as large as it is.
#[test]
fn it_is_smaller() {
    let attachment = base64_lines(&random_bytes(3 * MIB));
    let newsletter: Vec<u8> = (0..20_000)
        .flat_map(|n| {
            format!(
                "<tr><td style=\"padding: 4px\"><a href=\"https://example.org/{n:x}\">{n}</a></td></tr>\r\n"
            )
            .into_bytes()
        })
        .collect();
    for key in keys() {
        for (payload, plain, compressed) in [
            (&attachment, 1.36..1.39, 1.02..1.06),
            (&newsletter, 1.36..1.39, 0.05..0.5),
            (&text(3 * MIB), 1.36..1.39, 0.4..0.7),
            // What cannot be compressed is stored as it is.
            (&random_bytes(3 * MIB), 1.36..1.39, 1.36..1.39),
        ] {
            for (compress, expected) in [(false, plain), (true, compressed)] {
                let ratio = sealed(&key, payload, compress).len() as f64 / payload.len() as f64;
                println!("compress = {compress}: {ratio:.3}");
                assert!(expected.contains(&ratio), "compress = {compress}: {ratio}, and not {expected:?}");
            }
        }
    }
}
