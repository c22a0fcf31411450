//! The negative answer of this module, and helpers for white space.

/// The message is not encrypted as a whole, or programs may read it in different ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain;

/// Returns true for white space (RFC 5322, section 2.2.2) and line ends. A form feed is not included: some
/// programs take it for a part of a word.
pub fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// White space outside of ASCII that programs write around armor: the byte order mark, and the no-break space in UTF-8, in
/// ISO 8859 and in windows-1252.
const WIDE_SPACE: [&[u8]; 3] = [b"\xef\xbb\xbf", b"\xc2\xa0", b"\xa0"];

/// Returns true for the first bytes of [`WIDE_SPACE`]. No encrypted OpenPGP message begins with one of them.
pub fn begins_wide_space(byte: u8) -> bool {
    WIDE_SPACE.iter().any(|space| space.first() == Some(&byte))
}

/// Removes white space at both ends, also what is not ASCII.
pub fn trim_wide(mut bytes: &[u8]) -> &[u8] {
    loop {
        bytes = trim(bytes);
        let shorter = WIDE_SPACE
            .iter()
            .find_map(|space| bytes.strip_prefix(*space).or_else(|| bytes.strip_suffix(*space)));
        match shorter {
            Some(rest) => bytes = rest,
            None => return bytes,
        }
    }
}

/// Removes white space at both ends.
pub fn trim(bytes: &[u8]) -> &[u8] {
    let begin = bytes.iter().position(|&b| !is_space(b)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|&b| !is_space(b)).map_or(begin, |last| last + 1);
    &bytes[begin..end]
}
