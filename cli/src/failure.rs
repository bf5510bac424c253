//! Why a command ends without success: what people are told, and the exit status.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use ringdns_control::ZoneFaults;
use ringdns_control::config::{Faults, Refused};
use ringdns_rim::Trouble;

/// Why a command ends without success.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A configuration or zone file has mistakes: status 1.
    Input(String),
    /// A port is taken, io_uring forbidden, a permission missing: status 3.
    Environment(String),
}

impl Failure {
    /// Tells people on standard error; the exit status.
    pub(crate) fn report(&self) -> ExitCode {
        // Where nobody reads it, the status still tells.
        let _ = writeln!(io::stderr(), "{self}");
        match self {
            Failure::Input(_) => ExitCode::from(1),
            Failure::Environment(_) => ExitCode::from(3),
        }
    }

    pub(crate) fn zones(faults: &[ZoneFaults]) -> Failure {
        Failure::Input(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Input(text) | Failure::Environment(text) => f.write_str(text),
        }
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Failure {
        match &refused {
            Refused::Unreadable { error, .. } if error.kind() == ErrorKind::PermissionDenied => {
                Failure::Environment(refused.to_string())
            }
            _ => Failure::Input(refused.to_string()),
        }
    }
}

impl From<Faults> for Failure {
    fn from(faults: Faults) -> Failure {
        Failure::Input(faults.to_string())
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Failure {
        Failure::Environment(trouble.to_string())
    }
}
