//! Whole modules: the names that `module.state_dict()` would give.

use std::collections::HashSet;

use super::pickle::{Arena, TensorReference, Value, ValueId, is_foreign_tensor};
use crate::FormatError;
use crate::error::Blame;
use crate::state_dict::Ignored;

/// Modules nest by a handful of levels; PyTorch itself recurses.
const MAX_DEPTH: usize = 256;

/// What a module holds, in the order of `state_dict()`.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) tensors: Vec<(String, TensorReference)>,
    pub(super) ignored: Vec<Ignored>,
}

/// Whether a value is an object of a subclass of `torch.nn.Module`; its attributes, if so.
pub(super) fn attributes(arena: &Arena, value: ValueId) -> Option<ValueId> {
    let Value::Object(object) = arena.get(value) else { return None };
    let state = object.state?;
    let is_dict = |key| arena.lookup(state, key).is_some_and(|id| matches!(arena.get(id), Value::Dict(_)));
    (is_dict("_parameters") && is_dict("_modules")).then_some(state)
}

/// Whether a value is a module of a TorchScript program; its attributes, if so.
pub(super) fn script_attributes(arena: &Arena, value: ValueId) -> Option<ValueId> {
    let Value::Object(object) = arena.get(value) else { return None };
    let (module, _) = arena.class(object.class)?;
    let state = object.state.filter(|_| module == "__torch__" || module.starts_with("__torch__."))?;
    arena.entries(state).map(|_| state)
}

/// The way through a module and those in it, and what it may cost.
struct Walk<'b> {
    blame: Blame<'b>,
    limit: u64,
    left: u64,
    /// Modules that are still to be seen, the prefix of their names and how deep they lie.
    pending: Vec<(ValueId, String, usize)>,
}

impl<'b> Walk<'b> {
    fn from(blame: Blame<'b>, module: ValueId, budget: u64) -> Self {
        Self { blame, limit: budget, left: budget, pending: vec![(module, String::new(), 0)] }
    }

    fn check(&self, depth: usize) -> Result<(), FormatError> {
        if depth <= MAX_DEPTH {
            return Ok(());
        }
        Err(self.blame.malformed("module", format!("modules nested by up to {MAX_DEPTH} levels"), "more"))
    }

    fn spend(&mut self, cost: u64) -> Result<(), FormatError> {
        let too_much = || self.blame.limit("module names", self.limit, self.limit + cost);
        self.left = self.left.checked_sub(cost).ok_or_else(too_much)?;
        Ok(())
    }
}

/// The tensors of a TorchScript module and of the modules in it, whose attributes lie side by side. `budget` as for
/// [`contents`].
pub(super) fn script_contents(
    blame: Blame<'_>,
    arena: &Arena,
    module: ValueId,
    budget: u64,
) -> Result<Contents, FormatError> {
    let mut contents = Contents::default();
    let mut walk = Walk::from(blame, module, budget);
    while let Some((module, prefix, depth)) = walk.pending.pop() {
        let Some(state) = script_attributes(arena, module) else { continue };
        walk.check(depth)?;
        let entries = arena.entries(state).unwrap_or_default();
        let cost = entries.iter().filter_map(|&(name, _)| arena.text(name)).map(|name| prefix.len() + name.len() + 1);
        walk.spend(cost.sum::<usize>() as u64)?;
        let mut children = Vec::new();
        for (name, value) in entries.iter().filter_map(|&(name, value)| Some((arena.text(name)?, value))) {
            match arena.get(value) {
                Value::Tensor(reference) => contents.tensors.push((format!("{prefix}{name}"), *reference)),
                Value::Object(_) => children.push((value, format!("{prefix}{name}."), depth + 1)),
                _ => {}
            }
        }
        walk.pending.extend(children.into_iter().rev());
    }
    Ok(contents)
}

/// The parameters and persistent buffers of a module and of the modules in it. `budget` bounds the work: a module
/// may be shared, so that the names multiply at every level.
pub(super) fn contents(blame: Blame<'_>, arena: &Arena, module: ValueId, budget: u64) -> Result<Contents, FormatError> {
    let mut contents = Contents::default();
    let mut walk = Walk::from(blame, module, budget);
    while let Some((module, prefix, depth)) = walk.pending.pop() {
        let Some(state) = attributes(arena, module) else {
            if !matches!(arena.get(module), Value::None) {
                contents.ignored.push(Ignored::new(&prefix, &arena.describe(module)));
            }
            continue;
        };
        walk.check(depth)?;
        let dict = |key| arena.lookup(state, key).and_then(|id| arena.entries(id)).unwrap_or_default();
        let lists = [dict("_parameters"), dict("_buffers"), dict("_modules")];
        let transient = transient_buffers(arena, state);
        let named = |index: usize| lists[index].iter().filter_map(|&(name, value)| Some((arena.text(name)?, value)));

        let names = lists.iter().flat_map(|list| list.iter()).filter_map(|&(name, _)| arena.text(name));
        let cost = names.map(|name| prefix.len() + name.len() + 1).sum::<usize>() + transient.len();
        walk.spend(cost as u64 + arena.entries(state).map_or(0, <[_]>::len) as u64)?;

        let tensors = named(0).chain(named(1).filter(|(name, _)| !transient.contains(name)));
        for (name, value) in tensors {
            let path = format!("{prefix}{name}");
            match arena.get(value) {
                Value::Tensor(reference) => contents.tensors.push((path, *reference)),
                Value::None => {}
                _ if is_foreign_tensor(arena, value) => {
                    return Err(blame.unsupported(
                        format_args!("tensor {path:?}"),
                        "a dense tensor",
                        arena.describe(value),
                    ));
                }
                _ => contents.ignored.push(Ignored::new(&path, &arena.describe(value))),
            }
        }
        let children: Vec<_> = named(2).map(|(name, child)| (child, format!("{prefix}{name}."), depth + 1)).collect();
        walk.pending.extend(children.into_iter().rev());
    }
    Ok(contents)
}

/// The names of the buffers that a state dict leaves out.
fn transient_buffers(arena: &Arena, state: ValueId) -> HashSet<&str> {
    match arena.lookup(state, "_non_persistent_buffers_set").map(|id| arena.get(id)) {
        Some(Value::Set(names)) => names.iter().filter_map(|&name| arena.text(name)).collect(),
        _ => HashSet::new(),
    }
}
