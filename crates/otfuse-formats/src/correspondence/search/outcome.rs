//! What the search comes to: what is bound, what only one side has, and what cannot be told.

use std::collections::{HashMap, HashSet};

use otfuse_graph::{NodeId, Operator, Tensor, ValueId};

use super::super::binding::{Binding, Source, inverse};
use super::{Candidate, Open, Search, repeated};
use crate::model::TensorProblem;

/// So many tensors are named in a note.
const MOST_NAMES: usize = 3;

/// All that was found.
pub(in super::super) struct Found {
    pub(in super::super) bindings: Vec<Binding>,
    pub(in super::super) tensors: Vec<(ValueId, Tensor)>,
    /// Tensors that no training changed.
    pub(in super::super) constants: Vec<ValueId>,
    /// Biases that the exporter left out, since they were zero in the network that it was given.
    pub(in super::super) biases: Vec<(NodeId, usize, String)>,
    /// Tensors that are one tensor of the checkpoint.
    pub(in super::super) merged: Vec<Twin>,
    pub(in super::super) notes: Vec<String>,
}

/// What a tensor of the graph is that nothing is bound to.
enum Verdict {
    /// A parameter that the checkpoint should have.
    Missing,
    /// Zeros or ones that say nothing.
    Nothing,
    /// A constant of the architecture.
    Constant,
}

/// Where a tensor has the form of some neighbouring rows of a table: the elements before the axis that is shorter, the table's
/// length of that, and the elements behind it.
fn part_of(part: &[usize], table: &[usize]) -> Option<(usize, usize, usize)> {
    let long = |shape: &[usize]| shape.iter().copied().filter(|&length| length != 1).collect::<Vec<_>>();
    let (part, table) = (long(part), long(table));
    if part.len() != table.len() || table.len() < 2 {
        return None;
    }
    let mut unequal = (0..part.len()).filter(|&axis| part[axis] != table[axis]);
    let (axis, others) = (unequal.next()?, unequal.next());
    let is_part = others.is_none() && part[axis] < table[axis];
    is_part.then(|| (table[..axis].iter().product(), table[axis], table[axis + 1..].iter().product()))
}

/// For each axis of `to` that of `from`, where both have the same lengths but for the places of axes of length 1.
fn moved_ones(from: &[usize], to: &[usize]) -> Option<Vec<usize>> {
    let places = |of_one: bool| (0..from.len()).filter(move |&axis| (from[axis] == 1) == of_one);
    let (mut ones, mut others) = (places(true), places(false));
    let order: Vec<usize> =
        to.iter().map(|&length| if length == 1 { ones.next() } else { others.next() }).collect::<Option<_>>()?;
    let is_same = from.len() == to.len() && order.iter().zip(to).all(|(&axis, &length)| from[axis] == length);
    is_same.then_some(order)
}

