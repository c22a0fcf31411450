//! Tests of the library alone. They need neither Dovecot nor its headers.

mod architecture;
mod certificates;
mod compression;
mod corpus;
mod documents;
mod inspection;
mod message;
mod post_quantum;
mod properties;
mod real_certificates;
mod smime;
mod source;
mod subject;
