//! Samples of a fusion, read once and as far as they are needed.

use std::borrow::Borrow;
use std::cell::OnceCell;

use super::FuseSamples;
use super::plan::Plan;
use crate::{Dataset, Error, Result, Samples};

/// Where samples come from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    Data(Box<Dataset>),
    Samples(Samples),
}

impl Source {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Data(data) => data.name(),
            Self::Samples(samples) => samples.name(),
        }
    }

    pub(super) fn train(&self) -> Result<Samples> {
        match self {
            Self::Data(data) => data.train(),
            Self::Samples(samples) => Ok(samples.clone()),
        }
    }
}

/// Training samples, read once where several need them.
pub(super) struct Training<'s> {
    pub(super) source: &'s Source,
    pub(super) samples: OnceCell<Samples>,
}

impl<'s> Training<'s> {
    pub(super) fn of(source: &'s Source) -> Self {
        Self { source, samples: OnceCell::new() }
    }

    pub(super) fn samples(&self) -> Result<&Samples> {
        match self.samples.get() {
            Some(samples) => Ok(samples),
            None => self.source.train().map(|samples| self.samples.get_or_init(|| samples)),
        }
    }
}

/// Samples as far as they are needed, out of a data set that is read once.
#[derive(Default)]
pub(crate) struct Prepared {
    /// Those whose activations are matched.
    pub(crate) matching: Option<Samples>,
    /// Those that layers are fitted on, and what a merge has to know is measured on.
    pub(crate) all: Option<Samples>,
}

impl Prepared {
    pub(crate) fn of<S: Borrow<Samples>>(
        plan: &Plan,
        train: impl FnOnce() -> Result<S>,
        is_ordered: bool,
    ) -> Result<Self> {
        let needs_all = plan.repair.needs_samples() || plan.measures() || is_ordered;
        if !plan.records() && !needs_all {
            return Ok(Self::default());
        }
        let train = train()?;
        let train = train.borrow();
        Ok(Self {
            matching: plan.records().then(|| train.spread(plan.matching_samples)),
            all: needs_all.then(|| train.spread(plan.samples)),
        })
    }

    /// The same, if all samples are numbers; what networks made of weights that are none is the fault of these.
    pub(crate) fn finite(self) -> Result<Self> {
        self.matching.iter().chain(&self.all).try_for_each(check_finite)?;
        Ok(self)
    }

    /// Says how many samples there are: as many as were asked for, or fewer.
    pub(super) fn count(&self, used: &mut FuseSamples) {
        let matching = self.matching.as_ref().map_or(0, |samples| samples.len());
        (used.count, used.matched) = (self.all.as_ref().map_or(matching, |samples| samples.len()), matching);
    }
}

/// Refuses samples from which nothing can be computed.
fn check_finite(samples: &Samples) -> Result<()> {
    let odd = |index: usize| samples.samples([index]).into_iter().find(|value| !value.is_finite());
    match (0..samples.len()).find_map(odd) {
        Some(value) => Err(Error::input(format!("{}: a sample has the value {value}", samples.name()))
            .hint("leave such samples out, or fill in numbers for what is missing")),
        None => Ok(()),
    }
}
