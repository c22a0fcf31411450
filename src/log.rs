//! The log, and the filter that makes untrusted text safe for it.

/// The importance of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A step in the processing, shown by `sieve-test -t` and with `mail_debug`.
    Debug,
    /// A fact that helps to trace a message.
    Info,
    /// A problem that an administrator should look at some day.
    Warning,
    /// A problem that an administrator should look at now.
    Error,
}

/// A log.
pub trait Log {
    /// Writes one line. It must not quote a message.
    fn log(&self, level: Level, line: &str);
}

/// Discards all lines.
impl Log for () {
    fn log(&self, _: Level, _: &str) {}
}

/// Longest piece of untrusted text in a line, in characters: enough for most paths and User IDs.
const LONGEST: usize = 160;

/// Makes untrusted text safe for a log line: bytes that are not UTF-8, control characters, and characters
/// that change how a terminal shows the line are replaced. Long text is cut.
pub fn printable(bytes: impl AsRef<[u8]>) -> String {
    let text = String::from_utf8_lossy(bytes.as_ref());
    let mut out: String = text.chars().take(LONGEST).map(harmless).collect();
    if text.chars().nth(LONGEST).is_some() {
        out.push_str("...");
    }
    out
}

/// Makes a whole line safe in the same way, and does not cut it.
pub fn printable_line(text: &str) -> String {
    text.chars().map(harmless).collect()
}

/// Replaces control characters, and invisible characters that reorder or break text (Bidi_Control, line and
/// paragraph separators, zero width), by a question mark.
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
