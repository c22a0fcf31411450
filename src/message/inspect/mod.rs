//! Is a message encrypted already?
//!
//! Decided by looking at the ciphertext, never at labels alone, and only if all of the content is
//! encrypted: every leaf part has to be an OpenPGP message (RFC 9580, section 10.3), a CMS
//! enveloped-data (RFC 5652, section 6), the control part of RFC 3156, section 4, or blank. Whatever
//! is odd counts as not encrypted: the worst of that error is a second layer of encryption, the worst
//! of the other one is plaintext on disk.

mod armor;
mod cms;
mod leaf;
mod openpgp;
mod transfer;

use mail_parser::parsers::MessageStream;
use mail_parser::HeaderValue;

use super::header::{self, Field};
use super::lines::{Lines, Piece};
use super::{too_large, unreadable, Source, MOST_HEADER_BYTES};
use crate::error::Result;
use leaf::{Content, Leaf};

/// Longest Content-Type and similar field of a part, in bytes. A longer one is not understood.
const MOST_FIELD: usize = 16 << 10;
/// Largest preamble, in bytes: "This is an OpenPGP/MIME encrypted message (RFC 4880 and 3156)".
const MOST_PREAMBLE: usize = 256;
/// Deepest nesting of multiparts.
const MOST_DEPTH: usize = 16;

/// Something in the message is not encrypted, or is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plain;

/// What is known of a message after a look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Whether all of its content is encrypted.
    pub encrypted: bool,
    /// Whether its header has a Content-Type.
    pub has_content_type: bool,
    /// Whether its header has a Content-Transfer-Encoding.
    pub has_transfer_encoding: bool,
}

/// Looks at a message, from its first byte and no further than needed.
///
/// # Errors
///
/// The message cannot be read, or is larger than what is handled.
pub fn inspect(source: &mut dyn Source) -> Result<Inspection> {
    source.rewind().map_err(unreadable)?;
    let mut lines = Lines::new(source);
    let mut walker = Walker::default();
    let mut header_bytes = 0;
    let mut first = true;
    loop {
        let piece = lines.next_piece().map_err(unreadable)?;
        let Some(piece) = piece else { break };
        if std::mem::take(&mut first) && header::is_mbox_from(&piece) {
            continue;
        }
        if walker.in_message_header {
            header_bytes += piece.bytes.len() as u64;
            if header_bytes > MOST_HEADER_BYTES {
                return Err(too_large("the header of the message", MOST_HEADER_BYTES));
            }
        }
        if walker.piece(&piece).is_err() {
            return Ok(walker.inspection(false));
        }
    }
    let encrypted = walker.end().is_ok();
    Ok(walker.inspection(encrypted))
}

/// Where in the MIME structure (RFC 2045, RFC 2046) the next line falls.
struct Walker {
    /// The multiparts around the current place, the outermost first.
    around: Vec<Multipart>,
    place: Place,
    in_message_header: bool,
    message_fields: Fields,
    /// How many encrypted leaves there were.
    encrypted_leaves: usize,
    /// The line end of the line before: it belongs to a boundary that follows (RFC 2046, section 5.1.1).
    held_line_end: Vec<u8>,
}

enum Place {
    Header(Fields),
    Leaf(Box<Leaf>),
    /// In front of a multipart's first boundary; how many bytes so far.
    Preamble(usize),
    /// Behind a multipart's last boundary.
    Epilogue,
}

struct Multipart {
    boundary: Vec<u8>,
    /// `multipart/encrypted`, which has exactly a control part and an encrypted part.
    is_encrypted: bool,
    parts: usize,
}

/// The fields of a header that say what a body is.
#[derive(Default)]
struct Fields {
    content_type: Option<Vec<u8>>,
    transfer_encoding: Option<Vec<u8>>,
    /// The field that a folded line goes on with.
    current: Current,
    /// A field of these stands there twice, or is too long: not understood.
    odd: bool,
}

#[derive(Clone, Copy, Default)]
enum Current {
    #[default]
    Other,
    ContentType,
    TransferEncoding,
}

impl Default for Walker {
    fn default() -> Self {
        Self {
            around: Vec::new(),
            place: Place::Header(Fields::default()),
            in_message_header: true,
            message_fields: Fields::default(),
            encrypted_leaves: 0,
            held_line_end: Vec::new(),
        }
    }
}

