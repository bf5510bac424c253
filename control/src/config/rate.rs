//! The key `rate`: bounds on how often the clients of one network may ask.

use ringdns_shard::guard::rate::Family;
use ringdns_shard::limits;

use super::fault::At;
use super::form::{Choice, Count, Form, List, quoted};
use super::schema::{Found, Reader};

/// How often those may ask who have the same leading bits in their address.
#[derive(Clone, Debug, PartialEq)]
pub struct Rate {
    /// Whose addresses are meant.
    pub family: Family,
    /// Leading bits of an address that make clients one.
    pub prefix: u8,
    /// Queries a second, to all cores together.
    pub qps: u32,
}

/// The form of the list of [`Rate`].
pub(super) struct RatesForm;

/// The form of one of them.
struct RateForm;

const RATES: List<RateForm> = List { of: RateForm, min: 0, max: limits::RATE_PREFIXES_MAX };
const PREFIX: Count = Count { min: 8, max: 128 };
const QPS: Count = Count { min: 1, max: 1_000_000 };
const FAMILY: Choice<Option<Family>> =
    Choice { words: &[("auto", None), ("ipv4", Some(Family::Ipv4)), ("ipv6", Some(Family::Ipv6))], later: &[] };
const IPV4_BITS: u8 = 32;

const TITLE: &str = "`rate` in [limits]";
const KEYS: [&str; 3] = ["prefix", "qps", "family"];

fn word(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "ipv4",
        Family::Ipv6 => "ipv6",
    }
}

impl Form for RatesForm {
    type Value = Vec<At<Rate>>;

    fn read(&self, reader: &mut Reader<'_>, found: Found<'_>) -> Option<Vec<At<Rate>>> {
        let rates = RATES.read(reader, found)?;
        let items = found.get_ref().as_array()?;
        let mut whole = true;
        for (at, (rate, item)) in rates.iter().zip(items.iter()).enumerate() {
            let others = rates.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, other)| other);
            for other in others.filter(|other| other.family == rate.family) {
                if let Some(why) = rate.needless_beside(other) {
                    reader.say::<()>(item, &why);
                    whole = false;
                    break;
                }
            }
        }
        whole.then_some(rates)
    }

    fn accepts(&self) -> String {
        RATES.accepts()
    }

    fn write(&self, value: &Vec<At<Rate>>) -> String {
        RATES.write(value)
    }
}

impl Rate {
    /// Why a rate that stands beside another one of its family is never reached, where that is so.
    fn needless_beside(&self, other: &Rate) -> Option<String> {
        let Rate { family, prefix, qps } = self;
        let family = word(*family);
        if other.prefix == *prefix {
            return Some(format!("{family} prefixes of {prefix} bits have two rates; remove one"));
        }
        (other.prefix < *prefix && other.qps <= *qps).then(|| {
            format!(
                "{qps} queries a second of an {family} prefix of {prefix} bits are never reached, for all of its first \
                 {} bits may ask {} only; lower the one or raise the other",
                other.prefix, other.qps
            )
        })
    }
}

impl Form for RateForm {
    type Value = Rate;

    fn read(&self, reader: &mut Reader<'_>, found: Found<'_>) -> Option<Rate> {
        let Some(table) = found.get_ref().as_table() else {
            return reader.wrong(found, &self.accepts());
        };
        reader.known_keys(table, TITLE, &KEYS, &[]);
        let heading = reader.place(found);
        let prefix = reader.key((table, heading, TITLE), "prefix", &PREFIX, None);
        let qps = reader.key((table, heading, TITLE), "qps", &QPS, None);
        let family = reader.key((table, heading, TITLE), "family", &FAMILY, Some("\"auto\""));
        let (prefix, qps, family) = (*prefix? as u8, *qps?, *family?);
        if family == Some(Family::Ipv4) && prefix > IPV4_BITS {
            return reader.say(found, &format!("an IPv4 address has {IPV4_BITS} bits, and `prefix` is {prefix}"));
        }
        let auto = if prefix <= IPV4_BITS { Family::Ipv4 } else { Family::Ipv6 };
        Some(Rate { family: family.unwrap_or(auto), prefix, qps })
    }

    fn accepts(&self) -> String {
        format!(
            "a table on one line, as {{ prefix = 24, qps = 1000 }}: `prefix` (leading bits of an address that make \
             clients one, {}), `qps` (queries a second, {}), `family` ({}; \"auto\", the default, is IPv4 up to \
             {IPV4_BITS} bits and IPv6 above)",
            PREFIX.accepts(),
            QPS.accepts(),
            FAMILY.accepts()
        )
    }

    fn write(&self, value: &Rate) -> String {
        let Rate { family, prefix, qps } = value;
        format!("{{ prefix = {prefix}, qps = {qps}, family = {} }}", quoted(word(*family)))
    }
}
