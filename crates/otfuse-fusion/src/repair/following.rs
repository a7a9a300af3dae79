//! A network whose layers are fitted one after another, each on what the layers before it say by then.

use std::collections::BTreeMap;

use otfuse_graph::{Graph, GraphEditor, Tensor, ValueId};

use super::activation::Activation;
use super::choice::RepairError;
use super::layer::{Layer, written};
use super::runner::{RunError, Runner};
use super::stream::{Stream, floats};
use super::unit::LinearUnit;
use crate::error::FusionError;

/// What a layer is fitted to on a batch.
pub(crate) struct Target {
    /// Of the sums.
    pub shape: Vec<usize>,
    /// What the layer is to say, or the sum of it and another value.
    pub sums: Vec<f32>,
    /// What is to come out behind the activation function, where there is one.
    pub behind: Option<Vec<f32>>,
}

/// How a layer is fitted.
pub(crate) struct Fitting<'u> {
    /// The layer.
    pub unit: &'u LinearUnit,
    /// What is added to what the layer says before it is compared.
    pub other: Option<ValueId>,
    /// The weights that the fit is held at, row-major `inputs x outputs`, normalisations folded in.
    pub start: Vec<f64>,
    /// How strongly, relative to the mean variance of the inputs.
    pub ridge: f64,
    /// How often the layer is fitted again to what comes out behind the activation function.
    pub rounds: usize,
}

impl Fitting<'_> {
    /// The function that what comes out behind it is fitted to; nothing where a sum with another value is.
    pub fn activation(&self) -> Option<Activation> {
        self.unit.activation.and_then(Activation::of).filter(|_| self.rounds > 0 && self.other.is_none())
    }
}

/// A network on its way. Ids of values are those of the graph that it is run by.
pub(crate) struct Following<'a> {
    stream: Stream<'a>,
    /// The weights as they are by now.
    tensors: BTreeMap<ValueId, Tensor>,
    /// What the network is called in errors.
    model: usize,
}

impl<'a> Following<'a> {
    /// The network of this graph, with other weights where `tensors` has some.
    ///
    /// # Errors
    /// A network that cannot be run on the samples.
    pub fn new(
        graph: &'a Graph,
        tensors: impl IntoIterator<Item = (ValueId, Tensor)>,
        runner: &'a dyn Runner,
        model: usize,
    ) -> Result<Self, RepairError> {
        let failed = |source| RepairError::Runtime { model, source };
        let mut following =
            Self { stream: Stream::new(graph, runner).map_err(failed)?, tensors: BTreeMap::new(), model };
        for (id, tensor) in tensors {
            following.replace(id, tensor)?;
        }
        Ok(following)
    }

    /// The network of this graph as it is.
    ///
    /// # Errors
    /// A network that cannot be run on the samples.
    pub fn of(graph: &'a Graph, runner: &'a dyn Runner, model: usize) -> Result<Self, RepairError> {
        let stream = Stream::new(graph, runner).map_err(|source| RepairError::Runtime { model, source })?;
        let tensors = graph.initializers().map(|(id, tensor)| (id, tensor.clone())).collect();
        Ok(Self { stream, tensors, model })
    }

    fn failed(&self, source: RunError) -> RepairError {
        RepairError::Runtime { model: self.model, source }
    }

    /// The number of batches.
    pub fn batches(&self) -> usize {
        self.stream.batches()
    }

    /// A weight as it is by now.
    pub fn tensor(&self, id: ValueId) -> Option<&Tensor> {
        self.tensors.get(&id)
    }

    /// Its values; none of what is no tensor of floats.
    pub fn values(&self, id: ValueId) -> Vec<f32> {
        self.tensor(id).and_then(Tensor::to_f32).unwrap_or_default()
    }

    /// Its shape.
    pub fn shape(&self, id: ValueId) -> Vec<usize> {
        self.tensor(id).map_or_else(Vec::new, |tensor| tensor.shape().to_vec())
    }

