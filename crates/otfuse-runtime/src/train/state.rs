//! Where training stands, as bytes.
//!
//! A safetensors file: weights, running statistics and the optimizer's memory, what is known of the epochs so far, and
//! the best weights. Training that goes on from it ends with the same bytes as training that was never interrupted.

use std::collections::{BTreeMap, HashMap};

use burn_backend::tensor::FloatTensor;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};

use super::model::{Model, numbers};
use super::{Epoch, TrainError};
use crate::RuntimeBackend;
use crate::evaluate::{Divergence, Evaluation};
use crate::interpreter::Floats;

/// Where the metadata says what the file is.
const KEY: &str = "otfuse training state";
/// Changes with the meaning of the bytes.
const VERSION: &str = "3";

/// What there is beside the model.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Position {
    /// The epoch in work.
    pub(super) epoch: usize,
    /// Batches done in it.
    pub(super) batch: usize,
    /// The sum of their losses.
    pub(super) total: f64,
    /// Epochs done.
    pub(super) history: Vec<Epoch>,
    /// The best epoch and its weights and statistics.
    pub(super) best: Option<(usize, Vec<Vec<f32>>)>,
}

/// Everything as bytes; `fingerprint` tells one training from another.
pub(super) fn save<B: RuntimeBackend>(
    model: &Model<B>,
    position: &Position,
    fingerprint: &str,
) -> Result<Vec<u8>, TrainError> {
    let mut floats: BTreeMap<String, Vec<f32>> = BTreeMap::new();
    for (index, parameter) in model.parameters.iter().enumerate() {
        floats.insert(format!("weight.{index}"), numbers::<B>(&parameter.value)?);
        for (slot, memory) in parameter.memory.iter().enumerate() {
            if let Some(memory) = memory {
                floats.insert(format!("memory.{slot}.{index}"), numbers::<B>(memory)?);
            }
        }
        if let Some(average) = &parameter.average {
            floats.insert(format!("average.weight.{index}"), numbers::<B>(average)?);
        }
    }
    for (index, running) in model.running.iter().enumerate() {
        floats.insert(format!("statistic.{index}"), numbers::<B>(&running.value)?);
        if let Some(average) = &running.average {
            floats.insert(format!("average.statistic.{index}"), numbers::<B>(average)?);
        }
    }
    for (index, values) in position.best.iter().flat_map(|(_, values)| values.iter().enumerate()) {
        floats.insert(format!("best.{index}"), values.clone());
    }
    let best = position.best.as_ref().map_or(0, |(epoch, _)| epoch + 1);
    let mut exact = vec![position.epoch as f64, position.batch as f64, position.total, best as f64];
    for epoch in &position.history {
        exact.extend([epoch.loss, epoch.learning_rate]);
        for evaluation in [epoch.validation, epoch.watched] {
            let found = evaluation.map_or([0.0; 3], |it| [it.accuracy, it.loss, it.samples as f64]);
            exact.extend(found);
        }
        // What is not there is less than nothing.
        let divergence = epoch.divergence.map_or([-1.0; 2], |it| [it.mean, it.agreement.unwrap_or(-1.0)]);
        exact.extend(divergence);
    }
    let exact: Vec<u8> = exact.into_iter().flat_map(f64::to_le_bytes).collect();
    let tensors = floats.iter().map(|(name, values)| (name.as_str(), Dtype::F32, bytemuck::cast_slice(values), 4));
    let tensors = tensors.chain([("position", Dtype::F64, exact.as_slice(), 8)]);
    let views: Result<Vec<_>, _> = tensors
        .map(|(name, dtype, bytes, size)| {
            TensorView::new(dtype, vec![bytes.len() / size], bytes).map(|view| (name, view))
        })
        .collect();
    let metadata = HashMap::from([(KEY.to_owned(), format!("{VERSION} {fingerprint}"))]);
    let views = views.map_err(|error| damaged(error.to_string()))?;
    serialize(views, Some(metadata)).map_err(|error| damaged(error.to_string()))
}

