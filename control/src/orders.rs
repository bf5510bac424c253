//! What the control plane's interface asks of the process: orders on their way to the one thread that knows everything.

use std::sync::Arc;
use std::time::Duration;

use ringdns_shard::Time;
use ringdns_shard::wire::name::Name;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use utoipa::ToSchema;

use crate::api::reloads::Outcome;
use crate::configuration::Configuration;
use crate::plane::Plane;
use crate::zones::{Source, Zone};

/// Orders on their way; more wait at the sender.
const ORDERS_MAX: usize = 64;

/// Where an answer goes.
pub(crate) type Told<T> = oneshot::Sender<T>;

/// What is asked.
#[derive(Debug)]
pub(crate) enum Order {
    /// Say from now on that the server is not ready, and stop it after so long as SIGTERM does.
    Drain(Duration, Told<()>),
    /// The zones in the order of their names, from the one that follows `after` on, `limit` at most.
    Zones { after: Option<Name>, limit: usize, told: Told<ZonePage> },
    /// One zone; `None`: there is none of this name.
    Zone(Name, Told<Option<ZoneView>>),
    /// Read the zone anew from its file, and answer when the cores have it; or ask its primaries, and answer at once. The
    /// error says why not.
    ReloadZone(Name, Told<Result<ZoneReload, NotBegun>>),
    /// Write the cache to its file; the answer says how many octets of answers there are in it, or why there is no file.
    DumpCache(Told<Result<u64, String>>),
    /// The cache is about to be flushed: what was written of it before must not come back after a restart.
    ForgetDump(Told<()>),
    /// The configuration in force.
    Settings(Told<Arc<Configuration>>),
}

/// What came of the wish to have a zone read anew.
#[derive(Clone, Debug)]
pub(crate) enum ZoneReload {
    /// Its primaries are being asked.
    Asking,
    /// It has been read, as a reload has it.
    Read(Outcome),
}

/// Why a zone is not read anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotBegun {
    /// There is none of this name.
    Unknown,
    /// It cannot be, or not now; why.
    Impossible(&'static str),
}

/// Where the records of a zone come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ZoneKind {
    /// A master file.
    Primary,
    /// Its primaries.
    Secondary,
    /// The zones that it lists: a catalog that is made here.
    Catalog,
}

/// How a zone does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ZoneState {
    /// It is answered from.
    Served,
    /// Its file could not be loaded, and never was: SERVFAIL.
    Missing,
    /// It has not been transferred yet: SERVFAIL.
    Absent,
    /// No primary has been heard for too long: SERVFAIL.
    Expired,
}

/// A zone, as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ZoneView {
    pub(crate) name: String,
    pub(crate) kind: ZoneKind,
    pub(crate) state: ZoneState,
    /// Its last refresh or transfer failed.
    pub(crate) troubled: bool,
    /// It comes from a catalog.
    pub(crate) member: bool,
    /// Of the version in force; none where there is none.
    pub(crate) serial: Option<u32>,
    pub(crate) names: usize,
    pub(crate) records: usize,
    /// Memory of all copies.
    pub(crate) octets: usize,
    /// Seconds until the copy of a secondary is given up.
    pub(crate) expires_in: Option<u64>,
}

/// A part of the zones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ZonePage {
    pub(crate) zones: Vec<ZoneView>,
    /// How many there are in all.
    pub(crate) total: usize,
    /// Whether others follow.
    pub(crate) more: bool,
}

/// The end that orders.
#[derive(Clone, Debug)]
pub(crate) struct Desk(mpsc::Sender<Order>);

/// The end of the process.
#[derive(Debug)]
pub(crate) struct Orders(mpsc::Receiver<Order>);

/// A pair of ends.
pub(crate) fn channel() -> (Desk, Orders) {
    let (sender, receiver) = mpsc::channel(ORDERS_MAX);
    (Desk(sender), Orders(receiver))
}

