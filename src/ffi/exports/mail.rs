//! Exports the three symbols of the mail plugin. Their names come from its file name, `lib00_perot_encrypt_plugin.so`.

use std::ffi::c_void;

use super::super::{contract::perot_core, CORE};
use super::Version;
use crate::guard::quiet_panics;

/// The ABI version of the Dovecot headers with which the plugin was compiled. Dovecot refuses the plugin if its own
/// version differs; without this symbol it would load any plugin.
#[no_mangle]
pub static perot_encrypt_plugin_version: Version = Version::new(concat!(env!("PEROT_DOVECOT_ABI"), "\0"));

extern "C" {
    fn perot_store_init(module: *mut c_void, core: *const perot_core);
    fn perot_store_deinit();
}

/// Installs the hooks by which the plugin sees all mail that is stored.
///
/// # Safety
///
/// Dovecot calls it with the plugin's module.
#[no_mangle]
pub unsafe extern "C" fn perot_encrypt_plugin_init(module: *mut c_void) {
    quiet_panics();
    // SAFETY: the module is passed on as it came, and the table is a constant.
    unsafe { perot_store_init(module, &CORE) }
}

/// Removes the hooks.
///
/// # Safety
///
/// Dovecot calls it once for each `init`.
#[no_mangle]
pub unsafe extern "C" fn perot_encrypt_plugin_deinit() {
    // SAFETY: the caller keeps the promise above.
    unsafe { perot_store_deinit() }
}
