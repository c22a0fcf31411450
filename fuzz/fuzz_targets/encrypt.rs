//! The whole: decrypts to the original, is left alone, or is a typed error; in bounded memory.
#![no_main]

use perot_encrypt_fuzz::{bounded, with_options};
use perot_testing::oracle::Options;

/// Most memory that a message may take, whatever its size. sequoia, which encrypts to version 6 certificates,
/// has larger buffers.
const MAX_HEAP: usize = 1 << 20;
const MAX_HEAP_VERSION6: usize = 12 << 20;

libfuzzer_sys::fuzz_target!(|data: &[u8]| with_options(data, |message, options| {
    let options = Options::from_bytes(options);
    let most = if options.version6 { MAX_HEAP_VERSION6 } else { MAX_HEAP };
    let run = options.run(message, |work| bounded(most, work));
    options.check(message, &run);
}));
