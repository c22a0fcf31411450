//! Reads the setting that lists mailboxes, and tells whether a mailbox is among them.

use crate::error::{Error, Place, Reason, Result, Setting};
use crate::log::printable;

/// A list of mailboxes, by name or by special use.
#[derive(Clone, Debug, Default)]
pub struct Mailboxes(Vec<Pattern>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    /// A special use, such as `\Sent`.
    Use(String),
    /// A name, in which `*` stands for any text.
    Name(String),
}

impl Mailboxes {
    /// Parses a value of `perot_encrypt_saved`, which has names and special uses, separated by spaces. In a name that
    /// has spaces, `*` stands for each. Quotes are an error, because Dovecot takes those at both ends of a value off,
    /// so that they would not mean the same everywhere.
    ///
    /// # Errors
    ///
    /// Fails if the value is not UTF-8, or has quotes.
    pub fn new(value: Option<&[u8]>) -> Result<Self> {
        let value = value.unwrap_or_default();
        let wrong = |remedy: &'static str| {
            let place = Place::Value(Setting::Saved, printable(value));
            Error::new(Reason::BadSetting, "not understood").about(place).helps(remedy)
        };
        let text = std::str::from_utf8(value).map_err(|_| wrong("write names in UTF-8"))?;
        if text.contains('"') {
            return Err(wrong("write * for a space in a name, and no quotes"));
        }
        Ok(Self(text.split_whitespace().map(Pattern::new).collect()))
    }

    /// Returns true if a mailbox is in the list. `uses` are its special uses, separated by spaces.
    pub fn contain(&self, name: &str, uses: &str) -> bool {
        self.0.iter().any(|pattern| match pattern {
            Pattern::Use(wanted) => uses.split_whitespace().any(|u| u.eq_ignore_ascii_case(wanted)),
            Pattern::Name(wanted) => matches(wanted, name),
        })
    }
}

impl Pattern {
    fn new(text: &str) -> Self {
        match text {
            // Dovecot always writes INBOX in upper case, whatever case a mail program uses.
            _ if text.eq_ignore_ascii_case("INBOX") => Self::Name("INBOX".to_owned()),
            _ if text.starts_with('\\') => Self::Use(text.to_owned()),
            _ => Self::Name(text.to_owned()),
        }
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    let Some((begin, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(begin) else { return false };
    let mut rest = rest;
    // The first match leaves the most text for the pieces that follow.
    while let Some((middle, behind)) = rest.split_once('*') {
        let Some(at) = name.find(middle) else { return false };
        name = &name[at + middle.len()..];
        rest = behind;
    }
    name.ends_with(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Mailboxes {
        Mailboxes::new(Some(text.as_bytes())).unwrap()
    }

    #[test]
    fn names_and_uses() {
        for (value, name, uses, expected) in [
            ("Sent", "Sent", "", true),
            ("Sent", "sent", "", false),
            ("Sent", "Sent/2024", "", false),
            ("Sent*", "Sent/2024", "", true),
            ("*", "anything", "", true),
            ("a*b*c", "abbc", "", true),
            ("a*b*c", "abb", "", false),
            ("a*bc*bc", "abc", "", false),
            ("*b", "ab/b", "", true),
            ("\\Sent", "Gesendet", "\\Important \\sent", true),
            ("\\Sent", "Sent", "", false),
            ("\\Sent", "\\Sent", "", false),
            ("inbox", "INBOX", "", true),
            ("Junk Sent*Items", "Sent Items", "", true),
            ("Junk Sent*Items", "Sent", "", false),
            ("Entw\u{fc}rfe", "Entw\u{fc}rfe", "", true),
            ("", "", "\\Sent", false),
            ("", "Sent", "\\Sent", false),
        ] {
            assert_eq!(list(value).contain(name, uses), expected, "{value} {name} {uses}");
        }
        assert!(!Mailboxes::new(None).unwrap().contain("Sent", "\\Sent"));
    }

    #[test]
    fn what_is_not_understood_is_told() {
        let quotes = "write * for a space in a name, and no quotes";
        for (value, remedy) in [
            (&b"\"Sent Items\" Junk"[..], quotes),
            (b"Sent \"Sent Items", quotes),
            (b"\xff", "write names in UTF-8"),
        ] {
            let error = Mailboxes::new(Some(value)).unwrap_err().to_string();
            assert!(error.starts_with("perot_encrypt_saved = ") && error.ends_with(remedy), "{error}");
        }
    }
}
