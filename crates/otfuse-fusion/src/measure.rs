//! What methods of merging have to know of samples, measured on aligned networks.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::{ControlFlow, Range};

use otfuse_graph::{Graph, ValueId};

use crate::average::{Precision, average};
use crate::error::FusionError;
use crate::fuse::Aligned;
use crate::merge::{Information, LayerInputs, Measured, Merging, Products, Statistics};
use crate::repair::layer::Layer;
use crate::repair::second_moments::SecondMoments;
use crate::repair::stream::{Stream, floats};
use crate::repair::{LinearUnit, RepairError, RunError, Runner};

/// What was measured of aligned networks.
#[derive(Debug, Default)]
pub(crate) struct Measurements {
    kind: Statistics,
    /// Nothing of a model that was not asked for.
    models: Vec<Option<OfModel>>,
}

/// What is known of a network's weights, by the anchor's ids.
#[derive(Debug, Default)]
struct OfModel {
    information: BTreeMap<ValueId, Diagonal>,
    inputs: BTreeMap<ValueId, Inputs>,
}

/// The Fisher information of a weight's elements, and its mean.
#[derive(Debug)]
struct Diagonal {
    values: Vec<f32>,
    mean: f64,
}

/// What flows into a layer: each group of a convolution for itself.
#[derive(Debug)]
struct Inputs {
    output_axis: usize,
    groups: Vec<Products>,
}

impl Measurements {
    /// Whether it is known of a model what a method needs.
    pub fn know(&self, needs: Statistics, model: usize) -> bool {
        needs == Statistics::None || (needs == self.kind && self.models.get(model).is_some_and(Option::is_some))
    }

    /// What is known of some elements of a weight; of a layer's inputs all.
    pub fn of(&self, id: ValueId, elements: &Range<usize>) -> Measured<'_> {
        let models = || self.models.iter().map(Option::as_ref);
        match self.kind {
            Statistics::Fisher if models().flatten().any(|model| model.information.contains_key(&id)) => {
                let parts = models().map(|model| Some(model?.information.get(&id)?.part(elements)));
                Measured::Fisher(parts.map(Option::unwrap_or_default).collect())
            }
            Statistics::Gram => match models().flatten().find_map(|model| model.inputs.get(&id)) {
                Some(Inputs { output_axis, .. }) => {
                    let groups = models().map(|model| Some(model?.inputs.get(&id)?.groups.as_slice()));
                    let models = groups.map(Option::unwrap_or_default).collect();
                    Measured::Gram(LayerInputs { output_axis: *output_axis, models })
                }
                None => Measured::Nothing,
            },
            _ => Measured::Nothing,
        }
    }
}

