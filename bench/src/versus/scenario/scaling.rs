//! Scenario `scaling`: one CPU and two; small and large zones; small and large caches.

use std::io;

use super::super::data::{self, Content, Questions};
use super::super::plot::Curve;
use super::super::report::Report;
use super::super::servers::{Kind, Server};
use super::super::session::{FLOODED, Session};
use super::super::table::{Case, Row};
use super::AUTHORITATIVE;
use super::flood::{serve, warm, zone_under_flood};

const CACHE_SIZES: [usize; 3] = [10_000, 100_000, 1_000_000];
const CACHE_LARGE: usize = 5_000_000;

pub(super) fn measure(session: &Session) -> io::Result<Report> {
    let mut cases = cores(session)?;
    let (of_zones, zones) = zones(session)?;
    let (of_caches, caches) = caches(session)?;
    cases.extend(of_zones);
    cases.extend(of_caches);
    Ok(Report {
        scenario: "scaling",
        about: "one CPU for the server and two, the second one shared with the generator, so that CPU time a reply tells, and \
                replies a second do not; and CPU time a reply as zones and caches grow, names asked for at random."
            .to_owned(),
        cases,
        curves: vec![zones, caches],
        ..Report::default()
    })
}

/// One CPU and two.
fn cores(session: &Session) -> io::Result<Vec<Case>> {
    let names = session.options.names as usize;
    let zone = data::zone(session.folder(), "bench.test", Content::Addresses(names), 1)?;
    let questions = Questions::uniform("h", &zone.name, names);
    let list = session.folder().join("questions");
    questions.write(&list, session.generator())?;
    let case = |cores: usize| {
        let title = format!("{names} names, {cores} {}", if cores == 1 { "CPU" } else { "CPUs" });
        session.rotate(title, &FLOODED, &[], &AUTHORITATIVE, |server| {
            serve(session, server, cores, &zone, &questions)?.flood(&questions, &list, false, session.options.offered)
        })
    };
    Ok(vec![case(1)?, case(2)?])
}

/// Zones of growing size.
fn zones(session: &Session) -> io::Result<(Vec<Case>, Curve)> {
    let most = session.options.many as usize;
    let sizes: Vec<usize> = [1000, 10_000, 100_000].into_iter().filter(|&size| size < most).chain([most]).collect();
    let mut cases = Vec::new();
    for &names in &sizes {
        let zone = data::zone(session.folder(), "size.test", Content::Addresses(names), 1)?;
        let questions = Questions::uniform("h", &zone.name, names);
        cases.push(zone_under_flood(
            session,
            format!("a zone of {names} names"),
            &[],
            &AUTHORITATIVE,
            &zone,
            &questions,
        )?);
    }
    let curve = curve("CPU time a reply as zones grow", "names of the zone", &sizes, &cases);
    Ok((cases, curve))
}

/// Caches of growing size. Filling takes long: each is filled once, and flooded again and again.
fn caches(session: &Session) -> io::Result<(Vec<Case>, Curve)> {
    let zone = data::zone(session.folder(), "wild.test", Content::Wildcard, 1)?;
    let first = Questions::unique("first", &zone.name, 1).messages();
    let _origin = session.origin(vec![zone.clone()], &first)?;
    let most = session.options.many as usize;
    let large = session.options.large.then_some(CACHE_LARGE);
    let sizes: Vec<usize> = CACHE_SIZES.into_iter().filter(|&size| size <= most).chain(large).collect();
    let list = session.folder().join("questions");
    let mut cases = Vec::new();
    for &entries in &sizes {
        let questions = Questions::uniform("u", &zone.name, entries);
        questions.write(&list, session.generator())?;
        let title = format!("a cache of {entries} answers");
        let mut rows = Vec::new();
        for server in session.present(&[Server::Ringdns, Server::Unbound]) {
            session.progress(&format!("{title}, {}: filling", server.name()));
            let all = Questions::unique("u", &zone.name, entries);
            let measured = warm(session, server, 2 * entries, &all).and_then(|running| {
                let flood = |_| running.flood(&questions, &list, false, session.options.offered);
                (0..session.options.runs).map(flood).collect::<io::Result<Vec<_>>>()
            });
            match measured {
                Ok(runs) => {
                    let row = Row { server, runs };
                    session.progress(&format!("{title}, {}: CPU µs a reply {:.3}", server.name(), row.median(0)));
                    rows.push(row);
                }
                Err(error) => {
                    session.carry_on()?;
                    session.note(format!("{title}: {} is left out: {error}", server.name()));
                }
            }
        }
        cases.push(Case { title, figures: FLOODED.to_vec(), rows, bars: Vec::new() });
    }
    let curve = curve("CPU time a reply as caches grow", "answers in the cache", &sizes, &cases);
    Ok((cases, curve))
}

/// The medians of the first figure over the sizes, a line a server.
fn curve(title: &str, over: &str, sizes: &[usize], cases: &[Case]) -> Curve {
    let mut servers: Vec<Server> = cases.iter().flat_map(|case| case.rows.iter().map(|row| row.server)).collect();
    servers.sort_unstable_by_key(|server| (server.kind() != Kind::Own, *server));
    servers.dedup();
    let line = |server: Server| {
        let points =
            sizes.iter().zip(cases).filter_map(|(&size, case)| Some((size as f64, case.row(server)?.median(0))));
        (server.name().to_owned(), points.collect())
    };
    Curve {
        title: title.to_owned(),
        over: over.to_owned(),
        what: FLOODED[0].name.to_owned(),
        lines: servers.into_iter().map(line).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_has_the_medians_of_the_cases() {
        let case = |ringdns: f64| Case {
            title: String::new(),
            figures: FLOODED.to_vec(),
            rows: vec![
                Row { server: Server::Nsd, runs: vec![vec![3.0, 1.0]] },
                Row { server: Server::Ringdns, runs: vec![vec![ringdns, 1.0], vec![ringdns, 1.0]] },
            ],
            bars: Vec::new(),
        };
        let curve = curve("t", "o", &[1000, 10_000], &[case(2.0), case(2.5)]);
        assert_eq!(curve.lines[0], ("ringdns".to_owned(), vec![(1000.0, 2.0), (10_000.0, 2.5)]));
        assert_eq!(curve.lines[1].0, "nsd");
    }
}
