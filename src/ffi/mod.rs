//! The border to C, and all that is unsafe.
//!
//! The contract is `c-shim/perot-encrypt.h`; bindgen makes [`contract`] from it. Every function here
//! converts, calls the core inside the panic boundary, and maps the result. SAFETY.md numbers the promises that both
//! sides give; the reasons in this folder refer to them.
#![allow(unsafe_code)]

#[cfg(any(feature = "plugin", feature = "mail-plugin"))]
pub mod exports;
mod host;
mod outcome;
mod spool;

/// The contract in Rust, made by bindgen.
#[allow(missing_docs, non_camel_case_types, clippy::undocumented_unsafe_blocks)]
pub mod contract {
    include!(concat!(env!("OUT_DIR"), "/contract.rs"));
}

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use contract::*;
use host::{cpu_milliseconds, HostInput, HostLog};
use outcome::CallResult;

use crate::certs::advice::{self, Author, Finding};
use crate::certs::finder::Owner;
use crate::deadline::{Deadline, Timed};
use crate::encrypt::{encrypt, Job, Outcome};
use crate::error::{Error, Reason, Remedy, Result, Words};
use crate::guard::{guard, Panicked};
use crate::log::{printable, printable_line, Level, Log};
use crate::message::inspect::inspect;
use crate::openpgp::crypto::library_in_words;
use crate::recipient::{Recipient, MAX_RECIPIENTS};
use crate::settings::{Deliveries, Loaded, OnError, RawSettings};
use crate::spool::{Spool, Waiting};
use crate::verdict::{Exemption, Form, Terms, Verdict, Whereabouts};

const _: () = assert!(MAX_RECIPIENTS == PEROT_MAX_RECIPIENTS as usize);

/// The table of the core's functions, for the shim.
pub static CORE: perot_core = perot_core {
    open: Some(core_open),
    close: Some(core_close),
    encrypt: Some(core_encrypt),
    inspect: Some(core_inspect),
    check: Some(core_check),
    offers_alias: Some(core_offers_alias),
    saves: Some(core_saves),
    spool_open: Some(spool::core_spool_open),
    spool_write: Some(spool::core_spool_write),
    spool_read: Some(spool::core_spool_read),
    spool_rewind: Some(spool::core_spool_rewind),
    spool_close: Some(spool::core_spool_close),
    take: Some(outcome::core_take),
    refuse: Some(outcome::core_refuse),
    report: Some(outcome::core_report),
    free: Some(outcome::core_free),
};

/// Borrows what pointers of the host point to, for the rest of the call. A NULL ends the function with `$otherwise`.
macro_rules! borrow {
    ($($pointer:ident),+; $otherwise:expr) => {
        $(
            // SAFETY: promise 1: it is NULL or valid for this call.
            let Some($pointer) = (unsafe { $pointer.as_ref() }) else { return $otherwise };
        )+
    };
}

fn panicked(Panicked(place): Panicked) -> Error {
    Error::panicked(&place)
}

fn null() -> Error {
    Error::new(Reason::Internal, "the plugin got no pointer where it needs one").helps("please report it")
}

// Settings ------------------------------------------------------------------------------------------

unsafe extern "C" fn core_open(
    settings: *const perot_settings,
    log: *const perot_log,
) -> *mut perot_instance {
    // SAFETY: promise 1.
    let (settings, log) = unsafe { (settings.as_ref(), HostLog::new(log.as_ref())) };
    let loaded = guard(|| {
        let loaded = settings.map_or_else(
            || Loaded::unavailable(null(), Words::default()),
            // SAFETY: promise 1.
            |settings| unsafe { load(settings) },
        );
        let version = env!("CARGO_PKG_VERSION");
        log.log(Level::Debug, &format!("perot-encrypt {version}, {}", library_in_words()));
        for why in loaded.errors() {
            log.log(Level::Error, &why.in_words(&loaded.words));
        }
        loaded
    });
    let loaded = loaded.unwrap_or_else(|why| Loaded::unavailable(panicked(why), Words::default()));
    Box::into_raw(Box::new(loaded)).cast()
}

