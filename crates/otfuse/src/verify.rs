//! Proving the neuron groups of a network by running it.

mod rotation;

use std::collections::HashSet;

use otfuse_graph::{Facts, Graph, InferenceError, NeuronGroup, NeuronGroups, Node, Tensor, ValueId, permuted};
use otfuse_runtime::{Host, RuntimeError, refusal, run_values_with};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use rayon::prelude::*;
use serde::Serialize;

pub use self::rotation::{ROTATION_TOLERANCE, RotationProof};
pub(crate) use self::rotation::{computes_the_same, wrongly_rotated};
use crate::inputs::{Inputs, Search, Tried, below, inputs_at};
use crate::inspect::{Pinned, pinned};
use crate::{Context, Error, InputShapes, Model, Result as Outcome};

/// The largest relative error that reordering may cause: what float32 sums in another order amount to, with room.
pub const TOLERANCE: f64 = 1e-3;

/// The outcome of [`verify_graph`].
#[derive(Clone, Debug, PartialEq)]
pub struct Verification {
    /// The neuron groups that were permuted.
    pub groups: NeuronGroups,
    /// The largest absolute difference of any output.
    pub max_abs_error: f64,
    /// The largest difference of any output, relative to the largest absolute value of that output.
    pub max_rel_error: f64,
    /// Whether the weights were perturbed at random for the proof, because the outputs do not depend on the order of the
    /// network's own: a proof of nothing (all weights equal, or a last layer of zeros).
    pub perturbed: bool,
    /// The group whose reordering alone changes the outputs most, where the proof failed.
    pub broken_group: Option<usize>,
}

impl Verification {
    /// Whether the outputs stayed the same within [`TOLERANCE`].
    pub fn is_ok(&self) -> bool {
        self.max_rel_error <= TOLERANCE
    }
}

/// Why a network could not be verified.
#[derive(Clone, Debug, thiserror::Error)]
pub enum VerifyError {
    /// Shapes that contradict each other.
    #[error(transparent)]
    Inference(#[from] InferenceError),
    /// The network cannot be executed.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// Inputs that are larger than anything is proved on.
    #[error("a proof on inputs of {inputs} takes {asked} elements, of which {allowed} are allowed")]
    Inputs {
        /// The inputs with their lengths.
        inputs: String,
        /// Their elements.
        asked: usize,
        /// The most elements.
        allowed: usize,
    },
    /// An input of which the network says neither how many axes it has nor how long they are.
    #[error("the network does not say of what shape its input '{input}' is")]
    Undeclared {
        /// The input.
        input: String,
    },
    /// Outputs without an element, on inputs that have none.
    #[error("the outputs have no elements, so that nothing can be compared")]
    Empty,
    /// An output that is no number.
    #[error("the output '{output}' is {value} on random inputs, so that nothing can be compared")]
    NotFinite {
        /// The output.
        output: String,
        /// The value found.
        value: f32,
    },
    /// Lengths are open, and none were found that the network takes.
    #[error(
        "no lengths were found at which the network ({inputs}) can be run to prove its neuron groups; of those tried, \
         {furthest} came furthest: {reason}"
    )]
    Lengths {
        /// The inputs as the network declares them.
        inputs: String,
        /// The lengths of the best try.
        furthest: String,
        /// What they end with.
        reason: String,
    },
}

impl From<VerifyError> for Error {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Runtime(error @ RuntimeError::Unsupported { .. }) => {
                Self::from(error).hint("the network cannot be run here, so that its neuron groups cannot be proved")
            }
            VerifyError::Runtime(error) => error.into(),
            error @ VerifyError::Inputs { .. } => Self::budget(error).hint(
                "`shape` gives smaller lengths where the file leaves them open; where it fixes them, `no_verify` fuses without a proof",
            ),
            error @ VerifyError::Inference(_) => {
                Self::input(error).hint("the shapes in the network contradict each other: export it again")
            }
            VerifyError::Undeclared { ref input } => {
                let hint = format!("`shape` says it, for images of 64 by 64 pixels `shape` {input}=1x3x64x64");
                Self::input(&error).hint(hint)
            }
            error @ VerifyError::Empty => {
                Self::input(error).hint("the network declares an axis of length 0: export it with a longer one")
            }
            error @ VerifyError::NotFinite { .. } => {
                Self::input(error).hint(
                    "the weights may be damaged, or of a training run that diverged; `no_verify` fuses without a proof",
                )
            }
            VerifyError::Lengths { ref furthest, .. } => {
                let hint = format!(
                    "give lengths that the network takes, as `shape` {furthest} does; `no_verify` fuses without a proof"
                );
                Self::input(&error).hint(hint)
            }
        }
    }
}

