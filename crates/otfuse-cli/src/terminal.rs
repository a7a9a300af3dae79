//! What the user sees on stderr: progress, warnings, errors.
#![allow(clippy::print_stderr)]

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use otfuse::{Error, Event, Observer, visible};

use crate::spelling::Spelling;

/// A bar for each stage under way, if stderr is a terminal; warnings above them.
pub struct Bars {
    all: MultiProgress,
    by_stage: Mutex<HashMap<u64, ProgressBar>>,
    spelling: Spelling,
}

impl Bars {
    /// No stage is under way.
    pub fn new(spelling: Spelling) -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        Self { all, by_stage: Mutex::default(), spelling }
    }
}

impl Observer for Bars {
    fn observe(&self, event: &Event<'_>) {
        let mut bars = self.by_stage.lock().unwrap_or_else(PoisonError::into_inner);
        match *event {
            Event::Started { stage, name, total } => {
                let bar = self.all.add(ProgressBar::new(total as u64));
                let style = ProgressStyle::with_template("{prefix:24} {bar:30} {pos}/{len} [{elapsed} < {eta}] {msg}");
                if let Ok(style) = style {
                    bar.set_style(style);
                }
                bar.set_prefix(visible(name, false).into_owned());
                bars.insert(stage, bar);
            }
            Event::Advanced { stage, done, total, remark } => {
                let Some(bar) = bars.get(&stage) else { return };
                bar.set_length(total as u64);
                bar.set_position(done as u64);
                if !remark.is_empty() {
                    bar.set_message(visible(remark, false).into_owned());
                }
            }
            Event::Finished { stage } => {
                if let Some(bar) = bars.remove(&stage) {
                    bar.finish_and_clear();
                    self.all.remove(&bar);
                }
            }
            Event::Warning(text) => self.all.suspend(|| warn(&self.spelling.typed(text))),
            Event::Note(text) => self.all.suspend(|| eprintln!("note: {}", told(&self.spelling.typed(text)))),
            _ => {}
        }
    }
}

/// Prints an error and its hint.
pub fn complain(error: &Error, spelling: &Spelling) {
    eprintln!("error: {}", told(&spelling.typed(&error.message)));
    if let Some(hint) = &error.hint {
        eprintln!("hint: {}", told(&spelling.typed(hint)));
    }
}

/// Text as it is shown. Its lines but the first stand further right, so that none that a file made up looks like one of the
/// program's own.
fn told(text: &str) -> String {
    visible(text, true).replace('\n', "\n    ")
}

/// Prints a warning.
pub fn warn(message: &str) {
    eprintln!("warning: {}", told(message));
}
