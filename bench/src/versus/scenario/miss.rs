//! Scenario `miss`: questions that no cache has, each a name of its own, before an origin.

use std::io;
use std::time::Duration;

use super::super::asker::{self, Pace};
use super::super::data::{self, Content, Questions};
use super::super::report::Report;
use super::super::servers::Server;
use super::super::session::Session;
use super::super::table::{Against, Bar, Figure};
use super::flood::{ROOM, first};

/// Queries in flight: enough that the server never waits for us, few enough that none of its tables overflows.
const WINDOW: usize = 256;
/// More names than any server can look up in a second.
const NAMES_A_SECOND: usize = 200_000;

pub(super) fn measure(session: &Session) -> io::Result<Report> {
    let zone = data::zone(session.folder(), "miss.test", Content::Wildcard, 1)?;
    let questions = Questions::unique("u", &zone.name, NAMES_A_SECOND * session.options.seconds as usize);
    let messages = questions.messages();
    // Not one of those that will be asked.
    let ready = first(&Questions::unique("ready", &zone.name, 1)).messages();
    let _origin = session.origin(vec![zone], &ready)?;
    let figures = [
        Figure::higher("replies/s", 0),
        Figure::lower("CPU µs a reply", 2),
        Figure::lower("p50 µs", 0),
        Figure::lower("p99 µs", 0),
    ];
    let bar = Bar { figure: 0, against: Against::One(Server::Unbound), limit: 1.5 };
    let servers = [Server::Ringdns, Server::Unbound, Server::Dnsdist, Server::Recursor];
    let length = Duration::from_secs(session.options.seconds);
    let case =
        session.rotate(format!("{WINDOW} queries in flight, all misses"), &figures, &[bar], &servers, |server| {
            let mut running = session.start(server, 1, session.cache(ROOM, false))?;
            running.await_answer(ready.at(0), 0)?;
            let (cost, asked) = running.cost(|| {
                asker::ask(running.address(), &messages, 0, Pace::Window(WINDOW), |sent, elapsed| {
                    session.carry_on()?;
                    Ok(elapsed < length && sent < messages.count() as u64)
                })
            })?;
            if asked.answered < asked.sent / 2 {
                return Err(io::Error::other(format!("{} of {} queries were answered", asked.answered, asked.sent)));
            }
            let answered = asked.answered as f64;
            let rate = answered / asked.length.as_secs_f64();
            Ok(vec![rate, cost / answered, asked.percentile(0.5), asked.percentile(0.99)])
        })?;
    Ok(Report {
        scenario: "miss",
        about:
            "questions that no cache has, before an NSD with a wildcard; one CPU for the server, the other one for the \
                origin and a client with a window of queries in flight."
                .to_owned(),
        cases: vec![case],
        ..Report::default()
    })
}
