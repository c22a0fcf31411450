//! Finds the certificates of a recipient in the configured sources.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::SystemTime;

use sequoia_openpgp::Cert;

use super::choose::{self, Expired, RecipientKeys};
use super::chosen::Chosen;
use super::copies::{grouped, Certificate, Copies};
use super::explain;
use super::file::{Contents, Limit};
use super::index::Query;
use super::raw;
use super::rules::Sha1;
use super::source::{AtHome, Source, MAX_PROBLEMS};
use super::trouble::{Refusal, Trouble, PRIVATE_KEY};
use super::user_id::normalise;
use super::x509;
use crate::deadline::Deadline;
use crate::error::{Error, Place, Reason, Remedy, Result, Setting, Words};
use crate::log::{printable, Level, Log};
use crate::openssl::x509::X509;
use crate::recipient::Recipient;
use crate::settings::{Prefer, Settings, SourcePath, Subkeys};

/// The number of certificates that one recipient may have. Each adds a session key to every message, and an
/// address rarely has more than its old and its new certificate.
const MAX_CERTIFICATES: usize = 16;

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
    /// The certificate, put together from all copies in that place.
    pub cert: Certificate,
    /// Its fingerprint, in upper case hex.
    pub fingerprint: String,
    /// The place where the copies were found.
    pub place: Place,
    /// The files that held the copies, printable. Empty if the certificate is in a setting or in the script.
    pub files: Vec<String>,
    /// True if a copy included the secret key.
    pub has_secret: bool,
    /// Whether self-signatures with SHA-1 count there.
    pub sha1: Sha1,
    /// Which subkeys are used.
    pub subkeys: Subkeys,
    /// The keys to which a message is encrypted, or the reason why it cannot be.
    pub keys: Result<Chosen>,
}

impl Found {
    fn is_good(&self) -> bool {
        self.keys.as_ref().is_ok_and(|keys| keys.expired().is_none())
    }

    /// Orders certificates: those that have not expired are better, then those of the preferred kind, then RSA keys, for one
    /// recipient with elliptic curves makes the message unreadable for the RSA keys, too, in NSS of Debian 12. 0 if it cannot be
    /// used.
    fn rank(&self, prefer: Prefer) -> u8 {
        match &self.keys {
            Err(_) => 0,
            Ok(keys) => {
                let is_on_curve = matches!(keys, Chosen::X509(recipient) if !recipient.is_rsa);
                1 + 4 * u8::from(self.is_good())
                    + 2 * u8::from(keys.is_preferred(prefer))
                    + u8::from(!is_on_curve)
            }
        }
    }
}

/// The result of a search.
#[derive(Debug, Default)]
pub struct Search {
    /// The certificates that are used: the best ones, of the first place that has such. They are of one kind.
    pub used: Vec<Found>,
    /// The certificates that are not used: there are better ones, or they cannot be used.
    pub others: Vec<Found>,
    /// The reasons why certificates cannot even be read.
    refusals: Vec<Error>,
    /// Describes the sources, for the error that lists where the search went.
    searched: Vec<String>,
}

impl Search {
    /// Takes the certificates of a place. Returns true if they end the search. A place that comes later never takes mail over
    /// from one that has a certificate which has not expired, of whichever kind.
    fn take(&mut self, prefer: Prefer, (certs, refusals): (Vec<Found>, Vec<Error>)) -> bool {
        self.refusals.extend(refusals);
        let best = certs.iter().map(|found| found.rank(prefer)).max().unwrap_or(0);
        let is_good = certs.iter().any(Found::is_good);
        if best == 0 || !(self.used.is_empty() || is_good) {
            self.others.extend(certs);
            return false;
        }
        self.others.append(&mut self.used);
        for found in certs {
            if found.rank(prefer) == best { &mut self.used } else { &mut self.others }.push(found);
        }
        is_good
    }

