//! The thread against readers that do as they should, and against others.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread::{JoinHandle, spawn};

use ringdns_shard::Time;
use ringdns_shard::telemetry::Handed;
use tempfile::TempDir;

use super::frames::{Control, PREFIX_OCTETS, check, control_octets};
use super::*;
use crate::recording::{Recorder, recordings, testing};

const PATIENCE: Duration = Duration::from_secs(60);

/// Everything soon.
const PACE: Pace = Pace {
    tick: Duration::from_millis(10),
    pause: Duration::from_millis(20),
    pause_max: Duration::from_millis(80),
    steady: Duration::from_secs(1),
    open: Duration::from_millis(300),
    write: Duration::from_millis(500),
    finish: Duration::from_secs(5),
};

/// The thread, and cores that hand over messages.
struct Scene {
    folder: TempDir,
    recorder: Recorder,
    dnstap: Dnstap,
    handed: u64,
}

impl Scene {
    /// Messages go to a Unix socket that is not there yet.
    fn new() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let wanted = wanted(TapTarget::Socket(folder.path().join("tap.sock")));
        Scene::with(wanted, folder)
    }

    /// Messages go to a Unix socket at which the caller listens.
    fn listening() -> (Scene, UnixListener) {
        Scene::listening_at(PACE)
    }

    fn listening_at(pace: Pace) -> (Scene, UnixListener) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tap.sock");
        let listener = UnixListener::bind(&path).unwrap();
        (Scene::with_pace(wanted(TapTarget::Socket(path)), folder, pace), listener)
    }

    fn with(wanted: Wanted, folder: TempDir) -> Scene {
        Scene::with_pace(wanted, folder, PACE)
    }

    fn with_pace(wanted: Wanted, folder: TempDir, pace: Pace) -> Scene {
        let (recorder, recordings) = recordings(Vec::new());
        let dnstap = Dnstap::start_at(recordings.tap, recordings.losses, wanted, pace).unwrap();
        Scene { folder, recorder, dnstap, handed: 0 }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("tap.sock")
    }

    fn listen(&self) -> UnixListener {
        UnixListener::bind(self.path()).unwrap()
    }

    /// A core hands over a chunk of messages of so many octets.
    fn hand_over(&mut self, messages: u32, octets: usize) {
        let chunk = testing::messages(messages, octets);
        self.recorder.tapped(Handed { core: 0, now: Time::ZERO, unix_micros: 1_700_000_000_000_000, chunk });
        self.handed += u64::from(messages);
    }

    #[track_caller]
    fn wait(&self, what: &str, holds: impl Fn(&Figures) -> bool) -> Figures {
        let end = Instant::now() + PATIENCE;
        loop {
            let figures = self.dnstap.figures();
            if holds(&figures) {
                return figures;
            }
            assert!(Instant::now() < end, "{what}: {figures:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until everything is accounted for.
    #[track_caller]
    fn settled(&self) -> Figures {
        self.wait("every message is sent or dropped", |figures| {
            figures.sent + figures.dropped_queue + figures.dropped_unread + figures.dropped_cut == self.handed
        })
    }
}

fn wanted(to: TapTarget) -> Wanted {
    Wanted { to: Some(to), identity: "ns1".to_owned(), listeners: vec!["192.0.2.1:53".parse().unwrap()] }
}

/// Reads one frame; `Err` has the body of a control frame.
fn frame(stream: &mut impl Read) -> Result<Vec<u8>, Vec<u8>> {
    let mut exactly = |octets: usize| {
        let mut read = vec![0; octets];
        stream.read_exact(&mut read).unwrap();
        read
    };
    let length = u32::from_be_bytes(exactly(4).try_into().unwrap()) as usize;
    if length > 0 {
        return Ok(exactly(length));
    }
    let prefix: [u8; PREFIX_OCTETS] = [vec![0; 4], exactly(4)].concat().try_into().unwrap();
    Err(exactly(control_octets(prefix).unwrap()))
}

fn control(stream: &mut impl Read, wanted: Control) {
    assert_eq!(check(&frame(stream).unwrap_err(), wanted), Ok(()));
}

fn greet(stream: &mut (impl Read + Write)) {
    control(stream, Control::Ready);
    stream.write_all(&Control::Accept.frame()).unwrap();
    control(stream, Control::Start);
}

/// Does what a reader must; returns the frames.
fn read_all(mut stream: impl Read + Write) -> Vec<Vec<u8>> {
    greet(&mut stream);
    read_on(stream)
}

/// The same once it has greeted.
fn read_on(mut stream: impl Read + Write) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    loop {
        match frame(&mut stream) {
            Ok(frame) => frames.push(frame),
            Err(body) => {
                assert_eq!(check(&body, Control::Stop), Ok(()));
                stream.write_all(&Control::Finish.frame()).unwrap();
                return frames;
            }
        }
    }
}

/// A reader of one connection.
fn reader(listener: UnixListener) -> JoinHandle<Vec<Vec<u8>>> {
    spawn(move || read_all(listener.accept().unwrap().0))
}

#[test]
fn a_reader_at_a_unix_socket_gets_every_message_and_the_end() {
    let (mut scene, listener) = Scene::listening();
    let reader = reader(listener);
    scene.wait("it connects", |figures| figures.is_connected);
    (0..20).for_each(|number| scene.hand_over(50, number * 40));
    assert!(scene.dnstap.close(PATIENCE));
    let frames = reader.join().unwrap();
    assert_eq!(frames.len(), 1_000);
    assert!(frames.iter().all(|frame| frame.windows(3).any(|octets| octets == b"ns1")));
    let figures = scene.settled();
    assert_eq!((figures.sent, figures.connections, figures.is_connected), (1_000, 1, false));
    scene.hand_over(3, 1);
    assert_eq!(scene.dnstap.figures().dropped_queue, 3, "what comes after the end is counted, too");
}

#[test]
fn a_reader_at_a_tcp_port_gets_every_message_and_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = TapTarget::Address(listener.local_addr().unwrap());
    let mut scene = Scene::with(wanted(to.clone()), tempfile::tempdir().unwrap());
    let reader = spawn(move || read_all(listener.accept().unwrap().0));
    // What comes before the connection is there is kept as far as the queue goes.
    (0..10).for_each(|_| scene.hand_over(10, 60_000));
    scene.wait("it is sent", |figures| figures.sent == 100);
    assert!(scene.dnstap.close(PATIENCE));
    assert_eq!(reader.join().unwrap().len(), 100);
    assert_eq!(scene.dnstap.figures().to, Some(to.to_string()));
}

