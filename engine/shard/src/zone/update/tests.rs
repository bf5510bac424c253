//! Random zones and random changes of them: an image that was changed is the one that is built from all records, in
//! everything that can be asked of it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::touched::{Additions, Afterwards};
use super::*;
use crate::wire::name::{HashKey, KeyedName, Name};
use crate::wire::rdata;
use crate::zone::difference::{Unfit, Writer};
use crate::zone::image::{Data, Nsec3Parameters, RrSet};
use crate::zone::lookup::{Outcome, lookup};

const APEX: &str = "zone.test";
/// Labels of hashes: two begin alike, and one is the longest way round.
const HASHES: [&str; 6] = [
    "00000000000000000000000000000000",
    "2t7b4g4vsa5smi47k61mv5bv1a22bojr",
    "2t7b4g4vsa5smi47k61mv5bv1a22bojs",
    "35mthgpgcu1qg68fab165klnsnk3dpvl",
    "r53bq7cc2uvmubfu5ocmm6pers9tk9en",
    "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv",
];
const PARAMETERS: [&[u8]; 3] = [&[1, 0, 0, 0, 0], &[1, 0, 0, 1, 1, 0xaa], &[1, 0, 0, 0, 1, 7]];
const TYPES: [u16; 9] =
    [rtype::A, rtype::NS, rtype::CNAME, rtype::MX, rtype::TXT, rtype::DNAME, rtype::DS, rtype::RRSIG, rtype::NSEC];

pub(crate) fn wire(text: &str) -> Vec<u8> {
    text.parse::<Name>().unwrap().as_wire().to_vec()
}

/// Owner, type, data in lower case.
type Key = (Vec<u8>, u16, Vec<u8>);
/// TTL, data as spelt.
type Value = (u32, Vec<u8>);

/// A zone as a set of records.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Model {
    records: BTreeMap<Key, Value>,
    serial: u32,
}

/// A record to be toggled: taken away if it is there as it is, or put in, perhaps in the place of one that is spelt
/// in another way.
#[derive(Clone, Debug)]
pub(crate) struct Toggle {
    owner: Vec<u8>,
    rtype: u16,
    ttl: u32,
    data: Vec<u8>,
}

/// What happens to a zone.
#[derive(Clone, Debug)]
enum Change {
    Toggle(Toggle),
    /// A record that is there goes.
    Remove(prop::sample::Index),
    /// With all others of its owner.
    Clear(prop::sample::Index),
}

impl Toggle {
    pub(crate) fn address(owner: &str) -> Toggle {
        Toggle { owner: wire(owner), rtype: rtype::A, ttl: 60, data: vec![192, 0, 2, 1] }
    }
}

impl Model {
    /// A zone with an NS record, some others, and a serial.
    pub(crate) fn new(serial: u32, toggles: &[Toggle]) -> Model {
        let mut model = Model { serial, ..Model::default() };
        model.toggle(&Toggle { owner: wire(APEX), rtype: rtype::NS, ttl: 60, data: wire("ns.zone.test") });
        for toggle in toggles {
            let former = model.clone();
            model.toggle(toggle);
            if model.build().is_err() {
                model = former;
            }
        }
        model
    }

    pub(crate) fn toggle(&mut self, toggle: &Toggle) {
        let Toggle { owner, rtype, ttl, data } = toggle.clone();
        let folded = if rdata::layout(rtype).is_some() { data.to_ascii_lowercase() } else { data.clone() };
        let key = (owner, rtype, folded);
        if self.records.get(&key).is_some_and(|record| *record == (ttl, data.clone())) {
            self.records.remove(&key);
        } else {
            self.records.insert(key, (ttl, data));
        }
    }

    fn change(&mut self, change: &Change) {
        let nth = |index: &prop::sample::Index| self.records.keys().nth(index.index(self.records.len())).cloned();
        match change {
            Change::Toggle(toggle) => self.toggle(toggle),
            _ if self.records.is_empty() => {}
            Change::Remove(index) => drop(nth(index).and_then(|key| self.records.remove(&key))),
            Change::Clear(index) => {
                let owner = nth(index).map(|(owner, ..)| owner);
                self.records.retain(|(other, ..), _| Some(other) != owner.as_ref());
            }
        }
    }

