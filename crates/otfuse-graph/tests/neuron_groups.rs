//! Which weights share neurons, for the structures that networks are made of.

use otfuse_graph::{
    AxisLayout, Conv, Graph, GraphBuilder, NeuronGroups, Operator, PadMode, PinReason, Role, Tensor, ValueId, permute,
};

fn weight(b: &mut GraphBuilder, name: &str, shape: &[usize]) -> ValueId {
    let count = shape.iter().product();
    b.initializer(name, Tensor::from_f32(shape, (0..count).map(|i| i as f32).collect()))
}

fn conv(b: &mut GraphBuilder, x: ValueId, name: &str, outputs: usize, inputs: usize, kernel: usize) -> ValueId {
    let w = weight(b, &format!("{name}.weight"), &[outputs, inputs, kernel, kernel]);
    let window = otfuse_graph::Window::uniform(2, 1, kernel / 2);
    b.conv(x, w, None, Conv { groups: 1, window })
}

/// `size: name:axis:role ...` of every group.
fn describe(graph: &Graph) -> Vec<String> {
    let groups = NeuronGroups::of(graph).unwrap();
    let member = |member: &otfuse_graph::Member| {
        let role = if member.role == Role::Producer { "out" } else { "in" };
        format!(" {}:{}:{role}", graph.value(member.initializer).name, member.axis)
    };
    groups
        .iter()
        .map(|(_, group)| format!("{}:{}", group.size, group.members.iter().map(member).collect::<String>()))
        .collect()
}

#[test]
fn layers_of_a_perceptron_are_groups_and_its_ends_are_pinned() {
    let mut b = GraphBuilder::new("mlp");
    let x = b.input("x", &[None, Some(5)]);
    let (w1, b1) = (weight(&mut b, "w1", &[7, 5]), weight(&mut b, "b1", &[7]));
    let w2 = weight(&mut b, "w2", &[3, 7]);
    let hidden = b.linear(x, w1, Some(b1));
    let hidden = b.relu(hidden);
    let y = b.linear(hidden, w2, None);
    b.output(y);
    let graph = b.finish().unwrap();
    assert_eq!(describe(&graph), ["7: w1:0:out b1:0:out w2:1:in"]);
    let groups = NeuronGroups::of(&graph).unwrap();
    let reasons: Vec<&PinReason> = groups.pinned().iter().map(|pinned| &pinned.reason).collect();
    assert!(matches!(reasons[0], PinReason::NetworkInput { axis: 1, .. }), "{reasons:?}");
    assert!(matches!(reasons[1], PinReason::NetworkOutput { axis: 1, .. }), "{reasons:?}");
    assert_eq!(groups.iter().next().unwrap().1.observations.len(), 2);
}

#[test]
fn a_residual_stream_is_one_group() {
    let mut b = GraphBuilder::new("residual");
    let x = b.input("x", &[None, Some(3), Some(8), Some(8)]);
    let stem = conv(&mut b, x, "stem", 4, 3, 3);
    let inner = conv(&mut b, stem, "a", 6, 4, 3);
    let inner = b.relu(inner);
    let outer = conv(&mut b, inner, "b", 4, 6, 3);
    let sum = b.add(stem, outer);
    let projected = conv(&mut b, sum, "projection", 5, 4, 1);
    let pooled = b.global_average_pool(projected);
    let flat = b.flatten(pooled);
    let w = weight(&mut b, "fc", &[2, 5]);
    let y = b.linear(flat, w, None);
    b.output(y);
    assert_eq!(
        describe(&b.finish().unwrap()),
        [
            "4: stem.weight:0:out a.weight:1:in b.weight:0:out projection.weight:1:in",
            "6: a.weight:0:out b.weight:1:in",
            "5: projection.weight:0:out fc:1:in",
        ]
    );
}

#[test]
fn flatten_gives_each_channel_a_block_of_columns() {
    let mut b = GraphBuilder::new("conv-flatten");
    let x = b.input("x", &[None, Some(1), Some(4), Some(4)]);
    let left = conv(&mut b, x, "left", 2, 1, 3);
    let right = conv(&mut b, x, "right", 3, 1, 3);
    let both = b.concat(&[left, right], 1);
    let flat = b.flatten(both);
    let w = weight(&mut b, "fc", &[2, 80]);
    let y = b.linear(flat, w, None);
    b.output(y);
    let graph = b.finish().unwrap();
    assert_eq!(describe(&graph), ["2: left.weight:0:out fc:1:in", "3: right.weight:0:out fc:1:in"]);
    let groups = NeuronGroups::of(&graph).unwrap();
    let fc = graph.find_value("fc").unwrap();
    let AxisLayout::Sequence(parts) = &groups.layouts(fc).unwrap()[1] else { panic!("{groups:?}") };
    assert!(matches!(&parts[0], AxisLayout::Product(factors) if factors[1] == AxisLayout::Fixed(16)), "{parts:?}");

    let orders = vec![vec![1, 0], vec![2, 0, 1]];
    let permuted = permute(&graph, &groups, &orders).unwrap();
    let columns = permuted.initializer(permuted.find_value("fc").unwrap()).unwrap().to_f32().unwrap();
    let first_of_each_channel: Vec<f32> = columns[..80].iter().copied().step_by(16).collect();
    assert_eq!(first_of_each_channel, [16.0, 0.0, 64.0, 32.0, 48.0]);
}

