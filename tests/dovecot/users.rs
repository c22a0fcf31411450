//! Certificates in fields of user databases, and in files, set up as doc/admin/keys.md says.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use base64::Engine;
use sequoia_openpgp::cert::{CertBuilder, CipherSuite};
use sequoia_openpgp::serialize::SerializeInto;
use sequoia_openpgp::Cert;

use crate::documents::pasted;
use crate::{assert_nothing_stored, message, script, SECRET};
use perot_testing::dovecot::{era, run, wait_until, Config, Dovecot, Era, Lmtp};
use perot_testing::pages::{blocks, project, shown};
use perot_testing::{armored, decrypt, find, key_for};

const ME: &str = "me@domain.com";
const SQL: &str = "From SQL";
pub const PASSDB: [&str; 2] =
    ["passdb {\n  driver = static\n  args = password=test\n}\n", "passdb static {\n  password = test\n}\n"];

/// Returns a block of the page, with the folder `etc` of a private Dovecot instead of the system's.
fn block(section: &str, number: usize) -> String {
    blocks("doc/admin/keys.md", section).swap_remove(number).replace("/etc/dovecot", "{dir}/etc")
}

/// Returns the argument for the installed Dovecot.
pub fn of_era<T>(v23: T, v24: T) -> T {
    match era() {
        Era::V23 => v23,
        Era::V24 => v24,
    }
}

/// Prepares a Dovecot whose script for all users is `encrypt;`.
fn prepare(users: impl Into<Option<String>>, config: Config) -> Dovecot {
    let before = Some(script("", "encrypt;"));
    let dovecot = Dovecot::prepare(&Config { users: users.into(), before, ..config });
    fs::create_dir(dovecot.path("etc")).unwrap();
    dovecot
}

/// Prepares one with the SQLite database of the page.
fn prepare_sqlite(config: Config) -> Dovecot {
    let users = of_era(PASSDB[0].to_owned() + &block(SQL, 2), PASSDB[1].to_owned() + &block(SQL, 3));
    let dovecot = prepare(users, config);
    let settings = block(SQL, 1).replace("{dir}", dovecot.path("").to_str().unwrap());
    fs::write(dovecot.path("etc/dovecot-sql.conf.ext"), settings).unwrap();
    sqlite(&dovecot, "CREATE TABLE users (name TEXT PRIMARY KEY, home TEXT)");
    shell(&dovecot, &block(SQL, 0));
    dovecot
}

/// Runs commands of the page. Returns their output. GnuPG has the keys that [`know`] has imported.
pub fn shell(dovecot: &Dovecot, commands: &str) -> String {
    let commands = commands
        .replace("{dir}", dovecot.path("").to_str().unwrap())
        .replace("sudo ", "")
        .replace("doveadm ", &format!("doveadm -c {} ", dovecot.path("dovecot.conf").display()));
    let output = run(dovecot.command("sh").args(["-euc", &commands]).env("GNUPGHOME", dovecot.path("gnupg")));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{commands}: {said}\n{}", dovecot.log());
    String::from_utf8(output.stdout).unwrap()
}

/// Imports a certificate into GnuPG.
fn know(dovecot: &Dovecot, key: &Cert) {
    let _ = fs::create_dir(dovecot.path("gnupg"));
    fs::write(dovecot.path("known.asc"), armored(key)).unwrap();
    shell(dovecot, "chmod 700 {dir}/gnupg; gpg --batch --quiet --import {dir}/known.asc");
}

