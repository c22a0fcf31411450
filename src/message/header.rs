//! The header of a message, told from its body as Dovecot does it: by the first empty line.

use super::lines::Piece;

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

/// Longest field name that is taken for one, in bytes (RFC 5322, section 2.1.1: a line has 998).
const LONGEST_NAME: usize = 998;

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
