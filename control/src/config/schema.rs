//! How declared tables are read from TOML, written back, and described. Knows no single setting.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{At, Collector, Lines, Place};
use super::form::Form;
use super::pieces::{Piece, Root};
use super::print::Print;

/// A value in the configuration file.
pub(super) type Found<'a> = &'a Spanned<DeValue<'a>>;

/// The place of what no line of the file says.
const FILE_START: Place = Place { line: 1, column: 1 };

/// What is said of a key.
pub(super) struct KeyDescription {
    pub(super) name: &'static str,
    /// The default as TOML; `None` where the key must be given.
    pub(super) default: Option<&'static str>,
    /// The default, or an example where there is none or it is empty, as TOML.
    pub(super) sample: &'static str,
    pub(super) accepts: String,
    pub(super) doc: &'static str,
}

/// What is said of a table.
pub(super) struct TableDescription {
    /// With its brackets, as it is written.
    pub(super) heading: String,
    pub(super) doc: &'static str,
    pub(super) keys: Vec<KeyDescription>,
    pub(super) later: &'static [&'static str],
}

/// A declared table.
pub(super) trait Table: Sized {
    const NAME: &'static str;
    /// With its brackets, as it is written.
    const HEADING: &'static str;
    /// Entries of `[[NAME]]` at most; 0: the table is a single `[NAME]`.
    const ENTRIES_MAX: usize;
    /// The keys that there are.
    const KEYS: &'static [&'static str];
    /// Keys of the documented contract that this version does not have.
    const LATER: &'static [&'static str];

    fn describe() -> TableDescription;
    /// Reads the table; mistakes go to the reader.
    fn read(reader: &mut Reader<'_>, table: &DeTable<'_>, heading: Place) -> Option<Self>;
    /// Key and TOML of every value.
    fn write(&self) -> Vec<(&'static str, String)>;

    /// The table as it is when the file has none; only where every key has a default.
    fn defaults(folder: &Path) -> Self {
        let mut reader = Reader::new("", folder);
        Self::read(&mut reader, &DeTable::new(), FILE_START).expect("every key has a default that its form accepts")
    }
}

