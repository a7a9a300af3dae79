//! The collection of ONNX files beside the checkout.

use std::path::{Path, PathBuf};

use otfuse::formats::onnx::open_onnx;
use otfuse::graph::Graph;

/// The folder of the collection; where it is absent, a line that says so.
pub fn collection() -> Option<PathBuf> {
    crate::support::shared("onnx")
}

/// A network of the collection; panics if it cannot be read.
pub fn network(folder: &Path, name: &str) -> Graph {
    open_onnx(&folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}")).graph
}
