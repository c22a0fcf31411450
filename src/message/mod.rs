//! Messages as bytes: reads them, tells if they are encrypted already, and writes the message around the
//! ciphertext.

pub mod charset;
pub mod crlf;
pub mod header;
pub mod hide_subject;
pub mod inspect;
pub mod lines;
pub mod missing_fields;
pub mod original;
mod outer;
pub mod wrap;
