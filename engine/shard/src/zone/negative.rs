//! The SOA record of negative answers (RFC 2308 §3), ready to be copied: its names are compressed when the image is made,
//! so that an answer has but to move the pointers to where the apex stands in the question.

use smallvec::SmallVec;

use super::image::Image;
use crate::limits::{COMPRESSION_NAMES_MAX, LABEL_OCTETS_MAX, NAME_OCTETS_MAX};
use crate::wire::message::{HEADER_OCTETS, Rcode, Section};
use crate::wire::name::{self, HashKey, KeyedName};
use crate::wire::rdata::{CLASS_IN, rtype};
use crate::wire::writer::{Compressor, Owner, Writer};

/// The pointers of an SOA record: the owner, and one at most in each of its two names.
const POINTERS_MAX: usize = 3;
/// What stands behind its two names.
const NUMBERS_OCTETS: usize = 20;

/// The record as it stands behind a question for the apex itself.
#[derive(Clone, Debug, Default)]
pub struct Negative {
    octets: Box<[u8]>,
    /// Where its pointers stand.
    pointers: SmallVec<[u16; POINTERS_MAX]>,
    /// Hashes of the suffixes of its names that are one label longer than the apex: a question that has one of them is
    /// pointed to there, and the record is another one.
    longer: SmallVec<[u64; 2]>,
    apex_labels: usize,
    /// A question of more labels leaves no room among the names that are remembered for compression.
    labels_max: usize,
}

impl Negative {
    /// That of an image which is whole but for this.
    pub(super) fn of(image: &Image) -> Negative {
        let apex = image.apex.as_wire();
        let question = [apex, &rtype::SOA.to_be_bytes(), &CLASS_IN.to_be_bytes()].concat();
        let keyed = keyed(&image.key, apex);
        let soa = image.soa();
        let mut buffer = [0; HEADER_OCTETS + 3 * (NAME_OCTETS_MAX + 16) + NUMBERS_OCTETS];
        let (mut compressor, limit) = (Compressor::default(), buffer.len());
        let mut writer = Writer::new(&mut buffer, limit, &question, None, &mut compressor, image.key);
        writer.remember_question(&keyed);
        let owner = Owner::At(HEADER_OCTETS as u16);
        let data = [soa.first()].into_iter();
        writer.rrset(Section::Authority, owner, rtype::SOA, image.negative_ttl, data).expect("there is room for it");
        let end = writer.finish(0, 0, Rcode::NoError);
        let octets: Box<[u8]> = buffer[HEADER_OCTETS + question.len()..end].into();
        let (mut pointers, mut longer, mut labels) = (SmallVec::new(), SmallVec::new(), 0);
        pointers.push(0);
        let (mut at, mut rest) = (12, soa.first());
        for _ in 0..2 {
            pointers.extend(pointer(&octets, at));
            at = name::skip(&octets, at).expect("a name that was just written");
            let name = KeyedName::new(&image.key, rest).expect("names in the data of our records are whole");
            rest = &rest[name.as_wire().len()..];
            labels += name.labels();
            if name.labels() > keyed.labels() && name.suffix(keyed.labels()) == keyed.as_wire() {
                longer.push(name.suffix_hash(keyed.labels() + 1));
            }
        }
        let labels_max = COMPRESSION_NAMES_MAX.saturating_sub(labels);
        Negative { octets, pointers, longer, apex_labels: keyed.labels(), labels_max }
    }

    /// The record, where it is the same behind a question for `name`, which lies in the zone.
    #[inline]
    pub fn octets(&self, name: &KeyedName) -> Option<&[u8]> {
        let is_other = name.labels() > self.labels_max
            || (name.labels() > self.apex_labels && self.longer.contains(&name.suffix_hash(self.apex_labels + 1)));
        if is_other { None } else { Some(&self.octets) }
    }

