//! Networks with random weights.

use otfuse_graph::{Graph, GraphBuilder, GraphError, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// A multilayer perceptron with rectifiers between its layers, and random weights.
///
/// `widths` are the lengths of the input, the hidden layers and the output: at least two, all positive. Weights
/// `fc1.weight`, `fc2.weight`, .. are uniform in `±sqrt(6 / inputs)` (He et al. 2015, equation 10), biases are 0. The
/// same seed gives the same weights everywhere.
pub fn mlp(widths: &[usize], seed: u64) -> Result<Graph, GraphError> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut builder = GraphBuilder::new("mlp");
    let mut x = builder.input("input", &[None, widths.first().copied()]);
    for (layer, pair) in widths.windows(2).enumerate() {
        let (inputs, outputs) = (pair[0], pair[1]);
        if layer > 0 {
            x = builder.relu(x);
        }
        let bound = (6.0 / inputs.max(1) as f32).sqrt();
        let weights = (0..inputs * outputs).map(|_| (2.0 * uniform(&mut random) - 1.0) * bound).collect();
        let name = format!("fc{}", layer + 1);
        let weight = builder.initializer(&format!("{name}.weight"), Tensor::from_f32(&[outputs, inputs], weights));
        let bias = builder.initializer(&format!("{name}.bias"), Tensor::from_f32(&[outputs], vec![0.0; outputs]));
        x = builder.linear(x, weight, Some(bias));
    }
    builder.output(x);
    builder.finish()
}

/// A number from 0 up to 1, a multiple of 2^-24.
fn uniform(random: &mut ChaCha8Rng) -> f32 {
    (random.next_u32() >> 8) as f32 / (1u32 << 24) as f32
}
