//! A zone of arbitrary records is built, asked, changed step by step and transferred. An image that was changed must be
//! the one that is built from all its records, in everything that can be asked of it, down to the octets of its replies.
#![no_main]

use std::mem::Discriminant;
use std::sync::Arc;

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use ringdns_fuzz::records::{Made, OwnerPick, RecordPick};
use ringdns_fuzz::request::{Octets, Rare, TypePick};
use ringdns_fuzz::{reply, world};
use ringdns_shard::limits::{MESSAGE_OCTETS_MAX, UDP_REPLY_OCTETS_MAX};
use ringdns_shard::transfer::{Ask, Asked, Bounds, Content, Incoming, Outgoing, Progress, Received};
use ringdns_shard::tsig::{self, Checked, Signer};
use ringdns_shard::wire::message::HEADER_OCTETS;
use ringdns_shard::wire::name::{self, KeyedName, Name};
use ringdns_shard::wire::rdata::rtype;
use ringdns_shard::wire::serial::newer;
use ringdns_shard::zone::difference::{Difference, Writer};
use ringdns_shard::zone::image::{Node, Record};
use ringdns_shard::zone::journal::Journal;
use ringdns_shard::zone::proof::Proof;
use ringdns_shard::zone::{Builder, Image, Place, lookup};
use ringdns_shard::{Client, Outcome, Shard, Time, Transport};

/// Records of the first zone, and of each step.
const RECORDS_MAX: usize = 32;
const STEPS_MAX: usize = 4;
const EDITS_MAX: usize = 8;
/// Names that each zone is asked for: its own, and others.
const NAMES_MAX: usize = 16;
const OTHER_NAMES_MAX: usize = 12;
/// Octets of data from which on a record may fit no message: beside it stand header, question, owner and signature.
const LONG_OCTETS: usize = MESSAGE_OCTETS_MAX - 1_024;
const NOW: u64 = 1_700_000_000;
const ID: u16 = 0x5aa5;

/// Types that names are asked for.
const TYPES: [u16; 11] = [
    rtype::A,
    rtype::NS,
    rtype::CNAME,
    rtype::DNAME,
    rtype::DS,
    rtype::MX,
    rtype::NSEC,
    rtype::NSEC3,
    rtype::RRSIG,
    rtype::TXT,
    rtype::ANY,
];

/// A record put in, or one taken out.
#[derive(Debug, Arbitrary)]
enum Edit<'a> {
    Put(RecordPick<'a>),
    Take(u8),
    /// With all others of its owner.
    Clear(u8),
}

fuzz_target!(|data: &[u8]| {
    let _ = run(&mut Unstructured::new(data));
});

