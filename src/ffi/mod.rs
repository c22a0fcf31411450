//! The border to C, and all that is unsafe.
//!
//! The contract is `c-shim/perot-encrypt.h`; bindgen makes [`contract`] from it. Every function here
//! converts, calls the core inside the panic boundary, and maps the result. What holds for all of it:
//! pointers are valid for the duration of the call in which they come, are not kept, and calls come
//! on one thread (the contract says so, the shim guarantees it).
#![allow(unsafe_code)]

pub mod guard;
mod host;

/// What bindgen made of the contract.
#[allow(missing_docs, non_camel_case_types, clippy::undocumented_unsafe_blocks)]
pub mod contract {
    include!(concat!(env!("OUT_DIR"), "/contract.rs"));
}

use std::time::{Instant, SystemTime};

use contract::*;
use guard::{guard, Panicked};
use host::{HostInput, HostLog, HostOutput};

use crate::certs::Owner;
use crate::check::{self, Finding};
use crate::encrypt::{encrypt, Job, Outcome};
use crate::error::{Error, Reason};
use crate::log::{Level, Log};
use crate::message::inspect::inspect;
use crate::settings::{Loaded, OnError, RawSettings};

/// What the core can do, for the shim.
pub static CORE: perot_core = perot_core {
    open: Some(core_open),
    close: Some(core_close),
    keep_on_error: Some(core_keep_on_error),
    encrypt: Some(core_encrypt),
    is_encrypted: Some(core_is_encrypted),
    check: Some(core_check),
};

/// The effective user and group of this process.
pub fn effective_ids() -> (u32, u32) {
    // SAFETY: both take no argument, touch no memory and cannot fail (POSIX).
    unsafe { (libc::geteuid(), libc::getegid()) }
}

fn internal(Panicked(place): Panicked) -> Error {
    Error::new(Reason::Internal, format!("a fault in perot-encrypt ({place}): please report it"))
}

/// An instance is a `Loaded` in a box that the host holds.
///
/// # Safety
///
/// It is null or what `core_open` gave, and `core_close` does not get it within `'a`.
unsafe fn loaded<'a>(instance: *const perot_instance) -> Option<&'a Loaded> {
    // SAFETY: as promised by the caller.
    unsafe { instance.cast::<Loaded>().as_ref() }
}

unsafe extern "C" fn core_open(
    settings: *const perot_settings,
    log: *const perot_log,
) -> *mut perot_instance {
    // SAFETY: both are valid for this call by the contract.
    let (settings, log) = unsafe { (&*settings, HostLog(&*log)) };
    // SAFETY: so is what they point to.
    let loaded = guard(|| unsafe { load(settings, &log) })
        .unwrap_or_else(|panicked| Loaded { on_error: OnError::TempFail, settings: Err(internal(panicked)) });
    Box::into_raw(Box::new(loaded)).cast()
}

/// # Safety
///
/// The bytes of the settings are valid for this call.
unsafe fn load(settings: &perot_settings, log: &dyn Log) -> Loaded {
    // SAFETY: as promised by the caller.
    let (raw, unavailable) = unsafe {
        let raw = RawSettings {
            certs: settings.certs.get(),
            cert: settings.cert.get(),
            on_error: settings.on_error.get(),
            hide_subject: settings.hide_subject.get(),
        };
        (raw, settings.unavailable.get())
    };
    let loaded = unavailable.map_or_else(|| Loaded::new(&raw), Loaded::unavailable);
    if let Err(why) = &loaded.settings {
        log.log(Level::Error, &why.to_string());
    }
    loaded
}

unsafe extern "C" fn core_close(instance: *mut perot_instance) {
    if instance.is_null() {
        return;
    }
    // SAFETY: it came out of `Box::into_raw` in `core_open`, and is given back once.
    let loaded = unsafe { Box::from_raw(instance.cast::<Loaded>()) };
    let _ = guard(|| drop(loaded));
}

unsafe extern "C" fn core_keep_on_error(instance: *const perot_instance) -> bool {
    // SAFETY: valid for this call by the contract.
    unsafe { loaded(instance) }.is_some_and(|l| l.on_error == OnError::Keep)
}

/// # Safety
///
/// The bytes are valid for `'a`.
unsafe fn owner<'a>(owner: &perot_owner) -> Owner<'a> {
    // SAFETY: as promised by the caller.
    unsafe {
        Owner {
            user: owner.user.text().unwrap_or_default(),
            recipient: owner.recipient.text(),
            home: owner.home.text(),
        }
    }
}

unsafe extern "C" fn core_encrypt(
    instance: *const perot_instance,
    request: *const perot_request,
    input: *const perot_input,
    output: *const perot_output,
    log: *const perot_log,
    sink: *const perot_report_sink,
) -> perot_outcome {
    let begin = Instant::now();
    // SAFETY: all are valid for this call by the contract.
    let (request, input, output, log, sink) = unsafe { (&*request, &*input, &*output, &*log, &*sink) };
    // SAFETY: so are the instance and what the request points to.
    let result = guard(|| unsafe { run(instance, request, input, output, log) });
    let result = result.unwrap_or_else(|panicked| Err(internal(panicked)));
    guard(|| report(&result, begin, sink)).unwrap_or(PEROT_FAILED)
}

