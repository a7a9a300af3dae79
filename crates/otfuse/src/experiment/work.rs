//! Does the tasks of a plan, each once.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Instant;

use otfuse_runtime::Probabilities;
use otfuse_runtime::dataset::Targets;
use serde::{Deserialize, Serialize};

use super::file::Data;
use super::plan::{Plan, Task, dataset};
use super::recipe::{Recipe, Work};
use super::store::Store;
use super::tasks::TaskAccuracy;
use crate::fitting::labelled;
use crate::measure::probabilities;
use crate::train::{TrainedEpoch, distill, finetune, train, untrained};
use crate::{
    Context, DataOptions, Dataset, Error, Fuse, FuseOptions, Knowledge, Learned, Learning, Model, Registry, Result,
    Samples, SplitName, Student, TrainData, TrainOptions, TrainState, Trained, convert, learn, prune,
};

/// What is known of a task that is done. Times are as they were when the work was done.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Done {
    /// Parameters; of an ensemble, those of all members.
    pub parameters: usize,
    /// On the test samples, from 0 to 1.
    pub accuracy: f64,
    /// Mean cross-entropy in nats.
    pub loss: f64,
    /// The number of test samples.
    pub samples: usize,
    /// Epochs, if it was trained.
    pub epochs: Vec<RunEpoch>,
    /// The epoch that was kept, from 1.
    pub best_epoch: Option<usize>,
    /// Seconds by stage.
    pub seconds: BTreeMap<String, f64>,
    /// On each of the tasks, where the data set has some.
    #[serde(default)]
    pub tasks: Vec<TaskAccuracy>,
    /// The same of the network before training, where it was trained from scratch.
    #[serde(default)]
    pub untrained: Vec<TaskAccuracy>,
    /// Bytes of the network and of what lies beside it; of an ensemble, of all members.
    #[serde(default)]
    pub memory: usize,
}

/// An epoch of training.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunEpoch {
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
    report: MadeReport,
}

/// What is kept of how it was made.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct MadeReport {
    epochs: Vec<TrainedEpoch>,
    best_epoch: Option<usize>,
    seconds: Seconds,
}

/// The time that it took, by stages where there are several.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Seconds {
    Stages(BTreeMap<String, f64>),
    Whole(f64),
}

impl Default for Seconds {
    fn default() -> Self {
        Self::Stages(BTreeMap::new())
    }
}

/// Makes and measures networks.
pub(crate) struct Worker<'a> {
    plan: &'a Plan,
    data: &'a Data,
    store: &'a Store,
    context: &'a Context,
    /// By seed: what networks are measured on; several where tasks have samples of their own.
    test: BTreeMap<u64, Vec<Samples>>,
    /// By key, as far as they were needed.
    predicted: HashMap<String, Vec<Probabilities>>,
}

impl<'a> Worker<'a> {
    /// Nothing is done yet.
    pub(crate) fn new(plan: &'a Plan, data: &'a Data, store: &'a Store, context: &'a Context) -> Self {
        Self { plan, data, store, context, test: BTreeMap::new(), predicted: HashMap::new() }
    }

    /// Does all tasks that the store does not have, and gives what is known of each.
    pub(crate) fn run(&mut self) -> Result<Vec<Done>> {
        let total = self.plan.tasks.len();
        let stage = self.context.stage("networks of the experiment", total);
        let mut done = Vec::with_capacity(total);
        for (index, task) in self.plan.tasks.iter().enumerate() {
            let name = format!("{}, seed {}", task.described.name, task.seed);
            stage.tell(index, total, &name);
            let place = format!("{} (seed {})", task.described.name, task.seed);
            let found = self.task(task, &done).map_err(|error| error.within(&place))?;
            done.push(found);
            self.context.check()?;
        }
        Ok(done)
    }

