//! `ringdns query`: asks a DNS server one question and shows the answer as `dig` does.
//!
//! Owns the command's words, one exchange over UDP or TCP, and the printing of whatever came back. It shares nothing
//! with the server: a client that trusted the engine's own parser would repeat the engine's mistakes. Records are
//! presented by the `domain` crate; everything a server sends is treated as hostile: it is read within bounds, and
//! only printable ASCII is ever written to the terminal.
//!
//! # The life of a query
//! [`words`] turns the command line into an `Ask`; [`servers`] says whom to ask; [`exchange`] sends and waits, takes
//! only what matches the id, the sender and the question, and turns to TCP when the reply is truncated; [`message`]
//! reads the reply, keeping what could be read and naming what could not, with [`rdata`] for the records' data and
//! [`text`] for names and octets; [`show`] prints it, or [`json`].
//!
//! # Exit status
//! | status | when |
//! |---|---|
//! | 0 | a reply came, whatever its rcode |
//! | 1 | the reply is malformed, or `+check` was given and the rcode is not NOERROR or the answer is empty |
//! | 2 | the words are wrong |
//! | 3 | no reply, or the network failed |
//!
//! # `+json`
//! One object, its member names and spirit after RFC 8427, record data as presentation text:
//! ```json
//! {
//!   "id": 4711, "opcode": "QUERY", "rcode": "NOERROR",
//!   "flags": { "qr": true, "aa": true, "tc": false, "rd": true, "ra": false, "ad": false, "cd": false },
//!   "question":   [ { "name": "www.example.test.", "type": "A", "class": "IN" } ],
//!   "answer":     [ { "name": "www.example.test.", "type": "A", "class": "IN", "ttl": 300, "rdata": "192.0.2.1" } ],
//!   "authority":  [],
//!   "additional": [],
//!   "edns": { "version": 0, "do": false, "udp": 1232,
//!             "options": [ { "code": 3, "name": "NSID", "hex": "6770", "text": "67 70 (\"gp\")" } ] },
//!   "server": "127.0.0.1:5300", "transport": "UDP", "query_time_ms": 1, "size": 61,
//!   "notes": [], "malformed": []
//! }
//! ```
//! `edns` is null when the reply has no OPT record, which is not repeated in `additional`; `name` and `text` of an
//! option are null where the option is unknown or its content unreadable. `notes` holds what was noticed on the way
//! (datagrams ignored, tries without reply, the turn to TCP), `malformed` what could not be read; both are texts for
//! people.

use std::io::Write;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use exchange::Reply;
use message::Message;
use words::{Ask, Output};

mod exchange;
mod json;
mod message;
mod rdata;
mod servers;
mod show;
mod text;
mod utc;
mod words;

/// The reply is malformed or fails `+check`.
const STATUS_INPUT: u8 = 1;
/// The words are wrong.
const STATUS_USAGE: u8 = 2;
/// No reply, or the network failed.
const STATUS_ENVIRONMENT: u8 = 3;

/// The command line of `ringdns query`: words as `dig` takes them, in any order.
#[derive(clap::Args, Debug)]
#[command(after_help = words::HELP)]
pub(crate) struct Args {
    /// `@SERVER:PORT`, NAME, TYPE, CLASS, `-x ADDRESS`, `+WORD`, in any order; only NAME is needed
    #[arg(value_name = "WORD", trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// Asks, prints, and says how it went; the module head lists the exit statuses.
pub(crate) fn run(args: Args) -> ExitCode {
    let ask = match Ask::from_words(&args.words) {
        Ok(ask) => ask,
        Err(error) => return fail(STATUS_USAGE, &error),
    };
    let reply = match servers::of(&ask).and_then(|servers| exchange::exchange(&servers, &ask)) {
        Ok(reply) => reply,
        Err(error) => return fail(STATUS_ENVIRONMENT, &error),
    };
    let message = Message::read(&reply.octets);
    print(&render(&args.words, &ask, &reply, &message));
    if ask.output == Output::Short {
        for line in reply.notes.iter().chain(&message.problems) {
            complain(line);
        }
    }
    ExitCode::from(verdict(&ask, &message))
}

/// The whole output on stdout.
fn render(words: &[String], ask: &Ask, reply: &Reply, message: &Message) -> String {
    match ask.output {
        Output::Full => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
            show::full(words, ask, reply, message, now)
        }
        Output::Short => show::short(message),
        Output::Json => json::object(reply, message),
    }
}

/// The exit status once a reply came.
fn verdict(ask: &Ask, message: &Message) -> u8 {
    if !message.problems.is_empty() {
        return STATUS_INPUT;
    }
    if ask.check && (message.rcode != 0 || message.answer.is_empty()) {
        complain(&format!(
            "+check: the reply is {} with {} records in its answer",
            message.rcode_text(),
            message.answer.len()
        ));
        return STATUS_INPUT;
    }
    0
}

/// Writes to stdout; a reader who went away (a closed pipe) is no fault of ours.
fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

fn fail(status: u8, error: &str) -> ExitCode {
    complain(error);
    ExitCode::from(status)
}

fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "ringdns query: {line}");
}