    fn soa(&self) -> Vec<u8> {
        let numbers = [self.serial, 3600, 600, 86400, 60].map(u32::to_be_bytes).concat();
        [wire("ns.zone.test"), wire("host.zone.test"), numbers].concat()
    }

    fn each_record(&self) -> impl Iterator<Item = Record<'_>> {
        self.records.iter().map(|((owner, rtype, _), (ttl, data))| Record { owner, rtype: *rtype, ttl: *ttl, data })
    }

    pub(crate) fn build(&self) -> Result<Image, Faults> {
        let mut builder = Builder::new(APEX.parse().unwrap(), HashKey::from_seed([3; 16]));
        builder.push(&wire(APEX), rtype::SOA, 300, &self.soa(), Place::default()).unwrap();
        for Record { owner, rtype, ttl, data } in self.each_record() {
            builder.push(owner, rtype, ttl, data, Place::default()).unwrap();
        }
        builder.finish()
    }

    /// The difference that a transfer would bring.
    fn difference(&self, new: &Model) -> Difference {
        let (apex, old_soa, new_soa) = (wire(APEX), self.soa(), new.soa());
        let soa = |data| Record { owner: &apex, rtype: rtype::SOA, ttl: 300, data };
        let mut writer = Writer::begin(soa(&old_soa), usize::MAX).unwrap();
        let without = |a: &Model, b: &Model| -> Vec<_> {
            let differs = |(key, value): &(&Key, &Value)| b.records.get(*key) != Some(value);
            a.records.iter().filter(differs).map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        for ((owner, rtype, _), (ttl, data)) in without(self, new) {
            writer.remove(Record { owner: &owner.to_ascii_uppercase(), rtype, ttl, data: &data }).unwrap();
        }
        writer.begin_added(soa(&new_soa)).unwrap();
        for ((owner, rtype, _), (ttl, data)) in without(new, self) {
            writer.add(Record { owner: &owner, rtype, ttl, data: &data }).unwrap();
        }
        writer.finish().unwrap()
    }
}

/// Names of the zone down to three labels, and below hashes.
fn owners() -> Vec<String> {
    let labels = ["a", "b", "*"];
    let mut owners = vec![APEX.to_owned()];
    let mut above = owners.clone();
    for _ in 0..3 {
        above = above.iter().flat_map(|above| labels.map(|label| format!("{label}.{above}"))).collect();
        owners.extend(above.clone());
    }
    owners.extend(HASHES.map(|hash| format!("{hash}.{APEX}")));
    owners.extend(HASHES.map(|hash| format!("a.{hash}.{APEX}")));
    owners
}

fn signature(covered: u16, rest: u8) -> Vec<u8> {
    [&covered.to_be_bytes()[..], &[rest; 16], &wire(APEX)].concat()
}

fn plain_data(rtype: u16, variant: u8) -> Vec<u8> {
    let target: &[u8] = match variant % 3 {
        0 => b"\x01T\x04test\0",
        1 => b"\x01t\x04test\0",
        _ => b"\x01a\x04zone\x04test\0",
    };
    match rtype {
        rtype::A => vec![192, 0, 2, variant],
        rtype::MX => [&[0, variant / 3], target].concat(),
        rtype::TXT => vec![b'x'; usize::from(variant) * 20],
        rtype::DS => vec![variant; 36],
        rtype::RRSIG => signature(TYPES[usize::from(variant) % 3], variant / 3),
        rtype::NSEC => [target, &[0, 1, variant]].concat(),
        _ => target.to_vec(),
    }
}

