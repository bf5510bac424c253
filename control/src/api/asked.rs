//! What a request says: the parameters behind `?`, the body, the name in its path. What is not known, not of its form, or
//! too much, is refused by name.

use std::error::Error;
use std::time::Duration;

use axum::body::{self, HttpBody};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use ringdns_shard::wire::name::Name;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::problem::Problem;

/// Octets of a request's body.
pub(super) const BODY_OCTETS_MAX: usize = 16 << 10;
/// The body of a request must be here after so long.
const BODY_LIMIT: Duration = Duration::from_secs(5);
/// Characters of a wrong value that are repeated.
const QUOTED_MAX: usize = 80;
/// Characters of what a reader says of them; it repeats what it has read.
const ERROR_MAX: usize = 400;
/// Items in a part of a list.
pub(super) const ITEMS_MAX: usize = 1_000;

/// No parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// The parameters behind `?`: texts, each once, all of them known.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Asked<T>, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        serde_urlencoded::from_str(query).map(Asked).map_err(|error| unreadable(&error, ""))
    }
}

fn unreadable(error: &dyn Error, more: &str) -> Problem {
    Problem::wrong(format!("behind the `?`: {}{more}", cut(&error.to_string(), ERROR_MAX)))
}

/// The parameters of a path that takes those of two kinds: `of_second` are the names of the second.
pub(super) fn parameters<A: DeserializeOwned, B: DeserializeOwned>(
    uri: &Uri,
    of_second: &[&str],
) -> Result<(A, B), Problem> {
    let query = uri.query().unwrap_or_default();
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).map_err(|error| unreadable(&error, ""))?;
    let (second, first): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(name, _)| of_second.contains(&name.as_str()));
    let more = format!("; beside those: `{}`", of_second.join("`, `"));
    let first = read_pairs(&first).map_err(|error| unreadable(&*error, &more))?;
    Ok((first, read_pairs(&second).map_err(|error| unreadable(&*error, ""))?))
}

fn read_pairs<T: DeserializeOwned>(pairs: &[(String, String)]) -> Result<T, Box<dyn Error>> {
    Ok(serde_urlencoded::from_str(&serde_urlencoded::to_string(pairs)?)?)
}

/// The name in the path.
pub(super) struct Named(pub(super) Name);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Named, Problem> {
        let Ok(Path(text)) = Path::<String>::from_request_parts(parts, state).await else {
            return Err(Problem::wrong("the name in the path is not UTF-8; write other octets as \\DDD"));
        };
        domain_name("the name in the path", &text).map(Named)
    }
}

/// A body: JSON, or nothing.
pub(super) struct Body(pub(super) body::Bytes);

impl<S: Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Body, Problem> {
        let too_long = || {
            let why = format!("the body breaks off, or has more than {BODY_OCTETS_MAX} octets");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, why)
        };
        let body = request.into_body();
        if body.size_hint().lower() > BODY_OCTETS_MAX as u64 {
            return Err(too_long());
        }
        match timeout(BODY_LIMIT, body::to_bytes(body, BODY_OCTETS_MAX)).await {
            Ok(Ok(body)) => Ok(Body(body)),
            Ok(Err(_)) => Err(too_long()),
            Err(_) => {
                let why = format!("the body did not come within {} seconds", BODY_LIMIT.as_secs());
                Err(Problem::new(StatusCode::REQUEST_TIMEOUT, why))
            }
        }
    }
}

impl Body {
    /// The members of the JSON object, all of them `known`. `accepted` shows an object that would be right.
    pub(super) fn members(&self, known: &[&str], accepted: &str) -> Result<Map<String, Value>, Problem> {
        let wrong = |why: String| Problem::wrong(format!("{why}; accepted: {accepted}"));
        let object = match serde_json::from_slice(&self.0) {
            Ok(Value::Object(object)) => object,
            Ok(_) => return Err(wrong("the body is no JSON object".to_owned())),
            Err(error) => return Err(wrong(format!("the body is no JSON: {error}"))),
        };
        match object.keys().find(|member| !known.contains(&member.as_str())) {
            Some(member) => Err(wrong(format!("`{}` is not known", quoted(member)))),
            None => Ok(object),
        }
    }

    /// Refuses what says something where nothing is to be said.
    pub(super) fn nothing(&self) -> Result<(), Problem> {
        if self.0.is_empty() { Ok(()) } else { Err(Problem::wrong("this takes no body; send none")) }
    }
}

/// A text of somebody else's, cut where it is long.
fn quoted(text: &str) -> String {
    cut(text, QUOTED_MAX)
}

fn cut(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// What the parameter `name` says, where it is there. `accepted` describes what is.
pub(super) fn value<T>(
    name: &str,
    text: Option<&str>,
    accepted: &str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, Problem> {
    let read = |text: &str| {
        read(text).ok_or_else(|| Problem::wrong(format!("`{name}`: found `{}`; accepted: {accepted}", quoted(text))))
    };
    text.map(read).transpose()
}

/// How many items a part of a list is to have.
pub(super) fn limit(text: Option<&str>, default: usize) -> Result<usize, Problem> {
    let in_range = |text: &str| text.parse().ok().filter(|limit| (1..=ITEMS_MAX).contains(limit));
    let limit = value("limit", text, &format!("a number from 1 to {ITEMS_MAX}"), in_range)?;
    Ok(limit.unwrap_or(default))
}

/// A domain name; `place` says where it stands.
pub(super) fn domain_name(place: &str, text: &str) -> Result<Name, Problem> {
    text.parse().map_err(|why: ringdns_shard::wire::name::BadName| {
        Problem::wrong(format!("{place}: `{}` is no domain name: {}", quoted(text), why.0))
    })
}

/// A domain name that may be left out.
pub(super) fn optional_name(parameter: &str, text: Option<&str>) -> Result<Option<Name>, Problem> {
    text.map(|text| domain_name(&format!("`{parameter}`"), text)).transpose()
}
