//! Reads the header of a message. As in Dovecot, the first empty line ends it.

use super::lines::{Lines, Piece};
use super::original::Original;
use crate::error::Unreadable;

/// Largest header, in bytes. Dovecot parses no more than that either.
pub const MAX_HEADER_BYTES: u64 = 10 << 20;

/// Longest line, in bytes (RFC 5322, section 2.1.1), and so the longest name of a field.
const LONGEST_LINE: usize = 998;

/// The role of a piece of the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// The beginning of a header field, with its name in lower case.
    Begins(String),
    /// More of the field that has begun.
    Continues,
    /// A line that mbox files put before a message. It is not at the beginning where a server has put fields in front.
    MboxLine,
    /// A line that is not part of a header field. For many programs, the body begins here.
    NotAField,
}

/// Returns the header of a message piece by piece, and then gives access to its body.
pub struct Header<'a> {
    lines: Lines<&'a mut dyn Original>,
    /// True after the empty line, or at the end of the message.
    has_ended: bool,
    in_field: bool,
    ends_with_empty_line: bool,
    last_line_is_whole: bool,
}

impl<'a> Header<'a> {
    /// Goes to the first field of a message. A `From ` line, which mbox files put before a message, is
    /// skipped.
    ///
    /// # Errors
    ///
    /// Fails if the message cannot be read.
    pub fn open(message: &'a mut dyn Original) -> Result<Self, Unreadable> {
        message.rewind().map_err(Unreadable::Failed)?;
        let mut lines = Lines::new(message);
        skip_mbox_line(&mut lines)?;
        Ok(Self {
            lines,
            has_ended: false,
            in_field: false,
            ends_with_empty_line: false,
            last_line_is_whole: true,
        })
    }

    /// Returns the next piece and its role, or `None` at the end of the header. The empty line is not
    /// returned.
    ///
    /// # Errors
    ///
    /// Fails if the message cannot be read, or if the header is larger than [`MAX_HEADER_BYTES`].
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
        let field = match classify(&piece) {
            Field::Continues if !self.in_field => Field::NotAField,
            field => field,
        };
        self.in_field = matches!(field, Field::Begins(_) | Field::Continues);
        Ok(Some((field, piece)))
    }

    /// Returns true if the last line that was read has a line end.
    pub fn last_line_is_whole(&self) -> bool {
        self.last_line_is_whole
    }

    /// Returns true if an empty line ended the header. Call it after the end.
    pub fn ends_with_empty_line(&self) -> bool {
        self.ends_with_empty_line
    }

    /// Returns the lines that have not been read yet: the body, after the end of the header.
    pub fn into_rest(self) -> Lines<&'a mut dyn Original> {
        self.lines
    }
}

fn skip_mbox_line<R: std::io::Read>(lines: &mut Lines<R>) -> Result<(), Unreadable> {
    let Some(first) = lines.next_piece()? else { return Ok(()) };
    if !is_from_line(&first) {
        lines.take_back();
    }
    Ok(())
}

/// Returns true for a whole line that begins with `From `. With a bare CR in it, it may be a whole message.
/// `From : me@domain.com` is a field, with white space before its colon.
fn is_from_line(piece: &Piece<'_>) -> bool {
    let whole =
        piece.bytes.len() <= LONGEST_LINE && piece.bytes.ends_with(b"\n") && piece.bare_cr().is_none();
    let rest = piece.bytes.strip_prefix(b"From ").filter(|_| whole);
    rest.is_some_and(|rest| rest.iter().find(|b| !matches!(b, b' ' | b'\t')) != Some(&b':'))
}

/// Tells the role of a piece of the header (RFC 5322, section 2.2). White space before the colon is allowed,
/// which is obsolete (section 4.5.8), because Dovecot allows it. Without the pieces before this one, it cannot tell
/// whether there is a field that a folded line continues.
pub fn classify(piece: &Piece<'_>) -> Field {
    if !piece.begins || matches!(piece.bytes.first(), Some(b' ' | b'\t')) {
        return Field::Continues;
    }
    if is_from_line(piece) && has_date(piece.bytes) {
        return Field::MboxLine;
    }
    let Some(colon) = memchr::memchr(b':', piece.bytes) else { return Field::NotAField };
    // Other white space is not allowed: a bare CR ends a line for some programs.
    let end = piece.bytes[..colon].iter().rposition(|b| !matches!(b, b' ' | b'\t')).map_or(0, |n| n + 1);
    let name = &piece.bytes[..end];
    let printable = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    if !printable || name.len() > LONGEST_LINE {
        return Field::NotAField;
    }
    Field::Begins(String::from_utf8_lossy(name).to_ascii_lowercase())
}

/// Returns true if a line has a date such as `Fri Jan  1 00:00:00 2021`, as the `From ` lines of mbox have it (RFC 4155,
/// appendix A): a sentence that begins with "From" has none.
fn has_date(line: &[u8]) -> bool {
    const MONTHS: [&[u8]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    let words: Vec<&[u8]> = line.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty()).collect();
    let is_date = |words: &[&[u8]]| {
        let [month, day, time] = words else { return false };
        MONTHS.contains(month)
            && matches!(day, [b'0'..=b'9'] | [b'0'..=b'3', b'0'..=b'9'])
            && matches!(time, [b'0'..=b'2', b'0'..=b'9', b':', b'0'..=b'5', b'0'..=b'9', ..])
    };
    words.windows(3).any(is_date)
}

/// Returns the bytes of a piece that begins a field, without white space before the colon: for some programs, a line with
/// that is the end of the header.
pub fn without_space<'a>(name: &str, piece: &Piece<'a>) -> [Piece<'a>; 2] {
    let colon = memchr::memchr(b':', piece.bytes).unwrap_or(name.len());
    [&piece.bytes[..name.len()], &piece.bytes[colon..]].map(|bytes| Piece { bytes, ..*piece })
}

/// Returns true if a field describes the body: it is a structural header field (RFC 9788, section 1.1.1).
/// `name` is in lower case.
pub fn describes_the_body(name: &str) -> bool {
    name == "mime-version" || name.starts_with("content-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_field() {
        let begins = |name: &str| Field::Begins(name.to_owned());
        let rows: [(&[u8], Field); 20] = [
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
            (b"From : x\n", begins("from")),
            (b"From : x Fri Jan  1 00:00:00 2021\n", begins("from")),
            (b"From a@b.org Fri Jan  1 00:00:00 2021\r\n", Field::MboxLine),
            (b"From \"a b\"@c.org Fri Jan 01 0:00:00 2021\n", Field::NotAField),
            (b"From MAILER-DAEMON Thu, Dec 31 23:59 +0100 2020 remote from x\n", Field::MboxLine),
            (b"From here on: the password\n", Field::NotAField),
            (b"From Jan 1 on we meet at 9:00\n", Field::NotAField),
            (b"From a@b.org Fri Jan  1 00:00:00 2021\rFrom: a\r\n", Field::NotAField),
            (b"From a@b.org Fri Jan  1 00:00:00 2021", Field::NotAField),
            (b">From a@b.org Fri Jan  1 00:00:00 2021\n", Field::NotAField),
        ];
        for (bytes, expected) in rows {
            assert_eq!(classify(&Piece { bytes, begins: true }), expected, "{bytes:?}");
        }
        assert_eq!(classify(&Piece { bytes: b"Subject: x", begins: false }), Field::Continues);
    }
}
