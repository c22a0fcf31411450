//! The encrypted form of a message: PGP/MIME (RFC 3156) around the whole original.

use std::io::{self, Write};

use super::charset::{Charset, Detector};
use super::crlf::CrlfWriter;
use super::header::{self, Field};
use super::inspect::Inspection;
use super::lines::Lines;
use super::protect;
use super::{too_large, unreadable, Source, MOST_HEADER_BYTES};
use crate::certs::keys::RecipientKeys;
use crate::error::{Error, Reason, Result};

/// The name of the field that says how a message came to be encrypted.
pub const MARKER: &str = "Encrypted-On-Delivery";

/// Fields of the original that do not go into the outer header: they describe the original body, or
/// vouch for it. [`header::describes_the_body`] names more. All of them are in the payload.
const LEFT_OUT: [&str; 7] = [
    "lines",
    "dkim-signature",
    "domainkey-signature",
    "arc-seal",
    "arc-message-signature",
    "arc-authentication-results",
    "encrypted-on-delivery",
];

/// The error for a message that cannot be written.
pub fn unwritable(error: &io::Error) -> Error {
    let why = crate::printable::printable(error.to_string());
    let text = format!("the encrypted message cannot be written: {why}. Is there room in mail_temp_dir?");
    Error::new(Reason::WriteFailed, text)
}

/// Writes the outer header, from the original's fields to the empty line. A subject that is to be hidden is
/// replaced.
///
/// # Errors
///
/// The message cannot be read, its header is too large, or the result cannot be written.
pub fn write_header(
    source: &mut dyn Source,
    out: &mut dyn Write,
    recipients: &[RecipientKeys],
    boundary: &str,
    hide_subject: bool,
) -> Result<()> {
    copy_fields(source, out, hide_subject)?;
    let own = format!(
        "{}\r\nMIME-Version: 1.0\r\nContent-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\";\r\n \
         boundary=\"{boundary}\"\r\n\r\n",
        marker(recipients)
    );
    out.write_all(own.as_bytes()).map_err(|e| unwritable(&e))
}

fn copy_fields(source: &mut dyn Source, out: &mut dyn Write, hide_subject: bool) -> Result<()> {
    source.rewind().map_err(unreadable)?;
    let mut lines = Lines::new(source);
    let mut out = CrlfWriter::new(out);
    let mut keep = false;
    let mut complete = true;
    let mut replacement = Some(protect::HIDDEN_SUBJECT);
    while let Some(piece) = lines.next_piece().map_err(unreadable)?.filter(|p| !p.is_empty_line()) {
        match header::classify(&piece) {
            Field::Begins(name) if hide_subject && protect::tells_the_subject(&name) => {
                keep = false;
                let replacement = replacement.take_if(|_| name == "subject").unwrap_or_default();
                out.write_all(replacement.as_bytes()).map_err(|e| unwritable(&e))?;
            }
            Field::Begins(name) => keep = !is_left_out(&name),
            Field::Continues => {}
            // Some of the body, for all one knows: an mbox line, a text without an empty line in front.
            Field::NotAField => keep = false,
        }
        if keep {
            let (content, line_end) = piece.split_end();
            // A bare CR ends a line for some programs: what follows may be the body of a message that
            // has no other line ends.
            let bare_cr = memchr::memchr(b'\r', content);
            keep = bare_cr.is_none();
            let line_end = if keep { line_end } else { b"\n" };
            complete = !line_end.is_empty();
            out.write_all(&content[..bare_cr.unwrap_or(content.len())]).map_err(|e| unwritable(&e))?;
            out.write_all(line_end).map_err(|e| unwritable(&e))?;
        }
        if lines.position() > MOST_HEADER_BYTES {
            return Err(too_large("the header of the message", MOST_HEADER_BYTES));
        }
    }
    if !complete {
        out.write_all(b"\n").map_err(|e| unwritable(&e))?;
    }
    out.flush().map_err(|e| unwritable(&e))
}

fn is_left_out(name: &str) -> bool {
    header::describes_the_body(name) || LEFT_OUT.contains(&name)
}

