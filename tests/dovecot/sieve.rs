//! Runs the scripts in tests/sieve, like Pigeonhole's `.svtest` files. sievec compiles those in `compile`;
//! sieve-test runs those in `run` on `message.eml`, or on their own `.eml`. The file `.out` beside each has
//! the expected output, line by line.
//!
//! A script may set settings in its first lines (`# sieve_perot_encrypt_... = ...`). `{dir}` stands for the
//! folder of the private Dovecot. `{me}` stands for the fingerprint of a certificate that is made here,
//! `{me.asc}` for the certificate itself, and `{me.subkey}` for the ID of its encryption subkey.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use sequoia_openpgp as openpgp;

use openpgp::cert::SubkeyRevocationBuilder;
use openpgp::packet::key::{Key4, PublicParts, SubordinateRole};
use openpgp::packet::signature::SignatureBuilder;
use openpgp::packet::{Key, UserID};
use openpgp::serialize::SerializeInto;
use openpgp::types::{Curve, HashAlgorithm, KeyFlags, ReasonForRevocation, SignatureType};
use openpgp::{Cert, Packet};

use perot_testing::dovecot::{run, Config, Dovecot, Era};
use perot_testing::pages::project;
use perot_testing::{armored, armored_secret, builder, expired, key_for, only_seipd2, revoked, signing_only};

type Subkey = Key<PublicParts, SubordinateRole>;

/// Makes the certificates, by their names in scripts. Each goes into its own file.
fn certificates() -> BTreeMap<&'static str, Cert> {
    let day = Duration::from_secs(24 * 60 * 60);
    let subkey = |age: Option<Duration>| -> Subkey {
        let mut key = Key4::<_, SubordinateRole>::generate_ecc(false, Curve::Cv25519).unwrap();
        key.set_creation_time(age.map_or(SystemTime::now() + day, |age| SystemTime::now() - age)).unwrap();
        Key::from(key).parts_into_public()
    };
    let unchanged = |builder| builder;
    let for_a_day = |builder: SignatureBuilder| {
        builder.set_key_validity_period(Duration::from_secs(24 * 60 * 60)).unwrap()
    };
    let sha1 = |builder: SignatureBuilder| builder.set_hash_algo(HashAlgorithm::SHA1);
    // Errors name the subkeys of a certificate in the order of their IDs.
    let (used_up, to_come) = std::iter::repeat_with(|| (subkey(Some(2 * day)), subkey(None)))
        .find(|(first, second)| first.public_cmp(second).is_lt())
        .unwrap();
    BTreeMap::from([
        ("me", key_for("me@domain.com")),
        ("late", expired("late@t.org")),
        ("soon", builder("soon@t.org").set_validity_period(5 * day + day / 24).generate().unwrap().0),
        ("secret", key_for("secret@t.org")),
        ("revoked", revoked("revoked@t.org")),
        ("new", only_seipd2("new@t.org")),
        ("old", self_signed_with(key_for("old@t.org"), sha1)),
        ("signer", signing_only("signer@t.org")),
        ("subkey-revoked", with_revoked_subkey(signing_only("subkey-revoked@t.org"), subkey(Some(day)))),
        ("subkey-old", with_subkey(signing_only("subkey-old@t.org"), subkey(Some(day)), sha1)),
        (
            "subkey-expired",
            with_subkey(
                with_subkey(signing_only("subkey-expired@t.org"), used_up, for_a_day),
                to_come,
                for_a_day,
            ),
        ),
        ("subkey-future", with_subkey(signing_only("subkey-future@t.org"), subkey(None), unchanged)),
        ("subkey-elgamal", with_subkey(signing_only("subkey-elgamal@t.org"), elgamal(), unchanged)),
    ])
}

fn with_subkey(cert: Cert, subkey: Subkey, change: fn(SignatureBuilder) -> SignatureBuilder) -> Cert {
    let flags = KeyFlags::empty().set_transport_encryption();
    let binding = SignatureBuilder::new(SignatureType::SubkeyBinding).set_key_flags(flags).unwrap();
    let mut signer = cert.primary_key().key().clone().parts_into_secret().unwrap().into_keypair().unwrap();
    let binding = subkey.bind(&mut signer, &cert, change(binding)).unwrap();
    cert.insert_packets([Packet::from(subkey), binding.into()]).unwrap().0
}

fn with_revoked_subkey(cert: Cert, subkey: Subkey) -> Cert {
    let cert = with_subkey(cert, subkey.clone(), |builder| builder);
    let mut signer = cert.primary_key().key().clone().parts_into_secret().unwrap().into_keypair().unwrap();
    let revocation = SubkeyRevocationBuilder::new();
    let revocation = revocation.set_reason_for_revocation(ReasonForRevocation::KeyRetired, b"").unwrap();
    let revocation = revocation.build(&mut signer, &cert, &subkey, None).unwrap();
    cert.insert_packets(revocation).unwrap().0
}

