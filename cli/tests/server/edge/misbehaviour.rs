//! Servers that answer late, twice, wrongly or not at all, and those who forge answers of theirs: whoever asks gets the
//! right answer or SERVFAIL, and whoever asks again the same.

use std::net::SocketAddr;
use std::time::Duration;

use super::{IN_ORDER, configuration, last_octet};
use crate::common::dns::{EDE_NETWORK_ERROR, HEADER, SERVFAIL, Via, query, wire, with_edns};
use crate::common::server::Server;
use crate::common::upstream::{ANSWER, Asked, TRUNCATED, Upstream, address};
use crate::common::wait_until;

/// Last octets of what is true and of what must not be believed.
const TRUE: u8 = 1;
const FALSE: u8 = 66;

/// The first of these is asked first; a failure is not remembered, so that each question is asked.
fn server(upstreams: &[SocketAddr]) -> Server {
    Server::start(&format!("{}[cache]\nfailure_ttl = \"0s\"\n", configuration(".", upstreams, IN_ORDER)), &[])
}

/// The first label of the name asked for, in lower case.
fn first_label(asked: &Asked) -> String {
    asked.name().split('.').next().unwrap_or_default().to_ascii_lowercase()
}

fn says(asked: &Asked, last: u8) -> Vec<u8> {
    asked.reply(ANSWER, &[address(300, last)])
}

fn truthful() -> Upstream {
    Upstream::start(|asked| Some(says(asked, TRUE)))
}

/// Asks twice: the truth is told, and kept.
#[track_caller]
fn is_true(server: &Server, name: &str) {
    for _ in 0..2 {
        assert_eq!(last_octet(&server.answer(name, "A")), TRUE, "{name}");
    }
}

/// The truth is told about names below `zone`, until a counter has moved. On a busy machine an upstream may be so late that
/// its answer does not count: then that of another name does.
#[track_caller]
fn is_true_and_counted(server: &Server, zone: &str, counter: &str) {
    let before = server.counter(counter);
    let mut number = 0;
    wait_until(counter, || {
        number += 1;
        is_true(server, &format!("n{number}.{zone}"));
        server.counter(counter) > before
    });
}

/// A record of class IN.
fn record(owner: &str, rtype: u8, data: &[u8]) -> Vec<u8> {
    [&wire(owner)[..], &[0, rtype, 0, 1, 0, 0, 1, 44, 0, data.len() as u8], data].concat()
}

#[test]
fn answers_that_say_nothing_send_us_to_the_next_server() {
    let bad = Upstream::start(|asked| {
        let second_label = asked.name().to_ascii_lowercase().split('.').nth(1).map(str::to_owned);
        let with_authority = |record: Vec<u8>| {
            let mut reply = asked.reply(0x8100, &[]);
            reply[9] = 1;
            [reply, record].concat()
        };
        Some(match second_label.as_deref()? {
            "servfail" => asked.reply(0x8182, &[]),
            "notimp" => asked.reply(0x8184, &[]),
            "refused" => asked.reply(0x8185, &[]),
            "formerr" => [&asked.octets[..2], &[0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0]].concat(),
            "empty" => asked.reply(ANSWER, &[]),
            "upwards" => with_authority(record("test", 2, &wire("ns.test"))),
            "aside" => with_authority(record("other.example", 2, &wire("ns.other.example"))),
            "other-name" => asked.reply(ANSWER, &[record("other.test", 1, &[192, 0, 2, FALSE])]),
            "other-type" => asked.reply(ANSWER, &[record(&asked.name(), 28, &[FALSE; 16])]),
            "cut-off" => says(asked, FALSE)[..40].to_vec(),
            _ => return None,
        })
    });
    let good = truthful();
    let server = server(&[bad.address, good.address]);
    for (zone, counter) in [
        ("servfail.test", "upstream_failures{reason=rcode}"),
        ("notimp.test", "upstream_failures{reason=rcode}"),
        ("refused.test", "upstream_failures{reason=rcode}"),
        ("formerr.test", "upstream_failures{reason=rcode}"),
        ("empty.test", "upstream_failures{reason=useless}"),
        ("upwards.test", "upstream_failures{reason=useless}"),
        ("aside.test", "upstream_failures{reason=useless}"),
        ("other-name.test", "upstream_failures{reason=useless}"),
        ("other-type.test", "upstream_failures{reason=useless}"),
        ("cut-off.test", "upstream_ignored{reason=malformed}"),
        ("silent.test", "upstream_failures{reason=timeout}"),
    ] {
        is_true_and_counted(&server, zone, counter);
    }
    assert_eq!((server.counter("resolves"), server.counter("servfail{reason=upstreams}")), (0, 0));
    // Where there is no other server, nobody has an answer.
    drop(server);
    let server = self::server(&[bad.address]);
    for name in ["n.servfail.test", "n.refused.test", "n.formerr.test", "n.upwards.test", "n.other-name.test"] {
        let reply = server.ask(Via::Udp, &with_edns(query(name, "A"), 0));
        assert_eq!((reply.rcode(), reply.ede()), (SERVFAIL, Some(EDE_NETWORK_ERROR)), "{name}");
    }
    assert_eq!(server.counter("servfail{reason=upstreams}"), 5);
}

