//! Errors and random numbers from sequoia, and what is known of the crypto library below it.

use sequoia_openpgp as openpgp;

use openpgp::crypto::{backend, random};
use openpgp::types::PublicKeyAlgorithm;

use std::io;

use crate::error::{Error, Reason, Result, Unwritable};
use crate::log::printable;

/// Converts an error of sequoia. If the writer below sequoia failed, its error is in the chain, and that one
/// is reported.
pub fn failed(error: openpgp::anyhow::Error) -> Error {
    match error.downcast::<io::Error>() {
        Ok(why) => Unwritable(why).into(),
        Err(why) => {
            let why = printable(why.to_string());
            Error::new(Reason::CryptoFailed, format!("the crypto library failed: {why}"))
        }
    }
}

/// Names the crypto library. It is the one with which this was built.
pub fn library() -> String {
    printable(backend())
}

/// Returns true if the crypto library has post-quantum algorithms (RFC 9980).
pub fn has_post_quantum() -> bool {
    PublicKeyAlgorithm::MLKEM768_X25519.is_supported()
}

/// Names the crypto library, and says whether it has post-quantum algorithms.
pub fn library_in_words() -> String {
    let with = if has_post_quantum() { "with" } else { "without" };
    format!("{}, {with} post-quantum algorithms", library())
}

/// Returns 128 random bits in hex, for a MIME boundary that does not occur in the body.
///
/// # Errors
///
/// Fails if the random number generator of the system does.
pub fn random_hex() -> Result<String> {
    let mut bytes = [0; 16];
    random(&mut bytes).map_err(failed)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}
