//! The whole way from several networks to one.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use otfuse_graph::{AxisLayout, Graph, GroupId, Tensor, ValueId};
use rayon::prelude::*;

use crate::activations::Activations;
use crate::align::align;
use crate::alignment::{AlignedModel, ModelAlignment};
use crate::average::{Precision, average, averaged, rounded};
use crate::axis::AxisMaps;
use crate::consensus::realign_recorded;
use crate::error::FusionError;
use crate::map::GroupMap;
use crate::matching::{Views, realign};
use crate::measure::{Measurements, unmeasured};
use crate::merge::Merging;
use crate::networks::Networks;
use crate::observer::{Observer, Progress};
use crate::settings::{Alignment, Consensus, FeatureSource, Settings};

/// A fused network and how it came about.
#[derive(Clone, Debug)]
pub struct Fusion {
    /// The result: the anchor's graph with new weights, those of 16 bits in single precision, since they are worked on;
    /// [`rounded`](Self::rounded) and [`repair`](crate::repair()) give the anchor's types.
    pub graph: Graph,
    /// One alignment per model other than the anchor; none for a plain average.
    pub alignments: Vec<ModelAlignment>,
    /// The averaging weights that were used; they add up to 1.
    pub weights: Vec<f64>,
    /// The maps of each model; none for the anchor.
    pub(crate) maps: Vec<Vec<Option<GroupMap>>>,
    /// Whether least squares also fits layers whose weight is turned first, and scores of each place of a sequence.
    pub(crate) is_of_sequences: bool,
    /// Groups whose neurons are no things of their own: all of them count alike.
    pub(crate) rotated: BTreeSet<GroupId>,
    /// Time spent aligning.
    pub alignment_time: Duration,
    /// Time spent averaging.
    pub averaging_time: Duration,
}

/// Fuses networks under the given settings: aligns them and merges what is aligned; `activations` holds one entry per model
/// in activation mode. The work stops soon after `observer`, which several threads may call, has answered `Break`.
///
/// Takes `O(d n m + n^3)` time for a group of `n` and `m` neurons with `d` features (the exact solver's worst case). The
/// result does not depend on the number of threads.
///
/// # Errors
/// Weights that are not finite, settings out of range, activations that do not fit, unequal shapes without alignment, weights
/// that the method of merging does not take, or a method that has to know of samples ([`Aligned::measured`]); [`FusionError::Cancelled`] if the observer stopped the work.
pub fn fuse(
    networks: &Networks,
    settings: &Settings,
    merge: &Merging,
    activations: Option<&[Activations]>,
    observer: &(dyn Fn(Progress) -> ControlFlow<()> + Sync),
) -> Result<Fusion, FusionError> {
    let weights = settings.normalised_weights(networks.len())?;
    merge.check(&weights)?;
    let aligned = align_all(networks, settings, activations, observer)?;
    Observer::new(observer).tell(Progress::Merging)?;
    aligned.fused(merge, &weights)
}

impl Fusion {
    /// The result in the anchor's types. Linear in the number of weights.
    ///
    /// # Errors
    /// [`FusionError::ResultNotFinite`] if a type cannot hold a weight.
    pub fn rounded(&self, networks: &Networks) -> Result<Graph, FusionError> {
        rounded(networks, self.graph.clone())
    }

    /// The result's weights, by the ids of the anchor's.
    pub(crate) fn weights_of<'f>(&'f self, anchor: &'f Graph) -> impl Iterator<Item = (ValueId, Tensor)> + use<'f> {
        anchor.initializers().filter_map(|(id, _)| {
            let found = self.graph.find_value(&anchor.value(id).name)?;
            Some((id, self.graph.initializer(found)?.clone()))
        })
    }

