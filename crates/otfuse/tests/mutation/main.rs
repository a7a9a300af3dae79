//! Spoiling any one axis rule makes the proof of a small network fail.

mod elementwise;
mod layers;
mod moves;
mod workshop;

use std::panic::{AssertUnwindSafe, catch_unwind};

use otfuse::graph::{AxisRule, Change, Graph, Mutation, NeuronGroups, Operator};
use otfuse::runtime::Host;
use otfuse::{verify_graph, verify_groups};

/// Operators whose rules state nothing that could be spoilt: a number without axes, and elements that are all equal.
const NOTHING_STATED: [&str; 2] = ["ConstantOfShape", "Size"];

/// A network whose function depends on the rule of an operator; `None` for an operator that cannot be executed, and for
/// control flow, which has no rule.
fn network(operator: &Operator) -> Option<Graph> {
    if matches!(operator, Operator::Random(_) | Operator::If { .. } | Operator::Loop { .. } | Operator::Scan(_)) {
        return None;
    }
    let found = elementwise::network(operator).or_else(|| layers::network(operator));
    let found = found.or_else(|| moves::network(operator));
    Some(found.unwrap_or_else(|| panic!("{}: no network", operator.name())))
}

/// Orders that a proof is repeated with: one alone may happen to keep which neurons are active.
const SEEDS: [u64; 3] = [1, 2, 3];

/// Whether a proof of a network with a spoilt rule fails: an error, or outputs that differ.
fn is_noticed(graph: &Graph, mutation: &Mutation) -> bool {
    SEEDS.iter().any(|&seed| is_noticed_by(graph, mutation, seed))
}

fn is_noticed_by(graph: &Graph, mutation: &Mutation, seed: u64) -> bool {
    // A wrong rule may well contradict itself.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let groups = NeuronGroups::mutated(graph, mutation).expect("shapes that agree");
        verify_groups(graph, groups, seed, &Host::default())
    }));
    !matches!(outcome, Ok(Ok(proof)) if proof.is_ok())
}

#[test]
fn every_spoilt_rule_is_noticed() {
    let mut unnoticed = Vec::new();
    let mut checked = 0;
    for operator in Operator::one_of_each() {
        let name = operator.name();
        if NOTHING_STATED.contains(&name) {
            continue;
        }
        let Some(graph) = network(&operator) else {
            assert!(matches!(operator.axis_rule(), AxisRule::Pins(_)), "{name} has a rule, but no network");
            continue;
        };
        assert!(graph.nodes().any(|(_, node)| node.operator.name() == name), "{name} is not in its network");
        for seed in SEEDS {
            let proof = verify_graph(&graph, seed, &Host::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(proof.is_ok(), "{name}: the rule itself fails by {:e}", proof.max_rel_error);
        }
        for change in [Change::Remove, Change::Shift] {
            let mutation = Mutation { operator: name.to_owned(), change };
            if !is_noticed(&graph, &mutation) {
                unnoticed.push(mutation);
            }
            checked += 1;
        }
    }
    assert!(unnoticed.is_empty(), "{unnoticed:#?}");
    assert!(checked > 250, "{checked} mutations");
}
