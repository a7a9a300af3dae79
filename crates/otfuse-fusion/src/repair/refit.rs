//! Layer by layer.

use std::borrow::Cow;
use std::ops::ControlFlow;

use otfuse_graph::{Graph, Node, NodeId, Operator, Tensor, ValueId};
use rayon::prelude::*;

use super::activation::Activation;
use super::choice::{Answer, Repair, RepairError};
use super::ensemble::{add_probabilities, ensemble_logits};
use super::following::{Fitting, Following, Target};
use super::moments::Moments;
use super::patches::Product;
use super::runner::Runner;
use super::shares::Shares;
use super::stream::{Stream, floats, open_residual};
use super::unit::LinearUnit;
use crate::error::FusionError;
use crate::fuse::Fusion;
use crate::networks::Networks;

/// Batches from which a neuron's deviation is taken for its importance.
const IMPORTANCE_BATCHES: usize = 2;

/// Channels of one sample whose means one task computes.
const CHANNELS: usize = 64;

/// What is added to a parent's probability of a class, in even ones: of a class that hardly comes no parent knows more.
const LEAST_SHARE: f64 = 1e-3;

/// A fused network on its way.
pub(super) struct Refit<'a> {
    networks: &'a Networks,
    kind: Repair,
    fused: Following<'a>,
    parents: Parents<'a>,
    shares: Shares<'a>,
}

/// The models that count, side by side with what is made of them.
struct Parents<'a> {
    networks: &'a Networks,
    fusion: &'a Fusion,
    /// Each with its averaging weight.
    streams: Vec<(usize, f64, Stream<'a>)>,
    /// The number of classes that the samples have.
    classes: usize,
    /// Whether the networks may be classifiers.
    is_classified: bool,
}

