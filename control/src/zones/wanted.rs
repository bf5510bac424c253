//! What is wanted of each zone: settings, and what catalogs list, as one kind of thing.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringdns_shard::guard::Network;
use ringdns_shard::images::Allowed;
use ringdns_shard::wire::name::Name;

use super::disk;
use crate::catalog::{Members, Owned};
use crate::config::{Allow, At, Origin, Peer, Settings, Template, Zone, ZoneFile};

/// A zone as it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) apex: Name,
    pub(crate) source: Source,
    /// Servers that are told of changes.
    pub(crate) notify: Vec<Peer>,
    pub(crate) allow_transfer: Vec<Allowed>,
    /// Whether the members that it lists are served.
    pub(crate) is_catalog: bool,
    /// The catalog made here that lists it, and its group there.
    pub(crate) listed_in: Option<(Name, String)>,
    /// The catalog from which it comes; `None` for a zone of the configuration file.
    pub(crate) member: Option<Owned>,
}

/// Where a zone's records come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A master file.
    File {
        /// The file.
        file: ZoneFile,
        /// Folders from which it may include, besides its own.
        include: Vec<PathBuf>,
    },
    /// Other servers.
    Primaries {
        /// In the order in which they are asked.
        primaries: Vec<Peer>,
        /// Where the copy is kept.
        copy: PathBuf,
    },
    /// The zones that are listed in it: a catalog made here.
    Listed {
        /// Where the copy is kept.
        copy: PathBuf,
    },
}

impl Wanted {
    /// The zones of the configuration file, in its order.
    pub(crate) fn of_settings(settings: &Settings) -> Vec<Arc<Wanted>> {
        let zones = settings.zone.iter().zip(settings.origins());
        zones.map(|(zone, origin)| Arc::new(Wanted::of_zone(zone, origin, &settings.server.state))).collect()
    }

    fn of_zone(zone: &Zone, origin: Origin, state: &Path) -> Wanted {
        let copy = || match &*zone.file {
            ZoneFile::Path(path) => path.clone(),
            _ => disk::copy_path(state, &zone.name),
        };
        let source = match origin {
            Origin::File => {
                let include = zone.include.iter().map(|folder| PathBuf::clone(folder)).collect();
                Source::File { file: ZoneFile::clone(&zone.file), include }
            }
            Origin::Primaries => Source::Primaries { primaries: peers(&zone.primaries), copy: copy() },
            Origin::Members => Source::Listed { copy: copy() },
        };
        Wanted {
            apex: Name::clone(&zone.name),
            source,
            notify: peers(&zone.notify),
            allow_transfer: allowed(&zone.allow_transfer),
            is_catalog: *zone.catalog,
            listed_in: zone.member_of.as_ref().map(|catalog| (catalog.clone(), String::clone(&zone.group))),
            member: None,
        }
    }

    /// The members of catalogs, in the order of their names. A member for which there is no template is not wanted.
    pub(crate) fn of_members(settings: &Settings, members: &Members) -> Vec<Arc<Wanted>> {
        let wanted = |(apex, owned): (&Name, &Owned)| {
            let template = settings.template(&owned.catalog, apex, &owned.groups)?;
            Some(Arc::new(Wanted::of_member(apex, owned, template, &settings.server.state)))
        };
        members.iter().filter_map(wanted).collect()
    }

    fn of_member(apex: &Name, owned: &Owned, template: &Template, state: &Path) -> Wanted {
        let listed_in = template.member_of.as_ref().map(|catalog| (catalog.clone(), String::clone(&template.group)));
        Wanted {
            apex: apex.clone(),
            source: Source::Primaries { primaries: peers(&template.primaries), copy: disk::copy_path(state, apex) },
            notify: peers(&template.notify),
            allow_transfer: allowed(&template.allow_transfer),
            is_catalog: false,
            listed_in,
            member: Some(owned.clone()),
        }
    }

    /// The servers from which it is transferred.
    pub(crate) fn primaries(&self) -> &[Peer] {
        match &self.source {
            Source::Primaries { primaries, .. } => primaries,
            _ => &[],
        }
    }

    /// The file in which its copy is kept, where it is not read from a master file.
    pub(crate) fn copy(&self) -> Option<&Path> {
        match &self.source {
            Source::File { .. } => None,
            Source::Primaries { copy, .. } | Source::Listed { copy } => Some(copy),
        }
    }

    /// Whether it needs the state folder: something of it is worth keeping. The differences of a zone that is read from
    /// a file are, where somebody may have them.
    pub(crate) fn keeps_state(&self) -> bool {
        self.copy().is_some() || !self.allow_transfer.is_empty()
    }

