//! Writes the outer header, and the payload, which is the whole original.

use std::io::Write;

use super::crlf::CrlfWriter;
use super::header::Header;
use super::original::Original;
use super::outer::copy_fields;
use crate::envelope::{Addressee, Envelope};
use crate::error::Result;
use crate::sink::Sink;

/// The field that marks a message as encrypted at delivery.
pub const MARKER: &str = "Encrypted-On-Delivery";

/// Writes the outer header with the empty line that ends it. If `hide_subject` is set, fields that tell the
/// subject are left out or replaced.
///
/// # Errors
///
/// Fails if the message cannot be read, if its header is too large, or if the result cannot be written.
pub fn write_header(
    message: &mut dyn Original,
    envelope: &impl Envelope,
    hide_subject: bool,
    out: &mut dyn Write,
) -> Result<()> {
    copy_fields(message, hide_subject, out)?;
    out.put(marker(envelope.format(), &envelope.addressees()).as_bytes())?;
    out.put(envelope.content_fields().as_bytes())?;
    Ok(out.put(b"\r\n")?)
}

/// The name and the version, in one piece: `perot-encrypt doctor` looks for it in the plugin, where nothing separates it from
/// what stands behind it but the quotation mark.
const AGENT: &str = concat!("agent=\"vnd.perot.encrypt/", env!("CARGO_PKG_VERSION"), "\"");

/// Builds the marker field. It is folded, because 32 recipients do not fit in the 998 bytes of a line (RFC
/// 5322, section 2.1.1).
fn marker(format: &str, addressees: &[Addressee<'_>]) -> String {
    let list = |of: &mut dyn Iterator<Item = &Addressee<'_>>| {
        of.map(|a| a.fingerprint).collect::<Vec<_>>().join(",\r\n ")
    };
    let to = list(&mut addressees.iter());
    let mut field = format!("{MARKER}: {format}; {AGENT};\r\n to={to}");
    let expired = list(&mut addressees.iter().filter(|a| a.expired));
    if !expired.is_empty() {
        field = format!("{field};\r\n expired={expired}");
    }
    field + "\r\n"
}

/// Writes the payload: `missing_fields`, then the whole original. Three things are changed: an LF without CR
/// gets one, a `From ` line of mbox before the header is left out, and an empty line ends the header if none
/// did. Returns the size of the original in bytes.
///
/// # Errors
///
/// Fails if the message cannot be read, or if the result cannot be written.
pub fn write_payload(message: &mut dyn Original, missing_fields: &str, out: &mut dyn Write) -> Result<u64> {
    out.put(missing_fields.as_bytes())?;
    let mut header = Header::open(message)?;
    let mut out = CrlfWriter::new(out);
    while let Some((_, piece)) = header.next_piece()? {
        out.put(piece.bytes)?;
    }
    if !header.last_line_is_whole() {
        out.put(b"\r\n")?;
    }
    out.put(b"\r\n")?;
    let mut body = header.into_rest();
    while let Some(chunk) = body.next_chunk()? {
        out.put(chunk)?;
    }
    out.finish()?;
    Ok(body.position())
}
