//! Products of matrices.

use std::collections::BTreeMap;

use super::error::InferenceError;
use super::fact::Fact;
use super::scope::Scope;
use crate::{Dim, Einsum, Gemm, Shape};

/// `A` of M x K (K x M if transposed), `B` of K x N (N x K), `C` broadcast to M x N.
pub(super) fn gemm(scope: &Scope<'_>, gemm: &Gemm) -> Result<Fact, InferenceError> {
    let a = matrix(scope, 0, gemm.transpose_a)?;
    let b = matrix(scope, 1, gemm.transpose_b)?;
    if let (Some([_, expected]), Some([found, _])) = (&a, &b) {
        scope.expect_length(1, usize::from(gemm.transpose_b), expected, found)?;
    }
    let shape = match (a, b) {
        (Some([rows, _]), Some([_, columns])) => Some(vec![rows, columns]),
        (Some([rows, _]), None) => Some(vec![rows, scope.fresh(1)]),
        (None, Some([_, columns])) => Some(vec![scope.fresh(0), columns]),
        (None, None) => None,
    };
    if let Some(shape) = &shape {
        scope.expect_broadcast_to(2, shape)?;
    }
    Ok(Fact::new(scope.data_type(0).or(scope.data_type(1)), shape))
}

fn matrix(scope: &Scope<'_>, input: usize, transpose: bool) -> Result<Option<[Dim; 2]>, InferenceError> {
    match scope.shape(input).map(Vec::as_slice) {
        None => Ok(None),
        Some([rows, columns]) if transpose => Ok(Some([columns.clone(), rows.clone()])),
        Some([rows, columns]) => Ok(Some([rows.clone(), columns.clone()])),
        Some(_) => Err(scope.rank_error(input, "2")),
    }
}

/// NumPy's `matmul`: the last two axes are matrices, the others broadcast; a vector is a row on the left and a column
/// on the right, without that axis in the result.
pub(super) fn mat_mul(scope: &Scope<'_>) -> Result<Fact, InferenceError> {
    let data_type = scope.data_type(0).or(scope.data_type(1));
    for input in 0..2 {
        if scope.shape(input).is_some_and(Vec::is_empty) {
            return Err(scope.rank_error(input, "at least 1"));
        }
    }
    let (Some(a), Some(b)) = (scope.shape(0), scope.shape(1)) else {
        return Ok(Fact::new(data_type, None));
    };
    let (left_batch, left) = a.split_at(a.len().saturating_sub(2));
    let (right_batch, right) = b.split_at(b.len().saturating_sub(2));
    let (Some(inner), Some(found)) = (left.last(), right.first()) else {
        return Ok(Fact::new(data_type, None));
    };
    scope.expect_length(1, right_batch.len(), inner, found)?;
    let mut shape: Shape = scope.broadcast(1, &left_batch.to_vec(), &right_batch.to_vec())?;
    if let [rows, _] = left {
        shape.push(rows.clone());
    }
    if let [_, columns] = right {
        shape.push(columns.clone());
    }
    Ok(Fact::new(data_type, Some(shape)))
}

/// A length for each letter.
pub(super) fn einsum(scope: &Scope<'_>, einsum: &Einsum) -> Result<Fact, InferenceError> {
    let mut lengths: BTreeMap<char, Dim> = BTreeMap::new();
    for (input, letters) in einsum.inputs.iter().enumerate() {
        let Some(shape) = scope.shape(input) else { continue };
        if shape.len() != letters.len() {
            return Err(scope.rank_error(input, letters.len().to_string()));
        }
        for (axis, (letter, length)) in letters.iter().zip(shape).enumerate() {
            match lengths.get(letter) {
                Some(known) => scope.expect_length(input, axis, known, length)?,
                None => drop(lengths.insert(*letter, length.clone())),
            }
            if length.as_known().is_some() {
                lengths.insert(*letter, length.clone());
            }
        }
    }
    let shape = einsum.output.iter().map(|letter| lengths.get(letter).cloned()).collect();
    Ok(Fact::new(scope.data_type(0).or(scope.data_type(1)), shape))
}
