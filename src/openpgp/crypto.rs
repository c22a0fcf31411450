//! Errors and random numbers from sequoia, the crypto library.

use sequoia_openpgp as openpgp;

use openpgp::crypto::random;

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

/// Returns 128 random bits in hex, for a MIME boundary that does not occur in the body.
///
/// # Errors
///
/// Fails if the random number generator of the system does.
pub fn random_hex() -> Result<String> {
    let mut bytes = [0; 16];
    random(&mut bytes).map_err(failed)?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}
