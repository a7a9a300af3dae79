//! Averages of two networks with weights from 0 to 1, measured.

use std::borrow::Cow;
use std::fmt::Write as _;

use otfuse_runtime::Probabilities;
use serde::Serialize;

use crate::fitting::{fitted, labelled, suspect};
use crate::fusing::plan::{Plan, Purpose};
use crate::fusing::{Coverage, Group, Parent, Prepared, Turned};
use crate::measure::{Measure, Meter, barrier, steps_of};
use crate::{Context, Dataset, Error, FuseOptions, Model, Result, SplitName, ties};

/// Averages of two networks with several weights, aligned once.
#[derive(Clone, Debug, Serialize)]
pub struct Sweep {
    /// The data set.
    pub data: String,
    /// Test samples.
    pub samples: usize,
    /// The model that the other was aligned to.
    pub anchor: usize,
    /// The two networks.
    pub models: Vec<Parent>,
    /// What makes halfway another network than `fuse` writes; nothing where it is the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub halfway: Vec<String>,
    /// The averages.
    pub points: Vec<SweepPoint>,
    /// The largest loss on the way beyond the straight line between the two ends.
    pub barrier: SweepBarriers,
}

/// The largest losses on the way.
#[derive(Clone, Debug, Serialize)]
pub struct SweepBarriers {
    /// Index by index; none if the shapes differ.
    pub vanilla: Option<f64>,
    /// After alignment.
    pub ot: f64,
}

/// Averages with one weight.
#[derive(Clone, Debug, Serialize)]
pub struct SweepPoint {
    /// The weight of the second model; that of the first is what is missing to 1.
    pub weight: f64,
    /// Index by index; none if the shapes differ.
    pub vanilla: Option<Measure>,
    /// The mean of both models' probabilities.
    pub ensemble: Measure,
    /// After alignment by optimal transport.
    pub ot: Measure,
}

/// Aligns two models once and measures averages with these weights of the second (`11` for so many steps from 0 to 1, or
/// weights separated by commas) on the test samples of a data set, or the first `limit` of them.
///
/// # Errors
/// Not two models, weights out of range, samples or networks that do not fit.
pub fn sweep(
    models: &[Model],
    options: &FuseOptions,
    weights: &str,
    data: &Dataset,
    limit: Option<usize>,
    context: &Context,
) -> Result<Sweep> {
    context.install(|| swept(models, options, weights, data, limit, context))
}

fn swept(
    models: &[Model],
    options: &FuseOptions,
    weights: &str,
    data: &Dataset,
    limit: Option<usize>,
    context: &Context,
) -> Result<Sweep> {
    let models = &*ties::alike(models, context)?;
    let weights = steps_of("sweep", weights)?;
    let plan = Plan::resolve(options, models, Purpose::Measure { has_data: true })?;
    let halfway = plan.differences(&Plan::resolve(options, models, Purpose::Fuse { has_data: true })?, 2);
    if models.len() != 2 {
        let message = format!("`sweep` takes two models, found {}", models.len());
        return Err(Error::input(message).hint("it goes from the first model to the second"));
    }
    let refs: Vec<&Model> = models.iter().collect();
    let samples = data.samples(SplitName::Test, limit)?;
    labelled(&samples, "`sweep`")?;
    let samples = fitted(Cow::Owned(samples), &refs, context)?;
    let prepared = Prepared::of(&plan, || fitted(Cow::Owned(data.train()?), &refs, context), false)?.finite()?;
    for model in models {
        model.told(context)?;
    }
    let group = Group::open(models, None, &plan)?;
    group.check_costs(&plan)?;
    Coverage::of(&group, &plan).check(options)?;
    if !options.no_verify.unwrap_or(false) {
        group.prove(&plan, context)?;
    }
    let failure = |error| group.error(&error);
    let networks_of_a_point = if group.networks.equal_sizes() { 2 } else { 1 };
    let meter = Meter::new(context, samples.len() * (2 + networks_of_a_point * weights.len()));
    let (mut members, mut parents) = (Vec::new(), Vec::new());
    for (at, model) in models.iter().enumerate() {
        let failure = |error| group.run_error(at, error);
        let found = meter.probabilities(group.networks.graph(at), &samples).map_err(failure)?;
        let measure: Measure = found.evaluate(&samples).map_err(failure)?.into();
        suspect(group.networks.graph(at), &model.shown(), measure.accuracy, &samples, false, context);
        parents.push(Parent { path: model.shown(), measure, fused: None });
        members.push(found);
    }
    let turned = Turned::of(models, &group, &plan, context)?;
    let aligned = group.aligned_as(turned.as_ref(), &plan, &prepared, context)?;
    let plain = group.unaligned(&plan, context)?;
    let plain = plain.map(|plain| group.measured(plain, &[1.0; 2], &plan, &prepared, context)).transpose()?;
    let merge = plan.merging();

    let mut points = Vec::with_capacity(weights.len());
    for &weight in &weights {
        let pair = [1.0 - weight, weight];
        let ensemble = Probabilities::mixture(&members, &pair)
            .ok_or_else(|| Error::input("`sweep`: the networks' outputs differ"))?;
        let vanilla = match &plain {
            Some(plain) => Some(meter.measure(&plain.average(&merge, &pair).map_err(failure)?, &samples)?),
            None => None,
        };
        let ot = meter.measure(&aligned.average(&merge, &pair).map_err(failure)?, &samples)?;
        points.push(SweepPoint { weight, vanilla, ensemble: ensemble.evaluate(&samples)?.into(), ot });
    }
    let ends = [parents[0].measure.loss, parents[1].measure.loss];
    let vanilla = points.iter().map(|point| Some((point.weight, point.vanilla?.loss))).collect::<Option<Vec<_>>>();
    let ot: Vec<(f64, f64)> = points.iter().map(|point| (point.weight, point.ot.loss)).collect();
    Ok(Sweep {
        data: samples.name().to_owned(),
        samples: samples.len(),
        anchor: plan.anchor,
        barrier: SweepBarriers { vanilla: vanilla.map(|losses| height(&losses, &ends)), ot: height(&ot, &ends) },
        models: parents,
        halfway,
        points,
    })
}

/// The largest loss of these beyond the straight line between the parents.
fn height(losses: &[(f64, f64)], ends: &[f64]) -> f64 {
    let weights: Vec<[f64; 2]> = losses.iter().map(|&(weight, _)| [1.0 - weight, weight]).collect();
    barrier(weights.iter().zip(losses).map(|(weights, &(_, loss))| (&weights[..], loss)), ends).loss
}

impl Sweep {
    /// All points as comma-separated values, all digits.
    pub fn csv(&self) -> String {
        let mut text =
            String::from("weight,vanilla_accuracy,vanilla_loss,ensemble_accuracy,ensemble_loss,ot_accuracy,ot_loss\n");
        for point in &self.points {
            let pair = |found: Measure| match found.is_of_numbers() {
                true => format!(",{}", found.loss),
                false => format!("{},{}", found.accuracy, found.loss),
            };
            let vanilla = point.vanilla.map_or(",".to_owned(), pair);
            let SweepPoint { weight, ensemble, ot, .. } = point;
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{weight},{vanilla},{},{}", pair(*ensemble), pair(*ot));
        }
        text
    }
}
