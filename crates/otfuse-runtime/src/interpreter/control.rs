//! Control flow: operators that run other networks.

use otfuse_graph::{Body, DataType, Direction, Facts, Scan};

use super::array::Array;
use super::fault::{Fault, Outcome, resolve_axis};
use super::integers::Integers;
use super::program::Program;
use super::value::{Operands, Value};
use crate::RuntimeBackend;
use crate::host::Limits;

/// Operations for each element of a constant that is uploaded.
const UPLOAD: u64 = 32;

/// Bytes that an element of a result takes beside its numbers.
const ELEMENT: u64 = 64;

/// A body on the device, with what it reads from outside.
struct Runner<'a, B: RuntimeBackend> {
    body: &'a Body,
    program: Program<B>,
    outside: Vec<Value<B>>,
}

impl<'a, B: RuntimeBackend> Runner<'a, B> {
    fn new(body: &'a Body, operands: &Operands<B>) -> Outcome<Self> {
        let outside = body.captures.iter().map(|&input| {
            let value = operands.values.get(input).and_then(Option::as_ref).cloned();
            value.ok_or_else(|| Fault::new(format!("input {input}"), "a tensor", "nothing"))
        });
        // The body's constants go to the device anew, which counts where a loop in a loop does so.
        let constants = body.graph.initializers().map(|(_, tensor)| tensor.len() as u64);
        let constants = constants.fold(0_u64, u64::saturating_add);
        operands.limits.ask(operands.held, constants.saturating_mul(UPLOAD))?;
        let program = Program::new(&body.graph, &operands.device, &operands.limits).map_err(Fault::Inner)?;
        Ok(Self { body, program, outside: outside.collect::<Outcome<_>>()? })
    }

    /// The outputs, given the inputs that the operator gives and the bytes that are alive outside.
    fn run(&self, own: Vec<Value<B>>, held: u64) -> Outcome<Vec<Value<B>>> {
        let inputs = self.body.graph.inputs();
        let values = own.into_iter().chain(self.outside.iter().cloned());
        let given = inputs.iter().copied().zip(values).collect();
        let found = self.program.compute_inside(given, held).map_err(Fault::Inner)?;
        let missing = || Fault::Backend("a body gave too few outputs".into());
        self.body.graph.outputs().iter().map(|id| found.get(id).cloned().ok_or_else(missing)).collect()
    }
}

/// What the steps of a loop leave behind.
struct Results<B: RuntimeBackend> {
    /// The elements of each result so far.
    elements: Vec<Vec<Value<B>>>,
    limits: Limits,
    /// The bytes alive outside of the loop and in the elements.
    bytes: u64,
}

impl<B: RuntimeBackend> Results<B> {
    fn new(count: usize, operands: &Operands<B>) -> Self {
        Self { elements: vec![Vec::new(); count], limits: operands.limits.clone(), bytes: operands.held }
    }

    /// Adds the elements of a step.
    fn push(&mut self, found: impl Iterator<Item = Value<B>>) -> Outcome<()> {
        for (elements, element) in self.elements.iter_mut().zip(found) {
            self.bytes = self.bytes.saturating_add(element.bytes()).saturating_add(ELEMENT);
            elements.push(element);
        }
        Ok(self.limits.ask(self.bytes, 0)?)
    }
}

fn truth<B: RuntimeBackend>(value: &Value<B>) -> Outcome<bool> {
    match value {
        Value::Integers(Integers { data, .. }) if data.len() == 1 => Ok(data[0] != 0),
        other => Err(Fault::new("condition", "one truth value", format!("shape {:?}", other.shape()))),
    }
}

pub(super) fn branch<B: RuntimeBackend>(yes: &Body, no: &Body, operands: &mut Operands<B>) -> Outcome<Vec<Value<B>>> {
    let condition = operands.value(0)?;
    Runner::new(if truth(&condition)? { yes } else { no }, operands)?.run(Vec::new(), operands.held)
}

pub(super) fn repeat<B: RuntimeBackend>(
    body: &Body,
    states: usize,
    operands: &mut Operands<B>,
) -> Outcome<Vec<Value<B>>> {
    let runner = Runner::new(body, operands)?;
    let most = match operands.optional_integers(0)?.as_deref() {
        None => i64::MAX,
        Some(&[most]) => most,
        Some(other) => return Err(Fault::new("most steps", "one number", format!("{other:?}"))),
    };
    let mut condition = match operands.optional(1) {
        Some(condition) => condition,
        None => Value::Integers(Integers::new(DataType::Bool, Vec::new(), vec![1])),
    };
    let mut carried = (0..states).map(|state| operands.value(2 + state)).collect::<Outcome<Vec<_>>>()?;
    let mut results = Results::new(body.graph.outputs().len().saturating_sub(1 + states), operands);
    let mut step = 0;
    while step < most && truth(&condition)? {
        let number = Value::Integers(Integers::new(DataType::I64, Vec::new(), vec![step]));
        let own = [number, condition].into_iter().chain(carried).collect();
        let mut found = runner.run(own, results.bytes)?.into_iter();
        condition = found.next().ok_or_else(|| Fault::Backend("a body without a condition".into()))?;
        carried = found.by_ref().take(states).collect();
        results.push(found)?;
        step += 1;
    }
    let first = Direction { axis: 0, reverse: false };
    for (at, result) in results.elements.into_iter().enumerate() {
        carried.push(stacked(body, 1 + states + at, result, first, operands)?);
    }
    Ok(carried)
}