/// The outcome of a proof of a network in a file.
#[derive(Clone, Debug, Serialize)]
pub struct Verified {
    /// The file, as it was given.
    pub path: String,
    /// Whether the outputs stayed the same.
    pub ok: bool,
    /// The largest absolute difference of any output.
    pub max_abs_error: f64,
    /// The largest difference of any output, relative to the largest absolute value of that output.
    pub max_rel_error: f64,
    /// The largest relative difference that is taken for rounding.
    pub tolerance: f64,
    /// Whether the weights were perturbed for the proof.
    pub perturbed: bool,
    /// Groups, free and pinned.
    pub groups: usize,
    /// Groups that were permuted.
    pub free_groups: usize,
    /// Axes without freedom.
    pub pinned: Vec<Pinned>,
    /// The proof that streams and heads may be rotated, where they may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotations: Option<RotationProof>,
    /// The seed of orders and inputs.
    pub seed: u64,
    /// What is broken, where the proof failed.
    #[serde(skip)]
    pub failure: Option<Error>,
}

/// Proves a network's neuron groups: permutes all of them at random and compares the outputs on random inputs. A proof that
/// fails is no error here: [`Verified::failure`] says what is broken.
///
/// # Errors
/// A network that cannot be analysed or run.
pub fn verify(model: &Model, seed: u64, context: &Context) -> Outcome<Verified> {
    verify_at(model, &InputShapes::default(), seed, context)
}

/// The same, on inputs of these shapes where the network leaves lengths open.
///
/// # Errors
/// As there; shapes that the network does not take.
pub fn verify_at(model: &Model, shapes: &InputShapes, seed: u64, context: &Context) -> Outcome<Verified> {
    let graph = model.told(context)?;
    let groups = model.groups()?.clone();
    shapes.check(graph, &model.facts()?).map_err(|error| error.of(model.path()))?;
    let found = verify_groups_at(graph, groups.clone(), shapes, seed, context.host());
    let found = found.map_err(|error| Error::from(error).of(model.path()))?;
    let rotations = rotation::proof(model, graph, &groups, shapes, seed, context)?;
    let is_rotated = rotations.as_ref().is_none_or(|proof| proof.max_rel_error <= proof.tolerance);
    let failure = match &rotations {
        _ if !found.is_ok() => Some(broken(graph, &found)),
        Some(proof) if !is_rotated => Some(wrongly_rotated(proof.max_rel_error)),
        _ => None,
    };
    Ok(Verified {
        path: model.shown(),
        ok: found.is_ok() && is_rotated,
        max_abs_error: found.max_abs_error,
        max_rel_error: found.max_rel_error,
        tolerance: TOLERANCE,
        perturbed: found.perturbed,
        groups: found.groups.len() + found.groups.pinned().len(),
        free_groups: found.groups.len(),
        pinned: pinned(graph, &found.groups),
        seed,
        rotations,
        failure: failure.map(|error| error.of(model.path())),
    })
}

impl Model {
    /// Proves the network's neuron groups with a seed for orders and inputs; see [`verify`](crate::verify()).
    ///
    /// # Errors
    /// A network that cannot be analysed or run.
    pub fn verify(&self, context: &Context) -> Outcome<Verified> {
        verify(self, 0, context)
    }
}

/// Says which group is broken.
pub(crate) fn broken(graph: &Graph, verification: &Verification) -> Error {
    let group = verification.broken_group.map(|index| {
        let group = verification.groups.iter().nth(index).map(|(_, group)| group);
        let names = group.into_iter().flat_map(|group| &group.members);
        let names: Vec<String> =
            names.map(|member| format!("{}[{}]", graph.value(member.initializer).name, member.axis)).collect();
        format!("group {index} ({})", names.join(", "))
    });
    Error::run(format!(
        "permuting {} changes the outputs by {:.2e} (relative; at most {TOLERANCE:.0e} expected)",
        group.as_deref().unwrap_or("the neuron groups"),
        verification.max_rel_error,
    ))
    .hint("this is a fault of the analysis, not of the file; please report it with the network's operators (`otfuse inspect`)")
}

