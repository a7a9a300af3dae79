//! Does the tasks of a plan, each once.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::Instant;

use otfuse_formats::Model;
use otfuse_runtime::Probabilities;
use otfuse_runtime::dataset::Dataset;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::options::parsed;
use super::plan::{Plan, Task, load};
use super::recipe::Recipe;
use super::store::Store;
use crate::cli::Failure;
use crate::cli::arguments::{Command, Fuse, Reading, SplitName};
use crate::cli::command;
use crate::cli::command::eval::probabilities;
use crate::cli::experiment::file::Data;
use crate::cli::failure::runtime_failure;
use crate::cli::models::open;

/// What is known of a task that is done. Times are as they were when the work was done.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Done {
    /// Parameters; of an ensemble, those of all members.
    pub parameters: usize,
    /// On the test samples, from 0 to 1.
    pub accuracy: f64,
    /// Mean cross-entropy in nats.
    pub loss: f64,
    /// The number of test samples.
    pub samples: usize,
    /// Epochs, if it was trained.
    pub epochs: Vec<Epoch>,
    /// The epoch that was kept, from 1.
    pub best_epoch: Option<usize>,
    /// Seconds by stage.
    pub seconds: Map<String, Value>,
}

/// An epoch of training.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Epoch {
    /// From 1.
    pub epoch: usize,
    /// Mean loss over the batches.
    pub loss: f64,
    /// Accuracy on the samples held out.
    pub validation: Option<f64>,
    /// Accuracy on the test samples, where the options ask for it.
    pub test: Option<f64>,
}

/// What is kept beside a network that was made.
#[derive(Serialize, Deserialize)]
struct Made {
    command: Vec<String>,
    seconds: f64,
    report: Value,
}

/// Makes and measures networks.
pub struct Worker<'a> {
    plan: &'a Plan,
    data: &'a Data,
    store: &'a Store,
    test: Option<Dataset>,
    /// By key, as far as they were needed.
    predicted: HashMap<String, Probabilities>,
}

impl<'a> Worker<'a> {
    /// Nothing is done yet.
    pub fn new(plan: &'a Plan, data: &'a Data, store: &'a Store) -> Self {
        Self { plan, data, store, test: None, predicted: HashMap::new() }
    }

    /// Does all tasks that the store does not have, and gives what is known of each.
    #[allow(clippy::print_stderr)]
    pub fn run(&mut self) -> Result<Vec<Done>, Failure> {
        let is_shown = std::io::stderr().is_terminal();
        let total = self.plan.tasks.len();
        let mut done = Vec::with_capacity(total);
        for (index, task) in self.plan.tasks.iter().enumerate() {
            if is_shown {
                eprintln!("[{}/{total}] {}, seed {}", index + 1, task.described.name, task.seed);
            }
            let found = self.task(task, &done).map_err(|mut failure| {
                failure.message = format!("{} (seed {}): {}", task.described.name, task.seed, failure.message);
                failure
            })?;
            done.push(found);
        }
        Ok(done)
    }

    fn task(&mut self, task: &Task, done: &[Done]) -> Result<Done, Failure> {
        let made = match &task.recipe {
            Recipe::Command { .. } => Some(self.made(task)?),
            Recipe::Ensemble { .. } => None,
        };
        let measured = format!("test{}", self.data.test.map_or_else(String::new, |limit| format!("-{limit}")));
        if self.store.load::<Done>(&task.key, &measured)?.is_none() {
            let found = self.measured(task, done)?;
            self.store.save(&task.key, &measured, &found)?;
        }
        // Always as it was written: the results are the same whether it was measured now or before.
        let mut found: Done = self.store.kept(&task.key, &measured)?;
        if let Some(made) = made {
            describe(&mut found, &made);
        }
        Ok(found)
    }

    /// Makes the network of a task, or finds what it left.
    fn made(&self, task: &Task) -> Result<Made, Failure> {
        let output = self.store.network(&task.key);
        if let Some(made) = self.store.load(&task.key, "made")?
            && output.exists()
        {
            return Ok(made);
        }
        let start = Instant::now();
        let path = |key: &str| self.store.network(key).display().to_string();
        let inputs: Vec<String> = task.inputs.iter().map(|&input| path(&self.plan.tasks[input].key)).collect();
        let line = task.recipe.line(self.data, task.described.arch.as_deref(), &inputs, &path(&task.key));
        let report = performed(parsed(&line)?)?;
        let names: Vec<String> =
            task.inputs.iter().map(|&input| self.plan.tasks[input].described.name.clone()).collect();
        let made = Made { command: vec![task.recipe.shown(&names)], seconds: start.elapsed().as_secs_f64(), report };
        self.store.save(&task.key, "made", &made)?;
        self.store.kept(&task.key, "made")
    }

