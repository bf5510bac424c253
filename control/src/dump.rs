//! The cache over a restart: a file in the state folder, written when the server is stopped, read when it starts, and
//! gone once it is read, so that what is flushed later does not come back.
//!
//! What the cores write and read is theirs (the portions of `ringdns_shard::cache`). Here it is put in a frame that tells
//! whether all of it is there, unharmed, and still what upstreams would be asked for. All integers are big-endian:
//!
//! ```text
//! 8 octets   "RDNCACHE"
//! 2 octets   the version of the format
//! 4 octets   cores
//! 8 octets   which names go to which servers, as a hash of the configuration
//! 8 octets   when it was written, in seconds since 1970
//! 4 octets   CRC-32 of these
//!
//! 1 octet    1: a portion; 0: the end
//! 4 octets   the core that wrote the portion; at the end how many portions there are
//! 4 octets   the length of the portion; at the end zero
//!            the portion
//! 4 octets   CRC-32 of all of these
//! ```
//!
//! A file is checked to its end before a core gets anything of it.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ringdns_shard::upstream::Kind;

use crate::config::Settings;
use crate::cores::{Cores, NotTaken, Portion};
use crate::zones;

const MAGIC: &[u8; 8] = b"RDNCACHE";
const VERSION: u16 = 1;
/// Octets of the head, its checksum not counted.
const HEAD_OCTETS: usize = 30;
/// Octets before a portion.
const BEFORE_OCTETS: usize = 9;
const CRC_OCTETS: usize = 4;
const PORTION: u8 = 1;
const END: u8 = 0;
/// Octets of a portion; cores end theirs much earlier.
const PORTION_OCTETS_MAX: usize = 1 << 20;
/// How long a core may take with a portion.
const CORE_LIMIT: Duration = Duration::from_secs(2);
/// How far the clock may have gone back since the file was written, in seconds.
const CLOCK_SLACK: u64 = 5;
/// A file that takes long to read is told of so often.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Where the cache is kept, and for whom.
#[derive(Clone, Debug)]
pub(crate) struct Dump {
    /// It shall not be written after all. Clones of a dump share it.
    is_cancelled: Arc<AtomicBool>,
    path: PathBuf,
    /// See [`fingerprint`].
    fingerprint: u64,
    cores: usize,
}

/// What came of reading.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// There is no file.
    Absent,
    /// It was read, so many answers were kept of it.
    Taken { answers: usize },
    /// It is of no use, and was put aside.
    Refused,
    /// The cores did not take all of it; it stays where it is.
    Left,
}

/// Why a file is of no use.
#[derive(Debug)]
enum Refused {
    Unreadable(io::Error),
    Foreign,
    Version(u16),
    Damaged(&'static str),
    OtherRoutes,
    FromTheFuture,
    NotTaken,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Unreadable(error) => write!(f, "it cannot be read: {error}"),
            Refused::Foreign => f.write_str("it is no cache of ringdns"),
            Refused::Version(version) => write!(f, "its format has version {version}, and {VERSION} is known here"),
            Refused::Damaged(what) => write!(f, "it is damaged: {what}"),
            Refused::OtherRoutes => f.write_str("routes or upstreams have been changed since it was written"),
            Refused::FromTheFuture => f.write_str("the clock has been put back since it was written"),
            Refused::NotTaken => f.write_str("a core finds answers in it malformed"),
        }
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Refused {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Refused::Damaged("it ends too early"),
            _ => Refused::Unreadable(error),
        }
    }
}

/// Why the cores have not got all of a file.
enum Stopped {
    Refused(Refused),
    Cores(String),
}

impl From<Refused> for Stopped {
    fn from(refused: Refused) -> Stopped {
        Stopped::Refused(refused)
    }
}

impl Dump {
    /// The file in the folder `state` of the caches of so many cores under these settings.
    pub(crate) fn new(state: &Path, settings: &Settings, cores: usize) -> Dump {
        Dump { is_cancelled: Arc::default(), path: state.join("cache"), fingerprint: fingerprint(settings), cores }
    }

