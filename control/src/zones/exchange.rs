//! A primary is asked for its serial, and for the zone where that is newer: SOA over UDP, or over TCP where UDP brings
//! nothing; IXFR over TCP where there is a version to begin with, AXFR where there is none or IXFR does not do. Whatever
//! goes wrong on the way changes nothing.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ringdns_shard::limits::JOURNAL_DIFFERENCES_MAX;
use ringdns_shard::transfer::{self, Bounds, Fault, Incoming, Progress, Received, SoaQuery};
use ringdns_shard::tsig::Key;
use ringdns_shard::wire::name::{HashKey, Name};
use ringdns_shard::wire::serial::newer;
use ringdns_shard::zone::difference::Difference;
use ringdns_shard::zone::update::Mismatch;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout, timeout_at};

use super::keeping::Keeping;
use super::slots::Share;
use super::succession::Scene;
use super::workers::Workers;
use crate::load::{self, Served};
use crate::plane::{random, unix_seconds};

/// How long an answer over UDP may take, try by try.
const UDP_TRIES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];
/// How long a connection may take to come about.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// From one message to the next.
const MESSAGE_MAX: Duration = Duration::from_secs(10);
/// How fast a transfer must come, so that nobody holds a slot by sending an octet now and then.
pub(super) const PACE: Pace = Pace { octets_min: 10 << 10, window: Duration::from_secs(60) };
/// A whole transfer.
const TRANSFER_MAX: Duration = Duration::from_secs(3_600);
/// A message up to so many octets is taken at once; a longer one where nobody waits.
const SHORT_OCTETS: usize = 2_048;
/// Octets that a record takes at least: the root's name, type, TTL, length.
const RECORD_OCTETS_MIN: u64 = 11;

/// What is asked, of whom, and what an answer is made into.
pub(crate) struct Ask {
    pub(crate) apex: Name,
    pub(crate) primary: SocketAddr,
    /// Signs what is sent; then what comes back must be signed.
    pub(crate) key: Option<Arc<Key>>,
    pub(crate) scene: Scene,
    pub(crate) hash_key: HashKey,
    /// Octets of records that a transfer may bring.
    pub(crate) octets_max: u64,
    pub(crate) workers: Workers,
    /// For what is short.
    pub(crate) urgent: Workers,
    /// Bound how many ask for serials, and for zones, at once.
    pub(super) refreshes: Share,
    pub(super) transfers: Share,
    /// How fast what is transferred must come.
    pub(super) pace: Pace,
}

/// How fast octets must come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Octets that must come …
    pub(super) octets_min: u64,
    /// … in each so much time that is spent waiting for them. What is done with them here does not count.
    pub(super) window: Duration,
}

/// What came of asking.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The primary has the serial that we have.
    Current,
    /// A new version, kept on disk already, and whether it came as differences.
    Transferred { served: Arc<Served>, differences: bool },
    /// Nothing is changed; why, and whether a transfer had begun.
    Failed { why: String, in_transfer: bool },
}

impl Outcome {
    /// The outcome when the asking panicked.
    pub(crate) fn bug() -> Outcome {
        Outcome::Failed { why: "it met a bug in ringdns".to_owned(), in_transfer: false }
    }
}

/// Why a primary is of no use.
#[derive(Debug)]
enum Failure {
    /// It cannot be reached, or does not speak in time.
    Silent(String),
    /// Its answer is of no use.
    Fault(Fault),
    /// What it sent cannot be served; why.
    Unfit(String),
    /// It is larger than it may be.
    TooLarge(u64),
    /// It sends less than it must.
    Slow(Pace),
    /// It has an older serial than we have.
    Behind { theirs: u32, ours: u32 },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Silent(why) | Failure::Unfit(why) => f.write_str(why),
            Failure::Fault(fault) => fault.fmt(f),
            Failure::TooLarge(octets_max) => {
                write!(
                    f,
                    "the transfer has more than {octets_max} octets; raise `transfer` in [limits] where that is right"
                )
            }
            Failure::Slow(pace) => {
                let (octets, seconds) = (pace.octets_min, pace.window.as_secs());
                write!(f, "it sends less than {octets} octets in {seconds} seconds, and the transfer is broken off")
            }
            Failure::Behind { theirs, ours } => {
                write!(f, "its serial {theirs} is older than {ours}, which is served here")
            }
        }
    }
}

impl Failure {
    fn io(what: &str, error: &io::Error) -> Failure {
        Failure::Silent(format!("{what}: {error}"))
    }

    fn late(what: &str, limit: Duration) -> Failure {
        Failure::Silent(format!("{what} within {} seconds", limit.as_secs()))
    }

    /// Whether the whole zone may be had where the differences cannot.
    fn asks_for_whole(&self) -> bool {
        matches!(self, Failure::Fault(fault) if !matches!(fault, Fault::Signature(_)))
            || matches!(self, Failure::Unfit(_))
    }
}