/// # Safety
///
/// Promise 1 for all that the settings point to.
unsafe fn load(settings: &perot_settings) -> Loaded {
    // SAFETY: as promised by the caller.
    let words = unsafe { settings.words.as_ref().map_or_else(Words::default, |words| self::words(words)) };
    // SAFETY: as promised by the caller.
    if let Some(why) = unsafe { settings.unavailable.get() } {
        let why = String::from_utf8_lossy(why);
        return Loaded::unavailable(Error::new(Reason::BadSetting, printable_line(&why)), words);
    }
    // SAFETY: as promised by the caller.
    let raw = unsafe {
        RawSettings {
            certs: settings.certs.get(),
            cert: settings.cert.get(),
            on_error: settings.on_error.get(),
            on_no_certificate: settings.on_no_certificate.get(),
            hide_subject: settings.hide_subject.get(),
            compress: settings.compress.get(),
            subkeys: settings.subkeys.get(),
            prefer: settings.prefer.get(),
            alias: settings.alias.get(),
            deliveries: settings.deliveries.get(),
            saved: settings.saved.get(),
            user_email: settings.user_email.get(),
        }
    };
    Loaded::new(&raw, words)
}

/// # Safety
///
/// Promise 1 for the words.
unsafe fn words(words: &perot_words) -> Words {
    // SAFETY: as promised by the caller.
    let text = |bytes: &perot_bytes| unsafe { bytes.text() }.unwrap_or_default().to_owned();
    Words {
        setting_prefix: text(&words.setting_prefix).into(),
        assigns: " = ".into(),
        of_recipients: words.scripted.then(|| " in the script".into()),
        literal: "the certificate in the script".into(),
        temporary_room: format!("in {}", text(&words.temp_dir)).into(),
        cpu_limit: text(&words.cpu_limit).into(),
    }
}

unsafe extern "C" fn core_close(instance: *mut perot_instance) {
    if instance.is_null() {
        return;
    }
    // SAFETY: promise 4: it came out of `Box::into_raw` in `core_open`, and is given back once.
    let loaded = unsafe { Box::from_raw(instance.cast::<Loaded>()) };
    let _ = guard(|| drop(loaded));
}

/// # Safety
///
/// Promise 1 for what the owner points to.
unsafe fn owner(owner: &perot_owner) -> Owner<'_> {
    // SAFETY: as promised by the caller.
    unsafe {
        Owner {
            user: owner.user.text().unwrap_or_default(),
            recipient: owner.recipient.text(),
            // A path that cannot be used is not the same as none.
            home: owner.home.get().map(|home| std::str::from_utf8(home).unwrap_or_default()),
        }
    }
}

// Messages ------------------------------------------------------------------------------------------

unsafe extern "C" fn core_encrypt(
    instance: *const perot_instance,
    request: *const perot_request,
    input: *const perot_input,
    log: *const perot_log,
) -> *mut perot_result {
    let begin = Instant::now();
    let loaded = instance.cast::<Loaded>();
    borrow!(loaded, request; CallResult::from_failure(null(), begin.elapsed()));
    // SAFETY: promise 1.
    let (input, log) = unsafe { (input.as_ref(), HostLog::new(log.as_ref())) };
    let terms = terms(request, loaded.on_error);
    // SAFETY: promises 1 and 2.
    match guard(|| unsafe { settled(loaded, request, input) }) {
        Ok(Some(verdict)) => return CallResult::from_verdict(|| verdict),
        Ok(None) => {}
        Err(why) => {
            return CallResult::from_encryption(Err(panicked(why)), terms, begin.elapsed(), &loaded.words);
        }
    }
    // SAFETY: promise 1 for what the request points to.
    let outcome = guard(|| unsafe { run(loaded, request, input, &log) });
    let outcome = outcome.unwrap_or_else(|why| Err(panicked(why)));
    if request.clear_copies > 0 && matches!(outcome, Ok((Outcome::Encrypted { .. }, _))) {
        // SAFETY: promise 1.
        let which = unsafe { request.clear_copies_text.get() }.unwrap_or_default();
        let _ = guard(|| log.log(Level::Warning, &clear_copies(&String::from_utf8_lossy(which))));
    }
    if request.by_script && matches!(outcome, Ok((Outcome::AlreadyEncrypted, _))) {
        return CallResult::from_verdict(Verdict::of_known);
    }
    CallResult::from_encryption(outcome, terms, begin.elapsed(), &loaded.words)
}

