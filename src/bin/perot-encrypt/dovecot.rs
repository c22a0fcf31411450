//! Dovecot's programs. What is given to them goes as arguments, never through a shell.

use std::error::Error;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// A Dovecot with its configuration.
pub struct Dovecot {
    /// Its configuration file, if it is another than Dovecot's own.
    pub config: Option<String>,
}

impl Dovecot {
    /// One of its programs, with its configuration.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        if let Some(config) = &self.config {
            command.arg("-c").arg(config);
        }
        command.stdin(Stdio::null());
        command
    }

    /// Runs `doveadm`, or fails with what it said.
    pub fn doveadm(&self, arguments: &[&str]) -> Result<String, Box<dyn Error>> {
        output(self.command("doveadm").args(["-f", "tab"]).args(arguments))
    }

    /// Runs `doveconf`, or fails with what it said.
    pub fn doveconf(&self, arguments: &[&str]) -> Result<String, Box<dyn Error>> {
        output(self.command("doveconf").args(arguments))
    }

    /// All users.
    pub fn users(&self) -> Result<Vec<String>, Box<dyn Error>> {
        // Without a format: a table of one column begins with an empty line here.
        let users = output(self.command("doveadm").args(["user", "*"]))?;
        Ok(users.lines().filter(|user| !user.is_empty()).map(str::to_owned).collect())
    }

    /// Compiles a script: into `compiled`, or beside it.
    pub fn compile(&self, script: &Path, compiled: Option<&Path>) -> Result<(), Box<dyn Error>> {
        output(self.command("sievec").arg(script).args(compiled)).map(drop)
    }
}

/// Whether `doveadm` would take a user's name for a pattern that stands for many.
pub fn is_pattern(user: &str) -> bool {
    user.contains(['*', '?'])
}

/// Starts one of its programs.
pub fn spawn(command: &mut Command) -> Result<Child, Box<dyn Error>> {
    command.spawn().map_err(|why| {
        let program = command.get_program().to_string_lossy();
        let package = if program.starts_with("sieve") { "dovecot-sieve" } else { "dovecot-core" };
        format!("{program}: {why} (it is in the package {package})").into()
    })
}

/// What a program prints. If it fails: what it has said on standard error.
pub fn output(command: &mut Command) -> Result<String, Box<dyn Error>> {
    let child = spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let Output { status, stdout, stderr } = child.wait_with_output()?;
    if !status.success() {
        let said = String::from_utf8_lossy(&stderr);
        let said = said.trim().lines().collect::<Vec<_>>().join(" / ");
        return Err(format!("{}: {said} ({status})", command.get_program().to_string_lossy()).into());
    }
    Ok(String::from_utf8(stdout)?)
}
