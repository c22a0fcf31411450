//! Measures the core alone, by size of the message, and beside it the limit of the machine: cipher, hash,
//! base64 and checksum, by the same libraries over the same bytes, one after the other.
//!
//! `cargo bench` prints the ratio at the end: 1.00 is the limit. A small message takes longer, because most
//! of its time goes to the public-key operation, which is not part of the limit.
//!
//! The second table is about compression: beside the whole, it has the time of its parts, which are compression alone, and
//! encryption of what comes out of it.
//!
//! The third table is about S/MIME: the limit is cipher and base64.

use std::hint::black_box;
use std::io::{Cursor, Write};
use std::mem::ManuallyDrop;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use base64_simd::AsOut;
use crc::{Crc, Table, CRC_24_OPENPGP};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use ossl::cipher::{AeadParams, AesSize, EncAlg, OsslCipher};
use ossl::digest::{DigestAlg, OsslDigest};
use ossl::{OsslContext, OsslSecret};

use flate2::write::ZlibEncoder;
use flate2::Compression;

use perot_encrypt::certs::choose::{choose, RecipientKeys};
use perot_encrypt::certs::finder::Owner;
use perot_encrypt::certs::rules::Sha1;
use perot_encrypt::deadline::Deadline;
use perot_encrypt::encrypt::{encrypt, Job};
use perot_encrypt::envelope::{Envelope, Seal};
use perot_encrypt::openpgp::encryptor::{Container, Encryptor};
use perot_encrypt::settings::{Settings, Subkeys};
use perot_encrypt::smime::Smime;
use perot_testing::smime::Identity;
use perot_testing::{armored, base64_lines, key_for, settings, version6};

const ME: &str = "me@example.org";
const SIZES: [(&str, usize); 4] =
    [("4 kB", 4 << 10), ("30 kB", 30 << 10), ("1 MB", 1 << 20), ("25 MB", 25 << 20)];

/// Makes a message of about the given size, with lines as in mail.
fn message(size: usize) -> Vec<u8> {
    let mut message = b"From: a@example.org\r\nSubject: x\r\nContent-Type: text/plain\r\n\r\n".to_vec();
    while message.len() < size {
        message.extend_from_slice(
            b"The nightingale sings all night long, and nobody who hears it goes to sleep.\r\n",
        );
    }
    message
}

/// Makes a message with an attachment that is compressed already, as most are.
fn attachment(size: usize) -> Vec<u8> {
    let mut message = b"From: a@example.org\r\nSubject: x\r\nContent-Type: image/jpeg\r\n\
                        Content-Transfer-Encoding: base64\r\n\r\n"
        .to_vec();
    let mut data = vec![0; size / 78 * 57];
    sequoia_openpgp::crypto::random(&mut data).unwrap();
    message.extend(base64_lines(&data));
    message
}

/// Accepts all bytes, and drops them.
struct Sink;

