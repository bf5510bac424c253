//! The names of a message that is being written, for compression (RFC 1035 §4.1.4).
//!
//! A message of a transfer holds hundreds of names, more than the memory of an ordinary reply has room for. Here a
//! table by hash keeps every suffix that a pointer can reach. It is of a fixed size: a suffix that finds no free slot near
//! its own is forgotten, and the name that would have pointed to it goes out longer.
//!
//! A name points only to what is spelt like it: a zone shall arrive in the case in which it was written.

use crate::wire::name::{HashKey, KeyedName};
use crate::wire::writer::{POINTER_END, stands_at};

/// Slots: about twice as many as there are suffixes in [`POINTER_END`] octets of an ordinary zone.
const SLOTS: usize = 2_048;
/// Slots that are looked at for one suffix.
const PROBES: usize = 8;

/// A suffix: its hash, and where it stands; at zero stands no name, and the slot is free.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    hash: u32,
    offset: u16,
}

/// The table. 16 KiB.
#[derive(Clone, Debug)]
pub(super) struct Names {
    slots: Box<[Slot]>,
    key: HashKey,
    scratch: Box<KeyedName>,
}

impl Names {
    /// An empty table. Its hash needs no secret: whoever aims names at one slot gets longer messages, each of them exact.
    pub(super) fn new() -> Names {
        let key = HashKey::from_seed(*b"names of a reply");
        Names { slots: vec![Slot::default(); SLOTS].into(), key, scratch: Box::default() }
    }

    /// Forgets all names: another message begins.
    pub(super) fn clear(&mut self) {
        self.slots.fill(Slot::default());
    }

    /// How the whole name `wire` is to be written behind the octets of `message`: its first octets, and then a pointer
    /// where there is one to follow.
    pub(super) fn find(&mut self, message: &[u8], wire: &[u8]) -> (usize, Option<u16>) {
        self.scratch.set(&self.key, wire).expect("names of an image and of a question are whole");
        for labels in (1..=self.scratch.labels()).rev() {
            let hash = self.scratch.suffix_hash(labels) as u32;
            let start = self.scratch.suffix_start(labels);
            let known = probes(hash)
                .map(|slot| self.slots[slot])
                .take_while(|slot| slot.offset != 0)
                .find(|slot| slot.hash == hash && stands_at(message, slot.offset, &wire[start..], <[u8]>::eq));
            if let Some(slot) = known {
                return (start, Some(slot.offset));
            }
        }
        (wire.len(), None)
    }

    /// Remembers the suffixes of the name that was just looked up and now stands at `at`, its first `octets` in full.
    pub(super) fn remember(&mut self, at: usize, octets: usize) {
        for labels in (1..=self.scratch.labels()).rev() {
            let start = self.scratch.suffix_start(labels);
            if start >= octets || at + start >= POINTER_END {
                return;
            }
            let hash = self.scratch.suffix_hash(labels) as u32;
            if let Some(free) = probes(hash).find(|&slot| self.slots[slot].offset == 0) {
                self.slots[free] = Slot { hash, offset: (at + start) as u16 };
            }
        }
    }
}

/// The slots in which a suffix may be.
fn probes(hash: u32) -> impl Iterator<Item = usize> {
    (0..PROBES).map(move |step| (hash as usize + step) % SLOTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes names one behind the other, each with its pointer.
    fn write(names: &mut Names, message: &mut Vec<u8>, wires: &[&[u8]]) {
        for wire in wires {
            let at = message.len();
            let (octets, pointer) = names.find(message, wire);
            message.extend(&wire[..octets]);
            message.extend(pointer.iter().flat_map(|offset| (0xc000 | offset).to_be_bytes()));
            names.remember(at, octets);
        }
    }

    #[test]
    fn a_name_points_to_its_longest_suffix_in_the_same_case() {
        let (mut names, mut message) = (Names::new(), vec![0; 12]);
        let first = b"\x01a\x04test\0";
        write(
            &mut names,
            &mut message,
            &[first, b"\x01b\x01a\x04test\0", b"\x01b\x01A\x04test\0", b"\x01b\x01A\x04test\0"],
        );
        assert_eq!(message[12..], *b"\x01a\x04test\0\x01b\xc0\x0c\x01b\x01A\xc0\x0e\xc0\x18");
        names.clear();
        let mut message = vec![0; 12];
        write(&mut names, &mut message, &[b"\0", first]);
        assert_eq!(
            message[12..],
            [&b"\0"[..], first].concat(),
            "the root is as short as it gets; what was is forgotten"
        );
    }

    #[test]
    fn what_no_pointer_reaches_is_not_pointed_to() {
        let (name, above) = (b"\x01a\x01b\0", b"\x01b\0");
        for (begin, written) in
            [(POINTER_END - 1, &b"\x01a\x01b\0\xff\xff\x01b\0"[..]), (POINTER_END, b"\x01a\x01b\0\x01a\x01b\0\x01b\0")]
        {
            let (mut names, mut message) = (Names::new(), vec![0; begin]);
            write(&mut names, &mut message, &[name, name, above]);
            assert_eq!(message[begin..], *written);
        }
    }
}
