//! A private Postfix and a private Exim in front of a private [`Dovecot`]. `make test-deps` unpacks both;
//! neither is installed.

use std::fs;
use std::os::unix::fs::{chown, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::dovecot::{is_root, run_with, wait_for_line, wait_until, Dovecot, DEBIAN_EXIM, POSTDROP, POSTFIX};

/// A mail server in front of a [`Dovecot`].
pub trait MailServer {
    /// Creates a command that finds the programs and the configuration of this mail server. It runs among the
    /// processes of `dovecot`: see [`Dovecot::command`].
    fn command(&self, dovecot: &Dovecot, program: &str) -> Command;
    /// Returns the path of its log.
    fn log_file(&self) -> PathBuf;
    /// Submits a message as a local program does.
    fn send(&self, dovecot: &Dovecot, sender: &str, recipients: &[&str], message: &[u8]);

    /// Runs a shell command, which must succeed. Returns its output.
    fn shell(&self, dovecot: &Dovecot, script: &str) -> String {
        output_of(self.command(dovecot, "sh").args(["-c", script]), b"")
    }

    /// Waits until the log has a line with all of `texts`, and returns that line.
    fn log_line(&self, texts: &[&str]) -> String {
        wait_for_line(&self.log_file(), texts)
    }
}

/// Returns the folder into which `make test-deps` has unpacked a package.
pub fn unpacked(package: &str) -> PathBuf {
    let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned();
    let root = target.join("mta").join(package);
    assert!(root.exists(), "{} is not there: run `make test-deps`", root.display());
    root
}

/// Returns `LD_LIBRARY_PATH` for the libraries in an unpacked package.
fn library_path(root: &Path) -> String {
    let mut folders = vec![root.join("usr/lib/postfix")];
    for lib in ["lib", "usr/lib"] {
        let entries = fs::read_dir(root.join(lib)).into_iter().flatten().flatten();
        folders.extend(entries.map(|e| e.path()).filter(|p| p.to_string_lossy().ends_with("-linux-gnu")));
    }
    let folders: Vec<String> = folders.iter().map(|p| p.display().to_string()).collect();
    folders.join(":")
}

/// Creates a command that finds the programs of an unpacked package, in `programs`, and their libraries.
fn with_path(dovecot: &Dovecot, program: &str, root: &Path, programs: &Path) -> Command {
    let mut command = dovecot.command(program);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", programs.display()));
    command.env("LD_LIBRARY_PATH", library_path(root));
    command
}

/// Runs a command, which must succeed, with `input` on its standard input. Returns its output.
fn output_of(command: &mut Command, input: &[u8]) -> String {
    let output = run_with(command, input);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("perot-mta").tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// A private Postfix. Dropping it ends it.
pub struct Postfix {
    root: PathBuf,
    folder: tempfile::TempDir,
    master: Option<Child>,
}

impl Postfix {
    /// Makes the folders. Panics unless this is root: Postfix cannot run without changing users.
    pub fn prepare() -> Self {
        assert!(
            is_root(),
            "Postfix runs as root only: run this test as root, or leave it out with `-- --skip postfix`"
        );
        let postfix = Self { root: unpacked("postfix"), folder: folder(), master: None };
        let queue = "active bounce corrupt defer deferred flush hold incoming private saved trace";
        let queue: Vec<String> = queue.split(' ').map(|name| format!("spool/{name}")).collect();
        fs::create_dir_all(postfix.path("etc")).unwrap();
        fs::create_dir_all(postfix.path("spool/pid")).unwrap();
        for name in queue.iter().map(String::as_str).chain(["data", "spool/maildrop", "spool/public"]) {
            fs::create_dir(postfix.path(name)).unwrap();
            chown(postfix.path(name), Some(POSTFIX), Some(POSTDROP)).unwrap();
            fs::set_permissions(postfix.path(name), fs::Permissions::from_mode(0o700)).unwrap();
        }
        postfix
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces the system's queue in a documented configuration by the one of this Postfix.
    pub fn adapt(&self, configuration: &str) -> String {
        configuration.replace("/var/spool/postfix", self.path("spool").to_str().unwrap())
    }

    /// Starts it with more lines for `main.cf`.
    pub fn start(&mut self, dovecot: &Dovecot, main_cf: &str) {
        let (root, dir) = (self.root.display(), self.folder.path().display());
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {dir}/spool\ndata_directory = {dir}/data\n\
             daemon_directory = {root}/usr/lib/postfix/sbin\ncommand_directory = {root}/usr/sbin\n\
             meta_directory = {root}/etc/postfix\nshlib_directory = {root}/usr/lib/postfix\n\
             mail_owner = postfix\nsetgid_group = postdrop\nimport_environment = MAIL_CONFIG {libraries}\n\
             export_environment = MAIL_CONFIG {libraries}\n\
             maillog_file_prefixes = {dir}\nmaillog_file = {dir}/log\n\
             inet_interfaces = loopback-only\ninet_protocols = ipv4\nmyhostname = mail.domain.com\n\
             mydestination =\nalias_maps =\nalias_database =\ndisable_dns_lookups = yes\n{main_cf}\n",
            libraries = format_args!("LD_LIBRARY_PATH={}", library_path(&self.root)),
        );
        fs::write(self.path("etc/main.cf"), main).unwrap();
        fs::write(self.path("etc/master.cf"), MASTER_CF).unwrap();
        let output = fs::File::create(self.path("output")).unwrap();
        let master = self.root.join("usr/lib/postfix/sbin/master");
        // `postfix start` cannot be used: with Debian 13, one of its scripts runs only in /usr/lib/postfix.
        let mut command = self.command(dovecot, master.to_str().unwrap());
        command.arg("-s").stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let master = self.master.insert(command.spawn().unwrap());
        let (log, output) = (self.folder.path().join("log"), self.folder.path().join("output"));
        let read = |file| fs::read_to_string(file).unwrap_or_default();
        let started = || read(&log).contains("daemon started");
        wait_until(|| started() || master.try_wait().unwrap().is_some(), || read(&output));
        assert!(started(), "Postfix does not start: {}{}", read(&output), read(&log));
    }
}

/// Debian's services, without those of the network and without chroots.
const MASTER_CF: &str = "\
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
local unix - n n - - local
lmtp unix - - n - - lmtp
postlog unix-dgram n - n - 1 postlogd
";

impl MailServer for Postfix {
    fn command(&self, dovecot: &Dovecot, program: &str) -> Command {
        let mut command = with_path(dovecot, program, &self.root, &self.root.join("usr/sbin"));
        command.env("MAIL_CONFIG", self.path("etc"));
        command
    }

    fn log_file(&self) -> PathBuf {
        self.path("log")
    }

    fn send(&self, dovecot: &Dovecot, sender: &str, recipients: &[&str], message: &[u8]) {
        output_of(self.command(dovecot, "sendmail").args(["-i", "-f", sender]).args(recipients), message);
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let Some(mut master) = self.master.take() else { return };
        // The master ends its own processes, too.
        let _ = Command::new("kill").arg(master.id().to_string()).status();
        let _ = master.wait();
    }
}

/// A private Exim. It has no daemon: each command does its work and ends.
pub struct Exim {
    root: PathBuf,
    folder: tempfile::TempDir,
}

impl Exim {
    /// Makes a configuration of the documented parts.
    pub fn new(routers: &str, transports: &str, retry: &str) -> Self {
        let exim = Self { root: unpacked("exim4-daemon-light"), folder: folder() };
        let (root, dir) = (exim.root.display(), exim.folder.path().display());
        let configuration = format!(
            "exim_path = {root}/usr/sbin/exim4\nkeep_environment = LD_LIBRARY_PATH\n\
             spool_directory = {dir}/spool\nlog_file_path = {dir}/log/%slog\n\
             primary_hostname = mail.domain.com\ndomainlist local_domains = domain.com\n\
             begin routers\n{routers}\nbegin transports\n{transports}\nbegin retry\n{retry}\n",
        );
        let path = |name: &str| exim.folder.path().join(name);
        fs::write(path("exim.conf"), configuration).unwrap();
        for name in ["spool", "log"] {
            fs::create_dir(path(name)).unwrap();
            if is_root() {
                chown(path(name), Some(DEBIAN_EXIM), Some(DEBIAN_EXIM)).unwrap();
            }
        }
        let wrapper = format!("#!/bin/sh\nexec {root}/usr/sbin/exim4 -C {dir}/exim.conf \"$@\"\n");
        fs::create_dir(path("bin")).unwrap();
        fs::write(path("bin/exim4"), wrapper).unwrap();
        fs::set_permissions(path("bin/exim4"), fs::Permissions::from_mode(0o755)).unwrap();
        exim
    }
}

impl MailServer for Exim {
    fn command(&self, dovecot: &Dovecot, program: &str) -> Command {
        with_path(dovecot, program, &self.root, &self.folder.path().join("bin"))
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log/mainlog")
    }

    /// Receives the message with one process, and delivers it with another. The one that receives gives up
    /// root's right to change users, and this exim4 is not setuid to get it back.
    fn send(&self, dovecot: &Dovecot, sender: &str, recipients: &[&str], message: &[u8]) {
        let mut command = self.command(dovecot, "exim4");
        output_of(command.args(["-odq", "-i", "-f", sender]).args(recipients), message);
        self.shell(dovecot, "exim4 -q");
    }
}