/// Returns the warning about actions that store or send the message in clear, although it is encrypted then.
fn clear_copies(which: &str) -> String {
    let which = printable_line(which);
    format!(
        "in front of `encrypt`, and so in clear: {which}. What is to go to the same place behind it is left out by Pigeonhole"
    )
}

fn terms(request: &perot_request, on_error: OnError) -> Terms {
    let form = match request.form {
        _ if matches!(request.obstacle, PEROT_OBSTACLE_SCRIPT | PEROT_OBSTACLE_UNSTORED) => None,
        PEROT_FORM_ACTION => Some(Form::Action),
        PEROT_FORM_TEST => Some(Form::Test),
        PEROT_FORM_STORE => Some(Form::Store),
        _ => None,
    };
    // A message that could not wait until it was complete is not there to be stored as it was.
    let on_error = if request.obstacle == PEROT_OBSTACLE_WAIT { OnError::TempFail } else { on_error };
    let whereabouts = match request.place {
        PEROT_PLACE_MAILBOX => Whereabouts::Mailbox,
        _ => Whereabouts::Delivery,
    };
    Terms {
        whereabouts,
        form,
        try_only: request.try_only,
        on_error,
        clear_copies: request.clear_copies.into(),
    }
}

/// Returns the verdict on a message that is not to be encrypted, whatever is in it.
///
/// # Safety
///
/// Promise 1 for what the request points to, promise 2 for the input.
unsafe fn settled(loaded: &Loaded, request: &perot_request, input: Option<&perot_input>) -> Option<Verdict> {
    let is_store = request.form == PEROT_FORM_STORE;
    let exemption = match request.exemption {
        PEROT_EXEMPTION_DRAFT => Some(Exemption::Draft),
        PEROT_EXEMPTION_UNSENT => Some(Exemption::Unsent),
        PEROT_EXEMPTION_NO_MAIL => Some(Exemption::NoMail),
        _ => None,
    };
    if let Some(exemption) = exemption.filter(|_| request.obstacle == PEROT_OBSTACLE_NONE) {
        return Some(Verdict::of_exemption(exemption));
    }
    if request.obstacle == PEROT_OBSTACLE_EXPUNGED {
        return Some(Verdict::of_expunged());
    }
    if is_store && request.foreign {
        return Some(Verdict::of_foreign());
    }
    if !is_store || request.place != PEROT_PLACE_DELIVERY || request.obstacle == PEROT_OBSTACLE_WAIT {
        return None;
    }
    match loaded.deliveries {
        Ok(Deliveries::Encrypt) | Err(_) => None,
        Ok(Deliveries::No) => Some(Verdict::nothing()),
        Ok(deliveries @ (Deliveries::Refuse | Deliveries::Warn)) => {
            // SAFETY: as promised by the caller.
            let encrypted = unsafe { look(request, input) };
            if request.by_script && matches!(encrypted, Ok(true)) {
                return Some(Verdict::of_known());
            }
            Some(Verdict::of_delivery(encrypted, deliveries, &loaded.words))
        }
    }
}

