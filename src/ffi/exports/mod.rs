//! Exports the symbols that Dovecot looks for. They are those of one plugin or the other: both are this crate, built
//! with different features.
#![allow(unsafe_code, non_upper_case_globals)]

#[cfg(feature = "mail-plugin")]
pub mod mail;
#[cfg(feature = "plugin")]
pub mod sieve;

#[cfg(all(feature = "plugin", feature = "mail-plugin"))]
compile_error!("this is one plugin or the other");

use std::ffi::c_char;

/// A pointer to a string that is never written to.
#[repr(transparent)]
pub struct Version(*const c_char);

// SAFETY: it points to a constant.
unsafe impl Sync for Version {}

impl Version {
    /// # Panics
    ///
    /// Panics at compile time if `text` does not end with a NUL.
    const fn new(text: &'static str) -> Self {
        assert!(text.as_bytes()[text.len() - 1] == 0);
        Self(text.as_ptr().cast())
    }
}
