//! Who may ask, and who may change something.
//!
//! | door | looking | changing |
//! |---|---|---|
//! | a loopback address | everybody on this machine | with the token |
//! | any other address | with the token | with the token |
//! | the Unix socket | whom its file lets in | whom its file lets in |
//!
//! What only looks has a safe method (RFC 9110 §9.2.1); every other changes something. A browser that a web page has
//! told to ask here is turned away: by the name that it asks for, which is none of ours after DNS rebinding, and by what
//! it says of the page. Who is turned away has to connect anew, and leaves the seat to others.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ringdns_shard::wire::name::Name;
use tokio::time::sleep;

use super::problem::Problem;
use crate::config::{Control, Token};
use crate::http::Seat;

/// Where a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// An address that everybody on this machine reaches, and nobody else.
    Loopback,
    /// An address that others reach.
    Network,
    /// The Unix socket, which only those reach whom its file lets in.
    Socket,
}

/// What is demanded of those who ask, and how many were turned away.
#[derive(Debug, Default)]
pub(crate) struct Access {
    rules: RwLock<Rules>,
    refused: AtomicU64,
    wrong_tokens: AtomicU64,
    put_out: AtomicU64,
}

#[derive(Debug, Default)]
struct Rules {
    token: Option<Token>,
    /// Names by which addresses are asked.
    hosts: Vec<Name>,
}

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    NoHost,
    WrongHost,
    CrossSite,
    NoTokenSet,
    NoTokenSent,
    WrongToken,
}