    /// Returns the reason why nothing is used: nothing was found for `recipient`, or nothing that can be used.
    pub fn failure(&self, recipient: &str, words: &Words) -> Error {
        let others = self.others.iter().filter_map(|found| {
            let why = found.keys.as_ref().err()?.clone();
            Some((why, &found.place))
        });
        let others: Vec<(Error, &Place)> = others.collect();
        match (&others[..], &self.refusals[..]) {
            ([], []) => not_found(recipient, &self.searched),
            ([], [only]) => only.clone(),
            ([(only, place)], []) => only.clone().about((*place).clone()),
            _ => {
                let others = others.into_iter().map(|(why, place)| why.about(place.clone()));
                let all = others.chain(self.refusals.iter().cloned()).map(|why| why.in_words(words));
                Error::new(Reason::UnusableCertificate, all.collect::<Vec<_>>().join("; "))
            }
        }
    }
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
#[derive(Clone, Copy)]
pub struct Finder<'a> {
    /// The settings that name the sources.
    pub settings: &'a Settings,
    /// The owner of the mailbox.
    pub owner: Owner<'a>,
    /// The time at which certificates must be valid.
    pub now: SystemTime,
    /// When the search has to end.
    pub deadline: Deadline,
    /// Where the index of a large source may outlast the process, if it may.
    pub temp_dir: Option<&'a Path>,
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
    pub fn owner(&self) -> Result<Vec<Chosen>> {
        let search = self.look_up_owner()?;
        self.used(search, &self.owner_name())
    }

    /// Returns the owner's address or user name, printable.
    pub fn owner_name(&self) -> String {
        printable(self.owner_address().unwrap_or(self.owner.user))
    }

