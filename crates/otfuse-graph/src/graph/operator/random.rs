//! Random numbers: read and written back, never drawn.

use crate::DataType;

/// See [`Operator::Random`](super::Operator::Random).
#[derive(Clone, Debug, PartialEq)]
pub struct Random {
    /// The distribution, and what its shape comes from.
    pub kind: RandomKind,
    /// The element type of Y; that of X if absent (float32 without an X; int32 of `Multinomial`).
    pub data_type: Option<DataType>,
    /// The shape, where no input has it.
    pub shape: Vec<usize>,
    /// Mean and scale, or lowest and highest number.
    pub parameters: [f32; 2],
    /// Where the generator starts.
    pub seed: Option<f32>,
    /// How many numbers `Multinomial` draws a row.
    pub samples: usize,
}

/// Distributions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum RandomKind {
    Normal,
    NormalLike,
    Uniform,
    UniformLike,
    Bernoulli,
    Multinomial,
}

impl RandomKind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Normal, Self::NormalLike, Self::Uniform, Self::UniformLike, Self::Bernoulli, Self::Multinomial];

    /// The operator's ONNX name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "RandomNormal",
            Self::NormalLike => "RandomNormalLike",
            Self::Uniform => "RandomUniform",
            Self::UniformLike => "RandomUniformLike",
            Self::Bernoulli => "Bernoulli",
            Self::Multinomial => "Multinomial",
        }
    }

    /// Whether the shape is that of an input.
    pub fn has_input(self) -> bool {
        !matches!(self, Self::Normal | Self::Uniform)
    }
}
