//! What the search comes to: what is bound, what only one side has, and what cannot be told.

use std::collections::{HashMap, HashSet};

use otfuse_graph::{NodeId, Operator, Tensor, ValueId};

use super::super::binding::Binding;
use super::super::views::Order;
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

impl Search<'_> {
    pub(super) fn finish(mut self) -> Result<Found, Vec<TensorProblem>> {
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
            let meant = |candidate: &&&Candidate| candidate.shape.iter().product::<usize>() == tensor.len();
            // All zeros may be a parameter that began as such, or nothing at all.
            let says_nothing = tensor.is_empty() || tensor.is_uniform();
            if says_nothing && (tensor.len() <= 1 || !strangers.iter().any(|candidate| meant(&candidate))) {
                continue;
            }
            let is_parameter = ["weight", "bias"].iter().any(|leaf| open.name.ends_with(&format!(".{leaf}")));
            if is_parameter || strangers.iter().any(|candidate| meant(&candidate)) || self.has_lost_parameter(&open) {
                let problem = TensorProblem::Missing { tensor: open.name.clone(), expected: tensor.shape().into() };
                self.problems.push(problem);
                continue;
            }
            constants.push(open.id);
            if tensor.len() > 1 {
                told.push(format!("'{}' of shape {:?}", open.name, tensor.shape()));
            }
        }
        let modules: HashSet<&str> =
            used.iter().map(|key| module_of(key)).filter(|module| !module.is_empty()).collect();
        let mut unused = Vec::new();
        let missing = self.problems.len();
        for stranger in &strangers {
            let leaf = stranger.name.rsplit('.').next().unwrap_or_default();
            let is_parameter = ["weight", "bias", "running_mean", "running_var"].contains(&leaf);
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
        if !self.problems.is_empty() {
            self.problems.dedup();
            return Err(self.problems);
        }
        let merged = self.merged();
        let mut notes = Vec::new();
        if !told.is_empty() {
            notes.push(format!("not in the checkpoint, kept as they are in the ONNX file: {}", listed(&told)));
        }
        if !unused.is_empty() {
            notes.push(format!("no part of the network, kept as they are in the anchor: {}", listed(&unused)));
        }
        Ok(Found { bindings: self.bindings, tensors, constants, biases, merged, notes })
    }

    fn mismatch(&self, binding: &Binding, wanted: &Tensor) -> TensorProblem {
        let key = binding.keys().first().copied().unwrap_or_default().to_owned();
        let found = self.dict.get(&key);
        let describe = |tensor: &Tensor| format!("{} of shape {:?}", tensor.data_type(), tensor.shape());
        TensorProblem::Mismatch {
            tensor: key,
            expected: describe(wanted),
            found: found.map_or_else(|| "none".into(), describe),
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

    /// Tensors of the graph that stand for one tensor of the checkpoint: the second is the first, with axes of length 1 in front
    /// where it has more axes.
    fn merged(&self) -> Vec<Twin> {
        let mut first: HashMap<(&str, &Order), (&str, ValueId)> = HashMap::new();
        let mut merged = Vec::new();
        for binding in self.bindings.iter().filter(|binding| binding.permutation.is_none()) {
            let (Some(key), Some(id)) = (binding.whole(), self.graph.find_value(&binding.initializer)) else {
                continue;
            };
            let (name, known) = *first.entry((key, &binding.permutation)).or_insert((&binding.initializer, id));
            if name == binding.initializer {
                continue;
            }
            let rank = |id: ValueId| self.graph.initializer(id).map_or(0, |tensor| tensor.shape().len());
            if rank(id) >= rank(known) {
                merged.push(Twin { gone: id, first: known, axes: rank(id) - rank(known) });
            }
        }
        merged
    }
}

/// A tensor of the graph that is another one.
pub(in super::super) struct Twin {
    pub(in super::super) gone: ValueId,
    pub(in super::super) first: ValueId,
    /// So many axes of length 1 stand in front of the other one's.
    pub(in super::super) axes: usize,
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
