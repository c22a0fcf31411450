//! The subcommand `check`: lists certificates, and tells if they can be used.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::ArgMatches;
use serde_json::{json, Value};

use perot_encrypt::certs::finder::{display, Finder, Owner};
use perot_encrypt::deadline::Deadline;
use perot_encrypt::error::Reason;
use perot_encrypt::log::printable;
use perot_encrypt::openpgp::crypto::{has_post_quantum, library};
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

/// An address that several certificates of one place carry.
struct SharedAddress {
    place: String,
    address: String,
    fingerprints: Vec<String>,
}

impl SharedAddress {
    fn json(&self) -> Value {
        json!({ "place": self.place, "address": self.address, "fingerprints": self.fingerprints })
    }
}

impl fmt::Display for SharedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, fingerprints) = (self.fingerprints.len(), self.fingerprints.join(", "));
        write!(f, "{}: {count} certificates carry {}: {fingerprints}", self.place, self.address)
    }
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
    let weak = matches.get_flag("weak");
    let (json, days) = (matches.get_flag("json"), matches.remove_one::<u16>("days"));
    let settings = settings(matches)?;
    let (home, now) = (home(), SystemTime::now());
    let owner = Owner { user: "", recipient: None, home: home.as_deref() };
    let finder = Finder {
        settings: &settings,
        owner,
        now,
        deadline: Deadline::NONE,
        temp_dir: None,
        log: &StandardError,
    };

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
    Ok(report.exit_code(days.map(|days| now + u32::from(days) * DAY), weak))
}

impl Report {
    fn look_up(&mut self, finder: &Finder<'_>, recipient: &Recipient) {
        let name = recipient.name(&words().literal);
        let searched = finder.look_up(recipient).and_then(|search| {
            let is_told = !search.used.is_empty() || !search.others.is_empty();
            let why = search.failure(&name, &finder.settings.words);
            self.unreachable |= search.used.is_empty();
            let others = search.others.into_iter().map(|found| (found, false));
            for (found, is_used) in search.used.into_iter().map(|found| (found, true)).chain(others) {
                self.certificates.push(Checked::new(Some(name.clone()), found, is_used, finder.now));
            }
            // What is listed says itself why it is not used.
            if is_told {
                Ok(())
            } else {
                Err(why)
            }
        });
        if let Err(why) = searched {
            let text = why.in_words(&words());
            let fatal = !matches!(why.reason(), Reason::NoCertificate | Reason::UnusableCertificate);
            self.unreachable = true;
            self.problems.push(Problem { about: name, text, fatal });
        }
    }

    fn list(&mut self, finder: &Finder<'_>) {
        let mut searched = Vec::new();
        for source in &finder.settings.sources {
            match finder.list(source) {
                Ok(listing) => {
                    searched.push(listing.place.clone());
                    for found in listing.certs {
                        let is_used = found.keys.is_ok();
                        self.certificates.push(Checked::new(None, found, is_used, finder.now));
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

    /// Returns the exit status. All certificates have to be valid until `until`, if it is given, and none may count only
    /// because SHA-1 is accepted if `weak` is true.
    fn exit_code(&self, until: Option<SystemTime>, weak: bool) -> ExitCode {
        if self.problems.iter().any(|problem| problem.fatal) {
            return ExitCode::from(crate::TEMPORARY_FAILURE);
        }
        let alarm = until.is_some_and(|until| {
            !self.problems.is_empty() || self.certificates.iter().any(|c| !c.outlasts(until))
        });
        let is_weak = weak && self.certificates.iter().any(Checked::is_weak);
        ExitCode::from(u8::from(alarm || is_weak || self.unreachable))
    }

    /// Finds the addresses that several certificates of one place carry: mail for such an address is encrypted to all of them, or
    /// to those of one kind, and whoever has handed in one of them may not be its owner.
    fn shared_addresses(&self, now: SystemTime) -> Vec<SharedAddress> {
        let mut all: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
        for certificate in self.certificates.iter().filter(|certificate| certificate.found.keys.is_ok()) {
            let place = certificate.found.place.name().to_owned();
            for address in certificate.addresses(now) {
                let fingerprints = all.entry((place.clone(), address)).or_default();
                fingerprints.insert(certificate.found.fingerprint.clone());
            }
        }
        let several = all.into_iter().filter(|(_, fingerprints)| fingerprints.len() > 1);
        several
            .map(|((place, address), fingerprints)| SharedAddress {
                place,
                address: printable(address),
                fingerprints: fingerprints.into_iter().collect(),
            })
            .collect()
    }

    fn json(&self, now: SystemTime) -> String {
        let problems = self.problems.iter().map(|p| json!({ "about": p.about, "problem": p.text }));
        let report = json!({
            "certificates": self.certificates.iter().map(|c| c.json(now)).collect::<Vec<_>>(),
            "problems": problems.collect::<Vec<_>>(),
            "shared_addresses": self.shared_addresses(now).iter().map(SharedAddress::json).collect::<Vec<_>>(),
            "crypto_library": library(),
            "post_quantum": has_post_quantum(),
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
        for shared in self.shared_addresses(now) {
            line(&mut text, format_args!("warning: {shared}"));
        }
        text
    }
}