impl Walker {
    fn inspection(&self, encrypted: bool) -> Inspection {
        let fields = match &self.place {
            // The header has not ended.
            Place::Header(fields) if self.in_message_header => fields,
            _ => &self.message_fields,
        };
        Inspection {
            encrypted,
            has_content_type: fields.content_type.is_some(),
            has_transfer_encoding: fields.transfer_encoding.is_some(),
        }
    }

    fn piece(&mut self, piece: &Piece<'_>) -> std::result::Result<(), Plain> {
        if !self.in_message_header && piece.begins {
            if let Some((depth, closes)) = self.boundary(piece)? {
                return self.at_boundary(depth, closes);
            }
        }
        let (content, line_end) = piece.split_end();
        match &mut self.place {
            Place::Header(fields) => {
                if piece.is_empty_line() {
                    return self.end_of_header();
                }
                fields.piece(piece);
            }
            Place::Leaf(leaf) => {
                leaf.feed(&self.held_line_end)?;
                leaf.feed(content)?;
                self.held_line_end.clear();
                self.held_line_end.extend_from_slice(line_end);
            }
            Place::Preamble(size) => {
                *size += piece.bytes.len();
                if *size > MOST_PREAMBLE {
                    return Err(Plain);
                }
            }
            Place::Epilogue => {
                if !piece.bytes.trim_ascii().is_empty() {
                    return Err(Plain);
                }
            }
        }
        Ok(())
    }

    /// Which multipart's boundary a line is, and whether it is the last one of that multipart.
    fn boundary(&self, piece: &Piece<'_>) -> std::result::Result<Option<(usize, bool)>, Plain> {
        let Some(line) = piece.bytes.strip_prefix(b"--") else { return Ok(None) };
        for (depth, multipart) in self.around.iter().enumerate() {
            let Some(rest) = line.strip_prefix(multipart.boundary.as_slice()) else { continue };
            return match (rest.trim_ascii(), rest.strip_prefix(b"--").map(<[u8]>::trim_ascii)) {
                (b"", _) => Ok(Some((depth, false))),
                (_, Some(b"")) => Ok(Some((depth, true))),
                // Some programs take this for the boundary, others do not.
                _ => Err(Plain),
            };
        }
        Ok(None)
    }

    fn at_boundary(&mut self, depth: usize, closes: bool) -> std::result::Result<(), Plain> {
        // The multiparts inside this one must have ended.
        if self.around.len() != depth + 1 {
            return Err(Plain);
        }
        match std::mem::replace(&mut self.place, Place::Epilogue) {
            Place::Leaf(leaf) => self.end_of_leaf(*leaf)?,
            Place::Preamble(_) | Place::Epilogue => {}
            // A part without an empty line: its header would be its content for some.
            Place::Header(_) => return Err(Plain),
        }
        self.held_line_end.clear();
        let multipart = self.around.last_mut().ok_or(Plain)?;
        if !closes {
            multipart.parts += 1;
            if multipart.is_encrypted && multipart.parts > 2 {
                return Err(Plain);
            }
            self.place = Place::Header(Fields::default());
            return Ok(());
        }
        if multipart.is_encrypted && multipart.parts != 2 || multipart.parts == 0 {
            return Err(Plain);
        }
        self.around.pop();
        // What follows is the epilogue of this multipart, up to a boundary of one around it.
        self.place = Place::Epilogue;
        Ok(())
    }

    fn end_of_header(&mut self) -> std::result::Result<(), Plain> {
        let Place::Header(fields) = std::mem::replace(&mut self.place, Place::Epilogue) else {
            return Err(Plain);
        };
        let begun = self.begin_body(&fields);
        if std::mem::take(&mut self.in_message_header) {
            self.message_fields = fields;
        }
        self.place = begun?;
        Ok(())
    }

