//! Residual networks (He et al., "Deep residual learning for image recognition", 2016).

use otfuse_graph::{Graph, ValueId};

use super::error::Misfit;
use super::geometry::customary_side;
use super::layers::{Kind, Layer, Layers};
use super::sketch::Sketch;
use super::stages::groups;

/// Names of the projection on a block's shortcut.
const SHORTCUTS: [&str; 2] = ["downsample", "shortcut"];
/// Names of the last layer.
const HEADS: [&str; 3] = ["fc", "linear", "classifier"];

/// `conv1`, `layer1.0.conv1`, .., `fc` or `linear`, with or without `bn1`, ..
///
/// A 7 x 7 stem has stride 2 and a max pool behind it (ImageNet), any other has stride 1 and none (CIFAR). The first
/// block of every layer but the first halves the size; blocks with a `conv3` are bottlenecks, with the stride in the
/// 3 x 3 convolution. A shortcut that changes the shape is a projection (`downsample` or `shortcut`, option B), or else
/// every second position with channels of zeros on both sides (option A).
pub(super) fn draw(layers: &Layers<'_>) -> Result<Graph, Misfit> {
    let net = Net { layers, normalised: layers.iter().any(|layer| layer.kind == Kind::Norm) };
    let stem = net.require("conv1", Kind::Conv)?;
    let kernel = net.kernel(stem)?;
    let large = kernel == 7;
    let side = if large { 224 } else { customary_side(stem.inputs()) };
    let (mut sketch, mut x) = Sketch::new("resnet", layers, &[stem.inputs(), side, side]);
    x = sketch.conv(x, stem, 1, if large { 2 } else { 1 }, kernel / 2);
    x = net.norm(&mut sketch, x, "bn1", stem)?;
    x = sketch.relu(x);
    if large {
        x = sketch.max_pool(x, 3, 2, 1);
    }
    let mut channels = stem.outputs();
    let mut depth = 0;
    while net.has_block(depth + 1, 0) {
        depth += 1;
        let mut block = 0;
        while net.has_block(depth, block) {
            let stride = if depth > 1 && block == 0 { 2 } else { 1 };
            (x, channels) = net.block(&mut sketch, x, &format!("layer{depth}.{block}"), channels, stride)?;
            block += 1;
        }
    }
    if depth == 0 {
        return Err(Misfit::missing("layer1.0.conv1.weight", "the first residual block"));
    }
    x = sketch.global_average_pool(x);
    x = sketch.flatten(x);
    let head = HEADS.into_iter().find_map(|name| layers.get(name));
    let head = head.filter(|head| head.kind == Kind::Linear);
    let head = head.ok_or_else(|| Misfit::missing("fc.weight", "the last layer; 'linear.weight' would do"))?;
    if head.inputs() != channels {
        return Err(head.weight.misfit(format!("{channels} inputs, as the last block has channels")));
    }
    x = sketch.linear(x, head);
    sketch.finish(x)
}

struct Net<'l, 'a> {
    layers: &'l Layers<'a>,
    /// Whether a batch normalisation stands behind every convolution.
    normalised: bool,
}

impl<'l, 'a> Net<'l, 'a> {
    fn has_block(&self, depth: usize, block: usize) -> bool {
        self.layers.get(&format!("layer{depth}.{block}.conv1")).is_some()
    }

    fn require(&self, path: &str, kind: Kind) -> Result<&'l Layer<'a>, Misfit> {
        let layer = self.layers.get(path).ok_or_else(|| {
            let role = if kind == Kind::Norm { "of a batch normalisation" } else { "of a convolution" };
            Misfit::missing(format!("{path}.weight"), role)
        })?;
        if layer.kind == kind {
            return Ok(layer);
        }
        Err(layer.weight.misfit(if kind == Kind::Norm { "1 axis" } else { "4 axes" }))
    }

    /// The side of an odd, square kernel.
    fn kernel(&self, conv: &Layer<'_>) -> Result<usize, Misfit> {
        match conv.weight.shape() {
            &[_, _, height, width] if height == width && height % 2 == 1 => Ok(height),
            _ => Err(conv.weight.misfit("an odd, square kernel")),
        }
    }

    fn norm(&self, sketch: &mut Sketch<'_>, x: ValueId, path: &str, conv: &Layer<'_>) -> Result<ValueId, Misfit> {
        if !self.normalised {
            return Ok(x);
        }
        let norm = self.require(path, Kind::Norm)?;
        if norm.outputs() != conv.outputs() {
            let expected = format!("{} channels, as '{}' before it has", conv.outputs(), conv.weight.name);
            return Err(norm.weight.misfit(expected));
        }
        Ok(sketch.norm(x, norm))
    }

    /// One block over a value of so many channels; returns its result and their number.
    fn block(
        &self,
        sketch: &mut Sketch<'_>,
        x: ValueId,
        path: &str,
        channels: usize,
        stride: usize,
    ) -> Result<(ValueId, usize), Misfit> {
        let convs = if self.layers.get(&format!("{path}.conv3")).is_some() { 3 } else { 2 };
        let strided = convs - 1;
        let (mut y, mut width) = (x, channels);
        for number in 1..=convs {
            let conv = self.require(&format!("{path}.conv{number}"), Kind::Conv)?;
            let kernel = self.kernel(conv)?;
            // The first convolution of a basic block and the second of a bottleneck make the step.
            let step = if number == strided { stride } else { 1 };
            y = sketch.conv(y, conv, groups(conv, width)?, step, kernel / 2);
            y = self.norm(sketch, y, &format!("{path}.bn{number}"), conv)?;
            if number < convs {
                y = sketch.relu(y);
            }
            width = conv.outputs();
        }
        let shortcut = self.shortcut(sketch, x, path, (channels, width), stride)?;
        let sum = sketch.add(y, shortcut);
        Ok((sketch.relu(sum), width))
    }

    fn shortcut(
        &self,
        sketch: &mut Sketch<'_>,
        x: ValueId,
        path: &str,
        (channels, width): (usize, usize),
        stride: usize,
    ) -> Result<ValueId, Misfit> {
        let projection = SHORTCUTS.iter().map(|name| format!("{path}.{name}"));
        if let Some(name) = projection.into_iter().find(|name| self.layers.get(&format!("{name}.0")).is_some()) {
            let conv = self.require(&format!("{name}.0"), Kind::Conv)?;
            if conv.inputs() != channels || conv.outputs() != width {
                return Err(conv.weight.misfit(format!("{width} output and {channels} input channels")));
            }
            let y = sketch.conv(x, conv, 1, stride, self.kernel(conv)? / 2);
            return self.norm(sketch, y, &format!("{name}.1"), conv);
        }
        if stride == 1 && width == channels {
            return Ok(x);
        }
        let missing = || Misfit::missing(format!("{path}.downsample.0.weight"), "the projection on the shortcut");
        let added = width.checked_sub(channels).filter(|added| added % 2 == 0 && stride > 1).ok_or_else(missing)?;
        Ok(sketch.zero_padded(x, stride, added / 2))
    }
}
