//! Tells whether an owner has brought no certificate at all, for `sieve_perot_encrypt_on_no_certificate = keep`: then mail
//! is stored in clear. So whatever may be a certificate of the owner counts as one.

use std::path::Path;

use super::finder::{bad_source, display, forms, Finder};
use super::folder;
use super::index::Query;
use super::source::{plural, Answer, AtHome, Source};
use super::trouble::{Problem, Trouble};
use crate::error::{Error, Reason, Result, Setting};
use crate::log::printable;
use crate::settings::{OnError, SourcePath};

impl Finder<'_> {
    /// Decides what follows from `why`, with which the search for the owner's certificate has failed. Returns where the
    /// search went if the owner has brought none, and the settings have mail left as it is then.
    ///
    /// # Errors
    ///
    /// Fails with `why`, or with another reason, if mail must not be left as it is.
    pub fn left_without(&self, why: Error) -> Result<String> {
        if self.settings.on_no_certificate != OnError::Keep || why.reason() != Reason::NoCertificate {
            return Err(why);
        }
        let why = why.in_words(&self.settings.words);
        match self.may_be_the_owners()? {
            None => Ok(why),
            Some(doubt) => {
                let text = format!("{why}. The message is not left as it is, because {doubt}");
                Err(Error::new(Reason::UnusableCertificate, text))
            }
        }
    }

    /// Names something in the sources that may be a certificate of the owner, although it cannot be used for mail to the
    /// owner; `None` if there is nothing. Below the owner's home that is everything. In other sources it is what claims the
    /// owner's address, and what cannot be read or understood, unless its file is named after another address; for an owner
    /// whose only address is that of the envelope, it is any certificate.
    ///
    /// # Errors
    ///
    /// Fails if a source cannot be read or must not be trusted.
    fn may_be_the_owners(&self) -> Result<Option<String>> {
        if self.settings.owner_cert.is_some() {
            return Ok(Some(format!("{} is set", self.settings.words.setting(Setting::Cert))));
        }
        let Some(addresses) = self.owner_address().map(forms) else {
            return Ok(Some("no address of the owner is known".into()));
        };
        let at_home = AtHome::default();
        for path in &self.settings.sources {
            let doubt = match (self.expand(path), path) {
                (Some(expanded), SourcePath::Home(_)) => in_home(&self.source(path, &expanded, &at_home)),
                (Some(expanded), SourcePath::Absolute(_)) => {
                    self.elsewhere(&self.source(path, &expanded, &at_home), &addresses)
                }
                (None, _) if self.owner.home.is_some() => {
                    Ok(Some("a home directory that cannot be used".into()))
                }
                (None, _) => Ok(None),
            };
            if let Some(doubt) = doubt.map_err(|why| bad_source(&display(path), why))? {
                return Ok(Some(format!("in {} there is {doubt}", display(path))));
            }
        }
        Ok(None)
    }

    /// Names what may be the owner's in a source that is shared with others. A certificate that claims an address of the
    /// owner has been found before.
    fn elsewhere(&self, source: &Source<'_>, addresses: &[String]) -> Doubt {
        for address in addresses {
            let Some(Answer { problems, count, .. }) = source.search(Query::Address(address))? else {
                return Ok(None);
            };
            if let Some(file) = source.file_named_after(address) {
                return Ok(Some(format!("the file {file}")));
            }
            if let Some(problem) = problems.iter().find(|problem| !is_of_another(problem, addresses)) {
                return Ok(Some(unclear(problem)));
            }
            // The address is that of the envelope, which may be one of several.
            let is_of_envelope = self.settings.owner_address.is_none() && !self.owner.user.contains('@');
            if count > 0 && is_of_envelope {
                let user = printable(self.owner.user);
                return Ok(Some(format!("{}, and the user name {user} is no address", plural(count))));
            }
        }
        Ok(None)
    }
}

/// Something that may be the owner's certificate, in words; or the reason why that cannot be told.
type Doubt = std::result::Result<Option<String>, Trouble>;

/// Names what is in a source below the owner's home.
fn in_home(source: &Source<'_>) -> Doubt {
    let path = source.path;
    let Some(answer) = source.search(Query::All)? else {
        return Ok(path.symlink_metadata().is_ok().then(|| "a link that leads nowhere".into()));
    };
    match (answer.count, answer.problems.first()) {
        (0, None) => folder::any_file(path).map(|file| file.map(|file| format!("the file {file}"))),
        (0, Some(problem)) => Ok(Some(unclear(problem))),
        (n, _) => Ok(Some(format!("{}, for no address of the owner", plural(n)))),
    }
}

fn unclear(problem: &Problem) -> String {
    format!("what cannot be used ({problem})")
}

/// Returns true if the problem is with a file whose name is the address of somebody else, or with a certificate that claims
/// addresses of others only.
fn is_of_another(problem: &Problem, addresses: &[String]) -> bool {
    let stem =
        problem.file.as_deref().and_then(|file| Path::new(file).file_stem()).and_then(|stem| stem.to_str());
    let is_anothers_file =
        stem.is_some_and(|stem| stem.contains('@') && !addresses.contains(&stem.to_ascii_lowercase()));
    let claims = &problem.claims;
    is_anothers_file || (!claims.is_empty() && !claims.iter().any(|claimed| addresses.contains(claimed)))
}
