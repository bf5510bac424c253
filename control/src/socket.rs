//! The control plane's Unix socket: a file whose rights say who may ask.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::confined::unwritable;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;
/// Who may ask: the owner, which is the user whose rights the process has, and root.
const MODE: u32 = 0o600;

/// A listening Unix socket. Its file is removed when this is dropped.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the file, so that nobody else's is removed.
    file: (u64, u64),
}

impl ControlSocket {
    /// Listens on `path`. A socket that a process left there that runs no more is replaced.
    ///
    /// # Errors
    /// A line that says what is in the way, and the mend.
    pub fn bind(path: &Path) -> Result<ControlSocket, String> {
        let fault = |why: String| {
            format!(
                "the control plane cannot listen on {}: {why}; choose another `socket` in [control]",
                path.display()
            )
        };
        remove_stale(path).map_err(fault)?;
        ControlSocket::listen(path).map_err(|error| fault(unwritable(path, error).to_string()))
    }

    fn listen(path: &Path) -> io::Result<ControlSocket> {
        let socket = socket()?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
        let metadata = fs::symlink_metadata(path)?;
        // From here on the file is removed whatever happens.
        let bound = ControlSocket {
            listener: UnixListener::from(socket),
            path: path.to_owned(),
            file: (metadata.dev(), metadata.ino()),
        };
        // Nobody can connect before it listens: the rights are those that were meant from the first connection on.
        fs::set_permissions(path, Permissions::from_mode(MODE))?;
        rustix::net::listen(&bound.listener, BACKLOG)?;
        Ok(bound)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Another handle to it, for the runtime; it does not block.
    pub(crate) fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.file);
        if is_ours && let Err(error) = fs::remove_file(&self.path) {
            log::warn!("{} stays behind: {error}", self.path.display());
        }
    }
}

/// One that does not block.
fn socket() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

/// Removes a socket on which nobody listens any more.
fn remove_stale(path: &Path) -> Result<(), String> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.to_string()),
        Ok(file) if !file.file_type().is_socket() => return Err("a file that is no socket is there".to_owned()),
        Ok(_) => {}
    }
    let asked = SocketAddrUnix::new(path).and_then(|address| rustix::net::connect(socket()?, &address));
    match asked {
        // Who has as many connections waiting as there may be listens as well.
        Ok(()) | Err(Errno::AGAIN) => Err("another process listens there".to_owned()),
        Err(Errno::CONNREFUSED) => {
            fs::remove_file(path).map_err(|error| format!("a socket was left there, and cannot be removed: {error}"))
        }
        Err(error) => Err(format!("a socket is there that cannot be asked: {}", io::Error::from(error))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_socket_is_for_its_owner_and_ends_with_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        let socket = ControlSocket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(UnixStream::connect(&path).is_ok());
        let taken = ControlSocket::bind(&path).unwrap_err();
        assert!(taken.contains("another process listens there; choose another `socket` in [control]"), "{taken}");
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn who_accepts_nothing_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        let other = UnixListener::bind(&path).unwrap();
        rustix::net::listen(&other, 1).unwrap();
        let address = SocketAddrUnix::new(&path).unwrap();
        let connect = || {
            let socket = socket().unwrap();
            rustix::net::connect(&socket, &address).map(|()| socket)
        };
        let waiting: Vec<OwnedFd> = (0..16).map_while(|_| connect().ok()).collect();
        assert_eq!(connect().unwrap_err(), Errno::AGAIN, "{} wait", waiting.len());
        let (tell, told) = mpsc::channel();
        let wanted = path.clone();
        let bound = thread::spawn(move || tell.send(ControlSocket::bind(&wanted).map(drop)));
        let refused = told.recv_timeout(Duration::from_secs(10)).expect("it does not wait").unwrap_err();
        assert!(refused.contains("another process listens there"), "{refused}");
        bound.join().unwrap().unwrap();
        assert!(path.exists(), "it stays whose it is");
    }

    #[test]
    fn only_a_socket_that_nobody_listens_on_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let socket = ControlSocket::bind(&path).unwrap();
        // Somebody else's file in its place is not removed.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "text").unwrap();
        drop(socket);
        assert!(path.exists());
        let refused = ControlSocket::bind(&path).unwrap_err();
        assert!(refused.contains("a file that is no socket is there"), "{refused}");
        let refused = ControlSocket::bind(&folder.path().join("absent/control")).unwrap_err();
        assert!(refused.contains("No such file or directory"), "{refused}");
    }
}
