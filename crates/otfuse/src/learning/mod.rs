//! One task after another: what a network has learned is kept beside it, and new networks are fused into it.

mod knowledge;
mod merge;

use std::borrow::Cow;
use std::path::Path;

use otfuse_fusion::{Answering, Recall, Recalled, RepairError, recall};
use otfuse_graph::{Graph, GraphEditor};
use otfuse_runtime::dataset::Targets;
use otfuse_runtime::train::{Expectation, TrainError, fisher_diagonal};
use otfuse_runtime::{Answers, Executable, RuntimeError, predict};
use serde::Serialize;

pub use self::knowledge::Knowledge;
use self::merge::{Side, merged};
use crate::activations::SampleRunner;
use crate::choices::choices;
use crate::files::shown;
use crate::fitting::fitted;
use crate::measure::Clock;
use crate::options::options;
use crate::{Context, Dataset, Error, Fuse, FuseOptions, MethodName, ModeName, Model, Registry, Result, Samples};

/// New samples that layers are fitted on, if nothing else is said.
const SAMPLES: usize = 10_000;
/// Samples that the importance of weights is taken from.
const FISHER_SAMPLES: usize = 1000;
/// How strongly weights are held at the weighted mean, if nothing else is said.
const RIDGE: f64 = 0.003;
/// How much the fitted class counts between tasks, in units of scores.
const BETWEEN: f64 = 10.0;

choices!(
    /// How a network and what it learned since become one.
    RecallName {
        /// Every layer, fitted to what it knew of earlier samples and to what the new network says of new ones
        LeastSquares = "least-squares",
        /// The mean of weights, each by its importance
        Fisher = "fisher",
        /// The mean of weights by counts of samples, where they matter at all
        Counts = "counts",
        /// The new network as it is; only what is known grows
        None = "none",
    }
);

options!(
    /// How a network is fused into what is known, beside the options of a fusion.
    LearnOptions {
        /// How the two networks become one; least-squares.
        recall ("recall"): RecallName,
        /// How much the class that least squares fits to all tasks counts between tasks of other classes; 10.
        between ("between"): f64,
        /// Refuse samples of classes that were learned before.
        disjoint ("disjoint"): bool,
    }
);

/// A network, and what it has learned from.
#[derive(Clone, Debug)]
pub struct Learning {
    /// The network.
    pub model: Model,
    /// What it has learned from.
    pub knowledge: Knowledge,
}

impl Learning {
    /// A network with the knowledge that lies beside it.
    ///
    /// # Errors
    /// As [`Knowledge::of`].
    pub fn of(model: Model) -> Result<Self> {
        let knowledge = Knowledge::of(&model)?;
        Ok(Self { model, knowledge })
    }
}

/// A network that has learned one task more.
pub struct Learned {
    like: Model,
    /// The network.
    pub graph: Graph,
    /// What it has learned from.
    pub knowledge: Knowledge,
    /// What was done.
    pub report: LearnReport,
}

/// What was done.
#[derive(Clone, Debug, Serialize)]
pub struct LearnReport {
    /// Where the network was written.
    pub output: String,
    /// The network that was fused into; none at the first task.
    pub into: Option<String>,
    /// The network that learned the task.
    pub model: String,
    /// The data set.
    pub data: String,
    /// How the two became one.
    pub recall: RecallName,
    /// Samples of the task.
    pub samples: usize,
    /// Classes of the task; none where networks answer with numbers or sequences.
    pub classes: Vec<usize>,
    /// Tasks that have been learned.
    pub tasks: usize,
    /// Classes that have been learned.
    pub known_classes: Vec<usize>,
    /// Samples that have been learned from.
    pub known_samples: usize,
    /// Layers that were fitted.
    pub fitted_layers: usize,
    /// Bytes of what is kept beside the network.
    pub knowledge_bytes: usize,
    /// The time it took.
    pub seconds: f64,
}

