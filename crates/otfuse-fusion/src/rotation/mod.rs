//! Symmetries beyond permutations: residual streams and heads that may be rotated.
//!
//! Behind a normalisation over all neurons only their norm counts (and their mean, with layer normalisation), and linear
//! layers read what they are given in any basis: the neurons of a stream that is only added to, normalised and read by
//! linear layers may be mapped by any orthogonal matrix (one that keeps the vector of ones, with layer normalisation), if
//! all weights on it are. In an attention head queries and keys meet as a product alone, so do values and outputs: there any
//! invertible map is free, an orthogonal one once both factors are in balance. A. Theus, A. Cabodi, S. Anagnostidis, A.
//! Orvieto, S. P. Singh, V. Boeva, "Generalized Linear Mode Connectivity for Transformers" (arXiv:2506.22712).
//!
//! [`rotated`] brings networks into a canonical form that computes the same, the others then into the anchor's coordinates,
//! where they may be averaged index by index. What may be rotated is found from the graph.

mod carriers;
pub(crate) mod dense;
mod folds;
mod gates;
mod heads;
mod matching;
mod pairs;
mod random;
mod rules;
mod structure;
mod weights;
mod wiring;

use otfuse_graph::{Graph, GroupId, NeuronGroups, Tensor, ValueId};
use std::ops::ControlFlow;

use self::matching::Search;
pub(crate) use self::matching::best_order;
use self::structure::Structure;
use self::weights::{Weights, weights_of, with_weights};
use crate::activations::Activations;
use crate::alignment::ModelAlignment;
use crate::average::rounded;
use crate::error::FusionError;
use crate::networks::Networks;

/// Why networks have no symmetries that are used here beyond permutations.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NotRotated {
    /// No stream is read through normalisations alone.
    #[error("no residual stream is read through normalisations alone")]
    NoStream,
    /// A weight that writes to the stream reads it, too.
    #[error("'{0}' is read in two places")]
    Tied(String),
    /// An operator for which the order of neurons counts.
    #[error("the residual stream meets {0}, which keeps permutations alone")]
    Order(String),
    /// Other widths.
    #[error("the networks' widths differ")]
    Sizes,
    /// A scale of 0, which cannot be divided by.
    #[error("a scale of a normalisation in model {0} is zero")]
    Scale(usize),
}

/// Groups times values beyond which no stream is looked for.
const MOST_LOOKED_AT: usize = 1 << 24;

/// What of a network may be rotated.
#[derive(Clone, Debug)]
pub struct Rotations {
    structure: Structure,
}

/// How many neuron groups may be mapped in which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotationCounts {
    /// Residual streams, by orthogonal maps.
    pub streams: usize,
    /// Groups of channels in heads, by orthogonal maps.
    pub heads: usize,
    /// All others, by permutations.
    pub ordered: usize,
}

impl Rotations {
    /// Of the network with these neuron groups. `O(groups nodes)`.
    ///
    /// # Errors
    /// No stream that may be rotated, and why.
    pub fn of(graph: &Graph, groups: &NeuronGroups) -> Result<Self, NotRotated> {
        // Every group is looked for on every value. No transformer comes near the limit.
        if groups.len().saturating_mul(graph.values().len()) > MOST_LOOKED_AT {
            return Err(NotRotated::NoStream);
        }
        Structure::of(graph, groups).map(|structure| Self { structure })
    }

    /// How many groups there are of each kind.
    pub fn counts(&self) -> RotationCounts {
        let count =
            |is: &dyn Fn(&structure::Group) -> bool| self.structure.groups.iter().filter(|group| is(group)).count();
        let is_stream = |group: &structure::Group| group.rotation.is_some_and(|rotation| rotation.is_stream);
        RotationCounts {
            streams: count(&is_stream),
            heads: count(&|group| group.rotation.is_some() && !is_stream(group)),
            ordered: count(&|group| group.rotation.is_none()),
        }
    }

    /// Whether the neurons of a group may be rotated.
    pub fn is_rotated(&self, group: GroupId) -> bool {
        self.structure.groups.get(group.index()).is_some_and(|group| group.rotation.is_some())
    }

