//! The process as a whole: how it does, what is in force, reloading, draining, the level of its log.

use std::time::Duration;

use axum::extract::State;
use log::LevelFilter;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::asked::{Asked, Body, Nothing};
use super::figures::{Cores, Stats};
use super::problem::Problem;
use super::reloads::{InForce, Outcome};
use super::servers::Upstreams;
use super::status::{Known, View};
use super::{Answer, Answered, Page};
use crate::http::{CORES_LIMIT, Pages};
use crate::logs;
use crate::orders::Order;

/// Draining takes so long at most: a balancer that has not noticed by then will not.
const DRAIN_SECONDS_MAX: u64 = 3_600;

/// Says how the server does: cores, cache, upstreams, zones, reloads, query log, dnstap.
#[utoipa::path(get, path = "/status", tag = "server", responses((status = 200, description = "How it does.", body = View)))]
pub(super) async fn status(State(pages): State<Pages>, Asked(Nothing {}): Asked<Nothing>) -> Answered<View> {
    let turns = pages.turns.clone();
    let view = move || {
        let log = pages.query_log.as_ref();
        View::of(Known {
            snapshots: &pages.cores.snapshots(CORES_LIMIT),
            statuses: &pages.cores.statuses(CORES_LIMIT),
            board: &pages.board.read(),
            access: &pages.access,
            query_log: log.map(|log| (log.figures(), log.file().display().to_string())),
            dnstap: pages.dnstap.as_ref().map(|dnstap| dnstap.figures()),
            uptime: pages.started.elapsed(),
        })
    };
    Ok(Answer(turns.brief(view).await?))
}

/// Says what each core has counted since it started.
#[utoipa::path(get, path = "/cores", tag = "server", responses((status = 200, description = "Core by core.", body = Cores)))]
pub(super) async fn cores(State(pages): State<Pages>, Asked(Nothing {}): Asked<Nothing>) -> Answered<Cores> {
    let figures = move || Cores::of(&pages.cores.snapshots(CORES_LIMIT), &pages.cores.statuses(CORES_LIMIT));
    Ok(Answer(pages.turns.brief(figures).await?))
}

/// Says what the cores together have counted; the difference of two answers is what happened in between.
#[utoipa::path(get, path = "/stats", tag = "server", responses((status = 200, description = "All together.", body = Stats)))]
pub(super) async fn stats(State(pages): State<Pages>, Asked(Nothing {}): Asked<Nothing>) -> Answered<Stats> {
    let turns = pages.turns.clone();
    let figures = move || {
        let (snapshots, statuses) = (pages.cores.snapshots(CORES_LIMIT), pages.cores.statuses(CORES_LIMIT));
        Stats::of(&snapshots, &statuses, pages.started.elapsed())
    };
    Ok(Answer(turns.brief(figures).await?))
}

/// Says which servers queries go to, and how they do.
#[utoipa::path(
    get, path = "/upstreams", tag = "server",
    responses((status = 200, description = "The servers.", body = Upstreams))
)]
pub(super) async fn upstreams(State(pages): State<Pages>, Asked(Nothing {}): Asked<Nothing>) -> Answered<Upstreams> {
    let turns = pages.turns.clone();
    let seen =
        move || Upstreams::of(&pages.cores.statuses(CORES_LIMIT), &pages.board.read().pools, pages.started.elapsed());
    Ok(Answer(turns.brief(seen).await?))
}

/// The configuration in force.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct InForceNow {
    /// As `ringdns config` prints it: every setting, secrets left out.
    toml: String,
}

/// Says which configuration is in force.
#[utoipa::path(
    get, path = "/config", tag = "server",
    responses((status = 200, description = "The configuration.", body = InForceNow))
)]
pub(super) async fn config(State(pages): State<Pages>, Asked(Nothing {}): Asked<Nothing>) -> Result<Page, Problem> {
    let settings = pages.orders.ask(Order::Settings).await.ok_or_else(Problem::stopping)?;
    let made = move || settings.page(|settings| Page::of(&InForceNow { toml: settings.to_toml() }).0);
    Ok(Page(pages.turns.long(made).await?))
}

