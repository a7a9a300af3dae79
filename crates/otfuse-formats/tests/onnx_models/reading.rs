//! Every form of an operator is read as one.

use otfuse_formats::onnx::OnnxError;
use otfuse_formats::onnx::proto::{FunctionProto, GraphProto, TensorProto, ValueInfoProto};
use otfuse_graph::Operator;

use crate::support::{body, float, int, integers, ints, model, node, operators, read, try_read, weight};

#[test]
fn attributes_of_old_operators_become_inputs() {
    let slice = node("Slice", &["x"], &["a"], vec![ints("starts", &[0]), ints("ends", &[2]), ints("axes", &[1])]);
    let mean = node("ReduceMean", &["a"], &["b"], vec![ints("axes", &[3]), int("keepdims", 1)]);
    let squeeze = node("Squeeze", &["b"], &["c"], vec![ints("axes", &[3])]);
    let pad = node("Pad", &["c"], &["d"], vec![ints("pads", &[0, 0, 1, 0, 0, 1]), float("value", 0.5)]);
    let clip = node("Clip", &["d"], &["y"], vec![float("max", 6.0)]);
    let read = read(&model(9, &[1, 3, 4, 5], vec![slice, mean, squeeze, pad, clip], vec![]));
    assert_eq!(operators(&read), ["Slice", "ReduceMean", "Squeeze", "Pad", "Clip"]);
    assert_eq!(integers(&read, "Slice", 2), Some(vec![2]));
    assert_eq!(integers(&read, "ReduceMean", 1), Some(vec![3]));
    assert_eq!(integers(&read, "Squeeze", 1), Some(vec![3]));
    assert_eq!(integers(&read, "Pad", 1), Some(vec![0, 0, 1, 0, 0, 1]));
    let (_, clip) = read.graph.nodes().last().expect("nodes");
    assert_eq!((clip.name.as_str(), clip.input(1)), ("Clip_4", None));
    let limit = clip.input(2).and_then(|id| read.graph.initializer(id)).expect("a limit");
    assert_eq!(limit.to_f32(), Some(vec![6.0]));
}

#[test]
fn old_softmax_takes_several_axes_together() {
    let softmax = |rank: &[i64]| read(&model(11, rank, vec![node("Softmax", &["x"], &["y"], vec![])], vec![]));
    assert_eq!(operators(&softmax(&[-1, 10])), ["Softmax"]);
    let wide = softmax(&[-1, 3, 4]);
    assert!(operators(&wide).contains(&"Flatten") && operators(&wide).contains(&"Reshape"), "{:?}", operators(&wide));
    let new = read(&model(13, &[2, 3, 4], vec![node("Softmax", &["x"], &["y"], vec![int("axis", 1)])], vec![]));
    assert!(matches!(new.graph.nodes().next(), Some((_, node)) if node.operator == Operator::Softmax { axis: 1 }));
}

#[test]
fn old_broadcasting_lines_up_from_an_axis() {
    let attributes = || vec![int("broadcast", 1), int("axis", 1)];
    let add = model(6, &[2, 3, 4, 5], vec![node("Add", &["x", "b"], &["y"], attributes())], vec![weight("b", &[3])]);
    let found = read(&add);
    assert_eq!(operators(&found), ["Add"]);
    let bias = found.graph.find_value("b").expect("the name stays");
    assert_eq!(found.graph.initializer(bias).expect("a tensor").shape(), [3, 1, 1]);
    let written = found.template.write(&found.graph).expect("written").graph.expect("a graph");
    assert_eq!(written.initializer[0].dims, [3]);

    let unknown = model(6, &[], vec![node("Add", &["z", "b"], &["y"], attributes())], vec![weight("b", &[3])]);
    let error = try_read(&unknown).expect_err("z is unknown").to_string();
    assert!(error.contains("'Add_0' (Add)") && error.contains("axis 1"), "{error}");
}

#[test]
fn training_and_unknown_operators_are_opaque() {
    let parameters = ["s", "b", "m", "v"].map(|name| weight(name, &[3]));
    let inputs = ["x", "s", "b", "m", "v"];
    let norm = |attributes| {
        let node = node("BatchNormalization", &inputs, &["y"], attributes);
        read(&model(14, &[1, 3, 2, 2], vec![node], parameters.to_vec()))
    };
    let is_opaque = |model: &otfuse_formats::onnx::OnnxModel| {
        model.graph.nodes().any(|(_, node)| matches!(node.operator, Operator::Opaque { .. }))
    };
    assert!(!is_opaque(&norm(vec![float("epsilon", 1e-3)])));
    let training = norm(vec![int("training_mode", 1)]);
    assert!(
        training.graph.nodes().any(|(_, node)| matches!(node.operator, Operator::BatchNormalizationInTraining { .. }))
    );
    assert!(is_opaque(&norm(vec![int("from_the_future", 1)])));

    let mut own = model(18, &[1, 3], vec![node("Relu", &["x"], &["y"], vec![])], vec![]);
    assert!(!is_opaque(&read(&own)));
    own.functions.push(FunctionProto { name: Some("Relu".into()), ..FunctionProto::default() });
    assert!(is_opaque(&read(&own)));
    own.functions.clear();
    own.graph.as_mut().expect("a graph").node[0].domain = Some("com.example".into());
    assert!(is_opaque(&read(&own)));
}

