//! Why a state dict is not a network of a family.

use super::Family;
use crate::model::QUANTIZED;

/// The tensors of a state dict do not form a network of the family asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a network of the family '{family}': {misfit}")]
pub struct CatalogueError {
    /// The family asked for.
    pub family: Family,
    /// What does not fit.
    pub misfit: Misfit,
    /// The other families that the tensors do form a network of.
    pub others: Vec<Family>,
}

/// What in a state dict does not fit a family.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misfit {
    /// A tensor is of another shape, or of none that has a place in the family.
    #[error("tensor '{tensor}': expected {expected}, found {found}")]
    Tensor {
        /// The tensor's name in the state dict.
        tensor: String,
        /// What the family asks for.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A weight is of integers, as quantised ones are.
    #[error("tensor '{tensor}': expected floating-point numbers, found {found}")]
    Integers {
        /// The tensor's name in the state dict.
        tensor: String,
        /// What is there.
        found: String,
    },
    /// A tensor is not there.
    #[error("expected a tensor '{tensor}' ({role}), found none")]
    Missing {
        /// The name that it would have.
        tensor: String,
        /// What it is there for.
        role: String,
    },
    /// No usual input and padding lead to the first linear layer's inputs.
    #[error("tensor '{tensor}': {inputs} inputs follow from no usual image size and padding; tried {tried}")]
    NoGeometry {
        /// The weight of the first linear layer.
        tensor: String,
        /// Its inputs.
        inputs: usize,
        /// What was tried.
        tried: String,
    },
    /// Several inputs and paddings lead to the first linear layer's inputs.
    #[error("tensor '{tensor}': {inputs} inputs follow from several networks: {}", candidates.join("; "))]
    Ambiguous {
        /// The weight of the first linear layer.
        tensor: String,
        /// Its inputs.
        inputs: usize,
        /// The networks that they follow from.
        candidates: Vec<String>,
    },
    /// The layers do not make a network whose shapes agree.
    #[error("the layers do not fit together: {found}")]
    Graph {
        /// What the check of the graph found.
        found: String,
    },
}

impl CatalogueError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        if matches!(self.misfit, Misfit::Integers { .. }) {
            return QUANTIZED.into();
        }
        let file = "give an ONNX file of the same network: --arch FILE.onnx";
        match self.others.as_slice() {
            [] => file.into(),
            [only] => format!("the tensors fit --arch {only}"),
            several => {
                let names: Vec<&str> = several.iter().map(|family| family.name()).collect();
                format!("the tensors fit --arch {}; otherwise {file}", names.join(" or --arch "))
            }
        }
    }
}

impl Misfit {
    pub(super) fn tensor(tensor: &str, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self::Tensor { tensor: tensor.into(), expected: expected.into(), found: found.into() }
    }

    pub(super) fn missing(tensor: impl Into<String>, role: impl Into<String>) -> Self {
        Self::Missing { tensor: tensor.into(), role: role.into() }
    }
}
