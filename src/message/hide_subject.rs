//! The payload of a message whose subject is hidden: mail programs take the subject from the header of the
//! outermost part that they decrypt, if that part says so ("Protected Headers for Cryptographic E-mail",
//! draft-autocrypt-lamps-protected-headers, section 3).
//!
//! So that part is a `multipart/mixed` with the parameter `protected-headers="v1"`. Its header has the fields
//! of the original that do not describe the body; its only part has those that do, and the body. Never
//! `hp="cipher"`: that is the author's claim to make (RFC 9788, section 2.1).

use std::io::Write;

use super::crlf::CrlfWriter;
use super::header::{self, Field, Header};
use super::original::Original;
use crate::error::Result;
use crate::sink::Sink;

/// The field that stands in the outer header instead of the subject (RFC 9788, section 3.1.1).
pub const REPLACEMENT: &str = "Subject: [...]\r\n";

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

/// Which fields of the header.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    /// Those that describe the body. A line that is no field goes with them: some programs take it for the beginning of
    /// the body.
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

/// Copies one half of the header. Returns the header, which has ended.
fn copy_header<'a>(message: &'a mut dyn Original, half: Half, out: &mut dyn Write) -> Result<Header<'a>> {
    let mut header = Header::open(message)?;
    let mut out = CrlfWriter::new(out);
    // What goes on without having begun is no field.
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
