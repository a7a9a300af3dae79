//! What operators are going to take, from the shapes of their operands: the one place where this is asked, before anything is
//! allocated.
//!
//! Bytes are those of the outputs and of tables that are larger; operations are multiplications of matrix products, and what takes as
//! long as so many. Operands that do not fit are left to the operators, which say what is wrong.

use burn_backend::Backend;
use otfuse_graph::{Attention, Binary, ConvTranspose, Einsum, GridMode, Operator, Recurrent, Resize, Window};

use super::convolution::transposed_lengths;
use super::value::{Operands, Value};
use super::window::slide;

/// Operations for an element that is computed by itself on a device.
const ELEMENT: u64 = 128;
/// For an element that the host computes or looks up.
const HOST: u64 = 512;

/// What an operator is going to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    pub(super) bytes: u64,
    pub(super) operations: u64,
}

/// Elements that are made, and what each of them takes.
#[derive(Clone, Copy, Default)]
struct Made {
    elements: u64,
    /// Bytes beside them.
    beside: u64,
    operations: u64,
}

impl Made {
    /// Elements each of which takes as many operations.
    fn of(elements: u64, each: u64) -> Self {
        Self { elements, beside: 0, operations: elements.saturating_mul(each.max(1)) }
    }

    /// The same for so many axes, which are compared with one another: tensors have a few, files may ask for a million.
    fn with_axes(self, axes: u64) -> Self {
        let compared = axes.saturating_mul(axes).saturating_mul(HOST);
        Self { operations: self.operations.saturating_add(compared), ..self }
    }

    /// Elements that are looked up by an index each.
    fn looked_up(elements: u64) -> Self {
        Self { beside: elements.saturating_mul(8), ..Self::of(elements, HOST) }
    }
}

/// The product of lengths, as large as can be where it overflows. A length of 0 counts as 1: what has no elements may be
/// reduced to what has as many as its other lengths say.
fn product(lengths: impl IntoIterator<Item = usize>) -> u64 {
    lengths.into_iter().fold(1, |product, length| product.saturating_mul(length.max(1) as u64))
}

/// Ways to take one of so many elements along each axis, as large as can be where it overflows.
fn combinations(taps: u64, axes: usize) -> u64 {
    u32::try_from(axes).map_or(u64::MAX, |axes| taps.saturating_pow(axes))
}

impl Needs {
    /// What an operator takes on these operands.
    pub(super) fn of<B: Backend>(operator: &Operator, operands: &Operands<B>) -> Self {
        let shapes = Shapes(operands);
        let made = shapes.made(operator).unwrap_or_default();
        let on_host = match operator {
            // Filled at once, whatever the shape is read from.
            Operator::ConstantOfShape { value } => {
                let width = if value.data_type().is_float() { 4 } else { 8 };
                return Self { bytes: made.elements.saturating_mul(width), operations: made.operations };
            }
            Operator::NonZero | Operator::OneHot { .. } | Operator::TopK { .. } => true,
            Operator::Binary(binary) => binary.is_comparison(),
            _ => matches!(operands.values.first(), Some(Some(Value::Integers(_)))),
        };
        let bytes = made.elements.saturating_mul(if on_host { 8 } else { 4 }).saturating_add(made.beside);
        let operations =
            if on_host { made.operations.max(made.elements.saturating_mul(HOST)) } else { made.operations };
        Self { bytes, operations }
    }
}

/// The shapes and small contents of operands.
struct Shapes<'a, B: Backend>(&'a Operands<B>);

