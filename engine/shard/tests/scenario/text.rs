//! Reads ringdns' own `.rpl` files. Stricter than the suites are: what it does not know is an error with its line,
//! records must encode, step numbers must rise, and a check must compare something.

use crate::model::{
    AuthZone, Case, Conditions, Config, Ede, EdeWord, Edns, Entry, Event, Mode, Packet, Range, Step, ZoneClause,
};
use crate::packet;
use crate::words;

/// The case of one file; `source` is its name. The error names file, line and mend.
pub(crate) fn read(source: &str, text: &str) -> Result<Case, String> {
    let mut reader = Reader { lines: text.lines().collect(), next: 0 };
    let read = reader.case(source);
    read.map_err(|why| format!("{source}:{}: {why}", reader.next))
}

/// The lines of a file and the one to be read next, which is also the number, from 1, of the one read last.
struct Reader<'a> {
    lines: Vec<&'a str>,
    next: usize,
}

impl<'a> Reader<'a> {
    fn case(&mut self, source: &str) -> Result<Case, String> {
        let id = source.strip_suffix(".rpl").unwrap_or(source).to_string();
        let mut case = Case { id, source: source.to_string(), config: self.config()?, ..Case::default() };
        case.title = match self.expect("SCENARIO_END")?.split_once(' ') {
            Some(("SCENARIO_BEGIN", title)) => title.trim().to_string(),
            _ => return Err("SCENARIO_BEGIN and a title must follow CONFIG_END".into()),
        };
        loop {
            let line = self.expect("SCENARIO_END")?;
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["SCENARIO_END"] => break,
                ["RANGE_BEGIN", from, to] => {
                    let range = self.range(number(from)?, number(to)?)?;
                    case.ranges.push(range);
                }
                ["STEP", n, event, ref words @ ..] => {
                    let (n, line) = (number(n)?, self.next as u32);
                    if case.steps.last().is_some_and(|last| last.n >= n) {
                        return Err(format!("step {n} comes after a step of that number or above"));
                    }
                    let event = self.event(event, words)?;
                    case.steps.push(Step { n, line, event });
                }
                _ => return Err(format!("`{line}`: RANGE_BEGIN, STEP or SCENARIO_END was expected")),
            }
        }
        match self.line() {
            None => Ok(case),
            Some(line) => Err(format!("`{line}` stands after SCENARIO_END")),
        }
    }

    /// The next line that says something, without its comment.
    fn line(&mut self) -> Option<&'a str> {
        while let Some(line) = self.lines.get(self.next) {
            self.next += 1;
            let line = without_comment(line).trim();
            if !line.is_empty() {
                return Some(line);
            }
        }
        None
    }

    fn expect(&mut self, end: &str) -> Result<&'a str, String> {
        self.line().ok_or_else(|| format!("the file ends without {end}"))
    }

    fn config(&mut self) -> Result<Config, String> {
        let mut config = Config::default();
        let mut clause = "";
        loop {
            let line = self.expect("CONFIG_END")?;
            if line == "CONFIG_END" {
                break;
            }
            if let Some(name) = line.strip_prefix("ZONE_BEGIN ") {
                self.zone(name.trim(), &mut config)?;
                continue;
            }
            match line.split_once(':').map(|(key, value)| (key, value.trim())) {
                Some((key @ ("server" | "forward-zone"), "")) => {
                    clause = key;
                    if key == "forward-zone" {
                        config.forward_zones.push(ZoneClause::default());
                    }
                }
                Some((key, value)) if clause == "server" => server_option(&mut config, key, value)?,
                Some((key, value)) if clause == "forward-zone" => {
                    let zone = config.forward_zones.last_mut().expect("a clause opens with its zone");
                    forward_option(zone, key, value)?;
                }
                _ => return Err(format!("`{line}`: server:, forward-zone:, ZONE_BEGIN or CONFIG_END was expected")),
            }
        }
        config.mode = match config.forward_zones.iter().any(|zone| zone.name == ".") {
            true => Mode::Forward,
            false if config.auth_zones.is_empty() => Mode::None,
            false => Mode::Auth,
        };
        Ok(config)
    }

    /// The lines up to ZONE_END, as they stand: a master file of its own.
    fn zone(&mut self, name: &str, config: &mut Config) -> Result<(), String> {
        let mut text = String::new();
        loop {
            let line = self.lines.get(self.next).ok_or("the file ends without ZONE_END")?;
            self.next += 1;
            if line.trim() == "ZONE_END" {
                break;
            }
            text.push_str(line);
            text.push('\n');
        }
        let file = Some(format!("@file:{name}"));
        let clause = ZoneClause { name: name.to_string(), file, ..ZoneClause::default() };
        config.auth_zones.push(AuthZone::Clause(clause));
        match config.files.insert(name.to_string(), text) {
            None => Ok(()),
            Some(_) => Err(format!("a second zone `{name}`")),
        }
    }

    fn range(&mut self, from: u32, to: u32) -> Result<Range, String> {
        let mut range = Range { line: self.next as u32, from, to, addresses: Vec::new(), entries: Vec::new() };
        loop {
            let line = self.expect("RANGE_END")?;
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["RANGE_END"] => return Ok(range),
                ["ADDRESS", address] => range.addresses.push(address.to_string()),
                ["ENTRY_BEGIN"] => {
                    let entry = self.entry()?;
                    if entry.match_words.is_none() {
                        return Err("an entry of a range needs a MATCH line".into());
                    }
                    range.entries.push(entry);
                }
                _ => return Err(format!("`{line}`: ADDRESS, ENTRY_BEGIN or RANGE_END was expected")),
            }
        }
    }

    fn event(&mut self, event: &str, words: &[&str]) -> Result<Event, String> {
        let address = |words: &[&str]| match words {
            [] => Ok(None),
            ["ADDRESS", address] => Ok(Some(address.to_string())),
            _ => Err(format!("`{}`: ADDRESS and an address were expected", words.join(" "))),
        };
        Ok(match (event, words) {
            ("QUERY", words) => Event::Query { from: address(words)?, entry: self.step_entry(false)? },
            ("CHECK_ANSWER", words) => Event::CheckAnswer { from: address(words)?, entry: self.step_entry(true)? },
            ("CHECK_OUT_QUERY", ["COUNT", count]) => Event::CheckOutCount { count: number(count)? as usize },
            ("CHECK_OUT_QUERY", words) => {
                Event::CheckOutQuery { address: address(words)?, entry: self.step_entry(true)? }
            }
            ("REPLY", ["IGNORED", "FROM", sender]) => Event::Reply {
                address: None,
                ignored: true,
                sender: Some(sender.to_string()),
                entry: self.step_entry(false)?,
            },
            ("REPLY", ["IGNORED", words @ ..]) => {
                let address = address(words)?;
                Event::Reply { address, ignored: true, sender: None, entry: self.step_entry(false)? }
            }
            ("REPLY", words) => {
                let address = address(words)?;
                Event::Reply { address, ignored: false, sender: None, entry: self.step_entry(false)? }
            }
            ("TIMEOUT", []) => Event::Timeout,
            ("ERROR", []) => Event::Error,
            ("TIME_PASSES", ["ELAPSE", seconds]) => {
                let parsed = seconds.parse::<f64>().ok().filter(|s| s.is_finite() && *s >= 0.0);
                let seconds = parsed.ok_or_else(|| format!("`{seconds}` is no number of seconds"))?;
                Event::TimePasses { seconds: Some(seconds), expr: None }
            }
            ("TIME_PASSES", ["EVAL", "${timeout}"]) => {
                Event::TimePasses { seconds: None, expr: Some("${timeout}".into()) }
            }
            ("TRAFFIC", []) => Event::Traffic,
            ("NOTHING", []) => Event::Nothing,
            ("CHECK_SILENCE", []) => Event::CheckSilence,
            ("CHECK_SERVER", [address, standing]) => {
                Event::CheckServer { address: address.to_string(), standing: standing.to_string() }
            }
            ("FLUSH", ["all"]) => Event::Flush { name: None, subtree: false },
            ("FLUSH", ["name", name]) => Event::Flush { name: Some(name.to_string()), subtree: false },
            ("FLUSH", ["subtree", name]) => Event::Flush { name: Some(name.to_string()), subtree: true },
            ("LOSE", []) => Event::Lose,
            ("RESTART", []) => Event::Restart,
            ("CHECK_LOGGED", [_, _, _, ..]) => Event::CheckLogged { entry: words.join(" ") },
            ("CHECK_COUNTER", [name, value]) => {
                Event::CheckCounter { name: name.to_string(), value: u64::from(number(value)?) }
            }
            _ => return Err(format!("`{event} {}` is no step that is known", words.join(" "))),
        })
    }

    fn step_entry(&mut self, check: bool) -> Result<Box<Entry>, String> {
        if self.line() != Some("ENTRY_BEGIN") {
            return Err("ENTRY_BEGIN must follow this step".into());
        }
        let entry = self.entry()?;
        let compares = !entry.compare.is_empty() || entry.conditions != Conditions::default();
        match (check, compares) {
            (true, false) => Err("a check needs a MATCH line that compares something".into()),
            _ => Ok(Box::new(entry)),
        }
    }

    fn entry(&mut self) -> Result<Entry, String> {
        let mut entry = Entry { line: self.next as u32, packet: empty_packet(), ..Entry::default() };
        let mut section = "";
        loop {
            let line = self.expect("ENTRY_END")?;
            let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let rest: Vec<&str> = rest.split_whitespace().collect();
            match word {
                "ENTRY_END" => break,
                "MATCH" => {
                    for word in &rest {
                        match_word(&mut entry, word)?;
                    }
                    entry.match_words.get_or_insert_default().extend(rest.iter().map(|w| w.to_string()));
                }
                "ADJUST" => {
                    for word in rest {
                        match word {
                            "copy_id" | "copy_query" | "raw_id" | "do_not_answer" | "own_case" | "cookie"
                            | "other_cookie" => {
                                entry.adjust.push(word.into());
                            }
                            _ => return Err(format!("ADJUST does not know `{word}`")),
                        }
                    }
                }
                "REPLY" => {
                    for word in rest {
                        reply_word(&mut entry, word)?;
                    }
                }
                "SECTION" => match rest[..] {
                    [name @ ("QUESTION" | "ANSWER" | "AUTHORITY" | "ADDITIONAL")] => section = name,
                    _ => return Err(format!("`{line}`: QUESTION, ANSWER, AUTHORITY or ADDITIONAL was expected")),
                },
                "HEX_ANSWER_BEGIN" => entry.packet.raw = Some(self.hex("HEX_ANSWER_END")?),
                "HEX_EDNSDATA_BEGIN" => edns_of(&mut entry).data = self.hex("HEX_EDNSDATA_END")?,
                _ => record_line(&mut entry.packet, section, line)?,
            }
        }
        packet::encode(0, &entry.packet, entry.edns.as_ref())?;
        Ok(entry)
    }

    fn hex(&mut self, end: &str) -> Result<String, String> {
        let mut digits = String::new();
        loop {
            match self.expect(end)? {
                line if line == end => return Ok(digits),
                line => {
                    packet::octets_of_hex(line)?;
                    digits.extend(line.chars().filter(|c| !c.is_whitespace()));
                }
            }
        }
    }
}

