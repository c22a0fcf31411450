//! Checks that valgrind finds no error, and that it would find one. (`make memcheck` runs the other tests
//! under it.)

use crate::{compile_library, literal, message, script};
use perot_testing::dovecot::{Config, Dovecot, Lmtp};
use perot_testing::{armored, key_for};

const ME: &str = "me@domain.com";

/// Delivers a message with each of the scripts, all with one process. Returns the findings of valgrind. Each
/// script comes with the beginning of the answer.
fn faults_of(scripts: &[(&str, &str)]) -> Vec<String> {
    faults_in(Dovecot::start(&Config { valgrind: true, ..Config::default() }), scripts)
}

fn faults_in(mut dovecot: Dovecot, scripts: &[(&str, &str)]) -> Vec<String> {
    dovecot.give(ME, "k.asc", &armored(&key_for(ME)));
    let requires = ", \"copy\", \"fileinto\", \"mailbox\", \"variables\", \"foreverypart\", \"mime\"";
    // It is so large that it is not kept in memory when encrypted.
    let large = [message("memory"), b"0123456789abcdef0123456789abcdef\r\n".repeat(5000)].concat();
    let mut session = Lmtp::connect(&dovecot.path("run/lmtp"));
    for (body, code) in scripts {
        dovecot.script(ME, &script(requires, body));
        for message in [&message("memory"), &large] {
            let answer = session.deliver(&[ME], message).remove(0);
            assert!(answer.starts_with(code), "{body}: {answer}\n{}", dovecot.log());
        }
    }
    drop(session);
    let valgrind = dovecot.valgrind.take().unwrap();
    dovecot.stop();
    let findings = valgrind.findings();
    assert_eq!(findings.with_plugin, 1, "processes with the plugin");
    findings.faults
}

#[test]
fn a_fault_of_the_plugin_is_noticed() {
    let mut dovecot = Dovecot::prepare(&Config {
        valgrind: true,
        extra_23: "import_environment = $import_environment LD_PRELOAD={dir}/fault.so\n".into(),
        extra_24: "import_environment {\n  LD_PRELOAD = {dir}/fault.so\n}\n".into(),
        ..Config::default()
    });
    compile_library("fault.c", &dovecot.path("fault.so"));
    dovecot.launch();
    let log = faults_in(dovecot, &[("encrypt \"nobody@test.invalid\";", "451 ")]).concat();
    for text in [
        "Invalid read of size 1",
        "getrusage (fault.c:",
        "perot_run_begin (perot-run.c:",
        "0 bytes after a block of size 13",
        "are definitely lost",
    ] {
        assert!(log.contains(text), "'{text}' is not in\n{log}");
    }
}

#[test]
fn success_failure_and_panic_are_clean() {
    let with_literal = literal(&armored(&key_for("somebody@else.org")));
    let faults = faults_of(&[
        ("encrypt;", "250 "),
        ("encrypt :hidesubject; keep; if encrypted { encrypt :force; }", "250 "),
        (&with_literal, "250 "),
        ("fileinto :copy :create \"before\"; encrypt; fileinto :create \"behind\";", "250 "),
        ("encrypt :try \"nobody@t.org\"; if not encrypt { stop; }", "250 "),
        ("set \"x\" \"me@domain.com\"; encrypt [\"${x}\", \"me+detail@domain.com\"]; stop;", "250 "),
        ("encrypt; fileinto \"nowhere\";", "250 "),
        ("encrypt \"nobody@t.org\";", "451 "),
        ("keep; foreverypart { encrypt; }", "451 "),
        ("encrypt; encrypt :force \"panic@test.invalid\";", "451 "),
    ]);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