    /// Ends a [`Dump::write`] of this dump or a clone of it, soon: what was there before stays.
    pub(crate) fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
    }

    /// Writes what the cores have in their caches, within `limit`, or nothing; logs how it went. Returns how many octets
    /// there are, or why there is no file. Blocks.
    pub(crate) fn write(&self, cores: &dyn Cores, unix_seconds: u64, limit: Duration) -> Result<u64, String> {
        let begin = Instant::now();
        let mut octets = 0;
        // What people ask for is nobody else's business.
        let written = zones::replace_as(&self.path, 0o600, |out| {
            octets = self.write_to(cores, unix_seconds, begin + limit, out)?;
            Ok(())
        });
        let path = self.path.display();
        match written {
            Ok(()) => {
                log::info!("the cache is kept in {path}: {octets} octets, in {:.1?}", begin.elapsed());
                Ok(octets)
            }
            Err(error) => {
                let why = format!("the cache is not kept in {path}: {error}");
                log::warn!("{why}");
                Err(why)
            }
        }
    }

    fn write_to(&self, cores: &dyn Cores, unix_seconds: u64, end: Instant, out: &mut dyn Write) -> io::Result<u64> {
        let mut head = Vec::with_capacity(HEAD_OCTETS);
        head.extend(MAGIC);
        head.extend(VERSION.to_be_bytes());
        head.extend((self.cores as u32).to_be_bytes());
        head.extend(self.fingerprint.to_be_bytes());
        head.extend(unix_seconds.to_be_bytes());
        out.write_all(&head)?;
        out.write_all(&crc32fast::hash(&head).to_be_bytes())?;
        let (mut portions, mut octets) = (0u32, 0);
        for core in 0..self.cores {
            let mut cursor = Some(0);
            while let Some(at) = cursor {
                let left = end.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(io::Error::other("it takes too long"));
                }
                if self.is_cancelled.load(Ordering::Relaxed) {
                    return Err(io::Error::other("it shall not be written any more"));
                }
                let portion = cores.cache_out(core, at, left.min(CORE_LIMIT)).map_err(io::Error::other)?;
                let Portion { octets: portion, next } = portion;
                if !portion.is_empty() {
                    write_block(out, PORTION, core as u32, &portion)?;
                    portions += 1;
                    octets += portion.len() as u64;
                }
                cursor = next;
            }
        }
        write_block(out, END, portions, &[])?;
        Ok(octets)
    }

    /// Whether there is something to be read.
    pub(crate) fn is_there(&self) -> bool {
        self.path.exists()
    }

    /// Reads the file, gives the cores what it holds while they serve, and says how it went. Blocks.
    pub(crate) fn read(&self, cores: &dyn Cores, unix_seconds: u64) -> End {
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return End::Absent,
            Err(error) => return self.refuse(&Refused::Unreadable(error)),
            Ok(file) => file,
        };
        let begin = Instant::now();
        match self.take(file, cores, unix_seconds) {
            Ok(answers) => {
                log::info!("the cache is as it was: {answers} answers kept, in {:.1?}", begin.elapsed());
                End::Taken { answers }
            }
            Err(Stopped::Refused(refused)) => self.refuse(&refused),
            Err(Stopped::Cores(why)) => {
                log::warn!("the cache in {} has not been read to its end: {why}", self.path.display());
                End::Left
            }
        }
    }

    /// Removes the file: what it holds is in the cores.
    pub(crate) fn forget(&self) {
        if let Err(error) = zones::remove(&self.path) {
            log::warn!("{} is of no more use and cannot be removed: {error}", self.path.display());
        }
    }

    fn take(&self, file: File, cores: &dyn Cores, unix_seconds: u64) -> Result<usize, Stopped> {
        let length = file.metadata().map_err(Refused::Unreadable)?.len();
        let mut reader = Reader { file: BufReader::with_capacity(1 << 16, file), portions: 0 };
        let mut portion = Vec::new();
        let their_cores = self.check_head(reader.head()?, unix_seconds)?;
        while reader.next(&mut portion)?.is_some() {}

        let mut reader = reader.again()?;
        reader.head()?;
        let (mut answers, mut told) = (0, Instant::now());
        while let Some(writer) = reader.next(&mut portion)? {
            let core = if their_cores == self.cores { writer as usize } else { reader.portions as usize };
            match cores.cache_in(core % self.cores, std::mem::take(&mut portion), CORE_LIMIT) {
                Ok(kept) => answers += kept,
                Err(NotTaken::Malformed) => return Err(Refused::NotTaken.into()),
                Err(NotTaken::Unresponsive(why)) => return Err(Stopped::Cores(why)),
            }
            if told.elapsed() >= TELL_EVERY {
                told = Instant::now();
                let at = reader.file.stream_position().map_err(Refused::Unreadable)?;
                log::info!("the cache is read: {} %, {answers} answers", at * 100 / length.max(1));
            }
        }
        Ok(answers)
    }

    /// How many cores wrote the file, which is of use now.
    fn check_head(&self, head: Head, unix_seconds: u64) -> Result<usize, Refused> {
        if head.fingerprint != self.fingerprint {
            return Err(Refused::OtherRoutes);
        }
        // Answers would be younger than they are.
        if head.unix_seconds > unix_seconds.saturating_add(CLOCK_SLACK) {
            return Err(Refused::FromTheFuture);
        }
        Ok(head.cores as usize)
    }

    /// Puts the file aside, for somebody to look at.
    fn refuse(&self, refused: &Refused) -> End {
        let aside = self.path.with_file_name("cache.refused");
        let path = self.path.display();
        match fs::rename(&self.path, &aside) {
            Ok(()) => log::error!("the cache in {path} is refused: {refused}; it is {} now", aside.display()),
            Err(error) => log::error!("the cache in {path} is refused: {refused}; it cannot be put aside: {error}"),
        }
        End::Refused
    }
}

