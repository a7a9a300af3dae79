//! The points between networks.

use otfuse_fusion::{Aligned, Merging};
use otfuse_runtime::Probabilities;
use serde::Serialize;

use crate::fitting::suspect;
use crate::fusing::plan::Plan;
use crate::fusing::{Group, Prepared};
use crate::measure::{Barrier, Measure, Meter, barrier};
use crate::{Context, Error, RepairName, Result, Samples};

/// What is measured on some samples.
pub(super) struct Split {
    pub samples: Samples,
    /// The networks themselves.
    pub models: Vec<Measure>,
    pub points: Vec<WalkPoint>,
}

impl Split {
    /// Nothing measured yet.
    pub(super) fn new(samples: Samples) -> Self {
        Self { samples, models: Vec::new(), points: Vec::new() }
    }
}

/// Averages with the same weights.
#[derive(Clone, Debug, Serialize)]
pub struct WalkPoint {
    /// One for each model; they add up to 1.
    pub weights: Vec<f64>,
    /// Index by index; none if the shapes differ.
    pub vanilla: Option<Measure>,
    /// The mean of the models' probabilities.
    pub ensemble: Measure,
    /// After alignment by optimal transport.
    pub ot: Measure,
    /// After alignment and repair, if one is asked for.
    pub repaired: Option<Measure>,
}

/// The barriers of one walk.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Barriers {
    pub vanilla: Option<Barrier>,
    pub ot: Barrier,
    pub repaired: Option<Barrier>,
}

impl Barriers {
    /// Those on the way over these points.
    pub(super) fn of(points: &[WalkPoint], models: &[Measure]) -> Self {
        let parents: Vec<f64> = models.iter().map(|model| model.loss).collect();
        let of = |kind: &dyn Fn(&WalkPoint) -> Option<Measure>| {
            let losses: Option<Vec<(&[f64], f64)>> =
                points.iter().map(|point| Some((&point.weights[..], kind(point)?.loss))).collect();
            losses.map(|losses| barrier(losses, &parents))
        };
        Self {
            vanilla: of(&|point| point.vanilla),
            ot: of(&|point| Some(point.ot)).unwrap_or(Barrier { loss: 0.0, weights: Vec::new() }),
            repaired: of(&|point| point.repaired),
        }
    }

    /// Those that there are, by name.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &Barrier)> {
        let all = [("vanilla", self.vanilla.as_ref()), ("ot", Some(&self.ot)), ("repaired", self.repaired.as_ref())];
        all.into_iter().filter_map(|(name, barrier)| Some((name, barrier?)))
    }
}

/// What a walk goes over.
pub(super) struct Walker<'w> {
    pub group: &'w Group,
    pub aligned: &'w Aligned,
    pub plain: Option<&'w Aligned>,
    pub plan: &'w Plan,
    pub samples: &'w Prepared,
    pub merge: &'w Merging,
    pub context: &'w Context,
}

