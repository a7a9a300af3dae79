//! Progress of long work: a bar on stderr if that is a terminal, nothing otherwise.

use std::borrow::Cow;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar of `length` steps; it disappears when dropped.
pub struct Progress(ProgressBar);

impl Progress {
    /// Starts a bar.
    pub fn new(label: impl Into<Cow<'static, str>>, length: usize) -> Self {
        let bar = ProgressBar::with_draw_target(Some(length as u64), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{msg:30!} {bar:30} {pos}/{len} [{elapsed} < {eta}]");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.set_message(label);
        Self(bar)
    }

    /// One step more.
    pub fn step(&self) {
        self.0.inc(1);
    }

    /// `done` of `total` steps.
    pub fn at(&self, done: usize, total: usize) {
        self.0.set_length(total as u64);
        self.0.set_position(done as u64);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
