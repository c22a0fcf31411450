//! Runs scripts on messages in mailboxes that are not the user's own: shared by somebody, or public.

use std::fs;
use std::path::{Path, PathBuf};

use perot_testing::dovecot::{files, run, wait_until, Config, Dovecot};
use perot_testing::{armored, decrypt, key_for};

use sequoia_openpgp::Cert;

use crate::{message, script, SECRET};

const ME: &str = "me@domain.com";

/// Returns a configuration in which `global/saved.sieve` runs for all that is saved, and the user may do everything in a
/// mailbox of somebody and in a public one.
fn config() -> Config {
    let inbox = "namespace inbox {\n  inbox = yes\n  separator = /\n}\n";
    let shared =
        "namespace shared {\n  type = shared\n  separator = /\n  list = children\n  subscriptions = no\n";
    // Dovecot looks up who shares.
    let auth = "service auth {\n  unix_listener auth-userdb {\n    mode = 0777\n  }\n}\n";
    let public = "namespace public {\n  type = public\n  prefix = Public/\n  separator = /\n";
    Config {
        imap_plugins: "acl imap_sieve imap_filter_sieve",
        extra_23: format!(
            "{auth}{inbox}{shared}  prefix = shared/%%u/\n  \
             location = maildir:{{dir}}/home/%%u/Maildir:INDEX=~/shared/%%u\n}}\n\
             {public}  location = maildir:{{dir}}/home/public\n}}\n"
        ),
        plugin_23: "acl = vfile\nimapsieve_mailbox1_name = *\nimapsieve_mailbox1_causes = APPEND COPY\n\
                    imapsieve_mailbox1_before = file:{dir}/global/saved.sieve\n\
                    imapsieve_expunge_discarded = yes\n"
            .into(),
        extra_24: format!(
            "{auth}{inbox}{shared}  prefix = shared/$user/\n  mail_driver = maildir\n  \
             mail_path = {{dir}}/home/%{{owner_user}}/Maildir\n  \
             mail_index_path = ~/shared/%{{owner_user}}\n}}\nacl_driver = vfile\n\
             {public}  mail_path = {{dir}}/home/public\n}}\n\
             sieve_script saved {{\n  type = before\n  cause = append copy\n  \
             path = {{dir}}/global/saved.sieve\n}}\nimapsieve_expunge_discarded = yes\n"
        ),
        ..Config::default()
    }
}

/// A mailbox that is not the user's own.
struct Other {
    name: &'static str,
    folder: PathBuf,
}

impl Other {
    /// Makes the mailbox.
    fn new(dovecot: &Dovecot, name: &'static str, owner: &str, folder: &str) -> Self {
        let top = dovecot.home(owner);
        let mut path = top.clone();
        for part in Path::new(folder) {
            path.push(part);
            fs::create_dir(&path).unwrap();
            dovecot.own(&path);
        }
        for part in ["cur", "new", "tmp"] {
            fs::create_dir(path.join(part)).unwrap();
            dovecot.own(&path.join(part));
        }
        fs::write(path.join("dovecot-acl"), format!("user={ME} lrwstipek\n")).unwrap();
        dovecot.own(&path.join("dovecot-acl"));
        Self { name, folder: path }
    }

    /// Puts a message there.
    fn put(&self, dovecot: &Dovecot) {
        let file = self.folder.join("cur/1700000000.M1P1.host:2,S");
        fs::write(&file, message("other")).unwrap();
        dovecot.own(&file);
    }

    fn messages(&self) -> Vec<Vec<u8>> {
        ["cur", "new"]
            .iter()
            .flat_map(|part| files(&self.folder.join(part)))
            .map(|file| fs::read(file).unwrap())
            .collect()
    }

    fn clear(&self) {
        for file in ["cur", "new"].iter().flat_map(|part| files(&self.folder.join(part))) {
            fs::remove_file(file).unwrap();
        }
    }
}

/// A way in which a script comes to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Append,
    Copy,
    Filter,
    SieveFilter,
}

/// Has a script run for all messages in a mailbox, by FILTER=SIEVE.
fn filter(dovecot: &Dovecot, mailbox: &str, commands: &str) {
    let text = script("", commands).replace('\n', " ").replace('"', "\\\"");
    let session = format!(
        "good(imap.select('{mailbox}'))\n\
         good(imap.xatom('FILTER', r'SIEVE SCRIPT \"{text}\" UNDELETED'))\ngood(imap.expunge())"
    );
    dovecot.imap(ME, &session);
}

