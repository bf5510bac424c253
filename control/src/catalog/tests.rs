//! Catalogs as master files are read and compared; catalogs that are made are read again.

use std::collections::BTreeSet;

use proptest::prelude::*;
use ringdns_shard::wire::name::HashKey;
use ringdns_shard::zone::{self, Builder, Place};

use super::*;

const HEAD: &str = "$TTL 60\n@ SOA invalid. invalid. 1 3600 600 2147483646 0\n@ NS invalid.\n";
const VERSION: &str = "version TXT 2\n";

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn builder(apex: &Name) -> Builder {
    Builder::new(apex.clone(), HashKey::from_seed([7; 16]))
}

/// The catalog `cat.test` with these lines of a master file behind its SOA and NS.
fn image(lines: &str) -> Image {
    let apex = name("cat.test");
    let mut zone = builder(&apex);
    let mut take = |r: zone::file::Record<'_>| zone.push(r.owner, r.rtype, r.ttl, r.rdata, r.place);
    let text = format!("{HEAD}{lines}");
    zone::file::read(&apex, "cat", text.as_bytes(), &mut |_, _| Err("no files".to_owned()), &mut take).unwrap();
    zone.finish().unwrap()
}

/// What a catalog of version 2 with these lines lists.
fn catalog(lines: &str) -> Catalog {
    read(&image(&format!("{VERSION}{lines}"))).unwrap()
}

fn faults(lines: &str) -> String {
    read(&image(lines)).unwrap_err().join("\n")
}

fn entry(label: &str, groups: &[&str], coo: Option<&str>) -> Entry {
    let groups = groups.iter().map(|group| group.as_bytes().into()).collect();
    Entry { label: label.as_bytes().into(), groups, coo: coo.map(name) }
}

#[test]
fn members_and_their_properties_are_read() {
    let catalog = catalog(
        "a1.zones PTR A.example.test.\nB2.zones 0 PTR b.example.test.\nc3.zones PTR .\n\
         group.a1.zones TXT \"two\" \"fold\"\ngroup.a1.zones TXT one\ncoo.b2.zones PTR New.test.\n",
    );
    let members = [
        (name("."), entry("c3", &[], None)),
        (name("a.example.test"), entry("a1", &["one", "twofold"], None)),
        (name("b.example.test"), entry("b2", &[], Some("new.test"))),
    ];
    assert_eq!(catalog.members, BTreeMap::from(members));
    assert_eq!(super::read(&image(VERSION)), Ok(Catalog::default()), "no members are no mistake");
}

#[test]
fn what_means_nothing_is_passed_over() {
    let catalog = catalog(
        "www A 192.0.2.1\nzones PTR x.test.\nzones TXT x\na1.zones PTR a.test.\na1.zones TXT x\n\
         b2.zones TXT \"no member\"\ngroup.b2.zones TXT g\ncoo.b2.zones PTR new.test.\n\
         x.ext TXT 1\ny.ext PTR y.test.\nversion.ext TXT 9\na1.ext.zones PTR z.test.\nserial.a1.zones TXT 5\n\
         group.a1.zones PTR g.test.\ncoo.a1.zones TXT new.test.\nx.coo.a1.zones PTR w.test.\nversion PTR v.test.\n\
         a1.members PTR n.test.\nversion.zones PTR u.test.\nd NS ns.test.\n",
    );
    let members = [(name("a.test"), entry("a1", &[], None)), (name("u.test"), entry("version", &[], None))];
    assert_eq!(catalog.members, BTreeMap::from(members));
}

#[test]
fn broken_catalogs_are_told_from_whole_ones() {
    for (lines, fault) in [
        ("", "it has no schema version"),
        ("version PTR x.test.\n", "it has no schema version"),
        ("x.version TXT 2\n", "it has no schema version"),
        ("version TXT 1\n", "the schema version in version.cat.test. is \"1\"; only \"2\" is known"),
        ("version TXT \"\"\n", "is \"\"; only"),
        ("version TXT \"2 \"\n", "is \"2 \"; only"),
        ("version TXT 2\nversion TXT 3\n", "version.cat.test. has 2 TXT records where there must be one"),
        ("version TXT 2\na.zones PTR a.test.\na.zones PTR b.test.\n", "a.zones.cat.test. has 2 PTR records where"),
        (
            "version TXT 2\na.zones PTR a.test.\nb.zones PTR A.test.\n",
            "the member a.test. is listed twice, the second time by b.zones.cat.test.",
        ),
        (
            "version TXT 2\na.zones PTR a.test.\ncoo.a.zones PTR x.test.\ncoo.a.zones PTR y.test.\n",
            "coo.a.zones.cat.test. has 2 PTR records",
        ),
    ] {
        let found = faults(lines);
        assert!(found.contains(fault) && found.lines().count() == 1, "{lines}: {found}");
    }
    let twice: String = (0..15).map(|n| format!("m{n}.zones PTR a.test.\nm{n}.zones PTR b.test.\n")).collect();
    let found = faults(&twice);
    assert!(found.lines().count() == FAULTS_MAX + 1 && found.ends_with("\nand 6 more"), "{found}");
}

