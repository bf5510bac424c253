//! SVCB and HTTPS record data (RFC 9460 §2, §7, appendix A; RFC 9461 `dohpath`; RFC 9540 `ohttp`).
//!
//! `domain` 0.12 reads these too, but knows no keys with the digit 9 or the letter z in them, and no escapes in
//! `alpn`.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use domain::base::iana::SvcParamKey;
use domain::utils::base64;

use super::field::{decimal, name_octets};
use super::fields::{Fields, Line};
use super::flaw::{Flaw, shown};
use super::lexer::Token;

const MANDATORY: u16 = 0;
const ALPN: u16 = 1;
const NO_DEFAULT_ALPN: u16 = 2;
const PORT: u16 = 3;
const IPV4_HINT: u16 = 4;
const ECH: u16 = 5;
const IPV6_HINT: u16 = 6;
const DOH_PATH: u16 = 7;
const OHTTP: u16 = 8;
/// Reserved: no parameter has it (RFC 9460 §14.3.2).
const INVALID: u16 = u16::MAX;

/// A parameter, its value in wire format, and where it was written.
struct Parameter {
    key: u16,
    value: Vec<u8>,
    token: Token,
}

/// Appends the data that the fields left in `fields` write: priority, target, parameters in any order.
pub(super) fn write(fields: &mut Fields<'_>, wire: &mut Vec<u8>) -> Result<(), Flaw> {
    let priority = fields.number(u32::from(u16::MAX))? as u16;
    wire.extend_from_slice(&priority.to_be_bytes());
    fields.name(wire)?;
    let mut parameters = Vec::new();
    while fields.peek().is_some() {
        parameters.push(parameter(fields)?);
    }
    parameters.sort_by_key(|parameter| parameter.key);
    for pair in parameters.windows(2) {
        if pair[0].key == pair[1].key {
            return Err(pair[1].token.flaw(0, "a key for the second time"));
        }
    }
    for parameter in &parameters {
        let octets = u16::try_from(parameter.value.len())
            .map_err(|_| parameter.token.flaw(0, "a value of more than 65,535 octets"))?;
        wire.extend_from_slice(&parameter.key.to_be_bytes());
        wire.extend_from_slice(&octets.to_be_bytes());
        wire.extend_from_slice(&parameter.value);
    }
    needed_keys(&parameters)
}

/// Whether `data` is SVCB record data on the wire.
pub(super) fn is_valid(data: &[u8]) -> bool {
    let Some(mut rest) = data.get(2..).and_then(|rest| rest.get(name_octets(rest)?..)) else {
        return false;
    };
    let mut last: Option<u16> = None;
    while !rest.is_empty() {
        let Some((&[k, k2, l, l2], after)) = rest.split_first_chunk::<4>() else {
            return false;
        };
        let key = u16::from_be_bytes([k, k2]);
        let Some((value, after)) = after.split_at_checked(usize::from(u16::from_be_bytes([l, l2]))) else {
            return false;
        };
        if last.is_some_and(|last| key <= last) || key == INVALID || !value_is_valid(key, value) {
            return false;
        }
        (last, rest) = (Some(key), after);
    }
    true
}

/// `key`, `key=value` or `key="value"`.
fn parameter(fields: &mut Fields<'_>) -> Result<Parameter, Flaw> {
    let (token, octets) = fields.word()?;
    let (name, value) = match octets.iter().position(|&octet| octet == b'=') {
        Some(at) => (&octets[..at], Some(at + 1)),
        None => (octets, None),
    };
    let key = key_named(name).ok_or_else(|| {
        token.flaw(0, format!("{} is no parameter: expected a key such as alpn or key65280", shown(name)))
    })?;
    let quoted = fields.peek().filter(|next| next.glued && next.quoted);
    let mut decoded = Vec::new();
    let place = match (value, quoted) {
        (Some(at), Some(_)) if at == octets.len() => fields.unescaped(&mut decoded)?,
        (_, Some(next)) => return Err(next.flaw(0, "a quote in the middle of a word: write key=\"value\"")),
        (Some(at), None) => {
            let value = Token { start: token.start + at as u32, column: token.column + at as u32, ..token };
            let tokens = [value];
            Fields::new(Line { text: fields.text(), tokens: &tokens }, &[]).unescaped(&mut decoded)?;
            value
        }
        (None, None) => token,
    };
    if fields.peek().is_some_and(|next| next.glued) {
        return Err(place.flaw_behind("two parameters without white space between them"));
    }
    let flaw = |message: String| place.flaw(0, format!("{}: {message}", shown(name)));
    // `key1=…` gives octets, whatever alpn's own way of writing is (RFC 9460 §2.1).
    let generic = name.get(..3).is_some_and(|prefix| prefix == b"key");
    let value = if generic { decoded } else { encode(key, &decoded).map_err(flaw)? };
    if !value_is_valid(key, &value) {
        return Err(flaw("the value is not what this key takes".to_owned()));
    }
    Ok(Parameter { key, value, token })
}

