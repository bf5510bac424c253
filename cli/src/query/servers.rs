//! Whom to ask: the server named on the command line, or those of the system's resolv.conf.

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use super::words::Ask;

/// Where the system keeps the addresses of its resolvers (resolv.conf(5)).
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// More than any sane resolv.conf; the rest is not read.
const RESOLV_CONF_BYTES_MAX: u64 = 65_536;
/// The C library reads no more name servers than this either.
const SERVERS_MAX: usize = 3;

/// The addresses to ask, in order, at most [`SERVERS_MAX`], at least one.
///
/// # Errors
/// A text for the user when the named server has no address, or the system names no server.
pub(super) fn of(ask: &Ask) -> Result<Vec<SocketAddr>, String> {
    match &ask.server {
        Some((host, port)) => resolve(host, port.unwrap_or(ask.port)),
        None => system(ask.port),
    }
}

/// The addresses of a host, which is an IP address or a name that the system's resolver knows.
fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let found = (host, port).to_socket_addrs().map_err(|error| {
        format!("@{}: no address found ({error}); give the server's IP address", host.escape_default())
    })?;
    let servers: Vec<SocketAddr> = found.take(SERVERS_MAX).collect();
    if servers.is_empty() {
        return Err(format!("@{}: no address found; give the server's IP address", host.escape_default()));
    }
    Ok(servers)
}

fn system(port: u16) -> Result<Vec<SocketAddr>, String> {
    let mut text = Vec::new();
    File::open(RESOLV_CONF)
        .and_then(|file| file.take(RESOLV_CONF_BYTES_MAX).read_to_end(&mut text))
        .map_err(|error| format!("{RESOLV_CONF}: {error}; name a server with @ADDRESS"))?;
    let servers = name_servers(&String::from_utf8_lossy(&text), port);
    if servers.is_empty() {
        return Err(format!("{RESOLV_CONF}: names no server (no `nameserver` line); name one with @ADDRESS"));
    }
    Ok(servers)
}

/// The `nameserver` lines of a resolv.conf; lines that are none, or carry no address, are passed over as the C
/// library does.
fn name_servers(text: &str, port: u16) -> Vec<SocketAddr> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            (fields.next() == Some("nameserver")).then_some(())?;
            address(fields.next()?, port)
        })
        .take(SERVERS_MAX)
        .collect()
}

/// An address, with `%interface` after a link-local one, which only the system can turn into a number.
fn address(text: &str, port: u16) -> Option<SocketAddr> {
    match text.parse::<IpAddr>() {
        Ok(address) => Some(SocketAddr::new(address, port)),
        Err(_) if text.contains('%') => (text, port).to_socket_addrs().ok()?.next(),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_lines() {
        let text = "# comment\n; another\nsearch example.test\nnameserver 192.0.2.1\n  nameserver\t2001:db8::1 # why\n\
                    nameserver\nnameserver nonsense\nnameservers 192.0.2.9\noptions edns0\nnameserver 192.0.2.2\n\
                    nameserver 192.0.2.3\n";
        let servers: Vec<String> = name_servers(text, 53).iter().map(SocketAddr::to_string).collect();
        assert_eq!(servers, ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.2:53"]);
        assert!(name_servers("", 53).is_empty());
    }

    #[test]
    fn literal_addresses_need_no_resolver() {
        assert_eq!(resolve("::1", 5300).unwrap(), ["[::1]:5300".parse().unwrap()]);
        assert_eq!(resolve("127.0.0.1", 53).unwrap(), ["127.0.0.1:53".parse().unwrap()]);
    }
}
