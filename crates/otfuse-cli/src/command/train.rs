//! `otfuse train`.

use crate::architecture_for;
use crate::cli::arguments::Train;
use crate::cli::models::check_new_output;
use crate::cli::output::Output;
use crate::cli::training::Report;
use crate::cli::{Failure, training};

/// Learning rate of sgd.
pub const RATE: f64 = 0.05;

/// Runs the command.
pub fn run(arguments: &Train, output: &Output) -> Result<(), Failure> {
    output.result(&execute(arguments)?, training::text)
}

/// Trains, and writes the network.
pub fn execute(arguments: &Train) -> Result<Report, Failure> {
    let training = &arguments.training;
    let samples = training.samples()?;
    let model = architecture_for(&arguments.arch, &samples, training.seed);
    let model = model.map_err(|error| Failure::input(&error).hint(error.hint()))?;
    check_new_output(&training.output, &model)?;
    training::run(&model, training, RATE, None, &samples)
}
