use otfuse_graph::{Conv, GraphBuilder, Operator, PoolKind, Tensor, Unary, Window};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::batches::Batch;
use super::*;
use crate::host::Limits;
use crate::interpreter::Floats;

fn pattern(count: usize, seed: u64) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| random.next_u32() as f32 / u32::MAX as f32 - 0.5).collect()
}

/// Convolution in groups, batch normalisation, both pools, a skip connection and a linear layer. Smooth but for the
/// maxima, so that differences tell the gradient.
fn small_network() -> Graph {
    let mut b = GraphBuilder::new("small");
    let x = b.input("x", &[None, Some(2), Some(6), Some(6)]);
    let w = b.initializer("conv.weight", Tensor::from_f32(&[4, 1, 3, 3], pattern(36, 1)));
    let bias = b.initializer("conv.bias", Tensor::from_f32(&[4], pattern(4, 2)));
    let conv = Conv { groups: 2, window: Window::uniform(2, 1, 1) };
    let y = b.conv(x, w, Some(bias), conv);
    let parameters = [
        ("bn.scale", vec![1.0, 0.8, 1.2, 0.9]),
        ("bn.bias", vec![0.1, 0.0, -0.1, 0.2]),
        ("bn.mean", vec![0.0, 0.1, 0.0, -0.1]),
        ("bn.var", vec![0.5, 0.6, 0.7, 0.8]),
    ]
    .map(|(name, values)| b.initializer(name, Tensor::from_f32(&[4], values)));
    let y = b.batch_norm(y, parameters, 1e-5);
    let y = b.node(Operator::Unary(Unary::Tanh), &[y]);
    let pooled = b.pool(y, PoolKind::Max, 3, Window::uniform(2, 2, 1));
    let average = b.pool(y, PoolKind::Average, 3, Window::uniform(2, 2, 1));
    let y = b.add(pooled, average);
    let y = b.flatten(y);
    let w = b.initializer("fc.weight", Tensor::from_f32(&[3, 36], pattern(108, 3)));
    let y = b.linear(y, w, None);
    b.output(y);
    b.finish().unwrap()
}

#[test]
fn gradients_agree_with_finite_differences() {
    for batch_statistics in [false, true] {
        compare_with_differences(batch_statistics);
    }
}

fn compare_with_differences(batch_statistics: bool) {
    let graph = small_network();
    let (samples, labels) = (pattern(4 * 72, 4), [0, 1, 2, 1]);
    let device = burn_flex::FlexDevice;
    let dataset = Dataset::from_floats("four", vec![2, 6, 6], samples.clone(), labels.to_vec(), 3).unwrap();
    let answers = Answers::of(&graph, &dataset).unwrap();
    let mut model = Model::<Cpu>::new(&graph, answers, batch_statistics, &device, &Limits::default()).unwrap();
    let layout = SampleLayout::of(&graph, &dataset).unwrap();
    let inputs = layout.batch(samples, 4);
    let batch =
        || Batch { inputs: inputs.clone(), labels: labels.to_vec(), mixed: None, numbers: Vec::new(), count: 4 };
    let objective = Objective { label_smoothing: 0.1, distillation: None, own: None };
    let (_, gradients) = model.gradients(batch(), &objective).unwrap();
    let names: Vec<&str> = model.parameters.iter().map(|p| graph.value(p.id).name.as_str()).collect();
    assert_eq!(names, ["conv.weight", "conv.bias", "bn.scale", "bn.bias", "fc.weight"]);
    for (index, gradient) in gradients.into_iter().enumerate() {
        let gradient = Floats::<Cpu>::new(gradient.unwrap()).into_vec().unwrap();
        let shape = model.parameters[index].shape.clone();
        let values = Floats::<Cpu>::new(model.parameters[index].value.clone()).into_vec().unwrap();
        for at in (0..values.len()).step_by(5) {
            let mut loss_at = |offset: f32| {
                let mut moved = values.clone();
                moved[at] += offset;
                model.parameters[index].value = Floats::<Cpu>::from_vec(moved, &shape, &device).into_tensor();
                model.gradients(batch(), &objective).unwrap().0
            };
            let step = 2e-3;
            let difference = (loss_at(step) - loss_at(-step)) / (2.0 * step);
            let tolerance = 3e-4 + 0.01 * difference.abs();
            assert!(
                (difference - gradient[at]).abs() < tolerance,
                "{} [{at}]: {difference} by differences, {} by the tape",
                names[index],
                gradient[at]
            );
        }
        model.parameters[index].value = Floats::<Cpu>::from_vec(values, &shape, &device).into_tensor();
    }
}

#[test]
fn settings_are_checked() {
    let dataset = Dataset::from_floats("none", vec![4], Vec::new(), Vec::new(), 2).unwrap();
    let graph = crate::mlp(&[4, 2], 0).unwrap();
    let settings =
        TrainSettings { optimizer: Optimizer::Sgd { momentum: 1.0, nesterov: false }, ..TrainSettings::default() };
    let error = train(&graph, &dataset, &settings, &Host::default(), &mut |_| {}).unwrap_err();
    assert!(matches!(error, TrainError::Setting { setting: "momentum", .. }));
    let error = train(&graph, &dataset, &TrainSettings::default(), &Host::default(), &mut |_| {}).unwrap_err();
    assert_eq!(error, TrainError::NoSamples);
}