#[test]
fn without_a_reader_messages_are_counted_and_one_that_comes_is_found() {
    let mut scene = Scene::new();
    let figures = scene.wait("it is in trouble", |figures| figures.trouble.is_some());
    assert!(!figures.is_connected && figures.connections == 0, "{figures:?}");
    scene.hand_over(7, 100);
    assert_eq!(scene.settled().dropped_unread, 7);
    let reader = reader(scene.listen());
    let figures = scene.wait("it connects", |figures| figures.is_connected);
    assert_eq!((figures.trouble, figures.connections), (None, 1));
    scene.hand_over(5, 100);
    assert!(scene.dnstap.close(PATIENCE));
    assert_eq!((scene.settled().sent, reader.join().unwrap().len()), (5, 5));
}

#[test]
fn a_reader_that_goes_and_comes_back_is_found_again() {
    let (mut scene, listener) = Scene::listening();
    for round in 1..=3 {
        let (mut stream, _) = listener.accept().unwrap();
        greet(&mut stream);
        scene.wait("it connects", |figures| figures.connections == round);
        scene.hand_over(2, 100);
        assert!(frame(&mut stream).is_ok());
        // In the midst of a frame.
        stream.read_exact(&mut [0; 10]).unwrap();
    }
    let reader = reader(listener);
    scene.wait("it connects", |figures| figures.connections == 4 && figures.is_connected);
    scene.hand_over(1, 100);
    assert!(scene.dnstap.close(PATIENCE));
    assert_eq!((reader.join().unwrap().len(), scene.settled().sent), (1, 7));
}

/// What a reader does in place of greeting, each time, and what is said of it.
fn refused(answer: &'static [u8], goes: bool, why: &str) {
    let (mut scene, listener) = Scene::listening();
    let reader = spawn(move || {
        let mut kept = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().unwrap();
            let mut first = [0];
            // Who comes without a word wants this thread to end.
            if stream.read(&mut first).unwrap() == 0 {
                return;
            }
            control(&mut first.chain(&mut stream), Control::Ready);
            stream.write_all(answer).unwrap();
            kept.extend((!goes).then_some(stream));
        }
    });
    scene.hand_over(3, 100);
    let figures = scene.wait("it is in trouble", |figures| figures.trouble.is_some());
    let told = figures.trouble.unwrap();
    assert!(told.contains("no agreement") && told.contains(why), "{told}");
    assert_eq!((figures.connections, figures.is_connected), (0, false));
    assert_eq!(scene.settled().dropped_unread, 3);
    let began = Instant::now();
    scene.dnstap.close(Duration::from_secs(2));
    assert!(began.elapsed() < Duration::from_secs(30));
    scene.wait("it has ended", |_| scene.dnstap.0.orders().ended.is_some());
    drop(UnixStream::connect(scene.path()).unwrap());
    reader.join().unwrap();
}

