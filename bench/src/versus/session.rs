//! One sitting: the namespaces, the folder, the servers that are there, and how each is started, awaited, flooded and
//! stopped. Nothing of it is left behind, whichever way it ends.

use std::cell::{Cell, RefCell};
use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::configuration::{self, Role, Task, Zone};
use super::data::{Messages, Questions, Scratch};
use super::generator::{Generator, Order};
use super::namespace::{Namespaces, SERVER};
use super::process::{self, Cpu};
use super::servers::{self, Found, Kind, Server};
use super::table::{Bar, Case, Figure, Row};
use super::{Options, Scenario};

/// Where the server that is measured listens, and where the origin behind a cache does.
pub const PORT: u16 = 5300;
const ORIGIN_PORT: u16 = 5301;
/// The CPU of those who ask, and of the origin. Servers have CPU 0, or all up to the number of their cores.
pub const CLIENT_CPU: usize = 1;
/// How long a server may take to its first answer.
const START: Duration = Duration::from_secs(120);
/// How long it may take to end before it is killed.
const END: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(1);

/// What is measured under flood.
pub const FLOODED: [Figure; 2] = [Figure::lower("CPU µs a reply", 3), Figure::higher("replies/s", 0)];

/// One sitting. Fields are dropped in this order: nobody lives in the folder any more when it goes.
pub struct Session {
    namespaces: Namespaces,
    scratch: Scratch,
    /// What was told on the command line.
    pub options: Options,
    generator: Generator,
    generator_version: String,
    found: Vec<Found>,
    /// Servers that are not, and why.
    missing: Vec<(Server, String)>,
    /// Where Python finds its libraries, if it needs a place of its own.
    python_path: Option<PathBuf>,
    folders: Cell<usize>,
    /// The processes of origins, which are in the namespace of the servers and are not measured.
    origins: RefCell<Vec<u32>>,
    notes: RefCell<Vec<String>>,
    commands: RefCell<Vec<String>>,
}

/// A server that runs; it is stopped when this is dropped.
pub struct Running<'a> {
    session: &'a Session,
    child: Child,
    server: Server,
    port: u16,
    folder: PathBuf,
    /// Who else lives in the namespace.
    others: Vec<u32>,
    started: Instant,
}

impl Session {
    /// Looks for servers and moves this thread into a network namespace.
    ///
    /// # Errors
    /// When something is missing without which nothing can be measured.
    pub fn new(options: Options, scenarios: &[Scenario]) -> io::Result<Session> {
        if thread::available_parallelism()?.get() <= CLIENT_CPU {
            return Err(io::Error::other("two CPUs are needed, one for the server and one for who asks"));
        }
        for program in ["ip", "taskset"] {
            servers::find_program(program).ok_or_else(|| io::Error::other(format!("{program} is not installed")))?;
        }
        let (generator, generator_version) = Generator::find(options.generator).map_err(io::Error::other)?;
        let scratch = Scratch::new()?;
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        let mut python_path = None;
        for server in servers::ALL {
            let wanted = options.servers.is_empty() || options.servers.iter().any(|name| name == server.name());
            let is_python = matches!(server, Server::Dnspython | Server::Dnslib);
            if server != Server::Ringdns && !wanted || is_python && !scenarios.contains(&Scenario::Python) {
                continue;
            }
            match server.find(&options.ringdns) {
                Ok(_) if is_python && !python_has(server.name(), scratch.path(), &mut python_path) => {
                    missing.push((server, format!("{} is not here and pip could not fetch it", server.name())));
                }
                Ok(one) => found.push(one),
                Err(why) if server == Server::Ringdns => return Err(io::Error::other(why)),
                Err(why) => missing.push((server, why)),
            }
        }
        for (_, why) in &missing {
            eprintln!("skipped: {why}");
        }
        let namespaces = Namespaces::new()?;
        namespaces.enter()?;
        let mut cpus = CpuSet::new();
        cpus.set(CLIENT_CPU)?;
        sched_setaffinity(Pid::from_raw(0), &cpus)?;
        Ok(Session {
            namespaces,
            scratch,
            options,
            generator,
            generator_version,
            found,
            missing,
            python_path,
            folders: Cell::new(0),
            origins: RefCell::default(),
            notes: RefCell::new(Vec::new()),
            commands: RefCell::new(Vec::new()),
        })
    }

