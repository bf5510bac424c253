//! The configuration file: what may stand in it (`keys`), how it is read, what is said of its mistakes. Reads the
//! file, the files of secrets that it names and, where there is none, /etc/resolv.conf; opens nothing else and starts
//! nothing.

mod check;
mod control;
mod cookie;
mod fault;
mod files;
mod form;
mod keys;
mod page;
mod pieces;
mod print;
mod rate;
mod recording;
mod rrl;
mod schema;
mod transfer;
mod upstream;
mod zones;

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ringdns_shard::wire::name::{self, Name};

use crate::confined::unreadable;

pub use control::{Token, TokenFile};
pub use cookie::CookieSecret;
pub use fault::{At, Fault, Faults, Place};
pub use files::ZoneFile;
pub use form::{Cores, Net};
pub use keys::{
    Cache, Control, Dnstap, Key, Limits, Listen, Log, LogFormat, Protocol, QueryLog, Replicas, Route, Server, Settings,
    Steering, TapMessages, Template, Upstream, Zone,
};
pub use page::{default_file, reference};
pub use rate::Rate;
pub use recording::TapTarget;
pub use ringdns_shard::tsig::Algorithm;
pub use rrl::Rrl;
pub use transfer::{Allow, Peer, Secret, SecretFile};
pub use upstream::{Host, UpstreamServer};

pub(crate) use check::reaches;
use pieces::{Cut, Root};
pub(crate) use print::Print;
use schema::{Reader, Table};

/// Octets of a configuration file.
const FILE_OCTETS_MAX: u64 = 16 << 20;
/// Octets of /etc/resolv.conf that are looked at.
const RESOLV_CONF_OCTETS_MAX: u64 = 64 << 10;
/// Name servers of /etc/resolv.conf that are used, as the C library does.
const NAME_SERVERS_MAX: usize = 3;

/// Where the configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// This file.
    File(PathBuf),
    /// The configuration that is built into the program.
    Embedded,
}

/// Why there is no configuration.
#[derive(Debug)]
pub enum Refused {
    /// The file cannot be read.
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file has mistakes.
    Faults(Faults),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Unreadable { file, error } => write!(f, "{}: cannot be read: {error}", file.display()),
            Refused::Faults(faults) => faults.fmt(f),
        }
    }
}

impl std::error::Error for Refused {}

impl Source {
    /// How the source is called in messages.
    pub fn title(&self) -> String {
        match self {
            Source::File(file) => file.display().to_string(),
            Source::Embedded => "the built-in configuration".to_owned(),
        }
    }

    /// Reads and checks the configuration.
    pub fn read(&self) -> Result<Read, Refused> {
        let (text, folder) = self.text()?;
        let (settings, print) = read(&self.title(), &text, &folder).map_err(Refused::Faults)?;
        Ok(Read { settings, print })
    }

    /// The same where it would give something else than what was read `before`; `None` where it would not. Only what
    /// files hold is compared, so that a configuration that has not changed is not read table by table.
    pub(crate) fn read_anew(&self, before: &Print) -> Result<Option<Read>, Refused> {
        let (text, folder) = self.text()?;
        if before.is_still(&text) {
            return Ok(None);
        }
        let (settings, print) = read(&self.title(), &text, &folder).map_err(Refused::Faults)?;
        Ok(Some(Read { settings, print }))
    }

    /// Reads \[control\] alone, for those who ask the server that runs: what else the file says is not looked at.
    ///
    /// # Errors
    /// When the file cannot be read, is no TOML, or has mistakes in \[control\].
    pub fn control(&self) -> Result<Control, Refused> {
        let (text, folder) = self.text()?;
        let mut reader = Reader::new(&text, &folder);
        let control = whole(&mut reader, &text).and_then(|root| reader.single::<Control>(&root));
        match reader.finish().0.finish(&self.title()) {
            Some(faults) => Err(Refused::Faults(faults)),
            None => Ok(control.expect("a table without faults is whole")),
        }
    }

    /// The text of the configuration, and the folder to which its paths are relative.
    fn text(&self) -> Result<(String, PathBuf), Refused> {
        match self {
            Source::File(file) => {
                let unreadable = |error| Refused::Unreadable { file: file.clone(), error };
                let text = text_of(file, FILE_OCTETS_MAX).map_err(unreadable)?;
                let whole = std::path::absolute(file).map_err(unreadable)?;
                Ok((text, whole.parent().map(Path::to_owned).unwrap_or_default()))
            }
            Source::Embedded => {
                // No resolv.conf, or one that cannot be read, is a machine without name servers.
                let resolv_conf = text_of(Path::new("/etc/resolv.conf"), RESOLV_CONF_OCTETS_MAX).unwrap_or_default();
                Ok((page::embedded(&name_servers(&resolv_conf)), PathBuf::from("/")))
            }
        }
    }
}