#[test]
fn a_reader_that_does_not_greet_is_not_waited_for() {
    refused(b"", false, "too slow");
    refused(b"\0\0\0\0\0\0\0\x22\0\0", false, "too slow");
}

#[test]
fn a_reader_that_breaks_off_the_greeting_is_told() {
    refused(b"", true, "closed the connection");
    refused(b"\0\0\0\0\0\0\0\x22\0\0", true, "closed the connection");
}

#[test]
fn a_reader_that_sends_something_else_is_told() {
    refused(b"HTTP/1.1 400 Bad Request\r\n\r\n", false, "no control frame");
    refused(b"\0\0\0\0\xff\xff\xff\xff", false, "of a length that none has");
    refused(b"\0\0\0\0\0\0\0\x04\0\0\0\x05", false, "another control frame");
    refused(b"\0\0\0\0\0\0\0\x0d\0\0\0\x01\0\0\0\x01\0\0\0\x01x", false, "takes no messages of dnstap");
    refused(b"\0\0\0\0\0\0\0\x08\0\0\0\x01\0\0\0\x01", false, "malformed");
}

#[test]
fn a_reader_that_speaks_out_of_turn_is_left() {
    let (scene, listener) = Scene::listening();
    let (mut stream, _) = listener.accept().unwrap();
    greet(&mut stream);
    scene.wait("it connects", |figures| figures.is_connected);
    stream.write_all(&[9; 4096]).unwrap();
    let figures = scene.wait("it is left", |figures| !figures.is_connected && figures.trouble.is_some());
    assert!(figures.trouble.as_ref().unwrap().contains("nobody asked for"), "{figures:?}");
}

#[test]
fn a_reader_that_closes_is_noticed_without_a_message() {
    let (scene, listener) = Scene::listening();
    let (mut stream, _) = listener.accept().unwrap();
    greet(&mut stream);
    scene.wait("it connects", |figures| figures.is_connected);
    drop((stream, listener));
    let figures = scene.wait("it is noticed", |figures| !figures.is_connected && figures.trouble.is_some());
    assert_eq!(figures.connections, 1);
}

/// A reader that greets and then takes so many octets, one at a time with pauses between them.
fn slow_reader(listener: UnixListener, octets: usize) -> JoinHandle<UnixStream> {
    spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        drop(listener);
        greet(&mut stream);
        for _ in 0..octets {
            std::thread::sleep(Duration::from_millis(10));
            if stream.read_exact(&mut [0; 64]).is_err() {
                break;
            }
        }
        stream
    })
}

#[test]
fn a_reader_that_is_slow_costs_messages_and_no_memory() {
    for octets in [0, 100] {
        let (mut scene, listener) = Scene::listening();
        let reader = slow_reader(listener, octets);
        scene.wait("it connects", |figures| figures.is_connected);
        let began = Instant::now();
        (0..200).for_each(|_| scene.hand_over(100, 5_000));
        assert!(began.elapsed() < Duration::from_secs(30), "the cores wait for nobody");
        let figures = scene.settled();
        assert!(figures.dropped_queue > 0 && figures.dropped_cut > 0, "{figures:?}");
        assert_eq!((figures.is_connected, figures.connections), (false, 1));
        drop(reader.join().unwrap());
    }
}

#[test]
fn closing_does_not_wait_for_a_slow_reader() {
    let (mut scene, listener) = Scene::listening();
    let reader = slow_reader(listener, 0);
    scene.wait("it connects", |figures| figures.is_connected);
    (0..10).for_each(|_| scene.hand_over(100, 5_000));
    let began = Instant::now();
    assert!(!scene.dnstap.close(Duration::from_millis(300)));
    assert!(began.elapsed() < Duration::from_secs(20));
    let figures = scene.settled();
    assert!(figures.dropped_cut + figures.dropped_unread > 0, "{figures:?}");
    drop(reader.join().unwrap());
}

#[test]
fn what_is_wanted_may_change() {
    let (mut scene, listener) = Scene::listening();
    let first = reader(listener);
    scene.hand_over(4, 100);
    scene.wait("it is sent", |figures| figures.sent == 4);
    let path = scene.folder.path().join("other.sock");
    let second = reader(UnixListener::bind(&path).unwrap());
    scene.hand_over(3, 100);
    scene.dnstap.want(wanted(TapTarget::Socket(path.clone())));
    assert_eq!(first.join().unwrap().len(), 7, "the first reader gets what was for it, and the end");
    scene.wait("it connects", |figures| figures.connections == 2 && figures.is_connected);
    scene.hand_over(6, 100);
    scene.wait("it is sent", |figures| figures.sent == 13);
    scene.dnstap.want(wanted(TapTarget::Socket(path)));
    scene.dnstap.want(Wanted::default());
    assert_eq!(second.join().unwrap().len(), 6);
    scene.wait("it is off", |figures| !figures.is_connected && figures.to.is_none() && figures.trouble.is_none());
    scene.hand_over(8, 100);
    assert_eq!(scene.settled().dropped_unread, 8);
    assert!(scene.dnstap.close(PATIENCE));
    assert_eq!(scene.dnstap.figures().connections, 2);
}