    fn task(&mut self, task: &Task, done: &[Done]) -> Result<Done> {
        let made = match &task.recipe {
            Recipe::Made { subject, work, .. } => Some(self.made(task, subject.as_deref(), work)?),
            Recipe::Ensemble { .. } => None,
        };
        let begins = matches!(&task.recipe, Recipe::Made { work, .. } if matches!(**work, Work::Train(..)));
        if task.step.as_ref().is_some_and(|step| !step.is_last) && !begins {
            // On the way to a network; nobody compares it.
            let mut found = Done::default();
            if let Some(made) = made {
                describe(&mut found, made);
            }
            return Ok(found);
        }
        let tasks = self.data.tasks.as_ref().map_or_else(String::new, |tasks| format!("-{tasks}-{}", task.seed));
        let tasks = tasks.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
        let measured = format!("test{}{tasks}", self.data.test.map_or_else(String::new, |limit| format!("-{limit}")));
        if self.store.load::<Done>(&task.key, &measured)?.is_none() {
            let found = self.measured(task, done)?;
            self.store.save(&task.key, &measured, &found)?;
        }
        // Always as it was written: the results are the same whether it was measured now or before.
        let mut found: Done = self.store.kept(&task.key, &measured)?;
        if let Some(made) = made {
            describe(&mut found, made);
        }
        Ok(found)
    }

    /// Makes the network of a task, or finds what it left.
    fn made(&self, task: &Task, subject: Option<&str>, work: &Work) -> Result<Made> {
        let output = self.store.network(&task.key);
        if let Some(made) = self.store.load(&task.key, "made")?
            && output.exists()
        {
            return Ok(made);
        }
        let start = Instant::now();
        let report = self.perform(task, subject, work, &output)?;
        let names: Vec<String> =
            task.inputs.iter().map(|&input| self.plan.tasks[input].described.name.clone()).collect();
        let made = Made { command: vec![task.recipe.shown(&names)], seconds: start.elapsed().as_secs_f64(), report };
        self.store.save(&task.key, "made", &made)?;
        self.store.kept(&task.key, "made")
    }

    /// Makes the network and writes it. What is trained is measured as all networks are, not here.
    fn perform(&self, task: &Task, subject: Option<&str>, work: &Work, output: &Path) -> Result<MadeReport> {
        let models: Vec<Model> =
            task.inputs.iter().map(|&input| self.network(&self.plan.tasks[input])).collect::<Result<_>>()?;
        let mut registry = Registry::new();
        models.iter().try_for_each(|model| registry.model(model))?;
        let context = self.context;
        match work {
            Work::Read => {
                let path = Path::new(subject.unwrap_or_default());
                let model = Model::open_as(path, task.described.arch.as_deref())?;
                convert(&model, &registry, output, context)?;
                registry.commit()?;
                Ok(MadeReport::default())
            }
            Work::Train(options, part) => {
                let data = self.train_data(options, part)?;
                let model = untrained(subject.unwrap_or_default(), &data.train, options)?;
                finish(train(&model, &data, options, &state(output), context)?, registry, output)
            }
            Work::Finetune(options, part) => {
                let data = self.train_data(options, part)?;
                finish(finetune(first(&models)?, &data, options, &state(output), context)?, registry, output)
            }
            Work::Prune(options) => {
                prune(first(&models)?, options, context)?.write(&registry, output)?;
                registry.commit()?;
                Ok(MadeReport::default())
            }
            Work::Fuse(options, part) => {
                let data = dataset(self.data, part)?;
                let options = FuseOptions { check: Some(0), ..(**options).clone() };
                let mut fused = Fuse::new(&models).options(options).data(&data).run(context)?;
                fused.write(&registry, output, context)?;
                registry.commit()?;
                let stages = fused.report.seconds.entries().map(|(name, seconds)| (name.to_owned(), seconds));
                Ok(MadeReport { seconds: Seconds::Stages(stages.into_iter().collect()), ..MadeReport::default() })
            }
            Work::Learn(options, learning, part, limit) => {
                let data = dataset(self.data, part)?;
                let train = data.samples(SplitName::Train, *limit)?;
                let data = Dataset::of_samples(train.clone(), train);
                let known = models.get(1).cloned().map(Learning::of).transpose()?;
                registry.input("knowledge", &Knowledge::beside(models.get(1).unwrap_or(first(&models)?).path()))?;
                Learned::register(&mut registry, output, first(&models)?)?;
                let mut learned = learn(known.as_ref(), first(&models)?, &data, options, learning, context)?;
                learned.write(&registry, output)?;
                registry.commit()?;
                let seconds = Seconds::Whole(learned.report.seconds);
                Ok(MadeReport { seconds, ..MadeReport::default() })
            }
            Work::Distill(following, options, part) => {
                let data = self.train_data(options, part)?;
                let (teachers, student) = match (&following.student, models.split_last()) {
                    (Some(student), _) => (&models[..], Student::New(untrained(student, &data.train, options)?)),
                    (None, Some((start, teachers))) => (teachers, Student::Start(start.clone())),
                    (None, None) => return Err(Error::input("distill: expected a network to begin with")),
                };
                let state = state(output);
                finish(distill(teachers, &student, &data, following, options, &state, context)?, registry, output)
            }
        }
    }

