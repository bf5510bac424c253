//! The allocator of the process: mimalloc, and which of its memory lies in huge pages.
//!
//! Huge pages spare what is large and read at random, as the image of a large zone, most misses of the address
//! translation. For what is small they are waste: mimalloc gives each thread pages of its own for each size of block,
//! scattered over its arena, and each of those would take 2 MiB. So mimalloc is built to ask for none (feature
//! `no_thp`), and large blocks alone are advised to the kernel, before anything is written into them. Where the kernel
//! gives huge pages to everybody (`always` in /sys/kernel/mm/transparent_hugepage/enabled), that is its owner's choice.

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::c_void;

use mimalloc::MiMalloc;

/// Octets of a huge page.
const HUGE_PAGE_OCTETS: usize = 2 << 20;
/// Blocks of so many octets lie in huge pages: at least half of each is made of whole ones.
const LARGE_OCTETS: usize = 2 * HUGE_PAGE_OCTETS;

/// The allocator.
#[derive(Clone, Copy, Debug)]
pub struct Memory;

// SAFETY: every block comes from mimalloc and goes back to it, with the layout that it was asked for; what is added in
// between is advice, which changes neither addresses nor contents.
unsafe impl GlobalAlloc for Memory {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are mimalloc's terms.
        let block = unsafe { MiMalloc.alloc(layout) };
        if layout.size() >= LARGE_OCTETS {
            advise(block, layout.size(), libc::MADV_HUGEPAGE);
        }
        block
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above. Fresh memory is zero without being written, so that the advice comes in time here, too.
        let block = unsafe { MiMalloc.alloc_zeroed(layout) };
        if layout.size() >= LARGE_OCTETS {
            advise(block, layout.size(), libc::MADV_HUGEPAGE);
        }
        block
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if layout.size() >= LARGE_OCTETS {
            // What will be small in the same place is not to lie in huge pages.
            advise(block, layout.size(), libc::MADV_NOHUGEPAGE);
        }
        // SAFETY: the caller's promises are mimalloc's terms.
        unsafe { MiMalloc.dealloc(block, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, octets: usize) -> *mut u8 {
        let is_large = octets.max(layout.size()) >= LARGE_OCTETS;
        // Mimalloc shortens a block where it lies, as long as half of it is left.
        let is_shortened = (layout.size() / 2..=layout.size()).contains(&octets);
        if !is_large || is_shortened {
            // SAFETY: the caller's promises are mimalloc's terms.
            let new = unsafe { MiMalloc.realloc(block, layout, octets) };
            if is_large && new == block {
                advise(block.wrapping_add(octets), layout.size() - octets, libc::MADV_NOHUGEPAGE);
            }
            return new;
        }
        // SAFETY: the caller promises that `octets` is not 0 and, rounded up to the alignment, fits `isize`.
        let other = unsafe { Layout::from_size_align_unchecked(octets, layout.align()) };
        // Another block, so that the advice comes before what is written.
        // SAFETY: the blocks are two, and each has at least as many octets as are copied.
        unsafe {
            let new = self.alloc(other);
            if !new.is_null() {
                block.copy_to_nonoverlapping(new, octets.min(layout.size()));
                self.dealloc(block, layout);
            }
            new
        }
    }
}

/// Tells the kernel how the whole huge pages of a block are to be held; none, where there is no block. That it does not
/// heed the advice costs speed or memory and nothing else.
#[cold]
fn advise(block: *mut u8, octets: usize, advice: libc::c_int) {
    let (begin, end) = (block.addr().next_multiple_of(HUGE_PAGE_OCTETS), block.addr() + octets);
    if !block.is_null() && begin < end {
        let whole = (end - begin) / HUGE_PAGE_OCTETS * HUGE_PAGE_OCTETS;
        // SAFETY: the range lies within the caller's block, and neither advice touches its contents.
        unsafe { libc::madvise(block.with_addr(begin).cast::<c_void>(), whole, advice) };
    }
}

/// Mimalloc's `mi_option_purge_delay`: milliseconds from when a page is free to when the kernel has it back.
const PURGE_DELAY: libc::c_int = 15;

unsafe extern "C" {
    /// Of mimalloc, which this crate links; so are the others.
    fn mi_collect(force: bool);
    fn mi_option_get(option: libc::c_int) -> libc::c_long;
    fn mi_option_set(option: libc::c_int, value: libc::c_long);
}

/// Does what takes more memory than is left of it, before anything is served: pages go back to the kernel as soon as they
/// are free, and do not lie about between those that stay.
pub fn sparingly<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: options are atomic words of mimalloc, which every thread may read and write at any time.
    let delay = unsafe { mi_option_get(PURGE_DELAY) };
    // SAFETY: as above.
    unsafe { mi_option_set(PURGE_DELAY, 0) };
    let made = work();
    // SAFETY: as above.
    unsafe { mi_option_set(PURGE_DELAY, delay) };
    made
}

