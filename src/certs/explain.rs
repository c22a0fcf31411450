//! Says why a certificate, a subkey or a User ID does not count, and what its owner can do.

use sequoia_openpgp as openpgp;

use openpgp::cert::amalgamation::key::{ErasedKeyAmalgamation, PrimaryKey};
use openpgp::cert::amalgamation::{UserIDAmalgamation, ValidAmalgamation, ValidateAmalgamation};
use openpgp::crypto::mpi;
use openpgp::packet::{key, Key, Signature};
use openpgp::policy::StandardPolicy;
use openpgp::types::{Curve, HashAlgorithm, KeyFlags, PublicKeyAlgorithm, RevocationStatus};
use openpgp::Cert;

use super::post_quantum::{self, is_wanted};
use super::rules::{unusable, Rules, Sha1};
use crate::error::{Error, Remedy};
use crate::log::printable;
use crate::settings::Subkeys;

/// The bit of the key flag for an additional decryption subkey (ADSK), which GnuPG 2.4 makes for a second reader.
const ADSK: usize = 10;
/// The object identifier of the curve secp256k1 (SEC 2, section A.2.1), without type and length.
const SECP256K1: [u8; 5] = [0x2b, 0x81, 0x04, 0x00, 0x0a];

/// The cause why a key or a signature does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Cause {
    Unsupported(Algorithm),
    /// The subkey is in GnuPG's own format. True if it is one of Kyber.
    LibrePgp(bool),
    TooWeak(String),
    Revoked,
    Expired,
    NotYet,
    Unsigned,
    /// The self-signatures have this hash algorithm.
    Hash(HashAlgorithm),
    NoFlags,
    Adsk,
    Other(String),
}

impl Cause {
    fn text(&self) -> String {
        match self {
            Self::Unsupported(algorithm) => {
                format!("is {}, to which this build cannot encrypt{}", algorithm.text, algorithm.needs())
            }
            Self::LibrePgp(is_kyber) => {
                let of_kyber = if *is_kyber { " of Kyber" } else { "" };
                format!("is in GnuPG's own format{of_kyber} (LibrePGP, version 5), which this build does not write")
            }
            Self::TooWeak(what) => format!("is too weak ({what})"),
            Self::Revoked => "is revoked".into(),
            Self::Expired => "has expired".into(),
            Self::NotYet => "is not valid yet".into(),
            Self::Unsigned => "has no self-signature that can be verified".into(),
            Self::Hash(HashAlgorithm::SHA1) => {
                "has a self-signature with SHA-1, which does not count in a place where \
                anybody may have put it"
                    .into()
            }
            Self::Hash(hash) => format!("has a self-signature with {hash}, which anybody can forge"),
            Self::NoFlags => "does not say what it is for (no key flags)".into(),
            Self::Adsk => "is an additional decryption subkey (ADSK), which is not used".into(),
            Self::Other(why) => format!("is not accepted: {why}"),
        }
    }

    fn remedy(&self, cert: &Cert, wanted: Subkeys) -> Remedy {
        match self {
            Self::Unsupported(_) | Self::LibrePgp(_) if wanted == Subkeys::PostQuantum => Remedy::AllSubkeys,
            Self::Unsupported(algorithm) if algorithm.is_post_quantum => {
                "An encryption subkey of Curve25519 or RSA beside it would do, too".into()
            }
            Self::Unsupported(_) | Self::LibrePgp(_) | Self::Adsk | Self::Expired => ADD_SUBKEY.into(),
            Self::TooWeak(_) => "Make a new key, and export its certificate".into(),
            Self::Revoked => "Add an encryption subkey, and export the certificate anew".into(),
            Self::NotYet => "Is the clock of this server right?".into(),
            Self::Unsigned | Self::Other(_) => {
                "Export it anew from the program that holds the secret key".into()
            }
            Self::Hash(_) => sha1_remedy(&cert.fingerprint().to_hex()).into(),
            Self::NoFlags => {
                "Set its usage (gpg --edit-key, change-usage), and export the certificate anew".into()
            }
        }
    }
}

/// An algorithm that this build does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Algorithm {
    /// Its name, behind a verb: "of the algorithm ElGamal".
    text: String,
    is_post_quantum: bool,
}

impl Algorithm {
    /// Says what this server lacks, if it is that, behind a sentence.
    fn needs(&self) -> String {
        match self.is_post_quantum {
            true => format!(": {}", post_quantum::needs()),
            false => String::new(),
        }
    }
}

