//! The search for counterparts.

mod outcome;
mod parts;

use std::collections::{HashMap, HashSet};

use otfuse_graph::{Graph, GraphEditor, GraphError, Node, NodeId, Operator, Tensor, ValueId};

use super::binding::{self, Binding, Piece, Source};
use super::names::Names;
use super::parametrization::Parametrized;
use super::provenance::Origin;
use super::recurrent;
use super::views::{Order, is_close, is_right_factor, orders};
use crate::StateDict;
use crate::model::{Form, TensorProblem};

pub(super) use outcome::{Found, Twin};

/// So many differences are named.
pub(super) const MOST_PROBLEMS: usize = 5;

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
        // What has a place by its name and does not fit it is not meant elsewhere.
        let fits = |candidate: &&Candidate| {
            let is_same = |problem: &TensorProblem| matches!(problem, TensorProblem::Mismatch { tensor, .. } if *tensor == candidate.name);
            !self.problems.iter().any(is_same)
        };
        self.candidates.iter().filter(all).filter(is_free).filter(fits).collect()
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
        bindings.filter(|binding| self.witness.is_none() || self.has_value(open, binding)).collect()
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
                    expected: tensor.into(),
                    found: Form { data_type: None, shape: candidate.shape.clone() },
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
            let used = self.used();
            let free = |binding: &Binding| !binding.keys().iter().any(|key| used.contains(*key));
            // What the call is known to take there may be found already: then it is no other one.
            let known = self.of_call(&open, self.candidates.iter().collect(), true);
            let found = match known {
                Some(known) => Some(known).filter(free),
                None => self.of_call(&open, self.free(None), false),
            };
            self.bindings.extend(found);
        }
    }

    /// What of these the call that reads a constant takes there; `by_role`: only what has the name for it.
    fn of_call(&self, open: &Open, candidates: Vec<&Candidate>, by_role: bool) -> Option<Binding> {
        let origin = self.origin(open.reader)?;
        let about = self.about(origin);
        let mut fitting: Vec<(usize, Binding)> = Vec::new();
        for candidate in candidates {
            let Some(place) = about.iter().position(|name| *name == candidate.name) else { continue };
            let said = usize::from(place >= origin.arguments.len());
            let is_reshaped = self.tensor(open).is_none_or(|tensor| tensor.shape() != candidate.shape);
            let is_role = self.is_role(open, &candidate.name);
            if by_role && !is_role {
                continue;
            }
            let rank = said * 4 + usize::from(!is_role) * 2 + usize::from(is_reshaped);
            if let Some(binding) = self.fitting(open, candidate).into_iter().next() {
                fitting.push((rank, binding));
            }
        }
        fitting.sort_by_key(|(rank, _)| *rank);
        let best = fitting.first().map(|(rank, _)| *rank);
        let count = fitting.iter().filter(|(rank, _)| Some(*rank) == best).count();
        // Several of one rank are told apart by values only.
        let is_told = count == 1 || (count > 1 && self.witness.is_some());
        fitting.into_iter().next().map(|(_, binding)| binding).filter(|_| is_told)
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

    /// Where the graph was exported from this checkpoint, equal values are one tensor.
    fn by_value(&mut self) {
        for open in self.open() {
            if self.tensor(&open).is_none_or(Tensor::is_uniform) {
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
                let large = self.tensor(open).is_some_and(|tensor| tensor.len() > 1 && !tensor.is_uniform());
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

    /// The one copy that nothing was found for is what the tensor in the file is named after, if that is still left over.
    fn named_after(&mut self) {
        let used = self.used();
        let mut left: HashMap<&str, Vec<Open>> = HashMap::new();
        for open in self.open() {
            if let Some(first) = self.copies.get(&open.name) {
                left.entry(first).or_default().push(open);
            }
        }
        let mut found = Vec::new();
        for (first, open) in left {
            let ([open], Some(key)) = (open.as_slice(), self.names.key(first)) else { continue };
            let shape = self.dict.get(key).map(Tensor::shape);
            if !used.contains(key) && shape == self.tensor(open).map(Tensor::shape) {
                found.push(Binding::same(key, &open.name));
            }
        }
        found.sort_by(|a, b| a.initializer.cmp(&b.initializer));
        self.bindings.extend(found);
    }

    /// Copies that nothing else was found for are one tensor in the checkpoint as well.
    fn shared(&mut self) {
        self.named_after();
        let mut found = Vec::new();
        for open in self.open() {
            // Equal elements may be another parameter that began alike: not while one is left over.
            let length = self.tensor(&open).map_or(0, Tensor::len);
            let is_left = || self.free(None).iter().any(|free| free.shape.iter().product::<usize>() == length);
            let again = || self.of_call(&open, self.candidates.iter().collect(), true);
            let first = match self.original(&open.name) {
                Some(first) => again().or_else(|| {
                    let is_other = self.tensor(&open).is_some_and(Tensor::is_uniform) && is_left();
                    self.bindings.iter().find(|binding| binding.initializer == *first && !is_other).cloned()
                }),
                None => self.equal(&open).filter(|first| self.is_of_call(&open, first) || !is_left()),
            };
            found.extend(first.map(|first| Binding { initializer: open.name, ..first }));
        }
        self.bindings.extend(found);
    }

    /// What a copy was made of in the end: one that something was found for, or the file's own.
    pub(super) fn original(&self, name: &str) -> Option<&String> {
        let is_bound = |name: &String| self.bindings.iter().any(|binding| binding.initializer == *name);
        let mut first = self.copies.get(name)?;
        // Copies are made of what was there before them.
        while let Some(before) = self.copies.get(first).filter(|_| !is_bound(first)) {
            first = before;
        }
        Some(first)
    }

    /// What an equal tensor of the graph is bound to, or one with the axes in another order: an exporter that transposes a
    /// weight writes it for each of its uses.
    fn equal(&self, open: &Open) -> Option<Binding> {
        let tensor = self.tensor(open).filter(|tensor| !tensor.is_uniform())?;
        let transposed = binding::permuted(tensor, &[1, 0]);
        let other = |binding: &Binding| self.graph.initializer(self.graph.find_value(&binding.initializer)?);
        if let Some(binding) = self.bindings.iter().find(|binding| other(binding) == Some(tensor)) {
            return Some(binding.clone());
        }
        let binding =
            self.bindings.iter().find(|binding| transposed.is_some() && other(binding) == transposed.as_ref())?;
        let order = binding.permutation.as_deref().unwrap_or(&[0, 1]);
        let order: Vec<usize> = order.iter().map(|axis| 1 - axis).collect();
        let permutation = Some(order).filter(|order| !order.is_sorted());
        Some(Binding { permutation, ..binding.clone() })
    }

    /// Whether the call that reads a constant is about a tensor of this binding.
    fn is_of_call(&self, open: &Open, binding: &Binding) -> bool {
        let about = self.origin(open.reader).map(|origin| self.about(origin)).unwrap_or_default();
        binding.keys().iter().any(|key| about.iter().any(|about| about == key))
    }

    /// Vectors that the exporter repeated: a bias added to nothing, for each sample.
    fn broadcast(&mut self) {
        let mut found = Vec::new();
        for open in self.open() {
            let Some(tensor) = self.tensor(&open) else { continue };
            let Some(vector) = repeated(tensor).filter(|vector| !vector.is_uniform()) else { continue };
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
        let can_tell = |tensor: &Tensor| tensor.shape().len() > 1 || (tensor.len() > 1 && !tensor.is_uniform());
        let strangers = self.dict.iter().filter(|(key, tensor)| can_tell(tensor) && !used.contains(*key));
        let twins: Vec<Binding> = strangers
            .filter_map(|(key, tensor)| {
                let twin = |binding: &&Binding| binding.whole().and_then(|twin| self.dict.get(twin)) == Some(tensor);
                let binding = self.bindings.iter().find(twin)?;
                Some(Binding { source: Source::Pieces(vec![Piece::whole(key)]), ..binding.clone() })
            })
            .collect();
        self.bindings.extend(twins);
    }
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

/// How many constants of the graph have a checkpoint's values as well; `None` if the graph was not exported from this checkpoint.
pub(super) fn equal_values(graph: &Graph, dict: &StateDict, names: &Names) -> Option<usize> {
    let is_equal = |tensor: &Tensor, found: &Tensor| {
        found.len() == tensor.len() && found.reshaped(tensor.shape()).is_ok_and(|found| is_close(&found, tensor))
    };
    let large = |tensor: &&Tensor| tensor.data_type().is_float() && tensor.len() > 1 && !tensor.is_uniform();
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
