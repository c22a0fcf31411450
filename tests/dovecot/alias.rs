//! Tests the extension under its other name, `vnd.dovecot.pgp-encrypt`. How the command is written is in tests/sieve.

use std::fs;

use crate::users::of_era;
use crate::{assert_nothing_stored, compile_library, message, SECRET};
use perot_testing::dovecot::{Config, Dovecot};
use perot_testing::pages::shown;
use perot_testing::{armored, armored_secret, decrypt, find, key_for, revoked};

use sequoia_openpgp::Cert;

const ME: &str = "me@domain.com";
const NAME: &str = "vnd.dovecot.pgp-encrypt";
const REQUIRE: &str = "require \"vnd.dovecot.pgp-encrypt\";\n";

fn with_alias() -> Config {
    Config { plugin: vec![("alias", NAME.into())], ..Config::default() }
}

fn text(key: &Cert) -> String {
    String::from_utf8(armored(key)).unwrap().replace("\r\n", "\n")
}

/// Returns a script of the page with this key in it.
fn with_key(script: &str, key: &Cert) -> String {
    let (begin, end) = (script.find("-----BEGIN").unwrap(), script.rfind("BLOCK-----").unwrap() + 10);
    [&script[..begin], text(key).trim_end(), &script[end..]].concat()
}

/// Returns the command as OX App Suite writes it: a list of strings.
fn list(keys: &[&Cert]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| format!("\"{}\"", text(key))).collect();
    format!("pgp_encrypt :keys [ {} ] ;", keys.join(", "))
}

/// Returns the command as the editor of thsmi/sieve writes it: one block of text.
fn block(key: &Cert) -> String {
    format!("pgp_encrypt :keys text:\n{}\n.\n;", text(key))
}

/// Panics unless one message is stored for the user, and each of the keys opens it. Removes it.
fn assert_encrypted(what: &str, dovecot: &Dovecot, user: &str, keys: &[&Cert]) {
    let answer = dovecot.deliver(user, &message("alias"));
    assert!(answer.starts_with("250 "), "{what}: {answer}\n{}", dovecot.log());
    let stored = dovecot.only_message(user);
    let marker = b"\nEncrypted-On-Delivery: pgp-mime; agent=\"vnd.perot.encrypt/";
    assert!(find(&stored, marker).is_some(), "{what}");
    for key in keys {
        assert!(decrypt(&stored, key).ends_with(&message("alias")), "{what}");
    }
    dovecot.assert_nowhere(SECRET);
    fs::remove_dir_all(dovecot.home(user).join("Maildir")).unwrap();
}

/// Each row: a script, which is uploaded, and the keys to which it encrypts.
#[test]
fn from_the_upload_to_the_mail() {
    let [lines_23, lines_24] = shown("doc/admin/pgp-encrypt.md", "Switch it on");
    let [_, as_list, as_block] = shown("doc/admin/pgp-encrypt.md", "What it does");
    let mut dovecot = Dovecot::prepare(&Config::default());
    let configuration = dovecot.path("dovecot.conf");
    let lines = fs::read_to_string(&configuration).unwrap() + of_era(&lines_23, &lines_24);
    fs::write(&configuration, lines).unwrap();
    dovecot.launch();
    let (mine, one, two) = (key_for(ME), key_for("one@t.org"), key_for("two@t.org"));
    dovecot.give(ME, "k.asc", &armored(&mine));
    let said = dovecot.sieve_connect(ME, &["--debug"], "list\n");
    let capability = said.lines().find(|line| line.contains("\"SIEVE\" \"")).unwrap_or(&said);
    assert!(capability.contains(" vnd.perot.encrypt vnd.dovecot.pgp-encrypt"), "{capability}");

    let both = "require [\"vnd.perot.encrypt\", \"vnd.dovecot.pgp-encrypt\"];\n";
    let rows: [(&str, String, &[&Cert]); 9] = [
        ("", with_key(&as_list, &one), &[&one]),
        ("", with_key(&as_block, &two), &[&two]),
        (REQUIRE, list(&[&one]), &[&one]),
        (REQUIRE, list(&[&one, &two]), &[&one, &two]),
        (REQUIRE, format!("if true {{\n    {}\n}}", block(&one)), &[&one]),
        (REQUIRE, "pgp_encrypt;".into(), &[&mine]),
        (REQUIRE, format!("{} {}", block(&one), list(&[&two])), &[&one]),
        (both, format!("if not encrypted {{ {} }}", list(&[&two])), &[&two]),
        (both, format!("encrypt; {}", list(&[&two])), &[&mine]),
    ];
    for (line_end, (require, body, keys)) in ["\n", "\r\n"].into_iter().cycle().zip(&rows) {
        let local = dovecot.path("mine.sieve");
        fs::write(&local, format!("{require}{body}\n").replace('\n', line_end)).unwrap();
        let commands = format!("upload {} mine\nactivate mine\nlist\n", local.display());
        let said = dovecot.sieve_connect(ME, &[], &commands);
        assert_eq!(said.trim(), "\"mine\" ACTIVE", "{body}");
        let _ = fs::remove_file(dovecot.home(ME).join(".dovecot.svbin"));
        assert_encrypted(body, &dovecot, ME, keys);
    }
    dovecot.log_line(&["Info: ", "encrypt: message left as it is: it is encrypted already"]);
}

