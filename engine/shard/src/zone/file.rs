//! Master files: text to records (RFC 1035 §5.1, RFC 2308 §4, RFC 3597 §5).
//!
//! Owns everything that a master file can say: directives (`$ORIGIN`, `$TTL`, `$INCLUDE`, `$GENERATE`), owners, times
//! with units, types and classes, record data; and the place of every mistake in the file as its author sees it. Does
//! no I/O: included files are opened by the caller. Knows nothing of what a zone as a whole must have; that is the
//! business of who takes the records.
//!
//! | module | owns |
//! |---|---|
//! | `lexer` | octets to logical lines of tokens |
//! | `field` | one field's text to octets |
//! | `fields` | the cursor over an entry's fields, and `domain`'s scanner over them |
//! | `rdata`, `svcb`, `loc`, `rare` | record data by type |
//! | `directive`, `generate` | what begins with `$` |
//! | `flaw` | a mistake and its place |
//!
//! Where RFC 1035 leaves a choice: only class IN is read. A quoted string ends on its line. `$TTL` and the last TTL
//! stay in force after an included file; origin and owner are restored. Without any TTL the SOA's minimum is taken.

mod directive;
mod field;
mod fields;
mod flaw;
mod generate;
mod lexer;
mod loc;
mod rare;
mod rdata;
mod svcb;

use std::fmt;

use super::Place;
use crate::limits::TTL_SECONDS_MAX;
use crate::wire::name::Name;
use fields::{Fields, Line, placed};
use flaw::{Flaw, shown};
use lexer::{Lexer, Token};

/// Mistakes that are collected before reading stops.
pub const FAULTS_MAX: usize = 10;
/// Files that may be open within each other, the first included.
pub const INCLUDE_DEPTH_FILES_MAX: usize = 16;
/// `$INCLUDE` directives that are followed for one zone.
pub const INCLUDES_MAX: usize = 1_024;
/// Records of one `$GENERATE` directive.
pub const GENERATE_RECORDS_MAX: u64 = 65_536;
/// Records of all `$GENERATE` directives of a zone.
pub const GENERATE_ZONE_RECORDS_MAX: u64 = 16_777_216;

const SOA: u16 = 6;

/// What is wrong with a master file, where, and what was expected instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file's name, as the caller showed it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1, in octets.
    pub column: u32,
    /// What is wrong, and what was expected.
    pub message: String,
}

impl fmt::Display for Fault {
    /// `file:line:column: message`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

impl std::error::Error for Fault {}

/// A record as it is read; class IN.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The owner: uncompressed wire, letters as written; at most 255 octets.
    pub owner: &'a [u8],
    /// The type's number; never one of the types that belong to questions or messages.
    pub rtype: u16,
    /// Seconds, at most 2^31 - 1.
    pub ttl: u32,
    /// The data: wire, names in it uncompressed and letters as written; at most 65,535 octets, and well formed for
    /// the types that have a text form here, but for what [`read_copy`] finds written as octets.
    pub rdata: &'a [u8],
    /// Where it stands; `file` is an index of [`Summary::files`].
    pub place: Place,
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Records, those of `$GENERATE` included.
    pub records: u64,
    /// Names of the files, the first one first; [`Place::file`](Place) is an index of it.
    pub files: Vec<String>,
}

/// Opens an included file: given the path as written and the name of the file that includes it (by which a relative
/// path is to be understood), returns the name to show and the octets, or why not.
pub type Open<'a> = dyn FnMut(&str, &str) -> Result<(String, Vec<u8>), String> + 'a;

/// Takes a record, or says what is wrong with it.
pub type Take<'a> = dyn FnMut(Record<'_>) -> Result<(), String> + 'a;

/// Reads the master file `text`, shown to people as `file_name`, and everything that it includes; the zone's name
/// `apex` is the first origin. Each record is handed to `take`, in order; a mistake that `take` finds is one of the
/// file's, at the record's place.
///
/// # Errors
/// The mistakes, in order, at least one and at most [`FAULTS_MAX`]. Reading goes on at the next entry after each, so
/// `take` may have been given records before and after a mistake; records whose owner is in doubt because of an
/// earlier mistake are checked and not given.
pub fn read(
    apex: &Name,
    file_name: &str,
    text: &[u8],
    open: &mut Open<'_>,
    take: &mut Take<'_>,
) -> Result<Summary, Vec<Fault>> {
    read_as(apex, file_name, text, open, take, false)
}

/// As [`read`], a file that a server wrote of a zone that it holds, with all data as octets (RFC 3597 §5) that has no
/// text form, or not quite the one of its type: those are taken as they are, since whoever copies a zone is not its
/// judge, and must be able to read what it wrote. Nothing is included.
///
/// # Errors
/// As [`read`].
pub fn read_copy(apex: &Name, text: &[u8], take: &mut Take<'_>) -> Result<Summary, Vec<Fault>> {
    read_as(apex, "", text, &mut |_, _| Err("a copy includes nothing".into()), take, true)
}

