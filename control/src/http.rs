//! The control plane's pages: `/health`, `/ready`, `/metrics`, and the interface for programs (`api`). Who may ask for
//! what, `api::access` decides, for every page.
//!
//! A client has a bounded time for each thing it does, and a seat only for as long as nobody else waits for one: those
//! who hold connections without asking keep nobody out.

mod doors;
mod seats;
mod turns;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::time::sleep;

pub use doors::Doors;
pub(crate) use doors::OpenDoors;
pub(crate) use seats::Seat;
use seats::{Seats, Taken};
pub(crate) use turns::{NoTurn, Turns};

use crate::api::reloads::Wishes;
use crate::api::{self, Access, Door};
use crate::cores::Cores;
use crate::dnstap::Dnstap;
use crate::metrics::{self, Format};
use crate::orders::Desk;
use crate::query_log::QueryLog;
use crate::status::Board;

/// What clients can take up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Connections at once. Where there are more, those make room that have kept the server waiting longest.
    pub(crate) connections: usize,
    /// A connection takes no further request after so long.
    pub(crate) connection: Duration,
    /// … and ends after so much longer, whatever happens on it: a reload of many zones takes its time.
    pub(crate) request: Duration,
    /// The head of a request must be here after so long.
    pub(crate) head: Duration,
    /// An answer must be taken after so long.
    pub(crate) answer: Duration,
}

/// The bounds in force.
pub(crate) const BOUNDS: Bounds = Bounds {
    connections: 64,
    connection: Duration::from_secs(60),
    request: Duration::from_secs(15 * 60),
    head: Duration::from_secs(5),
    answer: Duration::from_secs(30),
};

/// Octets of a request's head.
const HEAD_OCTETS_MAX: usize = 16 << 10;
/// How long the cores may take to answer.
pub(crate) const CORES_LIMIT: Duration = Duration::from_secs(1);
/// How long to wait after the kernel could not accept a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What the pages are made of.
#[derive(Clone)]
pub(crate) struct Pages {
    pub(crate) cores: Arc<dyn Cores>,
    pub(crate) board: Arc<Board>,
    pub(crate) access: Arc<Access>,
    pub(crate) reloads: Wishes,
    pub(crate) orders: Desk,
    /// `None`: nothing is written anywhere.
    pub(crate) query_log: Option<QueryLog>,
    pub(crate) dnstap: Option<Dnstap>,
    /// When the process began.
    pub(crate) started: Instant,
    pub(crate) turns: Turns,
}

/// A listener of the runtime's. Each has seats of its own: who holds all of one leaves the others alone.
pub(crate) enum Listener {
    Address { listener: TcpListener, address: SocketAddr },
    Socket(UnixListener),
}

/// What requests and answers travel on.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Listener {
    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Listener::Address { listener, .. } => Box::new(listener.accept().await?.0),
            Listener::Socket(listener) => Box::new(listener.accept().await?.0),
        })
    }

    fn door(&self) -> Door {
        match self {
            Listener::Address { address, .. } if address.ip().is_loopback() => Door::Loopback,
            Listener::Address { .. } => Door::Network,
            Listener::Socket(_) => Door::Socket,
        }
    }
}

/// Every page, for those who come in by `door`.
pub(crate) fn router(pages: &Pages, door: Door) -> Router {
    let access = Arc::clone(&pages.access);
    Router::new()
        .route("/health", get(async || "ok\n"))
        .route("/ready", get(ready))
        .route("/metrics", get(figures))
        .nest(api::PREFIX, api::router())
        .fallback(async || StatusCode::NOT_FOUND)
        .with_state(pages.clone())
        // Around everything: what is no page tells nobody more who may not ask.
        .layer(middleware::from_fn(move |request, next| api::guard(Arc::clone(&access), door, request, next)))
}

