//! Finds the state dict inside a checkpoint.

use std::collections::HashSet;

use super::module;
use super::numpy::array;
use super::pickle::{Arena, Value, ValueId, is_foreign_tensor};
use crate::FormatError;
use crate::error::{Blame, UNDER};
use crate::state_dict::{Ignored, MAX_IGNORED};

/// Keys under which training programs customarily keep the weights, the most telling first.
const CUSTOMARY_KEYS: [&str; 14] = [
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "module",
    "weights",
    "model_weights",
    "params",
    "parameters",
    "net_state_dict",
    "network_state_dict",
    "ema",
];

/// What is said of a state dict that was not chosen.
pub(crate) const ANOTHER: &str = "another state dict";

/// Parts of keys whose values belong to the training, not to the model.
const TRAINING_KEYS: [&str; 4] = ["optim", "sched", "scaler", "rng_state"];

/// Checkpoints nest by two or three levels.
const MAX_DEPTH: usize = 32;

/// The most candidates that a message lists.
const MAX_LISTED: usize = 20;

/// A mapping of names to tensors, or a module.
#[derive(Clone, Copy)]
pub(super) struct Candidate {
    pub(super) value: ValueId,
    pub(super) is_module: bool,
    /// The step that leads here; `None` at the root.
    place: Option<usize>,
    /// Whether it holds more than scalars, which are rather counters and scores.
    has_arrays: bool,
    /// Whether tensors are the greater part of it.
    mostly_tensors: bool,
}

/// The outcome of a search.
pub(super) struct Found {
    pub(super) chosen: Candidate,
    /// The keys that lead to it.
    pub(super) path: Vec<String>,
    pub(super) ignored: Vec<Ignored>,
}

/// A step from a container to something in it. Keys stay in the arena: a pickle can use a long one many times.
struct Step {
    parent: Option<usize>,
    depth: usize,
    key: Key,
}

#[derive(Clone, Copy)]
enum Key {
    Name(ValueId),
    Index(usize),
}

/// The walk over a checkpoint.
struct Search<'a> {
    arena: &'a Arena,
    steps: Vec<Step>,
    candidates: Vec<Candidate>,
    /// Dicts of arrays of NumPy, which count where there are no tensors at all: beside tensors they are records.
    of_arrays: Vec<Candidate>,
    ignored: Vec<Ignored>,
}

/// Finds the state dict under a value: the one at the path `wanted`, or else the only one, or else the one under the
/// most customary key.
pub(super) fn find(blame: Blame<'_>, arena: &Arena, root: ValueId, wanted: Option<&str>) -> Result<Found, FormatError> {
    let mut search =
        Search { arena, steps: Vec::new(), candidates: Vec::new(), of_arrays: Vec::new(), ignored: Vec::new() };
    search.walk(root);
    if search.candidates.is_empty() {
        search.candidates = std::mem::take(&mut search.of_arrays);
    }
    let index = match wanted {
        Some(wanted) => {
            let position = search.candidates.iter().position(|candidate| search.leads_to(*candidate, wanted));
            position.ok_or_else(|| {
                let others = search.listed(0..search.candidates.len());
                let found = if others.is_empty() { "none at all".into() } else { others.join(", ") };
                blame.missing(format_args!("{UNDER} {wanted:?} (there is {found})"))
            })?
        }
        None => search.choose(blame, root)?,
    };
    let chosen = search.candidates.remove(index);
    let others = search.candidates.iter().filter(|other| other.has_arrays).take(MAX_LISTED);
    let others: Vec<_> = others.map(|other| Ignored::new(&search.shown(*other), ANOTHER)).collect();
    let path = search.path(chosen.place);
    search.ignored.extend(others);
    Ok(Found { chosen, path, ignored: search.ignored })
}

