//! Does what a user does who has only a ManageSieve client, here sieve-connect.

use std::fs;
use std::process::Command;

use crate::{literal, message, script, start, SECRET};
use perot_encrypt::openpgp::crypto::has_post_quantum;
use perot_testing::dovecot::{run, Dovecot};
use perot_testing::pages::blocks;
use perot_testing::post_quantum::KINDS;
use perot_testing::{armored, armored_secret, decrypt, expired, key_for, revoked, signing_only};

const ME: &str = "me@domain.com";

/// Makes a file on the user's own computer.
fn file(dovecot: &Dovecot, name: &str, script: &str) -> String {
    let path = dovecot.path(name);
    fs::write(&path, script).unwrap();
    path.display().to_string()
}

#[test]
fn a_script_with_a_certificate_from_the_upload_to_the_mail() {
    let dovecot = start();
    let said = dovecot.sieve_connect(ME, &["--debug"], "list\n");
    let capability = said.lines().find(|line| line.contains("\"SIEVE\" \"")).unwrap_or(&said);
    assert!(capability.contains(" vnd.perot.encrypt"), "{capability}");

    for line_end in ["\n", "\r\n"] {
        // Uploading it with another key replaces the active script.
        let key = key_for("somebody@else.org");
        let script = script("", &literal(&armored(&key))).replace('\n', line_end);
        let local = file(&dovecot, "mine.sieve", &script);
        let got = dovecot.path("got.sieve");
        let commands = format!("upload {local} mine\nactivate mine\nlist\ndownload mine {}\n", got.display());
        let said = dovecot.sieve_connect(ME, &[], &commands);
        assert_eq!(said.trim(), "\"mine\" ACTIVE");
        assert_eq!(fs::read_to_string(got).unwrap(), script);

        let answer = dovecot.deliver(ME, &message("uploaded"));
        assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
        assert!(decrypt(&dovecot.only_message(ME), &key).ends_with(&message("uploaded")));
        dovecot.assert_nowhere(SECRET);
        fs::remove_dir_all(dovecot.home(ME).join("Maildir")).unwrap();
    }
}

/// Runs the steps of doc/admin/keys.md, with another server, and with GnuPG.
#[test]
fn the_steps_of_the_page() {
    let dovecot = start();
    let key = key_for(ME);
    let folder = dovecot.path("mine");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("key"), armored(&key)).unwrap();
    fs::write(folder.join("password"), "test\n").unwrap();
    let client = format!("sieve-connect <password {}", dovecot.sieve_connect_options().join(" "));
    let steps = blocks("doc/admin/keys.md", "With nothing but ManageSieve");
    let commands = steps[..3].concat().replace("sieve-connect --server mail.domain.com", &client);
    let commands = format!("mkdir -m 700 gnupg; gpg --batch --quiet --import key\n{commands}");
    let output = run(Command::new("sh")
        .args(["-euc", &commands])
        .current_dir(&folder)
        .env("GNUPGHOME", folder.join("gnupg")));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{commands}: {said}\n{}", dovecot.log());
    assert!(dovecot.deliver(ME, &message("page")).starts_with("250 "), "{}", dovecot.log());
    assert!(decrypt(&dovecot.only_message(ME), &key).ends_with(&message("page")));

    // This script causes the error that the page quotes.
    let script = fs::read_to_string(folder.join("encrypt.sieve")).unwrap();
    let checksum = script.rfind("\n=").unwrap() + 1;
    let damaged = [&script[..checksum], "=AAAA", &script[checksum + 5..]].concat();
    let local = file(&dovecot, "encrypt.sieve", &damaged);
    let said = dovecot.sieve_connect(ME, &[], &format!("upload {local}\n"));
    assert!(said.contains(steps[3].trim_end()), "{said}");
}