/// Makes a certificate of the same primary key and User ID only, with another signature.
fn self_signed_with(cert: Cert, change: fn(SignatureBuilder) -> SignatureBuilder) -> Cert {
    let key = cert.primary_key().key().clone().parts_into_secret().unwrap();
    let user_id: UserID = cert.userids().next().unwrap().userid().clone();
    let bare = Cert::from_packets(std::iter::once(Packet::from(key.clone()))).unwrap();
    let signature = change(SignatureBuilder::new(SignatureType::PositiveCertification));
    let signature = user_id.bind(&mut key.into_keypair().unwrap(), &bare, signature).unwrap();
    bare.insert_packets([Packet::from(user_id), signature.into()]).unwrap().0
}

/// Makes a key of an algorithm that OpenSSL does not have. Nobody has its secret part.
fn elgamal() -> Subkey {
    let number = || vec![0xff; 256].into();
    let mpis = openpgp::crypto::mpi::PublicKey::ElGamal { p: number(), g: number(), y: number() };
    let time = SystemTime::now() - Duration::from_secs(60);
    Key::from(Key4::new(time, 16.into(), mpis).unwrap())
}

/// Writes files that are refused into an OpenPGP certificate directory, in the order of `files.sieve`.
fn write_faulty_files(folder: &Path, certificate: &Cert) {
    let binary = binary(certificate);
    let armored = armored(certificate);
    let block = |kind: &str, content: &str| {
        format!("-----BEGIN PGP {kind}-----\n\n{content}\n-----END PGP {kind}-----\n").into_bytes()
    };
    let signature = certificate.primary_key().self_signatures().next().unwrap().clone();
    let mut of_another_version = binary.clone();
    of_another_version[2] = 99;
    let contents: [&[u8]; 12] = [
        &armored,
        &armored,
        b"",
        b"",
        b"",
        &armored[..armored.len() / 2],
        &block("PUBLIC KEY BLOCK", "????"),
        &block("MESSAGE", "0gIBAg=="),
        &binary[..binary.len() / 2],
        &Packet::from(signature).to_vec().unwrap(),
        // A packet of a type that is skipped, with 1 MiB.
        &[&binary[..], &[0xfc, 0xff, 0, 0x10, 0, 0], &vec![0; 1 << 20]].concat(),
        &of_another_version,
    ];
    for (number, content) in contents.into_iter().enumerate() {
        let file = folder.join(format!("{number:02x}")).join(format!("{number:02x}").repeat(19));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, content).unwrap();
        match number {
            0 => {
                fs::rename(&file, folder.join("certificate")).unwrap();
                symlink(folder.join("certificate"), &file).unwrap();
            }
            1 => fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap(),
            2 => {
                fs::remove_file(&file).unwrap();
                assert!(run(Command::new("mkfifo").arg(&file)).status.success());
            }
            3 => fs::File::options().write(true).open(&file).unwrap().set_len((64 << 20) + 1).unwrap(),
            _ => {}
        }
    }
}

fn binary(certificate: &Cert) -> Vec<u8> {
    certificate.clone().strip_secret_key_material().to_vec().unwrap()
}

/// A private Dovecot with everything that scripts in tests/sieve name.
struct Rig {
    dovecot: Dovecot,
    certificates: BTreeMap<&'static str, Cert>,
}

impl Rig {
    fn new() -> Self {
        let dovecot = Dovecot::prepare(&Config {
            plugin: vec![("certs", "{dir}/certs".into())],
            mail_server_users: true,
            ..Config::default()
        });
        let mut certificates = certificates();
        for (name, certificate) in &certificates {
            fs::write(dovecot.certs().join(format!("{name}.asc")), armored(certificate)).unwrap();
        }
        let flooded = key_for("flood@t.org");
        let flood = binary(&flooded);
        certificates.insert("flood", flooded);
        let me = &certificates["me"];
        fs::write(dovecot.certs().join("secret.asc"), armored_secret(&certificates["secret"])).unwrap();
        let many: Vec<u8> = (0..17).flat_map(|_| armored(&key_for("many@t.org"))).collect();
        fs::write(dovecot.certs().join("many.asc"), many).unwrap();
        let user_ids = (0..256).flat_map(|n| Packet::from(UserID::from(format!("{n}"))).to_vec().unwrap());
        fs::write(dovecot.certs().join("flood.pgp"), flood.into_iter().chain(user_ids).collect::<Vec<_>>())
            .unwrap();
        let user_id = Packet::from(UserID::from("<named@t.org>")).to_vec().unwrap();
        fs::write(dovecot.certs().join("named@t.org.pgp"), [binary(me), user_id].concat()).unwrap();
        for folder in ["files", "empty", "faulty", "locked"] {
            fs::create_dir(dovecot.path(folder)).unwrap();
        }
        // sieve-test has no envelope, so the only certificate below the home is the owner's.
        let own = dovecot.home("vmail").join("own");
        fs::create_dir(&own).unwrap();
        fs::write(own.join("me.asc"), armored(me)).unwrap();
        write_faulty_files(&dovecot.path("files"), me);
        for number in 0..4 {
            fs::write(dovecot.path("faulty").join(format!("{number}.asc")), "").unwrap();
        }
        let of_another_version = fs::read(dovecot.path("files/0b").join("0b".repeat(19))).unwrap();
        let keyring = [binary(me), of_another_version].concat();
        fs::write(dovecot.path("keyring.pgp"), keyring).unwrap();
        fs::set_permissions(dovecot.path("locked"), fs::Permissions::from_mode(0o000)).unwrap();
        Self { dovecot, certificates }
    }

