//! A proxy in front of two backends, with one user database, as doc/admin/cluster.md shows it.

use std::ffi::OsStr;
use std::fs;
use std::process::{Command, Output};

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use sequoia_openpgp::Cert;

use crate::{assert_nothing_stored, message, script, SECRET};
use perot_testing::dovecot::{era, free_ports, run, Config, Dovecot, Era};
use perot_testing::pages::{blocks, read};
use perot_testing::{armored, decrypt, find, key_for};

const PAGE: &str = "doc/admin/cluster.md";
const ALICE: &str = "alice@domain.com";
const BOB: &str = "bob@domain.com";
const CAROL: &str = "carol@domain.com";

/// Removes the plugin from the configuration: these lines come after those of the harness.
fn without_plugin() -> Config {
    let none = "sieve_plugins =\n";
    Config { plugin_23: none.into(), extra_24: none.into(), ..Config::default() }
}

/// The database with the users of all machines. Beside the page's table, it has one with the ports on which
/// each machine listens here.
struct Database(tempfile::TempDir);

impl Database {
    fn new() -> Self {
        let database = Self(tempfile::tempdir().unwrap());
        database.run(&blocks(PAGE, "The database").concat());
        database.run("CREATE TABLE ports (host TEXT, protocol TEXT, port INTEGER)");
        database
    }

    fn path(&self) -> String {
        self.0.path().join("users.sqlite").to_str().unwrap().to_owned()
    }

    fn run(&self, statement: &str) {
        let output =
            run(Command::new("sqlite3").args(["-cmd", ".timeout 60000"]).arg(self.path()).arg(statement));
        assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn add(&self, user: &str, host: &str, key: Option<&Cert>) {
        self.run(&format!("INSERT INTO users VALUES ('{user}', '{{PLAIN}}test', '{host}', NULL)"));
        if let Some(key) = key {
            self.certificate(user, key);
        }
    }

    fn certificate(&self, user: &str, key: &Cert) {
        let certificate = String::from_utf8(armored(key)).unwrap();
        self.run(&format!("UPDATE users SET certificate = '{certificate}' WHERE name = '{user}'"));
    }

    /// Prepares a machine, configured as a section of the page shows it.
    fn machine(&self, section: &str, port: u16, config: Config) -> Dovecot {
        let shown: Vec<String> = blocks(PAGE, section)
            .into_iter()
            .map(|block| {
                block
                    .replace("/var/lib/dovecot/users.sqlite", &self.path())
                    .replace("/etc/dovecot/", "{dir}/")
                    .replace("port = 24", &format!("port = {port}"))
                    .replace("host,", &on_this_machine())
            })
            .collect();
        let users = Some(shown[if era() == Era::V23 { 0 } else { 2 }].clone());
        let dovecot = Dovecot::prepare(&Config { users, ..config });
        fs::write(dovecot.path("dovecot-sql.conf.ext"), &shown[1]).unwrap();
        dovecot
    }

    /// Prepares a proxy that has neither the plugin nor users of its own.
    fn proxy(&self) -> Dovecot {
        let proxy = self.machine("The proxy", 0, without_plugin());
        fs::remove_file(proxy.path("modules/sieve/lib90_sieve_perot_encrypt_plugin.so")).unwrap();
        let of_mail = ["mail_uid", "mail_gid", "mail_home", "mail_location", "mail_driver", "mail_path"];
        rewrite(&proxy, "dovecot.conf", |text| {
            let keep = |line: &&str| !of_mail.contains(&line.split(' ').next().unwrap());
            text.split_inclusive('\n').filter(keep).collect()
        });
        proxy
    }

    fn backend(&self, host: &str, config: Config) -> Dovecot {
        let [lmtp, imap] = free_ports();
        self.run(&format!("INSERT INTO ports VALUES ('{host}', 'lmtp', {lmtp}), ('{host}', 'imap', {imap})"));
        let listen = format!("service imap-login {{\n  inet_listener imap {{\n    port = {imap}\n  }}\n}}\n");
        let config = Config {
            before: Some(script("", "encrypt;")),
            extra_23: listen.clone() + &config.extra_23,
            extra_24: listen + &config.extra_24,
            ..config
        };
        self.machine("The backends", lmtp, config)
    }
}

fn rewrite(dovecot: &Dovecot, name: &str, edit: impl Fn(&str) -> String) {
    let file = dovecot.path(name);
    fs::write(&file, edit(&fs::read_to_string(&file).unwrap())).unwrap();
}

/// Replaces `host` in the proxy's query: all machines are this one.
fn on_this_machine() -> String {
    let protocol = if era() == Era::V23 { "%s" } else { "%{protocol}" };
    format!(
        "'127.0.0.1' AS host, \
         (SELECT port FROM ports WHERE ports.host = users.host AND protocol = '{protocol}') AS port,"
    )
}

struct Cluster {
    database: Database,
    proxy: Dovecot,
    one: Dovecot,
    two: Dovecot,
}

impl Cluster {
    fn start() -> Self {
        let database = Database::new();
        let mut proxy = database.proxy();
        let [mut one, mut two] = ["one", "two"].map(|host| database.backend(host, Config::default()));
        for dovecot in [&mut proxy, &mut one, &mut two] {
            dovecot.launch();
        }
        Self { database, proxy, one, two }
    }

