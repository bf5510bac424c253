//! Runs a piece of code in a child of this process, an instruction at a time, and reads each before it is executed.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

/// No walk is longer: the child was meant to come to its end long before.
const STEPS_MAX: u64 = 5_000_000;
/// How the child says that it cannot be traced.
const NOT_PERMITTED: i32 = 77;
/// Where the kernel keeps the instruction pointer in what it tells of a process: the seventeenth word.
const INSTRUCTION_POINTER: usize = 16 * 8;

/// What was seen on the way.
pub(crate) struct Walk {
    /// Instructions executed.
    pub(crate) steps: u64,
    /// Those that should not be there, in order, as often as they were executed.
    pub(crate) found: Vec<Found>,
}

/// An instruction that touches what others may share.
pub(crate) struct Found {
    /// What it is.
    pub(crate) what: &'static str,
    /// Where it is.
    pub(crate) place: String,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.what, self.place)
    }
}

/// Executes `region` in a child and looks at its instructions; this process stays as it was. `None`: tracing is not
/// permitted.
pub(crate) fn walk(region: impl FnOnce()) -> Option<Walk> {
    // SAFETY: the child is a copy of this thread alone. It runs `region`, which takes no lock that another thread could
    // have held at that moment (the allocator's own are made good by the C library), and never returns from here.
    match unsafe { fork() }.expect("a child") {
        ForkResult::Child => child(region),
        ForkResult::Parent { child } => follow(child),
    }
}

/// Between `begin` and `end` lies what is looked at. Their bodies differ, lest they be made one.
#[inline(never)]
fn begin() {
    black_box(1);
}

#[inline(never)]
fn end() {
    black_box(2);
}

fn child(region: impl FnOnce()) -> ! {
    if ptrace::traceme().is_err() {
        std::process::exit(NOT_PERMITTED);
    }
    let done = catch_unwind(AssertUnwindSafe(|| {
        raise(Signal::SIGSTOP).expect("a signal to oneself");
        begin();
        region();
        end();
    }));
    // Nobody comes here but by a panic: at its end the child is stopped for good.
    std::process::exit(i32::from(done.is_err()));
}

fn follow(child: Pid) -> Option<Walk> {
    match waitpid(child, None).expect("a child of ours") {
        WaitStatus::Stopped(_, Signal::SIGSTOP) => {}
        WaitStatus::Exited(_, NOT_PERMITTED) => return None,
        other => panic!("the child did not stop: {other:?}"),
    }
    ptrace::setoptions(child, Options::PTRACE_O_EXITKILL).expect("a child that is traced");
    let (begin, end) = (begin as *const () as u64, end as *const () as u64);
    let (mut walk, mut is_inside) = (Walk { steps: 0, found: Vec::new() }, false);
    // By address: what is read once is not read again.
    let mut known: HashMap<u64, Option<&'static str>> = HashMap::new();
    for _ in 0..STEPS_MAX {
        let address =
            ptrace::read_user(child, INSTRUCTION_POINTER as ptrace::AddressType).expect("it is stopped") as u64;
        is_inside |= address == begin;
        if is_inside && address == end {
            ptrace::kill(child).expect("it is stopped");
            waitpid(child, None).expect("a child of ours");
            return Some(walk);
        }
        if is_inside {
            walk.steps += 1;
            if let Some(what) = *known.entry(address).or_insert_with(|| judge(&read(child, address))) {
                walk.found.push(Found { what, place: place(address) });
            }
        }
        ptrace::step(child, None).expect("it is stopped");
        match waitpid(child, None).expect("a child of ours") {
            WaitStatus::Stopped(_, Signal::SIGTRAP) => {}
            other => panic!("the child is {other:?} after {} instructions", walk.steps),
        }
    }
    panic!("more than {STEPS_MAX} instructions");
}

/// The sixteen octets at an address: no instruction has more than fifteen.
fn read(child: Pid, address: u64) -> [u8; 16] {
    let mut octets = [0; 16];
    for (place, word) in octets.chunks_exact_mut(8).enumerate() {
        let at = (address + 8 * place as u64) as ptrace::AddressType;
        // Past the last page of code there may be nothing.
        word.copy_from_slice(&ptrace::read(child, at).unwrap_or(0).to_ne_bytes());
    }
    octets
}

/// What an instruction is, where that matters: prefixes, then one or two octets of operation and one that tells operands.
fn judge(instruction: &[u8]) -> Option<&'static str> {
    let is_prefix = |octet: &u8| matches!(octet, 0x26 | 0x2E | 0x36 | 0x3E | 0x64..=0x67 | 0xF0 | 0xF2 | 0xF3);
    let prefixes = instruction.iter().take_while(|octet| is_prefix(octet)).count();
    if instruction[..prefixes].contains(&0xF0) {
        return Some("LOCK");
    }
    let operation = &instruction[prefixes..];
    // REX, which widens registers.
    let operation = if operation[0] & 0xF0 == 0x40 { &operation[1..] } else { operation };
    match *operation {
        [0x86 | 0x87, operands, ..] if operands >> 6 != 3 => Some("XCHG with memory"),
        [0x0F, 0x05, ..] => Some("SYSCALL"),
        _ => None,
    }
}

/// The function and line of an address, as far as they can be told: the child is a copy, so that this process has the
/// same code there.
fn place(address: u64) -> String {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let areas = maps.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (from, to) = words.next()?.split_once('-')?;
        Some((u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?, words.nth(4)?))
    });
    let areas: Vec<_> = areas.collect();
    let Some(&(_, _, file)) = areas.iter().find(|(from, to, _)| (*from..*to).contains(&address)) else {
        return format!("{address:#x}");
    };
    let base = areas.iter().filter(|area| area.2 == file).map(|area| area.0).min().unwrap_or_default();
    let offset = format!("{:#x}", address - base);
    let output = Command::new("addr2line").args(["-Cfpie", file, &offset]).output();
    let told = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    format!("{file} {offset} {told}")
}

#[test]
fn instructions_are_told_by_their_octets() {
    // lock xadd %rax,(%rdi); lock cmpxchg behind a segment's prefix; xchg %rax,(%rdi); xchg %eax,%ecx; syscall; mov.
    assert_eq!(judge(b"\xf0\x48\x0f\xc1\x07"), Some("LOCK"));
    assert_eq!(judge(b"\x64\xf0\x0f\xb1\x0d\0\0\0\0"), Some("LOCK"));
    assert_eq!(judge(b"\x48\x87\x07"), Some("XCHG with memory"));
    assert_eq!(judge(b"\x86\x07"), Some("XCHG with memory"));
    assert_eq!(judge(b"\x87\xc8"), None);
    assert_eq!(judge(b"\x0f\x05"), Some("SYSCALL"));
    assert_eq!(judge(b"\x48\x89\xf0"), None);
}
