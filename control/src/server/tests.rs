//! The process on cores that are none.

use std::sync::atomic::{AtomicBool, Ordering};

use ringdns_shard::telemetry::{Handed, log};
use ringdns_shard::{Time, Transport};

use super::*;
use crate::config::Source;
use crate::cores::fake::Fake;

#[test]
fn a_core_that_fails_ends_the_process() {
    let settings = crate::config::parse("r.toml", "", std::path::Path::new("/")).unwrap();
    let plane = Plane::load(Source::Embedded, settings, &[0, 1]).unwrap();
    let cores = Fake::default();
    *cores.failure.lock().unwrap() = Some("core 1 on CPU 1 has failed: why not".to_owned());
    let was_ready = AtomicBool::new(false);
    let process = Process::start().unwrap();
    let ended = process
        .run(
            plane,
            Arc::new(cores),
            crate::zones::notices().1,
            crate::recording::recordings(Vec::new()).1,
            Doors::default(),
            || was_ready.store(true, Ordering::Relaxed),
        )
        .unwrap();
    assert_eq!(ended, Ended::CoreFailed("core 1 on CPU 1 has failed: why not".to_owned()));
    assert!(was_ready.load(Ordering::Relaxed));
}

/// A server that forwards and keeps its cache in a folder.
fn forwarding(folder: &std::path::Path) -> (Process, Plane) {
    let configuration = folder.join("r.toml");
    let text =
        "[[upstream]]\nname = \"a\"\nservers = [\"udp://192.0.2.1:53\"]\n[[route]]\nsuffix = \".\"\nto = [\"a\"]\n";
    std::fs::write(&configuration, text).unwrap();
    let source = Source::File(configuration);
    let read = source.read().unwrap();
    (Process::start().unwrap(), Plane::open(source, read, &[0, 1]).unwrap())
}

#[test]
fn what_is_flushed_while_the_cache_is_written_does_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let (Process { runtime, hangup }, plane) = forwarding(folder.path());
    let file = folder.path().join("state/cache");
    runtime.block_on(async {
        let (notices, recordings) = (crate::zones::notices().1, crate::recording::recordings(Vec::new()).1);
        let cores = Arc::new(Fake::default());
        let mut server = Server::start(hangup, plane, cores, notices, recordings, Doors::default()).unwrap();
        let order = |server: &mut Server| {
            let (told, answer) = tokio::sync::oneshot::channel();
            server.on_order(Order::DumpCache(told));
            answer
        };
        let first = order(&mut server);
        let second = order(&mut server).await.unwrap();
        assert!(second.is_err_and(|why| why.contains("being written")), "one file is written once at a time");
        let written = dumped(&mut server.dumping).await;
        server.on_dumped(written);
        assert_eq!((first.await.unwrap(), file.exists()), (Ok(0), true));

        let third = order(&mut server);
        let (told, _) = tokio::sync::oneshot::channel();
        server.on_order(Order::ForgetDump(told));
        let written = dumped(&mut server.dumping).await;
        server.on_dumped(written);
        assert_eq!((third.await.unwrap(), file.exists()), (Ok(0), false));
        assert!(server.dumping.is_none());
    });
}

#[test]
fn what_was_recorded_is_kept_when_a_core_fails() {
    let folder = tempfile::tempdir().unwrap();
    let settings = crate::config::parse("r.toml", "[query_log]\nenabled = true\n", folder.path()).unwrap();
    let file = query_log::Wanted::of(&settings).file;
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let plane = Plane::load(Source::Embedded, settings, &[0, 1]).unwrap();
    let (recorder, recordings) = crate::recording::recordings(Vec::new());
    let mut log = log::Log::default();
    let entry = log::Entry {
        at: Time::ZERO,
        latency_micros: 7,
        client: "192.0.2.1:4711".parse().unwrap(),
        transport: Transport::Udp,
        name: b"\x01a\x04test\x00",
        qtype: 1,
        rcode: Some(0),
        reply_octets: 40,
        dnssec_ok: false,
        outcome: log::Outcome::Cache,
        policy: log::Policy::None,
        upstream: None,
    };
    (0..500).for_each(|_| log.push(&entry, false));
    let unix_micros = unix_seconds() * 1_000_000;
    recorder.logged(Handed { core: 0, now: Time::ZERO, unix_micros, chunk: log.take().unwrap() });
    let cores = Fake::default();
    *cores.failure.lock().unwrap() = Some("core 1 on CPU 1 has failed: why not".to_owned());
    let process = Process::start().unwrap();
    let notices = crate::zones::notices().1;
    process.run(plane, Arc::new(cores), notices, recordings, Doors::default(), || ()).unwrap();
    let base = rusqlite::Connection::open(file).unwrap();
    let rows: i64 = base.query_row("SELECT sum(rows) FROM segment", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 500);
}

#[test]
fn while_the_query_log_is_in_trouble_the_cores_hand_over_full_chunks_alone() {
    let settings = |text| crate::config::parse("r.toml", text, std::path::Path::new("/")).unwrap();
    let off = settings("");
    let logs = settings("[query_log]\nenabled = true\n");
    let both = settings("[query_log]\nenabled = true\n[dnstap]\nto = \"tcp:127.0.0.1:6000\"\n");
    for (settings, looked_for) in [(&off, [false, false]), (&logs, [false, true]), (&both, [true, true])] {
        for (is_open, looked_for) in [false, true].into_iter().zip(looked_for) {
            let log = query_log::Figures { is_open, ..Default::default() };
            assert_eq!(is_looked_for(settings, &log), looked_for, "{:?} {is_open}", settings.dnstap.to);
        }
    }
}

#[test]
fn a_watched_file_that_changes_is_served_without_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let zone = |serial: u32| format!("$TTL 60\n@ SOA ns h {serial} 60 60 60 60\n@ NS ns\nns A 192.0.2.1\n");
    let file = folder.path().join("a.zone");
    std::fs::write(&file, zone(1)).unwrap();
    let configuration = folder.path().join("r.toml");
    let text = "[server]\nwatch = true\n[[zone]]\nname = \"a.test\"\nfile = \"a.zone\"\n";
    std::fs::write(&configuration, text).unwrap();
    let source = Source::File(configuration);
    let settings = source.read().unwrap().settings;
    let plane = Plane::load(source, settings, &[0, 1]).unwrap();
    let cores = Arc::new(Fake::default());
    let serves = |serial: u32| {
        let swaps = cores.swaps.lock().unwrap();
        swaps.last().is_some_and(|images| images[0].zones[0].image.as_ref().is_some_and(|z| z.serial() == serial))
    };
    let is_served = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::fs::write(&file, zone(2)).unwrap();
            let end = std::time::Instant::now() + Duration::from_secs(120);
            while !serves(2) && std::time::Instant::now() < end {
                std::thread::sleep(Duration::from_millis(20));
            }
            is_served.store(serves(2), Ordering::Relaxed);
            *cores.failure.lock().unwrap() = Some("the end".to_owned());
        });
        let server: Arc<dyn Cores> = cores.clone();
        let ended = Process::start()
            .unwrap()
            .run(
                plane,
                server,
                crate::zones::notices().1,
                crate::recording::recordings(Vec::new()).1,
                Doors::default(),
                || (),
            )
            .unwrap();
        assert_eq!(ended, Ended::CoreFailed("the end".to_owned()));
    });
    assert!(is_served.load(Ordering::Relaxed));
}
