//! Judges an outcome: go on or defer, the line for the log, the fields of the event. It needs nothing of the host, so that
//! every combination can be tested without Dovecot.

use std::ffi::CStr;
use std::time::Duration;

use crate::encrypt::Outcome;
use crate::error::{Error, Place, Reason, Setting, Words};
use crate::log::Level;
use crate::settings::{Deliveries, OnError};

/// Where the message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// On its way into a mailbox: the MTA keeps it until it is stored.
    Delivery,
    /// In a mailbox already: what fails leaves it there as it is.
    Mailbox,
}

/// How encryption is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// By a script, as an action.
    Action,
    /// By a script, as a test: it decides what a failure means.
    Test,
    /// By the settings: the message is about to be stored.
    Store,
}

/// The terms on which an outcome is judged: who asked for what, and where the message is.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Where the message is.
    pub whereabouts: Whereabouts,
    /// How it is asked for; `None` if that cannot be told: then nobody has asked to go on.
    pub form: Option<Form>,
    /// The script asks to go on with the message as it was (`:try`).
    pub try_only: bool,
    /// The administrator's setting for failures.
    pub on_error: OnError,
    /// The number of actions of scripts that store or send the message in clear, even if it is encrypted.
    pub clear_copies: u64,
}

/// The value of a field of the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A number.
    Number(u64),
}

/// A judgement: the host does what it says, and logs its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The message is not to be stored as it is: a temporary failure.
    pub defer: bool,
    /// All of the message is encrypted now.
    pub encrypted: bool,
    /// The message may be stored as it is, and not because something has failed.
    pub passes: bool,
    /// There is ciphertext to be put in the place of the message.
    pub replaces: bool,
    /// The line for the log.
    pub line: Option<(Level, String)>,
    /// The sentence with which LMTP answers to a failure. It names no path, key or person, since senders may see it.
    pub answer: String,
    /// The fields of the event; none: there is no event.
    pub fields: Vec<(&'static CStr, Value)>,
}

/// Begins the line of a message that has been encrypted; the figures follow.
const ENCRYPTED: &str = "message encrypted: ";
/// The line of a message that was encrypted before.
const ALREADY_ENCRYPTED: &str = "message left as it is: it is encrypted already";
/// Begins the line of a message whose owner has no certificate, and that the settings have left as it is; where the
/// search went follows.
const NO_CERTIFICATE: &str = "message left as it is: its owner has no certificate: ";
/// The lines of messages that are exempt.
const DRAFT: &str = "message left as it is: it is a draft";
const UNSENT: &str = "message left as it is: its mailbox is for what is still to be written or sent";
const NO_MAIL: &str =
    "message left as it is: it is no mail, but a note or other data that a program keeps there";
/// Begins the line of a message that could not be encrypted; the consequence follows.
const NOT_ENCRYPTED: &str = "message not encrypted, ";

/// The outcome that a line of the log tells. The tool reads it back, since sieve-filter has no other output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It has been encrypted, with the sizes before and after, in bytes.
    Encrypted([u64; 2]),
    /// It was encrypted before.
    AlreadyEncrypted,
    /// Its owner has no certificate, and the settings have it left as it is.
    NoCertificate,
    /// It is exempt.
    Exempt(Exemption),
    /// It could not be encrypted.
    NotEncrypted,
}

/// Why a message is left as it is, whatever else is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exemption {
    /// Its owner has not finished writing it.
    Draft,
    /// It lies in a mailbox for drafts, for templates, or for what is to be sent.
    Unsent,
    /// A program keeps something there that is no mail.
    NoMail,
}

impl Said {
    /// Reads a line; `None` if it is about something else.
    pub fn by(line: &str) -> Option<Self> {
        let begins = |with| line.starts_with(with);
        match () {
            () if begins(ENCRYPTED) => sizes(line).map(Self::Encrypted),
            () if begins(ALREADY_ENCRYPTED) => Some(Self::AlreadyEncrypted),
            () if begins(NO_CERTIFICATE) => Some(Self::NoCertificate),
            () if begins(DRAFT) => Some(Self::Exempt(Exemption::Draft)),
            () if begins(UNSENT) => Some(Self::Exempt(Exemption::Unsent)),
            () if begins(NO_MAIL) => Some(Self::Exempt(Exemption::NoMail)),
            () if begins(NOT_ENCRYPTED) => Some(Self::NotEncrypted),
            () => None,
        }
    }
}

