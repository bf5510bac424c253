//! The servers that can be measured: how each is found, what version it has, and how it is started.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A server, or what stands for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Server {
    /// The one that is measured.
    Ringdns,
    /// Authoritative, by NLnet Labs.
    Nsd,
    /// Authoritative, by CZ.NIC.
    Knot,
    /// A resolver with a cache, by NLnet Labs.
    Unbound,
    /// A load balancer with a cache of packets, by PowerDNS.
    Dnsdist,
    /// A resolver with a cache, by PowerDNS.
    Recursor,
    /// A forwarder with a cache.
    Dnsmasq,
    /// A bare echo: the kernel's share of a reply.
    Floor,
    /// The same on glommio.
    FloorGlommio,
    /// An answerer in Python on dnspython.
    Dnspython,
    /// An answerer in Python on dnslib.
    Dnslib,
}

/// What a server is beside the others of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ringdns.
    Own,
    /// A server of somebody else.
    Peer,
    /// Something that shows a limit and serves nothing.
    Limit,
}

/// All of them.
pub const ALL: [Server; 11] = [
    Server::Ringdns,
    Server::Nsd,
    Server::Knot,
    Server::Unbound,
    Server::Dnsdist,
    Server::Recursor,
    Server::Dnsmasq,
    Server::Floor,
    Server::FloorGlommio,
    Server::Dnspython,
    Server::Dnslib,
];

/// A server that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub server: Server,
    /// Its program.
    pub program: PathBuf,
    /// As it says itself; empty where it says nothing.
    pub version: String,
}

impl Server {
    /// Its name in tables and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Server::Ringdns => "ringdns",
            Server::Nsd => "nsd",
            Server::Knot => "knot",
            Server::Unbound => "unbound",
            Server::Dnsdist => "dnsdist",
            Server::Recursor => "pdns_recursor",
            Server::Dnsmasq => "dnsmasq",
            Server::Floor => "floor",
            Server::FloorGlommio => "floor-glommio",
            Server::Dnspython => "dnspython",
            Server::Dnslib => "dnslib",
        }
    }

    /// What it is beside the others.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Server::Ringdns => Kind::Own,
            Server::Floor | Server::FloorGlommio => Kind::Limit,
            _ => Kind::Peer,
        }
    }

    fn program(self) -> &'static str {
        match self {
            Server::Knot => "knotd",
            Server::Dnspython | Server::Dnslib => "python3",
            _ => self.name(),
        }
    }

    /// Looks for it in PATH and where Debian keeps servers; `ringdns` is where ringdns is, and the floor is this program.
    ///
    /// # Errors
    /// In words, when it is not there.
    pub fn find(self, ringdns: &Path) -> Result<Found, String> {
        let program = match self {
            Server::Ringdns if ringdns.is_file() => ringdns.to_path_buf(),
            Server::Ringdns => return Err(format!("{} is not there; --ringdns says where it is", ringdns.display())),
            Server::Floor | Server::FloorGlommio => env::current_exe().map_err(|error| error.to_string())?,
            _ => find_program(self.program()).ok_or_else(|| format!("{} is not installed", self.program()))?,
        };
        let version = self.version(&program);
        Ok(Found { server: self, program, version })
    }

    fn version(self, program: &Path) -> String {
        let option = match self {
            Server::Nsd => "-v",
            Server::Unbound => "-V",
            Server::Floor | Server::FloorGlommio => return String::new(),
            _ => "--version",
        };
        let Ok(output) = Command::new(program).arg(option).output() else { return String::new() };
        let text = [output.stdout, output.stderr].concat();
        version_in(&String::from_utf8_lossy(&text)).unwrap_or_default().to_owned()
    }
}

/// The full path of a program.
#[must_use]
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// The first word that is a version: numbers with dots between, perhaps with a suffix.
#[must_use]
pub fn version_in(text: &str) -> Option<&str> {
    text.split(|letter: char| letter.is_whitespace() || ",;()".contains(letter)).find(|word| {
        let mut parts = word.split('.');
        let is_number = |part: Option<&str>| part.is_some_and(|part| part.starts_with(|c: char| c.is_ascii_digit()));
        let first = parts.next();
        is_number(first) && first.is_some_and(|part| part.parse::<u32>().is_ok()) && is_number(parts.next())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_servers_say() {
        assert_eq!(version_in("NSD version 4.6.1\nWritten by"), Some("4.6.1"));
        assert_eq!(version_in("knotd (Knot DNS), version 3.2.6"), Some("3.2.6"));
        assert_eq!(version_in("Version 1.17.1\n\nConfigure line: --x=1"), Some("1.17.1"));
        assert_eq!(version_in("dnsdist 1.7.3 (Lua 5.1.4)"), Some("1.7.3"));
        assert_eq!(version_in("Dnsmasq version 2.90  Copyright"), Some("2.90"));
        assert_eq!(version_in("Nov 21 PowerDNS Recursor 4.8.8-1+deb12u1 (C) 2001-2022"), Some("4.8.8-1+deb12u1"));
        assert_eq!(version_in("no number"), None);
    }

    #[test]
    fn what_is_not_there_is_said() {
        assert!(Server::Ringdns.find(Path::new("/nowhere/ringdns")).unwrap_err().contains("--ringdns"));
        assert!(find_program("no-such-program-at-all").is_none());
        assert!(Server::Floor.find(Path::new("")).is_ok());
    }

    #[test]
    fn names_are_one_each() {
        let mut names: Vec<_> = ALL.iter().map(|server| server.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }
}
