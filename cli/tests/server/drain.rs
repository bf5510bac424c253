//! The end of the process: what is in flight is answered and what was recorded is kept, within a bound; and what the
//! service manager hears of a process that lives, and of one whose core does not.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::dns::{Reply, connection, framed, query, read_frame, receive, udp_socket};
use crate::common::server::{LISTEN, Server, binary};
use crate::common::upstream::{ANSWER, Upstream, address};
use crate::common::{PATIENCE, wait_until};
use crate::forwarding::configuration;
use crate::process::strace;

/// What is in flight may take so long after SIGTERM, and threads a little longer to end.
const DRAIN: Duration = Duration::from_secs(5);
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// An upstream that takes its time.
fn slow(delay: Duration) -> Upstream {
    Upstream::start_late(move |asked| vec![(delay, asked.reply(ANSWER, &[address(60, 1)]))])
}

/// What it was asked for, each name once: it is asked again where it is slow.
fn asked(upstream: &Upstream) -> BTreeSet<String> {
    upstream.queries().iter().map(|asked| asked.name().to_ascii_lowercase()).collect()
}

fn forwarding(upstream: SocketAddr) -> Server {
    Server::start(&configuration(&[format!("udp://{upstream}")], "60s"), &[])
}

/// A server that is never answered, with a query in flight.
fn unanswered() -> (Server, UdpSocket) {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let server = forwarding(silent.local_addr().expect("an address"));
    udp_socket(server.address()).send(&query("a.test", "A")).expect("it is sent");
    silent.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    silent.recv(&mut [0; 512]).expect("it is asked");
    (server, silent)
}

fn is_draining(server: &Server) -> bool {
    server.log().contains("answering what is in flight, then stopping")
}

#[test]
fn pipelined_queries_in_flight_are_answered_and_nobody_else_is_let_in() {
    let upstream = slow(Duration::from_millis(2_500));
    let mut server = forwarding(upstream.address);
    let names = ["a.test", "b.test", "c.test"];
    let mut client = connection(server.address());
    client.write_all(&names.map(|name| framed(&query(name, "A"))).concat()).expect("it is read");
    let over_udp = udp_socket(server.address());
    over_udp.send(&query("d.test", "A")).expect("it is sent");
    wait_until("all are asked", || {
        ["a.test", "b.test", "c.test", "d.test"].iter().all(|name| asked(&upstream).contains(*name))
    });
    server.signal("TERM");
    wait_until("the doors are shut", || TcpStream::connect(server.address()).is_err());
    let late = udp_socket(server.address());
    late.send(&query("late.test", "A")).expect("it is sent");
    // What comes on the connection that is still open is not read any more.
    client.write_all(&framed(&query("late.test", "A"))).expect("the kernel takes it");
    let ready = server.page("/ready");
    assert!(ready.starts_with("HTTP/1.1 503 ") && ready.contains("\"draining\":true"), "{ready}");
    let mut answered: Vec<String> = Vec::new();
    for _ in names {
        let reply = Reply::read(read_frame(&mut client).expect("a reply before the end"));
        assert_eq!(reply.answer().len(), 1);
        answered.push(reply.question());
    }
    answered.sort_unstable();
    assert_eq!(answered, names.map(|name| format!("{name} A")));
    assert_eq!(Reply::read(receive(&over_udp)).answer().len(), 1);
    assert_eq!(read_frame(&mut client), None, "the connection ends with the last answer");
    assert_eq!(server.ended().code(), Some(0), "{}", server.log());
    assert!(!asked(&upstream).contains("late.test"));
    late.set_read_timeout(Some(Duration::from_millis(100))).expect("a time-out");
    assert!(late.recv(&mut [0; 512]).is_err());
}

#[test]
fn an_upstream_that_never_answers_holds_up_the_end_for_a_bounded_time() {
    let (mut server, _silent) = unanswered();
    let start = Instant::now();
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0), "{}", server.log());
    let took = start.elapsed();
    assert!((DRAIN - Duration::from_secs(1)..DRAIN + Duration::from_secs(20)).contains(&took), "{took:?}");
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    for (first, second) in [("TERM", "TERM"), ("TERM", "INT"), ("INT", "TERM")] {
        let (mut server, _silent) = unanswered();
        let start = Instant::now();
        server.signal(first);
        wait_until("the end begins", || is_draining(&server));
        server.signal(second);
        let status = server.ended();
        assert_eq!((status.code(), status.signal()), (Some(0), None), "{}", server.log());
        assert!(start.elapsed() < DRAIN, "{:?}", start.elapsed());
    }
}

