//! `otfuse distill`.

use std::path::PathBuf;

use clap::Args;
use otfuse::{DistillOptions, Error, Registry, Result, Student, TrainData, distill, untrained};

use super::training::Training;
use crate::arguments::Reading;
use crate::session::Session;

/// `distill`.
#[derive(Args, Debug)]
pub struct Distill {
    /// The networks to follow; the mean of their probabilities counts
    #[arg(required = true, value_name = "TEACHER")]
    teachers: Vec<PathBuf>,
    #[command(flatten)]
    reading: Reading,
    /// Architecture of a student from scratch, as for `train`
    #[arg(long, value_name = "ARCH")]
    student: Option<String>,
    /// A network to begin with in place of --student: a parent, or a fused network
    #[arg(long, value_name = "MODEL")]
    start: Option<PathBuf>,
    /// What scores are divided by before they become probabilities [default: 4]
    #[arg(long, value_name = "T")]
    temperature: Option<f64>,
    /// Weight of the teachers in the loss, 0 to 1; the labels have the rest, and are not needed with 1 [default: 0.9, 1 without
    /// labels]
    #[arg(long, value_name = "W")]
    teacher_weight: Option<f64>,
    #[command(flatten)]
    training: Training,
}

impl Distill {
    /// Runs the command.
    pub fn run(&self, session: &Session) -> Result<()> {
        let mut registry = Registry::new();
        let mut teachers =
            self.reading.open_all(&[self.teachers.as_slice(), self.start.as_slice()].concat(), &mut registry)?;
        let start = self.start.as_ref().and_then(|_| teachers.pop());
        let (options, dataset) = (self.training.options(), self.training.data.required(&mut registry)?);
        let data = TrainData::of(&dataset, &options)?;
        let student = match (start, &self.student) {
            (Some(start), None) => Student::Start(start),
            (None, Some(architecture)) => {
                registry.input("architecture", architecture.as_ref())?;
                Student::New(untrained(architecture, &data.train, &options)?)
            }
            _ => {
                return Err(Error::input("expected one of --student ARCH and --start MODEL").hint(
                    "--student vgg11 begins from scratch, --start MODEL with the weights of a parent or a fused network",
                ));
            }
        };
        let (Student::Start(model) | Student::New(model)) = &student;
        let state = self.training.register(model, &mut registry)?;
        let following = DistillOptions {
            student: self.student.clone(),
            temperature: self.temperature,
            teacher_weight: self.teacher_weight,
        };
        let trained = distill(&teachers, &student, &data, &following, &options, &state, &session.context)?;
        self.training.finish(trained, registry, session)
    }
}
