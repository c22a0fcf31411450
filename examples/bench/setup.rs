//! The servers that are compared, their users, and messages for them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use sequoia_openpgp::cert::CipherSuite;
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::{Cert, Message, Packet, PacketPile};

use crate::measure::{deliver, empty};
use perot_testing::dovecot::{era, run, Config, Dovecot, Era, Lmtp};
use perot_testing::post_quantum::KINDS;
use perot_testing::smime::Identity;
use perot_testing::{armored, base64_lines, builder, ciphertext, find, key_for, keyring};

/// The users, named after their scripts.
pub const KEEP: &str = "keep@bench.test";
pub const ENCRYPT: &str = "encrypt@bench.test";
/// Has no script. On the servers that load the mail plugin, that encrypts.
pub const STORED: &str = "stored@bench.test";
pub const GPGIT: &str = "gpgit@bench.test";
pub const RSA: &str = "rsa@bench.test";
pub const THREE: &str = "three@bench.test";
/// Has an X.509 certificate with an RSA key.
pub const SMIME: &str = "smime@bench.test";
const USERS: [(&str, &str); 6] = [
    (KEEP, "keep;"),
    (ENCRYPT, ENCRYPT_OWNER),
    (GPGIT, "require \"vnd.dovecot.filter\"; filter \"gpgit\" \"encrypt@bench.test\";"),
    (RSA, ENCRYPT_OWNER),
    (SMIME, ENCRYPT_OWNER),
    (
        THREE,
        "require \"vnd.perot.encrypt\"; encrypt [\"encrypt@bench.test\", \"rsa@bench.test\", \"three@bench.test\"];",
    ),
];
pub const ENCRYPT_OWNER: &str = "require \"vnd.perot.encrypt\"; encrypt;";
pub const ENCRYPT_ONE: &str = "require \"vnd.perot.encrypt\"; encrypt \"encrypt@bench.test\";";

/// Returns the name of one of several users with the same script.
pub fn numbered(user: &str, n: usize) -> String {
    format!("{n}-{user}")
}

/// The number of such users that [`KEEP`], [`ENCRYPT`] and [`STORED`] have, one for each connection.
pub const CONNECTIONS: usize = 4;

pub const SMALL: usize = 4 << 10;
pub const SIZES: [(&str, usize); 5] =
    [("4 kB", SMALL), ("30 kB", 30 << 10), ("1 MB", 1 << 20), ("25 MB", 25 << 20), ("100 MB", 100 << 20)];

/// Makes a message of about the given size. It has lines of base64 like an attachment, which cannot be
/// compressed much.
pub fn message(size: usize) -> Vec<u8> {
    let mut message = b"From: a@example.org\r\nSubject: x\r\nContent-Type: application/octet-stream\r\n\
                        Content-Transfer-Encoding: base64\r\n\r\n"
        .to_vec();
    let mut random = vec![0; size.saturating_sub(message.len()) / 78 * 57];
    sequoia_openpgp::crypto::random(&mut random).unwrap();
    message.extend(base64_lines(&random));
    message
}

/// The servers. All have the same users, scripts and certificates.
pub struct Servers {
    /// Its lmtp processes serve any number of connections.
    pub warm: Dovecot,
    /// It starts an lmtp process for each connection.
    pub cold: Dovecot,
    /// It is like the warm one, and loads the mail plugin as well.
    pub stores_warm: Dovecot,
    /// It is like the cold one, and loads the mail plugin as well.
    pub stores_cold: Dovecot,
    /// It is like the last one, and compresses.
    pub compresses: Dovecot,
    /// It is like the cold one, but does not load the plugin.
    pub without: Dovecot,
    /// The name of the program that runs as gpgit.
    pub old: &'static str,
}

impl Servers {
    pub fn start() -> Self {
        let rsa = builder(RSA).set_cipher_suite(CipherSuite::RSA4k).generate().unwrap().0;
        let keys = [
            ("encrypt", key_for(ENCRYPT)),
            ("stored", key_for(STORED)),
            ("rsa", rsa),
            ("three", key_for(THREE)),
        ];
        let identity = fs::read(Identity::new("rsa:2048", SMIME).path("cert")).unwrap();
        let start = |config| start(config, &keys, &identity);
        let servers = Self {
            warm: start(config(false, true)),
            cold: start(config(true, true)),
            stores_warm: start(with_mail_plugin(config(false, true))),
            stores_cold: start(with_mail_plugin(config(true, true))),
            compresses: start(compressing(with_mail_plugin(config(true, true)))),
            without: start(config(true, false)),
            old: if gpgit().is_some() { "gpgit" } else { "`gpg --encrypt`" },
        };
        for dovecot in [&servers.warm, &servers.cold] {
            check(dovecot, ENCRYPT, &keys[0].1);
            check(dovecot, GPGIT, &keys[0].1);
        }
        for dovecot in [&servers.stores_warm, &servers.stores_cold, &servers.compresses] {
            check(dovecot, STORED, &keys[1].1);
        }
        servers
    }

    /// Returns true if the program is gpgit itself.
    pub fn has_gpgit(&self) -> bool {
        gpgit().is_some()
    }
}