/// The marker field. It is folded, for there may be 32 recipients, and a line has 998 bytes at most.
fn marker(recipients: &[RecipientKeys]) -> String {
    let list = |keys: Vec<&RecipientKeys>| {
        keys.iter().map(|k| k.fingerprint.as_str()).collect::<Vec<_>>().join(",\r\n ")
    };
    let version = env!("CARGO_PKG_VERSION");
    let to = list(recipients.iter().collect());
    let mut field = format!("{MARKER}: pgp-mime; agent=\"vnd.perot.encrypt/{version}\";\r\n to={to}");
    let expired: Vec<_> = recipients.iter().filter(|k| k.expired).collect();
    if !expired.is_empty() {
        field = format!("{field};\r\n expired={}", list(expired));
    }
    field
}

/// What stands between the header and the ciphertext: the control part, and the header of the other.
pub fn body_start(boundary: &str) -> String {
    format!(
        "--{boundary}\r\n\
         Content-Type: application/pgp-encrypted\r\n\
         Content-Description: PGP/MIME version identification\r\n\
         \r\n\
         Version: 1\r\n\
         \r\n\
         --{boundary}\r\n\
         Content-Type: application/octet-stream; name=\"encrypted.asc\"\r\n\
         Content-Description: OpenPGP encrypted message\r\n\
         Content-Disposition: inline; filename=\"encrypted.asc\"\r\n\
         \r\n"
    )
}

/// What stands behind the ciphertext.
pub fn body_end(boundary: &str) -> String {
    format!("\r\n--{boundary}--\r\n")
}

/// The fields that the payload gets in front, if the original lacks them: mail programs take a part
/// without a Content-Type for something to show as it is, header and all.
///
/// # Errors
///
/// The message cannot be read.
pub fn missing_fields(source: &mut dyn Source, inspection: &Inspection) -> Result<String> {
    if inspection.has_content_type {
        return Ok(String::new());
    }
    let charset = charset(source)?;
    let mut fields = format!("Content-Type: text/plain; charset={}\r\n", charset.name());
    if charset != Charset::Ascii && !inspection.has_transfer_encoding {
        fields.push_str("Content-Transfer-Encoding: 8bit\r\n");
    }
    Ok(fields)
}

fn charset(source: &mut dyn Source) -> Result<Charset> {
    source.rewind().map_err(unreadable)?;
    let mut lines = Lines::new(source);
    while lines.next_piece().map_err(unreadable)?.is_some_and(|p| !p.is_empty_line()) {}
    let mut detector = Detector::default();
    while let Some(chunk) = lines.next_chunk().map_err(unreadable)? {
        detector.update(chunk);
    }
    Ok(detector.finish())
}

/// Writes the payload: `missing_fields`, then the whole original, with CR before each LF that lacks
/// one, without a leading mbox line, and with the empty line that ends the header. Returns the size
/// of the original in bytes.
///
/// # Errors
///
/// The message cannot be read, or the result cannot be written.
pub fn write_payload(source: &mut dyn Source, missing_fields: &str, out: &mut dyn Write) -> Result<u64> {
    let failed = |e: io::Error| unwritable(&e);
    source.rewind().map_err(unreadable)?;
    out.write_all(missing_fields.as_bytes()).map_err(failed)?;
    let mut lines = Lines::new(source);
    let mut out = CrlfWriter::new(out);
    lines.skip_mbox_line().map_err(unreadable)?;
    let mut header_ended = false;
    let mut last_line_ended = true;
    while !header_ended {
        let Some(piece) = lines.next_piece().map_err(unreadable)? else { break };
        out.write_all(piece.bytes).map_err(failed)?;
        last_line_ended = piece.bytes.ends_with(b"\n");
        header_ended = piece.is_empty_line();
    }
    if !header_ended {
        out.write_all(if last_line_ended { b"\r\n" } else { b"\r\n\r\n" }).map_err(failed)?;
    }
    while let Some(chunk) = lines.next_chunk().map_err(unreadable)? {
        out.write_all(chunk).map_err(failed)?;
    }
    out.flush().map_err(failed)?;
    Ok(lines.position())
}
