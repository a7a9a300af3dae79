use otfuse_graph::{DataType, Dim, GraphBuilder, Mismatch, Operator, PadMode, Tensor, ValueId};

use super::{elements, mismatch, shape, try_infer};

const INPUT: &[Option<usize>] = &[None, Some(10), Some(4)];

fn sliced(bounds: [&'static [i64]; 4]) -> impl FnOnce(&mut GraphBuilder) -> ValueId {
    move |b| {
        let x = b.input("x", INPUT);
        let inputs: Vec<_> = bounds.iter().map(|bound| b.integers(bound)).collect();
        b.node(Operator::Slice, &[&[x], inputs.as_slice()].concat())
    }
}

#[test]
fn slices_of_known_axes() {
    let length = |start, end, step| {
        let text = shape(move |b| {
            let x = b.input("x", INPUT);
            let inputs = [&[start][..], &[end], &[1], &[step]].map(|bound| b.integers(bound));
            b.node(Operator::Slice, &[&[x], inputs.as_slice()].concat())
        });
        text.split(", ").nth(1).unwrap().parse::<usize>().unwrap()
    };
    assert_eq!(length(2, 5, 1), 3);
    assert_eq!(length(2, i64::MAX, 3), 3);
    assert_eq!(length(-3, i64::MAX, 1), 3);
    assert_eq!(length(-100, -9, 1), 1);
    assert_eq!(length(7, 2, 1), 0);
    assert_eq!(length(-1, i64::MIN, -1), 10);
    assert_eq!(length(8, 1, -3), 3);
    assert_eq!(length(i64::MAX, i64::MIN, i64::MIN), 1);
}

#[test]
fn slices_of_symbolic_axes() {
    let on_batch = |start: &'static [i64], end: &'static [i64], step: &'static [i64]| sliced([start, end, &[0], step]);
    assert_eq!(shape(on_batch(&[0], &[i64::MAX], &[1])), "[batch, 10, 4]");
    assert_eq!(shape(on_batch(&[0], &[i32::MAX as i64], &[2])), "[((batch+1)/2), 10, 4]");
    assert_eq!(shape(on_batch(&[1], &[i64::MAX], &[1])), "[(batch-1), 10, 4]");
    assert_eq!(shape(on_batch(&[0], &[-1], &[1])), "[(batch-1), 10, 4]");
    assert_eq!(shape(on_batch(&[0], &[3], &[1])), "[min(batch,3), 10, 4]");
    assert_eq!(shape(on_batch(&[-1], &[i64::MIN], &[-1])), "[batch, 10, 4]");
    assert_eq!(shape(on_batch(&[2], &[-1], &[1])), "[Slice_5_output.0, 10, 4]");
}

#[test]
fn wrong_slices_are_errors() {
    let (_, found) = mismatch(sliced([&[0], &[1], &[3], &[1]]));
    assert_eq!(found, Mismatch::Axis { axis: 3, rank: 3 });
    mismatch(sliced([&[0], &[1], &[1], &[0]]));
    mismatch(sliced([&[0, 0], &[1], &[1], &[1]]));
    mismatch(sliced([&[0, 0], &[1, 1], &[1, 1], &[1, 1]]));
}

#[test]
fn concatenation_adds_lengths() {
    let joined = |second: &'static [Option<usize>], axis| {
        move |b: &mut GraphBuilder| {
            let x = b.input("x", INPUT);
            let y = b.input("y", second);
            b.concat(&[x, y], axis)
        }
    };
    assert_eq!(shape(joined(&[None, Some(5), Some(4)], 1)), "[batch, 15, 4]");
    assert_eq!(shape(joined(&[None, Some(10), Some(4)], -3)), "[2*batch, 10, 4]");
    assert_eq!(shape(joined(&[Some(1), Some(10), Some(4)], 0)), "[(batch+1), 10, 4]");
    assert_eq!(shape(joined(&[Some(8), Some(5), Some(4)], 1)), "[8, 15, 4]");
    let (value, found) = mismatch(joined(&[None, Some(10), Some(3)], 1));
    assert_eq!(value.as_deref(), Some("y"));
    let expected = Mismatch::Length { axis: 2, expected: 4.into(), found: 3.into() };
    assert_eq!(found, expected);
    mismatch(joined(&[None, Some(10)], 1));
    mismatch(joined(INPUT, 3));
}

