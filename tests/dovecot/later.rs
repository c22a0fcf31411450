//! Checks earlier and later actions, other scripts, and failures in them: the original is never stored.

use std::fs;

use crate::{assert_nothing_stored, message, script, slow_field, slow_tests, SECRET};
use perot_testing::dovecot::{Config, Dovecot};
use perot_testing::{armored, decrypt, find, key_for};

const ME: &str = "me@domain.com";

/// Delivers a message with the given scripts. Returns the answer and the stored messages.
fn deliver(config: &Config, user_script: &str) -> (Dovecot, String, Vec<(String, Vec<u8>)>) {
    let dovecot = Dovecot::start(config);
    let key = key_for(ME);
    dovecot.give(ME, "k.asc", &armored(&key));
    dovecot.script(ME, user_script);
    let answer = dovecot.deliver(ME, &message("later"));
    let stored = dovecot.stored(ME);
    for (folder, stored) in &stored {
        let payload = decrypt(stored, &key);
        assert!(payload.ends_with(&message("later")), "in {folder}");
    }
    dovecot.assert_nowhere(SECRET);
    (dovecot, answer, stored)
}

fn before(script: String) -> Config {
    Config { before: Some(script), ..Config::default() }
}

fn encrypt_before() -> Config {
    before(script("", "encrypt;"))
}

#[test]
fn a_later_failure_stores_the_encrypted_message() {
    for (what, requires, body) in [
        ("a folder that is not there", ", \"fileinto\"", "encrypt; fileinto \"nowhere\";"),
        ("a name that is none", ", \"fileinto\"", "encrypt; fileinto \"a//b/../c\";"),
        ("an error of the script", ", \"ihave\"", "encrypt; error \"stop here\";"),
    ] {
        let (dovecot, answer, stored) = deliver(&Config::default(), &script(requires, body));
        assert!(answer.starts_with("250 "), "{what}: {answer}\n{}", dovecot.log());
        assert_eq!(stored.len(), 1, "{what}\n{}", dovecot.log());
    }
}

#[test]
fn a_redirect_that_fails_stores_nothing_in_clear() {
    let config = Config {
        extra_23: "sendmail_path = /bin/false".into(),
        extra_24: "sendmail_path = /bin/false".into(),
        ..Config::default()
    };
    let (dovecot, answer, stored) = deliver(&config, &script("", "encrypt; redirect \"x@example.net\";"));
    assert!(
        answer.starts_with("451 ") && stored.is_empty() || stored.len() == 1,
        "{answer}\n{}",
        dovecot.log()
    );
}

#[test]
fn what_has_been_stored_before_a_failure_is_not_stored_again() {
    let config = Config {
        extra_23: "sendmail_path = /bin/false".into(),
        extra_24: "sendmail_path = /bin/false".into(),
        ..Config::default()
    };
    let user_script = script(", \"fileinto\"", "encrypt; fileinto \"INBOX\"; redirect \"x@example.net\";");
    let (dovecot, answer, stored) = deliver(&config, &user_script);
    assert!(answer.starts_with("250 ") && stored.len() == 1, "{answer} {}\n{}", stored.len(), dovecot.log());
    // The first fileinto is undone when the second fails, so the message is stored by the implicit keep.
    let user_script = script(", \"fileinto\"", "encrypt; fileinto \"INBOX\"; fileinto \"nowhere\";");
    let (dovecot, answer, stored) = deliver(&Config::default(), &user_script);
    assert!(answer.starts_with("250 ") && stored.len() == 1, "{answer} {}\n{}", stored.len(), dovecot.log());
}

/// An earlier script has stored the message, which must not be stored again.
#[test]
fn what_an_earlier_script_has_stored_is_not_stored_again() {
    let copies = before(script(", \"fileinto\", \"copy\"", "encrypt; fileinto :copy \"INBOX\";"));
    for user_script in ["require \"fileinto\"; fileinto \"nowhere\";", "require \"ihave\"; error \"x\";"] {
        let (dovecot, answer, stored) = deliver(&copies, user_script);
        assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
        assert_eq!(stored.len(), 1, "{user_script}\n{}", dovecot.log());
    }
}

