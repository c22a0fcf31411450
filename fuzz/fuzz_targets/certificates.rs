//! Certificates: literals, the setting, folders and keyrings.
#![no_main]

use perot_encrypt_fuzz::support::oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracle::certificates(data));