    /// Puts values into a weight of a layer that has not run yet, in its type; nothing where there is no such weight.
    ///
    /// # Errors
    /// What runs the network refuses them.
    pub fn set(&mut self, id: ValueId, values: impl IntoIterator<Item = f64>) -> Result<(), RepairError> {
        let Some(old) = self.tensors.get(&id) else { return Ok(()) };
        let values = values.into_iter().map(|value| value as f32).collect();
        let tensor = Tensor::from_f32_as(old.data_type(), old.shape(), values);
        self.replace(id, tensor)
    }

    fn replace(&mut self, id: ValueId, tensor: Tensor) -> Result<(), RepairError> {
        self.stream.replace(id, &tensor).map_err(|source| self.failed(source))?;
        self.tensors.insert(id, tensor);
        Ok(())
    }

    /// Runs all that values need.
    ///
    /// # Errors
    /// The network cannot be run.
    pub fn advance(&mut self, wanted: &[ValueId]) -> Result<(), RepairError> {
        let model = self.model;
        self.stream.advance(wanted).map_err(|source| RepairError::Runtime { model, source })
    }

    /// A value on one batch, with all layers as they are by now.
    ///
    /// # Errors
    /// The network cannot be run, or the value is not of floats.
    pub fn said(&self, batch: usize, value: ValueId) -> Result<Tensor, RepairError> {
        let values = self.stream.peek(batch, &[value]);
        values.and_then(|values| floats(values, value)).map_err(|source| self.failed(source))
    }

    /// Fits a layer by least squares on what flows into it by now, to what `target` says of each batch.
    ///
    /// # Errors
    /// The network cannot be run, a singular system, and those of `target`.
    pub fn fit<E: From<RepairError>>(
        &mut self,
        fitting: &Fitting<'_>,
        target: &mut dyn FnMut(usize) -> Result<Target, E>,
    ) -> Result<(), E> {
        let &Fitting { unit, other, ref start, ridge, rounds } = fitting;
        let graph = self.stream.graph();
        let wanted: Vec<ValueId> = [Some(unit.input), other].into_iter().flatten().collect();
        self.advance(&wanted)?;
        let shape = self.shape(unit.weight);
        let activation = fitting.activation();
        let mut layer = Layer::new(&graph.node(unit.node).operator, &shape, unit.output_axis, self.batches());
        let mut equations = layer.equations();
        for batch in 0..self.batches() {
            let values = self.stream.peek(batch, &wanted).map_err(|source| self.failed(source))?;
            let Target { shape, mut sums, behind } = target(batch)?;
            if let Some(other) = other {
                let other = floats(values.clone(), other).map_err(|source| self.failed(source))?;
                let other = other.as_f32().unwrap_or_default();
                sums.iter_mut().zip(other.iter()).for_each(|(sum, other)| *sum -= other);
            }
            let input = floats(values, unit.input).map_err(|source| self.failed(source))?;
            layer.add(&input, &Tensor::from_f32(&shape, sums), &mut equations);
            if let Some(behind) = behind {
                layer.keep(&Tensor::from_f32(&shape, behind));
            }
        }
        let has_shift = unit.bias.is_some() || unit.normalization.is_some();
        let mut input = |batch: usize| self.said(batch, unit.input);
        let fits = layer.solve(equations, start, (ridge, has_shift), (activation, rounds), &mut input)?;
        let fits = fits.ok_or_else(|| RepairError::Singular { layer: graph.value(unit.weight).name.clone() })?;
        let own = graph.initializer(unit.weight).and_then(Tensor::to_f32).unwrap_or_default();
        for (id, values) in written(unit, &fits, &shape, &own) {
            self.set(id, values)?;
        }
        Ok(())
    }

    /// The weights by name put into a graph that has them.
    ///
    /// # Errors
    /// Weights of other shapes than the graph asks for.
    pub fn into_graph(self, into: &Graph) -> Result<Graph, RepairError> {
        let own = self.stream.graph();
        let mut editor = GraphEditor::edit(into.clone());
        for (id, tensor) in self.tensors {
            if let Some(found) = editor.find(&own.value(id).name) {
                editor.set_tensor(found, tensor);
            }
        }
        Ok(editor.finish().map_err(FusionError::from)?)
    }
}
