//! Runs what README, the pages about both plugins, and conf.d-example show.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sequoia_openpgp::Cert;

use crate::users::of_era;
use crate::{message, script, SECRET};
use perot_testing::dovecot::{files, run, Config, Dovecot};
use perot_testing::pages::{blocks, code, project, read, rows, says, template};
use perot_testing::{armored, decrypt, encrypt_to, find, key_for, settings};

const ME: &str = "me@domain.com";

/// Returns an example of a configuration for the installed Dovecot.
fn example(name: &str) -> String {
    read(&format!("conf.d-example/{}/{name}", of_era("2.3", "2.4")))
}

/// Starts a Dovecot that also has an example configuration. `encrypt.sieve` is in its own folder, not in the
/// system's.
pub fn start_with(example: &str, config: &Config) -> Dovecot {
    let mut dovecot = Dovecot::prepare(config);
    let encrypt = dovecot.path("global/encrypt.sieve");
    fs::copy(project("conf.d-example/encrypt.sieve"), &encrypt).unwrap();
    let example = example.replace("/etc/dovecot/sieve/encrypt.sieve", encrypt.to_str().unwrap());
    let file = dovecot.path("dovecot.conf");
    fs::write(&file, fs::read_to_string(&file).unwrap() + &example).unwrap();
    dovecot.launch();
    dovecot
}

/// Starts a Dovecot with these lines at the end, and with a user whose script files by the text. Panics unless the message is
/// filed, and encrypted.
fn assert_filed_encrypted(what: &str, lines: &str, config: Config) {
    // Having the mail plugin in IMAP makes it known. Deliveries load it by the lines only.
    let mut dovecot = Dovecot::prepare(&Config { imap_plugins: "perot_encrypt", ..config });
    let file = dovecot.path("dovecot.conf");
    let lines = lines.replace("{dir}", dovecot.path("").to_str().unwrap());
    fs::write(&file, fs::read_to_string(&file).unwrap() + &lines).unwrap();
    dovecot.launch();
    let key = key_for(ME);
    dovecot.give(ME, "me.asc", &armored(&key));
    let script = "require [\"body\", \"fileinto\", \"mailbox\"]; if body :contains \"sings\" { fileinto :create \"box\"; }";
    dovecot.script(ME, script);
    let answer = dovecot.deliver(ME, &message("example"));
    assert!(answer.starts_with("250 "), "{what}: {answer}\n{}", dovecot.log());
    let stored = dovecot.stored(ME);
    let [(folder, stored)] = &stored[..] else { panic!("{what}: {}", stored.len()) };
    assert_eq!(folder, ".box", "{what}");
    assert!(decrypt(stored, &key).ends_with(&message("example")), "{what}");
    dovecot.assert_nowhere(SECRET);
}

#[test]
fn the_shown_mail_plugin_encrypts_everybodys_mail() {
    let readme = blocks("README.md", "Switch it on");
    let page = blocks("doc/admin/mail-plugin.md", "Switch it on");
    let as_it_is = example("99-perot-encrypt.conf");
    let all_active = as_it_is
        .replace("#plugin {", "plugin {")
        .replace("#}", "}")
        .replace("#perot_encrypt_", "perot_encrypt_");
    for set in ["perot_encrypt_deliveries = encrypt\n", "perot_encrypt_saved = Sent \\Archive\n"] {
        assert!(all_active.contains(set), "{all_active}");
    }
    for (what, lines) in [
        ("README", of_era(&readme[1], &readme[2])),
        ("page", of_era(&page[0], &page[1])),
        ("example", &as_it_is),
        ("all settings", &all_active),
    ] {
        assert_filed_encrypted(what, lines, Config { default_certs: true, ..Config::default() });
    }
}

/// The lines come behind lines of the forms that doc/admin/products.md describes.
#[test]
fn our_lines_add_to_those_of_products() {
    let example = example("99-perot-encrypt.conf");
    let rows = of_era(
        vec![
            // The list is in a file.
            (
                "mail_plugins = <{dir}/list\nprotocol lmtp {\n  mail_plugins = <{dir}/list\n}\n",
                "protocol lmtp {\n  mail_plugins = $mail_plugins perot_encrypt\n}\n",
            ),
            // There are a list for all protocols and one for LMTP.
            ("mail_plugins = notify\nprotocol lmtp {\n  mail_plugins = $mail_plugins sieve\n}\n", &example),
        ],
        vec![(
            "mail_plugins {\n  notify = yes\n}\nprotocol lmtp {\n  mail_plugins {\n    notify = yes\n    sieve = yes\n  }\n}\n",
            &*example,
        )],
    );
    for (theirs, ours) in rows {
        let list = tempfile::tempdir().unwrap();
        fs::write(list.path().join("list"), "notify sieve").unwrap();
        let theirs = theirs.replace("{dir}", list.path().to_str().unwrap());
        assert_filed_encrypted(&theirs, &(theirs.clone() + ours), Config::default());
    }
}

