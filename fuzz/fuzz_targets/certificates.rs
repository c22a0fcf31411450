//! Certificates: literals, the setting, folders and keyrings.
#![no_main]

use perot_testing::oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracle::certificates(data));
