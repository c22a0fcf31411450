//! Checks that users cannot use each other's certificates, and that no file in the place of a certificate can
//! block the mail.

use std::fs::{self, File};
use std::os::unix::fs::{chown, symlink, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use crate::{assert_nothing_stored, message, script};
use perot_testing::dovecot::{era, is_root, run, wait_until, Config, Dovecot, Era, Lmtp};
use perot_testing::{armored, decrypt, key_for};

/// Prepares a Dovecot for the users that [`add`] adds.
pub fn prepare(config: Config) -> Dovecot {
    let users = match era() {
        Era::V23 => {
            "passdb {\n  driver = static\n  args = password=test\n}\n\
             userdb {\n  driver = passwd-file\n  args = {dir}/users\n}\n"
        }
        Era::V24 => {
            "passdb static {\n  password = test\n}\n\
             userdb passwd-file {\n  passwd_file_path = {dir}/users\n}\n"
        }
    };
    Dovecot::prepare(&Config { users: Some(users.to_owned()), ..config })
}

/// Adds a user with the script `encrypt;`, and with a setting of their own.
pub fn add(dovecot: &Dovecot, name: &str, id: Option<u32>, setting: &str) {
    dovecot.script(name, &script("", "encrypt;"));
    let (home, users) = (dovecot.home(name), dovecot.path("users"));
    let id = id.map_or_else(String::new, |id| id.to_string());
    let line = format!("{name}::{id}:{id}::{}::userdb_sieve_perot_encrypt_{setting}\n", home.display());
    fs::write(&users, fs::read_to_string(&users).unwrap_or_default() + &line).unwrap();
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Gives all files below a path to the user, and closes them to others.
fn close(path: &Path, id: u32) {
    run(Command::new("chown").args(["-R", &format!("{id}:{id}")]).arg(path));
    mode(path, if path.is_dir() { 0o700 } else { 0o600 });
}

/// Needs root, to deliver as several users.
#[test]
fn a_user_of_the_system_learns_nothing_of_another() {
    const OWNER: u32 = 5004;
    const OTHER: u32 = 5005;
    assert!(is_root(), "run by anybody else, `make test` leaves this out");
    let mut dovecot = prepare(Config::default());
    let key = key_for("owner@t.org");
    let hex = key.fingerprint().to_hex();
    let shared = dovecot.certs().join("k.asc");
    fs::write(&shared, armored(&key)).unwrap();
    close(&shared, OWNER);
    let at_home = dovecot.give("a0@t.org", "k.asc", &armored(&key));
    let places = [at_home.parent().unwrap(), &at_home, &dovecot.certs(), &shared].map(Path::to_owned);
    let mut pairs = Vec::new();
    for (i, place) in places.iter().enumerate() {
        let pair = [(format!("a{i}@t.org"), OWNER), (format!("b{i}@t.org"), OTHER)];
        for (user, id) in &pair {
            add(&dovecot, user, Some(*id), &format!("certs={}", place.display()));
            dovecot.script(user, &script("", "encrypt \"owner@t.org\";"));
            close(&dovecot.home(user), *id);
        }
        pairs.push(pair.map(|(user, _)| user));
    }
    dovecot.launch();

    for ([owner, other], place) in pairs.iter().zip(&places) {
        // One connection is served by one process.
        let mut session = Lmtp::connect(&dovecot.path("run/lmtp"));
        let mut told = Vec::new();
        for target in ["owner@t.org", &hex, "nobody@t.org", "0123456789ABCDEF0123456789ABCDEF01234567"] {
            dovecot.script(other, &script("", &format!("encrypt \"{target}\";")));
            close(&dovecot.home(other), OTHER);
            // The first round comes before the owner's mail, the second after it, when the process has the
            // certificate in its cache.
            for _ in 0..2 {
                let name = format!("lmtp({other})");
                let lines = |log: &str| {
                    log.lines().filter(|l| l.contains(&name)).map(str::to_owned).collect::<Vec<_>>()
                };
                let before = lines(&dovecot.log()).len();
                let answer = session.deliver(&[other], &message("isolation")).remove(0);
                assert!(answer.starts_with("451 "), "{answer}\n{}", dovecot.log());
                assert_nothing_stored(&dovecot, other);
                let log = || lines(&dovecot.log())[before..].join("\n").replace(target, "TARGET");
                wait_until(|| log().contains("aborted due to temporary failure"), log);
                let log = log();
                assert!(log.contains("Permission denied") && !log.contains(&hex), "{place:?}: {log}");
                let line = log.lines().find(|line| line.contains("not encrypted, deferred: "));
                let why = line.unwrap_or_else(|| panic!("{log}")).split_once("deferred: ").unwrap().1;
                told.push((answer, why.to_owned()));

                let answer = session.deliver(&[owner], &message("isolation")).remove(0);
                assert!(answer.starts_with("250 "), "{place:?}: {answer}\n{}", dovecot.log());
                assert!(decrypt(&dovecot.only_message(owner), &key).ends_with(&message("isolation")));
                fs::remove_dir_all(dovecot.home(owner).join("Maildir")).unwrap();
            }
        }
        // The error is the same whether the file exists or not.
        assert!(told.iter().all(|t| *t == told[0]), "{place:?}: {told:#?}");
    }
}

/// A file may be readable for one group only, though the user is the same. Needs root, as above.
#[test]
fn a_user_of_the_system_in_another_group_is_another() {
    const ID: u32 = 5004;
    const GROUP: u32 = 5006;
    assert!(is_root(), "run by anybody else, `make test` leaves this out");
    let mut dovecot = prepare(Config::default());
    let key = key_for("in@t.org");
    let file = dovecot.certs().join("k.asc");
    fs::write(&file, armored(&key)).unwrap();
    chown(&file, None, Some(GROUP)).unwrap();
    mode(&file, 0o640);
    let certs = format!("certs={}", dovecot.certs().display());
    for (user, setting) in
        [("in@t.org", format!("{certs} userdb_mail_access_groups={GROUP}")), ("out@t.org", certs)]
    {
        add(&dovecot, user, Some(ID), &setting);
        dovecot.script(user, &script("", "encrypt \"in@t.org\";"));
        close(&dovecot.home(user), ID);
    }
    dovecot.launch();
    let mut session = Lmtp::connect(&dovecot.path("run/lmtp"));
    for (user, code) in
        [("out@t.org", "451 "), ("in@t.org", "250 "), ("out@t.org", "451 "), ("in@t.org", "250 ")]
    {
        let answer = session.deliver(&[user], &message("groups")).remove(0);
        assert!(answer.starts_with(code), "{user}: {answer}\n{}", dovecot.log());
        assert_nothing_stored(&dovecot, "out@t.org");
    }
}

/// An obstacle in the place of a certificate: its name, how to make it, and the errors for it as a file in a
/// folder and as a source.
type Obstacle = (&'static str, fn(&Path), &'static str, &'static str);

const OBSTACLES: [Obstacle; 8] = [
    (
        "fifo",
        |path| assert!(run(Command::new("mkfifo").arg(path)).status.success()),
        "it is not a regular file",
        "it is not a regular file",
    ),
    (
        "socket",
        |path| drop(UnixListener::bind(path).unwrap()),
        "it is not a regular file",
        "it is not a regular file",
    ),
    (
        "device",
        |path| symlink("/dev/zero", path).unwrap(),
        "it is a symbolic link, which is refused",
        "everybody may write it",
    ),
    (
        "loop",
        |path| symlink(path, path).unwrap(),
        "it is a symbolic link, which is refused",
        "it is a symbolic link, which is refused",
    ),
    (
        "endless",
        |path| File::create(path).unwrap().set_len(1 << 40).unwrap(),
        "it is larger than 64 MiB",
        "it is larger than 64 MiB",
    ),
    ("open", |path| file_with_mode(path, 0o666), "everybody may write it", "everybody may write it"),
    (
        "closed",
        |path| file_with_mode(path, 0),
        "it cannot be read: Permission",
        "it cannot be read: Permission",
    ),
    (
        "folder",
        |path| fs::create_dir(path).unwrap(),
        "it is not a regular file",
        "Searched: {place} (no certificate)",
    ),
];

fn file_with_mode(path: &Path, wanted: u32) {
    fs::write(path, armored(&key_for("somebody@t.org"))).unwrap();
    mode(path, wanted);
}

#[test]
fn what_is_no_certificate_is_refused_without_delay() {
    let mut dovecot = prepare(Config::default());
    // Dovecot's own folder would not do: all files in it are read in search of plaintext.
    let place = tempfile::tempdir().unwrap();
    mode(place.path(), 0o755);
    let mut rows = Vec::new();
    for (name, make, in_folder, as_source) in OBSTACLES {
        let folder = place.path().join(name);
        fs::create_dir(&folder).unwrap();
        let path = folder.join("k.asc");
        make(&path);
        for (user, place, why) in [
            (format!("{name}.in@t.org"), &folder, format!("k.asc: {in_folder}")),
            (format!("{name}@t.org"), &path, as_source.replace("{place}", path.to_str().unwrap())),
        ] {
            add(&dovecot, &user, None, &format!("certs={}", place.display()));
            rows.push((user, why));
        }
    }
    let key = key_for("good@t.org");
    dovecot.give("good@t.org", "k.asc", &armored(&key));
    add(&dovecot, "good@t.org", None, "certs=~/pgp-certs");
    dovecot.launch();

    let mut session = Lmtp::connect(&dovecot.path("run/lmtp"));
    for (user, why) in &rows {
        // The connection waits for an answer until its patience ends.
        let answer = session.deliver(&[user], &message("obstacle")).remove(0);
        assert!(answer.starts_with("451 "), "{user}: {answer}\n{}", dovecot.log());
        dovecot.log_line(&[user, "not encrypted, deferred: ", why]);
        assert_nothing_stored(&dovecot, user);
    }
    assert!(
        session.deliver(&["good@t.org"], &message("good")).remove(0).starts_with("250 "),
        "{}",
        dovecot.log()
    );
    assert!(decrypt(&dovecot.only_message("good@t.org"), &key).ends_with(&message("good")));
}
