//! What a server says that has not done what it was asked for, or has met mistakes on the way.

use serde_json::Value;

use super::exchange::Answer;
use super::text::words;
use crate::failure::Failure;

/// The mistakes that an answer names, a line each.
pub(super) fn faults(object: &Value) -> String {
    let line = |fault: &Value| {
        let place = match (&fault["file"], &fault["line"], &fault["column"]) {
            (Value::String(_), Value::Number(line), Value::Number(column)) => {
                format!("{}:{line}:{column}: ", words(&fault["file"]))
            }
            (Value::String(_), ..) => format!("{}: ", words(&fault["file"])),
            _ if fault["zone"].is_string() => format!("the zone {}: ", words(&fault["zone"])),
            _ => String::new(),
        };
        place + &words(&fault["message"])
    };
    object["faults"].as_array().into_iter().flatten().map(line).collect::<Vec<String>>().join("\n")
}

/// Why the server has not done what it was asked for: a problem as RFC 9457 has it.
fn told(status: u16, object: &Value) -> String {
    let detail = match (&object["detail"], &object["title"]) {
        (detail @ Value::String(_), _) | (_, detail @ Value::String(_)) => words(detail),
        _ => format!("the server answers with HTTP status {status}"),
    };
    match faults(object) {
        faults if faults.is_empty() => detail,
        faults => format!("{detail}:\n{faults}"),
    }
}

/// The same, with the exit status: the words or files were at fault, or what lies between them and the server.
pub(super) fn refused(answer: &Answer) -> Failure {
    let text = told(answer.status, &answer.object);
    match answer.status {
        400 | 404 | 405 | 413 | 414 | 422 => Failure::Input(text),
        _ => Failure::Environment(text),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_went_wrong_is_told_with_its_place() {
        let object = json!({ "title": "Unprocessable", "detail": "nothing is changed", "faults": [
            { "file": "r.toml", "line": 3, "column": 4, "message": "what" },
            { "file": "r.toml", "message": "cannot be read" },
            { "zone": "a.test.", "message": "a.zone:1:1: no SOA" },
            7,
        ] });
        let said =
            "nothing is changed:\nr.toml:3:4: what\nr.toml: cannot be read\nthe zone a.test.: a.zone:1:1: no SOA\n-";
        assert_eq!(told(422, &object), said);
        assert_eq!(told(502, &json!({})), "the server answers with HTTP status 502");
        assert_eq!(told(502, &json!({ "title": "Bad\u{7} Gateway", "detail": 3 })), "Bad? Gateway");
        assert_eq!(faults(&json!({ "faults": "none" })), "");
    }

    #[test]
    fn the_exit_status_says_whose_fault_it_was() {
        let status = |status| match refused(&Answer { status, object: json!({}) }) {
            Failure::Input(_) => 1,
            Failure::Environment(_) => 3,
        };
        for (http, exit) in [(400, 1), (404, 1), (422, 1), (401, 3), (403, 3), (409, 3), (421, 3), (500, 3), (503, 3)] {
            assert_eq!(status(http), exit, "{http}");
        }
    }
}
