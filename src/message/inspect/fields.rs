//! Collects the header fields that describe a body.

use crate::message::header::Field;
use crate::message::lines::Piece;

/// Longest field that is collected, in bytes. A Content-Type with long file names takes a few hundred.
const MAX_FIELD: usize = 4 << 10;

/// The header fields that describe a body, and their flaws.
#[derive(Default)]
pub struct Fields {
    /// The value of Content-Type.
    pub content_type: Option<Vec<u8>>,
    /// The value of Content-Transfer-Encoding.
    pub transfer_encoding: Option<Vec<u8>>,
    /// The value of Content-Disposition.
    pub disposition: Option<Vec<u8>>,
    /// The field that a folded line continues.
    current: Current,
    /// True if programs may read this header in different ways: one of the fields appears twice or is too
    /// long, or a line is not a field.
    pub odd: bool,
    begun: bool,
    /// True for the header of a part, where only fields about the content have a meaning (RFC 2045, section
    /// 9), and programs add some of their own (`X-Attachment-Id`).
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

impl Fields {
    /// Begins the header of a part.
    pub fn of_part() -> Self {
        Self { in_part: true, ..Self::default() }
    }

    /// Reads the next piece of the header.
    pub fn piece(&mut self, field: Field, piece: &Piece<'_>) {
        let has_nul = memchr::memchr(0, piece.bytes).is_some();
        // For some programs, a bare CR ends a line and a NUL ends a text. In the header of the message itself
        // a NUL does no harm, and must be accepted: the outer header of a message that was encrypted here
        // keeps it.
        self.odd |= piece.bare_cr().is_some() || self.in_part && has_nul;
        match field {
            Field::Begins(name) => {
                self.begun = true;
                let is_of_a_part =
                    name.starts_with("content-") || name.starts_with("x-") || name == "mime-version";
                self.odd |= self.in_part && !is_of_a_part;
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
            Field::MboxLine | Field::NotAField => {
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
            // Programs differ in which of two fields they use.
            self.odd = true;
            self.current = Current::Other;
            return;
        }
        let value = value.get_or_insert_default();
        let (fits, rest) = bytes.split_at(bytes.len().min(MAX_FIELD - value.len()));
        value.extend_from_slice(fits);
        self.odd |= !rest.is_empty();
    }
}
