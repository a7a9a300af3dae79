//! What a network learned since, carried over to another one: layers fitted to the change of what neurons say.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use otfuse_graph::{Graph, GraphEditor, Tensor, ValueId};

use super::activation::Activation;
use super::choice::RepairError;
use super::layer::{Layer, written};
use super::runner::{RunError, Runner};
use super::stream::{Stream, ancestors, floats};
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
    result: Stream<'a>,
    /// The network before and after it learned, and the anchor.
    sources: [(usize, Stream<'a>); 3],
    /// New tensors by the anchor's ids.
    tensors: BTreeMap<ValueId, Tensor>,
}

/// What a layer is fitted to on a batch.
struct Target {
    shape: Vec<usize>,
    sums: Vec<f32>,
    /// What is to come out behind the activation function.
    behind: Option<Vec<f32>>,
}

impl<'a> Carrying<'a> {
    fn new(
        networks: &'a Networks,
        fusion: &'a Fusion,
        settings: &'a Carry,
        runner: &'a dyn Runner,
    ) -> Result<Self, RepairError> {
        let anchor = networks.reference();
        let of_result = |source| RepairError::Runtime { model: networks.len(), source };
        let mut result = Stream::new(anchor, runner).map_err(of_result)?;
        let mut tensors = BTreeMap::new();
        for (id, _) in anchor.initializers() {
            let found = fusion.graph.find_value(&anchor.value(id).name);
            if let Some(tensor) = found.and_then(|found| fusion.graph.initializer(found)) {
                result.replace(id, tensor).map_err(of_result)?;
                tensors.insert(id, tensor.clone());
            }
        }
        let source = |model| match Stream::new(networks.graph(model), runner) {
            Ok(stream) => Ok((model, stream)),
            Err(source) => Err(RepairError::Runtime { model, source }),
        };
        let sources = [source(settings.before)?, source(settings.after)?, source(networks.anchor())?];
        Ok(Self { networks, fusion, settings, result, sources, tensors })
    }

    fn run(mut self, observe: &mut dyn FnMut(usize, usize) -> ControlFlow<()>) -> Result<Carried, RepairError> {
        let anchor = self.networks.reference();
        let units = LinearUnit::with_all(anchor);
        for (index, unit) in units.iter().enumerate() {
            // The other summand is known once all layers before it are fitted.
            let residual = unit.residual.filter(|&(_, other)| {
                let before = ancestors(anchor, &[other]);
                units[index..].iter().all(|later| !before.contains(&later.node))
            });
            self.fit(unit, residual)?;
            if observe(index + 1, units.len()).is_break() {
                return Err(FusionError::Cancelled.into());
            }
        }
        let mut editor = GraphEditor::edit(self.fusion.graph.clone());
        for (id, tensor) in self.tensors {
            if let Some(found) = editor.find(&anchor.value(id).name) {
                editor.set_tensor(found, tensor);
            }
        }
        Ok(Carried { graph: editor.finish().map_err(FusionError::from)?, fitted: units.len() })
    }

    fn of_result(&self, source: RunError) -> RepairError {
        RepairError::Runtime { model: self.networks.len(), source }
    }

    /// A value that one of the networks computes, its neurons in the anchor's order; `value` is the anchor's id.
    fn said(&self, source: usize, batch: usize, value: ValueId) -> Result<Tensor, RepairError> {
        let (model, stream) = &self.sources[source];
        let id = self.networks.value(*model, value);
        let failed = |source| RepairError::Runtime { model: *model, source };
        let computed = floats(stream.peek(batch, &[id]).map_err(failed)?, id).map_err(failed)?;
        Ok(self.fusion.aligned(self.networks, *model, value, &computed))
    }

    fn fit(&mut self, unit: &LinearUnit, residual: Option<(ValueId, ValueId)>) -> Result<(), RepairError> {
        let anchor = self.networks.reference();
        let shape = self.tensors[&unit.weight].shape().to_vec();
        let wanted: Vec<ValueId> = [Some(unit.input), residual.map(|(_, other)| other)].into_iter().flatten().collect();
        self.result.advance(&wanted).map_err(|source| self.of_result(source))?;
        let observed = residual.map_or(unit.output, |(sum, _)| sum);
        let Carry { ridge, rounds, .. } = *self.settings;
        let activation = unit.activation.and_then(Activation::of).filter(|_| rounds > 0 && residual.is_none());
        let mut layer = Layer::new(&anchor.node(unit.node).operator, &shape, unit.output_axis, self.result.batches());
        let mut equations = layer.equations();
        for batch in 0..self.result.batches() {
            let values = self.result.peek(batch, &wanted).map_err(|source| self.of_result(source))?;
            let mut target = self.target(batch, observed, activation)?;
            if let Some((_, other)) = residual {
                let other = floats(values.clone(), other).map_err(|source| self.of_result(source))?;
                let other = other.to_f32().unwrap_or_default();
                target.sums.iter_mut().zip(other).for_each(|(target, other)| *target -= other);
            }
            let input = floats(values, unit.input).map_err(|source| self.of_result(source))?;
            layer.add(&input, &Tensor::from_f32(&target.shape, target.sums), &mut equations);
            if let Some(behind) = target.behind {
                layer.keep(&Tensor::from_f32(&target.shape, behind));
            }
        }
        for (model, stream) in &mut self.sources {
            let id = self.networks.value(*model, observed);
            stream.advance(&[id]).map_err(|source| RepairError::Runtime { model: *model, source })?;
        }
        let start = self.start(unit, &shape);
        let has_shift = unit.bias.is_some() || unit.normalization.is_some();
        let singular = || RepairError::Singular { layer: anchor.value(unit.weight).name.clone() };
        let mut input = |batch: usize| {
            let values = self.result.peek(batch, &[unit.input]);
            values.and_then(|values| floats(values, unit.input)).map_err(|source| self.of_result(source))
        };
        let fits = layer.solve(equations, &start, (ridge, has_shift), (activation, rounds), &mut input)?;
        let own = anchor.initializer(unit.weight).and_then(Tensor::to_f32).unwrap_or_default();
        for (id, values) in written(unit, &fits.ok_or_else(singular)?, &shape, &own) {
            let Some(old) = self.tensors.get(&id) else { continue };
            let values = values.into_iter().map(|value| value as f32).collect();
            let tensor = Tensor::from_f32_as(old.data_type(), old.shape(), values);
            self.result.replace(id, &tensor).map_err(|source| self.of_result(source))?;
            self.tensors.insert(id, tensor);
        }
        Ok(())
    }

    /// What `value` is to be on one batch, and what an activation function is to make of it.
    fn target(&self, batch: usize, value: ValueId, activation: Option<Activation>) -> Result<Target, RepairError> {
        let said = |source| self.said(source, batch, value);
        let [before, after, own] = [said(0)?, said(1)?, said(2)?];
        let shape = own.shape().to_vec();
        let [before, after, own] = [before, after, own].map(|tensor| tensor.to_f32().unwrap_or_default());
        let (scale, follow) = (self.settings.scale as f32, self.settings.follow as f32);
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

    /// The weights of the fusion as a row-major `depth x outputs` matrix, normalisations folded in.
    fn start(&self, unit: &LinearUnit, shape: &[usize]) -> Vec<f64> {
        let of = |id: ValueId| self.tensors.get(&id).and_then(Tensor::to_f32).unwrap_or_default();
        let outputs = shape[unit.output_axis];
        let mut factors = vec![1.0; outputs];
        if let Some(normalization) = unit.normalization {
            let (scales, variances) = (of(normalization.scale), of(normalization.variance));
            for ((factor, scale), variance) in factors.iter_mut().zip(scales).zip(variances) {
                *factor = f64::from(scale) / (f64::from(variance) + f64::from(normalization.epsilon)).sqrt();
            }
        }
        let mut start = vec![0.0; shape.iter().product()];
        for (at, value) in of(unit.weight).into_iter().enumerate() {
            let (input, output) = unit.place(shape, at);
            start[input * outputs + output] = factors[output] * f64::from(value);
        }
        start
    }
}
