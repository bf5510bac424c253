//! The terminal, as long as the page has it. However that ends, it is given back as it was: on leaving, by a panic of
//! whichever thread, by a signal.

use std::io::{self, stdout};
use std::mem::ManuallyDrop;
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::Show;
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::backend::CrosstermBackend;
use ratatui::{DefaultTerminal, Frame, Terminal};

/// Whether the terminal is in our hands.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal in our hands; dropping it gives it back.
pub(super) struct Taken {
    /// Not dropped: it would complain where the terminal has gone, and the cursor is ours to show.
    terminal: ManuallyDrop<DefaultTerminal>,
}

impl Taken {
    /// Takes the terminal.
    ///
    /// # Errors
    /// When it is none that can be drawn on.
    pub(super) fn take() -> io::Result<Taken> {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            // First, so that what is reported can be read.
            give_back();
            report(panic);
        }));
        enable_raw_mode()?;
        IS_TAKEN.store(true, Ordering::Relaxed);
        let taken =
            execute!(stdout(), EnterAlternateScreen).and_then(|()| Terminal::new(CrosstermBackend::new(stdout())));
        match taken {
            Ok(terminal) => Ok(Taken { terminal: ManuallyDrop::new(terminal) }),
            Err(error) => {
                give_back();
                Err(error)
            }
        }
    }

    /// Draws, in the size that it has now; nothing once it is given back.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        match IS_TAKEN.load(Ordering::Relaxed) {
            true => self.terminal.draw(draw).map(|_| ()),
            false => Ok(()),
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        give_back();
        // Where another thread gave it back in the middle of a drawing, that has hidden it again.
        let _ = execute!(stdout(), Show);
    }
}

/// Gives the terminal back, once. Where it has gone, there is nothing to give back.
fn give_back() {
    if IS_TAKEN.swap(false, Ordering::Relaxed) {
        let _ = disable_raw_mode();
        let _ = execute!(stdout(), LeaveAlternateScreen, Show);
    }
}
