//! The control plane's pages: `/health`, `/ready`, `/metrics`, and the interface for programs (`api`). Who looks is not
//! told apart, therefore the address is a loopback one; who may change something, `api` decides.

use std::convert::Infallible;
use std::io;
use std::net;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::api::reloads::Wishes;
use crate::api::{self, Access, Door};
use crate::cores::Cores;
use crate::metrics;
use crate::socket::ControlSocket;
use crate::status::Board;

/// What clients can take up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Connections at once; further ones wait in the kernel.
    pub(crate) connections: usize,
    /// A connection takes no further request after so long.
    pub(crate) connection: Duration,
    /// … and ends after so much longer, whatever happens on it: a reload of many zones takes its time.
    pub(crate) request: Duration,
    /// The head of a request must be here after so long.
    pub(crate) head: Duration,
}

/// The bounds in force.
pub(crate) const BOUNDS: Bounds = Bounds {
    connections: 32,
    connection: Duration::from_secs(60),
    request: Duration::from_secs(15 * 60),
    head: Duration::from_secs(5),
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
    /// When the process began.
    pub(crate) started: Instant,
}

/// Where the control plane is asked.
#[derive(Debug, Default)]
pub struct Doors {
    /// `listen` of the settings.
    pub address: Option<net::TcpListener>,
    /// `socket` of the settings.
    pub socket: Option<ControlSocket>,
}

impl Doors {
    /// Begins to answer at every door; within the runtime. The doors must be kept for as long as they are to be open.
    ///
    /// # Errors
    /// When the kernel does not take a listener.
    pub(crate) fn open(&self, pages: &Pages) -> io::Result<()> {
        if let Some(listener) = &self.address {
            listener.set_nonblocking(true)?;
            let listener = TcpListener::from_std(listener.try_clone()?)?;
            tokio::spawn(serve(Listener::Address(listener), pages.clone(), BOUNDS));
        }
        if let Some(socket) = &self.socket {
            let listener = UnixListener::from_std(socket.listener()?)?;
            tokio::spawn(serve(Listener::Socket(listener), pages.clone(), BOUNDS));
        }
        Ok(())
    }
}

/// A listener of the runtime's. Each has connections of its own: who holds all of one leaves the others alone.
pub(crate) enum Listener {
    Address(TcpListener),
    Socket(UnixListener),
}

/// What requests and answers travel on.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Listener {
    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Listener::Address(listener) => Box::new(listener.accept().await?.0),
            Listener::Socket(listener) => Box::new(listener.accept().await?.0),
        })
    }

    fn door(&self) -> Door {
        match self {
            Listener::Address(_) => Door::Address,
            Listener::Socket(_) => Door::Socket,
        }
    }
}

