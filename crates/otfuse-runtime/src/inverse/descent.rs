//! Gradient descent on inputs.

use std::ops::ControlFlow;

use otfuse_graph::Graph;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use rayon::prelude::*;

use super::gradient::{Classifier, Weights};
use super::plane::{Motion, add_variation};
use crate::device::Kind;
use crate::{Cpu, Host, RuntimeBackend, RuntimeError};

/// Adam's memory of gradients and of their squares (Kingma and Ba 2015), and what keeps it from dividing by 0.
const ADAM: (f64, f64, f64) = (0.9, 0.999, 1e-8);
/// Numbers that a thread moves at once.
const CHUNK: usize = 1 << 14;

/// What inputs descend on, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DescentSettings {
    /// Steps of Adam.
    pub steps: usize,
    /// The length of a step.
    pub rate: f64,
    /// What the cross-entropy to the wanted class counts, for each network.
    pub class: f64,
    /// What the distance to the running statistics counts, for each batch normalisation of each network; 0 leaves it out.
    pub statistics: f64,
    /// What the mean squared difference of neighbouring pixels counts.
    pub variation: f64,
    /// What the mean square counts.
    pub norm: f64,
    /// Images are moved by up to so many pixels in each step.
    pub shift: usize,
    /// Every second step sees the images mirrored.
    pub flip: bool,
    /// Of the motions.
    pub seed: u64,
}

/// The form of the samples that descend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descending {
    /// What the networks take for one sample.
    pub shape: Vec<usize>,
    /// Planes, height and width where samples are images; their product is that of the shape.
    pub image: Option<[usize; 3]>,
    /// Whether the planes of images come last in `shape`; samples have them first all the same.
    pub channels_last: bool,
}

/// Samples that all networks put into the wanted classes: `start` after some steps of descent on the sum over the networks of
/// cross-entropy and distance to running statistics, plus total variation and norm.
///
/// `start` holds a sample for each of `classes`, one after the other. They descend together, so that there should be a few
/// dozen where there are batch normalisations. Each step takes the time of a forward and a backward pass through every
/// network, one after the other, and the memory of the inner values of one. `observe` is told of each step
/// and of what the networks' terms of the loss were before it.
///
/// # Errors
/// Networks of other inputs or of no classes, operators that cannot be executed, cancellation. `Ok(None)` where `observe`
/// breaks off.
pub fn descend(
    graphs: &[&Graph],
    form: &Descending,
    start: Vec<f32>,
    classes: &[u32],
    settings: &DescentSettings,
    host: &Host,
    observe: &mut dyn FnMut(usize, f64) -> ControlFlow<()>,
) -> Result<Option<Vec<f32>>, RuntimeError> {
    match host.device().kind() {
        Kind::Cpu => descend_on::<Cpu>(graphs, form, start, classes, settings, (host, &burn_flex::FlexDevice), observe),
        #[cfg(any(feature = "cuda", feature = "wgpu"))]
        Kind::Gpu(device) => {
            descend_on::<crate::device::Gpu>(graphs, form, start, classes, settings, (host, device), observe)
        }
    }
}