/// A key by its name, or as keyNNNNN; in lower case (RFC 9460 §2.1).
fn key_named(name: &[u8]) -> Option<u16> {
    if name.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let key = match name.strip_prefix(b"key") {
        Some([b'0', _, ..]) => return None,
        Some(digits) => u16::try_from(decimal(digits)?).ok()?,
        None => SvcParamKey::from_mnemonic(name)?.to_int(),
    };
    (key != INVALID).then_some(key)
}

/// The wire format of a value, from the octets that its text stands for.
fn encode(key: u16, text: &[u8]) -> Result<Vec<u8>, String> {
    let mut value = Vec::new();
    match key {
        MANDATORY => {
            let mut keys = Vec::new();
            for name in text.split(|&octet| octet == b',') {
                keys.push(key_named(name).ok_or_else(|| format!("{} is no key", shown(name)))?);
            }
            keys.sort_unstable();
            for key in keys {
                value.extend_from_slice(&key.to_be_bytes());
            }
        }
        ALPN => {
            for id in list(text)? {
                value.push(u8::try_from(id.len()).map_err(|_| "an id of more than 255 octets".to_owned())?);
                value.extend_from_slice(&id);
            }
        }
        PORT => {
            let port = decimal(text).and_then(|port| u16::try_from(port).ok());
            let port = port.ok_or_else(|| format!("{} is no number from 0 to 65535", shown(text)))?;
            value.extend_from_slice(&port.to_be_bytes());
        }
        IPV4_HINT => {
            for address in addresses::<Ipv4Addr>(text) {
                value.extend_from_slice(&address?.octets());
            }
        }
        IPV6_HINT => {
            for address in addresses::<Ipv6Addr>(text) {
                value.extend_from_slice(&address?.octets());
            }
        }
        ECH => {
            let text = str::from_utf8(text).map_err(|_| "no base 64".to_owned())?;
            value = base64::decode(text).map_err(|error| format!("no base 64: {error}"))?;
        }
        NO_DEFAULT_ALPN | OHTTP | DOH_PATH => value.extend_from_slice(text),
        key => return Err(format!("this key's own way of writing is unknown here: write key{key}=VALUE")),
    }
    Ok(value)
}

fn addresses<T: FromStr>(text: &[u8]) -> impl Iterator<Item = Result<T, String>> {
    text.split(|&octet| octet == b',').map(|address| {
        let parsed = str::from_utf8(address).ok().and_then(|address| address.parse().ok());
        parsed.ok_or_else(|| format!("{} is no address of this family", shown(address)))
    })
}

/// The items of a comma-separated list, where `\,` and `\\` stand for themselves (RFC 9460 appendix A.1).
fn list(text: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut items = vec![Vec::new()];
    let mut octets = text.iter();
    while let Some(&octet) = octets.next() {
        let item = items.last_mut().expect("the list starts with an item");
        match octet {
            b',' => items.push(Vec::new()),
            b'\\' => match octets.next() {
                Some(&octet @ (b',' | b'\\')) => item.push(octet),
                _ => return Err("a backslash in a list stands before a comma or a backslash".to_owned()),
            },
            octet => item.push(octet),
        }
    }
    Ok(items)
}

/// Whether `value` is in the key's wire format; anything will do for a key that we do not know.
fn value_is_valid(key: u16, value: &[u8]) -> bool {
    match key {
        MANDATORY => {
            let (keys, rest) = value.as_chunks::<2>();
            let ascending = keys.windows(2).all(|pair| pair[0] < pair[1]);
            !keys.is_empty() && rest.is_empty() && ascending && u16::from_be_bytes(keys[0]) != MANDATORY
        }
        ALPN => {
            let mut rest = value;
            while let Some((&octets, after)) = rest.split_first() {
                match after.get(usize::from(octets)..) {
                    Some(after) if octets > 0 => rest = after,
                    _ => return false,
                }
            }
            !value.is_empty()
        }
        NO_DEFAULT_ALPN | OHTTP => value.is_empty(),
        PORT => value.len() == 2,
        IPV4_HINT => !value.is_empty() && value.len().is_multiple_of(4),
        IPV6_HINT => !value.is_empty() && value.len().is_multiple_of(16),
        ECH => !value.is_empty(),
        DOH_PATH => !value.is_empty() && str::from_utf8(value).is_ok(),
        _ => true,
    }
}

/// Keys that others call for are among the sorted `parameters` (RFC 9460 §7.1.1, §8).
fn needed_keys(parameters: &[Parameter]) -> Result<(), Flaw> {
    let has = |key: u16| parameters.binary_search_by_key(&key, |parameter| parameter.key).is_ok();
    for parameter in parameters {
        if parameter.key == NO_DEFAULT_ALPN && !has(ALPN) {
            return Err(parameter.token.flaw(0, "no-default-alpn calls for alpn"));
        }
        if parameter.key == MANDATORY {
            let (keys, _) = parameter.value.as_chunks::<2>();
            if let Some(key) = keys.iter().map(|&key| u16::from_be_bytes(key)).find(|&key| !has(key)) {
                return Err(parameter.token.flaw(0, format!("key{key} is mandatory and missing")));
            }
        }
    }
    Ok(())
}
