//! Checks reading and writing of headers.
#![no_main]

use perot_encrypt_fuzz::with_options;
use perot_testing::oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| with_options(data, |message, [_, cut]| oracle::header(
    message, cut
)));
