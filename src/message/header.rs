//! The header of a message, told from its body as Dovecot does it: by the first empty line.

use super::lines::{Lines, Piece};
use super::original::Original;
use crate::error::Unreadable;

/// Largest header, in bytes. Dovecot looks no further either.
pub const MAX_HEADER_BYTES: u64 = 10 << 20;

/// Longest field name that is taken for one, in bytes (RFC 5322, section 2.1.1: a line has 998).
const LONGEST_NAME: usize = 998;

/// What a piece of a header belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// A header field begins here: its name, in lower case.
    Begins(String),
    /// The field that began before goes on.
    Continues,
    /// A line that is no header field at all.
    NotAField,
}

/// The header of a message, piece by piece; then its body.
pub struct Header<'a> {
    lines: Lines<&'a mut dyn Original>,
    /// The header has ended, by the empty line or with the message.
    has_ended: bool,
    ends_with_empty_line: bool,
    last_line_is_whole: bool,
}

impl<'a> Header<'a> {
    /// Begins at the first field of a message. The line that mbox files put in front of a message is left out.
    ///
    /// # Errors
    ///
    /// The message cannot be read.
    pub fn open(message: &'a mut dyn Original) -> Result<Self, Unreadable> {
        message.rewind().map_err(Unreadable::Failed)?;
        let mut lines = Lines::new(message);
        skip_mbox_line(&mut lines)?;
        Ok(Self { lines, has_ended: false, ends_with_empty_line: false, last_line_is_whole: true })
    }

    /// The next piece and the field that it belongs to, or `None` at the end of the header. The empty line is left out.
    ///
    /// # Errors
    ///
    /// The message cannot be read, or the header is too large.
    pub fn next_piece(&mut self) -> Result<Option<(Field, Piece<'_>)>, Unreadable> {
        if self.has_ended {
            return Ok(None);
        }
        if self.lines.position() > MAX_HEADER_BYTES {
            return Err(Unreadable::TooLarge("the header of the message", MAX_HEADER_BYTES));
        }
        let piece = self.lines.next_piece()?;
        self.ends_with_empty_line = piece.is_some_and(|piece| piece.is_empty_line());
        let Some(piece) = piece.filter(|piece| !piece.is_empty_line()) else {
            self.has_ended = true;
            return Ok(None);
        };
        self.last_line_is_whole = piece.bytes.ends_with(b"\n");
        Ok(Some((classify(&piece), piece)))
    }

    /// Goes to the end of the header, if it is not there yet.
    ///
    /// # Errors
    ///
    /// As [`Header::next_piece`].
    pub fn skip(&mut self) -> Result<(), Unreadable> {
        while self.next_piece()?.is_some() {}
        Ok(())
    }

    /// Whether the last line has a line end.
    pub fn last_line_is_whole(&self) -> bool {
        self.last_line_is_whole
    }

    /// Whether an empty line stands behind the header, once it has ended.
    pub fn ends_with_empty_line(&self) -> bool {
        self.ends_with_empty_line
    }

    /// What stands behind what has been read.
    pub fn into_rest(self) -> Lines<&'a mut dyn Original> {
        self.lines
    }
}

fn skip_mbox_line<R: std::io::Read>(lines: &mut Lines<R>) -> Result<(), Unreadable> {
    let Some(first) = lines.next_piece()? else { return Ok(()) };
    // `From : me@domain.com` is a field.
    if !first.bytes.starts_with(b"From ") || classify(&first) != Field::NotAField {
        lines.take_back();
        return Ok(());
    }
    lines.skip_line()
}

/// What `piece` of a header is, RFC 5322, section 2.2; white space before the colon is allowed
/// (section 4.5.8), as Dovecot allows it.
pub fn classify(piece: &Piece<'_>) -> Field {
    if !piece.begins || matches!(piece.bytes.first(), Some(b' ' | b'\t')) {
        return Field::Continues;
    }
    let Some(colon) = memchr::memchr(b':', piece.bytes) else { return Field::NotAField };
    // No other white space: a bare CR ends a line for some programs.
    let end = piece.bytes[..colon].iter().rposition(|b| !matches!(b, b' ' | b'\t')).map_or(0, |n| n + 1);
    let name = &piece.bytes[..end];
    let printable = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    if !printable || name.len() > LONGEST_NAME {
        return Field::NotAField;
    }
    Field::Begins(String::from_utf8_lossy(name).to_ascii_lowercase())
}

/// Whether a field, its name in lower case, says what the body is: a structural header field of RFC 9788,
/// section 1.1.1.
pub fn describes_the_body(name: &str) -> bool {
    name == "mime-version" || name.starts_with("content-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_field() {
        let begins = |name: &str| Field::Begins(name.to_owned());
        let rows: [(&[u8], Field); 10] = [
            (b"Subject: x\r\n", begins("subject")),
            (b"CONTENT-Type\t : text/plain\n", begins("content-type")),
            (b"X:", begins("x")),
            (b" folded: y\n", Field::Continues),
            (b"\tx\n", Field::Continues),
            (b"no colon\n", Field::NotAField),
            (b"two words: x\n", Field::NotAField),
            (b": x\n", Field::NotAField),
            (b"S\0: x\n", Field::NotAField),
            (b"S\r: x\n", Field::NotAField),
        ];
        for (bytes, expected) in rows {
            assert_eq!(classify(&Piece { bytes, begins: true }), expected, "{bytes:?}");
        }
        assert_eq!(classify(&Piece { bytes: b"Subject: x", begins: false }), Field::Continues);
    }
}
