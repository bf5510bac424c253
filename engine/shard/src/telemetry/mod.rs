//! What a core counts and records: plain counters and histograms, written by it alone and read as a snapshot; the query
//! log and the messages for dnstap, written by it alone and handed over in chunks.

pub mod histogram;
pub mod log;
pub mod tap;
mod words;

pub use histogram::Histogram;

use crate::time::Time;
use crate::transport::Transport;
use crate::wire::rdata::rtype;
use words::words;

/// What a core has recorded, on its way to a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed<C> {
    /// The core's index.
    pub core: usize,
    /// The time by the core's clock when it was handed over: times in `chunk` are by that clock.
    pub now: Time,
    /// The time of the day at that moment, in microseconds since the beginning of 1970.
    pub unix_micros: u64,
    /// What was recorded.
    pub chunk: C,
}

words! {
    /// Types that queries are counted by.
    TypeClass {
        /// A.
        A = "A",
        /// AAAA.
        Aaaa = "AAAA",
        /// HTTPS and SVCB.
        Https = "HTTPS",
        /// CNAME and DNAME.
        Cname = "CNAME",
        /// NS.
        Ns = "NS",
        /// SOA.
        Soa = "SOA",
        /// MX.
        Mx = "MX",
        /// TXT.
        Txt = "TXT",
        /// PTR.
        Ptr = "PTR",
        /// SRV.
        Srv = "SRV",
        /// DS, DNSKEY, RRSIG, NSEC, NSEC3, NSEC3PARAM, CDS, CDNSKEY.
        Dnssec = "DNSSEC",
        /// ANY.
        Any = "ANY",
        /// AXFR and IXFR.
        Transfer = "transfer",
        /// Every other.
        Other = "other",
    }
}

/// Figures of a core that are more than one number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Telemetry {
    /// Requests whose question could be read, by [`TypeClass`].
    pub types: [u64; TypeClass::COUNT],
    /// How long clients waited whose reply was there at once: the time of its batch, by [`Transport`].
    pub at_once: [Histogram; Transport::COUNT],
    /// How long clients waited for an upstream's answer, or for what was given instead, by [`Transport`].
    pub waited: [Histogram; Transport::COUNT],
    /// How long upstreams took to reply, whatever they replied; probes are among them.
    pub round_trips: Histogram,
}

/// The class of each type below 256.
const CLASSES: [TypeClass; 256] = {
    let mut classes = [TypeClass::Other; 256];
    let members: &[(TypeClass, &[u16])] = &[
        (TypeClass::A, &[rtype::A]),
        (TypeClass::Aaaa, &[rtype::AAAA]),
        (TypeClass::Https, &[rtype::SVCB, rtype::HTTPS]),
        (TypeClass::Cname, &[rtype::CNAME, rtype::DNAME]),
        (TypeClass::Ns, &[rtype::NS]),
        (TypeClass::Soa, &[rtype::SOA]),
        (TypeClass::Mx, &[rtype::MX]),
        (TypeClass::Txt, &[rtype::TXT]),
        (TypeClass::Ptr, &[rtype::PTR]),
        (TypeClass::Srv, &[rtype::SRV]),
        (TypeClass::Dnssec, &[rtype::DS, rtype::RRSIG, rtype::NSEC, rtype::DNSKEY, rtype::NSEC3, rtype::NSEC3PARAM]),
        (TypeClass::Dnssec, &[rtype::CDS, rtype::CDNSKEY]),
        (TypeClass::Any, &[rtype::ANY]),
        (TypeClass::Transfer, &[rtype::AXFR, rtype::IXFR]),
    ];
    let mut row = 0;
    while row < members.len() {
        let (class, types) = members[row];
        let mut at = 0;
        while at < types.len() {
            classes[types[at] as usize] = class;
            at += 1;
        }
        row += 1;
    }
    classes
};

impl TypeClass {
    /// The class of a type.
    #[inline]
    pub fn of(rtype: u16) -> TypeClass {
        CLASSES.get(usize::from(rtype)).copied().unwrap_or(TypeClass::Other)
    }
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// What a core has counted since it started.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Counters {
            /// Name, meaning and value of each counter, in the order of declaration.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($doc),+), self.$name),)+].into_iter()
            }

            /// Adds another core's figures to these.
            pub fn add(&mut self, other: &Counters) {
                $(self.$name += other.$name;)+
            }
        }
    };
}

