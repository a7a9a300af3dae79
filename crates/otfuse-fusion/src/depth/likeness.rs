//! How alike the weights of two blocks are, whatever the order of their neurons.

use otfuse_graph::{Block, Graph, Tensor, ValueId};

/// Quantiles of norms that are compared.
const QUANTILES: usize = 17;
/// How far features of the same numbers in another order are apart at most.
const EQUAL: f64 = 1e-4;

/// How alike two blocks are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alike {
    /// From 0 to 1.
    pub likeness: f64,
    /// Whether more than half of their numbers are the same, in some order.
    pub is_copy: bool,
}

/// What no order of neurons changes: the size of numbers, how unequal they are, and the norms of rows and columns in order.
struct Features(Vec<f64>);

impl Features {
    fn of(tensor: &Tensor) -> Option<Self> {
        let values = tensor.to_f32()?;
        let count = values.len().max(1) as f64;
        let sum = |of: &dyn Fn(f64) -> f64| values.iter().map(|&value| of(f64::from(value))).sum::<f64>() / count;
        let size = sum(&|value| value * value).sqrt();
        let scale = if size > 0.0 { size } else { 1.0 };
        let mut found = vec![size, sum(&|value| value) / scale, sum(&f64::abs) / scale];
        found.push((sum(&|value| value.powi(4))).powf(0.25) / scale);
        for axis in 0..tensor.shape().len().min(2) {
            found.extend(norms(tensor.shape(), &values, axis, scale));
        }
        Some(Self(found))
    }

    /// Relative to their own size.
    fn distance(&self, other: &Self) -> f64 {
        let (a, b) = (&self.0, &other.0);
        let pairs = a.iter().zip(b);
        let difference: f64 = pairs.clone().map(|(a, b)| (a - b).powi(2)).sum();
        let size: f64 = pairs.map(|(a, b)| a * a + b * b).sum();
        if size > 0.0 { (difference / size).sqrt() } else { 0.0 }
    }
}

/// Quantiles of the norms of the slices along an axis.
fn norms(shape: &[usize], values: &[f32], axis: usize, scale: f64) -> Vec<f64> {
    let inner: usize = shape[axis + 1..].iter().product();
    let mut squares = vec![0.0; shape[axis]];
    for (at, value) in values.iter().enumerate() {
        squares[at / inner.max(1) % shape[axis]] += f64::from(*value).powi(2);
    }
    let mean = (values.len() as f64 / shape[axis].max(1) as f64).sqrt();
    let mut norms: Vec<f64> = squares.into_iter().map(|square| square.sqrt() / (scale * mean)).collect();
    norms.sort_by(f64::total_cmp);
    let last = norms.len().saturating_sub(1);
    (0..QUANTILES).filter_map(|at| norms.get(at * last / (QUANTILES - 1)).copied()).collect()
}

/// How alike the weights of each block of one network are to those of each block of another, `deep x own`; of blocks of unequal
/// form none. Reads every weight once.
pub fn likeness_of_weights(
    (deep, deep_blocks): (&Graph, &[Block]),
    (own, own_blocks): (&Graph, &[Block]),
) -> Vec<Vec<Option<Alike>>> {
    let features = |graph: &Graph, blocks: &[Block]| -> Vec<Vec<Option<(Features, usize)>>> {
        let of = |id: ValueId| {
            let tensor = graph.initializer(id).filter(|_| graph.is_weight(id))?;
            Some((Features::of(tensor)?, tensor.len()))
        };
        let of_block = |block: &Block| weights_of(graph, block).into_iter().map(of).collect();
        blocks.iter().map(of_block).collect()
    };
    let (a, b) = (features(deep, deep_blocks), features(own, own_blocks));
    let pair = |at: usize, to: usize| {
        if deep_blocks[at].signature != own_blocks[to].signature {
            return None;
        }
        let (mut distance, mut same, mut total, mut tensors) = (0.0, 0.0, 0.0, 0.0);
        for ((a, length), (b, _)) in a[at].iter().zip(&b[to]).filter_map(|(a, b)| Some((a.as_ref()?, b.as_ref()?))) {
            let found = a.distance(b);
            (distance, tensors, total) = (distance + found, tensors + 1.0, total + *length as f64);
            same += if found < EQUAL { *length as f64 } else { 0.0 };
        }
        let likeness = if tensors > 0.0 { (1.0 - distance / tensors).clamp(0.0, 1.0) } else { 1.0 };
        Some(Alike { likeness, is_copy: total > 0.0 && same > 0.5 * total })
    };
    (0..deep_blocks.len()).map(|at| (0..own_blocks.len()).map(|to| pair(at, to)).collect()).collect()
}

/// The constants that a block's nodes read, in the order of the nodes.
pub(super) fn weights_of(graph: &Graph, block: &Block) -> Vec<ValueId> {
    let nodes = block.nodes.iter().flat_map(|&node| graph.node(node).inputs.iter().flatten().copied());
    nodes.filter(|id| graph.initializer(*id).is_some()).collect()
}