    /// Names and versions of what is there.
    #[must_use]
    pub fn programs(&self) -> Vec<String> {
        let servers = self.found.iter().filter(|found| found.server.kind() != Kind::Limit);
        let mut programs: Vec<String> =
            servers.map(|found| format!("{} {}", found.server.name(), found.version).trim().to_owned()).collect();
        programs.push(self.generator_version.clone());
        programs
    }

    /// Whether a new connection for each query can be had from the generator alone.
    #[must_use]
    pub fn generator(&self) -> Generator {
        self.generator
    }

    /// The folder for data.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// Says on stderr what is going on.
    pub fn progress(&self, words: &str) {
        eprintln!("{words}");
    }

    /// Keeps a note for the report, and says it.
    pub fn note(&self, words: String) {
        eprintln!("{words}");
        self.notes.borrow_mut().push(words);
    }

    /// What has been noted and run since the last time.
    pub fn take_notes(&self) -> (Vec<String>, Vec<String>) {
        (self.notes.take(), self.commands.take())
    }

    /// Fails when a signal has asked for the end.
    ///
    /// # Errors
    /// Then.
    pub fn carry_on(&self) -> io::Result<()> {
        self.namespaces.carry_on()
    }

    /// Those of these servers that are there.
    #[must_use]
    pub fn present(&self, wanted: &[Server]) -> Vec<Server> {
        for (server, why) in &self.missing {
            let note = format!("skipped: {why}");
            if wanted.contains(server) && !self.notes.borrow().contains(&note) {
                self.notes.borrow_mut().push(note);
            }
        }
        let is_there = |server: &Server| self.found.iter().any(|found| found.server == *server);
        wanted.iter().copied().filter(is_there).collect()
    }

    /// Measures servers in turn, so many rounds. A server that fails is left out of the case, with a note.
    ///
    /// # Errors
    /// When a signal has asked for the end.
    pub fn rotate(
        &self,
        title: String,
        figures: &[Figure],
        bars: &[Bar],
        wanted: &[Server],
        mut measure: impl FnMut(Server) -> io::Result<Vec<f64>>,
    ) -> io::Result<Case> {
        let mut rows: Vec<Row> =
            self.present(wanted).into_iter().map(|server| Row { server, runs: Vec::new() }).collect();
        for run in 1..=self.options.runs {
            let mut failed = Vec::new();
            for row in &mut rows {
                self.carry_on()?;
                match measure(row.server) {
                    Ok(values) => {
                        let words: Vec<String> = figures
                            .iter()
                            .zip(&values)
                            .map(|(figure, value)| format!("{} {value:.*}", figure.name, figure.digits))
                            .collect();
                        self.progress(&format!("{title}, run {run}, {}: {}", row.server.name(), words.join(", ")));
                        row.runs.push(values);
                    }
                    Err(error) => {
                        self.carry_on()?;
                        self.note(format!("{title}: {} is left out: {error}", row.server.name()));
                        failed.push(row.server);
                    }
                }
            }
            rows.retain(|row| !failed.contains(&row.server));
        }
        Ok(Case { title, figures: figures.to_vec(), rows, bars: bars.to_vec() })
    }

