//! Every maximum of the engine, the unit last in the name. Nothing here is a setting: settings have defaults and
//! ranges in the control crate and are bounded by these.

/// Octets of a name on the wire, its root label included (RFC 1035 §3.1).
pub const NAME_OCTETS_MAX: usize = 255;
/// Octets of a label (RFC 1035 §3.1).
pub const LABEL_OCTETS_MAX: usize = 63;
/// Labels of a name, the root not counted: 127 labels of one octet fill 255 octets.
pub const LABELS_MAX: usize = 127;
/// Octets of a message over TCP, and of the largest reply that the shard may write (RFC 1035 §4.2.2).
pub const MESSAGE_OCTETS_MAX: usize = 65_535;
/// Octets of a reply over UDP to an asker without EDNS (RFC 1035 §4.2.1).
pub const UDP_PLAIN_OCTETS_MAX: usize = 512;
/// Octets of a reply over UDP whatever the asker offers, and what we offer to others (RFC 9715 §3.1: 1,232 avoids
/// fragmentation on every path that carries IPv6).
pub const UDP_REPLY_OCTETS_MAX: usize = 1_232;
/// Octets of a request over UDP that is read; a longer one is dropped and counted.
pub const UDP_REQUEST_OCTETS_MAX: usize = 4_096;
/// Compression pointers followed in one name: each must point further back, and a name has at most 127 labels.
pub const POINTERS_MAX: usize = 127;
/// Names that a reply being written remembers for compression; later ones are written in full.
pub const COMPRESSION_NAMES_MAX: usize = 64;
/// Records of one message that are looked at; a message that claims more is malformed (65,535 octets hold no more
/// than 5,956 records of eleven octets).
pub const RECORDS_MAX: usize = 5_956;
/// CNAME and DNAME steps followed inside the zones of this server for one query.
pub const CHAIN_STEPS_MAX: usize = 16;
/// Names of an upstream's message, owners and targets of aliases, that are told apart; records of further ones are dropped.
pub const SCRUB_NAMES_MAX: usize = 64;
/// Differences that the journal of a zone keeps, however short.
pub const JOURNAL_DIFFERENCES_MAX: usize = 256;
/// Records of an answer whose targets are looked up for the additional section; what more there are lead nowhere.
pub const ADDITIONAL_TARGETS_MAX: usize = 16;
/// Further rounds of the NSEC3 hash in a zone. All its names are hashed when it is laid out, and a name that it has not
/// whenever it is asked for: more rounds would be work for an attacker to order. Validators take far fewer for insecure
/// (RFC 9276 §3.2).
pub const NSEC3_ITERATIONS_MAX: u16 = 500;
/// RRsets at one owner name of a zone.
pub const RRSETS_A_NAME_MAX: usize = 255;
/// Servers of one upstream pool.
pub const POOL_SERVERS_MAX: usize = 32;
/// Pools of one route.
pub const ROUTE_POOLS_MAX: usize = 8;
/// Times upstreams are asked for one question before it is given up; once more when a server has come back meanwhile.
pub const ATTEMPTS_MAX: usize = 8;
/// UDP sockets a core keeps towards upstreams, for each address family.
pub const UPSTREAM_SOCKETS_MAX: usize = 64;
/// Random ids tried for one upstream query before the query is refused for want of a free one.
pub const ID_TRIES_MAX: usize = 16;
/// Servers that are down and asked at once whether they are back, by one core.
pub const PROBES_MAX: usize = 128;
/// Questions in flight towards upstreams that a core may be allowed: their numbers must fit 24 bits.
pub const RESOLVES_MAX: usize = 1 << 20;
/// Octets of the texts answered to NSID and to CHAOS queries: they must fit the shortest reply beside the longest name.
pub const IDENTITY_OCTETS_MAX: usize = 128;
/// Clients of a core that wait for upstreams, all names together.
pub const WAITERS_MAX: usize = 65_536;
/// Lines of four failures that a core remembers.
pub const FAILURE_LINES_MAX: usize = 4_096;
/// Seconds that a failure may be remembered (RFC 9520 §3.2).
pub const FAILURE_SECONDS_MAX: u64 = 300;
/// Answers that a core fetches before they run out, a second.
pub const REFRESHES_A_SECOND_MAX: u64 = 1_000;
/// And at once, after a pause.
pub const REFRESHES_AT_ONCE_MAX: u32 = 100;
/// Octets that the answers of one core may take: places in them have 32 bits.
pub const CACHE_OCTETS_MAX: usize = 8 << 30;
/// Octets of one cached answer; longer ones are passed on and not kept.
pub const CACHE_ENTRY_OCTETS_MAX: usize = MESSAGE_OCTETS_MAX;
/// Slots of a table of rates of a core, eight octets each; a power of two.
pub const CELLS_MAX: usize = 1 << 24;
/// Slots of the table of query rates of a core: 1 MiB. A flood of a million invented prefixes a second makes only those
/// forgotten that ask less than eight times a second.
pub const RATE_ENTRIES: usize = 1 << 17;
/// Prefix lengths that queries are counted by, both families together.
pub const RATE_PREFIXES_MAX: usize = 16;
/// Slots of the table of zones whose names are being asked for upstream, on a core: 128 KiB.
pub const ZONE_RATE_ENTRIES: usize = 1 << 14;
/// Apexes of zones behind upstreams that a core remembers: 256 KiB.
pub const APEXES_MAX: usize = 1 << 15;
/// Labels of an apex that is remembered; names of deeper zones count for the zone above.
pub const APEX_LABELS_MAX: usize = 31;
/// Secrets of cookies that are taken at once: while one takes another's place on many servers there are two.
pub const COOKIE_SECRETS_MAX: usize = 4;
/// Requests of a batch whose answers' memory is fetched ahead.
pub const BATCH_AHEAD_MAX: usize = 64;
/// Transfers of zones to others that a core has under way at once.
pub const TRANSFERS_MAX: usize = 128;
/// Octets of a message of an outgoing transfer: what compression pointers reach (14 bits). A record that needs more has a
/// longer message for itself.
pub const TRANSFER_MESSAGE_OCTETS: usize = 16_384;
/// Octets at which a chunk of the query log goes to its reader: some seven hundred entries.
pub const LOG_CHUNK_OCTETS: usize = 64 << 10;
/// Octets at which a chunk of messages for dnstap goes to its reader.
pub const TAP_CHUNK_OCTETS: usize = 256 << 10;
/// Seconds that the records of a stale answer may be kept (RFC 8767 §4).
pub const STALE_TTL_SECONDS: u32 = 30;
/// Seconds beyond which a TTL means zero (RFC 2181 §8).
pub const TTL_SECONDS_MAX: u32 = i32::MAX as u32;

const _: () = assert!(UDP_PLAIN_OCTETS_MAX <= UDP_REPLY_OCTETS_MAX);
const _: () = assert!(UDP_REPLY_OCTETS_MAX <= UDP_REQUEST_OCTETS_MAX);
const _: () = assert!(UDP_REQUEST_OCTETS_MAX <= MESSAGE_OCTETS_MAX);
const _: () = assert!(TRANSFER_MESSAGE_OCTETS <= MESSAGE_OCTETS_MAX);
const _: () = assert!(2 * LABELS_MAX < NAME_OCTETS_MAX);
const _: () = assert!(12 + RECORDS_MAX * 11 <= MESSAGE_OCTETS_MAX);
const _: () = assert!(CHAIN_STEPS_MAX < SCRUB_NAMES_MAX);
const _: () = assert!(RESOLVES_MAX < 1 << 24);
const _: () = assert!(12 + NAME_OCTETS_MAX + 4 + 11 + 4 + IDENTITY_OCTETS_MAX + 6 + 28 + 6 <= UDP_PLAIN_OCTETS_MAX);
const _: () = assert!(UPSTREAM_SOCKETS_MAX <= u8::MAX as usize);
