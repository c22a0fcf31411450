//! Chooses the subkeys of a certificate to which a message is encrypted.

use sequoia_openpgp as openpgp;

use openpgp::cert::amalgamation::key::ErasedKeyAmalgamation;
use openpgp::cert::amalgamation::ValidAmalgamation;
use openpgp::cert::amalgamation::ValidateAmalgamation;
use openpgp::cert::Preferences;
use openpgp::packet::{key, Key};
use openpgp::policy::StandardPolicy;
use openpgp::types::RevocationStatus;
use openpgp::Cert;

use std::time::SystemTime;

use super::raw;
use crate::error::{Error, Reason, Result};

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
    /// certificate does not announce it.
    pub reads_seipd1: bool,
    /// True if the recipient's software reads SEIPDv2. Version 6 certificates only: GnuPG announces it in
    /// version 4 certificates, and does not read it.
    pub reads_seipd2: bool,
    /// True if the certificate has expired. It is used all the same: its owner still has the secret key.
    pub expired: bool,
    /// The time at which the certificate or its last chosen subkey expires; `None` if neither does.
    pub expires: Option<SystemTime>,
}

/// Returns true if sequoia's standard policy accepts the certificate as a whole.
pub fn is_accepted(cert: &Cert, now: SystemTime) -> bool {
    cert.with_policy(&StandardPolicy::new(), now).is_ok()
}

/// Returns true if one of the certificate's valid User IDs has `address` (normalised).
pub fn carries(cert: &Cert, address: &str, now: SystemTime) -> bool {
    let policy = StandardPolicy::new();
    let Ok(valid) = cert.with_policy(&policy, now) else { return false };
    let found =
        valid.userids().revoked(false).any(|u| raw::address_of(u.userid()).as_deref() == Some(address));
    found
}

/// Chooses every subkey that is meant for encryption in transport or storage, supported, accepted by
/// sequoia's standard policy, not revoked, not created in the future and not expired. If all have expired,
/// those that expired last are chosen.
///
/// # Errors
///
/// Fails with `UnusableCertificate` if no subkey is left; the error names the reason for each.
pub fn choose(cert: &Cert, now: SystemTime) -> Result<RecipientKeys> {
    let fingerprint = cert.fingerprint().to_hex();
    let unusable =
        |why: &str| Error::new(Reason::UnusableCertificate, format!("certificate {fingerprint} {why}"));

    let policy = StandardPolicy::new();
    let valid = cert.with_policy(&policy, now).map_err(|e| {
        unusable(&format!("is not accepted: {}", innermost(&e)))
            .helps("make a new key, or renew this one with current software")
    })?;
    if let RevocationStatus::Revoked(_) = valid.revocation_status() {
        return Err(unusable("is revoked").helps("put the certificate of the new key in its place"));
    }

    let keys = valid.keys().supported().revoked(false).for_transport_encryption().for_storage_encryption();
    // sequoia's `alive()` is of no use here: in a certificate that has expired, it is false for every subkey.
    // The creation and expiration times of each subkey decide.
    let candidates: Vec<_> = keys.filter(|k| k.key().creation_time() <= now).collect();
    // Orders expiration times; a subkey that never expires comes last.
    let ends = |time: Option<SystemTime>| (time.is_none(), time);
    let last = candidates.iter().map(|k| ends(k.key_expiration_time())).max();
    let last = last.ok_or_else(|| {
        let why = format!("cannot be encrypted to: {}", explain(cert, &policy, now));
        unusable(&why).helps("Add an encryption subkey, and export the certificate anew")
    })?;
    let today = ends(Some(now));
    let is_chosen = |end| end > today || end == last;
    let chosen = candidates.iter().filter(|k| is_chosen(ends(k.key_expiration_time())));

    let version6 = valid.primary_key().key().version() >= 6;
    let advertised = valid.features();
    let expires = [valid.primary_key().key_expiration_time(), last.1].into_iter().flatten().min();
    Ok(RecipientKeys {
        keys: chosen.map(|k| k.key().clone()).collect(),
        reads_seipd1: !version6 || advertised.as_ref().is_some_and(|f| f.supports_seipdv1()),
        reads_seipd2: version6,
        expired: last <= today || valid.alive().is_err(),
        expires,
        fingerprint,
    })
}

/// Says why no subkey can be used, for the log.
fn explain(cert: &Cert, policy: &StandardPolicy<'_>, now: SystemTime) -> String {
    let mut reasons: Vec<String> =
        cert.keys().subkeys().filter_map(|subkey| refusal(subkey.into(), policy, now)).collect();
    reasons.dedup();
    if reasons.is_empty() {
        return "it has no encryption subkey".to_owned();
    }
    reasons.join("; ")
}

/// Says why [`choose`] left this key out. Returns `None` if the key is not meant for encryption.
pub fn refusal(
    key: ErasedKeyAmalgamation<'_, key::PublicParts>,
    policy: &StandardPolicy<'_>,
    now: SystemTime,
) -> Option<String> {
    let id = key.key().keyid().to_hex();
    if !key.key().pk_algo().for_encryption() {
        return None;
    }
    if !key.key().pk_algo().is_supported() {
        return Some(format!(
            "subkey {id} is of an algorithm that is not supported ({})",
            key.key().pk_algo()
        ));
    }
    match key.with_policy(policy, now) {
        Err(e) => Some(format!("subkey {id} is not accepted: {}", innermost(&e))),
        Ok(valid) if matches!(valid.revocation_status(), RevocationStatus::Revoked(_)) => {
            Some(format!("subkey {id} is revoked"))
        }
        Ok(valid) if !(valid.for_transport_encryption() || valid.for_storage_encryption()) => None,
        Ok(valid) if valid.key_expiration_time().is_some_and(|end| end <= now) => {
            Some(format!("subkey {id} has expired"))
        }
        Ok(_) => Some(format!("subkey {id} is not usable at this time: is the clock right?")),
    }
}

/// Returns the first cause in a chain of errors: the layers above it only name packets and policies.
fn innermost(error: &openpgp::anyhow::Error) -> String {
    crate::log::printable(error.root_cause().to_string())
}
