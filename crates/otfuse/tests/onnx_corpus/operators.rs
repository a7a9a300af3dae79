//! Single operators against onnxruntime, on demand:
//!
//! ```sh
//! python crates/otfuse/tests/golden/reference.py operators ../shared/onnx operators.json
//! OTFUSE_OPERATORS=$PWD/operators.json cargo test --test onnx_corpus -- --ignored --nocapture operators
//! ```

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use otfuse::formats::onnx::open_onnx;
use otfuse::graph::{DataType, Operator};
use otfuse::runtime::run_graph;

use crate::collection::collection;
use crate::golden::{Golden, read};

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Equal,
    /// Not read, for a reason.
    Unread,
    /// An operator that is not among those of the graph.
    Unsupported,
    /// Refused, although all operators are known.
    Refused,
    Panicked,
    Wrong,
}

fn outcome(path: &Path, golden: &Golden) -> (Outcome, String) {
    let graph = match open_onnx(path) {
        Ok(model) => model.graph,
        Err(error) => return (Outcome::Unread, error.to_string()),
    };
    let opaque = graph.nodes().find(|(_, node)| matches!(node.operator, Operator::Opaque { .. }));
    match run_graph(&graph, golden.inputs()) {
        Ok(found) => match golden.difference(&found) {
            // Computed in float32 whatever the type: halves are rounded more coarsely by the reference.
            Ok(difference) if difference < tolerance(golden) => (Outcome::Equal, String::new()),
            Ok(difference) => (Outcome::Wrong, format!("differs by {difference:.3e}")),
            Err(problem) => (Outcome::Wrong, problem),
        },
        Err(error) if opaque.is_some() => (Outcome::Unsupported, error.to_string()),
        Err(error) => (Outcome::Refused, error.to_string()),
    }
}

fn tolerance(golden: &Golden) -> f64 {
    let is_half = |data_type: DataType| data_type.is_float() && data_type.size() == 2;
    if golden.inputs.iter().any(|input| is_half(input.data_type)) { 4e-3 } else { 1e-4 }
}

#[test]
#[ignore = "needs what onnxruntime computes on the files"]
fn single_operators_are_those_of_onnxruntime() {
    let Some(folder) = collection() else { return };
    let Some(path) = std::env::var_os("OTFUSE_OPERATORS") else {
        eprintln!("skipped: OTFUSE_OPERATORS names no file");
        return;
    };
    let mut counts = BTreeMap::new();
    for (name, golden) in read(Path::new(&path)) {
        let (outcome, text) = catch_unwind(AssertUnwindSafe(|| outcome(&folder.join(&name), &golden)))
            .unwrap_or((Outcome::Panicked, String::new()));
        *counts.entry(outcome).or_insert(0) += 1;
        if outcome != Outcome::Equal {
            eprintln!("{outcome:?} {name}: {text}");
        }
    }
    eprintln!("{counts:?}");
    assert_eq!(counts.get(&Outcome::Wrong), None);
    assert_eq!(counts.get(&Outcome::Panicked), None);
}
