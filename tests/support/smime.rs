//! S/MIME certificates with their keys, made by the command `openssl`, and messages read by it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;

use perot_encrypt::certs::x509::Recipient;
use perot_encrypt::openssl::x509::X509;

use tempfile::{NamedTempFile, TempDir};

use super::dovecot::run;

/// Kinds of keys, as `Identity::new` takes them.
pub const KINDS: [&str; 6] = ["rsa:2048", "rsa:3072", "rsa:4096", "P-256", "P-384", "P-521"];

/// Somebody who has a certificate and its key.
pub struct Identity {
    folder: TempDir,
}

impl Identity {
    /// Makes one for `address`, signed by itself, with a key of one of the `KINDS`.
    pub fn new(kind: &str, address: &str) -> Self {
        let extensions = format!(
            "basicConstraints = critical, CA:FALSE\nextendedKeyUsage = emailProtection\n\
             subjectAltName = email:{address}\n"
        );
        Self::with(kind, &extensions, None)
    }

    /// Makes a certificate authority.
    pub fn authority() -> Self {
        Self::with("P-256", "basicConstraints = critical, CA:TRUE\n", None)
    }

    /// Makes one with these lines as extensions, signed by `authority` or by itself.
    pub fn with(kind: &str, extensions: &str, authority: Option<&Self>) -> Self {
        let identity = Self { folder: tempfile::tempdir().unwrap() };
        let configuration = format!(
            "[req]\ndistinguished_name = name\nprompt = no\nx509_extensions = extensions\n\
             [name]\nO = Test\nCN = {kind}\n[extensions]\n{extensions}"
        );
        fs::write(identity.path("conf"), configuration).unwrap();
        // gpgsm wants a hash that is as long as the key.
        let hash = match kind {
            "P-384" => "-sha384",
            "P-521" => "-sha512",
            _ => "-sha256",
        };
        let mut req = openssl(&["req", "-x509", "-days", "3650", hash, "-nodes", "-config"]);
        req.arg(identity.path("conf"));
        req.arg("-keyout").arg(identity.path("key")).arg("-out").arg(identity.path("cert"));
        match kind {
            "ed25519" | "rsa-pss" => req.args(["-newkey", kind]),
            _ if kind.starts_with("rsa:") => req.args(["-newkey", kind]),
            curve => req.args(["-newkey", "ec", "-pkeyopt", &format!("ec_paramgen_curve:{curve}")]),
        };
        if let Some(authority) = authority {
            req.arg("-CA").arg(authority.path("cert")).arg("-CAkey").arg(authority.path("key"));
        }
        output(&mut req);
        identity
    }

    /// Returns the path of the file with the certificate (`cert`) or the key (`key`), in PEM.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the certificate in DER.
    pub fn der(&self) -> Vec<u8> {
        output(openssl(&["x509", "-outform", "DER", "-in"]).arg(self.path("cert")))
    }

    /// Returns certificate and key in PKCS#12, with the password `password`, by the old algorithms that GnuPG 2.2 reads.
    pub fn pkcs12(&self) -> Vec<u8> {
        let mut export = openssl(&["pkcs12", "-export", "-name", "me", "-passout", "pass:password"]);
        export.args(["-certpbe", "PBE-SHA1-3DES", "-keypbe", "PBE-SHA1-3DES", "-macalg", "sha1", "-in"]);
        output(export.arg(self.path("cert")).arg("-inkey").arg(self.path("key")))
    }

    /// Returns the recipient of a message.
    pub fn recipient(&self) -> Recipient {
        let cert = Arc::new(X509::from_der(&self.der()).unwrap());
        let (_, expires) = cert.validity().unwrap();
        Recipient { cert, fingerprint: "FINGERPRINT".into(), expired: None, expires, is_rsa: true }
    }

    /// Decrypts a message, which begins with its header.
    pub fn decrypt(&self, message: &[u8]) -> Vec<u8> {
        let file = file_of(message);
        let mut decrypt = openssl(&["cms", "-decrypt", "-in"]);
        decrypt.arg(file.path()).arg("-recip").arg(self.path("cert"));
        output(decrypt.arg("-inkey").arg(self.path("key")))
    }
}

/// Returns what `openssl` says of a message that has been taken out of base64: all that is in it, in words.
pub fn described(ber: &[u8]) -> String {
    let file = file_of(ber);
    let mut print = openssl(&["cms", "-cmsout", "-print", "-noout", "-inform", "DER", "-in"]);
    String::from_utf8(output(print.arg(file.path()))).unwrap()
}

fn file_of(message: &[u8]) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    fs::write(file.path(), message).unwrap();
    file
}

fn openssl(arguments: &[&str]) -> Command {
    let mut command = Command::new("openssl");
    command.args(arguments);
    command
}

fn output(command: &mut Command) -> Vec<u8> {
    let Output { status, stdout, stderr } = run(command);
    assert!(status.success(), "{command:?}: {}", String::from_utf8_lossy(&stderr));
    stdout
}