fn run(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let apex = world::name(["zone.test", ".", "a.b.zone.test"][usize::from(input.arbitrary::<u8>()?) % 3]);
    let mut records = fillers(&apex, input.arbitrary::<u8>()? % 32);
    for _ in 0..input.arbitrary::<u8>()? as usize % (RECORDS_MAX + 1) {
        records.push(input.arbitrary::<RecordPick<'_>>()?.record(&apex));
    }
    let names: Vec<Vec<u8>> = (0..input.arbitrary::<u8>()? as usize % (OTHER_NAMES_MAX + 1))
        .map(|_| Ok(input.arbitrary::<OwnerPick<'_>>()?.wire(&apex)))
        .collect::<arbitrary::Result<_>>()?;
    let qtype = input.arbitrary::<TypePick>()?.number();
    let mut serial = u32::MAX - 1;
    let Some(first) = build(&apex, serial, &mut records, 0) else { return Ok(()) };
    let first = Arc::new(first);
    rebuilt(&first);
    let names = names_of(&first, names);
    let mut steps = Vec::new();
    let mut image = Arc::clone(&first);
    for _ in 0..input.arbitrary::<u8>()? as usize % (STEPS_MAX + 1) {
        let kept = records.len();
        for _ in 0..input.arbitrary::<u8>()? as usize % (EDITS_MAX + 1) {
            edit(input.arbitrary()?, &apex, &mut records);
        }
        serial = serial.wrapping_add(input.arbitrary::<Rare<u8>>()?.0.unwrap_or(1).into());
        let Some(new) = build(&apex, serial, &mut records, kept) else { break };
        let Some(difference) = Difference::between(&image, &new) else {
            assert!(image.each_record().eq(new.each_record()));
            continue;
        };
        let patched = image.apply(&difference).expect("what was found between two images leads from one to the other");
        same(&patched, &new, &names);
        coded(&difference, input.arbitrary()?, &image, &names);
        strange(input, &patched, &names)?;
        image = Arc::new(patched);
        steps.push(Arc::new(difference));
    }
    let message_octets = 300 + usize::from(input.arbitrary::<u16>()?);
    let is_signed = input.arbitrary::<Rare<()>>()?.0.is_some();
    journal(&first, &image, &steps, &names);
    transfer(&first, &image, steps, message_octets, is_signed);
    questions(&image, &names, qtype);
    Ok(())
}

fn fillers(apex: &Name, count: u8) -> Vec<Made> {
    let made = |number: u8| {
        let owner = [&[2, b'f', b'0' + number][..], apex.as_wire()].concat();
        Made { owner, rtype: rtype::A, ttl: 60, data: vec![192, 0, 2, number] }
    };
    (0..count).map(made).collect()
}

fn edit(edit: Edit<'_>, apex: &Name, records: &mut Vec<Made>) {
    match edit {
        Edit::Put(pick) => records.push(pick.record(apex)),
        _ if records.is_empty() => {}
        Edit::Take(index) => drop(records.remove(usize::from(index) % records.len())),
        Edit::Clear(index) => {
            let owner = records[usize::from(index) % records.len()].owner.clone();
            records.retain(|record| !name::same(&record.owner, &owner));
        }
    }
}

fn soa(apex: &Name, serial: u32) -> Vec<u8> {
    [apex.as_wire(), apex.as_wire(), &serial.to_be_bytes(), &[0; 16]].concat()
}

/// The zone of the records. Those that are refused leave the list; where the zone as a whole is refused, so do those
/// from `kept` on that it cannot be with.
fn build(apex: &Name, serial: u32, records: &mut Vec<Made>, kept: usize) -> Option<Image> {
    let with = |records: &[Made]| {
        let mut builder = Builder::new(apex.clone(), world::key());
        let soa = soa(apex, serial);
        builder.push(apex.as_wire(), rtype::SOA, 60, &soa, Place::default()).expect("an SOA of ours");
        builder.push(apex.as_wire(), rtype::NS, 60, apex.as_wire(), Place::default()).expect("an NS of ours");
        for Made { owner, rtype, ttl, data } in records {
            builder.push(owner, *rtype, *ttl, data, Place::default()).expect("the record was taken before");
        }
        builder.finish().inspect_err(|faults| assert!(!faults.is_empty())).ok()
    };
    let mut judge = Builder::new(apex.clone(), world::key());
    records.retain(|made| judge.push(&made.owner, made.rtype, made.ttl, &made.data, Place::default()).is_ok());
    if let Some(image) = with(records) {
        return Some(image);
    }
    let mut at = kept.min(records.len());
    while at < records.len() {
        match with(&records[..=at]) {
            Some(_) => at += 1,
            None => drop(records.remove(at)),
        }
    }
    with(records)
}

/// The names of a zone, some below them, and others that lie in it.
fn names_of(image: &Image, others: Vec<Vec<u8>>) -> Vec<KeyedName> {
    // Those that were made, not those that fill the zone, come first.
    let own = image.nodes().chain(image.chain_nodes()).map(|node| node.name());
    let (fillers, mut own): (Vec<_>, Vec<_>) = own.partition(|name| name.starts_with(b"\x02f"));
    own.extend(fillers.into_iter().take(2));
    let below = own.iter().step_by(2).map(|name| [b"\x01x", *name].concat());
    let all = others.into_iter().chain(below).chain(own.iter().map(|name| name.to_vec()));
    all.filter_map(|name| KeyedName::new(&world::key(), &name)).take(NAMES_MAX).collect()
}

/// What is known of a node beside its records.
fn marks<'z>(image: &'z Image, node: Node<'z>) -> (&'z [u8], [bool; 4]) {
    let name = KeyedName::new(&world::key(), node.name()).expect("a node has a whole name");
    assert!(image.node(&name, name.labels()).is_some_and(|found| found.is(&node)), "the index has every name");
    (node.name(), [node.is_cut(), node.is_dname(), node.is_occluded(), node.is_empty()])
}

/// Fails unless both images are the same zone, laid out the same way as far as anybody can tell.
fn same(one: &Image, other: &Image, names: &[KeyedName]) {
    let numbers = |image: &Image| (image.records(), image.serial(), image.negative_ttl(), image.names());
    assert_eq!(numbers(one), numbers(other));
    assert_eq!(one.denial(), other.denial());
    assert!(one.each_record().eq(other.each_record()));
    assert!(one.nodes().map(|node| marks(one, node)).eq(other.nodes().map(|node| marks(other, node))));
    assert!(one.chain_nodes().map(|node| node.name()).eq(other.chain_nodes().map(|node| node.name())));
    for name in names {
        for qtype in TYPES {
            assert_eq!(says(one, name, qtype), says(other, name, qtype), "{name:?} {qtype}");
        }
        let [nsec, other_nsec] = [one, other].map(|image| image.nsec_at_or_before(name.as_wire()));
        let [nsec3, other_nsec3] = [one, other].map(|image| image.nsec3_at_or_before(name.name_hash()));
        for (a, b) in [(nsec, other_nsec), (nsec3, other_nsec3)] {
            assert_eq!(a.map(|(node, is)| (node.name(), is)), b.map(|(node, is)| (node.name(), is)));
        }
    }
}

/// What a zone says, and the owners of what proves it.
fn says<'z>(image: &'z Image, name: &KeyedName, qtype: u16) -> Says<'z> {
    use lookup::Outcome::*;
    let found = lookup::lookup(image, name, qtype);
    let mut proof = Proof::default();
    image.prove(name, &found, &mut proof);
    let set = match found.outcome {
        Answer(set) | Cname(set) | Dname(set) | Delegation(set) => Some(set),
        Any | Signatures | NoData | NxDomain => None,
    };
    let data = set.map_or_else(Default::default, |set| [set.records, set.signatures].map(|data| data.iter().collect()));
    let set = set.map(|set| (set.rtype, set.ttl));
    let owners = proof.owners().map(|node| node.name()).collect();
    Says {
        outcome: std::mem::discriminant(&found.outcome),
        set,
        data,
        node: found.node.name(),
        wildcard: found.wildcard,
        owners,
    }
}

