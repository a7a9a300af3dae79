use otfuse_graph::{Binary, DataType, GraphBuilder, Mismatch, Operator, Tensor, Unary, ValueId, Variadic};

use super::{elements, known, mismatch, shape, try_infer, weight};

fn sum(left: &'static [Option<usize>], right: &'static [Option<usize>]) -> impl FnOnce(&mut GraphBuilder) -> ValueId {
    move |b| {
        let x = b.input("x", left);
        let y = b.input("y", right);
        b.add(x, y)
    }
}

#[test]
fn shapes_broadcast() {
    assert_eq!(shape(sum(&[None, Some(1), Some(3)], &[Some(4), Some(1)])), "[batch, 4, 3]");
    assert_eq!(shape(sum(&[None, Some(3)], &[])), "[batch, 3]");
    assert_eq!(shape(sum(&[None], &[Some(5)])), "[5]");
    assert_eq!(shape(sum(&[None], &[Some(1)])), "[batch]");
    let (_, found) = mismatch(sum(&[None, Some(3)], &[Some(4)]));
    assert!(matches!(found, Mismatch::Broadcast { .. }), "{found}");
}

#[test]
fn different_symbols_become_another() {
    let product = shape(|b| {
        let x = b.input("x", &[None, Some(2)]);
        let flat = b.integers(&[-1]);
        let flat = b.node(Operator::Reshape { allow_zero: false }, &[x, flat]);
        let starts = b.integers(&[1]);
        let ends = b.integers(&[i64::MAX]);
        let rest = b.node(Operator::Slice, &[flat, starts, ends]);
        b.add(flat, rest)
    });
    assert_eq!(product, "[broadcast((2*batch-1),2*batch)]");
}

#[test]
fn comparisons_give_truth_values_and_casts_their_type() {
    let (facts, outputs) = try_infer(|b| {
        let x = b.input("x", &[None]);
        let less = b.node(Operator::Binary(Binary::Less), &[x, x]);
        let chosen = b.node(Operator::Where, &[less, x, x]);
        vec![less, chosen, b.node(Operator::Cast { to: DataType::F16 }, &[x])]
    })
    .unwrap();
    let types: Vec<_> = outputs.iter().map(|&output| facts.data_type(output).unwrap()).collect();
    assert_eq!(types, [DataType::Bool, DataType::F32, DataType::F16]);
}

fn arithmetic(binary: Binary, left: &'static [i64], right: &'static [i64]) -> Option<String> {
    elements(move |b| {
        let left = b.integers(left);
        let right = b.integers(right);
        b.node(Operator::Binary(binary), &[left, right])
    })
}

#[test]
fn integers_are_computed() {
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(arithmetic(Binary::Add, &[1, 2], &[3]), some("4 5"));
    assert_eq!(arithmetic(Binary::Div, &[-7, 7], &[2]), some("-3 3"));
    assert_eq!(arithmetic(Binary::Mod { truncated: false }, &[-7, 7], &[3]), some("2 1"));
    assert_eq!(arithmetic(Binary::Mod { truncated: true }, &[-7, 7], &[3]), some("-1 1"));
    assert_eq!(arithmetic(Binary::Pow, &[2], &[10]), some("1024"));
    assert_eq!(arithmetic(Binary::Equal, &[2, 3], &[3]), some("0 1"));
    assert_eq!(arithmetic(Binary::Div, &[1], &[0]), None);
    assert_eq!(arithmetic(Binary::Mul, &[i64::MAX], &[2]), None);
    assert_eq!(arithmetic(Binary::Div, &[i64::MIN], &[-1]), None);
    assert_eq!(arithmetic(Binary::Mod { truncated: false }, &[i64::MIN], &[-1]), None);
}

