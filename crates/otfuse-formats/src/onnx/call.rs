//! One node of a file on its way into the graph.

use std::collections::HashMap;

use otfuse_graph::{DataType, GraphEditor, Operator, Tensor, ValueId};

use super::attributes::Attributes;
use super::hints::Hints;
use crate::error::OnnxError;

/// What a node was read as.
#[derive(Debug)]
pub(super) enum Reading {
    /// This operator, on the call's inputs and outputs.
    Operator(Operator),
    /// Several nodes, which have been added already.
    Expanded,
    /// Something without a meaning here.
    Opaque,
    /// An operator of another family.
    Other,
}

/// A constant of the graph that has another form in the file; written back, it takes that form again.
#[derive(Clone, Debug)]
pub(super) struct Binding {
    /// The name of the constant in the graph.
    pub(super) value: String,
    /// What it held.
    pub(super) tensor: Tensor,
    /// The form in the file.
    pub(super) target: Target,
}

/// See [`Binding`].
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// An attribute of the node at that position.
    Attribute { node: usize, attribute: &'static str },
    /// The tensor of the same name without so many axes of length 1 at its end.
    TrailingAxes { count: usize },
    /// A half, along the first axis, of the tensor of that name.
    Half { tensor: String, second: bool },
    /// The tensor of that name inside of bodies within one another.
    Body { path: Vec<Place>, tensor: String },
}

/// The position of a node and the attribute that holds a body of it.
pub(super) type Place = (usize, &'static str);

/// A node of the file with what its conversion may look at and add to.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) name: &'a str,
    pub(super) operator: &'a str,
    /// The version of ONNX's operators that the file is written in.
    pub(super) version: i64,
    /// The position in the file.
    pub(super) index: usize,
    pub(super) attributes: Attributes<'a>,
    pub(super) inputs: Vec<Option<ValueId>>,
    pub(super) outputs: Vec<Option<ValueId>>,
    pub(super) editor: &'a mut GraphEditor,
    pub(super) hints: &'a mut Hints,
    pub(super) bindings: &'a mut Vec<Binding>,
    /// How many places read each value.
    pub(super) readers: &'a HashMap<ValueId, usize>,
}

/// The two halves of a tensor along its first axis.
fn half_tensors(tensor: &Tensor) -> Option<[Tensor; 2]> {
    let (&first, rest) = tensor.shape().split_first()?;
    if !first.is_multiple_of(2) {
        return None;
    }
    let shape = [&[first / 2], rest].concat();
    let (head, tail) = tensor.bytes().split_at(tensor.bytes().len() / 2);
    let half = |bytes: &[u8]| Tensor::new(tensor.data_type(), shape.clone(), tensor.bytes().slice_ref(bytes)).ok();
    Some([half(head)?, half(tail)?])
}

