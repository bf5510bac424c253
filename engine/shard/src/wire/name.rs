//! Names: checked, folded to lower case, hashed suffix by suffix, compared, skipped in compressed messages
//! (RFC 1035 §2.3, §3.1, §4.1.4, §5.1; RFC 4343 for case).
//!
//! Names are wire octets everywhere. ASCII letters of a whole name may be folded without looking at label lengths:
//! a length is at most 63 and the letter `A` is 65.

use core::cmp::Ordering;
use core::fmt;
use core::ops::Range;
use core::str::FromStr;

use super::is_same;
use crate::limits::{LABEL_OCTETS_MAX, LABELS_MAX, NAME_OCTETS_MAX, POINTERS_MAX};

/// The key of the name hash: two odd, random words, chosen once a process, so that nobody outside can aim at one
/// chain of a table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HashKey([u64; 2]);

impl HashKey {
    /// A key from 16 unpredictable octets.
    pub fn from_seed(seed: [u8; 16]) -> HashKey {
        let words = u128::from_le_bytes(seed);
        HashKey([words as u64 | 1, (words >> 64) as u64 | 1])
    }

    /// Mixes a word into a hash: the two halves of a 128-bit product, folded (as in wyhash and foldhash).
    #[inline]
    pub(crate) fn mix(&self, hash: u64, word: u64) -> u64 {
        let product = u128::from(hash ^ word) * u128::from(self.0[1]);
        product as u64 ^ (product >> 64) as u64
    }

    /// The hash of the root.
    #[inline]
    fn root(&self) -> u64 {
        self.0[0]
    }
}

impl fmt::Debug for HashKey {
    /// The key is a secret: it is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey")
    }
}

/// Octets that a [`KeyedName`] has room for: whole steps of a copy, and eight to be read wherever a label begins.
const ROOM: usize = 272;

const _: () = assert!(ROOM.is_multiple_of(STEP) && ROOM >= NAME_OCTETS_MAX + 8);

/// Octets that are folded at once: what a vector register of every 64-bit CPU holds.
const STEP: usize = 16;

/// A name made ready for lookups: lower case, with the hash of each of its suffixes.
///
/// One lives in a shard and is filled again for each query: no allocation, and nothing to clear. 1.4 KiB, of which a
/// name of three labels touches three cache lines, or four.
#[derive(Clone)]
#[repr(C)] // What each name needs lies together.
pub struct KeyedName {
    length: u8,
    /// The root label's place in what follows: the label at `root + i` begins the suffix of i labels. Names lie at the
    /// end of the arrays, so that labels are found from the left and hashed from the right without a place computed.
    root: u8,
    octets: [u8; ROOM],
    /// Where each label begins.
    starts: [u8; LABELS_MAX + 1],
    /// The hash of the suffix that begins there.
    hashes: [u64; LABELS_MAX + 1],
}

impl fmt::Debug for KeyedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_presentation(self.as_wire(), f)
    }
}

impl Default for KeyedName {
    /// The root, unkeyed: for scratch space that is filled before it is read.
    fn default() -> KeyedName {
        let root = LABELS_MAX as u8;
        KeyedName { octets: [0; ROOM], starts: [0; LABELS_MAX + 1], hashes: [0; LABELS_MAX + 1], length: 1, root }
    }
}

impl KeyedName {
    /// A new one from `wire`; `None` as in [`KeyedName::set`].
    pub fn new(key: &HashKey, wire: &[u8]) -> Option<KeyedName> {
        let mut name = KeyedName::default();
        name.set(key, wire)?;
        Some(name)
    }

    /// Takes the uncompressed name at the start of `wire`. Returns its length in octets; `None` when there is no whole
    /// name, or it is too long, or it has a compression pointer. Then the former name is gone as well.
    #[inline]
    pub fn set(&mut self, key: &HashKey, wire: &[u8]) -> Option<usize> {
        self.take(key, wire)
    }

    /// The same for the one caller on the path of every query.
    #[inline(always)]
    pub(crate) fn take(&mut self, key: &HashKey, wire: &[u8]) -> Option<usize> {
        let (length, root) = self.measure(wire)?;
        self.length = length as u8;
        self.root = root as u8;
        self.fold(wire, length);
        self.hash(key, root);
        Some(length)
    }

