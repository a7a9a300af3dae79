//! Feeds the samples of a data set to a network.

use std::collections::BTreeMap;
use std::ops::Range;

use otfuse_graph::{Graph, Tensor, ValueId};

use crate::dataset::Dataset;
use crate::tokens::TokenLayout;
use crate::{Executable, RuntimeError};

/// Samples at once where the network leaves the choice.
const FREE_BATCH_SIZE: usize = 256;

/// The batch size that the network's only input fixes, if it fixes one.
pub fn fixed_batch_size(graph: &Graph) -> Option<usize> {
    let &input = graph.inputs().first()?;
    let shape = graph.value(input).declared.as_ref()?.shape.as_ref()?;
    shape.first()?.as_known()
}

/// How samples are brought into the form that the network's inputs take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleLayout(Layout);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Layout {
    Values {
        input: ValueId,
        shape: Vec<usize>,
        /// Lengths of channels and of positions, where channels move behind the positions.
        channels_last: Option<(usize, usize)>,
    },
    Tokens(TokenLayout),
}

impl SampleLayout {
    /// Fits the samples of a data set to the network: tokens with an attention mask if the network takes one, others as
    /// [`fit`](Self::fit).
    pub fn of(graph: &Graph, dataset: &Dataset) -> Result<Self, RuntimeError> {
        match dataset.vocabulary() {
            Some(vocabulary) => {
                let tokens = TokenLayout::fit(graph, dataset.sample_shape()[0], vocabulary.padding())?;
                Ok(Self(Layout::Tokens(tokens)))
            }
            None => Self::fit(graph, dataset.sample_shape()),
        }
    }

    /// Fits samples of a shape to the network's only input: as they are, else with the channels moved to the end
    /// (C x H x W to H x W x C) where only that matches, else reshaped where the numbers of elements agree.
    pub fn fit(graph: &Graph, sample_shape: &[usize]) -> Result<Self, RuntimeError> {
        let &[input] = graph.inputs() else {
            return Err(RuntimeError::Samples {
                input: graph.inputs().iter().map(|&id| graph.value(id).name.as_str()).collect::<Vec<_>>().join(", "),
                expected: "one input".into(),
                found: sample_shape.to_vec(),
            });
        };
        let values = |shape: Vec<usize>, channels_last| Self(Layout::Values { input, shape, channels_last });
        let same = values(sample_shape.to_vec(), None);
        let value = graph.value(input);
        let Some(declared) = value.declared.as_ref().and_then(|declared| declared.shape.as_ref()) else {
            return Ok(same);
        };
        let wrong = || RuntimeError::Samples {
            input: value.name.clone(),
            expected: format!("a batch of shape {declared:?}"),
            found: sample_shape.to_vec(),
        };
        let dims: Vec<Option<usize>> = declared.iter().skip(1).map(|dim| dim.as_known()).collect();
        if declared.is_empty() {
            return Err(wrong());
        }
        let matches = |shape: &[usize]| {
            shape.len() == dims.len()
                && shape.iter().zip(&dims).all(|(&length, dim)| dim.is_none_or(|dim| dim == length))
        };
        if matches(sample_shape) {
            return Ok(same);
        }
        if let &[channels, height, width] = sample_shape
            && matches(&[height, width, channels])
        {
            return Ok(values(vec![height, width, channels], Some((channels, height * width))));
        }
        // At most one unknown length follows from the number of elements.
        let count: usize = sample_shape.iter().product();
        let known: usize = dims.iter().flatten().product();
        let unknown = dims.iter().filter(|dim| dim.is_none()).count();
        let fits = match unknown {
            0 => known == count,
            1 => known > 0 && count.is_multiple_of(known),
            _ => false,
        };
        if !fits {
            return Err(wrong());
        }
        Ok(values(dims.iter().map(|dim| dim.unwrap_or(count / known.max(1))).collect(), None))
    }

    /// What a batch of `count` samples, which lie one after the other, is for each input.
    pub fn batch(&self, samples: Vec<f32>, count: usize) -> Vec<(ValueId, Tensor)> {
        let (input, shape, channels_last) = match &self.0 {
            Layout::Tokens(tokens) => return tokens.batch(&samples, count),
            Layout::Values { input, shape, channels_last } => (*input, shape, channels_last),
        };
        let samples = match *channels_last {
            None => samples,
            Some((channels, positions)) => {
                let mut moved = Vec::with_capacity(samples.len());
                for sample in samples.chunks_exact((channels * positions).max(1)) {
                    for position in 0..positions {
                        moved.extend((0..channels).map(|channel| sample[channel * positions + position]));
                    }
                }
                moved
            }
        };
        vec![(input, Tensor::from_f32(&[&[count], shape.as_slice()].concat(), samples))]
    }
}

/// Runs a network over a data set and hands the values of `wanted` to `each`, batch by batch, with the samples' range.
///
/// Batches have the size that the network fixes, else `batch_size` (256 if `None`). The last batch of a network with
/// a fixed size is filled up with its last sample; from values with the batch axis in front the filling is cut off.
pub fn run_batched(
    executable: &Executable,
    dataset: &Dataset,
    wanted: &[ValueId],
    batch_size: Option<usize>,
    mut each: impl FnMut(Range<usize>, BTreeMap<ValueId, Tensor>) -> Result<(), RuntimeError>,
) -> Result<(), RuntimeError> {
    let graph = executable.graph();
    let layout = SampleLayout::of(graph, dataset)?;
    let fixed = fixed_batch_size(graph);
    let size = fixed.or(batch_size).unwrap_or(FREE_BATCH_SIZE).max(1);
    let mut start = 0;
    while start < dataset.len() {
        let end = dataset.len().min(start.saturating_add(size));
        let fed = if fixed.is_some() { size } else { end - start };
        let samples = dataset.samples((start..start + fed).map(|index| index.min(end - 1)));
        let mut values = executable.run_for(&layout.batch(samples, fed), wanted)?;
        if fed > end - start {
            for tensor in values.values_mut() {
                cut(tensor, fed, end - start);
            }
        }
        each(start..end, values)?;
        start = end;
    }
    Ok(())
}

/// Keeps the first `kept` of `fed` samples, if there are as many.
fn cut(tensor: &mut Tensor, fed: usize, kept: usize) {
    if tensor.shape().first() != Some(&fed) {
        return;
    }
    let bytes = tensor.bytes().slice(..tensor.bytes().len() / fed * kept);
    let shape = [&[kept], &tensor.shape()[1..]].concat();
    if let Ok(shorter) = Tensor::new(tensor.data_type(), shape, bytes) {
        *tensor = shorter;
    }
}
