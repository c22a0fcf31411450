//! Parses Content-Type and Content-Disposition, and rejects what programs may read in different ways.

use mail_parser::parsers::MessageStream;
use mail_parser::HeaderValue;

use super::plain::{trim, Plain};

/// A Content-Type (RFC 2045, section 5.1): its type, and the parameters that matter here.
pub struct ContentType {
    /// Type and subtype, in lower case: `text/plain`.
    pub name: String,
    /// The parameters. `protocol` and `charset` are in lower case, since their case has no meaning.
    pub boundary: Option<String>,
    pub protocol: Option<String>,
    pub charset: Option<String>,
    /// The parameter `name`.
    pub file_name: Option<String>,
}

impl ContentType {
    /// Parses the value of the field. Without the field, the type is `text/plain`.
    pub fn parse(value: Option<&[u8]>) -> Result<Self, Plain> {
        // The default of RFC 2045, section 5.2
        let value = value.unwrap_or(b"text/plain");
        let is_type = |name: &[u8]| {
            let mut halves = name.split(|&b| b == b'/');
            halves.next().is_some_and(is_token)
                && halves.next().is_some_and(is_token)
                && halves.next().is_none()
        };
        let parsed = parse(value, is_type)?;
        let lower_case = |value: Option<String>| value.map(|v| v.to_ascii_lowercase());
        Ok(Self {
            name: format!("{}/{}", parsed.ctype(), parsed.subtype().unwrap_or_default()).to_ascii_lowercase(),
            boundary: parameter(&parsed, "boundary")?,
            protocol: lower_case(parameter(&parsed, "protocol")?),
            charset: lower_case(parameter(&parsed, "charset")?),
            file_name: parameter(&parsed, "name")?,
        })
    }

    /// Returns true if programs would take this part, saved as a file, for ciphertext: all names that it has
    /// here and in its Content-Disposition (RFC 2183) end like those of OpenPGP or S/MIME files. A file of
    /// another name may be opened by a program that skips what it does not know at the beginning, as those
    /// for ZIP archives and PDF do: so ciphertext could hide a readable file.
    pub fn is_file_of_ciphertext(&self, disposition: Option<&[u8]>) -> bool {
        let disposed = disposition.map_or(Ok(None), |value| parameter(&parse(value, is_token)?, "filename"));
        let ends_well = |name: &String| {
            let ending = name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
            matches!(ending.as_str(), "asc" | "pgp" | "gpg" | "p7m")
        };
        disposed.is_ok_and(|name| self.file_name.iter().chain(&name).all(ends_well))
    }
}

/// Returns true if the Content-Type, parsed leniently, is that of a signed or encrypted message (RFC 1847;
/// RFC 8551, section 3).
pub fn is_cryptographic(value: &[u8]) -> bool {
    parse_kindly(value).is_some_and(|parsed| {
        let subtype = parsed.subtype().unwrap_or_default().to_ascii_lowercase();
        match parsed.ctype().to_ascii_lowercase().as_str() {
            "multipart" => matches!(subtype.as_str(), "signed" | "encrypted"),
            "application" => matches!(subtype.as_str(), "pkcs7-mime" | "x-pkcs7-mime"),
            _ => false,
        }
    })
}

/// Returns true if all programs read `text` as the same boundary (RFC 2046, section 5.1.1).
pub fn is_boundary(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&b);
    (1..=70).contains(&text.len()) && text.bytes().all(fits) && text.trim() == text
}

/// Parses a value with its parameters, and accepts only the plain part of the grammar (RFC 2045, section
/// 5.1): parameters that are tokens, or quoted strings on one line. Programs read comments, escapes,
/// encodings (RFC 2231, RFC 2047) and mistakes in different ways. A sender could use that to have a mail
/// program show parts where this module sees ciphertext.
fn parse(value: &[u8], is_value: impl Fn(&[u8]) -> bool) -> Result<mail_parser::ContentType<'static>, Plain> {
    let mut items = split_outside_quotes(value).into_iter().map(trim);
    let mut good = items.next().is_some_and(is_value);
    let mut items = items.peekable();
    while let Some(item) = items.next() {
        // A semicolon at the end is a common mistake, and harmless.
        let last_and_empty = item.is_empty() && items.peek().is_none();
        good &= last_and_empty || is_parameter(item);
    }
    parse_kindly(value).filter(|_| good).ok_or(Plain)
}

fn parse_kindly(value: &[u8]) -> Option<mail_parser::ContentType<'static>> {
    let terminated = [value, b"\n"].concat();
    match MessageStream::new(&terminated).parse_content_type().into_owned() {
        HeaderValue::ContentType(parsed) => Some(parsed),
        _ => None,
    }
}

fn parameter(parsed: &mail_parser::ContentType<'_>, name: &str) -> Result<Option<String>, Plain> {
    let attributes = parsed.attributes().unwrap_or_default();
    let mut values = attributes.iter().filter(|a| a.name.eq_ignore_ascii_case(name));
    let value = values.next().map(|a| a.value.to_string());
    // If a parameter is given twice, programs differ in which one they use.
    values.next().map_or(Ok(value), |_| Err(Plain))
}

fn split_outside_quotes(value: &[u8]) -> Vec<&[u8]> {
    let mut quoted = false;
    value
        .split(|&b| {
            quoted ^= b == b'"';
            b == b';' && !quoted
        })
        .collect()
}

fn is_parameter(item: &[u8]) -> bool {
    let Some(equals) = memchr::memchr(b'=', item) else { return false };
    let (name, value) = (&item[..equals], &item[equals + 1..]);
    let quoted = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\""));
    let is_plain = |v: &[u8]| v.iter().all(|b| matches!(b, b' '..=b'~') && !matches!(b, b'"' | b'\\'));
    is_token(name)
        && quoted.map_or_else(|| is_token(value), |v| is_plain(v) && memchr::memmem::find(v, b"=?").is_none())
}

/// Returns true if `text` is a token (RFC 2045, section 5.1) without `*`, `'`, `%` and `?`, which RFC 2231
/// and RFC 2047 use for encodings.
fn is_token(text: &[u8]) -> bool {
    let fits = |b: &u8| b.is_ascii_alphanumeric() || b"!#$&-+.^_`{|}~".contains(b);
    !text.is_empty() && text.iter().all(fits)
}
