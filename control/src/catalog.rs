//! Catalog zones (RFC 9432, schema version 2): what they list, what that changes, and how they are made. No I/O: zones
//! come in as images, changes and records go out.
//!
//! A consumer reads each catalog with [`read`] and compares all of them with what is served by [`plan`]. A producer
//! makes the records of a catalog with [`produce`].

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::hash::Hasher as _;

use ringdns_shard::wire::name::{self, Name};
use ringdns_shard::wire::rdata::rtype;
use ringdns_shard::wire::serial::newer;
use ringdns_shard::zone::Image;
use ringdns_shard::zone::image::Node;

/// Members of one catalog at most.
pub const MEMBERS_MAX: usize = 100_000;
/// Mistakes of one catalog that are told; of the others the number is.
const FAULTS_MAX: usize = 10;
/// Octets of the labels above a produced catalog's name: `group.<16 digits>.zones`.
const LABELS_ABOVE_OCTETS: usize = 6 + (1 + UNIQUE_OCTETS) + 6;
/// Octets of the name of a catalog that is made here.
pub const PRODUCED_NAME_OCTETS_MAX: usize = 255 - LABELS_ABOVE_OCTETS;
/// Octets of the labels that [`produce`] gives to members.
const UNIQUE_OCTETS: usize = 16;

/// What a catalog lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    /// The members by name.
    pub members: BTreeMap<Name, Entry>,
}

/// What a catalog says of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The label of the member's node, in lower case. Another one tells that the state of the member is to be
    /// forgotten (RFC 9432 §5.4, §5.6).
    pub label: Box<[u8]>,
    /// The values of the `group` property, in ascending order (§4.4.2).
    pub groups: Vec<Box<[u8]>>,
    /// The catalog to which the member may move: the `coo` property (§4.4.1).
    pub coo: Option<Name>,
}

