//! What is wrong with a zone that loads: delegations without addresses, data that is never served, signatures that
//! have ended, chains with gaps.
//!
//! A zone with findings is served as it is; its author is told. Signatures are looked at, not verified. One walk a
//! matter, so that the time is linear in the size of the zone but for the sorting of hashes; what is kept of the
//! findings is bounded.
//!
//! | module | owns |
//! |---|---|
//! | `data` | SOA, targets and their addresses, glue, occluded data, types at the wrong place |
//! | `signatures` | RRSIG records and the keys that they name (RFC 4034 §3, RFC 4035 §2.2) |
//! | `chain` | NSEC and NSEC3 records (RFC 4034 §4, RFC 5155 §7.1, RFC 9276) |

mod chain;
mod data;
mod signatures;

use core::fmt;

use domain::base::Rtype;

use super::image::Image;
use crate::wire::name::Name;

/// Findings of a severity that are kept; of the others the number is.
pub const FINDINGS_MAX: usize = 100;
/// Types that are shown of a list.
const TYPES_SHOWN_MAX: usize = 8;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Somebody who asks will not be served well.
    Error,
    /// Likely a mistake, or soon one.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

/// Something that is wrong with a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where: an owner name of the zone.
    pub owner: Name,
    /// What is wrong, and what to mend.
    pub text: String,
}

impl fmt::Display for Finding {
    /// `severity: owner: text`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.severity, self.owner, self.text)
    }
}

/// What is wrong with a zone.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    errors: Vec<Finding>,
    warnings: Vec<Finding>,
    errors_left: usize,
    warnings_left: usize,
}

impl Findings {
    /// How many errors there are.
    pub fn errors(&self) -> usize {
        self.errors.len() + self.errors_left
    }

    /// How many warnings there are.
    pub fn warnings(&self) -> usize {
        self.warnings.len() + self.warnings_left
    }

    /// Errors first, then warnings: the first [`FINDINGS_MAX`] of each.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.errors.iter().chain(&self.warnings)
    }

    /// How many findings are left out of [`Findings::iter`].
    pub fn left_out(&self) -> usize {
        self.errors_left + self.warnings_left
    }

    fn error(&mut self, owner: &[u8], text: impl FnOnce() -> String) {
        self.add(Severity::Error, owner, text);
    }

    fn warning(&mut self, owner: &[u8], text: impl FnOnce() -> String) {
        self.add(Severity::Warning, owner, text);
    }

    fn add(&mut self, severity: Severity, owner: &[u8], text: impl FnOnce() -> String) {
        let (list, left) = match severity {
            Severity::Error => (&mut self.errors, &mut self.errors_left),
            Severity::Warning => (&mut self.warnings, &mut self.warnings_left),
        };
        if list.len() < FINDINGS_MAX {
            let owner = Name::from_wire(owner).expect("owners in an image are names");
            list.push(Finding { severity, owner, text: text() });
        } else {
            *left += 1;
        }
    }
}

/// Looks for what is wrong with `image`; at `now_unix`, seconds since 1970 modulo 2³² (RFC 4034 §3.1.5), where the
/// times of signatures are to be looked at.
pub fn check(image: &Image, now_unix: Option<u32>) -> Findings {
    let mut findings = Findings::default();
    data::check(image, &mut findings);
    if signatures::check(image, now_unix, &mut findings) {
        chain::check(image, &mut findings);
    }
    findings
}

/// A type by its name.
fn type_name(rtype: u16) -> Rtype {
    Rtype::from_int(rtype)
}

/// Types by their names, the first of them.
fn type_names(types: &[u16]) -> String {
    let mut text = String::new();
    for (at, &rtype) in types.iter().take(TYPES_SHOWN_MAX).enumerate() {
        let between = if at == 0 { "" } else { " " };
        text += &format!("{between}{}", type_name(rtype));
    }
    if types.len() > TYPES_SHOWN_MAX {
        text += " …";
    }
    text
}

/// A name in wire form as it is written.
struct Shown<'a>(&'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::wire::name::write_presentation(self.0, f)
    }
}

#[cfg(test)]
mod tests;
