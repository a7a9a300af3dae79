//! A way of merging of one's own. Two networks are aligned as usual; what becomes of two aligned weights is up to the
//! [`Merge`].
//!
//! ```sh
//! cargo run --release --example own_merge
//! ```
#![allow(clippy::print_stdout)]

use std::ops::ControlFlow;

use otfuse::fusion::merge::{Base, Finish, Merge, Operands, Parameter};
use otfuse::fusion::{FusionError, Merging, Networks, Settings, fuse};
use otfuse::graph::Graph;
use otfuse::runtime::mlp;

/// The mean in which every element counts by its size, `sum_k w_k |x_k| x_k / sum_k w_k |x_k|`: where one network has a strong
/// weight and the other next to none, the strong one stays.
#[derive(Debug)]
struct ByMagnitude;

/// What it is told of each model.
const WEIGHT: Parameter = Parameter::of_model("weight", None, (0.0, f64::MAX), "how much the model counts");

impl Merge for ByMagnitude {
    fn name(&self) -> &'static str {
        "magnitude"
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[WEIGHT]
    }

    fn base(&self) -> Base {
        Base::Unused
    }

    /// Every element is merged by itself, so that large tensors can come piece by piece and need little memory.
    fn is_elementwise(&self) -> bool {
        true
    }

    fn prepare<'a>(&self, tensor: &'a Operands<'a>) -> Result<Finish<'a>, FusionError> {
        // Whole tensors could be looked at here; elements are made block by block.
        Ok(Box::new(move |first, into| {
            let (mut values, mut shares) = (vec![0.0; into.len()], vec![0.0; into.len()]);
            into.fill(0.0);
            for model in tensor.others() {
                let weight = tensor.of_model(model, &WEIGHT);
                tensor.read(model, first, &mut values)?;
                for ((sum, share), value) in into.iter_mut().zip(&mut shares).zip(&values) {
                    *sum += weight * value.abs() * value;
                    *share += weight * value.abs();
                }
            }
            // Where all weights are 0, so is the result.
            into.iter_mut().zip(&shares).for_each(|(sum, share)| *sum = if *share > 0.0 { *sum / share } else { 0.0 });
            Ok(())
        }))
    }
}

/// The norm of each weight.
fn norms(graph: &Graph) -> Vec<(String, f64)> {
    let weights = graph.initializers().filter(|(id, _)| graph.is_weight(*id));
    let norm = |values: Vec<f32>| values.into_iter().map(|value| f64::from(value).powi(2)).sum::<f64>().sqrt();
    weights.filter_map(|(id, tensor)| Some((graph.value(id).name.clone(), norm(tensor.to_f32()?)))).collect()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (a, b) = (mlp(&[8, 32, 16, 4], 1)?, mlp(&[8, 32, 16, 4], 2)?);
    // The second is the anchor: the first one's neurons are brought into its order.
    let networks = Networks::new(&[&a, &b], 1)?;
    let settings = Settings::converged();
    let merged = |merge: &Merging| fuse(&networks, &settings, merge, None, &|_| ControlFlow::Continue(()));
    let (mean, own) = (merged(&Merging::mean())?.graph, merged(&Merging::of(&ByMagnitude))?.graph);
    println!("{:<12} {:>8} {:>8} {:>8}   norms", "weight", "anchor", "mean", "own");
    for (((name, anchor), (_, mean)), (_, own)) in norms(&b).into_iter().zip(norms(&mean)).zip(norms(&own)) {
        println!("{name:<12} {anchor:>8.3} {mean:>8.3} {own:>8.3}");
    }
    Ok(())
}