/// Reads a parsed file, collecting every mistake on the way.
pub(super) struct Reader<'a> {
    lines: Lines<'a>,
    folder: &'a Path,
    /// Where the piece of the text begins that is being read.
    piece_at: usize,
    /// The heading of the table that leaves out the key that is being read.
    left_out_at: Option<Place>,
    /// The key that is being read and its table, for messages.
    key: (&'static str, Cow<'static, str>),
    /// The values of keys that are left out, by their TOML: of thousands of tables each leaves out most.
    defaults: HashMap<&'static str, Rc<Spanned<DeValue<'static>>>>,
    /// What is read, for a reload to compare.
    print: Print,
    is_torn: bool,
    faults: Collector,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str, folder: &'a Path) -> Reader<'a> {
        Reader {
            lines: Lines::new(text),
            folder,
            piece_at: 0,
            left_out_at: None,
            key: ("", Cow::Borrowed("")),
            defaults: HashMap::new(),
            print: Print::new(text),
            is_torn: false,
            faults: Collector::default(),
        }
    }

    /// The whole of a small regular file that the configuration names. It is noted, so that a reload knows when it has
    /// changed.
    pub(super) fn file(&mut self, path: PathBuf, octets_max: u64) -> io::Result<String> {
        self.print.read(path, octets_max)
    }

    /// Whether the text must be read as a whole, since a piece of it cannot stand alone.
    pub(super) fn is_torn(&self) -> bool {
        self.is_torn
    }

    /// The folder to which relative paths are relative.
    pub(super) fn folder(&self) -> &Path {
        self.folder
    }

    /// A mistake at an octet of the text that is not about the value of one key.
    pub(super) fn fault(&mut self, offset: usize, message: String) {
        self.faults.push(self.lines.place(self.piece_at + offset), message);
    }

    /// The value with its place.
    pub(super) fn at<T>(&self, value: T, found: Found<'_>) -> At<T> {
        At::new(value, self.place(found))
    }

    /// Where a value begins; for a default, and all that is in it, the heading of its table.
    pub(super) fn place(&self, found: Found<'_>) -> Place {
        self.left_out_at.unwrap_or_else(|| self.lines.place(self.piece_at + found.span().start))
    }

    /// What was wrong, and what was read.
    pub(super) fn finish(self) -> (Collector, Print) {
        (self.faults, self.print)
    }

    /// A mistake in the value of the key being read. Always `None`, so that a form can end with it.
    pub(super) fn say<T>(&mut self, found: Found<'_>, message: &str) -> Option<T> {
        let (name, title) = &self.key;
        self.fault(found.span().start, format!("`{name}` in {title}: {message}"));
        None
    }

    /// The value is of the wrong type, or out of range.
    pub(super) fn wrong<T>(&mut self, found: Found<'_>, accepts: &str) -> Option<T> {
        let shown = self.shown(found);
        self.say(found, &format!("found {shown}; accepted: {accepts}"))
    }

    /// The value is one that a later version has.
    pub(super) fn later<T>(&mut self, found: Found<'_>, what: &str, accepts: &str) -> Option<T> {
        self.say(found, &format!("{what} is not available in this version; accepted: {accepts}"))
    }

    /// The value as it stands in the file, cut to what fits a message.
    fn shown(&self, found: Found<'_>) -> String {
        const SHOWN_CHARS_MAX: usize = 48;
        let span = found.span();
        let written = self.lines.part(self.piece_at + span.start..self.piece_at + span.end);
        let line = written.lines().next().unwrap_or_default();
        match line.char_indices().nth(SHOWN_CHARS_MAX) {
            Some((cut, _)) => format!("{} `{}…`", kind(found), &line[..cut]),
            None if line.len() < written.len() => format!("{} `{line}…`", kind(found)),
            None => format!("{} `{line}`", kind(found)),
        }
    }

    /// Refuses every table that is not declared.
    pub(super) fn known_tables(&mut self, root: &Root<'_>, known: &[&str], later: &[&str]) {
        let names: Vec<&str> = known.iter().map(|heading| heading.trim_matches(['[', ']'])).collect();
        for (key, _) in root.rest.iter().filter(|(key, _)| !names.contains(&key.get_ref().as_ref())) {
            let name = key.get_ref().as_ref();
            let message = if later.contains(&name) {
                format!("the table `{name}` is not available in this version; remove it")
            } else {
                format!("unknown table or key `{name}`{}; accepted: {}", meant(name, &names), known.join(", "))
            };
            self.fault(key.span().start, message);
        }
    }

    /// The single table `T`, or its defaults.
    pub(super) fn single<T: Table>(&mut self, root: &Root<'_>) -> Option<T> {
        match root.rest.get(T::NAME) {
            None => T::read(self, &DeTable::new(), FILE_START),
            Some(found) => match found.get_ref().as_table() {
                Some(table) => self.table(table, self.place(found)),
                None => self.wrong_shape::<T, _>(found),
            },
        }
    }

    /// Every entry of the tables `T`.
    pub(super) fn several<T: Table>(&mut self, root: &Root<'_>) -> Option<Vec<At<T>>> {
        let pieces = root.pieces(T::NAME);
        let Some(found) = root.rest.get(T::NAME) else {
            return self.each::<T>(pieces.len(), |nth| pieces[nth].at, |reader, nth| reader.piece(&pieces[nth]));
        };
        self.is_torn |= !pieces.is_empty();
        let Some(entries) = found.get_ref().as_array() else {
            return self.wrong_shape::<T, _>(found);
        };
        self.each(entries.len(), |nth| entries[nth].span().start, |reader, nth| reader.entry(&entries[nth]))
    }

    /// Reads `count` entries, each with `read`; `at` tells where one begins.
    fn each<T: Table>(
        &mut self,
        count: usize,
        at: impl Fn(usize) -> usize,
        mut read: impl FnMut(&mut Self, usize) -> Option<At<T>>,
    ) -> Option<Vec<At<T>>> {
        if count > T::ENTRIES_MAX {
            self.fault(at(T::ENTRIES_MAX), format!("more than {} {} tables", T::ENTRIES_MAX, T::HEADING));
            return None;
        }
        let mut whole = Some(Vec::with_capacity(count));
        for nth in 0..count {
            match (read(self, nth), &mut whole) {
                (Some(entry), Some(entries)) => entries.push(entry),
                (Some(_), None) => {}
                (None, _) => whole = None,
            }
        }
        whole
    }

    fn entry<T: Table>(&mut self, entry: Found<'_>) -> Option<At<T>> {
        match entry.get_ref().as_table() {
            Some(table) => self.table(table, self.place(entry)).map(|value| self.at(value, entry)),
            None => self.wrong_shape::<T, _>(entry),
        }
    }

    /// The one entry of a piece.
    fn piece<T: Table>(&mut self, piece: &Piece<'_>) -> Option<At<T>> {
        let Some(root) = piece.parse() else {
            self.is_torn = true;
            return None;
        };
        let entries = root.get_ref().get(T::NAME).and_then(|found| found.get_ref().as_array());
        match entries.map(|entries| &**entries) {
            Some([entry]) => {
                self.piece_at = piece.at;
                let read = self.entry(entry);
                self.piece_at = 0;
                read
            }
            _ => {
                self.is_torn = true;
                None
            }
        }
    }

    fn table<T: Table>(&mut self, table: &DeTable<'_>, heading: Place) -> Option<T> {
        self.known_keys(table, T::HEADING, T::KEYS, T::LATER);
        T::read(self, table, heading)
    }

    /// Refuses every key of the table `title` that is not declared.
    pub(super) fn known_keys(&mut self, table: &DeTable<'_>, title: &str, known: &[&str], later: &[&str]) {
        for (key, _) in table.iter().filter(|(key, _)| !known.contains(&key.get_ref().as_ref())) {
            let name = key.get_ref().as_ref();
            let message = if later.contains(&name) {
                format!("`{name}` in {title} is not available in this version; remove it")
            } else {
                let accepted = known.join("`, `");
                format!("unknown key `{name}` in {title}{}; accepted: `{accepted}`", meant(name, known))
            };
            self.fault(key.span().start, message);
        }
    }

    fn wrong_shape<T: Table, V>(&mut self, found: Found<'_>) -> Option<V> {
        self.fault(found.span().start, format!("`{}` is {}; write it as {}", T::NAME, kind(found), T::HEADING));
        None
    }

    /// The value of one key, its default where the table does not have it.
    pub(super) fn key<F: Form>(
        &mut self,
        table: (&DeTable<'_>, Place, impl Into<Cow<'static, str>>),
        name: &'static str,
        form: &F,
        default: Option<&'static str>,
    ) -> Option<At<F::Value>> {
        let (table, heading, title) = table;
        // A value may be a table with keys of its own: what is said of it afterwards is said of the outer key.
        let outer = mem::replace(&mut self.key, (name, title.into()));
        let value = match (table.get(name), default) {
            (Some(found), _) => form.read(self, found).map(|value| self.at(value, found)),
            (None, Some(default)) => {
                let parsed = || Rc::new(DeValue::parse(default).expect("a default of ours parses"));
                let found = Rc::clone(self.defaults.entry(default).or_insert_with(parsed));
                let before = self.left_out_at.replace(heading);
                let value = form.read(self, &found);
                self.left_out_at = before;
                assert!(value.is_some(), "the default of `{name}` in {} is not accepted", self.key.1);
                value.map(|value| At::new(value, heading))
            }
            (None, None) => {
                let title = &self.key.1;
                self.faults.push(heading, format!("{title} lacks `{name}`; accepted: {}", form.accepts()));
                None
            }
        };
        self.key = outer;
        value
    }
}