/// Fuses a network that has learned a task into what is known, and adds what later tasks need to know of this one. `data` are
/// the samples of the task; without labels, its classes are those that the network answers with. Of `options` those of
/// alignment count, and `weights` (of what is known and of the network, times their counts of samples), `samples`, `ridge` and
/// `seed`; `method` average leaves the neurons in their order.
///
/// The network is brought into the order of the known one and merged with it weight by weight, by counts and importance (S.-W.
/// Lee et al., "Overcoming catastrophic forgetting by incremental moment matching", NeurIPS 2017, equation 9); then layers are
/// fitted ([`recall`](otfuse_fusion::recall())).
///
/// # Errors
/// Networks of other architectures, samples that they do not take, options that have no meaning here, classes that were learned
/// before where that is refused.
pub fn learn(
    into: Option<&Learning>,
    model: &Model,
    data: &Dataset,
    options: &FuseOptions,
    learning: &LearnOptions,
    context: &Context,
) -> Result<Learned> {
    context.install(|| Learner { into, model, data, options, learning, context }.learned())
}

struct Learner<'a> {
    into: Option<&'a Learning>,
    model: &'a Model,
    data: &'a Dataset,
    options: &'a FuseOptions,
    learning: &'a LearnOptions,
    context: &'a Context,
}

