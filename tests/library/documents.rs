//! Compares the lists in the documents with the facts: crates, messages, pages. Checks that all links lead
//! somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use perot_testing::pages::{code, project, read, rows, template};

use crate::source::{literals, sources};

const DEPENDENCIES: &str = "doc/dev/dependencies.md";
const MESSAGES: &str = "doc/admin/messages.md";

/// Panics unless `listed`, from a page, equals `there_is`.
fn assert_listed(page: &str, what: &str, listed: &BTreeSet<String>, there_is: &BTreeSet<String>) {
    let lacks: Vec<&String> = there_is.difference(listed).collect();
    let too_many: Vec<&String> = listed.difference(there_is).collect();
    let same = lacks.is_empty() && too_many.is_empty();
    assert!(same, "{page}, {what}: it lacks {lacks:#?}, and lists what there is not: {too_many:#?}");
}

/// Returns the crates and their licences, as cargo knows them from Cargo.toml and Cargo.lock, without those
/// of this project.
fn crates(arguments: &str) -> BTreeMap<String, String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(project("")).args(["tree", "--locked", "--offline", "--prefix", "none"]);
    cargo.args(["--target", "x86_64-unknown-linux-gnu", "--format", "{p}|{l}"]);
    let output = cargo.args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let parse = |line: &str| {
        let (package, licence) = line.split_once('|').unwrap();
        (package.split(' ').next().unwrap().to_owned(), licence.trim_end_matches(" (*)").to_owned())
    };
    // Only crates in this tree have a path.
    lines.lines().filter(|line| !line.contains(" (/")).map(parse).collect()
}

#[test]
fn every_direct_dependency_is_listed() {
    let listed = rows(DEPENDENCIES).into_iter().filter(|(heading, _)| heading == "Direct");
    let listed: Vec<_> = listed.map(|(_, cells)| (code(&cells[0]).to_owned(), cells[1].clone())).collect();
    let mut known = BTreeSet::new();
    for (part, arguments) in [
        ("plugin", "--edges normal --features plugin"),
        ("tool", "--edges normal --features tool"),
        ("man pages", "--edges normal --features man"),
        ("build", "--edges build --features plugin"),
        ("tests", "--edges dev"),
    ] {
        let direct: BTreeSet<String> = crates(&format!("--depth 1 {arguments}")).into_keys().collect();
        let listed: BTreeSet<String> = listed
            .iter()
            .filter(|(_, parts)| parts.split(", ").any(|p| p == part))
            .map(|row| row.0.clone())
            .collect();
        // The tool includes all crates of the plugin, and the man pages all of the tool.
        let added = match part {
            "tool" | "man pages" => &direct - &known,
            _ => direct.clone(),
        };
        assert_listed(DEPENDENCIES, part, &listed, &added);
        known.extend(direct);
    }
}

#[test]
fn every_crate_in_the_plugin_is_listed_with_its_licence() {
    let listed = rows(DEPENDENCIES).into_iter().filter(|(heading, _)| heading == "In the plugin");
    let listed = listed.map(|(_, cells)| format!("{} ({})", code(&cells[0]), cells[1])).collect();
    let linked = crates("--edges normal,no-proc-macro --features plugin");
    let linked = linked.iter().map(|(name, licence)| format!("{name} ({licence})")).collect();
    assert_listed(DEPENDENCIES, "in the plugin", &listed, &linked);
}

/// Texts in the source that look like messages, but that nobody has to look up.
const NO_MESSAGES: &[&str] = &[
    // These replace `<what>` or `<places>`, where the page explains them.
    "the certificate in the script",
    "the message",
    "the header of the message",
    "User IDs",
    "signatures of its own",
    "not there",
    // The page has the plugin's words, not those of the tool or of the library's tests.
    "the certificate given",
    "for temporary files",
    "the limit of CPU time",
    // These are traces and dumps.
    "<>, <> post-quantum algorithms",
    "the message is encrypted already",
    "certificate <> with <>",
    "a key for S/MIME",
    "encrypted test: all of the message is encrypted: <>",
    "invalid is_test flag",
    "unknown optional operand",
    "failed to read <> operand",
    "invalid <> operand",
    "(the owner)",
    // Whoever builds it with both features reads this.
    "this is one plugin or the other",
    // These are names that Dovecot requires, and the default of a setting.
    "(encrypted message)",
    "see to the message as it was",
    "~/pgp-certs /etc/dovecot/pgp-certs",
    // A file begins with this.
    "perot-encrypt index ",
];

#[test]
fn every_message_is_listed() {
    let listed: BTreeSet<String> = listed_messages().collect();
    let mut written: BTreeSet<String> = BTreeSet::new();
    let ours = sources("src").into_iter().filter(|file| !file.ends_with("tests.rs"));
    for file in ours.chain(sources("c-shim")) {
        let text = fs::read_to_string(&file).unwrap();
        let in_c = file.starts_with(project("c-shim"));
        for text in texts(text.split("#[cfg(test)]").next().unwrap(), in_c) {
            let message = if in_c { without_conversions(&text) } else { template(&text, '{', '}') };
            if is_message(&message) {
                written.insert(message);
            }
        }
    }
    for other in NO_MESSAGES {
        assert!(written.remove(*other), "'{other}' is not in the source any more: take it out of this test");
    }
    // A message is put together from several texts, and the page has whole messages. So each text must be
    // part of a message, and each message must be made of such texts.
    let pieces: BTreeSet<&str> =
        written.iter().flat_map(|text| text.split("<>")).filter(|p| is_message(p)).collect();
    let lacks: Vec<_> =
        pieces.iter().filter(|piece| !listed.iter().any(|line| line.contains(*piece))).collect();
    let mut longest_first: Vec<&str> = pieces.iter().copied().collect();
    longest_first.sort_by_key(|piece| std::cmp::Reverse(piece.len()));
    let is_unknown = |line: &&String| {
        let left = longest_first.iter().fold((*line).clone(), |left, piece| left.replace(piece, "<>"));
        // The rest may be a name with a word beside it.
        left.split("<>").any(|left| words(left) > 2)
    };
    let too_many: Vec<&String> = listed.iter().filter(is_unknown).collect();
    let same = lacks.is_empty() && too_many.is_empty();
    assert!(same, "{MESSAGES} lacks {lacks:#?}, and lists what there is not: {too_many:#?}");
}