/// Permutes all free neuron groups at random and compares the outputs on random inputs; if they differ, looks for the
/// group to blame. Costs two forward passes of two samples, as many again if the weights have to be perturbed, and one
/// more per group on failure. Weights are reordered when a node needs them, so that beside the network's own a few tensors
/// are in memory at a time.
///
/// # Errors
/// A network that cannot be analysed or executed, or whose outputs are not finite.
pub fn verify_graph(graph: &Graph, seed: u64, host: &Host) -> Result<Verification, VerifyError> {
    verify_groups(graph, NeuronGroups::of(graph)?, seed, host)
}

/// As [`verify_graph`] for groups that are known already.
///
/// # Errors
/// As there.
pub fn verify_groups(graph: &Graph, groups: NeuronGroups, seed: u64, host: &Host) -> Result<Verification, VerifyError> {
    verify_groups_at(graph, groups, &InputShapes::default(), seed, host)
}

/// The same, on inputs of these shapes.
pub(crate) fn verify_groups_at(
    graph: &Graph,
    groups: NeuronGroups,
    shapes: &InputShapes,
    seed: u64,
    host: &Host,
) -> Result<Verification, VerifyError> {
    let host = &host.clone().together();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let wanted = compared(graph, &groups)?;
    let question = Question { graph, groups: &groups, wanted: &wanted, host };
    let (inputs, expected) = question.answered(shapes, (seed, &mut random))?;
    let orders = random_orders(&groups, &mut random);
    let proof = Proof { graph, groups: &groups, wanted: &wanted, inputs: &inputs, noise: None, host };
    let verification = proof.of(&expected, &orders)?;
    // Sums in another order differ in their last digits; outputs that do not differ at all ignore what was permuted.
    if verification.max_abs_error > 0.0 || groups.is_empty() {
        return Ok(verification);
    }
    let noisy = Proof { noise: Some(random.next_u64()), ..proof };
    match noisy.expected().and_then(|expected| noisy.of(&expected, &orders)) {
        Ok(verification) => Ok(Verification { perturbed: true, ..verification }),
        // Perturbed weights may overflow where the network's own do not.
        Err(VerifyError::NotFinite { .. }) => Ok(verification),
        Err(error) => Err(error),
    }
}

/// How far the outputs of another network are from a network's own on random inputs, which both take in one order, relative to the
/// largest.
///
/// # Errors
/// A network that cannot be run.
pub(crate) fn difference_of(
    graph: &Graph,
    other: &Graph,
    shapes: &InputShapes,
    seed: u64,
    host: &Host,
) -> Result<f64, VerifyError> {
    let host = &host.clone().together();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let question = Question { graph, groups: &NeuronGroups::default(), wanted: graph.outputs(), host };
    let (inputs, expected) = question.answered(shapes, (seed, &mut random))?;
    let places = graph.inputs().iter().zip(other.inputs());
    let renamed = places.filter_map(|(own, place)| {
        Some((other.value(*place).name.clone(), inputs.get(&graph.value(*own).name)?.clone()))
    });
    let found = run_values_with(other, renamed.collect(), other.outputs(), host, &|_, _| None)?;
    Ok(difference(&expected, &found).1)
}

/// The values that a proof compares: the network's outputs. What is not executed is left out at the end of a network, where
/// no neurons are behind it: if all that goes in is the same, so is what comes out.
fn compared(graph: &Graph, groups: &NeuronGroups) -> Result<Vec<ValueId>, VerifyError> {
    let free: HashSet<ValueId> =
        groups.iter().flat_map(|(_, group)| &group.members).map(|member| member.initializer).collect();
    let mut unknown: HashSet<ValueId> = HashSet::new();
    let mut entering: Vec<ValueId> = Vec::new();
    let mut first: Option<(&Node, &str)> = None;
    for (_, node) in graph.nodes() {
        let refused = refusal(&node.operator);
        let inputs = || node.inputs.iter().flatten();
        if refused.is_none() && !inputs().any(|input| unknown.contains(input)) {
            continue;
        }
        first = first.or(refused.map(|reason| (node, reason)));
        if let Some((node, reason)) = first.filter(|_| inputs().any(|input| free.contains(input))) {
            let (node, operator) = (node.name.clone(), node.operator.name().to_owned());
            return Err(RuntimeError::Unsupported { node, operator, reason: reason.to_owned() }.into());
        }
        let is_computed = |input: &&ValueId| !unknown.contains(*input) && graph.initializer(**input).is_none();
        entering.extend(inputs().filter(is_computed));
        unknown.extend(node.outputs.iter().flatten());
    }
    let known = graph.outputs().iter().filter(|output| !unknown.contains(*output)).copied();
    let mut seen: HashSet<ValueId> = HashSet::new();
    let wanted: Vec<ValueId> = known.chain(entering).filter(|&value| seen.insert(value)).collect();
    match first {
        // Without any groups there is nothing to prove but that the network runs.
        Some((node, reason)) if groups.is_empty() || wanted.iter().all(|value| graph.inputs().contains(value)) => {
            let (node, operator) = (node.name.clone(), node.operator.name().to_owned());
            Err(RuntimeError::Unsupported { node, operator, reason: reason.to_owned() }.into())
        }
        _ => Ok(wanted),
    }
}