fn write_block(out: &mut dyn Write, tag: u8, number: u32, octets: &[u8]) -> io::Result<()> {
    let mut before = [tag; BEFORE_OCTETS];
    before[1..5].copy_from_slice(&number.to_be_bytes());
    before[5..].copy_from_slice(&(octets.len() as u32).to_be_bytes());
    let mut crc = crc32fast::Hasher::new();
    crc.update(&before);
    crc.update(octets);
    out.write_all(&before)?;
    out.write_all(octets)?;
    out.write_all(&crc.finalize().to_be_bytes())
}

/// What stands at the beginning of a file.
#[derive(Clone, Copy, Debug)]
struct Head {
    cores: u32,
    fingerprint: u64,
    unix_seconds: u64,
}

/// Reads a file from its beginning to its end.
struct Reader<R> {
    file: BufReader<R>,
    /// Portions read so far.
    portions: u32,
}

impl<R: Read> Reader<R> {
    fn head(&mut self) -> Result<Head, Refused> {
        let mut octets = [0; HEAD_OCTETS + CRC_OCTETS];
        self.file.read_exact(&mut octets)?;
        let (head, crc) = octets.split_at(HEAD_OCTETS);
        if !head.starts_with(MAGIC) {
            return Err(Refused::Foreign);
        }
        let version = u16::from_be_bytes(array(head, 8));
        if version != VERSION {
            return Err(Refused::Version(version));
        }
        if crc32fast::hash(head).to_be_bytes() != crc {
            return Err(Refused::Damaged("the checksum of its head is wrong"));
        }
        Ok(Head {
            cores: u32::from_be_bytes(array(head, 10)),
            fingerprint: u64::from_be_bytes(array(head, 14)),
            unix_seconds: u64::from_be_bytes(array(head, 22)),
        })
    }

    /// Reads the next portion, and says which core wrote it; `None` at the end of a file that is whole.
    fn next(&mut self, portion: &mut Vec<u8>) -> Result<Option<u32>, Refused> {
        let mut before = [0; BEFORE_OCTETS];
        self.file.read_exact(&mut before)?;
        let number = u32::from_be_bytes(array(&before, 1));
        let length = u32::from_be_bytes(array(&before, 5)) as usize;
        if length > PORTION_OCTETS_MAX {
            return Err(Refused::Damaged("a portion is too long"));
        }
        portion.clear();
        portion.resize(length, 0);
        self.file.read_exact(portion)?;
        let mut theirs = [0; CRC_OCTETS];
        self.file.read_exact(&mut theirs)?;
        let mut crc = crc32fast::Hasher::new();
        crc.update(&before);
        crc.update(portion);
        if crc.finalize().to_be_bytes() != theirs {
            return Err(Refused::Damaged("the checksum of a portion is wrong"));
        }
        match before[0] {
            PORTION => {
                self.portions += 1;
                Ok(Some(number))
            }
            END if number != self.portions => Err(Refused::Damaged("portions are missing")),
            END if self.file.read(&mut [0])? != 0 => Err(Refused::Damaged("something stands behind its end")),
            END => Ok(None),
            _ => Err(Refused::Damaged("it has a block of an unknown kind")),
        }
    }
}

impl<R: Read + Seek> Reader<R> {
    /// Begins again.
    fn again(mut self) -> Result<Reader<R>, Refused> {
        self.file.rewind().map_err(Refused::Unreadable)?;
        Ok(Reader { portions: 0, ..self })
    }
}

fn array<const N: usize>(octets: &[u8], at: usize) -> [u8; N] {
    *octets[at..].first_chunk().expect("the caller has so many")
}

/// What makes a cached answer what its name would get today: which names go to which servers, and what these are to us.
/// The same in every process (FNV-1a), however the file has it.
fn fingerprint(settings: &Settings) -> u64 {
    let mut hash = Fnv::default();
    let mut routes: Vec<_> = settings.route.iter().filter(|route| !route.refuses()).collect();
    routes.sort_by(|a, b| a.suffix.cmp(&b.suffix));
    for route in routes {
        hash.add(route.suffix.as_wire());
        let of_route = |name: &str| settings.upstream.iter().find(|upstream| *upstream.name == *name);
        let mut pools: Vec<_> = route.to.iter().filter_map(|name| of_route(name)).collect();
        pools.sort_by_key(|upstream| *upstream.priority);
        for upstream in pools {
            hash.add(match *upstream.kind {
                Kind::Resolver => b"resolver",
                Kind::Authoritative => b"authoritative",
            });
            upstream.servers.iter().for_each(|server| hash.add(server.to_string().as_bytes()));
        }
    }
    hash.0
}

/// FNV-1a (Fowler, Noll, Vo) over texts, each with its length.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, text: &[u8]) {
        for octet in (text.len() as u32).to_be_bytes().iter().chain(text) {
            self.0 = (self.0 ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests;
