//! What goes wrong around the query log: a full disk, a file that may not grow, a folder that may not be written, files
//! that are damaged. The server answers on, tells once, counts every entry, and goes on where it left off when it can. What a
//! reader of dnstap does wrong is in [`crate::tapped`].

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::dns::{NXDOMAIN, query, receive, udp_socket};
use crate::common::server::{LISTEN, Server, program};
use crate::common::{needed, skipped, wait_until};

fn configuration(file: &Path) -> String {
    format!(
        "[server]\ncores = 1\n{LISTEN}[[zone]]\nname = \"example.test\"\nfile = \"builtin:demonstration\"\n\
         [query_log]\nenabled = true\nfile = \"{}\"\n",
        file.display()
    )
}

/// Asks for names that are long, so that they take room; each is answered.
fn ask(server: &Server, count: usize) {
    let socket = udp_socket(server.address());
    let label = "x".repeat(63);
    for number in 0..count {
        let name = format!("n{number}.{label}.{label}.example.test");
        socket.send(&query(&name, "A")).expect("it is sent");
        assert_eq!(u16::from(receive(&socket)[3] & 15), NXDOMAIN);
    }
}

fn lines(server: &Server, what: &str) -> usize {
    server.log().lines().filter(|line| line.contains(what)).count()
}

/// Waits until the log is written, and until each entry is.
fn settled(server: &Server) {
    wait_until("the query log is written", || server.counter("query_log_up") == 1);
    let entries = || server.counter("query_log_entries");
    let accounted = || server.counter("query_log_stored") + server.counter("query_log_dropped");
    wait_until("every entry is stored or counted as lost", || accounted() == entries());
    assert_eq!(server.counter("queries"), entries());
}

/// What `/api/v1/status` says is wrong with the query log.
fn trouble(server: &Server) -> Option<String> {
    let page = server.page("/api/v1/status");
    let body = page.split("\r\n\r\n").nth(1).unwrap_or_default();
    let status: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{page}"));
    status["query_log"]["trouble"].as_str().map(str::to_owned)
}

/// Has a server that logs run out of room by `fill`, and get it back by `free`.
fn out_of_room(server: &Server, mut fill: impl FnMut(), free: impl FnOnce()) {
    ask(server, 200);
    settled(server);
    assert_eq!((server.counter("query_log_stored"), server.counter("query_log_failures")), (200, 0));
    // More than once: what the data base writes at its end makes room in the files beside it.
    wait_until("there is no room, and it was tried again", || {
        fill();
        ask(server, 200);
        server.counter("query_log_failures") > 2 && trouble(server).is_some()
    });
    let told = lines(server, " is not written: ");
    assert!((1..=2).contains(&told), "{}", server.log());
    free();
    settled(server);
    let stored = server.counter("query_log_stored");
    ask(server, 200);
    settled(server);
    assert_eq!(server.counter("query_log_stored"), stored + 200);
    assert!(server.counter("query_log_dropped") > 0, "a batch was lost, and counted");
    assert_eq!(server.counter("query_log_rows"), stored + 200, "nothing that was stored is lost");
    assert_eq!((trouble(server), lines(server, " is written again; ")), (None, told), "{}", server.log());
}

/// A command that mounts by `script`, in a namespace of its own, and then is the server.
fn mounting(script: &str) -> Option<Command> {
    let unshare = needed("unshare", "util-linux")?;
    let allowed = Command::new(&unshare).args(["-m", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        skipped("nothing can be mounted here");
        return None;
    }
    let mut command = Command::new(unshare);
    command.args(["-m", "sh", "-c", &format!("{script} && exec \"$0\" \"$@\"")]).arg(program());
    Some(command)
}

/// A folder as the server sees it.
fn seen_by(server: &Server, folder: &Path) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root{}", server.pid(), folder.display()))
}

#[test]
fn a_full_disk_costs_entries_and_no_answer() {
    let Some(command) = mounting("mkdir disk && mount -t tmpfs -o size=4m none disk") else { return };
    let server = Server::start_as(command, &configuration(Path::new("disk/queries.sqlite")), &[]);
    let ballast = seen_by(&server, &server.folder().join("disk")).join("ballast");
    let fill = || {
        let mut file = OpenOptions::new().create(true).append(true).open(&ballast).expect("the disk is there");
        while file.write_all(&[0; 512]).is_ok() {}
    };
    out_of_room(&server, fill, || fs::remove_file(&ballast).expect("the ballast is there"));
}

