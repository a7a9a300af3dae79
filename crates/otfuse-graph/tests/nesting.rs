//! Channels inside attention heads: groups within groups.

use otfuse_graph::{GraphBuilder, NeuronGroups, Operator, Role, Tensor, Unary, ValueId, permute};

const WIDTH: usize = 6;

fn weight(b: &mut GraphBuilder, name: &str, shape: &[usize]) -> ValueId {
    let count = shape.iter().product();
    b.initializer(name, Tensor::from_f32(shape, (0..count).map(|i| i as f32).collect()))
}

fn heads(b: &mut GraphBuilder, x: ValueId, shape: &[i64]) -> ValueId {
    let shape = b.integers(shape);
    let split = b.node(Operator::Reshape { allow_zero: false }, &[x, shape]);
    b.node(Operator::Transpose { permutation: Some(vec![0, 2, 1, 3]) }, &[split])
}

/// Attention with 2 heads of 3 channels over a stream of 6.
fn attention(norm: bool) -> otfuse_graph::Graph {
    let mut b = GraphBuilder::new("attention");
    let x = b.input("x", &[None, Some(4), Some(5)]);
    let stem = weight(&mut b, "stem", &[5, WIDTH]);
    let x = b.node(Operator::MatMul, &[x, stem]);
    let [q, k, v] = ["q", "k", "v"].map(|name| {
        let w = weight(&mut b, name, &[WIDTH, 6]);
        let y = b.node(Operator::MatMul, &[x, w]);
        heads(&mut b, y, &[0, 0, 2, 3])
    });
    let q = if norm {
        let scale = weight(&mut b, "scale", &[3]);
        b.node(Operator::LayerNormalization { axis: -1, epsilon: 1e-5 }, &[q, scale])
    } else {
        q
    };
    let k = b.node(Operator::Transpose { permutation: Some(vec![0, 1, 3, 2]) }, &[k]);
    let scores = b.node(Operator::MatMul, &[q, k]);
    let scores = b.node(Operator::Softmax { axis: -1 }, &[scores]);
    let mixed = b.node(Operator::MatMul, &[scores, v]);
    let mixed = b.node(Operator::Transpose { permutation: Some(vec![0, 2, 1, 3]) }, &[mixed]);
    let shape = b.integers(&[0, 0, 6]);
    let joined = b.node(Operator::Reshape { allow_zero: false }, &[mixed, shape]);
    let o = weight(&mut b, "o", &[6, WIDTH]);
    let y = b.node(Operator::MatMul, &[joined, o]);
    let y = b.add(x, y);
    let head = weight(&mut b, "head", &[WIDTH, 3]);
    let y = b.node(Operator::MatMul, &[y, head]);
    b.output(y);
    b.finish().unwrap()
}

fn summary(groups: &NeuronGroups) -> Vec<(usize, Option<usize>)> {
    groups.iter().map(|(_, group)| (group.size, group.within.map(otfuse_graph::GroupId::index))).collect()
}

#[test]
fn each_head_has_an_order_of_its_channels() {
    let groups = NeuronGroups::of(&attention(false)).unwrap();
    // The stream; heads; channels of queries and keys, and of values, in each head.
    assert_eq!(summary(&groups), [(6, None), (2, None), (3, Some(1)), (3, Some(1))]);
}

#[test]
fn a_scale_for_all_heads_makes_them_share_one_order() {
    let groups = NeuronGroups::of(&attention(true)).unwrap();
    assert_eq!(summary(&groups), [(6, None), (2, None), (3, None), (3, Some(1))]);
}

