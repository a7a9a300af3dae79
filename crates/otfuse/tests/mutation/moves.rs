//! Networks for operators that move, choose and make elements.

use otfuse::graph::{
    DataType, DepthOrder, Graph, Operator, Padding, Reduce, ReduceKind, Tensor, Unary, ValueId, Window,
};

use crate::workshop::Workshop;

pub fn network(operator: &Operator) -> Option<Graph> {
    let mut w = Workshop::new();
    Some(match operator {
        Operator::Flatten { .. } => {
            let x = w.image(6);
            let y = w.node(operator, &[x]);
            w.dense(y, 96)
        }
        Operator::Reshape { .. } => {
            let (x, shape) = (w.image(6), w.builder.integers(&[2, 96]));
            let y = w.node(operator, &[x, shape]);
            w.dense(y, 96)
        }
        Operator::Transpose { .. } => {
            let (x, weight) = (w.hidden(), w.weight(&[3, 6]));
            let y = w.node(operator, &[x]);
            let y = w.node(&Operator::MatMul, &[weight, y]);
            w.finish(y)
        }
        Operator::Squeeze => {
            let (x, axes) = (w.image(6), w.builder.integers(&[2, 3]));
            let x = w.builder.global_average_pool(x);
            let y = w.node(operator, &[x, axes]);
            w.dense(y, 6)
        }
        Operator::Unsqueeze => {
            let (x, axes) = (w.hidden(), w.builder.integers(&[2, 3]));
            let y = w.node(operator, &[x, axes]);
            w.pointwise(y, 6)
        }
        Operator::Concat { .. } => {
            let inputs = [w.hidden(), w.hidden()];
            let y = w.node(operator, &inputs);
            w.dense(y, 12)
        }
        Operator::Split { .. } => {
            let (x, lengths) = (w.hidden(), w.builder.integers(&[2, 4]));
            let parts = w.builder.node_with_options(operator.clone(), vec![Some(x), Some(lengths)], 2);
            let (first, second) = (w.weight(&[2, 4]), w.weight(&[4, 4]));
            let first = w.node(&Operator::MatMul, &[parts[0], first]);
            let second = w.node(&Operator::MatMul, &[parts[1], second]);
            let y = w.builder.add(first, second);
            w.dense(y, 4)
        }
        Operator::Slice => {
            let inputs = [w.hidden(), w.builder.integers(&[1]), w.builder.integers(&[5]), w.builder.integers(&[1])];
            let y = w.node(operator, &inputs);
            w.dense(y, 4)
        }
        Operator::Pad(_) => {
            let inputs = [w.hidden(), w.builder.integers(&[0, 1, 0, 2])];
            let y = w.node(operator, &inputs);
            w.dense(y, 9)
        }
        Operator::Gather { .. } => {
            let inputs = [w.hidden(), w.builder.integers(&[1, 2, 3, 4])];
            let y = w.node(operator, &inputs);
            w.dense(y, 4)
        }
        Operator::GatherElements { .. } => {
            let inputs = [w.hidden(), row_indices(&mut w)];
            let y = w.node(operator, &inputs);
            w.dense(y, 6)
        }
        Operator::ScatterElements { .. } => {
            let inputs = [w.hidden(), row_indices(&mut w), w.hidden()];
            let y = w.node(operator, &inputs);
            w.dense(y, 6)
        }
        Operator::GatherNd { .. } => {
            let inputs = [w.hidden(), w.integers(DataType::I64, &[2, 1], &[1, 0])];
            let y = w.node(operator, &inputs);
            w.dense(y, 6)
        }
        Operator::ScatterNd { .. } => {
            let inputs = [w.hidden(), w.integers(DataType::I64, &[1, 1], &[1]), w.hidden_of(1)];
            let y = w.node(operator, &inputs);
            w.dense(y, 6)
        }
        Operator::OneHot { .. } => {
            let (indices, depth) = (row_indices(&mut w), w.integers(DataType::I64, &[], &[2]));
            let values = w.weight(&[2]);
            let y = w.node(operator, &[indices, depth, values]);
            let y = w.builder.flatten(y);
            w.dense(y, 12)
        }
        Operator::NonZero => {
            let x = w.hidden_of(3);
            let x = w.unary(Unary::Relu, x);
            let y = w.node(operator, &[x]);
            let y = w.cast(y, DataType::F32);
            let axes = w.builder.integers(&[1]);
            let sum = Reduce { kind: ReduceKind::SumSquare, keep_dims: false, noop_with_empty_axes: false };
            let y = w.node(&Operator::Reduce(sum), &[y, axes]);
            w.finish(y)
        }
        Operator::EyeLike { .. } => {
            let x = w.input(&[6, 6]);
            let y = w.node(operator, &[x]);
            w.dense(y, 6)
        }
        Operator::Trilu { .. } => {
            let x = w.hidden_of(6);
            let y = w.node(operator, &[x]);
            w.dense(y, 6)
        }
        Operator::CumSum { .. } => {
            let inputs = [w.hidden(), w.integers(DataType::I64, &[], &[1])];
            let y = w.node(operator, &inputs);
            w.dense(y, 6)
        }
        Operator::TopK { .. } => {
            let (x, k) = (w.hidden(), w.builder.integers(&[4]));
            let outputs = w.builder.node_with_options(operator.clone(), vec![Some(x), Some(k)], 2);
            w.dense(outputs[0], 4)
        }
        Operator::Expand => {
            let (x, axes) = (w.hidden(), w.builder.integers(&[1]));
            let x = w.node(&Operator::Unsqueeze, &[x, axes]);
            let shape = w.builder.integers(&[2, 3, 6]);
            let y = w.node(operator, &[x, shape]);
            w.dense(y, 6)
        }
        Operator::Tile => {
            let inputs = [w.hidden(), w.builder.integers(&[1, 2])];
            let y = w.node(operator, &inputs);
            w.dense(y, 12)
        }
        Operator::Shape { .. } => {
            let x = w.input(&[2, 5]);
            let y = w.node(operator, &[x]);
            w.dense_cast(y, 2)
        }
        Operator::Range => {
            let numbers = [0, 4, 1].map(|number| w.integers(DataType::I64, &[], &[number]));
            let y = w.node(operator, &numbers);
            w.dense_cast(y, 4)
        }
        _ => return spatial(operator),
    })
}

