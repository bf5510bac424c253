//! Which core reads which copy of the zones, and on which NUMA node a copy is made. Reads /sys, writes nothing.

use std::path::Path;
use std::sync::Arc;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use ringdns_shard::zone::Image;

use crate::config::Replicas;
use crate::zones::Party;

/// Octets of an image of which there is one copy a NUMA node, whatever the settings say. Cores read images and write
/// nothing into them, so that a shared line is as near as one of their own; what copies may spare is the way to another
/// node. With thousands of small zones a copy for each core would push the others out of the caches that cores share.
const SHARED_OCTETS_MAX: usize = 64 << 10;

/// Which cores share a copy of a zone: those of a group, or where the zone is small those of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// As the settings want it.
    large: Groups,
    /// One a node.
    small: Groups,
}

/// Cores in groups that share one copy of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Groups {
    /// The group of each core, in the order of the cores.
    of_core: Vec<usize>,
    /// For each group the CPUs of its NUMA node; empty where the machine has one node only.
    node_cpus: Vec<Vec<usize>>,
}

impl Layout {
    /// The groups for cores on `cpus`, one core a CPU.
    pub(crate) fn new(cpus: &[usize], replicas: Replicas) -> Layout {
        Layout::of_nodes(cpus, replicas, &numa_nodes(Path::new("/sys/devices/system/node")))
    }

    fn of_nodes(cpus: &[usize], replicas: Replicas, nodes: &[Vec<usize>]) -> Layout {
        let small = Groups::of_nodes(cpus, nodes);
        let large = match replicas {
            Replicas::Core => Groups::of_cores(cpus, nodes),
            Replicas::Node => small.clone(),
        };
        Layout { large, small }
    }

    /// Cores.
    pub(crate) fn cores(&self) -> usize {
        self.large.of_core.len()
    }

    fn groups(&self, image: &Image) -> &Groups {
        if image.octets() <= SHARED_OCTETS_MAX { &self.small } else { &self.large }
    }

    /// The copy that a core reads, of those that [`Layout::copies`] has made of one image.
    pub(crate) fn of_core<'a>(&self, core: usize, copies: &'a [Arc<Image>]) -> &'a Arc<Image> {
        &copies[self.groups(&copies[0]).of_core[core]]
    }

    /// A copy of each image for each group of cores, in memory of the group's node: for each image its copies.
    pub(crate) fn copies(&self, images: Vec<Image>) -> Vec<Box<[Arc<Image>]>> {
        // One group needs no copy: it takes the image itself.
        let one = |groups: &Groups| groups.node_cpus.len() == 1;
        let mut copies: Vec<Box<[Arc<Image>]>> = Vec::with_capacity(images.len());
        let mut copied: Vec<(usize, Image)> = Vec::new();
        for (at, image) in images.into_iter().enumerate() {
            if one(self.groups(&image)) {
                copies.push(Box::new([Arc::new(image)]));
            } else {
                copied.push((at, image));
                copies.push(Box::default());
            }
        }
        for groups in [&self.large, &self.small] {
            let of_groups: Vec<&(usize, Image)> =
                copied.iter().filter(|(_, image)| std::ptr::eq(self.groups(image), groups)).collect();
            if of_groups.is_empty() {
                continue;
            }
            let made = groups.on_each_node(|| -> Vec<Arc<Image>> {
                of_groups.iter().map(|(_, image)| Arc::new(Image::clone(image))).collect()
            });
            for (nth, (at, _)) in of_groups.iter().enumerate() {
                copies[*at] = made.iter().map(|of_group| Arc::clone(&of_group[nth])).collect();
            }
        }
        copies
    }
}

impl Groups {
    /// A group for each core.
    fn of_cores(cpus: &[usize], nodes: &[Vec<usize>]) -> Groups {
        let node_cpus = cpus.iter().map(|cpu| cpus_of(nodes, node_of(nodes, *cpu))).collect();
        Groups { of_core: (0..cpus.len()).collect(), node_cpus }
    }

    /// A group for each node that has cores.
    fn of_nodes(cpus: &[usize], nodes: &[Vec<usize>]) -> Groups {
        let mut used: Vec<usize> = cpus.iter().map(|cpu| node_of(nodes, *cpu)).collect();
        used.sort_unstable();
        used.dedup();
        let group = |cpu: &usize| {
            used.iter().position(|node| *node == node_of(nodes, *cpu)).expect("every node is among those used")
        };
        Groups {
            of_core: cpus.iter().map(group).collect(),
            node_cpus: used.iter().map(|node| cpus_of(nodes, *node)).collect(),
        }
    }

