//! `ringdns check`: loads what `serve` would load and says what is wrong with it. Binds nothing, starts nothing.

use std::path::PathBuf;
use std::process::ExitCode;

use ringdns_control::config::{Fault, Faults, Refused, Settings, Source};
use ringdns_control::{Plane, ZoneFaults};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::print;

/// Says what is found: well, on standard output; mistakes, on standard error, and with `as_json` as an object on
/// standard output too.
pub(crate) fn check(file: Option<PathBuf>, as_json: bool) -> Result<ExitCode, Failure> {
    let source = file.map_or(Source::Embedded, Source::File);
    match load(source) {
        Ok(plane) if as_json => print(&format!("{}\n", well(&plane))),
        Ok(plane) => print(&summary(&plane)),
        Err(mistakes) => {
            if as_json {
                print(&format!("{}\n", mistakes.to_json()))?;
            }
            Err(mistakes.into_failure())
        }
    }
}

fn load(source: Source) -> Result<Plane, Mistakes> {
    let settings = source.read().map_err(Mistakes::Configuration)?;
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

fn well(plane: &Plane) -> Value {
    let zones: Vec<Value> = plane
        .zones()
        .map(|zone| {
            let image = zone.image();
            json!({
                "name": zone.name().to_string(),
                "serial": image.serial(),
                "names": image.names(),
                "records": image.records(),
                "octets": image.octets(),
            })
        })
        .collect();
    json!({ "ok": true, "zones": zones })
}

fn summary(plane: &Plane) -> String {
    let settings: &Settings = plane.settings();
    let records: usize = plane.zones().map(|zone| zone.image().records()).sum();
    let octets: usize = plane.zones().map(|zone| zone.image().octets()).sum();
    let mut text = format!(
        "ok; zones: {}, records: {records} ({} a copy), upstreams: {}, routes: {}\n",
        settings.zone.len(),
        octets_text(octets),
        settings.upstream.len(),
        settings.route.len(),
    );
    for zone in plane.zones() {
        let image = zone.image();
        text.push_str(&format!(
            "  {}: serial {}, {} names, {} records, {}\n",
            zone.name(),
            image.serial(),
            image.names(),
            image.records(),
            octets_text(image.octets())
        ));
    }
    text
}

fn octets_text(octets: usize) -> String {
    match octets {
        0..1024 => format!("{octets} B"),
        1024..1_048_576 => format!("{:.1} KiB", octets as f64 / 1024.0),
        _ => format!("{:.1} MiB", octets as f64 / 1_048_576.0),
    }
}
