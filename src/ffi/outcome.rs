//! Implements `perot_result`: the outcome of a call, with its report and the ciphertext.

use std::os::fd::IntoRawFd;
use std::time::Duration;

use super::contract::{perot_bytes, perot_field, perot_report, perot_result, PEROT_LEVEL_DEBUG};
use super::host::level;
use crate::encrypt::Outcome;
use crate::error::{Error, Reason, Result, Words};
use crate::guard::guard;
use crate::log::printable_line;
use crate::spool::Waiting;
use crate::verdict::{Terms, Value, Verdict};

/// The outcome of one call. The host owns it until it calls `free()`.
pub struct CallResult {
    judgement: Judgement,
    ciphertext: Option<Waiting>,
    /// The terms for a new verdict, in case the host refuses the ciphertext.
    terms: Option<(Terms, Words)>,
}

/// A verdict, and the same in C's types. These point to the strings of the verdict, which do not move when the struct
/// does.
struct Judgement {
    report: perot_report,
    /// `report.fields` points to them.
    _fields: Vec<perot_field>,
    _verdict: Verdict,
}

impl CallResult {
    /// Gives the host what `make` makes. If that panics, it is a failure that defers the message.
    fn give(make: impl FnOnce() -> Self) -> *mut perot_result {
        let result = guard(make).unwrap_or_else(|_| Self::of(Verdict::of_fault()));
        Box::into_raw(Box::new(result)).cast()
    }

    /// Gives the host the result of an encryption that took `elapsed`.
    pub fn from_encryption(
        outcome: Result<(Outcome, Waiting)>,
        terms: Terms,
        elapsed: Duration,
        words: &Words,
    ) -> *mut perot_result {
        Self::give(|| {
            let (outcome, ciphertext) = outcome
                .map_or_else(|why| (Err(why), None), |(outcome, ciphertext)| (Ok(outcome), Some(ciphertext)));
            let verdict = Verdict::of(&outcome, &terms, elapsed, words);
            let ciphertext = ciphertext.filter(|_| verdict.replaces);
            Self { ciphertext, terms: Some((terms, words.clone())), ..Self::of(verdict) }
        })
    }

    /// Gives the host a failure that happened before its terms were known. The message is deferred.
    pub fn from_failure(why: Error, elapsed: Duration) -> *mut perot_result {
        Self::from_encryption(Err(why), Terms::unknown(), elapsed, &Words::default())
    }

    /// Gives the host the verdict that `judge` comes to.
    pub fn from_verdict(judge: impl FnOnce() -> Verdict) -> *mut perot_result {
        Self::give(|| Self::of(judge()))
    }

    fn of(verdict: Verdict) -> Self {
        Self { judgement: Judgement::new(verdict), ciphertext: None, terms: None }
    }

    /// Returns the failure that the result becomes when the host cannot replace the message by the ciphertext.
    fn refused(&self, why: &str) -> Self {
        let (terms, words) = match &self.terms {
            Some((terms, words)) => (terms, words),
            None => return Self::of(Verdict::of_fault()),
        };
        let outcome = Err(Error::new(Reason::WriteFailed, why));
        Self::of(Verdict::of(&outcome, terms, Duration::ZERO, words))
    }
}

impl Judgement {
    fn new(verdict: Verdict) -> Self {
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
            passes: verdict.passes,
            replaces: verdict.replaces,
            has_line: line.is_some(),
            level: line.map_or(PEROT_LEVEL_DEBUG, |(at, _)| level(*at)),
            line: line.map_or(perot_bytes::NONE, |(_, text)| perot_bytes::lend(text.as_bytes())),
            answer: perot_bytes::lend(verdict.answer.as_bytes()),
            fields: fields.as_ptr(),
            field_count: fields.len(),
        };
        Self { report, _fields: fields, _verdict: verdict }
    }
}

/// The report of no result: the message is deferred, and nothing is logged.
static DEFER: ConstantReport = ConstantReport(perot_report {
    defer: true,
    encrypted: false,
    passes: false,
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
    // SAFETY: promise 5: NULL, or a result that is the host's, and nobody changes it during this call.
    match unsafe { result.cast::<CallResult>().as_ref() } {
        Some(result) => &result.judgement.report,
        None => &DEFER.0,
    }
}

pub(super) unsafe extern "C" fn core_take(result: *mut perot_result, bytes: *mut perot_bytes) -> i32 {
    let result = result.cast::<CallResult>();
    // SAFETY: promise 1 for the place of the bytes.
    let Some(bytes) = (unsafe { bytes.as_mut() }) else { return -1 };
    *bytes = perot_bytes::NONE;
    if result.is_null() {
        return -1;
    }
    // SAFETY: promise 5. Only this member is borrowed: the host still reads the report, which lies beside it.
    let ciphertext = unsafe { &mut (*result).ciphertext };
    match ciphertext.take() {
        None => -1,
        Some(Waiting::File(file)) => file.into_raw_fd(),
        Some(Waiting::Memory(memory)) => {
            *bytes = perot_bytes::lend(&memory);
            // The result keeps the bytes until it is freed.
            *ciphertext = Some(Waiting::Memory(memory));
            -1
        }
    }
}

pub(super) unsafe extern "C" fn core_refuse(result: *mut perot_result, why: perot_bytes) {
    // SAFETY: promise 5.
    let Some(result) = (unsafe { result.cast::<CallResult>().as_mut() }) else { return };
    // SAFETY: promise 1.
    let why = unsafe { why.get() }.unwrap_or_default();
    let refused = guard(|| result.refused(&printable_line(&String::from_utf8_lossy(why))));
    let before = std::mem::replace(result, refused.unwrap_or_else(|_| CallResult::of(Verdict::of_fault())));
    let _ = guard(|| drop(before));
}

pub(super) unsafe extern "C" fn core_free(result: *mut perot_result) {
    if result.is_null() {
        return;
    }
    // SAFETY: promise 5: it came out of `Box::into_raw` in `give()`, and is given back once.
    let result = unsafe { Box::from_raw(result.cast::<CallResult>()) };
    let _ = guard(|| drop(result));
}
