//! Turns of threads that work beside the cores.

use std::mem::size_of;

use caps::{CapSet, Capability};

use crate::preflight;

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
    schedule(0, libc::SCHED_OTHER);
}

/// From now on this thread, and those that it starts, have a CPU only while nobody else wants it (`SCHED_IDLE`): a core
/// that wakes takes it over at once. While anybody else wants all of it, a few thousandths are left for them, which is for
/// short work alone: [`come_forward`] ends it. Where that would be forbidden they have short turns, and nothing more.
///
/// Measured with one CPU for all, 40,000 queries a second, and 1,000,000 names read anew: at the lowest priority
/// (nice 19), and with short turns, the core waited up to 4.0 ms for the threads that read, which is until the next tick
/// of the kernel's clock; this way up to 0.05 ms.
pub fn stand_aside() {
    schedule(0, if may_come_forward() { libc::SCHED_IDLE } else { libc::SCHED_OTHER });
}

/// From now on the thread `thread` of this process has its share of a CPU again, in short turns, as small as its priority
/// makes it.
pub fn come_forward(thread: i32) {
    schedule(thread, libc::SCHED_OTHER);
}

/// Whether the kernel lets a thread of this priority out of the idle class again: to the kernel that raises its priority,
/// which needs a limit (`RLIMIT_NICE`) that is 0 on most machines, or a privilege (sched(7)).
fn may_come_forward() -> bool {
    let has_privilege = caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_NICE).unwrap_or(false);
    has_privilege || i64::from(20 - nice_of(0)) <= preflight::nice_limit()
}

/// The priority of a thread; 0 is the calling one.
fn nice_of(thread: i32) -> i32 {
    // SAFETY: it takes no pointers; -1 is a priority, too, and none that these threads have.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, thread as libc::id_t) }
}

/// Gives a thread a policy and short turns, and leaves its priority as it is; 0 is the calling one.
fn schedule(thread: i32, policy: libc::c_int) {
    let attributes = Attributes {
        size: size_of::<Attributes>() as u32,
        policy: policy as u32,
        nice: nice_of(thread),
        runtime: TURN_NANOS,
        ..Attributes::default()
    };
    // SAFETY: the structure is as long as it says, and is only read.
    unsafe { libc::syscall(libc::SYS_sched_setattr, thread, &raw const attributes, 0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule_now() -> Attributes {
        let mut attributes = Attributes::default();
        let octets = size_of::<Attributes>();
        // SAFETY: the kernel writes so many octets at most.
        let got = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, octets, 0) };
        assert_eq!(got, 0);
        attributes
    }

    fn turn() -> u64 {
        schedule_now().runtime
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

    #[test]
    fn threads_stand_aside_and_come_forward_or_are_never_aside() {
        let lowest = || {
            // SAFETY: it takes no pointers, and is of the calling thread alone.
            unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) };
            stand_aside();
            let aside = schedule_now();
            // SAFETY: it takes nothing.
            let thread = unsafe { libc::gettid() };
            // As the control plane does it: another thread, of the ordinary class.
            (aside, thread, may_come_forward())
        };
        let (told, telling) = std::sync::mpsc::channel();
        let (go_on, going_on) = std::sync::mpsc::channel::<()>();
        let worker = std::thread::spawn(move || {
            told.send(lowest()).unwrap();
            going_on.recv().unwrap();
            schedule_now()
        });
        let (aside, thread, may) = telling.recv().unwrap();
        assert_eq!(aside.policy, if may { libc::SCHED_IDLE } else { libc::SCHED_OTHER } as u32);
        come_forward(thread);
        go_on.send(()).unwrap();
        let forward = worker.join().unwrap();
        assert_eq!((forward.policy, forward.nice), (libc::SCHED_OTHER as u32, 19), "nobody is left in the idle class");
    }

    #[test]
    fn threads_inherit_to_stand_aside() {
        let is_aside = may_come_forward();
        let before = schedule_now();
        let of_child = std::thread::spawn(|| {
            stand_aside();
            std::thread::spawn(schedule_now).join().unwrap()
        });
        let of_child = of_child.join().unwrap();
        assert_eq!(
            (of_child.policy, of_child.nice),
            (if is_aside { libc::SCHED_IDLE } else { libc::SCHED_OTHER } as u32, before.nice)
        );
        assert_eq!(schedule_now().policy, before.policy, "of that thread alone");
    }
}
