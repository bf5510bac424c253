//! What a request wants flushed.

use ringdns_shard::cache::Flush;
use ringdns_shard::wire::name::Name;
use serde_json::Value;
use utoipa::ToSchema;

const ACCEPTED: &str =
    "accepted: {\"name\": \"www.example.test\"}, with \"subtree\": true for the names below it too, or {\"all\": true}";

/// A body, for those who read what bodies may say.
#[derive(ToSchema)]
#[schema(as = Flush)]
#[expect(dead_code, reason = "it is written down for the description of the interface alone; `wanted` reads bodies")]
pub(super) struct Wish {
    /// The name whose answers are forgotten, whatever the type.
    #[schema(example = "www.example.test")]
    name: Option<String>,
    /// Those of names below it, too.
    subtree: Option<bool>,
    /// All answers; then there is no `name`.
    all: Option<bool>,
}

/// Reads the body of a request; the error says what is wrong with it.
pub(super) fn wanted(body: &[u8]) -> Result<Flush, String> {
    let wrong = |why: String| format!("{why}; {ACCEPTED}");
    let object = match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => object,
        Ok(_) => return Err(wrong("the body is no JSON object".to_owned())),
        Err(error) => return Err(wrong(format!("the body is no JSON: {error}"))),
    };
    if let Some(member) = object.keys().find(|member| !["name", "subtree", "all"].contains(&member.as_str())) {
        return Err(wrong(format!("`{member}` is not known")));
    }
    let flag = |member: &str| match object.get(member) {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(wrong(format!("`{member}` is neither true nor false"))),
    };
    match (object.get("name"), flag("subtree")?, flag("all")?) {
        (None, false, true) => Ok(Flush::All),
        (Some(Value::String(name)), subtree, false) => match name.parse::<Name>() {
            Ok(name) if subtree => Ok(Flush::Subtree(name)),
            Ok(name) => Ok(Flush::Name(name)),
            Err(why) => Err(wrong(format!("`name` is no domain name: {}", why.0))),
        },
        (Some(_), _, false) => Err(wrong("`name` is no string".to_owned())),
        (None, _, false) => Err(wrong("there is no `name`".to_owned())),
        (_, _, true) => Err(wrong("with `all`, there is nothing else to say".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_says_exactly_what_it_wants() {
        let name = || "www.example.test".parse::<Name>().unwrap();
        let root = || ".".parse::<Name>().unwrap();
        for (body, flush) in [
            (r#"{"name": "www.example.test"}"#, Flush::Name(name())),
            (r#"{"name": "WWW.example.test.", "subtree": false, "all": false}"#, Flush::Name(name())),
            (r#"{"name": "www.example.test", "subtree": true}"#, Flush::Subtree(name())),
            (r#"{"name": ".", "subtree": true}"#, Flush::Subtree(root())),
            (r#"{"all": true}"#, Flush::All),
        ] {
            assert_eq!(wanted(body.as_bytes()), Ok(flush), "{body}");
        }
        for (body, why) in [
            ("", "the body is no JSON: "),
            ("[]", "the body is no JSON object"),
            ("{}", "there is no `name`"),
            (r#"{"subtree": true}"#, "there is no `name`"),
            (r#"{"all": true, "subtree": true}"#, "nothing else to say"),
            (r#"{"all": true, "name": "a"}"#, "nothing else to say"),
            (r#"{"all": 1}"#, "`all` is neither true nor false"),
            (r#"{"name": 1}"#, "`name` is no string"),
            (r#"{"name": "a..b"}"#, "`name` is no domain name: "),
            (r#"{"nam": "a"}"#, "`nam` is not known"),
        ] {
            let said = wanted(body.as_bytes()).unwrap_err();
            assert!(said.contains(why) && said.ends_with(ACCEPTED), "{body}: {said}");
        }
    }
}
