//! Randomness that a seed repeats: SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators",
//! 2014).

/// A generator.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        scramble(self.0)
    }

    /// Below `end`, which is above zero.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.word() % end
    }

    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    /// Below `end`; small numbers come much more often, as with the names that people ask for.
    pub(crate) fn zipf(&mut self, end: u64) -> u64 {
        let uniform = self.below(1 << 20) as f64 / f64::from(1 << 20);
        (((end + 1) as f64).powf(uniform) as u64 - 1).min(end - 1)
    }

    /// `name` with its letters in random case.
    pub(crate) fn spelt(&mut self, name: &[u8]) -> Vec<u8> {
        name.iter().map(|octet| if self.percent(50) { octet.to_ascii_uppercase() } else { *octet }).collect()
    }
}

/// Mixes the bits of a word.
pub(crate) fn scramble(mut word: u64) -> u64 {
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}
