//! Plain counters of a core's rim, written by it alone, and what else a core tells about itself.

use ringdns_shard::Time;
use ringdns_shard::cache::Figures;
use ringdns_shard::telemetry::{Counters, Telemetry};
use ringdns_shard::upstream::ServerState;

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// What the rim of a core has counted since it started.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct RimCounters {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl RimCounters {
            /// Name, meaning and value of each counter, in the order of declaration.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($doc),+), self.$name),)+].into_iter()
            }

            /// Adds another core's figures to these.
            pub fn add(&mut self, other: &RimCounters) {
                $(self.$name += other.$name;)+
            }
        }
    };
}

counters! {
    /// Batches of datagrams received from clients.
    udp_batches,
    /// Datagrams received from clients.
    udp_received,
    /// Datagrams from clients dropped: longer than a request may be.
    udp_oversize,
    /// Datagrams from clients dropped: no usable source address or port.
    udp_bad_source,
    /// Datagrams from clients dropped: the socket could not send replies fast enough.
    udp_unheard,
    /// Datagrams from clients that the kernel dropped since we did not read fast enough.
    udp_kernel_drops,
    /// Receive calls on client sockets that failed.
    udp_receive_errors,
    /// Replies sent to clients as datagrams.
    udp_sent,
    /// Replies to clients that the kernel refused to send.
    udp_send_errors,
    /// Times a client socket could take no more replies.
    udp_send_blocked,
    /// Replies to clients dropped: the socket took no more and as many as allowed were waiting.
    udp_send_dropped,
    /// Connections accepted from clients.
    tcp_accepted,
    /// Connections from clients closed at once: as many as allowed were open, and nobody had more than a few.
    tcp_over_cap,
    /// Connections closed to make room for others: their client had as many as it may have, or the most of all.
    tcp_recycled,
    /// Accept calls that failed.
    tcp_accept_errors,
    /// Connections closed: a length of zero came.
    tcp_zero_length,
    /// Connections closed: nothing happened on them in time.
    tcp_idle_closed,
    /// Connections closed: a message began and was not complete in time.
    tcp_frame_timeouts,
    /// Connections closed: the client did not take its replies in time.
    tcp_stalled,
    /// Connections closed: too many octets of replies waited for the client.
    tcp_output_overflow,
    /// Connections closed: their requests stayed without a reply for too long.
    tcp_unanswered,
    /// Connections that ended in an error: reset by the client, mostly.
    tcp_errors,
    /// Times a connection was not read since too many of its requests were in flight.
    tcp_in_flight_pauses,
    /// Times a connection was not read since too many octets of replies waited for it.
    tcp_output_pauses,
    /// Replies for connections that were gone.
    tcp_gone,
    /// Queries sent to upstreams as datagrams.
    upstream_sent,
    /// Queries to upstreams that the kernel refused to send, or for which no socket of the address family is there.
    upstream_send_errors,
    /// Datagrams received from upstreams.
    upstream_received,
    /// Datagrams from upstreams dropped: too long.
    upstream_oversize,
    /// Datagrams from upstreams that the kernel dropped since we did not read fast enough.
    upstream_kernel_drops,
    /// Receive calls on upstream sockets that failed.
    upstream_receive_errors,
    /// Connections opened towards upstreams.
    upstream_tcp_opened,
    /// Queries to upstreams that went over a connection that was there.
    upstream_tcp_reused,
    /// Queries to upstreams sent once more over a fresh connection since the one that was there had broken.
    upstream_tcp_retried,
    /// Queries to upstreams not sent over TCP: as many connections as allowed had as much to do as allowed.
    upstream_tcp_over_cap,
    /// Queries to upstreams that failed with their connection: it was refused, or broke before the reply came.
    upstream_tcp_errors,
    /// Queries to upstreams over TCP given up since they took too long.
    upstream_tcp_timeouts,
    /// Replies over TCP from upstreams that came when nobody wanted them any more.
    upstream_tcp_late,
    /// Messages over TCP from upstreams that reply to nothing that was asked there.
    upstream_tcp_unexpected,
    /// Connections to upstreams closed: nobody had needed them for a while.
    upstream_tcp_idle_closed,
    /// Connections to upstreams closed: nothing came over them any more.
    upstream_tcp_silent,
    /// Times the core's alarm went off.
    alarms,
    /// Messages from other threads handled.
    messages,
}

/// What a core tells about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The core's index.
    pub core: usize,
    /// The CPU it is pinned to.
    pub cpu: usize,
    /// What its shard has counted.
    pub shard: Counters,
    /// What it has counted in more than one number.
    pub telemetry: Box<Telemetry>,
    /// Microseconds of CPU time that its thread has used.
    pub cpu_micros: u64,
    /// What its rim has counted.
    pub rim: RimCounters,
    /// Questions in flight towards upstreams.
    pub resolves: usize,
    /// Clients waiting for an answer.
    pub waiters: usize,
    /// Open connections of clients.
    pub tcp_connections: usize,
    /// Connections to upstreams.
    pub upstream_connections: usize,
    /// Replies as datagrams that wait for their socket.
    pub datagrams_waiting: usize,
    /// Messages of other threads that wait for the core.
    pub messages_waiting: usize,
    /// Answers in the cache.
    pub cache_entries: usize,
    /// Octets that they take, overheads counted.
    pub cache_octets: usize,
}

/// What a core tells of its upstreams and of its cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The core's index.
    pub core: usize,
    /// When it told, by the clock of [`ServerState::since`].
    pub now: Time,
    /// What it knows of each server.
    pub servers: Vec<ServerState>,
    /// What its cache holds.
    pub cache: Figures,
}

/// A part of a core's cache, as [`Shard::cache_out`](ringdns_shard::Shard::cache_out) writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Portion {
    /// The part; empty where nothing is to be kept of what was looked at.
    pub octets: Vec<u8>,
    /// The cursor of the next part; `None`: there is no more.
    pub next: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_listed_and_added_by_name() {
        let mut sum = RimCounters { udp_sent: 2, ..RimCounters::default() };
        sum.add(&RimCounters { udp_sent: 3, messages: 1, ..RimCounters::default() });
        let listed = |name| sum.each().find(|&(listed, _, _)| listed == name).map(|(_, _, value)| value);
        assert_eq!((listed("udp_sent"), listed("messages"), listed("alarms")), (Some(5), Some(1), Some(0)));
        assert!(sum.each().all(|(_, meaning, _)| meaning.trim().ends_with('.')));
    }
}
