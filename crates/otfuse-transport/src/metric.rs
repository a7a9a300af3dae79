//! How far apart two feature vectors are.

/// The distance between two feature vectors `x` and `y`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum GroundMetric {
    /// `|x - y|`.
    #[default]
    Euclidean,
    /// `|x - y|^2`.
    SquaredEuclidean,
    /// `1 - <x, y> / (|x| |y|)`, between 0 and 2; 1 where `x` or `y` is zero.
    Cosine,
}

/// A metric and what is done to the features before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct GroundCost {
    /// The distance.
    pub metric: GroundMetric,
    /// Whether rows are scaled to unit Euclidean length first; zero rows stay zero. Has no effect on
    /// [`GroundMetric::Cosine`], which does so by its definition. Default: false.
    pub normalize: bool,
}

impl From<GroundMetric> for GroundCost {
    fn from(metric: GroundMetric) -> Self {
        Self { metric, normalize: false }
    }
}
