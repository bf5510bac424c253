//! The running process: signals, reloads, the watchdog, the control plane's pages. One thread and a few helpers for
//! what blocks; none of them is a core's.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringdns_shard::wire::name::Name;
use sd_notify::NotifyState;
use tokio::runtime::{self, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep_until, timeout};

use crate::api::Access;
use crate::api::reloads::{self, Outcome, Reloads};
use crate::config::Settings;
use crate::cores::Cores;
use crate::dnstap::{self, Dnstap};
use crate::dump::{Dump, End};
use crate::ending::Ending;
use crate::http::{Doors, OpenDoors, Pages, Turns};
use crate::logs;
use crate::orders::{self, NotBegun, Order, Orders, Told, ZoneReload};
use crate::plane::{NotReloaded, Plane, Reloaded, unix_seconds};
use crate::query_log::{self, QueryLog};
use crate::recording::Recordings;
use crate::status::Board;
use crate::upstreams::{Names, PACE};
use crate::zones::{Begun, Life, Notices, Report};

/// How long writing the cache may take while the server goes on: a large one takes its time, a little at a time.
const DUMP_ORDERED_LIMIT: Duration = Duration::from_secs(60);
/// How long it may take until it is noticed that it shall not be written after all.
const DUMP_CANCEL_LIMIT: Duration = Duration::from_secs(1);
/// How often the cores are looked after where no watchdog says.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a core may take to answer a probe.
const PROBE_LIMIT: Duration = Duration::from_secs(2);
/// Threads for what blocks: probes, swaps, names, pages, each of which has a bound of its own.
const BLOCKING_THREADS_MAX: usize = 24;

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
        recordings: Recordings,
        doors: Doors,
        ready: impl FnOnce(),
    ) -> io::Result<Ended> {
        let Process { runtime, hangup } = self;
        let live = async {
            io::Result::Ok(Server::start(hangup, plane, cores, notices, recordings, doors)?.live(ready).await)
        };
        let ended = runtime.block_on(live)?;
        // What still blocks must not hold up the end.
        runtime.shutdown_background();
        Ok(ended)
    }
}

/// The cache on its way to its file, by order.
struct Dumping {
    dump: Dump,
    task: JoinHandle<Result<u64, String>>,
    /// Who ordered it.
    told: Told<Result<u64, String>>,
    /// Something has been flushed since: the file must not outlive it.
    is_forgotten: bool,
}

struct Server {
    zones: Life,
    names: Names,
    cores: Arc<dyn Cores>,
    board: Arc<Board>,
    doors: OpenDoors,
    access: Arc<Access>,
    query_log: QueryLog,
    dnstap: Dnstap,
    /// As [`Recordings::listeners`].
    listeners: Vec<SocketAddr>,
    /// The cores hand over what they have recorded.
    handing: Option<JoinHandle<bool>>,
    reloads: Reloads,
    orders: Orders,
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
    dumping: Option<Dumping>,
    /// A reload was asked for while one ran: what it reads may be older than the wish.
    reload_again: bool,
    /// Who waits for the one zone that is being read anew.
    zone_reload: Option<Told<Result<ZoneReload, NotBegun>>>,
    /// When the server stops, where that was ordered.
    drained_at: Option<Instant>,
}

