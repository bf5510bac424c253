//! NSEC3 hashes of names (RFC 5155 §5) and the owner labels that they make.

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

/// The only hash algorithm there is: SHA-1 (RFC 5155 §11).
pub const SHA1: u8 = 1;
/// Octets of a hash.
pub const HASH_OCTETS: usize = 20;
/// Octets of a hash as a label: base32hex without padding.
pub const LABEL_OCTETS: usize = 32;

/// The hash of a name in lower-case wire form.
pub fn hash(name: &[u8], salt: &[u8], iterations: u16) -> [u8; HASH_OCTETS] {
    let mut digest = round(name, salt);
    for _ in 0..iterations {
        digest = round(&digest, salt);
    }
    digest
}

fn round(octets: &[u8], salt: &[u8]) -> [u8; HASH_OCTETS] {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    context.update(octets);
    context.update(salt);
    *context.finish().as_ref().first_chunk().expect("SHA-1 gives 20 octets")
}

/// The first 64 bits of a hash, which is as much as the image keeps of one.
#[inline]
pub fn prefix(hash: &[u8; HASH_OCTETS]) -> u64 {
    u64::from_be_bytes(*hash.first_chunk().expect("20 octets hold 8"))
}

/// The hash that a label of an NSEC3 owner stands for, in either case (RFC 4648 §7); `None` for any other label.
pub fn of_label(label: &[u8]) -> Option<[u8; HASH_OCTETS]> {
    let label: &[u8; LABEL_OCTETS] = label.try_into().ok()?;
    let mut hash = [0; HASH_OCTETS];
    for (octets, digits) in hash.chunks_exact_mut(5).zip(label.chunks_exact(8)) {
        let mut word = 0_u64;
        for &digit in digits {
            let value = match digit.to_ascii_lowercase() {
                digit @ b'0'..=b'9' => digit - b'0',
                digit @ b'a'..=b'v' => digit - b'a' + 10,
                _ => return None,
            };
            word = word << 5 | u64::from(value);
        }
        octets.copy_from_slice(&word.to_be_bytes()[3..]);
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::name::Name;

    #[test]
    fn hashes_are_those_of_the_rfc() {
        // RFC 5155 appendix A: salt AABBCCDD, 12 iterations.
        let salt = [0xaa, 0xbb, 0xcc, 0xdd];
        for (name, label) in [
            ("example", "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom"),
            ("a.example", "35mthgpgcu1qg68fab165klnsnk3dpvl"),
            ("*.w.example", "r53bq7cc2uvmubfu5ocmm6pers9tk9en"),
        ] {
            let name: Name = name.parse().unwrap();
            let hash = hash(name.as_wire(), &salt, 12);
            assert_eq!(of_label(label.as_bytes()), Some(hash), "{name}");
            assert_eq!(of_label(label.to_uppercase().as_bytes()), Some(hash), "{name}");
        }
    }

    #[test]
    fn other_labels_are_no_hashes() {
        for label in ["", "www", "0p9mhaveqvm6t7vbl5lop2u3t2rp3to", "0p9mhaveqvm6t7vbl5lop2u3t2rp3tow"] {
            assert_eq!(of_label(label.as_bytes()), None, "{label}");
        }
    }
}
