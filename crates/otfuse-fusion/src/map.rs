//! Linear maps between the neurons of two models.

use std::collections::BTreeMap;

use otfuse_graph::GroupId;
use otfuse_transport::matrix::{Matrix, Update, product};
use otfuse_transport::{Marginals, TransportPlan};
use rayon::prelude::*;

/// Mapped numbers that are worth another thread.
const MAPPED: usize = 1 << 16;

/// A map from `sources` neurons to `targets` neurons.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LinearMap {
    sources: usize,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    /// The source of every target.
    Permutation(Vec<usize>),
    /// For every target its sources with their factors.
    Sparse(Vec<Vec<(usize, f64)>>),
    /// Row-major targets x sources.
    Dense { targets: usize, factors: Vec<f32> },
}

/// The two maps that a plan stands for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NeuronMap {
    /// `diag(1/b) T'`: a target is the weighted mean of its sources.
    pub producer: LinearMap,
    /// `(T diag(1/a))'`: a target collects what its sources send out.
    pub consumer: LinearMap,
}

/// How the neurons of a group are mapped.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum GroupMap {
    /// All at once.
    Whole(NeuronMap),
    /// Within each neuron of another group: one map for each pair of outer neurons that share mass.
    Within { outer: GroupId, targets: usize, pairs: BTreeMap<(usize, usize), NeuronMap> },
}

impl GroupMap {
    /// The number of neurons that come out; within another group, of those in one of its neurons.
    pub fn targets(&self) -> usize {
        match self {
            Self::Whole(map) => map.producer.targets(),
            Self::Within { targets, .. } => *targets,
        }
    }

    /// A map (the identity of so many neurons where there is none) whose targets are chosen anew: each one of the old ones, or
    /// nothing.
    pub fn taken(known: Option<&Self>, size: usize, chosen: &[Option<usize>]) -> Self {
        let taken = |map: Option<&LinearMap>| match map {
            Some(map) => map.taken(chosen),
            None => LinearMap::identity(size).taken(chosen),
        };
        let map = match known {
            Some(Self::Whole(map)) => Some(map),
            _ => None,
        };
        let (producer, consumer) = (taken(map.map(|map| &map.producer)), taken(map.map(|map| &map.consumer)));
        Self::Whole(NeuronMap { producer, consumer })
    }

    /// The same for neurons within others, of which the outer ones are chosen anew.
    pub fn taken_within(known: Option<&Self>, outer: GroupId, size: usize, chosen: &[Option<usize>]) -> Self {
        let (old, targets) = match known {
            Some(Self::Within { pairs, targets, .. }) => (Some(pairs), *targets),
            _ => (None, size),
        };
        let mut taken = BTreeMap::new();
        for (to, from) in chosen.iter().enumerate().filter_map(|(to, from)| Some((to, (*from)?))) {
            match old {
                Some(pairs) => {
                    let of_target = pairs.iter().filter(|((_, target), _)| *target == from);
                    taken.extend(of_target.map(|((source, _), map)| ((*source, to), map.clone())));
                }
                None => {
                    let identity = LinearMap::identity(size);
                    taken.insert((from, to), NeuronMap { producer: identity.clone(), consumer: identity });
                }
            }
        }
        Self::Within { outer, targets, pairs: taken }
    }

    /// The map between the neurons in two outer ones.
    pub fn pair(&self, source: usize, target: usize) -> Option<&NeuronMap> {
        match self {
            Self::Whole(_) => None,
            Self::Within { pairs, .. } => pairs.get(&(source, target)),
        }
    }
}

/// The maps of groups that are not within others.
pub(crate) fn whole_maps(maps: &[Option<GroupMap>]) -> Vec<Option<NeuronMap>> {
    let whole = |map: &Option<GroupMap>| match map {
        Some(GroupMap::Whole(map)) => Some(map.clone()),
        _ => None,
    };
    maps.iter().map(whole).collect()
}

