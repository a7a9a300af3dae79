//! `otfuse convert`.

use otfuse_formats::model::Format;
use serde::Serialize;

use crate::cli::Failure;
use crate::cli::arguments::Convert;
use crate::cli::models::{check_output, count, open, save, shown};
use crate::cli::output::Output;

/// What was written.
#[derive(Serialize)]
pub struct Report {
    input: String,
    output: String,
    format: String,
    parameters: usize,
}

/// Runs the command.
pub fn run(arguments: &Convert, output: &Output) -> Result<(), Failure> {
    output.result(&execute(arguments)?, |report| {
        format!("{} -> {}: {}", report.input, report.output, count(report.parameters, "parameter"))
    })
}

/// Converts the network.
pub fn execute(arguments: &Convert) -> Result<Report, Failure> {
    check_output(&arguments.output, std::slice::from_ref(&arguments.input), Some(&arguments.input))?;
    let model = open(&arguments.input, &arguments.reading)?;
    save(&model, &model.graph, &arguments.output)?;
    Ok(Report {
        input: shown(&arguments.input),
        output: shown(&arguments.output),
        format: Format::of_extension(&arguments.output).unwrap_or(model.format()).to_string(),
        parameters: model.graph.parameter_count(),
    })
}