/// Records of all kinds: many small ones, and those of NSEC3 chains.
pub(crate) fn toggle() -> impl Strategy<Value = Toggle> {
    let ttl = || prop::sample::select(vec![60_u32, 60, 60, 50]);
    let plain = (prop::sample::select(owners()), prop::sample::select(TYPES.to_vec()), ttl(), 0..6_u8).prop_map(
        |(owner, rtype, ttl, variant)| Toggle { owner: wire(&owner), rtype, ttl, data: plain_data(rtype, variant) },
    );
    let nsec3 = (prop::sample::select(HASHES.to_vec()), 0..5_usize, ttl()).prop_map(|(hash, variant, ttl)| {
        let owner = wire(&format!("{hash}.{APEX}"));
        if variant < 3 {
            let data = [PARAMETERS[variant], &[20], &[variant as u8; 20], &[0, 1, 2]].concat();
            Toggle { owner, rtype: rtype::NSEC3, ttl, data }
        } else {
            Toggle { owner, rtype: rtype::RRSIG, ttl, data: signature(rtype::NSEC3, variant as u8) }
        }
    });
    let parameters = (0..3_usize).prop_map(|i| Toggle {
        owner: wire(APEX),
        rtype: rtype::NSEC3PARAM,
        ttl: 0,
        data: PARAMETERS[i].to_vec(),
    });
    prop_oneof![12 => plain, 4 => nsec3, 1 => parameters]
}

fn change() -> impl Strategy<Value = Change> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        3 => toggle().prop_map(Change::Toggle),
        1 => index().prop_map(Change::Remove),
        2 => index().prop_map(Change::Clear),
    ]
}

/// What the zone says, in a form that compares.
fn answer(image: &Image, name: &KeyedName, qtype: u16) -> impl PartialEq + std::fmt::Debug + use<> {
    let found = lookup(image, name, qtype);
    let (kind, set) = match found.outcome {
        Outcome::Answer(set) => (0, Some(set)),
        Outcome::Any => (1, None),
        Outcome::Signatures => (2, None),
        Outcome::Cname(set) => (3, Some(set)),
        Outcome::Dname(set) => (4, Some(set)),
        Outcome::Delegation(set) => (5, Some(set)),
        Outcome::NoData => (6, None),
        Outcome::NxDomain => (7, None),
    };
    let lists = |set: RrSet<'_>| (set.rtype, set.count, set.ttl, all(set.records), all(set.signatures));
    (kind, set.map(lists), found.node.name().to_vec(), found.wildcard)
}

fn all(data: Data<'_>) -> Vec<Vec<u8>> {
    data.iter().map(<[u8]>::to_vec).collect()
}

/// Everything that can be seen of a node.
fn shown(image: &Image, node: Node<'_>) -> impl PartialEq + std::fmt::Debug + use<> {
    let flags = [
        node.is_cut(),
        node.is_dname(),
        node.is_occluded(),
        node.has_wildcard(),
        node.is_empty(),
        node.is_of_other_chain(),
    ];
    let cover = node.cover().map(|cover| image.at(cover).name().to_vec());
    (node.name().to_vec(), node.labels(), flags, cover, node.hashes())
}

/// An image made by changing another is the one that was built.
fn assert_same(changed: &Image, built: &Image) {
    let nodes = |image: &Image| image.nodes().map(|node| shown(image, node)).collect::<Vec<_>>();
    let links = |image: &Image| image.chain_nodes().map(|node| shown(image, node)).collect::<Vec<_>>();
    assert_eq!(nodes(changed), nodes(built));
    assert_eq!(links(changed), links(built));
    assert_eq!(changed.each_record().collect::<Vec<_>>(), built.each_record().collect::<Vec<_>>());
    let numbers = |image: &Image| (image.serial(), image.negative_ttl(), image.records(), image.names());
    assert_eq!(numbers(changed), numbers(built));
    assert_eq!(changed.denial(), built.denial());
    assert_eq!(changed.apex_node().name(), built.apex_node().name());
    let mut name = KeyedName::default();
    for owner in owners().iter().flat_map(|owner| [owner.clone(), format!("q.{owner}")]) {
        name.set(&built.key, &wire(&owner)).unwrap();
        for qtype in TYPES.into_iter().chain([rtype::NSEC3, rtype::ANY]) {
            assert_eq!(answer(changed, &name, qtype), answer(built, &name, qtype), "{owner} {qtype}");
        }
        let before =
            |image: &Image| image.nsec_at_or_before(&wire(&owner)).map(|(node, is)| (node.name().to_vec(), is));
        assert_eq!(before(changed), before(built), "{owner}");
    }
    for hash in built.chain_nodes().flat_map(|node| node.hashes()).flat_map(|(hash, _)| [hash, hash.wrapping_sub(1)]) {
        let before = |image: &Image| image.nsec3_at_or_before(hash).map(|(node, is)| (node.name().to_vec(), is));
        assert_eq!(before(changed), before(built), "{hash:x}");
    }
    assert_tidy(changed);
}

