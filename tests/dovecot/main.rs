//! The plugin in a real Dovecot.

#[path = "../support/mod.rs"]
mod support;

mod delivery;
