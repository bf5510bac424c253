//! Mistakes that only show when zones, templates and keys are seen together.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use ringdns_shard::wire::name::Name;

use super::check::{reaches, unique};
use super::fault::{At, Collector};
use super::files::ZoneFile;
use super::keys::{Settings, Template, Zone};
use super::schema::meant;
use super::transfer::{Allow, Peer};
use super::{Key, Origin};
use crate::catalog::PRODUCED_NAME_OCTETS_MAX;

/// Puts what is wrong into `faults`.
pub(super) fn check(settings: &Settings, faults: &mut Collector) {
    keys(settings, faults);
    peers(settings, faults);
    origins(settings, faults);
    copies(settings, faults);
    memberships(settings, faults);
    templates(settings, faults);
}

fn keys(settings: &Settings, faults: &mut Collector) {
    unique(settings.key.iter().map(|key| &key.name), faults, |name| {
        format!("another [[key]] has the name `{name}` already; choose another")
    });
    for key in &settings.key {
        match (&*key.secret, &*key.secret_file) {
            (Some(_), Some(_)) => {
                let message = format!("the key `{}` has a `secret` and a `secret_file`; remove one", *key.name);
                faults.push(key.secret_file.place().max(key.secret.place()), message);
            }
            (None, None) => {
                let message = format!("the key `{}` lacks a secret; give `secret` or `secret_file`", *key.name);
                faults.push(At::<Key>::place(key), message);
            }
            _ => {}
        }
    }
}

/// Keys that nobody has, and servers that are this server itself.
fn peers(settings: &Settings, faults: &mut Collector) {
    let keys: HashSet<&Name> = settings.key.iter().map(|key| &*key.name).collect();
    let check_key = |title: &str, place, key: &Option<Name>, faults: &mut Collector| {
        if let Some(key) = key.as_ref().filter(|key| !keys.contains(key)) {
            let (key, known): (String, Vec<String>) =
                (key.to_string(), keys.iter().map(|key| key.to_string()).collect());
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            faults.push(place, format!("{title}: no [[key]] has the name `{key}`{}", meant(&key, &known)));
        }
    };
    let check_peers = |title: &str, peers: &[At<Peer>], faults: &mut Collector| {
        for peer in peers {
            check_key(title, peer.place(), &peer.key, faults);
            if settings.listen.iter().any(|listen| reaches(peer.address, *listen.address)) {
                faults.push(peer.place(), format!("{title}: {} is where this server listens itself", peer.address));
            }
        }
    };
    let mut check_all = |table: &str, primaries: &[At<Peer>], notify: &[At<Peer>], allow: &[At<Allow>]| {
        check_peers(&format!("`primaries` in {table}"), primaries, faults);
        check_peers(&format!("`notify` in {table}"), notify, faults);
        for allow in allow {
            check_key(&format!("`allow_transfer` in {table}"), allow.place(), &allow.key, faults);
        }
    };
    for zone in &settings.zone {
        check_all("[[zone]]", &zone.primaries, &zone.notify, &zone.allow_transfer);
    }
    for template in &settings.template {
        check_all("[[template]]", &template.primaries, &template.notify, &template.allow_transfer);
    }
}

/// Keys of a zone that its origin has no use for, or cannot do without.
fn origins(settings: &Settings, faults: &mut Collector) {
    for (zone, origin) in settings.zone.iter().zip(settings.origins()) {
        let name = &*zone.name;
        match (origin, &*zone.file) {
            (Origin::File, ZoneFile::Absent) => faults.push(
                zone.file.place(),
                format!(
                    "the zone `{name}` has no `file`; name its master file, or `primaries` where it is a copy, or make \
                     zones `member_of` it where it is a catalog made here"
                ),
            ),
            (Origin::Primaries, ZoneFile::Demonstration) => faults.push(
                zone.file.place(),
                format!(
                    "the zone `{name}` has `primaries`, and no copy can be kept in the demonstration zone; name a file"
                ),
            ),
            _ => {}
        }
        let reads_file = origin == Origin::File && *zone.file != ZoneFile::Demonstration;
        if let Some(first) = zone.include.first().filter(|_| !reads_file) {
            faults.push(
                first.place(),
                format!("the zone `{name}` is not read from a file that could include others; remove `include`"),
            );
        }
    }
}

