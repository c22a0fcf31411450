//! Runs a private Dovecot with its own configuration, sockets and users. Nothing of the system is touched.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::fs::{chown, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::find;
use super::valgrind::{self, Valgrind};

/// Returns how long a test waits for what should happen soon. It is enough for a busy machine.
pub fn patience() -> Duration {
    Duration::from_secs(if valgrind::everywhere().is_some() { 600 } else { 60 })
}

/// The user who owns the mailboxes, when the tests run as root.
const VMAIL: u32 = 5000;

/// The user `postfix`, when the tests run as root. [`Config::mail_server_users`] adds it.
pub(crate) const POSTFIX: u32 = 5001;
/// The group `postdrop`.
pub(crate) const POSTDROP: u32 = 5002;
/// The user `Debian-exim`.
pub(crate) const DEBIAN_EXIM: u32 = 5003;

/// The two generations of Dovecot, which differ in configuration and API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// Dovecot 2.3
    V23,
    /// Dovecot 2.4
    V24,
}

/// Returns the era of the installed Dovecot.
pub fn era() -> Era {
    let version = run(Command::new("dovecot").arg("--version"));
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    match version.get(..4) {
        Some("2.3.") => Era::V23,
        Some("2.4.") => Era::V24,
        _ => panic!(
            "no Dovecot 2.3 or 2.4 (apt install dovecot-core dovecot-lmtpd dovecot-sieve): {version:?}"
        ),
    }
}

/// Runs a program, which must be installed.
pub fn run(command: &mut Command) -> Output {
    let name = command.get_program().to_string_lossy().into_owned();
    command.output().unwrap_or_else(|e| panic!("{name}: {e}; which package holds it is in tests/packages*"))
}

