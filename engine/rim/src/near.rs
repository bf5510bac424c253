//! Memory that will be read soon comes into the core's cache meanwhile.

/// Octets of a cache line, on the processors that there are builds for.
const LINE_OCTETS: usize = 64;

/// Has the lines of `octets` come into the cache, without waiting for them.
#[inline]
pub(crate) fn bring_near(octets: &[u8]) {
    for line in octets.chunks(LINE_OCTETS) {
        bring_line(line.as_ptr());
    }
    // Where the first octet is not at the beginning of a line, the last may be on one more.
    if let Some(last) = octets.last() {
        bring_line(last);
    }
}

#[inline]
fn bring_line(octet: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every processor of this architecture has the instruction, and it reads nothing: an address that cannot be
    // read is ignored.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(octet.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: it reads nothing: an address that cannot be read is ignored.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{octet}]", octet = in(reg) octet, options(nostack, readonly, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = octet;
}
