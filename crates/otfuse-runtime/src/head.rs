//! Where a classifier's scores come out.

use otfuse_graph::{Facts, Graph, Operator, Tensor, Unary, ValueId};

use crate::RuntimeError;
use crate::dataset::{Dataset, Targets};

/// The scores of a classifier before they are normalised to probabilities.
///
/// If the network ends in Softmax or LogSoftmax (followed by nothing but changes of shape), these are that operator's
/// input, so that all networks are measured and trained alike; else they are the network's first output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The value that holds the scores.
    pub logits: ValueId,
    name: String,
}

/// Which labels there are in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Labels<'a> {
    pub(crate) samples: usize,
    /// The shape of one sample's labels; empty for one a sample.
    pub(crate) shape: &'a [usize],
}

impl<'a> Labels<'a> {
    pub(crate) fn of(dataset: &'a Dataset, samples: usize) -> Self {
        let shape = match dataset.targets() {
            Targets::Classes { shape, .. } if dataset.labels_per_sample() > 1 => shape.as_slice(),
            _ => &[],
        };
        Self { samples, shape }
    }

    /// The number of labels, which is that of rows.
    #[cfg(feature = "training")]
    pub(crate) fn count(self) -> usize {
        self.samples * self.shape.iter().product::<usize>()
    }
}

/// Where the classes stand in scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrangement {
    pub(crate) classes: usize,
    /// Places of a sample behind each class, where classes stand in front of the places; 1 where they come last.
    pub(crate) places: usize,
}

impl Arrangement {
    /// The columns of [`Head::rows`]: a single score is that of the second of two classes.
    pub(crate) fn columns(self) -> usize {
        self.classes.max(2)
    }
}

/// Whether an output has one score a sample, or one a place.
fn is_single(graph: &Graph, output: ValueId) -> bool {
    let declared = graph.value(output).declared.as_ref().and_then(|declared| declared.shape.clone());
    let shape = declared.or_else(|| Facts::of(graph).ok()?.shape(output).cloned());
    shape.as_ref().and_then(|shape| shape.get(1)).and_then(|dim| dim.as_known()) == Some(1)
}

/// Classes in front of or behind the places of a sample; axes of length 1 do not count among the places. Tokens come in front
/// of their classes.
fn places(shape: &[usize], of_sample: &[usize]) -> Option<Arrangement> {
    let long = |shape: &[usize]| shape.iter().copied().filter(|&length| length != 1).collect::<Vec<_>>();
    let wanted = long(of_sample);
    let count = of_sample.iter().product();
    let behind = shape.split_last().filter(|(_, front)| long(front) == wanted);
    let behind = behind.map(|(&classes, _)| Arrangement { classes, places: 1 });
    let front = shape.split_first().filter(|(_, rest)| long(rest) == wanted);
    let front = front.map(|(&classes, _)| Arrangement { classes, places: count });
    if of_sample.len() == 1 { behind.or(front) } else { front.or(behind) }
}

impl Head {
    /// Finds the scores of a network. Fails if it has no output.
    pub fn find(graph: &Graph) -> Result<Self, RuntimeError> {
        let &output = graph.outputs().first().ok_or_else(|| RuntimeError::Output {
            output: String::new(),
            expected: "a network with an output".into(),
            found: "none".into(),
        })?;
        let producers = graph.producers();
        let mut value = output;
        let mut logits = output;
        while let Some(&producer) = producers.get(&value) {
            let node = graph.node(producer);
            let Some(input) = node.input(0) else { break };
            match &node.operator {
                Operator::Softmax { .. } | Operator::LogSoftmax { .. } => {
                    logits = input;
                    break;
                }
                // One probability: that of the second of two classes.
                Operator::Unary(Unary::Sigmoid) if is_single(graph, output) => {
                    logits = input;
                    break;
                }
                operator if operator.is_view() => value = input,
                _ => break,
            }
        }
        Ok(Self { logits, name: graph.value(output).name.clone() })
    }

    /// The network's first output as it is: what regression compares with.
    pub(crate) fn output(graph: &Graph) -> Result<Self, RuntimeError> {
        let found = Self::find(graph)?;
        Ok(Self { logits: graph.outputs().first().copied().unwrap_or(found.logits), ..found })
    }

    /// The scores of samples as rows, one for each label, and the number of classes; see
    /// [`arrangement`](Self::arrangement).
    pub(crate) fn rows(&self, scores: &Tensor, labels: Labels<'_>) -> Result<(Vec<f32>, usize), RuntimeError> {
        let arrangement = self.arrangement(scores.shape(), labels)?;
        let values = scores.to_f32().ok_or_else(|| self.wrong("floats".into(), scores.data_type().to_string()))?;
        let Arrangement { classes, places } = arrangement;
        let rows = match (classes, places) {
            (1, _) => values.into_iter().flat_map(|score| [0.0, score]).collect(),
            (_, 1) => values,
            _ => {
                let mut rows = Vec::with_capacity(values.len());
                for sample in values.chunks_exact(classes * places) {
                    for place in 0..places {
                        rows.extend((0..classes).map(|class| sample[class * places + place]));
                    }
                }
                rows
            }
        };
        Ok((rows, arrangement.columns()))
    }

    /// Where the classes stand in scores of a shape: samples x classes, with trailing axes of length 1; samples x tokens x
    /// classes where each token has a label; samples x classes x places (or places x classes) where each place has one.
    pub(crate) fn arrangement(&self, shape: &[usize], labels: Labels<'_>) -> Result<Arrangement, RuntimeError> {
        let Labels { samples: count, shape: of_sample } = labels;
        let found = match (of_sample, shape) {
            ([], [samples, classes, rest @ ..]) if *samples == count && rest.iter().all(|&dim| dim == 1) => {
                Some(Arrangement { classes: *classes, places: 1 })
            }
            (_, [samples, rest @ ..]) if !of_sample.is_empty() && *samples == count => places(rest, of_sample),
            _ => None,
        };
        let expected = match of_sample {
            [] => format!("scores of shape [{count}, classes]"),
            [tokens] => format!("scores of shape [{count}, {tokens}, vocabulary], those of a language model"),
            places => {
                let places: Vec<String> = places.iter().map(usize::to_string).collect();
                format!("scores of shape [{count}, classes, {}], one a class for each place", places.join(", "))
            }
        };
        let found = found.filter(|found| found.classes > 0);
        found.ok_or_else(|| self.wrong(expected, format!("shape {shape:?}")))
    }

    /// The columns of an output that is compared with numbers of a shape: as many as a table of targets has, else 1.
    pub(crate) fn numbers(&self, shape: &[usize], samples: usize, targets: &[usize]) -> Result<usize, RuntimeError> {
        let long = |shape: &[usize]| shape.iter().copied().filter(|&length| length != 1).collect::<Vec<_>>();
        let fits = shape.first() == Some(&samples) && long(&shape[1..]) == long(targets);
        if !fits {
            let expected =
                format!("{:?} as the targets (classes are labelled with integers)", [&[samples], targets].concat());
            return Err(self.wrong(expected, format!("shape {shape:?}")));
        }
        Ok(if let [columns] = targets { *columns } else { 1 })
    }

    pub(crate) fn wrong(&self, expected: String, found: String) -> RuntimeError {
        RuntimeError::Output { output: self.name.clone(), expected, found }
    }
}