/// What a proof asks a network: these values, on inputs that it takes.
struct Question<'a> {
    graph: &'a Graph,
    groups: &'a NeuronGroups,
    wanted: &'a [ValueId],
    host: &'a Host,
}

impl Question<'_> {
    /// Random inputs of these shapes, or of lengths that are looked for where they are open, and the values on them.
    fn answered(
        &self,
        shapes: &InputShapes,
        (seed, random): (u64, &mut ChaCha8Rng),
    ) -> Result<(Inputs, Vec<(String, Tensor)>), VerifyError> {
        let Self { graph, groups, wanted, host } = *self;
        let facts = Facts::of(graph)?;
        let inputs = inputs_at(graph, &facts, shapes, random)?;
        let run = |inputs: &Inputs| Proof { graph, groups, wanted, inputs, noise: None, host }.expected();
        match Tried::of(run(&inputs)) {
            Tried::Found(expected) => Ok((inputs, expected)),
            Tried::Failed(error) => Search::new(graph, &facts, shapes, seed, &run).find(error),
            Tried::Hopeless(error) => Err(error),
        }
    }
}

/// A network, its groups, and what it is run on.
struct Proof<'a> {
    graph: &'a Graph,
    groups: &'a NeuronGroups,
    /// The values that are compared.
    wanted: &'a [ValueId],
    inputs: &'a Inputs,
    /// The seed of noise on every weight.
    noise: Option<u64>,
    host: &'a Host,
}

impl Proof<'_> {
    /// The outputs, with the neurons reordered if `orders` are given.
    fn outputs(&self, orders: Option<&[Vec<usize>]>) -> Result<Vec<(String, Tensor)>, RuntimeError> {
        let other = |id: ValueId, tensor: &Tensor| {
            let noise = self.noise.filter(|_| self.graph.is_weight(id) && has_neurons(self.groups, id));
            let noisy = noise.and_then(|seed| perturbed(tensor, id, seed));
            match orders {
                Some(orders) => permuted(self.groups, orders, id, noisy.as_ref().unwrap_or(tensor)).or(noisy),
                None => noisy,
            }
        };
        run_values_with(self.graph, self.inputs.clone(), self.wanted, self.host, &other)
    }

    /// What the network gives in its own order.
    fn expected(&self) -> Result<Vec<(String, Tensor)>, VerifyError> {
        let expected = self.outputs(None)?;
        if !expected.is_empty() && expected.iter().all(|(_, tensor)| tensor.is_empty()) {
            return Err(VerifyError::Empty);
        }
        for (name, tensor) in &expected {
            let values = tensor.to_f32().unwrap_or_default();
            if let Some(&value) = values.iter().find(|value| !value.is_finite()) {
                return Err(VerifyError::NotFinite { output: name.clone(), value });
            }
        }
        Ok(expected)
    }

    fn of(&self, expected: &[(String, Tensor)], orders: &[Vec<usize>]) -> Result<Verification, VerifyError> {
        let compare = |orders: &[Vec<usize>]| -> Result<(f64, f64), VerifyError> {
            Ok(difference(expected, &self.outputs(Some(orders))?))
        };
        let (max_abs_error, max_rel_error) = compare(orders)?;
        let groups = self.groups.clone();
        let mut verification =
            Verification { groups, max_abs_error, max_rel_error, perturbed: false, broken_group: None };
        if !verification.is_ok() {
            let identity: Vec<Vec<usize>> = self
                .groups
                .iter()
                .zip(orders)
                .map(|((_, group), order)| (0..order.len()).map(|index| index % group.size.max(1)).collect())
                .collect();
            let mut worst = (TOLERANCE, None);
            for (index, order) in orders.iter().enumerate() {
                let mut alone = identity.clone();
                alone[index].clone_from(order);
                let (_, error) = compare(&alone)?;
                if error > worst.0 {
                    worst = (error, Some(index));
                }
            }
            verification.broken_group = worst.1;
        }
        Ok(verification)
    }
}

