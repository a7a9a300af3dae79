//! Neural networks as files, and back: bytes become a [`Graph`](otfuse_graph::Graph) with its weights, and a graph with
//! other weights becomes a file of the form that it came in.
//!
//! | module | what it is |
//! |---|---|
//! | [`model`] | [`Model::open`] and [`Model::save`] over all formats |
//! | [`checkpoint`] | named tensors of any file, and files of the same form with others |
//! | [`onnx`] | networks with their graphs |
//! | [`hf`] | Hugging Face folders: graphs drawn from `config.json` |
//! | [`catalogue`] | graphs for state dicts of well-known architectures, sizes read off the tensors |
//! | [`untrained`] | networks by name and sizes, before training |
//! | [`pytorch`], [`safetensors`] | named tensors ([`state_dict`]) in files |
//! | [`npz`] | arrays of NumPy |
//! | [`file`](mod@file) | memory maps, and outputs that are put in place together or not at all |
//!
//! Each layer knows those below it: formats of tensors, then graphs, then `model`, then `untrained`. Every error names its
//! file ([`FormatError`], [`ModelError`]) and has a hint for the user.

mod archive;
pub mod catalogue;
pub mod checkpoint;
mod contents;
mod correspondence;
mod error;
pub mod file;
mod format;
pub mod hf;
mod machine;
mod mapped;
pub mod model;
pub mod npz;
pub mod onnx;
pub mod pytorch;
mod read;
pub mod safetensors;
pub mod state_dict;
pub mod untrained;

pub use catalogue::Family;
pub use checkpoint::{Checkpoint, Planned};
pub use error::{Foreign, FormatError};
pub use file::{Outputs, abandon_outputs, open_regular, read_regular, read_regular_text};
pub use format::Format;
pub use machine::memory_limit;
pub use mapped::check_inputs;
pub use model::{Architecture, Model, ModelError, Source, Tensors};
pub use read::read_state_dict;
pub use state_dict::StateDict;