/// Asks the primary, and takes in what is new.
pub(crate) async fn refresh(ask: Ask) -> Outcome {
    let ours = ask.scene.before.as_ref().map(|before| before.image().serial());
    if let Some(ours) = ours {
        let slot = ask.refreshes.take().await;
        let theirs = ask.serial().await;
        drop(slot);
        match theirs {
            Ok(theirs) if newer(theirs, ours) => {}
            Ok(theirs) if theirs == ours => return ask.current(),
            Ok(theirs) => return failed(&Failure::Behind { theirs, ours }, false),
            Err(failure) => return failed(&failure, false),
        }
    }
    let _slot = ask.transfers.take().await;
    match timeout(TRANSFER_MAX, ask.transfer(Instant::now())).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(failure)) => failed(&failure, true),
        Err(_) => failed(&Failure::late("the transfer is not over", TRANSFER_MAX), true),
    }
}

fn failed(failure: &Failure, in_transfer: bool) -> Outcome {
    Outcome::Failed { why: failure.to_string(), in_transfer }
}

impl Ask {
    /// What we have is as new as the primary's.
    fn current(&self) -> Outcome {
        Keeping::leave(&self.scene.keeping, &self.urgent, &self.workers, Keeping::touch);
        Outcome::Current
    }

    /// The primary's serial.
    async fn serial(&self) -> Result<u32, Failure> {
        for limit in UDP_TRIES {
            match self.serial_over_udp(limit).await {
                Ok(Some(serial)) => return Ok(serial),
                Ok(None) => {}
                Err(Failure::Fault(fault @ Fault::Refused(_))) => return Err(Failure::Fault(fault)),
                // It may speak TCP where it does not speak UDP.
                Err(_) => break,
            }
        }
        let (query, request) = self.soa_query();
        let mut stream = self.connect().await?;
        send(&mut stream, &request).await?;
        let mut message = Vec::new();
        Messages::new(stream, self.pace).next(&mut message).await?;
        query.take(unix_seconds(), &mut message).map_err(Failure::Fault)
    }

    fn soa_query(&self) -> (SoaQuery, Vec<u8>) {
        SoaQuery::begin(&self.apex, u16::from_le_bytes(random()), self.key.as_ref(), unix_seconds())
    }

    /// Asks once; `None` where no answer comes in time.
    async fn serial_over_udp(&self, limit: Duration) -> Result<Option<u32>, Failure> {
        let (query, request) = self.soa_query();
        let socket = udp_socket(self.primary).await.map_err(|error| Failure::io("it cannot be asked", &error))?;
        socket.send(&request).await.map_err(|error| Failure::io("it cannot be asked", &error))?;
        let deadline = Instant::now() + limit;
        let mut buffer = vec![0; 65_535];
        loop {
            let Ok(received) = timeout_at(deadline, socket.recv(&mut buffer)).await else { return Ok(None) };
            let octets = received.map_err(|error| Failure::io("it does not answer", &error))?;
            match query.take(unix_seconds(), &mut buffer[..octets].to_vec()) {
                Ok(serial) => return Ok(Some(serial)),
                // It may be a forgery: the true answer may yet come.
                Err(Fault::NotOurs(_) | Fault::Malformed | Fault::Signature(_)) => {}
                Err(fault) => return Err(Failure::Fault(fault)),
            }
        }
    }

    /// Transfers what is new, `begun` now: as differences where there is something to begin with, and as a whole where that does not do.
    async fn transfer(&self, begun: Instant) -> Result<Outcome, Failure> {
        if let Some(before) = &self.scene.before {
            match self.transfer_once(Some(before), begun).await {
                Err(failure) if failure.asks_for_whole() => {
                    log::info!("the zone {} is transferred as a whole from {}: {failure}", self.apex, self.primary);
                }
                end => return end,
            }
        }
        self.transfer_once(None, begun).await
    }

    async fn transfer_once(&self, since: Option<&Arc<Served>>, begun: Instant) -> Result<Outcome, Failure> {
        let ask = transfer::Ask {
            zone: &self.apex,
            since: since.map(|before| before.image().soa().first()),
            id: u16::from_le_bytes(random()),
            key: self.key.as_ref(),
            over_udp: false,
        };
        let bounds = Bounds { records: self.octets_max / RECORD_OCTETS_MIN, octets: self.octets_max };
        let (mut incoming, request) = Incoming::begin(&ask, bounds, self.hash_key, unix_seconds());
        let mut stream = self.connect().await?;
        send(&mut stream, &request).await?;
        let (mut messages, mut message) = (Messages::new(stream, self.pace), Vec::new());
        loop {
            messages.next(&mut message).await?;
            let progress;
            (incoming, message, progress) = self.take(incoming, message, begun).await?;
            match progress {
                Ok(Progress::More) => {}
                Ok(Progress::Done(received)) => return self.received(received, begun).await,
                Err(Fault::Bound(_)) => return Err(Failure::TooLarge(self.octets_max)),
                Err(fault) => return Err(Failure::Fault(fault)),
            }
        }
    }

