//! Finds the certificates to which a user's mail is encrypted, as the plugin finds them.

use std::error::Error;
use std::time::SystemTime;

use perot_encrypt::certs::finder::{Finder, Owner};
use perot_encrypt::deadline::Deadline;
use perot_encrypt::error::{Error as CoreError, Setting, Words};
use perot_encrypt::settings::{Loaded, OnError, RawSettings};

use super::configuration::Configuration;
use super::report::Finding;
use super::rights::as_user;
use super::user::User;
use crate::certificate::Checked;

const PREFIX: &str = "sieve_perot_encrypt_";

/// The certificates of a user, and the reason if none can be used.
pub struct Keys {
    pub certificates: Vec<Checked>,
    pub failure: Option<Failure>,
}

/// The reason why mail cannot be encrypted.
pub struct Failure {
    pub why: String,
    /// The setting by which such mail is stored in clear, if the administrator has set one to `keep`.
    pub kept_by: Option<Setting>,
}

impl Keys {
    /// Returns a finding that says what an administrator can do, if mail cannot be encrypted.
    pub fn finding(&self, configuration: &Configuration, user: &User) -> Option<Finding> {
        let failure = self.failure.as_ref()?;
        let what = format!("{}: {}", user.name, failure.why);
        let written = |name: &str| configuration.written.last(&format!("{PREFIX}{name}"), |_| true);
        Some(if let Some(setting) = failure.kept_by {
            let finding = Finding::problem(what, "the configuration has such mail stored in clear");
            match written(setting.name()) {
                Some(setting) => finding.write(setting.place.clone(), format!("{} = tempfail", setting.name)),
                None => finding,
            }
        } else {
            let place =
                written("certs").map_or_else(|| configuration.written.new_place(), |s| s.place.clone());
            let text = format!(
                "{PREFIX}certs = ...   (or put the certificate into one of the places that it names)"
            );
            Finding::problem(what, "such mail is deferred, and comes back to its sender in the end")
                .write(place, text)
        })
    }
}

/// Searches for a user's certificates, with the user's rights.
///
/// # Errors
///
/// Fails if this process may not take the user's rights.
pub fn of(configuration: &Configuration, protocol: &str, user: &User) -> Result<Keys, Box<dyn Error>> {
    let setting = |name: &str| user.setting(configuration, protocol, &format!("{PREFIX}{name}"));
    let [certs, cert, on_error, on_no_certificate, hide_subject, compress, subkeys, prefer] =
        ["certs", "cert", "on_error", "on_no_certificate", "hide_subject", "compress", "subkeys", "prefer"]
            .map(setting);
    let user_email = user.setting(configuration, protocol, "sieve_user_email");
    let user_email = user_email.map(|address| user.expand(&address).unwrap_or(address));
    let certs = certs.map(|certs| {
        let paths = certs.split_whitespace();
        let expanded = paths.map(|path| match path.starts_with("~/") {
            true => path.to_owned(),
            false => user.expand(path).unwrap_or_else(|| path.to_owned()),
        });
        expanded.collect::<Vec<_>>().join(" ")
    });
    let words = Words { setting_prefix: PREFIX.into(), ..Words::default() };
    let raw = RawSettings {
        certs: certs.as_ref().map(String::as_bytes),
        cert: cert.as_ref().map(String::as_bytes),
        on_error: on_error.as_ref().map(String::as_bytes),
        on_no_certificate: on_no_certificate.as_ref().map(String::as_bytes),
        hide_subject: hide_subject.as_ref().map(String::as_bytes),
        compress: compress.as_ref().map(String::as_bytes),
        subkeys: subkeys.as_ref().map(String::as_bytes),
        prefer: prefer.as_ref().map(String::as_bytes),
        user_email: user_email.as_ref().map(String::as_bytes),
        ..RawSettings::default()
    };
    let loaded = Loaded::new(&raw, words);
    let found = as_user(user.uid, user.gid, || search(&loaded, user))?;
    let failure = |why: &CoreError| {
        let why = why.in_words(&loaded.words);
        Failure { why, kept_by: (loaded.on_error == OnError::Keep).then_some(Setting::OnError) }
    };
    let certificates = match found {
        Ok(certificates) => certificates,
        Err(failed) => {
            let kept = |why| Failure { why, kept_by: Some(Setting::OnNoCertificate) };
            let failure = failed.map_or_else(|why| failure(&why), kept);
            return Ok(Keys { certificates: Vec::new(), failure: Some(failure) });
        }
    };
    let usable = certificates.iter().any(|certificate| certificate.is_used);
    let refused = certificates.iter().find_map(|certificate| certificate.found.keys.as_ref().err());
    let failure = refused.filter(|_| !usable).map(failure);
    Ok(Keys { certificates, failure })
}

/// Returns the owner's certificates. If there are none, returns either where the search went, for an owner whose mail is
/// left as it is then, or the reason why it cannot be encrypted.
fn search(loaded: &Loaded, user: &User) -> Result<Vec<Checked>, Result<String, CoreError>> {
    let settings = loaded.settings.as_ref().map_err(|why| Err(why.clone()))?;
    let owner = Owner { user: &user.name, recipient: None, home: user.home.as_deref() };
    let now = SystemTime::now();
    let finder = Finder { settings, owner, now, deadline: Deadline::NONE, temp_dir: None, log: &() };
    let found = finder.look_up_owner().map_err(|why| finder.left_without(why))?;
    if found.used.is_empty() && found.others.is_empty() {
        return Err(finder.left_without(found.failure(&finder.owner_name(), &settings.words)));
    }
    let used = found.used.into_iter().map(|found| Checked::new(None, found, true, now));
    let others = found.others.into_iter().map(|found| Checked::new(None, found, false, now));
    Ok(used.chain(others).collect())
}
