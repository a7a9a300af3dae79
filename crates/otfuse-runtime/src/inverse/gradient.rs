//! The loss of a network by its input.

use burn_autodiff::Autodiff;
use burn_backend::AutodiffBackend;
use burn_backend::ops::FloatTensorOps;
use otfuse_graph::{Graph, Operator, ValueId};

use super::statistics::Comparison;
use crate::head::Labels;
use crate::host::Limits;
use crate::interpreter::{Array, Floats, Program, Value};
use crate::train::loss::{cross_entropy, rows, target_rows};
use crate::{Head, RuntimeBackend, RuntimeError};

/// A classifier of one input, ready to be differentiated by it. Nothing is computed for its weights.
pub(super) struct Classifier<B: RuntimeBackend> {
    program: Program<Autodiff<B>>,
    input: ValueId,
    head: Head,
}

/// A loss and its gradient by the input.
pub(super) struct Slope {
    pub(super) loss: f64,
    pub(super) by_input: Vec<f32>,
}

/// What the terms of the loss count.
#[derive(Clone, Copy)]
pub(super) struct Weights {
    pub(super) class: f64,
    pub(super) statistics: f64,
}

impl<B: RuntimeBackend> Classifier<B> {
    pub(super) fn new(graph: &Graph, device: &B::Device, limits: &Limits) -> Result<Self, RuntimeError> {
        let &[input] = graph.inputs() else {
            let names = graph.inputs().iter().map(|&id| graph.value(id).name.as_str()).collect::<Vec<_>>();
            let (input, expected) = (names.join(", "), "one input".to_owned());
            return Err(RuntimeError::Samples { input, expected, found: Vec::new() });
        };
        let head = Head::find(graph)?;
        Ok(Self { program: Program::new(graph, device, limits)?, input, head })
    }

    /// The cross-entropy to a class for each sample, averaged, and what the batch normalisations count beside it; `shape` is
    /// that of the batch.
    pub(super) fn slope(
        &self,
        values: Vec<f32>,
        shape: &[usize],
        classes: &[u32],
        weights: Weights,
    ) -> Result<Slope, RuntimeError> {
        let device = self.program.device();
        let leaf = Autodiff::<B>::float_set_require_grad(
            Floats::<Autodiff<B>>::from_vec(values, shape, device).into_tensor(),
            true,
        );
        let given = vec![(self.input, Value::Floats(Floats::new(leaf.clone()).reshaped(shape)))];
        let mut comparison = Comparison { weight: weights.statistics, penalty: 0.0 };
        let mut found =
            self.program.compute_replacing(
                given,
                &[self.head.logits],
                &mut |_, operator, operands| match operator {
                    Operator::BatchNormalization { epsilon } if comparison.weight > 0.0 => {
                        Some(comparison.normalise::<B>(*epsilon, operands).map(|value| vec![value]))
                    }
                    _ => None,
                },
            )?;
        let Some(Value::Floats(scores)) = found.remove(&self.head.logits) else {
            return Err(self.head.wrong("floats".into(), "integers".into()));
        };
        let arrangement = self.head.arrangement(scores.shape(), Labels { samples: classes.len(), shape: &[] })?;
        let columns = arrangement.columns();
        let targets = target_rows(classes, columns, 0.0)
            .ok_or_else(|| self.head.wrong("a score for each class that is wanted".into(), columns.to_string()))?;
        let scores = rows(&scores, arrangement, classes.len());
        let loss = cross_entropy(&scores, targets, [classes.len(), columns], 1.0, weights.class);
        let of_classes = loss.to_scalar().map_err(|fault| fault.at("loss", "cross-entropy"))?;
        let gradients = Autodiff::<B>::backward(loss.into_tensor());
        let by_input = match Autodiff::<B>::grad(&leaf, &gradients) {
            Some(gradient) => Floats::<B>::new(gradient).into_vec().map_err(|fault| fault.at("input", "gradient"))?,
            None => vec![0.0; shape.iter().product()],
        };
        Ok(Slope { loss: f64::from(of_classes) + comparison.penalty, by_input })
    }
}
