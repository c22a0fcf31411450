//! Supplies the fields about the body that a message lacks.

use super::charset::{Charset, Detector};
use super::header::{Field, Header};
use super::inspect::Inspection;
use super::original::Original;
use crate::error::Unreadable;

/// Returns the fields that are written before the original, each with its line end. Without a Content-Type,
/// mail programs show the decrypted part as it is, with its header as text.
///
/// # Errors
///
/// Fails if the message cannot be read.
pub fn missing_fields(message: &mut dyn Original, inspection: &Inspection) -> Result<String, Unreadable> {
    if inspection.has_content_type {
        return Ok(String::new());
    }
    let charset = charset(message, inspection)?;
    let mut fields = format!("Content-Type: text/plain; charset={}\r\n", charset.name());
    if charset != Charset::Ascii && !inspection.has_transfer_encoding {
        fields.push_str("Content-Transfer-Encoding: 8bit\r\n");
    }
    Ok(fields)
}

/// Tells the character set of the body, with what many programs take for its beginning.
fn charset(message: &mut dyn Original, inspection: &Inspection) -> Result<Charset, Unreadable> {
    let mut header = Header::open(message)?;
    let mut detector = Detector::default();
    let mut in_fields = !inspection.has_cr_lines;
    while let Some((field, piece)) = header.next_piece()? {
        in_fields &= field != Field::NotAField;
        if !in_fields {
            detector.update(piece.bytes);
        }
    }
    let mut body = header.into_rest();
    while let Some(chunk) = body.next_chunk()? {
        detector.update(chunk);
    }
    Ok(detector.finish())
}
