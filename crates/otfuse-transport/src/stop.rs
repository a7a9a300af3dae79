//! Ending a solver's work before it is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A sign that another thread may give; none is ever given by default. It is no part of what a problem is: all are equal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop(Option<Arc<AtomicBool>>);

impl Stop {
    pub(crate) fn new(sign: Arc<AtomicBool>) -> Self {
        Self(Some(sign))
    }

    pub(crate) fn is_given(&self) -> bool {
        self.0.as_ref().is_some_and(|sign| sign.load(Ordering::Relaxed))
    }
}

impl PartialEq for Stop {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
