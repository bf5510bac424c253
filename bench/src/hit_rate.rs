//! How often the cache has what is asked for, beside policies of the literature that hold as many answers: a trace whose
//! names are as popular as Zipf's law says, and a scan of one-time names that passes over a hot set.
//!
//! ringdns is asked as it is, answers and all. The others are counted in answers and hold as many of them as ringdns in its
//! octets, so that they have the same memory and no overheads.

use std::collections::VecDeque;
use std::time::Duration;

use ringdns_shard::cache::{Answer, Cache, Found, Key};
use ringdns_shard::images::CacheSettings;
use ringdns_shard::telemetry::Counters;
use ringdns_shard::time::Time;
use ringdns_shard::wire::name::{HashKey, KeyedName};
use ringdns_shard::wire::rdata::rtype;

/// The exponent of Zipf's law: the name of rank r is asked for as often as r to this power says.
const EXPONENT: f64 = 0.9;
/// Octets of cache for each answer of the traces.
const OCTETS_AN_ANSWER: usize = 116;
/// Names of the hot set of the scan.
const HOT_NAMES: usize = 10_000;
/// One-time names for each question for the hot set.
const SCAN_NAMES: u32 = 10;

/// Makes a policy for names below a number.
type New<'a> = &'a dyn Fn(usize) -> Box<dyn Policy>;

/// Somebody who keeps answers, asked for names by their numbers.
pub trait Policy {
    /// Asks for a name, which is kept where it was not there. Returns whether it was.
    fn ask(&mut self, name: u32) -> bool;
}

/// The hit rates of a policy, in percent.
#[derive(Clone, Debug)]
pub struct Rates {
    /// The policy.
    pub name: &'static str,
    /// On the trace.
    pub zipf: f64,
    /// Of the hot set, before the scan and during it.
    pub scan: [f64; 2],
}

/// The rates of all policies, ringdns the last of them.
#[derive(Clone, Debug)]
pub struct Table {
    /// Each policy.
    pub rates: Vec<Rates>,
    /// The rate of whoever knows the most popular names beforehand and keeps those.
    pub perfect: f64,
    /// Names of the trace, and questions for them; the second half of these counts.
    pub trace: [usize; 2],
    /// Answers that ringdns held at the end of the trace, and so many each other policy.
    pub answers: usize,
    /// Octets of ringdns' cache.
    pub octets: usize,
}

/// Measures with a trace of `questions` over `names`, and room for a twentieth of the names.
pub fn measure(names: usize, questions: usize) -> Table {
    let octets = names / 20 * OCTETS_AN_ANSWER;
    let zipf = Zipf::new(names);
    let mut random = Random(7);
    let trace: Vec<u32> = (0..questions).map(|_| zipf.sample(&mut random)).collect();
    let scanned = names + questions / 2 * SCAN_NAMES as usize;
    let mut ours = Ours::new(octets);
    let our_rate = rate(&mut ours, &trace);
    let answers = ours.cache.entries();
    let others: [(&'static str, New<'_>); 3] = [
        ("LRU", &|names| Box::new(Lru::new(answers, names))),
        ("S3-FIFO", &|names| Box::new(S3Fifo::new(answers, names))),
        ("W-TinyLFU", &|names| Box::new(WTinyLfu::new(answers, names))),
    ];
    let hot_questions = questions / 20;
    let mut rates: Vec<Rates> = others
        .iter()
        .map(|(name, new)| Rates {
            name,
            zipf: rate(&mut *new(names), &trace),
            scan: scan(&mut *new(scanned), names as u32, hot_questions),
        })
        .collect();
    let scan = scan(&mut Ours::new(octets), names as u32, hot_questions);
    rates.push(Rates { name: "ringdns", zipf: our_rate, scan });
    let perfect = zipf.share(answers) * 100.0;
    Table { rates, perfect, trace: [names, questions], answers, octets }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [names, questions] = self.trace;
        writeln!(f, "trace   {questions} questions over {names} names, Zipf {EXPONENT}; the second half counts")?;
        writeln!(
            f,
            "scan    a hot set of {HOT_NAMES} names, Zipf {EXPONENT}, {SCAN_NAMES} one-time names for each question"
        )?;
        writeln!(
            f,
            "room    {} octets of ringdns, which hold {} answers; as many answers of the others",
            self.octets, self.answers
        )?;
        writeln!(f, "\nhits, percent         trace    hot set    in the scan")?;
        for Rates { name, zipf, scan: [before, during] } in &self.rates {
            writeln!(f, "  {name:<16} {zipf:8.2}   {before:8.2}       {during:8.2}")?;
        }
        writeln!(f, "  {:<16} {:8.2}", "most popular", self.perfect)
    }
}

