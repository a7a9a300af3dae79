//! Feeds the samples of a data set to a network.

use std::collections::BTreeMap;
use std::ops::Range;

use otfuse_graph::{DataType, Graph, Tensor, ValueId};

use crate::dataset::{Dataset, Numbers};
use crate::tokens::{TokenLayout, filled_by_name, of_type};
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
    Values(Form),
    Tokens(TokenLayout),
    /// Arrays by the names of the inputs, or whole numbers.
    Arrays {
        feeds: Vec<ArrayFeed>,
        /// What inputs without an array are filled with by their names.
        filled: Option<TokenLayout>,
    },
}

/// How the samples of one array become what an input takes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Form {
    input: ValueId,
    shape: Vec<usize>,
    /// Lengths of channels and of positions, where channels move behind the positions.
    channels_last: Option<(usize, usize)>,
}

/// An array of the data set for an input.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ArrayFeed {
    array: usize,
    form: Form,
    data_type: DataType,
}

impl SampleLayout {
    /// Fits the samples of a data set to the network: tokens with an attention mask if the network takes one; several arrays
    /// by the names of the inputs; others as [`fit`](Self::fit). Attention masks, token types and positions that no array
    /// gives are filled in.
    pub fn of(graph: &Graph, dataset: &Dataset) -> Result<Self, RuntimeError> {
        if let Some(vocabulary) = dataset.vocabulary() {
            let tokens = TokenLayout::fit(graph, dataset.sample_shape()[0], vocabulary.padding())?;
            return Ok(Self(Layout::Tokens(tokens)));
        }
        let takes_floats = |id: ValueId| data_type(graph, id).is_float();
        match (graph.inputs(), dataset.main_array()) {
            (&[input], Some(_))
                if takes_floats(input) && dataset.array_of(&graph.value(input).name).unwrap_or(0) == 0 =>
            {
                Self::fit(graph, dataset.sample_shape())
            }
            _ => Self::by_names(graph, dataset),
        }
    }

    /// Arrays for the inputs of their names, and one without such a name for the only input that is left.
    fn by_names(graph: &Graph, dataset: &Dataset) -> Result<Self, RuntimeError> {
        let name = |id: ValueId| graph.value(id).name.as_str();
        let mut arrays: Vec<(ValueId, Option<usize>)> =
            graph.inputs().iter().map(|&id| (id, dataset.array_of(name(id)))).collect();
        let missing = |(id, array): &&mut (ValueId, Option<usize>)| array.is_none() && !filled_by_name(name(*id));
        let is_unnamed = |main: &usize| !graph.inputs().iter().any(|&id| dataset.array_of(name(id)) == Some(*main));
        let main = dataset.main_array().filter(is_unnamed);
        if let (Some(main), [left]) = (main, arrays.iter_mut().filter(missing).collect::<Vec<_>>().as_mut_slice()) {
            left.1 = Some(main);
        }
        let mut feeds = Vec::new();
        let mut unfed = Vec::new();
        for (id, array) in arrays {
            let Some(array) = array else {
                unfed.push(id);
                continue;
            };
            let shape = dataset.arrays().nth(array).map_or(&[][..], |(_, shape)| shape);
            let data_type = data_type(graph, id);
            if !data_type.is_float() && !dataset.is_whole(array) {
                let found = format!("floats in '{}'", dataset.arrays().nth(array).map_or("", |(name, _)| name));
                return Err(RuntimeError::Input { input: name(id).to_owned(), expected: data_type.to_string(), found });
            }
            feeds.push(ArrayFeed { array, form: Form::fit(graph, id, shape)?, data_type });
        }
        let tokens = feeds.iter().find(|feed| !feed.data_type.is_float() && feed.form.shape.len() == 1);
        let filled = match (tokens, unfed.iter().find(|&&id| !filled_by_name(name(id)))) {
            (_, Some(&id)) => return Err(Self::no_array(graph, dataset, id)),
            (_, None) if unfed.is_empty() => None,
            (Some(tokens), None) => Some(TokenLayout::filling(graph, &unfed, tokens.form.shape[0])?),
            (None, None) => return Err(Self::no_array(graph, dataset, unfed[0])),
        };
        Ok(Self(Layout::Arrays { feeds, filled }))
    }

