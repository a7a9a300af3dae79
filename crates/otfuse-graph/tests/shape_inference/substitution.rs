//! What is inferred for a symbolic batch must hold for every batch.

use std::collections::HashMap;

use otfuse_graph::{Conv, Facts, Graph, GraphBuilder, Operator, PadMode, Reduce, ReduceKind, Tensor, ValueId, Window};
use proptest::prelude::*;

/// One step chosen by three numbers, on a value that has `shape` if the batch is known.
fn step(b: &mut GraphBuilder, x: ValueId, shape: &[usize], (kind, first, second): (u8, usize, usize)) -> ValueId {
    let rank = shape.len();
    let axis = first % rank.max(1);
    let signed = if second % 2 == 0 || rank == 0 { axis as i64 } else { axis as i64 - rank as i64 };
    let reshape = Operator::Reshape { allow_zero: false };
    match kind {
        0 if rank == 4 => {
            let (stride, pad, kernel) = (1 + first % 3, second % 2, 1 + second % 3);
            let lengths = [3, shape[1], kernel, kernel];
            let name = format!("weight of {x:?}");
            let weight = b.initializer(&name, Tensor::from_f32(&lengths, vec![0.0; lengths.iter().product()]));
            let window = Window::uniform(2, stride, pad);
            b.conv(x, weight, None, Conv { groups: 1, window })
        }
        1 if rank == 4 => b.max_pool(x, 1 + first % 3),
        2 => b.node(Operator::Flatten { axis: (first % (rank + 1)) as i64 }, &[x]),
        3 => {
            let permutation = Some((0..rank).map(|i| (i + first) % rank).collect());
            b.node(Operator::Transpose { permutation }, &[x])
        }
        4 if rank > 1 => {
            let lengths = b.node(Operator::Shape { start: 0, end: Some(axis as i64) }, &[x]);
            let rest = b.integers(&[-1]);
            let target = b.concat(&[lengths, rest], 0);
            b.node(reshape, &[x, target])
        }
        5 => {
            let (start, end) = (b.integers(&[first as i64 % 3]), b.integers(&[second as i64 - 2]));
            let (axes, steps) = (b.integers(&[signed]), b.integers(&[1 + first as i64 % 2]));
            b.node(Operator::Slice, &[x, start, end, axes, steps])
        }
        6 if rank > 0 => b.concat(&[x, x], signed),
        7 if rank > 0 => {
            let total = shape[axis];
            let (start, end) = (b.integers(&[total as i64 / 2]), b.integers(&[i64::MAX]));
            let axes = b.integers(&[signed]);
            let half = b.node(Operator::Slice, &[x, start, end, axes]);
            b.concat(&[half, x], signed)
        }
        8 => {
            let mut pads = vec![0; 2 * rank];
            if rank > 0 {
                (pads[axis], pads[rank + axis]) = (first as i64 % 3, second as i64 % 3);
            }
            let pads = b.integers(&pads);
            b.node(Operator::Pad(PadMode::Constant), &[x, pads])
        }
        9 if rank < 5 => {
            let axes = b.integers(&[axis as i64]);
            b.node(Operator::Unsqueeze, &[x, axes])
        }
        10 if rank > 0 => {
            let axes = b.integers(&[signed]);
            let reduce = Reduce { kind: ReduceKind::Mean, keep_dims: second % 3 == 0, noop_with_empty_axes: false };
            b.node(Operator::Reduce(reduce), &[x, axes])
        }
        11 => {
            let repeats: Vec<i64> = (0..rank).map(|i| if i == axis { 1 + second as i64 % 3 } else { 1 }).collect();
            let repeats = b.integers(&repeats);
            b.node(Operator::Tile, &[x, repeats])
        }
        12 if rank > 0 => {
            let parts = b.node_with_options(Operator::Split { axis: signed }, vec![Some(x)], 2);
            b.concat(&[parts[1], parts[0]], signed)
        }
        13 if rank > 1 => {
            let lengths = b.node(Operator::Shape { start: 0, end: None }, &[x]);
            let reduce = Reduce { kind: ReduceKind::Prod, keep_dims: true, noop_with_empty_axes: false };
            let axes = b.integers(&[0]);
            let all = b.node(Operator::Reduce(reduce), &[lengths, axes]);
            b.node(reshape, &[x, all])
        }
        14 => b.add(x, x),
        _ => b.relu(x),
    }
}