/// The part of a catalog's node: which labels stand above the catalog's name.
enum Part<'z> {
    Version,
    Member(&'z [u8]),
    Group(&'z [u8]),
    Coo(&'z [u8]),
}

/// Reads a catalog.
///
/// # Errors
/// What is wrong with a broken catalog: it must not be processed, and its members stay as they were (RFC 9432 §5.1).
/// Nothing is wrong with records that mean nothing here: they are passed over (§3).
pub fn read(image: &Image) -> Result<Catalog, Vec<String>> {
    let mut reading = Reading::default();
    for node in image.nodes() {
        match part(&node, image.apex().labels()) {
            Some(Part::Version) => reading.version(&node),
            Some(Part::Member(label)) => reading.member(&node, label),
            Some(Part::Group(label)) => reading.group(&node, label),
            Some(Part::Coo(label)) => reading.coo(&node, label),
            None => {}
        }
    }
    reading.finish()
}

/// Which part of a catalog a node is, `apex_labels` being those of the catalog's name.
fn part<'z>(node: &Node<'z>, apex_labels: usize) -> Option<Part<'z>> {
    let above = node.labels() - apex_labels;
    let mut labels = name::labels(node.name());
    match above {
        1 => (labels.next()? == b"version").then_some(Part::Version),
        2 => {
            let label = labels.next()?;
            (labels.next()? == b"zones").then_some(Part::Member(label))
        }
        3 => {
            let (property, label) = (labels.next()?, labels.next()?);
            match (property, labels.next()?) {
                (b"group", b"zones") => Some(Part::Group(label)),
                (b"coo", b"zones") => Some(Part::Coo(label)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// A catalog as far as it is read.
#[derive(Default)]
struct Reading<'z> {
    has_version: bool,
    members: BTreeMap<Name, &'z [u8]>,
    groups: BTreeMap<&'z [u8], Vec<Box<[u8]>>>,
    coos: BTreeMap<&'z [u8], Name>,
    faults: Vec<String>,
    more_faults: usize,
    has_too_many: bool,
}

impl<'z> Reading<'z> {
    fn fault(&mut self, fault: String) {
        if self.faults.len() < FAULTS_MAX { self.faults.push(fault) } else { self.more_faults += 1 }
    }

    /// The name in the only PTR record of a node; `None` where there is no PTR, or the catalog is broken by it.
    fn target(&mut self, node: &Node<'z>) -> Option<Name> {
        let set = node.rrset(rtype::PTR)?;
        if set.count != 1 {
            self.fault(format!("{node:?} has {} PTR records where there must be one", set.count));
            return None;
        }
        let target = Name::from_wire(set.first());
        if target.is_none() {
            self.fault(format!("the PTR record of {node:?} has no name"));
        }
        target
    }

    fn version(&mut self, node: &Node<'z>) {
        let Some(set) = node.rrset(rtype::TXT) else {
            return;
        };
        self.has_version = true;
        if set.count != 1 {
            self.fault(format!("{node:?} has {} TXT records where there must be one", set.count));
        } else if text(set.first()) != b"2" {
            let found = String::from_utf8_lossy(&text(set.first())).escape_debug().to_string();
            self.fault(format!("the schema version in {node:?} is \"{found}\"; only \"2\" is known"));
        }
    }

    fn member(&mut self, node: &Node<'z>, label: &'z [u8]) {
        let Some(member) = self.target(node) else {
            return;
        };
        if self.members.contains_key(&member) {
            self.fault(format!("the member {member} is listed twice, the second time by {node:?}"));
        } else if self.members.len() < MEMBERS_MAX {
            self.members.insert(member, label);
        } else if !std::mem::replace(&mut self.has_too_many, true) {
            self.fault(format!("there are more than {MEMBERS_MAX} members"));
        }
    }

    fn group(&mut self, node: &Node<'z>, label: &'z [u8]) {
        let Some(set) = node.rrset(rtype::TXT) else {
            return;
        };
        let mut groups: Vec<Box<[u8]>> = set.records.iter().map(|data| text(data).into()).collect();
        groups.sort_unstable();
        groups.dedup();
        self.groups.insert(label, groups);
    }

    fn coo(&mut self, node: &Node<'z>, label: &'z [u8]) {
        if let Some(catalog) = self.target(node) {
            self.coos.insert(label, catalog);
        }
    }

    fn finish(mut self) -> Result<Catalog, Vec<String>> {
        if !self.has_version {
            self.fault("it has no schema version: the TXT record `version` is missing".to_owned());
        }
        if self.more_faults > 0 {
            self.faults.push(format!("and {} more", self.more_faults));
        }
        if !self.faults.is_empty() {
            return Err(self.faults);
        }
        let Reading { members, mut groups, mut coos, .. } = self;
        let mut entry = |label: &[u8]| Entry {
            label: label.into(),
            groups: groups.remove(label).unwrap_or_default(),
            coo: coos.remove(label),
        };
        Ok(Catalog { members: members.into_iter().map(|(member, label)| (member, entry(label))).collect() })
    }
}

/// The strings of TXT data, joined.
fn text(data: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(data.len());
    let mut rest = data;
    while let Some((&octets, tail)) = rest.split_first() {
        let (string, tail) = tail.split_at(tail.len().min(usize::from(octets)));
        text.extend_from_slice(string);
        rest = tail;
    }
    text
}

/// A catalog whose members are served here.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Its name.
    pub name: &'a Name,
    /// What it lists; `None` when it is broken, expired or not here yet: its members stay as they are.
    pub catalog: Option<&'a Catalog>,
}

/// A member that is served, and where that comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// The catalog to which it belongs.
    pub catalog: Name,
    /// Its label there.
    pub label: Box<[u8]>,
    /// Its groups there.
    pub groups: Vec<Box<[u8]>>,
}

/// The members of all catalogs that are served, by name.
pub type Members = BTreeMap<Name, Owned>;

/// What is to be done with a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is new.
    Added,
    /// It is served no more on behalf of a catalog, and what is kept of it is to be forgotten (RFC 9432 §5.3). Where
    /// the configuration file has a zone of that name now, that one is served.
    Removed,
    /// What is kept of it is to be forgotten, and it begins anew (§5.4).
    Reset,
    /// Its groups or its catalog are others; what is kept of it stays.
    Regrouped,
}

/// A member that a catalog lists and that is not served on its behalf (RFC 9432 §5.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Refused {
    /// The catalog that lists it.
    pub catalog: Name,
    /// The member.
    pub member: Name,
    /// To whom it belongs.
    pub owner: Owner,
}

