//! Tests the mail plugin beside scripts that fail, with full mailboxes, and in mailboxes of others.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use perot_testing::dovecot::{wait_until, Config, Dovecot};
use perot_testing::{armored, decrypt, key_for};

use sequoia_openpgp::Cert;

use crate::{assert_nothing_stored, message, script, SECRET};

const ME: &str = "me@domain.com";
const YOU: &str = "you@domain.com";

fn with_sieve() -> Config {
    Config { delivery_plugins: Some("sieve perot_encrypt"), ..Config::default() }
}

fn give_key(dovecot: &Dovecot) -> Cert {
    let key = key_for(ME);
    dovecot.give(ME, "k.asc", &armored(&key));
    key
}

/// Returns the folders in which the message is stored. Panics if it is anywhere in clear.
fn folders(what: &str, dovecot: &Dovecot, key: &Cert, message: &[u8]) -> Vec<String> {
    let mut stored = dovecot.stored(ME);
    stored.sort();
    for (folder, stored) in &stored {
        assert!(decrypt(stored, key).ends_with(message), "{what}: in {folder}\n{}", dovecot.log());
    }
    dovecot.assert_nowhere(SECRET);
    stored.into_iter().map(|(folder, _)| folder).collect()
}

/// Delivers a message to a Dovecot of its own. Panics unless it is stored encrypted, in the expected folders.
fn assert_stored(what: &str, config: &Config, user_script: &str, expected: &[&str]) {
    let dovecot = Dovecot::start(config);
    let key = give_key(&dovecot);
    assert_stored_again(what, &dovecot, &key, user_script, expected);
}

/// Does the same in a Dovecot that has started, and removes the mailbox.
fn assert_stored_again(what: &str, dovecot: &Dovecot, key: &Cert, user_script: &str, expected: &[&str]) {
    dovecot.script(ME, user_script);
    let answer = dovecot.deliver(ME, &message("beside"));
    assert!(answer.starts_with("250 "), "{what}: {answer}\n{}", dovecot.log());
    assert_eq!(folders(what, dovecot, key, &message("beside")), expected, "{what}\n{}", dovecot.log());
    fs::remove_dir_all(dovecot.home(ME).join("Maildir")).unwrap();
}

#[test]
fn whatever_earlier_scripts_do() {
    const SPAM: &str =
        "require [\"fileinto\", \"mailbox\"];\nif header :contains \"Subject\" \"beside\" {\n  \
                        fileinto :create \"Junk\"; stop;\n}\n";
    let before = |script: &str| Config { before: Some(script.to_owned()), ..with_sieve() };
    for (what, config, user_script, expected) in [
        ("spam rule", before(SPAM), "encrypt;", &[".Junk"][..]),
        ("keep", before("keep;"), "keep;", &[""]),
        ("copy", before("require [\"fileinto\", \"copy\"]; fileinto :copy \"INBOX\";"), "keep;", &[""]),
        ("empty", before(""), "keep;", &[""]),
        ("does not compile", before("no script"), "keep;", &[""]),
        ("error", before("require \"ihave\"; error \"x\";"), "keep;", &[""]),
        ("error behind encrypt", before(&script(", \"ihave\"", "encrypt; error \"x\";")), "keep;", &[""]),
        ("encrypt", before(&script("", "encrypt;")), SPAM, &[".Junk"]),
    ] {
        assert_stored(what, &config, user_script, expected);
    }
}

#[test]
fn whatever_becomes_of_scripts() {
    let config = |setting_23: &str, setting_24: &str| Config {
        plugin_23: setting_23.to_owned(),
        extra_24: setting_24.to_owned(),
        ..with_sieve()
    };
    let missing_24 = "sieve_script nowhere {\n  type = before\n  path = {dir}/global/nowhere.sieve\n}\n";
    assert_stored(
        "missing",
        &config("sieve_before = {dir}/global/nowhere.sieve\n", missing_24),
        "keep;",
        &[""],
    );
    let disabled = "sieve_enabled = no\n";
    assert_stored("disabled", &config(disabled, disabled), "require \"fileinto\"; fileinto \"x\";", &[""]);

    let dovecot = Dovecot::start(&with_sieve());
    dovecot.script(ME, "require [\"fileinto\", \"mailbox\"]; fileinto :create \"box\";");
    assert_unreadable("the user's script", &dovecot, &dovecot.home(ME).join(".dovecot.sieve"));
    for (what, user_script) in [("no script", None), ("empty", Some("")), ("keep", Some("keep;"))] {
        let dovecot = Dovecot::start(&Config { before: Some(script("", "encrypt;")), ..with_sieve() });
        user_script.into_iter().for_each(|user_script| dovecot.script(ME, user_script));
        assert_unreadable(what, &dovecot, &dovecot.path("global/before.sieve"));
    }
}

