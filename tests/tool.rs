//! Runs the command-line tool as a program.

#[path = "../src/bin/perot-encrypt-man.rs"]
mod man;

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use sequoia_openpgp::cert::CertBuilder;
use sequoia_openpgp::serialize::SerializeInto;
use sequoia_openpgp::types::CompressionAlgorithm;
use sequoia_openpgp::{Cert, Profile};
use serde_json::Value;

use perot_encrypt::openpgp::crypto::{has_post_quantum, library, library_in_words};
use perot_testing::pages::blocks;
use perot_testing::post_quantum::KINDS;
use perot_testing::smime::Identity;
use perot_testing::{
    armored, armored_secret, builder, decrypt, decrypt_content, expired, find, key_for, revoked,
    revoked_user_id, signing_only, version6, with_sha1,
};

const ME: &str = "me@domain.com";
const SECRET: &str = "nightingale";
const MESSAGE: &[u8] =
    b"From: a@example.net\r\nTo: me@domain.com\r\nSubject: tool\r\nContent-Type: text/plain\r\n\r\nThe nightingale sings.\r\n";

/// A folder with certificates, and the tool, which can also be called gpgit.
struct Setting {
    folder: tempfile::TempDir,
}

impl Setting {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("certs")).unwrap();
        symlink(env!("CARGO_BIN_EXE_perot-encrypt"), folder.path().join("gpgit")).unwrap();
        Self { folder }
    }

    /// Makes a setting with the certificate of `key`.
    fn with(key: &Cert) -> Self {
        let setting = Self::new();
        setting.give("me.asc", &armored(key));
        setting
    }

    fn certs(&self) -> PathBuf {
        self.folder.path().join("certs")
    }

    fn give(&self, name: &str, content: &[u8]) {
        fs::write(self.certs().join(name), content).unwrap();
    }

    /// Creates a command whose environment names the certificate folder only.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("PEROT_ENCRYPT_CERTS", self.certs()).env("HOME", self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn tool(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(Path::new(env!("CARGO_BIN_EXE_perot-encrypt")));
        command.args(arguments);
        command
    }

    fn gpgit(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(&self.folder.path().join("gpgit"));
        command.args(arguments);
        command
    }

    /// Runs `check`. Returns the exit status, standard output and standard error.
    fn check(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.tool(&[&["check"], arguments].concat()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let (_, said, _) = self.check(&[&["--json"], arguments].concat());
        serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"))
    }
}

