//! The running process: signals, reloads, the watchdog, the control plane's pages. One thread and a few helpers for
//! what blocks; none of them is a core's.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::runtime::{self, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::api::Access;
use crate::api::reloads::{self, Reloads};
use crate::config::Token;
use crate::cores::Cores;
use crate::dump::{Dump, End};
use crate::http::{Doors, Pages};
use crate::logs;
use crate::plane::{Plane, Reloaded, unix_seconds};
use crate::status::Board;
use crate::upstreams::{Names, PACE};
use crate::zones::{Life, Notices, Report};

/// How long what is in flight may take when the process stops.
const DRAIN: Duration = Duration::from_secs(5);
/// How long writing the cache may take when the process stops: together with [`DRAIN`] what container runtimes allow.
const DUMP_LIMIT: Duration = Duration::from_secs(5);
/// How often the cores are looked after where no watchdog says.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a core may take to answer a probe.
const PROBE_LIMIT: Duration = Duration::from_secs(2);
/// Threads for what blocks: a reload, probes, pages.
const BLOCKING_THREADS_MAX: usize = 8;

/// How the process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A signal asked for it, and the cores have stopped.
    Stopped,
    /// A second signal asked for it: at once.
    Interrupted,
    /// A core ended that should not have; why.
    CoreFailed(String),
}

/// A process that is starting: a wish to reload is remembered, while SIGTERM and SIGINT end it as they end any process.
#[derive(Debug)]
pub struct Process {
    runtime: Runtime,
    hangup: Signal,
}

impl Process {
    /// Begins to listen for SIGHUP.
    ///
    /// # Errors
    /// When the kernel gives no event queue or no signals.
    pub fn start() -> io::Result<Process> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .thread_name("ringdns-control")
            .build()?;
        let hangup = {
            let _guard = runtime.enter();
            signal(SignalKind::hangup())?
        };
        Ok(Process { runtime, hangup })
    }

    /// Runs the process until a signal or a failed core ends it. The cores serve `plane` already, and what they hear of
    /// primaries comes by `notices`; `doors` are where the control plane is asked, `ready` is called once.
    ///
    /// # Errors
    /// When the kernel gives no signals or threads, or does not take `doors`.
    pub fn run(
        self,
        plane: Plane,
        cores: Arc<dyn Cores>,
        notices: Notices,
        doors: Doors,
        ready: impl FnOnce(),
    ) -> io::Result<Ended> {
        let Process { runtime, hangup } = self;
        let live = async { io::Result::Ok(Server::start(hangup, plane, cores, notices, doors)?.live(ready).await) };
        let ended = runtime.block_on(live)?;
        // What still blocks must not hold up the end.
        runtime.shutdown_background();
        Ok(ended)
    }
}

struct Server {
    zones: Life,
    names: Names,
    cores: Arc<dyn Cores>,
    board: Arc<Board>,
    /// They are open for as long as this process serves.
    _doors: Doors,
    access: Arc<Access>,
    reloads: Reloads,
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    look: Interval,
    /// Whether systemd waits for a sign of life.
    watchdog: bool,
    probe: Option<JoinHandle<bool>>,
    is_reloading: bool,
    /// The cache is being read from its file, for the cores to have what they had.
    restore: Option<(Dump, JoinHandle<End>)>,
    /// A reload was asked for while one ran: what it reads may be older than the wish.
    reload_again: bool,
}

