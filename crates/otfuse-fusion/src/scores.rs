//! Attention scores of heads of unequal widths.
//!
//! A score is a product of two computed vectors, `s = k sum_c q_c k_c` over the channels of a head, with a factor `k` that
//! may depend on their number (`1 / sqrt(width)`). Queries and keys both produce their channels, so that a map to another
//! number of channels averages both, and no weight behind them makes up for it. With `n` channels in the model, `m` in the anchor
//! and their factors `k` and `l`, the sum over the anchor's channels is `m / n` times as large and then multiplied with `l`;
//! mapped queries and keys are therefore multiplied with
//!
//! ```text
//! sqrt((n / m) (k / l)),    which is (n / m)^(1/4) for k = 1 / sqrt(n), l = 1 / sqrt(m)
//! ```
//!
//! each. A model all of whose channels are doubled (and its queries and keys scaled, so that it computes the same) is then
//! mapped to the original. This is done where it is known to be right: no weight consumes the channels, two values that
//! carry them are multiplied, and everything between the weights and this product is linear in them.

use std::collections::{HashMap, HashSet};

use otfuse_graph::{Binary, Graph, GroupId, NeuronGroups, Operator, Role, ValueId};

/// The factor of all that a model produces in a group; `None` where nothing is to be corrected. `sizes` are the numbers of
/// neurons in the model and in the anchor, `values` the model's values by the anchor's.
pub(crate) fn correction(
    (anchor, model): (&Graph, &Graph),
    groups: &NeuronGroups,
    group: GroupId,
    sizes: (usize, usize),
    values: &HashMap<ValueId, ValueId>,
) -> Option<f32> {
    let described = groups.group(group);
    if sizes.0 == sizes.1 || described.members_as(Role::Consumer).next().is_some() {
        return None;
    }
    let observed: HashSet<ValueId> = described.observations.iter().map(|observation| observation.value).collect();
    let carries = |value: Option<ValueId>| value.is_some_and(|value| observed.contains(&value));
    let mut scores: HashSet<ValueId> = HashSet::new();
    for (_, node) in anchor.nodes() {
        if matches!(node.operator, Operator::MatMul) && carries(node.input(0)) && carries(node.input(1)) {
            scores.extend(node.output(0));
        }
    }
    let computed = described.observations.iter().map(|observation| anchor.node(observation.node));
    if scores.is_empty() || !computed.into_iter().all(|node| is_linear_in_its_inputs(&node.operator)) {
        return None;
    }
    let mut ratio = sizes.0 as f64 / sizes.1 as f64;
    for (_, node) in anchor.nodes() {
        let Operator::Binary(binary @ (Binary::Mul | Binary::Div)) = node.operator else { continue };
        let (Some(left), Some(right)) = (node.input(0), node.input(1)) else { continue };
        if carries(node.input(0)) && carries(node.input(1)) {
            // Twice the channels give four times their product.
            return None;
        }
        let scaled = |value: ValueId| observed.contains(&value) || scores.contains(&value);
        let constant = match (scaled(left), scaled(right)) {
            (true, false) => right,
            (false, true) if binary == Binary::Mul => left,
            _ => continue,
        };
        let number = |graph: &Graph, id: ValueId| -> Option<f64> {
            let tensor = graph.initializer(id).filter(|tensor| tensor.len() == 1)?;
            Some(f64::from(*tensor.to_f32()?.first()?))
        };
        let (Some(of_anchor), Some(own)) = (number(anchor, constant), number(model, *values.get(&constant)?)) else {
            continue;
        };
        if of_anchor == own {
            continue;
        }
        ratio *= if binary == Binary::Mul { own / of_anchor } else { of_anchor / own };
    }
    (ratio > 0.0 && ratio.is_finite()).then(|| ratio.sqrt() as f32)
}

/// Whether twice the input gives twice the output, biases of the group being scaled too.
fn is_linear_in_its_inputs(operator: &Operator) -> bool {
    operator.copies_elements()
        || matches!(
            operator,
            Operator::Gemm(_)
                | Operator::MatMul
                | Operator::Binary(Binary::Add | Binary::Sub | Binary::Mul | Binary::Div)
                | Operator::Concat { .. }
        )
}
