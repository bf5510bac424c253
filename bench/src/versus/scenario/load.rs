//! Scenario `load`: from the file to the first answer, and a zone read anew while it is asked for.

use std::fs;
use std::io;
use std::net::UdpSocket;
use std::time::Duration;

use super::super::asker::{self, Pace};
use super::super::configuration::{Role, Zone};
use super::super::data::{self, Content, Messages, Questions};
use super::super::process;
use super::super::report::Report;
use super::super::servers::Server;
use super::super::session::{Running, Session};
use super::super::table::{Against, Bar, Case, Figure};
use super::AUTHORITATIVE;
use super::flood::serve;

const LOADED: [Figure; 3] =
    [Figure::lower("ms to the first answer", 0), Figure::lower("CPU ms", 0), Figure::lower("peak MiB", 1)];
const RELOADED: [Figure; 5] = [
    Figure::lower("slowest reply, ms", 3),
    Figure::lower("lost or wrong", 0),
    Figure::lower("p99 µs", 0),
    Figure::lower("ms to the new version", 0),
    Figure::higher("queries/s", 0),
];
/// Asking goes on for so long before the reload, and after the new version has shown itself.
const AROUND: Duration = Duration::from_millis(500);
/// Between two looks for the new version.
const LOOK: Duration = Duration::from_millis(2);
/// The longest that a reload may take.
const RELOAD: Duration = Duration::from_secs(60);
/// No client of ours keeps time beyond this.
const RATE_MAX: f64 = 100_000.0;
const MEBIBYTE: f64 = (1 << 20) as f64;

pub(super) fn measure(session: &Session) -> io::Result<Report> {
    let (names, many) = (session.options.names as usize, session.options.many as usize);
    let small = data::zone(session.folder(), "bench.test", Content::Addresses(names), 1)?;
    let bar = Bar { figure: 0, against: Against::BestPeer, limit: 1.0 };
    let mut cases = vec![loaded(session, &small, names, &[], 1)?];
    let large = data::zone(session.folder(), "many.test", Content::Addresses(many), 1)?;
    cases.push(loaded(session, &large, many, &[bar], 1)?);
    cases.push(loaded(session, &large, many, &[], 2)?);
    cases.push(reloaded(session, many)?);
    Ok(Report {
        scenario: "load",
        about: "zones from file to first answer: wall clock, CPU time of all threads, and the most memory that the largest \
                process ever held. Then a zone that is read anew (SIGHUP) while a client asks for its names at half of what \
                the server can answer, at most 100,000 times a second, in an open loop on the second CPU."
            .to_owned(),
        cases,
        ..Report::default()
    })
}

fn cpus(cores: usize) -> String {
    if cores == 1 { "one CPU".to_owned() } else { format!("{cores} CPUs") }
}

/// From start to the first answer, which is for the last name of the file.
fn loaded(session: &Session, zone: &Zone, names: usize, bars: &[Bar], cores: usize) -> io::Result<Case> {
    let last = last(zone, names);
    // Read once, so that all servers find it in the kernel's memory.
    fs::read(&zone.file)?;
    session.rotate(format!("{names} names, loaded, {}", cpus(cores)), &LOADED, bars, &AUTHORITATIVE, |server| {
        let mut running = session.start(server, cores, Role::Zones(vec![zone.clone()]))?;
        let took = running.await_answer(last.at(0), 0)?;
        let processes = running.processes();
        let used = process::Cpu::of(&processes).since(&process::Cpu::default());
        let peak = process::peak_memory(&processes);
        Ok(vec![took.as_secs_f64() * 1e3, used as f64 / 1e6, peak as f64 / MEBIBYTE])
    })
}

fn last(zone: &Zone, names: usize) -> Messages {
    let numbers = vec![names as u32 - 1];
    Questions { numbers, ..Questions::unique("h", &zone.name, 1) }.messages()
}

