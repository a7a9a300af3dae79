//! Constant folding.

use otfuse_graph::{
    Binary, DataType, Graph, GraphBuilder, GraphEditor, Operator, Tensor, Unary, ValueId, fold_constants,
};

fn folded(build: impl FnOnce(&mut GraphBuilder) -> Vec<ValueId>) -> Graph {
    let mut builder = GraphBuilder::new("test");
    for output in build(&mut builder) {
        builder.output(output);
    }
    let once = fold_constants(builder.finish().unwrap()).unwrap();
    once.verify().unwrap();
    assert_eq!(fold_constants(once.clone()).unwrap(), once, "folding is idempotent");
    once
}

fn operators(graph: &Graph) -> Vec<&str> {
    graph.nodes().map(|(_, node)| node.operator.name()).collect()
}

fn initializers(graph: &Graph) -> Vec<&str> {
    graph.initializers().map(|(id, _)| graph.value(id).name.as_str()).collect()
}

fn tensor<'a>(graph: &'a Graph, name: &str) -> &'a Tensor {
    graph.initializer(graph.find_value(name).unwrap()).unwrap()
}

fn shape_of(b: &mut GraphBuilder, x: ValueId) -> ValueId {
    b.node(Operator::Shape { start: 0, end: None }, &[x])
}

#[test]
fn shared_parameters_become_independent() {
    let graph = folded(|b| {
        let x = b.input("x", &[None, Some(2)]);
        let w = b.initializer("fc.weight", Tensor::from_f32(&[2, 2], vec![1.0, 2.0, 3.0, 4.0]));
        let copy = b.node(Operator::Identity, &[w]);
        let again = b.node(Operator::Identity, &[copy]);
        let y = b.linear(x, w, None);
        vec![b.linear(y, again, None)]
    });
    assert_eq!(operators(&graph), ["Gemm", "Gemm"]);
    assert_eq!(initializers(&graph), ["fc.weight", "Identity_2_output"]);
    assert_eq!(tensor(&graph, "fc.weight"), tensor(&graph, "Identity_2_output"));
}

#[test]
fn identities_of_activations_disappear_unless_they_are_outputs() {
    let graph = folded(|b| {
        let x = b.input("x", &[None, Some(2)]);
        let first = b.node(Operator::Identity, &[x]);
        let second = b.node(Operator::Identity, &[first]);
        let y = b.relu(second);
        let unread = b.relu(y);
        b.node(Operator::Identity, &[unread]);
        vec![b.node(Operator::Identity, &[y]), b.node(Operator::Identity, &[x])]
    });
    assert_eq!(operators(&graph), ["Relu", "Identity", "Identity"]);
    let names: Vec<_> = graph.outputs().iter().map(|&output| graph.value(output).name.as_str()).collect();
    assert_eq!(names, ["Identity_6_output", "Identity_7_output"]);
    let relu = graph.nodes().next().unwrap().1;
    assert_eq!(relu.input(0), graph.find_value("x"));
}

#[test]
fn shape_arithmetic_becomes_constant() {
    let graph = folded(|b| {
        let x = b.input("x", &[Some(2), Some(6), Some(4)]);
        let lengths = shape_of(b, x);
        let (starts, ends, rest) = (b.integers(&[0]), b.integers(&[1]), b.integers(&[-1]));
        let batch = b.node(Operator::Slice, &[lengths, starts, ends]);
        let target = b.concat(&[batch, rest], 0);
        vec![b.node(Operator::Reshape { allow_zero: false }, &[x, target])]
    });
    assert_eq!(operators(&graph), ["Reshape"]);
    assert_eq!(initializers(&graph), ["Concat_6_output"]);
    assert_eq!(tensor(&graph, "Concat_6_output"), &Tensor::from_i64(&[2], vec![2, -1]));
}

#[test]
fn a_symbolic_batch_is_not_folded() {
    let graph = folded(|b| {
        let x = b.input("x", &[None, Some(6), Some(4)]);
        let lengths = shape_of(b, x);
        let (index, axes) = (b.integers(&[0]), b.integers(&[-1]));
        let batch = b.node(Operator::Gather { axis: 0 }, &[lengths, index]);
        let target = b.concat(&[batch, axes], 0);
        vec![b.node(Operator::Reshape { allow_zero: false }, &[x, target])]
    });
    assert_eq!(operators(&graph), ["Shape", "Gather", "Concat", "Reshape"]);
}

