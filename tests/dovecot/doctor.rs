//! Tests what `perot-encrypt doctor` says about configurations that encrypt, and about those that do not.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::users::of_era;
use crate::{message, script};
use perot_encrypt::openpgp::crypto::{library, library_in_words};
use perot_testing::dovecot::{era, run, wait_until, Config, Dovecot, Era};
use perot_testing::{armored, find, key_for};

const ME: &str = "me@domain.com";

/// The output of a run.
struct Said {
    status: Option<i32>,
    text: String,
    errors: String,
}

fn doctor(dovecot: &Dovecot, arguments: &[&str]) -> Said {
    let tool = env!("CARGO_BIN_EXE_perot-encrypt");
    let config = dovecot.path("dovecot.conf");
    let output = run(dovecot.command(tool).arg("doctor").arg("-c").arg(config).args(arguments));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { status: output.status.code(), text: text(output.stdout), errors: text(output.stderr) }
}

impl Said {
    /// Panics unless the exit status is this one, and the output has all of the texts.
    fn expect(&self, status: i32, texts: &[&str]) {
        let all = format!("{}{}", self.text, self.errors);
        assert_eq!(self.status, Some(status), "{all}");
        for text in texts {
            assert!(all.contains(text), "{text:?} is not in:\n{all}");
        }
    }
}

/// Adds a compiled script for all users that says `encrypt;`.
fn by_script(config: Config) -> Config {
    Config { before: config.before.or_else(|| Some(script("", "encrypt;"))), ..config }
}

/// Prepares a Dovecot with a certificate for [`ME`], and compiles the script for all users.
fn prepare(config: Config) -> Dovecot {
    let dovecot = Dovecot::prepare(&by_script(config));
    dovecot.give(ME, "me.asc", &armored(&key_for(ME)));
    dovecot
}

/// Compiles the script for all users, if that works.
fn compile(dovecot: &Dovecot) {
    let file = dovecot.path("global/before.sieve");
    dovecot.tool("sievec", &[file.as_os_str()]);
}

fn start(config: Config) -> Dovecot {
    let mut dovecot = prepare(config);
    compile(&dovecot);
    dovecot.launch();
    dovecot
}

/// Returns a configuration with these lines for the installed era.
fn extra(v23: &str, v24: &str) -> Config {
    Config { extra_23: v23.into(), extra_24: v24.into(), ..Config::default() }
}

/// Delivers a message, and returns what became of it, to compare with what the doctor says.
fn delivered(dovecot: &Dovecot) -> &'static str {
    let answer = dovecot.deliver(ME, &message("doctor"));
    match dovecot.stored(ME).pop() {
        Some((_, stored)) if find(&stored, b"nightingale").is_some() => "clear",
        Some(_) => "encrypted",
        None => {
            assert!(!answer.starts_with("250"), "{answer}");
            "deferred"
        }
    }
}