    /// A value that a model computed, its neurons mapped to those of the anchor: what the aligned model would compute.
    /// `value` is the anchor's id.
    pub fn aligned(&self, networks: &Networks, model: usize, value: ValueId, computed: &Tensor) -> Tensor {
        let Some(maps) = self.maps.get(model).filter(|maps| maps.iter().any(Option::is_some)) else {
            return computed.clone();
        };
        let mut data = computed.to_f32().unwrap_or_default();
        let mut shape = computed.shape().to_vec();
        let size = |group: GroupId| networks.size(model, group);
        let map = |group: GroupId| match maps.get(group.index())?.as_ref()? {
            GroupMap::Whole(map) => Some(&map.producer),
            GroupMap::Within { .. } => None,
        };
        let mut axes: BTreeMap<usize, &AxisLayout> = BTreeMap::new();
        for (_, group) in networks.groups().iter() {
            let of_value = group.observations.iter().filter(|observation| observation.value == value);
            axes.extend(of_value.map(|observation| (observation.axis, &*observation.layout)));
        }
        for (axis, layout) in axes {
            if layout.length(&size) == shape[axis] {
                let (outer, inner) = (shape[..axis].iter().product(), shape[axis + 1..].iter().product());
                (data, shape[axis]) = AxisMaps { size: &size, map: &map }.apply(data, outer, layout, inner);
            }
        }
        Tensor::from_f32(&shape, data)
    }
}

/// Networks whose neurons are aligned to the anchor's, to be averaged with any weights.
pub struct Aligned {
    pub(crate) networks: Networks,
    pub(crate) maps: Vec<Vec<Option<GroupMap>>>,
    /// What fusions of these are told; see [`Fusion`].
    pub(crate) is_of_sequences: bool,
    pub(crate) rotated: BTreeSet<GroupId>,
    /// What is known of samples.
    pub(crate) measurements: Arc<Measurements>,
    /// One alignment per model other than the anchor; none for a plain average.
    pub alignments: Vec<ModelAlignment>,
    /// Time spent aligning.
    pub alignment_time: Duration,
}

impl Aligned {
    /// The same, for which least squares also fits layers whose weight is turned before it is multiplied with, and whose scores
    /// of classes for each place of a sequence are fitted to the logarithm of the parents' mean probability. In groups that are
    /// `rotated` parents count by their averaging weights alone: no neuron there is important by itself.
    #[must_use]
    pub fn of_sequences(self, rotated: impl IntoIterator<Item = GroupId>) -> Self {
        Self { is_of_sequences: true, rotated: rotated.into_iter().collect(), ..self }
    }

    /// One network of the aligned ones, with one weight per model; they should add up to 1.
    ///
    /// # Errors
    /// Not one weight per model, or weights that the method of merging does not take; unequal shapes without alignment; a method
    /// that has to know of samples what was not [measured](Self::measured).
    pub fn average(&self, merge: &Merging, weights: &[f64]) -> Result<Graph, FusionError> {
        self.check(merge, weights)?;
        average(&self.networks, self.members(), merge, weights, Precision::Anchor)
    }

    fn check(&self, merge: &Merging, weights: &[f64]) -> Result<(), FusionError> {
        if weights.len() != self.networks.len() {
            return Err(FusionError::Weights { expected: self.networks.len(), found: weights.to_vec() });
        }
        merge.check(weights)?;
        let (needs, mut models) = (merge.method().needs(), 0..weights.len());
        let is_known = |model: usize| !merge.asks_for(model, weights) || self.measurements.know(needs, model);
        if models.all(is_known) { Ok(()) } else { Err(unmeasured(merge)) }
    }

    /// What the merged networks are made by.
    fn members(&self) -> (&[Vec<Option<GroupMap>>], &Measurements) {
        (&self.maps, &self.measurements)
    }

    /// The second half of [`fuse`]: the merged network with one weight per model, in memory, together with what a repair needs to know
    /// of the alignment.
    ///
    /// # Errors
    /// As [`average`](Self::average).
    pub fn fused(&self, merge: &Merging, weights: &[f64]) -> Result<Fusion, FusionError> {
        let start = Instant::now();
        self.check(merge, weights)?;
        let graph = average(&self.networks, self.members(), merge, weights, Precision::Wide)?;
        Ok(Fusion {
            graph,
            alignments: self.alignments.clone(),
            weights: weights.to_vec(),
            maps: self.maps.clone(),
            is_of_sequences: self.is_of_sequences,
            rotated: self.rotated.clone(),
            alignment_time: self.alignment_time,
            averaging_time: start.elapsed(),
        })
    }

