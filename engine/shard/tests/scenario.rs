//! Scenario tests: the shard in virtual time, driven by the files of `tests/scenarios/`.
//!
//! A file is one case in the replay format that Unbound's testbound, Deckard and stelline share. `RINGDNS_SCENARIO=word`
//! runs the files whose names hold the word. The public suites come in the same model from JSON lines: `RINGDNS_RPL`
//! names the folder or one file of them; without it they are looked for beside the checkout.
//!
//! ```text
//! server:                                   ; settings, then zones, then CONFIG_END
//!     access-control: 127.0.0.0/8 allow     ; none: loopback and private networks
//!     local-zone: "x.test." refuse          ; a route to nowhere
//!     cache-min-ttl: / cache-max-ttl: / cache-max-negative-ttl: 60
//!     identity: "…"  version: "…"  num-queries-per-thread: 2  waiters-per-name: 2
//!     cache-octets: 20000  cache-fail-ttl: 5  serve-expired-ttl: 3600  serve-expired-client-timeout: 1800
//!     prefetch: yes  zone-queries: 2  zone-ratelimit: 2  ip-ratelimit: "24 2 drop"  cookie-secret: "…"
//! forward-zone:                             ; two of one name: the second is tried after the first
//!     name: "."  forward-addr: 192.0.2.1@5353  forward-tcp-upstream: yes
//!     strategy: fallback|uniform|minload|parallel|balanced  kind: resolver|authoritative  timeout: 2
//! ZONE_BEGIN example.test.                  ; a master file, up to ZONE_END
//! SCENARIO_BEGIN title … SCENARIO_END
//! ```
//! A setting stands on a line of its own. `RANGE_BEGIN from to … RANGE_END` holds `ADDRESS` lines and entries: queries
//! of the shard that go out in these steps to these servers are answered by the first entry that fits.
//!
//! | step | does |
//! |---|---|
//! | `QUERY [ADDRESS client]` | asks; `MATCH TCP`: over TCP |
//! | `CHECK_ANSWER [ADDRESS client]` | takes the first waiting reply that fits; there must be one |
//! | `CHECK_OUT_QUERY [ADDRESS server]` | a query that is out must fit; `ADJUST copy_id` answers it from the entry |
//! | `REPLY [ADDRESS server]` | answers the newest query that is out; the shard must take the answer |
//! | `TIMEOUT` | loses the newest query; time runs until the shard gives an attempt up |
//! | `ERROR` | the newest query went over TCP and its connection fails |
//! | `TIME_PASSES ELAPSE seconds` | time passes, deadlines on the way included; `EVAL ${timeout}`: up to the next one |
//! | `TRAFFIC`, `NOTHING` | nothing more than after every step: actions are done, ranges answer |
//!
//! Ours alone, beside the options named above:
//!
//! | word | means |
//! |---|---|
//! | step `CHECK_OUT_QUERY COUNT n` | exactly so many queries are out |
//! | step `CHECK_SILENCE` | the last `QUERY` got no reply and never will |
//! | step `CHECK_COUNTER name n` | a counter of the shard, or `waiters`, or `resolves_in_flight` |
//! | step `CHECK_LOGGED outcome policy rcode [server udp\|tcp]` | what the newest entry of the query log says; rcode `none`: no reply |
//! | step `REPLY IGNORED [ADDRESS server \| FROM sender]` | a reply that the shard must ignore and count once; the query stays out |
//! | step `CHECK_SERVER address up\|lossy\|down` | what the shard thinks of a server |
//! | step `FLUSH all`, `FLUSH name\|subtree name` | the cache forgets |
//! | step `LOSE` | all queries that are out are lost |
//! | step `RESTART` | a new shard takes over what the cache holds, and nothing else |
//! | `MATCH cookie=none\|client\|both` | the cookie has these parts |
//! | `ADJUST cookie`, `other_cookie` | the reply, which has an OPT record, has the query's cookie and the server's; another |
//! | `ADJUST own_case` | the reply spells the question as the entry does; otherwise as the query does |
//! | `MATCH ownercase`, `order` | spelling of the owners; order of the records |
//! | `MATCH ede=none` | no extended error (`ede=22`, `ede=any` as elsewhere) |
//! | `MATCH DO`, `AA`, … | the flag is set |
//! | `REPLY EDNS`, `SIZE=n`, `VERSION=n` | an OPT record, of this size and version; `DO` implies one |
//!
//! `MATCH all` compares opcode, rcode, flags, question, all sections and the OPT record (there, version, DO), not TTLs,
//! order or letter case. Without `copy_id` a reply has another id than the query. A case ends well when every step
//! did and no reply, client or question is left over.

#[path = "scenario/json.rs"]
mod json;
#[path = "scenario/model.rs"]
mod model;
#[path = "scenario/packet.rs"]
mod packet;
#[path = "scenario/recorded.rs"]
mod recorded;
#[path = "scenario/run.rs"]
mod run;
#[path = "scenario/setup.rs"]
mod setup;
#[path = "scenario/text.rs"]
mod text;
#[path = "scenario/words.rs"]
mod words;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use model::{Case, Entry, Event, Mode, Suite};
use packet::Bar;

