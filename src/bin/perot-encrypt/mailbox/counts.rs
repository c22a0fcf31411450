//! Counts messages, by the log of sieve-filter and by the content of the mailbox afterwards.

use std::collections::HashSet;
use std::ops::AddAssign;

use perot_encrypt::verdict::{Exemption, Said};

use super::dovecot::Message;

/// A line of sieve-filter's log.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// `encrypt` has encrypted a message. It has not been stored yet. It is so many bytes larger than it was.
    Encrypted(u64),
    /// `encrypt` has found that a message is encrypted already.
    AlreadyEncrypted,
    /// The owner of a message has no certificate, and the settings have it left as it is.
    NoCertificate,
    /// The message lies in a mailbox for what is still to be written or sent.
    Unsent,
    /// The message is data of a program, and no mail.
    NoMail,
    /// `encrypt` could not encrypt a message.
    NotEncrypted(&'a str),
    /// Any other error.
    Error(&'a str),
    /// A warning, or a line that is not understood.
    Trouble(&'a str),
    /// Any other line.
    Other,
}

impl<'a> Line<'a> {
    /// Parses a line. It can contain text of senders, such as a Message-ID, but only after the text that is
    /// compared here.
    pub fn parse(line: &'a str) -> Self {
        // sieve-filter writes this line, outside of its log, when the script has failed for a message.
        if let Some(text) = line.strip_prefix("error: ") {
            return Self::Error(text);
        }
        let mut parts = line.splitn(3, ": ");
        let (Some(_), Some(level), Some(text)) = (parts.next(), parts.next(), parts.next()) else {
            return if line.trim().is_empty() { Self::Other } else { Self::Trouble(line) };
        };
        match (level, text.strip_prefix("sieve: encrypt: ").and_then(Said::by)) {
            ("Info", Some(Said::Encrypted([before, after]))) => Self::Encrypted(after.saturating_sub(before)),
            ("Info", Some(Said::AlreadyEncrypted)) => Self::AlreadyEncrypted,
            ("Info", Some(Said::NoCertificate)) => Self::NoCertificate,
            ("Info", Some(Said::Exempt(Exemption::Unsent))) => Self::Unsent,
            ("Info", Some(Said::Exempt(Exemption::NoMail))) => Self::NoMail,
            ("Error", Some(Said::NotEncrypted)) => Self::NotEncrypted(text),
            ("Error" | "Fatal" | "Panic", _) => Self::Error(text),
            ("Info" | "Debug", _) => Self::Other,
            _ => Self::Trouble(text),
        }
    }

    /// Returns true for the lines of which every message has exactly one, apart from those with a flag that exempts them.
    pub fn is_outcome(&self) -> bool {
        !matches!(self, Self::Error(_) | Self::Trouble(_) | Self::Other)
    }
}

/// The counts of one run of sieve-filter.
#[derive(Debug, Default)]
pub struct Seen {
    pub encrypted: u64,
    /// How many bytes larger the encrypted messages are than they were.
    pub growth: u64,
    pub already: u64,
    pub without: u64,
    pub unsent: u64,
    pub no_mail: u64,
    pub failed: u64,
    /// True if sieve-filter failed, or logged an error that does not belong to a message.
    pub broken: bool,
}

impl Seen {
    /// Counts a line.
    pub fn add(&mut self, line: &Line) {
        match line {
            Line::Encrypted(growth) => {
                self.encrypted += 1;
                self.growth += growth;
            }
            Line::AlreadyEncrypted => self.already += 1,
            Line::NoCertificate => self.without += 1,
            Line::Unsent => self.unsent += 1,
            Line::NoMail => self.no_mail += 1,
            Line::NotEncrypted(_) => self.failed += 1,
            Line::Error(_) => self.broken = true,
            Line::Trouble(_) | Line::Other => {}
        }
    }

    /// Returns the number of messages that the lines are about.
    pub fn outcomes(&self) -> u64 {
        self.encrypted + self.left() + self.failed
    }

    /// Returns the number of messages that were left as they are, with a line for each.
    fn left(&self) -> u64 {
        self.already + self.without + self.unsent + self.no_mail
    }
}

/// The fate of the messages in one mailbox or in many.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Counts {
    messages: u64,
    encrypted: u64,
    already: u64,
    /// Left as they are, because their owner has no certificate.
    without: u64,
    /// Drafts, and what lies in the mailboxes for what is still to be written or sent.
    drafts: u64,
    no_mail: u64,
    deleted: u64,
    failed: u64,
    /// How many bytes larger the encrypted messages are than they were.
    growth: u64,
    /// True if something failed for a whole mailbox or user.
    broken: bool,
}

impl Counts {
    /// The counts of a mailbox or user that could not be read.
    pub fn broken() -> Self {
        Self { broken: true, ..Self::default() }
    }

    /// Counts `messages`, the content of the mailbox before the run. `left` is its content afterwards, or
    /// `None` in a dry run.
    ///
    /// The log is not enough: sieve-filter logs that a message is encrypted before it is stored, and logs
    /// nothing of messages that it does not reach. If the script `chooses` messages, only those that were
    /// encrypted must be gone.
    pub fn new(messages: &[Message], left: Option<&[Message]>, seen: &Seen, chooses: bool) -> Self {
        let drafts = messages.iter().filter(|m| m.draft && !m.deleted).count() as u64;
        let deleted = messages.iter().filter(|m| m.deleted).count() as u64;
        let there: HashSet<u32> = left.unwrap_or_default().iter().map(|m| m.uid).collect();
        let to_do = messages.iter().filter(|m| !m.draft && !m.deleted);
        let (to_do, gone) = to_do
            .fold((0, 0), |(all, gone), message| (all + 1, gone + u64::from(!there.contains(&message.uid))));
        let encrypted = if left.is_some() { seen.encrypted.min(gone) } else { seen.encrypted };
        let failed = match (chooses, left) {
            (true, _) => seen.failed + (seen.encrypted - encrypted),
            // Mail that arrived encrypted during the run is counted in `already`. It must not make up for a
            // failure.
            (false, Some(_)) => (to_do - gone).saturating_sub(seen.left()).max(seen.failed),
            (false, None) => to_do.saturating_sub(seen.encrypted + seen.left()).max(seen.failed),
        };
        Self {
            messages: messages.len() as u64,
            encrypted,
            already: seen.already,
            without: seen.without,
            drafts: drafts + seen.unsent,
            no_mail: seen.no_mail,
            deleted,
            failed,
            growth: seen.growth,
            broken: seen.broken,
        }
    }

    /// Returns true if the exit status has to be 1.
    pub fn is_failure(&self) -> bool {
        self.failed > 0 || self.broken
    }

    /// Returns how many bytes larger the encrypted messages are than they were.
    pub fn growth(&self) -> u64 {
        self.growth
    }

    /// Returns the line that is shown.
    pub fn summary(&self, dry_run: bool) -> String {
        let would_be = if dry_run { "would be " } else { "" };
        let unless_none =
            |name: &str, count| if count > 0 { format!(", {name} {count}") } else { String::new() };
        format!(
            "messages: {}; {would_be}encrypted now: {}, encrypted already: {}, left: drafts {}, marked as deleted {}{}{}; \
             failed: {}{}",
            self.messages,
            self.encrypted,
            self.already,
            self.drafts,
            self.deleted,
            unless_none("no mail", self.no_mail),
            unless_none("without certificate", self.without),
            self.failed,
            if self.broken { "; incomplete" } else { "" }
        )
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.encrypted += other.encrypted;
        self.already += other.already;
        self.without += other.without;
        self.drafts += other.drafts;
        self.no_mail += other.no_mail;
        self.growth += other.growth;
        self.deleted += other.deleted;
        self.failed += other.failed;
        self.broken |= other.broken;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_sieve_filter_are_understood() {
        for (line, expected) in [
            (
                "sieve-filter: Info: sieve: encrypt: message encrypted: 93 -> 1611 bytes, 6.348 ms, to 72",
                Line::Encrypted(1518),
            ),
            (
                "sieve-filter: Info: sieve: encrypt: message left as it is: it is encrypted already",
                Line::AlreadyEncrypted,
            ),
            (
                "sieve-filter: Info: sieve: encrypt: message left as it is: its owner has no certificate: none",
                Line::NoCertificate,
            ),
            (
                "sieve-filter: Info: sieve: encrypt: message left as it is: its mailbox is for what is still to be written or sent",
                Line::Unsent,
            ),
            (
                "sieve-filter: Info: sieve: encrypt: message left as it is: it is no mail, but a note or other data that a \
                 program keeps there",
                Line::NoMail,
            ),
            ("sieve-filter: Info: sieve: encrypt: message left as it is: it is a draft", Line::Other),
            (
                "sieve-filter: Error: sieve: encrypt: message not encrypted, deferred: no certificate",
                Line::NotEncrypted("sieve: encrypt: message not encrypted, deferred: no certificate"),
            ),
            ("sieve-filter: Fatal: Couldn't open", Line::Error("Couldn't open")),
            ("sieve-filter(me)<1><>: Error: auth: no: really", Line::Error("auth: no: really")),
            ("sieve-filter: Warning: slow", Line::Trouble("slow")),
            ("error: sieve script execution failed", Line::Error("sieve script execution failed")),
            ("what is this", Line::Trouble("what is this")),
            ("", Line::Other),
            // A Message-ID is chosen by the sender.
            (
                "sieve-filter: Info: sieve: msgid=<: sieve: encrypt: message encrypted: >: stored mail",
                Line::Other,
            ),
            ("sieve-filter: Info: sieve: msgid=<x: Error: y>: stored mail into mailbox 'INBOX'", Line::Other),
        ] {
            assert_eq!(Line::parse(line), expected, "{line}");
        }
    }

    fn message(uid: u32, flags: &str) -> Message {
        Message::parse(&format!("{uid}\t{flags}")).unwrap()
    }

    #[test]
    fn what_is_still_there_and_was_not_encrypted_has_failed() {
        let messages = [
            message(1, ""),
            message(2, "\\Draft"),
            message(3, "\\Seen"),
            message(4, "\\Deleted"),
            message(5, ""),
        ];
        let seen = Seen { encrypted: 2, already: 1, ..Seen::default() };
        let after = [message(2, ""), message(3, ""), message(4, ""), message(5, ""), message(6, "")];
        let counts = Counts::new(&messages, Some(&after), &seen, false);
        assert_eq!(
            counts,
            Counts {
                messages: 5,
                encrypted: 1,
                already: 1,
                drafts: 1,
                deleted: 1,
                failed: 1,
                ..Counts::default()
            }
        );
        assert!(counts.is_failure());
        let without = Seen { encrypted: 1, already: 1, without: 1, ..Seen::default() };
        let counts = Counts::new(&messages, Some(&after), &without, false);
        assert!(!counts.is_failure() && counts.summary(false).contains(", without certificate 1; failed: 0"));
        let exempt = Seen { unsent: 1, no_mail: 2, growth: 9, ..Seen::default() };
        let counts = Counts::new(&messages, Some(&messages), &exempt, false);
        assert_eq!((counts.failed, counts.growth()), (0, 9));
        assert!(counts.summary(false).ends_with("left: drafts 2, marked as deleted 1, no mail 2; failed: 0"));
        let dry = Counts::new(&messages, None, &seen, false);
        assert_eq!((dry.encrypted, dry.already, dry.failed), (2, 1, 0));
        assert!(!dry.is_failure());
    }

    #[test]
    fn a_failure_is_not_hidden_by_mail_that_arrives_encrypted() {
        let messages = [message(1, "")];
        let after = [message(1, ""), message(2, "")];
        let seen = Seen { already: 1, failed: 1, ..Seen::default() };
        assert_eq!(Counts::new(&messages, Some(&after), &seen, false).failed, 1);
        assert_eq!(Counts::new(&messages, None, &seen, false).failed, 1);
        let mut seen = Seen::default();
        seen.add(&Line::Trouble("slow"));
        assert!(!Counts::new(&[], Some(&[]), &seen, false).is_failure());
        seen.add(&Line::Error("no"));
        assert!(Counts::new(&[], Some(&[]), &seen, false).is_failure());
    }

    #[test]
    fn a_script_may_choose() {
        let messages = [message(1, ""), message(2, ""), message(3, ""), message(4, "")];
        let after = [message(2, ""), message(3, ""), message(4, ""), message(5, "")];
        let failed = |encrypted, failed, left: Option<&[Message]>| {
            Counts::new(&messages, left, &Seen { encrypted, failed, ..Seen::default() }, true).failed
        };
        assert_eq!(failed(1, 0, Some(&after)), 0, "the others were not chosen");
        assert_eq!(failed(2, 1, Some(&after)), 2, "one was not stored, one not encrypted");
        assert_eq!((failed(2, 0, None), failed(2, 1, None)), (0, 1));
    }
}
