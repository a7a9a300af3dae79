//! The command line: arguments, commands, output.
//!
//! Results go to stdout, progress and errors to stderr. Exit codes: 0 for success, 1 for a failed check or run, 2 for
//! bad usage or input.

mod aligning;
mod arguments;
mod card;
mod choices;
mod command;
mod comparison;
mod config;
mod experiment;
mod failure;
mod fusing;
mod models;
mod order;
mod output;
mod pages;
mod panic;
mod progress;
mod residual;
mod training;
mod walk;

use std::process::ExitCode;

use clap::Parser;
use otfuse_runtime::Device;

use arguments::{Arguments, Command};
use failure::Failure;
use output::Output;

/// Parses the arguments, runs the command and reports.
pub fn main() -> ExitCode {
    let arguments = match config::expanded(std::env::args_os().collect()) {
        Ok(line) => Arguments::parse_from(line),
        Err(failure) => {
            output::complain(&failure);
            return ExitCode::from(failure.code);
        }
    };
    let output = Output { json: arguments.json };
    let result = panic::guarded(|| {
        choose_device(arguments.device.as_deref())?;
        run(&arguments.command, &output)
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(&failure);
            ExitCode::from(failure.code)
        }
    }
}

/// Makes the device of the user's choice the one that everything is computed on.
fn choose_device(name: Option<&str>) -> Result<(), Failure> {
    if let Some(name) = name {
        let device = Device::open(name).map_err(|error| Failure::input(&error).hint(error.hint()))?;
        device.make_default();
    }
    Ok(())
}

fn run(command: &Command, output: &Output) -> Result<(), Failure> {
    match command {
        Command::Inspect(arguments) => command::inspect::run(arguments, output),
        Command::Verify(arguments) => command::verify::run(arguments, output),
        Command::Fuse(arguments) => command::fuse::run(arguments, output),
        Command::Align(arguments) => command::align::run(arguments, output),
        Command::Apply(arguments) => command::align::apply(arguments, output),
        Command::Compare(arguments) => command::compare::run(arguments, output),
        Command::Interpolate(arguments) => command::interpolate::run(arguments, output),
        Command::Prune(arguments) => command::prune::run(arguments, output),
        Command::Eval(arguments) => command::eval::run(arguments, output),
        Command::Run(arguments) => command::run::run(arguments, output),
        Command::Convert(arguments) => command::convert::run(arguments, output),
        Command::Train(arguments) => command::train::run(arguments, output),
        Command::Finetune(arguments) => command::finetune::run(arguments, output),
        Command::Distill(arguments) => command::distill::run(arguments, output),
        Command::Experiment(arguments) => command::experiment::run(arguments, output),
        Command::Demo(arguments) => command::demo::run(arguments, output),
    }
}