/// # Safety
///
/// As [`loaded`]; the recipients and the owner are valid for this call.
unsafe fn run(
    instance: *const perot_instance,
    request: &perot_request,
    input: &perot_input,
    output: &perot_output,
    log: &perot_log,
) -> crate::error::Result<Outcome> {
    // SAFETY: as promised by the caller.
    let loaded = unsafe { loaded(instance) };
    let loaded = loaded.ok_or_else(|| Error::new(Reason::Internal, "there are no settings"))?;
    let settings = loaded.settings.as_ref().map_err(Clone::clone)?;
    // SAFETY: as promised by the caller.
    let (recipients, owner): (Vec<&[u8]>, Owner<'_>) = unsafe {
        let list = match request.recipient_count {
            0 => &[],
            n => std::slice::from_raw_parts(request.recipients, n),
        };
        (list.iter().map(|bytes| bytes.get().unwrap_or_default()).collect(), self::owner(&request.owner))
    };
    #[cfg(feature = "inject-panic")]
    inject(&recipients);
    let job = Job {
        settings,
        owner,
        recipients: &recipients,
        force: request.force,
        hide_subject: request.hide_subject,
        now: SystemTime::now(),
    };
    encrypt(&job, &mut HostInput(input), &mut HostOutput(output), &HostLog(log))
}

/// For the tests: a panic, or what valgrind has to notice.
#[cfg(feature = "inject-panic")]
fn inject(recipients: &[&[u8]]) {
    assert!(!recipients.contains(&b"panic@test.invalid".as_slice()), "injected");
    if recipients.contains(&b"fault@test.invalid".as_slice()) {
        // SAFETY: it is not: this reads the byte behind what it has allocated, which is then lost.
        std::hint::black_box(unsafe { libc::malloc(13).cast::<u8>().add(13).read_volatile() });
    }
}

fn report(result: &crate::error::Result<Outcome>, begin: Instant, sink: &perot_report_sink) -> perot_outcome {
    let (mut text, mut recipients, mut reason) = (String::new(), String::new(), "");
    let (mut in_, mut out) = (0, 0);
    let outcome = match result {
        Ok(Outcome::Encrypted { recipients: list, bytes_in, bytes_out }) => {
            recipients = list.join(",");
            (in_, out) = (*bytes_in, *bytes_out);
            PEROT_ENCRYPTED
        }
        Ok(Outcome::AlreadyEncrypted) => PEROT_ALREADY_ENCRYPTED,
        Err(error) => {
            text = error.to_string();
            reason = error.reason().token();
            PEROT_FAILED
        }
    };
    let report = perot_report {
        outcome,
        reason: perot_bytes::lend(reason.as_bytes()),
        text: perot_bytes::lend(text.as_bytes()),
        recipients: perot_bytes::lend(recipients.as_bytes()),
        bytes_in: in_,
        bytes_out: out,
        microseconds: u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX),
    };
    if let Some(done) = sink.done {
        // SAFETY: the host's function with the host's context, during the call that brought both.
        unsafe { done(sink.context, &report) }
    }
    outcome
}

unsafe extern "C" fn core_is_encrypted(input: *const perot_input, log: *const perot_log) -> i32 {
    // SAFETY: both are valid for this call by the contract.
    let (input, log) = unsafe { (&*input, HostLog(&*log)) };
    let result = guard(|| inspect(&mut HostInput(input))).unwrap_or_else(|p| Err(internal(p)));
    match result {
        Ok(inspection) => inspection.encrypted.into(),
        Err(why) => {
            let _ = guard(|| log.log(Level::Error, &why.to_string()));
            -1
        }
    }
}

unsafe extern "C" fn core_check(
    instance: *const perot_instance,
    owner: *const perot_owner,
    recipient: perot_bytes,
    log: *const perot_log,
    sink: *const perot_finding_sink,
) -> perot_finding {
    // SAFETY: all are valid for this call by the contract.
    let (loaded, owner, recipient, log, sink) = unsafe {
        let recipient = recipient.get().unwrap_or_default();
        (loaded(instance), self::owner(&*owner), recipient, HostLog(&*log), &*sink)
    };
    let finding = guard(|| {
        let Some(loaded) = loaded else { return Finding::NotFound("there are no settings".into()) };
        check::recipient(loaded, owner, recipient, SystemTime::now(), &log)
    });
    let finding = finding.unwrap_or_else(|panicked| Finding::Wrong(internal(panicked).to_string()));
    let (code, text) = match &finding {
        Finding::Good => return PEROT_RECIPIENT_GOOD,
        Finding::Warning(text) => (PEROT_RECIPIENT_WARNING, text),
        Finding::Wrong(text) => (PEROT_RECIPIENT_WRONG, text),
        Finding::NotFound(text) => (PEROT_RECIPIENT_NOT_FOUND, text),
    };
    if let Some(explain) = sink.explain {
        // SAFETY: the host's function with the host's context, during the call that brought both.
        unsafe { explain(sink.context, perot_bytes::lend(text.as_bytes())) }
    }
    code
}

#[cfg(test)]
mod tests;
