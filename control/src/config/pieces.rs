//! A configuration file cut at its `[[…]]` headings, so that it is read table by table: the tree of ten thousand tables
//! at once would take more time and memory than everything that is made of it.
//!
//! A cut must not change what the file says. It is made where a line is the heading of a table that there may be several
//! of, and nothing else, in a text without strings of several lines: inside of anything else such a line is a mistake, and
//! leaves a piece that cannot be parsed alone. Whenever a piece cannot, or what lies between the pieces has a name that
//! they have too, the file is read as a whole. So what is said of mistakes does not depend on cuts either.

use toml::Spanned;
use toml::de::{DeTable, Error};

/// A text on its way to settings.
pub(super) struct Root<'a> {
    /// What is not in pieces, at the offsets at which it stands in the text.
    pub(super) rest: DeTable<'a>,
    pieces: Vec<(&'static str, Vec<Piece<'a>>)>,
}

/// A heading and what stands below it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    text: &'a str,
    /// Its offset in the whole text.
    pub(super) at: usize,
}

impl<'a> Piece<'a> {
    /// `None` where it has mistakes of syntax.
    pub(super) fn parse(&self) -> Option<Spanned<DeTable<'a>>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        errors.is_empty().then_some(table)
    }
}

impl<'a> Root<'a> {
    /// The whole text as one, and its mistakes of syntax.
    pub(super) fn whole(text: &'a str) -> (Root<'a>, Vec<Error>) {
        let (root, errors) = DeTable::parse_recoverable(text);
        (Root { rest: root.into_inner(), pieces: Vec::new() }, errors)
    }

    /// What `cut` has made of a text; `None` where there are mistakes of syntax between the pieces.
    pub(super) fn in_pieces(cut: &'a Cut<'a>) -> Option<Root<'a>> {
        let (root, errors) = DeTable::parse_recoverable(&cut.rest);
        errors.is_empty().then(|| Root { rest: root.into_inner(), pieces: cut.pieces.clone() })
    }

    /// The pieces with the tables of a name.
    pub(super) fn pieces(&self, name: &str) -> &[Piece<'a>] {
        self.pieces.iter().find(|(of, _)| *of == name).map_or(&[], |(_, pieces)| pieces)
    }
}

/// A text that has been cut.
pub(super) struct Cut<'a> {
    /// The text with blanks in the place of the pieces.
    rest: String,
    pieces: Vec<(&'static str, Vec<Piece<'a>>)>,
}

