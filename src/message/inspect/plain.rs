//! The negative answer of this module, and helpers for white space.

/// The message is not encrypted as a whole, or programs may read it in different ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain;

/// Returns true for white space (RFC 5322, section 2.2.2) and line ends. A form feed is not included: some
/// programs take it for a part of a word.
pub fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Removes white space at both ends.
pub fn trim(bytes: &[u8]) -> &[u8] {
    let begin = bytes.iter().position(|&b| !is_space(b)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|&b| !is_space(b)).map_or(begin, |last| last + 1);
    &bytes[begin..end]
}
