//! OpenPGP (RFC 9580): packets, the encrypted container, armor, and the PGP/MIME parts around it.

pub mod armor;
pub mod content;
pub mod crypto;
pub mod encryptor;
pub mod packet;
pub mod partial_body;
pub mod pgp_mime;
pub mod seipd1;
