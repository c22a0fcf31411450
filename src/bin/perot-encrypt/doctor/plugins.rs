//! Checks that the files that Dovecot has to load are there, and that they fit this Dovecot.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use memchr::memmem;

use super::configuration::{Configuration, Era};
use super::report::{Finding, Module};

/// The name of the mail plugin.
pub const MAIL: &str = "perot_encrypt";
/// The name of the Sieve plugin.
pub const SIEVE: &str = "sieve_perot_encrypt";

/// In a module, this text follows the numbers of an ABI version: `2.3.ABIv19(2.3.19.1)`.
const MARK: &[u8] = b".ABIv";

/// In our plugins, this text precedes their version.
const AGENT: &[u8] = b"vnd.perot.encrypt/";

/// The files of ours that the configuration has Dovecot load.
#[derive(Debug, Default)]
pub struct Plugins {
    pub modules: Vec<Module>,
    pub findings: Vec<Finding>,
    /// The names of plugins that cannot be loaded.
    broken: BTreeSet<&'static str>,
}

impl Plugins {
    /// Examines the plugins that at least one of the protocols loads.
    pub fn look(configuration: &Configuration, protocols: &[&str]) -> Self {
        let mut plugins = Self::default();
        let mut look = |name, folder: &Path| plugins.plugin(configuration, name, folder);
        if protocols.iter().any(|protocol| configuration.mail_plugins(protocol).iter().any(|p| p == MAIL)) {
            look(MAIL, &configuration.mail_plugin_dir);
        }
        for protocol in protocols {
            if configuration.sieve_plugins(protocol).iter().any(|plugin| plugin == SIEVE) {
                look(SIEVE, &configuration.sieve_plugin_dir(protocol));
                break;
            }
        }
        if configuration.era == Era::V24 && !plugins.modules.is_empty() {
            plugins.settings(configuration);
        }
        plugins
    }

    /// Examines the module that makes the settings known to Dovecot 2.4.
    fn settings(&mut self, configuration: &Configuration) {
        let files = settings_modules(configuration);
        if files.is_empty() {
            let what = format!("the settings module is not in {}", configuration.settings_dir.display());
            let why = "Dovecot refuses a configuration with settings of the plugin";
            self.findings.push(Finding::problem(what, why).command("make install, and restart Dovecot"));
        }
        for file in files {
            let (module, problem) = fit(&file, &configuration.settings_dir, &configuration.version);
            self.modules.push(module);
            self.findings.extend(problem);
        }
    }

    /// Returns true if a plugin cannot be loaded.
    pub fn is_broken(&self, name: &str) -> bool {
        self.broken.contains(name)
    }

    fn plugin(&mut self, configuration: &Configuration, name: &'static str, folder: &Path) {
        let problem = match module(folder, name) {
            None => Some(missing(name, folder)),
            Some(file) => {
                let (module, problem) = fit(&file, folder, &configuration.version);
                self.findings.extend(another_version(&module));
                self.modules.push(module);
                problem
            }
        };
        if let Some(problem) = problem {
            self.findings.push(problem);
            self.broken.insert(name);
        }
    }
}

/// Returns the settings modules of Dovecot 2.4 that are installed.
pub fn settings_modules(configuration: &Configuration) -> Vec<PathBuf> {
    let entries = fs::read_dir(&configuration.settings_dir).into_iter().flatten().flatten();
    let entries = entries.filter(|_| configuration.era == Era::V24);
    let ours = entries.filter(|entry| entry.file_name().to_string_lossy().contains("perot_encrypt"));
    ours.map(|entry| entry.path()).collect()
}

