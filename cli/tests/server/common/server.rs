//! The binary, serving.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::dns::{self, Reply, Via};
use super::turn::{self, Share};
use super::{PATIENCE, wait_until};

/// What stands below every test's own part of the configuration: free ports, told at start.
const CONTROL: &str = "\n[control]\nlisten = \"127.0.0.1:0\"\n";

/// A listener on a free port.
pub(crate) const LISTEN: &str = "[[listen]]\naddress = \"127.0.0.1:0\"\n";

/// Where a process says that it serves: its listeners, and the control plane's pages.
type Greeted = (Vec<SocketAddr>, SocketAddr);

/// A serving process, and the folder with its files; both end with the test.
pub(crate) struct Server {
    child: Child,
    /// In the order of the configuration.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) pages: SocketAddr,
    folder: tempfile::TempDir,
    _share: Share,
}

impl Server {
    /// Serves `configuration`, which gets a [control] table where it has none, from a folder with `files` in it.
    #[track_caller]
    pub(crate) fn start(configuration: &str, files: &[(&str, &str)]) -> Server {
        Server::start_as(binary(), configuration, files)
    }

    /// The same through a command that runs the binary in its own place.
    #[track_caller]
    pub(crate) fn start_as(mut command: Command, configuration: &str, files: &[(&str, &str)]) -> Server {
        let share = turn::share();
        let folder = tempfile::tempdir().expect("a folder");
        let write = |file: &str, text: &str| fs::write(folder.path().join(file), text).expect("the file is written");
        let control = if configuration.contains("[control]") { "" } else { CONTROL };
        write("r.toml", &format!("{configuration}{control}"));
        for (file, text) in files {
            write(file, text);
        }
        let (child, greeted) = spawn(command.args(["serve", "-c", "r.toml"]), folder.path());
        Server::launched(share, folder, child, greeted)
    }

    /// Serves what is built in, on its fixed ports; `None` where another program has one of them.
    #[track_caller]
    pub(crate) fn start_embedded() -> Option<Server> {
        let (share, folder) = (turn::share(), tempfile::tempdir().expect("a folder"));
        let (mut child, greeted) = spawn(binary().arg("serve"), folder.path());
        let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        if greeted.is_none() && log.contains("cannot listen on") {
            ended(&mut child);
            return None;
        }
        Some(Server::launched(share, folder, child, greeted))
    }

    #[track_caller]
    fn launched(share: Share, folder: tempfile::TempDir, child: Child, greeted: Option<Greeted>) -> Server {
        let mut server =
            Server { child, addresses: Vec::new(), pages: ([0, 0, 0, 0], 0).into(), folder, _share: share };
        server.take(greeted);
        server
    }

    #[track_caller]
    fn take(&mut self, greeted: Option<Greeted>) {
        let Some((addresses, pages)) = greeted else { panic!("it does not serve:\n{}", self.log()) };
        self.addresses = addresses;
        self.pages = pages;
    }

