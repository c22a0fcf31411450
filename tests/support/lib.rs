//! A crate for tests, examples, benchmarks and fuzzing: new keys, decryption, private mail servers, and the
//! properties that hold for every input.

mod ciphertext;
pub mod corpus;
pub mod dovecot;
pub mod messages;
pub mod mta;
pub mod oracle;
pub mod pages;
pub mod post_quantum;
mod reference;
pub mod smime;
mod valgrind;

use std::fs;
use std::io::Read;
use std::mem::take;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use perot_encrypt::certs::finder::Owner;
use perot_encrypt::deadline::Deadline;
use perot_encrypt::encrypt::{encrypt, Job, Outcome};
use perot_encrypt::error::{Error, Words};
use perot_encrypt::settings::{OnError, Settings, SourcePath, Subkeys};

use base64::Engine;
use flate2::bufread::ZlibDecoder;

use sequoia_openpgp as openpgp;

use openpgp::cert::CertBuilder;
use openpgp::crypto::{random, SessionKey};
use openpgp::packet::signature::SignatureBuilder;
use openpgp::packet::{Signature, PKESK, SEIP};
use openpgp::parse::{PacketParser, PacketParserResult, Parse};
use openpgp::serialize::SerializeInto;
use openpgp::types::{
    CompressionAlgorithm, HashAlgorithm, ReasonForRevocation, SignatureType, SymmetricAlgorithm,
};
use openpgp::{Cert, KeyHandle, Packet, Profile};

/// Makes a certificate with its secret key, for `address`.
pub fn key_for(address: &str) -> Cert {
    builder(address).generate().unwrap().0
}

/// Returns the builder behind [`key_for`], for special certificates.
pub fn builder(address: &str) -> CertBuilder<'static> {
    CertBuilder::general_purpose([format!("Test <{address}>")])
        .set_profile(Profile::RFC4880)
        .unwrap()
        .set_cipher_suite(openpgp::cert::CipherSuite::Cv25519)
}

/// Makes a certificate that is revoked.
pub fn revoked(address: &str) -> Cert {
    let (cert, _) = builder(address).generate().unwrap();
    let mut signer = cert.primary_key().key().clone().parts_into_secret().unwrap().into_keypair().unwrap();
    let reason = openpgp::types::ReasonForRevocation::KeyCompromised;
    let revocation = cert.revoke(&mut signer, reason, b"test").unwrap();
    cert.insert_packets(revocation).unwrap().0
}

/// Makes a certificate whose only User ID is revoked.
pub fn revoked_user_id(address: &str) -> Cert {
    let cert = key_for(address);
    let mut signer = cert.primary_key().key().clone().parts_into_secret().unwrap().into_keypair().unwrap();
    let user_id = cert.userids().next().unwrap().userid().clone();
    let revocation = SignatureBuilder::new(SignatureType::CertificationRevocation)
        .set_reason_for_revocation(ReasonForRevocation::UIDRetired, b"")
        .unwrap()
        .sign_userid_binding(&mut signer, cert.primary_key().key(), &user_id)
        .unwrap();
    cert.insert_packets(vec![Packet::from(revocation)]).unwrap().0
}

/// Makes a certificate whose self-signatures have SHA-1.
pub fn with_sha1(address: &str) -> Cert {
    let cert = CertBuilder::new().set_profile(Profile::RFC4880).unwrap();
    let cert = cert.add_userid(format!("Test <{address}>")).add_transport_encryption_subkey();
    let cert = cert.generate().unwrap().0;
    let primary = cert.primary_key().key().clone().parts_into_secret().unwrap();
    let mut signer = primary.clone().into_keypair().unwrap();
    let again = |old: &Signature| SignatureBuilder::from(old.clone()).set_hash_algo(HashAlgorithm::SHA1);
    let user_id = cert.userids().next().unwrap();
    let of_user_id = again(user_id.self_signatures().next().unwrap())
        .sign_userid_binding(&mut signer, cert.primary_key().key(), user_id.userid())
        .unwrap();
    let subkey = cert.keys().subkeys().next().unwrap();
    let of_subkey = again(subkey.self_signatures().next().unwrap())
        .sign_subkey_binding(&mut signer, cert.primary_key().key(), subkey.key())
        .unwrap();
    let secret = subkey.key().clone().parts_into_secret().unwrap();
    let packets: [Packet; 5] =
        [primary.into(), user_id.userid().clone().into(), of_user_id.into(), secret.into(), of_subkey.into()];
    Cert::from_packets(packets.into_iter()).unwrap()
}

