//! Operators of the domain `ai.onnx.ml` that are a few of ONNX's own: what stands around networks of scikit-learn.

use otfuse_graph::{Binary, DataType, Operator, Reduce, ReduceKind, Tensor, ValueId};

use crate::error::OnnxError;
use crate::onnx::call::{Call, Reading};

/// The name of the domain.
pub(in crate::onnx) const DOMAIN: &str = "ai.onnx.ml";

/// Reads a node of the domain. Those on strings, sequences and trees have no counterpart.
pub(in crate::onnx) fn read(call: &mut Call<'_>) -> Result<Reading, OnnxError> {
    // Without a type known it may be strings that come in.
    let (Some(x), Some(data_type), [Some(y)]) = (call.input(0), call.known_type(0), call.outputs.as_slice()) else {
        return Ok(Reading::Opaque);
    };
    let y = *y;
    match call.operator {
        "Scaler" => scaler(call, x, data_type, y),
        "Normalizer" => normalizer(call, x, data_type, y),
        "ArrayFeatureExtractor" => Ok(array_feature_extractor(call, x, y)),
        // A map from classes to probabilities for each sample: the probabilities, in the order of the classes.
        "ZipMap" => {
            call.attributes.ignore(&["classlabels_int64s", "classlabels_strings"]);
            Ok(Reading::Operator(Operator::Identity))
        }
        _ => Ok(Reading::Opaque),
    }
}

/// The input as float32, which these operators compute in.
fn as_floats(call: &mut Call<'_>, x: ValueId, data_type: DataType) -> ValueId {
    match data_type {
        DataType::F32 => x,
        _ => call.add(Operator::Cast { to: DataType::F32 }, vec![Some(x)]),
    }
}

/// `(X - offset) * scale`: the attributes become weights, as they are learned.
fn scaler(call: &mut Call<'_>, x: ValueId, data_type: DataType, y: ValueId) -> Result<Reading, OnnxError> {
    let mut x = as_floats(call, x, data_type);
    for (position, name, binary) in [(1, "offset", Binary::Sub), (2, "scale", Binary::Mul)] {
        let Some(values) = call.attributes.floats(name)?.filter(|values| !values.is_empty()) else {
            return Err(call.attributes.error(name, "numbers", "none"));
        };
        call.attribute_as_input(position, name, Tensor::from_f32(&[values.len()], values.to_vec()));
        let inputs = vec![Some(x), call.input(position)];
        match binary {
            Binary::Sub => x = call.add(Operator::Binary(binary), inputs),
            _ => call.add_as(Operator::Binary(binary), inputs, y),
        }
    }
    Ok(Reading::Expanded)
}

/// Each row by its norm, where that is not 0.
fn normalizer(call: &mut Call<'_>, x: ValueId, data_type: DataType, y: ValueId) -> Result<Reading, OnnxError> {
    let kind = match call.attributes.text("norm")?.unwrap_or("MAX") {
        "MAX" => ReduceKind::Max,
        "L1" => ReduceKind::L1,
        "L2" => ReduceKind::L2,
        other => return Err(call.attributes.error("norm", "MAX, L1 or L2", format!("'{other}'"))),
    };
    let x = as_floats(call, x, data_type);
    let axes = call.integers("axes", vec![-1]);
    let reduce = Operator::Reduce(Reduce { kind, keep_dims: true, noop_with_empty_axes: false });
    let norm = call.add(reduce, vec![Some(x), Some(axes)]);
    let [zero, one] = [0.0, 1.0].map(|value| call.number("number", value));
    let empty = call.add(Operator::Binary(Binary::Equal), vec![Some(norm), Some(zero)]);
    let divisor = call.add(Operator::Where, vec![Some(empty), Some(one), Some(norm)]);
    call.add_as(Operator::Binary(Binary::Div), vec![Some(x), Some(divisor)], y);
    Ok(Reading::Expanded)
}

/// The elements at some indices of the last axis; a list becomes a row.
fn array_feature_extractor(call: &mut Call<'_>, x: ValueId, y: ValueId) -> Reading {
    let (Some(indices), Some(rank)) = (call.input(1), call.rank(0)) else { return Reading::Opaque };
    let shape = call.integers("shape", vec![-1]);
    let indices = call.add(Operator::Reshape { allow_zero: false }, vec![Some(indices), Some(shape)]);
    let gather = Operator::Gather { axis: -1 };
    if rank == 1 {
        let row = call.add(gather, vec![Some(x), Some(indices)]);
        let axes = call.integers("axes", vec![0]);
        call.add_as(Operator::Unsqueeze, vec![Some(row), Some(axes)], y);
    } else {
        call.add_as(gather, vec![Some(x), Some(indices)], y);
    }
    Reading::Expanded
}
