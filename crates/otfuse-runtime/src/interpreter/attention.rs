//! Attention as one operator.

use burn_backend::Backend;
use burn_backend::tensor::FloatTensor;
use otfuse_graph::{Attention, Scores};

use super::array::Array;
use super::fault::{Fault, Outcome, broadcast};
use super::floats::Floats;
use super::unary::scalar;
use super::value::{Operands, Value};
use crate::RuntimeBackend;

/// Vaswani et al. 2017, section 3.2.1, with grouped heads, a cache of keys and values, masks and bounded scores.
pub(super) fn attention<B: RuntimeBackend>(
    attention: &Attention,
    operands: &mut Operands<B>,
) -> Outcome<Vec<Value<B>>> {
    let joined = operands.values.first().and_then(Option::as_ref).is_some_and(|q| q.shape().len() == 3);
    let q = heads(operands.floats(0)?, attention.heads.map(|heads| heads.0), "Q")?;
    let k = heads(operands.floats(1)?, attention.heads.map(|heads| heads.1), "K")?;
    let v = heads(operands.floats(2)?, attention.heads.map(|heads| heads.1), "V")?;
    let past = operands.values.get(4).and_then(Option::as_ref).and_then(|past| past.shape().get(2)).copied();
    let k = grown(k, operands.optional_floats(4)?, "past_key")?;
    let v = grown(v, operands.optional_floats(5)?, "past_value")?;
    let &[samples, query_heads, queries, width] = q.shape() else { return Err(shape_fault("Q", &q)) };
    let &[_, key_heads, keys, _] = k.shape() else { return Err(shape_fault("K", &k)) };
    let value_width = v.shape()[3];
    let fits = k.shape() == [samples, key_heads, keys, width] && v.shape() == [samples, key_heads, keys, value_width];
    if !fits || key_heads == 0 || !query_heads.is_multiple_of(key_heads) {
        let found = format!("{:?}, {:?} and {:?}", q.shape(), k.shape(), v.shape());
        return Err(Fault::new("Q, K and V", "shapes that agree", found));
    }
    let (present_key, present_value) = (k.clone(), v.clone());
    let (k, v) = (repeated(k, query_heads), repeated(v, query_heads));
    let scale = attention.scale.unwrap_or_else(|| 1.0 / (width as f32).sqrt());
    // Half of the scale on either side, as overflow is then less likely.
    let (left, right) = (scalar(scale.abs().sqrt()), scalar(scale.abs().sqrt() * scale.signum()));
    let stack = [samples * query_heads, queries, width];
    let q = q.reshaped(&stack).map(|q| B::float_mul_scalar(q, left));
    let k = k.reshaped(&[stack[0], keys, width]).permuted(&[0, 2, 1]).map(|k| B::float_mul_scalar(k, right));
    let shape = [samples, query_heads, queries, keys];
    let products = Floats::<B>::new(B::float_matmul(q.into_tensor(), k.into_tensor())).reshaped(&shape);
    // Bounded before they are masked, as onnxruntime does.
    let capped = match attention.softcap {
        Some(cap) => products.clone().map(|scores| softcap::<B>(scores, cap)),
        None => products.clone(),
    };
    let mut masked = capped.clone();
    for mask in masks(attention, operands, &shape, past.unwrap_or(0))? {
        let rank = shape.len();
        // Two masks of one place add up to the lowest number again, and not to minus infinity.
        masked = masked.map(|scores| B::float_clamp_min(B::float_add(scores, mask.aligned(rank)), scalar(f32::MIN)));
    }
    let probabilities = masked.clone().map(|scores| B::shares(scores, 3));
    let weights = probabilities.clone().reshaped(&[stack[0], queries, keys]).into_tensor();
    let values = v.reshaped(&[stack[0], keys, value_width]).into_tensor();
    let mixed =
        Floats::<B>::new(B::float_matmul(weights, values)).reshaped(&[samples, query_heads, queries, value_width]);
    let output = match joined {
        true => mixed.permuted(&[0, 2, 1, 3]).reshaped(&[samples, queries, query_heads * value_width]),
        false => mixed,
    };
    let scores = match attention.scores {
        Scores::Products => products,
        Scores::Masked => masked,
        Scores::Capped => capped,
        Scores::Probabilities => probabilities,
    };
    Ok([output, present_key, present_value, scores].into_iter().map(Value::Floats).collect())
}