fn record_line(packet: &mut Packet, section: &str, line: &str) -> Result<(), String> {
    if section == "QUESTION" {
        packet::encode_question(line)?;
        packet.question.push(line.to_string());
        return Ok(());
    }
    let records = match section {
        "ANSWER" => &mut packet.answer,
        "AUTHORITY" => &mut packet.authority,
        "ADDITIONAL" => &mut packet.additional,
        _ => return Err(format!("`{line}`: MATCH, ADJUST, REPLY, SECTION, HEX_… or ENTRY_END was expected")),
    };
    packet::encode_record(line)?;
    records.push(line.to_string());
    Ok(())
}

fn number(word: &str) -> Result<u32, String> {
    word.parse().map_err(|_| format!("`{word}` is no whole number"))
}

/// `line` up to a semicolon that stands outside quotes and is not escaped.
fn without_comment(line: &str) -> &str {
    let (mut quoted, mut escaped) = (false, false);
    for (at, octet) in line.bytes().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b';' if !quoted => return &line[..at],
            _ => {}
        }
    }
    line
}

fn unquoted(value: &str) -> String {
    value.trim_matches('"').to_string()
}

fn server_option(config: &mut Config, key: &str, value: &str) -> Result<(), String> {
    let words: Vec<String> = value.split_whitespace().map(unquoted).collect();
    let two_words = |second: &str| match words.as_slice() {
        [_, word] if word == second => Ok(words.clone()),
        _ => Err(format!("{key}: something and `{second}` were expected, not `{value}`")),
    };
    match key {
        "access-control" => config.access_control.push(two_words("allow")?),
        "local-zone" => config.local_zones.push(two_words("refuse")?),
        "cache-min-ttl" => drop(config.ttl.insert("min".into(), u64::from(number(value)?))),
        "cache-max-ttl" => drop(config.ttl.insert("max".into(), u64::from(number(value)?))),
        "cache-max-negative-ttl" => drop(config.ttl.insert("max_negative".into(), u64::from(number(value)?))),
        "identity"
        | "version"
        | "num-queries-per-thread"
        | "waiters-per-name"
        | "cache-octets"
        | "cache-fail-ttl"
        | "serve-expired-ttl"
        | "serve-expired-client-timeout"
        | "prefetch"
        | "zone-queries"
        | "zone-ratelimit"
        | "ip-ratelimit"
        | "cookie-secret" => {
            config.other.entry(key.to_string()).or_default().push(vec![unquoted(value)]);
        }
        _ => return Err(format!("server: does not know `{key}`")),
    }
    Ok(())
}