/// # Safety
///
/// Promise 1 for what the request points to, promise 2 for the input.
unsafe fn run(
    loaded: &Loaded,
    request: &perot_request,
    input: Option<&perot_input>,
    log: &dyn Log,
) -> Result<(Outcome, Waiting)> {
    // SAFETY: as promised by the caller.
    let (recipients, also, owner, mut message, folder) = unsafe {
        let message = open(request, input)?;
        let folder = Path::new(request.temp_dir.text().unwrap_or("/tmp"));
        let recipients = recipients(request.recipients, request.recipient_count)?;
        let also = self::recipients(request.also, request.also_count)?;
        (recipients, also, owner(&request.owner), message, folder)
    };
    if request.foreign && recipients.is_empty() {
        return Err(
            Error::new(Reason::BadRecipient, "not the user's own mailbox").helps("name the recipients")
        );
    }
    if request.only_certificates {
        recipients.iter().try_for_each(|text| Recipient::parse_certificate(text).map(drop))?;
    }
    let settings = loaded.settings.as_ref().map_err(Clone::clone)?;
    match (request.form, request.place) {
        (PEROT_FORM_STORE, PEROT_PLACE_DELIVERY) => loaded.deliveries.as_ref().map(drop),
        (PEROT_FORM_STORE, _) => loaded.saved.as_ref().map(drop),
        _ => Ok(()),
    }
    .map_err(Clone::clone)?;
    #[cfg(feature = "inject-panic")]
    assert!(!recipients.contains(&INJECTED.as_bytes()) && owner.user != INJECTED, "injected");
    let job = Job {
        settings,
        owner,
        recipients: &recipients,
        also: &also,
        force: request.force,
        hide_subject: request.hide_subject,
        smime: request.smime,
        now: SystemTime::now(),
        deadline: message.deadline,
        temp_dir: Some(folder),
    };
    let (outcome, spool) = encrypt(&job, &mut message, Spool::new(folder), log)?;
    Ok((outcome, spool.finish().map_err(crate::error::Unwritable)?))
}

/// For the tests: who makes it panic.
#[cfg(feature = "inject-panic")]
const INJECTED: &str = "panic@test.invalid";

/// # Safety
///
/// Promise 1 for the recipients.
unsafe fn recipients<'a>(list: *const perot_bytes, count: usize) -> Result<Vec<&'a [u8]>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    if list.is_null() {
        return Err(null());
    }
    // SAFETY: not NULL; as promised by the caller.
    let list = unsafe { std::slice::from_raw_parts(list, count) };
    // SAFETY: as promised by the caller.
    Ok(list.iter().map(|bytes| unsafe { bytes.get() }.unwrap_or_default()).collect())
}

/// The message, unless the host has found an obstacle.
///
/// # Safety
///
/// Promise 1 for what the request points to, promise 2 for the input.
unsafe fn open<'a>(request: &perot_request, input: Option<&'a perot_input>) -> Result<Timed<HostInput<'a>>> {
    // SAFETY: as promised by the caller.
    let said =
        unsafe { request.obstacle_text.get() }.map(|said| printable_line(&String::from_utf8_lossy(said)));
    let said = said.unwrap_or_default();
    match request.obstacle {
        PEROT_OBSTACLE_NONE => {}
        PEROT_OBSTACLE_MESSAGE => {
            let text = format!("the message cannot be read: {said}");
            return Err(Error::new(Reason::UnreadableMessage, text));
        }
        PEROT_OBSTACLE_LOOP => {
            let text = "encrypt cannot stand in a foreverypart loop";
            let remedy = "put it in front of the loop or behind it";
            return Err(Error::new(Reason::BadScript, text).helps(remedy));
        }
        PEROT_OBSTACLE_WAIT => {
            let text = format!("the message cannot wait until it is complete: {said}");
            return Err(Error::new(Reason::WriteFailed, text).helps(Remedy::TemporaryRoom));
        }
        PEROT_OBSTACLE_FAILED => {
            let text = "the script has failed, and has not encrypted the message";
            let remedy = "correct it: the log of that script, or the lines above, say what is wrong";
            return Err(Error::new(Reason::BadScript, text).helps(remedy));
        }
        PEROT_OBSTACLE_CALLS => {
            let text = format!("`encrypt` runs more than {PEROT_MAX_CALLS} times for this message");
            return Err(Error::new(Reason::BadScript, text).helps("name all recipients in one `encrypt`"));
        }
        PEROT_OBSTACLE_LAYERS => {
            let text =
                format!("the script has encrypted this message {PEROT_MAX_LAYERS} times, which is the most");
            return Err(Error::new(Reason::BadScript, text).helps("name all recipients in one `encrypt`"));
        }
        PEROT_OBSTACLE_UNSTORED if said.is_empty() => {
            let text = "the encrypted message is not stored: another action of the script has failed";
            return Err(Error::new(Reason::WriteFailed, text).helps("the lines above say which"));
        }
        PEROT_OBSTACLE_UNSTORED => {
            let text = format!("the encrypted message cannot be stored: {said}");
            let remedy = "Is there room, and may the user store there?";
            return Err(Error::new(Reason::WriteFailed, text).helps(remedy));
        }
        PEROT_OBSTACLE_SCRIPT => {
            let text = "the compiled script is damaged";
            return Err(Error::new(Reason::Internal, text).helps("remove its .svbin file"));
        }
        _ => return Err(Error::new(Reason::WriteFailed, said)),
    }
    let input = input.ok_or_else(null)?;
    let deadline = Deadline::new(request.cpu_limit, request.cpu_begin, cpu_milliseconds);
    // SAFETY: as promised by the caller.
    Ok(Timed { message: unsafe { HostInput::new(input) }, deadline })
}

