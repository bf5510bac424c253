//! A connection to a server as a stream of octets: what carries it is known here alone.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};

use crate::runtime::Readiness;
use crate::sockets;

/// A stream to a server, non-blocking in both directions.
pub(super) struct Stream {
    socket: TcpStream,
}

impl Stream {
    /// Connects to a server. How long that takes is the caller's to bound.
    pub(super) async fn connect(server: SocketAddr) -> io::Result<Stream> {
        let ready = Readiness::new(TcpStream::from(sockets::tcp_upstream(server)?));
        ready.writable().await?;
        if let Some(error) = ready.descriptor().take_error()? {
            return Err(error);
        }
        Ok(Stream { socket: ready.into_descriptor() })
    }

    #[cfg(test)]
    pub(super) fn over(socket: TcpStream) -> Stream {
        Stream { socket }
    }
}

impl Read for &Stream {
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        (&self.socket).read(octets)
    }
}

impl Write for &Stream {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        (&self.socket).write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&self.socket).flush()
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
