//! Noise that networks are probed with.

use std::ops::ControlFlow;

use otfuse_fusion::{FirstOrder, LatentAxis};
use otfuse_graph::{Graph, Tensor, ValueId};
use otfuse_runtime::dataset::{Noise, NoiseLaw};
use otfuse_runtime::{Executable, SampleLayout, fixed_batch_size};

use crate::noise::drawn;
use crate::work::multiplications;
use crate::{Context, Error, InputShapes, Model, Result, Samples};

/// Draws at most and at least, and multiplications that a network may take for all of them.
const DRAWS: (usize, usize) = (4096, 256);
const WORK: f64 = 4e12;
/// Draws that networks are compared on.
const COMPARED: usize = 256;
/// Numbers of an output that are looked at, spread evenly.
const OUTPUTS: usize = 4096;
/// Draws of a batch.
const BATCH: usize = 64;

/// Takes the inputs of a batch and, for each draw, so many numbers of the output.
type Each<'e> = dyn FnMut(&[(ValueId, Tensor)], Vec<f32>, usize) -> ControlFlow<()> + 'e;

/// Noise for all networks.
pub(super) struct Probes {
    samples: Samples,
}

/// What a network makes of it.
pub(super) struct Probed {
    /// To first order, for each input that is turned.
    pub responses: Vec<FirstOrder>,
    /// Of the first draws, row by row.
    made: Made,
}

/// Numbers of outputs, a row for each draw.
pub(super) struct Made {
    values: Vec<f32>,
    width: usize,
}

