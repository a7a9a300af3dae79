//! VGG (Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", 2015).

use otfuse_graph::Graph;

use super::error::Misfit;
use super::geometry::Padding;
use super::layers::{Kind, Layers};
use super::stages::Stages;

/// Names of the part behind the convolutions.
const HEADS: [&str; 4] = ["classifier", "fc", "linear", "head"];

/// `features.N`: convolutions that keep the size, batch normalisation if there is one, ReLU; where the next index leaves
/// room for more, a max pool of size 2. Then `classifier`, or `classifier.N` with ReLU between the linear layers.
///
/// As in every configuration of the paper a pool comes last, unless the classifier's inputs rule it out. Its
/// inputs also tell the image size (512 of 1 x 1: CIFAR's; 512 of 7 x 7: ImageNet's, where torchvision's adaptive pool is
/// the identity).
pub(super) fn draw(layers: &Layers<'_>) -> Result<Graph, Misfit> {
    for layer in layers.iter() {
        let in_features = layer.place().is_some_and(|(list, _)| list == "features");
        let in_head = HEADS.iter().any(|head| {
            let rest = layer.path.strip_prefix(head);
            rest.is_some_and(|rest| {
                rest.is_empty() || rest.strip_prefix('.').is_some_and(|n| n.parse::<usize>().is_ok())
            })
        });
        let expected = match layer.kind {
            Kind::Conv if in_features => continue,
            Kind::Norm if in_features || in_head => continue,
            Kind::Linear if in_head => continue,
            Kind::Conv => "a convolution named features.N",
            Kind::Linear => "a linear layer named classifier or classifier.N",
            Kind::Norm => "a normalisation named features.N",
        };
        return Err(layer.weight.misfit(expected));
    }
    let stages = Stages::of(layers)?;
    let pools = |last: bool| -> Vec<bool> { stages.stages.iter().map(|stage| stage.pool.unwrap_or(last)).collect() };
    let geometry = stages.solve(&[Padding::Same], &[pools(true)]).or_else(|misfit| match misfit {
        Misfit::NoGeometry { .. } => stages.solve(&[Padding::Same], &[pools(false)]),
        other => Err(other),
    })?;
    stages.draw_as("vgg", layers, &geometry)
}
