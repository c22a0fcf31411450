//! Certificates: where they are found, which one is meant, which of its subkeys are used.

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
