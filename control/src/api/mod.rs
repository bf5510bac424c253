//! The control plane's interface for programs, below `/api/v1`: what the server does, and what it can be told to do.
//! Answers are JSON objects; what went wrong is a problem (RFC 9457).
//!
//! | request | does |
//! |---|---|
//! | `GET /status` | says how the server does: cores, cache, upstreams, zones, reloads |
//! | `POST /cache/flush` | forgets answers: `{"name": "www.example.test", "subtree": true}`, or `{"all": true}` |
//! | `POST /reload` | reads configuration and zones anew, and answers when that is over |
//!
//! Everybody who reaches the door may look. Changes need the token of `token_file`, or come over the Unix socket,
//! whose file says who may.

mod access;
mod flush;
mod problem;
pub(crate) mod reloads;
pub(crate) mod servers;
mod status;

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, body};
use serde_json::Value;
use tokio::time::timeout;

pub(crate) use access::{Access, Door};
use problem::Problem;

use crate::http::{CORES_LIMIT, Pages, off_thread};

/// Where the interface is.
pub(crate) const PREFIX: &str = "/api/v1";

/// Octets of a request's body.
const BODY_OCTETS_MAX: usize = 16 << 10;
/// The body of a request must be here after so long.
const BODY_LIMIT: Duration = Duration::from_secs(5);
/// How long the cores may take to flush: each looks at all that it has, a little at a time.
const FLUSH_LIMIT: Duration = Duration::from_secs(30);

/// The routes, relative to [`PREFIX`], for those who come in by `door`.
pub(crate) fn router(pages: &Pages, door: Door) -> Router<Pages> {
    let allowed = move |State(pages): State<Pages>, request: Request, next: Next| async move {
        match pages.access.allow(door, request.headers()) {
            Ok(()) => next.run(request).await,
            Err(why) => Problem::new(StatusCode::FORBIDDEN, why).into_response(),
        }
    };
    let changes = Router::new()
        .route("/cache/flush", post(forget))
        .route("/reload", post(reload))
        .route_layer(middleware::from_fn_with_state(pages.clone(), allowed));
    Router::new()
        .route("/status", get(tell))
        .merge(changes)
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "what only tells takes GET, what changes something POST")
        })
        .fallback(async || {
            let known = "known below /api/v1: GET /status, POST /cache/flush, POST /reload";
            Problem::new(StatusCode::NOT_FOUND, known)
        })
}

/// An answer: an object on a line of its own.
fn object(status: StatusCode, object: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{object}\n")).into_response()
}

/// What is said where the control plane itself is at fault.
fn bug() -> Response {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the request met a bug in ringdns; see the log").into_response()
}

async fn tell(State(pages): State<Pages>) -> Response {
    let told = off_thread(move || {
        let (snapshots, statuses) = (pages.cores.snapshots(CORES_LIMIT), pages.cores.statuses(CORES_LIMIT));
        status::object(&snapshots, &statuses, &pages.board.read(), pages.started.elapsed())
    });
    told.await.map_or_else(bug, |told| object(StatusCode::OK, &told))
}

async fn forget(State(pages): State<Pages>, request: Request) -> Response {
    let wanted = |body: body::Bytes| flush::wanted(&body).map_err(|why| Problem::new(StatusCode::BAD_REQUEST, why));
    let what = match read(request).await.and_then(wanted) {
        Ok(what) => what,
        Err(problem) => return problem.into_response(),
    };
    if pages.board.read().is_restoring {
        // What is flushed now could come back with what is still to be read.
        let why = "the cache is being read from its file; ask again in a moment";
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    }
    match off_thread(move || pages.cores.flush(&what, FLUSH_LIMIT)).await {
        Some(Ok(flushed)) => object(StatusCode::OK, &serde_json::json!({ "flushed": flushed })),
        Some(Err(why)) => {
            let why = format!("not all is flushed: {why}; ask again");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, why).into_response()
        }
        None => bug(),
    }
}

async fn reload(State(pages): State<Pages>) -> Response {
    match pages.reloads.ask().await {
        Some(reloads::Outcome::InForce(told)) => object(StatusCode::OK, &told),
        Some(reloads::Outcome::Failed(problem)) => problem.into_response(),
        None => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping").into_response(),
    }
}

/// The body of a request, which is short and comes in time.
async fn read(request: Request) -> Result<body::Bytes, Problem> {
    match timeout(BODY_LIMIT, body::to_bytes(request.into_body(), BODY_OCTETS_MAX)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => {
            let why = format!("the body breaks off, or has more than {BODY_OCTETS_MAX} octets");
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, why))
        }
        Err(_) => {
            let why = format!("the body did not come within {} seconds", BODY_LIMIT.as_secs());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, why))
        }
    }
}

#[cfg(test)]
mod tests;
