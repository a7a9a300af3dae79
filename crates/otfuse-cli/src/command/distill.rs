//! `otfuse distill`.

use otfuse_runtime::train::Distillation;
use otfuse_runtime::{Device, Executable};

use super::{finetune, train};
use crate::architecture_for;
use crate::cli::arguments::Distill;
use crate::cli::failure::runtime_failure;
use crate::cli::models::{check_new_output, check_output, open_finite};
use crate::cli::output::Output;
use crate::cli::training::Report;
use crate::cli::{Failure, training};

/// Runs the command.
pub fn run(arguments: &Distill, output: &Output) -> Result<(), Failure> {
    output.result(&execute(arguments)?, training::text)
}

/// Trains, and writes the network.
pub fn execute(arguments: &Distill) -> Result<Report, Failure> {
    let training = &arguments.training;
    let mut inputs = arguments.teachers.clone();
    inputs.extend(arguments.start.clone());
    if arguments.start.is_some() {
        check_output(&training.output, &inputs, arguments.start.as_deref())?;
    }
    let samples = training.samples()?;
    let student = match (&arguments.start, &arguments.student) {
        (Some(path), None) => open_finite(path, &arguments.reading)?,
        (None, Some(spec)) => {
            let student = architecture_for(spec, &samples, training.seed);
            let student = student.map_err(|error| Failure::input(&error).hint(error.hint()))?;
            check_new_output(&training.output, &student)?;
            student
        }
        _ => {
            return Err(Failure::input("expected one of --student ARCH and --start MODEL").hint(
                "--student vgg11 begins from scratch, --start MODEL with the weights of a parent or a fused network",
            ));
        }
    };
    let mut teachers = Vec::with_capacity(arguments.teachers.len());
    for path in &arguments.teachers {
        let teacher = open_finite(path, &arguments.reading)?;
        let executable = Executable::new(&teacher.graph, &Device::default());
        teachers.push(executable.map_err(|error| runtime_failure(&error).of(path))?);
    }
    let distillation =
        Distillation { teachers: &teachers, temperature: arguments.temperature, weight: arguments.teacher_weight };
    let rate = if arguments.start.is_some() { finetune::RATE } else { train::RATE };
    training::run(&student, training, rate, Some(distillation), &samples)
}
