//! `otfuse finetune`.

use crate::cli::arguments::Finetune;
use crate::cli::models::{check_output, open_finite};
use crate::cli::output::Output;
use crate::cli::training::Report;
use crate::cli::{Failure, training};

/// Learning rate of sgd: lower than for a network from scratch.
pub const RATE: f64 = 0.01;

/// Runs the command.
pub fn run(arguments: &Finetune, output: &Output) -> Result<(), Failure> {
    output.result(&execute(arguments)?, training::text)
}

/// Trains, and writes the network.
pub fn execute(arguments: &Finetune) -> Result<Report, Failure> {
    let training = &arguments.training;
    check_output(&training.output, std::slice::from_ref(&arguments.model), Some(&arguments.model))?;
    let model = open_finite(&arguments.model, &arguments.reading)?;
    let samples = training.samples()?;
    training::run(&model, training, RATE, None, &samples).map_err(|failure| failure.of(&arguments.model))
}
