//! What the program says of itself: one line a message on standard error, for people or as JSON.
//!
//! Much of it is said since somebody else did something: a primary that changes its zone all the time, a name server that
//! tells another address with each answer. Whoever that is must not fill the disk, or hide what matters. So each place
//! in the program that says something may say a few lines at once and then one a second; what is left out is counted, and
//! told with an example. Nothing else in the program needs to think of it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use env_logger::fmt::Formatter;
use log::{LevelFilter, Metadata, Record};

use crate::config::{Log, LogFormat};

/// The target of what is said whole however long it is: an operator has asked for it just now.
pub(crate) const REPORT: &str = "ringdns_control::report";

/// Lines that one place may say at once.
const BURST: u32 = 20;
/// How long it takes until it may say one more.
const REFILL: Duration = Duration::from_secs(1);
/// How often one place is told of that leaves lines out.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// Characters of a message that stands for those left out.
const EXAMPLE_CHARS_MAX: usize = 200;

static JSON: AtomicBool = AtomicBool::new(false);
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);
static PLACES: LazyLock<Mutex<Places>> = LazyLock::new(Mutex::default);

/// Starts logging as `settings` say. Called once a process; no environment variable has a say in it.
pub fn start(settings: &Log) {
    let logger = env_logger::Builder::new()
        .filter_level(LevelFilter::Warn)
        .filter_module("ringdns", LevelFilter::Trace)
        // The runtime warns where it has no locked memory for file I/O, which the cores never do.
        .filter_module("glommio", LevelFilter::Error)
        .format(line)
        .build();
    log::set_boxed_logger(Box::new(Sparing(logger))).expect("logging starts once");
    change(settings);
}

/// Goes on logging as `settings` say.
pub(crate) fn change(settings: &Log) {
    JSON.store(*settings.format == LogFormat::Json, Ordering::Relaxed);
    set_level(*settings.level);
}

/// From now on, and until [`change`] is called, what is less important than `level` is not said.
pub(crate) fn set_level(level: LevelFilter) {
    log::set_max_level(level);
}

/// What is said now.
pub(crate) fn level() -> LevelFilter {
    log::max_level()
}

/// Lines left out so far, since there were too many from one place.
pub(crate) fn left_out() -> u64 {
    LEFT_OUT.load(Ordering::Relaxed)
}

/// Tells what was left out lately. To be called every second or so.
pub(crate) fn sum_up(now: Instant) {
    // What is said here is said without the lock.
    let sums = places().sum_up(now);
    for Sum { lines, example } in sums {
        log::warn!(target: REPORT, "{lines} more lines of a kind were left out, such as: {example}");
    }
}

fn places() -> MutexGuard<'static, Places> {
    PLACES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A logger that leaves out what is too much.
struct Sparing(env_logger::Logger);

impl log::Log for Sparing {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.0.matches(record) {
            return;
        }
        let place = Place::of(record);
        let verdict = if record.target() == REPORT { Verdict::Say } else { places().ask(&place, Instant::now()) };
        match verdict {
            Verdict::Say => return self.0.log(record),
            Verdict::LeaveOut { wants_example: true } => {
                let example = record.args().to_string().chars().take(EXAMPLE_CHARS_MAX).collect();
                places().exemplify(&place, example);
            }
            Verdict::LeaveOut { .. } => {}
        }
        LEFT_OUT.fetch_add(1, Ordering::Relaxed);
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// A place in the program: as many as it has lines that say something.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    file: &'static str,
    line: u32,
}

impl Place {
    fn of(record: &Record<'_>) -> Place {
        // The macros know both; what comes otherwise counts as one place.
        Place { file: record.file_static().unwrap_or_default(), line: record.line().unwrap_or_default() }
    }
}

/// What each place has said lately.
#[derive(Debug, Default)]
struct Places(HashMap<Place, Said>);

#[derive(Debug)]
struct Said {
    /// Lines that it may say yet.
    left: u32,
    /// Since when the next one is being waited for.
    since: Instant,
    /// Lines left out that were not told of.
    untold: u64,
    /// One of them.
    example: String,
    told_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Say,
    LeaveOut { wants_example: bool },
}

/// Lines that one place has left out.
#[derive(Debug, PartialEq, Eq)]
struct Sum {
    lines: u64,
    example: String,
}

impl Places {
    /// Whether a line may be said here.
    fn ask(&mut self, place: &Place, now: Instant) -> Verdict {
        let said = self.0.entry(place.clone()).or_insert_with(|| Said {
            left: BURST,
            since: now,
            untold: 0,
            example: String::new(),
            told_at: None,
        });
        let passed = now.saturating_duration_since(said.since);
        let more = (passed.as_millis() / REFILL.as_millis()).min(u128::from(BURST)) as u32;
        if said.left + more >= BURST {
            (said.left, said.since) = (BURST, now);
        } else {
            (said.left, said.since) = (said.left + more, said.since + REFILL * more);
        }
        if said.left > 0 {
            said.left -= 1;
            return Verdict::Say;
        }
        said.untold += 1;
        Verdict::LeaveOut { wants_example: said.untold == 1 }
    }

