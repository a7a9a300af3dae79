//! Merges measured on samples, and on others that are held out.

use std::borrow::Cow;

use otfuse_fusion::{Aligned, FusionError};
use otfuse_runtime::{Answers, Executable, Probabilities, predict_as};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::{Objective, SearchOptions, SearchTrial};
use crate::fitting::fitted;
use crate::fusing::plan::Plan;
use crate::fusing::{Coverage, Group, Prepared, Turned};
use crate::measure::{Meter, ensemble};
use crate::merging::Told;
use crate::{
    Choice, Context, Dataset, Error, FuseOptions, MergeName, MergeParameters, Model, Result, Samples, SplitName,
};

/// Merges that are measured on the samples held out.
const FINALISTS: usize = 8;

/// As many places for the search as for what is held out, drawn without order: samples at even steps need not be like the others.
fn drawn(samples: usize, count: usize, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let mut places: Vec<usize> = (0..samples).collect();
    let count = count.min(samples / 2);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for place in 0..2 * count {
        let rest = (samples - place) as u64;
        places.swap(place, place + (random.next_u64() % rest) as usize);
    }
    let (mut search, mut held) = (places[..count].to_vec(), places[count..2 * count].to_vec());
    search.sort_unstable();
    held.sort_unstable();
    (search, held)
}

/// Measures merges.
pub(super) struct Judge<'a> {
    models: &'a [Model],
    options: &'a FuseOptions,
    merge: MergeName,
    anchor: usize,
    /// The models' shares, which the merge is told where nothing else is said.
    weights: Vec<f64>,
    aligned: Aligned,
    group: Group,
    pub objective: Objective,
    pub samples: Samples,
    pub held: Samples,
    /// What the parents say in the mean, of the samples and of those held out.
    ensembles: Option<(Answers, Probabilities, Probabilities)>,
    context: &'a Context,
}

impl<'a> Judge<'a> {
    pub fn new(
        models: &'a [Model],
        options: &'a FuseOptions,
        plan: &Plan,
        (wanted, data): (&SearchOptions, &Dataset),
        context: &'a Context,
    ) -> Result<Self> {
        let refs: Vec<&Model> = models.iter().collect();
        let train = fitted(Cow::Owned(data.samples(SplitName::Train, None)?), &refs, context)?;
        let (of_search, of_held) = drawn(train.len(), wanted.samples.unwrap_or(500).max(1), plan.seed);
        let (samples, held) = (train.chosen(&of_search), train.chosen(&of_held));
        if held.is_empty() {
            return Err(Error::input("`search` needs at least two samples").hint("name a larger data set"));
        }
        let objective = match wanted.objective {
            Some(objective) if objective != Objective::Ensemble && !samples.is_labelled() => {
                return Err(Error::input(format!("`search_by` {}: the samples have no labels", objective.name()))
                    .hint("`search_by` ensemble takes none"));
            }
            Some(objective) => objective,
            None if samples.is_labelled() => Objective::Loss,
            None => Objective::Ensemble,
        };
        let prepared = Prepared::of(plan, || fitted(Cow::Owned(data.train()?), &refs, context), false)?.finite()?;
        let group = Group::open(models, None, plan)?;
        Coverage::of(&group, plan).check(options)?;
        if !options.no_verify.unwrap_or(false) {
            group.prove(plan, context)?;
        }
        let turned = Turned::of(models, &group, plan, context)?;
        let aligned = group.aligned_as(turned.as_ref(), plan, &prepared, context)?;
        let ensembles = match objective {
            Objective::Ensemble => {
                let parents = models
                    .iter()
                    .map(|model| Ok(Executable::new(model.graph()?, context.host())?))
                    .collect::<Result<Vec<Executable>>>()?;
                let answers = Answers::recognised(&parents[0], &samples)
                    .map_err(|error| Error::input(error).hint("`search_by` loss compares with labels"))?;
                let shares = vec![1.0 / parents.len() as f64; parents.len()];
                let none = || {
                    Error::input("`search_by` ensemble: the networks' outputs differ")
                        .hint("`search_by` loss compares with labels")
                };
                let of = |samples: &Samples| ensemble(&parents, &shares, samples, &answers)?.ok_or_else(none);
                let (of_samples, of_held) = (of(&samples)?, of(&held)?);
                Some((answers, of_samples, of_held))
            }
            _ => None,
        };
        let weights = plan.settings.normalised_weights(models.len()).map_err(|error| group.error(&error))?;
        let (merge, anchor) = (plan.merge, plan.anchor);
        Ok(Self {
            models,
            options,
            merge,
            anchor,
            weights,
            aligned,
            group,
            objective,
            samples,
            held,
            ensembles,
            context,
        })
    }

    /// The score of a merge; less is better.
    pub fn score(&self, parameters: &MergeParameters, is_held: bool) -> Result<f64> {
        let options = FuseOptions { parameters: Some(parameters.clone()), ..self.options.clone() };
        let told = Told::of(self.merge.method(), &options, self.models, self.anchor)?;
        let failure = |error| self.group.error(&error);
        let graph = match self.aligned.average(&told.merging(), &self.weights) {
            // Numbers that make no network together, weights that are all 0 for one.
            Err(FusionError::Merge { .. } | FusionError::ResultNotFinite { .. }) => return Ok(f64::INFINITY),
            found => found.map_err(failure)?,
        };
        let samples = if is_held { &self.held } else { &self.samples };
        if let Some((answers, of_samples, of_held)) = &self.ensembles {
            let executable = Executable::new(&graph, self.context.host())?;
            let said = predict_as(&executable, samples, &answers.on(&graph)?, &mut |_, _| {})?;
            let expected = if is_held { of_held } else { of_samples };
            return Ok(expected
                .divergence(&said)
                .map_or(f64::INFINITY, |found| crate::Distance::from(found).divergence));
        }
        let quiet = self.context.clone().observer(|_: &crate::Event<'_>| {});
        let measure = Meter::new(&quiet, samples.len()).measure(&graph, samples)?;
        Ok(match self.objective {
            Objective::Accuracy if !measure.is_of_numbers() => -measure.accuracy + 1e-6 * measure.loss.min(1e3),
            _ => measure.loss,
        })
    }

    /// The place of the best merge on the samples held out, of the first one and those that were best before.
    pub fn decide(
        &self,
        trials: &mut [SearchTrial],
        told: &dyn Fn(&[f64]) -> MergeParameters,
        context: &Context,
    ) -> Result<usize> {
        let mut order: Vec<usize> = (0..trials.len()).collect();
        order.sort_by(|&a, &b| trials[a].score.total_cmp(&trials[b].score).then(a.cmp(&b)));
        order.truncate(FINALISTS);
        if !order.contains(&0) {
            order.push(0);
        }
        let stage = context.stage("the best measured on samples held out", order.len());
        for &place in &order {
            context.check()?;
            trials[place].held_out = Some(self.score(&told(&trials[place].values), true)?);
            stage.step();
        }
        let score = |place: &usize| trials[*place].held_out.unwrap_or(f64::INFINITY);
        order.sort_unstable();
        Ok(order.iter().copied().min_by(|a, b| score(a).total_cmp(&score(b))).unwrap_or(0))
    }
}
