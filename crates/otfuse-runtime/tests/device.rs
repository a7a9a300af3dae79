//! GPUs against the CPU: forward and training, where the crate is built with the feature and the machine has a device.
#![cfg(feature = "training")]
#![cfg(any(feature = "cuda", feature = "wgpu"))]

mod cases;

use std::collections::BTreeMap;

use otfuse_graph::{Conv, Graph, GraphBuilder, Tensor, ValueId, Window};
use otfuse_runtime::dataset::Dataset;
use otfuse_runtime::train::{Extras, TrainSettings, train_on};
use otfuse_runtime::{Device, Executable, Host, initialised, mlp};

/// The devices that are there; says which are not.
#[allow(clippy::print_stderr)]
fn devices() -> Vec<Device> {
    let open = |name| Device::open(name).map_err(|error| eprintln!("skipped: {error}")).ok();
    ["cuda", "wgpu"].into_iter().filter_map(open).collect()
}

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|k| (12.9898 + 0.618 * k as f64).sin() as f32).collect()
}

/// Convolutions, batch normalisation, pooling, a short cut.
fn convolutional() -> Graph {
    let mut b = GraphBuilder::new("network");
    let mut x = b.input("x", &[None, Some(3), Some(8), Some(8)]);
    let weights = |b: &mut GraphBuilder, name: &str, shape: &[usize]| {
        b.initializer(name, Tensor::from_f32(shape, vec![0.0; shape.iter().product()]))
    };
    for (layer, inputs) in [(0, 3), (1, 8)] {
        let w = weights(&mut b, &format!("conv{layer}"), &[8, inputs, 3, 3]);
        let y = b.conv(x, w, None, Conv { groups: 1, window: Window::uniform(2, 1, 1) });
        let norm = ["scale", "bias", "mean", "variance"].map(|part| weights(&mut b, &format!("{part}{layer}"), &[8]));
        let y = b.batch_norm(y, norm, 1e-5);
        let y = b.relu(y);
        x = if layer == 0 { b.max_pool(y, 2) } else { b.add(x, y) };
    }
    let x = b.global_average_pool(x);
    let x = b.flatten(x);
    let (w, bias) = (weights(&mut b, "fc", &[4, 8]), weights(&mut b, "fc_bias", &[4]));
    let y = b.linear(x, w, Some(bias));
    b.output(y);
    initialised(&b.finish().unwrap(), 1).unwrap()
}

fn assert_close(what: &str, found: &Tensor, expected: &Tensor) {
    let (found, expected) = (found.to_f32().unwrap(), expected.to_f32().unwrap());
    let scale = expected.iter().fold(1.0f32, |most, value| most.max(value.abs()));
    for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert!((found - expected).abs() <= 1e-3 * scale, "{what}, element {at}: expected {expected}, found {found}");
    }
}

#[test]
fn networks_agree_with_the_cpu() {
    for device in devices() {
        for (graph, shape) in [(mlp(&[12, 16, 8, 4], 0).unwrap(), vec![12]), (convolutional(), vec![3, 8, 8])] {
            let count: usize = shape.iter().product();
            let batch = Tensor::from_f32(&[&[6], shape.as_slice()].concat(), numbers(6 * count));
            let outputs = |device: &Device| -> BTreeMap<ValueId, Tensor> {
                let executable = Executable::new(&graph, &Host::new(device.clone())).unwrap();
                executable.run(&[(graph.inputs()[0], batch.clone())], &[]).unwrap()
            };
            let (found, expected) = (outputs(&device), outputs(&Device::cpu()));
            found.iter().for_each(|(id, found)| assert_close(&format!("{device}: output"), found, &expected[id]));

            let labels = (0..40).map(|index| index % 4).collect();
            let samples = Dataset::from_floats("samples", shape, numbers(40 * count), labels, 4).unwrap();
            let settings = TrainSettings { epochs: 3, batch_size: 8, learning_rate: 0.05, ..TrainSettings::default() };
            let trained = |device: &Device| {
                train_on(&graph, &samples, &settings, Extras::default(), &Host::new(device.clone()), &mut |_| {})
                    .unwrap()
                    .graph
            };
            let (found, expected) = (trained(&device), trained(&Device::cpu()));
            for ((id, found), (_, expected)) in found.initializers().zip(expected.initializers()) {
                assert_close(&format!("{device}: {}", graph.value(id).name), found, expected);
            }
        }
    }
}

#[test]
fn operators_agree_with_the_cpu() {
    let golden: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(include_str!("golden/operators.json")).unwrap();
    for device in devices() {
        for (name, operator) in cases::operators() {
            let (graph, given) = cases::network(operator, &golden[name]).unwrap();
            let by_name = |name: &String| *graph.inputs().iter().find(|&&id| graph.value(id).name == *name).unwrap();
            let inputs: Vec<_> = given.iter().map(|(name, tensor)| (by_name(name), tensor.clone())).collect();
            let run = |device: &Device| {
                Executable::new(&graph, &Host::new(device.clone())).and_then(|executable| executable.run(&inputs, &[]))
            };
            let (found, expected) =
                (run(&device).unwrap_or_else(|error| panic!("{name}: {error}")), run(&Device::cpu()).unwrap());
            for (id, expected) in &expected {
                match expected.data_type().is_float() {
                    true => assert_close(&format!("{device}: {name}"), &found[id], expected),
                    false => assert_eq!(found[id].to_i64(), expected.to_i64(), "{device}: {name}"),
                }
            }
        }
    }
}
