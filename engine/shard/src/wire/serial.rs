//! Serial numbers of zones (RFC 1982).

/// Whether serial `a` comes after serial `b` (RFC 1982 §3.2). Of two that lie half the circle apart neither does.
#[inline]
pub fn newer(a: u32, b: u32) -> bool {
    matches!(a.wrapping_sub(b), 1..0x8000_0000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_goes_round_the_circle() {
        for (a, b) in [(1, 0), (0, u32::MAX), (0x8000_0000, 1), (5, 0xffff_fff0), (0x7fff_ffff, 0)] {
            assert!(newer(a, b) && !newer(b, a), "{a} after {b}");
        }
        for (a, b) in [(7, 7), (0, 0x8000_0000), (0x8000_0001, 1)] {
            assert!(!newer(a, b) && !newer(b, a), "{a} and {b} are not in order");
        }
    }
}
