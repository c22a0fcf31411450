//! What is told to the administrator besides success or failure.

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
