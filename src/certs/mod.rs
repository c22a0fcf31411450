//! Certificates: finding them in the sources, and choosing among their subkeys.

mod absent;
pub mod advice;
mod cache;
mod cert_d;
pub mod choose;
pub mod chosen;
pub mod copies;
pub mod explain;
pub mod file;
pub mod finder;
mod folder;
mod index;
mod lasting;
pub mod open;
pub mod post_quantum;
pub mod raw;
mod records;
pub mod rules;
mod source;
pub mod split;
pub mod text;
pub mod trouble;
pub mod user_id;
pub mod x509;
