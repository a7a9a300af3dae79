//! Chains of shape arithmetic as PyTorch's exporters write them.

use otfuse_graph::{Binary, DataType, GraphBuilder, Operator, Tensor, ValueId};

use super::shape;

/// `x.size(axis)` as a list of one length.
fn size(b: &mut GraphBuilder, x: ValueId, axis: i64) -> ValueId {
    let index = format!("index_{axis}_of_{x:?}");
    let index = b.initializer(&index, Tensor::from_i64(&[], vec![axis]));
    let lengths = b.node(Operator::Shape { start: 0, end: None }, &[x]);
    let length = b.node(Operator::Gather { axis: 0 }, &[lengths, index]);
    let axes = b.integers(&[0]);
    b.node(Operator::Unsqueeze, &[length, axes])
}

fn view(b: &mut GraphBuilder, x: ValueId, lengths: &[ValueId]) -> ValueId {
    let target = b.concat(lengths, 0);
    b.node(Operator::Reshape { allow_zero: false }, &[x, target])
}

#[test]
fn view_of_batch_and_rest() {
    let flat = shape(|b| {
        let x = b.input("x", &[None, Some(512), Some(2), Some(2)]);
        let batch = size(b, x, 0);
        let rest = b.integers(&[-1]);
        view(b, x, &[batch, rest])
    });
    assert_eq!(flat, "[batch, 2048]");
}

#[test]
fn channel_shuffle() {
    let shuffled = shape(|b| {
        let x = b.input("x", &[None, Some(58), Some(28), Some(28)]);
        let (batch, channels) = (size(b, x, 0), size(b, x, 1));
        let (height, width) = (size(b, x, 2), size(b, x, 3));
        let groups = b.integers(&[2]);
        let each = b.node(Operator::Binary(Binary::Div), &[channels, groups]);
        let grouped = view(b, x, &[batch, groups, each, height, width]);
        let permutation = Some(vec![0, 2, 1, 3, 4]);
        let transposed = b.node(Operator::Transpose { permutation }, &[grouped]);
        let rest = b.integers(&[-1]);
        view(b, transposed, &[batch, rest, height, width])
    });
    assert_eq!(shuffled, "[batch, 58, 28, 28]");
}

#[test]
fn attention_heads() {
    let attended = shape(|b| {
        let x = b.input("x", &[None, Some(17), Some(96)]);
        let (batch, tokens, width) = (size(b, x, 0), size(b, x, 1), size(b, x, 2));
        let heads = b.integers(&[3]);
        let each = b.node(Operator::Binary(Binary::Div), &[width, heads]);
        let each = b.node(Operator::Cast { to: DataType::I64 }, &[each]);
        let split = view(b, x, &[batch, tokens, heads, each]);
        let permutation = Some(vec![0, 2, 1, 3]);
        let queries = b.node(Operator::Transpose { permutation }, &[split]);
        let permutation = Some(vec![0, 2, 3, 1]);
        let keys = b.node(Operator::Transpose { permutation }, &[split]);
        let scores = b.node(Operator::MatMul, &[queries, keys]);
        let scores = b.node(Operator::Softmax { axis: -1 }, &[scores]);
        let mixed = b.node(Operator::MatMul, &[scores, queries]);
        let permutation = Some(vec![0, 2, 1, 3]);
        let mixed = b.node(Operator::Transpose { permutation }, &[mixed]);
        let product = b.node(Operator::Binary(Binary::Mul), &[heads, each]);
        view(b, mixed, &[batch, tokens, product])
    });
    assert_eq!(attended, "[batch, 17, 96]");
}

#[test]
fn heads_merged_into_the_batch() {
    let merged = shape(|b| {
        let x = b.input("x", &[Some(17), None, Some(96)]);
        let (tokens, batch) = (size(b, x, 0), size(b, x, 1));
        let heads = b.integers(&[3]);
        let rows = b.node(Operator::Binary(Binary::Mul), &[batch, heads]);
        let each = b.integers(&[32]);
        let split = view(b, x, &[tokens, rows, each]);
        let permutation = Some(vec![1, 0, 2]);
        let queries = b.node(Operator::Transpose { permutation }, &[split]);
        let rest = b.integers(&[-1]);
        view(b, queries, &[batch, rest, tokens, each])
    });
    assert_eq!(merged, "[batch, 3, 17, 32]");
}

#[test]
fn expanded_class_token() {
    let tokens = shape(|b| {
        let x = b.input("x", &[None, Some(16), Some(8)]);
        let token = b.initializer("token", Tensor::from_f32(&[1, 1, 8], vec![0.0; 8]));
        let batch = size(b, x, 0);
        let keep = b.integers(&[-1]);
        let target = b.concat(&[batch, keep, keep], 0);
        // A wanted length of -1 means 1, which broadcasts.
        let lengths = b.integers(&[3]);
        let value = Tensor::from_i64(&[1], vec![1]);
        let ones = b.node(Operator::ConstantOfShape { value }, &[lengths]);
        let minus = b.initializer("minus", Tensor::from_i64(&[], vec![-1]));
        let kept = b.node(Operator::Binary(Binary::Equal), &[target, minus]);
        let target = b.node(Operator::Where, &[kept, ones, target]);
        let expanded = b.node(Operator::Expand, &[token, target]);
        b.concat(&[expanded, x], 1)
    });
    assert_eq!(tokens, "[batch, 17, 8]");
}
