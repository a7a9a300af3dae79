//! Floats of 16 bits: read, computed in float32, and given back as declared.

use std::collections::BTreeMap;

use otfuse_graph::{DataType, Declared, Dim, GraphEditor, Operator, Tensor, Unary};
use otfuse_runtime::{Host, run_graph, run_graph_f32};

fn cast(to: DataType, values: &[f32]) -> Vec<f32> {
    let mut editor = GraphEditor::new("cast");
    let shape = Some(vec![Dim::known(values.len())]);
    let x = editor.add_value("x", Some(Declared { data_type: DataType::F32, shape }));
    let (half, y) = (editor.add_value("half", None), editor.add_value("y", None));
    editor.add_input(x);
    editor.add_node("narrow", Operator::Cast { to }, vec![Some(x)], vec![Some(half)]);
    editor.add_node("widen", Operator::Cast { to: DataType::F32 }, vec![Some(half)], vec![Some(y)]);
    editor.add_output(y);
    let input = Tensor::from_f32(&[values.len()], values.to_vec());
    let found =
        run_graph(&editor.finish().unwrap(), BTreeMap::from([("x".to_owned(), input)]), &Host::default()).unwrap();
    found[0].1.to_f32().unwrap()
}

#[test]
fn casts_round_to_the_nearest_and_ties_to_even() {
    // float16 has 11 bits: above 2048 every other integer; above 65504 + 16 there is nothing.
    let found = cast(DataType::F16, &[2049.0, 2051.0, 65519.0, 65520.0, -65520.0, 1e-8, f32::INFINITY, 0.1]);
    let expected = [2048.0, 2052.0, 65504.0, f32::INFINITY, f32::NEG_INFINITY, 0.0, f32::INFINITY, 0.099_975_586];
    assert_eq!(found, expected);
    // bfloat16 has 8 bits.
    let found = cast(DataType::BF16, &[257.0, 259.0, 0.1, f32::NEG_INFINITY]);
    assert_eq!(found, [256.0, 260.0, 0.100_097_656, f32::NEG_INFINITY]);
    assert!(cast(DataType::F16, &[f32::NAN])[0].is_nan());
}

#[test]
fn outputs_have_the_type_of_the_graph() {
    for data_type in [DataType::F16, DataType::BF16, DataType::F64] {
        let mut editor = GraphEditor::new("halves");
        let shape = Some(vec![Dim::known(1), Dim::known(2)]);
        let x = editor.add_value("x", Some(Declared { data_type, shape }));
        editor.add_input(x);
        let w = editor.add_initializer("w", Tensor::from_f32_as(data_type, &[2, 2], vec![0.5, 1.0, -2.0, 4.0]));
        let (product, y) = (editor.add_value("product", None), editor.add_value("y", None));
        editor.add_node("product", Operator::MatMul, vec![Some(x), Some(w)], vec![Some(product)]);
        editor.add_node("relu", Operator::Unary(Unary::Relu), vec![Some(product)], vec![Some(y)]);
        editor.add_output(y);
        let graph = editor.finish().unwrap();
        let inputs = BTreeMap::from([("x".to_owned(), Tensor::from_f32_as(data_type, &[1, 2], vec![1.0, 0.25]))]);
        let typed = run_graph(&graph, inputs.clone(), &Host::default()).unwrap().remove(0).1;
        assert_eq!(typed, Tensor::from_f32_as(data_type, &[1, 2], vec![0.0, 2.0]));
        let computed = run_graph_f32(&graph, inputs, &Host::default()).unwrap().remove(0).1;
        assert_eq!(computed, Tensor::from_f32(&[1, 2], vec![0.0, 2.0]));
    }
}