#[test]
fn what_comes_twice_or_late_changes_nothing() {
    let first = Upstream::start_late(|asked| match first_label(asked).as_str() {
        "late" => vec![(Duration::from_secs(3), says(asked, FALSE))],
        _ => vec![(Duration::ZERO, says(asked, TRUE)), (Duration::ZERO, says(asked, FALSE))],
    });
    let second = truthful();
    let server = server(&[first.address, second.address]);
    is_true(&server, "twice.test");
    server.counts("upstream_ignored{reason=unexpected}", 1);
    is_true(&server, "twice.test");
    is_true(&server, "late.test");
    server.counts("upstream_ignored{reason=unexpected}", 2);
    is_true(&server, "late.test");
}

#[test]
fn lies_before_the_answer_are_ignored() {
    let upstream = Upstream::start_late(|asked| {
        let lie = says(asked, FALSE);
        let altered = |at: usize, octet: u8| {
            let mut lie = lie.clone();
            lie[at] ^= octet;
            lie
        };
        let type_at = HEADER + wire(&asked.name()).len() + 1;
        let other_id = altered(1, 1);
        let lies = match asked.via {
            Via::Udp => {
                let garbage = [&asked.octets[..2], &[0xff; 600]].concat();
                vec![other_id, altered(13, 1), altered(type_at, 28 ^ 1), altered(2, 0x80), garbage, vec![7; 5]]
            }
            // On a connection there is nobody else: only the id is wrong.
            Via::Tcp => vec![other_id],
        };
        let truth = match (asked.via, first_label(asked).as_str()) {
            (Via::Udp, "long") => asked.reply(TRUNCATED, &[]),
            _ => says(asked, TRUE),
        };
        lies.into_iter().chain([truth]).map(|reply| (Duration::ZERO, reply)).collect()
    });
    let server = server(&[upstream.address]);
    is_true(&server, "short.test");
    for counter in [
        "upstream_ignored{reason=unexpected}",
        "upstream_ignored{reason=mismatched}",
        "upstream_ignored{reason=malformed}",
    ] {
        assert!(server.counter(counter) >= 1, "{counter}");
    }
    is_true(&server, "long.test");
    assert!(server.counter("upstream_ignored{reason=tcp_unexpected}") >= 1);
}

#[test]
fn connections_that_break_or_bring_nothing_send_us_to_the_next_server() {
    let bad = Upstream::start_late(|asked| {
        let reply = match (asked.via, first_label(asked).as_str()) {
            (Via::Udp, _) => asked.reply(TRUNCATED, &[]),
            (Via::Tcp, "closed") => return Vec::new(),
            (Via::Tcp, "garbage") => vec![0xff; 100],
            (Via::Tcp, "other") => {
                let mut other = says(asked, FALSE);
                other[13] ^= 1;
                other
            }
            (Via::Tcp, _) => asked.reply(TRUNCATED, &[]),
        };
        vec![(Duration::ZERO, reply)]
    });
    let good = truthful();
    let server = server(&[bad.address, good.address]);
    for name in ["closed.test", "garbage.test", "other.test", "cut-short-even-so.test"] {
        is_true(&server, name);
    }
    assert!(bad.count(Via::Tcp) >= 1);
    drop(server);
    let server = self::server(&[bad.address]);
    for via in [Via::Udp, Via::Tcp] {
        let reply = server.ask(via, &with_edns(query("closed.test", "A"), 0));
        assert_eq!(reply.rcode(), SERVFAIL, "over {via:?}");
        assert!(reply.ede().is_some(), "over {via:?}");
    }
    assert!(server.counter("upstream_tcp_queries{outcome=failed}") >= 2);
}

