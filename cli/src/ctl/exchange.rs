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
pub(crate) enum Place {
    /// At a Unix socket: who may use it may change something.
    Socket(PathBuf),
    /// At an address: changes need a token, and where it is no loopback one everything does.
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    method: &'static str,
    /// From the first slash on, parameters with it.
    path: String,
    /// JSON, or nothing.
    body: String,
    /// How long the server may take.
    limit: Duration,
}

/// Where the interface is.
const PREFIX: &str = "/api/v1";
/// How long a server may take that is asked how it does.
const LOOK_LIMIT: Duration = Duration::from_secs(10);

impl Request {
    /// Asks for what is at `path`, below the interface's own.
    pub(crate) fn look(path: impl Into<String>) -> Request {
        Request { method: "GET", path: PREFIX.to_owned() + &path.into(), body: String::new(), limit: LOOK_LIMIT }
    }

    /// Has something done; `body` is an object, or null for none.
    pub(crate) fn change(method: &'static str, path: impl Into<String>, body: &Value) -> Request {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        Request { method, body, ..Request::look(path) }
    }

    /// The same, and the server may take so long.
    pub(crate) fn within(self, limit: Duration) -> Request {
        Request { limit, ..self }
    }

    /// The same with a parameter more.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Request {
        self.path.push(if self.path.contains('?') { '&' } else { '?' });
        self.path.push_str(name);
        self.path.push('=');
        self.path.push_str(&escaped(value));
        self
    }
}

/// A text as it stands in a path or in a parameter (RFC 3986 §2.1): all but the unreserved characters by their octets.
pub(crate) fn escaped(text: &str) -> String {
    let escaped = |octet: u8| match octet {
        b'-' | b'.' | b'_' | b'~' => char::from(octet).to_string(),
        _ if octet.is_ascii_alphanumeric() => char::from(octet).to_string(),
        _ => format!("%{octet:02X}"),
    };
    text.bytes().map(escaped).collect()
}

/// What came back.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) object: Value,
}

impl Answer {
    /// Whether what was asked for is done.
    pub(crate) fn is_well(&self) -> bool {
        (200..300).contains(&self.status)
    }
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
    let mut built = hyper::Request::builder().method(request.method).uri(request.path.as_str()).header(HOST, host);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_cannot_become_another_request() {
        let request = Request::look("/queries").with("name", "a&b=c d?#/%\r\n").with("client", "2001:db8::/32");
        assert_eq!(request.path, "/api/v1/queries?name=a%26b%3Dc%20d%3F%23%2F%25%0D%0A&client=2001%3Adb8%3A%3A%2F32");
        assert_eq!(escaped("ä-._~Z9"), "%C3%A4-._~Z9");
    }
}