impl Search<'_> {
    /// What is wrong with a tensor of the graph that nothing was found for: integers of its name, as quantised weights are, are none
    /// of its numbers.
    fn missing(&self, name: &str, wanted: &Tensor) -> TensorProblem {
        let own = self.names.key(name).and_then(|key| self.dict.get(key));
        match own.filter(|own| !own.data_type().is_float()) {
            Some(own) => {
                TensorProblem::Mismatch { tensor: name.to_owned(), expected: wanted.into(), found: own.into() }
            }
            None => TensorProblem::Missing { tensor: name.to_owned(), expected: wanted.shape().into() },
        }
    }

    /// Says which axis is which where a tensor has its elements in the order of the checkpoint's, but its axes of length 1 at other
    /// places: a layer of one output is a row in a module and a column in a product.
    fn turn_vectors(&mut self) {
        for at in 0..self.bindings.len() {
            let binding = &self.bindings[at];
            let own = binding.whole().and_then(|key| self.dict.get(key)).map(Tensor::shape);
            let wanted = self.graph.find_value(&binding.initializer).and_then(|id| self.graph.initializer(id));
            let (Some(own), Some(wanted), None) = (own, wanted.map(Tensor::shape), &binding.permutation) else {
                continue;
            };
            if own != wanted
                && let Some(order) = moved_ones(wanted, own)
            {
                self.bindings[at].permutation = Some(order);
            }
        }
    }

    pub(super) fn finish(mut self) -> Result<Found, Vec<TensorProblem>> {
        self.turn_vectors();
        let biases = self.left_out_biases();
        let mut used = self.used();
        used.extend(biases.iter().map(|(_, _, key)| key.clone()));
        // What has another form is said already.
        let told_of = |name: &str| {
            let is_same =
                |problem: &TensorProblem| matches!(problem, TensorProblem::Mismatch { tensor, .. } if tensor == name);
            self.problems.iter().any(is_same)
        };
        let mismatched: HashSet<String> =
            self.candidates.iter().map(|candidate| candidate.name.clone()).filter(|name| told_of(name)).collect();
        let is_left = |candidate: &&Candidate| {
            let name = &candidate.name;
            self.dict.contains(name) && !used.contains(name) && !mismatched.contains(name)
        };
        let strangers: Vec<&Candidate> = self.candidates.iter().filter(is_left).collect();
        let mut constants = Vec::new();
        let mut told = Vec::new();
        for open in self.open() {
            let Some(tensor) = self.tensor(&open) else { continue };
            if self.names.key(&open.name).is_some_and(|key| mismatched.contains(key)) {
                continue;
            }
            match self.verdict(&open, tensor, &strangers, &used) {
                Verdict::Missing => {
                    let problem = self.missing(&open.name, tensor);
                    self.problems.push(problem);
                }
                Verdict::Nothing => {}
                Verdict::Constant => {
                    constants.push(open.id);
                    if tensor.len() > 1 {
                        told.push(format!("'{}' of shape {:?}", open.name, tensor.shape()));
                    }
                }
            }
        }
        let modules: HashSet<&str> =
            used.iter().map(|key| module_of(key)).filter(|module| !module.is_empty()).collect();
        let mut unused = Vec::new();
        let missing = self.problems.len();
        for stranger in &strangers {
            let leaf = stranger.name.rsplit('.').next().unwrap_or_default();
            let is_parameter = ["weight", "bias", "running_mean", "running_var"].iter().any(|end| leaf.ends_with(end));
            if (is_parameter && modules.contains(module_of(&stranger.name))) || missing > 0 {
                let problem =
                    TensorProblem::Unexpected { tensor: stranger.name.clone(), found: stranger.shape.clone() };
                self.problems.push(problem);
            } else {
                unused.push(format!("'{}'", stranger.name));
            }
        }
        let mut tensors = Vec::new();
        for binding in &self.bindings {
            let Some(id) = self.graph.find_value(&binding.initializer) else { continue };
            let Some(wanted) = self.graph.initializer(id) else { continue };
            let vector = repeated(wanted).filter(|_| self.shrunk.contains(&id));
            match binding.read(self.dict, vector.as_ref().unwrap_or(wanted)) {
                Some(tensor) => tensors.push((id, tensor)),
                None => self.problems.push(self.mismatch(binding, wanted)),
            }
        }
        let merged = match self.merged() {
            Ok(merged) if self.problems.is_empty() => merged,
            merged => {
                self.problems.extend(merged.err());
                self.problems.dedup();
                return Err(self.problems);
            }
        };
        let mut notes = Vec::new();
        if !told.is_empty() {
            notes.push(format!(
                "not in the checkpoint, kept as they are in the ONNX file: {}; if weights are behind them, export it with \
                 dynamo=True, optimize=False",
                listed(&told)
            ));
        }
        if !unused.is_empty() {
            notes.push(format!("no part of the network, kept as they are in the anchor: {}", listed(&unused)));
        }
        Ok(Found { bindings: self.bindings, tensors, constants, biases, merged, notes })
    }

    /// What a tensor of the graph is that nothing in the checkpoint is bound to.
    fn verdict(&self, open: &Open, tensor: &Tensor, strangers: &[&Candidate], used: &HashSet<String>) -> Verdict {
        let is_bound = |first: &String| self.bindings.iter().any(|binding| binding.initializer == *first);
        let is_lost_copy = self.original(&open.name).is_some_and(is_bound);
        if tensor.len() > 1 && (is_lost_copy || self.stands_for_an_argument(open, used)) {
            return Verdict::Missing;
        }
        // A table of queries, say, once more for each sample, or what a layer makes of them.
        let is_repeated = |table: &[usize]| table.len() > 1 && tensor.shape().ends_with(table);
        let is_meant = strangers.iter().any(|candidate| {
            candidate.shape.iter().product::<usize>() == tensor.len() || is_repeated(&candidate.shape)
        });
        // All zeros may be a parameter that began as such, or nothing at all.
        let says_nothing = tensor.is_empty() || tensor.is_uniform();
        if says_nothing && (tensor.len() <= 1 || !is_meant) {
            return Verdict::Nothing;
        }
        let is_parameter = ["weight", "bias"].iter().any(|leaf| open.name.ends_with(&format!(".{leaf}")));
        let parts: Vec<bool> = strangers.iter().filter_map(|stranger| self.is_part(tensor, stranger)).collect();
        let is_other_part = !parts.is_empty() && !parts.contains(&true);
        if is_parameter || is_meant || is_other_part || self.has_lost_parameter(open) || self.is_of_layer(open) {
            return Verdict::Missing;
        }
        Verdict::Constant
    }

    /// Whether a tensor of the form of some rows of a table in the checkpoint is such rows: exporters compute what reads a part of a
    /// table of positions beforehand. Nothing where the form is another.
    fn is_part(&self, part: &Tensor, table: &Candidate) -> Option<bool> {
        let (before, count, after) = part_of(part.shape(), &table.shape)?;
        let (part, own) =
            (part.to_f32()?, self.dict.get(&table.name).filter(|own| own.data_type().is_float())?.to_f32()?);
        let length = part.len() / (before * after).max(1);
        let rows = |outer: usize, from: usize| &own[(outer * count + from) * after..][..length * after];
        let is_at = |from: usize| {
            part.chunks_exact((length * after).max(1)).enumerate().all(|(outer, part)| part == rows(outer, from))
        };
        Some((0..=count - length).any(is_at))
    }

    fn mismatch(&self, binding: &Binding, wanted: &Tensor) -> TensorProblem {
        let key = binding.keys().first().copied().unwrap_or_default().to_owned();
        match self.dict.get(&key) {
            Some(own) => TensorProblem::Mismatch { tensor: key, expected: wanted.into(), found: own.into() },
            None => TensorProblem::Missing { tensor: key, expected: wanted.shape().into() },
        }
    }

    /// Whether the call that reads a constant was given a parameter that the checkpoint does not have.
    fn has_lost_parameter(&self, open: &Open) -> bool {
        let Some(origin) = self.origin(open.reader) else { return false };
        let lost = |argument: &String| {
            let is_bound = self.names.key_of_mangled(argument).is_some();
            !is_bound && (argument.ends_with("_weight") || argument.ends_with("_bias"))
        };
        origin.arguments.iter().any(lost)
    }

    /// Whether the call that reads a constant was given a parameter that nothing was found for: the constant was made of it.
    fn stands_for_an_argument(&self, open: &Open, used: &HashSet<String>) -> bool {
        let Some(origin) = self.origin(open.reader) else { return false };
        let keys = origin.arguments.iter().filter_map(|argument| self.names.key_of_mangled(argument));
        keys.into_iter().any(|key| !used.contains(key) && self.dict.get(key).is_some_and(|own| own.len() > 1))
    }

    /// Whether a constant was computed from a layer's own tensors: it is read as the weight of a layer whose own has an axis
    /// of the same length, or as the bias of one whose weight was found.
    fn is_of_layer(&self, open: &Open) -> bool {
        let (Some(tensor), Some((node, position))) = (self.tensor(open), open.reader) else { return false };
        let node = self.graph.node(node);
        let is_layer = matches!(node.operator, Operator::Conv(_) | Operator::ConvTranspose(_) | Operator::Gemm(_));
        if is_layer && position == 2 {
            let weight = node.input(1).map(|weight| &self.graph.value(weight).name);
            return self.bindings.iter().any(|binding| Some(&binding.initializer) == weight);
        }
        let about = self.origin(open.reader).map(|origin| self.about(origin)).unwrap_or_default();
        let is_weight = tensor.shape().len() > 1 && self.is_role(open, "weight");
        let own = about.iter().filter_map(|key| self.dict.get(key)).filter(|own| own.shape().len() > 1);
        let of_length = |length: &usize| *length > 1 && tensor.shape().contains(length);
        is_weight && own.into_iter().any(|own| own.shape().iter().any(of_length))
    }

    /// The biases of layers that the graph has without.
    fn left_out_biases(&self) -> Vec<(NodeId, usize, String)> {
        let used = self.used();
        let by_name: HashMap<&str, &Binding> =
            self.bindings.iter().map(|binding| (binding.initializer.as_str(), binding)).collect();
        let mut found = Vec::new();
        for (id, node) in self.graph.nodes() {
            let is_layer = matches!(node.operator, Operator::Conv(_) | Operator::ConvTranspose(_) | Operator::Gemm(_));
            let Some(weight) = node.input(1).filter(|_| is_layer && node.input(2).is_none()) else { continue };
            let Some(binding) = by_name.get(self.graph.value(weight).name.as_str()) else { continue };
            let Some(key) = binding.keys().first().copied() else { continue };
            let bias = match key.rsplit_once('.') {
                Some((module, _)) => format!("{}.bias", module.trim_end_matches(".parametrizations.weight")),
                None => "bias".into(),
            };
            if self.dict.contains(&bias) && !used.contains(&bias) {
                found.push((id, 2, bias));
            }
        }
        found
    }

    /// Tensors of the graph that stand for the same of the checkpoint are one of them, the one with the fewest axes; the
    /// others have its axes in another order, or axes of length 1 in front. The error names one of which neither holds, or
    /// that is a part of what another one is: each would get values of its own.
    fn merged(&self) -> Result<Vec<Twin>, TensorProblem> {
        let mut alike: Vec<Vec<(&Binding, ValueId, &Tensor)>> = Vec::new();
        let mut of_key: HashMap<&str, Vec<usize>> = HashMap::new();
        for binding in &self.bindings {
            let id = self.graph.find_value(&binding.initializer);
            let Some((id, tensor)) = id.and_then(|id| Some((id, self.graph.initializer(id)?))) else { continue };
            // A tensor may lie in another one in several pieces.
            let mut keys = binding.keys();
            keys.sort_unstable();
            keys.dedup();
            let of_first = keys.first().and_then(|key| of_key.get(key)).into_iter().flatten().copied();
            let known = of_first.into_iter().find(|&at| alike[at][0].0.source == binding.source);
            match known {
                Some(at) if alike[at].iter().any(|(_, other, _)| *other == id) => {}
                Some(at) => alike[at].push((binding, id, tensor)),
                None => {
                    for key in keys {
                        let others = of_key.entry(key).or_default();
                        if others.iter().any(|&at| alike[at][0].1 != id && overlap(alike[at][0].0, binding, key)) {
                            return Err(missing(binding, tensor));
                        }
                        others.push(alike.len());
                    }
                    alike.push(vec![(binding, id, tensor)]);
                }
            }
        }
        let mut merged = Vec::new();
        for tensors in &mut alike {
            tensors.sort_by_key(|(_, id, tensor)| (tensor.shape().len(), *id));
            let [(binding, first, tensor), others @ ..] = tensors.as_slice() else { continue };
            for (other, gone, wanted) in others {
                let axes = wanted.shape().len() - tensor.shape().len();
                let order = match (&binding.permutation, &other.permutation) {
                    (a, b) if a == b && (axes == 0 || a.is_none()) => Some(None),
                    (a, b) if axes == 0 => order_between(a.as_deref(), b.as_deref(), tensor, wanted).map(Some),
                    _ => None,
                };
                let order = order.ok_or_else(|| missing(other, wanted))?;
                merged.push(Twin { gone: *gone, first: *first, axes, order });
            }
        }
        merged.sort_by_key(|twin| twin.gone);
        Ok(merged)
    }
}

