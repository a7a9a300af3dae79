//! Nothing panics, whatever the graph.

use otfuse_graph::{
    Binary, Conv, ConvTranspose, DataType, Facts, Gemm, GraphBuilder, Operator, PadMode, Padding, Pool, PoolKind,
    Reduce, ReduceKind, Tensor, Unary, Variadic, Window, fold_constants,
};
use proptest::prelude::*;
use proptest::sample::select;

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![
        6 => -3..6i64,
        1 => select(vec![i64::MIN, i64::MIN + 1, i64::MAX, i64::from(i32::MAX), 1 << 40, -(1 << 31), 1 << 62]),
    ]
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![6 => 0..4usize, 1 => select(vec![usize::MAX, 1 << 31, 1 << 62])]
}

fn window() -> impl Strategy<Value = Window> {
    let list = || prop::collection::vec(size(), 0..3);
    let padding = prop_oneof![
        prop::collection::vec(size(), 0..5).prop_map(Padding::Explicit),
        Just(Padding::SameUpper),
        Just(Padding::SameLower),
    ];
    (list(), list(), padding).prop_map(|(strides, dilations, padding)| Window { strides, dilations, padding })
}

fn operator() -> impl Strategy<Value = Operator> {
    let unary = select(vec![Unary::Neg, Unary::Abs, Unary::Sign, Unary::Sqrt, Unary::Floor, Unary::Not, Unary::Relu]);
    let binary = select(vec![
        Binary::Add,
        Binary::Sub,
        Binary::Mul,
        Binary::Div,
        Binary::Pow,
        Binary::Mod { truncated: false },
        Binary::Mod { truncated: true },
        Binary::Equal,
        Binary::Less,
        Binary::And,
    ]);
    let kind = select(vec![ReduceKind::Sum, ReduceKind::Prod, ReduceKind::Max, ReduceKind::Mean]);
    let to = select(vec![DataType::I64, DataType::I8, DataType::U64, DataType::F16, DataType::F64, DataType::Bool]);
    let reduce = (kind, any::<bool>(), any::<bool>()).prop_map(|(kind, keep_dims, noop_with_empty_axes)| {
        Operator::Reduce(Reduce { kind, keep_dims, noop_with_empty_axes })
    });
    let pool = (prop::collection::vec(size(), 0..4), window(), any::<bool>()).prop_map(|(kernel, window, ceil)| {
        Operator::Pool(Pool { kind: PoolKind::Max, kernel, window, ceil, count_include_pad: false })
    });
    let transposed = (size(), window(), prop::collection::vec(size(), 0..3), prop::option::of(Just(vec![3, 3])));
    let transposed = transposed.prop_map(|(groups, window, output_padding, output_shape)| {
        Operator::ConvTranspose(ConvTranspose { groups, window, output_padding, output_shape })
    });
    let of_shape =
        number().prop_map(|number| Operator::ConstantOfShape { value: Tensor::from_i64(&[1], vec![number]) });
    let permutation = prop::option::of(prop::collection::vec(size(), 0..5));
    let flags = (any::<bool>(), any::<bool>())
        .prop_map(|(transpose_a, transpose_b)| Operator::Gemm(Gemm { transpose_a, transpose_b, ..Gemm::default() }));
    let fixed = select(vec![
        Operator::MatMul,
        Operator::Where,
        Operator::Squeeze,
        Operator::Unsqueeze,
        Operator::Slice,
        Operator::Pad(PadMode::Reflect),
        Operator::Expand,
        Operator::Tile,
        Operator::Range,
        Operator::Identity,
        Operator::Clip,
        Operator::PRelu,
        Operator::GlobalPool(PoolKind::Max),
        Operator::Variadic(Variadic::Max),
        Operator::Variadic(Variadic::Sum),
        Operator::BatchNormalization { epsilon: 0.0 },
        Operator::Reshape { allow_zero: true },
    ]);
    let axis_kinds = (0..7usize, number(), prop::option::of(number())).prop_map(|(kind, axis, end)| match kind {
        0 => Operator::Concat { axis },
        1 => Operator::Split { axis },
        2 => Operator::Gather { axis },
        3 => Operator::Flatten { axis },
        4 => Operator::Softmax { axis },
        5 => Operator::LayerNormalization { axis, epsilon: 0.0 },
        _ => Operator::Shape { start: axis, end },
    });
    let conv = (size(), window()).prop_map(|(groups, window)| Operator::Conv(Conv { groups, window }));
    prop_oneof![
        4 => fixed,
        3 => axis_kinds,
        2 => Just(Operator::Reshape { allow_zero: false }),
        2 => of_shape,
        2 => binary.prop_map(Operator::Binary),
        1 => unary.prop_map(Operator::Unary),
        1 => to.prop_map(|to| Operator::Cast { to }),
        1 => permutation.prop_map(|permutation| Operator::Transpose { permutation }),
        1 => reduce,
        1 => pool,
        1 => conv,
        1 => transposed,
        1 => flags,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_graph_panics(
        lists in prop::collection::vec(prop::collection::vec(number(), 0..6), 1..4),
        nodes in prop::collection::vec((operator(), prop::collection::vec(any::<prop::sample::Index>(), 6), 1..3usize), 1..8),
    ) {
        let mut b = GraphBuilder::new("hostile");
        let mut values = vec![
            b.input("x", &[None, Some(4), Some(6), Some(5)]),
            b.input("y", &[Some(3), None, Some(usize::MAX)]),
            b.initializer("w", Tensor::from_f32(&[4, 4, 3, 3], vec![0.0; 144])),
            b.initializer("three", Tensor::from_i64(&[], vec![3])),
            b.initializer("half", Tensor::scalar(0.5)),
        ];
        values.extend(lists.iter().map(|list| b.integers(list)));
        for (operator, picks, outputs) in nodes {
            let (least, most) = operator.input_arity();
            let count = (least + picks[0].index(3)).min(most);
            let inputs = (0..count).map(|i| Some(*picks[i % picks.len()].get(&values))).collect();
            // A node that does not fit is left out, so that those behind it are reached.
            let mut extended = b.clone();
            let new = extended.node_with_options(operator, inputs, outputs);
            let mut complete = extended.clone();
            complete.output(new[0]);
            let graph = complete.finish().unwrap();
            if Facts::of(&graph).is_ok() {
                let folded = fold_constants(graph).unwrap();
                prop_assert!(Facts::of(&folded).is_ok(), "{:?}: {:?}", Facts::of(&folded).unwrap_err(), folded);
                values.extend(new);
                b = extended;
            }
        }
    }
}

#[test]
fn products_of_symbols_stay_bounded() {
    let mut b = GraphBuilder::new("squares");
    let x = b.input("x", &[None]);
    let mut length = b.node(Operator::Shape { start: 0, end: None }, &[x]);
    for _ in 0..60 {
        length = b.node(Operator::Binary(Binary::Mul), &[length, length]);
        length = b.concat(&[length, length], 0);
    }
    b.output(length);
    Facts::of(&b.finish().unwrap()).unwrap();
}
