//! Giving up root once the ports are bound.

use std::ffi::CString;

use nix::unistd::{Uid, User, initgroups, setgid, setresuid, setuid};

use crate::sandbox::empty_bounding_set;
use crate::trouble::Trouble;

/// Makes all threads of this process run as `user`, with that user's groups, for good; with root go its capabilities.
/// Call it after [`bind`](fn@crate::bind), which may need the rights of root. Nothing happens when the process runs as this
/// user already.
pub fn drop_privileges(user: &str) -> Result<(), Trouble> {
    let entry = User::from_name(user)
        .map_err(|error| Trouble::new(format!("cannot look up the user `{user}`: {error}")))?
        .ok_or_else(|| {
            Trouble::new(format!("there is no user `{user}` here: create it, or name another one in [server] user"))
        })?;
    if Uid::effective() == entry.uid && Uid::current() == entry.uid {
        return Ok(());
    }
    let failed = |step: &str, error: nix::Error| {
        Trouble::new(format!(
            "cannot become the user `{user}` ({step}: {error}): start as root, or leave [server] user empty"
        ))
    };
    let name = CString::new(user).map_err(|_| Trouble::new("a user's name has no zero octets"))?;
    empty_bounding_set().map_err(|error| {
        Trouble::new(format!("cannot give up the capabilities of root ({error}): start without CAP_SETPCAP"))
    })?;
    // The C library's calls, not the bare system calls: they reach every thread of the process.
    initgroups(&name, entry.gid).map_err(|error| failed("setgroups", error))?;
    setgid(entry.gid).map_err(|error| failed("setgid", error))?;
    setresuid(entry.uid, entry.uid, entry.uid).map_err(|error| failed("setuid", error))?;
    if !entry.uid.is_root() && setuid(Uid::from_raw(0)).is_ok() {
        return Err(Trouble::new(format!(
            "the user `{user}` could become root again: start without CAP_SETUID, or as another user"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_user_is_named() {
        let trouble = drop_privileges("no-such-user-here").unwrap_err().to_string();
        assert!(trouble.contains("no-such-user-here") && trouble.contains("[server] user"), "{trouble}");
    }

    #[test]
    fn the_present_user_may_stay() {
        let present = User::from_uid(Uid::effective()).unwrap().expect("this user has an entry");
        drop_privileges(&present.name).unwrap();
    }
}
