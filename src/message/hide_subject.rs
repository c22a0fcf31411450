//! Writes the payload of a message whose subject is hidden.
//!
//! Mail programs show the subject of the outermost part that they decrypt, if it has the parameter
//! `protected-headers="v1"` ("Protected Headers for Cryptographic E-mail",
//! draft-autocrypt-lamps-protected-headers, section 3). Here that part is a `multipart/mixed`. Its header has
//! the fields of the original that do not describe the body; its only part has the fields that do, and the
//! body.
//!
//! The parameter `hp="cipher"` of RFC 9788 is not written: with it, the author of a message says that the
//! author has encrypted it (section 2.1).

use std::io::Write;

use super::crlf::CrlfWriter;
use super::header::{self, Field, Header};
use super::original::Original;
use crate::error::Result;
use crate::sink::Sink;

/// Replaces the subject in the outer header (RFC 9788, section 3.1.1).
pub const REPLACEMENT: &str = "Subject: [...]\r\n";

/// Returns true if a field tells the subject, a copy or a summary of it: for instance `Thread-Topic` and
/// `X-Original-Subject`, and also `Comments` and `Keywords` (RFC 9788, section 3.2.1).
pub fn tells_the_subject(name: &str) -> bool {
    name.contains("subject") || matches!(name, "thread-topic" | "comments" | "keywords")
}

/// Writes the payload. `missing_fields` go among the fields that describe the body. Returns the size of the
/// original in bytes.
///
/// # Errors
///
/// Fails if the message cannot be read, or if the result cannot be written.
pub fn write_payload(
    message: &mut dyn Original,
    missing_fields: &str,
    boundary: &str,
    out: &mut dyn Write,
) -> Result<u64> {
    copy_header(message, Half::Others, out)?;
    let between = format!(
        "MIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; protected-headers=\"v1\";\r\n boundary=\"{boundary}\"\r\n\
         \r\n\
         --{boundary}\r\n\
         {missing_fields}"
    );
    out.put(between.as_bytes())?;
    let mut lines = copy_header(message, Half::AboutTheBody, out)?.into_rest();
    let mut body = CrlfWriter::new(&mut *out);
    body.put(b"\r\n")?;
    while let Some(chunk) = lines.next_chunk()? {
        body.put(chunk)?;
    }
    body.finish()?;
    out.put(format!("\r\n--{boundary}--\r\n").as_bytes())?;
    Ok(lines.position())
}

/// The two groups of header fields.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    /// Fields that describe the body. Lines that are not fields are copied with them, because some programs
    /// begin the body at such a line.
    AboutTheBody,
    Others,
}

impl Half {
    fn of(field: &Field) -> Option<Self> {
        match field {
            Field::Begins(name) if !header::describes_the_body(name) => Some(Self::Others),
            Field::Begins(_) | Field::NotAField => Some(Self::AboutTheBody),
            Field::Continues => None,
        }
    }
}

/// Copies one group of fields. Returns the header, at its end.
fn copy_header<'a>(message: &'a mut dyn Original, half: Half, out: &mut dyn Write) -> Result<Header<'a>> {
    let mut header = Header::open(message)?;
    let mut out = CrlfWriter::new(out);
    // A folded line before the first field is not part of a field.
    let mut current = Half::AboutTheBody;
    let mut complete = true;
    while let Some((field, piece)) = header.next_piece()? {
        current = Half::of(&field).unwrap_or(current);
        if current == half {
            out.put(piece.bytes)?;
            complete = piece.bytes.ends_with(b"\n");
        }
    }
    if !complete {
        out.put(b"\r\n")?;
    }
    out.finish()?;
    Ok(header)
}