#[test]
fn what_is_refused_says_why_and_what_helps() {
    let dovecot = start();
    fs::write(dovecot.certs().join("me.asc"), armored(&key_for(ME))).unwrap();
    let key = key_for("x@t.org");
    let armor = String::from_utf8(armored(&key)).unwrap().replace("\r\n", "\n");
    let lines: Vec<&str> = armor.lines().collect();
    let without_a_line = [&lines[..10], &lines[11..]].concat().join("\n");
    let mut flipped = armor.clone().into_bytes();
    let letter = (armor.len() / 2..).find(|&i| flipped[i].is_ascii_alphabetic()).unwrap();
    flipped[letter] ^= 0x20;
    let many = (0..33).map(|i| format!("\"u{i}@t.org\"")).collect::<Vec<_>>().join(", ");
    let no_certificate = format!(
        "Searched: {}/pgp-certs (not there), {} (1 certificate). Put one there, or correct \
         sieve_perot_encrypt_certs. Or write the certificate itself into the script.",
        dovecot.home(ME).display(),
        dovecot.certs().display()
    );
    let revoked = revoked(ME);
    let anew = "Export it anew (gpg --armor --export ADDRESS), and paste all of it, from the BEGIN line to the END line.";
    let block = |kind: &str, content: &str| {
        literal(format!("-----BEGIN PGP {kind}-----\n\n{content}\n-----END PGP {kind}-----").as_bytes())
    };
    let fingerprint = "0123456789012345678901234567890123456789";
    let rows: &[(&str, String, &str, &str)] = &[
        ("half", literal(&armor.as_bytes()[..armor.len() / 2]), "no END line: it is cut off. ", anew),
        ("line", literal(without_a_line.as_bytes()), "it is damaged: its checksum is wrong. ", anew),
        ("letter", literal(&flipped), "it is damaged: its checksum is wrong. ", anew),
        ("garbage", block("PUBLIC KEY BLOCK", "xxxx"), "it is cut off: its packets do not fit together. ", anew),
        ("message", block("MESSAGE", "xxxx"), "not a certificate (PGP PUBLIC KEY BLOCK, CERTIFICATE). ", anew),
        (
            "secret",
            literal(&armored_secret(&key)),
            "it holds the secret key, which must never be on a server: ",
            "export the public part (gpg --armor --export ADDRESS), and consider the secret key as known to others.",
        ),
        (
            "revoked",
            literal(&armored(&revoked)),
            &format!("certificate {} is revoked: ", revoked.fingerprint().to_hex()),
            "put the certificate of the new key in its place.",
        ),
        (
            "signing",
            literal(&armored(&signing_only(ME))),
            "cannot be encrypted to: it has no encryption subkey. ",
            "Add one, and export the certificate anew.",
        ),
        ("unknown", "encrypt \"nobody@t.org\";".into(), "no certificate for nobody@t.org. ", &no_certificate),
        (
            "fingerprint",
            format!("encrypt \"{fingerprint}\";"),
            &format!("no certificate for {fingerprint}. "),
            &no_certificate,
        ),
        (
            "keyid",
            "encrypt \"DEADBEEFDEADBEEF\";".into(),
            "is a key ID, and anybody can make a key with the same one: ",
            "write the whole fingerprint.",
        ),
        (
            "name",
            "encrypt \"me\";".into(),
            "'me': a recipient in the script is not one: ",
            "write an e-mail address (me@domain.com), a fingerprint of 40 or 64 hex digits, or a certificate itself \
             (-----BEGIN PGP PUBLIC KEY BLOCK----- or -----BEGIN CERTIFICATE-----).",
        ),
        ("also", "encrypt :also \"nobody@t.org\";".into(), "no certificate for nobody@t.org. ", &no_certificate),
        (
            "loop",
            "require \"foreverypart\"; foreverypart { if true { encrypt; } }".into(),
            "encrypt cannot stand in a foreverypart loop: ",
            "put it in front of the loop or behind it.",
        ),
        ("many", format!("encrypt [{many}];"), "up to 32 recipients, and these are 33: ", "leave some out."),
    ];
    let mut commands = String::new();
    for (name, body, ..) in rows {
        let local = file(&dovecot, name, &script("", body));
        commands += &format!("upload {local} {name}\ncheckscript {local}\n");
    }
    let large = file(&dovecot, "large", &format!("# {}\n{}", "x".repeat(1 << 20), script("", "encrypt;")));
    commands += &format!("upload {large} large\nlist\n");

    let said = dovecot.sieve_connect(ME, &[], &commands);
    for (name, _, why, remedy) in rows {
        // Each fault has one line, which begins with its place in the script. Each command reports it once.
        let sentence = format!("{why}{remedy}");
        let told: Vec<&str> = said.lines().filter(|line| line.ends_with(&sentence)).collect();
        assert!(told.len() >= 2, "{name}: '{sentence}' is not in\n{said}");
        assert!(told.iter().all(|line| line.contains("line 2: error: ")), "{told:?}");
    }
    assert!(said.contains("PUTSCRIPT(large) failed: NO (QUOTA/MAXSIZE) \"Script is too large"), "{said}");
    let refused = said.matches(") failed: NO ").count() + said.matches("CHECKSCRIPT failed: NO ").count();
    assert_eq!(refused, 2 * rows.len() + 1, "{said}");
    // Nothing is listed, so nothing has been stored.
    assert!(said.trim_start().starts_with("PUTSCRIPT("), "{said}");
}