#[derive(Debug, PartialEq)]
struct Says<'z> {
    outcome: Discriminant<lookup::Outcome<'z>>,
    /// Type and TTL.
    set: Option<(u16, u32)>,
    /// Records and signatures of the set.
    data: [Vec<&'z [u8]>; 2],
    node: &'z [u8],
    wildcard: bool,
    owners: Vec<&'z [u8]>,
}

/// The image from its records, which must be the same.
fn rebuilt(image: &Image) -> Image {
    let mut builder = Builder::new(image.apex().clone(), world::key());
    for Record { owner, rtype, ttl, data } in image.each_record() {
        builder.push(owner, rtype, ttl, data, Place::default()).expect("a record of an image");
    }
    let built = builder.finish().expect("the records of an image");
    same(image, &built, &[]);
    built
}

/// What is written and read is the same; what is changed on the way is refused, or fits the image, or not.
fn coded(difference: &Difference, changes: [(u16, u8); 2], image: &Image, names: &[KeyedName]) {
    let mut octets = Vec::new();
    difference.encode(&mut octets);
    assert_eq!(Difference::decode(&octets).as_ref(), Ok(difference));
    for (at, bits) in changes {
        let at = usize::from(at) % octets.len();
        octets[at] ^= bits;
    }
    if let Ok(changed) = Difference::decode(&octets) {
        applied(image, &changed, names);
    }
}

