//! The language: what compiles, what does not, and what the author is told.
