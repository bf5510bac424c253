//! What the value of a key may look like: how it is read, what is said of it, how it is written.

use std::net::SocketAddr;
use std::time::Duration;

use ringdns_shard::guard::Network;
use ringdns_shard::wire::name::Name;
use toml::de::DeValue;

use super::fault::At;
use super::schema::{Found, Reader};

/// The form of a value.
pub(super) trait Form {
    /// What the program gets.
    type Value: PartialEq;

    /// Reads the value; mistakes go to the reader, and `None` comes back.
    fn read(&self, reader: &mut Reader<'_>, found: Found<'_>) -> Option<Self::Value>;

    /// What is accepted, as a phrase for messages and the reference page.
    fn accepts(&self) -> String;

    /// The value as TOML, such that reading it gives the same value again.
    fn write(&self, value: &Self::Value) -> String;
}

/// A TOML basic string.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => quoted.push_str(&format!("\\u{:04X}", control as u32)),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

fn listed<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.map(quoted).collect::<Vec<_>>().join(", ")
}

/// Printable text of bounded length.
pub(super) struct Text {
    pub(super) octets_max: usize,
}

impl Form for Text {
    type Value = String;

    fn read(&self, reader: &mut Reader<'_>, found: Found<'_>) -> Option<String> {
        match found.get_ref().as_str() {
            Some(text) if text.len() <= self.octets_max && !text.chars().any(char::is_control) => Some(text.to_owned()),
            _ => reader.wrong(found, &self.accepts()),
        }
    }

    fn accepts(&self) -> String {
        format!("a string of at most {} octets without control characters", self.octets_max)
    }

    fn write(&self, value: &String) -> String {
        quoted(value)
    }
}

/// One of a few words; `later` are words of the documented contract that this version does not have.
pub(super) struct Choice<T: 'static> {
    pub(super) words: &'static [(&'static str, T)],
    pub(super) later: &'static [&'static str],
}

impl<T: Copy + PartialEq> Form for Choice<T> {
    type Value = T;

    fn read(&self, reader: &mut Reader<'_>, found: Found<'_>) -> Option<T> {
        let word = found.get_ref().as_str();
        if let Some((_, value)) = self.words.iter().find(|(name, _)| Some(*name) == word) {
            return Some(*value);
        }
        match word {
            Some(word) if self.later.contains(&word) => reader.later(found, &quoted(word), &self.accepts()),
            _ => reader.wrong(found, &self.accepts()),
        }
    }

    fn accepts(&self) -> String {
        listed(self.words.iter().map(|(word, _)| *word))
    }

    fn write(&self, value: &T) -> String {
        let (word, _) = self.words.iter().find(|(_, of_word)| of_word == value).expect("a value comes from a word");
        quoted(word)
    }
}

/// Yes or no.
pub(super) struct Flag;

impl Form for Flag {
    type Value = bool;

    fn read(&self, reader: &mut Reader<'_>, found: Found<'_>) -> Option<bool> {
        found.get_ref().as_bool().or_else(|| reader.wrong(found, &self.accepts()))
    }

    fn accepts(&self) -> String {
        "true, false".to_owned()
    }

    fn write(&self, value: &bool) -> String {
        value.to_string()
    }
}

/// A whole number.
pub(super) struct Count {
    pub(super) min: u32,
    pub(super) max: u32,
}

fn integer(value: &DeValue<'_>) -> Option<u32> {
    let digits = value.as_integer()?;
    u32::from_str_radix(digits.as_str(), digits.radix()).ok()
}

impl Form for Count {
    type Value = u32;

    fn read(&self, reader: &mut Reader<'_>, found: Found<'_>) -> Option<u32> {
        match integer(found.get_ref()) {
            Some(count) if (self.min..=self.max).contains(&count) => Some(count),
            _ => reader.wrong(found, &self.accepts()),
        }
    }