/// Who sent a wrong token waits so long for the answer: with the seats of a door, that is how many guesses there are in a
/// second.
const GUESS_PAUSE: Duration = Duration::from_millis(500);

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Lets a request in, or says why not.
pub(crate) async fn guard(access: Arc<Access>, door: Door, request: Request, next: Next) -> Response {
    let Err(refused) = access.allow(door, &request) else { return next.run(request).await };
    access.refused.fetch_add(1, Ordering::Relaxed);
    let mut answer = refused.problem().into_response();
    match refused {
        Refused::NoTokenSent => {
            let challenge = HeaderValue::from_static("Bearer realm=\"ringdns\"");
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        Refused::WrongToken => {
            access.wrong_tokens.fetch_add(1, Ordering::Relaxed);
            if let Some(seat) = request.extensions().get::<Arc<Seat>>() {
                // Whoever else needs the seat may have it.
                seat.waits();
            }
            sleep(GUESS_PAUSE).await;
        }
        Refused::NoHost | Refused::WrongHost | Refused::CrossSite | Refused::NoTokenSet => {}
    }
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

impl Access {
    /// From now on these are the token and the names; without a token, only the socket lets changes in.
    pub(crate) fn want(&self, settings: &Control) {
        let token = settings.token_file.as_ref().map(|file| file.token.clone());
        let hosts = settings.hosts.iter().map(|name| Name::clone(name)).collect();
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Rules { token, hosts };
    }

    /// Requests that were not let in.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Of these, those with a wrong token.
    pub(crate) fn wrong_tokens(&self) -> u64 {
        self.wrong_tokens.load(Ordering::Relaxed)
    }

    /// A connection makes room for another.
    pub(crate) fn puts_out(&self) {
        self.put_out.fetch_add(1, Ordering::Relaxed);
    }

    /// Connections that made room for others.
    pub(crate) fn put_out(&self) -> u64 {
        self.put_out.load(Ordering::Relaxed)
    }

    fn allow(&self, door: Door, request: &Request) -> Result<(), Refused> {
        if door == Door::Socket {
            return Ok(());
        }
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        let host = host(request)?;
        if host.as_ref().is_some_and(|host| !rules.is_ours(host.host())) {
            return Err(Refused::WrongHost);
        }
        let changes = !request.method().is_safe();
        if is_of_another_site(request.headers()) || changes && is_cross_site(request.headers(), host.as_ref()) {
            return Err(Refused::CrossSite);
        }
        if !changes && door == Door::Loopback {
            return Ok(());
        }
        match (&rules.token, bearer(request.headers())) {
            (None, _) => Err(Refused::NoTokenSet),
            (Some(_), None) => Err(Refused::NoTokenSent),
            (Some(token), Some(sent)) if token.is(sent) => Ok(()),
            (Some(_), Some(_)) => Err(Refused::WrongToken),
        }
    }
}

impl Rules {
    /// Whether we are asked by this name: an address cannot be rebound, and the other names are known to be ours.
    fn is_ours(&self, host: &str) -> bool {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        match bare {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None if host.parse::<IpAddr>().is_ok_and(|address| address.is_ipv4()) => true,
            None if host.eq_ignore_ascii_case("localhost") => true,
            None => host.parse::<Name>().is_ok_and(|name| self.hosts.contains(&name)),
        }
    }
}

/// Whom the request is for (RFC 9110 §7.2, RFC 9112 §3.2); `None` where HTTP/1.0 does not say.
fn host(request: &Request) -> Result<Option<Authority>, Refused> {
    let mut sent = request.headers().get_all(header::HOST).iter();
    let (first, second) = (sent.next(), sent.next());
    if second.is_some() {
        return Err(Refused::NoHost);
    }
    // A target in absolute form counts before the header.
    if let Some(authority) = request.uri().authority() {
        return Ok(Some(authority.clone()));
    }
    match first {
        Some(host) => host.to_str().ok().and_then(|host| host.parse().ok()).map(Some).ok_or(Refused::NoHost),
        None if request.version() < Version::HTTP_11 => Ok(None),
        None => Err(Refused::NoHost),
    }
}

/// Whether a browser says that a page of another site has made it ask: such a page has nothing to look for here, though it
/// could not read the answer.
fn is_of_another_site(headers: &HeaderMap) -> bool {
    headers.get_all(SEC_FETCH_SITE).iter().any(|site| site == "cross-site")
}

/// Whether a browser says that any page but ours has made it ask.
fn is_cross_site(headers: &HeaderMap, host: Option<&Authority>) -> bool {
    let site = headers.get_all(SEC_FETCH_SITE).iter().any(|site| !["same-origin", "none"].iter().any(|ok| site == ok));
    let is_foreign = |origin: &HeaderValue| {
        let page = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        !page.is_some_and(|(_, page)| host.is_some_and(|host| host.as_str().eq_ignore_ascii_case(page)))
    };
    site || headers.get_all(header::ORIGIN).iter().any(is_foreign)
}

/// The token that was sent (RFC 6750 §2.1). Where several were, none counts.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut sent = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(only), None) = (sent.next(), sent.next()) else { return None };
    let (scheme, token) = only.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

impl Refused {
    fn problem(self) -> Problem {
        let (status, why) = match self {
            Refused::NoHost => (StatusCode::BAD_REQUEST, "the request has no Host header, or several; send one"),
            Refused::WrongHost => (
                StatusCode::MISDIRECTED_REQUEST,
                "the server is not known by the name in the Host header: ask by its address, or put the name into `hosts` \
                 in [control]",
            ),
            Refused::CrossSite => (
                StatusCode::FORBIDDEN,
                "a page of another site has sent this (Origin, Sec-Fetch-Site): ask with a program, or from a page of this \
                 server",
            ),
            Refused::NoTokenSet => (
                StatusCode::FORBIDDEN,
                "this changes the server: set `token_file` in [control] and send the token, or set `socket` in \
                 [control] and ask there",
            ),
            Refused::NoTokenSent => (
                StatusCode::UNAUTHORIZED,
                "this needs the token of `token_file` in [control]: send it as `Authorization: Bearer TOKEN`, or ask at \
                 the Unix socket (`socket` in [control])",
            ),
            Refused::WrongToken => (
                StatusCode::FORBIDDEN,
                "the token is not the one of `token_file` in [control]: send that, or ask at the Unix socket (`socket` \
                 in [control])",
            ),
        };
        Problem::new(status, why)
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn access(folder: &std::path::Path, control: &str) -> Access {
        std::fs::write(folder.join("token"), TOKEN).unwrap();
        let text = format!("[control]\n{control}\n");
        let access = Access::default();
        access.want(&crate::config::parse("r.toml", &text, folder).unwrap().control);
        access
    }

    fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> Request {
        let builder = Request::builder().method(method).uri(target);
        headers
            .iter()
            .fold(builder, |builder, (name, value)| builder.header(*name, *value))
            .body(Body::empty())
            .unwrap()
    }

    fn asks(access: &Access, door: Door, method: &str, headers: &[(&str, &str)]) -> Result<(), Refused> {
        let headers = [&[("host", "127.0.0.1:8053")], headers].concat();
        access.allow(door, &request(method, "/api/v1/status", &headers))
    }

    #[test]
    fn changes_need_the_token_or_the_socket_and_from_elsewhere_everything_does() {
        let folder = tempfile::tempdir().unwrap();
        let access = access(folder.path(), "");
        let right = [("authorization", "bearer 0123456789abcdef")];
        assert_eq!(asks(&access, Door::Loopback, "POST", &right), Err(Refused::NoTokenSet));
        assert_eq!(asks(&access, Door::Network, "GET", &right), Err(Refused::NoTokenSet));
        assert_eq!(asks(&access, Door::Loopback, "GET", &[]), Ok(()));
        assert_eq!(asks(&access, Door::Socket, "POST", &[("host", "x"), ("origin", "http://evil.example")]), Ok(()));
        let settings = crate::config::parse("r.toml", "[control]\ntoken_file = \"token\"\n", folder.path()).unwrap();
        access.want(&settings.control);
        for (door, method) in [(Door::Loopback, "POST"), (Door::Loopback, "PUT"), (Door::Network, "GET")] {
            assert_eq!(asks(&access, door, method, &right), Ok(()));
            for (values, why) in [
                (&[][..], Refused::NoTokenSent),
                (&["Basic 0123456789abcdef"], Refused::NoTokenSent),
                (&["0123456789abcdef"], Refused::NoTokenSent),
                (&["Bearer"], Refused::NoTokenSent),
                (&["Bearer 0123456789abcdef", "Bearer 0123456789abcdef"], Refused::NoTokenSent),
                (&["Bearer "], Refused::WrongToken),
                (&["Bearer 0123456789abcdeg"], Refused::WrongToken),
                (&["Bearer 0123456789abcdef0"], Refused::WrongToken),
            ] {
                let headers: Vec<_> = values.iter().map(|value| ("authorization", *value)).collect();
                assert_eq!(asks(&access, door, method, &headers), Err(why), "{values:?}");
            }
        }
    }

    #[test]
    fn a_name_that_is_none_of_ours_is_turned_away() {
        let folder = tempfile::tempdir().unwrap();
        let access = access(folder.path(), "hosts = [\"dns.example.test\"]");
        let asks = |door, headers: &[(&str, &str)], target: &str| access.allow(door, &request("GET", target, headers));
        for host in ["127.0.0.1", "127.0.0.1:8053", "[::1]:8053", "LocalHost:8053", "DNS.example.test.:1", "192.0.2.1"]
        {
            assert_eq!(asks(Door::Loopback, &[("host", host)], "/health"), Ok(()), "{host}");
        }
        for host in
            ["evil.example:8053", "x.dns.example.test", "127.0.0.1.evil.example", "2130706433", "0x7f.1", "[::1"]
        {
            assert!(asks(Door::Loopback, &[("host", host)], "/health").is_err(), "{host}");
        }
        for headers in [&[][..], &[("host", "127.0.0.1"), ("host", "127.0.0.1")], &[("host", "")], &[("host", "a b")]] {
            assert_eq!(asks(Door::Loopback, headers, "/health"), Err(Refused::NoHost), "{headers:?}");
        }
        let target = "http://evil.example/health";
        assert_eq!(asks(Door::Loopback, &[("host", "127.0.0.1")], target), Err(Refused::WrongHost));
        assert_eq!(asks(Door::Socket, &[("host", "evil.example")], "/health"), Ok(()));
        let mut old = request("GET", "/health", &[]);
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(access.allow(Door::Loopback, &old), Ok(()));
    }

    #[test]
    fn a_page_of_another_site_changes_nothing_and_asks_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let access = access(folder.path(), "token_file = \"token\"");
        let token = ("authorization", "Bearer 0123456789abcdef");
        for (header, are_let_in) in [
            (("origin", "http://127.0.0.1:8053"), [true, true]),
            (("origin", "http://127.0.0.1:8054"), [false, true]),
            (("origin", "http://evil.example"), [false, true]),
            (("origin", "null"), [false, true]),
            (("sec-fetch-site", "same-origin"), [true, true]),
            (("sec-fetch-site", "none"), [true, true]),
            (("sec-fetch-site", "same-site"), [false, true]),
            (("sec-fetch-site", "cross-site"), [false, false]),
        ] {
            for (method, is_let_in) in ["POST", "GET"].into_iter().zip(are_let_in) {
                let asked = asks(&access, Door::Loopback, method, &[token, header]);
                assert_eq!(asked, if is_let_in { Ok(()) } else { Err(Refused::CrossSite) }, "{method} {header:?}");
            }
        }
        let twice = [("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")];
        assert_eq!(asks(&access, Door::Loopback, "HEAD", &twice), Err(Refused::CrossSite));
    }
}
