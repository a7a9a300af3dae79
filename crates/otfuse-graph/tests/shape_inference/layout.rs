use otfuse_graph::{GraphBuilder, Mismatch, Operator, ValueId};

use super::{elements, mismatch, shape};

const INPUT: &[Option<usize>] = &[None, Some(6), Some(4), Some(4)];

fn applied(operator: Operator) -> impl FnOnce(&mut GraphBuilder) -> ValueId {
    move |b| {
        let x = b.input("x", INPUT);
        b.node(operator, &[x])
    }
}

fn reshaped(target: &'static [i64], allow_zero: bool) -> impl FnOnce(&mut GraphBuilder) -> ValueId {
    move |b| {
        let x = b.input("x", INPUT);
        let target = b.integers(target);
        b.node(Operator::Reshape { allow_zero }, &[x, target])
    }
}

#[test]
fn flattening() {
    assert_eq!(shape(applied(Operator::Flatten { axis: 1 })), "[batch, 96]");
    assert_eq!(shape(applied(Operator::Flatten { axis: 0 })), "[1, 96*batch]");
    assert_eq!(shape(applied(Operator::Flatten { axis: -1 })), "[24*batch, 4]");
    assert_eq!(shape(applied(Operator::Flatten { axis: 4 })), "[96*batch, 1]");
    let (_, found) = mismatch(applied(Operator::Flatten { axis: 5 }));
    assert_eq!(found, Mismatch::Axis { axis: 5, rank: 4 });
}

#[test]
fn reshapes() {
    assert_eq!(shape(reshaped(&[0, -1], false)), "[batch, 96]");
    assert_eq!(shape(reshaped(&[-1, 96], false)), "[batch, 96]");
    assert_eq!(shape(reshaped(&[0, 2, 3, 4, 4], false)), "[batch, 2, 3, 4, 4]");
    assert_eq!(shape(reshaped(&[-1], false)), "[96*batch]");
    // A batch size fixed at export.
    assert_eq!(shape(reshaped(&[2, 96], false)), "[2, 96]");
    for wrong in [&[0, 95][..], &[-1, -1], &[0, -2], &[0, 0, 0, 0, 0]] {
        mismatch(reshaped(wrong, false));
    }
    let (_, found) = mismatch(reshaped(&[0, 95], false));
    assert!(matches!(found, Mismatch::Size { .. }), "{found}");
    mismatch(|b| {
        let x = b.input("x", &[Some(6)]);
        let target = b.integers(&[-1, 4]);
        b.node(Operator::Reshape { allow_zero: false }, &[x, target])
    });
}

#[test]
fn reshapes_to_an_unknown_shape_keep_its_rank() {
    let reshaped = shape(|b| {
        let x = b.input("x", INPUT);
        let target = b.input("target", &[Some(2)]);
        b.node(Operator::Reshape { allow_zero: false }, &[x, target])
    });
    assert_eq!(reshaped, "[Reshape_1_output.0, Reshape_1_output.1]");
}

#[test]
fn hostile_reshapes_are_errors() {
    mismatch(reshaped(&[i64::MAX, i64::MAX, i64::MAX], false));
    mismatch(reshaped(&[i64::MIN], false));
    mismatch(reshaped(&[1; 100], false));
}

#[test]
fn transposes() {
    let order = |permutation| Operator::Transpose { permutation };
    assert_eq!(shape(applied(order(Some(vec![0, 2, 3, 1])))), "[batch, 4, 4, 6]");
    assert_eq!(shape(applied(order(None))), "[4, 4, 6, batch]");
    for wrong in [vec![0, 1, 2], vec![0, 1, 1, 2], vec![0, 1, 2, 4]] {
        let (_, found) = mismatch(applied(order(Some(wrong))));
        assert!(matches!(found, Mismatch::Axes { rank: 4, .. }), "{found}");
    }
}

#[test]
fn axes_of_length_one_come_and_go() {
    let with_axes = |operator: Operator, input: &'static [Option<usize>], axes: &'static [i64]| {
        move |b: &mut GraphBuilder| {
            let x = b.input("x", input);
            let axes = b.integers(axes);
            b.node(operator, &[x, axes])
        }
    };
    let ones = &[None, Some(1), Some(3), Some(1)];
    assert_eq!(shape(with_axes(Operator::Unsqueeze, ones, &[0, -1])), "[1, batch, 1, 3, 1, 1]");
    assert_eq!(shape(with_axes(Operator::Squeeze, ones, &[1, -1])), "[batch, 3]");
    assert_eq!(shape(with_axes(Operator::Squeeze, ones, &[0])), "[1, 3, 1]");
    mismatch(with_axes(Operator::Squeeze, ones, &[2]));
    mismatch(with_axes(Operator::Squeeze, ones, &[4]));
    mismatch(with_axes(Operator::Unsqueeze, ones, &[1, 1]));
    let all = shape(|b| {
        let x = b.input("x", &[Some(1), Some(3), Some(1)]);
        b.node(Operator::Squeeze, &[x])
    });
    assert_eq!(all, "[3]");
}

#[test]
fn contents_move_along() {
    // Exporters write the pads of `F.pad` in this way: pairs from the last axis on become befores, then afters.
    let pads = elements(|b| {
        let pairs = b.integers(&[1, 2, 3, 4, 0, 0, 0, 0]);
        let square = b.integers(&[-1, 2]);
        let pairs = b.node(Operator::Reshape { allow_zero: false }, &[pairs, square]);
        let (starts, ends, axes, steps) =
            (b.integers(&[-1]), b.integers(&[i64::MIN]), b.integers(&[0]), b.integers(&[-1]));
        let reversed = b.node(Operator::Slice, &[pairs, starts, ends, axes, steps]);
        let order = Some(vec![1, 0]);
        let transposed = b.node(Operator::Transpose { permutation: order }, &[reversed]);
        let flat = b.integers(&[-1]);
        b.node(Operator::Reshape { allow_zero: false }, &[transposed, flat])
    });
    assert_eq!(pads.as_deref(), Some("0 0 3 1 0 0 4 2"));
}