/// Each row: a key, and why the script is not accepted.
#[test]
fn what_is_refused_at_upload() {
    let dovecot = Dovecot::start(&with_alias());
    let key = key_for(ME);
    dovecot.give(ME, "k.asc", &armored(&key));
    let secret = String::from_utf8(armored_secret(&key)).unwrap();
    let whole = text(&key);
    let rows = [
        (format!("\"{ME}\""), "in the script is not an armored certificate: paste it"),
        (format!("\"{}\"", key.fingerprint()), "in the script is not an armored certificate: paste it"),
        (format!("\"{}\"", &whole[..whole.len() / 2]), "no END line: it is cut off"),
        (format!("\"{secret}\""), "it holds the secret key, which must never be on a server"),
        (format!("\"{}\"", text(&revoked(ME))), "is revoked"),
        (format!("[{}\"a\"]", "\"a\", ".repeat(32)), "up to 32 recipients, and these are 33"),
    ];
    let mut commands = String::new();
    for (number, (keys, _)) in rows.iter().enumerate() {
        let local = dovecot.path(&format!("{number}.sieve"));
        fs::write(&local, format!("{REQUIRE}pgp_encrypt :keys {keys};\n")).unwrap();
        commands += &format!("upload {} {number}\n", local.display());
    }
    let said = dovecot.sieve_connect(ME, &[], &(commands + "list\n"));
    for (number, (_, why)) in rows.iter().enumerate() {
        let failed = format!("PUTSCRIPT({number}) failed: NO ");
        assert!(said.contains(&failed), "{failed}\n{said}");
        assert!(
            said.lines().any(|line| line.contains("line 2: error: ") && line.contains(why)),
            "{why}\n{said}"
        );
    }
    assert!(!said.contains("\"0\""), "nothing is listed\n{said}");
}

/// Each row: what a script that nobody has checked does, and why it defers.
#[test]
fn failures_defer() {
    let dovecot = Dovecot::start(&with_alias());
    fs::write(dovecot.certs().join("me.asc"), armored(&key_for(ME))).unwrap();
    let failing = format!("require [\"{NAME}\", \"ihave\"];\nerror \"x\"; pgp_encrypt;\n");
    let included = dovecot.home("include@t.org").join("sieve");
    fs::create_dir(&included).unwrap();
    fs::write(included.join("inner.sieve"), &failing).unwrap();
    [&included, &included.join("inner.sieve")].into_iter().for_each(|path| dovecot.own(path));
    let rows = [
        ("none@t.org", format!("{REQUIRE}pgp_encrypt;"), "no certificate for none@t.org"),
        ("address@t.org", format!("{REQUIRE}pgp_encrypt :keys \"{ME}\";"), "is not an armored certificate"),
        (
            "variable@t.org",
            format!(
                "require [\"{NAME}\", \"variables\"];\nset \"k\" \"{ME}\"; pgp_encrypt :keys \"${{k}}\";"
            ),
            "is not an armored certificate",
        ),
        (
            "damaged@t.org",
            format!("{REQUIRE}pgp_encrypt :keys \"-----BEGIN PGP PUBLIC KEY BLOCK-----\";"),
            "cut off",
        ),
        (
            "many@t.org",
            format!("{REQUIRE}pgp_encrypt :keys [{}\"a\"];", "\"a\", ".repeat(32)),
            "is not an armored certificate",
        ),
        ("before@t.org", failing, "the script has failed, and has not encrypted the message"),
        (
            "include@t.org",
            "require \"include\";\ninclude :personal \"inner\";".into(),
            "the script has failed, and has not encrypted the message",
        ),
    ];
    for (user, script, why) in rows {
        dovecot.script(user, &script);
        let answer = dovecot.deliver(user, &message("fails"));
        assert!(answer.starts_with("451 "), "{user}: {answer}\n{}", dovecot.log());
        dovecot.log_line(&["Error: ", user, "message not encrypted, deferred: ", why]);
        assert_nothing_stored(&dovecot, user);
    }
}

