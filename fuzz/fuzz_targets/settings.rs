//! Settings and recipients.
#![no_main]

use perot_encrypt_fuzz::support::oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracle::configuration(data));
