//! How much what a network says depends on each weight.

use std::collections::BTreeMap;

use burn_autodiff::Autodiff;
use burn_backend::AutodiffBackend;
use burn_backend::ops::FloatTensorOps;
use burn_backend::tensor::FloatTensor;
use otfuse_graph::{Graph, Tensor, ValueId};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::loss::rows;
use super::{TrainError, trainable};
use crate::batch::{SampleLayout, fixed_batch_size};
use crate::dataset::Dataset;
use crate::device::Kind;
use crate::head::Labels;
use crate::interpreter::{Array, Floats, Program, Value};
use crate::{Answers, Cpu, Executable, Host, RuntimeBackend, RuntimeError};

/// How the mean over what a network may answer is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// Each sample takes one backward pass, of `sqrt(p) e - p (sqrt(p) . e)` with random signs `e`, whose covariance is that of the
    /// classes (J. Martens, "New insights and perspectives on the natural gradient method", 2020, section 5, for the matrix).
    Drawn,
    /// A backward pass for each class of a sample, without draws, where there is one row of at most so many scores a sample; else
    /// as `Drawn`.
    Exact {
        /// The most classes.
        classes: usize,
    },
}

/// The diagonal of the Fisher information of each weight that training changes: the mean over the samples of
/// `sum_ab C_ab dz_a/dw dz_b/dw`, where `z` are the scores and `C` is the covariance of the classes that the network's own
/// probabilities give, `diag(p) - p p'`. Of numbers `C` is the identity. Labels are not looked at; with `classes` the
/// probabilities are those among these classes alone.
///
/// The mean over the classes is taken as the [`Expectation`] beside `classes` says. `observe` is told of samples done and stops the
/// work by answering `false`.
///
/// # Errors
/// A network that cannot be run on the samples, or that has no weights to train.
pub fn fisher_diagonal(
    graph: &Graph,
    dataset: &Dataset,
    (classes, expectation): (Option<&[usize]>, Expectation),
    seed: u64,
    host: &Host,
    observe: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<BTreeMap<ValueId, Vec<f32>>, TrainError> {
    let request = Request { graph, dataset, classes, expectation, seed, host };
    match host.device().kind() {
        Kind::Cpu => request.compute::<Cpu>(&burn_flex::FlexDevice, observe),
        #[cfg(any(feature = "cuda", feature = "wgpu"))]
        Kind::Gpu(device) => request.compute::<crate::device::Gpu>(device, observe),
    }
}

struct Request<'a> {
    graph: &'a Graph,
    dataset: &'a Dataset,
    classes: Option<&'a [usize]>,
    expectation: Expectation,
    seed: u64,
    host: &'a Host,
}

impl Request<'_> {
    fn compute<B: RuntimeBackend>(
        self,
        device: &B::Device,
        observe: &mut dyn FnMut(usize, usize) -> bool,
    ) -> Result<BTreeMap<ValueId, Vec<f32>>, TrainError> {
        let Self { graph, dataset, classes, expectation, seed, host } = self;
        let answers = Answers::recognised(&Executable::new(graph, host)?, dataset)?;
        let program = Program::<Autodiff<B>>::new(graph, device, host.limits())?;
        let layout = SampleLayout::of(graph, dataset)?;
        let size = fixed_batch_size(graph).unwrap_or(1).max(1);
        let mut weights = Vec::new();
        for id in trainable(graph) {
            if let Some(Value::Floats(value)) = program.constant(id) {
                let (shape, value) = (value.shape().to_vec(), Autodiff::<B>::inner(value.clone().into_tensor()));
                weights.push((id, shape, value));
            }
        }
        if weights.is_empty() {
            return Err(TrainError::NoParameters);
        }
        let mut sums: Vec<Vec<f64>> = weights.iter().map(|(_, shape, _)| vec![0.0; shape.iter().product()]).collect();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut tape = Tape { graph, answers: &answers, program, weights, size };
        for index in 0..dataset.len() {
            let inputs = layout.take(dataset, &vec![index; size], &|_| {});
            let mut first = Some(tape.forward(&inputs, device)?);
            let (values, rows, columns) = match &first {
                Some(forward) => (forward.values()?, forward.shape[0] / size, forward.shape[1]),
                None => break,
            };
            let is_exact = !answers.is_numbers()
                && rows == 1
                && matches!(expectation, Expectation::Exact { classes } if columns <= classes);
            for pass in 0..if is_exact { columns } else { 1 } {
                let mut cotangent = vec![0.0_f32; columns * rows * size];
                let of_sample = cotangent.chunks_exact_mut(columns).zip(values.chunks_exact(columns)).take(rows);
                for (into, scores) in of_sample {
                    match is_exact {
                        true => of_class(scores, classes, pass, into),
                        false => draw(scores, classes, answers.is_numbers(), &mut random, into),
                    }
                }
                if cotangent.iter().all(|entry| *entry == 0.0) {
                    continue;
                }
                let forward = match first.take() {
                    Some(forward) => forward,
                    None => tape.forward(&inputs, device)?,
                };
                forward.add_squares(cotangent, &mut sums)?;
            }
            if !observe(index + 1, dataset.len()) {
                return Err(RuntimeError::Cancelled.into());
            }
        }
        let count = dataset.len().max(1) as f64;
        let mean = |sum: Vec<f64>| sum.into_iter().map(|sum| (sum / count) as f32).collect();
        Ok(tape.weights.into_iter().map(|(id, ..)| id).zip(sums.into_iter().map(mean)).collect())
    }
}