#[test]
fn lengths_are_computed() {
    let of_batch = |binary, number: i64, first: bool| {
        elements(move |b| {
            let x = b.input("x", &[None]);
            let batch = b.node(Operator::Shape { start: 0, end: None }, &[x]);
            let number = b.integers(&[number]);
            let operands = if first { [batch, number] } else { [number, batch] };
            b.node(Operator::Binary(binary), &operands)
        })
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(of_batch(Binary::Mul, 6, true), some("6*batch"));
    assert_eq!(of_batch(Binary::Mul, 6, false), some("6*batch"));
    assert_eq!(of_batch(Binary::Add, 0, true), some("batch"));
    assert_eq!(of_batch(Binary::Add, 3, false), some("(batch+3)"));
    assert_eq!(of_batch(Binary::Sub, 3, true), some("(batch-3)"));
    assert_eq!(of_batch(Binary::Div, 2, true), some("(batch/2)"));
    assert_eq!(of_batch(Binary::Mod { truncated: false }, 1, true), some("0"));
    assert_eq!(of_batch(Binary::Equal, -1, true), some("0"));
    assert_eq!(of_batch(Binary::Equal, 5, true), None);
    assert_eq!(of_batch(Binary::GreaterOrEqual, 0, true), some("1"));
    assert_eq!(of_batch(Binary::Mul, -1, true), None);
}

#[test]
fn numbers_pass_through_floats_where_exact() {
    let halved = |number: i64, then| {
        elements(move |b| {
            let number = b.integers(&[number]);
            let float = b.node(Operator::Cast { to: DataType::F32 }, &[number]);
            let two = b.initializer("two", Tensor::scalar(2.0));
            let half = b.node(Operator::Binary(Binary::Div), &[float, two]);
            let floor = b.node(Operator::Unary(then), &[half]);
            b.node(Operator::Cast { to: DataType::I64 }, &[floor])
        })
    };
    assert_eq!(halved(14, Unary::Floor).as_deref(), Some("7"));
    assert_eq!(halved(32, Unary::Sqrt).as_deref(), Some("4"));
    assert_eq!(halved(15, Unary::Floor), None);
    assert_eq!(halved((1 << 24) + 1, Unary::Floor), None);
}

#[test]
fn choices_and_bounds_are_computed() {
    let chosen = elements(|b| {
        let x = b.input("x", &[None, Some(3)]);
        let shape = b.node(Operator::Shape { start: 0, end: None }, &[x]);
        let wanted = b.integers(&[-1, 3]);
        let free = b.integers(&[-1]);
        let is_free = b.node(Operator::Binary(Binary::Equal), &[wanted, free]);
        b.node(Operator::Where, &[is_free, shape, wanted])
    });
    assert_eq!(chosen.as_deref(), Some("batch 3"));
    let most = elements(|b| {
        let x = b.integers(&[1, 5, 9]);
        let y = b.integers(&[4]);
        b.node(Operator::Variadic(Variadic::Max), &[x, y])
    });
    assert_eq!(most.as_deref(), Some("4 5 9"));
    let clipped = elements(|b| {
        let x = b.integers(&[1, 5, 9]);
        let least = b.initializer("least", Tensor::from_i64(&[], vec![2]));
        b.node_with_options(Operator::Clip, vec![Some(x), Some(least)], 1)[0]
    });
    assert_eq!(clipped.as_deref(), Some("2 5 9"));
}

#[test]
fn parameters_must_fit() {
    let (value, found) = mismatch(|b| {
        let x = b.input("x", &[None, Some(4), Some(2), Some(2)]);
        let scale = weight(b, "scale", &[4]);
        let mean = weight(b, "mean", &[5]);
        b.batch_norm(x, [scale, scale, mean, scale], 1e-5)
    });
    assert_eq!(value.as_deref(), Some("mean"));
    assert!(matches!(found, Mismatch::Length { .. }), "{found}");
    let (value, found) = mismatch(|b| {
        let x = b.input("x", &[None, Some(7), Some(4)]);
        let scale = weight(b, "scale", &[7]);
        b.node(Operator::LayerNormalization { axis: -1, epsilon: 0.0 }, &[x, scale])
    });
    assert_eq!(value.as_deref(), Some("scale"));
    let expected = Mismatch::BroadcastTo { expected: known(&[4]), found: known(&[7]) };
    assert_eq!(found, expected);
    let (_, found) = mismatch(|b| {
        let x = b.input("x", &[None, Some(4)]);
        let slope = weight(b, "slope", &[3]);
        b.node(Operator::PRelu, &[x, slope])
    });
    assert!(matches!(found, Mismatch::BroadcastTo { .. }), "{found}");
    let (_, found) = mismatch(|b| {
        let x = b.input("x", &[None, Some(4)]);
        b.node(Operator::Softmax { axis: 2 }, &[x])
    });
    assert_eq!(found, Mismatch::Axis { axis: 2, rank: 2 });
}