impl<'a> Refit<'a> {
    pub fn new(
        networks: &'a Networks,
        fusion: &'a Fusion,
        kind: Repair,
        runner: &'a dyn Runner,
    ) -> Result<Self, RepairError> {
        let anchor = networks.reference();
        let fused = Following::new(anchor, fusion.weights_of(anchor), runner, networks.len())?;
        let mut streams = Vec::new();
        if kind != Repair::BatchNorm {
            for (model, &weight) in fusion.weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
                let stream = Stream::new(networks.graph(model), runner);
                streams.push((model, weight, stream.map_err(|source| RepairError::Runtime { model, source })?));
            }
        }
        let of_parents = streams.iter().map(|(model, weight, _)| (*model, *weight)).collect();
        let shares = Shares::new(networks, fusion, of_parents);
        let is_classified = runner.is_classified().unwrap_or(true);
        let parents = Parents { networks, fusion, streams, classes: runner.classes(), is_classified };
        Ok(Self { networks, kind, fused, parents, shares })
    }

    pub fn run(mut self, observe: &mut dyn FnMut(usize, usize) -> ControlFlow<()>) -> Result<Graph, RepairError> {
        let anchor = self.networks.reference();
        let units = match self.parents.fusion.is_of_sequences {
            true => LinearUnit::with_turned(anchor),
            false => LinearUnit::with_transposed(anchor),
        };
        for (index, unit) in units.iter().enumerate() {
            match self.kind {
                Repair::BatchNorm => self.reset_statistics(unit)?,
                Repair::LeastSquares { ridge, importance, answer, rounds } => {
                    let residual = open_residual(anchor, &units[index..]);
                    self.fit(unit, residual, ridge, (importance, answer, rounds))?;
                }
                _ => self.renormalize(unit)?,
            }
            if observe(index + 1, units.len()).is_break() {
                return Err(FusionError::Cancelled.into());
            }
        }
        self.fused.into_graph(&self.parents.fusion.graph)
    }

    fn values(&self, id: ValueId) -> Vec<f64> {
        self.fused.values(id).into_iter().map(f64::from).collect()
    }

    /// Mean and variance of a value of the fused network.
    fn fused_moments(&mut self, unit: &LinearUnit, value: ValueId) -> Result<Moments, RepairError> {
        self.fused.advance(&[unit.input])?;
        let mut moments = Moments::default();
        for batch in 0..self.fused.batches() {
            let tensor = self.fused.said(batch, value)?;
            moments.add(&tensor, self.parents.channel_axis(unit, tensor.shape()));
        }
        Ok(moments)
    }

    fn reset_statistics(&mut self, unit: &LinearUnit) -> Result<(), RepairError> {
        let Some(normalization) = unit.normalization else { return Ok(()) };
        let moments = self.fused_moments(unit, unit.sums)?;
        self.fused.set(normalization.mean, moments.means())?;
        self.fused.set(normalization.variance, moments.variances())
    }

    /// Sets mean and standard deviation of every neuron to the mean of its parents'.
    fn renormalize(&mut self, unit: &LinearUnit) -> Result<(), RepairError> {
        let found = self.fused_moments(unit, unit.output)?;
        let channels = found.channels();
        let (mut means, mut deviations) = (vec![0.0; channels], vec![0.0; channels]);
        for parent in 0..self.parents.streams.len() {
            let mut moments = Moments::default();
            self.parents.advance(parent, unit.output)?;
            for batch in 0..self.fused.batches() {
                let tensor = self.parents.said(parent, batch, unit.output)?;
                moments.add(&tensor, self.parents.channel_axis(unit, tensor.shape()));
            }
            let weight = self.parents.streams[parent].1;
            means.iter_mut().zip(moments.means()).for_each(|(sum, value)| *sum += weight * value);
            let of_parent = moments.variances().into_iter().map(f64::sqrt);
            deviations.iter_mut().zip(of_parent).for_each(|(sum, value)| *sum += weight * value);
        }
        let own = found.variances();
        let ratio = |channel: usize| {
            let ratio = deviations[channel] / own[channel].sqrt();
            if ratio.is_finite() && ratio > 0.0 { ratio } else { 1.0 }
        };
        let factors: Vec<f64> = (0..channels).map(ratio).collect();
        let before = found.means();
        let is_rescale = self.kind == Repair::Rescale;
        let shifted = |shift: Vec<f64>| -> Vec<f64> {
            let of_channel = |(channel, shift): (usize, f64)| match is_rescale {
                true => factors[channel] * shift,
                false => factors[channel] * (shift - before[channel]) + means[channel],
            };
            shift.into_iter().enumerate().map(of_channel).collect()
        };
        if let Some(normalization) = unit.normalization {
            let scale = self.values(normalization.scale);
            self.fused
                .set(normalization.scale, scale.into_iter().zip(&factors).map(|(scale, factor)| scale * factor))?;
            let shift = self.values(normalization.shift);
            return self.fused.set(normalization.shift, shifted(shift));
        }
        self.scale_outputs(unit, &factors)?;
        match unit.bias {
            Some(bias) => self.fused.set(bias, shifted(self.values(bias))),
            None => Ok(()),
        }
    }

    fn scale_outputs(&mut self, unit: &LinearUnit, factors: &[f64]) -> Result<(), RepairError> {
        let shape = self.fused.shape(unit.weight);
        let inner: usize = shape[unit.output_axis + 1..].iter().product();
        let count = shape[unit.output_axis];
        let values = self.values(unit.weight);
        let scaled = values.into_iter().enumerate().map(|(index, value)| value * factors[index / inner.max(1) % count]);
        self.fused.set(unit.weight, scaled)
    }

    /// Fits a layer to the mean of its parents' outputs; where it is added to a stream, to the mean of the parents'
    /// streams without what the fused network adds otherwise; in front of an activation function then to the mean of what
    /// comes out behind it.
    fn fit(
        &mut self,
        unit: &LinearUnit,
        residual: Option<(ValueId, ValueId)>,
        ridge: f64,
        (importance, answer, rounds): (f64, Answer, usize),
    ) -> Result<(), RepairError> {
        let observed = residual.map_or(unit.output, |(sum, _)| sum);
        // What parents say is computed once: from here on it is at their cuts.
        (0..self.parents.streams.len()).try_for_each(|parent| self.parents.advance(parent, observed))?;
        let of_classes = match answer {
            Answer::ClassShares if self.parents.is_output(observed) => {
                self.parents.class_shares(observed, self.fused.batches())?
            }
            _ => None,
        };
        let (shares, answer) = match of_classes {
            Some(shares) => (shares, answer),
            None => (self.shares(unit, observed, importance)?, Answer::Ensemble),
        };
        let start = self.parents.start(unit, &shares, &self.fused.shape(unit.weight));
        let fitting = Fitting { unit, other: residual.map(|(_, other)| other), start, ridge, rounds };
        let (parents, activation) = (&self.parents, fitting.activation());
        let mut target = |batch| parents.target(unit, batch, observed, &shares, (answer, activation));
        self.fused.fit(&fitting, &mut target)
    }

    /// Each parent's share in each channel of a layer.
    fn shares(&mut self, unit: &LinearUnit, observed: ValueId, power: f64) -> Result<Vec<Vec<f64>>, RepairError> {
        let mut moments = Vec::with_capacity(self.parents.streams.len());
        let mut axis = 0;
        for parent in 0..self.parents.streams.len() {
            let mut of_parent = Moments::default();
            for batch in 0..self.fused.batches().min(IMPORTANCE_BATCHES) {
                let tensor = self.parents.said(parent, batch, observed)?;
                axis = self.parents.channel_axis(unit, tensor.shape());
                of_parent.add(&tensor, axis);
            }
            moments.push(of_parent.variances());
        }
        Ok(self.shares.of(observed, axis, &moments, power))
    }
}