/// Makes a certificate that expired yesterday.
pub fn expired(address: &str) -> Cert {
    let day = Duration::from_secs(24 * 60 * 60);
    let created = SystemTime::now() - 3 * day;
    builder(address).set_creation_time(created).set_validity_period(2 * day).generate().unwrap().0
}

/// Makes a certificate that can sign but not encrypt.
pub fn signing_only(address: &str) -> Cert {
    let builder = CertBuilder::new().add_userid(format!("<{address}>")).add_signing_subkey();
    builder.generate().unwrap().0
}

/// Makes a version 6 certificate.
pub fn version6(address: &str) -> Cert {
    builder(address).set_profile(Profile::RFC9580).unwrap().generate().unwrap().0
}

/// Makes a version 6 certificate that announces SEIPDv2 only.
pub fn only_seipd2(address: &str) -> Cert {
    let features = openpgp::types::Features::empty().set_seipdv2();
    let builder = builder(address).set_profile(Profile::RFC9580).unwrap();
    builder.set_features(features).unwrap().generate().unwrap().0
}

/// Exports a certificate with its secret key, armored. It must never be on a server.
pub fn armored_secret(cert: &Cert) -> Vec<u8> {
    cert.as_tsk().armored().to_vec().unwrap()
}

/// Exports the public part of a certificate, armored.
pub fn armored(cert: &Cert) -> Vec<u8> {
    cert.clone().strip_secret_key_material().armored().to_vec().unwrap()
}

/// Makes bytes that cannot be compressed.
pub fn random_bytes(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    random(&mut bytes).unwrap();
    bytes
}

/// Makes a GnuPG keyring with one key, as users of gpgit have it.
pub fn keyring(home: &Path, key: &Cert) {
    let secret = home.join("secret.asc");
    fs::write(&secret, armored_secret(key)).unwrap();
    fs::create_dir(home.join(".gnupg")).unwrap();
    fs::set_permissions(home.join(".gnupg"), fs::Permissions::from_mode(0o700)).unwrap();
    let mut import = Command::new("gpg");
    import.args(["--batch", "--quiet", "--import"]).arg(&secret).env("HOME", home).env_remove("GNUPGHOME");
    assert!(dovecot::run(&mut import).status.success());
    fs::remove_file(secret).unwrap();
    let _ = Command::new("gpgconf").args(["--kill", "all"]).env("HOME", home).status();
}

/// Makes settings that have these sources and nothing else.
pub fn settings(sources: &[&Path]) -> Settings {
    Settings {
        sources: sources.iter().map(|p| SourcePath::Absolute(p.to_str().unwrap().into())).collect(),
        owner_address: None,
        owner_cert: None,
        on_no_certificate: OnError::TempFail,
        hide_subject: false,
        compress: false,
        subkeys: Subkeys::All,
        words: Words::default(),
    }
}

/// Encrypts `message` to `recipients`.
pub fn encrypt_to(
    settings: &Settings,
    recipients: &[&[u8]],
    message: &[u8],
) -> Result<(Outcome, Vec<u8>), Error> {
    let owner = Owner { user: "tester", ..Owner::default() };
    let job = Job {
        settings,
        owner,
        recipients,
        also: &[],
        force: false,
        hide_subject: false,
        now: SystemTime::now(),
        deadline: Deadline::NONE,
        temp_dir: None,
    };
    encrypt(&job, &mut std::io::Cursor::new(message), Vec::new(), &())
}

/// Returns the ciphertext in a PGP/MIME message.
pub fn ciphertext(message: &[u8]) -> &[u8] {
    const END: &[u8] = b"-----END PGP MESSAGE-----";
    let begin = find(message, b"-----BEGIN PGP MESSAGE-----").expect("an armored message");
    let end = find(message, END).expect("the end of the armor") + END.len();
    &message[begin..end]
}

/// Returns the position of `needle` in `haystack`.
pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(haystack, needle)
}

/// Decrypts the ciphertext in `message`.
pub fn decrypt(message: &[u8], key: &Cert) -> Vec<u8> {
    decrypt_content(message, key).1
}

