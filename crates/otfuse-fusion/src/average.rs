//! Merging aligned weights.

use otfuse_graph::{AxisLayout, DataType, Graph, GraphEditor, Tensor, ValueId};
use rayon::prelude::*;

use crate::error::FusionError;
use crate::map::GroupMap;
use crate::measure::Measurements;
use crate::merge::{Merging, Statistics};
use crate::networks::Networks;
use crate::transform::Mapper;

/// The weights of a model after its maps, in the anchor's shape.
pub(crate) fn mapped(networks: &Networks, model: usize, id: ValueId, maps: &[Option<GroupMap>]) -> Vec<f32> {
    Mapper { networks, model, maps }.mapped(id, networks.values(model, id), &|_| false).0
}

/// Elements of a large weight that are mapped and averaged at a time, where its first axis keeps its order.
const PIECE: usize = 1 << 21;

/// The anchor's graph with every weight replaced by what the mapped weights of all models are merged to.
///
/// `maps[k]` are the maps of model `k`; empty for the anchor itself and where nothing was aligned. Beside them stands what is known
/// of samples.
pub(crate) fn average(
    networks: &Networks,
    members: (&[Vec<Option<GroupMap>>], &Measurements),
    merge: &Merging,
    weights: &[f64],
    precision: Precision,
) -> Result<Graph, FusionError> {
    let anchor = networks.reference();
    let floats: Vec<ValueId> = anchor.initializers().map(|(id, _)| id).filter(|id| anchor.is_weight(*id)).collect();
    let of = |&id: &ValueId| Ok((id, averaged(networks, members, merge, weights, precision, id)?));
    let averaged: Vec<(ValueId, Tensor)> = match merge.method().needs() {
        // A layer's equations are large: one after the other.
        Statistics::Gram => floats.iter().map(of).collect::<Result<_, FusionError>>()?,
        _ => floats.par_iter().map(of).collect::<Result<_, FusionError>>()?,
    };
    let mut editor = GraphEditor::edit(anchor.clone());
    for (id, tensor) in averaged {
        editor.set_tensor(id, tensor);
    }
    Ok(editor.finish()?)
}

/// One constant of the average: the anchor's own where it is no weight.
pub(crate) fn averaged(
    networks: &Networks,
    (maps, measurements): (&[Vec<Option<GroupMap>>], &Measurements),
    merge: &Merging,
    weights: &[f64],
    precision: Precision,
    id: ValueId,
) -> Result<Tensor, FusionError> {
    let anchor = networks.reference();
    let tensor = networks.tensor(networks.anchor(), id);
    if !anchor.is_weight(id) {
        return Ok(tensor.clone());
    }
    let data_type = precision.of(tensor.data_type());
    let made =
        |shape: &[usize], values, first| finite(networks, id, Tensor::from_f32_as(data_type, shape, values), first);
    let shape_error = |model: usize| FusionError::Shape {
        model,
        tensor: anchor.value(id).name.clone(),
        expected: tensor.shape().to_vec(),
        found: networks.tensor(model, id).shape().to_vec(),
    };
    let active = || (0..weights.len()).filter(|&model| merge.asks_for(model, weights));
    let name = &anchor.value(id).name;
    let merged = |shape: &[usize], first: usize, values: &dyn Fn(usize) -> Vec<f32>| -> Result<Vec<f32>, FusionError> {
        let aligned = |model: usize| {
            let values = values(model);
            if values.len() == shape.iter().product::<usize>() { Ok(values) } else { Err(shape_error(model)) }
        };
        let measured = measurements.of(id, &(first..first + shape.iter().product::<usize>()));
        Ok(merge.tensor((name, shape), weights, measured, &aligned)?.into_iter().map(|value| value as f32).collect())
    };
    let rows = tensor.shape().first().copied().unwrap_or(1);
    let layouts = networks.groups().layouts(id);
    let keeps_rows = layouts.is_none_or(|layouts| layouts.first().is_some_and(AxisLayout::is_fixed));
    let same_rows = active().all(|model| networks.tensor(model, id).shape().first() == Some(&rows));
    let whole = !merge.works_in_pieces() || !keeps_rows || !same_rows;
    if tensor.len() <= PIECE || whole || tensor.shape().len() < 2 {
        let values = merged(tensor.shape(), 0, &|model| mapped(networks, model, id, &maps[model]))?;
        return made(tensor.shape(), values, 0);
    }
    let (row, width) = (tensor.len() / rows, data_type.size());
    let step = (PIECE / row).max(1);
    let mut bytes = vec![0; tensor.len() * width];
    bytes.par_chunks_mut(step * row * width).enumerate().try_for_each(|(piece, into)| {
        let (first, count) = (piece * step, into.len() / (row * width));
        let values = merged(&[count * row], first * row, &|model| {
            Mapper { networks, model, maps: &maps[model] }.mapped_rows(id, first..first + count, &|_| false).0
        })?;
        into.copy_from_slice(made(&[values.len()], values, first * row)?.bytes());
        Ok::<(), FusionError>(())
    })?;
    Tensor::new(data_type, tensor.shape().to_vec(), bytes.into()).map_err(|_| shape_error(networks.anchor()))
}

