//! The description of the interface, against the interface and its guide.

use super::*;

/// The methods of a path, as the answer to a method that no path has says.
fn allowed(scene: &Scene, path: &str) -> Vec<String> {
    let mut stream = UnixStream::connect(&scene.socket).unwrap();
    stream.write_all(request("TRACE", path, "", "").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 405 "), "{path}: {answer}");
    let allow = answer.lines().find_map(|line| line.strip_prefix("allow: ")).unwrap_or_else(|| panic!("{answer}"));
    let mut methods: Vec<String> =
        allow.split(',').filter(|method| *method != "HEAD").map(str::to_ascii_lowercase).collect();
    methods.sort();
    methods
}

#[test]
fn what_is_described_is_there_and_what_is_there_is_described() {
    let scene = serving(nothing_new);
    let (code, description) = scene.at_address("GET", "/openapi.json", "", "");
    assert_eq!((code, &description), (200, &openapi::described()));
    assert_eq!(description["openapi"], "3.1.0");
    let described = description["paths"].as_object().unwrap();
    let there: std::collections::BTreeSet<&str> = resources().iter().map(|(path, _)| *path).collect();
    assert_eq!(described.keys().map(String::as_str).collect::<std::collections::BTreeSet<&str>>(), there);
    for (path, methods) in described {
        let methods: Vec<&String> = methods.as_object().unwrap().keys().collect();
        assert_eq!(methods, allowed(&scene, &path.replace("{name}", "a.test")).iter().collect::<Vec<_>>(), "{path}");
    }
    let ids: Vec<&Value> = described
        .values()
        .flat_map(|methods| methods.as_object().unwrap().values())
        .map(|operation| &operation["operationId"])
        .collect();
    assert!(ids.iter().all(|id| ids.iter().filter(|other| *other == id).count() == 1), "{ids:?}");
    described.values().for_each(|methods| {
        methods.as_object().unwrap().values().for_each(|operation| {
            operation_is_whole(operation);
            references_lead_somewhere(operation, &description);
        })
    });
    references_lead_somewhere(&description["components"], &description);
}

/// It says what it does, what is asked, and what comes back.
fn operation_is_whole(operation: &Value) {
    assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{operation}");
    assert!(operation["operationId"].is_string() && operation["tags"][0].is_string(), "{operation}");
    let responses = operation["responses"].as_object().unwrap();
    assert!(responses["200"]["content"]["application/json"]["schema"].is_object(), "{operation}");
    for (status, response) in responses {
        assert!(response["description"].as_str().is_some_and(|about| !about.is_empty()), "{operation}");
        if status != "200" {
            let problem = &response["content"]["application/problem+json"]["schema"]["$ref"];
            assert_eq!(problem, "#/components/schemas/Problem", "{status} of {operation}");
        }
    }
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let is_whole = ["name", "in"].iter().all(|member| parameter[member].is_string());
        assert!(is_whole && parameter["schema"].is_object() && parameter["description"].is_string(), "{parameter}");
    }
}

/// Every reference is to something that the description has.
fn references_lead_somewhere(part: &Value, description: &Value) {
    match part {
        Value::Object(members) => members.iter().for_each(|(member, value)| match (member.as_str(), value) {
            ("$ref", Value::String(to)) => {
                assert!(description.pointer(to.trim_start_matches('#')).is_some(), "{to} leads nowhere");
            }
            _ => references_lead_somewhere(value, description),
        }),
        Value::Array(items) => items.iter().for_each(|item| references_lead_somewhere(item, description)),
        _ => {}
    }
}

#[test]
fn every_described_parameter_is_taken_and_no_other() {
    let scene = serving(nothing_new);
    for (path, methods) in openapi::described()["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let (method, path) = (method.to_ascii_uppercase(), path.replace("{name}", "a.test"));
            let refused = |name: &str| {
                let (_, object) = scene.at_socket(&method, &format!("{path}?{name}=%00"), "");
                object["detail"].as_str().is_some_and(|detail| detail.contains(&format!("unknown field `{name}`")))
            };
            assert!(refused("no_such_parameter"), "{method} {path}");
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            for parameter in parameters.filter(|parameter| parameter["in"] == "query") {
                let name = parameter["name"].as_str().unwrap();
                assert!(!refused(name), "{method} {path} {name}");
            }
        }
    }
}

