//! The floor: servers that do nothing but move datagrams. Each query goes back as a reply with one constant address, so that
//! what they cost is what the kernel's UDP path costs, whatever a server knows.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use glommio::io::PollableFd;
use glommio::{LocalExecutorBuilder, Placement, PoolPlacement};

use super::batch::{BATCH, Batch, DATAGRAM_OCTETS};

/// QR and AA.
const REPLY: u8 = 0x84;
/// A pointer to the question, type A, class IN, a TTL of 300 s, 192.0.2.1.
const ADDRESS: [u8; 16] = [0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 192, 0, 2, 1];
/// Batches that are answered before the reactor has its turn again.
const ROUNDS: usize = 16;

/// Answers what comes with blocking `recvmmsg` and `sendmmsg`, for ever.
///
/// # Errors
/// When the address cannot be bound, or the socket fails.
pub fn echo(address: SocketAddr) -> io::Result<()> {
    let socket = UdpSocket::bind(address)?;
    let mut batch = Batch::new(true);
    loop {
        turn(&socket, &mut batch, true)?;
    }
}

/// Answers what comes as `ringdns` does: readiness from glommio's io_uring, then batches until the socket is dry. For ever.
///
/// # Errors
/// When the address cannot be bound, there is no io_uring, or the socket fails.
pub fn echo_glommio(address: SocketAddr) -> io::Result<()> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    let executor = LocalExecutorBuilder::new(Placement::Unbound)
        .blocking_thread_pool_placement(PoolPlacement::Unbound(1))
        .make()
        .map_err(|error| io::Error::other(error.to_string()))?;
    executor.run(async move {
        let ready = PollableFd::new(socket).map_err(|error| io::Error::other(error.to_string()))?;
        let mut batch = Batch::new(true);
        loop {
            ready.readable().await.map_err(|error| io::Error::other(error.to_string()))?;
            for _ in 0..ROUNDS {
                if turn(ready.get_ref(), &mut batch, false)? < BATCH {
                    break;
                }
            }
        }
    })
}

/// One batch in and out; how many datagrams came.
fn turn(socket: &UdpSocket, batch: &mut Batch, wait: bool) -> io::Result<usize> {
    let count = batch.receive(socket, wait)?;
    for place in 0..count {
        let octets = batch.datagram(place).len();
        let octets = answer(batch.buffer(place), octets);
        batch.set_length(place, octets);
    }
    if count > 0 {
        batch.send(socket, count)?;
    }
    Ok(count)
}

/// Makes a reply of the query in the first `octets` of `buffer`; its length.
fn answer(buffer: &mut [u8; DATAGRAM_OCTETS], octets: usize) -> usize {
    if octets < 12 || octets + ADDRESS.len() > DATAGRAM_OCTETS {
        return octets;
    }
    buffer[2] |= REPLY;
    // The counts of answers and of additional records: an OPT record of the query would stand before the answer.
    buffer[7] = 1;
    if buffer[11] == 0 {
        buffer[octets..octets + ADDRESS.len()].copy_from_slice(&ADDRESS);
        return octets + ADDRESS.len();
    }
    let question = 12 + buffer[12..octets].iter().position(|&octet| octet == 0).unwrap_or(0) + 5;
    let end = (question + ADDRESS.len()).min(DATAGRAM_OCTETS);
    buffer[11] = 0;
    buffer[question.min(end)..end].copy_from_slice(&ADDRESS[..end - question.min(end)]);
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringdns_shard::wire::message::Header;

    #[test]
    fn a_reply_has_the_question_and_one_address() {
        let mut buffer = [0; DATAGRAM_OCTETS];
        let query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x02h1\x04test\x00\x00\x01\x00\x01";
        buffer[..query.len()].copy_from_slice(query);
        let octets = answer(&mut buffer, query.len());
        let header = Header::parse(&buffer[..octets]).unwrap();
        assert_eq!(header.counts, [1, 1, 0, 0]);
        assert_eq!(&buffer[12..query.len()], &query[12..]);
        assert_eq!(&buffer[query.len()..octets], ADDRESS);

        let opt = b"\0\0\x29\x04\xd0\0\0\x80\0\0\0";
        buffer[..query.len()].copy_from_slice(query);
        buffer[11] = 1;
        buffer[query.len()..query.len() + opt.len()].copy_from_slice(opt);
        let octets = answer(&mut buffer, query.len() + opt.len());
        assert_eq!(Header::parse(&buffer[..octets]).unwrap().counts, [1, 1, 0, 0]);
        assert_eq!(&buffer[query.len()..octets], ADDRESS);
    }

    #[test]
    fn whatever_comes_makes_no_panic() {
        for octets in [0, 3, 12, 13, 2040, DATAGRAM_OCTETS] {
            for fill in [0, 1, 255] {
                let mut buffer = [fill; DATAGRAM_OCTETS];
                assert!(answer(&mut buffer, octets) <= DATAGRAM_OCTETS);
            }
        }
    }
}
