//! Runs a case on a shard: plays the clients, the servers and the clock, and holds the shard to what it promises on
//! the way (each client answered once and with its own id, replies within the asker's size, no endless activity).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ringdns_shard::cache::Flush;
use ringdns_shard::limits::{MESSAGE_OCTETS_MAX, UDP_PLAIN_OCTETS_MAX, UDP_REPLY_OCTETS_MAX};
use ringdns_shard::wire::name::{self, Name};
use ringdns_shard::{Action, Client, Outcome, Shard, Time, Transport};

use crate::model::{Case, Entry, Event, Step, Suite};
use crate::packet::{self, Bar, View};
use crate::recorded::Recorded;
use crate::setup;

/// Actions and deadlines in one step beyond which a shard is taken to go round in circles.
const ACTIVITY_MAX: usize = 10_000;

/// The time of the day when a case begins.
const UNIX_SECONDS: u64 = 1_700_000_000;
/// Octets of a portion of the cache.
const PORTION_OCTETS: usize = 512;

/// Runs `case` to its end; the error tells the step, its line, what was expected and what came.
pub(crate) fn run(case: &Case, bar: Bar) -> Result<(), String> {
    let mut run = Run::new(case, bar)?;
    for (index, step) in case.steps.iter().enumerate() {
        let next = case.steps.get(index + 1).unwrap_or(step);
        // Unbound's ranges look at the step to be run next, ours at the one that runs.
        run.range_step = if case.suite == Suite::Unbound { next.n } else { step.n };
        run.step(step).map_err(|why| format!("{}:{}: step {}: {why}", case.source, step.line, step.n))?;
    }
    run.end().map_err(|why| format!("{}: at the end: {why}", case.source))
}

/// A client's query that has no answer yet.
struct Asked {
    client: Client,
    id: u16,
    opcode: u16,
    octets_max: usize,
}

/// A reply that no step has checked yet.
struct Reply {
    client: Client,
    view: View,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Via {
    Udp { socket: u8 },
    Tcp { exchange: u64 },
}

impl Via {
    fn transport(self) -> &'static str {
        match self {
            Via::Udp { .. } => "udp",
            Via::Tcp { .. } => "tcp",
        }
    }
}

/// A query of the shard's that no server has answered yet.
struct Outstanding {
    via: Via,
    server: SocketAddr,
    octets: Vec<u8>,
    view: View,
    /// A range keeps silent on it.
    silent: bool,
}

struct Run<'a> {
    case: &'a Case,
    bar: Bar,
    shard: Shard,
    now: Time,
    range_step: u32,
    queries: u16,
    asked: Vec<Asked>,
    replies: Vec<Reply>,
    outstanding: Vec<Outstanding>,
    last_outcome: Option<Outcome>,
    buffer: Vec<u8>,
    recorded: Recorded,
}