/// Delivers a message while a script cannot be read. Dovecot may defer it, but must store nothing in clear.
fn assert_unreadable(what: &str, dovecot: &Dovecot, script: &Path) {
    let key = give_key(dovecot);
    fs::set_permissions(script, fs::Permissions::from_mode(0o000)).unwrap();
    let answer = dovecot.deliver(ME, &message("unreadable"));
    let stored = folders(what, dovecot, &key, &message("unreadable"));
    let expected = if answer.starts_with("250 ") { &[""][..] } else { &[] };
    assert!(answer.starts_with("250 ") || answer.starts_with("451 "), "{what}: {answer}");
    assert_eq!(stored, expected, "{what}: {answer}\n{}", dovecot.log());
    dovecot.log_line(&["ermission denied"]);
}

#[test]
fn whatever_fails_in_a_script() {
    let failing_mail = Config {
        extra_23: "sendmail_path = /bin/false".into(),
        extra_24: "sendmail_path = /bin/false".into(),
        ..with_sieve()
    };
    let redirects: String = (0..5).map(|i| format!("redirect \"x{i}@example.net\";\n")).collect();
    let dovecot = Dovecot::start(&with_sieve());
    let key = give_key(&dovecot);
    for (what, user_script) in [
        ("too many redirects", redirects.clone()),
        ("too many redirects behind encrypt", script("", &format!("encrypt;\n{redirects}"))),
        ("an error behind encrypt", script(", \"ihave\"", "encrypt; error \"x\";")),
        ("no such mailbox behind encrypt", script(", \"fileinto\"", "encrypt; fileinto \"nowhere\";")),
    ] {
        assert_stored_again(what, &dovecot, &key, &user_script, &[""]);
    }
    for (what, config, user_script) in [
        ("redirect", &failing_mail, "redirect \"x@example.net\";"),
        (
            "redirect and fileinto",
            &failing_mail,
            "require \"fileinto\"; redirect \"x@example.net\"; fileinto \"INBOX\";",
        ),
    ] {
        let dovecot = Dovecot::start(config);
        let key = give_key(&dovecot);
        dovecot.script(ME, user_script);
        let answer = dovecot.deliver(ME, &message("beside"));
        let stored = folders(what, &dovecot, &key, &message("beside"));
        assert_eq!(answer.starts_with("250 "), stored.len() == 1, "{what}: {answer}\n{}", dovecot.log());
    }
}

#[test]
fn a_script_out_of_time() {
    let limit = "sieve_max_cpu_time = 1s\n";
    let config = Config { plugin_23: limit.into(), extra_24: limit.into(), ..with_sieve() };
    let dovecot = Dovecot::start(&config);
    let key = give_key(&dovecot);
    let needle = "a".repeat(10_000) + "b";
    let slow = format!("if header :contains \"x-a\" \"{needle}\" {{ stop; }}\n").repeat(40);
    let message = [format!("X-A: {}\r\n", "a".repeat(300_000)).as_bytes(), &message("slow")].concat();
    for (n, (what, body)) in
        [("in front", format!("{slow}\nencrypt;")), ("behind", format!("encrypt;\n{slow}"))]
            .into_iter()
            .enumerate()
    {
        dovecot.script(ME, &script("", &body));
        let answer = dovecot.deliver(ME, &message);
        assert!(
            answer.starts_with("250 ") || answer.starts_with("451 "),
            "{what}: {answer}\n{}",
            dovecot.log()
        );
        let spent = || dovecot.log().matches("excessive resource usage").count();
        wait_until(|| spent() > n, || dovecot.log());
        let stored = folders(what, &dovecot, &key, &message);
        assert_eq!(
            stored.len(),
            usize::from(answer.starts_with("250 ")),
            "{what}: {answer}\n{}",
            dovecot.log()
        );
        let _ = fs::remove_dir_all(dovecot.home(ME).join("Maildir"));
    }
}

/// Where `:try` and tests go on with a message in clear, it is stored encrypted or not at all.
#[test]
fn it_has_the_last_word() {
    let nobody = "nobody@example.net";
    for user_script in
        [format!("encrypt :try \"{nobody}\";"), format!("if not encrypt \"{nobody}\" {{ keep; }}")]
    {
        assert_stored("with a certificate", &with_sieve(), &script("", &user_script), &[""]);
        let dovecot = Dovecot::start(&with_sieve());
        dovecot.script(ME, &script("", &user_script));
        let answer = dovecot.deliver(ME, &message("without"));
        assert!(answer.starts_with("451 "), "{user_script}: {answer}\n{}", dovecot.log());
        assert_nothing_stored(&dovecot, ME);
    }
}