impl Call<'_> {
    /// Whether only the first output is read; if so, the others are let go.
    pub(super) fn keep_first_output(&mut self) -> bool {
        let others = self.outputs.iter().skip(1).flatten();
        let alone = others.into_iter().all(|output| !self.readers.contains_key(output));
        if alone {
            self.outputs.truncate(1);
        }
        alone
    }

    /// The input at a position, if it is given.
    pub(super) fn input(&self, position: usize) -> Option<ValueId> {
        self.inputs.get(position).copied().flatten()
    }

    /// The constant at a position, if it is one.
    pub(super) fn constant(&self, position: usize) -> Option<&Tensor> {
        self.editor.graph().initializer(self.input(position)?)
    }

    /// The number of axes of an input, if it is known.
    pub(super) fn rank(&self, position: usize) -> Option<usize> {
        self.hints.rank(self.editor.graph(), self.input(position)?)
    }

    /// The element type of an input; float32 where nothing tells.
    pub(super) fn data_type(&self, position: usize) -> DataType {
        self.known_type(position).unwrap_or(DataType::F32)
    }

    /// The element type of an input, if it is known.
    pub(super) fn known_type(&self, position: usize) -> Option<DataType> {
        self.hints.data_type(self.editor.graph(), self.input(position)?)
    }

    /// Makes the value of an attribute an input.
    pub(super) fn attribute_as_input(&mut self, position: usize, attribute: &'static str, tensor: Tensor) {
        let value = self.editor.add_initializer(format!("{}_{attribute}", self.name), tensor.clone());
        if self.inputs.len() <= position {
            self.inputs.resize(position + 1, None);
        }
        self.inputs[position] = Some(value);
        let value = self.editor.graph().value(value).name.clone();
        self.bindings.push(Binding { value, tensor, target: Target::Attribute { node: self.index, attribute } });
    }

    /// As [`attribute_as_input`](Self::attribute_as_input) for a list of integers, if the attribute is there.
    pub(super) fn ints_as_input(&mut self, position: usize, attribute: &'static str) -> Result<bool, OnnxError> {
        let Some(values) = self.attributes.ints(attribute)? else { return Ok(false) };
        self.attribute_as_input(position, attribute, Tensor::from_i64(&[values.len()], values.to_vec()));
        Ok(true)
    }

    /// Adds a node that the file does not have; its output is a new value.
    pub(super) fn add(&mut self, operator: Operator, inputs: Vec<Option<ValueId>>) -> ValueId {
        let name = format!("{}_{}", self.name, operator.name());
        let output = self.editor.add_value(format!("{name}_output"), None);
        let node = self.editor.add_node(name, operator, inputs, vec![Some(output)]);
        self.hints.observe(self.editor.graph(), node);
        output
    }

    /// As [`add`](Self::add), with an output for each of `wanted` that is there.
    pub(super) fn add_outputs(
        &mut self,
        operator: Operator,
        inputs: Vec<Option<ValueId>>,
        wanted: &[Option<ValueId>],
    ) -> Vec<Option<ValueId>> {
        let name = format!("{}_{}", self.name, operator.name());
        let mut output = |position: usize| self.editor.add_value(format!("{name}_output_{position}"), None);
        let outputs: Vec<_> =
            wanted.iter().enumerate().map(|(position, wanted)| wanted.map(|_| output(position))).collect();
        let node = self.editor.add_node(name, operator, inputs, outputs.clone());
        self.hints.observe(self.editor.graph(), node);
        outputs
    }

    /// Adds a node that computes a value of the file.
    pub(super) fn add_as(&mut self, operator: Operator, inputs: Vec<Option<ValueId>>, output: ValueId) {
        let name = format!("{}_{}", self.name, operator.name());
        let node = self.editor.add_node(name, operator, inputs, vec![Some(output)]);
        self.hints.observe(self.editor.graph(), node);
    }

    /// Cuts an input in two halves along an axis. A constant that nothing else reads becomes two constants, which are
    /// one tensor again in the file.
    pub(super) fn halves(&mut self, position: usize, axis: usize) -> [Option<ValueId>; 2] {
        let Some(input) = self.input(position) else { return [None, None] };
        let alone = self.readers.get(&input) == Some(&1) && axis == 0;
        let constant = self.editor.graph().initializer(input).filter(|_| alone);
        if let Some(halves) = constant.and_then(half_tensors) {
            let tensor = self.editor.graph().value(input).name.clone();
            self.editor.remove_tensor(input);
            let mut second = false;
            return halves.map(|half| {
                let suffix = if second { "second" } else { "first" };
                let value = self.editor.add_initializer(format!("{tensor}.{suffix}"), half.clone());
                let name = self.editor.graph().value(value).name.clone();
                let target = Target::Half { tensor: tensor.clone(), second };
                self.bindings.push(Binding { value: name, tensor: half, target });
                second = true;
                Some(value)
            });
        }
        let both = [Some(input); 2];
        let outputs = self.add_outputs(Operator::Split { axis: axis as i64 }, vec![Some(input)], &both);
        [outputs[0], outputs[1]]
    }

    /// Adds a constant list of integers that the file does not have.
    pub(super) fn integers(&mut self, what: &str, values: Vec<i64>) -> ValueId {
        self.editor.add_initializer(format!("{}_{what}", self.name), Tensor::from_i64(&[values.len()], values))
    }

    /// Adds a number that the file does not have and that is not learned.
    pub(super) fn number(&mut self, what: &str, value: f32) -> ValueId {
        self.editor.add_constant(format!("{}_{what}", self.name), Tensor::scalar(value))
    }

    /// Adds axes of length 1 behind an input, such that its first axis lines up with `axis` of `rank` axes: how
    /// operators before opset 7 broadcast. `false` if a rank is unknown or the input does not fit.
    pub(super) fn line_up(&mut self, position: usize, axis: i64, rank: Option<usize>) -> bool {
        let (Some(input), Some(own), Some(rank)) = (self.input(position), self.rank(position), rank) else {
            return false;
        };
        let axis = if axis < 0 { axis.saturating_add_unsigned(rank as u64) } else { axis };
        let Some(trailing) = usize::try_from(axis).ok().and_then(|axis| rank.checked_sub(axis.checked_add(own)?))
        else {
            return false;
        };
        let single = self.readers.get(&input) == Some(&1);
        if let Some(tensor) = self.editor.graph().initializer(input).filter(|_| single && trailing > 0).cloned() {
            let shape = [tensor.shape(), vec![1; trailing].as_slice()].concat();
            let Ok(wider) = tensor.reshaped(&shape) else { return false };
            let value = self.editor.graph().value(input).name.clone();
            self.editor.set_tensor(input, wider);
            self.bindings.push(Binding { value, tensor, target: Target::TrailingAxes { count: trailing } });
        } else if trailing > 0 {
            let axes = self.integers("axes", (own..own + trailing).map(|axis| axis as i64).collect());
            let output = self.add(Operator::Unsqueeze, vec![Some(input), Some(axes)]);
            self.inputs[position] = Some(output);
        }
        true
    }

    /// The node does something that cannot be kept aside either.
    pub(super) fn unsupported(&self, construct: impl Into<String>) -> OnnxError {
        OnnxError::UnsupportedNode {
            node: self.name.into(),
            operator: self.operator.into(),
            construct: construct.into(),
        }
    }
}
