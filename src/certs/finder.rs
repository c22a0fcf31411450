//! Finds the certificates of a recipient in the configured sources.

use base64::Engine;
use sequoia_openpgp::Cert;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use super::cache::Cache;
use super::choose::{self, RecipientKeys};
use super::query::{Query, MAX_PROBLEMS};
use super::raw::{self, RawCert, Refusal};
use super::source;
use crate::error::{Error, Place, Reason, Remedy, Result, Setting, Words};
use crate::log::{printable, Level, Log};
use crate::recipient::Recipient;
use crate::settings::{Settings, SourcePath};

/// The number of certificates that one recipient may have. Each adds a session key to every message, and an
/// address rarely has more than its old and its new certificate.
const MAX_CERTIFICATES: usize = 16;
/// The bytes of parsed certificates that are cached: a thousand usual ones of some kilobytes, or eight of the
/// largest size.
const MAX_REMEMBERED_BYTES: usize = 8 << 20;

/// The owner of the mailbox, as far as the host knows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Owner<'a> {
    /// The user name in Dovecot.
    pub user: &'a str,
    /// The final envelope recipient. `None` except at delivery, and where a header could have named it.
    pub recipient: Option<&'a str>,
    /// The home directory, if the user has one.
    pub home: Option<&'a str>,
}

/// A certificate and where it was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The certificate, merged from all copies in that place.
    pub cert: Arc<Cert>,
    /// The place where the copies were found.
    pub place: Place,
    /// The files that held the copies, printable. Empty if the certificate is in a setting or in the script.
    pub files: Vec<String>,
    /// True if a copy included the secret key.
    pub has_secret: bool,
}

/// The result of a search in one source.
enum Searched {
    Found(Vec<Found>),
    /// Describes the source, for the error that lists where the search went.
    NotFound(String),
}

/// All certificates of one source.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The path of the source, printable.
    pub place: String,
    /// Its certificates.
    pub certs: Vec<Found>,
    /// Files and certificates that cannot be used, with the reason.
    pub problems: Vec<String>,
}

/// Searches the configured sources, on behalf of one message.
pub struct Finder<'a> {
    /// The settings that name the sources.
    pub settings: &'a Settings,
    /// The owner of the mailbox.
    pub owner: Owner<'a>,
    /// The time at which certificates must be valid.
    pub now: SystemTime,
    /// The log for what an administrator should correct although the message can be encrypted.
    pub log: &'a dyn Log,
}

