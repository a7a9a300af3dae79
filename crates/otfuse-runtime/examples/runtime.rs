//! Times the execution and the training of a network on random data, and prints seconds as JSON.
//!
//! usage: runtime FILE.onnx WORK [--batch N] [--repeat N] [--device cpu|cuda|wgpu]
//!
//! WORK is `forward` or `train` (a step of stochastic gradient descent with momentum 0.9 on one of ten classes). Open lengths of the
//! inputs are `--batch`, 100 by default; whole numbers among the inputs are below 1,000.

#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use otfuse_formats::onnx::open_onnx;
use otfuse_graph::{Dim, Graph, Tensor, ValueId};
use otfuse_runtime::dataset::Dataset;
use otfuse_runtime::train::{TrainSettings, train};
use otfuse_runtime::{Device, Executable, Host};

/// As in the `otfuse` command.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Whole numbers, as if drawn.
fn drawn(count: usize) -> impl Iterator<Item = u32> {
    let mut state = 1_u64;
    let next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as u32
    };
    std::iter::repeat_with(next).take(count)
}

/// Numbers from -1 to 1.
fn numbers(count: usize) -> Vec<f32> {
    drawn(count).map(|value| value as f32 / (1 << 23) as f32 - 1.0).collect()
}

/// The lengths of an input of a batch.
fn shape(graph: &Graph, input: ValueId, batch: usize) -> Vec<usize> {
    let declared = graph.value(input).declared.as_ref().expect("inputs are declared");
    let lengths = declared.shape.as_ref().expect("inputs have a shape");
    let length = |length: &Dim| length.as_known().unwrap_or(batch);
    lengths.iter().map(length).collect()
}

fn tensor(graph: &Graph, input: ValueId, batch: usize) -> Tensor {
    let shape = shape(graph, input, batch);
    let count = shape.iter().product();
    let declared = graph.value(input).declared.as_ref().expect("inputs are declared");
    match declared.data_type.is_float() {
        true => Tensor::from_f32(&shape, numbers(count)),
        false => Tensor::from_i64(&shape, drawn(count).map(|value| i64::from(value % 1000)).collect()),
    }
}

/// Seconds of each of `repeat` passes over a batch, after one that does not count.
fn forward(graph: &Graph, batch: usize, repeat: usize, host: &Host) -> Vec<f64> {
    let executable = Executable::new(graph, host).expect("a valid graph");
    let inputs: Vec<(ValueId, Tensor)> =
        graph.inputs().iter().map(|&input| (input, tensor(graph, input, batch))).collect();
    let once = || {
        let start = Instant::now();
        executable.run(&inputs, &[]).expect("outputs");
        start.elapsed().as_secs_f64()
    };
    once();
    (0..repeat).map(|_| once()).collect()
}

/// Seconds of each of `repeat` steps, after one that does not count.
fn steps(graph: &Graph, batch: usize, repeat: usize, host: &Host) -> Vec<f64> {
    let shape = shape(graph, graph.inputs()[0], batch);
    let labels = (0..batch as u32).map(|at| at % 10).collect();
    let dataset = Dataset::from_floats("random", shape[1..].to_vec(), numbers(shape.iter().product()), labels, 10)
        .expect("as many values as labels");
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
        arguments.get(at + 1)
    };
    let number = |name: &str, default: usize| option(name).map_or(default, |text| text.parse().expect("a number"));
    let host = Host::new(Device::open(option("--device").map_or("cpu", String::as_str)).expect("a device"));
    let [file, work, ..] = arguments.as_slice() else { panic!("expected a file and work (forward, train)") };
    let graph = open_onnx(Path::new(file)).expect("a network").graph;
    let (batch, repeat) = (number("--batch", 100), number("--repeat", 5));
    let mut seconds = match work.as_str() {
        "forward" => forward(&graph, batch, repeat, &host),
        "train" => steps(&graph, batch, repeat, &host),
        other => panic!("expected forward or train, found {other}"),
    };
    seconds.sort_by(f64::total_cmp);
    let median = seconds[seconds.len() / 2];
    let report = BTreeMap::from([("batch", batch as f64), ("seconds", median), ("least", seconds[0])]);
    println!("{}", serde_json::to_string(&report).expect("numbers"));
}
