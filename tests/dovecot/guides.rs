//! Runs what the guides for administrators and users show.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use sequoia_openpgp::Cert;

use crate::documents::pasted;
use crate::filter;
use crate::isolation::prepare;
use crate::users::{of_era, shell, PASSDB};
use crate::{assert_nothing_stored, message, script, SECRET};
use perot_testing::dovecot::{files, run, Config, Dovecot, Era, Format, Lmtp};
use perot_testing::pages::{self, all_blocks, project, read, rows};
use perot_testing::{armored, decrypt, find, key_for, keyring};

const ADMINISTRATORS: &str = "doc/admin/administrators.md";
const SIEVE: &str = "doc/admin/sieve.md";
const USERS: &str = "doc/user/users.md";
const SMIME: &str = "doc/user/smime.md";
const MESSAGES: &str = "doc/admin/messages.md";
const ME: &str = "me@domain.com";

/// Replaces what a private Dovecot does not have. All else runs as it is shown.
const REPLACED: [(&str, &str); 6] = [
    // A private Dovecot writes to a file, not to the journal.
    ("journalctl -u dovecot --since -1day", "cat {dir}/log"),
    // The tool is not installed.
    ("perot-encrypt check", concat!(env!("CARGO_BIN_EXE_perot-encrypt"), " check")),
    ("perot-encrypt doctor", concat!(env!("CARGO_BIN_EXE_perot-encrypt"), " doctor -c {dir}/dovecot.conf")),
    ("/etc/dovecot/", "{dir}/etc/"),
    ("/var/vmail", "{dir}/home"),
    ("/var/backups/me", "{dir}/home/me"),
];

/// Returns the blocks of a section, which must be `N`.
fn shown<const N: usize>(page: &str, heading: &str) -> [String; N] {
    let replace = |block: String| REPLACED.iter().fold(block, |block, (from, to)| block.replace(from, to));
    pages::shown(page, heading).map(replace)
}

/// Each section with blocks is in one of the tests below, and each test takes all blocks of its section.
#[test]
fn every_block_is_run() {
    let tests = [include_str!("guides.rs"), include_str!("documents.rs")].concat();
    for page in [ADMINISTRATORS, SIEVE, USERS, SMIME] {
        for (heading, block) in all_blocks(page) {
            let named = tests.contains(&format!("\"{heading}\");"));
            assert!(named, "{page}, {heading}: no test runs\n{block}");
        }
    }
    for (from, _) in REPLACED {
        assert!(read(ADMINISTRATORS).contains(from), "'{from}' is not shown any more");
    }
}

/// Adds a block of a page to the configuration.
fn configure(dovecot: &Dovecot, block: &str) {
    let file = dovecot.path("dovecot.conf");
    let block = block.replace("{dir}", dovecot.path("").to_str().unwrap());
    fs::write(&file, fs::read_to_string(&file).unwrap() + &block).unwrap();
}

/// Adds a user without a script to the passwd-file of [`prepare`].
fn add(dovecot: &Dovecot, user: &str) {
    let (home, users) = (dovecot.home(user), dovecot.path("users"));
    let line = format!("{user}:::::{}::\n", home.display());
    fs::write(&users, fs::read_to_string(&users).unwrap_or_default() + &line).unwrap();
}

/// Delivers a message, which must be stored below this home. Returns the stored message.
fn delivered(dovecot: &Dovecot, address: &str, home: &str) -> Vec<u8> {
    let answer = dovecot.deliver(address, &message("guides"));
    assert!(answer.starts_with("250 "), "{address}: {answer}\n{}", dovecot.log());
    let stored = dovecot.only_message(home);
    fs::remove_dir_all(dovecot.home(home).join("Maildir")).unwrap();
    stored
}

/// Delivers a message, which must be stored encrypted.
fn assert_encrypted(dovecot: &Dovecot, address: &str, home: &str, key: &Cert) {
    assert!(decrypt(&delivered(dovecot, address, home), key).ends_with(&message("guides")));
}

fn is_in_clear(stored: &[u8]) -> bool {
    find(stored, SECRET.as_bytes()).is_some()
}