/// What a value is, for messages.
pub(super) fn kind(found: Found<'_>) -> &'static str {
    match found.get_ref() {
        DeValue::String(_) => "the string",
        DeValue::Integer(_) => "the number",
        DeValue::Float(_) => "the fraction",
        DeValue::Boolean(_) => "the word",
        DeValue::Datetime(_) => "the date",
        DeValue::Array(_) => "the list",
        DeValue::Table(_) => "the table",
    }
}

/// A hint where `name` looks like one of `known`.
pub(super) fn meant(name: &str, known: &[&str]) -> String {
    let close = known.iter().map(|known| (strsim::damerau_levenshtein(name, known), known)).min();
    match close {
        Some((distance, known)) if distance <= 1 + name.len() / 4 => format!(" (did you mean `{known}`?)"),
        _ => String::new(),
    }
}

/// Declares the tables of the configuration file and the type that holds them all. From the one declaration come the
/// types, the reading, the default file, the printed configuration and the reference page.
///
/// What follows a form is the value of a key that the file leaves out (`default`), or an example: of a key that must be
/// given (`example`), or of one that is `""` where it is left out (`optional`).
macro_rules! settings {
    ($(
        $(#[doc = $doc:literal])+
        $shape:ident($entries:expr) $table:ident: $type:ident {
            $(
                $(#[doc = $key_doc:literal])+
                $key:ident: $value:ty = $form:expr, $presence:ident $sample:literal;
            )+
            later: [$($later:literal),*];
        }
    )+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Clone, Debug, PartialEq)]
            pub struct $type {
                $($(#[doc = $key_doc])+ pub $key: At<$value>,)+
            }

            impl Table for $type {
                const NAME: &'static str = stringify!($table);
                const HEADING: &'static str = settings!(@heading $shape $table);
                const ENTRIES_MAX: usize = $entries;
                const KEYS: &'static [&'static str] = &[$(stringify!($key)),+];
                const LATER: &'static [&'static str] = &[$($later),*];

                fn describe() -> TableDescription {
                    TableDescription {
                        heading: Self::HEADING.to_owned(),
                        doc: concat!($($doc, "\n"),+),
                        keys: vec![$(KeyDescription {
                            name: stringify!($key),
                            default: settings!(@default $presence $sample),
                            sample: $sample,
                            accepts: $form.accepts(),
                            doc: concat!($($key_doc, "\n"),+),
                        }),+],
                        later: Self::LATER,
                    }
                }

                fn read(reader: &mut Reader<'_>, table: &DeTable<'_>, heading: Place) -> Option<Self> {
                    $(
                        let default = settings!(@default $presence $sample);
                        let $key = reader.key((table, heading, Self::HEADING), stringify!($key), &$form, default);
                    )+
                    Some($type { $($key: $key?),+ })
                }

                fn write(&self) -> Vec<(&'static str, String)> {
                    vec![$((stringify!($key), $form.write(&self.$key))),+]
                }
            }
        )+

        /// Everything that a configuration file says, defaults filled in.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Settings {
            $($(#[doc = $doc])+ pub $table: settings!(@shape $shape $type),)+
        }

        impl Settings {
            /// Reads the parsed file; mistakes go to the reader.
            pub(super) fn read(reader: &mut Reader<'_>, root: &Root<'_>, later: &[&str]) -> Option<Settings> {
                reader.known_tables(root, &[$($type::HEADING),+], later);
                $(let $table = reader.$shape::<$type>(root);)+
                Some(Settings { $($table: $table?),+ })
            }

            /// The names of the tables of which there may be several; nothing for each of the others.
            pub(super) const SEVERAL: &[&str] = &[$(settings!(@several $shape $table)),+];

            /// Heading and values of every table, in the order of the file.
            pub(super) fn tables(&self) -> Vec<(&'static str, Vec<(&'static str, String)>)> {
                let mut tables = Vec::new();
                $(settings!(@tables $shape self.$table, $type, tables);)+
                tables
            }

            /// What is said of every table.
            pub(super) fn describe() -> Vec<TableDescription> {
                vec![$($type::describe()),+]
            }
        }
    };
    (@default default $sample:literal) => { Some($sample) };
    (@default optional $sample:literal) => { Some("\"\"") };
    (@default example $sample:literal) => { None };
    (@heading single $table:ident) => { concat!("[", stringify!($table), "]") };
    (@heading several $table:ident) => { concat!("[[", stringify!($table), "]]") };
    (@several single $table:ident) => { "" };
    (@several several $table:ident) => { stringify!($table) };
    (@shape single $type:ident) => { $type };
    (@shape several $type:ident) => { Vec<At<$type>> };
    (@tables single $table:expr, $type:ident, $tables:ident) => {
        $tables.push(($type::HEADING, $table.write()));
    };
    (@tables several $table:expr, $type:ident, $tables:ident) => {
        $tables.extend($table.iter().map(|entry| ($type::HEADING, entry.write())));
    };
}

pub(super) use settings;