#[test]
fn every_message_says_what_to_do() {
    for (heading, cells) in rows(MESSAGES) {
        let full = cells.len() == 3 && cells.iter().all(|cell| !cell.is_empty());
        assert!(full, "{MESSAGES}, {heading}: it says, what to do, what it means: {cells:?}");
    }
}

#[test]
fn every_link_leads_somewhere() {
    let pages =
        ["", "doc", "doc/admin", "doc/user", "doc/dev"].map(|folder| fs::read_dir(project(folder)).unwrap());
    let pages = pages.into_iter().flatten().map(|entry| entry.unwrap().path());
    let (mut dead, mut links) = (Vec::new(), 0);
    for page in pages.filter(|page| page.extension().is_some_and(|x| x == "md")) {
        let text = fs::read_to_string(&page).unwrap();
        let targets =
            text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
        for target in targets.filter(|target| !target.contains("://")) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            if !file.exists() || !(anchor.is_empty() || anchors(&file).contains(anchor)) {
                dead.push(format!("{}: {target}", page.display()));
            }
            links += 1;
        }
    }
    assert!(dead.is_empty() && links > 100, "of {links} links, these lead nowhere: {dead:#?}");
}

/// doc/README.md is the only index, and it lists all pages.
#[test]
fn every_page_is_in_the_index() {
    let index = fs::read_to_string(project("doc/README.md")).unwrap();
    for folder in ["admin", "user", "dev"] {
        for page in fs::read_dir(project("doc").join(folder)).unwrap() {
            let name = page.unwrap().file_name().into_string().unwrap();
            let listed = index.contains(&format!("]({folder}/{name})")) || name.ends_with(".svg");
            assert!(listed, "doc/README.md does not list {folder}/{name}");
        }
    }
}

/// The version is that of Cargo.toml, and the latest in the list of changes.
#[test]
fn the_version_is_the_same_everywhere() {
    let version = env!("CARGO_PKG_VERSION");
    for (file, says) in [
        ("src/mail-plugin/Cargo.toml", "version = \"VERSION\"\n"),
        ("debian/changelog", "perot-encrypt (VERSION) "),
        ("doc/admin/vnd.perot.encrypt.txt", "It describes version VERSION.\n"),
        ("doc/admin/debian.md", "dovecot-perot-encrypt_VERSION+dovecot"),
        ("doc/dev/release.md", "## What was run before VERSION\n"),
    ] {
        let says = says.replace("VERSION", version);
        assert!(read(file).contains(&says), "{file} does not say {says:?}");
    }
    let changes = read("CHANGELOG.md");
    let mut headings = changes.lines().filter_map(|line| line.strip_prefix("## "));
    assert_eq!(headings.next(), Some("[Unreleased]"));
    let latest = headings.next().unwrap_or_default();
    assert!(latest.starts_with(&format!("[{version}] - 20")), "CHANGELOG.md: {latest}");
}

/// Returns the anchors of the headings of a page, as GitHub and others make them.
fn anchors(page: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(page).unwrap();
    let headings =
        text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |c: &char| c.is_alphanumeric() || "-_ ".contains(*c);
    headings.map(|h| h.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
}

/// Returns the plugin's messages on the page, with `<>` for the parts that differ.
fn listed_messages() -> impl Iterator<Item = String> {
    let ours = rows(MESSAGES).into_iter().filter(|(heading, _)| heading != "What Dovecot says");
    ours.map(|(_, cells)| template(code(&cells[0]), '<', '>'))
}

/// Messages have at least two words. Texts with line ends are parts of mails.
fn is_message(template: &str) -> bool {
    words(template) >= 2 && !template.contains("\\r\\n")
}

fn words(text: &str) -> usize {
    text.split(' ').filter(|word| word.contains(char::is_alphabetic)).count()
}

/// Replaces the conversions of `printf()` in `text` by `<>`.
fn without_conversions(text: &str) -> String {
    let text = ["%s", "%u", "%03u"].iter().fold(text.to_owned(), |text, c| text.replace(c, "<>"));
    assert!(!text.contains('%'), "a conversion that this test does not know: {text}");
    text
}

/// Returns the string literals in a source file. In C, adjacent ones are joined, also across a `PRIu64`,
/// which is part of a conversion. Byte strings are left out.
fn texts(source: &str, in_c: bool) -> Vec<String> {
    let (mut texts, mut end) = (Vec::<String>::new(), 0);
    for place in literals(source) {
        let text = &source[place.start + 1..place.end - 1];
        // A literal in Rust that continues on the next line loses the line end and the white space after it.
        let text: String =
            text.split("\\\n").enumerate().map(|(n, t)| if n > 0 { t.trim_start() } else { t }).collect();
        match (source[end..place.start].trim(), texts.last_mut().filter(|_| in_c)) {
            ("", Some(before)) => *before += &text,
            ("PRIu64", Some(before)) => *before += &format!("s{text}"),
            (between, _) if between.ends_with("b") && !in_c => {}
            _ => texts.push(text),
        }
        end = place.end;
    }
    texts
}
