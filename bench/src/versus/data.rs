//! Zones and questions, the same on every machine, written into a folder that is removed at the end.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::configuration::Zone;
use super::generator::Generator;
use super::servers::find_program;

/// A folder of this run's, removed with all that is in it when dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Below TMPDIR, with the process's number in its name.
    ///
    /// # Errors
    /// When it cannot be made, or its path has a space or a quote, which configurations of servers could not name.
    pub fn new() -> io::Result<Scratch> {
        let path = std::env::temp_dir().join(format!("ringdns-bench-{}", std::process::id()));
        if path.to_string_lossy().contains([' ', '\t', '"', '\\', '#']) {
            return Err(io::Error::other(format!(
                "TMPDIR {} has characters that configurations do not take",
                path.display()
            )));
        }
        fs::create_dir(&path)?;
        Ok(Scratch(path))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} stays: {error}", self.0.display());
        }
    }
}

/// What a zone has beside SOA and NS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// So many names `hN`, each with an address.
    Addresses(usize),
    /// So many cuts `dN`, each with a name server and its address below the cut.
    Cuts(usize),
    /// A wildcard, so that every name has an address.
    Wildcard,
}

/// How a zone is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// Proofs by NSEC.
    Nsec,
    /// Proofs by NSEC3, without salt and further iterations (RFC 9276).
    Nsec3,
}

/// Writes the zone `name` into `folder`, as its version `serial`.
///
/// # Errors
/// When the file cannot be written.
pub fn zone(folder: &Path, name: &str, content: Content, serial: u32) -> io::Result<Zone> {
    let file = folder.join(format!("{name}.zone"));
    let mut out = BufWriter::new(File::create(&file)?);
    write!(out, "$ORIGIN {name}.\n$TTL 3600\n@ SOA ns h {serial} 3600 900 604800 60\n@ NS ns\nns A 192.0.2.1\n")?;
    writeln!(out, "version A {}", Ipv4Addr::from(version_address(serial)))?;
    match content {
        Content::Addresses(names) => {
            for i in 0..names {
                writeln!(out, "h{i} A 10.{}.{}.{}", i >> 16 & 255, i >> 8 & 255, i & 255)?;
            }
        }
        Content::Cuts(cuts) => {
            for i in 0..cuts {
                writeln!(out, "d{i} NS ns.d{i}\nns.d{i} A 10.{}.{}.{}", i >> 16 & 255, i >> 8 & 255, i & 255)?;
            }
        }
        Content::Wildcard => writeln!(out, "* A 192.0.2.2")?,
    }
    out.flush()?;
    Ok(Zone { name: name.to_owned(), file })
}

/// The address of the name `version` in a zone of this serial: it tells one version from another (RFC 5737).
#[must_use]
pub fn version_address(serial: u32) -> [u8; 4] {
    [203, 0, 113, serial as u8]
}

/// Signs a zone with ECDSA P-256, by `dnssec-signzone` or `ldns-signzone`, whichever is installed.
///
/// # Errors
/// In words, when none is, or it fails.
pub fn sign(folder: &Path, zone: &Zone, signed: Signed) -> Result<Zone, String> {
    let keys = folder.join(format!("{}-{signed:?}", zone.name));
    fs::create_dir_all(&keys).map_err(|error| error.to_string())?;
    let file = keys.join("signed.zone");
    let (name, source, target) = (&zone.name, zone.file.display(), file.display());
    if find_program("dnssec-signzone").is_some() && find_program("dnssec-keygen").is_some() {
        let key = run(&keys, &format!("dnssec-keygen -q -a ECDSAP256SHA256 -f KSK {name}"))?;
        let proofs = if signed == Signed::Nsec3 { " -3 - -H 0" } else { "" };
        run(
            &keys,
            &format!("dnssec-signzone -q -S -P -z -x -K . -o {name}{proofs} -f {target} {source} {}", key.trim()),
        )?;
    } else if find_program("ldns-signzone").is_some() && find_program("ldns-keygen").is_some() {
        let key = run(&keys, &format!("ldns-keygen -k -a ECDSAP256SHA256 {name}"))?;
        let proofs = if signed == Signed::Nsec3 { " -n -t 0 -s -" } else { "" };
        run(&keys, &format!("ldns-signzone -o {name}{proofs} -f {target} {source} {}", key.trim()))?;
    } else {
        return Err("neither dnssec-signzone (bind9-dnsutils) nor ldns-signzone (ldnsutils) is installed".to_owned());
    }
    Ok(Zone { name: name.clone(), file })
}

fn run(folder: &Path, line: &str) -> Result<String, String> {
    let mut words = line.split_whitespace();
    let program = words.next().and_then(find_program).ok_or("the program is gone")?;
    let output = Command::new(program).args(words).current_dir(folder).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{line}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// Questions for addresses, in the order in which they are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Questions {
    /// Before the number.
    pub prefix: &'static str,
    /// The zone, without the last dot.
    pub zone: String,
    /// The numbers of the names.
    pub numbers: Vec<u32>,
    /// Whether signatures are wanted: EDNS with DO.
    pub dnssec_ok: bool,
    /// The rcode that is right; replies with others do not count.
    pub rcode: u8,
}

/// Questions of a list that is gone through again and again.
const LIST: usize = 100_000;

impl Questions {
    /// Names of a zone at random, all alike.
    #[must_use]
    pub fn uniform(prefix: &'static str, zone: &str, names: usize) -> Questions {
        let mut random = Random(1);
        let list = LIST.max(names);
        Self::of(prefix, zone, (0..list).map(|_| random.below(names as u64) as u32).collect())
    }

