//! Checks settings and recipients.
#![no_main]

use perot_testing::oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracle::configuration(data));