    fn begin_body(&mut self, fields: &Fields) -> std::result::Result<Place, Plain> {
        if fields.odd {
            return Err(Plain);
        }
        let kind = ContentType::parse(fields.content_type.as_deref())?;
        if self.around.last().is_some_and(|m| m.is_encrypted && m.parts == 1)
            && kind.name != "application/pgp-encrypted"
        {
            return Err(Plain);
        }
        let transfer = fields.transfer_encoding.as_deref().map(|v| v.trim_ascii().to_ascii_lowercase());
        if !kind.name.starts_with("multipart/") {
            return Ok(Place::Leaf(Box::new(Leaf::new(&kind.name, transfer.as_deref())?)));
        }
        let is_encrypted = kind.name == "multipart/encrypted";
        let readable_parts =
            matches!(kind.name.as_str(), "multipart/mixed" | "multipart/alternative" | "multipart/related");
        let encoded = !matches!(transfer.as_deref(), None | Some(b"" | b"7bit" | b"8bit" | b"binary"));
        if encoded || self.around.len() >= MOST_DEPTH || !(is_encrypted || readable_parts) {
            return Err(Plain);
        }
        if is_encrypted && kind.protocol.as_deref() != Some("application/pgp-encrypted") {
            return Err(Plain);
        }
        let boundary = kind.boundary.filter(|b| !b.is_empty()).ok_or(Plain)?.into_bytes();
        // Which of two boundaries a line is must not depend on the order in which one looks.
        if self.around.iter().any(|m| m.boundary.starts_with(&boundary) || boundary.starts_with(&m.boundary))
        {
            return Err(Plain);
        }
        self.around.push(Multipart { boundary, is_encrypted, parts: 0 });
        Ok(Place::Preamble(0))
    }

    fn end_of_leaf(&mut self, leaf: Leaf) -> std::result::Result<(), Plain> {
        let content = leaf.finish()?;
        if let Some(multipart) = self.around.last().filter(|m| m.is_encrypted) {
            let expected = if multipart.parts == 1 { Content::Control } else { Content::Encrypted };
            if content != expected {
                return Err(Plain);
            }
        }
        self.encrypted_leaves += usize::from(content == Content::Encrypted);
        Ok(())
    }

    fn end(&mut self) -> std::result::Result<(), Plain> {
        if self.in_message_header {
            return Err(Plain);
        }
        if let Place::Leaf(mut leaf) = std::mem::replace(&mut self.place, Place::Epilogue) {
            leaf.feed(&self.held_line_end)?;
            self.end_of_leaf(*leaf)?;
        }
        if !self.around.is_empty() || self.encrypted_leaves == 0 {
            return Err(Plain);
        }
        Ok(())
    }
}

impl Fields {
    fn piece(&mut self, piece: &Piece<'_>) {
        match header::classify(piece) {
            Field::Begins(name) => {
                self.current = match name.as_str() {
                    "content-type" => Current::ContentType,
                    "content-transfer-encoding" => Current::TransferEncoding,
                    _ => Current::Other,
                };
                let colon = memchr::memchr(b':', piece.bytes).map_or(0, |n| n + 1);
                self.add(&piece.bytes[colon..], true);
            }
            Field::Continues => self.add(piece.bytes, false),
            Field::NotAField => {
                self.current = Current::Other;
                self.odd = true;
            }
        }
    }

    fn add(&mut self, bytes: &[u8], begins: bool) {
        let value = match self.current {
            Current::Other => return,
            Current::ContentType => &mut self.content_type,
            Current::TransferEncoding => &mut self.transfer_encoding,
        };
        self.odd |= begins && value.is_some();
        let value = value.get_or_insert_default();
        self.odd |= value.len() + bytes.len() > MOST_FIELD;
        if !self.odd {
            value.extend_from_slice(bytes);
        }
    }
}

/// A Content-Type, as far as it matters here.
struct ContentType {
    /// Type and subtype in lower case.
    name: String,
    boundary: Option<String>,
    protocol: Option<String>,
}

impl ContentType {
    fn parse(value: Option<&[u8]>) -> std::result::Result<Self, Plain> {
        let Some(value) = value else {
            // RFC 2045, section 5.2
            return Ok(Self { name: "text/plain".into(), boundary: None, protocol: None });
        };
        let mut terminated = value.to_vec();
        terminated.push(b'\n');
        let HeaderValue::ContentType(parsed) = MessageStream::new(&terminated).parse_content_type() else {
            return Err(Plain);
        };
        let attributes = parsed.attributes().unwrap_or_default();
        let attribute = |name: &str| {
            let mut values = attributes.iter().filter(|a| a.name.eq_ignore_ascii_case(name));
            let value = values.next().map(|a| a.value.to_string());
            // Twice: programs differ in which one they take.
            values.next().map_or(Ok(value), |_| Err(Plain))
        };
        Ok(Self {
            name: format!("{}/{}", parsed.ctype(), parsed.subtype().unwrap_or_default()).to_ascii_lowercase(),
            boundary: attribute("boundary")?,
            protocol: attribute("protocol")?.map(|p| p.to_ascii_lowercase()),
        })
    }
}
