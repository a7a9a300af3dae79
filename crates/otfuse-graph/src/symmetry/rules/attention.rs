//! Attention as one operator.

use super::elementwise::broadcast_axes;
use crate::symmetry::analysis::Analysis;
use crate::symmetry::layout::Layout;
use crate::{Attention, Dim, Node};

/// Q, K or V: samples, positions, and the axes that carry heads and widths.
struct Part {
    samples: Layout,
    positions: Layout,
    heads: Dim,
    width: Dim,
    axes: Vec<Layout>,
}

fn part(analysis: &mut Analysis<'_>, node: &Node, position: usize, heads: Option<usize>) -> Option<Part> {
    let value = node.input(position)?;
    let (axes, lengths) = (analysis.axes(value)?, analysis.shape(value)?);
    Some(match (axes.as_slice(), heads) {
        ([samples, heads, positions, width], _) => Part {
            samples: samples.clone(),
            positions: positions.clone(),
            heads: lengths[1].clone(),
            width: lengths[3].clone(),
            axes: vec![heads.clone(), width.clone()],
        },
        ([samples, positions, both], Some(heads)) => Part {
            samples: samples.clone(),
            positions: positions.clone(),
            heads: Dim::known(heads),
            width: lengths[2].divided_by(&Dim::known(heads))?,
            axes: vec![both.clone()],
        },
        _ => return None,
    })
}

impl Part {
    /// States how heads and widths are made up; returns the axes in that form.
    fn unify(&self, analysis: &mut Analysis<'_>, heads: &[Layout], width: &Layout) -> Vec<Layout> {
        let made_up = match self.axes.len() {
            1 => vec![Layout::product([heads, std::slice::from_ref(width)].concat())],
            _ => vec![Layout::product(heads.to_vec()), width.clone()],
        };
        for (axis, made_up) in self.axes.iter().zip(&made_up) {
            analysis.unify(axis, made_up);
        }
        made_up
    }
}

/// Heads are permuted as wholes, all queries of a head of keys within it; inside, queries and keys share one order, and
/// values have their own. Positions are ordered where a mask by position or a cache orders them.
pub(super) fn attention(analysis: &mut Analysis<'_>, node: &Node, attention: &Attention) -> Option<()> {
    let q = part(analysis, node, 0, attention.heads.map(|heads| heads.0))?;
    let k = part(analysis, node, 1, attention.heads.map(|heads| heads.1))?;
    let v = part(analysis, node, 2, attention.heads.map(|heads| heads.1))?;
    let repeats = q.heads.divided_by(&k.heads)?;
    let heads = analysis.blocks.fresh(k.heads.clone());
    let query_heads = [heads.clone(), analysis.blocks.fresh(repeats)];
    let heads = [heads];
    let width = analysis.blocks.fresh(q.width.clone());
    let value_width = analysis.blocks.fresh(v.width.clone());
    q.unify(analysis, &query_heads, &width);
    k.unify(analysis, &heads, &width);
    v.unify(analysis, &heads, &value_width);
    for (value, axis) in [0, 1].into_iter().filter_map(|position| Some((node.input(position)?, q.axes.len() + 1))) {
        analysis.consume(value, axis);
    }
    for other in [&k, &v] {
        analysis.unify(&q.samples, &other.samples);
    }
    analysis.unify(&k.positions, &v.positions);
    let (mut queries, mut keys) = (q.positions.clone(), k.positions.clone());
    let ordered = attention.causal || [4, 5, 6].iter().any(|&position| node.input(position).is_some());
    if ordered {
        let explanation = "orders the positions";
        let lengths = [analysis.blocks.size(&queries), total(analysis, node)?];
        queries = analysis.positions_from(&queries, lengths[0].clone(), explanation);
        keys = analysis.positions_from(&keys, lengths[1].clone(), explanation);
    }
    for (position, width) in [(4, &width), (5, &value_width)] {
        if let Some(past) = node.input(position) {
            let past: [Layout; 4] = analysis.axes(past)?.try_into().ok()?;
            analysis.unify(&q.samples, &past[0]);
            analysis.unify(&heads[0], &past[1]);
            analysis.pin(&past[2], "orders the positions");
            analysis.unify(width, &past[3]);
        }
    }
    let scores = vec![q.samples.clone(), Layout::product(query_heads.to_vec()), queries.clone(), keys.clone()];
    if let Some(mask) = node.input(3) {
        let mask = analysis.axes(mask)?;
        broadcast_axes(analysis, &[scores.clone(), mask]);
    }
    let output = match q.axes.len() {
        1 => {
            let both = Layout::product([query_heads.as_slice(), std::slice::from_ref(&value_width)].concat());
            vec![q.samples.clone(), queries, both]
        }
        _ => vec![q.samples.clone(), Layout::product(query_heads.to_vec()), queries, value_width.clone()],
    };
    analysis.set_axes(node.output(0), output);
    for (position, width) in [(1, width), (2, value_width)] {
        let present = vec![q.samples.clone(), heads[0].clone(), keys.clone(), width];
        analysis.set_axes(node.output(position), present);
    }
    analysis.set_axes(node.output(3), scores);
    Some(())
}

/// The number of keys, past ones included.
fn total(analysis: &Analysis<'_>, node: &Node) -> Option<Dim> {
    let length = |position: usize| {
        let shape = analysis.shape(node.input(position)?)?;
        shape.get(shape.len().checked_sub(2)?).cloned()
    };
    let own = length(1)?;
    match node.input(4) {
        None => Some(own),
        Some(_) => Some(Dim::known(own.as_known()? + length(4)?.as_known()?)),
    }
}
