//! What the answers to a batch of requests will read, named before the first of them is answered: memory takes longer to
//! come than a request to be answered, and for a whole batch it comes at the same time.
//!
//! What was read of a request on the way is kept, and taken when the same octets come to [`Shard::on_query`] in their
//! turn, so that nothing is done twice. What is wrong or missing here costs time and changes no answer.

use super::Shard;
use super::plain::{Plain, Way};
use crate::cache::Key;
use crate::limits::BATCH_AHEAD_MAX;
use crate::wire::message::flags;
use crate::wire::name::KeyedName;
use crate::wire::{copy, is_same};

/// No node has this number.
pub(super) const NO_HINT: u32 = u32::MAX;

/// Octets of a request that are kept: longer ones are read again.
const KEPT_OCTETS: usize = 80;

/// What was seen of the requests of a batch, in their order.
#[derive(Debug)]
pub(super) struct Ahead {
    seen: Box<[Seen]>,
    count: usize,
    /// Whose turn it is.
    next: usize,
}

/// What was seen of a request.
#[derive(Clone, Debug)]
struct Seen {
    /// What is known of it, where it is plain.
    plain: Option<(Plain, Way)>,
    /// The number that the index has for the hash of its name, in its zone.
    hint: u32,
    /// The hash of its name, or, where it goes to upstreams, the one that its answer is cached under.
    hash: u64,
    octets: usize,
    kept: [u8; KEPT_OCTETS],
    name: Box<KeyedName>,
}

impl Default for Ahead {
    fn default() -> Ahead {
        let (hint, name) = (NO_HINT, Box::default());
        let seen = Seen { plain: None, hint, hash: 0, octets: 0, kept: [0; KEPT_OCTETS], name };
        Ahead { seen: vec![seen; BATCH_AHEAD_MAX].into(), count: 0, next: 0 }
    }
}

impl Ahead {
    /// Forgets everything: it is no longer true.
    pub(super) fn clear(&mut self) {
        self.count = 0;
    }

    /// What is known of the request whose turn it is, where that is this one. Its name takes the place of `name`.
    #[inline]
    pub(super) fn recognise(&mut self, request: &[u8], name: &mut Box<KeyedName>) -> Option<(Plain, Way, u32)> {
        if self.next >= self.count {
            return None;
        }
        let seen = self.seen.get_mut(self.next)?;
        self.next += 1;
        let (plain, way) = seen.plain?;
        if !is_same(seen.kept.get(..seen.octets)?, request) {
            return None;
        }
        std::mem::swap(name, &mut seen.name);
        // Its name is another one now.
        seen.plain = None;
        Some((plain, way, seen.hint))
    }
}

