//! Certificates: finding them in the sources, and choosing among their subkeys.

mod absent;
pub mod advice;
mod cache;
mod cert_d;
pub mod choose;
pub mod finder;
mod folder;
mod keyring;
pub mod open;
pub mod query;
pub mod raw;
pub mod source;
