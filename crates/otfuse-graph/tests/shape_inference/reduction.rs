use otfuse_graph::{GraphBuilder, Mismatch, Operator, Reduce, ReduceKind, ValueId};

use super::{elements, mismatch, shape};

fn reduced(axes: Option<&'static [i64]>, keep_dims: bool, noop: bool) -> impl FnOnce(&mut GraphBuilder) -> ValueId {
    move |b| {
        let x = b.input("x", &[None, Some(6), Some(4)]);
        let axes = axes.map(|axes| b.integers(axes));
        let reduce = Reduce { kind: ReduceKind::Mean, keep_dims, noop_with_empty_axes: noop };
        b.node_with_options(Operator::Reduce(reduce), vec![Some(x), axes], 1)[0]
    }
}

#[test]
fn reduced_axes_disappear_or_become_one() {
    assert_eq!(shape(reduced(Some(&[1, -1]), false, false)), "[batch]");
    assert_eq!(shape(reduced(Some(&[2]), true, false)), "[batch, 6, 1]");
    assert_eq!(shape(reduced(None, true, false)), "[1, 1, 1]");
    assert_eq!(shape(reduced(Some(&[]), false, false)), "[]");
    assert_eq!(shape(reduced(None, false, true)), "[batch, 6, 4]");
    let (_, found) = mismatch(reduced(Some(&[3]), true, false));
    assert_eq!(found, Mismatch::Axis { axis: 3, rank: 3 });
    mismatch(reduced(Some(&[1, 1]), true, false));
}

#[test]
fn extrema_lose_their_axis() {
    let extremum = |axis, keep_dims| {
        shape(move |b| {
            let x = b.input("x", &[None, Some(6)]);
            let operator = Operator::ArgExtremum { largest: true, axis, keep_dims };
            b.node(operator, &[x])
        })
    };
    assert_eq!(extremum(-1, false), "[batch]");
    assert_eq!(extremum(0, true), "[1, 6]");
}

#[test]
fn products_of_lengths() {
    let of_shape = |kind| {
        elements(move |b| {
            let x = b.input("x", &[None, Some(6), Some(4)]);
            let lengths = b.node(Operator::Shape { start: 0, end: None }, &[x]);
            let reduce = Reduce { kind, keep_dims: false, noop_with_empty_axes: false };
            b.node(Operator::Reduce(reduce), &[lengths])
        })
    };
    assert_eq!(of_shape(ReduceKind::Prod).as_deref(), Some("24*batch"));
    assert_eq!(of_shape(ReduceKind::Sum).as_deref(), Some("((batch+6)+4)"));
    assert_eq!(of_shape(ReduceKind::Mean), None);
}