/// The hit rate of the second half of a trace.
fn rate(policy: &mut dyn Policy, trace: &[u32]) -> f64 {
    let (first, second) = trace.split_at(trace.len() / 2);
    first.iter().for_each(|&name| _ = policy.ask(name));
    let hits = second.iter().filter(|&&name| policy.ask(name)).count();
    hits as f64 * 100.0 / second.len() as f64
}

/// The hit rates of a hot set, warm, without a scan and in the second half of one. Names that are asked for once begin at
/// `once`.
fn scan(policy: &mut dyn Policy, once: u32, questions: usize) -> [f64; 2] {
    let zipf = Zipf::new(HOT_NAMES);
    let mut random = Random(9);
    let mut next = once;
    let mut ask = |policy: &mut dyn Policy, scanned: u32| {
        let hits = (0..questions).filter(|_| {
            let hit = policy.ask(zipf.sample(&mut random));
            (0..scanned).for_each(|_| {
                policy.ask(next);
                next += 1;
            });
            hit
        });
        hits.count() as f64 * 100.0 / questions as f64
    };
    [0, 0, SCAN_NAMES, SCAN_NAMES]
        .map(|scanned| ask(policy, scanned))
        .last_chunk::<3>()
        .map_or([0.0; 2], |r| [r[0], r[2]])
}

/// Random numbers of a fixed seed (SplitMix64; Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        scramble(self.0)
    }

    /// Between 0 and 1.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn scramble(word: u64) -> u64 {
    let word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

/// Names whose popularity follows Zipf's law, the most popular first.
struct Zipf {
    /// The weight of each name and of those before it.
    sums: Vec<f64>,
}

impl Zipf {
    fn new(names: usize) -> Zipf {
        let weights = (1..=names).map(|rank| (rank as f64).powf(-EXPONENT));
        Zipf {
            sums: weights
                .scan(0.0, |sum, weight| {
                    *sum += weight;
                    Some(*sum)
                })
                .collect(),
        }
    }

    fn sample(&self, random: &mut Random) -> u32 {
        let at = random.fraction() * self.sums[self.sums.len() - 1];
        self.sums.partition_point(|&sum| sum < at).min(self.sums.len() - 1) as u32
    }

    /// The share of questions for the `count` most popular names.
    fn share(&self, count: usize) -> f64 {
        self.sums[count.min(self.sums.len()) - 1] / self.sums[self.sums.len() - 1]
    }
}

/// The cache of ringdns.
struct Ours {
    cache: Cache,
    hash_key: HashKey,
    name: KeyedName,
    counters: Counters,
}

impl Ours {
    fn new(octets: usize) -> Ours {
        let hash_key = HashKey::from_seed(*b"one of 2^128 key");
        let settings = CacheSettings { octets, max_ttl: Duration::from_hours(24), ..CacheSettings::PLAIN };
        Ours {
            cache: Cache::new(settings, hash_key),
            hash_key,
            name: KeyedName::default(),
            counters: Counters::default(),
        }
    }
}

