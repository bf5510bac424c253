//! The figures of every core and of the control plane as a page that Prometheus reads, in either of its formats; and
//! whether the server is ready.
//!
//! Every counter of a core is on the page once, under a family that [`families`] declares. Labels are bounded: cores,
//! words that are written here, the first thousand zones and the first thousand upstream servers.
//! The page is made off the runtime's thread, and costs a core two messages.

mod families;
mod format;
mod of_control;
mod of_cores;
mod of_upstreams;
mod of_zones;
mod process;
#[cfg(test)]
mod reader;
mod ready;
#[cfg(test)]
mod shipped;
mod text;
#[cfg(test)]
pub(crate) mod trial;
mod write;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{self, DescriptorEncoder};
use prometheus_client::registry::Registry;

use crate::cores::{CoreStatus, Snapshot};
use crate::http::{CORES_LIMIT, Pages};
use crate::status::Status;
use crate::{dnstap, logs, query_log};
pub(crate) use format::Format;
pub(crate) use ready::readiness;

/// What a page is made of.
#[derive(Debug)]
pub(crate) struct Figures {
    /// What each core has counted; `None` for one that did not answer, which has no figures on the page but that.
    pub(crate) snapshots: Vec<Option<Snapshot>>,
    /// What each core knows of its upstreams.
    pub(crate) statuses: Vec<Option<CoreStatus>>,
    pub(crate) status: Arc<Status>,
    /// Requests that came from those who may not; of them those with a wrong token.
    pub(crate) refused: u64,
    pub(crate) wrong_tokens: u64,
    /// Connections to the control plane that made room for others.
    pub(crate) put_out: u64,
    /// Lines that the process has left out of its log, for there were too many of their kind.
    pub(crate) lines_left_out: u64,
    pub(crate) query_log: Option<query_log::Figures>,
    pub(crate) dnstap: Option<dnstap::Figures>,
    /// For how long the process has been there.
    pub(crate) uptime: Duration,
}

impl Figures {
    /// Asks everybody; blocks for as long as cores may take to answer.
    pub(crate) fn gather(pages: &Pages) -> Figures {
        Figures {
            snapshots: pages.cores.snapshots(CORES_LIMIT),
            statuses: pages.cores.statuses(CORES_LIMIT),
            status: pages.board.read(),
            refused: pages.access.refused(),
            wrong_tokens: pages.access.wrong_tokens(),
            put_out: pages.access.put_out(),
            lines_left_out: logs::left_out(),
            query_log: pages.query_log.as_ref().map(query_log::QueryLog::figures),
            dnstap: pages.dnstap.as_ref().map(dnstap::Dnstap::figures),
            uptime: pages.started.elapsed(),
        }
    }
}

