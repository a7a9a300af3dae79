//! `otfuse run`.

use std::collections::BTreeMap;

use otfuse_formats::npz::{read_npz, write_npz};
use otfuse_runtime::run_graph;
use serde::Serialize;

use crate::cli::Failure;
use crate::cli::arguments::Run;
use crate::cli::failure::runtime_failure;
use crate::cli::models::{check_output, file_failure, open_finite, shown};
use crate::cli::output::Output;

#[derive(Serialize)]
struct Report {
    path: String,
    output: String,
    outputs: Vec<Port>,
}

#[derive(Serialize)]
struct Port {
    name: String,
    shape: Vec<usize>,
}

/// Runs the command.
pub fn run(arguments: &Run, output: &Output) -> Result<(), Failure> {
    check_output(&arguments.output, &[arguments.inputs.clone(), arguments.model.clone()], None)?;
    let model = open_finite(&arguments.model, &arguments.reading)?;
    let inputs = read_npz(&arguments.inputs).map_err(|error| file_failure(&error))?;
    let outputs = run_graph(&model.graph, inputs).map_err(|error| runtime_failure(&error).of(&arguments.model))?;
    let report = Report {
        path: shown(&arguments.model),
        output: shown(&arguments.output),
        outputs: outputs
            .iter()
            .map(|(name, tensor)| Port { name: name.clone(), shape: tensor.shape().to_vec() })
            .collect(),
    };
    let outputs: BTreeMap<_, _> = outputs.into_iter().collect();
    write_npz(&arguments.output, &outputs).map_err(|error| file_failure(&error))?;
    output.result(&report, |report| {
        let ports = report.outputs.iter().map(|port| format!("{} {:?}", port.name, port.shape));
        format!("{}: {}", report.output, ports.collect::<Vec<_>>().join(", "))
    })
}
