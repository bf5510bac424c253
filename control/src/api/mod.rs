//! The control plane's interface for programs, below `/api/v1`: what the server does, and what it can be told to do.
//! Answers are JSON objects; what went wrong is a problem (RFC 9457).
//!
//! | module | paths |
//! |---|---|
//! | `process` | `/status`, `/cores`, `/stats`, `/upstreams`, `/config`, `/reload`, `/drain`, `/log` |
//! | `zones` | `/zones`, `/zones/{name}`, `/zones/{name}/reload` |
//! | `cache` | `/cache`, `/cache/entries`, `/cache/lookup`, `/cache/flush`, `/cache/dump` |
//! | `queries` | `/queries`, `/queries/series`, `/queries/top` |
//! | `openapi` | `/openapi.json` |
//!
//! `docs/API.md` has an example of each. Who may ask, `access` decides; what a request may say, `asked`.

#![allow(rustdoc::broken_intra_doc_links, reason = "tables are called as the file writes them, in brackets")]

mod access;
mod asked;
mod cache;
mod figures;
mod flush;
mod moment;
mod openapi;
mod problem;
mod process;
mod queries;
mod records;
pub(crate) mod reloads;
pub(crate) mod servers;
mod status;
mod zones;

use axum::Router;
use axum::body::Bytes;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use serde::Serialize;

pub(crate) use access::{Access, Door, guard};
use problem::Problem;

use crate::http::Pages;

/// Where the interface is.
pub(crate) const PREFIX: &str = "/api/v1";

/// What comes of a request.
type Answered<T> = Result<Answer<T>, Problem>;

/// An answer: an object on a line of its own.
struct Answer<T>(T);

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        Page::of(&self.0).into_response()
    }
}

/// An answer as it goes out; whoever gets the same shares its octets.
struct Page(Bytes);

impl Page {
    fn of(object: &impl Serialize) -> Page {
        let object = serde_json::to_string(object).expect("texts and numbers become JSON");
        Page((object + "\n").into())
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        // What was true a moment ago is of no use to anybody, and nobody else's business.
        let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
        (StatusCode::OK, headers, self.0).into_response()
    }
}

/// Each path, with what its methods do.
fn resources() -> [(&'static str, MethodRouter<Pages>); 20] {
    [
        ("/openapi.json", get(openapi::description)),
        ("/status", get(process::status)),
        ("/cores", get(process::cores)),
        ("/stats", get(process::stats)),
        ("/upstreams", get(process::upstreams)),
        ("/config", get(process::config)),
        ("/reload", post(process::reload)),
        ("/drain", post(process::drain)),
        ("/log", get(process::log_level).put(process::set_log_level)),
        ("/zones", get(zones::list)),
        ("/zones/{name}", get(zones::one)),
        ("/zones/{name}/reload", post(zones::reload)),
        ("/cache", get(cache::figures)),
        ("/cache/entries", get(cache::list)),
        ("/cache/lookup", get(cache::look_up)),
        ("/cache/flush", post(cache::forget)),
        ("/cache/dump", post(cache::dump)),
        ("/queries", get(queries::list)),
        ("/queries/series", get(queries::series)),
        ("/queries/top", get(queries::top)),
    ]
}

/// The routes, relative to [`PREFIX`].
pub(crate) fn router() -> Router<Pages> {
    let mut router = Router::new();
    for (path, methods) in resources() {
        router = router.route(path, methods);
    }
    router
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "what only tells takes GET, what changes something POST or PUT; Allow says which",
            )
        })
        .fallback(async |uri: Uri| {
            let known: Vec<&str> = resources().iter().map(|(path, _)| *path).collect();
            let path: String = uri.path().chars().take(200).collect();
            let known = known.join(", ");
            Problem::new(StatusCode::NOT_FOUND, format!("there is no `{path}`; known below {PREFIX}: {known}"))
        })
}

#[cfg(test)]
mod tests;
