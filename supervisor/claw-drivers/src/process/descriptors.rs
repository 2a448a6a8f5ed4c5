//! Descriptors that came from whoever started us, and are nothing to those we start.

use nix::libc;

/// Sets close-on-exec on every descriptor but the standard ones, so that a program started after
/// this has none that was not meant for it. Until then they stay open.
pub fn close_on_exec() {
    // SAFETY: only flags of this process's own descriptors change; none is closed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3_u32,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if result == 0 {
        return;
    }
    // Kernels before 5.11; all our own descriptors have the flag already, this is for inherited ones.
    let listed = std::fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    let numbers: Vec<i32> = listed
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    for fd in numbers {
        // SAFETY: F_SETFD takes an integer and touches no memory; a closed number is an error.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}
