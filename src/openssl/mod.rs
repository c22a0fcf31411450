//! What S/MIME needs of OpenSSL, the library that sequoia, too, is built on: X.509 certificates, and enveloped data (CMS).
//!
//! `unsafe` stands in this folder and in `ffi` only. The promises that its blocks rest on are in SAFETY.md.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_ulong};

pub mod cms;
pub mod x509;

extern "C" {
    fn ERR_set_mark() -> c_int;
    fn ERR_pop_to_mark() -> c_int;
}

/// Takes the errors that OpenSSL notes in this thread away again, when it is dropped: the host's TLS connections look at the
/// same list.
struct Errors(());

impl Errors {
    fn begin() -> Self {
        // SAFETY: it has no arguments, and works on a list of this thread.
        unsafe { ERR_set_mark() };
        Self(())
    }

    /// Returns the last error since the beginning, in OpenSSL's words.
    fn last(&self) -> String {
        // SAFETY: it has no arguments, and works on a list of this thread.
        let code: c_ulong = unsafe { openssl_sys::ERR_peek_last_error() };
        // SAFETY: any code will do. The result is a text that is never freed, or NULL.
        let reason = unsafe { openssl_sys::ERR_reason_error_string(code) };
        if reason.is_null() {
            return "no reason is known".into();
        }
        // SAFETY: not NULL, so a text that ends in NUL.
        unsafe { std::ffi::CStr::from_ptr(reason) }.to_string_lossy().into_owned()
    }
}

impl Drop for Errors {
    fn drop(&mut self) {
        // SAFETY: it has no arguments, and works on a list of this thread. `begin` has set the mark.
        unsafe { ERR_pop_to_mark() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes all errors of this thread out of the list.
    fn errors() -> Vec<c_ulong> {
        // SAFETY: it has no arguments, and works on a list of this thread.
        let next = || Some(unsafe { openssl_sys::ERR_get_error() }).filter(|code| *code != 0);
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn only_the_errors_of_the_host_stay() {
        let fail = || {
            let mut at = [0x04, 0x00].as_ptr();
            // SAFETY: `at` points to two bytes. They are no certificate, so that the result is NULL.
            assert!(unsafe { openssl_sys::d2i_X509(std::ptr::null_mut(), &mut at, 2) }.is_null());
        };
        assert!(x509::X509::from_der(&[0x30, 0x00]).is_none());
        assert_eq!(errors(), []);
        fail();
        let of_the_host = errors();
        assert!(!of_the_host.is_empty());
        fail();
        assert!(x509::X509::from_der(&[0x30, 0x00]).is_none());
        assert_eq!(errors(), of_the_host);
    }
}
