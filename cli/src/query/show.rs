//! A reply as text, laid out as `dig` does. Prints nothing itself, and yields printable ASCII, tabs and line ends only.

use std::fmt::Write;

use super::exchange::Reply;
use super::message::{EdnsOption, FLAGS, Message, Record};
use super::rdata::{class_text, type_text};
use super::text::{escape, spaced_hex};
use super::utc::Utc;
use super::words::Ask;

/// Everything about the reply; `now` is in seconds since 1970.
pub(super) fn full(words: &[String], ask: &Ask, reply: &Reply, message: &Message, now: u64) -> String {
    let mut out = String::new();
    let words = words.iter().map(|word| escape(word.as_bytes())).collect::<Vec<_>>().join(" ");
    line(&mut out, format_args!("\n; <<>> ringdns {} <<>> {words}", env!("CARGO_PKG_VERSION")));
    for note in &reply.notes {
        line(&mut out, format_args!(";; {note}"));
    }
    header(&mut out, ask, message);
    pseudosection(&mut out, message);
    if !message.question.is_empty() {
        line(&mut out, format_args!(";; QUESTION SECTION:"));
        for question in &message.question {
            let owner = format!(";{}", question.name);
            columns(&mut out, &[&owner, "", &class_text(question.class), &type_text(question.rtype)]);
        }
        out.push('\n');
    }
    let sections =
        [("ANSWER", &message.answer), ("AUTHORITY", &message.authority), ("ADDITIONAL", &message.additional)];
    for (title, records) in sections {
        section(&mut out, title, records);
    }
    line(&mut out, format_args!(";; Query time: {} msec", reply.elapsed.as_millis()));
    let (address, port) = (reply.server.ip(), reply.server.port());
    line(&mut out, format_args!(";; SERVER: {address}#{port} ({})", reply.transport));
    line(&mut out, format_args!(";; WHEN: {}", Utc::from_unix(now).long()));
    line(&mut out, format_args!(";; MSG SIZE  rcvd: {}\n", reply.octets.len()));
    out
}

/// The data of the answer's records alone, one a line.
pub(super) fn short(message: &Message) -> String {
    message.answer.iter().fold(String::new(), |mut out, record| {
        line(&mut out, format_args!("{}", record.rdata));
        out
    })
}

fn header(out: &mut String, ask: &Ask, message: &Message) {
    line(out, format_args!(";; Got answer:"));
    for problem in &message.problems {
        line(out, format_args!(";; MALFORMED: {problem}"));
    }
    line(
        out,
        format_args!(
            ";; ->>HEADER<<- opcode: {}, status: {}, id: {}",
            message.opcode_text(),
            message.rcode_text(),
            message.id
        ),
    );
    let flags: Vec<&str> = FLAGS.iter().filter(|(_, bit)| message.bits & bit != 0).map(|(name, _)| *name).collect();
    let [questions, answers, authorities, additionals] = message.counts;
    line(
        out,
        format_args!(
            ";; flags: {}; QUERY: {questions}, ANSWER: {answers}, AUTHORITY: {authorities}, ADDITIONAL: {additionals}",
            flags.join(" ")
        ),
    );
    if ask.rd && !flags.contains(&"ra") {
        line(out, format_args!(";; WARNING: recursion requested but not available"));
    }
    out.push('\n');
}

fn pseudosection(out: &mut String, message: &Message) {
    let Some(edns) = &message.edns else { return };
    line(out, format_args!(";; OPT PSEUDOSECTION:"));
    let mut flags = String::new();
    if edns.dnssec_ok() {
        flags.push_str(" do");
    }
    if edns.flags & 0x7fff != 0 {
        let _ = write!(flags, " MBZ: {:#06x}", edns.flags & 0x7fff);
    }
    line(out, format_args!("; EDNS: version: {}, flags:{flags}; udp: {}", edns.version, edns.udp));
    for option in &edns.options {
        line(out, format_args!("; {}", option_text(option)));
    }
    out.push('\n');
}

fn option_text(option: &EdnsOption) -> String {
    match option {
        EdnsOption { name: Some(name), text: Some(text), .. } => format!("{name}: {text}"),
        EdnsOption { name: Some(name), data, .. } => format!("{name} (malformed): {}", spaced_hex(data)),
        EdnsOption { code, data, .. } => format!("OPT={code}: {} (\"{}\")", spaced_hex(data), escape(data)),
    }
}

fn section(out: &mut String, title: &str, records: &[Record]) {
    if records.is_empty() {
        return;
    }
    line(out, format_args!(";; {title} SECTION:"));
    for Record { name, rtype, class, ttl, rdata } in records {
        columns(out, &[name, &ttl.to_string(), &class_text(*class), &type_text(*rtype), rdata]);
    }
    out.push('\n');
}

