//! The short way of most hits: found at the first slot that its tag leads to, fresh, and written as a whole. What takes more
//! is left to [`Cache::find`] and [`AnswerRef::write`](super::AnswerRef::write), which do the same for every answer.
//!
//! It is two steps without a call, each a part of whoever calls it: as several functions it took twice the instructions.

use super::entry::{HEAD_OCTETS, HEAT_AT, Head};
use super::{Cache, Key, moment};
use crate::time::Time;
use crate::wire::edns::OPT_OCTETS;
use crate::wire::name::KeyedName;

/// How a plain reply differs from the answer it is made of: see [`Reply`](super::Reply).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plain<'a> {
    /// The client's id.
    pub(crate) id: u16,
    /// Flags to set beside those of the answer.
    pub(crate) flags: u16,
    /// Name, type and class as the client spelt them.
    pub(crate) question: &'a [u8],
    /// The flags of our OPT record, which has no options, where the client sent one.
    pub(crate) opt: Option<u16>,
    /// Octets that the client takes.
    pub(crate) limit: usize,
}

/// A plain reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Its length.
    pub(crate) octets: usize,
    /// Its response code.
    pub(crate) rcode: u16,
    /// See [`Hit::refresh`](super::Hit::refresh).
    pub(crate) refresh: bool,
}

/// A fresh answer that was found, of which nothing is counted yet.
#[derive(Debug)]
pub(crate) struct PlainHit<'c> {
    head: Head,
    /// The octets from the entry on.
    entry: &'c mut [u8],
    now: Time,
    prefetch: bool,
}

impl Cache {
    /// The fresh answer for `name` under `key`, `hash` being [`Key::hash`]. `None`: there is none, or to find it takes more
    /// than this.
    #[inline(always)]
    pub(crate) fn find_plainly(&mut self, now: Time, hash: u64, name: &KeyedName, key: Key) -> Option<PlainHit<'_>> {
        let (head, entry) = self.store.find_at_once(hash, name.as_wire(), key)?;
        let now = moment(now);
        if now >= head.expires() { None } else { Some(PlainHit { head, entry, now, prefetch: self.settings.prefetch }) }
    }
}