/// Asks the control plane with the token; its answer.
fn order(server: &Server, method: &str, path: &str, body: &str) -> String {
    let mut stream = connection(server.pages);
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

const CONTROL: &str = "[control]\nlisten = \"127.0.0.1:0\"\ntoken_file = \"token\"\n";
const ZONE: &str = "[[zone]]\nname = \"example.test\"\nfile = \"builtin:demonstration\"\n";

#[test]
fn a_server_that_is_ordered_to_drain_says_so_serves_on_and_stops() {
    let mut server = Server::start(&format!("{LISTEN}{ZONE}{CONTROL}"), &[("token", TOKEN)]);
    assert!(server.page("/ready").starts_with("HTTP/1.1 200 "));
    let start = Instant::now();
    let answer = order(&server, "POST", "/api/v1/drain", "{\"seconds\": 3}");
    assert!(answer.starts_with("HTTP/1.1 2"), "{answer}");
    let ready = server.page("/ready");
    assert!(ready.starts_with("HTTP/1.1 503 ") && ready.contains("\"draining\":true"), "{ready}");
    assert_eq!(server.answer("www.example.test", "A").answer().len(), 1, "balancers need time to see it");
    assert_eq!(server.ended().code(), Some(0), "{}", server.log());
    assert!(start.elapsed() >= Duration::from_secs(3), "{:?}", start.elapsed());
}

#[test]
fn what_was_asked_before_the_end_is_in_the_query_log() {
    const QUERIES: usize = 300;
    let log = "[query_log]\nenabled = true\nfile = \"queries.sqlite\"\n";
    let mut server = Server::start(&format!("{LISTEN}{ZONE}{CONTROL}{log}"), &[("token", TOKEN)]);
    let socket = udp_socket(server.address());
    for number in 0..QUERIES {
        socket.send(&query(&format!("n{number}.example.test"), "A")).expect("it is sent");
        receive(&socket);
    }
    server.restart();
    assert!(!server.log().contains("was not written to its end"), "{}", server.log());
    let mut answer = String::new();
    wait_until("the query log is open", || {
        answer = order(&server, "GET", "/api/v1/queries?limit=1000", "");
        answer.starts_with("HTTP/1.1 200 ")
    });
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    let page: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"));
    assert_eq!(page["queries"].as_array().map(Vec::len), Some(QUERIES), "{answer}");
}

/// What comes over a service manager's socket, message by message; it is read at once, as by a service manager.
fn notices(path: &Path) -> Receiver<String> {
    let socket = UnixDatagram::bind(path).expect("a socket");
    let (send, notices) = mpsc::channel();
    thread::spawn(move || {
        let mut message = [0; 4096];
        while let Ok(length) = socket.recv(&mut message) {
            if send.send(String::from_utf8_lossy(&message[..length]).into_owned()).is_err() {
                return;
            }
        }
    });
    notices
}

/// Waits for a message that begins so.
fn told(notices: &Receiver<String>, beginning: &str) {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if notices.recv_timeout(PATIENCE).expect("it is told in time").starts_with(beginning) {
            return;
        }
    }
    panic!("{beginning} does not come");
}

/// A core's thread, which does not come back from the kernel for as long as this lives.
struct Stuck(Child);

impl Stuck {
    fn core(strace: &Path, server: &Server) -> Stuck {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).expect("the process is there");
        let of_core = |task: &std::path::PathBuf| {
            std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "ringdns-core-0")
        };
        let task = tasks.map(|task| task.expect("an entry").path()).find(of_core).expect("the core's thread");
        let mut command = Command::new(strace);
        command.args(["-qq", "-o", "/dev/null", "-e", "trace=io_uring_enter"]);
        command
            .args(["-e", "inject=io_uring_enter:delay_enter=100000000", "-p"])
            .arg(task.file_name().expect("a number"));
        Stuck(command.stderr(Stdio::null()).spawn().expect("strace runs"))
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        // Told to end, strace lets go of the thread.
        crate::common::server::signal(self.0.id(), "TERM");
        let _ = self.0.wait();
    }
}

#[test]
fn the_watchdog_starves_while_a_core_does_not_answer() {
    let Some(strace) = strace() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let notices = notices(&folder.path().join("notify"));
    let mut command = binary();
    command.env("NOTIFY_SOCKET", folder.path().join("notify")).env("WATCHDOG_USEC", "400000");
    let server = Server::start_as(command, &format!("[server]\ncores = 1\n{LISTEN}{ZONE}"), &[]);
    told(&notices, "READY=1");
    told(&notices, "WATCHDOG=1");
    let stuck = Stuck::core(&strace, &server);
    wait_until("a probe without an answer", || server.log().contains("a core does not answer"));
    while notices.try_recv().is_ok() {}
    thread::sleep(Duration::from_secs(3));
    assert_eq!(notices.try_recv(), Err(TryRecvError::Empty), "nothing is said for a core that does not answer");
    assert!(server.page("/ready").starts_with("HTTP/1.1 503 "));
    drop(stuck);
    told(&notices, "WATCHDOG=1");
    assert_eq!(server.answer("www.example.test", "A").answer().len(), 1);
}
