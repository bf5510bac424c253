//! Reads cases from JSON lines, compressed or not.

use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use serde_json::Value;

use crate::model::Case;

/// The cases of a file of JSON lines; a name that ends in `.gz` is taken to be compressed.
pub(crate) fn read_file(path: &Path) -> Result<Vec<Case>, String> {
    let bad = |why: String| format!("{}: {why}", path.display());
    let octets = std::fs::read(path).map_err(|e| bad(e.to_string()))?;
    let mut text = String::new();
    if path.extension().is_some_and(|extension| extension == "gz") {
        GzDecoder::new(&octets[..]).read_to_string(&mut text).map_err(|e| bad(e.to_string()))?;
    } else {
        text = String::from_utf8(octets).map_err(|e| bad(e.to_string()))?;
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(index, line)| read_line(line).map_err(|why| bad(format!("line {}: {why}", index + 1)))).collect()
}

/// One case. What the model would lose is an error, found by writing the case back.
pub(crate) fn read_line(line: &str) -> Result<Case, String> {
    let source: Value = serde_json::from_str(line).map_err(|e| e.to_string())?;
    let case: Case = serde_json::from_value(source.clone()).map_err(|e| e.to_string())?;
    let back = serde_json::to_value(&case).map_err(|e| e.to_string())?;
    match difference("", &source, &back) {
        None => Ok(case),
        Some(place) => Err(format!("{}: the model does not hold `{place}`", case.id)),
    }
}

/// Path of the first place where two values differ; 1 and 1.0 are the same number.
fn difference(path: &str, a: &Value, b: &Value) -> Option<String> {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
            keys.into_iter().find_map(|key| {
                let path = format!("{path}/{key}");
                match (a.get(key), b.get(key)) {
                    (Some(a), Some(b)) => difference(&path, a, b),
                    _ => Some(path),
                }
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            (0..a.len()).find_map(|index| difference(&format!("{path}/{index}"), &a[index], &b[index]))
        }
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => None,
        _ if a == b => None,
        _ => Some(path.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASE: &str = r#"{"id": "x/y", "suite": "unbound", "source": "", "title": "", "tier": 1, "why": [],
        "features": ["time"], "duplicates": [], "config": CONFIG, "ranges": [],
        "crypto": {"algorithms": [8], "ds_digests": [], "rsa_bits_min": null},
        "steps": [{"n": 1, "type": "time_passes", "line": 5, "seconds": 2}]}"#;

    fn case(edit: impl Fn(String) -> String) -> Result<Case, String> {
        let config = serde_json::to_string(&crate::model::Config::default()).unwrap();
        read_line(&edit(CASE.replace("CONFIG", &config)))
    }

    #[test]
    fn a_case_is_read() {
        let case = case(|text| text).unwrap();
        assert_eq!((case.id.as_str(), case.steps.len(), case.crypto.algorithms[0]), ("x/y", 1, 8));
    }

    #[test]
    fn a_field_that_the_model_lacks_is_an_error() {
        let unknown = case(|text| text.replace("\"line\": 5", "\"line\": 5, \"extra\": 1")).unwrap_err();
        assert!(unknown.contains("/steps/0/extra"), "{unknown}");
        assert!(case(|text| text.replace("time_passes", "unheard_of")).is_err());
    }
}