#[test]
fn splits_cut_an_axis() {
    let parts = |lengths: Option<&'static [i64]>, count| {
        try_infer(move |b| {
            let x = b.input("x", INPUT);
            let lengths = lengths.map(|lengths| b.integers(lengths));
            b.node_with_options(Operator::Split { axis: 1 }, vec![Some(x), lengths], count)
        })
        .map(|(facts, outputs)| outputs.iter().map(|&part| facts.shape(part).unwrap()[1].clone()).collect::<Vec<_>>())
    };
    let known = |lengths: &[usize]| lengths.iter().copied().map(Dim::known).collect::<Vec<_>>();
    assert_eq!(parts(None, 2).unwrap(), known(&[5, 5]));
    assert_eq!(parts(None, 3).unwrap(), known(&[4, 4, 2]));
    assert_eq!(parts(Some(&[1, 9]), 2).unwrap(), known(&[1, 9]));
    assert!(parts(Some(&[1, 8]), 2).is_err());
    assert!(parts(Some(&[1, 9, 0]), 2).is_err());
    assert!(parts(Some(&[-1, 11]), 2).is_err());
    assert!(parts(None, 7).is_err());
}

#[test]
fn split_contents() {
    let (facts, outputs) = try_infer(|b| {
        let x = b.integers(&[1, 2, 3]);
        let lengths = b.integers(&[2, 1]);
        b.node_with_options(Operator::Split { axis: 0 }, vec![Some(x), Some(lengths)], 2)
    })
    .unwrap();
    assert_eq!(facts.integers(outputs[0]), Some(vec![1, 2]));
    assert_eq!(facts.integers(outputs[1]), Some(vec![3]));
}

#[test]
fn gathering_replaces_an_axis() {
    let gathered = |indices: Tensor, axis| {
        move |b: &mut GraphBuilder| {
            let x = b.input("x", INPUT);
            let indices = b.initializer("indices", indices);
            b.node(Operator::Gather { axis }, &[x, indices])
        }
    };
    let scalar = |index| Tensor::from_i64(&[], vec![index]);
    assert_eq!(shape(gathered(scalar(-1), 1)), "[batch, 4]");
    assert_eq!(shape(gathered(Tensor::from_i64(&[2, 3], vec![0; 6]), -1)), "[batch, 10, 2, 3]");
    let (value, found) = mismatch(gathered(scalar(10), 1));
    assert_eq!(value.as_deref(), Some("indices"));
    assert_eq!(found, Mismatch::Index { index: 10, length: 10 });
    mismatch(gathered(scalar(-11), 1));
    mismatch(gathered(scalar(i64::MIN), 1));
    let table = elements(|b| {
        let table = b.initializer("table", Tensor::from_i64(&[2, 3], vec![1, 2, 3, 4, 5, 6]));
        let indices = b.initializer("indices", Tensor::from_i64(&[2], vec![-1, 0]));
        b.node(Operator::Gather { axis: 1 }, &[table, indices])
    });
    assert_eq!(table.as_deref(), Some("3 1 6 4"));
}

#[test]
fn padding_adds_and_cuts() {
    let padded = |pads: &'static [i64], axes: Option<&'static [i64]>| {
        move |b: &mut GraphBuilder| {
            let x = b.input("x", INPUT);
            let pads = b.integers(pads);
            let axes = axes.map(|axes| b.integers(axes));
            b.node_with_options(Operator::Pad(PadMode::Constant), vec![Some(x), Some(pads), None, axes], 1)[0]
        }
    };
    assert_eq!(shape(padded(&[0, 1, 2, 0, 3, -1], None)), "[batch, 14, 5]");
    assert_eq!(shape(padded(&[1, 0], Some(&[0]))), "[(batch+1), 10, 4]");
    mismatch(padded(&[0, 0, 0, 0, 0, -5], None));
    mismatch(padded(&[0, 0, 0, 0], None));
    mismatch(padded(&[i64::MAX, i64::MAX], Some(&[2])));
}

#[test]
fn expanding_and_tiling() {
    let with = |operator: Operator, numbers: &'static [i64]| {
        move |b: &mut GraphBuilder| {
            let x = b.input("x", &[None, Some(1), Some(4)]);
            let numbers = b.integers(numbers);
            b.node(operator, &[x, numbers])
        }
    };
    assert_eq!(shape(with(Operator::Expand, &[5, 1])), "[batch, 5, 4]");
    assert_eq!(shape(with(Operator::Expand, &[2, 1, 1, 1])), "[2, batch, 1, 4]");
    assert_eq!(shape(with(Operator::Tile, &[2, 3, 1])), "[2*batch, 3, 4]");
    mismatch(with(Operator::Expand, &[3]));
    mismatch(with(Operator::Expand, &[-1]));
    mismatch(with(Operator::Tile, &[2, 3]));
    mismatch(with(Operator::Tile, &[2, 3, i64::MAX]));
    let tiled = elements(|b| {
        let x = b.integers(&[1, 2]);
        let repeats = b.integers(&[3]);
        let tiled = b.node(Operator::Tile, &[x, repeats]);
        b.node(Operator::Cast { to: DataType::I32 }, &[tiled])
    });
    assert_eq!(tiled.as_deref(), Some("1 2 1 2 1 2"));
}