/// A weight, its shape and its value.
type Weight<B> = (ValueId, Vec<usize>, FloatTensor<B>);

/// A network that is run forwards and backwards.
struct Tape<'a, B: RuntimeBackend> {
    graph: &'a Graph,
    answers: &'a Answers,
    program: Program<Autodiff<B>>,
    weights: Vec<Weight<B>>,
    /// Copies of a sample that are run at once.
    size: usize,
}

/// A network that was run: its scores as rows of classes, and the weights that they came from.
struct Forward<B: RuntimeBackend> {
    leaves: Vec<FloatTensor<Autodiff<B>>>,
    scores: Floats<Autodiff<B>>,
    shape: [usize; 2],
}

impl<B: RuntimeBackend> Tape<'_, B> {
    fn forward(&mut self, inputs: &[(ValueId, Tensor)], device: &B::Device) -> Result<Forward<B>, TrainError> {
        let mut leaves = Vec::with_capacity(self.weights.len());
        for (id, shape, value) in &self.weights {
            let leaf = Autodiff::<B>::float_set_require_grad(Autodiff::<B>::from_inner(value.clone()), true);
            self.program.set_constant(*id, Value::Floats(Floats::new(leaf.clone()).reshaped(shape)));
            leaves.push(leaf);
        }
        let mut given = Vec::new();
        for (id, tensor) in inputs {
            let value = Value::from_tensor(tensor, device);
            given.push((*id, value.map_err(|fault| fault.at(&self.graph.value(*id).name, "input"))?));
        }
        let scores = scores::<B>(&self.program, self.answers, given)?;
        let (scores, shape) = as_rows::<B>(scores, self.answers, self.size)?;
        Ok(Forward { leaves, scores, shape })
    }
}

impl<B: RuntimeBackend> Forward<B> {
    /// The scores.
    fn values(&self) -> Result<Vec<f32>, TrainError> {
        let values = Floats::<B>::new(Autodiff::<B>::inner(self.scores.clone().into_tensor())).into_vec();
        Ok(values.map_err(|fault| fault.at("scores", "fisher"))?)
    }

    /// Adds the squares of the gradients of the scores' product with a cotangent.
    fn add_squares(self, cotangent: Vec<f32>, sums: &mut [Vec<f64>]) -> Result<(), TrainError> {
        let cotangent = Floats::<Autodiff<B>>::from_vec(cotangent, &self.shape, &self.scores.device());
        let product = Autodiff::<B>::float_mul(self.scores.into_tensor(), cotangent.into_tensor());
        let gradients = Autodiff::<B>::backward(Autodiff::<B>::float_sum(product));
        for (leaf, sum) in self.leaves.iter().zip(sums) {
            let Some(gradient) = Autodiff::<B>::grad(leaf, &gradients) else { continue };
            let gradient = Floats::<B>::new(gradient).into_vec().map_err(|fault| fault.at("weights", "fisher"))?;
            sum.iter_mut().zip(gradient).for_each(|(sum, it)| *sum += f64::from(it) * f64::from(it));
        }
        Ok(())
    }
}

fn scores<B: RuntimeBackend>(
    program: &Program<Autodiff<B>>,
    answers: &Answers,
    given: Vec<(ValueId, Value<Autodiff<B>>)>,
) -> Result<Floats<Autodiff<B>>, TrainError> {
    let id = answers.head().logits;
    let mut values = program.compute_replacing(given, &[id], &mut |_, _, _| None)?;
    match values.remove(&id) {
        Some(Value::Floats(scores)) => Ok(scores),
        _ => Err(answers.head().wrong("floats".into(), "integers".into()).into()),
    }
}

/// Scores as rows of classes; numbers as rows of one.
#[allow(clippy::type_complexity)]
fn as_rows<B: RuntimeBackend>(
    scores: Floats<Autodiff<B>>,
    answers: &Answers,
    size: usize,
) -> Result<(Floats<Autodiff<B>>, [usize; 2]), TrainError> {
    if answers.is_numbers() {
        let count: usize = scores.shape().iter().product();
        return Ok((scores.reshaped(&[count, 1]), [count, 1]));
    }
    let counts = Labels { samples: size, shape: answers.shape() };
    let arrangement = answers.head().arrangement(scores.shape(), counts)?;
    let count = counts.count();
    Ok((rows(&scores, arrangement, count), [count, arrangement.columns()]))
}

