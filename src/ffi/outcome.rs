//! Implements `perot_result`: the outcome of a call, with its report and the ciphertext.

use std::os::fd::IntoRawFd;
use std::time::Duration;

use super::contract::{perot_bytes, perot_field, perot_report, perot_result, PEROT_LEVEL_DEBUG};
use super::host::level;
use crate::encrypt::Outcome;
use crate::error::{Error, Reason, Result, Words};
use crate::guard::guard;
use crate::log::{printable, Level};
use crate::settings::OnError;
use crate::spool::Waiting;
use crate::verdict::{Terms, Value, Verdict, Whereabouts};

/// The outcome of one call. The host owns it until it calls `free()`.
pub struct CallResult {
    verdict: Verdict,
    ciphertext: Option<Waiting>,
    /// The terms for a new verdict, in case the host refuses the ciphertext.
    terms: Option<(Terms, Words)>,
    /// The verdict in C's types. It points into `verdict`, which does not change as long as this is set.
    report: Option<Report>,
}

struct Report {
    report: perot_report,
    /// `report.fields` points to them.
    _fields: Vec<perot_field>,
}

impl CallResult {
    fn give(self) -> *mut perot_result {
        Box::into_raw(Box::new(self)).cast()
    }

    /// Makes the result of an encryption that took `elapsed`.
    pub fn from_encryption(
        outcome: Result<(Outcome, Waiting)>,
        terms: Terms,
        elapsed: Duration,
        words: &Words,
    ) -> *mut perot_result {
        let result = guard(|| {
            let (outcome, ciphertext) = outcome
                .map_or_else(|why| (Err(why), None), |(outcome, ciphertext)| (Ok(outcome), Some(ciphertext)));
            let verdict = Verdict::of(&outcome, &terms, elapsed, words);
            let ciphertext = ciphertext.filter(|_| verdict.replaces);
            Self { verdict, ciphertext, terms: Some((terms, words.clone())), report: None }
        });
        // If making the verdict panics, the message is deferred without a line in the log: making one could
        // panic again.
        let deferred = || Self::of(Verdict { defer: true, ..Verdict::nothing() });
        result.unwrap_or_else(|_| deferred()).give()
    }

    /// Makes the result of a failure that happened before the host's terms were known. The message is
    /// deferred.
    pub fn from_failure(why: Error, elapsed: Duration) -> *mut perot_result {
        let terms = Terms {
            whereabouts: Whereabouts::Delivery,
            form: None,
            try_only: false,
            on_error: OnError::TempFail,
        };
        Self::from_encryption(Err(why), terms, elapsed, &Words::default())
    }

    /// Makes the result of a check: its report has the advice for the author of a script.
    pub fn from_advice(advice: Option<(Level, String)>) -> *mut perot_result {
        let verdict = advice.map_or_else(Verdict::nothing, |(level, text)| Verdict::of_advice(level, text));
        Self::from_verdict(verdict)
    }

    /// Makes a result that has no ciphertext.
    pub fn from_verdict(verdict: Verdict) -> *mut perot_result {
        Self::of(verdict).give()
    }

    fn of(verdict: Verdict) -> Self {
        Self { verdict, ciphertext: None, terms: None, report: None }
    }

    /// Turns the result into a failure, because the host could not replace the message by the ciphertext.
    fn refuse(&mut self, why: &str) {
        self.report = None;
        self.ciphertext = None;
        let Some((terms, words)) = &self.terms else { return };
        let outcome = Err(Error::new(Reason::WriteFailed, why));
        self.verdict = Verdict::of(&outcome, terms, Duration::ZERO, words);
    }

    fn report(&mut self) -> &perot_report {
        let verdict = &self.verdict;
        &self.report.get_or_insert_with(|| Report::new(verdict)).report
    }
}

impl Report {
    fn new(verdict: &Verdict) -> Self {
        let field = |(name, value): &(&'static std::ffi::CStr, Value)| {
            let (text, number) = match value {
                Value::Text(text) => (perot_bytes::lend(text.as_bytes()), 0),
                Value::Number(number) => (perot_bytes::NONE, i64::try_from(*number).unwrap_or(i64::MAX)),
            };
            perot_field { name: name.as_ptr(), text, number }
        };
        let fields: Vec<perot_field> = verdict.fields.iter().map(field).collect();
        let line = verdict.line.as_ref();
        let report = perot_report {
            defer: verdict.defer,
            encrypted: verdict.encrypted,
            replaces: verdict.replaces,
            has_line: line.is_some(),
            level: line.map_or(PEROT_LEVEL_DEBUG, |(at, _)| level(*at)),
            line: line.map_or(perot_bytes::NONE, |(_, text)| perot_bytes::lend(text.as_bytes())),
            answer: perot_bytes::lend(verdict.answer.as_bytes()),
            fields: fields.as_ptr(),
            field_count: fields.len(),
        };
        Self { report, _fields: fields }
    }
}

/// The report if none can be made: the message is deferred, and nothing is logged.
static DEFER: ConstantReport = ConstantReport(perot_report {
    defer: true,
    encrypted: false,
    replaces: false,
    has_line: false,
    level: PEROT_LEVEL_DEBUG,
    line: perot_bytes::NONE,
    answer: perot_bytes::NONE,
    fields: std::ptr::null(),
    field_count: 0,
});

struct ConstantReport(perot_report);

// SAFETY: all of its pointers are NULL.
unsafe impl Sync for ConstantReport {}

pub(super) unsafe extern "C" fn core_report(result: *mut perot_result) -> *const perot_report {
    // SAFETY: promise 5: NULL, or a result that is the host's, and no other reference to it is alive.
    match unsafe { result.cast::<CallResult>().as_mut() } {
        Some(result) => guard(|| std::ptr::from_ref(result.report())).unwrap_or(&DEFER.0),
        None => &DEFER.0,
    }
}

pub(super) unsafe extern "C" fn core_take(result: *mut perot_result, bytes: *mut perot_bytes) -> i32 {
    // SAFETY: promise 5, and promise 1 for the place of the bytes.
    let (result, bytes) = unsafe { (result.cast::<CallResult>().as_mut(), bytes.as_mut()) };
    let (Some(result), Some(bytes)) = (result, bytes) else { return -1 };
    *bytes = perot_bytes::NONE;
    match result.ciphertext.take() {
        None => -1,
        Some(Waiting::File(file)) => file.into_raw_fd(),
        Some(Waiting::Memory(memory)) => {
            *bytes = perot_bytes::lend(&memory);
            // The result keeps the bytes until it is freed.
            result.ciphertext = Some(Waiting::Memory(memory));
            -1
        }
    }
}

pub(super) unsafe extern "C" fn core_refuse(result: *mut perot_result, why: perot_bytes) {
    // SAFETY: promise 5.
    let Some(result) = (unsafe { result.cast::<CallResult>().as_mut() }) else { return };
    // SAFETY: promise 1.
    let why = unsafe { why.get() }.unwrap_or_default();
    if guard(|| result.refuse(&printable(why))).is_err() {
        *result = CallResult::of(Verdict { defer: true, ..Verdict::nothing() });
    }
}

pub(super) unsafe extern "C" fn core_free(result: *mut perot_result) {
    if result.is_null() {
        return;
    }
    // SAFETY: promise 5: it came out of `Box::into_raw` in `give`, and is given back once.
    let result = unsafe { Box::from_raw(result.cast::<CallResult>()) };
    let _ = guard(|| drop(result));
}
