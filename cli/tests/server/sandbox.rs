//! What the process gives up once its ports are bound, and how it is told that it asks for what it gave up.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::dns::{SERVFAIL, Via};
use crate::common::server::{LISTEN, Server, program};
use crate::common::upstream::{ANSWER, Upstream, address};
use crate::common::{needed, skipped, wait_until};
use crate::process::{calls, strace};
use crate::shipped::allowed_calls;

const ZONE: &str = "$TTL 60\n@ SOA ns h 1 60 60 60 60\n@ NS ns\nns A 192.0.2.1\n";

fn a_test(file: &str) -> String {
    format!("{LISTEN}[[zone]]\nname = \"a.test\"\nfile = \"{file}\"\n")
}

/// The lines that the kernel has about each thread.
fn threads(server: &Server) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("the process is there");
    // A thread that works for the control plane may have ended by now.
    tasks.filter_map(|task| fs::read_to_string(task.expect("an entry").path().join("status")).ok()).collect()
}

fn field<'a>(status: &'a str, title: &str) -> &'a str {
    status.lines().find_map(|line| line.strip_prefix(title)).expect("a line of the kernel's").trim()
}

fn is_root() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| status.contains("\nUid:\t0\t0\t"))
}

/// Whether the server's log says that it is kept in; where it is not, the test has nothing to look at.
fn is_confined(server: &Server) -> bool {
    let confined = server.log().contains("INFO  confined by Landlock (version ");
    if !confined {
        assert!(server.log().contains("INFO  not confined by Landlock"), "{}", server.log());
        skipped("this kernel has no Landlock");
    }
    confined
}

#[test]
fn every_thread_has_given_up_what_it_does_not_need() {
    let server = Server::start(&a_test("a.zone"), &[("a.zone", ZONE)]);
    // Threads of all kinds: cores, those beside them, those that read zones.
    server.replace("a.zone", &ZONE.replace("h 1", "h 2"));
    assert!(server.reload());
    let threads = threads(&server);
    assert!(threads.iter().any(|status| field(status, "Name:") == "ringdns-core-0") && threads.len() > 2);
    for status in &threads {
        assert_eq!(field(status, "NoNewPrivs:"), "1", "{status}");
        for title in ["CapInh:", "CapAmb:"] {
            assert_eq!(field(status, title), "0000000000000000", "{status}");
        }
        // Of root: CAP_DAC_OVERRIDE and CAP_FOWNER at most.
        for title in ["CapEff:", "CapPrm:"] {
            let held = u64::from_str_radix(field(status, title), 16).expect("a mask");
            assert_eq!(held & !if is_root() { 0b1010 } else { 0 }, 0, "{status}");
        }
        if is_root() {
            assert_eq!(field(status, "CapBnd:"), "0000000000000000", "{status}");
        }
    }
    if is_root() {
        assert!(server.log().contains("the process stays root, and reads and writes files of others: name a `user`"));
    }
}

#[test]
fn what_a_reload_names_outside_needs_a_restart() {
    let outside = tempfile::tempdir().expect("a folder");
    fs::write(outside.path().join("b.zone"), ZONE).expect("the file is written");
    let mut server = Server::start(&a_test("a.zone"), &[("a.zone", ZONE)]);
    if !is_confined(&server) {
        return;
    }
    let text = fs::read_to_string(server.folder().join("r.toml")).expect("the configuration");
    let other = outside.path().join("b.zone").display().to_string();
    server.replace("r.toml", &format!("{text}[[zone]]\nname = \"b.test\"\nfile = \"{other}\"\n"));
    assert!(!server.reload());
    let line = format!(
        "{other}: cannot be read: Permission denied (os error 13): it lies outside of the folders that the configuration \
         named when the server started, and the server is kept to those; a restart takes it in, or `sandbox = false`"
    );
    assert!(server.log().contains(&line), "{}", server.log());
    assert_eq!(server.answer("ns.a.test", "A").answer().len(), 1, "the rest is served");
    assert_eq!(server.answer("ns.b.test", "A").rcode(), SERVFAIL);
    server.restart();
    assert_eq!(server.answer("ns.b.test", "A").answer().len(), 1);
    // A secret likewise: nothing is changed then.
    let secret = tempfile::tempdir().expect("a folder");
    let key = secret.path().join("key");
    fs::write(&key, "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0ISE=").expect("the file is written");
    server.replace("r.toml", &format!("{text}[[key]]\nname = \"k.\"\nsecret_file = \"{}\"\n", key.display()));
    assert!(!server.reload());
    let line = format!("{} cannot be read: Permission denied (os error 13): it lies outside", key.display());
    assert!(server.log().contains(&line), "{}", server.log());
    assert_eq!(server.answer("ns.b.test", "A").answer().len(), 1);
}

