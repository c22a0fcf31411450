//! What is not ciphertext, and what is nothing.

/// Something in the message is not encrypted, or is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain;

/// White space (RFC 5322, section 2.2.2) and line ends. A form feed is none: others take it for part of a word.
pub fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// What is left without white space at both ends.
pub fn trim(bytes: &[u8]) -> &[u8] {
    let begin = bytes.iter().position(|&b| !is_space(b)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|&b| !is_space(b)).map_or(begin, |last| last + 1);
    &bytes[begin..end]
}