/// Decrypts the ciphertext in `message`. Returns the compression, if there is one, and the content of the literal packet.
///
/// sequoia's own decryptor reads no compressed messages here: that would take features that the plugin is built without.
pub fn decrypt_content(message: &[u8], key: &Cert) -> (Option<CompressionAlgorithm>, Vec<u8>) {
    let mut packets = packets(ciphertext(message), Some(key));
    let old = packets.iter().any(|(packet, _)| matches!(packet, Packet::SEIP(SEIP::V1(_))));
    #[allow(deprecated)] // sequoia wants nobody to write it
    let sound = matches!(packets.last(), Some((Packet::MDC(hash), _)) if hash.valid());
    assert_eq!(sound, old, "the integrity of the container");
    packets.truncate(packets.len() - usize::from(old));
    let [session_keys @ .., (Packet::SEIP(_), _), (packet, content)] = &mut packets[..] else {
        panic!("the key opens no container with one packet in it");
    };
    assert!(session_keys.iter().all(|(packet, _)| matches!(packet, Packet::PKESK(_))));
    match packet {
        Packet::Literal(_) => (None, take(content)),
        Packet::CompressedData(compressed) => (Some(compressed.algo()), literal(&inflated(content))),
        other => panic!("neither literal nor compressed: {other:?}"),
    }
}

/// Returns the packets in `data` with their contents, in order, also those in a container that `key` opens.
fn packets(data: &[u8], key: Option<&Cert>) -> Vec<(Packet, Vec<u8>)> {
    let mut found: Vec<(Packet, Vec<u8>)> = Vec::new();
    let mut next = PacketParser::from_bytes(data).unwrap();
    while let PacketParserResult::Some(mut parser) = next {
        let mut content = Vec::new();
        if let Packet::SEIP(container) = &parser.packet {
            let algorithm = matches!(container, SEIP::V1(_)).then_some(SymmetricAlgorithm::AES256);
            let pkesks = found.iter().filter_map(|(packet, _)| match packet {
                Packet::PKESK(pkesk) => Some(pkesk),
                _ => None,
            });
            let session_key =
                key.and_then(|key| pkesks.filter_map(|p| session_key(p, key, algorithm)).next());
            parser.decrypt(algorithm, &session_key.expect("the key opens the message")).unwrap();
        } else {
            parser.read_to_end(&mut content).unwrap();
        }
        let (packet, rest) = parser.recurse().unwrap();
        found.push((packet, content));
        next = rest;
    }
    found
}

/// Decrypts a session key, if it is for `cert`.
fn session_key(pkesk: &PKESK, cert: &Cert, algorithm: Option<SymmetricAlgorithm>) -> Option<SessionKey> {
    // With the wrong key, OpenSSL may return a session key of any length, and sequoia panics if it is empty.
    let fits = |handle: KeyHandle| pkesk.recipient().is_none_or(|recipient| recipient.aliases(&handle));
    let keys = cert.keys().unencrypted_secret().filter(|key| fits(key.key().key_handle()));
    let mut pairs = keys.map(|key| key.key().clone().into_keypair().unwrap());
    pairs.find_map(|mut pair| pkesk.decrypt(&mut pair, algorithm)).map(|(_, session_key)| session_key)
}

fn inflated(zlib: &[u8]) -> Vec<u8> {
    let mut decoder = ZlibDecoder::new(zlib);
    let mut data = Vec::new();
    decoder.read_to_end(&mut data).unwrap();
    assert_eq!(decoder.total_in(), zlib.len() as u64, "nothing else is in the packet");
    data
}

fn literal(data: &[u8]) -> Vec<u8> {
    match &mut packets(data, None)[..] {
        [(Packet::Literal(_), content)] => take(content),
        other => panic!("not one literal packet: {} packets", other.len()),
    }
}

/// Encodes `data` as attachments are: in lines of 76 digits.
pub fn base64_lines(data: &[u8]) -> Vec<u8> {
    let encode = |line| base64::engine::general_purpose::STANDARD.encode(line) + "\r\n";
    data.chunks(57).map(encode).collect::<String>().into_bytes()
}

/// Adds a CR to each LF in `message` that lacks one.
pub fn with_crlf(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for &byte in message {
        if byte == b'\n' && out.last() != Some(&b'\r') {
            out.push(b'\r');
        }
        out.push(byte);
    }
    out
}
