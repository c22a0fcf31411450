//! What the crypto library says and gives, for all that use it here.

use sequoia_openpgp as openpgp;

use openpgp::crypto::random;

use std::io;

use crate::error::{Error, Reason, Result, Unwritable};
use crate::log::printable;

/// Errors of sequoia: of the writer at the bottom, if there is one in the chain.
pub fn failed(error: openpgp::anyhow::Error) -> Error {
    match error.downcast::<io::Error>() {
        Ok(why) => Unwritable(why).into(),
        Err(why) => {
            let why = printable(why.to_string());
            Error::new(Reason::CryptoFailed, format!("the crypto library failed: {why}"))
        }
    }
}

/// 128 random bits in hex, for a MIME boundary.
///
/// # Errors
///
/// The system's random number generator failed.
pub fn random_hex() -> Result<String> {
    let mut bytes = [0; 16];
    random(&mut bytes).map_err(failed)?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}
