//! Mail that is in mailboxes already: drives Dovecot's own `doveadm` and Pigeonhole's `sieve-filter`.

mod counts;
mod dovecot;
mod namespaces;

use std::collections::HashSet;
use std::error::Error;
use std::fmt::Display;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ArgMatches;

use perot_encrypt::log::{printable, printable_line};

use crate::dovecot::{is_pattern, Dovecot};
use counts::{Counts, Line, Seen};
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
/// What keeps it from beginning: users cannot be listed, a program is not there. And if nobody reads what it says. A
/// failure with one user or mailbox is told, and makes the exit status 1.
pub fn run(matches: &mut ArgMatches) -> Result<ExitCode, Box<dyn Error>> {
    let mut all = |name: &str| matches.remove_many::<String>(name).into_iter().flatten().collect::<Vec<_>>();
    let (users, mailboxes) = (all("user"), all("mailbox"));
    let dovecot = Dovecot { config: matches.remove_one("config") };
    let folder = tempfile::tempdir()?;
    let chosen = matches.remove_one::<String>("script").map(PathBuf::from);
    let run = Run {
        chooses: chosen.is_some(),
        script: match chosen {
            Some(script) => script,
            None => own_script(&dovecot, folder.path())?,
        },
        dry_run: matches.get_flag("dry-run"),
        namespaces: dovecot.namespaces()?,
        mailboxes,
        dovecot,
    };
    let users = if matches.get_flag("all") { run.dovecot.users()? } else { users };
    Ok(run.everybody(&users)?)
}

/// The script, compiled, in a folder where the user's process can read it and not write.
fn own_script(dovecot: &Dovecot, folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let script = folder.join("encrypt.sieve");
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    reachable(folder)?;
    fs::write(&script, SCRIPT)?;
    dovecot.compile(&script, None)?;
    for file in fs::read_dir(folder)? {
        fs::set_permissions(file?.path(), fs::Permissions::from_mode(0o644))?;
    }
    Ok(script)
}

/// Fails if this is root, and others cannot enter a folder of root.
fn reachable(folder: &Path) -> Result<(), Box<dyn Error>> {
    let by_root = fs::metadata(folder)?.uid() == 0;
    for above in fs::canonicalize(folder)?.ancestors().filter(|_| by_root) {
        if fs::metadata(above)?.permissions().mode() & 0o001 == 0 {
            let above = above.display();
            return Err(format!("users cannot read a script in {above}: set TMPDIR to another folder").into());
        }
    }
    Ok(())
}

/// What one run is about.
struct Run {
    dovecot: Dovecot,
    script: PathBuf,
    /// The script is the administrator's, and may choose messages.
    chooses: bool,
    dry_run: bool,
    namespaces: Namespaces,
    mailboxes: Vec<String>,
}

impl Run {
    fn everybody(&self, users: &[String]) -> io::Result<ExitCode> {
        let mut total = Counts::default();
        let mut failed = 0;
        for user in users {
            let counts = self.user(user)?;
            failed += u64::from(counts.is_failure());
            total += counts;
        }
        let done = users.len() as u64 - failed;
        writeln!(io::stdout(), "users: {done} done, {failed} failed; {}", total.summary(self.dry_run))?;
        Ok(ExitCode::from(u8::from(failed > 0)))
    }

    /// Fails only if nobody reads what it says.
    fn user(&self, user: &str) -> io::Result<Counts> {
        let mut total = Counts::default();
        let mailboxes = match self.mailboxes_of(user) {
            Ok(mailboxes) => mailboxes,
            Err(why) => return Ok(broken(user, "", &why)),
        };
        for mailbox in &mailboxes {
            let counts = self.mailbox(user, mailbox).unwrap_or_else(|why| broken(user, mailbox, &why));
            writeln!(io::stdout(), "{}: {}", label(user, mailbox), counts.summary(self.dry_run))?;
            total += counts;
        }
        // mdbox keeps what was expunged until then. A run that was interrupted may have left something, too.
        if !self.dry_run {
            if let Err(why) = self.dovecot.purge(user) {
                total += broken(user, "", &why);
            }
        }
        Ok(total)
    }

    fn mailboxes_of(&self, user: &str) -> Result<Vec<String>, Box<dyn Error>> {
        if is_pattern(user) {
            return Err("doveadm would take this name for a pattern: run sieve-filter by hand".into());
        }
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
        if messages.is_empty() && self.mailboxes.is_empty() {
            // It may not even be a mailbox: one that only has others below it is listed, too.
            return Ok(Counts::default());
        }
        let seen = self.filter(user, mailbox, messages.len())?;
        let left = match self.dry_run {
            true => None,
            false => Some(self.dovecot.messages(user, mailbox)?),
        };
        if !self.dry_run {
            // Even if there was nothing to do: a run that was interrupted may have left something.
            self.dovecot.purge_cache(user, mailbox)?;
        }
        Ok(Counts::new(&messages, left.as_deref(), &seen, self.chooses))
    }

    /// Runs sieve-filter, and counts what it says.
    fn filter(&self, user: &str, mailbox: &str, messages: usize) -> Result<Seen, Box<dyn Error>> {
        let mut seen = Seen::default();
        let mut told = HashSet::new();
        let success = self.dovecot.filter(user, &self.script, mailbox, self.dry_run, |line| {
            let line = Line::parse(line);
            seen.add(&line);
            if seen.outcomes() % PROGRESS == 0 && line.is_outcome() {
                // If nobody reads it, that is for later: sieve-filter is not to be left in the midst of its work.
                let _ = writeln!(io::stdout(), "{}: {} of {messages}", label(user, mailbox), seen.outcomes());
            }
            if let Line::NotEncrypted(text) | Line::Error(text) | Line::Trouble(text) = line {
                if told.len() < ERRORS && told.insert(text.to_owned()) {
                    complain(user, mailbox, &printable_line(text));
                }
            }
        })?;
        seen.broken |= !success;
        Ok(seen)
    }
}

/// Tells what went wrong, and counts it.
fn broken(user: &str, mailbox: &str, why: &dyn Display) -> Counts {
    complain(user, mailbox, why);
    Counts::broken()
}

/// Writes a line to standard error. If that cannot be written, there is nobody to tell.
fn complain(user: &str, mailbox: &str, why: &dyn Display) {
    let _ = writeln!(io::stderr(), "perot-encrypt: {}: {why}", label(user, mailbox));
}

/// A user and a mailbox, for a line.
fn label(user: &str, mailbox: &str) -> String {
    printable(format!("{user} {mailbox}").trim_end())
}