#[test]
fn the_example_script_encrypts_everybodys_mail() {
    let as_it_is = example("90-sieve-perot-encrypt.conf");
    // The settings that are commented out are valid, and their values are the defaults. An empty certificate
    // counts as none.
    let all_active = as_it_is.replace("#sieve_perot_encrypt_", "sieve_perot_encrypt_");
    assert!(
        all_active.matches("\nsieve_perot_encrypt_").count()
            + all_active.matches("  sieve_perot_encrypt_").count()
            >= 4
    );
    // The page begins with Sieve itself, as Debian has it switched off.
    let page = blocks("doc/admin/sieve.md", "Switch it on");
    let sieve = of_era(&page[0], &page[1]);
    for example in [as_it_is, all_active] {
        let config = Config { default_certs: true, delivery_plugins: Some(""), ..Config::default() };
        let dovecot = start_with(&(sieve.clone() + &example), &config);
        let key = key_for(ME);
        dovecot.give(ME, "me.asc", &armored(&key));
        dovecot.script(ME, "this does not compile");
        let answer = dovecot.deliver(ME, &message("example"));
        assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
        assert!(decrypt(&dovecot.only_message(ME), &key).ends_with(&message("example")));
        dovecot.assert_nowhere(SECRET);
    }
}

/// Returns the lines of a configuration without comments.
pub fn active(example: &str) -> Vec<&str> {
    example.lines().filter(|line| !line.trim().is_empty() && !line.trim().starts_with('#')).collect()
}

#[test]
fn the_pages_show_what_is_active_in_the_examples() {
    for (page, number, name) in [
        ("README.md", 1, "99-perot-encrypt.conf"),
        ("doc/admin/mail-plugin.md", 0, "99-perot-encrypt.conf"),
        ("doc/admin/sieve.md", 2, "90-sieve-perot-encrypt.conf"),
    ] {
        let blocks = blocks(page, "Switch it on");
        for (era, shown) in ["2.3", "2.4"].iter().zip(&blocks[number..]) {
            let example = read(&format!("conf.d-example/{era}/{name}"));
            let (shown, active) = (active(shown), active(&example));
            // README leaves out what is the same for the LDA.
            let same = match page {
                "README.md" => active.starts_with(&shown) && shown.len() * 2 == active.len(),
                _ => shown == active,
            };
            assert!(same, "{page} does not show\n{}", active.join("\n"));
        }
    }
}

/// Replaces the certificate in a script, if it has one.
pub fn pasted(mut script: String, key: &Cert) -> String {
    if let Some(begin) = script.find("\n-----BEGIN") {
        let end = script.rfind("-----\n.").unwrap() + 6;
        let certificate = String::from_utf8(armored(key)).unwrap().replace("\r\n", "\n");
        script.replace_range(begin + 1..end, &certificate);
    }
    script
}