    /// Runs `make` for each group, on a thread that allocates memory of the group's node.
    fn on_each_node<T: Send>(&self, make: impl Fn() -> T + Sync) -> Vec<T> {
        let make = &make;
        let made = |cpus: &Vec<usize>| {
            // Where there is one node, any thread is on it.
            if cpus.is_empty() {
                return make();
            }
            let party = Party::here();
            std::thread::scope(|scope| {
                let thread = scope.spawn(move || {
                    let _joined = party.as_ref().map(Party::join);
                    stay_on(cpus);
                    make()
                });
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        };
        self.node_cpus.iter().map(made).collect()
    }
}

fn node_of(nodes: &[Vec<usize>], cpu: usize) -> usize {
    nodes.iter().position(|node| node.contains(&cpu)).unwrap_or(0)
}

/// Placement matters only where there is a choice.
fn cpus_of(nodes: &[Vec<usize>], node: usize) -> Vec<usize> {
    if nodes.len() > 1 { nodes[node].clone() } else { Vec::new() }
}

/// Keeps the calling thread on `cpus`. Where that is forbidden it stays where it is: memory is then further away, and
/// nothing else differs.
fn stay_on(cpus: &[usize]) {
    let mut set = CpuSet::new();
    let known = cpus.iter().filter(|cpu| set.set(**cpu).is_ok()).count();
    if known > 0 && sched_setaffinity(Pid::from_raw(0), &set).is_err() {
        log::debug!("the kernel does not let zones be copied on the CPUs {cpus:?}");
    }
}

/// The CPUs of each NUMA node; empty where the kernel does not tell.
fn numa_nodes(folder: &Path) -> Vec<Vec<usize>> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut nodes: Vec<(usize, Vec<usize>)> = entries
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.strip_prefix("node")?.parse().ok()?;
            let cpus = cpu_list(&std::fs::read_to_string(entry.path().join("cpulist")).ok()?);
            (!cpus.is_empty()).then_some((number, cpus))
        })
        .collect();
    nodes.sort_unstable();
    nodes.into_iter().map(|(_, cpus)| cpus).collect()
}

/// A list as the kernel writes it, such as `0-3,8`.
fn cpu_list(text: &str) -> Vec<usize> {
    let ranges = text.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        (last < CpuSet::count()).then_some(first..=last)
    });
    ranges.flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes() -> Vec<Vec<usize>> {
        let folder = tempfile::tempdir().unwrap();
        for (name, cpus) in [("node0", "0-1,4\n"), ("node1", "2-3,5\n"), ("node2", "\n"), ("has_cpu", "0-1\n")] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            std::fs::write(folder.path().join(name).join("cpulist"), cpus).unwrap();
        }
        numa_nodes(folder.path())
    }

    #[test]
    fn nodes_are_read_as_the_kernel_writes_them() {
        assert_eq!(nodes(), [vec![0, 1, 4], vec![2, 3, 5]]);
        assert!(numa_nodes(Path::new("/nonexistent")).is_empty());
        assert!(cpu_list("0-999999999999,x,-").is_empty());
    }

    #[test]
    fn a_core_reads_a_copy_of_its_own_or_of_its_node() {
        let core = Layout::of_nodes(&[0, 2, 3], Replicas::Core, &nodes());
        assert_eq!((core.cores(), &*core.large.of_core, &*core.small.of_core), (3, &[0, 1, 2][..], &[0, 1, 1][..]));
        let node = Layout::of_nodes(&[3, 0, 2], Replicas::Node, &nodes());
        assert_eq!((node.cores(), &*node.large.of_core), (3, &[1, 0, 1][..]));
        assert_eq!(node.large, node.small);
        assert_eq!(node.large.node_cpus, [vec![0, 1, 4], vec![2, 3, 5]]);
        let one_node = Layout::of_nodes(&[0, 1], Replicas::Node, &[]);
        assert_eq!((one_node.large.node_cpus.len(), one_node.large.of_core[1]), (1, 0));
    }

    /// A zone with so many TXT records of 251 octets.
    fn image(serial: u8, texts: u16) -> Image {
        let key = ringdns_shard::wire::name::HashKey::from_seed([7; 16]);
        let mut builder = ringdns_shard::zone::Builder::new("a.test".parse().unwrap(), key);
        let soa = [&[0, 0, 0, 0, 0, serial][..], &[0; 16]].concat();
        let place = ringdns_shard::zone::Place::default();
        let mut push = |rtype: u16, data: &[u8]| builder.push(b"\x01a\x04test\0", rtype, 1, data, place).unwrap();
        push(6, &soa);
        push(2, &[0]);
        (0..texts).for_each(|text| push(16, &[&[250][..], &text.to_be_bytes().repeat(125)].concat()));
        builder.finish().unwrap()
    }

    #[test]
    fn each_group_gets_a_copy_of_each_large_image_and_each_node_of_each_small_one() {
        let large = || image(2, 300);
        assert!((SHARED_OCTETS_MAX..SHARED_OCTETS_MAX * 2).contains(&large().octets()));
        for (nodes, nodes_used) in [(vec![], 1), (vec![vec![0], vec![1, 2]], 2)] {
            let layout = Layout::of_nodes(&[0, 1, 2], Replicas::Core, &nodes);
            let copies = layout.copies(vec![image(1, 2), large(), image(3, 2)]);
            assert_eq!(copies.iter().map(|copies| copies.len()).collect::<Vec<_>>(), [nodes_used, 3, nodes_used]);
            assert!(!Arc::ptr_eq(&copies[1][0], &copies[1][1]));
            for (copies, serial) in copies.iter().zip([1, 2, 3]) {
                assert!(copies.iter().all(|copy| copy.serial() == serial && Arc::strong_count(copy) == 1));
                assert!(Arc::ptr_eq(layout.of_core(0, copies), &copies[0]));
                assert!(Arc::ptr_eq(layout.of_core(2, copies), copies.last().unwrap()));
            }
        }
        let one = Layout::of_nodes(&[0, 1], Replicas::Node, &[]);
        assert_eq!(one.copies(vec![large()])[0].len(), 1);
        assert!(one.copies(Vec::new()).is_empty());
    }
}
