//! Judges what becomes of a message that is delivered to a user: whether it is encrypted, by which plugin or script,
//! and why.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use serde_json::{json, Value};

use perot_encrypt::log::printable_line;

use super::configuration::{is_for, words, Configuration, Era};
use super::keys::{self, Keys};
use super::plugins::{Plugins, MAIL, SIEVE};
use super::reading::{Encrypts, Reading};
use super::report::{Finding, Person};
use super::rights::as_user;
use super::scripts::{look, sequence, Role, Script, State};
use super::user::User;
use super::written::Place;
use crate::certificate::line;
use crate::dovecot::Dovecot;

/// The fate of mail that is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Encrypted,
    /// Some messages are encrypted, or some copies of a message.
    Partly,
    Clear,
    Deferred,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Encrypted => "encrypted",
            Self::Partly => "partly encrypted",
            Self::Clear => "stored in clear",
            Self::Deferred => "deferred",
        }
    }
}

/// The judgement about mail that one protocol delivers.
pub struct Delivery {
    pub protocol: &'static str,
    pub outcome: Outcome,
    /// Names the plugin or the script that encrypts, or the reason why none does.
    pub how: String,
    /// The scripts that run, if scripts decide.
    scripts: Vec<Script>,
}

impl Delivery {
    pub fn json(&self) -> Value {
        json!({
            "protocol": self.protocol,
            "outcome": self.outcome.name(),
            "how": self.how,
            "scripts": self.scripts.iter().map(Script::json).collect::<Vec<_>>(),
        })
    }

    pub fn write(&self, text: &mut String) {
        let outcome = match self.outcome {
            Outcome::Encrypted => "encrypted".to_owned(),
            other => other.name().to_uppercase(),
        };
        line(text, format_args!("  {:<5} {outcome}: {}", self.protocol, self.how));
        for script in &self.scripts {
            line(
                text,
                format_args!("        {:<8} {}: {}", script.role.name(), script.path, script.in_words()),
            );
        }
    }
}

/// Judges users by what is known of the server.
pub struct Judge<'a> {
    pub dovecot: &'a Dovecot,
    pub configuration: &'a Configuration,
    pub plugins: &'a Plugins,
    /// The result of compiling each script, by its path and the Sieve plugins. An error is the output of `sievec`.
    pub compiled: BTreeMap<(String, String), Result<(), String>>,
}

/// A judgement, which does not consider certificates yet.
struct Judged {
    outcome: Outcome,
    how: String,
    /// True if the owner's certificates decide whether mail can be encrypted.
    for_owner: bool,
    scripts: Vec<Script>,
    findings: Vec<Finding>,
}

impl Judged {
    fn new(outcome: Outcome, how: impl Into<String>) -> Self {
        let (scripts, findings) = (Vec::new(), Vec::new());
        Self { outcome, how: how.into(), for_owner: true, scripts, findings }
    }

    fn finding(mut self, finding: Finding) -> Self {
        self.findings.push(finding);
        self
    }
}

