//! What went wrong, as programs read it (RFC 9457).

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::NoTurn;

/// The media type of a problem.
pub(super) const MEDIA_TYPE: &str = "application/problem+json";

/// A request that was not done. It is of type `about:blank`, whose title is the status's own (RFC 9457 §4.2.1).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// The phrase of the status.
    title: &'static str,
    /// The status of the answer.
    #[serde(serialize_with = "number")]
    #[schema(value_type = u16)]
    status: StatusCode,
    /// What is wrong here, and the mend.
    detail: String,
    /// Mistakes one by one, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    faults: Vec<Mistake>,
}

/// A mistake in a file, in a zone, or in what could not be changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Mistake {
    /// The zone that has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) zone: Option<String>,
    /// The file that has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
    /// The line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<u32>,
    /// The column, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) column: Option<u32>,
    /// What is wrong.
    pub(crate) message: String,
}

fn number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl Problem {
    /// `detail` says what is wrong here, and the mend.
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        let title = status.canonical_reason().unwrap_or("Problem");
        Problem { title, status, detail: detail.into(), faults: Vec::new() }
    }

    /// The request is wrong.
    pub(super) fn wrong(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    /// Not all of those could be asked who know.
    pub(super) fn unavailable(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// The process ends, and does nothing else any more.
    pub(super) fn stopping() -> Problem {
        Problem::unavailable("the server is stopping")
    }

    pub(crate) fn with_faults(self, faults: Vec<Mistake>) -> Problem {
        Problem { faults, ..self }
    }
}

impl From<NoTurn> for Problem {
    fn from(no_turn: NoTurn) -> Problem {
        match no_turn {
            NoTurn::Busy => Problem::unavailable("too much is being asked of the control plane; ask again in a moment"),
            NoTurn::Bug => {
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the request met a bug in ringdns; see the log")
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let object = serde_json::to_string(&self).expect("texts and numbers become JSON");
        (self.status, [(header::CONTENT_TYPE, MEDIA_TYPE)], object + "\n").into_response()
    }
}
