//! Averaging aligned weights.

use otfuse_graph::{AxisLayout, Graph, GraphEditor, Tensor, ValueId};
use rayon::prelude::*;

use crate::error::FusionError;
use crate::map::GroupMap;
use crate::networks::Networks;
use crate::transform::Mapper;

/// The weights of a model after its maps, in the anchor's shape.
pub(crate) fn mapped(networks: &Networks<'_>, model: usize, id: ValueId, maps: &[Option<GroupMap>]) -> Vec<f32> {
    let data = networks.tensor(model, id).to_f32().unwrap_or_default();
    Mapper { networks, model, maps }.mapped(id, data, &|_| false).0
}

/// The anchor's graph with every weight replaced by `sum_k weights[k] * mapped weight of model k`.
///
/// `maps[k]` are the maps of model `k`; empty for the anchor itself and where nothing was aligned.
pub(crate) fn average(
    networks: &Networks<'_>,
    maps: &[Vec<Option<GroupMap>>],
    weights: &[f64],
) -> Result<Graph, FusionError> {
    let anchor = networks.graphs[networks.anchor];
    let floats: Vec<(ValueId, &Tensor)> = anchor.initializers().filter(|(id, _)| anchor.is_weight(*id)).collect();
    let averaged: Vec<(ValueId, Tensor)> = floats
        .par_iter()
        .map(|&(id, tensor)| {
            let mut sum = vec![0.0_f64; tensor.len()];
            for (model, &weight) in weights.iter().enumerate().filter(|(_, weight)| **weight != 0.0) {
                let values = mapped(networks, model, id, &maps[model]);
                if values.len() != sum.len() {
                    return Err(FusionError::Shape {
                        model,
                        tensor: anchor.value(id).name.clone(),
                        expected: tensor.shape().to_vec(),
                        found: networks.tensor(model, id).shape().to_vec(),
                    });
                }
                sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * f64::from(value));
            }
            let values = sum.into_iter().map(|value| value as f32).collect();
            Ok((id, Tensor::from_f32_as(tensor.data_type(), tensor.shape(), values)))
        })
        .collect::<Result<_, _>>()?;
    let mut editor = GraphEditor::edit(anchor.clone());
    for (id, tensor) in averaged {
        editor.set_tensor(id, tensor);
    }
    Ok(editor.finish()?)
}

impl Networks<'_> {
    /// Refuses weights that are no numbers, and infinite ones unless they are the same constant in all models (a mask);
    /// [`fuse`](crate::fuse) does so too. Linear in the number of weights.
    ///
    /// # Errors
    /// [`FusionError::NotFinite`] with the first such weight.
    pub fn check_finite(&self) -> Result<(), FusionError> {
        check_finite(self)
    }
}

/// Refuses weights that are no numbers, and infinite ones unless they are the same constant in all models (a mask).
pub(crate) fn check_finite(networks: &Networks<'_>) -> Result<(), FusionError> {
    let anchor = networks.graphs[networks.anchor];
    for (id, expected) in anchor.initializers().filter(|(id, _)| anchor.is_weight(*id)) {
        let is_fixed = networks.groups.layouts(id).is_none_or(|axes| axes.iter().all(AxisLayout::is_fixed));
        let is_shared =
            is_fixed && (0..networks.len()).all(|model| networks.tensor(model, id).bytes() == expected.bytes());
        for model in 0..networks.len() {
            let values = networks.tensor(model, id).to_f32().unwrap_or_default();
            let bad = |value: &f32| value.is_nan() || (value.is_infinite() && !is_shared);
            if let Some(index) = values.iter().position(bad) {
                let name = &networks.graphs[model].value(networks.value(model, id)).name;
                return Err(FusionError::NotFinite { model, tensor: name.clone(), index, value: values[index] });
            }
        }
    }
    Ok(())
}