#[test]
fn what_bodies_read_from_outside_is_an_input() {
    let output = |name: &str| vec![ValueInfoProto { name: Some(name.into()), ..ValueInfoProto::default() }];
    let then_branch = GraphProto {
        node: vec![node("MatMul", &["x", "w"], &["t"], vec![])],
        output: output("t"),
        ..GraphProto::default()
    };
    let else_branch = GraphProto {
        node: vec![node("Identity", &["x"], &["e"], vec![])],
        output: output("e"),
        ..GraphProto::default()
    };
    let branches = vec![body("then_branch", then_branch), body("else_branch", else_branch)];
    let condition = TensorProto { data_type: Some(9), int32_data: vec![1], ..weight("c", &[1]) };
    let condition = TensorProto { float_data: vec![], ..condition };
    let found =
        read(&model(18, &[1, 2], vec![node("If", &["c"], &["y"], branches)], vec![weight("w", &[2, 2]), condition]));
    let (_, node) = found.graph.nodes().next().expect("a node");
    let names: Vec<_> = node.inputs.iter().flatten().map(|&id| found.graph.value(id).name.as_str()).collect();
    assert_eq!(names, ["c", "x", "w"]);
    let written = found.template.write(&found.graph).expect("written").graph.expect("a graph");
    assert_eq!(written.node[0].input, ["c"]);
    assert_eq!(written.initializer.len(), 2);
}

#[test]
fn dropout_is_nothing_unless_its_mask_is_read() {
    let dropped = |outputs: &[&str], last| {
        let nodes = vec![node("Dropout", &["x"], outputs, vec![]), node("Relu", &[last], &["y"], vec![])];
        operators(&read(&model(13, &[1, 2], nodes, vec![]))).join(" ")
    };
    assert_eq!(dropped(&["a", "mask"], "a"), "Relu");
    let nodes =
        vec![node("Dropout", &["x"], &["a", "mask"], vec![]), node("Cast", &["mask"], &["y"], vec![int("to", 1)])];
    assert_eq!(operators(&read(&model(13, &[1, 2], nodes, vec![]))), ["Dropout", "Cast"]);
}

#[test]
fn weights_without_a_counterpart_are_refused_if_read() {
    let small = TensorProto { data_type: Some(17), float_data: vec![], int32_data: vec![0; 4], ..weight("w", &[2, 2]) };
    let product = |operator: &str| {
        try_read(&model(18, &[1, 2], vec![node(operator, &["x", "w"], &["y"], vec![])], vec![small.clone()]))
    };
    let error = product("MatMul").expect_err("no float8").to_string();
    assert!(error.contains("'w'") && error.contains("float8e4m3fn") && error.contains("MatMul_0"), "{error}");
    let aside = product("Unique").expect("kept aside");
    assert_eq!(operators(&aside), ["Constant", "Unique"]);
    let written = aside.template.write(&aside.graph).expect("written").graph.expect("a graph");
    assert_eq!((written.node.len(), &written.initializer[0]), (1, &small));
}

#[test]
fn broken_models_name_the_place() {
    let error = |model: &_| try_read(model).expect_err("a broken model");
    let twice = model(18, &[1], vec![node("Relu", &["x"], &["y"], vec![])], vec![weight("w", &[1]), weight("w", &[1])]);
    assert!(matches!(error(&twice), OnnxError::Name { name, found: 2, .. } if name == "w"));
    let missing = model(18, &[1], vec![node("Relu", &["nowhere"], &["y"], vec![])], vec![]);
    assert!(error(&missing).to_string().contains("nowhere"));
    let kind = model(18, &[1, 2], vec![node("Flatten", &["x"], &["y"], vec![float("axis", 1.0)])], vec![]);
    assert!(matches!(error(&kind), OnnxError::Attribute { attribute, .. } if attribute == "axis"));
    let arity = model(18, &[1, 2], vec![node("MatMul", &["x"], &["y"], vec![])], vec![]);
    assert!(error(&arity).to_string().contains("MatMul_0"));
    let stride = vec![ints("kernel_shape", &[2, 2]), ints("strides", &[0, 1])];
    let stride = model(18, &[1, 1, 4, 4], vec![node("MaxPool", &["x"], &["y"], stride)], vec![]);
    assert!(matches!(error(&stride), OnnxError::Attribute { attribute, .. } if attribute == "strides"));
    let shapes = model(18, &[1, 2], vec![node("MatMul", &["x", "w"], &["y"], vec![])], vec![weight("w", &[3, 2])]);
    assert!(matches!(error(&shapes), OnnxError::Inference(_)));
}

