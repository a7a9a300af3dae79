//! Executes and trains networks given as graphs.
mod device;
mod error;
mod interpreter;
pub use device::{Default32, DefaultDevice};
pub use error::RuntimeError;
pub use interpreter::{Executable, run_graph};