impl PlainHit<'_> {
    /// Writes the answer to the start of `out`. `None`: it takes more than this; nothing was counted then.
    #[inline(always)] // What the form is made of is read here, and need not be kept while the answer is looked for.
    pub(crate) fn write(self, form: Plain<'_>, out: &mut [u8]) -> Option<Written> {
        let PlainHit { head, entry, now, prefetch } = self;
        let opt_octets = if form.opt.is_some() { OPT_OCTETS } else { 0 };
        if head.message_octets() + opt_octets > form.limit.min(out.len()) {
            return None;
        }
        let age = head.age(now);
        let (heat, refresh) = head.asked(now, prefetch);
        // What is asked for often counts no further, and its line is only read.
        if heat != head.heat() {
            *entry.get_mut(HEAT_AT)? = heat.0;
        }
        let answer = head.answer_in(entry.get(HEAD_OCTETS..)?)?;
        let octets = answer.write_plainly(out, age, form)?;
        Some(Written { octets, rcode: answer.rcode(), refresh })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::*;
    use super::super::*;
    use super::*;
    use crate::wire::edns::{DNSSEC_OK, ReplyOpt};
    use crate::wire::message::flags;

    /// Both ways of a hit: what they write, and whether the answer is to be fetched anew.
    fn both(
        world: &mut World,
        name: &KeyedName,
        question: &[u8],
        opt: Option<u16>,
        limit: usize,
    ) -> [Option<Vec<u8>>; 2] {
        let hash = KEY.hash(&hash_key(), name);
        let (id, said) = (0x1234, flags::RD | flags::CD);
        let mut out = vec![0xee; 65_535];
        let plain = Plain { id, flags: said, question, opt, limit };
        let hit = world.cache.find_plainly(world.now, hash, name, KEY);
        let written = hit.and_then(|hit| hit.write(plain, &mut out));
        let plainly = written.map(|written| out[..written.octets].to_vec());
        if let Some(written) = written {
            assert_eq!(written.rcode, u16::from(out[3] & 15));
            assert!(out[written.octets..].iter().all(|&octet| octet == 0xee));
        }
        let opt = opt.map(|flags| ReplyOpt { dnssec_ok: flags == DNSSEC_OK, ..ReplyOpt::default() });
        let Found::Fresh(hit) = world.find(name, KEY) else { return [plainly, None] };
        let reply = Reply { id, flags: said, question, opt, limit, stale: false };
        let mut out = vec![0; 65_535];
        let (octets, truncated) = hit.answer.write(&mut out, hit.age, &reply);
        out.truncate(octets);
        [plainly, (!truncated).then_some(out)]
    }

    #[test]
    fn the_short_way_writes_what_the_long_one_does() {
        let mut world = World::new(SETTINGS);
        for label in [1, 2, 5, 11, 12, 13, 27, 28, 29, 60, 63] {
            let text = format!("{}.test", "n".repeat(label));
            let owner = name(&text);
            let spelt =
                question(wire(&text.to_uppercase()).as_wire()).iter().map(u8::to_ascii_uppercase).collect::<Vec<_>>();
            let spelt_out = [owner.as_wire(), &a(60)[2..]].concat();
            let address: &[u8] = &a(300);
            let records: [&[&[u8]]; 6] =
                [&[], &[address], &[&spelt_out], &[address, &spelt_out, address], &[address; 9], &[address; 70]];
            for answers in records {
                let authority: &[&[u8]] = if answers.is_empty() { &[&soa(600, 600)] } else { &[] };
                world.keep(&owner, KEY, &message(0, owner.as_wire(), [answers, authority, &[&a(900)]]));
                for (passed, opt) in [(0, None), (3, Some(0)), (1, Some(DNSSEC_OK))] {
                    world.pass(passed);
                    for limit in [512, 1232, 65_535] {
                        let [plainly, otherwise] = both(&mut world, &owner, &spelt, opt, limit);
                        let otherwise = otherwise.filter(|whole| whole[10..12] != [0, u8::from(opt.is_some())]);
                        assert_eq!(plainly, otherwise, "{text} {} {limit}", answers.len());
                    }
                }
            }
        }
    }

    #[test]
    fn what_takes_more_is_left_to_the_long_way() {
        let mut world = World::new(CacheSettings { stale: Duration::from_secs(1000), ..SETTINGS });
        let owner = world.keep_a("n.test", 60);
        let asked = question(owner.as_wire());
        let whole = both(&mut world, &owner, &asked, None, 512)[0].clone().expect("it is fresh").len();
        for (opt, opt_octets) in [(None, 0), (Some(0), 11)] {
            let fits = |world: &mut World, limit| both(world, &owner, &asked, opt, limit)[0].is_some();
            assert!(fits(&mut world, whole + opt_octets) && !fits(&mut world, whole + opt_octets - 1));
        }
        assert_eq!(both(&mut world, &name("m.test"), &question(name("m.test").as_wire()), None, 512), [None, None]);
        world.pass(60);
        assert_eq!(both(&mut world, &owner, &asked, None, 512), [None, None], "it is stale");
        let gone = name("gone.test");
        world.keep(&gone, KEY, &denial_of(&gone, 60));
        let [plainly, otherwise] = both(&mut world, &gone, &question(gone.as_wire()), None, 512);
        assert!(plainly.is_none() && otherwise.is_some(), "denials are kept under another type");
    }

    #[test]
    fn both_ways_count_alike() {
        let told = |plainly: [bool; 4]| {
            let mut world = World::new(CacheSettings { prefetch: true, ..SETTINGS });
            let name = world.keep_a("hot.test", 100);
            let asked = question(name.as_wire());
            world.pass(95);
            plainly.map(|plainly| match plainly {
                true => {
                    let hash = KEY.hash(&hash_key(), &name);
                    let form = Plain { id: 0, flags: 0, question: &asked, opt: None, limit: 512 };
                    let hit = world.cache.find_plainly(world.now, hash, &name, KEY).expect("it is fresh");
                    hit.write(form, &mut [0; 512]).expect("it is short").refresh
                }
                false => matches!(world.find(&name, KEY), Found::Fresh(Hit { refresh: true, .. })),
            })
        };
        for pattern in 0..16_u8 {
            let plainly = [0, 1, 2, 3].map(|bit| pattern >> bit & 1 == 1);
            assert_eq!(told(plainly), [false, false, true, false], "{plainly:?}");
        }
    }
}
