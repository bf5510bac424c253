//! `$ORIGIN`, `$TTL` and `$INCLUDE` (RFC 1035 §5.1, RFC 2308 §4).

use super::fields::{Fields, Line};
use super::flaw::{Flaw, shown};
use super::{Enough, INCLUDE_DEPTH_FILES_MAX, INCLUDES_MAX, Reader, Scope, time_to_live};

/// An included file: its octets, and what it is read with.
struct Included {
    text: Vec<u8>,
    scope: Scope,
}

impl Reader<'_, '_> {
    /// Obeys the directive that `line` is.
    pub(super) fn directive(&mut self, line: Line<'_>, scope: &mut Scope) -> Result<(), Enough> {
        let name = line.tokens[0].octets(line.text);
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let (obeyed, syntax) = if is("$ORIGIN") {
            (set_origin(line, scope), "$ORIGIN NAME")
        } else if is("$TTL") {
            (self.set_ttl(line, scope), "$TTL SECONDS, or with units as in 1h30m")
        } else if is("$INCLUDE") {
            match self.include(line, scope) {
                Ok(mut included) => {
                    self.nesting.push(included.scope.file);
                    let read = self.text(&included.text, &mut included.scope);
                    self.nesting.pop();
                    return read;
                }
                Err(flaw) => (Err(flaw), "$INCLUDE FILE [ORIGIN]"),
            }
        } else if is("$GENERATE") {
            (self.generate(line, scope), "$GENERATE START-STOP[/STEP] OWNER [TTL] [CLASS] TYPE DATA")
        } else {
            let message = format!("{} is no directive", shown(name));
            (Err(line.tokens[0].flaw(0, message)), "$ORIGIN, $TTL, $INCLUDE or $GENERATE")
        };
        match obeyed {
            Ok(()) => Ok(()),
            Err(flaw) => self.fault(scope.file, &flaw.expecting(syntax)),
        }
    }

    fn set_ttl(&mut self, line: Line<'_>, scope: &Scope) -> Result<(), Flaw> {
        let mut fields = after_name(line, scope)?;
        let (token, octets) = fields.word()?;
        self.default_ttl = Some(time_to_live(token, octets)?);
        fields.finish()
    }

    /// Opens the file that an `$INCLUDE` names.
    fn include(&mut self, line: Line<'_>, scope: &Scope) -> Result<Included, Flaw> {
        let mut fields = after_name(line, scope)?;
        let mut path = Vec::new();
        let token = fields.unescaped(&mut path)?;
        let path = match String::from_utf8(path) {
            Ok(path) if !path.is_empty() && !path.contains('\0') => path,
            _ => return Err(token.flaw(0, "no path of a file")),
        };
        let mut inner = scope.clone();
        if fields.peek().is_some() {
            inner.origin.clear();
            fields.name(&mut inner.origin)?;
            inner.origin_in_doubt = scope.origin_in_doubt;
        }
        fields.finish()?;
        if self.nesting.len() == INCLUDE_DEPTH_FILES_MAX {
            return Err(
                token.flaw(0, format!("files included within each other more than {INCLUDE_DEPTH_FILES_MAX} deep"))
            );
        }
        if self.included == INCLUDES_MAX {
            return Err(token.flaw(0, format!("more than {INCLUDES_MAX} files included")));
        }
        self.included += 1;
        let (name, text) = (self.open)(&path, &self.summary.files[usize::from(scope.file)])
            .map_err(|message| token.flaw(0, format!("{}: {message}", shown(path.as_bytes()))))?;
        let file = self.file_index(name);
        if self.nesting.contains(&file) {
            return Err(token.flaw(0, self.loop_message(file)));
        }
        Ok(Included { text, scope: Scope { file, ..inner } })
    }

    /// The index of the file called `name`, which may have been read before.
    fn file_index(&mut self, name: String) -> u16 {
        let files = &mut self.summary.files;
        let index = files.iter().position(|known| *known == name).unwrap_or_else(|| {
            files.push(name);
            files.len() - 1
        });
        u16::try_from(index).expect("INCLUDES_MAX bounds the files")
    }

    fn loop_message(&self, again: u16) -> String {
        let chain = self.nesting.iter().copied().skip_while(|&file| file != again).chain([again]);
        let names: Vec<&str> = chain.map(|file| self.summary.files[usize::from(file)].as_str()).collect();
        format!("an include loop: {}", names.join(" includes "))
    }
}

fn set_origin(line: Line<'_>, scope: &mut Scope) -> Result<(), Flaw> {
    let read = || {
        let mut fields = after_name(line, scope)?;
        let mut origin = Vec::new();
        fields.name(&mut origin)?;
        fields.finish()?;
        Ok(origin)
    };
    match read() {
        Ok(origin) => {
            // A relative one below an origin in doubt stays in doubt.
            let absolute = line.tokens[1].octets(line.text).ends_with(b".");
            scope.origin_in_doubt &= !absolute;
            scope.origin = origin;
            Ok(())
        }
        Err(flaw) => {
            scope.origin_in_doubt = true;
            Err(flaw)
        }
    }
}

/// The fields after the directive's name.
fn after_name<'a>(line: Line<'a>, scope: &'a Scope) -> Result<Fields<'a>, Flaw> {
    let mut fields = Fields::new(line, &scope.origin);
    fields.take()?;
    Ok(fields)
}

const _: () = assert!(INCLUDES_MAX < u16::MAX as usize);
