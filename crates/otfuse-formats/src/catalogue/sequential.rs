//! Plain networks: convolutions of stride 1, then linear layers, ReLU between them.

use otfuse_graph::Graph;

use super::error::Misfit;
use super::geometry::Padding;
use super::layers::Layers;
use super::stages::Stages;

/// Layers in the order of the state dict; pools from the gaps between indices, or, with the padding and the image size,
/// from the inputs of the first linear layer.
pub(super) fn draw(layers: &Layers<'_>) -> Result<Graph, Misfit> {
    Stages::of(layers)?.draw("sequential", layers, &[Padding::Absent, Padding::Same])
}