/// Puts these keys below [control] and [query_log] into the configuration of a server, and reloads.
fn reloaded_with(server: &Server, text: &str, control: &str, query_log: &str) -> bool {
    let control = format!("[control]\nlisten = \"127.0.0.1:0\"\n{control}");
    let query_log = format!("[query_log]\nenabled = true\n{query_log}");
    server.replace("r.toml", &format!("{text}{control}{query_log}"));
    server.reload()
}

#[test]
fn what_a_reload_would_write_outside_needs_a_restart() {
    let outside = tempfile::tempdir().expect("a folder");
    let path = |file: &str| outside.path().join(file).display().to_string();
    let text = a_test("a.zone");
    let control = "[control]\nlisten = \"127.0.0.1:0\"\nsocket = \"first\"\n";
    let mut server = Server::start(&format!("{text}{control}"), &[("a.zone", ZONE)]);
    if !is_confined(&server) {
        return;
    }
    // The folder of the socket takes another one; the state folder is made for what a reload puts there.
    assert!(reloaded_with(&server, &text, "socket = \"second\"\n", ""), "{}", server.log());
    let below = |file: &str| server.folder().join(file).exists();
    assert!(below("second") && !below("first"), "{}", server.log());
    wait_until("the query log", || server.counter("query_log_up") == 1 && below("state/queries.sqlite"));
    let log = format!("file = \"{}\"\n", path("queries.sqlite"));
    assert!(!reloaded_with(&server, &text, &format!("socket = \"{}\"\n", path("third")), &log), "{}", server.log());
    let denied = "Permission denied (os error 13): it lies outside of the folders that the configuration had it write";
    assert!(server.log().contains(&format!("{}: {denied}", path("third"))), "{}", server.log());
    let line = format!("the query log {} is not written: {denied}", path("queries.sqlite"));
    wait_until("the query log's line", || server.log().contains(&line));
    assert!(below("second"), "the socket that was there is there still: {}", server.log());
    server.restart();
    wait_until("the query log", || server.counter("query_log_up") == 1);
    assert!(outside.path().join("third").exists() && outside.path().join("queries.sqlite").exists());
}

#[test]
fn without_the_sandbox_a_reload_reads_what_it_names() {
    let outside = tempfile::tempdir().expect("a folder");
    fs::write(outside.path().join("b.zone"), ZONE).expect("the file is written");
    let configuration = format!("[server]\nsandbox = false\n{}", a_test("a.zone"));
    let server = Server::start(&configuration, &[("a.zone", ZONE)]);
    assert!(!server.log().contains("confined"), "{}", server.log());
    let before = fs::read_to_string("/proc/self/status").expect("it is there");
    for status in threads(&server) {
        assert_eq!(field(&status, "NoNewPrivs:"), "1", "nothing here needs new ones: {status}");
        assert_eq!(field(&status, "CapEff:"), field(&before, "CapEff:"));
    }
    let text = fs::read_to_string(server.folder().join("r.toml")).expect("the configuration");
    let other = outside.path().join("b.zone");
    server.replace("r.toml", &format!("{text}[[zone]]\nname = \"b.test\"\nfile = \"{}\"\n", other.display()));
    assert!(server.reload());
    assert_eq!(server.answer("ns.b.test", "A").answer().len(), 1);
}

#[test]
fn a_zone_behind_a_link_is_read_again() {
    let (outside, links) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    fs::create_dir(outside.path().join("zones")).expect("a folder");
    fs::write(outside.path().join("zones/a.zone"), ZONE).expect("the file is written");
    let linked = links.path().join("linked");
    std::os::unix::fs::symlink(outside.path().join("zones/a.zone"), &linked).expect("a link");
    let server = Server::start(&a_test(&linked.display().to_string()), &[]);
    fs::write(outside.path().join("zones/new"), ZONE.replace("192.0.2.1", "192.0.2.2")).expect("the file is written");
    fs::rename(outside.path().join("zones/new"), outside.path().join("zones/a.zone")).expect("it is put in place");
    assert!(server.reload());
    assert!(server.answer("ns.a.test", "A").answer()[0].ends_with("192.0.2.2"));
    if !is_confined(&server) {
        return;
    }
    // Another folder of the same name is not the one that was there at the start.
    fs::rename(outside.path().join("zones"), outside.path().join("old")).expect("it is moved");
    fs::create_dir(outside.path().join("zones")).expect("a folder");
    fs::write(outside.path().join("zones/a.zone"), ZONE).expect("the file is written");
    assert!(!server.reload());
    assert!(server.log().contains("it lies outside of the folders"), "{}", server.log());
    assert!(server.answer("ns.a.test", "A").answer()[0].ends_with("192.0.2.2"), "what was read is served");
}

