//! Helpers of the fuzz targets. tests/support/oracle.rs has the properties that they check.

use peak_alloc::PeakAlloc;
use perot_testing::oracle::stretched;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Runs `work`, and panics if its peak of heap memory exceeds `most` bytes.
pub fn bounded(most: usize, work: &mut dyn FnMut()) {
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    work();
    let used = HEAP.peak_usage().saturating_sub(before);
    assert!(used <= most, "{used} bytes of memory");
}

/// Takes the options from the end of `data`, so that any file is a message. One of their bits stretches its
/// lines.
pub fn with_options(data: &[u8], run: impl FnOnce(&[u8], [u8; 2])) {
    let Some((message, &options)) = data.split_last_chunk() else { return };
    if options[0] & 0x80 == 0 {
        run(message, options);
    } else {
        run(&stretched(message), options);
    }
}