    /// Some constants of the [`average`](Self::average), by the anchor's ids: those that are no weights are the anchor's. With
    /// a few ids at a time, the average of networks of any size takes little memory.
    ///
    /// # Errors
    /// As [`average`](Self::average).
    pub fn tensors(&self, ids: &[ValueId], merge: &Merging, weights: &[f64]) -> Result<Vec<Tensor>, FusionError> {
        self.check(merge, weights)?;
        let of = |&id: &ValueId| averaged(&self.networks, self.members(), merge, weights, Precision::Anchor, id);
        ids.par_iter().map(of).collect()
    }
}

/// The first half of [`fuse`]: aligns all models to the anchor. Averages with several weights then need no second
/// alignment.
///
/// # Errors
/// As [`fuse`].
pub fn align_all(
    networks: &Networks,
    settings: &Settings,
    activations: Option<&[Activations]>,
    observer: &(dyn Fn(Progress) -> ControlFlow<()> + Sync),
) -> Result<Aligned, FusionError> {
    networks.check_finite()?;
    let observer = Observer::new(observer);
    let start = Instant::now();
    if settings.alignment == Alignment::None {
        check_shapes(networks)?;
        let maps = vec![Vec::new(); networks.len()];
        return Ok(Aligned {
            networks: networks.clone(),
            maps,
            is_of_sequences: false,
            rotated: BTreeSet::new(),
            measurements: Arc::default(),
            alignments: Vec::new(),
            alignment_time: start.elapsed(),
        });
    }
    // Networks with groups within groups are swept without views.
    let nested = networks.groups().iter().any(|(_, group)| group.within.is_some());
    let views = (settings.sweeps() && !nested).then(|| views(networks, settings, activations));
    let mut found: Vec<Option<AlignedModel>> = (0..networks.len())
        .into_par_iter()
        .map(|model| {
            if model == networks.anchor() {
                return Ok(None);
            }
            align(networks, model, settings, activations, views.as_ref(), &observer).map(Some)
        })
        .collect::<Result<_, FusionError>>()?;
    if let Some(views) = &views
        && settings.matching.consensus == Consensus::RunningMean
    {
        realign(views, networks, settings, &mut found, &observer)?;
    }
    let is_recorded = matches!(settings.features, FeatureSource::Activations { .. })
        && settings.matching.consensus == Consensus::RunningMean
        && settings.matching.consensus_of_activations;
    if let Some(activations) = activations.filter(|_| is_recorded && networks.len() > 2) {
        realign_recorded(networks, settings, activations, &mut found, &observer)?;
    }
    let maps = found.iter().map(|found| found.as_ref().map(|found| found.maps.clone()).unwrap_or_default()).collect();
    let alignments = found.into_iter().flatten().map(|found| found.alignment).collect();
    Ok(Aligned {
        networks: networks.clone(),
        maps,
        is_of_sequences: false,
        rotated: BTreeSet::new(),
        measurements: Arc::default(),
        alignments,
        alignment_time: start.elapsed(),
    })
}

/// Refuses weights of unequal shapes, of which there is no plain average.
fn check_shapes(networks: &Networks) -> Result<(), FusionError> {
    let anchor = networks.reference();
    for (id, tensor) in anchor.initializers().filter(|(id, _)| anchor.is_weight(*id)) {
        let other = (0..networks.len()).find(|&model| networks.tensor(model, id).shape() != tensor.shape());
        if let Some(model) = other {
            return Err(FusionError::Shape {
                model,
                tensor: anchor.value(id).name.clone(),
                expected: tensor.shape().to_vec(),
                found: networks.tensor(model, id).shape().to_vec(),
            });
        }
    }
    Ok(())
}

/// The tensors that the sweeps compare.
fn views<'a>(networks: &'a Networks, settings: &Settings, activations: Option<&'a [Activations]>) -> Views<'a> {
    let mut views = Views::of_weights(networks, settings.bias_features, settings.fold_normalization);
    if settings.matching.balance {
        views.balance();
    }
    if let (FeatureSource::Both { share, .. }, Some(activations)) = (settings.features, activations) {
        views.add_activations(activations, share);
    }
    views
}
