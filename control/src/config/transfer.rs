//! The forms of what zone transfers need: servers to transfer from and to tell of changes, those who may transfer, and
//! the keys that they sign with.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use domain::utils::base64;
use ringdns_shard::guard::Network;
use ringdns_shard::wire::name::Name;

use super::form::{Form, NameForm, NetForm, Socket, quoted};
use super::schema::{Found, Reader, kind};

/// Octets of a secret at least: fewer are found by trying.
pub(super) const SECRET_OCTETS_MIN: usize = 10;
/// Octets of a secret at most.
pub(super) const SECRET_OCTETS_MAX: usize = 1_024;
/// Octets of a file that holds a secret: base64 and white space.
const SECRET_FILE_OCTETS_MAX: u64 = 4_096;
/// What stands for a secret in a printed configuration.
pub(super) const HIDDEN: &str = "(hidden)";

/// The octets that two servers share. They are never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// The octets.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    /// Decodes base64. The error never repeats the text.
    fn decode(text: &str) -> Result<Secret, String> {
        let octets: Vec<u8> = base64::decode(text).map_err(|why| format!("what stands here is no base64: {why}"))?;
        if (SECRET_OCTETS_MIN..=SECRET_OCTETS_MAX).contains(&octets.len()) {
            return Ok(Secret(octets.into()));
        }
        Err(format!("found a secret of {} octets", octets.len()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A secret in the configuration file itself, or `""` for none.
pub(super) struct SecretForm;

impl Form for SecretForm {
    type Value = Option<Secret>;

    /// What was found is never shown: it may be a secret with a slip of the pen.
    fn read(&self, reader: &mut Reader<'_>, found: Found<'_>) -> Option<Option<Secret>> {
        let accepted = self.accepts();
        match found.get_ref().as_str() {
            Some("") => Some(None),
            Some(HIDDEN) => reader.say(
                found,
                &format!(
                    "{} stands where `ringdns config` hid a secret; write the secret, or name a `secret_file`",
                    quoted(HIDDEN)
                ),
            ),
            Some(text) => match Secret::decode(text) {
                Ok(secret) => Some(Some(secret)),
                Err(why) => reader.say(found, &format!("{why}; accepted: {accepted}")),
            },
            None => reader.say(found, &format!("found {}; accepted: {accepted}", kind(found))),
        }
    }

    fn accepts(&self) -> String {
        format!("base64 of {SECRET_OCTETS_MIN} to {SECRET_OCTETS_MAX} octets, or \"\" for none")
    }

    fn write(&self, value: &Option<Secret>) -> String {
        match value {
            None => quoted(""),
            Some(_) => format!("{} # secrets are not printed", quoted(HIDDEN)),
        }
    }
}

/// A file that holds a secret, and the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFile {
    /// The file.
    pub path: PathBuf,
    /// What it held when the configuration was read.
    pub secret: Secret,
}

/// The form of [`SecretFile`], or `""` for none.
pub(super) struct SecretFileForm;

impl Form for SecretFileForm {
    type Value = Option<SecretFile>;

    fn read(&self, reader: &mut Reader<'_>, found: Found<'_>) -> Option<Option<SecretFile>> {
        let path = match found.get_ref().as_str() {
            Some("") => return Some(None),
            Some(text) if !text.contains('\0') => reader.folder().join(text),
            _ => return reader.wrong(found, &self.accepts()),
        };
        let text = match reader.file(path.clone(), SECRET_FILE_OCTETS_MAX) {
            Ok(text) => text,
            Err(error) => return reader.say(found, &format!("{} cannot be read: {error}", path.display())),
        };
        match Secret::decode(text.trim_ascii()) {
            Ok(secret) => Some(Some(SecretFile { path, secret })),
            Err(why) => reader.say(found, &format!("{}: {why}; accepted: {}", path.display(), self.accepts())),
        }
    }

    fn accepts(&self) -> String {
        format!(
            "the path of a file with base64 of {SECRET_OCTETS_MIN} to {SECRET_OCTETS_MAX} octets, white space around it \
             left aside, or \"\" for none"
        )
    }

    fn write(&self, value: &Option<SecretFile>) -> String {
        quoted(&value.as_ref().map(|file| file.path.to_string_lossy()).unwrap_or_default())
    }
}

/// Another server, and the key with which messages to and from it are signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it is asked.
    pub address: SocketAddr,
    /// The name of a `[[key]]`; without one, nothing is signed.
    pub key: Option<Name>,
}

/// Who may do something. Where both are given, both must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow {
    /// Who asks from there; `None`: from anywhere.
    pub network: Option<Network>,
    /// Who signs with this `[[key]]`; `None`: signed or not.
    pub key: Option<Name>,
}