#[test]
fn a_query_log_behind_a_link_is_written_where_it_is() {
    let disk = tempfile::tempdir().expect("a folder");
    let file = disk.path().join("log.sqlite");
    fs::write(&file, "").expect("the file is made");
    for (query_log, link) in [("file = \"queries.sqlite\"\n", "queries.sqlite"), ("", "state/queries.sqlite")] {
        let configuration = format!("{}[query_log]\nenabled = true\n{query_log}", a_test("a.zone"));
        let mut command = Command::new("sh");
        command.args(["-c", "mkdir -p state && ln -s \"$0\" \"$1\" && shift && exec \"$@\""]);
        command.arg(&file).arg(link).arg(program());
        let server = Server::start_as(command, &configuration, &[("a.zone", ZONE)]);
        assert_eq!(server.answer("ns.a.test", "A").answer().len(), 1);
        wait_until("an entry", || server.counter("query_log_stored") > 0);
        assert!(!server.log().contains("ermission"), "{}", server.log());
        assert!(fs::metadata(&file).expect("it is there").len() > 0);
    }
}

/// Runs what follows with `root` for its root folder, in which all folders of ours are that are not there.
const IN_A_ROOT: &str = "\
    for entry in /*; do \
        if [ -e \"$0$entry\" ]; then continue; \
        elif [ -L \"$entry\" ]; then cp -P \"$entry\" \"$0$entry\"; \
        elif [ -d \"$entry\" ]; then mkdir \"$0$entry\"; mount --rbind \"$entry\" \"$0$entry\"; fi; \
    done; \
    exec chroot \"$0\" sh -c 'cd \"$0\" && exec \"$@\"' \"$PWD\" \"$@\"";

/// `None` where this user cannot have a root folder of its own.
fn in_a_root(root: &Path) -> Option<Command> {
    let unshare = needed("unshare", "util-linux")?;
    let may = Command::new(&unshare).args(["--mount", "true"]).status().is_ok_and(|status| status.success());
    if !may {
        skipped("only root can have a root folder of its own");
        return None;
    }
    let mut command = Command::new(unshare);
    command.args(["--mount", "--propagation", "private", "sh", "-ec", IN_A_ROOT]).arg(root).arg(program());
    Some(command)
}

#[test]
fn of_the_root_folder_the_files_that_are_named_are_read_and_no_others() {
    let (root, outside) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    fs::write(outside.path().join("b.zone"), ZONE).expect("the file is written");
    fs::write(root.path().join("a.zone"), ZONE).expect("the file is written");
    let Some(command) = in_a_root(root.path()) else { return };
    let configuration = format!(
        "{}[control]\nlisten = \"127.0.0.1:0\"\nsocket = \"/socket\"\n\
         [query_log]\nenabled = true\nfile = \"/queries.sqlite\"\n",
        a_test("/a.zone")
    );
    let server = Server::start_as(command, &configuration, &[]);
    if !is_confined(&server) {
        return;
    }
    fs::write(root.path().join("a.zone"), ZONE.replace("192.0.2.1", "192.0.2.2")).expect("the file is written");
    assert!(server.reload(), "{}", server.log());
    assert!(server.answer("ns.a.test", "A").answer()[0].ends_with("192.0.2.2"));
    for key in ["`socket` in [control]", "`file` in [query_log]"] {
        let line = format!("WARN  {key} is kept out of reach: it lies in / itself, and who may write there may");
        assert!(server.log().contains(&line), "{}", server.log());
    }
    let denied = "the query log /queries.sqlite is not written: Permission denied (os error 13): it lies outside";
    wait_until("the query log's line", || server.log().contains(denied));
    assert!(server.log().contains("; a restart takes it in (of / itself, files to be read alone), or"));
    let other = outside.path().join("b.zone").display().to_string();
    server.replace("r.toml", &format!("{configuration}[[zone]]\nname = \"b.test\"\nfile = \"{other}\"\n"));
    assert!(!server.reload());
    assert!(server.log().contains(&format!("{other}: cannot be read: Permission denied")), "{}", server.log());
}