#[test]
fn a_file_that_may_not_grow_costs_entries_and_no_answer() {
    let Some(prlimit) = needed("prlimit", "util-linux") else { return };
    let mut command = Command::new("sh");
    // In units of 512 octets, or of 1,024 as some shells count. The signal would end the process otherwise.
    command.args(["-c", "trap '' XFSZ && ulimit -S -f 400 && exec \"$0\" \"$@\""]).arg(program());
    let server = Server::start_as(command, &configuration(Path::new("queries.sqlite")), &[]);
    let free = || {
        let pid = server.pid().to_string();
        let status = Command::new(&prlimit).args(["--pid", &pid, "--fsize=unlimited:"]).status().expect("it runs");
        assert!(status.success());
    };
    out_of_room(&server, || (), free);
}

#[test]
fn a_folder_that_may_not_be_written_keeps_nobody_from_serving() {
    let Some(nsenter) = needed("nsenter", "util-linux") else { return };
    let disk = tempfile::tempdir().expect("a folder");
    let path = disk.path().canonicalize().expect("it is there");
    let shown = path.display();
    let script = format!("mount --bind {shown} {shown} && mount -o remount,bind,ro {shown}");
    let Some(command) = mounting(&script) else { return };
    let file = path.join("queries.sqlite");
    // What was logged before is there still.
    let mut before = Server::start(&configuration(&file), &[]);
    ask(&before, 100);
    before.signal("TERM");
    assert_eq!(before.ended().code(), Some(0), "{}", before.log());
    let server = Server::start_as(command, &configuration(&file), &[]);
    ask(&server, 300);
    wait_until("it was tried again", || server.counter("query_log_failures") > 1);
    assert_eq!((server.counter("query_log_up"), server.counter("query_log_stored")), (0, 0));
    assert_eq!(lines(&server, " is not written: "), 1, "{}", server.log());
    assert!(server.page("/ready").starts_with("HTTP/1.1 200 "), "answers do not depend on it");
    let mut command = Command::new(nsenter);
    command.args(["-m", "-t", &server.pid().to_string(), "mount", "-o", "remount,bind,rw"]).arg(&path);
    assert!(command.status().expect("it runs").success());
    settled(&server);
    assert_eq!(server.counter("query_log_stored") + server.counter("query_log_dropped"), 300);
    assert_eq!(server.counter("query_log_rows"), 100 + server.counter("query_log_stored"));
    assert_eq!(lines(&server, " is written again; "), 1, "{}", server.log());
}

/// The files of damaged data bases.
fn put_aside(server: &Server) -> Vec<PathBuf> {
    let entries = fs::read_dir(server.folder()).expect("a folder").map(|entry| entry.expect("an entry").path());
    let is_aside = |path: &PathBuf| {
        path.file_name().is_some_and(|name| {
            let name = name.to_string_lossy();
            name.starts_with("queries.sqlite.corrupt-") && !name.ends_with("-wal") && !name.ends_with("-shm")
        })
    };
    entries.filter(is_aside).collect()
}

#[test]
fn a_file_that_is_no_data_base_is_put_aside() {
    let text = "this is no data base\n".repeat(1_000);
    let server = Server::start(&configuration(Path::new("queries.sqlite")), &[("queries.sqlite", &text)]);
    ask(&server, 100);
    settled(&server);
    assert_eq!((server.counter("query_log_put_aside"), server.counter("query_log_rows")), (1, 100));
    let aside = put_aside(&server);
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert_eq!(fs::read_to_string(&aside[0]).expect("it is kept"), text);
    assert_eq!(lines(&server, "it is kept as"), 1, "{}", server.log());
}

#[test]
fn a_damaged_data_base_is_put_aside() {
    let mut server = Server::start(&configuration(Path::new("queries.sqlite")), &[]);
    ask(&server, 100);
    settled(&server);
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0), "{}", server.log());
    let file = server.folder().join("queries.sqlite");
    let mut octets = fs::read(&file).expect("the data base");
    octets[4_096..].fill(0x5a);
    fs::write(&file, &octets).expect("it is written");
    server.start_again();
    ask(&server, 100);
    settled(&server);
    assert_eq!((server.counter("query_log_put_aside"), server.counter("query_log_rows")), (1, 100));
    let aside = put_aside(&server);
    assert_eq!(aside.len(), 1, "{aside:?}");
    // The head says how often it was opened.
    assert_eq!(fs::read(&aside[0]).expect("it is kept")[4_096..], octets[4_096..]);
}