impl Write for Sink {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        black_box(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn encrypt_message(certs: &Path, message: &[u8], compress: bool) {
    let settings = Settings { compress, ..settings(&[certs]) };
    let job = Job {
        settings: &settings,
        owner: Owner::default(),
        recipients: &[ME.as_bytes()],
        also: &[],
        force: false,
        hide_subject: false,
        smime: false,
        now: SystemTime::now(),
        deadline: Deadline::NONE,
        temp_dir: None,
    };
    encrypt(&job, &mut Cursor::new(message), &mut Sink, &()).unwrap();
}

fn compressed(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(1));
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// Compresses a message, and encrypts what comes out of it.
fn one_after_the_other(keys: &[RecipientKeys], message: &[u8]) {
    let container = Container::that_all_read(keys).unwrap();
    let mut encryptor = Encryptor::new(keys, container, false, Sink).unwrap();
    encryptor.write_all(&compressed(message)).unwrap();
    encryptor.finish().unwrap();
}

/// Does only what every byte of a message has to go through. For version 6, one authenticating cipher
/// replaces cipher and hash.
fn limit(version6: bool, data: &[u8], out: &mut Vec<u8>) {
    // This is the default context of the process, which must not be freed.
    let context = ManuallyDrop::new(OsslContext::from_ctx(std::ptr::null_mut()));
    let key = OsslSecret::from_slice(&[7; 32]);
    let (algorithm, iv, tag) = if version6 {
        (EncAlg::AesOcb(AesSize::Aes256), vec![0; 15], Some(AeadParams::new(None, 16, 0)))
    } else {
        (EncAlg::AesCfb128(AesSize::Aes256), vec![0; 16], None)
    };
    let mut cipher = OsslCipher::new(&context, algorithm, true, key, Some(iv), tag).unwrap();
    out.resize(cipher.buffer_size(data.len()), 0);
    let length = cipher.update(data, out).unwrap();
    if !version6 {
        let mut hash = OsslDigest::new(&context, DigestAlg::Sha1, None).unwrap();
        hash.update(data).unwrap();
        let mut sum = [0; 20];
        hash.finalize(&mut sum).unwrap();
        black_box(sum);
    }
    black_box(CRC.checksum(&out[..length]));
    black_box(base64_simd::STANDARD.encode_to_string(&out[..length]));
}

/// Does only what every byte of an S/MIME message has to go through, in pieces that stay in the processor's cache.
fn smime_limit(data: &[u8]) {
    const PIECE: usize = 24 << 10;
    let context = ManuallyDrop::new(OsslContext::from_ctx(std::ptr::null_mut()));
    let key = OsslSecret::from_slice(&[7; 32]);
    let algorithm = EncAlg::AesCbc(AesSize::Aes256);
    let mut cipher = OsslCipher::new(&context, algorithm, true, key, Some(vec![0; 16]), None).unwrap();
    let mut encrypted = vec![0; cipher.buffer_size(PIECE)];
    let mut digits = vec![0; base64_simd::STANDARD.encoded_length(encrypted.len())];
    for piece in data.chunks(PIECE) {
        let length = cipher.update(piece, &mut encrypted).unwrap();
        black_box(base64_simd::STANDARD.encode(&encrypted[..length], digits.as_out()));
    }
}

fn encrypt_smime(envelope: &Smime, message: &[u8]) {
    let mut seal = envelope.open(Sink).unwrap();
    // As wrap::write_payload() does it, for lines that end in CR LF.
    message.chunks(64 << 10).for_each(|piece| seal.write_all(piece).unwrap());
    seal.finish().unwrap();
}

static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_24_OPENPGP);

/// Measures `run`. Returns the median time of one run.
fn measure(group: &mut BenchmarkGroup<'_, WallTime>, id: BenchmarkId, mut run: impl FnMut()) -> Duration {
    let mut samples = Vec::new();
    group.bench_function(id, |bencher| {
        bencher.iter_custom(|runs| {
            let begin = Instant::now();
            (0..runs).for_each(|_| run());
            let all = begin.elapsed();
            samples.push(all.div_f64(runs as f64));
            all
        });
    });
    samples.sort();
    samples.get(samples.len() / 2).copied().unwrap_or_default()
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let mut criterion = Criterion::default().sample_size(20).configure_from_args();
    let (mut limits, mut parts) = (Vec::new(), Vec::new());
    for (version, key) in [("version 4", key_for(ME)), ("version 6", version6(ME))] {
        let certs = folder.path().join(version);
        std::fs::create_dir(&certs).unwrap();
        std::fs::write(certs.join("me.asc"), armored(&key)).unwrap();
        let mut group = criterion.benchmark_group(version);
        for (name, size) in SIZES {
            let message = message(size);
            group.throughput(Throughput::Bytes(message.len() as u64));
            let mut out = Vec::new();
            let limit = measure(&mut group, BenchmarkId::new("limit", name), || {
                limit(version == "version 6", &message, &mut out)
            });
            let ours = measure(&mut group, BenchmarkId::new("encrypt", name), || {
                encrypt_message(&certs, &message, false)
            });
            limits.push((version, name, limit, ours));
        }
        let keys = [choose(&key, SystemTime::now(), Sha1::Accepted, Subkeys::All).unwrap()];
        for (name, size) in SIZES {
            let message = attachment(size);
            group.throughput(Throughput::Bytes(message.len() as u64));
            let apart = measure(&mut group, BenchmarkId::new("compression, then encryption", name), || {
                one_after_the_other(&keys, &message)
            });
            let whole = measure(&mut group, BenchmarkId::new("encrypt, compressed", name), || {
                encrypt_message(&certs, &message, true)
            });
            parts.push((version, name, apart, whole));
        }
        group.finish();
    }
    let mut smime = Vec::new();
    for kind in ["rsa:2048", "P-256"] {
        let envelope = Smime::new(vec![Identity::new(kind, ME).recipient()]);
        let mut group = criterion.benchmark_group(kind.replace(':', " "));
        for (name, size) in SIZES {
            let message = message(size);
            group.throughput(Throughput::Bytes(message.len() as u64));
            let limit = measure(&mut group, BenchmarkId::new("limit", name), || smime_limit(&message));
            let ours =
                measure(&mut group, BenchmarkId::new("encrypt", name), || encrypt_smime(&envelope, &message));
            smime.push((kind, name, limit, ours));
        }
        group.finish();
    }
    criterion.final_summary();
    println!("\n{:12} {:>6} {:>12} {:>12} {:>6}", "certificate", "size", "limit", "encrypt", "ratio");
    for (version, name, limit, ours) in limits {
        let ratio = limit.as_secs_f64() / ours.as_secs_f64();
        println!("{version:12} {name:>6} {limit:>12.1?} {ours:>12.1?} {ratio:>6.2}");
    }
    println!("\n{:12} {:>6} {:>12} {:>12} {:>6}", "compressed", "size", "parts", "encrypt", "ratio");
    for (version, name, parts, whole) in parts {
        let ratio = whole.as_secs_f64() / parts.as_secs_f64();
        println!("{version:12} {name:>6} {parts:>12.1?} {whole:>12.1?} {ratio:>6.2}");
    }
    println!("\n{:12} {:>6} {:>12} {:>12} {:>6}", "S/MIME", "size", "limit", "encrypt", "ratio");
    for (kind, name, limit, ours) in smime {
        let ratio = ours.as_secs_f64() / limit.as_secs_f64();
        println!("{kind:12} {name:>6} {limit:>12.1?} {ours:>12.1?} {ratio:>6.2}");
    }
}
