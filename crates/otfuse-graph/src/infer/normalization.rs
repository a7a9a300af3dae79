//! Normalisations: shapes stay, parameters must fit.

use super::error::{InferenceError, Mismatch};
use super::fact::Fact;
use super::scope::Scope;
use crate::Dim;

/// `parameters` vectors, one number each for every channel (axis 1).
pub(super) fn of_channels(scope: &Scope<'_>, parameters: usize) -> Result<Fact, InferenceError> {
    if let Some(shape) = scope.shape(0) {
        let channels = shape.get(1).ok_or_else(|| scope.rank_error(0, "at least 2"))?;
        for parameter in 1..=parameters {
            scope.expect_vector(parameter, channels)?;
        }
    }
    unchanged(scope)
}

/// As [`of_channels`], with the statistics of each channel behind.
pub(super) fn in_training(scope: &Scope<'_>) -> Result<Vec<Fact>, InferenceError> {
    let normalised = of_channels(scope, 4)?;
    let channels = normalised.shape.as_ref().and_then(|shape| Some(vec![shape.get(1)?.clone()]));
    let statistic = |input: usize| Fact::new(scope.data_type(input), channels.clone());
    Ok(vec![normalised, statistic(3), statistic(4)])
}

/// Scale and bias broadcast to the axes from `axis` on.
pub(super) fn of_last_axes(scope: &Scope<'_>, axis: i64) -> Result<Fact, InferenceError> {
    if let Some(shape) = scope.shape(0) {
        let axis = scope.axis(axis, shape.len())?;
        for parameter in 1..3 {
            scope.expect_broadcast_to(parameter, &shape[axis..])?;
        }
    }
    unchanged(scope)
}

/// Groups of channels; scale and bias are one number each for every channel, or for every group.
pub(super) fn of_groups(scope: &Scope<'_>, groups: usize, per_group: bool) -> Result<Fact, InferenceError> {
    if let Some(shape) = scope.shape(0) {
        let channels = shape.get(1).ok_or_else(|| scope.rank_error(0, "at least 2"))?;
        if groups == 0 || channels.as_known().is_some_and(|channels| !channels.is_multiple_of(groups)) {
            let found = channels.clone();
            return Err(scope.error(0, Mismatch::Indivisible { axis: 1, parts: groups, found }));
        }
        for parameter in 1..=2 {
            let parts = Dim::known(groups);
            scope.expect_vector(parameter, if per_group { &parts } else { channels })?;
        }
    }
    unchanged(scope)
}

/// Across channels (axis 1).
pub(super) fn of_neighbours(scope: &Scope<'_>) -> Result<Fact, InferenceError> {
    match scope.shape(0) {
        Some(shape) if shape.len() < 2 => Err(scope.rank_error(0, "at least 2")),
        _ => unchanged(scope),
    }
}

/// Along one axis, as softmax does.
pub(super) fn along_axis(scope: &Scope<'_>, axis: i64) -> Result<Fact, InferenceError> {
    if let Some(shape) = scope.shape(0) {
        scope.axis(axis, shape.len())?;
    }
    unchanged(scope)
}

fn unchanged(scope: &Scope<'_>) -> Result<Fact, InferenceError> {
    Ok(Fact::new(scope.data_type(0), scope.shape(0).cloned()))
}