    fn measured(&mut self, task: &Task, done: &[Done]) -> Result<Done, Failure> {
        let start = Instant::now();
        let (probabilities, parameters) = match &task.recipe {
            Recipe::Command { .. } => {
                let parameters = self.network(task)?.graph.parameter_count();
                (self.predicted(task)?, parameters)
            }
            Recipe::Ensemble { weights } => {
                let plan = self.plan;
                let members: Vec<Probabilities> =
                    task.inputs.iter().map(|&input| self.predicted(&plan.tasks[input])).collect::<Result<_, _>>()?;
                let mean = Probabilities::mixture(&members, weights).ok_or_else(|| {
                    Failure::input("the networks' outputs differ")
                        .hint("only networks of the same classes form an ensemble")
                })?;
                (mean, task.inputs.iter().map(|&input| done[input].parameters).sum())
            }
        };
        let evaluation = probabilities.evaluate(self.test()?).map_err(|error| runtime_failure(&error))?;
        let mut found = Done {
            parameters,
            accuracy: evaluation.accuracy,
            loss: evaluation.loss,
            samples: evaluation.samples,
            ..Done::default()
        };
        found.seconds.insert("evaluation".into(), start.elapsed().as_secs_f64().into());
        Ok(found)
    }

    fn network(&self, task: &Task) -> Result<Model, Failure> {
        open(&self.store.network(&task.key), &Reading { arch: None })
    }

    fn test(&mut self) -> Result<&Dataset, Failure> {
        if self.test.is_none() {
            self.test = Some(load(self.data, SplitName::Test)?);
        }
        self.test.as_ref().ok_or_else(|| Failure::run("no test samples"))
    }

    /// The probabilities that a network gives to the test samples.
    fn predicted(&mut self, task: &Task) -> Result<Probabilities, Failure> {
        if let Some(found) = self.predicted.get(&task.key) {
            return Ok(found.clone());
        }
        if matches!(task.recipe, Recipe::Ensemble { .. }) {
            return Err(Failure::input(format!("{} is an ensemble, not a network", task.described.name))
                .hint("name its members"));
        }
        let model = self.network(task)?;
        let found = probabilities(&model.graph, self.test()?).map_err(|error| runtime_failure(&error))?;
        self.predicted.insert(task.key.clone(), found.clone());
        Ok(found)
    }
}

/// Runs a command; its report. What is trained is measured as all networks are, not by its own command.
fn performed(command: Command) -> Result<Value, Failure> {
    match command {
        Command::Convert(arguments) => value(&command::convert::execute(&arguments)?),
        Command::Train(mut arguments) => {
            arguments.training.unmeasured = true;
            value(&command::train::execute(&arguments)?)
        }
        Command::Finetune(mut arguments) => {
            arguments.training.unmeasured = true;
            value(&command::finetune::execute(&arguments)?)
        }
        Command::Distill(mut arguments) => {
            arguments.training.unmeasured = true;
            value(&command::distill::execute(&arguments)?)
        }
        Command::Prune(arguments) => value(&command::prune::execute(&arguments)?),
        Command::Fuse(arguments) => value(&command::fuse::execute(&Fuse { check: 0, ..*arguments })?),
        _ => Err(Failure::input("the command makes no network")),
    }
}

fn value(report: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(report).map_err(|error| Failure::run(format!("cannot write JSON: {error}")))
}

/// Adds what the command reported.
fn describe(found: &mut Done, made: &Made) {
    let accuracy = |row: &Value, what: &str| row.get(what).and_then(|it| it.get("accuracy")).and_then(Value::as_f64);
    let rows = made.report.get("epochs").and_then(Value::as_array);
    found.epochs = rows
        .into_iter()
        .flatten()
        .enumerate()
        .map(|(index, row)| Epoch {
            epoch: index + 1,
            loss: row.get("loss").and_then(Value::as_f64).unwrap_or(f64::NAN),
            validation: accuracy(row, "validation"),
            test: accuracy(row, "test"),
        })
        .collect();
    found.best_epoch = made.report.get("best_epoch").and_then(Value::as_u64).map(|epoch| epoch as usize);
    found.seconds.insert("command".into(), made.seconds.into());
    if let Some(Value::Object(stages)) = made.report.get("seconds") {
        found.seconds.extend(stages.clone());
    }
}
