//! Outputs against those of the `transformers` library.

use otfuse::runtime::{Host, run_graph};

use crate::tiny::{Tiny, all};

/// The largest difference between an output and what is expected.
fn error(tiny: &Tiny) -> Result<f32, String> {
    let (_folder, model) = tiny.open();
    let found = run_graph(&model.graph, tiny.inputs.clone(), &Host::default()).map_err(|error| error.to_string())?;
    let mut worst = 0.0_f32;
    for (name, expected) in &tiny.outputs {
        let output = found.iter().find(|(found, _)| found == name).ok_or_else(|| format!("no output '{name}'"))?;
        let values = output.1.to_f32().unwrap();
        if values.len() != expected.len() {
            return Err(format!("'{name}' has shape {:?}", output.1.shape()));
        }
        for (found, expected) in values.iter().zip(expected) {
            let error = (found - expected).abs() / expected.abs().max(1.0);
            worst = if error.is_nan() { f32::INFINITY } else { worst.max(error) };
        }
    }
    Ok(worst)
}

#[test]
fn outputs_are_those_of_the_library() {
    let failed: Vec<String> = all()
        .iter()
        .filter_map(|tiny| match error(tiny) {
            Ok(error) if error <= 1e-4 => None,
            Ok(error) => Some(format!("{}: {error:e}", tiny.name)),
            Err(error) => Some(format!("{}: {error}", tiny.name)),
        })
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
}