#[test]
fn names_are_looked_up_where_the_files_for_that_are_links() {
    let root = tempfile::tempdir().expect("a folder");
    for folder in ["etc", "store"] {
        fs::create_dir(root.path().join(folder)).expect("a folder");
    }
    // As systems have it whose /etc is made of links.
    for (file, text) in [("hosts", "127.0.0.1 upstream.test\n"), ("nsswitch.conf", "hosts: files\n")] {
        fs::write(root.path().join("store").join(file), text).expect("the file is written");
        let target = Path::new("/store").join(file);
        std::os::unix::fs::symlink(target, root.path().join("etc").join(file)).expect("a link");
    }
    fs::write(root.path().join("etc/resolv.conf"), "nameserver 127.0.0.1\n").expect("the file is written");
    let Some(command) = in_a_root(root.path()) else { return };
    let upstream = upstream();
    let configuration = format!(
        "{LISTEN}[[upstream]]\nname = \"up\"\nservers = [\"udp://upstream.test:{}\"]\n\
         [[route]]\nsuffix = \"up.test\"\nto = [\"up\"]\n",
        upstream.address.port()
    );
    let server = Server::start_as(command, &configuration, &[]);
    wait_until("the address of the upstream", || server.answer("x.up.test", "A").answer().len() == 1);
}

/// A configuration that names files of every kind, and what it names; it asks `upstream` by a name that /etc/hosts has.
fn of_every_kind(upstream: &Upstream) -> (String, Vec<(&'static str, String)>) {
    let configuration = format!(
        "[server]\ncores = 1\nstate = \"kept/state\"\nwatch = true\n{LISTEN}\
         [control]\nlisten = \"127.0.0.1:0\"\nsocket = \"socket\"\ntoken_file = \"token\"\n\
         [query_log]\nenabled = true\nfile = \"log.sqlite\"\n\
         [[key]]\nname = \"k.\"\nsecret_file = \"secret\"\n\
         [[zone]]\nname = \"a.test\"\nfile = \"a.zone\"\n\
         [[zone]]\nname = \"b.test\"\nfile = \"copies/b.zone\"\nprimaries = [\"127.0.0.1:9\"]\n\
         [[upstream]]\nname = \"up\"\nservers = [\"udp://localhost:{}\"]\n\
         [[route]]\nsuffix = \"up.test\"\nto = [\"up\"]\n",
        upstream.address.port()
    );
    let files = vec![
        ("a.zone", format!("{ZONE}$INCLUDE more\n")),
        ("more", "more A 192.0.2.9\n".to_owned()),
        ("token", "0123456789abcdef0123456789abcdef\n".to_owned()),
        ("secret", "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0ISE=\n".to_owned()),
    ];
    (configuration, files)
}

fn upstream() -> Upstream {
    Upstream::start(|asked| Some(asked.reply(ANSWER, &[address(300, 7)])))
}

/// Has a server do what it does with files: serve, reload, ask by name, tell of itself, keep its cache.
fn exercise(server: &mut Server) {
    assert_eq!(server.answer("more.a.test", "A").answer().len(), 1);
    wait_until("the address of localhost", || server.answer("x.up.test", "A").answer().len() == 1);
    server.replace("more", "more A 192.0.2.9\nmore A 192.0.2.10\n");
    assert!(server.reload());
    assert_eq!(server.answer("more.a.test", "A").answer().len(), 2);
    // What it says of itself, it has from the kernel's files.
    let figures = server.page("/metrics");
    for name in ["process_open_fds", "process_resident_memory_bytes", "process_threads"] {
        assert!(figures.contains(&format!("\n{name} ")), "{name} is not in\n{figures}");
    }
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0), "{}", server.log());
    let below = |path: &str| server.folder().join(path);
    assert!(below("kept/state/cache").exists() && below("log.sqlite").exists(), "{}", server.log());
    assert!(!below("socket").exists(), "it is removed: {}", server.log());
    assert!(!server.log().contains("ermission"), "{}", server.log());
}