/// Reads the sizes in the line of a message that has been encrypted.
fn sizes(line: &str) -> Option<[u64; 2]> {
    let (before, rest) = line.strip_prefix(ENCRYPTED)?.split_once(" -> ")?;
    let (after, _) = rest.split_once(" bytes, ")?;
    Some([before.parse().ok()?, after.parse().ok()?])
}

impl Terms {
    /// The terms of a delivery of which nothing else is known: a failure defers it.
    pub fn unknown() -> Self {
        Self {
            whereabouts: Whereabouts::Delivery,
            form: None,
            try_only: false,
            on_error: OnError::TempFail,
            clear_copies: 0,
        }
    }

    /// Returns true if a failure defers the message.
    fn defers(&self) -> bool {
        match self.form {
            None => true,
            Some(Form::Test) => false,
            Some(Form::Action | Form::Store) => !self.try_only && self.on_error == OnError::TempFail,
        }
    }

    /// Names the consequence of a failure, for the log.
    fn consequence(&self) -> &'static str {
        match (self.defers(), self.form) {
            (true, _) => self.deferred(),
            (false, Some(Form::Test)) => "the test is false",
            (false, Some(Form::Store)) => "stored as it is",
            (false, _) => "the script goes on with it as it was",
        }
    }

    fn deferred(&self) -> &'static str {
        match (self.whereabouts, self.form) {
            (Whereabouts::Delivery, _) => "deferred",
            (Whereabouts::Mailbox, Some(Form::Store)) => "not stored",
            (Whereabouts::Mailbox, _) => "left as it is",
        }
    }
}

impl Verdict {
    /// Judges an attempt to encrypt that took `elapsed`.
    pub fn of(outcome: &Result<Outcome, Error>, terms: &Terms, elapsed: Duration, words: &Words) -> Self {
        match outcome {
            Ok(Outcome::Encrypted { recipients, bytes_in, bytes_out }) => {
                let recipients = recipients.join(",");
                let micros = elapsed.as_micros();
                let (milliseconds, fraction) = (micros / 1000, micros % 1000);
                let line = format!(
                    "{ENCRYPTED}{bytes_in} -> {bytes_out} bytes, {milliseconds}.{fraction:03} ms, to {recipients}"
                );
                let mut fields = fields("encrypted", "", false, [*bytes_in, *bytes_out], recipients);
                fields.push((c"clear_copies", Value::Number(terms.clear_copies)));
                Self {
                    encrypted: true,
                    replaces: true,
                    line: Some((Level::Info, line)),
                    fields,
                    ..Self::nothing()
                }
            }
            Ok(Outcome::AlreadyEncrypted) => Self {
                encrypted: true,
                line: Some((Level::Info, ALREADY_ENCRYPTED.to_owned())),
                fields: fields("already_encrypted", "", false, [0, 0], String::new()),
                ..Self::nothing()
            },
            Ok(Outcome::NoCertificate { why }) => Self {
                passes: true,
                line: Some((Level::Info, format!("{NO_CERTIFICATE}{why}"))),
                fields: fields("no_certificate", "", false, [0, 0], String::new()),
                ..Self::nothing()
            },
            Err(error) => {
                let reason = error.reason().token();
                let deferred = terms.defers() && terms.whereabouts == Whereabouts::Delivery;
                let line = format!("{NOT_ENCRYPTED}{}: {}", terms.consequence(), error.in_words(words));
                Self {
                    defer: terms.defers(),
                    line: Some((Level::Error, line)),
                    answer: answer(error.reason()),
                    fields: fields("failed", reason, deferred, [0, 0], String::new()),
                    ..Self::nothing()
                }
            }
        }
    }