/// Returns true if all of the message is encrypted.
///
/// # Safety
///
/// As [`open`].
unsafe fn look(request: &perot_request, input: Option<&perot_input>) -> Result<bool> {
    // SAFETY: as promised by the caller.
    let mut message = unsafe { open(request, input) }?;
    Ok(inspect(&mut message)?.encrypted)
}

unsafe extern "C" fn core_inspect(
    instance: *const perot_instance,
    request: *const perot_request,
    input: *const perot_input,
) -> *mut perot_result {
    let loaded = instance.cast::<Loaded>();
    borrow!(loaded, request; CallResult::from_failure(null(), Duration::ZERO));
    if request.obstacle == PEROT_OBSTACLE_EXPUNGED {
        return CallResult::from_verdict(Verdict::of_expunged);
    }
    // SAFETY: promises 1 and 2.
    let encrypted = guard(|| unsafe { look(request, input.as_ref()) });
    let encrypted = encrypted.unwrap_or_else(|why| Err(panicked(why)));
    let terms = terms(request, loaded.on_error);
    CallResult::from_verdict(|| Verdict::of_look(&encrypted, &terms, &loaded.words))
}

unsafe extern "C" fn core_saves(
    instance: *const perot_instance,
    mailbox: perot_bytes,
    special_use: perot_bytes,
) -> bool {
    let loaded = instance.cast::<Loaded>();
    borrow!(loaded; true);
    // SAFETY: promise 1.
    let (mailbox, special_use) = unsafe { (mailbox.text(), special_use.text()) };
    guard(|| loaded.saves(mailbox.unwrap_or_default(), special_use.unwrap_or_default())).unwrap_or(true)
}

// Scripts -------------------------------------------------------------------------------------------

unsafe extern "C" fn core_offers_alias(instance: *const perot_instance) -> bool {
    let loaded = instance.cast::<Loaded>();
    borrow!(loaded; false);
    loaded.alias
}

unsafe extern "C" fn core_check(
    instance: *const perot_instance,
    owner: *const perot_owner,
    recipient: perot_bytes,
    only_certificates: bool,
    author: perot_author,
    log: *const perot_log,
) -> *mut perot_result {
    let author = match author {
        PEROT_AUTHOR_UPLOADS => Author::Uploads,
        PEROT_AUTHOR_COMPILES => Author::Compiles,
        // An error would make Dovecot deliver in clear: the command itself fails when it runs.
        _ => return CallResult::from_verdict(Verdict::nothing),
    };
    let loaded = instance.cast::<Loaded>();
    borrow!(loaded, owner; CallResult::from_verdict(|| Verdict::of_advice(Level::Error, null().to_string())));
    let advice = guard(|| {
        // SAFETY: promise 1.
        let (owner, recipient, log) =
            unsafe { (self::owner(owner), recipient.get().unwrap_or_default(), HostLog::new(log.as_ref())) };
        let finding = match Recipient::parse_certificate(recipient) {
            Err(why) if only_certificates => {
                Finding::Wrong(format!("'{}': {}", printable(recipient), why.in_words(&loaded.words)))
            }
            _ => advice::recipient(loaded, owner, recipient, SystemTime::now(), &log),
        };
        finding.for_author(author)
    });
    CallResult::from_verdict(|| match advice {
        Ok(None) => Verdict::nothing(),
        Ok(Some((level, text))) => Verdict::of_advice(level, text),
        Err(why) => Verdict::of_advice(Level::Error, panicked(why).in_words(&loaded.words)),
    })
}

#[cfg(test)]
mod tests;
