//! The same bytes whatever the number of threads: the same work in processes with one, two and five threads.
#![cfg(feature = "training")]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::process::Command;

use otfuse_graph::{Conv, Graph, GraphBuilder, PoolKind, Tensor, Window};
use otfuse_runtime::dataset::{DataSpec, Dataset, Split};
use otfuse_runtime::train::{Augmentation, Distillation, Extras, Mixing, TrainSettings, train, train_on};
use otfuse_runtime::{Executable, Host, mlp, predict};

const VARIABLE: &str = "OTFUSE_TEST_DETERMINISM";

fn pattern(count: usize) -> Vec<f32> {
    (0..count).map(|at| ((at * 7919 + 13) % 1009) as f32 / 1009.0 - 0.5).collect()
}

/// Layers large enough that the backend uses several threads for each kind of product.
fn convolutional() -> Graph {
    let mut b = GraphBuilder::new("convolutional");
    let x = b.input("x", &[None, Some(3), Some(16), Some(16)]);
    let weight = |b: &mut GraphBuilder, name: &str, shape: &[usize]| {
        let scale = 4.0 / shape[1..].iter().product::<usize>() as f32;
        let values = pattern(shape.iter().product()).into_iter().map(|value| value * scale.sqrt());
        b.initializer(name, Tensor::from_f32(shape, values.collect()))
    };
    let padded = || Conv { groups: 1, window: Window::uniform(2, 1, 1) };
    let w = weight(&mut b, "a", &[32, 3, 3, 3]);
    let y = b.conv(x, w, None, padded());
    let y = b.relu(y);
    let w = weight(&mut b, "b", &[64, 32, 3, 3]);
    let y = b.conv(y, w, None, padded());
    let y = b.relu(y);
    let y = b.max_pool(y, 2);
    let w = weight(&mut b, "c", &[64, 1, 3, 3]);
    let depthwise = Conv { groups: 64, window: Window::uniform(2, 1, 1) };
    let y = b.conv(y, w, None, depthwise);
    let y = b.pool(y, PoolKind::Average, 3, Window::uniform(2, 2, 1));
    let y = b.flatten(y);
    let w = weight(&mut b, "d", &[10, 1024]);
    let y = b.linear(y, w, None);
    b.output(y);
    b.finish().unwrap()
}

fn work() -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut hash_graph = |graph: &Graph| {
        for (_, tensor) in graph.initializers() {
            tensor.bytes().hash(&mut hasher);
        }
    };
    let settings = TrainSettings { epochs: 1, learning_rate: 0.01, ..TrainSettings::default() };
    let digits = "digits".parse::<DataSpec>().unwrap().load(Split::Train, None, None).unwrap();
    let perceptron =
        train(&mlp(&[64, 400, 300, 10], 3).unwrap(), &digits, &settings, &Host::default(), &mut |_| {}).unwrap().graph;
    hash_graph(&perceptron);
    let labels = (0..96).map(|at| at % 10).collect();
    let images = Dataset::from_floats("images", vec![3, 16, 16], pattern(96 * 768), labels, 10).unwrap();
    let network = train(&convolutional(), &images, &settings, &Host::default(), &mut |_| {}).unwrap().graph;
    hash_graph(&network);
    let teachers = [Executable::new(&network, &Host::default()).unwrap()];
    let following = TrainSettings {
        augmentation: Augmentation { crop: 2, flip: true },
        mixing: Mixing { mixup: 1.0, cutmix: 0.5 },
        clip_norm: Some(0.1),
        average: 0.9,
        validation: 0.1,
        ..settings.clone()
    };
    let distillation = Distillation { teachers: &teachers, shares: &[], temperature: 2.0, weight: 1.0 };
    let extras = Extras { distillation: Some(distillation), ..Extras::default() };
    let follower = train_on(&convolutional(), &images, &following, extras, &Host::default(), &mut |_| {}).unwrap();
    hash_graph(&follower.graph);
    for (graph, dataset) in [(&perceptron, &digits), (&network, &images)] {
        let executable = Executable::new(graph, &Host::default()).unwrap();
        let probabilities = predict(&executable, dataset, &mut |_, _| {}).unwrap();
        probabilities.logarithms().iter().for_each(|value| value.to_bits().hash(&mut hasher));
    }
    hasher.finish()
}

#[test]
#[allow(clippy::print_stdout)]
fn threads_do_not_change_results() {
    if std::env::var_os(VARIABLE).is_some() {
        println!("\nresult {}", work());
        return;
    }
    let results = ["1", "2", "5"].map(|threads| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "threads_do_not_change_results", "--nocapture"])
            .env(VARIABLE, "1")
            .env("RAYON_NUM_THREADS", threads)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find(|line| line.starts_with("result ")).map(str::to_owned);
        line.unwrap_or_else(|| panic!("no result: {text}"))
    });
    assert_eq!(results[0], results[1]);
    assert_eq!(results[0], results[2]);
}
