//! Encrypts mail with OpenPGP on its way into the mailbox.
//!
//! This is the core of the Sieve extension `vnd.perot.encrypt` for Dovecot. [`encrypt::encrypt`] handles a
//! message, [`verdict`] decides what follows from the outcome, and [`ffi`] is the border to the C shim, which
//! knows Dovecot.

pub mod base64_lines;
pub mod certs;
pub mod deadline;
pub mod encrypt;
pub mod envelope;
pub mod error;
pub mod ffi;
pub mod guard;
pub mod log;
pub mod mailboxes;
pub mod message;
pub mod openpgp;
pub mod openssl;
pub mod recipient;
pub mod sealed_spool;
pub mod settings;
pub mod sink;
pub mod smime;
pub mod spool;
pub mod verdict;
