//! Why a network before training cannot be made.

use crate::catalogue::SpecError;
use crate::hf::HfError;
use crate::model::ModelError;

/// There is no such network, or none for such samples.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UntrainedError {
    /// The name is not understood, or the network does not take such samples.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The settings of a transformer are of no network that is drawn here.
    #[error("the architecture '{spec}': {source}")]
    Settings {
        /// The network.
        spec: String,
        /// What is wrong with them.
        source: Box<HfError>,
    },
    /// The tensors do not make a network of these sizes.
    #[error(transparent)]
    Model(#[from] Box<ModelError>),
}

impl UntrainedError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Spec(error) => error.hint(),
            Self::Settings { .. } => "choose other sizes, or correct the settings".into(),
            Self::Model(error) => error.hint(),
        }
    }
}