/// Answers on `listener` until `closed` is true.
pub(crate) async fn serve(listener: Listener, pages: Pages, bounds: Bounds, mut closed: watch::Receiver<bool>) {
    let pages = Pages { turns: pages.turns.of_door(), ..pages };
    let router = router(&pages, listener.door());
    let seats = Seats::new(bounds.connections);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = closed.wait_for(|closed| *closed) => return,
        };
        match accepted {
            Ok(stream) => {
                let taken = tokio::select! {
                    taken = seats.take(|| pages.access.puts_out()) => taken,
                    _ = closed.wait_for(|closed| *closed) => return,
                };
                tokio::spawn(connection(stream, router.clone(), bounds, taken, closed.clone()));
            }
            Err(error) => {
                log::warn!("the control plane cannot accept a connection: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    stream: Box<dyn Stream>,
    router: Router,
    bounds: Bounds,
    taken: Taken,
    mut closed: watch::Receiver<bool>,
) {
    let (seat, router) = (taken.seat(), TowerToHyperService::new(router));
    let service = service_fn(move |mut request: Request<Incoming>| {
        let seat = Arc::clone(&seat);
        seat.works();
        request.extensions_mut().insert(Arc::clone(&seat));
        let answer = router.call(request);
        async move {
            let mut answer = answer.await;
            if let Ok(answer) = &mut answer
                && seat.is_wanted()
            {
                // Whoever goes on asking comes after those who have not yet been let in.
                answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            seat.waits();
            answer
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head)
        .max_buf_size(HEAD_OCTETS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = pin!(served);
    tokio::select! {
        // An error here is the client's: it went away, or sent what is no HTTP.
        _ = served.as_mut() => return,
        () = taken.is_over(bounds.answer) => return,
        () = sleep(bounds.connection) => {}
        _ = closed.wait_for(|closed| *closed) => {}
    }
    // What is being answered is answered to the end; where nothing is, this ends it.
    served.as_mut().graceful_shutdown();
    tokio::select! {
        _ = served => {}
        () = taken.is_over(bounds.answer) => {}
        () = sleep(bounds.request) => {}
    }
}

/// Whether every zone is served and every core answers.
async fn ready(State(pages): State<Pages>) -> Response {
    let (cores, turns) = (pages.cores, pages.turns);
    let answering = turns.ready(move || cores.probe(CORES_LIMIT)).await.unwrap_or(false);
    let (ready, object) = metrics::readiness(&pages.board.read(), answering);
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, [(header::CONTENT_TYPE, "application/json")], Body::from(format!("{object}\n"))).into_response()
}

async fn figures(State(pages): State<Pages>, headers: HeaderMap) -> Response {
    let (turns, format) = (pages.turns.clone(), Format::of(&headers));
    let page = turns.brief(move || metrics::page(metrics::Figures::gather(&pages), format)).await;
    match page {
        Ok(Ok(page)) => {
            let about = [(header::CONTENT_TYPE, format.media_type()), (header::VARY, "Accept")];
            (about, page).into_response()
        }
        Err(NoTurn::Busy) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::cores::fake::Fake;
    use crate::plane::Reloaded;
    use crate::status::{Status, Zone};

    struct Scene {
        address: SocketAddr,
        cores: Arc<Fake>,
        board: Arc<Board>,
        access: Arc<Access>,
    }

    /// Serves pages on a thread that lives as long as the test's process.
    fn serving(bounds: Bounds) -> Scene {
        serving_at(bounds, Door::Loopback)
    }

    /// The same, for those who come in as by `door`, one of the addresses.
    fn serving_at(bounds: Bounds, door: Door) -> Scene {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let bound = match door {
            Door::Network => SocketAddr::from(([0, 0, 0, 0], address.port())),
            _ => address,
        };
        let cores = Arc::new(Fake::default());
        let (board, access) = (Arc::new(Board::default()), Arc::<Access>::default());
        board.change(|status| {
            let (name, expires_in) = ("a\"b.test.".into(), Some(60));
            status.zones.push(Zone { name, serial: 9, names: 2, records: 3, octets: 100, expires_in });
            status.totals.served = 1;
        });
        let pages = Pages {
            cores: Arc::clone(&cores) as Arc<dyn Cores>,
            board: Arc::clone(&board),
            access: Arc::clone(&access),
            reloads: api::reloads::channel().0,
            orders: crate::orders::channel().0,
            query_log: None,
            dnstap: None,
            started: Instant::now(),
            turns: Turns::default(),
        };
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let listener = || Listener::Address { listener: TcpListener::from_std(listener).unwrap(), address: bound };
            let (_open, closed) = watch::channel(false);
            runtime.block_on(async { serve(listener(), pages, bounds, closed).await })
        });
        Scene { address, cores, board, access }
    }

    impl Scene {
        fn connect(&self) -> TcpStream {
            let stream = TcpStream::connect(self.address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            stream
        }

        /// Sends `request` and reads until the other side ends the connection.
        fn ask(&self, request: &str) -> String {
            let mut stream = self.connect();
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        }

        fn page(&self, path: &str) -> String {
            self.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
        }
    }

    #[test]
    fn pages_are_answered_and_nothing_else_is() {
        let scene = serving(BOUNDS);
        assert!(scene.page("/health").starts_with("HTTP/1.1 200 OK") && scene.page("/health").ends_with("\r\nok\n"));
        assert!(scene.page("/").starts_with("HTTP/1.1 404 "));
        let head = "Host: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        // Whatever else a request wants, it might change something.
        assert!(scene.ask(&format!("POST /health HTTP/1.1\r\n{head}")).starts_with("HTTP/1.1 403 "));
        let options = scene.ask(&format!("OPTIONS /health HTTP/1.1\r\n{head}"));
        assert!(options.starts_with("HTTP/1.1 405 ") && !options.contains("access-control"), "{options}");
        let other = scene.ask("GET /health HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
        assert!(other.starts_with("HTTP/1.1 421 "), "{other}");
        assert!(scene.ask("nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
        let long = format!("GET /health HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(2 * HEAD_OCTETS_MAX));
        assert!(scene.ask(&long).starts_with("HTTP/1.1 431 "));
    }

    #[test]
    fn ready_means_that_every_core_answers_and_every_zone_is_served() {
        let scene = serving(BOUNDS);
        let ready = scene.page("/ready");
        assert!(ready.starts_with("HTTP/1.1 200 ") && ready.contains("\"ready\":true"), "{ready}");
        let parts: [fn(&mut Status) -> &mut usize; 2] =
            [|status| &mut status.totals.missing, |status| &mut status.totals.untried];
        for part in parts {
            scene.board.change(|status| *part(status) = 1);
            assert!(scene.page("/ready").starts_with("HTTP/1.1 503 "));
            scene.board.change(|status| *part(status) = 0);
        }
        scene.board.change(|status| status.totals.expired = 1);
        let ready = scene.page("/ready");
        assert!(ready.starts_with("HTTP/1.1 200 ") && ready.contains("\"zones_expired\":1"), "{ready}");
        scene.cores.awake.store(false, Ordering::Relaxed);
        let ready = scene.page("/ready");
        assert!(ready.starts_with("HTTP/1.1 503 ") && ready.contains("\"cores_answer\":false"), "{ready}");
    }

    #[test]
    fn metrics_are_in_the_format_that_is_asked_for() {
        let scene = serving(BOUNDS);
        let page = scene.page("/metrics");
        for line in [
            "content-type: text/plain; version=0.0.4; charset=utf-8",
            "vary: Accept",
            "# TYPE ringdns_cache_lookups_total counter",
            "ringdns_cache_lookups_total{core=\"0\",outcome=\"hit\"} 40",
            "ringdns_core_up{core=\"1\"} 1",
            "ringdns_zone_serial{zone=\"a\\\"b.test.\"} 9",
        ] {
            assert!(page.lines().any(|found| found == line), "lacks {line}:\n{page}");
        }
        let wish = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: application/openmetrics-text\r\nConnection: close\r\n\r\n";
        let page = scene.ask(wish);
        for line in [
            "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8",
            "# TYPE ringdns_cache_lookups counter",
            "# EOF",
        ] {
            assert!(page.lines().any(|found| found == line), "lacks {line}:\n{page}");
        }
        scene.cores.awake.store(false, Ordering::Relaxed);
        assert!(scene.page("/metrics").contains("\nringdns_core_up{core=\"1\"} 0\n"));
    }

    #[test]
    fn who_holds_connections_without_asking_loses_them() {
        let bounds = Bounds { connections: 2, head: Duration::from_secs(2), ..BOUNDS };
        let scene = serving(bounds);
        let mut held: Vec<TcpStream> = (0..2).map(|_| scene.connect()).collect();
        held.iter_mut().for_each(|stream| stream.write_all(b"GET /hea").unwrap());
        // It is answered once one of the two is closed: only two connections are looked at at once.
        assert!(scene.page("/health").starts_with("HTTP/1.1 200 "));
        for stream in &mut held {
            let mut rest = Vec::new();
            // Ends with the end of the connection; were it kept open, the read would run into its time-out.
            stream.read_to_end(&mut rest).unwrap();
        }
    }

    /// Asks for `/health` again and again, for as long as it is told, and connects anew where it must.
    fn asks_without_end(address: SocketAddr, until: Instant) {
        while Instant::now() < until {
            let Ok(mut stream) = TcpStream::connect(address) else { continue };
            stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
            let mut answer = [0; 2_048];
            while Instant::now() < until
                && stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").is_ok()
                && stream.read(&mut answer).is_ok_and(|octets| octets > 0)
            {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    #[test]
    fn who_asks_without_end_keeps_nobody_out() {
        for door in [Door::Loopback, Door::Network] {
            let scene = serving_at(Bounds { connections: 4, ..BOUNDS }, door);
            let (address, until) = (scene.address, Instant::now() + Duration::from_secs(4));
            let asking: Vec<_> = (0..8).map(|_| std::thread::spawn(move || asks_without_end(address, until))).collect();
            std::thread::sleep(Duration::from_millis(500));
            let begun = Instant::now();
            // Nobody else is let in at the network's door here: there is no token.
            let status = if door == Door::Loopback { "HTTP/1.1 200 " } else { "HTTP/1.1 403 " };
            for _ in 0..5 {
                assert!(scene.page("/health").starts_with(status), "{door:?}");
            }
            let took = begun.elapsed();
            assert!(took < Duration::from_secs(2), "{door:?}: {took:?}");
            asking.into_iter().for_each(|asking| asking.join().unwrap());
        }
    }

    #[test]
    fn who_is_turned_away_has_to_connect_anew() {
        let scene = serving_at(BOUNDS, Door::Network);
        let answer = scene.ask("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("\r\nconnection: close\r\n"), "{answer}");
    }

    /// What comes back to a wish for a reload that takes two seconds.
    fn slow_reload(bounds: Bounds) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (wishes, mut reloads) = api::reloads::channel();
        let (cores, board, access) = (Arc::new(Fake::default()), Arc::default(), Arc::default());
        let (orders, turns, started) = (crate::orders::channel().0, Turns::default(), Instant::now());
        let pages =
            Pages { cores, board, access, reloads: wishes, orders, query_log: None, dnstap: None, started, turns };
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (_open, closed) = watch::channel(false);
                tokio::spawn(serve(Listener::Socket(UnixListener::from_std(listener).unwrap()), pages, bounds, closed));
                let asker = reloads.wished().await.unwrap();
                sleep(Duration::from_secs(2)).await;
                reloads.wait(asker, false);
                reloads.tell(&Ok(Reloaded::default()), &[]);
                std::future::pending::<()>().await;
            });
        });
        let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(b"POST /api/v1/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").unwrap();
        let mut answer = String::new();
        // Ends with the end of the connection, which is not kept for another request.
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn what_takes_long_is_answered_but_not_for_ever() {
        let bounds = Bounds { connection: Duration::from_millis(500), ..BOUNDS };
        let answer = slow_reload(bounds);
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"zones_read\":0"), "{answer}");
        assert_eq!(slow_reload(Bounds { request: Duration::from_millis(500), ..bounds }), "");
    }

    #[test]
    fn no_connection_lives_for_ever() {
        let bounds = Bounds { connection: Duration::from_secs(2), head: Duration::from_secs(60), ..BOUNDS };
        let mut stream = serving(bounds).connect();
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }

    #[test]
    fn a_thousand_who_ask_nothing_keep_nobody_out() {
        const IDLE: usize = 1_000;
        let enough = rustix::process::Rlimit { current: Some(4_096), maximum: Some(4_096) };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, enough).unwrap();
        let scene = serving(BOUNDS);
        let held: Vec<TcpStream> = (0..IDLE).map(|_| scene.connect()).collect();
        let begun = Instant::now();
        assert!(scene.page("/health").starts_with("HTTP/1.1 200 "));
        let took = begun.elapsed();
        // A second for a thousand seats, and some for a machine that is busy.
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert!(scene.access.put_out() as usize >= IDLE - BOUNDS.connections, "{}", scene.access.put_out());
        drop(held);
    }

    #[test]
    fn who_takes_no_answers_loses_the_connection() {
        const PAGES: usize = 3_000;
        let scene = serving(Bounds { answer: Duration::from_secs(1), ..BOUNDS });
        let mut stream = scene.connect();
        let wish = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(PAGES);
        let mut writer = stream.try_clone().unwrap();
        // What the kernel takes of it; the server reads on only as it answers.
        let writer = std::thread::spawn(move || writer.write_all(wish.as_bytes()));
        std::thread::sleep(Duration::from_secs(5));
        let mut taken = Vec::new();
        // It ends without the rest, whether by a close or by a reset.
        let _ = stream.read_to_end(&mut taken);
        let pages = taken.windows(15).filter(|window| window == b"HTTP/1.1 200 OK").count();
        assert!((1..PAGES).contains(&pages), "{pages}");
        let _ = writer.join().unwrap();
        assert!(scene.page("/health").starts_with("HTTP/1.1 200 "));
    }
}