/// Runs a program, which must be installed, with `input` on its standard input.
pub fn run_with(command: &mut Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    // A program that fails may close its input before it has read everything.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// Waits until the condition holds. If it takes too long, panics with the text of `state`.
pub fn wait_until(mut condition: impl FnMut() -> bool, state: impl Fn() -> String) {
    let end = Instant::now() + patience();
    while !condition() {
        assert!(Instant::now() < end, "waited in vain: {}", state());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until a log has a line with all of `texts`, and returns that line.
pub fn wait_for_line(log: &Path, texts: &[&str]) -> String {
    let read = || String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned();
    let line = || read().lines().find(|line| texts.iter().all(|t| line.contains(t))).map(str::to_owned);
    let mut found = None;
    let mut look = || {
        found = line();
        found.is_some()
    };
    wait_until(&mut look, || format!("{texts:?} is not in the log:\n{}", read()));
    found.unwrap()
}

/// A mailbox format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One file for each message, which tests can read.
    #[default]
    Maildir,
    /// One file for each message; the index has the flags.
    Sdbox,
    /// Many messages in one file.
    Mdbox,
    /// All messages of a folder in one file.
    Mbox,
}

impl Format {
    /// Returns its name in Dovecot's settings.
    pub fn driver(self) -> &'static str {
        match self {
            Self::Maildir => "maildir",
            Self::Sdbox => "sdbox",
            Self::Mdbox => "mdbox",
            Self::Mbox => "mbox",
        }
    }
}

/// The differences between one private Dovecot and another.
#[derive(Clone, Default)]
pub struct Config {
    /// Settings of the plugin, without their prefix: `("on_error", "keep")`.
    pub plugin: Vec<(&'static str, String)>,
    /// Leaves `sieve_perot_encrypt_certs` at its default.
    pub default_certs: bool,
    /// `mail_plugins` of LMTP and the LDA, separated by spaces, if others than `sieve`.
    pub delivery_plugins: Option<&'static str>,
    /// `mail_plugins` of IMAP.
    pub imap_plugins: &'static str,
    /// Leaves out the settings module of 2.4, as if it had not been installed.
    pub no_settings_module: bool,
    /// A script that runs before the user's own.
    pub before: Option<String>,
    /// A script that runs after the user's own.
    pub after: Option<String>,
    /// The mailbox format.
    pub format: Format,
    /// Replaces `passdb` and `userdb`, which know everybody with the password `test`. UID, GID and home of
    /// the users are `mail_uid`, `mail_gid` and `mail_home`.
    pub users: Option<String>,
    /// More lines for `dovecot.conf` of 2.3. `{dir}` stands for the folder of this Dovecot.
    pub extra_23: String,
    /// More lines for its `plugin { }`.
    pub plugin_23: String,
    /// More lines for `dovecot.conf` of 2.4.
    pub extra_24: String,
    /// Replaces `mail_temp_dir`.
    pub temp_dir: Option<&'static str>,
    /// Mounts a file system of this size as `mail_temp_dir`, to fill it up.
    pub temp_size: Option<&'static str>,
    /// Adds the users of mail servers (`postfix`, `Debian-exim`, `vmail`, ...), as if those were installed.
    pub mail_server_users: bool,
    /// Runs the processes that load the plugin under valgrind. See [`Dovecot::valgrind`].
    pub valgrind: bool,
}

/// A running Dovecot. Dropping it ends it.
pub struct Dovecot {
    folder: tempfile::TempDir,
    /// Shell commands that mount what differs for the processes of this Dovecot.
    mounts: Vec<String>,
    master: Option<Child>,
    /// Its era.
    pub era: Era,
    /// Collects the findings of valgrind, which fail the test when this Dovecot ends.
    pub valgrind: Option<Valgrind>,
}

impl Dovecot {
    /// Prepares and starts a Dovecot.
    pub fn start(config: &Config) -> Self {
        let mut dovecot = Self::prepare(config);
        dovecot.launch();
        dovecot
    }

    /// Makes configuration and folders, but starts nothing.
    pub fn prepare(config: &Config) -> Self {
        let folder = tempfile::Builder::new().prefix("perot").tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let era = era();
        let valgrind =
            (config.valgrind || valgrind::everywhere().is_some()).then(|| Valgrind::new(folder.path()));
        let mut dovecot = Self { folder, mounts: Vec::new(), master: None, era, valgrind };
        for name in ["run", "state", "home", "modules/sieve", "modules/settings", "tmp", "global", "certs"] {
            fs::create_dir_all(dovecot.path(name)).unwrap();
        }
        fs::set_permissions(dovecot.path("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        dovecot.own(&dovecot.path("home"));
        dovecot.stage_modules();
        if [config.delivery_plugins, Some(config.imap_plugins)]
            .into_iter()
            .flatten()
            .any(|p| p.contains("perot_encrypt"))
        {
            dovecot.stage_mail_plugin();
        }
        for (name, script) in [("before", &config.before), ("after", &config.after)] {
            if let Some(script) = script {
                fs::write(dovecot.path("global").join(format!("{name}.sieve")), script).unwrap();
            }
        }
        fs::set_permissions(dovecot.path("global"), fs::Permissions::from_mode(0o777)).unwrap();
        fs::write(dovecot.path("dovecot.conf"), dovecot.configuration(config)).unwrap();
        dovecot.mounts = dovecot.mounts(config);
        dovecot
    }

    fn mounts(&self, config: &Config) -> Vec<String> {
        let mut mounts = Vec::new();
        let mut bind = |from: PathBuf, to: &Path| {
            mounts.push(format!("mount --bind {} {}", from.display(), to.display()));
        };
        if self.era == Era::V24 && !config.no_settings_module {
            bind(self.path("modules/settings"), &modules_dir().join("settings"));
        }
        if config.mail_server_users {
            for (name, ours) in mail_server_users(&self.path("home")) {
                let file = Path::new("/etc").join(name);
                // The first line for a name or number is the one that counts.
                fs::write(self.path(name), ours + &fs::read_to_string(&file).unwrap()).unwrap();
                bind(self.path(name), &file);
            }
        }
        if let Some(size) = config.temp_size {
            let temp = self.path("tmp");
            mounts.push(format!("mount -t tmpfs -o size={size},mode=1777 tmpfs {}", temp.display()));
        }
        mounts
    }

    /// Returns a path in the folder of this Dovecot.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the certificate folder of all users, which `sieve_perot_encrypt_certs` names here.
    pub fn certs(&self) -> PathBuf {
        self.path("certs")
    }

    /// Returns the home of a user.
    pub fn home(&self, user: &str) -> PathBuf {
        let home = self.path("home").join(user);
        if !home.exists() {
            fs::create_dir_all(&home).unwrap();
            self.own(&home);
        }
        home
    }

    /// Makes a script the user's active one.
    pub fn script(&self, user: &str, script: &str) {
        let path = self.home(user).join(".dovecot.sieve");
        fs::write(&path, script).unwrap();
        self.own(&path);
        // Dovecot would not notice a new script within the second of the last delivery.
        let _ = fs::remove_file(self.home(user).join(".dovecot.svbin"));
    }

    /// Puts a certificate file into the user's `~/pgp-certs`.
    pub fn give(&self, user: &str, name: &str, content: &[u8]) -> PathBuf {
        let folder = self.home(user).join("pgp-certs");
        if !folder.exists() {
            fs::create_dir(&folder).unwrap();
            self.own(&folder);
        }
        fs::write(folder.join(name), content).unwrap();
        self.own(&folder.join(name));
        folder.join(name)
    }

    /// Gives a file to the mail user.
    pub fn own(&self, path: &Path) {
        if is_root() {
            chown(path, Some(VMAIL), Some(VMAIL)).unwrap();
        }
    }

    fn stage_modules(&self) {
        let plugin = plugin_file();
        let name = "lib90_sieve_perot_encrypt_plugin.so";
        fs::copy(&plugin, self.path("modules/sieve").join(name))
            .unwrap_or_else(|e| panic!("{}: {e}: run the tests with `make test`", plugin.display()));
        let system = modules_dir();
        for entry in fs::read_dir(system.join("sieve")).unwrap() {
            let entry = entry.unwrap();
            let link = self.path("modules/sieve").join(entry.file_name());
            let _ = std::os::unix::fs::symlink(entry.path(), link);
        }
        if self.era == Era::V24 {
            let settings = plugin.parent().unwrap().join("../libsieve_perot_encrypt_settings.so");
            let name = "libsieve_perot_encrypt_settings.so";
            fs::copy(&settings, self.path("modules/settings").join(name))
                .expect("the settings module is built");
            for entry in fs::read_dir(system.join("settings")).unwrap() {
                let entry = entry.unwrap();
                fs::copy(entry.path(), self.path("modules/settings").join(entry.file_name())).unwrap();
            }
        }
    }

    fn stage_mail_plugin(&self) {
        let modules = self.path("modules");
        fs::copy(mail_plugin_file(), modules.join("lib00_perot_encrypt_plugin.so")).unwrap();
        for entry in fs::read_dir(modules_dir()).unwrap() {
            let entry = entry.unwrap();
            let _ = std::os::unix::fs::symlink(entry.path(), modules.join(entry.file_name()));
        }
    }

    fn configuration(&self, config: &Config) -> String {
        let dir = self.folder.path().display();
        let me = user_name();
        let (uid, gid) = mail_user();
        let temp = config.temp_dir.map_or_else(|| self.path("tmp"), PathBuf::from);
        let temp = temp.display();
        let in_dir = |text: &str| text.replace("{dir}", &dir.to_string());
        let extra = in_dir(if self.era == Era::V23 { &config.extra_23 } else { &config.extra_24 });
        let driver = config.format.driver();
        let mail_path = if config.format == Format::Maildir { "~/Maildir" } else { "~/mail" };
        let everybody = match self.era {
            Era::V23 => {
                "passdb {\n  driver = static\n  args = password=test\n}\nuserdb {\n  driver = static\n}\n"
            }
            Era::V24 => "passdb static {\n  password = test\n}\nuserdb static {\n}\n",
        };
        let users = in_dir(config.users.as_deref().unwrap_or(everybody));
        let mut plugin_settings = String::new();
        if !config.default_certs && !config.plugin.iter().any(|(name, _)| *name == "certs") {
            plugin_settings = format!("sieve_perot_encrypt_certs = ~/pgp-certs {dir}/certs\n");
        }
        for (name, value) in &config.plugin {
            let prefix = if ["deliveries", "saved"].contains(name) { "" } else { "sieve_" };
            plugin_settings += &format!("{prefix}perot_encrypt_{name} = {}\n", in_dir(value));
        }
        let mail_plugins = self.mail_plugins(config);
        let common = format!(
            "base_dir = {dir}/run\nstate_dir = {dir}/state\nlog_path = {dir}/log\n\
             ssl = no\nprotocols = lmtp sieve imap\nlisten = 127.0.0.1\n\
             default_internal_user = {me}\ndefault_login_user = {login}\ndefault_internal_group = {group}\n\
             first_valid_uid = 1\nmail_uid = {uid}\nmail_gid = {gid}\nmail_temp_dir = {temp}\nmail_debug = no\n\
             service anvil {{\n  chroot =\n}}\n\
             service imap-login {{\n  chroot =\n  inet_listener imap {{\n    port = 0\n  }}\n  \
             inet_listener imaps {{\n    port = 0\n  }}\n  unix_listener imap {{\n    mode = 0666\n  }}\n}}\n\
             service managesieve-login {{\n  chroot =\n  inet_listener sieve {{\n    port = 0\n  }}\n  \
             unix_listener sieve {{\n    mode = 0666\n  }}\n}}\n\
             service lmtp {{\n  user = {me}\n  unix_listener lmtp {{\n    mode = 0666\n  }}\n}}\n",
            group = group_name(),
            // Login processes refuse to run as root.
            login = if is_root() { "dovenull" } else { &me },
        );
        let services = |valgrind: &Valgrind| valgrind.services(self.era, &installed("dovecot_pkglibexecdir"));
        let common = common + &self.valgrind.as_ref().map(services).unwrap_or_default();
        match self.era {
            Era::V23 => {
                let before =
                    config.before.as_ref().map(|_| format!("sieve_before = {dir}/global/before.sieve\n"));
                let after =
                    config.after.as_ref().map(|_| format!("sieve_after = {dir}/global/after.sieve\n"));
                format!(
                    "{common}mail_home = {dir}/home/%u\nservice stats {{\n  chroot =\n}}\n\
                     disable_plaintext_auth = no\nmail_location = {driver}:{mail_path}\n{users}\
                     protocol lmtp {{\n  auth_username_format = %Lu\n}}\n{mail_plugins}\
                     plugin {{\n  sieve = file:~/sieve;active=~/.dovecot.sieve\n  \
                     sieve_plugins = sieve_perot_encrypt\n  sieve_plugin_dir = {dir}/modules/sieve\n  \
                     {}{}{plugin_settings}{}\n}}\n{extra}\n",
                    before.unwrap_or_default(),
                    after.unwrap_or_default(),
                    in_dir(&config.plugin_23),
                )
            }
            Era::V24 => {
                let global = |name: &str, script: &Option<String>| {
                    script.as_ref().map(|_| {
                        format!("sieve_script {name} {{\n  type = {name}\n  path = {dir}/global/{name}.sieve\n}}\n")
                    })
                };
                format!(
                    "dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\n{common}\
                     auth_allow_cleartext = yes\nmail_home = {dir}/home/%{{user}}\n\
                     mail_driver = {driver}\nmail_path = {mail_path}\n{users}\
                     protocol lmtp {{\n  auth_username_format = %{{user | lower}}\n}}\n{mail_plugins}\
                     sieve_script personal {{\n  type = personal\n  path = ~/sieve\n  active_path = ~/.dovecot.sieve\n}}\n\
                     {}{}sieve_plugins = sieve_perot_encrypt\nsieve_plugin_dir = {dir}/modules/sieve\n\
                     {plugin_settings}{extra}\n",
                    global("before", &config.before).unwrap_or_default(),
                    global("after", &config.after).unwrap_or_default(),
                )
            }
        }
    }

    /// Returns the lists of mail plugins, for each protocol that has one.
    fn mail_plugins(&self, config: &Config) -> String {
        let list = |protocol: &str, plugins: &str| match self.era {
            _ if plugins.is_empty() => String::new(),
            Era::V23 => format!("protocol {protocol} {{\n  mail_plugins = $mail_plugins {plugins}\n}}\n"),
            Era::V24 => {
                let plugins = plugins.replace(' ', " = yes\n    ");
                format!("protocol {protocol} {{\n  mail_plugins {{\n    {plugins} = yes\n  }}\n}}\n")
            }
        };
        let delivery = config.delivery_plugins.unwrap_or("sieve");
        let lda = config.delivery_plugins.unwrap_or_default();
        let lists = [("lmtp", delivery), ("lda", lda), ("imap", config.imap_plugins)];
        let folder = if lists.iter().any(|(_, plugins)| plugins.contains("perot_encrypt")) {
            format!("mail_plugin_dir = {}\n", self.path("modules").display())
        } else {
            String::new()
        };
        folder + &lists.map(|(protocol, plugins)| list(protocol, plugins)).concat()
    }

    /// Returns a command that sees this Dovecot's modules. `doveconf` of 2.4 looks for settings modules at one place
    /// only, so that place is another one in a mount namespace of the command's own.
    pub fn command(&self, program: &str) -> Command {
        let words = self.words(program);
        if self.mounts.is_empty() {
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]);
            return command;
        }
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private"]);
        if !is_root() {
            // The namespace is for the mounts only: the user stays the same.
            command.args(["--user", "--map-current-user", "--keep-caps"]);
        }
        let script = format!("{} && exec \"$@\"", self.mounts.join(" && "));
        command.args(["sh", "-c", &script, "sh"]).args(words);
        command
    }

    fn words(&self, program: &str) -> Vec<String> {
        self.valgrind.as_ref().map_or_else(|| vec![program.to_owned()], |valgrind| valgrind.words(program))
    }

    /// Returns such a command for the user who owns the mailboxes.
    pub fn as_mail_user(&self, program: &str) -> Command {
        if !is_root() {
            return self.command(program);
        }
        let mut command = self.command("setpriv");
        let id = VMAIL.to_string();
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]).args(self.words(program));
        command
    }

    /// Runs one of Pigeonhole's tools (`sievec`, `sieve-test`, ...) with this configuration.
    pub fn tool(&self, program: &str, arguments: &[&OsStr]) -> Output {
        run(self
            .command(program)
            .env("HOME", self.path("home"))
            .arg("-c")
            .arg(self.path("dovecot.conf"))
            .args(arguments))
    }

    /// Starts the Dovecot that [`Self::prepare`] has prepared.
    pub fn launch(&mut self) {
        let child = self
            .command("dovecot")
            .args(["-F", "-c"])
            .arg(self.path("dovecot.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(self.path("stderr")).unwrap())
            .spawn()
            .unwrap();
        let master = self.master.insert(child);
        let end = Instant::now() + patience();
        let socket = self.folder.path().join("run/lmtp");
        while UnixStream::connect(&socket).is_err() {
            let ended = master.try_wait().unwrap();
            if ended.is_some() || Instant::now() > end {
                let text = |name: &str| fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
                panic!("Dovecot does not start: {}{}\n{}", text("stderr"), text("log"), text("dovecot.conf"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Delivers a message over LMTP. Returns an answer for each recipient.
    pub fn deliver_to(&self, recipients: &[&str], message: &[u8]) -> Vec<String> {
        let mut session = Lmtp::connect(&self.path("run/lmtp"));
        session.deliver(recipients, message)
    }

    /// Delivers a message to one user. Returns the answer.
    pub fn deliver(&self, user: &str, message: &[u8]) -> String {
        self.deliver_to(&[user], message).remove(0)
    }

    /// Returns all files that are stored for a user. In a Maildir, each comes with the name of its folder.
    pub fn stored_files(&self, user: &str) -> Vec<(String, PathBuf)> {
        let maildir = self.home(user).join("Maildir");
        let mut found = Vec::new();
        for file in files(&maildir) {
            let folder = file.parent().unwrap();
            if ["cur", "new"].iter().any(|n| folder.file_name() == Some(OsStr::new(n))) {
                let name = folder.parent().unwrap().strip_prefix(&maildir).unwrap();
                found.push((name.to_string_lossy().into_owned(), file));
            }
        }
        found
    }

    /// Returns all messages that are stored for a user, each with the name of its folder.
    pub fn stored(&self, user: &str) -> Vec<(String, Vec<u8>)> {
        self.stored_files(user).into_iter().map(|(name, file)| (name, fs::read(file).unwrap())).collect()
    }

    /// Returns the only message that is stored for a user.
    pub fn only_message(&self, user: &str) -> Vec<u8> {
        let mut stored = self.stored(user);
        assert_eq!(stored.len(), 1, "messages of {user}; the log:\n{}", self.log());
        stored.remove(0).1
    }

    /// Returns true if a message of the user has the flag \Flagged (in a Maildir, an F after the colon).
    pub fn is_flagged(&self, user: &str) -> bool {
        let names = files(&self.home(user).join("Maildir/cur"));
        names
            .iter()
            .any(|f| f.to_string_lossy().rsplit_once(":2,").is_some_and(|(_, flags)| flags.contains('F')))
    }

    /// Panics if `secret` is in any file below the folder of this Dovecot.
    pub fn assert_nowhere(&self, secret: &str) {
        for file in files(self.folder.path()).into_iter().filter(|f| !f.starts_with(self.path("modules"))) {
            let Ok(content) = fs::read(&file) else { continue };
            let found = super::find(&content, secret.as_bytes()).is_some();
            assert!(!found, "'{secret}' is in {}; the log:\n{}", file.display(), self.log());
        }
    }

    /// Returns the log so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("log")).unwrap_or_default()).into_owned()
    }

    /// Waits until the log has a line with all of `texts`, and returns that line.
    pub fn log_line(&self, texts: &[&str]) -> String {
        wait_for_line(&self.path("log"), texts)
    }

    /// Returns the options with which `sieve-connect`, a ManageSieve client, connects to this Dovecot. It
    /// reads the password, `test`, from its standard input.
    pub fn sieve_connect_options(&self) -> Vec<String> {
        let port = bridge(self.path("run/sieve"));
        let options = format!("--server 127.0.0.1 --nosrv --4 --port {port} --clearchan --passwordfd 0");
        options.split(' ').map(str::to_owned).collect()
    }

    /// Runs `sieve-connect` as a user who types `commands`. Returns its output.
    pub fn sieve_connect(&self, user: &str, options: &[&str], commands: &str) -> String {
        let file = self.path("commands");
        fs::write(&file, commands).unwrap();
        let mut client = Command::new("sieve-connect")
            .args(self.sieve_connect_options())
            .args(["--user", user, "--exec"])
            .arg(file)
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("sieve-connect: {e}; which package holds it is in tests/packages*"));
        client.stdin.take().unwrap().write_all(b"test\n").unwrap();
        let output = client.wait_with_output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// Runs `doveadm`, which must succeed. Returns its output.
    pub fn doveadm(&self, arguments: &[&str]) -> String {
        let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        let output = self.tool("doveadm", &arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "doveadm {arguments:?}: {said}\n{}", self.log());
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs Python code with `imap`, an `imaplib.IMAP4` that is logged in as the user. The code must not
    /// raise. Returns its output.
    pub fn imap(&self, user: &str, code: &str) -> String {
        let preamble = include_str!("imap.py");
        let output = run(Command::new("python3")
            .arg("-c")
            .arg(format!("{preamble}\n{code}"))
            .arg(self.path("run/imap"))
            .arg(user));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{code}: {said}\n{}", self.log());
        String::from_utf8(output.stdout).unwrap()
    }

    /// Returns the process IDs of the `lmtp` processes of this Dovecot.
    pub fn lmtp_processes(&self) -> Vec<u32> {
        self.service_processes("lmtp")
    }

    /// Returns the process IDs of a service of this Dovecot.
    pub fn service_processes(&self, service: &str) -> Vec<u32> {
        let master = self.master.as_ref().unwrap().id();
        processes().into_iter().filter(|p| p.parent == master && p.name == service).map(|p| p.id).collect()
    }

    /// Returns the process IDs of programs that `lmtp` processes have started, with their descendants.
    pub fn programs_of_lmtp(&self) -> Vec<u32> {
        let (all, mut parents) = (processes(), self.lmtp_processes());
        let mut found = Vec::new();
        while let Some(parent) = parents.pop() {
            // A process that is still named lmtp has not executed its program yet.
            let children: Vec<&Process> =
                all.iter().filter(|p| p.parent == parent && p.name != "lmtp").collect();
            parents.extend(children.iter().map(|p| p.id));
            found.extend(children.iter().map(|p| p.id));
        }
        found
    }
}

impl Dovecot {
    /// Returns the maximum of a field of [`memory`] among the lmtp processes.
    pub fn most_memory(&self, field: &str) -> usize {
        let processes = self.lmtp_processes().into_iter();
        processes.filter_map(|process| memory(process, field)).max().expect("an lmtp process")
    }

    /// Returns the maximum user CPU time among the lmtp processes, in seconds.
    pub fn most_user_time(&self) -> f64 {
        let processes = self.lmtp_processes().into_iter();
        processes.filter_map(user_time).max_by(f64::total_cmp).expect("an lmtp process")
    }

    /// Stops this Dovecot. [`Self::launch`] starts it again.
    pub fn stop(&mut self) {
        let Some(mut master) = self.master.take() else { return };
        let _ = Command::new("kill").arg(master.id().to_string()).status();
        let end = Instant::now() + patience();
        while master.try_wait().is_ok_and(|s| s.is_none()) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = master.kill();
        let _ = master.wait();
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        self.stop();
        if let Some(valgrind) = self.valgrind.take().filter(|_| !std::thread::panicking()) {
            valgrind.assert_clean();
        }
    }
}

/// Returns a TCP port on which nobody listens.
pub fn free_port() -> u16 {
    let [port] = free_ports();
    port
}

/// Returns as many of them, of which no two are the same.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind(("127.0.0.1", 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// An LMTP connection.
pub struct Lmtp {
    stream: BufReader<UnixStream>,
}

impl Lmtp {
    fn open(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(patience())).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    fn send(&mut self, text: &str) {
        match self.stream.get_mut().write_all(text.as_bytes()) {
            // The server's process has ended, so there is no answer.
            Err(e) if e.kind() == ErrorKind::BrokenPipe => {}
            written => written.unwrap(),
        }
    }

    /// Connects, and sends LHLO.
    pub fn connect(socket: &Path) -> Self {
        let mut session = Self::open(socket);
        session.answer();
        session.command("LHLO test");
        session
    }

    fn answer(&mut self) -> String {
        let mut answer = String::new();
        loop {
            let mut line = String::new();
            match self.stream.read_line(&mut line) {
                // The server's process ended before it had read everything.
                Err(e) if e.kind() == ErrorKind::ConnectionReset => {}
                read => drop(read.unwrap()),
            }
            let last = line.as_bytes().get(3) != Some(&b'-');
            answer += &line;
            if last {
                return answer.trim_end().to_owned();
            }
        }
    }

    /// Sends a command, and returns the answer.
    pub fn command(&mut self, line: &str) -> String {
        self.send(&format!("{line}\r\n"));
        self.answer()
    }

    /// Delivers a message. Returns an answer for each recipient; for one who is refused, it is the answer to
    /// `RCPT`. An empty answer means that the connection was closed.
    pub fn deliver(&mut self, recipients: &[&str], message: &[u8]) -> Vec<String> {
        self.deliver_from(recipients, &mut &message[..])
    }

    /// Delivers a message that is read piece by piece.
    pub fn deliver_from(&mut self, recipients: &[&str], message: &mut dyn Read) -> Vec<String> {
        self.transfer(recipients, |stream| {
            let inner = std::io::BufWriter::new(stream);
            let mut stuffed = DotStuffer { inner, line_start: true, last: 0 };
            std::io::copy(message, &mut stuffed)?;
            stuffed.finish()
        })
    }

    /// Delivers a message that needs no work in the client: all lines end with CRLF, and none begins with a
    /// dot.
    pub fn deliver_ready(&mut self, recipients: &[&str], message: &[u8]) -> Vec<String> {
        self.transfer(recipients, |stream| {
            stream.write_all(message)?;
            stream.write_all(b".\r\n")
        })
    }

    fn transfer(
        &mut self,
        recipients: &[&str],
        send: impl FnOnce(&mut UnixStream) -> std::io::Result<()>,
    ) -> Vec<String> {
        self.command("MAIL FROM:<sender@example.net>");
        let mut answers: Vec<String> =
            recipients.iter().map(|recipient| self.command(&format!("RCPT TO:<{recipient}>"))).collect();
        if !answers.iter().any(|answer| answer.starts_with("250")) {
            return answers;
        }
        let answer = self.command("DATA");
        assert!(answer.starts_with("354"), "{answer}");
        let sent = send(self.stream.get_mut());
        for answer in answers.iter_mut().filter(|answer| answer.starts_with("250")) {
            *answer = if sent.is_ok() { self.answer() } else { String::new() };
        }
        answers
    }
}

/// Forwards TCP connections to a unix socket, for programs that only know TCP. Returns the port.
fn bridge(socket: PathBuf) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let (Ok((tcp, _)), Ok(unix)) = (listener.accept(), UnixStream::connect(&socket)) {
            let (mut requests, mut answers) = (tcp.try_clone().unwrap(), unix.try_clone().unwrap());
            let (mut server, mut client) = (unix, tcp);
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut requests, &mut server);
                let _ = server.shutdown(Shutdown::Write);
            });
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut answers, &mut client);
                let _ = client.shutdown(Shutdown::Write);
            });
        }
    });
    port
}