impl Finder<'_> {
    /// Returns the keys of the mailbox owner: those of `sieve_perot_encrypt_cert` if it is set; else of the
    /// certificate for the owner's address; else, if there is no address, of the only certificate in the
    /// sources below the owner's home directory.
    ///
    /// # Errors
    ///
    /// Fails if there is no such certificate, or if it cannot be used.
    pub fn owner(&self) -> Result<Vec<RecipientKeys>> {
        self.usable(self.search_owner()?)
    }

    /// The certificates of the mailbox owner, at least one, whether they can be used or not.
    ///
    /// # Errors
    ///
    /// There are none, or it cannot be told.
    pub fn search_owner(&self) -> Result<Vec<Found>> {
        if self.settings.owner_cert.is_some() {
            return self.merged(&Place::FoundIn(Setting::Cert), self.owner_certs()?);
        }
        match self.owner_address() {
            Some(address) => self.search(&Recipient::parse(address.as_bytes())?),
            None => self.only_one_at_home(),
        }
    }

    /// Returns the owner's address: what the settings say, else the user name if it is one, else the final envelope
    /// recipient.
    pub fn owner_address(&self) -> Option<&str> {
        let names = [Some(self.owner.user), self.owner.recipient];
        let address = || names.into_iter().flatten().find(|name| name.contains('@'));
        self.settings.owner_address.as_deref().or_else(address)
    }

    /// Returns the keys of one recipient.
    ///
    /// # Errors
    ///
    /// Fails if there is no certificate, or if none can be used.
    pub fn find(&self, recipient: &Recipient) -> Result<Vec<RecipientKeys>> {
        self.usable(self.search(recipient)?)
    }

    /// Returns the certificates of one recipient, at least one, usable or not.
    ///
    /// # Errors
    ///
    /// Fails if no source has one, or if a source that comes before the first match cannot be read.
    pub fn search(&self, recipient: &Recipient) -> Result<Vec<Found>> {
        match recipient {
            Recipient::Literal(armored) => self.literal(armored),
            Recipient::Fingerprint(hex) => self.look_up(recipient, &[Query::Fingerprint(hex)]),
            Recipient::Address(address) => {
                let forms = forms(address);
                let queries: Vec<_> = forms.iter().map(|form| Query::Address(form)).collect();
                self.look_up(recipient, &queries)
            }
        }
    }

    /// Lists all certificates of a source. The list is empty if its path does not exist.
    ///
    /// # Errors
    ///
    /// Fails if the source cannot be read or must not be trusted.
    pub fn list(&self, source: &SourcePath) -> Result<Listing> {
        let Some(path) = self.expand(source) else {
            return Ok(Listing { place: display(source), ..Listing::default() });
        };
        let place = printable(path.as_os_str().as_encoded_bytes());
        let mut listing = Listing { place: place.clone(), ..Listing::default() };
        let Some(answer) = source::list(&path).map_err(|why| bad_source(&place, &why))? else {
            return Ok(listing);
        };
        listing.problems = answer.problems.iter().map(ToString::to_string).collect();
        let mut copies: BTreeMap<String, Vec<RawCert>> = BTreeMap::new();
        for raw in answer.certs {
            let Ok(fingerprint) = raw.summary().map(|s| s.fingerprint.clone()) else { continue };
            copies.entry(fingerprint).or_default().push(raw);
        }
        for (fingerprint, copies) in copies {
            match self.merged(&Place::Found(place.clone()), copies) {
                Ok(found) => listing.certs.extend(found),
                Err(why) => {
                    let why = why.in_words(&self.settings.words);
                    listing.problems.push(format!("certificate {fingerprint}: {why}"));
                }
            }
        }
        Ok(listing)
    }

    fn literal(&self, armored: &[u8]) -> Result<Vec<Found>> {
        let certs = raw::read(armored).map_err(|why| damaged_literal(&why))?;
        if certs.iter().any(RawCert::has_secret) {
            let text = "it holds the secret key, which must never be on a server";
            let remedy = "export the public part (gpg --armor --export ADDRESS), and consider the secret key as known to others";
            return Err(unusable_literal(text).helps(remedy));
        }
        self.merged(&Place::Literal, certs)
    }

    /// Searches all sources for the first query, then for the next. The first source with a match ends the
    /// search.
    fn look_up(&self, recipient: &Recipient, queries: &[Query<'_>]) -> Result<Vec<Found>> {
        let mut searched = Vec::new();
        for &query in queries {
            searched.clear();
            let inline = self.owner_certs()?;
            let place = Place::FoundIn(Setting::Cert);
            let certs = self.matching(&place, query, &inline, |_| Ok(inline.clone()))?;
            if !certs.is_empty() {
                return Ok(certs);
            }
            for path in &self.settings.sources {
                match self.in_source(path, query)? {
                    Searched::Found(certs) => return Ok(certs),
                    Searched::NotFound(place) => searched.push(place),
                }
            }
        }
        Err(not_found(&recipient.name(&self.settings.words.literal), &searched))
    }

    fn in_source(&self, path: &SourcePath, query: Query<'_>) -> Result<Searched> {
        let Some(path) = self.expand(path) else {
            return Ok(Searched::NotFound(format!("{} (the user has no home directory)", display(path))));
        };
        let name = printable(path.as_os_str().as_encoded_bytes());
        let ask = |query: Query<'_>| source::ask(&path, query).map_err(|why| bad_source(&name, &why));
        let Some(answer) = ask(query)? else {
            return Ok(Searched::NotFound(format!("{name} (not there)")));
        };
        let has_all = answer.complete || matches!(query, Query::Fingerprint(_));
        let place = Place::Found(name.clone());
        let certs = self.matching(&place, query, &answer.certs, |hex| match has_all {
            true => Ok(answer.certs.clone()),
            false => Ok(ask(Query::Fingerprint(hex))?.map(|a| a.certs).unwrap_or_default()),
        })?;
        if !certs.is_empty() {
            return Ok(Searched::Found(certs));
        }
        for problem in answer.problems.iter().take(MAX_PROBLEMS) {
            self.log.log(Level::Warning, &format!("certificate source {name}: {problem}"));
        }
        Ok(Searched::NotFound(format!("{name} ({})", answer.holds)))
    }

    /// Returns the certificates in `place` whose signatures confirm what `claiming` claims. `copies` returns
    /// all copies that the place has of a fingerprint: a copy without User IDs may be the one with the
    /// revocation.
    fn matching(
        &self,
        place: &Place,
        query: Query<'_>,
        claiming: &[RawCert],
        copies: impl Fn(&str) -> Result<Vec<RawCert>>,
    ) -> Result<Vec<Found>> {
        let summaries = claiming.iter().filter_map(|raw| raw.summary().ok()).filter(|s| query.matches(s));
        let fingerprints: BTreeSet<String> = summaries.map(|s| s.fingerprint.clone()).collect();
        few_enough(place, fingerprints.len())?;
        let mut certs = Vec::new();
        for hex in &fingerprints {
            let mut all = copies(hex)?;
            all.retain(|raw| raw.summary().is_ok_and(|s| s.fingerprint == *hex));
            certs.extend(self.merged(place, all)?);
        }
        if let Query::Address(address) = query {
            // A certificate that the policy rejects as a whole stays in the list, so that the error says why.
            certs.retain(|found| {
                !choose::is_accepted(&found.cert, self.now) || choose::carries(&found.cert, address, self.now)
            });
        }
        Ok(certs)
    }

    /// Parses certificates and merges the copies of each.
    fn merged(&self, place: &Place, certs: Vec<RawCert>) -> Result<Vec<Found>> {
        let mut merged: Vec<Found> = Vec::new();
        for raw in certs {
            let has_secret = raw.has_secret();
            if has_secret {
                let place = raw.file.clone().map_or_else(|| place.clone(), Place::Found);
                let text = format!(
                    "{}it holds a secret key, which must not be on a server: put there what `gpg --armor --export` prints. \
                     Only its public part is used",
                    self.settings.words.place(&place)
                );
                self.log.log(Level::Error, &text);
            }
            let cert = parse(&raw)
                .map_err(|why| Error::new(Reason::UnusableCertificate, why).about(place.clone()))?;
            let files = raw.file.into_iter().collect();
            merge(&mut merged, Found { cert, place: place.clone(), files, has_secret });
        }
        Ok(merged)
    }

    /// Returns the keys of the certificates that can be used. Fails if none can, rather than if one cannot:
    /// an address may have an old certificate beside the new one.
    fn usable(&self, certs: Vec<Found>) -> Result<Vec<RecipientKeys>> {
        let place = certs.first().map_or(Place::None, |found| found.place.clone());
        few_enough(&place, certs.len())?;
        let mut usable: Vec<RecipientKeys> = Vec::new();
        let mut refusals = Vec::new();
        for found in &certs {
            match choose::choose(&found.cert, self.now) {
                Ok(keys) => usable.push(keys),
                Err(why) => refusals.push(why),
            }
        }
        if usable.is_empty() {
            return Err(none_usable(refusals, &self.settings.words).about(place));
        }
        for keys in usable.iter().filter(|k| k.expired) {
            let text = format!(
                "certificate {} has expired; it is used all the same. Ask its owner for a renewed one",
                keys.fingerprint
            );
            self.log.log(Level::Warning, &text);
        }
        Ok(usable)
    }

    /// Reads the certificates in `sieve_perot_encrypt_cert`, which are armored, or base64 on one line as the
    /// user database stores them.
    fn owner_certs(&self) -> Result<Vec<RawCert>> {
        let Some(text) = &self.settings.owner_cert else { return Ok(Vec::new()) };
        let refuse = |why: String| {
            let place = Place::SettingOf(Setting::Cert, printable(self.owner.user));
            let remedy = "It should be what `gpg --export ADDRESS | base64 -w0` prints";
            Error::new(Reason::UnusableCertificate, why).about(place).helps(remedy)
        };
        if text.trim_ascii_start().starts_with(b"-----BEGIN PGP ") {
            return raw::read(text).map_err(refuse);
        }
        let base64: Vec<u8> = text.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
        let engine = base64::engine::general_purpose::GeneralPurpose::new(
            &base64::alphabet::STANDARD,
            base64::engine::general_purpose::PAD
                .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
        );
        let data = engine
            .decode(base64)
            .map_err(|_| refuse("it is neither armored nor base64, or it is cut off".into()))?;
        raw::read(&data).map_err(refuse)
    }

    fn only_one_at_home(&self) -> Result<Vec<Found>> {
        let mut certs = Vec::new();
        let mut searched = Vec::new();
        for path in self.settings.sources.iter().filter(|p| matches!(p, SourcePath::Home(_))) {
            let Some(path) = self.expand(path) else { continue };
            let name = printable(path.as_os_str().as_encoded_bytes());
            let answer = source::ask(&path, Query::All).map_err(|why| bad_source(&name, &why))?;
            searched.push(format!("{name} ({})", answer.as_ref().map_or("not there", |a| a.holds.as_str())));
            certs.extend(answer.map(|a| a.certs).unwrap_or_default());
        }
        let place = searched.join(", ");
        let fingerprints: BTreeSet<String> =
            certs.iter().filter_map(|raw| raw.summary().ok()).map(|s| s.fingerprint.clone()).collect();
        match fingerprints.len() {
            1 => self.merged(&Place::Found(place), certs),
            n => {
                let user = printable(self.owner.user);
                let envelope = match self.owner.recipient {
                    Some(recipient) => {
                        format!("nor is the recipient {} of the envelope", printable(recipient))
                    }
                    None => "there is no envelope".to_owned(),
                };
                let text = format!(
                    "the user name {user} is no address, {envelope}, and below the home directory there is not one certificate \
                     but {n}: {place}"
                );
                Err(Error::new(Reason::NoCertificate, text).helps(Remedy::NameRecipient))
            }
        }
    }

    /// Returns the path of a source, or `None` if it lies below the home of a user who has none.
    pub fn expand(&self, path: &SourcePath) -> Option<PathBuf> {
        match path {
            SourcePath::Absolute(path) => Some(PathBuf::from(path)),
            SourcePath::Home(below) => {
                self.owner.home.filter(|h| h.starts_with('/')).map(|home| PathBuf::from(home).join(below))
            }
        }
    }
}