counters! {
    /// Queries that came over UDP.
    queries_udp,
    /// Queries that came over TCP.
    queries_tcp,
    /// Replies written, whatever they say.
    replies,
    /// Requests dropped: shorter than a header, or with QR set.
    dropped_malformed,
    /// Requests answered FORMERR.
    formerr,
    /// Requests answered NOTIMP.
    notimp,
    /// Requests answered BADVERS.
    badvers,
    /// Requests refused: the asker is not in the listener's `allow`.
    refused_acl,
    /// Requests refused: no route for the name.
    refused_route,
    /// Requests refused: a class other than IN, or a CHAOS name that is not answered.
    refused_class,
    /// Requests refused: meta types that are not served.
    refused_type,
    /// Requests answered NOTAUTH: a transfer or NOTIFY of a name that is no zone of this server.
    notauth,
    /// Requests with TSIG whose signature was verified.
    tsig_verified,
    /// Requests answered BADKEY: the key is none of ours, or not for that algorithm.
    tsig_unknown_key,
    /// Requests answered BADSIG: the signature is wrong.
    tsig_bad_signature,
    /// Requests answered BADTIME: signed too long ago, or by a clock that differs from ours.
    tsig_bad_time,
    /// Requests answered BADTRUNC: the signature is cut shorter than we take.
    tsig_truncated,
    /// Signed replies of which the header alone was sent: with question and signature they did not fit the asker.
    tsig_no_room,
    /// Transfers refused: the asker is not in the zone's `allow_transfer`.
    transfers_refused,
    /// Transfers answered SERVFAIL: as many as allowed were under way on this core.
    transfers_over_limit,
    /// Transfers begun for AXFR.
    transfers_axfr,
    /// Transfers begun, and datagrams answered, for IXFR.
    transfers_ixfr,
    /// Messages of transfers.
    transfer_messages,
    /// Octets of the messages of transfers over TCP.
    transfer_octets,
    /// Transfers broken off: a record fits no message.
    transfers_failed,
    /// Transfers that ended with their connection, before the last message.
    transfers_cut,
    /// NOTIFY taken from a primary.
    notifies,
    /// NOTIFY refused: the sender is none whose word the zone takes.
    notifies_refused,
    /// Requests answered SERVFAIL: the zone is not loaded, or has expired.
    servfail_zone,
    /// Requests refused: too many questions in flight on this core.
    refused_resolves,
    /// Requests refused: too many clients wait for the name, or on this core.
    refused_waiters,
    /// Replies with NOERROR.
    rcode_noerror,
    /// Replies with NXDOMAIN.
    rcode_nxdomain,
    /// Replies with SERVFAIL.
    rcode_servfail,
    /// Replies with FORMERR.
    rcode_formerr,
    /// Replies with NOTIMP.
    rcode_notimp,
    /// Replies with REFUSED.
    rcode_refused,
    /// Replies with NOTAUTH.
    rcode_notauth,
    /// Replies with any other response code.
    rcode_other,
    /// Replies cut short with TC set.
    truncated,
    /// Answers from a zone of this server.
    zone_answers,
    /// CNAME and DNAME chains cut at the bound.
    chain_limit,
    /// CNAME and DNAME chains that came back to themselves.
    chain_loops,
    /// Answers with more records than are looked up for the additional section.
    additional_limit,
    /// Answers from the cache.
    cache_hits,
    /// Questions that the cache could not answer.
    cache_misses,
    /// Answers put into the cache.
    cache_inserts,
    /// Answers put out of the cache for want of room.
    cache_evictions,
    /// Answers that ran out and were removed.
    cache_expired,
    /// Answers too long for the cache.
    cache_too_long,
    /// Answers not kept: no room could be made for them.
    cache_no_room,
    /// Answers removed since later ones contradict them: a name has come into being, or is gone.
    cache_superseded,
    /// Answers taken in from an earlier run.
    cache_reloaded,
    /// Answers flushed from the cache by order.
    cache_flushed,
    /// Failures forgotten before their time, for want of room.
    cache_failures_displaced,
    /// Queries sent to upstreams over UDP.
    upstream_udp,
    /// Queries sent to upstreams over TCP.
    upstream_tcp,
    /// Attempts at upstreams that got no answer in time.
    upstream_timeouts,
    /// Exchanges with upstreams that failed: connection refused, reset, not sent.
    upstream_failures,
    /// Upstream answers with an rcode that made us try another server.
    upstream_errors,
    /// Upstream packets ignored: no query in flight has this id on this socket towards this sender.
    upstream_unexpected,
    /// Upstream packets ignored: another question than the one asked.
    upstream_mismatched,
    /// Upstream packets ignored: they do not parse.
    upstream_malformed,
    /// Upstream queries not sent: no free id.
    upstream_ids_exhausted,
    /// Questions that would have been asked once more, and were asked as often as may be.
    upstream_attempts_exhausted,
    /// Upstream answers that answer nothing: empty, a referral to nowhere, data of another name. Another server is asked.
    upstream_useless,
    /// Upstream answers of which not all was believed.
    upstream_scrubbed,
    /// Upstream datagrams not taken: the letters of the name came back in other case. The server is asked over TCP.
    upstream_case_changed,
    /// Upstream packets ignored: the cookie in them is not the one sent.
    upstream_cookies_forged,
    /// Upstream datagrams not taken: they have no cookie, and their server makes some. It is asked over TCP.
    upstream_cookies_missing,
    /// Upstream answers that want another cookie.
    upstream_bad_cookies,
    /// Upstream answers with an error that may be due to EDNS: the server is asked without.
    upstream_edns_refused,
    /// Queries sent to servers that are down, to see whether they are back.
    upstream_probes,
    /// Servers that are down not asked: as many as may be were being asked.
    upstream_probes_over_limit,
    /// Queries that joined a question already in flight.
    coalesced,
    /// Queries answered since an ancestor of the name does not exist (RFC 8020).
    cache_cuts,
    /// Queries for what has failed a moment ago: not asked again (RFC 9520).
    failures_repeated,
    /// Answers served after they ran out: every server was down.
    stale_down,
    /// Answers served after they ran out: no fresh one came within `stale_after`.
    stale_slow,
    /// Answers served after they ran out: the question has failed.
    stale_failed,
    /// Answers served after they ran out: a bound was reached.
    stale_limited,
    /// Answers fetched before they ran out.
    refreshes,
    /// Answers not fetched before they ran out: there were as many as allowed.
    refreshes_held_back,
    /// Requests refused: as many questions were in flight as allowed for one zone.
    refused_zone,
    /// Requests answered SERVFAIL: no server of the route is known, since no name of theirs could be resolved yet.
    servfail_no_servers,
    /// Clients that got SERVFAIL since no upstream had an answer.
    resolves_failed,
    /// Responses over UDP above the rate of their prefix: not sent.
    rrl_dropped,
    /// Responses over UDP above the rate of their prefix: sent truncated.
    rrl_slipped,
    /// Prefixes forgotten before their second was over, for want of room in the table of response rates.
    rrl_forgotten,
    /// Requests above the rate of their prefix: dropped.
    rate_dropped,
    /// Requests above the rate of their prefix: sent to TCP by an empty reply with TC.
    rate_truncated,
    /// Requests above the rate of their prefix: refused.
    rate_refused,
    /// Requests above the rate of their prefix that were answered all the same: `rate_dry_run` is set.
    rate_dry_run,
    /// Prefixes forgotten before their second was over, for want of room in the table of query rates.
    rate_forgotten,
    /// Requests with the client's part of a cookie alone.
    cookies_first,
    /// Requests with a valid cookie.
    cookies_valid,
    /// Requests with a cookie of another secret or address, or one too old.
    cookies_invalid,
    /// Requests answered FORMERR: their cookie has the length of none.
    cookies_malformed,
    /// Questions not asked upstream: the zone has had as many this second as it may have.
    refused_zone_rate,
    /// Zones forgotten before their second was over, for want of room in the table of their rates.
    zone_rate_forgotten,
    /// Clients that still waited for an answer when the core ended: they got none.
    waiters_abandoned,
    /// Queries written to the query log, an entry each.
    log_entries,
    /// Queries not written to the query log: chance did not draw them.
    log_sampled_out,
    /// Messages taken for dnstap.
    tap_messages,
}

