//! The forms of what says where queries are recorded.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::form::{Form, quoted};
use super::schema::{Found, Reader};

/// Where dnstap messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TapTarget {
    /// A Unix socket.
    Socket(PathBuf),
    /// A TCP port.
    Address(SocketAddr),
}

impl fmt::Display for TapTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TapTarget::Socket(path) => write!(f, "unix:{}", path.display()),
            TapTarget::Address(address) => write!(f, "tcp:{address}"),
        }
    }
}

/// A [`TapTarget`], or `""` for none.
pub(super) struct TapTargetForm;

impl Form for TapTargetForm {
    type Value = Option<TapTarget>;

    fn read(&self, reader: &mut Reader<'_>, found: Found<'_>) -> Option<Option<TapTarget>> {
        let Some(text) = found.get_ref().as_str() else { return reader.wrong(found, &self.accepts()) };
        if text.is_empty() {
            return Some(None);
        }
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty() && !path.contains('\0')) {
            return Some(Some(TapTarget::Socket(reader.folder().join(path))));
        }
        match text.strip_prefix("tcp:").and_then(|address| address.parse::<SocketAddr>().ok()) {
            Some(address) if address.port() != 0 => Some(Some(TapTarget::Address(address))),
            _ => reader.wrong(found, &self.accepts()),
        }
    }

    fn accepts(&self) -> String {
        "\"unix:PATH\" of a Unix socket, \"tcp:ADDRESS:PORT\", or \"\" for none".to_owned()
    }

    fn write(&self, value: &Option<TapTarget>) -> String {
        quoted(&value.as_ref().map(TapTarget::to_string).unwrap_or_default())
    }
}

/// The path of a file, or `""` for one that the server chooses.
pub(super) struct OptionalFile;

impl Form for OptionalFile {
    type Value = Option<PathBuf>;

    fn read(&self, reader: &mut Reader<'_>, found: Found<'_>) -> Option<Option<PathBuf>> {
        match found.get_ref().as_str() {
            Some("") => Some(None),
            Some(text) if !text.contains('\0') => Some(Some(reader.folder().join(text))),
            _ => reader.wrong(found, &self.accepts()),
        }
    }

    fn accepts(&self) -> String {
        "the path of a file, or \"\"".to_owned()
    }

    fn write(&self, value: &Option<PathBuf>) -> String {
        quoted(&value.as_ref().map(|path| path.to_string_lossy()).unwrap_or_default())
    }
}