impl Search<'_> {
    /// Walks dicts, lists and attributes, each value once.
    fn walk(&mut self, root: ValueId) {
        let arena = self.arena;
        let mut seen = HashSet::new();
        let mut pending: Vec<(ValueId, Option<usize>)> = vec![(root, None)];
        while let Some((value, place)) = pending.pop() {
            if !seen.insert(value) {
                continue;
            }
            if module::attributes(arena, value).is_some() || module::script_attributes(arena, value).is_some() {
                let (has_arrays, mostly_tensors) = (true, true);
                self.candidates.push(Candidate { value, is_module: true, place, has_arrays, mostly_tensors });
                continue;
            }
            if arena.lookup(value, "param_groups").is_some() {
                self.ignore(place, "the state of an optimizer");
                continue;
            }
            self.consider_dict(value, place);
            let depth = place.map_or(0, |place| self.steps[place].depth) + 1;
            if depth > MAX_DEPTH {
                continue;
            }
            let first = pending.len();
            for (key, child) in children(arena, value) {
                if !may_hold_tensors(arena, child) {
                    continue;
                }
                self.steps.push(Step { parent: place, depth, key });
                let step = Some(self.steps.len() - 1);
                match key {
                    Key::Name(name) if is_training_key(arena, name) => self.ignore(step, "state of the training"),
                    _ => pending.push((child, step)),
                }
            }
            pending[first..].reverse();
        }
    }

    fn consider_dict(&mut self, value: ValueId, place: Option<usize>) {
        let arena = self.arena;
        let entries = arena.entries(value).unwrap_or_default();
        let named = entries.iter().filter(|(name, _)| arena.text(*name).is_some()).map(|&(_, value)| value);
        let tensors = named.clone().filter(|&value| is_tensor(arena, value)).count();
        if tensors > 0 {
            let has_arrays = named.clone().any(|value| is_array(arena, value));
            let mostly_tensors = tensors * 2 > entries.len();
            self.candidates.push(Candidate { value, is_module: false, place, has_arrays, mostly_tensors });
            return;
        }
        let arrays = named.filter(|&value| array(arena, value).is_some_and(|array| array.rank() > 0)).count();
        if arrays > 0 {
            let mostly_tensors = arrays * 2 > entries.len();
            self.of_arrays.push(Candidate { value, is_module: false, place, has_arrays: true, mostly_tensors });
        }
    }

    fn ignore(&mut self, place: Option<usize>, found: &str) {
        if self.ignored.len() < MAX_IGNORED {
            let path = self.path(place).join(".");
            self.ignored.push(Ignored::new(&path, found));
        }
    }

    fn choose(&self, blame: Blame<'_>, root: ValueId) -> Result<usize, FormatError> {
        let candidates = &self.candidates;
        let with_arrays = candidates.iter().any(|candidate| candidate.has_arrays);
        let eligible: Vec<_> =
            (0..candidates.len()).filter(|&index| candidates[index].has_arrays || !with_arrays).collect();
        match eligible[..] {
            [] => {
                let found = match self.arena.get(root) {
                    Value::Tensor(_) => "a single tensor without a name".into(),
                    _ => format!("{} without named tensors", self.arena.describe(root)),
                };
                return Err(FormatError::NoStateDict { path: blame.0.into(), found });
            }
            [only] => return Ok(only),
            _ => {}
        }
        // A state dict at the root may hold further dicts (extra state); a checkpoint may hold a tensor or two.
        let at_root = eligible.iter().find(|&&index| candidates[index].place.is_none());
        if let Some(&index) = at_root
            && candidates[index].mostly_tensors
        {
            return Ok(index);
        }
        let ranks: Vec<_> = eligible.iter().map(|&index| (self.rank(candidates[index]), index)).collect();
        let best = ranks.iter().filter_map(|(rank, _)| *rank).min();
        let mut of_best = ranks.iter().filter(|(rank, _)| rank.is_some() && *rank == best);
        if let (Some(&(_, index)), None) = (of_best.next(), of_best.next()) {
            return Ok(index);
        }
        let candidates = self.listed(eligible.into_iter());
        Err(FormatError::AmbiguousStateDict { path: blame.0.into(), candidates })
    }

    /// How telling the last key is, then how near to the root: lower is better.
    fn rank(&self, candidate: Candidate) -> Option<(usize, usize)> {
        let step = &self.steps[candidate.place?];
        let Key::Name(name) = step.key else { return None };
        let key = self.arena.text(name)?;
        let rank = CUSTOMARY_KEYS.iter().position(|&customary| customary == key)?;
        Some((rank, step.depth))
    }

    /// The keys from the root to a place.
    fn path(&self, mut place: Option<usize>) -> Vec<String> {
        let mut path = Vec::new();
        while let Some(index) = place {
            let step = &self.steps[index];
            path.push(match step.key {
                Key::Name(name) => self.arena.text(name).unwrap_or_default().to_owned(),
                Key::Index(index) => index.to_string(),
            });
            place = step.parent;
        }
        path.reverse();
        path
    }

    /// Whether the keys to a candidate, joined by dots, are `wanted`.
    fn leads_to(&self, candidate: Candidate, wanted: &str) -> bool {
        let mut length = 0;
        let mut place = candidate.place;
        while let Some(index) = place {
            let step = &self.steps[index];
            length += 1 + match step.key {
                Key::Name(name) => self.arena.text(name).map_or(0, str::len),
                Key::Index(_) => 1,
            };
            place = step.parent;
        }
        // Long keys are not copied in vain.
        length <= wanted.len() + 1 && self.path(candidate.place).join(".") == wanted
    }

    fn shown(&self, candidate: Candidate) -> String {
        if candidate.place.is_none() { "the root".into() } else { self.path(candidate.place).join(".") }
    }

    fn listed(&self, indices: impl Iterator<Item = usize>) -> Vec<String> {
        indices.take(MAX_LISTED).map(|index| self.shown(self.candidates[index])).collect()
    }
}