    /// Ends the process as it is ended in earnest, and starts it again with the same files.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.signal("TERM");
        let status = self.ended();
        assert_eq!((status.code(), status.signal()), (Some(0), None), "{}", self.log());
        self.start_again();
    }

    /// Starts a process that has ended again with the same files.
    #[track_caller]
    pub(crate) fn start_again(&mut self) {
        let (child, greeted) = spawn(binary().args(["serve", "-c", "r.toml"]), self.folder.path());
        self.child = child;
        self.take(greeted);
    }

    /// The first listener.
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    #[track_caller]
    pub(crate) fn ask(&self, via: Via, query: &[u8]) -> Reply {
        dns::ask(self.address(), via, query)
    }

    /// The reply to a plain question over UDP.
    #[track_caller]
    pub(crate) fn answer(&self, name: &str, rtype: &str) -> Reply {
        self.ask(Via::Udp, &dns::query(name, rtype))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Puts a file in the place of one that is there, at once.
    pub(crate) fn replace(&self, file: &str, text: &str) {
        let new = self.folder.path().join("new");
        fs::write(&new, text).expect("the file is written");
        fs::rename(new, self.folder.path().join(file)).expect("the file is put in place");
    }

    /// SIGHUP, and waits until the reload is over. Whether it took everything in.
    #[track_caller]
    pub(crate) fn reload(&self) -> bool {
        let over = || (self.counter("reloads"), self.counter("reloads_failed"));
        let before = over();
        self.signal("HUP");
        wait_until("the reload", || over() != before);
        over().0 > before.0
    }

    /// What was written on standard error.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// A page of the control plane: its head and body.
    #[track_caller]
    pub(crate) fn page(&self, path: &str) -> String {
        let mut stream = TcpStream::connect_timeout(&self.pages, PATIENCE).expect("the control plane listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }

    /// The values of a metric, without the prefix and suffix of its name: one a core, or one. A family of several is told
    /// apart by one of its labels: `dropped{reason=rate}`.
    #[track_caller]
    pub(crate) fn values(&self, metric: &str) -> Vec<u64> {
        let page = self.figures();
        let (family, label) = metric.split_once('{').unwrap_or((metric, ""));
        let label = label.strip_suffix('}').and_then(|label| label.split_once('='));
        let label = label.map(|(name, value)| format!("{name}=\"{value}\""));
        let of_line = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let is_wanted = name == format!("ringdns_{family}_total") || name == format!("ringdns_{family}");
            let mut labels = labels.trim_end_matches('}').split(',');
            let is_labelled = label.as_ref().is_none_or(|label| labels.any(|found| found == label));
            (is_wanted && is_labelled).then(|| value.parse::<u64>().expect("a whole number"))
        };
        let values: Vec<u64> = page.lines().filter_map(of_line).collect();
        assert!(!values.is_empty(), "no metric {metric} in\n{page}");
        values
    }

    /// The metrics page, once every core has answered for it: where the machine stands still for a while, one may not.
    #[track_caller]
    fn figures(&self) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let page = self.page("/metrics");
            let is_silent = |line: &str| line.starts_with("ringdns_core_up{") && line.ends_with(" 0");
            if !page.lines().any(is_silent) {
                return page;
            }
            assert!(Instant::now() < end, "a core is silent:\n{page}");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// The sum of a metric over the cores, as [`Server::values`] knows it.
    #[track_caller]
    pub(crate) fn counter(&self, metric: &str) -> u64 {
        self.values(metric).iter().sum()
    }

    /// Waits until a metric has this value.
    #[track_caller]
    pub(crate) fn counts(&self, metric: &str, value: u64) {
        let end = Instant::now() + PATIENCE;
        while self.counter(metric) != value {
            assert!(Instant::now() < end, "{metric} is {}, not {value}", self.counter(metric));
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// How the process ended, which it must do in time.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        ended(&mut self.child)
    }
}

/// Starts a process in a folder, where its log is added to; where it says that it serves.
fn spawn(command: &mut Command, folder: &Path) -> (Child, Option<Greeted>) {
    let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).expect("a file");
    let mut child = command
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .expect("the binary runs");
    let output = child.stdout.take().expect("a pipe");
    let greeted = greeting(output);
    (child, greeted)
}

impl Drop for Server {
    fn drop(&mut self) {
        // A process that does not end when told to is a fault too, where the test has not failed already.
        let running = matches!(self.child.try_wait(), Ok(None));
        if running && !thread::panicking() {
            self.signal("TERM");
            let status = self.ended();
            assert_eq!((status.code(), status.signal()), (Some(0), None), "{}", self.log());
        } else if running {
            let _ = self.child.kill();
            let _ = self.child.wait();
            eprintln!("the server's log:\n{}", self.log());
        }
    }
}

/// The binary under test: what the tests were built with, or the build that `RINGDNS_BINARY` names.
pub(crate) fn program() -> PathBuf {
    other_build().unwrap_or_else(|| env!("CARGO_BIN_EXE_ringdns").into())
}

/// The build that was named, a release for one.
pub(crate) fn other_build() -> Option<PathBuf> {
    let named = std::env::var_os("RINGDNS_BINARY")?;
    Some(fs::canonicalize(&named).unwrap_or_else(|error| panic!("RINGDNS_BINARY {}: {error}", named.display())))
}

/// A command that runs it.
pub(crate) fn binary() -> Command {
    Command::new(program())
}

pub(crate) fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(sent.expect("kill runs").success());
}

#[track_caller]
pub(crate) fn ended(child: &mut Child) -> ExitStatus {
    let end = Instant::now() + PATIENCE;
    loop {
        match child.try_wait().expect("it can be waited for") {
            Some(status) => return status,
            None if Instant::now() > end => {
                let _ = child.kill();
                let _ = child.wait();
                panic!("it does not end within {PATIENCE:?}");
            }
            None => thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Where a process says that it serves; `None` where it ends or is silent instead. Its output is read to the end.
fn greeting(output: impl Read + Send + 'static) -> Option<Greeted> {
    let (send, greeted) = mpsc::channel();
    thread::spawn(move || {
        let mut addresses = Vec::new();
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["listening", address, ..] => addresses.push(address.parse().expect("an address")),
                ["control", page, ..] => {
                    let pages = page.trim_start_matches("http://").parse().expect("an address");
                    let _ = send.send((std::mem::take(&mut addresses), pages));
                }
                _ => {}
            }
        }
    });
    greeted.recv_timeout(PATIENCE).ok()
}

/// The root of the project.
pub(crate) fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").to_owned()
}