fn sqlite(dovecot: &Dovecot, statement: &str) {
    let output = run(Command::new("sqlite3").arg(dovecot.path("etc/users.sqlite")).arg(statement));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Adds a user to the database, with an SQL expression for the certificate.
fn add(dovecot: &Dovecot, name: &str, certificate: &str) {
    let home = dovecot.home(name);
    sqlite(dovecot, &format!("INSERT INTO users VALUES ('{name}', '{}', {certificate})", home.display()));
}

fn base64(key: &Cert) -> String {
    let binary = key.clone().strip_secret_key_material().to_vec().unwrap();
    base64::engine::general_purpose::STANDARD.encode(binary)
}

/// Delivers a message to the user, which must be stored encrypted to the key.
fn assert_delivered(dovecot: &Dovecot, user: &str, key: &Cert) {
    let answer = dovecot.deliver(user, &message("users"));
    assert!(answer.starts_with("250 "), "{user}: {answer}\n{}", dovecot.log());
    assert_encrypted(dovecot, user, key);
}

/// Panics unless the user's only message is encrypted to the key. Removes it.
fn assert_encrypted(dovecot: &Dovecot, user: &str, key: &Cert) {
    let stored = dovecot.only_message(user);
    assert!(find(&stored, key.fingerprint().to_hex().as_bytes()).is_some(), "{user}: another key");
    assert!(decrypt(&stored, key).ends_with(&message("users")), "{user}");
    fs::remove_dir_all(dovecot.home(user).join("Maildir")).unwrap();
}

/// Returns the answer to a recipient who is refused before the message is sent.
fn refusal(dovecot: &Dovecot, user: &str) -> String {
    let mut session = Lmtp::connect(&dovecot.path("run/lmtp"));
    session.command("MAIL FROM:<sender@example.net>");
    session.command(&format!("RCPT TO:<{user}>"))
}

#[test]
fn files_of_all_kinds() {
    let mut dovecot = Dovecot::prepare(&Config { default_certs: true, ..Config::default() });
    let dir = dovecot.path("").display().to_string();
    fs::create_dir_all(dovecot.path("etc/pgp-certs")).unwrap();
    let file = dovecot.path("dovecot.conf");
    let settings = block("Files", of_era(0, 1)).replace("{dir}", &dir);
    fs::write(&file, fs::read_to_string(&file).unwrap() + &settings).unwrap();

    let users = ["home@t.org", ME, "a@domain.com", "b@domain.com", "shared@t.org"];
    let keys = users.map(key_for);
    keys[1..4].iter().for_each(|key| know(&dovecot, key));
    dovecot.give(users[0], "mine.asc", &armored(&keys[0]));
    // The first one has come by mail.
    fs::write(dovecot.path("me.asc"), armored(&keys[1])).unwrap();
    for number in [2, 3] {
        shell(&dovecot, &format!("cd {{dir}}\n{}", block("Files", number)));
    }
    let hex = keys[4].fingerprint().to_hex().to_lowercase();
    let folder = dovecot.path("etc/pgp.cert.d").join(&hex[..2]);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(&hex[2..]), armored(&keys[4])).unwrap();
    dovecot.launch();
    for (user, key) in users.into_iter().zip(&keys) {
        let by_fingerprint = format!("encrypt \"{hex}\";");
        dovecot.script(user, &script("", if user == users[4] { &by_fingerprint } else { "encrypt;" }));
        assert_delivered(&dovecot, user, key);
    }
}