const ADD_SUBKEY: &str = "Add an encryption subkey of Curve25519 or RSA, and export the certificate anew";

/// Says how self-signatures with SHA-1 are renewed.
pub fn sha1_remedy(fingerprint: &str) -> String {
    format!(
        "Renew them with current software (gpg --quick-set-expire {fingerprint} 0 for the primary key, \
         gpg --quick-set-expire {fingerprint} 0 '*' for the subkeys), and export it anew"
    )
}

/// Returns true if a key is revoked. Revocations with SHA-1 count, too.
pub fn is_revoked(key: &ErasedKeyAmalgamation<'_, key::PublicParts>, rules: &Rules) -> bool {
    let valid = key.clone().with_policy(&rules.with_sha1, rules.now);
    valid.is_ok_and(|valid| matches!(valid.revocation_status(), RevocationStatus::Revoked(_)))
}

fn policy(rules: &Rules, sha1: Sha1) -> &StandardPolicy<'static> {
    match sha1 {
        Sha1::Accepted => &rules.with_sha1,
        Sha1::Refused => &rules.strict,
    }
}

/// Says why no subkey of a certificate can be used, of those that are wanted.
pub fn refusal(cert: &Cert, rules: &Rules, sha1: Sha1, wanted: Subkeys) -> Error {
    let policy = policy(rules, sha1);
    if let Err(why) = cert.with_policy(policy, rules.now) {
        return not_accepted(cert, rules, policy, &why);
    }
    let mut causes: Vec<(Cause, Vec<String>)> = Vec::new();
    for (cause, id) in subkey_causes(cert, rules, policy, wanted) {
        match causes.iter_mut().find(|(known, _)| *known == cause) {
            Some((_, ids)) => ids.extend(id),
            None => causes.push((cause, id.into_iter().collect())),
        }
    }
    let Some((first, _)) = causes.first() else {
        return unusable(cert, "cannot be encrypted to: it has no encryption subkey")
            .helps("Add one, and export the certificate anew");
    };
    let reasons = causes.iter().map(|(cause, ids)| about_subkeys(ids, cause));
    let text = format!("cannot be encrypted to: {}", reasons.collect::<Vec<_>>().join("; "));
    unusable(cert, &text).helps(first.remedy(cert, wanted))
}

fn about_subkeys(ids: &[String], cause: &Cause) -> String {
    match ids {
        [] => format!("a subkey {}", cause.text()),
        ids => format!("subkey {} {}", ids.join(", "), cause.text()),
    }
}

/// Returns the reasons why wanted subkeys do not count, and the IDs of those that have one.
fn subkey_causes<'a>(
    cert: &'a Cert,
    rules: &'a Rules,
    policy: &'a StandardPolicy<'static>,
    wanted: Subkeys,
) -> impl Iterator<Item = (Cause, Option<String>)> + 'a {
    let subkeys = cert.keys().subkeys();
    let of_openpgp = subkeys.filter(move |subkey| is_wanted(wanted, subkey.key().pk_algo()));
    let of_openpgp = of_openpgp.filter_map(|subkey| {
        let id = subkey.key().keyid().to_hex();
        Some((cause(&subkey.into(), rules, policy)?, Some(id)))
    });
    let of_librepgp = post_quantum::librepgp_subkeys(cert).map(|is_kyber| (Cause::LibrePgp(is_kyber), None));
    of_openpgp.chain(of_librepgp)
}

/// Returns true if a certificate has a post-quantum subkey, whether this build can use it or not. One that is revoked or not
/// signed by the primary key counts for nothing, and an additional decryption subkey is not the owner's.
pub fn has_post_quantum(cert: &Cert, rules: &Rules) -> bool {
    let counts = |subkey: &ErasedKeyAmalgamation<'_, key::PublicParts>| {
        post_quantum::encrypts(subkey.key().pk_algo())
            && subkey.self_signatures().next().is_some()
            && !matches!(
                cause(subkey, rules, &rules.with_sha1),
                Some(Cause::Revoked | Cause::Unsigned | Cause::Adsk)
            )
    };
    cert.keys().subkeys().any(|subkey| counts(&subkey.into()))
        || post_quantum::librepgp_subkeys(cert).any(|is_kyber| is_kyber)
}

