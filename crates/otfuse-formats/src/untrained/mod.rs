//! Networks before training, by name and sizes.
//!
//! | file | what it does |
//! |---|---|
//! | `network` | those of the catalogue ([`NetworkSpec`](crate::catalogue::NetworkSpec)), all weights 0 |
//! | `transformer` | transformers by family and sizes or by settings, and the settings that a task asks for |
//! | `draft` | the network of these settings and how each of its tensors begins |
//! | `tokenizer` | the files of a tokenizer for a vocabulary that was made from data |

mod draft;
mod error;
mod network;
mod tokenizer;
mod transformer;

pub use error::UntrainedError;
pub use transformer::{Task, TransformerSpec};