impl<'a> Run<'a> {
    fn new(case: &'a Case, bar: Bar) -> Result<Run<'a>, String> {
        let images = setup::images(&case.config)?;
        let mut shard = Shard::new(images, [42; 32]);
        shard.on_clock(UNIX_SECONDS);
        Ok(Run {
            case,
            bar,
            shard,
            now: Time::ZERO,
            range_step: 0,
            queries: 0,
            asked: Vec::new(),
            replies: Vec::new(),
            outstanding: Vec::new(),
            last_outcome: None,
            buffer: vec![0; MESSAGE_OCTETS_MAX],
            recorded: Recorded::default(),
        })
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match &step.event {
            Event::Query { from, entry } => self.ask(from.as_deref(), entry)?,
            Event::CheckAnswer { from, entry } => return self.check_answer(from.as_deref(), entry),
            Event::CheckSilence => {
                let silent = self.last_outcome == Some(Outcome::Silence);
                return if silent { Ok(()) } else { Err(format!("silence was expected, not {:?}", self.last_outcome)) };
            }
            Event::CheckCounter { name, value } => return self.check_counter(name, *value),
            Event::CheckLogged { entry } => return self.recorded.check(entry),
            Event::CheckServer { address, standing } => return self.check_server(address, standing),
            Event::Flush { name, subtree } => self.flush(name.as_deref(), *subtree)?,
            Event::Lose => self.outstanding.clear(),
            Event::Restart => self.restart()?,
            Event::CheckOutCount { count } if self.outstanding.len() == *count => {}
            Event::CheckOutCount { count } => {
                return Err(format!("{count} queries expected{}", self.show_outstanding()));
            }
            Event::CheckOutQuery { address, entry } => self.check_out_query(address.as_deref(), entry)?,
            Event::Reply { address, ignored: false, entry, .. } => {
                let index = self.newest(address.as_deref())?;
                self.answer(index, entry)?;
            }
            Event::Reply { address, ignored: true, sender, entry } => {
                self.reply_ignored(address.as_deref(), sender.as_deref(), entry)?;
            }
            Event::Timeout => self.time_out()?,
            Event::Error => {
                let index = self.newest(None)?;
                let Via::Tcp { exchange } = self.outstanding.remove(index).via else {
                    return Err("only a TCP exchange can fail".into());
                };
                self.shard.on_failure_tcp(self.now, exchange);
            }
            Event::TimePasses { seconds: Some(seconds), .. } => {
                self.pass_until(self.now + Duration::from_secs_f64(*seconds))?;
            }
            Event::TimePasses { seconds: None, .. } => {
                let deadline = self.shard.deadline().ok_or("the shard waits for no time")?;
                self.pass_until(deadline)?;
            }
            Event::Traffic | Event::Nothing | Event::Assign { .. } => {}
            Event::CheckAutotrust { .. } | Event::CheckTempfile { .. } => {
                return Err("files that a server writes cannot be checked yet".into());
            }
        }
        self.pump()
    }

    fn ask(&mut self, from: Option<&str>, entry: &Entry) -> Result<(), String> {
        self.queries += 1;
        let request = packet::encode(0x4000 + self.queries, &entry.packet, entry.edns.as_ref())?;
        let tcp = entry.conditions.transport.as_deref() == Some("tcp");
        let address = from.unwrap_or("127.0.0.1");
        let address: IpAddr = address.parse().map_err(|_| format!("`{address}` is no address"))?;
        let client = Client {
            peer: SocketAddr::new(address, 40_000 + self.queries),
            local: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            via: if tcp { Transport::Tcp } else { Transport::Udp },
            listener: 0,
            connection: if tcp { u64::from(self.queries) } else { 0 },
        };
        let size = entry.edns.as_ref().map_or(0, |edns| usize::from(edns.udp));
        let octets_max = match tcp {
            true => MESSAGE_OCTETS_MAX,
            false => size.clamp(UDP_PLAIN_OCTETS_MAX, UDP_REPLY_OCTETS_MAX),
        };
        let mut reply = vec![0xaa; if tcp { MESSAGE_OCTETS_MAX } else { UDP_REPLY_OCTETS_MAX }];
        let outcome = self.shard.on_query(self.now, &client, &request, &mut reply);
        self.last_outcome = Some(outcome);
        if outcome != Outcome::Silence {
            let [a, b, c, ..] = request[..] else { return Err("a reply to less than a header".into()) };
            self.asked.push(Asked {
                client,
                id: u16::from_be_bytes([a, b]),
                opcode: u16::from(c) >> 3 & 15,
                octets_max,
            });
        }
        match outcome {
            Outcome::Reply(octets) => self.take_reply(client, &reply[..octets]),
            Outcome::Pending | Outcome::Silence => Ok(()),
            Outcome::Transfer(_) => Err("nobody in a scenario may transfer a zone".into()),
        }
    }

    /// Carries out the shard's actions and lets the ranges answer, until nothing moves.
    fn pump(&mut self) -> Result<(), String> {
        self.shard.on_clock(UNIX_SECONDS + self.now.as_micros() / 1_000_000);
        for _ in 0..ACTIVITY_MAX {
            self.buffer.fill(0xaa);
            let mut buffer = std::mem::take(&mut self.buffer);
            let action = self.shard.poll_action(&mut buffer);
            let moved = match action {
                Some(action) => self.act(action, &buffer).map(|()| true),
                None => self.answer_from_ranges(),
            };
            self.buffer = buffer;
            if !moved? {
                return self.recorded.take(&mut self.shard, self.now);
            }
        }
        Err(format!("no end of activity{}", self.show_outstanding()))
    }

    fn act(&mut self, action: Action, buffer: &[u8]) -> Result<(), String> {
        let (via, server, octets) = match action {
            Action::Reply { client, octets } => return self.take_reply(client, &buffer[..octets]),
            Action::AskUdp { socket, server, octets } => (Via::Udp { socket }, server, octets),
            Action::AskTcp { exchange, server, octets } => (Via::Tcp { exchange }, server, octets),
            Action::Notified { .. } => return Err("nobody in a scenario may notify of a zone".into()),
            Action::EndTcp { exchange } => {
                self.outstanding.retain(|out| out.via != Via::Tcp { exchange });
                return Ok(());
            }
        };
        let octets = buffer[..octets].to_vec();
        let view = View::new(&octets).map_err(|why| format!("the shard's own query does not parse: {why}"))?;
        self.outstanding.push(Outstanding { via, server, octets, view, silent: false });
        Ok(())
    }

    fn take_reply(&mut self, client: Client, octets: &[u8]) -> Result<(), String> {
        let hex = || octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
        let view = View::new(octets).map_err(|why| format!("a reply does not parse: {why}: {}", hex()))?;
        let asked = self.asked.iter().position(|asked| asked.client == client && asked.id == view.id);
        let asked = asked.ok_or_else(|| format!("a reply that nobody waits for, to {client:?}:\n{view}"))?;
        let asked = self.asked.remove(asked);
        if octets.len() > asked.octets_max {
            return Err(format!("a reply of {} octets where {} fit:\n{view}", octets.len(), asked.octets_max));
        }
        if view.opcode() != asked.opcode {
            return Err(format!("a reply with another opcode than {}:\n{view}", asked.opcode));
        }
        self.replies.push(Reply { client, view });
        Ok(())
    }

    /// Answers one outstanding query from the ranges in force; false: there is none that they answer.
    fn answer_from_ranges(&mut self) -> Result<bool, String> {
        let count = self.outstanding.len();
        for turn in 0..count {
            let newest_first = self.case.suite == Suite::Unbound;
            let index = if newest_first { count - 1 - turn } else { turn };
            let Some(entry) = self.entry_for(&self.outstanding[index]) else { continue };
            if entry.adjust.iter().any(|word| word == "do_not_answer") {
                self.outstanding[index].silent = true;
                continue;
            }
            self.answer(index, entry)?;
            return Ok(true);
        }
        Ok(false)
    }

    fn entry_for(&self, query: &Outstanding) -> Option<&'a Entry> {
        let holds = |address: &String| setup::server_address(address).is_ok_and(|a| a.ip() == query.server.ip());
        let in_force = |range: &&crate::model::Range| {
            (range.from..=range.to).contains(&self.range_step)
                && (range.addresses.is_empty() || range.addresses.iter().any(holds))
        };
        let entries = |range: &'a crate::model::Range| range.entries.iter();
        let fits = |entry: &&Entry| {
            packet::mismatch(entry, &query.view, query.via.transport(), Bar::Exact).is_none() && !query.silent
        };
        let ranges = self.case.ranges.iter().filter(in_force);
        match self.case.suite {
            Suite::Unbound => ranges.rev().flat_map(entries).find(fits),
            _ => ranges.flat_map(entries).find(fits),
        }
    }

