//! The library alone: neither Dovecot nor its headers are needed.

mod certificates;
mod corpus;
mod documents;
mod inspection;
mod message;
mod properties;
mod subject;