/// Runs a command, with `input` through a pipe.
fn pipe(mut command: Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    // A command with a wrong command line reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Panics unless the command failed as it always does, and said why.
fn assert_failed(what: &str, output: &Output, why: &str) {
    assert_eq!(output.status.code(), Some(75), "{what}: {}", said(output));
    assert!(output.stdout.is_empty(), "{what}: something is on standard output");
    assert!(said(output).contains(why), "{what}: '{why}' is not in {}", said(output));
    assert!(find(&output.stderr, SECRET.as_bytes()).is_none(), "{what}: {}", said(output));
}

// The filter ---------------------------------------------------------------------------------------

#[test]
fn a_message_is_encrypted_and_what_is_encrypted_is_left_alone() {
    let key = key_for(ME);
    let setting = Setting::with(&key);
    let output = pipe(setting.tool(&[ME]), MESSAGE);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", said(&output));
    assert_eq!(decrypt(&output.stdout, &key), MESSAGE);
    assert_eq!(pipe(setting.tool(&[ME]), &output.stdout).stdout, output.stdout);
    let twice = pipe(setting.tool(&["--force", ME]), &output.stdout);
    assert!(twice.status.success() && decrypt(&twice.stdout, &key).ends_with(&output.stdout));
}

#[test]
fn compressed_if_asked() {
    let key = key_for(ME);
    let setting = Setting::with(&key);
    for (command, compression) in [
        (setting.tool(&[ME]), None),
        (setting.tool(&["--compress", ME]), Some(CompressionAlgorithm::Zlib)),
        (setting.gpgit(&[ME]), None),
        (setting.gpgit(&["--compress", "--encrypt-mode", "pgpmime", ME]), Some(CompressionAlgorithm::Zlib)),
    ] {
        let output = pipe(command, MESSAGE);
        assert!(output.status.success() && output.stderr.is_empty(), "{}", said(&output));
        assert_eq!(decrypt_content(&output.stdout, &key), (compression, MESSAGE.to_vec()));
    }
}

#[test]
fn input_may_be_a_pipe_a_file_or_the_rest_of_one() {
    let key = key_for(ME);
    let setting = Setting::with(&key);
    let path = setting.folder.path().join("mail.eml");
    fs::write(&path, [b"not of the message\n", MESSAGE].concat()).unwrap();
    let mut rest = File::open(&path).unwrap();
    rest.seek(SeekFrom::Start(19)).unwrap();
    let whole = setting.folder.path().join("whole.eml");
    fs::write(&whole, MESSAGE).unwrap();
    for (what, input) in [("the rest of a file", rest), ("a file", File::open(&whole).unwrap())] {
        let output = setting.tool(&[ME]).stdin(input).output().unwrap();
        assert!(output.status.success(), "{what}: {}", said(&output));
        assert_eq!(decrypt(&output.stdout, &key), MESSAGE, "{what}");
    }
}

#[test]
fn sources_come_from_options_environment_and_home() {
    let (key, other) = (key_for(ME), key_for(ME));
    let setting = Setting::with(&key);
    let home = setting.folder.path().join("home");
    fs::create_dir_all(home.join("pgp-certs")).unwrap();
    fs::write(home.join("pgp-certs/me.asc"), armored(&other)).unwrap();
    let certs = setting.certs();
    let certs = certs.to_str().unwrap();
    let both = format!("/nonexistent {certs}");
    for (what, arguments, environment, expected) in [
        ("the option", vec!["--certs", certs, ME], Some("~/pgp-certs"), &key),
        ("several options", vec!["--certs", "/nonexistent", "--certs", certs, ME], None, &key),
        ("the environment", vec![ME], Some(both.as_str()), &key),
        ("home in the environment", vec![ME], Some("~/pgp-certs"), &other),
        ("the default", vec![ME], None, &other),
    ] {
        for mut command in [setting.tool(&arguments), setting.gpgit(&arguments)] {
            command.env_remove("PEROT_ENCRYPT_CERTS").env("HOME", &home);
            command.envs(environment.map(|value| ("PEROT_ENCRYPT_CERTS", value)));
            let output = pipe(command, MESSAGE);
            assert!(output.status.success(), "{what}: {}", said(&output));
            assert_eq!(decrypt(&output.stdout, expected), MESSAGE, "{what}");
        }
    }
}

#[test]
fn every_failure_ends_with_75_and_nothing_else() {
    let setting = Setting::with(&key_for(ME));
    setting.give("revoked.asc", &armored(&revoked("revoked@domain.com")));
    setting.give("damaged.asc", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nxyz");
    for (arguments, why) in [
        (vec![], "required arguments were not provided"),
        (vec!["--wrong", ME], "unexpected argument '--wrong'"),
        (vec!["--certs"], "a value is required"),
        (vec!["--certs", "certs", ME], "--certs certs: not understood: write paths that begin"),
        (vec!["nobody@domain.com"], "no certificate for nobody@domain.com. Searched: "),
        (vec![ME, "nobody@domain.com"], "damaged.asc: its armor has no END line: it is cut off"),
        (vec!["revoked@domain.com"], "is revoked"),
        (vec!["me"], "a recipient is not one: write an e-mail address"),
        (vec!["--certs", "/dev/null", ME], "certificate source /dev/null: "),
    ] {
        assert_failed(&format!("{arguments:?}"), &pipe(setting.tool(&arguments), MESSAGE), why);
    }
    let bytes = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff@domain.com");
    let mut command = setting.tool(&[]);
    command.arg::<&std::ffi::OsStr>(bytes);
    assert_failed("not UTF-8", &pipe(command, MESSAGE), "UTF-8");
    let mut command = setting.tool(&[ME]);
    command.env("TMPDIR", "/nonexistent");
    // A small message is encrypted in memory.
    let large = [MESSAGE, b"0123456789abcdef\r\n".repeat(10_000).as_slice()].concat();
    assert_failed("no temporary folder", &pipe(command, &large), "No such file or directory");
    let mut command = setting.tool(&[ME]);
    command.stdin(File::open(setting.certs()).unwrap());
    assert_failed("a folder for input", &command.output().unwrap(), "Is a directory");
    let huge = [b"X: ".as_slice(), &vec![b'x'; 11 << 20]].concat();
    assert_failed("a huge header", &pipe(setting.tool(&[ME]), &huge), "the header of the message is larger");
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let setting = Setting::with(&key_for(ME));
    let encrypted = pipe(setting.tool(&[ME]), MESSAGE).stdout;
    let full = || File::options().write(true).open("/dev/full").unwrap();
    for (what, input) in [("encrypted", MESSAGE), ("left as it is", encrypted.as_slice())] {
        let mut command = setting.tool(&[ME]);
        command.stdout(full());
        assert_eq!(pipe(command, input).status.code(), Some(75), "{what}");
        let (reader, writer) = UnixStream::pair().unwrap();
        drop(reader);
        let mut command = setting.tool(&[ME]);
        command.stdout(OwnedFd::from(writer));
        assert_eq!(pipe(command, input).status.code(), Some(75), "{what}, to nobody");
    }
    let output = setting.tool(&["check"]).stdout(full()).output().unwrap();
    assert_eq!(output.status.code(), Some(75));
    let output = setting.tool(&["--help"]).stdout(full()).output().unwrap();
    assert_eq!(output.status.code(), Some(75));
    // The exit status is the same if standard error is full.
    let output = setting.tool(&["nobody@domain.com"]).stderr(full()).output().unwrap();
    assert_eq!(output.status.code(), Some(75));
}

#[cfg(feature = "inject-panic")]
#[test]
fn a_fault_is_a_failure_too() {
    let setting = Setting::new();
    for command in [setting.tool(&["panic@test.invalid"]), setting.gpgit(&["panic@test.invalid"])] {
        let output = pipe(command, MESSAGE);
        assert_failed("a panic", &output, "a fault in perot-encrypt (src/bin/perot-encrypt/filter.rs:");
        assert!(!said(&output).contains("injected"), "{}", said(&output));
    }
}

#[test]
fn help_is_not_a_failure() {
    let setting = Setting::new();
    for (command, about) in [
        (setting.tool(&["--help"]), "Usage: perot-encrypt "),
        (setting.tool(&["check", "-h"]), "Usage: perot-encrypt check "),
        (setting.tool(&["--version"]), concat!("perot-encrypt ", env!("CARGO_PKG_VERSION"))),
        (setting.gpgit(&["-h"]), "Usage: gpgit "),
    ] {
        let output = pipe(command, b"");
        assert!(output.status.success() && output.stderr.is_empty());
        assert!(find(&output.stdout, about.as_bytes()).is_some(), "{about}");
    }
}

/// Says which crypto library it has.
#[test]
fn the_crypto_library() {
    let setting = Setting::new();
    let version = concat!("perot-encrypt ", env!("CARGO_PKG_VERSION"));
    let said = |option: &str| String::from_utf8(pipe(setting.tool(&[option]), b"").stdout).unwrap();
    assert_eq!(said("--version"), format!("{version}\n{}\n", library_in_words()));
    assert_eq!(said("-V"), format!("{version}\n"));
    let report = setting.json(&[]);
    assert_eq!(report["crypto_library"], library().as_str());
    assert_eq!(report["post_quantum"], has_post_quantum());
}

/// What becomes of post-quantum subkeys depends on the crypto library.
#[test]
fn post_quantum_subkeys() {
    let setting = Setting::new();
    let both = KINDS.into_iter().filter(|kind| kind.name.ends_with("-both"));
    let both: Vec<_> = both.map(|kind| (kind, kind.address())).collect();
    for (kind, address) in &both {
        setting.give(&format!("{address}.asc"), &kind.public());
    }
    let recipients: Vec<&str> = both.iter().map(|(_, address)| address.as_str()).collect();
    let left_out = " has a post-quantum subkey that is not used: subkey ";
    let (status, text, _) = setting.check(&recipients);
    let expected = if has_post_quantum() { (0, 0) } else { (0, both.len()) };
    assert_eq!((status, text.matches("  warning  certificate ").count()), expected, "{text}");
    assert_eq!(text.matches(left_out).count(), expected.1, "{text}");
    // The log has it once in the life of a process.
    let output = pipe(setting.tool(&recipients), MESSAGE);
    assert_eq!(
        said(&output).matches(left_out).count(),
        usize::from(!has_post_quantum()),
        "{}",
        said(&output)
    );
    assert!(both.iter().all(|(kind, _)| decrypt(&output.stdout, &kind.cert()) == MESSAGE));
    // None but these.
    let only = ["--subkeys", "post-quantum", recipients[0]];
    let output = pipe(setting.tool(&only), MESSAGE);
    let (status, text, _) = setting.check(&only);
    if has_post_quantum() {
        assert_eq!(decrypt(&output.stdout, &both[0].0.cert()), MESSAGE);
        let passed_over = "not used: only post-quantum ones are wanted\n";
        let counts = [", used\n", passed_over].map(|what| text.matches(what).count());
        assert_eq!((status, counts), (0, [1, 1]), "{text}");
    } else {
        let remedy = "With --subkeys all, an encryption subkey of Curve25519 or RSA would do";
        assert_failed("only post-quantum", &output, remedy);
        assert!(status == 1 && text.contains(remedy), "{text}");
    }
    assert_failed("a wrong value", &pipe(setting.tool(&["--subkeys", "pqc", ME]), MESSAGE), "post-quantum");
}

// In gpgit's place ---------------------------------------------------------------------------------

const MULTIPART: &[u8] = b"From: a@example.net\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\n\
    The nightingale sings.\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>The nightingale sings.</p>\r\n--b--\r\n";

#[test]
fn gpgits_arguments_make_pgp_mime_of_everything() {
    let (key, other) = (key_for(ME), key_for("you@domain.com"));
    let setting = Setting::with(&key);
    setting.give("you.asc", &armored(&other));
    let inline = "PGP/MIME is written all the same, for inline PGP has no place for attachments";
    for (arguments, remark) in [
        (vec![ME, "you@domain.com"], ""),
        (vec!["--encrypt-mode", "pgpmime", ME, "you@domain.com"], ""),
        (vec!["--encrypt-mode", "prefer-inline", ME, "you@domain.com"], inline),
        (vec![ME, "--inline-flatten", "--encrypt-mode", "inline-or-plain", "you@domain.com"], inline),
        (vec!["--inline-flatten", ME, "you@domain.com"], "no part of the message is left out"),
        (vec!["--skip-smime", "--skip-ms-bug", "--skip-smime", ME, "you@domain.com"], ""),
    ] {
        for message in [MESSAGE, MULTIPART] {
            let output = pipe(setting.gpgit(&arguments), message);
            assert!(output.status.success(), "{arguments:?}: {}", said(&output));
            assert!(find(&output.stdout, b"multipart/encrypted").is_some(), "{arguments:?}");
            for key in [&key, &other] {
                assert!(decrypt(&output.stdout, key).ends_with(message), "{arguments:?}");
            }
            assert!(said(&output).contains(remark), "{arguments:?}: {}", said(&output));
            assert_eq!(said(&output).is_empty(), remark.is_empty(), "{arguments:?}: {}", said(&output));
        }
    }
}

#[test]
fn gpgits_failures_are_no_plaintext() {
    let setting = Setting::with(&key_for(ME));
    setting.give("gone.asc", &armored(&revoked("gone@domain.com")));
    for (arguments, why) in [
        (vec![], "Usage: gpgit "),
        (vec!["--encrypt-mode", "pgpmime"], "required arguments were not provided"),
        (vec!["--encrypt-mode", "plain", ME], "invalid value 'plain'"),
        (vec![ME, "--encrypt-mode"], "a value is required"),
        (vec!["--sign", ME], "unexpected argument '--sign'"),
        (vec!["check"], "a recipient is not one"),
        (vec![ME, "nobody@domain.com"], "no certificate for nobody@domain.com"),
        (vec!["gone@domain.com"], "is revoked"),
    ] {
        assert_failed(&format!("{arguments:?}"), &pipe(setting.gpgit(&arguments), MESSAGE), why);
    }
}

#[test]
fn gpgit_goes_by_several_names() {
    let setting = Setting::with(&key_for(ME));
    for (name, is_gpgit) in [("gpgit.pl", true), ("gpgit-1.0", true), ("encrypt", false)] {
        let link = setting.folder.path().join(name);
        symlink(env!("CARGO_BIN_EXE_perot-encrypt"), &link).unwrap();
        let mut command = setting.command(&link);
        command.args(["--skip-smime", ME]);
        assert_eq!(pipe(command, MESSAGE).status.success(), is_gpgit, "{name}");
    }
}

/// A message that is signed with S/MIME can be read, so it is encrypted. gpgit left it in clear if its label
/// said S/MIME.
#[test]
fn skip_smime_leaves_only_what_is_encrypted() {
    let key = key_for(ME);
    let setting = Setting::with(&key);
    // A CMS signed-data (RFC 5652, section 5) with a wrong label.
    let readable = b"From: a@example.net\r\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\r\n\
        Content-Transfer-Encoding: base64\r\n\r\nMIAGCSqGSIb3DQEHAqCAMIACAQExAAAA\r\n";
    let output = pipe(setting.gpgit(&["--skip-smime", ME]), readable);
    assert!(output.status.success(), "{}", said(&output));
    assert!(decrypt(&output.stdout, &key).ends_with(readable));
}

// Checking certificates ----------------------------------------------------------------------------

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[test]
fn check_shows_what_a_message_would_be_encrypted_to() {
    let key = builder(ME).add_userid("Other <other@domain.com>").generate().unwrap().0;
    let setting = Setting::with(&key);
    setting.give("you.asc", &armored(&version6("you@domain.com")));
    let (code, text, error) = setting.check(&[ME]);
    assert_eq!((code, error.as_str()), (0, ""));
    let hex = key.fingerprint().to_hex();
    assert!(text.starts_with(&format!("{hex}\n  for      {ME}\n  file     ")), "{text}");
    for expected in [
        "certs/me.asc\n",
        "  User ID  Test <me@domain.com>\n",
        "  User ID  Other <other@domain.com>\n",
        &format!("  primary  {hex} EdDSA Ed25519, of 20"),
        " ECDH Curve25519, of 20",
        ", used\n",
        "  usable   yes, expires 20",
    ] {
        assert!(text.contains(expected), "'{expected}' is not in\n{text}");
    }
    assert_eq!(text.matches("  usable ").count(), 1, "{text}");

    let report = setting.json(&[ME]);
    let certificate = &report["certificates"][0];
    assert_eq!(certificate["fingerprint"], hex.as_str());
    assert_eq!(certificate["version"], 4);
    assert_eq!(certificate["usable"], true);
    assert_eq!(certificate["user_ids"][0]["state"], "valid");
    assert!(certificate["files"][0].as_str().unwrap().ends_with("certs/me.asc"));
    let used: Vec<&Value> =
        certificate["keys"].as_array().unwrap().iter().filter(|key| key["used"] == true).collect();
    assert_eq!((used.len(), &used[0]["curve"]), (1, &Value::from("Curve25519")));
    // The list names the keys to which a message is encrypted.
    let encrypted = pipe(setting.tool(&[ME]), MESSAGE).stdout;
    assert!(find(&encrypted, hex.as_bytes()).is_some(), "{}", String::from_utf8_lossy(&encrypted));

    // All certificates. A recipient may be a fingerprint instead of an address.
    assert_eq!(setting.json(&[])["certificates"].as_array().unwrap().len(), 2);
    assert_eq!(setting.json(&[&hex])["certificates"][0]["recipient"], hex.as_str());
    let both = setting.json(&["you@domain.com", ME]);
    assert_eq!(
        (&both["certificates"][0]["version"], &both["certificates"][1]["version"]),
        (&6.into(), &4.into())
    );
}

/// Checks the output and the exit status for each kind of certificate.
#[test]
fn check_says_why_and_when() {
    let soon = builder(ME).set_validity_period(10 * DAY).generate().unwrap().0;
    let lasting = builder(ME).set_validity_period(None).generate().unwrap().0;
    for (what, content, usable, reason, alarms) in [
        ("a good one", armored(&lasting), true, "usable   yes, does not expire", [false, false]),
        ("one that ends soon", armored(&soon), true, "usable   yes, expires 20", [false, true]),
        ("an expired one", armored(&expired(ME)), true, "usable   yes, though it has EXPIRED", [true, true]),
        ("a revoked one", armored(&revoked(ME)), false, "is revoked: put the certificate of", [true, true]),
        ("one to sign with", armored(&signing_only(ME)), false, "it has no encryption subkey", [true, true]),
        ("a secret key", armored_secret(&lasting), true, "the SECRET KEY is in the file", [true, true]),
        ("one with SHA-1", armored(&with_sha1(ME)), true, "(counts only with SHA-1)", [false, false]),
    ] {
        let setting = Setting::new();
        setting.give("me.asc", &content);
        let (code, text, _) = setting.check(&[ME]);
        assert!(text.contains(reason), "{what}: '{reason}' is not in\n{text}");
        assert_eq!(code, i32::from(!usable), "{what}: {text}");
        assert_eq!(setting.json(&[])["certificates"][0]["usable"], usable, "{what}");
        assert_eq!(setting.check(&[]).0, 0, "{what}");
        // Who wants to hear of it has to say so.
        let is_weak = what == "one with SHA-1";
        assert_eq!(setting.json(&[])["certificates"][0]["weak"], is_weak, "{what}");
        assert_eq!(setting.check(&["--weak"]).0, i32::from(is_weak), "{what}");
        for (days, alarm) in ["5", "30"].into_iter().zip(alarms) {
            for recipient in [&[][..], &[ME][..]] {
                let (code, text, _) = setting.check(&[&["--days", days], recipient].concat());
                assert_eq!(code, i32::from(alarm), "{what}, {days} days, {recipient:?}: {text}");
            }
        }
    }
}

#[test]
fn check_shows_what_is_passed_over_and_what_is_shared() {
    let (good, late) = (builder(ME).set_validity_period(None).generate().unwrap().0, expired(ME));
    let setting = Setting::with(&good);
    setting.give("late.asc", &armored(&late));
    let (code, text, _) = setting.check(&[ME]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("  usable   yes, but not used: there is a better one"), "{text}");
    let listed = setting.json(&[ME])["certificates"].clone();
    assert_eq!(
        [&listed[0]["fingerprint"], &listed[0]["used"], &listed[1]["fingerprint"], &listed[1]["used"]],
        [
            &good.fingerprint().to_hex().into(),
            &Value::Bool(true),
            &late.fingerprint().to_hex().into(),
            &Value::Bool(false)
        ]
    );
    // Both carry the address. What cannot be used does not.
    setting.give("gone.asc", &armored(&revoked(ME)));
    setting.give("other.asc", &armored(&revoked_user_id(ME)));
    let mut both = [good.fingerprint().to_hex(), late.fingerprint().to_hex()];
    both.sort();
    let warning = format!(": 2 certificates carry {ME}: {}\n", both.join(", "));
    let (code, text, _) = setting.check(&[]);
    assert!(code == 0 && text.contains(&warning) && text.contains("does not count: it is revoked"), "{text}");
    let report = setting.json(&[]);
    let shared = report["shared_addresses"].as_array().unwrap();
    assert_eq!((shared.len(), &shared[0]["address"]), (1, &Value::from(ME)));
    assert_eq!(shared[0]["fingerprints"], Value::from(both.to_vec()));
    assert!(report["crypto_library"].as_str().unwrap().contains("OpenSSL"), "{report:#}");
}

/// sequoia refuses DSA from February 2030 on: until then, this test is right.
#[test]
fn an_algorithm_that_is_refused_some_day_has_an_end() {
    let setting = Setting::new();
    let home = setting.folder.path().join("gnupg");
    fs::create_dir(&home).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    let gpg = |arguments: &[&str]| {
        let mut command = Command::new("gpg");
        command.env("GNUPGHOME", &home).args(["--batch", "--quiet", "--passphrase", ""]);
        let output = command.args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    gpg(&["--quick-generate-key", "Me <me@domain.com>", "dsa2048", "sign", "never"]);
    let listed = gpg(&["--with-colons", "--list-keys"]);
    let fingerprint = listed.lines().find_map(|line| line.strip_prefix("fpr:::::::::")).unwrap();
    gpg(&["--quick-add-key", fingerprint.trim_end_matches(':'), "cv25519", "encr", "never"]);
    setting.give("me.asc", gpg(&["--armor", "--export"]).as_bytes());
    let _ = Command::new("gpgconf").env("GNUPGHOME", &home).args(["--kill", "all"]).status();

    let (code, text, _) = setting.check(&["--days", "30"]);
    assert_eq!(code, 0, "{text}");
    for expected in ["its algorithms count as too weak from 2030-02-0", "usable   yes, expires 2030-02-0"] {
        assert!(text.contains(expected), "'{expected}' is not in\n{text}");
    }
    let certificate = setting.json(&[])["certificates"][0].clone();
    assert_eq!(certificate["algorithms_end"], certificate["expires"]);
    assert!(certificate["algorithms_end"].as_str().unwrap().starts_with("2030-02-0"), "{certificate:#}");
    assert_eq!(setting.check(&["--days", "2000"]).0, 1);
}

#[test]
fn check_finds_what_is_wrong_with_sources() {
    let setting = Setting::with(&builder(ME).set_validity_period(None).generate().unwrap().0);
    assert_eq!(setting.check(&["--days", "30"]).0, 0);
    assert_eq!(setting.check(&["nobody@domain.com"]).0, 1);
    assert_eq!(setting.check(&[ME, "nobody@domain.com"]).0, 1);
    for name in ["a", "b", "c", "d"] {
        setting.give(&format!("{name}.asc"), b"nothing");
    }
    let (code, text, _) = setting.check(&["--days", "30"]);
    assert_eq!((code, text.matches("it holds no certificate").count()), (1, 4), "{text}");
    assert_eq!(setting.json(&[])["problems"].as_array().unwrap().len(), 4);
    assert_eq!(setting.check(&[]).0, 0);

    // The check itself fails.
    for (arguments, why) in [
        (vec!["me"], "a recipient is not one"),
        (vec!["--days", "-1"], "unexpected argument '-1'"),
        (vec!["--days", "soon"], "invalid value 'soon'"),
        (vec!["--certs", "certs"], "--certs certs: not understood"),
    ] {
        let (code, text, error) = setting.check(&arguments);
        assert_eq!((code, text.as_str()), (75, ""), "{arguments:?}");
        assert!(error.contains(why), "{arguments:?}: {error}");
    }
    let open = setting.folder.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let sources = format!("{} {}", open.display(), setting.certs().display());
    let (code, text, _) = setting.check(&["--certs", &sources]);
    assert!(code == 75 && text.contains("everybody may write it") && text.contains("usable   yes"), "{text}");

    // It is a problem if there is no certificate at all.
    let (code, text, _) = setting.check(&["--certs", "/nonexistent", "--days", "30"]);
    assert_eq!((code, text.as_str()), (1, "problem: /nonexistent: there is no certificate\n"));
}

#[test]
fn check_lists_keyrings_and_certificate_directories() {
    let setting = Setting::new();
    let keys = [key_for("a@domain.com"), key_for("b@domain.com"), key_for("c@domain.com")];
    let bytes = |key: &Cert| key.clone().strip_secret_key_material().to_vec().unwrap();
    setting.give("ring.pgp", &[bytes(&keys[0]), bytes(&keys[1])].concat());
    let ring = setting.certs().join("ring.pgp");
    let report = setting.json(&["--certs", ring.to_str().unwrap()]);
    assert_eq!(report["certificates"].as_array().unwrap().len(), 2);
    assert_eq!(report["certificates"][0]["files"][0], ring.to_str().unwrap());

    let hex = keys[2].fingerprint().to_hex().to_lowercase();
    let wrong = format!("{}{}", &hex[..2], hex[2..].chars().rev().collect::<String>());
    fs::create_dir(setting.certs().join(&hex[..2])).unwrap();
    for name in [&hex, &wrong] {
        setting.give(&format!("{}/{}", &name[..2], &name[2..]), &bytes(&keys[2]));
    }
    let report = setting.json(&[]);
    assert_eq!(report["certificates"].as_array().unwrap().len(), 3, "{report:#}");
    let problem = report["problems"][0]["problem"].as_str().unwrap();
    assert!(
        problem.contains(&wrong.to_uppercase()) && problem.contains("no certificate with this"),
        "{problem}"
    );
}

/// Whoever makes a certificate chooses its User ID, and whoever writes a file chooses its name.
#[test]
fn check_shows_hostile_text_harmlessly() {
    let hostile = "\u{1b}]0;x\u{7}\"}]\r\n  usable   yes\u{202e}\u{9b}2J <me@domain.com>";
    let key = builder("x@domain.com").add_userid(hostile).generate().unwrap().0;
    let setting = Setting::new();
    setting.give(&format!("{hostile}.asc"), &armored_secret(&key));
    setting.give(&format!("{hostile}.pgp"), b"rubbish");
    let bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    for arguments in [&[][..], &["me@domain.com"], &["a\u{202e}@domain.com"], &["--json"]] {
        let (_, text, errors) = setting.check(arguments);
        assert!(!(text.clone() + &errors).contains(bad), "{text:?} {errors:?}");
        assert!(text.matches("\n  usable ").count() <= 1, "{text}");
    }
    assert!(setting.check(&[]).1.contains("usable   yes??2J <me@domain.com>.pgp: it holds no"));
    assert_eq!(setting.json(&[])["certificates"].as_array().unwrap().len(), 1);
}

// The pages ----------------------------------------------------------------------------------------

/// Replaces everything in `text` that differs between certificates.
fn shape(text: &str) -> String {
    let word = |word: &str| {
        let body = word.trim_end_matches(',');
        let hex = matches!(body.len(), 40 | 64) && body.bytes().all(|b| b.is_ascii_hexdigit());
        let date = body.len() == 10 && body.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        let kind = if hex {
            "HEX"
        } else if date {
            "DATE"
        } else if body.starts_with('/') {
            "PATH"
        } else {
            body
        };
        kind.to_owned() + &word[body.len()..]
    };
    let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ");
    text.trim_end().lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_page_shows_what_the_tool_does() {
    const PAGE: &str = "doc/admin/command-line.md";
    let key = CertBuilder::new().set_profile(Profile::RFC4880).unwrap().add_userid("Me <me@domain.com>");
    let key = key.add_transport_encryption_subkey().set_validity_period(1000 * DAY);
    let setting = Setting::with(&key.generate().unwrap().0);
    fs::write(setting.folder.path().join("message"), MESSAGE).unwrap();
    fs::create_dir(setting.folder.path().join("bin")).unwrap();
    symlink(env!("CARGO_BIN_EXE_perot-encrypt"), setting.folder.path().join("bin/perot-encrypt")).unwrap();
    let shell = |commands: &str| {
        let mut command = setting.command(Path::new("/bin/sh"));
        command.args(["-euc", commands]).current_dir(setting.folder.path());
        let output = command.env("PATH", setting.folder.path().join("bin")).output().unwrap();
        assert!(output.status.success(), "{commands}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    shell(&blocks(PAGE, "The filter")[0]);
    let encrypted = fs::read(setting.folder.path().join("encrypted")).unwrap();
    assert!(find(&encrypted, b"-----BEGIN PGP MESSAGE-----").is_some());
    let check = blocks(PAGE, "Check certificates");
    assert_eq!(shape(&shell(&check[0])), shape(&check[1]));
    let smime = Setting::new();
    smime.give("me.pem", &fs::read(Identity::new("rsa:3072", "me@domain.com").path("cert")).unwrap());
    let (status, said, _) = smime.check(&["me@domain.com"]);
    assert_eq!((status, shape(&said)), (0, shape(&check[2])));
    shell(&blocks(PAGE, "Monitoring")[0]);

    let page = perot_testing::pages::read(PAGE);
    let report = setting.json(&[]);
    let certificate = report["certificates"][0].as_object().unwrap();
    let key = certificate["keys"][0].as_object().unwrap();
    for field in certificate.keys().chain(key.keys()) {
        assert!(page.contains(&format!("`{field}`")), "{field}");
    }
}

// The manual ---------------------------------------------------------------------------------------

#[test]
fn the_man_pages_have_every_option() {
    let setting = Setting::new();
    man::pages(setting.folder.path()).unwrap();
    let read = |name: &str| {
        let mut page = String::new();
        File::open(setting.folder.path().join(name)).unwrap().read_to_string(&mut page).unwrap();
        page.replace("\\-", "-")
    };
    let (main, check) = (read("perot-encrypt.1"), read("perot-encrypt-check.1"));
    for (page, options) in [
        (
            &main,
            vec![
                "--certs",
                "--force",
                "--compress",
                "--subkeys",
                "PEROT_ENCRYPT_CERTS",
                "EXIT STATUS",
                "perot-encrypt-check(1)",
            ],
        ),
        (&main, vec!["--encrypt-mode", "prefer-inline", "--inline-flatten", "--skip-smime", "--skip-ms-bug"]),
        (&check, vec!["--days", "--json", "--certs"]),
    ] {
        for option in options {
            assert!(page.contains(option), "{option} is not in\n{page}");
        }
    }
}
