//! Rows: what becomes of an entry that a core wrote, and how its parts are spelled in the data base.
//!
//! **Names** stand there in presentation format with their labels from the root on, each with its dot: `www.example.test.`
//! as `test.example.www.`, the root as the empty text. So one index finds a name and all that is below it.

use std::collections::HashMap;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ringdns_shard::telemetry::Handed;
use ringdns_shard::telemetry::log::{Asked, Chunk, Entry, Outcome, Policy};
use ringdns_shard::wire::name::{self, Name};

/// Spellings of upstreams that are remembered; beyond that they are forgotten together.
const UPSTREAMS_MAX: usize = 1_024;

/// An entry on its way into the data base.
#[derive(Clone, Debug)]
pub(super) struct Row<'a> {
    /// When the query came, in microseconds since 1970.
    pub(super) unix_micros: u64,
    pub(super) core: u16,
    /// It stands for so many queries.
    pub(super) weight: u32,
    pub(super) entry: Entry<'a>,
}

/// The entries of some chunks, in the order of their times.
pub(super) fn rows(chunks: &[Handed<Chunk>]) -> Vec<Row<'_>> {
    let mut rows = Vec::with_capacity(chunks.iter().map(|handed| handed.chunk.entries as usize).sum());
    for handed in chunks {
        rows.extend(handed.chunk.entries().map(|entry| Row {
            unix_micros: handed.unix_micros.saturating_sub((handed.now - entry.at).as_micros() as u64),
            core: handed.core as u16,
            weight: handed.chunk.sample.max(1),
            entry,
        }));
    }
    // Each core's are nearly in order: stable sorting finds that.
    rows.sort_by_key(|row| row.unix_micros);
    rows
}

impl Row<'_> {
    /// Whether a policy had the query refused or dropped.
    pub(super) fn is_blocked(&self) -> bool {
        self.entry.policy != Policy::None && matches!(self.entry.outcome, Outcome::Refused | Outcome::Dropped)
    }
}

/// How much of clients' addresses is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Masks {
    v4: u32,
    v6: u128,
}

impl Masks {
    /// So many bits of them.
    pub(super) fn new(v4_bits: u32, v6_bits: u32) -> Masks {
        let v4 = u32::MAX.checked_shl(32u32.saturating_sub(v4_bits)).unwrap_or(0);
        let v6 = u128::MAX.checked_shl(128u32.saturating_sub(v6_bits)).unwrap_or(0);
        Masks { v4, v6 }
    }

    /// What is kept of an address: 4 or 16 octets.
    pub(super) fn of(&self, address: IpAddr) -> Kept {
        match address.to_canonical() {
            IpAddr::V4(address) => Kept::V4((u32::from(address) & self.v4).to_be_bytes()),
            IpAddr::V6(address) => Kept::V6((u128::from(address) & self.v6).to_be_bytes()),
        }
    }
}

/// An address as it stands in the data base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    V4([u8; 4]),
    V6([u8; 16]),
}

impl Kept {
    pub(super) fn octets(&self) -> &[u8] {
        match self {
            Kept::V4(octets) => octets,
            Kept::V6(octets) => octets,
        }
    }
}

/// The address that these octets are.
pub(super) fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).into()),
        _ => None,
    }
}

/// Writes the path of a name in wire format; false where it is none.
pub(super) fn write_path(wire: &[u8], path: &mut String) -> bool {
    path.clear();
    if name::measure(wire) != Some(wire.len()) {
        return false;
    }
    let (mut starts, mut labels) = ([0u8; 128], 0);
    let mut at = 0;
    while wire[at] != 0 {
        starts[labels] = at as u8;
        labels += 1;
        at += usize::from(wire[at]) + 1;
    }
    for &start in starts[..labels].iter().rev() {
        let start = usize::from(start);
        let label = &wire[start + 1..start + 1 + usize::from(wire[start])];
        write_label(label, path);
    }
    true
}

/// A label as [`name::write_presentation`] spells it, with its dot.
fn write_label(label: &[u8], path: &mut String) {
    let plain = |octet: u8| matches!(octet, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    if let Some(text) = str::from_utf8(label).ok().filter(|_| label.iter().copied().all(plain)) {
        path.push_str(text);
        path.push('.');
        return;
    }
    let mut wire = [0; 65];
    wire[0] = label.len() as u8;
    wire[1..=label.len()].copy_from_slice(label);
    name::write_presentation(&wire[..label.len() + 2], path).expect("a string takes everything");
}

/// The path of a name.
pub(super) fn path(name: &Name) -> String {
    let mut path = String::new();
    assert!(write_path(name.as_wire(), &mut path), "a name is well-formed");
    path
}

/// The name of a path, in presentation format.
pub(super) fn presentation(path: &str) -> String {
    if path.is_empty() {
        return ".".to_owned();
    }
    let mut labels = Vec::new();
    let (mut begin, mut escaped) = (0, false);
    for (at, octet) in path.bytes().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'.' => {
                labels.push(&path[begin..=at]);
                begin = at + 1;
            }
            _ => (),
        }
    }
    labels.into_iter().rev().collect()
}

/// The texts of upstreams, so that each is written once.
#[derive(Debug, Default)]
pub(super) struct Upstreams(HashMap<(bool, SocketAddr), String>);

