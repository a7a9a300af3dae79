//! Recurrent layers.

use super::Unary;

/// See [`Operator::Recurrent`](super::Operator::Recurrent). One direction: files with both are read as two of these.
#[derive(Clone, Debug, PartialEq)]
pub struct Recurrent {
    /// What is computed at each step.
    pub cell: Cell,
    /// The number of hidden units.
    pub hidden: usize,
    /// Go through the sequence from its end.
    pub reverse: bool,
    /// Samples are axis 0 and steps axis 1 of X and Y, instead of the other way round.
    pub batch_first: bool,
    /// The functions of the cell in ONNX's order (f, g, h), as many as [`Cell::activations`] says.
    pub activations: Vec<Unary>,
    /// Bounds the absolute value of what the functions are given.
    pub clip: Option<f32>,
}

/// The kinds of recurrent cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Cell {
    Rnn,
    Gru {
        /// Apply the reset gate behind the linear map instead of before it.
        linear_before_reset: bool,
    },
    Lstm {
        /// The forget gate is one minus the input gate.
        input_forget: bool,
    },
}

impl Cell {
    /// The operator's ONNX name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rnn => "RNN",
            Self::Gru { .. } => "GRU",
            Self::Lstm { .. } => "LSTM",
        }
    }

    /// The number of gates, which lie behind one another along axis 1 of the weights.
    pub fn gates(self) -> usize {
        match self {
            Self::Rnn => 1,
            Self::Gru { .. } => 3,
            Self::Lstm { .. } => 4,
        }
    }

    /// The functions of a cell where a file names none.
    pub fn activations(self) -> &'static [Unary] {
        match self {
            Self::Rnn => &[Unary::Tanh],
            Self::Gru { .. } => &[Unary::Sigmoid, Unary::Tanh],
            Self::Lstm { .. } => &[Unary::Sigmoid, Unary::Tanh, Unary::Tanh],
        }
    }
}
