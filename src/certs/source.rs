//! One certificate source: a folder of certificate files, a keyring file, or an OpenPGP certificate
//! directory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cache::{key, Cache, Key};
use super::copies::Copies;
use super::index::{Amount, Builder, Index, NoAnswer, Query};
use super::open::{self, Identity, Links, Opened};
use super::trouble::{Problem, Trouble};
use super::{cert_d, folder, lasting};
use crate::deadline::Deadline;

/// The number of problems that the log tells of a source: enough to begin with, and lines stay readable.
pub const MAX_PROBLEMS: usize = 3;
/// What the sources below a user's home may hold together: a user decides what is there, and a process serves many users.
pub const MOST_AT_HOME: Amount = Amount { bytes: 1 << 20, files: 64, certs: 256 };
/// What a source of the administrator may hold. Its files are limited one by one.
const MOST: Amount = Amount { bytes: u64::MAX, files: usize::MAX, certs: 50_000 };
/// The time between two looks at every file of a folder. A file that is changed in place, which leaves the
/// folder's own modification time as it was, is found after at most this time. Files that match are opened
/// for each message.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// The bytes that are cached of all indexes: some 300,000 certificates.
const MAX_REMEMBERED: usize = 64 << 20;

static INDEXES: Cache<Key, Remembered> = Cache::new(MAX_REMEMBERED);

/// An index, and what it is of.
#[derive(Debug)]
struct Remembered {
    index: Index,
    /// What the folder or the keyring was when it was read.
    identity: Identity,
    swept: Instant,
}

/// The answer of a source. What it says of the source as a whole is left out where a search for one recipient has found
/// something.
#[derive(Debug, Default)]
pub struct Answer {
    /// The certificates that match, all copies of each. No signature has been checked.
    pub certs: Vec<Copies>,
    /// Describes the content of the source for the log: "3 certificates; x.asc: its armor is damaged".
    pub holds: String,
    /// The number of certificates in it.
    pub count: usize,
    /// What cannot be used.
    pub problems: Vec<Problem>,
}

/// What each source below a home holds.
pub type AtHome = RefCell<BTreeMap<PathBuf, Amount>>;

/// A source that is searched.
pub struct Source<'a> {
    /// Where it is.
    pub path: &'a Path,
    /// What the sources below the home of the user hold, as far as they have been searched. `None` if this one is elsewhere.
    pub at_home: Option<&'a AtHome>,
    /// When the search has to end.
    pub deadline: &'a Deadline,
    /// Where an index may outlast the process, if it may.
    pub temp_dir: Option<&'a Path>,
}

