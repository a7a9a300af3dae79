//! The image size, padding and pools that lead to the inputs of the first linear layer.

use super::error::Misfit;
use super::layers::Named;

/// Sides of the images that networks are usually trained on.
const SIDES: [usize; 5] = [28, 32, 64, 96, 224];

/// What is not in a state dict of convolutions of stride 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    /// Height and width of the input.
    pub(super) side: usize,
    /// The padding of each convolution.
    pub(super) pads: Vec<usize>,
    /// Whether a max pool of size 2 follows each convolution.
    pub(super) pools: Vec<bool>,
}

/// How convolutions may be padded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Padding {
    /// Not at all.
    Absent,
    /// So that the size stays.
    Same,
    /// So that the size stays, the first one only: LeNet-5 on images of 28 x 28.
    SameFirst,
}

impl Geometry {
    /// Height and width behind the last pool, if every window fits.
    fn last_side(&self, kernels: &[usize]) -> Option<usize> {
        let mut side = self.side;
        for ((kernel, pad), pool) in kernels.iter().zip(&self.pads).zip(&self.pools) {
            side = (side + 2 * pad).checked_sub(*kernel)? + 1;
            if *pool {
                side /= 2;
            }
        }
        (side > 0).then_some(side)
    }

    fn describe(&self) -> String {
        let pools = self.pools.iter().filter(|&&pool| pool).count();
        let Self { side, pads, .. } = self;
        format!("images of {side} x {side}, paddings {pads:?}, {pools} pools")
    }
}

/// The customary side of images: MNIST's with one channel, CIFAR's with three.
pub(super) fn customary_side(channels: usize) -> usize {
    if channels == 1 { 28 } else { 32 }
}

/// The one geometry under which a linear layer's `weight` fits behind convolutions of these kernels.
///
/// The customary image size of the first layer's `channels` goes before others; `layouts` are the pools that are
/// possible.
pub(super) fn solve(
    weight: &Named<'_>,
    features: usize,
    channels: usize,
    kernels: &[usize],
    paddings: &[Padding],
    layouts: &[Vec<bool>],
) -> Result<Geometry, Misfit> {
    let inputs = weight.shape().get(1).copied().unwrap_or(0);
    let area = inputs / features.max(1);
    let wanted = area.isqrt();
    if wanted == 0 || wanted * wanted * features != inputs {
        return Err(weight.misfit(format!("inputs that are a square number times the {features} channels before")));
    }
    let mut found: Vec<Geometry> = Vec::new();
    for pools in layouts {
        for padding in paddings {
            let Some(pads) = pads(kernels, *padding) else { continue };
            for side in SIDES {
                let geometry = Geometry { side, pads: pads.clone(), pools: pools.clone() };
                if geometry.last_side(kernels) == Some(wanted) && !found.contains(&geometry) {
                    found.push(geometry);
                }
            }
        }
    }
    let customary = customary_side(channels);
    if found.iter().any(|geometry| geometry.side == customary) {
        found.retain(|geometry| geometry.side == customary);
    }
    match found.as_slice() {
        [] => {
            let pools: Vec<String> =
                layouts.iter().map(|pools| pools.iter().filter(|&&p| p).count().to_string()).collect();
            let sides = SIDES.map(|side| side.to_string()).join(", ");
            let tried = format!("images of side {sides}, {} pools, paddings {paddings:?}", pools.join(" or "));
            Err(Misfit::NoGeometry { tensor: weight.name.into(), inputs, tried })
        }
        [only] => Ok(only.clone()),
        several => {
            let candidates = several.iter().map(Geometry::describe).collect();
            Err(Misfit::Ambiguous { tensor: weight.name.into(), inputs, candidates })
        }
    }
}

/// The padding of each convolution; `None` where an even kernel has no padding that keeps the size.
fn pads(kernels: &[usize], padding: Padding) -> Option<Vec<usize>> {
    let same = |&kernel: &usize| (kernel % 2 == 1).then_some(kernel / 2);
    match padding {
        Padding::Absent => Some(vec![0; kernels.len()]),
        Padding::Same => kernels.iter().map(same).collect(),
        Padding::SameFirst => {
            let mut pads = vec![0; kernels.len()];
            *pads.first_mut()? = same(kernels.first()?)?;
            Some(pads)
        }
    }
}

#[cfg(test)]
mod tests {
    use otfuse_graph::{DataType, Tensor};

    use super::*;

    fn solved(inputs: usize, features: usize, channels: usize, kernels: &[usize], layouts: &[Vec<bool>]) -> Vec<usize> {
        let tensor =
            Tensor::new(DataType::F32, vec![1, inputs], vec![0; 4 * inputs].into()).expect("as long as it says");
        let weight = Named { name: "fc.weight", tensor: &tensor };
        let paddings = [Padding::Absent, Padding::Same, Padding::SameFirst];
        let geometry = solve(&weight, features, channels, kernels, &paddings, layouts);
        geometry.map_or_else(|_| Vec::new(), |geometry| [vec![geometry.side], geometry.pads].concat())
    }

    #[test]
    fn sizes_of_well_known_networks() {
        let twice = [vec![true; 2]];
        assert_eq!(solved(16 * 25, 16, 3, &[5, 5], &twice), [32, 0, 0], "LeNet on CIFAR");
        assert_eq!(solved(16 * 25, 16, 1, &[5, 5], &twice), [28, 2, 0], "LeNet-5 on MNIST");
        assert_eq!(solved(16 * 16, 16, 1, &[5, 5], &twice), [28, 0, 0]);
        assert_eq!(solved(64 * 49, 64, 1, &[3, 3], &twice), [28, 1, 1]);
        assert_eq!(solved(512 * 49, 512, 3, &[3; 5], &[vec![true; 5]]), [224, 1, 1, 1, 1, 1], "VGG on ImageNet");
        assert!(solved(16 * 24, 16, 1, &[5, 5], &twice).is_empty(), "no square");
    }
}
