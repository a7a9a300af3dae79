//! The whole way from several networks to one.

use std::time::{Duration, Instant};

use otfuse_graph::{Graph, GroupId};
use rayon::prelude::*;

use crate::activations::Activations;
use crate::align::align;
use crate::alignment::ModelAlignment;
use crate::average::{average, check_finite};
use crate::error::FusionError;
use crate::map::GroupMap;
use crate::networks::Networks;
use crate::settings::{Method, Settings};

/// What [`fuse`] reports while it works. Several models are aligned at once, in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// A group of a model has been aligned.
    Aligned {
        /// The model, counted from 0.
        model: usize,
        /// The group.
        group: GroupId,
    },
    /// All models are aligned and about to be averaged.
    Averaging,
}

/// A fused network and how it came about.
#[derive(Clone, Debug)]
pub struct Fusion {
    /// The result: the anchor's graph with new weights.
    pub graph: Graph,
    /// One alignment per model other than the anchor; none for a plain average.
    pub alignments: Vec<ModelAlignment>,
    /// The averaging weights that were used; they add up to 1.
    pub weights: Vec<f64>,
    /// Time spent aligning.
    pub alignment_time: Duration,
    /// Time spent averaging.
    pub averaging_time: Duration,
}

/// Fuses networks under the given settings; `activations` holds one entry per model in activation mode.
///
/// Takes `O(d n m + n^3)` time for a group of `n` and `m` neurons with `d` features (the exact solver's worst case). The
/// result does not depend on the number of threads.
///
/// # Errors
/// Weights that are not finite, settings out of range, activations that do not fit, an average of unequal shapes.
pub fn fuse(
    networks: &Networks<'_>,
    settings: &Settings,
    activations: Option<&[Activations]>,
    observer: &(dyn Fn(Progress) + Sync),
) -> Result<Fusion, FusionError> {
    let weights = settings.normalised_weights(networks.len())?;
    let start = Instant::now();
    let aligned = align_all(networks, settings, activations, observer)?;
    let alignment_time = start.elapsed();
    observer(Progress::Averaging);
    let start = Instant::now();
    let graph = aligned.average(&weights)?;
    let averaging_time = start.elapsed();
    Ok(Fusion { graph, alignments: aligned.alignments, weights, alignment_time, averaging_time })
}

/// Networks whose neurons are aligned to the anchor's, to be averaged with any weights.
pub struct Aligned<'n, 'a> {
    networks: &'n Networks<'a>,
    maps: Vec<Vec<Option<GroupMap>>>,
    /// One alignment per model other than the anchor; none for a plain average.
    pub alignments: Vec<ModelAlignment>,
}

impl Aligned<'_, '_> {
    /// The average of the aligned networks with one weight per model; they should add up to 1.
    ///
    /// # Errors
    /// Not one weight per model; a plain average of unequal shapes.
    pub fn average(&self, weights: &[f64]) -> Result<Graph, FusionError> {
        if weights.len() != self.networks.len() {
            return Err(FusionError::Weights { expected: self.networks.len(), found: weights.to_vec() });
        }
        average(self.networks, &self.maps, weights)
    }
}

/// The first half of [`fuse`]: aligns all models to the anchor. Averages with several weights then need no second
/// alignment.
///
/// # Errors
/// As [`fuse`].
pub fn align_all<'n, 'a>(
    networks: &'n Networks<'a>,
    settings: &Settings,
    activations: Option<&[Activations]>,
    observer: &(dyn Fn(Progress) + Sync),
) -> Result<Aligned<'n, 'a>, FusionError> {
    check_finite(networks)?;
    let found: Vec<(Vec<Option<GroupMap>>, Option<ModelAlignment>)> = (0..networks.len())
        .into_par_iter()
        .map(|model| {
            if model == networks.anchor || settings.method == Method::Average {
                return Ok((Vec::new(), None));
            }
            let done = |group| observer(Progress::Aligned { model, group });
            let (maps, alignment) = align(networks, model, settings, activations, &done)?;
            Ok((maps, Some(alignment)))
        })
        .collect::<Result<_, FusionError>>()?;
    let (maps, alignments): (Vec<_>, Vec<_>) = found.into_iter().unzip();
    let alignments = alignments.into_iter().flatten().collect();
    Ok(Aligned { networks, maps, alignments })
}