    /// Leaves a message alone that is exempt. For Dovecot's statistics, all of these are drafts.
    pub fn of_exemption(exemption: Exemption) -> Self {
        let line = match exemption {
            Exemption::Draft => DRAFT,
            Exemption::Unsent => UNSENT,
            Exemption::NoMail => NO_MAIL,
        };
        Self {
            passes: true,
            line: Some((Level::Info, line.to_owned())),
            fields: fields("draft", "", false, [0, 0], String::new()),
            ..Self::nothing()
        }
    }

    /// Leaves a message alone that another session has removed from its mailbox.
    pub fn of_expunged() -> Self {
        let line = "message is gone: another session has removed it".to_owned();
        Self { line: Some((Level::Info, line)), ..Self::nothing() }
    }

    /// Passes a message whose encryption has been logged before in this delivery.
    pub fn of_known() -> Self {
        Self { encrypted: true, ..Self::nothing() }
    }

    /// Leaves a message alone that is about to be stored in a mailbox that is not the user's own.
    pub fn of_foreign() -> Self {
        let line = "message left as it is: the mailbox is not the user's own".to_owned();
        Self { line: Some((Level::Info, line)), ..Self::nothing() }
    }

    /// Judges a message that is about to be stored, where the settings do not have it encrypted.
    pub fn of_delivery(encrypted: Result<bool, Error>, deliveries: Deliveries, words: &Words) -> Self {
        let on_error = if deliveries == Deliveries::Refuse { OnError::TempFail } else { OnError::Keep };
        let terms = Terms { form: Some(Form::Store), on_error, ..Terms::unknown() };
        let outcome = encrypted.and_then(|encrypted| match (encrypted, deliveries) {
            (true, _) => Ok(Outcome::AlreadyEncrypted),
            (false, Deliveries::Refuse) => Err(Error::new(Reason::NotEncrypted, "no script has encrypted it")
                .about(Place::Value(Setting::Deliveries, "refuse".into()))
                .helps(
                    "Is there a script, does it compile, and does it come to `encrypt` before it or another one ends?",
                )),
            (false, _) => Err(Error::new(Reason::NotEncrypted, "nobody has encrypted it")
                .about(Place::Value(Setting::Deliveries, "warn".into()))
                .helps("write `encrypt` to have it encrypted")),
        });
        Self::of(&outcome, &terms, Duration::ZERO, words)
    }

    /// Answers the test `encrypted`, or defers the message if it cannot be read.
    pub fn of_look(encrypted: &Result<bool, Error>, terms: &Terms, words: &Words) -> Self {
        match encrypted {
            Ok(encrypted) => Self { encrypted: *encrypted, ..Self::nothing() },
            // There is no answer that would be right, whatever the script would do with it.
            Err(error) => {
                let line = format!("no answer, {}: {}", terms.deferred(), error.in_words(words));
                let line = Some((Level::Error, line));
                Self { defer: true, line, answer: answer(error.reason()), ..Self::nothing() }
            }
        }
    }

    /// Defers the message, because making its verdict panicked.
    pub fn of_fault() -> Self {
        let line = format!("{NOT_ENCRYPTED}deferred: a fault in perot-encrypt");
        Self {
            defer: true,
            line: Some((Level::Error, line)),
            answer: answer(Reason::Internal),
            ..Self::nothing()
        }
    }

    /// Goes on, and says `text` to the author of a script.
    pub fn of_advice(level: Level, text: String) -> Self {
        Self { line: Some((level, text)), ..Self::nothing() }
    }

    /// Goes on, and has nothing to say.
    pub fn nothing() -> Self {
        Self {
            defer: false,
            encrypted: false,
            passes: false,
            replaces: false,
            line: None,
            answer: String::new(),
            fields: Vec::new(),
        }
    }
}

fn answer(reason: Reason) -> String {
    if reason == Reason::NotEncrypted {
        return "Message is not encrypted: no script has encrypted it".to_owned();
    }
    let token = reason.token();
    format!("Message could not be encrypted for its owner ({token}): the log of the mail server says more")
}

