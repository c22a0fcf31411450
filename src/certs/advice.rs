//! What the author of a script is told about a recipient, before any mail comes.

use std::time::{Duration, SystemTime};

use super::choose::RecipientKeys;
use super::finder::{damaged_literal, Finder, Owner};
use super::raw;
use crate::error::Reason;
use crate::log::{printable, Level, Log};
use crate::recipient::Recipient;
use crate::settings::Loaded;

/// How long before the end a certificate is worth a warning.
const SOON: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What was found. The text is a sentence for the author.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It can be encrypted to.
    Good,
    /// It can be encrypted to, but something will have to be done about it.
    Warning(String),
    /// It is wrong, whatever the sources hold.
    Wrong(String),
    /// It cannot be encrypted to here and now; that may be put right without changing the script.
    NotFound(String),
}

/// Who reads what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// Whoever uploads the script: it is their own, and they can put it right.
    Uploads,
    /// Whoever runs sievec: often an administrator, as another user and with another home.
    Compiles,
}

impl Finding {
    /// What it means for the script, and the sentence. An error is one with which the script is not accepted.
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

/// Looks at one recipient as it stands in a script.
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
    // It may be usable all the same: signatures protect the keys, and not a User ID or a revocation
    // that cannot be read any more.
    if matches!(&recipient, Recipient::Literal(armored) if raw::has_wrong_checksum(armored)) {
        let why = damaged_literal("it is damaged: its checksum is wrong");
        return Finding::Wrong(why.in_words(words));
    }
    let finder = Finder { settings, owner, now, log };
    let why = match finder.find(&recipient) {
        Ok(keys) => return keys.iter().find_map(|k| ends(k, now)).map_or(Finding::Good, Finding::Warning),
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

fn ends(keys: &RecipientKeys, now: SystemTime) -> Option<String> {
    let fingerprint = &keys.fingerprint;
    if keys.expired {
        return Some(format!("certificate {fingerprint} has expired: renew it, and export it anew"));
    }
    let left = keys.expires?.duration_since(now).ok()?;
    (left < SOON).then(|| {
        let days = left.as_secs() / (24 * 60 * 60);
        format!("certificate {fingerprint} expires in {days} days: renew it, and export it anew")
    })
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
