//! `ringdns top`: what the server that runs is doing, as it does it.
//!
//! [`view`] makes figures of what the server told at two moments, [`page`] lines of figures; [`screen`] lays them out
//! for a terminal, which [`terminal`] takes and gives back, and [`live`] waits for keys, signals and figures. Without a
//! terminal, `--once` prints one page, and `--json` objects.

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Args;

use crate::ctl::exchange::Request;
use crate::ctl::text::{harmless, span_in_micros};
use crate::ctl::whom::{Server, Whom};
use crate::failure::Failure;
use crate::print_part;

use view::{Sample, View};

mod live;
mod names;
mod page;
mod screen;
mod terminal;
mod view;

/// Columns of a page that no terminal shows.
const WIDTH: usize = 130;
/// Between two looks.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
const INTERVAL_MAX: Duration = Duration::from_secs(60 * 60);

/// The command line of `ringdns top`.
#[derive(Args)]
#[command(
    after_help = "Keys: q quits; p pauses; + and - change the interval; Tab, Left and Right choose a pane, which \
                        Up, Down, Page Up, Page Down, Home and End scroll."
)]
pub(crate) struct Top {
    #[command(flatten)]
    whom: Whom,
    /// How long figures are counted before they are shown, as 500ms or 2s
    #[arg(long, value_name = "SPAN", default_value = "1s", value_parser = interval)]
    interval: Duration,
    /// Prints one page and ends
    #[arg(long)]
    once: bool,
    /// Prints a JSON object a line, one at each interval
    #[arg(long)]
    json: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = span_in_micros(text).map(Duration::from_micros)?;
    match (INTERVAL_MIN..=INTERVAL_MAX).contains(&interval) {
        true => Ok(interval),
        false => Err("it is not between 100ms and 1h".to_owned()),
    }
}

/// Asks for figures, and knows what came the last time.
struct Asker {
    server: Server,
    before: Option<Sample>,
}

impl Asker {
    fn new(server: Server) -> Asker {
        Asker { server, before: None }
    }

    /// The figures since the last look; the error is a line for people.
    fn look(&mut self) -> Result<View, String> {
        self.sample().map_err(|failure| harmless(&failure.to_string()))
    }

    fn sample(&mut self) -> Result<View, Failure> {
        let stats = self.server.object(&Request::look("/stats"))?;
        let status = self.server.object(&Request::look("/status"))?;
        let sample = Sample { stats, status };
        let view = View::between(self.before.as_ref(), &sample);
        self.before = Some(sample);
        Ok(view)
    }
}

/// Shows what the server does.
pub(crate) fn run(top: &Top) -> Result<ExitCode, Failure> {
    let server = top.whom.server()?;
    match (top.once, top.json) {
        (false, false) if io::stdin().is_terminal() && io::stdout().is_terminal() => live::run(&server, top.interval),
        (false, false) => Err(Failure::Environment(
            "there is no terminal to draw on; --once prints one page, --json objects".to_owned(),
        )),
        (once, is_json) => print_pages(server, top.interval, once, is_json),
    }
}

/// Prints one page, or one at each interval, for as long as somebody reads.
fn print_pages(server: Server, interval: Duration, once: bool, is_json: bool) -> Result<ExitCode, Failure> {
    let mut asker = Asker::new(server);
    asker.sample()?;
    loop {
        thread::sleep(interval);
        let view = asker.sample()?;
        let text = match is_json {
            true => format!("{}\n", view.to_json()),
            false => page::text(&view, &names::ask(&asker.server), &asker.server.place(), WIDTH),
        };
        if !print_part(&text)? || once {
            return Ok(ExitCode::SUCCESS);
        }
    }
}
