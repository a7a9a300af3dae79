//! Accuracy and loss of networks, and of their ensemble.

use std::borrow::Cow;

use otfuse_runtime::Probabilities;
use serde::Serialize;

use crate::fitting::{fitted, labelled, suspect};
use crate::measure::{Measured, Meter, probabilities};
use crate::{Context, Error, Model, Result, Samples};

/// Networks on the same samples.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluations {
    /// The data set.
    pub data: String,
    /// One for each network.
    pub models: Vec<EvaluatedModel>,
    /// The mean of these networks' probabilities (of their outputs where targets are numbers), where it was asked for.
    pub ensemble: Option<Measured>,
}

/// A network and how well it does.
#[derive(Clone, Debug, Serialize)]
pub struct EvaluatedModel {
    /// As it was given.
    pub path: String,
    /// How well it does.
    #[serde(flatten)]
    pub measured: Measured,
}

/// Measures networks, and with `ensemble` the mean of their probabilities, on labelled samples.
///
/// # Errors
/// A network that cannot be run on the samples; an ensemble of unequal outputs.
pub fn evaluate(models: &[&Model], samples: &Samples, ensemble: bool, context: &Context) -> Result<Evaluations> {
    labelled(samples, "measuring")?;
    let samples = &*fitted(Cow::Borrowed(samples), models, context)?;
    let (mut rows, mut members) = (Vec::new(), Vec::new());
    for model in models {
        let failure = |error| Error::from(error).of(model.path());
        let graph = model.told(context)?;
        if !ensemble {
            let evaluation = Meter::new(context, samples.len()).evaluation(graph, samples).map_err(failure)?;
            let measured = Measured::new(&evaluation, samples.is_language());
            rows.push(EvaluatedModel { path: model.shown(), measured });
            continue;
        }
        let found = probabilities(graph, samples, context).map_err(failure)?;
        let evaluation = found.evaluate(samples).map_err(failure)?;
        rows.push(EvaluatedModel { path: model.shown(), measured: Measured::new(&evaluation, samples.is_language()) });
        let expected = members.first().map_or(found.classes(), Probabilities::classes);
        if found.classes() != expected {
            let found = found.classes();
            let message = format!("`ensemble`: expected {expected} classes as in the first network, found {found}");
            return Err(Error::input(message).of(model.path()).hint("`otfuse inspect` shows each network's output"));
        }
        members.push(found);
    }
    let ensemble = if ensemble {
        let mean =
            Probabilities::mean(&members).ok_or_else(|| Error::input("`ensemble`: the networks' outputs differ"))?;
        Some(Measured::new(&mean.evaluate(samples)?, samples.is_language()))
    } else {
        None
    };
    // Last, so that an error is the first that is said.
    for (model, row) in models.iter().zip(&rows) {
        suspect(model.finite()?, &row.path, row.measured.accuracy, samples, true, context);
    }
    Ok(Evaluations { data: samples.name().to_owned(), models: rows, ensemble })
}
