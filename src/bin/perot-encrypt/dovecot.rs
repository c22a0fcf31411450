//! Runs the programs of Dovecot. They get their arguments as they are, never through a shell.

use std::error::Error;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// An installation of Dovecot.
pub struct Dovecot {
    /// The configuration file, unless it is the default one.
    pub config: Option<String>,
}

impl Dovecot {
    /// Returns a command that runs a program with the configuration file.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        if let Some(config) = &self.config {
            command.arg("-c").arg(config);
        }
        command.stdin(Stdio::null());
        command
    }

    /// Runs `doveadm`. Fails with its error output.
    pub fn doveadm(&self, arguments: &[&str]) -> Result<String, Box<dyn Error>> {
        output(self.command("doveadm").args(["-f", "tab"]).args(arguments))
    }

    /// Runs `doveconf`. Fails with its error output.
    pub fn doveconf(&self, arguments: &[&str]) -> Result<String, Box<dyn Error>> {
        output(self.command("doveconf").args(arguments))
    }

    /// Returns all users.
    pub fn users(&self) -> Result<Vec<String>, Box<dyn Error>> {
        // `-f tab` is left out here: with it, the table of one column begins with an empty line.
        let users = output(self.command("doveadm").args(["user", "*"]))?;
        Ok(users.lines().filter(|user| !user.is_empty()).map(str::to_owned).collect())
    }

    /// Compiles a script into the file beside it.
    pub fn compile(&self, script: &Path) -> Result<(), Box<dyn Error>> {
        output(self.command("sievec").arg(script)).map(drop)
    }

    /// Compiles a script into another file. `setting` (`name=value`) takes the place of what the configuration has.
    pub fn compile_with(&self, setting: &str, script: &Path, compiled: &Path) -> Result<(), Box<dyn Error>> {
        output(self.command("sievec").args(["-o", setting]).args([script, compiled])).map(drop)
    }
}

/// Returns true if `doveadm` would take a user's name for a pattern.
pub fn is_pattern(user: &str) -> bool {
    user.contains(['*', '?'])
}

/// Starts a program.
pub fn spawn(command: &mut Command) -> Result<Child, Box<dyn Error>> {
    command.spawn().map_err(|why| {
        let program = command.get_program().to_string_lossy();
        let package = if program.starts_with("sieve") { "dovecot-sieve" } else { "dovecot-core" };
        format!("{program}: {why} (it is in the package {package})").into()
    })
}

/// Returns the output of a program. If the program fails, the error has its error output.
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