#[test]
fn the_binary_can_be_dumped() {
    let dovecot = Dovecot::prepare(&with_alias());
    let (source, compiled) = (dovecot.path("global/x.sieve"), dovecot.path("global/x.svbin"));
    fs::write(&source, format!("{REQUIRE}pgp_encrypt; {}", block(&key_for(ME)))).unwrap();
    let said = dovecot.tool("sievec", &[source.as_os_str(), compiled.as_os_str()]);
    assert!(said.status.success(), "{said:?}");
    let dump = dovecot.tool("sieve-dump", &[compiled.as_os_str()]);
    let dump = String::from_utf8_lossy(&dump.stdout);
    for text in [NAME, "vnd.perot.encrypt", "ENCRYPT (command)", "(the owner)", "keys", "to: STR["] {
        assert!(dump.contains(text), "{text} is not in\n{dump}");
    }
}

/// Without the setting, a script that requires the name is refused.
#[test]
fn a_name_that_is_not_offered() {
    let dovecot = Dovecot::start(&Config::default());
    let local = dovecot.path("local.sieve");
    fs::write(&local, format!("{REQUIRE}pgp_encrypt;\n")).unwrap();
    let commands = format!("list\nupload {} refused\n", local.display());
    let said = dovecot.sieve_connect(ME, &["--debug"], &commands);
    let offered = said.lines().find(|line| line.contains("\"SIEVE\"")).unwrap();
    assert!(offered.contains(" vnd.perot.encrypt") && !offered.contains(NAME), "{said}");
    // The two eras quote in different ways.
    assert!(said.contains("unknown Sieve capability ") && said.contains(&format!("{NAME}'")), "{said}");
}

/// Each row: the setting, `sieve_plugins`, and the warning.
#[test]
fn a_name_that_another_plugin_has() {
    for (alias, plugins, warns) in [
        (NAME, "sieve_other_vendor sieve_perot_encrypt", true),
        ("", "sieve_other_vendor sieve_perot_encrypt", false),
        ("", "sieve_perot_encrypt sieve_other_vendor", false),
    ] {
        let line = format!("sieve_plugins = {plugins}\n");
        let mut dovecot = Dovecot::prepare(&Config {
            plugin: vec![("alias", alias.into())],
            plugin_23: line.clone(),
            extra_24: line,
            ..Config::default()
        });
        compile_library("other_vendor.c", &dovecot.path("modules/sieve/lib80_sieve_other_vendor_plugin.so"));
        dovecot.launch();
        let key = key_for(ME);
        dovecot.give(ME, "k.asc", &armored(&key));
        dovecot.script(ME, "require \"vnd.perot.encrypt\";\nencrypt;\n");
        assert_encrypted(plugins, &dovecot, ME, &[&key]);
        let warning = "vnd.dovecot.pgp-encrypt: another plugin has registered this extension";
        let warned = dovecot.log().lines().any(|line| line.contains("Warning: ") && line.contains(warning));
        assert_eq!(warned, warns, "{alias} {plugins}\n{}", dovecot.log());
    }
}

/// A value that is not understood keeps neither the plugin nor the name from being there.
#[test]
fn a_wrong_value() {
    let wrong = Config { plugin: vec![("alias", "pgp-encrypt".into())], ..Config::default() };
    let dovecot = Dovecot::start(&wrong);
    let key = key_for(ME);
    dovecot.give(ME, "k.asc", &armored(&key));
    for script in [format!("{REQUIRE}{}", block(&key)), "require \"vnd.perot.encrypt\";\nencrypt;\n".into()] {
        dovecot.script(ME, &script);
        let answer = dovecot.deliver(ME, &message("wrong"));
        assert!(
            answer.starts_with("451 ") && answer.contains("(bad_setting)"),
            "{answer}\n{}",
            dovecot.log()
        );
        assert_nothing_stored(&dovecot, ME);
    }
    dovecot.log_line(&[
        "Error: ",
        "sieve_perot_encrypt_alias = pgp-encrypt: not understood: write `vnd.dovecot.pgp-encrypt`",
    ]);
}

/// Beside the mail plugin, the owner's key is not used where a script has used others; and where no script can, it is.
#[test]
fn beside_the_mail_plugin() {
    let delivery_plugins = Some("sieve perot_encrypt");
    let dovecot = Dovecot::start(&Config { delivery_plugins, ..with_alias() });
    let (mine, other) = (key_for(ME), key_for("other@t.org"));
    dovecot.give(ME, "k.asc", &armored(&mine));
    for (script, key) in [
        (format!("{REQUIRE}{}", block(&other)), &other),
        (format!("{REQUIRE}pgp_encrypt;"), &mine),
        ("require \"vnd.dovecot.nothing\";\n".into(), &mine),
    ] {
        dovecot.script(ME, &script);
        assert_encrypted(&script, &dovecot, ME, &[key]);
    }
}
