//! Reads and writes neural networks and arrays: PyTorch checkpoints, safetensors and NumPy files.

mod archive;
pub mod catalogue;
mod contents;
mod error;
pub mod file;
pub mod hf;
mod mapped;
pub mod model;
pub mod npz;
pub mod onnx;
pub mod pytorch;
pub mod safetensors;
pub mod state_dict;

pub use catalogue::Family;
pub use error::FormatError;
pub use file::{Outputs, abandon_outputs};
pub use model::{Architecture, Format, Model, ModelError, Source, Tensors};
pub use state_dict::{StateDict, read_state_dict};
