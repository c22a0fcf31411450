//! Tells if a message is encrypted already.
//!
//! Labels do not decide, the ciphertext does. All of the content has to be encrypted: every leaf part is an
//! OpenPGP message (RFC 9580, section 10.3), a CMS enveloped-data (RFC 5652, section 6), the control part of
//! RFC 3156, section 4, or blank. A message with anything odd counts as not encrypted: that mistake costs a
//! second layer of encryption, the opposite one leaves plaintext on disk.

mod armored;
mod cms;
mod content_type;
mod fields;
mod html;
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

/// The facts that one look at a message yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// True if all of the content is encrypted.
    pub encrypted: bool,
    /// True if the header has a Content-Type.
    pub has_content_type: bool,
    /// True if the header has a Content-Transfer-Encoding.
    pub has_transfer_encoding: bool,
    /// True if the message is signed or encrypted as a whole. Mail programs verify or decrypt that only where
    /// no other part is around it.
    pub must_be_outermost: bool,
    /// True if the header has bare CRs and does not end: all lines of the message end in CR, as on old Macs. Programs that
    /// know line ends by their LF see one header field.
    pub has_cr_lines: bool,
}

/// Inspects a message from its first byte, and reads no further than it has to.
///
/// # Errors
///
/// Fails if the message cannot be read, or if it is too large.
pub fn inspect(message: &mut dyn Original) -> Result<Inspection, Unreadable> {
    let mut header = Header::open(message)?;
    let mut fields = Fields::default();
    let mut has_bare_cr = false;
    while let Some((field, piece)) = header.next_piece()? {
        has_bare_cr |= piece.bare_cr().is_some();
        fields.piece(field, &piece);
    }
    let has_cr_lines = has_bare_cr && !header.ends_with_empty_line();
    let encrypted = header.ends_with_empty_line() && is_encrypted(header, &fields)?;
    Ok(Inspection {
        encrypted,
        has_content_type: fields.content_type.is_some(),
        has_transfer_encoding: fields.transfer_encoding.is_some(),
        must_be_outermost: fields.content_type.as_deref().is_some_and(is_cryptographic),
        has_cr_lines,
    })
}

/// Returns true if the body after `header` is encrypted. `fields` are those of the header.
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
