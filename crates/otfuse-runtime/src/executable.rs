//! A graph prepared on a device that is chosen at run time.

use std::collections::BTreeMap;

use otfuse_graph::{Facts, Graph, Tensor, ValueId};

use crate::device::{Device, Kind};
use crate::host::Host;
use crate::interpreter::Program;
use crate::{Cpu, RuntimeError};

/// A graph whose constant tensors are on the device of a host, ready to be run many times.
pub struct Executable {
    host: Host,
    program: OnDevice,
}

enum OnDevice {
    Cpu(Program<Cpu>),
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    Gpu(Program<crate::device::Gpu>),
}

/// Does the same on whatever backend the program is for.
macro_rules! on_device {
    ($program:expr, $name:ident => $work:expr) => {
        match $program {
            OnDevice::Cpu($name) => $work,
            #[cfg(any(feature = "cuda", feature = "wgpu"))]
            OnDevice::Gpu($name) => $work,
        }
    };
}

impl OnDevice {
    /// A graph none of whose constants are on the device.
    fn bare(graph: &Graph, host: &Host) -> Self {
        match host.device().kind() {
            Kind::Cpu => Self::Cpu(Program::bare(graph, &burn_flex::FlexDevice, host.limits())),
            #[cfg(any(feature = "cuda", feature = "wgpu"))]
            Kind::Gpu(device) => Self::Gpu(Program::bare(graph, device, host.limits())),
        }
    }
}

impl Executable {
    /// Uploads the constant tensors of a graph. Fails if one holds integers that do not fit 64 bits.
    pub fn new(graph: &Graph, host: &Host) -> Result<Self, RuntimeError> {
        let program = match host.device().kind() {
            Kind::Cpu => OnDevice::Cpu(Program::new(graph, &burn_flex::FlexDevice, host.limits())?),
            #[cfg(any(feature = "cuda", feature = "wgpu"))]
            Kind::Gpu(device) => OnDevice::Gpu(Program::new(graph, device, host.limits())?),
        };
        Ok(Self { host: host.clone(), program })
    }

    /// The graph that is run.
    pub fn graph(&self) -> &Graph {
        on_device!(&self.program, program => program.graph())
    }

    /// Where it runs, and within which limits.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The device that it runs on.
    pub fn device(&self) -> &Device {
        self.host.device()
    }

    /// Computes the network's outputs and the values of `record` (inner values, inputs or constants).
    ///
    /// Floats come back as float32 whatever their width in the graph. Inner values are dropped as soon as their last
    /// reader has run.
    ///
    /// # Errors
    /// Inputs or operands that do not fit, with the node, what was expected and what was found; what the host's limits do
    /// not allow.
    pub fn run(
        &self,
        inputs: &[(ValueId, Tensor)],
        record: &[ValueId],
    ) -> Result<BTreeMap<ValueId, Tensor>, RuntimeError> {
        let wanted: Vec<ValueId> = self.graph().outputs().iter().chain(record).copied().collect();
        self.run_for(inputs, &wanted)
    }

    /// Computes the values of `wanted` and nothing that they do not need.
    pub fn run_for(
        &self,
        inputs: &[(ValueId, Tensor)],
        wanted: &[ValueId],
    ) -> Result<BTreeMap<ValueId, Tensor>, RuntimeError> {
        on_device!(&self.program, program => program.run_for(inputs, wanted))
    }

    /// Computes the values of `wanted` from inner values that are known already; what stands before these is not run.
    ///
    /// # Errors
    /// A value that does not follow from those given or is none of the graph's; operands that do not fit, with the node's
    /// name.
    pub fn run_from(
        &self,
        known: &[(ValueId, Tensor)],
        wanted: &[ValueId],
    ) -> Result<BTreeMap<ValueId, Tensor>, RuntimeError> {
        on_device!(&self.program, program => program.run_from(known, wanted))
    }

    /// Replaces a constant tensor.
    ///
    /// # Errors
    /// Integers that do not fit 64 bits; a value that the graph does not have.
    pub fn replace(&mut self, id: ValueId, tensor: &Tensor) -> Result<(), RuntimeError> {
        on_device!(&mut self.program, program => program.replace(id, tensor))
    }
}

/// Runs a graph once on a host: inputs and outputs by name, outputs in the graph's order and of the types
/// that its operators give. Computed is in float32 all the same.
pub fn run_graph(
    graph: &Graph,
    inputs: BTreeMap<String, Tensor>,
    host: &Host,
) -> Result<Vec<(String, Tensor)>, RuntimeError> {
    let facts = Facts::of(graph).ok();
    let mut outputs = run_graph_f32(graph, inputs, host)?;
    for (&id, (_, tensor)) in graph.outputs().iter().zip(&mut outputs) {
        let wanted = facts.as_ref().and_then(|facts| facts.data_type(id)).filter(|wanted| wanted.is_float());
        if let Some(wanted) = wanted.filter(|&wanted| tensor.data_type().is_float() && wanted != tensor.data_type())
            && let Some(values) = tensor.to_f32()
        {
            *tensor = Tensor::from_f32_as(wanted, tensor.shape(), values);
        }
    }
    Ok(outputs)
}

/// As [`run_graph`], with all floats as they are computed: in float32.
pub fn run_graph_f32(
    graph: &Graph,
    inputs: BTreeMap<String, Tensor>,
    host: &Host,
) -> Result<Vec<(String, Tensor)>, RuntimeError> {
    run_graph_with(graph, inputs, host, &|_, _| None)
}

/// As [`run_graph_f32`], with other constant tensors: for each value that holds one, and its tensor in the graph, `other`
/// gives what stands in its place, or `None` for the graph's own. It is asked whenever a node reads the constant, and what
/// it gives is dropped behind that node: of a large network no more than a few tensors are in memory at once.
pub fn run_graph_with(
    graph: &Graph,
    inputs: BTreeMap<String, Tensor>,
    host: &Host,
    other: &dyn Fn(ValueId, &Tensor) -> Option<Tensor>,
) -> Result<Vec<(String, Tensor)>, RuntimeError> {
    run_values_with(graph, inputs, graph.outputs(), host, other)
}

/// As [`run_graph_with`], for any values; nodes that these do not need are not run.
pub fn run_values_with(
    graph: &Graph,
    inputs: BTreeMap<String, Tensor>,
    wanted: &[ValueId],
    host: &Host,
    other: &dyn Fn(ValueId, &Tensor) -> Option<Tensor>,
) -> Result<Vec<(String, Tensor)>, RuntimeError> {
    let names = || graph.inputs().iter().map(|&id| graph.value(id).name.clone()).collect();
    let own: BTreeMap<&str, ValueId> = graph.inputs().iter().map(|&id| (graph.value(id).name.as_str(), id)).collect();
    let mut given = Vec::with_capacity(inputs.len());
    for (name, tensor) in inputs {
        let input = own.get(name.as_str());
        let &input = input.ok_or_else(|| RuntimeError::UnknownInput { input: name, expected: names() })?;
        given.push((input, tensor));
    }
    let program = OnDevice::bare(graph, host);
    let outputs = on_device!(&program, program => program.run_with(&given, wanted, other))?;
    wanted
        .iter()
        .map(|id| {
            let name = graph.value(*id).name.clone();
            let tensor = outputs.get(id).cloned();
            tensor.map(|tensor| (name.clone(), tensor)).ok_or(RuntimeError::NotComputed { value: name })
        })
        .collect()
}