    /// Finds where labels begin; returns the name's length, and the root label's place among the starts.
    #[inline(always)]
    fn measure(&mut self, wire: &[u8]) -> Option<(usize, usize)> {
        // What runs past this is too long for a name.
        let wire = &wire[..wire.len().min(NAME_OCTETS_MAX)];
        let (mut at, mut place) = (0, LABELS_MAX);
        loop {
            let octets = *wire.get(at)?;
            self.starts[place] = at as u8;
            if octets.wrapping_sub(1) >= LABEL_OCTETS_MAX as u8 {
                return (octets == 0).then_some((at + 1, place));
            }
            at += usize::from(octets) + 1;
            // So many octets hold no more labels than there is room for: the mask spares a check of what cannot be.
            place = place.wrapping_sub(1) & LABELS_MAX;
        }
    }

    /// Copies the name of `length` octets in lower case, [`STEP`] octets at a time; the last step overlaps the one
    /// before. What is behind the name may be copied along.
    #[inline(always)]
    fn fold(&mut self, wire: &[u8], length: usize) {
        let name = &wire[..length];
        if let (Some(first), Some(last)) = (name.first_chunk::<STEP>(), name.last_chunk::<STEP>()) {
            self.octets[..STEP].copy_from_slice(&lower(*first));
            // Most names end here: measured, two steps take half the instructions of a loop.
            if length > 2 * STEP {
                let targets = self.octets[STEP..].as_chunks_mut().0;
                for (target, source) in targets.iter_mut().zip(name[STEP..].as_chunks().0) {
                    *target = lower(*source);
                }
            }
            self.octets[length - STEP..length].copy_from_slice(&lower(*last));
        } else if let Some(first) = wire.first_chunk::<STEP>() {
            self.octets[..STEP].copy_from_slice(&lower(*first));
        } else {
            for (target, source) in self.octets.iter_mut().zip(name) {
                *target = source.to_ascii_lowercase();
            }
        }
    }

    /// Hashes the suffixes, the shortest first.
    #[inline(always)]
    fn hash(&mut self, key: &HashKey, root: usize) {
        let mut hash = key.root();
        self.hashes[root] = hash;
        for place in root + 1..self.hashes.len() {
            hash = hash_label(key, hash, &self.octets, self.starts[place]);
            self.hashes[place] = hash;
        }
    }

    /// The name's labels, the root not counted.
    #[inline]
    pub fn labels(&self) -> usize {
        // The mask changes nothing, and spares the checks of what is indexed by it.
        (LABELS_MAX - usize::from(self.root)) & LABELS_MAX
    }

    /// The name in lower case, uncompressed.
    #[inline]
    pub fn as_wire(&self) -> &[u8] {
        &self.octets[..usize::from(self.length)]
    }

    /// The suffix of `labels` labels.
    #[inline]
    pub fn suffix(&self, labels: usize) -> &[u8] {
        &self.octets[self.suffix_start(labels)..usize::from(self.length)]
    }

    /// Where in the name the suffix of `labels` labels begins.
    #[inline]
    pub fn suffix_start(&self, labels: usize) -> usize {
        // No suffix has more labels than the name: what would begin it is beyond the array.
        usize::from(self.starts[usize::from(self.root) + labels])
    }

    /// The hash of the suffix of `labels` labels.
    #[inline]
    pub fn suffix_hash(&self, labels: usize) -> u64 {
        self.hashes[usize::from(self.root) + labels]
    }

    /// The hash of the whole name.
    #[inline]
    pub fn name_hash(&self) -> u64 {
        self.hashes[LABELS_MAX]
    }

    /// The hash of the wildcard just below the suffix of `labels` labels.
    #[inline]
    pub fn wildcard_hash(&self, key: &HashKey, labels: usize) -> u64 {
        key.mix(self.suffix_hash(labels), u64::from_le_bytes(*b"\x01*\0\0\0\0\0\0"))
    }
}

/// Continues a hash by the label at `start`, length octet included, so that no two rows of labels read alike.
#[inline(always)]
fn hash_label(key: &HashKey, hash: u64, octets: &[u8; ROOM], start: u8) -> u64 {
    let start = usize::from(start);
    let word = u64::from_le_bytes(*octets[start..].first_chunk().expect("there is room behind every label"));
    match FIRST.get(usize::from(word as u8)) {
        Some(first) => key.mix(hash, word & first),
        None => hash_long_label(key, key.mix(hash, word), octets, start + 8, usize::from(word as u8) - 7),
    }
}

