//! Which core reads which copy of the zones, and on which NUMA node a copy is made. Reads /sys, writes nothing.

use std::path::Path;
use std::sync::Arc;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use ringdns_shard::zone::Image;

use crate::config::Replicas;

/// Cores in groups that share one copy of each zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The group of each core, in the order of the cores.
    group_of_core: Vec<usize>,
    /// For each group the CPUs of its NUMA node; empty where the machine has one node only.
    node_cpus: Vec<Vec<usize>>,
}

impl Layout {
    /// The groups for cores on `cpus`, one core a CPU.
    pub(crate) fn new(cpus: &[usize], replicas: Replicas) -> Layout {
        Layout::of_nodes(cpus, replicas, &numa_nodes(Path::new("/sys/devices/system/node")))
    }

    fn of_nodes(cpus: &[usize], replicas: Replicas, nodes: &[Vec<usize>]) -> Layout {
        let node_of = |cpu: &usize| nodes.iter().position(|node| node.contains(cpu)).unwrap_or(0);
        // Placement matters only where there is a choice.
        let cpus_of = |node: usize| if nodes.len() > 1 { nodes[node].clone() } else { Vec::new() };
        match replicas {
            Replicas::Core => Layout {
                group_of_core: (0..cpus.len()).collect(),
                node_cpus: cpus.iter().map(|cpu| cpus_of(node_of(cpu))).collect(),
            },
            Replicas::Node => {
                let mut used: Vec<usize> = cpus.iter().map(node_of).collect();
                used.sort_unstable();
                used.dedup();
                let group =
                    |cpu| used.iter().position(|node| *node == node_of(cpu)).expect("every node is among those used");
                Layout {
                    group_of_core: cpus.iter().map(group).collect(),
                    node_cpus: used.iter().map(|node| cpus_of(*node)).collect(),
                }
            }
        }
    }

    /// Cores.
    pub(crate) fn cores(&self) -> usize {
        self.group_of_core.len()
    }

    /// Groups: copies of each zone.
    pub(crate) fn groups(&self) -> usize {
        self.node_cpus.len()
    }

    /// The group of a core.
    pub(crate) fn group(&self, core: usize) -> usize {
        self.group_of_core[core]
    }

    /// A copy of each image for each group, in memory of the group's node: for each image its copies.
    pub(crate) fn copies(&self, images: Vec<Image>) -> Vec<Vec<Arc<Image>>> {
        // One group needs no copy: it takes the image itself.
        if self.groups() == 1 || images.is_empty() {
            return images.into_iter().map(|image| vec![Arc::new(image)]).collect();
        }
        let of_group = self.on_each_node(|| images.iter().map(|image| Arc::new(Image::clone(image))).collect());
        let mut of_group: Vec<std::vec::IntoIter<Arc<Image>>> = of_group.into_iter().map(Vec::into_iter).collect();
        let next = |group: &mut std::vec::IntoIter<Arc<Image>>| group.next().expect("each group has each image");
        images.iter().map(|_| of_group.iter_mut().map(next).collect()).collect()
    }

    /// Runs `make` for each group, on a thread that allocates memory of the group's node.
    fn on_each_node<T: Send>(&self, make: impl Fn() -> T + Sync) -> Vec<T> {
        let make = &make;
        let made = |cpus: &Vec<usize>| {
            // Where there is one node, any thread is on it.
            if cpus.is_empty() {
                return make();
            }
            std::thread::scope(|scope| {
                let thread = scope.spawn(move || {
                    stay_on(cpus);
                    make()
                });
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        };
        self.node_cpus.iter().map(made).collect()
    }
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
        assert_eq!((core.groups(), core.group(2)), (3, 2));
        let node = Layout::of_nodes(&[3, 0, 2], Replicas::Node, &nodes());
        assert_eq!((node.groups(), node.cores()), (2, 3));
        assert_eq!([node.group(0), node.group(1), node.group(2)], [1, 0, 1]);
        assert_eq!(node.node_cpus, [vec![0, 1, 4], vec![2, 3, 5]]);
        let one_node = Layout::of_nodes(&[0, 1], Replicas::Node, &[]);
        assert_eq!((one_node.groups(), one_node.group(1)), (1, 0));
    }

    #[test]
    fn each_group_gets_a_copy_of_each_image() {
        let image = |serial: u8| {
            let key = ringdns_shard::wire::name::HashKey::from_seed([7; 16]);
            let mut builder = ringdns_shard::zone::Builder::new("a.test".parse().unwrap(), key);
            let soa = [&[0, 0, 0, 0, 0, serial][..], &[0; 16]].concat();
            let place = ringdns_shard::zone::Place::default();
            builder.push(b"\x01a\x04test\0", 6, 1, &soa, place).unwrap();
            builder.push(b"\x01a\x04test\0", 2, 1, &[0], place).unwrap();
            builder.finish().unwrap()
        };
        for nodes in [vec![], vec![vec![0], vec![0]]] {
            let layout = Layout::of_nodes(&[0, 1, 2], Replicas::Core, &nodes);
            let copies = layout.copies(vec![image(1), image(2)]);
            assert_eq!(copies.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3]);
            assert!(!Arc::ptr_eq(&copies[0][0], &copies[0][1]));
            assert!(copies[1].iter().all(|copy| copy.serial() == 2));
        }
        let one = Layout::of_nodes(&[0, 1], Replicas::Node, &[]);
        assert_eq!(one.copies(vec![image(1)])[0].len(), 1);
        assert!(one.copies(Vec::new()).is_empty());
    }
}
