//! Checks certificates: in scripts, in the setting, in folders and in keyrings.
#![no_main]

use perot_testing::oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracle::certificates(data));