impl Server {
    /// Must be called within the runtime.
    fn start(
        hangup: Signal,
        plane: Plane,
        cores: Arc<dyn Cores>,
        notices: Notices,
        recordings: Recordings,
        doors: Doors,
    ) -> io::Result<Server> {
        let mut names = Names::new(PACE);
        names.want(plane.settings());
        let zones = Life::new(plane, Arc::clone(&cores), notices)?;
        let board = Arc::new(Board::default());
        board.change(|status| status.serve(zones.plane(), zones.figures()));
        let access = Arc::new(Access::default());
        access.want(&zones.plane().settings().control);
        let (wishes, reloads) = reloads::channel();
        let (desk, orders) = orders::channel();
        let Recordings { log, tap, losses, listeners } = recordings;
        let settings = zones.plane().settings();
        let query_log = QueryLog::start(log, Arc::clone(&losses), query_log::Wanted::of(settings))?;
        let dnstap = Dnstap::start(tap, losses, dnstap::Wanted::of(settings, &listeners))?;
        let doors = doors.open(Pages {
            cores: Arc::clone(&cores),
            board: Arc::clone(&board),
            access: Arc::clone(&access),
            reloads: wishes,
            orders: desk,
            query_log: Some(query_log.clone()),
            dnstap: Some(dnstap.clone()),
            started: Instant::now(),
            turns: Turns::default(),
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
            doors,
            access,
            query_log,
            dnstap,
            listeners,
            handing: None,
            reloads,
            orders,
            hangup,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            look,
            watchdog: watchdog.is_some(),
            probe: None,
            is_reloading: false,
            restore: None,
            dumping: None,
            reload_again: false,
            zone_reload: None,
            drained_at: None,
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
                    // One zone that is being read anew is no reload that anybody waits for.
                    self.reloads.wait(asker, self.is_reloading && self.zone_reload.is_none());
                    self.on_hangup();
                }
                Some(order) = self.orders.next() => self.on_order(order),
                () = moment(self.drained_at) => return self.stop("drained").await,
                happening = self.zones.happening() => {
                    if let Some(report) = self.zones.on(happening) {
                        self.on_reloaded(report).await;
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
                _ = finished(&mut self.handing) => {}
                written = dumped(&mut self.dumping) => self.on_dumped(written),
                _ = self.terminate.recv() => return self.stop("SIGTERM").await,
                _ = self.interrupt.recv() => return self.stop("SIGINT").await,
                _ = self.look.tick() => {
                    if let Some(why) = self.cores.failed() {
                        log::error!("{why}");
                        notify(&[NotifyState::Stopping, NotifyState::Status(&why)]);
                        let (cores, query_log) = (Arc::clone(&self.cores), self.query_log.clone());
                        Ending::keep_recordings(cores, query_log, self.dnstap.clone()).await;
                        return Ended::CoreFailed(why);
                    }
                    self.probe_for_watchdog();
                    self.take_recordings();
                    logs::sum_up(Instant::now());
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

    fn on_order(&mut self, order: Order) {
        // Whoever does not wait any more need not be told.
        match order {
            Order::Drain(after, told) => {
                log::info!("ordered to drain: not ready from now on, stopping in {after:?}");
                let at = Instant::now() + after;
                self.drained_at = Some(self.drained_at.map_or(at, |earlier| earlier.min(at)));
                self.board.change(|status| status.is_draining = true);
                let _ = told.send(());
            }
            Order::Zones { after, limit, told } => {
                let _ = told.send(orders::zones(self.zones.plane(), after.as_ref(), limit));
            }
            Order::Zone(apex, told) => {
                let _ = told.send(orders::zone(self.zones.plane(), &apex));
            }
            Order::ReloadZone(apex, told) => self.reload_zone(&apex, told),
            Order::DumpCache(told) => self.dump_cache(told),
            Order::ForgetDump(told) => {
                // While it is read, nothing is flushed.
                self.zones.plane().dump().filter(|_| self.restore.is_none()).inspect(Dump::forget);
                // What is being written has what is flushed.
                self.dumping.iter_mut().for_each(|dumping| dumping.is_forgotten = true);
                let _ = told.send(());
            }
            Order::Settings(told) => {
                let _ = told.send(self.zones.plane().configuration());
            }
        }
    }

    fn reload_zone(&mut self, apex: &Name, told: Told<Result<ZoneReload, NotBegun>>) {
        let busy = self.is_reloading || self.restore.is_some();
        let begun = match busy {
            true => {
                Err(NotBegun::Impossible("a reload is under way, or the cache is being read; ask again in a moment"))
            }
            false => self.zones.reload_zone(apex),
        };
        match begun {
            Ok(Begun::Asking) => drop(told.send(Ok(ZoneReload::Asking))),
            Ok(Begun::Reading) => {
                self.is_reloading = true;
                self.zone_reload = Some(told);
            }
            Err(why) => drop(told.send(Err(why))),
        }
    }

    /// Writes the cache to its file, beside the server that goes on; once at a time.
    fn dump_cache(&mut self, told: Told<Result<u64, String>>) {
        let dump = match self.zones.plane().dump() {
            None => Err("the cache is not kept: `persist` in [cache] is off, or there is no state folder"),
            Some(_) if self.restore.is_some() => Err("the cache is being read from its file; ask again in a moment"),
            Some(_) if self.dumping.is_some() => Err("the cache is being written; ask again in a moment"),
            Some(dump) => Ok(dump),
        };
        match dump {
            Err(why) => drop(told.send(Err(why.to_owned()))),
            Ok(dump) => {
                let (cores, writing) = (Arc::clone(&self.cores), dump.clone());
                let task = spawn_blocking(move || writing.write(&*cores, unix_seconds(), DUMP_ORDERED_LIMIT));
                self.dumping = Some(Dumping { dump, task, told, is_forgotten: false });
            }
        }
    }

    fn on_dumped(&mut self, (dumping, written): (Dumping, Result<u64, String>)) {
        if dumping.is_forgotten {
            dumping.dump.forget();
        }
        let _ = dumping.told.send(written);
    }

    async fn on_reloaded(&mut self, report: Report) {
        self.is_reloading = false;
        if let Some(told) = self.zone_reload.take() {
            self.on_zone_reloaded(&report, told);
        } else {
            self.on_all_reloaded(report).await;
        }
        if std::mem::take(&mut self.reload_again) {
            self.on_hangup();
        }
    }

    /// The one zone that was to be read anew has been.
    fn on_zone_reloaded(&mut self, report: &Report, told: Told<Result<ZoneReload, NotBegun>>) {
        match report {
            Ok(reloaded) => reloaded.faults.iter().for_each(|fault| log_lines(&fault.to_string())),
            Err(refused) => log_lines(&refused.to_string()),
        }
        self.show();
        let _ = told.send(Ok(ZoneReload::Read(Outcome::of(report, &[]))));
    }

    async fn on_all_reloaded(&mut self, report: Report) {
        // Where only the cores are late, the settings are in force.
        let shut = match &report {
            Ok(_) | Err(NotReloaded::Cores(_)) => self.apply_settings().await,
            Err(_) => Vec::new(),
        };
        shut.iter().for_each(|line| log_lines(line));
        self.reloads.tell(&report, &shut);
        let whole = match report {
            Ok(reloaded) => self.take(reloaded) && shut.is_empty(),
            Err(refused) => {
                log_lines(&refused.to_string());
                false
            }
        };
        self.show();
        self.board.change(|status| *(if whole { &mut status.reloads } else { &mut status.reloads_failed }) += 1);
        let trouble = if whole { "" } else { "; the last reload met mistakes, see the log" };
        notify(&[NotifyState::Ready, NotifyState::Status(&format!("{}{trouble}", self.summary()))]);
    }

    /// Goes by the settings in force. Returns a line for each door that stays as it was though it should not.
    async fn apply_settings(&mut self) -> Vec<String> {
        let settings = self.zones.plane().settings();
        logs::change(&settings.log);
        // Before a door opens: who may come in there is known.
        self.access.want(&settings.control);
        self.query_log.want(query_log::Wanted::of(settings));
        self.dnstap.want(dnstap::Wanted::of(settings, &self.listeners));
        self.names.want(settings);
        self.doors.change(&settings.control).await.err().unwrap_or_default()
    }

    /// Tells what a reload that is in force has brought. Returns whether everything in it could be loaded.
    fn take(&mut self, reloaded: Reloaded) -> bool {
        let Reloaded { faults, waiting, read, unchanged, .. } = reloaded;
        for fault in &faults {
            log_lines(&fault.to_string());
        }
        for name in self.zones.plane().missing() {
            log::error!(target: logs::REPORT, "queries below {name} get SERVFAIL until the zone can be loaded");
        }
        for key in waiting {
            log::warn!(target: logs::REPORT, "changed, and in force after a restart: {key}");
        }
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

    /// Has the cores hand over what they have recorded, so that it is not older than from one look to the next.
    fn take_recordings(&mut self) {
        let log = self.query_log.figures();
        if is_looked_for(self.zones.plane().settings(), &log) && self.handing.is_none() {
            let cores = Arc::clone(&self.cores);
            self.handing = Some(spawn_blocking(move || cores.hand_over(PROBE_LIMIT)));
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
        self.board.change(|status| status.is_draining = true);
        notify(&[NotifyState::Stopping]);
        // It would be written to the same file.
        if let Some(dumping) = self.dumping.take() {
            dumping.dump.cancel();
            let _ = timeout(DUMP_CANCEL_LIMIT, dumping.task).await;
        }
        let ending = Ending {
            cores: Arc::clone(&self.cores),
            query_log: self.query_log.clone(),
            dnstap: self.dnstap.clone(),
            // Where the file is not yet read, it has more than the cores.
            dump: self.zones.plane().dump().filter(|_| self.restore.is_none()),
            keepings: self.zones.keepings(),
        };
        tokio::select! {
            () = ending.run() => Ended::Stopped,
            _ = self.terminate.recv() => Ended::Interrupted,
            _ = self.interrupt.recv() => Ended::Interrupted,
        }
    }

    fn summary(&self) -> String {
        let totals = self.board.read().totals;
        format!("serving; zones: {}, records: {}", totals.served, totals.records)
    }
}

/// Whether anybody looks for what has been recorded just now. While the query log is in trouble its chunks wait in a queue,
/// which full ones make better use of.
fn is_looked_for(settings: &Settings, log: &query_log::Figures) -> bool {
    (*settings.query_log.enabled && log.is_open) || settings.dnstap.to.is_some()
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

/// The same for a cache that is being written.
async fn dumped(dumping: &mut Option<Dumping>) -> (Dumping, Result<u64, String>) {
    let Some(Dumping { task, .. }) = dumping else { return std::future::pending().await };
    let written =
        task.await.unwrap_or_else(|_| Err("the cache is not written, for that met a bug in ringdns".to_owned()));
    (dumping.take().expect("it was there"), written)
}

/// Waits until then; for ever where there is no such time.
async fn moment(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when.into()).await,
        None => std::future::pending().await,
    }
}

/// A line of the log for each line of `text`.
fn log_lines(text: &str) {
    for line in text.lines() {
        log::error!(target: logs::REPORT, "{line}");
    }
}

/// Tells systemd, where it is there to be told.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!("systemd cannot be told how the process does: {error}");
    }
}

#[cfg(test)]
mod tests;
