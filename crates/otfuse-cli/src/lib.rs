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

use std::ffi::OsString;

use clap::{CommandFactory, FromArgMatches, Parser};
use otfuse::ErrorKind;

use command::Command;
use session::Session;
use spelling::Spelling;

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
    /// Bytes that values may take while a network is run, and that sweeps and repairs without data hold, as 8GiB
    ///
    /// Without, a run may take what follows from the size of the network and its inputs, and no more than half of the machine's
    /// memory.
    #[arg(long, global = true, hide_short_help = true, value_name = "BYTES", value_parser = arguments::bytes)]
    memory: Option<u64>,
    /// Nodes of networks that may be executed in all, in place of what follows from their size; the number of operations is not
    /// limited then
    #[arg(long, global = true, hide_short_help = true, value_name = "N")]
    max_steps: Option<u64>,
    /// What to do
    #[command(subcommand)]
    command: Command,
}

/// The whole command line, its help arranged.
fn command_line() -> clap::Command {
    help::arranged(Arguments::command())
}

/// Does what a command line says, the program's name first, and returns the exit code.
///
/// `interrupted` is told the exit code when the process is told to end (Ctrl-C, a signal to terminate), after everything that
/// was written in part is removed; it ends the process.
pub fn main_with(words: impl IntoIterator<Item = OsString>, interrupted: impl Fn(u8) + Send + 'static) -> u8 {
    let words: Vec<OsString> = words.into_iter().collect();
    let typed = command_line().try_get_matches_from(&words).and_then(|found| Arguments::from_arg_matches(&found));
    let arguments = match typed {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help is printed so too. Nobody is left to be told where that fails.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    let spelling = Spelling::of(&Arguments::command());
    interruption::watch(interrupted);
    let result = panic::guarded(|| {
        let Arguments { json, device, memory, max_steps, .. } = &arguments;
        let limits = session::Limits { memory: *memory, steps: *max_steps };
        let session = Session::new(words, *json, device.as_deref(), &limits, spelling.clone())?;
        arguments.command.run(&session)
    });
    let Err(error) = result else { return 0 };
    // What reads as damaged may have been shortened meanwhile.
    let error = otfuse::check_inputs().err().unwrap_or(error);
    terminal::complain(&error, &spelling);
    match error.kind {
        ErrorKind::Input | ErrorKind::Budget => 2,
        ErrorKind::Cancelled => interruption::CODE,
        _ => 1,
    }
}