/// Returns the file of a plugin, which is named `lib90_NAME_plugin.so`.
fn module(folder: &Path, name: &str) -> Option<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).collect();
    files.sort();
    files.into_iter().find(|file| {
        let file = file.file_name().unwrap_or_default().to_string_lossy();
        let number =
            file.strip_prefix("lib").and_then(|rest| rest.strip_suffix(&format!("_{name}_plugin.so")));
        number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

/// Compares a module with the others in its folder, which are Dovecot's own, and returns a finding if Dovecot cannot
/// load it or should not.
fn fit(file: &Path, folder: &Path, version: &str) -> (Module, Option<Finding>) {
    let name = file.display();
    let data = fs::read(file).unwrap_or_default();
    let mode = fs::metadata(file).map_or(0, |file| file.permissions().mode());
    let (ours, theirs) = (versions(&data), reference(folder, file));
    let abi = ours.first().cloned();
    let problem = if mode & 0o004 == 0 {
        let why =
            "processes that do not run as root cannot load it: mail is deferred, and logins are refused";
        Some(
            Finding::problem(format!("{name} cannot be read by everybody"), why)
                .command(format!("chmod 644 {name}")),
        )
    } else if mode & 0o002 != 0 {
        let why = "whoever writes there reads all mail";
        Some(
            Finding::problem(format!("{name} may be written by everybody"), why)
                .command(format!("chmod 644 {name}")),
        )
    } else if ours.is_empty() || (!theirs.is_empty() && !ours.iter().any(|one| theirs.contains(one))) {
        let made = abi.as_deref().unwrap_or("another program");
        let this = theirs.first().map_or(String::new(), |one| format!(", {one}"));
        let what = format!("{name} is made for {made}, and this is Dovecot {version}{this}");
        let why = "Dovecot does not load it: the process ends, and mail is deferred";
        Some(Finding::problem(what, why).command("make && make install   (with the headers of this Dovecot)"))
    } else {
        None
    };
    (Module { file: name.to_string(), abi, version: own_version(&data), fits: problem.is_none() }, problem)
}

/// Returns a finding if a plugin has another version than this tool.
fn another_version(module: &Module) -> Option<Finding> {
    let (version, own) = (module.version.as_deref()?, env!("CARGO_PKG_VERSION"));
    (version != own).then(|| {
        let what = format!("{} is of version {version}, and this tool of {own}", module.file);
        Finding::note(what, "what they find may differ").command("make install")
    })
}

/// Returns the version of a plugin of ours.
fn own_version(module: &[u8]) -> Option<String> {
    let begin = memmem::find(module, AGENT)? + AGENT.len();
    let is_version = |byte: &&u8| byte.is_ascii_digit() || **byte == b'.';
    let version = module[begin..].iter().take_while(is_version).map(|byte| char::from(*byte));
    Some(version.collect()).filter(|version: &String| !version.is_empty())
}

fn missing(name: &str, folder: &Path) -> Finding {
    let what = format!("the plugin {name} is not in {}", folder.display());
    let why = "the configuration names it: the process that delivers ends, and mail is deferred";
    Finding::problem(what, why).command("make install")
}

/// Returns the ABI versions of the first other module in a folder that has one.
fn reference(folder: &Path, not: &Path) -> Vec<String> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    let others =
        files.iter().filter(|file| *file != not && !file.to_string_lossy().contains("perot_encrypt"));
    let modules = others.filter(|file| file.extension().is_some_and(|end| end == "so"));
    modules
        .map(|file| versions(&fs::read(file).unwrap_or_default()))
        .find(|v| !v.is_empty())
        .unwrap_or_default()
}

/// Returns the ABI versions in a module, up to the bracket, because Dovecot compares no more.
fn versions(module: &[u8]) -> Vec<String> {
    let mut versions = Vec::new();
    for at in memmem::find_iter(module, MARK) {
        let is_number = |byte: &&u8| byte.is_ascii_digit() || **byte == b'.';
        let begin = at - module[..at].iter().rev().take_while(is_number).count();
        let behind = at + MARK.len();
        let end = behind + module[behind..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if begin < at && behind < end {
            versions.push(String::from_utf8_lossy(&module[begin..end]).into_owned());
        }
    }
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_modules_of_both_eras() {
        let text = b"\0x2.3.ABIv19(2.3.19.1)\0\x002.4.ABIv1\0.ABIv2\0a.ABIv\0";
        assert_eq!(versions(text), ["2.3.ABIv19", "2.4.ABIv1"]);
    }

    #[test]
    fn a_plugin_of_another_version_is_told() {
        let module = |version: &str| Module {
            file: "x".into(),
            abi: None,
            version: own_version(format!("\0vnd.perot.encrypt/{version}\0").as_bytes()),
            fits: true,
        };
        assert_eq!(another_version(&module(env!("CARGO_PKG_VERSION"))), None);
        assert!(another_version(&module("9.9.9")).unwrap().what.contains("of version 9.9.9"));
        assert_eq!(another_version(&module("")), None);
    }

    #[test]
    fn a_plugin_is_found_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in
            ["lib90_sieve_perot_encrypt_plugin.so", "libx_perot_encrypt_plugin.so", "lib00_perot_encrypt.so"]
        {
            fs::write(path(name), "").unwrap();
        }
        assert_eq!(module(folder.path(), MAIL), None);
        assert_eq!(module(folder.path(), SIEVE), Some(path("lib90_sieve_perot_encrypt_plugin.so")));
        fs::write(path("lib00_perot_encrypt_plugin.so"), "").unwrap();
        assert_eq!(module(folder.path(), MAIL), Some(path("lib00_perot_encrypt_plugin.so")));
    }
}