    fn no_array(graph: &Graph, dataset: &Dataset, id: ValueId) -> RuntimeError {
        let shown = |(name, shape): (&str, &[usize])| match name {
            "" => format!("samples of shape {shape:?}"),
            name => format!("'{name}' of shape {shape:?}"),
        };
        RuntimeError::NoArray {
            data: dataset.name().to_owned(),
            input: graph.value(id).name.clone(),
            inputs: graph.inputs().iter().map(|&id| graph.value(id).name.clone()).collect(),
            found: dataset.arrays().map(shown).collect::<Vec<_>>().join(", "),
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
        Form::fit(graph, input, sample_shape).map(|form| Self(Layout::Values(form)))
    }

    /// What a batch of `count` samples, which lie one after the other, is for each input. Of samples that are several arrays
    /// [`take`](Self::take) makes batches.
    pub fn batch(&self, samples: Vec<f32>, count: usize) -> Vec<(ValueId, Tensor)> {
        match &self.0 {
            Layout::Tokens(tokens) => tokens.batch(&samples, count),
            Layout::Values(form) => vec![(form.input, form.floats(samples, count))],
            Layout::Arrays { feeds, .. } => {
                feeds.first().map(|feed| (feed.form.input, feed.form.floats(samples, count))).into_iter().collect()
            }
        }
    }

    /// What the samples at `indices` are for each input. `change` may change samples that are floats first: those of the
    /// first array.
    pub fn take(&self, dataset: &Dataset, indices: &[usize], change: &dyn Fn(&mut Vec<f32>)) -> Vec<(ValueId, Tensor)> {
        let Layout::Arrays { feeds, filled } = &self.0 else {
            let mut samples = dataset.samples(indices.iter().copied());
            change(&mut samples);
            return self.batch(samples, indices.len());
        };
        let mut batch = Vec::new();
        for feed in feeds {
            let numbers = dataset.numbers(feed.array, indices, !feed.data_type.is_float());
            let tensor = match numbers {
                Numbers::Floats(mut values) => {
                    if feed.array == 0 {
                        change(&mut values);
                    }
                    feed.form.floats(values, indices.len())
                }
                Numbers::Integers(values) => {
                    of_type(&[&[indices.len()], feed.form.shape.as_slice()].concat(), values, feed.data_type)
                }
            };
            batch.push((feed.form.input, tensor));
        }
        batch.extend(filled.iter().flat_map(|filled| filled.fillings(indices.len())));
        batch
    }
}

/// The type of an input's elements.
fn data_type(graph: &Graph, input: ValueId) -> DataType {
    graph.value(input).declared.as_ref().map_or(DataType::F32, |declared| declared.data_type)
}

impl Form {
    /// Fits samples of a shape to an input, as [`SampleLayout::fit`] says.
    fn fit(graph: &Graph, input: ValueId, sample_shape: &[usize]) -> Result<Self, RuntimeError> {
        let values = |shape: Vec<usize>, channels_last| Self { input, shape, channels_last };
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
        // Whole numbers are not moved: what has channels is floats.
        if let &[channels, height, width] = sample_shape
            && matches(&[height, width, channels])
            && data_type(graph, input).is_float()
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

    /// A batch of floats.
    fn floats(&self, samples: Vec<f32>, count: usize) -> Tensor {
        let samples = match self.channels_last {
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
        Tensor::from_f32(&[&[count], self.shape.as_slice()].concat(), samples)
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
        let indices: Vec<usize> = (start..start + fed).map(|index| index.min(end - 1)).collect();
        let mut values = executable.run_for(&layout.take(dataset, &indices, &|_| {}), wanted)?;
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
