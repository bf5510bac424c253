//! What a search will read, handed out before it is made.

use super::Cache;

impl Cache {
    /// Hands the octets that a search for `hash` reads first to `fetch`.
    #[inline]
    pub(crate) fn ahead(&self, _hash: u64, _fetch: &impl Fn(&[u8])) {}

    /// Hands the octets of the entry that stands under `hash` to `fetch`.
    #[inline]
    pub(crate) fn closer(&self, _hash: u64, _fetch: &impl Fn(&[u8])) {}
}
