//! Lets mail programs save, copy and remove mail at once, and looks at every message afterwards. `make soak N=...` has them send
//! more commands.

use base64::Engine;

use perot_testing::dovecot::{files, Config, Dovecot, Format};
use perot_testing::{armored, decrypt, find, key_for};

use crate::SECRET;

const ME: &str = "me@domain.com";
/// The number of commands, and a tenth of the deliveries that `SOAK` sets if that is more.
const COMMANDS: usize = 400;

/// Looks at a line that the clients print for a message. Returns true if it is encrypted.
fn examine(line: &str, key: &sequoia_openpgp::Cert) -> bool {
    let words: Vec<&str> = line.split(' ').collect();
    let [mailbox, number, draft, saved, content] = words[..] else { panic!("{line}") };
    let content = base64::engine::general_purpose::STANDARD.decode(content).unwrap();
    let what = format!("{number} in {mailbox}");
    let in_clear = find(&content, SECRET.as_bytes()).is_some();
    assert!(!in_clear || draft == "1" || saved == "0", "{what} is in clear");
    let message = if in_clear { content } else { decrypt(&content, key) };
    assert!(message.ends_with(format!("The {SECRET} sings.\r\n").as_bytes()), "{what}");
    assert!(find(&message, format!("Subject: number {number}\r\n").as_bytes()).is_some(), "{what}");
    !in_clear
}

#[test]
fn mail_programs_at_once() {
    let commands = std::env::var("SOAK").map_or(0, |n| n.parse::<usize>().expect("SOAK is a number") / 10);
    let commands = commands.max(COMMANDS);
    for format in [Format::Maildir, Format::Sdbox, Format::Mdbox] {
        let dovecot = Dovecot::start(&Config {
            imap_plugins: "perot_encrypt",
            plugin: vec![("saved", "Sent* Archive*".to_owned())],
            format,
            ..Config::default()
        });
        let key = key_for(ME);
        dovecot.give(ME, "k.asc", &armored(&key));
        let begin = std::time::Instant::now();
        // Also without the plugin, Dovecot now and then takes a file in a Maildir for a new message because another session
        // has renamed it. So there each connection has mailboxes of its own.
        let shared = if format == Format::Maildir { "False" } else { "True" };
        let code = format!("COMMANDS, SHARED = {commands}, {shared}\n{}", include_str!("store_load.py"));
        let said = dovecot.imap(ME, &code);
        let encrypted = said.lines().filter(|line| examine(line, &key)).count();
        println!(
            "{format:?}: {commands} commands in {:.0} s; {} messages are left, {encrypted} of them encrypted.",
            begin.elapsed().as_secs_f64(),
            said.lines().count()
        );
        assert!(encrypted > 20, "{format:?}: {encrypted}");
        assert!(files(&dovecot.path("tmp")).is_empty());
        for fault in ["Panic:", "Fatal:", "Error:"] {
            assert!(!dovecot.log().contains(fault), "{format:?}\n{}", dovecot.log());
        }
    }
}