/// The server has users and mail. The mail plugin looks, then encrypts for those who have a certificate, then for all.
#[test]
fn step_by_step() {
    let [warn_23, warn_24, keep_23, keep_24, who_has_none] = shown(ADMINISTRATORS, "Step by step");
    let steps = [of_era(warn_23, warn_24), of_era(keep_23, keep_24), String::new()];
    let waits = "waits@domain.com";
    let key = key_for(ME);
    let start = |step: &str| {
        let mut dovecot =
            prepare(Config { delivery_plugins: Some("sieve perot_encrypt"), ..Config::default() });
        configure(&dovecot, step);
        [ME, waits].into_iter().for_each(|user| add(&dovecot, user));
        dovecot.launch();
        dovecot.give(ME, "me.asc", &armored(&key));
        dovecot
    };
    // The status of the doctor says that not all is well.
    let without_key =
        |dovecot: &Dovecot| shell(dovecot, &format!("{} || test $? = 1", who_has_none.trim_end()));
    let dovecot = start(&steps[0]);
    for user in [ME, waits] {
        assert!(is_in_clear(&delivered(&dovecot, user, user)), "{}", dovecot.log());
        dovecot.log_line(&[user, "message not encrypted, stored as it is: perot_encrypt_deliveries = warn"]);
    }
    let dovecot = start(&steps[1]);
    assert_encrypted(&dovecot, ME, ME, &key);
    assert!(is_in_clear(&delivered(&dovecot, waits, waits)), "{}", dovecot.log());
    let said = without_key(&dovecot);
    assert!(said.contains(&format!("{waits} (uid")) && !said.contains(&format!("{ME} (uid")), "{said}");
    let dovecot = start(&steps[2]);
    assert_encrypted(&dovecot, ME, ME, &key);
    assert!(dovecot.deliver(waits, &message("guides")).contains("(no_certificate)"), "{}", dovecot.log());
    assert_nothing_stored(&dovecot, waits);
    assert!(without_key(&dovecot).contains(waits));
}

/// The checks of the guide are run, on a server on which scripts encrypt.
#[test]
fn watched() {
    let mut dovecot = prepare(Config::default());
    let [wants, waits, broken] = [ME, "waits@domain.com", "broken@domain.com"];
    [wants, waits, broken].into_iter().for_each(|user| add(&dovecot, user));
    dovecot.launch();
    let key = key_for(ME);
    dovecot.give(ME, "me.asc", &armored(&key));
    dovecot.script(wants, &script("", "encrypt;"));
    dovecot.script(waits, &script("", "encrypt;"));
    dovecot.script(broken, "this does not compile");
    let [log, stored, in_clear, certificates] = shown(ADMINISTRATORS, "Watch it");
    for user in [wants, waits, broken] {
        dovecot.deliver(user, &message("watched"));
    }
    assert!(!is_in_clear(&dovecot.only_message(wants)));
    assert!(dovecot.stored(waits).is_empty());
    assert!(is_in_clear(&dovecot.only_message(broken)));
    dovecot.log_line(&["message not encrypted, deferred: ", waits]);
    dovecot.log_line(&["Failed to compile script", broken]);
    let said = shell(&dovecot, &log);
    assert!(said.contains(waits) && said.contains(broken) && !said.contains(wants), "{said}");
    // The search must also find the messages that the page quotes from Dovecot, except those that follow from
    // others.
    let said = shell(&dovecot, &log.replace("{dir}/log", project(MESSAGES).to_str().unwrap()));
    let rows = rows(MESSAGES).into_iter().filter(|(heading, _)| heading == "What Dovecot says");
    for (_, cells) in rows.filter(|(_, cells)| !cells[0].contains("was aborted due to temporary failure")) {
        assert!(said.contains(&cells[0]), "'{}' is not found by\n{log}", cells[0]);
    }
    let found = shell(&dovecot, &stored);
    assert_eq!(found.lines().count(), 1, "{found}");
    assert!(found.starts_with(broken), "{found}");
    // A copy that a mail program has decrypted
    let copy = dovecot.path("copy");
    fs::write(&copy, [b"Encrypted-On-Delivery: pgp-mime\r\n", message("copy").as_slice()].concat()).unwrap();
    dovecot.own(&copy);
    dovecot.doveadm(&["save", "-u", wants, copy.to_str().unwrap()]);
    assert_eq!(shell(&dovecot, &stored), found);
    let found: String = shell(&dovecot, &in_clear);
    let mut users: Vec<&str> = found.lines().filter_map(|line| line.split(' ').next()).collect();
    users.sort_unstable();
    assert_eq!(users, [broken, wants], "{found}");

    fs::create_dir_all(dovecot.path("etc/pgp-certs")).unwrap();
    fs::write(dovecot.path("etc/pgp-certs/me.asc"), armored(&key)).unwrap();
    assert!(shell(&dovecot, &certificates).contains("usable   yes"));
}