#[test]
fn there_are_only_so_many_members() {
    let apex = name("cat.test");
    let of = |count: usize| {
        let mut zone = builder(&apex);
        let members: Vec<(Name, String)> = (0..count).map(|n| (name(&format!("m{n}.test")), String::new())).collect();
        let most = &members[..count.min(MEMBERS_MAX)];
        let mut records = produce(&apex, most, None, 1).unwrap().unwrap();
        records.extend(members[most.len()..].iter().enumerate().map(|(n, (member, _))| Record {
            owner: name(&format!("more{n}.zones.cat.test")),
            rtype: rtype::PTR,
            ttl: 0,
            data: member.as_wire().to_vec(),
        }));
        for record in &records {
            zone.push(record.owner.as_wire(), record.rtype, record.ttl, &record.data, Place::default()).unwrap();
        }
        (members, read(&zone.finish().unwrap()).map(|catalog| catalog.members.len()))
    };
    assert_eq!(of(MEMBERS_MAX).1, Ok(MEMBERS_MAX));
    let (members, read) = of(MEMBERS_MAX + 2);
    assert_eq!(read, Err(vec!["there are more than 100000 members".to_owned()]));
    let refused = produce(&apex, &members, None, 1).unwrap_err();
    assert_eq!(refused, "the catalog cat.test. would have more than 100000 members");
}

#[test]
fn text_that_is_cut_short_is_read_as_far_as_it_goes() {
    assert_eq!(text(b"\x03abc\x00\x02de"), b"abcde");
    assert_eq!(text(b"\x05abc"), b"abc");
    assert_eq!(text(b""), b"");
}

/// Catalogs by name, `None` where they cannot be read, and what is configured by hand.
struct Scene {
    catalogs: Vec<(Name, Option<Catalog>)>,
    configured: BTreeSet<Name>,
    members: Members,
}

impl Scene {
    fn new(catalogs: &[(&str, &str)]) -> Scene {
        let mut scene = Scene { catalogs: Vec::new(), configured: BTreeSet::new(), members: Members::new() };
        scene.set(catalogs);
        scene
    }

    fn set(&mut self, catalogs: &[(&str, &str)]) {
        self.catalogs = catalogs.iter().map(|(of, lines)| (name(of), Some(catalog(lines)))).collect();
    }

    fn plan(&self) -> Plan {
        let sources: Vec<Source<'_>> =
            self.catalogs.iter().map(|(name, catalog)| Source { name, catalog: catalog.as_ref() }).collect();
        plan(&self.members, &sources, |name| self.configured.contains(name).then_some(Owner::Zone))
    }

    /// Carries out the plan. What it changes, and what it refuses.
    fn step(&mut self) -> (Vec<String>, Vec<String>) {
        let plan = self.plan();
        self.members = plan.members;
        let changes = plan.changes.iter().map(|(member, step)| format!("{step:?} {member}")).collect();
        (changes, plan.refused.iter().map(Refused::to_string).collect())
    }

    fn owner(&self, member: &str) -> String {
        self.members[&name(member)].catalog.to_string()
    }
}

fn none() -> Vec<String> {
    Vec::new()
}

fn only(change: &str) -> (Vec<String>, Vec<String>) {
    (vec![change.to_owned()], none())
}

#[test]
fn members_come_and_go() {
    let mut scene = Scene::new(&[("a", "1.zones PTR x.test.\n2.zones PTR y.test.\n")]);
    assert_eq!(scene.step(), (vec!["Added x.test.".to_owned(), "Added y.test.".to_owned()], none()));
    assert_eq!(scene.step(), (none(), none()));
    scene.set(&[("a", "2.zones PTR y.test.\n3.zones PTR z.test.\n")]);
    assert_eq!(scene.step(), (vec!["Removed x.test.".to_owned(), "Added z.test.".to_owned()], none()));
    scene.set(&[]);
    assert_eq!(scene.step(), (vec!["Removed y.test.".to_owned(), "Removed z.test.".to_owned()], none()));
}

