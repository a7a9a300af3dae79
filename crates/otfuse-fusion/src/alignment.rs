//! What an alignment found.

use otfuse_transport::{Termination, TransportPlan};
use serde::{Deserialize, Serialize};

use crate::map::GroupMap;

/// How one model's neurons were matched with the anchor's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelAlignment {
    /// The model, counted from 0.
    pub model: usize,
    /// The anchor, counted from 0.
    pub anchor: usize,
    /// All groups in topological order.
    pub groups: Vec<GroupAlignment>,
    /// Latent inputs whose noise was turned before neurons were matched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<InputAlignment>,
    /// Sweeps over all groups after the start; 0 for the forward sweep alone.
    #[serde(default)]
    pub sweeps: usize,
    /// Whether the last sweep changed no map.
    #[serde(default)]
    pub converged: bool,
    /// The squared distances between all tensors of the anchor and those of the aligned model, at the start and after each
    /// sweep; empty for the forward sweep alone.
    #[serde(default)]
    pub objective: Vec<f64>,
}

impl ModelAlignment {
    pub(crate) fn new(model: usize, anchor: usize) -> Self {
        Self {
            model,
            anchor,
            groups: Vec::new(),
            inputs: Vec::new(),
            sweeps: 0,
            converged: false,
            objective: Vec::new(),
        }
    }
}

/// How a model's noise corresponds to the anchor's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputAlignment {
    /// The input of the model.
    pub name: String,
    /// Its axis.
    pub axis: usize,
    /// The orthogonal matrix, row-major, that makes the model's noise of the anchor's.
    pub map: Vec<f64>,
}

/// Everything about a model after its alignment.
pub(crate) struct AlignedModel {
    pub maps: Vec<Option<GroupMap>>,
    pub alignment: ModelAlignment,
}

/// How the neurons of one group were matched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupAlignment {
    /// The first weight that produces the group's neurons.
    pub name: String,
    /// Neurons in the model.
    pub size: usize,
    /// Neurons in the anchor.
    pub anchor_size: usize,
    /// What the plan costs: the sum of mass times ground cost.
    pub cost: f64,
    /// An upper bound on how far the cost is from the optimum.
    pub gap: f64,
    /// How the solver ended: `optimal`, `converged` or `max_iterations`.
    pub termination: String,
    /// The share of the mass that goes from a neuron to its best partner; 1 for a permutation.
    pub matched_fraction: f64,
    /// The plan.
    pub plan: SavedPlan,
}

/// A transport plan as it is saved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SavedPlan {
    /// Neuron `i` of the model goes to neuron `permutation[i]` of the anchor, all with equal mass.
    Permutation(Vec<usize>),
    /// `(neuron of the model, neuron of the anchor, mass)` for every pair with mass.
    Entries(Vec<(usize, usize, f64)>),
    /// Orthogonal matrices, row-major with a row for each neuron of the model: one for all neurons, or one for each neuron of
    /// the group that these are within.
    Rotations(Vec<Vec<f64>>),
}

impl SavedPlan {
    /// Whether every neuron stays where it is.
    pub fn is_identity(&self) -> bool {
        match self {
            Self::Permutation(targets) => targets.iter().enumerate().all(|(source, target)| source == *target),
            Self::Entries(entries) => entries.iter().all(|&(source, target, _)| source == target),
            Self::Rotations(matrices) => matrices.iter().all(|matrix| {
                let size = matrix.len().isqrt();
                let expected = |at: usize| if at / size == at % size { 1.0 } else { 0.0 };
                matrix.iter().enumerate().all(|(at, value)| (value - expected(at)).abs() < 1e-6)
            }),
        }
    }
}

impl From<&TransportPlan> for SavedPlan {
    fn from(plan: &TransportPlan) -> Self {
        match plan {
            TransportPlan::Permutation(permutation) => Self::Permutation(permutation.as_slice().to_vec()),
            plan => Self::Entries(plan.entries().filter(|entry| entry.2 > 0.0).collect()),
        }
    }
}

pub(crate) fn termination_name(termination: Termination) -> &'static str {
    match termination {
        Termination::Optimal => "optimal",
        Termination::Converged { .. } => "converged",
        _ => "max_iterations",
    }
}

/// The mass that goes to the best partner of each row.
pub(crate) fn matched_fraction(plan: &TransportPlan) -> f64 {
    if let TransportPlan::Permutation(_) = plan {
        return 1.0;
    }
    let mut best = vec![0.0_f64; plan.shape().0];
    let mut total = 0.0;
    for (i, _, mass) in plan.entries() {
        best[i] = best[i].max(mass);
        total += mass;
    }
    if total > 0.0 { best.iter().sum::<f64>() / total } else { 0.0 }
}
