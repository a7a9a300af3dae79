//! Proving by running it that a network's streams and heads may be rotated.

use std::collections::BTreeMap;

use otfuse_fusion::{NotRotated, RotationCounts, Rotations};
use otfuse_graph::{Graph, GraphEditor, NeuronGroups, Tensor, ValueId};
use otfuse_runtime::{Host, run_values_with};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::Serialize;

use super::{Question, VerifyError, compared, difference, has_neurons, perturbed};
use crate::{Context, Error, InputShapes, Model, Result as Outcome};

/// The largest error, relative to the largest value of an output, that another set of weights for the same function may cause:
/// what float32 products in another basis amount to, with room.
pub const ROTATION_TOLERANCE: f64 = 1e-4;

/// A network's weights in canonical form, mapped by a random member of the whole group of its symmetries, against its own.
#[derive(Clone, Debug, Serialize)]
pub struct RotationProof {
    /// Residual streams that were mapped by an orthogonal matrix.
    pub streams: usize,
    /// Groups of channels in heads that were mapped by invertible ones.
    pub heads: usize,
    /// The largest difference of any output, relative to the largest absolute value of that output.
    pub max_rel_error: f64,
    /// The largest relative difference that is taken for rounding.
    pub tolerance: f64,
}

/// Bytes that the proof of rotations holds for each weight: a member of the group in double and in single precision.
const BYTES_A_WEIGHT: u64 = 12;

/// The proof of what may be rotated, of the network with tied weights apart if that takes it; none where nothing may be.
pub(super) fn proof(
    model: &Model,
    graph: &Graph,
    groups: &NeuronGroups,
    shapes: &InputShapes,
    seed: u64,
    context: &Context,
) -> Outcome<Option<RotationProof>> {
    let apart = match Rotations::of(graph, groups) {
        Err(NotRotated::Tied(name)) => model.untied(&name)?,
        _ => None,
    };
    let (graph, groups) = match &apart {
        Some(apart) => (apart.graph()?, apart.groups()?),
        None => (graph, groups),
    };
    let Ok(rotations) = Rotations::of(graph, groups) else { return Ok(None) };
    let bytes = BYTES_A_WEIGHT.saturating_mul(graph.parameter_count() as u64);
    if bytes > context.memory_limit() {
        context.note(&format!(
            "{}: permutations alone are proved: rotations of its residual streams take {bytes} bytes of memory, more than the \
             {} that `memory` allows",
            model.shown(),
            context.memory_limit()
        ));
        return Ok(None);
    }
    let error = |graph: &Graph| -> Outcome<Option<f64>> {
        let Some(member) = rotations.random_member(graph, groups, seed) else { return Ok(None) };
        let member: BTreeMap<ValueId, Tensor> = member.into_iter().collect();
        let error = rotation_error(graph, shapes, seed, context.host(), &|id, _| member.get(&id).cloned());
        error.map(Some).map_err(|error| Error::from(error).of(model.path()))
    };
    let Some(mut max_rel_error) = error(graph)? else { return Ok(None) };
    if max_rel_error == 0.0 {
        // Outputs that do not differ at all ignore the stream; those of noisy weights do not.
        let mut noisy = GraphEditor::edit(graph.clone());
        for (id, tensor) in graph.initializers().filter(|(id, _)| graph.is_weight(*id) && has_neurons(groups, *id)) {
            perturbed(tensor, id, seed).into_iter().for_each(|tensor| noisy.set_tensor(id, tensor));
        }
        let noisy = noisy.finish().map_err(Error::run)?;
        max_rel_error = error(&noisy)?.unwrap_or(max_rel_error);
    }
    let RotationCounts { streams, heads, .. } = rotations.counts();
    Ok(Some(RotationProof { streams, heads, max_rel_error, tolerance: ROTATION_TOLERANCE }))
}

/// Says that a rotation changed the outputs.
pub(crate) fn wrongly_rotated(error: f64) -> Error {
    Error::run(format!(
        "rotating the residual stream changes the outputs by {error:.2e} (relative; at most {ROTATION_TOLERANCE:.0e} expected)"
    ))
    .hint("`symmetry` permutations fuses all the same; please report it with the network's operators (`otfuse inspect`)")
}

/// How far the outputs of a network with other weights are from its own on random inputs, where that is more than
/// [`ROTATION_TOLERANCE`].
///
/// # Errors
/// A network that cannot be run.
pub(crate) fn computes_the_same(
    graph: &Graph,
    other: &Graph,
    shapes: &InputShapes,
    seed: u64,
    host: &Host,
) -> Result<Option<f64>, VerifyError> {
    let error = rotation_error(graph, shapes, seed, host, &|id, _| {
        other.find_value(&graph.value(id).name).and_then(|found| other.initializer(found)).cloned()
    })?;
    // A NaN must not pass as "no error".
    Ok((error > ROTATION_TOLERANCE || error.is_nan()).then_some(error))
}

/// How far the outputs of a network with other weights are from its own on random inputs.
fn rotation_error(
    graph: &Graph,
    shapes: &InputShapes,
    seed: u64,
    host: &Host,
    other: &dyn Fn(ValueId, &Tensor) -> Option<Tensor>,
) -> Result<f64, VerifyError> {
    let groups = NeuronGroups::default();
    let host = &host.clone().together();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let wanted = compared(graph, &groups)?;
    let question = Question { graph, groups: &groups, wanted: &wanted, host };
    let (inputs, expected) = question.answered(shapes, (seed, &mut random))?;
    let found = run_values_with(graph, inputs, &wanted, host, &|id, tensor| other(id, tensor))?;
    Ok(difference(&expected, &found).1)
}