/// Returns a source as the settings name it, printable.
pub fn display(path: &SourcePath) -> String {
    match path {
        SourcePath::Absolute(path) => printable(path),
        SourcePath::Home(below) => printable(format!("~/{below}")),
    }
}

/// Returns the forms in which an address is looked for, the best one first: normalised, and without its detail.
pub fn forms(address: &str) -> Vec<String> {
    let whole = raw::normalise(address);
    let plain = without_detail(&whole);
    [Some(whole), plain].into_iter().flatten().collect()
}

fn without_detail(address: &str) -> Option<String> {
    let (local, domain) = address.rsplit_once('@')?;
    let (user, _) = local.split_once('+')?;
    (!user.is_empty()).then(|| format!("{user}@{domain}"))
}

/// Fails if there are too many certificates. It is called before any signature is checked, because checks
/// take time.
fn few_enough(place: &Place, count: usize) -> Result<()> {
    if count <= MAX_CERTIFICATES {
        return Ok(());
    }
    let text = format!("{count} certificates for one recipient, and {MAX_CERTIFICATES} is the most");
    Err(Error::new(Reason::UnusableCertificate, text).about(place.clone()).helps("remove old ones"))
}

/// Joins the reasons why none of the certificates can be used.
fn none_usable(refusals: Vec<Error>, words: &Words) -> Error {
    match <[Error; 1]>::try_from(refusals) {
        Ok([only]) => only,
        Err(several) => {
            let several: Vec<String> = several.iter().map(|why| why.in_words(words)).collect();
            Error::new(Reason::UnusableCertificate, several.join("; "))
        }
    }
}

