//! The key `cookie_secrets`: what DNS cookies of clients are made with.

use std::fmt;

use ringdns_shard::limits;

use super::fault::At;
use super::form::{Form, List, quoted};
use super::schema::{Found, Reader, kind};
use super::transfer::HIDDEN;

/// A secret of 16 octets. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct CookieSecret([u8; 16]);

impl CookieSecret {
    /// The octets.
    pub fn octets(&self) -> [u8; 16] {
        self.0
    }

    /// Decodes 32 hexadecimal digits.
    fn decode(text: &str) -> Option<CookieSecret> {
        let digits: Vec<u8> =
            text.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
        let octets: Vec<u8> =
            digits.chunks(2).map(|pair| pair.iter().fold(0, |octet, digit| octet << 4 | digit)).collect();
        (digits.len() == 32).then(|| <[u8; 16]>::try_from(octets).ok().map(CookieSecret))?
    }
}

impl fmt::Debug for CookieSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieSecret")
    }
}

/// The form of the list of [`CookieSecret`].
pub(super) struct CookieSecretsForm;

/// The form of one of them.
struct CookieSecretForm;

const SECRETS: List<CookieSecretForm> = List { of: CookieSecretForm, min: 0, max: limits::COOKIE_SECRETS_MAX };

impl Form for CookieSecretsForm {
    type Value = Vec<At<CookieSecret>>;

    /// What was found is never shown: it may be a secret without its brackets.
    fn read(&self, reader: &mut Reader<'_>, found: Found<'_>) -> Option<Vec<At<CookieSecret>>> {
        match found.get_ref().as_array() {
            Some(_) => SECRETS.read(reader, found),
            None => reader.say(found, &format!("found {}; accepted: {}", kind(found), self.accepts())),
        }
    }

    fn accepts(&self) -> String {
        SECRETS.accepts()
    }

    fn write(&self, value: &Vec<At<CookieSecret>>) -> String {
        let list = SECRETS.write(value);
        if value.is_empty() { list } else { format!("{list} # secrets are not printed") }
    }
}

impl Form for CookieSecretForm {
    type Value = CookieSecret;

    fn read(&self, reader: &mut Reader<'_>, found: Found<'_>) -> Option<CookieSecret> {
        match found.get_ref().as_str() {
            Some(HIDDEN) => reader.say(
                found,
                &format!("{} stands where `ringdns config` hid a secret; write the secret", quoted(HIDDEN)),
            ),
            text => text.and_then(CookieSecret::decode).or_else(|| {
                reader.say(found, &format!("what stands here is something else; accepted: {}", self.accepts()))
            }),
        }
    }

    fn accepts(&self) -> String {
        "32 hexadecimal digits, as `openssl rand -hex 16` gives them".to_owned()
    }

    fn write(&self, _: &CookieSecret) -> String {
        quoted(HIDDEN)
    }
}