/// The probabilities of the classes that count.
fn shares(scores: &[f32], classes: Option<&[usize]>) -> Vec<f64> {
    let counts = |class: usize| classes.is_none_or(|classes| classes.contains(&class));
    let of = |class: usize| if counts(class) { f64::from(scores[class]) } else { f64::NEG_INFINITY };
    let most = (0..scores.len()).map(of).fold(f64::NEG_INFINITY, f64::max);
    let mut shares: Vec<f64> = (0..scores.len()).map(|class| (of(class) - most).exp()).collect();
    let total: f64 = shares.iter().sum();
    shares.iter_mut().for_each(|share| *share /= total);
    shares
}

/// The gradient of the logarithm of a class's probability, times the root of the probability: over all classes the covariance.
fn of_class(scores: &[f32], classes: Option<&[usize]>, class: usize, into: &mut [f32]) {
    let shares = shares(scores, classes);
    let root = shares[class].sqrt();
    for (at, (into, share)) in into.iter_mut().zip(&shares).enumerate() {
        *into = (root * (if at == class { 1.0 } else { 0.0 } - share)) as f32;
    }
}

/// Draws a vector whose covariance is that of the classes.
fn draw(scores: &[f32], classes: Option<&[usize]>, is_numbers: bool, random: &mut ChaCha8Rng, into: &mut [f32]) {
    let mut sign = || if random.next_u32() & 1 == 0 { 1.0_f64 } else { -1.0 };
    if is_numbers {
        into.iter_mut().for_each(|into| *into = sign() as f32);
        return;
    }
    let shares = shares(scores, classes);
    let drawn: Vec<f64> = shares.iter().map(|share| share.sqrt() * sign()).collect();
    let along: f64 = drawn.iter().sum();
    for ((into, share), drawn) in into.iter_mut().zip(&shares).zip(&drawn) {
        *into = if *share > 0.0 { (drawn - share * along) as f32 } else { 0.0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mlp;

    fn information(graph: &Graph, samples: &Dataset, expectation: Expectation, seed: u64) -> Vec<f64> {
        let found =
            fisher_diagonal(graph, samples, (None, expectation), seed, &Host::default(), &mut |_, _| true).unwrap();
        found.into_values().flatten().map(f64::from).collect()
    }

    /// By its definition: squares of differences of the logarithm of each class's probability, by the probabilities.
    fn by_differences(graph: &Graph, samples: &Dataset) -> Vec<f64> {
        let logarithms = |graph: &Graph| -> Vec<Vec<f64>> {
            let executable = Executable::new(graph, &Host::default()).unwrap();
            let inputs = SampleLayout::of(graph, samples).unwrap().take(samples, &[0, 1, 2], &|_| {});
            let output = graph.outputs()[0];
            let scores = executable.run_for(&inputs, &[output]).unwrap()[&output].to_f32().unwrap();
            let of = |row: &[f32]| shares(row, None).into_iter().map(f64::ln).collect();
            scores.chunks_exact(3).map(of).collect()
        };
        let mut found = Vec::new();
        for id in trainable(graph) {
            let tensor = graph.initializer(id).unwrap();
            for at in 0..tensor.len() {
                let moved = |step: f32| {
                    let mut values = tensor.to_f32().unwrap();
                    values[at] += step;
                    let mut editor = otfuse_graph::GraphEditor::edit(graph.clone());
                    editor.set_tensor(id, Tensor::from_f32(tensor.shape(), values));
                    logarithms(&editor.finish().unwrap())
                };
                let (up, down, here) = (moved(1e-2), moved(-1e-2), moved(0.0));
                let of_row = |row: usize| -> f64 {
                    let of_class = |class: usize| ((up[row][class] - down[row][class]) / 2e-2).powi(2);
                    (0..3).map(|class| here[row][class].exp() * of_class(class)).sum()
                };
                found.push((0..3).map(of_row).sum::<f64>() / 3.0);
            }
        }
        found
    }

    #[test]
    fn information_is_the_mean_square_of_gradients_over_what_the_network_says() {
        let graph = mlp(&[4, 5, 3], 1).unwrap();
        let values = (0..12).map(|at| ((at * 7 % 11) as f32 - 5.0) / 4.0).collect();
        let samples = Dataset::from_floats("three", vec![4], values, vec![0; 3], 3).unwrap();
        let exact = information(&graph, &samples, Expectation::Exact { classes: 3 }, 0);
        let expected = by_differences(&graph, &samples);
        let scale = expected.iter().copied().fold(0.0, f64::max);
        assert!(exact.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 0.01 * scale), "{exact:?} {expected:?}");
        // Draws have that mean.
        let mut mean = vec![0.0; exact.len()];
        for seed in 0..2000 {
            let drawn = information(&graph, &samples, Expectation::Drawn, seed);
            mean.iter_mut().zip(drawn).for_each(|(mean, drawn)| *mean += drawn / 2000.0);
        }
        assert!(exact.iter().zip(&mean).all(|(a, b)| (a - b).abs() < 0.05 * scale), "{exact:?} {mean:?}");
        // More classes than are gone through are drawn.
        let few = information(&graph, &samples, Expectation::Exact { classes: 2 }, 7);
        assert_eq!(few, information(&graph, &samples, Expectation::Drawn, 7));
    }
}