fn unusable_literal(why: &str) -> Error {
    Error::new(Reason::UnusableCertificate, why).about(Place::Literal)
}

/// The error for a certificate in a script that was damaged on its way there.
pub fn damaged_literal(why: &str) -> Error {
    unusable_literal(why).helps(
        "Export it anew (gpg --armor --export ADDRESS), and paste all of it, from the BEGIN line to the END line",
    )
}

/// The error for a source that cannot be read or must not be trusted.
pub fn bad_source(name: &str, why: &str) -> Error {
    Error::new(Reason::BadSource, why).about(Place::Source(name.to_owned()))
}

fn not_found(recipient: &str, searched: &[String]) -> Error {
    let none = format!("no certificate for {recipient}");
    if searched.is_empty() {
        return Error::new(Reason::NoCertificate, none).helps(Remedy::NameSources);
    }
    let text = format!("{none}. Searched: {}", searched.join(", "));
    Error::new(Reason::NoCertificate, text).helps(Remedy::PutCertificate)
}

/// Adds a certificate to `merged`. Copies of one certificate become one, so that a revocation in either holds
/// for both.
fn merge(merged: &mut Vec<Found>, found: Found) {
    let fingerprint = found.cert.fingerprint();
    let Some(known) = merged.iter_mut().find(|known| known.cert.fingerprint() == fingerprint) else {
        return merged.push(found);
    };
    known.has_secret |= found.has_secret;
    known.files.extend(found.files);
    known.files.dedup();
    if known.cert != found.cert {
        // merge_public() fails only if the fingerprints differ.
        if let Ok(both) = (*known.cert).clone().merge_public((*found.cert).clone()) {
            known.cert = Arc::new(both);
        }
    }
}

/// Returns the parsed certificate. It is cached by its bytes, because parsing checks every signature.
fn parse(raw: &RawCert) -> std::result::Result<Arc<Cert>, Refusal> {
    static PARSED: Cache<Vec<u8>, Cert> = Cache::new(MAX_REMEMBERED_BYTES);
    match PARSED.get(raw.bytes()) {
        Some(cert) => Ok(cert),
        None => Ok(PARSED.put(raw.bytes().to_vec(), raw.certificate()?, raw.bytes().len())),
    }
}
