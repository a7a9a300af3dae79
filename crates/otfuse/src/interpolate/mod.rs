//! Networks on the way between networks, measured before and after alignment.

mod plane;
mod walk;

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::Serialize;

use crate::compare::{ComparedModel, shown_settings};
use crate::fitting::{fitted, labelled};
use crate::fusing::plan::{Plan, Purpose};
use crate::fusing::{Coverage, Group, Prepared, Turned};
use crate::measure::{Clock, Measure, steps_of};
use crate::{
    AlignOptions, Context, Dataset, Error, FuseOptions, MergeName, Model, RepairName, Result, SplitName, ties,
};

pub use plane::{Corner, Plane};
pub use walk::{Barriers, WalkPoint};
use walk::{Split, Walker, lattice};

/// The most points of the walk and of the plane.
const MOST_POINTS: usize = 10_000;

/// Which networks between networks are measured.
#[derive(Clone, Debug, Default)]
pub struct InterpolateOptions {
    /// How neurons are matched.
    pub aligning: AlignOptions,
    /// How aligned tensors become one; mean.
    pub merge: Option<MergeName>,
    /// Points from one network to another, ends included, or for two networks the weights of the second separated by
    /// commas; 11 for two networks, 5 for more.
    pub steps: Option<String>,
    /// Only the first so many test samples.
    pub limit: Option<usize>,
    /// Also measure on so many training samples, spread evenly over the training split.
    pub train: Option<usize>,
    /// Also repair every point between the ends; none.
    pub repair: Option<RepairName>,
    /// Match and repair as `fuse` does unless options say otherwise, so that halfway is what it would write.
    pub as_fuse: bool,
    /// How strongly least squares holds weights at the averaged ones; 0.03.
    pub ridge: Option<f64>,
    /// Also measure so many points on a side of the plane through the first three aligned networks, or through the first of
    /// two as it is, aligned, and the second.
    pub plane: Option<usize>,
}

/// Networks between networks, measured.
#[derive(Clone, Debug, Serialize)]
pub struct Walk {
    /// The data set.
    pub data: String,
    /// Test samples.
    pub samples: usize,
    /// The model that the others were aligned to.
    pub anchor: usize,
    /// How the points were made.
    pub settings: WalkSettings,
    /// The networks.
    pub models: Vec<ComparedModel>,
    /// The points, on test samples.
    pub points: Vec<WalkPoint>,
    /// How far the loss rises on the way.
    pub barrier: Barriers,
    /// On training samples.
    pub train: Option<WalkOnTraining>,
    /// The plane through three networks.
    pub plane: Option<Plane>,
    /// Time by stage.
    pub seconds: WalkSeconds,
}

/// How the points were made.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct WalkSettings {
    pub alignment: Vec<(&'static str, String)>,
    pub repair: RepairName,
    pub verified: bool,
    /// What makes halfway another network than `fuse` writes; nothing where it is the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub halfway: Vec<String>,
}

/// The points on training samples.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct WalkOnTraining {
    pub samples: usize,
    pub models: Vec<Measure>,
    pub points: Vec<WalkPoint>,
    pub barrier: Barriers,
}

/// Seconds by stage.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct WalkSeconds {
    pub read: f64,
    pub align: f64,
    pub walk: f64,
    pub plane: f64,
}

/// Measures networks on the way between networks on the test samples of a data set, before and after alignment: two on a
/// straight path from the first to the last, more on the simplex between all.
///
/// # Errors
/// Networks of several architectures, samples that do not fit, too many points.
pub fn interpolate(models: &[Model], options: &InterpolateOptions, data: &Dataset, context: &Context) -> Result<Walk> {
    context.install(|| walked(models, options, data, context))
}

