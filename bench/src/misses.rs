//! What a question costs that the cache has no answer to: taken in, sent to a server, its reply read, kept and passed on,
//! with an older answer put out for it. In batches, as they come under load.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use ringdns_shard::upstream::Target;
use ringdns_shard::wire::name::HashKey;
use ringdns_shard::{Action, Client, Outcome, Shard, Time};

use crate::load::{client, forwarding};

/// Questions of a batch: all of them are in flight together.
const BATCH: usize = 32;
/// What a batch takes.
const PACE: Duration = Duration::from_micros(400);
/// Octets of the cache: full after some ten thousand answers, whatever the number of questions.
const CACHE_OCTETS: usize = 1 << 20;
/// Where in a request the digits stand that make its name another one.
const DIGITS: std::ops::Range<usize> = 13..21;
/// Header and question of a request.
const REQUEST: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x0900000000x\x05route\x04test\0\0\x01\0\x01";
/// An address for the name of the question, and an OPT record.
const ANSWER: &[u8] = b"\xc0\x0c\0\x01\0\x01\0\0\x0e\x10\0\x04\xc0\0\x02\x01\0\0\x29\x04\xd0\0\0\0\0\0\0";

/// An engine, and what it is asked.
pub struct Misses {
    shard: Shard,
    client: Client,
    request: [u8; REQUEST.len()],
    asked: u32,
    now: Time,
    buffer: Vec<u8>,
    /// Replies of the server that are on their way: the socket, where from, and the message.
    replies: Vec<(u8, std::net::SocketAddr, Vec<u8>)>,
}

impl Misses {
    /// An engine with one server and a small cache, which is full.
    pub fn new() -> Misses {
        let key = HashKey::from_seed(*b"one of 2^128 key");
        let routes = vec![("route.test".parse().expect("a name of ours"), Target::Pools(vec![0]))];
        let mut misses = Misses {
            shard: Shard::new(Arc::new(forwarding(key, routes, CACHE_OCTETS)), [5; 32]),
            client: client(),
            request: REQUEST.try_into().expect("its own length"),
            asked: 0,
            now: Time::from_secs(1),
            buffer: vec![0; 65_535],
            replies: Vec::new(),
        };
        misses.ask(640 * BATCH);
        let counters = misses.shard.counters();
        assert!(counters.cache_evictions > 0 && counters.cache_hits == 0, "the cache is full, and nobody asks twice");
        misses
    }

    /// Asks for so many names, rounded up to whole batches, each of them for the first time.
    pub fn ask(&mut self, queries: usize) {
        for _ in 0..queries.div_ceil(BATCH) {
            self.ask_batch();
        }
    }

    fn ask_batch(&mut self) {
        let Misses { shard, client, request, asked, now, buffer, replies } = self;
        *now = *now + PACE;
        for place in 0..BATCH {
            *asked += 1;
            let digits = (0..8).map(|digit| b'a' + (*asked >> (4 * digit) & 15) as u8);
            request[DIGITS].iter_mut().zip(digits).for_each(|(octet, digit)| *octet = digit);
            let outcome = shard.on_query(*now, client, black_box(request), buffer);
            assert_eq!(outcome, Outcome::Pending);
            let action = shard.poll_action(buffer);
            let Some(Action::AskUdp { socket, server, .. }) = action else { panic!("{action:?}") };
            if replies.len() == place {
                replies.push((socket, server, Vec::new()));
            }
            let (to, from, reply) = &mut replies[place];
            (*to, *from) = (socket, server);
            reply.clear();
            reply.extend_from_slice(&buffer[..REQUEST.len()]);
            reply[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 1]);
            reply.extend_from_slice(ANSWER);
        }
        *now = *now + PACE / 2;
        for (socket, server, reply) in replies {
            shard.on_reply_udp(*now, *socket, *server, black_box(reply));
            assert!(matches!(shard.poll_action(buffer), Some(Action::Reply { .. })));
        }
        while shard.deadline().is_some_and(|at| at <= *now) {
            shard.on_deadline(*now);
        }
        assert_eq!((shard.poll_action(buffer), shard.resolves_in_flight()), (None, 0));
        shard.on_sent(*now, *now);
    }
}

impl Default for Misses {
    fn default() -> Misses {
        Misses::new()
    }
}
