//! Which tensors belong to which layer, by their names.

use std::collections::{BTreeMap, BTreeSet};

use otfuse_graph::Graph;

/// The layers of a network: stacks of tensors whose names differ in one number, or what a graph says of their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layers {
    /// Where tensors stand by the graph, where names do not tell.
    places: BTreeMap<String, f64>,
    /// The numbers of each stack, by what stands before them.
    stacks: BTreeMap<String, BTreeSet<usize>>,
    /// Tensors of each stack.
    counts: BTreeMap<String, usize>,
}

/// A tensor's name, taken apart around the number of its layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Split<'a> {
    /// What stands before the number, with its dot.
    pub stack: &'a str,
    /// The number.
    pub layer: usize,
    /// What stands behind, with its dot.
    pub rest: &'a str,
}

impl<'a> Split<'a> {
    /// At the first number that stands between dots.
    pub fn of(name: &'a str) -> Option<Self> {
        let mut start = 0;
        for part in name.split('.') {
            let end = start + part.len();
            let is_number = !part.is_empty() && part.len() < 7 && part.bytes().all(|byte| byte.is_ascii_digit());
            if is_number && end < name.len() {
                return Some(Self { stack: &name[..start], layer: part.parse().ok()?, rest: &name[end..] });
            }
            start = end + 1;
        }
        None
    }

    /// The name with another number.
    #[cfg(feature = "experiment")]
    pub fn at(self, layer: usize) -> String {
        format!("{}{layer}{}", self.stack, self.rest)
    }
}

impl Layers {
    /// The layers that these names tell of.
    pub fn of<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let mut layers = Self::default();
        for name in names {
            if let Some(split) = Split::of(name) {
                layers.stacks.entry(split.stack.to_owned()).or_default().insert(split.layer);
                *layers.counts.entry(split.stack.to_owned()).or_default() += 1;
            }
        }
        layers
    }

    /// The layers of a graph: by names where these number one stack of layers; else in the order in which matrices and kernels are
    /// applied, everything else with the one before it.
    pub fn of_graph(graph: &Graph) -> Self {
        let name = |id| graph.value(id).name.as_str();
        let layers = Self::of(graph.initializers().map(|(id, _)| name(id)));
        if layers.main().is_some() && layers.rivals().len() == 1 {
            return layers;
        }
        let mut found: BTreeMap<String, usize> = BTreeMap::new();
        let mut count = 0;
        for (_, node) in graph.nodes() {
            let new = || node.inputs.iter().flatten().filter(|id| !found.contains_key(name(**id)));
            let of_rank = |id: &_| graph.initializer(*id).map(|tensor| tensor.shape().len());
            let is_layer = new().any(|id| graph.is_weight(*id) && of_rank(id) >= Some(2));
            count += usize::from(is_layer);
            let read: Vec<String> = new().filter(|id| of_rank(id).is_some()).map(|id| name(*id).to_owned()).collect();
            found.extend(read.into_iter().map(|name| (name, count.max(1) - 1)));
        }
        let last = count.max(2) - 1;
        let places = found.into_iter().map(|(name, layer)| (name, layer as f64 / last as f64)).collect();
        Self { places, ..layers }
    }

    /// Where a tensor stands between the first layer of its stack, 0, and the last one, 1; in the only layer, at the end, and outside
    /// all layers at the beginning.
    pub fn place(&self, name: &str) -> f64 {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        let Some(split) = Split::of(name) else { return 0.0 };
        let Some(numbers) = self.stacks.get(split.stack) else { return 0.0 };
        let before = numbers.range(..split.layer).count();
        if numbers.len() < 2 { 1.0 } else { before as f64 / (numbers.len() - 1) as f64 }
    }

    /// The stack that most tensors are in, and its layers, if they are numbered from 0 on.
    pub fn main(&self) -> Option<(&str, usize)> {
        let (stack, _) = self.counts.iter().max_by_key(|(_, count)| **count)?;
        let numbers = &self.stacks[stack];
        let is_whole = numbers.iter().copied().eq(0..numbers.len());
        is_whole.then_some((stack.as_str(), numbers.len()))
    }

    /// The stacks that have as many layers as the [main](Self::main) one and about as many tensors, by name.
    pub fn rivals(&self) -> Vec<&str> {
        let most = self.counts.values().max().copied().unwrap_or(0);
        self.counts.iter().filter(|(_, count)| 2 * **count > most).map(|(stack, _)| stack.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_numbered_places_in_names() {
        let names =
            ["model.embed.weight", "model.layers.0.a.1.w", "model.layers.1.a.w", "model.layers.2.a.w", "lm_head.0"];
        let layers = Layers::of(names);
        assert_eq!(layers.main(), Some(("model.layers.", 3)));
        assert_eq!(names.map(|name| layers.place(name)), [0.0, 0.0, 0.5, 1.0, 0.0]);
        assert_eq!(Split::of(names[1]).unwrap().at(7), "model.layers.7.a.1.w");
        let sequential = Layers::of(["0.weight", "2.weight", "4.weight"]);
        assert_eq!((sequential.place("2.weight"), sequential.main()), (0.5, None));
    }

    #[test]
    fn where_names_do_not_tell_the_graph_does() {
        let graph = crate::architecture("mlp:8-6", &[4], 3, 0).unwrap().graph;
        let layers = Layers::of_graph(&graph);
        let mut places: Vec<f64> = graph.initializers().map(|(id, _)| layers.place(&graph.value(id).name)).collect();
        places.sort_by(f64::total_cmp);
        assert_eq!(places, [0.0, 0.0, 0.5, 0.5, 1.0, 1.0]);
    }
}