fn fields(
    outcome: &str,
    reason: &str,
    deferred: bool,
    [bytes_in, bytes_out]: [u64; 2],
    recipients: String,
) -> Vec<(&'static CStr, Value)> {
    let text = |text: &str| Value::Text(text.to_owned());
    vec![
        (c"outcome", text(outcome)),
        (c"reason", text(reason)),
        (c"deferred", text(if deferred { "yes" } else { "no" })),
        (c"bytes_in", Value::Number(bytes_in)),
        (c"bytes_out", Value::Number(bytes_out)),
        (c"recipients", Value::Text(recipients)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reason;

    fn all_terms() -> Vec<Terms> {
        let mut all = Vec::new();
        for whereabouts in [Whereabouts::Delivery, Whereabouts::Mailbox] {
            for form in [None, Some(Form::Action), Some(Form::Test), Some(Form::Store)] {
                for try_only in [false, true] {
                    for on_error in [OnError::TempFail, OnError::Keep] {
                        all.push(Terms { whereabouts, form, try_only, on_error, clear_copies: 2 });
                    }
                }
            }
        }
        all
    }

    fn field<'a>(verdict: &'a Verdict, name: &CStr) -> &'a Value {
        &verdict.fields.iter().find(|(n, _)| *n == name).unwrap().1
    }

    fn judge(outcome: Result<Outcome, Error>, terms: &Terms) -> Verdict {
        Verdict::of(&outcome, terms, Duration::from_micros(1_234_005), &Words::default())
    }

    #[test]
    fn success_is_the_same_on_all_terms() {
        let recipients = vec!["AA".to_owned(), "BB".to_owned()];
        let outcome = Outcome::Encrypted { recipients, bytes_in: 5, bytes_out: 99 };
        for terms in all_terms() {
            let verdict = judge(Ok(outcome.clone()), &terms);
            assert!(verdict.encrypted && verdict.replaces && !verdict.defer && verdict.answer.is_empty());
            let line = "message encrypted: 5 -> 99 bytes, 1234.005 ms, to AA,BB".to_owned();
            assert_eq!(Said::by(&line), Some(Said::Encrypted([5, 99])));
            assert_eq!(Said::by("message encrypted: x -> 99 bytes, to AA"), None);
            assert_eq!(verdict.line, Some((Level::Info, line)));
            assert_eq!(field(&verdict, c"outcome"), &Value::Text("encrypted".into()));
            assert_eq!(field(&verdict, c"bytes_out"), &Value::Number(99));
            assert_eq!(field(&verdict, c"recipients"), &Value::Text("AA,BB".into()));
            assert_eq!(field(&verdict, c"clear_copies"), &Value::Number(2));

            let verdict = judge(Ok(Outcome::AlreadyEncrypted), &terms);
            assert!(verdict.encrypted && !verdict.replaces && !verdict.defer);
            let (level, line) = verdict.line.clone().unwrap();
            assert_eq!((level, Said::by(&line)), (Level::Info, Some(Said::AlreadyEncrypted)));
            assert_eq!(field(&verdict, c"outcome"), &Value::Text("already_encrypted".into()));

            let verdict = judge(Ok(Outcome::NoCertificate { why: "none".into() }), &terms);
            assert!(!verdict.encrypted && !verdict.replaces && !verdict.defer);
            let (level, line) = verdict.line.clone().unwrap();
            assert_eq!((level, Said::by(&line)), (Level::Info, Some(Said::NoCertificate)));
            assert_eq!(field(&verdict, c"outcome"), &Value::Text("no_certificate".into()));
        }
    }

    /// Every combination: only what somebody has asked for in writing lets a message pass that is not encrypted.
    #[test]
    fn failure_defers_unless_somebody_asked_otherwise() {
        for terms in all_terms() {
            let verdict = judge(Err(Error::new(Reason::BadSource, "it is gone")), &terms);
            let (defer, consequence) = match (terms.form, terms.try_only, terms.on_error, terms.whereabouts) {
                (Some(Form::Test), ..) => (false, "the test is false"),
                (Some(Form::Action), true, ..) | (Some(Form::Action), _, OnError::Keep, _) => {
                    (false, "the script goes on with it as it was")
                }
                (Some(Form::Store), true, ..) | (Some(Form::Store), _, OnError::Keep, _) => {
                    (false, "stored as it is")
                }
                (.., Whereabouts::Delivery) => (true, "deferred"),
                (Some(Form::Store), ..) => (true, "not stored"),
                (.., Whereabouts::Mailbox) => (true, "left as it is"),
            };
            assert_eq!(verdict.defer, defer, "{terms:?}");
            assert!(!verdict.encrypted && !verdict.replaces);
            let line = format!("message not encrypted, {consequence}: it is gone");
            assert_eq!(Said::by(&line), Some(Said::NotEncrypted));
            assert_eq!(verdict.line, Some((Level::Error, line)), "{terms:?}");
            assert_eq!(field(&verdict, c"reason"), &Value::Text("bad_source".into()));
            let deferred = defer && terms.whereabouts == Whereabouts::Delivery;
            let text = if deferred { "yes" } else { "no" };
            assert_eq!(field(&verdict, c"deferred"), &Value::Text(text.into()), "{terms:?}");
            assert!(verdict.answer.contains("(bad_source)") && !verdict.answer.contains("gone"));
        }
    }

    #[test]
    fn a_look_has_an_answer_or_defers() {
        for terms in all_terms() {
            let look = |encrypted| Verdict::of_look(&encrypted, &terms, &Words::default());
            assert_eq!(look(Ok(true)), Verdict { encrypted: true, ..Verdict::nothing() });
            assert_eq!(look(Ok(false)), Verdict::nothing());
            let verdict = look(Err(Error::new(Reason::UnreadableMessage, "no")));
            assert!(verdict.defer && !verdict.encrypted && verdict.fields.is_empty());
            let (level, line) = verdict.line.unwrap();
            assert_eq!((level, Said::by(&line)), (Level::Error, None));
        }
    }

    #[test]
    fn what_is_left_alone_is_stored_as_it_is() {
        let exemptions = [Exemption::Draft, Exemption::Unsent, Exemption::NoMail]
            .map(|exemption| (Verdict::of_exemption(exemption), Some(Said::Exempt(exemption))));
        for (verdict, said) in exemptions.into_iter().chain([(Verdict::of_foreign(), None)]) {
            assert!(!verdict.defer && !verdict.encrypted && !verdict.replaces);
            assert_eq!(Said::by(&verdict.line.unwrap().1), said);
        }
        assert_eq!(Verdict::of_known(), Verdict { encrypted: true, ..Verdict::nothing() });
    }

    #[test]
    fn what_the_administrator_wants_of_deliveries() {
        let unreadable = || Err(Error::new(Reason::UnreadableMessage, "it is gone"));
        for (encrypted, deliveries, defer, said, answer) in [
            (Ok(true), Deliveries::Refuse, false, "left as it is: it is encrypted already", ""),
            (Ok(true), Deliveries::Warn, false, "left as it is: it is encrypted already", ""),
            (
                Ok(false),
                Deliveries::Refuse,
                true,
                "not encrypted, deferred: perot_encrypt_deliveries = refuse: ",
                "no script",
            ),
            (
                Ok(false),
                Deliveries::Warn,
                false,
                "not encrypted, stored as it is: perot_encrypt_deliveries = warn: ",
                "",
            ),
            (
                unreadable(),
                Deliveries::Refuse,
                true,
                "not encrypted, deferred: it is gone",
                "(unreadable_message)",
            ),
            (unreadable(), Deliveries::Warn, false, "not encrypted, stored as it is: it is gone", ""),
        ] {
            let verdict = Verdict::of_delivery(encrypted, deliveries, &Words::default());
            assert_eq!((verdict.defer, verdict.replaces), (defer, false), "{said}");
            let (_, line) = verdict.line.unwrap();
            assert!(line.starts_with(&format!("message {said}")), "{line}");
            assert!(!defer || verdict.answer.contains(answer), "{}", verdict.answer);
        }
    }

    #[test]
    fn other_lines_say_nothing_of_a_message() {
        for line in ["", "certificate X has expired", "the message encrypted: x", " message encrypted: x"] {
            assert_eq!(Said::by(line), None, "{line}");
        }
    }
}