pub(super) fn scan<B: RuntimeBackend>(scan: &Scan, operands: &mut Operands<B>) -> Outcome<Vec<Value<B>>> {
    let runner = Runner::new(&scan.body, operands)?;
    let states = scan.states;
    let mut carried = (0..states).map(|state| operands.value(state)).collect::<Outcome<Vec<_>>>()?;
    let mut sequences = Vec::new();
    for (at, direction) in scan.inputs.iter().enumerate() {
        let sequence = operands.value(states + at)?;
        let axis = resolve_axis(direction.axis, sequence.shape().len())?;
        sequences.push((sequence, axis, direction.reverse));
    }
    let steps = sequences.first().map_or(0, |(sequence, axis, _)| sequence.shape()[*axis]);
    if let Some((other, axis, _)) = sequences.iter().find(|(other, axis, _)| other.shape()[*axis] != steps) {
        return Err(Fault::new("a sequence", format!("{steps} elements"), other.shape()[*axis]));
    }
    let mut results = Results::new(scan.outputs.len(), operands);
    for step in 0..steps {
        let elements = sequences.iter().map(|(sequence, axis, reverse)| {
            element(sequence.clone(), *axis, if *reverse { steps - 1 - step } else { step })
        });
        let own = carried.into_iter().chain(elements).collect();
        let mut found = runner.run(own, results.bytes)?.into_iter();
        carried = found.by_ref().take(states).collect();
        results.push(found)?;
    }
    for (at, (result, &direction)) in results.elements.into_iter().zip(&scan.outputs).enumerate() {
        carried.push(stacked(&scan.body, states + at, result, direction, operands)?);
    }
    Ok(carried)
}

fn element<B: RuntimeBackend>(value: Value<B>, axis: usize, index: usize) -> Value<B> {
    let mut shape = value.shape().to_vec();
    shape.remove(axis);
    match value {
        Value::Floats(x) => Value::Floats(x.range(axis, index, 1).reshaped(&shape)),
        Value::Integers(x) => Value::Integers(x.range(axis, index, 1).reshaped(&shape)),
    }
}

/// The elements of a result behind one another. Where there are none, their shape is what the body declares.
fn stacked<B: RuntimeBackend>(
    body: &Body,
    output: usize,
    mut elements: Vec<Value<B>>,
    direction: Direction,
    operands: &Operands<B>,
) -> Outcome<Value<B>> {
    if direction.reverse {
        elements.reverse();
    }
    let Some(first) = elements.first() else { return nothing(body, output, operands) };
    let shape = first.shape().to_vec();
    if let Some(other) = elements.iter().find(|element| element.shape() != shape) {
        return Err(Fault::new("elements of a result", format!("{shape:?}"), format!("{:?}", other.shape())));
    }
    let axis = resolve_axis(direction.axis, shape.len() + 1)?;
    let mut one = shape;
    one.insert(axis, 1);
    let (mut floats, mut integers) = (Vec::new(), Vec::new());
    for element in elements {
        match element {
            Value::Floats(x) => floats.push(x.reshaped(&one)),
            Value::Integers(x) => integers.push(x.reshaped(&one)),
        }
    }
    Ok(match floats.is_empty() {
        true => Value::Integers(Integers::concatenated(integers, axis)),
        false => Value::Floats(Array::concatenated(floats, axis)),
    })
}

fn nothing<B: RuntimeBackend>(body: &Body, output: usize, operands: &Operands<B>) -> Outcome<Value<B>> {
    let unknown = || Fault::new("a result of no steps", "a body that declares its shape", "none");
    let id = *body.graph.outputs().get(output).ok_or_else(unknown)?;
    let facts = Facts::of(&body.graph).map_err(|_| unknown())?;
    let fact = facts.fact(id);
    let lengths = fact.shape.as_ref().ok_or_else(unknown)?;
    let shape: Vec<usize> = std::iter::once(0).chain(lengths.iter().map(|dim| dim.as_known().unwrap_or(0))).collect();
    let data_type = fact.data_type.ok_or_else(unknown)?;
    if data_type.is_float() {
        return Ok(Value::Floats(super::Floats::from_vec(Vec::new(), &shape, &operands.device)));
    }
    Ok(Value::Integers(Integers::new(data_type, shape, Vec::new())))
}