impl NeuronMap {
    /// The maps of a plan from `a` to `b`. With `published_scaling` consumers are divided by `b` as well.
    pub fn new(plan: &TransportPlan, a: &Marginals, b: &Marginals, published_scaling: bool) -> Self {
        let (a, b) = (a.as_slice(), b.as_slice());
        let producer = LinearMap::new(plan, |_, j| b[j]);
        let consumer = LinearMap::new(plan, |i, j| if published_scaling { b[j] } else { a[i] });
        Self { producer, consumer }
    }
}

impl LinearMap {
    /// The transposed plan with every mass divided by `mass(i, j)`; neurons without mass neither give nor take.
    fn new(plan: &TransportPlan, mass: impl Fn(usize, usize) -> f64) -> Self {
        let (sources, targets) = plan.shape();
        let factor = |i, j, moved: f64| {
            let mass = mass(i, j);
            if mass > 0.0 { moved / mass } else { 0.0 }
        };
        let kind = match plan {
            TransportPlan::Permutation(permutation) => Kind::Permutation(permutation.inverse().into_vec()),
            TransportPlan::Dense(_) => {
                let mut factors = vec![0.0; sources * targets];
                for (i, j, moved) in plan.entries() {
                    factors[j * sources + i] = factor(i, j, moved) as f32;
                }
                Kind::Dense { targets, factors }
            }
            _ => {
                let mut rows = vec![Vec::new(); targets];
                for (i, j, moved) in plan.entries() {
                    rows[j].push((i, factor(i, j, moved)));
                }
                Kind::Sparse(rows)
            }
        };
        Self { sources, kind }
    }

    fn identity(size: usize) -> Self {
        Self { sources: size, kind: Kind::Permutation((0..size).collect()) }
    }

    /// With other targets: each one of those that there are, or one that nothing goes to.
    fn taken(&self, chosen: &[Option<usize>]) -> Self {
        let mut of_target = vec![Vec::new(); self.targets()];
        for (source, target, factor) in self.entries() {
            of_target[target].push((source, factor));
        }
        let rows = chosen.iter().map(|from| from.map_or_else(Vec::new, |from| of_target[from].clone())).collect();
        Self { sources: self.sources, kind: Kind::Sparse(rows) }
    }

    /// The number of neurons that come out.
    pub fn targets(&self) -> usize {
        match &self.kind {
            Kind::Permutation(sources) => sources.len(),
            Kind::Sparse(rows) => rows.len(),
            Kind::Dense { targets, .. } => *targets,
        }
    }

    /// Whether anything goes to a target.
    pub fn reaches(&self, target: usize) -> bool {
        match &self.kind {
            Kind::Permutation(_) => true,
            Kind::Sparse(rows) => !rows[target].is_empty(),
            Kind::Dense { factors, .. } => {
                factors[target * self.sources..(target + 1) * self.sources].iter().any(|factor| *factor != 0.0)
            }
        }
    }

    /// All `(source, target, factor)` that are not 0, by targets.
    pub fn entries(&self) -> Vec<(usize, usize, f64)> {
        match &self.kind {
            Kind::Permutation(sources) => sources.iter().enumerate().map(|(j, &i)| (i, j, 1.0)).collect(),
            Kind::Sparse(rows) => rows
                .iter()
                .enumerate()
                .flat_map(|(j, row)| row.iter().map(move |&(i, factor)| (i, j, factor)))
                .collect(),
            Kind::Dense { factors, .. } => {
                let all = factors.iter().enumerate().filter(|(_, factor)| **factor != 0.0);
                all.map(|(at, &factor)| (at % self.sources, at / self.sources, f64::from(factor))).collect()
            }
        }
    }

