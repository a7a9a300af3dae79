//! What is done when the program is told to end (Ctrl-C, a signal to terminate).

use crate::terminal;

/// The exit code of a run that was interrupted, as shells have it for SIGINT.
pub const CODE: u8 = 130;

/// From now on, being told to end removes what was written in part and leaves everything else as it was. Results that are
/// being put in place are put in place whole first.
pub fn watch(interrupted: impl Fn(u8) + Send + 'static) {
    let handler = move || {
        otfuse::abandon_outputs();
        interrupted(CODE);
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        terminal::warn(&format!("interrupting may leave temporary files behind: {error}"));
    }
}
