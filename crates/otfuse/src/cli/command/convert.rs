//! `otfuse convert`.

use otfuse_formats::model::Format;
use serde::Serialize;

use crate::cli::Failure;
use crate::cli::arguments::Convert;
use crate::cli::models::{check_output, count, open, save, shown};
use crate::cli::output::Output;

#[derive(Serialize)]
struct Report {
    input: String,
    output: String,
    format: String,
    parameters: usize,
}

/// Runs the command.
pub fn run(arguments: &Convert, output: &Output) -> Result<(), Failure> {
    check_output(&arguments.output, std::slice::from_ref(&arguments.input), Some(&arguments.input))?;
    let model = open(&arguments.input, &arguments.reading)?;
    save(&model, &model.graph, &arguments.output)?;
    let report = Report {
        input: shown(&arguments.input),
        output: shown(&arguments.output),
        format: Format::of_extension(&arguments.output).unwrap_or(model.format()).to_string(),
        parameters: model.graph.parameter_count(),
    };
    output.result(&report, |report| {
        format!("{} -> {}: {}", report.input, report.output, count(report.parameters, "parameter"))
    })
}