/// Zeros and ones for each of six neurons.
fn row_indices(w: &mut Workshop) -> ValueId {
    let truths = w.truths();
    w.cast(truths, DataType::I64)
}

fn spatial(operator: &Operator) -> Option<Graph> {
    let mut w = Workshop::new();
    Some(match operator {
        Operator::Resize(_) => {
            let scales = Tensor::from_f32(&[4], vec![1.0, 1.0, 2.0, 2.0]);
            let (x, scales) = (w.image(6), w.builder.initializer("scales", scales));
            let inputs = vec![Some(x), None, Some(scales)];
            let y = w.builder.node_with_options(operator.clone(), inputs, 1)[0];
            w.pointwise(y, 6)
        }
        Operator::GridSample(_) => {
            let inputs = [w.image(6), w.input(&[2, 3, 3, 2])];
            let y = w.node(operator, &inputs);
            w.pointwise(y, 6)
        }
        Operator::DepthToSpace { order, .. } => {
            let x = w.image(16);
            let y = w.node(operator, &[x]);
            assert_eq!(*order, DepthOrder::BlockFirst);
            w.pointwise(y, 4)
        }
        Operator::SpaceToDepth { .. } => {
            let x = w.image(4);
            let y = w.node(operator, &[x]);
            w.pointwise(y, 16)
        }
        Operator::Col2Im(_) => {
            let (weight, x) = (w.weight(&[16, 5]), w.input(&[2, 5, 4]));
            let x = w.node(&Operator::MatMul, &[weight, x]);
            let (image, block) = (w.builder.integers(&[4, 4]), w.builder.integers(&[2, 2]));
            let window = Window { strides: vec![2, 2], dilations: Vec::new(), padding: Padding::Explicit(Vec::new()) };
            let y = w.node(&Operator::Col2Im(window), &[x, image, block]);
            w.pointwise(y, 4)
        }
        _ => return None,
    })
}
