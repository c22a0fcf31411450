//! Reads stored mail with the programs that people use.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use sequoia_openpgp::armor;
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::serialize::stream::{Armorer, Message, Signer};
use sequoia_openpgp::serialize::SerializeInto;
use sequoia_openpgp::Cert;
use tempfile::TempDir;

use crate::{message, script, start};
use perot_encrypt::settings::Settings;
use perot_testing::dovecot::run;
use perot_testing::pages::{project, read, shown};
use perot_testing::{
    armored, armored_secret, builder, ciphertext, decrypt, encrypt_to, find, key_for, settings, version6,
    with_crlf,
};

const ME: &str = "me@domain.com";
const PAGE: &str = "doc/user/readers.md";

/// Decrypts with a program: takes the secret key and the mail, returns the program's output.
type Decrypt = fn(&Cert, &[u8]) -> Output;
/// Verifies with a program: takes the sender's certificate, the signed bytes and the signature.
type Verify = fn(&Cert, &[u8], &[u8]) -> Output;

/// Makes a message encrypted to `key`, compressed or not. Returns it with its payload.
fn encrypted(key: &Cert, compress: bool) -> (Vec<u8>, Vec<u8>) {
    let certs = folder_with(&[("me.asc", &armored(key))]);
    let message = [message("read"), "grüße\r\n".repeat(10_000).into_bytes()].concat();
    let settings = Settings { compress, ..settings(&[certs.path()]) };
    let (_, encrypted) = encrypt_to(&settings, &[ME.as_bytes()], &message).unwrap();
    (encrypted, message)
}