impl Judge<'_> {
    /// Judges what is delivered to a user by these protocols.
    ///
    /// # Errors
    ///
    /// Fails if the scripts and certificates cannot be looked at with the user's rights.
    pub fn user(
        &mut self,
        user: &User,
        protocols: &[&'static str],
    ) -> Result<(Person, Vec<Finding>), Box<dyn Error>> {
        let (mut deliveries, mut findings) = (Vec::new(), Vec::new());
        let mut certificates = Vec::new();
        for protocol in protocols {
            let mut judged = self.protocol(user, protocol)?;
            if judged.for_owner && matches!(judged.outcome, Outcome::Encrypted | Outcome::Partly) {
                let keys = keys::of(self.configuration, protocol, user)?;
                (judged.outcome, judged.how) = with_keys(&keys, judged.outcome, judged.how);
                findings.extend(keys.finding(self.configuration, user));
                certificates = keys.certificates;
            }
            findings.append(&mut judged.findings);
            let Judged { outcome, how, scripts, .. } = judged;
            deliveries.push(Delivery { protocol, outcome, how, scripts });
        }
        let (name, home) = (user.name.clone(), user.home.clone());
        Ok((Person { name, uid: user.uid, home, deliveries, certificates }, findings))
    }

    fn protocol(&mut self, user: &User, protocol: &str) -> Result<Judged, Box<dyn Error>> {
        let plugins = user.mail_plugins(self.configuration, protocol);
        let loads = |name: &str| plugins.iter().any(|plugin| plugin == name);
        if loads(MAIL) && self.plugins.is_broken(MAIL) {
            return Ok(Judged::new(Outcome::Deferred, format!("the mail plugin {MAIL} cannot be loaded")));
        }
        let mode = user.setting(self.configuration, protocol, "perot_encrypt_deliveries");
        let mode = mode.as_deref().map(str::trim).filter(|mode| !mode.is_empty()).unwrap_or("encrypt");
        if loads(MAIL) && !matches!(mode, "refuse" | "warn" | "no") {
            if mode != "encrypt" {
                let how = format!("perot_encrypt_deliveries = {mode} is not understood");
                let on_error = user.setting(self.configuration, protocol, "sieve_perot_encrypt_on_error");
                let outcome = match on_error.as_deref().map(str::trim) {
                    Some("keep") => Outcome::Clear,
                    _ => Outcome::Deferred,
                };
                return Ok(Judged::new(outcome, how).finding(self.bad_mode(user, mode)));
            }
            return Ok(Judged::new(
                Outcome::Encrypted,
                format!("by the mail plugin {MAIL}, whatever scripts do"),
            ));
        }
        let mut judged = self.by_scripts(user, protocol, &plugins)?;
        if loads(MAIL) && judged.outcome != Outcome::Encrypted {
            judged.how += &format!(" (perot_encrypt_deliveries = {mode})");
            if mode == "refuse" {
                judged.outcome = Outcome::Deferred;
            }
            judged.findings.push(self.left_to_scripts(user, mode));
        } else if !loads(MAIL) && self.configuration.mail_plugins(protocol).iter().any(|p| p == MAIL) {
            judged.findings.push(dropped_by_userdb(user));
        }
        Ok(judged)
    }

    /// Returns the finding about a mail plugin that leaves encryption to scripts, which do not encrypt.
    fn left_to_scripts(&self, user: &User, mode: &str) -> Finding {
        let name = "perot_encrypt_deliveries";
        let what = format!("{name} = {mode}: {MAIL} leaves encryption to scripts");
        let why = "with `encrypt`, it encrypts what they do not";
        match user.field(name) {
            Some(_) => Finding::problem(format!("{what} (user database, {})", user.name), why),
            None => self.configuration.set(Finding::problem(what, why), name, "encrypt"),
        }
    }

    fn bad_mode(&self, user: &User, mode: &str) -> Finding {
        let what = format!("perot_encrypt_deliveries = {mode} is not understood");
        let why = "each delivery says so in the log, and encrypts nothing";
        match user.field("perot_encrypt_deliveries") {
            Some(_) => Finding::problem(format!("{what} (user database, {})", user.name), why),
            None => {
                self.configuration.set(Finding::problem(what, why), "perot_encrypt_deliveries", "encrypt")
            }
        }
    }

    fn by_scripts(
        &mut self,
        user: &User,
        protocol: &str,
        plugins: &[String],
    ) -> Result<Judged, Box<dyn Error>> {
        if !plugins.iter().any(|plugin| plugin == "sieve") {
            return Ok(self.no_door(protocol));
        }
        if user.setting(self.configuration, protocol, "sieve_enabled").as_deref() == Some("no") {
            let what = format!("sieve_enabled = no, for {protocol}");
            let finding = Finding::problem(what, "no script runs, and nothing says so");
            let finding = self.configuration.set(finding, "sieve_enabled", "yes");
            return Ok(Judged::new(Outcome::Clear, "sieve_enabled = no").finding(finding));
        }
        let locations = sequence(self.configuration, protocol, user);
        let mut scripts = as_user(user.uid, user.gid, || look(&locations, user))?;
        let of_user = user.field("sieve_plugins").map(|plugins| words(&plugins));
        let sieve_plugins = of_user.unwrap_or_else(|| self.configuration.sieve_plugins(protocol));
        if !sieve_plugins.iter().any(|plugin| plugin == SIEVE) {
            let judged = Judged::new(Outcome::Clear, format!("sieve_plugins does not name {SIEVE}"));
            return Ok(Judged { scripts, ..judged.finding(self.without_sieve_plugin(protocol)) });
        }
        if self.plugins.is_broken(SIEVE) {
            return Ok(Judged::new(Outcome::Deferred, format!("the Sieve plugin {SIEVE} cannot be loaded")));
        }
        for script in &mut scripts {
            self.compile(script, &sieve_plugins.join(" "));
        }
        let judged = self.order(&scripts, protocol);
        Ok(Judged { scripts, ..judged })
    }

    /// Judges scripts that run one after the other.
    fn order(&self, scripts: &[Script], protocol: &str) -> Judged {
        let mut passed = Vec::new();
        let mut stored: Option<String> = None;
        let mut best: Option<Judged> = None;
        for script in scripts {
            let reading = match &script.state {
                State::Read(reading) => reading,
                State::Missing if matches!(script.role, Role::Personal | Role::Default) => continue,
                _ => {
                    passed.push(self.passed_over(script));
                    continue;
                }
            };
            if reading.encrypts > Encrypts::Nothing {
                passed.extend(not_compiled(script));
                let judged = judge_script(script, reading, stored.as_deref());
                if judged.outcome == Outcome::Encrypted {
                    best = Some(judged);
                    break;
                }
                best = best.or(Some(judged));
            }
            let stores = reading.stores.as_ref();
            stored = stored
                .or_else(|| stores.map(|at| format!("{} line {} ({})", script.path, at.line, at.command)));
        }
        let told = !passed.is_empty() || self.configuration.mail_plugins(protocol).iter().any(|p| p == MAIL);
        let judged = best.unwrap_or_else(|| self.no_script(told, protocol));
        Judged { findings: passed.into_iter().chain(judged.findings).collect(), ..judged }
    }

    /// Judges a delivery in which no script encrypts. `told` is true if no other finding is needed: there is one about a
    /// script that Dovecot passes over, which may be the one that was to encrypt, or there is the mail plugin.
    fn no_script(&self, told: bool, protocol: &str) -> Judged {
        let what = "no script that runs encrypts";
        let judged = Judged::new(Outcome::Clear, what);
        if told {
            return judged;
        }
        let finding = Finding::problem(what, "what the scripts store is stored as it came");
        judged.finding(self.with_mail_plugin(finding, protocol))
    }

    /// Returns the finding about a script that the configuration names and that does not run.
    fn passed_over(&self, script: &Script) -> Finding {
        let what = format!("{} ({}): {}", script.path, script.setting, script.in_words());
        let path = &script.path;
        match &script.state {
            State::Missing => Finding::problem(what, "Dovecot passes over it, and nothing says so")
                .write(self.script_place(script), self.script_line(script)),
            State::Unreadable(_) => {
                let why = "Dovecot passes over it, or defers the mail: the process that delivers has the rights of the user";
                Finding::problem(what, why)
                    .command(format!("chmod a+r {path}   (and a+x for each folder above)"))
            }
            State::Wrong(_) => Finding::problem(what, "what comes to it is stored in clear")
                .command(format!("sievec {path}")),
            State::NotLookedAt(_) | State::Read(_) => Finding::note(what, "what it does is not known here"),
        }
    }

    fn script_line(&self, script: &Script) -> String {
        let file = "/etc/dovecot/sieve/encrypt.sieve";
        match self.configuration.era {
            Era::V23 => {
                format!("{} = {file}   (and have it there: conf.d-example/encrypt.sieve)", script.setting)
            }
            Era::V24 => format!("path = {file}   (and have it there: conf.d-example/encrypt.sieve)"),
        }
    }

    fn script_place(&self, script: &Script) -> Place {
        let named = |blocks: &[String]| blocks.last().is_some_and(|block| *block == script.setting);
        let written = match self.configuration.era {
            Era::V23 => self.configuration.written.last(&script.setting, |_| true),
            Era::V24 => self.configuration.written.last("path", named),
        };
        written.map_or_else(|| self.configuration.written.new_place(), |setting| setting.place.clone())
    }

    /// Compiles a script as the process that delivers does, to see whether that works: `sievec` does not read what the
    /// configuration has in `protocol lmtp`. Scripts that could not be read are left out.
    fn compile(&mut self, script: &mut Script, plugins: &str) {
        if !matches!(script.state, State::Read(_)) {
            return;
        }
        let dovecot = self.dovecot;
        let setting = match self.configuration.era {
            Era::V23 => format!("plugin/sieve_plugins={plugins}"),
            Era::V24 => format!("sieve_plugins={plugins}"),
        };
        let compiled = self.compiled.entry((script.path.clone(), plugins.to_owned())).or_insert_with(|| {
            let folder = tempfile::tempdir().map_err(|why| why.to_string())?;
            let into = folder.path().join("compiled.svbin");
            dovecot
                .compile_with(&setting, Path::new(&script.path), &into)
                .map_err(|why| printable_line(&why.to_string()))
        });
        if let Err(why) = compiled {
            script.state = State::Wrong(why.clone());
        }
    }

    /// Returns the finding about what all users of a protocol share, for a report without users.
    pub fn door(&self, protocol: &str) -> Option<Finding> {
        if !self.configuration.mail_plugins(protocol).iter().any(|plugin| plugin == "sieve") {
            return self.no_door(protocol).findings.pop();
        }
        if !self.configuration.sieve_plugins(protocol).iter().any(|plugin| plugin == SIEVE) {
            return Some(self.without_sieve_plugin(protocol));
        }
        let why = "whether they encrypt can be told of a user";
        Some(
            Finding::note(format!("what {protocol} delivers is encrypted by scripts"), why)
                .command("perot-encrypt doctor --user USER"),
        )
    }

    fn no_door(&self, protocol: &str) -> Judged {
        let how = format!("{protocol} loads neither {MAIL} nor sieve");
        let why = "nothing that could encrypt is loaded";
        Judged::new(Outcome::Clear, how.clone())
            .finding(self.with_mail_plugin(Finding::problem(how, why), protocol))
    }

    /// Adds to a finding the lines that load the mail plugin.
    fn with_mail_plugin(&self, finding: Finding, protocol: &str) -> Finding {
        let in_protocol = |blocks: &[String]| blocks.iter().any(|block| is_for(block, protocol));
        let of_24 =
            |blocks: &[String]| in_protocol(blocks) && blocks.last().is_some_and(|b| b == "mail_plugins");
        let (written, within, alone) = match self.configuration.era {
            Era::V23 => {
                let line = format!("mail_plugins = $mail_plugins sieve {MAIL}");
                (self.configuration.written.last("mail_plugins", in_protocol), line.clone(), line)
            }
            Era::V24 => {
                let alone = format!("mail_plugins {{\n  sieve = yes\n  {MAIL} = yes\n}}");
                (self.configuration.written.last("sieve", of_24), format!("sieve = yes\n{MAIL} = yes"), alone)
            }
        };
        match written {
            Some(setting) => finding.write(setting.place.clone(), within),
            None => {
                let lines: Vec<String> = alone.lines().map(|line| format!("  {line}")).collect();
                let block = format!("protocol {protocol} {{\n{}\n}}", lines.join("\n"));
                finding.write(self.configuration.written.new_place(), block)
            }
        }
    }

    fn without_sieve_plugin(&self, protocol: &str) -> Finding {
        let what = format!("sieve_plugins, for {protocol}, does not name {SIEVE}");
        let why = "scripts that require vnd.perot.encrypt do not compile, and mail is stored in clear";
        let others = self.configuration.sieve_plugins(protocol);
        let all = [others, vec![SIEVE.to_owned()]].concat().join(" ");
        self.configuration.set(Finding::problem(what, why), "sieve_plugins", &all)
    }
}

