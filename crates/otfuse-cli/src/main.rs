//! The command `otfuse`: arguments as they are typed, a call of the library, tables, pages and JSON of what it returns.
//!
//! Results go to stdout, progress and errors to stderr. Exit codes: 0 for success, 1 for a failed check or run, 2 for bad
//! usage or input, 130 for a run that was interrupted.

mod arguments;
mod choice;
mod command;
mod help;
mod interruption;
mod panic;
mod session;
mod spelling;
mod table;
mod terminal;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};
use otfuse::ErrorKind;

use command::Command;
use session::Session;
use spelling::Spelling;

/// Training and running networks allocate tensors of the same few sizes all the time. The system's allocator hands large ones
/// back each time and gets fresh pages, which cost a third of a training step of a perceptron.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Fuse independently trained neural networks into one, by optimal transport.
///
/// MODEL is an ONNX file, a safetensors file or a PyTorch checkpoint; the content decides. A checkpoint without a graph
/// takes --arch.
#[derive(Parser, Debug)]
#[command(name = "otfuse", version, max_term_width = 110)]
struct Arguments {
    /// Print the result as JSON on stdout
    #[arg(long, global = true)]
    json: bool,
    /// Where networks are run and trained: cpu, cuda, cuda:N or wgpu (GPUs where the program is built with the feature
    /// cuda or wgpu)
    #[arg(long, global = true, value_name = "NAME")]
    device: Option<String>,
    /// What to do
    #[command(subcommand)]
    command: Command,
}

/// The whole command line, its help arranged.
fn command_line() -> clap::Command {
    help::arranged(Arguments::command())
}

fn main() -> ExitCode {
    let arguments = Arguments::from_arg_matches(&command_line().get_matches()).unwrap_or_else(|error| error.exit());
    let spelling = Spelling::of(&Arguments::command());
    interruption::watch();
    let result = panic::guarded(|| {
        let session = Session::new(arguments.json, arguments.device.as_deref(), spelling.clone())?;
        arguments.command.run(&session)
    });
    let Err(error) = result else { return ExitCode::SUCCESS };
    terminal::complain(&error, &spelling);
    ExitCode::from(match error.kind {
        ErrorKind::Input | ErrorKind::Budget => 2,
        ErrorKind::Cancelled => interruption::CODE,
        _ => 1,
    })
}
