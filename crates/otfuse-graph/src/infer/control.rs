//! Control flow: element types follow from the bodies, lengths only where they cannot vary.

use super::Facts;
use super::fact::Fact;
use super::scope::Scope;
use crate::{Body, Scan};

/// What a body says of its outputs by itself. Nothing, where its shapes do not fit: a branch that is never taken, or a
/// loop that never runs, does no harm.
fn outputs(body: &Body) -> Vec<Fact> {
    let facts = Facts::of(&body.graph).ok();
    let fact = |&id: &crate::ValueId| {
        let found = facts.as_ref().map(|facts| facts.fact(id));
        found.map(|fact| Fact::new(fact.data_type, fact.shape.clone())).unwrap_or_default()
    };
    body.graph.outputs().iter().map(fact).collect()
}

/// The element type, without lengths: names of lengths mean something else inside of a body.
fn type_of(fact: &Fact) -> Fact {
    Fact::new(fact.data_type, None)
}

/// Lengths are known where both branches agree on numbers.
pub(super) fn of_branches(then_branch: &Body, else_branch: &Body) -> Vec<Fact> {
    let agreed = |(yes, no): (Fact, Fact)| match (yes.known_shape(), no.known_shape()) {
        (Some(one), Some(other)) if one == other => yes,
        _ => Fact::new(yes.data_type.or(no.data_type), None),
    };
    outputs(then_branch).into_iter().zip(outputs(else_branch)).map(agreed).collect()
}

/// States keep their types; of results nothing but the type is known.
pub(super) fn of_loop(scope: &Scope<'_>, body: &Body, states: usize) -> Vec<Fact> {
    let found = outputs(body);
    let results = found.iter().skip(1).enumerate();
    results.map(|(at, fact)| if at < states { type_of(scope.input(2 + at)) } else { type_of(fact) }).collect()
}

/// As [`of_loop`], without conditions.
pub(super) fn of_scan(scope: &Scope<'_>, scan: &Scan) -> Vec<Fact> {
    let found = outputs(&scan.body);
    let results = found.iter().enumerate();
    results.map(|(at, fact)| if at < scan.states { type_of(scope.input(at)) } else { type_of(fact) }).collect()
}