#[test]
fn the_example_scripts_compile() {
    let dovecot = Dovecot::prepare(&Config::default());
    let key = key_for(ME);
    fs::write(dovecot.certs().join("me.asc"), armored(&key)).unwrap();
    for name in ["encrypt.sieve", "user-with-address.sieve", "user-with-certificate.sieve"] {
        let text = pasted(read(&format!("conf.d-example/{name}")), &key);
        let (source, compiled) = (dovecot.path("global/x.sieve"), dovecot.path("global/x.svbin"));
        fs::write(&source, &text).unwrap();
        let output = dovecot.tool("sievec", &[source.as_os_str(), compiled.as_os_str()]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{name}: {said}\n{text}");
    }
}

#[test]
fn the_readme_quotes_what_is_said() {
    let readme = read("README.md");
    let dovecot =
        Dovecot::start(&Config { delivery_plugins: Some("sieve perot_encrypt"), ..Config::default() });
    let key = key_for(ME);
    let answer = dovecot.deliver(ME, &message("quoted"));
    assert!(readme.contains(&answer), "{answer}");
    let line = dovecot.log_line(&["not encrypted, deferred: "]);
    let said = line.split_once("Error: ").unwrap().1;
    let (before, after) = (said.split_once(". Searched: ").unwrap().0, said.rsplit_once(". ").unwrap().1);
    assert!(readme.contains(before) && readme.contains(after), "{said}");

    dovecot.give(ME, "me.asc", &armored(&key));
    assert!(dovecot.deliver(ME, &message("quoted")).starts_with("250 "));
    let line = dovecot.log_line(&["message encrypted: ", " bytes, ", " ms, to "]);
    let said = line.split_once("Info: ").unwrap().1.split_once("encrypted: ").unwrap().0;
    assert!(readme.contains(&format!("Info: {said}encrypted: ")), "{said}");

    let certs = dovecot.home(ME).join("pgp-certs");
    let (_, encrypted) = encrypt_to(&settings(&[&certs]), &[ME.as_bytes()], &message("quoted")).unwrap();
    assert!(dovecot.deliver(ME, &encrypted).starts_with("250 "));
    let line = dovecot.log_line(&["message left as it is"]);
    assert!(readme.contains(line.split_once("Info: ").unwrap().1), "{line}");
}

/// Checks the part of doc/admin/messages.md that quotes Dovecot. tests/library/documents.rs compares the
/// rest.
#[test]
fn the_page_of_messages_quotes_dovecot() {
    let require = script("", "encrypt;");
    let sievec = |dovecot: &Dovecot| {
        let source = dovecot.path("global/x.sieve");
        fs::write(&source, &require).unwrap();
        String::from_utf8(dovecot.tool("sievec", &[source.as_os_str()]).stderr).unwrap()
    };
    let mut said = String::new();
    // First the user has no certificate, then the configuration does not name the plugin.
    for (named, last) in
        [("sieve_perot_encrypt", "was aborted due to temporary failure"), ("", "Failed to compile script")]
    {
        let mut dovecot = Dovecot::prepare(&Config::default());
        let file = dovecot.path("dovecot.conf");
        let named = fs::read_to_string(&file)
            .unwrap()
            .replace("sieve_plugins = sieve_perot_encrypt", &format!("sieve_plugins = {named}"));
        fs::write(&file, named).unwrap();
        dovecot.launch();
        dovecot.script(ME, &require);
        dovecot.deliver(ME, &message("quoted"));
        // Another process writes the log.
        dovecot.log_line(&[last]);
        said += &(dovecot.log() + &sievec(&dovecot));
    }
    // First the plugin is of another version, then its file is missing.
    let dovecot = Dovecot::prepare(&Config::default());
    let plugin = dovecot.path("modules/sieve/lib90_sieve_perot_encrypt_plugin.so");
    let mut bytes = fs::read(&plugin).unwrap();
    let version = find(&bytes, b".ABIv").unwrap() - 1;
    bytes[version] = b'9';
    fs::write(&plugin, bytes).unwrap();
    said += &sievec(&dovecot);
    fs::remove_file(&plugin).unwrap();
    said += &sievec(&dovecot);

    let said = said.replace('`', "'");
    let quoted =
        rows("doc/admin/messages.md").into_iter().filter(|(heading, _)| heading == "What Dovecot says");
    for (_, cells) in quoted {
        let message = template(code(&cells[0]), '<', '>');
        assert!(said.lines().any(|line| says(line, &message)), "'{message}' is not in\n{said}");
    }
}

#[test]
fn every_setting_is_documented_with_its_default() {
    let readme = read("README.md");
    let places = ["2.3", "2.4"].map(|era| format!("conf.d-example/{era}/90-sieve-perot-encrypt.conf"));
    let places = places.iter().map(String::as_str).chain(["doc/admin/vnd.perot.encrypt.txt"]);
    let places: Vec<String> = places.map(read).collect();
    // The settings module of 2.4 has the defaults a second time. doveconf shows them.
    let module = read("c-shim/sieve-perot-encrypt-settings.c");
    for (name, default) in [
        ("certs", perot_encrypt::settings::DEFAULT_CERTS),
        ("cert", ""),
        ("on_error", "tempfail"),
        ("on_no_certificate", "tempfail"),
        ("hide_subject", "no"),
        ("compress", "no"),
        ("subkeys", "all"),
        ("prefer", "openpgp"),
        ("alias", ""),
    ] {
        let set = format!("sieve_perot_encrypt_{name} = {default}");
        for place in &places {
            let mut lines = place.lines().map(|line| line.trim().trim_start_matches('#'));
            assert!(lines.any(|line| line == set.trim_end()), "{set}");
        }
        assert!(module.contains(&format!(".{name} = \"{default}\"")), "{set}");
        let shown = if default.is_empty() { "not set".into() } else { format!("`{default}`") };
        assert!(readme.contains(&format!("| `sieve_perot_encrypt_{name}` | {shown} |")), "{set}");
    }
    for (name, shown) in [("deliveries", "`encrypt`"), ("saved", "not set")] {
        let row = format!("| `perot_encrypt_{name}` | {shown} |");
        assert!(readme.contains(&row) && read("doc/admin/mail-plugin.md").contains(&row), "{row}");
    }
}

#[test]
fn make_install_puts_things_in_their_places_and_make_uninstall_removes_them() {
    let root = tempfile::tempdir().unwrap();
    let release = root.path().join("target/release");
    fs::create_dir_all(release.join("man")).unwrap();
    for name in [
        "libperot_encrypt.so",
        "libperot_encrypt_mail_plugin.so",
        "perot-encrypt",
        "libsieve_perot_encrypt_settings.so",
        "man/perot-encrypt.1",
        "man/perot-encrypt-check.1",
        "man/perot-encrypt-mailbox.1",
    ] {
        fs::write(release.join(name), name).unwrap();
    }
    let image = root.path().join("image");
    let make = |goal: &str| {
        let mut make = Command::new("make");
        make.current_dir(project("")).arg(goal).env("CARGO_TARGET_DIR", root.path().join("target"));
        let output = run(make.arg(format!("DESTDIR={}", image.display())));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    make("install");
    for (place, content) in [
        ("usr/lib/dovecot/modules/sieve/lib90_sieve_perot_encrypt_plugin.so", "libperot_encrypt.so"),
        ("usr/lib/dovecot/modules/lib00_perot_encrypt_plugin.so", "libperot_encrypt_mail_plugin.so"),
        (
            "usr/lib/dovecot/modules/settings/libsieve_perot_encrypt_settings.so",
            "libsieve_perot_encrypt_settings.so",
        ),
        ("usr/local/bin/perot-encrypt", "perot-encrypt"),
        ("usr/local/share/man/man1/perot-encrypt.1", "man/perot-encrypt.1"),
        ("usr/local/share/man/man1/perot-encrypt-check.1", "man/perot-encrypt-check.1"),
        ("usr/local/share/man/man1/perot-encrypt-mailbox.1", "man/perot-encrypt-mailbox.1"),
    ] {
        assert_eq!(fs::read_to_string(image.join(place)).unwrap_or_default(), content, "{place}");
    }

    let others = image.join("usr/lib/dovecot/modules/sieve/lib90_sieve_other_plugin.so");
    fs::write(&others, "").unwrap();
    make("uninstall");
    assert_eq!(files(&image), [others]);
}

/// Missing headers, and those of an unknown Dovecot, end the build with a sentence.
#[test]
fn the_build_says_what_it_misses() {
    let folder = tempfile::tempdir().unwrap();
    let build = |config: &Path| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(project("")).args(["check", "--locked", "--offline", "--features", "plugin"]);
        cargo.env("CARGO_TARGET_DIR", target_of_this_test()).env("DOVECOT_CONFIG", config);
        let output = run(&mut cargo);
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let config = folder.path().join("dovecot-config");
    fs::write(&config, format!("dovecot_pkgincludedir={}/include\n", folder.path().display())).unwrap();
    let said = build(&config);
    assert!(said.contains("cannot be used: apt install dovecot-dev"), "{said}");

    fs::create_dir_all(folder.path().join("include/sieve")).unwrap();
    fs::write(folder.path().join("include/config.h"), "#define DOVECOT_ABI_VERSION \"2.9.ABIv1(2.9.0)\"\n")
        .unwrap();
    let pigeonhole = "#define PIGEONHOLE_ABI_VERSION \"2.9.ABIv1(2.9.0)\"\n";
    fs::write(folder.path().join("include/sieve/pigeonhole-config.h"), pigeonhole).unwrap();
    let said = build(&config);
    let expected =
        "the headers are of Dovecot 2.9.ABIv1(2.9.0): this version of perot-encrypt knows 2.3 and 2.4";
    assert!(said.contains(expected), "{said}");
    assert!(find(said.as_bytes(), b"panicked").is_none(), "{said}");
}

/// Returns the target folder in which this test was built: only this crate has to be compiled there.
fn target_of_this_test() -> PathBuf {
    std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned()
}
