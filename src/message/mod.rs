//! Messages as bytes: header and body, is it encrypted already, and the message around the ciphertext.

pub mod charset;
pub mod crlf;
pub mod header;
pub mod hide_subject;
pub mod inspect;
pub mod lines;
pub mod missing_fields;
pub mod original;
pub mod wrap;