    /// Starts a server that will be measured.
    ///
    /// # Errors
    /// When it cannot do the task or cannot be started.
    pub fn start(&self, server: Server, cores: usize, role: Role) -> io::Result<Running<'_>> {
        let cpus = if cores == 1 { "0".to_owned() } else { format!("0-{}", cores - 1) };
        self.launch(server, &cpus, cores, PORT, role, self.origins.borrow().clone())
    }

    /// Starts an origin for caches, NSD or Knot DNS, on the CPU of those who ask, and waits for its answer to `question`.
    ///
    /// # Errors
    /// When none is here.
    pub fn origin(&self, zones: Vec<Zone>, question: &Messages) -> io::Result<Running<'_>> {
        let kinds = [Server::Nsd, Server::Knot];
        let server = kinds.into_iter().find(|kind| self.found.iter().any(|found| found.server == *kind));
        let server = server.ok_or_else(|| io::Error::other("an origin is needed, NSD or Knot DNS"))?;
        assert!(self.origins.borrow().is_empty(), "one origin at a time");
        let mut running =
            self.launch(server, &CLIENT_CPU.to_string(), 1, ORIGIN_PORT, Role::Zones(zones), Vec::new())?;
        running.await_answer_at(ORIGIN_PORT, question.at(0), 0)?;
        self.origins.replace(running.processes());
        Ok(running)
    }

    /// What a server does as a cache before the origin.
    #[must_use]
    pub fn cache(&self, entries: usize, dnssec_ok: bool) -> Role {
        Role::Cache { origin: ORIGIN_PORT, entries, dnssec_ok }
    }

    fn launch(
        &self,
        server: Server,
        cpus: &str,
        cores: usize,
        port: u16,
        role: Role,
        others: Vec<u32>,
    ) -> io::Result<Running<'_>> {
        self.carry_on()?;
        let found = self.found.iter().find(|found| found.server == server);
        let found = found.ok_or_else(|| io::Error::other(format!("{} is not here", server.name())))?;
        self.folders.set(self.folders.get() + 1);
        let folder = self.folder().join(format!("server-{}", self.folders.get()));
        fs::create_dir(&folder)?;
        let task = Task { folder: folder.clone(), port, cores, role };
        let launch = configuration::launch(found, &task)
            .ok_or_else(|| io::Error::other(format!("{} cannot do this", server.name())))?;
        for (path, text) in &launch.files {
            fs::write(path, text)?;
        }
        self.remember(configuration::command_line(found, &launch, self.folder()));
        let log = File::create(folder.join("log"))?;
        let mut command = self.namespaces.among_servers(cpus, &found.program.to_string_lossy());
        command.args(&launch.arguments).current_dir(&folder).stdout(log.try_clone()?).stderr(Stdio::from(log));
        if let Some(path) = &self.python_path {
            command.env("PYTHONPATH", path);
        }
        let started = Instant::now();
        Ok(Running { session: self, child: command.spawn()?, server, port, folder, others, started })
    }

    fn remember(&self, line: String) {
        // The number of a server's folder is of no interest.
        let line = (1..=self.folders.get()).rev().fold(line, |line, n| line.replace(&format!("/server-{n}"), ""));
        let mut commands = self.commands.borrow_mut();
        if !commands.contains(&line) {
            commands.push(line);
        }
    }
}

