use otfuse_graph::{Mismatch, Operator, Tensor};

use super::{elements, mismatch, shape};

#[test]
fn shapes_are_contents() {
    let part = |start, end| {
        elements(move |b| {
            let x = b.input("x", &[None, Some(6), Some(4)]);
            b.node(Operator::Shape { start, end }, &[x])
        })
    };
    assert_eq!(part(0, None).as_deref(), Some("batch 6 4"));
    assert_eq!(part(-2, Some(-1)).as_deref(), Some("6"));
    assert_eq!(part(2, Some(1)).as_deref(), Some(""));
    assert_eq!(part(i64::MIN, Some(i64::MAX)).as_deref(), Some("batch 6 4"));
}

#[test]
fn constants_of_a_shape() {
    let filled = |lengths: &'static [i64], value: Tensor| {
        move |b: &mut otfuse_graph::GraphBuilder| {
            let lengths = b.integers(lengths);
            b.node(Operator::ConstantOfShape { value }, &[lengths])
        }
    };
    let seven = || Tensor::from_i64(&[1], vec![7]);
    assert_eq!(shape(filled(&[2, 3], Tensor::scalar(0.5))), "[2, 3]");
    assert_eq!(elements(filled(&[3], seven())).as_deref(), Some("7 7 7"));
    assert_eq!(elements(filled(&[1 << 40], seven())), None);
    mismatch(filled(&[-1], seven()));
    mismatch(filled(&[1], Tensor::from_i64(&[2], vec![1, 2])));
}

#[test]
fn ranges() {
    let range = |start, limit, delta| {
        move |b: &mut otfuse_graph::GraphBuilder| {
            let bounds = [("start", start), ("limit", limit), ("delta", delta)];
            let bounds = bounds.map(|(name, number)| b.initializer(name, Tensor::from_i64(&[], vec![number])));
            b.node(Operator::Range, &bounds)
        }
    };
    assert_eq!(elements(range(1, 8, 3)).as_deref(), Some("1 4 7"));
    assert_eq!(elements(range(3, 0, -2)).as_deref(), Some("3 1"));
    assert_eq!(shape(range(3, 0, 1)), "[0]");
    assert_eq!(shape(range(0, 5000, 1)), "[5000]");
    let (_, found) = mismatch(range(0, 1, 0));
    assert!(matches!(found, Mismatch::Argument { argument: "delta", .. }), "{found}");
    let positions = shape(|b| {
        let x = b.input("x", &[Some(2), None]);
        let lengths = b.node(Operator::Shape { start: 1, end: None }, &[x]);
        let start = b.initializer("start", Tensor::from_i64(&[], vec![0]));
        let delta = b.initializer("delta", Tensor::from_i64(&[], vec![1]));
        let axes = b.integers(&[0]);
        let limit = b.node(Operator::Squeeze, &[lengths, axes]);
        b.node(Operator::Range, &[start, limit, delta])
    });
    assert_eq!(positions, "[batch]");
}
