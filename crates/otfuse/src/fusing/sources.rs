//! Where the samples of a fusion come from that names no data set.

#[cfg(feature = "training")]
use std::sync::Arc;

#[cfg(feature = "training")]
use super::Group;
use super::plan::is_open;
#[cfg(feature = "training")]
use super::plan::{Plan, is_large, weights_of_largest};
use super::prepared::Source;
use super::{Fuse, FusePlan, Fused};
#[cfg(feature = "training")]
use crate::making::{Contest, made, refused, told_without};
use crate::noise::drawn;
use crate::{Context, Dataset, Error, FuseOptions, ModeName, Model, RepairName, Result};
#[cfg(feature = "training")]
use crate::{EffortName, ErrorKind, MakeOptions};
use otfuse_runtime::dataset::{Noise, NoiseLaw};

/// Words of `samples_from`; all else is a file.
const WORDS: [&str; 3] = ["parents", "noise", "none"];

/// What is to be done.
enum Origin<'o> {
    /// Nothing is made: there are samples, or none are wanted.
    AsIs,
    /// The inputs of a file.
    File(&'o str),
    /// The models make them. Where it `is_asked` for, they are used in any case.
    Models { is_asked: bool, is_noise: bool },
}

/// Whether a file of samples is meant by `samples_from`.
pub fn names_file(samples_from: &str) -> bool {
    !WORDS.contains(&samples_from)
}

impl Fuse {
    /// Whether noise is drawn although no data set says so.
    pub(super) fn implies_noise(&self) -> bool {
        let from = self.options.samples_from.as_deref();
        self.source.is_none() && self.options.free_inputs.is_some() && matches!(from, None | Some("noise"))
    }

    /// Whether there will be samples that are made or read, since the options say so.
    pub(super) fn asks_for_samples(&self) -> bool {
        self.options.samples_from.as_deref().is_some_and(|from| from != "none")
    }

    /// The same fusion, whose noise has been drawn. Where inputs are free and nothing else is said they are taken for normal noise.
    pub(super) fn with_noise(&self, context: &Context) -> Result<Self> {
        let mut found = self.clone();
        let free = self.options.free_inputs.as_deref();
        if free.is_some() && self.options.method == Some(crate::MethodName::Average) {
            return Err(Error::input("`free_inputs` turns noise to align networks, which `method` average does not")
                .hint("leave one of them out"));
        }
        let count = self.options.samples.unwrap_or(1000);
        let (name, noise) = match &self.source {
            Some(Source::Data(data)) => match data.noise() {
                Some(noise) => (data.name().to_owned(), noise),
                None if free.is_some() => {
                    found.source = Some(Source::Samples(data.train()?.as_noise()));
                    return Ok(found);
                }
                None => return Ok(found),
            },
            Some(Source::Samples(samples)) => {
                if free.is_some() {
                    found.source = Some(Source::Samples(samples.clone().as_noise()));
                }
                return Ok(found);
            }
            None => match free.filter(|_| self.implies_noise()) {
                Some(names) => {
                    context.note(&format!(
                        "{names}: taken for normal noise, of which {count} samples are drawn; `data` noise:uniform, if it is that"
                    ));
                    found.options.samples_from = None;
                    ("noise:normal".to_owned(), Noise { law: NoiseLaw::Normal, count: None })
                }
                None => return Ok(found),
            },
        };
        if free.is_none() {
            context.note(&format!(
                "{name}: an input that is noise, and nothing else, may be turned to make generators alike: `free_inputs` names it"
            ));
        }
        let models: Vec<&Model> = self.models.iter().collect();
        let shapes = self.options.shape.clone().unwrap_or_default();
        let seed = self.options.seed.unwrap_or(0);
        let drawn = drawn((&name, noise, noise.count.unwrap_or(count)), &models, &shapes, (seed, 0))?;
        (found.source, found.law) = (Some(Source::Samples(drawn)), Some(noise.law));
        Ok(found)
    }