#[test]
fn weights_inside_of_bodies_are_weights_and_go_back() {
    let output = |name: &str| vec![ValueInfoProto { name: Some(name.into()), ..ValueInfoProto::default() }];
    let branch = |weight_name: &str, result: &str| GraphProto {
        node: vec![node("MatMul", &["x", weight_name], &[result], vec![])],
        initializer: vec![weight(weight_name, &[2, 2])],
        output: output(result),
        ..GraphProto::default()
    };
    let branches = vec![body("then_branch", branch("w", "t")), body("else_branch", branch("w", "e"))];
    let condition = TensorProto { data_type: Some(9), int32_data: vec![1], float_data: vec![], ..weight("c", &[1]) };
    let found = read(&model(18, &[1, 2], vec![node("If", &["c"], &["y"], branches)], vec![condition]));
    assert_eq!(found.graph.parameter_count(), 8);
    let names: Vec<String> = found
        .graph
        .initializers()
        .filter(|(id, _)| found.graph.is_weight(*id))
        .map(|(id, _)| found.graph.value(id).name.clone())
        .collect();
    assert_eq!(names, ["w", "w_1"]);
    let mut editor = otfuse_graph::GraphEditor::edit(found.graph.clone());
    let second = editor.find("w_1").expect("the weight of the other branch");
    editor.set_tensor(second, otfuse_graph::Tensor::from_f32(&[2, 2], vec![9.0; 4]));
    let written = found.template.write(&editor.finish().expect("a graph")).expect("written").graph.expect("a graph");
    let inside =
        |attribute: usize| written.node[0].attribute[attribute].g.as_ref().expect("a body").initializer[0].clone();
    assert_ne!(inside(0), inside(1));
    assert_eq!(written.initializer.len(), 1);
}

#[test]
fn equal_constants_get_apart() {
    let zeros = TensorProto { float_data: vec![0.0; 3], ..weight("z", &[3]) };
    let nodes = vec![node("Add", &["x", "z"], &["a"], vec![]), node("Add", &["a", "z"], &["y"], vec![])];
    let found = read(&model(18, &[1, 3], nodes.clone(), vec![zeros]));
    assert_eq!(found.template.copies(), [("z_2".to_owned(), "z".to_owned())]);
    assert_eq!(found.graph.initializers().len(), 2);
    // Others may well be one tensor on purpose.
    let tied = TensorProto { float_data: vec![0.0, 1.0, 2.0], ..weight("z", &[3]) };
    assert_eq!(read(&model(18, &[1, 3], nodes, vec![tied])).graph.initializers().len(), 1);
}

#[test]
fn parts_of_a_sequence_are_slices() {
    let int64 = |name: &str, values: &[i64], shape: &[i64]| TensorProto {
        name: Some(name.into()),
        data_type: Some(7),
        dims: shape.to_vec(),
        int64_data: values.to_vec(),
        ..TensorProto::default()
    };
    let nodes = |index: &'static str| {
        vec![
            node("SplitToSequence", &["x", "parts"], &["s"], vec![int("axis", 1)]),
            node("SequenceAt", &["s", index], &["y"], vec![]),
        ]
    };
    let constants = || vec![int64("parts", &[2, 3], &[2]), int64("one", &[1], &[]), int64("five", &[5], &[])];
    assert_eq!(operators(&read(&model(18, &[1, 5], nodes("one"), constants()))), ["Slice"]);
    assert_eq!(operators(&read(&model(18, &[1, 5], nodes("five"), constants()))), ["SplitToSequence", "SequenceAt"]);
}

#[test]
fn a_cast_like_another_value_is_a_cast() {
    let nodes = vec![node("CastLike", &["w", "x"], &["a"], vec![]), node("Add", &["x", "a"], &["y"], vec![])];
    assert_eq!(operators(&read(&model(18, &[1, 3], nodes, vec![weight("w", &[3])]))), ["Cast", "Add"]);
}
