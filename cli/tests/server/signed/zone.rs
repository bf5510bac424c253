//! Zones for the comparison: made up at random, then signed by the tools of others.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Numbers that look random and follow from a seed (SplitMix64).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Whether it comes out, at this many of a hundred.
    pub(super) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(super) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// How a zone is signed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signing {
    pub(super) signer: Signer,
    pub(super) algorithm: &'static str,
    pub(super) denial: Denial,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signer {
    Ldns,
    Bind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denial {
    Nsec,
    /// Salt in hexadecimal digits, further iterations, opt-out.
    Nsec3(&'static str, u16, bool),
}

/// A zone that servers serve.
pub(super) struct Zone {
    pub(super) apex: String,
    pub(super) signing: Option<Signing>,
    /// Its master file, signed.
    pub(super) text: String,
    /// DNSKEY records that a validator may begin with.
    pub(super) anchor: String,
    /// DS records of its key.
    pub(super) ds: String,
    /// Names worth asking for, absolute: owners, names that records point to, hashes.
    pub(super) names: Vec<String>,
}

impl Zone {
    /// A zone of about `names` names, and the zone `held` below it, which the same servers serve.
    pub(super) fn make(
        dice: &mut Dice,
        apex: &str,
        names: usize,
        signing: Option<Signing>,
        folder: &Path,
    ) -> [Zone; 2] {
        let below = format!("held.{apex}");
        let mut child = String::from("$TTL 600\n@ SOA ns1 host 7 7200 900 1209600 120\n@ NS ns1\nns1 A 192.0.2.90\n");
        child += "www A 192.0.2.91\n*.w TXT \"below\"\nup CNAME h0.{apex}.\nx.ent AAAA 2001:db8::91\n";
        let child = Zone::sign(&below, child.replace("{apex}", apex), signing, folder);
        let mut plan = Plan { dice, apex, text: String::new(), targets: Vec::new() };
        plan.fill(names);
        let Plan { mut text, targets, .. } = plan;
        text += &format!("held NS ns1.held\nns1.held A 192.0.2.90\n{}", child.ds);
        let mut zone = Zone::sign(apex, text, signing, folder);
        let absolute = |name: String| if name.ends_with('.') { name } else { format!("{name}.{apex}.") };
        zone.names.extend(targets.into_iter().map(absolute));
        zone.names.sort();
        zone.names.dedup();
        [zone, child]
    }

    fn sign(apex: &str, plain: String, signing: Option<Signing>, folder: &Path) -> Zone {
        let (mut text, mut anchor, mut ds) = (plain, String::new(), String::new());
        if let Some(signing) = signing {
            (text, anchor, ds) = signed(apex, &text, signing, folder);
        }
        let owners: BTreeSet<&str> = text
            .lines()
            .filter(|line| !line.starts_with([' ', '\t', ';', '$', '@', ')']))
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        let absolute = |name: &str| if name.ends_with('.') { name.to_owned() } else { format!("{name}.{apex}.") };
        let mut names: Vec<String> = owners.into_iter().map(absolute).collect();
        names.push(format!("{apex}."));
        Zone { apex: apex.to_owned(), signing, text, anchor, ds, names }
    }
}

/// A zone being made up.
struct Plan<'d> {
    dice: &'d mut Dice,
    apex: &'d str,
    text: String,
    /// What records may point to, whether it is there or not.
    targets: Vec<String>,
}

impl Plan<'_> {
    fn fill(&mut self, names: usize) {
        self.text += "$TTL 3600\n@ 900 SOA ns1 host 7 7200 900 1209600 300\n@ NS ns1\n@ NS ns2.outside.test.\n@ MX 10 h0\n\
            @ TXT \"apex\"\nns1 A 192.0.2.53\nns1 AAAA 2001:db8::53\n";
        self.targets = [".", "none", "www.outside.test.", "deep.none.h0", "www.held", "none.held", "held", "x.w.held"]
            .map(str::to_owned)
            .to_vec();
        self.targets.push(format!("{}.", self.apex));
        // Names first, so that records can point to those that come later.
        for n in 0..names / 10 + 1 {
            let of_group = [
                format!("h{n}"),
                format!("*.w{n}"),
                format!("any.w{n}"),
                format!("two.any.w{n}"),
                format!("x{n}.w{n}"),
                format!("below.x{n}.w{n}"),
                format!("e{n}"),
                format!("a.b.e{n}"),
                format!("b.e{n}"),
                format!("d{n}"),
                format!("ns.d{n}"),
                format!("www.d{n}"),
                format!("s{n}"),
                format!("ns.s{n}"),
                format!("dn{n}"),
                format!("h0.dn{n}"),
                format!("none.dn{n}"),
                format!("c{n}"),
                format!("u.o{n}"),
                format!("o{n}"),
            ];
            self.targets.extend(of_group);
        }
        for n in 0..names / 10 + 1 {
            self.group(n);
        }
    }

    fn line(&mut self, owner: &str, data: std::fmt::Arguments<'_>) {
        // One TTL a name, so that sets have one, and some names have another.
        let ttl = if owner.bytes().map(u32::from).sum::<u32>() % 7 == 0 { "60 " } else { "" };
        writeln!(self.text, "{owner} {ttl}{data}").expect("text takes text");
    }

    fn target(&mut self) -> String {
        self.dice.pick(&self.targets).clone()
    }

    /// Ten names or so of each kind that there is.
    fn group(&mut self, n: usize) {
        let low = n % 250 + 1;
        self.line(&format!("h{n}"), format_args!("A 192.0.2.{low}"));
        for owner in [format!("h{n}"), format!("*.w{n}"), format!("a.b.e{n}")] {
            self.some_records(&owner);
        }
        self.line(&format!("x{n}.w{n}"), format_args!("A 192.0.2.{low}"));
        if self.dice.percent(30) {
            // A wildcard that is an empty non-terminal, or has names below it.
            self.line(&format!("under.*.v{n}"), format_args!("TXT \"under a wildcard\""));
            self.targets.push(format!("any.v{n}"));
        }
        if self.dice.percent(40) {
            let target = self.target();
            self.line(&format!("*.q{n}"), format_args!("CNAME {target}"));
            self.targets.push(format!("any.q{n}"));
        }
        self.delegations(n);
        let target = self.target();
        if target != "." {
            self.line(&format!("dn{n}"), format_args!("DNAME {target}"));
        }
        let target = self.target();
        self.line(&format!("c{n}"), format_args!("CNAME {target}"));
    }

    fn delegations(&mut self, n: usize) {
        let low = n % 250 + 1;
        let other = self.dice.below(n + 1);
        for owner in [format!("d{n}"), format!("s{n}"), format!("u.o{n}")] {
            match self.dice.below(4) {
                0 => self.line(&owner, format_args!("NS ns2.outside.test.")),
                // The servers are named below another cut.
                1 => self.line(&owner, format_args!("NS ns.d{other}")),
                2 => self.line(&owner, format_args!("NS ns1")),
                _ => {}
            }
            self.line(&owner, format_args!("NS ns.{owner}"));
            self.line(&format!("ns.{owner}"), format_args!("A 192.0.2.{low}"));
            self.line(&format!("ns.{owner}"), format_args!("AAAA 2001:db8::{low}"));
        }
        let digest = self.dice.next();
        self.line(&format!("s{n}"), format_args!("DS {} 13 2 {}", n % 65_536, format!("{digest:016x}").repeat(4)));
        if self.dice.percent(20) {
            // Not glue, and occluded.
            self.line(&format!("www.d{n}"), format_args!("TXT \"occluded\""));
        }
    }

    fn some_records(&mut self, owner: &str) {
        for _ in 0..1 + self.dice.below(4) {
            let target = self.target();
            let number = self.dice.below(4);
            match self.dice.below(10) {
                0 => self.line(owner, format_args!("AAAA 2001:db8::{number}")),
                1 => self.line(owner, format_args!("MX {number} {target}")),
                2 => self.line(owner, format_args!("SRV 0 0 80{number} {target}")),
                3 => self.line(owner, format_args!("SVCB 0 {target}")),
                4 => self.line(owner, format_args!("SVCB {} {target} alpn=h2", number + 1)),
                5 => self.line(owner, format_args!("HTTPS {} {target}", number + 1)),
                6 => self.line(owner, format_args!("TXT \"{}\"", "text ".repeat(1 + number * number * 8 / 3))),
                7 => self.line(owner, format_args!("CAA 0 issue \"ca{number}.test\"")),
                8 => self.line(owner, format_args!("TYPE65280 \\# 3 01020{number}")),
                _ => self.line(owner, format_args!("PTR {target}")),
            }
        }
    }
}

