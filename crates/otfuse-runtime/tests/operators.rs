//! Every operator against onnxruntime: `golden/gen_operators.py` computes the same cases under the same names.

mod cases;

use std::collections::BTreeMap;

use otfuse_runtime::{Host, run_graph};
use serde_json::Value;

/// Runs one operator; returns what is wrong.
fn check(operator: otfuse_graph::Operator, case: &Value) -> Result<(), String> {
    let (graph, given) = cases::network(operator, case)?;
    let expected = case["outputs"].as_array().unwrap();
    let found = run_graph(&graph, given, &Host::default()).map_err(|error| error.to_string())?;
    for ((_, found), expected) in found.iter().zip(expected.iter().map(cases::tensor)) {
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