/// Garbage is what no node takes, and each name is found.
fn assert_tidy(image: &Image) {
    let room = |node: Node<'_>| node.whole().len().next_multiple_of(4);
    let taken: usize = image.nodes().chain(image.chain_nodes()).map(room).sum();
    assert_eq!(taken + image.garbage, image.nodes.len().next_multiple_of(4));
    let mut name = KeyedName::default();
    for node in image.nodes() {
        name.set(&image.key, node.name()).unwrap();
        assert!(image.node(&name, name.labels()).unwrap().is(&node));
    }
}

/// Changes an image in each of the ways that there are.
fn assert_leads_to(old: &Image, difference: &Difference, new: &Image) {
    let after = Afterwards::of(old, difference, Additions::AreNew).unwrap();
    let patched = old.patched(&after).unwrap();
    assert_same(&patched, new);
    assert_same(&patched.compacted(), new);
    assert_same(&old.built_anew(&after).unwrap(), new);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_changed_image_is_the_one_that_is_built(
        begin in prop::collection::vec(toggle(), 0..60),
        steps in prop::collection::vec(prop::collection::vec(change(), 1..8), 1..8),
    ) {
        let mut model = Model::new(1, &begin);
        let mut image = model.build().unwrap();
        for step in steps {
            let mut next = model.clone();
            next.serial += 1;
            step.iter().for_each(|change| next.change(change));
            let sent = model.difference(&next);
            let Ok(new) = next.build() else {
                prop_assert!(matches!(image.apply(&sent), Err(Mismatch::Faulty(_))));
                let after = Afterwards::of(&image, &sent, Additions::AreNew).unwrap();
                prop_assert!(matches!(image.patched(&after), Err(Mismatch::Faulty(_))));
                continue;
            };
            let difference = Difference::between(&image, &new).unwrap();
            assert_leads_to(&image, &difference, &new);
            // What a transfer brings differs in TTLs alone: an image has one a set.
            let identity = |record: Record<'_>| (record.owner.to_vec(), record.rtype, record.data.to_vec());
            let records = |image: &Image| image.each_record().map(identity).collect::<Vec<_>>();
            prop_assert_eq!(records(&image.apply(&sent).unwrap()), records(&new));
            (model, image) = (next, image.apply(&difference).unwrap());
        }
    }

    #[test]
    fn many_steps_one_by_one_and_at_once(
        begin in prop::collection::vec(toggle(), 0..60),
        steps in prop::collection::vec(prop::collection::vec(change(), 1..4), 50),
        cut in 1..50_usize,
    ) {
        let mut model = Model::new(u32::MAX - 20, &begin);
        let first = model.build().unwrap();
        let mut patched = first.clone();
        let mut differences = Vec::new();
        let mut built = first.clone();
        for step in steps {
            let mut next = model.clone();
            next.serial = next.serial.wrapping_add(1);
            step.iter().for_each(|change| next.change(change));
            let Ok(new) = next.build() else { continue };
            let difference = Difference::between(&built, &new).unwrap();
            patched = patched.patched(&Afterwards::of(&patched, &difference, Additions::AreNew).unwrap()).unwrap();
            assert_tidy(&patched);
            differences.push(difference);
            (model, built) = (next, new);
        }
        assert_same(&patched, &built);
        if differences.is_empty() {
            return Ok(());
        }
        let whole = Difference::merge(&differences).unwrap();
        prop_assert_eq!((whole.from_serial(), whole.to_serial()), (first.serial(), built.serial()));
        prop_assert!(whole.octets() <= Difference::between(&first, &built).unwrap().octets());
        assert_leads_to(&first, &whole, &built);
        assert_same(&first.apply_all(&differences).unwrap(), &built);
        let cut = cut.min(differences.len() - 1).max(1);
        if cut < differences.len() {
            let two = [Difference::merge(&differences[..cut]).unwrap(), Difference::merge(&differences[cut..]).unwrap()];
            assert_same(&first.apply_all(&two).unwrap(), &built);
        }
    }
}