/// Signs the master file of a zone. Returns it signed, the DNSKEY records, and DS records for the zone above.
fn signed(apex: &str, plain: &str, signing: Signing, folder: &Path) -> (String, String, String) {
    let keys = [keygen(apex, signing, true, folder), keygen(apex, signing, false, folder)];
    fs::write(folder.join("plain"), plain).expect("the file is written");
    let mut command = match signing.signer {
        Signer::Ldns => {
            let mut command = tool("ldns-signzone", folder);
            if let Denial::Nsec3(salt, iterations, opt_out) = signing.denial {
                command.args(["-n", "-t", &iterations.to_string()]);
                if !salt.is_empty() {
                    command.args(["-s", salt]);
                }
                if opt_out {
                    command.arg("-p");
                }
            }
            command
        }
        Signer::Bind => {
            let mut command = tool("dnssec-signzone", folder);
            command.args(["-P", "-n", "1", "-S", "-K", ".", "-O", "full"]);
            if let Denial::Nsec3(salt, iterations, opt_out) = signing.denial {
                command.args(["-3", if salt.is_empty() { "-" } else { salt }, "-H", &iterations.to_string()]);
                if opt_out {
                    command.arg("-A");
                }
            }
            command
        }
    };
    command.args(["-o", apex, "-f", "signed", "plain"]);
    if signing.signer == Signer::Ldns {
        command.args(&keys);
    }
    run(&mut command);
    let read = |file: &str| fs::read_to_string(folder.join(file)).expect("the file is there");
    let anchor = read(&format!("{}.key", keys[0])).lines().filter(|line| !line.starts_with(';')).collect();
    let ds = run(tool("dnssec-dsfromkey", folder).args(["-2", &keys[0]]));
    (read("signed"), anchor, ds)
}

/// Makes a key. Returns the name of its files without suffix.
fn keygen(apex: &str, signing: Signing, secure_entry_point: bool, folder: &Path) -> String {
    let mut command = match signing.signer {
        Signer::Ldns => tool("ldns-keygen", folder),
        Signer::Bind => tool("dnssec-keygen", folder),
    };
    command.args(["-a", signing.algorithm]);
    if signing.algorithm.starts_with("RSA") {
        command.args(["-b", "2048"]);
    }
    match (signing.signer, secure_entry_point) {
        (Signer::Ldns, true) => drop(command.arg("-k")),
        (Signer::Bind, true) => drop(command.args(["-f", "KSK"])),
        (_, false) => {}
    }
    run(command.arg(apex)).trim().to_owned()
}

fn tool(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(crate::common::program(name).expect("the test has looked for it"));
    command.current_dir(folder);
    command
}

/// Runs a tool to its end. Returns what it says.
fn run(command: &mut Command) -> String {
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}
