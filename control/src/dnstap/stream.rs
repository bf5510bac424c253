//! A connection to a reader of Frame Streams: made, greeted, written to and ended, each within a time.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType};

use super::frames::{self, Control};
use crate::config::TapTarget;

/// How long the connection is waited for before anybody looks whether that still makes sense.
const SLICE: Duration = Duration::from_millis(100);
/// What was sent over TCP must have reached the reader's machine within this time.
const UNREACHED_MAX: Duration = Duration::from_secs(30);

/// A connection over which data may be sent.
#[derive(Debug)]
pub(super) struct Stream(Socket);

#[derive(Debug)]
enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// How long something may be waited for.
#[derive(Clone, Copy)]
pub(super) struct Patience<'a> {
    /// Until then.
    pub(super) until: Instant,
    /// And only while this holds.
    pub(super) goes_on: &'a dyn Fn() -> bool,
}

/// Why a batch has not been sent as a whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// Octets of it that were.
    pub(super) written: usize,
    /// For people.
    pub(super) why: String,
}

impl Stream {
    /// Connects within `limit`, and comes to an understanding with the reader; the error says why not.
    pub(super) fn open(target: &TapTarget, limit: Duration, patience: Patience<'_>) -> Result<Stream, String> {
        let socket = Socket::connect(target, limit).map_err(|error| format!("cannot connect: {error}"))?;
        let mut stream = Stream(socket);
        stream.greet(patience).map_err(|why| format!("no agreement with the reader: {why}"))?;
        Ok(stream)
    }

    fn greet(&mut self, patience: Patience<'_>) -> Result<(), String> {
        self.write(&Control::Ready.frame(), patience).map_err(|cut| cut.why)?;
        self.expect(Control::Accept, patience).map_err(|error| error.to_string())?;
        self.write(&Control::Start.frame(), patience).map_err(|cut| cut.why)
    }

    /// Writes all of `octets`.
    pub(super) fn write(&mut self, octets: &[u8], patience: Patience<'_>) -> Result<(), Cut> {
        let mut written = 0;
        while written < octets.len() {
            match self.0.write(&octets[written..]) {
                Ok(0) => return Err(Cut { written, why: "it takes no more".to_owned() }),
                Ok(some) => {
                    written += some;
                    // Who takes a little at a time is not waited for longer.
                    if written < octets.len() {
                        patience.check_time().map_err(|error| Cut { written, why: error.to_string() })?;
                    }
                }
                Err(error) => patience.bear(error).map_err(|error| Cut { written, why: error.to_string() })?,
            }
        }
        Ok(())
    }

    /// Whether the reader is still there and keeps silent, as it must; the error says what is wrong.
    pub(super) fn look(&self) -> Result<(), String> {
        match rustix::net::recv(&self.0, &mut [0_u8; 1][..], RecvFlags::DONTWAIT) {
            Ok((_, 0)) => Err("it has closed the connection".to_owned()),
            Ok(_) => Err("it sends what nobody asked for".to_owned()),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Says that no more data come, and waits until the reader has them all; the error says why that is not sure.
    pub(super) fn finish(mut self, patience: Patience<'_>) -> Result<(), String> {
        self.write(&Control::Stop.frame(), patience).map_err(|cut| cut.why)?;
        self.expect(Control::Finish, patience).map_err(|error| error.to_string())
    }

    /// Reads a control frame, which must be this one.
    fn expect(&mut self, wanted: Control, patience: Patience<'_>) -> io::Result<()> {
        let mut prefix = [0; frames::PREFIX_OCTETS];
        self.read(&mut prefix, patience)?;
        let mut body = [0; frames::CONTROL_OCTETS_MAX];
        let body = &mut body[..frames::control_octets(prefix).map_err(io::Error::other)?];
        self.read(body, patience)?;
        frames::check(body, wanted).map_err(io::Error::other)
    }

    fn read(&mut self, octets: &mut [u8], patience: Patience<'_>) -> io::Result<()> {
        let mut read = 0;
        while read < octets.len() {
            match self.0.read(&mut octets[read..]) {
                Ok(0) => return Err(io::Error::other("it has closed the connection")),
                Ok(some) => {
                    read += some;
                    patience.check_time()?;
                }
                Err(error) => patience.bear(error)?,
            }
        }
        Ok(())
    }
}

impl Patience<'_> {
    /// Goes on after an error that only says that nothing has happened yet.
    fn bear(&self, error: io::Error) -> io::Result<()> {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => self.check(),
            _ => Err(error),
        }
    }

    fn check(&self) -> io::Result<()> {
        if (self.goes_on)() { self.check_time() } else { Err(io::Error::other("it is not waited for any longer")) }
    }

    fn check_time(&self) -> io::Result<()> {
        if Instant::now() < self.until { Ok(()) } else { Err(io::Error::other("it is too slow")) }
    }
}

impl Socket {
    fn connect(target: &TapTarget, limit: Duration) -> io::Result<Socket> {
        match target {
            TapTarget::Socket(path) => {
                let stream = connect_unix(path)?;
                stream.set_read_timeout(Some(SLICE))?;
                stream.set_write_timeout(Some(SLICE))?;
                Ok(Socket::Unix(stream))
            }
            TapTarget::Address(address) => {
                let stream = TcpStream::connect_timeout(address, limit)?;
                stream.set_read_timeout(Some(SLICE))?;
                stream.set_write_timeout(Some(SLICE))?;
                rustix::net::sockopt::set_tcp_user_timeout(&stream, UNREACHED_MAX.as_millis() as u32)?;
                Ok(Socket::Tcp(stream))
            }
        }
    }
}

/// Connects without waiting: where the reader has as many connections to accept as it lets wait, it is asked later.
fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

impl Read for Socket {
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Unix(stream) => stream.read(octets),
            Socket::Tcp(stream) => stream.read(octets),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Unix(stream) => stream.write(octets),
            Socket::Tcp(stream) => stream.write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Unix(stream) => stream.as_fd(),
            Socket::Tcp(stream) => stream.as_fd(),
        }
    }
}