impl Parents<'_> {
    /// A value of a parent on one batch, its neurons in the anchor's order; `value` is the anchor's id.
    fn said(&self, parent: usize, batch: usize, value: ValueId) -> Result<Tensor, RepairError> {
        let (model, _, stream) = &self.streams[parent];
        let id = self.networks.value(*model, value);
        let failed = |source| RepairError::Runtime { model: *model, source };
        let values = stream.peek(batch, &[id]).map_err(failed)?;
        let tensor = floats(values, id).map_err(failed)?;
        Ok(self.fusion.aligned(self.networks, *model, value, &tensor))
    }

    fn advance(&mut self, parent: usize, value: ValueId) -> Result<(), RepairError> {
        let (model, _, stream) = &mut self.streams[parent];
        let id = self.networks.value(*model, value);
        stream.advance(&[id]).map_err(|source| RepairError::Runtime { model: *model, source })
    }

    /// The axis of a layer's outputs on its values.
    fn channel_axis(&self, unit: &LinearUnit, shape: &[usize]) -> usize {
        let anchor = self.networks.reference();
        match Product::of(&anchor.node(unit.node).operator) {
            Product::Convolution(_) | Product::Transposed(_) => 1,
            Product::Matrix => shape.len() - 1,
        }
    }

    /// Each parent's share in each class; nothing without classes.
    fn class_shares(&self, value: ValueId, batches: usize) -> Result<Option<Vec<Vec<f64>>>, RepairError> {
        let mut found: Vec<Vec<f64>> = Vec::with_capacity(self.streams.len());
        for (parent, (_, weight, _)) in self.streams.iter().enumerate() {
            let mut of_parent = Vec::new();
            for batch in 0..batches {
                let scores = self.said(parent, batch, value)?;
                let &[_, classes] = scores.shape() else { return Ok(None) };
                let is_classified = self.is_classified && classes > 1;
                let rows = scores.to_f32().unwrap_or_default();
                if !is_classified {
                    return Ok(None);
                }
                of_parent.resize(classes, 0.0);
                add_probabilities(&rows, &mut of_parent);
            }
            let least = LEAST_SHARE * of_parent.iter().sum::<f64>() / of_parent.len().max(1) as f64;
            of_parent.iter_mut().for_each(|share| *share = *weight * (*share + least));
            found.push(of_parent);
        }
        for class in 0..found.first().map_or(0, Vec::len) {
            let total: f64 = found.iter().map(|shares| shares[class]).sum();
            found.iter_mut().for_each(|shares| shares[class] /= total);
        }
        Ok(Some(found))
    }

    /// The mean of the parents' aligned values on one batch, by shares, with its shape; for the logits of a classifier those
    /// of the parents' ensemble, where these are the answer. Then the mean of what an activation function makes of the
    /// values.
    fn target(
        &self,
        unit: &LinearUnit,
        batch: usize,
        value: ValueId,
        shares: &[Vec<f64>],
        (answer, activation): (Answer, Option<Activation>),
    ) -> Result<Target, RepairError> {
        let mut members = Vec::with_capacity(self.streams.len());
        for (parent, (_, weight, _)) in self.streams.iter().enumerate() {
            members.push((self.said(parent, batch, value)?, *weight));
        }
        let shape = members.first().map_or_else(Vec::new, |(tensor, _)| tensor.shape().to_vec());
        let is_answer = self.is_output(value) && self.has_classes(&shape);
        // Shares are those of samples; of tokens the ensemble is the answer.
        let is_whole = is_answer && (answer == Answer::Ensemble || shape.len() > 2);
        if is_whole && let Some(logits) = ensemble_logits(&members) {
            let (shape, sums) = logits;
            return Ok(Target { shape, sums, behind: None });
        }
        let inner = shape[self.channel_axis(unit, &shape) + 1..].iter().product::<usize>().max(1);
        let values: Vec<Cow<'_, [f32]>> =
            members.iter().map(|(tensor, _)| tensor.as_f32().unwrap_or_default()).collect();
        let mean = |function: &(dyn Fn(f32) -> f32 + Sync)| -> Vec<f32> {
            let mut means = vec![0.0; shape.iter().product()];
            let pieces = means.par_chunks_mut(inner * CHANNELS).enumerate();
            pieces.for_each(|(piece, means)| {
                let mut sums = vec![0.0_f64; inner];
                for (index, means) in means.chunks_mut(inner).enumerate() {
                    let channel = piece * CHANNELS + index;
                    sums.fill(0.0);
                    for (values, shares) in values.iter().zip(shares) {
                        let (share, values) = (shares[channel % shares.len()], &values[channel * inner..]);
                        let add = |(sum, &value): (&mut f64, &f32)| *sum += share * f64::from(function(value));
                        sums.iter_mut().zip(values).for_each(add);
                    }
                    means.iter_mut().zip(&sums).for_each(|(mean, &sum)| *mean = sum as f32);
                }
            });
            means
        };
        let behind = activation.map(|activation| mean(&|value| activation.at(value)));
        let sums = mean(&|value| value);
        Ok(Target { shape, sums, behind })
    }

    /// Whether a value is an output of the network, be it under another name.
    fn is_output(&self, value: ValueId) -> bool {
        let anchor = self.networks.reference();
        let renamed = |(_, node): (NodeId, &Node)| {
            let is_same = matches!(node.operator, Operator::Identity) && node.input(0) == Some(value);
            is_same && node.output(0).is_some_and(|output| anchor.outputs().contains(&output))
        };
        anchor.outputs().contains(&value) || (self.fusion.is_of_sequences && anchor.nodes().any(renamed))
    }

    /// Whether a value of this shape has a score for each class, of each sample or of each of its places.
    fn has_classes(&self, shape: &[usize]) -> bool {
        let is_one_each = shape.len() == 2 || (shape.len() == 3 && self.fusion.is_of_sequences);
        is_one_each && shape.last() == Some(&self.classes)
    }

    /// The average of the aligned weights by shares as a row-major `depth x outputs` matrix, normalisations folded in.
    fn start(&self, unit: &LinearUnit, shares: &[Vec<f64>], shape: &[usize]) -> Vec<f64> {
        let mut start = vec![0.0; shape.iter().product()];
        for ((model, _, _), shares) in self.streams.iter().zip(shares) {
            let of = |id: ValueId| self.fusion.aligned_weight(self.networks, *model, id);
            unit.add_to(&mut start, shape, shares.clone(), &of);
        }
        start
    }
}