/// Doubles leading dots (RFC 5321, section 4.5.2), and sends lines unchanged otherwise.
struct DotStuffer<W> {
    inner: W,
    line_start: bool,
    last: u8,
}

impl<W: Write> DotStuffer<W> {
    fn finish(mut self) -> std::io::Result<()> {
        if !self.line_start {
            self.inner.write_all(b"\r\n")?;
        }
        self.inner.write_all(b".\r\n")?;
        self.inner.flush()
    }
}

impl<W: Write> Write for DotStuffer<W> {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        for &byte in data {
            if self.line_start && byte == b'.' {
                self.inner.write_all(b".")?;
            }
            if byte == b'\n' && self.last != b'\r' {
                self.inner.write_all(b"\r")?;
            }
            self.inner.write_all(&[byte])?;
            self.line_start = byte == b'\n';
            self.last = byte;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

/// Returns a memory field of proc(5) in bytes, such as VmHWM, the peak of resident memory. `None` if the
/// process has ended.
pub fn memory(process: u32, field: &str) -> Option<usize> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(value.split_whitespace().next()?.parse::<usize>().ok()? * 1024)
}

/// Returns the peak of a process's resident memory in bytes. `None` if the process has ended.
pub fn peak_memory(process: u32) -> Option<usize> {
    memory(process, "VmHWM")
}

/// Reads the 14th field of proc(5), which is in hundredths of a second.
fn user_time(process: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let behind_name = stat.rsplit_once(')')?.1;
    Some(behind_name.split_whitespace().nth(11)?.parse::<f64>().ok()? / 100.0)
}

struct Process {
    id: u32,
    parent: u32,
    name: String,
}

fn processes() -> Vec<Process> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(id) = entry.file_name().to_string_lossy().parse() else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((before, after)) = stat.rsplit_once(')') else { continue };
        let name = before.split_once('(').unwrap().1.to_owned();
        let parent = after.split_whitespace().nth(1).unwrap().parse().unwrap();
        found.push(Process { id, parent, name });
    }
    found
}