    fn exemplify(&mut self, place: &Place, example: String) {
        if let Some(said) = self.0.get_mut(place) {
            said.example = example;
        }
    }

    /// What is to be told, each place once in a while.
    fn sum_up(&mut self, now: Instant) -> Vec<Sum> {
        let due = |told: Instant| now.saturating_duration_since(told) >= TOLD_EVERY;
        let places = self.0.values_mut().filter(|said| said.untold > 0 && said.told_at.is_none_or(due));
        let sum = |said: &mut Said| {
            said.told_at = Some(now);
            Sum { lines: std::mem::take(&mut said.untold), example: std::mem::take(&mut said.example) }
        };
        places.map(sum).collect()
    }
}

fn line(out: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let time = out.timestamp_millis();
    if JSON.load(Ordering::Relaxed) {
        return writeln_json(out, &time, record);
    }
    let level = record.level();
    let style = out.default_level_style(level);
    writeln_text(out, &time, &format_args!("{style}{level:5}{style:#}"), record)
}

fn writeln_json(out: &mut impl io::Write, time: &impl fmt::Display, record: &Record<'_>) -> io::Result<()> {
    let object = serde_json::json!({
        "time": time.to_string(),
        "level": record.level().as_str().to_ascii_lowercase(),
        "target": record.target(),
        "message": record.args().to_string(),
    });
    // What is escaped stands within a string: everything else is ASCII that is seen.
    write_escaped(out, &object.to_string(), |character| format!("\\u{:04x}", u32::from(character)))
}

fn writeln_text(
    out: &mut impl io::Write,
    time: &impl fmt::Display,
    level: &impl fmt::Display,
    record: &Record<'_>,
) -> io::Result<()> {
    let message = match record.args().as_str() {
        Some(text) => Cow::Borrowed(text),
        None => Cow::Owned(record.args().to_string()),
    };
    write!(out, "{time} {level} ")?;
    write_escaped(out, &message, char::escape_default)
}

/// Writes a line with a text in which what is not simply seen is written out: what others have written into it begins no
/// line of its own, tells a terminal nothing, and does not change how the rest of the line reads.
fn write_escaped<E: fmt::Display>(out: &mut impl io::Write, text: &str, escape: impl Fn(char) -> E) -> io::Result<()> {
    let mut rest = text;
    while let Some(at) = rest.find(is_misleading) {
        out.write_all(&rest.as_bytes()[..at])?;
        let mut after = rest[at..].chars();
        if let Some(character) = after.next() {
            write!(out, "{}", escape(character))?;
        }
        rest = after.as_str();
    }
    writeln!(out, "{rest}")
}

/// Control characters (C0, DEL and C1, of which one begins terminals' sequences as ESC does), separators of lines, and what
/// changes the direction of the text after it (Unicode Standard Annex 9).
fn is_misleading(character: char) -> bool {
    let is_format = matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    character.is_control() || is_format
}

#[cfg(test)]
mod tests {
    use log::Level;
    use proptest::prelude::*;

    use super::*;

    const HERE: Place = Place { file: "here.rs", line: 1 };
    const THERE: Place = Place { file: "here.rs", line: 2 };

    fn said(places: &mut Places, place: &Place, asked: usize, now: Instant) -> usize {
        (0..asked).filter(|_| places.ask(place, now) == Verdict::Say).count()
    }

    #[test]
    fn each_place_says_a_few_lines_at_once_and_then_one_a_second() {
        let (mut places, begin) = (Places::default(), Instant::now());
        let burst = BURST as usize;
        assert_eq!(said(&mut places, &HERE, 1_000, begin), burst);
        assert_eq!(said(&mut places, &THERE, 5, begin), 5, "other places have their own");
        let at = |millis| begin + Duration::from_millis(millis);
        assert_eq!(said(&mut places, &HERE, 1_000, at(999)), 0);
        assert_eq!(said(&mut places, &HERE, 1_000, at(2_500)), 2);
        assert_eq!(said(&mut places, &HERE, 1_000, at(3_000)), 1, "the half second counts");
        assert_eq!(said(&mut places, &HERE, 1_000, begin), 0, "a clock that goes back does no harm");
        assert_eq!(said(&mut places, &HERE, 1_000, at(86_400_000)), burst);
        assert_eq!(said(&mut places, &HERE, 1_000, at(86_400_999)), 0);
    }