    /// Maps the middle axis of an `outer x sources x inner` array.
    pub fn apply(&self, data: &[f32], outer: usize, inner: usize) -> Vec<f32> {
        let targets = self.targets();
        let mut result = vec![0.0; outer * targets * inner];
        if inner == 0 || self.sources == 0 || targets == 0 {
            return result;
        }
        let blocks = data.par_chunks_exact(self.sources * inner).zip(result.par_chunks_exact_mut(targets * inner));
        let blocks = blocks.with_min_len((MAPPED / (targets * inner)).max(1));
        match &self.kind {
            Kind::Permutation(sources) => blocks.for_each(|(from, to)| {
                for (to, &source) in to.chunks_exact_mut(inner).zip(sources) {
                    to.copy_from_slice(&from[source * inner..(source + 1) * inner]);
                }
            }),
            Kind::Sparse(rows) => blocks.for_each_init(
                || vec![0.0_f64; inner],
                |sum, (from, to)| {
                    for (to, row) in to.chunks_exact_mut(inner).zip(rows) {
                        sum.fill(0.0);
                        for &(source, factor) in row {
                            let from = &from[source * inner..(source + 1) * inner];
                            sum.iter_mut().zip(from).for_each(|(sum, &value)| *sum += factor * f64::from(value));
                        }
                        to.iter_mut().zip(&*sum).for_each(|(to, &sum)| *to = sum as f32);
                    }
                },
            ),
            Kind::Dense { factors, .. } if inner == 1 => {
                // One product for all: (outer x sources) times (sources x targets).
                let (left, right) = (Matrix::row_major(data, self.sources), Matrix::row_major(factors, self.sources));
                let shape = [outer, self.sources, targets];
                product(&mut result, targets, shape, left, right.transposed(), Update::Replace);
            }
            Kind::Dense { factors, .. } => {
                let left = Matrix::row_major(factors, self.sources);
                blocks.for_each(|(from, to)| {
                    let right = Matrix::row_major(from, inner);
                    product(to, inner, [targets, self.sources, inner], left, right, Update::Replace);
                });
            }
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use otfuse_transport::{DensePlan, Permutation, SparsePlan};

    #[test]
    fn all_kinds_of_plans_map_alike() {
        let uniform = Marginals::uniform(3).unwrap();
        let third = 1.0 / 3.0;
        let entries = vec![(0, 2, third), (1, 0, third), (2, 1, third)];
        let mut masses = vec![0.0; 9];
        entries.iter().for_each(|&(i, j, mass)| masses[i * 3 + j] = mass);
        let plans = [
            TransportPlan::Permutation(Permutation::new(vec![2, 0, 1]).unwrap()),
            TransportPlan::Sparse(SparsePlan::new(3, 3, entries).unwrap()),
            TransportPlan::Dense(DensePlan::new(3, 3, masses).unwrap()),
        ];
        let data: Vec<f32> = (0..12).map(|value| value as f32).collect();
        for plan in &plans {
            let map = NeuronMap::new(plan, &uniform, &uniform, false);
            assert_eq!(map.producer.apply(&data, 2, 2), [2., 3., 4., 5., 0., 1., 8., 9., 10., 11., 6., 7.], "{plan:?}");
            assert_eq!(map.consumer.apply(&data, 4, 1), [1., 2., 0., 4., 5., 3., 7., 8., 6., 10., 11., 9.], "{plan:?}");
        }
    }

    #[test]
    fn merged_neurons_are_averaged_as_outputs_and_summed_as_inputs() {
        let (a, b) = (Marginals::uniform(4).unwrap(), Marginals::uniform(2).unwrap());
        let entries = vec![(0, 0, 0.25), (1, 1, 0.25), (2, 0, 0.25), (3, 1, 0.25)];
        let plan = TransportPlan::Sparse(SparsePlan::new(4, 2, entries).unwrap());
        let map = NeuronMap::new(&plan, &a, &b, false);
        assert_eq!(map.producer.apply(&[1.0, 2.0, 3.0, 4.0], 1, 1), [2.0, 3.0]);
        assert_eq!(map.consumer.apply(&[1.0, 2.0, 3.0, 4.0], 1, 1), [4.0, 6.0]);
    }
}
