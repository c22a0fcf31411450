//! The addresses in User IDs, and how they are compared with the address of a recipient.
//!
//! A recipient's address comes from the server, so it is brought into one form first. A User ID was written by whoever made
//! the certificate: it carries an address only if it spells it, so that nothing that merely looks like it takes the mail of
//! somebody else along.

use std::borrow::Cow;

use icu_normalizer::ComposingNormalizerBorrowed;

use crate::recipient::LONGEST_ADDRESS;

/// Longest User ID that is looked at, in bytes: GnuPG reads no longer ones, and a made-up one of a megabyte could have a
/// hundred thousand addresses.
const LONGEST_USER_ID: usize = 2048;

/// Returns the addresses in a User ID, each in the form of [`normalise`]: what stands in angle brackets, wherever they are,
/// or else the whole User ID (RFC 9580, section 5.11, and what GnuPG finds with `<address>`).
pub fn addresses(user_id: &[u8]) -> Vec<String> {
    if user_id.len() > LONGEST_USER_ID {
        return Vec::new();
    }
    // Old User IDs have names in other character sets than UTF-8.
    let text = String::from_utf8_lossy(user_id);
    if !text.contains('<') {
        return address(&text).into_iter().collect();
    }
    let mut found = Vec::new();
    let mut rest = &*text;
    while let Some((_, behind)) = rest.split_once('<') {
        let Some((inside, after)) = behind.split_once('>') else { break };
        // In `<a <b@x>`, the address begins at the last bracket.
        let inside = inside.rsplit('<').next().unwrap_or(inside);
        found.extend(address(inside).filter(|address| !found.contains(address)));
        rest = after;
    }
    found
}

fn address(text: &str) -> Option<String> {
    let text = text.trim();
    let text = text.get(..7).filter(|s| s.eq_ignore_ascii_case("mailto:")).map_or(text, |_| &text[7..]);
    let (local, domain) = text.rsplit_once('@')?;
    let is_clean = |c: char| !c.is_control() && c != char::REPLACEMENT_CHARACTER;
    let fits = text.len() <= LONGEST_ADDRESS && !local.is_empty() && text.chars().all(is_clean);
    let has_space = domain.contains(char::is_whitespace) || unquoted(local).contains(char::is_whitespace);
    if !fits || has_space {
        return None;
    }
    Some(format!("{}@{}", local.to_ascii_lowercase(), spelled_domain(&domain.to_ascii_lowercase())?))
}

/// Returns what is not inside of a quoted local part.
fn unquoted(local: &str) -> &str {
    if local.len() > 1 && local.starts_with('"') && local.ends_with('"') {
        return "";
    }
    local
}

/// Returns the ASCII form of a domain. There is none for one that IDNA's mapping changes, such as one with fullwidth letters,
/// soft hyphens or an ideographic full stop: it only looks like the domain that it is mapped to.
fn spelled_domain(domain: &str) -> Option<Cow<'_, str>> {
    if domain.is_ascii() {
        return (!domain.is_empty()).then_some(domain.into());
    }
    let ascii = idna::domain_to_ascii(domain).ok()?;
    let (unicode, valid) = idna::domain_to_unicode(&ascii);
    (valid.is_ok() && unicode == domain).then(|| ascii.into())
}

/// Brings the address of a recipient into the form in which it is compared: lower case, the local part in normalisation form
/// C, the domain in its ASCII form (IDNA).
pub fn normalise(address: &str) -> String {
    let nfc = ComposingNormalizerBorrowed::new_nfc();
    let Some((local, domain)) = address.rsplit_once('@') else { return address.to_lowercase() };
    let local = nfc.normalize(&local.to_lowercase()).into_owned();
    let domain = idna::domain_to_ascii(domain).unwrap_or_else(|_| domain.to_lowercase());
    format!("{local}@{domain}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_a_user_id_spells() {
        for (user_id, expected) in [
            ("Me <me@example.org>", &["me@example.org"][..]),
            ("<Me@Example.ORG>", &["me@example.org"]),
            ("me@example.org", &["me@example.org"]),
            ("mailto:me@example.org", &["me@example.org"]),
            ("  Me (work) <me@example.org> ", &["me@example.org"]),
            ("Me <me@example.org> (work)", &["me@example.org"]),
            ("Me < me@example.org >", &["me@example.org"]),
            ("Me <MAILTO:me@example.org>", &["me@example.org"]),
            ("A <a@example.org>, A <b@example.org>", &["a@example.org", "b@example.org"]),
            ("you@example.org <me@example.org>", &["me@example.org"]),
            ("a < b <me@example.org>", &["me@example.org"]),
            ("Bücher <info@bücher.example>", &["info@xn--bcher-kva.example"]),
            ("Jörg <jörg@example.org>", &["jörg@example.org"]),
            ("Odd <\"a b@c\"@example.org>", &["\"a b@c\"@example.org"]),
            ("Me", &[]),
            ("Me <me>", &[]),
            ("Me me@example.org", &[]),
            ("Me me@example.org>", &[]),
            ("Me <me@example.org", &[]),
            ("me@example.org (work)", &[]),
            ("<me@exam ple.org>", &[]),
            ("<@example.org>", &[]),
            ("<me@>", &[]),
            ("https://example.org/", &[]),
            ("", &[]),
            // What only looks like it.
            ("<mi\u{212a}e@example.org>", &["mi\u{212a}e@example.org"]),
            ("<me@exam\u{ad}ple.org>", &[]),
            ("<me@ｅxample.org>", &[]),
            ("<me@example\u{3002}org>", &[]),
            ("<me@BÜCHER.example>", &[]),
        ] {
            assert_eq!(addresses(user_id.as_bytes()), expected, "{user_id}");
        }
        assert_eq!(addresses(b"J\xfcrgen <me@example.org>"), ["me@example.org"]);
        assert!(addresses(b"<j\xfcrgen@example.org>").is_empty());
        assert!(addresses(format!("{}@example.org", "x".repeat(400)).as_bytes()).is_empty());
        let long = |spaces| format!("{}<me@example.org>", " ".repeat(spaces));
        assert_eq!(addresses(long(2032).as_bytes()), ["me@example.org"]);
        assert!(addresses(long(2033).as_bytes()).is_empty());
    }

    #[test]
    fn a_recipient_in_one_form() {
        for (address, expected) in [
            ("Me@Example.ORG", "me@example.org"),
            ("info@BÜCHER.example", "info@xn--bcher-kva.example"),
            ("me@ｅxample.org", "me@example.org"),
            ("JO\u{308}RG@example.org", "jörg@example.org"),
            ("\"A@b\"@example.org", "\"a@b\"@example.org"),
        ] {
            assert_eq!(normalise(address), expected);
        }
        assert_ne!(addresses("<mi\u{212a}e@x.org>".as_bytes()), [normalise("mike@x.org")]);
    }
}
