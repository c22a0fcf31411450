//! Checks that dovecot-headers/ABI.md is right for the installed headers.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use perot_testing::dovecot::{era, headers_dir, modules_dir, Era};
use perot_testing::find;
use perot_testing::pages::{code, project, read, rows};

const PAGE: &str = "dovecot-headers/ABI.md";

/// The first cell of a row, code that compiles only with the headers of 2.3, and code that compiles only with
/// those of 2.4.
const DIFFERENT: [(&str, &str, &str); 7] = [
    (
        "sieve_extension_register",
        "const struct sieve_extension *(*f)(struct sieve_instance *, const struct sieve_extension_def *, bool) =
            sieve_extension_register;",
        "int (*f)(struct sieve_instance *, const struct sieve_extension_def *, bool, const struct sieve_extension **) =
            sieve_extension_register;",
    ),
    (
        "sieve_extension_def.load",
        "bool (*f(struct sieve_extension_def *def))(const struct sieve_extension *, void **) { return def->load; }",
        "int (*f(struct sieve_extension_def *def))(const struct sieve_extension *, void **) { return def->load; }",
    ),
    (
        "settings",
        "const char *(*f)(struct sieve_instance *, const char *) = sieve_setting_get;",
        "#include \"settings.h\"
        struct any { pool_t pool; };
        int f(struct event *event, const struct setting_parser_info *info, const struct any **set, const char **error)
        { return settings_get(event, info, 0, set, error); }",
    ),
    (
        "sieve_max_cpu_time",
        "unsigned int f(struct sieve_instance *svinst) { return svinst->max_cpu_time_secs; }",
        "unsigned int f(struct sieve_instance *svinst) { return svinst->set->max_cpu_time; }",
    ),
    (
        "settings of the mail plugin",
        "const char *(*f)(struct mail_user *, const char *) = mail_user_plugin_getenv;",
        "#include \"settings.h\"
        struct any { pool_t pool; };
        int f(struct mail_user *user, const struct setting_parser_info *info, const struct any **set, const char **error)
        { return settings_get(user->event, info, 0, set, error); }",
    ),
    (
        "special uses of a mailbox",
        "const char *f(struct mailbox *box) { return box->set->special_use; }",
        "const char *f(struct mailbox *box) { return t_array_const_string_join(&box->set->special_use, \" \"); }",
    ),
    (
        "PIGEONHOLE_ABI_VERSION",
        "_Static_assert(__builtin_strncmp(PIGEONHOLE_ABI_VERSION, \"0.5.ABIv\", 8) == 0, \"\");",
        "_Static_assert(__builtin_strncmp(PIGEONHOLE_ABI_VERSION, \"2.4.ABIv\", 8) == 0, \"\");",
    ),
];

/// Rows about things that no header shows, each with the place that shows them.
const NOT_IN_HEADERS: [(&str, &str); 6] = [
    ("<plugin>_load", "Pigeonhole looks the function up by its name; the tests in this folder run it"),
    ("who knows the settings", "documents.rs: doveconf takes the examples"),
    ("imapsieve_expunge_discarded", "below: which module defines it"),
    ("sieve_user_email", "users.rs: both plugins read it"),
    ("version of the mail plugin", "exports.rs"),
    ("sieve_environment_get_homedir", "below: in which header it is"),
];

fn compiles(text: &str) -> bool {
    let include = headers_dir();
    let mut cc = Command::new("cc");
    cc.args(["-std=gnu11", "-fsyntax-only", "-Werror", "-DHAVE_CONFIG_H", "-D_GNU_SOURCE"]);
    cc.arg(format!(
        "-DPEROT_DOVECOT_ERA={}",
        match era() {
            Era::V23 => 23,
            Era::V24 => 24,
        }
    ));
    cc.arg("-isystem").arg(&include).arg("-isystem").arg(include.join("sieve"));
    cc.arg("-I").arg(project("dovecot-headers")).args(["-x", "c", "-"]);
    let mut cc = cc.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().expect("apt install gcc");
    write!(cc.stdin.take().unwrap(), "#include \"pigeonhole.h\"\n{text}\n").unwrap();
    cc.wait().unwrap().success()
}

#[test]
fn what_differs_between_the_eras_differs() {
    assert!(compiles(""));
    let is_24 = era() == Era::V24;
    for (what, in_23, in_24) in DIFFERENT {
        assert_eq!((compiles(in_23), compiles(in_24)), (!is_24, is_24), "{what}");
    }
    let homedir = if is_24 { "sieve-common.h" } else { "sieve-settings.h" };
    let header = fs::read_to_string(headers_dir().join("sieve").join(homedir)).unwrap();
    assert!(header.contains("sieve_environment_get_homedir("), "{homedir}");
    let module = fs::read(modules_dir().join("settings/libpigeonhole_settings.so")).unwrap_or_default();
    assert_eq!(find(&module, b"\0imapsieve_expunge_discarded\0").is_some(), is_24);
}

#[test]
fn each_row_is_looked_at_and_says_where_it_is_handled() {
    let rows = rows(PAGE);
    let mut listed: Vec<&str> = rows
        .iter()
        .map(|(_, cells)| if cells[0].starts_with('`') { code(&cells[0]) } else { &cells[0] })
        .collect();
    let mut known: Vec<&str> = DIFFERENT.iter().map(|row| row.0).collect();
    known.extend(NOT_IN_HEADERS.iter().map(|row| row.0));
    listed.sort_unstable();
    known.sort_unstable();
    assert_eq!(listed, known);
    for (_, cells) in &rows {
        let spans: Vec<&str> = cells[3].split('`').skip(1).step_by(2).collect();
        let (files, names): (Vec<&str>, Vec<&str>) =
            spans.into_iter().partition(|span| [".c", ".h", ".rs"].iter().any(|end| span.ends_with(end)));
        assert!(!files.is_empty(), "{cells:?}");
        let path = |file: &str| {
            if file.contains('/') || project(file).exists() {
                file.to_owned()
            } else {
                let folder = if file == "pigeonhole.h" { "dovecot-headers" } else { "c-shim" };
                format!("{folder}/{file}")
            }
        };
        let texts: String = files.iter().map(|file| read(&path(file))).collect();
        for name in names.iter().filter(|name| name.contains('_') || name.ends_with("()")) {
            assert!(texts.contains(name.trim_end_matches("()")), "{name}: {cells:?}");
        }
    }
}
