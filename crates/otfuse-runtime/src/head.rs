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
                Operator::Identity
                | Operator::Squeeze
                | Operator::Flatten { .. }
                | Operator::Reshape { .. }
                | Operator::Cast { .. } => value = input,
                _ => break,
            }
        }
        Ok(Self { logits, name: graph.value(output).name.clone() })
    }

    /// The scores of `count` samples as rows, and the number of classes. Trailing axes of length 1 are dropped.
    pub(crate) fn rows(&self, scores: &Tensor, count: usize) -> Result<(Vec<f32>, usize), RuntimeError> {
        let classes = self.classes(scores.shape(), count)?;
        let values = scores.to_f32().ok_or_else(|| self.wrong("floats".into(), scores.data_type().to_string()))?;
        Ok((values, classes))
    }

    /// The number of classes of scores of a shape.
    pub(crate) fn classes(&self, shape: &[usize], count: usize) -> Result<usize, RuntimeError> {
        match shape {
            [samples, classes, rest @ ..] if *samples == count && *classes > 0 && rest.iter().all(|&dim| dim == 1) => {
                Ok(*classes)
            }
            _ => Err(self.wrong(format!("scores of shape [{count}, classes]"), format!("shape {shape:?}"))),
        }
    }

    pub(crate) fn wrong(&self, expected: String, found: String) -> RuntimeError {
        RuntimeError::Output { output: self.name.clone(), expected, found }
    }
}
