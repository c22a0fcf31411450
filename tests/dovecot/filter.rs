//! Runs the command-line tool in other programs, as the pages show it: in Pigeonhole's `filter` by the name
//! of gpgit, in procmail and in maildrop.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::{message, SECRET};
use perot_testing::dovecot::{run, Config, Dovecot, Era};
use perot_testing::pages::blocks;
use perot_testing::{armored, decrypt, find, key_for, keyring};

const ME: &str = "me@domain.com";
const TOOL: &str = env!("CARGO_BIN_EXE_perot-encrypt");
const GPGIT: &str = "doc/admin/gpgit.md";
const COMMAND_LINE: &str = "doc/admin/command-line.md";

/// Runs shell commands of a page, with other paths.
pub fn shell(commands: &str, home: &Path, paths: &[(&str, &Path)]) {
    let commands = paths
        .iter()
        .fold(commands.to_owned(), |commands, (from, to)| commands.replace(from, to.to_str().unwrap()));
    let output = run(Command::new("sh").args(["-euc", &commands]).env("HOME", home));
    assert!(output.status.success(), "{commands}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// Prepares a Dovecot as the page has it, with the symbolic link at its place.
fn dovecot_with_gpgit() -> Dovecot {
    let mut dovecot = Dovecot::prepare(&Config::default());
    let programs = dovecot.path("bin");
    fs::create_dir(&programs).unwrap();
    let link = blocks(GPGIT, "One symbolic link").remove(0);
    let paths = [("$(command -v perot-encrypt)", Path::new(TOOL)), ("/etc/dovecot/sieve-filter", &programs)];
    shell(&link, &dovecot.path("home"), &paths);
    let configuration = blocks(GPGIT, "To the plugin").remove(usize::from(dovecot.era == Era::V24));
    let file = dovecot.path("dovecot.conf");
    let configuration = configuration.replace("/etc/dovecot/sieve-filter", programs.to_str().unwrap());
    fs::write(&file, fs::read_to_string(&file).unwrap() + &configuration).unwrap();
    dovecot.launch();
    dovecot
}

#[test]
fn an_existing_installation_of_gpgit_goes_on() {
    let dovecot = dovecot_with_gpgit();
    let key = key_for(ME);
    let user = tempfile::tempdir().unwrap();
    keyring(user.path(), &key);
    shell(&blocks(GPGIT, "Take the certificates along")[0], user.path(), &[]);
    let exported = fs::read(user.path().join("pgp-certs/all.pgp")).unwrap();
    // The other way has one user for all mailboxes.
    let system = blocks(GPGIT, "Take the certificates along").remove(1).replace("sudo -H -u vmail ", "");
    let shared = user.path().join("shared");
    shell(&system, user.path(), &[("/etc/dovecot/pgp-certs", &shared)]);
    assert_eq!(fs::read(shared.join("all.pgp")).unwrap(), exported);
    let check = blocks(GPGIT, "Take the certificates along").remove(2);
    shell(&check, user.path(), &[("perot-encrypt", Path::new(TOOL))]);

    let ours = dovecot.give(ME, "all.pgp", &exported);

    let scripts = blocks(GPGIT, "One symbolic link");
    let elsewhere = scripts[2].replace("/srv/certs", ours.parent().unwrap().to_str().unwrap());
    let inline =
        scripts[1].replace("\"me@domain.com\"", "[\"--encrypt-mode\", \"prefer-inline\", \"me@domain.com\"]");
    assert_ne!(inline, scripts[1]);
    for (user, script) in
        [(ME, &scripts[1]), ("elsewhere@domain.com", &elsewhere), ("inline@domain.com", &inline)]
    {
        if user == "inline@domain.com" {
            dovecot.give(user, "all.pgp", &exported);
        }
        dovecot.script(user, script);
        let answer = dovecot.deliver(user, &message("gpgit"));
        assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
        let stored = dovecot.only_message(user);
        assert!(decrypt(&stored, &key).ends_with(&message("gpgit")), "{}", dovecot.log());
    }
    dovecot.log_line(&["perot-encrypt: --encrypt-mode prefer-inline: PGP/MIME is written all the same"]);
    dovecot.assert_nowhere(SECRET);
}

/// This is up to Pigeonhole. If the test fails, Pigeonhole has become better: correct the page.
#[test]
fn a_filter_that_fails_stores_the_mail_in_clear_and_the_page_says_so() {
    let dovecot = dovecot_with_gpgit();
    dovecot.script(ME, &blocks(GPGIT, "One symbolic link")[1]);
    assert!(dovecot.deliver(ME, &message("failing")).starts_with("250 "));
    assert!(dovecot.only_message(ME).ends_with(b"sings.\n"), "{}", dovecot.log());
    dovecot.log_line(&["lmtp: Error: perot-encrypt: no certificate for me@domain.com. Searched: "]);
    dovecot.log_line(&["Info: ", "exec:", "bin/gpgit (", "): Terminated with non-zero exit code 75"]);

    // The same happens if the program is missing.
    let missing = "missing@domain.com";
    dovecot.script(missing, "require \"vnd.dovecot.filter\"; filter \"missing\";");
    assert!(dovecot.deliver(missing, &message("failing")).starts_with("250 "));
    assert!(dovecot.only_message(missing).ends_with(b"sings.\n"), "{}", dovecot.log());

    // These are the remedies on the same page.
    let (caught, plugin) = ("caught@domain.com", "plugin@domain.com");
    let scripts = blocks(GPGIT, "To the plugin");
    for (user, script) in [(caught, &scripts[2]), (plugin, &scripts[3])] {
        dovecot.script(user, script);
        let answer = dovecot.deliver(user, &message("deferred"));
        assert!(
            answer.starts_with("451 ") && answer.contains("(no_certificate)"),
            "{answer}\n{}",
            dovecot.log()
        );
        assert!(dovecot.stored(user).is_empty());
    }
    let key = key_for(ME);
    for user in [caught, plugin] {
        dovecot.give(user, "me.asc", &armored(&key));
        assert!(dovecot.deliver(user, &message("now")).starts_with("250 "), "{}", dovecot.log());
        assert!(decrypt(&dovecot.only_message(user), &key).ends_with(&message("now")));
    }
}

/// Delivers a message with a delivery program, whose configuration file is made of `recipes`.
fn deliver_by(program: &str, folder: &Path, recipes: &str) -> Output {
    let (configuration, mail) = (folder.join("recipes"), folder.join("mail.eml"));
    let recipes = recipes.replace("/usr/local/bin/perot-encrypt", TOOL);
    let set = |name: &str, value: &str| format!("{name}=\"{}/{value}\"\n", folder.display());
    let settings = set("DEFAULT", "mbox") + &set("PEROT_ENCRYPT_CERTS", "certs");
    fs::write(&configuration, settings + &recipes).unwrap();
    // maildrop refuses a configuration that others may read.
    fs::set_permissions(&configuration, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&mail, message("piped")).unwrap();
    run(Command::new(program).arg(&configuration).stdin(Stdio::from(fs::File::open(mail).unwrap())))
}

#[test]
fn procmail_and_maildrop_encrypt_or_defer() {
    let key = key_for(ME);
    for program in ["procmail", "maildrop"] {
        let recipes = blocks(COMMAND_LINE, &format!("In {program}")).remove(0);
        let folder = tempfile::tempdir().unwrap();
        let certs = folder.path().join("certs");
        fs::create_dir(&certs).unwrap();
        let mbox = || fs::read(folder.path().join("mbox")).unwrap_or_default();

        let output = deliver_by(program, folder.path(), &recipes);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(75), "{program}: {said}");
        assert!(said.contains("no certificate for me@domain.com"), "{program}: {said}");
        assert!(mbox().is_empty(), "{program}");

        fs::write(certs.join("me.asc"), armored(&key)).unwrap();
        let output = deliver_by(program, folder.path(), &recipes);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{program}: {said}");
        assert!(find(&mbox(), SECRET.as_bytes()).is_none(), "{program}");
        // procmail adds an empty line.
        assert!(find(&decrypt(&mbox(), &key), &message("piped")).is_some(), "{program}: {said}");
    }
}

/// This is the reason for the second recipe.
#[test]
fn procmail_without_the_second_recipe_stores_the_mail_in_clear() {
    let recipes = blocks(COMMAND_LINE, "In procmail").remove(0);
    let (first, _) = recipes.split_once(":0e").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let output = deliver_by("procmail", folder.path(), first);
    let mbox = fs::read(folder.path().join("mbox")).unwrap();
    assert!(output.status.success() && find(&mbox, SECRET.as_bytes()).is_some());
    assert!(find(&output.stderr, b"Rescue of unfiltered data succeeded").is_some());
}