/// The words of `[subject] [key=NAME]`; `None` where there is neither, or something else.
fn words(text: &str) -> Option<(Option<&str>, Option<&str>)> {
    let mut words = text.split_ascii_whitespace();
    let parts = match (words.next()?, words.next()) {
        (first, None) => match first.strip_prefix("key=") {
            Some(key) => (None, Some(key)),
            None => (Some(first), None),
        },
        (first, Some(second)) => (Some(first), Some(second.strip_prefix("key=")?)),
    };
    words.next().is_none().then_some(parts)
}

/// The words as they are written.
fn joined(subject: Option<String>, key: &Option<Name>) -> String {
    let key = key.as_ref().map(|key| format!("key={key}"));
    quoted(&subject.into_iter().chain(key).collect::<Vec<_>>().join(" "))
}

/// Reads the name of a key.
fn key_name(reader: &mut Reader<'_>, found: Found<'_>, text: Option<&str>) -> Option<Option<Name>> {
    let Some(text) = text else {
        return Some(None);
    };
    match text.parse::<Name>() {
        Ok(name) => Some(Some(name)),
        Err(why) => reader
            .say(found, &format!("{} is no domain name: {}; accepted: {}", quoted(text), why.0, NameForm.accepts())),
    }
}

/// The form of [`Peer`].
pub(super) struct PeerForm;

impl Form for PeerForm {
    type Value = Peer;

    fn read(&self, reader: &mut Reader<'_>, found: Found<'_>) -> Option<Peer> {
        let Some((Some(address), key)) = found.get_ref().as_str().and_then(words) else {
            return reader.wrong(found, &self.accepts());
        };
        match address.parse::<SocketAddr>() {
            Ok(address) if address.port() != 0 && !address.ip().is_unspecified() && !address.ip().is_multicast() => {
                Some(Peer { address, key: key_name(reader, found, key)? })
            }
            _ => reader.wrong(found, &self.accepts()),
        }
    }

    fn accepts(&self) -> String {
        format!("{}, and with \" key=NAME\" behind it the name of a [[key]]", Socket.accepts())
    }

    fn write(&self, value: &Peer) -> String {
        joined(Some(value.address.to_string()), &value.key)
    }
}

/// The form of [`Allow`].
pub(super) struct AllowForm;

impl Form for AllowForm {
    type Value = Allow;

    fn read(&self, reader: &mut Reader<'_>, found: Found<'_>) -> Option<Allow> {
        let Some((network, key)) = found.get_ref().as_str().and_then(words) else {
            return reader.wrong(found, &self.accepts());
        };
        let network = match network.map(str::parse::<Network>).transpose() {
            Ok(network) => network,
            Err(why) => return reader.say(found, &why.to_string()),
        };
        Some(Allow { network, key: key_name(reader, found, key)? })
    }

    fn accepts(&self) -> String {
        format!(
            "{}, or \"key=NAME\" with the name of a [[key]], or both as \"192.0.2.0/24 key=NAME\"",
            NetForm.accepts()
        )
    }

    fn write(&self, value: &Allow) -> String {
        joined(value.network.map(|network| network.to_string()), &value.key)
    }
}