    fn origin(&self) -> Result<Origin<'_>> {
        let asked = self.options.samples_from.as_deref();
        if self.source.is_some() {
            return match asked {
                Some(_) => {
                    Err(Error::input("`samples_from` and `data` exclude each other").hint("leave one of them out"))
                }
                None => Ok(Origin::AsIs),
            };
        }
        Ok(match asked {
            Some("none") => Origin::AsIs,
            Some("parents") => Origin::Models { is_asked: true, is_noise: false },
            Some("noise") => Origin::Models { is_asked: true, is_noise: true },
            Some(file) => Origin::File(file),
            None if makes_samples(&self.options) => Origin::Models { is_asked: false, is_noise: false },
            None => Origin::AsIs,
        })
    }

    /// Plans a fusion, with samples from where they come from.
    pub(super) fn sourced(&self, context: &Context) -> Result<FusePlan> {
        match self.origin()? {
            Origin::AsIs => self.planned(context),
            Origin::File(path) => {
                let samples = Dataset::open(&format!("npz:{path}"))?.train()?;
                Self { source: Some(Source::Samples(samples)), ..self.silenced() }.planned(context)
            }
            Origin::Models { is_asked, is_noise } => self.made(is_asked, is_noise, context),
        }
    }

    /// The same fusion, which looks for no samples.
    fn silenced(&self) -> Self {
        let mut silenced = self.clone();
        silenced.options.samples_from = None;
        silenced
    }

    #[cfg(not(feature = "training"))]
    fn made(&self, is_asked: bool, _: bool, context: &Context) -> Result<FusePlan> {
        if is_asked {
            return Err(Error::input("samples are made by a library with the feature `training`"));
        }
        self.planned(context)
    }

    #[cfg(feature = "training")]
    fn made(&self, is_asked: bool, is_noise: bool, context: &Context) -> Result<FusePlan> {
        // What is wrong with the models is said before anything is made of them.
        let plan = Plan::resolve(&self.options, &self.models, self.purpose())?;
        if !is_asked && is_large(weights_of_largest(&self.models)?, context) {
            return self.planned(context);
        }
        // One network several times is itself, to the byte.
        let group = Group::matched(&self.models, None, &plan)?;
        if !is_asked && group.is_ok_and(|group| group.networks.is_one()) {
            return self.planned(context);
        }
        self.models.iter().try_for_each(|model| model.finite().map(|_| ()))?;
        let options = MakeOptions {
            count: self.options.samples,
            effort: self.options.effort,
            noise: is_noise,
            seed: self.options.seed.unwrap_or(0),
            shapes: self.options.shape.clone().unwrap_or_default(),
        };
        let made = match made(&self.models, &options, !is_asked, context) {
            Ok(Ok(made)) => made,
            Ok(Err(reason)) if is_asked => return Err(refused(&reason)),
            Err(error) if is_asked || error.kind == ErrorKind::Cancelled => {
                // All of them are run at once, the first one first.
                return Err(if error.file.is_some() { error } else { error.of(self.models[0].path()) });
            }
            Ok(Err(_)) => return self.planned(context),
            Err(error) => {
                told_without(&error, context);
                return self.planned(context);
            }
        };
        let (remarks, of_without) = (Arc::default(), Arc::default());
        let mut with = self.silenced();
        with.options.samples = Some(made.fitted.len());
        with.source = Some(Source::Samples(made.fitted.clone()));
        let mut plan = with.planned(&context.reserved(&remarks))?;
        let without = if is_asked {
            None
        } else {
            let mut without = self.silenced();
            // They are proved once.
            without.options.no_verify = Some(true);
            Some((Box::new(without.planned(&context.reserved(&of_without))?), of_without))
        };
        plan.contest = Some(Contest { made, without, remarks });
        Ok(plan)
    }
}

impl FusePlan {
    #[cfg(feature = "training")]
    pub(super) fn contested(mut self, context: &Context) -> Result<Fused> {
        match self.contest.take() {
            Some(contest) => contest.decided(self, context),
            None => self.execute(context),
        }
    }

    #[cfg(not(feature = "training"))]
    pub(super) fn contested(self, context: &Context) -> Result<Fused> {
        self.execute(context)
    }

    /// What each model counts in the ensemble.
    #[cfg(feature = "training")]
    pub(crate) fn mixture(&self) -> Result<Vec<f64>> {
        let found = self.plan.settings.normalised_weights(self.models.len());
        found.map_err(Error::input)
    }
}

/// Whether options leave it to the product how neurons are matched and what is repaired.
fn makes_samples(options: &FuseOptions) -> bool {
    let is_default = is_open(options)
        && options.mode.unwrap_or(ModeName::Auto) == ModeName::Auto
        && options.repair.unwrap_or(RepairName::Auto) == RepairName::Auto;
    let is_whole = options.width_budget.is_none()
        && options.target_width.is_none_or(|width| width == 1.0)
        && options.aligned_only != Some(true)
        && options.vocabulary.is_none();
    is_default && is_whole && is_slow(options)
}

#[cfg(feature = "training")]
fn is_slow(options: &FuseOptions) -> bool {
    options.effort != Some(EffortName::Quick)
}

#[cfg(not(feature = "training"))]
fn is_slow(_: &FuseOptions) -> bool {
    false
}
