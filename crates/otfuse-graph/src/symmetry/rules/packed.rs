//! Several things in one axis that are told apart again: queries, keys and values as the rows of one weight.
//!
//! `Reshape` makes the axis `things x inner`, and every reader takes single things by index. Then the axis is a
//! sequence of things, each of which has an order of its own; a product would have all share one.

use super::axis_index;
use super::rearrange::chunks;
use crate::symmetry::analysis::{Analysis, Packed};
use crate::symmetry::layout::Layout;
use crate::{Dim, Node, Operator, ValueId};

/// Applies where an operator packs or reads packed values; `None` elsewhere.
pub(super) fn apply(analysis: &mut Analysis<'_>, node: &Node) -> Option<()> {
    let input = node.input(0)?;
    let Some(packed) = analysis.packed.get(&input).cloned() else {
        return pack(analysis, node, input);
    };
    analysis.blocks.charge(packed.things.len());
    match &node.operator {
        Operator::Gather { axis } => {
            let rank = analysis.shape(input)?.len();
            debug_assert_eq!(axis_index(*axis, rank), Some(packed.axis));
            let indices = node.input(1)?;
            let [index] = analysis.facts.integers(indices)?.try_into().ok()?;
            let thing = packed.things.get(axis_index(index, packed.things.len())?)?.clone();
            let keeps_axis = analysis.shape(indices)?.len() == 1;
            let axes = if keeps_axis { with_unit(thing, packed.axis) } else { thing };
            analysis.set_axes(node.output(0), axes);
        }
        Operator::Split { .. } => {
            for (output, thing) in node.outputs.iter().zip(packed.things) {
                analysis.set_axes(*output, with_unit(thing, packed.axis));
            }
        }
        operator => {
            let rank = packed.things.first()?.len() + 1;
            let order = reordered(analysis, node, operator, rank)?;
            let axis = order.iter().position(|from| *from == Some(packed.axis))?;
            let rearrange = |thing: Vec<Layout>| {
                let thing = with_unit(thing, packed.axis);
                let axes = order.iter().map(|from| from.map_or_else(Layout::unit, |from| thing[from].clone()));
                axes.enumerate().filter(|(to, _)| *to != axis).map(|(_, layout)| layout).collect()
            };
            let things = packed.things.into_iter().map(rearrange).collect();
            analysis.packed.insert(node.output(0)?, Packed { axis, things });
        }
    }
    Some(())
}

fn with_unit(mut thing: Vec<Layout>, axis: usize) -> Vec<Layout> {
    thing.insert(axis, Layout::unit());
    thing
}

/// The most things that are told apart: queries, keys and values are three.
const MOST_THINGS: usize = 1 << 12;

/// Operators that may stand between a value and what tells its things apart.
const MOST_BETWEEN: usize = 64;

/// Packs the output of a reshape that cuts an axis into things and what is in them.
fn pack(analysis: &mut Analysis<'_>, node: &Node, input: ValueId) -> Option<()> {
    let Operator::Reshape { .. } = node.operator else { return None };
    let output = node.output(0)?;
    let (axes, from) = (analysis.axes(input)?, analysis.shape(input)?);
    let to = analysis.shape(output)?;
    let mut cut = None;
    let mut layouts = vec![Layout::unit(); to.len()];
    for (sources, targets) in chunks(&from, &to)? {
        let product = Layout::product(axes[sources].to_vec());
        let wide: Vec<usize> = targets.filter(|&target| !to[target].is_one()).collect();
        match wide.as_slice() {
            [] => {}
            [target] => layouts[*target] = product,
            [first, inner @ ..] if cut.is_none() => cut = Some((*first, inner.to_vec(), product)),
            _ => return None,
        }
    }
    let (axis, inner, source) = cut?;
    let count = to[axis].as_known().filter(|&count| count <= MOST_THINGS)?;
    let width: usize = inner.iter().map(|&target| to[target].as_known()).product::<Option<usize>>()?;
    if !analysis.blocks.is_free(&source) || !told_apart(analysis, output, (axis, to.len()), MOST_BETWEEN) {
        return None;
    }
    let things = analysis.blocks.cut(&source, &vec![width; count])?;
    let things = things.into_iter().map(|thing| {
        let mut layouts = layouts.clone();
        for &target in &inner {
            layouts[target] = analysis.blocks.fresh(to[target].clone());
        }
        let factors: Vec<Layout> = inner.iter().map(|&target| layouts[target].clone()).collect();
        analysis.unify(&thing, &Layout::product(factors));
        layouts.remove(axis);
        layouts
    });
    let things = things.collect();
    analysis.packed.insert(output, Packed { axis, things });
    Some(())
}

/// Whether all readers of a value take single indices of an axis.
fn told_apart(analysis: &Analysis<'_>, value: ValueId, (axis, rank): (usize, usize), between: usize) -> bool {
    if between == 0 {
        return false;
    }
    let is_output = analysis.graph.outputs().contains(&value);
    let Some(readers) = analysis.readers().get(&value).filter(|_| !is_output) else { return false };
    readers.iter().all(|&(id, position)| {
        let node = analysis.graph.node(id);
        if position != 0 {
            return false;
        }
        match &node.operator {
            Operator::Gather { axis: along } => {
                let index = node.input(1).and_then(|indices| analysis.facts.integers(indices));
                axis_index(*along, rank) == Some(axis) && index.is_some_and(|index| index.len() == 1)
            }
            Operator::Split { axis: along } => {
                let single = |output: &Option<ValueId>| {
                    let shape = output.and_then(|output| analysis.shape(output));
                    shape.is_some_and(|shape| shape.get(axis).is_some_and(Dim::is_one))
                };
                axis_index(*along, rank) == Some(axis) && node.outputs.iter().all(single)
            }
            operator => {
                let Some(order) = reordered(analysis, node, operator, rank) else { return false };
                let to = order.iter().position(|from| *from == Some(axis));
                node.output(0)
                    .zip(to)
                    .is_some_and(|(output, to)| told_apart(analysis, output, (to, order.len()), between - 1))
            }
        }
    })
}

/// For each axis behind an operator that moves whole axes the axis before it; `None` for new axes of length 1.
fn reordered(analysis: &Analysis<'_>, node: &Node, operator: &Operator, rank: usize) -> Option<Vec<Option<usize>>> {
    let listed = || {
        let list = analysis.facts.integers(node.input(1)?)?;
        Some(list)
    };
    match operator {
        Operator::Transpose { permutation } => {
            let order = permutation.clone().unwrap_or_else(|| (0..rank).rev().collect());
            Some(order.into_iter().map(Some).collect())
        }
        Operator::Identity => Some((0..rank).map(Some).collect()),
        Operator::Squeeze => {
            let gone: Vec<usize> = listed()?.iter().map(|&axis| axis_index(axis, rank)).collect::<Option<_>>()?;
            Some((0..rank).filter(|axis| !gone.contains(axis)).map(Some).collect())
        }
        Operator::Unsqueeze => {
            let list = listed()?;
            let total = rank + list.len();
            let new: Vec<usize> = list.iter().map(|&axis| axis_index(axis, total)).collect::<Option<_>>()?;
            let mut next = 0..rank;
            Some((0..total).map(|axis| if new.contains(&axis) { None } else { next.next() }).collect())
        }
        _ => None,
    }
}
