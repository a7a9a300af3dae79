//! Small networks, and what the tests ask of them.

use std::ops::ControlFlow;

use otfuse_fusion::{Fusion, FusionError, Merging, Networks, Progress, Settings, fuse};
use otfuse_graph::{Conv, Graph, GraphBuilder, NeuronGroups, Tensor, Window, permute};

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
pub fn residual(width: usize, seed: u64) -> Graph {
    let mut b = GraphBuilder::new("residual");
    let mut x = b.input("x", &[None, Some(3), Some(6), Some(6)]);
    let mut stem = None;
    for layer in 0..3_u64 {
        let inputs = if layer == 0 { 3 } else { width };
        let seed = seed * 1000 + 10 * layer;
        let shape = [width, inputs, 3, 3];
        let weight =
            b.initializer(&format!("{layer}.weight"), Tensor::from_f32(&shape, numbers(width * inputs * 9, seed)));
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

/// One linear layer without bias: a network without neurons that could be aligned.
pub fn layer(weight: &[f32]) -> Graph {
    let mut b = GraphBuilder::new("layer");
    let x = b.input("x", &[None, Some(weight.len())]);
    let weight = b.initializer("weight", Tensor::from_f32(&[1, weight.len()], weight.to_vec()));
    let y = b.linear(x, weight, None);
    b.output(y);
    b.finish().expect("a network")
}

/// The network with the neurons of every group in another order.
pub fn shuffled(graph: &Graph, seed: u64) -> Graph {
    let groups = NeuronGroups::of(graph).expect("groups");
    let order = |size: usize, seed: u64| {
        let keys = numbers(size, seed);
        let mut order: Vec<usize> = (0..size).collect();
        order.sort_by(|&a, &b| keys[a].total_cmp(&keys[b]));
        order
    };
    let orders: Vec<Vec<usize>> =
        groups.iter().map(|(id, group)| order(group.size, seed + id.index() as u64)).collect();
    permute(graph, &groups, &orders).expect("a network")
}

/// The network with every weight changed a little.
pub fn noisy(graph: &Graph, scale: f32, seed: u64) -> Graph {
    let ids: Vec<_> = graph.initializers().map(|(id, _)| id).collect();
    let mut editor = otfuse_graph::GraphEditor::edit(graph.clone());
    for id in ids {
        let tensor = graph.initializer(id).expect("a tensor");
        let values = tensor.to_f32().expect("floats");
        let noise = numbers(values.len(), seed * 1000 + id.index() as u64);
        let values = values.iter().zip(noise).map(|(value, noise)| value + scale * noise).collect();
        editor.set_tensor(id, Tensor::from_f32(tensor.shape(), values));
    }
    editor.finish().expect("a network")
}

/// Fuses models, the first being the anchor.
pub fn fused(models: &[&Graph], settings: &Settings, merge: &Merging) -> Result<Fusion, FusionError> {
    fuse(&Networks::new(models, 0)?, settings, merge, None, &go_on)
}

/// An observer that lets the work go on.
pub fn go_on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Shape and values of a tensor by its name.
pub fn tensor(graph: &Graph, name: &str) -> (Vec<usize>, Vec<f32>) {
    let found = graph.find_value(name).and_then(|id| graph.initializer(id)).expect("a tensor");
    (found.shape().to_vec(), found.to_f32().expect("floats"))
}

/// The largest difference of two networks of the same shapes, over all tensors.
pub fn difference(a: &Graph, b: &Graph) -> f32 {
    let mut worst = 0.0_f32;
    for (id, _) in a.initializers() {
        let name = &a.value(id).name;
        let ((of_a, a), (of_b, b)) = (tensor(a, name), tensor(b, name));
        assert_eq!(of_a, of_b, "{name}");
        worst = a.iter().zip(&b).fold(worst, |worst, (a, b)| worst.max((a - b).abs()));
    }
    worst
}

/// What an [`mlp`] of two layers computes for one sample.
pub fn computed(graph: &Graph, x: &[f32]) -> Vec<f32> {
    let layer = |number: usize, x: &[f32]| -> Vec<f32> {
        let ((_, weight), (_, bias)) =
            (tensor(graph, &format!("{number}.weight")), tensor(graph, &format!("{number}.bias")));
        let dot = |row: &[f32]| row.iter().zip(x).map(|(weight, x)| weight * x).sum::<f32>();
        weight.chunks_exact(x.len()).zip(bias).map(|(row, bias)| dot(row) + bias).collect()
    };
    let hidden: Vec<f32> = layer(0, x).into_iter().map(|value| value.max(0.0)).collect();
    layer(1, &hidden)
}
