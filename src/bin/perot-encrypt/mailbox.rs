//! The subcommand `mailbox`: encrypts stored mail, with Dovecot's `doveadm` and Pigeonhole's `sieve-filter`.

mod counts;
mod dovecot;
mod namespaces;
mod quota;

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
use quota::Quota;

/// The script that is used unless the administrator names another.
const SCRIPT: &str = "require \"vnd.perot.encrypt\";\nencrypt;\n";

/// Most different errors that are shown for a mailbox. If a disk is full, every message causes some.
const ERRORS: usize = 20;

/// What is said where the mailboxes would not fit.
const MORE_THAN_THE_QUOTA: &str = "raise the quota first, else the mailboxes are full and take no more mail";

/// The number of messages between two lines that show the progress, so that one can see that it goes on.
const PROGRESS: u64 = 1000;

/// Encrypts the mail in the given mailboxes.
///
/// # Errors
///
/// Fails if it cannot begin, because users cannot be listed or a program is missing, and if standard output
/// is closed. A failure with one user or mailbox is shown, and makes the exit status 1.
pub fn run(matches: &mut ArgMatches) -> Result<ExitCode, Box<dyn Error>> {
    let mut all = |name: &str| matches.remove_many::<String>(name).into_iter().flatten().collect::<Vec<_>>();
    let (users, mailboxes, except) = (all("user"), all("mailbox"), all("except"));
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
        except,
        all: matches.get_flag("all"),
        dovecot,
    };
    let users = if run.all { run.dovecot.users()? } else { users };
    Ok(run.everybody(&users)?)
}

/// Writes and compiles the script, where the users' processes can read but not write it.
fn own_script(dovecot: &Dovecot, folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let script = folder.join("encrypt.sieve");
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    reachable(folder)?;
    fs::write(&script, SCRIPT)?;
    dovecot.compile(&script)?;
    for file in fs::read_dir(folder)? {
        fs::set_permissions(file?.path(), fs::Permissions::from_mode(0o644))?;
    }
    Ok(script)
}

/// Fails if this is root and a folder on the path is closed to other users.
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

/// The parameters of a run.
struct Run {
    dovecot: Dovecot,
    script: PathBuf,
    /// True if the administrator gave the script, which may choose among the messages.
    chooses: bool,
    dry_run: bool,
    namespaces: Namespaces,
    mailboxes: Vec<String>,
    /// Mailboxes that are left out.
    except: Vec<String>,
    /// True if the run is for all users, of whom some may not have such a mailbox.
    all: bool,
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

    /// Encrypts the mailboxes of one user. Fails only if standard output is closed.
    fn user(&self, user: &str) -> io::Result<Counts> {
        let mut total = Counts::default();
        let mailboxes = match self.mailboxes_of(user) {
            Ok(mailboxes) => mailboxes,
            Err(why) => return Ok(broken(user, "", &why)),
        };
        if mailboxes.is_empty() {
            return Ok(total);
        }
        if let Err(why) = self.check_quota(user, &mailboxes) {
            return Ok(broken(user, "", &why));
        }
        for mailbox in &mailboxes {
            let counts = self.mailbox(user, mailbox).unwrap_or_else(|why| broken(user, mailbox, &why));
            writeln!(io::stdout(), "{}: {}", label(user, mailbox), counts.summary(self.dry_run))?;
            total += counts;
        }
        if self.dry_run {
            total += self.tell_quota(user, total.growth())?;
        } else if let Err(why) = self.dovecot.purge(user) {
            // mdbox keeps expunged messages until it is purged. An earlier run that was interrupted may have left some, too.
            total += broken(user, "", &why);
        }
        Ok(total)
    }

    /// Tells how much of the quota is used with `growth` more bytes. Fails only if standard output is closed.
    fn tell_quota(&self, user: &str, growth: u64) -> io::Result<Counts> {
        let quotas = match self.dovecot.quotas(user) {
            Ok(quotas) => quotas,
            Err(why) => return Ok(broken(user, "", &why)),
        };
        let mut total = Counts::default();
        for quota in &quotas {
            writeln!(io::stdout(), "{}: {}", label(user, ""), quota.describe(growth))?;
            if !quota.has_room(growth) {
                total += broken(user, "", &MORE_THAN_THE_QUOTA);
            }
        }
        Ok(total)
    }