#[test]
fn a_certificate_for_each_user_from_sql() {
    let mut dovecot = prepare_sqlite(Config::default());
    let keys = [key_for(ME), key_for("two@t.org"), key_for("three@t.org"), key_for("file@t.org")];
    let armored_text = String::from_utf8(armored(&keys[1])).unwrap().replace("\r\n", "\n");
    let whole = base64(&keys[0]);
    let end = whole.len() / 4 * 4 - 8;
    for (name, value) in [
        (ME, "NULL".to_owned()),
        ("two@t.org", format!("'{armored_text}'")),
        ("three@t.org", format!("'{}'", String::from_utf8(armored(&keys[2])).unwrap().replace('\n', "\r\n"))),
        ("file@t.org", "NULL".to_owned()),
        ("null@t.org", "NULL".to_owned()),
        ("empty@t.org", "''".to_owned()),
        ("cut@t.org", format!("'{}'", &whole[..=end])),
        ("shorter@t.org", format!("'{}'", &whole[..end])),
        ("rubbish@t.org", "'x\t\u{1}\n=y'".to_owned()),
        ("comment@t.org", format!("'{}'", armored_text.replace("\nComment: ", "\nComment: 100%{x}"))),
    ] {
        add(&dovecot, name, &value);
    }
    fs::write(dovecot.certs().join("file.asc"), armored(&keys[3])).unwrap();
    know(&dovecot, &keys[0]);
    shell(&dovecot, &block(SQL, 4));
    dovecot.launch();

    // One connection is served by one process: a wrong field of one user must not disturb the next.
    let mut session = Lmtp::connect(&dovecot.path("run/lmtp"));
    let mut deliver = |user: &str| session.deliver(&[user], &message("users")).remove(0);
    let good = [(ME, &keys[0]), ("two@t.org", &keys[1]), ("three@t.org", &keys[2]), ("file@t.org", &keys[3])];
    let refused = [
        ("null@t.org", "no certificate for null@t.org. Searched: "),
        ("empty@t.org", "no certificate for empty@t.org. Searched: "),
        (
            "cut@t.org",
            "its base64 is damaged or cut off. It should be what `gpg --export ADDRESS | base64 -w0` prints",
        ),
        ("shorter@t.org", "it is cut off: its packets do not fit together. It should be "),
        ("rubbish@t.org", "sieve_perot_encrypt_cert of rubbish@t.org: it holds no certificate. "),
    ];
    for (user, why) in refused {
        let answer = deliver(user);
        assert!(answer.starts_with("451 4.2.0 "), "{user}: {answer}");
        dovecot.log_line(&[user, "message not encrypted, deferred: ", why]);
        assert_nothing_stored(&dovecot, user);
        for (user, key) in good {
            let answer = deliver(user);
            assert!(answer.starts_with("250 "), "{user}: {answer}\n{}", dovecot.log());
            assert_encrypted(&dovecot, user, key);
        }
    }
    let answer = deliver("comment@t.org");
    match dovecot.era {
        Era::V23 => {
            assert!(answer.starts_with("451 "), "{answer}");
            dovecot.log_line(&["Unknown variable"]);
            assert_nothing_stored(&dovecot, "comment@t.org");
        }
        Era::V24 => {
            assert!(answer.starts_with("250 "), "{answer}");
            assert_encrypted(&dovecot, "comment@t.org", &keys[1]);
        }
    }

    // A new key is used from the next delivery on.
    let new = key_for(ME);
    sqlite(&dovecot, &format!("UPDATE users SET pgp_cert = '{}' WHERE name = '{ME}'", base64(&new)));
    assert!(deliver(ME).starts_with("250 "), "{}", dovecot.log());
    assert_encrypted(&dovecot, ME, &new);
    let shown = block("Check that it works", 0);
    assert_eq!(shell(&dovecot, &shown).trim(), base64(&new));
    assert_eq!(shell(&dovecot, &shown.replace(ME, "null@t.org")).trim(), "");

    // If the database cannot be read, nothing is delivered.
    fs::write(dovecot.path("etc/users.sqlite"), "broken").unwrap();
    let answer = refusal(&dovecot, ME);
    assert!(answer.starts_with("451 "), "{answer}");
    dovecot.assert_nowhere(SECRET);
}

#[test]
fn how_large_a_field_may_be() {
    let mut dovecot = prepare_sqlite(Config::default());
    let large = CertBuilder::new().set_cipher_suite(CipherSuite::RSA4k).add_transport_encryption_subkey();
    let large = (1..=3).fold(large, |builder, n| builder.add_userid(format!("Me {n} <me{n}@domain.com>")));
    let large = large.generate().unwrap().0;
    assert!(base64(&large).len() > 5000);
    let small = key_for(ME);
    let padded = |size: usize| format!("'{:size$}'", base64(&small));
    add(&dovecot, ME, &padded(7800));
    add(&dovecot, "rsa@t.org", &format!("'{}'", base64(&large)));
    add(&dovecot, "beyond@t.org", &padded(8192));
    dovecot.launch();
    for (user, key) in [(ME, &small), ("rsa@t.org", &large)] {
        assert_delivered(&dovecot, user, key);
    }
    let answer = refusal(&dovecot, "beyond@t.org");
    assert!(answer.starts_with("451 "), "{answer}");
    dovecot.log_line(&["more than 8192 bytes"]);
    // The user cannot log in, either.
    let said = dovecot.sieve_connect("beyond@t.org", &[], "list\n");
    assert!(said.starts_with("Connection dropped"), "{said}");
    assert_nothing_stored(&dovecot, "beyond@t.org");
}

