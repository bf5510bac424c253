//! Giving up, once the ports are bound, what nothing needs from then on: capabilities, new privileges, and by Landlock,
//! where the kernel has it, all of the file system but what is named. What is given up is gone for this thread and for
//! those that it starts.

use std::path::PathBuf;

use caps::{CapSet, Capability, CapsHashSet};
use landlock::{
    ABI, Access, AccessFs, BitFlags, LandlockStatus, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope, make_bitflags, path_beneath_rules,
};
use nix::sys::prctl::set_no_new_privs;
use nix::unistd::Uid;

use crate::preflight::io_uring_allowed;
use crate::trouble::Trouble;

/// The newest rights of Landlock that this was tested with; older kernels keep to those that they know.
const NEWEST: ABI = ABI::V7;
const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});
/// Files and folders of every kind but those that stand for something else: devices, sockets, pipes, links.
const WRITE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | RemoveFile | RemoveDir | Refer
});
const SOCKETS: BitFlags<AccessFs> = make_bitflags!(AccessFs::{MakeSock | RemoveFile});
/// What a process that stays root keeps: files of the configuration may belong to others, who alone may read or write them.
const KEPT_BY_ROOT: [Capability; 2] = [Capability::CAP_DAC_OVERRIDE, Capability::CAP_FOWNER];

/// The part of the file system that a process is kept to: what is named here and what is below it. What is not there when
/// it is kept to it is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Folders and files that are read.
    pub read: Vec<PathBuf>,
    /// Folders in which files and folders are read, written, made and removed.
    pub write: Vec<PathBuf>,
    /// Folders in which Unix sockets are made and removed.
    pub sockets: Vec<PathBuf>,
}

/// Gives up new privileges, and, where there is a `reach`, all capabilities and whatever of the file system lies beyond
/// it. Returns whether the kernel keeps the process to its reach: without Landlock only the rights of its user do.
///
/// Call it after [`drop_privileges`](crate::drop_privileges), and before the first thread starts that is to be kept in.
///
/// # Errors
/// When the kernel refuses one of the steps, or allows io_uring to the privileged alone.
pub fn confine(reach: Option<&Reach>) -> Result<bool, Trouble> {
    set_no_new_privs().map_err(|error| refused("no_new_privs", &error))?;
    let Some(reach) = reach else { return Ok(false) };
    let kept = give_up_capabilities().map_err(|error| refused("capabilities", &error))?;
    if kept > 0 {
        log::info!("the process stays root, and reads and writes files of others: name a `user` in [server]");
    }
    let status = restrict(reach).map_err(|error| refused("Landlock", &error))?;
    // What was allowed to a privileged process may not be any more, and rings are made later.
    io_uring_allowed()?;
    Ok(holds(reach, &status))
}

fn refused(what: &str, error: &dyn std::fmt::Display) -> Trouble {
    Trouble::new(format!(
        "the process cannot be confined ({what}: {error}): allow it, or set `sandbox = false` in [server]"
    ))
}

/// Empties the bounding set, where that is allowed: nothing that is started from here could have more than it.
pub(crate) fn empty_bounding_set() -> Result<(), caps::errors::CapsError> {
    match caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        true => caps::clear(None, CapSet::Bounding),
        // No new privileges come to the same.
        false => Ok(()),
    }
}

/// Returns how many are kept.
fn give_up_capabilities() -> Result<usize, caps::errors::CapsError> {
    empty_bounding_set()?;
    if caps::runtime::ambient_set_supported().is_ok() {
        caps::clear(None, CapSet::Ambient)?;
    }
    let mut kept = CapsHashSet::new();
    if Uid::effective().is_root() {
        let permitted = caps::read(None, CapSet::Permitted)?;
        kept.extend(KEPT_BY_ROOT.iter().filter(|capability| permitted.contains(*capability)));
    }
    caps::set(None, CapSet::Inheritable, &CapsHashSet::new())?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    Ok(kept.len())
}

fn restrict(reach: &Reach) -> Result<RestrictionStatus, RulesetError> {
    // Whatever is not granted below is refused: running programs, devices and sockets among it; so are signals to other
    // processes, and Unix sockets of theirs that have no file. Connections are left alone: to upstreams, primaries and
    // readers of dnstap, whose addresses a reload may change.
    Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .add_rules(path_beneath_rules(&reach.read, READ))?
        .add_rules(path_beneath_rules(&reach.write, WRITE))?
        .add_rules(path_beneath_rules(&reach.sockets, SOCKETS))?
        .restrict_self()
}

