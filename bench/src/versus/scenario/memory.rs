//! Scenario `memory`: octets a name of a zone, and octets an answer in a cache.

use std::io;

use super::super::asker;
use super::super::configuration::{Role, Zone};
use super::super::data::{self, Content, Questions};
use super::super::process;
use super::super::report::Report;
use super::super::servers::Server;
use super::super::session::Session;
use super::super::table::{Against, Bar, Case, Figure};
use super::AUTHORITATIVE;

const FIGURES: [Figure; 2] = [Figure::lower("octets each", 0), Figure::lower("MiB in all", 1)];
const CACHES: [Server; 4] = [Server::Ringdns, Server::Unbound, Server::Dnsdist, Server::Recursor];
const ENTRIES: usize = 200_000;
const ENTRIES_LARGE: usize = 1_000_000;
const MEBIBYTE: f64 = (1 << 20) as f64;

pub(super) fn measure(session: &Session) -> io::Result<Report> {
    let folder = session.folder();
    let empty = data::zone(folder, "empty.test", Content::Addresses(1), 1)?;
    let mut cases = Vec::new();
    for names in [session.options.names as usize, session.options.many as usize] {
        let zone = data::zone(folder, "bench.test", Content::Addresses(names), 1)?;
        let bar = Bar { figure: 0, against: Against::BestPeer, limit: 1.2 };
        cases.push(session.rotate(format!("a zone of {names} names"), &FIGURES, &[bar], &AUTHORITATIVE, |server| {
            let without = holding(session, server, &empty, 1)?;
            let with = holding(session, server, &zone, names)?;
            Ok(vec![(with - without) / (names - 1) as f64, with / MEBIBYTE])
        })?);
    }
    let entries = if session.options.large { ENTRIES_LARGE } else { ENTRIES };
    cases.push(cached(session, entries)?);
    Ok(Report {
        scenario: "memory",
        about: "memory (PSS) of all processes of a server: with a zone of one address a name, less without, for each name; and \
                with a cache filled with one address a name, less before it was filled, for each answer."
            .to_owned(),
        cases,
        ..Report::default()
    })
}

/// Octets that a server holds with a zone, once it has answered for its last name.
fn holding(session: &Session, server: Server, zone: &Zone, names: usize) -> io::Result<f64> {
    let last = data::query(&format!("h{}.{}", names - 1, zone.name), false);
    let mut running = session.start(server, 1, Role::Zones(vec![zone.clone()]))?;
    running.await_answer(&last, 0)?;
    settled(|| process::memory(&running.processes()))
}

/// What is held once it does not change any more from one look to the next, or after a few of them.
fn settled(held: impl Fn() -> u64) -> io::Result<f64> {
    let mut last = held();
    for _ in 0..10 {
        std::thread::sleep(std::time::Duration::from_millis(200));
        let now = held();
        if now.abs_diff(last) < last / 1000 {
            break;
        }
        last = now;
    }
    Ok(held() as f64)
}

fn cached(session: &Session, entries: usize) -> io::Result<Case> {
    let zone = data::zone(session.folder(), "wild.test", Content::Wildcard, 1)?;
    let first = Questions::unique("first", &zone.name, 1).messages();
    let messages = Questions::unique("u", &zone.name, entries).messages();
    let _origin = session.origin(vec![zone], &first)?;
    session.rotate(format!("a cache of {entries} answers"), &FIGURES, &[], &CACHES, |server| {
        // Room for twice as many, so that none makes way for another.
        let mut running = session.start(server, 1, session.cache(2 * entries, false))?;
        running.await_answer(first.at(0), 0)?;
        let before = settled(|| process::memory(&running.processes()))?;
        asker::ask_all(running.address(), &messages, 0, || session.carry_on())?;
        let after = settled(|| process::memory(&running.processes()))?;
        Ok(vec![(after - before) / entries as f64, after / MEBIBYTE])
    })
}