/// The rest of a label, `left` octets from `at` on.
#[inline]
fn hash_long_label(key: &HashKey, mut hash: u64, octets: &[u8; ROOM], mut at: usize, mut left: usize) -> u64 {
    loop {
        let word = u64::from_le_bytes(*octets[at..].first_chunk().expect("there is room behind every label"));
        if let Some(first) = FIRST.get(left - 1) {
            return key.mix(hash, word & first);
        }
        hash = key.mix(hash, word);
        at += 8;
        left -= 8;
    }
}

/// The first octets of a word: one of them, two, and so on to eight.
const FIRST: &[u64; 8] = &{
    let mut masks = [0; 8];
    let mut i = 0;
    while i < 8 {
        masks[i] = u64::MAX >> (56 - 8 * i);
        i += 1;
    }
    masks
};

/// Octets in lower case, in the few instructions that a vector register takes.
#[inline]
fn lower(mut octets: [u8; STEP]) -> [u8; STEP] {
    octets.make_ascii_lowercase();
    octets
}

/// Where the name that begins at `at` in `message` ends: behind its root label or its first pointer. `None` when it
/// runs past the end, or a label is malformed. The pointer's target is not looked at: see [`expand`].
#[inline]
pub fn skip(message: &[u8], mut at: usize) -> Option<usize> {
    let begin = at;
    loop {
        let octet = usize::from(*message.get(at)?);
        match octet {
            0 => return Some(at + 1),
            1..=LABEL_OCTETS_MAX => at += octet + 1,
            0xc0.. => return message.get(at + 1).map(|_| at + 2),
            _ => return None,
        }
        if at - begin >= NAME_OCTETS_MAX {
            return None;
        }
    }
}

/// Writes the name that begins at `at` in `message` uncompressed into `out`, case kept. Returns its length, and where
/// it ends in the message. See [`walk`] for what is no name.
pub fn expand(message: &[u8], at: usize, out: &mut [u8; NAME_OCTETS_MAX]) -> Option<(usize, usize)> {
    walk(message, at, out, |_| true)
}

/// As [`expand`], and asks `may_stand` of each stretch of the message that a pointer leads to.
///
/// A pointer must lead before the stretch that it ends (RFC 1035 §4.1.4: "a prior occurrence"), and what it leads to
/// must end before that stretch begins: names do not run into each other. Both bound the walk.
pub fn walk(
    message: &[u8],
    at: usize,
    out: &mut [u8; NAME_OCTETS_MAX],
    mut may_stand: impl FnMut(Range<usize>) -> bool,
) -> Option<(usize, usize)> {
    let end = skip(message, at)?;
    // The stretch being read begins at `begin` and must end at `limit` or before.
    let (mut begin, mut limit) = (at, end);
    let mut at = at;
    let mut length = 0;
    for _ in 0..=POINTERS_MAX {
        let target = loop {
            let octet = usize::from(*message[..limit].get(at)?);
            match octet {
                0 => {
                    *out.get_mut(length)? = 0;
                    at += 1;
                    break None;
                }
                1..=LABEL_OCTETS_MAX => {
                    let label = message[..limit].get(at..at + octet + 1)?;
                    out.get_mut(length..length + octet + 1)?.copy_from_slice(label);
                    length += octet + 1;
                    at += octet + 1;
                }
                0xc0.. => {
                    let low = usize::from(*message[..limit].get(at + 1)?);
                    at += 2;
                    break Some((octet & 0x3f) << 8 | low);
                }
                _ => return None,
            }
        };
        if limit != end && !may_stand(begin..at) {
            return None;
        }
        match target {
            None => return Some((length + 1, end)),
            Some(target) if target < begin => (at, limit, begin) = (target, begin, target),
            Some(_) => return None,
        }
    }
    None
}