/// Says in the log how far the process is kept in.
fn holds(reach: &Reach, status: &RestrictionStatus) -> bool {
    let (read, write) = (reach.read.len(), reach.write.len());
    match status.landlock {
        LandlockStatus::Available { effective_abi, .. } if status.ruleset != RulesetStatus::NotEnforced => {
            log::info!("confined by Landlock (version {effective_abi}): {read} places to read, {write} to write");
            true
        }
        LandlockStatus::NotEnabled => {
            log::info!("not confined by Landlock, which this kernel has switched off (`lsm=` of its command line)");
            false
        }
        _ => {
            log::info!("not confined by Landlock, which this kernel does not have, or a seccomp profile forbids");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    use std::path::Path;
    use std::thread;

    use super::*;

    /// The line of the kernel's with this title about the calling thread.
    fn status(title: &str) -> String {
        let text = fs::read_to_string("/proc/thread-self/status").unwrap();
        text.lines().find_map(|line| line.strip_prefix(title)).unwrap().trim().to_owned()
    }

    /// On a thread of its own, which alone is kept in.
    fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| scope.spawn(work).join().unwrap())
    }

    fn scratch(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("ringdns-sandbox-{}-{name}", std::process::id()));
        for part in ["read", "write", "sockets", "other"] {
            fs::create_dir_all(folder.join(part)).unwrap();
            fs::write(folder.join(part).join("file"), part).unwrap();
        }
        fs::write(folder.join("other/alone"), "alone").unwrap();
        folder
    }

    fn reach(folder: &Path) -> Reach {
        Reach {
            read: vec![
                "/proc".into(),
                "/sys".into(),
                folder.join("read"),
                folder.join("absent"),
                folder.join("other/alone"),
            ],
            write: vec![folder.join("write")],
            sockets: vec![folder.join("sockets")],
        }
    }

    #[test]
    fn what_is_not_named_is_out_of_reach() {
        let folder = scratch("reach");
        apart(|| {
            if !confine(Some(&reach(&folder))).unwrap() {
                eprintln!("skipped: this kernel has no Landlock");
                return;
            }
            let refused = |error: std::io::Error| error.kind() == ErrorKind::PermissionDenied;
            let file = |part: &str| folder.join(part).join("file");
            assert_eq!(fs::read_to_string(file("read")).unwrap(), "read");
            assert!(fs::write(file("read"), "x").is_err_and(refused));
            assert!(fs::write(folder.join("read/new"), "x").is_err_and(refused));
            assert!(fs::remove_file(file("read")).is_err_and(refused));
            fs::create_dir(folder.join("write/below")).unwrap();
            fs::write(folder.join("write/below/new"), "x").unwrap();
            fs::rename(folder.join("write/below/new"), folder.join("write/renamed")).unwrap();
            fs::remove_dir(folder.join("write/below")).unwrap();
            assert!(UnixDatagram::bind(folder.join("write/socket")).is_err_and(refused));
            assert!(fs::read_to_string(file("sockets")).is_err_and(refused));
            assert!(fs::write(folder.join("sockets/new"), "x").is_err_and(refused));
            drop(UnixDatagram::bind(folder.join("sockets/socket")).unwrap());
            fs::remove_file(folder.join("sockets/socket")).unwrap();
            assert!(fs::read_to_string(file("other")).is_err_and(refused));
            // A file that is named alone.
            assert_eq!(fs::read_to_string(folder.join("other/alone")).unwrap(), "alone");
            assert!(fs::write(folder.join("other/alone"), "x").is_err_and(refused));
            assert!(fs::read_dir(&folder).is_err_and(refused));
            let run = std::process::Command::new("/bin/true").status();
            assert!(run.is_err_and(refused), "no program is run");
            // Threads that start from here are kept in as well.
            assert!(apart(|| fs::read_to_string(file("other"))).is_err_and(refused));
        });
        assert_eq!(fs::read_to_string(folder.join("other/file")).unwrap(), "other", "the rest of the process is not");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn sockets_of_others_without_a_file_are_out_of_reach() {
        let name = SocketAddr::from_abstract_name(format!("ringdns-sandbox-{}", std::process::id())).unwrap();
        let _outside = UnixDatagram::bind_addr(&name).unwrap();
        apart(|| {
            let socket = UnixDatagram::unbound().unwrap();
            socket.connect_addr(&name).unwrap();
            let is_scoped = confine(Some(&Reach { read: vec!["/proc".into()], ..Reach::default() })).unwrap();
            let again = UnixDatagram::unbound().unwrap().connect_addr(&name);
            // Kernels from 6.12 on have it.
            if is_scoped && again.is_ok() {
                eprintln!("skipped: this kernel's Landlock knows no sockets without a file");
            } else {
                assert_eq!(again.is_err(), is_scoped);
            }
        });
    }

    #[test]
    fn no_capability_is_left_but_what_reaches_files_of_others() {
        let is_root = Uid::effective().is_root();
        apart(|| {
            let permitted = caps::read(None, CapSet::Permitted).unwrap();
            confine(Some(&Reach { read: vec!["/proc".into()], ..Reach::default() })).unwrap();
            let mask = |kept: &[Capability]| {
                let held = kept.iter().filter(|capability| permitted.contains(*capability));
                format!("{:016x}", held.map(Capability::bitmask).sum::<u64>())
            };
            let kept = if is_root { mask(&KEPT_BY_ROOT) } else { mask(&[]) };
            assert_eq!([status("CapEff:"), status("CapPrm:")], [kept.clone(), kept]);
            assert_eq!([status("CapInh:"), status("CapAmb:")], [mask(&[]), mask(&[])]);
            if permitted.contains(&Capability::CAP_SETPCAP) {
                assert_eq!(status("CapBnd:"), mask(&[]));
            }
            assert_eq!(status("NoNewPrivs:"), "1");
        });
    }

    #[test]
    fn without_a_reach_nothing_but_new_privileges_is_given_up() {
        apart(|| {
            let before = status("CapEff:");
            assert_eq!(confine(None), Ok(false));
            assert_eq!((status("NoNewPrivs:").as_str(), status("CapEff:")), ("1", before));
            assert!(fs::read_dir(std::env::temp_dir()).is_ok());
        });
    }
}
