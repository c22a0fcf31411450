//! The processes of Dovecot that load the plugin, under valgrind. It finds reads and writes of memory that is
//! not allocated (any more), decisions on bytes that were never written, and memory that is lost.
//!
//! `PEROT_VALGRIND=FOLDER` has all tests with Dovecot run so (`make memcheck`); valgrind's logs stay in FOLDER.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::dovecot::{wait_until, Era};

/// The services that load the plugin, and Pigeonhole's programs.
const SERVICES: [&str; 3] = ["lmtp", "imap", "managesieve"];
const PROGRAMS: [&str; 5] = ["sieve-filter", "sieve-test", "sieve-dump", "sievec", "dovecot-lda"];

/// The folder for the logs, if all tests are to run under valgrind.
pub fn everywhere() -> Option<PathBuf> {
    std::env::var_os("PEROT_VALGRIND").map(PathBuf::from)
}

/// The processes of one Dovecot.
pub struct Valgrind {
    logs: PathBuf,
}

/// What valgrind says of them.
#[derive(Debug, Default)]
pub struct Findings {
    /// How many of them had the plugin loaded.
    pub with_plugin: usize,
    /// The logs of those that did something wrong.
    pub faults: Vec<String>,
}

impl Valgrind {
    /// With its logs below `folder`.
    pub fn new(folder: &Path) -> Self {
        let logs = folder.join("valgrind");
        fs::create_dir(&logs).unwrap();
        // Processes run as several users.
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

    /// Lines for `dovecot.conf`.
    pub fn services(&self, era: Era, libexec: &Path) -> String {
        let no_limit = if era == Era::V23 { "0" } else { "unlimited" };
        let service = |name: &str| {
            let executable = self.command_line(&libexec.join(name));
            format!("service {name} {{\n  executable = {executable}\n  vsz_limit = {no_limit}\n}}\n")
        };
        SERVICES.map(service).concat()
    }

    /// The words that run a program: under valgrind, if it is one that loads the plugin.
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
                // Ended by SIGKILL: what was found before has the place where it happened.
                false => !log.contains("==    at 0x"),
            };
            if !clean {
                // Without what it says of itself.
                let said: Vec<&str> = log.lines().filter(|line| line.starts_with("==")).collect();
                findings.faults.push(said.join("\n"));
            }
        }
        findings
    }

    /// Panics if a process did something wrong. Keeps the logs, if they are asked for.
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