/// Says why post-quantum subkeys are left out, behind "certificate ...": this build has none of their algorithms, or they are
/// in GnuPG's own format.
pub fn left_out(cert: &Cert, rules: &Rules, sha1: Sha1) -> Option<String> {
    let mut causes = subkey_causes(cert, rules, policy(rules, sha1), Subkeys::PostQuantum)
        .filter(|(cause, _)| matches!(cause, Cause::Unsupported(_) | Cause::LibrePgp(true)));
    let (cause, id) = causes.next()?;
    let subkey = about_subkeys(id.as_slice(), &cause);
    Some(format!("has a post-quantum subkey that is not used: {subkey}"))
}

/// Says why a certificate is not accepted as a whole.
fn not_accepted(
    cert: &Cert,
    rules: &Rules,
    policy: &StandardPolicy<'static>,
    why: &openpgp::anyhow::Error,
) -> Error {
    let primary = cert.primary_key();
    let signatures: Vec<&Signature> = primary
        .self_signatures()
        .chain(cert.userids().flat_map(|u| u.self_signatures().collect::<Vec<_>>()))
        .collect();
    if !is_supported(primary.key()) {
        let algorithm = algorithm(primary.key());
        let (text, needs) = (&algorithm.text, algorithm.needs());
        let text = format!("has a primary key {text}, which this build cannot check{needs}");
        return unusable(cert, &text).helps(match algorithm.is_post_quantum {
            true => "A certificate with a primary key of Curve25519 or RSA would do, too",
            false => "Make a new key, and export its certificate",
        });
    }
    if signatures.is_empty() && cert.userids().count() == 0 {
        let text = "has no User ID and no self-signature on its primary key, as keys.openpgp.org hands out a key whose \
            address is not confirmed";
        return unusable(cert, text).helps("Export it from the program that holds the secret key");
    }
    if primary.key().creation_time() > rules.now {
        return unusable(cert, "is not valid yet").helps(Cause::NotYet.remedy(cert, Subkeys::All));
    }
    let cause = signature_cause(signatures.into_iter(), rules, policy)
        .unwrap_or_else(|| weak_or_other(primary.key(), why));
    match &cause {
        Cause::NotYet => unusable(cert, "is not valid yet"),
        Cause::TooWeak(what) => unusable(cert, &format!("has a primary key that is too weak ({what})")),
        cause => unusable(cert, &format!("cannot be used: it {}", cause.text())),
    }
    .helps(cause.remedy(cert, Subkeys::All))
}

/// Says why a key was left out. Returns `None` if it is not meant for encryption, or could be used.
pub fn key(key: &ErasedKeyAmalgamation<'_, key::PublicParts>, rules: &Rules, sha1: Sha1) -> Option<String> {
    let cause = cause(key, rules, policy(rules, sha1))?;
    Some(format!("it {}", cause.text()))
}

/// Says why a key was left out although it could be used: it is not wanted, or there is one that is signed better.
pub fn is_passed_over(
    key: &ErasedKeyAmalgamation<'_, key::PublicParts>,
    rules: &Rules,
    wanted: Subkeys,
) -> Option<String> {
    let algorithm = key.key().pk_algo();
    if algorithm.for_encryption() && !key.primary() && !is_wanted(wanted, algorithm) {
        return Some("only post-quantum ones are wanted".into());
    }
    cause(key, rules, &rules.strict).map(|_| "it counts only with SHA-1, and another one without".into())
}

fn cause(
    key: &ErasedKeyAmalgamation<'_, key::PublicParts>,
    rules: &Rules,
    policy: &StandardPolicy<'static>,
) -> Option<Cause> {
    if !key.key().pk_algo().for_encryption() {
        return None;
    }
    // What is meant for something else needs no reason, whatever else is wrong with it.
    let mut flags = key.self_signatures().filter_map(|signature| signature.key_flags()).peekable();
    let is_other = |flags: KeyFlags| !is_for_encryption(&flags) && !flags.get(ADSK);
    if flags.peek().is_some() && flags.all(is_other) {
        return None;
    }
    if is_revoked(key, rules) {
        return Some(Cause::Revoked);
    }
    if !is_supported(key.key()) {
        return Some(Cause::Unsupported(algorithm(key.key())));
    }
    if key.key().creation_time() > rules.now {
        return Some(Cause::NotYet);
    }
    let valid = match key.clone().with_policy(policy, rules.now) {
        Ok(valid) => valid,
        // That is said of the certificate as a whole.
        Err(_) if key.primary() => return None,
        Err(why) => {
            let cause = signature_cause(key.self_signatures(), rules, policy);
            return Some(cause.unwrap_or_else(|| weak_or_other(key.key(), &why)));
        }
    };
    // sequoia would go on with those of the primary key.
    match valid.binding_signature().key_flags() {
        _ if valid.for_transport_encryption() || valid.for_storage_encryption() => {}
        Some(flags) if flags.get(ADSK) => return Some(Cause::Adsk),
        // A primary key does not say it either, and is not meant for encryption.
        None if !key.primary() => return Some(Cause::NoFlags),
        _ => return None,
    }
    valid.key_expiration_time().filter(|end| *end <= rules.now).map(|_| Cause::Expired)
}

