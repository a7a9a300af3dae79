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

/// A bar for training, with what is known of it so far.
pub struct TrainingBar(ProgressBar);

impl TrainingBar {
    /// Starts a bar.
    pub fn new(resumed: bool) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} [{elapsed} < {eta}] {msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(if resumed { "training (resumed)" } else { "training" });
        Self(bar)
    }

    /// How far it is, after so many seconds and samples.
    pub fn at(&self, progress: &otfuse_runtime::train::Progress, seconds: f64, samples: usize) {
        self.0.set_length(progress.steps as u64);
        self.0.set_position(progress.step as u64);
        let validation =
            progress.validation.map_or_else(String::new, |it| format!(", validation {:.2} %", 100.0 * it.accuracy));
        let speed = samples as f64 / seconds;
        self.0.set_message(format!(
            "epoch {}, loss {:.4}{validation}, {speed:.0} samples/s",
            progress.epoch + 1,
            progress.loss
        ));
    }
}

impl Drop for TrainingBar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