    /// Answers an outstanding query with `entry`. In cases of our own the shard must take it.
    fn answer(&mut self, index: usize, entry: &Entry) -> Result<(), String> {
        let query = self.outstanding.remove(index);
        let ignored = self.ignored();
        self.send(&query, query.server, entry)?;
        if self.case.suite == Suite::Ringdns && self.ignored() != ignored {
            let query = &query.view;
            return Err(format!("the shard ignored the answer of line {} to its query\n{query}", entry.line));
        }
        Ok(())
    }

    fn send(&mut self, query: &Outstanding, sender: SocketAddr, entry: &Entry) -> Result<(), String> {
        let adjusted = |word: &str| entry.adjust.iter().any(|w| w == word);
        let mut packet = entry.packet.clone();
        if adjusted("copy_query") {
            packet.question = query.view.questions.iter().map(ToString::to_string).collect();
        }
        // Without `copy_id` the id is one that was not asked with.
        let id = if adjusted("copy_id") { query.view.id } else { !query.view.id };
        let client_cookie = query.view.cookie().and_then(|cookie| cookie.first_chunk::<8>());
        let edns = match (&entry.edns, client_cookie) {
            (Some(edns), Some(client)) if adjusted("cookie") => Some(packet::with_cookie(edns, client)),
            (Some(edns), Some(client)) if adjusted("other_cookie") => {
                Some(packet::with_cookie(edns, &client.map(|octet| !octet)))
            }
            (edns, _) => edns.clone(),
        };
        let mut octets = packet::encode(id, &packet, edns.as_ref())?;
        if !adjusted("own_case") {
            copy_spelling(&query.octets, &mut octets);
        }
        if adjusted("raw_id") && octets.len() >= 2 {
            octets[..2].copy_from_slice(&query.octets[..2]);
        }
        match query.via {
            Via::Udp { socket } => self.shard.on_reply_udp(self.now, socket, sender, &octets),
            Via::Tcp { exchange } => self.shard.on_reply_tcp(self.now, exchange, &octets),
        }
        Ok(())
    }