fn descend_on<B: RuntimeBackend>(
    graphs: &[&Graph],
    form: &Descending,
    start: Vec<f32>,
    classes: &[u32],
    settings: &DescentSettings,
    (host, device): (&Host, &B::Device),
    observe: &mut dyn FnMut(usize, f64) -> ControlFlow<()>,
) -> Result<Option<Vec<f32>>, RuntimeError> {
    let networks: Vec<Classifier<B>> =
        graphs.iter().map(|graph| Classifier::new(graph, device, host.limits())).collect::<Result<_, _>>()?;
    let size: usize = form.shape.iter().product();
    if start.len() != size * classes.len() || size == 0 {
        let (expected, found) = (format!("{} samples of shape {:?}", classes.len(), form.shape), vec![start.len()]);
        return Err(RuntimeError::Samples { input: String::new(), expected, found });
    }
    let batch = [&[classes.len()], form.shape.as_slice()].concat();
    let weights = Weights { class: settings.class, statistics: settings.statistics };
    let mut random = ChaCha8Rng::seed_from_u64(settings.seed);
    let (mut x, mut adam) = (start, Adam::new(size * classes.len()));
    for step in 0..settings.steps {
        let motion = motion(form, settings, step, &mut random);
        let moved = form.moved(&x, motion);
        let (mut gradient, mut loss) = (vec![0.0_f32; x.len()], 0.0);
        for network in &networks {
            let slope = network.slope(moved.clone(), &batch, classes, weights)?;
            loss += slope.loss;
            gradient.par_iter_mut().zip(&slope.by_input).for_each(|(sum, one)| *sum += one);
        }
        let mut gradient = form.moved_back(gradient, motion);
        if let Some([_, height, width]) = form.image {
            add_variation(&x, height, width, settings.variation, &mut gradient);
        }
        adam.step(&mut x, &gradient, settings);
        if observe(step + 1, loss).is_break() {
            return Ok(None);
        }
    }
    Ok(Some(x))
}

/// How the images are moved in a step.
fn motion(form: &Descending, settings: &DescentSettings, step: usize, random: &mut ChaCha8Rng) -> Motion {
    let Some([_, height, width]) = form.image else { return Motion::default() };
    let mut offset = |length: usize| {
        let range = 2 * settings.shift.min(length / 2) + 1;
        (random.next_u32() as usize % range + length - range / 2) % length.max(1)
    };
    let (down, right) = (offset(height), offset(width));
    Motion { down, right, mirrored: settings.flip && step % 2 == 1 }
}

impl Descending {
    fn moved(&self, x: &[f32], motion: Motion) -> Vec<f32> {
        let Some([planes, height, width]) = self.image else { return x.to_vec() };
        let moved = motion.apply(x, height, width, false);
        if self.channels_last { turned(&moved, planes, height * width) } else { moved }
    }

    fn moved_back(&self, gradient: Vec<f32>, motion: Motion) -> Vec<f32> {
        let Some([planes, height, width]) = self.image else { return gradient };
        let gradient = if self.channels_last { turned(&gradient, height * width, planes) } else { gradient };
        motion.apply(&gradient, height, width, true)
    }
}

/// Every sample of `rows x columns` numbers, transposed.
fn turned(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut turned = Vec::with_capacity(values.len());
    for sample in values.chunks_exact((rows * columns).max(1)) {
        turned.extend((0..columns).flat_map(|column| (0..rows).map(move |row| sample[row * columns + column])));
    }
    turned
}

struct Adam {
    mean: Vec<f32>,
    square: Vec<f32>,
    steps: i32,
}

impl Adam {
    fn new(count: usize) -> Self {
        Self { mean: vec![0.0; count], square: vec![0.0; count], steps: 0 }
    }

    /// Moves `x` against the gradient, to which that of the norm is added.
    fn step(&mut self, x: &mut [f32], gradient: &[f32], settings: &DescentSettings) {
        self.steps += 1;
        let (first, second, epsilon) = ADAM;
        let corrected = |decay: f64| 1.0 - decay.powi(self.steps);
        let rate = (settings.rate / corrected(first)) as f32;
        let (scale, epsilon) = ((1.0 / corrected(second)) as f32, epsilon as f32);
        let norm = (2.0 * settings.norm / x.len().max(1) as f64) as f32;
        let (first, second) = (first as f32, second as f32);
        let memory = self.mean.par_chunks_mut(CHUNK).zip(self.square.par_chunks_mut(CHUNK));
        x.par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK)).zip(memory).for_each(
            |((x, gradient), (mean, square))| {
                for (((x, gradient), mean), square) in x.iter_mut().zip(gradient).zip(mean).zip(square) {
                    let gradient = gradient + norm * *x;
                    *mean = first * *mean + (1.0 - first) * gradient;
                    *square = second * *square + (1.0 - second) * gradient * gradient;
                    *x -= rate * *mean / ((*square * scale).sqrt() + epsilon);
                }
            },
        );
    }
}
