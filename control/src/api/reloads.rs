//! Reloads that were asked for over the control plane: who waits for which, and what they are told.

use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::problem::Problem;
use crate::config;
use crate::load::ZoneFaults;
use crate::plane::NotReloaded;
use crate::zones::Report;

/// Wishes on their way to the server; more wait at the sender.
const WISHES_MAX: usize = 64;

/// What came of a reload.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// What was read is in force; the object says what, and which zones have mistakes.
    InForce(Value),
    /// It is not.
    Failed(Problem),
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

    /// Tells those who have waited for this reload.
    pub(crate) fn tell(&mut self, report: &Report) {
        let askers = std::mem::replace(&mut self.now, std::mem::take(&mut self.next));
        if askers.is_empty() {
            return;
        }
        let outcome = outcome(report);
        for asker in askers {
            // Whoever does not wait any more need not be told.
            let _ = asker.send(outcome.clone());
        }
    }
}

fn outcome(report: &Report) -> Outcome {
    let reloaded = match report {
        Ok(reloaded) => reloaded,
        Err(not_reloaded) => return Outcome::Failed(problem(not_reloaded)),
    };
    let of_zone = |faults: &ZoneFaults| -> Vec<Value> {
        faults.lines.iter().map(|line| json!({ "zone": faults.zone, "message": line })).collect()
    };
    Outcome::InForce(json!({
        "zones_read": reloaded.read,
        "zones_unchanged": reloaded.unchanged,
        "zones_faulty": reloaded.faults.len(),
        "needs_restart": reloaded.waiting,
        "faults": reloaded.faults.iter().flat_map(of_zone).collect::<Vec<Value>>(),
    }))
}

fn problem(not_reloaded: &NotReloaded) -> Problem {
    let nothing = "nothing is changed, for the configuration cannot be used";
    match not_reloaded {
        NotReloaded::Refused(config::Refused::Faults(faults)) => {
            let objects = faults.list.iter().map(|fault| {
                let (line, column) = (fault.place.line, fault.place.column);
                json!({ "file": faults.file, "line": line, "column": column, "message": fault.message })
            });
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, nothing).with_faults(objects.collect())
        }
        NotReloaded::Refused(config::Refused::Unreadable { file, error }) => {
            let fault = json!({ "file": file.to_string_lossy(), "message": format!("cannot be read: {error}") });
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, nothing).with_faults(vec![fault])
        }
        NotReloaded::Cores(_) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, not_reloaded.to_string()),
        NotReloaded::Bug => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, not_reloaded.to_string()),
    }
}
