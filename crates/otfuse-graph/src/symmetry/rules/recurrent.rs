//! Recurrent layers: the gates share the order of the hidden units.

use crate::symmetry::analysis::Analysis;
use crate::symmetry::layout::Layout;
use crate::{Dim, Node, Recurrent, ValueId};

/// `W[1, gates x hidden, inputs]` and `B[1, 2 x gates x hidden]` produce the hidden units, `R[1, gates x hidden, hidden]`
/// consumes them as well; states and outputs end in them, peepholes are 3 x hidden. Steps are in order.
pub(super) fn recurrent(analysis: &mut Analysis<'_>, node: &Node, recurrent: &Recurrent) -> Option<()> {
    let (x, weight, recurrence) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let input: [Layout; 3] = analysis.axes(x)?.try_into().ok()?;
    let (steps, samples) = if recurrent.batch_first { (1, 0) } else { (0, 1) };
    let length = analysis.shape(x)?.get(steps)?.clone();
    let hidden = analysis.blocks.fresh(Dim::known(recurrent.hidden));
    let gates = recurrent.cell.gates();
    for (value, axis, count) in [(weight, 1, gates), (recurrence, 1, gates)] {
        gated(analysis, value, axis, count, &hidden)?;
        analysis.produce(value, axis);
        analysis.consume(value, 2);
    }
    let columns = analysis.axes(weight)?.get(2)?.clone();
    analysis.unify(&input[2], &columns);
    let columns = analysis.axes(recurrence)?.get(2)?.clone();
    analysis.unify(&hidden, &columns);
    for (position, count) in [(3, 2 * gates), (7, 3)] {
        if let Some(parameter) = node.input(position) {
            gated(analysis, parameter, 1, count, &hidden)?;
        }
    }
    if let Some(lengths) = node.input(4) {
        let [layout]: [Layout; 1] = analysis.axes(lengths)?.try_into().ok()?;
        analysis.unify(&input[samples], &layout);
    }
    for state in [5, 6].into_iter().filter_map(|position| node.input(position)) {
        let state: [Layout; 3] = analysis.axes(state)?.try_into().ok()?;
        analysis.unify(&input[samples], &state[usize::from(!recurrent.batch_first)]);
        analysis.unify(&hidden, &state[2]);
    }
    let ordered = analysis.positions_from(&input[steps], length, "goes through the axis step by step");
    let (samples, one) = (input[samples].clone(), Layout::unit());
    let (sequence, state) = if recurrent.batch_first {
        (vec![samples.clone(), ordered, one.clone(), hidden.clone()], vec![samples, one, hidden])
    } else {
        (vec![ordered, one.clone(), samples.clone(), hidden.clone()], vec![one, samples, hidden])
    };
    analysis.set_axes(node.output(0), sequence);
    analysis.set_axes(node.output(1), state.clone());
    analysis.set_axes(node.output(2), state);
    Some(())
}

/// States that an axis is `count` blocks of the hidden units behind one another.
fn gated(analysis: &mut Analysis<'_>, value: ValueId, axis: usize, count: usize, hidden: &Layout) -> Option<()> {
    let layout = analysis.axes(value)?.get(axis)?.clone();
    let gates = analysis.position(Dim::known(count));
    analysis.unify(&layout, &Layout::product(vec![gates, hidden.clone()]));
    Some(())
}
