//! Chooses the subkeys of a certificate to which a message is encrypted.

use sequoia_openpgp as openpgp;

use openpgp::cert::amalgamation::key::PrimaryKey;
use openpgp::cert::Preferences;
use openpgp::packet::{key, Key, UserID};
use openpgp::policy::StandardPolicy;
use openpgp::types::RevocationStatus;
use openpgp::Cert;

use std::time::{Duration, SystemTime};

use super::post_quantum::{encrypts, fits_seipd1, is_wanted};
use super::rules::{unusable, Rules, Sha1};
use super::{explain, user_id};
use crate::error::Result;
use crate::settings::Subkeys;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How far ahead it is looked for the end of an algorithm, in days: forty years.
const FAR_FUTURE_DAYS: u32 = 40 * 365;

/// A public key to which a session key can be encrypted.
pub type EncryptionKey = Key<key::PublicParts, key::UnspecifiedRole>;

/// The keys of one recipient's certificate.
#[derive(Clone, Debug)]
pub struct RecipientKeys {
    /// The certificate's fingerprint, in upper case hex.
    pub fingerprint: String,
    /// The chosen subkeys, at least one.
    pub keys: Vec<EncryptionKey>,
    /// True if the recipient's software reads SEIPDv1: all software does, except where a version 6
    /// certificate does not announce it, or has no subkey whose algorithm may be used with it.
    pub reads_seipd1: bool,
    /// True if the recipient's software reads SEIPDv2. Version 6 certificates only: GnuPG announces it in
    /// version 4 certificates, and does not read it.
    pub reads_seipd2: bool,
    /// What has expired, if something has. It is used all the same: its owner still has the secret key.
    pub expired: Option<Expired>,
    /// The time at which the certificate or its last chosen subkey expires; `None` if neither does.
    pub expires: Option<SystemTime>,
    /// True if it counts only because self-signatures with SHA-1 are accepted.
    pub is_weak: bool,
    /// Says why post-quantum subkeys are left out although there are some, behind "certificate ...".
    pub left_out: Option<String>,
}

/// What has expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expired {
    /// The certificate as a whole.
    Certificate,
    /// All its encryption subkeys.
    Subkeys,
}

/// Chooses every subkey that is meant for encryption in transport or storage, supported, accepted by
/// sequoia's standard policy, not revoked, not created in the future and not expired. If all have expired,
/// those that expired last are chosen. Self-signatures with SHA-1 count, if they are accepted, only where the certificate
/// would have to be refused or has expired without them. Revocations with SHA-1 always count.
///
/// If none but post-quantum subkeys are wanted, and the certificate has any, the others do not exist.
///
/// # Errors
///
/// Fails with `UnusableCertificate` if no subkey is left; the error names the reason.
pub fn choose(cert: &Cert, now: SystemTime, sha1: Sha1, subkeys: Subkeys) -> Result<RecipientKeys> {
    let rules = Rules::at(now);
    if let RevocationStatus::Revoked(_) = cert.revocation_status(&rules.with_sha1, now) {
        return Err(unusable(cert, "is revoked").helps("put the certificate of the new key in its place"));
    }
    let wanted = wanted(cert, &rules, subkeys);
    let Some(keys) = best(cert, &rules, sha1, wanted) else {
        return Err(explain::refusal(cert, &rules, sha1, wanted));
    };
    let is_classical = !keys.keys.iter().any(|key| encrypts(key.pk_algo()));
    let left_out = is_classical.then(|| explain::left_out(cert, &rules, sha1)).flatten();
    Ok(RecipientKeys { left_out, ..keys })
}

/// Returns which subkeys of this certificate are wanted.
pub fn wanted(cert: &Cert, rules: &Rules, subkeys: Subkeys) -> Subkeys {
    match subkeys {
        Subkeys::PostQuantum if explain::has_post_quantum(cert, rules) => Subkeys::PostQuantum,
        _ => Subkeys::All,
    }
}

/// Chooses by the policy that lets the better ones be chosen.
fn best(cert: &Cert, rules: &Rules, sha1: Sha1, wanted: Subkeys) -> Option<RecipientKeys> {
    let strict = select(cert, &rules.strict, rules, wanted);
    if strict.as_ref().is_some_and(|strict| strict.keys.expired.is_none() && strict.has_subkey) {
        return strict.map(|strict| strict.keys);
    }
    let weak = (sha1 == Sha1::Accepted).then(|| select(cert, &rules.with_sha1, rules, wanted)).flatten();
    let weak = weak.map(|weak| Selected { keys: RecipientKeys { is_weak: true, ..weak.keys }, ..weak });
    let chosen = match (strict, weak) {
        (Some(strict), Some(weak)) => Some(if weak.is_better_than(&strict) { weak } else { strict }),
        (strict, weak) => strict.or(weak),
    };
    chosen.map(|chosen| chosen.keys)
}

