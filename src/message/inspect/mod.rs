//! Is a message encrypted already?
//!
//! Decided by looking at the ciphertext, never at labels alone, and only if all of the content is
//! encrypted: every leaf part has to be an OpenPGP message (RFC 9580, section 10.3), a CMS
//! enveloped-data (RFC 5652, section 6), the control part of RFC 3156, section 4, or blank. Whatever
//! is odd counts as not encrypted: the worst of that error is a second layer of encryption, the worst
//! of the other one is plaintext on disk.

mod armor;
mod cms;
mod content_type;
mod leaf;
mod openpgp;
mod transfer;

use super::header::{self, Field};
use super::lines::{Lines, Piece};
use super::{too_large, unreadable, Source, MOST_HEADER_BYTES};
use crate::error;
use content_type::{is_boundary, is_cryptographic, ContentType};
use leaf::{Content, Leaf};

/// Longest Content-Type and similar field, in bytes. A longer one is not understood.
const MOST_FIELD: usize = 4 << 10;
/// All headers of parts and armor headers together, in bytes. They are not encrypted, so they are no place
/// for a message.
const MOST_PART_HEADERS: usize = 8 << 10;
/// All preambles and epilogues together, in bytes: "This is an OpenPGP/MIME encrypted message (RFC 4880
/// and 3156)".
const MOST_BETWEEN: usize = 256;
/// Deepest nesting of multiparts, and how many parts there may be.
const MOST_DEPTH: usize = 16;
const MOST_PARTS: usize = 256;

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
    /// Whether it is signed or encrypted in a way that mail programs handle only if no other part is around it.
    pub must_be_outermost: bool,
}

