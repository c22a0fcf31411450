//! Is it encrypted already?
#![no_main]

use perot_encrypt_fuzz::{support::oracle, with_options};

libfuzzer_sys::fuzz_target!(|data: &[u8]| with_options(data, |message, [_, cut]| {
    oracle::inspection(message, cut);
}));