#[test]
fn the_script_before_encrypts_whatever_the_users_script_does() {
    let duplicate_free = |user_script: &str, folders: &[&str]| {
        let (dovecot, answer, stored) = deliver(&encrypt_before(), user_script);
        assert!(answer.starts_with("250 "), "{user_script}: {answer}\n{}", dovecot.log());
        let found: Vec<&str> = stored.iter().map(|(folder, _)| folder.as_str()).collect();
        assert_eq!(found, folders, "{user_script}\n{}", dovecot.log());
    };
    duplicate_free("keep;", &[""]);
    duplicate_free("this does not compile", &[""]);
    duplicate_free("require \"no-such-extension\"; keep;", &[""]);
    duplicate_free("require \"ihave\"; error \"x\";", &[""]);
    duplicate_free("require [\"fileinto\", \"mailbox\"]; fileinto :create \"box\";", &[".box"]);
    duplicate_free("require \"fileinto\"; fileinto \"nowhere\";", &[""]);
    duplicate_free("discard;", &[]);
    duplicate_free("stop;", &[""]);
}

#[test]
fn a_keep_of_an_earlier_script_keeps_the_encrypted_message() {
    for (before_script, user_script) in [
        ("keep;", "encrypt;"),
        ("require \"imap4flags\"; addflag \"\\\\Flagged\"; keep;", "encrypt; stop;"),
        ("keep;", "encrypt; keep;"),
        ("keep;", "encrypt; encrypt :force;"),
    ] {
        let dovecot = Dovecot::start(&before(before_script.into()));
        let key = key_for(ME);
        dovecot.give(ME, "k.asc", &armored(&key));
        dovecot.script(ME, &script("", user_script));
        let answer = dovecot.deliver(ME, &message("later"));
        assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
        let mut payload = decrypt(&dovecot.only_message(ME), &key);
        if user_script.contains("force") {
            payload = decrypt(&payload, &key);
        }
        assert!(payload.ends_with(&message("later")), "{before_script} {user_script}");
        assert_eq!(dovecot.is_flagged(ME), before_script.contains("Flagged"), "{before_script}");
        dovecot.assert_nowhere(SECRET);
    }
}

#[test]
fn a_loop_over_the_parts_is_no_place_to_encrypt() {
    let loop_ = "foreverypart { if true { encrypt; } }";
    let (dovecot, answer, stored) = deliver(&Config::default(), &script(", \"foreverypart\"", loop_));
    assert!(answer.starts_with("451 ") && stored.is_empty(), "{answer}\n{}", dovecot.log());
    dovecot
        .log_line(&["encrypt cannot stand in a foreverypart loop: put it in front of the loop or behind it"]);
}

#[test]
fn an_earlier_copy_is_not_stored_when_encrypt_fails() {
    let copy =
        before("require [\"fileinto\", \"mailbox\", \"copy\"];\nfileinto :copy :create \"archive\";".into());
    let dovecot = Dovecot::start(&copy);
    dovecot.script(ME, &script("", "encrypt;"));
    let answer = dovecot.deliver(ME, &message("copied"));
    assert!(answer.starts_with("451 "), "{answer}\n{}", dovecot.log());
    assert_nothing_stored(&dovecot, ME);

    let keep = before("keep;".into());
    let dovecot = Dovecot::start(&keep);
    dovecot.script(ME, &script("", "encrypt;"));
    assert!(dovecot.deliver(ME, &message("kept")).starts_with("451 "), "{}", dovecot.log());
    assert_nothing_stored(&dovecot, ME);
}

#[test]
fn a_failing_encrypt_after_a_successful_one_defers() {
    let (dovecot, answer, stored) =
        deliver(&encrypt_before(), &script("", "encrypt :force \"nobody@domain.com\";"));
    assert!(answer.starts_with("451 ") && stored.is_empty(), "{answer}\n{}", dovecot.log());
}

