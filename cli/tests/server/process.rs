//! The process: its threads, its end, and what keeps it from starting.

use std::collections::BTreeSet;
use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use crate::common::dns::{BOTH, Reply, Via, connection, framed, query, read_frame, receive, udp_socket};
use crate::common::server::{LISTEN, Server, binary, program};
use crate::common::upstream::{ANSWER, TRUNCATED, Upstream, address};
use crate::common::{PATIENCE, needed, skipped, wait_until};
use crate::forwarding;
use crate::shipped::allowed_calls;

/// The CPUs that a thread may use, as the kernel writes them.
fn cpus_allowed(task: &Path) -> String {
    let status = fs::read_to_string(task.join("status")).expect("the thread is there");
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("a line of the kernel's");
    line.trim().to_owned()
}

#[test]
fn each_core_is_a_thread_with_its_name_and_its_cpu() {
    let server = Server::start(LISTEN, &[]);
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("the process is there");
    let mut cores: Vec<(String, String)> = tasks
        .filter_map(|task| {
            let task = task.expect("an entry").path();
            // A thread that works for the control plane may have ended by now.
            let name = fs::read_to_string(task.join("comm")).ok()?.trim().to_owned();
            name.starts_with("ringdns-core-").then(|| (name, cpus_allowed(&task)))
        })
        .collect();
    cores.sort_unstable();
    let count = thread::available_parallelism().expect("a number").get();
    let names: Vec<String> = (0..count).map(|core| format!("ringdns-core-{core}")).collect();
    let mut found: Vec<&str> = cores.iter().map(|(name, _)| name.as_str()).collect();
    found.sort_by_key(|name| name.rsplit('-').next().and_then(|number| number.parse::<usize>().ok()));
    assert_eq!(found, names);
    let mut cpus: Vec<usize> = cores.iter().map(|(_, cpus)| cpus.parse().expect("one CPU and no more")).collect();
    cpus.sort_unstable();
    cpus.dedup();
    assert_eq!(cpus.len(), count, "each on a CPU of its own: {cores:?}");
    for cpu in cpus {
        assert_eq!(server.counter(&format!("core_info{{cpu={cpu}}}")), 1, "CPU {cpu} has a core");
    }
}

#[test]
fn what_is_in_flight_is_answered_before_the_end() {
    let upstream =
        Upstream::start_late(|asked| vec![(Duration::from_millis(1_000), asked.reply(ANSWER, &[address(60, 1)]))]);
    let configuration = forwarding::configuration(&[format!("udp://{}", upstream.address)], "30s");
    for signal in ["TERM", "INT"] {
        let mut server = Server::start(&configuration, &[]);
        let before = upstream.count(Via::Udp);
        let over_udp = udp_socket(server.address());
        over_udp.send(&query("udp.test", "A")).expect("it is sent");
        let mut over_tcp = connection(server.address());
        std::io::Write::write_all(&mut over_tcp, &framed(&query("tcp.test", "A"))).expect("it is read");
        wait_until("both are asked", || upstream.count(Via::Udp) == before + 2);
        server.signal(signal);
        assert_eq!(Reply::read(receive(&over_udp)).answer().len(), 1);
        assert_eq!(Reply::read(read_frame(&mut over_tcp).expect("a reply")).answer().len(), 1);
        assert_eq!(server.ended().code(), Some(0), "{}", server.log());
    }
}

#[test]
fn a_process_in_flight_ends_in_time_whatever_its_upstreams_do() {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = silent.local_addr().expect("an address");
    let mut server = Server::start(&forwarding::configuration(&[format!("udp://{address}")], "1m"), &[]);
    udp_socket(server.address()).send(&query("a.test", "A")).expect("it is sent");
    silent.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    silent.recv(&mut [0; 512]).expect("it is asked");
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0), "{}", server.log());
}