/// Delivers a message of which the sender says that it was first for another address.
fn deliver_with_orcpt(dovecot: &Dovecot, user: &str, orcpt: &str) -> String {
    let mut session = Lmtp::connect(&dovecot.path("run/lmtp"));
    session.command("MAIL FROM:<sender@example.net>");
    let accepted = session.command(&format!("RCPT TO:<{user}> ORCPT=rfc822;{orcpt}"));
    assert!(accepted.starts_with("250 "), "{accepted}");
    session.command("DATA");
    session.command(&(String::from_utf8(message("guides")).unwrap() + "."))
}

/// The exception and the second key are in scripts that replace the one for all users. What the sender says changes nothing.
#[test]
fn scripts_for_all_users() {
    let [in_23, in_24, exception, second_key] = shown(SIEVE, "Which script");
    let before = Some(exception);
    let dovecot = Dovecot::start(&Config { before, extra_23: in_23, extra_24: in_24, ..Config::default() });
    let (mine, second) = (key_for(ME), key_for("second@domain.com"));
    dovecot.give(ME, "me.asc", &armored(&mine));
    assert_encrypted(&dovecot, ME, ME, &mine);
    for user in ["tickets@domain.com", "Invoices@domain.com"] {
        let stored = delivered(&dovecot, user, &user.to_lowercase());
        assert!(is_in_clear(&stored), "{}", dovecot.log());
    }
    let answer = deliver_with_orcpt(&dovecot, ME, "tickets@domain.com");
    assert!(answer.starts_with("250 "), "{answer}");
    assert!(decrypt(&dovecot.only_message(ME), &mine).ends_with(&message("guides")));

    let fingerprint = second.fingerprint().to_hex();
    let shown = "0123456789ABCDEF0123456789ABCDEF01234567";
    assert!(second_key.contains(shown));
    let before = Some(second_key.replace(shown, &fingerprint));
    let dovecot = Dovecot::start(&Config { before, ..Config::default() });
    dovecot.give(ME, "me.asc", &armored(&mine));
    let answer = dovecot.deliver(ME, &message("guides"));
    assert!(answer.contains("(no_certificate)"), "{answer}");
    assert_nothing_stored(&dovecot, ME);
    fs::write(dovecot.certs().join("second.asc"), armored(&second)).unwrap();
    fs::write(dovecot.certs().join("other.asc"), armored(&key_for("other@domain.com"))).unwrap();
    let answer = deliver_with_orcpt(&dovecot, ME, "other@domain.com");
    assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
    for key in [&mine, &second] {
        assert!(decrypt(&dovecot.only_message(ME), key).ends_with(&message("guides")));
    }
    dovecot.assert_nowhere(SECRET);
}

/// Starts a Dovecot with a block of the page, the users of mail servers, and `encrypt;` for all.
fn start_with(block: &str, users: &str, before: &str) -> Dovecot {
    let mut dovecot = Dovecot::prepare(&Config {
        users: Some(users.to_owned()),
        before: Some(before.to_owned()),
        mail_server_users: true,
        ..Config::default()
    });
    configure(&dovecot, block);
    dovecot.launch();
    dovecot
}

#[test]
fn virtual_users_and_system_users() {
    let [virtual_23, virtual_24, system_23, system_24, email_23, email_24] =
        shown(ADMINISTRATORS, "Virtual users and system users");
    let everybody = of_era("userdb {\n  driver = static\n}\n", "userdb static {\n}\n");
    let everybody = of_era(PASSDB[0], PASSDB[1]).to_owned() + everybody;
    let encrypt = script("", "encrypt;");
    let dovecot = start_with(&of_era(virtual_23, virtual_24), &everybody, &encrypt);
    let key = key_for(ME);
    dovecot.give("domain.com/me", "me.asc", &armored(&key));
    assert_encrypted(&dovecot, ME, "domain.com/me", &key);
    dovecot.log_line(&["lmtp(me@domain.com)", "message encrypted: "]);

    let block = of_era(system_23, system_24);
    let dovecot = start_with(&block, of_era(PASSDB[0], PASSDB[1]), &encrypt);
    dovecot.give("me", "me.asc", &armored(&key));
    assert_encrypted(&dovecot, ME, "me", &key);
    dovecot.log_line(&["lmtp(me)", "message encrypted: "]);
    // The log names the address that the certificate lacks. With the setting of the page, it is not looked for.
    let alias = "me@mail.domain.com";
    let answer = dovecot.deliver(alias, &message("guides"));
    assert!(answer.contains("(no_certificate)"), "{answer}");
    dovecot.log_line(&["no certificate for me@mail.domain.com"]);
    let block = block + &of_era(email_23, email_24);
    let dovecot = start_with(&block, of_era(PASSDB[0], PASSDB[1]), &encrypt);
    dovecot.give("me", "me.asc", &armored(&key));
    assert_encrypted(&dovecot, alias, "me", &key);
}

