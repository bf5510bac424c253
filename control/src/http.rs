//! The control plane's pages: `/health`, `/ready`, `/metrics`. They say how the process does and change nothing; who
//! asks is not told apart, therefore the address is a loopback one.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::cores::Cores;
use crate::metrics;
use crate::status::Board;

/// What clients can take up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Connections at once; further ones wait in the kernel.
    pub(crate) connections: usize,
    /// A connection ends after so long, whatever happens on it.
    pub(crate) connection: Duration,
    /// The head of a request must be here after so long.
    pub(crate) head: Duration,
}

/// The bounds in force.
pub(crate) const BOUNDS: Bounds =
    Bounds { connections: 32, connection: Duration::from_secs(60), head: Duration::from_secs(5) };

/// Octets of a request's head.
const HEAD_OCTETS_MAX: usize = 16 << 10;
/// How long the cores may take to answer.
const CORES_LIMIT: Duration = Duration::from_secs(1);
/// How long to wait after the kernel could not accept a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the pages are made of.
#[derive(Clone)]
pub(crate) struct Pages {
    pub(crate) cores: Arc<dyn Cores>,
    pub(crate) board: Arc<Board>,
}

/// Answers on `listener` for ever.
pub(crate) async fn serve(listener: TcpListener, pages: Pages, bounds: Bounds) -> Infallible {
    let router = Router::new()
        .route("/health", get(async || "ok\n"))
        .route("/ready", get(ready))
        .route("/metrics", get(figures))
        .with_state(pages);
    let slots = Arc::new(Semaphore::new(bounds.connections));
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await.expect("nobody closes it");
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    // An error here is the client's: it went away, or sent what is no HTTP.
                    let _ = timeout(bounds.connection, connection(stream, router, bounds.head)).await;
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

async fn connection(stream: TcpStream, router: Router, head_limit: Duration) -> hyper::Result<()> {
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_limit)
        .max_buf_size(HEAD_OCTETS_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await
}

/// Runs what blocks off the runtime's thread.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
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
    let page = off_thread(move || metrics::page(pages.cores.snapshots(CORES_LIMIT), pages.board.read())).await;
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
        let pages = Pages { cores: Arc::clone(&cores) as Arc<dyn Cores>, board: Arc::clone(&board) };
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { serve(TcpListener::from_std(listener).unwrap(), pages, bounds).await })
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
        assert!(
            page.contains("cache_hits_total{core=\"0\"}") && !page.contains("cache_hits_total{core=\"1\"}"),
            "{page}"
        );
    }

    #[test]
    fn who_holds_connections_without_asking_loses_them() {
        let bounds = Bounds { connections: 2, connection: Duration::from_secs(60), head: Duration::from_secs(2) };
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

    #[test]
    fn no_connection_lives_for_ever() {
        let bounds = Bounds { connections: 2, connection: Duration::from_secs(2), head: Duration::from_secs(60) };
        let mut stream = serving(bounds).connect();
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}