impl Probes {
    /// As many draws as there is time for.
    pub fn draw(models: &[&Model], shapes: &InputShapes, law: NoiseLaw, seed: u64) -> Result<Self> {
        let mut work = 1.0_f64;
        for model in models {
            work = work.max(multiplications(model.graph()?, &model.facts()?, 1));
        }
        let count = ((WORK / work) as usize).clamp(DRAWS.1, DRAWS.0);
        let noise = Noise { law, count: Some(count) };
        Ok(Self { samples: drawn(("noise", noise, count), models, shapes, (seed, 2))? })
    }

    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// What a network makes of the noise to first order.
    pub fn responses(
        &self,
        model: &Model,
        axes: &[LatentAxis],
        context: &Context,
        observe: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Probed> {
        let graph = model.graph()?;
        let mut responses: Vec<FirstOrder> = Vec::new();
        let mut made = Made { values: Vec::new(), width: 0 };
        self.run(graph, self.len(), &[], context, &mut |fed, outputs, width| {
            made.width = width;
            let noise: Vec<(&Tensor, usize)> = axes
                .iter()
                .filter_map(|axis| Some((&fed.iter().find(|(id, _)| *id == axis.input)?.1, axis.axis)))
                .collect();
            for (at, (noise, axis)) in noise.iter().enumerate() {
                let shape = noise.shape();
                let split = [shape[1..*axis].iter().product(), shape[*axis], shape[axis + 1..].iter().product()];
                if responses.len() == at {
                    responses.push(FirstOrder::new(split, width));
                }
                let numbers = noise.to_f32().unwrap_or_default();
                responses[at].add(&numbers[..outputs.len() / width.max(1) * split.iter().product::<usize>()], &outputs);
            }
            let missing = (COMPARED * width).saturating_sub(made.values.len());
            made.values.extend_from_slice(&outputs[..missing.min(outputs.len())]);
            observe(outputs.len() / width.max(1))
        })
        .map_err(|error| error.of(model.path()))?;
        Ok(Probed { responses, made })
    }

    /// What a network makes of the first draws, whose inputs are mapped along an axis first.
    pub fn made(&self, graph: &Graph, maps: &[(ValueId, usize, &[f64])], context: &Context) -> Result<Made> {
        let mut made = Made { values: Vec::new(), width: 0 };
        let count = self.len().min(COMPARED);
        self.run(graph, count, maps, context, &mut |_, outputs, width| {
            made.width = width;
            made.values.extend(outputs);
            context.flow()
        })?;
        Ok(made)
    }

    /// Runs a network on the first `count` draws and hands over the inputs of each batch and some numbers of its first output.
    fn run(
        &self,
        graph: &Graph,
        count: usize,
        maps: &[(ValueId, usize, &[f64])],
        context: &Context,
        each: &mut Each<'_>,
    ) -> Result<()> {
        let executable = Executable::new(graph, context.host())?;
        let layout = SampleLayout::of(graph, &self.samples)?;
        let wanted = *graph.outputs().first().ok_or_else(|| Error::input("it has no outputs"))?;
        let size = fixed_batch_size(graph).unwrap_or(BATCH).max(1);
        for start in (0..count).step_by(size) {
            let end = count.min(start + size);
            let fed = if fixed_batch_size(graph).is_some() { size } else { end - start };
            let indices: Vec<usize> = (start..start + fed).map(|index| index.min(end - 1)).collect();
            let mut inputs = layout.take(&self.samples, &indices, &|_| {});
            for (id, axis, map) in maps {
                for (_, tensor) in inputs.iter_mut().filter(|(input, _)| input == id) {
                    *tensor = mapped(tensor, *axis, map);
                }
            }
            let made = executable.run_for(&inputs, &[wanted])?.remove(&wanted);
            let made = made.as_ref().filter(|made| made.shape().first() == Some(&fed));
            let values = made.and_then(Tensor::to_f32).ok_or_else(|| {
                let name = &graph.value(wanted).name;
                Error::input(format!(
                    "the output '{name}' has no axis of samples in front, or no floating-point numbers"
                ))
            })?;
            let length = values.len() / fed;
            let step = length.div_ceil(OUTPUTS).max(1);
            let rows = values.chunks_exact(length.max(1)).take(end - start);
            let chosen: Vec<f32> = rows.flat_map(|row| row.iter().step_by(step)).copied().collect();
            if each(&inputs, chosen, length.div_ceil(step)).is_break() {
                return Err(Error::cancelled());
            }
        }
        Ok(())
    }
}

/// An array whose axis is multiplied with a square matrix.
fn mapped(tensor: &Tensor, axis: usize, map: &[f64]) -> Tensor {
    let shape = tensor.shape();
    let (size, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
    let values = tensor.to_f32().unwrap_or_default();
    let value = |at: usize| {
        let (outer, row, rest) = (at / (size * inner), at / inner % size, at % inner);
        let term = |column: usize| map[row * size + column] * f64::from(values[(outer * size + column) * inner + rest]);
        (0..size).map(term).sum::<f64>() as f32
    };
    Tensor::from_f32(shape, (0..values.len()).map(value).collect())
}

impl Probed {
    /// The correlation of what two networks make of the same noise, over draws: covariances of all numbers of the output
    /// together, over the root of the product of their variances.
    pub fn correlation(&self, other: &Made) -> f64 {
        let [a, b] = [self.made.centred(), other.centred()];
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let found = product(&a, &b) / (product(&a, &a) * product(&b, &b)).sqrt();
        if found.is_finite() { found } else { 0.0 }
    }
}

impl Made {
    /// Less the mean of each number over the draws.
    fn centred(&self) -> Vec<f64> {
        let rows = || self.values.chunks_exact(self.width.max(1));
        let count = rows().len().max(1) as f64;
        let mut means = vec![0.0; self.width];
        rows().for_each(|row| means.iter_mut().zip(row).for_each(|(mean, &value)| *mean += f64::from(value) / count));
        rows().flat_map(|row| row.iter().zip(&means).map(|(&value, mean)| f64::from(value) - mean)).collect()
    }
}

/// The largest difference, relative to the largest number.
pub(super) fn difference(expected: &Made, found: &Made) -> f64 {
    let largest = expected.values.iter().fold(0.0_f64, |largest, &value| largest.max(f64::from(value).abs()));
    let pairs = expected.values.iter().zip(&found.values);
    let most = pairs
        .map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs())
        .fold(0.0, |most: f64, it| if it.is_nan() || most.is_nan() { f64::NAN } else { most.max(it) });
    most / largest.max(f64::MIN_POSITIVE)
}
