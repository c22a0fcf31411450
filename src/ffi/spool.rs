//! Implements `perot_spool`, which keeps a message until it is complete.

use std::io::{self, BufRead, Write};
use std::path::Path;

use super::contract::{perot_bytes, perot_spool};
use crate::guard::guard;
use crate::sealed_spool::SealedSpool;

pub(super) unsafe extern "C" fn core_spool_open(temp_dir: perot_bytes) -> *mut perot_spool {
    // SAFETY: promise 1.
    let folder = unsafe { temp_dir.text() }.unwrap_or("/tmp");
    Box::into_raw(Box::new(SealedSpool::new(Path::new(folder)))).cast()
}

/// # Safety
///
/// Promise 7.
unsafe fn spool<'a>(spool: *mut perot_spool) -> Option<&'a mut SealedSpool> {
    // SAFETY: promise 7 says that it is NULL or a spool of the host, and that no other reference to it is alive.
    unsafe { spool.cast::<SealedSpool>().as_mut() }
}

pub(super) unsafe extern "C" fn core_spool_write(to: *mut perot_spool, bytes: perot_bytes) -> i32 {
    // SAFETY: promise 7, and promise 1 for the bytes.
    let (Some(spool), bytes) = (unsafe { spool(to) }, unsafe { bytes.get() }.unwrap_or_default()) else {
        return libc::EINVAL;
    };
    match guard(|| spool.write_all(bytes)) {
        Ok(Ok(())) => 0,
        Ok(Err(why)) => why.raw_os_error().unwrap_or(libc::EIO),
        Err(_) => libc::EIO,
    }
}

pub(super) unsafe extern "C" fn core_spool_read(
    from: *mut perot_spool,
    buffer: *mut u8,
    size: usize,
) -> isize {
    // SAFETY: promise 7.
    let Some(spool) = (unsafe { spool(from) }) else { return -1 };
    let read = guard(|| -> io::Result<usize> {
        let bytes = spool.fill_buf()?;
        let n = bytes.len().min(size);
        // SAFETY: the host has room for `size` bytes there (promise 7), and none of them is in the spool.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), buffer, n) };
        spool.consume(n);
        Ok(n)
    });
    match read {
        Ok(Ok(n)) => isize::try_from(n).unwrap_or(-1),
        Ok(Err(_)) | Err(_) => -1,
    }
}

pub(super) unsafe extern "C" fn core_spool_rewind(of: *mut perot_spool) -> i32 {
    // SAFETY: promise 7.
    let Some(spool) = (unsafe { spool(of) }) else { return -1 };
    match guard(|| spool.rewind()) {
        Ok(Ok(())) => 0,
        Ok(Err(_)) | Err(_) => -1,
    }
}

pub(super) unsafe extern "C" fn core_spool_close(spool: *mut perot_spool) {
    if spool.is_null() {
        return;
    }
    // SAFETY: promise 7 says that it came from `Box::into_raw` in `core_spool_open` and is given back once.
    let spool = unsafe { Box::from_raw(spool.cast::<SealedSpool>()) };
    let _ = guard(|| drop(spool));
}
