//! Checks X.509 certificates, and encryption to them.
#![no_main]

use perot_testing::oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracle::x509(data));
