use otfuse_graph::{Conv, ConvTranspose, GraphBuilder, Mismatch, Operator, Padding, Pool, PoolKind, ValueId, Window};

use super::{mismatch, shape, weight};

fn conv(
    input: &'static [Option<usize>],
    kernel: &'static [usize],
    conv: Conv,
) -> impl FnOnce(&mut GraphBuilder) -> ValueId {
    move |b| {
        let x = b.input("x", input);
        let w = weight(b, "w", kernel);
        let bias = weight(b, "bias", &kernel[..1]);
        b.conv(x, w, Some(bias), conv)
    }
}

fn window(stride: usize, pad: usize) -> Conv {
    Conv { window: Window::uniform(2, stride, pad), ..Conv::default() }
}

const IMAGE: &[Option<usize>] = &[None, Some(4), Some(32), Some(30)];

#[test]
fn convolutions_slide() {
    assert_eq!(shape(conv(IMAGE, &[8, 4, 3, 3], window(1, 1))), "[batch, 8, 32, 30]");
    assert_eq!(shape(conv(IMAGE, &[8, 4, 3, 5], window(2, 1))), "[batch, 8, 16, 14]");
    let dilated = Conv { groups: 2, window: Window { dilations: vec![2, 3], ..Window::default() } };
    assert_eq!(shape(conv(IMAGE, &[8, 2, 3, 3], dilated)), "[batch, 8, 28, 24]");
    let same =
        Conv { groups: 4, window: Window { strides: vec![3, 1], padding: Padding::SameUpper, ..Window::default() } };
    assert_eq!(shape(conv(IMAGE, &[4, 1, 3, 3], same)), "[batch, 4, 11, 30]");
}

#[test]
fn branches_that_shrink_a_symbolic_axis_alike_agree() {
    let sum = shape(|b| {
        let x = b.input("x", &[Some(1), Some(4), None, Some(8)]);
        let w = weight(b, "w", &[4, 4, 3, 3]);
        let v = weight(b, "v", &[4, 4, 1, 1]);
        let main = b.conv(x, w, None, window(2, 1));
        let main = b.conv(main, w, None, window(1, 1));
        let shortcut = b.conv(x, v, None, window(2, 0));
        b.add(main, shortcut)
    });
    assert_eq!(sum, "[1, 4, ((batch+1)/2), 4]");
}

#[test]
fn weights_must_fit_the_channels() {
    let (value, found) = mismatch(conv(IMAGE, &[8, 3, 3, 3], window(1, 1)));
    assert_eq!(value.as_deref(), Some("w"));
    let expected = Mismatch::Length { axis: 1, expected: 4.into(), found: 3.into() };
    assert_eq!(found, expected);
    let grouped = |groups| Conv { groups, ..Conv::default() };
    let (value, found) = mismatch(conv(IMAGE, &[9, 1, 3, 3], grouped(3)));
    assert_eq!(value.as_deref(), Some("x"));
    assert!(matches!(found, Mismatch::Indivisible { parts: 3, .. }), "{found}");
    let (value, found) = mismatch(conv(IMAGE, &[9, 2, 3, 3], grouped(2)));
    assert_eq!(value.as_deref(), Some("w"));
    assert!(matches!(found, Mismatch::Indivisible { axis: 0, parts: 2, .. }), "{found}");
    let (_, found) = mismatch(conv(IMAGE, &[8, 4, 3, 3], grouped(0)));
    assert!(matches!(found, Mismatch::Argument { argument: "group", .. }), "{found}");
    let (_, found) = mismatch(conv(IMAGE, &[8, 4, 3], Conv::default()));
    assert!(matches!(found, Mismatch::Rank { .. }), "{found}");
}

#[test]
fn windows_must_fit_the_input() {
    let (value, found) = mismatch(conv(&[None, Some(4), Some(2), Some(9)], &[8, 4, 3, 3], Conv::default()));
    assert_eq!(value.as_deref(), Some("x"));
    let expected = Mismatch::Window { axis: 2, extent: 3, length: 2, padding: 0 };
    assert_eq!(found, expected);
    let strides = |strides| Conv { window: Window { strides, ..Window::default() }, ..Conv::default() };
    for hostile in [vec![0, 1], vec![1], vec![usize::MAX, 1]] {
        mismatch(conv(IMAGE, &[8, 4, 3, 3], strides(hostile)));
    }
    let pads = Conv {
        window: Window { padding: Padding::Explicit(vec![usize::MAX; 4]), ..Window::default() },
        ..Conv::default()
    };
    let (_, found) = mismatch(conv(IMAGE, &[8, 4, 3, 3], pads));
    assert!(matches!(found, Mismatch::TooLarge { .. }), "{found}");
}

fn transposed(kernel: &'static [usize], conv: ConvTranspose) -> impl FnOnce(&mut GraphBuilder) -> ValueId {
    move |b| {
        let x = b.input("x", &[Some(2), Some(4), None, Some(7)]);
        let w = weight(b, "w", kernel);
        b.node(Operator::ConvTranspose(conv), &[x, w])
    }
}

#[test]
fn transposed_convolutions_stretch() {
    let doubling =
        ConvTranspose { groups: 2, window: Window::uniform(2, 2, 1), output_padding: vec![1, 0], output_shape: None };
    assert_eq!(shape(transposed(&[4, 3, 3, 3], doubling.clone())), "[2, 6, 2*batch, 13]");
    let given = ConvTranspose { output_shape: Some(vec![20, 14]), ..doubling.clone() };
    assert_eq!(shape(transposed(&[4, 3, 3, 3], given)), "[2, 6, 20, 14]");
    let (value, _) = mismatch(transposed(&[6, 3, 3, 3], doubling));
    assert_eq!(value.as_deref(), Some("w"));
}

#[test]
fn pools_slide_and_may_hang_over() {
    let pooled = |ceil| {
        shape(move |b| {
            let x = b.input("x", &[None, Some(4), Some(6), Some(7)]);
            let pool = Pool {
                kind: PoolKind::Max,
                kernel: vec![3, 3],
                window: Window::uniform(2, 2, 0),
                ceil,
                count_include_pad: false,
            };
            b.node(Operator::Pool(pool), &[x])
        })
    };
    assert_eq!(pooled(false), "[batch, 4, 2, 3]");
    assert_eq!(pooled(true), "[batch, 4, 3, 3]");
    let global = shape(|b| {
        let x = b.input("x", IMAGE);
        b.global_average_pool(x)
    });
    assert_eq!(global, "[batch, 4, 1, 1]");
    let (_, found) = mismatch(|b| {
        let x = b.input("x", &[None, Some(4), Some(6)]);
        b.max_pool(x, 2)
    });
    assert!(matches!(found, Mismatch::Rank { .. }), "{found}");
}