impl Aligned {
    /// The same with what a method has to know of samples, measured on each network after it was aligned (so that nothing has to be
    /// moved), if it counts with these weights. `observe` is told how much is done.
    ///
    /// The Fisher information takes a backward pass or more a sample and `4` bytes a weight and model; inputs of layers take a
    /// forward pass a sample, `r d^2 / 2` multiplications for a layer of `d` inputs on `r` rows (samples times positions, at most
    /// as many as [`repair`](crate::repair()) takes) and `2 d^2` bytes a layer and model, layers that read the same once. The values
    /// between two layers are held for all samples, of one model at a time. The result does not depend on the number of threads.
    ///
    /// # Errors
    /// No samples where they are needed, a network that cannot be run on them, a runner without gradients;
    /// [`FusionError::Cancelled`] within [`RepairError::Fusion`] if the observer stopped the work.
    pub fn measured(
        self,
        merge: &Merging,
        weights: &[f64],
        runner: &dyn Runner,
        observe: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Self, RepairError> {
        let kind = merge.method().needs();
        if kind == Statistics::None {
            return Ok(self);
        }
        if runner.samples() == 0 {
            return Err(unmeasured(merge).into());
        }
        let anchor = self.networks.reference();
        let ids: HashMap<&str, ValueId> =
            anchor.initializers().map(|(id, _)| (anchor.value(id).name.as_str(), id)).collect();
        let counted: Vec<usize> = (0..self.networks.len()).filter(|&model| merge.asks_for(model, weights)).collect();
        let mut models: Vec<Option<OfModel>> = (0..self.networks.len()).map(|_| None).collect();
        for (at, &model) in counted.iter().enumerate() {
            let graph = self.member(model)?;
            let own = |id: ValueId| ids.get(graph.value(id).name.as_str()).copied();
            let mut of_all = |done: usize, total: usize| observe(at * total + done, counted.len() * total);
            let failed = |source| RepairError::Runtime { model, source };
            let mut found = OfModel::default();
            match kind {
                Statistics::Fisher => {
                    let values = runner.fisher(&graph, merge.seed(), &mut of_all).map_err(failed)?;
                    let of_weight = |(id, values): (ValueId, Vec<f32>)| Some((own(id)?, Diagonal::of(values)));
                    found.information = values.into_iter().filter_map(of_weight).collect();
                }
                _ => {
                    let mut inputs = Reading::of(&graph, runner).map_err(failed)?;
                    let units = LinearUnit::with_all(&graph);
                    for (index, unit) in units.iter().enumerate() {
                        let read = inputs.layer(unit).map_err(failed)?;
                        found.inputs.extend(own(unit.weight).map(|id| (id, read)));
                        if of_all(index + 1, units.len()).is_break() {
                            return Err(FusionError::Cancelled.into());
                        }
                    }
                }
            }
            models[model] = Some(found);
        }
        Ok(Self { measurements: Measurements { kind, models }.into(), ..self })
    }

    /// About the bytes that [`measured`](Self::measured) holds at once, values between layers aside.
    pub fn measured_bytes(&self, merge: &Merging, weights: &[f64]) -> u64 {
        let anchor = self.networks.reference();
        let counted = (0..self.networks.len()).filter(|&model| merge.asks_for(model, weights)).count() as u64;
        match merge.method().needs() {
            Statistics::None => 0,
            Statistics::Fisher => counted.saturating_mul(4).saturating_mul(anchor.parameter_count() as u64),
            Statistics::Gram => {
                let (mut once, mut kept, mut largest) = (BTreeSet::new(), 0_u64, 0_u64);
                for unit in LinearUnit::with_all(anchor) {
                    let shape = anchor.initializer(unit.weight).map_or(&[][..], |tensor| tensor.shape());
                    let layer = Layer::new(&anchor.node(unit.node).operator, shape, unit.output_axis, 0);
                    let square = (layer.depth as u64).saturating_pow(2).saturating_mul(layer.groups() as u64);
                    // A sum in double precision while it is made.
                    largest = largest.max(square.saturating_mul(8));
                    if !layer.reads_rows() || once.insert(unit.input) {
                        kept = kept.saturating_add(square.saturating_mul(2));
                    }
                }
                counted.saturating_mul(kept).saturating_add(largest)
            }
        }
    }

    /// A network by itself after its maps, in the anchor's shapes; its weights of 16 bits in single precision.
    fn member(&self, model: usize) -> Result<Graph, FusionError> {
        let mut weights = vec![0.0; self.networks.len()];
        weights[model] = 1.0;
        let nothing = Measurements::default();
        average(&self.networks, (&self.maps, &nothing), &Merging::mean(), &weights, Precision::Wide)
    }
}

/// What is said where a method needs samples and nothing was measured.
pub(crate) fn unmeasured(merge: &Merging) -> FusionError {
    let (method, expected) = (merge.method().name(), "what was measured on samples".to_owned());
    FusionError::Merge { method, expected, found: "nothing".into() }
}

impl Diagonal {
    fn of(values: Vec<f32>) -> Self {
        let mean = values.iter().copied().map(f64::from).sum::<f64>() / values.len().max(1) as f64;
        Self { values, mean }
    }

    fn part(&self, elements: &Range<usize>) -> Information<'_> {
        Information { values: self.values.get(elements.clone()).unwrap_or_default(), mean: self.mean }
    }
}

/// A network whose layers' inputs are read one after the other.
struct Reading<'a> {
    graph: &'a Graph,
    stream: Stream<'a>,
    /// What was read already: rows that several layers take in.
    rows: BTreeMap<ValueId, Products>,
}

impl<'a> Reading<'a> {
    fn of(graph: &'a Graph, runner: &'a dyn Runner) -> Result<Self, RunError> {
        Ok(Self { graph, stream: Stream::new(graph, runner)?, rows: BTreeMap::new() })
    }

    fn layer(&mut self, unit: &LinearUnit) -> Result<Inputs, RunError> {
        let shape = self.graph.initializer(unit.weight).map_or(&[][..], |tensor| tensor.shape());
        let operator = &self.graph.node(unit.node).operator;
        let layer = Layer::new(operator, shape, unit.output_axis, self.stream.batches());
        let output_axis = unit.output_axis;
        if let Some(known) = self.rows.get(&unit.input).filter(|_| layer.reads_rows()) {
            return Ok(Inputs { output_axis, groups: vec![known.clone()] });
        }
        self.stream.advance(&[unit.input])?;
        let mut moments = layer.moments();
        for batch in 0..self.stream.batches() {
            let input = floats(self.stream.peek(batch, &[unit.input])?, unit.input)?;
            let output = match layer.reads_rows() {
                true => Vec::new(),
                false => floats(self.stream.peek(batch, &[unit.sums])?, unit.sums)?.shape().to_vec(),
            };
            layer.add_inputs(&input, &output, &mut moments);
        }
        let mean = |moments: SecondMoments| {
            let rows = moments.rows().max(1) as f64;
            Products::new(layer.depth, |row, column| moments.at(row, column) / rows)
        };
        let groups: Vec<Products> = moments.into_iter().map(mean).collect();
        if let ([products], true) = (groups.as_slice(), layer.reads_rows()) {
            self.rows.insert(unit.input, products.clone());
        }
        Ok(Inputs { output_axis, groups })
    }
}
