//! `--residual`.

use otfuse_fusion::Residual;
use serde::Serialize;

/// How the terms of residual streams count.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum ResidualName {
    Sums,
    Uniform,
    Scaled,
    Neurons,
}

impl From<ResidualName> for Residual {
    fn from(name: ResidualName) -> Self {
        match name {
            ResidualName::Sums => Self::Sums,
            ResidualName::Uniform => Self::Uniform,
            ResidualName::Scaled => Self::Scaled,
            ResidualName::Neurons => Self::Neurons,
        }
    }
}
