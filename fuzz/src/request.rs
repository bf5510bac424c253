//! Queries made from arbitrary octets: most of them near enough to a query to come past the first check.

use arbitrary::{Arbitrary, Unstructured};
use ringdns_shard::telemetry::Counters;
use ringdns_shard::tsig::Transaction;
use ringdns_shard::wire::message::opcode;
use ringdns_shard::wire::rdata::rtype;

use crate::world;

/// Something that is seldom there, so that what comes behind it is reached.
#[derive(Clone, Debug)]
pub struct Rare<T>(pub Option<T>);

impl<T> Default for Rare<T> {
    fn default() -> Rare<T> {
        Rare(None)
    }
}

impl<'a, T: Arbitrary<'a>> Arbitrary<'a> for Rare<T> {
    fn arbitrary(input: &mut Unstructured<'a>) -> arbitrary::Result<Rare<T>> {
        let is_there = input.arbitrary::<u8>()? >= 240;
        Ok(Rare(if is_there { Some(input.arbitrary()?) } else { None }))
    }
}

/// A few octets; a slice as `arbitrary` makes it would take most of what is left of the input.
#[derive(Clone, Debug)]
pub struct Octets<'a>(pub &'a [u8]);

impl<'a> Arbitrary<'a> for Octets<'a> {
    fn arbitrary(input: &mut Unstructured<'a>) -> arbitrary::Result<Octets<'a>> {
        let length = usize::from(input.arbitrary::<u8>()?) % 72;
        Ok(Octets(input.bytes(length.min(input.len()))?))
    }
}

/// A query of which single parts may be wrong.
#[derive(Clone, Debug, Arbitrary)]
pub struct Request<'a> {
    /// Whatever octets, instead of all that follows.
    raw: Rare<Octets<'a>>,
    id: u16,
    recursion_desired: bool,
    checking_disabled: Rare<()>,
    flags: Rare<u16>,
    name: NamePick<'a>,
    /// Bit i: octet i of the name is in upper case where it is a letter.
    capitals: u64,
    qtype: TypePick,
    class: Rare<u16>,
    edns: Option<EdnsPick<'a>>,
    /// A record before the OPT, and the count that tells of it.
    other: Rare<(u8, Octets<'a>)>,
    rest: Rare<Octets<'a>>,
    /// The opcode is NOTIFY.
    notify: Rare<()>,
    /// An SOA of the name asked for with this serial: among the answers of a NOTIFY, else among the authorities. It goes
    /// where the other record would.
    soa: Rare<u8>,
    signature: Rare<SignaturePick>,
}

/// A signature, which may not hold.
#[derive(Clone, Debug, Arbitrary)]
struct SignaturePick {
    key: u8,
    /// Seconds by which the signer's clock is ahead.
    ahead: Rare<i16>,
    /// An octet of the signed message that is changed on the way, and how.
    change: Rare<(u16, u8)>,
}

/// A name of [`world::NAMES`] or [`world::FORWARDED`], or one below.
#[derive(Clone, Debug, Arbitrary)]
pub struct NamePick<'a> {
    index: u8,
    below: Rare<Octets<'a>>,
}

/// A type, likely one that matters.
#[derive(Clone, Debug, Arbitrary)]
pub enum TypePick {
    /// The type that everybody asks for.
    Address,
    /// Of those that the engine treats in a way of their own.
    Known(u8),
    /// Any.
    Any(u16),
}

#[derive(Clone, Debug, Arbitrary)]
struct EdnsPick<'a> {
    payload: u16,
    version: Rare<u8>,
    dnssec_ok: bool,
    options: Rare<Vec<(u8, Octets<'a>)>>,
    /// The client's part of a cookie, or a whole one that is valid at home.
    cookie: Rare<bool>,
    twice: Rare<()>,
}

const TYPES: [u16; 24] = [
    rtype::A,
    rtype::AAAA,
    rtype::NS,
    rtype::CNAME,
    rtype::SOA,
    rtype::MX,
    rtype::TXT,
    rtype::PTR,
    rtype::SRV,
    rtype::DNAME,
    rtype::DS,
    rtype::RRSIG,
    rtype::NSEC,
    rtype::DNSKEY,
    rtype::HTTPS,
    rtype::ANY,
    rtype::AXFR,
    rtype::IXFR,
    rtype::OPT,
    rtype::TSIG,
    rtype::MINFO,
    rtype::PX,
    rtype::NAPTR,
    0,
];

impl TypePick {
    /// The type's number.
    pub fn number(&self) -> u16 {
        match *self {
            TypePick::Address => rtype::A,
            TypePick::Known(index) => TYPES[usize::from(index) % TYPES.len()],
            TypePick::Any(number) => number,
        }
    }
}