#[test]
fn several_faults_are_told_at_once() {
    let dovecot = start();
    let text = script("", "encrypt [\"a@t.org\",\n  \"b@t.org\", \"me\"];");
    let local = file(&dovecot, "several", &text);
    let said = dovecot.sieve_connect(ME, &[], &format!("upload {local} several\n"));
    for (line, fault) in
        [(2, "no certificate for a@t.org"), (3, "no certificate for b@t.org"), (3, "'me': a recipient")]
    {
        let expected = format!("several: line {line}: error: encrypt: {fault}");
        assert!(said.lines().any(|l| l.starts_with(&expected)), "'{expected}' is not in\n{said}");
    }
}

/// A script with a warning is stored, and its user sees the warning.
#[test]
fn a_warning_reaches_the_user() {
    let dovecot = start();
    let key = expired(ME);
    let expired = "has expired: renew it, and export it anew.";
    let expired = format!("line 2: warning: encrypt: certificate {} {expired}", key.fingerprint());
    let before = "line 3: warning: 'keep' on line 2 comes before 'encrypt': it takes the message as it is, not encrypted.";
    let behind = "line 3: warning: 'redirect' sends the message that 'encrypt' on line 2 has encrypted, without the sender's \
                  DKIM signature: receivers that check DMARC may refuse it.";
    let rows = [
        ("open", "keep;\nencrypt;".to_owned(), before),
        ("branch", "if not encrypted { keep; } else { stop; }\nencrypt;".into(), before),
        ("sends", "encrypt;\nif true { redirect \"x@t.org\"; }".into(), behind),
        ("late", literal(&armored(&key)), &expired),
    ];
    let upload = |(name, body, _): &(&str, String, &str)| {
        format!("upload {} {name}\n", file(&dovecot, name, &script("", body)))
    };
    let commands = rows.iter().map(upload).collect::<String>() + "activate late\nlist\n";
    let said = dovecot.sieve_connect(ME, &[], &commands);
    for (name, _, warning) in rows {
        // sieve-connect calls this a failure, the server does not.
        let expected = format!("PUTSCRIPT({name}) failed: OK (WARNINGS)");
        assert!(said.contains(&expected), "'{expected}' is not in\n{said}");
        let said = said.replace('`', "'");
        assert!(said.contains(&format!("\n{name}: {warning}")), "'{warning}' is not in\n{said}");
    }
    assert!(said.contains("\"late\" ACTIVE") && said.contains("\"open\"\n"), "{said}");

    let answer = dovecot.deliver(ME, &message("late"));
    assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
    assert!(decrypt(&dovecot.only_message(ME), &key).ends_with(&message("late")));
}

/// A certificate that is used in part, since the crypto library lacks algorithms, draws a warning, too.
#[test]
fn a_warning_of_post_quantum_subkeys_that_are_left_out() {
    let dovecot = start();
    let [both, ..] = KINDS;
    let local = file(&dovecot, "mine", &script("", &literal(&both.public())));
    let said = dovecot.sieve_connect(ME, &[], &format!("upload {local} mine\nactivate mine\n"));
    let warning = format!(
        "mine: line 2: warning: encrypt: certificate {} has a post-quantum subkey that is not used: subkey ",
        both.cert().fingerprint()
    );
    assert_eq!(said.contains(&warning), !has_post_quantum(), "{said}");
    let answer = dovecot.deliver(ME, &message("both"));
    assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
    assert!(decrypt(&dovecot.only_message(ME), &both.cert()).ends_with(&message("both")));
}

#[test]
fn a_script_whose_certificate_is_gone_is_not_activated() {
    let dovecot = start();
    let certificate = dovecot.certs().join("me.asc");
    fs::write(&certificate, armored(&key_for(ME))).unwrap();
    let local = file(&dovecot, "mine", &script("", &format!("encrypt \"{ME}\";")));
    let said = dovecot.sieve_connect(ME, &[], &format!("upload {local} mine\n"));
    assert_eq!(said.trim(), "");
    fs::remove_file(certificate).unwrap();
    let said = dovecot.sieve_connect(ME, &[], "activate mine\nlist\n");
    assert!(
        said.contains("mine: line 2: error: encrypt: no certificate for me@domain.com. Searched: "),
        "{said}"
    );
    assert!(said.contains("\"mine\"\n"), "{said}");
}
