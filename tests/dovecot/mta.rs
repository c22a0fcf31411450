//! Real mail servers in front of Dovecot, configured as doc/admin/mail-servers.md shows. A message that
//! cannot be encrypted waits in their queue, and is delivered encrypted once it can be.

use crate::{assert_nothing_stored, message, script, SECRET};
use perot_testing::dovecot::{era, run_with, wait_for_line, wait_until, Config, Dovecot, Era};
use perot_testing::mta::{Exim, MailServer, Postfix};
use perot_testing::pages::{self, read};
use perot_testing::{armored, decrypt, find, key_for, with_crlf};

const PAGE: &str = "doc/admin/mail-servers.md";

/// The two recipients. The first has a certificate from the beginning.
const ME: &str = "me@domain.com";
const YOU: &str = "you@domain.com";

const REASON: &str = "Message could not be encrypted for its owner (no_certificate)";

/// Returns the blocks of a section of the page.
fn shown<const N: usize>(heading: &str) -> [String; N] {
    // These programs are unpacked, and not installed.
    pages::shown(PAGE, heading).map(|block| block.replace("/usr/sbin/", ""))
}

/// Makes a message of a local program, with all header fields that a mail server would add.
fn mail(subject: &str) -> Vec<u8> {
    let mut mail = [b"Date: Mon, 01 Jan 2024 00:00:00 +0000\r\n", &message(subject)[..]].concat();
    mail.retain(|&byte| byte != b'\r');
    mail
}

/// Encrypts for everybody, with more configuration.
fn config(dovecot_conf: &str) -> Config {
    Config {
        before: Some(script("", "encrypt;")),
        extra_23: dovecot_conf.into(),
        extra_24: dovecot_conf.into(),
        mail_server_users: true,
        ..Config::default()
    }
}

/// Returns the output of the page's commands that show the queue.
fn queue(mta: &dyn MailServer, dovecot: &Dovecot, commands: &str) -> String {
    let mut said = String::new();
    for command in commands.lines() {
        let Some(command) = command.strip_suffix(" ID") else {
            said += &mta.shell(dovecot, command);
            continue;
        };
        let of_messages: Vec<String> = said.lines().filter(|l| l.contains('<')).map(str::to_owned).collect();
        for line in of_messages {
            let id = line.split_whitespace().nth(2).unwrap();
            said += &mta.shell(dovecot, &format!("{command} {id}"));
        }
    }
    said
}

/// The commands of the page for a mail server: queue, new attempt, count.
struct Commands {
    queue: String,
    flush: String,
    count: String,
}

fn postfix_commands() -> Commands {
    let [_, _, queue, _] = shown("A message that waits");
    let [flush, _] = shown("When the cause is removed");
    let [_, count, _] = shown("How long it waits");
    Commands { queue, flush, count }
}

fn exim_commands() -> Commands {
    let [_, _, _, queue] = shown("A message that waits");
    let [_, flush] = shown("When the cause is removed");
    let [_, _, count] = shown("How long it waits");
    Commands { queue, flush, count }
}

/// Sends a message to both recipients. It is stored for the first, and waits for the certificate of the
/// second. `users` are their names in Dovecot, `reason` is the text in the queue. Returns the line in the
/// mail server's log that has it.
fn a_message_waits(
    mta: &dyn MailServer,
    dovecot: &Dovecot,
    users: [&str; 2],
    commands: &Commands,
    reason: &str,
) -> String {
    let (mine, yours) = (key_for(ME), key_for(YOU));
    dovecot.give(users[0], "k.asc", &armored(&mine));
    mta.send(dovecot, "sender@domain.com", &[ME, YOU], &mail("waits"));
    let why = mta.log_line(&[YOU, reason]);
    let in_queue = || queue(mta, dovecot, &commands.queue);
    let waits = || {
        let queue = in_queue();
        queue.contains(YOU) && queue.contains(reason) && !dovecot.stored(users[0]).is_empty()
    };
    wait_until(waits, || format!("{}\n{}", in_queue(), dovecot.log()));
    if reason == REASON {
        assert_eq!(mta.shell(dovecot, &commands.count), "1\n");
    }
    assert_nothing_stored(dovecot, users[1]);

    dovecot.give(users[1], "k.asc", &armored(&yours));
    mta.shell(dovecot, &commands.flush);
    wait_until(|| !in_queue().contains("sender@domain.com"), || format!("{}\n{}", in_queue(), dovecot.log()));
    for (user, key) in [(users[0], mine), (users[1], yours)] {
        let payload = decrypt(&dovecot.only_message(user), &key);
        assert!(payload.ends_with(&with_crlf(&mail("waits"))), "{}", String::from_utf8_lossy(&payload));
        assert!(find(&payload, b"by mail.domain.com ").is_some(), "{}", String::from_utf8_lossy(&payload));
    }
    dovecot.assert_nowhere(SECRET);
    why
}

