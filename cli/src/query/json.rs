//! A reply as one JSON object, in the shape that the head of the query module documents.

use serde_json::{Map, Value, json};

use super::exchange::Reply;
use super::message::{Edns, FLAGS, Message, Question, Record};
use super::rdata::{class_text, type_text};
use super::text::hex;

/// The object, indented, with a final line end.
pub(super) fn object(reply: &Reply, message: &Message) -> String {
    let flags: Map<String, Value> =
        FLAGS.iter().map(|(name, bit)| ((*name).to_owned(), json!(message.bits & bit != 0))).collect();
    let object = json!({
        "id": message.id,
        "opcode": message.opcode_text(),
        "rcode": message.rcode_text(),
        "flags": flags,
        "question": message.question.iter().map(question).collect::<Vec<_>>(),
        "answer": records(&message.answer),
        "authority": records(&message.authority),
        "additional": records(&message.additional),
        "edns": message.edns.as_ref().map(edns),
        "server": reply.server.to_string(),
        "transport": reply.transport.to_string(),
        "query_time_ms": reply.elapsed.as_millis() as u64,
        "size": reply.octets.len(),
        "notes": reply.notes,
        "malformed": message.problems,
    });
    format!("{object:#}\n")
}

fn question(question: &Question) -> Value {
    json!({ "name": question.name, "type": type_text(question.rtype), "class": class_text(question.class) })
}

fn records(records: &[Record]) -> Vec<Value> {
    let one = |record: &Record| {
        json!({
            "name": record.name,
            "type": type_text(record.rtype),
            "class": class_text(record.class),
            "ttl": record.ttl,
            "rdata": record.rdata,
        })
    };
    records.iter().map(one).collect()
}

fn edns(edns: &Edns) -> Value {
    let options: Vec<Value> = edns
        .options
        .iter()
        .map(
            |option| json!({ "code": option.code, "name": option.name, "hex": hex(&option.data), "text": option.text }),
        )
        .collect();
    json!({ "version": edns.version, "do": edns.dnssec_ok(), "udp": edns.udp, "options": options })
}
