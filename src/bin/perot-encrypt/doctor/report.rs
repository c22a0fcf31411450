//! Renders the report, as text for one screen or as JSON.

use std::fmt::{self, Display};
use std::process::ExitCode;
use std::time::SystemTime;

use serde_json::{json, Value};

use perot_encrypt::openpgp::crypto::{has_post_quantum, library, library_in_words};

use super::delivery::{Delivery, Outcome};
use super::running::Running;
use super::written::Place;
use crate::certificate::{line, until, Checked};

/// A fact that an administrator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// True if mail is stored in clear or deferred because of it.
    pub problem: bool,
    pub what: String,
    pub why: String,
    pub write: Option<Write>,
}

/// A remedy: a line to write into the configuration, or a command to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The place in the configuration. It is `None` if the remedy is a command.
    pub place: Option<Place>,
    /// The line, or the command.
    pub text: String,
}

impl Finding {
    pub fn problem(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { problem: true, what: what.into(), why: why.into(), write: None }
    }

    pub fn note(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { problem: false, ..Self::problem(what, why) }
    }

    /// Adds a line that helps, and the place where it is to be written.
    pub fn write(self, place: Place, text: impl Into<String>) -> Self {
        Self { write: Some(Write { place: Some(place), text: text.into() }), ..self }
    }

    /// Adds a command that helps.
    pub fn command(self, text: impl Into<String>) -> Self {
        Self { write: Some(Write { place: None, text: text.into() }), ..self }
    }

    fn json(&self) -> Value {
        let place = self.write.as_ref().and_then(|write| write.place.as_ref());
        json!({
            "problem": self.problem,
            "what": self.what,
            "why": self.why,
            "file": place.map(|place| place.file.to_string_lossy()),
            "line": place.and_then(|place| place.line),
            "write": self.write.as_ref().filter(|write| write.place.is_some()).map(|write| &write.text),
            "run": self.write.as_ref().filter(|write| write.place.is_none()).map(|write| &write.text),
        })
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

/// A file of ours that a process loads.
#[derive(Debug)]
pub struct Module {
    pub file: String,
    /// The ABI version for which the file was made.
    pub abi: Option<String>,
    /// The version of a plugin. A settings module has none.
    pub version: Option<String>,
    pub fits: bool,
}

/// The results about one user.
pub struct Person {
    pub name: String,
    pub uid: u32,
    pub home: Option<String>,
    pub deliveries: Vec<Delivery>,
    pub certificates: Vec<Checked>,
}

impl Person {
    fn is_well(&self) -> bool {
        self.deliveries.iter().all(|delivery| delivery.outcome == Outcome::Encrypted)
    }

    fn json(&self, now: SystemTime) -> Value {
        json!({
            "user": self.name,
            "uid": self.uid,
            "home": self.home,
            "deliveries": self.deliveries.iter().map(Delivery::json).collect::<Vec<_>>(),
            "certificates": self.certificates.iter().map(|c| c.json(now)).collect::<Vec<_>>(),
        })
    }

    fn write(&self, text: &mut String) {
        line(text, format_args!("{} (uid {})", self.name, self.uid));
        for delivery in &self.deliveries {
            delivery.write(text);
        }
        for certificate in &self.certificates {
            let state = match (certificate.reason(), &certificate.found.keys) {
                (Some(why), _) => format!("NOT USABLE: {why}"),
                (None, Ok(keys)) if keys.expired().is_some() => "EXPIRED, and used all the same".to_owned(),
                (None, _) => until(certificate.expires()),
            };
            let found = &certificate.found;
            let place = found.files.first().map_or(found.place.name(), String::as_str);
            let place = if place.is_empty() { "sieve_perot_encrypt_cert" } else { place };
            let fingerprint = &found.fingerprint;
            line(text, format_args!("  certificate  {fingerprint}, {state}, {place}"));
        }
    }
}

/// The whole report.
pub struct Report {
    pub version: String,
    pub file: String,
    pub running: Running,
    /// The protocols, with the mail plugins that each loads.
    pub protocols: Vec<(&'static str, Vec<String>)>,
    pub modules: Vec<Module>,
    pub people: Vec<Person>,
    /// True if the report is about all users. It then shows only those whose mail is not encrypted, to fit on a
    /// screen.
    pub all: bool,
    pub findings: Vec<Finding>,
}

impl Report {
    /// Adds findings, and leaves out those that are there already.
    pub fn add(&mut self, findings: impl IntoIterator<Item = Finding>) {
        for finding in findings {
            if !self.findings.contains(&finding) {
                self.findings.push(finding);
            }
        }
    }

    fn is_well(&self) -> bool {
        !self.findings.iter().any(|finding| finding.problem) && self.people.iter().all(Person::is_well)
    }

    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(u8::from(!self.is_well()))
    }

    pub fn json(&self, now: SystemTime) -> String {
        let protocols: serde_json::Map<String, Value> =
            self.protocols.iter().map(|(name, plugins)| ((*name).to_owned(), json!(plugins))).collect();
        let modules = self
            .modules
            .iter()
            .map(|m| json!({ "file": m.file, "abi": m.abi, "version": m.version, "fits": m.fits }));
        let report = json!({
            "well": self.is_well(),
            "dovecot": self.version,
            "configuration": self.file,
            "running": self.running.json(),
            "mail_plugins": protocols,
            "modules": modules.collect::<Vec<_>>(),
            "crypto_library": library(),
            "post_quantum": has_post_quantum(),
            "users": self.people.iter().map(|person| person.json(now)).collect::<Vec<_>>(),
            "findings": self.findings.iter().map(Finding::json).collect::<Vec<_>>(),
        });
        format!("{report:#}\n")
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        line(&mut text, format_args!("Dovecot {}, {}: {}", self.version, self.file, self.running));
        for (protocol, plugins) in &self.protocols {
            let plugins = if plugins.is_empty() { "(no plugins)".to_owned() } else { plugins.join(" ") };
            line(&mut text, format_args!("  {protocol:<5} {plugins}"));
        }
        for module in &self.modules {
            let fits = if module.fits { "fits" } else { "DOES NOT FIT" };
            line(&mut text, format_args!("  {}: {fits}", module.file));
        }
        line(&mut text, format_args!("  {}", library_in_words()));
        for person in self.people.iter().filter(|person| !self.all || !person.is_well()) {
            person.write(&mut text);
        }
        if self.all {
            let well = self.people.iter().filter(|person| person.is_well()).count();
            line(&mut text, format_args!("users: {}, encrypted for {well}", self.people.len()));
        }
        for finding in &self.findings {
            let kind = if finding.problem { "PROBLEM" } else { "note" };
            line(&mut text, format_args!("{kind}: {}", finding.what));
            line(&mut text, format_args!("  why: {}", finding.why));
            match &finding.write {
                Some(Write { place: Some(place), text: what }) => {
                    line(&mut text, format_args!("  in {place} write:"));
                    what.lines().for_each(|what| line(&mut text, format_args!("    {what}")));
                }
                Some(Write { place: None, text: what }) => line(&mut text, format_args!("  run: {what}")),
                None => {}
            }
        }
        if self.is_well() {
            line(&mut text, format_args!("All is well."));
        }
        text
    }
}
