//! Servers in their right mind, each with manners of its own: what they say is true and well-formed.

use arbitrary::Arbitrary;
use ringdns_shard::wire::message::{HEADER_OCTETS, Query, flags};
use ringdns_shard::wire::name::KeyedName;
use ringdns_shard::wire::rdata::rtype;

use crate::request::Rare;
use crate::{reply, world};

/// How a server behaves. Without more being said it is a plain one.
#[derive(Clone, Debug, Default, Arbitrary)]
pub struct Manner {
    /// It answers in small letters.
    folds_case: Rare<()>,
    /// It does not know EDNS.
    refuses_edns: Rare<()>,
    cookies: Rare<Cookies>,
    /// Which of [`TTLS`].
    ttl: u8,
    /// What it knows of names: see [`Says`].
    says: u8,
    /// So many records more.
    more: Rare<u8>,
    /// After so many times eight milliseconds.
    delay: Rare<u8>,
}

/// What a server does with cookies (RFC 7873).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Arbitrary)]
enum Cookies {
    Made,
    /// It insists on its own over UDP, and has another one for each of these numbers.
    Wanted(u8),
    /// Somebody else's client cookie comes back.
    Forged,
}

/// What a server says of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Data,
    NoData,
    NoSuchName { validated: bool },
}

/// Seconds; the second is the default.
const TTLS: [u32; 5] = [60, 12, 1, 0, 1_000_000];

impl Manner {
    /// How long the reply takes, in milliseconds.
    pub fn millis(&self) -> u64 {
        8 * u64::from(self.delay.0.unwrap_or(0))
    }

    /// The reply to `query`, one of the shard's.
    pub fn reply(&self, octets: &[u8], over_tcp: bool) -> Vec<u8> {
        let mut name = KeyedName::default();
        let query = reply::query(octets, &world::key(), &mut name).expect("a query of ours is well-formed");
        let opt = query.edns.is_some();
        if opt && self.refuses_edns.0.is_some() {
            return self.message(&query, 1, [0; 2], &[]);
        }
        let cookie = query.edns.as_ref().and_then(|edns| self.cookie(edns.cookie()?));
        if let Rare(Some(Cookies::Wanted(_))) = self.cookies
            && !over_tcp
            && let Some((cookie, false)) = &cookie
        {
            // BADCOOKIE is 23, in two parts (RFC 6891 §6.1.3).
            return self.message(&query, 23 & 15, [0; 2], &self.opt(23 >> 4, cookie));
        }
        let says = match (self.says % 8, query.qtype) {
            (0..=4, rtype::A | rtype::AAAA | rtype::TXT) => Says::Data,
            (0..=5, _) => Says::NoData,
            (6, _) => Says::NoSuchName { validated: false },
            _ => Says::NoSuchName { validated: true },
        };
        let (code, counts) = match says {
            Says::Data => (0, [1 + self.more(), 0]),
            Says::NoData => (0, [0, 1]),
            Says::NoSuchName { validated } => (3 | if validated { flags::AD } else { 0 }, [0, 1]),
        };
        let mut records = match says {
            Says::Data => self.data(query.qtype),
            Says::NoData | Says::NoSuchName { .. } => self.soa(&name),
        };
        if opt {
            records.extend(self.opt(0, cookie.as_ref().map_or(&[], |(cookie, _)| cookie)));
        }
        self.message(&query, code, counts, &records)
    }

    /// A message with `code` and other flags, so many answers and authorities, and an OPT record where there is more.
    fn message(&self, query: &Query<'_>, code: u16, counts: [u8; 2], records: &[u8]) -> Vec<u8> {
        let recursion = query.header.flags & flags::RD;
        let authority = if recursion == 0 { flags::AA } else { flags::RA };
        let flags = flags::QR | recursion | authority | query.header.flags & flags::CD | code;
        let opt = u8::from(!records.is_empty() && query.edns.is_some());
        let mut octets = [query.header.id.to_be_bytes(), flags.to_be_bytes()].concat();
        octets.extend([0, 1, 0, counts[0], 0, counts[1], 0, opt]);
        octets.extend(query.question);
        if self.folds_case.0.is_some() {
            // The lengths of labels are below the letters; type and class are put back.
            octets[HEADER_OCTETS..].make_ascii_lowercase();
            let type_at = octets.len() - 4;
            octets[type_at..].copy_from_slice(&query.question[query.question.len() - 4..]);
        }
        octets.extend(records);
        octets
    }

    /// What goes into the cookie option, and whether the server's part in the query was right.
    fn cookie(&self, sent: &[u8]) -> Option<(Vec<u8>, bool)> {
        let (client, server) = sent.split_first_chunk::<8>()?;
        let own = match self.cookies.0? {
            Cookies::Made => [7; 8],
            Cookies::Wanted(number) => [number; 8],
            Cookies::Forged => return Some(([&[!client[0]], &sent[1..], &[7; 8]].concat()[..16].to_vec(), false)),
        };
        Some(([&client[..], &own].concat(), server == own))
    }

    fn opt(&self, extended_rcode: u8, cookie: &[u8]) -> Vec<u8> {
        let option = if cookie.is_empty() { Vec::new() } else { [&[0, 10, 0, cookie.len() as u8], cookie].concat() };
        [&[0, 0, 41, 4, 208, extended_rcode, 0, 0, 0, 0, option.len() as u8][..], &option].concat()
    }

    fn more(&self) -> u8 {
        self.more.0.unwrap_or(0) % 90
    }

    fn ttl(&self) -> [u8; 4] {
        TTLS[usize::from(self.ttl) % TTLS.len()].to_be_bytes()
    }

    /// Records of the name asked for.
    fn data(&self, rtype: u16) -> Vec<u8> {
        let data: &[u8] = match rtype {
            rtype::A => &[192, 0, 2, 99],
            rtype::AAAA => &[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 99],
            _ => b"\x04text",
        };
        let head = [&[0xc0, HEADER_OCTETS as u8][..], &rtype.to_be_bytes(), &[0, 1], &self.ttl()].concat();
        let record = [&head[..], &[0, data.len() as u8], data].concat();
        // No two are the same.
        let others = (0..self.more()).flat_map(|number| [&record[..record.len() - 1], &[number]].concat());
        record.iter().copied().chain(others).collect()
    }

    /// The SOA record of the name's last two labels.
    fn soa(&self, name: &KeyedName) -> Vec<u8> {
        let apex = name.suffix(name.labels().min(2));
        let apex_at = (HEADER_OCTETS + name.as_wire().len() - apex.len()) as u16;
        let mut record = [0xc000 | apex_at, rtype::SOA, 1].map(u16::to_be_bytes).concat();
        record.extend(self.ttl());
        // Two names, the root, four numbers, and how long there is no such thing.
        record.extend([0, 22]);
        record.extend([0; 18]);
        record.extend(self.ttl());
        record
    }
}