/// A configuration that has been read.
#[derive(Debug)]
pub struct Read {
    /// What it says.
    pub settings: Settings,
    /// What it was read from.
    pub(crate) print: Print,
}

/// The whole of a regular file of bounded size.
fn text_of(file: &Path, octets_max: u64) -> io::Result<String> {
    let file = File::open(file).map_err(|error| unreadable(file, error))?;
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let mut text = String::new();
    file.take(octets_max + 1).read_to_string(&mut text)?;
    if text.len() as u64 > octets_max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is longer than {octets_max} octets")));
    }
    Ok(text)
}

/// Reads and checks the text of a configuration file. `title` is its name in messages, `folder` what relative paths
/// are relative to.
pub fn parse(title: &str, text: &str, folder: &Path) -> Result<Settings, Faults> {
    read(title, text, folder).map(|(settings, _)| settings)
}

fn read(title: &str, text: &str, folder: &Path) -> Result<(Settings, Print), Faults> {
    let (settings, reader) = in_pieces(text, folder).unwrap_or_else(|| as_a_whole(text, folder));
    let (mut faults, print) = reader.finish();
    let settings = settings.map(|mut settings| {
        if settings.listen.is_empty() {
            settings.listen.push(At::new(Listen::defaults(folder), Place { line: 1, column: 1 }));
        }
        check::check(&settings, &mut faults);
        settings
    });
    match faults.finish(title) {
        Some(faults) => Err(faults),
        None => Ok((settings.expect("settings without faults are whole"), print)),
    }
}

/// Reads a text table by table; `None` where it must be read as a whole.
fn in_pieces<'a>(text: &'a str, folder: &'a Path) -> Option<(Option<Settings>, Reader<'a>)> {
    let cut = Cut::new(text, Settings::SEVERAL)?;
    let root = Root::in_pieces(&cut)?;
    let mut reader = Reader::new(text, folder);
    let settings = Settings::read(&mut reader, &root, keys::TABLES_LATER);
    (!reader.is_torn()).then_some((settings, reader))
}

fn as_a_whole<'a>(text: &'a str, folder: &'a Path) -> (Option<Settings>, Reader<'a>) {
    let mut reader = Reader::new(text, folder);
    let settings = whole(&mut reader, text).and_then(|root| Settings::read(&mut reader, &root, keys::TABLES_LATER));
    (settings, reader)
}

/// The whole of a text, where it is TOML. What stands after a mistake of syntax may be read as something else than was
/// meant: no more is said of it.
fn whole<'a>(reader: &mut Reader<'_>, text: &'a str) -> Option<Root<'a>> {
    let (root, errors) = Root::whole(text);
    for error in &errors {
        let offset = error.span().map_or(0, |span| span.start);
        reader.fault(offset, format!("this is no TOML: {}", error.message()));
    }
    errors.is_empty().then_some(root)
}

/// The addresses of a resolv.conf that can be asked from here.
fn name_servers(resolv_conf: &str) -> Vec<IpAddr> {
    let mut servers: Vec<IpAddr> = Vec::new();
    for line in resolv_conf.lines() {
        let mut words = line.split_whitespace();
        let address = (words.next() == Some("nameserver")).then(|| words.next()).flatten();
        if let Some(address) = address.and_then(|address| address.parse::<IpAddr>().ok())
            && !address.is_unspecified()
            && !address.is_multicast()
            && !servers.contains(&address)
        {
            servers.push(address);
        }
    }
    servers.truncate(NAME_SERVERS_MAX);
    servers
}

impl Settings {
    /// UDP sockets of a core towards upstreams, for each address family: the largest number among the pools.
    pub fn udp_ports(&self) -> u8 {
        let largest = self.upstream.iter().map(|upstream| *upstream.udp_ports).max().unwrap_or(1);
        u8::try_from(largest).expect("the range of the key fits")
    }

    /// How each zone comes by its records, in the order of the zones.
    pub fn origins(&self) -> Vec<Origin> {
        let zones = self.zone.iter().filter_map(|zone| zone.member_of.as_ref());
        let templates = self.template.iter().filter_map(|template| template.member_of.as_ref());
        let made: HashSet<&Name> = zones.chain(templates).collect();
        let origin = |zone: &Zone| match () {
            _ if !zone.primaries.is_empty() => Origin::Primaries,
            _ if made.contains(&*zone.name) => Origin::Members,
            _ => Origin::File,
        };
        self.zone.iter().map(|zone| origin(zone)).collect()
    }

