//! Lengths for what a network leaves open, found by trying.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use otfuse_graph::{Dim, Facts, Graph, GraphEditor, InferenceError, Operator, ValueId};
use otfuse_runtime::RuntimeError;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::contents::Filling;
use super::shapes::joined;
use super::{InputShapes, Inputs};
use crate::VerifyError;

/// Samples that networks are compared on, unless an input fixes their number.
const SAMPLES: usize = 2;
/// What stands in for any other length that a network leaves open, at first.
const OPEN_LENGTH: usize = 8;
/// Lengths that are tried, for all that is open at once and then one by one: multiples of what networks make smaller, sizes
/// that images and sounds have.
const LENGTHS: [usize; 32] = [
    16, 32, 64, 12, 20, 24, 28, 40, 48, 56, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 416, 448, 512, 576, 640,
    768, 1024, 2048, 4096, 8192, 16000, 32000,
];
/// Small lengths that are tried in the end.
const SMALL: std::ops::RangeInclusive<usize> = 1..=64;
/// Elements that all inputs may have together while lengths are looked for.
const MOST_INPUT_ELEMENTS: usize = 1 << 23;
/// Elements that all inputs may have together where their lengths are given.
const MOST_GIVEN_ELEMENTS: usize = 1 << 26;
/// Inputs that an error names.
const MOST_NAMED: usize = 8;
/// Elements that any value may have.
const MOST_ELEMENTS: usize = 1 << 28;
/// Nodes whose shapes are inferred in all, over all tries; lengths that are open count as nodes.
const MOST_NODES: usize = 400_000;
/// Tries at least and at most.
const TRIES: (usize, usize) = (12, 1000);
/// How often the network is run, at most.
const MOST_RUNS: usize = 400;
/// How much of it, at most, in passes through all of its nodes.
const MOST_PASSES: f64 = 24.0;

/// A length for each name that the inputs leave open.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lengths(BTreeMap<String, usize>);

impl Lengths {
    /// Two samples, and a few of everything else; what shapes say where they are given.
    pub(crate) fn first(graph: &Graph, facts: &Facts, shapes: &InputShapes) -> Self {
        // An input with a fixed number of samples fixes that of the others.
        let first = |input: &ValueId| facts.shape(*input)?.first()?.as_known();
        let samples = graph.inputs().iter().find_map(first).unwrap_or(SAMPLES);
        let mut lengths = BTreeMap::new();
        for (axis, dim) in open(graph, facts) {
            let length = if axis == 0 { samples } else { OPEN_LENGTH };
            lengths.entry(dim.to_string()).or_insert(length);
        }
        for &input in graph.inputs() {
            let given = shapes.get(&graph.value(input).name).into_iter().flatten();
            for (dim, &length) in facts.shape(input).into_iter().flatten().zip(given) {
                lengths.insert(dim.to_string(), length);
            }
        }
        let sums: Vec<(String, usize)> =
            lengths.keys().filter_map(|name| Some((name.clone(), sum(name, &lengths)?))).collect();
        lengths.extend(sums);
        Self(lengths)
    }

    /// The same with other lengths, and what follows from them.
    fn with(&self, changes: &[(&str, usize)]) -> Self {
        let mut lengths = self.0.clone();
        lengths.extend(changes.iter().map(|&(name, length)| (name.to_owned(), length)));
        let is_changed = |name: &str| changes.iter().any(|(changed, _)| *changed == name);
        let sums: Vec<(String, usize)> = lengths
            .keys()
            .filter(|name| !is_changed(name))
            .filter_map(|name| Some((name.clone(), sum(name, &lengths)?)))
            .collect();
        lengths.extend(sums);
        Self(lengths)
    }

    fn shape(&self, graph: &Graph, facts: &Facts, shapes: &InputShapes, input: ValueId) -> Vec<usize> {
        if let Some(given) = shapes.get(&graph.value(input).name) {
            return given.to_vec();
        }
        let length =
            |dim: &Dim| dim.as_known().or_else(|| self.0.get(&dim.to_string()).copied()).unwrap_or(OPEN_LENGTH);
        facts.shape(input).into_iter().flatten().map(length).collect()
    }

    /// The elements of all inputs together.
    fn elements(&self, graph: &Graph, facts: &Facts, shapes: &InputShapes) -> usize {
        let product = |shape: Vec<usize>| shape.into_iter().fold(1_usize, usize::saturating_mul);
        let counts = graph.inputs().iter().map(|&input| product(self.shape(graph, facts, shapes, input)));
        counts.fold(0, usize::saturating_add)
    }