/// Reads configuration and zones anew, and answers when that is over.
#[utoipa::path(
    post, path = "/reload", tag = "server",
    responses(
        (status = 200, description = "What was read is in force.", body = InForce),
        (status = 422, description = "The configuration has mistakes, and nothing is changed.", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(super) async fn reload(
    State(pages): State<Pages>,
    Asked(Nothing {}): Asked<Nothing>,
    body: Body,
) -> Answered<InForce> {
    body.nothing()?;
    match pages.reloads.ask().await {
        Some(Outcome::InForce(told)) => Ok(Answer(told)),
        Some(Outcome::Failed(problem)) => Err(problem),
        None => Err(Problem::stopping()),
    }
}

/// For how long a server drains.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Drain {
    /// Seconds until it stops.
    #[schema(minimum = 0, maximum = 3600)]
    seconds: u64,
}

/// A server that drains.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Draining {
    /// Always true.
    draining: bool,
    /// Seconds until it stops.
    seconds: u64,
}

/// Says from now on that the server is not ready, and stops it after so many seconds as SIGTERM does; it answers until
/// then.
#[utoipa::path(
    post, path = "/drain", tag = "server", request_body = Drain,
    responses((status = 200, description = "It drains.", body = Draining))
)]
pub(super) async fn drain(
    State(pages): State<Pages>,
    Asked(Nothing {}): Asked<Nothing>,
    body: Body,
) -> Answered<Draining> {
    let accepted = format!("{{\"seconds\": 30}}, from 0 to {DRAIN_SECONDS_MAX}");
    let object = body.members(&["seconds"], &accepted)?;
    let seconds = object.get("seconds").and_then(Value::as_u64).filter(|seconds| *seconds <= DRAIN_SECONDS_MAX);
    let Some(seconds) = seconds else {
        return Err(Problem::wrong(format!("`seconds` is missing, or no number in its range; accepted: {accepted}")));
    };
    let drain = |told| Order::Drain(Duration::from_secs(seconds), told);
    pages.orders.ask(drain).await.ok_or_else(Problem::stopping)?;
    Ok(Answer(Draining { draining: true, seconds }))
}

/// How much the process says of itself.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Level {
    /// `off`, `error`, `warn`, `info`, `debug` or `trace`.
    #[schema(example = "info")]
    level: String,
}

impl Level {
    fn of(level: LevelFilter) -> Level {
        Level { level: level.as_str().to_ascii_lowercase() }
    }
}

/// Says how much the process says of itself on standard error.
#[utoipa::path(get, path = "/log", tag = "server", responses((status = 200, description = "The level.", body = Level)))]
pub(super) async fn log_level(Asked(Nothing {}): Asked<Nothing>) -> Answered<Level> {
    Ok(Answer(Level::of(logs::level())))
}

/// Changes how much it says, until the next reload or restart.
#[utoipa::path(
    put, path = "/log", tag = "server", request_body = Level,
    responses((status = 200, description = "The level now.", body = Level))
)]
pub(super) async fn set_log_level(Asked(Nothing {}): Asked<Nothing>, body: Body) -> Answered<Level> {
    const ACCEPTED: &str = "{\"level\": \"debug\"}, or off, error, warn, info, trace";
    let object = body.members(&["level"], ACCEPTED)?;
    let wanted = object.get("level").and_then(Value::as_str);
    let is_wanted = |level: &LevelFilter| wanted.is_some_and(|wanted| level.as_str().eq_ignore_ascii_case(wanted));
    let level = LevelFilter::iter().find(is_wanted);
    let Some(level) = level else {
        return Err(Problem::wrong(format!("`level` is missing, or none that there is; accepted: {ACCEPTED}")));
    };
    logs::set_level(level);
    log::info!("the log's level is {} until the next reload", level.as_str().to_ascii_lowercase());
    Ok(Answer(Level::of(level)))
}
