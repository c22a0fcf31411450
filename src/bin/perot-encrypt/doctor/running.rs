//! Checks that the running Dovecot has read the configuration as it is now.

use std::fmt::{self, Display};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::{json, Value};

use super::configuration::{Configuration, Era};
use super::report::Finding;
use crate::certificate::time;

/// The state of Dovecot's master process.
#[derive(Debug)]
pub enum Running {
    /// Dovecot does not run.
    No,
    /// Dovecot runs, and has read its configuration at this time.
    Since(SystemTime),
}

impl Running {
    /// Looks for a running Dovecot, and adds a finding if it has not read a file that has changed since. `modules` are
    /// the settings modules of 2.4, which Dovecot reads only when it starts.
    pub fn look(configuration: &Configuration, modules: &[PathBuf], findings: &mut Vec<Finding>) -> Self {
        let pid_file = configuration.base_dir.join("master.pid");
        // The master makes its sockets anew when it has taken a configuration, and leaves them when it has refused
        // one.
        let read =
            fs::symlink_metadata(configuration.base_dir.join("config")).and_then(|socket| socket.modified());
        let (true, Ok(read)) = (is_alive(&pid_file), read) else {
            let why = "nothing is delivered";
            findings.push(Finding::problem("Dovecot is not running", why).command("systemctl start dovecot"));
            return Self::No;
        };
        let started = fs::metadata(&pid_file).map(|file| changed(&file)).unwrap_or(read);
        if let Some(module) = newer(modules.iter().map(PathBuf::as_path), started) {
            findings.push(restart(module));
        } else if let Some(file) = newer(configuration.written.files.iter().map(PathBuf::as_path), read) {
            findings.push(reload(file, configuration.era));
        }
        Self::Since(read)
    }

    pub fn json(&self) -> Value {
        match self {
            Self::No => Value::Null,
            Self::Since(read) => json!({ "read": time(*read) }),
        }
    }
}

impl Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No => write!(f, "NOT RUNNING"),
            Self::Since(read) => write!(f, "read at {}", time(*read)),
        }
    }
}

fn restart(module: &Path) -> Finding {
    let what = format!("{} is newer than the running Dovecot", module.display());
    let why = "the running Dovecot does not know its settings, refuses a configuration with them, and goes on with the \
               old one; doveadm reload does not tell";
    Finding::problem(what, why).command("systemctl restart dovecot")
}

fn reload(file: &Path, era: Era) -> Finding {
    let what = format!("the running Dovecot has not read {} as it is now", file.display());
    let why = match era {
        Era::V23 => "it works by the configuration that it has read",
        Era::V24 => "it works by the configuration that it has read. If a reload does not change this, it has refused \
                     the new one, which stands in the log: restart it",
    };
    Finding::problem(what, why).command("doveadm reload")
}

/// Returns the first of the files that has changed since then. The clock of files ticks some hundred times in a
/// second, so a file that changed in the same tick counts, too: it may have changed afterwards.
fn newer<'a>(mut files: impl Iterator<Item = &'a Path>, since: SystemTime) -> Option<&'a Path> {
    files.find(|file| fs::metadata(file).is_ok_and(|file| changed(&file) >= since))
}

/// Returns when a file was changed, or when it was put there, because a copy can keep the time of the original. For a
/// folder, it is when a name in it was changed.
fn changed(file: &Metadata) -> SystemTime {
    let modified = file.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    let (Ok(seconds), Ok(nanoseconds)) = (u64::try_from(file.ctime()), u32::try_from(file.ctime_nsec()))
    else {
        return modified;
    };
    if file.is_dir() {
        modified
    } else {
        modified.max(SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds))
    }
}

/// Returns true if there is a process with the number in the file.
fn is_alive(pid_file: &Path) -> bool {
    let number = fs::read_to_string(pid_file).ok().and_then(|text| text.trim().parse::<u32>().ok());
    number.is_some_and(|number| Path::new("/proc").join(number.to_string()).exists())
}