fn damaged(found: String) -> TrainError {
    TrainError::State { expected: "a training state".into(), found }
}

/// Puts a state back. Fails if the bytes are damaged or belong to another training.
pub(super) fn restore<B: RuntimeBackend>(
    model: &mut Model<B>,
    bytes: &[u8],
    fingerprint: &str,
    device: &B::Device,
) -> Result<Position, TrainError> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| damaged(error.to_string()))?;
    let found = header.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
    let found = found.ok_or_else(|| damaged("a file of another kind".into()))?;
    let expected = format!("{VERSION} {fingerprint}");
    if *found != expected {
        return Err(TrainError::State { expected: format!("one of this training: {expected}"), found: found.clone() });
    }
    let file = SafeTensors::deserialize(bytes).map_err(|error| damaged(error.to_string()))?;
    let floats = |name: String, length: usize| -> Result<Vec<f32>, TrainError> {
        let view = file.tensor(&name).map_err(|error| damaged(format!("{name}: {error}")))?;
        if view.dtype() != Dtype::F32 || view.shape() != [length] {
            return Err(damaged(format!("{name} of shape {:?}, not [{length}]", view.shape())));
        }
        Ok(bytemuck::pod_collect_to_vec(view.data()))
    };
    let tensor = |values: Vec<f32>, shape: &[usize]| -> FloatTensor<B> {
        Floats::<B>::from_vec(values, shape, device).into_tensor()
    };
    let names = file.names();
    let has = |name: &str| names.contains(&name);
    let mut lengths = Vec::new();
    for (index, parameter) in model.parameters.iter_mut().enumerate() {
        let length = parameter.shape.iter().product();
        lengths.push(length);
        parameter.value = tensor(floats(format!("weight.{index}"), length)?, &parameter.shape);
        for slot in 0..parameter.memory.len() {
            let name = format!("memory.{slot}.{index}");
            if has(&name) {
                parameter.memory[slot] = Some(tensor(floats(name, length)?, &parameter.shape));
            }
        }
        let name = format!("average.weight.{index}");
        if has(&name) {
            parameter.average = Some(tensor(floats(name, length)?, &parameter.shape));
        }
    }
    for (index, running) in model.running.iter_mut().enumerate() {
        let length = running.shape.iter().product();
        lengths.push(length);
        running.value = tensor(floats(format!("statistic.{index}"), length)?, &running.shape);
        let name = format!("average.statistic.{index}");
        if has(&name) {
            running.average = Some(tensor(floats(name, length)?, &running.shape));
        }
    }
    let view = file.tensor("position").map_err(|error| damaged(error.to_string()))?;
    let exact: Vec<f64> = bytemuck::pod_collect_to_vec(view.data());
    let [epoch, batch, total, best, history @ ..] = exact.as_slice() else {
        return Err(damaged("no position".into()));
    };
    let history: Vec<Epoch> = history.chunks_exact(10).map(recorded).collect();
    let best = match *best as usize {
        0 => None,
        after => {
            let values = lengths.iter().enumerate().map(|(index, &length)| floats(format!("best.{index}"), length));
            Some((after - 1, values.collect::<Result<_, _>>()?))
        }
    };
    Ok(Position { epoch: *epoch as usize, batch: *batch as usize, total: *total, history, best })
}

fn recorded(row: &[f64]) -> Epoch {
    let evaluation = |found: &[f64]| {
        let evaluation = Evaluation {
            accuracy: found[0],
            loss: found[1],
            samples: found[2] as usize,
            mean_iou: None,
            mean_absolute_error: None,
            r2: None,
        };
        (evaluation.samples > 0).then_some(evaluation)
    };
    let some = |number: f64| (number >= 0.0).then_some(number);
    Epoch {
        loss: row[0],
        learning_rate: row[1],
        validation: evaluation(&row[2..5]),
        watched: evaluation(&row[5..8]),
        divergence: some(row[8]).map(|mean| Divergence { mean, agreement: some(row[9]) }),
    }
}
