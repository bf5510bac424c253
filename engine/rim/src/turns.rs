//! Turns of threads that work beside the cores.

use std::mem::size_of;

/// Nanoseconds of a turn: as short as the kernel takes it.
const TURN_NANOS: u64 = 100_000;

/// `struct sched_attr` of sched_setattr(2), in its first form.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// From now on this thread, and those that it starts, have short turns on their CPU: a core that is to answer waits
/// for the end of one, whatever the priority of who has it. Kernels before 6.12 have turns of one length for all, and where it is
/// forbidden nothing changes.
pub fn take_short_turns() {
    // SAFETY: it takes no pointers; -1 is a priority, too, and none that this thread has.
    let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    let attributes = Attributes {
        size: size_of::<Attributes>() as u32,
        policy: libc::SCHED_OTHER as u32,
        nice,
        runtime: TURN_NANOS,
        ..Attributes::default()
    };
    // SAFETY: the structure is as long as it says, and is only read.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn() -> u64 {
        let mut attributes = Attributes::default();
        let octets = size_of::<Attributes>();
        // SAFETY: the kernel writes so many octets at most.
        let got = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, octets, 0) };
        assert_eq!(got, 0);
        attributes.runtime
    }

    #[test]
    fn threads_inherit_short_turns() {
        let before = turn();
        let of_child = std::thread::spawn(|| {
            take_short_turns();
            std::thread::spawn(turn).join().unwrap()
        });
        let of_child = of_child.join().unwrap();
        // Kernels that have turns of one length tell none.
        assert!(of_child == TURN_NANOS || of_child == 0 && before == 0, "{of_child} {before}");
        assert_eq!(turn(), before, "of that thread alone");
    }
}