    /// Whose NOTIFY is heeded: the primaries', signed where what comes from them is.
    pub(crate) fn notify_from(&self) -> Vec<Allowed> {
        let network = |peer: &Peer| -> Network {
            peer.address.ip().to_canonical().to_string().parse().expect("an address is a network of one")
        };
        let allowed = |peer: &Peer| Allowed { network: Some(network(peer)), key: peer.key.clone() };
        self.primaries().iter().map(allowed).collect()
    }

    /// The place of the primary at the address of `from` in the list of primaries.
    pub(crate) fn primary_at(&self, from: IpAddr) -> Option<usize> {
        let from = from.to_canonical();
        self.primaries().iter().position(|peer| peer.address.ip().to_canonical() == from)
    }
}

fn peers(peers: &[At<Peer>]) -> Vec<Peer> {
    peers.iter().map(|peer| Peer::clone(peer)).collect()
}

fn allowed(allowed: &[At<Allow>]) -> Vec<Allowed> {
    allowed.iter().map(|allow| Allowed { network: allow.network, key: allow.key.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        crate::config::parse("r.toml", text, Path::new("/etc/r")).unwrap()
    }

    #[test]
    fn each_zone_knows_where_it_comes_from_and_where_it_is_kept() {
        let settings = settings(
            "[[zone]]\nname = \"a.test\"\nfile = \"a.zone\"\nmember_of = \"catalog.test\"\ngroup = \"g\"\n\
             [[zone]]\nname = \"b.test\"\nprimaries = [\"192.0.2.1:53\", \"[2001:db8::1]:53\"]\n\
             [[zone]]\nname = \"c.test\"\nfile = \"c.copy\"\nprimaries = [\"192.0.2.1:53\"]\n\
             allow_transfer = [\"192.0.2.0/24\"]\n[[zone]]\nname = \"catalog.test\"\n",
        );
        let wanted = Wanted::of_settings(&settings);
        let copies: Vec<_> = wanted.iter().map(|zone| zone.copy().map(|path| path.to_str().unwrap())).collect();
        let of_state = |file: &str| format!("/etc/r/state/zones/{file}.zone");
        assert_eq!(copies, [None, Some(&*of_state("b.test")), Some("/etc/r/c.copy"), Some(&*of_state("catalog.test"))]);
        assert_eq!(wanted[0].listed_in, Some(("catalog.test".parse().unwrap(), "g".to_owned())));
        assert_eq!(wanted.iter().map(|zone| zone.keeps_state()).collect::<Vec<_>>(), [false, true, true, true]);
        let from = |text: &str| wanted[1].primary_at(text.parse().unwrap());
        assert_eq!((from("192.0.2.1"), from("2001:db8::1"), from("192.0.2.2")), (Some(0), Some(1), None));
        assert_eq!(from("::ffff:192.0.2.1"), Some(0));
        let allowed = wanted[1].notify_from();
        assert!(allowed[0].allows("192.0.2.1".parse().unwrap(), None));
        assert!(!allowed[0].allows("192.0.2.2".parse().unwrap(), None));
    }

    #[test]
    fn a_member_is_what_its_template_says() {
        let settings = settings(
            "[[zone]]\nname = \"c.test\"\ncatalog = true\nprimaries = [\"192.0.2.1:53\"]\n[[template]]\n\
             catalog = \"c.test\"\nprimaries = [\"192.0.2.2:53\"]\n[[template]]\ncatalog = \"c.test\"\ngroup = \"x\"\n\
             primaries = [\"192.0.2.3:53\"]\nnotify = [\"192.0.2.4:53\"]\n",
        );
        let owned = |groups: &[&str]| Owned {
            catalog: "c.test".parse().unwrap(),
            label: (*b"l").into(),
            groups: groups.iter().map(|group| group.as_bytes().into()).collect(),
        };
        let members =
            Members::from([("m.test".parse().unwrap(), owned(&[])), ("n.test".parse().unwrap(), owned(&["x"]))]);
        let wanted = Wanted::of_members(&settings, &members);
        let primaries: Vec<String> = wanted.iter().map(|zone| zone.primaries()[0].address.to_string()).collect();
        assert_eq!(primaries, ["192.0.2.2:53", "192.0.2.3:53"]);
        assert_eq!((wanted[0].notify.len(), wanted[1].notify.len()), (0, 1));
        let other = Owned { catalog: "other.test".parse().unwrap(), ..owned(&[]) };
        assert!(Wanted::of_members(&settings, &Members::from([("m.test".parse().unwrap(), other)])).is_empty());
    }
}
