//! Walks through the MIME structure of a body (RFC 2045, RFC 2046), and checks that every leaf is encrypted.

use super::content_type::{is_boundary, ContentType};
use super::fields::Fields;
use super::leaf::{Content, Leaf};
use super::plain::{trim, Plain};
use crate::message::header;
use crate::message::lines::Piece;

/// Most bytes of part headers and armor headers together. They are readable, so they must not have room for a
/// message; the headers of one part take a few hundred bytes.
const MAX_PART_HEADERS: usize = 8 << 10;
/// Most bytes of preambles and epilogues together. They are readable, too. Programs write one sentence: "This
/// is an OpenPGP/MIME encrypted message (RFC 4880 and 3156)".
const MAX_BETWEEN: usize = 256;
/// Most levels of multiparts, and most parts. Mailing lists and gateways add a few levels; each level costs a
/// comparison for every line.
const MAX_DEPTH: usize = 16;
const MAX_PARTS: usize = 256;

/// Reads the lines of a body, and keeps track of its parts.
pub struct Walker {
    /// The multiparts around the current line, the outermost first.
    around: Vec<Multipart>,
    place: Place,
    /// The number of all parts, and of encrypted leaves.
    parts: usize,
    encrypted_leaves: usize,
    /// The size of all preambles and epilogues, and that of all part headers, in bytes.
    between: usize,
    part_headers: usize,
    /// The line end of the previous line. If a boundary follows, it belongs to the boundary (RFC 2046,
    /// section 5.1.1).
    held_line_end: Vec<u8>,
}

enum Place {
    Header(Fields),
    Leaf(Box<Leaf>),
    /// Before the first boundary of a multipart.
    Preamble,
    /// After the last boundary of a multipart.
    Epilogue,
}

struct Multipart {
    boundary: Vec<u8>,
    /// True for `multipart/encrypted`, which consists of a control part and an encrypted part.
    is_encrypted: bool,
    parts: usize,
}

impl Walker {
    /// Begins at the first line of a body. `fields` are those of the header before it.
    pub fn new(fields: &Fields) -> Result<Self, Plain> {
        let mut walker = Self {
            around: Vec::new(),
            place: Place::Epilogue,
            parts: 0,
            encrypted_leaves: 0,
            between: 0,
            part_headers: 0,
            held_line_end: Vec::new(),
        };
        walker.place = walker.begin_body(fields)?;
        Ok(walker)
    }

    /// Reads the next line, or piece of a line.
    pub fn piece(&mut self, piece: &Piece<'_>) -> Result<(), Plain> {
        if piece.begins {
            if let Some((depth, closes)) = self.boundary(piece)? {
                return self.at_boundary(depth, closes);
            }
        }
        let (content, line_end) = piece.split_end();
        // For some programs, a bare CR ends a line and a NUL ends a text.
        let is_ambiguous = memchr::memchr2(b'\r', 0, content).is_some();
        match &mut self.place {
            Place::Header(_) if piece.is_empty_line() => return self.end_of_header(),
            Place::Header(fields) => {
                fields.piece(header::classify(piece), piece);
                self.part_headers += piece.bytes.len();
                if fields.odd || self.part_headers > MAX_PART_HEADERS {
                    return Err(Plain);
                }
            }
            _ if is_ambiguous => return Err(Plain),
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
        if self.between > MAX_BETWEEN {
            return Err(Plain);
        }
        Ok(())
    }

    /// Tells which multipart a boundary line belongs to, and if it is the closing one. Returns `None` if the
    /// line is not a boundary.
    fn boundary(&self, piece: &Piece<'_>) -> Result<Option<(usize, bool)>, Plain> {
        let Some(line) = piece.bytes.strip_prefix(b"--") else { return Ok(None) };
        for (depth, multipart) in self.around.iter().enumerate() {
            let Some(rest) = line.strip_prefix(multipart.boundary.as_slice()) else { continue };
            return match (trim(rest), rest.strip_prefix(b"--").map(trim)) {
                (b"", _) => Ok(Some((depth, false))),
                (_, Some(b"")) => Ok(Some((depth, true))),
                // Some programs read this line as the boundary, others do not.
                _ => Err(Plain),
            };
        }
        Ok(None)
    }

    fn at_boundary(&mut self, depth: usize, closes: bool) -> Result<(), Plain> {
        // An inner multipart that is still open has lost its closing boundary.
        if self.around.len() != depth + 1 {
            return Err(Plain);
        }
        match std::mem::replace(&mut self.place, Place::Epilogue) {
            Place::Leaf(leaf) => self.end_of_leaf(*leaf)?,
            Place::Preamble | Place::Epilogue => {}
            // The part has no empty line: some programs would show its header as its content.
            Place::Header(_) => return Err(Plain),
        }
        self.held_line_end.clear();
        let multipart = self.around.last_mut().ok_or(Plain)?;
        if !closes {
            multipart.parts += 1;
            self.parts += 1;
            if multipart.is_encrypted && multipart.parts > 2 || self.parts > MAX_PARTS {
                return Err(Plain);
            }
            self.place = Place::Header(Fields::of_part());
            return Ok(());
        }
        if multipart.is_encrypted && multipart.parts != 2 || multipart.parts == 0 {
            return Err(Plain);
        }
        self.around.pop();
        // The epilogue of this multipart begins, and lasts until a boundary of an outer one.
        self.place = Place::Epilogue;
        Ok(())
    }

    fn end_of_header(&mut self) -> Result<(), Plain> {
        let Place::Header(fields) = std::mem::replace(&mut self.place, Place::Epilogue) else {
            return Err(Plain);
        };
        self.place = self.begin_body(&fields)?;
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
        if encoded || self.around.len() >= MAX_DEPTH || !(is_encrypted || readable_parts) {
            return Err(Plain);
        }
        if is_encrypted && kind.protocol.as_deref() != Some("application/pgp-encrypted") {
            return Err(Plain);
        }
        let boundary = kind.boundary.filter(|b| is_boundary(b)).ok_or(Plain)?.into_bytes();
        // If one boundary began with another, programs could differ in which one a line is.
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
        if self.part_headers > MAX_PART_HEADERS {
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

    /// Fails unless the whole body was encrypted.
    pub fn finish(mut self) -> Result<(), Plain> {
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