/// Answers on `listener` for ever.
pub(crate) async fn serve(listener: Listener, pages: Pages, bounds: Bounds) -> Infallible {
    let router = Router::new()
        .route("/health", get(async || "ok\n"))
        .route("/ready", get(ready))
        .route("/metrics", get(figures))
        .nest(api::PREFIX, api::router(&pages, listener.door()))
        .with_state(pages);
    let slots = Arc::new(Semaphore::new(bounds.connections));
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await.expect("nobody closes it");
        match listener.accept().await {
            Ok(stream) => {
                let router = router.clone();
                tokio::spawn(async move {
                    // An error here is the client's: it went away, or sent what is no HTTP.
                    let _ = connection(stream, router, bounds).await;
                    drop(slot);
                });
            }
            Err(error) => {
                log::warn!("the control plane cannot accept a connection: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: Box<dyn Stream>, router: Router, bounds: Bounds) -> hyper::Result<()> {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head)
        .max_buf_size(HEAD_OCTETS_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut served = pin!(served);
    if let Ok(ended) = timeout(bounds.connection, served.as_mut()).await {
        return ended;
    }
    // What is being answered is answered to the end; where nothing is, this ends it.
    served.as_mut().graceful_shutdown();
    timeout(bounds.request, served).await.unwrap_or(Ok(()))
}

/// Runs what blocks off the runtime's thread.
pub(crate) async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

/// Whether every zone is served and every core answers.
async fn ready(State(pages): State<Pages>) -> Response {
    let status = pages.board.read();
    let answering = off_thread(move || pages.cores.probe(CORES_LIMIT)).await.unwrap_or(false);
    let totals = &status.totals;
    // A secondary whose primaries are silent does not make the rest of a server useless; one that has not asked yet may.
    let ready = answering && totals.missing == 0 && totals.untried == 0;
    let object = serde_json::json!({
        "ready": ready,
        "cores_answer": answering,
        "zones": totals.served,
        "zones_missing": totals.missing,
        "zones_untried": totals.untried,
        "zones_absent": totals.absent,
        "zones_expired": totals.expired,
    });
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, [(header::CONTENT_TYPE, "application/json")], Body::from(format!("{object}\n"))).into_response()
}

async fn figures(State(pages): State<Pages>) -> Response {
    let page = move || {
        let (snapshots, statuses) = (pages.cores.snapshots(CORES_LIMIT), pages.cores.statuses(CORES_LIMIT));
        metrics::page(snapshots, statuses, pages.board.read(), pages.access.refused())
    };
    let page = off_thread(page).await;
    match page {
        Some(Ok(page)) => ([(header::CONTENT_TYPE, metrics::MEDIA_TYPE)], page).into_response(),
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
    }

    /// Serves pages on a thread that lives as long as the test's process.
    fn serving(bounds: Bounds) -> Scene {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let cores = Arc::new(Fake::default());
        let board = Arc::new(Board::default());
        board.change(|status| {
            let (name, expires_in) = ("a\"b.test.".into(), Some(60));
            status.zones.push(Zone { name, serial: 9, names: 2, records: 3, octets: 100, expires_in });
            status.totals.served = 1;
        });
        let pages = Pages {
            cores: Arc::clone(&cores) as Arc<dyn Cores>,
            board: Arc::clone(&board),
            access: Arc::default(),
            reloads: api::reloads::channel().0,
            started: Instant::now(),
        };
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let listener = || Listener::Address(TcpListener::from_std(listener).unwrap());
            runtime.block_on(async { serve(listener(), pages, bounds).await })
        });
        Scene { address, cores, board }
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
            self.ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
        }
    }

    #[test]
    fn pages_are_answered_and_nothing_else_is() {
        let scene = serving(BOUNDS);
        assert!(scene.page("/health").starts_with("HTTP/1.1 200 OK") && scene.page("/health").ends_with("\r\nok\n"));
        assert!(scene.page("/").starts_with("HTTP/1.1 404 "));
        let posted = scene.ask("POST /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        assert!(posted.starts_with("HTTP/1.1 405 "), "{posted}");
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
    fn metrics_have_a_value_for_each_core_that_answers() {
        let scene = serving(BOUNDS);
        let page = scene.page("/metrics");
        for line in [
            "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8",
            "# TYPE ringdns_cache_hits counter",
            "# HELP ringdns_cache_hits Answers from the cache.",
            "ringdns_cache_hits_total{core=\"0\"} 40",
            "ringdns_cache_hits_total{core=\"1\"} 41",
            "ringdns_rim_udp_sent_total{core=\"1\"} 7",
            "ringdns_resolves{core=\"0\"} 3",
            "ringdns_waiters{core=\"0\"} 5",
            "ringdns_tcp_connections{core=\"1\"} 1",
            "ringdns_core_cpu{core=\"1\"} 5",
            "ringdns_core_up{core=\"1\"} 1",
            "ringdns_zone_serial{zone=\"a\\\"b.test.\"} 9",
            "ringdns_zone_expires_seconds{zone=\"a\\\"b.test.\"} 60",
            "ringdns_cache_bytes_max{core=\"1\"} 1000",
            "ringdns_upstream_server_cores_up{server=\"udp://192.0.2.1:53\"} 1",
            "ringdns_upstream_server_cores_lossy{server=\"udp://192.0.2.1:53\"} 0",
            "ringdns_upstream_server_cores_down{server=\"udp://192.0.2.1:53\"} 1",
            "ringdns_upstream_server_in_flight{server=\"udp://192.0.2.1:53\"} 1",
            "ringdns_upstream_server_round_trip_seconds{server=\"udp://192.0.2.1:53\"} 0.005",
            "ringdns_upstream_server_asked_total{server=\"udp://192.0.2.1:53\"} 20",
            "ringdns_upstream_server_outages_total{server=\"udp://192.0.2.1:53\"} 6",
            "ringdns_control_refused_total 0",
            "ringdns_zones 1",
            "ringdns_zones_by_kind{kind=\"secondary\"} 0",
            "ringdns_transfers_in_ixfr_total 0",
            "ringdns_reloads_total 0",
            "# EOF",
        ] {
            assert!(page.lines().any(|found| found == line), "lacks {line}:\n{page}");
        }
        scene.cores.awake.store(false, Ordering::Relaxed);
        let page = scene.page("/metrics");
        assert!(page.contains("ringdns_core_up{core=\"1\"} 0\n"), "{page}");
        assert!(page.contains("upstream_server_cores_down{server=\"udp://192.0.2.1:53\"} 0\n"), "{page}");
        assert!(!page.contains("upstream_server_asked_total{"), "a sum over one core of two: {page}");
        assert!(
            page.contains("cache_hits_total{core=\"0\"}") && !page.contains("cache_hits_total{core=\"1\"}"),
            "{page}"
        );
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

    /// What comes back to a wish for a reload that takes two seconds.
    fn slow_reload(bounds: Bounds) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (wishes, mut reloads) = api::reloads::channel();
        let (cores, board, access) = (Arc::new(Fake::default()), Arc::default(), Arc::default());
        let pages = Pages { cores, board, access, reloads: wishes, started: Instant::now() };
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::spawn(serve(Listener::Socket(UnixListener::from_std(listener).unwrap()), pages, bounds));
                let asker = reloads.wished().await.unwrap();
                sleep(Duration::from_secs(2)).await;
                reloads.wait(asker, false);
                reloads.tell(&Ok(Reloaded::default()));
                std::future::pending::<()>().await;
            });
        });
        let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(b"POST /api/v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").unwrap();
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
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}