    fn train_data(&self, options: &TrainOptions, part: &DataOptions) -> Result<TrainData> {
        Ok(TrainData { test: None, ..TrainData::of(&dataset(self.data, part)?, options)? })
    }

    fn measured(&mut self, task: &Task, done: &[Done]) -> Result<Done> {
        let start = Instant::now();
        let (said, parameters, memory) = match &task.recipe {
            Recipe::Made { .. } => {
                let parameters = self.network(task)?.graph()?.parameter_count();
                let path = self.store.network(&task.key);
                let size = |path: &Path| std::fs::metadata(path).map_or(0, |found| found.len() as usize);
                (self.predicted(task)?, parameters, size(&path) + size(&Knowledge::beside(&path)))
            }
            Recipe::Ensemble { weights } => {
                let plan = self.plan;
                let members: Vec<Vec<Probabilities>> =
                    task.inputs.iter().map(|&input| self.predicted(&plan.tasks[input])).collect::<Result<_>>()?;
                let mean = |at: usize| {
                    let members: Vec<Probabilities> = members.iter().map(|member| member[at].clone()).collect();
                    Probabilities::mixture(&members, weights).ok_or_else(|| {
                        Error::input("the networks' outputs differ")
                            .hint("only networks of the same classes form an ensemble")
                    })
                };
                let means = (0..members.first().map_or(0, Vec::len)).map(mean).collect::<Result<Vec<_>>>()?;
                let sum = |of: fn(&Done) -> usize| task.inputs.iter().map(|&input| of(&done[input])).sum();
                (means, sum(|done| done.parameters), sum(|done| done.memory))
            }
        };
        let mut found = self.evaluated(&said, task.seed)?;
        (found.parameters, found.memory) = (parameters, memory);
        if let Some(tasks) = &self.plan.learnt {
            found.tasks = tasks.accuracies(&said, self.test(task.seed)?)?;
            if let Recipe::Made { subject: Some(architecture), work, .. } = &task.recipe
                && let Work::Train(options, part) = &**work
            {
                let model = untrained(architecture, &self.train_data(options, part)?.train, options)?;
                let said = self.said(&model, task.seed)?;
                found.untrained = tasks.accuracies(&said, self.test(task.seed)?)?;
            }
        }
        found.seconds.insert("evaluation".into(), start.elapsed().as_secs_f64());
        Ok(found)
    }

