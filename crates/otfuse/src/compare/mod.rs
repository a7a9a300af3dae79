//! How alike networks are: neuron by neuron, layer by layer and sample by sample.

mod groups;
mod layers;
mod predictions;

use std::borrow::Cow;

use otfuse_fusion::FusionError;
use otfuse_graph::Graph;
use serde::Serialize;

use crate::choices::Choice;
use crate::error::fusion_error;
use crate::fitting::fitted;
use crate::fusing::plan::{Plan, Purpose};
use crate::fusing::{Coverage, Group, Prepared};
use crate::measure::{Clock, Measure};
use crate::{AlignOptions, Context, Dataset, Error, FuseOptions, ModeName, Model, Result, ties};

#[cfg(feature = "pages")]
pub(crate) use groups::BARS;
pub use groups::{ComparedAlignment, ComparedGroup, Quality};
pub use layers::{Kernel, Kernels, LayerActivations, Layers, Statistics};
pub use predictions::{Pair, Predictions};

/// What networks are compared on.
#[derive(Clone, Debug, Default)]
pub struct CompareOptions {
    /// How neurons are matched.
    pub aligning: AlignOptions,
    /// Only the first so many test samples for predictions.
    pub limit: Option<usize>,
    /// Test samples, spread evenly, that layers are compared on; 256.
    pub layer_samples: Option<usize>,
}

/// How alike networks are.
#[derive(Clone, Debug, Serialize)]
pub struct Likeness {
    /// The model that the others were aligned to.
    pub anchor: usize,
    /// How they were aligned: option and value.
    pub settings: Vec<(&'static str, String)>,
    /// The networks.
    pub models: Vec<ComparedModel>,
    /// One for each model but the anchor; none if the networks are of several architectures.
    pub alignments: Option<Vec<ComparedAlignment>>,
    /// Why there are no alignments.
    pub difference: Option<String>,
    /// The weights of each model's layers, and their activations where there are samples.
    pub layers: Vec<Layers>,
    /// What the networks say of the test samples.
    pub predictions: Option<Predictions>,
    /// How alike layers are on them.
    pub cka: Option<Kernels>,
    /// Time by stage.
    pub seconds: CompareSeconds,
}

/// Seconds by stage.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct CompareSeconds {
    pub read: f64,
    pub align: f64,
    pub predictions: f64,
    pub layers: f64,
}

/// A network that was compared.
#[derive(Clone, Debug, Serialize)]
pub struct ComparedModel {
    /// As it was given.
    pub path: String,
    /// Of the file.
    pub sha256: String,
    /// Learned numbers.
    pub parameters: usize,
    /// On the test samples, where there are any.
    #[serde(flatten)]
    pub measure: Option<Measure>,
}

impl ComparedModel {
    pub(crate) fn new(model: &Model, measure: Option<Measure>) -> Result<Self> {
        let (sha256, parameters) = (model.sha256()?.to_owned(), model.graph()?.parameter_count());
        Ok(Self { path: model.shown(), sha256, parameters, measure })
    }
}

/// The settings of an alignment as they were used: option and value.
pub(crate) fn shown_settings(plan: &Plan, options: &FuseOptions) -> Vec<(&'static str, String)> {
    let mut shown = vec![
        ("preset", options.preset.map_or("default", Choice::name).to_owned()),
        ("mode", plan.mode.to_string()),
        ("cost", plan.cost().to_string()),
        ("normalize features", if plan.settings.ground_cost.normalize { "yes" } else { "no" }.into()),
        ("sweeps", plan.settings.matching.max_sweeps.to_string()),
    ];
    if plan.mode != ModeName::Weights {
        shown.push(("samples", plan.samples.to_string()));
    }
    shown
}

/// Compares networks: their neurons where they are of one architecture (widths may differ), and on the samples of a data
/// set also their layers and predictions.
///
/// # Errors
/// Networks of several architectures without samples; samples that do not fit.
pub fn compare(
    models: &[Model],
    options: &CompareOptions,
    data: Option<&Dataset>,
    context: &Context,
) -> Result<Likeness> {
    context.install(|| compared(models, options, data, context))
}

