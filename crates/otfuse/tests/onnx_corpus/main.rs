//! Third-party ONNX files: neuron groups, proofs of them, and outputs against onnxruntime's.
#![allow(clippy::print_stderr)]

mod collection;
mod forward;
mod golden;
mod groups;
mod operators;
mod proof;
mod recurrent;
#[path = "../support/mod.rs"]
mod support;
