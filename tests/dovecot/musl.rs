//! Checks that nothing here is of glibc alone: Alpine has another C library, musl. No Dovecot is built for it here, so
//! nothing runs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use perot_testing::dovecot::{era, headers_dir, mail_plugin_file, plugin_file, run, Era};
use perot_testing::pages::project;

fn output(command: &mut Command) -> String {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The headers of Dovecot are those for glibc, and say so in a few words that the shim does not ask for.
#[test]
fn the_shim_compiles_with_the_headers_of_musl() {
    let era = match era() {
        Era::V23 => 23,
        Era::V24 => 24,
    };
    let files = fs::read_dir(project("c-shim")).unwrap().map(|entry| entry.unwrap().path());
    let mut compile = Command::new("musl-gcc");
    compile.args(["-fsyntax-only", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-Wmissing-prototypes"]);
    compile.args([
        "-DHAVE_CONFIG_H",
        "-D_GNU_SOURCE",
        "-DPEROT_SIEVE",
        &format!("-DPEROT_DOVECOT_ERA={era}"),
    ]);
    compile.arg("-isystem").arg(headers_dir()).arg("-isystem").arg(headers_dir().join("sieve"));
    compile.arg("-I").arg(project("c-shim")).arg("-I").arg(project("dovecot-headers"));
    output(compile.args(files.filter(|file| file.extension().is_some_and(|e| e == "c"))));
}

/// Returns the symbols that `nm` names, of these kinds.
fn symbols(file: &Path, options: &[&str], kinds: &str) -> Vec<String> {
    let named = output(Command::new("nm").args(options).arg(file));
    let columns = named.lines().map(|line| line.split_whitespace().rev().collect::<Vec<_>>());
    let of_kind = columns.filter(|line| line.len() > 1 && kinds.contains(line[1]));
    of_kind.map(|line| line[0].to_owned()).collect()
}

#[test]
fn the_plugins_call_nothing_that_musl_lacks() {
    let library = format!("/usr/lib/{}-linux-musl/libc.a", std::env::consts::ARCH);
    let musl: BTreeSet<_> =
        symbols(Path::new(&library), &["--defined-only"], "TWVBDRi").into_iter().collect();
    assert!(!musl.contains("gnu_get_libc_version"), "{library} is no musl");
    for plugin in [plugin_file(), mail_plugin_file()] {
        // Rust's own library does without a symbol that is weak.
        let called = symbols(&plugin, &["--dynamic", "--undefined-only"], "U");
        let called: Vec<_> = called.iter().filter_map(|name| name.split_once("@GLIBC_")).collect();
        assert!(called.len() > 50, "{called:?}");
        for (name, _) in called {
            // musl has no second name for a function with large files.
            let is_there =
                musl.contains(name) || name.strip_suffix("64").is_some_and(|name| musl.contains(name));
            assert!(is_there, "{}: {name}", plugin.display());
        }
    }
}