    fn accepts(&self) -> String {
        format!("a whole number from {} to {}", self.min, self.max)
    }

    fn write(&self, value: &u32) -> String {
        value.to_string()
    }
}

/// In microseconds.
const SPAN_UNITS: [(&str, u64); 7] = [
    ("w", 604_800_000_000),
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

const OCTET_UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// `number` followed by a unit, in the smallest unit.
fn measured(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// `amount` in the largest unit that divides it.
fn in_units(amount: u64, units: &[(&str, u64)], zero: &str) -> String {
    match units.iter().find(|(_, factor)| amount.is_multiple_of(*factor)) {
        Some((unit, factor)) if amount > 0 => format!("{}{unit}", amount / factor),
        _ => zero.to_owned(),
    }
}

/// A length of time.
pub(super) struct Span {
    pub(super) min: Duration,
    pub(super) max: Duration,
    /// What it is a multiple of: a second, as for times to live, a millisecond or a microsecond.
    pub(super) step: Duration,
}

fn span_text(span: Duration) -> String {
    in_units(span.as_micros() as u64, &SPAN_UNITS, "0s")
}

impl Form for Span {
    type Value = Duration;

    fn read(&self, reader: &mut Reader<'_>, found: Found<'_>) -> Option<Duration> {
        let span = found.get_ref().as_str().and_then(|text| measured(text, &SPAN_UNITS)).map(Duration::from_micros);
        match span {
            Some(span)
                if (self.min..=self.max).contains(&span) && span.as_micros().is_multiple_of(self.step.as_micros()) =>
            {
                Some(span)
            }
            _ => reader.wrong(found, &self.accepts()),
        }
    }

    fn accepts(&self) -> String {
        let finer = match self.step {
            step if step < Duration::from_millis(1) => "us, ms, ",
            step if step < Duration::from_secs(1) => "ms, ",
            _ => "",
        };
        format!(
            "a time from {} to {} as a string: a whole number and {finer}s, m, h, d or w",
            quoted(&span_text(self.min)),
            quoted(&span_text(self.max))
        )
    }

    fn write(&self, value: &Duration) -> String {
        quoted(&span_text(*value))
    }
}

/// An amount of memory.
pub(super) struct Octets {
    pub(super) min: u64,
    pub(super) max: u64,
}

fn octets_text(octets: u64) -> String {
    in_units(octets, &OCTET_UNITS, "0B")
}

impl Form for Octets {
    type Value = u64;

    fn read(&self, reader: &mut Reader<'_>, found: Found<'_>) -> Option<u64> {
        match found.get_ref().as_str().and_then(|text| measured(text, &OCTET_UNITS)) {
            Some(octets) if (self.min..=self.max).contains(&octets) => Some(octets),
            _ => reader.wrong(found, &self.accepts()),
        }
    }

    fn accepts(&self) -> String {
        format!(
            "a size from {} to {} as a string: a whole number and B, KiB, MiB, GiB or TiB",
            quoted(&octets_text(self.min)),
            quoted(&octets_text(self.max))
        )
    }

    fn write(&self, value: &u64) -> String {
        quoted(&octets_text(*value))
    }
}

/// The CPUs that serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cores {
    /// Every CPU this process may use.
    All,
    /// So many of them, the lowest numbers first.
    Count(u32),
    /// These.
    List(Vec<u32>),
}

/// The form of [`Cores`].
pub(super) struct CoresForm;

/// CPUs that one process can serve on, and one above the highest CPU number.
const CORES_MAX: u32 = 1024;

impl Form for CoresForm {
    type Value = Cores;

    fn read(&self, reader: &mut Reader<'_>, found: Found<'_>) -> Option<Cores> {
        match found.get_ref() {
            DeValue::String(word) if word == "all" => Some(Cores::All),
            count @ DeValue::Integer(_) => match integer(count) {
                Some(count @ 1..=CORES_MAX) => Some(Cores::Count(count)),
                _ => reader.wrong(found, &self.accepts()),
            },
            DeValue::Array(_) => {
                let list = List { of: Count { min: 0, max: CORES_MAX - 1 }, min: 1, max: CORES_MAX as usize };
                Some(Cores::List(list.read(reader, found)?.iter().map(|cpu| **cpu).collect()))
            }
            _ => reader.wrong(found, &self.accepts()),
        }
    }

    fn accepts(&self) -> String {
        format!("\"all\", a count from 1 to {CORES_MAX}, or a list of CPU numbers such as [0, 2, 4]")
    }

    fn write(&self, value: &Cores) -> String {
        match value {
            Cores::All => quoted("all"),
            Cores::Count(count) => count.to_string(),
            Cores::List(list) => format!("{list:?}"),
        }
    }
}

/// An IP address with a port.
pub(super) struct Socket;

impl Form for Socket {
    type Value = SocketAddr;

    fn read(&self, reader: &mut Reader<'_>, found: Found<'_>) -> Option<SocketAddr> {
        match found.get_ref().as_str().and_then(|text| text.parse::<SocketAddr>().ok()) {
            Some(address) if !address.ip().is_multicast() => Some(address),
            _ => reader.wrong(found, &self.accepts()),
        }
    }

    fn accepts(&self) -> String {
        "an IP address with a port, as \"192.0.2.1:53\" or \"[2001:db8::1]:53\"".to_owned()
    }

    fn write(&self, value: &SocketAddr) -> String {
        quoted(&value.to_string())
    }
}

/// An IP address with a port, or nothing.
pub(super) struct OptionalSocket;

impl Form for OptionalSocket {
    type Value = Option<SocketAddr>;

    fn read(&self, reader: &mut Reader<'_>, found: Found<'_>) -> Option<Option<SocketAddr>> {
        match found.get_ref().as_str() {
            Some("") => Some(None),
            Some(_) => Socket.read(reader, found).map(Some),
            None => reader.wrong(found, &self.accepts()),
        }
    }

    fn accepts(&self) -> String {
        format!("{}, or \"\" to turn it off", Socket.accepts())
    }

    fn write(&self, value: &Option<SocketAddr>) -> String {
        quoted(&value.map(|address| address.to_string()).unwrap_or_default())
    }
}

/// A network as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Net {
    text: String,
    /// The network.
    pub network: Network,
}

