//! Executes and trains networks given as graphs.
//!
//! - [`Executable`] is a [`Graph`](otfuse_graph::Graph) prepared on a [`Host`]: it computes outputs and records inner values;
//!   [`run_graph`] does so once. A host is a [`Device`] with limits.
//! - [`dataset`] reads labelled images, [`evaluate`](evaluate()) and [`predict`] measure networks on them.
//! - [`inverse`] makes samples from networks alone: inputs by gradient descent, text by drawing tokens.
//! - [`train`](train::train) fits the weights of a graph by gradient descent through the same interpreter.
//!
//! Cargo's features, on by default: `training` (the module `train`), `images` (data sets of image files); off: `cuda` and
//! `wgpu` (GPUs).
//!
//! Everything is computed in float32 ([`run_graph`] gives outputs the types of the graph), and the same inputs give the same bytes whatever the number of threads.

mod batch;
mod budget;
mod device;
mod error;
mod evaluate;
mod executable;
mod head;
mod host;
mod init;
mod interpreter;
// Without training nothing asks for the gradients among them.
#[cfg_attr(not(feature = "training"), allow(dead_code))]
mod kernels;
mod random;
mod tokens;

pub mod dataset;
#[cfg(feature = "training")]
pub mod inverse;
#[cfg(feature = "training")]
pub mod train;

pub use batch::{SampleLayout, fixed_batch_size, run_batched};
pub(crate) use device::Cpu;
pub use device::{Device, DeviceError};
pub use error::RuntimeError;
pub use evaluate::{Answers, Divergence, Evaluation, Probabilities, evaluate, predict, predict_as};
pub use executable::{Executable, run_graph, run_graph_f32, run_graph_with, run_values_with};
pub use head::Head;
pub use host::{Cancellation, Host};
pub use init::{Start, filled, initialised, mlp};
pub use interpreter::{passes_gradients, refusal};
#[cfg(feature = "training")]
pub(crate) use kernels::Descent;
pub(crate) use kernels::{ConvolutionShape, RuntimeBackend, SlidingAxis};
