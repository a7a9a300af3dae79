//! Attention as one operator.

/// See [`Operator::Attention`](super::Operator::Attention).
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Attention {
    /// The heads of Q and of K and V, where these have three axes.
    pub heads: Option<(usize, usize)>,
    /// A query sees no later key.
    pub causal: bool,
    /// The factor of the products of queries and keys; one over the root of a head's width if absent.
    pub scale: Option<f32>,
    /// Bounds the scores smoothly: `cap * tanh(score / cap)`.
    pub softcap: Option<f32>,
    /// What the fourth output holds.
    pub scores: Scores,
}

/// A stage of the computation of attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Scores {
    /// The scaled products.
    #[default]
    Products,
    /// The products, bounded.
    Capped,
    /// The bounded products with masks.
    Masked,
    /// The probabilities.
    Probabilities,
}