impl Server {
    /// Must be called within the runtime.
    fn start(
        hangup: Signal,
        plane: Plane,
        cores: Arc<dyn Cores>,
        notices: Notices,
        doors: Doors,
    ) -> io::Result<Server> {
        let mut names = Names::new(PACE);
        names.want(plane.settings());
        let zones = Life::new(plane, Arc::clone(&cores), notices)?;
        let board = Arc::new(Board::default());
        board.change(|status| status.serve(zones.plane(), zones.figures()));
        let access = Arc::new(Access::default());
        access.set_token(token(zones.plane()));
        let (wishes, reloads) = reloads::channel();
        doors.open(&Pages {
            cores: Arc::clone(&cores),
            board: Arc::clone(&board),
            access: Arc::clone(&access),
            reloads: wishes,
            started: Instant::now(),
        })?;
        let watchdog = sd_notify::watchdog_enabled();
        // Twice within the time that systemd allows, as sd_watchdog_enabled(3) advises.
        let every = watchdog.map_or(LOOK_EVERY, |limit| (limit / 2).clamp(Duration::from_millis(10), LOOK_EVERY));
        let mut look = interval(every);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Server {
            zones,
            names,
            cores,
            board,
            _doors: doors,
            access,
            reloads,
            hangup,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            look,
            watchdog: watchdog.is_some(),
            probe: None,
            is_reloading: false,
            restore: None,
            reload_again: false,
        })
    }

    async fn live(mut self, ready: impl FnOnce()) -> Ended {
        notify(&[NotifyState::Ready, NotifyState::Status(&self.summary())]);
        ready();
        self.restore();
        loop {
            tokio::select! {
                _ = self.hangup.recv() => self.on_hangup(),
                Some(asker) = self.reloads.wished() => {
                    self.reloads.wait(asker, self.is_reloading);
                    self.on_hangup();
                }
                happening = self.zones.happening() => {
                    if let Some(report) = self.zones.on(happening) {
                        self.on_reloaded(report);
                    }
                    if self.zones.has_news() {
                        self.show();
                    }
                    if self.zones.files_have_changed() {
                        self.on_hangup();
                    }
                }
                resolved = self.names.change() => self.zones.resolve(resolved),
                end = restored(&mut self.restore) => self.on_restored(end),
                alive = finished(&mut self.probe) => self.on_probed(alive),
                _ = self.terminate.recv() => return self.stop("SIGTERM").await,
                _ = self.interrupt.recv() => return self.stop("SIGINT").await,
                _ = self.look.tick() => {
                    if let Some(why) = self.cores.failed() {
                        log::error!("{why}");
                        notify(&[NotifyState::Stopping, NotifyState::Status(&why)]);
                        return Ended::CoreFailed(why);
                    }
                    self.probe_for_watchdog();
                    self.zones.tick();
                    self.show();
                }
            }
        }
    }

    /// Begins to give the cores what they had when the process was stopped.
    fn restore(&mut self) {
        let Some(dump) = self.zones.plane().dump().filter(Dump::is_there) else { return };
        let (reading, cores) = (dump.clone(), Arc::clone(&self.cores));
        let task = spawn_blocking(move || reading.read(&*cores, unix_seconds()));
        self.restore = Some((dump, task));
        self.board.change(|status| status.is_restoring = true);
    }

    fn on_restored(&mut self, (dump, end): (Dump, Option<End>)) {
        match end {
            Some(End::Taken { .. }) => dump.forget(),
            Some(End::Refused) => self.board.change(|status| status.caches_refused += 1),
            Some(End::Absent | End::Left) => {}
            None => log::error!("the cache could not be read, for that met a bug in ringdns"),
        }
        self.board.change(|status| status.is_restoring = false);
        if std::mem::take(&mut self.reload_again) {
            self.on_hangup();
        }
    }

    fn on_hangup(&mut self) {
        // What the cores are given from the file must not meet other routes than the file is for.
        if self.restore.is_some() || std::mem::replace(&mut self.is_reloading, true) {
            self.reload_again = true;
            return;
        }
        log::info!("reading configuration and zones anew");
        match NotifyState::monotonic_usec_now() {
            Ok(now) => notify(&[NotifyState::Reloading, now]),
            Err(error) => log::warn!("systemd is not told of the reload, for there is no clock: {error}"),
        }
        self.zones.reload();
    }

    fn on_reloaded(&mut self, report: Report) {
        self.is_reloading = false;
        self.reloads.tell(&report);
        let whole = match report {
            Ok(reloaded) => self.take(reloaded),
            Err(refused) => {
                log_lines(&refused.to_string());
                false
            }
        };
        self.show();
        self.board.change(|status| *(if whole { &mut status.reloads } else { &mut status.reloads_failed }) += 1);
        let trouble = if whole { "" } else { "; the last reload met mistakes, see the log" };
        notify(&[NotifyState::Ready, NotifyState::Status(&format!("{}{trouble}", self.summary()))]);
        if std::mem::take(&mut self.reload_again) {
            self.on_hangup();
        }
    }

    /// Tells what a reload that is in force has brought. Returns whether everything in it could be loaded.
    fn take(&mut self, reloaded: Reloaded) -> bool {
        let Reloaded { faults, waiting, read, unchanged, .. } = reloaded;
        for fault in &faults {
            log_lines(&fault.to_string());
        }
        for name in self.zones.plane().missing() {
            log::error!("queries below {name} get SERVFAIL until the zone can be loaded");
        }
        for key in waiting {
            log::warn!("changed, and in force after a restart: {key}");
        }
        logs::change(&self.zones.plane().settings().log);
        self.access.set_token(token(self.zones.plane()));
        self.names.want(self.zones.plane().settings());
        self.show();
        log::info!("reloaded: {} ({read} read, {unchanged} unchanged, {} faulty)", self.summary(), faults.len());
        faults.is_empty()
    }

    /// Puts on the board how things stand.
    fn show(&self) {
        self.board.change(|status| {
            status.serve(self.zones.plane(), self.zones.figures());
            status.names = self.names.figures();
        });
    }

    fn probe_for_watchdog(&mut self) {
        if self.watchdog && self.probe.is_none() {
            let cores = Arc::clone(&self.cores);
            self.probe = Some(spawn_blocking(move || cores.probe(PROBE_LIMIT)));
        }
    }

    fn on_probed(&mut self, alive: Option<bool>) {
        if alive == Some(true) {
            notify(&[NotifyState::Watchdog]);
        } else {
            log::error!("a core does not answer; without a sign of life systemd will restart the process");
        }
    }

    async fn stop(mut self, by: &str) -> Ended {
        log::info!("{by}: answering what is in flight, then stopping");
        notify(&[NotifyState::Stopping]);
        self.zones.finish();
        let cores = Arc::clone(&self.cores);
        // Where the file is not yet read, it has more than the cores.
        let dump = self.zones.plane().dump().filter(|_| self.restore.is_none());
        let end = move || {
            if let Some(dump) = dump {
                dump.write(&*cores, unix_seconds(), DUMP_LIMIT);
            }
            cores.stop(DRAIN);
        };
        tokio::select! {
            _ = spawn_blocking(end) => Ended::Stopped,
            _ = self.terminate.recv() => Ended::Interrupted,
            _ = self.interrupt.recv() => Ended::Interrupted,
        }
    }

    fn summary(&self) -> String {
        let totals = self.board.read().totals;
        format!("serving; zones: {}, records: {}", totals.served, totals.records)
    }
}

