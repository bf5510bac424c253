//! New images while the engine runs: what is cached and what is in flight survives what does not concern it.

use std::sync::Arc;
use std::time::Duration;

use ringdns_shard::guard::Acl;
use ringdns_shard::images::{Bounds, CacheSettings, Listener, Zone};
use ringdns_shard::upstream::{Kind, Pool, Protocol, Routes, Server, Strategy, Target};
use ringdns_shard::wire::name::{HashKey, Name};
use ringdns_shard::zone::{Builder, Image, Place};
use ringdns_shard::{Action, Client, Images, Outcome, Shard, Time, Transport};

const KEY: [u8; 16] = [8; 16];
const NOW: Time = Time::from_secs(1);

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// Everything goes to the server on `port`, except what is below `zones`.
fn images(port: u16, zones: &[&str]) -> Arc<Images> {
    let key = HashKey::from_seed(KEY);
    let mut routes = vec![(Name::root(), Target::Pools(vec![0]))];
    routes.extend((0..).zip(zones).map(|(i, zone)| (name(zone), Target::Zone(i))));
    let server = Server { protocol: Protocol::Udp, address: ([192, 0, 2, 1], port).into() };
    Arc::new(Images {
        listeners: vec![Listener { allow: Acl::local_and_private() }],
        routes: Arc::new(Routes::new(&key, routes)),
        zones: zones.iter().map(|zone| Zone::new(Arc::new(image(zone)))).collect(),
        pools: vec![Arc::new(Pool {
            name: "far".into(),
            servers: vec![server.into()],
            kind: Kind::Resolver,
            strategy: Strategy::Uniform,
            timeout: Duration::from_secs(2),
            spec: Box::default(),
        })],
        cache: CacheSettings {
            octets: 1 << 20,
            min_ttl: Duration::ZERO,
            max_ttl: Duration::from_secs(3600),
            negative_max_ttl: Duration::from_secs(3600),
            ..CacheSettings::PLAIN
        },
        bounds: Bounds {
            resolves: 10,
            waiters: 10,
            tcp_idle: Duration::from_secs(10),
            udp_ports: 1,
            ..Bounds::DEFAULT
        },
        ..Images::bare(key)
    })
}

fn image(apex: &str) -> Image {
    let apex = name(apex);
    let mut builder = Builder::new(apex.clone(), HashKey::from_seed(KEY));
    let soa = [apex.as_wire(), apex.as_wire(), &[0; 20]].concat();
    builder.push(apex.as_wire(), 6, 60, &soa, Place::default()).unwrap();
    builder.push(apex.as_wire(), 2, 60, apex.as_wire(), Place::default()).unwrap();
    builder.finish().unwrap()
}

struct Engine {
    shard: Shard,
    buffer: Vec<u8>,
}

impl Engine {
    fn new(images: Arc<Images>) -> Engine {
        Engine { shard: Shard::new(images, [3; 32]), buffer: vec![0; 65_535] }
    }

    fn ask(&mut self, owner: &str) -> Outcome {
        let mut request = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        request.extend(name(owner).as_wire());
        request.extend([0, 1, 0, 1]);
        let peer = ([127, 0, 0, 1], 4000).into();
        let client = Client { peer, local: None, via: Transport::Udp, listener: 0, connection: 0 };
        self.shard.on_query(NOW, &client, &request, &mut self.buffer)
    }

    /// Plays the upstream for the query that is out. Returns the port that was asked.
    fn serve(&mut self) -> u16 {
        let action = self.shard.poll_action(&mut self.buffer);
        let Some(Action::AskUdp { socket, server, .. }) = action else { panic!("{action:?}") };
        let mut reply = self.buffer[..12 + name("www.far.test").as_wire().len() + 4].to_vec();
        reply[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        reply.extend(b"\xc0\x0c\0\x01\0\x01\0\0\x0e\x10\0\x04\xc0\0\x02\x01");
        self.shard.on_reply_udp(NOW, socket, server, &reply);
        let action = self.shard.poll_action(&mut self.buffer);
        assert!(matches!(action, Some(Action::Reply { .. })), "{action:?}");
        server.port()
    }
}

#[test]
fn the_cache_stays_where_zones_come_and_go() {
    let mut engine = Engine::new(images(53, &["ours.test"]));
    assert_eq!(engine.ask("www.far.test"), Outcome::Pending);
    assert_eq!(engine.serve(), 53);
    engine.shard.on_images(NOW, images(53, &["new.test", "ours.test"]));
    assert!(matches!(engine.ask("www.far.test"), Outcome::Reply(_)));
    assert_eq!(engine.shard.counters().cache_hits, 1);
    engine.shard.on_images(NOW, images(53, &[]));
    assert!(matches!(engine.ask("www.far.test"), Outcome::Reply(_)));
}

#[test]
fn the_cache_goes_where_other_servers_are_asked() {
    let mut engine = Engine::new(images(53, &[]));
    engine.ask("www.far.test");
    engine.serve();
    engine.shard.on_images(NOW, images(54, &[]));
    assert_eq!(engine.shard.cache_figures().entries, 0);
    assert_eq!(engine.ask("www.far.test"), Outcome::Pending);
    assert_eq!(engine.serve(), 54);
}

#[test]
fn a_late_answer_of_a_former_server_is_not_found_later() {
    let mut engine = Engine::new(images(53, &[]));
    engine.ask("www.far.test");
    engine.shard.on_images(NOW, images(54, &[]));
    assert_eq!(engine.serve(), 53, "who waits gets it");
    assert_eq!(engine.ask("www.far.test"), Outcome::Pending);
    assert_eq!(engine.shard.counters().coalesced, 0);
    assert_eq!(engine.serve(), 54);
}

#[test]
fn a_question_in_flight_ends_with_the_servers_it_began_with() {
    let mut engine = Engine::new(images(53, &[]));
    assert_eq!(engine.ask("www.far.test"), Outcome::Pending);
    let old = engine.shard.on_images(NOW, images(54, &["far.test"]));
    assert_eq!(Arc::strong_count(&old), 1, "nothing in flight holds on to the old images");
    assert_eq!(engine.serve(), 53);
    assert_eq!((engine.shard.resolves_in_flight(), engine.shard.waiters()), (0, 0));
    assert!(matches!(engine.ask("www.far.test"), Outcome::Reply(_)), "it is ours now");
    assert_eq!(engine.shard.counters().zone_answers, 1);
}
