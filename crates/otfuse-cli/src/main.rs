//! The command `otfuse`: arguments as they are typed, a call of the library, tables, pages and JSON of what it returns.
//!
//! Results go to stdout, progress and errors to stderr. Exit codes: 0 for success, 1 for a failed check or run, 2 for bad
//! usage or input, 130 for a run that was interrupted.

mod arguments;
mod choice;
mod command;
mod interruption;
mod panic;
mod session;
mod spelling;
mod table;
mod terminal;

use std::process::ExitCode;

use clap::Parser;
use otfuse::ErrorKind;

use arguments::Arguments;
use session::Session;

/// Training and running networks allocate tensors of the same few sizes all the time. The system's allocator hands large ones
/// back each time and gets fresh pages, which cost a third of a training step of a perceptron.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    interruption::watch();
    let result = panic::guarded(|| {
        let session = Session::new(arguments.json, arguments.device.as_deref())?;
        arguments.command.run(&session)
    });
    let Err(error) = result else { return ExitCode::SUCCESS };
    terminal::complain(&spelling::as_typed(error.clone()));
    ExitCode::from(match error.kind {
        ErrorKind::Input => 2,
        ErrorKind::Cancelled => interruption::CODE,
        _ => 1,
    })
}
