//! Networks go back into their files, or into files of their own.

use otfuse_formats::onnx::proto::{AttributeProto, ModelProto, ValueInfoProto};
use otfuse_formats::onnx::{OnnxError, OnnxModel, WriteOptions, encode_onnx, read_onnx, to_proto};
use otfuse_graph::{Binary, Graph, GraphBuilder, GraphEditor, Operator, Tensor, Unary, Window};

use crate::support::{int, ints, model, node, operators, read, value, weight};

fn with_tensor(graph: &Graph, name: &str, tensor: Tensor) -> Graph {
    let mut editor = GraphEditor::edit(graph.clone());
    let value = editor.find(name).expect("a value of that name");
    editor.set_tensor(value, tensor);
    editor.finish().expect("a sound graph")
}

fn perceptron() -> ModelProto {
    let gemm = |x, w, y| node("Gemm", &[x, w], &[y], vec![int("transB", 1)]);
    let nodes = vec![gemm("x", "w1", "h"), node("Relu", &["h"], &["r"], vec![]), gemm("r", "w2", "y")];
    model(13, &[-1, 3], nodes, vec![weight("w1", &[4, 3]), weight("w2", &[2, 4])])
}

#[test]
fn an_unchanged_network_gives_the_same_model() {
    let mut original = perceptron();
    original.metadata_props.push(Default::default());
    let found = read(&original);
    let written = found.template.write(&found.graph).expect("written");
    let back = read(&written);
    assert_eq!(back.graph, found.graph);
    let strip = |mut model: ModelProto| {
        model.graph.as_mut().expect("a graph").initializer.clear();
        model
    };
    assert_eq!(strip(written), strip(original));
}

#[test]
fn tensors_of_other_widths_take_the_place_of_the_old_ones() {
    let mut original = perceptron();
    let graph = original.graph.as_mut().expect("a graph");
    graph.value_info = vec![value("h", &[-1, 4])];
    graph.input.push(value("w1", &[4, 3]));
    let found = read(&original);
    let wider = with_tensor(&found.graph, "w1", Tensor::from_f32(&[5, 3], vec![0.25; 15]));
    let wider = with_tensor(&wider, "w2", Tensor::from_f32(&[2, 5], vec![0.5; 10]));
    let written = found.template.write(&wider).expect("written");
    let graph = written.graph.as_ref().expect("a graph");
    assert_eq!(
        (graph.initializer[0].dims.as_slice(), graph.initializer[1].dims.as_slice()),
        (&[5, 3][..], &[2, 5][..])
    );
    assert!(graph.value_info.is_empty());
    assert_eq!(graph.input[1], value("w1", &[5, 3]));
    assert_eq!(
        read(&written).graph.find_value("w1").and_then(|id| Some(read(&written).graph.initializer(id)?.to_f32())),
        Some(Some(vec![0.25; 15]))
    );
}

#[test]
fn folded_nodes_give_way_to_their_results() {
    let nodes = vec![
        node("Identity", &["w"], &["shared"], vec![]),
        node("Mul", &["x", "w"], &["a"], vec![]),
        node("Mul", &["a", "shared"], &["y"], vec![]),
    ];
    let found = read(&model(18, &[1, 2], nodes, vec![weight("w", &[2])]));
    assert_eq!(operators(&found), ["Mul", "Mul"]);
    let graph = with_tensor(&found.graph, "shared", Tensor::from_f32(&[2], vec![7.0, 8.0]));
    let written = found.template.write(&graph).expect("written");
    let back = read(&written);
    let tensor = |model: &OnnxModel, name: &str| {
        model.graph.find_value(name).and_then(|id| model.graph.initializer(id)?.to_f32())
    };
    assert_eq!(operators(&back), ["Mul", "Mul"]);
    assert_eq!((tensor(&back, "w"), tensor(&back, "shared")), (Some(vec![1.0, 2.0]), Some(vec![7.0, 8.0])));
}