/// A difference of whatever records.
fn strange(input: &mut Unstructured<'_>, image: &Image, names: &[KeyedName]) -> arbitrary::Result<()> {
    let apex = image.apex();
    let (old, to) = (soa(apex, image.serial()), image.serial().wrapping_add(input.arbitrary::<u8>()?.into()));
    let new = soa(apex, to);
    let soa = |data| Record { owner: apex.as_wire(), rtype: rtype::SOA, ttl: 60, data };
    let mut writer = Writer::begin(soa(&old), 1 << 20).expect("an SOA of ours");
    let held: Vec<Record<'_>> = image.each_record().skip(1).collect();
    for _ in 0..input.arbitrary::<u8>()? as usize % EDITS_MAX {
        let _ = writer.remove(held[usize::from(input.arbitrary::<u8>()?) % held.len()]);
    }
    writer.begin_added(soa(&new)).expect("an SOA of ours");
    for _ in 0..input.arbitrary::<u8>()? as usize % EDITS_MAX {
        let Made { owner, rtype, ttl, data } = input.arbitrary::<RecordPick<'_>>()?.record(apex);
        let _ = writer.add(Record { owner: &owner, rtype, ttl, data: &data });
    }
    // What is there already, as some primaries send it.
    if let Some(again) = input.arbitrary::<Rare<u8>>()?.0 {
        let _ = writer.add(held[usize::from(again) % held.len()]);
    }
    applied(image, &writer.finish().expect("there are two SOAs"), names);
    let Octets(octets) = input.arbitrary()?;
    if let Ok(difference) = Difference::decode(octets) {
        applied(image, &difference, names);
    }
    Ok(())
}

/// Applies what may not fit.
fn applied(image: &Image, difference: &Difference, names: &[KeyedName]) {
    let loosely = image.apply_loosely(difference);
    if let Ok(new) = &loosely {
        assert_eq!(new.serial(), difference.to_serial());
        same(new, &rebuilt(new), names);
    }
    let Ok(new) = image.apply(difference) else { return };
    same(&new, &loosely.expect("what fits fits loosely too"), &[]);
    match Difference::between(image, &new) {
        None => assert!(image.each_record().eq(new.each_record())),
        Some(found) => same(&image.apply(&found).expect("it leads there"), &new, &[]),
    }
}

/// All steps are one step, and the journal leads where they lead.
fn journal(first: &Image, last: &Image, steps: &[Arc<Difference>], names: &[KeyedName]) {
    if !steps.is_empty() {
        let merged = Difference::merge(steps.iter().map(|step| &**step)).expect("they follow on each other");
        same(&first.apply(&merged).expect("each fitted"), last, names);
    }
    let mut journal = Journal::new(2_000);
    steps.iter().for_each(|step| journal.push(Arc::clone(step)));
    assert!(journal.octets() <= 2_000);
    let serial = journal.first_serial().unwrap_or(0);
    if let Some(since) = journal.since(serial)
        && serial == first.serial()
    {
        let led = first.apply_all(since.iter().map(|step| &**step)).expect("each fitted");
        same(&led, last, &[]);
    }
}

/// The zone goes out and arrives as it is; so does what changed.
fn transfer(first: &Image, last: &Arc<Image>, steps: Vec<Arc<Difference>>, message_octets: usize, is_signed: bool) {
    match sent(last, Content::Whole, None, message_octets, is_signed) {
        Some(Received::Whole { builder, .. }) => same(last, &builder.finish().expect("it is a zone"), &[]),
        None => assert!(last.each_record().any(|record| record.data.len() >= LONG_OCTETS)),
        received => panic!("a whole zone arrives as one: {received:?}"),
    }
    // No journal keeps a step that leads to no later serial.
    let is_later = |step: &Arc<Difference>| newer(step.to_serial(), step.from_serial());
    if steps.is_empty() || !steps.iter().all(is_later) || !newer(last.serial(), first.serial()) {
        return;
    }
    let soa = first.soa();
    match sent(last, Content::Differences(steps.clone()), Some(soa.first()), message_octets, is_signed) {
        Some(Received::Differences(got)) => {
            assert!(got.iter().eq(steps.iter().map(|step| &**step)));
        }
        None => {
            let mut records = steps.iter().flat_map(|step| step.removed().chain(step.added()));
            assert!(records.any(|record| record.data.len() >= LONG_OCTETS));
        }
        received => panic!("differences arrive as such: {received:?}"),
    }
}

