//! Floods: more queries than a server can take, from `kxdpgun` over AF_XDP, or from `dnsperf` where there is none.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::ValueEnum;

use super::namespace::{Namespaces, SERVER};
use super::servers::{find_program, version_in};

/// Who floods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Generator {
    /// Of knot-dnsutils; it goes past the kernel's sockets, so that it is never what is too slow.
    Kxdpgun,
    /// On sockets: on few CPUs it may be slower than the server.
    Dnsperf,
}

/// A flood.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// The list, as `Questions::write` has written it.
    pub questions: &'a Path,
    /// The server's port.
    pub port: u16,
    /// Queries a second that are offered.
    pub offered: u64,
    /// For so long.
    pub seconds: u64,
    /// Over TCP, a new connection for each query.
    pub tcp: bool,
    /// With DO, which `kxdpgun` has from the list.
    pub dnssec_ok: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flooded {
    /// Queries, or with TCP connections begun.
    pub sent: u64,
    /// Replies by rcode, in capitals.
    pub replies: Vec<(String, u64)>,
}

impl Flooded {
    /// Replies with this rcode.
    #[must_use]
    pub fn with(&self, rcode: u8) -> u64 {
        let name = match rcode {
            0 => "NOERROR",
            3 => "NXDOMAIN",
            other => panic!("no question here expects the rcode {other}"),
        };
        self.replies.iter().filter(|(found, _)| found == name).map(|(_, count)| count).sum()
    }
}

/// The longest that a generator may take beyond its time.
const GRACE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);

impl Generator {
    /// The one that is wanted, or else the better one that is installed; and its version.
    ///
    /// # Errors
    /// In words, when it is not there.
    pub fn find(wanted: Option<Generator>) -> Result<(Generator, String), String> {
        for generator in [Generator::Kxdpgun, Generator::Dnsperf] {
            if wanted.is_none_or(|wanted| wanted == generator)
                && let Some(version) = generator.version()
            {
                return Ok((generator, version));
            }
        }
        Err("the generator is not installed: kxdpgun (apt package knot-dnsutils) or dnsperf".to_owned())
    }

    fn version(self) -> Option<String> {
        let (program, option) = match self {
            Generator::Kxdpgun => ("kxdpgun", "--version"),
            Generator::Dnsperf => ("dnsperf", "-h"),
        };
        let output = Command::new(find_program(program)?).arg(option).output().ok()?;
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        version_in(&text).map(|version| format!("{program} {version}"))
    }

    /// What is run, as one line.
    #[must_use]
    pub fn command_line(self, order: &Order) -> String {
        let Order { port, offered, seconds, .. } = order;
        let questions = order.questions.display();
        match self {
            Generator::Kxdpgun if order.tcp => {
                format!("kxdpgun -T -t {seconds} -Q {offered} -F 1 -p {port} -i {questions} {SERVER}")
            }
            Generator::Kxdpgun => {
                format!("kxdpgun -t {seconds} -Q {offered} -F 1 -b 32 -p {port} -i {questions} {SERVER}")
            }
            Generator::Dnsperf => {
                let dnssec = if order.dnssec_ok { " -D" } else { "" };
                let mode = if order.tcp { " -m tcp -O num-queries-per-conn=1" } else { "" };
                format!(
                    "dnsperf -s {SERVER} -p {port} -d {questions} -l {seconds} -c 16 -T 1 -q 1000 -t 1{dnssec}{mode}"
                )
            }
        }
    }

    /// Floods, and waits until it is over.
    ///
    /// # Errors
    /// When the generator fails, is silent, or a signal says to stop.
    pub fn flood(self, namespaces: &Namespaces, cpu: usize, order: &Order, output: &Path) -> io::Result<Flooded> {
        let line = self.command_line(order);
        let mut words = line.split(' ');
        let program = words.next().and_then(find_program).ok_or_else(|| io::Error::other("the generator is gone"))?;
        let mut command = namespaces.among_clients(&cpu.to_string(), &program.to_string_lossy());
        let out = File::create(output)?;
        let mut child = command.args(words).stdout(out.try_clone()?).stderr(Stdio::from(out)).spawn()?;
        let deadline = Instant::now() + Duration::from_secs(order.seconds) + GRACE;
        let ended = loop {
            if let Some(status) = child.try_wait()? {
                break if status.success() { Ok(()) } else { Err(io::Error::other(format!("{line}: {status}"))) };
            }
            if let Err(error) = namespaces.carry_on() {
                break Err(error);
            }
            if Instant::now() > deadline {
                break Err(io::Error::other(format!("{line}: does not end")));
            }
            std::thread::sleep(POLL);
        };
        let text = std::fs::read_to_string(output).unwrap_or_default();
        if let Err(error) = ended {
            let _ = child.kill();
            let _ = child.wait();
            return Err(io::Error::new(error.kind(), format!("{error}\n{}", text.trim())));
        }
        let parsed = match self {
            Generator::Kxdpgun => kxdpgun(&text),
            Generator::Dnsperf => dnsperf(&text),
        };
        parsed.ok_or_else(|| io::Error::other(format!("{line}: no figures in what it says\n{}", text.trim())))
    }
}

