//! `$GENERATE`: a row of records from one line, in the way that BIND introduced.
//!
//! `$` in owner and data stands for the number at hand, `$$` or `\$` for a dollar sign, and
//! `${OFFSET[,WIDTH[,BASE]]}` for the number plus an offset, padded with zeros, in the base `d`ecimal, `o`ctal,
//! he`x`adecimal (`X` in capitals), or as `n`ibbles in reverse with dots (`N` in capitals). Data that is one quoted
//! string holds several fields: `MX "10 mail$"`.

use std::borrow::Cow;

use super::field::{Stumble, decimal};
use super::fields::{Fields, Line, placed};
use super::flaw::{Flaw, shown};
use super::lexer::{Lexer, Token};
use super::{GENERATE_RECORDS_MAX, GENERATE_ZONE_RECORDS_MAX, Reader, Scope, is_class};

/// Octets of the fields that are repeated.
const TEMPLATE_OCTETS_MAX: usize = 4_096;
/// Octets of one record's text.
const TEXT_OCTETS_MAX: usize = 65_535;
/// Digits that a number is padded to.
const WIDTH_DIGITS_MAX: u32 = 255;
/// The largest number of a range.
const NUMBER_MAX: u32 = i32::MAX as u32;

impl Reader<'_, '_> {
    /// Reads the records of the directive `line`; stops at the first mistake.
    pub(super) fn generate(&mut self, line: Line<'_>, scope: &mut Scope) -> Result<(), Flaw> {
        let range = Range::read(line, scope)?;
        let count = range.count();
        let too_many = |max: u64, what: &str| range.token.flaw(0, format!("more than {max} records {what}"));
        if count > GENERATE_RECORDS_MAX {
            return Err(too_many(GENERATE_RECORDS_MAX, "of one $GENERATE"));
        }
        if self.generated + count > GENERATE_ZONE_RECORDS_MAX {
            return Err(too_many(GENERATE_ZONE_RECORDS_MAX, "of all $GENERATE of the zone"));
        }
        self.generated += count;
        let template = Template::read(line)?;
        let (mut text, mut tokens) = (Vec::new(), Vec::new());
        for number in (range.start..=range.stop).step_by(range.step as usize) {
            let made = template.fill(number, &mut text, &mut tokens);
            made.and_then(|()| self.record(Line { text: &text, tokens: &tokens }, false, scope))
                .map_err(|flaw| flaw.and(&format!(" (where $ is {number})")))?;
        }
        Ok(())
    }
}

/// `START-STOP[/STEP]`.
struct Range {
    token: Token,
    start: u32,
    stop: u32,
    step: u32,
}

impl Range {
    fn read(line: Line<'_>, scope: &Scope) -> Result<Range, Flaw> {
        let mut fields = Fields::new(line, &scope.origin);
        fields.take()?;
        let (token, octets) = fields.word()?;
        let number = |text: &[u8]| decimal(text).filter(|&number| number <= NUMBER_MAX);
        let parse = || {
            let (range, step) = split(octets, b'/').unwrap_or((octets, b"1"));
            let (start, stop) = split(range, b'-')?;
            Some((number(start)?, number(stop)?, number(step)?))
        };
        match parse() {
            Some((start, stop, step)) if start <= stop && step > 0 => Ok(Range { token, start, stop, step }),
            _ => Err(token.flaw(0, format!("{} is no range such as 1-20 or 0-254/2", shown(octets)))),
        }
    }

    fn count(&self) -> u64 {
        u64::from((self.stop - self.start) / self.step) + 1
    }
}

fn split(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|&octet| octet == separator)?;
    Some((&text[..at], &text[at + 1..]))
}

/// The fields that are repeated.
struct Template<'a> {
    line: Line<'a>,
    owner: Token,
    /// TTL, class, type: taken as they are.
    head: &'a [Token],
    data: &'a [Token],
}

