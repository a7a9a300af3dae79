//! Recurrent layers. Those of both directions become two of one direction each, whose hidden units are independent.

use otfuse_graph::{Cell, Node, Operator, Recurrent, Unary, ValueId};

use super::{Written, attribute, float, floats, int, text};
use crate::error::OnnxError;
use crate::onnx::call::{Call, Reading};
use crate::onnx::proto::{AttributeProto, attribute_type};

pub(super) fn read(call: &mut Call<'_>) -> Result<Reading, OnnxError> {
    let cell = match call.operator {
        "RNN" => Cell::Rnn,
        "GRU" => {
            let linear_before_reset = call.attributes.flag("linear_before_reset")?.unwrap_or(false);
            Cell::Gru { linear_before_reset }
        }
        "LSTM" => Cell::Lstm { input_forget: call.attributes.flag("input_forget")?.unwrap_or(false) },
        _ => return Ok(Reading::Other),
    };
    // Whether the first output is wanted, which is told by its name since opset 7.
    call.attributes.ignore(&["output_sequence"]);
    let clip = call.attributes.float("clip")?;
    let batch_first = call.attributes.flag("layout")?.unwrap_or(false);
    let direction = call.attributes.text("direction")?.unwrap_or("forward");
    let (count, reverse) = match direction {
        "forward" => (1, false),
        "reverse" => (1, true),
        "bidirectional" => (2, false),
        other => {
            let expected = "forward, reverse or bidirectional";
            return Err(call.attributes.error("direction", expected, format!("'{other}'")));
        }
    };
    let hidden = match call.attributes.int("hidden_size")? {
        Some(hidden) => usize::try_from(hidden)
            .ok()
            .filter(|&hidden| hidden > 0)
            .ok_or_else(|| call.attributes.error("hidden_size", "a positive number", hidden))?,
        None => match call.constant(2).map(|recurrence| recurrence.shape()) {
            Some(&[_, _, hidden]) if hidden > 0 => hidden,
            _ => return Err(call.attributes.error("hidden_size", "a positive number", "nothing")),
        },
    };
    let Some(activations) = activations(call, cell, count)? else { return Ok(Reading::Opaque) };
    let layer = |index: usize| Recurrent {
        cell,
        hidden,
        reverse: reverse || index == 1,
        batch_first,
        activations: activations[index].clone(),
        clip,
    };
    match count {
        1 => Ok(Reading::Operator(Operator::Recurrent(layer(0)))),
        _ if call.attributes.any_left() => Ok(Reading::Opaque),
        _ => {
            both_directions(call, [layer(0), layer(1)], batch_first);
            Ok(Reading::Expanded)
        }
    }
}

/// The functions of each direction; `None` if one has no counterpart.
fn activations(call: &Call<'_>, cell: Cell, count: usize) -> Result<Option<Vec<Vec<Unary>>>, OnnxError> {
    let default = cell.activations();
    let names = call.attributes.texts("activations")?;
    let alphas = call.attributes.floats("activation_alpha")?.unwrap_or_default();
    let betas = call.attributes.floats("activation_beta")?.unwrap_or_default();
    let Some(names) = names.filter(|names| !names.is_empty()) else {
        return Ok(Some(vec![default.to_vec(); count]));
    };
    if names.len() != default.len() * count {
        let expected = format!("{} functions", default.len() * count);
        return Err(call.attributes.error("activations", expected, names.len()));
    }
    let (mut alphas, mut betas) = (alphas.iter().copied(), betas.iter().copied());
    let mut functions = Vec::with_capacity(names.len());
    for name in names {
        let mut alpha = |default: f32| alphas.next().unwrap_or(default);
        functions.push(match name {
            "Relu" => Unary::Relu,
            "Tanh" => Unary::Tanh,
            "Sigmoid" => Unary::Sigmoid,
            "Softsign" => Unary::Softsign,
            "Softplus" => Unary::Softplus,
            "LeakyRelu" => Unary::LeakyRelu { alpha: alpha(0.01) },
            "ThresholdedRelu" => Unary::ThresholdedRelu { alpha: alpha(1.0) },
            "Elu" => Unary::Elu { alpha: alpha(1.0) },
            "HardSigmoid" => Unary::HardSigmoid { alpha: alpha(0.2), beta: betas.next().unwrap_or(0.5) },
            _ => return Ok(None),
        });
    }
    Ok(Some(functions.chunks(default.len()).map(<[Unary]>::to_vec).collect()))
}