fn forward_option(zone: &mut ZoneClause, key: &str, value: &str) -> Result<(), String> {
    match key {
        "name" => zone.name = unquoted(value),
        "forward-addr" => zone.addresses.push(unquoted(value)),
        "forward-tcp-upstream" | "strategy" | "kind" | "timeout" => {
            zone.options.entry(key.to_string()).or_default().push(unquoted(value));
        }
        _ => return Err(format!("forward-zone: does not know `{key}`")),
    }
    Ok(())
}

fn empty_packet() -> Packet {
    Packet { opcode: "QUERY".into(), rcode: "NOERROR".into(), ..Packet::default() }
}

fn edns_of(entry: &mut Entry) -> &mut Edns {
    entry.edns.get_or_insert_with(|| Edns { version: 0, udp: 1232, dnssec_ok: false, data: String::new() })
}

fn match_word(entry: &mut Entry, word: &str) -> Result<(), String> {
    const ALL: [&str; 9] = ["opcode", "rcode", "flags", "qname", "qtype", "answer", "authority", "additional", "edns"];
    let conditions = &mut entry.conditions;
    let compared: &[&str] = match word {
        "all" => &ALL,
        "question" => &["qname", "qtype"],
        "opcode" | "qname" | "qcase" | "qtype" | "subdomain" | "rcode" | "flags" | "answer" | "authority"
        | "additional" | "ttl" | "edns" | "ednsdata" | "order" | "ownercase" => &[word],
        "TCP" | "UDP" => {
            conditions.transport = Some(word.to_ascii_lowercase());
            return Ok(());
        }
        "noedns" => {
            conditions.noedns = true;
            return Ok(());
        }
        _ if word == "DO" || words::flag_bit(word).is_ok() => {
            conditions.set.push(word.to_string());
            return Ok(());
        }
        _ => {
            if let Some(kind @ ("none" | "client" | "both")) = word.strip_prefix("cookie=") {
                conditions.cookie = Some(kind.to_string());
                return Ok(());
            }
            conditions.ede = match word.strip_prefix("ede=") {
                Some("any") => Some(Ede::Word(EdeWord::Any)),
                Some("none") => Some(Ede::Word(EdeWord::None)),
                Some(code) => Some(Ede::Code(number(code)? as u16)),
                None => return Err(format!("MATCH does not know `{word}`")),
            };
            return Ok(());
        }
    };
    entry.compare.extend(compared.iter().map(|word| word.to_string()));
    Ok(())
}