    /// Packets from upstreams that the shard took no notice of.
    fn ignored(&self) -> u64 {
        let counters = self.shard.counters();
        counters.upstream_unexpected
            + counters.upstream_mismatched
            + counters.upstream_malformed
            + counters.upstream_case_changed
            + counters.upstream_cookies_forged
            + counters.upstream_cookies_missing
    }

    fn reply_ignored(&mut self, to: Option<&str>, sender: Option<&str>, entry: &Entry) -> Result<(), String> {
        let index = self.newest(to)?;
        let (before, replies) = (self.ignored(), self.replies.len());
        let query = self.outstanding.remove(index);
        let sender = sender.map_or(Ok(query.server), setup::server_address)?;
        self.send(&query, sender, entry)?;
        self.outstanding.insert(index, query);
        self.pump()?;
        if self.replies.len() != replies {
            return Err("a client got an answer from a reply that had to be ignored".into());
        }
        match self.ignored() - before {
            1 => Ok(()),
            count => Err(format!("a reply that had to be ignored was counted as such {count} times")),
        }
    }

    /// The newest outstanding query, of those to `address` where one is given.
    fn newest(&self, address: Option<&str>) -> Result<usize, String> {
        let address = address.map(setup::server_address).transpose()?;
        let fits = |out: &Outstanding| address.is_none_or(|address| address.ip() == out.server.ip());
        let newest = self.outstanding.iter().rposition(fits);
        newest.ok_or_else(|| format!("no query is out to be answered{}", self.show_outstanding()))
    }

    /// The newest outstanding query is lost; the clock runs until the shard has given an attempt up.
    fn time_out(&mut self) -> Result<(), String> {
        let index = self.newest(None)?;
        self.outstanding.remove(index);
        let before = self.shard.counters().upstream_timeouts;
        for _ in 0..ACTIVITY_MAX {
            let deadline = self.shard.deadline().ok_or("the shard waits for no time")?;
            self.pass_until(deadline)?;
            if self.shard.counters().upstream_timeouts > before {
                return Ok(());
            }
        }
        Err("no attempt times out".into())
    }

    /// Lets time pass up to `end`, stopping at each deadline of the shard on the way.
    fn pass_until(&mut self, end: Time) -> Result<(), String> {
        for _ in 0..ACTIVITY_MAX {
            match self.shard.deadline() {
                Some(deadline) if deadline <= end => {
                    self.now = self.now.max(deadline);
                    self.shard.on_deadline(self.now);
                    self.pump()?;
                }
                _ => {
                    self.now = self.now.max(end);
                    return Ok(());
                }
            }
        }
        Err(format!("no end of deadlines up to {end:?}: {:?} is the next", self.shard.deadline()))
    }