#[test]
fn the_mailbox_of_a_detail() {
    let detail = "recipient_delimiter = +\nlmtp_save_to_detail_mailbox = yes\nlda_mailbox_autocreate = yes\n";
    let config = Config { extra_23: detail.into(), extra_24: detail.into(), ..with_sieve() };
    let dovecot = Dovecot::start(&config);
    let key = give_key(&dovecot);
    let answer = dovecot.deliver("me+box@domain.com", &message("detail"));
    assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
    assert_eq!(folders("detail", &dovecot, &key, &message("detail")), [".box"]);
}

#[test]
fn no_room_for_ciphertext() {
    let dovecot = Dovecot::start(&Config { temp_size: Some("64k"), ..with_sieve() });
    give_key(&dovecot);
    let message = [message("large"), b"All day long.\r\n".repeat(100_000)].concat();
    let answer = dovecot.deliver(ME, &message);
    assert!(answer.starts_with("451 "), "{answer}\n{}", dovecot.log());
    assert_nothing_stored(&dovecot, ME);
}

/// A user's own address decides. For a user without a domain, it is the address of RCPT.
#[test]
fn the_owner() {
    let config = Config {
        extra_23: "protocol lmtp {\n  auth_username_format = %Ln\n}\n".into(),
        extra_24: "protocol lmtp {\n  auth_username_format = %{user | username | lower}\n}\n".into(),
        ..with_sieve()
    };
    let dovecot = Dovecot::start(&config);
    let key = key_for(ME);
    fs::write(dovecot.certs().join("me.asc"), armored(&key)).unwrap();
    fs::write(dovecot.certs().join("other.asc"), armored(&key_for("other@domain.com"))).unwrap();
    let answer = dovecot.deliver(ME, &message("owner"));
    assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
    assert!(decrypt(&dovecot.only_message("me"), &key).ends_with(&message("owner")));
    dovecot.assert_nowhere(SECRET);
}

/// Quota counts the ciphertext, which is larger than the message.
#[test]
fn quota() {
    let config = Config {
        delivery_plugins: Some("sieve perot_encrypt quota"),
        plugin_23:
            "quota = count:User quota\nquota_vsizes = yes\nquota_rule = *:storage=2K\nquota_grace = 0\n"
                .into(),
        extra_24: "quota user {\n  driver = count\n  storage_size = 2K\n  storage_grace = 0\n}\n".into(),
        ..Config::default()
    };
    let dovecot = Dovecot::start(&config);
    let key = give_key(&dovecot);
    dovecot.script(ME, "require [\"fileinto\", \"mailbox\"]; fileinto :create \"box\";");
    let answer = dovecot.deliver(ME, &message("first"));
    assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
    // The message would fit as it came.
    let answer = dovecot.deliver(ME, &message("second"));
    assert!(answer.starts_with("552 ") || answer.starts_with("452 "), "{answer}\n{}", dovecot.log());
    assert_eq!(folders("quota", &dovecot, &key, &message("first")), [".box"]);
}

/// Compares a mailbox that is full for the ciphertext with one that is full for the message.
#[test]
fn a_full_mailbox_in_a_script() {
    let box_24 = "namespace inbox {\n  inbox = yes\n  separator = /\n  \
                  mailbox box {\n    quota_storage_percentage = 1\n  }\n}\n\
                  quota user {\n  driver = count\n  storage_size = 100K\n  storage_grace = 0\n}\n";
    let deliver = |plugins, message: &[u8]| {
        let dovecot = Dovecot::start(&Config {
            delivery_plugins: Some(plugins),
            plugin_23: "quota = count:User quota\nquota_vsizes = yes\nquota_rule = *:storage=100K\n\
                        quota_rule2 = box:storage=-99K\nquota_grace = 0\n"
                .into(),
            extra_24: box_24.into(),
            ..Config::default()
        });
        let key = give_key(&dovecot);
        dovecot.script(ME, "require [\"fileinto\", \"mailbox\"]; fileinto :create \"box\";");
        let answer = dovecot.deliver(ME, message);
        (dovecot, key, answer)
    };
    let small = message("full");
    let large = [&small[..], &b"All day long.\r\n".repeat(80)].concat();
    let (without, _, expected) = deliver("sieve quota", &large);
    let (dovecot, key, answer) = deliver("sieve perot_encrypt quota", &small);
    assert_eq!(answer[..3], expected[..3], "{answer}, without the plugin: {expected}\n{}", dovecot.log());
    let stored: Vec<String> = without.stored(ME).into_iter().map(|(folder, _)| folder).collect();
    assert_eq!(folders("full", &dovecot, &key, &small), stored, "{answer}\n{}", dovecot.log());
    assert_ne!(stored, [".box"]);
    let (without, _, answer) = deliver("sieve quota", &small);
    assert!(answer.starts_with("250 ") && without.stored(ME)[0].0 == ".box", "{answer}\n{}", without.log());
}