/// The form of [`Net`].
pub(super) struct NetForm;

impl Form for NetForm {
    type Value = Net;

    fn read(&self, reader: &mut Reader<'_>, found: Found<'_>) -> Option<Net> {
        let Some(text) = found.get_ref().as_str() else {
            return reader.wrong(found, &self.accepts());
        };
        match text.parse() {
            Ok(network) => Some(Net { text: text.to_owned(), network }),
            Err(why) => reader.say(found, &why.to_string()),
        }
    }

    fn accepts(&self) -> String {
        "a network such as \"192.0.2.0/24\" or \"2001:db8::/32\", or an address alone".to_owned()
    }

    fn write(&self, value: &Net) -> String {
        quoted(&value.text)
    }
}

/// A domain name.
pub(super) struct NameForm;

impl Form for NameForm {
    type Value = Name;

    fn read(&self, reader: &mut Reader<'_>, found: Found<'_>) -> Option<Name> {
        let Some(text) = found.get_ref().as_str() else {
            return reader.wrong(found, &self.accepts());
        };
        match text.parse::<Name>() {
            Ok(name) => Some(name),
            Err(why) => reader
                .say(found, &format!("{} is no domain name: {}; accepted: {}", quoted(text), why.0, self.accepts())),
        }
    }

    fn accepts(&self) -> String {
        "a domain name such as \"example.com\", with or without the last dot".to_owned()
    }

    fn write(&self, value: &Name) -> String {
        quoted(&value.to_string())
    }
}