/// To whom a name belongs that a catalog lists in vain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The configuration file has a zone of that name.
    Zone,
    /// The configuration file has a route of that suffix.
    Route,
    /// It is a member of this catalog.
    Catalog(Name),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the catalog {} lists {}, which belongs to ", self.catalog, self.member)?;
        match &self.owner {
            Owner::Zone => f.write_str("a [[zone]] of the configuration file"),
            Owner::Route => f.write_str("a [[route]] of the configuration file"),
            Owner::Catalog(owner) => write!(f, "the catalog {owner}"),
        }
    }
}

/// What catalogs change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The members from now on.
    pub members: Members,
    /// What that changes, by name.
    pub changes: Vec<(Name, Step)>,
    /// What is listed in vain, by name.
    pub refused: Vec<Refused>,
}

/// One catalog's listing of one member.
#[derive(Clone, Copy)]
struct Claim<'a> {
    catalog: &'a Name,
    entry: &'a Entry,
}

/// `coo` properties that are followed for one member.
const COO_STEPS_MAX: usize = 8;

/// Compares what `catalogs` list with the `current` members. `configured` gives what has a name in the configuration
/// file: that comes first.
///
/// A member belongs to the catalog it came from, as long as that lists it, or is not readable. It moves to another one
/// when its catalog names that in `coo` and that one lists it too (RFC 9432 §4.4.1). A new member that several catalogs
/// list belongs to the first of them: `current` must hold those of former processes that are listed more than once, or
/// else a restart would hand them over. Members of a catalog that is not among `catalogs` are removed.
pub fn plan(current: &Members, catalogs: &[Source<'_>], configured: impl Fn(&Name) -> Option<Owner>) -> Plan {
    let mut claims: BTreeMap<&Name, Vec<Claim<'_>>> = current.keys().map(|member| (member, Vec::new())).collect();
    for source in catalogs {
        for (member, entry) in source.catalog.iter().flat_map(|catalog| &catalog.members) {
            claims.entry(member).or_default().push(Claim { catalog: source.name, entry });
        }
    }
    let unreadable: HashSet<&Name> =
        catalogs.iter().filter(|source| source.catalog.is_none()).map(|source| source.name).collect();
    let mut plan = Plan::default();
    for (member, claims) in claims {
        let former = current.get(member);
        if let Some(owner) = configured(member) {
            plan.refuse(member, claims.iter(), &owner);
            plan.changes.extend(former.map(|_| (member.clone(), Step::Removed)));
        } else if let Some(kept) = former.filter(|former| unreadable.contains(&former.catalog)) {
            plan.refuse(member, claims.iter(), &Owner::Catalog(kept.catalog.clone()));
            plan.members.insert(member.clone(), kept.clone());
        } else {
            plan.claimed(member, former, &claims);
        }
    }
    plan
}

impl Plan {
    fn refuse<'a>(&mut self, member: &Name, claims: impl Iterator<Item = &'a Claim<'a>>, owner: &Owner) {
        self.refused.extend(claims.map(|claim| Refused {
            catalog: claim.catalog.clone(),
            member: member.clone(),
            owner: owner.clone(),
        }));
    }

    /// Settles to which of `claims` a member belongs.
    fn claimed(&mut self, member: &Name, former: Option<&Owned>, claims: &[Claim<'_>]) {
        let still = former.and_then(|former| claims.iter().find(|claim| *claim.catalog == former.catalog));
        let Some(holder) = still.or(claims.first()) else {
            self.changes.push((member.clone(), Step::Removed));
            return;
        };
        let owner = moved(holder, claims);
        let handed_over = |claim: &Claim<'_>| *moved(claim, claims).catalog == *owner.catalog;
        let owned_by = Owner::Catalog(owner.catalog.clone());
        self.refuse(member, claims.iter().filter(|claim| !handed_over(claim)), &owned_by);
        let (catalog, label) = (owner.catalog.clone(), owner.entry.label.clone());
        let owned = Owned { catalog, label, groups: owner.entry.groups.clone() };
        let step = match former {
            None => Some(Step::Added),
            Some(former) if *former == owned => None,
            // The old catalog can keep the state from going along by giving the member another label first (§4.4.1).
            Some(former)
                if still.is_some_and(|still| former.label == still.entry.label) && former.label == owned.label =>
            {
                Some(Step::Regrouped)
            }
            Some(_) => Some(Step::Reset),
        };
        self.changes.extend(step.map(|step| (member.clone(), step)));
        self.members.insert(member.clone(), owned);
    }
}

/// Where `coo` properties lead from `claim`. When they lead in a circle, or too far, the member stays.
fn moved<'a>(claim: &Claim<'a>, claims: &[Claim<'a>]) -> Claim<'a> {
    let mut at = *claim;
    for _ in 0..COO_STEPS_MAX {
        let next = at.entry.coo.as_ref().and_then(|coo| claims.iter().find(|other| *other.catalog == *coo));
        match next {
            None => return at,
            Some(next) => at = *next,
        }
    }
    *claim
}

/// A record of a catalog that is made here; class IN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its owner.
    pub owner: Name,
    /// Its type.
    pub rtype: u16,
    /// Its TTL in seconds.
    pub ttl: u32,
    /// Its data, names uncompressed.
    pub data: Vec<u8>,
}

/// `invalid.`, the name of the server that a catalog has not (RFC 9432 §4.1).
const INVALID: &[u8] = b"\x07invalid\0";
/// Refresh, retry and expire of a catalog's SOA in seconds: NOTIFY tells of changes, and old members are better than
/// none.
const SOA_TIMES: [u32; 3] = [3_600, 600, 2_147_483_646];

/// The records of the catalog `catalog` with `members`, each with its group, `""` for none. `Ok(None)`: the `old`
/// catalog lists the same already.
///
/// `serial` is taken where it is newer than the old one (RFC 1982), or else the one after the old.
///
/// A member keeps its label as long as it stays one. The labels of the first catalog follow from the names alone, so
/// that they come out the same when the old catalog is lost; those of later members from name and serial, so that a
/// member that goes and comes back has another one, and consumers forget its state even if they missed that it was gone
/// (RFC 9432 §5.4, §5.6).
///
/// # Errors
/// When there are more than [`MEMBERS_MAX`] members.
///
/// # Panics
/// When the name is longer than [`PRODUCED_NAME_OCTETS_MAX`], or `old` is another zone.
pub fn produce(
    catalog: &Name,
    members: &[(Name, String)],
    old: Option<&Image>,
    serial: u32,
) -> Result<Option<Vec<Record>>, String> {
    assert!(catalog.as_wire().len() <= PRODUCED_NAME_OCTETS_MAX, "no names fit below {catalog}");
    assert!(old.is_none_or(|old| old.apex() == catalog), "the old catalog is another zone");
    let members: BTreeMap<&Name, &str> = members.iter().map(|(member, group)| (member, group.as_str())).collect();
    if members.len() > MEMBERS_MAX {
        return Err(format!("the catalog {catalog} would have more than {MEMBERS_MAX} members"));
    }
    let (salt, serial) = match old {
        None => (0, serial),
        Some(old) if newer(serial, old.serial()) => (serial, serial),
        Some(old) => (old.serial().wrapping_add(1), old.serial().wrapping_add(1)),
    };
    // One that cannot be read is made anew.
    let listed = old.and_then(|old| read(old).ok());
    if listed.as_ref().is_some_and(|listed| lists(listed, &members)) {
        return Ok(None);
    }
    let listed = listed.unwrap_or_default();
    Ok(Some(records(catalog, &labelled(&members, &listed, salt), &members, serial)))
}

/// Whether a catalog lists these members with these groups.
fn lists(catalog: &Catalog, members: &BTreeMap<&Name, &str>) -> bool {
    let same = |(listed, entry): (&Name, &Entry), (member, group): (&&Name, &&str)| {
        let groups: &[&[u8]] = if group.is_empty() { &[] } else { &[group.as_bytes()] };
        listed == *member && entry.coo.is_none() && entry.groups.iter().map(|group| &**group).eq(groups.iter().copied())
    };
    catalog.members.len() == members.len()
        && catalog.members.iter().zip(members).all(|(listed, member)| same(listed, member))
}

/// A label of its own for each member: the one that it has, or a new one.
fn labelled<'a>(members: &BTreeMap<&'a Name, &str>, listed: &Catalog, salt: u32) -> BTreeMap<&'a Name, Box<[u8]>> {
    let kept = |member: &Name| {
        let label = &listed.members.get(member)?.label;
        (label.len() <= UNIQUE_OCTETS).then(|| label.clone())
    };
    let mut labels: BTreeMap<&Name, Box<[u8]>> =
        members.keys().filter_map(|member| Some((*member, kept(member)?))).collect();
    let mut taken: HashSet<Box<[u8]>> = labels.values().cloned().collect();
    for member in members.keys() {
        labels.entry(member).or_insert_with(|| {
            // Without a key, so that the same names have the same labels in every process.
            let mut hasher = DefaultHasher::new();
            hasher.write_u32(salt);
            hasher.write(member.as_wire());
            let mut hash = hasher.finish();
            loop {
                let label: Box<[u8]> = format!("{hash:016x}").into_bytes().into();
                if taken.insert(label.clone()) {
                    return label;
                }
                // Two hashes are alike: there are more numbers than members.
                hash = hash.wrapping_add(1);
            }
        });
    }
    labels
}