/// Returns all regular files below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

/// Returns the plugin that cargo built: beside the test program, or, for an example, one folder above.
pub fn plugin_file() -> PathBuf {
    let folder = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let folder = if folder.ends_with("examples") { folder.with_file_name("deps") } else { folder };
    let file = folder.join("libperot_encrypt.so");
    // Cargo writes the library to the same place with and without the feature `plugin`, and then takes both
    // for built.
    static IS_PLUGIN: OnceLock<bool> = OnceLock::new();
    let is_plugin = || find(&fs::read(&file).unwrap(), b"sieve_perot_encrypt_plugin_load").is_some();
    assert!(*IS_PLUGIN.get_or_init(is_plugin), "{} is not the plugin: touch src/lib.rs", file.display());
    file
}

/// Builds the mail plugin, and returns its file. It is a crate of its own on which no test depends, so cargo does not
/// build it along with the tests.
pub fn mail_plugin_file() -> PathBuf {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let deps = plugin_file().parent().unwrap().to_owned();
        let (folder, target) = (deps.parent().unwrap(), deps.ancestors().nth(2).unwrap());
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args([
            "build",
            "--locked",
            "--package",
            "perot-encrypt-mail-plugin",
        ]);
        cargo.args(["--features", "inject-panic"]).arg("--target-dir").arg(target);
        if folder.ends_with("release") {
            cargo.arg("--release");
        }
        let output = run(&mut cargo);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        folder.join("libperot_encrypt_mail_plugin.so")
    };
    FILE.get_or_init(build).clone()
}