/// What a container holds: elements, entries with text keys and attributes.
fn children(arena: &Arena, value: ValueId) -> impl Iterator<Item = (Key, ValueId)> {
    let (elements, state) = match arena.get(value) {
        Value::Object(object) => (&object.elements[..], object.state),
        _ => (arena.sequence(value).unwrap_or_default(), None),
    };
    let elements = elements.iter().enumerate().map(|(index, &child)| (Key::Index(index), child));
    let entries = arena.entries(value).unwrap_or_default().iter();
    let attributes = state.and_then(|state| arena.entries(state)).unwrap_or_default().iter();
    let named = entries.chain(attributes).filter(|(name, _)| arena.text(*name).is_some());
    elements.chain(named.map(|&(name, child)| (Key::Name(name), child)))
}

/// Whether a key is one of the training's own.
fn is_training_key(arena: &Arena, name: ValueId) -> bool {
    let key = arena.text(name).unwrap_or_default();
    let key = key.get(..key.len().min(64)).unwrap_or_default().to_ascii_lowercase();
    TRAINING_KEYS.iter().any(|part| key.contains(part))
}

/// Whether a value is a tensor, of whatever kind.
fn is_tensor(arena: &Arena, value: ValueId) -> bool {
    matches!(arena.get(value), Value::Tensor(_)) || is_foreign_tensor(arena, value)
}

/// Whether a value is a tensor of at least one axis.
fn is_array(arena: &Arena, value: ValueId) -> bool {
    match arena.get(value) {
        Value::Tensor(tensor) => arena.sequence(tensor.size).is_some_and(|size| !size.is_empty()),
        _ => is_foreign_tensor(arena, value),
    }
}

/// Whether a value is of a kind that the search walks into.
pub(super) fn may_hold_tensors(arena: &Arena, value: ValueId) -> bool {
    match arena.get(value) {
        Value::Dict(entries) => !entries.is_empty(),
        Value::Tuple(elements) | Value::List(elements) => !elements.is_empty(),
        Value::Object(object) => object.state.is_some() || !object.items.is_empty() || !object.elements.is_empty(),
        _ => false,
    }
}