fn walked(models: &[Model], options: &InterpolateOptions, data: &Dataset, context: &Context) -> Result<Walk> {
    let models = &*ties::alike(models, context)?;
    if options.repair == Some(RepairName::Distill) {
        return Err(Error::input("`repair` distill takes minutes for each point; only `otfuse fuse` does so")
            .hint("`repair` least-squares repairs every point"));
    }
    let mut as_fuse = options.aligning.as_typed();
    (as_fuse.repair, as_fuse.ridge, as_fuse.merge) = (options.repair, options.ridge, options.merge);
    let fuse = match options.as_fuse {
        true => as_fuse.clone(),
        false => {
            let repair = Some(options.repair.unwrap_or(RepairName::None));
            FuseOptions { repair, ridge: options.ridge, merge: options.merge, ..options.aligning.fusing(true) }
        }
    };
    let mut plan = Plan::resolve(&fuse, models, Purpose::Fuse { has_data: true })?;
    let repair = plan.repair;
    let of_fuse = Plan::resolve(&as_fuse, models, Purpose::Fuse { has_data: true })?;
    // The kind of features is a default here.
    plan.symmetry = of_fuse.symmetry;
    let halfway = plan.differences(&of_fuse, models.len());
    let steps = steps(models.len(), options.steps.as_deref())?;
    if options.plane.is_some_and(|points| points < 2 || points * points > MOST_POINTS) {
        return Err(Error::input("`plane`: expected 2 to 100 points on a side").hint("for example `plane` 11"));
    }
    let refs: Vec<&Model> = models.iter().collect();
    let (mut splits, prepared) = samples(options, &plan, data, &refs, context)?;
    let mut seconds = WalkSeconds::default();
    let mut clock = Clock::start();
    for model in models {
        model.told(context)?;
    }
    let group = Group::open(models, None, &plan)?;
    group.check_costs(&plan)?;
    Coverage::of(&group, &plan).check(&fuse)?;
    let verified = !fuse.no_verify.unwrap_or(false) && group.prove(&plan, context)?;
    seconds.read = clock.lap();
    let all = vec![1.0; models.len()];
    let plain = group.unaligned(&plan, context)?;
    let plain = plain.map(|plain| group.measured(plain, &all, &plan, &prepared, context)).transpose()?;
    let turned = Turned::of(models, &group, &plan, context)?;
    let aligned = group.aligned_as(turned.as_ref(), &plan, &prepared, context)?;
    seconds.align = clock.lap();

    let walker = Walker {
        group: turned.as_ref().map_or(&group, |turned| &turned.group),
        aligned: &aligned,
        plain: plain.as_ref(),
        plan: &plan,
        samples: &prepared,
        merge: &plan.merging(),
        context,
    };
    walker.walk(&mut splits, &steps)?;
    seconds.walk = clock.lap();
    let plane = options.plane.map(|side| plane::measure(&walker, side, &splits[0].samples)).transpose()?;
    seconds.plane = clock.lap();

    let mut splits = splits.into_iter();
    let Some(test) = splits.next() else { return Err(Error::run("no samples")) };
    let barrier = Barriers::of(&test.points, &test.models);
    let parents = models.iter().zip(&test.models);
    Ok(Walk {
        data: test.samples.name().to_owned(),
        samples: test.samples.len(),
        anchor: plan.anchor,
        settings: WalkSettings { alignment: shown_settings(&plan, &fuse), repair, verified, halfway },
        models: parents.map(|(model, measure)| ComparedModel::new(model, Some(*measure))).collect::<Result<_>>()?,
        points: test.points,
        barrier,
        train: splits.next().map(|train| WalkOnTraining {
            samples: train.samples.len(),
            barrier: Barriers::of(&train.points, &train.models),
            models: train.models,
            points: train.points,
        }),
        plane,
        seconds,
    })
}

/// What is measured on, and what neurons are matched and layers repaired on; training samples are read once.
fn samples(
    options: &InterpolateOptions,
    plan: &Plan,
    data: &Dataset,
    models: &[&Model],
    context: &Context,
) -> Result<(Vec<Split>, Prepared)> {
    let test = data.samples(SplitName::Test, options.limit)?;
    labelled(&test, "interpolating")?;
    let mut splits = vec![Split::new(fitted(Cow::Owned(test), models, context)?.into_owned())];
    let training = || fitted(Cow::Owned(data.train()?), models, context);
    let Some(count) = options.train else { return Ok((splits, Prepared::of(plan, training, false)?.finite()?)) };
    if count == 0 {
        return Err(
            Error::input("`train` 0: at least one sample is needed").hint("leave it out to measure test samples")
        );
    }
    let train = training()?;
    splits.push(Split::new(train.spread(count)));
    Ok((splits, Prepared::of(plan, || Ok(train), false)?.finite()?))
}

/// The weights of all models at each point.
fn steps(models: usize, text: Option<&str>) -> Result<Vec<Vec<f64>>> {
    if models == 2 {
        let weights = steps_of("steps", text.unwrap_or("11"))?;
        return Ok(weights.into_iter().map(|weight| vec![1.0 - weight, weight]).collect());
    }
    let text = text.unwrap_or("5");
    let steps = text.trim().parse::<usize>().ok().filter(|steps| (2..=101).contains(steps)).ok_or_else(|| {
        Error::input(format!("`steps` {text}: expected a number from 2 to 101 for more than two networks"))
            .hint("it counts the points on the way from one network to another")
    })?;
    lattice(models, steps - 1, MOST_POINTS).ok_or_else(|| {
        Error::input(format!("`steps` {steps}: more than {MOST_POINTS} points between {models} networks"))
            .hint("fewer steps will do")
    })
}

impl Walk {
    /// All points as comma-separated values, all digits.
    pub fn csv(&self) -> String {
        let mut text = String::from("split");
        // Writing to a string cannot fail.
        for model in 0..self.models.len() {
            let _ = write!(text, ",weight_{model}");
        }
        for kind in ["vanilla", "ensemble", "ot", "repaired"] {
            let _ = write!(text, ",{kind}_accuracy,{kind}_loss");
        }
        text.push('\n');
        let test = self.points.iter().map(|point| ("test", point));
        let train = self.train.iter().flat_map(|train| &train.points).map(|point| ("train", point));
        for (split, point) in test.chain(train) {
            text.push_str(split);
            for weight in &point.weights {
                let _ = write!(text, ",{weight}");
            }
            for measure in [point.vanilla, Some(point.ensemble), Some(point.ot), point.repaired] {
                let _ = match measure {
                    Some(measure) if measure.is_of_numbers() => write!(text, ",,{}", measure.loss),
                    Some(measure) => write!(text, ",{},{}", measure.accuracy, measure.loss),
                    None => write!(text, ",,"),
                };
            }
            text.push('\n');
        }
        text
    }
}
