//! `make try`: sends mail through a private Dovecot, and shows what becomes of it.

use std::path::Path;
use std::process::{Command, Stdio};

use perot_testing::dovecot::{run, Config, Dovecot};

const USER: &str = "me@domain.com";
const SCRIPT: &str = "require \"vnd.perot.encrypt\";\nencrypt \"me@domain.com\";\n";
/// Most lines of a message that are shown: the header, and the beginning of the ciphertext.
const SHOWN: usize = 30;

fn main() {
    let dovecot = Dovecot::start(&Config::default());
    let gnupg = dovecot.path("gnupg");
    std::fs::create_dir(&gnupg).unwrap();
    let gpg = |arguments: &[&str]| gpg(&gnupg, arguments);

    title("A throw-away OpenPGP key");
    gpg(&[
        "--passphrase",
        "",
        "--quick-generate-key",
        "Throw-away <me@domain.com>",
        "default",
        "default",
        "never",
    ]);
    println!("{}", String::from_utf8_lossy(&gpg(&["--list-keys"])).trim());
    let certificate = gpg(&["--armor", "--export", USER]);
    dovecot.give(USER, "me.asc", &certificate);
    println!("\nIts certificate (the public part) is in the user's folder ~/pgp-certs on the server.");
    println!("Its secret key is not on the server.");

    title("The user's Sieve script");
    dovecot.script(USER, SCRIPT);
    print!("{SCRIPT}");

    for (name, message) in messages(&gnupg) {
        title(&format!("{name}: what comes in"));
        show(&message);
        let answer = dovecot.deliver(USER, &message);
        title(&format!("{name}: what the mail server answers, and what it writes to its log"));
        println!("{answer}");
        let log = dovecot.log_line(&["encrypt: message "]);
        println!("{}", log.split_once("Info: ").map_or(log.as_str(), |(_, said)| said));
        if !answer.starts_with("250 ") {
            println!("{}", dovecot.log());
            break;
        }
        let stored = dovecot.only_message(USER);
        title(&format!("{name}: what lies on the disk"));
        show(&stored);
        let file = dovecot.path("stored.eml");
        std::fs::write(&file, stored).unwrap();
        title(&format!("{name}: what `gpg -d` makes of that file, on the machine with the secret key"));
        show(&gpg(&["-d", file.to_str().unwrap()]));
        std::fs::remove_dir_all(dovecot.home(USER).join("Maildir")).unwrap();
        std::fs::write(dovecot.path("log"), "").unwrap();
    }
    let _ = Command::new("gpgconf").arg("--homedir").arg(&gnupg).args(["--kill", "all"]).status();
    println!("\nThat was all. Everything that was started has ended, and its files are gone.");
}

/// Returns the message that the reader gives, or three examples.
fn messages(gnupg: &Path) -> Vec<(String, Vec<u8>)> {
    if let Some(file) = std::env::args().nth(1) {
        let message = std::fs::read(&file).unwrap_or_else(|e| {
            eprintln!("{file}: {e}");
            std::process::exit(1)
        });
        return vec![("Your message".into(), message)];
    }
    let header = |subject: &str| {
        format!(
            "From: Alice <alice@example.net>\r\nTo: me@domain.com\r\nSubject: {subject}\r\n\
             Date: Mon, 02 Nov 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\n"
        )
    };
    let plain =
        header("Lunch") + "Content-Type: text/plain; charset=utf-8\r\n\r\nToday at noon? Grüße, Alice\r\n";
    let attached = header("The contract")
        + "Content-Type: multipart/mixed; boundary=\"part\"\r\n\r\n--part\r\nContent-Type: text/plain\r\n\r\n\
           Please sign.\r\n--part\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; \
           filename=contract.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERi0xLjQK\r\n--part--\r\n";
    let inner = gnupg.join("inner");
    std::fs::write(&inner, "Content-Type: text/plain\r\n\r\nAlice has encrypted this herself.\r\n").unwrap();
    let file = inner.to_str().unwrap();
    let armored = gpg(
        gnupg,
        &["--armor", "--trust-model", "always", "--recipient", USER, "--output", "-", "--encrypt", file],
    );
    let encrypted = header("...")
        + "Content-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=\"part\"\r\n\r\n\
           --part\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n\r\n\
           --part\r\nContent-Type: application/octet-stream\r\n\r\n"
        + &String::from_utf8_lossy(&perot_testing::with_crlf(&armored))
        + "\r\n--part--\r\n";
    vec![
        ("A plain message".into(), plain.into_bytes()),
        ("A message with an attachment".into(), attached.into_bytes()),
        ("A message that is encrypted already".into(), encrypted.into_bytes()),
    ]
}

fn gpg(home: &Path, arguments: &[&str]) -> Vec<u8> {
    let mut command = Command::new("gpg");
    command
        .arg("--homedir")
        .arg(home)
        .args(["--batch", "--quiet", "--no-permission-warning"])
        .args(arguments);
    let output = run(command.stdin(Stdio::null()));
    assert!(output.status.success(), "gpg: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn title(text: &str) {
    println!("\n\n== {text}\n");
}

fn show(message: &[u8]) {
    let text = String::from_utf8_lossy(message);
    for line in text.lines().take(SHOWN) {
        println!("    {}", line.trim_end());
    }
    let more = text.lines().count().saturating_sub(SHOWN);
    if more > 0 {
        println!("    ... and {more} more lines");
    }
}