impl<B: Backend> Shapes<'_, B> {
    fn value(&self, input: usize) -> Option<&Value<B>> {
        self.0.values.get(input)?.as_ref()
    }

    fn shape(&self, input: usize) -> Option<&[usize]> {
        Some(self.value(input)?.shape())
    }

    fn len(&self, input: usize) -> u64 {
        self.shape(input).map_or(0, |shape| product(shape.iter().copied()))
    }

    /// The sum of all operands' elements: what operators make that make no more than they read.
    fn all(&self) -> u64 {
        (0..self.0.values.len()).fold(0, |sum, input| sum.saturating_add(self.len(input)))
    }

    fn lengths(&self, input: usize) -> Option<Vec<usize>> {
        let Value::Integers(integers) = self.value(input)? else { return None };
        integers.data.iter().map(|&length| usize::try_from(length).ok()).collect()
    }

    /// A few numbers.
    fn numbers(&self, input: usize) -> Option<Vec<f32>> {
        let value = self.value(input).filter(|value| product(value.shape().iter().copied()) <= 64)?;
        value.clone().into_floats(&self.0.device).into_vec().ok()
    }

    /// Elements of all operands broadcast together.
    fn broadcast(&self) -> u64 {
        let shapes: Vec<&[usize]> = (0..self.0.values.len()).filter_map(|input| self.shape(input)).collect();
        let rank = shapes.iter().map(|shape| shape.len()).max().unwrap_or(0);
        let length = |axis: usize| {
            let own = shapes.iter().filter_map(|shape| shape.get((axis + shape.len()).checked_sub(rank)?).copied());
            own.fold(1, |most, length| if most == 1 { length } else { most })
        };
        product((0..rank).map(length))
    }

    fn made(&self, operator: &Operator) -> Option<Made> {
        Some(match operator {
            Operator::Gemm(gemm) => {
                let (&[a, b], &[c, d]) = (self.shape(0)?, self.shape(1)?) else { return None };
                let (rows, inner) = if gemm.transpose_a { (b, a) } else { (a, b) };
                Made::of(product([rows, if gemm.transpose_b { c } else { d }]), inner as u64)
            }
            Operator::MatMul | Operator::MatMulInteger => self.matmul()?,
            Operator::Einsum(einsum) => self.einsum(einsum)?,
            Operator::Conv(conv) => self.windows(0, 1, &conv.window)?,
            Operator::DeformConv(conv) => {
                let made = self.windows(0, 1, &conv.window)?;
                let (x, w) = (self.shape(0)?, self.shape(1)?);
                let places = made.elements / (w[0].max(1) as u64);
                // Each channel is sampled once for each place and element of the window.
                let sampled = places.saturating_mul(x[1] as u64).saturating_mul(product(w[2..].iter().copied()));
                let each = combinations(2, w.len().saturating_sub(2)).saturating_mul(HOST);
                let operations = made.operations.saturating_add(sampled.saturating_mul(each));
                Made { beside: sampled.saturating_mul(4), operations, ..made }
            }
            Operator::QLinearConv(conv) => self.windows(0, 3, &conv.window)?,
            Operator::ConvTranspose(conv) => self.transposed(conv)?,
            Operator::Attention(attention) => self.attention(*attention)?,
            Operator::Recurrent(recurrent) => self.recurrent(recurrent)?,
            Operator::Binary(Binary::Pow | Binary::Mod { .. }) => Made::of(self.broadcast(), HOST),
            Operator::Binary(_) | Operator::Variadic(_) | Operator::Where | Operator::PRelu => {
                Made::of(self.broadcast(), ELEMENT.saturating_mul(self.0.values.len() as u64))
            }
            Operator::Pool(pool) => {
                let x = self.shape(0)?;
                let axes = slide(&pool.window, x.get(2..)?, &pool.kernel, pool.ceil).ok()?;
                let padded = product(axes.iter().map(super::window::Sliding::covered));
                let planes = product(x[..2].iter().copied());
                let made = Made::of(
                    planes.saturating_mul(product(axes.iter().map(|axis| axis.output))),
                    ELEMENT.saturating_mul(product(pool.kernel.iter().copied()).saturating_add(4)),
                );
                Made { beside: planes.saturating_mul(padded).saturating_mul(4), ..made }
            }
            Operator::LocalResponseNormalization { size, .. } => {
                let channels = self.shape(0)?.get(1).copied().unwrap_or(1);
                Made::of(self.len(0), ELEMENT.saturating_mul((*size).min(channels) as u64))
            }
            Operator::ConstantOfShape { .. } => Made::of(product(self.lengths(0)?), 1).with_axes(self.len(0)),
            Operator::Range => self.range()?,
            Operator::Expand => self.expanded()?,
            Operator::Tile => {
                let repeats = self.lengths(1)?;
                let lengths = self.shape(0)?.iter().zip(&repeats).map(|(&length, &times)| length.saturating_mul(times));
                Self::moved(lengths)
            }
            Operator::Pad(_) => self.padded()?,
            Operator::Resize(resize) => self.resized(resize)?,
            Operator::Gather { axis } => {
                let x = self.shape(0)?;
                let axis = if *axis < 0 { axis.checked_add(x.len() as i64)? } else { *axis };
                let others = x.iter().enumerate().filter(|(at, _)| *at as i64 != axis).map(|(_, &length)| length);
                Made::of(product(others).saturating_mul(self.len(1)), ELEMENT)
            }
            Operator::GatherElements { .. } => Made::looked_up(self.len(1)),
            Operator::GatherNd { batch_dims } => {
                let last = *self.shape(1)?.last()?;
                let slice = product(self.shape(0)?.get(batch_dims + last..)?.iter().copied());
                Made::looked_up((self.len(1) / (last as u64).max(1)).saturating_mul(slice))
            }
            Operator::ScatterElements { .. } | Operator::ScatterNd { .. } => Made::looked_up(self.all()),
            Operator::OneHot { .. } => {
                let depth = *self.numbers(1)?.first()?;
                Made::looked_up(self.len(0).saturating_mul(depth as u64))
            }
            Operator::NonZero => Made::looked_up(self.len(0).saturating_mul(self.shape(0)?.len().max(1) as u64)),
            Operator::TopK { .. } => Made::of(self.len(0).saturating_mul(2), 4 * HOST),
            Operator::CumSum { .. } | Operator::Hardmax { .. } | Operator::Trilu { .. } | Operator::EyeLike { .. } => {
                Made::looked_up(self.len(0))
            }
            Operator::GridSample(sample) => {
                let (x, grid) = (self.shape(0)?, self.shape(1)?);
                let places = product(grid.split_last()?.1.iter().copied());
                let taps = match sample.mode {
                    GridMode::Nearest => 1,
                    GridMode::Linear => 2,
                    GridMode::Cubic => 4,
                };
                let read = combinations(taps, x.len().saturating_sub(2)).div_ceil(4);
                let made = Made::of(places.saturating_mul(x.get(1).copied().unwrap_or(1) as u64), HOST);
                // A place takes longer than what is read there.
                let operations = made.operations.saturating_add(places.saturating_mul(32 * HOST)).saturating_mul(read);
                Made { operations, ..made }
            }
            Operator::Col2Im(_) => {
                let made = product(self.lengths(1)?).saturating_mul(product(self.shape(0)?.iter().take(2).copied()));
                Made {
                    operations: self.len(0).saturating_mul(4 * HOST).saturating_add(made),
                    elements: made,
                    beside: 0,
                }
            }
            // Bodies ask for themselves.
            Operator::If { .. } | Operator::Loop { .. } | Operator::Scan(_) => Made::default(),
            Operator::Shape { .. }
            | Operator::Size
            | Operator::Identity
            | Operator::Random(_)
            | Operator::Opaque { .. } => Made::default(),
            // Views, or no more elements than go in.
            Operator::Flatten { .. } | Operator::Reshape { .. } | Operator::Squeeze | Operator::Unsqueeze => {
                let axes = self.len(1).saturating_add(self.shape(0)?.len() as u64);
                Made::of(self.len(0), 1).with_axes(axes)
            }
            Operator::Split { .. } | Operator::Slice | Operator::Transpose { .. } => Made::of(self.len(0), ELEMENT),
            // Short runs are copied one by one.
            Operator::Concat { .. } => Made::of(self.all(), 8 * ELEMENT),
            Operator::BatchNormalization { .. }
            | Operator::BatchNormalizationInTraining { .. }
            | Operator::InstanceNormalization { .. }
            | Operator::LayerNormalization { .. }
            | Operator::GroupNormalization { .. }
            | Operator::Unary(_)
            | Operator::Clip
            | Operator::Softmax { .. }
            | Operator::LogSoftmax { .. }
            | Operator::Reduce(_)
            | Operator::ArgExtremum { .. }
            | Operator::GlobalPool(_)
            | Operator::Cast { .. }
            | Operator::QuantizeLinear { .. }
            | Operator::DequantizeLinear { .. }
            | Operator::DepthToSpace { .. }
            | Operator::SpaceToDepth { .. } => Made::of(self.all(), ELEMENT),
        })
    }

    /// Elements that are copied along lists of indices, one for each axis.
    fn moved(lengths: impl Iterator<Item = usize> + Clone) -> Made {
        let indices = lengths.clone().fold(0_u64, |sum, length| sum.saturating_add(length as u64));
        Made { beside: indices.saturating_mul(8), ..Made::of(product(lengths), ELEMENT) }
    }

    fn matmul(&self) -> Option<Made> {
        let (a, b) = (self.shape(0)?, self.shape(1)?);
        let inner = *a.last()?;
        let rows = if a.len() > 1 { a[a.len() - 2] } else { 1 };
        let columns = if b.len() > 1 { b[b.len() - 1] } else { 1 };
        let batch = |shape: &[usize], at: usize, rank: usize| {
            let stack = shape.get(..shape.len().saturating_sub(2)).unwrap_or(&[]);
            (at + stack.len()).checked_sub(rank).and_then(|at| stack.get(at).copied()).unwrap_or(1)
        };
        let rank = a.len().max(b.len()).saturating_sub(2);
        let stack = product((0..rank).map(|at| batch(a, at, rank).max(batch(b, at, rank))));
        Some(Made::of(stack.saturating_mul(product([rows, columns])), inner as u64))
    }

    /// One product for each pair of operands; the largest result counts.
    fn einsum(&self, einsum: &Einsum) -> Option<Made> {
        let mut lengths: Vec<(char, usize)> = Vec::new();
        let mut made = Made::default();
        for (index, letters) in einsum.inputs.iter().enumerate() {
            for (&letter, &length) in letters.iter().zip(self.shape(index)?) {
                if !lengths.iter().any(|(known, _)| *known == letter) {
                    lengths.push((letter, length));
                }
            }
            let work = product(lengths.iter().map(|(_, length)| *length));
            let later: Vec<char> = einsum.inputs[index + 1..].iter().flatten().chain(&einsum.output).copied().collect();
            lengths.retain(|(letter, _)| later.contains(letter));
            let elements = product(lengths.iter().map(|(_, length)| *length));
            made.elements = made.elements.max(elements.max(self.len(index)));
            made.operations = made.operations.saturating_add(work);
        }
        Some(made)
    }

    /// A convolution of operand `x` with the kernels of operand `w`.
    fn windows(&self, x: usize, w: usize, window: &Window) -> Option<Made> {
        let (x, w) = (self.shape(x)?, self.shape(w)?);
        let axes = slide(window, x.get(2..)?, w.get(2..)?, false).ok()?;
        let places = product(axes.iter().map(|axis| axis.output)).saturating_mul(x[0] as u64);
        let made = Made::of(places.saturating_mul(w[0] as u64), product(w[1..].iter().copied()));
        // What is padded, channel by channel, and three axes as a whole.
        let covered = product(axes.iter().map(super::window::Sliding::covered));
        let channels = if axes.len() > 2 { product(x[..2].iter().copied()) } else { 1 };
        let beside = covered.saturating_mul(channels).saturating_mul(4);
        // What is mostly padding is unfolded again and again.
        let is_padding = covered / 8 > product(x[2..].iter().copied());
        let again = covered.saturating_mul(product(x[..2].iter().copied())).saturating_mul(places / 256 + 1);
        let operations = made.operations.saturating_add(if is_padding { again } else { 0 });
        Some(Made { beside, operations, ..made })
    }

    fn transposed(&self, conv: &ConvTranspose) -> Option<Made> {
        let (x, w) = (self.shape(0)?, self.shape(1)?);
        let (full, output) = transposed_lengths(conv, x.get(2..)?, w.get(2..)?).ok()?;
        let channels = product([*x.first()?, *w.get(1)?, conv.groups]);
        let elements = channels.saturating_mul(product(full.iter().copied()).max(product(output)));
        let operations = self.len(0).saturating_mul(product(w[1..].iter().copied()));
        Some(Made { elements, beside: 0, operations: operations.saturating_add(elements.saturating_mul(ELEMENT)) })
    }

    fn attention(&self, attention: Attention) -> Option<Made> {
        let (q, k, v) = (self.shape(0)?, self.shape(1)?, self.shape(2)?);
        let (samples, heads, queries, width) = match (q, attention.heads) {
            (&[samples, heads, queries, width], _) => (samples, heads, queries, width),
            (&[samples, queries, width], Some((heads, _))) => (samples, heads, queries, width / heads.max(1)),
            _ => return None,
        };
        let past = self.shape(4).and_then(|past| past.get(2)).copied().unwrap_or(0);
        let keys = k.get(k.len().checked_sub(2)?)?.saturating_add(past);
        let scores = product([samples, heads, queries, keys]);
        let widths = width.saturating_add(*v.last()?) as u64;
        let grown = product([samples, heads, keys]).saturating_mul(widths);
        Some(Made {
            // Scores before and after masks, and as probabilities.
            elements: scores.saturating_mul(3).saturating_add(grown),
            beside: 0,
            operations: scores.saturating_mul(widths.saturating_add(4 * ELEMENT)),
        })
    }

    fn recurrent(&self, recurrent: &Recurrent) -> Option<Made> {
        let &[first, second, inputs] = self.shape(0)? else { return None };
        let gates = recurrent.cell.gates().saturating_mul(recurrent.hidden);
        let elements = product([first, second, gates]);
        let each = (inputs.saturating_add(recurrent.hidden) as u64).saturating_add(16 * ELEMENT);
        let steps = if recurrent.batch_first { second } else { first } as u64;
        let made = Made::of(elements, each);
        // A step takes a while also where it computes little.
        Some(Made { operations: made.operations.saturating_add(steps.saturating_mul(200 * HOST)), ..made })
    }

    fn range(&self) -> Option<Made> {
        let number = |input: usize| -> Option<f64> {
            match self.value(input)? {
                Value::Integers(integers) => integers.data.first().map(|&number| number as f64),
                Value::Floats(_) => self.numbers(input)?.first().map(|&number| f64::from(number)),
            }
        };
        let (start, limit, delta) = (number(0)?, number(1)?, number(2)?);
        Some(Made::of(((limit - start) / delta).ceil().max(0.0) as u64, 4))
    }

    fn expanded(&self) -> Option<Made> {
        let (x, target) = (self.shape(0)?, self.lengths(1)?);
        let rank = x.len().max(target.len());
        let length = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |at| shape[at]);
        let lengths = (0..rank).map(|axis| match length(x, axis) {
            1 => length(&target, axis),
            own => own,
        });
        Some(Made::of(product(lengths), ELEMENT).with_axes(rank as u64))
    }

    fn padded(&self) -> Option<Made> {
        let x = self.shape(0)?;
        let Value::Integers(pads) = self.value(1)? else { return None };
        let axes = match self.value(3) {
            Some(Value::Integers(axes)) => axes.data.clone(),
            _ => (0..x.len() as i64).collect(),
        };
        let mut lengths = x.to_vec();
        for (at, &axis) in axes.iter().enumerate() {
            let axis = if axis < 0 { axis.checked_add(x.len() as i64)? } else { axis };
            let added = |at: usize| pads.data.get(at).map(|&pad| usize::try_from(pad).unwrap_or(0));
            let length = lengths.get_mut(usize::try_from(axis).ok()?)?;
            *length = length.saturating_add(added(at)?).saturating_add(added(axes.len() + at)?);
        }
        Some(Self::moved(lengths.into_iter()))
    }

    /// Interpolation multiplies by a matrix of the axis' lengths before and behind.
    fn resized(&self, resize: &Resize) -> Option<Made> {
        let x = self.shape(0)?;
        let axes = resize.axes.clone().unwrap_or_else(|| (0..x.len() as i64).collect());
        let given = |input: usize| self.numbers(input).filter(|numbers| !numbers.is_empty());
        let (scales, sizes) = (given(2), given(3));
        let mut lengths = x.to_vec();
        let mut made = Made::default();
        for (at, &axis) in axes.iter().enumerate() {
            let axis = if axis < 0 { axis.checked_add(x.len() as i64)? } else { axis };
            let axis = usize::try_from(axis).ok().filter(|&axis| axis < x.len())?;
            // Sizes that keep proportions are no larger than what the largest ratio gives.
            let ratio = |at: usize| Some(f64::from(*sizes.as_ref()?.get(at)?) / x.get(at)?.to_owned().max(1) as f64);
            let to = match (&sizes, &scales) {
                (Some(sizes), _) if resize.aspect == otfuse_graph::Aspect::Stretch => f64::from(*sizes.get(at)?),
                (Some(_), _) => (0..axes.len()).filter_map(ratio).fold(0.0, f64::max) * x[axis] as f64 + 1.0,
                (None, Some(scales)) => f64::from(*scales.get(at)?) * x[axis] as f64,
                (None, None) => return None,
            };
            if to as usize == x[axis] {
                continue;
            }
            let table = (to as u64)
                .saturating_mul(x[axis] as u64)
                .saturating_mul(8)
                .saturating_add(8 * (to as u64).min(1 << 60));
            lengths[axis] = to as usize;
            let elements = product(lengths.iter().copied());
            made.elements = made.elements.max(elements);
            made.beside = made.beside.max(table);
            made.operations = made.operations.saturating_add(elements.saturating_mul((x[axis] as u64).max(ELEMENT)));
        }
        Some(made)
    }
}
