//! Networks to be fused, and how.

use std::borrow::Cow;

use otfuse_runtime::dataset::NoiseLaw;

use super::comparison::Checked;
use super::idle::idle;
use super::order::canonical_order;
use super::plan::{self, Plan, Purpose, spare_memory};
use super::prepared::{Prepared, Source, Training};
use super::vocabulary::{self, Matched};
use super::{FusePlan, Fused};
use crate::depth::{self, Depths};
use crate::fitting::{bounded, fitted};
use crate::latent::Latents;
use crate::{Context, Dataset, Error, FuseOptions, MethodName, Model, PresetName, RepairName, Result, Samples, ties};

/// Networks to be fused, and how. What is not said has the product's default, so that this does what `otfuse fuse` does,
/// to the byte: with samples neurons are matched by their activations and layers fitted by least squares, without by their
/// weights until nothing changes, and the variance of layers is repaired from the weights alone; the neuron groups of all
/// models are proved first.
///
/// ```no_run
/// # fn main() -> Result<(), otfuse::Error> {
/// use otfuse::{Context, Dataset, Fuse, Model};
///
/// let context = Context::new();
/// let (a, b) = (Model::open("a.onnx")?, Model::open("b.onnx")?);
/// let data = Dataset::open("cifar10:data")?;
/// let fused = Fuse::new([&a, &b]).samples(data.train()?).run(&context)?;
/// fused.save("fused.onnx")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Fuse {
    pub(super) models: Vec<Model>,
    pub(super) options: FuseOptions,
    pub(super) source: Option<Source>,
    pub(super) compared: Option<Samples>,
    /// How the noise of free inputs is distributed, where that is known.
    pub(super) law: Option<NoiseLaw>,
}