impl Shard {
    /// The rim is about to hand over these requests, one by one, to [`Shard::on_query`]. Memory that their answers will
    /// read is handed to `fetch`, which may bring it near and must do nothing else; a second walk follows what the first
    /// one has brought. Of more than [`BATCH_AHEAD_MAX`] requests the first are looked at.
    ///
    /// No answer depends on it: leaving it out costs time alone.
    pub fn look_ahead<'r>(&mut self, requests: impl Iterator<Item = &'r [u8]>, fetch: impl Fn(&[u8])) {
        if self.is_limited {
            // Every request goes the long way, which reads it itself.
            return self.ahead.clear();
        }
        let Shard { images, cache, era, ahead: Ahead { seen, count, next }, .. } = self;
        *next = 0;
        let mut looked_at = 0;
        for (seen, request) in seen.iter_mut().zip(requests) {
            looked_at += 1;
            seen.plain = None;
            if request.len() > KEPT_OCTETS {
                continue;
            }
            let Some(plain) = Plain::read(request, &images.hash_key, &mut seen.name) else { continue };
            copy(&mut seen.kept, 0, request);
            seen.octets = request.len();
            let way = images.way(&seen.name, plain.qtype);
            match way {
                Way::Zone(zone) => {
                    if let Some(image) = images.image(zone) {
                        seen.hash = seen.name.name_hash();
                        fetch(image.ahead(seen.hash));
                    }
                }
                Way::Upstream => {
                    let checking_disabled = request[3] & flags::CD as u8 != 0;
                    let Plain { qtype, dnssec_ok, .. } = plain;
                    let key = Key { qtype, dnssec_ok, checking_disabled, era: *era };
                    seen.hash = key.hash(&images.hash_key, &seen.name);
                    cache.ahead(seen.hash, &fetch);
                }
                Way::Nowhere => {}
            }
            seen.plain = Some((plain, way));
        }
        *count = looked_at;
        for seen in &mut seen[..looked_at] {
            match seen.plain {
                Some((_, Way::Zone(zone))) => {
                    let closer = images.image(zone).and_then(|image| image.closer(seen.hash));
                    seen.hint = closer.map_or(NO_HINT, |(number, _)| number);
                    if let Some((_, octets)) = closer {
                        fetch(octets);
                    }
                }
                Some((_, Way::Upstream)) => cache.closer(seen.hash, &fetch),
                Some((_, Way::Nowhere)) | None => {}
            }
        }
    }

    /// The request whose turn it is, by the last [`Shard::look_ahead`], does not come.
    #[inline]
    pub fn leave_out(&mut self) {
        self.ahead.next += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::Arc;

    use super::*;
    use crate::answer::{Client, Outcome};
    use crate::guard::Acl;
    use crate::images::{Images, Listener, Zone};
    use crate::transport::Transport;
    use crate::upstream::{Routes, Target};
    use crate::wire::name::{HashKey, Name};
    use crate::wire::rdata::rtype;
    use crate::zone::{Builder, Place};
    use crate::{Shard, Time};

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn images(last_octet: u8) -> Arc<Images> {
        let key = HashKey::from_seed([3; 16]);
        let apex = name("example.test");
        let mut builder = Builder::new(apex.clone(), key);
        let mut push = |owner: &str, rtype: u16, data: &[u8]| {
            builder.push(name(owner).as_wire(), rtype, 60, data, Place::default()).unwrap();
        };
        let server = name("ns.example.test");
        push("example.test", rtype::SOA, &[server.as_wire(), server.as_wire(), &[1; 20]].concat());
        push("example.test", rtype::NS, server.as_wire());
        push("www.example.test", rtype::A, &[192, 0, 2, last_octet]);
        push("www.example.test", rtype::TXT, b"\x03abc");
        push("alias.example.test", rtype::CNAME, name("www.example.test").as_wire());
        push("sub.example.test", rtype::NS, name("ns.sub.example.test").as_wire());
        push("ns.sub.example.test", rtype::A, &[192, 0, 2, 53]);
        Arc::new(Images {
            listeners: vec![Listener { allow: Acl::local_and_private() }],
            routes: Arc::new(Routes::new(&key, vec![(apex, Target::Zone(0))])),
            zones: vec![Zone::new(Arc::new(builder.finish().unwrap()))],
            ..Images::bare(key)
        })
    }

    fn request(owner: &[u8], rtype: u8, class: u8, opt: &[u8]) -> Vec<u8> {
        let counts = [0, 1, 0, 0, 0, 0, 0, u8::from(!opt.is_empty())];
        [&[0x12, 0x34, 1, 0][..], &counts, owner, &[0, rtype, 0, class], opt].concat()
    }

    /// Requests of all kinds, plain and otherwise.
    fn requests() -> Vec<Vec<u8>> {
        let (plain, wants_dnssec) = ([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0], [0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0]);
        let (newer, cookie) =
            ([0, 0, 41, 4, 208, 0, 1, 0, 0, 0, 0], [&plain[..9], &[0, 12, 0, 10, 0, 8], &[7; 8]].concat());
        let mut requests = vec![vec![], vec![0; 11], vec![0; 12], vec![0xff; 40]];
        let long = format!("{}example.test", "a-long-label.".repeat(8));
        for text in ["www.example.test", "alias.example.test", "x.sub.example.test", "none.example.test", "test", &long]
        {
            let lower = name(text);
            for owner in [lower.as_wire().to_vec(), lower.as_wire().to_ascii_uppercase()] {
                for opt in [&[][..], &plain, &wants_dnssec, &newer, &cookie] {
                    for rtype in [1, 16, 28, 43, 46, 41, 252, 255] {
                        requests.push(request(&owner, rtype, 1, opt));
                    }
                    requests.push(request(&owner, 16, 3, opt));
                }
            }
        }
        let whole = request(name("www.example.test").as_wire(), 1, 1, &plain);
        requests.extend((0..whole.len()).map(|octets| whole[..octets].to_vec()));
        requests.push([&whole[..], &[0]].concat());
        let with_flags = |flags: u8| [&whole[..2], &[flags], &whole[3..]].concat();
        requests.extend((0..=255).step_by(8).map(with_flags));
        requests
    }

    fn ask(shard: &mut Shard, via: Transport, peer: [u8; 4], request: &[u8]) -> Option<Vec<u8>> {
        let client = Client { peer: (peer, 4_000).into(), local: None, via, listener: 0, connection: 0 };
        let mut reply = vec![0; 65_535];
        match shard.on_query(Time::from_secs(1), &client, request, &mut reply) {
            Outcome::Reply(octets) => Some(reply[..octets].to_vec()),
            Outcome::Silence => None,
            other => panic!("{other:?}"),
        }
    }

    /// What of a batch is seen ahead.
    type Order = dyn Fn(&[Vec<u8>]) -> Vec<Vec<u8>>;

    #[test]
    fn no_answer_depends_on_what_was_seen_ahead() {
        let requests = requests();
        let replies = |order: &Order, via, peer| {
            let mut shard = Shard::new(images(1), [5; 32]);
            let mut replies = Vec::new();
            for batch in requests.chunks(50) {
                shard.look_ahead(order(batch).iter().map(Vec::as_slice), |_| ());
                replies.extend(batch.iter().map(|request| ask(&mut shard, via, peer, request)));
            }
            (replies, shard.counters().clone())
        };
        for (via, peer) in
            [(Transport::Udp, [127, 0, 0, 1]), (Transport::Tcp, [127, 0, 0, 1]), (Transport::Udp, [192, 0, 2, 9])]
        {
            let alone = replies(&|_| Vec::new(), via, peer);
            assert!(alone.0.iter().flatten().count() > 400);
            assert_eq!(replies(&<[_]>::to_vec, via, peer), alone);
            assert_eq!(replies(&|batch| batch.iter().rev().cloned().collect(), via, peer), alone);
            assert_eq!(replies(&|batch| batch[1..].to_vec(), via, peer), alone);
            assert_eq!(
                replies(&|batch| batch.iter().map(|other| other.to_ascii_lowercase()).collect(), via, peer),
                alone
            );
        }
    }

    #[test]
    fn a_batch_is_fetched_in_two_walks_and_recognised() {
        let mut shard = Shard::new(images(1), [5; 32]);
        let (www, none) = (name("www.example.test"), name("none.example.test"));
        let requests = [request(www.as_wire(), 1, 1, &[]), request(none.as_wire(), 1, 1, &[])];
        let fetched = RefCell::new(Vec::new());
        let fetch = |octets: &[u8]| fetched.borrow_mut().push(octets.to_vec());
        shard.look_ahead(requests.iter().map(Vec::as_slice), fetch);
        let fetched = fetched.into_inner();
        // A slot of the index for each, then the node of the one that is there.
        assert_eq!(fetched.iter().map(Vec::len).take(2).collect::<Vec<_>>(), [8, 8]);
        assert_eq!(fetched.len(), 3);
        assert!(fetched[2].windows(4).any(|octets| octets == [192, 0, 2, 1]));
        let mut known = Box::default();
        let (plain, way, hint) = shard.ahead.recognise(&requests[0], &mut known).unwrap();
        assert_eq!((plain.qtype, way, known.as_wire()), (1, Way::Zone(0), www.as_wire()));
        assert_ne!(hint, NO_HINT);
        assert!(shard.ahead.recognise(&requests[0], &mut known).is_none(), "another one's turn");
        assert!(shard.ahead.recognise(&requests[0], &mut known).is_none(), "nobody's turn");
    }

    #[test]
    fn what_is_left_out_loses_its_turn_alone() {
        let mut shard = Shard::new(images(1), [5; 32]);
        let [first, second] =
            ["www.example.test", "none.example.test"].map(|owner| request(name(owner).as_wire(), 1, 1, &[]));
        shard.look_ahead([&first[..], &second].into_iter(), |_| ());
        shard.leave_out();
        assert!(shard.ahead.recognise(&second, &mut Box::default()).is_some());
        shard.leave_out();
        assert!(shard.ahead.recognise(&second, &mut Box::default()).is_none());
    }

    #[test]
    fn more_than_a_batch_is_left_alone() {
        let mut shard = Shard::new(images(1), [5; 32]);
        let request = request(name("www.example.test").as_wire(), 1, 1, &[]);
        let requests = vec![&request[..]; BATCH_AHEAD_MAX + 1];
        shard.look_ahead(requests.into_iter(), |_| ());
        let mut known = Box::default();
        let recognised = (0..=BATCH_AHEAD_MAX).filter(|_| shard.ahead.recognise(&request, &mut known).is_some());
        assert_eq!(recognised.count(), BATCH_AHEAD_MAX);
    }

    #[test]
    fn new_images_make_what_was_seen_void() {
        let mut shard = Shard::new(images(1), [5; 32]);
        let request = request(name("www.example.test").as_wire(), 1, 1, &[]);
        shard.look_ahead([&request[..]].into_iter(), |_| ());
        shard.on_images(Time::from_secs(1), images(2));
        assert!(ask(&mut shard, Transport::Udp, [127, 0, 0, 1], &request).unwrap().ends_with(&[192, 0, 2, 2]));
    }
}
