//! The OpenPGP message itself, written as it streams by. What goes into it is decided elsewhere.

use sequoia_openpgp as openpgp;

use openpgp::crypto::random;
use openpgp::serialize::stream::{Encryptor, LiteralWriter, Message, Recipient};
use openpgp::types::{AEADAlgorithm, Features, SymmetricAlgorithm};

use std::io::Write;

use crate::armor::ArmorWriter;
use crate::certs::keys::RecipientKeys;
use crate::error::{Error, Reason, Result};
use crate::message::assemble::unwritable;
use crate::seipd;

/// The container that all recipients can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Container {
    /// RFC 9580, section 5.13.1, with version 3 PKESKs: what all software reads.
    Seipd1,
    /// RFC 9580, section 5.13.2, with version 6 PKESKs and OCB.
    Seipd2,
}

/// Writes an armored message to `out`, encrypted to all `recipients`, whose content `payload` writes.
/// AES-256; a binary literal without name and date (RFC 9580, section 5.9); not compressed, not signed.
///
/// # Errors
///
/// Those of `payload`; the recipients read no common format; `out` cannot be written.
pub fn write_message<T>(
    recipients: &[RecipientKeys],
    out: &mut (dyn Write + Send + Sync),
    payload: impl FnOnce(&mut dyn Write) -> Result<T>,
) -> Result<T> {
    let container = container(recipients)?;
    let mut armor = ArmorWriter::new(out);
    let written = match container {
        Container::Seipd1 => seipd::write(recipients, &mut armor, payload)?,
        Container::Seipd2 => write_seipd2(recipients, &mut armor, payload)?,
    };
    armor.finish().map_err(|e| unwritable(&e))?;
    Ok(written)
}

/// A version 2 container is written by sequoia: it is fast there, and its buffers are few.
fn write_seipd2<T>(
    recipients: &[RecipientKeys],
    out: &mut (dyn Write + Send + Sync),
    payload: impl FnOnce(&mut dyn Write) -> Result<T>,
) -> Result<T> {
    let features = Features::empty().set_seipdv2();
    let keys = recipients.iter().flat_map(|r| &r.keys);
    let keys = keys.map(|key| Recipient::new(features.clone(), key.key_handle(), key));
    let encryptor = Encryptor::for_recipients(Message::new(out), keys)
        .symmetric_algo(SymmetricAlgorithm::AES256)
        .aead_algo(AEADAlgorithm::OCB);
    let mut literal = encryptor.build().and_then(|m| LiteralWriter::new(m).build()).map_err(failed)?;
    let written = payload(&mut literal)?;
    literal.finalize().map_err(failed)?;
    Ok(written)
}

fn container(recipients: &[RecipientKeys]) -> Result<Container> {
    if recipients.iter().all(|r| r.reads_seipd2) {
        return Ok(Container::Seipd2);
    }
    match recipients.iter().find(|r| !r.reads_seipd1) {
        None => Ok(Container::Seipd1),
        Some(new) => {
            let text = format!(
                "certificate {} (version 6) reads only the new message format, which the other recipients do not read: \
                 encrypt to it alone, or to version 6 certificates only",
                new.fingerprint
            );
            Err(Error::new(Reason::UnusableCertificate, text))
        }
    }
}

/// Errors of sequoia: of the writer at the bottom, if there is one in the chain.
pub fn failed(error: openpgp::anyhow::Error) -> Error {
    match error.downcast_ref::<std::io::Error>() {
        Some(io) => unwritable(io),
        None => {
            let why = crate::printable::printable(error.to_string());
            Error::new(Reason::CryptoFailed, format!("the crypto library failed: {why}"))
        }
    }
}

/// 128 random bits in hex, for a MIME boundary.
///
/// # Errors
///
/// The system's random number generator failed.
pub fn random_boundary() -> Result<String> {
    let mut bytes = [0; 16];
    random(&mut bytes).map_err(failed)?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}
