//! One request to the control plane, and its answer.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use ringdns_control::config::Token;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime;
use tokio::time::timeout;

/// Octets of an answer: a server with a thousand upstreams on many cores has much to say.
const ANSWER_OCTETS_MAX: usize = 64 << 20;
/// How long it may take to be let in.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Where a server is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// At a Unix socket: who may use it may change something.
    Socket(PathBuf),
    /// At an address: changes need a token.
    Address(SocketAddr),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Socket(path) => path.display().fmt(f),
            Place::Address(address) => address.fmt(f),
        }
    }
}

/// What is asked.
pub(super) struct Request {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    /// JSON, or nothing.
    pub(super) body: String,
    /// How long the server may take.
    pub(super) limit: Duration,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) object: Value,
}

/// Asks at the first of `places` that lets us in. The error is a line for people, with the mend.
pub(super) fn exchange(places: &[Place], token: Option<&Token>, request: &Request) -> Result<Answer, String> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the server cannot be asked: {error}; allow epoll and eventfd"))?;
    runtime.block_on(async {
        let mut shut = Vec::new();
        for place in places {
            match connect(place).await {
                Ok(stream) => {
                    // Over the socket nobody asks for it.
                    let token = token.filter(|_| matches!(place, Place::Address(_)));
                    let answered = timeout(request.limit, over(stream, place, token, request)).await;
                    return answered.unwrap_or_else(|_| {
                        Err(format!(
                            "{place}: no answer within {} seconds; see the server's log",
                            request.limit.as_secs()
                        ))
                    });
                }
                Err(error) => shut.push(format!("{place}: {error}")),
            }
        }
        Err(format!("no server answers: {}; start it, or say with --control ADDRESS where it is", shut.join("; ")))
    })
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

async fn connect(place: &Place) -> io::Result<Box<dyn Stream>> {
    let connected = async {
        io::Result::<Box<dyn Stream>>::Ok(match place {
            Place::Socket(path) => Box::new(UnixStream::connect(path).await?),
            Place::Address(address) => Box::new(TcpStream::connect(address).await?),
        })
    };
    timeout(CONNECT_LIMIT, connected).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Asks over a connection.
async fn over(
    stream: Box<dyn Stream>,
    place: &Place,
    token: Option<&Token>,
    request: &Request,
) -> Result<Answer, String> {
    let host = match place {
        Place::Socket(_) => "localhost".to_owned(),
        Place::Address(address) => address.to_string(),
    };
    let mut built = hyper::Request::builder().method(request.method).uri(request.path).header(HOST, host);
    if !request.body.is_empty() {
        built = built.header(CONTENT_TYPE, "application/json");
    }
    if let Some(token) = token {
        built = built.header(AUTHORIZATION, format!("Bearer {}", token.as_str()));
    }
    let body = Full::new(Bytes::from(request.body.clone()));
    let built = built.body(body).expect("the parts of a request are written here, and tokens are of few characters");
    let broke_off = |error: hyper::Error| format!("{place}: the server broke off: {error}; see its log");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broke_off)?;
    // What goes wrong on the connection is told to whoever waits for the answer.
    tokio::spawn(connection);
    let answer = sender.send_request(built).await.map_err(broke_off)?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), ANSWER_OCTETS_MAX).collect().await;
    let octets = body.map_err(|error| format!("{place}: the answer broke off: {error}"))?.to_bytes();
    match serde_json::from_slice(&octets) {
        Ok(object @ Value::Object(_)) => Ok(Answer { status, object }),
        _ => Err(format!("{place}: what answers there (HTTP status {status}) is no ringdns that knows of this")),
    }
}
