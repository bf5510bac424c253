//! Cuts a master file into logical lines of tokens (RFC 1035 §5.1): white space, comments, parentheses and quotes
//! are dealt with here; escapes are only stepped over, and decoded by who knows what a token means.

use super::flaw::Flaw;

/// Tokens of one logical line: 65,535 octets written as single hex digits, and what stands before them.
pub(super) const LINE_TOKENS_MAX: usize = 2 * 65_535 + 16;

/// A word or a quoted string, by its place in the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    /// Where its octets begin, behind an opening quote.
    pub(super) start: u32,
    /// Where they end, before a closing quote.
    pub(super) end: u32,
    /// Line in the user's file, from 1.
    pub(super) line: u32,
    /// Column in the user's file, from 1, in octets; that of the opening quote of a quoted string.
    pub(super) column: u32,
    /// It stood between quotes.
    pub(super) quoted: bool,
    /// It holds a backslash.
    pub(super) escaped: bool,
    /// Nothing stands between it and the token before.
    pub(super) glued: bool,
    /// It was made by `$GENERATE`: places inside it are unknown to the user's file.
    pub(super) made: bool,
}

impl Token {
    /// Its octets, escapes and all.
    #[inline]
    pub(super) fn octets(self, text: &[u8]) -> &[u8] {
        &text[self.start as usize..self.end as usize]
    }

    /// What is wrong at its octet `offset`; 0 for the token as a whole.
    pub(super) fn flaw(self, offset: usize, message: impl Into<String>) -> Flaw {
        let known = offset > 0 && !self.made;
        let skip = if known { offset as u32 + u32::from(self.quoted) } else { 0 };
        Flaw::at(self.line, self.column.saturating_add(skip), message)
    }

    /// What is missing behind it.
    pub(super) fn flaw_behind(self, message: impl Into<String>) -> Flaw {
        let width = if self.made { 0 } else { self.end - self.start + 2 * u32::from(self.quoted) };
        Flaw::at(self.line, self.column.saturating_add(width), message)
    }
}

/// What an octet means outside quotes and comments.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Escape,
    Space,
    Return,
    LineFeed,
    Comment,
    Quote,
    Open,
    Close,
    Control,
}

const KINDS: [Kind; 256] = {
    let mut kinds = [Kind::Word; 256];
    let mut octet = 0;
    while octet < 0x20 {
        kinds[octet] = Kind::Control;
        octet += 1;
    }
    kinds[0x7F] = Kind::Control;
    kinds[b' ' as usize] = Kind::Space;
    kinds[b'\t' as usize] = Kind::Space;
    kinds[b'\r' as usize] = Kind::Return;
    kinds[b'\n' as usize] = Kind::LineFeed;
    kinds[b';' as usize] = Kind::Comment;
    kinds[b'"' as usize] = Kind::Quote;
    kinds[b'(' as usize] = Kind::Open;
    kinds[b')' as usize] = Kind::Close;
    kinds[b'\\' as usize] = Kind::Escape;
    kinds
};

/// Reads one text, a logical line at a time.
pub(super) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    /// The line that `at` is on, from 1, and where it begins.
    line: u32,
    line_start: usize,
    /// Parentheses open, and the place of the outermost.
    depth: u32,
    opened: (u32, u32),
}

