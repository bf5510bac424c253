//! What to tell people when the environment is at fault, and threads when a core does not answer.

use std::fmt;

/// The environment is at fault: a port is taken, io_uring is forbidden, a permission is missing. Shown, it is one
/// line that says what and the mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble(String);

impl Trouble {
    pub(crate) fn new(line: impl Into<String>) -> Trouble {
        Trouble(line.into())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Trouble {}

/// Some cores did not answer in the time allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresponsive {
    /// The cores that did not, by their index.
    pub cores: Vec<usize>,
}

impl fmt::Display for Unresponsive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no answer in time from core")?;
        for (place, core) in self.cores.iter().enumerate() {
            write!(f, "{}{core}", if place == 0 { " " } else { ", " })?;
        }
        Ok(())
    }
}

impl std::error::Error for Unresponsive {}
