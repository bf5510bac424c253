//! Whether this machine lets us run: CPUs, io_uring, resource limits. Each obstacle is one line with its mend.

use std::fs;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::thread;

use caps::{CapSet, Capability};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, rlim_t, setrlimit};

use crate::limits::MEMLOCK_OCTETS_MIN;
use crate::trouble::Trouble;

/// The CPUs that this process may run on, in ascending order: its affinity mask, which a cpuset narrows too.
pub fn cpus_online() -> Result<Vec<usize>, Trouble> {
    match core_affinity::get_core_ids() {
        Some(cores) if !cores.is_empty() => Ok(cores.into_iter().map(|core| core.id).collect()),
        _ => Err(Trouble::new(
            "cannot read which CPUs this process may run on: allow the system call sched_getaffinity, \
             and mind that CPUs beyond number 1023 are not supported",
        )),
    }
}

/// The least that lets a thread of the lowest priority out of the idle class (getrlimit(2): 20 less the priority).
const NICE_LIMIT: rlim_t = 1;

/// Looks for what would keep `cores` cores from running, and raises the soft limits for locked memory, open files
/// and priorities to the hard ones.
pub fn preflight(cores: usize) -> Result<(), Trouble> {
    raise_soft_limit(Resource::RLIMIT_NOFILE);
    raise_soft_limit(Resource::RLIMIT_MEMLOCK);
    raise_soft_limit(Resource::RLIMIT_NICE);
    let may_raise = caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_RESOURCE).unwrap_or(false);
    if may_raise && soft_limit(Resource::RLIMIT_NICE) < NICE_LIMIT {
        // Where it is forbidden all the same, threads do without.
        let _ = raise_hard_limit(Resource::RLIMIT_NICE, NICE_LIMIT);
    }
    let (locked, wanted) = (soft_limit(Resource::RLIMIT_MEMLOCK), cores as u64 * MEMLOCK_OCTETS_MIN);
    // A privileged process would get by without, but it gives that up before the rings are made.
    let has_room = locked >= wanted || raise_hard_limit(Resource::RLIMIT_MEMLOCK, wanted);
    if !has_room && locked < MEMLOCK_OCTETS_MIN {
        return Err(Trouble::new(format!(
            "the limit of locked memory (RLIMIT_MEMLOCK) is {} KiB and io_uring needs {} KiB: raise it with \
             LimitMEMLOCK=infinity in the systemd unit, `ulimit -l unlimited`, or `--ulimit memlock=-1` for a container",
            locked >> 10,
            MEMLOCK_OCTETS_MIN >> 10
        )));
    }
    io_uring_allowed()
}

/// Open files allowed to this process.
pub(crate) fn files_max() -> u64 {
    soft_limit(Resource::RLIMIT_NOFILE)
}

/// How far this process may raise the priority of a thread: 20 less the priority, in the terms of getrlimit(2).
pub(crate) fn nice_limit() -> i64 {
    i64::try_from(soft_limit(Resource::RLIMIT_NICE)).unwrap_or(i64::MAX)
}

fn soft_limit(resource: Resource) -> rlim_t {
    getrlimit(resource).map_or(RLIM_INFINITY, |(soft, _)| soft)
}

fn raise_soft_limit(resource: Resource) {
    if let Ok((soft, hard)) = getrlimit(resource)
        && soft < hard
        && let Err(error) = setrlimit(resource, hard, hard)
    {
        log::warn!("{resource:?} stays at {soft}, although {hard} is allowed: {error}");
    }
}

/// Works only with CAP_SYS_RESOURCE.
fn raise_hard_limit(resource: Resource, to: rlim_t) -> bool {
    setrlimit(resource, to, to).is_ok()
}

