//! Training against PyTorch (`golden/gen_training.py`), and what is promised of it besides.
#![cfg(feature = "training")]

use std::collections::BTreeMap;
use std::time::Duration;

use otfuse_graph::{Conv, Graph, GraphBuilder, Tensor, Window};
use otfuse_runtime::dataset::Dataset;
use otfuse_runtime::train::{
    Augmentation, Checkpoints, Distillation, Extras, Optimizer, Schedule, TrainError, TrainSettings, Trained, train,
    train_on,
};
use otfuse_runtime::{Executable, Host};
use serde_json::Value;

fn numbers(count: usize, seed: usize, scale: f64, offset: f64) -> Vec<f32> {
    (0..count).map(|k| (offset + scale * (12.9898 * seed as f64 + 0.618 * k as f64).sin()) as f32).collect()
}

/// Convolution, batch normalisation, ReLU and a linear layer; the names are PyTorch's.
fn network(seed: usize) -> Graph {
    let mut b = GraphBuilder::new("network");
    let x = b.input("x", &[None, Some(2), Some(4), Some(4)]);
    let tensor = |b: &mut GraphBuilder, name: &str, shape: &[usize], at: usize, scale: f64, offset: f64| {
        b.initializer(name, Tensor::from_f32(shape, numbers(shape.iter().product(), seed + at, scale, offset)))
    };
    let w = tensor(&mut b, "0.weight", &[4, 2, 3, 3], 0, 0.4, 0.0);
    let y = b.conv(x, w, None, Conv { groups: 1, window: Window::uniform(2, 1, 1) });
    let scale = tensor(&mut b, "1.weight", &[4], 1, 0.3, 1.0);
    let bias = tensor(&mut b, "1.bias", &[4], 2, 0.2, 0.0);
    let mean = b.initializer("1.running_mean", Tensor::from_f32(&[4], vec![0.0; 4]));
    let variance = b.initializer("1.running_var", Tensor::from_f32(&[4], vec![1.0; 4]));
    let y = b.batch_norm(y, [scale, bias, mean, variance], 1e-5);
    let y = b.relu(y);
    let y = b.flatten(y);
    let w = tensor(&mut b, "4.weight", &[3, 64], 3, 0.2, 0.0);
    let bias = tensor(&mut b, "4.bias", &[3], 4, 0.1, 0.0);
    let y = b.linear(y, w, Some(bias));
    b.output(y);
    b.finish().unwrap()
}

fn samples(count: usize) -> Dataset {
    let labels = (0..count as u32).map(|index| index % 3).collect();
    Dataset::from_floats("samples", vec![2, 4, 4], numbers(count * 32, 50, 1.0, 0.0), labels, 3).unwrap()
}

/// Six steps, each over all nine samples.
fn settings(optimizer: Optimizer) -> TrainSettings {
    TrainSettings { epochs: 6, batch_size: 9, learning_rate: 0.1, optimizer, ..TrainSettings::default() }
}

fn sgd(momentum: f64, nesterov: bool) -> TrainSettings {
    settings(Optimizer::Sgd { momentum, nesterov })
}

fn cases() -> Vec<(&'static str, TrainSettings)> {
    let (betas, epsilon) = ((0.9, 0.999), 1e-8);
    let adam = TrainSettings { learning_rate: 0.01, ..settings(Optimizer::Adam { betas, epsilon }) };
    let adamw = TrainSettings { learning_rate: 0.01, ..settings(Optimizer::AdamW { betas, epsilon }) };
    let scheduled = |schedule| TrainSettings { schedule, ..sgd(0.0, false) };
    vec![
        ("sgd", sgd(0.0, false)),
        ("momentum", TrainSettings { weight_decay: 0.01, ..sgd(0.9, false) }),
        ("nesterov", sgd(0.9, true)),
        ("adam", TrainSettings { weight_decay: 0.01, ..adam }),
        ("adamw", TrainSettings { weight_decay: 0.1, ..adamw }),
        ("step", scheduled(Schedule::Step { epochs: 2, factor: 0.5 })),
        ("cosine", scheduled(Schedule::Cosine)),
        ("onecycle", scheduled(Schedule::OneCycle { warmup: 0.5 })),
        ("smoothing", TrainSettings { label_smoothing: 0.2, ..sgd(0.0, false) }),
        ("distillation", sgd(0.0, false)),
    ]
}

fn weights(graph: &Graph) -> BTreeMap<String, Vec<f32>> {
    graph.initializers().map(|(id, tensor)| (graph.value(id).name.clone(), tensor.to_f32().unwrap())).collect()
}