#[test]
fn root_is_given_up() {
    let status = |task: &Path| fs::read_to_string(task.join("status"));
    let user = |status: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).expect("a line of the kernel's");
        line.split_whitespace().map(|uid| uid.parse::<u32>().expect("a number")).collect::<Vec<_>>()
    };
    if user(&status(Path::new("/proc/self")).expect("it is there"))[1] != 0 {
        return skipped("only root can become another user");
    }
    let zone = "[[zone]]\nname = \"example.test\"\nfile = \"builtin:demonstration\"\n";
    let server = Server::start(&format!("[server]\nuser = \"nobody\"\n{LISTEN}{zone}"), &[]);
    for task in fs::read_dir(format!("/proc/{}/task", server.pid())).expect("the process is there") {
        // A thread that works for the control plane may have ended by now.
        let Ok(status) = status(&task.expect("an entry").path()) else { continue };
        let uids = user(&status);
        assert!(uids.iter().all(|uid| *uid != 0), "real, effective, saved, file system: {uids:?}");
        assert!(status.contains("\nCapEff:\t0000000000000000\n"), "{status}");
    }
    assert_eq!(server.answer("www.example.test", "A").answer().len(), 1);
}

/// Runs `serve` on a configuration that it cannot serve.
fn refused(mut command: Command, configuration: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("r.toml");
    fs::write(&file, format!("{configuration}\n[control]\nlisten = \"\"\n")).expect("the file is written");
    let Output { status, stderr, .. } = command.arg(&file).output().expect("it runs");
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

fn serve() -> Command {
    let mut command = binary();
    command.args(["serve", "-c"]);
    command
}

#[test]
fn a_taken_port_is_named() {
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = taken.local_addr().expect("an address").to_string();
    let (status, told) = refused(serve(), &format!("[[listen]]\naddress = \"{address}\"\n"));
    assert_eq!((status, told.lines().count()), (Some(3), 1), "{told}");
    assert!(told.contains(&address) && told.contains("UDP"), "{told}");
}

#[test]
fn a_second_process_does_not_share_the_port_of_the_first() {
    let server = Server::start(LISTEN, &[]);
    let address = server.address().to_string();
    let (status, told) = refused(serve(), &format!("[[listen]]\naddress = \"{address}\"\n"));
    assert_eq!(status, Some(3), "{told}");
    assert!(told.contains(&address), "{told}");
}

#[test]
fn an_address_of_another_machine_is_named() {
    let (status, told) = refused(serve(), "[[listen]]\naddress = \"192.0.2.1:5300\"\n");
    assert_eq!((status, told.lines().count()), (Some(3), 1), "{told}");
    assert!(told.contains("192.0.2.1:5300"), "{told}");
}

/// strace, where it is installed and may trace.
pub(crate) fn strace() -> Option<PathBuf> {
    let strace = needed("strace", "strace")?;
    let traced = Command::new(&strace).args(["-f", "-o", "/dev/null", "true"]).output().expect("strace runs");
    if !traced.status.success() {
        skipped("strace may not trace here");
        return None;
    }
    Some(strace)
}

#[test]
fn where_io_uring_is_forbidden_one_line_says_so() {
    let Some(strace) = strace() else { return };
    for (errno, mend) in [("EPERM", "allow io_uring_setup"), ("ENOSYS", "kernel has no io_uring")] {
        let mut command = Command::new(&strace);
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("inject=io_uring_setup:error={errno}")]);
        command.arg(program()).args(["serve", "-c"]);
        let (status, told) = refused(command, LISTEN);
        assert_eq!((status, told.lines().count()), (Some(3), 1), "{told}");
        // Where the tests themselves run under a seccomp filter, that is what it says.
        assert!(told.contains("io_uring") && (told.contains(mend) || told.contains("seccomp")), "{told}");
    }
}

