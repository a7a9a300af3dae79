//! A graph prepared on the device of a backend.

use std::any::Any;
use std::collections::{BTreeMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn_backend::Backend;
use burn_backend::tensor::Device;
use otfuse_graph::{DataType, Graph, Node, NodeId, Operator, Tensor, ValueId};

use super::fault::{Fault, Outcome};
use super::needs::Needs;
use super::plan::Plans;
use super::value::{Operands, Value};
use crate::budget::Size;
use crate::host::Limits;
use crate::{RuntimeBackend, RuntimeError};

/// A graph whose constant tensors are on the device of a backend, ready to be run many times.
pub(crate) struct Program<B: Backend> {
    graph: Graph,
    device: Device<B>,
    limits: Limits,
    size: Size,
    constants: Vec<Option<Value<B>>>,
    plans: Plans,
}

/// Gives the constant tensor that stands at a value.
type Constants<'a, B> = dyn Fn(ValueId) -> Result<Option<Value<B>>, RuntimeError> + 'a;

/// What a node gives in place of what its operator says, or `None` for the operator.
pub(crate) type Replacement<'a, B> =
    dyn FnMut(NodeId, &Operator, &mut Operands<B>) -> Option<Outcome<Vec<Value<B>>>> + 'a;

/// The values that nodes have computed and others are still to read.
struct Alive<B: Backend> {
    values: Vec<Option<Value<B>>>,
    /// What they take together, and what is alive outside of a body.
    bytes: u64,
}

impl<B: RuntimeBackend> Alive<B> {
    fn new(values: usize, outside: u64) -> Self {
        Self { values: vec![None; values], bytes: outside }
    }

    fn put(&mut self, id: ValueId, value: Value<B>) {
        self.take(id);
        self.bytes = self.bytes.saturating_add(value.bytes());
        self.values[id.index()] = Some(value);
    }

    fn get(&self, id: ValueId) -> Option<Value<B>> {
        self.values[id.index()].clone()
    }

    fn take(&mut self, id: ValueId) -> Option<Value<B>> {
        let value = self.values[id.index()].take();
        if let Some(value) = &value {
            self.bytes = self.bytes.saturating_sub(value.bytes());
        }
        value
    }
}

impl<B: RuntimeBackend> Program<B> {
    /// Uploads the constant tensors of a graph. Fails if one holds integers that do not fit 64 bits.
    pub(crate) fn new(graph: &Graph, device: &Device<B>, limits: &Limits) -> Result<Self, RuntimeError> {
        let mut program = Self::bare(graph, device, limits);
        for (id, tensor) in graph.initializers() {
            program.constants[id.index()] = Some(program.upload(id, tensor)?);
        }
        Ok(program)
    }

    /// A graph none of whose constants are on the device, for [`run_with`](Self::run_with).
    pub(crate) fn bare(graph: &Graph, device: &Device<B>, limits: &Limits) -> Self {
        Self {
            graph: graph.clone(),
            device: device.clone(),
            limits: limits.clone(),
            size: Size::of(graph),
            constants: vec![None; graph.values().len()],
            plans: Plans::default(),
        }
    }

    fn upload(&self, id: ValueId, tensor: &Tensor) -> Result<Value<B>, RuntimeError> {
        Value::from_tensor(tensor, &self.device).map_err(|_| RuntimeError::Constant {
            value: self.name(id),
            expected: "floats, or integers below 2^63".into(),
            found: format!("{} tensor", tensor.data_type()),
        })
    }

    /// The graph that is run.
    pub(crate) fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The device that it runs on.
    #[cfg(feature = "training")]
    pub(crate) fn device(&self) -> &Device<B> {
        &self.device
    }

    /// Computes the values of `wanted` from inner values that are known already; what stands before these is not run.
    ///
    /// # Errors
    /// A value that does not follow from those given; operands that do not fit, with the node's name.
    pub(crate) fn run_from(
        &self,
        known: &[(ValueId, Tensor)],
        wanted: &[ValueId],
    ) -> Result<BTreeMap<ValueId, Tensor>, RuntimeError> {
        // What is known as it would come back needs no way to the device, nor does what nothing reads.
        let is_same = |(_, tensor): &&(ValueId, Tensor)| tensor.data_type() == DataType::F32;
        let of = |id: ValueId| known.iter().find(|(other, _)| *other == id).filter(is_same);
        let (held, rest): (Vec<ValueId>, Vec<ValueId>) = wanted.iter().partition(|id| of(**id).is_some());
        let held = held.into_iter().filter_map(of).cloned();
        if rest.is_empty() && !wanted.is_empty() {
            return Ok(held.collect());
        }
        let plan = self.plans.of(&self.graph, &rest, known.iter().map(|(id, _)| *id))?;
        let is_read = |(id, _): &&(ValueId, Tensor)| plan.reads.get(id.index()).is_none_or(|&reads| reads > 0);
        let read: Vec<(ValueId, Tensor)> = known.iter().filter(is_read).cloned().collect();
        let values = self.compute(self.uploaded(&read)?, &rest)?;
        let mut found = self.downloaded(values)?;
        found.extend(held);
        Ok(found)
    }

    fn uploaded(&self, known: &[(ValueId, Tensor)]) -> Result<Vec<(ValueId, Value<B>)>, RuntimeError> {
        let mut given = Vec::with_capacity(known.len());
        for (id, tensor) in known {
            if id.index() >= self.constants.len() {
                let expected = self.graph.inputs().iter().map(|&id| self.name(id)).collect();
                return Err(RuntimeError::UnknownInput { input: format!("{id:?}"), expected });
            }
            let value = Value::from_tensor(tensor, &self.device).map_err(|_| RuntimeError::Input {
                input: self.name(*id),
                expected: "integers below 2^63".into(),
                found: format!("a {} tensor with larger numbers", tensor.data_type()),
            })?;
            given.push((*id, value));
        }
        Ok(given)
    }

    fn downloaded(&self, values: BTreeMap<ValueId, Value<B>>) -> Result<BTreeMap<ValueId, Tensor>, RuntimeError> {
        values
            .into_iter()
            .map(|(id, value)| {
                let tensor = value.into_tensor().map_err(|fault| fault.at(&self.name(id), "output"))?;
                Ok((id, tensor))
            })
            .collect()
    }

    /// Replaces a constant tensor.
    ///
    /// # Errors
    /// Integers that do not fit 64 bits; a value that the graph does not have.
    pub(crate) fn replace(&mut self, id: ValueId, tensor: &Tensor) -> Result<(), RuntimeError> {
        if id.index() >= self.constants.len() {
            let (expected, found) = ("a value of the network".into(), "one of another".into());
            return Err(RuntimeError::Constant { value: format!("{id:?}"), expected, found });
        }
        let value = self.upload(id, tensor)?;
        self.set_constant(id, value);
        Ok(())
    }

    /// Computes the values of `wanted` and nothing that they do not need.
    pub(crate) fn run_for(
        &self,
        inputs: &[(ValueId, Tensor)],
        wanted: &[ValueId],
    ) -> Result<BTreeMap<ValueId, Tensor>, RuntimeError> {
        self.check_inputs(inputs)?;
        self.run_from(inputs, wanted)
    }

    /// As [`run_for`](Self::run_for), with constants that are uploaded whenever a node reads them and dropped behind it:
    /// what `other` gives for a value and its tensor in the graph, or that tensor.
    pub(crate) fn run_with(
        &self,
        inputs: &[(ValueId, Tensor)],
        wanted: &[ValueId],
        other: &dyn Fn(ValueId, &Tensor) -> Option<Tensor>,
    ) -> Result<BTreeMap<ValueId, Tensor>, RuntimeError> {
        self.check_inputs(inputs)?;
        let constants = |id: ValueId| {
            let Some(tensor) = self.graph.initializer(id) else { return Ok(None) };
            match other(id, tensor) {
                Some(tensor) => self.upload(id, &tensor).map(Some),
                None => self.upload(id, tensor).map(Some),
            }
        };
        let values = self.compute_with(self.uploaded(inputs)?, wanted, &mut |_, _, _| None, &constants, 0)?;
        self.downloaded(values)
    }

    /// As [`run_for`](Self::run_for), without leaving the device.
    pub(crate) fn compute(
        &self,
        inputs: Vec<(ValueId, Value<B>)>,
        wanted: &[ValueId],
    ) -> Result<BTreeMap<ValueId, Value<B>>, RuntimeError> {
        self.compute_replacing(inputs, wanted, &mut |_, _, _| None)
    }

    /// Computes values without leaving the device, and asks `replace` first what a node gives.
    pub(crate) fn compute_replacing(
        &self,
        inputs: Vec<(ValueId, Value<B>)>,
        wanted: &[ValueId],
        replace: &mut Replacement<'_, B>,
    ) -> Result<BTreeMap<ValueId, Value<B>>, RuntimeError> {
        self.compute_with(inputs, wanted, replace, &|id| Ok(self.constants[id.index()].clone()), 0)
    }

    /// Computes the outputs as the body of a node, beside so many bytes that are alive outside.
    pub(crate) fn compute_inside(
        &self,
        inputs: Vec<(ValueId, Value<B>)>,
        outside: u64,
    ) -> Result<BTreeMap<ValueId, Value<B>>, RuntimeError> {
        let constants = |id: ValueId| Ok(self.constants[id.index()].clone());
        self.compute_with(inputs, self.graph.outputs(), &mut |_, _, _| None, &constants, outside)
    }

    fn compute_with(
        &self,
        inputs: Vec<(ValueId, Value<B>)>,
        wanted: &[ValueId],
        replace: &mut Replacement<'_, B>,
        constants: &Constants<'_, B>,
        outside: u64,
    ) -> Result<BTreeMap<ValueId, Value<B>>, RuntimeError> {
        let given = inputs.iter().fold(0_u64, |sum, (_, value)| sum.saturating_add(value.bytes() / 4));
        let limits = self.limits.running(self.size, given);
        let plan = self.plans.of(&self.graph, wanted, inputs.iter().map(|(id, _)| *id))?;
        if plan.steps.is_empty() {
            // So that a loop whose body computes nothing ends by its limits too.
            limits.begin(self.graph.name())?;
        }
        let mut reads = plan.reads.clone();
        let mut values = Alive::new(reads.len(), outside);
        inputs.into_iter().for_each(|(id, value)| values.put(id, value));
        for &id in &plan.steps {
            let node = self.graph.node(id);
            limits.begin(&node.name)?;
            let mut operands = self.operands(node, &mut reads, &mut values, constants, &limits)?;
            let operator = &node.operator;
            let compute = || {
                let needs = Needs::of(operator, &operands);
                limits.ask(operands.held.saturating_add(needs.bytes), needs.operations)?;
                match replace(id, operator, &mut operands) {
                    Some(outputs) => outputs,
                    None => super::apply(operator, operands, node.outputs.len()),
                }
            };
            let outputs = catch_unwind(AssertUnwindSafe(compute))
                .unwrap_or_else(|panic| Err(Fault::Backend(panic_message(panic.as_ref()))))
                .map_err(|fault| fault.at(&node.name, operator.name()))?;
            for (output, value) in node.outputs.iter().zip(outputs) {
                if let Some(output) = output
                    && reads[output.index()] > 0
                    && !plan.given.contains(output)
                {
                    values.put(*output, value);
                }
            }
            limits.ask(values.bytes, 0).map_err(|exceeded| exceeded.at(&node.name))?;
        }
        let mut found = BTreeMap::new();
        for &id in wanted {
            let value = match values.get(id) {
                Some(value) => Some(value),
                None => constants(id)?,
            };
            found.insert(id, value.ok_or_else(|| self.missing(id))?);
        }
        Ok(found)
    }

    /// What a node reads. The last reader takes a tensor itself, so that the backend can work in place.
    fn operands(
        &self,
        node: &Node,
        reads: &mut [usize],
        values: &mut Alive<B>,
        constants: &Constants<'_, B>,
        limits: &Limits,
    ) -> Result<Operands<B>, RuntimeError> {
        let mut operands = Vec::with_capacity(node.inputs.len());
        for input in &node.inputs {
            let Some(input) = input else {
                operands.push(None);
                continue;
            };
            reads[input.index()] -= 1;
            let value = if reads[input.index()] == 0 { values.take(*input) } else { values.get(*input) };
            let value = match value {
                Some(value) => Some(value),
                None => constants(*input)?,
            };
            operands.push(Some(value.ok_or_else(|| self.missing(*input))?));
        }
        Ok(Operands { values: operands, device: self.device.clone(), limits: limits.clone(), held: values.bytes })
    }

    /// The floats of a constant, on the device.
    #[cfg(feature = "training")]
    pub(crate) fn constant(&self, id: ValueId) -> Option<&Value<B>> {
        self.constants.get(id.index())?.as_ref()
    }

    /// Forgets a constant, which has to be set again before it is read.
    #[cfg(feature = "training")]
    pub(crate) fn release(&mut self, id: ValueId) {
        self.constants[id.index()] = None;
    }

    /// Replaces a constant.
    pub(crate) fn set_constant(&mut self, id: ValueId, value: Value<B>) {
        self.constants[id.index()] = Some(value);
    }

    fn check_inputs(&self, inputs: &[(ValueId, Tensor)]) -> Result<(), RuntimeError> {
        let known: HashSet<ValueId> = self.graph.inputs().iter().copied().collect();
        inputs.iter().try_for_each(|(id, tensor)| self.check_input(*id, tensor, &known))
    }

    fn check_input(&self, id: ValueId, tensor: &Tensor, known: &HashSet<ValueId>) -> Result<(), RuntimeError> {
        if !known.contains(&id) {
            let expected = self.graph.inputs().iter().map(|&id| self.name(id)).collect();
            let input = if id.index() < self.constants.len() { self.name(id) } else { format!("{id:?}") };
            return Err(RuntimeError::UnknownInput { input, expected });
        }
        let Some(declared) = &self.graph.value(id).declared else {
            return Ok(());
        };
        let kind = |data_type: DataType| (data_type.is_float(), data_type == DataType::Bool);
        let shape_fits = declared.shape.as_ref().is_none_or(|shape| {
            shape.len() == tensor.shape().len()
                && shape
                    .iter()
                    .zip(tensor.shape())
                    .all(|(dim, &length)| dim.as_known().is_none_or(|known| known == length))
        });
        if shape_fits && kind(declared.data_type) == kind(tensor.data_type()) {
            return Ok(());
        }
        let shape = declared.shape.as_ref().map_or("any shape".to_owned(), |shape| format!("shape {shape:?}"));
        Err(RuntimeError::Input {
            input: self.name(id),
            expected: format!("{} of {shape}", declared.data_type),
            found: format!("{} of shape {:?}", tensor.data_type(), tensor.shape()),
        })
    }

    fn missing(&self, id: ValueId) -> RuntimeError {
        let name = self.name(id);
        if self.graph.inputs().contains(&id) {
            RuntimeError::MissingInput { input: name }
        } else {
            RuntimeError::NotComputed { value: name }
        }
    }

    fn name(&self, id: ValueId) -> String {
        self.graph.value(id).name.clone()
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "the tensor library panicked".into())
}
