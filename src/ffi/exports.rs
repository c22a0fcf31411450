//! The five symbols that Dovecot looks for. Their names come from the file name of the plugin,
//! `lib90_sieve_perot_encrypt_plugin.so`.
#![allow(unsafe_code, non_upper_case_globals)]

use std::ffi::{c_char, c_int, c_void};

use super::{contract::perot_core, CORE};
use crate::guard::quiet_panics;

/// A pointer to a string that is never written to.
#[repr(transparent)]
pub struct Version(*const c_char);

// SAFETY: it points to a constant.
unsafe impl Sync for Version {}

/// The ABI version of the Pigeonhole headers that the plugin was compiled with. Pigeonhole refuses
/// the plugin if its own differs; without this symbol it would load any.
#[no_mangle]
pub static sieve_perot_encrypt_plugin_version: Version =
    Version(concat!(env!("PEROT_PIGEONHOLE_ABI"), "\0").as_ptr().cast());

extern "C" {
    fn perot_shim_load(svinst: *mut c_void, context: *mut *mut c_void, core: *const perot_core) -> c_int;
    fn perot_shim_unload(context: *mut c_void);
}

/// Registers the extension with a Sieve instance. Dovecot 2.3 ignores the result.
///
/// # Safety
///
/// Pigeonhole calls it with a Sieve instance and with room for a pointer.
#[no_mangle]
pub unsafe extern "C" fn sieve_perot_encrypt_plugin_load(
    svinst: *mut c_void,
    context: *mut *mut c_void,
) -> c_int {
    // This is not done in `init`, because Pigeonhole does not call that.
    quiet_panics();
    // SAFETY: the arguments are passed on as they came; the table is a constant.
    unsafe { perot_shim_load(svinst, context, &CORE) }
}

/// Unregisters the extension from a Sieve instance.
///
/// # Safety
///
/// Pigeonhole calls it with the `context` that `load` has set.
#[no_mangle]
pub unsafe extern "C" fn sieve_perot_encrypt_plugin_unload(_svinst: *mut c_void, context: *mut c_void) {
    // SAFETY: passed on as it came.
    unsafe { perot_shim_unload(context) }
}

/// Part of every module's interface; Pigeonhole does nothing with it.
#[no_mangle]
pub extern "C" fn sieve_perot_encrypt_plugin_init() {}

/// Part of every module's interface; Pigeonhole does nothing with it.
#[no_mangle]
pub extern "C" fn sieve_perot_encrypt_plugin_deinit() {}