fn read_as(
    apex: &Name,
    file_name: &str,
    text: &[u8],
    open: &mut Open<'_>,
    take: &mut Take<'_>,
    is_copy: bool,
) -> Result<Summary, Vec<Fault>> {
    let mut reader = Reader {
        open,
        take,
        is_copy,
        summary: Summary { records: 0, files: vec![file_name.to_owned()] },
        faults: Vec::new(),
        nesting: vec![0],
        included: 0,
        generated: 0,
        default_ttl: None,
        last_ttl: None,
        rdata: Vec::new(),
    };
    let mut scope = Scope { file: 0, origin: apex.as_wire().to_vec(), ..Scope::default() };
    // `Enough` means that the list of faults is full.
    let _: Result<(), Enough> = reader.text(text, &mut scope);
    if reader.faults.is_empty() { Ok(reader.summary) } else { Err(reader.faults) }
}

/// So many mistakes that reading stops.
struct Enough;

/// What an included file has of its own, and gives back at its end.
#[derive(Clone, Default)]
struct Scope {
    /// Index of the file's name.
    file: u16,
    /// The origin, in wire format.
    origin: Vec<u8>,
    /// The last owner, in wire format; empty before the first.
    owner: Vec<u8>,
    /// A mistake hides what the origin is.
    origin_in_doubt: bool,
    /// A mistake hides what the last owner is.
    owner_in_doubt: bool,
}

/// What is read, and what was.
struct Reader<'a, 'b> {
    open: &'a mut Open<'b>,
    take: &'a mut Take<'b>,
    /// Data written as octets is taken as it is.
    is_copy: bool,
    summary: Summary,
    faults: Vec<Fault>,
    /// The files open within each other, by index.
    nesting: Vec<u16>,
    included: usize,
    generated: u64,
    /// `$TTL`.
    default_ttl: Option<u32>,
    /// The last TTL that a record gave.
    last_ttl: Option<u32>,
    /// The data of the record at hand.
    rdata: Vec<u8>,
}

impl Reader<'_, '_> {
    /// Reads one file.
    fn text(&mut self, text: &[u8], scope: &mut Scope) -> Result<(), Enough> {
        if u32::try_from(text.len()).is_err() {
            return self.fault(scope.file, &Flaw::at(1, 1, "a file of 4 GiB or more: split it with $INCLUDE"));
        }
        if text.starts_with(b"\xFF\xFE") || text.starts_with(b"\xFE\xFF") {
            return self.fault(scope.file, &Flaw::at(1, 1, "a file in UTF-16: save it as ASCII or UTF-8"));
        }
        let mut lexer = Lexer::new(text);
        let mut tokens = Vec::new();
        loop {
            match lexer.next_line(&mut tokens) {
                Ok(_) if tokens.is_empty() => return Ok(()),
                Ok(indented) => self.entry(Line { text, tokens: &tokens }, indented, scope)?,
                Err(flaw) => {
                    scope.owner_in_doubt = true;
                    self.fault(scope.file, &flaw)?;
                }
            }
        }
    }

    /// Reads a directive or a record.
    fn entry(&mut self, line: Line<'_>, indented: bool, scope: &mut Scope) -> Result<(), Enough> {
        let first = line.tokens[0];
        let dollar = !first.quoted && first.octets(line.text).starts_with(b"$");
        if dollar && !indented {
            return self.directive(line, scope);
        }
        let read = if dollar {
            Err(first.flaw(0, "white space before a directive: it begins in the first column"))
        } else {
            self.record(line, indented, scope)
        };
        match read {
            Ok(()) => Ok(()),
            Err(flaw) => self.fault(scope.file, &flaw),
        }
    }

    /// Reads a record: `[OWNER] [TTL] [CLASS] TYPE DATA`, TTL and class in either order.
    fn record(&mut self, line: Line<'_>, indented: bool, scope: &mut Scope) -> Result<(), Flaw> {
        let mut fields = Fields::new(line, &scope.origin);
        let first = line.tokens[0];
        if !indented {
            scope.owner_in_doubt = true;
            scope.owner.clear();
            fields.name(&mut scope.owner)?;
            scope.owner_in_doubt = scope.origin_in_doubt;
        } else if scope.owner.is_empty() && !scope.owner_in_doubt {
            scope.owner_in_doubt = true;
            return Err(first.flaw(0, "no owner: the line begins with white space, and no record stands before it"));
        }
        let head = Head::read(&mut fields)?;
        self.rdata.clear();
        rdata::write(head.rtype, self.is_copy, &mut fields, &mut self.rdata)?;
        let ttl = self.ttl(&head)?;
        self.summary.records += 1;
        if scope.owner_in_doubt {
            return Ok(());
        }
        let column = u16::try_from(first.column).unwrap_or(u16::MAX);
        let place = Place { file: scope.file, line: first.line, column };
        let record = Record { owner: &scope.owner, rtype: head.rtype, ttl, rdata: &self.rdata, place };
        (self.take)(record).map_err(|message| first.flaw(0, message))
    }

