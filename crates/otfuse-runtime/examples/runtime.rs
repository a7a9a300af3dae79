//! Times the execution and the training of two networks on random data, and prints seconds as JSON.
//!
//! usage: runtime NETWORK WORK [--batch N] [--repeat N] [--device cpu|cuda|wgpu]
//!
//! NETWORK is `vgg11` (3 x 32 x 32 inputs, no bias, no normalisation, one linear layer) or `mlp`
//! (784-400-200-100-10 with biases); WORK is `forward` or `train` (a step of stochastic gradient descent with
//! momentum 0.9). `--batch` defaults to 100 for `forward`, else to 128 for `vgg11` and 64 for `mlp`.

#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::time::Instant;

use otfuse_graph::{Conv, Graph, GraphBuilder, Tensor, Window};
use otfuse_runtime::dataset::Dataset;
use otfuse_runtime::train::{TrainSettings, train};
use otfuse_runtime::{Device, Executable, Host, mlp};

/// As in the `otfuse` command.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Numbers from -scale to scale.
fn numbers(count: usize, scale: f32) -> Vec<f32> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| scale * next()).collect()
}

/// VGG11 as in the paper. The weights keep the activations' size (He et al. 2015).
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
        let count = width * channels * 9;
        let weight = Tensor::from_f32(&[width, channels, 3, 3], numbers(count, (6.0 / (channels * 9) as f32).sqrt()));
        let weight = b.initializer(&format!("conv{layer}.weight"), weight);
        let y = b.conv(x, weight, None, Conv { groups: 1, window: Window::uniform(2, 1, 1) });
        x = b.relu(y);
        channels = width;
    }
    let x = b.flatten(x);
    let weight = b.initializer("fc.weight", Tensor::from_f32(&[10, 512], numbers(5120, 0.1)));
    let y = b.linear(x, weight, None);
    b.output(y);
    b.finish().expect("a valid graph")
}

/// Seconds of each of `repeat` passes over a batch, after one that does not count.
fn forward(graph: &Graph, shape: &[usize], batch: usize, repeat: usize, host: &Host) -> Vec<f64> {
    let executable = Executable::new(graph, host).expect("a valid graph");
    let shape = [&[batch], shape].concat();
    let input = Tensor::from_f32(&shape, numbers(shape.iter().product(), 1.0));
    let once = || {
        let start = Instant::now();
        executable.run(&[(graph.inputs()[0], input.clone())], &[]).expect("outputs");
        start.elapsed().as_secs_f64()
    };
    once();
    (0..repeat).map(|_| once()).collect()
}

/// Seconds of each of `repeat` steps, after one that does not count.
fn steps(graph: &Graph, shape: &[usize], batch: usize, repeat: usize, host: &Host) -> Vec<f64> {
    let values = numbers(batch * shape.iter().product::<usize>(), 1.0);
    let labels = (0..batch as u32).map(|at| at % 10).collect();
    let dataset = Dataset::from_floats("random", shape.to_vec(), values, labels, 10).expect("as many values as labels");
    // An epoch is one step.
    let settings =
        TrainSettings { epochs: repeat + 1, batch_size: batch, learning_rate: 1e-4, ..TrainSettings::default() };
    let (mut seconds, mut last) = (Vec::new(), Instant::now());
    train(graph, &dataset, &settings, host, &mut |_| {
        seconds.push(last.elapsed().as_secs_f64());
        last = Instant::now();
    })
    .expect("training");
    seconds.split_off(1)
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        Some(arguments.get(at + 1)?.parse::<usize>().expect("a number"))
    };
    let named = arguments.iter().position(|argument| argument == "--device");
    let name = named.and_then(|at| arguments.get(at + 1)).map_or("cpu", String::as_str);
    let host = Host::new(Device::open(name).expect("a device"));
    let (network, work) = match arguments.as_slice() {
        [network, work, ..] => (network.as_str(), work.as_str()),
        _ => panic!("expected a network (vgg11, mlp) and work (forward, train)"),
    };
    let (graph, shape, batch) = match network {
        "vgg11" => (vgg11(), vec![3, 32, 32], 128),
        "mlp" => (mlp(&[784, 400, 200, 100, 10], 0).expect("a valid graph"), vec![784], 64),
        other => panic!("expected vgg11 or mlp, found {other}"),
    };
    let repeat = option("--repeat").unwrap_or(5);
    let (batch, mut seconds) = match work {
        "forward" => {
            let batch = option("--batch").unwrap_or(100);
            (batch, forward(&graph, &shape, batch, repeat, &host))
        }
        "train" => {
            let batch = option("--batch").unwrap_or(batch);
            (batch, steps(&graph, &shape, batch, repeat, &host))
        }
        other => panic!("expected forward or train, found {other}"),
    };
    seconds.sort_by(f64::total_cmp);
    let median = seconds[seconds.len() / 2];
    let report = BTreeMap::from([("batch", batch as f64), ("seconds", median), ("least", seconds[0])]);
    println!("{}", serde_json::to_string(&report).expect("numbers"));
}