/// What arrives of a transfer; `None` where a record fits no message.
fn sent(
    image: &Arc<Image>,
    content: Content,
    since: Option<&[u8]>,
    message_octets: usize,
    is_signed: bool,
) -> Option<Received> {
    let [key, ..] = world::tsig_keys();
    let (zone, key) = (image.apex(), is_signed.then_some(&key));
    let bounds = Bounds { records: 100_000, octets: 64 << 20 };
    let ask = Ask { zone, since, id: ID, key, over_udp: false };
    let (mut incoming, request) = Incoming::begin(&ask, bounds, world::key(), NOW);
    let question = &request[HEADER_OCTETS..][..zone.as_wire().len() + 4];
    let asked = Asked { id: ID, flags: 0, question, dnssec_ok: None };
    let signer = key.map(|key| signer(&request, key));
    let mut outgoing = Outgoing::new(&asked, Arc::clone(image), content, signer).with_message_octets(message_octets);
    let mut buffer = vec![0; MESSAGE_OCTETS_MAX];
    loop {
        let Some(octets) = outgoing.next(NOW, &mut buffer) else {
            assert!(outgoing.has_failed());
            return None;
        };
        match incoming.take(NOW, &mut buffer[..octets].to_vec()) {
            Ok(Progress::More) => assert!(!outgoing.is_done()),
            Ok(Progress::Done(received)) => return Some(received),
            Err(fault) => panic!("what we send we take: {fault}"),
        }
    }
}

fn signer(request: &[u8], key: &tsig::Key) -> Signer {
    match tsig::check(request, &[key.clone()].into_iter().collect(), NOW) {
        Checked::Signed(signed) => signed.signer,
        checked => panic!("a request of ours is in order: {checked:?}"),
    }
}

/// Replies are whole, and the same from the image that was changed and from one that is built.
fn questions(image: &Arc<Image>, names: &[KeyedName], qtype: u16) {
    let shard = |image: Arc<Image>| Shard::new(Arc::new(world::of_zone(image)), [1; 32]);
    let (mut changed, mut built) = (shard(Arc::clone(image)), shard(Arc::new(rebuilt(image))));
    let (mut one, mut other) = (vec![0; MESSAGE_OCTETS_MAX], vec![0; MESSAGE_OCTETS_MAX]);
    for name in names {
        for qtype in [qtype, rtype::MX] {
            for (via, edns) in [(Transport::Udp, false), (Transport::Udp, true), (Transport::Tcp, true)] {
                let mut request = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns)];
                request.extend(name.as_wire());
                request.extend(qtype.to_be_bytes());
                request.extend([0, 1]);
                if edns {
                    request.extend([0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0]);
                }
                let client =
                    Client { peer: ([127, 0, 0, 1], 4000).into(), local: None, via, listener: 0, connection: 0 };
                let room = if via == Transport::Udp { UDP_REPLY_OCTETS_MAX } else { MESSAGE_OCTETS_MAX };
                let outcome = changed.on_query(Time::ZERO, &client, &request, &mut one[..room]);
                let Outcome::Reply(octets) = outcome else { panic!("{outcome:?} to a question for a zone of ours") };
                reply::check(&request, via, &one[..octets]);
                assert_eq!(built.on_query(Time::ZERO, &client, &request, &mut other[..room]), Outcome::Reply(octets));
                assert_eq!(one[..octets], other[..octets]);
            }
        }
    }
}