/// A mailbox of somebody else holds the mail of whoever files it there, for their certificate.
#[test]
fn a_shared_mailbox() {
    let inbox = "namespace inbox {\n  inbox = yes\n  separator = /\n}\n";
    let shared =
        "namespace shared {\n  type = shared\n  separator = /\n  list = children\n  subscriptions = no\n";
    let config = Config {
        delivery_plugins: Some("sieve perot_encrypt acl"),
        extra_23: format!(
            "{inbox}{shared}  prefix = shared/%%u/\n  \
             location = maildir:{{dir}}/home/%%u/Maildir:INDEX=~/shared/%%u\n}}\n"
        ),
        plugin_23: "acl = vfile\n".into(),
        extra_24: format!(
            "{inbox}{shared}  prefix = shared/$user/\n  mail_driver = maildir\n  \
             mail_path = {{dir}}/home/%{{owner_user}}/Maildir\n  \
             mail_index_path = ~/shared/%{{owner_user}}\n}}\nacl_driver = vfile\n"
        ),
        ..Config::default()
    };
    let dovecot = Dovecot::start(&config);
    let key = give_key(&dovecot);
    let maildir = dovecot.home(YOU).join("Maildir");
    for folder in ["", ".team", ".team/cur", ".team/new", ".team/tmp"] {
        fs::create_dir(maildir.join(folder)).unwrap();
        dovecot.own(&maildir.join(folder));
    }
    fs::write(maildir.join(".team/dovecot-acl"), format!("user={ME} lrwstipek\n")).unwrap();
    dovecot.own(&maildir.join(".team/dovecot-acl"));
    dovecot.script(ME, &format!("require \"fileinto\"; fileinto \"shared/{YOU}/team\";"));
    let answer = dovecot.deliver(ME, &message("shared"));
    assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
    let [(folder, stored)] = &dovecot.stored(YOU)[..] else { panic!("{}", dovecot.log()) };
    assert!(folder == ".team" && decrypt(stored, &key).ends_with(&message("shared")), "{}", dovecot.log());
    dovecot.assert_nowhere(SECRET);
}

/// Returns a configuration with a public mailbox.
fn with_public(plugins: &'static str) -> Config {
    let inbox = "namespace inbox {\n  inbox = yes\n  separator = /\n}\n";
    let public = "namespace public {\n  type = public\n  prefix = Public/\n  separator = /\n";
    Config {
        delivery_plugins: Some(plugins),
        extra_23: format!("{inbox}{public}  location = maildir:{{dir}}/home/public\n}}\n"),
        extra_24: format!("{inbox}{public}  mail_path = {{dir}}/home/public\n}}\n"),
        ..Config::default()
    }
}

/// The mail is the user's, whoever reads the mailbox, and so is the certificate.
#[test]
fn a_public_mailbox() {
    let dovecot = Dovecot::start(&with_public("sieve perot_encrypt"));
    let key = give_key(&dovecot);
    dovecot.script(ME, "require [\"fileinto\", \"mailbox\"]; fileinto :create \"Public/news\";");
    let answer = dovecot.deliver(ME, &message("public"));
    assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
    let stored = dovecot.doveadm(&["fetch", "-u", ME, "text", "mailbox", "Public/news", "all"]);
    let stored = stored.strip_prefix("text:\n").unwrap();
    assert!(decrypt(stored.as_bytes(), &key).ends_with(&message("public")));
    dovecot.assert_nowhere(SECRET);
}

/// A virtual mailbox stores in another mailbox, by a save and not by a copy.
#[test]
fn a_virtual_mailbox() {
    let namespaces = "namespace inbox {\n  inbox = yes\n  separator = /\n}\n\
                      namespace virtual {\n  prefix = virtual/\n  separator = /\n";
    let config = Config {
        delivery_plugins: Some("sieve perot_encrypt virtual"),
        extra_23: format!("{namespaces}  location = virtual:{{dir}}/virtual\n}}\n"),
        extra_24: format!("{namespaces}  mail_driver = virtual\n  mail_path = {{dir}}/virtual\n}}\n"),
        ..Config::default()
    };
    let dovecot = Dovecot::start(&config);
    let folder = dovecot.path("virtual/all");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("dovecot-virtual"), "!INBOX\n  all\n").unwrap();
    [dovecot.path("virtual"), folder.clone(), folder.join("dovecot-virtual")]
        .iter()
        .for_each(|p| dovecot.own(p));
    let key = give_key(&dovecot);
    dovecot.script(ME, "require \"fileinto\"; fileinto \"virtual/all\";");
    let answer = dovecot.deliver(ME, &message("virtual"));
    assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
    assert_eq!(folders("virtual", &dovecot, &key, &message("virtual")), [""], "{}", dovecot.log());
    dovecot.log_line(&["stored mail into mailbox 'virtual/all'"]);
}
