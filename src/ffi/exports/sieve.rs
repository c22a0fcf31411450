//! Exports the five symbols of the Sieve plugin. Their names come from its file name,
//! `lib90_sieve_perot_encrypt_plugin.so`.

use std::ffi::{c_int, c_void};

use super::super::{contract::perot_core, CORE};
use super::Version;
use crate::guard::quiet_panics;

/// The ABI version of the Pigeonhole headers with which the plugin was compiled. Pigeonhole refuses the plugin if its
/// own version differs; without this symbol it would load any plugin.
#[no_mangle]
pub static sieve_perot_encrypt_plugin_version: Version =
    Version::new(concat!(env!("PEROT_PIGEONHOLE_ABI"), "\0"));

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
    // SAFETY: the arguments are passed on as they came, and the table is a constant.
    unsafe { perot_shim_load(svinst, context, &CORE) }
}

/// Unregisters the extension from a Sieve instance.
///
/// # Safety
///
/// Pigeonhole calls it with the `context` that `load` has set.
#[no_mangle]
pub unsafe extern "C" fn sieve_perot_encrypt_plugin_unload(_svinst: *mut c_void, context: *mut c_void) {
    // SAFETY: the argument is passed on as it came.
    unsafe { perot_shim_unload(context) }
}

/// Pigeonhole expects this symbol in every module, and does nothing with it.
#[no_mangle]
pub extern "C" fn sieve_perot_encrypt_plugin_init() {}

/// Pigeonhole expects this symbol in every module, and does nothing with it.
#[no_mangle]
pub extern "C" fn sieve_perot_encrypt_plugin_deinit() {}