/// Checks the page for a plugin that is named but missing, and for 2.4 without the settings module.
/// documents.rs has a plugin that is not named, which stores in clear; failing.rs has a missing settings
/// module, which defers.
#[test]
fn between_two_versions() {
    let mut dovecot = Dovecot::prepare(&Config::default());
    fs::remove_file(dovecot.path("modules/sieve/lib90_sieve_perot_encrypt_plugin.so")).unwrap();
    dovecot.launch();
    match dovecot.era {
        // The connection is closed, so the mail server tries again.
        Era::V23 => {
            assert_eq!(dovecot.deliver(ME, &message("between")), "");
            dovecot.imap(ME, "good(imap.select('INBOX'))");
        }
        Era::V24 => {
            for socket in ["run/lmtp", "run/imap"] {
                let mut said = Vec::new();
                let _ = UnixStream::connect(dovecot.path(socket)).unwrap().read_to_end(&mut said);
                assert!(said.is_empty(), "{socket}: {}", String::from_utf8_lossy(&said));
            }
        }
    }
    dovecot.log_line(&["Fatal: ", "Plugin 'sieve_perot_encrypt' not found from directory"]);
    assert_nothing_stored(&dovecot, ME);

    let dovecot = Dovecot::prepare(&Config { no_settings_module: true, ..Config::default() });
    let loads = dovecot.tool("doveconf", &[OsStr::new("-n")]).status.success();
    assert_eq!(loads, dovecot.era == Era::V23);
}

/// The users of the plugin are found, and their mail is decrypted without it.
#[test]
fn moving_away() {
    let namespace = || "namespace inbox {\n  inbox = yes\n}\n".to_owned();
    let dovecot = Dovecot::start(&Config {
        format: Format::Mdbox,
        extra_23: namespace(),
        extra_24: namespace(),
        ..Config::default()
    });
    let key = key_for(ME);
    dovecot.give(ME, "me.asc", &armored(&key));
    dovecot.script(ME, &script("", "encrypt;"));
    let scripts = dovecot.home("uploaded@domain.com").join("sieve");
    fs::create_dir(&scripts).unwrap();
    fs::write(scripts.join("mine.sieve"), script("", "encrypt;")).unwrap();
    dovecot.script("other@domain.com", "keep;");
    let [who] = shown(ADMINISTRATORS, "Moving away");
    let found = shell(&dovecot, &who);
    let mut found: Vec<&Path> = found.lines().map(Path::new).collect();
    found.sort();
    let expected = [dovecot.home(ME).join(".dovecot.sieve"), scripts.join("mine.sieve")];
    assert_eq!(found, expected);

    for subject in ["one", "two"] {
        assert!(dovecot.deliver(ME, &message(subject)).starts_with("250 "), "{}", dovecot.log());
    }
    dovecot.script(ME, "keep;");
    assert!(dovecot.deliver(ME, &message("in-clear")).starts_with("250 "), "{}", dovecot.log());
    dovecot.doveadm(&["mailbox", "create", "-u", ME, "a b"]);
    dovecot.doveadm(&["move", "-u", ME, "a b", "mailbox", "INBOX", "header", "subject", "two"]);
    dovecot.doveadm(&["flags", "add", "-u", ME, "\\Flagged own", "mailbox", "a b", "all"]);
    let [backup, open, import] = shown(ADMINISTRATORS, "Decrypt a whole mailbox");
    shell(&dovecot, &backup);

    // This is done on the owner's machine.
    let machine = tempfile::tempdir().unwrap();
    keyring(machine.path(), &key);
    fs::rename(dovecot.path("home/me"), machine.path().join("me")).unwrap();
    filter::shell(&format!("cd; {open}"), machine.path(), &[]);
    fs::rename(machine.path().join("me"), dovecot.path("home/me")).unwrap();
    files(&dovecot.path("home/me")).iter().for_each(|file| dovecot.own(file));
    shell(&dovecot, &import);
    let fetch = |mailbox: &str, fields: &str| {
        dovecot.doveadm(&["-f", "tab", "fetch", "-u", ME, fields, "mailbox", mailbox, "all"])
    };
    for (mailbox, messages) in [("INBOX", 2), ("a b", 1)] {
        let copy = format!("Decrypted/{mailbox}");
        let state = "hdr.subject flags date.received";
        // Messages of one second may be imported in another order.
        let sorted = |fetched: String| fetched.lines().map(str::to_owned).collect::<BTreeSet<_>>();
        assert_eq!(sorted(fetch(&copy, state)), sorted(fetch(mailbox, state)));
        assert_eq!(fetch(&copy, "text").matches(SECRET).count(), messages);
    }
    let flags = fetch("Decrypted/a b", "flags");
    assert!(flags.contains("\\Flagged") && flags.contains("own"), "{flags}");
}

