//! Gradients of every operator against PyTorch: `golden/gen_gradients.py` computes them for the inputs of
//! `golden/operators.json`.
#![cfg(feature = "training")]

mod cases;

use std::collections::BTreeMap;

use otfuse_graph::{Operator, Tensor};
use otfuse_runtime::Host;
use otfuse_runtime::train::vector_jacobian_product;
use serde_json::Value;

/// Compares the gradients of one operator; returns what is wrong.
fn check(operator: Operator, case: &Value, expected: &Value) -> Result<(), String> {
    let (graph, given) = cases::network(operator, case)?;
    let by_name = |name: &String| *graph.inputs().iter().find(|&&id| graph.value(id).name == *name).unwrap();
    let inputs: Vec<_> = given.iter().map(|(name, tensor)| (by_name(name), tensor.clone())).collect();
    let shape = cases::tensor(&case["outputs"][0]).shape().to_vec();
    let count: usize = shape.iter().product();
    let cotangent = Tensor::from_f32(&shape, (1..=count).map(|k| (k as f64).cos() as f32).collect());
    let by: Vec<_> = inputs.iter().map(|(id, _)| *id).collect();
    let cotangents = [(graph.outputs()[0], cotangent)];
    let host = Host::default();
    let found = vector_jacobian_product(&graph, &inputs, &cotangents, &by, &host);
    let found = found.map_err(|error| error.to_string())?;
    for (index, expected) in expected.as_array().unwrap().iter().enumerate() {
        let Some(expected) = expected.as_array() else { continue };
        let id = by_name(&format!("i{index}"));
        let zeros = || vec![0.0; expected.len()];
        let found = found[&id].as_ref().map_or_else(zeros, |gradient| gradient.to_f32().unwrap());
        for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
            let expected = expected.as_f64().unwrap() as f32;
            if (found - expected).abs() > 2e-5 * expected.abs().max(1.0) {
                return Err(format!("input {index}, element {at}: expected {expected}, found {found}"));
            }
        }
    }
    Ok(())
}

#[test]
fn gradients_agree_with_pytorch() {
    let read = |text| -> BTreeMap<String, Value> { serde_json::from_str(text).unwrap() };
    let inputs = read(include_str!("golden/operators.json"));
    let golden = read(include_str!("golden/gradients.json"));
    let mut operators = cases::operators();
    let mut wrong = Vec::new();
    for (name, expected) in &golden {
        let operator = operators.remove(name.as_str()).unwrap();
        if let Err(error) = check(operator, &inputs[name], expected) {
            wrong.push(format!("{name}: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), golden.len(), wrong.join("\n"));
}
