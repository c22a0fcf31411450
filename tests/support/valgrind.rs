//! Runs the processes of Dovecot that load the plugin under valgrind. It finds accesses to memory that is not
//! allocated, decisions on bytes that were never written, and memory that is lost.
//!
//! `PEROT_VALGRIND=FOLDER` has all tests with Dovecot do so (`make memcheck`). The logs of valgrind stay in
//! FOLDER.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::dovecot::{wait_until, Era};

/// The services that load the plugin, and the programs that do.
const SERVICES: [&str; 3] = ["lmtp", "imap", "managesieve"];
const PROGRAMS: [&str; 5] = ["sieve-filter", "sieve-test", "sieve-dump", "sievec", "dovecot-lda"];

/// Returns the folder for the logs, if all tests are to run under valgrind.
pub fn everywhere() -> Option<PathBuf> {
    std::env::var_os("PEROT_VALGRIND").map(PathBuf::from)
}

/// The logs of one Dovecot's processes.
pub struct Valgrind {
    logs: PathBuf,
}

/// The findings of valgrind.
#[derive(Debug, Default)]
pub struct Findings {
    /// The number of processes that had the plugin loaded.
    pub with_plugin: usize,
    /// The logs of the processes with errors.
    pub faults: Vec<String>,
}

impl Valgrind {
    /// Creates a folder for the logs below `folder`.
    pub fn new(folder: &Path) -> Self {
        let logs = folder.join("valgrind");
        fs::create_dir(&logs).unwrap();
        // The processes run as several users, who all write logs there.
        fs::set_permissions(&logs, fs::Permissions::from_mode(0o1777)).unwrap();
        fs::write(folder.join("valgrind.supp"), include_str!("../valgrind.supp")).unwrap();
        Self { logs }
    }

    fn command_line(&self, program: &Path) -> String {
        format!(
            "/usr/bin/valgrind -v --vgdb=no --num-callers=40 --keep-debuginfo=yes --leak-check=full \
             --show-leak-kinds=definite --errors-for-leak-kinds=definite --suppressions={0}.supp \
             --log-file={0}/{1}.%p {2}",
            self.logs.display(),
            program.file_name().unwrap().to_string_lossy(),
            program.display()
        )
    }

    /// Returns the lines for `dovecot.conf`.
    pub fn services(&self, era: Era, libexec: &Path) -> String {
        let no_limit = if era == Era::V23 { "0" } else { "unlimited" };
        let service = |name: &str| {
            let executable = self.command_line(&libexec.join(name));
            format!("service {name} {{\n  executable = {executable}\n  vsz_limit = {no_limit}\n}}\n")
        };
        SERVICES.map(service).concat()
    }

    /// Returns the words of a command line for a program: with valgrind, if the program loads the plugin.
    pub fn words(&self, program: &str) -> Vec<String> {
        let path = Path::new(program);
        if PROGRAMS.iter().any(|name| path.ends_with(name)) {
            return self.command_line(path).split(' ').map(str::to_owned).collect();
        }
        vec![program.to_owned()]
    }

    /// Waits until all processes have ended, and reads their logs.
    pub fn findings(&self) -> Findings {
        let mut findings = Findings::default();
        for entry in fs::read_dir(&self.logs).unwrap() {
            let path = entry.unwrap().path();
            let process = Path::new("/proc").join(path.extension().unwrap());
            wait_until(|| !process.exists(), || format!("{} does not end", path.display()));
            let log = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            if log.contains("lib90_sieve_perot_encrypt_plugin.so") {
                findings.with_plugin += 1;
            }
            let clean = match log.contains(" ERROR SUMMARY: ") {
                true => log.contains(" ERROR SUMMARY: 0 errors"),
                // A process that SIGKILL ended has no summary. An error that was found before has a place.
                false => !log.contains("==    at 0x"),
            };
            if !clean {
                // The other lines are about valgrind itself.
                let said: Vec<&str> = log.lines().filter(|line| line.starts_with("==")).collect();
                findings.faults.push(said.join("\n"));
            }
        }
        findings
    }

    /// Panics if valgrind found an error. Keeps the logs, if that is asked for.
    pub fn assert_clean(&self) {
        let findings = self.findings();
        if let Some(folder) = everywhere() {
            let test = std::thread::current().name().unwrap_or("test").to_owned();
            let folder = folder.join(test).join(self.logs.parent().unwrap().file_name().unwrap());
            fs::create_dir_all(&folder).unwrap();
            for entry in fs::read_dir(&self.logs).unwrap() {
                let path = entry.unwrap().path();
                fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
            }
        }
        assert!(findings.faults.is_empty(), "valgrind: {}", findings.faults.join("\n"));
    }
}