    /// The weights of the same function in canonical form, mapped by a random member of the whole group of symmetries: every
    /// stream by an orthogonal matrix, channels in heads by invertible ones, all else permuted. By the graph's own ids, in
    /// single precision; `None` if a scale that has to be divided by is 0.
    pub fn random_member(&self, graph: &Graph, groups: &NeuronGroups, seed: u64) -> Option<Vec<(ValueId, Tensor)>> {
        let mut weights = weights_of(graph, groups, |id| graph.initializer(id));
        if !self.structure.fits(&weights) {
            return None;
        }
        self.structure.settle(&mut weights);
        random::scramble(&self.structure, &mut weights, seed);
        let tensor = |array: weights::Array| {
            Tensor::from_f32(&array.shape, array.data.into_iter().map(|value| value as f32).collect())
        };
        Some(weights.into_iter().map(|(id, array)| (id, tensor(array))).collect())
    }
}

/// Networks in one canonical form and one set of coordinates, to be averaged index by index.
#[derive(Clone)]
pub struct Rotated {
    /// The networks, which compute what those did that they were made of.
    pub networks: Networks,
    /// How the models were mapped.
    pub alignments: Vec<ModelAlignment>,
    structure: Structure,
    /// The networks as they were.
    given: Networks,
}

/// Brings networks into the anchor's coordinates by all symmetries that are found in its graph, by their weights:
/// alternating assignments and orthogonal Procrustes problems, from a start by the tables that carry the stream. About
/// `O(n d^2)` time for `n / d` rows of a stream of width `d`, and `O(d^3)` on one thread, times some twenty sweeps. The
/// result does not depend on the number of threads.
///
/// # Errors
/// `Ok(Err(..))` with the reason where permutations are all that there is; [`FusionError::Cancelled`] if the observer, which
/// is asked before each group, stops the work.
pub fn rotated(
    networks: &Networks,
    observer: &dyn Fn() -> ControlFlow<()>,
) -> Result<Result<Rotated, NotRotated>, FusionError> {
    if !networks.equal_sizes() {
        return Ok(Err(NotRotated::Sizes));
    }
    let (reference, groups, anchor) = (networks.reference(), networks.groups(), networks.anchor());
    let structure = match Structure::of(reference, groups) {
        Ok(structure) => structure,
        Err(reason) => return Ok(Err(reason)),
    };
    let check = || if observer().is_break() { Err(FusionError::Cancelled) } else { Ok(()) };
    let mut settled = Vec::with_capacity(networks.len());
    for model in 0..networks.len() {
        check()?;
        let mut weights = weights_of(reference, groups, |id| Some(networks.tensor(model, id)));
        if !structure.fits(&weights) {
            return Ok(Err(NotRotated::Scale(model)));
        }
        structure.settle(&mut weights);
        settled.push(weights);
    }
    let of_anchor = settled[anchor].clone();
    let (mut graphs, mut alignments) = (Vec::with_capacity(networks.len()), Vec::new());
    for (model, mut weights) in settled.into_iter().enumerate() {
        if model != anchor {
            let mut search = Search::new(&structure, networks, model, &of_anchor, weights);
            search.run(&check)?;
            let mut alignment = ModelAlignment::new(model, anchor);
            alignment.groups = search.alignments();
            alignment.sweeps = search.objective.len() - 1;
            (alignment.converged, alignment.objective) = (search.converged, search.objective.clone());
            alignments.push(alignment);
            weights = search.into_weights();
        }
        graphs.push(with_weights(networks.graph(model), &weights, |id| networks.value(model, id))?);
    }
    let graphs: Vec<&Graph> = graphs.iter().collect();
    let given = networks.clone();
    let networks = Networks::new(&graphs, anchor)?;
    Ok(Ok(Rotated { networks, alignments, structure, given }))
}

impl Rotated {
    /// The groups that may be rotated.
    pub fn rotated_groups(&self) -> impl Iterator<Item = GroupId> {
        let groups = self.structure.groups.iter().enumerate();
        groups.filter(|(_, group)| group.rotation.is_some()).map(|(at, _)| GroupId::new(at))
    }