fn reply_word(entry: &mut Entry, word: &str) -> Result<(), String> {
    entry.packet.reply_flags.push(word.to_string());
    if words::flag_bit(word).is_ok() {
        entry.packet.flags.push(word.to_string());
    } else if words::rcode_code(word).is_ok() {
        entry.packet.rcode = word.to_string();
    } else if words::opcode_code(word).is_ok() {
        entry.packet.opcode = word.to_string();
    } else if word == "EDNS" {
        edns_of(entry);
    } else if word == "DO" {
        edns_of(entry).dnssec_ok = true;
    } else if let Some(size) = word.strip_prefix("SIZE=") {
        edns_of(entry).udp = size.parse().map_err(|_| format!("`{size}` is no size in octets"))?;
    } else if let Some(version) = word.strip_prefix("VERSION=") {
        edns_of(entry).version = version.parse().map_err(|_| format!("`{version}` is no EDNS version"))?;
    } else {
        return Err(format!("REPLY does not know `{word}`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASE: &str = r#"; a comment
server:
    access-control: 192.0.2.0/24 allow
    cache-max-ttl: 60       ; a minute
    local-zone: "refused.test." refuse
    identity: "here"
forward-zone:
    name: "."
    forward-addr: 192.0.2.1
    forward-addr: 192.0.2.2@5353
    timeout: 2.5
ZONE_BEGIN example.test.
@ SOA ns host 1 2 3 4 5 ; kept for the reader of zones
ZONE_END
CONFIG_END
SCENARIO_BEGIN What is shown
RANGE_BEGIN 0 10
    ADDRESS 192.0.2.1
ENTRY_BEGIN
MATCH opcode question TCP
ADJUST copy_id
REPLY QR AA REFUSED DO SIZE=900
SECTION QUESTION
a.test. IN TXT
SECTION ANSWER
a.test. 5 IN TXT "a;b" ; no comment inside quotes
HEX_EDNSDATA_BEGIN
00 03 ; NSID
00 00
HEX_EDNSDATA_END
ENTRY_END
RANGE_END
STEP 1 QUERY ADDRESS 192.0.2.9
ENTRY_BEGIN
HEX_ANSWER_BEGIN
0000
HEX_ANSWER_END
ENTRY_END
STEP 2 CHECK_SILENCE
STEP 3 CHECK_ANSWER
ENTRY_BEGIN
MATCH all ede=22
ENTRY_END
STEP 4 REPLY IGNORED FROM 198.51.100.1
ENTRY_BEGIN
ENTRY_END
STEP 5 TIME_PASSES ELAPSE 0.5
STEP 6 TIME_PASSES EVAL ${timeout}
STEP 7 CHECK_OUT_QUERY COUNT 2
STEP 8 CHECK_COUNTER cache_hits 3
SCENARIO_END
"#;

    #[test]
    fn a_file_becomes_a_case() {
        let case = read("shown.rpl", CASE).unwrap();
        assert_eq!((case.id.as_str(), case.title.as_str()), ("shown", "What is shown"));
        assert_eq!((case.config.mode, case.config.ttl["max"]), (Mode::Forward, 60));
        assert_eq!(case.config.access_control, [["192.0.2.0/24", "allow"]]);
        assert_eq!(case.config.local_zones, [["refused.test.", "refuse"]]);
        assert_eq!(case.config.other["identity"], [["here"]]);
        let forward = &case.config.forward_zones[0];
        assert_eq!((forward.name.as_str(), forward.addresses.len()), (".", 2));
        assert_eq!(forward.options["timeout"], ["2.5"]);
        assert!(case.config.files["example.test."].contains("; kept"));

        let range = &case.ranges[0];
        assert_eq!((range.from, range.to, range.addresses.len()), (0, 10, 1));
        let entry = &range.entries[0];
        assert_eq!(entry.compare, ["opcode", "qname", "qtype"]);
        assert_eq!(entry.conditions.transport.as_deref(), Some("tcp"));
        assert_eq!(
            (entry.packet.rcode.as_str(), &entry.packet.flags[..]),
            ("REFUSED", &["QR".into(), "AA".into()][..])
        );
        assert_eq!(entry.edns, Some(Edns { version: 0, udp: 900, dnssec_ok: true, data: "00030000".into() }));
        assert_eq!(entry.packet.answer, [r#"a.test. 5 IN TXT "a;b""#]);

        let lines: Vec<u32> = case.steps.iter().map(|step| step.line).collect();
        assert_eq!(lines[..3], [33, 39, 40]);
        let Event::Query { from, entry } = &case.steps[0].event else { panic!("{:?}", case.steps[0]) };
        assert_eq!((from.as_deref(), entry.packet.raw.as_deref()), (Some("192.0.2.9"), Some("0000")));
        assert!(matches!(&case.steps[3].event, Event::Reply { ignored: true, sender: Some(_), .. }));
        assert!(matches!(&case.steps[6].event, Event::CheckOutCount { count: 2 }));
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        for (right, wrong, line) in [
            ("cache-max-ttl", "cache-top-ttl", 4),
            ("refuse\n", "deny\n", 5),
            ("forward-addr", "forward-to", 9),
            ("ADDRESS 192.0.2.1", "ADDRESSES 192.0.2.1", 18),
            ("question TCP", "question DOQ", 20),
            ("copy_id", "copy_ids", 21),
            ("AA REFUSED", "AA WRONG", 22),
            ("a.test. IN TXT", "a.test. IN TEXT", 24),
            ("5 IN TXT", "5 IN A", 26),
            ("00 03", "0 03", 28),
            ("STEP 2", "STEP 1", 39),
            ("CHECK_SILENCE", "CHECK_PEACE", 39),
            ("MATCH all ede=22\n", "", 42),
            ("ELAPSE 0.5", "ELAPSE -1", 47),
            ("SCENARIO_END\n", "", 50),
            ("SCENARIO_END\n", "SCENARIO_END\nSTEP 9 NOTHING\n", 52),
        ] {
            assert!(CASE.contains(right), "{right}");
            let error = read("x.rpl", &CASE.replacen(right, wrong, 1)).unwrap_err();
            assert!(error.starts_with(&format!("x.rpl:{line}: ")), "{right} as {wrong}: {error}");
        }
    }
}
