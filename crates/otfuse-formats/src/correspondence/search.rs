//! The search for counterparts.

use std::collections::{HashMap, HashSet};

use otfuse_graph::{Graph, GraphEditor, GraphError, Node, NodeId, Operator, Tensor, ValueId};

use super::binding::{Binding, Piece, Source};
use super::names::Names;
use super::parametrization::Parametrized;
use super::provenance::Origin;
use super::recurrent;
use super::table::Table;
use super::views::{Order, is_close, is_right_factor, is_uniform, orders};
use crate::StateDict;
use crate::model::TensorProblem;

/// So many differences are named.
pub(super) const MOST_PROBLEMS: usize = 5;

/// So many tensors are named in a note.
const MOST_NAMES: usize = 3;

/// What the checkpoint has for one tensor of the graph.
#[derive(Clone)]
struct Candidate {
    name: String,
    shape: Vec<usize>,
    source: Source,
}

/// A floating-point constant of the graph without a counterpart yet.
struct Open {
    id: ValueId,
    name: String,
    reader: Option<(NodeId, usize)>,
}

/// All that was found.
pub(super) struct Found {
    pub(super) bindings: Vec<Binding>,
    pub(super) tensors: Vec<(ValueId, Tensor)>,
    /// Tensors that no training changed.
    pub(super) constants: Vec<ValueId>,
    /// Biases that the exporter left out, since they were zero in the network that it was given.
    pub(super) biases: Vec<(NodeId, usize, String)>,
    /// Tensors that are one tensor of the checkpoint.
    pub(super) merged: Vec<Twin>,
    pub(super) notes: Vec<String>,
}

