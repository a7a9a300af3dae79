//! What a network learned since, carried over to another one: layers fitted to the change of what neurons say.

use std::ops::ControlFlow;

use otfuse_graph::{Graph, Tensor, ValueId};

use super::activation::Activation;
use super::choice::RepairError;
use super::following::{Fitting, Following, Target};
use super::runner::Runner;
use super::stream::{Stream, floats, open_residual};
use super::unit::LinearUnit;
use crate::average::rounded;
use crate::error::FusionError;
use crate::fuse::Fusion;
use crate::networks::Networks;

/// How a change is carried over.
#[derive(Clone, Copy, Debug)]
pub struct Carry {
    /// The network before it learned.
    pub before: usize,
    /// The network after it learned.
    pub after: usize,
    /// How often the change counts.
    pub scale: f64,
    /// How much the sums of the network that learned count in place of the anchor's own: 0 keeps the anchor's and adds the
    /// change, 1 (with a scale of 1) asks for what the other network says.
    pub follow: f64,
    /// How strongly weights are held at those of the fusion, relative to the mean variance of a layer's inputs.
    pub ridge: f64,
    /// How often layers in front of an activation function are fitted again, to what is to come out behind it.
    pub rounds: usize,
}

/// A network to which a change was carried over.
#[derive(Clone, Debug)]
pub struct Carried {
    /// The network.
    pub graph: Graph,
    /// Layers that were fitted.
    pub fitted: usize,
}

/// Fits every layer of a fused network, on its own inputs, so that on unlabelled samples its sums are
///
/// ```text
/// f + follow (T f' - f) + scale (T g' - T f')
/// ```
///
/// where `f` are the anchor's own sums, `f'` and `g'` those of another network before and after it learned, and `T` the map of
/// its neurons to the anchor's. Weights are held at those of the fusion, which is usually the anchor plus the difference of
/// weights ([`Aligned::with_difference`](crate::Aligned::with_difference)): where neurons are matched perfectly that computes
/// these sums already, and the fit changes nothing. In front of activation functions layers are then fitted to the same mix of
/// what comes out behind them. Outputs are in one order in all networks, so that the last layer learns the change of the scores
/// however well neurons are matched. The result does not depend on the number of threads; time and memory are those of
/// [`repair`](super::repair()) by least squares with four networks side by side.
///
/// # Errors
/// As [`repair`](super::repair()).
pub fn carry(
    networks: &Networks,
    fusion: &Fusion,
    settings: &Carry,
    runner: &dyn Runner,
    observe: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Carried, RepairError> {
    if runner.samples() == 0 {
        return Err(RepairError::NoSamples);
    }
    let Carried { graph, fitted } = Carrying::new(networks, fusion, settings, runner)?.run(observe)?;
    Ok(Carried { graph: rounded(networks, graph)?, fitted })
}

/// A network on its way.
struct Carrying<'a> {
    networks: &'a Networks,
    fusion: &'a Fusion,
    settings: &'a Carry,
    result: Following<'a>,
    sources: Sources<'a>,
}

/// The network before and after it learned, and the anchor.
struct Sources<'a> {
    networks: &'a Networks,
    fusion: &'a Fusion,
    streams: [(usize, Stream<'a>); 3],
}

impl<'a> Carrying<'a> {
    fn new(
        networks: &'a Networks,
        fusion: &'a Fusion,
        settings: &'a Carry,
        runner: &'a dyn Runner,
    ) -> Result<Self, RepairError> {
        let anchor = networks.reference();
        let result = Following::new(anchor, fusion.weights_of(anchor), runner, networks.len())?;
        let source = |model| match Stream::new(networks.graph(model), runner) {
            Ok(stream) => Ok((model, stream)),
            Err(source) => Err(RepairError::Runtime { model, source }),
        };
        let streams = [source(settings.before)?, source(settings.after)?, source(networks.anchor())?];
        Ok(Self { networks, fusion, settings, result, sources: Sources { networks, fusion, streams } })
    }

    fn run(mut self, observe: &mut dyn FnMut(usize, usize) -> ControlFlow<()>) -> Result<Carried, RepairError> {
        let anchor = self.networks.reference();
        let units = LinearUnit::with_all(anchor);
        for (index, unit) in units.iter().enumerate() {
            self.fit(unit, open_residual(anchor, &units[index..]))?;
            if observe(index + 1, units.len()).is_break() {
                return Err(FusionError::Cancelled.into());
            }
        }
        Ok(Carried { graph: self.result.into_graph(&self.fusion.graph)?, fitted: units.len() })
    }

    fn fit(&mut self, unit: &LinearUnit, residual: Option<(ValueId, ValueId)>) -> Result<(), RepairError> {
        let observed = residual.map_or(unit.output, |(sum, _)| sum);
        let &Carry { ridge, rounds, .. } = self.settings;
        let start = unit.folded(&self.result.shape(unit.weight), &|id| self.result.values(id));
        let fitting = Fitting { unit, other: residual.map(|(_, other)| other), start, ridge, rounds };
        let activation = fitting.activation();
        let (sources, settings) = (&self.sources, self.settings);
        self.result.fit(&fitting, &mut |batch| sources.target(settings, batch, observed, activation))?;
        self.sources.advance(observed)
    }
}

impl Sources<'_> {
    /// A value that one of the networks computes, its neurons in the anchor's order; `value` is the anchor's id.
    fn said(&self, source: usize, batch: usize, value: ValueId) -> Result<Tensor, RepairError> {
        let (model, stream) = &self.streams[source];
        let id = self.networks.value(*model, value);
        let failed = |source| RepairError::Runtime { model: *model, source };
        let computed = floats(stream.peek(batch, &[id]).map_err(failed)?, id).map_err(failed)?;
        Ok(self.fusion.aligned(self.networks, *model, value, &computed))
    }

    fn advance(&mut self, value: ValueId) -> Result<(), RepairError> {
        for (model, stream) in &mut self.streams {
            let id = self.networks.value(*model, value);
            stream.advance(&[id]).map_err(|source| RepairError::Runtime { model: *model, source })?;
        }
        Ok(())
    }

    /// What `value` is to be on one batch, and what an activation function is to make of it.
    fn target(
        &self,
        settings: &Carry,
        batch: usize,
        value: ValueId,
        activation: Option<Activation>,
    ) -> Result<Target, RepairError> {
        let said = |source| self.said(source, batch, value);
        let [before, after, own] = [said(0)?, said(1)?, said(2)?];
        let shape = own.shape().to_vec();
        let [before, after, own] = [before, after, own].map(|tensor| tensor.to_f32().unwrap_or_default());
        let (scale, follow) = (settings.scale as f32, settings.follow as f32);
        let mixed = |function: &dyn Fn(f32) -> f32| -> Vec<f32> {
            let mix = |((&own, &before), &after): ((&f32, &f32), &f32)| {
                let [own, before, after] = [own, before, after].map(function);
                own + follow * (before - own) + scale * (after - before)
            };
            own.iter().zip(&before).zip(&after).map(mix).collect()
        };
        let behind = activation.map(|activation| mixed(&|value| activation.at(value)));
        Ok(Target { shape, sums: mixed(&|value| value), behind })
    }
}