    /// Returns the replacements in scripts. Those that are not certificates are also made in the output.
    fn names(&self) -> Vec<(String, String)> {
        let mut names = vec![(
            "{dir}".to_owned(),
            self.dovecot.path("").display().to_string().trim_end_matches('/').to_owned(),
        )];
        for (name, cert) in &self.certificates {
            names.push((format!("{{{name}}}"), cert.fingerprint().to_hex()));
            for key in cert.keys().subkeys().filter(|key| key.key().pk_algo().for_encryption()) {
                names.push((format!("{{{name}.subkey}}"), key.key().keyid().to_hex()));
            }
            names.push((format!("{{{name}.asc}}"), text(armored(cert))));
        }
        let me = &self.certificates["me"];
        names.push(("{me.secret}".to_owned(), text(armored_secret(me))));
        let me = text(armored(me));
        let checksum = me.rfind("\n=").unwrap() + 1;
        names.push((
            "{me.wrong-checksum}".to_owned(),
            [&me[..checksum], "=AAAA", &me[checksum + 5..]].concat(),
        ));
        names
    }

    /// Returns the output of a program for a script, without the parts that differ each time.
    fn said(&self, program: &str, script: &Path) -> String {
        let names = self.names();
        let fill_in =
            |text: &str| names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
        let filled_in = fill_in(&fs::read_to_string(script).unwrap());
        let source = self.dovecot.path("global").join(script.file_name().unwrap());
        fs::write(&source, &filled_in).unwrap();
        let mut command = self.dovecot.as_mail_user(program);
        command.env("HOME", self.dovecot.home("vmail")).arg("-c").arg(self.dovecot.path("dovecot.conf"));
        let prefix = if self.dovecot.era == Era::V23 { "plugin/" } else { "" };
        for setting in filled_in.lines().filter_map(|line| line.strip_prefix("# sieve_perot_encrypt_")) {
            let (name, value) = setting.split_once(" =").unwrap();
            command.arg("-o").arg(format!("{prefix}sieve_perot_encrypt_{name}={}", value.trim()));
        }
        command.arg(&source);
        if program == "sieve-test" {
            let own = script.with_extension("eml");
            command.arg(if own.exists() { own } else { script.with_file_name("message.eml") });
        }
        let output = run(&mut command);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let said = names.iter().fold(said, |said, (name, value)| said.replace(value, name));
        let name = script.file_stem().and_then(OsStr::to_str).unwrap();
        let lines = said.lines().filter(|line| !line.trim().is_empty());
        lines
            .map(|line| without_what_differs(line, &[&format!("{name}: "), &format!("{program}: ")]) + "\n")
            .collect()
    }
}

/// Returns armor as it is pasted into a script. Empty lines fill it up, because signatures differ in length
/// and `.out` has line numbers.
fn text(armored: Vec<u8>) -> String {
    let text = String::from_utf8(armored).unwrap().replace("\r\n", "\n");
    let lines = text.lines().count();
    text + &"\n".repeat(60 - lines)
}

/// Removes what differs: Dovecot 2.3 and 2.4 quote in different ways, and one of them repeats the name of the
/// script. Sizes and times differ, too.
fn without_what_differs(line: &str, prefixes: &[&str]) -> String {
    const FATAL: &str = "Fatal: failed to compile sieve script";
    let line = prefixes.iter().fold(line, |line, prefix| line.strip_prefix(prefix).unwrap_or(line));
    match (line.split_once("message encrypted: "), line.rsplit_once(" ms, to ")) {
        (Some((before, _)), Some((_, to))) => {
            format!("{before}message encrypted: N -> N bytes, N.N ms, to {to}")
        }
        _ if line.starts_with(FATAL) => FATAL.to_owned(),
        _ => line.replace('`', "'"),
    }
}

/// Returns the scripts in a folder of tests/sieve.
fn scripts(folder: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(project("tests/sieve").join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut scripts: Vec<PathBuf> =
        files.filter(|file| file.extension() == Some(OsStr::new("sieve"))).collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    scripts
}

fn check(program: &str, folder: &str) {
    let rig = Rig::new();
    let mut wrong = String::new();
    for script in scripts(folder) {
        let said = rig.said(program, &script);
        if fs::read_to_string(script.with_extension("out")).unwrap_or_default() != said {
            wrong += &format!("== {}: {program} says\n{said}", script.display());
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn what_sievec_says_of_scripts() {
    check("sievec", "compile");
}

#[test]
fn what_sieve_test_does_with_scripts() {
    check("sieve-test", "run");
}
