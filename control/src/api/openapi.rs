//! The description of the interface (OpenAPI 3.1), made from the handlers' own.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder, Server, Tag};
use utoipa::{Modify, OpenApi};

use super::asked::{Asked, Nothing};
use super::problem::{self, Problem};
use super::{PREFIX, cache, process, queries, zones};

#[derive(OpenApi)]
#[openapi(
    info(title = "ringdns", description = "What a ringdns server does, and what it can be told to do."),
    paths(
        description,
        process::status,
        process::cores,
        process::stats,
        process::upstreams,
        process::config,
        process::reload,
        process::drain,
        process::log_level,
        process::set_log_level,
        zones::list,
        zones::one,
        zones::reload,
        cache::figures,
        cache::list,
        cache::look_up,
        cache::forget,
        cache::dump,
        queries::list,
        queries::series,
        queries::top,
    ),
    components(schemas(Problem)),
    modifiers(&Common)
)]
struct Description;

/// What every path has.
struct Common;

/// The name of the scheme by which the token is sent.
const TOKEN: &str = "token";

/// Answers that every path may have.
const PROBLEMS: [(&str, &str); 7] = [
    ("400", "The request is wrong; `detail` says what is."),
    ("403", "The token is wrong, there is none in force, or a page of another site has sent this."),
    ("405", "Another method is wanted; the header Allow says which."),
    ("421", "The server is not known by the name in the Host header."),
    ("500", "The request met a bug in ringdns."),
    ("503", "The server is busy, does not answer in time, or is stopping; ask again."),
    ("401", "No token was sent where one is needed."),
];
/// Answers that paths may have that take a body.
const BODY_PROBLEMS: [(&str, &str); 2] =
    [("408", "The body did not come in time."), ("413", "The body is too long, or broke off.")];

impl Modify for Common {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        api.info.version = env!("CARGO_PKG_VERSION").to_owned();
        api.servers = Some(vec![Server::new(PREFIX)]);
        let tags = [
            ("server", "The process as a whole."),
            ("zones", "The zones that it serves."),
            ("cache", "What its caches hold."),
            ("queries", "What was asked, where the query log is on."),
        ];
        api.tags = Some(tags.map(|(name, about)| Tag::builder().name(name).description(Some(about)).build()).into());
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
            "The token of `token_file` in [control]: for changes, and for everything at an address that is no loopback \
             one. At the Unix socket none is needed.",
        ));
        let components = api.components.get_or_insert_default();
        components.add_security_scheme(TOKEN, SecurityScheme::Http(scheme.build()));
        for (path, item) in &mut api.paths.paths {
            let PathItem { get, post, put, .. } = item;
            for (method, operation) in [("get", get), ("post", post), ("put", put)] {
                if let Some(operation) = operation {
                    common(operation, method != "get");
                    operation.operation_id = Some(operation_id(method, path));
                }
            }
        }
    }
}

/// A name for an operation that no other has: `get_zones_name` for `GET /zones/{name}`.
fn operation_id(method: &str, path: &str) -> String {
    let words = path.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.fold(method.to_owned(), |id, word| id + "_" + word)
}

fn common(operation: &mut Operation, changes: bool) {
    let with_body: &[(&str, &str)] = if changes { &BODY_PROBLEMS } else { &[] };
    for (status, about) in PROBLEMS.iter().chain(with_body) {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let response = ResponseBuilder::new().description(*about).content(problem::MEDIA_TYPE, content).build();
        operation.responses.responses.entry((*status).to_owned()).or_insert(RefOr::T(response));
    }
    let token = SecurityRequirement::new(TOKEN, Vec::<String>::new());
    // The empty one says that it goes without: at the Unix socket, and for what only tells at a loopback address.
    operation.security = Some(vec![token, SecurityRequirement::default()]);
}

static TEXT: LazyLock<String> =
    LazyLock::new(|| Description::openapi().to_json().expect("the description becomes JSON") + "\n");

/// Describes this interface (OpenAPI 3.1).
#[utoipa::path(
    get, path = "/openapi.json", tag = "server",
    responses((status = 200, description = "The description.", body = serde_json::Value))
)]
pub(super) async fn description(Asked(Nothing {}): Asked<Nothing>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], TEXT.as_str()).into_response()
}

/// The description, for tests.
#[cfg(test)]
pub(super) fn described() -> serde_json::Value {
    serde_json::from_str(&TEXT).expect("it is JSON")
}