/// Whether two uncompressed names are the same but for case.
#[inline]
pub fn same(a: &[u8], b: &[u8]) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// The length of the uncompressed name at the start of `wire`; `None` when there is none.
pub fn measure(wire: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let octets = usize::from(*wire.get(at)?);
        if octets == 0 {
            return (at < NAME_OCTETS_MAX).then_some(at + 1);
        }
        if octets > LABEL_OCTETS_MAX || at >= NAME_OCTETS_MAX {
            return None;
        }
        at += octets + 1;
    }
}

/// A name in wire format, uncompressed, in lower case.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Box<[u8]>);

impl Name {
    /// The root.
    pub fn root() -> Name {
        Name(Box::new([0]))
    }

    /// The uncompressed name that fills `wire`, folded to lower case; `None` when `wire` is no such name.
    pub fn from_wire(wire: &[u8]) -> Option<Name> {
        (measure(wire)? == wire.len()).then(|| Name(wire.to_ascii_lowercase().into()))
    }

    /// Wire octets, the root label included.
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// Labels, the root not counted.
    pub fn labels(&self) -> usize {
        labels(&self.0).count()
    }
}

/// The labels of a well-formed name, from the left, without length octets, the root not among them.
pub fn labels(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = wire;
    core::iter::from_fn(move || {
        let (&octets, tail) = rest.split_first()?;
        let (label, tail) = tail.split_at_checked(usize::from(octets))?;
        rest = tail;
        (!label.is_empty()).then_some(label)
    })
}

/// The canonical order of two well-formed names in lower case: label by label from the right (RFC 4034 §6.1).
pub fn canonical_order(a: &[u8], b: &[u8]) -> Ordering {
    // Most names that are compared are siblings.
    match (split_first_label(a), split_first_label(b)) {
        (Some((a_label, a_parent)), Some((b_label, b_parent))) if is_same(a_parent, b_parent) => a_label.cmp(b_label),
        _ => order_of_labels(a, b),
    }
}

/// The first label of a well-formed name, without its length, and the name above; the root has none.
fn split_first_label(wire: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&octets, rest) = wire.split_first()?;
    if octets == 0 { None } else { rest.split_at_checked(octets.into()) }
}

fn order_of_labels(a: &[u8], b: &[u8]) -> Ordering {
    let (a_starts, a_labels) = label_starts(a);
    let (b_starts, b_labels) = label_starts(b);
    for i in 1..=a_labels.min(b_labels) {
        let label = |wire: &[u8], start: u8| {
            let start = usize::from(start);
            start + 1..start + 1 + usize::from(wire[start])
        };
        let (a_label, b_label) = (label(a, a_starts[a_labels - i]), label(b, b_starts[b_labels - i]));
        match a[a_label].cmp(&b[b_label]) {
            Ordering::Equal => {}
            unequal => return unequal,
        }
    }
    a_labels.cmp(&b_labels)
}

/// Where the labels of a well-formed name begin, and how many there are.
fn label_starts(wire: &[u8]) -> ([u8; LABELS_MAX], usize) {
    let mut starts = [0; LABELS_MAX];
    let (mut at, mut labels) = (0, 0);
    while wire[at] != 0 {
        starts[labels] = at as u8;
        at += usize::from(wire[at]) + 1;
        labels += 1;
    }
    (starts, labels)
}

/// Why a text is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadName(pub &'static str);

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl core::error::Error for BadName {}

impl FromStr for Name {
    type Err = BadName;

    /// Presentation format (RFC 1035 §5.1: `\X` and `\DDD`), absolute whether or not it ends in a dot.
    fn from_str(text: &str) -> Result<Name, BadName> {
        if text == "." {
            return Ok(Name::root());
        }
        if text.is_empty() {
            return Err(BadName("an empty text is no name; the root is written `.`"));
        }
        let mut wire = vec![0];
        let mut label = 0;
        let mut rest = text.as_bytes();
        while let [first, tail @ ..] = rest {
            rest = tail;
            if *first == b'.' {
                if wire.len() == label + 1 {
                    return Err(BadName("a label is empty"));
                }
                label = wire.len();
                wire.push(0);
                continue;
            }
            let octet = if *first == b'\\' { escaped(&mut rest)? } else { *first };
            if wire.len() - label > LABEL_OCTETS_MAX {
                return Err(BadName("a label is longer than 63 octets"));
            }
            wire.push(octet.to_ascii_lowercase());
            wire[label] += 1;
        }
        if wire[label] != 0 {
            wire.push(0);
        }
        if wire.len() > NAME_OCTETS_MAX {
            return Err(BadName("it is longer than 255 octets"));
        }
        Ok(Name(wire.into()))
    }
}