#[test]
fn the_guide_has_every_path() {
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/API.md")).unwrap();
    let described = openapi::described();
    let mut requests: Vec<String> = Vec::new();
    for (path, methods) in described["paths"].as_object().unwrap() {
        let methods = methods.as_object().unwrap().keys();
        requests.extend(methods.map(|method| format!("| `{} {PREFIX}{path}` |", method.to_ascii_uppercase())));
    }
    for request in &requests {
        assert!(guide.contains(request.as_str()), "docs/API.md lacks {request}");
    }
    let rows = guide.lines().filter(|line| line.contains(&format!(" {PREFIX}/")) && line.starts_with("| `")).count();
    assert_eq!(rows, requests.len());
    // And every parameter.
    for operation in
        described["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values())
    {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap();
            let is_there = guide.contains(&format!("`{name}`")) || guide.contains(&format!("{{{name}}}"));
            assert!(is_there, "docs/API.md lacks `{name}`");
        }
    }
}

/// What a schema says of a value: where it is not as described, the place.
fn fits(value: &Value, schema: &Value, description: &Value) -> Result<(), String> {
    if let Some(to) = schema["$ref"].as_str() {
        return fits(value, description.pointer(to.trim_start_matches('#')).unwrap(), description);
    }
    for whole in schema["allOf"].as_array().into_iter().flatten() {
        fits(value, whole, description)?;
    }
    if let Some(one) = schema["oneOf"].as_array() {
        let wrong: Vec<String> = one.iter().filter_map(|schema| fits(value, schema, description).err()).collect();
        if wrong.len() == one.len() {
            return Err(format!("none of {}: {}", one.len(), wrong.join(", ")));
        }
    }
    let types = match &schema["type"] {
        Value::Array(types) => types.iter().map(|one| one.as_str().unwrap()).collect(),
        Value::String(one) => vec![one.as_str()],
        _ => Vec::new(),
    };
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !types.is_empty() && !types.contains(&found) {
        return Err(format!("{value} is no {types:?}"));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        value.get(name.as_str().unwrap()).ok_or_else(|| format!("{value} has no {name}"))?;
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        value
            .get(name)
            .map_or(Ok(()), |member| fits(member, schema, description))
            .map_err(|why| format!("{name}: {why}"))?;
    }
    let of_all = if schema["items"].is_object() { &schema["items"] } else { &schema["additionalProperties"] };
    let members: Vec<&Value> = match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(members) => members.values().collect(),
        _ => Vec::new(),
    };
    members.into_iter().filter(|_| of_all.is_object()).try_for_each(|member| fits(member, of_all, description))
}

/// The names that a schema gives to members of an object.
fn members(schema: &Value, description: &Value) -> Vec<String> {
    let to = schema["$ref"].as_str().map(|to| description.pointer(to.trim_start_matches('#')).unwrap());
    let parts = ["allOf", "oneOf"].into_iter().flat_map(|of| schema[of].as_array().into_iter().flatten()).chain(to);
    let of_parts = parts.flat_map(|part| members(part, description));
    of_parts.chain(schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone())).collect()
}

#[test]
fn answers_are_as_they_are_described() {
    let scene = serving(nothing_new);
    let description = openapi::described();
    for is_awake in [true, false] {
        scene.cores.awake.store(is_awake, Ordering::Relaxed);
        let mut seen = 0;
        for (path, methods) in description["paths"].as_object().unwrap() {
            let query = if path == "/cache/lookup" { "?name=www.example.test" } else { "" };
            for (method, operation) in methods.as_object().unwrap() {
                let body = match (method.as_str(), path.as_str()) {
                    ("put", "/log") => r#"{"level": "info"}"#,
                    ("post", "/drain") => r#"{"seconds": 1}"#,
                    ("post", "/cache/flush") => r#"{"all": true}"#,
                    _ => "",
                };
                let target = format!("{}{query}", path.replace("{name}", "a.test"));
                let (status, answer) = scene.at_socket(&method.to_ascii_uppercase(), &target, body);
                let media = if status == 200 { "application/json" } else { "application/problem+json" };
                let schema = &operation["responses"][status.to_string()]["content"][media]["schema"];
                assert!(schema.is_object(), "{method} {path}: {status} is not described");
                fits(&answer, schema, &description).unwrap_or_else(|why| panic!("{method} {path}: {why}"));
                let known = members(schema, &description);
                if path != "/openapi.json" {
                    let told = answer.as_object().unwrap().keys();
                    assert!(told.clone().all(|name| known.contains(name)), "{method} {path}: {answer} {known:?}");
                }
                seen += usize::from(status == 200);
            }
        }
        assert!(seen > 15, "{seen}");
    }
}