fn start(command: Command, (configuration, files): (String, Vec<(&'static str, String)>)) -> Server {
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    Server::start_as(command, &configuration, &files)
}

#[test]
fn nothing_that_a_server_does_is_refused() {
    let Some(strace) = strace() else { return };
    let upstream = upstream();
    let traces = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(&strace);
    command.args(["-D", "-ff", "-qq", "-o"]).arg(traces.path().join("trace")).arg(program());
    let mut server = start(command, of_every_kind(&upstream));
    exercise(&mut server);
    wait_until("strace has written the end", || calls(traces.path(), "trace").contains("exit_group"));
    // Neither by the sandbox...
    let mut refused: Vec<String> = Vec::new();
    let mut lines = 0;
    for trace in fs::read_dir(traces.path()).expect("a folder") {
        let text = fs::read_to_string(trace.expect("an entry").path()).expect("a file");
        let is_refused = |line: &&str| line.contains(" = -1 EACCES ") || line.contains(" = -1 EPERM ");
        refused.extend(text.lines().filter(is_refused).map(str::to_owned));
        lines += text.lines().filter(|line| line.starts_with("openat(") && line.contains("log.sqlite")).count();
    }
    assert!(lines > 0, "the query log was traced");
    assert!(refused.is_empty(), "{refused:#?}");
    // ... nor by the profile for containers.
    let (called, allowed) = (calls(traces.path(), "trace"), allowed_calls());
    let refused: Vec<&String> = called.iter().filter(|name| !allowed.contains(*name)).collect();
    assert!(refused.is_empty(), "docker/seccomp.json refuses {refused:?}");
}

#[test]
fn nothing_is_refused_to_an_ordinary_user() {
    if !is_root() {
        return skipped("only root can become another user");
    }
    let upstream = upstream();
    let (configuration, files) = of_every_kind(&upstream);
    // The user must be able to read and write in the folder, which it owns then.
    let wrapper = "chown -R nobody . && exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", wrapper]).arg(program());
    let mut server = start(command, (configuration.replace("[server]\n", "[server]\nuser = \"nobody\"\n"), files));
    for status in threads(&server) {
        for title in ["CapEff:", "CapPrm:", "CapInh:", "CapAmb:", "CapBnd:"] {
            assert_eq!(field(&status, title), "0000000000000000", "{status}");
        }
    }
    exercise(&mut server);
}

#[test]
fn the_one_capability_of_a_service_is_for_its_ports_alone() {
    let Some(setpriv) = needed("setpriv", "util-linux") else { return };
    if !is_root() {
        return skipped("only root can give capabilities to others");
    }
    // As the unit has it: an ordinary user from the beginning, who may bind any port.
    let mut command = Command::new("sh");
    command.args(["-c", "chown -R nobody . && exec \"$0\" \"$@\""]).arg(setpriv);
    command.args(["--reuid=nobody", "--clear-groups", "--no-new-privs", "--inh-caps=-all,+net_bind_service"]);
    command.args(["--ambient-caps=+net_bind_service", "--bounding-set=-all,+net_bind_service"]).arg(program());
    let server = Server::start_as(command, &a_test("a.zone"), &[("a.zone", ZONE)]);
    for status in threads(&server) {
        for title in ["CapEff:", "CapPrm:", "CapInh:", "CapAmb:"] {
            assert_eq!(field(&status, title), "0000000000000000", "{status}");
        }
    }
    assert_eq!(server.answer("ns.a.test", "A").answer().len(), 1);
}

#[test]
fn without_landlock_a_line_says_so_and_the_server_serves() {
    let Some(strace) = strace() else { return };
    for errno in ["ENOSYS", "EOPNOTSUPP", "EPERM"] {
        let mut command = Command::new(&strace);
        command.args(["-D", "-f", "-qq", "-o", "/dev/null", "-e"]);
        command.arg(format!("inject=landlock_create_ruleset:error={errno}")).arg(program());
        let server = Server::start_as(command, &a_test("a.zone"), &[("a.zone", ZONE)]);
        assert_eq!(
            server.log().matches("INFO  not confined by Landlock, which this kernel ").count(),
            1,
            "{}",
            server.log()
        );
        assert_eq!(server.ask(Via::Tcp, &crate::common::dns::query("ns.a.test", "A")).answer().len(), 1);
        assert!(threads(&server).iter().all(|status| field(status, "NoNewPrivs:") == "1"));
    }
}

#[test]
fn a_folder_that_cannot_be_made_keeps_nobody_from_serving() {
    let configuration = format!("[server]\nstate = \"taken\"\n{}", a_test("a.zone"));
    let server =
        Server::start(&configuration, &[("a.zone", ZONE), ("taken", "a file stands where the folder is to be")]);
    assert_eq!(server.answer("ns.a.test", "A").answer().len(), 1);
    assert!(Path::new(&server.folder().join("taken")).is_file());
}
