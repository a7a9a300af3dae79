//! A way of merging of one's own. Two networks are aligned as usual; what becomes of two aligned weights is up to the
//! [`Merge`].
//!
//! ```sh
//! cargo run --release --example own_merge
//! ```
#![allow(clippy::print_stdout)]

use std::ops::ControlFlow;

use otfuse::fusion::{FusionError, Mean, Merge, Networks, Settings, Source, fuse};
use otfuse::graph::Graph;
use otfuse::runtime::mlp;

/// The mean in which every element counts by its size, `sum_k w_k |x_k| x_k / sum_k w_k |x_k|`: where one network has a strong
/// weight and the other next to none, the strong one stays.
#[derive(Debug)]
struct ByMagnitude;

impl Merge for ByMagnitude {
    fn name(&self) -> &'static str {
        "magnitude"
    }

    /// Any weights will do. A method for two models, say, would refuse others here, before any work is done.
    fn check(&self, _: &[f64]) -> Result<(), FusionError> {
        Ok(())
    }

    /// Every element is merged by itself, so that large tensors can come piece by piece and need little memory.
    fn works_in_pieces(&self) -> bool {
        true
    }

    fn tensor(&self, length: usize, weights: &[f64], aligned: Source<'_>) -> Result<Vec<f64>, FusionError> {
        let (mut sum, mut shares) = (vec![0.0; length], vec![0.0; length]);
        for (model, &weight) in weights.iter().enumerate() {
            for ((sum, share), value) in sum.iter_mut().zip(&mut shares).zip(aligned(model)?) {
                let value = f64::from(value);
                *sum += weight * value.abs() * value;
                *share += weight * value.abs();
            }
        }
        // Where all weights are 0, so is the result.
        Ok(sum.iter().zip(&shares).map(|(sum, share)| if *share > 0.0 { sum / share } else { 0.0 }).collect())
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
    let merged = |merge: &dyn Merge| fuse(&networks, &settings, merge, None, &|_| ControlFlow::Continue(()));
    let (mean, own) = (merged(&Mean)?.graph, merged(&ByMagnitude)?.graph);
    println!("{:<12} {:>8} {:>8} {:>8}   norms", "weight", "anchor", "mean", "own");
    for (((name, anchor), (_, mean)), (_, own)) in norms(&b).into_iter().zip(norms(&mean)).zip(norms(&own)) {
        println!("{name:<12} {anchor:>8.3} {mean:>8.3} {own:>8.3}");
    }
    Ok(())
}
