//! Networks that follow others: on samples of which nothing is known, mixed among each other, and never astray.
#![cfg(feature = "training")]

use otfuse_graph::{Graph, GraphBuilder, Operator, Tensor};
use otfuse_runtime::dataset::{DataSpec, Dataset, Split, Targets};
use otfuse_runtime::train::{
    Augmentation, Checkpoints, Distillation, Extras, Mixing, Optimizer, Schedule, TrainError, TrainSettings, Trained,
    Work, train, train_on,
};
use otfuse_runtime::{Answers, Executable, Host, Probabilities, mlp, predict_as};
use std::time::Duration;

fn digits() -> Dataset {
    "digits".parse::<DataSpec>().unwrap().load(Split::Train, Some(600), None).unwrap()
}

fn teachers(samples: &Dataset) -> Vec<Executable> {
    let settings = TrainSettings { epochs: 8, ..TrainSettings::default() };
    let trained = |seed| {
        let graph = mlp(&[64, 24, 10], seed).unwrap();
        train(&graph, samples, &settings, &Host::default(), &mut |_| {}).unwrap().graph
    };
    [1, 2].map(|seed| Executable::new(&trained(seed), &Host::default()).unwrap()).into()
}

fn follow(
    start: &Graph,
    samples: &Dataset,
    teachers: &[Executable],
    settings: &TrainSettings,
) -> Result<Trained, TrainError> {
    let distillation = Distillation { teachers, shares: &[], temperature: 2.0, weight: 1.0 };
    let extras = Extras { distillation: Some(distillation), start_counts: true, ..Extras::default() };
    train_on(start, samples, settings, extras, &Host::default(), &mut |_| {})
}

fn settings() -> TrainSettings {
    TrainSettings {
        epochs: 12,
        batch_size: 50,
        learning_rate: 0.05,
        schedule: Schedule::Cosine,
        optimizer: Optimizer::Sgd { momentum: 0.9, nesterov: true },
        mixing: Mixing { mixup: 1.0, cutmix: 0.0 },
        warm_up: 5,
        clip_norm: Some(5.0),
        average: 0.9,
        validation: 0.1,
        ..TrainSettings::default()
    }
}

fn bytes(graph: &Graph) -> Vec<Vec<u8>> {
    graph.initializers().map(|(_, tensor)| tensor.bytes().to_vec()).collect()
}

#[test]
fn a_network_follows_others_without_labels() {
    let labelled = digits();
    let teachers = teachers(&labelled);
    let values = labelled.samples(0..labelled.len());
    let unlabelled = Dataset::with_targets("unlabelled", vec![64], values, Targets::None).unwrap();
    let start = mlp(&[64, 24, 10], 9).unwrap();
    let found = follow(&start, &unlabelled, &teachers, &settings()).unwrap();
    let (before, best) = (found.start_divergence.unwrap(), found.best.unwrap());
    let after = found.history[best].divergence.unwrap();
    assert!(after.mean < 0.2 * before.mean, "{before:?} {after:?}");
    assert!(found.history.iter().all(|epoch| epoch.divergence.unwrap().mean >= after.mean));
    assert_eq!((found.start, found.history[0].validation, found.held_out), (None, None, 60));
    // What is held out is measured as it would be without this.
    let student = Executable::new(&found.graph, &Host::default()).unwrap();
    let answers = Answers::of(&found.graph, &unlabelled).unwrap();
    let said = |network| predict_as(network, &unlabelled, &answers, &mut |_, _| {}).unwrap();
    let mean = Probabilities::mean(&[said(&teachers[0]), said(&teachers[1])]).unwrap();
    assert!(mean.divergence(&said(&student)).unwrap().agreement.unwrap() > 0.85);
    // Labels make no difference, also where there are some.
    let known = follow(&start, &labelled, &teachers, &settings()).unwrap();
    assert_eq!(bytes(&known.graph), bytes(&found.graph));
}

#[test]
fn an_interrupted_distillation_ends_with_the_same_bytes() {
    let samples = digits();
    let teachers = teachers(&samples);
    let start = mlp(&[64, 24, 10], 9).unwrap();
    let settings = TrainSettings { epochs: 2, ..settings() };
    let run = |resume: Option<&[u8]>| {
        let mut states = Vec::new();
        let mut save = |bytes: &[u8]| {
            states.push(bytes.to_vec());
            Ok(())
        };
        let distillation = Distillation { teachers: &teachers, shares: &[0.25, 0.75], temperature: 2.0, weight: 1.0 };
        let checkpoints = Some(Checkpoints { resume, every: Duration::ZERO, save: &mut save });
        let extras = Extras { distillation: Some(distillation), checkpoints, start_counts: true, ..Extras::default() };
        let found = train_on(&start, &samples, &settings, extras, &Host::default(), &mut |_| {}).unwrap();
        (found, states)
    };
    let (whole, states) = run(None);
    for at in [3, 10, 15] {
        let (resumed, _) = run(Some(&states[at]));
        assert_eq!(bytes(&resumed.graph), bytes(&whole.graph), "state {at}");
        assert_eq!(resumed.history, whole.history);
    }
}