    /// Accuracy and loss on the test samples, those of all tasks.
    fn evaluated(&mut self, said: &[Probabilities], seed: u64) -> Result<Done> {
        let tests = self.test(seed)?;
        let found: Vec<_> =
            said.iter().zip(tests).map(|(said, test)| said.evaluate(test)).collect::<std::result::Result<_, _>>()?;
        let count = found.len().max(1) as f64;
        Ok(Done {
            accuracy: found.iter().map(|found| found.accuracy).sum::<f64>() / count,
            loss: found.iter().map(|found| found.loss).sum::<f64>() / count,
            samples: found.iter().map(|found| found.samples).sum(),
            ..Done::default()
        })
    }

    fn network(&self, task: &Task) -> Result<Model> {
        Model::open_as(self.store.network(&task.key), None)
    }

    fn test(&mut self, seed: u64) -> Result<&[Samples]> {
        if !self.test.contains_key(&seed) {
            let whole = || vec![DataOptions::default()];
            let parts = self.plan.learnt.as_ref().map_or_else(whole, |tasks| tasks.tested(seed));
            let of = |part: DataOptions| {
                let samples = dataset(self.data, &part)?.samples(SplitName::Test, self.data.test)?;
                labelled(&samples, "an experiment")?;
                if matches!(samples.targets(), Targets::Numbers { .. }) {
                    let message =
                        format!("{}: an experiment measures accuracy: expected classes, found numbers", samples.name());
                    return Err(Error::input(message)
                        .hint("classes are labelled with integers; `otfuse eval` measures numbers"));
                }
                Ok(samples)
            };
            // Those of other seeds are not needed again soon.
            self.test = BTreeMap::from([(seed, parts.into_iter().map(of).collect::<Result<Vec<_>>>()?)]);
        }
        self.test.get(&seed).map(Vec::as_slice).ok_or_else(|| Error::run("no test samples"))
    }

    /// The probabilities that a network gives to the test samples.
    fn predicted(&mut self, task: &Task) -> Result<Vec<Probabilities>> {
        if let Some(found) = self.predicted.get(&task.key) {
            return Ok(found.clone());
        }
        if matches!(task.recipe, Recipe::Ensemble { .. }) {
            return Err(
                Error::input(format!("{} is an ensemble, not a network", task.described.name)).hint("name its members")
            );
        }
        let found = self.said(&self.network(task)?, task.seed)?;
        self.predicted.insert(task.key.clone(), found.clone());
        Ok(found)
    }

    /// What a network says of the test samples.
    fn said(&mut self, model: &Model, seed: u64) -> Result<Vec<Probabilities>> {
        let context = self.context;
        let graph = model.graph()?;
        let of = |test: &Samples| Ok(probabilities(graph, test, context)?);
        self.test(seed)?.iter().map(of).collect()
    }
}

fn first(models: &[Model]) -> Result<&Model> {
    models.first().ok_or_else(|| Error::input("expected a network"))
}

/// Where a training that writes to `output` keeps its state.
fn state(output: &Path) -> TrainState {
    let mut name = output.as_os_str().to_owned();
    name.push(".state");
    TrainState { file: Some(name.into()), restart: false }
}

fn finish(mut trained: Trained, registry: Registry, output: &Path) -> Result<MadeReport> {
    trained.write(&registry, output)?;
    registry.commit()?;
    trained.forget_state();
    let report = trained.report;
    let seconds = Seconds::Whole(report.seconds);
    Ok(MadeReport { epochs: report.epochs, best_epoch: report.best_epoch, seconds })
}

/// Adds what is known of how a network was made.
fn describe(found: &mut Done, made: Made) {
    let rows = made.report.epochs.iter().enumerate();
    found.epochs = rows
        .map(|(index, row)| RunEpoch {
            epoch: index + 1,
            loss: row.loss,
            validation: row.validation.map(|measured| measured.accuracy),
            test: row.test.map(|measured| measured.accuracy),
        })
        .collect();
    found.best_epoch = made.report.best_epoch;
    found.seconds.insert("command".into(), made.seconds);
    if let Seconds::Stages(stages) = made.report.seconds {
        found.seconds.extend(stages);
    }
}
