//! Writes the payload of a message whose subject is hidden.
//!
//! Mail programs show the subject of the outermost part that they decrypt, if it has the parameter
//! `protected-headers="v1"` ("Protected Headers for Cryptographic E-mail",
//! draft-autocrypt-lamps-protected-headers, section 3). Here that part is a `multipart/mixed`. Its header has
//! the fields of the original that do not describe the body; its only part has the fields that do, and the
//! body. A line that is no field is where the body begins for many programs, so everything from there on is in the
//! part. In a message whose lines all end in CR, many programs see no body: that is shown as a text.
//!
//! The parameter `hp="cipher"` of RFC 9788 is not written: with it, the author of a message says that the
//! author has encrypted it (section 2.1).

use std::io::Write;

use super::crlf::CrlfWriter;
use super::header::{self, Field, Header};
use super::inspect::Inspection;
use super::original::Original;
use crate::error::Result;
use crate::sink::Sink;

/// Replaces the subject in the outer header (RFC 9788, section 3.1.1).
pub const REPLACEMENT: &str = "Subject: [...]\r\n";

/// Returns true if a field tells the subject, a copy or a summary of it: for instance `Thread-Topic`,
/// `X-Original-Subject` and `X-ASG-Orig-Subj`, and also `Comments` and `Keywords` (RFC 9788, section 3.2.1).
pub fn tells_the_subject(name: &str) -> bool {
    name.contains("subj") || matches!(name, "thread-topic" | "comments" | "keywords")
}

/// Longest field with message IDs that is looked at, in bytes. What is beyond is left out.
pub const LONGEST_IDS: usize = 64 << 10;

/// Returns true if a field has message IDs, and may have phrases, too (RFC 5322, section 4.5.4): the subject, for instance.
pub fn has_ids(name: &str) -> bool {
    matches!(name, "in-reply-to" | "references")
}

/// Returns the field as it is if it has nothing but message IDs, else one that has the IDs only, or nothing if there
/// are none.
pub fn only_ids(field: &[u8]) -> Vec<u8> {
    let colon = memchr::memchr(b':', field).map_or(field.len(), |n| n + 1);
    let (name, value) = field.split_at(colon);
    let mut ids = Vec::new();
    let mut is_pure = with_whole_line_ends(value);
    for text in value.split_inclusive(|&b| b == b'>') {
        let (before, id) = text.split_at(memchr::memrchr(b'<', text).unwrap_or(text.len()));
        ids.extend(Some(id).filter(|id| is_id(id)));
        is_pure &= before.iter().all(u8::is_ascii_whitespace) && (id.is_empty() || is_id(id));
    }
    match ids.as_slice() {
        _ if is_pure => field.to_vec(),
        [] => Vec::new(),
        ids => [name, b" ", &ids.join(&b"\r\n "[..]), b"\r\n"].concat(),
    }
}

fn is_id(text: &[u8]) -> bool {
    let inner = text.strip_prefix(b"<").and_then(|t| t.strip_suffix(b">"));
    inner.is_some_and(|inner| inner.contains(&b'@') && inner.iter().all(u8::is_ascii_graphic))
}

/// Returns true if each CR is part of a line end.
fn with_whole_line_ends(text: &[u8]) -> bool {
    memchr::memchr_iter(b'\r', text).all(|cr| text.get(cr + 1) == Some(&b'\n'))
}

/// Writes the payload. `missing_fields` go among the fields that describe the body. Returns the size of the
/// original in bytes.
///
/// # Errors
///
/// Fails if the message cannot be read, or if the result cannot be written.
pub fn write_payload(
    message: &mut dyn Original,
    inspection: &Inspection,
    missing_fields: &str,
    boundary: &str,
    out: &mut dyn Write,
) -> Result<u64> {
    if !inspection.has_cr_lines {
        copy_header(message, Half::Others, out)?;
    }
    let between = format!(
        "MIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; protected-headers=\"v1\";\r\n boundary=\"{boundary}\"\r\n\
         \r\n\
         --{boundary}\r\n\
         {missing_fields}"
    );
    out.put(between.as_bytes())?;
    let mut lines = if inspection.has_cr_lines {
        Header::open(message)?.into_rest()
    } else {
        copy_header(message, Half::AboutTheBody, out)?.into_rest()
    };
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
    /// Fields that describe the body, and everything from the first line on that is no field.
    AboutTheBody,
    Others,
}

/// Copies one group of fields. Returns the header, at its end.
fn copy_header<'a>(message: &'a mut dyn Original, half: Half, out: &mut dyn Write) -> Result<Header<'a>> {
    let mut header = Header::open(message)?;
    let mut out = CrlfWriter::new(out);
    let mut current = None;
    let mut in_fields = true;
    let mut complete = true;
    while let Some((field, piece)) = header.next_piece()? {
        in_fields &= field != Field::NotAField;
        current = match &field {
            _ if !in_fields => Some(Half::AboutTheBody),
            Field::Begins(name) if header::describes_the_body(name) => Some(Half::AboutTheBody),
            Field::Begins(_) => Some(Half::Others),
            Field::MboxLine => None,
            Field::Continues | Field::NotAField => current,
        };
        if current == Some(half) {
            match field {
                Field::Begins(name) if in_fields => {
                    for half in header::without_space(&name, &piece) {
                        out.put(half.bytes)?;
                    }
                }
                _ => out.put(piece.bytes)?,
            }
            complete = piece.bytes.ends_with(b"\n");
        }
    }
    if !complete {
        out.put(b"\r\n")?;
    }
    out.finish()?;
    Ok(header)
}
