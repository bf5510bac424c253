//! What went wrong, as programs read it (RFC 9457).

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// The media type of a problem.
const MEDIA_TYPE: &str = "application/problem+json";

/// A request that was not done.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
    /// Mistakes, an object each, where they have places.
    faults: Vec<Value>,
}

impl Problem {
    /// `detail` says what is wrong here, and the mend.
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem { status, detail: detail.into(), faults: Vec::new() }
    }

    pub(crate) fn with_faults(self, faults: Vec<Value>) -> Problem {
        Problem { faults, ..self }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Problem { status, detail, faults } = self;
        // Of type "about:blank", whose title is the status's own (RFC 9457 §4.2.1).
        let mut object = json!({ "title": status.canonical_reason(), "status": status.as_u16(), "detail": detail });
        if !faults.is_empty() {
            object["faults"] = Value::Array(faults);
        }
        (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], format!("{object}\n")).into_response()
    }
}
