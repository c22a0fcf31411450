//! The payload of a message whose subject is hidden: mail programs take the subject from the header of the
//! outermost part that they decrypt, if that part says so ("Protected Headers for Cryptographic E-mail",
//! draft-autocrypt-lamps-protected-headers, section 3).
//!
//! So that part is a `multipart/mixed` with the parameter `protected-headers="v1"`. Its header has the fields
//! of the original that do not describe the body; its only part has those that do, and the body. Never
//! `hp="cipher"`: that is the author's claim to make (RFC 9788, section 2.1).

use std::io::{self, Write};

use super::crlf::CrlfWriter;
use super::header::{self, Field};
use super::lines::Lines;
use super::{assemble::unwritable, unreadable, Source};
use crate::error::Result;

/// The field that stands in the outer header instead of the subject (RFC 9788, section 3.1.1).
pub const HIDDEN_SUBJECT: &str = "Subject: [...]\r\n";

/// Whether a field holds the subject, or a copy or a summary of it: `Thread-Topic` and `X-Original-Subject`
/// for instance; `Comments` and `Keywords` as in RFC 9788, section 3.2.1.
pub fn tells_the_subject(name: &str) -> bool {
    name.contains("subject") || matches!(name, "thread-topic" | "comments" | "keywords")
}

/// Writes the payload, with `missing_fields` among those that describe the body. Returns the size of the
/// original in bytes.
///
/// # Errors
///
/// The message cannot be read, or the result cannot be written.
pub fn write_payload(
    source: &mut dyn Source,
    missing_fields: &str,
    boundary: &str,
    out: &mut dyn Write,
) -> Result<u64> {
    let failed = |e: io::Error| unwritable(&e);
    copy_header(source, false, out)?;
    let between = format!(
        "MIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; protected-headers=\"v1\";\r\n boundary=\"{boundary}\"\r\n\
         \r\n\
         --{boundary}\r\n\
         {missing_fields}"
    );
    out.write_all(between.as_bytes()).map_err(failed)?;
    let mut lines = copy_header(source, true, out)?;
    let mut body = CrlfWriter::new(&mut *out);
    body.write_all(b"\r\n").map_err(failed)?;
    while let Some(chunk) = lines.next_chunk().map_err(unreadable)? {
        body.write_all(chunk).map_err(failed)?;
    }
    body.flush().map_err(failed)?;
    out.write_all(format!("\r\n--{boundary}--\r\n").as_bytes()).map_err(failed)?;
    Ok(lines.position())
}

/// Copies one half of the header: the fields that describe the body, or the others. Returns what follows
/// the header.
fn copy_header<'a>(
    source: &'a mut dyn Source,
    describing_the_body: bool,
    out: &mut dyn Write,
) -> Result<Lines<&'a mut dyn Source>> {
    let failed = |e: io::Error| unwritable(&e);
    source.rewind().map_err(unreadable)?;
    let mut lines = Lines::new(source);
    let mut out = CrlfWriter::new(out);
    lines.skip_mbox_line().map_err(unreadable)?;
    // A line that is no field goes with the body: some programs take it for its beginning.
    let mut wanted = describing_the_body;
    let mut complete = true;
    while let Some(piece) = lines.next_piece().map_err(unreadable)?.filter(|p| !p.is_empty_line()) {
        match header::classify(&piece) {
            Field::Begins(name) => wanted = header::describes_the_body(&name) == describing_the_body,
            Field::Continues => {}
            Field::NotAField => wanted = describing_the_body,
        }
        if wanted {
            out.write_all(piece.bytes).map_err(failed)?;
            complete = piece.bytes.ends_with(b"\n");
        }
    }
    if !complete {
        out.write_all(b"\r\n").map_err(failed)?;
    }
    out.flush().map_err(failed)?;
    Ok(lines)
}