#[test]
fn what_the_default_mailbox_does_not_take_goes_to_the_inbox() {
    let config = Config {
        extra_23: "recipient_delimiter = +\nlmtp_save_to_detail_mailbox = yes\nlda_mailbox_autocreate = no"
            .into(),
        extra_24: "recipient_delimiter = +\nlmtp_save_to_detail_mailbox = yes\nlda_mailbox_autocreate = no"
            .into(),
        ..encrypt_before()
    };
    for user_script in ["keep;", "require \"ihave\"; error \"x\";"] {
        let dovecot = Dovecot::start(&config);
        let key = key_for(ME);
        dovecot.give(ME, "k.asc", &armored(&key));
        dovecot.script(ME, user_script);
        let answer = dovecot.deliver("me+nowhere@domain.com", &message("detail"));
        assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
        dovecot.assert_nowhere(SECRET);
        assert_eq!(dovecot.stored(ME)[0].0, "");
        assert!(decrypt(&dovecot.only_message(ME), &key).ends_with(&message("detail")));
    }
}

#[test]
fn a_full_mailbox_stores_nothing_in_clear() {
    let config = Config {
        extra_23: "protocol lmtp {\n  mail_plugins = sieve quota\n}\n".into(),
        plugin_23: "quota = maildir:User quota\nquota_rule = *:storage=1B\nquota_grace = 0\n".into(),
        extra_24: "protocol lmtp {\n  mail_plugins {\n    quota = yes\n  }\n}\nquota user {\n  driver = count\n  storage_size = 1B\n  storage_grace = 0\n}\n".into(),
        ..encrypt_before()
    };
    let dovecot = Dovecot::start(&config);
    dovecot.give(ME, "k.asc", &armored(&key_for(ME)));
    let answer = dovecot.deliver(ME, &message("full"));
    assert!(answer.starts_with("552 ") || answer.starts_with("452 "), "{answer}\n{}", dovecot.log());
    assert_nothing_stored(&dovecot, ME);
}

#[test]
fn what_was_filed_before_is_as_it_was() {
    let dovecot = Dovecot::start(&Config::default());
    let key = key_for(ME);
    dovecot.give(ME, "k.asc", &armored(&key));
    let requires = ", \"fileinto\", \"mailbox\", \"copy\"";
    dovecot.script(
        ME,
        &script(requires, "fileinto :copy :create \"clear\"; encrypt; fileinto :create \"box\";"),
    );
    assert!(dovecot.deliver(ME, &message("both")).starts_with("250 "), "{}", dovecot.log());
    let mut stored = dovecot.stored(ME);
    stored.sort();
    let [(box_, encrypted), (clear, plain)] = &stored[..] else { panic!("{}", dovecot.log()) };
    assert_eq!((box_.as_str(), clear.as_str()), (".box", ".clear"));
    assert!(find(plain, SECRET.as_bytes()).is_some());
    assert!(decrypt(encrypted, &key).ends_with(&message("both")));
}

/// What stands in front of `encrypt` is in clear. The log says so, and that is all that can be done.
#[test]
fn clear_copies_are_told() {
    let fileinto = ", \"fileinto\", \"mailbox\", \"copy\", \"include\"";
    let earlier = "require [\"fileinto\", \"mailbox\", \"copy\"]; fileinto :copy :create \"old\";";
    let to_inbox = "require [\"fileinto\", \"copy\"]; fileinto :copy \"INBOX\";";
    for (what, earlier, body, clear, encrypted) in [
        ("none", None, "encrypt; fileinto :create \"a\";", &[][..], &[".a"][..]),
        ("the same", None, "fileinto :create \"a\"; encrypt; fileinto \"a\";", &[".a"], &[]),
        ("keep", None, "keep; encrypt; fileinto :create \"a\";", &[""], &[".a"]),
        ("an earlier script", Some(earlier), "encrypt;", &[".old"], &[""]),
        ("an earlier script, the INBOX", Some(to_inbox), "encrypt;", &[""], &[]),
        ("an included one", None, "include :personal \"own\"; encrypt;", &[".own"], &[""]),
        ("an earlier keep", Some("keep;"), "encrypt;", &[], &[""]),
        (
            "one that is encrypted",
            Some(&script("", "encrypt;")),
            "fileinto :copy :create \"a\"; encrypt :force;",
            &[],
            &[".a", ""],
        ),
    ] {
        let dovecot = Dovecot::start(&Config { before: earlier.map(str::to_owned), ..Config::default() });
        dovecot.give(ME, "k.asc", &armored(&key_for(ME)));
        fs::create_dir(dovecot.home(ME).join("sieve")).unwrap();
        let own = dovecot.home(ME).join("sieve/own.sieve");
        fs::write(&own, "require [\"fileinto\", \"mailbox\", \"copy\"]; fileinto :copy :create \"own\";")
            .unwrap();
        [own.parent().unwrap(), &own].iter().for_each(|path| dovecot.own(path));
        dovecot.script(ME, &script(fileinto, body));
        let answer = dovecot.deliver(ME, &message("copies"));
        assert!(answer.starts_with("250 "), "{what}: {answer}\n{}", dovecot.log());
        let mut found = [Vec::new(), Vec::new()];
        for (folder, stored) in dovecot.stored(ME) {
            found[usize::from(find(&stored, SECRET.as_bytes()).is_none())].push(folder);
        }
        found.iter_mut().for_each(|folders| folders.sort());
        let mut expected = [clear, encrypted].map(<[&str]>::to_vec);
        expected.iter_mut().for_each(|folders| folders.sort_unstable());
        assert_eq!(
            found.each_ref().map(|folders| folders.iter().map(String::as_str).collect::<Vec<_>>()),
            expected,
            "{what}\n{}",
            dovecot.log()
        );
        dovecot.log_line(&["message encrypted: "]);
        let warned = dovecot
            .log()
            .matches("Warning: sieve: encrypt: in front of `encrypt`, and so in clear: ")
            .count();
        assert_eq!(warned, usize::from(!clear.is_empty()), "{what}\n{}", dovecot.log());
    }
}