/// A line whose fields begin at tab stops: the second at column 24, each further one 8 later; a field that is too
/// long for its place pushes the next one on by a space.
fn columns(out: &mut String, fields: &[&str]) {
    let mut column = 0;
    for (index, field) in fields.iter().enumerate() {
        if index > 0 && !field.is_empty() {
            let stop = 16 + 8 * index;
            if column < stop {
                while column < stop {
                    out.push('\t');
                    column = (column / 8 + 1) * 8;
                }
            } else {
                out.push(' ');
                column += 1;
            }
        }
        out.push_str(field);
        column += field.len();
    }
    out.push('\n');
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(text);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hasher};
    use std::time::Duration;

    use super::super::exchange::Transport;
    use super::super::json;
    use super::super::message::tests::{ask, sample};
    use super::*;

    fn reply(octets: Vec<u8>) -> Reply {
        let server = "127.0.0.1:5300".parse().unwrap();
        let notes = vec!["ignored a message from 127.0.0.1#5300: id 8 instead of 4711".to_owned()];
        Reply { octets, server, transport: Transport::Udp, elapsed: Duration::from_micros(1_999), notes }
    }

    #[test]
    fn everything_at_its_place() {
        let words = ["@127.0.0.1:5300".to_owned(), "www.example.test".to_owned(), "\u{1b}".to_owned()];
        let reply = reply(sample(4711));
        let message = Message::read(&reply.octets);
        let shown = full(&words, &ask("www.example.test"), &reply, &message, 1_795_178_035);
        let version = env!("CARGO_PKG_VERSION");
        let expected = format!(
            r#"
; <<>> ringdns {version} <<>> @127.0.0.1:5300 www.example.test \027
;; ignored a message from 127.0.0.1#5300: id 8 instead of 4711
;; Got answer:
;; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: 4711
;; flags: qr aa rd; QUERY: 1, ANSWER: 2, AUTHORITY: 1, ADDITIONAL: 2
;; WARNING: recursion requested but not available

;; OPT PSEUDOSECTION:
; EDNS: version: 0, flags: do; udp: 1232
; NSID: 67 70 1b ("gp\027")
; EDE: 18 (Prohibited): (n\195\182\")
; COOKIE: 0102030405060708
; TCP-KEEPALIVE: 10.1 secs
; PADDING: 2 octets
; OPT=65001: 78 00 7f ("x\000\127")

;; QUESTION SECTION:
;www.example.test.<TAB><TAB>IN<TAB>A

;; ANSWER SECTION:
www.example.test.<TAB>300<TAB>IN<TAB>CNAME<TAB>host.example.test.
host.example.test.<TAB>300<TAB>IN<TAB>A<TAB>192.0.2.1

;; AUTHORITY SECTION:
example.test.<TAB><TAB>3600<TAB>IN<TAB>NS<TAB>ns.example.test.

;; ADDITIONAL SECTION:
ns.example.test.<TAB>3600<TAB>IN<TAB>A<TAB>192.0.2.53

;; Query time: 1 msec
;; SERVER: 127.0.0.1#5300 (UDP)
;; WHEN: Fri Nov 20 12:33:55 UTC 2026
;; MSG SIZE  rcvd: 162

"#
        );
        assert_eq!(shown, expected.replace("<TAB>", "\t"));
        assert_eq!(short(&message), "host.example.test.\n192.0.2.1\n");
    }

    #[test]
    fn malformed_parts_are_announced() {
        let reply = reply(sample(4711)[..60].to_vec());
        let message = Message::read(&reply.octets);
        let shown = full(&[], &ask("www.example.test"), &reply, &message, 0);
        let announced = ";; MALFORMED: answer record 2 of 2, at octet 53: the message ends within its TTL\n";
        assert!(shown.contains(announced), "{shown}");
        assert!(shown.contains("CNAME\thost.example.test.\n"), "{shown}");
    }

    #[test]
    fn long_fields_push_the_next_ones_on() {
        let mut out = String::new();
        columns(&mut out, &["a.name.of.more.than.twenty-four.octets.", "300", "IN", "NSEC3PARAM", "1 0 0 -"]);
        assert_eq!(out, "a.name.of.more.than.twenty-four.octets. 300 IN NSEC3PARAM 1 0 0 -\n");
        out.clear();
        columns(&mut out, &["a.", "300", "CLASS65280", "A", "x"]);
        assert_eq!(out, "a.\t\t\t300\tCLASS65280 A\tx\n");
    }

    #[test]
    fn the_json_object() {
        let reply = reply(sample(4711));
        let object: serde_json::Value =
            serde_json::from_str(&json::object(&reply, &Message::read(&reply.octets))).unwrap();
        let expected = serde_json::json!({
            "id": 4711, "opcode": "QUERY", "rcode": "NOERROR",
            "flags": { "qr": true, "aa": true, "tc": false, "rd": true, "ra": false, "ad": false, "cd": false },
            "question": [{ "name": "www.example.test.", "type": "A", "class": "IN" }],
            "answer": [
                { "name": "www.example.test.", "type": "CNAME", "class": "IN", "ttl": 300, "rdata": "host.example.test." },
                { "name": "host.example.test.", "type": "A", "class": "IN", "ttl": 300, "rdata": "192.0.2.1" }
            ],
            "authority": [
                { "name": "example.test.", "type": "NS", "class": "IN", "ttl": 3600, "rdata": "ns.example.test." }
            ],
            "additional": [
                { "name": "ns.example.test.", "type": "A", "class": "IN", "ttl": 3600, "rdata": "192.0.2.53" }
            ],
            "edns": {
                "version": 0, "do": true, "udp": 1232,
                "options": [
                    { "code": 3, "name": "NSID", "hex": "67701b", "text": "67 70 1b (\"gp\\027\")" },
                    { "code": 15, "name": "EDE", "hex": "00126ec3b62200", "text": "18 (Prohibited): (n\\195\\182\\\")" },
                    { "code": 10, "name": "COOKIE", "hex": "0102030405060708", "text": "0102030405060708" },
                    { "code": 11, "name": "TCP-KEEPALIVE", "hex": "0065", "text": "10.1 secs" },
                    { "code": 12, "name": "PADDING", "hex": "0000", "text": "2 octets" },
                    { "code": 65001, "name": null, "hex": "78007f", "text": null }
                ]
            },
            "server": "127.0.0.1:5300", "transport": "UDP", "query_time_ms": 1, "size": 162,
            "notes": ["ignored a message from 127.0.0.1#5300: id 8 instead of 4711"],
            "malformed": []
        });
        assert_eq!(object, expected);
    }

    /// Octets from a seed, the same on every run.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self) -> u64 {
            self.0 += 1;
            let mut hasher = DefaultHasher::new();
            hasher.write_u64(self.0);
            hasher.finish()
        }

        fn below(&mut self, end: usize) -> usize {
            (self.roll() % end as u64) as usize
        }

        fn octets(&mut self, count: usize) -> Vec<u8> {
            (0..count).map(|_| self.roll() as u8).collect()
        }
    }

    /// Reads and prints in all ways; nothing may panic, and nothing but printable ASCII and white space come out.
    fn survive(octets: Vec<u8>) {
        let reply = reply(octets);
        let message = Message::read(&reply.octets);
        let ask = ask("www.example.test");
        let _ = super::super::message::mismatch(&reply.octets, &ask, 4711);
        for shown in [full(&[], &ask, &reply, &message, 0), short(&message), json::object(&reply, &message)] {
            let clean = shown.bytes().all(|octet| matches!(octet, b'\n' | b'\t' | 0x20..=0x7e));
            assert!(clean, "{:x?} gave {shown:?}", reply.octets);
        }
    }

    /// How many random messages each test below reads; a longer run is asked for with `RINGDNS_FUZZ_RUNS`.
    fn runs() -> u64 {
        std::env::var("RINGDNS_FUZZ_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(3_000)
    }

    #[test]
    fn any_octets_are_survived() {
        let mut dice = Dice(0);
        for _ in 0..runs() {
            let count = dice.below(300);
            survive(dice.octets(count));
        }
    }

    #[test]
    fn any_damage_is_survived() {
        let mut dice = Dice(1 << 32);
        for _ in 0..runs() {
            let mut octets = sample(4711);
            for _ in 0..=dice.below(4) {
                let at = dice.below(octets.len());
                octets[at] = dice.roll() as u8;
            }
            octets.truncate(octets.len() - dice.below(40));
            survive(octets);
        }
    }

    /// Random data under every type, half of it small numbers, which are likely lengths and counts.
    #[test]
    fn any_data_of_any_type_is_survived() {
        let mut dice = Dice(2 << 32);
        for _ in 0..runs() {
            let known = dice.below(280) as u16;
            let rtype = [known, 32_768 + known % 4, dice.roll() as u16][dice.below(3)];
            let count = dice.below(80);
            let mut data = dice.octets(count);
            for octet in &mut data {
                match dice.below(8) {
                    0..4 => *octet %= 12,
                    4 => *octet = 0xc0,
                    _ => {}
                }
            }
            let mut octets = sample(4711)[..12 + 22].to_vec();
            octets[6..12].copy_from_slice(&[0, 1, 0, 0, 0, 0]);
            octets.extend([0xc0, 12]);
            octets.extend(rtype.to_be_bytes());
            octets.extend([0, 1, 0, 0, 0, 9]);
            octets.extend((data.len() as u16).to_be_bytes());
            octets.extend(data);
            survive(octets);
        }
    }
}