#[test]
fn every_scenario_of_ours_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let wanted = std::env::var("RINGDNS_SCENARIO").unwrap_or_default();
    let entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == "rpl")).collect();
    files.sort();
    files.retain(|path| path.file_name().unwrap().to_string_lossy().contains(&wanted));
    assert!(!files.is_empty(), "no file in {} has `{wanted}` in its name", folder.display());
    let failures: Vec<String> = files.iter().filter_map(|file| scenario(file).err()).collect();
    let (failed, all) = (failures.len(), files.len());
    assert!(failures.is_empty(), "{failed} of {all} scenarios failed:\n\n{}", failures.join("\n\n"));
}

fn scenario(file: &Path) -> Result<(), String> {
    let name = file.file_name().unwrap().to_string_lossy();
    let text = std::fs::read_to_string(file).map_err(|e| format!("{name}: {e}"))?;
    let case = text::read(&name, &text)?;
    let run = std::panic::catch_unwind(|| run::run(&case, Bar::Exact));
    run.unwrap_or_else(|_| Err(format!("{name}: the shard panicked")))
}

/// The files of the public suites that are there, or a message why there are none.
fn suites() -> Vec<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance/rpl");
    let place = std::env::var_os("RINGDNS_RPL").map_or_else(beside, PathBuf::from);
    if place.is_file() {
        return vec![place];
    }
    let files: Vec<PathBuf> = ["tier1.jsonl.gz", "tier2.jsonl.gz"].iter().map(|name| place.join(name)).collect();
    let there: Vec<PathBuf> = files.into_iter().filter(|file| file.is_file()).collect();
    if there.is_empty() {
        eprintln!("skipped: no replay suites in {}; name their folder in RINGDNS_RPL", place.display());
    }
    there
}

#[test]
fn the_public_suites_fit_the_model() {
    for file in suites() {
        let cases = json::read_file(&file).unwrap();
        assert!(!cases.is_empty(), "{}", file.display());
        let mut packets = 0;
        let mut faults = Vec::new();
        for case in &cases {
            for entry in entries(case) {
                packets += 1 + entry.extra_packets.len();
                let edns = entry.edns.as_ref();
                let all = std::iter::once((&entry.packet, edns)).chain(entry.extra_packets.iter().map(|p| (p, None)));
                let read =
                    |(packet, edns)| packet::encode(0, packet, edns).and_then(|octets| packet::View::new(&octets));
                let bad = all.filter_map(|packet| read(packet).err());
                faults.extend(bad.map(|why| format!("{} line {}: {why}", case.id, entry.line)));
            }
        }
        eprintln!("{}: {} cases, {packets} messages, {} unreadable", file.display(), cases.len(), faults.len());
        // The SOA of six numbers is the one record that the conversion could not write as any parser takes it.
        faults.retain(|fault| !fault.starts_with("unbound/nsid_bogus "));
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}

fn entries(case: &Case) -> impl Iterator<Item = &Entry> {
    let steps = case.steps.iter().filter_map(|step| match &step.event {
        Event::Query { entry, .. }
        | Event::CheckAnswer { entry, .. }
        | Event::CheckOutQuery { entry, .. }
        | Event::Reply { entry, .. } => Some(&**entry),
        _ => None,
    });
    case.ranges.iter().flat_map(|range| &range.entries).chain(steps)
}

/// Runs those cases of the public suites that need nothing but forwarding, and prints what passes. It does not fail on
/// them: some expect of a forwarder that it takes answers apart and keeps RRsets, which is not what ours does.
#[test]
fn score_of_the_public_suites() {
    let mut by_tag: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    let (mut ran, mut skipped) = (0, 0);
    let cases: Vec<Case> = suites().iter().flat_map(|file| json::read_file(file).unwrap()).collect();
    for case in &cases {
        if !plain_forwarding(case) {
            skipped += 1;
            continue;
        }
        ran += 1;
        let [strict, portable] = [Bar::Strict, Bar::Portable].map(|bar| run::run(case, bar));
        for tag in &case.features {
            let row = by_tag.entry(tag).or_default();
            row[0] += 1;
            row[1] += usize::from(strict.is_ok());
            row[2] += usize::from(portable.is_ok());
        }
        for (bar, result) in [("strict", strict), ("portable", portable)] {
            eprintln!("{} {bar}: {}", case.id, result.err().unwrap_or_else(|| "passed".into()));
        }
    }
    eprintln!("{ran} cases run, {skipped} skipped: they need what is not built yet");
    for (tag, [run, strict, portable]) in by_tag {
        eprintln!("{tag:20} run {run:3}  strict {strict:3}  portable {portable:3}");
    }
}

fn plain_forwarding(case: &Case) -> bool {
    const KNOWN: [&str; 6] = ["forward", "full-sections", "out-query-steps", "raw", "time", "ttl"];
    let one_server = matches!(&case.config.forward_zones[..], [zone] if zone.addresses.len() == 1);
    case.suite == Suite::Unbound
        && case.config.mode == Mode::Forward
        && one_server
        && case.features.iter().all(|tag| KNOWN.contains(&tag.as_str()))
}