/// Without the capability that a limit or a port needs, as an ordinary user has it.
fn without(capabilities: &str, before: &str) -> Option<Command> {
    let has_rights = fs::read_to_string("/proc/self/status").is_ok_and(|status| status.contains("\nUid:\t0\t0\t"));
    let setpriv = needed("setpriv", "util-linux")?;
    if !has_rights {
        skipped("only root can give capabilities up one by one");
        return None;
    }
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{before} exec timeout 20 \"$@\""), "sh"]).arg(setpriv);
    command.arg(format!("--bounding-set={capabilities}")).arg(program()).args(["serve", "-c"]);
    Some(command)
}

#[test]
fn where_memory_cannot_be_locked_one_line_says_so() {
    let Some(command) = without("-sys_resource,-ipc_lock", "ulimit -l 64;") else { return };
    let (status, told) = refused(command, LISTEN);
    assert_eq!((status, told.lines().count()), (Some(3), 1), "{told}");
    assert!(told.contains("RLIMIT_MEMLOCK") && told.contains("64 KiB") && told.contains("LimitMEMLOCK"), "{told}");
}

#[test]
fn where_a_port_is_not_permitted_one_line_says_so() {
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").expect("a number of the kernel's");
    if first.trim().parse::<u16>().expect("a port") <= 1 {
        return skipped("every port is for everybody here (net.ipv4.ip_unprivileged_port_start)");
    }
    let Some(command) = without("-net_bind_service", "") else { return };
    let (status, told) = refused(command, "[[listen]]\naddress = \"127.0.0.1:1\"\n");
    assert_eq!((status, told.lines().count()), (Some(3), 1), "{told}");
    assert!(told.contains("127.0.0.1:1:") && told.contains("CAP_NET_BIND_SERVICE"), "{told}");
}

/// The system calls in the files that strace has written for a command.
pub(crate) fn calls(traces: &Path, command: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(traces).expect("a folder").map(|trace| trace.expect("an entry"));
    let of_command = entries.filter(|trace| trace.file_name().to_string_lossy().starts_with(command));
    let text: String = of_command.map(|trace| fs::read_to_string(trace.path()).expect("a file")).collect();
    let called = text.lines().filter_map(|line| line.split_once('(')).map(|(name, _)| name.to_owned());
    called.filter(|name| name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')).collect()
}

#[test]
fn the_seccomp_profile_permits_what_is_called() {
    let Some(strace) = strace() else { return };
    let traces = tempfile::tempdir().expect("a folder");
    let traced = |file: &str| {
        let mut command = Command::new(&strace);
        // -D: the server is our child, and strace its child.
        command.args(["-D", "-ff", "-qq", "-o"]).arg(traces.path().join(file)).arg(program());
        command
    };
    let upstream = Upstream::start(|asked| {
        Some(asked.reply(if asked.via == Via::Udp { TRUNCATED } else { ANSWER }, &[address(60, 1)]))
    });
    let demonstration = "[[zone]]\nname = \"example.test\"\nfile = \"builtin:demonstration\"\n";
    let configuration = forwarding::configuration(&[format!("udp://{}", upstream.address)], "30s");
    let mut server = Server::start_as(traced("serve"), &format!("{configuration}{demonstration}"), &[]);
    for via in BOTH {
        assert_eq!(server.ask(via, &query("www.example.test", "A")).answer().len(), 1);
        assert_eq!(server.ask(via, &query("a.test", "A")).answer().len(), 1);
    }
    assert!(server.reload());
    let asked = format!("@{}", server.address());
    for words in [&["+short"][..], &["+tcp", "+check"]] {
        let output = traced("query").args(["query", &asked, "www.example.test"]).args(words).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0));

    wait_until("strace has written the end", || calls(traces.path(), "serve").contains("exit_group"));
    let called = calls(traces.path(), "");
    assert!(called.contains("io_uring_enter") && called.contains("recvmmsg"), "{called:?}");
    let allowed = allowed_calls();
    // Of more than one datagram at a time, which nothing here makes sure of.
    assert!(allowed.contains("sendmmsg"));
    let refused: Vec<&String> = called.iter().filter(|name| !allowed.contains(*name)).collect();
    assert!(refused.is_empty(), "docker/seccomp.json refuses {refused:?}");
}