    /// Returns the certificates of the mailbox owner. None may be used.
    ///
    /// # Errors
    ///
    /// Fails if a source that comes before the first match cannot be read, or if it cannot be told which certificate it is.
    pub fn look_up_owner(&self) -> Result<Search> {
        if self.settings.owner_cert.is_some() {
            let mut search = Search::default();
            search.take(
                self.settings.prefer,
                self.opened(&Place::FoundIn(Setting::Cert), &self.owner_certs()?, Query::All)?,
            );
            return Ok(search);
        }
        match self.owner_address() {
            Some(address) => self.look_up(&Recipient::parse(address.as_bytes())?),
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
    pub fn find(&self, recipient: &Recipient) -> Result<Vec<Chosen>> {
        self.used(self.look_up(recipient)?, &recipient.name(&self.settings.words.literal))
    }

    /// Returns the certificates of one recipient. None may be used.
    ///
    /// # Errors
    ///
    /// Fails if a source that comes before the first match cannot be read.
    pub fn look_up(&self, recipient: &Recipient) -> Result<Search> {
        match recipient {
            Recipient::Literal(armored) => self.literal(armored),
            Recipient::Fingerprint(hex) => self.in_sources(&[Query::Fingerprint(hex)]),
            Recipient::Address(address) => {
                let forms = forms(address);
                let queries: Vec<_> = forms.iter().map(|form| Query::Address(form)).collect();
                self.in_sources(&queries)
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
        let name = printable(path.as_os_str().as_encoded_bytes());
        let at_home = AtHome::default();
        let listed = self.source(source, &path, &at_home).list();
        let Some(answer) = listed.map_err(|why| bad_source(&name, why))? else {
            return Ok(Listing { place: name, ..Listing::default() });
        };
        let (certs, refusals) = self.checked(&Place::Found(name.clone()), &answer.certs, Query::All);
        let refusals = refusals.iter().map(|why| why.in_words(&self.settings.words));
        let problems = answer.problems.iter().map(ToString::to_string).chain(refusals).collect();
        Ok(Listing { place: name, certs, problems })
    }

    fn literal(&self, armored: &[u8]) -> Result<Search> {
        let certs = self.read(armored).map_err(|why| damaged_literal(armored, &why))?;
        if let Some(copies) = certs.iter().find(|copies| copies.has_secret()) {
            let text = "it holds the secret key, which must never be on a server";
            let remedy = match copies.is_x509() {
                true => "paste the certificate alone (-----BEGIN CERTIFICATE-----), and consider the private key as known to others",
                false => "export the public part (gpg --armor --export ADDRESS), and consider the secret key as known to others",
            };
            return Err(unusable_literal(text).helps(remedy));
        }
        let mut search = Search::default();
        search.take(self.settings.prefer, self.opened(&Place::Literal, &certs, Query::All)?);
        Ok(search)
    }

    /// Reads certificates that are not in a file. All of them must be usable as they are written, since whoever wrote them
    /// there can write them anew.
    fn read(&self, text: &[u8]) -> std::result::Result<Vec<Copies>, Refusal> {
        let mut limit = Limit::new(raw::MAX_AT_ONCE, &self.deadline);
        let contents = Contents::read(&mut Cursor::new(text), &mut limit).map_err(Trouble::into_refusal)?;
        let is_alone = !contents.certs.iter().any(raw::RawCert::is_x509);
        match contents.problems.into_iter().find(|problem| is_alone || !problem.is_private_key()) {
            Some(problem) => Err(problem.why),
            None => Ok(grouped(contents.certs, &contents.revocations)),
        }
    }

    /// Searches all sources for the first query, then for the next. The first source with a certificate that can be used and
    /// has not expired ends the search.
    fn in_sources(&self, queries: &[Query<'_>]) -> Result<Search> {
        let at_home = AtHome::default();
        let mut search = Search::default();
        for &query in queries {
            search.searched.clear();
            let inline: Vec<Copies> =
                self.owner_certs()?.into_iter().filter(|copies| query.matches(copies)).collect();
            if search.take(self.settings.prefer, self.opened(&Place::FoundIn(Setting::Cert), &inline, query)?)
            {
                return Ok(search);
            }
            for path in &self.settings.sources {
                if self.in_source(path, query, &at_home, &mut search)? {
                    return Ok(search);
                }
            }
            if !search.used.is_empty() {
                break;
            }
        }
        Ok(search)
    }

    /// Searches one source. Returns true if what it has ends the search.
    fn in_source(
        &self,
        path: &SourcePath,
        query: Query<'_>,
        at_home: &AtHome,
        search: &mut Search,
    ) -> Result<bool> {
        let Some(expanded) = self.expand(path) else {
            search.searched.push(format!("{} (the user has no home directory)", display(path)));
            return Ok(false);
        };
        let name = printable(expanded.as_os_str().as_encoded_bytes());
        let place = Place::Found(name.clone());
        let source = self.source(path, &expanded, at_home);
        if let Query::Address(address) = query {
            let mut named = source.named_after(address).map_err(|why| bad_source(&name, why))?;
            // If another one may be better, the search through the whole folder finds them again.
            named.retain(|copies| copies.is_x509() == (self.settings.prefer == Prefer::Smime));
            let (certs, refusals) = self.opened(&place, &named, query)?;
            if certs.iter().any(Found::is_good) {
                return Ok(search.take(self.settings.prefer, (certs, refusals)));
            }
        }
        let Some(answer) = source.search(query).map_err(|why| bad_source(&name, why))? else {
            search.searched.push(format!("{name} (not there)"));
            return Ok(false);
        };
        if answer.certs.is_empty() {
            for problem in answer.problems.iter().take(MAX_PROBLEMS) {
                self.log.log(Level::Warning, &format!("certificate source {name}: {problem}"));
            }
            search.searched.push(format!("{name} ({})", answer.holds));
            return Ok(false);
        }
        Ok(search.take(self.settings.prefer, self.opened(&place, &answer.certs, query)?))
    }

    /// Returns a source, with what it may hold.
    pub(super) fn source<'s>(
        &'s self,
        path: &SourcePath,
        expanded: &'s Path,
        at_home: &'s AtHome,
    ) -> Source<'s> {
        // The settings may name the home by a variable, too.
        let home = self.owner.home.filter(|home| home.starts_with('/') && *home != "/");
        let is_below = home.is_some_and(|home| expanded.starts_with(home));
        let at_home = (is_below || matches!(path, SourcePath::Home(_))).then_some(at_home);
        Source { path: expanded, at_home, deadline: &self.deadline, temp_dir: self.temp_dir }
    }

    /// Checks the certificates of one recipient, as [`Finder::checked`] does.
    fn opened(&self, place: &Place, certs: &[Copies], query: Query<'_>) -> Result<(Vec<Found>, Vec<Error>)> {
        few_enough(place, certs.len())?;
        Ok(self.checked(place, certs, query))
    }

    /// Parses certificates, and chooses among their keys. What cannot be parsed is an error in the second list.
    fn checked(&self, place: &Place, certs: &[Copies], query: Query<'_>) -> (Vec<Found>, Vec<Error>) {
        let mut found = Vec::new();
        let mut refusals = Vec::new();
        for copies in certs {
            self.warn_of_secret(place, copies);
            let cert = match self.deadline.has_passed() {
                true => Err(Trouble::too_slow().into_refusal()),
                false => copies.parse(),
            };
            let cert = match cert {
                Ok(cert) => cert,
                Err(why) => {
                    let text = format!("certificate {}: {why}", copies.fingerprint);
                    refusals.push(Error::new(Reason::UnusableCertificate, text).about(place.clone()));
                    continue;
                }
            };
            let sha1 = if copies.is_shared { Sha1::Refused } else { Sha1::Accepted };
            let keys = match &cert {
                Certificate::OpenPgp(cert) => self.choose(cert, sha1, query).map(Chosen::OpenPgp),
                Certificate::X509(cert) => {
                    self.choose_x509(cert, &copies.fingerprint, query).map(Chosen::X509)
                }
            };
            let (fingerprint, files, has_secret) =
                (copies.fingerprint.clone(), copies.files(), copies.has_secret());
            let (place, subkeys) = (place.clone(), self.settings.subkeys);
            found.push(Found { cert, fingerprint, place, files, has_secret, sha1, subkeys, keys });
        }
        (found, refusals)
    }

    /// Chooses among the keys of an OpenPGP certificate that was found by `query`.
    fn choose(&self, cert: &Cert, sha1: Sha1, query: Query<'_>) -> Result<RecipientKeys> {
        let keys = choose::choose(cert, self.now, sha1, self.settings.subkeys)?;
        match query {
            Query::Address(address) => choose::carries(cert, address, self.now, sha1)
                .map(|is_weak| RecipientKeys { is_weak: keys.is_weak || is_weak, ..keys }),
            Query::Fingerprint(_) | Query::All => Ok(keys),
        }
    }

    /// The same for an X.509 certificate.
    fn choose_x509(&self, cert: &Arc<X509>, fingerprint: &str, query: Query<'_>) -> Result<x509::Recipient> {
        let recipient = x509::choose(cert, fingerprint, self.now)?;
        match query {
            Query::Address(address) => x509::carries(cert, fingerprint, address).map(|()| recipient),
            Query::Fingerprint(_) | Query::All => Ok(recipient),
        }
    }

    fn warn_of_secret(&self, place: &Place, copies: &Copies) {
        for raw in copies.certs.iter().filter(|raw| raw.has_secret()) {
            let place = raw.file.clone().map_or_else(|| place.clone(), Place::Found);
            let place = self.settings.words.place(&place);
            let text = match raw.is_x509() {
                true => format!("{place}{}: put the certificate alone there. Only it is used", PRIVATE_KEY),
                false => format!(
                    "{place}it holds a secret key, which must not be on a server: put there what `gpg --armor --export` \
                     prints. Only its public part is used"
                ),
            };
            self.log.log(Level::Error, &text);
        }
    }

    /// Returns the keys of the certificates that are used, and warns of what their owners should do. Fails if there are none.
    fn used(&self, search: Search, recipient: &str) -> Result<Vec<Chosen>> {
        if search.used.is_empty() {
            return Err(search.failure(recipient, &self.settings.words));
        }
        let keys: Vec<Chosen> = search.used.into_iter().filter_map(|found| found.keys.ok()).collect();
        for keys in &keys {
            for text in warnings(keys) {
                self.log.log(Level::Warning, &text);
            }
            self.warn_once_of_left_out(keys);
        }
        Ok(keys)
    }

    /// Warns of post-quantum subkeys that are left out, for one certificate in the life of a process: what helps is a newer
    /// server, and that helps all certificates.
    fn warn_once_of_left_out(&self, keys: &Chosen) {
        static IS_TOLD: AtomicBool = AtomicBool::new(false);
        if let Some(text) = left_out(keys).filter(|_| !IS_TOLD.swap(true, Ordering::Relaxed)) {
            self.log.log(Level::Warning, &text);
        }
    }

    /// Reads the certificates in `sieve_perot_encrypt_cert`, which are armored, or base64 on one line as the
    /// user database stores them.
    fn owner_certs(&self) -> Result<Vec<Copies>> {
        let Some(text) = &self.settings.owner_cert else { return Ok(Vec::new()) };
        self.read(text).map_err(|why| {
            let place = Place::SettingOf(Setting::Cert, printable(self.owner.user));
            let remedy = "It should be what `gpg --export ADDRESS | base64 -w0` prints, or what `openssl x509 -in FILE -outform DER | base64 -w0` prints";
            Error::new(Reason::UnusableCertificate, why).about(place).helps(remedy)
        })
    }

    fn only_one_at_home(&self) -> Result<Search> {
        let at_home = AtHome::default();
        let mut search = Search::default();
        let mut searched = Vec::new();
        let mut all: BTreeMap<String, Copies> = BTreeMap::new();
        for path in self.settings.sources.iter().filter(|p| matches!(p, SourcePath::Home(_))) {
            let Some(expanded) = self.expand(path) else { continue };
            let name = printable(expanded.as_os_str().as_encoded_bytes());
            let answer = self.source(path, &expanded, &at_home).search(Query::All);
            let answer = answer.map_err(|why| bad_source(&name, why))?;
            searched.push(format!("{name} ({})", answer.as_ref().map_or("not there", |a| a.holds.as_str())));
            for copies in answer.into_iter().flat_map(|answer| answer.certs) {
                match all.get_mut(&copies.fingerprint) {
                    Some(known) => known.add(copies),
                    None => drop(all.insert(copies.fingerprint.clone(), copies)),
                }
            }
        }
        let place = searched.join(", ");
        let all: Vec<Copies> = all.into_values().collect();
        let count = all.len();
        search.take(self.settings.prefer, self.opened(&Place::Found(place.clone()), &all, Query::All)?);
        // Old ones beside it do not matter, nor do those of the same person that are of another kind.
        let is_another = |one: &Found, other: &Found| {
            let of = |found: &Found| all.iter().find(|copies| copies.fingerprint == found.fingerprint);
            let are_of_one = of(one).zip(of(other)).is_some_and(|(one, other)| one.shares_an_address(other));
            other.is_good() && !are_of_one
        };
        let is_the_one = match &search.used[..] {
            [one] => one.is_good() && !search.others.iter().any(|other| is_another(one, other)),
            _ => false,
        };
        if count == 1 || is_the_one {
            return Ok(search);
        }
        let user = printable(self.owner.user);
        let envelope = match self.owner.recipient {
            Some(recipient) => format!("nor is the recipient {} of the envelope", printable(recipient)),
            None => "there is no envelope".to_owned(),
        };
        let text = format!(
            "the user name {user} is no address, {envelope}, and below the home directory there is not one certificate \
             but {count}: {place}"
        );
        Err(Error::new(Reason::NoCertificate, text).helps(Remedy::NameRecipient))
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
    let whole = normalise(address);
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

/// Says what the owner of a certificate that is used all the same should do.
pub fn warnings(keys: &Chosen) -> Vec<String> {
    let fingerprint = keys.fingerprint();
    let expired = keys.expired().map(|what| {
        format!(
            "{} expired; {} used all the same. Ask its owner for a renewed one",
            expired(fingerprint, what),
            if what == Expired::Certificate { "it is" } else { "they are" }
        )
    });
    let weak = keys.is_weak().then(|| {
        format!(
            "certificate {fingerprint} has self-signatures with SHA-1, and is used all the same. {}",
            explain::sha1_remedy(fingerprint)
        )
    });
    expired.into_iter().chain(weak).collect()
}

/// Says which post-quantum subkeys are left out, and why.
pub fn left_out(keys: &Chosen) -> Option<String> {
    let Chosen::OpenPgp(keys) = keys else { return None };
    keys.left_out.as_ref().map(|why| format!("certificate {} {why}", keys.fingerprint))
}

/// Names what has expired, up to the verb.
pub fn expired(fingerprint: &str, what: Expired) -> String {
    match what {
        Expired::Certificate => format!("certificate {fingerprint} has"),
        Expired::Subkeys => format!("the encryption subkeys of certificate {fingerprint} have"),
    }
}

fn unusable_literal(why: &str) -> Error {
    Error::new(Reason::UnusableCertificate, why).about(Place::Literal)
}

/// The error for a certificate in a script that was damaged on its way there.
pub fn damaged_literal(armored: &[u8], why: &str) -> Error {
    unusable_literal(why).helps(match armored.starts_with(b"-----BEGIN PGP ") {
        true => "Export it anew (gpg --armor --export ADDRESS), and paste all of it, from the BEGIN line to the END line",
        false => "Paste all of the certificate, from -----BEGIN CERTIFICATE----- to its END line, and nothing else",
    })
}

/// The error for a source that cannot be read or must not be trusted.
pub fn bad_source(name: &str, why: Trouble) -> Error {
    Error::new(Reason::BadSource, why.into_refusal()).about(Place::Source(name.to_owned()))
}

fn not_found(recipient: &str, searched: &[String]) -> Error {
    let none = format!("no certificate for {recipient}");
    if searched.is_empty() {
        return Error::new(Reason::NoCertificate, none).helps(Remedy::NameSources);
    }
    let text = format!("{none}. Searched: {}", searched.join(", "));
    Error::new(Reason::NoCertificate, text).helps(Remedy::PutCertificate)
}