fn records(
    catalog: &Name,
    labels: &BTreeMap<&Name, Box<[u8]>>,
    members: &BTreeMap<&Name, &str>,
    serial: u32,
) -> Vec<Record> {
    let below = |labels: &[&[u8]]| {
        let mut wire = Vec::with_capacity(LABELS_ABOVE_OCTETS + catalog.as_wire().len());
        for label in labels {
            wire.push(label.len() as u8);
            wire.extend_from_slice(label);
        }
        wire.extend_from_slice(catalog.as_wire());
        Name::from_wire(&wire).expect("the catalog's name is short enough")
    };
    let record = |owner, rtype, data| Record { owner, rtype, ttl: 0, data };
    let mut soa = [INVALID, INVALID].concat();
    soa.extend([serial, SOA_TIMES[0], SOA_TIMES[1], SOA_TIMES[2], 0].iter().flat_map(|word| word.to_be_bytes()));
    let mut records = vec![
        record(catalog.clone(), rtype::SOA, soa),
        record(catalog.clone(), rtype::NS, INVALID.to_vec()),
        record(below(&[b"version"]), rtype::TXT, b"\x012".to_vec()),
    ];
    for (member, label) in labels {
        records.push(record(below(&[label, b"zones"]), rtype::PTR, member.as_wire().to_vec()));
        let group = members[member];
        if !group.is_empty() {
            let strings = group.as_bytes().chunks(255).flat_map(|part| [&[part.len() as u8], part].concat());
            records.push(record(below(&[b"group", label, b"zones"]), rtype::TXT, strings.collect()));
        }
    }
    records
}

#[cfg(test)]
mod tests;
