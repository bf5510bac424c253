//! The zones: a list, one of them, and reading one anew.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::asked::{Asked, Body, Named, Nothing, limit, optional_name};
use super::problem::{Mistake, Problem};
use super::reloads::Outcome;
use super::{Answer, Answered};
use crate::http::Pages;
use crate::orders::{NotBegun, Order, ZoneReload, ZoneView};

/// Zones of a part where nobody says how many.
const ZONES_DEFAULT: usize = 100;

/// Which part of the zones.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ZonesAsked {
    /// The zones that follow this name in the order of names, as `next` of the part before says.
    after: Option<String>,
    /// So many at most.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
}

/// A part of the zones.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Zones {
    /// In canonical order.
    zones: Vec<ZoneView>,
    /// How many there are in all.
    total: usize,
    /// `after` of the next part; none where there is no more.
    next: Option<String>,
}

/// Lists the zones.
#[utoipa::path(
    get, path = "/zones", tag = "zones", params(ZonesAsked),
    responses((status = 200, description = "A part of the list.", body = Zones))
)]
pub(super) async fn list(State(pages): State<Pages>, Asked(asked): Asked<ZonesAsked>) -> Answered<Zones> {
    let after = optional_name("after", asked.after.as_deref())?;
    let limit = limit(asked.limit.as_deref(), ZONES_DEFAULT)?;
    let Pages { orders, turns, .. } = pages;
    let page = turns.ordered(async move { orders.ask(|told| Order::Zones { after, limit, told }).await });
    let page = page.await?.ok_or_else(Problem::stopping)?;
    let next = page.zones.last().filter(|_| page.more).map(|zone| zone.name.clone());
    Ok(Answer(Zones { zones: page.zones, total: page.total, next }))
}

fn unknown(name: &ringdns_shard::wire::name::Name) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        format!("there is no zone {name}; GET /api/v1/zones lists those that there are"),
    )
}

/// Says how a zone does.
#[utoipa::path(
    get, path = "/zones/{name}", tag = "zones", params(("name" = String, Path, description = "The name of the zone.")),
    responses(
        (status = 200, description = "The zone.", body = ZoneView),
        (status = 404, description = "There is no such zone.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn one(
    State(pages): State<Pages>,
    Asked(Nothing {}): Asked<Nothing>,
    Named(name): Named,
) -> Answered<ZoneView> {
    let zone = pages.orders.ask(|told| Order::Zone(name.clone(), told)).await.ok_or_else(Problem::stopping)?;
    zone.map(Answer).ok_or_else(|| unknown(&name))
}

/// What came of the wish to have a zone read anew.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ZoneReloaded {
    /// Whether its primaries are being asked: what comes of that, the zone itself will say. Otherwise its file has been
    /// read.
    asking: bool,
    /// What is wrong with the file; then the zone is as it was.
    faults: Vec<Mistake>,
}

/// Reads a zone anew from its file and answers when that is over; or asks its primaries for a newer version.
#[utoipa::path(
    post, path = "/zones/{name}/reload", tag = "zones",
    params(("name" = String, Path, description = "The name of the zone.")),
    responses(
        (status = 200, description = "What came of it.", body = ZoneReloaded),
        (status = 404, description = "There is no such zone.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It cannot be, or not now.", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(super) async fn reload(
    State(pages): State<Pages>,
    Asked(Nothing {}): Asked<Nothing>,
    Named(name): Named,
    body: Body,
) -> Answered<ZoneReloaded> {
    body.nothing()?;
    match pages.orders.ask(|told| Order::ReloadZone(name.clone(), told)).await {
        Some(Ok(ZoneReload::Asking)) => Ok(Answer(ZoneReloaded { asking: true, faults: Vec::new() })),
        Some(Ok(ZoneReload::Read(Outcome::InForce(told)))) => {
            Ok(Answer(ZoneReloaded { asking: false, faults: told.into_faults() }))
        }
        Some(Ok(ZoneReload::Read(Outcome::Failed(problem)))) => Err(problem),
        Some(Err(NotBegun::Unknown)) => Err(unknown(&name)),
        Some(Err(NotBegun::Impossible(why))) => Err(Problem::new(StatusCode::CONFLICT, why)),
        None => Err(Problem::stopping()),
    }
}