#[test]
fn a_change_does_not_wait_for_a_slow_reader() {
    let (mut scene, listener) = Scene::listening();
    let slow = slow_reader(listener, 0);
    scene.wait("it connects", |figures| figures.is_connected);
    (0..4).for_each(|_| scene.hand_over(100, 5_000));
    let path = scene.folder.path().join("other.sock");
    let second = reader(UnixListener::bind(&path).unwrap());
    scene.dnstap.want(wanted(TapTarget::Socket(path)));
    scene.wait("it connects", |figures| figures.connections == 2);
    scene.settled();
    assert!(scene.dnstap.close(PATIENCE));
    drop((slow.join().unwrap(), second.join().unwrap()));
}

#[test]
fn what_was_for_a_reader_that_is_away_goes_to_no_other() {
    // Time enough that the first reader is waited for until another one is wanted.
    let (mut scene, listener) = Scene::listening_at(Pace { open: PATIENCE, ..PACE });
    let (mut silent, _) = listener.accept().unwrap();
    control(&mut silent, Control::Ready);
    (0..5).for_each(|_| scene.hand_over(2, 100));
    let path = scene.folder.path().join("other.sock");
    let other = reader(UnixListener::bind(&path).unwrap());
    scene.dnstap.want(wanted(TapTarget::Socket(path)));
    scene.wait("it connects", |figures| figures.is_connected);
    assert_eq!(scene.settled().dropped_unread, 10);
    scene.hand_over(3, 100);
    assert!(scene.dnstap.close(PATIENCE));
    assert_eq!(other.join().unwrap().len(), 3);
}

#[test]
fn a_reader_has_time_for_what_came_before_another_was_wanted() {
    let (mut scene, listener) = Scene::listening_at(Pace { write: PATIENCE, finish: PATIENCE, ..PACE });
    let (mut stream, _) = listener.accept().unwrap();
    greet(&mut stream);
    scene.wait("it connects", |figures| figures.is_connected);
    // More than the socket takes at once.
    (0..6).for_each(|_| scene.hand_over(100, 5_000));
    let path = scene.folder.path().join("other.sock");
    let other = reader(UnixListener::bind(&path).unwrap());
    scene.dnstap.want(wanted(TapTarget::Socket(path)));
    // Longer than it takes until the thread looks whether it should go on.
    std::thread::sleep(Duration::from_millis(500));
    let first = spawn(move || read_on(stream));
    assert_eq!(first.join().unwrap().len(), 600);
    scene.wait("it connects", |figures| figures.connections == 2 && figures.is_connected);
    assert_eq!(scene.settled().sent, 600);
    assert!(scene.dnstap.close(PATIENCE));
    assert_eq!(other.join().unwrap().len(), 0);
}

#[test]
fn a_thread_that_fails_says_so_and_what_still_comes_is_counted() {
    // No time is so long: counting it panics, with a chunk at hand.
    let (mut scene, listener) = Scene::listening_at(Pace { write: Duration::MAX, ..PACE });
    let (mut stream, _) = listener.accept().unwrap();
    greet(&mut stream);
    scene.wait("it connects", |figures| figures.is_connected);
    (0..20).for_each(|_| scene.hand_over(4, 100));
    let figures = scene.wait("it fails", |figures| figures.trouble.is_some());
    assert_eq!((figures.trouble.as_deref(), figures.is_connected), (Some("its thread has failed"), false));
    let figures = scene.settled();
    assert_eq!((figures.sent, figures.dropped_cut, figures.dropped_queue), (0, 4, 76));
    scene.hand_over(3, 100);
    assert_eq!(scene.dnstap.figures().dropped_queue, 79);
    let began = Instant::now();
    assert!(!scene.dnstap.close(PATIENCE), "not everything was sent");
    assert!(began.elapsed() < PATIENCE, "nobody waits for a thread that is gone");
}

#[test]
fn it_ends_when_nobody_can_send_any_more() {
    let Scene { folder, recorder, dnstap, .. } = Scene::new();
    drop(recorder);
    let end = Instant::now() + PATIENCE;
    while dnstap.0.orders().ended.is_none() {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(folder);
}
