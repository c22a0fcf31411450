//! What the targets share. What they claim is in tests/support/oracle.rs.

use peak_alloc::PeakAlloc;
use perot_testing::oracle::stretched;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Runs `work`, and holds its peak of the heap against a limit in bytes.
pub fn bounded(most: usize, work: &mut dyn FnMut()) {
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    work();
    let used = HEAP.peak_usage().saturating_sub(before);
    assert!(used <= most, "{used} bytes of memory");
}

/// Splits the options off, at the end, so that any file is a message. One bit has long lines made of it.
pub fn with_options(data: &[u8], run: impl FnOnce(&[u8], [u8; 2])) {
    let Some((message, &options)) = data.split_last_chunk() else { return };
    if options[0] & 0x80 == 0 {
        run(message, options);
    } else {
        run(&stretched(message), options);
    }
}