impl<'a> Template<'a> {
    fn read(line: Line<'a>) -> Result<Template<'a>, Flaw> {
        let missing = || line.tokens[line.tokens.len() - 1].flaw_behind("a field is missing");
        let (&owner, rest) = line.tokens.get(2..).and_then(<[Token]>::split_first).ok_or_else(missing)?;
        let mut head = 0;
        loop {
            let token = *rest.get(head).ok_or_else(missing)?;
            let octets = token.octets(line.text);
            head += 1;
            if !octets.first().is_some_and(u8::is_ascii_digit) && !is_class(token, octets)? {
                break;
            }
        }
        let (head, data) = rest.split_at(head);
        let octets: usize = line.tokens[2..].iter().map(|token| token.octets(line.text).len()).sum();
        if octets > TEMPLATE_OCTETS_MAX {
            return Err(owner.flaw(0, format!("more than {TEMPLATE_OCTETS_MAX} octets to repeat")));
        }
        Ok(Template { line, owner, head, data })
    }

    /// Writes the record's text for `number`, and its tokens, whose places are those of the directive's fields.
    fn fill(&self, number: u32, text: &mut Vec<u8>, tokens: &mut Vec<Token>) -> Result<(), Flaw> {
        text.clear();
        tokens.clear();
        self.push_filled(self.owner, number, text, tokens)?;
        for &token in self.head {
            let start = text.len();
            text.extend_from_slice(token.octets(self.line.text));
            tokens.push(made(token, start, text));
        }
        match self.data {
            &[several] if several.quoted => self.push_several(several, number, text, tokens),
            data => data.iter().try_for_each(|&token| self.push_filled(token, number, text, tokens)),
        }
    }

    /// Appends a field.
    fn push_filled(&self, token: Token, number: u32, text: &mut Vec<u8>, tokens: &mut Vec<Token>) -> Result<(), Flaw> {
        let start = text.len();
        substitute(token.octets(self.line.text), number, text).map_err(|stumble| placed(token, stumble))?;
        tokens.push(made(token, start, text));
        Ok(())
    }

    /// Appends the fields that the quoted string `token` holds; `\"` in it is a quote.
    fn push_several(&self, token: Token, number: u32, text: &mut Vec<u8>, tokens: &mut Vec<Token>) -> Result<(), Flaw> {
        let mut filled = Vec::new();
        substitute(token.octets(self.line.text), number, &mut filled).map_err(|stumble| placed(token, stumble))?;
        let start = text.len();
        let mut octets = filled.iter().copied().peekable();
        while let Some(octet) = octets.next() {
            match (octet, octets.peek()) {
                (b'\\', Some(b'"')) => {}
                (b'\\', Some(&next)) => {
                    text.extend_from_slice(&[octet, next]);
                    octets.next();
                }
                _ => text.push(octet),
            }
        }
        let mut inner = Vec::new();
        Lexer::new(&text[start..]).next_line(&mut inner).map_err(|flaw| token.flaw(0, flaw.message()))?;
        tokens.extend(inner.into_iter().map(|inner| Token {
            start: inner.start + start as u32,
            end: inner.end + start as u32,
            line: token.line,
            column: token.column,
            made: true,
            ..inner
        }));
        Ok(())
    }
}

/// `token` with the text from `start` on for its own.
fn made(token: Token, start: usize, text: &[u8]) -> Token {
    let escaped = text[start..].contains(&b'\\');
    Token { start: start as u32, end: text.len() as u32, made: true, escaped, ..token }
}

fn stumble<T>(offset: usize, message: &'static str) -> Result<T, Stumble> {
    Err((offset, Cow::Borrowed(message)))
}

/// Appends `template` to `text`, with `number` where a dollar sign calls for it.
fn substitute(template: &[u8], number: u32, text: &mut Vec<u8>) -> Result<(), Stumble> {
    let mut at = 0;
    while let Some(&octet) = template.get(at) {
        match (octet, template.get(at + 1)) {
            (b'\\', Some(&next)) => {
                text.extend_from_slice(&[octet, next]);
                at += 2;
            }
            (b'$', Some(b'$')) => {
                text.push(b'$');
                at += 2;
            }
            (b'$', Some(b'{')) => {
                let Some((inside, _)) = split(&template[at + 2..], b'}') else {
                    return stumble(at, "`${` without a `}`");
                };
                let Some(modifier) = Modifier::parse(inside) else {
                    return stumble(at, "bad `${…}`: expected ${OFFSET[,WIDTH[,BASE]]}, the base one of d o x X n N");
                };
                let Ok(value) = u32::try_from(i64::from(number) + modifier.offset) else {
                    return stumble(at, "the offset gives a number below 0 or above 4294967295");
                };
                modifier.write(value, text);
                at += inside.len() + 3;
            }
            (b'$', _) => {
                text.extend_from_slice(number.to_string().as_bytes());
                at += 1;
            }
            _ => {
                text.push(octet);
                at += 1;
            }
        }
        if text.len() > TEXT_OCTETS_MAX {
            return stumble(0, "a record of more than 65,535 octets of text");
        }
    }
    Ok(())
}

/// `OFFSET[,WIDTH[,BASE]]`.
struct Modifier {
    offset: i64,
    width: usize,
    base: u8,
}

impl Modifier {
    fn parse(text: &[u8]) -> Option<Modifier> {
        let mut parts = text.split(|&octet| octet == b',');
        let offset = parts.next()?;
        let (sign, digits) = match offset {
            [b'-', digits @ ..] => (-1, digits),
            [b'+', digits @ ..] => (1, digits),
            digits => (1, digits),
        };
        let offset = sign * i64::from(decimal(digits)?);
        let width = parts.next().map_or(Some(0), decimal).filter(|&width| width <= WIDTH_DIGITS_MAX)? as usize;
        let base = match parts.next() {
            None => b'd',
            Some(&[base @ (b'd' | b'o' | b'x' | b'X' | b'n' | b'N')]) => base,
            Some(_) => return None,
        };
        parts.next().is_none().then_some(Modifier { offset, width, base })
    }

