//! Scenario `latency`: times of replies at half of what each server can answer, and what it uses when nobody asks.

use std::io;
use std::thread;
use std::time::Duration;

use super::super::asker::{self, Pace};
use super::super::data::{self, Content, Questions};
use super::super::report::Report;
use super::super::servers::Server;
use super::super::session::{Running, Session};
use super::super::table::{Case, Figure};
use super::flood::{HOT, ROOM, serve, warm};
use super::{AUTHORITATIVE, CACHES};

const FIGURES: [Figure; 6] = [
    Figure::lower("p50 µs", 0),
    Figure::lower("p99 µs", 0),
    Figure::lower("p99.9 µs", 0),
    Figure::lower("lost", 0),
    Figure::higher("queries/s", 0),
    Figure::lower("idle CPU, percent", 2),
];
/// No client of ours keeps time beyond this.
const RATE_MAX: f64 = 100_000.0;
/// How long nobody asks.
const IDLE: Duration = Duration::from_secs(3);

pub(super) fn measure(session: &Session) -> io::Result<Report> {
    let names = session.options.names as usize;
    let hot = HOT.min(names);
    let zone = data::zone(session.folder(), "bench.test", Content::Addresses(names), 1)?;
    let uniform = Questions::uniform("h", &zone.name, names);
    let of_zone = |server| serve(session, server, 1, &zone, &uniform);
    let mut cases = vec![half(session, format!("{names} names"), &AUTHORITATIVE, &uniform, of_zone)?];
    let (zipf, all) = (Questions::zipf("h", &zone.name, hot), Questions::unique("h", &zone.name, hot));
    let _origin = session.origin(vec![zone.clone()], &all.messages())?;
    let of_cache = |server| warm(session, server, ROOM, &all);
    cases.push(half(session, format!("{hot} cached names"), &CACHES, &zipf, of_cache)?);
    Ok(Report {
        scenario: "latency",
        about: "times of replies at half of what each server answers under flood, at most 100,000 a second: an open loop, whose \
                client has the second CPU and never sleeps. The idle share is of one CPU, over 3 s without queries."
            .to_owned(),
        cases,
        ..Report::default()
    })
}

fn half<'a>(
    session: &'a Session,
    title: String,
    servers: &[Server],
    questions: &Questions,
    start: impl Fn(Server) -> io::Result<Running<'a>>,
) -> io::Result<Case> {
    let list = session.folder().join("questions");
    questions.write(&list, session.generator())?;
    let messages = questions.messages();
    let length = Duration::from_secs(session.options.seconds);
    let mut halves: Vec<(Server, f64)> = Vec::new();
    session.rotate(title, &FIGURES, &[], servers, |server| {
        let running = start(server)?;
        let (idle, ()) = running.cost(|| {
            thread::sleep(IDLE);
            Ok(())
        })?;
        let rate = match halves.iter().find(|(known, _)| *known == server) {
            Some(&(_, rate)) => rate,
            None => {
                let saturation = running.flood(questions, &list, false, session.options.offered)?[1];
                halves.push((server, (saturation / 2.0).min(RATE_MAX)));
                halves[halves.len() - 1].1
            }
        };
        let asked = asker::ask(running.address(), &messages, questions.rcode, Pace::Rate(rate), |_, elapsed| {
            session.carry_on()?;
            Ok(elapsed < length)
        })?;
        if asked.answered == 0 {
            return Err(io::Error::other("nothing was answered"));
        }
        if asked.late > asked.sent / 100 {
            session.note(format!("{} of {} queries to {} went out late", asked.late, asked.sent, server.name()));
        }
        Ok(vec![
            asked.percentile(0.5),
            asked.percentile(0.99),
            asked.percentile(0.999),
            (asked.lost + asked.wrong) as f64,
            asked.sent as f64 / asked.length.as_secs_f64(),
            idle / IDLE.as_micros() as f64 * 100.0,
        ])
    })
}
