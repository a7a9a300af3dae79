use std::ops::ControlFlow;

use otfuse_graph::{Conv, Graph, GraphBuilder, Operator, Tensor, Unary, Window};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::gradient::{Classifier, Weights};
use super::*;
use crate::host::Limits;
use crate::{Cpu, Host};

fn pattern(count: usize, seed: u64) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| random.next_u32() as f32 / u32::MAX as f32 - 0.5).collect()
}

/// A convolution with a normalisation, smooth, and a linear layer.
fn classifier() -> Graph {
    let mut b = GraphBuilder::new("small");
    let x = b.input("x", &[None, Some(1), Some(6), Some(6)]);
    let w = b.initializer("conv.weight", Tensor::from_f32(&[4, 1, 3, 3], pattern(36, 1)));
    let y = b.conv(x, w, None, Conv { groups: 1, window: Window::uniform(2, 1, 1) });
    let parameters = [
        ("bn.scale", vec![1.0, 0.8, 1.2, 0.9]),
        ("bn.bias", vec![0.1, 0.0, -0.1, 0.2]),
        ("bn.mean", vec![0.0, 0.1, 0.0, -0.1]),
        ("bn.var", vec![0.5, 0.6, 0.07, 0.08]),
    ]
    .map(|(name, values)| b.initializer(name, Tensor::from_f32(&[4], values)));
    let y = b.batch_norm(y, parameters, 1e-5);
    let y = b.node(Operator::Unary(Unary::Tanh), &[y]);
    let y = b.flatten(y);
    let w = b.initializer("fc.weight", Tensor::from_f32(&[3, 144], pattern(432, 3)));
    let y = b.linear(y, w, None);
    b.output(y);
    b.finish().unwrap()
}

#[test]
fn the_gradient_by_the_input_agrees_with_differences() {
    let graph = classifier();
    let network = Classifier::<Cpu>::new(&graph, &burn_flex::FlexDevice, &Limits::default()).unwrap();
    let (x, shape, classes) = (pattern(3 * 36, 4), [3, 1, 6, 6], [2, 0, 1]);
    for weights in [Weights { class: 1.0, statistics: 0.0 }, Weights { class: 0.5, statistics: 0.7 }] {
        let slope = |x: Vec<f32>| network.slope(x, &shape, &classes, weights).unwrap();
        let found = slope(x.clone()).by_input;
        for at in (0..x.len()).step_by(7) {
            let loss_at = |offset: f32| {
                let mut moved = x.clone();
                moved[at] += offset;
                slope(moved).loss
            };
            let difference = (loss_at(2e-3) - loss_at(-2e-3)) / 4e-3;
            let tolerance = 5e-4 + 0.01 * difference.abs();
            assert!((difference - f64::from(found[at])).abs() < tolerance, "[{at}] {difference} {}", found[at]);
        }
    }
}

#[test]
fn what_descends_comes_into_its_class_on_any_number_of_threads() {
    let graph = classifier();
    let form = Descending { shape: vec![1, 6, 6], image: Some([1, 6, 6]), channels_last: false };
    let (start, classes) = (pattern(12 * 36, 5), (0..12).map(|at| at % 3).collect::<Vec<u32>>());
    let settings = DescentSettings {
        steps: 40,
        rate: 0.1,
        class: 1.0,
        statistics: 0.1,
        variation: 0.1,
        norm: 0.01,
        shift: 1,
        flip: false,
        seed: 3,
    };
    let run = |steps: usize| {
        let settings = DescentSettings { steps, ..settings };
        let mut losses = Vec::new();
        let made =
            descend(&[&graph, &graph], &form, start.clone(), &classes, &settings, &Host::default(), &mut |_, loss| {
                losses.push(loss);
                ControlFlow::Continue(())
            });
        (made.unwrap().unwrap(), losses)
    };
    let (made, losses) = run(40);
    assert_eq!(losses.len(), 40);
    assert!(losses[39] < 0.5 * losses[0], "{losses:?}");
    assert_eq!(run(0).0, start);
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert!(pool.install(|| run(40).0) == made, "{threads}");
    }
}

#[test]
fn samples_of_another_size_are_refused() {
    let form = Descending { shape: vec![1, 6, 6], image: None, channels_last: false };
    let settings = DescentSettings {
        steps: 1,
        rate: 0.1,
        class: 1.0,
        statistics: 0.0,
        variation: 0.0,
        norm: 0.0,
        shift: 0,
        flip: false,
        seed: 0,
    };
    let run = |start: Vec<f32>, classes: &[u32]| {
        let mut go = |_, _| ControlFlow::Continue(());
        descend(&[&classifier()], &form, start, classes, &settings, &Host::default(), &mut go)
    };
    assert!(matches!(run(vec![0.0; 35], &[0]), Err(crate::RuntimeError::Samples { .. })));
    assert!(matches!(run(vec![0.0; 36], &[7]), Err(crate::RuntimeError::Output { .. })));
}