    /// Inputs of these lengths.
    ///
    /// # Errors
    /// More elements than anything is proved on: what a file declares is no reason to allocate it.
    pub(crate) fn inputs(
        &self,
        graph: &Graph,
        facts: &Facts,
        shapes: &InputShapes,
        filling: Filling,
        random: &mut ChaCha8Rng,
    ) -> Result<Inputs, VerifyError> {
        let is_known =
            |&&input: &&ValueId| facts.shape(input).is_some() || shapes.get(&graph.value(input).name).is_some();
        if let Some(&input) = graph.inputs().iter().find(|input| !is_known(input)) {
            return Err(VerifyError::Undeclared { input: graph.value(input).name.clone() });
        }
        let asked = self.elements(graph, facts, shapes);
        if asked > MOST_GIVEN_ELEMENTS {
            let shape = |&input: &ValueId| joined(&self.shape(graph, facts, shapes, input));
            let named = graph.inputs().iter().map(|input| format!("{}={}", graph.value(*input).name, shape(input)));
            let inputs = named.take(MOST_NAMED).collect::<Vec<_>>().join(",");
            return Err(VerifyError::Inputs { inputs, asked, allowed: MOST_GIVEN_ELEMENTS });
        }
        let longest = open(graph, facts).filter(|(axis, _)| *axis > 0);
        let longest = longest.filter_map(|(_, dim)| self.0.get(&dim.to_string()).copied()).max().unwrap_or(1);
        let one = |&input: &ValueId| {
            let shape = self.shape(graph, facts, shapes, input);
            let tensor = filling.tensor(graph, facts, input, &shape, longest, random);
            (graph.value(input).name.clone(), tensor)
        };
        Ok(graph.inputs().iter().map(one).collect())
    }
}

/// The axes of inputs whose lengths are open.
fn open<'a>(graph: &'a Graph, facts: &'a Facts) -> impl Iterator<Item = (usize, &'a Dim)> {
    let shapes = graph.inputs().iter().filter_map(|&input| facts.shape(input));
    shapes.flat_map(|shape| shape.iter().enumerate()).filter(|(_, dim)| dim.as_known().is_none())
}

/// What a name such as `past + sequence` or `2*length` says, where its parts are known.
fn sum(name: &str, lengths: &BTreeMap<String, usize>) -> Option<usize> {
    let is_composed = name.contains(['+', '*']);
    let factor = |text: &str| text.trim().parse().ok().or_else(|| lengths.get(text.trim()).copied());
    let term = |text: &str| text.split('*').map(factor).try_fold(1_usize, |product, next| product.checked_mul(next?));
    let terms = name.split('+').map(term);
    terms.filter(|_| is_composed).try_fold(0_usize, |sum, next| sum.checked_add(next?)).filter(|_| is_composed)
}

/// What a try gave.
pub(crate) enum Tried<T> {
    /// It worked.
    Found(T),
    /// It did not, for this reason; other lengths may.
    Failed(VerifyError),
    /// No lengths will do.
    Hopeless(VerifyError),
}

impl<T> Tried<T> {
    /// Sorts the outcome of a run.
    pub(crate) fn of(outcome: Result<T, VerifyError>) -> Self {
        match outcome {
            Ok(found) => Self::Found(found),
            Err(
                error @ (VerifyError::NotFinite { .. }
                | VerifyError::Runtime(RuntimeError::Operand { .. } | RuntimeError::Backend { .. })),
            ) => Self::Failed(error),
            Err(error) => Self::Hopeless(error),
        }
    }
}

/// The search for inputs that a network can be run on.
pub(crate) struct Search<'a, T> {
    graph: &'a Graph,
    facts: &'a Facts,
    shapes: &'a InputShapes,
    seed: u64,
    run: &'a dyn Fn(&Inputs) -> Result<T, VerifyError>,
    /// Where each node stands, by its name.
    places: HashMap<&'a str, usize>,
    /// The network with nothing declared but its inputs.
    bare: Graph,
    fillings: Vec<Filling>,
    seen: BTreeSet<Lengths>,
    tries: usize,
    runs: usize,
    /// What has been run so far, in passes through all nodes.
    passes: f64,
    /// How far the best try came, and why not further.
    best: Option<(usize, Lengths, VerifyError)>,
}

/// Why the search is over.
enum End<T> {
    Found(Inputs, T),
    Failed(VerifyError),
}

