//! Features of a classifier, on which distributions are compared.

use otfuse_fusion::LinearUnit;
use otfuse_graph::{Graph, Tensor, ValueId};
use otfuse_runtime::{Executable, predict, run_batched};

use crate::{Context, Dataset, Error, Result, Samples};

/// A classifier, and where its last features are.
pub(super) struct Features {
    name: String,
    graph: Graph,
    value: ValueId,
}

impl Features {
    /// What the last linear layer of a network reads.
    pub fn of(graph: &Graph, name: &str) -> Result<Self> {
        let last = LinearUnit::of(graph).pop().ok_or_else(|| {
            Error::input(format!("{name}: it has no linear layer, in front of which there would be features"))
                .hint("`features` takes a classifier")
        })?;
        Ok(Self { name: name.to_owned(), graph: graph.clone(), value: last.input })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// A perceptron that is trained on the training samples of a data set.
    #[cfg(feature = "training")]
    pub fn trained(data: &Dataset, real: &Samples, seed: u64, context: &Context) -> Result<Self> {
        use otfuse_runtime::train::{Extras, TrainSettings, train_on};

        /// Neurons of the hidden layers; the last are the features.
        const HIDDEN: [usize; 2] = [256, 64];
        /// Samples it is trained on.
        const MOST: usize = 20_000;
        if real.labels().is_empty() || real.classes() < 2 {
            return Err(no_classifier(data));
        }
        let samples = data.train()?.spread(MOST);
        let size = real.sample_shape().iter().product();
        let widths = [&[size], HIDDEN.as_slice(), &[real.classes()]].concat();
        let graph = otfuse_runtime::mlp(&widths, seed).map_err(Error::run)?;
        let settings =
            TrainSettings { epochs: 4, batch_size: 64, learning_rate: 0.05, seed, ..TrainSettings::default() };
        let stage = context.stage("training a classifier for features", 1);
        let found = train_on(&graph, &samples, &settings, Extras::default(), context.host(), &mut |progress| {
            stage.at(progress.step, progress.steps);
        });
        context.check()?;
        let graph = found.map_err(Error::run)?.graph;
        Self::of(&graph, &format!("a perceptron trained on {}", data.name()))
    }

    /// This build trains nothing.
    #[cfg(not(feature = "training"))]
    pub fn trained(data: &Dataset, _: &Samples, _: u64, _: &Context) -> Result<Self> {
        Err(no_classifier(data))
    }

    /// The share of labelled samples that it puts into their classes.
    pub fn accuracy(&self, samples: &Samples, context: &Context) -> Result<Option<f64>> {
        if samples.labels().is_empty() {
            return Ok(None);
        }
        let executable = Executable::new(&self.graph, context.host())?;
        let found = predict(&executable, samples, &mut |_, _| {}).map_err(|error| self.failed(error.into()))?;
        Ok(Some(found.evaluate(samples).map_err(|error| self.failed(error.into()))?.accuracy))
    }

    /// The features of all samples, how many there are of each, and the share of samples in each class.
    pub fn take(&self, samples: &Samples, context: &Context) -> Result<(Vec<f32>, usize, Vec<f64>)> {
        let executable = Executable::new(&self.graph, context.host())?;
        let output = *self.graph.outputs().first().ok_or_else(|| Error::input("it has no outputs"))?;
        let (mut features, mut width, mut classes): (Vec<f32>, usize, Vec<usize>) = (Vec::new(), 0, Vec::new());
        let found = run_batched(&executable, samples, &[self.value, output], None, |range, values| {
            let numbers = |id: &ValueId| values.get(id).and_then(Tensor::to_f32).unwrap_or_default();
            let own = numbers(&self.value);
            width = own.len() / range.len().max(1);
            features.extend(own);
            let scores = numbers(&output);
            let columns = scores.len() / range.len().max(1);
            classes.resize(columns, 0);
            for row in scores.chunks_exact(columns.max(1)) {
                let best = (0..columns).fold(0, |best, at| if row[at] > row[best] { at } else { best });
                classes[best] += 1;
            }
            Ok(())
        });
        found.map_err(|error| self.failed(error.into()))?;
        context.check()?;
        let shares = classes.into_iter().map(|count| count as f64 / samples.len().max(1) as f64).collect();
        Ok((features, width, shares))
    }

    fn failed(&self, error: Error) -> Error {
        Error { message: format!("{}: {}", self.name, error.message), ..error }
    }
}

fn no_classifier(data: &Dataset) -> Error {
    Error::input(format!("{}: without labels no classifier can be trained on it", data.name()))
        .hint("`features` names a classifier, whose last features are compared")
}
