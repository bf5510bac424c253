//! Tells one server that one zone has changed (RFC 1996).

use std::sync::Arc;
use std::time::Duration;

use ringdns_shard::transfer::{self, Fault};
use ringdns_shard::tsig::Key;
use tokio::time::{Instant, timeout_at};

use super::exchange::udp_socket;
use super::telling::Notice;
use crate::load::Served;
use crate::plane::{random, unix_seconds};

/// How often a server is told, and how long its answer may take each time: a minute in all (RFC 1996 §3.6).
const TRIES: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
];

/// Tells the server until it answers, and not for ever. The error says why it has not heard.
pub(super) async fn tell(notice: Notice, key: Option<Arc<Key>>, served: Arc<Served>) -> Result<(), String> {
    let mut why = None;
    for limit in TRIES {
        match once(&notice, key.as_ref(), &served, limit).await {
            Ok(()) => return Ok(()),
            // It has heard, and there is no more to it.
            Err(Told { is_final: true, why }) => return Err(why),
            Err(Told { why: last, .. }) => why = Some(last),
        }
    }
    Err(why.unwrap_or_default())
}

/// Why a server has not been told.
struct Told {
    is_final: bool,
    why: String,
}

async fn once(notice: &Notice, key: Option<&Arc<Key>>, served: &Served, limit: Duration) -> Result<(), Told> {
    let deadline = Instant::now() + limit;
    let id = u16::from_le_bytes(random());
    let soa = served.image().soa().first();
    let (sent, request) = transfer::Notice::begin(&notice.zone, Some(soa), id, key, unix_seconds());
    let mut why = match ask(notice, &request).await {
        Ok(socket) => {
            let mut buffer = vec![0; 4_096];
            let mut heard = "it does not answer".to_owned();
            loop {
                match timeout_at(deadline, socket.recv(&mut buffer)).await {
                    Err(_) => return Err(Told { is_final: false, why: heard }),
                    Ok(Err(error)) => break error.to_string(),
                    Ok(Ok(octets)) => match sent.take(unix_seconds(), &mut buffer[..octets].to_vec()) {
                        Ok(()) => return Ok(()),
                        Err(fault @ Fault::Refused(_)) => return Err(Told { is_final: true, why: fault.to_string() }),
                        // It may be a forgery: the true answer may yet come.
                        Err(fault) => heard = fault.to_string(),
                    },
                }
            }
        }
        Err(error) => error.to_string(),
    };
    // Nobody is there now; perhaps somebody will be later.
    tokio::time::sleep_until(deadline).await;
    why.insert_str(0, "it cannot be reached: ");
    Err(Told { is_final: false, why })
}

async fn ask(notice: &Notice, request: &[u8]) -> std::io::Result<tokio::net::UdpSocket> {
    let socket = udp_socket(notice.peer.address).await?;
    socket.send(request).await?;
    Ok(socket)
}