/// What one policy lets be chosen.
struct Selected {
    keys: RecipientKeys,
    /// True if it is not the primary key alone, whose secret key is not at hand where the owner reads mail.
    has_subkey: bool,
}

impl Selected {
    fn is_better_than(&self, other: &Self) -> bool {
        let rank = |selected: &Self| (selected.keys.expired.is_none(), selected.has_subkey);
        rank(self) > rank(other)
    }
}

/// Chooses among the subkeys that one policy accepts.
fn select(cert: &Cert, policy: &StandardPolicy<'static>, rules: &Rules, wanted: Subkeys) -> Option<Selected> {
    let now = rules.now;
    let valid = cert.with_policy(policy, now).ok()?;
    let keys = valid.keys().supported().for_transport_encryption().for_storage_encryption();
    // sequoia's `alive()` is of no use here: in a certificate that has expired, it is false for every subkey.
    // The creation and expiration times of each subkey decide.
    let is_there = |key: &Key<_, _>| key.creation_time() <= now;
    let candidates: Vec<_> = keys
        .filter(|ka| is_there(ka.key()) && is_wanted(wanted, ka.key().pk_algo()))
        .filter(|ka| !explain::is_revoked(ka.amalgamation(), rules))
        .collect();
    // Orders expiration times; a subkey that never expires comes last.
    let ends = |time: Option<SystemTime>| (time.is_none(), time);
    let last = candidates.iter().map(|ka| ends(ka.key_expiration_time())).max()?;
    let today = ends(Some(now));
    let is_chosen = |end| end > today || end == last;
    let chosen: Vec<_> = candidates.iter().filter(|ka| is_chosen(ends(ka.key_expiration_time()))).collect();

    let version6 = valid.primary_key().key().version() >= 6;
    let advertised = valid.features();
    let expired = match valid.alive() {
        Err(_) => Some(Expired::Certificate),
        Ok(()) => (last <= today).then_some(Expired::Subkeys),
    };
    let has_subkey = chosen.iter().any(|ka| !ka.primary());
    let announces_seipd1 = !version6 || advertised.as_ref().is_some_and(|f| f.supports_seipdv1());
    let keys = RecipientKeys {
        reads_seipd1: announces_seipd1 && chosen.iter().any(|ka| fits_seipd1(ka.key().pk_algo())),
        keys: chosen.into_iter().map(|ka| ka.key().clone()).collect(),
        reads_seipd2: version6,
        expired,
        expires: [valid.primary_key().key_expiration_time(), last.1].into_iter().flatten().min(),
        fingerprint: cert.fingerprint().to_hex(),
        is_weak: false,
        left_out: None,
    };
    Some(Selected { keys, has_subkey })
}

/// Returns when a certificate that can be used now will be refused because an algorithm of it counts as too weak from then
/// on; `None` if that is not known of any.
pub fn end_of_algorithms(cert: &Cert, now: SystemTime, sha1: Sha1, subkeys: Subkeys) -> Option<SystemTime> {
    let wanted = wanted(cert, &Rules::at(now), subkeys);
    let is_usable = |days: u32| {
        let rules = Rules { now, ..Rules::at(now + DAY * days) };
        let policy = if sha1 == Sha1::Accepted { &rules.with_sha1 } else { &rules.strict };
        select(cert, policy, &rules, wanted).is_some()
    };
    let (mut good, mut bad) = (0, FAR_FUTURE_DAYS);
    if !is_usable(good) || is_usable(bad) {
        return None;
    }
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        *if is_usable(middle) { &mut good } else { &mut bad } = middle;
    }
    Some(now + DAY * bad)
}

/// Checks that one of the certificate's User IDs that count has `address`, which is normalised. Returns true if that is so
/// only because self-signatures with SHA-1 are accepted.
///
/// # Errors
///
/// Fails with `UnusableCertificate` if none does; the error names the reason.
pub fn carries(cert: &Cert, address: &str, now: SystemTime, sha1: Sha1) -> Result<bool> {
    let rules = Rules::at(now);
    let has_it = |user_id: &UserID| user_id::addresses(user_id.value()).iter().any(|found| found == address);
    let carrying: Vec<_> = cert.userids().filter(|user_id| has_it(user_id.userid())).collect();
    let reasons = |sha1| {
        carrying
            .iter()
            .map(move |user_id| (user_id, sha1))
            .map(|(user_id, sha1)| explain::user_id(user_id, &rules, sha1))
    };
    if reasons(Sha1::Refused).any(|why| why.is_none()) {
        return Ok(false);
    }
    let mut why = None;
    for reason in reasons(sha1) {
        match reason {
            None => return Ok(true),
            Some(reason) => why = why.or(Some(reason)),
        }
    }
    let why = why.unwrap_or_else(|| "is not signed by it".to_owned());
    let text =
        format!("does not count for {}: its User ID with this address {why}", crate::log::printable(address));
    Err(unusable(cert, &text))
}
