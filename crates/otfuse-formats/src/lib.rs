//! Reads and writes neural networks and arrays: PyTorch checkpoints, safetensors and NumPy files.

mod archive;
mod error;
pub mod file;
pub mod npz;
pub mod onnx;
pub mod pytorch;
pub mod safetensors;
pub mod state_dict;

pub use error::FormatError;
pub use state_dict::{StateDict, read_state_dict};