impl NamePick<'_> {
    /// The name on the wire; it may be too long.
    pub fn wire(&self) -> Vec<u8> {
        // Every other one goes to upstreams, so that some are asked for again.
        let names = if self.index & 1 == 0 { world::NAMES } else { world::FORWARDED };
        let base = names[usize::from(self.index / 2) % names.len()];
        let labels = self.below.0.iter().flat_map(|below| below.0.chunks(63));
        let mut wire: Vec<u8> = labels.flat_map(|label| [&[label.len() as u8], label].concat()).collect();
        wire.extend(world::name(base).as_wire());
        wire
    }
}

impl Request<'_> {
    /// The octets; `unix_seconds` is the time at which they are signed.
    pub fn octets(&self, unix_seconds: u64) -> Vec<u8> {
        let mut octets = self.unsigned(unix_seconds);
        if let Rare(Some(SignaturePick { key, ahead, change })) = &self.signature
            && self.raw.0.is_none()
        {
            let keys = world::tsig_keys();
            let at = unix_seconds.saturating_add_signed(ahead.0.unwrap_or(0).into());
            Transaction::sign(&keys[usize::from(*key) % keys.len()], at, &mut octets);
            if let Rare(Some((place, bits))) = change {
                let place = usize::from(*place) % octets.len();
                octets[place] ^= bits;
            }
        }
        octets
    }

    fn unsigned(&self, unix_seconds: u64) -> Vec<u8> {
        if let Rare(Some(Octets(octets))) = &self.raw {
            return octets.to_vec();
        }
        let plain = u16::from(self.recursion_desired) << 8 | u16::from(self.checking_disabled.0.is_some()) << 4;
        let notify = if self.notify.0.is_some() { opcode::NOTIFY << 11 } else { 0 };
        let flags = self.flags.0.unwrap_or(plain | notify);
        let opts = self.edns.as_ref().map_or(0, |edns| 1 + u8::from(edns.twice.0.is_some()));
        let mut octets = [self.id.to_be_bytes(), flags.to_be_bytes(), [0, 1], [0; 2], [0; 2], [0, opts]].concat();
        let mut name = self.name.wire();
        for (i, octet) in name.iter_mut().enumerate().take(64) {
            if self.capitals >> i & 1 != 0 {
                octet.make_ascii_uppercase();
            }
        }
        octets.extend(name);
        octets.extend(self.qtype.number().to_be_bytes());
        octets.extend(self.class.0.unwrap_or(1).to_be_bytes());
        if let Rare(Some((count, Octets(record)))) = &self.other {
            octets[4 + usize::from(*count % 8)] ^= 1;
            octets.extend(*record);
        }
        if let Rare(Some(serial)) = self.soa {
            octets[if notify == 0 { 9 } else { 7 }] ^= 1;
            octets.extend([0xc0, 12, 0, 6, 0, 1, 0, 0, 0, 0, 0, 22, 0, 0, 0, 0, 0, serial]);
            octets.extend([0; 16]);
        }
        for _ in 0..opts {
            octets.extend(self.edns.as_ref().expect("an OPT was counted").octets(unix_seconds));
        }
        octets.extend(self.rest.0.iter().flat_map(|rest| rest.0));
        octets
    }
}

impl EdnsPick<'_> {
    fn octets(&self, unix_seconds: u64) -> Vec<u8> {
        let mut data = Vec::new();
        if let Rare(Some(is_whole)) = self.cookie {
            data.extend(cookie(is_whole, unix_seconds));
        }
        for (code, Octets(option)) in self.options.0.iter().flatten().take(8) {
            data.extend([0, *code % 16, (option.len() >> 8) as u8, option.len() as u8]);
            data.extend(*option);
        }
        let mut octets = vec![0, 0, 41];
        octets.extend(self.payload.to_be_bytes());
        octets.extend([0, self.version.0.unwrap_or(0), u8::from(self.dnssec_ok) << 7, 0]);
        octets.extend((data.len() as u16).to_be_bytes());
        octets.extend(data);
        octets
    }
}

/// A cookie option.
fn cookie(is_whole: bool, unix_seconds: u64) -> Vec<u8> {
    let client = [0x63; 8];
    let made = world::cookies().check(Some(&client), world::HOME.into(), unix_seconds, &mut Counters::default());
    match made.reply().filter(|_| is_whole) {
        Some(whole) => [&[0, 10, 0, whole.len() as u8], &whole[..]].concat(),
        None => [&[0, 10, 0, client.len() as u8], &client[..]].concat(),
    }
}