impl ZoneView {
    /// What people see of a zone.
    fn of(zone: &Zone, now: Time) -> ZoneView {
        let served = zone.served();
        let image = served.map(|served| served.image());
        ZoneView {
            name: zone.title().to_string(),
            kind: match zone.wanted().source {
                Source::File { .. } => ZoneKind::Primary,
                Source::Primaries { .. } => ZoneKind::Secondary,
                Source::Listed { .. } => ZoneKind::Catalog,
            },
            state: match served {
                Some(_) if zone.is_expired() => ZoneState::Expired,
                Some(_) => ZoneState::Served,
                None if zone.is_missing() => ZoneState::Missing,
                None => ZoneState::Absent,
            },
            troubled: zone.is_troubled(),
            member: zone.wanted().member.is_some(),
            serial: image.map(|image| image.serial()),
            names: image.map_or(0, |image| image.names()),
            records: image.map_or(0, |image| image.records()),
            octets: served.map_or(0, |served| served.octets()),
            expires_in: zone.secondary().and_then(|secondary| Some((secondary.expires()? - now).as_secs())),
        }
    }
}

/// One zone.
pub(crate) fn zone(plane: &Plane, apex: &Name) -> Option<ZoneView> {
    plane.store.zone(apex).map(|zone| ZoneView::of(zone, plane.now()))
}

/// The zones that follow `after` in the order of their names as text, `limit` at most.
pub(crate) fn zones(plane: &Plane, after: Option<&Name>, limit: usize) -> ZonePage {
    let after = after.map(Name::to_string);
    let all = plane.store.zones();
    let mut following: Vec<&Zone> =
        all.iter().filter(|zone| after.as_deref().is_none_or(|after| &**zone.title() > after)).collect();
    // Of a hundred thousand zones only those that are shown need be in order.
    let more = following.len() > limit;
    if more && limit > 0 {
        following.select_nth_unstable_by_key(limit - 1, |zone| zone.title());
    }
    following.truncate(limit);
    following.sort_unstable_by_key(|zone| zone.title());
    let zones = following.into_iter().map(|zone| ZoneView::of(zone, plane.now())).collect();
    ZonePage { zones, total: all.len(), more }
}

impl Desk {
    /// Orders something and waits for the answer; `None`: there will be none, for the process ends.
    pub(crate) async fn ask<T>(&self, order: impl FnOnce(Told<T>) -> Order) -> Option<T> {
        let (told, answer) = oneshot::channel();
        self.0.send(order(told)).await.ok()?;
        answer.await.ok()
    }
}

impl Orders {
    /// Waits for an order; `None`: there will be none any more. Nothing is lost when it is not waited for to the end.
    pub(crate) async fn next(&mut self) -> Option<Order> {
        self.0.recv().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn zones_are_told_in_parts_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let records = "$TTL 60\n@ SOA ns h 7 60 60 60 60\n@ NS ns\nns A 192.0.2.1\n";
        let mut text = String::new();
        for name in ["d", "b", "a", "e"] {
            std::fs::write(folder.path().join(format!("{name}.zone")), records).unwrap();
            text += &format!("[[zone]]\nname = \"{name}.test\"\nfile = \"{name}.zone\"\n");
        }
        text += "[[zone]]\nname = \"c.test\"\nprimaries = [\"192.0.2.1:53\"]\n";
        let settings = config::parse("r.toml", &text, folder.path()).unwrap();
        let plane = Plane::load(config::Source::Embedded, settings, &[0, 1]).unwrap();
        let names = |page: &ZonePage| page.zones.iter().map(|zone| zone.name.clone()).collect::<Vec<_>>().concat();
        let page = zones(&plane, None, 3);
        assert_eq!((names(&page).as_str(), page.total, page.more), ("a.test.b.test.c.test.", 5, true));
        let view = &page.zones[0];
        assert_eq!(
            (view.kind, view.state, view.serial, view.records),
            (ZoneKind::Primary, ZoneState::Served, Some(7), 3)
        );
        let view = &page.zones[2];
        assert_eq!((view.kind, view.state, view.serial), (ZoneKind::Secondary, ZoneState::Absent, None));
        let page = zones(&plane, Some(&"c.test".parse().unwrap()), 2);
        assert_eq!((names(&page).as_str(), page.more), ("d.test.e.test.", false));
        assert_eq!(zones(&plane, Some(&"e.test".parse().unwrap()), 2).zones, []);
        assert_eq!((zones(&plane, None, 0).zones.len(), zones(&plane, None, 0).more), (0, true));
        assert_eq!(zone(&plane, &"b.test".parse().unwrap()).unwrap().name, "b.test.");
        assert_eq!(zone(&plane, &"x.test".parse().unwrap()), None);
    }
}