    /// Names of a zone at random, the first of them the most popular: Zipf with an exponent of 0.9.
    #[must_use]
    pub fn zipf(prefix: &'static str, zone: &str, names: usize) -> Questions {
        let mut sum = 0.0;
        let sums: Vec<f64> = (0..names)
            .map(|i| {
                sum += ((i + 1) as f64).powf(-0.9);
                sum
            })
            .collect();
        let mut random = Random(1);
        let draw = |_| {
            let at = random.unit() * sum;
            sums.partition_point(|&upto| upto <= at).min(names - 1) as u32
        };
        Self::of(prefix, zone, (0..2 * LIST).map(draw).collect())
    }

    /// Each name once.
    #[must_use]
    pub fn unique(prefix: &'static str, zone: &str, names: usize) -> Questions {
        Self::of(prefix, zone, (0..names as u32).collect())
    }

    fn of(prefix: &'static str, zone: &str, numbers: Vec<u32>) -> Questions {
        Questions { prefix, zone: zone.to_owned(), numbers, dnssec_ok: false, rcode: 0 }
    }

    /// With DO.
    #[must_use]
    pub fn dnssec_ok(mut self) -> Questions {
        self.dnssec_ok = true;
        self
    }

    /// For names that do not exist.
    #[must_use]
    pub fn absent(mut self) -> Questions {
        self.rcode = 3;
        self
    }

    /// The name at `place`, without the last dot.
    #[must_use]
    pub fn name(&self, place: usize) -> String {
        format!("{}{}.{}", self.prefix, self.numbers[place], self.zone)
    }

    /// Writes the list as the generator reads it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path, generator: Generator) -> io::Result<()> {
        let mut out = BufWriter::new(File::create(path)?);
        let flag = if self.dnssec_ok && generator == Generator::Kxdpgun { " D" } else { "" };
        for place in 0..self.numbers.len() {
            writeln!(out, "{} A{flag}", self.name(place))?;
        }
        out.flush()
    }

    /// The queries as messages, with the id 0.
    #[must_use]
    pub fn messages(&self) -> Messages {
        let mut messages = Messages { octets: Vec::new(), ends: Vec::new() };
        let mut name = String::new();
        for number in &self.numbers {
            name.clear();
            let _ = write!(name, "{}{number}.{}", self.prefix, self.zone);
            push_query(&mut messages.octets, &name, self.dnssec_ok);
            messages.ends.push(messages.octets.len());
        }
        messages
    }
}

/// One query, with the id 0.
#[must_use]
pub fn query(name: &str, dnssec_ok: bool) -> Vec<u8> {
    let mut octets = Vec::new();
    push_query(&mut octets, name, dnssec_ok);
    octets
}

/// Messages one behind the other.
#[derive(Clone, Debug)]
pub struct Messages {
    octets: Vec<u8>,
    ends: Vec<usize>,
}

impl Messages {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// The message at `place`.
    #[must_use]
    pub fn at(&self, place: usize) -> &[u8] {
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.octets[start..self.ends[place]]
    }
}

/// A query for addresses with the id 0 that wants no recursion, which only forwarders would offer, but for its bit: it is
/// what stub resolvers send. RFC 1035 §4, and RFC 6891 for DO.
fn push_query(octets: &mut Vec<u8>, name: &str, dnssec_ok: bool) {
    octets.extend([0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(dnssec_ok)]);
    for label in name.split('.') {
        octets.push(label.len() as u8);
        octets.extend(label.as_bytes());
    }
    octets.extend([0, 0, 1, 0, 1]);
    if dnssec_ok {
        octets.extend([0, 0, 41, 0x04, 0xd0, 0, 0, 0x80, 0, 0, 0]);
    }
}

/// SplitMix64 (Steele and others, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringdns_shard::wire::message::Header;

    #[test]
    fn popular_names_come_first_and_all_are_of_the_zone() {
        let questions = Questions::zipf("h", "bench.test", 20_000);
        assert_eq!(questions.numbers.len(), 2 * LIST);
        assert!(questions.numbers.iter().all(|&number| number < 20_000));
        let share =
            |below| questions.numbers.iter().filter(|&&number| number < below).count() as f64 / (2 * LIST) as f64;
        // The sum of i^-0.9 to 200 is 7.6, to 20,000 it is 17.6.
        assert!((0.40..0.46).contains(&share(200)), "{}", share(200));
        assert_eq!(Questions::uniform("h", "bench.test", 10).numbers.iter().max(), Some(&9));
    }

    #[test]
    fn lists_are_written_for_each_generator() {
        let folder = std::env::temp_dir().join(format!("ringdns-bench-list-{}", std::process::id()));
        let questions = Questions::unique("nx", "bench.test", 2).dnssec_ok().absent();
        questions.write(&folder, Generator::Kxdpgun).unwrap();
        assert_eq!(fs::read_to_string(&folder).unwrap(), "nx0.bench.test A D\nnx1.bench.test A D\n");
        questions.write(&folder, Generator::Dnsperf).unwrap();
        assert_eq!(fs::read_to_string(&folder).unwrap(), "nx0.bench.test A\nnx1.bench.test A\n");
        fs::remove_file(&folder).unwrap();
    }

    #[test]
    fn messages_are_queries() {
        let messages = Questions::unique("h", "bench.test", 12).dnssec_ok().messages();
        assert_eq!(messages.count(), 12);
        for place in [0, 11] {
            assert_eq!(Header::parse(messages.at(place)).unwrap().counts, [1, 0, 0, 1]);
        }
        assert_eq!(&messages.at(11)[12..28], b"\x03h11\x05bench\x04test\0");
    }
}
