//! Encrypts mail with OpenPGP on its way into the mailbox.
//!
//! This is the core of the Sieve extension `vnd.perot.encrypt` for Dovecot. The way of a message is
//! in [`encrypt::encrypt`]; what Dovecot sees of it is in [`ffi`] and in the C shim.

pub mod armor;
pub mod certs;
pub mod check;
pub mod encrypt;
pub mod error;
pub mod ffi;
pub mod log;
pub mod message;
pub mod openpgp;
pub mod packet;
#[cfg(feature = "plugin")]
pub mod plugin;
pub mod printable;
pub mod recipient;
pub mod seipd;
pub mod settings;