impl Learner<'_> {
    fn learned(&self) -> Result<Learned> {
        let mut clock = Clock::start();
        let weights = self.checked()?;
        let context = self.context;
        self.model.told(context)?;
        let like = self.into.map_or(self.model, |into| &into.model);
        let train = self.data.train()?;
        let train = &*fitted(Cow::Borrowed(&train), &[like, self.model], context)?;
        let (old, new) = self.graphs(train)?;
        let answers = Answers::recognised(&Executable::new(&new, context.host())?, train)?;
        let is_classifier = !answers.is_numbers() && answers.shape().is_empty();
        let classes = if is_classifier { self.classes(&new, train)? } else { Vec::new() };
        let knowledge = self.into.map(|into| into.knowledge.clone()).unwrap_or_default();
        self.check_classes(&classes, &knowledge)?;
        let recall_by = self.learning.recall.unwrap_or(RecallName::LeastSquares);
        let count = train.len() as f64;
        let [of_old, of_new] = [weights[0] * knowledge.known.samples, weights[1] * count];
        let base = match &old {
            Some(old) if recall_by != RecallName::None => {
                let importance = self.importance(&new, train, &classes)?;
                let side = |graph, importance, weight| Side { graph, importance, weight };
                let known = knowledge.importance(old, knowledge.samples());
                let by_importance = recall_by != RecallName::Counts;
                merged(&side(old, &known, of_old), &side(&new, &importance, of_new), by_importance)?
            }
            _ => new.clone(),
        };
        let shares =
            (recall_by == RecallName::LeastSquares).then(|| [of_old / (of_old + of_new), of_new / (of_old + of_new)]);
        let run = train.spread(self.options.samples.unwrap_or(SAMPLES));
        let labels = run.is_labelled().then(|| run.labels().to_vec());
        let answering = is_classifier.then(|| Answering {
            scores: answers.head().logits,
            seen: &classes,
            labels: labels.as_deref().filter(|_| recall_by == RecallName::LeastSquares),
            between: self.learning.between.unwrap_or(BETWEEN),
        });
        let request = Recall {
            old: old.as_ref(),
            new: &new,
            base: &base,
            known: &knowledge.known,
            shares,
            ridge: self.options.ridge.unwrap_or(RIDGE),
            samples: count,
            answering,
        };
        let found = self.recalled(&request, &run)?;
        let importance = self.importance(&found.graph, train, &classes)?;
        let mut knowledge = Knowledge { importance: knowledge.importance, known: found.known };
        for (id, mean) in importance {
            let sums = knowledge.importance.entry(found.graph.value(id).name.clone()).or_default();
            sums.resize(mean.len(), 0.0);
            sums.iter_mut().zip(mean).for_each(|(sum, mean)| *sum += (f64::from(mean) * count) as f32);
        }
        if !is_classifier {
            knowledge.known.tasks.push(Vec::new());
        }
        let report = LearnReport {
            output: String::new(),
            into: self.into.map(|into| into.model.shown()),
            model: self.model.shown(),
            data: train.name().to_owned(),
            recall: recall_by,
            samples: train.len(),
            classes,
            tasks: knowledge.tasks(),
            known_classes: knowledge.classes(),
            known_samples: knowledge.samples(),
            fitted_layers: found.fitted,
            knowledge_bytes: 0,
            seconds: clock.lap(),
        };
        Ok(Learned { like: like.clone(), graph: found.graph, knowledge, report })
    }

    fn recalled(&self, request: &Recall<'_>, samples: &Samples) -> Result<Recalled> {
        let stage = self.context.stage("fitting layers", 0);
        let mut observe = |done, total| {
            stage.at(done, total);
            self.context.flow()
        };
        let runner = SampleRunner::new(samples, self.context.host());
        recall(request, &runner, &mut observe).map_err(|error| self.failure(error))
    }

    /// The weights of what is known and of the network; refuses options that have no meaning here.
    fn checked(&self) -> Result<[f64; 2]> {
        let options = self.options;
        let rest = FuseOptions {
            method: None,
            mode: None,
            cost: None,
            normalize_features: None,
            solver: None,
            epsilon: None,
            marginals: None,
            weights: None,
            samples: None,
            ridge: None,
            check: None,
            no_verify: None,
            shape: None,
            seed: None,
            ..options.clone()
        };
        if let Ok(serde_json::Value::Object(rest)) = serde_json::to_value(&rest)
            && let Some(name) = rest.keys().next()
        {
            return Err(Error::input(format!("`{name}` does not go with `into`")).hint("leave it out"));
        }
        if let Some(between) = self.learning.between
            && !(between >= 0.0 && between.is_finite())
        {
            return Err(
                Error::input(format!("`between` {between}: expected a number from 0 on")).hint("the default is 10")
            );
        }
        if let Some(ridge) = options.ridge
            && !(ridge > 0.0 && ridge.is_finite())
        {
            return Err(
                Error::input(format!("`ridge` {ridge}: expected a positive number")).hint("the default is 0.003")
            );
        }
        if options.samples == Some(0) {
            return Err(Error::input("`samples` 0: at least one sample is needed").hint("the default is 10000"));
        }
        match options.weights.as_ref().map(|weights| weights.0.as_slice()) {
            None => Ok([1.0, 1.0]),
            Some(&[old, new]) if old >= 0.0 && new >= 0.0 && old.is_finite() && new.is_finite() && old + new > 0.0 => {
                Ok([old, new])
            }
            Some(found) => Err(Error::input(format!("`weights` {found:?}: expected two numbers from 0 on"))
                .hint("one for what is known and one for the network, for example 1,5")),
        }
    }

    /// What is known and the network in its order, of the same ids.
    fn graphs(&self, train: &Samples) -> Result<(Option<Graph>, Graph)> {
        let Some(into) = self.into else {
            return Ok((None, GraphEditor::edit(self.model.graph()?.clone()).finish().map_err(Error::input)?));
        };
        let old = GraphEditor::edit(into.model.told(self.context)?.clone()).finish().map_err(Error::input)?;
        let options = self.options;
        let is_ordered = options.method == Some(MethodName::Average);
        let aligned = if is_ordered {
            let weights = Some(vec![1.0, 0.0].into());
            let options = FuseOptions {
                method: Some(MethodName::Average),
                weights,
                repair: Some(crate::RepairName::None),
                ..FuseOptions::default()
            };
            Fuse::new([self.model, &into.model]).options(options).run(self.context)?.graph()?
        } else {
            let mode = Some(options.mode.unwrap_or(ModeName::Weights));
            let options = FuseOptions {
                aligned_only: Some(true),
                weights: None,
                samples: None,
                ridge: None,
                check: Some(0),
                repair: Some(crate::RepairName::None),
                mode,
                ..options.clone()
            };
            let fuse = Fuse::new([self.model, &into.model]).options(options);
            let fuse = if mode == Some(ModeName::Weights) { fuse } else { fuse.samples(train.spread(SAMPLES)) };
            fuse.run(self.context)?.graph()?
        };
        let mut editor = GraphEditor::edit(old.clone());
        for (id, tensor) in old.initializers().filter(|(id, _)| old.is_weight(*id)) {
            let name = &old.value(id).name;
            let found = aligned.find_value(name).and_then(|found| aligned.initializer(found));
            let found = found.filter(|found| found.shape() == tensor.shape());
            let found = found.ok_or_else(|| Error::run(format!("'{name}' is lost in the alignment")))?;
            editor.set_tensor(id, found.clone());
        }
        let new = editor.finish().map_err(Error::input)?;
        Ok((Some(old), new))
    }

    /// The classes of the task.
    fn classes(&self, graph: &Graph, train: &Samples) -> Result<Vec<usize>> {
        let mut found: Vec<usize> = match train.targets() {
            Targets::Classes { labels, .. } => {
                labels.iter().filter(|&&label| label != Targets::VOID).map(|&label| label as usize).collect()
            }
            _ => {
                let executable = Executable::new(graph, self.context.host())?;
                predict(&executable, &train.spread(SAMPLES), &mut |_, _| {})?.best()
            }
        };
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    fn check_classes(&self, classes: &[usize], knowledge: &Knowledge) -> Result<()> {
        let known = knowledge.classes();
        let twice: Vec<String> = classes.iter().filter(|class| known.contains(class)).map(usize::to_string).collect();
        if self.learning.disjoint != Some(true) || twice.is_empty() {
            return Ok(());
        }
        let message = format!("{}: classes {} were learned before", self.data.name(), twice.join(", "));
        Err(Error::input(message).hint("`disjoint` asks for new classes alone; without it they are learned further"))
    }

    /// How much each weight matters for what the network says of the samples.
    fn importance(
        &self,
        graph: &Graph,
        train: &Samples,
        classes: &[usize],
    ) -> Result<std::collections::BTreeMap<otfuse_graph::ValueId, Vec<f32>>> {
        let stage = self.context.stage("importance of weights", 0);
        let samples = train.spread(FISHER_SAMPLES);
        let classes = (!classes.is_empty()).then_some(classes);
        let mut observe = |done, total| {
            stage.at(done, total);
            self.context.flow().is_continue()
        };
        let found = fisher_diagonal(
            graph,
            &samples,
            (classes, Expectation::Drawn),
            self.options.seed.unwrap_or(0),
            self.context.host(),
            &mut observe,
        );
        drop(stage);
        self.context.check()?;
        found.map_err(|error| match error {
            TrainError::Runtime(error) => Error::from(error).of(self.model.path()),
            error => Error::input(error).of(self.model.path()),
        })
    }

    fn failure(&self, error: RepairError) -> Error {
        match error {
            RepairError::Runtime { source, .. } => match source.downcast::<RuntimeError>() {
                Ok(error) => Error::from(*error).of(self.model.path()),
                Err(error) => Error::input(error),
            },
            RepairError::Fusion(error) => match self.context.check() {
                Err(stopped) => stopped,
                Ok(()) => Error::input(error),
            },
            error @ RepairError::Singular { .. } => Error::run(&error).hint(format!("`ridge` {RIDGE} is the default")),
            error => Error::input(error),
        }
    }
}

impl Learned {
    /// Makes known what will be written for `path`: the network, and what is kept beside it.
    ///
    /// # Errors
    /// As [`Registry::result`].
    pub fn register(registry: &mut Registry, path: &Path, like: &Model) -> Result<()> {
        registry.result("output", path, like)?;
        registry.output("output", &Knowledge::beside(path))
    }

    /// Stages the network to be written, and what is kept beside it.
    ///
    /// # Errors
    /// A path that cannot be written.
    pub fn write(&mut self, registry: &Registry, path: &Path) -> Result<()> {
        self.report.output = shown(path);
        self.report.knowledge_bytes = self.knowledge.write(&self.graph, registry, path)?;
        self.like.write(&self.graph, registry.outputs(), path)
    }
}
