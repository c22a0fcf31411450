//! Writes the seeds of the fuzzer, in a folder for each target: the messages of the tests, and new keys.

use libfuzzer_sys as _; // it has the counters of the coverage
use std::fs;
use std::path::Path;

use perot_testing::smime::{Identity, KINDS};
use perot_testing::*;
use sequoia_openpgp::serialize::SerializeInto;
use sequoia_openpgp::Cert;

fn main() {
    let root = std::env::args_os().nth(1).expect("the folder to write to");
    let write = |target: &str, seeds: Vec<Vec<u8>>| {
        let folder = Path::new(&root).join(target);
        fs::create_dir_all(&folder).unwrap();
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(number.to_string()), seed).unwrap();
        }
    };
    write("header", headers().into_iter().map(|m| with_options(m, [0x80, 5])).collect());
    let messages = messages::encrypted().into_iter().chain(messages::not_encrypted()).map(|(_, m)| m);
    let messages: Vec<Vec<u8>> = messages.filter(|m| m.len() < 8 << 10).collect();
    write("inspect", messages.iter().map(|m| with_options(m.clone(), [0, 5])).collect());
    let all = messages.into_iter().chain(headers()).zip(0..=u8::MAX);
    write("encrypt", all.map(|(m, n)| with_options(m, [n, n])).collect());
    write("certificates", certificates());
    write("x509", x509());
    write("settings", SETTINGS.map(|s| s.as_bytes().to_vec()).to_vec());
}

fn with_options(mut message: Vec<u8>, options: [u8; 2]) -> Vec<u8> {
    message.extend(options);
    message
}

fn headers() -> Vec<Vec<u8>> {
    let rows: [&[u8]; 9] = [
        b"Received: a\r\n\tb\r\nDKIM-Signature: v=1;\r\n b=x\r\nSUBJECT: =?utf-8?q?x?=\r\nMime-Version: 1.0\r\n\r\nbody",
        b"From x@y Mon Jan  1 00:00:00 2024\nA: b\nContent-Type: x\n\nFrom z\n",
        b"From x\nSubject: x\ngarbage\n more\nThread-Topic: a/b\n\n",
        b"A: b\r\rsecret\rC: d\r\n e\r\nContent-Type: x\r\n\r\n\xff\xfe--x\r\n",
        b"A: b\r\nContent-Transfer-Encoding: binary\r\n\r\ngr\xfc\xdfe\r\n",
        b"A: b\nX: \x1ay\n folded\n\n\x1az\n",
        b" folded: x\nSubject : a\nsubject: b\n\n\xc3\xbc",
        b"Content-Type: multipart/signed; boundary=x\nSubject: no end\r",
        b"",
    ];
    rows.map(<[u8]>::to_vec).to_vec()
}

fn certificates() -> Vec<Vec<u8>> {
    let address = "me@t.org";
    let certs =
        [key_for(address), revoked(address), expired(address), signing_only(address), version6(address)];
    let binary = |cert: &Cert| cert.clone().strip_secret_key_material().to_vec().unwrap();
    let mut seeds: Vec<Vec<u8>> = certs.iter().flat_map(|cert| [armored(cert), binary(cert)]).collect();
    seeds.push([binary(&certs[0]), binary(&certs[1])].concat());
    seeds.push([armored(&certs[0]), armored(&certs[3])].concat());
    seeds.push(certs[0].as_tsk().to_vec().unwrap());
    seeds.push(armored_secret(&certs[0]));
    seeds
}

fn x509() -> Vec<Vec<u8>> {
    let extensions = [
        "subjectAltName = email:me@t.org, email:you@t.org, DNS:t.org, otherName:1.3.6.1.5.5.7.8.9;UTF8:b\u{fc}cher@t.org\n",
        "basicConstraints = critical, CA:FALSE\nkeyUsage = critical, keyEncipherment, keyAgreement\n",
        "basicConstraints = CA:TRUE\nextendedKeyUsage = emailProtection, clientAuth\nsubjectKeyIdentifier = hash\n",
    ];
    let identities = KINDS.iter().zip(extensions.iter().cycle());
    identities.map(|(kind, extensions)| Identity::with(kind, extensions, None).der()).collect()
}

/// The values of sieve_perot_encrypt_certs, _cert, _on_error, _hide_subject and _compress, then recipient,
/// user and envelope recipient.
const SETTINGS: [&str; 6] = [
    "~/pgp-certs /etc/certs\0-\0tempfail\0no\0yes\0me+x@t.org\0user\0me@t.org",
    "-\0yes\0keep\0yes\0no\0D2A1 5B36 4F3E 1B0C 0000  1111 2222 3333 4444 5555\0me@t.org\0-",
    "relative\0xsBNBF\0bounce\0true\0-\00xDEADBEEF\0\"a@b\"@t.org\0-",
    "/a\0a\x01r\x01nb\x01t\0keep\0no\0zlib\0-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nxsBN\n-----END PGP PUBLIC KEY BLOCK-----\0-",
    "-\0-----BEGIN PGP PUBLIC KEY BLOCK-----\0-\0-\0-\0Me <me@t.org>\0b\u{fc}cher@b\u{fc}cher.example\0a@b, c@d",
    "",
];
