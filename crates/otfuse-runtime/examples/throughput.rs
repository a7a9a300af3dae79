//! Images a second: VGG11 forward on 3 x 32 x 32 images, and training of a perceptron on 784 inputs.
//!
//! usage: cargo run --release --example throughput

#![allow(clippy::print_stdout)]

use std::time::Instant;

use otfuse_graph::{Conv, Graph, GraphBuilder, Tensor, Window};
use otfuse_runtime::dataset::Dataset;
use otfuse_runtime::train::{TrainSettings, train};
use otfuse_runtime::{Default32, DefaultDevice, Executable, mlp, predict};

/// VGG11 without bias and normalisation, with one linear layer.
fn vgg11() -> Graph {
    let mut b = GraphBuilder::new("vgg11");
    let mut x = b.input("x", &[None, Some(3), Some(32), Some(32)]);
    let (mut channels, mut layer) = (3, 0);
    for width in [64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0] {
        if width == 0 {
            x = b.max_pool(x, 2);
            continue;
        }
        layer += 1;
        let weight = Tensor::from_f32(&[width, channels, 3, 3], pattern(width * channels * 9));
        let weight = b.initializer(&format!("conv{layer}.weight"), weight);
        let conv = Conv { groups: 1, window: Window::uniform(2, 1, 1) };
        let y = b.conv(x, weight, None, conv);
        x = b.relu(y);
        channels = width;
    }
    let x = b.flatten(x);
    let weight = b.initializer("fc.weight", Tensor::from_f32(&[10, 512], pattern(5120)));
    let y = b.linear(x, weight, None);
    b.output(y);
    b.finish().expect("a valid graph")
}

fn pattern(count: usize) -> Vec<f32> {
    (0..count).map(|at| ((at * 7919 + 13) % 1009) as f32 / 10_090.0 - 0.05).collect()
}

fn images(count: usize, shape: &[usize]) -> Dataset {
    let labels = (0..count as u32).map(|at| at % 10).collect();
    let values = pattern(count * shape.iter().product::<usize>());
    Dataset::from_floats("pattern", shape.to_vec(), values, labels, 10).expect("as many values as labels")
}

fn main() {
    let dataset = images(1024, &[3, 32, 32]);
    let executable = Executable::<Default32>::new(&vgg11(), &DefaultDevice::default()).expect("a valid graph");
    for _ in 0..3 {
        let start = Instant::now();
        predict(&executable, &dataset, &mut |_, _| {}).expect("scores");
        println!("VGG11 forward: {:.0} images/s", 1024.0 / start.elapsed().as_secs_f64());
    }
    let dataset = images(12_800, &[784]);
    let graph = mlp(&[784, 400, 200, 100, 10], 0).expect("a valid graph");
    let settings = TrainSettings { epochs: 1, batch_size: 128, learning_rate: 0.01, ..TrainSettings::default() };
    for _ in 0..3 {
        let start = Instant::now();
        train(&graph, &dataset, &settings, &mut |_| {}).expect("training");
        println!("MLP training: {:.0} images/s", 12_800.0 / start.elapsed().as_secs_f64());
    }
}
