//! What a network's outputs are taken for.

use std::collections::BTreeMap;

use otfuse_graph::{Graph, Operator, ValueId};

use crate::batch::{SampleLayout, fixed_batch_size};
use crate::dataset::{Dataset, Targets};
use crate::head::Labels;
use crate::{Executable, Head, RuntimeError};

/// What a network's outputs are taken for: scores of classes, one row for each sample, token or place, or numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    head: Head,
    /// The shape of one sample's labels or numbers; empty for a class a sample.
    shape: Vec<usize>,
    is_numbers: bool,
}

impl Answers {
    /// As the kind of the samples' targets has it; a class for each sample where nothing is known of them.
    pub fn of(graph: &Graph, dataset: &Dataset) -> Result<Self, RuntimeError> {
        Ok(match dataset.targets() {
            Targets::Numbers { shape, .. } => {
                Self { head: Head::output(graph)?, shape: shape.clone(), is_numbers: true }
            }
            _ => {
                let shape = Labels::of(dataset, 0).shape.to_vec();
                Self { head: Head::find(graph)?, shape, is_numbers: false }
            }
        })
    }

    /// As [`of`](Self::of); where nothing is known of the samples, by the network itself, which is run on one batch.
    ///
    /// Outputs of one row a sample are scores of classes, unless they are one number that is no probability. Of others those
    /// are that end in Softmax (or Sigmoid), and those of as many columns as a table has rows that tokens are looked up in:
    /// language models. All else are numbers.
    pub fn recognised(executable: &Executable, dataset: &Dataset) -> Result<Self, RuntimeError> {
        let graph = executable.graph();
        if dataset.is_labelled() || dataset.is_empty() {
            return Self::of(graph, dataset);
        }
        let head = if dataset.is_noise() { Head::output(graph)? } else { Head::find(graph)? };
        let size = fixed_batch_size(graph).unwrap_or(1).max(1);
        let inputs = SampleLayout::of(graph, dataset)?.take(dataset, &vec![0; size], &|_| {});
        let mut values: BTreeMap<ValueId, _> = executable.run_for(&inputs, &[head.logits])?;
        let scores = values.remove(&head.logits).ok_or_else(|| head.wrong("scores".into(), "none".into()))?;
        let is_output = graph.outputs().first() == Some(&head.logits);
        let classes = |shape: &[usize]| Self { head: head.clone(), shape: shape.to_vec(), is_numbers: false };
        Ok(match scores.shape() {
            [_, shape @ ..] if dataset.is_noise() => Self { head, shape: shape.to_vec(), is_numbers: true },
            [_, columns, rest @ ..] if rest.iter().all(|&length| length == 1) && (*columns > 1 || !is_output) => {
                classes(&[])
            }
            [_, tokens, columns] if !is_output || has_table(graph, *columns) => classes(&[*tokens]),
            [_, _, places @ ..] if !is_output => classes(places),
            [_, shape @ ..] => Self { head: Head::output(graph)?, shape: shape.to_vec(), is_numbers: true },
            [] => return Err(head.wrong("an output with an axis of samples".into(), "a single number".into())),
        })
    }

    /// The same of another network.
    pub fn on(&self, graph: &Graph) -> Result<Self, RuntimeError> {
        let head = if self.is_numbers { Head::output(graph)? } else { Head::find(graph)? };
        Ok(Self { head, shape: self.shape.clone(), is_numbers: self.is_numbers })
    }

    /// Where they come out.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The shape of one sample's labels or numbers; empty for a class a sample.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Whether they are numbers to be compared with numbers, and no scores.
    pub fn is_numbers(&self) -> bool {
        self.is_numbers
    }
}

/// Whether rows of a constant table of so many rows are looked up.
fn has_table(graph: &Graph, rows: usize) -> bool {
    graph.nodes().any(|(_, node)| {
        let table = node.input(0).filter(|_| matches!(node.operator, Operator::Gather { axis: 0 }));
        table.and_then(|id| graph.initializer(id)).is_some_and(|table| table.shape().first() == Some(&rows))
    })
}
