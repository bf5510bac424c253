//! The page in a terminal: threads that wait for keys, signals, figures and names, and the one that draws.
//!
//! Whatever a thread waits for, the page answers keys: a server that is slow or away holds up nothing but its figures.

use std::io;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossterm::event::{self, KeyEvent};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use super::names::{self, Names};
use super::screen::{Screen, Wish};
use super::terminal::Taken;
use super::view::View;
use super::{Asker, names::WINDOW_MINUTES};
use crate::ctl::whom::Server;
use crate::failure::Failure;

/// At least so often the page is drawn anew: it says for how long there were no figures.
const REDRAW: Duration = Duration::from_secs(1);
/// How often it is asked for names: the server looks through its log for them.
const NAMES_PAUSE: Duration = Duration::from_secs(5);

const _: () = assert!(NAMES_PAUSE.as_secs() < WINDOW_MINUTES * 60);

/// What the page waits for.
enum Event {
    Key(KeyEvent),
    /// The terminal has another size.
    Resized,
    /// There are no keys any more: the terminal has gone.
    Deaf,
    Looked(Box<Result<View, String>>),
    Named(Names),
    /// A signal that ends the process.
    Ended,
}

fn environment(what: &str) -> impl FnOnce(io::Error) -> Failure {
    move |error| Failure::Environment(format!("{what}: {error}; --once needs no terminal"))
}

/// Shows the page until somebody ends it.
pub(super) fn run(server: &Server, interval: Duration) -> Result<ExitCode, Failure> {
    let (sender, events) = mpsc::channel();
    // Before the terminal is taken: a signal that comes in between would leave it as it is.
    let signals =
        Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM]).map_err(environment("signals cannot be waited for"))?;
    let threads = start(server, interval, sender, signals).map_err(environment("threads cannot be started"))?;
    let mut terminal = Taken::take().map_err(environment("the terminal cannot be used"))?;
    let mut screen = Screen::new(server.place(), interval);
    show(&mut terminal, &mut screen, &events, &threads)
}

/// Threads that tell what happens. They end with the process.
struct Threads {
    all: Vec<JoinHandle<()>>,
    /// Takes the interval of figures.
    pace: Sender<Duration>,
}

fn start(server: &Server, interval: Duration, sender: Sender<Event>, mut signals: Signals) -> io::Result<Threads> {
    let (pace, paces) = mpsc::channel();
    let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| thread::Builder::new().name(name.to_owned()).spawn(work);
    let (asker, telling) = (Asker::new(server.clone()), sender.clone());
    let (server, naming) = (server.clone(), sender.clone());
    let signalling = sender.clone();
    let all = vec![
        spawn("figures", Box::new(move || ask(asker, interval, &paces, &telling)))?,
        spawn(
            "names",
            Box::new(move || {
                while naming.send(Event::Named(names::ask(&server))).is_ok() {
                    thread::sleep(NAMES_PAUSE);
                }
            }),
        )?,
        spawn(
            "signals",
            Box::new(move || {
                for _ in signals.forever() {
                    if signalling.send(Event::Ended).is_err() {
                        return;
                    }
                }
            }),
        )?,
        spawn("keys", Box::new(move || listen(&sender)))?,
    ];
    Ok(Threads { all, pace })
}

/// Tells of keys for as long as there are any.
fn listen(sender: &Sender<Event>) {
    loop {
        let told = match event::read() {
            Ok(event::Event::Key(key)) => Event::Key(key),
            Ok(event::Event::Resize(..)) => Event::Resized,
            Ok(_) => continue,
            Err(_) => Event::Deaf,
        };
        let is_over = matches!(told, Event::Deaf);
        if sender.send(told).is_err() || is_over {
            return;
        }
    }
}

/// Asks for figures at the interval that is in force.
fn ask(mut asker: Asker, mut interval: Duration, paces: &Receiver<Duration>, sender: &Sender<Event>) {
    loop {
        let began = Instant::now();
        if sender.send(Event::Looked(Box::new(asker.look()))).is_err() {
            return;
        }
        loop {
            match paces.recv_timeout(interval.saturating_sub(began.elapsed())) {
                Ok(other) => interval = other,
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

fn show(
    terminal: &mut Taken,
    screen: &mut Screen,
    events: &Receiver<Event>,
    threads: &Threads,
) -> Result<ExitCode, Failure> {
    loop {
        let drawn = terminal.draw(|frame| screen.draw(frame.area(), frame.buffer_mut(), Instant::now()));
        drawn.map_err(environment("the terminal cannot be written to"))?;
        match events.recv_timeout(REDRAW) {
            Ok(Event::Key(key)) => match screen.press(key) {
                Wish::Quit => return Ok(ExitCode::SUCCESS),
                // Where nobody listens, the thread has ended, which is seen below.
                Wish::Interval(interval) => drop(threads.pace.send(interval)),
                Wish::Nothing => {}
            },
            Ok(Event::Looked(told)) => screen.look(*told, Instant::now()),
            Ok(Event::Named(names)) => screen.name(names),
            Ok(Event::Resized) | Err(RecvTimeoutError::Timeout) => {}
            Ok(Event::Ended) => return Ok(ExitCode::SUCCESS),
            Ok(Event::Deaf) => return Err(Failure::Environment("the terminal has gone".to_owned())),
            Err(RecvTimeoutError::Disconnected) => return Err(broken()),
        }
        if threads.all.iter().any(JoinHandle::is_finished) {
            return Err(broken());
        }
    }
}

fn broken() -> Failure {
    Failure::Environment("a part of `top` has ended that should not have; what it wrote says why".to_owned())
}