#[test]
fn steps_agree_with_pytorch() {
    let golden: BTreeMap<String, Value> = serde_json::from_str(include_str!("golden/training.json")).unwrap();
    let host = Host::default();
    let teachers = [Executable::new(&network(20), &host).unwrap()];
    for (name, settings) in cases() {
        let teachers = if name == "distillation" { &teachers[..] } else { &[] };
        let distillation = Distillation { teachers, shares: &[], temperature: 3.0, weight: 0.7 };
        let extras = Extras { distillation: (!teachers.is_empty()).then_some(distillation), ..Extras::default() };
        let trained = train_on(&network(1), &samples(9), &settings, extras, &host, &mut |_| {}).unwrap();
        let loss = golden[name]["loss"].as_f64().unwrap();
        assert!((trained.history[5].loss - loss).abs() < 1e-4 * loss.abs().max(1.0), "{name}: {loss}");
        let found = weights(&trained.graph);
        for (weight, expected) in golden[name]["weights"].as_object().unwrap() {
            for (found, expected) in found[weight].iter().zip(expected.as_array().unwrap()) {
                let expected = expected.as_f64().unwrap() as f32;
                assert!((found - expected).abs() < 2e-4, "{name}, {weight}: expected {expected}, found {found}");
            }
        }
    }
}

/// Small batches, augmentation, momentum, a validation split: everything that there is to be resumed.
fn busy() -> TrainSettings {
    TrainSettings {
        epochs: 3,
        batch_size: 4,
        learning_rate: 0.05,
        augmentation: Augmentation { crop: 1, flip: true },
        validation: 0.2,
        ..TrainSettings::default()
    }
}

fn trained(settings: &TrainSettings, resume: Option<&[u8]>) -> (Result<Trained, TrainError>, Vec<Vec<u8>>) {
    let mut states = Vec::new();
    let mut save = |bytes: &[u8]| {
        states.push(bytes.to_vec());
        Ok(())
    };
    let checkpoints = Checkpoints { resume, every: Duration::ZERO, save: &mut save };
    let extras = Extras { checkpoints: Some(checkpoints), ..Extras::default() };
    let host = Host::default();
    let result = train_on(&network(1), &samples(40), settings, extras, &host, &mut |_| {});
    (result, states)
}

#[test]
fn interrupted_training_ends_with_the_same_bytes() {
    let (whole, states) = trained(&busy(), None);
    let whole = whole.unwrap();
    assert_eq!((states.len(), whole.held_out, whole.history.len()), (3 * 8, 8, 3));
    for at in [0, 6, 7, 8, 20, 23] {
        let (resumed, _) = trained(&busy(), Some(&states[at]));
        let resumed = resumed.unwrap();
        assert_eq!(weights(&resumed.graph), weights(&whole.graph), "state {at}");
        assert_eq!((resumed.history, resumed.best), (whole.history.clone(), whole.best));
    }
    let adam = Optimizer::Adam { betas: (0.9, 0.999), epsilon: 1e-8 };
    let settings = TrainSettings { optimizer: adam, learning_rate: 1e-3, schedule: Schedule::Cosine, ..busy() };
    let (whole, states) = trained(&settings, None);
    let (resumed, _) = trained(&settings, Some(&states[11]));
    assert_eq!(weights(&resumed.unwrap().graph), weights(&whole.unwrap().graph));
}

#[test]
fn foreign_states_are_refused() {
    let (_, states) = trained(&busy(), None);
    let other = TrainSettings { learning_rate: 0.06, ..busy() };
    let refused = |settings: &TrainSettings, bytes: &[u8]| match trained(settings, Some(bytes)).0 {
        Err(TrainError::State { .. }) => {}
        other => panic!("{other:?}"),
    };
    refused(&other, &states[3]);
    for length in [0, 4, 100, states[3].len() - 1] {
        refused(&busy(), &states[3][..length]);
    }
}

#[test]
fn the_best_epoch_is_kept() {
    let (result, _) = trained(&busy(), None);
    let result = result.unwrap();
    let key = |epoch: usize| {
        let validation = result.history[epoch].validation.unwrap();
        (validation.accuracy, -validation.loss)
    };
    let best = result.best.unwrap();
    assert!((0..3).all(|epoch| key(best) >= key(epoch)));
    let last =
        train(&network(1), &samples(40), &TrainSettings { validation: 0.0, ..busy() }, &Host::default(), &mut |_| {})
            .unwrap();
    assert_eq!((last.best, last.held_out), (Some(2), 0));
}

#[test]
fn a_failing_save_ends_training() {
    let mut save = |_: &[u8]| Err("the disk is full".to_owned());
    let checkpoints = Checkpoints { resume: None, every: Duration::ZERO, save: &mut save };
    let extras = Extras { checkpoints: Some(checkpoints), ..Extras::default() };
    let host = Host::default();
    let result = train_on(&network(1), &samples(40), &busy(), extras, &host, &mut |_| {});
    assert_eq!(result.unwrap_err(), TrainError::Save("the disk is full".into()));
}