/// Files in which copies are kept, where another zone has the same.
fn copies(settings: &Settings, faults: &mut Collector) {
    let mut copied_to: HashMap<&Path, bool> = HashMap::new();
    for (zone, origin) in settings.zone.iter().zip(settings.origins()) {
        let ZoneFile::Path(path) = &*zone.file else {
            continue;
        };
        let is_copy = origin == Origin::Primaries;
        let earlier = copied_to.insert(path, is_copy);
        if earlier.is_some_and(|earlier| earlier || is_copy) {
            let message = format!(
                "`file` in [[zone]]: {} is where the copy of a zone is kept, and is the file of another zone too; choose \
                 another",
                path.display()
            );
            faults.push(zone.file.place(), message);
            copied_to.insert(path, true);
        }
    }
}

/// Catalogs that cannot be made here.
fn memberships(settings: &Settings, faults: &mut Collector) {
    let zones: HashMap<&Name, &At<Zone>> = settings.zone.iter().map(|zone| (&*zone.name, zone)).collect();
    let mut said: HashSet<&Name> = HashSet::new();
    let mut check = |table: &str, member_of: &'_ At<Option<Name>>| {
        let Some((name, catalog)) = member_of.as_ref().map(|name| (name, zones.get(name))) else {
            return;
        };
        // One wrong catalog has as many mistakes as members: one of them is told.
        let Some((name, _)) = zones.get_key_value(name).filter(|_| catalog.is_some()) else {
            faults.push(member_of.place(), format!("`member_of` in {table}: no [[zone]] has the name `{name}`"));
            return;
        };
        if let Some(why) = catalog.and_then(|catalog| not_made_here(catalog)).filter(|_| said.insert(name)) {
            faults.push(member_of.place(), format!("`member_of` in {table}: the zone `{name}` {why}"));
        }
    };
    for zone in &settings.zone {
        check("[[zone]]", &zone.member_of);
    }
    for template in &settings.template {
        check("[[template]]", &template.member_of);
    }
    for zone in &settings.zone {
        if zone.member_of.as_ref() == Some(&*zone.name) {
            faults
                .push(zone.member_of.place(), format!("the zone `{}` is `member_of` itself; name another", *zone.name));
        }
        if zone.member_of.is_none() && !zone.group.is_empty() {
            let message = format!("the zone `{}` has a `group` in no catalog; name one with `member_of`", *zone.name);
            faults.push(zone.group.place(), message);
        }
    }
}

/// Why a zone cannot be a catalog that is made here.
fn not_made_here(zone: &Zone) -> Option<String> {
    let list = "and only a catalog that is made here lists zones of this file";
    if *zone.catalog {
        return Some(format!("has `catalog = true`, {list}; remove it there, or name another zone"));
    }
    if !zone.primaries.is_empty() {
        return Some(format!("has `primaries`, {list}; remove them, or name another zone"));
    }
    if *zone.file != ZoneFile::Absent {
        return Some(format!("has a `file`, {list}; remove it, or name another zone"));
    }
    (zone.name.as_wire().len() > PRODUCED_NAME_OCTETS_MAX).then(|| {
        format!("is longer than {PRODUCED_NAME_OCTETS_MAX} octets, so that no names fit below it; choose a shorter one")
    })
}

fn templates(settings: &Settings, faults: &mut Collector) {
    let catalogs: HashMap<&Name, bool> = settings.zone.iter().map(|zone| (&*zone.name, *zone.catalog)).collect();
    let mut with_template: HashSet<&Name> = HashSet::new();
    let mut seen: HashSet<(&Name, &str)> = HashSet::new();
    for template in &settings.template {
        let Template { catalog, group, member_of, .. } = &**template;
        match catalogs.get(&**catalog) {
            Some(true) => {}
            Some(false) => {
                let message =
                    format!("`catalog` in [[template]]: the zone `{}` is none; give it `catalog = true`", **catalog);
                faults.push(catalog.place(), message);
            }
            None => {
                let message = format!("`catalog` in [[template]]: no [[zone]] has the name `{}`", **catalog);
                faults.push(catalog.place(), message);
            }
        }
        with_template.insert(catalog);
        if !seen.insert((catalog, group)) {
            let which = if group.is_empty() {
                "members without a group".to_owned()
            } else {
                format!("the group `{}`", **group)
            };
            let message = format!("another [[template]] of `{}` is for {which} already; remove one", **catalog);
            faults.push(At::<Template>::place(template), message);
        }
        if member_of.as_ref() == Some(&**catalog) {
            faults.push(
                member_of.place(),
                format!("members of `{}` cannot be `member_of` it anew; name another", **catalog),
            );
        }
    }
    for zone in settings.zone.iter().filter(|zone| *zone.catalog && !with_template.contains(&*zone.name)) {
        let message =
            format!("the catalog `{}` has no [[template]] that says what its members get; add one", *zone.name);
        faults.push(zone.catalog.place(), message);
    }
}