    /// The record's TTL: its own, `$TTL`, the last one given, or the SOA's minimum (RFC 2308 §4, RFC 1035 §5.1).
    fn ttl(&mut self, head: &Head) -> Result<u32, Flaw> {
        if let Some(ttl) = head.ttl {
            self.last_ttl = Some(ttl);
            return Ok(ttl);
        }
        if let Some(ttl) = self.default_ttl.or(self.last_ttl) {
            return Ok(ttl);
        }
        // Taken from here on, and so said once.
        self.last_ttl = Some(0);
        let minimum = self.rdata.last_chunk().map(|&minimum| u32::from_be_bytes(minimum));
        match minimum.filter(|_| head.rtype == SOA) {
            Some(minimum) if minimum <= TTL_SECONDS_MAX => {
                self.last_ttl = Some(minimum);
                Ok(minimum)
            }
            Some(_) => {
                Err(head.place.flaw(0, "the minimum is no TTL, which is at most 2147483647: write $TTL before it"))
            }
            None => Err(head.place.flaw(0, "no TTL: write $TTL before the first record, or a TTL before the type")),
        }
    }

    /// Notes a mistake.
    fn fault(&mut self, file: u16, flaw: &Flaw) -> Result<(), Enough> {
        let (line, column) = flaw.place().expect("a flaw is placed before it is reported");
        let file = self.summary.files[usize::from(file)].clone();
        self.faults.push(Fault { file, line, column, message: flaw.message().to_owned() });
        if self.faults.len() < FAULTS_MAX { Ok(()) } else { Err(Enough) }
    }
}

/// What stands between owner and data.
struct Head {
    ttl: Option<u32>,
    rtype: u16,
    /// The field that names the type.
    place: Token,
}

impl Head {
    fn read(fields: &mut Fields<'_>) -> Result<Head, Flaw> {
        let mut ttl = None;
        let mut class = false;
        loop {
            if fields.peek().is_none() {
                return Err(fields.last().flaw_behind("no type: expected OWNER [TTL] [CLASS] TYPE DATA"));
            }
            let (token, octets) = fields.word()?;
            if let Some(rtype) = rdata::common_type(octets) {
                return Ok(Head { ttl, rtype, place: token });
            }
            if octets[0].is_ascii_digit() {
                if ttl.replace(time_to_live(token, octets)?).is_some() {
                    return Err(token.flaw(0, "a second TTL, where a type belongs"));
                }
            } else if is_class(token, octets)? {
                if class {
                    return Err(token.flaw(0, "a second class, where a type belongs"));
                }
                class = true;
            } else {
                return Ok(Head { ttl, rtype: record_type(token, octets)?, place: token });
            }
        }
    }
}

/// The TTL that a field writes (RFC 2181 §8).
fn time_to_live(token: Token, octets: &[u8]) -> Result<u32, Flaw> {
    match field::seconds(octets).map_err(|stumble| placed(token, stumble))? {
        ttl if ttl <= TTL_SECONDS_MAX => Ok(ttl),
        _ => Err(token.flaw(0, format!("a TTL of more than {TTL_SECONDS_MAX} seconds: {}", shown(octets)))),
    }
}

/// Whether a field writes the class IN; another class is an error (RFC 3597 §5 for CLASSnnn).
fn is_class(token: Token, octets: &[u8]) -> Result<bool, Flaw> {
    let other = || Err(token.flaw(0, format!("class {}: only IN is served", shown(octets))));
    if octets.eq_ignore_ascii_case(b"IN") {
        return Ok(true);
    }
    if [&b"CH"[..], b"HS", b"CS", b"NONE"].iter().any(|class| class.eq_ignore_ascii_case(octets)) {
        return other();
    }
    match octets.split_at_checked(5) {
        Some((prefix, digits)) if prefix.eq_ignore_ascii_case(b"CLASS") => match field::decimal(digits) {
            Some(1) => Ok(true),
            Some(_) => other(),
            None => Ok(false),
        },
        _ => Ok(false),
    }
}

fn record_type(token: Token, octets: &[u8]) -> Result<u16, Flaw> {
    match rdata::type_named(octets) {
        Some(rtype) if rdata::not_data(rtype) => {
            Err(token.flaw(0, format!("type {} belongs to messages, not to zones", shown(octets))))
        }
        Some(rtype) => Ok(rtype),
        None => Err(token
            .flaw(0, format!("{} is no record type: expected one such as A, or TYPEnnn (RFC 3597)", shown(octets)))),
    }
}

#[cfg(test)]
mod tests;
