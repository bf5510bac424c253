//! A control plane that says what a test wants it to say.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use super::PATIENCE;

/// A request, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Method, path and parameters.
    pub(crate) line: String,
    pub(crate) body: String,
    /// The bearer token.
    pub(crate) token: Option<String>,
}

/// Listens on a port of loopback until it is dropped; a request a connection.
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Request>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Status and body.
pub(crate) type Said = (u16, String);

impl Scripted {
    pub(crate) fn start(say: impl Fn(&Request) -> Said + Send + 'static) -> Scripted {
        Scripted::start_at(([127, 0, 0, 1], 0).into(), say)
    }

    pub(crate) fn start_at(address: SocketAddr, say: impl Fn(&Request) -> Said + Send + 'static) -> Scripted {
        let listener = TcpListener::bind(address).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (asked, is_over) = (Arc::<Mutex<Vec<Request>>>::default(), Arc::new(AtomicBool::new(false)));
        let (heard, ends) = (Arc::clone(&asked), Arc::clone(&is_over));
        let thread = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                // Somebody who goes away in the middle is no fault here.
                let _ = answer(stream, &say, &heard);
            }
        });
        Scripted { address, asked, is_over, thread: Some(thread) }
    }

    /// What has been asked so far.
    pub(crate) fn asked(&self) -> Vec<Request> {
        self.asked.lock().expect("no thread has failed").clone()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // Wakes the thread.
        let _ = TcpStream::connect(self.address);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || matches!(ended, Some(Ok(()))), "the script failed");
    }
}

fn answer(stream: TcpStream, say: &impl Fn(&Request) -> Said, heard: &Mutex<Vec<Request>>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(&stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head)? > 0 {}
    if !head.ends_with("\r\n\r\n") {
        // Who asked has ended in the middle.
        return Ok(());
    }
    let field = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    let length = field("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let line = head.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
    let token = field("authorization").and_then(|value| Some(value.strip_prefix("Bearer ")?.to_owned()));
    let request = Request { line, body: String::from_utf8_lossy(&body).into_owned(), token };
    heard.lock().expect("no thread has failed").push(request.clone());
    let (status, text) = say(&request);
    let length = text.len();
    write!(&stream, "HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}")
}
