//! Origins that go away and come back: NSD, stopped and started again.

use std::thread;
use std::time::{Duration, Instant};

use super::{ORIGIN, SLACK, ZONE, configuration, last_octet, origin, serves};
use crate::common::dns::{
    EDE_NO_REACHABLE_AUTHORITY, EDE_STALE_ANSWER, NOERROR, NXDOMAIN, Reply, SERVFAIL, query, receive, udp_socket,
    with_edns,
};
use crate::common::peer::{Kind, Peer};
use crate::common::server::Server;
use crate::common::wait_until;

/// Seconds that a stale answer may be kept (RFC 8767 §4).
const STALE_TTL: u32 = 30;

/// A server that is back is asked again within so long.
const RETURN: Duration = Duration::from_secs(5);

/// Between two rounds of questions.
const PAUSE: Duration = Duration::from_millis(50);

/// Answers of one origin, to be told from those of another or of later. Hot names run out after a second, and names below
/// `at-once` as they come.
fn zone(last: u8) -> String {
    let mut text = format!(
        "$ORIGIN {ZONE}.\n$TTL 1\n@ SOA ns hostmaster {last} 3600 900 604800 1\n@ NS ns\nns A 192.0.2.1\n\
         *.at-once 0 A 192.0.2.{last}\n"
    );
    for name in 0..10 {
        text += &format!("hot{name} A 192.0.2.{last}\n");
    }
    text
}

/// Asks for all hot names at once. What each gets, and after how long.
#[track_caller]
fn ask_hot(server: &Server) -> Vec<(Reply, Duration)> {
    let socket = udp_socket(server.address());
    let queries: Vec<Vec<u8>> = (0..10).map(|name| with_edns(query(&format!("hot{name}.{ZONE}"), "A"), 0)).collect();
    let began = Instant::now();
    for query in &queries {
        socket.send(query).expect("it is sent");
    }
    let mut replies: Vec<(Reply, Duration)> =
        queries.iter().map(|_| (Reply::read(receive(&socket)), began.elapsed())).collect();
    // Each of them is answered, and once.
    replies.sort_by_key(|(reply, _)| reply.question());
    let questions: Vec<String> = replies.iter().map(|(reply, _)| reply.question()).collect();
    assert_eq!(questions, (0..10).map(|name| format!("hot{name}.{ZONE} A")).collect::<Vec<_>>());
    replies
}

/// Whether all of these are the answers of before that have run out. If not, some have not run out yet; all came before
/// `bound`.
#[track_caller]
fn are_stale(replies: &[(Reply, Duration)], bound: Duration) -> bool {
    let is_stale = |(reply, took): &(Reply, Duration)| {
        assert!(*took < bound, "{} waits {took:?}", reply.question());
        assert_eq!((reply.rcode(), last_octet(reply)), (NOERROR, 1), "{}", reply.question());
        match reply.ede() {
            None => assert!(reply.ttl() <= 1, "{:?}", reply.answer()),
            ede => assert_eq!((ede, reply.ttl()), (Some(EDE_STALE_ANSWER), STALE_TTL)),
        }
        reply.ede().is_some()
    };
    replies.iter().filter(|reply| is_stale(reply)).count() == replies.len()
}