    fn check_answer(&mut self, from: Option<&str>, entry: &Entry) -> Result<(), String> {
        let mut told = String::new();
        for (index, reply) in self.replies.iter().enumerate() {
            if from.is_some_and(|from| from.parse() != Ok(reply.client.peer.ip())) {
                continue;
            }
            let transport = if reply.client.via == Transport::Tcp { "tcp" } else { "udp" };
            match packet::mismatch(entry, &reply.view, transport, self.bar) {
                None => {
                    self.replies.remove(index);
                    return Ok(());
                }
                Some(why) => told += &format!("\n  reply to {}: {why}", reply.client.peer),
            }
        }
        match told.is_empty() {
            true => Err(format!("no reply has come{}", self.show_outstanding())),
            false => Err(format!("no reply fits:{told}")),
        }
    }

    fn check_out_query(&mut self, address: Option<&str>, entry: &Entry) -> Result<(), String> {
        let address = address.map(setup::server_address).transpose()?;
        let fits = |out: &Outstanding| {
            address.is_none_or(|address| address.ip() == out.server.ip())
                && packet::mismatch(entry, &out.view, out.via.transport(), Bar::Strict).is_none()
        };
        let found = self.outstanding.iter().position(fits);
        let index = found.ok_or_else(|| format!("no query that is out fits{}", self.show_outstanding()))?;
        if entry.adjust.iter().any(|word| word == "copy_id") {
            self.answer(index, entry)?;
        }
        Ok(())
    }

    fn check_counter(&self, name: &str, value: u64) -> Result<(), String> {
        let counted = match name {
            "resolves_in_flight" => Some(self.shard.resolves_in_flight() as u64),
            "waiters" => Some(self.shard.waiters() as u64),
            _ => self.shard.counters().each().find(|(known, ..)| *known == name).map(|(.., count)| count),
        };
        match counted {
            None => Err(format!("there is no counter `{name}`")),
            Some(counted) if counted == value => Ok(()),
            Some(counted) => Err(format!("{name} is {counted}, not {value}")),
        }
    }

    fn check_server(&self, address: &str, standing: &str) -> Result<(), String> {
        let address = setup::server_address(address)?;
        let states = self.shard.server_states();
        let state = states.iter().find(|state| state.server.address == address);
        let state = state.ok_or_else(|| format!("{address} is no server of this case"))?;
        let is = format!("{:?}", state.standing).to_ascii_lowercase();
        if is == standing { Ok(()) } else { Err(format!("{address} is {is}, not {standing}")) }
    }

    fn flush(&mut self, name: Option<&str>, subtree: bool) -> Result<(), String> {
        let name = name.map(|text| text.parse::<Name>().map_err(|why| format!("`{text}` is no name: {why}")));
        let what = match name.transpose()? {
            None => Flush::All,
            Some(name) if subtree => Flush::Subtree(name),
            Some(name) => Flush::Name(name),
        };
        let mut cursor = Some(0);
        for _ in 0..ACTIVITY_MAX {
            let Some(at) = cursor else { return Ok(()) };
            cursor = self.shard.flush_step(&what, at).1;
        }
        Err("no end of steps of a flush".into())
    }

    /// A new shard takes the place of this one, with what its cache held.
    fn restart(&mut self) -> Result<(), String> {
        let mut portions = Vec::new();
        let mut cursor = Some(0);
        while let Some(at) = cursor {
            if portions.len() == ACTIVITY_MAX {
                return Err("no end of portions of the cache".into());
            }
            let mut portion = Vec::new();
            cursor = self.shard.cache_out(self.now, at, PORTION_OCTETS, &mut portion);
            portions.push(portion);
        }
        self.shard = Shard::new(setup::images(&self.case.config)?, [43; 32]);
        self.recorded = Recorded::default();
        self.shard.on_clock(UNIX_SECONDS + self.now.as_micros() / 1_000_000);
        for portion in portions {
            self.shard.cache_in(self.now, &portion).map_err(|_| "the shard does not take what it gave out")?;
        }
        self.outstanding.clear();
        Ok(())
    }