impl Running<'_> {
    /// Which it is.
    #[must_use]
    pub fn server(&self) -> Server {
        self.server
    }

    /// When it was started.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// All its processes.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        process::in_namespace(&self.session.namespaces.server, &self.others)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (SERVER, PORT).into()
    }

    /// Waits for a right answer to this query, and says how long it took from the server's start.
    ///
    /// # Errors
    /// When the server ends, or does not answer in two minutes.
    pub fn await_answer(&mut self, query: &[u8], rcode: u8) -> io::Result<Duration> {
        self.await_answer_at(PORT, query, rcode)
    }

    fn await_answer_at(&mut self, port: u16, query: &[u8], rcode: u8) -> io::Result<Duration> {
        let socket = UdpSocket::bind(("0.0.0.0", 0))?;
        socket.connect((SERVER, port))?;
        socket.set_read_timeout(Some(POLL))?;
        let mut buffer = [0; 4096];
        while self.started.elapsed() < START {
            self.session.carry_on()?;
            if let Some(status) = self.child.try_wait()? {
                return Err(self.failure(&format!("ended with {status}")));
            }
            // Refused until somebody listens.
            if socket.send(query).is_err() {
                thread::sleep(POLL);
                continue;
            }
            while let Ok(octets) = socket.recv(&mut buffer) {
                // Something must be said beside the rcode: some answer before they have read their zones.
                if octets >= 12 && buffer[3] & 15 == rcode && buffer[6..10] != [0; 4] {
                    return Ok(self.started.elapsed());
                }
            }
        }
        Err(self.failure("does not answer"))
    }

    fn failure(&self, what: &str) -> io::Error {
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(5).collect();
        io::Error::other(format!("{what}; {}", last.into_iter().rev().collect::<Vec<_>>().join(" / ")))
    }

    /// Floods it with a list that was written for it; CPU time a reply in microseconds, and replies a second.
    ///
    /// # Errors
    /// When the generator fails, or nothing is answered as it should be.
    pub fn flood(&self, questions: &Questions, list: &Path, tcp: bool, offered: u64) -> io::Result<Vec<f64>> {
        let session = self.session;
        let order = Order {
            questions: list,
            port: PORT,
            offered,
            seconds: session.options.seconds,
            tcp,
            dnssec_ok: questions.dnssec_ok,
        };
        session.remember(
            session.generator.command_line(&order).replace(&session.folder().display().to_string(), "FOLDER"),
        );
        let before = Cpu::of(&self.processes());
        let flooded =
            session.generator.flood(&session.namespaces, CLIENT_CPU, &order, &session.folder().join("generator"))?;
        let used = Cpu::of(&self.processes()).since(&before);
        // An echo knows no names that do not exist.
        let rcode = if self.server.kind() == Kind::Limit { 0 } else { questions.rcode };
        let replies = flooded.with(rcode);
        if replies == 0 {
            return Err(self.failure(&format!("nothing was answered as expected: {flooded:?}")));
        }
        Ok(vec![used as f64 / 1e3 / replies as f64, replies as f64 / order.seconds as f64])
    }

    /// What a piece of work costs it: CPU time in microseconds, and what the work returned.
    ///
    /// # Errors
    /// What the work returns.
    pub fn cost<T>(&self, work: impl FnOnce() -> io::Result<T>) -> io::Result<(f64, T)> {
        let before = Cpu::of(&self.processes());
        let result = work()?;
        Ok((Cpu::of(&self.processes()).since(&before) as f64 / 1e3, result))
    }

    /// Has it read its zones anew: SIGHUP, to all servers that know how.
    ///
    /// # Errors
    /// When it has ended and been waited for.
    pub fn reload(&self) -> io::Result<()> {
        // Nobody has waited for it since it answered: its number is its own.
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGHUP).map_err(io::Error::from)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // Once it has been waited for, its number may be another process's.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
        }
        let begin = Instant::now();
        while begin.elapsed() < 2 * END {
            let left = self.processes();
            // The first thread of a process may be gone before the others, and sockets go last of all.
            let ended = !matches!(self.child.try_wait(), Ok(None)) && left.is_empty();
            if ended && self.session.namespaces.is_free(self.port) {
                break;
            }
            if begin.elapsed() > END {
                // Whoever lives in this namespace was started here.
                for process in left {
                    let _ = kill(Pid::from_raw(process as i32), Signal::SIGKILL);
                }
            }
            thread::sleep(POLL * 10);
        }
        if self.port == ORIGIN_PORT {
            self.session.origins.take();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Whether Python has a library, from pip into a folder of this run if not.
fn python_has(library: &str, scratch: &Path, path: &mut Option<PathBuf>) -> bool {
    let module = if library == "dnspython" { "dns.message" } else { library };
    let imports = |path: &Option<PathBuf>| {
        let mut command = Command::new("python3");
        if let Some(path) = path {
            command.env("PYTHONPATH", path);
        }
        command.args(["-c", &format!("import {module}")]).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if imports(path) {
        return true;
    }
    let folder = scratch.join("python");
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "-q", "--no-input", "--disable-pip-version-check", "--timeout", "10"]);
    pip.args(["--retries", "1", "--root-user-action", "ignore", "--target"])
        .arg(&folder)
        .arg(library)
        .stderr(Stdio::null());
    if pip.status().is_ok_and(|status| status.success()) {
        *path = Some(folder);
    }
    imports(path)
}
