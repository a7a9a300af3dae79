//! Convolutions in a row, with linear layers behind them: what VGG, LeNet and plain networks have in common.

use otfuse_graph::{Graph, ValueId};

use super::error::Misfit;
use super::geometry::{Geometry, Padding, solve};
use super::layers::{Kind, Layer, Layers};
use super::mlp::{self, Place, norms_behind, place_of};
use super::sketch::Sketch;

/// A convolution and what follows it.
pub(super) struct Stage<'l, 'a> {
    pub(super) conv: &'l Layer<'a>,
    pub(super) norm: Option<(&'l Layer<'a>, Place)>,
    /// Whether a pool follows, where the names say so.
    pub(super) pool: Option<bool>,
    pub(super) relu: bool,
}

/// Convolutional stages and linear layers with the normalisations behind them.
pub(super) struct Stages<'l, 'a> {
    pub(super) stages: Vec<Stage<'l, 'a>>,
    pub(super) linear: Vec<&'l Layer<'a>>,
    norms: Vec<Option<&'l Layer<'a>>>,
}

impl<'l, 'a> Stages<'l, 'a> {
    /// Convolutions first, then linear layers; indices in an `nn.Sequential` tell of pools.
    pub(super) fn of(layers: &'l Layers<'a>) -> Result<Self, Misfit> {
        let of_kind = |kind| layers.iter().filter(move |layer| layer.kind == kind);
        let convs = mlp::chain(of_kind(Kind::Conv).collect())?;
        let linear = mlp::chain(of_kind(Kind::Linear).collect())?;
        if convs.is_empty() {
            return Err(Misfit::missing("weight", "of a convolution, with 4 axes"));
        }
        let Some(&head) = linear.first() else {
            return Err(Misfit::missing("weight", "of a linear layer, with 2 axes"));
        };
        let hosts: Vec<&Layer<'a>> = convs.iter().chain(&linear).copied().collect();
        let mut norms = norms_behind(layers, &hosts)?;
        let behind = norms.split_off(convs.len());
        let mut stages = Vec::with_capacity(convs.len());
        for (index, (&conv, norm)) in convs.iter().zip(norms).enumerate() {
            let norm = norm.map(|norm| (norm, place_of(conv, norm)));
            let next = convs.get(index + 1).copied();
            // Modules without weights between this convolution and what follows it in the same list.
            let between =
                slots(conv, next.unwrap_or(head)).map(|slots| slots.saturating_sub(usize::from(norm.is_some())));
            let (relu, pool) = match (between, next) {
                // A list of convolutions alone, or names without indices: ReLU, and pools as the sizes say.
                (None | Some(0), _) => (true, None),
                (Some(slots), Some(_)) => (true, Some(slots >= 2)),
                (Some(slots), None) => (slots >= 2, if slots >= 2 { None } else { Some(false) }),
            };
            stages.push(Stage { conv, norm, pool, relu });
        }
        Ok(Self { stages, linear, norms: behind })
    }

    /// The network, with the only geometry that fits among these paddings. Pools that are not known are all there, all
    /// absent, or there is only the last one.
    pub(super) fn draw(&self, name: &str, layers: &Layers<'_>, paddings: &[Padding]) -> Result<Graph, Misfit> {
        let last = self.stages.len().saturating_sub(1);
        let layout = |unknown: &dyn Fn(usize) -> bool| -> Vec<bool> {
            let pools = self.stages.iter().enumerate();
            pools.map(|(index, stage)| stage.pool.unwrap_or_else(|| unknown(index))).collect()
        };
        let mut layouts = vec![layout(&|_| true), layout(&|_| false), layout(&|index| index == last)];
        layouts.dedup();
        let geometry = self.solve(paddings, &layouts)?;
        self.draw_as(name, layers, &geometry)
    }

    /// The only geometry that fits.
    pub(super) fn solve(&self, paddings: &[Padding], layouts: &[Vec<bool>]) -> Result<Geometry, Misfit> {
        let mut kernels = Vec::with_capacity(self.stages.len());
        for Stage { conv, .. } in &self.stages {
            match conv.weight.shape() {
                &[_, _, height, width] if height == width => kernels.push(height),
                _ => return Err(conv.weight.misfit("a square kernel")),
            }
        }
        let (Some(first), Some(end), Some(head)) = (self.stages.first(), self.stages.last(), self.linear.first())
        else {
            return Err(Misfit::missing("weight", "of a convolution and of a linear layer"));
        };
        solve(&head.weight, end.conv.outputs(), first.conv.inputs(), &kernels, paddings, layouts)
    }

    /// The network of a given geometry.
    pub(super) fn draw_as(&self, name: &str, layers: &Layers<'_>, geometry: &Geometry) -> Result<Graph, Misfit> {
        let mut channels = self.stages.first().map_or(0, |stage| stage.conv.inputs());
        let (mut sketch, mut x) = Sketch::new(name, layers, &[channels, geometry.side, geometry.side]);
        for ((stage, &pad), &pool) in self.stages.iter().zip(&geometry.pads).zip(&geometry.pools) {
            x = stage.draw(&mut sketch, x, channels, pad, pool)?;
            channels = stage.conv.outputs();
        }
        x = sketch.flatten(x);
        x = mlp::draw_behind(&mut sketch, x, &self.linear, &self.norms);
        sketch.finish(x)
    }
}

impl Stage<'_, '_> {
    fn draw(
        &self,
        sketch: &mut Sketch<'_>,
        x: ValueId,
        channels: usize,
        pad: usize,
        pool: bool,
    ) -> Result<ValueId, Misfit> {
        let mut x = sketch.conv(x, self.conv, groups(self.conv, channels)?, 1, pad);
        let norm_at = |place| self.norm.filter(|(_, found)| *found == place).map(|(norm, _)| norm);
        if let Some(norm) = norm_at(Place::BeforeActivation) {
            x = sketch.norm(x, norm);
        }
        if self.relu {
            x = sketch.relu(x);
        }
        if let Some(norm) = norm_at(Place::BehindActivation) {
            x = sketch.norm(x, norm);
        }
        if pool {
            x = sketch.max_pool(x, 2, 2, 0);
        }
        if let Some(norm) = norm_at(Place::BehindPool) {
            x = sketch.norm(x, norm);
        }
        Ok(x)
    }
}

/// Modules between two of the same list.
fn slots(layer: &Layer<'_>, next: &Layer<'_>) -> Option<usize> {
    let ((list, index), (other, following)) = (layer.place()?, next.place()?);
    (list == other).then(|| following.checked_sub(index + 1))?
}

/// The groups of a convolution over so many channels.
pub(super) fn groups(conv: &Layer<'_>, channels: usize) -> Result<usize, Misfit> {
    let groups = channels / conv.inputs();
    if groups * conv.inputs() != channels || groups == 0 || !conv.outputs().is_multiple_of(groups) {
        return Err(conv.weight.misfit(format!("{channels} input channels, or a divisor of them")));
    }
    Ok(groups)
}
