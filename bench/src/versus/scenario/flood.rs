//! Scenarios under flood: `auth`, `cache`, `floor` and `python`.

use std::io;

use super::super::asker;
use super::super::configuration::{Role, Zone};
use super::super::data::{self, Content, Questions, Signed};
use super::super::report::Report;
use super::super::servers::{Kind, Server};
use super::super::session::{FLOODED, Running, Session};
use super::super::table::{Against, Bar, Case};
use super::{AUTHORITATIVE, CACHES};

/// Names that are asked of a cache.
pub(super) const HOT: usize = 20_000;
/// Answers that caches must have room for in most scenarios.
pub(super) const ROOM: usize = 200_000;

/// Zones.
pub(super) fn auth(session: &Session) -> io::Result<Report> {
    let folder = session.folder();
    let (names, many) = (session.options.names as usize, session.options.many as usize);
    let bars = [
        Bar { figure: 0, against: Against::BestPeer, limit: 0.74 },
        Bar { figure: 0, against: Against::One(Server::Floor), limit: 1.08 },
    ];
    let zone = data::zone(folder, "bench.test", Content::Addresses(names), 1)?;
    let mut cases =
        vec![zones(session, format!("{names} names"), &bars, &zone, &Questions::uniform("h", &zone.name, names))?];
    let large = data::zone(folder, "many.test", Content::Addresses(many), 1)?;
    let questions = Questions::uniform("h", &large.name, many);
    cases.push(zones(session, format!("{many} names"), &[], &large, &questions)?);
    let cuts = data::zone(folder, "cuts.test", Content::Cuts(many), 1)?;
    let questions = Questions::uniform("www.d", &cuts.name, many);
    cases.push(zones(session, format!("{many} delegations"), &[], &cuts, &questions)?);
    for (signed, proofs) in [(Signed::Nsec, "NSEC"), (Signed::Nsec3, "NSEC3")] {
        session.progress(&format!("signing {names} names with {proofs}"));
        match data::sign(folder, &zone, signed) {
            Ok(zone) => {
                let questions = Questions::uniform("nx", &zone.name, names).absent().dnssec_ok();
                let title = format!("NXDOMAIN of {names} names with {proofs}, DO");
                cases.push(zones(session, title, &[], &zone, &questions)?);
            }
            Err(why) => session.note(format!("a zone with {proofs}: skipped, for {why}")),
        }
    }
    Ok(Report {
        scenario: "auth",
        about: "zones under flood, one CPU for the server; CPU time of all its threads, the kernel's part included. \
                floor is an echo without any data, floor-glommio the same on the runtime of ringdns."
            .to_owned(),
        cases,
        ..Report::default()
    })
}

/// A zone under flood, with the floor beside.
fn zones(session: &Session, title: String, bars: &[Bar], zone: &Zone, questions: &Questions) -> io::Result<Case> {
    let servers = [&AUTHORITATIVE[..], &[Server::Floor, Server::FloorGlommio]].concat();
    zone_under_flood(session, title, bars, &servers, zone, questions)
}

/// A zone under flood.
pub(super) fn zone_under_flood(
    session: &Session,
    title: String,
    bars: &[Bar],
    servers: &[Server],
    zone: &Zone,
    questions: &Questions,
) -> io::Result<Case> {
    let list = session.folder().join("questions");
    questions.write(&list, session.generator())?;
    session.rotate(title, &FLOODED, bars, servers, |server| {
        let running = serve(session, server, 1, zone, questions)?;
        running.flood(questions, &list, false, session.options.offered)
    })
}

/// A server with a zone that has answered one of the questions.
pub(super) fn serve<'a>(
    session: &'a Session,
    server: Server,
    cores: usize,
    zone: &Zone,
    questions: &Questions,
) -> io::Result<Running<'a>> {
    let mut running = session.start(server, cores, Role::Zones(vec![zone.clone()]))?;
    let rcode = if server.kind() == Kind::Limit { 0 } else { questions.rcode };
    running.await_answer(first(questions).messages().at(0), rcode)?;
    Ok(running)
}

/// The first of the questions alone.
pub(super) fn first(questions: &Questions) -> Questions {
    Questions { numbers: questions.numbers[..1].to_vec(), ..questions.clone() }
}