#[test]
fn another_label_resets_and_another_group_does_not() {
    let mut scene = Scene::new(&[("a", "1.zones PTR x.test.\n")]);
    scene.step();
    scene.set(&[("a", "1.zones PTR x.test.\ngroup.1.zones TXT g\n")]);
    assert_eq!(scene.step(), only("Regrouped x.test."));
    assert_eq!(scene.members[&name("x.test")].groups, [b"g".as_slice().into()]);
    scene.set(&[("a", "2.zones PTR x.test.\ngroup.2.zones TXT h\n")]);
    assert_eq!(scene.step(), only("Reset x.test."));
    assert_eq!(&*scene.members[&name("x.test")].label, b"2");
}

#[test]
fn members_of_a_catalog_that_cannot_be_read_stay() {
    let mut scene = Scene::new(&[("a", "1.zones PTR x.test.\n")]);
    scene.step();
    scene.set(&[("a", ""), ("b", "1.zones PTR x.test.\n2.zones PTR y.test.\n")]);
    scene.catalogs[0].1 = None;
    let refused = "the catalog b. lists x.test., which belongs to the catalog a.".to_owned();
    assert_eq!(scene.step(), (vec!["Added y.test.".to_owned()], vec![refused]));
    assert_eq!(scene.owner("x.test"), "a.");
}

#[test]
fn zones_of_the_configuration_file_are_not_taken_over() {
    let mut scene = Scene::new(&[("a", "1.zones PTR x.test.\n2.zones PTR a.\n"), ("b", "1.zones PTR x.test.\n")]);
    scene.configured.extend([name("x.test"), name("a")]);
    let refused = |catalog: &str, member: &str| {
        format!("the catalog {catalog} lists {member}, which belongs to a [[zone]] of the configuration file")
    };
    let all = vec![refused("a.", "a."), refused("a.", "x.test."), refused("b.", "x.test.")];
    assert_eq!(scene.step(), (none(), all.clone()));
    scene.configured.remove(&name("x.test"));
    assert_eq!(scene.step().0, ["Added x.test."]);
    scene.configured.insert(name("x.test"));
    assert_eq!(scene.step(), (vec!["Removed x.test.".to_owned()], all));
    assert!(scene.members.is_empty());
    // Even when the catalog cannot be read.
    scene.configured.clear();
    scene.step();
    scene.configured.insert(name("x.test"));
    scene.catalogs[0].1 = None;
    assert_eq!(scene.step().0, ["Removed x.test."]);
}

#[test]
fn a_member_of_two_catalogs_keeps_its_owner() {
    let mut scene = Scene::new(&[("b", "1.zones PTR x.test.\n")]);
    scene.step();
    scene.set(&[
        ("a", "1.zones PTR x.test.\n2.zones PTR y.test.\n"),
        ("b", "1.zones PTR x.test.\n2.zones PTR y.test.\n"),
    ]);
    let (changes, refused) = scene.step();
    assert_eq!(changes, ["Added y.test."]);
    assert_eq!(
        refused,
        [
            "the catalog a. lists x.test., which belongs to the catalog b.",
            "the catalog b. lists y.test., which belongs to the catalog a."
        ]
    );
    // Gone from its owner, it is another's: what is kept of it is forgotten, whatever the label.
    scene.set(&[("a", "1.zones PTR x.test.\n2.zones PTR y.test.\n"), ("b", "")]);
    assert_eq!(scene.step(), only("Reset x.test."));
    assert_eq!(scene.owner("x.test"), "a.");
}

#[test]
fn a_member_moves_when_both_catalogs_say_so() {
    let plain = "1.zones PTR x.test.\n";
    let handed = "1.zones PTR x.test.\ncoo.1.zones PTR b.\n";
    let mut scene = Scene::new(&[("a", plain), ("b", "")]);
    scene.step();
    scene.set(&[("a", handed), ("b", "")]);
    assert_eq!(scene.step(), (none(), none()), "the new catalog does not list it yet");
    scene.set(&[("a", plain), ("b", plain)]);
    assert_eq!(scene.step().1.len(), 1, "the old catalog has not given it away");
    scene.set(&[("a", handed), ("b", plain)]);
    scene.catalogs[0].1 = None;
    assert_eq!(scene.step().0, none(), "the old catalog cannot be read");
    scene.set(&[("a", handed), ("b", plain)]);
    assert_eq!(scene.step(), only("Regrouped x.test."));
    assert_eq!(scene.owner("x.test"), "b.");
    assert_eq!(scene.step(), (none(), none()), "it stays with the new owner");
    scene.set(&[("a", plain), ("b", plain)]);
    assert_eq!(scene.step().0, none(), "it does not come back without a word of the new owner");
    scene.set(&[("a", ""), ("b", plain)]);
    assert_eq!(scene.step(), (none(), none()), "the old owner may drop it");
}