fn shape_fault<B: Backend>(name: &str, x: &Floats<B>) -> Fault {
    Fault::new(name, "3 or 4 axes", format!("shape {:?}", x.shape()))
}

/// N, heads, positions, width.
fn heads<B: Backend>(x: Floats<B>, heads: Option<usize>, name: &str) -> Outcome<Floats<B>> {
    match (x.shape(), heads) {
        (&[_, _, _, _], _) => Ok(x),
        (&[samples, positions, width], Some(heads)) if heads > 0 && width.is_multiple_of(heads) => {
            Ok(x.reshaped(&[samples, positions, heads, width / heads]).permuted(&[0, 2, 1, 3]))
        }
        _ => Err(shape_fault(name, &x)),
    }
}

fn grown<B: Backend>(x: Floats<B>, past: Option<Floats<B>>, name: &str) -> Outcome<Floats<B>> {
    let Some(past) = past else { return Ok(x) };
    let (own, before) = (x.shape(), past.shape());
    if before.len() != 4 || [0, 1, 3].iter().any(|&axis| own[axis] != before[axis]) {
        return Err(Fault::new(name, format!("{own:?} but for axis 2"), format!("{before:?}")));
    }
    Ok(if before[2] == 0 { x } else { Floats::concatenated(vec![past, x], 2) })
}

/// Each head as often as queries share it.
fn repeated<B: Backend>(x: Floats<B>, heads: usize) -> Floats<B> {
    let &[samples, own, positions, width] = x.shape() else { return x };
    if own == heads {
        return x;
    }
    let expanded =
        x.reshaped(&[samples, own, 1, positions, width]).expanded(&[samples, own, heads / own, positions, width]);
    expanded.reshaped(&[samples, heads, positions, width])
}

fn softcap<B: Backend>(scores: FloatTensor<B>, cap: f32) -> FloatTensor<B> {
    B::float_mul_scalar(B::float_tanh(B::float_div_scalar(scores, scalar(cap))), scalar(cap))
}

/// What is added to the scores.
fn masks<B: Backend>(
    attention: &Attention,
    operands: &mut Operands<B>,
    shape: &[usize; 4],
    past: usize,
) -> Outcome<Vec<Floats<B>>> {
    let &[samples, _, queries, keys] = shape;
    let device = operands.device.clone();
    let hidden = |visible: bool| if visible { 0.0 } else { f32::MIN };
    let mut masks = Vec::new();
    if let Some(mask) = operands.optional(3) {
        let mask = match mask {
            Value::Integers(mask) if mask.data_type == otfuse_graph::DataType::Bool => {
                let values = mask.data.iter().map(|&visible| hidden(visible != 0)).collect();
                Floats::from_vec(values, &mask.shape, &device)
            }
            mask => mask.into_floats(&device),
        };
        if broadcast(mask.shape(), shape)? != shape {
            return Err(Fault::new(
                "mask",
                format!("a shape that broadcasts to {shape:?}"),
                format!("{:?}", mask.shape()),
            ));
        }
        masks.push(mask);
    }
    if attention.causal {
        let values = (0..queries * keys).map(|place| hidden(place % keys <= past + place / keys));
        masks.push(Floats::from_vec(values.collect(), &[queries, keys], &device));
    }
    if let Some(lengths) = operands.optional_integers(6)? {
        if lengths.len() != samples {
            return Err(Fault::new("lengths", format!("{samples} numbers"), lengths.len()));
        }
        let values = lengths.iter().flat_map(|&length| (0..keys as i64).map(move |key| hidden(key < length)));
        masks.push(Floats::from_vec(values.collect(), &[samples, 1, 1, keys], &device));
    }
    Ok(masks)
}