/// Looks at a message, from its first byte and no further than needed.
///
/// # Errors
///
/// The message cannot be read, or is larger than what is handled.
pub fn inspect(source: &mut dyn Source) -> error::Result<Inspection> {
    source.rewind().map_err(unreadable)?;
    let mut lines = Lines::new(source);
    let mut walker = Walker::default();
    lines.skip_mbox_line().map_err(unreadable)?;
    // To the end of the header in any case: it has to be known whether there is a Content-Type.
    let mut plain = false;
    while walker.in_message_header || !plain {
        let Some(piece) = lines.next_piece().map_err(unreadable)? else { break };
        plain |= walker.piece(&piece).is_err();
        if walker.in_message_header && lines.position() > MOST_HEADER_BYTES {
            return Err(too_large("the header of the message", MOST_HEADER_BYTES));
        }
    }
    if plain {
        return Ok(walker.inspection(false));
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
    /// How many parts there were, and how many encrypted leaves.
    parts: usize,
    encrypted_leaves: usize,
    /// The size of all preambles and epilogues, and of all headers of parts, in bytes.
    between: usize,
    part_headers: usize,
    /// The line end of the line before: it belongs to a boundary that follows (RFC 2046, section 5.1.1).
    held_line_end: Vec<u8>,
}

enum Place {
    Header(Fields),
    Leaf(Box<Leaf>),
    /// In front of a multipart's first boundary.
    Preamble,
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
    disposition: Option<Vec<u8>>,
    /// The field that a folded line goes on with.
    current: Current,
    /// A field of these stands there twice, is too long, or a line is no field: not understood.
    odd: bool,
    begun: bool,
    /// The header of a part, where only fields about the content have a meaning (RFC 2045, section 9).
    in_part: bool,
}

#[derive(Clone, Copy, Default)]
enum Current {
    #[default]
    Other,
    ContentType,
    TransferEncoding,
    Disposition,
}

impl Default for Walker {
    fn default() -> Self {
        Self {
            around: Vec::new(),
            place: Place::Header(Fields::default()),
            in_message_header: true,
            message_fields: Fields::default(),
            parts: 0,
            encrypted_leaves: 0,
            between: 0,
            part_headers: 0,
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
            must_be_outermost: fields.content_type.as_deref().is_some_and(is_cryptographic),
        }
    }

    fn piece(&mut self, piece: &Piece<'_>) -> Result<(), Plain> {
        if !self.in_message_header && piece.begins {
            if let Some((depth, closes)) = self.boundary(piece)? {
                return self.at_boundary(depth, closes);
            }
        }
        let (content, line_end) = piece.split_end();
        // A CR alone ends a line for some programs, and a NUL ends a text. In the header of the message a NUL does no
        // harm, and those that we have encrypted keep it there.
        let has = |byte: u8| memchr::memchr(byte, content).is_some();
        let ambiguous = has(b'\r') || !self.in_message_header && has(0);
        match &mut self.place {
            Place::Header(fields) => {
                if piece.is_empty_line() {
                    return self.end_of_header();
                }
                fields.odd |= ambiguous;
                fields.piece(piece);
                if !self.in_message_header {
                    self.part_headers += piece.bytes.len();
                }
                if fields.odd || self.part_headers > MOST_PART_HEADERS {
                    return Err(Plain);
                }
            }
            _ if ambiguous => return Err(Plain),
            Place::Leaf(leaf) => {
                leaf.feed(&self.held_line_end)?;
                leaf.feed(content)?;
                self.held_line_end.clear();
                self.held_line_end.extend_from_slice(line_end);
            }
            Place::Preamble => self.between += piece.bytes.len(),
            Place::Epilogue if trim(piece.bytes).is_empty() => self.between += piece.bytes.len(),
            Place::Epilogue => return Err(Plain),
        }
        if self.between > MOST_BETWEEN {
            return Err(Plain);
        }
        Ok(())
    }

    /// Which multipart's boundary a line is, and whether it is the last one of that multipart.
    fn boundary(&self, piece: &Piece<'_>) -> Result<Option<(usize, bool)>, Plain> {
        let Some(line) = piece.bytes.strip_prefix(b"--") else { return Ok(None) };
        for (depth, multipart) in self.around.iter().enumerate() {
            let Some(rest) = line.strip_prefix(multipart.boundary.as_slice()) else { continue };
            return match (trim(rest), rest.strip_prefix(b"--").map(trim)) {
                (b"", _) => Ok(Some((depth, false))),
                (_, Some(b"")) => Ok(Some((depth, true))),
                // Some programs take this for the boundary, others do not.
                _ => Err(Plain),
            };
        }
        Ok(None)
    }

    fn at_boundary(&mut self, depth: usize, closes: bool) -> Result<(), Plain> {
        // The multiparts inside this one must have ended.
        if self.around.len() != depth + 1 {
            return Err(Plain);
        }
        match std::mem::replace(&mut self.place, Place::Epilogue) {
            Place::Leaf(leaf) => self.end_of_leaf(*leaf)?,
            Place::Preamble | Place::Epilogue => {}
            // A part without an empty line: its header would be its content for some.
            Place::Header(_) => return Err(Plain),
        }
        self.held_line_end.clear();
        let multipart = self.around.last_mut().ok_or(Plain)?;
        if !closes {
            multipart.parts += 1;
            self.parts += 1;
            if multipart.is_encrypted && multipart.parts > 2 || self.parts > MOST_PARTS {
                return Err(Plain);
            }
            self.place = Place::Header(Fields { in_part: true, ..Fields::default() });
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

    fn end_of_header(&mut self) -> Result<(), Plain> {
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

    fn begin_body(&mut self, fields: &Fields) -> Result<Place, Plain> {
        if fields.odd {
            return Err(Plain);
        }
        let kind = ContentType::parse(fields.content_type.as_deref())?;
        if self.around.last().is_some_and(|m| m.is_encrypted && m.parts == 1)
            && kind.name != "application/pgp-encrypted"
        {
            return Err(Plain);
        }
        let transfer = fields.transfer_encoding.as_deref().map(|v| trim(v).to_ascii_lowercase());
        if !kind.name.starts_with("multipart/") {
            let may_be_binary = kind.is_file_of_ciphertext(fields.disposition.as_deref());
            return Ok(Place::Leaf(Box::new(Leaf::new(&kind, transfer.as_deref(), may_be_binary)?)));
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
        let boundary = kind.boundary.filter(|b| is_boundary(b)).ok_or(Plain)?.into_bytes();
        // Which of two boundaries a line is must not depend on the order in which one looks.
        if self.around.iter().any(|m| m.boundary.starts_with(&boundary) || boundary.starts_with(&m.boundary))
        {
            return Err(Plain);
        }
        self.around.push(Multipart { boundary, is_encrypted, parts: 0 });
        Ok(Place::Preamble)
    }

    fn end_of_leaf(&mut self, leaf: Leaf) -> Result<(), Plain> {
        self.part_headers += leaf.readable_bytes();
        let content = leaf.finish()?;
        if self.part_headers > MOST_PART_HEADERS {
            return Err(Plain);
        }
        if let Some(multipart) = self.around.last().filter(|m| m.is_encrypted) {
            let expected = if multipart.parts == 1 { Content::Control } else { Content::Encrypted };
            if content != expected {
                return Err(Plain);
            }
        }
        self.encrypted_leaves += usize::from(content == Content::Encrypted);
        Ok(())
    }

    fn end(&mut self) -> Result<(), Plain> {
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
                self.begun = true;
                self.odd |= self.in_part && !name.starts_with("content-") && name != "mime-version";
                self.current = match name.as_str() {
                    "content-type" => Current::ContentType,
                    "content-transfer-encoding" => Current::TransferEncoding,
                    "content-disposition" => Current::Disposition,
                    _ => Current::Other,
                };
                let colon = memchr::memchr(b':', piece.bytes).map_or(0, |n| n + 1);
                self.add(&piece.bytes[colon..], true);
            }
            Field::Continues => {
                self.odd |= !self.begun;
                self.add(piece.bytes, false);
            }
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
            Current::Disposition => &mut self.disposition,
        };
        if begins && value.is_some() {
            // The second one does not count.
            self.odd = true;
            self.current = Current::Other;
            return;
        }
        let value = value.get_or_insert_default();
        let (fits, rest) = bytes.split_at(bytes.len().min(MOST_FIELD - value.len()));
        value.extend_from_slice(fits);
        self.odd |= !rest.is_empty();
    }
}

/// White space (RFC 5322, section 2.2.2) and line ends. A form feed is none: others take it for part of a word.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// What is left without white space at both ends.
fn trim(bytes: &[u8]) -> &[u8] {
    let begin = bytes.iter().position(|&b| !is_space(b)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|&b| !is_space(b)).map_or(begin, |last| last + 1);
    &bytes[begin..end]
}