    /// Reads a message: here where it is short, or else where nobody waits for it.
    async fn take(&self, mut incoming: Incoming, mut message: Vec<u8>, begun: Instant) -> Result<Taken, Failure> {
        let is_short = message.len() <= SHORT_OCTETS;
        let take = move || {
            let progress = incoming.take(unix_seconds(), &mut message);
            (incoming, message, progress)
        };
        if is_short {
            return Ok(take());
        }
        let bug = || Failure::Unfit("reading it met a bug in ringdns".to_owned());
        self.workers.run_since(begun.into_std(), take).await.ok_or_else(bug)
    }

    /// Makes a version of what was received.
    async fn received(&self, received: Received, begun: Instant) -> Result<Outcome, Failure> {
        let ours = self.scene.before.as_ref().map(|before| before.image().serial());
        let behind = |theirs| ours.filter(|ours| !newer(theirs, *ours)).map(|ours| Failure::Behind { theirs, ours });
        let scene = self.scene.clone();
        let made = match received {
            Received::Current { serial } if Some(serial) == ours => return Ok(self.current()),
            Received::Current { serial: theirs } => return Err(behind(theirs).unwrap_or(Failure::Fault(Fault::Over))),
            Received::Whole { serial, .. } if behind(serial).is_some() => return Err(behind(serial).expect("it is")),
            Received::Whole { builder, .. } => {
                let whole = move || {
                    let image = builder.finish().map_err(|faults| format!("the zone is faulty: {}", faults[0].1))?;
                    load::verify(&image)?;
                    Ok((scene.succeed(image), false))
                };
                self.workers.run_since(begun.into_std(), whole).await
            }
            Received::Differences(differences) => {
                let octets_max = self.octets_max;
                self.workers.run_since(begun.into_std(), move || followed(&scene, differences, octets_max)).await
            }
        };
        match made {
            Some(Ok((served, differences))) => Ok(Outcome::Transferred { served, differences }),
            Some(Err(why)) => Err(Failure::Unfit(why)),
            None => Err(Failure::Unfit("taking it in met a bug in ringdns".to_owned())),
        }
    }