#[test]
fn a_move_with_another_label_resets() {
    let old = |label: &str| format!("{label}.zones PTR x.test.\ncoo.{label}.zones PTR b.\n");
    for (before, handed, after, expected) in [
        ("1", "1", "1", "Regrouped x.test."),
        ("1", "1", "2", "Reset x.test."),
        ("1", "2", "2", "Reset x.test."),
        ("1", "2", "1", "Reset x.test."),
    ] {
        let mut scene = Scene::new(&[("a", &format!("{before}.zones PTR x.test.\n"))]);
        scene.step();
        scene.set(&[("a", &old(handed)), ("b", &format!("{after}.zones PTR x.test.\n"))]);
        assert_eq!(scene.step(), only(expected), "{before} {handed} {after}");
    }
}

#[test]
fn circles_of_owners_come_to_rest() {
    let to = |catalog: &str| format!("1.zones PTR x.test.\ncoo.1.zones PTR {catalog}.\n");
    let mut scene = Scene::new(&[("a", &to("b")), ("b", &to("a"))]);
    let refused = vec!["the catalog b. lists x.test., which belongs to the catalog a.".to_owned()];
    assert_eq!(scene.step(), (vec!["Added x.test.".to_owned()], refused.clone()));
    assert_eq!(scene.step(), (none(), refused));
    // A chain is followed to its end at once.
    scene.set(&[("a", &to("b")), ("b", &to("c")), ("c", "1.zones PTR x.test.\n")]);
    assert_eq!(scene.step(), only("Regrouped x.test."));
    assert_eq!(scene.owner("x.test"), "c.");
    // One that points to itself stays.
    scene.set(&[("c", &to("c"))]);
    assert_eq!(scene.step(), (none(), none()));
}

/// The image of what was made.
fn built(catalog: &Name, records: &[Record]) -> Image {
    let mut zone = builder(catalog);
    for Record { owner, rtype, ttl, data } in records {
        zone.push(owner.as_wire(), *rtype, *ttl, data, Place::default()).unwrap();
    }
    zone.finish().unwrap()
}

fn listing(members: &[(&str, &str)]) -> Vec<(Name, String)> {
    members.iter().map(|(member, group)| (name(member), (*group).to_owned())).collect()
}

fn made(members: &[(&str, &str)], old: Option<&Image>, serial: u32) -> Option<Image> {
    let catalog = name("cat.test");
    produce(&catalog, &listing(members), old, serial).unwrap().map(|records| built(&catalog, &records))
}

fn label(image: &Image, member: &str) -> String {
    String::from_utf8(read(image).unwrap().members[&name(member)].label.to_vec()).unwrap()
}

#[test]
fn what_is_made_can_be_read() {
    let image = made(&[("x.test", ""), ("Y.test", "g h"), (".", "\u{e4}")], None, 7).unwrap();
    assert_eq!((image.serial(), image.records()), (7, 3 + 3 + 2));
    let soa = image.soa();
    assert_eq!((soa.ttl, &soa.first()[..18]), (0, &b"\x07invalid\0\x07invalid\0"[..]));
    let catalog = read(&image).unwrap();
    let groups = |member: &str| catalog.members[&name(member)].groups.clone();
    assert_eq!(groups("x.test"), Vec::<Box<[u8]>>::new());
    assert_eq!(groups("y.test"), [b"g h".as_slice().into()]);
    assert_eq!(groups("."), ["\u{e4}".as_bytes().into()]);
    assert!(catalog.members.values().all(|entry| entry.label.len() == UNIQUE_OCTETS && entry.coo.is_none()));
    assert_eq!(read(&made(&[], None, 7).unwrap()), Ok(Catalog::default()));
}