#[test]
fn hot_names_are_answered_while_their_origin_is_away() {
    let Some(mut nsd) = origin(Kind::Nsd, &zone(1)) else { return };
    let timeout = Duration::from_secs(4);
    let keys = "kind = \"authoritative\"\ntimeout = \"4s\"\n";
    // A failure would be remembered for long: it must not outlast the outage.
    let cache = "[cache]\nstale_after = \"200ms\"\nfailure_ttl = \"5m\"\n";
    let server = Server::start(&(configuration(ZONE, &[nsd.address], keys) + cache), &[]);
    for (reply, _) in ask_hot(&server) {
        assert_eq!((last_octet(&reply), reply.ede()), (1, None));
    }
    // What it will say when it is back.
    nsd.write(ZONE, &zone(2));
    nsd.stop();
    let unseen = udp_socket(server.address());
    let asked = Instant::now();
    unseen.send(&with_edns(query(&format!("unseen.{ZONE}"), "A"), 0)).expect("it is sent");
    // First those who ask wait for `stale_after`. When the origin is known to be away, they do not wait any more.
    wait_until("stale answers", || are_stale(&ask_hot(&server), timeout));
    wait_until("stale answers at once", || {
        assert!(are_stale(&ask_hot(&server), timeout));
        thread::sleep(PAUSE);
        server.counter("stale_answers{reason=down}") >= 100
    });
    let reply = Reply::read(receive(&unseen));
    assert_eq!((reply.rcode(), reply.ede()), (SERVFAIL, Some(EDE_NO_REACHABLE_AUTHORITY)));
    assert!(asked.elapsed() < timeout + SLACK, "{:?}", asked.elapsed());
    assert!(are_stale(&ask_hot(&server), timeout));
    server.counts("servfail{reason=upstreams}", 1);

    nsd.run();
    let back = Instant::now();
    while !ask_hot(&server).iter().all(|(reply, _)| last_octet(reply) == 2) {
        assert!(back.elapsed() < RETURN + SLACK, "it is back, and not asked");
        thread::sleep(PAUSE);
    }
    wait_until("the end of all questions", || server.counter("resolves") + server.counter("waiters") == 0);
    // What has failed meanwhile may be asked again.
    assert_eq!(server.answer(&format!("unseen.{ZONE}"), "A").rcode(), NXDOMAIN);
}

/// Names that go to both of two servers, however these are shared out.
fn each_answer(server: &Server) -> Vec<u8> {
    (0..40).map(|name| last_octet(&server.answer(&format!("n{name}.at-once.{ZONE}"), "A"))).collect()
}

/// Two origins of which one goes away and comes back; `has_share` tells from the answers of before and of now whether it
/// has its share again.
fn is_passed_over(strategy: &str, has_share: impl Fn(&[u8], &[u8]) -> bool) {
    let (Some(one), Some(mut other)) = (origin(Kind::Nsd, &zone(1)), origin(Kind::Nsd, &zone(2))) else { return };
    let keys = format!("{ORIGIN}strategy = \"{strategy}\"\n");
    let server = Server::start(&configuration(ZONE, &[one.address, other.address], &keys), &[]);
    let mut before = each_answer(&server);
    wait_until("both answer", || {
        // On a busy machine the other one may have answered for one that was late: not twice for the same names.
        let again = std::mem::replace(&mut before, each_answer(&server));
        has_share(&again, &before) && before.contains(&1) && before.contains(&2)
    });

    other.stop();
    let away = Instant::now();
    while away.elapsed() < Duration::from_secs(2) {
        assert_eq!(each_answer(&server), [1; 40], "{strategy}");
    }
    // Nobody waits for it any more; it is asked now and then whether it is back. On a busy machine others may be late.
    let waits = server.counter("upstream_failures{reason=timeout}");
    for _ in 0..10 {
        assert_eq!(each_answer(&server), [1; 40], "{strategy}");
    }
    let waits = server.counter("upstream_failures{reason=timeout}") - waits;
    assert!(waits < 50, "{strategy}: {waits} waits for 400 answers");

    other.run();
    serves(&other);
    came_back(&other, || has_share(&before, &each_answer(&server)));
    wait_until("the end of all questions", || server.counter("resolves") + server.counter("waiters") == 0);
}

#[track_caller]
fn came_back(other: &Peer, mut has_share: impl FnMut() -> bool) {
    let back = Instant::now();
    while !has_share() {
        assert!(back.elapsed() < RETURN + SLACK, "{} is back, and has not its share", other.address);
        thread::sleep(PAUSE);
    }
}

#[test]
fn each_name_goes_back_to_its_server() {
    is_passed_over("uniform", |before, now| before == now);
}

#[test]
fn half_of_all_go_back_to_one_of_two_servers() {
    // Of forty by chance no fewer than eight: one in ten thousand runs of a round is below that, and there is another.
    is_passed_over("balanced", |_, now| now.iter().filter(|&&last| last == 2).count() >= 8);
}
