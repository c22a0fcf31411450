//! Checks the symbols of the plugins that a process can see.

use std::path::{Path, PathBuf};
use std::process::Command;

use perot_testing::dovecot::{headers_dir, mail_plugin_file, plugin_file, run};

/// Each plugin, what is in front of its symbols, and these.
fn plugins() -> [(PathBuf, &'static str, &'static [&'static str]); 2] {
    [
        (plugin_file(), "sieve_perot_encrypt_plugin", &["deinit", "init", "load", "unload", "version"]),
        (mail_plugin_file(), "perot_encrypt_plugin", &["deinit", "init", "version"]),
    ]
}

/// All that is exported enters the process, and what others export there with the same name would be taken for it.
#[test]
fn exactly_the_symbols_of_the_interface_are_exported() {
    for (file, prefix, names) in plugins() {
        let mut nm = Command::new("nm");
        let output = run(nm.args(["-D", "--defined-only", "--format=just-symbols"]).arg(file));
        let mut symbols: Vec<&str> = std::str::from_utf8(&output.stdout).unwrap().lines().collect();
        symbols.sort_unstable();
        let expected: Vec<String> = names.iter().map(|name| format!("{prefix}_{name}")).collect();
        assert_eq!(symbols, expected);
    }
}

/// It works where Sieve is not loaded.
#[test]
fn the_mail_plugin_wants_nothing_of_pigeonhole() {
    let output = run(Command::new("nm").args(["-D", "--undefined-only"]).arg(mail_plugin_file()));
    let symbols = String::from_utf8(output.stdout).unwrap();
    assert!(symbols.contains(" mail_storage_hooks_add") && !symbols.contains("sieve"), "{symbols}");
}

#[test]
fn they_stay_loaded() {
    for (file, ..) in plugins() {
        let output = run(Command::new("readelf").arg("-d").arg(file));
        assert!(String::from_utf8_lossy(&output.stdout).contains("NODELETE"));
    }
}

#[test]
fn their_abi_versions_are_those_of_the_headers() {
    let headers = [("sieve/pigeonhole-config.h", "PIGEONHOLE"), ("config.h", "DOVECOT")];
    for ((file, ..), (header, name)) in plugins().into_iter().zip(headers) {
        let version = abi_version(&headers_dir().join(header), name);
        let plugin = std::fs::read(file).unwrap();
        assert!(perot_testing::find(&plugin, format!("{version}\0").as_bytes()).is_some(), "{version}");
    }
}

fn abi_version(header: &Path, name: &str) -> String {
    let header = std::fs::read_to_string(header).unwrap();
    let begin = format!("#define {name}_ABI_VERSION ");
    header.lines().find_map(|line| line.strip_prefix(&begin)).unwrap().trim_matches('"').to_owned()
}