/// Returns the folder in which Dovecot looks for its modules.
pub fn modules_dir() -> PathBuf {
    installed("dovecot_moduledir")
}

/// Returns the folder of Dovecot's headers.
pub fn headers_dir() -> PathBuf {
    installed("dovecot_pkgincludedir")
}

/// Returns a folder of the installed Dovecot.
fn installed(name: &str) -> PathBuf {
    let text = fs::read_to_string("/usr/lib/dovecot/dovecot-config").expect("apt install dovecot-dev");
    let value = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix('=')).expect(name);
    PathBuf::from(value.trim_matches('"'))
}

/// Returns true if the tests run as root.
pub fn is_root() -> bool {
    mine().0 == 0
}

fn mine() -> (u32, u32) {
    let metadata = fs::metadata("/proc/self").unwrap();
    (metadata.uid(), metadata.gid())
}

fn mail_user() -> (u32, u32) {
    if is_root() {
        (VMAIL, VMAIL)
    } else {
        mine()
    }
}

/// Returns lines of `passwd` and `group` for the users that mail servers install, and for `me` and `you`,
/// whose homes are in `homes`. If the tests do not run as root, all of them are the ordinary user who runs
/// them.
fn mail_server_users(homes: &Path) -> [(&'static str, String); 2] {
    let (uid, gid) = mail_user();
    let own = |id| if is_root() { (id, id) } else { (uid, gid) };
    let users = [
        ("vmail", (uid, gid)),
        ("me", (uid, gid)),
        ("you", (uid, gid)),
        ("postfix", own(POSTFIX)),
        ("Debian-exim", own(DEBIAN_EXIM)),
    ];
    let mut passwd = String::new();
    let mut group = format!("postdrop:x:{}:\n", own(POSTDROP).1);
    for (name, (uid, gid)) in users {
        passwd += &format!("{name}:x:{uid}:{gid}::{}/{name}:/bin/sh\n", homes.display());
        group += &format!("{name}:x:{gid}:\n");
    }
    [("passwd", passwd), ("group", group)]
}

fn name_in(file: &str, id: u32) -> String {
    let text = fs::read_to_string(file).unwrap();
    let id = id.to_string();
    let name = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    });
    name.unwrap_or(id)
}

fn user_name() -> String {
    name_in("/etc/passwd", mine().0)
}

fn group_name() -> String {
    name_in("/etc/group", mine().1)
}
