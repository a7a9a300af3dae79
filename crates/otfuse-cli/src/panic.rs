//! Faults of the program itself.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::sync::{Mutex, PoisonError};

use otfuse::{Error, Result};

/// The last panic of any thread, with its place in the code.
static LAST: Mutex<Option<String>> = Mutex::new(None);

/// Runs a command and reports a panic as a failed run. Panics that the libraries catch themselves (a tensor library's,
/// at the node that caused it) come back as errors and are not printed a second time.
pub fn guarded(command: impl FnOnce() -> Result<()>) -> Result<()> {
    set_hook(Box::new(|panic| {
        let mut text = panic.to_string().replace('\n', " ");
        let backtrace = std::backtrace::Backtrace::capture();
        if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
            text = format!("{text}\n{backtrace}");
        }
        *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }));
    catch_unwind(AssertUnwindSafe(command)).unwrap_or_else(|_| {
        let last = LAST.lock().unwrap_or_else(PoisonError::into_inner).take();
        Err(Error::run(format!("internal fault: {}", last.unwrap_or_default()))
            .hint("this is a fault of the program; please report it with the command line"))
    })
}
