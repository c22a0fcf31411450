//! The panic boundary: no panic leaves the core, and no panic message gets into a log.

use std::cell::RefCell;
use std::panic::{catch_unwind, set_hook, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The file and line of a panic. Its message is left out, because it may quote a mail.
#[derive(Debug)]
pub struct Panicked(pub String);

/// Runs `f`, and turns a panic into an error.
pub fn guard<T>(f: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
        let place = PLACE.try_with(|p| p.try_borrow_mut().ok().and_then(|mut p| p.take())).ok().flatten();
        // The destructor of the payload is foreign code, which could panic again.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(payload))).map_err(std::mem::forget);
        Panicked(place.unwrap_or_else(|| "unknown place".to_owned()))
    })
}

/// Replaces the panic hook, which would print the panic message to the log, by one that notes the place for
/// [`guard`]. The plugin has its own copy of the standard library, so no other code in the process is
/// affected.
pub fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        set_hook(Box::new(|info| {
            let place = info.location().map(|l| format!("{}:{}", l.file(), l.line()));
            let _ = PLACE.try_with(|p| p.try_borrow_mut().map(|mut p| *p = place));
        }));
    });
}