/// Reads the summary of `kxdpgun`.
fn kxdpgun(text: &str) -> Option<Flooded> {
    let mut flooded = Flooded {
        sent: number_after(text, "total queries:").or(number_after(text, "total SYNs:"))?,
        replies: Vec::new(),
    };
    for line in text.lines() {
        if let Some((rcode, count)) = line.trim().strip_prefix("responded ").and_then(|rest| rest.split_once(':')) {
            flooded.replies.push((rcode.to_owned(), count.trim().parse().ok()?));
        }
    }
    Some(flooded)
}

/// Reads the statistics of `dnsperf`.
fn dnsperf(text: &str) -> Option<Flooded> {
    let mut flooded = Flooded { sent: number_after(text, "Queries sent:")?, replies: Vec::new() };
    // Absent when nothing was answered.
    let codes = text.lines().find_map(|line| line.trim().strip_prefix("Response codes:")).unwrap_or("");
    for code in codes.split(',').filter(|code| !code.trim().is_empty()) {
        let mut words = code.split_whitespace();
        flooded.replies.push((words.next()?.to_owned(), words.next()?.parse().ok()?));
    }
    Some(flooded)
}

fn number_after(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.trim().strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KXDPGUN: &str = "using interface client, XDP threads 1, UDP, native mode
thread#00: sent 260416, received 99576
total queries:     260416 (130208 pps)
total replies:     99576 (49788 pps) (38%)
average DNS reply size: 48 B
average Ethernet reply rate: 36199956 bps (36.20 Mbps)
responded NOERROR:   99570
responded SERVFAIL:  6
duration: 2 s
";
    const KXDPGUN_TCP: &str = "using interface client, XDP threads 1, TCP, native mode
thread#00: sent 7170, received 7170
total SYNs:        7170 (7170 pps)
total established: 7170 (7170 pps) (100%)
total replies:     7170 (7170 pps) (100%)
total closed:      7170 (7170 pps) (100%)
responded NXDOMAIN:  7170
duration: 1 s
";
    const DNSPERF: &str = "DNS Performance Testing Tool
Statistics:

  Queries sent:         35017
  Queries completed:    35016 (100.00%)
  Queries lost:         1 (0.00%)

  Response codes:       NOERROR 35000 (99.95%), SERVFAIL 16 (0.05%)
  Average packet size:  request 32, response 48
  Run time (s):         1.042372
";

    #[test]
    fn the_summary_of_kxdpgun_is_read() {
        let flooded = kxdpgun(KXDPGUN).unwrap();
        assert_eq!((flooded.sent, flooded.with(0), flooded.with(3)), (260_416, 99_570, 0));
        let flooded = kxdpgun(KXDPGUN_TCP).unwrap();
        assert_eq!((flooded.sent, flooded.with(0), flooded.with(3)), (7170, 0, 7170));
        assert_eq!(kxdpgun("kxdpgun: no route to host"), None);
    }

    #[test]
    fn the_statistics_of_dnsperf_are_read() {
        let flooded = dnsperf(DNSPERF).unwrap();
        assert_eq!((flooded.sent, flooded.with(0)), (35_017, 35_000));
        assert_eq!(flooded.replies.len(), 2);
        assert_eq!(dnsperf("  Queries sent:         5\n").unwrap().with(0), 0);
        assert_eq!(dnsperf("Error: no data"), None);
    }

    #[test]
    fn orders_become_commands() {
        let order =
            Order { questions: Path::new("list"), port: 53, offered: 9, seconds: 4, tcp: false, dnssec_ok: true };
        assert_eq!(Generator::Kxdpgun.command_line(&order), "kxdpgun -t 4 -Q 9 -F 1 -b 32 -p 53 -i list 198.18.0.2");
        assert!(Generator::Kxdpgun.command_line(&Order { tcp: true, ..order }).contains(" -T "));
        assert!(Generator::Dnsperf.command_line(&order).contains(" -D"));
    }
}
