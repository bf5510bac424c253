//! `ringdns check`: loads what `serve` would load and says what is wrong with it. Binds nothing, starts nothing.
//!
//! What keeps the server from starting goes to standard error; what is wrong with a zone that can be served, to standard
//! output, under the zone.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use ringdns_control::config::{Fault, Faults, Refused, Settings, Source};
use ringdns_control::{Plane, Served, ZoneFaults};
use ringdns_shard::zone::check::{Findings, Severity};
use ringdns_shard::zone::digest::Verified;
use ringdns_shard::zone::{check, digest};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::print;

/// Columns that the longest owner may widen the list of findings by.
const OWNER_COLUMNS_MAX: usize = 40;

/// Says what is found: on standard output, as an object with `as_json`; what keeps the server from starting, on
/// standard error as well. The exit status is 1 where a zone has an error.
pub(crate) fn check(file: Option<PathBuf>, as_json: bool) -> Result<ExitCode, Failure> {
    let source = file.map_or(Source::Embedded, Source::File);
    match load(source) {
        Ok(plane) => {
            let zones: Vec<Checked<'_>> = plane.zones().map(Checked::new).collect();
            let text = if as_json { format!("{}\n", object(&zones)) } else { summary(plane.settings(), &zones) };
            let well = print(&text)?;
            Ok(if zones.iter().any(Checked::is_faulty) { ExitCode::FAILURE } else { well })
        }
        Err(mistakes) => {
            if as_json {
                print(&format!("{}\n", mistakes.to_json()))?;
            }
            Err(mistakes.into_failure())
        }
    }
}

/// A zone, and what is found of it.
struct Checked<'p> {
    zone: &'p Served,
    digest: Verified,
    findings: Findings,
}

impl Checked<'_> {
    fn new(zone: &Served) -> Checked<'_> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs() as u32).ok();
        let image = zone.image();
        let digest = digest::verify(image).expect("a zone with a wrong digest is not loaded");
        Checked { zone, digest, findings: check::check(image, now) }
    }

    fn is_faulty(&self) -> bool {
        self.errors() > 0
    }

    fn errors(&self) -> usize {
        self.findings.errors()
    }

    fn to_json(&self) -> Value {
        let image = self.zone.image();
        let findings: Vec<Value> = self
            .findings
            .iter()
            .map(|finding| {
                json!({
                    "severity": finding.severity.to_string(),
                    "owner": finding.owner.to_string(),
                    "message": finding.text,
                })
            })
            .collect();
        json!({
            "name": self.zone.name().to_string(),
            "serial": image.serial(),
            "names": image.names(),
            "records": image.records(),
            "octets": image.octets(),
            "zonemd": self.digest.to_string(),
            "errors": self.errors(),
            "warnings": self.findings.warnings(),
            "findings": findings,
        })
    }

    /// A line of figures, and a line each finding: severity, owner, text.
    fn to_text(&self) -> String {
        let image = self.zone.image();
        let mut text = format!(
            "  {}: serial {}, {} names, {} records, {}, ZONEMD {}\n",
            self.zone.name(),
            image.serial(),
            image.names(),
            image.records(),
            octets_text(image.octets()),
            self.digest,
        );
        let owners: Vec<String> = self.findings.iter().map(|finding| finding.owner.to_string()).collect();
        let columns = owners.iter().map(String::len).filter(|columns| *columns <= OWNER_COLUMNS_MAX).max().unwrap_or(0);
        for (finding, owner) in self.findings.iter().zip(owners) {
            text += &format!("    {:<7}  {owner:<columns$}  {}\n", finding.severity, finding.text);
        }
        if self.findings.left_out() > 0 {
            text += &format!("    and {} more\n", self.findings.left_out());
        }
        text
    }
}

fn load(source: Source) -> Result<Plane, Mistakes> {
    let settings = source.read().map_err(Mistakes::Configuration)?.settings;
    let usable = ringdns_rim::cpus_online().map_err(|trouble| Mistakes::Environment(trouble.to_string()))?;
    let in_settings = |faults| Mistakes::Configuration(Refused::Faults(faults));
    let cpus = settings.cpus(&usable, &source.title()).map_err(in_settings)?;
    // One copy of each zone is enough to see that it loads.
    Plane::load(source, settings, &cpus[..1]).map_err(Mistakes::Zones)
}

enum Mistakes {
    Configuration(Refused),
    Zones(Vec<ZoneFaults>),
    Environment(String),
}

impl Mistakes {
    fn into_failure(self) -> Failure {
        match self {
            Mistakes::Configuration(refused) => refused.into(),
            Mistakes::Zones(faults) => Failure::zones(&faults),
            Mistakes::Environment(trouble) => Failure::Environment(trouble),
        }
    }

    fn to_json(&self) -> Value {
        let faults: Vec<Value> = match self {
            Mistakes::Configuration(Refused::Faults(Faults { file, list })) => list
                .iter()
                .map(|Fault { place, message }| {
                    json!({ "file": file, "line": place.line, "column": place.column, "message": message })
                })
                .collect(),
            Mistakes::Configuration(Refused::Unreadable { file, error }) => {
                vec![json!({ "file": file.to_string_lossy(), "message": error.to_string() })]
            }
            Mistakes::Zones(zones) => {
                let of_zone = |zone: &ZoneFaults| -> Vec<Value> {
                    zone.lines.iter().map(|line| json!({ "zone": zone.zone, "message": line })).collect()
                };
                zones.iter().flat_map(of_zone).collect()
            }
            Mistakes::Environment(trouble) => vec![json!({ "message": trouble })],
        };
        json!({ "ok": false, "faults": faults })
    }
}

fn object(zones: &[Checked<'_>]) -> Value {
    let well = !zones.iter().any(Checked::is_faulty);
    json!({ "ok": well, "zones": zones.iter().map(Checked::to_json).collect::<Vec<_>>() })
}

fn summary(settings: &Settings, zones: &[Checked<'_>]) -> String {
    let records: usize = zones.iter().map(|checked| checked.zone.image().records()).sum();
    let octets: usize = zones.iter().map(|checked| checked.zone.image().octets()).sum();
    let mut text = format!(
        "{}; zones: {}, records: {records} ({} a copy), upstreams: {}, routes: {}",
        if zones.iter().any(Checked::is_faulty) { "faulty" } else { "ok" },
        settings.zone.len(),
        octets_text(octets),
        settings.upstream.len(),
        settings.route.len(),
    );
    let errors: usize = zones.iter().map(Checked::errors).sum();
    let warnings: usize = zones.iter().map(|checked| checked.findings.warnings()).sum();
    for (count, severity) in [(errors, Severity::Error), (warnings, Severity::Warning)] {
        if count > 0 {
            text += &format!(", {severity}s: {count}");
        }
    }
    text.push('\n');
    text.extend(zones.iter().map(Checked::to_text));
    text
}

fn octets_text(octets: usize) -> String {
    match octets {
        0..1024 => format!("{octets} B"),
        1024..1_048_576 => format!("{:.1} KiB", octets as f64 / 1024.0),
        _ => format!("{:.1} MiB", octets as f64 / 1_048_576.0),
    }
}
