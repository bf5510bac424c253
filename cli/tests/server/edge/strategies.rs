//! Which server is asked: strategies, priorities of pools, suffixes of routes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{IN_ORDER, configuration, head, last_octet, pool, route};
use crate::common::dns::{REFUSED, Via, query, receive, udp_socket};
use crate::common::server::Server;
use crate::common::upstream::{ANSWER, Upstream, address};

/// Answers everything with an address that tells who it was, and may not be kept.
fn answering(last: u8) -> Upstream {
    answering_after(last, Duration::ZERO)
}

fn answering_after(last: u8, delay: Duration) -> Upstream {
    Upstream::start_late(move |asked| vec![(delay, asked.reply(ANSWER, &[address(0, last)]))])
}

/// Asks so often, each time for another name; how many of the answers came from server 1.
fn from_the_first(server: &Server, times: usize) -> usize {
    let answers = (0..times).map(|name| last_octet(&server.answer(&format!("n{name}.test"), "A")));
    answers.filter(|&last| last == 1).count()
}

#[test]
fn the_first_of_a_fallback_is_asked_alone() {
    let (first, second) = (answering(1), answering(2));
    let server = Server::start(&configuration(".", &[first.address, second.address], IN_ORDER), &[]);
    from_the_first(&server, 50);
    // The second is asked only where the first is late, as on a busy machine.
    let late = server.counter("upstream_failures{reason=timeout}") as usize;
    assert!(first.count(Via::Udp) >= 50 - late);
    assert!(second.count(Via::Udp) <= late, "{} of {late}", second.count(Via::Udp));
}

#[test]
fn of_servers_asked_at_once_the_first_good_answer_counts() {
    let delay = Duration::from_secs(20);
    let (slow, broken, fast) = (
        answering_after(1, delay),
        Upstream::start(|asked| Some(asked.reply(0x8182, &[]))),
        answering_after(3, Duration::from_millis(50)),
    );
    let keys = "strategy = \"parallel\"\ntimeout = \"30s\"\n";
    let server = Server::start(&configuration(".", &[slow.address, broken.address, fast.address], keys), &[]);
    let began = Instant::now();
    for name in ["a.test", "b.test", "c.test"] {
        assert_eq!(last_octet(&server.answer(name, "A")), 3);
    }
    assert!(began.elapsed() < delay, "{:?}", began.elapsed());
    assert!([slow, broken, fast].iter().all(|upstream| upstream.count(Via::Udp) >= 1), "all were asked");
    assert_eq!(server.counter("resolves"), 0, "nothing is waited for any more");
}

#[test]
fn weights_are_shares() {
    let (first, second) = (answering(1), answering(2));
    let pool = format!(
        "[[upstream]]\nname = \"up\"\nservers = [\"udp://{} weight=3\", \"udp://{}\"]\nstrategy = \"balanced\"\n\
         timeout = \"30s\"\n",
        first.address, second.address
    );
    let server = Server::start(&(head() + &pool + &route(".", &["up"])), &[]);
    // Three in four; six times the deviation of chance, and more, on either side.
    let of_first = from_the_first(&server, 400);
    assert!((240..=360).contains(&of_first), "{of_first} of 400");
}

#[test]
fn the_quick_one_has_more_to_do() {
    let (quick, slow) = (answering(1), answering_after(2, Duration::from_millis(80)));
    let keys = "strategy = \"minload\"\ntimeout = \"30s\"\n";
    let server = Server::start(&configuration(".", &[slow.address, quick.address], keys), &[]);
    // Many at once, so that the slow one is asked, too, and known.
    let socket = udp_socket(server.address());
    for name in 0..20 {
        socket.send(&query(&format!("at-once{name}.test"), "A")).expect("it is sent");
    }
    (0..20).for_each(|_| drop(receive(&socket)));
    assert!(slow.count(Via::Udp) >= 1, "{}", slow.count(Via::Udp));
    let of_quick = from_the_first(&server, 60);
    assert!(of_quick >= 45, "{of_quick} of 60");
}

#[test]
fn the_next_pool_is_asked_when_the_first_is_silent() {
    let speaks = Arc::new(AtomicBool::new(true));
    let first = Upstream::start({
        let speaks = Arc::clone(&speaks);
        move |asked| speaks.load(Ordering::SeqCst).then(|| asked.reply(ANSWER, &[address(0, 1)]))
    });
    let second = answering(2);
    let pools = [
        pool("later", &[second.address], &format!("{IN_ORDER}priority = 20\n")),
        pool("sooner", &[first.address], &format!("{IN_ORDER}priority = 10\n")),
    ];
    let server = Server::start(&(head() + &pools.concat() + &route(".", &["later", "sooner"])), &[]);
    let late = |server: &Server| server.counter("upstream_failures{reason=timeout}") as usize;
    from_the_first(&server, 20);
    assert!(second.count(Via::Udp) <= late(&server), "{} of {}", second.count(Via::Udp), late(&server));
    speaks.store(false, Ordering::SeqCst);
    assert_eq!(from_the_first(&server, 20), 0);
}

#[test]
fn the_longest_suffix_wins() {
    let (all, some) = (answering(1), answering(2));
    let routes =
        [route(".", &["all"]), route("inner.example.test", &["some"]), route("no.inner.example.test", &["refuse"])];
    let pools = [pool("all", &[all.address], IN_ORDER), pool("some", &[some.address], IN_ORDER)];
    let server = Server::start(&(head() + &pools.concat() + &routes.concat()), &[]);
    for (name, last) in [
        ("example.test", 1),
        ("inner.example.test", 2),
        ("www.Inner.example.test", 2),
        ("winner.example.test", 1),
        ("yes.inner.example.test", 2),
    ] {
        assert_eq!(last_octet(&server.answer(name, "A")), last, "{name}");
    }
    for name in ["no.inner.example.test", "www.no.inner.example.test"] {
        assert_eq!(server.answer(name, "A").rcode(), REFUSED, "{name}");
    }
}