impl Counters {
    /// Counts a reply by its response code.
    #[inline(always)] // Most callers know it.
    pub(crate) fn reply(&mut self, rcode: u16, truncated: bool) {
        self.replies += 1;
        self.truncated += u64::from(truncated);
        *match rcode {
            0 => &mut self.rcode_noerror,
            1 => &mut self.rcode_formerr,
            2 => &mut self.rcode_servfail,
            3 => &mut self.rcode_nxdomain,
            4 => &mut self.rcode_notimp,
            5 => &mut self.rcode_refused,
            9 => &mut self.rcode_notauth,
            _ => &mut self.rcode_other,
        } += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_its_class() {
        let of = |class: TypeClass| (0..=u16::MAX).filter(|&rtype| TypeClass::of(rtype) == class).collect::<Vec<_>>();
        assert_eq!((of(TypeClass::A), of(TypeClass::Aaaa)), (vec![1], vec![28]));
        assert_eq!((of(TypeClass::Https), of(TypeClass::Cname)), (vec![64, 65], vec![5, 39]));
        assert_eq!((of(TypeClass::Ns), of(TypeClass::Soa), of(TypeClass::Mx)), (vec![2], vec![6], vec![15]));
        assert_eq!((of(TypeClass::Txt), of(TypeClass::Ptr), of(TypeClass::Srv)), (vec![16], vec![12], vec![33]));
        assert_eq!(of(TypeClass::Dnssec), [43, 46, 47, 48, 50, 51, 59, 60]);
        assert_eq!((of(TypeClass::Any), of(TypeClass::Transfer)), (vec![255], vec![251, 252]));
        assert_eq!(TypeClass::ALL.iter().map(|&class| of(class).len()).sum::<usize>(), 1 << 16);
        assert!(TypeClass::ALL.iter().enumerate().all(|(number, &class)| class as usize == number));
    }

    #[test]
    fn each_response_code_has_one_counter() {
        let mut counters = Counters::default();
        (0..4_096).for_each(|rcode| counters.reply(rcode, false));
        let codes = counters.each().filter(|(name, ..)| name.starts_with("rcode_"));
        assert_eq!(codes.map(|(.., value)| value).sum::<u64>(), counters.replies);
        assert_eq!((counters.replies, counters.rcode_other), (4_096, 4_096 - 7));
        assert_eq!((counters.rcode_refused, counters.rcode_notauth), (1, 1));
    }
}