/// The page.
///
/// # Errors
/// None that a string could meet.
pub(crate) fn page(figures: Figures, format: Format) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(figures));
    let mut page = String::new();
    encoding::text::encode(&mut page, &registry)?;
    Ok(match format {
        Format::OpenMetrics => page,
        Format::Text => text::of_open_metrics(&page),
    })
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let encoder = &mut encoder;
        of_cores::encode(encoder, &self.snapshots)?;
        of_upstreams::encode(encoder, &self.statuses)?;
        of_zones::encode(encoder, &self.status)?;
        of_control::encode(encoder, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::servers::SERVERS_SHOWN_MAX;
    use crate::status::{ZONES_SHOWN_MAX, Zone};

    #[test]
    fn both_formats_are_well_formed_and_say_the_same() {
        let [open, text] = [Format::OpenMetrics, Format::Text].map(|format| {
            let mut page = reader::read(&page(trial::figures(), format).unwrap(), format);
            // What the kernel says of the process changes from look to look.
            page.samples.retain(|sample| !sample.name.starts_with("process_"));
            page
        });
        assert_eq!(open.samples, text.samples);
        assert!(
            open.families.len() > 120 && open.samples.len() > 400,
            "{} {}",
            open.families.len(),
            open.samples.len()
        );
        let zone = text.samples.iter().find(|sample| sample.name == "ringdns_zone_serial").unwrap();
        assert_eq!(zone.labels["zone"], "a\"b\\.test.");
    }

    #[test]
    fn figures_are_under_their_labels() {
        let page = page(trial::figures(), Format::Text).unwrap();
        for line in [
            "# HELP ringdns_queries_total Requests whose header could be read, by how they came.",
            "# TYPE ringdns_queries_total counter",
            "ringdns_queries_total{core=\"0\",transport=\"tcp\"} 1002",
            "ringdns_queries_total{core=\"1\",transport=\"udp\"} 2001",
            "ringdns_dropped_total{core=\"1\",reason=\"kernel\"} 7",
            "ringdns_queries_by_type_total{core=\"0\",type=\"AAAA\"} 101",
            "# TYPE ringdns_response_duration_seconds histogram",
            "ringdns_response_duration_seconds_bucket{le=\"0.000016\",transport=\"udp\",path=\"at_once\"} 0",
            "ringdns_response_duration_seconds_bucket{le=\"0.001024\",transport=\"udp\",path=\"at_once\"} 2",
            "ringdns_response_duration_seconds_bucket{le=\"+Inf\",transport=\"udp\",path=\"at_once\"} 4",
            "ringdns_response_duration_seconds_count{transport=\"udp\",path=\"at_once\"} 4",
            "ringdns_response_duration_seconds_sum{transport=\"udp\",path=\"at_once\"} 200.002",
            "ringdns_upstream_round_trip_seconds_count 2",
            "ringdns_core_cpu_seconds_total{core=\"0\"} 1.5",
            "ringdns_core_info{core=\"1\",cpu=\"5\"} 1",
            "ringdns_core_up{core=\"1\"} 1",
            "ringdns_queue_depth{core=\"0\",queue=\"datagrams\"} 11",
            "ringdns_queue_depth{core=\"0\",queue=\"messages\"} 12",
            "ringdns_other_total{core=\"0\",counter=\"made_up\"} 5",
            "ringdns_zone_serial{zone=\"a\\\"b\\\\.test.\"} 9",
            "ringdns_zone_expires_seconds{zone=\"a\\\"b\\\\.test.\"} 60",
            "ringdns_cache_bytes_max{core=\"1\"} 1000",
            "ringdns_upstream_server_cores{server=\"udp://192.0.2.1:53\",standing=\"up\"} 1",
            "ringdns_upstream_server_cores{server=\"udp://192.0.2.1:53\",standing=\"lossy\"} 0",
            "ringdns_upstream_server_loss_ratio{server=\"udp://192.0.2.1:53\"} 0.05",
            "ringdns_upstream_server_round_trip_seconds{server=\"udp://192.0.2.1:53\"} 0.005",
            "ringdns_upstream_server_asked_total{server=\"udp://192.0.2.1:53\"} 20",
            "ringdns_reloads_total 0",
            "ringdns_query_log_up 1",
            "ringdns_dnstap_connected 1",
            "ringdns_uptime_seconds 90",
            concat!("ringdns_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        ] {
            assert!(page.lines().any(|found| found == line), "lacks {line}:\n{page}");
        }
    }

    #[test]
    fn a_core_that_is_silent_has_no_figures_and_no_sum_goes_on_without_it() {
        let mut figures = trial::figures();
        (figures.snapshots[1], figures.statuses[1]) = (None, None);
        (figures.query_log, figures.dnstap) = (None, None);
        let page = page(figures, Format::Text).unwrap();
        assert!(page.contains("\nringdns_core_up{core=\"0\"} 1\nringdns_core_up{core=\"1\"} 0\n"));
        assert!(
            page.contains("\nringdns_queries_total{core=\"0\"") && !page.contains("ringdns_queries_total{core=\"1\"")
        );
        for sum in ["ringdns_response_duration_seconds_", "ringdns_upstream_server_asked_total{"] {
            assert!(!page.contains(&format!("\n{sum}")), "a sum over one core of two:\n{page}");
        }
        assert!(!page.contains("ringdns_query_log_up") && !page.contains("ringdns_dnstap_connected"));
    }
    #[test]
    fn many_servers_and_zones_make_a_page_of_bounded_length() {
        let mut figures = trial::figures();
        let mut status = Status::clone(&figures.status);
        status.zones = (0..ZONES_SHOWN_MAX)
            .map(|zone| Zone {
                name: format!("{zone}.{}.test.", "long-name".repeat(20)).into(),
                ..status.zones[0].clone()
            })
            .collect();
        figures.status = Arc::new(status);
        for core in figures.statuses.iter_mut().flatten() {
            let one = core.servers[0].clone();
            core.servers = (0..SERVERS_SHOWN_MAX as u32 + 500)
                .map(|server| {
                    let mut state = one.clone();
                    state.server.address.set_ip(std::net::Ipv4Addr::from_bits(0xc633_6400 + server).into());
                    state
                })
                .collect();
        }
        let page = page(figures, Format::Text).unwrap();
        assert!(page.len() < 6 << 20, "{}", page.len());
        let read = reader::read(&page, Format::Text);
        let count = |name: &str| read.samples.iter().filter(|sample| sample.name == name).count();
        assert_eq!(count("ringdns_upstream_server_asked_total"), SERVERS_SHOWN_MAX);
        assert_eq!(count("ringdns_zone_serial"), ZONES_SHOWN_MAX);
        assert!(page.contains("\nringdns_upstream_servers_hidden 500\n"));
    }
}
