//! Runs those programs of Dovecot that work on mailboxes.

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::namespaces::Namespaces;
use super::quota::Quota;
use crate::dovecot::{spawn, Dovecot};

/// A message in a mailbox.
#[derive(Debug)]
pub struct Message {
    pub uid: u32,
    pub draft: bool,
    pub deleted: bool,
}

impl Message {
    /// Parses a line of `doveadm -f tab fetch 'uid flags'`.
    pub fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split('\t');
        let uid = fields.next()?.parse().ok()?;
        let flags: Vec<&str> = fields.next()?.split(' ').collect();
        Some(Self { uid, draft: flags.contains(&"\\Draft"), deleted: flags.contains(&"\\Deleted") })
    }
}

impl Dovecot {
    /// Returns the configured namespaces.
    pub fn namespaces(&self) -> Result<Namespaces, Box<dyn Error>> {
        Ok(Namespaces::parse(&self.doveconf(&["namespace"])?))
    }

    /// Returns all mailboxes of a user.
    pub fn mailboxes(&self, user: &str) -> Result<Vec<String>, Box<dyn Error>> {
        // The first line is the title of the column.
        Ok(self.doveadm(&["mailbox", "list", "-u", user])?.lines().skip(1).map(str::to_owned).collect())
    }

    /// Returns true if the folder is there in which a mailbox is or would be, with others.
    pub fn has_folder_of(&self, user: &str, mailbox: &str) -> Result<bool, Box<dyn Error>> {
        Ok(self.path(user, "dir", mailbox)?.as_deref().and_then(Path::parent).is_some_and(is_there))
    }

    /// Returns true if a mailbox is there. doveadm also lists those that it would make, and makes them to look into them.
    pub fn has_mailbox(&self, user: &str, mailbox: &str) -> Result<bool, Box<dyn Error>> {
        Ok(self.path(user, "mailbox", mailbox)?.is_none_or(|path| is_there(&path)))
    }

    /// Returns where a mailbox is or would be, if that is in the file system.
    fn path(&self, user: &str, kind: &str, mailbox: &str) -> Result<Option<PathBuf>, Box<dyn Error>> {
        let said = self.doveadm(&["mailbox", "path", "-u", user, "-t", kind, "--", mailbox])?;
        Ok(said.lines().last().filter(|line| line.starts_with('/')).map(PathBuf::from))
    }

    /// Returns all messages in a mailbox.
    pub fn messages(&self, user: &str, mailbox: &str) -> Result<Vec<Message>, Box<dyn Error>> {
        if mailbox.contains(['*', '%']) || mailbox.contains(char::is_control) {
            return Err(
                "doveadm would take this name for a pattern: rename the mailbox, or run sieve-filter by hand"
                    .into(),
            );
        }
        let arguments = ["fetch", "-u", user, "--", "uid flags", "mailbox", mailbox, "all"];
        let lines = self.doveadm(&arguments)?;
        let messages = lines.lines().skip(1).map(Message::parse);
        messages.collect::<Option<_>>().ok_or_else(|| "doveadm fetch says what is not understood".into())
    }

    /// Returns the limits of a user's quota. There are none if the configuration does not have the plugin for it, or the user
    /// has no quota.
    pub fn quotas(&self, user: &str) -> Result<Vec<Quota>, Box<dyn Error>> {
        let plugins = self.doveconf(&["mail_plugins"])?;
        if !plugins.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "quota") {
            return Ok(Vec::new());
        }
        match self.doveadm(&["quota", "get", "-u", user]) {
            Err(why) if why.to_string().contains("Quota not enabled") => Ok(Vec::new()),
            told => told.map(|told| Quota::parse(&told)),
        }
    }

    /// Removes expunged messages from mdbox files. The other formats remove them at once.
    pub fn purge(&self, user: &str) -> Result<(), Box<dyn Error>> {
        self.doveadm(&["purge", "-u", user]).map(drop)
    }

    /// Removes what the cache file still has of expunged messages, such as the first words of their text.
    pub fn purge_cache(&self, user: &str, mailbox: &str) -> Result<(), Box<dyn Error>> {
        self.doveadm(&["mailbox", "cache", "purge", "-u", user, "--", mailbox]).map(drop)
    }

    /// Runs a script on the messages of a mailbox, and passes each line of the log to `said`. Returns true if
    /// sieve-filter succeeded.
    pub fn filter(
        &self,
        user: &str,
        script: &Path,
        mailbox: &str,
        dry_run: bool,
        mut said: impl FnMut(&str),
    ) -> Result<bool, Box<dyn Error>> {
        let mut command = self.command("sieve-filter");
        command
            .args(["-u", user])
            .args(if dry_run { &[][..] } else { &["-e", "-W"] })
            .arg("--")
            .arg(script)
            .arg(mailbox);
        let mut child = spawn(command.stdout(Stdio::null()).stderr(Stdio::piped()))?;
        if let Some(log) = child.stderr.take() {
            for line in BufReader::new(log).split(b'\n') {
                said(&String::from_utf8_lossy(&line?));
            }
        }
        Ok(child.wait()?.success())
    }
}

/// Returns false if there is nothing of this name. What may not be looked at is there.
fn is_there(path: &Path) -> bool {
    !fs::symlink_metadata(path).is_err_and(|why| why.kind() == ErrorKind::NotFound)
}
