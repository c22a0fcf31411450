//! The subcommand `check`: lists certificates, and tells if they can be used.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::ArgMatches;
use serde_json::json;

use perot_encrypt::certs::choose;
use perot_encrypt::certs::finder::{display, Finder, Found, Owner};
use perot_encrypt::error::Reason;
use perot_encrypt::recipient::Recipient;

use crate::certificate::{line, Checked};
use crate::{home, settings, words, Done, StandardError};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A problem that does not belong to a listed certificate.
struct Problem {
    /// The recipient or the source, printable.
    about: String,
    text: String,
    /// True if the check itself failed, so that other problems may be hidden.
    fatal: bool,
}

#[derive(Default)]
struct Report {
    certificates: Vec<Checked>,
    problems: Vec<Problem>,
    /// True if a recipient has no certificate that can be used.
    unreachable: bool,
}

/// Lists certificates.
///
/// # Errors
///
/// Fails if an option or a recipient is wrong, or if the list cannot be written. Problems with sources and
/// certificates are part of the list.
pub fn run(matches: &mut ArgMatches) -> Done {
    let recipients: Vec<String> = matches.remove_many("recipient").into_iter().flatten().collect();
    let (json, days) = (matches.get_flag("json"), matches.remove_one::<u16>("days"));
    let settings = settings(matches)?;
    let (home, now) = (home(), SystemTime::now());
    let owner = Owner { user: "", recipient: None, home: home.as_deref() };
    let finder = Finder { settings: &settings, owner, now, log: &StandardError };

    let mut report = Report::default();
    for text in &recipients {
        report.look_up(&finder, &Recipient::parse(text.as_bytes())?);
    }
    if recipients.is_empty() {
        report.list(&finder);
    }
    let text = if json { report.json(now) } else { report.text(now) };
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(report.exit_code(days.map(|days| now + u32::from(days) * DAY)))
}

impl Report {
    fn look_up(&mut self, finder: &Finder<'_>, recipient: &Recipient) {
        let name = recipient.name(&words().literal);
        match finder.search(recipient) {
            Ok(found) => {
                let before = self.certificates.len();
                for found in found {
                    self.add(finder, Some(name.clone()), found);
                }
                self.unreachable |= self.certificates[before..].iter().all(|c| c.keys.is_err());
            }
            Err(why) => {
                let text = why.in_words(&words());
                let fatal = !matches!(why.reason(), Reason::NoCertificate | Reason::UnusableCertificate);
                self.unreachable = true;
                self.problems.push(Problem { about: name, text, fatal });
            }
        }
    }

    fn list(&mut self, finder: &Finder<'_>) {
        let mut searched = Vec::new();
        for source in &finder.settings.sources {
            match finder.list(source) {
                Ok(listing) => {
                    searched.push(listing.place.clone());
                    for found in listing.certs {
                        self.add(finder, None, found);
                    }
                    let problem = |text| Problem { about: listing.place.clone(), text, fatal: false };
                    self.problems.extend(listing.problems.into_iter().map(problem));
                }
                Err(why) => {
                    let about = display(source);
                    self.problems.push(Problem { about, text: why.in_words(&words()), fatal: true });
                }
            }
        }
        if self.certificates.is_empty() && self.problems.is_empty() {
            let text = "there is no certificate".to_owned();
            self.problems.push(Problem { about: searched.join(", "), text, fatal: false });
        }
    }

    fn add(&mut self, finder: &Finder<'_>, recipient: Option<String>, found: Found) {
        let keys = choose::choose(&found.cert, finder.now);
        self.certificates.push(Checked { recipient, found, keys });
    }

    /// Returns the exit status. All certificates have to be valid until `until`, if it is given.
    fn exit_code(&self, until: Option<SystemTime>) -> ExitCode {
        if self.problems.iter().any(|problem| problem.fatal) {
            return ExitCode::from(crate::TEMPORARY_FAILURE);
        }
        let alarm = until.is_some_and(|until| {
            !self.problems.is_empty() || self.certificates.iter().any(|c| !c.outlasts(until))
        });
        ExitCode::from(u8::from(alarm || self.unreachable))
    }

    fn json(&self, now: SystemTime) -> String {
        let problems = self.problems.iter().map(|p| json!({ "about": p.about, "problem": p.text }));
        let report = json!({
            "certificates": self.certificates.iter().map(|c| c.json(now)).collect::<Vec<_>>(),
            "problems": problems.collect::<Vec<_>>(),
        });
        format!("{report:#}\n")
    }

    fn text(&self, now: SystemTime) -> String {
        let mut text = String::new();
        for certificate in &self.certificates {
            certificate.write(&mut text, now);
        }
        for problem in &self.problems {
            line(&mut text, format_args!("problem: {}: {}", problem.about, problem.text));
        }
        text
    }
}