/// A domain name, or nothing.
pub(super) struct OptionalName;

impl Form for OptionalName {
    type Value = Option<Name>;

    fn read(&self, reader: &mut Reader<'_>, found: Found<'_>) -> Option<Option<Name>> {
        match found.get_ref().as_str() {
            Some("") => Some(None),
            _ => NameForm.read(reader, found).map(Some),
        }
    }

    fn accepts(&self) -> String {
        format!("{}, or \"\" for none", NameForm.accepts())
    }

    fn write(&self, value: &Option<Name>) -> String {
        quoted(&value.as_ref().map(Name::to_string).unwrap_or_default())
    }
}

/// The name of an `[[upstream]]`.
pub(super) struct PoolName;

const POOL_NAME_OCTETS_MAX: usize = 63;

impl Form for PoolName {
    type Value = String;

    fn read(&self, reader: &mut Reader<'_>, found: Found<'_>) -> Option<String> {
        match found.get_ref().as_str() {
            Some(word @ ("refuse" | "recurse")) => reader.say(
                found,
                &format!("{} has a meaning of its own in `to` of a [[route]]; choose another name", quoted(word)),
            ),
            Some(name)
                if (1..=POOL_NAME_OCTETS_MAX).contains(&name.len())
                    && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet)) =>
            {
                Some(name.to_owned())
            }
            _ => reader.wrong(found, &self.accepts()),
        }
    }

    fn accepts(&self) -> String {
        format!("a string of 1 to {POOL_NAME_OCTETS_MAX} letters, digits, `-`, `_` and `.`")
    }

    fn write(&self, value: &String) -> String {
        quoted(value)
    }
}

/// A destination of a `[[route]]`: the name of an upstream, or a word with a meaning of its own.
pub(super) struct Destination;

impl Form for Destination {
    type Value = String;

    fn read(&self, reader: &mut Reader<'_>, found: Found<'_>) -> Option<String> {
        match found.get_ref().as_str() {
            Some("recurse") => reader.later(found, "\"recurse\"", &self.accepts()),
            Some(name) => Some(name.to_owned()),
            None => reader.wrong(found, &self.accepts()),
        }
    }

    fn accepts(&self) -> String {
        "the name of an [[upstream]], or \"refuse\"".to_owned()
    }

    fn write(&self, value: &String) -> String {
        quoted(value)
    }
}

/// A list without repetitions.
pub(super) struct List<F> {
    pub(super) of: F,
    pub(super) min: usize,
    pub(super) max: usize,
}

impl<F: Form> Form for List<F> {
    type Value = Vec<At<F::Value>>;

    fn read(&self, reader: &mut Reader<'_>, found: Found<'_>) -> Option<Vec<At<F::Value>>> {
        let items = match found.get_ref().as_array() {
            Some(items) if (self.min..=self.max).contains(&items.len()) => items,
            Some(items) => {
                return reader.say(found, &format!("found {} items; accepted: {}", items.len(), self.accepts()));
            }
            None => return reader.wrong(found, &self.accepts()),
        };
        let mut values: Vec<At<F::Value>> = Vec::with_capacity(items.len());
        let mut whole = true;
        for item in items.iter() {
            match self.of.read(reader, item) {
                Some(value) if values.iter().any(|earlier| **earlier == value) => {
                    let twice = format!("{} stands in the list twice; remove one", self.of.write(&value));
                    reader.say::<()>(item, &twice);
                    whole = false;
                }
                Some(value) => values.push(reader.at(value, item)),
                None => whole = false,
            }
        }
        whole.then_some(values)
    }

    fn accepts(&self) -> String {
        format!("a list of {} to {} items, each {}", self.min, self.max, self.of.accepts())
    }

    fn write(&self, value: &Vec<At<F::Value>>) -> String {
        let items: Vec<String> = value.iter().map(|item| self.of.write(item)).collect();
        format!("[{}]", items.join(", "))
    }
}
