//! Quantized numbers.

use super::convolution;
use super::error::InferenceError;
use super::fact::Fact;
use super::linear;
use super::scope::Scope;
use crate::{Conv, DataType, Dim};

/// The shape of X; scale and zero point are one number, or one for each index of an axis.
pub(super) fn scaled(scope: &Scope<'_>, axis: i64, data_type: Option<DataType>) -> Result<Fact, InferenceError> {
    for input in 1..3 {
        match scope.shape(input).map(Vec::as_slice) {
            None | Some([]) => {}
            Some([length]) if length.is_one() => {}
            Some([length]) => {
                if let Some(shape) = scope.shape(0) {
                    let axis = scope.axis(axis, shape.len())?;
                    scope.expect_length(input, 0, &shape[axis], length)?;
                }
            }
            Some(_) => return Err(scope.rank_error(input, "at most 1")),
        }
    }
    Ok(Fact::new(data_type, scope.shape(0).cloned()))
}

/// As `matmul`, of int32.
pub(super) fn mat_mul_integer(scope: &Scope<'_>) -> Result<Fact, InferenceError> {
    Ok(Fact { data_type: Some(DataType::I32), ..linear::mat_mul(scope)? })
}

/// As a convolution of X and W (inputs 0 and 3).
pub(super) fn conv(scope: &Scope<'_>, conv: &Conv) -> Result<Fact, InferenceError> {
    let inputs = [0, 3, 8].map(|position| scope.node.input(position));
    let node = crate::Node { inputs: inputs.to_vec(), ..scope.node.clone() };
    let fact = convolution::conv(&scope.of(&node), conv)?;
    for scalar in [1, 2, 6, 7] {
        scope.expect_broadcast_to(scalar, &[Dim::known(1)])?;
    }
    Ok(Fact { data_type: scope.data_type(7).or(Some(DataType::U8)), ..fact })
}