#[test]
fn the_serial_grows_when_something_changes_and_only_then() {
    let first = made(&[("x.test", "g")], None, 100).unwrap();
    assert!(made(&[("x.test", "g")], Some(&first), 200).is_none());
    assert_eq!(made(&[("x.test", "")], Some(&first), 200).unwrap().serial(), 200);
    assert_eq!(made(&[("x.test", "h")], Some(&first), 100).unwrap().serial(), 101);
    assert_eq!(made(&[("x.test", "g"), ("y.test", "")], Some(&first), 5).unwrap().serial(), 101);
    assert_eq!(made(&[("y.test", "g")], Some(&first), 101).unwrap().serial(), 101);
    let last = made(&[], Some(&first), u32::MAX).unwrap();
    assert_eq!(last.serial(), 101, "4294967295 comes before 100");
    assert!(made(&[], Some(&last), 200).is_none(), "a catalog without members is one, too");
    let high = made(&[("x.test", "")], None, u32::MAX).unwrap();
    assert_eq!(made(&[], Some(&high), u32::MAX).unwrap().serial(), 0);
    assert_eq!(made(&[], Some(&high), 5).unwrap().serial(), 5);
}

#[test]
fn a_member_keeps_its_label_until_it_goes() {
    let first = made(&[("x.test", ""), ("y.test", "")], None, 1).unwrap();
    let again = made(&[("y.test", ""), ("x.test", "")], None, 9).unwrap();
    assert_eq!(label(&first, "x.test"), label(&again, "x.test"), "the first labels follow from the names");
    let second = made(&[("x.test", "g"), ("z.test", "")], Some(&first), 2).unwrap();
    assert_eq!(label(&first, "x.test"), label(&second, "x.test"));
    let third = made(&[("x.test", "g"), ("y.test", ""), ("z.test", "")], Some(&second), 3).unwrap();
    assert_eq!(label(&second, "z.test"), label(&third, "z.test"));
    assert_ne!(label(&first, "y.test"), label(&third, "y.test"), "it was gone");
}

#[test]
fn labels_that_are_taken_are_passed_over() {
    let x = label(&made(&[("x.test", "")], None, 1).unwrap(), "x.test");
    let taken = Entry { label: x.as_bytes().into(), groups: Vec::new(), coo: None };
    let listed = Catalog { members: BTreeMap::from([(name("y.test"), taken)]) };
    let names = [name("x.test"), name("y.test")];
    let members = names.iter().map(|name| (name, "")).collect();
    let labels = labelled(&members, &listed, 0);
    let next = u64::from_str_radix(&x, 16).unwrap().wrapping_add(1);
    assert_eq!(&*labels[&names[1]], x.as_bytes());
    assert_eq!(&*labels[&names[0]], format!("{next:016x}").as_bytes());
}

#[test]
fn a_catalog_that_cannot_be_read_is_made_anew() {
    let broken = image("version TXT 1\n");
    assert_eq!(made(&[], Some(&broken), 0).unwrap().serial(), 2);
    let strange = image("version TXT 2\na-label-that-is-longer-than-ours.zones PTR x.test.\n");
    assert_eq!(label(&made(&[("x.test", "g")], Some(&strange), 0).unwrap(), "x.test").len(), UNIQUE_OCTETS);
    let handed = image("version TXT 2\n1.zones PTR x.test.\ncoo.1.zones PTR b.\n");
    assert!(read(&made(&[("x.test", "")], Some(&handed), 0).unwrap()).unwrap().members[&name("x.test")].coo.is_none());
}

#[test]
fn the_longest_names_fit() {
    let catalog = name(&format!("{}.{}.{}.{}", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(32)));
    assert_eq!(catalog.as_wire().len(), PRODUCED_NAME_OCTETS_MAX);
    let records = produce(&catalog, &listing(&[("x.test", &"g".repeat(300))]), None, 1).unwrap().unwrap();
    assert_eq!(records.iter().map(|record| record.owner.as_wire().len()).max(), Some(255));
    let read = read(&built(&catalog, &records)).unwrap();
    assert_eq!(read.members[&name("x.test")].groups, ["g".repeat(300).into_bytes().into_boxed_slice()]);
}

fn any_catalog() -> impl Strategy<Value = Option<Catalog>> {
    let entry = (0..3u8, 0..3u8, 0..6u8).prop_map(|(label, group, coo)| Entry {
        label: [b'0' + label].into(),
        groups: if group == 0 { Vec::new() } else { vec![[b'0' + group].into()] },
        coo: (coo < 4).then(|| name(&format!("cat{coo}"))),
    });
    let members = prop::collection::btree_map((0..4u8).prop_map(|n| name(&format!("m{n}.test"))), entry, 0..4);
    prop::option::weighted(0.8, members.prop_map(|members| Catalog { members }))
}