#[test]
fn a_training_that_goes_astray_ends_with_the_best_state() {
    let samples = digits();
    let teachers = teachers(&samples);
    let start = teachers[0].graph().clone();
    let astray = TrainSettings { learning_rate: 1e30, clip_norm: None, mixing: Mixing::default(), ..settings() };
    let found = follow(&start, &samples, &teachers, &astray).unwrap();
    assert!(found.diverged.is_some());
    assert_eq!((found.best, bytes(&found.graph)), (None, bytes(&start)));
    // From scratch there is nothing to fall back on.
    let settings = TrainSettings { validation: 0.0, ..astray };
    assert!(matches!(follow(&start, &samples, &teachers, &settings), Err(TrainError::Diverged { .. })));
}

#[test]
fn settings_out_of_range_are_refused() {
    let samples = digits();
    let start = mlp(&[64, 10], 0).unwrap();
    let refused = |settings: TrainSettings| {
        let found = train(&start, &samples, &settings, &Host::default(), &mut |_| {});
        match found {
            Err(TrainError::Setting { setting, .. }) => setting,
            Err(TrainError::Samples { .. }) => "samples",
            found => panic!("{:?}", found.map(|it| it.best)),
        }
    };
    let mixing = |mixup, cutmix| TrainSettings { mixing: Mixing { mixup, cutmix }, ..TrainSettings::default() };
    assert_eq!(refused(mixing(-1.0, 0.0)), "mixup");
    assert_eq!(refused(mixing(f64::NAN, 0.0)), "mixup");
    assert_eq!(refused(mixing(0.0, 1e9)), "cutmix");
    assert_eq!(refused(mixing(0.0, 1.0)), "samples");
    assert_eq!(refused(TrainSettings { average: 1.0, ..TrainSettings::default() }), "ema");
    assert_eq!(refused(TrainSettings { clip_norm: Some(0.0), ..TrainSettings::default() }), "clip_norm");
    let teachers = [Executable::new(&start, &Host::default()).unwrap()];
    let distillation = Distillation { teachers: &teachers, shares: &[0.5], temperature: 2.0, weight: 1.0 };
    let extras = Extras { distillation: Some(distillation), ..Extras::default() };
    let found = train_on(&start, &samples, &TrainSettings::default(), extras, &Host::default(), &mut |_| {});
    assert!(matches!(found, Err(TrainError::Setting { setting: "teachers", .. })));
}

#[test]
fn what_outputs_are_is_seen_from_the_network() {
    let none = |shape: &[usize]| {
        let values = vec![0.0; shape.iter().product::<usize>() * 3];
        Dataset::with_targets("none", shape.to_vec(), values, Targets::None).unwrap()
    };
    let recognised = |graph: &Graph, samples: &Dataset| {
        let found = Answers::recognised(&Executable::new(graph, &Host::default()).unwrap(), samples).unwrap();
        (found.is_numbers(), found.shape().to_vec())
    };
    assert_eq!(recognised(&mlp(&[4, 3], 0).unwrap(), &none(&[4])), (false, vec![]));
    assert_eq!(recognised(&mlp(&[4, 1], 0).unwrap(), &none(&[4])), (true, vec![1]));
    // Rows of numbers for each place are scores where a softmax says so.
    let network = |ends: bool| {
        let mut b = GraphBuilder::new("places");
        let x = b.input("x", &[None, Some(5), Some(4)]);
        let w = b.initializer("w", Tensor::from_f32(&[4, 7], vec![0.5; 28]));
        let mut y = b.node(Operator::MatMul, &[x, w]);
        if ends {
            y = b.node(Operator::Softmax { axis: -1 }, &[y]);
        }
        b.output(y);
        b.finish().unwrap()
    };
    assert_eq!(recognised(&network(false), &none(&[5, 4])), (true, vec![5, 7]));
    assert_eq!(recognised(&network(true), &none(&[5, 4])), (false, vec![5]));
}

#[test]
fn the_work_of_a_network_is_counted() {
    let samples = digits();
    let work = |graph: &Graph| Work::of(&Executable::new(graph, &Host::default()).unwrap(), &samples).unwrap();
    assert_eq!(work(&mlp(&[64, 24, 10], 0).unwrap()).multiply_adds, 64 * 24 + 24 * 10);
}

#[test]
fn images_are_changed_all_alike() {
    let images = Dataset::from_floats("images", vec![1, 2, 2], vec![1.0, 2.0, 3.0, 4.0], vec![0], 1).unwrap();
    let mirrored = Augmentation { crop: 0, flip: true }.changed(&images).unwrap();
    assert_eq!((mirrored.samples(0..1), mirrored.is_labelled()), (vec![2.0, 1.0, 4.0, 3.0], false));
    assert!(Augmentation { crop: 1, flip: false }.changed(&digits()).is_none());
}
