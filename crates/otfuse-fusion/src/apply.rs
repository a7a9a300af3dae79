//! Alignments that were saved, put to work again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use otfuse_graph::GroupId;
use otfuse_transport::{DensePlan, Marginals, Permutation, SparsePlan, TransportPlan};

use crate::alignment::{GroupAlignment, ModelAlignment, SavedPlan};
use crate::error::FusionError;
use crate::fuse::Aligned;
use crate::map::{GroupMap, NeuronMap};
use crate::networks::Networks;

impl Aligned {
    /// The networks as [`align_all`](crate::align_all) would align them with these plans, which may come from other
    /// networks of the same architecture: earlier checkpoints of the same runs. `published_scaling` as in the settings that
    /// the alignment was made with. Linear in the size of the plans.
    ///
    /// # Errors
    /// An alignment of a model that is not there or is the anchor, groups of other names or sizes than the networks have,
    /// plans that are none, soft plans of groups within others.
    pub fn from_alignments(
        networks: &Networks,
        alignments: &[ModelAlignment],
        published_scaling: bool,
    ) -> Result<Self, FusionError> {
        let mut maps = vec![Vec::new(); networks.len()];
        for alignment in alignments {
            let (model, anchor) = (alignment.model, networks.anchor());
            if model >= networks.len() || model == anchor {
                let problem = format!("it is of model {model}, there are {} with anchor {anchor}", networks.len());
                return Err(FusionError::Alignment { group: String::new(), problem });
            }
            maps[model] = group_maps(networks, alignment, published_scaling)?;
        }
        Ok(Self {
            networks: networks.clone(),
            maps,
            is_of_sequences: false,
            rotated: BTreeSet::new(),
            measurements: Arc::default(),
            alignments: alignments.to_vec(),
            alignment_time: Duration::ZERO,
        })
    }
}

fn group_maps(
    networks: &Networks,
    alignment: &ModelAlignment,
    published_scaling: bool,
) -> Result<Vec<Option<GroupMap>>, FusionError> {
    let model = alignment.model;
    let (expected, found) = (networks.groups().len(), alignment.groups.len());
    if expected != found {
        let problem = format!("the network has {expected} neuron groups, the alignment {found}");
        return Err(FusionError::Alignment { group: String::new(), problem });
    }
    let mut maps = vec![None; expected];
    for (id, group) in networks.groups().iter() {
        let name = networks.group_name(id);
        let failure = |problem: String| FusionError::Alignment { group: name.clone(), problem };
        let sizes = (networks.size(model, id), networks.size(networks.anchor(), id));
        // Heads and the channels within them are named by the same weight.
        let named = || alignment.groups.iter().filter(|found| found.name == name);
        let saved = named()
            .find(|found| (found.size, found.anchor_size) == sizes && is_within(found) == group.within.is_some())
            .or(named().next())
            .ok_or_else(|| failure("the alignment has no group of this name".into()))?;
        if (saved.size, saved.anchor_size) != sizes {
            let problem = format!(
                "expected {} neurons to be mapped to {}, the alignment maps {} to {}",
                sizes.0, sizes.1, saved.size, saved.anchor_size
            );
            return Err(failure(problem));
        }
        maps[id.index()] = Some(match group.within {
            None => GroupMap::Whole(whole(saved, published_scaling).map_err(failure)?),
            Some(outer) => within(networks, model, saved, outer).map_err(failure)?,
        });
    }
    Ok(maps)
}

/// Whether the plan is one of neurons within others.
fn is_within(saved: &GroupAlignment) -> bool {
    matches!(&saved.plan, SavedPlan::Permutation(targets) if targets.len() != saved.size)
}

/// The map of a group that is not within another.
fn whole(saved: &GroupAlignment, published_scaling: bool) -> Result<NeuronMap, String> {
    let (n, m) = (saved.size, saved.anchor_size);
    let text = |error: otfuse_transport::TransportError| error.to_string();
    match &saved.plan {
        SavedPlan::Permutation(targets) if targets.len() == n && n == m => {
            let plan = TransportPlan::Permutation(Permutation::new(targets.clone()).map_err(text)?);
            let uniform = Marginals::uniform(n).map_err(text)?;
            Ok(NeuronMap::new(&plan, &uniform, &uniform, published_scaling))
        }
        SavedPlan::Permutation(targets) => {
            Err(format!("expected a permutation of {n}, found one of {}", targets.len()))
        }
        SavedPlan::Rotations(_) => {
            Err("rotations are of networks in canonical form and cannot be applied alone".into())
        }
        SavedPlan::Entries(entries) => {
            let (mut a, mut b) = (vec![0.0; n], vec![0.0; m]);
            for &(i, j, mass) in entries {
                if i >= n || j >= m || !(mass >= 0.0 && mass.is_finite()) {
                    return Err(format!("expected mass between {n} and {m} neurons, found {mass} from {i} to {j}"));
                }
                a[i] += mass;
                b[j] += mass;
            }
            // Exact plans have fewer entries than both sides have neurons; those of Sinkhorn fill the matrix.
            let plan = if entries.len() >= n + m {
                let mut masses = vec![0.0; n * m];
                entries.iter().for_each(|&(i, j, mass)| masses[i * m + j] = mass);
                TransportPlan::Dense(DensePlan::new(n, m, masses).map_err(text)?)
            } else {
                TransportPlan::Sparse(SparsePlan::new(n, m, entries.clone()).map_err(text)?)
            };
            Ok(NeuronMap::new(&plan, &marginals(&a)?, &marginals(&b)?, published_scaling))
        }
    }
}

/// The masses of the neurons; uniform ones without the rounding of their sums.
fn marginals(sums: &[f64]) -> Result<Marginals, String> {
    let even = 1.0 / sums.len().max(1) as f64;
    let is_uniform = sums.iter().all(|sum| (sum - even).abs() < 1e-9 * even);
    let found = if is_uniform { Marginals::uniform(sums.len()) } else { Marginals::from_weights(sums) };
    found.map_err(|error| error.to_string())
}

/// The maps of a group within another: neuron `i` of outer neuron `o` stands as `o * size + i`.
fn within(networks: &Networks, model: usize, saved: &GroupAlignment, outer: GroupId) -> Result<GroupMap, String> {
    let SavedPlan::Permutation(targets) = &saved.plan else {
        return Err("rotations and soft matches within heads cannot be applied again".into());
    };
    let (n, m) = (saved.size, saved.anchor_size);
    let sources = networks.size(model, outer);
    if n != m || n == 0 || targets.len() != sources * n {
        return Err(format!("expected a permutation of {sources} times {n}, found one of {}", targets.len()));
    }
    let mut pairs = BTreeMap::new();
    for (source, targets) in targets.chunks_exact(n).enumerate() {
        let target = targets[0] / m;
        if targets.iter().any(|place| place / m != target) {
            return Err(format!("the channels of head {source} go to more than one head"));
        }
        let inner = Permutation::new(targets.iter().map(|place| place % m).collect());
        let plan = TransportPlan::Permutation(inner.map_err(|error| error.to_string())?);
        let uniform = Marginals::uniform(n).map_err(|error| error.to_string())?;
        pairs.insert((source, target), NeuronMap::new(&plan, &uniform, &uniform, false));
    }
    Ok(GroupMap::Within { outer, targets: m, pairs })
}
