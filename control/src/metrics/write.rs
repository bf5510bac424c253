//! How metrics get onto the page.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use ringdns_shard::telemetry::Histogram;

/// The labels of a sample: names, and values.
pub(super) type Labels<'v, const N: usize> = [(&'static str, &'v str); N];

/// The ends of a histogram's buckets, as powers of two in microseconds: 16 µs, 32 µs, … 8.4 s.
const ENDS: std::ops::RangeInclusive<u32> = 4..=23;

const MICROS_A_SECOND: f64 = 1e6;

/// A number that may go up and down.
pub(super) fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: f64) -> fmt::Result {
    encode_gauge(value, encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

/// A number that only goes up.
pub(super) fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    ConstCounter::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)
}

/// Such numbers of many.
pub(super) fn gauges<'v, const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (Labels<'v, N>, f64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        encode_gauge(value, metric.encode_family(&labels)?)?;
    }
    Ok(())
}

/// A whole number is written as one.
fn encode_gauge(value: f64, encoder: prometheus_client::encoding::MetricEncoder<'_>) -> fmt::Result {
    const WHOLE_MAX: f64 = (1u64 << 53) as f64;
    if value.fract() == 0.0 && value.abs() <= WHOLE_MAX {
        ConstGauge::new(value as i64).encode(encoder)
    } else {
        ConstGauge::new(value).encode(encoder)
    }
}

/// Such numbers of many.
pub(super) fn counters<'v, const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (Labels<'v, N>, u64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in values {
        ConstCounter::new(value).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

/// Seconds that only become more; those of a single thing have no labels.
pub(super) fn seconds<'v, const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    micros: impl IntoIterator<Item = (Labels<'v, N>, u64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, micros) in micros {
        let seconds = micros as f64 / MICROS_A_SECOND;
        if N == 0 {
            metric.encode_counter::<NoLabelSet, _, u64>(&seconds, None)?;
        } else {
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&seconds, None)?;
        }
    }
    Ok(())
}

/// Spans of many, in seconds; one of a single kind has no labels.
pub(super) fn histograms<'v, const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (Labels<'v, N>, Histogram)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for (labels, histogram) in values {
        let mut below = 0;
        let mut buckets: Vec<(f64, u64)> = Vec::new();
        for bit in ENDS {
            let micros = 1u64 << bit;
            let up_to = histogram.up_to(micros - 1);
            buckets.push((micros as f64 / MICROS_A_SECOND, up_to - below));
            below = up_to;
        }
        let count = histogram.count();
        buckets.push((f64::INFINITY, count - below));
        let sum = histogram.sum_micros() as f64 / MICROS_A_SECOND;
        if N == 0 {
            metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        } else {
            metric.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
    }
    Ok(())
}
