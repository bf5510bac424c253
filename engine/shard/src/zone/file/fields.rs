//! The fields of one entry, taken one after the other, each mistake with its place.
//!
//! [`Fields`] is also the scanner that `domain` reads record data from: it hands over fields that are already cut and
//! checked (no quotes where a word belongs, no signs before numbers), since `domain`'s own scanner of master files
//! has no places to give and less to accept.

use std::str::FromStr;

use domain::base::iana::SecurityAlgorithm;
use domain::base::scan::{ConvertSymbols, EntrySymbol, Scanner, ScannerError, Symbol};
use domain::base::{CharStr, Name};
use domain::dep::octseq::str::Str;

use super::field::{Stumble, decimal, write_name, write_octets, write_string};
use super::flaw::{Flaw, shown};
use super::lexer::Token;

/// The text that tokens point into, and the tokens of an entry.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    /// The text.
    pub(super) text: &'a [u8],
    /// The entry's tokens; at least one.
    pub(super) tokens: &'a [Token],
}

/// A cursor over the fields of an entry.
pub(super) struct Fields<'a> {
    line: Line<'a>,
    origin: &'a [u8],
    next: usize,
    /// The field, counted like `next`, that may hold the mnemonic of a DNSSEC algorithm.
    algorithm: Option<usize>,
    /// `domain` may find nothing where it reads all fields that are left.
    empty_rest: bool,
}

impl<'a> Fields<'a> {
    /// The fields of `line`; relative names in them are put below `origin`, a name in wire format.
    pub(super) fn new(line: Line<'a>, origin: &'a [u8]) -> Fields<'a> {
        assert!(!line.tokens.is_empty(), "an entry has a field");
        Fields { line, origin, next: 0, algorithm: None, empty_rest: false }
    }

    /// The fields that are left.
    pub(super) fn rest(&self) -> &'a [Token] {
        &self.line.tokens[self.next..]
    }

    /// The text that tokens point into.
    pub(super) fn text(&self) -> &'a [u8] {
        self.line.text
    }

    /// From now on the field `ahead` of the next one may hold the mnemonic of a DNSSEC algorithm.
    pub(super) fn expect_algorithm(&mut self, ahead: usize) {
        self.algorithm = Some(self.next + ahead);
    }

    /// Sets whether what reads all fields that are left may find none.
    pub(super) fn allow_empty_rest(&mut self, allowed: bool) {
        self.empty_rest = allowed;
    }

    /// The next field, which stays.
    #[inline]
    pub(super) fn peek(&self) -> Option<Token> {
        self.line.tokens.get(self.next).copied()
    }

    /// The octets of `token`, escapes and all.
    #[inline]
    pub(super) fn octets(&self, token: Token) -> &'a [u8] {
        token.octets(self.line.text)
    }

    /// The next field.
    #[inline]
    pub(super) fn take(&mut self) -> Result<Token, Flaw> {
        match self.line.tokens.get(self.next) {
            Some(&token) => {
                self.next += 1;
                Ok(token)
            }
            None => Err(self.last().flaw_behind("a field is missing")),
        }
    }

    /// The next field, which is not in quotes, and its octets.
    #[inline]
    pub(super) fn word(&mut self) -> Result<(Token, &'a [u8]), Flaw> {
        let token = self.take()?;
        if token.quoted {
            return Err(token.flaw(0, "a quoted string where a plain word belongs"));
        }
        Ok((token, self.octets(token)))
    }

    /// The field taken last, or the first one.
    pub(super) fn last(&self) -> Token {
        self.line.tokens[self.next.saturating_sub(1)]
    }

    /// Nothing may be left.
    pub(super) fn finish(&self) -> Result<(), Flaw> {
        match self.peek() {
            None => Ok(()),
            Some(token) => Err(token.flaw(0, format!("a field too many: {}", shown(self.octets(token))))),
        }
    }

    /// A number from 0 to `max`.
    #[inline]
    pub(super) fn number(&mut self, max: u32) -> Result<u32, Flaw> {
        let (token, octets) = self.word()?;
        decimal(octets)
            .filter(|&value| value <= max)
            .ok_or_else(|| token.flaw(0, format!("{} is no number from 0 to {max}", shown(octets))))
    }

    /// The next field, an address; `expected` says of which kind.
    pub(super) fn address<T: FromStr>(&mut self, expected: &str) -> Result<T, Flaw> {
        let (token, octets) = self.word()?;
        let address = str::from_utf8(octets).ok().and_then(|text| text.parse().ok());
        address.ok_or_else(|| token.flaw(0, format!("{} is no {expected}", shown(octets))))
    }

    /// Appends the next field, a name, to `wire`.
    #[inline]
    pub(super) fn name(&mut self, wire: &mut Vec<u8>) -> Result<(), Flaw> {
        let (token, octets) = self.word()?;
        write_name(octets, self.origin, wire).map_err(|stumble| placed(token, stumble))
    }

    /// Appends the next field, a character-string, to `wire`.
    #[inline]
    pub(super) fn string(&mut self, wire: &mut Vec<u8>) -> Result<(), Flaw> {
        let token = self.take()?;
        write_string(self.octets(token), token.escaped, wire).map_err(|stumble| placed(token, stumble))
    }

    /// Appends the octets that the next field stands for to `wire`.
    pub(super) fn unescaped(&mut self, wire: &mut Vec<u8>) -> Result<Token, Flaw> {
        let token = self.take()?;
        write_octets(self.octets(token), wire).map_err(|stumble| placed(token, stumble))?;
        Ok(token)
    }

    /// Gives a mistake without a place that of the field taken last.
    pub(super) fn locate(&self, flaw: Flaw) -> Flaw {
        let last = self.last();
        flaw.or_at(last.line, last.column)
    }

    fn each_symbol<F>(&self, token: Token, mut op: F) -> Result<(), Flaw>
    where
        F: FnMut(Symbol) -> Result<(), Flaw>,
    {
        let octets = self.octets(token);
        let mut at = 0;
        loop {
            match Symbol::from_slice_index(octets, at) {
                Ok(Some((symbol, next))) => {
                    op(symbol)
                        .map_err(|flaw| if flaw.place().is_some() { flaw } else { token.flaw(at, flaw.message()) })?;
                    at = next;
                }
                Ok(None) => return Ok(()),
                Err(error) => return Err(token.flaw(at, error.to_string())),
            }
        }
    }
}

