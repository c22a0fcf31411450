//! A crate for tests, examples, benchmarks and fuzzing: new keys, decryption, private mail servers, and the
//! properties that hold for every input.

mod ciphertext;
pub mod corpus;
pub mod dovecot;
pub mod messages;
pub mod mta;
pub mod oracle;
pub mod pages;
mod reference;
mod valgrind;

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use perot_encrypt::certs::finder::Owner;
use perot_encrypt::deadline::Deadline;
use perot_encrypt::encrypt::{encrypt, Job, Outcome};
use perot_encrypt::error::{Error, Words};
use perot_encrypt::settings::{OnError, Settings, SourcePath};

use sequoia_openpgp as openpgp;

use openpgp::cert::CertBuilder;
use openpgp::crypto::SessionKey;
use openpgp::parse::stream::{DecryptionHelper, DecryptorBuilder, MessageStructure, VerificationHelper};
use openpgp::parse::Parse;
use openpgp::policy::StandardPolicy;
use openpgp::serialize::SerializeInto;
use openpgp::types::SymmetricAlgorithm;
use openpgp::{Cert, KeyHandle, Profile};

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
    let policy = StandardPolicy::new();
    let mut decryptor = DecryptorBuilder::from_bytes(ciphertext(message))
        .unwrap()
        .with_policy(&policy, None, Helper(key.clone()))
        .expect("the key opens the message");
    let mut content = Vec::new();
    decryptor.read_to_end(&mut content).unwrap();
    content
}

struct Helper(Cert);

impl VerificationHelper for Helper {
    fn get_certs(&mut self, _: &[KeyHandle]) -> openpgp::Result<Vec<Cert>> {
        Ok(vec![])
    }

    fn check(&mut self, _: MessageStructure<'_>) -> openpgp::Result<()> {
        Ok(())
    }
}

impl DecryptionHelper for Helper {
    fn decrypt(
        &mut self,
        pkesks: &[openpgp::packet::PKESK],
        _: &[openpgp::packet::SKESK],
        algorithm: Option<SymmetricAlgorithm>,
        decrypt: &mut dyn FnMut(Option<SymmetricAlgorithm>, &SessionKey) -> bool,
    ) -> openpgp::Result<Option<Cert>> {
        for key in self.0.keys().unencrypted_secret() {
            let mut pair = key.key().clone().into_keypair()?;
            // With the wrong key, OpenSSL may return a session key of any length, and sequoia panics if it is
            // empty.
            let handle = key.key().key_handle();
            for pkesk in pkesks.iter().filter(|p| p.recipient().is_none_or(|r| r.aliases(&handle))) {
                if pkesk.decrypt(&mut pair, algorithm).is_some_and(|(a, sk)| decrypt(a, &sk)) {
                    return Ok(None);
                }
            }
        }
        Err(openpgp::anyhow::anyhow!("no key fits"))
    }
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