#[test]
fn a_cut_that_comes_and_goes_covers_and_uncovers() {
    let record = |owner: &str, rtype: u16, data: Vec<u8>| Toggle { owner: wire(owner), rtype, ttl: 60, data };
    let cut = record("a.zone.test", rtype::NS, wire("ns.a.zone.test"));
    let dname = record("a.zone.test", rtype::DNAME, wire("other.test"));
    let hashed = [
        record("zone.test", rtype::NSEC3PARAM, PARAMETERS[0].to_vec()),
        record(&format!("{}.zone.test", HASHES[1]), rtype::NSEC3, [PARAMETERS[0], &[20], &[0; 20]].concat()),
    ];
    let below = [
        record("b.a.zone.test", rtype::NS, wire("ns.b.a.zone.test")),
        record("ns.b.a.zone.test", rtype::A, vec![192, 0, 2, 1]),
        record("*.a.zone.test", rtype::A, vec![192, 0, 2, 2]),
        record("c.a.zone.test", rtype::A, vec![192, 0, 2, 3]),
    ];
    for hashes in [&[][..], &hashed] {
        for steps in [vec![&cut, &cut], vec![&cut, &dname, &cut, &dname], vec![&below[0], &cut, &below[0], &cut]] {
            let mut model = Model::new(1, &[hashes, &below].concat());
            let mut image = model.build().unwrap();
            for toggle in steps {
                model.toggle(toggle);
                model.serial += 1;
                let new = model.build().unwrap();
                let difference = Difference::between(&image, &new).unwrap();
                assert_leads_to(&image, &difference, &new);
                image = image.patched(&Afterwards::of(&image, &difference, Additions::AreNew).unwrap()).unwrap();
            }
        }
    }
}

#[test]
fn empty_non_terminals_come_and_go_with_what_is_below() {
    for (before, toggled) in [
        // The name that goes stays as an empty non-terminal of one that comes.
        (&["a"][..], &["a", "b.a"][..]),
        // And the other way round.
        (&["b.a"], &["b.a", "a"]),
        // All of a branch goes, empty non-terminals with it, up to the one that is needed.
        (&["c.b.a", "d.a"], &["c.b.a"]),
        (&["c.b.a", "d.c.b.a", "a.c.b.a"], &["c.b.a", "d.c.b.a", "a.c.b.a"]),
        // Two branches that share what is missing above come at once.
        (&[], &["a.c.b.a", "b.c.b.a", "*.b.a"]),
        (&["z"], &["b.c", "a.b.c", "z"]),
    ] {
        let toggles =
            |names: &[&str]| names.iter().map(|name| Toggle::address(&format!("{name}.{APEX}"))).collect::<Vec<_>>();
        let one = Model::new(1, &toggles(before));
        let mut two = Model { serial: 2, ..one.clone() };
        toggles(toggled).iter().for_each(|toggle| two.toggle(toggle));
        let (old, new) = (one.build().unwrap(), two.build().unwrap());
        assert_leads_to(&old, &Difference::between(&old, &new).unwrap(), &new);
        assert_leads_to(&new, &two.difference(&Model { serial: 3, ..one.clone() }), &{
            Model { serial: 3, ..one }.build().unwrap()
        });
    }
}