/// Whatever the format of the mailbox, the pages show what is stored, and the original is had back.
#[test]
fn what_is_stored() {
    let [_, last] = shown("doc/admin/mail-plugin.md", "See that it works");
    let [open, fetch] = shown("doc/user/readers.md", "Without a mail program");
    let key = key_for(ME);
    let machine = tempfile::tempdir().unwrap();
    keyring(machine.path(), &key);
    for format in [Format::Maildir, Format::Mbox] {
        let delivery_plugins = Some("sieve perot_encrypt");
        let dovecot = Dovecot::start(&Config { format, delivery_plugins, ..Config::default() });
        dovecot.give(ME, "me.asc", &armored(&key));
        for subject in ["first", "last"] {
            let answer = dovecot.deliver(ME, &message(subject));
            assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
        }
        let said = shell(&dovecot, &last);
        assert!(!said.contains("Subject: first") && !is_in_clear(said.as_bytes()), "{said}");
        for seen in ["Subject: last", "Encrypted-On-Delivery: ", "-----BEGIN PGP MESSAGE-----"] {
            assert!(said.contains(seen), "{seen}: {said}");
        }
        shell(&dovecot, &format!("cd {{dir}}\n{fetch}"));
        fs::copy(dovecot.path("message"), machine.path().join("message")).unwrap();
        filter::shell(&format!("cd\n{open}"), machine.path(), &[]);
        let original = fs::read(machine.path().join("original.eml")).unwrap();
        assert!(original.ends_with(&message("first")));
    }
}

/// A script that `sievec` warns of.
#[test]
fn sievec_tells_in_advance() {
    let [warning] = shown(SIEVE, "When it fails");
    let dovecot = Dovecot::prepare(&Config::default());
    let source = dovecot.path("global/w.sieve");
    fs::write(&source, "require [\"vnd.perot.encrypt\", \"fileinto\"];\nfileinto \"x\";\nencrypt;\n")
        .unwrap();
    let output = dovecot.tool("sievec", &[source.as_os_str()]);
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(warning.trim_end()), "{said}");
}

/// The user has ManageSieve only, and no certificate on the server. users.rs runs the script that stands alone.
#[test]
fn the_users_script() {
    let [alone, shown] = shown(USERS, "4. Switch it on");
    assert!(
        shown.starts_with(&alone.replace("\"vnd.perot.encrypt\"", "[\"vnd.perot.encrypt\", \"fileinto\"]"))
    );
    let dovecot = Dovecot::start(&Config::default());
    let key = key_for(ME);
    let local = dovecot.path("mine.sieve");
    fs::write(&local, pasted(shown, &key)).unwrap();
    let said = dovecot.sieve_connect(ME, &[], &format!("upload {} mine\nactivate mine\n", local.display()));
    assert_eq!(said.trim(), "");
    dovecot.doveadm(&["mailbox", "create", "-u", ME, "Work"]);
    for sender in ["a@example.net", "boss@domain.com"] {
        let mail = String::from_utf8(message("users"))
            .unwrap()
            .replace("a@example.net\r\nTo", &format!("{sender}\r\nTo"));
        assert!(dovecot.deliver(ME, mail.as_bytes()).starts_with("250 "), "{}", dovecot.log());
    }
    let mut stored = dovecot.stored(ME);
    stored.sort();
    for ((folder, stored), (expected, sender)) in
        stored.iter().zip([("", "a@example.net"), (".Work", "boss@domain.com")])
    {
        assert_eq!(folder, expected);
        let opened = decrypt(stored, &key);
        assert!(find(&opened, format!("From: {sender}").as_bytes()).is_some());
        // The page says what has to be seen.
        let to = format!("to={}", key.fingerprint().to_hex());
        for field in ["Encrypted-On-Delivery: ", &to, "-----BEGIN PGP MESSAGE-----"] {
            assert!(find(stored, field.as_bytes()).is_some(), "{field}");
        }
    }
    assert_eq!(stored.len(), 2);
    dovecot.assert_nowhere(SECRET);
}

