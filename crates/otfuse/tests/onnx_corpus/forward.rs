//! Outputs of whole networks equal onnxruntime's.

use std::path::Path;

use otfuse::runtime::{Host, run_graph};

use crate::collection::{collection, network};
use crate::golden::read;

#[test]
fn outputs_are_those_of_onnxruntime() {
    let Some(folder) = collection() else { return };
    let goldens = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/networks.json"));
    assert!(goldens.len() >= 40, "{} networks", goldens.len());
    let mut failures = Vec::new();
    for (name, golden) in goldens {
        let graph = network(&folder, &name);
        let start = std::time::Instant::now();
        let outcome = match run_graph(&graph, golden.inputs(), &Host::default()) {
            Ok(found) => golden.difference(&found),
            Err(error) => Err(error.to_string()),
        };
        let seconds = start.elapsed().as_secs_f64();
        eprintln!("{name}: {outcome:?} in {seconds:.2} s");
        if !outcome.as_ref().is_ok_and(|&difference| difference < 1e-4) {
            failures.push((name, outcome));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
