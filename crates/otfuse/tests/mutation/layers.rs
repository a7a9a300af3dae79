//! Networks for operators with weights, normalisations, pools and reductions.

use otfuse::graph::{Attention, Cell, DataType, Graph, Operator, ReduceKind, Unary, ValueId};

use crate::workshop::Workshop;

pub fn network(operator: &Operator) -> Option<Graph> {
    let mut w = Workshop::new();
    Some(match operator {
        Operator::Gemm(_) => {
            let inputs = [w.input(&[2, 5]), w.weight(&[5, 6])];
            let x = w.node(operator, &inputs);
            let x = w.unary(Unary::Relu, x);
            let inputs = [x, w.weight(&[6, 3]), w.weight(&[3])];
            let y = w.node(operator, &inputs);
            w.finish(y)
        }
        Operator::MatMul => {
            let x = w.hidden();
            let x = w.unary(Unary::Relu, x);
            w.dense(x, 6)
        }
        Operator::Einsum(_) => {
            let x = w.hidden();
            let x = w.unary(Unary::Relu, x);
            let inputs = [x, w.weight(&[6, 3])];
            let y = w.node(operator, &inputs);
            w.finish(y)
        }
        Operator::MatMulInteger => {
            // Weights would be integers, and so pinned: both sides are computed.
            let quantize = Operator::QuantizeLinear { axis: 1, data_type: None };
            let transpose = Operator::Transpose { permutation: None };
            let (a, b, scale) = (w.hidden(), w.hidden(), w.scalar(0.02));
            let b = w.node(&transpose, &[b]);
            let (a, b) = (w.node(&quantize, &[a, scale]), w.node(&quantize, &[b, scale]));
            let y = w.node(operator, &[a, b]);
            let y = w.cast(y, DataType::F32);
            w.finish(y)
        }
        Operator::QLinearConv(_) => quantized_convolution(w, operator),
        Operator::Conv(_) => {
            let x = w.image(6);
            let x = w.unary(Unary::Relu, x);
            w.pointwise(x, 6)
        }
        Operator::ConvTranspose(_) => {
            let inputs = [w.image(6), w.weight(&[6, 4, 2, 2]), w.weight(&[4])];
            let y = w.node(operator, &inputs);
            w.pointwise(y, 4)
        }
        Operator::DeformConv(_) => {
            let inputs = [w.image(6), w.weight(&[4, 6, 1, 1]), w.input(&[2, 2, 4, 4]), w.weight(&[4])];
            let y = w.node(operator, &inputs);
            w.pointwise(y, 4)
        }
        Operator::BatchNormalization { .. } => {
            let inputs = [w.image(6), w.weight(&[6]), w.weight(&[6]), w.weight(&[6]), w.between(&[6], 0.5, 1.0)];
            let y = w.node(operator, &inputs);
            w.pointwise(y, 6)
        }
        Operator::InstanceNormalization { .. } | Operator::GroupNormalization { .. } => {
            let inputs = [w.image(8), w.weight(&[8]), w.weight(&[8])];
            let y = w.node(operator, &inputs);
            w.pointwise(y, 8)
        }
        Operator::LayerNormalization { .. } => {
            let inputs = [w.hidden(), w.weight(&[6]), w.weight(&[6])];
            let y = w.node(operator, &inputs);
            w.dense(y, 6)
        }
        Operator::LocalResponseNormalization { beta, .. } => {
            // Strong enough to be seen.
            let strong = Operator::LocalResponseNormalization { alpha: 1.0, beta: *beta, bias: 1.0, size: 3 };
            let x = w.image(6);
            let y = w.node(&strong, &[x]);
            w.pointwise(y, 6)
        }
        Operator::Recurrent(recurrent) => {
            let (rows, width) = (recurrent.cell.gates() * recurrent.hidden, recurrent.hidden);
            let (x, first) = (w.input(&[4, 2, 5]), w.weight(&[5, 6]));
            let x = w.node(&Operator::MatMul, &[x, first]);
            let mut inputs: Vec<Option<ValueId>> = vec![
                Some(x),
                Some(w.weight(&[1, rows, 6])),
                Some(w.weight(&[1, rows, width])),
                Some(w.weight(&[1, 2 * rows])),
            ];
            if matches!(recurrent.cell, Cell::Lstm { .. }) {
                inputs.extend([None, None, None, Some(w.weight(&[1, 3 * width]))]);
            }
            let outputs = w.builder.node_with_options(operator.clone(), inputs, 2);
            w.dense(outputs[0], width)
        }
        Operator::Attention(_) => {
            let x = w.input(&[2, 4, 5]);
            let parts: Vec<ValueId> = [8, 8, 8]
                .into_iter()
                .map(|width| {
                    let weight = w.weight(&[5, width]);
                    w.node(&Operator::MatMul, &[x, weight])
                })
                .collect();
            let attention = Attention { heads: Some((2, 2)), ..Attention::default() };
            let y = w.node(&Operator::Attention(attention), &parts);
            w.dense(y, 8)
        }
        Operator::Pool(_) | Operator::GlobalPool(_) => {
            let x = w.image(6);
            let y = w.node(operator, &[x]);
            w.pointwise(y, 6)
        }
        Operator::Reduce(reduce) => {
            let x = w.image(6);
            // Logarithms of sums need positive ones.
            let x = if reduce.kind == ReduceKind::LogSum { w.unary(Unary::Sigmoid, x) } else { x };
            let axes = w.builder.integers(&[2, 3]);
            let y = w.node(operator, &[x, axes]);
            w.dense(y, 6)
        }
        Operator::ArgExtremum { .. } => {
            let x = w.hidden();
            let y = w.node(operator, &[x]);
            w.dense_cast(y, 1)
        }
        _ => return None,
    })
}

fn quantized_convolution(mut w: Workshop, operator: &Operator) -> Graph {
    let x = w.image(6);
    let (scale, zero) = (w.scalar(0.02), w.integers(DataType::U8, &[], &[128]));
    let quantize = Operator::QuantizeLinear { axis: 1, data_type: None };
    let x = w.node(&quantize, &[x, scale, zero]);
    let values: Vec<i64> = (0..18).map(|i| (i * 37) % 50 - 25).collect();
    let weight = w.integers(DataType::I8, &[3, 6, 1, 1], &values);
    let weight_zero = w.integers(DataType::I8, &[], &[0]);
    let inputs = [x, scale, zero, weight, scale, weight_zero, scale, zero];
    let y = w.node(operator, &inputs);
    let y = w.node(&Operator::DequantizeLinear { axis: 1 }, &[y, scale, zero]);
    w.finish(y)
}
