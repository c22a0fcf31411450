//! What the administrator is told, and how text that others wrote is made fit for it.

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A step, shown by `sieve-test -t` and with `mail_debug`.
    Debug,
    /// Something to know when a message is looked into.
    Info,
    /// Something that should be looked at some day.
    Warning,
    /// Something that should be looked at now.
    Error,
}

/// Where lines go.
pub trait Log {
    /// Writes one line. It must hold no part of a message.
    fn log(&self, level: Level, line: &str);
}

/// Nowhere.
impl Log for () {
    fn log(&self, _: Level, _: &str) {}
}

/// The longest piece of foreign text in a log line, in characters: a path or a User ID fits, a flood does not.
const LONGEST: usize = 160;

/// `bytes` as text for a log line: what is not UTF-8, not printable, or could change how a
/// terminal shows the line is replaced, and long text is cut.
pub fn printable(bytes: impl AsRef<[u8]>) -> String {
    let text = String::from_utf8_lossy(bytes.as_ref());
    let mut out: String = text.chars().take(LONGEST).map(harmless).collect();
    if text.chars().nth(LONGEST).is_some() {
        out.push_str("...");
    }
    out
}

/// A whole line that others wrote, made fit in the same way, and not cut.
pub fn printable_line(text: &str) -> String {
    text.chars().map(harmless).collect()
}

/// Control characters, and the invisible ones that reorder text (Unicode's Bidi_Control, line and
/// paragraph separators, zero width characters), become a question mark.
fn harmless(c: char) -> char {
    match c {
        '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{61c}'
        | '\u{feff}' => '?',
        c if c.is_control() => '?',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn foreign_text_cannot_shape_the_log() {
        assert_eq!(printable("me@example.org"), "me@example.org");
        assert_eq!(printable("a\r\nLMTP: fake\0line"), "a??LMTP: fake?line");
        assert_eq!(printable("\x1b[2J"), "?[2J");
        assert_eq!(printable("exe\u{202e}gnp"), "exe?gnp");
        assert_eq!(printable(b"\xff%s"), "\u{fffd}%s");
        assert_eq!(printable("ü".repeat(500)), format!("{}...", "ü".repeat(160)));
    }
}
