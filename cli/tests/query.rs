//! `ringdns query` against a scripted server on loopback: what it asks, what it takes for a reply, what it prints,
//! and its exit status.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A run that takes longer is stopped and fails its test.
const RUN_MAX: Duration = Duration::from_secs(60);
/// How long the server's threads wait before they look whether to end.
const PAUSE: Duration = Duration::from_millis(20);

/// The messages sent back for a query, given its octets and how many came before it; a TCP server closes after them.
type Script = fn(&[u8], usize) -> Vec<Vec<u8>>;

/// A server with one port for UDP and TCP, on threads that end when it is dropped.
struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    /// Queries over UDP and TCP, in the order they came.
    queries: Arc<Mutex<Vec<Vec<u8>>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    fn start(udp: Script, tcp: Script) -> Server {
        Server::start_on(Ipv4Addr::LOCALHOST.into(), udp, tcp)
    }

    fn start_on(address: IpAddr, udp: Script, tcp: Script) -> Server {
        let (socket, listener) = one_port(address);
        let address = socket.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let queries = Arc::new(Mutex::new(Vec::new()));
        let threads = vec![
            thread::spawn({
                let (stop, queries) = (Arc::clone(&stop), Arc::clone(&queries));
                move || serve_udp(&socket, udp, &stop, &queries)
            }),
            thread::spawn({
                let (stop, queries) = (Arc::clone(&stop), Arc::clone(&queries));
                move || serve_tcp(&listener, tcp, &stop, &queries)
            }),
        ];
        Server { address, stop, queries, threads }
    }

    /// Runs `ringdns query @ADDRESS` with these words.
    fn query(&self, words: &str) -> Run {
        query(&format!("@{} {words}", self.address))
    }

    fn queries(&self) -> Vec<Vec<u8>> {
        self.queries.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "the scripted server panicked");
        }
    }
}

/// A UDP socket and a TCP listener on the same free port.
fn one_port(address: IpAddr) -> (UdpSocket, TcpListener) {
    for _ in 0..50 {
        let socket = UdpSocket::bind((address, 0)).unwrap();
        if let Ok(listener) = TcpListener::bind(socket.local_addr().unwrap()) {
            socket.set_read_timeout(Some(PAUSE)).unwrap();
            listener.set_nonblocking(true).unwrap();
            return (socket, listener);
        }
    }
    panic!("no port free for both UDP and TCP in 50 attempts");
}

fn serve_udp(socket: &UdpSocket, script: Script, stop: &AtomicBool, queries: &Mutex<Vec<Vec<u8>>>) {
    let mut buffer = [0; 65_535];
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, client)) = socket.recv_from(&mut buffer) else { continue };
        queries.lock().unwrap().push(buffer[..length].to_vec());
        for reply in script(&buffer[..length], count) {
            socket.send_to(&reply, client).unwrap();
        }
        count += 1;
    }
}

fn serve_tcp(listener: &TcpListener, script: Script, stop: &AtomicBool, queries: &Mutex<Vec<Vec<u8>>>) {
    let count = AtomicUsize::new(0);
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                stream.set_read_timeout(Some(RUN_MAX)).unwrap();
                // The client may hang up at any time; that ends its connection only.
                let _ = serve_connection(stream, script, &count, queries);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(PAUSE),
            Err(error) => panic!("accept: {error}"),
        }
    }
}

fn serve_connection(
    mut stream: TcpStream,
    script: Script,
    count: &AtomicUsize,
    queries: &Mutex<Vec<Vec<u8>>>,
) -> std::io::Result<()> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut query)?;
    queries.lock().unwrap().push(query.clone());
    for reply in script(&query, count.fetch_add(1, Ordering::Relaxed)) {
        stream.write_all(&(reply.len() as u16).to_be_bytes())?;
        stream.write_all(&reply)?;
    }
    Ok(())
}

/// What a run printed, and its exit status.
struct Run {
    status: i32,
    stdout: String,
    stderr: String,
}