    /// Nothing may be left over: no unchecked reply, nobody waiting, nothing in flight.
    fn end(&self) -> Result<(), String> {
        if let Some(reply) = self.replies.first() {
            return Err(format!("a reply to {} that no step checked:\n{}", reply.client.peer, reply.view));
        }
        if self.case.suite == Suite::Unbound {
            return match self.outstanding.is_empty() {
                true => Ok(()),
                false => Err(format!("queries are unanswered{}", self.show_outstanding())),
            };
        }
        if !self.asked.is_empty() || self.shard.waiters() != 0 || self.shard.resolves_in_flight() != 0 {
            let (clients, resolves) = (self.shard.waiters(), self.shard.resolves_in_flight());
            let asked = self.asked.len();
            return Err(format!(
                "{asked} clients without answer, the shard knows of {clients}, and {resolves} questions in flight{}",
                self.show_outstanding()
            ));
        }
        Ok(())
    }

    fn show_outstanding(&self) -> String {
        let show = |out: &Outstanding| format!("\n  out to {} over {}:\n{}", out.server, out.via.transport(), out.view);
        match self.outstanding.is_empty() {
            true => "; no query is out".into(),
            false => self.outstanding.iter().map(show).collect(),
        }
    }
}

/// Spells the question of a reply as its query does, where it is the same: most servers copy it.
fn copy_spelling(query: &[u8], reply: &mut [u8]) {
    const QUESTION_AT: usize = 12;
    let Some(end) = query.get(QUESTION_AT..).and_then(name::measure).map(|octets| QUESTION_AT + octets) else { return };
    if let Some(spelt) = reply.get_mut(QUESTION_AT..end).filter(|spelt| name::same(spelt, &query[QUESTION_AT..end])) {
        spelt.copy_from_slice(&query[QUESTION_AT..end]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text;

    const CONFIG: &str = "forward-zone:\n name: \".\"\n forward-addr: 192.0.2.1\nCONFIG_END\nSCENARIO_BEGIN x\n";
    const ENTRY: &str = "ENTRY_BEGIN\nMATCH rcode answer\nADJUST copy_id\nREPLY QR NOERROR\nSECTION QUESTION\n\
        a.test. IN A\nSECTION ANSWER\na.test. IN A 192.0.2.7\nENTRY_END\n";
    const ASK: &str = "STEP 1 QUERY\nENTRY_BEGIN\nREPLY RD\nSECTION QUESTION\na.test. IN A\nENTRY_END\n";

    /// What is told of the steps, in which `ENTRY` and `ASK` stand for the above.
    fn told(steps: &str) -> Result<(), String> {
        let steps = steps.replace("ENTRY\n", ENTRY).replace("ASK\n", ASK);
        let case = text::read("x.rpl", &format!("{CONFIG}{steps}SCENARIO_END\n"))?;
        run(&case, Bar::Exact)
    }

    #[test]
    fn what_holds_passes() {
        assert_eq!(told("ASK\nSTEP 2 REPLY\nENTRY\nSTEP 3 CHECK_ANSWER\nENTRY\n"), Ok(()));
    }

    #[test]
    fn what_does_not_hold_is_told() {
        for (steps, why) in [
            ("ASK\n", "x.rpl: at the end: 1 clients without answer"),
            ("ASK\nSTEP 2 REPLY\nENTRY\n", "x.rpl: at the end: a reply to 127.0.0.1:40001 that no step checked"),
            ("ASK\nSTEP 2 CHECK_ANSWER\nENTRY\n", "x.rpl:12: step 2: no reply has come"),
            ("ASK\nSTEP 2 CHECK_SILENCE\n", "x.rpl:12: step 2: silence was expected"),
            ("ASK\nSTEP 2 CHECK_COUNTER upstream_udp 2\n", "x.rpl:12: step 2: upstream_udp is 1, not 2"),
            (
                "ASK\nSTEP 2 CHECK_LOGGED zone none NOERROR\n",
                "x.rpl:12: step 2: the newest entry of the query log says ``",
            ),
            (
                "ASK\nSTEP 2 REPLY\nENTRY\nSTEP 3 CHECK_LOGGED cache none NOERROR\n",
                "x.rpl:22: step 3: the newest entry of the query log says `resolved none NOERROR 192.0.2.1:53 udp`",
            ),
            ("STEP 2 CHECK_COUNTER upstream_mail 2\n", "x.rpl:6: step 2: there is no counter `upstream_mail`"),
            ("ASK\nSTEP 2 CHECK_OUT_QUERY COUNT 0\n", "x.rpl:12: step 2: 0 queries expected"),
            ("STEP 2 CHECK_OUT_QUERY\nENTRY\n", "x.rpl:6: step 2: no query that is out fits"),
            ("ASK\nSTEP 2 LOSE\nSTEP 3 REPLY\nENTRY\n", "x.rpl:13: step 3: no query is out to be answered"),
            ("STEP 2 CHECK_SERVER 192.0.2.1 down\n", "x.rpl:6: step 2: 192.0.2.1:53 is up, not down"),
            ("STEP 2 CHECK_SERVER 192.0.2.9 up\n", "x.rpl:6: step 2: 192.0.2.9:53 is no server of this case"),
            ("STEP 2 FLUSH name a..b\n", "x.rpl:6: step 2: `a..b` is no name"),
            (
                "ASK\nSTEP 2 CHECK_OUT_QUERY\nENTRY_BEGIN\nMATCH cookie=both\nENTRY_END\n",
                "x.rpl:12: step 2: no query that is out fits",
            ),
            (
                "ASK\nSTEP 2 REPLY\nENTRY\nSTEP 3 RESTART\nSTEP 4 CHECK_COUNTER cache_reloaded 0\n",
                "x.rpl:23: step 4: cache_reloaded is 1, not 0",
            ),
            ("STEP 2 REPLY\nENTRY\n", "x.rpl:6: step 2: no query is out to be answered"),
            ("STEP 2 TIMEOUT\n", "x.rpl:6: step 2: no query is out to be answered"),
            ("ASK\nSTEP 2 ERROR\n", "x.rpl:12: step 2: only a TCP exchange can fail"),
            ("STEP 2 TIME_PASSES EVAL ${timeout}\n", "x.rpl:6: step 2: the shard waits for no time"),
            (
                "ASK\nSTEP 2 REPLY IGNORED\nENTRY\n",
                "x.rpl:12: step 2: a client got an answer from a reply that had to be ignored",
            ),
            (
                "ASK\nSTEP 2 REPLY\nENTRY_BEGIN\nSECTION QUESTION\na.test. IN A\nENTRY_END\n",
                "x.rpl:12: step 2: the shard ignored the answer of line 13",
            ),
            (
                "ASK\nSTEP 2 REPLY\nENTRY\nSTEP 3 CHECK_ANSWER\nENTRY_BEGIN\nMATCH rcode\nREPLY REFUSED\nENTRY_END\n",
                "x.rpl:22: step 3: no reply fits:\n  reply to 127.0.0.1:40001: rcode differs",
            ),
        ] {
            let told = told(steps).unwrap_err();
            assert!(told.starts_with(why), "{steps}{told}");
        }
    }

    #[test]
    fn ranges_answer_in_their_steps() {
        let entry = ENTRY.replace("rcode answer", "opcode question");
        let ranged = |from: u32, to: u32| format!("RANGE_BEGIN {from} {to}\n{entry}RANGE_END\nASK\n");
        assert_eq!(told(&(ranged(0, 1) + "STEP 2 CHECK_ANSWER\nENTRY\n")), Ok(()));
        assert_eq!(told(&(ranged(2, 2) + "STEP 2 NOTHING\nSTEP 3 CHECK_ANSWER\nENTRY\n")), Ok(()));
        assert!(told(&(ranged(2, 2) + "STEP 2 CHECK_ANSWER\nENTRY\n")).is_err());
        let elsewhere = ranged(0, 9).replacen("ENTRY_BEGIN", "ADDRESS 192.0.2.2\nENTRY_BEGIN", 1);
        assert!(told(&(elsewhere + "STEP 2 CHECK_ANSWER\nENTRY\n")).is_err());
    }
}