impl Fuse {
    /// Two or more networks; the last one is the anchor.
    pub fn new<'m>(models: impl IntoIterator<Item = &'m Model>) -> Self {
        let models = models.into_iter().cloned().collect();
        Self { models, options: FuseOptions::default(), source: None, compared: None, law: None }
    }

    /// All options at once; those that were set before stay where these leave something open.
    #[must_use]
    pub fn options(mut self, options: FuseOptions) -> Self {
        self.options = options.or(self.options);
        self
    }

    /// Unlabelled samples for activations and repair (labels are not looked at).
    #[must_use]
    pub fn samples(mut self, samples: Samples) -> Self {
        self.source = Some(Source::Samples(samples));
        self
    }

    /// Labelled samples on which parents, ensemble, plain average and result are compared.
    #[must_use]
    pub fn compare_on(mut self, samples: Samples) -> Self {
        self.compared = Some(samples);
        self
    }

    /// A data set: its training samples as [`samples`](Self::samples), its test samples to [compare](Self::compare_on) on.
    #[must_use]
    pub fn data(mut self, data: &Dataset) -> Self {
        self.source = Some(Source::Data(Box::new(data.clone())));
        self
    }

    /// The model, counted from 0, that the others are aligned to and whose shapes and format the result has.
    #[must_use]
    pub fn anchor(mut self, model: usize) -> Self {
        self.options.anchor = Some(model);
        self
    }

    /// Averaging weight of each model.
    #[must_use]
    pub fn weights(mut self, weights: impl Into<Vec<f64>>) -> Self {
        self.options.weights = Some(weights.into().into());
        self
    }

    /// How the neurons are brought into one order.
    #[must_use]
    pub fn method(mut self, method: MethodName) -> Self {
        self.options.method = Some(method);
        self
    }

    /// Named settings.
    #[must_use]
    pub fn preset(mut self, preset: PresetName) -> Self {
        self.options.preset = Some(preset);
        self
    }

    /// What is repaired after merging.
    #[must_use]
    pub fn repair(mut self, repair: RepairName) -> Self {
        self.options.repair = Some(repair);
        self
    }

    /// The network whose shapes and format the result has, as far as it is known before work starts.
    ///
    /// # Errors
    /// Options that contradict each other.
    pub fn expected_anchor(&self) -> Result<&Model> {
        let placed = self.placed()?;
        Ok(&self.models[Plan::resolve(&placed.options, &self.models, self.purpose())?.anchor])
    }

    /// The same fusion, whose anchor has the depth that was asked for.
    pub(super) fn placed(&self) -> Result<Self> {
        let mut placed = self.clone();
        if let Some(anchor) = depth::anchor(&self.models, &self.options)? {
            placed.options.anchor = Some(anchor);
        }
        Ok(placed)
    }

    pub(super) fn purpose(&self) -> Purpose {
        Purpose::Fuse { has_data: self.source.is_some() || self.implies_noise() || self.asks_for_samples() }
    }

    /// Resolves all options, reads the samples and puts three and more models into an order of their own, so that the order
    /// in which they are named makes no difference.
    ///
    /// # Errors
    /// Options that contradict each other; samples or files that cannot be read; a damaged test split.
    pub fn plan(&self, context: &Context) -> Result<FusePlan> {
        let ready = context.install(|| self.placed()?.with_noise(context)?.sourced(context))?;
        for (name, why) in idle(&ready) {
            context.warn(&format!("`{name}` has no effect: {why}"));
        }
        Ok(ready)
    }

    pub(super) fn planned(&self, context: &Context) -> Result<FusePlan> {
        let (mut models, mut options) = (ties::alike(&self.models, context)?.into_owned(), self.options.clone());
        let first = Plan::resolve(&options, &models, self.purpose())?;
        let words = self.words(&mut models, first.anchor, context)?;
        // A base, and what is told of single models, are of the models as they were named.
        let is_told = plan::takes_tasks(&options) || options.base.is_some() || options.parameters.is_some();
        let is_free = options.anchor.is_none()
            && !is_told
            && matches!(options.preset, None | Some(PresetName::Converged))
            && models.len() > 2;
        let read = self.source.as_ref().map(Training::of);
        let refs: Vec<&Model> = models.iter().collect();
        let samples = match &read {
            Some(read) => Prepared::of(&first, || fitted(Cow::Borrowed(read.samples()?), &refs, context), is_free)?,
            None => Prepared::default(),
        };
        let samples = if matches!(self.source, Some(Source::Data(_))) { samples.finite()? } else { samples };
        let checked = self.checked(first.check, read.as_ref(), context)?;
        if is_free && let Some(found) = canonical_order(&models, samples.all.as_ref(), context)? {
            models = found.order.iter().map(|&model| models[model].clone()).collect();
            let is_plain = options.preset.is_none() && options.method.is_none_or(|method| method == MethodName::Ot);
            match &mut options.weights {
                Some(weights) if !weights.0.is_empty() => {
                    weights.0 = found.order.iter().map(|&model| weights.0[model]).collect();
                }
                weights if is_plain => *weights = found.weights.map(Into::into).or(weights.take()),
                _ => {}
            }
        }
        spare_memory(&mut options, &models, self.source.is_some(), context)?;
        let plan = Plan::resolve(&options, &models, self.purpose())?;
        let latents = Latents::matched(&mut models, &plan, (options.free_inputs.as_deref(), self.law), context)?;
        let depths = Depths::matched(&mut models, &plan, &options, &samples, context)?;
        let data = self.source.as_ref().map(|source| source.name().to_owned());
        Ok(FusePlan {
            models,
            options,
            plan,
            samples,
            checked,
            data,
            words,
            latents,
            depths,
            #[cfg(feature = "training")]
            contest: None,
        })
    }

    /// Brings the tokens of all models into one order where that was asked for.
    pub(super) fn words(&self, models: &mut [Model], anchor: usize, context: &Context) -> Result<Matched> {
        let Some(how) = self.options.vocabulary else {
            vocabulary::warn_of_others(models, anchor, context);
            return Ok(Matched::default());
        };
        if self.options.aligned_only == Some(true) || self.options.target_width.is_some() {
            return Err(Error::input("`vocabulary` does not go with `aligned_only` or `target_width`")
                .hint("leave one of them out"));
        }
        vocabulary::matched(models, anchor, how, context)
    }

    /// The samples to compare on: the test samples, or the training samples of a data set that has no others.
    pub(super) fn checked(
        &self,
        count: usize,
        read: Option<&Training<'_>>,
        context: &Context,
    ) -> Result<Option<Checked>> {
        if let Some(samples) = &self.compared {
            return Ok(Some(Checked { samples: samples.clone(), split: "test" }));
        }
        let Some(read) = read.filter(|_| count > 0) else { return Ok(None) };
        let Source::Data(data) = read.source else { return Ok(None) };
        let (samples, split) = match data.test_if_any()? {
            Some(samples) => (samples, "test"),
            None => (read.samples()?.clone(), "train"),
        };
        if !samples.is_labelled() {
            context
                .note(&format!("{}: without labels the networks are not compared; fusing needs none", samples.name()));
            return Ok(None);
        }
        let refs: Vec<&Model> = self.models.iter().collect();
        // What there is to say was said of the training samples.
        let quiet = context.clone().observer(|_: &crate::Event<'_>| {});
        let samples = fitted(Cow::Owned(samples), &refs, &quiet)?.into_owned();
        Ok(Some(Checked { samples: bounded(samples.spread(count)), split }))
    }

    /// Fuses.
    ///
    /// # Errors
    /// As [`plan`](Self::plan) and [`FusePlan::run`].
    pub fn run(&self, context: &Context) -> Result<Fused> {
        self.plan(context)?.run(context)
    }
}