/// A cache before the session's origin that has been asked for each of the names.
pub(super) fn warm<'a>(
    session: &'a Session,
    server: Server,
    entries: usize,
    names: &Questions,
) -> io::Result<Running<'a>> {
    let mut running = session.start(server, 1, session.cache(entries, names.dnssec_ok))?;
    let messages = names.messages();
    running.await_answer(messages.at(0), names.rcode)?;
    asker::ask_all(running.address(), &messages, names.rcode, || session.carry_on())?;
    Ok(running)
}

/// Cached answers.
pub(super) fn cache(session: &Session) -> io::Result<Report> {
    let folder = session.folder();
    let names = session.options.names as usize;
    let hot = HOT.min(names);
    let zone = data::zone(folder, "bench.test", Content::Addresses(names), 1)?;
    let mut zones = vec![(zone, false)];
    let small = data::zone(folder, "signed.test", Content::Addresses(hot), 1)?;
    match data::sign(folder, &small, Signed::Nsec) {
        Ok(signed) => zones.push((signed, true)),
        Err(why) => session.note(format!("signed answers: skipped, for {why}")),
    }
    let first = Questions::unique("h", &zones[0].0.name, 1).messages();
    let _origin = session.origin(zones.iter().map(|(zone, _)| zone.clone()).collect(), &first)?;
    let mut cases = Vec::new();
    for (zone, dnssec_ok) in &zones {
        let (mut asked, mut all) = (Questions::zipf("h", &zone.name, hot), Questions::unique("h", &zone.name, hot));
        if *dnssec_ok {
            (asked, all) = (asked.dnssec_ok(), all.dnssec_ok());
        }
        let list = folder.join("questions");
        asked.write(&list, session.generator())?;
        let title = format!("{hot} hot names, Zipf 0.9{}", if *dnssec_ok { ", signed, DO" } else { "" });
        let bar = Bar { figure: 0, against: Against::BestPeer, limit: 0.66 };
        let bars = if *dnssec_ok { &[][..] } else { std::slice::from_ref(&bar) };
        cases.push(session.rotate(title, &FLOODED, bars, &CACHES, |server| {
            let running = warm(session, server, ROOM, &all)?;
            running.flood(&asked, &list, false, session.options.offered)
        })?);
    }
    Ok(Report {
        scenario: "cache",
        about: "cached answers under flood, one CPU for the server; all names were asked for once before.".to_owned(),
        cases,
        ..Report::default()
    })
}

/// The echoes, and ringdns beside them.
pub(super) fn floor(session: &Session) -> io::Result<Report> {
    let names = session.options.names as usize;
    let zone = data::zone(session.folder(), "bench.test", Content::Addresses(names), 1)?;
    let questions = Questions::uniform("h", &zone.name, names);
    let servers = [Server::Floor, Server::FloorGlommio, Server::Ringdns];
    let bar = Bar { figure: 0, against: Against::One(Server::Floor), limit: 1.08 };
    Ok(Report {
        scenario: "floor",
        about: "what the kernel's UDP path costs: an echo with bare recvmmsg and sendmmsg, the same on glommio, and ringdns \
                with a zone."
            .to_owned(),
        cases: vec![zone_under_flood(session, format!("{names} names"), &[bar], &servers, &zone, &questions)?],
        ..Report::default()
    })
}

/// Answerers in Python, and ringdns beside them, with the same zone.
pub(super) fn python(session: &Session) -> io::Result<Report> {
    let names = session.options.names as usize;
    let zone = data::zone(session.folder(), "bench.test", Content::Addresses(names), 1)?;
    let questions = Questions::uniform("h", &zone.name, names);
    let servers = [Server::Ringdns, Server::Dnspython, Server::Dnslib];
    let bar = Bar { figure: 1, against: Against::BestPeer, limit: 10.0 };
    Ok(Report {
        scenario: "python",
        about:
            "answerers in Python (bench/src/versus/answer.py), one process on one CPU, and ringdns with the same zone."
                .to_owned(),
        cases: vec![zone_under_flood(session, format!("{names} names"), &[bar], &servers, &zone, &questions)?],
        ..Report::default()
    })
}