fn folder_with(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

/// The page says how to read what Thunderbird shows as an empty page.
#[test]
fn smime_p7m() {
    let text = with_crlf(&message("opaque"));
    let folder = folder_with(&[("message", &text)]);
    let shell = |commands: &str| {
        let output = run(Command::new("sh").args(["-euc", commands]).current_dir(folder.path()));
        assert!(output.status.success(), "{commands}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    shell(
        "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=sender -keyout key -out certificate
        openssl cms -sign -nodetach -binary -outform DER -signer certificate -inkey key -in message -out smime.p7m",
    );
    let [open] = shown(PAGE, "Mail that its sender signed with S/MIME");
    assert!(shell(&open) == text);
}

fn keys() -> Vec<(&'static str, Cert)> {
    use sequoia_openpgp::cert::CipherSuite;
    use sequoia_openpgp::types::Features;
    vec![
        ("Curve25519", key_for(ME)),
        ("RSA", builder(ME).set_cipher_suite(CipherSuite::RSA2k).generate().unwrap().0),
        ("NIST P-256", builder(ME).set_cipher_suite(CipherSuite::P256).generate().unwrap().0),
        (
            "one that advertises SEIPDv2",
            builder(ME).set_features(Features::sequoia()).unwrap().generate().unwrap().0,
        ),
    ]
}

fn check(what: &str, output: &Output, expected: &[u8]) {
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == expected, "{what}: another message");
}

fn reads_messages_to_all_keys(decrypt: Decrypt) {
    for (what, key) in keys() {
        for compress in [false, true] {
            let (mail, expected) = encrypted(&key, compress);
            check(&format!("{what}, compress = {compress}"), &decrypt(&key, &mail), &expected);
        }
    }
}

#[test]
fn gnupg() {
    reads_messages_to_all_keys(gpg_decrypt);
}

#[test]
fn sequoia_sq() {
    reads_messages_to_all_keys(sq_decrypt);
}

#[test]
fn rnp() {
    reads_messages_to_all_keys(rnp_decrypt);
}

#[test]
fn openpgp_js() {
    reads_messages_to_all_keys(js_decrypt);
}

/// sq reads them from version 1 on: that of Debian 13 does, that of Debian 12 does not.
#[test]
fn messages_to_a_version_6_certificate() {
    let key = version6(ME);
    for compress in [false, true] {
        let (mail, expected) = encrypted(&key, compress);
        check(&format!("OpenPGP.js, compress = {compress}"), &js_decrypt(&key, &mail), &expected);
        let output = sq_decrypt(&key, &mail);
        if sq_is_old() {
            assert!(!output.status.success(), "this sq is old, and reads it all the same: correct this test");
        } else {
            check(&format!("sq, compress = {compress}"), &output, &expected);
        }
    }
}

fn gpg(home: &Path) -> Command {
    let mut command = Command::new("gpg");
    command.arg("--homedir").arg(home).args(["--batch", "--quiet"]).stdin(Stdio::null());
    command
}

/// A home of GnuPG with keys. Dropping it ends the agent.
pub struct GnuPg(TempDir);

impl GnuPg {
    pub fn with(keys: &[&[u8]]) -> Self {
        let home = tempfile::tempdir().unwrap();
        for key in keys {
            fs::write(home.path().join("key.asc"), key).unwrap();
            assert!(run(gpg(home.path()).arg("--import").arg(home.path().join("key.asc"))).status.success());
        }
        Self(home)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for GnuPg {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").arg("--homedir").arg(self.0.path()).args(["--kill", "all"]).status();
    }
}

/// Decrypts a message with GnuPG and the secret key of `key`. GnuPG gets the whole mail, as from a user who
/// recovers a message.
pub fn gpg_decrypts(key: &Cert, message: &[u8]) -> Vec<u8> {
    let output = gpg_decrypt(key, message);
    assert!(output.status.success(), "gpg: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn gpg_decrypt(key: &Cert, mail: &[u8]) -> Output {
    let (home, folder) = (GnuPg::with(&[&armored_secret(key)]), folder_with(&[("message.eml", mail)]));
    run(gpg(home.0.path()).arg("-d").arg(folder.path().join("message.eml")))
}

fn gpg_verify(sender: &Cert, part: &[u8], signature: &[u8]) -> Output {
    let (home, folder) =
        (GnuPg::with(&[&armored(sender)]), folder_with(&[("part", part), ("part.asc", signature)]));
    run(gpg(home.0.path())
        .arg("--verify")
        .arg(folder.path().join("part.asc"))
        .arg(folder.path().join("part")))
}

/// The options of sq changed between Debian 12 and 13.
fn sq_is_old() -> bool {
    version("sq").starts_with("0.")
}

fn sq(folder: &Path) -> Command {
    let mut command = Command::new("sq");
    command.current_dir(folder).stdin(Stdio::null());
    command.env("HOME", folder).env("SEQUOIA_HOME", folder.join("sequoia"));
    command
}

fn sq_decrypt(key: &Cert, mail: &[u8]) -> Output {
    let secret = key.as_tsk().to_vec().unwrap();
    let folder = folder_with(&[("secret.pgp", &secret), ("message.asc", ciphertext(mail))]);
    let option = if sq_is_old() { "--recipient-key" } else { "--recipient-file" };
    run(sq(folder.path()).args(["decrypt", option, "secret.pgp", "message.asc"]))
}

fn sq_verify(sender: &Cert, part: &[u8], signature: &[u8]) -> Output {
    let folder = folder_with(&[("sender.asc", &armored(sender)), ("part", part), ("part.asc", signature)]);
    let (signer, detached) =
        if sq_is_old() { ("--signer-cert", "--detached") } else { ("--signer-file", "--signature-file") };
    run(sq(folder.path()).args(["verify", signer, "sender.asc", detached, "part.asc", "part"]))
}

/// Runs `rnp` with a key.
fn rnp_with(key: &[u8], files: &[(&str, &[u8])], arguments: &[&str]) -> Output {
    let folder = folder_with(files);
    fs::write(folder.path().join("key.asc"), key).unwrap();
    fs::create_dir(folder.path().join("rnp")).unwrap();
    let rnp = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.current_dir(folder.path()).args(["--homedir", "rnp"]).args(arguments);
        run(command.stdin(Stdio::null()))
    };
    assert!(rnp("rnpkeys", &["--import", "key.asc"]).status.success());
    rnp("rnp", arguments)
}

fn rnp_decrypt(key: &Cert, mail: &[u8]) -> Output {
    let arguments = ["--password", "", "--decrypt", "message.asc", "--output", "-"];
    rnp_with(&armored_secret(key), &[("message.asc", ciphertext(mail))], &arguments)
}

fn rnp_verify(sender: &Cert, part: &[u8], signature: &[u8]) -> Output {
    let files = [("part", part), ("part.asc", signature)];
    rnp_with(&armored(sender), &files, &["--verify", "part.asc", "--source", "part"])
}

/// Runs tests/openpgpjs/read.js.
fn js(files: &[(&str, &[u8])], arguments: &[&str]) -> Output {
    let (folder, modules) = (folder_with(files), project("build/openpgpjs/node_modules"));
    assert!(modules.exists(), "{} is not there: run `make test-deps`", modules.display());
    let mut node = Command::new("node");
    node.current_dir(folder.path()).env("NODE_PATH", modules).stdin(Stdio::null());
    run(node.arg(project("tests/openpgpjs/read.js")).args(arguments))
}

fn js_decrypt(key: &Cert, mail: &[u8]) -> Output {
    let files = [("secret.asc", &armored_secret(key)[..]), ("message.asc", ciphertext(mail))];
    js(&files, &["decrypt", "secret.asc", "message.asc"])
}

fn js_verify(sender: &Cert, part: &[u8], signature: &[u8]) -> Output {
    let files = [("sender.asc", &armored(sender)[..]), ("part", part), ("part.asc", signature)];
    js(&files, &["verify", "sender.asc", "part.asc", "part"])
}

/// Finds the version in the output of a program.
fn version_in(output: &Output) -> Option<String> {
    let text = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
    let word = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    Some(word.split(|c: char| !c.is_ascii_digit() && c != '.').next()?.to_owned())
}

pub fn version(program: &str) -> String {
    // sq of Debian 13 only knows the second way.
    let asked = ["--version", "version"].map(|how| run(Command::new(program).arg(how)));
    asked.iter().find_map(version_in).unwrap_or_else(|| panic!("{program}: {asked:?}"))
}

/// Mail of others, as Dovecot has stored it, each with the original.
struct Mails {
    key: Cert,
    sender: Cert,
    /// With umlauts, a part of 8-bit text, and an attachment.
    plain: [Vec<u8>; 2],
    signed: [Vec<u8>; 2],
    /// Like `plain`, with the subject hidden.
    hidden: [Vec<u8>; 2],
}

const SUBJECT: &str = "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe_aus_K=C3=B6ln?=";
const SUBJECT_READ: &str = "Grüße aus Köln";
const TEXTS: [&str; 2] = ["Die Nachtigall schlägt.", "Straße"];
const ATTACHMENT: &str = "Übersicht.pdf";

impl Mails {
    fn stored() -> Self {
        let (key, sender) = (key_for(ME), key_for("sender@example.net"));
        let dovecot = start();
        fs::write(dovecot.certs().join("me.asc"), armored(&key)).unwrap();
        let store = |user: &str, action: &str, content: &[u8]| {
            let header = format!(
                "From: sender@example.net\r\nTo: {user}\r\n{SUBJECT}\r\nMessage-ID: <{user}>\r\nMIME-Version: 1.0\r\n"
            );
            let original = [header.as_bytes(), content].concat();
            dovecot.script(user, &script("", &format!("{action} \"{ME}\";")));
            let answer = dovecot.deliver(user, &original);
            assert!(answer.starts_with("250 "), "{answer}\n{}", dovecot.log());
            [dovecot.only_message(user), original]
        };
        let hidden = store("hidden@t.org", "encrypt :hidesubject", &with_attachment());
        assert!(find(&hidden[0], b"Subject: [...]").is_some());
        Self {
            plain: store("plain@t.org", "encrypt", &with_attachment()),
            signed: store("signed@t.org", "encrypt", &signed(&sender)),
            hidden,
            key,
            sender,
        }
    }
}

fn with_attachment() -> Vec<u8> {
    let first = format!(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n\
         --b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{}\r\n\
         --b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
        TEXTS[0]
    );
    let last = "\r\n--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\
                Content-Disposition: attachment; filename*=utf-8''%C3%9Cbersicht.pdf\r\n\r\nJVBERi0=\r\n--b--\r\n";
    [first.as_bytes(), b"Stra\xdfe", last.as_bytes()].concat()
}

/// Makes a signed message as in RFC 3156.
fn signed(sender: &Cert) -> Vec<u8> {
    let part =
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
                Gr=C3=BC=C3=9Fe=20\r\n";
    let policy = StandardPolicy::new();
    let key = sender.keys().with_policy(&policy, None).for_signing().secret().next().unwrap();
    let signer = key.key().clone().into_keypair().unwrap();
    let mut signature = Vec::new();
    let armorer = Armorer::new(Message::new(&mut signature)).kind(armor::Kind::Signature).build().unwrap();
    let mut writer = Signer::new(armorer, signer).unwrap().detached().build().unwrap();
    writer.write_all(part.as_bytes()).unwrap();
    writer.finalize().unwrap();
    format!(
        "Content-Type: multipart/signed; micalg=pgp-sha512; protocol=\"application/pgp-signature\"; boundary=s\r\n\r\n\
         --s\r\n{part}\r\n--s\r\nContent-Type: application/pgp-signature\r\n\r\n{}\r\n--s--\r\n",
        String::from_utf8(with_crlf(&signature)).unwrap()
    )
    .into_bytes()
}

/// Returns the signed bytes and the signature in a message that [`signed`] has made.
fn signed_parts(message: &[u8]) -> (&[u8], &[u8]) {
    let at = |from: usize, what: &str| from + find(&message[from..], what.as_bytes()).unwrap();
    let begin = at(0, "\r\n--s\r\n") + 7;
    let end = at(begin, "\r\n--s\r\n");
    (&message[begin..end], &message[at(end, "-----BEGIN")..at(end, "\r\n--s--")])
}

/// Checks that a program gives back every byte of the originals, and verifies the sender's signature.
fn tool(mails: &Mails, decrypts: Decrypt, verify: Verify) -> Vec<bool> {
    let reads = |[stored, original]: &[Vec<u8>; 2]| {
        let (output, payload) = (decrypts(&mails.key, stored), decrypt(stored, &mails.key));
        println!("{}", String::from_utf8_lossy(&output.stderr));
        let content = &original[find(original, b"--").unwrap()..];
        let original = [content, SUBJECT.as_bytes()].iter().all(|part| find(&payload, part).is_some());
        original && output.stdout == payload
    };
    let payload = decrypt(&mails.signed[0], &mails.key);
    let (part, signature) = signed_parts(&payload);
    let output = verify(&mails.sender, part, signature);
    println!("{}", String::from_utf8_lossy(&output.stderr));
    let forged = verify(&mails.sender, &[b"\r\n", part].concat(), signature);
    vec![
        [&mails.plain, &mails.signed, &mails.hidden].into_iter().all(reads),
        output.status.success() && !forged.status.success(),
    ]
}

/// Checks what a mail program shows of the three mails: umlauts, the names of attachments, that the sender's
/// signature is good, and the subject that was hidden.
fn shows(plain: &str, signed: &str, hidden: &str, good_signature: &str) -> Vec<bool> {
    println!("{plain}\n{signed}\n{hidden}");
    let both = |text: &str| plain.contains(text) && hidden.contains(text);
    vec![
        TEXTS.iter().all(|text| both(text)),
        both(ATTACHMENT),
        signed.contains(good_signature),
        hidden.contains(SUBJECT_READ),
    ]
}

/// Reads the mail in a Maildir as a person would: neomutt has a terminal, and shows the first message.
fn neomutt(gnupg: &GnuPg, maildir: &Path) -> String {
    let shown = maildir.join("shown");
    let settings = format!(
        "set folder={0} spoolfile={0} header_cache='' wait_key=no charset=utf-8 display_filter='tee {1}'\n\
         push '<display-message><exit><exit>'\n",
        maildir.display(),
        shown.display()
    );
    fs::write(maildir.join("muttrc"), settings).unwrap();
    // neomutt would wait for ever if it asked a question.
    let mut terminal = Command::new("timeout");
    terminal
        .args(["300", "script", "-qec", "stty rows 40 cols 120; neomutt -n -R -F muttrc", "/dev/null"])
        .current_dir(maildir);
    terminal
        .env("GNUPGHOME", gnupg.0.path())
        .env("HOME", maildir)
        .env("TERM", "xterm")
        .env("LC_ALL", "C.UTF-8");
    let output = run(terminal.stdin(Stdio::null()));
    let screen = String::from_utf8_lossy(&output.stdout).into_owned();
    let shown = fs::read(shown).unwrap_or_else(|e| panic!("NeoMutt shows nothing: {e}: {screen}"));
    String::from_utf8_lossy(&shown).into_owned()
}

/// Returns the JSON in which notmuch shows the mail.
fn notmuch(gnupg: &GnuPg, maildir: &Path) -> String {
    let config = maildir.join("config");
    let settings = format!(
        "[database]\npath={}\n[user]\nname=Me\nprimary_email={ME}\n[maildir]\nsynchronize_flags=false\n",
        maildir.display()
    );
    fs::write(&config, settings).unwrap();
    let notmuch = |arguments: &[&str]| {
        let mut command = Command::new("notmuch");
        command.env("NOTMUCH_CONFIG", &config).env("GNUPGHOME", gnupg.0.path()).env("HOME", maildir);
        let output = run(command.args(arguments).stdin(Stdio::null()));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    notmuch(&["new", "--quiet"]);
    let shown = notmuch(&["show", "--decrypt=true", "--format=json", "*"]);
    String::from_utf8(shown).unwrap()
}

fn mail_program(mails: &Mails, show: fn(&GnuPg, &Path) -> String, good_signature: &str) -> Vec<bool> {
    let gnupg = GnuPg::with(&[&armored_secret(&mails.key), &armored(&mails.sender)]);
    let shown = [&mails.plain, &mails.signed, &mails.hidden].map(|[stored, _]| {
        let maildir = tempfile::tempdir().unwrap();
        for name in ["cur", "new", "tmp"] {
            fs::create_dir(maildir.path().join(name)).unwrap();
        }
        fs::write(maildir.path().join("new/1"), stored).unwrap();
        show(&gnupg, maildir.path())
    });
    shows(&shown[0], &shown[1], &shown[2], good_signature)
}

/// Returns the column of the page that has the versions of this Debian.
fn column_of_this_debian() -> Option<usize> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let is = |number: &str| release.lines().any(|line| line == format!("VERSION_ID=\"{number}\""));
    ["12", "13"].iter().position(|number| is(number)).map(|n| n + 1)
}

/// The tables of the page have the results of these tests. `READERS=write` in the environment corrects them.
#[test]
fn the_page_says_what_each_reader_does() {
    let mails = Mails::stored();
    let js_version = version_in(&js(&[], &["version"])).unwrap();
    let readers = [
        ("GnuPG", version("gpg"), tool(&mails, gpg_decrypt, gpg_verify)),
        ("Sequoia `sq`", version("sq"), tool(&mails, sq_decrypt, sq_verify)),
        ("RNP", version("rnp"), tool(&mails, rnp_decrypt, rnp_verify)),
        ("OpenPGP.js", js_version, tool(&mails, js_decrypt, js_verify)),
        ("NeoMutt", version("neomutt"), mail_program(&mails, neomutt, "Good signature from")),
        (
            "notmuch",
            version("notmuch"),
            mail_program(&mails, notmuch, "\"sigstatus\": [{\"status\": \"good\""),
        ),
    ];
    let page = read(PAGE);
    let mut tried = page.clone();
    for (name, version, does) in readers {
        let row = page.lines().find(|line| line.starts_with(&format!("| {name} |")));
        let row = row.unwrap_or_else(|| panic!("{PAGE} has no {name}"));
        let mut cells: Vec<String> =
            row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
        if let Some(column) = column_of_this_debian() {
            cells[column] = version;
        }
        let does = does.iter().map(|does| if *does { "yes" } else { "no" }.to_owned());
        cells.splice(3.., does);
        tried = tried.replace(row, &format!("| {} |", cells.join(" | ")));
    }
    if std::env::var("READERS").is_ok_and(|what| what == "write") {
        fs::write(project(PAGE), &tried).unwrap();
    }
    assert!(read(PAGE) == tried, "{PAGE} is not what was tried: see with READERS=write\n{tried}");
}

/// Checks what SECURITY.md says about changes to stored mail. GnuPG prints what it decrypts as it goes, and
/// reports an error at the end.
#[test]
fn gnupg_notices_what_was_changed_in_the_storage() {
    let key = key_for(ME);
    let (stored, expected) = encrypted(&key, false);
    let mut binary = Vec::new();
    let mode = armor::ReaderMode::Tolerant(Some(armor::Kind::Message));
    armor::Reader::from_bytes(ciphertext(&stored), mode).read_to_end(&mut binary).unwrap();
    assert!(gpg_decrypts(&key, &binary) == expected);

    let (first, second) = (20_000, 40_000);
    let mut flipped = binary.clone();
    flipped[first] ^= 1;
    let mut reordered = binary.clone();
    (0..1024).for_each(|n| reordered.swap(first + n, second + n));
    for (what, changed) in [("flipped", flipped), ("reordered", reordered)] {
        let output = gpg_decrypt(&key, &changed);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("encrypted message has been manipulated!"), "{what}: {said}");
        assert_eq!(output.status.code(), Some(2), "{what}");
        assert!(!output.stdout.is_empty(), "{what}: then SECURITY.md may say so");
    }
    // GnuPG 2.2 reports the same error, 2.4 that it cannot read on.
    let output = gpg_decrypt(&key, &binary[..second]);
    assert_eq!(output.status.code(), Some(2), "cut off: {}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.len() < expected.len());
}

#[test]
fn a_weak_key_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("gnupg");
    fs::create_dir(&home).unwrap();
    let parameters =
        "Key-Type: RSA\nKey-Length: 1024\nSubkey-Type: RSA\nSubkey-Length: 1024\nSubkey-Usage: encrypt\n\
        Name-Email: me@domain.com\n%no-protection\n%commit\n";
    let file = folder.path().join("parameters");
    fs::write(&file, parameters).unwrap();
    assert!(run(gpg(&home).arg("--gen-key").arg(&file)).status.success());
    let certs = folder.path().join("certs");
    fs::create_dir(&certs).unwrap();
    let exported = run(gpg(&home).args(["--armor", "--export"]));
    let _ = Command::new("gpgconf").arg("--homedir").arg(&home).args(["--kill", "all"]).status();
    fs::write(certs.join("me.asc"), exported.stdout).unwrap();
    let error = encrypt_to(&settings(&[&certs]), &[ME.as_bytes()], &message("weak")).unwrap_err();
    assert!(error.to_string().contains("is too weak (RSA, 1024 bits)"), "{error}");
}