fn gpgit() -> Option<PathBuf> {
    std::env::var_os("GPGIT").map(PathBuf::from)
}

fn start(config: Config, keys: &[(&str, Cert)], identity: &[u8]) -> Dovecot {
    let mut dovecot = Dovecot::prepare(&config);
    install_gpgit(&dovecot, &keys[0].1);
    for (name, key) in keys {
        fs::write(dovecot.certs().join(name).with_extension("asc"), armored(key)).unwrap();
    }
    dovecot.give(SMIME, "me.pem", identity);
    for n in 0..CONNECTIONS {
        let user = numbered(STORED, n);
        dovecot.give(&user, "k.asc", &armored(&key_for(&user)));
    }
    for (user, script) in USERS {
        dovecot.script(user, script);
    }
    for kind in KINDS {
        dovecot.give(&kind.address(), "k.asc", &kind.public());
        dovecot.script(&kind.address(), ENCRYPT_OWNER);
    }
    for n in 0..CONNECTIONS {
        dovecot.script(&numbered(KEEP, n), "keep;");
        dovecot.script(&numbered(ENCRYPT, n), ENCRYPT_ONE);
    }
    dovecot.launch();
    dovecot
}

fn config(one_connection: bool, plugin: bool) -> Config {
    let (count, requests) = if one_connection { (1, "1") } else { (0, "unlimited") };
    let (ours, yes) = if plugin { ("sieve_perot_encrypt", "yes") } else { ("", "no") };
    // For large messages, gpgit takes more memory than Dovecot allows by default.
    let memory = "vsz_limit = 4G";
    let filter = "sieve_filter_bin_dir = {dir}/bin\nsieve_filter_exec_timeout = 600s\n";
    let user = if era() == Era::V23 { "%u" } else { "%{user}" };
    Config {
        plugin: vec![("certs", format!("~/pgp-certs {{dir}}/certs {{dir}}/many/{user}"))],
        plugin_23: format!(
            "sieve_plugins = {ours} sieve_extprograms\nsieve_extensions = +vnd.dovecot.filter\n{filter}"
        ),
        extra_23: format!("service lmtp {{\n  service_count = {count}\n  {memory}\n}}\n"),
        extra_24: format!(
            "sieve_plugins {{\n  sieve_perot_encrypt = {yes}\n  sieve_extprograms = yes\n}}\n\
             sieve_extensions {{\n  vnd.dovecot.filter = yes\n}}\n{filter}\
             service lmtp {{\n  restart_request_count = {requests}\n  {memory}\n}}\n"
        ),
        // gpgit looks up the home of its user in /etc/passwd.
        mail_server_users: true,
        ..Config::default()
    }
}

fn with_mail_plugin(config: Config) -> Config {
    Config { delivery_plugins: Some("sieve perot_encrypt"), ..config }
}

fn compressing(config: Config) -> Config {
    let plugin = [config.plugin, vec![("compress", "yes".into())]].concat();
    Config { plugin, ..config }
}

/// Installs the program for `filter "gpgit"`, and a keyring for `vmail`, who owns all mailboxes.
fn install_gpgit(dovecot: &Dovecot, key: &Cert) {
    let program = dovecot.path("bin/gpgit");
    fs::create_dir(dovecot.path("bin")).unwrap();
    match gpgit() {
        Some(path) => drop(fs::copy(&path, &program).unwrap_or_else(|e| panic!("{}: {e}", path.display()))),
        None => {
            let options = "--batch --quiet --no-options --trust-model always --armor --encrypt";
            fs::write(&program, format!("#!/bin/sh\nHOME=~vmail exec gpg {options} --recipient \"$1\"\n"))
                .unwrap();
        }
    }
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let home = dovecot.home("vmail");
    keyring(&home, key);
    // gpg does not encrypt to uncertified keys without this option, and gpgit does not pass it.
    fs::write(home.join(".gnupg/gpg.conf"), "trust-model always\n").unwrap();
    run(Command::new("chown").args(["-R", "--reference"]).arg(&home).arg(home.join(".gnupg")));
}

/// Panics unless a user's mail is encrypted to `key`. A filter that fails leaves mail in clear, and would
/// seem fast.
fn check(dovecot: &Dovecot, user: &str, key: &Cert) {
    let message = message(SMALL);
    deliver(&mut Lmtp::connect(&dovecot.path("run/lmtp")), user, &message);
    let stored = dovecot.only_message(user);
    empty(dovecot, user);
    let line = &message[message.len() - 78..message.len() - 2];
    let in_clear = find(&stored, line).is_some() || find(&stored, b"-----BEGIN PGP MESSAGE-----").is_none();
    assert!(
        !in_clear,
        "{user}: stored in clear. gpgit wants libmail-gnupg-perl and libmime-tools-perl.\n{}",
        dovecot.log()
    );
    let encrypted = PacketPile::from(Message::from_bytes(ciphertext(&stored)).expect("an OpenPGP message"));
    let Some(Packet::PKESK(session_key)) = encrypted.children().next() else {
        panic!("{user}: no recipient")
    };
    let recipient = session_key.recipient().expect("a recipient");
    assert!(key.keys().any(|k| k.key().key_handle().aliases(&recipient)), "{user}: to somebody else");
}
