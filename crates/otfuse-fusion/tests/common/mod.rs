//! Small networks for the tests of this crate.

use otfuse_graph::{Conv, Graph, GraphBuilder, Tensor, Window};

/// Numbers between -1 and 1, the same for the same seed.
pub fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Linear layers of the given widths with rectifiers between them.
pub fn mlp(widths: &[usize], seed: u64) -> Graph {
    let mut b = GraphBuilder::new("mlp");
    let mut x = b.input("x", &[None, Some(widths[0])]);
    for (layer, pair) in widths.windows(2).enumerate() {
        let seed = seed * 100 + 2 * layer as u64;
        let weight = Tensor::from_f32(&[pair[1], pair[0]], numbers(pair[0] * pair[1], seed));
        let weight = b.initializer(&format!("{layer}.weight"), weight);
        let bias = b.initializer(&format!("{layer}.bias"), Tensor::from_f32(&[pair[1]], numbers(pair[1], seed + 1)));
        x = b.linear(x, weight, Some(bias));
        if layer + 2 < widths.len() {
            x = b.relu(x);
        }
    }
    b.output(x);
    b.finish().expect("a network")
}

/// Two convolutions with batch normalisation around a shortcut, then a classifier.
#[allow(dead_code)]
pub fn residual(width: usize, seed: u64) -> Graph {
    let mut b = GraphBuilder::new("residual");
    let mut x = b.input("x", &[None, Some(3), Some(6), Some(6)]);
    let mut stem = None;
    for layer in 0..3_u64 {
        let inputs = if layer == 0 { 3 } else { width };
        let seed = seed * 1000 + 10 * layer;
        let shape = [width, inputs, 3, 3];
        let weight = b.initializer(&format!("{layer}.weight"), Tensor::from_f32(&shape, numbers(width * inputs * 9, seed)));
        x = b.conv(x, weight, None, Conv { groups: 1, window: Window::uniform(2, 1, 1) });
        let parameters = [0, 1, 2, 3].map(|kind| {
            let mut values = numbers(width, seed + 1 + kind);
            if kind % 3 == 0 {
                values.iter_mut().for_each(|value| *value = 1.0 + 0.5 * *value);
            }
            let name = format!("{layer}.{}", ["scale", "shift", "mean", "variance"][kind as usize]);
            b.initializer(&name, Tensor::from_f32(&[width], values))
        });
        x = b.batch_norm(x, parameters, 1e-5);
        x = match stem {
            Some(stem) if layer == 2 => b.add(x, stem),
            _ => x,
        };
        x = b.relu(x);
        stem = stem.or(Some(x));
    }
    x = b.global_average_pool(x);
    x = b.flatten(x);
    let weight = b.initializer("head.weight", Tensor::from_f32(&[4, width], numbers(4 * width, seed * 1000 + 99)));
    x = b.linear(x, weight, None);
    b.output(x);
    b.finish().expect("a network")
}