/// A reload under half load.
fn reloaded(session: &Session, names: usize) -> io::Result<Case> {
    let folder = session.folder();
    let fresh_folder = folder.join("fresh");
    fs::create_dir_all(&fresh_folder)?;
    let zone = data::zone(folder, "again.test", Content::Addresses(names), 1)?;
    let questions = Questions::uniform("h", &zone.name, names);
    let list = folder.join("questions");
    questions.write(&list, session.generator())?;
    let messages = questions.messages();
    let bars = [
        Bar { figure: 0, against: Against::Nobody, limit: 5.0 },
        Bar { figure: 1, against: Against::Nobody, limit: 0.0 },
    ];
    let mut halves: Vec<(Server, f64)> = Vec::new();
    let mut serial = 1;
    let title = format!("{names} names, reloaded under half load, one CPU");
    session.rotate(title, &RELOADED, &bars, &AUTHORITATIVE, |server| {
        let running = serve(session, server, 1, &zone, &questions)?;
        let half = match halves.iter().find(|(known, _)| *known == server) {
            Some(&(_, half)) => half,
            None => {
                let saturation = running.flood(&questions, &list, false, session.options.offered)?[1];
                halves.push((server, (saturation / 2.0).min(RATE_MAX)));
                halves[halves.len() - 1].1
            }
        };
        serial += 1;
        // Written beside and renamed, as whoever makes zones does.
        let fresh = data::zone(&fresh_folder, &zone.name, Content::Addresses(names), serial)?;
        fs::rename(&fresh.file, &zone.file)?;
        let mut reload = Reload::new(&running, &zone.name, serial)?;
        let asked = asker::ask(running.address(), &messages, 0, Pace::Rate(half), |_, elapsed| {
            session.carry_on()?;
            reload.look(elapsed)
        })?;
        let took = reload.took.ok_or_else(|| io::Error::other("the new version never came"))?;
        if asked.late > asked.sent / 100 {
            session.note(format!("{} of {} queries to {} went out late", asked.late, asked.sent, server.name()));
        }
        let missing = (asked.lost + asked.wrong) as f64;
        Ok(vec![
            asked.percentile(1.0) / 1e3,
            missing,
            asked.percentile(0.99),
            took.as_secs_f64() * 1e3,
            asked.sent as f64 / asked.length.as_secs_f64(),
        ])
    })
}

/// A reload that begins when asking has gone on for a while, and what shows that it is over.
struct Reload<'a> {
    running: &'a Running<'a>,
    socket: UdpSocket,
    /// Asks for the address of the name `version`, and the address that the new zone has there.
    query: Vec<u8>,
    fresh: [u8; 4],
    /// All on the client's clock: when the order was given, when it was looked last, when the new version was seen.
    ordered: Option<Duration>,
    looked: Duration,
    seen: Option<Duration>,
    /// From the order to the new version.
    took: Option<Duration>,
}

impl<'a> Reload<'a> {
    fn new(running: &'a Running<'a>, zone: &str, serial: u32) -> io::Result<Reload<'a>> {
        let socket = UdpSocket::bind(("0.0.0.0", 0))?;
        socket.connect(running.address())?;
        socket.set_nonblocking(true)?;
        let query = data::query(&format!("version.{zone}"), false);
        let fresh = data::version_address(serial);
        let none = Duration::ZERO;
        Ok(Reload { running, socket, query, fresh, ordered: None, looked: none, seen: None, took: None })
    }

    /// Called time and again while asking goes on; whether it is to go on.
    fn look(&mut self, elapsed: Duration) -> io::Result<bool> {
        if let Some(seen) = self.seen {
            return Ok(elapsed < seen + AROUND);
        }
        if elapsed < AROUND || elapsed < self.looked + LOOK {
            return Ok(true);
        }
        self.looked = elapsed;
        let ordered = match self.ordered {
            Some(ordered) => ordered,
            None => {
                self.running.reload()?;
                *self.ordered.insert(elapsed)
            }
        };
        let mut buffer = [0; 512];
        while let Ok(octets) = self.socket.recv(&mut buffer) {
            // Minimal replies or not: the address stands in the answer.
            if buffer[..octets].windows(4).any(|window| window == self.fresh) {
                self.seen = Some(elapsed);
                self.took = Some(elapsed - ordered);
            }
        }
        let _ = self.socket.send(&self.query);
        Ok(elapsed < ordered + RELOAD)
    }
}