impl Walker<'_> {
    /// Measures the networks and all points on all splits.
    pub(super) fn walk(&self, splits: &mut [Split], steps: &[Vec<f64>]) -> Result<()> {
        let networks = &self.group.networks;
        let repairs = self.plan.repair != RepairName::None;
        let kinds = 1 + usize::from(self.plain.is_some()) + usize::from(repairs);
        let samples: usize = splits.iter().map(|split| split.samples.len()).sum();
        let inner = steps.iter().filter(|weights| vertex(weights).is_none()).count();
        let meter = Meter::new(self.context, samples * (2 * networks.len() - 1 + kinds * inner));
        let mut members: Vec<Vec<Probabilities>> = vec![Vec::new(); splits.len()];
        for model in 0..networks.len() {
            let failure = |error| self.group.run_error(model, error);
            for (split, members) in splits.iter_mut().zip(&mut members) {
                let found = meter.probabilities(networks.graph(model), &split.samples).map_err(failure)?;
                let measure: Measure = found.evaluate(&split.samples).map_err(failure)?.into();
                let path = self.group.path(model);
                suspect(networks.graph(model), &path, measure.accuracy, &split.samples, false, self.context);
                split.models.push(measure);
                members.push(found);
            }
        }
        steps.iter().try_for_each(|weights| self.point(weights, splits, &members, &meter))
    }

    fn point(
        &self,
        weights: &[f64],
        splits: &mut [Split],
        members: &[Vec<Probabilities>],
        meter: &Meter<'_>,
    ) -> Result<()> {
        let failure = |error| self.group.error(&error);
        let anchor = self.group.networks.anchor();
        let repairs = self.plan.repair != RepairName::None;
        let vertex = vertex(weights);
        let plain = match (self.plain, vertex) {
            (Some(plain), None) => Some(plain.average(self.merge, weights).map_err(failure)?),
            _ => None,
        };
        let fusion = match vertex {
            Some(model) if model == anchor => None,
            _ => Some(self.aligned.fused(self.merge, weights).map_err(failure)?),
        };
        let repaired = match &fusion {
            Some(fusion) if repairs && vertex.is_none() => {
                Some(self.group.repaired(fusion, self.plan, self.samples, self.context)?)
            }
            _ => None,
        };
        let averaged = fusion.as_ref().map(|fusion| fusion.rounded(&self.group.networks));
        let averaged = averaged.transpose().map_err(failure)?;
        for (split, members) in splits.iter_mut().zip(members) {
            let ensemble = Probabilities::mixture(members, weights)
                .ok_or_else(|| Error::input("the networks' outputs differ"))?
                .evaluate(&split.samples)?;
            let vanilla = match (&plain, vertex) {
                (Some(plain), _) => Some(meter.measure(plain, &split.samples)?),
                (None, Some(model)) if self.plain.is_some() => Some(split.models[model]),
                _ => None,
            };
            let ot = match &averaged {
                Some(averaged) => meter.measure(averaged, &split.samples)?,
                None => split.models[anchor],
            };
            // At the ends there is nothing to repair.
            let repaired = match &repaired {
                Some(repaired) => Some(meter.measure(repaired, &split.samples)?),
                None => repairs.then_some(ot),
            };
            let weights = weights.to_vec();
            split.points.push(WalkPoint { weights, vanilla, ensemble: ensemble.into(), ot, repaired });
        }
        Ok(())
    }
}

/// The model that has all the weight.
fn vertex(weights: &[f64]) -> Option<usize> {
    weights.iter().position(|&weight| weight == 1.0)
}

/// All weights that are multiples of `1 / parts` and add up to 1; none if there are more than `most`.
pub(super) fn lattice(models: usize, parts: usize, most: usize) -> Option<Vec<Vec<f64>>> {
    fn fill(rest: usize, left: usize, counts: &mut Vec<usize>, found: &mut Vec<Vec<usize>>, most: usize) -> Option<()> {
        if left == 1 {
            counts.push(rest);
            found.push(counts.clone());
            counts.pop();
            return (found.len() <= most).then_some(());
        }
        for count in (0..=rest).rev() {
            counts.push(count);
            fill(rest - count, left - 1, counts, found, most)?;
            counts.pop();
        }
        Some(())
    }
    let mut found = Vec::new();
    fill(parts, models, &mut Vec::new(), &mut found, most)?;
    let weights = |counts: Vec<usize>| counts.into_iter().map(|count| count as f64 / parts as f64).collect();
    Some(found.into_iter().map(weights).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lattice_covers_the_simplex() {
        let found = lattice(3, 2, 100).unwrap();
        assert_eq!(found.len(), 6);
        assert_eq!(found[0], [1.0, 0.0, 0.0]);
        assert_eq!(found[1], [0.5, 0.5, 0.0]);
        assert!(found.iter().all(|weights| weights.iter().sum::<f64>() == 1.0));
        assert!(lattice(8, 20, 1000).is_none());
    }
}