impl<'a> Cut<'a> {
    /// Cuts a text at the headings of tables called `names`; `None` where it cannot be cut.
    pub(super) fn new(text: &'a str, names: &'static [&'static str]) -> Option<Cut<'a>> {
        if text.contains("\"\"\"") || text.contains("'''") {
            return None;
        }
        let mut pieces: Vec<(&'static str, Vec<Piece<'a>>)> = names.iter().map(|name| (*name, Vec::new())).collect();
        let mut rest = String::with_capacity(text.len());
        // The piece that is open: the place of its name, and where it begins.
        let mut open: Option<(usize, usize)> = None;
        let mut close = |open: Option<(usize, usize)>, end: usize, rest: &mut String| {
            if let Some((name, at)) = open {
                pieces[name].1.push(Piece { text: &text[at..end], at });
                rest.extend(std::iter::repeat_n(' ', end - at));
            }
        };
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            let (white, words) = line.split_at(line.len() - line.trim_ascii_start().len());
            let begin = at + white.len();
            at += line.len();
            if open.is_none() {
                rest.push_str(white);
            }
            if words.starts_with('[') {
                close(open.take(), begin, &mut rest);
                let name = heading(words).and_then(|word| names.iter().position(|name| *name == word));
                open = name.map(|name| (name, begin));
            }
            if open.is_none() {
                rest.push_str(words);
            }
        }
        close(open, at, &mut rest);
        Some(Cut { rest, pieces })
    }
}

/// The name in a line that is a heading with two brackets, white space and a comment left aside.
fn heading(line: &str) -> Option<&str> {
    let (name, behind) = line.trim_ascii().strip_prefix("[[")?.split_once("]]")?;
    let behind = behind.trim_ascii_start();
    let name = name.trim_ascii();
    (!name.is_empty() && (behind.is_empty() || behind.starts_with('#'))).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::super::{as_a_whole, in_pieces};
    use crate::config::keys::Settings;
    use crate::config::schema::Reader;

    /// Everything that reading gave, places and mistakes among it.
    fn shown((settings, reader): (Option<Settings>, Reader<'_>)) -> String {
        format!("{settings:?}\n{:?}", reader.finish().0.finish("r.toml"))
    }

    /// Whether a text is read in pieces. Then it says the same as when it is read as a whole.
    fn is_cut(text: &str) -> bool {
        let Some(in_pieces) = in_pieces(text, Path::new("/etc")) else { return false };
        assert_eq!(shown(in_pieces), shown(as_a_whole(text, Path::new("/etc"))), "{text}");
        true
    }

    #[test]
    fn a_text_in_pieces_says_what_it_says_as_a_whole() {
        let many = "[[listen]]\naddress = \"127.0.0.1:53\"\n".repeat(65);
        for text in [
            "",
            "# nothing\n",
            "[server]\nidentity = \"ä\"\n[[zone]]\nname = \"a.test\"\nfile = \"a\"\n[[zone]]\nname = \"b.test\"\n",
            "[[zone]]\r\nname = \"a.test\"\r\n\r\n[limits]\r\nwaiters = 5\r\n[[zone]]\r\nname = \"ä.test\"\r\n",
            "  [[ zone ]] # one\n\tname = \"a.test\"\n \t[[zone]]\n  name = \"b.test\"\n  nmae = 1\n",
            "[[zone]]\nname = \"a.test\"\nnotify = [\n  \"192.0.2.1:53\",\n  \"x\",\n]\ngroup = 7\n[cache]\nsize = \"\"\n",
            "[[zone]]\n[[zone]]\n[[key]]\nname = \"ä\"\n[[nothing]]\n",
            "[[\"zone\"]]\nname = \"a.test\"\n",
            "[[zone]]\nname = \"a.test\"\n[zones]\n",
            "[[zone]]\nname = \"[[zone]]\"\n# [[zone]]\n",
            &many,
        ] {
            assert!(is_cut(text), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_cut_is_read_as_a_whole() {
        for text in [
            "[server]\nidentity = \"\"\"\n[[zone]]\n\"\"\"\n",
            "[server]\nidentity = '''\n[[zone]]\n'''\n",
            "[server]\ncores = [\n[[zone]]\n]\n",
            "[[zone]]\nname = \"a.test\"\n[zone.more]\nx = 1\n",
            "[[zone]]\nname = \"a.test\"\n[[zone.more]]\nx = 1\n",
            "[zone]\n[[zone]]\n",
            "zone = []\n[[zone]]\n",
            "[server]\n[[zone]]\n[server]\n",
            "[[]]\n",
            "[[zone]] name = 1\n",
            "[[zone]]\nname = \n",
            "[[zone]]\nname = \"a\"\nname = \"b\"\n",
        ] {
            assert!(!is_cut(text), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn cuts_change_nothing(lines in prop::collection::vec(prop::sample::select(vec![
            "[[zone]]", "[[zone]]", "  [[ zone ]] # x", "[[listen]]", "[[zone.more]]", "[zone]", "[server]", "[limits]",
            "[[\"zone\"]]", "[[]]", "[", "]", "[[", "]]", "name = \"a.test\"", "name = \"b.test\"", "file = \"ä\"",
            "allow_transfer = [", "\"192.0.2.1\",", "[\"192.0.2.1\"],", "identity = \"x\"", "waiters = 7", "zone = []",
            "zone = { name = \"c.test\" }", "zone.name = \"d.test\"", "more = { ", "}", "\"\"\"", "x = '''", "# [[zone]]", "",
            "identity = \"\\", "[[zone]] x", "catalog = true\r",
        ]), 0..14)) {
            is_cut(&lines.join("\n"));
            is_cut(&format!("{}\n", lines.join("\n")));
        }
    }
}
