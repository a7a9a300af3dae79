//! Recurrent layers of one direction.

use burn_backend::Backend;
use burn_backend::tensor::FloatTensor;
use otfuse_graph::{Cell, Recurrent};

use super::array::Array;
use super::fault::{Fault, Outcome};
use super::floats::{Floats, upload_mask};
use super::unary::{function, scalar};
use super::value::{Operands, Value};
use crate::RuntimeBackend;

/// What every step needs.
struct Layer<'a, B: RuntimeBackend> {
    recurrent: &'a Recurrent,
    /// hidden x (gates x hidden).
    recurrence: FloatTensor<B>,
    /// Bias of the recurrence, 1 x (gates x hidden).
    bias: Option<Floats<B>>,
    /// Peepholes: three of 1 x hidden.
    peepholes: Option<Floats<B>>,
}

/// The state between two steps: hidden units, and the cells of an LSTM.
#[derive(Clone)]
struct State<B: Backend> {
    hidden: Floats<B>,
    cells: Floats<B>,
}

pub(super) fn recurrent<B: RuntimeBackend>(
    recurrent: &Recurrent,
    operands: &mut Operands<B>,
) -> Outcome<Vec<Value<B>>> {
    let (gates, hidden) = (recurrent.cell.gates(), recurrent.hidden);
    let x = steps_first(operands.floats(0)?, recurrent.batch_first)?;
    let &[steps, samples, inputs] = x.shape() else {
        return Err(Fault::new("X", "3 axes", format!("shape {:?}", x.shape())));
    };
    let mut parameter = |index: usize, name: &str, shape: &[usize]| -> Outcome<Option<Floats<B>>> {
        let Some(found) = operands.optional_floats(index)? else { return Ok(None) };
        match found.shape() == shape {
            true => Ok(Some(found)),
            false => Err(Fault::new(name, format!("shape {shape:?}"), format!("{:?}", found.shape()))),
        }
    };
    let missing = |name: &str| Fault::new(name, "a tensor", "nothing");
    let weight = parameter(1, "W", &[1, gates * hidden, inputs])?.ok_or_else(|| missing("W"))?;
    let recurrence = parameter(2, "R", &[1, gates * hidden, hidden])?.ok_or_else(|| missing("R"))?;
    let bias = parameter(3, "B", &[1, 2 * gates * hidden])?;
    let states = if recurrent.batch_first { [samples, 1, hidden] } else { [1, samples, hidden] };
    let initial = [parameter(5, "initial_h", &states)?, parameter(6, "initial_c", &states)?];
    let peepholes = parameter(7, "P", &[1, 3 * hidden])?;
    let lengths = lengths(operands, steps, samples)?;

    let halves =
        bias.map(|bias| (bias.clone().range(1, 0, gates * hidden), bias.range(1, gates * hidden, gates * hidden)));
    let weight = weight.reshaped(&[gates * hidden, inputs]).permuted(&[1, 0]);
    let flat = x.reshaped(&[steps * samples, inputs]).into_tensor();
    let mut projected = B::float_matmul(flat, weight.into_tensor());
    let mut layer = Layer {
        recurrent,
        recurrence: recurrence.reshaped(&[gates * hidden, hidden]).permuted(&[1, 0]).into_tensor(),
        bias: None,
        peepholes,
    };
    if let Some((of_inputs, of_recurrence)) = halves {
        projected = B::float_add(projected, of_inputs.into_tensor());
        layer.bias = Some(of_recurrence);
    }
    let projected = Floats::<B>::new(projected).reshaped(&[steps, samples, gates * hidden]);
    let zeros = Floats::full(&[samples, hidden], 0.0, &operands.device);
    let [first, cells] =
        initial.map(|state| state.map_or_else(|| zeros.clone(), |state| state.reshaped(&[samples, hidden])));
    let mut state = State { hidden: first, cells };
    let mut outputs = vec![None; steps];
    let order: Vec<usize> = if recurrent.reverse { (0..steps).rev().collect() } else { (0..steps).collect() };
    for step in order {
        let input = projected.clone().range(0, step, 1).reshaped(&[samples, gates * hidden]);
        let next = layer.step(input, &state);
        let (next, output) = match &lengths {
            Some(lengths) => masked(&state, next, &zeros, lengths, step, &operands.device),
            None => (next.clone(), next.hidden),
        };
        outputs[step] = Some(output.reshaped(&[1, samples, hidden]));
        state = next;
    }
    let outputs: Vec<Floats<B>> = outputs.into_iter().flatten().collect();
    let sequence = match outputs.is_empty() {
        true => Floats::full(&[0, samples, hidden], 0.0, &operands.device),
        false => Floats::concatenated(outputs, 0),
    };
    let sequence = match recurrent.batch_first {
        true => sequence.permuted(&[1, 0, 2]).reshaped(&[samples, steps, 1, hidden]),
        false => sequence.reshaped(&[steps, 1, samples, hidden]),
    };
    let last = [state.hidden, state.cells].map(|state| Value::Floats(state.reshaped(&states)));
    Ok(std::iter::once(Value::Floats(sequence)).chain(last).collect())
}

fn steps_first<B: Backend>(x: Floats<B>, batch_first: bool) -> Outcome<Floats<B>> {
    if x.rank() != 3 {
        return Err(Fault::new("X", "3 axes", format!("shape {:?}", x.shape())));
    }
    Ok(if batch_first { x.permuted(&[1, 0, 2]) } else { x })
}

