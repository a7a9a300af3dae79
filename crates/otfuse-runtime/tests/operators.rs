//! Every operator against onnxruntime: `golden/gen_operators.py` computes the same cases under the same names.

mod cases;

use std::collections::BTreeMap;

use otfuse_graph::{DataType, GraphEditor, Tensor};
use otfuse_runtime::run_graph;
use serde_json::Value;

fn tensor(value: &Value) -> Tensor {
    let shape: Vec<usize> =
        value["shape"].as_array().unwrap().iter().map(|dim| dim.as_u64().unwrap() as usize).collect();
    let data = value["data"].as_array().unwrap();
    match value["type"].as_str().unwrap() {
        "float32" => {
            let numbers = data.iter().map(|number| number.as_f64().unwrap() as f32);
            Tensor::from_f32(&shape, numbers.collect())
        }
        "int64" => Tensor::from_i64(&shape, data.iter().map(|number| number.as_i64().unwrap()).collect()),
        other => {
            let data_type = if other == "bool" { DataType::Bool } else { DataType::U8 };
            let bytes: Vec<u8> = data.iter().map(|number| number.as_u64().unwrap() as u8).collect();
            Tensor::new(data_type, shape, bytes.into()).unwrap()
        }
    }
}

/// Runs one operator; returns what is wrong.
fn check(operator: otfuse_graph::Operator, case: &Value) -> Result<(), String> {
    let mut editor = GraphEditor::new("case");
    let mut inputs = Vec::new();
    let mut given = BTreeMap::new();
    for (index, input) in case["inputs"].as_array().unwrap().iter().enumerate() {
        if input.is_null() {
            inputs.push(None);
            continue;
        }
        let name = format!("i{index}");
        let value = editor.add_value(&name, None);
        editor.add_input(value);
        inputs.push(Some(value));
        given.insert(name, tensor(input));
    }
    let expected = case["outputs"].as_array().unwrap();
    let outputs: Vec<_> = (0..expected.len()).map(|index| editor.add_value(format!("o{index}"), None)).collect();
    outputs.iter().for_each(|&output| editor.add_output(output));
    editor.add_node("node", operator, inputs, outputs.into_iter().map(Some).collect());
    let graph = editor.finish().map_err(|error| error.to_string())?;
    let found = run_graph(&graph, given).map_err(|error| error.to_string())?;
    for ((_, found), expected) in found.iter().zip(expected.iter().map(tensor)) {
        if found.shape() != expected.shape() || found.data_type() != expected.data_type() {
            return Err(format!("expected {expected:?}, found {found:?}"));
        }
        if let (Some(found), Some(expected)) = (found.to_f32(), expected.to_f32()) {
            for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let close = (found - expected).abs() <= 2e-6 + 2e-6 * expected.abs().max(1.0);
                if !close && found != expected && !(found.is_nan() && expected.is_nan()) {
                    return Err(format!("element {at}: expected {expected}, found {found}"));
                }
            }
        } else if found.to_i64() != expected.to_i64() {
            return Err(format!("expected {:?}, found {:?}", expected.to_i64(), found.to_i64()));
        }
    }
    Ok(())
}

#[test]
fn operators_agree_with_onnxruntime() {
    let golden: BTreeMap<String, Value> = serde_json::from_str(include_str!("golden/operators.json")).unwrap();
    let mut operators = cases::operators();
    let mut wrong = Vec::new();
    for (name, case) in &golden {
        match operators.remove(name.as_str()) {
            None => wrong.push(format!("{name}: no operator")),
            Some(operator) => {
                if let Err(error) = check(operator, case) {
                    wrong.push(format!("{name}: {error}"));
                }
            }
        }
    }
    wrong.extend(operators.keys().map(|name| format!("{name}: no golden values")));
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), golden.len(), wrong.join("\n"));
}
