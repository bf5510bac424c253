//! Whom `ctl` and `top` ask: from the command line, or from [control] of the server's configuration.

#![allow(rustdoc::broken_intra_doc_links, reason = "tables are called as the file writes them, in brackets")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use ringdns_control::config::{Source, Token, TokenFile};
use serde_json::Value;

use super::exchange::{self, Answer, Place, Request};
use super::problem;
use crate::failure::Failure;

/// The words that say whom to ask.
#[derive(Args)]
pub(crate) struct Whom {
    /// The configuration file of the server: its [control] says where it is asked; without it, the built-in one
    #[arg(short, long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Where the server is asked instead: an address with a port, or the path of a Unix socket
    #[arg(long, value_name = "ADDRESS", global = true, value_parser = place)]
    control: Option<Place>,
    /// The file with the token, where the configuration file does not say
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
}

/// A server that can be asked.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    /// Where, in this order.
    places: Vec<Place>,
    token: Option<Token>,
}

/// An address as `serve` tells it at start, or a path.
fn place(text: &str) -> Result<Place, String> {
    let address = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    match address.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(Place::Address(address)),
        Ok(_) => Err("no server is asked at port 0; name the one that was told at start".to_owned()),
        Err(_) if text.contains('/') => Ok(Place::Socket(text.into())),
        Err(_) => Err("it is neither an address such as 127.0.0.1:8053 nor a path".to_owned()),
    }
}

/// Where one reaches who listens at `address`: one that listens everywhere listens here, too.
fn reached(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

impl Whom {
    /// The server that is meant. The Unix socket is preferred, for it needs no token.
    ///
    /// # Errors
    /// When the configuration cannot be read, or tells of no place.
    pub(crate) fn server(&self) -> Result<Server, Failure> {
        let given = self.token_file.as_deref().map(TokenFile::read).transpose().map_err(Failure::Input)?;
        let file = match (&self.config, &self.control) {
            (None, Some(_)) => None,
            (file, _) => Some(file.clone().map_or(Source::Embedded, Source::File)),
        };
        let control = file.as_ref().map(Source::control).transpose()?;
        let of_file = control.as_ref().and_then(|control| Option::clone(&control.token_file));
        let token = given.or(of_file).map(|file| file.token);
        if let Some(place) = &self.control {
            return Ok(Server { places: vec![place.clone()], token });
        }
        let control = control.expect("it was read where no place is given");
        let socket = Option::clone(&control.socket).map(Place::Socket);
        let address = control.listen.filter(|address| address.port() != 0);
        let places: Vec<Place> = socket.into_iter().chain(address.map(reached).map(Place::Address)).collect();
        if places.is_empty() {
            let title = file.map_or_else(String::new, |source| source.title());
            let why = match *control.listen {
                Some(_) => {
                    "`listen` in [control] is any free port; name the one that was told at start with --control ADDRESS"
                }
                None => {
                    "the control plane is turned off; set `socket` or `listen` in [control], and start the server anew"
                }
            };
            return Err(Failure::Input(format!("{title}: {why}")));
        }
        Ok(Server { places, token })
    }
}

impl Server {
    /// Where it is asked first.
    pub(crate) fn place(&self) -> String {
        self.places.first().map(Place::to_string).unwrap_or_default()
    }

    /// What it says, whatever that is.
    ///
    /// # Errors
    /// When no server answers; status 3.
    pub(crate) fn ask(&self, request: &Request) -> Result<Answer, Failure> {
        exchange::exchange(&self.places, self.token.as_ref(), request).map_err(Failure::Environment)
    }

    /// What it says where it has done what it was asked for.
    ///
    /// # Errors
    /// When no server answers, or it says why it has not.
    pub(crate) fn object(&self, request: &Request) -> Result<Value, Failure> {
        let answer = self.ask(request)?;
        if answer.is_well() { Ok(answer.object) } else { Err(problem::refused(&answer)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_address_or_a_path() {
        for (text, told) in [
            ("127.0.0.1:8053", "127.0.0.1:8053"),
            ("http://[::1]:8053/", "[::1]:8053"),
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("./a", "./a"),
        ] {
            assert_eq!(place(text).map(|place| place.to_string()).as_deref(), Ok(told));
        }
        for (text, why) in
            [("a", "neither an address"), ("127.0.0.1:0", "port 0"), ("", "neither"), ("1.2.3.4", "neither")]
        {
            assert!(place(text).is_err_and(|said| said.contains(why)), "{text}");
        }
    }

    #[test]
    fn who_listens_everywhere_is_asked_here() {
        for (listen, at) in
            [("0.0.0.0:8053", "127.0.0.1:8053"), ("[::]:8053", "[::1]:8053"), ("192.0.2.1:8053", "192.0.2.1:8053")]
        {
            assert_eq!(reached(listen.parse().unwrap()).to_string(), at);
        }
    }
}