/// The number of steps of each sample, where they differ.
fn lengths<B: Backend>(operands: &mut Operands<B>, steps: usize, samples: usize) -> Outcome<Option<Vec<usize>>> {
    let Some(found) = operands.optional_integers(4)? else { return Ok(None) };
    let lengths: Option<Vec<usize>> =
        found.iter().map(|&length| usize::try_from(length).ok().filter(|&length| length <= steps)).collect();
    let lengths = lengths.filter(|lengths| lengths.len() == samples);
    let expected = || Fault::new("lengths", format!("{samples} numbers up to {steps}"), format!("{found:?}"));
    Ok(Some(lengths.ok_or_else(expected)?))
}

/// Samples that have ended keep their state and give zeros.
fn masked<B: Backend>(
    before: &State<B>,
    next: State<B>,
    zeros: &Floats<B>,
    lengths: &[usize],
    step: usize,
    device: &burn_backend::tensor::Device<B>,
) -> (State<B>, Floats<B>) {
    let shape = zeros.shape();
    let alive: Vec<i64> = lengths.iter().flat_map(|&length| vec![i64::from(step < length); shape[1]]).collect();
    let mask = || upload_mask::<B>(&alive, shape, device);
    let output = zeros.clone().replaced(mask(), next.hidden.clone());
    let state = State {
        hidden: before.hidden.clone().replaced(mask(), next.hidden),
        cells: before.cells.clone().replaced(mask(), next.cells),
    };
    (state, output)
}

impl<B: RuntimeBackend> Layer<'_, B> {
    fn activated(&self, which: usize, x: FloatTensor<B>) -> FloatTensor<B> {
        let x = match self.recurrent.clip {
            Some(clip) => B::float_clamp(x, scalar(-clip), scalar(clip)),
            None => x,
        };
        function::<B>(self.recurrent.activations[which], x)
    }

    fn gate(&self, x: &Floats<B>, gate: usize) -> FloatTensor<B> {
        let hidden = self.recurrent.hidden;
        x.clone().range(1, gate * hidden, hidden).into_tensor()
    }

    fn with_bias(&self, x: FloatTensor<B>) -> FloatTensor<B> {
        match &self.bias {
            Some(bias) => B::float_add(x, bias.tensor()),
            None => x,
        }
    }

    /// One step, given the projected input (N x gates x hidden) with its bias.
    fn step(&self, input: Floats<B>, state: &State<B>) -> State<B> {
        let product = B::float_matmul(state.hidden.tensor(), self.recurrence.clone());
        let product = Floats::<B>::new(self.with_bias(product));
        match self.recurrent.cell {
            Cell::Rnn => {
                let hidden = self.activated(0, B::float_add(input.into_tensor(), product.into_tensor()));
                State { hidden: Floats::new(hidden), cells: state.cells.clone() }
            }
            Cell::Gru { linear_before_reset } => self.gru(&input, &product, state, linear_before_reset),
            Cell::Lstm { input_forget } => self.lstm(&input, &product, state, input_forget),
        }
    }

    /// Cho et al. 2014, in ONNX's notation: gates z, r, h.
    fn gru(&self, input: &Floats<B>, product: &Floats<B>, state: &State<B>, linear_before_reset: bool) -> State<B> {
        let sum = |gate: usize| B::float_add(self.gate(input, gate), self.gate(product, gate));
        let update = self.activated(0, sum(0));
        let reset = self.activated(0, sum(1));
        let candidate = if linear_before_reset {
            B::float_mul(reset, self.gate(product, 2))
        } else {
            // The candidate's rows of the recurrence see the hidden units behind the reset gate.
            let hidden = self.recurrent.hidden;
            let rows = Floats::<B>::new(self.recurrence.clone()).range(1, 2 * hidden, hidden);
            let product = B::float_matmul(B::float_mul(reset, state.hidden.tensor()), rows.into_tensor());
            match &self.bias {
                Some(bias) => B::float_add(product, self.gate(bias, 2)),
                None => product,
            }
        };
        let candidate = self.activated(1, B::float_add(self.gate(input, 2), candidate));
        let kept = B::float_mul(update.clone(), state.hidden.tensor());
        let fresh = B::float_mul(one_minus::<B>(update), candidate);
        State { hidden: Floats::new(B::float_add(fresh, kept)), cells: state.cells.clone() }
    }

    /// Hochreiter & Schmidhuber 1997 with peepholes of Gers & Schmidhuber 2000, in ONNX's notation: gates i, o, f, c;
    /// peepholes i, o, f.
    fn lstm(&self, input: &Floats<B>, product: &Floats<B>, state: &State<B>, input_forget: bool) -> State<B> {
        let sum = |gate: usize, peephole: Option<(usize, FloatTensor<B>)>| {
            let sum = B::float_add(self.gate(input, gate), self.gate(product, gate));
            match (&self.peepholes, peephole) {
                (Some(weights), Some((at, cells))) => B::float_add(sum, B::float_mul(self.gate(weights, at), cells)),
                _ => sum,
            }
        };
        let before = state.cells.tensor();
        let entered = self.activated(0, sum(0, Some((0, before.clone()))));
        let kept = match input_forget {
            true => one_minus::<B>(entered.clone()),
            false => self.activated(0, sum(2, Some((2, before.clone())))),
        };
        let candidate = self.activated(1, sum(3, None));
        let cells = B::float_add(B::float_mul(kept, before), B::float_mul(entered, candidate));
        let open = self.activated(0, sum(1, Some((1, cells.clone()))));
        let hidden = B::float_mul(open, function::<B>(self.recurrent.activations[2], cells.clone()));
        State { hidden: Floats::new(hidden), cells: Floats::new(cells) }
    }
}

fn one_minus<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    B::float_add_scalar(B::float_neg(x), scalar(1.0))
}
