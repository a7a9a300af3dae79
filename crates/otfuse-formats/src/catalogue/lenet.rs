//! LeNet-5 (LeCun et al., "Gradient-based learning applied to document recognition", 1998) with ReLU and max pools, as
//! PyTorch's tutorials have it.

use otfuse_graph::Graph;

use super::error::Misfit;
use super::geometry::Padding;
use super::layers::{Kind, Layers};
use super::stages::Stages;

/// `conv1`, `conv2`, .. each with ReLU and a max pool of size 2 (the last one without a pool if the sizes say so), then
/// `fc1`, `fc2`, ..
pub(super) fn draw(layers: &Layers<'_>) -> Result<Graph, Misfit> {
    for layer in layers.iter() {
        let numbered = |stem: &str| layer.path.strip_prefix(stem).is_some_and(|rest| rest.parse::<usize>().is_ok());
        let expected = match layer.kind {
            Kind::Conv if numbered("conv") => continue,
            Kind::Linear if numbered("fc") || layer.path == "fc" => continue,
            Kind::Conv => "a convolution named conv1, conv2, ..",
            Kind::Linear => "a linear layer named fc1, fc2, ..",
            Kind::Norm => "no normalisation",
        };
        return Err(layer.weight.misfit(expected));
    }
    let stages = Stages::of(layers)?;
    let paddings = [Padding::Absent, Padding::Same, Padding::SameFirst];
    let mut pools = vec![true; stages.stages.len()];
    let geometry = stages.solve(&paddings, &[pools.clone()]).or_else(|misfit| {
        if let (Some(last), Misfit::NoGeometry { .. }) = (pools.last_mut(), &misfit) {
            *last = false;
        }
        stages.solve(&paddings, &[pools])
    })?;
    stages.draw_as("lenet", layers, &geometry)
}
