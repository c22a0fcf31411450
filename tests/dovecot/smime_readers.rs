//! Reads S/MIME messages with other programs than `openssl`, which tests/library/smime.rs uses.

use std::fs;
use std::io::Write;
use std::process::Command;
use std::sync::LazyLock;

use base64::prelude::{Engine, BASE64_STANDARD};
use perot_encrypt::envelope::{Envelope, Seal};
use perot_encrypt::smime::Smime;
use perot_testing::dovecot::{run, run_with};
use perot_testing::random_bytes;
use perot_testing::smime::{Identity, KINDS};
use tempfile::TempDir;

use crate::readers::{version, GnuPg};

const ME: &str = "me@domain.com";

/// Encrypts `payload`. Returns the message in BER.
fn encrypted(identities: &[&Identity], payload: &[u8]) -> Vec<u8> {
    let envelope = Smime::new(identities.iter().map(|one| one.recipient()).collect());
    let mut seal = envelope.open(Vec::new()).unwrap();
    seal.write_all(payload).unwrap();
    let mut body = seal.finish().unwrap();
    body.retain(|digit| !digit.is_ascii_whitespace());
    BASE64_STANDARD.decode(body).unwrap()
}

/// Has keys of all kinds decrypt messages to each of them alone, and one to all of them. Programs that have no key agreement get
/// messages to RSA keys only. `reader` makes a reader with a key.
fn reads<D: Fn(&[u8]) -> Vec<u8>>(knows_ec: bool, reader: impl Fn(&Identity) -> D) {
    static IDENTITIES: LazyLock<Vec<Identity>> =
        LazyLock::new(|| KINDS.iter().map(|kind| Identity::new(kind, ME)).collect());
    let known = if knows_ec { &IDENTITIES[..] } else { &IDENTITIES[..3] };
    let all: Vec<&Identity> = known.iter().collect();
    for (kind, identity) in KINDS.iter().zip(known) {
        let decrypt = reader(identity);
        for (recipients, size) in [(&[identity][..], 0), (&[identity], 1), (&[identity], 300_001), (&all, 16)]
        {
            let payload = random_bytes(size);
            let read = decrypt(&encrypted(recipients, &payload));
            assert!(read == payload, "{kind}: {size} bytes for {}", recipients.len());
        }
    }
}

/// Returns true if a version is `wanted` or a later one.
fn is_from(version: &str, wanted: [u32; 2]) -> bool {
    let mut parts = version.split('.').map(|part| part.parse().unwrap());
    [parts.next().unwrap(), parts.next().unwrap()] >= wanted
}

/// GnuPG 2.2 has no key agreement.
#[test]
fn gpgsm() {
    reads(is_from(&version("gpgsm"), [2, 4]), |identity| {
        let home = GnuPg::with(&[]);
        let file = home.path().join("file");
        let gpgsm = move |what: &str, content: &[u8]| {
            fs::write(&file, content).unwrap();
            let mut command = Command::new("gpgsm");
            command.arg("--homedir").arg(home.path()).args(["--batch", "--pinentry-mode", "loopback"]);
            run_with(command.args(["--passphrase-fd", "0", what]).arg(&file), b"password\n")
        };
        // gpgsm 2.2 takes one file in some hundreds for damaged. With another salt, it reads it.
        let import = |_| gpgsm("--import", &identity.pkcs12());
        let imported = (0..3).map(import).find(|imported| imported.status.success());
        assert!(imported.is_some(), "gpgsm does not read the keys");
        // Its status is that of a failure, too, when it does not have the certificates of other recipients.
        move |ber| gpgsm("--decrypt", ber).stdout
    });
}

/// The library of Thunderbird and Evolution. Before version 3.110 it has no key agreement, and does not even read a message for
/// an RSA key if there is one for another recipient.
#[test]
fn nss() {
    let installed =
        run(Command::new("dpkg-query").args(["-W", "-f", "${source:Upstream-Version}", "libnss3"]));
    assert!(installed.status.success(), "apt install libnss3-tools");
    let version = String::from_utf8(installed.stdout).unwrap();
    reads(is_from(&version, [3, 110]), |identity| {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("secret.p12"), identity.pkcs12()).unwrap();
        nss_program(&folder, "certutil", &["-N", "--empty-password"]);
        nss_program(&folder, "pk12util", &["-i", "secret.p12", "-W", "password"]);
        move |ber| {
            fs::write(folder.path().join("message"), ber).unwrap();
            nss_program(&folder, "cmsutil", &["-D", "-i", "message", "-o", "payload"]);
            fs::read(folder.path().join("payload")).unwrap()
        }
    });
}

fn nss_program(folder: &TempDir, program: &str, arguments: &[&str]) {
    let mut command = Command::new(program);
    let output = run(command.current_dir(folder.path()).args(["-d", "sql:."]).args(arguments));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