    /// What `member` of `catalog` gets, in these groups: the first template that has one of them, or else the one without
    /// a group. `None`: there is no such template, or the member is not within its names; it is not served.
    pub fn template(&self, catalog: &Name, member: &Name, groups: &[impl AsRef<[u8]>]) -> Option<&Template> {
        let of_catalog = || self.template.iter().filter(|template| *template.catalog == *catalog);
        let named = |template: &&At<Template>| {
            !template.group.is_empty() && groups.iter().any(|group| group.as_ref() == template.group.as_bytes())
        };
        let template = of_catalog().find(named).or_else(|| of_catalog().find(|template| template.group.is_empty()));
        template.map(|template| &**template).filter(|template| template.within.iter().any(|top| is_within(member, top)))
    }

    /// The CPUs that serve, out of those that this process may use.
    ///
    /// # Errors
    /// When the file asks for CPUs that are not among `usable`; `title` names the file.
    pub fn cpus(&self, usable: &[usize], title: &str) -> Result<Vec<usize>, Faults> {
        let cores = &self.server.cores;
        let wrong = |message: String| {
            let list = vec![Fault { place: cores.place(), message: format!("`cores` in [server]: {message}") }];
            Err(Faults { file: title.to_owned(), list })
        };
        match &**cores {
            Cores::All => Ok(usable.to_vec()),
            Cores::Count(count) if *count as usize <= usable.len() => Ok(usable[..*count as usize].to_vec()),
            Cores::Count(count) => {
                wrong(format!("found {count}, but this process may use {} CPUs only; lower it", usable.len()))
            }
            Cores::List(list) => match list.iter().find(|cpu| !usable.contains(&(**cpu as usize))) {
                None => Ok(list.iter().map(|cpu| *cpu as usize).collect()),
                Some(cpu) => wrong(format!("this process may not use CPU {cpu}; it may use {usable:?}")),
            },
        }
    }
}

/// How a zone comes by its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// They are read from the zone's file: a primary zone.
    File,
    /// They are transferred from the zone's primaries: a secondary zone.
    Primaries,
    /// They list the zones that are `member_of` this one: a catalog that is made here.
    Members,
}

impl Key {
    /// What the two servers share.
    ///
    /// # Panics
    /// When neither `secret` nor `secret_file` is given: settings that were checked have one of them.
    pub fn octets(&self) -> &[u8] {
        let of_file = self.secret_file.as_ref().map(|file| &file.secret);
        self.secret.as_ref().or(of_file).expect("a checked key has a secret").octets()
    }
}

/// Whether `name` is `top` or below it.
fn is_within(name: &Name, top: &Name) -> bool {
    let above = name.labels().checked_sub(top.labels());
    above.is_some_and(|above| name::labels(name.as_wire()).skip(above).eq(name::labels(top.as_wire())))
}

impl Route {
    /// Whether the names below the suffix are refused.
    pub fn refuses(&self) -> bool {
        self.to.iter().any(|to| to.as_str() == check::REFUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embedded(resolv_conf: &str) -> Settings {
        let text = page::embedded(&name_servers(resolv_conf));
        parse("the built-in configuration", &text, Path::new("/")).unwrap_or_else(|faults| panic!("{faults}\n{text}"))
    }

    #[test]
    fn the_built_in_configuration_forwards_to_the_name_servers_of_the_system() {
        let settings = embedded(
            "# nameserver 192.0.2.9\nsearch example.test\nnameserver 127.0.0.53\nnameserver 0.0.0.0\nnameserver fe80::1%eth0\n\
             nameserver 127.0.0.53 # again\nnameserver\t2001:db8::1\nnameserver x\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n",
        );
        let servers: Vec<String> = settings.upstream[0].servers.iter().map(|server| server.to_string()).collect();
        assert_eq!(servers, ["udp://127.0.0.53:53", "udp://[2001:db8::1]:53", "udp://192.0.2.1:53"]);
        let route = &settings.route[0];
        assert_eq!((route.to[0].as_str(), route.suffix.to_string().as_str()), ("system", "."));
        assert_eq!(*settings.zone[0].file, ZoneFile::Demonstration);
    }

    #[test]
    fn without_name_servers_nothing_is_forwarded() {
        for resolv_conf in ["", "nameserver\n", "options edns0\n"] {
            let settings = embedded(resolv_conf);
            assert!(settings.route.is_empty() && settings.upstream.is_empty() && settings.zone.len() == 1);
        }
    }

    #[test]
    fn what_is_no_text_or_too_long_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("r.toml");
        std::fs::write(&file, b"[server]\nidentity = \"\xff\"\n").unwrap();
        assert!(matches!(Source::File(file.clone()).read(), Err(Refused::Unreadable { .. })));
        std::fs::write(&file, "#".repeat(FILE_OCTETS_MAX as usize + 1)).unwrap();
        let refused = Source::File(file).read().unwrap_err().to_string();
        assert!(refused.contains("r.toml: cannot be read: it is longer than 16777216 octets"), "{refused}");
        let refused = Source::File(folder.path().to_owned()).read().unwrap_err().to_string();
        assert!(refused.contains("directory"), "{refused}");
    }
}