impl Source<'_> {
    /// Searches the files of a folder that are named after an address. The result is empty for other sources, and if no such
    /// file holds a certificate for the address.
    ///
    /// # Errors
    ///
    /// Fails if the source cannot be read or must not be trusted.
    pub fn named_after(&self, address: &str) -> Result<Vec<Copies>, Trouble> {
        match open::open(self.path, Links::Follow)? {
            Some(opened) if opened.metadata.is_dir() => {
                folder::named_after(self.path, address, self.most(), self.deadline)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Searches the source; returns `None` if its path does not exist.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be read, must not be trusted, or holds too much, or if the deadline has passed.
    pub fn search(&self, query: Query<'_>) -> Result<Option<Answer>, Trouble> {
        let Some(opened) = open::open(self.path, Links::Follow)? else { return Ok(None) };
        let is_folder = opened.metadata.is_dir();
        if let (true, Query::Fingerprint(hex)) = (is_folder, query) {
            if let Some(copies) = cert_d::find(self.path, hex, self.deadline)? {
                return Ok(Some(Answer { certs: vec![copies], ..Answer::default() }));
            }
        }
        let identity = Identity::of(&opened.metadata);
        let remembered = self.remembered().filter(|known| known.identity == identity);
        if let Some(known) = remembered.filter(|known| !is_folder || known.swept.elapsed() < SWEEP_EVERY) {
            self.charge(&known.index)?;
            match known.index.read(query, self.path) {
                Ok(certs) if !is_folder || !certs.is_empty() => {
                    return Ok(Some(self.answer(&known.index, query, certs)))
                }
                // A file may have been changed in place.
                Ok(_) | Err(NoAnswer::Changed) => {}
                Err(NoAnswer::Trouble(why)) => return Err(why),
            }
        }
        let known = self.index(opened)?;
        self.charge(&known.index)?;
        match known.index.read(query, self.path) {
            Ok(certs) => Ok(Some(self.answer(&known.index, query, certs))),
            Err(NoAnswer::Changed) => Err(Trouble::Failed("it changes while it is read".into())),
            Err(NoAnswer::Trouble(why)) => Err(why),
        }
    }

    /// Lists everything in the source, for its administrator: also the certificates of an OpenPGP certificate directory.
    /// Returns `None` if the path does not exist.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be read, must not be trusted, or holds too much.
    pub fn list(&self) -> Result<Option<Answer>, Trouble> {
        let Some(mut answer) = self.search(Query::All)? else { return Ok(None) };
        if self.path.is_dir() {
            let (certs, problems) = cert_d::list(self.path, self.deadline)?;
            answer.certs.extend(certs);
            answer.problems.extend(problems);
        }
        Ok(Some(answer))
    }

    /// Returns the name of a file that is named after the address, whatever is in it, as of the last search.
    pub fn file_named_after(&self, address: &str) -> Option<String> {
        let known = INDEXES.get(&key(self.path));
        known.and_then(|known| folder::file_named_after(&known.index, address))
    }

    /// Returns what the source may hold.
    fn most(&self) -> Amount {
        if self.at_home.is_some() {
            MOST_AT_HOME
        } else {
            MOST
        }
    }

    /// Reads the source, and remembers its index.
    fn index(&self, opened: Opened) -> Result<Arc<Remembered>, Trouble> {
        let identity = Identity::of(&opened.metadata);
        let before = self.remembered();
        let index = if opened.metadata.is_dir() {
            // A damaged index says nothing.
            let known = before.as_ref().and_then(|known| known.index.parts()).unwrap_or_default();
            folder::sweep(self.path, &known, self.most(), self.deadline)?
        } else {
            let mut builder = Builder::new(self.most(), self.deadline);
            builder.read(OsStr::new(""), Ok(opened.regular()?))?;
            builder.finish()
        };
        // A folder without the recipient is looked at for each message: it need not be written each time.
        let is_saved = before.is_some_and(|known| {
            known.swept.elapsed() < SWEEP_EVERY
                && known.identity == identity
                && known.index.is_of_the_same_files(&index)
        });
        if let Some(temp_dir) = self.temp_dir().filter(|_| !is_saved && lasting::is_worth_it(&index)) {
            // Without it, the next process takes longer.
            let _ = lasting::save(temp_dir, self.path, &index, identity);
        }
        Ok(self.remember(Remembered { index, identity, swept: Instant::now() }))
    }

    /// Returns the index of the source, if this process knows it or a process before it has left it.
    fn remembered(&self) -> Option<Arc<Remembered>> {
        let known = INDEXES.get(&key(self.path));
        known.or_else(|| {
            let lasting::Lasting { index, identity, age } = lasting::load(self.temp_dir()?, self.path)?;
            let now = Instant::now();
            // What is older than the machine is looked at anew.
            let swept = now.checked_sub(age).or_else(|| now.checked_sub(SWEEP_EVERY))?;
            Some(self.remember(Remembered { index, identity, swept }))
        })
    }

    fn remember(&self, known: Remembered) -> Arc<Remembered> {
        let weight = known.index.weight();
        INDEXES.put(key(self.path), known, weight)
    }

    /// Returns the folder for indexes. What is below a home is small.
    fn temp_dir(&self) -> Option<&Path> {
        self.temp_dir.filter(|_| self.at_home.is_none())
    }

    /// Adds what the source holds to what all sources below the home hold.
    fn charge(&self, index: &Index) -> Result<(), Trouble> {
        let Some(at_home) = self.at_home else { return Ok(()) };
        let mut amounts = at_home.borrow_mut();
        amounts.insert(self.path.to_owned(), index.amount());
        amounts.values().try_fold(Amount::NONE, |sum, more| sum.plus(*more, &MOST_AT_HOME))?;
        Ok(())
    }

    fn answer(&self, index: &Index, query: Query<'_>, certs: Vec<Copies>) -> Answer {
        if !certs.is_empty() && !matches!(query, Query::All) {
            return Answer { certs, ..Answer::default() };
        }
        let problems = index.problems();
        let count = index.amount().certs;
        let mut holds = plural(count);
        if count == 0 && matches!(query, Query::Address(_)) && cert_d::is_one(self.path) {
            holds = "a shared certificate directory, which answers to fingerprints only".to_owned();
        }
        let (told, more) = problems.split_at(problems.len().min(MAX_PROBLEMS));
        for problem in told {
            holds = format!("{holds}; {problem}");
        }
        if !more.is_empty() {
            holds = format!("{holds}; and {} more that cannot be used", more.len());
        }
        Answer { certs, holds, count, problems }
    }
}

/// Writes a number of certificates in words.
pub fn plural(count: usize) -> String {
    match count {
        0 => "no certificate".to_owned(),
        1 => "1 certificate".to_owned(),
        n => format!("{n} certificates"),
    }
}
