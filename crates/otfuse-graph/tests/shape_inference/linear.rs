use otfuse_graph::{Gemm, Mismatch, Operator};

use super::{known, mismatch, shape, weight};

#[test]
fn gemm_multiplies_matrices() {
    let linear = |inputs, bias| {
        move |b: &mut otfuse_graph::GraphBuilder| {
            let x = b.input("x", &[None, Some(4)]);
            let w = weight(b, "w", &[3, inputs]);
            let c = weight(b, "c", &[bias]);
            b.linear(x, w, Some(c))
        }
    };
    assert_eq!(shape(linear(4, 3)), "[batch, 3]");
    let (value, found) = mismatch(linear(5, 3));
    assert_eq!(value.as_deref(), Some("w"));
    let expected = Mismatch::Length { axis: 1, expected: 4.into(), found: 5.into() };
    assert_eq!(found, expected);
    let (value, found) = mismatch(linear(4, 2));
    assert_eq!(value.as_deref(), Some("c"));
    assert!(matches!(found, Mismatch::BroadcastTo { .. }), "{found}");
}

#[test]
fn gemm_transposes_its_first_input() {
    let transposed = shape(|b| {
        let x = b.input("x", &[Some(4), None]);
        let w = weight(b, "w", &[4, 3]);
        let gemm = Gemm { transpose_a: true, ..Gemm::default() };
        b.node(Operator::Gemm(gemm), &[x, w])
    });
    assert_eq!(transposed, "[batch, 3]");
    let (_, found) = mismatch(|b| {
        let x = b.input("x", &[None, Some(2), Some(4)]);
        let w = weight(b, "w", &[4, 3]);
        b.node(Operator::Gemm(Gemm::default()), &[x, w])
    });
    assert!(matches!(found, Mismatch::Rank { .. }), "{found}");
}

#[test]
fn matmul_broadcasts_batches_and_drops_vectors() {
    let product = |left: &'static [Option<usize>], right: &'static [usize]| {
        shape(move |b| {
            let x = b.input("x", left);
            let w = weight(b, "w", right);
            b.node(Operator::MatMul, &[x, w])
        })
    };
    assert_eq!(product(&[None, Some(7), Some(4)], &[4, 3]), "[batch, 7, 3]");
    assert_eq!(product(&[None, Some(1), Some(7), Some(4)], &[5, 4, 3]), "[batch, 5, 7, 3]");
    assert_eq!(product(&[None, Some(7), Some(4)], &[4]), "[batch, 7]");
    assert_eq!(product(&[Some(4)], &[2, 4, 3]), "[2, 3]");
    assert_eq!(product(&[Some(4)], &[4]), "[]");
    let (_, found) = mismatch(|b| {
        let x = b.input("x", &[Some(2), Some(7), Some(4)]);
        let w = weight(b, "w", &[3, 4, 3]);
        b.node(Operator::MatMul, &[x, w])
    });
    let expected = Mismatch::Broadcast { left: known(&[2]), right: known(&[3]) };
    assert_eq!(found, expected);
}