fn missing(binding: &Binding, tensor: &Tensor) -> TensorProblem {
    TensorProblem::Missing { tensor: binding.initializer.clone(), expected: tensor.shape().into() }
}

/// Whether two bindings have elements of a tensor of the checkpoint in common.
fn overlap(a: &Binding, b: &Binding, key: &str) -> bool {
    let ranges = |binding: &Binding| match &binding.source {
        Source::Pieces(pieces) => {
            pieces.iter().filter(|piece| piece.key == key).map(|piece| piece.range.clone()).collect()
        }
        _ => vec![None],
    };
    let b = ranges(b);
    ranges(a).iter().any(|a| {
        b.iter().any(|b| match (a, b) {
            (Some(a), Some(b)) => a.start < b.end && b.start < a.end,
            _ => true,
        })
    })
}

/// The order of the axes of a tensor in which it is another one, where both say in which order they are the checkpoint's.
fn order_between(
    first: Option<&[usize]>,
    other: Option<&[usize]>,
    tensor: &Tensor,
    wanted: &Tensor,
) -> Option<Vec<usize>> {
    let stay: Vec<usize> = (0..tensor.shape().len()).collect();
    let back = inverse(other.unwrap_or(&stay));
    let first = first.unwrap_or(&stay);
    let order: Vec<usize> = back.into_iter().map(|axis| first.get(axis).copied()).collect::<Option<_>>()?;
    let found = order.iter().map(|&axis| tensor.shape().get(axis));
    found.eq(wanted.shape().iter().map(Some)).then_some(order)
}

