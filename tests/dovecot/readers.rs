//! What is stored is read by the programs that people read it with.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use sequoia_openpgp::armor;
use sequoia_openpgp::serialize::SerializeInto;
use sequoia_openpgp::Cert;

use crate::message;
use crate::support::dovecot::run;
use crate::support::{armored, armored_secret, builder, ciphertext, encrypt_to, key_for, settings, version6};

const ME: &str = "me@domain.com";

/// A message encrypted to `key`, as a file, and what its payload has to be.
fn encrypted(folder: &Path, key: &Cert) -> (std::path::PathBuf, Vec<u8>) {
    let certs = folder.join("certs");
    fs::create_dir_all(&certs).unwrap();
    fs::write(certs.join("me.asc"), armored(key)).unwrap();
    let message = [message("read"), "grüße\r\n".repeat(10_000).into_bytes()].concat();
    let (_, encrypted) = encrypt_to(&settings(&[&certs]), &[ME.as_bytes()], &message).unwrap();
    let file = folder.join("message.eml");
    fs::write(&file, encrypted).unwrap();
    (file, message)
}

fn keys() -> Vec<(&'static str, Cert)> {
    use sequoia_openpgp::cert::CipherSuite;
    use sequoia_openpgp::types::Features;
    vec![
        ("Curve25519", key_for(ME)),
        ("RSA", builder(ME).set_cipher_suite(CipherSuite::RSA2k).generate().unwrap().0),
        ("NIST P-256", builder(ME).set_cipher_suite(CipherSuite::P256).generate().unwrap().0),
        (
            "one that advertises SEIPDv2",
            builder(ME).set_features(Features::sequoia()).unwrap().generate().unwrap().0,
        ),
    ]
}

fn check(what: &str, output: &Output, expected: &[u8]) {
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == expected, "{what}: another message");
}

fn gpg(home: &Path) -> Command {
    let mut command = Command::new("gpg");
    command.arg("--homedir").arg(home).args(["--batch", "--quiet"]).stdin(Stdio::null());
    command
}

/// What GnuPG, with the secret key of `key`, makes of a message. The whole mail is given to it, as a user
/// does to recover a message.
pub fn gpg_decrypts(key: &Cert, message: &[u8]) -> Vec<u8> {
    let output = gpg_decrypt(key, message);
    assert!(output.status.success(), "gpg: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn gpg_decrypt(key: &Cert, message: &[u8]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let (secret, file) = (folder.path().join("secret.asc"), folder.path().join("message.eml"));
    fs::write(&secret, armored_secret(key)).unwrap();
    fs::write(&file, message).unwrap();
    assert!(run(gpg(folder.path()).arg("--import").arg(&secret)).status.success());
    let output = run(gpg(folder.path()).arg("-d").arg(&file));
    let _ = Command::new("gpgconf").arg("--homedir").arg(folder.path()).args(["--kill", "all"]).status();
    output
}

/// What SECURITY.md says of who changes stored mail. GnuPG prints what it decrypts as it goes, and complains at the end.
#[test]
fn gnupg_notices_what_was_changed_in_the_storage() {
    let key = key_for(ME);
    let folder = tempfile::tempdir().unwrap();
    let (file, expected) = encrypted(folder.path(), &key);
    let stored = fs::read(file).unwrap();
    let mut binary = Vec::new();
    let mode = armor::ReaderMode::Tolerant(Some(armor::Kind::Message));
    armor::Reader::from_bytes(ciphertext(&stored), mode).read_to_end(&mut binary).unwrap();
    assert!(gpg_decrypts(&key, &binary) == expected);

    let (first, second) = (20_000, 40_000);
    let mut flipped = binary.clone();
    flipped[first] ^= 1;
    let mut reordered = binary.clone();
    (0..1024).for_each(|n| reordered.swap(first + n, second + n));
    let cut_off = binary[..second].to_vec();
    for (what, changed) in [("flipped", flipped), ("reordered", reordered), ("cut off", cut_off)] {
        let output = gpg_decrypt(&key, &changed);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("encrypted message has been manipulated!"), "{what}: {said}");
        assert_eq!(output.status.code(), Some(2), "{what}");
        assert!(!output.stdout.is_empty(), "{what}: then SECURITY.md may say so");
    }
}