fn dropped_by_userdb(user: &User) -> Finding {
    let what = format!("the user database has mail_plugins for {}, without {MAIL}", user.name);
    Finding::problem(what, "it replaces the list of the configuration, and mail is stored as scripts say")
}

/// Judges a script that encrypts. `stored` names the command in an earlier script that may have stored the message
/// already.
fn judge_script(script: &Script, reading: &Reading, stored: Option<&str>) -> Judged {
    let path = &script.path;
    if let Some(stored) = stored {
        let what = format!("{stored} may store the message before {path} encrypts it");
        let why =
            "what is stored there is in clear, and a script that has filed a message is the last to run";
        let first = "the script that encrypts as the first (sieve_before; with Dovecot 2.4: precedence = 0)";
        let judged = Judged::new(Outcome::Partly, format!("by {path}, behind {stored}"));
        return Judged { for_owner: reading.for_owner, ..judged }
            .finding(Finding::problem(what, why).command(first));
    }
    let (outcome, how) = match reading.encrypts {
        Encrypts::All => (Outcome::Encrypted, format!("by the script {path}")),
        _ => (Outcome::Partly, format!("by the script {path}, in part")),
    };
    let judged = Judged { for_owner: reading.for_owner, ..Judged::new(outcome, how) };
    if outcome == Outcome::Encrypted {
        return judged;
    }
    let why = "the rest is stored as it came";
    judged.finding(match &reading.before {
        Some(at) => {
            let what = format!(
                "{path} line {}: `{}` may store the message or end the script before `encrypt`",
                at.line, at.command
            );
            Finding::problem(what, why)
                .write(Place { file: path.into(), line: Some(at.line) }, "encrypt;   (in front of it)")
        }
        None => Finding::problem(format!("{path} encrypts under a condition, or with :try"), why),
    })
}

/// Returns a finding about a global script that is not compiled, because each delivery compiles it anew.
fn not_compiled(script: &Script) -> Option<Finding> {
    let is_global = script.role != Role::Personal;
    (is_global && script.compiled != super::scripts::Compiled::Yes).then(|| {
        let why = "each delivery compiles it anew: it works, and takes time";
        Finding::note(format!("{}: {}", script.path, script.in_words()), why)
            .command(format!("sievec {}", script.path))
    })
}

/// Adapts an outcome to the certificates: without a usable one, mail is deferred or stored in clear.
fn with_keys(keys: &Keys, outcome: Outcome, how: String) -> (Outcome, String) {
    match &keys.failure {
        None => (outcome, how),
        Some(failure) if failure.kept_by.is_some() => (Outcome::Clear, format!("{} ({how})", failure.why)),
        Some(failure) => (Outcome::Deferred, format!("{} ({how})", failure.why)),
    }
}
