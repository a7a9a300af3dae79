//! How much what a network says depends on each weight.

use std::collections::BTreeMap;

use burn_autodiff::Autodiff;
use burn_backend::AutodiffBackend;
use burn_backend::ops::FloatTensorOps;
use otfuse_graph::{Graph, ValueId};
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

/// The diagonal of the Fisher information of each weight that training changes: the mean over the samples of
/// `sum_ab C_ab dz_a/dw dz_b/dw`, where `z` are the scores and `C` is the covariance of the classes that the network's own
/// probabilities give, `diag(p) - p p'`. Of numbers `C` is the identity. Labels are not looked at; with `classes` the
/// probabilities are those among these classes alone.
///
/// Each sample takes one backward pass, of `sqrt(p) e - p (sqrt(p) . e)` with random signs `e`, whose covariance is `C` (J.
/// Martens, "New insights and perspectives on the natural gradient method", 2020, section 5, for the matrix). `observe` is told
/// of samples done and stops the work by answering `false`.
///
/// # Errors
/// A network that cannot be run on the samples, or that has no weights to train.
pub fn fisher_diagonal(
    graph: &Graph,
    dataset: &Dataset,
    classes: Option<&[usize]>,
    seed: u64,
    host: &Host,
    observe: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<BTreeMap<ValueId, Vec<f32>>, TrainError> {
    let request = Request { graph, dataset, classes, seed, host };
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
    seed: u64,
    host: &'a Host,
}

impl Request<'_> {
    fn compute<B: RuntimeBackend>(
        self,
        device: &B::Device,
        observe: &mut dyn FnMut(usize, usize) -> bool,
    ) -> Result<BTreeMap<ValueId, Vec<f32>>, TrainError> {
        let Self { graph, dataset, classes, seed, host } = self;
        let answers = Answers::recognised(&Executable::new(graph, host)?, dataset)?;
        let mut program = Program::<Autodiff<B>>::new(graph, device, host.limits())?;
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
        for index in 0..dataset.len() {
            let mut leaves = Vec::with_capacity(weights.len());
            for (id, shape, value) in &weights {
                let leaf = Autodiff::<B>::float_set_require_grad(Autodiff::<B>::from_inner(value.clone()), true);
                program.set_constant(*id, Value::Floats(Floats::new(leaf.clone()).reshaped(shape)));
                leaves.push(leaf);
            }
            let mut given = Vec::new();
            for (id, tensor) in layout.take(dataset, &vec![index; size], &|_| {}) {
                let value = Value::from_tensor(&tensor, device);
                given.push((id, value.map_err(|fault| fault.at(&graph.value(id).name, "input"))?));
            }
            let scores = scores::<B>(&program, &answers, given)?;
            let (scores, [count, columns]) = as_rows::<B>(scores, &answers, size)?;
            let values = Floats::<B>::new(Autodiff::<B>::inner(scores.clone().into_tensor())).into_vec();
            let values = values.map_err(|fault| fault.at("scores", "fisher"))?;
            let of_sample = count / size;
            let mut cotangent = vec![0.0_f32; count * columns];
            for (row, scores) in values.chunks_exact(columns).enumerate().take(of_sample) {
                let into = &mut cotangent[row * columns..(row + 1) * columns];
                draw(scores, classes, answers.is_numbers(), &mut random, into);
            }
            let cotangent = Floats::<Autodiff<B>>::from_vec(cotangent, &[count, columns], &scores.device());
            let product = Autodiff::<B>::float_mul(scores.into_tensor(), cotangent.into_tensor());
            let gradients = Autodiff::<B>::backward(Autodiff::<B>::float_sum(product));
            for (leaf, sum) in leaves.iter().zip(&mut sums) {
                let Some(gradient) = Autodiff::<B>::grad(leaf, &gradients) else { continue };
                let gradient = Floats::<B>::new(gradient).into_vec().map_err(|fault| fault.at("weights", "fisher"))?;
                sum.iter_mut().zip(gradient).for_each(|(sum, it)| *sum += f64::from(it) * f64::from(it));
            }
            if !observe(index + 1, dataset.len()) {
                return Err(RuntimeError::Cancelled.into());
            }
        }
        let count = dataset.len().max(1) as f64;
        let mean = |sum: Vec<f64>| sum.into_iter().map(|sum| (sum / count) as f32).collect();
        Ok(weights.into_iter().map(|(id, ..)| id).zip(sums.into_iter().map(mean)).collect())
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

/// Draws a vector whose covariance is that of the classes.
fn draw(scores: &[f32], classes: Option<&[usize]>, is_numbers: bool, random: &mut ChaCha8Rng, into: &mut [f32]) {
    let mut sign = || if random.next_u32() & 1 == 0 { 1.0_f64 } else { -1.0 };
    if is_numbers {
        into.iter_mut().for_each(|into| *into = sign() as f32);
        return;
    }
    let counts = |class: usize| classes.is_none_or(|classes| classes.contains(&class));
    let of = |class: usize| if counts(class) { f64::from(scores[class]) } else { f64::NEG_INFINITY };
    let most = (0..scores.len()).map(of).fold(f64::NEG_INFINITY, f64::max);
    let mut shares: Vec<f64> = (0..scores.len()).map(|class| (of(class) - most).exp()).collect();
    let total: f64 = shares.iter().sum();
    shares.iter_mut().for_each(|share| *share /= total);
    let drawn: Vec<f64> = shares.iter().map(|share| share.sqrt() * sign()).collect();
    let along: f64 = shares.iter().zip(&drawn).map(|(share, drawn)| share.sqrt() * drawn).sum();
    for ((into, share), drawn) in into.iter_mut().zip(&shares).zip(&drawn) {
        *into = if *share > 0.0 { (drawn - share * along) as f32 } else { 0.0 };
    }
}
