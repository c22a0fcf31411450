//! Implements `perot-encrypt doctor`, which tells whether mail that is delivered would be encrypted. It shows on one
//! screen what an administrator would otherwise check by hand.

mod configuration;
mod delivery;
mod keys;
mod overridden;
mod plugins;
mod reading;
mod report;
mod rights;
mod running;
mod scripts;
mod user;
mod written;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, Write};
use std::time::SystemTime;

use clap::ArgMatches;

use configuration::Configuration;
use delivery::Judge;
use plugins::{Plugins, MAIL};
use report::{Finding, Report};
use running::Running;
use user::User;

use crate::dovecot::Dovecot;
use crate::Done;

/// The protocols whose processes store mail: LMTP and the LDA deliver it, and mail programs save it over IMAP.
const PROTOCOLS: [&str; 3] = ["lmtp", "lda", "imap"];

/// Examines the configuration and the users that are asked for, and prints the report.
///
/// # Errors
///
/// Fails if `doveconf` or the user database does not answer: then nobody knows what becomes of mail.
pub fn run(matches: &mut ArgMatches) -> Done {
    let dovecot = Dovecot { config: matches.remove_one("config") };
    let names: Vec<String> = matches.remove_many("user").into_iter().flatten().collect();
    let all = matches.get_flag("all-users");
    let configuration = Configuration::ask(&dovecot)?;
    let plugins = Plugins::look(&configuration, &PROTOCOLS);
    let names = if all { everybody(&dovecot)? } else { names };

    let mut report = server(&configuration);
    let mut judge = Judge {
        dovecot: &dovecot,
        configuration: &configuration,
        plugins: &plugins,
        compiled: BTreeMap::new(),
    };
    let delivering = delivering(&configuration);
    for name in &names {
        match User::ask(&dovecot, name) {
            Ok(user) => {
                let (person, findings) = judge.user(&user, &delivering)?;
                report.people.push(person);
                report.add(findings);
            }
            // One of many who cannot be looked up does not hide what is to be said of the others.
            Err(why) if all => report.add([unknown(name, &why)]),
            Err(why) => return Err(why),
        }
    }
    if names.is_empty() {
        report.add(doors(&judge, &delivering));
    }
    let Plugins { modules, findings, .. } = plugins;
    report.modules = modules;
    report.add(findings);
    report.all = all;
    let text = if matches.get_flag("json") { report.json(SystemTime::now()) } else { report.text() };
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(report.exit_code())
}

/// Returns all users. It fails if there are none, because a report about nobody would read as "all is well".
fn everybody(dovecot: &Dovecot) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let users = dovecot.users()?;
    if users.is_empty() {
        return Err("users cannot be listed: doveadm user '*' names nobody".into());
    }
    Ok(users)
}

/// Returns the finding about a user whom the user database lists, and does not know.
fn unknown(name: &str, why: &dyn Display) -> Finding {
    let what = format!("{name} cannot be looked up: {why}");
    Finding::problem(what, "mail for this user is deferred or refused, as the user database says")
}

/// Starts the report with the findings that do not depend on a user.
fn server(configuration: &Configuration) -> Report {
    let mut findings = Vec::new();
    let running = Running::look(configuration, &plugins::settings_modules(configuration), &mut findings);
    findings.extend(overridden::look(configuration));
    findings.extend(saved(configuration));
    Report {
        version: configuration.version.clone(),
        file: configuration.file.display().to_string(),
        running,
        protocols: PROTOCOLS.map(|name| (name, configuration.mail_plugins(name))).to_vec(),
        modules: Vec::new(),
        people: Vec::new(),
        all: false,
        findings,
    }
}

/// Returns which of LMTP and LDA delivers. LDA is among them if LMTP is not served, or if LDA loads a plugin that can
/// encrypt.
fn delivering(configuration: &Configuration) -> Vec<&'static str> {
    let loads =
        |protocol: &str| configuration.mail_plugins(protocol).iter().any(|p| p == MAIL || p == "sieve");
    let lmtp = configuration.serves("lmtp");
    [("lmtp", lmtp), ("lda", !lmtp || loads("lda"))]
        .into_iter()
        .filter(|(_, is)| *is)
        .map(|(name, _)| name)
        .collect()
}

/// Returns the findings about the plugins that could encrypt, for a report without users.
fn doors(judge: &Judge<'_>, delivering: &[&str]) -> Vec<Finding> {
    let configuration = judge.configuration;
    let without = delivering
        .iter()
        .filter(|protocol| !configuration.mail_plugins(protocol).iter().any(|plugin| plugin == MAIL));
    without.flat_map(|protocol| judge.door(protocol)).collect()
}

/// Returns a finding if mailboxes are named for saved mail, and IMAP does not load the mail plugin, which encrypts it.
fn saved(configuration: &Configuration) -> Option<Finding> {
    let mailboxes =
        configuration.setting("imap", "perot_encrypt_saved").filter(|saved| !saved.trim().is_empty())?;
    let loads = configuration.mail_plugins("imap").iter().any(|plugin| plugin == MAIL);
    (!loads).then(|| {
        let what = format!("perot_encrypt_saved = {mailboxes}, and imap does not load {MAIL}");
        let place = configuration.written.new_place();
        let text = match configuration.era {
            configuration::Era::V23 => format!("protocol imap {{\n  mail_plugins = $mail_plugins {MAIL}\n}}"),
            configuration::Era::V24 => {
                format!("protocol imap {{\n  mail_plugins {{\n    {MAIL} = yes\n  }}\n}}")
            }
        };
        Finding::problem(what, "what mail programs save is stored in clear").write(place, text)
    })
}
