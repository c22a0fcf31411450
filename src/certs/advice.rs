//! Checks a recipient when a script is uploaded or compiled, so that its author learns of a problem before
//! mail arrives.

use std::time::{Duration, SystemTime};

use super::chosen::Chosen;
use super::explain;
use super::finder::{damaged_literal, expired, left_out, Finder, Owner};
use super::text;
use crate::deadline::Deadline;
use crate::error::Reason;
use crate::log::{printable, Level, Log};
use crate::recipient::Recipient;
use crate::settings::Loaded;

/// A certificate that expires within this time earns a warning: a month leaves time to renew it and to export
/// it anew.
const SOON: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The result of a check. The text is a sentence for the author of the script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The recipient has a certificate that can be used.
    Good,
    /// The recipient has a certificate that can be used, but it has expired or will soon, or not all of it can be used.
    Warning(String),
    /// The argument itself is wrong: no change to the certificate sources can help.
    Wrong(String),
    /// No usable certificate was found, or the settings are wrong. Both can be corrected without a change to
    /// the script.
    NotFound(String),
}

/// The person who reads the finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// The user who uploads the script over ManageSieve. The certificate is their own, so they can correct
    /// it.
    Uploads,
    /// The person who runs sievec: often an administrator, who is another user with another home directory.
    Compiles,
}

impl Finding {
    /// Returns the level at which the finding is reported, and its text. Pigeonhole refuses the script if the
    /// level is `Error`.
    pub fn for_author(self, author: Author) -> Option<(Level, String)> {
        match self {
            Self::Good => None,
            Self::Warning(text) => Some((Level::Warning, text)),
            Self::Wrong(text) => Some((Level::Error, text)),
            Self::NotFound(text) if author == Author::Uploads => Some((Level::Error, text)),
            Self::NotFound(text) => Some((Level::Warning, text)),
        }
    }
}

/// Checks one recipient as it is written in a script.
pub fn recipient(loaded: &Loaded, owner: Owner<'_>, text: &[u8], now: SystemTime, log: &dyn Log) -> Finding {
    let words = &loaded.words;
    let recipient = match Recipient::parse(text) {
        Ok(recipient) => recipient,
        Err(why) => return Finding::Wrong(format!("'{}': {}", printable(text), why.in_words(words))),
    };
    let settings = match &loaded.settings {
        Ok(settings) => settings,
        Err(why) => return Finding::NotFound(why.in_words(words)),
    };
    // The certificate may still be usable: signatures protect its keys. But a User ID or a revocation may
    // have become unreadable, and the author has the text at hand to paste it again.
    if let Recipient::Literal(armored) = &recipient {
        if text::has_wrong_checksum(armored) {
            let why = damaged_literal(armored, "it is damaged: its checksum is wrong");
            return Finding::Wrong(why.in_words(words));
        }
    }
    let finder = Finder { settings, owner, now, deadline: Deadline::NONE, temp_dir: None, log };
    let why = match finder.find(&recipient) {
        Ok(keys) => return keys.iter().find_map(|k| flaw(k, now)).map_or(Finding::Good, Finding::Warning),
        Err(why) => why,
    };
    let text = why.in_words(words);
    match (recipient, why.reason()) {
        (Recipient::Literal(_), Reason::UnusableCertificate) => Finding::Wrong(text),
        (_, Reason::NoCertificate) => {
            Finding::NotFound(format!("{text}. Or write the certificate itself into the script"))
        }
        _ => Finding::NotFound(text),
    }
}

/// Returns the first thing that the owner of a certificate should do something about.
fn flaw(keys: &Chosen, now: SystemTime) -> Option<String> {
    let fingerprint = keys.fingerprint();
    if let Some(what) = keys.expired() {
        return Some(format!("{} expired: renew it, and export it anew", expired(fingerprint, what)));
    }
    if keys.is_weak() {
        let remedy = explain::sha1_remedy(fingerprint);
        return Some(format!("certificate {fingerprint} has self-signatures with SHA-1. {remedy}"));
    }
    let left = keys.expires().and_then(|end| end.duration_since(now).ok());
    let soon = left.filter(|left| *left < SOON).map(|left| {
        let days = left.as_secs() / (24 * 60 * 60);
        format!("certificate {fingerprint} expires in {days} days: renew it, and export it anew")
    });
    soon.or_else(|| left_out(keys))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_found_is_an_error_at_upload_only() {
        let text = || "x".to_owned();
        for (finding, uploads, compiles) in [
            (Finding::Good, None, None),
            (Finding::Warning(text()), Some(Level::Warning), Some(Level::Warning)),
            (Finding::Wrong(text()), Some(Level::Error), Some(Level::Error)),
            (Finding::NotFound(text()), Some(Level::Error), Some(Level::Warning)),
        ] {
            let level = |author| finding.clone().for_author(author).map(|(level, _)| level);
            assert_eq!((level(Author::Uploads), level(Author::Compiles)), (uploads, compiles), "{finding:?}");
        }
    }
}
