//! Writes the outer header, made from the original's, and the payload, which is the whole original.

use std::io::Write;

use super::crlf::CrlfWriter;
use super::header::{self, Field, Header};
use super::hide_subject;
use super::original::Original;
use crate::envelope::{Addressee, Envelope};
use crate::error::Result;
use crate::sink::Sink;

/// The field that marks a message as encrypted at delivery.
pub const MARKER: &str = "Encrypted-On-Delivery";

/// Fields that are not copied to the outer header, because they describe or sign the original body.
/// [`header::describes_the_body`] has more of them. The payload keeps all fields.
const LEFT_OUT: [&str; 7] = [
    "lines",
    "dkim-signature",
    "domainkey-signature",
    "arc-seal",
    "arc-message-signature",
    "arc-authentication-results",
    "encrypted-on-delivery",
];

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

fn copy_fields(message: &mut dyn Original, hide_subject: bool, out: &mut dyn Write) -> Result<()> {
    let mut header = Header::open(message)?;
    let mut out = CrlfWriter::new(out);
    let mut keep = false;
    let mut complete = true;
    let mut replacement = Some(hide_subject::REPLACEMENT);
    while let Some((field, piece)) = header.next_piece()? {
        match field {
            Field::Begins(name) if hide_subject && hide_subject::tells_the_subject(&name) => {
                keep = false;
                let replacement = replacement.take_if(|_| name == "subject").unwrap_or_default();
                out.put(replacement.as_bytes())?;
            }
            Field::Begins(name) => keep = !is_left_out(&name),
            Field::Continues => {}
            // This line may belong to the body of a message that has no empty line before its body.
            Field::NotAField => keep = false,
        }
        if keep {
            let (content, line_end) = piece.split_end();
            // Some programs end a line at a bare CR. The rest may be the body of a message that has no other
            // line ends.
            let bare_cr = memchr::memchr(b'\r', content);
            keep = bare_cr.is_none();
            let line_end = if keep { line_end } else { b"\n" };
            complete = !line_end.is_empty();
            out.put(&content[..bare_cr.unwrap_or(content.len())])?;
            out.put(line_end)?;
        }
    }
    if !complete {
        out.put(b"\n")?;
    }
    Ok(out.finish()?)
}

fn is_left_out(name: &str) -> bool {
    header::describes_the_body(name) || LEFT_OUT.contains(&name)
}

/// The name and the version, in one piece: `perot-encrypt doctor` looks for it in the plugin.
const AGENT: &str = concat!("vnd.perot.encrypt/", env!("CARGO_PKG_VERSION"));

/// Builds the marker field. It is folded, because 32 recipients do not fit in the 998 bytes of a line (RFC
/// 5322, section 2.1.1).
fn marker(format: &str, addressees: &[Addressee<'_>]) -> String {
    let list = |of: &mut dyn Iterator<Item = &Addressee<'_>>| {
        of.map(|a| a.fingerprint).collect::<Vec<_>>().join(",\r\n ")
    };
    let to = list(&mut addressees.iter());
    let mut field = format!("{MARKER}: {format}; agent=\"{AGENT}\";\r\n to={to}");
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