#[test]
fn what_does_not_fit_is_refused_and_named() {
    let a = |last: u8| Toggle { owner: wire("a.zone.test"), rtype: rtype::A, ttl: 60, data: vec![192, 0, 2, last] };
    let one = Model::new(1, &[a(1)]);
    let two = Model { serial: 2, ..Model::new(2, &[a(2)]) };
    let image = one.build().unwrap();
    let difference = one.difference(&two);
    assert!(image.apply(&difference).is_ok());
    let other = Model::new(1, &[a(2)]).build().unwrap();
    assert_eq!(other.apply(&difference).unwrap_err(), Mismatch::NotThere("a.zone.test. type 1".into()));
    let both = Model::new(1, &[a(1), a(2)]).build().unwrap();
    assert_eq!(both.apply(&difference).unwrap_err(), Mismatch::There("a.zone.test. type 1".into()));
    // Taken loosely, what is there already is no fault; what is missing still is.
    assert_same(&both.apply_loosely(&difference).unwrap(), &two.build().unwrap());
    assert_eq!(other.apply_loosely(&difference).unwrap_err(), Mismatch::NotThere("a.zone.test. type 1".into()));
    let later = image.apply(&difference).unwrap();
    assert_eq!(later.apply(&difference).unwrap_err(), Mismatch::Serial { have: 2, wanted: 1 });
    let mut elsewhere = Builder::new("test".parse().unwrap(), HashKey::from_seed([1; 16]));
    elsewhere.push(&wire("test"), rtype::SOA, 60, &one.soa(), Place::default()).unwrap();
    elsewhere.push(&wire("test"), rtype::NS, 60, &wire("ns.test"), Place::default()).unwrap();
    assert_eq!(elsewhere.finish().unwrap().apply(&difference).unwrap_err(), Mismatch::Zone);
    // Without its NS record it is no zone; a CNAME stands alone.
    for toggle in [
        Toggle { owner: wire(APEX), rtype: rtype::NS, ttl: 60, data: wire("ns.zone.test") },
        Toggle { owner: wire("a.zone.test"), rtype: rtype::CNAME, ttl: 60, data: wire("x.test") },
    ] {
        let mut faulty = Model { serial: 2, ..one.clone() };
        faulty.toggle(&toggle);
        let difference = one.difference(&faulty);
        assert!(matches!(image.apply(&difference), Err(Mismatch::Faulty(_))));
        let after = Afterwards::of(&image, &difference, Additions::AreNew).unwrap();
        assert!(matches!(image.patched(&after), Err(Mismatch::Faulty(_))));
    }
}

#[test]
fn spelling_and_ttl_of_what_is_removed_do_not_count() {
    let mx = |ttl: u32, name: &[u8]| Toggle {
        owner: wire("a.zone.test"),
        rtype: rtype::MX,
        ttl,
        data: [&[0, 1], name].concat(),
    };
    let image = Model::new(1, &[mx(60, b"\x04Mail\x04test\0")]).build().unwrap();
    let sent = Model::new(1, &[mx(50, b"\x04mAIL\x04test\0")]).difference(&Model::new(2, &[]));
    assert_same(&image.apply(&sent).unwrap(), &Model::new(2, &[]).build().unwrap());
}

#[test]
fn an_image_that_is_changed_often_is_laid_out_anew() {
    let text = |length: usize| Toggle {
        owner: wire("a.zone.test"),
        rtype: rtype::TXT,
        ttl: 60,
        data: [&[length as u8][..], &vec![b'x'; length]].concat(),
    };
    let mut model = Model::new(1, &[text(0)]);
    for i in 0..8 {
        let data = vec![192, 0, 2, i];
        model.toggle(&Toggle { owner: wire(&format!("{i}.zone.test")), rtype: rtype::A, ttl: 60, data });
    }
    let mut image = model.build().unwrap();
    let mut compacted = 0;
    for length in 1..200 {
        model.serial += 1;
        model.toggle(&text(length - 1));
        model.toggle(&text(length));
        let new = model.build().unwrap();
        let garbage = image.garbage;
        image = image.apply(&Difference::between(&image, &new).unwrap()).unwrap();
        assert_same(&image, &new);
        assert!(image.garbage <= image.nodes.len() / GARBAGE_DIVISOR);
        compacted += usize::from(image.garbage < garbage);
    }
    assert!(compacted > 2);
}

#[test]
fn a_new_chain_is_taken_into_use() {
    let parameters =
        |i: usize| Toggle { owner: wire(APEX), rtype: rtype::NSEC3PARAM, ttl: 0, data: PARAMETERS[i].into() };
    let link = |hash: usize, i: usize| Toggle {
        owner: wire(&format!("{}.{APEX}", HASHES[hash])),
        rtype: rtype::NSEC3,
        ttl: 60,
        data: [PARAMETERS[i], &[20], &[0; 20]].concat(),
    };
    let used = |image: &Image| match image.denial() {
        Denial::Nsec3(parameters) => PARAMETERS.iter().position(|data| parameters.are_those_of(data)),
        _ => None,
    };
    assert_eq!(Nsec3Parameters::read(PARAMETERS[1]).unwrap().iterations, 1);
    let mut model = Model::new(1, &[]);
    let mut image = model.build().unwrap();
    for (toggle, expected) in [
        (link(1, 0), None),
        (parameters(1), None),
        (link(2, 1), Some(1)),
        (parameters(0), Some(0)),
        (link(1, 0), Some(1)),
        (link(3, 0), Some(0)),
        (parameters(0), Some(1)),
        (link(2, 1), None),
    ] {
        model.serial += 1;
        model.toggle(&toggle);
        let new = model.build().unwrap();
        assert_eq!(used(&new), expected, "{toggle:?}");
        let difference = Difference::between(&image, &new).unwrap();
        assert_leads_to(&image, &difference, &new);
        image = image.patched(&Afterwards::of(&image, &difference, Additions::AreNew).unwrap()).unwrap();
    }
}