#[test]
fn dovecot_s_cache_can_be_emptied() {
    let cache = "auth_cache_size = 1M\n".to_owned();
    let mut dovecot =
        prepare_sqlite(Config { extra_23: cache.clone(), extra_24: cache, ..Config::default() });
    let (old, new) = (key_for(ME), key_for(ME));
    add(&dovecot, ME, &format!("'{}'", base64(&old)));
    dovecot.launch();
    assert_delivered(&dovecot, ME, &old);
    sqlite(&dovecot, &format!("UPDATE users SET pgp_cert = '{}'", base64(&new)));
    assert_delivered(&dovecot, ME, &old);
    shell(&dovecot, &block(SQL, 5));
    assert_delivered(&dovecot, ME, &new);
}

/// Nobody logs in for a delivery, so the fields of the passdb are not known then.
#[test]
fn a_field_of_the_passdb_is_not_enough() {
    let field = format!("userdb_sieve_perot_encrypt_cert={}", base64(&key_for(ME)));
    let users = of_era(
        format!(
            "passdb {{\n  driver = static\n  args = password=test {field}\n}}\n\
             userdb {{\n  driver = prefetch\n}}\nuserdb {{\n  driver = static\n  \
             args = allow_all_users=yes\n}}\n"
        ),
        format!(
            "passdb static {{\n  password = test\n  fields {{\n    {}\n  }}\n}}\n\
             userdb prefetch {{\n}}\nuserdb static {{\n  allow_all_users = yes\n}}\n",
            field.replacen('=', " = ", 1)
        ),
    );
    let mut dovecot = prepare(users, Config::default());
    dovecot.launch();
    let answer = dovecot.deliver(ME, &message("users"));
    assert!(answer.contains("(no_certificate)"), "{answer}\n{}", dovecot.log());
    assert_nothing_stored(&dovecot, ME);
}

