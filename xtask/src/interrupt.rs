//! Ctrl-C and its relatives: nothing that we started outlives us.
//!
//! Machines and commands run in process groups of their own, so a Ctrl-C at the
//! terminal reaches us alone. Most of the time it means "stop everything now":
//! kill the machines and commands, undo what was set up outside, exit. While a
//! verb waits for it as its regular end ([`expect`]), it only sets a flag.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// The exit status of a program that a Ctrl-C ended (128 + SIGINT).
pub const EXIT_INTERRUPTED: u8 = 130;

static EXPECTED: AtomicBool = AtomicBool::new(false);
static CAME: AtomicBool = AtomicBool::new(false);

type Undo = Box<dyn FnOnce() + Send>;
static UNDO: Mutex<Vec<Undo>> = Mutex::new(Vec::new());

/// Takes over SIGINT, SIGTERM and SIGHUP.
pub fn install() {
    let handler = || {
        let again = CAME.swap(true, Ordering::SeqCst);
        if EXPECTED.load(Ordering::SeqCst) && !again {
            return;
        }
        qemu::machine::kill_all();
        crate::command::kill_all();
        clean_up();
        process::exit(EXIT_INTERRUPTED.into());
    };
    // It fails only when a handler is already there, and nobody else sets one.
    let _ = ctrlc::set_handler(handler);
}

/// From here on a first Ctrl-C is the regular end, seen by [`came`].
pub fn expect() {
    EXPECTED.store(true, Ordering::SeqCst);
}

/// Whether a Ctrl-C came.
pub fn came() -> bool {
    CAME.load(Ordering::SeqCst)
}

/// Remembers what must be undone however we end.
pub fn undo_at_end(undo: impl FnOnce() + Send + 'static) {
    UNDO.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(Box::new(undo));
}

/// Undoes what was set up, the last first.
pub fn clean_up() {
    loop {
        let undo = UNDO.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match undo {
            Some(undo) => undo(),
            None => return,
        }
    }
}