#[test]
fn shapes_computed_from_shapes_become_constants_with_all_behind_them() {
    let constant = AttributeProto { t: Some(Box::new(weight("", &[1]))), ..int("value", 0) };
    let constant = AttributeProto { i: None, r#type: Some(4), ..constant };
    let nodes = vec![
        node("Constant", &[], &["one"], vec![constant]),
        node("Mul", &["x", "one"], &["a"], vec![]),
        node("Shape", &["a"], &["s"], vec![]),
        node("Gather", &["s", "i"], &["n"], vec![]),
        node("Reshape", &["a", "n"], &["y"], vec![]),
    ];
    let mut index = weight("i", &[1]);
    (index.data_type, index.int64_data) = (Some(7), vec![1]);
    index.float_data.clear();
    let found = read(&model(18, &[1, 6], nodes, vec![index]));
    assert_eq!(operators(&found), ["Mul", "Reshape"]);
    let graph = with_tensor(&found.graph, "one", Tensor::from_f32(&[1], vec![3.0]));
    let written = found.template.write(&graph).expect("written").graph.expect("a graph");
    let left: Vec<_> = written.node.iter().filter_map(|node| node.op_type.as_deref()).collect();
    assert_eq!(left, ["Constant", "Mul", "Reshape"]);
    let names: Vec<_> = written.initializer.iter().filter_map(|tensor| tensor.name.as_deref()).collect();
    assert_eq!(names, ["n"]);
    let constant = written.node[0].attribute[0].t.as_ref().expect("a tensor");
    assert_eq!(constant.raw_data.as_deref(), Some(&3_f32.to_le_bytes()[..]));
}

#[test]
fn changed_attributes_go_back_into_attributes() {
    let nodes = vec![
        node("Split", &["x"], &["a", "b"], vec![int("axis", 1), ints("split", &[2, 4])]),
        node("Concat", &["b", "a"], &["y"], vec![int("axis", 1)]),
    ];
    let found = read(&model(11, &[1, 6], nodes, vec![]));
    let lengths = found.graph.initializers().next().map(|(id, _)| found.graph.value(id).name.clone()).expect("lengths");
    let graph = with_tensor(&found.graph, &lengths, Tensor::from_i64(&[2], vec![3, 3]));
    let written = found.template.write(&graph).expect("written").graph.expect("a graph");
    assert_eq!(written.node[0].attribute[1], ints("split", &[3, 3]));
    assert!(written.initializer.is_empty());
}

#[test]
fn another_network_does_not_fit_into_the_file() {
    let found = read(&perceptron());
    let mut editor = GraphEditor::edit(found.graph.clone());
    let relu = found.graph.nodes().nth(1).map(|(id, _)| id).expect("three nodes");
    editor.set_operator(relu, Operator::Unary(Unary::Tanh));
    let changed = editor.finish().expect("a sound graph");
    let error = found.template.write(&changed).expect_err("another operator");
    assert!(matches!(&error, OnnxError::Template { found, .. } if found.contains("Tanh")), "{error}");
}

#[test]
fn legacy_files_list_new_initializers_as_inputs() {
    let mut original = perceptron();
    original.ir_version = Some(3);
    let graph = original.graph.as_mut().expect("a graph");
    graph.input.extend([value("w1", &[4, 3]), value("v", &[2, 4])]);
    graph.initializer[1].name = Some("v".into());
    graph.node.push(node("Identity", &["v"], &["w2"], vec![]));
    let found = read(&original);
    assert_eq!(found.graph.inputs().len(), 1);
    let written = found.template.write(&found.graph).expect("written").graph.expect("a graph");
    let names =
        |infos: &[ValueInfoProto]| -> Vec<String> { infos.iter().filter_map(|info| info.name.clone()).collect() };
    assert_eq!(names(&written.input), ["x", "w1", "w2"]);
}

#[test]
fn built_networks_are_written_and_read_back() {
    let mut b = GraphBuilder::new("small");
    let x = b.input("x", &[None, Some(1), Some(8), Some(8)]);
    let kernel = b.initializer("conv.weight", Tensor::from_f32(&[2, 1, 3, 3], vec![0.5; 18]));
    let conv = otfuse_graph::Conv { window: Window::uniform(2, 1, 1), ..Default::default() };
    let hidden = b.conv(x, kernel, None, conv);
    let hidden = b.relu(hidden);
    let hidden = b.max_pool(hidden, 2);
    let halves = b.node_with_options(Operator::Split { axis: 1 }, vec![Some(hidden)], 2);
    let hidden = b.node(Operator::Binary(Binary::Mul), &halves);
    let hidden = b.node(Operator::Unary(Unary::Gelu { tanh: true }), &[hidden]);
    let hidden = b.mean(hidden, &[2, 3]);
    b.output(hidden);
    let graph = b.finish().expect("a sound graph");
    let proto = to_proto(&graph).expect("written");
    assert_eq!((proto.ir_version, proto.opset_import[0].version), (Some(9), Some(20)));
    let encode = |proto: ModelProto| encode_onnx(proto, "unused", &WriteOptions::default()).expect("encoded").to_vec();
    let bytes = encode(proto.clone());
    assert_eq!(bytes, encode(to_proto(&graph).expect("written")));
    let back = read_onnx(bytes.into(), std::path::Path::new(".")).expect("read").graph;
    let parts = |graph: &Graph| -> Vec<(String, Operator)> {
        graph.nodes().map(|(_, node)| (node.name.clone(), node.operator.clone())).collect()
    };
    assert_eq!(parts(&back), parts(&graph));
    assert_eq!(back.parameter_count(), graph.parameter_count());
    assert_eq!(to_proto(&back).expect("written").graph.map(|graph| graph.node), proto.graph.map(|graph| graph.node));
}