/// A mail server that gives up returns the message to its sender, who is a user of this Dovecot.
fn a_message_goes_back(mta: &dyn MailServer, dovecot: &Dovecot) {
    let mine = key_for(ME);
    dovecot.give(ME, "k.asc", &armored(&mine));
    mta.send(dovecot, ME, &[YOU], &mail("goes-back"));
    wait_until(|| !dovecot.stored(ME).is_empty(), || dovecot.log());
    let bounce = String::from_utf8(decrypt(&dovecot.only_message(ME), &mine)).unwrap();
    // Mail servers fold long lines.
    let words: Vec<&str> = bounce.split_whitespace().collect();
    for text in [REASON, SECRET] {
        assert!(words.join(" ").contains(text), "'{text}' is not in\n{bounce}");
    }
    assert_nothing_stored(dovecot, YOU);
}

/// Returns the configuration of `dovecot-lda` for the installed Dovecot, and the command that runs it.
fn lda() -> (Config, impl Fn(&Dovecot, &str) -> String) {
    let [in_23, in_24, stats, _, _] = shown("dovecot-lda");
    let both = stats + "protocol lda {\n  log_path = {dir}/lda.log\n}\n";
    // A process that is not Dovecot's own can only look up the user it runs as.
    let users = match era() {
        Era::V23 => {
            "passdb {
  driver = static
  args = password=test
}
userdb {
  driver = static
  args = uid=vmail gid=vmail
}
"
        }
        Era::V24 => {
            "passdb static {
  password = test
}
userdb static {
  fields {
    uid = vmail
    gid = vmail
  }
}
"
        }
    };
    let users = Some(users.to_owned());
    let config = Config { extra_23: in_23 + &both, extra_24: in_24 + &both, users, ..config("") };
    let adapt = |dovecot: &Dovecot, shown: &str| {
        let program = "/usr/lib/dovecot/dovecot-lda";
        assert!(shown.contains(program), "{shown}");
        shown.replace(program, &format!("{program} -c {}", dovecot.path("dovecot.conf").display()))
    };
    (config, adapt)
}

/// Starts a Dovecot in which the mail user can write the log of `dovecot-lda`.
fn start_for_lda(config: &Config) -> Dovecot {
    let dovecot = Dovecot::start(config);
    std::fs::write(dovecot.path("lda.log"), "").unwrap();
    dovecot.own(&dovecot.path("lda.log"));
    dovecot
}

#[test]
fn postfix_keeps_what_cannot_be_encrypted_yet() {
    let [dovecot_conf, virtual_, mailbox] = shown("Postfix over LMTP");
    for main_cf in [virtual_, format!("mydestination = domain.com\n{mailbox}")] {
        let is_virtual = main_cf.contains("virtual_transport");
        let mut postfix = Postfix::prepare();
        let dovecot = Dovecot::start(&config(&postfix.adapt(&dovecot_conf)));
        postfix.start(&dovecot, &main_cf);
        let why = a_message_waits(&postfix, &dovecot, [ME, YOU], &postfix_commands(), REASON);
        let said = why.split_once("dsn=4.2.0, ").unwrap().1;
        assert!(read(PAGE).contains(said) || !is_virtual, "{said}");
    }
}

#[test]
fn postfix_returns_a_message_that_waited_too_long() {
    let [dovecot_conf, main_cf, _] = shown("Postfix over LMTP");
    let mut postfix = Postfix::prepare();
    let dovecot = Dovecot::start(&config(&postfix.adapt(&dovecot_conf)));
    postfix.start(&dovecot, &format!("{main_cf}maximal_queue_lifetime = 0\n"));
    a_message_goes_back(&postfix, &dovecot);

    let defaults = postfix.shell(&dovecot, "postconf -d");
    let [shown, _, _] = shown("How long it waits");
    for line in shown.lines() {
        assert!(defaults.lines().any(|d| d == line), "{line}");
    }
}

#[test]
fn postfix_keeps_what_dovecot_lda_cannot_encrypt_yet() {
    let (config, adapt) = lda();
    let [_, _, _, main_cf, _] = shown("dovecot-lda");
    let mut postfix = Postfix::prepare();
    let dovecot = start_for_lda(&config);
    postfix.start(&dovecot, &format!("mydestination = domain.com\n{}", adapt(&dovecot, &main_cf)));
    let why = a_message_waits(&postfix, &dovecot, ["me", "you"], &postfix_commands(), REASON);
    assert!(why.contains(&format!("(temporary failure. Command output: {REASON}")), "{why}");
}

fn exim(dovecot: &Dovecot, retry: Option<&str>) -> Exim {
    let [_, router, transport, rule] = shown("Exim over LMTP");
    let transport = transport.replace("/run/dovecot", dovecot.path("run").to_str().unwrap());
    Exim::new(&router, &transport, retry.unwrap_or(&rule))
}

