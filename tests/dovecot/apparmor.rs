//! Checks doc/admin/apparmor.md: Debian's profiles and the lines of the page allow all that the plugins need.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use perot_testing::dovecot::run;
use perot_testing::mta::unpacked;
use perot_testing::pages::shown;

/// What is read, written and loaded, and whether Debian's profile for `lmtp` allows it.
const NEEDED: [(&str, &str, bool); 14] = [
    ("/usr/lib/dovecot/modules/lib00_perot_encrypt_plugin.so", "mr", true),
    ("/usr/lib/dovecot/modules/sieve/lib90_sieve_perot_encrypt_plugin.so", "mr", true),
    ("/usr/lib/dovecot/modules/settings/libsieve_perot_encrypt_settings.so", "mr", true),
    ("/usr/lib/x86_64-linux-gnu/libcrypto.so.3", "mr", true),
    ("/var/vmail/me/pgp-certs/", "r", true),
    ("/var/vmail/me/pgp-certs/me.asc", "r", true),
    ("/home/me/pgp-certs/", "r", false),
    ("/home/me/pgp-certs/me.asc", "r", false),
    ("/etc/dovecot/pgp-certs/", "r", false),
    ("/etc/dovecot/pgp-certs/me@domain.com.asc", "r", false),
    // A file without a name, as the kernel calls it; where the file system has none of these; the index of a large folder.
    ("/tmp/#1234", "rw", false),
    ("/tmp/.tmpAbCdEf", "rw", false),
    ("/tmp/", "r", false),
    ("/tmp/perot-encrypt-index-1000-d96c12", "rw", false),
];

/// Returns the rules of a profile for files: globs without variables, and permissions.
fn rules(preprocessed: &str) -> Vec<(String, String)> {
    let mut variables = HashMap::<String, Vec<String>>::new();
    let mut rules = Vec::new();
    // Programs that it starts have profiles of their own inside, at its end.
    let own =
        preprocessed.match_indices("\n  profile ").next().map_or(preprocessed.len(), |(inner, _)| inner);
    for line in preprocessed[..own].lines().map(|line| line.split(", #").next().unwrap().trim()) {
        if let Some((name, values)) = line.split_once('=').filter(|_| line.starts_with('@')) {
            let values = values.split_whitespace().map(|value| value.trim_matches('"').to_owned());
            variables.entry(name.trim_end_matches([' ', '+']).to_owned()).or_default().extend(values);
        }
        let rule = line.trim_start_matches("owner ").trim_end_matches(',');
        if let [path, permissions] = rule.split_whitespace().collect::<Vec<_>>()[..] {
            if path.starts_with(['/', '@']) {
                rules.extend(globs(path, &variables).into_iter().map(|glob| (glob, permissions.to_owned())));
            }
        }
    }
    rules
}

/// Expands variables and alternatives.
fn globs(path: &str, variables: &HashMap<String, Vec<String>>) -> Vec<String> {
    let Some(end) = path.find('}') else { return vec![path.replace("//", "/")] };
    let begin = path[..end].rfind('{').unwrap();
    let (before, inside, after) = (&path[..begin], &path[begin + 1..end], &path[end + 1..]);
    let (before, values) = match before.strip_suffix('@') {
        Some(before) => (before, variables.get(&format!("@{{{inside}}}")).cloned().unwrap_or_default()),
        None => (before, inside.split(',').map(str::to_owned).collect()),
    };
    values.iter().flat_map(|value| globs(&format!("{before}{value}{after}"), variables)).collect()
}

/// Returns true if a glob of AppArmor matches a path: `**` is any text, `*` any without a slash.
fn matches(glob: &[u8], path: &[u8]) -> bool {
    match glob {
        [] => path.is_empty(),
        [b'*', b'*', rest @ ..] => (1..=path.len()).any(|taken| matches(rest, &path[taken..])),
        [b'*', rest @ ..] => {
            let most = path.iter().position(|&b| b == b'/').unwrap_or(path.len());
            (0..=most).any(|taken| matches(rest, &path[taken..]))
        }
        [b'[', b'0', b'-', b'9', b']', rest @ ..] => {
            path.first().is_some_and(u8::is_ascii_digit) && matches(rest, &path[1..])
        }
        [byte, rest @ ..] => path.first() == Some(byte) && matches(rest, &path[1..]),
    }
}

fn allows(rules: &[(String, String)], path: &str, permissions: &str) -> bool {
    let of_path = rules.iter().filter(|(glob, _)| matches(glob.as_bytes(), path.as_bytes()));
    let allowed: String = of_path.map(|(_, permissions)| permissions.as_str()).collect();
    permissions.chars().all(|permission| allowed.contains(permission))
}

/// Returns the rules of the profile, which must compile, below this folder in place of /etc/apparmor.d.
fn profile(base: &Path, name: &str) -> Vec<(String, String)> {
    let parser = ["sbin", "usr/sbin"].map(|folder| unpacked("apparmor").join(folder).join("apparmor_parser"));
    let profile = unpacked("apparmor-profiles").join("usr/share/apparmor/extra-profiles").join(name);
    let parser = parser.into_iter().find(|parser| parser.exists()).expect("apparmor_parser");
    let parse = |options: &[&str]| {
        let mut parse = Command::new(&parser);
        let output = run(parse.arg("--base").arg(base).args(options).arg(&profile));
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    parse(&["--skip-kernel-load", "--skip-cache"]);
    rules(&parse(&["--preprocess"]))
}

#[test]
fn what_the_plugins_need_is_allowed() {
    let [lines, _] = shown("doc/admin/apparmor.md", "What to write");
    let ours = tempfile::tempdir().unwrap();
    let debians = unpacked("apparmor").join("etc/apparmor.d");
    assert!(run(Command::new("cp").arg("-r").arg(&debians).arg(ours.path())).status.success());
    let base = ours.path().join("apparmor.d");
    fs::create_dir_all(base.join("abstractions/dovecot-common.d")).unwrap();
    fs::write(base.join("abstractions/dovecot-common.d/perot-encrypt"), &lines).unwrap();

    for name in ["lmtp", "dovecot-lda", "imap", "managesieve"] {
        let rules = profile(&base, &format!("usr.lib.dovecot.{name}"));
        for (path, permissions, _) in NEEDED {
            assert!(allows(&rules, path, permissions), "{name}: {path} {permissions}");
        }
        assert!(!allows(&rules, "/home/me/.ssh/id", "r") && !allows(&rules, "/tmp/other", "r"), "{name}");
    }
    let rules = profile(&debians, "usr.lib.dovecot.lmtp");
    for (path, permissions, debians) in NEEDED {
        assert_eq!(allows(&rules, path, permissions), debians, "{path} {permissions}");
    }
}