/// What a task made, once it has; `None` when it panicked. Waits for ever where there is no task.
async fn finished<T>(task: &mut Option<JoinHandle<T>>) -> Option<T> {
    let Some(running) = task else { return std::future::pending().await };
    let made = running.await.ok();
    *task = None;
    made
}

/// The same for a cache that is being read.
async fn restored(restore: &mut Option<(Dump, JoinHandle<End>)>) -> (Dump, Option<End>) {
    let Some((_, running)) = restore else { return std::future::pending().await };
    let end = running.await.ok();
    let (dump, _) = restore.take().expect("it was there");
    (dump, end)
}

/// What those must send who change something.
fn token(plane: &Plane) -> Option<Token> {
    plane.settings().control.token_file.as_ref().map(|file| file.token.clone())
}

/// A line of the log for each line of `text`.
fn log_lines(text: &str) {
    for line in text.lines() {
        log::error!("{line}");
    }
}

/// Tells systemd, where it is there to be told.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!("systemd cannot be told how the process does: {error}");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

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
            .run(plane, Arc::new(cores), crate::zones::notices().1, Doors::default(), || {
                was_ready.store(true, Ordering::Relaxed)
            })
            .unwrap();
        assert_eq!(ended, Ended::CoreFailed("core 1 on CPU 1 has failed: why not".to_owned()));
        assert!(was_ready.load(Ordering::Relaxed));
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
                .run(plane, server, crate::zones::notices().1, Doors::default(), || ())
                .unwrap();
            assert_eq!(ended, Ended::CoreFailed("the end".to_owned()));
        });
        assert!(is_served.load(Ordering::Relaxed));
    }
}