/// Two layers side by side: parameters and states are cut along the axis of directions, outputs joined along it.
fn both_directions(call: &mut Call<'_>, layers: [Recurrent; 2], batch_first: bool) {
    let state_axis = usize::from(batch_first);
    let mut inputs: [Vec<Option<ValueId>>; 2] = [Vec::new(), Vec::new()];
    for position in 0..call.inputs.len() {
        let [forward, backward] = match (position, call.input(position)) {
            (_, None) => [None, None],
            // The sequence and its lengths serve both.
            (0 | 4, input) => [input, input],
            (5 | 6, Some(_)) => call.halves(position, state_axis),
            (_, Some(_)) => call.halves(position, 0),
        };
        inputs[0].push(forward);
        inputs[1].push(backward);
    }
    let wanted = call.outputs.clone();
    let parts = layers
        .into_iter()
        .zip(inputs)
        .map(|(layer, inputs)| call.add_outputs(Operator::Recurrent(layer), inputs, &wanted));
    let parts: Vec<Vec<Option<ValueId>>> = parts.collect();
    for (position, output) in wanted.into_iter().enumerate() {
        let Some(output) = output else { continue };
        let axis = match (position, batch_first) {
            (0, true) => 2,
            (0, false) => 1,
            _ => state_axis as i64,
        };
        let joined = parts.iter().map(|outputs| outputs.get(position).copied().flatten()).collect();
        call.add_as(Operator::Concat { axis }, joined, output);
    }
}

pub(super) fn write(node: &Node) -> Option<Written> {
    let Operator::Recurrent(recurrent) = &node.operator else { return None };
    let mut attributes = vec![
        int("hidden_size", recurrent.hidden as i64),
        text("direction", if recurrent.reverse { "reverse" } else { "forward" }),
        int("layout", recurrent.batch_first.into()),
    ];
    match recurrent.cell {
        Cell::Rnn => {}
        Cell::Gru { linear_before_reset } => attributes.push(int("linear_before_reset", linear_before_reset.into())),
        Cell::Lstm { input_forget } => attributes.push(int("input_forget", input_forget.into())),
    }
    attributes.extend(recurrent.clip.map(|clip| float("clip", clip)));
    if recurrent.activations != recurrent.cell.activations() {
        let (mut alphas, mut betas) = (Vec::new(), Vec::new());
        for function in &recurrent.activations {
            match function {
                Unary::LeakyRelu { alpha } | Unary::ThresholdedRelu { alpha } | Unary::Elu { alpha } => {
                    alphas.push(*alpha);
                }
                Unary::HardSigmoid { alpha, beta } => {
                    alphas.push(*alpha);
                    betas.push(*beta);
                }
                _ => {}
            }
        }
        attributes.push(texts("activations", recurrent.activations.iter().map(|function| function.name())));
        attributes.extend((!alphas.is_empty()).then(|| floats("activation_alpha", alphas)));
        attributes.extend((!betas.is_empty()).then(|| floats("activation_beta", betas)));
    }
    Some(Written::new(attributes))
}

fn texts<'a>(name: &str, values: impl Iterator<Item = &'a str>) -> AttributeProto {
    let strings = values.map(|value| value.as_bytes().to_vec().into()).collect();
    AttributeProto { strings, ..attribute(name, attribute_type::STRINGS) }
}
