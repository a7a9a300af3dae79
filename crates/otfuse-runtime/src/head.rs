//! Where a classifier's scores come out.

use otfuse_graph::{Graph, Operator, Tensor, ValueId};

use crate::RuntimeError;

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

/// How many labels there are in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Labels {
    pub(crate) samples: usize,
    /// 1, or one for each token.
    pub(crate) per_sample: usize,
}

impl Labels {
    #[cfg(feature = "training")]
    pub(crate) fn count(self) -> usize {
        self.samples * self.per_sample
    }
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
                operator if operator.is_view() => value = input,
                _ => break,
            }
        }
        Ok(Self { logits, name: graph.value(output).name.clone() })
    }

    /// The scores of samples as rows, and the number of classes; see [`classes`](Self::classes).
    pub(crate) fn rows(&self, scores: &Tensor, labels: Labels) -> Result<(Vec<f32>, usize), RuntimeError> {
        let classes = self.classes(scores.shape(), labels)?;
        let values = scores.to_f32().ok_or_else(|| self.wrong("floats".into(), scores.data_type().to_string()))?;
        Ok((values, classes))
    }

    /// The number of classes of scores of a shape: samples x classes, with trailing axes of length 1; or samples x
    /// tokens x classes where each token has a label.
    pub(crate) fn classes(&self, shape: &[usize], labels: Labels) -> Result<usize, RuntimeError> {
        let Labels { samples: count, per_sample } = labels;
        let found = match (per_sample, shape) {
            (1, [samples, classes, rest @ ..]) if *samples == count && rest.iter().all(|&dim| dim == 1) => *classes,
            (2.., [samples, tokens, classes]) if [*samples, *tokens] == [count, per_sample] => *classes,
            _ => 0,
        };
        let expected = match per_sample {
            1 => format!("scores of shape [{count}, classes]"),
            tokens => format!("scores of shape [{count}, {tokens}, vocabulary], those of a language model"),
        };
        if found > 0 { Ok(found) } else { Err(self.wrong(expected, format!("shape {shape:?}"))) }
    }

    pub(crate) fn wrong(&self, expected: String, found: String) -> RuntimeError {
        RuntimeError::Output { output: self.name.clone(), expected, found }
    }
}
