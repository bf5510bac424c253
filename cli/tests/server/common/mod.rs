//! What the tests drive the binary with: the process, servers for it to ask, the messages of a client.

pub(crate) mod dns;
pub(crate) mod liar;
pub(crate) mod nsd;
pub(crate) mod peer;
pub(crate) mod scripted;
pub(crate) mod server;
pub(crate) mod turn;
pub(crate) mod unbound;
pub(crate) mod upstream;

pub(crate) use crate::ports::free_port;

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// No step takes longer, even on a machine that is busy with other things: zones are prepared at the lowest priority, which
/// gets a hundredth of a CPU that others want, too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// Waits until `holds`; `what` says what for.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Where a program is, `None` where it is not installed. System folders count even where PATH lacks them.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Says that a test cannot run here. `scripts/test` collects these lines.
pub(crate) fn skipped(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // Past the capture of test output, so that nobody takes a test that did not run for one that passed.
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {why}");
}

/// A program that the test needs and the Debian package that has it; says so where it is not installed.
pub(crate) fn needed(name: &str, package: &str) -> Option<PathBuf> {
    let found = program(name);
    if found.is_none() {
        skipped(&format!("{name} is not installed (apt package {package})"));
    }
    found
}
