//! Several ways from networks to one, and the choice among them on samples that nothing was fitted on.

use otfuse_fusion::{Apart, FeatureSource, ModelAlignment};
use otfuse_graph::Graph;
use otfuse_runtime::{Answers, Executable, Probabilities, predict_as};
use serde::Serialize;

use super::fused::Outcome;
use super::plan::Plan;
use super::{FusePlan, Group, Prepared, Turned};
use crate::measure::{Clock, Distance, ensemble};
use crate::{Context, EffortName, ErrorKind, ModeName, PointName, RepairName, Result, Samples};

/// One of so many samples is held out where ways are compared.
const HELD_OUT: usize = 5;
/// Of fewer samples none are.
const FEWEST: usize = 50;

/// A way from networks to one that was tried.
#[derive(Clone, Debug, Serialize)]
pub struct TriedWay {
    /// How the neurons were matched, or which stay apart.
    pub name: &'static str,
    /// How far the result is from what the parents say in the mean, on samples that were held out.
    #[serde(flatten)]
    pub distance: Distance,
    /// Whether it was taken, and done again with all samples.
    pub taken: bool,
}

/// A way from networks to one.
pub(super) struct Way {
    name: &'static str,
    plan: Plan,
    apart: Apart,
    group: Group,
    weights: Vec<f64>,
}

/// What came out of a way.
pub(super) struct Attempt {
    pub outcome: Outcome,
    pub alignments: Vec<ModelAlignment>,
    /// Seconds for activations, alignment, average and repair.
    pub seconds: [f64; 4],
}

impl FusePlan {
    /// The ways that are worth trying, the usual one first: all ways of matching where there is time, and both ways to a
    /// network of another width.
    pub(super) fn ways(&self, group: &Group, turned: Option<&Turned>, weights: &[f64]) -> Result<Vec<Way>> {
        let usual =
            |name, plan: Plan, apart| Way { name, plan, apart, group: group.again(), weights: weights.to_vec() };
        let plan = &self.plan;
        let is_fitted =
            matches!(plan.repair, RepairName::LeastSquares | RepairName::Distill) && self.samples.all.is_some();
        let mut ways = vec![usual("usual", plan.clone(), Apart::WorstMatched)];
        if !is_fitted || plan.effort == EffortName::Quick {
            return Ok(ways);
        }
        if plan.width_budget.is_some() {
            ways[0].name = "worst matched apart";
            ways.push(usual("strongest of all", plan.clone(), Apart::Strongest));
        } else if let Some(width) = plan.narrow {
            ways[0].name = "into the pruned anchor";
            ways.extend(self.side_by_side(width)?);
        } else if plan.effort == EffortName::Thorough && self.options.mode.unwrap_or(ModeName::Auto) == ModeName::Auto {
            ways[0].name = "activations";
            let by = |name, features| {
                let mut plan = plan.clone();
                plan.settings.features = features;
                if features == FeatureSource::Weights {
                    plan.mode = ModeName::Weights;
                }
                usual(name, plan, Apart::WorstMatched)
            };
            ways.push(by("weights", FeatureSource::Weights));
            if let (None, FeatureSource::Activations { point, statistic }) = (turned, plan.settings.features) {
                let (name, other) = match plan.point {
                    PointName::Pre => {
                        ("activations behind the nonlinearity", otfuse_fusion::ActivationPoint::PostActivation)
                    }
                    PointName::Post => {
                        ("sums in front of the nonlinearity", otfuse_fusion::ActivationPoint::PreActivation)
                    }
                };
                ways.push(by(name, FeatureSource::Activations { point: other, statistic }));
                ways.push(by("activations and weights", FeatureSource::Both { point, statistic, share: 0.5 }));
                let mut plan = plan.clone();
                plan.width_budget = Some(1.0);
                if group.networks.equal_sizes() {
                    ways.push(usual("strongest of all", plan, Apart::Strongest));
                }
            }
        }
        Ok(ways)
    }

    /// All neurons side by side, of which the most important are kept: to a narrower network without its own shape as an anchor.
    fn side_by_side(&self, width: f64) -> Result<Option<Way>> {
        let count = self.models.len();
        let mut plan = self.plan.clone();
        (plan.narrow, plan.width_budget) = (None, Some(width));
        plan.anchor = self.options.anchor.unwrap_or(count - 1);
        plan.settings.weights.truncate(count);
        let group = Group::open(&self.models, None, &plan)?;
        if !group.networks.equal_sizes() {
            return Ok(None);
        }
        let weights = plan.settings.normalised_weights(count).map_err(|error| group.error(&error))?;
        Ok(Some(Way { name: "strongest of all", plan, apart: Apart::Strongest, group, weights }))
    }

