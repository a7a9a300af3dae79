//! What can be chosen.

use otfuse_transport::{GroundCost, Solver};

use crate::error::FusionError;
use crate::{ActivationPoint, ActivationStatistic};

/// How the models become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Method {
    /// Align by optimal transport, then average.
    #[default]
    OptimalTransport,
    /// Average index by index, without alignment ("vanilla average").
    Average,
}

/// What describes a neuron.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
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
    /// How the models become one. Default: optimal transport.
    pub method: Method,
    /// What describes a neuron. Default: weights.
    pub features: FeatureSource,
    /// The distance between two neurons' features. Default: Euclidean, not normalised.
    pub ground_cost: GroundCost,
    /// How the transport problems are solved. Default: exactly.
    pub solver: Solver,
    /// How much mass each neuron carries. Default: uniform.
    pub marginals: MarginalKind,
    /// The averaging weight of each model, in any unit; empty for equal weights. Default: empty.
    pub weights: Vec<f64>,
    /// Whether biases are part of a neuron's weight features, and a batch normalisation behind a layer is taken into
    /// account. Default: true. The published code knows neither.
    pub bias_features: bool,
    /// Whether consumers are divided by the anchor's marginals, as the published code does, instead of the model's own.
    /// With unequal widths that changes the function of the aligned model. Default: false.
    pub published_scaling: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            method: Method::default(),
            features: FeatureSource::default(),
            ground_cost: GroundCost::default(),
            solver: Solver::default(),
            marginals: MarginalKind::default(),
            weights: Vec::new(),
            bias_features: true,
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