    /// A connection to the primary. Transfers over TLS (RFC 9103) would have theirs made here.
    async fn connect(&self) -> Result<impl AsyncRead + AsyncWrite + Unpin + use<>, Failure> {
        let stream = timeout(CONNECT_MAX, TcpStream::connect(self.primary)).await;
        let stream = stream.map_err(|_| Failure::late("no connection comes about", CONNECT_MAX))?;
        let stream = stream.map_err(|error| Failure::io("no connection comes about", &error))?;
        // A request is one write: nothing is to be waited for.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }
}

type Taken = (Incoming, Vec<u8>, Result<Progress, Fault>);

/// Octets in memory for each octet that a transfer may have: differences must not make of a zone what could not be
/// transferred as a whole.
const IMAGE_OCTETS_A_TRANSFERRED: u64 = 8;

/// The version that differences lead to.
fn followed(scene: &Scene, differences: Vec<Difference>, octets_max: u64) -> Result<(Arc<Served>, bool), String> {
    let before = scene.before.as_ref().ok_or("differences came where there is nothing to begin with")?;
    let image = match &differences[..] {
        [one] => before.image().apply(one),
        // One walk over the zone for all of them.
        many => Difference::merge(many).and_then(|merged| before.image().apply(&merged)),
    };
    if let Err(Mismatch::There(_)) = image {
        return followed_loosely(scene, before, &differences);
    }
    let image = image.map_err(|mismatch| mismatch.to_string())?;
    if image.octets() as u64 > octets_max.saturating_mul(IMAGE_OCTETS_A_TRANSFERRED) {
        return Err("the differences make the zone larger than `transfer` in [limits] lets one be".to_owned());
    }
    load::verify(&image)?;
    Ok((scene.succeed_by(image, differences.into_iter().map(Arc::new).collect()), true))
}

/// The same where differences add what is there already. What is kept, and told to others, is what has really changed.
fn followed_loosely(scene: &Scene, before: &Served, differences: &[Difference]) -> Result<(Arc<Served>, bool), String> {
    let (first, others) = differences.split_first().ok_or("a transfer brings a difference")?;
    // Each is a walk over the memory of the zone.
    if differences.len() > JOURNAL_DIFFERENCES_MAX {
        return Err("too many differences come at once that add what is there already".to_owned());
    }
    let mut image = before.image().apply_loosely(first).map_err(|mismatch| mismatch.to_string())?;
    for difference in others {
        image = image.apply_loosely(difference).map_err(|mismatch| mismatch.to_string())?;
    }
    load::verify(&image)?;
    Ok((scene.succeed(image), true))
}

/// A socket that hears `peer` alone.
pub(crate) async fn udp_socket(peer: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = if peer.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(peer).await?;
    Ok(socket)
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> Result<(), Failure> {
    let mut framed = Vec::with_capacity(2 + message.len());
    framed.extend((message.len() as u16).to_be_bytes());
    framed.extend(message);
    let written = timeout(MESSAGE_MAX, stream.write_all(&framed)).await;
    let written = written.map_err(|_| Failure::late("it does not read the request", MESSAGE_MAX))?;
    written.map_err(|error| Failure::io("it does not read the request", &error))
}

/// The messages that come over a connection.
struct Messages<S> {
    stream: S,
    pace: Pace,
    /// What is left of the window, and what has come in it.
    left: Duration,
    octets: u64,
}

impl<S: AsyncRead + Unpin> Messages<S> {
    fn new(stream: S, pace: Pace) -> Messages<S> {
        Messages { stream, pace, left: pace.window, octets: 0 }
    }

    /// Reads the next message into `message`.
    async fn next(&mut self, message: &mut Vec<u8>) -> Result<(), Failure> {
        let end = Instant::now() + MESSAGE_MAX;
        let mut length = [0; 2];
        self.fill(&mut length, end).await?;
        message.clear();
        message.resize(usize::from(u16::from_be_bytes(length)), 0);
        self.fill(message, end).await
    }

    async fn fill(&mut self, mut rest: &mut [u8], end: Instant) -> Result<(), Failure> {
        while !rest.is_empty() {
            let begin = Instant::now();
            let read = timeout_at(end.min(begin + self.left), self.stream.read(rest)).await;
            let octets = match read {
                Ok(Ok(0)) => return Err(Failure::Fault(Fault::Order("the connection ends before it does"))),
                Ok(Ok(octets)) => octets,
                Ok(Err(error)) => return Err(Failure::io("the connection breaks", &error)),
                Err(_) if Instant::now() >= end => return Err(Failure::late("no message comes", MESSAGE_MAX)),
                Err(_) => 0,
            };
            rest = &mut rest[octets..];
            self.spend(begin.elapsed(), octets as u64)?;
        }
        Ok(())
    }

    /// So long has been waited, and so much has come.
    fn spend(&mut self, waited: Duration, octets: u64) -> Result<(), Failure> {
        self.octets += octets;
        self.left = self.left.saturating_sub(waited);
        if self.left.is_zero() {
            if self.octets < self.pace.octets_min {
                return Err(Failure::Slow(self.pace));
            }
            (self.left, self.octets) = (self.pace.window, 0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends `octets` octets `times` times, with a rest after each, to one who expects `octets_min` in a
    /// second; how receiving ends.
    fn received(times: usize, octets: usize, rest: Duration, octets_min: u64) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (mut theirs, ours) = tokio::io::duplex(1 << 16);
            let send = async {
                let all = times * octets;
                let framed = [&((all - 2) as u16).to_be_bytes()[..], &vec![0; all - 2]].concat();
                for part in framed.chunks(octets) {
                    if theirs.write_all(part).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(rest).await;
                }
            };
            let pace = Pace { octets_min, window: Duration::from_secs(1) };
            let (mut messages, mut message) = (Messages::new(ours, pace), Vec::new());
            let receive = async move { messages.next(&mut message).await };
            tokio::join!(send, receive).1
        })
    }

    #[test]
    fn one_who_sends_octet_by_octet_is_cut() {
        let begin = Instant::now();
        let slow = received(10_000, 1, Duration::from_millis(5), 1_000);
        assert!(matches!(slow, Err(Failure::Slow(_))), "{slow:?}");
        assert!(begin.elapsed() < Duration::from_secs(20));
        // As much in all, by and by.
        assert!(received(20, 1_000, Duration::from_millis(100), 1_000).is_ok());
        // At once, however little it is.
        assert!(received(2, 10, Duration::ZERO, 1_000).is_ok());
    }

    #[test]
    fn time_that_is_not_spent_waiting_does_not_count() {
        let pace = Pace { octets_min: 100, window: Duration::from_secs(60) };
        let mut messages = Messages::new(tokio::io::empty(), pace);
        for _ in 0..3 {
            assert!(messages.spend(Duration::from_secs(59), 0).is_ok());
            assert!(messages.spend(Duration::from_secs(1), 100).is_ok());
        }
        assert!(messages.spend(Duration::from_secs(59), 99).is_ok());
        let why = messages.spend(Duration::from_secs(1), 0).unwrap_err().to_string();
        assert_eq!(why, "it sends less than 100 octets in 60 seconds, and the transfer is broken off");
    }
}
