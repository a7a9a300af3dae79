//! What can be chosen.

use otfuse_transport::{GroundCost, GroundMetric, Solver};

use crate::error::FusionError;
use crate::residual::Residual;

/// As many sweeps as no run needs that gets anywhere.
const MAX_SWEEPS: usize = 100;

/// Sweeps on features of unit length have no common objective that must fall.
const RECOMMENDED_SWEEPS: usize = 40;

/// How the neurons of the models are brought into one order. How they are merged then is another choice: see
/// [`Merge`](crate::merge::Merge).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Alignment {
    /// By optimal transport.
    #[default]
    Transport,
    /// Not at all: neurons are merged index by index ("vanilla"), which needs equal shapes.
    None,
}

/// Where activations are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum ActivationPoint {
    /// Behind the weighted sum, its bias, batch normalisation and residual addition, before the nonlinearity.
    #[default]
    PreActivation,
    /// Behind the nonlinearity.
    PostActivation,
}

/// What is kept of activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum ActivationStatistic {
    /// All of them: every sample and position is a feature.
    #[default]
    Raw,
    /// Mean and standard deviation over samples and positions.
    Moments,
}

/// What describes a neuron.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub enum FeatureSource {
    /// Its incoming weights and bias, the layers before being aligned already. Needs no data.
    #[default]
    Weights,
    /// Its activations on a batch of samples, the same for all models.
    Activations {
        /// Where the activations are taken.
        point: ActivationPoint,
        /// What is kept of them.
        statistic: ActivationStatistic,
    },
    /// Weights and activations together, where sweeps go on after the first one, which goes by activations alone.
    Both {
        /// Where the activations are taken.
        point: ActivationPoint,
        /// What is kept of them.
        statistic: ActivationStatistic,
        /// The share of the activations in the squared norms of all features of a group, from 0 to 1.
        share: f64,
    },
}

/// Which weights describe a neuron in the sweeps after the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Members {
    /// Those that produce it: its incoming weights, bias and normalisation.
    Producers,
    /// These and those that consume it: its outgoing weights.
    #[default]
    All,
}

/// In which order a sweep visits the groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SweepOrder {
    /// From the inputs to the outputs.
    #[default]
    Topological,
    /// At random, anew for each sweep, from [`Matching::seed`].
    Random,
}

/// Where the sweeps begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SweepStart {
    /// With the forward sweep of the optimal transport paper.
    #[default]
    Forward,
    /// With every neuron where it is, as Git Re-Basin. Models of other widths than the anchor start with the forward
    /// sweep all the same.
    Identity,
}

/// How matching goes on after the first, forward sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct Matching {
    /// The most sweeps after the start; 0 for the forward sweep alone. Default: 0.
    pub max_sweeps: usize,
    /// Where the sweeps begin. Default: with the forward sweep.
    pub start: SweepStart,
    /// Which weights describe a neuron. Default: all.
    pub members: Members,
    /// The order of the groups. Default: topological.
    pub order: SweepOrder,
    /// Runs with seeds of their own, of which the one with the lowest objective counts. Default: 1.
    pub starts: usize,
    /// The seed of random orders. Default: 0.
    pub seed: u64,
    /// Whether all tensors count alike, whatever their norm. Default: false.
    pub balance: bool,
    /// How three and more models are brought together. Default: each is aligned to the anchor.
    pub consensus: Consensus,
    /// Whether that is so where activations are matched, too. Default: false.
    pub consensus_of_activations: bool,
}

/// What three and more models are aligned to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Consensus {
    /// The anchor.
    #[default]
    Anchor,
    /// The anchor first, then the mean of all other aligned models in turn, until nothing changes (Git Re-Basin,
    /// algorithm 3, "MergeMany").
    RunningMean,
}

impl Default for Matching {
    fn default() -> Self {
        Self {
            max_sweeps: 0,
            start: SweepStart::default(),
            members: Members::default(),
            order: SweepOrder::default(),
            starts: 1,
            seed: 0,
            balance: false,
            consensus: Consensus::default(),
            consensus_of_activations: false,
        }
    }
}

/// How much mass each neuron carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum MarginalKind {
    /// The same for all.
    #[default]
    Uniform,
    /// By importance: the L1 norm of the neuron's features.
    L1,
    /// By importance: the L2 norm of the neuron's features.
    L2,
}

