//! The library alone: neither Dovecot nor its headers are needed.

mod architecture;
mod certificates;
mod corpus;
mod documents;
mod inspection;
mod message;
mod properties;
mod source;
mod subject;