impl<'a, T> Search<'a, T> {
    /// A search with `run`, which runs the network.
    pub(crate) fn new(
        graph: &'a Graph,
        facts: &'a Facts,
        shapes: &'a InputShapes,
        seed: u64,
        run: &'a dyn Fn(&Inputs) -> Result<T, VerifyError>,
    ) -> Self {
        let mut places = HashMap::new();
        enter(graph, &mut places);
        let size = graph.nodes().len() + open(graph, facts).count();
        let tries = (MOST_NODES / size.max(1)).clamp(TRIES.0, TRIES.1);
        let (bare, fillings) = (bare(graph), Filling::all(graph, facts));
        let (seen, runs) = (BTreeSet::new(), MOST_RUNS);
        Self { graph, facts, shapes, seed, run, places, bare, fillings, seen, tries, runs, passes: 0.0, best: None }
    }

    /// Inputs that the network takes, and what it gives; `first` is what went wrong with the first ones.
    ///
    /// Lengths are tried all alike at first, then one by one from those that came furthest. Most tries infer shapes and run
    /// nothing.
    ///
    /// # Errors
    /// `first` if nothing else can be tried; that no lengths were found.
    pub(crate) fn find(mut self, first: VerifyError) -> Result<(Inputs, T), VerifyError> {
        match self.all() {
            Err(End::Found(inputs, found)) => return Ok((inputs, found)),
            Err(End::Failed(error)) => return Err(error),
            Ok(()) => {}
        }
        let (furthest, lengths) = match self.best {
            Some((_, lengths, error)) => (error, lengths),
            None => (first.clone(), Lengths::first(self.graph, self.facts, self.shapes)),
        };
        if matches!(furthest, VerifyError::NotFinite { .. }) {
            return Err(furthest);
        }
        if open(self.graph, self.facts).next().is_none() {
            return Err(first);
        }
        let mut at = InputShapes::default();
        for &input in self.graph.inputs() {
            at.set(self.graph.value(input).name.clone(), lengths.shape(self.graph, self.facts, self.shapes, input));
        }
        let declared = self.graph.inputs().iter().map(|&input| {
            let shape = self.facts.shape(input).map_or_else(|| "?".into(), |shape| joined(shape));
            format!("{}={shape}", self.graph.value(input).name)
        });
        Err(VerifyError::Lengths {
            inputs: declared.collect::<Vec<_>>().join(","),
            furthest: at.to_string(),
            reason: furthest.to_string(),
        })
    }

