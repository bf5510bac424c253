//! Tests that measure run alone; all others run side by side.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

static STATE: Mutex<State> = Mutex::new(State { sharing: 0, alone: None });
static CHANGED: Condvar = Condvar::new();

struct State {
    sharing: usize,
    alone: Option<ThreadId>,
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The machine to itself, for as long as it lives.
pub(crate) struct Alone;

/// A share of the machine, for as long as it lives.
pub(crate) struct Share;

/// Waits until no other test has a server.
pub(crate) fn alone() -> Alone {
    let mut state = state();
    while state.sharing > 0 || state.alone.is_some() {
        state = CHANGED.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    state.alone = Some(std::thread::current().id());
    Alone
}

/// Waits until no other test wants the machine to itself.
pub(crate) fn share() -> Share {
    let mut state = state();
    while state.alone.is_some_and(|alone| alone != std::thread::current().id()) {
        state = CHANGED.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    state.sharing += 1;
    Share
}

impl Drop for Alone {
    fn drop(&mut self) {
        state().alone = None;
        CHANGED.notify_all();
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        state().sharing -= 1;
        CHANGED.notify_all();
    }
}