/// Makes a ring of one entry and closes it again, on a thread of its own: a while after a ring is gone, the kernel
/// interrupts a system call of the thread that made it, and callers do not expect that.
pub(crate) fn io_uring_allowed() -> Result<(), Trouble> {
    let Err(error) = thread::scope(|scope| scope.spawn(make_a_ring).join().expect("it does not panic")) else {
        return Ok(());
    };
    let disabled = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    let filtered = fs::read_to_string("/proc/self/status").is_ok_and(|status| under_seccomp_filter(&status));
    Err(Trouble::new(why_no_ring(&error, disabled.trim(), filtered)))
}

fn make_a_ring() -> io::Result<()> {
    // The kernel's `struct io_uring_params`: 30 words, all zero but what it fills in.
    let mut parameters = [0u32; 30];
    // SAFETY: the kernel reads and writes the 120 octets that we own; it keeps no pointer to them.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1 as libc::c_uint, parameters.as_mut_ptr()) };
    if ring < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor came from the call above and nobody else has it.
    drop(unsafe { OwnedFd::from_raw_fd(ring as libc::c_int) });
    Ok(())
}

fn under_seccomp_filter(status: &str) -> bool {
    status.lines().find_map(|line| line.strip_prefix("Seccomp:")).is_some_and(|mode| mode.trim() == "2")
}

fn why_no_ring(error: &io::Error, disabled: &str, filtered: bool) -> String {
    match (error.raw_os_error(), disabled) {
        (Some(libc::EPERM), "2") => "io_uring is switched off on this machine: \
             `sysctl -w kernel.io_uring_disabled=0` switches it on"
            .to_owned(),
        (Some(libc::EPERM), "1") => "io_uring is kept for privileged processes on this machine: \
             `sysctl -w kernel.io_uring_disabled=0`, or join the group that kernel.io_uring_group names"
            .to_owned(),
        (Some(libc::EPERM | libc::ENOSYS | libc::EACCES), _) if filtered => "io_uring is forbidden by the seccomp \
             profile of this container or service: start it with a profile that allows io_uring_setup, \
             io_uring_enter and io_uring_register"
            .to_owned(),
        (Some(libc::ENOSYS), _) => {
            "this kernel has no io_uring: Linux 5.8 or later with CONFIG_IO_URING is needed".to_owned()
        }
        (Some(libc::EPERM | libc::EACCES), _) => "io_uring is forbidden by a security policy of this machine \
             (SELinux, AppArmor or alike): allow io_uring_setup for this process"
            .to_owned(),
        (Some(libc::ENOMEM), _) => "io_uring got no memory: raise the limit of locked memory with \
             LimitMEMLOCK=infinity in the systemd unit, or `ulimit -l unlimited`"
            .to_owned(),
        _ => format!("io_uring cannot be used: {error}; look at the kernel's log for the reason"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_told_apart() {
        let line = |errno, disabled, filtered| why_no_ring(&io::Error::from_raw_os_error(errno), disabled, filtered);
        for (errno, disabled, filtered, expected) in [
            (libc::EPERM, "2", false, "switched off"),
            (libc::EPERM, "1", false, "privileged"),
            (libc::EPERM, "0", true, "seccomp"),
            (libc::ENOSYS, "", true, "seccomp"),
            (libc::ENOSYS, "", false, "kernel has no io_uring"),
            (libc::EPERM, "0", false, "security policy"),
            (libc::ENOMEM, "0", false, "LimitMEMLOCK"),
            (libc::EMFILE, "0", false, "cannot be used"),
        ] {
            let line = line(errno, disabled, filtered);
            assert!(line.contains(expected) && !line.contains('\n'), "{errno} {disabled} {filtered}: {line}");
        }
    }

    #[test]
    fn a_seccomp_filter_is_seen() {
        assert!(under_seccomp_filter("Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n"));
        assert!(!under_seccomp_filter("Name:\tx\nSeccomp:\t0\nSeccomp_filters:\t0\n"));
    }

    #[test]
    fn limits_are_raised_here() {
        let cpus = cpus_online().unwrap();
        assert!(cpus.is_sorted() && !cpus.is_empty());
        preflight(cpus.len()).unwrap();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(soft, hard);
    }
}
