//! How one tensor may lie in another of as many elements.

use otfuse_graph::{Gemm, Graph, NodeId, Operator, Tensor};

/// An order of axes; `None` if they stay.
pub(super) type Order = Option<Vec<usize>>;

/// All orders of the axes of `shape` in which it is `wanted`, axes of length 1 aside: the one that stays first.
pub(super) fn orders(shape: &[usize], wanted: &[usize]) -> Vec<Order> {
    let long = |shape: &[usize]| -> Vec<usize> { (0..shape.len()).filter(|&axis| shape[axis] != 1).collect() };
    let (axes, target) = (long(shape), long(wanted));
    let target: Vec<usize> = target.into_iter().map(|axis| wanted[axis]).collect();
    if axes.len() != target.len() || axes.len() > 5 {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut chosen = Vec::new();
    extend(shape, &axes, &target, &mut chosen, &mut found);
    let short: Vec<usize> = (0..shape.len()).filter(|&axis| shape[axis] == 1).collect();
    found
        .into_iter()
        .map(|order| {
            if order.is_sorted() {
                return None;
            }
            Some(short.iter().copied().chain(order).collect())
        })
        .collect()
}

fn extend(shape: &[usize], axes: &[usize], target: &[usize], chosen: &mut Vec<usize>, found: &mut Vec<Vec<usize>>) {
    let Some(&length) = target.get(chosen.len()) else {
        found.push(chosen.clone());
        return;
    };
    for &axis in axes {
        if shape[axis] == length && !chosen.contains(&axis) {
            chosen.push(axis);
            extend(shape, axes, target, chosen, found);
            chosen.pop();
        }
    }
}

/// Whether a constant is the right factor of a product, of shape inputs, outputs.
pub(super) fn is_right_factor(graph: &Graph, tensor: &Tensor, reader: Option<(NodeId, usize)>) -> bool {
    let plain =
        |operator: &Operator| matches!(operator, Operator::MatMul | Operator::Gemm(Gemm { transpose_b: false, .. }));
    tensor.shape().len() == 2
        && reader.is_some_and(|(node, position)| position == 1 && plain(&graph.node(node).operator))
}

/// Whether two tensors are equal but for rounding.
pub(super) fn is_close(a: &Tensor, b: &Tensor) -> bool {
    if a.shape() != b.shape() {
        return false;
    }
    let (Some(a), Some(b)) = (a.to_f32(), b.to_f32()) else { return false };
    let largest = a.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= 1e-5 * largest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_of_axes() {
        assert_eq!(orders(&[3, 4], &[3, 4]), [None]);
        assert_eq!(orders(&[3, 4], &[4, 3]), [Some(vec![1, 0])]);
        assert_eq!(orders(&[4, 4], &[4, 4]), [None, Some(vec![1, 0])]);
        assert_eq!(orders(&[1, 8, 1], &[8]), [None]);
        assert_eq!(orders(&[1, 3, 8], &[8, 3]), [Some(vec![0, 2, 1])]);
        assert!(orders(&[3, 4], &[12]).is_empty());
    }
}