impl Policy for Ours {
    fn ask(&mut self, name: u32) -> bool {
        const KEY: Key = Key { qtype: rtype::A, dnssec_ok: false, checking_disabled: false, era: 0 };
        let Ours { cache, hash_key, name: keyed, counters } = self;
        // Eight letters and the domain.
        let mut wire = *b"\x08--------\x05names\x04test\0";
        for (letter, digit) in wire[1..9].iter_mut().zip(0..) {
            *letter = b'a' + (name >> (4 * digit) & 15) as u8;
        }
        keyed.set(hash_key, &wire).expect("a name of ours");
        let hash = KEY.hash(hash_key, keyed);
        if let Found::Fresh(_) = cache.find(Time::ZERO, hash, keyed, KEY) {
            return true;
        }
        let mut message = vec![0, 0, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
        message.extend(wire);
        message.extend(b"\0\x01\0\x01\xc0\x0c\0\x01\0\x01\0\x01\0\0\0\x04\xc0\0\x02\x01");
        let answer = Answer::parse(&message, wire.len() + 4, cache.settings(), false).expect("an answer of ours");
        cache.insert(Time::ZERO, hash, &wire, KEY, &answer, counters);
        false
    }
}

/// Names in the order in which they were put in or moved to the front.
struct List {
    before: Vec<u32>,
    behind: Vec<u32>,
    held: Vec<bool>,
    count: usize,
}

impl List {
    fn new(names: usize) -> List {
        let mut list =
            List { before: vec![0; names + 1], behind: vec![0; names + 1], held: vec![false; names], count: 0 };
        (list.before[names], list.behind[names]) = (names as u32, names as u32);
        list
    }

    fn holds(&self, name: u32) -> bool {
        self.held[name as usize]
    }

    fn push(&mut self, name: u32) {
        let end = self.held.len();
        let first = self.behind[end];
        (self.before[name as usize], self.behind[name as usize]) = (end as u32, first);
        self.before[first as usize] = name;
        self.behind[end] = name;
        self.held[name as usize] = true;
        self.count += 1;
    }

    fn remove(&mut self, name: u32) {
        let (before, behind) = (self.before[name as usize], self.behind[name as usize]);
        self.behind[before as usize] = behind;
        self.before[behind as usize] = before;
        self.held[name as usize] = false;
        self.count -= 1;
    }

    /// The one that has not moved for the longest time.
    fn last(&self) -> Option<u32> {
        (self.count > 0).then(|| self.before[self.held.len()])
    }

    fn touch(&mut self, name: u32) {
        self.remove(name);
        self.push(name);
    }
}

/// Least recently used goes first.
struct Lru {
    room: usize,
    list: List,
}

impl Lru {
    fn new(room: usize, names: usize) -> Lru {
        Lru { room, list: List::new(names) }
    }
}

impl Policy for Lru {
    fn ask(&mut self, name: u32) -> bool {
        let hit = self.list.holds(name);
        match hit {
            true => self.list.touch(name),
            false => self.list.push(name),
        }
        if self.list.count > self.room
            && let Some(last) = self.list.last()
        {
            self.list.remove(last);
        }
        hit
    }
}

/// S3-FIFO as its paper has it (Yang and others, 2023): a tenth for the small queue, two bits a name, two questions to
/// leave it, as many ghosts as the main queue holds.
struct S3Fifo {
    room: usize,
    small: VecDeque<u32>,
    main: VecDeque<u32>,
    ghosts: VecDeque<u32>,
    /// How often a name was asked for, where it is held.
    asked: Vec<Option<u8>>,
    /// How often a name is among the ghosts.
    haunting: Vec<u8>,
}

impl S3Fifo {
    fn new(room: usize, names: usize) -> S3Fifo {
        S3Fifo {
            room,
            small: VecDeque::new(),
            main: VecDeque::new(),
            ghosts: VecDeque::new(),
            asked: vec![None; names],
            haunting: vec![0; names],
        }
    }