impl Upstreams {
    /// Such as `udp://192.0.2.1:53`.
    pub(super) fn text(&mut self, asked: Asked) -> &str {
        if self.0.len() >= UPSTREAMS_MAX {
            self.0.clear();
        }
        self.0.entry((asked.tcp, asked.server)).or_insert_with(|| {
            let mut text = if asked.tcp { "tcp://" } else { "udp://" }.to_owned();
            write!(text, "{}", asked.server).expect("a string takes everything");
            text
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use ringdns_shard::Time;
    use ringdns_shard::telemetry::log::Log;
    use ringdns_shard::transport::Transport;

    use super::*;

    /// A plain entry; tests say what differs.
    pub(crate) fn entry(at: u64, name: &[u8]) -> Entry<'_> {
        Entry {
            at: Time::from_micros(at),
            latency_micros: 250,
            client: "192.0.2.9:4711".parse().unwrap(),
            transport: Transport::Udp,
            name,
            qtype: 1,
            rcode: Some(0),
            reply_octets: 90,
            dnssec_ok: false,
            outcome: Outcome::Cache,
            policy: Policy::None,
            upstream: None,
        }
    }

    /// Entries as a core hands them over, a second after its clock began at `unix_micros`.
    pub(crate) fn handed(core: usize, unix_micros: u64, sample: u32, entries: &[Entry<'_>]) -> Handed<Chunk> {
        let mut log = Log::default();
        entries.iter().for_each(|entry| log.push(entry, false));
        let mut chunk = log.take().unwrap_or_default();
        chunk.sample = sample;
        Handed { core, now: Time::from_secs(1), unix_micros: unix_micros + 1_000_000, chunk }
    }

    #[test]
    fn rows_have_the_time_of_the_day_and_come_in_its_order() {
        let chunks = [
            handed(1, 5_000_000, 4, &[entry(10, b"\0"), entry(30, b"\0")]),
            handed(0, 5_000_000, 0, &[entry(20, b"\0"), entry(2_000_000, b"\0")]),
            handed(2, 0, 1, &[entry(0, b"\0")]),
        ];
        let rows = rows(&chunks);
        let seen: Vec<_> = rows.iter().map(|row| (row.unix_micros, row.core, row.weight)).collect();
        // What is younger than its chunk is as old as it.
        assert_eq!(seen, [(0, 2, 1), (5_000_010, 1, 4), (5_000_020, 0, 1), (5_000_030, 1, 4), (6_000_000, 0, 1)]);
    }

    #[test]
    fn blocked_is_what_a_policy_has_not_answered() {
        for &outcome in Outcome::ALL {
            for &policy in Policy::ALL {
                let row =
                    Row { unix_micros: 0, core: 0, weight: 1, entry: Entry { outcome, policy, ..entry(0, b"\0") } };
                let answered = !matches!(outcome.name(), "refused" | "dropped");
                assert_eq!(row.is_blocked(), policy.name() != "none" && !answered, "{outcome:?} {policy:?}");
            }
        }
    }

    #[test]
    fn as_much_of_an_address_is_kept_as_wanted() {
        let kept =
            |v4, v6, text: &str| address(Masks::new(v4, v6).of(text.parse().unwrap()).octets()).unwrap().to_string();
        assert_eq!(kept(32, 0, "192.0.2.77"), "192.0.2.77");
        assert_eq!(kept(24, 0, "192.0.2.77"), "192.0.2.0");
        assert_eq!(kept(0, 128, "192.0.2.77"), "0.0.0.0");
        assert_eq!(kept(24, 0, "::ffff:192.0.2.77"), "192.0.2.0");
        assert_eq!(kept(0, 128, "2001:db8::77"), "2001:db8::77");
        assert_eq!(kept(0, 48, "2001:db8:1:2::77"), "2001:db8:1::");
        assert_eq!(kept(32, 0, "2001:db8::77"), "::");
        assert_eq!((address(b""), address(&[0; 5])), (None, None));
    }

    #[test]
    fn a_path_begins_at_the_root() {
        let of = |text: &str| path(&text.parse().unwrap());
        assert_eq!(of("www.example.test"), "test.example.www.");
        assert_eq!((of("."), presentation("")), (String::new(), ".".to_owned()));
        assert_eq!(of(r"a\.b\032c.example.test"), r"test.example.a\.b\032c.");
        assert_eq!(presentation(r"test.example.a\.b\032c."), r"a\.b\032c.example.test.");
        let mut path = "left".to_owned();
        for wire in [&b""[..], b"\x03ww", b"\0\0", &[64; 70]] {
            assert!(!write_path(wire, &mut path) && path.is_empty());
        }
    }

    #[test]
    fn upstreams_are_spelled_and_forgotten() {
        let mut upstreams = Upstreams::default();
        let asked = |port| Asked { tcp: port % 2 == 1, server: format!("[2001:db8::1]:{port}").parse().unwrap() };
        assert_eq!(upstreams.text(asked(53)), "tcp://[2001:db8::1]:53");
        assert_eq!(upstreams.text(asked(54)), "udp://[2001:db8::1]:54");
        (100..5_000).for_each(|port| assert!(upstreams.text(asked(port)).ends_with(&port.to_string())));
        assert!(upstreams.0.len() <= UPSTREAMS_MAX);
    }

    proptest! {
        #[test]
        fn every_name_comes_back_and_lies_below_its_ancestors(
            labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..10),
            cut in 0usize..10,
        ) {
            let wire = |labels: &[Vec<u8>]| {
                let mut wire: Vec<u8> = labels.iter().flat_map(|l| [&[l.len() as u8], &l[..]].concat()).collect();
                wire.push(0);
                wire
            };
            let name = Name::from_wire(&wire(&labels)).unwrap();
            let ancestor = Name::from_wire(&wire(&labels[cut.min(labels.len())..])).unwrap();
            prop_assert_eq!(presentation(&path(&name)), name.to_string());
            prop_assert!(path(&name).starts_with(&path(&ancestor)));
        }
    }
}