/// All settings of a fusion.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How neurons are brought into one order. Default: by optimal transport.
    pub alignment: Alignment,
    /// What describes a neuron. Default: weights.
    pub features: FeatureSource,
    /// How the terms of residual streams count, where the forward sweep describes neurons. Default: the sums, as they are.
    pub residual: Residual,
    /// The distance between two neurons' features. Default: Euclidean, not normalised.
    pub ground_cost: GroundCost,
    /// How the transport problems are solved. Default: exactly.
    pub solver: Solver,
    /// How matching goes on after the first sweep. Default: not at all.
    pub matching: Matching,
    /// How much mass each neuron carries. Default: uniform.
    pub marginals: MarginalKind,
    /// The averaging weight of each model, in any unit; empty for equal weights. Default: empty.
    pub weights: Vec<f64>,
    /// Whether biases are part of a neuron's weight features, and a batch normalisation behind a layer is taken into
    /// account. Default: true. The published code knows neither.
    pub bias_features: bool,
    /// Whether the sweeps after the first take a batch normalisation into the layer before it, instead of treating scale
    /// and shift as tensors of their own. Default: true.
    pub fold_normalization: bool,
    /// Whether consumers are divided by the anchor's marginals, as the published code does, instead of the model's own.
    /// With unequal widths that changes the function of the aligned model. Default: false.
    pub published_scaling: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            alignment: Alignment::default(),
            features: FeatureSource::default(),
            residual: Residual::default(),
            ground_cost: GroundCost::default(),
            solver: Solver::default(),
            matching: Matching::default(),
            marginals: MarginalKind::default(),
            weights: Vec::new(),
            bias_features: true,
            fold_normalization: true,
            published_scaling: false,
        }
    }
}

impl Settings {
    /// The choices of the published code: Euclidean costs between raw weight rows, no biases in the features, the
    /// anchor's marginals on both sides. (It also aligns the output layer: see
    /// [`Networks::with_free_outputs`](crate::Networks::with_free_outputs).) Its separate maps for the branches of a residual
    /// block are not reproduced, since they change the network's function: a residual stream has one map.
    pub fn paper() -> Self {
        Self { bias_features: false, published_scaling: true, ..Self::default() }
    }

    /// Weight matching as published with Git Re-Basin (S. Ainsworth, J. Hayase, S. Srinivasa, ICLR 2023, algorithm 1): from
    /// the identity, sweeps in random order over the groups, each matched on all its weights by the assignment with
    /// the largest inner product, until nothing changes.
    pub fn git_rebasin() -> Self {
        let matching = Matching {
            max_sweeps: MAX_SWEEPS,
            start: SweepStart::Identity,
            order: SweepOrder::Random,
            ..Matching::default()
        };
        Self {
            matching,
            ground_cost: GroundMetric::SquaredEuclidean.into(),
            fold_normalization: false,
            ..Self::default()
        }
    }

    /// Converged matching: the forward sweep, then sweeps over all weights of each group until nothing changes.
    pub fn converged() -> Self {
        let matching = Matching { max_sweeps: MAX_SWEEPS, ..Matching::default() };
        Self { matching, ground_cost: GroundMetric::SquaredEuclidean.into(), ..Self::default() }
    }

    /// What the measurements in `docs/methods.md` recommend: converged matching on features of unit length, so that no
    /// neuron and no layer counts more for its scale alone; three and more models each to the mean of all others.
    pub fn recommended() -> Self {
        let consensus = Consensus::RunningMean;
        let matching = Matching { max_sweeps: RECOMMENDED_SWEEPS, consensus, ..Matching::default() };
        let ground_cost = GroundCost { metric: GroundMetric::Euclidean, normalize: true };
        Self { matching, ground_cost, ..Self::default() }
    }

    /// Whether sweeps follow the first one, and could find more than it did.
    pub(crate) fn sweeps(&self) -> bool {
        self.matching.max_sweeps > 0 && !matches!(self.features, FeatureSource::Activations { .. })
    }

    /// The averaging weights of `models` models, adding up to 1.
    pub fn normalised_weights(&self, models: usize) -> Result<Vec<f64>, FusionError> {
        if self.weights.is_empty() {
            return Ok(vec![1.0 / models as f64; models]);
        }
        let total: f64 = self.weights.iter().sum();
        let valid = self.weights.iter().all(|&weight| weight >= 0.0) && total > 0.0 && total.is_finite();
        if self.weights.len() != models || !valid {
            return Err(FusionError::Weights { expected: models, found: self.weights.clone() });
        }
        Ok(self.weights.iter().map(|weight| weight / total).collect())
    }
}