/// Gives memory that is free back to the kernel: what this thread holds of it, and what no thread does. Worth its time,
/// some milliseconds, after much has been freed.
pub fn give_back() {
    // SAFETY: it takes no pointers and may be called on every thread at any time.
    unsafe { mi_collect(true) };
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The kernel's flags of the mapping that holds `address`.
    fn flags_at(address: usize) -> String {
        let maps = fs::read_to_string("/proc/self/smaps").unwrap();
        let mut is_it = false;
        for line in maps.lines() {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            let bound = |text| usize::from_str_radix(text, 16).ok();
            if let Some((Some(begin), Some(end))) = range.map(|(begin, end)| (bound(begin), bound(end))) {
                is_it = (begin..end).contains(&address);
            } else if let Some(flags) = line.strip_prefix("VmFlags:").filter(|_| is_it) {
                return flags.to_owned();
            }
        }
        panic!("no mapping holds {address:x}");
    }

    fn is_huge(address: usize) -> bool {
        flags_at(address).split(' ').any(|flag| flag == "hg")
    }

    #[test]
    fn large_blocks_alone_are_advised_and_keep_what_is_in_them() {
        if !std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists() {
            eprintln!("skipped: this kernel has no transparent huge pages");
            return;
        }
        let small = Layout::from_size_align(LARGE_OCTETS / 2, 8).unwrap();
        let large = Layout::from_size_align(2 * LARGE_OCTETS, 8).unwrap();
        // SAFETY: each block is used within its size, and given back once with the layout that it has then.
        unsafe {
            let block = Memory.alloc_zeroed(small);
            block.add(small.size() - 1).write(7);
            assert!(!is_huge(block.addr() + small.size() / 2));
            let block = Memory.realloc(block, small, large.size());
            assert_eq!((block.read(), block.add(small.size() - 1).read()), (0, 7));
            let middle = block.addr() + large.size() / 2;
            assert!(is_huge(middle), "{}", flags_at(middle));
            Memory.dealloc(block, large);
            assert!(!is_huge(middle), "{}", flags_at(middle));
            let block = Memory.alloc(large);
            assert!(is_huge(block.addr() + large.size() / 2));
            block.write_bytes(9, large.size());
            let smaller = Layout::from_size_align(large.size() - LARGE_OCTETS / 2, 8).unwrap();
            let block = Memory.realloc(block, large, smaller.size());
            assert!(is_huge(block.addr() + smaller.size() / 2));
            assert_eq!((block.read(), block.add(smaller.size() - 1).read()), (9, 9));
            let block = Memory.realloc(block, smaller, small.size());
            assert_eq!((block.read(), block.add(small.size() - 1).read()), (9, 9));
            Memory.dealloc(block, small);
        }
    }

    #[test]
    fn pages_go_back_at_once_while_memory_is_spared() {
        // SAFETY: as in `sparingly`.
        let delay = || unsafe { mi_option_get(PURGE_DELAY) };
        let before = delay();
        assert_eq!(before, 1_000, "the number is that of the option whose default this is");
        assert_eq!((sparingly(delay), delay()), (0, before));
    }

    #[test]
    fn memory_that_is_free_goes_back_to_the_kernel() {
        let resident = || {
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap().trim();
            line.split(' ').next().unwrap().parse::<usize>().unwrap()
        };
        let layout = Layout::from_size_align(1 << 10, 8).unwrap();
        // SAFETY: each block is written within its size, and given back once.
        let blocks: Vec<*mut u8> = (0..64 << 10).map(|_| unsafe { Memory.alloc(layout) }).collect();
        // SAFETY: as above.
        blocks.iter().for_each(|block| unsafe { block.write_bytes(1, layout.size()) });
        let full = resident();
        // SAFETY: as above.
        blocks.iter().for_each(|block| unsafe { Memory.dealloc(*block, layout) });
        give_back();
        let left = resident();
        assert!(left + (48 << 10) < full, "{left} of {full} kB are left");
    }
}