    /// The names that may have any length, but for those that follow from others.
    fn variables(&self) -> Vec<&'a str> {
        let first = Lengths::first(self.graph, self.facts, self.shapes);
        let given: BTreeSet<String> = self
            .graph
            .inputs()
            .iter()
            .filter(|&&input| self.shapes.get(&self.graph.value(input).name).is_some())
            .flat_map(|&input| self.facts.shape(input).into_iter().flatten())
            .map(ToString::to_string)
            .collect();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let names = open(self.graph, self.facts).filter_map(|(_, dim)| dim.as_symbol());
        names.filter(|name| !given.contains(*name) && seen.insert(name) && sum(name, &first.0).is_none()).collect()
    }

    /// All tries; ends early with what was found.
    fn all(&mut self) -> Result<(), End<T>> {
        let first = Lengths::first(self.graph, self.facts, self.shapes);
        let names = self.variables();
        self.attempt(&first)?;
        let samples: BTreeSet<&str> = open(self.graph, self.facts)
            .filter(|(axis, _)| *axis == 0)
            .filter_map(|(_, dim)| dim.as_symbol())
            .collect();
        let others: Vec<&str> = names.iter().copied().filter(|name| !samples.contains(name)).collect();
        let alike = |names: &[&'a str], length: usize| names.iter().map(|&name| (name, length)).collect::<Vec<_>>();
        if !others.is_empty() {
            for length in LENGTHS {
                self.attempt(&first.with(&alike(&others, length)))?;
            }
        }
        // Networks that take one sample, or one sample of another kind for each position.
        let single: Vec<&str> = names.iter().copied().filter(|name| samples.contains(name)).collect();
        if !single.is_empty() {
            let one = first.with(&alike(&single, 1));
            self.attempt(&one)?;
            for length in LENGTHS.into_iter().filter(|_| !others.is_empty()) {
                self.attempt(&one.with(&alike(&others, length)))?;
            }
        }
        self.climb(&names)?;
        for length in SMALL.filter(|_| !others.is_empty()) {
            self.attempt(&first.with(&alike(&others, length)))?;
        }
        Ok(())
    }

    /// One length after the other, from what came furthest.
    fn climb(&mut self, names: &[&'a str]) -> Result<(), End<T>> {
        loop {
            let Some((before, from, _)) = self.best.clone() else { return Ok(()) };
            for name in names {
                for length in LENGTHS.into_iter().chain(SMALL) {
                    if self.tries == 0 {
                        return Ok(());
                    }
                    self.attempt(&from.with(&[(name, length)]))?;
                }
            }
            if self.tries == 0 || self.best.as_ref().is_none_or(|(place, ..)| *place <= before) {
                return Ok(());
            }
        }
    }

    /// Infers shapes at these lengths, and runs the network where they fit.
    fn attempt(&mut self, lengths: &Lengths) -> Result<(), End<T>> {
        if self.tries == 0 || !self.seen.insert(lengths.clone()) {
            return Ok(());
        }
        self.tries -= 1;
        let elements = |shape: &[usize]| shape.iter().try_fold(1_usize, |count, &length| count.checked_mul(length));
        if lengths.elements(self.graph, self.facts, self.shapes) > MOST_INPUT_ELEMENTS {
            return Ok(());
        }
        let facts = match self.inferred(lengths) {
            Ok(facts) => facts,
            Err(error) => {
                let place = self.places.get(error.node.as_str()).copied();
                self.failed(place, lengths, error.into());
                return Ok(());
            }
        };
        let is_large = |id: ValueId| {
            let lengths: Option<Vec<usize>> =
                facts.shape(id).and_then(|shape| shape.iter().map(Dim::as_known).collect());
            lengths.is_some_and(|lengths| elements(&lengths).is_none_or(|count| count > MOST_ELEMENTS))
        };
        if self.graph.values().any(|(id, _)| self.graph.initializer(id).is_none() && is_large(id)) {
            return Ok(());
        }
        let mut is_finite = true;
        for filling in self.fillings.clone() {
            if self.runs == 0 || self.passes > MOST_PASSES {
                return Ok(());
            }
            if is_finite && filling.is_positive() {
                continue;
            }
            self.runs -= 1;
            let mut random = ChaCha8Rng::seed_from_u64(self.seed);
            let inputs = lengths.inputs(self.graph, self.facts, self.shapes, filling, &mut random);
            let inputs = inputs.map_err(End::Failed)?;
            match Tried::of((self.run)(&inputs)) {
                Tried::Found(found) => return Err(End::Found(inputs, found)),
                Tried::Hopeless(error) => return Err(End::Failed(error)),
                Tried::Failed(error) => {
                    let place = match &error {
                        VerifyError::Runtime(
                            RuntimeError::Operand { node, .. } | RuntimeError::Backend { node, .. },
                        ) => self.places.get(node.as_str()).copied(),
                        _ => Some(self.places.len()),
                    };
                    is_finite &= !matches!(error, VerifyError::NotFinite { .. });
                    self.passes += (place.unwrap_or(0) + 1) as f64 / self.places.len().max(1) as f64;
                    self.failed(place, lengths, error);
                }
            }
        }
        Ok(())
    }

    fn failed(&mut self, place: Option<usize>, lengths: &Lengths, error: VerifyError) {
        let place = place.unwrap_or(0);
        if self.best.as_ref().is_none_or(|(best, ..)| place > *best) {
            self.best = Some((place, lengths.clone(), error));
        }
    }

    fn inferred(&self, lengths: &Lengths) -> Result<Facts, InferenceError> {
        let mut editor = GraphEditor::edit(self.bare.clone());
        for &input in self.graph.inputs() {
            let shape = lengths.shape(self.graph, self.facts, self.shapes, input);
            let declared = self.graph.value(input).declared.clone().map(|declared| otfuse_graph::Declared {
                shape: Some(shape.iter().copied().map(Dim::known).collect()),
                ..declared
            });
            // The copy has the values of the network in their order.
            editor.declare(input, declared);
        }
        Facts::of(editor.graph())
    }
}

/// Numbers the nodes in the order in which they are run, those of bodies behind the node that they belong to.
fn enter<'a>(graph: &'a Graph, places: &mut HashMap<&'a str, usize>) {
    for (_, node) in graph.nodes() {
        places.insert(&node.name, places.len());
        node.operator.bodies().into_iter().for_each(|body| enter(&body.graph, places));
    }
}

/// The network without what its file says of inner values: it may hold for the lengths that it was exported with alone.
/// What is not inferred keeps it. Large constants are left as they are, since they are shared.
fn bare(graph: &Graph) -> Graph {
    let mut editor = GraphEditor::edit(graph.clone());
    for (_, node) in graph.nodes() {
        let is_declared = matches!(
            node.operator,
            Operator::Opaque { .. } | Operator::If { .. } | Operator::Loop { .. } | Operator::Scan(_)
        );
        for &output in node.outputs.iter().flatten().filter(|_| !is_declared) {
            editor.declare(output, None);
        }
    }
    editor.graph().clone()
}
