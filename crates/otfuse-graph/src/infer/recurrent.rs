//! Recurrent layers and attention.

use super::error::InferenceError;
use super::fact::Fact;
use super::scope::Scope;
use crate::{Attention, Dim, Recurrent, Shape};

/// X of steps, N, inputs; W of 1, gates x hidden, inputs; R of 1, gates x hidden, hidden; B of 1, 2 x gates x hidden;
/// lengths of N; the states of 1, N, hidden; P of 1, 3 x hidden. With `batch_first` N comes first in X and the states.
pub(super) fn recurrent(scope: &Scope<'_>, recurrent: &Recurrent) -> Result<Vec<Fact>, InferenceError> {
    let data_type = scope.data_type(0).or(scope.data_type(1));
    let (gates, hidden) = (recurrent.cell.gates(), recurrent.hidden);
    if hidden == 0 || hidden > 1 << 31 {
        return Err(scope.argument("hidden_size", "a positive number", hidden));
    }
    if scope.shape(0).is_some_and(|shape| shape.len() != 3) {
        return Err(scope.rank_error(0, "3"));
    }
    let (steps_axis, samples_axis) = if recurrent.batch_first { (1, 0) } else { (0, 1) };
    let (steps, samples, inputs) = match scope.shape(0) {
        Some(shape) => (shape[steps_axis].clone(), shape[samples_axis].clone(), Some(shape[2].clone())),
        None => (scope.fresh(0), scope.fresh(1), None),
    };
    let inputs = inputs.as_ref().or(scope.shape(1).and_then(|shape| shape.get(2)));
    let (one, width) = (Dim::known(1), Dim::known(hidden));
    let rows = Dim::known(gates * hidden);
    let mut expected = vec![(2, vec![one.clone(), rows.clone(), width.clone()])];
    expected.extend(inputs.map(|inputs| (1, vec![one.clone(), rows, inputs.clone()])));
    expected.push((3, vec![one.clone(), Dim::known(2 * gates * hidden)]));
    expected.push((4, vec![samples.clone()]));
    let state = match recurrent.batch_first {
        true => vec![samples.clone(), one.clone(), width.clone()],
        false => vec![one.clone(), samples.clone(), width.clone()],
    };
    expected.extend([(5, state.clone()), (6, state.clone()), (7, vec![one.clone(), Dim::known(3 * hidden)])]);
    for (input, expected) in &expected {
        expect_shape(scope, *input, expected)?;
    }
    let sequence = match recurrent.batch_first {
        true => vec![samples, steps, one, width],
        false => vec![steps, one, samples, width],
    };
    let state = Fact::new(data_type, Some(state));
    Ok(vec![Fact::new(data_type, Some(sequence)), state.clone(), state])
}

/// An input, if its shape is known, must have these lengths.
fn expect_shape(scope: &Scope<'_>, input: usize, expected: &[Dim]) -> Result<(), InferenceError> {
    let Some(found) = scope.shape(input) else { return Ok(()) };
    if found.len() != expected.len() {
        return Err(scope.rank_error(input, expected.len().to_string()));
    }
    found
        .iter()
        .zip(expected)
        .enumerate()
        .try_for_each(|(axis, (found, expected))| scope.expect_length(input, axis, expected, found))
}

/// One of Q, K and V in its form with four axes: N, heads, positions, width.
fn heads(scope: &Scope<'_>, input: usize, heads: Option<usize>) -> Result<Option<[Dim; 4]>, InferenceError> {
    let Some(shape) = scope.shape(input) else { return Ok(None) };
    match (shape.as_slice(), heads) {
        ([n, heads, positions, width], _) => Ok(Some([n.clone(), heads.clone(), positions.clone(), width.clone()])),
        ([n, positions, width], Some(heads)) if heads > 0 => {
            let known = Dim::known(heads);
            let inner = width.divided_by(&known).ok_or_else(|| {
                let found = width.clone();
                scope.error(input, super::Mismatch::Indivisible { axis: 2, parts: heads, found })
            })?;
            Ok(Some([n.clone(), known, positions.clone(), inner]))
        }
        ([_, _, _], _) => Err(scope.argument("q_num_heads", "the number of heads for three axes", heads)),
        _ => Err(scope.rank_error(input, "3 or 4")),
    }
}

/// Y has the form of Q; keys and values grow by the past ones; scores are N, heads, queries, keys.
pub(super) fn attention(scope: &Scope<'_>, attention: &Attention) -> Result<Vec<Fact>, InferenceError> {
    let data_type = scope.data_type(0);
    let q = heads(scope, 0, attention.heads.map(|heads| heads.0))?;
    let k = heads(scope, 1, attention.heads.map(|heads| heads.1))?;
    let v = heads(scope, 2, attention.heads.map(|heads| heads.1))?;
    let (Some(q), Some(k), Some(v)) = (q, k, v) else {
        return Ok(vec![Fact::new(data_type, None); 4]);
    };
    for (input, other, axis) in [(1, &k, 0), (2, &v, 0)] {
        scope.expect_length(input, axis, &q[axis], &other[axis])?;
    }
    scope.expect_length(1, 3, &q[3], &k[3])?;
    scope.expect_length(2, 1, &k[1], &v[1])?;
    scope.expect_length(2, 2, &k[2], &v[2])?;
    if let (Some(queries), Some(keys)) = (q[1].as_known(), k[1].as_known())
        && (keys == 0 || !queries.is_multiple_of(keys))
    {
        let found = format!("{queries} and {keys}");
        return Err(scope.argument("the heads", "a multiple of those of keys and values", found));
    }
    let grown = |input: usize, own: &Dim| -> Result<Dim, InferenceError> {
        let Some(past) = scope.shape(input) else {
            return Ok(if scope.is_given(input) { scope.fresh(2) } else { own.clone() });
        };
        let past = past.get(2).filter(|_| past.len() == 4).ok_or_else(|| scope.rank_error(input, "4"))?;
        scope.sum(2, past, own).ok_or_else(|| scope.too_large("a length", format!("{past} + {own}")))
    };
    let (keys, values) = (grown(4, &k[2])?, grown(5, &v[2])?);
    let scores = vec![q[0].clone(), q[1].clone(), q[2].clone(), keys.clone()];
    scope.expect_broadcast_to(3, &scores)?;
    let output: Shape = match scope.shape(0).map(Vec::len) {
        Some(3) => vec![q[0].clone(), q[2].clone(), scope.times(2, &q[1], &v[3])?],
        _ => vec![q[0].clone(), q[1].clone(), q[2].clone(), v[3].clone()],
    };
    let shapes = [
        output,
        vec![k[0].clone(), k[1].clone(), keys, k[3].clone()],
        vec![v[0].clone(), v[1].clone(), values, v[3].clone()],
        scores,
    ];
    Ok(shapes.into_iter().map(|shape| Fact::new(data_type, Some(shape))).collect())
}
