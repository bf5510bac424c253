//! What a part of this program costs, counted by running the program once more under callgrind: instructions, and with
//! its simulation of caches the reads and writes that miss. Counts do not depend on what else the machine does.
//!
//! The part is what runs inside of [`counted`]. So that counts depend on the machine's CPU as little as can be, the C
//! library is told to take none of its variants for CPUs with more than the oldest x86-64 has, and the simulated
//! caches have sizes of ours: 32 KiB of eight ways, and behind them 32 MiB of sixteen.

use std::env;
use std::hint::black_box;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

/// The C library chooses its `memcpy` and others by the CPU: without these they are those of every x86-64.
const TUNABLES: &str = "glibc.cpu.hwcaps=-AVX2,-AVX2_Usable,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM";
/// What a program that wants to be counted from a moment on says on its standard output.
const READY: &str = "ready to be counted";

/// What the part cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Instructions.
    pub instructions: u64,
    /// Data reads and writes that miss the first level; zero without simulation of caches.
    pub first_level_misses: u64,
    /// Data reads and writes that miss the last level, which means waiting for memory; zero without simulation.
    pub last_level_misses: u64,
}

/// Whether callgrind can be run here.
pub fn is_installed() -> bool {
    version().is_some()
}

/// What valgrind says of itself; `None` where it cannot be run.
pub fn version() -> Option<String> {
    let output = Command::new("valgrind").arg("--version").output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The part that is counted, which may run more than once. The name of this function is what callgrind is told.
#[inline(never)]
pub fn counted<R>(part: impl FnOnce() -> R) -> R {
    black_box(part())
}

/// Counts the instructions of a run of this program with these arguments.
///
/// # Errors
/// When valgrind cannot be run, the program fails, or nothing was counted.
pub fn instructions(arguments: &[&str]) -> io::Result<Counts> {
    finish(command(arguments).stdout(Stdio::null()).spawn()?, arguments)
}

/// Counts instructions and misses of a run of this program, which must call [`ready`] once it is prepared: up to there it
/// is run without simulation, several times faster.
///
/// # Errors
/// As [`instructions`].
pub fn misses(arguments: &[&str]) -> io::Result<Counts> {
    let mut valgrind = command(&[]);
    valgrind.args(["--instr-atstart=no", "--cache-sim=yes", "--I1=32768,8,64", "--D1=32768,8,64"]);
    valgrind.arg("--LL=33554432,16,64").arg(env::current_exe()?).args(arguments);
    let mut child = valgrind.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut said = String::new();
    BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut said)?;
    if said.trim_end() == READY {
        Command::new("callgrind_control").args(["-i", "on", &child.id().to_string()]).output()?;
    }
    // The program that has ended already is told of by its status.
    let _ = child.stdin.take().expect("it is piped").write_all(b"\n");
    finish(child, arguments)
}

/// Waits until whoever counts begins to, called by a program that [`misses`] has started.
///
/// # Errors
/// When nobody is there.
pub fn ready() -> io::Result<()> {
    println!("{READY}");
    io::stdin().read_line(&mut String::new()).map(|_| ())
}

/// valgrind, and this program where there are arguments for it.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*callgrind::counted*"]);
    command.env("GLIBC_TUNABLES", TUNABLES).stdin(Stdio::null()).stderr(Stdio::piped());
    if let (false, Ok(program)) = (arguments.is_empty(), env::current_exe()) {
        command.arg(program).args(arguments);
    }
    command
}

fn finish(mut child: Child, arguments: &[&str]) -> io::Result<Counts> {
    let mut said = String::new();
    child.stderr.take().expect("it is piped").read_to_string(&mut said)?;
    let status = child.wait()?;
    let counts = read(&said).filter(|counts| status.success() && counts.instructions > 0);
    counts.ok_or_else(|| io::Error::other(format!("callgrind of {arguments:?}: {status}, it says:\n{said}")))
}

/// What callgrind says at its end: the names of the events, and as many sums.
fn read(said: &str) -> Option<Counts> {
    let after = |title: &str| {
        let rest = said.lines().rev().find_map(|line| line.split_once(title))?.1;
        Some(rest.trim_start_matches([' ', ':']).split_whitespace())
    };
    let sums: Vec<(&str, u64)> =
        after("Events ")?.zip(after("Collected ")?.map(|sum| sum.parse().ok()).collect::<Option<Vec<_>>>()?).collect();
    let of = |names: &[&str]| sums.iter().filter(|(name, _)| names.contains(name)).map(|(_, sum)| sum).sum();
    Some(Counts {
        instructions: of(&["Ir"]),
        first_level_misses: of(&["D1mr", "D1mw"]),
        last_level_misses: of(&["DLmr", "DLmw"]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_read_by_the_names_of_their_events() {
        let said = "==7== Events    : Ir Dr Dw I1mr D1mr D1mw ILmr DLmr DLmw\n==7== Collected : 900 40 30 5 4 3 2 1 6\n==7==\n";
        let counts = Counts { instructions: 900, first_level_misses: 7, last_level_misses: 7 };
        assert_eq!(read(said), Some(counts));
        let said = "==7== Events    : Ir\n==7== Collected : 26191849\n==7== I   refs:      26,191,849\n";
        assert_eq!(read(said), Some(Counts { instructions: 26_191_849, ..Counts::default() }));
        assert_eq!(read("valgrind: no such file\n"), None);
    }
}