pub(super) struct Search<'a> {
    graph: &'a Graph,
    dict: &'a StateDict,
    origins: &'a HashMap<String, Origin>,
    names: &'a Names,
    candidates: Vec<Candidate>,
    by_name: HashMap<String, usize>,
    readers: HashMap<ValueId, Vec<(NodeId, usize)>>,
    /// The checkpoint that the graph was exported from, if it is known: values tell.
    witness: Option<&'a StateDict>,
    /// Copies of tensors that the file has once.
    pub(super) copies: HashMap<String, String>,
    /// Tensors that are vectors in the checkpoint.
    shrunk: Vec<ValueId>,
    pub(super) bindings: Vec<Binding>,
    pub(super) problems: Vec<TensorProblem>,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        graph: &'a Graph,
        dict: &'a StateDict,
        origins: &'a HashMap<String, Origin>,
        names: &'a Names,
        parametrized: Vec<Parametrized>,
        witness: Option<&'a StateDict>,
    ) -> Self {
        let floats = dict.iter().filter(|(_, tensor)| tensor.data_type().is_float());
        let mut candidates: Vec<Candidate> = floats
            .map(|(key, tensor)| Candidate {
                name: key.into(),
                shape: tensor.shape().into(),
                source: Source::Pieces(vec![Piece::whole(key)]),
            })
            .collect();
        candidates.extend(parametrized.into_iter().map(|Parametrized { name, shape, source }| Candidate {
            name,
            shape,
            source,
        }));
        let by_name = candidates.iter().enumerate().map(|(at, candidate)| (candidate.name.clone(), at)).collect();
        let readers = graph.consumers();
        Self {
            graph,
            dict,
            origins,
            names,
            candidates,
            by_name,
            readers,
            witness,
            copies: HashMap::new(),
            shrunk: Vec::new(),
            bindings: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Finds what there is to be found. The error is what differs.
    pub(super) fn run(mut self) -> Result<Found, Vec<TensorProblem>> {
        self.by_name();
        let file_node = |node: &Node| {
            let name = self.file_name(node);
            (name.to_owned(), self.origins.get(name).cloned().unwrap_or_default())
        };
        let recurrent = recurrent::bindings(self.graph, file_node, self.names, self.dict);
        self.bindings.extend(recurrent);
        self.by_origin();
        self.parts();
        self.tables();
        if self.witness.is_some() {
            self.by_value();
        }
        self.shared();
        self.by_shape();
        self.broadcast();
        self.twins();
        self.finish()
    }

    /// The name that a node has in the file: of one that is read as two, it stands in front of the operator's.
    fn file_name<'b>(&self, node: &'b Node) -> &'b str {
        if self.origins.contains_key(&node.name) {
            return &node.name;
        }
        let own = node.name.strip_suffix(node.operator.name()).and_then(|name| name.strip_suffix('_'));
        own.unwrap_or(&node.name)
    }

    fn origin(&self, reader: Option<(NodeId, usize)>) -> Option<&'a Origin> {
        self.origins.get(self.file_name(self.graph.node(reader?.0)))
    }

    fn open(&self) -> Vec<Open> {
        let bound: HashSet<&str> = self.bindings.iter().map(|binding| binding.initializer.as_str()).collect();
        let floats = self.graph.initializers().filter(|(id, _)| self.graph.is_weight(*id));
        let open = floats.map(|(id, _)| Open {
            id,
            name: self.graph.value(id).name.clone(),
            reader: self.readers.get(&id).and_then(|readers| readers.first().copied()),
        });
        open.filter(|open| !bound.contains(open.name.as_str())).collect()
    }

    fn used(&self) -> HashSet<String> {
        self.bindings.iter().flat_map(Binding::keys).map(str::to_owned).collect()
    }

    fn tensor(&self, open: &Open) -> Option<&'a Tensor> {
        self.graph.initializer(open.id)
    }

    /// The candidates of the names that are not taken: those of the names given, or all.
    fn free(&self, names: Option<&[&str]>) -> Vec<&Candidate> {
        let used = self.used();
        let all = |candidate: &&Candidate| names.is_none_or(|names| names.contains(&candidate.name.as_str()));
        let is_free = |candidate: &&Candidate| {
            let binding = Binding::of("", None, candidate.source.clone());
            !binding.keys().iter().any(|key| used.contains(*key))
        };
        self.candidates.iter().filter(all).filter(is_free).collect()
    }

    /// The ways in which a candidate fits a tensor, the likeliest first.
    fn fitting(&self, open: &Open, candidate: &Candidate) -> Vec<Binding> {
        let Some(tensor) = self.tensor(open) else { return Vec::new() };
        let mut found = orders(tensor.shape(), &candidate.shape);
        // An exporter transposes the weights of linear layers for products.
        if is_right_factor(self.graph, tensor, open.reader) && self.names.key(&open.name).is_none() {
            found.reverse();
        }
        let bindings = found.into_iter().map(|order| self.binding(open, order, candidate.source.clone()));
        bindings.filter(|binding| !self.witness.is_some() || self.has_value(open, binding)).collect()
    }

    fn binding(&self, open: &Open, order: Order, mut source: Source) -> Binding {
        // Of a square weight only the layer tells which axis is that of its outputs.
        let transposed =
            open.reader.is_some_and(|(node, _)| matches!(self.graph.node(node).operator, Operator::ConvTranspose(_)));
        if let (Source::SpectralNorm(norm), true) = (&mut source, transposed) {
            norm.take_axis(1, self.dict);
        }
        Binding::of(&open.name, order, source)
    }

    fn has_value(&self, open: &Open, binding: &Binding) -> bool {
        let (Some(tensor), Some(witness)) = (self.tensor(open), self.witness) else { return false };
        binding.read(witness, tensor).is_some_and(|found| is_close(&found, tensor))
    }

    fn by_name(&mut self) {
        let mut found = Vec::new();
        for open in self.open() {
            let Some(&at) = self.names.key(&open.name).and_then(|key| self.by_name.get(key)) else { continue };
            found.push((open, self.candidates[at].clone()));
        }
        // Square matrices are as the others are: an exporter transposes all or none.
        let reversed = |open: &Open, candidate: &Candidate| {
            let shape = self.tensor(open).map_or(&[][..], Tensor::shape);
            let is_factor = self.tensor(open).is_some_and(|tensor| is_right_factor(self.graph, tensor, open.reader));
            is_factor && matches!((shape, candidate.shape.as_slice()), (&[a, b], &[c, d]) if a == d && b == c)
        };
        let oblong = |candidate: &Candidate| !matches!(candidate.shape.as_slice(), [a, b] if a == b);
        let transposing = found.iter().any(|(open, candidate)| oblong(candidate) && reversed(open, candidate));
        let mut bindings = Vec::new();
        let mut problems = Vec::new();
        for (open, candidate) in &found {
            let Some(tensor) = self.tensor(open) else { continue };
            let mut fitting = orders(tensor.shape(), &candidate.shape);
            if transposing && reversed(open, candidate) {
                fitting.reverse();
            }
            match fitting.into_iter().next() {
                Some(order) => bindings.push(self.binding(open, order, candidate.source.clone())),
                None => problems.push(TensorProblem::Mismatch {
                    tensor: candidate.name.clone(),
                    expected: format!("{} of shape {:?}", tensor.data_type(), tensor.shape()),
                    found: format!("shape {:?}", candidate.shape),
                }),
            }
        }
        self.bindings.extend(bindings);
        self.problems.extend(problems);
    }

    /// The names, of tensors of the checkpoint, that a reader's call and module are about; those of the call first.
    fn about(&self, origin: &Origin) -> Vec<String> {
        let arguments = origin.arguments.iter().filter_map(|argument| self.names.key_of_mangled(argument));
        let mut about: Vec<String> = arguments.map(str::to_owned).collect();
        // The network itself is a module as well, but says nothing; modules in a module have nodes of their own.
        if !origin.module.is_empty() {
            let own = self.names.in_module(&origin.module).into_iter().filter(|(name, _)| !name.contains('.'));
            about.extend(own.map(|(_, key)| key));
        }
        about
    }

    fn by_origin(&mut self) {
        for open in self.open() {
            let Some(origin) = self.origin(open.reader) else { continue };
            let about = self.about(origin);
            let names: Vec<&str> = about.iter().map(String::as_str).collect();
            let mut fitting: Vec<(usize, Binding)> = Vec::new();
            for candidate in self.free(Some(&names)) {
                let place = names.iter().position(|name| *name == candidate.name).unwrap_or(usize::MAX);
                let said = usize::from(place >= origin.arguments.len());
                let is_reshaped = self.tensor(&open).is_none_or(|tensor| tensor.shape() != candidate.shape);
                let rank = said * 4 + usize::from(!self.is_role(&open, &candidate.name)) * 2 + usize::from(is_reshaped);
                if let Some(binding) = self.fitting(&open, candidate).into_iter().next() {
                    fitting.push((rank, binding));
                }
            }
            fitting.sort_by_key(|(rank, _)| *rank);
            let best = fitting.first().map(|(rank, _)| *rank);
            let count = fitting.iter().filter(|(rank, _)| Some(*rank) == best).count();
            // Several of one rank are told apart by values only.
            if count == 1 || (count > 1 && self.witness.is_some()) {
                self.bindings.extend(fitting.into_iter().next().map(|(_, binding)| binding));
            }
        }
    }

    /// Whether a tensor's name is that of what the operator takes there.
    fn is_role(&self, open: &Open, name: &str) -> bool {
        let Some((node, position)) = open.reader else { return false };
        let leaf = name.rsplit('.').next().unwrap_or_default();
        match (&self.graph.node(node).operator, position) {
            (Operator::Conv(_) | Operator::ConvTranspose(_) | Operator::Gemm(_), 2) => leaf == "bias",
            (Operator::BatchNormalization { .. }, 3) => leaf == "running_mean",
            (Operator::BatchNormalization { .. }, 4) => leaf == "running_var",
            (_, 2) => leaf == "bias",
            (Operator::Binary(otfuse_graph::Binary::Add), _) => leaf == "bias",
            _ => leaf == "weight",
        }
    }

    /// Equal parts of one tensor, as attention's packed projections are cut.
    fn parts(&mut self) {
        let mut groups: Vec<(String, Vec<Open>)> = Vec::new();
        for open in self.open() {
            let (Some(origin), Some(tensor)) = (self.origin(open.reader), self.tensor(&open)) else { continue };
            let about = self.about(origin);
            let names: Vec<&str> = about.iter().map(String::as_str).collect();
            let holder = self.free(Some(&names)).into_iter().find(|candidate| {
                let whole = matches!(candidate.source, Source::Pieces(_));
                whole
                    && candidate.shape.iter().product::<usize>() > tensor.len()
                    && !part_orders(tensor, candidate, 0).is_empty()
            });
            let Some(holder) = holder.map(|holder| holder.name.clone()) else { continue };
            match groups.iter_mut().find(|(name, _)| *name == holder) {
                Some((_, group)) => group.push(open),
                None => groups.push((holder, vec![open])),
            }
        }
        for (holder, group) in groups {
            let candidate = &self.candidates[self.by_name[&holder]];
            let rows = candidate.shape.first().copied().unwrap_or_default();
            let width = candidate.shape[1..].iter().product::<usize>();
            let mut start = 0;
            let mut found = Vec::new();
            for open in &group {
                let Some(tensor) = self.tensor(open) else { continue };
                let length = tensor.len() / width.max(1);
                let starts: Vec<usize> =
                    if self.witness.is_some() { (0..rows).step_by(length.max(1)).collect() } else { vec![start] };
                let fitting = starts.into_iter().flat_map(|start| {
                    let piece = Piece { key: holder.clone(), range: Some(start * width..start * width + tensor.len()) };
                    let mut orders = part_orders(tensor, candidate, start);
                    if is_right_factor(self.graph, tensor, open.reader) {
                        orders.reverse();
                    }
                    orders.into_iter().map(move |order| (order, piece.clone()))
                });
                let binding = fitting
                    .map(|(order, piece)| self.binding(open, order, Source::Pieces(vec![piece])))
                    .find(|binding| !self.witness.is_some() || self.has_value(open, binding));
                start += length;
                found.extend(binding);
            }
            if found.len() == group.len() && (start == rows || self.witness.is_some()) {
                self.bindings.extend(found);
            }
        }
    }

    /// Rows of a table in the order of integers of the same module.
    fn tables(&mut self) {
        for open in self.open() {
            let (Some(origin), Some(tensor)) = (self.origin(open.reader), self.tensor(&open)) else { continue };
            let mut inside = self.names.in_module(&origin.module);
            inside.retain(|(name, _)| !name.contains('.'));
            let keys = || inside.iter().filter_map(|(_, key)| Some((key, self.dict.get(key)?)));
            let used = self.used();
            let mut fitting = Vec::new();
            for (entries, table) in keys().filter(|(key, table)| table.data_type().is_float() && !used.contains(*key)) {
                let &[_, width] = table.shape() else { continue };
                for (index, places) in keys().filter(|(_, places)| !places.data_type().is_float()) {
                    if places.len() < 2 || places.len().checked_mul(width) != Some(tensor.len()) {
                        continue;
                    }
                    let axes = 0..tensor.shape().len();
                    for last in axes.clone().filter(|&axis| tensor.shape()[axis] == width) {
                        let order: Vec<usize> = axes.clone().filter(|&axis| axis != last).chain([last]).collect();
                        let order = (!order.is_sorted()).then_some(order);
                        let source = Source::Table(Table { entries: entries.clone(), index: index.clone() });
                        let binding = self.binding(&open, order, source);
                        if !self.witness.is_some() || self.has_value(&open, &binding) {
                            fitting.push(binding);
                        }
                    }
                }
            }
            self.bindings.extend(fitting.into_iter().next());
        }
    }

    /// Where the graph was exported from this checkpoint, equal values are one tensor.
    fn by_value(&mut self) {
        for open in self.open() {
            if self.tensor(&open).is_none_or(is_uniform) {
                continue;
            }
            let found =
                self.free(None).into_iter().find_map(|candidate| self.fitting(&open, candidate).into_iter().next());
            self.bindings.extend(found);
        }
    }

    /// Tensors of which one of each side is left that fits the other.
    fn by_shape(&mut self) {
        let open: Vec<Open> = self.open();
        let free: Vec<Candidate> = self.free(None).into_iter().cloned().collect();
        let fits: Vec<Vec<usize>> = open
            .iter()
            .map(|open| {
                let large = self.tensor(open).is_some_and(|tensor| tensor.len() > 1 && !is_uniform(tensor));
                let fits = |&at: &usize| large && !self.fitting(open, &free[at]).is_empty();
                (0..free.len()).filter(fits).collect()
            })
            .collect();
        for (at, open) in open.iter().enumerate() {
            let &[only] = fits[at].as_slice() else { continue };
            let rivals = fits.iter().filter(|fits| fits.contains(&only)).count();
            // A vector says little: positions, classes and channels may have one length.
            let says = free[only].shape.iter().filter(|&&length| length > 1).count() > 1;
            let ways = self.fitting(open, &free[only]);
            let decided = ways.len() == 1
                || self.tensor(open).is_some_and(|tensor| is_right_factor(self.graph, tensor, open.reader));
            if rivals == 1 && says && decided {
                self.bindings.extend(ways.into_iter().next());
            }
        }
    }

    /// Copies that nothing else was found for are one tensor in the checkpoint as well.
    fn shared(&mut self) {
        let mut found = Vec::new();
        for open in self.open() {
            // Equal elements may be another parameter that began alike: not while one is left over.
            let length = self.tensor(&open).map_or(0, Tensor::len);
            let may_differ = self.tensor(&open).is_some_and(is_uniform)
                && self.free(None).iter().any(|free| free.shape.iter().product::<usize>() == length);
            let first = self.copies.get(&open.name).filter(|_| !may_differ);
            let first = first.and_then(|first| self.bindings.iter().find(|binding| binding.initializer == *first));
            found.extend(first.map(|first| Binding { initializer: open.name.clone(), ..first.clone() }));
        }
        self.bindings.extend(found);
    }

    /// Vectors that the exporter repeated: a bias added to nothing, for each sample.
    fn broadcast(&mut self) {
        let mut found = Vec::new();
        for open in self.open() {
            let Some(tensor) = self.tensor(&open) else { continue };
            let Some(vector) = repeated(tensor).filter(|vector| !is_uniform(vector)) else { continue };
            let of_length = |(_, own): &(&str, &Tensor)| {
                own.data_type().is_float() && own.len() == vector.len() && own.shape().len() == 1
            };
            let mut keys = self.dict.iter().filter(of_length);
            let equal =
                |(_, own): &(&str, &Tensor)| own.reshaped(vector.shape()).is_ok_and(|own| is_close(&own, &vector));
            match self.witness.unwrap_or(&StateDict::new()).iter().filter(of_length).find(equal) {
                Some((key, _)) => found.push((open.id, Binding::same(key, &open.name))),
                None if keys.next().is_some() => {
                    let expected = tensor.shape().into();
                    self.problems.push(TensorProblem::Missing { tensor: open.name.clone(), expected });
                }
                None => {}
            }
        }
        for (id, binding) in found {
            self.shrunk.push(id);
            self.bindings.push(binding);
        }
    }

    /// Of tied weights, which are equal, the exporter keeps one.
    fn twins(&mut self) {
        let used = self.used();
        let strangers = self.dict.iter().filter(|(key, tensor)| tensor.shape().len() > 1 && !used.contains(*key));
        let twins: Vec<Binding> = strangers
            .filter_map(|(key, tensor)| {
                let twin = |binding: &&Binding| binding.whole().and_then(|twin| self.dict.get(twin)) == Some(tensor);
                let binding = self.bindings.iter().find(twin)?;
                Some(Binding { source: Source::Pieces(vec![Piece::whole(key)]), ..binding.clone() })
            })
            .collect();
        self.bindings.extend(twins);
    }

    fn finish(mut self) -> Result<Found, Vec<TensorProblem>> {
        let biases = self.left_out_biases();
        let mut used = self.used();
        used.extend(biases.iter().map(|(_, _, key)| key.clone()));
        let strangers: Vec<&Candidate> = self
            .candidates
            .iter()
            .filter(|candidate| self.dict.contains(&candidate.name) && !used.contains(&candidate.name))
            .collect();
        let mut constants = Vec::new();
        let mut told = Vec::new();
        for open in self.open() {
            let Some(tensor) = self.tensor(&open) else { continue };
            let meant = |candidate: &&&Candidate| candidate.shape.iter().product::<usize>() == tensor.len();
            // All zeros may be a parameter that began as such, or nothing at all.
            if is_uniform(tensor) && (tensor.len() == 1 || !strangers.iter().any(|candidate| meant(&candidate))) {
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
pub(super) struct Twin {
    pub(super) gone: ValueId,
    pub(super) first: ValueId,
    /// So many axes of length 1 stand in front of the other one's.
    pub(super) axes: usize,
}

/// The vector that a tensor repeats along all axes but the last, which then have length 1.
fn repeated(tensor: &Tensor) -> Option<Tensor> {
    let &length = tensor.shape().last().filter(|&&length| length > 1 && length < tensor.len())?;
    let bytes = length * tensor.data_type().size();
    let first = tensor.bytes().get(..bytes)?;
    let is_repeated = tensor.bytes().chunks(bytes).all(|chunk| chunk == first);
    let mut shape = vec![1; tensor.shape().len()];
    *shape.last_mut()? = length;
    is_repeated.then(|| Tensor::new(tensor.data_type(), shape, tensor.bytes().slice(..bytes)).ok())?
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

/// The orders in which rows of a candidate are the tensor.
fn part_orders(tensor: &Tensor, candidate: &Candidate, start: usize) -> Vec<Order> {
    let Some((&rows, rest)) = candidate.shape.split_first() else { return Vec::new() };
    let width: usize = rest.iter().product();
    if width == 0 || tensor.len() % width != 0 {
        return Vec::new();
    }
    let count = tensor.len() / width;
    if count == 0 || start + count > rows || rows % count != 0 {
        return Vec::new();
    }
    let shape: Vec<usize> = std::iter::once(count).chain(rest.iter().copied()).collect();
    orders(tensor.shape(), &shape)
}

/// How many constants of the graph have a checkpoint's values as well; `None` if the graph was not exported from this checkpoint.
pub(super) fn equal_values(graph: &Graph, dict: &StateDict, names: &Names) -> Option<usize> {
    let is_equal = |tensor: &Tensor, found: &Tensor| {
        found.len() == tensor.len() && found.reshaped(tensor.shape()).is_ok_and(|found| is_close(&found, tensor))
    };
    let large = |tensor: &&Tensor| tensor.data_type().is_float() && tensor.len() > 1 && !is_uniform(tensor);
    let floats: Vec<(ValueId, &Tensor)> = graph.initializers().filter(|(_, tensor)| large(tensor)).collect();
    let named: Vec<(&Tensor, &Tensor)> = floats
        .iter()
        .filter_map(|(id, tensor)| Some((*tensor, dict.get(names.key(&graph.value(*id).name)?)?)))
        .filter(|(tensor, found)| tensor.len() == found.len())
        .collect();
    let equal = named.iter().filter(|(tensor, found)| is_equal(tensor, found)).count();
    if named.is_empty() {
        // Without a name in common, any equal tensor tells.
        let count = floats.iter().filter(|(_, tensor)| dict.iter().any(|(_, found)| is_equal(tensor, found))).count();
        return Some(count).filter(|&count| count > 0);
    }
    // Weights that a normalisation was computed into have other values, and their biases.
    let has_norms = dict.names().any(|key| key.ends_with("running_var"));
    Some(equal).filter(|&equal| equal > 0 && (equal == named.len() || has_norms))
}

/// A graph in which weights that the checkpoint has in another form are constants, where it computed them from that form, and
/// whether there were such. `O(weights * nodes)`.
pub(super) fn fold_parametrized(
    graph: Graph,
    parametrized: &[Parametrized],
    names: &Names,
) -> Result<(Graph, bool), GraphError> {
    let mut constant: HashSet<ValueId> = graph.initializers().map(|(id, _)| id).collect();
    let mut nodes: Vec<&Node> = Vec::new();
    for (_, node) in graph.nodes() {
        if node.inputs.iter().flatten().all(|input| constant.contains(input)) {
            constant.extend(node.outputs.iter().flatten());
            nodes.push(node);
        }
    }
    let mut by_key: HashMap<&str, ValueId> = HashMap::new();
    for (id, _) in graph.initializers() {
        by_key.extend(names.key(&graph.value(id).name).map(|key| (key, id)));
    }
    let mut found: Vec<(ValueId, &Parametrized)> = Vec::new();
    for weight in parametrized {
        let binding = Binding::of("", None, weight.source.clone());
        let own: Option<Vec<ValueId>> = binding.keys().into_iter().map(|key| by_key.get(key).copied()).collect();
        found.extend(own.and_then(|own| computed_from(&graph, &nodes, &own)).map(|value| (value, weight)));
    }
    if found.is_empty() {
        return Ok((graph, false));
    }
    let found: Vec<(ValueId, String, Vec<usize>)> =
        found.into_iter().map(|(value, weight)| (value, weight.name.clone(), weight.shape.clone())).collect();
    let mut editor = GraphEditor::edit(graph);
    for (value, name, shape) in found {
        let length = shape.iter().product();
        let weight = editor.add_initializer(name, Tensor::from_f32(&shape, vec![0.0; length]));
        editor.replace(value, weight);
    }
    editor.remove_unread();
    Ok((editor.finish()?, true))
}

/// The last value that these nodes compute from all of the constants given and from no other learned one, moves aside.
fn computed_from(graph: &Graph, nodes: &[&Node], own: &[ValueId]) -> Option<ValueId> {
    let all = own.len();
    let mut parts: HashMap<ValueId, HashSet<usize>> =
        own.iter().enumerate().map(|(part, &id)| (id, HashSet::from([part]))).collect();
    let mut last = None;
    for node in nodes {
        let mut found: HashSet<usize> = HashSet::new();
        let mut foreign = false;
        for input in node.inputs.iter().flatten() {
            match parts.get(input) {
                Some(parts) => found.extend(parts),
                None => {
                    foreign |=
                        graph.is_weight(*input) && graph.initializer(*input).is_some_and(|tensor| tensor.len() > 1)
                }
            }
        }
        if found.is_empty() || foreign {
            continue;
        }
        let moves = matches!(
            node.operator,
            Operator::Transpose { .. } | Operator::Identity | Operator::Cast { .. } | Operator::Reshape { .. }
        );
        if found.len() == all && !moves {
            last = node.output(0).or(last);
        }
        for output in node.outputs.iter().flatten() {
            parts.insert(*output, found.clone());
        }
    }
    last
}
