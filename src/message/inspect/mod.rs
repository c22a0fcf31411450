//! Is a message encrypted already?
//!
//! Decided by looking at the ciphertext, never at labels alone, and only if all of the content is
//! encrypted: every leaf part has to be an OpenPGP message (RFC 9580, section 10.3), a CMS
//! enveloped-data (RFC 5652, section 6), the control part of RFC 3156, section 4, or blank. Whatever
//! is odd counts as not encrypted: the worst of that error is a second layer of encryption, the worst
//! of the other one is plaintext on disk.

mod armored;
mod cms;
mod content_type;
mod fields;
mod leaf;
mod packets;
mod plain;
mod transfer;
mod walker;

use super::header::Header;
use super::original::Original;
use crate::error::Unreadable;
use content_type::is_cryptographic;
use fields::Fields;
use plain::Plain;
use walker::Walker;

/// What is known of a message after a look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Whether all of its content is encrypted.
    pub encrypted: bool,
    /// Whether its header has a Content-Type.
    pub has_content_type: bool,
    /// Whether its header has a Content-Transfer-Encoding.
    pub has_transfer_encoding: bool,
    /// Whether it is signed or encrypted in a way that mail programs handle only if no other part is around it.
    pub must_be_outermost: bool,
}

/// Looks at a message, from its first byte and no further than needed.
///
/// # Errors
///
/// The message cannot be read, or is larger than what is handled.
pub fn inspect(message: &mut dyn Original) -> Result<Inspection, Unreadable> {
    let mut header = Header::open(message)?;
    let mut fields = Fields::default();
    while let Some((field, piece)) = header.next_piece()? {
        fields.piece(field, &piece);
    }
    let encrypted = header.ends_with_empty_line() && is_encrypted(header, &fields)?;
    Ok(Inspection {
        encrypted,
        has_content_type: fields.content_type.is_some(),
        has_transfer_encoding: fields.transfer_encoding.is_some(),
        must_be_outermost: fields.content_type.as_deref().is_some_and(is_cryptographic),
    })
}

/// Whether all of the body is, behind a header with these fields.
fn is_encrypted(header: Header<'_>, fields: &Fields) -> Result<bool, Unreadable> {
    let Ok(mut walker) = Walker::new(fields) else { return Ok(false) };
    let mut lines = header.into_rest();
    while let Some(piece) = lines.next_piece()? {
        if let Err(Plain) = walker.piece(&piece) {
            return Ok(false);
        }
    }
    Ok(walker.finish().is_ok())
}
