use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::Ordering;

use super::testing::{Asked, Resolver, address, record};
use super::*;

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

fn name() -> Name {
    "dns.example.test".parse().unwrap()
}

fn udp(address: SocketAddr) -> Server {
    Server { protocol: Protocol::Udp, address }
}

fn ip(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

/// What is found where a server answers with what `script` makes.
fn found(script: impl Fn(&Asked) -> Option<Vec<u8>> + Send + Sync + 'static) -> Found {
    let resolver = Resolver::start(script);
    run(look_up(&name(), &Whom::Servers(vec![udp(resolver.address)])))
}

#[test]
fn both_families_are_found() {
    let six: IpAddr = "2001:db8::1".parse().unwrap();
    let [v4, v6] = found(move |asked| Some(asked.with(&[ip(9), ip(8), ip(9), six], 77)));
    let ttl = Duration::from_secs(77);
    assert_eq!(v4, Ok(Answer { addresses: vec![ip(8), ip(9)], ttl }));
    assert_eq!(v6, Ok(Answer { addresses: vec![six], ttl }));
}

#[test]
fn aliases_are_followed_and_the_shortest_ttl_counts() {
    let [v4, _] = found(|asked| {
        let alias = record(b"\xc0\x0c", 5, 10, b"\x01x\x07example\x04test\0");
        let name = b"\x01x\x07example\x04test\0";
        Some(asked.reply(0x8180, &[alias, address(name, 300, ip(1))]))
    });
    assert_eq!(v4, Ok(Answer { addresses: vec![ip(1)], ttl: Duration::from_secs(10) }));
}

#[test]
fn what_is_of_another_name_is_not_believed() {
    let [v4, _] = found(|asked| {
        let other = address(b"\x05other\x04test\0", 300, ip(66));
        Some(asked.reply(0x8180, &[address(b"\xc0\x0c", 300, ip(1)), other]))
    });
    assert_eq!(v4.map(|answer| answer.addresses), Ok(vec![ip(1)]));
    let [v4, _] = found(|asked| Some(asked.reply(0x8180, &[address(b"\x05other\x04test\0", 300, ip(66))])));
    assert!(v4.is_err_and(|why| why.contains("of no use")));
}

#[test]
fn a_truncated_answer_is_fetched_over_tcp() {
    let [v4, v6] = found(|asked| match asked.over_tcp {
        false => Some(asked.reply(0x8380, &[])),
        true => Some(asked.with(&(1..=200).map(ip).collect::<Vec<_>>(), 60)),
    });
    assert_eq!(v4.map(|answer| answer.addresses), Ok((1..=POOL_SERVERS_MAX as u8).map(ip).collect()), "as many as fit");
    assert_eq!(v6.map(|answer| answer.addresses), Ok(vec![]));
    let [v4, _] = found(|asked| Some(asked.reply(0x8380, &[])));
    assert!(v4.is_err_and(|why| why.ends_with("answers with half of it")));
}

#[test]
fn a_server_of_tcp_is_asked_over_tcp() {
    let resolver = Resolver::start(|asked| Some(asked.with(&[ip(1)], 60)));
    let server = Server { protocol: Protocol::Tcp, ..udp(resolver.address) };
    let [v4, _] = run(look_up(&name(), &Whom::Servers(vec![server])));
    assert_eq!(v4.map(|answer| answer.addresses), Ok(vec![ip(1)]));
    assert_eq!(resolver.asked.load(Ordering::SeqCst), 0, "none came over UDP");
}

#[test]
fn a_name_without_addresses_is_no_failure_and_a_failure_is() {
    for flags in [0x8180, 0x8183] {
        let [v4, v6] = found(move |asked| Some(asked.reply(flags, &[])));
        assert_eq!((v4.map(|answer| answer.addresses), v6.map(|answer| answer.addresses)), (Ok(vec![]), Ok(vec![])));
    }
    let [v4, _] = found(|asked| Some(asked.reply(0x8182, &[])));
    assert!(v4.is_err_and(|why| why.ends_with("answers with response code 2")));
}

#[test]
fn forged_replies_are_passed_over() {
    // The true one comes in answer to the second try alone.
    let count = std::sync::atomic::AtomicUsize::new(0);
    let [v4, v6] = found(move |asked| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        let mut reply = asked.with(&[ip(1), "2001:db8::1".parse().unwrap()], 60);
        match number {
            0 => reply[0] ^= 1,
            1 => reply[13] ^= 1,
            _ => return Some(reply),
        }
        Some(reply)
    });
    assert_eq!(v4.map(|answer| answer.addresses), Ok(vec![ip(1)]));
    assert_eq!(v6.map(|answer| answer.addresses.len()), Ok(1));
}

#[test]
fn no_octets_make_a_reader_panic() {
    let owner = name();
    let query = Query::new(&owner, 1);
    let asked = Asked { octets: query.octets.clone(), over_tcp: false };
    let alias = record(b"\xc0\x0c", 5, 10, b"\x01x\xc0\x10");
    let whole = asked.reply(0x8180, &[alias, address(b"\x01x\xc0\x10", 300, ip(1))]);
    assert!(query.reply(whole.clone()).is_some_and(|reply| reply.answer(&query).is_ok()));
    for at in 0..whole.len() {
        for bits in [1, 0x80, 0xc0, 0xff] {
            let mut other = whole.clone();
            other[at] ^= bits;
            for octets in [other.clone(), other[..at].to_vec()] {
                if let Some(reply) = query.reply(octets) {
                    let _ = reply.answer(&query);
                }
            }
        }
    }
}

#[test]
fn the_next_server_is_asked_where_one_is_of_no_use() {
    let broken = Resolver::start(|asked| Some(asked.reply(0x8185, &[])));
    let good = Resolver::start(|asked| Some(asked.with(&[ip(5)], 60)));
    // Nobody listens there.
    let gone = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let servers = vec![udp(gone), udp(broken.address), udp(good.address)];
    let [v4, _] = run(look_up(&name(), &Whom::Servers(servers)));
    assert_eq!(v4.map(|answer| answer.addresses), Ok(vec![ip(5)]));
    assert_eq!(broken.asked.load(Ordering::SeqCst), 2, "once a family");
}

#[test]
fn one_that_is_silent_is_given_up() {
    let [v4, v6] = found(|_| None);
    for family in [v4, v6] {
        assert!(family.is_err_and(|why| why.ends_with("does not answer")));
    }
}
