//! The inline table `rrl`: bounds on how often equal responses go to one network.

use ringdns_shard::limits;

use super::fault::At;
use super::form::{Count, Form, List, Net, NetForm};
use super::keys::NETWORKS_MAX;
use super::schema::{Found, Reader};

/// Response rate limiting.
#[derive(Clone, Debug, PartialEq)]
pub struct Rrl {
    /// Equal responses a second to one prefix, from all cores together; 0: there is no limit.
    pub rate: u32,
    /// Of the responses above the rate, one in so many goes out truncated instead of not at all; 0: none does.
    pub slip: u8,
    /// Leading bits of an IPv4 address that make clients one.
    pub prefix4: u8,
    /// Leading bits of an IPv6 address that make clients one.
    pub prefix6: u8,
    /// Networks without a limit.
    pub exempt: Vec<At<Net>>,
    /// Slots of the table of each core, eight octets each.
    pub entries: u32,
}

/// The form of [`Rrl`].
pub(super) struct RrlForm;

const RATE: Count = Count { min: 0, max: 1_000_000 };
const SLIP: Count = Count { min: 0, max: 10 };
const PREFIX4: Count = Count { min: 8, max: 32 };
const PREFIX6: Count = Count { min: 16, max: 128 };
const EXEMPT: List<NetForm> = List { of: NetForm, min: 0, max: NETWORKS_MAX };
const ENTRIES: Count = Count { min: 1 << 10, max: limits::CELLS_MAX as u32 };

const TITLE: &str = "`rrl` in [limits]";
const KEYS: [&str; 6] = ["rate", "slip", "prefix4", "prefix6", "exempt", "entries"];

impl Form for RrlForm {
    type Value = Rrl;

    fn read(&self, reader: &mut Reader<'_>, found: Found<'_>) -> Option<Rrl> {
        let Some(table) = found.get_ref().as_table() else {
            return reader.wrong(found, &self.accepts());
        };
        reader.known_keys(table, TITLE, &KEYS, &[]);
        let heading = reader.place(found);
        let mut count = |name, form: &Count, default| {
            reader.key((table, heading, TITLE), name, form, Some(default)).map(|count| *count)
        };
        let rate = count("rate", &RATE, "0");
        let slip = count("slip", &SLIP, "2");
        let prefix4 = count("prefix4", &PREFIX4, "24");
        let prefix6 = count("prefix6", &PREFIX6, "56");
        let entries = count("entries", &ENTRIES, "65536");
        let exempt = reader.key((table, heading, TITLE), "exempt", &EXEMPT, Some("[]"));
        Some(Rrl {
            rate: rate?,
            slip: slip? as u8,
            prefix4: prefix4? as u8,
            prefix6: prefix6? as u8,
            exempt: exempt?.to_vec(),
            entries: entries?,
        })
    }

    fn accepts(&self) -> String {
        format!(
            "a table on one line, as {{ rate = 20, slip = 2 }}: `rate` (equal responses a second, {}; 0, the \
             default, is no limit), `slip` (of the responses above the rate, one in so many goes out truncated, so \
             that a real client asks again over TCP, {}; 0 is none; default 2), `prefix4` and `prefix6` (leading bits \
             of an address that make clients one, {} and {}; default 24 and 56), `exempt` (networks without a limit, {}; \
             default []), `entries` (slots of the table of each core, eight octets each, {}; taken up to a power of \
             two; default 65536)",
            RATE.accepts(),
            SLIP.accepts(),
            PREFIX4.accepts(),
            PREFIX6.accepts(),
            EXEMPT.accepts(),
            ENTRIES.accepts()
        )
    }

    fn write(&self, value: &Rrl) -> String {
        let Rrl { rate, slip, prefix4, prefix6, exempt, entries } = value;
        let exempt = EXEMPT.write(exempt);
        format!(
            "{{ rate = {rate}, slip = {slip}, prefix4 = {prefix4}, prefix6 = {prefix6}, exempt = {exempt}, \
             entries = {entries} }}"
        )
    }
}