#[test]
fn gnupg() {
    for (what, key) in keys() {
        let folder = tempfile::tempdir().unwrap();
        let (file, expected) = encrypted(folder.path(), &key);
        assert!(gpg_decrypts(&key, &fs::read(file).unwrap()) == expected, "{what}: another message");
    }
}

/// The first number of sq's version: 0 in Debian 12, 1 in Debian 13. Its options have changed in between.
fn sq_major() -> u32 {
    let ask = |how: &str| {
        let output = run(Command::new("sq").arg(how));
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let text = ask("--version") + &ask("version");
    let major = text.split_whitespace().find_map(|word| word.split_once('.')?.0.parse().ok());
    major.unwrap_or_else(|| panic!("what version is this? {text}"))
}

fn sq_decrypt(folder: &Path, key: &Cert) -> (Output, Vec<u8>) {
    let (file, expected) = encrypted(folder, key);
    let secret = folder.join("secret.pgp");
    fs::write(&secret, key.as_tsk().to_vec().unwrap()).unwrap();
    let armor = folder.join("message.asc");
    fs::write(&armor, ciphertext(&fs::read(file).unwrap())).unwrap();
    let mut command = Command::new("sq");
    command.env("HOME", folder).env("SEQUOIA_HOME", folder.join("sequoia")).stdin(Stdio::null());
    let option = if sq_major() == 0 { "--recipient-key" } else { "--recipient-file" };
    command.arg("decrypt").arg(option).arg(&secret);
    (run(command.arg(&armor)), expected)
}

#[test]
fn sequoia_sq() {
    for (what, key) in keys() {
        let folder = tempfile::tempdir().unwrap();
        let (output, expected) = sq_decrypt(folder.path(), &key);
        check(what, &output, &expected);
    }
}

/// Version 6 certificates are read by sq 1 and later: Debian 13's, not Debian 12's.
#[test]
fn sequoia_sq_with_a_version_6_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let (output, expected) = sq_decrypt(folder.path(), &version6(ME));
    if sq_major() >= 1 {
        check("version 6", &output, &expected);
    } else {
        assert!(!output.status.success(), "this sq is old, and reads it all the same: correct this test");
    }
}

#[test]
fn rnp() {
    for (what, key) in keys() {
        let folder = tempfile::tempdir().unwrap();
        let (file, expected) = encrypted(folder.path(), &key);
        let (secret, armor, out) =
            (folder.path().join("secret.asc"), folder.path().join("message.asc"), folder.path().join("out"));
        fs::write(&secret, armored_secret(&key)).unwrap();
        fs::write(&armor, ciphertext(&fs::read(file).unwrap())).unwrap();
        let home = folder.path().join("rnp");
        fs::create_dir(&home).unwrap();
        let mut import = Command::new("rnpkeys");
        assert!(run(import.arg("--homedir").arg(&home).arg("--import").arg(&secret)).status.success());
        let mut decrypt = Command::new("rnp");
        decrypt.arg("--homedir").arg(&home).args(["--password", "", "--decrypt"]).arg(&armor);
        let output = run(decrypt.arg("--output").arg(&out));
        assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(fs::read(&out).unwrap() == expected, "{what}");
    }
}

#[test]
fn a_weak_key_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("gnupg");
    fs::create_dir(&home).unwrap();
    let parameters =
        "Key-Type: RSA\nKey-Length: 1024\nSubkey-Type: RSA\nSubkey-Length: 1024\nSubkey-Usage: encrypt\n\
        Name-Email: me@domain.com\n%no-protection\n%commit\n";
    let file = folder.path().join("parameters");
    fs::write(&file, parameters).unwrap();
    assert!(run(gpg(&home).arg("--gen-key").arg(&file)).status.success());
    let certs = folder.path().join("certs");
    fs::create_dir(&certs).unwrap();
    let exported = run(gpg(&home).args(["--armor", "--export"]));
    let _ = Command::new("gpgconf").arg("--homedir").arg(&home).args(["--kill", "all"]).status();
    fs::write(certs.join("me.asc"), exported.stdout).unwrap();
    let error = encrypt_to(&settings(&[&certs]), &[ME.as_bytes()], &message("weak")).unwrap_err();
    assert!(error.to_string().contains("is not accepted: "), "{error}");
}