impl<'a> Lexer<'a> {
    /// A lexer of `text`, which is shorter than 4 GiB. A UTF-8 byte order mark at its start is stepped over.
    pub(super) fn new(text: &'a [u8]) -> Lexer<'a> {
        assert!(u32::try_from(text.len()).is_ok(), "the caller bounds the text");
        let start = if text.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
        Lexer { text, at: start, line: 1, line_start: start, depth: 0, opened: (0, 0) }
    }

    /// Fills `tokens` with those of the next logical line that has any; they are empty at the end of the text. Returns
    /// whether the line begins with white space, so that its owner is that of the record before. After a flaw the
    /// lexer stands at the start of another logical line.
    pub(super) fn next_line(&mut self, tokens: &mut Vec<Token>) -> Result<bool, Flaw> {
        tokens.clear();
        let mut begin = self.at;
        let found = loop {
            match self.step(tokens) {
                Ok(Step::More) => {}
                Ok(Step::EndOfLine) if tokens.is_empty() => begin = self.at,
                Ok(Step::EndOfLine | Step::EndOfText) => break Ok(()),
                Err(flaw) => break Err(flaw),
            }
        };
        if let Err(flaw) = found {
            self.skip_line();
            return Err(flaw);
        }
        Ok(matches!(self.text.get(begin), Some(b' ' | b'\t')))
    }

    /// Steps over white space, a comment, a parenthesis or a token.
    #[inline]
    fn step(&mut self, tokens: &mut Vec<Token>) -> Result<Step, Flaw> {
        let Some(&octet) = self.text.get(self.at) else {
            if self.depth > 0 {
                self.depth = 0;
                let (line, column) = self.opened;
                return Err(Flaw::at(line, column, "this parenthesis is never closed: write `)` after the last field"));
            }
            return Ok(Step::EndOfText);
        };
        match KINDS[usize::from(octet)] {
            Kind::Word | Kind::Escape => self.word(tokens)?,
            Kind::Space => self.at += 1,
            Kind::LineFeed => {
                self.end_line();
                if self.depth == 0 {
                    return Ok(Step::EndOfLine);
                }
            }
            Kind::Return if self.text.get(self.at + 1) == Some(&b'\n') => self.at += 1,
            Kind::Return => {
                return Err(self.bad_octet("a carriage return without a line feed: lines end in LF or CR LF"));
            }
            Kind::Comment => self.comment(),
            Kind::Quote => self.string(tokens)?,
            Kind::Open => {
                if self.depth == 0 {
                    self.opened = (self.line, self.column(self.at));
                }
                self.depth = self.depth.saturating_add(1);
                self.at += 1;
            }
            Kind::Close if self.depth > 0 => {
                self.depth -= 1;
                self.at += 1;
            }
            Kind::Close => return Err(self.bad_octet("`)` without a `(` before it")),
            Kind::Control if octet == 0 => {
                return Err(self.bad_octet("a NUL octet: the file is no text, or is not in UTF-8"));
            }
            Kind::Control => return Err(self.bad_octet("a control character: write it as \\DDD, in decimal")),
        }
        Ok(Step::More)
    }

    fn word(&mut self, tokens: &mut Vec<Token>) -> Result<(), Flaw> {
        let start = self.at;
        let mut escaped = false;
        loop {
            let rest = &self.text[self.at..];
            let is_plain = |octet: &u8| KINDS[usize::from(*octet)] == Kind::Word;
            self.at += rest.iter().position(|octet| !is_plain(octet)).unwrap_or(rest.len());
            if self.text.get(self.at) != Some(&b'\\') {
                break;
            }
            escaped = true;
            self.escape()?;
        }
        self.push(tokens, start, start, self.at, escaped, false)
    }

    fn string(&mut self, tokens: &mut Vec<Token>) -> Result<(), Flaw> {
        let quote = self.at;
        let mut escaped = false;
        self.at += 1;
        loop {
            match self.text.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(0) => return Err(self.bad_octet("a NUL octet in a quoted string: write it as \\000")),
                None | Some(b'\n') => {
                    let message =
                        "this quote is not closed on its line: write `\"` at its end, and a line feed as \\010";
                    return Err(Flaw::at(self.line, self.column(quote), message));
                }
                Some(_) => self.at += 1,
            }
        }
        let end = self.at;
        self.at += 1;
        self.push(tokens, quote, quote + 1, end, escaped, true)
    }

    fn push(
        &mut self,
        tokens: &mut Vec<Token>,
        first: usize,
        start: usize,
        end: usize,
        escaped: bool,
        quoted: bool,
    ) -> Result<(), Flaw> {
        let (line, column) = (self.line, self.column(first));
        if tokens.len() == LINE_TOKENS_MAX {
            return Err(Flaw::at(line, column, format!("a record with more than {LINE_TOKENS_MAX} fields")));
        }
        let glued = tokens.last().is_some_and(|last| last.end as usize + usize::from(last.quoted) == first);
        let (start, end) = (start as u32, end as u32);
        tokens.push(Token { start, end, line, column, quoted, escaped, glued, made: false });
        Ok(())
    }

    /// Steps over a backslash and the octet behind it.
    fn escape(&mut self) -> Result<(), Flaw> {
        match self.text.get(self.at + 1) {
            None | Some(b'\n' | b'\r' | 0) => Err(self.bad_octet("a backslash with nothing behind it")),
            Some(_) => {
                self.at += 2;
                Ok(())
            }
        }
    }

    fn comment(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.iter().position(|&octet| octet == b'\n').unwrap_or(rest.len());
    }

    fn end_line(&mut self) {
        self.at += 1;
        self.line += 1;
        self.line_start = self.at;
    }

    /// The octet at hand is wrong: steps over it.
    fn bad_octet(&mut self, message: &str) -> Flaw {
        let flaw = Flaw::at(self.line, self.column(self.at), message);
        self.at += 1;
        flaw
    }

    fn column(&self, at: usize) -> u32 {
        (at - self.line_start) as u32 + 1
    }

    /// After a flaw: on to the next logical line, with what parentheses and quotes can still be made out.
    fn skip_line(&mut self) {
        let mut quoted = false;
        while let Some(&octet) = self.text.get(self.at) {
            match octet {
                b'\n' => {
                    self.end_line();
                    quoted = false;
                    if self.depth == 0 {
                        return;
                    }
                }
                b'\\' if self.text.get(self.at + 1).is_some_and(|&next| next != b'\n') => self.at += 2,
                b'"' => {
                    quoted = !quoted;
                    self.at += 1;
                }
                b';' if !quoted => self.comment(),
                b'(' if !quoted => {
                    self.depth = self.depth.saturating_add(1);
                    self.at += 1;
                }
                b')' if !quoted => {
                    self.depth = self.depth.saturating_sub(1);
                    self.at += 1;
                }
                _ => self.at += 1,
            }
        }
        self.depth = 0;
    }
}

/// How far a step of the lexer came.
enum Step {
    More,
    EndOfLine,
    EndOfText,
}
