//! What the program says of itself: one line a message on standard error, for people or as JSON.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use env_logger::fmt::Formatter;
use log::{LevelFilter, Record};

use crate::config::{Log, LogFormat};

static JSON: AtomicBool = AtomicBool::new(false);

/// Starts logging as `settings` say. Called once a process; no environment variable has a say in it.
pub fn start(settings: &Log) {
    env_logger::Builder::new()
        .filter_level(LevelFilter::Warn)
        .filter_module("ringdns", LevelFilter::Trace)
        // The runtime warns where it has no locked memory for file I/O, which the cores never do.
        .filter_module("glommio", LevelFilter::Error)
        .format(line)
        .init();
    change(settings);
}

/// Goes on logging as `settings` say.
pub(crate) fn change(settings: &Log) {
    JSON.store(*settings.format == LogFormat::Json, Ordering::Relaxed);
    log::set_max_level(*settings.level);
}

fn line(out: &mut Formatter, record: &Record<'_>) -> std::io::Result<()> {
    let time = out.timestamp_millis();
    if JSON.load(Ordering::Relaxed) {
        let object = serde_json::json!({
            "time": time.to_string(),
            "level": record.level().as_str().to_ascii_lowercase(),
            "target": record.target(),
            "message": record.args().to_string(),
        });
        return writeln!(out, "{object}");
    }
    let level = record.level();
    let style = out.default_level_style(level);
    writeln!(out, "{time} {style}{level:5}{style:#} {}", record.args())
}
