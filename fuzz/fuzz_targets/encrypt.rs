//! Checks the whole encryption: the result decrypts to the original, the message is left alone, or there is
//! an error. Memory is bounded.
#![no_main]

use perot_encrypt_fuzz::{bounded, with_options};
use perot_testing::oracle::Options;

/// Most heap memory that a message may take, whatever its size. For version 6 certificates sequoia encrypts,
/// whose buffers are larger.
const MAX_HEAP: usize = 1 << 20;
const MAX_HEAP_VERSION6: usize = 12 << 20;

libfuzzer_sys::fuzz_target!(|data: &[u8]| with_options(data, |message, options| {
    let options = Options::from_bytes(options);
    let most = if options.version6 { MAX_HEAP_VERSION6 } else { MAX_HEAP };
    let run = options.run(message, |work| bounded(most, work));
    options.check(message, &run);
}));
