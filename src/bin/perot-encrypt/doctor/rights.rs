//! Looks at files with the rights of the user whose mail is delivered, because root can read files that the user
//! cannot.

use std::error::Error;
use std::panic;
use std::thread;

use rustix::process::{geteuid, Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// Runs a function with the rights of a user, as a process that delivers mail has them.
///
/// # Errors
///
/// Fails if this process may not take these rights.
pub fn as_user<T: Send>(uid: u32, gid: u32, look: impl FnOnce() -> T + Send) -> Result<T, Box<dyn Error>> {
    if geteuid().as_raw() == uid {
        return Ok(look());
    }
    if !geteuid().is_root() {
        return Err(format!("run it as root: only then it can look with the rights of user {uid}").into());
    }
    // Linux keeps user and group for each thread, so the other threads stay root.
    let looked = thread::scope(|scope| {
        let looking = scope.spawn(|| -> rustix::io::Result<T> {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            set_thread_groups(&[gid])?;
            set_thread_res_gid(gid, gid, gid)?;
            set_thread_res_uid(uid, uid, uid)?;
            Ok(look())
        });
        looking.join()
    });
    match looked {
        Ok(looked) => looked.map_err(|why| format!("cannot take the rights of user {uid}: {why}").into()),
        Err(panicked) => panic::resume_unwind(panicked),
    }
}
