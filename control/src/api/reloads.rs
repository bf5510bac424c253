//! Reloads that were asked for over the control plane: who waits for which, and what they are told.

use axum::http::StatusCode;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use utoipa::ToSchema;

use super::problem::{Mistake, Problem};
use crate::config;
use crate::load::ZoneFaults;
use crate::plane::NotReloaded;
use crate::zones::Report;

/// Wishes on their way to the server; more wait at the sender.
const WISHES_MAX: usize = 64;

/// What came of a reload.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// What was read is in force.
    InForce(InForce),
    /// It is not.
    Failed(Problem),
}

/// What came of a reload that is in force.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct InForce {
    /// Zones that were read.
    zones_read: usize,
    /// Zones whose files are as they were.
    zones_unchanged: usize,
    /// Zones that could not be read.
    zones_faulty: usize,
    /// Settings that have changed, and are in force after a restart.
    needs_restart: Vec<&'static str>,
    /// What is wrong with zones, and what of the control plane could not be changed.
    faults: Vec<Mistake>,
}

/// Somebody who wants to know what came of it.
type Asker = oneshot::Sender<Outcome>;

/// The end that asks.
#[derive(Clone, Debug)]
pub(crate) struct Wishes(mpsc::Sender<Asker>);

/// The end of those who reload.
#[derive(Debug)]
pub(crate) struct Reloads {
    wishes: mpsc::Receiver<Asker>,
    /// They wait for the reload that runs.
    now: Vec<Asker>,
    /// They came when one ran already: what it reads may be older than their wish.
    next: Vec<Asker>,
}

/// A pair of ends.
pub(crate) fn channel() -> (Wishes, Reloads) {
    let (sender, wishes) = mpsc::channel(WISHES_MAX);
    (Wishes(sender), Reloads { wishes, now: Vec::new(), next: Vec::new() })
}

impl Wishes {
    /// Asks for a reload that begins after this call, and waits for its end; `None`: there will be none, for the process
    /// ends.
    pub(super) async fn ask(&self) -> Option<Outcome> {
        let (asker, outcome) = oneshot::channel();
        self.0.send(asker).await.ok()?;
        outcome.await.ok()
    }
}

impl Reloads {
    /// Waits for a wish; `None`: there will be none any more. Nothing is lost when it is not waited for to the end.
    pub(crate) async fn wished(&mut self) -> Option<Asker> {
        self.wishes.recv().await
    }

    /// Keeps somebody waiting, for the reload that is about to begin or, while one `is_reloading`, for the one after it.
    pub(crate) fn wait(&mut self, asker: Asker, is_reloading: bool) {
        let askers = if is_reloading { &mut self.next } else { &mut self.now };
        // Those who have gone away need not be remembered.
        askers.retain(|asker| !asker.is_closed());
        askers.push(asker);
    }

    /// Tells those who have waited for this reload. `unchanged` are lines about what is in force as it was before, though
    /// something else is wanted.
    pub(crate) fn tell(&mut self, report: &Report, unchanged: &[String]) {
        let askers = std::mem::replace(&mut self.now, std::mem::take(&mut self.next));
        if askers.is_empty() {
            return;
        }
        let outcome = Outcome::of(report, unchanged);
        for asker in askers {
            // Whoever does not wait any more need not be told.
            let _ = asker.send(outcome.clone());
        }
    }
}

impl Outcome {
    /// What came of it, as it is told. `unchanged` as [`Reloads::tell`] has it.
    pub(crate) fn of(report: &Report, unchanged: &[String]) -> Outcome {
        let reloaded = match report {
            Ok(reloaded) => reloaded,
            Err(not_reloaded) => return Outcome::Failed(problem(not_reloaded)),
        };
        let of_zone = |faults: &ZoneFaults| -> Vec<Mistake> {
            let of_line = |line: &String| Mistake {
                zone: Some(faults.zone.clone()),
                message: line.clone(),
                ..Mistake::default()
            };
            faults.lines.iter().map(of_line).collect()
        };
        let unchanged = unchanged.iter().map(|line| Mistake { message: line.clone(), ..Mistake::default() });
        Outcome::InForce(InForce {
            zones_read: reloaded.read,
            zones_unchanged: reloaded.unchanged,
            zones_faulty: reloaded.faults.len(),
            needs_restart: reloaded.waiting.clone(),
            faults: reloaded.faults.iter().flat_map(of_zone).chain(unchanged).collect(),
        })
    }
}

impl InForce {
    /// What is wrong.
    pub(super) fn into_faults(self) -> Vec<Mistake> {
        self.faults
    }
}

fn problem(not_reloaded: &NotReloaded) -> Problem {
    let nothing = "nothing is changed, for the configuration cannot be used";
    match not_reloaded {
        NotReloaded::Refused(config::Refused::Faults(faults)) => {
            let mistakes = faults.list.iter().map(|fault| Mistake {
                zone: None,
                file: Some(faults.file.clone()),
                line: Some(fault.place.line),
                column: Some(fault.place.column),
                message: fault.message.clone(),
            });
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, nothing).with_faults(mistakes.collect())
        }
        NotReloaded::Refused(config::Refused::Unreadable { file, error }) => {
            let file = Some(file.to_string_lossy().into_owned());
            let fault = Mistake { file, message: format!("cannot be read: {error}"), ..Mistake::default() };
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, nothing).with_faults(vec![fault])
        }
        NotReloaded::Cores(_) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, not_reloaded.to_string()),
        NotReloaded::Bug => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, not_reloaded.to_string()),
    }
}
