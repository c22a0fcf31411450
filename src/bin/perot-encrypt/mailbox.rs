//! Mail that is in mailboxes already: drives Dovecot's own `doveadm` and Pigeonhole's `sieve-filter`.

mod counts;
mod dovecot;
mod namespaces;

use std::collections::HashSet;
use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ArgMatches;

use perot_encrypt::printable::printable;

use counts::{Counts, Line, Seen};
use dovecot::Dovecot;
use namespaces::Namespaces;

/// What the temporary script says.
const SCRIPT: &str = "require \"vnd.perot.encrypt\";\nencrypt;\n";

/// So many different errors of a mailbox are shown: with a full disk there are some for each message.
const ERRORS: usize = 20;

/// After so many messages there is a line that says how far it is.
const PROGRESS: u64 = 1000;

/// Encrypts what is in the mailboxes.
///
/// # Errors
///
/// What keeps it from beginning: users cannot be listed, a program is not there. A failure with one user or mailbox is
/// told, and makes the exit status 1.
pub fn run(matches: &mut ArgMatches) -> Result<ExitCode, Box<dyn Error>> {
    let mut all = |name: &str| matches.remove_many::<String>(name).into_iter().flatten().collect::<Vec<_>>();
    let (users, mailboxes) = (all("user"), all("mailbox"));
    let dovecot = Dovecot { config: matches.remove_one("config") };
    let folder = tempfile::tempdir()?;
    let run = Run {
        script: match matches.remove_one::<String>("script") {
            Some(script) => PathBuf::from(script),
            None => own_script(&dovecot, folder.path())?,
        },
        dry_run: matches.get_flag("dry-run"),
        namespaces: dovecot.namespaces()?,
        mailboxes,
        dovecot,
    };
    let users = if matches.get_flag("all") { run.dovecot.users()? } else { users };
    Ok(run.everybody(&users))
}

/// The script, compiled, in a folder where the user's process can read it and not write.
fn own_script(dovecot: &Dovecot, folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let script = folder.join("encrypt.sieve");
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    fs::write(&script, SCRIPT)?;
    dovecot.compile(&script)?;
    for file in fs::read_dir(folder)? {
        fs::set_permissions(file?.path(), fs::Permissions::from_mode(0o644))?;
    }
    Ok(script)
}

/// What one run is about.
struct Run {
    dovecot: Dovecot,
    script: PathBuf,
    dry_run: bool,
    namespaces: Namespaces,
    mailboxes: Vec<String>,
}

impl Run {
    fn everybody(&self, users: &[String]) -> ExitCode {
        let mut total = Counts::default();
        let mut failed = 0;
        for user in users {
            let counts = self.user(user);
            failed += u64::from(counts.is_failure());
            total += counts;
        }
        println!(
            "users: {} done, {failed} failed; {}",
            users.len() as u64 - failed,
            total.summary(self.dry_run)
        );
        ExitCode::from(u8::from(failed > 0))
    }

    fn user(&self, user: &str) -> Counts {
        let mut total = Counts::default();
        let mailboxes = match self.mailboxes_of(user) {
            Ok(mailboxes) => mailboxes,
            Err(why) => return broken(user, "", &*why),
        };
        for mailbox in &mailboxes {
            let counts = self.mailbox(user, mailbox).unwrap_or_else(|why| broken(user, mailbox, &*why));
            println!("{}: {}", label(user, mailbox), counts.summary(self.dry_run));
            total += counts;
        }
        // mdbox keeps what was expunged until then. A run that was interrupted may have left something, too.
        if !self.dry_run {
            if let Err(why) = self.dovecot.purge(user) {
                total += broken(user, "", &*why);
            }
        }
        total
    }

    fn mailboxes_of(&self, user: &str) -> Result<Vec<String>, Box<dyn Error>> {
        if !self.mailboxes.is_empty() {
            return Ok(self.mailboxes.clone());
        }
        let mut mailboxes = self.dovecot.mailboxes(user)?;
        mailboxes.retain(|mailbox| self.namespaces.is_own(mailbox));
        Ok(mailboxes)
    }

    fn mailbox(&self, user: &str, mailbox: &str) -> Result<Counts, Box<dyn Error>> {
        if !self.namespaces.is_own(mailbox) {
            return Err("it is not the user's own, but shared, public or virtual".into());
        }
        let messages = self.dovecot.messages(user, mailbox)?;
        let seen = self.filter(user, mailbox, messages.len())?;
        let left = match self.dry_run {
            true => None,
            false => Some(self.dovecot.messages(user, mailbox)?),
        };
        if !self.dry_run && seen.encrypted > 0 {
            self.dovecot.purge_cache(user, mailbox)?;
        }
        Ok(Counts::new(&messages, left.as_deref(), &seen))
    }

    /// Runs sieve-filter, and counts what it says.
    fn filter(&self, user: &str, mailbox: &str, messages: usize) -> Result<Seen, Box<dyn Error>> {
        let mut seen = Seen::default();
        let mut told = HashSet::new();
        let success = self.dovecot.filter(user, &self.script, mailbox, self.dry_run, |line| {
            let line = Line::parse(line);
            seen.add(&line);
            if seen.outcomes() % PROGRESS == 0 && line.is_outcome() {
                println!("{}: {} of {messages}", label(user, mailbox), seen.outcomes());
            }
            if let Line::Trouble(text) | Line::NotEncrypted(text) = line {
                if told.len() < ERRORS && told.insert(text.to_owned()) {
                    eprintln!("perot-encrypt: {}: {text}", label(user, mailbox));
                }
            }
        })?;
        seen.broken |= !success;
        Ok(seen)
    }
}

/// Tells what went wrong, and counts it.
fn broken(user: &str, mailbox: &str, why: &dyn Error) -> Counts {
    eprintln!("perot-encrypt: {}: {why}", label(user, mailbox));
    Counts::broken()
}

/// A user and a mailbox, for a line.
fn label(user: &str, mailbox: &str) -> String {
    printable(format!("{user} {mailbox}").trim_end())
}
