//! Recognises HTML that shows nothing, which Exchange puts beside an encrypted part.

use super::plain::trim_wide;

/// Largest empty HTML, in bytes.
pub const MAX_BYTES: usize = 2 << 10;

/// The elements that may stand there. Their tags have no attributes: those could hold a text.
const ELEMENTS: [&str; 8] = ["html", "head", "body", "title", "div", "p", "span", "br"];

/// Returns true if `html` has nothing but tags, white space, and the usual statement of its type.
pub fn is_empty(html: &[u8]) -> bool {
    let mut rest = trim_wide(html);
    while !rest.is_empty() {
        let behind = match rest.strip_prefix(b"&nbsp;") {
            Some(behind) => Some(behind),
            None => behind_tag(rest),
        };
        let Some(behind) = behind else { return false };
        rest = trim_wide(behind);
    }
    true
}

/// Returns what is behind the tag at the beginning of `html`.
fn behind_tag(html: &[u8]) -> Option<&[u8]> {
    let end = memchr::memchr(b'>', html)?;
    let tag = std::str::from_utf8(html[..end].strip_prefix(b"<")?).ok()?.to_ascii_lowercase();
    let words: Vec<&str> = tag.split_ascii_whitespace().collect();
    let is_known = match words.as_slice() {
        [name] | [name, "/"] => {
            let name = name.strip_prefix('/').unwrap_or(name);
            ELEMENTS.contains(&name.strip_suffix('/').unwrap_or(name))
        }
        ["meta", "http-equiv=\"content-type\"", "content=\"text/html;", charset, ..] => {
            words.len() <= 5 && is_charset(charset, words.get(4).copied())
        }
        _ => false,
    };
    is_known.then(|| &html[end + 1..])
}

/// Returns true for `charset=name"`, which may be the end of an empty element.
fn is_charset(word: &str, end: Option<&str>) -> bool {
    let name = word.trim_end_matches('/').strip_prefix("charset=").and_then(|name| name.strip_suffix('"'));
    let fits = |name: &str| name.len() <= 20 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    name.is_some_and(fits) && end.is_none_or(|end| end == "/")
}