/// Whether an axis of a tensor can be reordered. Others may be scales of a resize, or exponents.
fn has_neurons(groups: &NeuronGroups, id: ValueId) -> bool {
    groups.layouts(id).is_some_and(|axes| axes.iter().any(|axis| !axis.is_fixed()))
}

/// Numbers whose noise is drawn together.
const NOISE: usize = 1 << 16;

/// A weight with noise: a tenth of the tensor's root mean square, or of 1 / sqrt(inputs) for zeros. Tensors without
/// negative elements (variances) keep none. `None` for single numbers and integers, which have none.
///
/// The noise is uniform; parts of the tensor are drawn apart, so that threads share the work of a network of billions.
fn perturbed(tensor: &Tensor, id: ValueId, seed: u64) -> Option<Tensor> {
    let mut values = tensor.to_f32().filter(|values| values.len() > 1)?;
    let count = values.len();
    let of_part = |part: &[f32]| {
        let squares: f64 = part.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
        (squares, part.iter().all(|&value| value >= 0.0))
    };
    let parts: Vec<(f64, bool)> = values.par_chunks(NOISE).map(of_part).collect();
    let size = (parts.iter().map(|(squares, _)| squares).sum::<f64>() / count as f64).sqrt() as f32;
    let rows = tensor.shape().first().copied().unwrap_or(1).max(1) as f32;
    let noise = if size > 0.0 && size.is_finite() { 0.1 * size } else { (rows / count as f32).sqrt() };
    let positive = parts.iter().all(|&(_, positive)| positive);
    // As wide as makes the variance 1.
    let width = 2.0 * 3.0_f32.sqrt() * noise;
    values.par_chunks_mut(NOISE).enumerate().for_each(|(part, values)| {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(id.index() as u64);
        random.set_word_pos((part * NOISE) as u128);
        for value in values {
            let drawn = (random.next_u32() >> 8) as f32 / (1_u32 << 24) as f32 - 0.5;
            let shifted = *value + width * drawn;
            *value = if positive { shifted.abs() } else { shifted };
        }
    });
    Some(Tensor::from_f32_as(tensor.data_type(), tensor.shape(), values))
}

/// A random order for every group, as [`permute`](otfuse_graph::permute) takes them: within another group, one for each of its neurons.
pub fn random_orders(groups: &NeuronGroups, random: &mut ChaCha8Rng) -> Vec<Vec<usize>> {
    let mut order = |group: &NeuronGroup| -> Vec<usize> {
        let copies = group.within.map_or(1, |outer| groups.group(outer).size);
        (0..copies).flat_map(|_| shuffled(group.size, random)).collect()
    };
    groups.iter().map(|(_, group)| order(group)).collect()
}

/// A uniformly random order (Fisher and Yates), never the identity where there is another.
fn shuffled(count: usize, random: &mut ChaCha8Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    while count > 1 && order.iter().enumerate().all(|(index, &value)| index == value) {
        for last in (1..count).rev() {
            order.swap(last, below(last + 1, random));
        }
    }
    order
}

/// Largest absolute and relative difference over all outputs.
fn difference(expected: &[(String, Tensor)], found: &[(String, Tensor)]) -> (f64, f64) {
    let (mut absolute, mut relative) = (0.0_f64, 0.0_f64);
    for ((_, expected), (_, found)) in expected.iter().zip(found) {
        let (Some(expected), Some(found)) = (expected.to_f32(), found.to_f32()) else { continue };
        let scale = expected.iter().fold(0.0_f64, |scale, value| scale.max(f64::from(value.abs())));
        let error = expected.iter().zip(&found).map(|(a, b)| f64::from((a - b).abs()));
        // A NaN must not pass as "no error".
        let error = error.fold(0.0_f64, |worst, error| if error > worst || error.is_nan() { error } else { worst });
        let error = if error.is_nan() { f64::INFINITY } else { error };
        absolute = absolute.max(error);
        relative = relative.max(if scale > 0.0 { error / scale } else { error });
    }
    (absolute, relative)
}