#[track_caller]
fn query(words: &str) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ringdns"))
        .arg("query")
        .args(words.split_whitespace())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > RUN_MAX {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("`ringdns query {words}` did not end within {RUN_MAX:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    Run {
        status: status.code().expect("ended by a signal"),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

/// A reply to `query`: its id and question, this second header word, answer records as they are, no OPT record.
fn reply(query: &[u8], bits: u16, answers: &[&[u8]]) -> Vec<u8> {
    let question_end = 12 + query[12..].iter().position(|&octet| octet == 0).unwrap() + 5;
    let mut octets = query[..2].to_vec();
    for word in [bits, 1, answers.len() as u16, 0, 0] {
        octets.extend(word.to_be_bytes());
    }
    octets.extend(&query[12..question_end]);
    octets.extend(answers.concat());
    octets
}

const NOERROR: u16 = 0x8580;
const NXDOMAIN: u16 = 0x8583;
const TRUNCATED: u16 = 0x8780;
/// 192.0.2.1 for the question's name.
const ADDRESS: &[u8] = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x01\x2c\x00\x04\xc0\x00\x02\x01";

fn silent(_: &[u8], _: usize) -> Vec<Vec<u8>> {
    Vec::new()
}

fn answers(query: &[u8], _: usize) -> Vec<Vec<u8>> {
    vec![reply(query, NOERROR, &[ADDRESS])]
}

#[test]
fn an_answer_is_shown() {
    let server = Server::start(answers, silent);
    let run = server.query("www.example.test +nsid");
    assert_eq!((run.status, run.stderr.as_str()), (0, ""));
    for part in [
        ";; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: ",
        ";; flags: qr aa rd ra; QUERY: 1, ANSWER: 1, AUTHORITY: 0, ADDITIONAL: 0\n",
        ";; QUESTION SECTION:\n;www.example.test.\t\tIN\tA\n",
        ";; ANSWER SECTION:\nwww.example.test.\t300\tIN\tA\t192.0.2.1\n",
        &format!(";; SERVER: 127.0.0.1#{} (UDP)\n", server.address.port()),
        ";; MSG SIZE  rcvd: 50\n",
    ] {
        assert!(run.stdout.contains(part), "no {part:?} in {}", run.stdout);
    }
    let [query] = &server.queries()[..] else { panic!("one query, not {:x?}", server.queries()) };
    assert_eq!(query[2..12], *b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01");
    let rest = b"\x03www\x07example\x04test\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\0\0\0\x04\0\x03\0\0";
    assert_eq!(query[12..], *rest);
}

#[test]
fn short_and_check_serve_as_a_health_check() {
    let server = Server::start(answers, silent);
    let run = server.query("www.example.test A +short +check");
    assert_eq!((run.status, run.stdout.as_str(), run.stderr.as_str()), (0, "192.0.2.1\n", ""));

    let nxdomain = Server::start(|query, _| vec![reply(query, NXDOMAIN, &[])], silent);
    let run = nxdomain.query("www.example.test +short");
    assert_eq!((run.status, run.stdout.as_str()), (0, ""));
    let run = nxdomain.query("www.example.test +short +check");
    assert_eq!((run.status, run.stdout.as_str()), (1, ""));
    assert!(run.stderr.contains("NXDOMAIN"), "{}", run.stderr);

    let empty = Server::start(|query, _| vec![reply(query, NOERROR, &[])], silent);
    assert_eq!(empty.query("www.example.test +check").status, 1);
    assert_eq!(empty.query("www.example.test").status, 0);
}

#[test]
fn json_is_one_object() {
    let server = Server::start(answers, silent);
    let run = server.query("www.example.test +json");
    assert_eq!(run.status, 0);
    let object: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(object["rcode"], "NOERROR");
    assert_eq!(object["answer"][0]["rdata"], "192.0.2.1");
    assert_eq!(object["edns"], serde_json::Value::Null);
    assert_eq!(object["server"], server.address.to_string());
    assert_eq!((&object["transport"], &object["size"]), (&"UDP".into(), &50.into()));
}

#[test]
fn a_truncated_reply_leads_to_tcp() {
    let server = Server::start(|query, _| vec![reply(query, TRUNCATED, &[])], answers);
    let run = server.query("www.example.test");
    assert_eq!(run.status, 0);
    assert!(run.stdout.contains(";; truncated over UDP, asking again over TCP\n"), "{}", run.stdout);
    assert!(run.stdout.contains("192.0.2.1\n") && run.stdout.contains("(TCP)\n"), "{}", run.stdout);

    let run = server.query("www.example.test +ignore");
    assert_eq!(run.status, 0);
    assert!(run.stdout.contains("flags: qr aa tc rd ra;") && run.stdout.contains("(UDP)\n"), "{}", run.stdout);
    assert_eq!(server.queries().len(), 3);
}

#[test]
fn tcp_is_asked_alone_when_told_so() {
    // A message with another id comes first, and one too short for a header.
    let tcp: Script = |query, _| {
        let mut other = reply(query, NXDOMAIN, &[]);
        other[0] ^= 1;
        vec![other, b"short".to_vec(), Vec::new(), reply(query, NOERROR, &[ADDRESS])]
    };
    let server = Server::start(silent, tcp);
    let run = server.query("www.example.test +tcp");
    assert_eq!(run.status, 0);
    assert_eq!(run.stdout.matches(";; ignored a message from ").count(), 3, "{}", run.stdout);
    assert!(run.stdout.contains("status: NOERROR") && run.stdout.contains("(TCP)\n"), "{}", run.stdout);
    assert_eq!(server.queries().len(), 1);
}

#[test]
fn tcp_without_reply_is_the_environment_s_fault() {
    let server = Server::start(silent, silent);
    let run = server.query("www.example.test +tcp");
    assert_eq!((run.status, run.stdout.as_str()), (3, ""));
    assert!(run.stderr.contains("closed the connection without a reply"), "{}", run.stderr);

    // A truncated reply, and nobody to ask over TCP.
    let server = Server::start(|query, _| vec![reply(query, TRUNCATED, &[ADDRESS])], silent);
    let run = server.query("www.example.test +short");
    assert_eq!((run.status, run.stdout.as_str()), (3, ""));
    assert!(run.stderr.contains("+ignore"), "{}", run.stderr);
}

#[test]
fn a_tcp_reply_that_never_ends_is_given_up() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let run = {
        let address = listener.local_addr().unwrap();
        let held = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // On a busy machine the client may be gone by now.
            let _ = stream.write_all(b"\x01\x00half");
            stream.set_read_timeout(Some(RUN_MAX)).unwrap();
            // Held open until the client hangs up.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let run = query(&format!("@{address} www.example.test +tcp +timeout=1"));
        held.join().unwrap();
        run
    };
    assert_eq!(run.status, 3);
    assert!(run.stderr.contains("no reply over TCP within 1 s"), "{}", run.stderr);
}

#[test]
fn what_does_not_match_is_ignored_and_mentioned() {
    let udp: Script = |query, _| {
        let right = reply(query, NOERROR, &[ADDRESS]);
        let mut other_id = reply(query, NXDOMAIN, &[]);
        other_id[1] ^= 1;
        let mut other_name = right.clone();
        other_name[13] = b'x';
        let mut other_type = right.clone();
        other_type[31] = 28;
        let no_question = [&query[..2], b"\x85\x80\0\0\0\0\0\0\0\0"].concat();
        let cut = right[..20].to_vec();
        vec![other_id, other_name, other_type, no_question, cut, query.to_vec(), b"x".to_vec(), Vec::new(), right]
    };
    let server = Server::start(udp, silent);
    let run = server.query("www.example.test");
    assert_eq!(run.status, 0);
    assert!(run.stdout.contains("status: NOERROR") && run.stdout.contains("192.0.2.1\n"), "{}", run.stdout);
    for why in [
        "id ",
        "the question is xww.example.test. IN A",
        "the question is www.example.test. IN AAAA",
        "no question, yet no error",
        "unreadable question",
        "a query, not a response",
        "1 octets, too few for a header",
        "0 octets, too few for a header",
    ] {
        let note = format!(";; ignored a message from 127.0.0.1#{}: {why}", server.address.port());
        assert!(run.stdout.contains(&note), "no {note:?} in {}", run.stdout);
    }
    assert_eq!(server.queries().len(), 1);

    let run = server.query("www.example.test +short");
    assert_eq!((run.status, run.stdout.as_str()), (0, "192.0.2.1\n"));
    assert!(run.stderr.contains("ignored a message"), "{}", run.stderr);
}

#[test]
fn an_error_without_a_question_is_a_reply() {
    let server = Server::start(|query, _| vec![[&query[..2], b"\x80\x01\0\0\0\0\0\0\0\0"].concat()], silent);
    let run = server.query("www.example.test");
    assert_eq!(run.status, 0);
    assert!(run.stdout.contains("status: FORMERR"), "{}", run.stdout);
}

#[test]
fn silence_ends() {
    let server = Server::start(silent, silent);
    let run = server.query("www.example.test +timeout=1 +tries=2");
    assert_eq!((run.status, run.stdout.as_str()), (3, ""));
    assert_eq!(run.stderr.matches("no reply over UDP within 1 s").count(), 2, "{}", run.stderr);
    assert!(run.stderr.contains("@ADDRESS"), "{}", run.stderr);
    let queries = server.queries();
    assert_eq!(queries.len(), 2);
    assert_eq!(queries[0][2..], queries[1][2..]);
}

#[test]
fn a_lost_datagram_is_sent_again() {
    let udp: Script = |query, earlier| if earlier == 0 { Vec::new() } else { answers(query, earlier) };
    let server = Server::start(udp, silent);
    let run = server.query("www.example.test +timeout=3");
    assert_eq!(run.status, 0);
    assert!(run.stdout.contains("no reply over UDP within 3 s\n"), "{}", run.stdout);
    assert_eq!(server.queries().len(), 2);
}

#[test]
fn a_closed_port_is_reported_at_once() {
    // Ports held by sockets that are connected elsewhere: nobody else can take them, and they let no one in.
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    udp.connect(udp.local_addr().unwrap()).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let start = Instant::now();
    for (closed, words) in [(udp.local_addr().unwrap(), ""), (tcp.local_addr().unwrap(), "+tcp")] {
        let run = query(&format!("@{closed} www.example.test +timeout=300 {words}"));
        assert_eq!((run.status, run.stdout.as_str()), (3, ""));
        assert!(run.stderr.contains("refused"), "{}", run.stderr);
    }
    assert!(start.elapsed() < RUN_MAX);
}

#[test]
fn a_malformed_reply_is_shown_as_far_as_it_goes() {
    let udp: Script = |query, _| {
        let mut octets = reply(query, NOERROR, &[ADDRESS, ADDRESS]);
        octets.truncate(octets.len() - 3);
        vec![octets]
    };
    let server = Server::start(udp, silent);
    let run = server.query("www.example.test");
    assert_eq!(run.status, 1);
    assert!(run.stdout.contains(";; MALFORMED: answer record 2 of 2, at octet 50: "), "{}", run.stdout);
    assert!(run.stdout.contains("A\t192.0.2.1\n"), "{}", run.stdout);
    let run = server.query("www.example.test +short");
    assert_eq!((run.status, run.stdout.as_str()), (1, "192.0.2.1\n"));
    assert!(run.stderr.contains("answer record 2 of 2"), "{}", run.stderr);
}

#[test]
fn garbage_is_no_reply() {
    let udp: Script = |_, _| (1..40_u8).map(|count| vec![count.wrapping_mul(97); usize::from(count)]).collect();
    let server = Server::start(udp, silent);
    let run = server.query("www.example.test +timeout=1 +tries=1");
    assert_eq!((run.status, run.stdout.as_str()), (3, ""));
    assert!(run.stderr.contains("ignored a message"), "{}", run.stderr);
    assert!(run.stderr.contains("more such notes left out"), "{}", run.stderr);
}

#[test]
fn nothing_a_server_sends_reaches_the_terminal_raw() {
    let udp: Script = |query, _| {
        let text = b"\xc0\x0c\x00\x10\x00\x01\x00\x00\x00\x00\x00\x06\x05\x1b]0;\x07";
        let https = b"\xc0\x0c\x00\x41\x00\x01\x00\x00\x00\x00\x00\x0b\x00\x01\x00\x00\x01\x00\x04\x03\x1b[m";
        let owner = b"\x03\x1b[m\x00\xff\x00\x00\x01\x00\x00\x00\x00\x00\x01\x1b";
        vec![reply(query, NOERROR, &[text, https, owner])]
    };
    let server = Server::start(udp, silent);
    for words in ["", "+short", "+json"] {
        let run = server.query(&format!("www.example.test {words}"));
        assert_eq!(run.status, 0, "{}", run.stdout);
        assert!(run.stdout.contains("\\027"), "{}", run.stdout);
        assert!(!run.stdout.chars().any(|c| c.is_control() && c != '\n' && c != '\t'), "{:?}", run.stdout);
    }
}

#[test]
fn ipv6_servers_are_asked() {
    if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        eprintln!("skipped: this machine has no IPv6 loopback");
        return;
    }
    let server = Server::start_on(Ipv6Addr::LOCALHOST.into(), answers, answers);
    let port = server.address.port();
    for words in [format!("@[::1]:{port}"), format!("@::1 -p {port}"), format!("@::1 -p{port} +tcp")] {
        let run = query(&format!("{words} www.example.test"));
        assert_eq!(run.status, 0, "{}", run.stderr);
        assert!(run.stdout.contains(&format!(";; SERVER: ::1#{port} (")), "{}", run.stdout);
    }
}

#[test]
fn words_that_look_like_options_are_words() {
    let server = Server::start(|query, _| vec![reply(query, NOERROR, &[])], silent);
    let port = server.address.port();
    let run = query(&format!("-x 192.0.2.1 @127.0.0.1 -p {port}"));
    assert_eq!(run.status, 0, "{}", run.stderr);
    assert!(run.stdout.contains(";1.2.0.192.in-addr.arpa.\tIN\tPTR\n"), "{}", run.stdout);
}

#[test]
fn wrong_words_are_refused() {
    for (words, part) in [
        ("", "usage: ringdns query"),
        ("+short", "no NAME given"),
        ("www.example.test +tls", "+tls is not available in this version"),
        ("www.example.test +https", "+https is not available in this version"),
        ("www.example.test +quic", "+quic is not available in this version"),
        ("www.example.test +bogus", "unknown word '+bogus'; accepted: +[no]tcp"),
        ("www.example.test BOGUS", "unknown type 'BOGUS'; accepted: A NS"),
        ("www.example.test @127.0.0.1:x", "not a port"),
        ("www.example.test -z", "unknown option '-z'"),
    ] {
        let run = query(words);
        assert_eq!((run.status, run.stdout.as_str()), (2, ""), "{words}");
        assert!(run.stderr.contains(part), "no {part:?} in {}", run.stderr);
    }
}

#[test]
fn help_lists_the_words() {
    let run = query("--help");
    assert_eq!(run.status, 0);
    for part in ["@SERVER[:PORT]", "+check", "-x ADDRESS", "Exit status"] {
        assert!(run.stdout.contains(part), "no {part:?} in {}", run.stdout);
    }
}