fn dovecot_for_exim() -> Dovecot {
    let [dovecot_conf, _, _, _] = shown("Exim over LMTP");
    Dovecot::start(&config(&dovecot_conf))
}

#[test]
fn exim_keeps_what_cannot_be_encrypted_yet() {
    let dovecot = dovecot_for_exim();
    let exim = exim(&dovecot, None);
    let why = a_message_waits(&exim, &dovecot, [ME, YOU], &exim_commands(), REASON);
    let said = why.split_once("T=dovecot_lmtp ").unwrap().1;
    assert!(read(PAGE).contains(said), "{said}");
    assert_eq!(exim.shell(&dovecot, "exim4 -bP delay_warning"), "delay_warning = 1d\n");
}

#[test]
fn exim_without_a_retry_rule_returns_the_message() {
    let dovecot = dovecot_for_exim();
    a_message_goes_back(&exim(&dovecot, Some("")), &dovecot);
}

#[test]
fn exim_keeps_what_dovecot_lda_cannot_encrypt_yet() {
    let (config, adapt) = lda();
    let [_, _, _, _, transport] = shown("dovecot-lda");
    let dovecot = start_for_lda(&config);
    let [_, router, _, retry] = shown("Exim over LMTP");
    let router = router.replace("dovecot_lmtp", "dovecot_lda");
    let exim = Exim::new(&router, &adapt(&dovecot, &transport), &retry);
    let reason = "returned 75 (could mean temporary error)";
    a_message_waits(&exim, &dovecot, [ME, YOU], &exim_commands(), reason);
    exim.log_line(&["transport output: ", REASON]);
}

/// The sender can have written the field that `lda_original_recipient_header` names.
#[test]
fn a_field_of_the_header_does_not_choose_the_certificate() {
    let header = "lda_original_recipient_header = X-Original-To\n".to_owned();
    for (plugins, before) in [("sieve", Some(script("", "encrypt;"))), ("perot_encrypt", None)] {
        let dovecot = Dovecot::start(&Config {
            delivery_plugins: Some(plugins),
            before,
            extra_23: header.clone(),
            extra_24: header.clone(),
            ..Config::default()
        });
        let (mine, yours) = (key_for(ME), key_for(YOU));
        dovecot.give("me", "k.asc", &armored(&mine));
        std::fs::write(dovecot.certs().join("you.asc"), armored(&yours)).unwrap();
        let mail = [format!("X-Original-To: {YOU}\n").as_bytes(), &mail("field")].concat();
        for (arguments, key) in [(&[][..], &mine), (&["-a", YOU], &mine), (&["-r", YOU], &yours)] {
            let mut lda = dovecot.command("/usr/lib/dovecot/dovecot-lda");
            lda.arg("-c").arg(dovecot.path("dovecot.conf")).args(["-d", "me"]).args(arguments);
            let output = run_with(&mut lda, &mail);
            assert!(output.status.success(), "{plugins}, {arguments:?}: {output:?}\n{}", dovecot.log());
            let stored = dovecot.only_message("me");
            let names = find(&stored, key.fingerprint().to_hex().as_bytes()).is_some();
            assert!(names, "{plugins}, {arguments:?}: another key");
            assert!(decrypt(&stored, key).ends_with(&with_crlf(&mail)), "{plugins}, {arguments:?}");
            std::fs::remove_dir_all(dovecot.home("me").join("Maildir")).unwrap();
        }
    }
}

/// dovecot-lda runs as the mail user, and gets the message through a pipe.
#[test]
fn dovecot_lda_says_try_again_later() {
    let (config, _) = lda();
    let dovecot = start_for_lda(&config);
    let key = key_for(ME);
    let deliver = |arguments: &[&str]| {
        let mut command = dovecot.as_mail_user("/usr/lib/dovecot/dovecot-lda");
        command.arg("-c").arg(dovecot.path("dovecot.conf")).args(["-d", ME]).args(arguments);
        run_with(&mut command, &mail("piped"))
    };
    for (arguments, said) in [(&[][..], ""), (&["-e"], REASON)] {
        let output = deliver(arguments);
        assert_eq!(output.status.code(), Some(75), "{output:?}\n{}", dovecot.log());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.starts_with(said) && stderr.is_empty() == said.is_empty(), "{stderr}");
        assert_nothing_stored(&dovecot, ME);
    }
    let why = ["Error: ", "encrypt: message not encrypted, deferred: no certificate for me@domain.com. "];
    wait_for_line(&dovecot.path("lda.log"), &why);

    dovecot.give(ME, "k.asc", &armored(&key));
    let output = deliver(&["-e"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let payload = decrypt(&dovecot.only_message(ME), &key);
    assert!(payload.ends_with(&with_crlf(&mail("piped"))), "{}", String::from_utf8_lossy(&payload));
    dovecot.assert_nowhere(SECRET);
}