#[test]
fn signatures_that_cover_nothing_are_a_set_of_their_own() {
    let hash_owner = format!("{}.{APEX}", HASHES[1]);
    let record = |owner: &str, rtype: u16, data: Vec<u8>| Toggle { owner: wire(owner), rtype, ttl: 60, data };
    let text = record(&hash_owner, rtype::TXT, b"\x01x".to_vec());
    let nsec3 = record(&hash_owner, rtype::NSEC3, [PARAMETERS[0], &[20], &[0; 20]].concat());
    let signed = record("a.zone.test", rtype::A, vec![192, 0, 2, 1]);
    let (orphan, signature_of_a) = (signature(rtype::MX, 1), signature(rtype::A, 1));
    let model = Model::new(
        1,
        &[
            text.clone(),
            nsec3.clone(),
            record(&hash_owner, rtype::RRSIG, signature(rtype::NSEC3, 1)),
            signed.clone(),
            record("a.zone.test", rtype::RRSIG, orphan.clone()),
            record("a.zone.test", rtype::RRSIG, signature_of_a.clone()),
        ],
    );
    let image = model.build().unwrap();
    let sets = |image: &Image, owner: &str| {
        let name = KeyedName::new(&image.key, &wire(owner)).unwrap();
        let node = image.node(&name, name.labels()).unwrap();
        node.rrsets().map(|set| (set.rtype, all(set.records), all(set.signatures))).collect::<Vec<_>>()
    };
    let a = (rtype::A, vec![signed.data.clone()], vec![signature_of_a.clone()]);
    assert_eq!(sets(&image, "a.zone.test"), [a, (rtype::RRSIG, vec![orphan.clone()], vec![])]);
    // The NSEC3 set stands in the chain, what else the owner has among the names.
    assert_eq!(sets(&image, &hash_owner), [(rtype::TXT, vec![text.data.clone()], vec![])]);
    let link = image.chain_nodes().next().unwrap();
    assert_eq!(link.rrsets().map(|set| set.rtype).collect::<Vec<_>>(), [rtype::NSEC3]);
    assert_eq!(all(link.rrset(rtype::NSEC3).unwrap().signatures), [signature(rtype::NSEC3, 1)]);
    // What the signature of A covers goes: it covers nothing either.
    let mut later = Model { serial: 2, ..model.clone() };
    later.toggle(&signed);
    later.toggle(&text);
    let later = later.build().unwrap();
    let difference = Difference::between(&image, &later).unwrap();
    assert_eq!(difference.records(), 4, "two SOAs, two removals: {:?}", difference.removed().collect::<Vec<_>>());
    assert_leads_to(&image, &difference, &later);
    assert_eq!(sets(&later, "a.zone.test"), [(rtype::RRSIG, vec![signature_of_a, orphan], vec![])]);
    let name = KeyedName::new(&later.key, &wire(&hash_owner)).unwrap();
    assert!(later.node(&name, name.labels()).is_none());
}

#[test]
fn a_difference_that_is_too_large_is_refused() {
    let one = Model::new(1, &[]);
    let (apex, soa) = (wire(APEX), one.soa());
    let soa = Record { owner: &apex, rtype: rtype::SOA, ttl: 300, data: &soa };
    let mut writer = Writer::begin(soa, 100).unwrap();
    assert_eq!(writer.remove(Record { rtype: rtype::TXT, data: &[b'x'; 100], ..soa }), Err(Unfit::TooLarge));
}