#[test]
fn zero_padded_shortcuts_cut_the_wider_stream() {
    let mut b = GraphBuilder::new("option-a");
    let x = b.input("x", &[None, Some(3), Some(4), Some(4)]);
    let narrow = conv(&mut b, x, "narrow", 4, 3, 3);
    let wide = conv(&mut b, narrow, "wide", 8, 4, 3);
    let pads = b.integers(&[0, 2, 0, 0, 0, 2, 0, 0]);
    let shortcut = b.node(Operator::Pad(PadMode::Constant), &[narrow, pads]);
    let sum = b.add(shortcut, wide);
    let pooled = b.mean(sum, &[2, 3]);
    let w = weight(&mut b, "fc", &[2, 8]);
    let y = b.linear(pooled, w, None);
    b.output(y);
    assert_eq!(
        describe(&b.finish().unwrap()),
        [
            "4: narrow.weight:0:out wide.weight:0:out wide.weight:1:in fc:1:in",
            "2: wide.weight:0:out fc:1:in",
            "2: wide.weight:0:out fc:1:in",
        ]
    );
}

#[test]
fn depthwise_convolution_is_one_group_and_grouped_convolution_two() {
    let mut b = GraphBuilder::new("depthwise");
    let x = b.input("x", &[None, Some(3), Some(4), Some(4)]);
    let stem = conv(&mut b, x, "stem", 6, 3, 1);
    let w = weight(&mut b, "depthwise", &[6, 1, 3, 3]);
    let depthwise = b.conv(stem, w, None, Conv { groups: 6, ..Conv::default() });
    let w = weight(&mut b, "grouped", &[4, 3, 1, 1]);
    let grouped = b.conv(depthwise, w, None, Conv { groups: 2, ..Conv::default() });
    let out = conv(&mut b, grouped, "out", 2, 4, 1);
    b.output(out);
    assert_eq!(
        describe(&b.finish().unwrap()),
        [
            "2: stem.weight:0:out depthwise:0:out grouped:0:out out.weight:1:in",
            "3: stem.weight:0:out depthwise:0:out grouped:1:in",
            "2: grouped:0:out out.weight:1:in",
        ]
    );
}

#[test]
fn an_operator_without_a_rule_pins_what_it_touches() {
    let mut b = GraphBuilder::new("opaque");
    let x = b.input("x", &[None, Some(3)]);
    let w1 = weight(&mut b, "w1", &[4, 3]);
    let hidden = b.linear(x, w1, None);
    let odd =
        b.node(Operator::Opaque { domain: "com.example".into(), name: "Odd".into(), reason: String::new() }, &[hidden]);
    b.output(odd);
    let graph = b.finish().unwrap();
    assert!(describe(&graph).is_empty());
    let groups = NeuronGroups::of(&graph).unwrap();
    let reason = groups.pinned().iter().map(|pinned| pinned.reason.to_string()).find(|reason| reason.contains("Odd"));
    assert!(reason.is_some(), "{groups:?}");
}

#[test]
fn attention_heads_are_permuted_as_wholes_and_inside() {
    let mut b = GraphBuilder::new("attention");
    let x = b.input("x", &[None, Some(5), Some(6)]);
    let project = |b: &mut GraphBuilder, name: &str, order: [usize; 4]| {
        let w = weight(b, name, &[6, 8]);
        let projected = b.node(Operator::MatMul, &[x, w]);
        let shape = b.integers(&[0, 5, 2, 4]);
        let heads = b.node(Operator::Reshape { allow_zero: false }, &[projected, shape]);
        b.node(Operator::Transpose { permutation: Some(order.to_vec()) }, &[heads])
    };
    let query = project(&mut b, "query", [0, 2, 1, 3]);
    let key = project(&mut b, "key", [0, 2, 3, 1]);
    let value = project(&mut b, "value", [0, 2, 1, 3]);
    let scores = b.node(Operator::MatMul, &[query, key]);
    let attention = b.node(Operator::Softmax { axis: -1 }, &[scores]);
    let mixed = b.node(Operator::MatMul, &[attention, value]);
    let back = b.node(Operator::Transpose { permutation: Some(vec![0, 2, 1, 3]) }, &[mixed]);
    let shape = b.integers(&[0, 0, 8]);
    let joined = b.node(Operator::Reshape { allow_zero: false }, &[back, shape]);
    let w = weight(&mut b, "out", &[8, 6]);
    let y = b.node(Operator::MatMul, &[joined, w]);
    b.output(y);
    assert_eq!(
        describe(&b.finish().unwrap()),
        ["2: query:1:out key:1:out value:1:out out:0:in", "4: query:1:out key:1:out", "4: value:1:out out:0:in",]
    );
}