    /// The way whose result is nearest to what the parents say in the mean, and all that were tried.
    pub(super) fn best(
        &self,
        mut ways: Vec<Way>,
        turned: Option<&Turned>,
        context: &Context,
    ) -> Result<(Way, Vec<TriedWay>)> {
        let all = self.samples.all.as_ref().filter(|all| ways.len() > 1 && all.len() >= FEWEST);
        let Some((fitted, judge)) = all.map(|all| self.judge(all, &ways[0], context)).transpose()?.flatten() else {
            ways.truncate(1);
            return Ok((ways.remove(0), Vec::new()));
        };
        let stage = context.stage("comparing ways", ways.len());
        let mut tried: Vec<TriedWay> = Vec::new();
        let mut kept = Vec::new();
        for (at, way) in ways.into_iter().enumerate() {
            let attempt = self.attempt(&way, turned, &fitted, context);
            let distance = attempt.and_then(|attempt| judge.distance(&attempt.outcome, context));
            stage.step();
            match distance {
                Ok(distance) => {
                    tried.push(TriedWay { name: way.name, distance, taken: false });
                    kept.push(way);
                }
                Err(error) if at == 0 || matches!(error.kind, ErrorKind::Cancelled | ErrorKind::Budget) => {
                    return Err(error);
                }
                Err(_) => {}
            }
        }
        let nearest = (0..tried.len())
            .min_by(|&a, &b| tried[a].distance.divergence.total_cmp(&tried[b].distance.divergence))
            .unwrap_or(0);
        tried[nearest].taken = true;
        Ok((kept.swap_remove(nearest), tried))
    }

    /// The samples that are fitted on, and who judges on the others; nothing where the networks' answers are not understood.
    fn judge(&self, all: &Samples, way: &Way, context: &Context) -> Result<Option<(Prepared, Judge)>> {
        let (held, rest): (Vec<usize>, Vec<usize>) = (0..all.len()).partition(|index| index % HELD_OUT == HELD_OUT - 1);
        let (held, rest) = (all.chosen(&held), all.chosen(&rest));
        let parents = self.parents(&way.group).into_iter().map(|parent| Executable::new(parent, context.host()));
        let parents = parents.collect::<std::result::Result<Vec<_>, _>>()?;
        let Ok(answers) = Answers::recognised(&parents[0], &held) else { return Ok(None) };
        if parents.iter().any(|parent| answers.on(parent.graph()).is_err()) {
            return Ok(None);
        }
        let shares = &way.weights[..parents.len()];
        let Some(ensemble) = ensemble(&parents, shares, &held, &answers)? else { return Ok(None) };
        let matching = self.samples.matching.as_ref().map(|_| rest.spread(way.plan.matching_samples));
        let fitted = Prepared { matching, all: Some(rest) };
        Ok(Some((fitted, Judge { held, answers, ensemble })))
    }

    /// Aligns, merges and repairs.
    pub(super) fn attempt(
        &self,
        way: &Way,
        turned: Option<&Turned>,
        samples: &Prepared,
        context: &Context,
    ) -> Result<Attempt> {
        let Way { plan, group, weights, .. } = way;
        let failure = |error| group.error(&error);
        let mut clock = Clock::start();
        let turned = match turned {
            Some(turned) => Some(turned.again().matched_by(plan, samples, context)?),
            None => None,
        };
        let activations = if turned.is_none() { group.activations(plan, samples, context)? } else { None };
        let recording = clock.lap();
        let aligned = match &turned {
            Some(turned) => turned.aligned(plan, context)?,
            None => group.aligned(plan, activations.as_deref(), context)?,
        };
        drop(activations);
        let align = aligned.alignment_time.as_secs_f64();
        clock.lap();
        let aligned = group.measured(aligned, weights, plan, samples, context)?;
        let merge = plan.merging();
        let alignments = aligned.alignments.clone();
        let is_streamed = turned.is_none()
            && plan.repair == RepairName::None
            && plan.width_budget.is_none()
            && plan.narrow.is_none()
            && self.data.is_none()
            && self.words.is_whole();
        if is_streamed {
            let outcome = Outcome::Streamed { aligned, merge, weights: weights.clone() };
            return Ok(Attempt { outcome, alignments, seconds: [recording, align, 0.0, 0.0] });
        }
        let fusion = aligned.fused(&merge, weights).map_err(failure)?;
        let average = clock.lap();
        let graph = match (plan.width_budget, &turned) {
            (Some(budget), _) => group.resized(&fusion, (budget, way.apart), plan, samples, context)?,
            (None, Some(turned)) => turned.repaired(&fusion, plan, samples, context)?,
            (None, None) => group.repaired(&fusion, plan, samples, context)?,
        };
        let seconds = [recording, align, average, clock.lap()];
        Ok(Attempt { outcome: Outcome::Whole(graph), alignments, seconds })
    }

    /// The models' graphs without a narrow copy of the anchor behind them.
    pub(super) fn parents<'g>(&self, group: &'g Group) -> Vec<&'g Graph> {
        (0..self.models.len()).map(|model: usize| group.networks.graph(model)).collect()
    }
}

impl Way {
    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }
}

/// Compares results with what the parents say in the mean.
struct Judge {
    held: Samples,
    answers: Answers,
    ensemble: Probabilities,
}

impl Judge {
    fn distance(&self, outcome: &Outcome, context: &Context) -> Result<Distance> {
        let far = Distance { divergence: f64::INFINITY, agreement: None };
        let Outcome::Whole(graph) = outcome else { return Ok(far) };
        let executable = Executable::new(graph, context.host())?;
        let answers = self.answers.on(graph)?;
        let said = predict_as(&executable, &self.held, &answers, &mut |_, _| {})?;
        Ok(self.ensemble.divergence(&said).map_or(far, Distance::from))
    }
}