    /// Fails if this is no dry run, and the mailboxes would take more than the user's quota. Unless there is plenty of room, it encrypts the messages
    /// to see how large they are then, and throws them away.
    fn check_quota(&self, user: &str, mailboxes: &[String]) -> Result<(), Box<dyn Error>> {
        let quotas = if self.dry_run { Vec::new() } else { self.dovecot.quotas(user)? };
        if quotas.iter().all(Quota::has_room_for_all) {
            return Ok(());
        }
        let mut seen = Seen::default();
        for mailbox in mailboxes.iter().filter(|mailbox| self.namespaces.is_own(mailbox)) {
            self.dovecot.filter(user, &self.script, mailbox, true, |line| seen.add(&Line::parse(line)))?;
        }
        match quotas.iter().find(|quota| !quota.has_room(seen.growth)) {
            Some(quota) => Err(format!("{}: {MORE_THAN_THE_QUOTA}", quota.describe(seen.growth)).into()),
            None => Ok(()),
        }
    }

    fn mailboxes_of(&self, user: &str) -> Result<Vec<String>, Box<dyn Error>> {
        if is_pattern(user) {
            return Err("doveadm would take this name for a pattern: run sieve-filter by hand".into());
        }
        let is_asked_for = !self.all && !self.mailboxes.is_empty();
        if !is_asked_for && !self.has_mail(user)? {
            return Ok(Vec::new());
        }
        if !self.mailboxes.is_empty() {
            return Ok(self.mailboxes.clone());
        }
        let mut mailboxes = self.dovecot.mailboxes(user)?;
        let unknown = self.except.iter().find(|except| !self.all && !mailboxes.contains(except));
        if let Some(unknown) = unknown {
            return Err(format!("there is no mailbox {unknown} to be left out").into());
        }
        mailboxes.retain(|mailbox| self.namespaces.is_own(mailbox) && !self.except.contains(mailbox));
        let mut there = Vec::new();
        for mailbox in mailboxes {
            if self.dovecot.has_mailbox(user, &mailbox)? {
                there.push(mailbox);
            }
        }
        Ok(there)
    }

    /// Returns true if a user has mail. doveadm makes folders and an index for those who have none, even to list what is there.
    fn has_mail(&self, user: &str) -> Result<bool, Box<dyn Error>> {
        if self.dovecot.has_mailbox(user, "INBOX")? {
            return Ok(true);
        }
        // With mbox, and in other namespaces, there may be mailboxes without an INBOX.
        for prefix in self.namespaces.own_prefixes().chain([""]) {
            if self.dovecot.has_folder_of(user, &format!("{prefix}Drafts"))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn mailbox(&self, user: &str, mailbox: &str) -> Result<Counts, Box<dyn Error>> {
        if !self.namespaces.is_own(mailbox) {
            return Err("it is not the user's own, but shared, public or virtual".into());
        }
        if !self.dovecot.has_mailbox(user, mailbox)? {
            return Err("there is no such mailbox".into());
        }
        let messages = self.dovecot.messages(user, mailbox)?;
        if messages.is_empty() && self.mailboxes.is_empty() {
            // doveadm also lists names that are not mailboxes, but have mailboxes below them.
            return Ok(Counts::default());
        }
        let seen = self.filter(user, mailbox, messages.len())?;
        let left = match self.dry_run {
            true => None,
            false => Some(self.dovecot.messages(user, mailbox)?),
        };
        if !self.dry_run {
            // This is done even if no message was encrypted: an earlier run that was interrupted may have
            // left something.
            self.dovecot.purge_cache(user, mailbox)?;
        }
        Ok(Counts::new(&messages, left.as_deref(), &seen, self.chooses))
    }

    /// Runs sieve-filter, and counts the messages by the lines of its log.
    fn filter(&self, user: &str, mailbox: &str, messages: usize) -> Result<Seen, Box<dyn Error>> {
        let mut seen = Seen::default();
        let mut told = HashSet::new();
        let success = self.dovecot.filter(user, &self.script, mailbox, self.dry_run, |line| {
            let line = Line::parse(line);
            seen.add(&line);
            if seen.outcomes() % PROGRESS == 0 && line.is_outcome() {
                // A closed standard output is found later. sieve-filter must not be interrupted for it.
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

/// Shows an error, and returns the counts for it.
fn broken(user: &str, mailbox: &str, why: &dyn Display) -> Counts {
    complain(user, mailbox, why);
    Counts::broken()
}

/// Writes a line to standard error. If that fails, there is nowhere to report it.
fn complain(user: &str, mailbox: &str, why: &dyn Display) {
    let _ = writeln!(io::stderr(), "perot-encrypt: {}: {why}", label(user, mailbox));
}

/// Names a user and a mailbox at the beginning of a line.
fn label(user: &str, mailbox: &str) -> String {
    printable(format!("{user} {mailbox}").trim_end())
}
