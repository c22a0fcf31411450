//! Header split and assembly.
#![no_main]

use perot_encrypt_fuzz::{support::oracle, with_options};

libfuzzer_sys::fuzz_target!(|data: &[u8]| with_options(data, |message, [_, cut]| oracle::header(
    message, cut
)));