/// A tensor of the graph that is another one.
pub(in super::super) struct Twin {
    pub(in super::super) gone: ValueId,
    pub(in super::super) first: ValueId,
    /// So many axes of length 1 stand in front of the other one's.
    pub(in super::super) axes: usize,
    /// The other one's axes in this order, if in another one.
    pub(in super::super) order: Option<Vec<usize>>,
}

fn module_of(key: &str) -> &str {
    key.rsplit_once('.').map_or("", |(module, _)| module)
}

fn listed(names: &[String]) -> String {
    let shown = names.iter().take(MOST_NAMES).cloned().collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(MOST_NAMES) {
        Some(more) if more > 0 => format!("{shown} and {more} more"),
        _ => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::{moved_ones, part_of};

    #[test]
    fn parts_of_tables_are_some_rows() {
        assert_eq!(part_of(&[4, 12], &[6, 12]), Some((1, 6, 12)));
        assert_eq!(part_of(&[1, 4, 12], &[6, 12]), Some((1, 6, 12)));
        assert_eq!(part_of(&[3, 2, 5], &[3, 4, 5]), Some((3, 4, 5)));
        for other in [&[6, 12][..], &[8, 12], &[4, 10], &[12], &[4]] {
            assert_eq!(part_of(other, &[6, 12]), None, "{other:?}");
        }
        assert_eq!(part_of(&[4], &[6]), None);
    }

    #[test]
    fn axes_of_length_one_may_stand_elsewhere() {
        assert_eq!(moved_ones(&[7, 1], &[1, 7]), Some(vec![1, 0]));
        assert_eq!(moved_ones(&[1, 7, 3], &[7, 1, 3]), Some(vec![1, 0, 2]));
        assert_eq!(moved_ones(&[7, 3], &[3, 7]), None);
        assert_eq!(moved_ones(&[7], &[1, 7]), None);
    }
}