#[test]
fn a_script_that_takes_too_much_time_after_encrypt_stores_the_encrypted_message() {
    let config = Config {
        plugin_23: "sieve_max_cpu_time = 1s\n".into(),
        extra_24: "sieve_max_cpu_time = 1s\n".into(),
        ..Config::default()
    };
    let dovecot = Dovecot::start(&config);
    let key = key_for(ME);
    dovecot.give(ME, "k.asc", &armored(&key));
    dovecot.script(ME, &script("", &format!("encrypt;\n{}", slow_tests(40))));
    let slow = [slow_field().as_bytes(), &message("slow")].concat();
    // Pigeonhole does not disable the script either.
    for n in 1..3 {
        let answer = dovecot.deliver(ME, &slow);
        assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
        dovecot.log_line(&["excessive resource usage"]);
        let stored = dovecot.stored(ME);
        assert_eq!(stored.len(), n, "{}", dovecot.log());
        assert!(stored.iter().all(|(_, stored)| decrypt(stored, &key).ends_with(&slow)));
    }
    assert!(!dovecot.log().contains("BUG"), "{}", dovecot.log());
    dovecot.assert_nowhere(SECRET);
}

/// A script that requires the extension has asked for encryption: if it fails before it comes to that, the message is
/// deferred. A script that ends well stores what it says.
#[test]
fn a_failure_in_front_of_encrypt_defers() {
    let fails = |requires: &str, body: &str| script(requires, &format!("{body}\nencrypt;"));
    let error = fails(", \"ihave\"", "error \"x\";");
    let redirects: String = (0..5).map(|i| format!("redirect \"x{i}@example.net\";\n")).collect();
    let included = "require \"include\"; include :personal \"own\"; keep;";
    let condition =
        script(", \"ihave\"", "if header :contains \"subject\" \"nothing\" { encrypt; } error \"x\";");
    let tries = |last: &str| {
        script(", \"ihave\"", &format!("encrypt :try \"nobody@example.net\"; error \"x\"; {last}"))
    };
    for (what, before_script, user_script, deferred) in [
        ("error", None, error.as_str(), true),
        ("error in sieve_before", Some(error.as_str()), "keep;", true),
        ("error behind a condition", None, &condition, true),
        ("too many redirects", None, &fails("", &redirects), true),
        ("too much time", None, &fails("", &slow_tests(40)), true),
        ("too much time in sieve_before", Some(&fails("", &slow_tests(40))), "keep;", true),
        ("in an included script", None, included, true),
        ("behind a failed :try", None, &tries("encrypt;"), true),
        ("behind a failed :try, the last one", None, &tries("keep;"), true),
        ("ended well", None, "require \"vnd.perot.encrypt\"; keep;", false),
        (
            "ended well, a later one fails",
            Some("require \"vnd.perot.encrypt\";"),
            "require \"ihave\"; error \"x\";",
            false,
        ),
        (
            "ended well, its action fails",
            None,
            "require [\"vnd.perot.encrypt\", \"fileinto\"]; fileinto \"nowhere\";",
            false,
        ),
        ("does not require it", None, "require \"ihave\"; error \"x\";", false),
    ] {
        let limit = "sieve_max_cpu_time = 1s\n";
        let config = Config {
            plugin_23: limit.into(),
            extra_24: limit.into(),
            before: before_script.map(str::to_owned),
            ..Config::default()
        };
        let dovecot = Dovecot::start(&config);
        dovecot.give(ME, "k.asc", &armored(&key_for(ME)));
        dovecot.script(ME, user_script);
        // Pigeonhole 0.5.19 ends in an assertion if there is this folder, the active script is not a link into it, and
        // that script takes too much time.
        if user_script == included {
            let own = dovecot.home(ME).join("sieve");
            fs::create_dir(&own).unwrap();
            fs::write(own.join("own.sieve"), &error).unwrap();
            [own.clone(), own.join("own.sieve")].iter().for_each(|path| dovecot.own(path));
        }
        let answer = dovecot.deliver(ME, &[slow_field().as_bytes(), &message("front")].concat());
        if deferred {
            let expected = "Message could not be encrypted for its owner (bad_script)";
            assert!(
                answer.starts_with("451 ") && answer.contains(expected),
                "{what}: {answer}\n{}",
                dovecot.log()
            );
            assert_nothing_stored(&dovecot, ME);
            let line = "Error: sieve: encrypt: message not encrypted, deferred: the script has failed, and has not encrypted the message";
            dovecot.log_line(&[line]);
            assert_eq!(dovecot.log().matches(line).count(), 1, "{what}\n{}", dovecot.log());
        } else {
            assert!(answer.starts_with("250 "), "{what}: {answer}\n{}", dovecot.log());
            assert!(find(&dovecot.only_message(ME), SECRET.as_bytes()).is_some(), "{what}");
        }
    }
}

