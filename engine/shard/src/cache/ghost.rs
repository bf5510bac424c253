//! Who was put out a short time ago: sixteen bits of the hash of each, in lines of one cache line. A line is a queue: who
//! comes pushes the oldest out. Of names that were never here about one in two thousand is taken for one that was.

/// The lines.
#[derive(Debug)]
pub(super) struct Ghosts {
    /// None before the first name.
    lines: Box<[[u16; LINE]]>,
    count: usize,
}

const LINE: usize = 32;
/// Octets of cache for each name that is remembered: about two names for three answers of common length.
const CACHE_OCTETS_A_NAME: usize = 256;

const _: () = assert!(size_of::<[u16; LINE]>() == 64);

impl Ghosts {
    /// Lines beside a cache of so many octets; none beside one of less than a few answers.
    pub(super) fn new(cache_octets: usize) -> Ghosts {
        let count = cache_octets / (CACHE_OCTETS_A_NAME * LINE);
        Ghosts { lines: Box::default(), count }
    }

    /// Octets that the lines take, now or once there is somebody to remember.
    pub(super) fn octets(&self) -> usize {
        self.count * size_of::<[u16; LINE]>()
    }

    fn line(&self, hash: u64) -> usize {
        (((hash >> 32) * self.count as u64) >> 32) as usize
    }

    /// Sixteen bits of the hash that say nothing of the line; never zero, which is nobody.
    fn print(hash: u64) -> u16 {
        (hash as u16).max(1)
    }

    /// Remembers a name.
    pub(super) fn insert(&mut self, hash: u64) {
        if self.count == 0 {
            return;
        }
        if self.lines.is_empty() {
            self.lines = vec![[0; LINE]; self.count].into();
        }
        let line = self.line(hash);
        let line = &mut self.lines[line];
        line.copy_within(..LINE - 1, 1);
        line[0] = Ghosts::print(hash);
    }

    /// Whether the name was put out a short time ago; then it is forgotten.
    pub(super) fn take(&mut self, hash: u64) -> bool {
        if self.lines.is_empty() {
            return false;
        }
        let line = self.line(hash);
        let line = &mut self.lines[line];
        let Some(at) = line.iter().position(|&print| print == Ghosts::print(hash)) else { return false };
        line.copy_within(at + 1.., at);
        line[LINE - 1] = 0;
        true
    }

    /// Forgets everybody, for a cache of another size where one is given.
    pub(super) fn clear(&mut self, cache_octets: usize) {
        *self = Ghosts::new(cache_octets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(i: u64) -> u64 {
        u128::from(i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_le_bytes()[7..15]
            .iter()
            .fold(0, |word, &octet| word << 8 | u64::from(octet))
    }

    #[test]
    fn who_was_put_out_is_known_once() {
        let mut ghosts = Ghosts::new(1 << 20);
        assert!(!ghosts.take(hash(1)));
        (0..100).for_each(|i| ghosts.insert(hash(i)));
        assert!((0..100).all(|i| ghosts.take(hash(i))));
        assert!(!(0..100).any(|i| ghosts.take(hash(i))));
    }

    #[test]
    fn the_oldest_are_forgotten_and_memory_is_bounded() {
        let mut ghosts = Ghosts::new(1 << 20);
        (0..100_000).for_each(|i| ghosts.insert(hash(i)));
        assert_eq!(ghosts.octets(), 8 << 10);
        let known = |ghosts: &mut Ghosts, from: u64| (from..from + 1000).filter(|&i| ghosts.take(hash(i))).count();
        assert!(known(&mut ghosts, 99_000) > 990);
        assert!(known(&mut ghosts, 0) < 10);
        ghosts.clear(1 << 20);
        assert_eq!(known(&mut ghosts, 98_000), 0);
    }

    #[test]
    fn a_very_small_cache_has_none() {
        let mut ghosts = Ghosts::new(1200);
        ghosts.insert(7);
        assert_eq!((ghosts.take(7), ghosts.octets()), (false, 0));
    }
}