    /// The same, with the neurons that are within no others and have none within them matched by what they compute on samples:
    /// those that correlate go together. `activations` are those of [`networks`](Self::networks), one for each. `O(d n^2 + n^3)`
    /// time for a group of `n` neurons with `d` values each.
    ///
    /// # Errors
    /// Activations that do not fit.
    pub fn matched_by(self, activations: &[Activations]) -> Result<Self, FusionError> {
        let (networks, anchor) = (&self.networks, self.networks.anchor());
        let (reference, groups) = (networks.reference(), networks.groups());
        let Some(of_anchor) = activations.get(anchor) else { return Ok(self) };
        let of_anchor_weights = weights_of(reference, groups, |id| Some(networks.tensor(anchor, id)));
        let mut alignments = self.alignments.clone();
        let mut graphs = Vec::with_capacity(networks.len());
        for model in 0..networks.len() {
            let graph = networks.graph(model);
            let alignment = alignments.iter_mut().find(|alignment| alignment.model == model);
            let (Some(alignment), Some(own)) = (alignment, activations.get(model)) else {
                graphs.push(graph.clone());
                continue;
            };
            let mut weights = weights_of(reference, groups, |id| Some(networks.tensor(model, id)));
            for (id, group) in groups.iter().map(|(id, _)| (id, &self.structure.groups[id.index()])) {
                let has_inner = !self.structure.inside(id).is_empty();
                if group.rotation.is_some() || group.within.is_some() || has_inner {
                    continue;
                }
                let gate = self.structure.gates.iter().find(|gate| gate.group == id);
                let order = matching::by_values(own.tables(id), of_anchor.tables(id), group.size, gate.is_none())
                    .map_err(|source| {
                        let member = networks.group_name(id);
                        FusionError::Transport { model, group: id.index(), member, source }
                    })?;
                carriers::reorder(&group.carriers, &mut weights, 0, &order);
                if let Some(gate) = gate {
                    gate.take_signs(&mut weights, &of_anchor_weights);
                }
                if let Some(row) = alignment.groups.get_mut(id.index()) {
                    row.plan = matching::reordered(&row.plan, &order);
                }
            }
            graphs.push(with_weights(graph, &weights, |id| networks.value(model, id))?);
        }
        let graphs: Vec<&Graph> = graphs.iter().collect();
        Ok(Self { networks: Networks::new(&graphs, anchor)?, alignments, ..self })
    }

    /// The average of the networks, with the mean of the products that count in heads in place of the product of means: the
    /// factors are those of the best approximation of the heads' width. A shift that is left in front of layers is the one that
    /// keeps the mean of its share in what they compute. `O(n r^2)` for `n` rows and `r` channels of all
    /// networks, for each head.
    ///
    /// # Errors
    /// A result that is no valid graph.
    pub fn with_averaged_heads(&self, average: &Graph, shares: &[f64]) -> Result<Graph, FusionError> {
        let (reference, groups) = (self.networks.reference(), self.networks.groups());
        let of = |model: usize| weights_of(reference, groups, |id| Some(self.networks.tensor(model, id)));
        let members: Vec<(Weights, f64)> = (0..self.networks.len())
            .filter(|&model| shares[model] > 0.0)
            .map(|model| (of(model), shares[model]))
            .collect();
        if members.len() < 2 {
            return Ok(average.clone());
        }
        let members: Vec<(&Weights, f64)> = members.iter().map(|(weights, share)| (weights, *share)).collect();
        let place = |id: ValueId| average.find_value(&reference.value(id).name).unwrap_or(id);
        let mut fused = weights_of(reference, groups, |id| average.initializer(place(id)));
        let before = fused.clone();
        self.structure.products.iter().for_each(|product| product.average(&members, &mut fused));
        // In front of heads, whose channels are in new coordinates now, the mean of the shifts is that of what they do.
        let in_heads = |id: ValueId| self.structure.products.iter().any(|product| product.has(id));
        let others =
            self.structure.folds.iter().filter(|fold| !fold.readers.iter().any(|layer| in_heads(layer.weight)));
        others.for_each(|fold| fold.average_shift(&members, &mut fused));
        fused.retain(|id, array| before.get(id) != Some(array));
        Ok(with_weights(average, &fused, place)?)
    }

    /// A network that was made of these, its weights in the types of the anchor as it was given. Linear in the number of
    /// weights.
    ///
    /// # Errors
    /// [`FusionError::ResultNotFinite`] if a type cannot hold a weight.
    pub fn finished(&self, graph: Graph) -> Result<Graph, FusionError> {
        rounded(&self.given, graph)
    }
}