/// Applies the steps; `shapes[i]` is the known shape before step i, found on the way if there is none yet.
fn grow(batch: Option<usize>, steps: &[(u8, usize, usize)], shapes: &mut Vec<Vec<usize>>) -> Graph {
    let mut builder = GraphBuilder::new("random");
    let mut x = builder.input("x", &[batch, Some(4), Some(6), Some(5)]);
    for (i, &choice) in steps.iter().enumerate() {
        if shapes.len() <= i {
            let Some(_) = batch else { break };
            match known_shape(&builder, x) {
                Some(shape) => shapes.push(shape),
                None => break,
            }
        }
        let mut extended = builder.clone();
        let y = step(&mut extended, x, &shapes[i], choice);
        if batch.is_some() && known_shape(&extended, y).is_none() {
            shapes.truncate(i);
            break;
        }
        (builder, x) = (extended, y);
    }
    builder.output(x);
    builder.finish().unwrap()
}

fn known_shape(builder: &GraphBuilder, x: ValueId) -> Option<Vec<usize>> {
    let mut builder = builder.clone();
    builder.output(x);
    let facts = Facts::of(&builder.finish().unwrap()).ok()?;
    let lengths: Vec<usize> = facts.shape(x)?.iter().map(|dim| dim.as_known()).collect::<Option<_>>()?;
    (lengths.iter().product::<usize>() < 100_000).then_some(lengths)
}

/// The value of an expression that stands for a length; `None` if it holds a symbol without a meaning.
fn evaluate(text: &str, symbols: &HashMap<&str, i64>) -> Option<i64> {
    let (value, rest) = product(text, symbols)?;
    rest.is_empty().then_some(value)
}

fn product<'a>(text: &'a str, symbols: &HashMap<&str, i64>) -> Option<(i64, &'a str)> {
    let (mut value, mut rest) = atom(text, symbols)?;
    while let Some(next) = rest.strip_prefix('*') {
        let (factor, after) = atom(next, symbols)?;
        (value, rest) = (value * factor, after);
    }
    Some((value, rest))
}

fn atom<'a>(text: &'a str, symbols: &HashMap<&str, i64>) -> Option<(i64, &'a str)> {
    let end = text.find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let Some(inner) = rest.strip_prefix('(') else {
        let value = word.parse().ok().or_else(|| symbols.get(word).copied())?;
        return Some((value, rest));
    };
    let (left, rest) = product(inner, symbols)?;
    let sign = rest.chars().next()?;
    if sign == ')' {
        return Some((left, &rest[1..]));
    }
    let (right, rest) = product(&rest[1..], symbols)?;
    let value = match (word, sign) {
        ("", '+') => left + right,
        ("", '-') => left - right,
        ("", '/') => left.div_euclid(right),
        ("ceil", '/') => -(-left).div_euclid(right),
        ("", '%') => left.rem_euclid(right),
        ("min", ',') => left.min(right),
        ("broadcast", ',') if left == 1 => right,
        ("broadcast", ',') => left,
        _ => return None,
    };
    Some((value, rest.strip_prefix(')')?))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn symbolic_shapes_hold_for_every_batch(
        steps in prop::collection::vec((0..16u8, 0..8usize, 0..8usize), 1..8),
        batch in 3..9usize,
    ) {
        let mut shapes = Vec::new();
        let known = grow(Some(batch), &steps, &mut shapes);
        let symbolic = grow(None, &steps[..shapes.len().min(steps.len())], &mut shapes);
        let (known_facts, symbolic_facts) = (Facts::of(&known).unwrap(), Facts::of(&symbolic).unwrap());
        let symbols = HashMap::from([("batch", batch as i64)]);
        for (id, value) in symbolic.values() {
            let (Some(symbolic), Some(known)) = (symbolic_facts.shape(id), known_facts.shape(id)) else { continue };
            prop_assert_eq!(symbolic.len(), known.len());
            for (symbolic, known) in symbolic.iter().zip(known) {
                // A slice that ends up empty may have an expression below 0.
                if let Some(length) = evaluate(&symbolic.to_string(), &symbols).filter(|&length| length >= 0) {
                    prop_assert_eq!(Some(length as usize), known.as_known(), "{}: {:?}", value.name, symbolic);
                }
            }
        }
    }
}