fn is_for_encryption(flags: &KeyFlags) -> bool {
    flags.for_transport_encryption() || flags.for_storage_encryption()
}

/// Says why none of the self-signatures counts; `None` if the reason is another.
fn signature_cause<'a>(
    signatures: impl Iterator<Item = &'a Signature>,
    rules: &Rules,
    policy: &StandardPolicy<'static>,
) -> Option<Cause> {
    let all: Vec<&Signature> = signatures.collect();
    let is_late =
        |signature: &&Signature| signature.signature_creation_time().is_some_and(|time| time > rules.now);
    if all.is_empty() {
        return Some(Cause::Unsigned);
    }
    if all.iter().all(is_late) {
        return Some(Cause::NotYet);
    }
    let security = openpgp::policy::HashAlgoSecurity::SecondPreImageResistance;
    let is_old = |hash| policy.hash_cutoff(hash, security).is_some_and(|end| end <= rules.now);
    let hashes: Vec<HashAlgorithm> = all.iter().map(|signature| signature.hash_algo()).collect();
    hashes.iter().all(|hash| is_old(*hash)).then(|| hashes.first().copied().map(Cause::Hash)).flatten()
}

fn weak_or_other<R: key::KeyRole>(key: &Key<key::PublicParts, R>, why: &openpgp::anyhow::Error) -> Cause {
    let bits = match key.mpis() {
        mpi::PublicKey::RSA { n, .. } => Some(n.bits()),
        mpi::PublicKey::DSA { p, .. } | mpi::PublicKey::ElGamal { p, .. } => Some(p.bits()),
        _ => None,
    };
    match bits {
        Some(bits) if bits < 2048 => Cause::TooWeak(format!("{}, {bits} bits", key.pk_algo())),
        _ => Cause::Other(printable(why.root_cause().to_string())),
    }
}

fn is_supported<R: key::KeyRole>(key: &Key<key::PublicParts, R>) -> bool {
    key.pk_algo().is_supported() && curve(key).is_none_or(Curve::is_supported)
}

fn curve<R: key::KeyRole>(key: &Key<key::PublicParts, R>) -> Option<&Curve> {
    match key.mpis() {
        mpi::PublicKey::ECDH { curve, .. }
        | mpi::PublicKey::ECDSA { curve, .. }
        | mpi::PublicKey::EdDSA { curve, .. } => Some(curve),
        _ => None,
    }
}

#[allow(deprecated)] // because of ElGamal
fn algorithm<R: key::KeyRole>(key: &Key<key::PublicParts, R>) -> Algorithm {
    use PublicKeyAlgorithm as A;
    let is_post_quantum = post_quantum::encrypts(key.pk_algo()) || post_quantum::signs(key.pk_algo());
    let text = match curve(key) {
        Some(Curve::Unknown(oid)) if oid[..] == SECP256K1 => "on the curve secp256k1".into(),
        Some(curve) => format!("on the curve {}", printable(curve.to_string())),
        None if key.pk_algo() == A::ElGamalEncrypt => "of the algorithm ElGamal".into(),
        None => format!("of the algorithm {}", key.pk_algo()),
    };
    Algorithm { text, is_post_quantum }
}

/// Says why a User ID does not count, behind "its User ID"; `None` if it does.
pub fn user_id(user_id: &UserIDAmalgamation<'_>, rules: &Rules, sha1: Sha1) -> Option<String> {
    if matches!(user_id.revocation_status(&rules.with_sha1, rules.now), RevocationStatus::Revoked(_)) {
        return Some("is revoked".into());
    }
    let policy = policy(rules, sha1);
    let why = user_id.clone().with_policy(policy, rules.now).err()?;
    let other = || Cause::Other(printable(why.root_cause().to_string()));
    Some(signature_cause(user_id.self_signatures(), rules, policy).unwrap_or_else(other).text())
}