    #[test]
    fn what_is_left_out_is_told_with_an_example() {
        let (mut places, begin) = (Places::default(), Instant::now());
        assert_eq!(said(&mut places, &HERE, BURST as usize, begin), BURST as usize);
        assert_eq!(places.sum_up(begin), []);
        assert_eq!(places.ask(&HERE, begin), Verdict::LeaveOut { wants_example: true });
        places.exemplify(&HERE, "one of them".to_owned());
        assert_eq!(places.ask(&HERE, begin), Verdict::LeaveOut { wants_example: false });
        assert_eq!(places.sum_up(begin), [Sum { lines: 2, example: "one of them".to_owned() }]);
        assert_eq!(places.ask(&HERE, begin), Verdict::LeaveOut { wants_example: true });
        assert_eq!(places.sum_up(begin + TOLD_EVERY / 2), [], "and not all the time");
        assert_eq!(places.sum_up(begin + TOLD_EVERY).len(), 1);
        assert_eq!(places.sum_up(begin + TOLD_EVERY * 2), []);
    }

    fn with_record<T>(message: &str, then: impl FnOnce(&Record<'_>) -> T) -> T {
        then(&Record::builder().level(Level::Warn).target("ringdns_control").args(format_args!("{message}")).build())
    }

    fn json_line_of(message: &str) -> String {
        let mut out = Vec::new();
        with_record(message, |record| writeln_json(&mut out, &"2026-01-01T00:00:00Z", record)).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn json_of(message: &str) -> serde_json::Value {
        let line = json_line_of(message);
        assert_eq!(line.matches('\n').count(), 1);
        serde_json::from_str(&line).unwrap()
    }

    fn text_of(message: &str) -> String {
        let mut out = Vec::new();
        with_record(message, |record| writeln_text(&mut out, &"now", &"WARN", record)).unwrap();
        String::from_utf8(out).unwrap()
    }

    proptest! {
        #[test]
        fn json_is_valid_for_any_text(message in any::<String>()) {
            let object = json_of(&message);
            prop_assert_eq!(&object["message"], &message);
            prop_assert_eq!(&object["level"], "warn");
        }

        #[test]
        fn text_is_one_line_for_any_text(message in any::<String>()) {
            let line = text_of(&message);
            prop_assert!(line.starts_with("now WARN ") && line.ends_with('\n'));
            prop_assert!(!line[..line.len() - 1].contains(is_misleading));
        }
    }

    #[test]
    fn what_tells_terminals_something_or_turns_the_text_is_written_out_in_both_forms() {
        let escape = ["\u{7f}", "\u{80}", "\u{9b}2J", "\u{9d}0;title\u{9c}", "\u{9f}", "\u{85}forged"];
        let direction = ["\u{202a}", "\u{202d}", "\u{202e}", "\u{2066}", "\u{2069}", "\u{200f}", "\u{61c}", "\u{2028}"];
        for hostile in escape.into_iter().chain(direction) {
            let message = format!("a.{hostile}.test \"q\" \\");
            let text = text_of(&message);
            assert!(!text.trim_end().contains(is_misleading), "{text:?}");
            let json = json_line_of(&message);
            assert!(!json.trim_end().contains(is_misleading), "{json:?}");
            assert_eq!(json_of(&message)["message"], message.as_str());
        }
        assert_eq!(text_of("\u{9b}2J\u{202e}"), "now WARN \\u{9b}2J\\u{202e}\n");
        assert!(json_line_of("\u{9b}2J\u{202e}").contains(r#""\u009b2J\u202e""#));
        assert!(json_line_of("Größe, שלום, 例え").contains("Größe, שלום, 例え"), "what is simply seen stays");
    }

    #[test]
    fn control_characters_are_written_out() {
        assert_eq!(text_of("plain, Größe"), "now WARN plain, Größe\n");
        assert_eq!(text_of("a\nERROR forged\r\u{1b}[2Jb\t"), "now WARN a\\nERROR forged\\r\\u{1b}[2Jb\\t\n");
    }

    #[test]
    fn a_logger_leaves_out_what_is_too_much_and_says_reports_whole() {
        let out = Box::new(Shared::default());
        let logger = env_logger::Builder::new()
            .filter_level(LevelFilter::Info)
            .format(line)
            .target(env_logger::Target::Pipe(out.clone()))
            .build();
        let sparing = Sparing(logger);
        let before = left_out();
        let say = |target, level, line| {
            let mut record = Record::builder();
            record.level(level).target(target).file_static(Some("only/in/this/test.rs")).line(Some(line));
            log::Log::log(&sparing, &record.args(format_args!("too much")).build());
        };
        (0..100).for_each(|_| say("ringdns_control", Level::Info, 1));
        (0..100).for_each(|_| say("ringdns_control", Level::Debug, 2));
        (0..100).for_each(|_| say(REPORT, Level::Info, 3));
        let lines = out.0.lock().unwrap().iter().filter(|&&octet| octet == b'\n').count();
        let left_out = (left_out() - before) as usize;
        assert!((BURST as usize + 100..BURST as usize + 110).contains(&lines), "{lines}");
        assert_eq!(lines + left_out, 200, "what is not said at this level counts as nothing");
    }

    /// Where the test's logger writes.
    #[derive(Clone, Default)]
    struct Shared(std::sync::Arc<Mutex<Vec<u8>>>);

    impl io::Write for Shared {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(octets);
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