/// Has a script run for one message in the mailbox. Returns what is said of it.
fn run_script(dovecot: &Dovecot, way: Way, other: &Other, commands: &str) -> String {
    let source = dovecot.path("global/saved.sieve");
    fs::write(&source, script("", commands)).unwrap();
    let _ = fs::remove_file(dovecot.path("global/saved.svbin"));
    let before = dovecot.log().len();
    let Other { name, .. } = other;
    match way {
        Way::Append => {
            let text = String::from_utf8(message("other")).unwrap();
            dovecot.imap(ME, &format!("good(imap.append('{name}', None, None, {text:?}.encode()))"));
        }
        Way::Copy => {
            dovecot.imap(ME, &format!("good(imap.select('INBOX'))\ngood(imap.copy('1', '{name}'))"));
        }
        Way::Filter => {
            other.put(dovecot);
            filter(dovecot, name, commands);
        }
        Way::SieveFilter => {
            other.put(dovecot);
            let mut command = dovecot.command("sieve-filter");
            command.arg("-c").arg(dovecot.path("dovecot.conf")).args(["-e", "-W", "-u", ME]);
            let output = run(command.arg(source).arg(name));
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            return String::from_utf8_lossy(&output.stderr).into_owned();
        }
    }
    dovecot.log()[before..].to_owned()
}

fn assert_encrypted(dovecot: &Dovecot, what: &str, other: &Other, key: &Cert) {
    // What imapsieve removes goes when the IMAP command is done.
    wait_until(|| other.messages().len() == 1, || format!("{what}\n{}", dovecot.log()));
    let payload = decrypt(&other.messages()[0], key);
    assert_eq!(String::from_utf8(payload).unwrap().matches(SECRET).count(), 1, "{what}");
}

/// Whoever is logged in is not the owner: encrypted for him, the message would be lost for everybody else.
#[test]
fn the_message_stays_unless_recipients_are_named() {
    let mut dovecot = Dovecot::prepare(&config());
    let key = key_for(ME);
    dovecot.give(ME, "k.asc", &armored(&key));
    let others = [
        Other::new(&dovecot, "shared/you@domain.com/team", "you@domain.com", "Maildir/.team"),
        Other::new(&dovecot, "Public/news", "public", ".news"),
    ];
    dovecot.launch();
    assert!(dovecot.deliver(ME, &message("other")).starts_with("250 "), "{}", dovecot.log());
    for other in &others {
        for way in [Way::Append, Way::Copy, Way::Filter, Way::SieveFilter] {
            let what = format!("{way:?} {}", other.name);
            let said = run_script(&dovecot, way, other, "encrypt;");
            let line = "encrypt: message not encrypted, left as it is: not the user's own mailbox: name the recipients";
            assert!(said.contains(line), "{what}: {said}\n{}", dovecot.log());
            let stored = other.messages();
            let [stored] = &stored[..] else { panic!("{what}: {} messages\n{said}", stored.len()) };
            let clear = String::from_utf8(stored.clone()).unwrap().replace("\r\n", "\n");
            assert!(clear.ends_with(&format!("\n\nThe {SECRET} sings.\n")), "{what}: {clear}");
            other.clear();

            let said = run_script(&dovecot, way, other, "encrypt \"me@domain.com\";");
            assert!(said.contains("encrypt: message encrypted: "), "{what}: {said}\n{}", dovecot.log());
            assert_encrypted(&dovecot, &what, other, &key);
            other.clear();
        }
    }
}

/// What is saved in this virtual mailbox goes to the INBOX.
#[test]
fn a_virtual_mailbox_that_shows_mail_of_others() {
    let namespace = "namespace virtual {\n  prefix = virtual/\n  separator = /\n";
    let shared = config();
    let mut dovecot = Dovecot::prepare(&Config {
        imap_plugins: "acl virtual imap_filter_sieve",
        extra_23: format!("{}{namespace}  location = virtual:{{dir}}/virtual\n}}\n", shared.extra_23),
        extra_24: format!(
            "{}{namespace}  mail_driver = virtual\n  mail_path = {{dir}}/virtual\n}}\n",
            shared.extra_24
        ),
        ..shared
    });
    dovecot.give(ME, "k.asc", &armored(&key_for(ME)));
    let name = "shared/you@domain.com/team";
    let other = Other::new(&dovecot, name, "you@domain.com", "Maildir/.team");
    let folder = dovecot.path("virtual/all");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("dovecot-virtual"), format!("!INBOX\n{name}\n  all\n")).unwrap();
    for path in [dovecot.path("virtual"), folder.clone(), folder.join("dovecot-virtual")] {
        dovecot.own(&path);
    }
    dovecot.launch();
    other.put(&dovecot);
    filter(&dovecot, "virtual/all", "encrypt;");
    dovecot.log_line(&["left as it is: not the user's own mailbox: name the recipients"]);
    assert_eq!(other.messages(), [message("other")], "{}", dovecot.log());
}
