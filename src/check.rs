//! What the author of a script is told about a recipient, before any mail comes.

use std::time::{Duration, SystemTime};

use crate::certs::keys::RecipientKeys;
use crate::certs::{damaged_literal, raw, Finder, Owner};
use crate::error::Reason;
use crate::log::Log;
use crate::printable::printable;
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

/// Looks at one recipient as it stands in a script.
pub fn recipient(loaded: &Loaded, owner: Owner<'_>, text: &[u8], now: SystemTime, log: &dyn Log) -> Finding {
    let recipient = match Recipient::parse(text) {
        Ok(recipient) => recipient,
        Err(why) => return Finding::Wrong(format!("'{}': {why}", printable(text))),
    };
    let settings = match &loaded.settings {
        Ok(settings) => settings,
        Err(why) => return Finding::NotFound(why.to_string()),
    };
    // It may be usable all the same: signatures protect the keys, and not a User ID or a revocation
    // that cannot be read any more.
    if matches!(&recipient, Recipient::Literal(armored) if raw::has_wrong_checksum(armored)) {
        return Finding::Wrong(damaged_literal("it is damaged: its checksum is wrong").to_string());
    }
    let finder = Finder { settings, owner, now, log };
    match finder.find(&recipient) {
        Ok(keys) => keys.iter().find_map(|k| ends(k, now)).map_or(Finding::Good, Finding::Warning),
        Err(why)
            if matches!(recipient, Recipient::Literal(_)) && why.reason() == Reason::UnusableCertificate =>
        {
            Finding::Wrong(why.to_string())
        }
        Err(why) if why.reason() == Reason::NoCertificate => {
            Finding::NotFound(format!("{why}. Or write the certificate itself into the script"))
        }
        Err(why) => Finding::NotFound(why.to_string()),
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
