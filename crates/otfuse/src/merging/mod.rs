//! Merging by any method: of networks whose neurons are aligned first, and of tensors by their names.
//!
//! | file | what it does |
//! |---|---|
//! | `settings` | what methods are told: numbers, gradients over layers, choices by names |
//! | `layers` | which tensors belong to which layer, by their names |
//! | `told` | a method with what it is told, for networks that are aligned |
//! | `file` | settings in mergekit's format |
//! | `plan` | which tensors a result has, and what each is merged of |
//! | `tokens`, `templates` | vocabularies and chat templates of the result |
//! | `tensors`, `beside` | tensors made when their turn comes, and the files around them |
//! | `run` | documents one after the other, and what is said of them |

#[cfg(feature = "experiment")]
mod beside;
#[cfg(feature = "experiment")]
pub(crate) mod file;
mod layers;
#[cfg(feature = "experiment")]
mod plan;
#[cfg(feature = "experiment")]
mod run;
mod settings;
#[cfg(feature = "experiment")]
mod templates;
#[cfg(feature = "experiment")]
mod tensors;
#[cfg(feature = "experiment")]
mod tokens;
mod told;

pub(crate) use layers::Layers;
#[cfg(feature = "experiment")]
pub(crate) use layers::Split;
#[cfg(feature = "experiment")]
pub use run::{Merge, MergeReport};
pub(crate) use settings::numbers;
pub use settings::{Filtered, MergeParameters, Parameters, Setting};
pub(crate) use told::Told;