fn compared(models: &[Model], options: &CompareOptions, data: Option<&Dataset>, context: &Context) -> Result<Likeness> {
    let models = &*ties::alike(models, context)?;
    let fuse = options.aligning.fusing(data.is_some());
    let plan = Plan::resolve(&fuse, models, Purpose::Fuse { has_data: data.is_some() })?;
    let layer_samples = options.layer_samples.unwrap_or(256);
    if !(2..=4096).contains(&layer_samples) {
        let message = format!("`layer_samples` {layer_samples}: expected 2 to 4096");
        return Err(Error::input(message).hint("the default is 256"));
    }
    let refs: Vec<&Model> = models.iter().collect();
    let samples = data.map(|data| fitted(Cow::Owned(data.test()?), &refs, context)).transpose()?;
    let mut seconds = CompareSeconds::default();
    let mut clock = Clock::start();
    let graphs: Vec<&Graph> = models.iter().map(|model| model.told(context)).collect::<Result<_>>()?;
    seconds.read = clock.lap();
    let (alignments, difference) = aligned(models, &plan, options, &fuse, data, context)?;
    seconds.align = clock.lap();
    let predictions = match &samples {
        Some(samples) => {
            let samples = samples.as_ref();
            let samples = options.limit.map_or_else(|| samples.clone(), |limit| samples.clone().truncated(limit));
            if samples.is_empty() {
                return Err(Error::input("`limit` 0: at least one sample is needed")
                    .hint("without `limit` all samples are used"));
            }
            predictions::compare(models, &graphs, &samples, context)?
        }
        None => None,
    };
    seconds.predictions = clock.lap();
    let chosen = samples.as_ref().map(|samples| samples.spread(layer_samples));
    let (layers, cka) = layers::compare(models, &graphs, chosen.as_ref(), context)?;
    seconds.layers = clock.lap();

    let measures = predictions.as_ref().map(|found| found.measures.as_slice()).unwrap_or_default();
    let parents = models.iter().enumerate();
    Ok(Likeness {
        anchor: plan.anchor,
        settings: shown_settings(&plan, &fuse),
        models: parents
            .map(|(at, model)| ComparedModel::new(model, measures.get(at).copied()))
            .collect::<Result<_>>()?,
        alignments,
        difference,
        layers,
        predictions,
        cka,
        seconds,
    })
}

/// The models' neurons matched with the anchor's, or why they are not comparable.
fn aligned(
    models: &[Model],
    plan: &Plan,
    options: &CompareOptions,
    fuse: &FuseOptions,
    data: Option<&Dataset>,
    context: &Context,
) -> Result<(Option<Vec<ComparedAlignment>>, Option<String>)> {
    let given = options.aligning.mode.unwrap_or(ModeName::Auto);
    let group = match Group::matched(models, None, plan)? {
        Err((error @ (FusionError::Architecture { .. } | FusionError::PinnedSize { .. }), paths))
            if data.is_some() && matches!(given, ModeName::Auto | ModeName::Weights) =>
        {
            return Ok((None, Some(fusion_error(&error, &paths, plan.anchor).message)));
        }
        Err((error, paths)) => return Err(fusion_error(&error, &paths, plan.anchor)),
        Ok(group) => group,
    };
    let failure = |error| group.error(&error);
    let coverage = Coverage::of(&group, plan);
    if coverage.aligned == 0 {
        context.warn(&format!("no neurons are compared: {coverage}"));
    }
    group.networks.check_finite().map_err(failure)?;
    if !fuse.no_verify.unwrap_or(false) {
        group.prove(plan, context)?;
    }
    let samples = match data {
        Some(data) => {
            let refs: Vec<&Model> = models.iter().collect();
            Prepared::of(plan, || fitted(Cow::Owned(data.train()?), &refs, context), false)?
        }
        None => Prepared::default(),
    };
    let activations = group.activations(plan, &samples, context)?;
    let aligned = group.aligned(plan, activations.as_deref(), context)?;
    Ok((Some(groups::compare(&group.networks, &aligned).map_err(failure)?), None))
}