proptest! {
    #[test]
    fn plans_come_to_rest_and_keep_to_what_is_listed(
        rounds in prop::collection::vec((prop::collection::vec(any_catalog(), 0..4), 0..6u8), 1..5)
    ) {
        let mut members = Members::new();
        for (catalogs, configured) in rounds {
            let names: Vec<Name> = (0..catalogs.len()).map(|n| name(&format!("cat{n}"))).collect();
            let sources: Vec<Source<'_>> =
                names.iter().zip(&catalogs).map(|(name, catalog)| Source { name, catalog: catalog.as_ref() }).collect();
            let by_hand = name(&format!("m{configured}.test"));
            let first = plan(&members, &sources, |name| (*name == by_hand).then_some(Owner::Route));
            let second = plan(&first.members, &sources, |name| (*name == by_hand).then_some(Owner::Route));
            prop_assert_eq!(&second.changes, &Vec::new());
            prop_assert_eq!(&second.members, &first.members);
            prop_assert_eq!(&second.refused, &first.refused);
            prop_assert!(!first.members.contains_key(&by_hand));
            for (member, owned) in &first.members {
                let source = sources.iter().find(|source| *source.name == owned.catalog).unwrap();
                match source.catalog {
                    None => prop_assert_eq!(members.get(member), Some(owned)),
                    Some(catalog) => {
                        let entry = &catalog.members[member];
                        prop_assert_eq!((&entry.label, &entry.groups), (&owned.label, &owned.groups));
                    }
                }
            }
            // Every listing is served, handed over, or refused.
            for source in &sources {
                for (member, entry) in source.catalog.iter().flat_map(|catalog| &catalog.members) {
                    let refused = first.refused.iter().any(|r| r.catalog == *source.name && r.member == *member);
                    let owner = first.members.get(member).map(|owned| &owned.catalog);
                    prop_assert!(refused != (owner == Some(source.name) || (owner.is_some() && !refused && entry.coo.is_some())));
                }
            }
            // The changes are the difference.
            for (member, step) in &first.changes {
                let (before, after) = (members.get(member), first.members.get(member));
                prop_assert_eq!(
                    (before.is_some(), after.is_some()),
                    match step {
                        Step::Added => (false, true),
                        Step::Removed => (true, false),
                        Step::Reset | Step::Regrouped => (true, true),
                    }
                );
                prop_assert!(*step != Step::Regrouped || before.unwrap().label == after.unwrap().label);
            }
            let changed: BTreeSet<&Name> = first.changes.iter().map(|(member, _)| member).collect();
            prop_assert_eq!(changed.len(), first.changes.len());
            for member in members.keys().chain(first.members.keys()).filter(|member| !changed.contains(member)) {
                prop_assert_eq!(members.get(member), first.members.get(member));
            }
            members = first.members;
        }
    }

    #[test]
    fn what_is_made_lists_what_was_given(
        rounds in prop::collection::vec(
            prop::collection::btree_map(0..6u8, prop::option::of("[a-c]{1,3}"), 0..6),
            1..6,
        )
    ) {
        let catalog = name("cat.test");
        let mut old: Option<Image> = None;
        for round in rounds {
            let members: Vec<(Name, String)> = round
                .into_iter()
                .map(|(n, group)| (name(&format!("m{n}.test")), group.unwrap_or_default()))
                .collect();
            let before = old.as_ref().map(|old| (old.serial(), read(old).unwrap()));
            let Some(records) = produce(&catalog, &members, old.as_ref(), 0).unwrap() else {
                let (_, listed) = before.unwrap();
                prop_assert!(lists(&listed, &members.iter().map(|(member, group)| (member, group.as_str())).collect()));
                continue;
            };
            let image = built(&catalog, &records);
            let now = read(&image).unwrap();
            prop_assert_eq!(now.members.keys().collect::<BTreeSet<_>>(), members.iter().map(|(member, _)| member).collect());
            for (member, group) in &members {
                let groups: Vec<Box<[u8]>> = if group.is_empty() { Vec::new() } else { vec![group.as_bytes().into()] };
                prop_assert_eq!(&now.members[member].groups, &groups);
            }
            if let Some((serial, before)) = before {
                prop_assert!(newer(image.serial(), serial));
                prop_assert!(before != now);
                for (member, entry) in before.members.iter().filter(|(member, _)| now.members.contains_key(member)) {
                    prop_assert_eq!(&entry.label, &now.members[member].label);
                }
            }
            old = Some(image);
        }
    }
}