#[test]
fn letters_of_other_case_are_doubted_and_a_server_without_case_is_known_as_one() {
    let in_lower_case = |asked: &Asked, last: u8| {
        let mut reply = says(asked, last);
        let end = HEADER + wire(&asked.name()).len();
        reply[HEADER..end].make_ascii_lowercase();
        reply
    };
    // One never keeps case; of the other's answers one is forged.
    let without = Upstream::start(move |asked| Some(in_lower_case(asked, TRUE)));
    let keeps = Upstream::start(move |asked| {
        let forged = asked.via == Via::Udp && first_label(asked) == "forged-with-many-letters";
        Some(if forged { in_lower_case(asked, FALSE) } else { says(asked, TRUE) })
    });

    let server = self::server(&[without.address]);
    for name in ["first-with-many-letters.test", "second-with-many-letters.test", "third-with-many-letters.test"] {
        is_true(&server, name);
    }
    assert!(server.counter("upstream_ignored{reason=case_changed}") >= 1);
    let last = without.queries().pop().expect("it was asked");
    assert_eq!((last.via, last.name().as_str()), (Via::Udp, "third-with-many-letters.test"));
    drop(server);

    let server = self::server(&[keeps.address]);
    is_true(&server, "first-with-many-letters.test");
    is_true(&server, "forged-with-many-letters.test");
    assert!(server.counter("upstream_ignored{reason=case_changed}") >= 1);
    assert_eq!(keeps.count(Via::Tcp), 1, "the server's own word is asked for");
    is_true(&server, "last-with-many-letters.test");
    let last = keeps.queries().pop().expect("it was asked").name();
    assert_ne!(last, last.to_ascii_lowercase(), "it is asked in mixed case as before");
}

#[test]
fn a_server_without_edns_is_asked_without() {
    let upstream = Upstream::start(|asked| {
        let has_opt = asked.octets[11] != 0;
        Some(if has_opt { asked.reply(0x8181, &[]) } else { says(asked, TRUE) })
    });
    let server = server(&[upstream.address]);
    is_true(&server, "one.test");
    assert!(server.counter("upstream_failures{reason=edns}") >= 1);
    let before = upstream.count(Via::Udp);
    is_true(&server, "two.test");
    assert!(upstream.queries()[before..].iter().all(|asked| asked.octets[11] == 0), "not even tried");
}

/// What the cookie option of a query has in it, empty where there is none: the client's cookie and the server's.
fn cookie(asked: &Asked) -> Vec<u8> {
    let options = HEADER + wire(&asked.name()).len() + 4 + 11;
    match asked.octets.get(options..) {
        Some([0, 10, 0, octets, rest @ ..]) => rest[..usize::from(*octets)].to_vec(),
        _ => Vec::new(),
    }
}

/// With an OPT record that has this cookie in it.
fn with_cookie(mut reply: Vec<u8>, cookie: &[u8]) -> Vec<u8> {
    reply[11] = 1;
    let octets = cookie.len() as u8;
    reply.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, octets + 4, 0, 10, 0, octets]);
    [reply, cookie.to_vec()].concat()
}

#[test]
fn a_server_with_cookies_is_not_believed_without() {
    let upstream = Upstream::start_late(|asked| {
        let client = cookie(asked).first_chunk::<8>().map(|client| client.to_vec()).unwrap_or_default();
        let truth = with_cookie(says(asked, TRUE), &[&client[..], b"--server"].concat());
        let forged = match (asked.via, first_label(asked).as_str()) {
            (Via::Udp, "bare") => return vec![(Duration::ZERO, says(asked, FALSE))],
            (Via::Udp, "guessed") => with_cookie(says(asked, FALSE), b"guessed.--server"),
            _ => return vec![(Duration::ZERO, truth)],
        };
        vec![(Duration::ZERO, forged), (Duration::ZERO, truth)]
    });
    let server = server(&[upstream.address]);
    is_true(&server, "first.test");
    is_true(&server, "second.test");
    let last = cookie(&upstream.queries().pop().expect("it was asked"));
    assert_eq!((last.len(), &last[8..]), (16, &b"--server"[..]), "its cookie is sent back");
    is_true(&server, "guessed.test");
    assert!(server.counter("upstream_ignored{reason=cookie_forged}") >= 1);
    is_true(&server, "bare.test");
    assert!(server.counter("upstream_ignored{reason=cookie_missing}") >= 1);
    assert!(upstream.count(Via::Tcp) >= 1);
}

#[test]
fn what_was_not_asked_is_not_kept() {
    let upstream = Upstream::start(|asked| {
        let victim = || record("victim.test", 1, &[192, 0, 2, FALSE]);
        Some(match first_label(asked).as_str() {
            "www" => {
                let mut reply = asked.reply(ANSWER, &[address(300, TRUE), victim()]);
                reply[11] = 1;
                [reply, victim()].concat()
            }
            _ => says(asked, TRUE),
        })
    });
    let server = server(&[upstream.address]);
    is_true(&server, "www.test");
    assert!(server.counter("upstream_scrubbed") >= 1);
    is_true(&server, "victim.test");
    assert!(upstream.queries().iter().any(|asked| first_label(asked) == "victim"));
}
