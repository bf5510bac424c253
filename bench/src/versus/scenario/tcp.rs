//! Scenario `tcp`: connections that stay, with pipelining, and a new one for each query.

use std::io;
use std::time::Duration;

use super::super::configuration::Zone;
use super::super::data::{self, Content, Messages, Questions};
use super::super::generator::Generator;
use super::super::report::Report;
use super::super::servers::Server;
use super::super::session::{FLOODED, Running, Session};
use super::super::stream::{self, Order};
use super::super::table::{Against, Bar, Case, Figure};
use super::AUTHORITATIVE;
use super::flood::{HOT, ROOM, serve, warm};

const CONNECTIONS: usize = 16;
/// Queries in flight on each connection.
const PIPELINED: usize = 32;
/// New connections a second that are offered.
const OFFERED: u64 = 60_000;
const CACHES: [Server; 3] = [Server::Ringdns, Server::Unbound, Server::Dnsdist];
/// Replies a second first: that is what the bar is about.
const FIGURES: [Figure; 2] = [FLOODED[1], FLOODED[0]];

pub(super) fn measure(session: &Session) -> io::Result<Report> {
    let hot = HOT.min(session.options.names as usize);
    let zone = data::zone(session.folder(), "bench.test", Content::Addresses(session.options.names as usize), 1)?;
    let questions = Questions::uniform("h", &zone.name, hot);
    let all = Questions::unique("h", &zone.name, hot);
    let _origin = session.origin(vec![zone.clone()], &all.messages())?;
    let of_zone = |server| serve(session, server, 1, &zone, &questions);
    let of_cache = |server| warm(session, server, ROOM, &all);
    let mut cases = vec![
        persistent(session, "a zone", &AUTHORITATIVE, &questions, of_zone)?,
        persistent(session, "cached answers", &CACHES, &questions, of_cache)?,
    ];
    if session.generator() == Generator::Kxdpgun {
        cases.push(a_connection_each(session, &zone, &questions)?);
    } else {
        session
            .note("a new connection for each query: skipped, for kxdpgun (knot-dnsutils) is not installed".to_owned());
    }
    Ok(Report {
        scenario: "tcp",
        about: format!(
            "TCP, one CPU for the server: {CONNECTIONS} connections that stay with {PIPELINED} queries in flight on each, from a \
             client on the other CPU; and a new connection for each query, from kxdpgun."
        ),
        cases,
        ..Report::default()
    })
}

/// Connections that stay.
fn persistent<'a>(
    session: &'a Session,
    what: &str,
    servers: &[Server],
    questions: &Questions,
    start: impl Fn(Server) -> io::Result<Running<'a>>,
) -> io::Result<Case> {
    let messages = questions.messages();
    let bar = Bar { figure: 0, against: Against::BestPeer, limit: 1.3 };
    session.rotate(format!("{what}, connections that stay"), &FIGURES, &[bar], servers, |server| {
        ask(session, &start(server)?, &messages)
    })
}

fn ask(session: &Session, running: &Running, messages: &Messages) -> io::Result<Vec<f64>> {
    let order = Order {
        server: running.address(),
        rcode: 0,
        connections: CONNECTIONS,
        pipelined: PIPELINED,
        length: Duration::from_secs(session.options.seconds),
    };
    let (cost, streamed) = running.cost(|| stream::ask(order, messages, || session.carry_on()))?;
    if streamed.answered == 0 || streamed.wrong > 0 {
        return Err(io::Error::other(format!("not answered as expected: {streamed:?}")));
    }
    if streamed.closed > 0 {
        session.note(format!("{} closed {} connections in a run", running.server().name(), streamed.closed));
    }
    let answered = streamed.answered as f64;
    Ok(vec![answered / streamed.length.as_secs_f64(), cost / answered])
}

/// A new connection for each query.
fn a_connection_each(session: &Session, zone: &Zone, questions: &Questions) -> io::Result<Case> {
    let list = session.folder().join("questions");
    questions.write(&list, session.generator())?;
    session.rotate("a zone, a connection for each query".to_owned(), &FIGURES, &[], &AUTHORITATIVE, |server| {
        let values = serve(session, server, 1, zone, questions)?.flood(questions, &list, true, OFFERED)?;
        Ok(vec![values[1], values[0]])
    })
}