/// Runs commands of the page about S/MIME on the owner's machine. Returns their output.
fn owner_runs(machine: &Path, commands: &str) -> String {
    // The owner types the password.
    let commands = commands.replace("-export ", "-export -passout pass:x ");
    let commands = commands.replace("-in me.p12", "-in me.p12 -passin pass:x");
    let output = run(Command::new("sh").args(["-euc", &commands]).current_dir(machine));
    assert!(output.status.success(), "{commands}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Delivers a message, which must be stored encrypted to the certificate with this fingerprint. The owner opens it as the page
/// says.
fn assert_smime(dovecot: &Dovecot, machine: &Path, fingerprint: &str) {
    let [open] = shown(SMIME, "Without a mail program");
    let stored = delivered(dovecot, ME, ME);
    for text in ["Encrypted-On-Delivery: s-mime; ", fingerprint, "smime.p7m"] {
        assert!(find(&stored, text.as_bytes()).is_some(), "{text}: {}", String::from_utf8_lossy(&stored));
    }
    fs::write(machine.join("message"), &stored).unwrap();
    owner_runs(machine, &open);
    assert!(fs::read(machine.join("original.eml")).unwrap().ends_with(&message("guides")));
    dovecot.assert_nowhere(SECRET);
}

/// The owner makes a certificate, and puts it into all places of the page, one after the other.
#[test]
fn an_smime_certificate() {
    let [request, make, pkcs12, older_pkcs12] = shown(SMIME, "Get a certificate");
    let [export, look] = shown(SMIME, "The public part");
    let [install, on_one_line, in_script] = shown(SMIME, "Where to put it");
    let [in_23, in_24] = shown(SMIME, "For the administrator of a mixed site");
    let machine = tempfile::tempdir().unwrap();
    let machine = machine.path();
    let start =
        |config: Config| Dovecot::start(&Config { delivery_plugins: Some("sieve perot_encrypt"), ..config });
    let dovecot = start(Config::default());
    owner_runs(machine, &request);
    let request = owner_runs(machine, "openssl req -in me.csr -verify -noout -text");
    assert!(request.contains("email:me@domain.com"), "{request}");
    let mut fingerprint = String::new();
    for pkcs12 in [older_pkcs12, pkcs12] {
        owner_runs(machine, &make);
        owner_runs(machine, &pkcs12);
        owner_runs(machine, "rm me.key me.pem");
        owner_runs(machine, &export);
        let said = owner_runs(machine, &look);
        assert!(said.contains("email:me@domain.com") && said.contains("CA:FALSE"), "{said}");
        fingerprint = said.lines().last().unwrap().to_owned();
        let certs = dovecot.certs().display().to_string();
        owner_runs(machine, &install.replace("sudo ", "").replace("{dir}/etc/pgp-certs", &certs));
        assert_smime(&dovecot, machine, &fingerprint);
    }
    // With both kinds, the setting decides.
    let key = key_for(ME);
    dovecot.give(ME, "me.asc", &armored(&key));
    assert_encrypted(&dovecot, ME, ME, &key);
    let pem = fs::read_to_string(machine.join("me.pem")).unwrap();
    let dovecot = start(Config { extra_23: in_23, extra_24: in_24, ..Config::default() });
    dovecot.give(ME, "me.asc", &armored(&key));
    dovecot.give(ME, "me.pem", pem.as_bytes());
    assert_smime(&dovecot, machine, &fingerprint);

    let (begin, end) = (in_script.find("-----BEGIN").unwrap(), in_script.rfind("-----\n.").unwrap() + 6);
    let dovecot = start(Config::default());
    dovecot.script(ME, &[&in_script[..begin], &pem, &in_script[end..]].concat());
    assert_smime(&dovecot, machine, &fingerprint);
    let field = owner_runs(machine, &on_one_line);
    let dovecot = start(Config { plugin: vec![("cert", field)], ..Config::default() });
    assert_smime(&dovecot, machine, &fingerprint);
}