#[test]
fn sieve_filter_asks_the_database_too() {
    let mut dovecot = prepare_sqlite(Config::default());
    let key = key_for(ME);
    add(&dovecot, ME, &format!("'{}'", base64(&key)));
    dovecot.launch();
    let maildir = dovecot.home(ME).join("Maildir");
    fs::create_dir_all(maildir.join("cur")).unwrap();
    fs::write(maildir.join("cur/1700000000.M1P1.host:2,S"), message("users")).unwrap();
    for path in ["", "cur", "cur/1700000000.M1P1.host:2,S"] {
        dovecot.own(&maildir.join(path));
    }
    let source = dovecot.path("global/before.sieve");
    let arguments = ["-e", "-W", "-u", ME].map(OsStr::new);
    let output =
        dovecot.tool("sieve-filter", &[&arguments[..], &[source.as_os_str(), OsStr::new("INBOX")]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_encrypted(&dovecot, ME, &key);
}

#[test]
fn a_certificate_for_each_user_from_a_passwd_file() {
    let section = "From a passwd-file";
    let mut dovecot = prepare(block(section, of_era(1, 2)), Config::default());
    let keys = [key_for(ME), key_for("two@t.org")];
    let line = |user: &str, key: &Cert| block(section, 0).replace(ME, user).replace("BASE64", &base64(key));
    let none = "none@t.org:{PLAIN}test::::::\n";
    let beyond = block(section, 0).replace(ME, "beyond@t.org").replace("BASE64", &"A".repeat(8192));
    let users = dovecot.path("etc/users");
    fs::write(&users, line(ME, &keys[0]) + &line("two@t.org", &keys[1]) + none + &beyond).unwrap();
    dovecot.launch();
    let deliver = |user: &str| dovecot.deliver(user, &message("users"));
    for (user, key) in [(ME, &keys[0]), ("two@t.org", &keys[1])] {
        assert_delivered(&dovecot, user, key);
    }
    assert!(deliver("none@t.org").contains("(no_certificate)"), "{}", dovecot.log());
    assert_nothing_stored(&dovecot, "none@t.org");
    assert!(refusal(&dovecot, "nobody@t.org").starts_with("550 "), "{}", dovecot.log());
    assert!(refusal(&dovecot, "beyond@t.org").starts_with("451 "), "{}", dovecot.log());
    dovecot.log_line(&["eceived more than 8192 bytes"]);

    // Dovecot looks at the file once a second.
    fs::write(&users, line(ME, &keys[1])).unwrap();
    let new = keys[1].fingerprint().to_hex();
    let changed = (0..600).any(|_| {
        let _ = fs::remove_dir_all(dovecot.home(ME).join("Maildir"));
        assert!(deliver(ME).starts_with("250 "), "{}", dovecot.log());
        std::thread::sleep(Duration::from_millis(100));
        find(&dovecot.only_message(ME), new.as_bytes()).is_some()
    });
    assert!(changed, "{}", dovecot.log());
    assert_encrypted(&dovecot, ME, &keys[1]);
}

/// A private slapd on a unix socket. Dropping it ends it.
struct Slapd {
    folder: tempfile::TempDir,
    server: Option<Child>,
}

impl Slapd {
    /// Starts one with these entries (LDIF) below `ou=people,dc=domain,dc=com`.
    fn start(entries: &str) -> Self {
        let mut slapd = Self { folder: tempfile::tempdir().unwrap(), server: None };
        fs::create_dir(slapd.path("data")).unwrap();
        let schemas = ["core", "cosine", "inetorgperson"];
        let schemas = schemas.map(|name| format!("include /etc/ldap/schema/{name}.schema\n")).concat();
        let configuration = format!(
            "{schemas}attributetype ( 1.3.6.1.4.1.3401.8.2.11 NAME 'pgpKey' EQUALITY caseIgnoreMatch \
             SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )\ndatabase ldif\ndirectory {}\n\
             suffix dc=domain,dc=com\nrootdn cn=admin,dc=domain,dc=com\nrootpw test\n",
            slapd.path("data").display()
        );
        fs::write(slapd.path("slapd.conf"), configuration).unwrap();
        let entries = format!(
            "dn: dc=domain,dc=com\nobjectClass: domain\ndc: domain\n\n\
             dn: ou=people,dc=domain,dc=com\nobjectClass: organizationalUnit\nou: people\n{entries}"
        );
        fs::write(slapd.path("entries.ldif"), entries).unwrap();
        let mut load = Command::new("slapadd");
        load.arg("-f").arg(slapd.path("slapd.conf")).arg("-l").arg(slapd.path("entries.ldif"));
        let output = run(&mut load);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

        let mut serve = Command::new("slapd");
        serve.args(["-d", "0", "-h", &slapd.address(), "-f"]).arg(slapd.path("slapd.conf"));
        let server = slapd.server.insert(serve.spawn().unwrap());
        let socket = slapd.folder.path().join("socket");
        let has_ended = |server: &mut Child| server.try_wait().unwrap().is_some();
        wait_until(
            || UnixStream::connect(&socket).is_ok() || has_ended(server),
            || "slapd does not listen".into(),
        );
        assert!(!has_ended(server), "slapd has ended");
        slapd
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn address(&self) -> String {
        format!("ldapi://{}", self.path("socket").to_str().unwrap().replace('/', "%2F"))
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        let _ = server.kill();
        let _ = server.wait();
    }
}

/// Makes an entry of the directory.
fn entry(address: &str, certificate: &str) -> String {
    format!(
        "\ndn: mail={address},ou=people,dc=domain,dc=com\nobjectClass: inetOrgPerson\n\
         objectClass: extensibleObject\ncn: me\nsn: me\nmail: {address}\n{certificate}"
    )
}

#[test]
fn a_certificate_for_each_user_from_ldap() {
    let section = "From LDAP";
    let keys = [key_for(ME), key_for("two@t.org")];
    // LDIF has values after `::` in base64. This one is armored.
    let armored = base64::engine::general_purpose::STANDARD.encode(armored(&keys[1]));
    let slapd = Slapd::start(
        &[
            entry(ME, ""),
            entry("two@t.org", &format!("pgpKey:: {armored}\n")),
            entry("several@t.org", &keys.each_ref().map(|key| format!("pgpKey: {}\n", base64(key))).concat()),
            entry("none@t.org", ""),
            entry("rubbish@t.org", "pgpKey: rubbish\n"),
        ]
        .concat(),
    );
    let at = |text: String| text.replace("ldap://localhost", &slapd.address());
    let users =
        of_era(PASSDB[0].to_owned() + &block(section, 1), PASSDB[1].to_owned() + &at(block(section, 2)));
    let mut dovecot = prepare(users, Config::default());
    fs::write(dovecot.path("etc/dovecot-ldap.conf.ext"), at(block(section, 0))).unwrap();
    know(&dovecot, &keys[0]);
    let as_admin = format!("ldapmodify -H {} -x -D cn=admin,dc=domain,dc=com -w test", slapd.address());
    shell(&dovecot, &block(section, 3).replace("ldapmodify", &as_admin));
    dovecot.launch();
    let deliver = |user: &str| dovecot.deliver(user, &message("users"));
    for (user, key) in [(ME, &keys[0]), ("two@t.org", &keys[1])] {
        assert_delivered(&dovecot, user, key);
    }
    for (user, reason) in [("none@t.org", "(no_certificate)"), ("rubbish@t.org", "(unusable_certificate)")] {
        let answer = deliver(user);
        assert!(answer.starts_with("451 ") && answer.contains(reason), "{answer}\n{}", dovecot.log());
        assert_nothing_stored(&dovecot, user);
    }
    assert!(deliver("several@t.org").starts_with("250 "), "{}", dovecot.log());
    let stored = dovecot.only_message("several@t.org");
    let ours = |key: &&Cert| find(&stored, key.fingerprint().to_hex().as_bytes()).is_some();
    assert_eq!(keys.iter().filter(ours).count(), 1);
    dovecot.log_line(&["Multiple values found for '"]);
    drop(slapd);
    let answer = refusal(&dovecot, ME);
    assert!(answer.starts_with("451 "), "{answer}");
}

/// `sieve_user_email` says whose certificate it is, to scripts and to the mail plugin, whatever the user's name says.
#[test]
fn the_address_that_the_administrator_has_set() {
    let setting = "sieve_user_email = %n@domain.com\n".to_owned();
    for (plugins, before) in [("sieve", Some(script("", "encrypt;"))), ("perot_encrypt", None)] {
        let dovecot = Dovecot::start(&Config {
            delivery_plugins: Some(plugins),
            before,
            plugin_23: setting.clone(),
            extra_24: format!(
                "userdb static {{\n  fields {{\n{}  }}\n}}\n",
                setting.replace("%n", "%{user | username}")
            ),
            ..Config::default()
        });
        let key = key_for(ME);
        for (name, key) in [("domain.asc", &key), ("t.asc", &key_for("me@t.org"))] {
            fs::write(dovecot.certs().join(name), armored(key)).unwrap();
        }
        assert_delivered(&dovecot, "me@t.org", &key);
    }
}

/// The paths of the page contain the user's name.
#[test]
fn a_file_for_each_user() {
    let page = fs::read_to_string(project("doc/admin/keys.md")).unwrap();
    let path = of_era("/etc/dovecot/pgp-certs/%u.asc", "/etc/dovecot/pgp-certs/%{user}.asc");
    assert!(page.contains(&format!("`{path}`")));
    let certs = path.replace("/etc/dovecot", "{dir}/etc");
    let config = Config { plugin: vec![("certs", certs)], default_certs: true, ..Config::default() };
    let mut dovecot = prepare(None, config);
    fs::create_dir(dovecot.path("etc/pgp-certs")).unwrap();
    let key = key_for(ME);
    fs::write(dovecot.path("etc/pgp-certs").join(format!("{ME}.asc")), armored(&key)).unwrap();
    dovecot.launch();
    assert_delivered(&dovecot, ME, &key);
    let answer = dovecot.deliver("two@t.org", &message("users"));
    assert!(answer.starts_with("451 ") && answer.contains("(no_certificate)"), "{answer}");
}

/// Each user has a certificate in a script named `encrypt`, which runs in front of the others: by its path, or included by a
/// script for all. The mail plugin encrypts for those who have none.
#[test]
fn a_script_named_encrypt() {
    let section = "A script named `encrypt`";
    let [path_23, path_24, upload, include] = shown("doc/admin/keys.md", section);
    let by_path = Config { plugin_23: inner(&path_23), extra_24: path_24, ..Config::default() };
    let by_include = Config { before: Some(include), ..Config::default() };
    for (what, config) in [("path", by_path), ("include", by_include)] {
        let dovecot = Dovecot::start(&Config { delivery_plugins: Some("sieve perot_encrypt"), ..config });
        let users = [ME, "two@t.org", "file@t.org", "none@t.org"];
        let keys = users.map(key_for);
        for (user, key) in users.iter().zip(&keys).take(2) {
            upload_own(&dovecot, &upload, user, key);
        }
        dovecot.give("file@t.org", "k.asc", &armored(&keys[2]));
        // The filters that a webmail has written see the text, unless the user's own script has encrypted already.
        let filters =
            "require [\"body\", \"imap4flags\"]; if body :contains \"sings\" { addflag \"\\\\Flagged\"; }";
        for user in users {
            dovecot.script(user, filters);
        }
        // Compiled scripts must not be used for another user.
        for user in [ME, "two@t.org", "file@t.org", ME, "two@t.org"] {
            let at = users.iter().position(|name| *name == user).unwrap();
            assert_delivered(&dovecot, user, &keys[at]);
        }
        let answer = dovecot.deliver("none@t.org", &message("users"));
        assert!(answer.contains("(no_certificate)"), "{what}: {answer}");
        assert_nothing_stored(&dovecot, "none@t.org");
        dovecot.assert_nowhere(SECRET);
    }
}

/// Returns the lines within a `plugin { }`.
fn inner(block: &str) -> String {
    let lines = block.lines().filter(|line| *line != "plugin {" && *line != "}");
    // The private Dovecot has a list of plugins already.
    lines.filter(|line| !line.contains("sieve_plugins")).map(|line| line.to_owned() + "\n").collect()
}

/// Uploads the script of the page, with a command of the page.
fn upload_own(dovecot: &Dovecot, command: &str, user: &str, key: &Cert) {
    let folder = dovecot.path(user);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("password"), "test\n").unwrap();
    let script =
        pasted(fs::read_to_string(project("conf.d-example/user-with-certificate.sieve")).unwrap(), key);
    fs::write(folder.join("encrypt.sieve"), script).unwrap();
    let client = format!("sieve-connect <password {}", dovecot.sieve_connect_options().join(" "));
    let command = command.replace("sieve-connect --server mail.domain.com", &client).replace(ME, user);
    let output = run(Command::new("sh").args(["-euc", &command]).current_dir(&folder));
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(dovecot.home(user).join("sieve/encrypt.sieve").exists(), "{}", dovecot.log());
}