#[test]
fn contents_keep_their_type() {
    let graph = folded(|b| {
        let x = b.integers(&[-2, 300]);
        let narrow = b.node(Operator::Cast { to: DataType::I32 }, &[x]);
        let truth = b.node(Operator::Binary(Binary::Less), &[narrow, narrow]);
        let too_narrow = b.node(Operator::Cast { to: DataType::U8 }, &[x]);
        vec![narrow, truth, too_narrow]
    });
    assert_eq!(operators(&graph), ["Cast"]);
    let narrow = tensor(&graph, "Cast_2_output");
    assert_eq!((narrow.data_type(), narrow.to_i64().unwrap()), (DataType::I32, vec![-2, 300]));
    let truth = tensor(&graph, "Less_3_output");
    assert_eq!((truth.data_type(), truth.to_i64().unwrap()), (DataType::Bool, vec![0, 0]));
}

#[test]
fn constants_of_a_shape_are_filled_up_to_a_size() {
    let graph = folded(|b| {
        let filled = |b: &mut GraphBuilder, lengths: &[i64]| {
            let lengths = b.integers(lengths);
            let value = Tensor::scalar(0.5).reshaped(&[1]).unwrap();
            b.node(Operator::ConstantOfShape { value }, &[lengths])
        };
        vec![filled(b, &[100, 30]), filled(b, &[2000, 2000]), filled(b, &[1 << 40, 1 << 40])]
    });
    assert_eq!(operators(&graph), ["ConstantOfShape", "ConstantOfShape"]);
    assert_eq!(tensor(&graph, "ConstantOfShape_2_output").to_f32().unwrap(), [0.5; 3000]);
}

/// `x / sqrt(last length of x)`, as exporters write the scale of attention.
fn scaled(b: &mut GraphBuilder, width: usize) -> ValueId {
    let x = b.input("x", &[None, Some(width)]);
    let lengths = shape_of(b, x);
    let index = b.initializer("index", Tensor::from_i64(&[], vec![1]));
    let width = b.node(Operator::Gather { axis: 0 }, &[lengths, index]);
    let width = b.node(Operator::Cast { to: DataType::F32 }, &[width]);
    let root = b.node(Operator::Unary(Unary::Sqrt), &[width]);
    let one = b.initializer("one", Tensor::scalar(1.0));
    let scale = b.node(Operator::Binary(Binary::Div), &[one, root]);
    b.node(Operator::Binary(Binary::Mul), &[x, scale])
}

#[test]
fn numbers_that_follow_from_shapes_are_computed() {
    for width in [64, 50] {
        let graph = folded(|b| vec![scaled(b, width)]);
        assert_eq!(operators(&graph), ["Mul"]);
        let [scale] = initializers(&graph)[..] else { panic!("one number is left") };
        let expected = 1.0 / f64::from(width as u32).sqrt();
        let found = f64::from(tensor(&graph, scale).to_f32().unwrap()[0]);
        assert!((found - expected).abs() < 1e-7, "{found} is not {expected}");
    }
}

#[test]
fn parameters_are_not_folded_whatever_their_values() {
    for value in [1.0, 1.5] {
        let graph = folded(|b| {
            let x = b.input("x", &[None, Some(2)]);
            let temperature = b.initializer("temperature", Tensor::scalar(value));
            let two = b.initializer("two", Tensor::scalar(2.0));
            let product = b.node(Operator::Binary(Binary::Mul), &[temperature, two]);
            let bias = b.initializer("bias", Tensor::from_f32(&[2], vec![value; 2]));
            let sum = b.add(bias, bias);
            let scaled = b.node(Operator::Binary(Binary::Mul), &[x, product]);
            vec![b.add(scaled, sum)]
        });
        assert_eq!(operators(&graph), ["Mul", "Add", "Mul", "Add"]);
        assert_eq!(initializers(&graph), ["temperature", "two", "bias"]);
    }
}

#[test]
fn nodes_with_several_outputs_are_kept_while_one_is_read() {
    let graph = folded(|b| {
        let x = b.input("x", &[None, Some(4)]);
        let parts = b.node_with_options(Operator::Split { axis: 1 }, vec![Some(x)], 2);
        b.relu(parts[0]);
        vec![b.relu(parts[1])]
    });
    assert_eq!(operators(&graph), ["Split", "Relu"]);
}

#[test]
fn mismatched_shapes_are_errors() {
    let mut editor = GraphEditor::new("wrong");
    let x = editor.add_initializer("x", Tensor::from_f32(&[2], vec![0.0; 2]));
    let y = editor.add_initializer("y", Tensor::from_f32(&[3], vec![0.0; 3]));
    let sum = editor.add_value("sum", None);
    editor.add_node("add", Operator::Binary(Binary::Add), vec![Some(x), Some(y)], vec![Some(sum)]);
    editor.add_output(sum);
    let error = fold_constants(editor.finish().unwrap()).unwrap_err();
    let text = "the node 'add' (Add): 'y': the shapes [2] and [3] cannot be broadcast together";
    assert_eq!(error.to_string(), text);
}
