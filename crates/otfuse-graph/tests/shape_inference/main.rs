//! Shape inference, one module for each operator family. Lengths expected here are those that NumPy and PyTorch give.

mod constants;
mod declarations;
mod elementwise;
mod exporters;
mod hostile;
mod layout;
mod linear;
mod parts;
mod reduction;
mod substitution;
mod windows;

use otfuse_graph::{Dim, Facts, GraphBuilder, InferenceError, Mismatch, Shape, Tensor, ValueId};

/// The facts of a graph, and its outputs.
fn try_infer(build: impl FnOnce(&mut GraphBuilder) -> Vec<ValueId>) -> Result<(Facts, Vec<ValueId>), InferenceError> {
    let mut builder = GraphBuilder::new("test");
    for output in build(&mut builder) {
        builder.output(output);
    }
    let graph = builder.finish().unwrap();
    Ok((Facts::of(&graph)?, graph.outputs().to_vec()))
}

/// The shape of the one output, as text.
fn shape(build: impl FnOnce(&mut GraphBuilder) -> ValueId) -> String {
    let (facts, outputs) = try_infer(|b| vec![build(b)]).unwrap();
    format!("{:?}", facts.shape(outputs[0]).expect("the shape is known"))
}

/// The contents of the one output, as text.
fn elements(build: impl FnOnce(&mut GraphBuilder) -> ValueId) -> Option<String> {
    let (facts, outputs) = try_infer(|b| vec![build(b)]).unwrap();
    let elements = facts.fact(outputs[0]).elements.as_ref()?;
    let lengths: Vec<String> = elements
        .iter()
        .map(|element| {
            element.as_number().map_or_else(|| element.as_length().unwrap().to_string(), |number| number.to_string())
        })
        .collect();
    Some(lengths.join(" "))
}

/// What is wrong with a graph, and of which value.
fn mismatch(build: impl FnOnce(&mut GraphBuilder) -> ValueId) -> (Option<String>, Mismatch) {
    let error = try_infer(|b| vec![build(b)]).expect_err("the graph does not fit");
    assert!(error.to_string().starts_with(&format!("the node '{}'", error.node)), "{error}");
    (error.value, *error.mismatch)
}

/// Zeros under a name.
fn weight(b: &mut GraphBuilder, name: &str, shape: &[usize]) -> ValueId {
    b.initializer(name, Tensor::from_f32(shape, vec![0.0; shape.iter().product()]))
}

fn known(lengths: &[usize]) -> Shape {
    lengths.iter().copied().map(Dim::known).collect()
}