    fn evict(&mut self) {
        if self.small.len() >= self.room / 10
            && let Some(name) = self.small.pop_front()
        {
            if self.asked[name as usize] > Some(1) {
                return self.main.push_back(name);
            }
            self.asked[name as usize] = None;
            self.ghosts.push_back(name);
            self.haunting[name as usize] += 1;
            if self.ghosts.len() > self.room * 9 / 10
                && let Some(oldest) = self.ghosts.pop_front()
            {
                self.haunting[oldest as usize] -= 1;
            }
        } else if let Some(name) = self.main.pop_front() {
            match &mut self.asked[name as usize] {
                Some(asked @ 1..) => {
                    *asked -= 1;
                    self.main.push_back(name);
                }
                asked => *asked = None,
            }
        }
    }
}

impl Policy for S3Fifo {
    fn ask(&mut self, name: u32) -> bool {
        if let Some(asked) = &mut self.asked[name as usize] {
            *asked = (*asked + 1).min(3);
            return true;
        }
        while self.small.len() + self.main.len() >= self.room {
            self.evict();
        }
        self.asked[name as usize] = Some(0);
        match self.haunting[name as usize] {
            0 => self.small.push_back(name),
            _ => self.main.push_back(name),
        }
        false
    }
}

/// W-TinyLFU (Einziger, Friedman and Manes, 2017): a hundredth is a window that is least recently used; who leaves it takes
/// the place of the last of the main part where a sketch has counted it more often. The main part is segmented, four
/// fifths of it protected.
struct WTinyLfu {
    room: usize,
    window: List,
    probation: List,
    protected: List,
    sketch: Sketch,
}

impl WTinyLfu {
    fn new(room: usize, names: usize) -> WTinyLfu {
        let [window, probation, protected] = [(); 3].map(|()| List::new(names));
        WTinyLfu { room, window, probation, protected, sketch: Sketch::new(room) }
    }

    fn admit(&mut self, candidate: u32) {
        let main = self.room - self.room / 100;
        if self.probation.count + self.protected.count < main {
            return self.probation.push(candidate);
        }
        if let Some(victim) = self.probation.last()
            && self.sketch.count(candidate) > self.sketch.count(victim)
        {
            self.probation.remove(victim);
            self.probation.push(candidate);
        }
    }
}

impl Policy for WTinyLfu {
    fn ask(&mut self, name: u32) -> bool {
        self.sketch.add(name);
        if self.window.holds(name) {
            self.window.touch(name);
        } else if self.protected.holds(name) {
            self.protected.touch(name);
        } else if self.probation.holds(name) {
            self.probation.remove(name);
            self.protected.push(name);
            if self.protected.count > (self.room - self.room / 100) * 4 / 5
                && let Some(last) = self.protected.last()
            {
                self.protected.remove(last);
                self.probation.push(last);
            }
        } else {
            self.window.push(name);
            if self.window.count > self.room / 100
                && let Some(last) = self.window.last()
            {
                self.window.remove(last);
                self.admit(last);
            }
            return false;
        }
        true
    }
}

/// How often names were asked for, in four rows of counters up to fifteen, halved from time to time.
struct Sketch {
    rows: [Vec<u8>; 4],
    added: usize,
    period: usize,
}

impl Sketch {
    fn new(room: usize) -> Sketch {
        Sketch { rows: [(); 4].map(|()| vec![0; room.next_power_of_two()]), added: 0, period: room * 10 }
    }

    fn place(&self, row: usize, name: u32) -> usize {
        scramble(u64::from(name) << 8 | row as u64) as usize & (self.rows[row].len() - 1)
    }

    fn count(&self, name: u32) -> u8 {
        (0..4).map(|row| self.rows[row][self.place(row, name)]).min().unwrap_or(0)
    }

    fn add(&mut self, name: u32) {
        for row in 0..4 {
            let place = self.place(row, name);
            self.rows[row][place] = (self.rows[row][place] + 1).min(15);
        }
        self.added += 1;
        if self.added == self.period {
            self.rows.iter_mut().flatten().for_each(|count| *count /= 2);
            self.added /= 2;
        }
    }
}
