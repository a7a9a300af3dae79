//! The transport problem between a group's neurons in a model and in the anchor, and its answer.

use otfuse_transport::{
    CostMatrix, Features, GroundCost, Marginals, Potentials, Problem, TransportError, TransportPlan, cost_matrix,
};

use crate::alignment::{GroupAlignment, SavedPlan, matched_fraction, termination_name};
use crate::map::NeuronMap;
use crate::settings::{MarginalKind, Settings};

/// Tables of features of the neurons of a group, one row each.
pub(crate) type Tables = Vec<Vec<f32>>;

/// What it costs to match neurons, given their features in the model and in the anchor and how many there are.
pub(crate) fn costs(
    own: &[Vec<f32>],
    of_anchor: &[Vec<f32>],
    (n, m): (usize, usize),
    ground_cost: GroundCost,
) -> Result<CostMatrix, TransportError> {
    let (left, right) = (Features::joined(n, &slices(own))?, Features::joined(m, &slices(of_anchor))?);
    cost_matrix(ground_cost, &left, &right)
}

/// The problem of matching neurons, given their features in the model and in the anchor and how many there are.
pub(crate) fn pairing(
    own: &[Vec<f32>],
    of_anchor: &[Vec<f32>],
    (n, m): (usize, usize),
    settings: &Settings,
) -> Result<Problem, TransportError> {
    let cost = costs(own, of_anchor, (n, m), settings.ground_cost)?;
    Problem::new(cost, marginals(own, n, settings.marginals)?, marginals(of_anchor, m, settings.marginals)?)
}

/// A solved problem.
pub(crate) struct Matched {
    pub map: NeuronMap,
    pub plan: TransportPlan,
    pub potentials: Potentials,
    pub cost: f64,
    pub gap: f64,
    pub termination: &'static str,
}

impl Matched {
    /// Solves a problem, from the potentials of a similar one if there are any.
    pub fn new(problem: &Problem, start: Option<&Potentials>, settings: &Settings) -> Result<Self, TransportError> {
        let solution = match start {
            Some(start) => settings.solver.solve_from(problem, start)?,
            None => settings.solver.solve(problem)?,
        };
        Ok(Self {
            map: NeuronMap::new(&solution.plan, problem.a(), problem.b(), settings.published_scaling),
            cost: solution.cost,
            gap: solution.gap,
            termination: termination_name(solution.termination),
            potentials: solution.potentials,
            plan: solution.plan,
        })
    }

    /// [`pairing`], solved.
    pub fn of(
        own: &[Vec<f32>],
        of_anchor: &[Vec<f32>],
        sizes: (usize, usize),
        settings: &Settings,
    ) -> Result<Self, TransportError> {
        Self::new(&pairing(own, of_anchor, sizes, settings)?, None, settings)
    }

    /// [`of`](Self::of), with costs that count by how important the two neurons are: `2 s t / (s + t)` for importances `s`
    /// and `t`, so that a pair of which one counts for little costs little.
    pub fn weighted(
        own: &[Vec<f32>],
        of_anchor: &[Vec<f32>],
        importance: (&[f64], &[f64]),
        settings: &Settings,
    ) -> Result<Self, TransportError> {
        let (n, m) = (importance.0.len(), importance.1.len());
        let costs = costs(own, of_anchor, (n, m), settings.ground_cost)?;
        // Of mean one, so that the regularisation of soft plans keeps its meaning.
        let relative = |importance: &[f64]| -> Vec<f64> {
            let mean = importance.iter().sum::<f64>() / importance.len().max(1) as f64;
            importance.iter().map(|value| value / mean).collect()
        };
        let (left, right) = (relative(importance.0), relative(importance.1));
        let mut weighted = costs.into_vec();
        for (row, s) in weighted.chunks_exact_mut(m).zip(&left) {
            row.iter_mut().zip(&right).for_each(|(cost, t)| *cost *= 2.0 * s * t / (s + t).max(f64::MIN_POSITIVE));
        }
        let (a, b) = (marginals(own, n, settings.marginals)?, marginals(of_anchor, m, settings.marginals)?);
        Self::new(&Problem::new(CostMatrix::new(n, m, weighted)?, a, b)?, None, settings)
    }

    pub fn alignment(&self, name: &str, (size, anchor_size): (usize, usize)) -> GroupAlignment {
        GroupAlignment {
            name: name.to_owned(),
            size,
            anchor_size,
            cost: self.cost,
            gap: self.gap,
            termination: self.termination.to_owned(),
            matched_fraction: matched_fraction(&self.plan),
            plan: SavedPlan::from(&self.plan),
        }
    }
}

fn slices(tables: &[Vec<f32>]) -> Vec<&[f32]> {
    tables.iter().map(Vec::as_slice).collect()
}

/// The mass of each neuron. Neurons without any weight share theirs evenly if there is nothing else.
fn marginals(tables: &[Vec<f32>], neurons: usize, kind: MarginalKind) -> Result<Marginals, TransportError> {
    if kind == MarginalKind::Uniform {
        return Marginals::uniform(neurons);
    }
    let norm = |neuron: usize| -> f64 {
        let rows = tables.iter().flat_map(|table| {
            let width = table.len() / neurons;
            table[neuron * width..(neuron + 1) * width].iter().map(|&value| f64::from(value))
        });
        match kind {
            MarginalKind::L2 => rows.map(|value| value * value).sum::<f64>().sqrt(),
            _ => rows.map(f64::abs).sum(),
        }
    };
    let norms: Vec<f64> = (0..neurons).map(norm).collect();
    if norms.iter().all(|&norm| norm == 0.0) { Marginals::uniform(neurons) } else { Marginals::from_weights(&norms) }
}