    /// Moves the pointers of the record, which was copied to `at` of `message`, to where the apex stands in the
    /// question for `name` just before.
    #[inline]
    pub fn settle(&self, message: &mut [u8], at: usize, name: &KeyedName) {
        let moved = name.suffix_start(self.apex_labels) as u16;
        for &pointer in &self.pointers {
            let pointer: &mut [u8; 2] =
                message[at + usize::from(pointer)..].first_chunk_mut().expect("the record was copied there");
            *pointer = (u16::from_be_bytes(*pointer) + moved).to_be_bytes();
        }
    }
}

/// Where the pointer stands that ends the name at `at`, if one does.
fn pointer(octets: &[u8], mut at: usize) -> Option<u16> {
    while (1..=LABEL_OCTETS_MAX).contains(&octets[at].into()) {
        at += usize::from(octets[at]) + 1;
    }
    (octets[at] != 0).then_some(at as u16)
}

fn keyed(key: &HashKey, wire: &[u8]) -> KeyedName {
    KeyedName::new(key, wire).expect("a name of ours is whole")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::name::Name;
    use crate::zone::{Builder, Place};

    fn key() -> HashKey {
        HashKey::from_seed([9; 16])
    }

    fn wire(text: &str) -> Vec<u8> {
        text.parse::<Name>().unwrap().as_wire().to_vec()
    }

    fn image(apex: &str, server: &str, mailbox: &str) -> Image {
        let mut builder = Builder::new(apex.parse().unwrap(), key());
        let soa = [wire(server), wire(mailbox), (0..20).collect()].concat();
        builder.push(&wire(apex), rtype::SOA, 60, &soa, Place::default()).unwrap();
        builder.push(&wire(apex), rtype::NS, 60, &wire(server), Place::default()).unwrap();
        builder.finish().unwrap()
    }

    /// The record as the writer has it behind a question for `name`.
    fn written(image: &Image, name: &KeyedName, question: &[u8]) -> Vec<u8> {
        let (mut buffer, mut compressor) = (vec![0; 4096], Compressor::default());
        let mut writer = Writer::new(&mut buffer, 4096, question, None, &mut compressor, key());
        writer.remember_question(name);
        let owner = Owner::At((HEADER_OCTETS + name.suffix_start(image.apex_node().labels())) as u16);
        let data = [image.soa().first()].into_iter();
        writer.rrset(Section::Authority, owner, rtype::SOA, image.negative_ttl(), data).unwrap();
        let end = writer.finish(0, 0, Rcode::NoError);
        buffer[HEADER_OCTETS + question.len()..end].to_vec()
    }

    #[test]
    fn the_record_is_what_the_writer_would_write_or_it_is_not_taken() {
        // The last octets of one look like a pointer, and are none.
        let names = [
            "example.test",
            "ns.example.test",
            "host.ns.example.test",
            "test",
            "ns.other.test",
            "org",
            ".",
            r"ns.\255",
        ];
        let (mut taken, mut left) = (0, 0);
        for apex in ["example.test", "test", "."] {
            let below = |name: &str| apex == "." || name == apex || name.ends_with(&format!(".{apex}"));
            for (server, mailbox) in names.iter().flat_map(|a| names.iter().map(move |b| (a, b))) {
                let image = image(apex, server, mailbox);
                for asked in names
                    .iter()
                    .map(|name| name.to_string())
                    .chain([1, 30, 70].map(|labels| format!("{}{}", "x.".repeat(labels), apex.trim_start_matches('.'))))
                {
                    if !below(&asked) {
                        continue;
                    }
                    let question = [wire(&asked), vec![0, 1, 0, 1]].concat();
                    let name = keyed(&key(), &question);
                    let Some(octets) = image.negative.octets(&name) else {
                        left += 1;
                        continue;
                    };
                    taken += 1;
                    let at = HEADER_OCTETS + question.len();
                    let mut message = [vec![0; at], octets.to_vec()].concat();
                    image.negative.settle(&mut message, at, &name);
                    assert_eq!(message[at..], written(&image, &name, &question), "{apex} {server} {mailbox} {asked}");
                }
            }
        }
        assert!(taken > 500 && left > 100, "{taken} {left}");
    }
}