#[test]
fn queries_keys_and_values_in_one_weight_have_orders_of_their_own() {
    for split in [false, true] {
        let mut b = GraphBuilder::new("packed");
        let x = b.input("x", &[None, Some(4), Some(5)]);
        let w = weight(&mut b, "qkv", &[5, 18]);
        let y = b.node(Operator::MatMul, &[x, w]);
        let shape = b.integers(&[0, 0, 3, 2, 3]);
        let y = b.node(Operator::Reshape { allow_zero: false }, &[y, shape]);
        let y = b.node(Operator::Transpose { permutation: Some(vec![2, 0, 3, 1, 4]) }, &[y]);
        let parts: Vec<ValueId> = if split {
            let lengths = b.integers(&[1, 1, 1]);
            let parts = b.node_with_options(Operator::Split { axis: 0 }, vec![Some(y), Some(lengths)], 3);
            let axes = b.integers(&[0]);
            parts.into_iter().map(|part| b.node(Operator::Squeeze, &[part, axes])).collect()
        } else {
            let index = |b: &mut GraphBuilder, i: i64| b.initializer(&format!("i{i}"), Tensor::from_i64(&[], vec![i]));
            (0..3)
                .map(|i| {
                    let i = index(&mut b, i);
                    b.node(Operator::Gather { axis: 0 }, &[y, i])
                })
                .collect()
        };
        let k = b.node(Operator::Transpose { permutation: Some(vec![0, 1, 3, 2]) }, &[parts[1]]);
        let scores = b.node(Operator::MatMul, &[parts[0], k]);
        let mixed = b.node(Operator::MatMul, &[scores, parts[2]]);
        let mixed = b.node(Operator::Transpose { permutation: Some(vec![0, 2, 1, 3]) }, &[mixed]);
        let shape = b.integers(&[0, 0, 6]);
        let joined = b.node(Operator::Reshape { allow_zero: false }, &[mixed, shape]);
        let o = weight(&mut b, "o", &[6, 5]);
        let y = b.node(Operator::MatMul, &[joined, o]);
        b.output(y);
        let groups = NeuronGroups::of(&b.finish().unwrap()).unwrap();
        assert_eq!(summary(&groups), [(2, None), (3, Some(0)), (3, Some(0))], "split: {split}");
    }
}

#[test]
fn behind_a_sum_over_heads_each_channel_has_an_order_of_heads() {
    let mut b = GraphBuilder::new("sum");
    let x = b.input("x", &[None, Some(4), Some(5)]);
    let w = weight(&mut b, "w", &[5, 6]);
    let y = b.node(Operator::MatMul, &[x, w]);
    let y = heads(&mut b, y, &[0, 0, 2, 3]);
    let y = b.node(Operator::Unary(Unary::Relu), &[y]);
    let y = b.mean(y, &[1]);
    let o = weight(&mut b, "o", &[3, 2]);
    let y = b.node(Operator::MatMul, &[y, o]);
    b.output(y);
    let groups = NeuronGroups::of(&b.finish().unwrap()).unwrap();
    assert_eq!(summary(&groups), [(2, Some(1)), (3, None)]);
}

#[test]
fn orders_within_are_those_of_the_new_outer_neurons() {
    let graph = attention(false);
    let groups = NeuronGroups::of(&graph).unwrap();
    let orders = [
        vec![0, 1, 2, 3, 4, 5],
        vec![1, 0],
        // The first head of the result is the second of the network.
        vec![2, 0, 1, 0, 1, 2],
        vec![0, 1, 2, 1, 0, 2],
    ];
    let permuted = permute(&graph, &groups, &orders).unwrap();
    let row = |graph: &otfuse_graph::Graph, name: &str| {
        let tensor = graph.initializer(graph.find_value(name).unwrap()).unwrap().to_f32().unwrap();
        tensor[..6].to_vec()
    };
    assert_eq!(row(&permuted, "q"), [5., 3., 4., 0., 1., 2.]);
    assert_eq!(row(&permuted, "k"), [5., 3., 4., 0., 1., 2.]);
    assert_eq!(row(&permuted, "v"), [3., 4., 5., 1., 0., 2.]);
    let o = permuted.initializer(permuted.find_value("o").unwrap()).unwrap().to_f32().unwrap();
    let rows: Vec<f32> = o.chunks(WIDTH).map(|row| row[0] / WIDTH as f32).collect();
    assert_eq!(rows, [3., 4., 5., 1., 0., 2.]);
    let producers = groups.iter().map(|(_, group)| group.members_as(Role::Producer).count());
    assert_eq!(producers.collect::<Vec<_>>(), [2, 3, 2, 1]);
}
