//! What the control plane does, and what the kernel says of the process.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::Figures;
use super::process::Usage;
use super::write::{counter, counters, gauge, gauges, seconds};
use crate::{dnstap, query_log};

pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>, figures: &Figures) -> fmt::Result {
    of_life(encoder, figures)?;
    if let Some(log) = &figures.query_log {
        of_query_log(encoder, log)?;
    }
    if let Some(tap) = &figures.dnstap {
        of_dnstap(encoder, tap)?;
    }
    of_process(encoder, &Usage::now(figures.uptime))
}

fn of_life(encoder: &mut DescriptorEncoder<'_>, figures: &Figures) -> fmt::Result {
    let status = &figures.status;
    let version = [([("version", env!("CARGO_PKG_VERSION"))], 1.0)];
    gauges(encoder, "ringdns_build_info", "The version that runs.", version)?;
    gauge(encoder, "ringdns_uptime_seconds", "Since the process began.", figures.uptime.as_secs_f64())?;
    for (name, help, value) in [
        ("ringdns_draining", "Whether the server is about to stop and wants no more questions.", status.is_draining),
        ("ringdns_cache_restoring", "Whether the cache is being read from its file.", status.is_restoring),
    ] {
        gauge(encoder, name, help, f64::from(u8::from(value)))?;
    }
    let help = "Names of upstream servers that have no address yet.";
    gauge(encoder, "ringdns_upstream_names_unresolved", help, status.names.unresolved as f64)?;
    for (name, help, value) in [
        ("ringdns_upstream_names_asked", "Look-ups of names of upstream servers.", status.names.look_ups),
        ("ringdns_upstream_names_failed", "Those of them that failed.", status.names.failures),
        ("ringdns_cache_files_refused", "Files with a cache that were of no use.", status.caches_refused),
        ("ringdns_reloads", "Reloads that took effect.", status.reloads),
        ("ringdns_reloads_failed", "Reloads that met mistakes.", status.reloads_failed),
        ("ringdns_control_refused", "Requests to the control plane that were not let in.", figures.refused),
        ("ringdns_control_wrong_tokens", "Of these, those with a wrong token.", figures.wrong_tokens),
        (
            "ringdns_control_put_out",
            "Connections to the control plane closed, for others waited for a seat.",
            figures.put_out,
        ),
        (
            "ringdns_log_lines_left_out",
            "Lines that the process left out of its log, for there were too many of their kind.",
            figures.lines_left_out,
        ),
    ] {
        counter(encoder, name, help, value)?;
    }
    Ok(())
}

fn of_query_log(encoder: &mut DescriptorEncoder<'_>, log: &query_log::Figures) -> fmt::Result {
    let micros = |time: Option<u64>| time.map(|micros| micros as f64 / 1e6);
    for (name, help, value) in [
        ("ringdns_query_log_enabled", "Whether queries are to be logged.", Some(f64::from(u8::from(log.is_enabled)))),
        (
            "ringdns_query_log_up",
            "Whether the query log's data base takes rows.",
            Some(f64::from(u8::from(log.is_open))),
        ),
        ("ringdns_query_log_rows", "Rows in the query log.", Some(log.rows as f64)),
        ("ringdns_query_log_file_bytes", "Octets of the query log's data base.", Some(log.file_octets as f64)),
        ("ringdns_query_log_wal_bytes", "Octets of its write-ahead log.", Some(log.wal_octets as f64)),
        ("ringdns_query_log_oldest_timestamp_seconds", "When the oldest query came that is kept.", micros(log.oldest)),
        ("ringdns_query_log_newest_timestamp_seconds", "When the newest query came that is kept.", micros(log.newest)),
    ] {
        if let Some(value) = value {
            gauge(encoder, name, help, value)?;
        }
    }
    for (name, help, value) in [
        ("ringdns_query_log_stored", "Entries written to the data base.", log.stored),
        ("ringdns_query_log_stored_queries", "The queries that they stand for.", log.stored_queries),
        (
            "ringdns_query_log_dropped",
            "Entries lost: the queue was full, or the data base did not take them.",
            log.dropped,
        ),
        ("ringdns_query_log_dropped_queries", "The queries that they stood for.", log.dropped_queries),
        ("ringdns_query_log_batches", "Transactions written.", log.batches),
        ("ringdns_query_log_failures", "Attempts to open or write the data base that failed.", log.failures),
        ("ringdns_query_log_put_aside", "Data bases that were corrupt, and are kept aside.", log.put_aside),
        ("ringdns_query_log_expired", "Rows that made room, for their age or for the file's size.", log.expired),
    ] {
        counter(encoder, name, help, value)?;
    }
    let questions = [("answered", log.questions), ("failed", log.questions_failed)];
    let questions = questions.map(|(outcome, count)| ([("outcome", outcome)], count));
    counters(encoder, "ringdns_query_log_questions", "Questions put to the query log.", questions)
}

fn of_dnstap(encoder: &mut DescriptorEncoder<'_>, tap: &dnstap::Figures) -> fmt::Result {
    for (name, help, value) in [
        ("ringdns_dnstap_enabled", "Whether messages are to be sent to a reader of dnstap.", tap.to.is_some()),
        ("ringdns_dnstap_connected", "Whether that reader is there.", tap.is_connected),
    ] {
        gauge(encoder, name, help, f64::from(u8::from(value)))?;
    }
    counter(encoder, "ringdns_dnstap_sent", "Messages given to the kernel for the reader.", tap.sent)?;
    counter(encoder, "ringdns_dnstap_connections", "Connections to readers made so far.", tap.connections)?;
    let help = "Messages for the reader lost: the queue was full, nobody read, the connection ended.";
    let dropped = [("queue", tap.dropped_queue), ("unread", tap.dropped_unread), ("cut", tap.dropped_cut)];
    counters(encoder, "ringdns_dnstap_dropped", help, dropped.map(|(reason, count)| ([("reason", reason)], count)))
}

fn of_process(encoder: &mut DescriptorEncoder<'_>, usage: &Usage) -> fmt::Result {
    let cpu = [([], usage.cpu.as_micros() as u64)];
    seconds(encoder, "process_cpu_seconds", "CPU time of all threads of the process.", cpu)?;
    let count = |value: Option<u64>| value.map(|value| value as f64);
    for (name, help, value) in [
        ("process_resident_memory_bytes", "Memory of the process that is in RAM.", count(usage.resident_octets)),
        ("process_virtual_memory_bytes", "Address space of the process.", count(usage.virtual_octets)),
        ("process_threads", "Threads of the process.", count(usage.threads)),
        ("process_open_fds", "File descriptors that are open.", count(usage.descriptors)),
        ("process_max_fds", "File descriptors that may be open.", count(usage.descriptors_max)),
        ("process_start_time_seconds", "When the process began, since the beginning of 1970.", Some(usage.began)),
    ] {
        if let Some(value) = value {
            gauge(encoder, name, help, value)?;
        }
    }
    Ok(())
}