/// A stumble inside `token`, with its place.
pub(super) fn placed(token: Token, (offset, message): Stumble) -> Flaw {
    token.flaw(offset, message)
}

impl Scanner for Fields<'_> {
    type Octets = Vec<u8>;
    type OctetsBuilder = Vec<u8>;
    type Name = Name<Vec<u8>>;
    type Error = Flaw;

    fn has_space(&self) -> bool {
        false
    }

    fn continues(&mut self) -> bool {
        self.peek().is_some()
    }

    fn scan_symbols<F>(&mut self, op: F) -> Result<(), Flaw>
    where
        F: FnMut(Symbol) -> Result<(), Flaw>,
    {
        let (token, _) = self.word()?;
        self.each_symbol(token, op)
    }

    fn scan_entry_symbols<F>(&mut self, mut op: F) -> Result<(), Flaw>
    where
        F: FnMut(EntrySymbol) -> Result<(), Flaw>,
    {
        while self.peek().is_some() {
            let (token, _) = self.word()?;
            self.each_symbol(token, |symbol| op(symbol.into()))?;
            op(EntrySymbol::EndOfToken)?;
        }
        Ok(())
    }

    fn convert_token<C: ConvertSymbols<Symbol, Flaw>>(&mut self, mut convert: C) -> Result<Vec<u8>, Flaw> {
        let (token, octets) = self.word()?;
        let mut converted = Vec::with_capacity(octets.len());
        self.each_symbol(token, |symbol| {
            converted.extend_from_slice(convert.process_symbol(symbol)?.unwrap_or_default());
            Ok(())
        })?;
        converted.extend_from_slice(convert.process_tail()?.unwrap_or_default());
        Ok(converted)
    }

    fn convert_entry<C: ConvertSymbols<EntrySymbol, Flaw>>(&mut self, mut convert: C) -> Result<Vec<u8>, Flaw> {
        let mut converted = Vec::new();
        if self.peek().is_none() && !self.empty_rest {
            self.take()?;
        }
        while self.peek().is_some() {
            let (token, octets) = self.word()?;
            converted.reserve(octets.len());
            self.each_symbol(token, |symbol| {
                converted.extend_from_slice(convert.process_symbol(symbol.into())?.unwrap_or_default());
                Ok(())
            })?;
        }
        converted.extend_from_slice(convert.process_tail()?.unwrap_or_default());
        Ok(converted)
    }

    fn scan_octets(&mut self) -> Result<Vec<u8>, Flaw> {
        let mut octets = Vec::new();
        self.unescaped(&mut octets)?;
        Ok(octets)
    }

    fn scan_ascii_str<F, T>(&mut self, op: F) -> Result<T, Flaw>
    where
        F: FnOnce(&str) -> Result<T, Flaw>,
    {
        let at = self.next;
        let (token, octets) = self.word()?;
        // `domain` reads numbers with the standard library, which takes a sign.
        let plain = octets.is_ascii() && !octets.contains(&b'+') && !octets.contains(&b'\\');
        let text = match str::from_utf8(octets) {
            Ok(text) if plain => text,
            _ => return Err(token.flaw(0, format!("{} has characters that do not belong here", shown(octets)))),
        };
        let result = match SecurityAlgorithm::from_mnemonic(octets) {
            Some(algorithm) if self.algorithm == Some(at) => op(&algorithm.to_int().to_string()),
            _ => op(text),
        };
        result.map_err(|flaw| token.flaw(0, format!("{}, found {}", flaw.message(), shown(octets))))
    }

    fn scan_name(&mut self) -> Result<Name<Vec<u8>>, Flaw> {
        let mut wire = Vec::with_capacity(64);
        self.name(&mut wire)?;
        Name::from_octets(wire).map_err(|_| Flaw::custom("no name"))
    }

    fn scan_charstr(&mut self) -> Result<CharStr<Vec<u8>>, Flaw> {
        CharStr::from_octets(self.scan_octets()?).map_err(|_| Flaw::custom("a string of more than 255 octets"))
    }

    fn scan_string(&mut self) -> Result<Str<Vec<u8>>, Flaw> {
        Str::from_utf8(self.scan_octets()?).map_err(|_| Flaw::custom("no UTF-8"))
    }

    fn scan_charstr_entry(&mut self) -> Result<Vec<u8>, Flaw> {
        let mut strings = Vec::new();
        self.string(&mut strings)?;
        while self.peek().is_some() {
            self.string(&mut strings)?;
        }
        Ok(strings)
    }

    fn scan_opt_unknown_marker(&mut self) -> Result<bool, Flaw> {
        Ok(false) // `\#` is read before `domain` is asked.
    }

    fn octets_builder(&mut self) -> Result<Vec<u8>, Flaw> {
        Ok(Vec::new())
    }
}