/// The administrator who wrote `keep` gets what Pigeonhole does.
#[test]
fn a_failure_in_front_of_encrypt_with_keep() {
    let dovecot = Dovecot::start(&Config { plugin: vec![("on_error", "keep".into())], ..Config::default() });
    dovecot.script(ME, &script(", \"ihave\"", "error \"x\"; encrypt;"));
    let answer = dovecot.deliver(ME, &message("keep"));
    assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
    assert!(find(&dovecot.only_message(ME), SECRET.as_bytes()).is_some());
    dovecot.log_line(&[
        "message not encrypted, stored as it is: the script has failed, and has not encrypted the message",
    ]);
}

/// Neither many calls nor many layers fill the log, or the mailbox.
#[test]
fn a_script_cannot_encrypt_without_end() {
    let dovecot = Dovecot::start(&Config::default());
    let key = key_for(ME);
    dovecot.give(ME, "k.asc", &armored(&key));
    let answer = |body: &str| {
        dovecot.script(ME, &script("", body));
        dovecot.deliver(ME, &message("often"))
    };
    let said = answer(&"encrypt :force;".repeat(5));
    assert!(said.starts_with("451 "), "{said}\n{}", dovecot.log());
    dovecot.log_line(&["deferred: the script has encrypted this message 4 times, which is the most"]);
    assert!(dovecot.stored(ME).is_empty());
    let said = answer(&"encrypt :try \"nobody@domain.com\";".repeat(2000));
    assert!(said.starts_with("250 "), "{said}\n{}", dovecot.log());
    for (line, n) in
        [("no certificate for nobody@domain.com", 1), ("runs more than 32 times for this message", 1)]
    {
        assert_eq!(dovecot.log().matches(line).count(), n, "{}", dovecot.log());
    }
    let said = answer(&format!("{} encrypt;", "encrypt :force;".repeat(4)));
    assert!(said.starts_with("250 "), "{said}\n{}", dovecot.log());
}