#[test]
fn a_right_configuration_by_a_script() {
    let dovecot = start(Config::default());
    let said = doctor(&dovecot, &["--user", ME]);
    said.expect(
        0,
        &[
            "lmtp  encrypted: by the script",
            "before.sieve: encrypts",
            "All is well",
            "certificate  ",
            &library_in_words(),
        ],
    );
    assert!(said.text.lines().count() <= 24, "one screen:\n{}", said.text);
    assert_eq!(delivered(&dovecot), "encrypted");

    let said = doctor(&dovecot, &["--user", ME, "--json"]);
    let json: serde_json::Value = serde_json::from_str(&said.text).unwrap();
    assert_eq!(json["well"], true);
    assert_eq!(json["users"][0]["deliveries"][0]["outcome"], "encrypted");
    assert_eq!(json["users"][0]["certificates"][0]["usable"], true);
    assert_eq!(json["crypto_library"], library());
    assert_eq!(json["modules"][0]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(json["findings"].as_array().unwrap().len(), 0, "{json:#}");
}

#[test]
fn a_script_that_is_not_there() {
    let mut dovecot = prepare(Config::default());
    fs::remove_file(dovecot.path("global/before.sieve")).unwrap();
    dovecot.launch();
    let said = doctor(&dovecot, &["--user", ME]);
    let conf = format!("{}:", dovecot.path("dovecot.conf").display());
    said.expect(1, &["lmtp  STORED IN CLEAR", "before.sieve", "NOT THERE", &conf]);
    assert_eq!(delivered(&dovecot), "clear");
}

/// This needs root, as the name says: see the Makefile.
#[test]
fn a_script_that_a_user_of_the_system_cannot_read() {
    let dovecot = start(Config::default());
    for name in ["before.sieve", "before.svbin"] {
        let file = dovecot.path("global").join(name);
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    doctor(&dovecot, &["--user", ME]).expect(1, &["CANNOT BE READ by the user", "chmod a+r"]);
    assert_ne!(delivered(&dovecot), "encrypted");
}

#[test]
fn a_script_without_encrypt() {
    let dovecot = start(Config { before: Some(script("", "keep;")), ..Config::default() });
    doctor(&dovecot, &["--user", ME])
        .expect(1, &["STORED IN CLEAR: no script that runs encrypts", "does not encrypt"]);
    assert_eq!(delivered(&dovecot), "clear");
}

#[test]
fn a_script_in_front_that_files() {
    let dovecot =
        start(Config { before: Some(script(", \"fileinto\"", "fileinto \"INBOX\";")), ..Config::default() });
    dovecot.script(ME, &script("", "encrypt;"));
    doctor(&dovecot, &["--user", ME]).expect(1, &["PARTLY ENCRYPTED", "line 2 (fileinto) may store"]);
    assert_eq!(delivered(&dovecot), "clear");
}

#[test]
fn settings_that_a_later_line_takes_away() {
    let config = extra(
        "plugin {\n  sieve_before = {dir}/global/other.sieve\n}\n",
        "sieve_script before {\n  path = {dir}/global/other.sieve\n}\n",
    );
    let dovecot = start(config);
    fs::write(dovecot.path("global/other.sieve"), "keep;\n").unwrap();
    let said = doctor(&dovecot, &["--user", ME]);
    let name = of_era("sieve_before is set in ", "path is set in ");
    said.expect(1, &["STORED IN CLEAR", name, "before.sieve is lost"]);
    assert_eq!(delivered(&dovecot), "clear");

    let others = "sieve_plugins = sieve_extprograms\n";
    let mut dovecot = prepare(extra(&format!("plugin {{\n  {others}}}\n"), others));
    dovecot.launch();
    let line = "sieve_plugins = sieve_extprograms sieve_perot_encrypt";
    doctor(&dovecot, &["--user", ME]).expect(1, &["sieve_perot_encrypt is lost", line]);
    assert_eq!(delivered(&dovecot), "clear");
}

#[test]
fn sieve_that_is_switched_off() {
    let dovecot = start(extra("plugin {\n  sieve_enabled = no\n}\n", "sieve_enabled = no\n"));
    doctor(&dovecot, &["--user", ME])
        .expect(1, &["STORED IN CLEAR: sieve_enabled = no", "sieve_enabled = yes"]);
    assert_eq!(delivered(&dovecot), "clear");
}

#[test]
fn lmtp_without_sieve() {
    let off = "protocol lmtp {\n  mail_plugins = quota\n}\n";
    let dovecot = start(extra(off, off));
    let said = doctor(&dovecot, &["--user", ME]);
    said.expect(1, &["lmtp loads neither perot_encrypt nor sieve"]);
    // With 2.4, the lines of a block that a later line replaces are not followed.
    if era() == Era::V23 {
        said.expect(1, &["sieve is lost"]);
    }
    doctor(&dovecot, &[]).expect(1, &["lmtp loads neither perot_encrypt nor sieve"]);
    assert_eq!(delivered(&dovecot), "clear");
}

#[test]
fn a_plugin_that_is_not_there() {
    let dovecot = start(Config::default());
    fs::remove_file(dovecot.path("modules/sieve/lib90_sieve_perot_encrypt_plugin.so")).unwrap();
    let said = doctor(&dovecot, &["--user", ME]);
    // doveconf of 2.4 looks for the plugin, and fails.
    said.expect(of_era(1, 75), &["sieve_perot_encrypt", "make install"]);
    if era() == Era::V23 {
        said.expect(1, &["DEFERRED", "the plugin sieve_perot_encrypt is not in", "make install"]);
    }
    assert_eq!(delivered(&dovecot), "deferred");
}

#[test]
fn a_plugin_of_another_abi() {
    let dovecot = start(Config::default());
    let file = dovecot.path("modules/sieve/lib90_sieve_perot_encrypt_plugin.so");
    let mut data = fs::read(&file).unwrap();
    let at = find(&data, b".ABIv").expect("the version");
    data[at - 1] = b'9';
    fs::remove_file(&file).unwrap();
    fs::write(&file, data).unwrap();
    let said = doctor(&dovecot, &["--user", ME]);
    said.expect(of_era(1, 75), &["sieve_perot_encrypt", "make install"]);
    if era() == Era::V23 {
        said.expect(1, &["DOES NOT FIT", "is made for", "DEFERRED"]);
    }
    assert_eq!(delivered(&dovecot), "deferred");
}

#[test]
fn no_certificate() {
    let dovecot = start(Config::default());
    doctor(&dovecot, &["--user", "you@domain.com"])
        .expect(1, &["lmtp  DEFERRED", "you@domain.com", "certificate"]);
    let dovecot = start(Config { plugin: vec![("on_error", "keep".into())], ..Config::default() });
    doctor(&dovecot, &["--user", "you@domain.com"])
        .expect(1, &["lmtp  STORED IN CLEAR", "on_error = tempfail"]);
    let keep = vec![("on_no_certificate", "keep".into())];
    let dovecot = start(Config { plugin: keep, ..Config::default() });
    doctor(&dovecot, &["--user", "you@domain.com"])
        .expect(1, &["lmtp  STORED IN CLEAR", "on_no_certificate = tempfail"]);
    dovecot.give("other@domain.com", "k.asc", b"nonsense");
    doctor(&dovecot, &["--user", "other@domain.com"])
        .expect(1, &["lmtp  DEFERRED", "The message is not left as it is, because"]);
}

#[test]
fn a_value_that_is_not_understood() {
    for name in ["hide_subject", "compress"] {
        let dovecot = start(Config { plugin: vec![(name, "true".into())], ..Config::default() });
        let why = format!("{name} = true: not understood: write `yes` or `no`");
        doctor(&dovecot, &["--user", ME]).expect(1, &["lmtp  DEFERRED", &why]);
        assert_eq!(delivered(&dovecot), "deferred");
    }
}

/// This needs root.
#[test]
fn a_certificate_that_a_user_of_the_system_cannot_read() {
    let dovecot = start(Config::default());
    let folder = dovecot.home(ME).join("pgp-certs");
    std::os::unix::fs::chown(&folder, Some(0), Some(0)).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    doctor(&dovecot, &["--user", ME]).expect(1, &["DEFERRED", "pgp-certs"]);
    assert_eq!(delivered(&dovecot), "deferred");
}

#[test]
fn a_certificate_in_the_user_database() {
    let cert = "AAAA";
    let users = of_era(
        format!("passdb {{\n  driver = static\n  args = password=test\n}}\nuserdb {{\n  driver = static\n  args = sieve_perot_encrypt_cert={cert}\n}}\n"),
        format!("passdb static {{\n  password = test\n}}\nuserdb static {{\n  fields {{\n    sieve_perot_encrypt_cert = {cert}\n  }}\n}}\n"),
    );
    let dovecot = start(Config { users: Some(users), ..Config::default() });
    doctor(&dovecot, &["--user", ME]).expect(1, &["DEFERRED", "sieve_perot_encrypt_cert of me@domain.com"]);
    assert_eq!(delivered(&dovecot), "deferred");
}

#[test]
fn the_address_of_a_user() {
    let setting = "sieve_user_email = owner@domain.com\n".to_owned();
    let config = Config { plugin_23: setting.clone(), extra_24: setting, ..Config::default() };
    let dovecot = start(config);
    doctor(&dovecot, &["--user", ME]).expect(1, &["DEFERRED", "no certificate for owner@domain.com"]);
    assert_eq!(delivered(&dovecot), "deferred");
    dovecot.give(ME, "owner.asc", &armored(&key_for("owner@domain.com")));
    doctor(&dovecot, &["--user", ME]).expect(0, &["lmtp  encrypted", "All is well"]);
    assert_eq!(delivered(&dovecot), "encrypted");
}

#[test]
fn users_who_cannot_be_listed() {
    let dovecot = start(Config::default());
    doctor(&dovecot, &["--all-users"]).expect(75, &["list"]);
}

#[test]
fn all_users() {
    let users = of_era(
        "passdb {\n  driver = static\n  args = password=test\n}\nuserdb {\n  driver = passwd-file\n  args = {dir}/users\n}\n",
        "passdb static {\n  password = test\n}\nuserdb passwd-file {\n  passwd_file_path = {dir}/users\n}\n",
    );
    let mut dovecot = prepare(Config { users: Some(users.into()), ..Config::default() });
    compile(&dovecot);
    fs::write(dovecot.path("users"), format!("{ME}:::::\nother@domain.com:::::\n")).unwrap();
    dovecot.launch();
    let said = doctor(&dovecot, &["--all-users"]);
    said.expect(1, &["other@domain.com (uid", "DEFERRED", "users: 2, encrypted for 1"]);
    assert!(!said.text.contains(&format!("{ME} (uid")), "{}", said.text);
    fs::write(dovecot.path("users"), format!("{ME}:::::\n")).unwrap();
    doctor(&dovecot, &["--all-users"]).expect(0, &["users: 1, encrypted for 1", "All is well"]);
    fs::write(dovecot.path("users"), format!("{ME}:::::\nbad@domain.com::nobody-at-all::::\n")).unwrap();
    doctor(&dovecot, &["--all-users"])
        .expect(1, &["bad@domain.com cannot be looked up: ", "users: 1, encrypted for 1"]);
}

#[test]
fn a_configuration_that_the_running_dovecot_has_not_read() {
    let dovecot = start(Config::default());
    let is_read = || doctor(&dovecot, &["--user", ME]).status == Some(0);
    // The socket whose age counts is not the first one that the master makes.
    wait_until(is_read, || doctor(&dovecot, &["--user", ME]).text);
    let file = dovecot.path("dovecot.conf");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text + "mail_debug = no\n").unwrap();
    let has_not_read = format!("has not read {} as it is now", file.display());
    doctor(&dovecot, &["--user", ME]).expect(1, &["lmtp  encrypted", &has_not_read, "doveadm reload"]);
    dovecot.doveadm(&["reload"]);
    wait_until(is_read, || doctor(&dovecot, &["--user", ME]).text);
}

/// `make install`, and no restart: only Dovecot 2.4 has a settings module.
#[test]
fn a_settings_module_that_the_running_dovecot_does_not_know() {
    let dovecot = start(Config::default());
    if era() == Era::V23 {
        return doctor(&dovecot, &["--user", ME]).expect(0, &["All is well"]);
    }
    let module = dovecot.path("modules/settings/libsieve_perot_encrypt_settings.so");
    let content = fs::read(&module).unwrap();
    fs::remove_file(&module).unwrap();
    fs::write(&module, content).unwrap();
    let said = ["is newer than the running Dovecot", "systemctl restart dovecot"];
    doctor(&dovecot, &["--user", ME]).expect(1, &said);
}

#[test]
fn a_dovecot_that_does_not_run() {
    let mut dovecot = start(Config::default());
    dovecot.stop();
    doctor(&dovecot, &[]).expect(1, &["Dovecot is not running"]);
    doctor(&dovecot, &["--user", ME]).expect(75, &["doveadm"]);
}

#[test]
fn the_mail_plugin() {
    let start_with = |settings: &[(&'static str, &str)], before: &str| {
        let plugin = settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let delivery_plugins = Some("sieve perot_encrypt");
        start(Config { plugin, delivery_plugins, before: Some(before.into()), ..Config::default() })
    };
    let encrypts = "lmtp  encrypted: by the mail plugin";
    for (settings, before, status, said, becomes) in [
        (&[][..], "keep;", 0, &[encrypts, "All is well"][..], "encrypted"),
        (&[], "no script", 0, &[encrypts], "encrypted"),
        (&[("deliveries", "refuse")], "keep;", 1, &["lmtp  DEFERRED", "deliveries = refuse"], "deferred"),
        (
            &[("deliveries", "no")],
            "keep;",
            1,
            &["lmtp  STORED IN CLEAR", "perot_encrypt_deliveries = encrypt"],
            "clear",
        ),
        (
            &[("deliveries", "warn")],
            "keep;",
            1,
            &["lmtp  STORED IN CLEAR", "perot_encrypt_deliveries = encrypt"],
            "clear",
        ),
        (
            &[("deliveries", "yes")],
            "keep;",
            1,
            &["lmtp  DEFERRED", "deliveries = yes is not under"],
            "deferred",
        ),
        (
            &[("deliveries", "yes"), ("on_error", "keep")],
            "keep;",
            1,
            &["lmtp  STORED IN CLEAR", "deliveries = yes is not under"],
            "clear",
        ),
        (&[("saved", "Sent")], "keep;", 1, &["perot_encrypt_saved = Sent, and imap does not"], "encrypted"),
    ] {
        let dovecot = start_with(settings, before);
        doctor(&dovecot, &["--user", ME]).expect(status, said);
        assert_eq!(delivered(&dovecot), becomes, "{settings:?}");
    }
}

#[test]
fn scripts_that_are_empty_or_do_not_compile() {
    for (before, said) in [("", "does not encrypt"), ("no script", "DOES NOT COMPILE")] {
        let mut dovecot = prepare(Config { before: Some(before.into()), ..Config::default() });
        dovecot.launch();
        doctor(&dovecot, &["--user", ME]).expect(1, &["lmtp  STORED IN CLEAR", said]);
        assert_eq!(delivered(&dovecot), "clear", "{before}");
    }
}

/// `sievec` does not know what stands in `protocol lmtp`.
#[test]
fn sieve_plugins_of_one_protocol() {
    let config = extra(
        "plugin {\n  sieve_plugins =\n}\nprotocol lmtp {\n  plugin {\n    sieve_plugins = sieve_perot_encrypt\n  }\n}\n",
        "sieve_plugins =\nprotocol lmtp {\n  sieve_plugins {\n    sieve_perot_encrypt = yes\n  }\n}\n",
    );
    let mut dovecot = prepare(config);
    dovecot.launch();
    let said = doctor(&dovecot, &["--user", ME]);
    said.expect(0, &["lmtp  encrypted: by the script", "before.sieve: encrypts, not compiled"]);
    assert_eq!(delivered(&dovecot), "encrypted");
}

#[test]
fn the_mail_plugin_without_its_file() {
    let config = extra(
        "protocol lmtp {\n  mail_plugins = $mail_plugins sieve perot_encrypt\n}\n",
        "protocol lmtp {\n  mail_plugins {\n    perot_encrypt = yes\n  }\n}\n",
    );
    let dovecot = start(Config { before: Some("keep;".into()), ..config });
    let said = doctor(&dovecot, &["--user", ME]);
    said.expect(
        1,
        &[
            "the plugin perot_encrypt is not in",
            "lmtp  DEFERRED: the mail plugin perot_encrypt cannot be loaded",
        ],
    );
}
