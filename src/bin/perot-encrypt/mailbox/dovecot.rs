//! Runs the programs of Dovecot. They get arguments as they are, never through a shell.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use super::namespaces::Namespaces;

/// An installation of Dovecot.
pub struct Dovecot {
    /// The configuration file, unless it is the default one.
    pub config: Option<String>,
}

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
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        if let Some(config) = &self.config {
            command.arg("-c").arg(config);
        }
        command.stdin(Stdio::null());
        command
    }

    /// Runs `doveadm`. Fails with its error output.
    fn doveadm(&self, arguments: &[&str]) -> Result<String, Box<dyn Error>> {
        output(self.command("doveadm").args(["-f", "tab"]).args(arguments))
    }

    /// Returns the configured namespaces.
    pub fn namespaces(&self) -> Result<Namespaces, Box<dyn Error>> {
        Ok(Namespaces::parse(&output(self.command("doveconf").arg("namespace"))?))
    }

    /// Returns all users.
    pub fn users(&self) -> Result<Vec<String>, Box<dyn Error>> {
        // `-f tab` is left out here: with it, the table of one column begins with an empty line.
        let users = output(self.command("doveadm").args(["user", "*"]))?;
        Ok(users.lines().filter(|user| !user.is_empty()).map(str::to_owned).collect())
    }

    /// Returns all mailboxes of a user.
    pub fn mailboxes(&self, user: &str) -> Result<Vec<String>, Box<dyn Error>> {
        // The first line is the title of the column.
        Ok(self.doveadm(&["mailbox", "list", "-u", user])?.lines().skip(1).map(str::to_owned).collect())
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

    /// Removes expunged messages from mdbox files. The other formats remove them at once.
    pub fn purge(&self, user: &str) -> Result<(), Box<dyn Error>> {
        self.doveadm(&["purge", "-u", user]).map(drop)
    }

    /// Removes what the cache file still has of expunged messages, such as the first words of their text.
    pub fn purge_cache(&self, user: &str, mailbox: &str) -> Result<(), Box<dyn Error>> {
        self.doveadm(&["mailbox", "cache", "purge", "-u", user, "--", mailbox]).map(drop)
    }

    /// Compiles a script into the file beside it.
    pub fn compile(&self, script: &Path) -> Result<(), Box<dyn Error>> {
        output(self.command("sievec").arg(script)).map(drop)
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

fn spawn(command: &mut Command) -> Result<Child, Box<dyn Error>> {
    command.spawn().map_err(|why| {
        let program = command.get_program().to_string_lossy();
        let package = if program.starts_with("sieve") { "dovecot-sieve" } else { "dovecot-core" };
        format!("{program}: {why} (it is in the package {package})").into()
    })
}

/// Returns the output of a program. If the program fails, the error has its error output.
fn output(command: &mut Command) -> Result<String, Box<dyn Error>> {
    let child = spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let Output { status, stdout, stderr } = child.wait_with_output()?;
    if !status.success() {
        let said = String::from_utf8_lossy(&stderr);
        let said = said.trim().lines().collect::<Vec<_>>().join(" / ");
        return Err(format!("{}: {said} ({status})", command.get_program().to_string_lossy()).into());
    }
    Ok(String::from_utf8(stdout)?)
}