/// The element types of an average.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precision {
    /// The anchor's: nothing is done with the result any more.
    Anchor,
    /// Single precision where the anchor has floats of 16 bits: the result is worked on.
    Wide,
}

impl Precision {
    fn of(self, data_type: DataType) -> DataType {
        match (self, data_type) {
            (Self::Wide, DataType::F16 | DataType::BF16) => DataType::F32,
            (_, data_type) => data_type,
        }
    }
}

/// The tensor, which is made from elements of the anchor's weight `id` from `first` on, if it is finite wherever they are.
fn finite(networks: &Networks, id: ValueId, tensor: Tensor, first: usize) -> Result<Tensor, FusionError> {
    let Some((index, value)) = tensor.find(|value| !value.is_finite()) else { return Ok(tensor) };
    let is_finite = |model: usize| networks.tensor(model, id).find(|value| !value.is_finite()).is_none();
    // Infinite constants (masks) that all models share stay, and what is asked for.
    let is_shared = !value.is_nan() && !is_finite(networks.anchor());
    if is_shared || (networks.admits_nonfinite() && !(0..networks.len()).all(is_finite)) {
        return Ok(tensor);
    }
    let (name, data_type) = (networks.reference().value(id).name.clone(), tensor.data_type().to_string());
    Err(FusionError::ResultNotFinite { tensor: name, index: first + index, value, data_type })
}

/// A network made from a [`Precision::Wide`] average, its weights rounded to the anchor's types.
pub(crate) fn rounded(networks: &Networks, graph: Graph) -> Result<Graph, FusionError> {
    let anchor = networks.reference();
    let weights: Vec<(ValueId, &Tensor)> = anchor.initializers().filter(|(id, _)| anchor.is_weight(*id)).collect();
    let made = weights.into_par_iter().map(|(id, like)| {
        let name = &anchor.value(id).name;
        let found = graph.find_value(name).and_then(|found| Some((found, graph.initializer(found)?)));
        let Some((place, tensor)) = found else { return Ok(None) };
        let to = like.data_type();
        let values = tensor.to_f32().filter(|_| tensor.data_type() != to && to.is_float());
        let made = values.map_or_else(|| tensor.clone(), |values| Tensor::from_f32_as(to, tensor.shape(), values));
        finite(networks, id, made, 0).map(|made| (tensor.data_type() != to).then_some((place, made)))
    });
    let made: Vec<Option<(ValueId, Tensor)>> = made.collect::<Result<_, FusionError>>()?;
    if made.iter().all(Option::is_none) {
        return Ok(graph);
    }
    let mut editor = GraphEditor::edit(graph);
    made.into_iter().flatten().for_each(|(id, tensor)| editor.set_tensor(id, tensor));
    Ok(editor.finish()?)
}

impl Networks {
    /// Refuses weights that are no numbers, and infinite ones unless they are the same constant in all models (a mask);
    /// [`fuse`](crate::fuse) does so too, unless they are [let through](Self::admit_nonfinite). Linear in the number of weights, which are looked through once.
    ///
    /// # Errors
    /// [`FusionError::NotFinite`] with the first such weight.
    pub fn check_finite(&self) -> Result<(), FusionError> {
        if self.finite().get().is_none() && !self.admits_nonfinite() {
            check_finite(self)?;
            let _ = self.finite().set(());
        }
        Ok(())
    }
}

fn check_finite(networks: &Networks) -> Result<(), FusionError> {
    let anchor = networks.reference();
    let ids: Vec<ValueId> = anchor.initializers().map(|(id, _)| id).filter(|id| anchor.is_weight(*id)).collect();
    let wrong = |id: ValueId| {
        let is_fixed = || networks.groups().layouts(id).is_none_or(|axes| axes.iter().all(AxisLayout::is_fixed));
        let expected = networks.tensor(networks.anchor(), id);
        let is_shared = || is_fixed() && (0..networks.len()).all(|model| networks.tensor(model, id) == expected);
        (0..networks.len()).find_map(|model| {
            let tensor = networks.tensor(model, id);
            let mut found = tensor.find(|value| !value.is_finite())?;
            if is_shared() {
                found = tensor.find(f32::is_nan)?;
            }
            let name = &networks.graph(model).value(networks.value(model, id)).name;
            Some(FusionError::NotFinite { model, tensor: name.clone(), index: found.0, value: found.1 })
        })
    };
    match ids.par_iter().find_map_first(|&id| wrong(id)) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}