/// Reads what follows a backslash.
fn escaped(rest: &mut &[u8]) -> Result<u8, BadName> {
    match **rest {
        [a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', ref tail @ ..] => {
            *rest = tail;
            let value = [a, b, c].iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
            u8::try_from(value).map_err(|_| BadName("an escape \\DDD is above 255"))
        }
        [b'0'..=b'9', ..] | [] => Err(BadName("a backslash needs three digits or one other character behind it")),
        [octet, ref tail @ ..] => {
            *rest = tail;
            Ok(octet)
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_presentation(&self.0, f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Writes a well-formed name in presentation format, with its last dot.
pub fn write_presentation(wire: &[u8], f: &mut impl fmt::Write) -> fmt::Result {
    if wire == [0] {
        return f.write_char('.');
    }
    for label in labels(wire) {
        for &octet in label {
            match octet {
                b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => write!(f, "\\{}", char::from(octet))?,
                0x21..=0x7e => f.write_char(char::from(octet))?,
                _ => write!(f, "\\{octet:03}")?,
            }
        }
        f.write_char('.')?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> HashKey {
        HashKey::from_seed(*b"0123456789abcdef")
    }

    #[test]
    fn folding_touches_ascii_letters_alone() {
        for octet in 0..=255u8 {
            let name = [&[3, octet, b'A', octet][..], &[20], &[octet; 20], &[0, b'Q']].concat();
            let keyed = KeyedName::new(&key(), &name).unwrap();
            assert_eq!(keyed.as_wire(), name[..26].to_ascii_lowercase(), "{octet}");
        }
    }

    #[test]
    fn names_of_every_length_are_taken_with_whatever_stands_behind() {
        let mut name = KeyedName::default();
        for octets in 3..=NAME_OCTETS_MAX {
            // Labels of many lengths, the last of which fills up what is left.
            let mut wire = Vec::new();
            while wire.len() + 1 < octets {
                let label = (wire.len() * 7 % 61 + 1).min(octets - wire.len() - 2);
                // One octet cannot be filled by a label.
                let label = if octets - wire.len() - 2 - label == 1 { label.saturating_sub(1) } else { label };
                if label == 0 {
                    break;
                }
                wire.push(label as u8);
                wire.extend((0..label).map(|i| b'A' + (i * 5 % 26) as u8));
            }
            wire.push(0);
            for behind in [0, 1, 4, 15, 16, 40] {
                let message = [&wire[..], &vec![b'Z'; behind]].concat();
                assert_eq!(name.set(&key(), &message), Some(wire.len()), "{octets} {behind}");
                let lower = wire.to_ascii_lowercase();
                assert_eq!(name.as_wire(), lower);
                // What was there before, and what stands behind, leaves nothing in the hashes.
                let anew = KeyedName::new(&key(), &lower).unwrap();
                for labels in 0..=anew.labels() {
                    assert_eq!(name.suffix_hash(labels), anew.suffix_hash(labels));
                    assert_eq!(name.suffix(labels), anew.suffix(labels));
                }
            }
        }
    }

    #[test]
    fn a_keyed_name_is_its_lower_case_with_equal_hashes_for_equal_suffixes() {
        let a = KeyedName::new(&key(), b"\x03WwW\x07exAmple\x04tEst\0rest").unwrap();
        let b = KeyedName::new(&key(), b"\x0bmail-server\x07example\x04test\0").unwrap();
        assert_eq!(a.as_wire(), b"\x03www\x07example\x04test\0");
        assert_eq!((a.labels(), a.suffix(2), a.suffix(0)), (3, &b"\x07example\x04test\0"[..], &b"\0"[..]));
        for labels in 0..=2 {
            assert_eq!(a.suffix_hash(labels), b.suffix_hash(labels));
        }
        assert_ne!(a.name_hash(), b.name_hash());
        let star = KeyedName::new(&key(), b"\x01*\x07example\x04test\0").unwrap();
        assert_eq!(a.wildcard_hash(&key(), 2), star.name_hash());
    }

    #[test]
    fn labels_are_not_confused_with_their_neighbours() {
        let joined = KeyedName::new(&key(), b"\x03a\x01b\0").unwrap();
        let apart = KeyedName::new(&key(), b"\x01a\x01b\0").unwrap();
        assert_ne!(joined.name_hash(), apart.name_hash());
    }

    #[test]
    fn the_longest_names_are_taken_and_longer_ones_refused() {
        let mut most_labels = [1, b'a'].repeat(127);
        most_labels.push(0);
        assert_eq!(most_labels.len(), 255);
        let name = KeyedName::new(&key(), &most_labels).unwrap();
        assert_eq!((name.labels(), name.as_wire().len()), (127, 255));
        assert!(Name::from_wire(&most_labels).is_some());
        let mut too_many = [1, b'a'].repeat(128);
        too_many.push(0);
        assert!(KeyedName::new(&key(), &too_many).is_none());
        assert!(measure(&too_many).is_none());
        let mut longest = [[63].as_slice(), &[b'x'; 63]].concat().repeat(3);
        longest.extend([61].iter().chain(&[b'y'; 61]).chain(&[0]));
        assert_eq!(longest.len(), 255);
        assert!(KeyedName::new(&key(), &longest).is_some());
        longest[192] = 62;
        longest.insert(193, b'y');
        assert!(KeyedName::new(&key(), &longest).is_none());
        assert!(Name::from_wire(&longest).is_none());
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for wire in [&b""[..], b"\x03ab", b"\x03abc", b"\xc0\x0c", b"\x40aaaa\0", b"\x80\0"] {
            assert!(KeyedName::new(&key(), wire).is_none(), "{wire:?}");
            assert!(Name::from_wire(wire).is_none(), "{wire:?}");
        }
        assert!(Name::from_wire(b"\0\0").is_none());
    }

    #[test]
    fn siblings_are_ordered_as_any_two_names() {
        let names =
            [".", "test.", "a.test.", "aa.test.", "b.test.", "a.a.test.", "b.a.test.", "a.aa.test.", "\\000.test."];
        let names = names.map(|name| name.parse::<Name>().unwrap());
        for a in &names {
            for b in &names {
                assert_eq!(
                    canonical_order(a.as_wire(), b.as_wire()),
                    order_of_labels(a.as_wire(), b.as_wire()),
                    "{a} {b}"
                );
            }
        }
    }

    #[test]
    fn pointers_go_back_or_nowhere() {
        let mut out = [0; NAME_OCTETS_MAX];
        let message = b"\x04test\0\x07example\xc0\x00\x03www\xc0\x06\xc0\x12\xc0\x16";
        assert_eq!(expand(message, 6, &mut out), Some((14, 16)));
        assert_eq!(&out[..14], b"\x07example\x04test\0");
        assert_eq!(expand(message, 16, &mut out), Some((18, 22)));
        assert_eq!(&out[..18], b"\x03www\x07example\x04test\0");
        assert_eq!(expand(message, 24, &mut out), None, "to itself or forward");
        assert_eq!(expand(b"\xc0\x00", 0, &mut out), None);
        assert_eq!(expand(b"\x01a\xc0\x00", 0, &mut out), None, "into the name itself");
        assert_eq!(expand(b"\x01a\xc0", 0, &mut out), None);
        assert_eq!(skip(b"\x01a\xc0\x00x", 0), Some(4));
    }

    #[test]
    fn presentation_goes_both_ways() {
        for (text, wire) in [
            (".", &b"\0"[..]),
            ("example.test.", b"\x07example\x04test\0"),
            ("a\\.b.test.", b"\x03a.b\x04test\0"),
            ("\\000\\255.test.", b"\x02\0\xff\x04test\0"),
            ("*.test.", b"\x01*\x04test\0"),
        ] {
            let name: Name = text.parse().unwrap();
            assert_eq!((name.as_wire(), name.to_string().as_str()), (wire, text));
        }
        assert_eq!("EXAMPLE.test".parse::<Name>().unwrap().to_string(), "example.test.");
        for text in ["", "..", "a..b", ".a", "a\\", "a\\25", "a\\256.", &"x".repeat(64), &"abcdefg.".repeat(32)] {
            assert!(text.parse::<Name>().is_err(), "{text}");
        }
    }
}