    fn log(&self) -> String {
        [&self.proxy, &self.one, &self.two].map(Dovecot::log).join("\n")
    }

    /// Delivers a message through the proxy, and compares how the answers begin.
    fn deliver(&self, message: &[u8], expected: &[(&str, &str)]) -> Vec<String> {
        let recipients: Vec<&str> = expected.iter().map(|(user, _)| *user).collect();
        let answers = self.proxy.deliver_to(&recipients, message);
        for (answer, (user, begin)) in answers.iter().zip(expected) {
            assert!(answer.starts_with(begin), "{user}: {answer}\n{}", self.log());
        }
        for dovecot in [&self.proxy, &self.one, &self.two] {
            dovecot.assert_nowhere(SECRET);
        }
        answers
    }

    /// Panics unless the user's messages, read through the proxy, are these, decrypted with these keys.
    fn assert_mailbox(&self, user: &str, expected: &[(&Cert, &[u8])]) {
        let code = "import base64\nimap.select()\n\
                    for part in good(imap.fetch('1:*', 'BODY.PEEK[]')):\n    \
                    if isinstance(part, tuple): print(base64.b64encode(part[1]).decode())";
        let fetched = self.proxy.imap(user, code);
        assert_eq!(fetched.lines().count(), expected.len(), "{user}: {}", self.log());
        for (line, (key, message)) in fetched.lines().zip(expected) {
            let stored = STANDARD.decode(line).unwrap();
            assert!(decrypt(&stored, key).ends_with(message), "{user}: {}", String::from_utf8_lossy(&stored));
        }
    }
}

#[test]
fn users_of_all_backends_are_served_alike() {
    let cluster = Cluster::start();
    let [alice, bob, new_alice, new_bob] = [ALICE, BOB, ALICE, BOB].map(key_for);
    cluster.database.add(ALICE, "one", Some(&alice));
    cluster.database.add(BOB, "two", Some(&bob));
    cluster.database.add(CAROL, "two", None);

    // The first message is so large that it is put into files on its way.
    let first = [message("first"), "padding\r\n".repeat(30_000).into_bytes()].concat();
    let answers = cluster.deliver(&first, &[(ALICE, "250 "), (CAROL, "451 "), (BOB, "250 ")]);
    assert!(answers[1].contains("(no_certificate)") && read(PAGE).contains(&answers[1]), "{}", answers[1]);
    for (dovecot, here, elsewhere) in [(&cluster.one, ALICE, BOB), (&cluster.two, BOB, ALICE)] {
        dovecot.only_message(here);
        assert_nothing_stored(dovecot, elsewhere);
    }
    cluster.assert_mailbox(ALICE, &[(&alice, &first)]);
    cluster.assert_mailbox(BOB, &[(&bob, &first)]);

    // New certificates are used at once.
    cluster.database.certificate(ALICE, &new_alice);
    cluster.database.certificate(BOB, &new_bob);
    cluster.deliver(&message("second"), &[(ALICE, "250 "), (BOB, "250 ")]);
    cluster.assert_mailbox(ALICE, &[(&alice, &first), (&new_alice, &message("second"))]);

    // Bob moves to the other backend, with his home.
    let (from, to) = (cluster.two.path("home").join(BOB), cluster.one.path("home").join(BOB));
    let _ = fs::remove_dir(&to);
    fs::rename(from, to).unwrap();
    cluster.database.run(&format!("UPDATE users SET host = 'one' WHERE name = '{BOB}'"));
    cluster.deliver(&message("third"), &[(ALICE, "250 "), (BOB, "250 ")]);
    let all: [(&Cert, &[u8]); 3] =
        [(&bob, &first), (&new_bob, &message("second")), (&new_bob, &message("third"))];
    cluster.assert_mailbox(BOB, &all);
    assert_eq!(cluster.one.stored(BOB).len(), 3);
}

#[test]
fn a_backend_that_is_down_defers_for_its_own_users() {
    let mut cluster = Cluster::start();
    let [alice, bob] = [ALICE, BOB].map(key_for);
    cluster.database.add(ALICE, "one", Some(&alice));
    cluster.database.add(BOB, "two", Some(&bob));
    cluster.two.stop();
    let answers = cluster.deliver(&message("down"), &[(BOB, "451 4.4.0 "), (ALICE, "250 ")]);
    assert!(answers[0].contains("Proxy failed"), "{}", answers[0]);
    cluster.assert_mailbox(ALICE, &[(&alice, &message("down"))]);
    cluster.two.launch();
    cluster.deliver(&message("up"), &[(BOB, "250 ")]);
    cluster.assert_mailbox(BOB, &[(&bob, &message("up"))]);

    // A user who is not in the database is refused.
    cluster.deliver(&message("unknown"), &[("nobody@domain.com", "550 ")]);
    assert_nothing_stored(&cluster.proxy, "nobody@domain.com");
}

/// This is the reason for the page's check.
#[test]
fn a_backend_without_the_plugin_stores_in_clear_and_the_check_tells() {
    let database = Database::new();
    let good = database.backend("good", Config::default());
    let mut bad = database.backend("bad", without_plugin());
    bad.launch();
    database.add(ALICE, "bad", Some(&key_for(ALICE)));
    let answer = bad.deliver(ALICE, &message("clear"));
    assert!(answer.starts_with("250 "), "{answer}\n{}", bad.log());
    assert!(find(&bad.only_message(ALICE), SECRET.as_bytes()).is_some());
    bad.log_line(&["unknown Sieve capability"]);

    let checks = blocks(PAGE, "Check that it works");
    let (compile, show) = (&checks[0], &checks[if era() == Era::V23 { 1 } else { 2 }]);
    let fine = |dovecot: &Dovecot, command: &str| {
        let script = dovecot.path("global/before.sieve");
        let command = command.replace("/etc/dovecot/sieve/encrypt.sieve", script.to_str().unwrap());
        let mut words = command.split_whitespace().map(OsStr::new);
        dovecot.tool(words.next().unwrap().to_str().unwrap(), &words.collect::<Vec<_>>())
    };
    let silent =
        |output: &Output| output.status.success() && output.stdout.is_empty() && output.stderr.is_empty();
    let named = |output: &Output| find(&output.stdout, b"sieve_perot_encrypt").is_some();
    assert!(silent(&fine(&good, compile)) && named(&fine(&good, show)));
    assert!(!fine(&bad, compile).status.success() && !named(&fine(&bad, show)));
}

/// The page's query passes a known user on. With any other query, the proxy still delivers nothing itself.
#[test]
fn the_proxy_stores_nothing() {
    let database = Database::new();
    database.add(ALICE, "one", Some(&key_for(ALICE)));
    let mut proxy = database.proxy();
    for file in ["dovecot.conf", "dovecot-sql.conf.ext"] {
        rewrite(&proxy, file, |text| text.replace("'y' AS proxy", "NULL AS proxy"));
    }
    proxy.launch();
    let answer = proxy.deliver(ALICE, &message("here"));
    assert!(answer.starts_with("451 "), "{answer}\n{}", proxy.log());
    assert_nothing_stored(&proxy, ALICE);
}

#[test]
fn what_the_auth_cache_holds_is_used_until_it_is_flushed() {
    let database = Database::new();
    let cache = "auth_cache_size = 1M\n";
    let config = Config { extra_23: cache.into(), extra_24: cache.into(), ..Config::default() };
    let mut backend = database.backend("one", config);
    backend.launch();
    let [old, new] = [ALICE, ALICE].map(key_for);
    database.add(ALICE, "one", Some(&old));
    let deliver = |key: &Cert| {
        let answer = backend.deliver(ALICE, &message("cached"));
        assert!(answer.starts_with("250 "), "{answer}\n{}", backend.log());
        assert!(decrypt(&backend.only_message(ALICE), key).ends_with(&message("cached")));
        fs::remove_dir_all(backend.home(ALICE).join("Maildir")).unwrap();
    };
    deliver(&old);
    database.certificate(ALICE, &new);
    deliver(&old);
    let flush = blocks(PAGE, "What happens").last().unwrap().clone();
    backend.doveadm(&flush.split_whitespace().skip(1).collect::<Vec<_>>());
    deliver(&new);
}