    fn write(&self, value: u32, text: &mut Vec<u8>) {
        let width = self.width;
        let digits = match self.base {
            b'o' => format!("{value:0width$o}"),
            b'x' => format!("{value:0width$x}"),
            b'X' => format!("{value:0width$X}"),
            b'n' | b'N' => nibbles(value, width, self.base == b'N'),
            _ => format!("{value:0width$}"),
        };
        text.extend_from_slice(digits.as_bytes());
    }
}

/// The hexadecimal digits of `value`, the last one first, with dots between them; `width` counts digits and dots.
fn nibbles(mut value: u32, width: usize, capitals: bool) -> String {
    let mut digits = String::new();
    loop {
        let digit = char::from_digit(value & 0xF, 16).expect("below 16");
        digits.push(if capitals { digit.to_ascii_uppercase() } else { digit });
        value >>= 4;
        if value == 0 && digits.len() >= width {
            return digits;
        }
        digits.push('.');
        if value == 0 && digits.len() >= width {
            return digits;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str, number: u32) -> Result<String, Stumble> {
        let mut text = Vec::new();
        substitute(template.as_bytes(), number, &mut text).map(|()| String::from_utf8(text).unwrap())
    }

    #[test]
    fn dollar_signs_stand_for_the_number() {
        for (template, number, expected) in [
            ("host$", 7, "host7"),
            ("$.$", 7, "7.7"),
            ("a$$b\\$c", 7, "a$b\\$c"),
            ("${0}", 7, "7"),
            ("${-5}", 7, "2"),
            ("${+5,3}", 7, "012"),
            ("${0,3,d}x", 7, "007x"),
            ("${0,4,o}", 8, "0010"),
            ("${0,2,x}-${0,2,X}", 254, "fe-FE"),
            ("${0,0,n}", 0x1F, "f.1"),
            ("${0,7,n}", 0x1F, "f.1.0.0"),
            ("${0,1,N}", 0xA, "A"),
            ("${0,4,n}", 1, "1.0."),
            ("plain", 7, "plain"),
        ] {
            assert_eq!(filled(template, number).as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn bad_modifiers_are_refused_where_they_stand() {
        for (template, offset) in [
            ("a${", 1),
            ("a${}", 1),
            ("a${x}", 1),
            ("${0,x}", 0),
            ("${0,256}", 0),
            ("${0,1,q}", 0),
            ("${0,1,dd}", 0),
            ("${0,1,d,1}", 0),
            ("ab${-8}", 2),
        ] {
            assert_eq!(filled(template, 7).unwrap_err().0, offset, "{template}");
        }
    }
}
