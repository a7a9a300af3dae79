//! Whoever watches the work, and may stop it.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use otfuse_graph::GroupId;

use crate::error::FusionError;

/// What [`fuse`](crate::fuse()) reports while it works. Several models are aligned at once, in any order.
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
    /// A group of a model is about to be matched again.
    Sweeping {
        /// The model, counted from 0.
        model: usize,
    },
    /// A sweep over all groups of a model is done.
    Swept {
        /// The model, counted from 0.
        model: usize,
    },
    /// All models are aligned and about to be merged.
    Merging,
}

/// An observer that is not asked again once it has stopped the work.
pub(crate) struct Observer<'a> {
    tell: &'a (dyn Fn(Progress) -> ControlFlow<()> + Sync),
    stopped: AtomicBool,
}

impl<'a> Observer<'a> {
    pub fn new(tell: &'a (dyn Fn(Progress) -> ControlFlow<()> + Sync)) -> Self {
        Self { tell, stopped: AtomicBool::new(false) }
    }

    /// Reports; `Err` if the work is to stop.
    pub fn tell(&self, progress: Progress) -> Result<(), FusionError> {
        self.check()?;
        if (self.tell)(progress).is_break() {
            self.stopped.store(true, Ordering::Relaxed);
        }
        self.check()
    }

    /// `Err` if the work is to stop, which another thread may have heard.
    pub fn check(&self) -> Result<(), FusionError> {
        if self.stopped.load(Ordering::Relaxed) { Err(FusionError::Cancelled) } else { Ok(()) }
    }
}
