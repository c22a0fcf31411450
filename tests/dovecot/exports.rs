//! Checks the symbols of the plugin that a process can see.

use std::process::Command;

use perot_testing::dovecot::{plugin_file, run};

#[test]
fn exactly_the_five_symbols_of_the_interface_are_exported() {
    let output =
        run(Command::new("nm").args(["-D", "--defined-only", "--format=just-symbols"]).arg(plugin_file()));
    let mut symbols: Vec<&str> = std::str::from_utf8(&output.stdout).unwrap().lines().collect();
    symbols.sort_unstable();
    let expected =
        ["deinit", "init", "load", "unload", "version"].map(|s| format!("sieve_perot_encrypt_plugin_{s}"));
    assert_eq!(symbols, expected);
}

#[test]
fn it_stays_loaded() {
    let output = run(Command::new("readelf").arg("-d").arg(plugin_file()));
    assert!(String::from_utf8_lossy(&output.stdout).contains("NODELETE"));
}

#[test]
fn its_abi_version_is_that_of_the_headers() {
    let header = std::fs::read_to_string("/usr/include/dovecot/sieve/pigeonhole-config.h").unwrap();
    let line = header.lines().find(|l| l.starts_with("#define PIGEONHOLE_ABI_VERSION ")).unwrap();
    let version = line.split('"').nth(1).unwrap();
    let plugin = std::fs::read(plugin_file()).unwrap();
    assert!(perot_testing::find(&plugin, format!("{version}\0").as_bytes()).is_some(), "{version}");
}
