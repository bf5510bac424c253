//! Whether this server should be asked.

use serde_json::{Value, json};

use crate::status::Status;

/// Whether others should send their questions here, and why not. `answering`: every core has answered a question of ours.
///
/// A secondary whose primaries are silent does not make the rest of a server useless; one that has not asked yet may.
pub(crate) fn readiness(status: &Status, answering: bool) -> (bool, Value) {
    let totals = &status.totals;
    let ready = answering && !status.is_draining && totals.missing == 0 && totals.untried == 0;
    let object = json!({
        "ready": ready,
        "draining": status.is_draining,
        "cores_answer": answering,
        "zones": totals.served,
        "zones_missing": totals.missing,
        "zones_untried": totals.untried,
        "zones_absent": totals.absent,
        "zones_expired": totals.expired,
    });
    (ready, object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_amiss_makes_the_server_not_ready() {
        let ready = |change: fn(&mut Status), answering| {
            let mut status = Status::default();
            change(&mut status);
            readiness(&status, answering).0
        };
        assert!(ready(|_| {}, true));
        assert!(!ready(|_| {}, false));
        assert!(!ready(|status| status.is_draining = true, true));
        assert!(!ready(|status| status.totals.missing = 1, true));
        assert!(!ready(|status| status.totals.untried = 1, true));
        assert!(ready(|status| (status.totals.expired, status.totals.absent) = (1, 1), true));
        assert_eq!(readiness(&Status::default(), false).1["cores_answer"], false);
    }
}
